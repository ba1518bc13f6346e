//! The web pages: npm packages when the lock file changed, a build when the sources did.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::node;
use super::stamp::Stamp;
use crate::shell::Shell;
use crate::workspace::Workspace;

/// The folders of `web/` that are built into pages, each embedded by a binary.
const PAGES: [&str; 2] = ["kiosk", "dashboard"];

/// Packages installed, pages built.
///
/// # Errors
/// When npm fails.
pub fn ready(workspace: &Workspace, shell: &Shell) -> anyhow::Result<()> {
    packages(workspace, shell)?;
    let web = workspace.path("web");
    let stamp = Stamp::of(workspace, "web-build", std::slice::from_ref(&web))?;
    if stamp.holds() && PAGES.iter().all(|page| is_built(&web.join(page))) {
        return Ok(());
    }
    shell.say("setup: npm run build in web/ (its sources changed)");
    shell.run(node::npm(workspace, shell)?.args(["run", "--silent", "build"]))?;
    stamp.set()
}

fn packages(workspace: &Workspace, shell: &Shell) -> anyhow::Result<()> {
    let lock = workspace.path("web/package-lock.json");
    let stamp = Stamp::of(workspace, "npm-ci", &[lock])?;
    if stamp.holds() && workspace.path("web/node_modules").is_dir() {
        return Ok(());
    }
    shell.say("setup: npm ci in web/ (its lock file changed)");
    shell.run(node::npm(workspace, shell)?.args(["ci", "--no-audit", "--no-fund"])).with_context(
        || "npm ci failed: does web/package-lock.json fit web/package.json, and is the package registry reachable?",
    )?;
    stamp.set()
}

fn is_built(page: &Path) -> bool {
    let index: PathBuf = page.join("dist/index.html");
    index.is_file()
}
