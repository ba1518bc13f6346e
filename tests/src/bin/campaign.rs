//! `cargo xtask campaign`: long searches for what a short test can't find.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gate_tests::campaign;

/// Long searches.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Subcommand)]
enum Campaign {
    /// Kill agent, reader or gate-io with SIGKILL at random moments of an afternoon.
    Kill {
        /// How often.
        #[arg(long, default_value_t = 200)]
        times: u32,
        /// Seed of victims and moments.
        #[arg(long, default_value_t = 20_261_120)]
        seed: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut tell = |line: &str| {
        let _closed = writeln!(std::io::stdout(), "{line}");
    };
    let result = match Arguments::parse().campaign {
        Campaign::Kill { times, seed } => campaign::kill::run(times, seed, &mut tell).await,
    };
    match result {
        Ok(report) => {
            tell(&report.to_string());
            tell(&report.json().to_string());
            if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "the campaign could not go on: {error:#}");
            ExitCode::FAILURE
        }
    }
}
