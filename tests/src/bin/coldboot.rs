//! `cargo xtask coldboot`: a gate's machine is switched on without a network.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use gate_tests::coldboot;

/// Boots a virtual machine with an enrolled gate, twice, and holds passes up to it. Needs root and QEMU.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  cargo xtask coldboot")]
struct Arguments {
    /// Seed of the camera scenes.
    #[arg(long, default_value_t = 20_261_120)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut tell = |line: &str| {
        let _closed = writeln!(std::io::stdout(), "{line}");
    };
    match coldboot::run(arguments.seed, &mut tell).await {
        Ok(report) => {
            tell(&report.to_string());
            tell(&report.json().to_string());
            if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "the cold boot could not go on: {error:#}");
            ExitCode::FAILURE
        }
    }
}
