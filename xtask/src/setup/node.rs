//! A Node that is new enough: the machine's own, or one fetched with npm into target/tools.
//!
//! Debian 12 brings Node 18, which the web tools no longer take; its npm can still fetch a newer one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::shell::Shell;
use crate::workspace::Workspace;

/// The oldest Node the web tools take (see `engines` in web/package.json).
const OLDEST: (u32, u32) = (20, 19);
/// The line that is fetched where the machine's own is older.
const FETCHED: &str = "22";

/// npm in `web/`, with a Node that is new enough before all others.
///
/// # Errors
/// When the machine's Node is too old and no other could be fetched.
pub fn npm(workspace: &Workspace, shell: &Shell) -> anyhow::Result<Command> {
    let mut npm = Command::new("npm");
    npm.current_dir(workspace.path("web"));
    if version_of("node".into()).is_none_or(|version| version < OLDEST) {
        let folder = fetched(workspace, shell)?;
        let mut path = OsString::from(folder);
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        npm.env("PATH", path);
    }
    Ok(npm)
}

fn fetched(workspace: &Workspace, shell: &Shell) -> anyhow::Result<PathBuf> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let package = format!("node-linux-{architecture}");
    let prefix = workspace.tools().join("node");
    let folder = prefix.join("node_modules").join(&package).join("bin");
    if version_of(folder.join("node")).is_some_and(|version| version >= OLDEST) {
        return Ok(folder);
    }
    shell.say(&format!(
        "setup: this machine's node is older than {}.{}: npm install {package}@{FETCHED} into target/tools",
        OLDEST.0, OLDEST.1
    ));
    std::fs::create_dir_all(&prefix).with_context(|| format!("create {}", prefix.display()))?;
    let mut npm = workspace.command("npm");
    npm.args(["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefix"]);
    shell
        .run(npm.arg(&prefix).arg(format!("{package}@{FETCHED}")))
        .with_context(|| format!("please install Node {}.{} or newer by hand", OLDEST.0, OLDEST.1))?;
    Ok(folder)
}

fn version_of(node: PathBuf) -> Option<(u32, u32)> {
    let output = Command::new(node).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for (text, expected) in [
            ("v20.19.2\n", Some((20, 19))),
            ("v18.13.0", Some((18, 13))),
            ("v9.0.0", Some((9, 0))),
            ("20.19.2", None),
            ("v20", None),
            ("", None),
        ] {
            assert_eq!(parse_version(text), expected, "{text}");
        }
        assert!((20, 9) < OLDEST, "not compared as text");
    }
}
