//! Rules of the house that no compiler knows, as ordinary tests.
//!
//! Every rule is a function from files to complaints; a table beside it shows what it lets pass and what not,
//! and [`the_house_is_tidy`] runs all of them over this checkout.

mod crates;
mod hosts;
mod readme;
mod text;

use std::path::Path;
use std::process::Command;

use crate::workspace::Workspace;

/// Files in, complaints out.
type Rule = fn(&[Source]) -> Vec<String>;

/// One text file of the checkout.
#[derive(Debug, Clone)]
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its contents.
    pub text: String,
}

impl Source {
    /// For tables.
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// What follows the last dot of the name.
    fn extension(&self) -> &str {
        Path::new(&self.path).extension().and_then(|extension| extension.to_str()).unwrap_or("")
    }

    /// Lines, counted from 1, without those that are only a comment.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Every text file git knows or would add; build output is not among them.
fn files(workspace: &Workspace) -> Vec<Source> {
    let output = workspace
        .command("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .expect("the tidy rules look at what git knows: git is needed");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let mut paths: Vec<&str> =
        std::str::from_utf8(&output.stdout).unwrap().split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
        .into_iter()
        // A picture is no text; a file that is deleted but not yet staged is not there.
        .filter_map(|path| {
            Some(Source { text: std::fs::read_to_string(workspace.path(path)).ok()?, path: path.to_owned() })
        })
        .collect()
}

#[test]
fn the_house_is_tidy() {
    let workspace = Workspace::find().unwrap();
    let files = files(&workspace);
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "the root Cargo.toml is not among the files");
    let rules: [(&str, Rule); 11] = [
        ("arrows point one way", crates::arrows),
        ("the owner's packages are used", crates::asked_for),
        ("lints hold everywhere", crates::lints),
        ("files have one name", text::too_long),
        ("nothing is left to do", text::unfinished),
        ("names are nouns from the gate", text::vague_names),
        ("files say why they exist", text::purpose),
        ("data goes through a printer", text::prints),
        ("no registry is named", hosts::named),
        ("README's commands exist", readme::commands),
        ("CI runs what developers run", readme::ci),
    ];
    let complaints: Vec<String> = rules
        .into_iter()
        .flat_map(|(rule, check)| check(&files).into_iter().map(move |complaint| format!("{rule}: {complaint}")))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    let run = workspace.path(".ci/run");
    assert!(Command::new("test").arg("-x").arg(run).status().unwrap().success(), ".ci/run is not executable");
}
