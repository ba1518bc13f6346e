//! A month without a network, and then sixty thousand events go up while people present passes.

use std::time::Duration;

use anyhow::Context;
use gate_core::decision::Verdict;
use gate_core::time::Now;
use hardware::clock::Stopwatch;
use serde_json::json;

use super::lane::{frames, gate, present};
use super::{Figures, Site};
use crate::bench::percentile;
use crate::clock::Deadline;
use crate::world::copy_folder;
use crate::world::device::{Device, Passes};

/// How long the gate was alone, ms.
const ALONE_MS: i64 = 30 * 86_400_000;
/// Until all are up, s.
const LIMIT_S: f64 = 300.0;
/// The slowest verdicts may be later by this, ms.
const LATER_LIMIT_MS: f64 = 20.0;
/// And the slowest of all is no later than this.
const SLOWEST_LIMIT_MS: f64 = 200.0;
/// Fewer than this are sent before anybody could notice.
const BACKLOG: u64 = 5_000;
/// Presentations of a window.
const WINDOW: usize = 4;
/// Windows with the network cut, in turns with windows in which events go up.
const WINDOWS: usize = 10;

pub(super) async fn measure(seed: u64, events: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let site = Site::open("gate-bench-backlog", true).await?;
    let mut gate = gate(&site, "entrance").await?;
    let frames = frames(&site, WINDOWS * WINDOW * 2 + 1, seed).await?;
    let mut frames = frames.into_iter();
    site.office.post("/vendors", &json!({"name": "Alone", "code": "V9"})).await?;
    // The gate comes to know the venue, then it is alone.
    gate.start().await?;
    gate.wait("it is online", |s| s["status"]["link"] == "online" && s["status"]["pending"] == 0).await?;
    gate.agent.take().context("the agent runs")?.stop(Duration::from_secs(5))?;
    site.cloud.link.cut();
    // Written in memory, where no disk is waited for; a month takes long enough.
    let alone = std::path::Path::new("/dev/shm").join(format!("gate-bench-alone-{}", std::process::id()));
    copy_folder(&gate.data_dir(), &alone)?;
    let mut device = Device::open("entrance", "", alone.clone())?;
    let passes = Passes::of_vendor(&device, "V9")?;
    let begun = Device::now().wall_ms - ALONE_MS;
    // More than the figure asks for, so that there is still something to send in the last window.
    let admissions = events * 3 / 2;
    for n in 0..admissions {
        let wall_ms = begun + ALONE_MS * n as i64 / admissions as i64;
        let (verdict, _) = device.present_at(&passes.pass(n), false, Now { wall_ms, ..Device::now() })?;
        anyhow::ensure!(matches!(verdict, Verdict::Admit(_)), "{verdict:?}");
    }
    drop(device);
    copy_folder(&alone, &gate.data_dir())?;
    std::fs::remove_dir_all(&alone)?;

    gate.restart_agent()?;
    let status = gate
        .wait_within(Duration::from_secs(120), "the gate is ready", |s| {
            s["status"]["camera"] == "ok" && s["screen"]["kind"] == "idle"
        })
        .await?;
    let waiting = status["status"]["pending"].as_u64().context("no pending")?;
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    let (mut sending_s, mut sent) = (0.0, 0u64);
    for _ in 0..WINDOWS {
        site.cloud.link.cut();
        window(&mut gate, &mut frames, &mut idle).await?;
        let before = pending(&gate).await?;
        if before < BACKLOG {
            break;
        }
        site.cloud.link.heal();
        // The pause after the cut belongs to the cut: the clock runs from the first event that goes up.
        let deadline = Deadline::after(Duration::from_secs(90));
        while pending(&gate).await? >= before {
            anyhow::ensure!(!deadline.is_over(), "nothing goes up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let watch = Stopwatch::start();
        window(&mut gate, &mut frames, &mut busy).await?;
        sending_s += watch.elapsed_us() as f64 / 1e6;
        sent += before.saturating_sub(pending(&gate).await?);
    }
    // The rest without anybody.
    site.cloud.link.heal();
    let before = pending(&gate).await?;
    if before > 0 {
        let watch = Stopwatch::start();
        gate.wait_within(Duration::from_secs(900), "all is up", |s| s["status"]["pending"] == 0).await?;
        sending_s += watch.elapsed_us() as f64 / 1e6;
        sent += before;
    }
    let all_s = sending_s * events as f64 / sent.max(1) as f64;
    figures.told("backlog: events that waited", "", waiting as f64);
    figures.told("backlog: sent while people presented passes, and after", "", sent as f64);
    figures.most("backlog: 60,000 events up", "s", all_s, LIMIT_S);
    figures.told("backlog: presentations while sending", "", busy.len() as f64);
    figures.told("backlog: frame to relay idle, p50", "ms", percentile(&idle, 50));
    figures.told("backlog: frame to relay sending, p50", "ms", percentile(&busy, 50));
    figures.told("backlog: frame to relay idle, p95", "ms", percentile(&idle, 95));
    figures.told("backlog: frame to relay sending, p95", "ms", percentile(&busy, 95));
    figures.most("backlog: frame to relay sending, slowest", "ms", percentile(&busy, 100), SLOWEST_LIMIT_MS);
    let later = percentile(&busy, 95) - percentile(&idle, 95);
    figures.most("backlog: p95 later by", "ms", later, LATER_LIMIT_MS);
    drop(gate);
    site.close()
}

async fn window(
    gate: &mut crate::world::Gate,
    frames: &mut impl Iterator<Item = Vec<u8>>,
    times: &mut Vec<f64>,
) -> anyhow::Result<()> {
    for _ in 0..WINDOW {
        let frame = frames.next().context("too few frames")?;
        times.extend(present(gate, &frame).await?);
    }
    Ok(())
}

async fn pending(gate: &crate::world::Gate) -> anyhow::Result<u64> {
    gate.status().await?["status"]["pending"].as_u64().context("no pending")
}
