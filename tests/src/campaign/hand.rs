//! gate-io dies in the middle of a pulse, again and again, under both kinds of kernel: one that lets go of lines whose
//! owner is gone, and one that leaves them as they were until the next gate-io takes them.

use std::time::Duration;

use anyhow::Context;
use hardware::clock::mono_us;
use hardware::compose::Chance;
use hardware::gate_io::{GateIo, HandConfig, IoEvent, PulseResult};
use hardware::lines::simulated::{Board, Edge, ReleaseModel};
use tokio::time::timeout;

use super::figures::{Figures, worst};
use crate::bench::percentile;
use crate::world::{Process, fresh_folder};

/// The relay must be off this long after the kill where the kernel lets go of it, ms.
const STRICT_MS: f64 = 200.0;
/// And where the next gate-io has to, ms; it is started at once.
const PERSIST_MS: f64 = 1000.0;
/// How long anything else may take.
const SOON: Duration = Duration::from_secs(10);
/// A pulse that no kill outlasts, ms.
const PULSE_MS: u32 = 3_000;
/// The latest kill after the relay closed, ms.
const LATEST_KILL_MS: u64 = 300;

/// Runs the campaign: `times` kills under each kind of kernel.
pub async fn run(times: u32, seed: u64, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Figures> {
    tell(&format!("hand campaign: {times} kills of gate-io under each of two kernels, seed {seed}"));
    let mut figures = Figures::new("hand", seed, times);
    let mut chance = Chance::new(seed);
    for (model, what, limit) in [
        (ReleaseModel::Strict, "relay off after the kill, ms", STRICT_MS),
        (ReleaseModel::Persist, "relay off by the next gate-io, ms", PERSIST_MS),
    ] {
        let world = fresh_folder("gate-hand")?;
        let off = kills(&world, model, times, &mut chance, &mut figures).await;
        std::fs::remove_dir_all(&world)?;
        let off = off?;
        figures.at_most(what, worst(&off), limit);
        tell(&format!("  {model:?}: worst {:.0} ms, p99 {:.0} ms", worst(&off), percentile(&off, 99)));
    }
    Ok(figures)
}

async fn kills(
    world: &std::path::Path,
    model: ReleaseModel,
    times: u32,
    chance: &mut Chance,
    figures: &mut Figures,
) -> anyhow::Result<Vec<f64>> {
    let board = Board::listen(&world.join("board.sock"), model, None)?;
    let config = HandConfig { pulse_max_ms: PULSE_MS, ..HandConfig::example() };
    std::fs::write(world.join("gate-io.toml"), config.to_toml()?)?;
    let start = || {
        let arguments = [
            "--socket".into(),
            world.join("gate-io.sock").into_os_string(),
            "--lines".into(),
            format!("simulated:{}", world.join("board.sock").display()).into(),
            "--config".into(),
            world.join("gate-io.toml").into_os_string(),
        ];
        Process::start("gate-io", "gate-io", arguments, world)
    };
    let mut hand = start()?;
    let mut brain = GateIo::connect(world.join("gate-io.sock"));
    let mut off = Vec::new();
    for round in 0..times {
        let event = format!("{model:?}/{round}");
        pulse(&mut brain, &event).await.with_context(|| format!("round {round}, {model:?}"))?;
        let wait = chance.bits() % LATEST_KILL_MS;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let killed_us = mono_us();
        hand.kill()?;
        hand = start()?;
        let fell = |edge: &&Edge| edge.line == "relay" && !edge.level && edge.mono_us >= killed_us;
        match board.wait_edges(SOON, |edges| edges.iter().any(|edge| fell(&edge))) {
            Some(edges) => {
                let fall_us = edges.iter().find(fell).map_or(u64::MAX, |edge| edge.mono_us);
                off.push((fall_us - killed_us) as f64 / 1000.0);
            }
            None => figures.violate(format!("round {round}, {model:?}: the relay stayed on")),
        }
        until(&mut brain, |event| matches!(event, IoEvent::Lost { .. })).await?;
    }
    Ok(off)
}

/// Gives heartbeats until a pulse runs.
async fn pulse(brain: &mut GateIo, event: &str) -> anyhow::Result<()> {
    loop {
        if brain.heartbeat(false).is_err() || brain.pulse(event, PULSE_MS).is_err() {
            until(brain, |event| matches!(event, IoEvent::Up(_))).await?;
            continue;
        }
        let mut started = false;
        until(brain, |said| match said {
            IoEvent::Pulse { event: of, result } if of == event => {
                started = *result == PulseResult::Started;
                true
            }
            IoEvent::Lost { .. } => true,
            IoEvent::Up(_)
            | IoEvent::Pulse { .. }
            | IoEvent::Answer { .. }
            | IoEvent::Input { .. }
            | IoEvent::Safe { .. }
            | IoEvent::Fire { .. } => false,
        })
        .await?;
        if started {
            return Ok(());
        }
    }
}

async fn until(brain: &mut GateIo, mut wanted: impl FnMut(&IoEvent) -> bool) -> anyhow::Result<()> {
    let waiting = async { while !wanted(&brain.next().await) {} };
    timeout(SOON, waiting).await.context("gate-io does not say what it should")
}
