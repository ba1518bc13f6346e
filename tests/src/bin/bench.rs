//! `cargo xtask bench`: how fast reading, deciding and reconciling are, each against a peer or a physical limit of the same run.
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
    /// What reconciling costs: ingest, news, revocations, writes, a month's backlog, bad roads, a herd of gates.
    Sync {
        /// Only these parts, separated by commas.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Events in the larger database.
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// Events that waited for a month.
        #[arg(long, default_value_t = 60_000)]
        backlog: u64,
        /// Gates that come back at once.
        #[arg(long, default_value_t = 200)]
        gates: usize,
        /// Minutes of ten passes a second.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
        minutes: u64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.bench {
        Bench::Read => read(arguments.seed),
        Bench::Decide => bench::decide::run(arguments.seed),
        Bench::Sync { only, events, backlog, gates, minutes } => {
            bench::sync::run(arguments.seed, &bench::sync::Options { only, events, backlog, gates, minutes })
        }
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
