//! `cargo xtask demo`: one lot, one weekend afternoon, on the real programs.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use gate_tests::demo::{self, Options};

/// Tells the story of one scan with real processes: a cloud, an entrance, an exit.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  cargo xtask demo --once --json")]
struct Arguments {
    /// End after the story; exit with 0 only if every figure is as expected.
    #[arg(long)]
    once: bool,
    /// Print the table as one JSON object on stdout; the story goes to stderr.
    #[arg(long)]
    json: bool,
    /// Seed of the camera scenes.
    #[arg(long, default_value_t = 20_261_120)]
    seed: u64,
    /// Keep the world's folder.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options { once: arguments.once, seed: arguments.seed, keep: arguments.keep };
    match demo::run(&options, &mut |line| tell(arguments.json, line)).await {
        Ok(summary) => {
            let good = summary.ok();
            if arguments.json {
                print(&summary.json().to_string());
            } else {
                print(&summary.to_string());
            }
            if !options.once && summary.serve().await.is_err() {
                return ExitCode::FAILURE;
            }
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            tell(true, &format!("the demo could not go on: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn tell(aside: bool, line: &str) {
    if aside {
        let _closed = writeln!(std::io::stderr(), "{line}");
    } else {
        print(line);
    }
}

fn print(text: &str) {
    let _closed = writeln!(std::io::stdout(), "{text}");
}
