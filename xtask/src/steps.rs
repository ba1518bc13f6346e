//! A row of named steps: each is announced, timed and, when it fails, explained by the tail of its output.
//!
//! All steps run, so that one call shows everything that is wrong.

use std::io::IsTerminal;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::shell::Shell;
use crate::workspace::Workspace;

/// Lines of a failed step's output that are shown.
const TAIL: usize = 60;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Passed,
    /// It did not, and why.
    Failed(String),
    /// It could not be tried here, and why.
    Skipped(String),
}

struct Row {
    name: String,
    outcome: Outcome,
    took: Duration,
}

/// The steps of one call.
pub struct Steps<'a> {
    workspace: &'a Workspace,
    rows: Vec<Row>,
}

impl<'a> Steps<'a> {
    /// None yet.
    pub fn new(workspace: &'a Workspace) -> Self {
        Self { workspace, rows: Vec::new() }
    }

    /// Runs one program as a step.
    pub fn command(&mut self, name: &str, command: &mut Command) {
        self.step(name, |shell| shell.run(command).map(|()| Outcome::Passed));
    }

    /// Runs one step.
    pub fn step(&mut self, name: &str, work: impl FnOnce(&Shell) -> anyhow::Result<Outcome>) {
        eprintln!("── {name} …");
        let stopwatch = Stopwatch::start();
        let log = self.workspace.notes("logs").map(|folder| folder.join(format!("{}.log", name.replace(' ', "-"))));
        let outcome = log
            .as_ref()
            .map_err(|error| format!("{error:#}"))
            .and_then(|log| Shell::logged(log).and_then(|shell| work(&shell)).map_err(|error| format!("{error:#}")));
        let outcome = outcome.unwrap_or_else(Outcome::Failed);
        let took = stopwatch.elapsed();
        if let (Outcome::Failed(_), Ok(log)) = (&outcome, &log) {
            let output = std::fs::read_to_string(log).unwrap_or_default();
            for line in tail(&output, TAIL) {
                eprintln!("   │ {}", plain(line));
            }
            eprintln!("   │ all of it: {}", log.display());
        }
        let row = Row { name: name.to_owned(), outcome, took };
        eprintln!("   {}", line(&row, 0, colour()));
        self.rows.push(row);
    }

    /// Prints the closing table and the count; the exit code says whether all went well.
    pub fn finish(self) -> ExitCode {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        println!();
        for row in &self.rows {
            println!("{}", line(row, width, colour()));
        }
        let (passed, failed) = counts(&self.rows);
        println!("{passed} passed, {failed} failed");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn counts(rows: &[Row]) -> (usize, usize) {
    let passed = rows.iter().filter(|row| row.outcome == Outcome::Passed).count();
    let failed = rows.iter().filter(|row| matches!(row.outcome, Outcome::Failed(_))).count();
    (passed, failed)
}

fn line(row: &Row, width: usize, colour: bool) -> String {
    let (word, code, why) = match &row.outcome {
        Outcome::Passed => ("ok", "32", ""),
        Outcome::Failed(why) => ("FAILED", "31", why.as_str()),
        Outcome::Skipped(why) => ("skipped", "33", why.as_str()),
    };
    let padded = format!("{word:<7}");
    let word = if colour { format!("\u{1b}[{code}m{padded}\u{1b}[0m") } else { padded };
    let took = row.took.as_secs_f64();
    format!("{:<width$}  {word} {took:>7.1} s  {}", row.name, why.lines().next().unwrap_or("")).trim_end().to_owned()
}

fn colour() -> bool {
    let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    unset("CI") && unset("NO_COLOR") && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}

/// Without escape sequences: not every tool knows that it writes to a log.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut text = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let end = part.find(|letter: char| letter.is_ascii_alphabetic());
        text.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    text
}

fn tail(text: &str, lines: usize) -> Vec<&str> {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, outcome: Outcome) -> Row {
        Row { name: name.to_owned(), outcome, took: Duration::from_millis(1250) }
    }

    #[test]
    fn lines_read_without_colour() {
        for (outcome, expected) in [
            (Outcome::Passed, "fmt     ok          1.2 s"),
            (Outcome::Failed("no\nmore".to_owned()), "fmt     FAILED      1.2 s  no"),
            (Outcome::Skipped("no systemd".to_owned()), "fmt     skipped     1.2 s  no systemd"),
        ] {
            assert_eq!(line(&row("fmt", outcome), 6, false), expected);
        }
    }

    #[test]
    fn colour_is_only_added_when_asked() {
        assert!(!line(&row("fmt", Outcome::Passed), 6, false).contains('\u{1b}'));
        assert!(line(&row("fmt", Outcome::Passed), 6, true).contains("\u{1b}[32m"));
    }

    #[test]
    fn a_skipped_step_counts_as_neither() {
        let rows = [
            row("a", Outcome::Passed),
            row("b", Outcome::Failed(String::new())),
            row("c", Outcome::Skipped(String::new())),
            row("d", Outcome::Passed),
        ];
        assert_eq!(counts(&rows), (2, 1));
    }

    #[test]
    fn the_tail_is_the_end() {
        for (text, lines, expected) in [("", 2, vec![]), ("a\nb", 2, vec!["a", "b"]), ("a\nb\nc\n", 2, vec!["b", "c"])]
        {
            assert_eq!(tail(text, lines), expected);
        }
    }

    #[test]
    fn escape_sequences_are_dropped() {
        for (line, expected) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m.", "red."),
            ("a\u{1b}[1;32mb\u{1b}[K", "ab"),
            ("cut \u{1b}[3", "cut "),
        ] {
            assert_eq!(plain(line), expected);
        }
    }
}
