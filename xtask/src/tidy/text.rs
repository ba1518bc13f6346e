//! How files look: length, names, first lines, and what must not stand in them.

use super::Source;

/// A file longer than this wants two names.
const LONGEST: usize = 600;

/// Words that say nothing about what a module is.
const VAGUE: [&str; 9] = ["util", "utils", "utilities", "manager", "managers", "helper", "helpers", "common", "misc"];

/// Written in two parts, so that this file does not contain them.
const UNFINISHED: [&str; 2] = [concat!("to", "do!"), concat!("unimpl", "emented!")];

/// Source files over [`LONGEST`] lines; one that says `@generated` at its top is not ours to shorten.
pub fn too_long(files: &[Source]) -> Vec<String> {
    files
        .iter()
        .filter(|file| matches!(file.extension(), "rs" | "ts" | "svelte" | "mjs"))
        .filter(|file| !file.text.lines().take(3).any(|line| line.contains("@generated")))
        .filter_map(|file| {
            let lines = file.text.lines().count();
            (lines > LONGEST).then(|| format!("{} has {lines} lines, more than {LONGEST}", file.path))
        })
        .collect()
}

/// Macros that stand where code should.
pub fn unfinished(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.extension() == "rs") {
        for (number, line) in file.code_lines() {
            for word in UNFINISHED.into_iter().filter(|word| line.contains(word)) {
                complaints.push(format!("{}:{number} has {word}", file.path));
            }
        }
    }
    complaints
}

/// Modules and folders with a name that would fit anywhere.
pub fn vague_names(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| matches!(file.extension(), "rs" | "ts" | "svelte" | "mjs")) {
        complaints.extend(vague(&file.path).map(|word| format!("{} is named {word}", file.path)));
        if file.extension() == "rs" {
            for (number, line) in file.code_lines() {
                let module = line.trim_start().trim_start_matches("pub ").strip_prefix("mod ");
                complaints
                    .extend(module.and_then(vague).map(|word| format!("{}:{number} names a module {word}", file.path)));
            }
        }
    }
    complaints
}

fn vague(name: &str) -> Option<&'static str> {
    name.split(|letter: char| !letter.is_ascii_alphanumeric())
        .find_map(|part| VAGUE.into_iter().find(|word| part.eq_ignore_ascii_case(word)))
}

/// Rust files that do not open with a paragraph on why they exist.
pub fn purpose(files: &[Source]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.extension() == "rs" && file.path.split('/').nth(1) == Some("src"))
        .filter(|file| {
            let first = file.text.lines().next().and_then(|line| line.strip_prefix("//!"));
            first.is_none_or(|said| said.trim().is_empty())
        })
        .map(|file| format!("{} does not start with `//!` and why it exists", file.path))
        .collect()
}

/// Printing outside of xtask, the tests and functions (or files) that say they are a printer.
pub fn prints(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.extension() == "rs") {
        // What a build script prints is what it tells cargo.
        if file.path.starts_with("xtask/") || file.path.starts_with("tests/") || file.path.ends_with("/build.rs") {
            continue;
        }
        let mut is_printer = false;
        for (number, line) in file.code_lines() {
            is_printer |= line.contains("clippy::print_stdout");
            if !is_printer && (calls(line, "println!") || calls(line, "print!")) {
                complaints.push(format!(
                    "{}:{number} prints, but no `#[expect(clippy::print_stdout, …)]` above says why",
                    file.path
                ));
            }
        }
    }
    complaints
}

/// Whether the line calls the macro itself, not one whose name ends like it.
fn calls(line: &str, call: &str) -> bool {
    line.match_indices(call)
        .any(|(at, _)| !line[..at].ends_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_our_own_sources() {
        let long = "x\n".repeat(LONGEST + 1);
        for (path, text, complaints) in [
            ("a/src/b.rs", long.clone(), 1),
            ("web/a.svelte", long.clone(), 1),
            ("web/a.ts", long.clone(), 1),
            ("a/src/b.rs", "x\n".repeat(LONGEST), 0),
            ("a/src/b.rs", format!("// @generated\n{long}"), 0),
            ("Cargo.lock", long, 0),
        ] {
            assert_eq!(too_long(&[Source::new(path, &text)]).len(), complaints, "{path}");
        }
    }

    #[test]
    fn unfinished_code_is_found() {
        for (line, complaints) in [
            (format!("    {}(\"later\")", UNFINISHED[0]), 1),
            (format!("{}()", UNFINISHED[1]), 1),
            (format!("// no {} here", UNFINISHED[0]), 0),
            ("let todo = 1;".to_owned(), 0),
        ] {
            assert_eq!(unfinished(&[Source::new("a/src/b.rs", &line)]).len(), complaints, "{line}");
        }
    }

    #[test]
    fn names_say_something() {
        for (path, text, complaints) in [
            ("a/src/lane.rs", "mod pass;", 0),
            ("a/src/utils.rs", "", 1),
            ("a/src/helpers/lane.rs", "", 1),
            ("a/src/key_manager.rs", "", 1),
            ("web/shared/src/common.ts", "", 1),
            ("a/src/lane.rs", "pub mod common {", 1),
            ("a/src/lane.rs", "mod helper;", 1),
            ("a/src/lane.rs", "let manager = 1; // the person", 0),
            ("a/src/commons.rs", "", 0),
            ("docs/common.md", "", 0),
        ] {
            assert_eq!(vague_names(&[Source::new(path, text)]).len(), complaints, "{path}: {text}");
        }
    }

    #[test]
    fn files_open_with_their_purpose() {
        for (path, text, complaints) in [
            ("a/src/b.rs", "//! Because.\n", 0),
            ("a/src/deep/b.rs", "use std;\n//! Late.", 1),
            ("a/src/b.rs", "//!\n", 1),
            ("a/src/b.rs", "", 1),
            ("a/build.rs", "fn main() {}", 0),
        ] {
            assert_eq!(purpose(&[Source::new(path, text)]).len(), complaints, "{path}: {text}");
        }
    }

    #[test]
    fn printing_is_for_printers() {
        let printer = "#[expect(clippy::print_stdout, reason = \"prints\")]\nfn show() { println!(); }";
        for (path, text, complaints) in [
            ("a/src/b.rs", "println!(\"x\");", 1),
            ("a/src/b.rs", "print!(\"x\");", 1),
            ("a/src/b.rs", "eprintln!(\"x\");", 0),
            ("a/src/b.rs", "// println!(\"x\");", 0),
            ("a/src/b.rs", printer, 0),
            ("xtask/src/b.rs", "println!(\"x\");", 0),
            ("tests/src/b.rs", "println!(\"x\");", 0),
            ("a/build.rs", "println!(\"x\");", 0),
        ] {
            assert_eq!(prints(&[Source::new(path, text)]).len(), complaints, "{path}: {text}");
        }
    }
}
