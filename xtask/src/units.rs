//! The systemd units are accepted by systemd itself, and their sandbox is as tight as promised.
//!
//! They are checked in a root of their own with stand-ins for our programs and for the targets they name,
//! so that the answer does not depend on what is installed on this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

use crate::shell::{Shell, on_path};
use crate::steps::Outcome;
use crate::workspace::Workspace;

/// Programs a unit may start; a unit that names another one is refused.
const PROGRAMS: [&str; 3] = ["gate-agent", "gate-io", "cloud-sync"];
/// Targets that every system has.
const TARGETS: [&str; 6] = ["sysinit", "basic", "shutdown", "multi-user", "network", "network-online"];
/// Highest exposure that is taken, in tenths (0 is sealed, 100 is bare).
const EXPOSURE_TENTHS: &str = "--threshold=20";

/// Verifies every unit, measures its exposure, and reads the users file.
///
/// # Errors
/// When a tool cannot be started or refuses a file.
pub fn verify(workspace: &Workspace, shell: &Shell) -> anyhow::Result<Outcome> {
    if !on_path("systemd-analyze") {
        return Ok(Outcome::Skipped("no systemd-analyze here (Debian: apt-get install systemd)".to_owned()));
    }
    let source = workspace.path("systemd");
    let root = workspace.notes("units")?;
    fs::remove_dir_all(&root).with_context(|| format!("empty {}", root.display()))?;
    let units = lay_out(&source, &root)?;
    anyhow::ensure!(!units.is_empty(), "{} holds no .service file", source.display());

    let mut complaints = Vec::new();
    for unit in &units {
        let text = fs::read_to_string(source.join(unit)).with_context(|| format!("read {unit}"))?;
        complaints.extend(dangling(&text, &units).into_iter().map(|name| format!("{unit} names {name}")));
    }
    let mut verify = workspace.command("systemd-analyze");
    verify.arg("verify").arg(format!("--root={}", root.display())).args(&units);
    let verified = verify.output().context("start systemd-analyze")?;
    // A key or call group it does not know is only a remark to systemd, and a hole in a sandbox to us.
    complaints.extend(String::from_utf8_lossy(&verified.stderr).lines().map(str::to_owned));
    if !complaints.is_empty() || !verified.status.success() {
        complaints.iter().for_each(|complaint| shell.say(complaint));
        let first = complaints.first().map_or("it said nothing", String::as_str);
        anyhow::bail!("systemd-analyze verify ({}): {first}", verified.status);
    }
    for unit in &units {
        let mut security = workspace.command("systemd-analyze");
        security.args(["security", "--offline=yes", "--no-pager", EXPOSURE_TENTHS]);
        shell.run(security.arg(source.join(unit)))?;
    }
    if on_path("systemd-sysusers") {
        let mut users = workspace.command("systemd-sysusers");
        users.arg("--dry-run").arg(format!("--root={}", root.display()));
        shell.run(users.arg(source.join("gate.sysusers.conf")))?;
    }
    Ok(Outcome::Passed)
}

/// Programs and units that a unit names and that we do not ship; systemd lets both pass where failure is ignored.
fn dangling(unit: &str, units: &[String]) -> Vec<String> {
    let settings = unit.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    settings
        .flat_map(|(key, value)| match key {
            "Wants" | "Requires" | "BindsTo" | "After" | "Before" => value
                .split_whitespace()
                .filter(|name| name.ends_with(".service") && !units.iter().any(|unit| unit == name))
                .map(str::to_owned)
                .collect(),
            _ if key.starts_with("Exec") => {
                let command = value.trim_start_matches(['-', '@', '+', '!', ':']);
                let program = command.split_whitespace().next().unwrap_or_default();
                let is_ours = program.strip_prefix("/usr/bin/").is_some_and(|name| PROGRAMS.contains(&name));
                if is_ours { Vec::new() } else { vec![program.to_owned()] }
            }
            _ => Vec::new(),
        })
        .collect()
}

/// Builds the root and returns the names of the units in it.
fn lay_out(source: &Path, root: &Path) -> anyhow::Result<Vec<String>> {
    let system = root.join("etc/systemd/system");
    let programs = root.join("usr/bin");
    for folder in [&system, &programs] {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    for program in PROGRAMS {
        let path = programs.join(program);
        fs::write(&path, "#!/bin/sh\n")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    for target in TARGETS {
        fs::write(system.join(format!("{target}.target")), "[Unit]\nDescription=stand-in\n")?;
    }
    let mut units = Vec::new();
    for entry in fs::read_dir(source).with_context(|| format!("read {}", source.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".service") {
            fs::copy(&path, system.join(&name)).with_context(|| format!("copy {name}"))?;
            units.push(name);
        }
    }
    units.sort();
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_name_what_is_shipped() {
        let units = ["gate-io.service".to_owned()];
        for (text, expected) in [
            ("Wants=gate-io.service\nAfter=gate-io.service network.target", &[][..]),
            ("After=gate-oi.service", &["gate-oi.service"]),
            ("# After=gate-oi.service", &[]),
            ("ExecStart=/usr/bin/gate-agent run", &[]),
            ("ExecStopPost=-/usr/bin/gate-io --safe", &[]),
            ("ExecStopPost=-/usr/bin/gate-oi --safe", &["/usr/bin/gate-oi"]),
            ("ExecStartPre=/bin/sh -c true", &["/bin/sh"]),
        ] {
            assert_eq!(dangling(text, &units), expected, "{text}");
        }
    }
}
