//! No file names a package registry or a mirror: which one is used is the machine's business.

use super::Source;

/// Parts of a host name that give a registry or a mirror away.
const TELLING: [&str; 12] = [
    "registry",
    "registries",
    "mirror",
    "mirrors",
    "artifactory",
    "nexus",
    "npmjs",
    "npmmirror",
    "yarnpkg",
    "pypi",
    "pythonhosted",
    "rsproxy",
];

/// Hosts whose parts are harmless words; in parts, so that this file does not contain them.
const WHOLE: [&[&str]; 5] = [
    &["index", "crates", "io"],
    &["static", "crates", "io"],
    &["deb", "debian", "org"],
    &["security", "debian", "org"],
    &["ftp", "debian", "org"],
];

/// Addresses and settings that name one.
pub fn named(files: &[Source]) -> Vec<String> {
    let whole: Vec<String> = WHOLE.iter().map(|parts| parts.join(".")).collect();
    let mut complaints = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            let found = hosts(line)
                .find(|host| is_telling(host))
                .map(str::to_owned)
                .or_else(|| whole.iter().find(|host| line.contains(host.as_str())).cloned())
                .or_else(|| setting(&file.path, line).then(|| line.trim().to_owned()));
            if let Some(found) = found {
                complaints.push(format!("{}:{} names {found}", file.path, index + 1));
            }
        }
    }
    complaints
}

/// The host of every http address in a line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    ["http://", "https://"].into_iter().flat_map(move |scheme| {
        line.split(scheme).skip(1).map(|rest| {
            let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || ".-_@".contains(letter)));
            &rest[..end.unwrap_or(rest.len())]
        })
    })
}

fn is_telling(host: &str) -> bool {
    host.split(['.', '-', '@', '_']).any(|part| TELLING.contains(&part))
}

/// A line of a package tool's configuration that chooses where packages come from.
fn setting(path: &str, line: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let key = line.split('=').next().unwrap_or("").trim();
    match name {
        ".npmrc" => key == "registry" || key.ends_with(":registry"),
        "config.toml" => path.contains(".cargo/") && ["[source", "[registr"].iter().any(|table| key.starts_with(table)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_recognised() {
        let telling = |part: &str| format!("\"resolved\": \"https://{part}.example/a.tgz\"");
        for (path, line, complaints) in [
            ("a.md", telling("registry"), 1),
            ("a.md", telling("npm-mirror"), 1),
            ("a.md", telling("user@nexus"), 1),
            ("a.md", telling("docs"), 0),
            ("a.md", "the registry of gates, the mirror of a car".to_owned(), 0),
            ("a.md", format!("see {}", WHOLE[0].join(".")), 1),
            ("a.md", format!("deb {}/debian", WHOLE[2].join(".")), 1),
            ("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"".to_owned(), 0),
            ("web/.npmrc", "registry=http://10.0.0.1/".to_owned(), 1),
            ("web/.npmrc", "@ours:registry=http://10.0.0.1/".to_owned(), 1),
            ("web/.npmrc", "omit-lockfile-registry-resolved=true".to_owned(), 0),
            (".cargo/config.toml", "[source.near]".to_owned(), 1),
            (".cargo/config.toml", "[registries.near]".to_owned(), 1),
            (".cargo/config.toml", "[alias]".to_owned(), 0),
            ("config.toml", "[source.near]".to_owned(), 0),
        ] {
            assert_eq!(named(&[Source::new(path, &line)]).len(), complaints, "{path}: {line}");
        }
    }
}
