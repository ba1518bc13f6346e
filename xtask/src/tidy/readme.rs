//! What README promises a newcomer, and what CI runs, can be typed.

use clap::Parser;

use super::Source;
use crate::cli::Cli;

/// The two commands with which everybody starts.
const PROMISED: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];

/// README names both commands, and every `cargo xtask …` of README and docs exists.
pub fn commands(files: &[Source]) -> Vec<String> {
    let Some(readme) = files.iter().find(|file| file.path == "README.md") else {
        return vec!["there is no README.md".to_owned()];
    };
    let mut complaints: Vec<String> = PROMISED
        .into_iter()
        .filter(|command| !spelled(&readme.text).any(|found| found.starts_with(command)))
        .map(|command| format!("README.md does not say `{command}`"))
        .collect();
    let is_read = |file: &&Source| file.path == "README.md" || file.path.starts_with("docs/");
    for file in files.iter().filter(|file| file.extension() == "md").filter(is_read) {
        for command in spelled(&file.text) {
            if Cli::try_parse_from(words(command)).is_err() {
                complaints.push(format!("{} says `{command}`, which does not exist", file.path));
            }
        }
    }
    complaints
}

/// `.ci/run` calls `cargo xtask test` and no other check of its own.
pub fn ci(files: &[Source]) -> Vec<String> {
    let Some(run) = files.iter().find(|file| file.path == ".ci/run") else {
        return vec!["there is no .ci/run".to_owned()];
    };
    let called: Vec<&str> = spelled(&run.text).collect();
    if called == ["cargo xtask test"] { Vec::new() } else { vec![format!(".ci/run calls {called:?}")] }
}

/// Every complete command in code: the rest of a code span, or of a line that starts with it.
fn spelled(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let own = line.trim_start().trim_start_matches("$ ").trim_start_matches("exec ");
        let own = own.starts_with("cargo xtask ").then(|| own.split('#').next().unwrap_or(own).trim());
        let spans = line.split('`').skip(1).step_by(2).filter(|span| span.starts_with("cargo xtask "));
        own.into_iter().chain(spans).filter(|command| *command != "cargo xtask …")
    })
}

/// The words of a command; `read|decide` and `[--fast]` stand for one way to type it.
fn words(command: &str) -> Vec<String> {
    let typed = command.strip_prefix("cargo xtask").unwrap_or(command);
    std::iter::once("cargo xtask".to_owned())
        .chain(
            typed
                .split_whitespace()
                .filter(|word| *word != "…")
                .map(|word| word.trim_matches(['[', ']']).split('|').next().unwrap_or(word).to_owned()),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readme_keeps_its_promise() {
        let both = "```sh\ncargo xtask demo   # the story\n$ cargo xtask test\n```\n";
        for (text, complaints) in [
            (both.to_owned(), 0),
            ("Try `cargo xtask demo --once`, then `cargo xtask test [--fast]`.".to_owned(), 0),
            (format!("{both}`cargo xtask bench read|decide`"), 0),
            ("cargo xtask demo".to_owned(), 1),
            (format!("{both}cargo xtask dance"), 1),
            (format!("{both}`cargo xtask test --slow`"), 1),
            (String::new(), 2),
        ] {
            assert_eq!(commands(&[Source::new("README.md", &text)]).len(), complaints, "{text}");
        }
        assert_eq!(commands(&[]), ["there is no README.md"]);
    }

    #[test]
    fn documents_name_commands_that_exist() {
        let readme = Source::new("README.md", "`cargo xtask demo` `cargo xtask test`");
        let document = Source::new("docs/OPERATING.md", "Run `cargo xtask dance`.");
        assert_eq!(commands(&[readme, document]), ["docs/OPERATING.md says `cargo xtask dance`, which does not exist"]);
    }

    #[test]
    fn ci_runs_one_command() {
        for (text, complaints) in [
            ("#!/usr/bin/env bash\nset -euo pipefail\nexec cargo xtask test\n", 0),
            ("cargo xtask test --fast", 1),
            ("cargo xtask check\ncargo xtask test", 1),
            ("true", 1),
        ] {
            assert_eq!(ci(&[Source::new(".ci/run", text)]).len(), complaints, "{text}");
        }
    }
}
