//! System packages: what the build and the tests need beyond rustup.

use std::process::Command;

use anyhow::{Context, bail};

use crate::shell::{Shell, on_path};
use crate::workspace::Workspace;

/// How to tell that a package is there.
#[derive(Clone, Copy)]
enum Sign {
    /// dpkg knows it as installed.
    Installed,
    /// The program it brings can be started, whoever brought it.
    Program(&'static str),
}

/// Package, the sign that it is there, what it is for.
const NEEDED: [(&str, Sign, &str); 7] = [
    ("libclang-dev", Sign::Installed, "the camera bindings"),
    ("pkg-config", Sign::Program("pkg-config"), "native libraries"),
    ("poppler-utils", Sign::Program("pdftoppm"), "turning pass sheets into camera frames"),
    ("chromium", Sign::Program("chromium"), "browser checks"),
    ("nodejs", Sign::Program("node"), "building the web pages"),
    ("npm", Sign::Program("npm"), "building the web pages"),
    ("strace", Sign::Program("strace"), "seeing what a gate writes, for power cuts"),
];

/// Installs the packages that are missing.
///
/// # Errors
/// When packages are missing and apt cannot bring them; the text names them.
pub fn ready(workspace: &Workspace, shell: &Shell) -> anyhow::Result<()> {
    let missing = missing(dpkg_has, on_path);
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    if !on_path("apt-get") {
        bail!("please install what Debian calls {}: this machine has no apt-get", names.join(" "));
    }
    for (package, purpose) in &missing {
        shell.say(&format!("setup: {package} is missing ({purpose})"));
    }
    shell.say(&format!("setup: apt-get install {}", names.join(" ")));
    if shell.run(&mut install(workspace, &names)?).is_ok() {
        return Ok(());
    }
    shell.say("setup: the package lists may be old: apt-get update, then once more");
    shell.run(apt(workspace)?.arg("update"))?;
    shell
        .run(&mut install(workspace, &names)?)
        .with_context(|| format!("please install by hand: apt-get install {}", names.join(" ")))
}

/// What is not there, with its purpose.
fn missing(installed: impl Fn(&str) -> bool, on_path: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
    NEEDED
        .into_iter()
        .filter(|(package, sign, _)| match sign {
            Sign::Installed => !installed(package),
            Sign::Program(program) => !on_path(program),
        })
        .map(|(package, _, purpose)| (package, purpose))
        .collect()
}

fn dpkg_has(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

fn install(workspace: &Workspace, names: &[&str]) -> anyhow::Result<Command> {
    let mut command = apt(workspace)?;
    command.args(["install", "--yes", "--no-install-recommends"]).args(names);
    Ok(command)
}

fn apt(workspace: &Workspace) -> anyhow::Result<Command> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = if is_root {
        workspace.command("apt-get")
    } else if on_path("sudo") {
        let mut sudo = workspace.command("sudo");
        // sudo drops the environment; a question nobody sees would wait for ever.
        sudo.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    } else {
        bail!("installing packages needs root: run `cargo xtask setup` once as root, or install sudo");
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_named() {
        for (installed, programs, expected) in [
            (&["libclang-dev"][..], &["pkg-config", "pdftoppm", "chromium", "node", "npm", "strace"][..], &[][..]),
            (&[], &["pkg-config", "pdftoppm", "chromium", "node", "npm", "strace"], &["libclang-dev"]),
            (&["libclang-dev"], &["pkg-config", "chromium", "node", "npm", "strace"], &["poppler-utils"]),
            (&[], &[], &["libclang-dev", "pkg-config", "poppler-utils", "chromium", "nodejs", "npm", "strace"]),
        ] {
            let found = missing(|package| installed.contains(&package), |program| programs.contains(&program));
            let found: Vec<&str> = found.into_iter().map(|(package, _)| package).collect();
            assert_eq!(found, expected);
        }
    }
}
