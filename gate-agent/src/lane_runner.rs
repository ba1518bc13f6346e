//! Runs one lane: feeds its machine with what eye, hand, storage and staff report.
//!
//! One loop on a thread of its own. It never waits for disk or network; the heartbeat that keeps gate-io willing and the
//! watchdog that keeps systemd content are given from here, so that both stop when deciding stops.

mod job;
mod judge;
mod runner;
pub(crate) mod standing;
mod wiring;

use std::time::Duration;

use gate_core::lane::{LaneEvent, StaffRequest};
use gate_core::mutant::{self, Mutant};
use gate_core::time::{ClockReading, TimeKeeper};
use hardware::gate_io::{GateIo, IoCommands, IoDown, Pattern};
use hardware::reader::Reader;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::config::LaneInputs;
use crate::health;
use crate::replica::ReplicaReader;
use crate::screen::Facts;
use crate::storage::Storage;
use crate::sync::engine::SignedMoment;

pub use job::{Job, StorageNews};
pub use runner::{Known, Ports, Runner};

/// How often gate-io hears that deciding goes on (4 Hz), and how often everything slow is looked at.
pub const HEARTBEAT: Duration = Duration::from_millis(250);

/// Everything the loop works with.
pub struct Parts {
    /// The eye.
    pub reader: Reader,
    /// The hand.
    pub gate_io: GateIo,
    /// The writer of the replica.
    pub storage: Storage,
    /// What the replica says.
    pub replica: ReplicaReader,
    /// The system's clocks.
    pub clock: Clock,
    /// What is wired.
    pub inputs: LaneInputs,
    /// Time as it goes on from what the journal says has passed.
    pub time: TimeKeeper,
    /// Signed time from the cloud.
    pub signed_time: mpsc::Receiver<SignedMoment>,
    /// Told when sync applied changes.
    pub changed: watch::Receiver<u64>,
    /// Taps on the touchscreen.
    pub staff: mpsc::Receiver<StaffRequest>,
    /// What the screens show.
    pub facts: watch::Sender<Facts>,
    /// The device key is sealed for another machine: this one decides nothing.
    pub other_machine: bool,
}

/// Whether gate-io hears the heartbeat although the loop stands still: never, but as a deliberate fault.
pub fn beats_by_itself() -> bool {
    mutant::active(Mutant::WatchdogFedByTimer)
}

/// This machine.
struct Machine {
    clock: Clock,
    hand: IoCommands,
    storage: Storage,
    news: mpsc::UnboundedSender<StorageNews>,
}

impl Ports for Machine {
    fn clocks(&self) -> ClockReading {
        self.clock.read()
    }

    fn pulse(&self, name: &str, ms: u32) -> Result<(), IoDown> {
        self.hand.pulse(name, ms)
    }

    fn query(&self, name: &str) {
        let _away = self.hand.query(name);
    }

    fn lamps(&self, pattern: Pattern) {
        let _away = self.hand.lamps(pattern);
    }

    fn alive(&self) {
        let _away = self.hand.heartbeat(false);
        health::decided();
    }

    fn store(&self, job: Job) {
        let news = self.news.clone();
        self.storage.urgent(move |replica| {
            if let Some(told) = job.carry_out(replica) {
                let _ended = news.send(told);
            }
        });
    }
}

/// Runs the lane until told to stop. An error means that the program must end, so that the next start mends what broke.
pub async fn run(parts: Parts, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let Parts { mut reader, mut gate_io, mut signed_time, mut changed, mut staff, .. } = parts;
    let (news, mut heard) = mpsc::unbounded_channel();
    let known = Known { replica: parts.replica, inputs: parts.inputs, time: parts.time, facts: parts.facts };
    let machine = Machine { clock: parts.clock.clone(), hand: gate_io.commands(), storage: parts.storage, news };
    if beats_by_itself() {
        let hand = gate_io.commands();
        std::thread::spawn(move || {
            while hand.heartbeat(false).is_ok() || !hand.is_up() {
                std::thread::sleep(HEARTBEAT);
            }
        });
    }
    let mut runner = Runner::new(known, machine);
    if parts.other_machine {
        runner.stands_on_other_machine();
    }
    runner.begin();
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let ended = loop {
        let now_us = crate::clock::mono_us();
        let wake = runner
            .next_wake_us()
            .map_or(Duration::from_secs(60), |at| Duration::from_micros(at.saturating_sub(now_us)));
        tokio::select! {
            // The hand first: fire and pulse results are never behind a queue of frames.
            biased;
            _ = stop.changed() => break Ok(()),
            event = gate_io.next() => runner.hand(event),
            Some(news) = heard.recv() => match news {
                StorageNews::Damaged(why) => break Err(anyhow::anyhow!("{why}")),
                news @ (StorageNews::Stored(..)
                | StorageNews::NotStored(..)
                | StorageNews::Failed(_)
                | StorageNews::WorksAgain
                | StorageNews::StillFails
                | StorageNews::ZonesReset
                | StorageNews::Unsettled(_)) => runner.storage(news),
            },
            _ = beat.tick() => runner.beat(),
            Some(request) = staff.recv() => runner.feed(LaneEvent::Staff(request)),
            Some(signed) = signed_time.recv() => runner.signed(signed),
            Ok(()) = changed.changed() => runner.replica_changed(),
            event = reader.next() => runner.eye(event),
            () = tokio::time::sleep(wake) => runner.feed(LaneEvent::Woke),
        }
    };
    // Whoever stops the program wants the lane at rest, not half open.
    if gate_io.safe().is_err() {
        tracing::info!("gate-io is not there; it is safe without us");
    }
    ended
}
