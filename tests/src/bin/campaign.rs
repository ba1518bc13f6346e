//! `cargo xtask campaign`: long searches for what a short test can't find.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
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
    Kill(Run),
    /// Make the agent stand still with SIGSTOP at random moments of an opening.
    Hang(Run),
    /// Pull the camera out and put it back.
    Unplug(Run),
    /// Kill gate-io in the middle of a pulse, under each of two kinds of kernel.
    Hand(Run),
}

#[derive(Args)]
struct Run {
    /// How often.
    #[arg(long, default_value_t = 200)]
    times: u32,
    /// Seed of victims and moments.
    #[arg(long, default_value_t = 20_261_120)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut tell = |line: &str| {
        let _closed = writeln!(std::io::stdout(), "{line}");
    };
    let result = run(&mut tell).await;
    match result {
        Ok((table, figures)) => {
            tell(&table);
            tell(&figures.to_string());
            if figures["ok"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "the campaign could not go on: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(tell: &mut dyn FnMut(&str)) -> anyhow::Result<(String, serde_json::Value)> {
    let figures = match Arguments::parse().campaign {
        Campaign::Kill(Run { times, seed }) => {
            let report = campaign::kill::run(times, seed, tell).await?;
            return Ok((report.to_string(), report.json()));
        }
        Campaign::Hang(Run { times, seed }) => campaign::hang::run(times, seed, tell).await?,
        Campaign::Unplug(Run { times, seed }) => campaign::unplug::run(times, seed, tell).await?,
        Campaign::Hand(Run { times, seed }) => campaign::hand::run(times, seed, tell).await?,
    };
    Ok((figures.to_string(), figures.json()))
}
