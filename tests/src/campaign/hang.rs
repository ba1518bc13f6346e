//! The brain stands still (SIGSTOP: a deadlock, a blocked call, a spinning loop all look like this to the hand) at random
//! moments of an opening. The relay must be off within a second and stay off until the brain decides again; then the gate
//! must serve and come to rest by itself, and whoever stood there is not told that the pass is used.

use std::time::Duration;

use anyhow::Context;
use gate_agent::replica::ReplicaReader;
use gate_core::event::{Event, EventBody};
use gate_core::ids::EventId;
use gate_core::reason::Reason;
use hardware::clock::mono_us;
use hardware::compose::Chance;
use rustix::process::{Pid, Signal, kill_process};

use super::figures::{Figures, worst};
use crate::demo::Opening;
use crate::journal::journal_of;
use crate::world::Gate;

/// The relay must be off this long after the brain stopped, ms.
const OFF_MS: f64 = 1000.0;
/// For how long the brain stands still.
const STILL: Duration = Duration::from_millis(1500);
/// The longest wait between showing a pass and the hang, ms.
const LATEST_HANG_MS: u64 = 1500;

/// Runs the campaign.
pub async fn run(times: u32, seed: u64, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Figures> {
    tell(&format!("hang campaign: {times} hangs of the agent, seed {seed}"));
    let mut figures = Figures::new("hang", seed, times);
    let mut opening = Opening::with_room(times, seed).await?;
    let mut chance = Chance::new(seed);
    let (mut off, mut met) = (Vec::new(), 0);
    for round in 0..times {
        let frame = opening.passes[round as usize].frame.clone();
        let wait = Duration::from_millis(chance.bits() % LATEST_HANG_MS);
        let gate = &mut opening.venue.entrance;
        gate.hold_up(&frame)?;
        tokio::time::sleep(wait).await;
        let stopped_us = mono_us();
        signal(gate, Signal::STOP)?;
        tokio::time::sleep(STILL).await;
        let end_us = mono_us();
        signal(gate, Signal::CONT)?;
        match still_on(gate, stopped_us, end_us) {
            Relay::Off => {}
            Relay::OffAfter(ms) => {
                met += 1;
                off.push(ms);
            }
            Relay::Moved => {
                figures.violate(format!("round {round}: hung after {wait:?}, and the relay closed meanwhile"))
            }
            Relay::StaysOn => figures.violate(format!("round {round}: hung after {wait:?}, and the relay stayed on")),
        }
        gate.wait("the gate is ready again", |s| {
            s["status"]["camera"] == "ok" && s["status"]["gate_io"] == "ok" && s["screen"]["kind"] != "fault"
        })
        .await?;
        gate.let_go().await;
        gate.wait("it rests", |s| s["screen"]["kind"] == "idle").await?;
        if round % 20 == 19 {
            tell(&format!("  {} hangs, {} violations", round + 1, figures.violations()));
        }
    }
    for refused in turned_away(&mut opening.venue.entrance).await? {
        figures.violate(format!("{refused}: whoever stood there was told that the pass is used"));
    }
    if met == 0 {
        figures.violate("no hang met an energised relay: these moments show nothing".to_owned());
    }
    figures.note("hangs that met an energised relay", f64::from(met));
    figures.at_most("relay off after the hang, worst ms", worst(&off), OFF_MS);
    Ok(figures)
}

/// Refusals as used: nobody showed a pass twice.
async fn turned_away(gate: &mut Gate) -> anyhow::Result<Vec<EventId>> {
    gate.wait("everything is delivered", |s| s["status"]["pending"] == 0).await?;
    let reader = ReplicaReader::open(&gate.data_dir().join("replica.db"))?;
    let journal = journal_of(&reader).context("the journal can't be read")?;
    let refused = |event: &Event| matches!(event.body, EventBody::Refused { reason: Reason::AlreadyUsed, .. });
    Ok(journal.into_iter().map(|(event, _)| event).filter(refused).map(|event| event.id).collect())
}

/// What the relay did while the brain stood still.
enum Relay {
    Off,
    OffAfter(f64),
    Moved,
    StaysOn,
}

fn still_on(gate: &Gate, from_us: u64, to_us: u64) -> Relay {
    let edges: Vec<_> = gate.board.edges().into_iter().filter(|edge| edge.line == "relay").collect();
    let on = edges.iter().rfind(|edge| edge.mono_us <= from_us).is_some_and(|edge| edge.level);
    let during: Vec<_> = edges.iter().filter(|edge| edge.mono_us > from_us && edge.mono_us <= to_us).collect();
    // A command that was in the socket when the brain stopped may still be carried out: that is a pulse like any other.
    let sent_us = from_us + 100_000;
    if during.iter().any(|edge| edge.level && edge.mono_us > sent_us) {
        return Relay::Moved;
    }
    if !on && during.is_empty() {
        return Relay::Off;
    }
    match during.iter().rfind(|edge| !edge.level) {
        Some(fall) if during.last().is_some_and(|last| !last.level) => {
            Relay::OffAfter((fall.mono_us - from_us) as f64 / 1000.0)
        }
        Some(_) | None => Relay::StaysOn,
    }
}

fn signal(gate: &Gate, signal: Signal) -> anyhow::Result<()> {
    let agent = gate.agent.as_ref().context("the agent does not run")?.id();
    let pid = Pid::from_raw(i32::try_from(agent)?).context("an agent has a process id")?;
    Ok(kill_process(pid, signal)?)
}
