//! `cargo xtask powercut`: what a power cut may leave on a card, and what a gate makes of it.
//!
//! Prints a table for people and, as its last line, one JSON object with the figures, their limits and `ok`. Exits with 1
//! where a figure falls short. Two hidden commands are the processes that it traces.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gate_core::mutant::Mutant;
use gate_tests::powercut::{self, Options, drive};

/// Power cuts, lying cards and damaged databases.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    process: Option<Process>,
    #[command(flatten)]
    campaign: Campaign,
}

#[derive(Args)]
struct Campaign {
    /// Power cuts of an honest card; without any number, 1000.
    #[arg(long)]
    cuts: Option<u32>,
    /// Power cuts of a card that ignores 1 to 20 % of the syncs.
    #[arg(long, default_value_t = 0)]
    lying: u32,
    /// Damaged databases.
    #[arg(long, default_value_t = 0)]
    injuries: u32,
    /// Passes held up in front of the traced gate.
    #[arg(long, default_value_t = 14)]
    scans: u32,
    /// Things that happen in each of the three phases of the traced life.
    #[arg(long, default_value_t = 100)]
    steps: u32,
    /// Try the deliberate faults too.
    #[arg(long)]
    mutants: bool,
    /// Seed of everything that is drawn by chance.
    #[arg(long, default_value_t = 20_261_121)]
    seed: u64,
    /// Only the JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Process {
    /// A phase of a gate's life.
    #[command(hide = true)]
    Life {
        folder: PathBuf,
        #[arg(long)]
        wall_ms: i64,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        phase: u32,
        #[arg(long)]
        steps: u32,
        #[arg(long)]
        mutant: Option<Mutant>,
    },
    /// The real agent's code with a fault in it.
    #[command(hide = true)]
    Agent {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        mutant: Option<Mutant>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.process {
        None => campaign(&arguments.campaign),
        Some(Process::Life { folder, wall_ms, seed, phase, steps, mutant }) => {
            powercut::switch(mutant);
            drive::live(&folder, drive::Plan { wall_ms, seed, phase, steps }).map(|()| true)
        }
        Some(Process::Agent { config, mutant }) => {
            powercut::switch(mutant);
            powercut::gates::run_agent(&config).map(|()| true)
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "the power cuts could not go on: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn campaign(asked: &Campaign) -> anyhow::Result<bool> {
    let nothing = asked.lying == 0 && asked.injuries == 0 && !asked.mutants;
    let options = Options {
        cuts: asked.cuts.unwrap_or(if nothing { 1000 } else { 0 }),
        lying: asked.lying,
        injuries: asked.injuries,
        scans: asked.scans,
        steps: asked.steps,
        mutants: asked.mutants,
        seed: asked.seed,
    };
    let json = asked.json;
    let mut tell = |line: &str| {
        if !json {
            let _closed = writeln!(std::io::stdout(), "{line}");
        }
    };
    let report = powercut::run(options, &mut tell)?;
    tell(&report.to_string());
    let _closed = writeln!(std::io::stdout(), "{}", report.json());
    Ok(report.ok())
}
