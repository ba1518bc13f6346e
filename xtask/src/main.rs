//! Every command a developer or CI runs.
//!
//! It depends on nothing that needs a system library, because installing those is one of its jobs.
//! Messages go to stderr, results (tables, counts) to stdout.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to the person who called it")]

mod check;
mod cli;
mod clock;
mod deny;
mod features;
mod night;
mod programs;
mod setup;
mod shell;
mod steps;
#[cfg(test)]
mod tidy;
mod units;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Verb};
use shell::Shell;
use workspace::Workspace;

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    let shell = Shell::loud();
    match verb {
        Verb::Setup => setup::everything(&workspace, &shell).map(|()| ExitCode::SUCCESS),
        Verb::Web => setup::web::ready(&workspace, &shell).map(|()| ExitCode::SUCCESS),
        Verb::Demo(demo) => programs::demo(&workspace, &shell, &demo),
        Verb::Check => Ok(check::check(&workspace)),
        Verb::Test { fast } => Ok(check::test(&workspace, fast)),
        Verb::Bench { name, further } => programs::bench(&workspace, &shell, name, &further),
        Verb::Campaign { name, times, further } => programs::campaign(&workspace, &shell, name, times, &further),
        Verb::Powercut(powercut) => programs::powercut(&workspace, &shell, &powercut),
        Verb::Simulate(simulate) => programs::simulate(&workspace, &shell, &simulate),
        Verb::Coldboot { further } => programs::coldboot(&workspace, &shell, &further),
        Verb::Night { seeds } => Ok(night::run(&workspace, seeds)),
        Verb::Features => {
            let (report, problems) = features::report(&workspace)?;
            println!("{report}");
            for problem in &problems {
                eprintln!("{problem}");
            }
            Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
