//! Between record and passage: the pulse, the barrier, and taking an admission back that nobody used.

use super::machine::{Admitted, Lane, State};
use super::{Effect, PulseKey, PulseResult, Ticket};
use crate::decision::{Admission, DecisionInput};
use crate::event::{Confirmation, EventBody, Part};
use crate::ids::{Direction, EventId, Hash};
use crate::mutant::{self, Mutant};

/// An admission is shown for this long after the pulse, microseconds.
const ADMIT_US: u64 = 3_000_000;
/// Another code can't take an admission off the screen before this, microseconds.
const ADMIT_LEAST_US: u64 = 1_000_000;
/// gate-io must have answered this long after a pulse should have ended, microseconds; then it is asked.
const PULSE_GRACE_US: u64 = 1_000_000;
/// Asked what became of a pulse, gate-io must answer in this time, microseconds.
const INQUIRY_US: u64 = 1_000_000;
/// A barrier with feedback must be seen open this long after the pulse, microseconds.
const BARRIER_LIMIT_US: u64 = 8_000_000;
/// A barrier that stays open, or a vehicle that stays, is not waited for longer than this, microseconds.
const PASSAGE_LIMIT_US: u64 = 120_000_000;

/// What an opening is for, and what was seen of it.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    /// The code that was shown, if one was.
    pub(super) code: Option<Hash>,
    pub(super) direction: Direction,
    pub(super) ms: u32,
    pub(super) romanian: bool,
    /// Opens even if nothing can be stored.
    pub(super) free: bool,
    /// The event that authorised it; `None` while nothing is stored.
    pub(super) of: Option<EventId>,
    /// Its record, where it was not waited for.
    pub(super) late: Option<Ticket>,
    /// That it opened is written down.
    pub(super) told: bool,
    /// Somebody stood there when the pulse was asked for, and did all the time since.
    pub(super) stayed: bool,
    /// They left only after the barrier had opened and closed again.
    pub(super) turned_back: bool,
    pub(super) barrier_seen: bool,
    /// The barrier opened after the pulse was asked for.
    pub(super) barrier_rose: bool,
    /// The pulse did what was asked, as far as that can be known.
    pub(super) carried_out: bool,
    pub(super) passed: bool,
    /// It makes up for an earlier one of which nobody knows.
    pub(super) reopens: bool,
}

impl Opening {
    pub(super) fn new(code: Option<Hash>, direction: Direction, ms: u32) -> Self {
        Self {
            code,
            direction,
            ms,
            romanian: false,
            free: false,
            of: None,
            late: None,
            told: false,
            stayed: false,
            turned_back: false,
            barrier_seen: false,
            barrier_rose: false,
            carried_out: false,
            passed: false,
            reopens: false,
        }
    }
}

/// After the pulse.
#[derive(Clone, Debug)]
pub(super) struct OpenGate {
    pub(super) opening: Opening,
    since_us: u64,
    until_us: u64,
}

impl OpenGate {
    /// The same ADMIT again for somebody who was just admitted.
    pub(super) fn shown_again(opening: Opening, us: u64) -> Self {
        let opening = Opening { told: true, passed: true, ..opening };
        Self { opening, since_us: us, until_us: us.saturating_add(ADMIT_US) }
    }
}

/// The opening that a body takes back.
pub(super) fn of_opening(body: &EventBody) -> Option<EventId> {
    match body {
        EventBody::NotOpened { of, .. } | EventBody::Annulled { of } => Some(*of),
        EventBody::EpochOpened { .. }
        | EventBody::Authorised { .. }
        | EventBody::Opened { .. }
        | EventBody::Passed { .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Overridden { .. }
        | EventBody::ExitButton { .. }
        | EventBody::Fire { .. }
        | EventBody::Health { .. }
        | EventBody::LaneClosed { .. }
        | EventBody::Recounted(_)
        | EventBody::ClockStepped(_) => None,
    }
}

impl Lane {
    /// Whether the next code may be judged although this gate is still shown open.
    pub(super) fn lets_next_in(&self, open: &OpenGate, us: u64) -> bool {
        let clear = !self.setup.watches_passage() || open.opening.passed;
        clear && us >= open.since_us.saturating_add(ADMIT_LEAST_US)
    }

    /// The barrier is or was open, and nobody went through yet.
    fn waits_for_passage(&self, open: &OpenGate) -> bool {
        self.setup.watches_passage() && !open.opening.passed && open.opening.barrier_seen
    }

    pub(super) fn open_ends(&self, open: &OpenGate) -> u64 {
        if self.waits_for_passage(open) {
            open.since_us.saturating_add(PASSAGE_LIMIT_US)
        } else {
            self.hold(open.until_us, open.opening.code)
        }
    }

    pub(super) fn authorise(
        &mut self,
        input: Box<DecisionInput>,
        admission: Admission,
        confirmed: Option<Confirmation>,
        us: u64,
        effects: &mut Vec<Effect>,
    ) {
        self.in_view.admit(us);
        let ms = admission.open_ms.unwrap_or(self.setup.open_ms);
        let opening = Opening {
            romanian: admission.romanian,
            free: self.is_free_exit(),
            reopens: admission.reopens.is_some(),
            ..Opening::new(Some(input.pass.token), admission.direction, ms)
        };
        let generation = |zone| {
            let space = input.view.spaces.iter().find(|space| space.zone == zone);
            space.map_or(0, |space| space.generation)
        };
        let generations = admission.zones.iter().map(|zone| generation(*zone)).collect();
        let ticket = self.record(EventBody::Authorised { input, admission, generations, confirmed }, effects);
        if mutant::active(Mutant::RelayBeforeCommit) {
            return self.open_without_record(Opening { free: true, late: Some(ticket), ..opening }, us, effects);
        }
        self.recording(ticket, opening, us);
    }

    pub(super) fn exit_button(&mut self, us: u64, effects: &mut Vec<Effect>) {
        let busy = matches!(self.state, State::Recording { .. } | State::Opening { .. });
        // In a fire gate-io holds the gate open already.
        if self.setup.direction != Direction::Out || busy || self.fire {
            return;
        }
        self.presentation += 1;
        let opening = Opening { free: true, ..Opening::new(None, Direction::Out, self.setup.open_ms) };
        // The shell fills in zones and generations from the replica: the lane does not know them.
        let body = EventBody::ExitButton { zones: vec![], generations: vec![] };
        let ticket = self.record(body, effects);
        self.recording(ticket, opening, us);
    }

    /// Asks for the pulse.
    pub(super) fn pulse(&mut self, key: PulseKey, opening: Opening, us: u64, effects: &mut Vec<Effect>) {
        effects.push(Effect::Open { key, ms: opening.ms });
        self.visits.attend();
        let deadline_us = us.saturating_add(u64::from(opening.ms) * 1000).saturating_add(PULSE_GRACE_US);
        let opening = Opening { barrier_seen: self.barrier_open, stayed: self.presence, ..opening };
        self.unclear = None;
        self.state = State::Opening { key, opening, deadline_us, inquired: false };
    }

    /// No word of the pulse's end came in time. Perhaps this program stood still and the word waits to be heard: gate-io is
    /// asked once before anybody calls the pulse lost.
    pub(super) fn pulse_unheard(&mut self, us: u64, effects: &mut Vec<Effect>) {
        let State::Opening { key, deadline_us, inquired, .. } = &mut self.state else {
            return;
        };
        let key = *key;
        if std::mem::replace(inquired, true) || mutant::active(Mutant::LostUnasked) {
            self.pulsed(key, PulseResult::Unknown, us, effects);
        } else {
            *deadline_us = us.saturating_add(INQUIRY_US);
            effects.push(Effect::Inquire(key));
        }
    }

    pub(super) fn pulsed(&mut self, key: PulseKey, result: PulseResult, us: u64, effects: &mut Vec<Effect>) {
        let State::Opening { key: waiting, opening, .. } = &self.state else {
            return;
        };
        if *waiting != key {
            return;
        }
        let mut opening = opening.clone();
        // The barrier was seen to rise: a pulse that was cut short or not heard of was long enough.
        let rose = self.setup.watches_passage() && opening.barrier_rose;
        let unclear = matches!(result, PulseResult::CutShort | PulseResult::Unknown);
        let did = result == PulseResult::Done || (rose && unclear);
        opening.carried_out |= did;
        // Somebody drove through under an open barrier in its name: whatever became of the pulse, the use counts.
        let through = opening.passed && result != PulseResult::Started;
        match if did || through { PulseResult::Done } else { result } {
            PulseResult::Started => {}
            PulseResult::Done => {
                self.retried = None;
                if opening.of.is_some() {
                    opening.late = None;
                }
                if let Some(code) = opening.code {
                    let stays = self.in_view.until(code).is_some();
                    let romanian = opening.romanian;
                    self.admitted = Some(Admitted { code, at_us: us, romanian, stays });
                }
                let waits = self.setup.watches_passage() && !opening.passed;
                let shown = if waits { BARRIER_LIMIT_US } else { ADMIT_US };
                let until_us = us.saturating_add(shown);
                self.state = State::Open(OpenGate { opening, since_us: us, until_us });
                self.tell_opened(effects);
                self.settle(us, effects);
            }
            PulseResult::Refused | PulseResult::CutShort | PulseResult::Unknown | PulseResult::Away => {
                let cut_short = result == PulseResult::CutShort;
                let unknown = cut_short || result == PulseResult::Unknown;
                if let Some(of) = opening.of {
                    self.give_back(EventBody::NotOpened { of, unknown }, us, effects);
                }
                if result == PulseResult::Away {
                    self.fault(Part::GateIo, "gate-io is away", effects);
                }
                // In a fire the gate is open already, and gate-io takes no orders. If the hand itself is gone, that is the
                // fault, and it ends when the hand is back; the barrier is not to blame.
                let once = cut_short && !opening.reopens && (self.retried.is_none() || self.retried != opening.code);
                if !self.fire && !once && !self.faults.contains(&Part::GateIo) {
                    let why = match (cut_short, unknown) {
                        (true, _) => "a pulse was cut short again",
                        (false, true) => "a pulse was lost",
                        (false, false) => "a pulse was refused",
                    };
                    self.fault(Part::Barrier, why, effects);
                }
                // Whoever still shows the code has one more try; that one they begin themselves.
                if let Some(code) = opening.code.filter(|_| once) {
                    self.retried = Some(code);
                    self.in_view.give_back(code);
                }
                // A barrier takes its time: it may be seen to rise yet.
                let until_us = us.saturating_add(BARRIER_LIMIT_US);
                self.unclear =
                    (unknown && self.setup.watches_passage()).then_some(OpenGate { opening, since_us: us, until_us });
                self.state = State::Idle;
            }
        }
    }

    fn opening_mut(&mut self) -> Option<&mut Opening> {
        match &mut self.state {
            State::Opening { opening, .. } => Some(opening),
            State::Open(open) => Some(&mut open.opening),
            State::Idle
            | State::Judging { .. }
            | State::Refusing { .. }
            | State::Asking { .. }
            | State::Recording { .. } => None,
        }
    }

    /// Writes that the gate opened, as soon as that is known: the relay did what was asked, and where the barrier can
    /// be seen it followed. That also ends the fault of an earlier pulse that did nothing.
    pub(super) fn tell_opened(&mut self, effects: &mut Vec<Effect>) {
        let watched = self.setup.watches_passage();
        let State::Open(OpenGate { opening, .. }) = &mut self.state else {
            return;
        };
        if opening.told || (watched && !opening.barrier_seen) {
            return;
        }
        let carried_out = opening.carried_out;
        if let Some(of) = opening.of {
            opening.told = true;
            self.record(EventBody::Opened { of, watched }, effects);
        }
        if carried_out {
            self.mended(Part::Barrier, "a pulse was carried out", effects);
        }
    }

    /// The barrier rises while nothing is under way, soon after an opening of which nobody knew: it did open.
    fn rose_late(&mut self, us: u64) {
        let resting = matches!(self.state, State::Idle | State::Refusing { .. });
        let Some(unclear) = self.unclear.take_if(|unclear| resting && us < unclear.until_us) else { return };
        let opening = Opening { carried_out: true, stayed: false, ..unclear.opening };
        self.unstored.retain(|body| of_opening(body) != opening.of);
        self.presentation += 1;
        self.state = State::Open(OpenGate { opening, since_us: us, until_us: us.saturating_add(ADMIT_US) });
    }

    /// The barrier input changed.
    pub(super) fn barrier_moved(&mut self, us: u64, effects: &mut Vec<Effect>) {
        let open = self.barrier_open;
        if open {
            self.rose_late(us);
        }
        if let Some(opening) = self.opening_mut() {
            opening.barrier_seen |= open;
            opening.barrier_rose |= open;
        }
        self.tell_opened(effects);
    }

    /// Nobody stands at the lane any more: through, if the barrier is open. Also somebody nobody let in: who follows
    /// close behind, or drives through while the barrier is held open.
    pub(super) fn cleared(&mut self, us: u64, effects: &mut Vec<Effect>) {
        if !self.setup.watches_passage() {
            return;
        }
        let barrier_open = self.barrier_open;
        let mut of = None;
        let mut direction = self.setup.direction;
        if let Some(opening) = self.opening_mut() {
            opening.turned_back |= opening.stayed && opening.barrier_seen && !barrier_open;
            opening.stayed = false;
            if barrier_open && !opening.passed {
                opening.passed = true;
                (of, direction) = (opening.of, opening.direction);
                if let State::Open(open) = &mut self.state {
                    open.until_us = us.saturating_add(ADMIT_US);
                }
            }
        }
        if barrier_open {
            self.record(EventBody::Passed { of, direction }, effects);
        }
    }

    /// On a lane that watches the passage, what a barrier that closed again says. Whoever stood there all the time and
    /// leaves only now turned back: the admission is taken back. Whoever was out of sight in between may have gone
    /// through, so the use counts.
    pub(super) fn settle(&mut self, us: u64, effects: &mut Vec<Effect>) {
        let State::Open(open) = &self.state else {
            return;
        };
        if !self.waits_for_passage(open) || self.barrier_open {
            return;
        }
        if open.opening.turned_back {
            self.annul(open.opening.of, us, effects);
        } else if !open.opening.stayed {
            // Whoever shows the code again stands before a closed barrier: green would be a lie.
            self.admitted = None;
            self.state = State::Idle;
        }
    }

    /// gate-io is gone: what happens meanwhile is not seen.
    pub(super) fn looked_away(&mut self) {
        self.visits.look_away();
        if let Some(opening) = self.opening_mut() {
            opening.stayed = false;
        }
    }

    fn annul(&mut self, of: Option<EventId>, us: u64, effects: &mut Vec<Effect>) {
        if let Some(of) = of {
            self.give_back(EventBody::Annulled { of }, us, effects);
        }
        self.admitted = None;
        self.state = State::Idle;
    }

    /// An open gate was shown for long enough.
    pub(super) fn open_ended(&mut self, us: u64, effects: &mut Vec<Effect>) {
        let State::Open(open) = &self.state else {
            return;
        };
        let never_opened = self.setup.watches_passage() && !open.opening.passed && !open.opening.barrier_seen;
        let of = open.opening.of;
        self.state = State::Idle;
        if never_opened {
            // The relay moved, and a broken feedback looks the same as a barrier that is stuck: nothing is taken back,
            // but who was let in may present the code again.
            if let Some(of) = of {
                self.give_back(EventBody::NotOpened { of, unknown: true }, us, effects);
            }
            self.admitted = None;
            self.fault(Part::Barrier, "the pulse was given but the barrier was not seen open", effects);
        }
    }
}
