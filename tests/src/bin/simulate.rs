//! `cargo xtask simulate`: see `gate_tests::simulation`.

use std::process::ExitCode;

use clap::Parser;
use gate_tests::simulation::campaign::{Options, main as campaign};

fn main() -> anyhow::Result<ExitCode> {
    Ok(if campaign(&Options::parse())? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
