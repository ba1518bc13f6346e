//! The camera is pulled out and put back, again and again: each time staff are told, the gate comes back by itself, and
//! nothing is left behind.

use std::path::Path;

use anyhow::Context;
use hardware::clock::Stopwatch;
use hardware::compose::{Scene, code, compose};
use hardware::lines::simulated::ReleaseModel;

use super::figures::{Figures, worst};
use crate::bench::percentile;
use crate::clock::unix_ms;
use crate::world::stock::Stock;
use crate::world::{Gate, GatePlan, HOLD, free_address, fresh_folder};

/// FAULT must show this soon, ms.
const FAULT_MS: f64 = 2000.0;
/// The gate must serve again this soon after the camera went, 99th percentile, ms.
const BACK_MS: f64 = 5000.0;
/// A pass is held up each time this many cycles are over.
const SERVE_EVERY: u32 = 20;
/// What the agent may hold more at the end than after the first cycles: nothing, within what an allocator rounds to.
const MORE_FILES: f64 = 2.0;
const MORE_KB: f64 = 4096.0;

/// Runs the campaign.
pub async fn run(times: u32, seed: u64, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Figures> {
    tell(&format!("unplug campaign: {times} cycles, seed {seed}"));
    let world = fresh_folder("gate-unplug")?;
    let result = cycles(&world, times, seed, tell).await;
    std::fs::remove_dir_all(&world)?;
    result
}

async fn cycles(world: &Path, times: u32, seed: u64, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Figures> {
    let mut figures = Figures::new("unplug", seed, times);
    let stock = Stock::new(unix_ms());
    let cloud = free_address()?;
    let plan = GatePlan { name: "unplug", world, cloud, release: ReleaseModel::Strict, hold: HOLD };
    let mut gate = Gate::build(&plan)?;
    drop(stock.fill(&gate.data_dir(), &format!("http://{cloud}"), 10)?);
    gate.start().await?;
    let (mut told, mut back) = (Vec::new(), Vec::new());
    let mut before = None;
    for cycle in 0..times {
        let watch = Stopwatch::start();
        gate.unplug()?;
        let shows = |s: &serde_json::Value| s["screen"]["lamp"] == "fault" && s["status"]["camera"] == "stalled";
        gate.wait("the fault shows", shows).await?;
        told.push(watch.elapsed_us() as f64 / 1000.0);
        gate.wait("it serves again", |s| s["screen"]["kind"] == "idle" && s["status"]["camera"] == "ok").await?;
        back.push(watch.elapsed_us() as f64 / 1000.0);
        if cycle % SERVE_EVERY == SERVE_EVERY - 1 {
            serve(&mut gate, &stock, seed, cycle).await?;
            tell(&format!("  {} cycles, {} violations", cycle + 1, figures.violations()));
        }
        // What is opened once and kept is open by now.
        if cycle == times / 10 {
            before = Some(held(&gate)?);
        }
    }
    figures.at_most("FAULT after unplugging, worst ms", worst(&told), FAULT_MS);
    figures.at_most("serving again, p99 ms", percentile(&back, 99), BACK_MS);
    let (files, kb) = held(&gate)?;
    if let Some((files_before, kb_before)) = before {
        figures.note("open files of the agent", files);
        figures.note("resident memory of the agent, kB", kb);
        figures.at_most("more open files than after a tenth of the cycles", files - files_before, MORE_FILES);
        figures.at_most("more resident memory, kB", kb - kb_before, MORE_KB);
    }
    Ok(figures)
}

async fn serve(gate: &mut Gate, stock: &Stock, seed: u64, number: u32) -> anyhow::Result<()> {
    let picture = code(&stock.pass(number)?, 8)?;
    let scene = Scene::friendly(seed + u64::from(number), 330.0);
    let frame = compose(&picture, &scene).context("the code does not fit into the view")?;
    gate.hold_up(&frame.to_png()?)?;
    gate.wait("a pass is admitted", |s| s["screen"]["kind"] == "admit").await?;
    gate.let_go().await;
    gate.wait("it rests", |s| s["screen"]["kind"] == "idle").await?;
    Ok(())
}

/// Open files and resident memory, kB, of the agent.
fn held(gate: &Gate) -> anyhow::Result<(f64, f64)> {
    let agent = gate.agent.as_ref().context("the agent does not run")?.id();
    let files = std::fs::read_dir(format!("/proc/{agent}/fd"))?.count();
    let status = std::fs::read_to_string(format!("/proc/{agent}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kb: f64 = line.split_whitespace().nth(1).context("no number in VmRSS")?.parse()?;
    Ok((files as f64, kb))
}
