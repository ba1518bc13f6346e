//! The programs under `strace`: a gate in front of which passes are held up, and a long life of its memory alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use gate_core::mutant::Mutant;
use hardware::compose::{Scene, code, compose};
use hardware::decode::Cascade;
use hardware::lines::simulated::ReleaseModel;

use super::card::{Card, Files};
use super::drive::PHASES;
use super::history::DATABASE;
use super::trace::{self, CALLS, Op};
use super::{Shelf, Workload, pick_up};
use crate::clock::{Deadline, unix_ms};
use crate::world::stock::Stock;
use crate::world::{Gate, GatePlan, child_of, fresh_folder, program};

/// Frames for which a pass is held up: nothing is refused here, so that nobody has to read a screen.
const HOLD: u64 = 12;
/// A log is checkpointed when it has grown to this size, bytes.
const CHECKPOINT: u64 = 8000 * 1048;
/// How much room is left in it when the traced gate starts, bytes: some passes later it is checkpointed.
const ROOM: u64 = 60 * 1048;
/// How long ago the traced gate's venue was founded, milliseconds.
const AGE_MS: i64 = 60_000;
/// How long one pass may take, with everything that other processes do at the time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds passes up in front of a real gate with no network. Halfway the power of its process goes, and it starts again.
pub async fn scans(count: u32, seed: u64, fault: Option<Mutant>, shelf: &Shelf) -> anyhow::Result<Workload> {
    let world = fresh_folder("gate-powercut")?;
    let result = traced_scans(&world, count, seed, fault, &shelf.folder("filled")).await;
    std::fs::remove_dir_all(&world)?;
    result
}

async fn traced_scans(
    world: &Path,
    count: u32,
    seed: u64,
    fault: Option<Mutant>,
    filled: &Path,
) -> anyhow::Result<Workload> {
    // The venue is older than the time floor that [`fill`] ends with is ahead.
    let stock = Stock::new(unix_ms() - AGE_MS);
    // Takes connections and never answers.
    let hole = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let cloud = hole.local_addr()?;
    let plan = GatePlan { name: "traced", world, cloud, release: ReleaseModel::Strict, hold: HOLD };
    let mut gate = Gate::build(&plan)?;
    let base = fill(&stock, filled, &format!("http://{cloud}"))?;
    std::fs::create_dir_all(gate.data_dir())?;
    for name in base.keys() {
        // Its permissions come with it.
        std::fs::copy(filled.join(name), gate.data_dir().join(name))?;
    }
    gate.start_gate_io()?;
    let frames = frames(&stock, count, seed)?;
    let mut ops = Vec::new();
    let (first, second) = frames.split_at(frames.len() / 2);
    for (run, frames) in [first, second].into_iter().enumerate() {
        let folder = world.join("traced/frames");
        for frame in std::fs::read_dir(&folder)? {
            std::fs::remove_file(frame?.path())?;
        }
        let before = gate.pulses().len();
        let trace = world.join(format!("run-{run}.trace"));
        let mut agent = Traced::start(&agent(&gate, fault)?, &trace)?;
        gate.wait("the gate is ready", |status| {
            status["status"]["camera"] == "ok" && status["status"]["gate_io"] == "ok"
        })
        .await?;
        for frame in frames {
            gate.hold_up(frame)?;
        }
        let all = before + frames.len();
        let deadline = Deadline::after(PATIENCE * u32::try_from(frames.len())?.max(1));
        while gate.pulses().len() < all {
            agent.must_run()?;
            ensure!(!deadline.is_over(), "only {} of {all} passes opened the gate", gate.pulses().len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What became of the last opening is recorded a moment after its pulse.
        tokio::time::sleep(Duration::from_millis(500)).await;
        agent.end(if run == 0 { Ending::Killed } else { Ending::Stopped })?;
        trace::read(&trace, &gate.data_dir(), &mut ops)?;
        told_all(&base, &ops, &gate.data_dir())?;
    }
    let asked: BTreeSet<&str> =
        ops.iter().filter_map(|op| if let Op::Pulse { event } = op { Some(event.as_str()) } else { None }).collect();
    let edges = gate.pulses().len();
    ensure!(asked.len() >= edges, "the trace holds {} pulses, the relay moved {edges} times", asked.len());
    Ok(Workload { name: "gate", base, ops, stock })
}

/// Whether a trace tells everything: who does what it says has the files that are there.
fn told_all(base: &Files, ops: &[Op], folder: &Path) -> anyhow::Result<()> {
    let mut card = Card::holding(base);
    for op in ops {
        card.take(op, false);
    }
    let differs = card.differs(&pick_up(folder)?);
    ensure!(differs.is_empty(), "the trace does not tell all that was written: {} differ", differs.join(", "));
    Ok(())
}

/// A database in use, whose log is nearly full. In memory: thousands of commits would wait for a disk.
fn fill(stock: &Stock, folder: &Path, cloud: &str) -> anyhow::Result<Files> {
    super::lay_out(folder, &Files::new())?;
    let mut replica = stock.fill(folder, cloud, 1000)?;
    let log = folder.join(format!("{DATABASE}-wal"));
    let mut floor = replica.floor_ms()?;
    while std::fs::metadata(&log)?.len() < CHECKPOINT - ROOM {
        floor += 1;
        replica.set_floor_ms(floor)?;
    }
    let files = pick_up(folder)?;
    // Closing writes the log into the database: it is put back as it was.
    drop(replica);
    super::lay_out(folder, &files)?;
    Ok(files)
}

fn frames(stock: &Stock, count: u32, seed: u64) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut cascade = Cascade::new(Duration::from_millis(20));
    let mut frames = Vec::new();
    for number in 0.. {
        if frames.len() >= count as usize {
            break;
        }
        let picture = code(&stock.pass(number)?, 8)?;
        let scene = Scene::friendly(seed + u64::from(number), 330.0);
        let frame = compose(&picture, &scene).context("the code does not fit into the view")?;
        if !cascade.read(&frame).texts.is_empty() {
            frames.push(frame.to_png()?);
        }
    }
    Ok(frames)
}

/// The agent's command line: the product's program, or with a fault the same code in this one.
fn agent(gate: &Gate, fault: Option<Mutant>) -> anyhow::Result<Vec<std::ffi::OsString>> {
    let config = gate.config().into_os_string();
    Ok(match fault {
        None => vec![program("gate-agent")?.into(), "--config".into(), config, "run".into()],
        Some(mutant) => {
            vec![own()?.into(), "agent".into(), "--mutant".into(), mutant.name().into(), "--config".into(), config]
        }
    })
}

fn own() -> anyhow::Result<PathBuf> {
    // In a test the program is beside the test's folder.
    program("powercut")
}

/// A life of a gate's memory.
pub fn life(steps: u32, seed: u64, fault: Option<Mutant>) -> anyhow::Result<Workload> {
    let world = fresh_folder("gate-powercut-life")?;
    let result = traced_life(&world, steps, seed, fault);
    std::fs::remove_dir_all(&world)?;
    result
}

fn traced_life(world: &Path, steps: u32, seed: u64, fault: Option<Mutant>) -> anyhow::Result<Workload> {
    let wall_ms = unix_ms();
    let data = world.join("data");
    std::fs::create_dir_all(&data)?;
    let mut ops = Vec::new();
    for phase in 0..PHASES {
        let trace = world.join(format!("phase-{phase}.trace"));
        let mut command: Vec<std::ffi::OsString> = vec![own()?.into(), "life".into(), data.clone().into()];
        for (name, value) in [
            ("--wall-ms", wall_ms.to_string()),
            ("--seed", seed.to_string()),
            ("--phase", phase.to_string()),
            ("--steps", steps.to_string()),
        ] {
            command.extend([name.into(), value.into()]);
        }
        if let Some(mutant) = fault {
            command.extend(["--mutant".into(), mutant.name().into()]);
        }
        let mut process = Traced::start(&command, &trace)?;
        process.finish()?;
        trace::read(&trace, &data, &mut ops)?;
        told_all(&Files::new(), &ops, &data)?;
    }
    ensure!(ops.contains(&Op::Stored), "the traced life said nothing");
    Ok(Workload { name: "life", base: Files::new(), ops, stock: Stock::new(wall_ms) })
}

/// Runs the agent's code in this process, until it is told to stop.
pub fn run_agent(config: &Path) -> anyhow::Result<()> {
    let config = gate_agent::config::Config::load(config)?;
    let _already = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (tell, told) = tokio::sync::watch::channel(false);
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::spawn(async move {
            terminate.recv().await;
            tell.send_replace(true);
            tell.closed().await;
        });
        gate_agent::daemon::run(config, told).await
    })
}

/// How a traced process ends.
enum Ending {
    /// At once.
    Killed,
    /// As it is meant to.
    Stopped,
}

/// A process under strace.
struct Traced {
    strace: Child,
    log: PathBuf,
}

impl Traced {
    fn start(command: &[std::ffi::OsString], trace: &Path) -> anyhow::Result<Self> {
        let log = trace.with_extension("log");
        let calls: Vec<String> = CALLS.split(',').map(|call| format!("?{}", call.trim())).collect();
        let strace = Command::new("strace")
            .args(["-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "8388608", "-e", "signal=none", "-o"])
            .arg(trace)
            .args(["-e", &format!("trace={}", calls.join(",")), "--"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("can't start strace: `cargo xtask setup` installs it")?;
        Ok(Self { strace, log })
    }

    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<_> = text.lines().rev().take(15).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn must_run(&mut self) -> anyhow::Result<()> {
        match self.strace.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the traced process ended ({status}); it said:\n{}", self.said()),
        }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let status = self.strace.wait()?;
        ensure!(status.success(), "the traced process failed ({status}); it said:\n{}", self.said());
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> anyhow::Result<()> {
        let traced = child_of(self.strace.id()).context("the traced process is gone")?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(traced)?).context("a process has an id")?;
        let signal = match ending {
            Ending::Killed => rustix::process::Signal::KILL,
            Ending::Stopped => rustix::process::Signal::TERM,
        };
        rustix::process::kill_process(pid, signal)?;
        self.strace.wait()?;
        Ok(())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            if let Some(pid) = child_of(self.strace.id())
                .and_then(|pid| i32::try_from(pid).ok())
                .and_then(rustix::process::Pid::from_raw)
            {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let _ended = self.strace.kill();
            let _reaped = self.strace.wait();
        }
    }
}
