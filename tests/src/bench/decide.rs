//! `bench decide`: does a full replica slow a gate down, and what does a gate add to reading and writing?
//!
//! 1. View and decision, CPU per presentation, with 1,000 and with 1,000,000 passes, in turns: at most twice.
//! 2. Real processes, 100,000 passes, a network that swallows everything: from a frame being complete to the relay command,
//!    against the decoder alone on the same frame plus one synced commit alone, in turns: at most 1.2 times. Both alone
//!    are taken after the rest that a gate has between two frames, because a processor that rested starts with cold
//!    caches; without it, which is printed too, the floor would be one that no gate can stand on.
//! 3. Resident memory of agent, reader and gate-io at rest, and the time from the agent's start to its first decision.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use gate_agent::replica::{Replica, ReplicaReader};
use gate_core::decision::{DecisionInput, RULES_VERSION, Verdict, decide};
use gate_core::event::EventBody;
use gate_core::pass::{self, Keyring};
use gate_core::view::Readiness;
use hardware::clock::{Stopwatch, thread_cpu_us};
use hardware::compose::{Scene, code, compose};
use hardware::decode::Cascade;
use hardware::frame::LumaFrame;
use hardware::lines::simulated::ReleaseModel;
use serde_json::{Value, json};

use super::{median, percentile};
use crate::clock::unix_ms;
use crate::world::stock::Stock;
use crate::world::{Gate, GatePlan, HOLD, child_of, fresh_folder};

/// CPU per presentation may grow this much from a thousand to a million passes.
const GROWTH_LIMIT: f64 = 2.0;
/// The whole path may take this many times reading and writing alone.
const PATH_LIMIT: f64 = 1.2;
/// Resident memory of the three processes at rest, MB.
const MEMORY_LIMIT: f64 = 80.0;
/// From the agent's start to its first decision, ms.
const START_LIMIT: f64 = 1000.0;
/// Passes decided per turn, and turns.
const TURN: u32 = 500;
const TURNS: usize = 15;
/// What a gate rests between two frames of its camera.
const REST: Duration = Duration::from_millis(66);
/// Presentations of the whole path.
const PRESENTATIONS: u32 = 40;

/// Runs all parts.
pub fn run(seed: u64) -> anyhow::Result<(String, Value)> {
    let world = fresh_folder("gate-bench")?;
    let result = measure(&world, seed);
    std::fs::remove_dir_all(&world)?;
    result
}

fn measure(world: &Path, seed: u64) -> anyhow::Result<(String, Value)> {
    let growth = growth(world)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let path = runtime.block_on(whole_path(world, seed))?;

    let ratio = growth.many_us / growth.few_us;
    let floor_ms = path.decode_ms + path.commit_ms;
    let path_ratio = path.p50_ms / floor_ms;
    let mut table = String::new();
    writeln!(table, "view + decide, CPU per presentation")?;
    writeln!(table, "      1,000 passes   {:8.1} us", growth.few_us)?;
    writeln!(table, "  1,000,000 passes   {:8.1} us   {ratio:.2} x (limit {GROWTH_LIMIT})", growth.many_us)?;
    writeln!(
        table,
        "frame complete to relay command, 100,000 passes, network swallows everything, {PRESENTATIONS} presentations"
    )?;
    writeln!(table, "  median             {:8.2} ms   {path_ratio:.2} x (limit {PATH_LIMIT})", path.p50_ms)?;
    let [decoding, read, decided, stored] = path.parts_ms;
    writeln!(
        table,
        "  of which           reading {read:.2} (decoding {decoding:.2}), deciding {decided:.2}, recording {stored:.2} ms"
    )?;
    writeln!(table, "  p99                {:8.2} ms", path.p99_ms)?;
    writeln!(table, "  decoder alone      {:8.2} ms   ({:.2} without the rest)", path.decode_ms, path.hot_ms[0])?;
    writeln!(table, "  synced commit      {:8.2} ms   ({:.2} without the rest)", path.commit_ms, path.hot_ms[1])?;
    writeln!(table, "agent start to first decision {:8.0} ms (limit {START_LIMIT})", path.start_ms)?;
    writeln!(
        table,
        "resident at rest   agent {:.1} + reader {:.1} + gate-io {:.1} = {:.1} MB (limit {MEMORY_LIMIT})",
        path.memory_mb[0],
        path.memory_mb[1],
        path.memory_mb[2],
        path.memory_mb.iter().sum::<f64>()
    )?;
    let memory: f64 = path.memory_mb.iter().sum();
    let ok =
        ratio <= GROWTH_LIMIT && path_ratio <= PATH_LIMIT && memory <= MEMORY_LIMIT && path.start_ms <= START_LIMIT;
    let figures = json!({
        "bench": "decide",
        "view_decide_1k_us": growth.few_us,
        "view_decide_1m_us": growth.many_us,
        "growth": ratio, "growth_limit": GROWTH_LIMIT,
        "path_p50_ms": path.p50_ms, "path_p99_ms": path.p99_ms,
        "decode_ms": path.decode_ms, "commit_ms": path.commit_ms,
        "decode_hot_ms": path.hot_ms[0], "commit_hot_ms": path.hot_ms[1],
        "decoding_ms": path.parts_ms[0], "reading_ms": path.parts_ms[1],
        "deciding_ms": path.parts_ms[2], "recording_ms": path.parts_ms[3],
        "path_ratio": path_ratio, "path_limit": PATH_LIMIT,
        "start_ms": path.start_ms, "start_limit": START_LIMIT,
        "memory_mb": memory, "memory_limit": MEMORY_LIMIT,
        "ok": ok,
    });
    Ok((table, figures))
}

struct Growth {
    few_us: f64,
    many_us: f64,
}

fn growth(world: &Path) -> anyhow::Result<Growth> {
    let stock = Stock::new(unix_ms());
    let texts = (0..TURN).map(|n| stock.pass(n)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut sides = Vec::new();
    for (name, passes) in [("few", 1_000), ("many", 1_000_000)] {
        let replica = stock.fill(&world.join(name), "http://127.0.0.1:9", passes)?;
        let mut reader = replica.reader()?;
        let keys = reader.keyring()?;
        sides.push((replica, reader, keys, Vec::new()));
    }
    for _ in 0..TURNS {
        for (_, reader, keys, times) in &mut sides {
            let before = thread_cpu_us();
            for text in &texts {
                let (_, verdict) = judge(&stock, text, keys, reader)?;
                anyhow::ensure!(matches!(verdict, Verdict::Admit(_)), "a good pass was not admitted: {verdict:?}");
            }
            times.push((thread_cpu_us() - before) as f64 / f64::from(TURN));
        }
    }
    Ok(Growth { few_us: median(&sides[0].3), many_us: median(&sides[1].3) })
}

fn judge(
    stock: &Stock,
    text: &str,
    keys: &Keyring,
    reader: &mut ReplicaReader,
) -> anyhow::Result<(DecisionInput, Verdict)> {
    let gate = stock.gate_row();
    let pass = pass::open(text, keys);
    let view = reader.view(&pass, &gate, stock.now())?;
    let lane = gate.lane_context(Readiness::Ready);
    let verdict = decide(&pass, &view, &lane, stock.now());
    Ok((DecisionInput { pass, view, lane, now: stock.now(), rules: RULES_VERSION }, verdict))
}

struct WholePath {
    p50_ms: f64,
    p99_ms: f64,
    /// The decoders by themselves, frame to code, code to decision, decision to relay command.
    parts_ms: [f64; 4],
    decode_ms: f64,
    commit_ms: f64,
    /// Decoder and commit once more at once, with everything in the processor's caches.
    hot_ms: [f64; 2],
    start_ms: f64,
    memory_mb: [f64; 3],
}

async fn whole_path(world: &Path, seed: u64) -> anyhow::Result<WholePath> {
    let stock = Stock::new(unix_ms());
    // Takes connections and never answers.
    let hole = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let cloud = hole.local_addr()?;
    let plan = GatePlan { name: "path", world, cloud, release: ReleaseModel::Strict, hold: HOLD };
    let mut gate = Gate::build(&plan)?;
    drop(stock.fill(&gate.data_dir(), &format!("http://{cloud}"), 100_000)?);
    let mut commits = stock.fill(&world.join("commit"), "http://127.0.0.1:9", 100_000)?;

    gate.start_gate_io()?;
    let frames = frames(&stock, seed)?;
    gate.hold_up(&frames[0].to_png()?)?;
    let start = Stopwatch::start();
    gate.start_agent()?;
    gate.board
        .wait_edges(Duration::from_secs(30), |edges| edges.iter().any(|e| e.line == "relay" && e.level))
        .context("the first pass did not open the gate")?;
    let start_ms = start.elapsed_us() as f64 / 1000.0;
    gate.wait("the first pass is admitted", |s| s["screen"]["kind"] == "admit").await?;

    let mut cascade = Cascade::new(Duration::from_millis(20));
    let (mut path, mut decode, mut commit) = (Vec::new(), Vec::new(), Vec::new());
    let (mut decoding, mut read, mut decided, mut stored) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut hot_decode, mut hot_commit) = (Vec::new(), Vec::new());
    for (number, frame) in frames.iter().enumerate().skip(1) {
        let before = gate.pulses().len();
        gate.hold_up(&frame.to_png()?)?;
        let rose = |edges: &[hardware::lines::simulated::Edge]| {
            edges.iter().filter(|e| e.line == "relay" && e.level).count() > before
        };
        gate.board.wait_edges(Duration::from_secs(10), rose).context("a good pass did not open the gate")?;
        let status = gate.wait("it rests again", |s| s["screen"]["kind"] == "admit").await?;
        let at = |name: &str| status["opening"][name].as_u64().unwrap_or(0);
        let between = |from: &str, to: &str| at(to).saturating_sub(at(from)) as f64 / 1000.0;
        path.push(between("frame_us", "command_us"));
        decoding.push(at("decoding_us") as f64 / 1000.0);
        read.push(between("frame_us", "read_us"));
        decided.push(between("read_us", "decided_us"));
        stored.push(between("decided_us", "command_us"));

        for (times, rest) in [(&mut decode, REST), (&mut hot_decode, Duration::ZERO)] {
            // Nobody else waits for this thread.
            std::thread::sleep(rest);
            let watch = Stopwatch::start();
            anyhow::ensure!(!cascade.read(frame).texts.is_empty(), "frame {number} does not read");
            times.push(watch.elapsed_us() as f64 / 1000.0);
        }
        let number = 2 * number as u32;
        commit.push(commit_alone(&stock, &mut commits, number, REST)?);
        hot_commit.push(commit_alone(&stock, &mut commits, number + 1, Duration::ZERO)?);
    }
    let memory_mb = memory(&gate)?;
    Ok(WholePath {
        p50_ms: median(&path),
        p99_ms: percentile(&path, 99),
        parts_ms: [median(&decoding), median(&read), median(&decided), median(&stored)],
        decode_ms: median(&decode),
        commit_ms: median(&commit),
        hot_ms: [median(&hot_decode), median(&hot_commit)],
        start_ms,
        memory_mb,
    })
}

fn frames(stock: &Stock, seed: u64) -> anyhow::Result<Vec<LumaFrame>> {
    let mut frames = Vec::new();
    let mut cascade = Cascade::new(Duration::from_millis(20));
    let mut number = 0;
    while frames.len() <= PRESENTATIONS as usize {
        let picture = code(&stock.pass(number)?, 8)?;
        let scene = Scene::friendly(seed + u64::from(number), 330.0);
        number += 1;
        let frame = compose(&picture, &scene).context("the code does not fit into the view")?;
        if !cascade.read(&frame).texts.is_empty() {
            frames.push(frame);
        }
    }
    Ok(frames)
}

/// One admission's record on the same disk after a rest, ms.
fn commit_alone(stock: &Stock, replica: &mut Replica, number: u32, rest: Duration) -> anyhow::Result<f64> {
    let mut reader = replica.reader()?;
    let keys = reader.keyring()?;
    let (input, verdict) = judge(stock, &stock.pass(number + 100_000)?, &keys, &mut reader)?;
    let Verdict::Admit(admission) = verdict else { anyhow::bail!("a good pass was not admitted: {verdict:?}") };
    let body = EventBody::Authorised { input: Box::new(input), admission, generations: vec![0], confirmed: None };
    std::thread::sleep(rest);
    let watch = Stopwatch::start();
    replica.record(Some(stock.gate_row().lane), stock.now(), body)?;
    Ok(watch.elapsed_us() as f64 / 1000.0)
}

/// Resident memory of agent, reader and gate-io, MB.
fn memory(gate: &Gate) -> anyhow::Result<[f64; 3]> {
    let agent = gate.agent.as_ref().context("the agent does not run")?.id();
    let hand = gate.gate_io.as_ref().context("gate-io does not run")?.id();
    let reader = child_of(agent).context("the reader does not run")?;
    Ok([resident(agent)?, resident(reader)?, resident(hand)?])
}

fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kb: f64 = line.split_whitespace().nth(1).context("no number in VmRSS")?.parse()?;
    Ok(kb / 1024.0)
}
