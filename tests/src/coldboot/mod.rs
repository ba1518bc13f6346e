//! A gate's machine is switched on with no network and no time from anywhere, and must serve with what it heard last.
//!
//! The machine is a virtual one with an emulated processor, several times slower than any real one. Its system, the
//! product's programs and their units are real; the terminal block and the light before the lens are simulated.

mod enrolled;
mod image;
mod machine;
mod story;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::clock::unix_ms;
use crate::world::{fresh_folder, program};
use image::Root;
pub use story::Report;
use story::{LOST, SAVED};

/// What must be installed, and what Debian calls it.
const NEEDED: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("pdftoppm", "poppler-utils"),
];

/// Makes the machine, switches it on twice, and compares.
pub async fn run(seed: u64, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
    ready()?;
    let place = place()?;
    tell("1. Debian for the machine: fetched once, unpacked each time.");
    let root = Root::unpack(&place)?;
    tell("2. The product goes in, enrols there, and syncs once; then cloud and gate are stopped.");
    let world = fresh_folder("gate-coldboot")?;
    let heard = enrolled::prepare(&root, &world, seed).await?;
    let disk = place.join("disk.img");
    let kernel = root.close(&disk)?;
    let switched_off = utc(unix_ms() / 1000)?;
    let mut report = Report::default();
    // The second boot has the disk as the first one's power cut left it.
    for (number, story, clock) in [(3, &SAVED, switched_off.as_str()), (4, &LOST, "1970-01-01T00:00:00")] {
        tell(&format!("{number}. Power on, {}; no network.", story.what));
        let serial = place.join(format!("{}.log", story.name));
        let told = machine::boot(&kernel, &disk, story.name, clock, &serial).await?;
        report.add(story, &heard, &told);
    }
    std::fs::remove_dir_all(world)?;
    Ok(report)
}

fn ready() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("run this as root: it lays out another machine's file system, with other owners");
    }
    let found = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
    };
    let missing: Vec<_> = NEEDED.into_iter().filter(|(name, _)| !found(name)).map(|(_, package)| package).collect();
    if !missing.is_empty() {
        bail!("please install: apt-get install --no-install-recommends {}", missing.join(" "));
    }
    Ok(())
}

/// Beside the programs: what is fetched is kept there.
fn place() -> anyhow::Result<PathBuf> {
    let programs = program("gate-agent")?;
    let target = programs.ancestors().nth(2).context("the programs lie in a target folder")?;
    Ok(target.join("coldboot"))
}

/// A moment as the machine's clock is set to it.
fn utc(seconds: i64) -> anyhow::Result<String> {
    let output =
        Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%S"]).arg(format!("--date=@{seconds}")).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
