//! cargo-deny, built once into target/tools: licences, bans and sources of every dependency.
//!
//! Its advisory check is not used: it needs a database that is fetched anew each time.

use std::path::PathBuf;

use crate::shell::Shell;
use crate::workspace::Workspace;

/// Raised by hand, so that the same rules are read the same way everywhere.
const VERSION: &str = "0.20.2";

/// Installs cargo-deny when missing and checks against deny.toml.
///
/// # Errors
/// When it cannot be built, or a dependency breaks a rule.
pub fn check(workspace: &Workspace, shell: &Shell) -> anyhow::Result<()> {
    let program = installed(workspace, shell)?;
    let mut deny = workspace.command(program);
    deny.args(["--workspace", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    shell.run(&mut deny)
}

fn installed(workspace: &Workspace, shell: &Shell) -> anyhow::Result<PathBuf> {
    let tools = workspace.tools();
    let program = tools.join("bin/cargo-deny");
    let is_current = workspace
        .command(&program)
        .arg("--version")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("cargo-deny {VERSION}"));
    if !is_current {
        shell.say(&format!("check: cargo install cargo-deny {VERSION} into target/tools"));
        let mut install = workspace.cargo();
        // Unoptimised: built in half the time, and it runs for seconds.
        install.args(["install", "--locked", "--debug", "--force", "--version", VERSION, "cargo-deny", "--root"]);
        shell.run(install.arg(&tools))?;
    }
    Ok(program)
}
