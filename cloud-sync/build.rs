//! Rebuilds when the dashboard was built anew, and says what to do when the fonts of the PDF sheet are not there.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=../web/dashboard/dist");
    println!("cargo::rerun-if-changed=fonts");
    println!("cargo::rerun-if-changed=src/store/migrations");
    for font in ["fonts/DejaVuSans.ttf", "fonts/DejaVuSans-Bold.ttf"] {
        if !Path::new(font).exists() {
            println!(
                "cargo::error=cloud-sync/{font} is missing: run `cargo xtask setup`, which fetches the fonts of the PDF sheet"
            );
        }
    }
}
