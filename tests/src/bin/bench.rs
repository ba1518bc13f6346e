//! `cargo xtask bench`: how fast reading and deciding are, each against a peer or a physical limit of the same run.
//!
//! Prints a table for people and, as its last line, one JSON object with the figures, their limits and `ok`. Exits with 1
//! where a figure falls short.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gate_tests::bench;

/// Benchmarks.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
    /// Seed of everything that is drawn by chance.
    #[arg(long, global = true, default_value_t = 20_261_120)]
    seed: u64,
}

#[derive(Subcommand)]
enum Bench {
    /// Recall and CPU of the decoder cascade against single decoders, on real photographs and seeded scenes.
    Read,
    /// View and decision with few and many passes, and the whole path from frame to relay with no network.
    Decide,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.bench {
        Bench::Read => read(arguments.seed),
        Bench::Decide => bench::decide::run(arguments.seed),
    };
    match result {
        Ok((table, figures)) => {
            print(&table);
            print(&figures.to_string());
            if figures["ok"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "the benchmark could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read(seed: u64) -> anyhow::Result<(String, serde_json::Value)> {
    let photographs = Path::new("../shared/qr");
    let report = hardware::bench_read::run(photographs.is_dir().then_some(photographs), seed);
    Ok((bench::read::table(&report)?, serde_json::to_value(&report)?))
}

fn print(text: &str) {
    let _closed = writeln!(std::io::stdout(), "{text}");
}
