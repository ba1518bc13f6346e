//! A real gate, its processes and its camera, while sync does its work.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use gate_agent::replica::ReplicaReader;
use gate_agent::sync::{Surroundings, ThisMachine};
use hardware::clock::Stopwatch;
use hardware::compose::{Scene, code, compose};
use hardware::decode::Cascade;
use hardware::lines::simulated::{Edge, ReleaseModel};
use serde_json::{Value, json};

use super::{Figures, Site};
use crate::bench::{median, percentile};
use crate::clock::{Deadline, unix_ms};
use crate::world::{Gate, GatePlan, Mode, child_of, text_at};

/// Revocations that are timed.
const REVOCATIONS: usize = 200;
/// 99 of 100 are known at the gate within this, s.
const REVOKED_LIMIT_S: f64 = 1.0;
/// Admissions that are weighed.
const WEIGHED: usize = 20;
/// Bytes written and syncs for an admission.
const WRITTEN_LIMIT: f64 = 16_384.0;
const SYNCS_LIMIT: f64 = 2.0;
/// Presentations in each mode, and as many on a good road before each.
const PER_MODE: usize = 2;
/// A bad road may change the time to a verdict this much, percent.
const CHANGE_LIMIT: f64 = 5.0;
/// From the road's going bad to its being taken for none, s.
const NOTICED_LIMIT_S: f64 = 10.0;
/// Frames for which a pass is held up.
pub(super) const HOLD: u64 = 6;

/// Lays out a gate at a site and enrols it; nothing runs yet.
pub(super) async fn gate(site: &Site, name: &str) -> anyhow::Result<Gate> {
    let zone = text_at(&site.office.post("/zones", &json!({"name": name, "capacity": 1_000_000})).await?, "/id")?;
    let plan = json!({"name": name, "direction": "in", "zone_id": zone, "open_ms": 200});
    let id = text_at(&site.office.post("/gates", &plan).await?, "/id")?;
    let code = text_at(&site.office.post(&format!("/gates/{id}/enrolment"), &json!({})).await?, "/code")?;
    let cloud = site.cloud.link.address();
    let gate = Gate::build(&GatePlan { name, world: &site.world, cloud, release: ReleaseModel::Strict, hold: HOLD })?;
    gate.command(&["enrol", &code])?;
    Ok(gate)
}

/// Frames of passes that a vendor issued, each of which reads.
pub(super) async fn frames(site: &Site, count: usize, seed: u64) -> anyhow::Result<Vec<Vec<u8>>> {
    let vendor = text_at(&site.office.post("/vendors", &json!({"name": "Lane"})).await?, "/id")?;
    let now = unix_ms();
    let order = json!({
        "vendor_id": vendor, "product_id": 1, "count": count,
        "valid_from_ms": now - 1000, "valid_until_ms": now + 86_400_000,
    });
    let batch = text_at(&site.office.post("/batches", &order).await?, "/batch_id")?;
    let issued = site.office.look(&format!("/batches/{batch}")).await?;
    let mut cascade = Cascade::new(Duration::from_secs(5));
    // As patient as the eye of a gate: what it can't read in time is no presentation.
    let mut eye = Cascade::new(Duration::from_millis(20));
    let mut frames = Vec::new();
    let mut seeds = seed..;
    for pass in issued["passes"].as_array().context("the batch lists no passes")? {
        let png = site.office.fetch(&format!("/passes/{}.png", text_at(pass, "/cti")?)).await?;
        let path = site.world.join("pass.png");
        std::fs::write(&path, png)?;
        let printed = hardware::frame::LumaFrame::from_file(&path)?;
        let text = cascade.read(&printed).texts.into_iter().next().context("a pass's picture does not read")?;
        let picture = code(&text, 8)?;
        let frame = loop {
            let seed = seeds.next().context("no more seeds")?;
            let frame = compose(&picture, &Scene::friendly(seed, 330.0)).context("the code does not fit")?;
            if !eye.read(&frame).texts.is_empty() {
                break frame;
            }
        };
        frames.push(frame.to_png()?);
    }
    Ok(frames)
}

/// Holds a pass up; gives the time from its frame to the relay's command, ms, or `None` if it was not read.
pub(super) async fn present(gate: &mut Gate, frame: &[u8]) -> anyhow::Result<Option<f64>> {
    let before = gate.pulses().len();
    gate.hold_up(frame)?;
    let rose = |edges: &[Edge]| edges.iter().filter(|e| e.line == "relay" && e.level).count() > before;
    if gate.board.wait_edges(Duration::from_secs(8), rose).is_none() {
        return Ok(None);
    }
    let status = gate.status().await?;
    let at = |name: &str| status["opening"][name].as_u64().unwrap_or(0);
    let ms = at("command_us").saturating_sub(at("frame_us")) as f64 / 1000.0;
    gate.wait("it rests", |s| s["screen"]["kind"] == "idle" || s["screen"]["kind"] == "admit").await?;
    Ok(Some(ms))
}

pub(super) async fn revocations(figures: &mut Figures) -> anyhow::Result<()> {
    let site = Site::open("gate-bench-revoke", true).await?;
    let mut gate = gate(&site, "entrance").await?;
    let vendor = text_at(&site.office.post("/vendors", &json!({"name": "Tacos"})).await?, "/id")?;
    let now = unix_ms();
    let order = json!({
        "vendor_id": vendor, "product_id": 1, "count": REVOCATIONS + 5,
        "valid_from_ms": now - 1000, "valid_until_ms": now + 86_400_000,
    });
    let batch = text_at(&site.office.post("/batches", &order).await?, "/batch_id")?;
    let issued = site.office.look(&format!("/batches/{batch}")).await?;
    gate.start_agent()?;
    gate.wait("it is online", |s| s["status"]["link"] == "online" && s["status"]["pending"] == 0).await?;
    let mut reader = ReplicaReader::open(&gate.data_dir().join("replica.db"))?;
    let clock = ThisMachine::default();
    let mut took = Vec::new();
    for (n, pass) in issued["passes"].as_array().context("the batch lists no passes")?.iter().enumerate() {
        let before = reader.status(clock.now())?.position;
        let watch = Stopwatch::start();
        site.office.post(&format!("/passes/{}/revoke", text_at(pass, "/cti")?), &json!({})).await?;
        let deadline = Deadline::after(Duration::from_secs(60));
        while reader.status(clock.now())?.position == before {
            anyhow::ensure!(!deadline.is_over(), "revocation {n} never arrived");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The first few may come before the held channel is open.
        if n >= 5 {
            took.push(watch.elapsed_us() as f64 / 1e6);
        }
    }
    figures.told("revoke: revocations", "", took.len() as f64);
    figures.told("revoke: click to gate, median", "s", median(&took));
    figures.most("revoke: click to gate, p99", "s", percentile(&took, 99), REVOKED_LIMIT_S);
    drop(gate);
    site.close()
}

/// What a process has written so far.
struct Weighed {
    bytes: f64,
    syncs: f64,
}

/// How to start a program so that its syncs are counted into a file, and nothing else slows it down.
fn counting(file: &Path) -> Vec<OsString> {
    let words = ["strace", "-f", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o"];
    words.into_iter().map(OsString::from).chain([file.as_os_str().to_owned()]).collect()
}

fn syncs(file: &Path) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(file)?;
    Ok(text.lines().filter(|line| line.contains("sync(") && !line.contains("resumed")).count() as f64)
}

fn written(pid: u32) -> anyhow::Result<f64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find(|line| line.starts_with("write_bytes:")).context("no write_bytes")?;
    Ok(line.split_whitespace().nth(1).context("no number in write_bytes")?.parse()?)
}

/// Lets something happen, and weighs what the agent writes meanwhile.
async fn weigh(
    gate: &mut Gate,
    (pid, file): (u32, &Path),
    frames: &[Vec<u8>],
    rest: Duration,
) -> anyhow::Result<(Weighed, usize)> {
    let before = Weighed { bytes: written(pid)?, syncs: syncs(file)? };
    let mut admitted = 0;
    for frame in frames {
        admitted += usize::from(present(gate, frame).await?.is_some());
    }
    tokio::time::sleep(rest).await;
    Ok((Weighed { bytes: written(pid)? - before.bytes, syncs: syncs(file)? - before.syncs }, admitted))
}

pub(super) async fn writes(seed: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let site = Site::open("gate-bench-writes", true).await?;
    let mut gate = gate(&site, "entrance").await?;
    let frames = frames(&site, WEIGHED * 2, seed).await?;
    let file = site.world.join("syncs.strace");
    gate.start_gate_io()?;
    gate.start_agent_under(&counting(&file)).context("strace is needed: apt-get install strace")?;
    gate.is_ready().await?;
    let tracer = gate.agent.as_ref().context("the agent does not run")?.id();
    let pid = child_of(tracer).context("nothing runs under strace")?;
    let weighed = weigh_both(&site, &mut gate, (pid, &file), &frames, figures).await;
    // A tracer that is killed leaves the program it traced behind.
    let agent = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("an agent has a process id")?;
    rustix::process::kill_process(agent, rustix::process::Signal::KILL)?;
    weighed?;
    drop(gate);
    site.close()
}

async fn weigh_both(
    site: &Site,
    gate: &mut Gate,
    agent: (u32, &Path),
    frames: &[Vec<u8>],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let rest = Duration::from_secs(5);
    gate.wait("it is online", |s| s["status"]["link"] == "online" && s["status"]["pending"] == 0).await?;
    let names = [
        ("writes: bytes per admission, online", "writes: syncs per admission, online", "writes: at rest, online"),
        ("writes: bytes per admission, offline", "writes: syncs per admission, offline", "writes: at rest, offline"),
    ];
    for ((bytes, syncs, at_rest), frames) in names.into_iter().zip(frames.chunks(WEIGHED)) {
        let watch = Stopwatch::start();
        let (busy, admitted) = weigh(gate, agent, frames, rest).await?;
        let took = Duration::from_micros(watch.elapsed_us());
        // As long without anybody: what the agent writes anyway.
        let (idle, _) = weigh(gate, agent, &[], took).await?;
        anyhow::ensure!(admitted >= WEIGHED / 2, "only {admitted} of {WEIGHED} were admitted");
        let each = |busy: f64, idle: f64| (busy - idle).max(0.0) / admitted as f64;
        figures.most(bytes, "B", each(busy.bytes, idle.bytes), WRITTEN_LIMIT);
        figures.most(syncs, "", each(busy.syncs, idle.syncs), SYNCS_LIMIT);
        figures.told(at_rest, "MB/d", idle.bytes * 86_400.0 / took.as_secs_f64() / 1e6);
        site.cloud.link.cut();
        gate.wait("it is offline", |s| s["status"]["link"] == "offline").await?;
    }
    Ok(())
}

pub(super) async fn roads(seed: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let site = Site::open("gate-bench-roads", true).await?;
    let mut gate = gate(&site, "entrance").await?;
    // On a road without TLS; what is wrong with certificates ends before a request.
    let modes: Vec<Mode> = Mode::ALL.into_iter().filter(|mode| !mode.needs_tls()).collect();
    let frames = frames(&site, modes.len() * PER_MODE * 2 + 1, seed).await?;
    let mut frames = frames.into_iter();
    gate.start().await?;
    let (mut good, mut bad, mut slowest_s) = (Vec::new(), Vec::new(), 0f64);
    for mode in &modes {
        site.cloud.link.heal();
        gate.wait_within(Duration::from_secs(90), "it is online", |s| s["status"]["link"] == "online").await?;
        for _ in 0..PER_MODE {
            let frame = frames.next().context("too few frames")?;
            good.extend(present(&mut gate, &frame).await?);
        }
        site.cloud.link.set(*mode);
        let watch = Stopwatch::start();
        for n in 0..PER_MODE {
            let frame = frames.next().context("too few frames")?;
            bad.extend(present(&mut gate, &frame).await?);
            // The first presentation has something to send: from then on the gate can notice.
            if n == 0 && !mode.carries() {
                gate.wait("it is offline", |s| s["status"]["link"] == "offline").await?;
                slowest_s = slowest_s.max(watch.elapsed_us() as f64 / 1e6);
            }
        }
    }
    site.cloud.link.heal();
    gate.wait_within(Duration::from_secs(90), "all is delivered", |s| s["status"]["pending"] == 0).await?;
    let status: Value = gate.status().await?;
    anyhow::ensure!(status["status"]["quarantined"] == 0, "{status}");
    let change = (median(&bad) / median(&good) - 1.0) * 100.0;
    figures.told("roads: ways to misbehave", "", modes.len() as f64);
    figures.told("roads: frame to relay, good road, median", "ms", median(&good));
    figures.told("roads: frame to relay, bad roads, median", "ms", median(&bad));
    figures.told("roads: presentations on bad roads", "", bad.len() as f64);
    figures.most("roads: change, percent", "%", change, CHANGE_LIMIT);
    figures.most("roads: taken for no network, slowest", "s", slowest_s, NOTICED_LIMIT_S);
    drop(gate);
    site.close()
}
