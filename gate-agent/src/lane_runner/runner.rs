//! One lane's decisions as a machine over ports: what eye, hand, storage and staff report goes in by calls, what must be
//! done goes out through [`Ports`]. No thread, clock or socket in here, so that the simulation runs this very code.

mod timekeeping;

use std::collections::HashMap;

use gate_core::event::{EventBody, Part};
use gate_core::ids::{Hash, LaneId};
use gate_core::lane::{Effect, Input, Lane, LaneEvent, LaneStatus, PulseKey, PulseResult, Ticket};
use gate_core::mutant::{self, Mutant};
use gate_core::occupancy::Fullness;
use gate_core::signals::ScreenKind;
use gate_core::sync::v1::GateRow;
use gate_core::time::{ClockReading, Now, TimeKeeper, Trust};
use gate_core::view::Readiness;
use hardware::gate_io::{Hello, IoDown, IoEvent, Pattern};
use hardware::lines;
use hardware::reader::ReaderEvent;
use tokio::sync::watch;

use super::job::{Job, StorageNews};
use super::judge::{self, Judge};
use super::standing::{Retry, Standing, Unreadable, is_free_exit};
use super::wiring::{Asked, pattern_of, pulse_name, read_pulse_name, result_of, setup, told_of, what_became};
use crate::config::LaneInputs;
use crate::replica::{ReplicaReader, ReplicaStatus};
use crate::screen::{Facts, OpeningTimes};

/// A wait that ends sooner is not shown, microseconds: nobody sees a lamp for a millisecond, and lighting it takes hand,
/// screens and processor from the record that somebody waits for.
const UNSEEN_WAIT_US: u64 = 100_000;

/// How often it is looked whether a zone is to be reset, microseconds.
const RESETS_US: u64 = 5_000_000;

/// What a lane can do and read.
pub trait Ports {
    /// What the clocks read now.
    fn clocks(&self) -> ClockReading;
    /// Asks gate-io for a pulse of this name and length, milliseconds.
    fn pulse(&self, name: &str, ms: u32) -> Result<(), IoDown>;
    /// Asks gate-io what became of a pulse.
    fn query(&self, name: &str);
    /// Shows a pattern on the lamps. While the hand is away nothing is lit; its client shows the newest when it returns.
    fn lamps(&self, pattern: Pattern);
    /// The loop decides: gate-io may go on opening, and systemd need not restart.
    fn alive(&self);
    /// Queues a piece of work for the writer of the replica; its news come back by [`Runner::storage`].
    fn store(&self, job: Job);
}

/// What a lane starts from.
pub struct Known {
    /// What the replica says.
    pub replica: ReplicaReader,
    /// What is wired.
    pub inputs: LaneInputs,
    /// Time as it goes on from what the journal says has passed.
    pub time: TimeKeeper,
    /// What the screens show.
    pub facts: watch::Sender<Facts>,
}

/// The running lane.
pub struct Runner<P> {
    lane: Lane,
    gate: Option<GateRow>,
    time: TimeKeeper,
    judge: Judge,
    /// The texts of the codes in the newest frame.
    texts: HashMap<Hash, String>,
    /// The stamps of the newest code so far.
    times: OpeningTimes,
    /// The pulse that was asked for and has no answer yet.
    asked: Option<Asked>,
    /// The pulse about which gate-io was asked for the lane, until it answers.
    inquired: Option<PulseKey>,
    /// What an opening came to could not be read or written: it is asked for again when storage works.
    settle_again: bool,
    fullness: Fullness,
    status: Option<ReplicaStatus>,
    status_wanted: bool,
    standing: Standing,
    /// The device key is sealed for another machine.
    other_machine: bool,
    /// Whether the venue withdrew this device; `None` until it is read, and again after the replica changed.
    withdrawn: Option<bool>,
    /// What the lane wants to show, whatever the standing makes of it.
    lane_shows: Option<LaneStatus>,
    /// How old the replica was and how far the clock was believed at a decision that is not logged yet.
    judged_on: Option<(Option<i64>, Trust)>,
    /// Since a wait began that is not shown yet: when it will be, monotonic microseconds.
    wait_seen_us: Option<u64>,
    /// Set while the replica can't be read.
    unreadable: Option<Unreadable>,
    /// Set while events can't be written: when the next probe is due.
    unwritable: Option<Retry>,
    probing: bool,
    /// When it is looked next whether a zone is to be reset, monotonic microseconds.
    resets_us: u64,
    replica: ReplicaReader,
    inputs: LaneInputs,
    facts: watch::Sender<Facts>,
    ports: P,
}

impl<P: Ports> Runner<P> {
    /// A lane that knows nothing yet: [`Runner::begin`] comes next.
    pub fn new(known: Known, ports: P) -> Self {
        let Known { replica, inputs, time, facts } = known;
        let lane = Lane::new(setup(None, inputs), ports.clocks().mono_us);
        facts.send_modify(|facts| facts.not_deciding = Standing::NotSetUp.why());
        Self {
            lane,
            gate: None,
            time,
            judge: Judge::default(),
            texts: HashMap::new(),
            times: OpeningTimes::default(),
            asked: None,
            inquired: None,
            settle_again: false,
            fullness: Fullness::Open,
            status: None,
            status_wanted: true,
            standing: Standing::NotSetUp,
            other_machine: false,
            withdrawn: None,
            lane_shows: None,
            judged_on: None,
            wait_seen_us: None,
            unreadable: None,
            unwritable: None,
            probing: false,
            resets_us: 0,
            replica,
            inputs,
            facts,
            ports,
        }
    }

    /// This machine has no key of this gate's: it decides nothing, from the beginning. Before [`Runner::begin`].
    pub fn stands_on_other_machine(&mut self) {
        self.other_machine = true;
    }

    /// Changes what the screens show.
    fn tell(&self, change: impl FnOnce(&mut Facts)) {
        self.facts.send_modify(|facts| {
            change(facts);
            facts.version += 1;
        });
    }

    /// When to give [`LaneEvent::Woke`] next, monotonic microseconds.
    pub fn next_wake_us(&self) -> Option<u64> {
        self.lane.next_wake().into_iter().chain(self.wait_seen_us).min()
    }

    fn us(&self) -> u64 {
        self.ports.clocks().mono_us
    }

    /// Reads what is there and asks what an earlier run left open. First of all, once.
    pub fn begin(&mut self) {
        self.look_at_replica();
        self.ask_for_unsettled();
    }

    /// Gives the lane an event and carries out what it answers, until nothing follows. Last of all what then is to be
    /// seen: whoever stands there waits for the record and the relay, not for a screen that is out of date already.
    pub fn feed(&mut self, event: LaneEvent) {
        let mut waiting = vec![event];
        let mut shows = None;
        while let Some(event) = waiting.pop() {
            let now = self.now();
            for effect in self.lane.handle(event, now) {
                match effect {
                    Effect::Judge(code) => waiting.extend(self.judge(code, now)),
                    Effect::Record(ticket, body) => self.record(ticket, now, body),
                    Effect::Open { key, ms } => waiting.extend(self.open(key, ms)),
                    Effect::Inquire(key) => {
                        // Nor is it asked for again: the answer must not be overtaken.
                        (self.asked, self.inquired) = (None, Some(key));
                        self.ports.query(&pulse_name(key));
                    }
                    Effect::Show(status) => shows = Some(*status),
                }
            }
        }
        match shows {
            Some(status) => self.show(status),
            None if self.wait_seen_us.is_some_and(|due| self.us() >= due) => self.light(),
            None => {}
        }
        let closed = self.lane.readiness() == Readiness::OutOfOrder;
        if self.facts.borrow().closed != closed {
            self.tell(|facts| facts.closed = closed);
        }
    }

    fn judge(&mut self, code: Hash, now: Now) -> Option<LaneEvent> {
        let Some(text) = self.texts.get(&code) else {
            tracing::warn!("a code left before it could be judged");
            return None;
        };
        // Before the gate is set up no code is given to the lane.
        let gate = self.gate.as_ref()?;
        let readiness = self.standing.readiness(self.lane.readiness());
        match self.judge.decide(text, &mut self.replica, gate, readiness, now) {
            Ok((input, verdict)) => {
                self.judged_on = Some((input.view.age_ms, now.trust));
                Some(LaneEvent::Judged { input: Box::new(input), verdict })
            }
            Err(error) => {
                // The lane stops waiting by itself, and a free exit opens.
                let text = text.clone();
                self.cannot_read(&error.to_string(), Some(text));
                None
            }
        }
    }

    /// Reading failed: nobody is judged until it works, and it is tried again ever more rarely.
    fn cannot_read(&mut self, why: &str, text: Option<String>) {
        tracing::error!(why, "the replica can't be read");
        let us = self.us();
        self.unreadable = Some(match self.unreadable.take() {
            None => Unreadable { retry: Retry::after(us), text },
            Some(known) => Unreadable { retry: known.retry.again(us), text: text.or(known.text) },
        });
        self.stand(Standing::Unreadable(why.to_owned()));
    }

    /// Changes whether this gate decides, and what people see of it.
    fn stand(&mut self, standing: Standing) {
        let standing = if self.other_machine { Standing::OtherMachine } else { standing };
        if self.standing == standing {
            return;
        }
        tracing::info!(?standing, "whether this gate decides has changed");
        self.standing = standing;
        let why = self.standing.why();
        self.tell(|facts| facts.not_deciding = why);
        self.light();
    }

    fn is_free_exit(&self) -> bool {
        self.gate.as_ref().is_some_and(is_free_exit)
    }

    fn record(&mut self, ticket: Ticket, now: Now, mut body: EventBody) {
        if let EventBody::ExitButton { zones, generations } = &mut body
            && let Some(status) = &self.status
        {
            // The lane does not know the zones it leads out of; the replica does.
            *zones = status.zones.iter().map(|zone| zone.row.id).collect();
            *generations = status.zones.iter().map(|zone| zone.generation).collect();
        }
        let lane = self.gate.as_ref().map(|gate| gate.lane);
        self.times.decided_us = self.us();
        self.ports.store(Job::Record { ticket: Some(ticket), lane, now, body });
    }

    /// Writes something that nobody waits for.
    fn write(&mut self, lane: Option<LaneId>, now: Now, body: EventBody) {
        self.ports.store(Job::Record { ticket: None, lane, now, body });
    }

    fn open(&mut self, key: PulseKey, ms: u32) -> Option<LaneEvent> {
        self.asked = Some(Asked::new(key, ms, self.us()));
        let asked = self.ports.pulse(&pulse_name(key), ms);
        let opening = OpeningTimes { command_us: self.us(), ..self.times };
        tracing::info!(
            frame_to_relay_us = opening.command_us.saturating_sub(opening.frame_us),
            "the relay is asked to open"
        );
        self.tell(|facts| facts.opening = Some(opening));
        match asked {
            Ok(()) => None,
            Err(_) => Some(LaneEvent::Pulse(key, PulseResult::Away)),
        }
    }

    /// Shows what the lane says, unless it is a wait that may be over before anybody could see it.
    fn show(&mut self, status: LaneStatus) {
        let kind = self.standing.shown(status.clone(), self.is_free_exit()).kind;
        self.lane_shows = Some(status);
        let seen = self.facts.borrow().lane.as_ref().map(|lane| lane.kind);
        if kind == ScreenKind::Wait && seen != Some(kind) {
            let us = self.us();
            if us < *self.wait_seen_us.get_or_insert(us + UNSEEN_WAIT_US) {
                return;
            }
        }
        self.light();
    }

    /// Lights what the lane shows.
    fn light(&mut self) {
        self.wait_seen_us = None;
        let Some(status) = self.lane_shows.clone() else { return };
        let status = self.standing.shown(status, self.is_free_exit());
        // While the hand is away nothing is lit; its client shows the newest pattern again when it returns.
        self.ports.lamps(pattern_of(status.signal.lamp));
        if status.kind != ScreenKind::Wait
            && let Some((replica_age_ms, clock)) = self.judged_on.take()
        {
            let reason = status.reason.map(|reason| reason.code());
            tracing::info!(screen = ?status.kind, reason, replica_age_ms, ?clock, "a code was decided about");
        }
        self.tell(|facts| facts.lane = Some(status));
    }

    /// Something the eye says.
    pub fn eye(&mut self, event: ReaderEvent) {
        match event {
            ReaderEvent::Seen { captured_mono_us, decode_us, texts, .. } => {
                if !texts.is_empty() {
                    self.times.frame_us = captured_mono_us;
                    self.times.decoding_us = decode_us;
                    self.times.read_us = self.us();
                    tracing::debug!(decode_us, "a code was read");
                }
                let mut codes = Vec::with_capacity(texts.len());
                if !texts.is_empty() {
                    self.texts.clear();
                }
                for text in texts {
                    let code = judge::code_of(&text);
                    codes.push(code);
                    self.texts.insert(code, text);
                }
                self.camera(true, String::new());
                if !self.standing.takes_codes(self.is_free_exit()) {
                    // As if none was there: the one that stays is judged when it can be.
                    codes.clear();
                }
                if self.standing != Standing::Ready {
                    self.lane.takes_no_codes();
                }
                self.feed(LaneEvent::Seen(codes));
            }
            ReaderEvent::CameraUp { camera, sandboxed, .. } => {
                tracing::info!(%camera, ?sandboxed, "the camera is open");
                self.camera(true, camera);
            }
            ReaderEvent::CameraLost { why } | ReaderEvent::Restarted { why } => {
                tracing::warn!(%why, "the camera is away");
                self.camera(false, why);
            }
        }
    }

    fn camera(&mut self, works: bool, detail: String) {
        if self.facts.borrow().camera != Some(works) {
            self.tell(|facts| facts.camera = Some(works));
            self.feed(LaneEvent::Part { part: Part::Camera, working: works, detail });
        }
    }

    /// Something the hand says.
    pub fn hand(&mut self, event: IoEvent) {
        match event {
            IoEvent::Up(Hello { version, fire, active, .. }) => {
                tracing::info!(%version, "gate-io is there");
                self.ports.alive();
                self.tell(|facts| facts.gate_io = true);
                self.feed(LaneEvent::Part { part: Part::GateIo, working: true, detail: String::new() });
                self.feed(LaneEvent::Input(Input::Fire, fire));
                for input in [lines::Input::Presence, lines::Input::BarrierOpen] {
                    self.input(input, active.contains(&input));
                }
                self.ask_for_unsettled();
            }
            IoEvent::Lost { why } => {
                tracing::warn!(%why, "gate-io is away");
                (self.asked, self.inquired) = (None, None);
                self.tell(|facts| facts.gate_io = false);
                self.feed(LaneEvent::Part { part: Part::GateIo, working: false, detail: why });
            }
            IoEvent::Pulse { event, result } => {
                let us = self.us();
                let (Some(key), result) = (read_pulse_name(&event), result_of(result)) else { return };
                // After a restart the hand may still be busy with an earlier pulse, or wait for the first heartbeat.
                let again = result == PulseResult::Refused
                    && self.asked.as_mut().is_some_and(|asked| asked.may_ask_again(key, us));
                if !again {
                    self.asked = None;

                    self.feed(LaneEvent::Pulse(key, result));
                }
            }
            IoEvent::Answer { event, result } => {
                let Some(key) = read_pulse_name(&event) else { return };
                // The lane takes it if it still waits; else it has decided.
                if self.inquired.take_if(|inquired| *inquired == key).is_some() {
                    self.feed(LaneEvent::Pulse(key, told_of(result)));
                } else {
                    self.settled(key, result);
                }
            }
            IoEvent::Input { input, active, .. } => self.input(input, active),
            IoEvent::Fire { latched } => self.feed(LaneEvent::Input(Input::Fire, latched)),
            IoEvent::Safe { why } => tracing::warn!(?why, "gate-io went to its safe levels"),
        }
    }

    fn input(&mut self, input: lines::Input, active: bool) {
        let input = match input {
            lines::Input::ExitButton => Input::ExitButton,
            lines::Input::Presence => Input::Presence,
            lines::Input::BarrierOpen => Input::BarrierOpen,
            // Fire comes latched, as `IoEvent::Fire`.
            lines::Input::Fire => return,
            lines::Input::Tamper => {
                tracing::warn!(active, "the cabinet's tamper switch changed");
                return;
            }
        };
        self.feed(LaneEvent::Input(input, active));
    }

    /// What became of a [`Job`].
    pub fn storage(&mut self, news: StorageNews) {
        match news {
            StorageNews::Stored(ticket, event) => {
                self.status_wanted = true;
                self.feed(LaneEvent::Stored(ticket, event));
            }
            StorageNews::NotStored(ticket, why) => {
                tracing::error!(%why, "an event could not be stored");
                self.unwritable.get_or_insert(Retry::after(self.us()));
                // It may have been what became of an opening.
                self.settle_again = true;
                self.feed(LaneEvent::NotStored(ticket));
                self.tell(|facts| facts.storage_fault = Some(why));
            }
            StorageNews::Failed(why) => {
                tracing::error!(%why, "storage failed; what is not settled is asked for again when it works");
                self.unwritable.get_or_insert(Retry::after(self.us()));
                self.settle_again = true;
                self.tell(|facts| facts.storage_fault = Some(why));
            }
            StorageNews::Damaged(why) => self.cannot_read(&why, None),
            StorageNews::WorksAgain => {
                self.unwritable = None;
                self.probing = false;
                self.tell(|facts| facts.storage_fault = None);
                self.feed(LaneEvent::Part { part: Part::Storage, working: true, detail: String::new() });
                if std::mem::take(&mut self.settle_again) {
                    self.ask_for_unsettled();
                }
            }
            StorageNews::StillFails => {
                self.probing = false;
                let us = self.us();
                self.unwritable = Some(self.unwritable.map_or_else(|| Retry::after(us), |retry| retry.again(us)));
            }
            StorageNews::ZonesReset => self.status_wanted = true,
            StorageNews::Unsettled(events) => {
                for (event, _) in events.into_iter().filter(|(event, _)| !self.lane.settles(*event)) {
                    tracing::info!(event.id = %event, "asking gate-io what became of an admission");
                    self.ports.query(&event.to_string());
                }
            }
        }
    }

    /// Sync applied changes.
    pub fn replica_changed(&mut self) {
        self.status_wanted = true;
        self.judge.replica_changed();
        self.withdrawn = None;
        self.hear_time_reset();
        self.look_at_replica();
    }

    /// Once a quarter second: alive, and everything that is not worth a wake-up of its own.
    pub fn beat(&mut self) {
        self.ports.alive();
        let us = self.us();
        if let Some((key, ms)) = self.asked.as_mut().and_then(|asked| asked.again(us)) {
            let _away = self.ports.pulse(&pulse_name(key), ms);
        }
        if self.unreadable.as_ref().is_some_and(|unreadable| unreadable.retry.is_due(us)) {
            self.read_again();
        } else if self.status_wanted {
            self.look_at_replica();
        }
        // The lane may have found out by itself that a record did not come back.
        if self.unwritable.is_none() && self.lane.status().faults.contains(&Part::Storage) {
            self.unwritable = Some(Retry::after(us));
        }
        if !self.probing && self.unwritable.is_some_and(|retry| retry.is_due(us)) {
            self.probe_storage();
        }
        let now = self.now();
        let resets = self.status.as_ref().is_some_and(|status| status.zones.iter().any(|zone| zone.resets));
        if resets && self.standing == Standing::Ready && us >= self.resets_us {
            self.resets_us = us + RESETS_US;
            self.ports.store(Job::ResetZones { lane: self.gate.as_ref().map(|gate| gate.lane), now });
        }
        self.facts.send_if_modified(|facts| facts.moved_to(now));
    }

    /// After a failed write: writes that the disk works again, and believes it only when that is stored.
    fn probe_storage(&mut self) {
        self.probing = true;
        let now = self.now();
        self.ports.store(Job::Probe { now });
    }

    /// After a failed read: the same reads once more, with the text at which they failed.
    fn read_again(&mut self) {
        let text = self.unreadable.as_ref().and_then(|unreadable| unreadable.text.clone());
        let now = self.now();
        if let (Some(text), Some(gate)) = (text, &self.gate)
            && let Err(error) = self.judge.decide(&text, &mut self.replica, gate, self.lane.readiness(), now)
        {
            self.cannot_read(&error.to_string(), Some(text));
            return;
        }
        self.read_status();
    }

    /// Reads what changes slowly: the gate's own row and how full its zone is.
    fn look_at_replica(&mut self) {
        // While reading fails it is tried when that is due, not more often.
        if self.unreadable.is_none() {
            self.read_status();
        }
    }

    fn read_status(&mut self) {
        self.status_wanted = false;
        let now = self.now();
        let replica = &mut self.replica;
        let withdrawn = self.withdrawn.map_or_else(|| replica.device_revoked(), Ok);
        let read = withdrawn.and_then(|withdrawn| Ok((replica.status(now)?, withdrawn)));
        let (status, withdrawn) = match read {
            Ok(read) => read,
            Err(error) => {
                self.cannot_read(&error.to_string(), None);
                self.feed(LaneEvent::Woke);
                return;
            }
        };
        self.unreadable = None;
        self.withdrawn = Some(withdrawn);
        if status.gate.is_some() && status.gate != self.gate {
            tracing::info!(gate = status.gate.as_ref().map(|g| g.name.as_str()), "the gate's settings are known");
            self.gate.clone_from(&status.gate);
            self.lane.set_setup(setup(self.gate.as_ref(), self.inputs));
        }
        self.stand(Standing::of(self.gate.as_ref(), status.as_of_ms, withdrawn));
        if let Some(zone) = status.zones.first() {
            self.fullness = if zone.rights_held == 0 && zone.occupancy >= zone.row.capacity {
                Fullness::Full
            } else {
                self.fullness.next(zone.occupancy, zone.row.capacity, zone.row.warn_percent)
            };
        }
        self.status = Some(status.clone());
        self.tell(|facts| facts.replica = Some(status));
        self.feed(LaneEvent::Zone(self.fullness));
    }

    /// An earlier run may have died between record and pulse: ask what is not settled.
    fn ask_for_unsettled(&self) {
        if mutant::active(Mutant::ForgetUnsettled) {
            return;
        }
        self.ports.store(Job::Unsettled);
    }

    fn settled(&mut self, key: PulseKey, answer: hardware::gate_io::Answer) {
        let PulseKey::Event(of) = key else { return };
        if self.lane.settles(of) {
            return;
        }
        tracing::info!(event.id = %of, ?answer, "gate-io says what became of it");
        if mutant::active(Mutant::RetryWithoutId) && answer != hardware::gate_io::Answer::Done {
            let _away = self.ports.pulse(&format!("{of}/again"), 500);
        }
        let watched = setup(self.gate.as_ref(), self.inputs).watches_passage();
        self.feed(LaneEvent::Settled(what_became(of, answer, watched)));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
