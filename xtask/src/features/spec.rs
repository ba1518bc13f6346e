//! The ids of the specification, where it stands beside the checkout.

use std::path::Path;

use anyhow::Context;

/// The files that hold ids, and the heading under which some stand in running text.
const FILES: [(&str, Option<(&str, &str)>); 4] = [
    ("features.md", None),
    ("ux.md", None),
    ("security.md", Some(("acceptance criteria for a release", "S"))),
    ("reliability.md", Some(("Invariants checked", "I"))),
];

/// The families whose ids open a table row: letters, and how many digits follow.
const FAMILIES: [(&str, std::ops::RangeInclusive<usize>); 10] = [
    ("A", 2..=3),
    ("B", 2..=3),
    ("C", 2..=3),
    ("D", 2..=3),
    ("E", 2..=3),
    ("X", 1..=1),
    ("UX-", 2..=2),
    ("A-", 2..=3),
    ("T-", 2..=3),
    ("R-", 2..=2),
];

/// Every id, in the order of the files.
///
/// # Errors
/// When a file cannot be read or holds no id, which means that its format changed.
pub fn ids(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for (name, prose) in FILES {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut found = in_rows(&text);
        if let Some((heading, letter)) = prose {
            let spoken = in_prose(&text, heading, letter);
            anyhow::ensure!(!spoken.is_empty(), "{} has no ids under `{heading}`", path.display());
            found.extend(spoken);
        }
        anyhow::ensure!(!found.is_empty(), "{} has no ids", path.display());
        ids.extend(found);
    }
    Ok(ids)
}

fn in_rows(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix('|')?.split('|').next().map(str::trim))
        .filter(|cell| is_id(cell))
        .map(str::to_owned)
        .collect()
}

fn is_id(cell: &str) -> bool {
    FAMILIES.iter().any(|(letters, digits)| {
        cell.strip_prefix(letters)
            .is_some_and(|rest| digits.contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Words like `I7` in the section under the heading.
fn in_prose(text: &str, heading: &str, letter: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| !(line.starts_with("## ") && line.contains(heading)))
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .flat_map(str::split_whitespace)
        .filter(|word| {
            word.strip_prefix(letter)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_other_cells() {
        for (cell, expected) in [
            ("A01", true),
            ("D101", true),
            ("X1", true),
            ("UX-01", true),
            ("A-141", true),
            ("R-40", true),
            ("T-22", true),
            ("A1", false),
            ("B10x", false),
            ("ID", false),
            ("S1", false),
            ("X12", false),
            ("UX-60..", false),
            ("", false),
        ] {
            assert_eq!(is_id(cell), expected, "{cell}");
        }
    }

    #[test]
    fn ids_open_rows_or_stand_under_their_heading() {
        let text = "| A01 | see A02 |\n|A-02| x |\nA03\n## 6. Ten security acceptance criteria for a release\n\
            S1 A-01..A-30: all. S2 as S1. S10 none.\n## 7. More\nS11 no.";
        assert_eq!(in_rows(text), ["A01", "A-02"]);
        // `S1.` ends a sentence: it refers, it does not define.
        assert_eq!(in_prose(text, "acceptance criteria", "S"), ["S1", "S2", "S10"]);
    }
}
