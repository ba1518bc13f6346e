//! What the crates may use: read from their Cargo.toml files, as they are written.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::Source;

/// Our crates by folder, and which of ours each may use. `None`: any.
const ARROWS: [(&str, &str, Option<&[&str]>); 6] = [
    ("gate-core", "gate-core", Some(&[])),
    ("hardware", "hardware", Some(&[])),
    ("gate-agent", "gate-agent", Some(&["gate-core", "hardware"])),
    ("cloud-sync", "cloud-sync", Some(&["gate-core"])),
    ("tests", "gate-tests", None),
    ("xtask", "xtask", Some(&[])),
];

/// Packages the owner wants the product to stand on.
const ASKED_FOR: [&str; 11] =
    ["tokio", "rusqlite", "nokhwa", "rqrr", "rppal", "ed25519-dalek", "reqwest", "serde", "axum", "tracing", "crdts"];

/// Cargo.toml files of crates, by folder.
fn manifests(files: &[Source]) -> BTreeMap<&str, Table> {
    files.iter().filter_map(|file| Some((file.path.strip_suffix("/Cargo.toml")?, file.text.parse().ok()?))).collect()
}

/// The packages a manifest depends on, under any heading and any name.
fn dependencies(manifest: &Table, headings: &[&str]) -> BTreeSet<String> {
    let mut tables: Vec<&Table> = vec![manifest];
    let targets = manifest.get("target").and_then(Value::as_table);
    tables.extend(targets.into_iter().flat_map(Table::values).filter_map(Value::as_table));
    tables
        .into_iter()
        .flat_map(|table| headings.iter().filter_map(|heading| table.get(*heading)?.as_table()))
        .flatten()
        .map(|(name, value)| value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned())
        .collect()
}

/// Crates use only those of ours that they may.
pub fn arrows(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (folder, manifest) in manifests(files) {
        let Some((_, _, allowed)) = ARROWS.into_iter().find(|(known, _, _)| *known == folder) else {
            complaints.push(format!("{folder}/Cargo.toml is a crate the tidy rules do not know"));
            continue;
        };
        let used = dependencies(&manifest, &["dependencies", "dev-dependencies", "build-dependencies"]);
        for (_, ours, _) in ARROWS {
            if used.contains(ours) && allowed.is_some_and(|allowed| !allowed.contains(&ours)) {
                complaints.push(format!("{folder} must not use {ours}"));
            }
        }
    }
    for (folder, _, _) in ARROWS {
        if !files.iter().any(|file| file.path == format!("{folder}/Cargo.toml")) {
            complaints.push(format!("{folder}/Cargo.toml is gone"));
        }
    }
    complaints
}

/// Every package the owner asked for is a dependency of the product, not of its tests alone.
pub fn asked_for(files: &[Source]) -> Vec<String> {
    let used: BTreeSet<String> = manifests(files)
        .into_iter()
        .filter(|(folder, _)| !matches!(*folder, "tests" | "xtask"))
        .flat_map(|(_, manifest)| dependencies(&manifest, &["dependencies"]))
        .collect();
    ASKED_FOR
        .into_iter()
        .filter(|package| !used.contains(*package))
        .map(|package| format!("no crate of the product depends on {package}"))
        .collect()
}

/// Every crate takes the workspace's lints.
pub fn lints(files: &[Source]) -> Vec<String> {
    manifests(files)
        .into_iter()
        .filter(|(_, manifest)| {
            manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool) != Some(true)
        })
        .map(|(folder, _)| format!("{folder}/Cargo.toml does not say `[lints] workspace = true`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All crates, empty but for one.
    fn house(folder: &str, manifest: &str) -> Vec<Source> {
        ARROWS
            .into_iter()
            .map(|(known, _, _)| {
                Source::new(&format!("{known}/Cargo.toml"), if known == folder { manifest } else { "" })
            })
            .collect()
    }

    #[test]
    fn arrows_have_a_direction() {
        for (folder, manifest, expected) in [
            ("gate-agent", "[dependencies]\ngate-core.workspace = true\nhardware.workspace = true", None),
            ("tests", "[dependencies]\ngate-agent.workspace = true\ncloud-sync.workspace = true", None),
            ("gate-core", "[dependencies]\nserde = \"1\"", None),
            (
                "gate-core",
                "[dependencies]\nhardware = { path = \"../hardware\" }",
                Some("gate-core must not use hardware"),
            ),
            ("hardware", "[dev-dependencies]\ngate-core.workspace = true", Some("hardware must not use gate-core")),
            ("cloud-sync", "[build-dependencies]\nhardware.workspace = true", Some("cloud-sync must not use hardware")),
            (
                "cloud-sync",
                "[dependencies]\nbrain = { package = \"gate-agent\" }",
                Some("cloud-sync must not use gate-agent"),
            ),
            (
                "gate-agent",
                "[target.'cfg(unix)'.dependencies]\ncloud-sync.workspace = true",
                Some("gate-agent must not use cloud-sync"),
            ),
        ] {
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(arrows(&house(folder, manifest)), expected, "{folder}: {manifest}");
        }
    }

    #[test]
    fn unknown_and_missing_crates_are_named() {
        let mut files = house("tests", "");
        files.push(Source::new("extra/Cargo.toml", ""));
        assert_eq!(arrows(&files), ["extra/Cargo.toml is a crate the tidy rules do not know"]);
        assert_eq!(arrows(&files[1..6]), ["gate-core/Cargo.toml is gone"]);
    }

    #[test]
    fn packages_asked_for_count_only_in_the_product() {
        let all: String = ASKED_FOR.map(|package| format!("{package}.workspace = true\n")).concat();
        for (folder, manifest, missing) in [
            ("hardware", format!("[dependencies]\n{all}"), 0),
            ("hardware", format!("[dependencies]\n{}", all.replace("rqrr", "other")), 1),
            ("hardware", format!("[dev-dependencies]\n{all}"), ASKED_FOR.len()),
            ("tests", format!("[dependencies]\n{all}"), ASKED_FOR.len()),
        ] {
            assert_eq!(asked_for(&house(folder, &manifest)).len(), missing, "{folder}: {manifest}");
        }
    }

    #[test]
    fn lints_are_taken_from_the_workspace() {
        for (manifest, complaints) in [
            ("[lints]\nworkspace = true", 0),
            ("lints.workspace = true", 0),
            ("[lints]\nworkspace = false", 1),
            ("[package]\nname = \"a\"", 1),
        ] {
            assert_eq!(lints(&[Source::new("a/Cargo.toml", manifest)]).len(), complaints, "{manifest}");
        }
    }
}
