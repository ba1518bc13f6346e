//! The verbs that build the product and run one of its programs: demo, benches, campaigns, power cuts, cold boots, the
//! simulation.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::cli::{Bench, Campaign, Demo, Powercut, Simulate};
use crate::setup;
use crate::shell::Shell;
use crate::workspace::Workspace;

/// The profile a program is built with.
#[derive(Clone, Copy)]
enum Profile {
    /// Hot dependencies are optimised here too (see the root Cargo.toml); shared with the tests.
    Dev,
    /// For figures.
    Release,
}

/// Tells the story; with nothing known here the demo decides.
///
/// # Errors
/// When something is missing, does not build or cannot be started.
pub fn demo(workspace: &Workspace, shell: &Shell, demo: &Demo) -> anyhow::Result<ExitCode> {
    setup::everything(workspace, shell)?;
    let mut arguments: Vec<String> = Vec::new();
    arguments.extend(demo.once.then(|| "--once".to_owned()));
    arguments.extend(demo.json.then(|| "--json".to_owned()));
    arguments.extend(demo.further.iter().cloned());
    run_built(workspace, shell, Profile::Dev, "demo", &arguments)
}

/// Measures.
///
/// # Errors
/// When something is missing, does not build or cannot be started.
pub fn bench(workspace: &Workspace, shell: &Shell, name: Bench, further: &[String]) -> anyhow::Result<ExitCode> {
    setup::everything(workspace, shell)?;
    let mut arguments = vec![name.name().to_owned()];
    arguments.extend_from_slice(further);
    run_built(workspace, shell, Profile::Release, "bench", &arguments)
}

/// Does harm to the processes of a working gate.
///
/// # Errors
/// When something is missing, does not build or cannot be started.
pub fn campaign(
    workspace: &Workspace,
    shell: &Shell,
    name: Campaign,
    times: Option<u32>,
    further: &[String],
) -> anyhow::Result<ExitCode> {
    setup::everything(workspace, shell)?;
    let mut arguments = vec![name.name().to_owned()];
    if let Some(times) = times {
        arguments.extend(["--times".to_owned(), times.to_string()]);
    }
    arguments.extend_from_slice(further);
    run_built(workspace, shell, Profile::Dev, "campaign", &arguments)
}

/// Cuts the power of real programs that were traced.
///
/// # Errors
/// When something is missing, does not build or cannot be started.
pub fn powercut(workspace: &Workspace, shell: &Shell, powercut: &Powercut) -> anyhow::Result<ExitCode> {
    setup::everything(workspace, shell)?;
    // The gate as it is sold, and beside it the harness, which needs a fault for its control.
    build(workspace, shell, Profile::Dev)?;
    build_with_faults(workspace, shell, &["powercut"])?;
    run(workspace, shell, Profile::Dev, "powercut", &powercut.arguments())
}

/// Simulates.
///
/// # Errors
/// When something is missing, does not build or cannot be started.
pub fn simulate(workspace: &Workspace, shell: &Shell, simulate: &Simulate) -> anyhow::Result<ExitCode> {
    setup::everything(workspace, shell)?;
    if simulate.mutants {
        build_with_faults(workspace, shell, &["simulate"])?;
    } else {
        shell.run(workspace.cargo().args(["build", "--package", "gate-tests", "--bin", "simulate"]))?;
    }
    run(workspace, shell, Profile::Dev, "simulate", &simulate.arguments())
}

/// Boots a gate's machine without a network.
///
/// # Errors
/// When something is missing, does not build or cannot be started.
pub fn coldboot(workspace: &Workspace, shell: &Shell, further: &[String]) -> anyhow::Result<ExitCode> {
    setup::everything(workspace, shell)?;
    // What the machine and the cloud are made of, and who tells their story; the whole workspace is named so that nothing is
    // compiled a second time.
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--workspace"]);
    for name in ["gate-agent", "gate-io", "gate-reader", "board-sim", "cloud-sync", "coldboot"] {
        cargo.args(["--bin", name]);
    }
    shell.run(&mut cargo)?;
    run(workspace, shell, Profile::Dev, "coldboot", further)
}

/// Builds test programs that can switch deliberate faults on. They take the place of those without in the target folder,
/// until those are built again; the programs of the product are not among them and refuse to be built so.
///
/// The whole workspace is named so that nothing but our own crates is compiled a second time.
///
/// # Errors
/// When they do not build.
pub fn build_with_faults(workspace: &Workspace, shell: &Shell, names: &[&str]) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--workspace", "--features", "gate-tests/mutants"]);
    for name in names {
        cargo.args(["--bin", name]);
    }
    shell.run(&mut cargo)
}

/// Builds every program of the workspace: the ones under test start each other.
///
/// # Errors
/// When it does not build.
pub fn build_dev(workspace: &Workspace, shell: &Shell) -> anyhow::Result<()> {
    build(workspace, shell, Profile::Dev)
}

/// A program built by [`build_dev`].
pub fn dev_program(workspace: &Workspace, name: &str) -> Command {
    workspace.command(program_path(workspace, Profile::Dev, name))
}

fn build(workspace: &Workspace, shell: &Shell, profile: Profile) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--workspace", "--bins"]);
    match profile {
        Profile::Dev => {}
        Profile::Release => {
            cargo.args(["--release", "--exclude", "xtask"]);
        }
    }
    shell.run(&mut cargo)
}

fn run_built(
    workspace: &Workspace,
    shell: &Shell,
    profile: Profile,
    name: &str,
    arguments: &[String],
) -> anyhow::Result<ExitCode> {
    build(workspace, shell, profile)?;
    run(workspace, shell, profile, name, arguments)
}

fn run(
    workspace: &Workspace,
    shell: &Shell,
    profile: Profile,
    name: &str,
    arguments: &[String],
) -> anyhow::Result<ExitCode> {
    let path = program_path(workspace, profile, name);
    let status = shell
        .status(workspace.command(&path).args(arguments))
        .with_context(|| format!("the package gate-tests has no program `{name}`"))?;
    // Killed by a signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

fn program_path(workspace: &Workspace, profile: Profile, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.path("target"), PathBuf::from);
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    target.join(Path::new(folder)).join(name)
}
