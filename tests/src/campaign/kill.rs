//! SIGKILL at random moments: nothing lost, nothing double, the relay off within half a second, and nobody robbed.
//!
//! Each round holds up a fresh pass and kills agent, reader or gate-io a random time later. Then the victim is started again
//! and the same pass is held up once more. It must be admitted, or have opened the gate before.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use anyhow::Context;
use gate_agent::replica::ReplicaReader;
use gate_core::event::{Event, EventBody};
use gate_core::history;
use hardware::clock::mono_us;
use hardware::compose::Chance;
use hardware::lines::simulated::Edge;
use serde_json::{Value, json};

use crate::demo::Opening;
use crate::journal::journal_of;
use crate::world::Gate;

/// The relay must be off this long after the kill, milliseconds.
const OFF_LIMIT_MS: f64 = 500.0;
/// The longest wait between showing a pass and the kill, milliseconds. An opening takes about a second.
const LATEST_KILL_MS: u64 = 1500;

/// A code shown again this soon sees the same ADMIT; with some room, microseconds.
const HOLD_US: u64 = 8_500_000;

/// Whom to kill.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Victim {
    Agent,
    Reader,
    GateIo,
}

/// What the campaign found.
pub struct Report {
    seed: u64,
    kills: BTreeMap<Victim, u32>,
    /// Kills that met an energised relay.
    met_open: u32,
    /// How long the relay then stayed on, ms.
    off_ms: Vec<f64>,
    admitted: u32,
    reopened: u32,
    violations: Vec<String>,
}

impl Report {
    /// Whether nothing was lost, nothing was double and the relay was off in time.
    pub fn ok(&self) -> bool {
        self.violations.is_empty() && self.worst_off() <= OFF_LIMIT_MS
    }

    fn worst_off(&self) -> f64 {
        self.off_ms.iter().copied().fold(0.0, f64::max)
    }

    /// The figures.
    pub fn json(&self) -> Value {
        let kills: BTreeMap<_, _> = self.kills.iter().map(|(victim, n)| (format!("{victim:?}"), n)).collect();
        json!({
            "campaign": "kill", "seed": self.seed, "kills": kills, "met_open_relay": self.met_open,
            "relay_off_worst_ms": self.worst_off(), "relay_off_limit_ms": OFF_LIMIT_MS,
            "admitted": self.admitted, "reopened_after_fault": self.reopened,
            "violations": self.violations, "ok": self.ok(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for (victim, count) in &self.kills {
            writeln!(f, "killed {victim:?} {count} times")?;
        }
        writeln!(
            f,
            "{} kills met an energised relay; it was off after at most {:.0} ms",
            self.met_open,
            self.worst_off()
        )?;
        writeln!(
            f,
            "{} passes admitted, {} of them at the second showing after a fault",
            self.admitted, self.reopened
        )?;
        for violation in &self.violations {
            writeln!(f, "VIOLATION {violation}")?;
        }
        write!(f, "{} violations", self.violations.len())
    }
}

/// Runs the campaign.
pub async fn run(times: u32, seed: u64, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
    tell(&format!("kill campaign: {times} kills, seed {seed}"));
    let mut opening = Opening::with_room(times, seed).await?;
    let mut report = Report {
        seed,
        kills: BTreeMap::new(),
        met_open: 0,
        off_ms: Vec::new(),
        admitted: 0,
        reopened: 0,
        violations: Vec::new(),
    };
    let mut chance = Chance::new(seed);
    let mut waiting = VecDeque::new();
    for round in 0..times {
        let victim = [Victim::Agent, Victim::Reader, Victim::GateIo][chance.below(3)];
        let wait = Duration::from_millis(chance.bits() % LATEST_KILL_MS);
        let frame = opening.passes[round as usize].frame.clone();
        let first = first_showing(&mut opening.venue.entrance, &frame, (round, victim, wait), &mut report).await?;
        waiting.push_back(first);
        *report.kills.entry(victim).or_default() += 1;
        while waiting.front().is_some_and(FirstShowing::is_over) {
            show_again(&mut opening, &mut waiting, &mut report).await?;
        }
        if round % 20 == 19 {
            tell(&format!("  {} kills, {} violations", round + 1, report.violations.len()));
        }
    }
    while !waiting.is_empty() {
        show_again(&mut opening, &mut waiting, &mut report).await?;
    }
    audit(&mut opening, &mut report).await?;
    if report.met_open == 0 {
        report.violations.push("no kill met an energised relay: these moments show nothing".to_owned());
    }
    Ok(report)
}

/// A pass that was held up while something was killed, to be held up once more.
struct FirstShowing {
    round: u32,
    victim: Victim,
    wait: Duration,
    /// How often the relay opened.
    opened: usize,
    ended_us: u64,
}

impl FirstShowing {
    /// The same code shown within the hold time sees ADMIT again; later it is a presentation of its own.
    fn is_over(&self) -> bool {
        mono_us() >= self.ended_us + HOLD_US
    }
}

async fn first_showing(
    gate: &mut Gate,
    frame: &[u8],
    (round, victim, wait): (u32, Victim, Duration),
    report: &mut Report,
) -> anyhow::Result<FirstShowing> {
    let before = gate.pulses().len();
    gate.hold_up(frame)?;
    tokio::time::sleep(wait).await;
    let killed_us = mono_us();
    kill(gate, victim)?;
    // A dead eye stops no pulse that was decided before: the relay then ends as it was asked to.
    if victim != Victim::Reader
        && let Some(ms) = relay_off_after(gate, killed_us)
    {
        report.met_open += 1;
        report.off_ms.push(ms);
    }
    revive(gate, victim)?;
    gate.wait("the gate is ready again", |s| {
        s["status"]["camera"] == "ok" && s["status"]["gate_io"] == "ok" && s["gate"]["name"] != ""
    })
    .await?;
    gate.let_go().await;
    gate.wait("it rests", |s| s["screen"]["kind"] == "idle").await?;
    let opened = gate.pulses().len() - before;
    Ok(FirstShowing { round, victim, wait, opened, ended_us: mono_us() })
}

async fn show_again(
    opening: &mut Opening,
    waiting: &mut VecDeque<FirstShowing>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let Some(first) = waiting.pop_front() else { return Ok(()) };
    let FirstShowing { round, victim, wait, opened, ended_us } = first;
    tokio::time::sleep(Duration::from_micros((ended_us + HOLD_US).saturating_sub(mono_us()))).await;
    let gate = &mut opening.venue.entrance;
    let before = gate.pulses().len();
    let shown = gate.status().await?["screen"]["presentation"].as_u64().unwrap_or(0);
    gate.hold_up(&opening.passes[round as usize].frame)?;
    let status = gate
        .wait("it answers to the second showing", |s| {
            s["screen"]["presentation"].as_u64().is_some_and(|n| n > shown)
                && !["wait", "idle"].iter().any(|kind| s["screen"]["kind"] == *kind)
        })
        .await?;
    let story = format!("round {round}: {victim:?} killed after {wait:?}");
    match (status["screen"]["kind"].as_str(), status["screen"]["reason"].as_str()) {
        (Some("admit"), _) => {
            let rose = |edges: &[Edge]| edges.iter().filter(|e| e.line == "relay" && e.level).count() > before;
            if gate.board.wait_edges(Duration::from_secs(5), rose).is_none() {
                report.violations.push(format!("{story}: ADMIT was shown and the gate never opened"));
            }
            report.admitted += 1;
            report.reopened += u32::from(opened > 0);
        }
        (Some("deny"), Some("already_used")) if opened > 0 => report.admitted += 1,
        (Some("deny"), Some("already_used")) => {
            report.violations.push(format!("{story}: the holder was robbed: used, but the gate never opened"));
        }
        other => report.violations.push(format!("{story}: a good pass got {other:?}")),
    }
    gate.let_go().await;
    gate.wait("it rests", |s| s["screen"]["kind"] == "idle").await?;
    Ok(())
}

fn kill(gate: &mut Gate, victim: Victim) -> anyhow::Result<()> {
    match victim {
        Victim::Agent => gate.agent.take().context("the agent does not run")?.kill(),
        Victim::GateIo => gate.gate_io.take().context("gate-io does not run")?.kill(),
        Victim::Reader => {
            let agent = gate.agent.as_ref().context("the agent does not run")?.id();
            let Some(reader) = crate::world::child_of(agent) else { return Ok(()) };
            let pid = rustix::process::Pid::from_raw(i32::try_from(reader)?).context("a reader has a process id")?;
            // It may be between two lives: then there is nothing to kill.
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            Ok(())
        }
    }
}

fn revive(gate: &mut Gate, victim: Victim) -> anyhow::Result<()> {
    match victim {
        Victim::Agent => gate.restart_agent(),
        Victim::GateIo => gate.start_gate_io(),
        Victim::Reader => Ok(()),
    }
}

/// If the relay was on at the kill of brain or hand: how long it stayed on, ms.
fn relay_off_after(gate: &Gate, killed_us: u64) -> Option<f64> {
    let edges = gate.board.edges();
    let on = edges.iter().rfind(|edge| edge.line == "relay" && edge.mono_us <= killed_us)?;
    if !on.level {
        return None;
    }
    let fell = |edges: &[Edge]| {
        edges.iter().any(|e| e.line == "relay" && !e.level && e.mono_us >= on.mono_us && e.mono_us >= killed_us)
    };
    let edges = gate.board.wait_edges(Duration::from_secs(5), fell);
    let off =
        edges.as_ref().and_then(|edges| edges.iter().find(|e| e.line == "relay" && !e.level && e.mono_us >= killed_us));
    Some(off.map_or(f64::INFINITY, |edge| (edge.mono_us - killed_us) as f64 / 1000.0))
}

/// Afterwards: every opening has its record, no pass was charged twice, and the cloud holds every event.
async fn audit(opening: &mut Opening, report: &mut Report) -> anyhow::Result<()> {
    let gate = &mut opening.venue.entrance;
    gate.wait("everything is delivered", |s| s["status"]["pending"] == 0).await?;
    let reader = ReplicaReader::open(&gate.data_dir().join("replica.db"))?;
    let journal = journal_of(&reader).context("the journal can't be read")?;
    let events: Vec<Event> = journal.into_iter().map(|(event, _)| event).collect();
    let authorised = events.iter().filter(|event| matches!(event.body, EventBody::Authorised { .. })).count();
    // A use that was taken back, because the relay certainly never moved, is free again.
    let history = history::fold(&events);
    for (pass, used) in history.passes.iter().filter(|(_, used)| used.total() > 1) {
        report.violations.push(format!("pass {pass} was charged {} times", used.total()));
    }
    let pulses = gate.pulses().len();
    if pulses > authorised {
        report.violations.push(format!("{pulses} openings of the relay, but only {authorised} authorised"));
    }
    let verified: Value = serde_json::from_str(&gate.command(&["--json", "journal", "verify"])?)?;
    if verified["ok"] != true {
        report.violations.push(format!("the journal does not verify: {verified}"));
    }
    let cloud = opening.venue.office.overview().await?;
    let at_cloud = crate::demo::occupancy(&cloud).unwrap_or(0);
    let distinct = history.passes.values().filter(|used| used.total() > 0).count() as u64;
    if at_cloud != distinct {
        report.violations.push(format!("the cloud counts {at_cloud} cars, the journal charges {distinct} passes"));
    }
    Ok(())
}
