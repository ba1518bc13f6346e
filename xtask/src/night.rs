//! `night`: everything that looks for faults by chance, one after the other on fresh seeds, and a report of it to commit
//! with a release.

use std::fmt::Write;
use std::process::{Command, ExitCode};

use crate::programs;
use crate::setup;
use crate::steps::{Outcome, Steps};
use crate::workspace::Workspace;

/// Where the report goes.
const REPORT: &str = "docs/night.md";
/// Power cuts of an honest card, of a lying one, and databases to damage (reliability: R-01, R-02, R-10).
const CUTS: [(&str, &str); 3] = [("--cuts", "20000"), ("--lying", "3000"), ("--injuries", "2000")];

/// What one program said.
struct Told {
    command: String,
    ended: &'static str,
    said: String,
}

/// Runs it all, also when something fails on the way, and writes the report.
pub fn run(workspace: &Workspace, seeds: u64) -> ExitCode {
    let version = version(workspace);
    let mut steps = Steps::new(workspace);
    let mut told = Vec::new();
    steps.step("setup", |shell| setup::everything(workspace, shell).map(|()| Outcome::Passed));
    steps.step("build", |shell| programs::build_dev(workspace, shell).map(|()| Outcome::Passed));
    let seeds = seeds.to_string();
    prove(&mut steps, workspace, &mut told, ("simulate", &["--resume", "--seeds", &seeds]));
    // From here on the programs can switch deliberate faults on; the gate that is traced stays as it is sold.
    steps.step("build with faults", |shell| {
        programs::build_with_faults(workspace, shell, &["simulate", "powercut"]).map(|()| Outcome::Passed)
    });
    prove(&mut steps, workspace, &mut told, ("simulate", &["--mutants"]));
    for (what, times) in CUTS {
        prove(&mut steps, workspace, &mut told, ("powercut", &[what, times]));
    }
    prove(&mut steps, workspace, &mut told, ("powercut", &["--mutants"]));
    steps.step("report", |shell| {
        std::fs::write(workspace.path(REPORT), report(&version, &told))?;
        shell.say(&format!("written to {REPORT}"));
        Ok(Outcome::Passed)
    });
    steps.finish()
}

/// Runs one program and keeps what it said.
fn prove(steps: &mut Steps<'_>, workspace: &Workspace, told: &mut Vec<Told>, (program, words): (&str, &[&str])) {
    let name = format!("{program} {}", words.join(" "));
    steps.step(&name, |shell| {
        let ran = shell.run(programs::dev_program(workspace, program).args(words));
        let ended = if ran.is_ok() { "holds" } else { "FAILED" };
        told.push(Told { command: format!("cargo xtask {name}"), ended, said: shell.output()? });
        ran.map(|()| Outcome::Passed)
    });
}

/// Which version was run: the commit, and whether anything beside it was changed.
fn version(workspace: &Workspace) -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(workspace.path("."));
    let said = git.output().ok().filter(|output| output.status.success());
    said.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The report; what machines read is left out.
fn report(version: &str, told: &[Told]) -> String {
    let mut text = format!("# The last night\n\nWritten by `cargo xtask night` of version {version}.\n");
    for Told { command, ended, said } in told {
        // A String takes everything.
        let _ = write!(text, "\n## {ended}: `{command}`\n\n```text\n");
        for line in said.lines().filter(|line| !line.starts_with('{')) {
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push_str("```\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_tells_every_command_and_how_it_ended() {
        let told =
            |command: &str, ended, said: &str| Told { command: command.to_owned(), ended, said: said.to_owned() };
        let told = [
            told("cargo xtask simulate --seeds 9", "FAILED", "seed 4: tell its story  \n{\"ok\":false}\n"),
            told("cargo xtask powercut --cuts 1", "holds", ""),
        ];
        let expected = "# The last night\n\nWritten by `cargo xtask night` of version abc-dirty.\n\n\
            ## FAILED: `cargo xtask simulate --seeds 9`\n\n```text\nseed 4: tell its story\n```\n\n\
            ## holds: `cargo xtask powercut --cuts 1`\n\n```text\n```\n";
        assert_eq!(report("abc-dirty", &told), expected);
    }
}
