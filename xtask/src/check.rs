//! `check` and `test`: what CI runs, in an order that says the cheap things first.

use std::process::{Command, ExitCode};

use crate::deny;
use crate::features;
use crate::programs;
use crate::setup;
use crate::shell::Shell;
use crate::steps::{Outcome, Steps};
use crate::units;
use crate::workspace::Workspace;

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Without what takes minutes.
    Fast,
    /// Everything.
    Full,
}

/// Everything that needs no running product.
pub fn check(workspace: &Workspace) -> ExitCode {
    let mut steps = Steps::new(workspace);
    checks(&mut steps, workspace, Extent::Full);
    steps.finish()
}

/// [`check`] and every test.
pub fn test(workspace: &Workspace, fast: bool) -> ExitCode {
    let extent = if fast { Extent::Fast } else { Extent::Full };
    let mut steps = Steps::new(workspace);
    checks(&mut steps, workspace, extent);
    // Scenarios start the real programs, which `cargo test` alone would not build.
    steps.step("build", |shell| programs::build_dev(workspace, shell).map(|()| Outcome::Passed));
    // Without traces, which would push what went wrong out of the part of the log that is shown.
    steps.command("test rust", workspace.cargo().args(["test", "--workspace"]).env("RUST_BACKTRACE", "0"));
    npm(&mut steps, workspace, "test web", &["test"]);
    if extent == Extent::Full {
        npm(&mut steps, workspace, "browser", &["run", "browser"]);
        steps.command("demo", programs::dev_program(workspace, "demo").arg("--once"));
        // The same seeds each time; fresh ones are for long campaigns.
        let mut simulate = programs::dev_program(workspace, "simulate");
        steps.command("simulation, 200 seeds", simulate.args(["--seed", "1", "--seeds", "200"]));
        steps.step("power cuts, 1000", |shell| {
            // The traced gate is the one that "build" made; only the harness has faults to switch on, for its control.
            programs::build_with_faults(workspace, shell, &["powercut"])?;
            shell.run(programs::dev_program(workspace, "powercut").args(["--cuts", "1000"])).map(|()| Outcome::Passed)
        });
    }
    steps.finish()
}

fn checks(steps: &mut Steps<'_>, workspace: &Workspace, extent: Extent) {
    steps.step("setup", |shell| setup::everything(workspace, shell).map(|()| Outcome::Passed));
    steps.command("format", workspace.cargo().args(["fmt", "--all", "--check"]));
    steps.step("features", |shell| truth(workspace, shell));
    steps.step("units", |shell| units::verify(workspace, shell));
    // All of xtask's own tests; the tidy rules are among them.
    steps.command("tidy", workspace.cargo().args(["test", "--package", "xtask"]));
    npm(steps, workspace, "web lint and types", &["run", "check"]);
    let mut clippy = workspace.cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    steps.command("clippy", &mut clippy);
    if extent == Extent::Full {
        let mut doc = workspace.cargo();
        doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        steps.command("documentation", &mut doc);
        steps.step("dependencies", |shell| deny::check(workspace, shell).map(|()| Outcome::Passed));
    }
}

fn truth(workspace: &Workspace, shell: &Shell) -> anyhow::Result<Outcome> {
    let (report, problems) = features::report(workspace)?;
    shell.say(&report);
    for problem in &problems {
        shell.say(problem);
    }
    Ok(match problems.len() {
        0 => Outcome::Passed,
        count => Outcome::Failed(format!("{count} rows of docs/features.md are not true")),
    })
}

fn npm(steps: &mut Steps<'_>, workspace: &Workspace, name: &str, arguments: &[&str]) {
    steps.step(name, |shell| {
        let mut npm: Command = setup::node::npm(workspace, shell)?;
        shell.run(npm.args(arguments)).map(|()| Outcome::Passed)
    });
}
