//! docs/features.md tells the truth: every test it names exists, nothing works without one, no id is missing.

mod spec;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use clap::Parser;

use crate::cli::Cli;
use crate::workspace::Workspace;
use table::{Row, State};

/// The table of what works.
const TABLE: &str = "docs/features.md";
/// Where the specification stands when the checkout has it as a neighbour.
const SPECIFICATION: &str = "../shared/spec";

/// The counts as a table, and every problem found, one sentence each.
///
/// # Errors
/// When a file cannot be read.
pub fn report(workspace: &Workspace) -> anyhow::Result<(String, Vec<String>)> {
    let path = workspace.path(TABLE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let (rows, mut problems) = table::parse(&text);
    problems.extend(inner_problems(&rows, |file| std::fs::read_to_string(workspace.path(file)).ok()));
    let mut counted = counts(&rows);
    let specification = workspace.path(SPECIFICATION);
    if specification.is_dir() {
        problems.extend(missing_and_unknown(&rows, &spec::ids(&specification)?));
    } else {
        let _ = write!(counted, "\n{SPECIFICATION} is not here: ids were not compared with it");
    }
    Ok((counted, problems))
}

/// What is wrong within the table and between it and the tests it names.
fn inner_problems(rows: &[Row], read: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        let at = format!("{TABLE}:{}: {}", row.line, row.id);
        if let Some(first) = seen.insert(&row.id, row.line) {
            problems.push(format!("{at} stands twice, first in line {first}"));
        }
        if row.state == State::Works && row.tests.is_empty() {
            problems.push(format!("{at} works, but names no test"));
        }
        for test in &row.tests {
            if let Err(why) = exists(test, &read) {
                problems.push(format!("{at} names `{test}`: {why}"));
            }
        }
    }
    problems
}

/// Whether a named test can be run: `path::name` or `cargo xtask …`.
fn exists(test: &str, read: impl Fn(&Path) -> Option<String>) -> Result<(), String> {
    if let Some(arguments) = test.strip_prefix("cargo xtask") {
        let words = std::iter::once("cargo xtask").chain(arguments.split_whitespace());
        return Cli::try_parse_from(words)
            .map(|_| ())
            .map_err(|error| format!("no such command ({})", error.to_string().lines().next().unwrap_or_default()));
    }
    let Some((path, name)) = test.split_once("::") else {
        return Err("neither `path::name` nor `cargo xtask …`".to_owned());
    };
    let Some(text) = read(Path::new(path)) else {
        return Err(format!("there is no {path}"));
    };
    let found = if path.ends_with(".rs") {
        let function = name.rsplit("::").next().unwrap_or(name);
        text.lines().any(|line| defines(line, function))
    } else {
        ['\'', '"', '`'].iter().any(|quote| text.contains(&format!("{quote}{name}{quote}")))
    };
    if found { Ok(()) } else { Err(format!("{path} has no test of this name")) }
}

/// Whether a line of Rust begins the function `name`.
fn defines(line: &str, name: &str) -> bool {
    let code = line.trim_start();
    !code.starts_with("//")
        && code.split_once("fn ").is_some_and(|(before, after)| {
            (before.is_empty() || before.ends_with(' '))
                && after.strip_prefix(name).is_some_and(|rest| rest.starts_with(['(', '<']))
        })
}

fn missing_and_unknown(rows: &[Row], ids: &[String]) -> Vec<String> {
    let known: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let present: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let mut problems: Vec<String> = known.difference(&present).map(|id| format!("{TABLE}: no row for {id}")).collect();
    problems.extend(present.difference(&known).map(|id| format!("{TABLE}: {id} is not an id of the specification")));
    problems
}

fn counts(rows: &[Row]) -> String {
    let mut families: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    let mut sums = [0; 4];
    for row in rows {
        let at = State::ALL.iter().position(|state| *state == row.state).unwrap_or_default();
        families.entry(family(&row.id)).or_default()[at] += 1;
        sums[at] += 1;
    }
    let mut text = String::from("family");
    for state in State::ALL {
        let _ = write!(text, "  {}", state.word());
    }
    text.push_str("  rows");
    families.insert("sum".to_owned(), sums);
    // The sum last, whatever its name sorts like.
    let (sum, others): (Vec<_>, Vec<_>) = families.iter().partition(|(family, _)| *family == "sum");
    for (family, numbers) in others.into_iter().chain(sum) {
        let _ = write!(text, "\n{family:<6}");
        for (state, number) in State::ALL.iter().zip(numbers) {
            let _ = write!(text, "  {number:>width$}", width = state.word().len());
        }
        let _ = write!(text, "  {:>4}", numbers.iter().sum::<usize>());
    }
    text
}

/// The letters an id begins with: `A07` is of `A`, `A-07` of `A-`.
fn family(id: &str) -> String {
    id.chars().take_while(|letter| !letter.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, state: State, tests: &[&str]) -> Row {
        Row { line: 7, id: id.to_owned(), state, tests: tests.iter().map(|test| (*test).to_owned()).collect() }
    }

    const RUST: &str =
        "#[test]\nfn opens() {}\n    pub async fn closes<T>() {}\n// fn dreams() {}\nfn opens_twice() {}";
    const SCRIPT: &str = "it('shows the word', () => {});\ntest(\"plays `ping`\", () => {});";

    fn read(path: &Path) -> Option<String> {
        match path.to_str() {
            Some("a/src/lane.rs") => Some(RUST.to_owned()),
            Some("web/a.test.ts") => Some(SCRIPT.to_owned()),
            _ => None,
        }
    }

    #[test]
    fn named_tests_are_looked_up() {
        for (test, found) in [
            ("a/src/lane.rs::opens", true),
            ("a/src/lane.rs::tests::opens", true),
            ("a/src/lane.rs::closes", true),
            ("a/src/lane.rs::open", false),
            ("a/src/lane.rs::twice", false),
            ("a/src/lane.rs::dreams", false),
            ("a/src/gone.rs::opens", false),
            ("web/a.test.ts::shows the word", true),
            ("web/a.test.ts::plays `ping`", true),
            ("web/a.test.ts::shows", false),
            ("cargo xtask demo --once", true),
            ("cargo xtask demo --once --json", true),
            ("cargo xtask bench read", true),
            ("cargo xtask campaign kill --times 200", true),
            ("cargo xtask test --fast", true),
            ("cargo xtask", false),
            ("cargo xtask dance", false),
            ("cargo xtask bench dance", false),
            ("cargo xtask check --once", false),
            ("opens", false),
        ] {
            assert_eq!(exists(test, read).is_ok(), found, "{test}: {:?}", exists(test, read));
        }
    }

    #[test]
    fn untrue_rows_are_named() {
        for (rows, expected) in [
            (vec![row("A01", State::Works, &["a/src/lane.rs::opens"]), row("A02", State::NotYet, &[])], None),
            (vec![row("A01", State::Works, &[])], Some("names no test")),
            (vec![row("A01", State::Partly, &[])], None),
            (vec![row("A01", State::Partly, &["a/src/lane.rs::gone"])], Some("has no test of this name")),
            (vec![row("A01", State::Partly, &[]), row("A01", State::Partly, &[])], Some("stands twice")),
        ] {
            let problems = inner_problems(&rows, read);
            assert_eq!(problems.len(), usize::from(expected.is_some()), "{problems:?}");
            assert!(problems.iter().all(|problem| expected.is_some_and(|part| problem.contains(part))), "{problems:?}");
        }
    }

    #[test]
    fn rows_and_specification_are_compared_both_ways() {
        let rows = [row("A01", State::NotYet, &[]), row("A99", State::NotYet, &[])];
        let ids = ["A01".to_owned(), "A-01".to_owned()];
        assert_eq!(
            missing_and_unknown(&rows, &ids),
            ["docs/features.md: no row for A-01", "docs/features.md: A99 is not an id of the specification"]
        );
        assert!(missing_and_unknown(&rows[..1], &ids[..1]).is_empty());
    }

    #[test]
    fn counts_add_up() {
        let rows = [
            row("A01", State::Works, &[]),
            row("A-01", State::NotYet, &[]),
            row("A02", State::Works, &[]),
            row("UX-10", State::Refused, &[]),
        ];
        let text = counts(&rows);
        let lines: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                ["A", "2", "0", "0", "0", "2"],
                ["A-", "0", "0", "1", "0", "1"],
                ["UX-", "0", "0", "0", "1", "1"],
                ["sum", "2", "0", "1", "1", "4"],
            ]
        );
    }
}
