//! The machine: what a lane makes of each event.

use super::codes::CodesInView;
use super::passage::{OpenGate, Opening};
use super::trace::{Trace, TraceKey};
use super::visit::Visits;
use super::{Effect, Input, LaneEvent, LaneSetup, LaneStatus, PulseKey, StaffRequest, Ticket};
use crate::decision::{DecisionInput, Question, Refusal, Verdict};
use crate::event::{Confirmation, EventBody, Part};
use crate::ids::{Direction, Hash};
use crate::occupancy::Fullness;
use crate::pass::Finding;
use crate::reason::Reason;
use crate::time::Now;
use crate::view::Egress;

/// A refusal is shown for this long, microseconds.
const REFUSAL_US: u64 = 4_000_000;
/// Another code can't take a refusal off the screen before this, microseconds.
const REFUSAL_LEAST_US: u64 = 2_000_000;
/// A code shown again this soon after its admission sees the same ADMIT, microseconds.
const RESCAN_HOLD_US: u64 = 8_000_000;
/// Staff have this long to answer, microseconds; then it is no.
const ASK_US: u64 = 20_000_000;
/// A decision or a record that takes longer than this is not waited for, microseconds.
pub(super) const SHELL_LIMIT_US: u64 = 3_000_000;
/// A free exit does not wait longer than this for decision or record, microseconds.
pub(super) const FREE_EXIT_WAIT_US: u64 = 500_000;

/// What a lane is doing.
#[derive(Clone, Debug)]
pub(super) enum State {
    Idle,
    /// The shell was asked to judge this code.
    Judging {
        code: Hash,
        deadline_us: u64,
    },
    Refusing {
        refusal: Refusal,
        code: Hash,
        since_us: u64,
    },
    Asking {
        question: Box<Question>,
        input: Box<DecisionInput>,
        until_us: u64,
    },
    Recording {
        ticket: Ticket,
        opening: Opening,
        deadline_us: u64,
    },
    /// The pulse was asked for.
    Opening {
        key: PulseKey,
        opening: Opening,
        deadline_us: u64,
        /// No word of its end came in time: gate-io was asked what became of it.
        inquired: bool,
    },
    Open(OpenGate),
}

/// The code that was admitted last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    pub(super) code: Hash,
    /// When it was admitted, or last seen if it stayed in view since.
    pub(super) at_us: u64,
    pub(super) romanian: bool,
    /// It has not left the view since.
    pub(super) stays: bool,
}

/// A record that takes back what the decision before it took.
#[derive(Clone, Debug)]
pub(super) struct GivingBack {
    pub(super) ticket: Ticket,
    pub(super) body: EventBody,
    /// It should be stored by then.
    pub(super) until_us: u64,
    /// It was not.
    pub(super) late: bool,
}

/// One lane.
#[derive(Clone, Debug)]
pub struct Lane {
    pub(super) setup: LaneSetup,
    pub(super) state: State,
    pub(super) in_view: CodesInView,
    pub(super) admitted: Option<Admitted>,
    pub(super) presentation: u64,
    pub(super) next_ticket: u64,
    pub(super) trace: Trace,
    pub(super) visits: Visits,
    /// Records that were not waited for: if they are stored after all, nothing opens.
    pub(super) given_up: Vec<Ticket>,
    /// Until these are stored a view would not show yet what they give back.
    pub(super) giving_back: Vec<GivingBack>,
    /// Those that could not be stored: they are written when storage works again.
    pub(super) unstored: Vec<EventBody>,
    /// The code that was judged again by itself, after a pulse that was cut short.
    pub(super) retried: Option<Hash>,
    /// The newest opening of which nobody knows, where the barrier may yet show what became of it.
    pub(super) unclear: Option<OpenGate>,
    pub(super) faults: Vec<Part>,
    pub(super) closed: bool,
    pub(super) fire: bool,
    pub(super) presence: bool,
    pub(super) barrier_open: bool,
    pub(super) fullness: Fullness,
    pub(super) next_free: u64,
    shown: Option<LaneStatus>,
}

impl Lane {
    /// A lane at rest. Pulses of which nothing could be stored, and tickets, are numbered from `free_pulses_from`, which
    /// must differ from one start of the program, or of a lane, to the next (a monotonic stamp does).
    pub fn new(setup: LaneSetup, free_pulses_from: u64) -> Self {
        Self {
            setup,
            state: State::Idle,
            in_view: CodesInView::default(),
            admitted: None,
            presentation: 0,
            next_ticket: free_pulses_from,
            trace: Trace::default(),
            visits: Visits::default(),
            given_up: Vec::new(),
            giving_back: Vec::new(),
            unstored: Vec::new(),
            retried: None,
            unclear: None,
            faults: Vec::new(),
            closed: false,
            fire: false,
            presence: false,
            barrier_open: false,
            fullness: Fullness::Open,
            next_free: free_pulses_from,
            shown: None,
        }
    }

    /// Another setup, from now on. What the lane knows of the world stays: inputs, faults, closed, fire, the codes in
    /// view and what is under way. The screen follows with the next event ([`LaneEvent::Woke`] will do).
    pub fn set_setup(&mut self, setup: LaneSetup) {
        self.setup = setup;
    }

    /// Takes in an event and says what to do.
    pub fn handle(&mut self, event: LaneEvent, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let us = now.mono_us;
        self.end_visit(us, &mut effects);
        match event {
            LaneEvent::Seen(codes) => self.seen(&codes, us, &mut effects),
            LaneEvent::Judged { input, verdict } => self.judged(input, verdict, us, &mut effects),
            LaneEvent::Stored(ticket, event) => self.stored(ticket, event, us, &mut effects),
            LaneEvent::NotStored(ticket) => self.not_stored(ticket, us, &mut effects),
            LaneEvent::Pulse(key, result) => self.pulsed(key, result, us, &mut effects),
            LaneEvent::Settled(body @ EventBody::NotOpened { .. }) => self.give_back(body, us, &mut effects),
            LaneEvent::Settled(body) => {
                self.record(body, &mut effects);
            }
            LaneEvent::Input(input, active) => self.input(input, active, us, &mut effects),
            LaneEvent::Staff(request) => self.staff(request, us, &mut effects),
            LaneEvent::Part { part, working, detail } => {
                self.part(part, working, detail, us, &mut effects);
            }
            LaneEvent::Zone(fullness) => {
                let was_full = std::mem::replace(&mut self.fullness, fullness) == Fullness::Full;
                if was_full && fullness != Fullness::Full {
                    self.reconsider(Reason::LotFull);
                }
            }
            LaneEvent::Woke => {}
        }
        self.expire(us, &mut effects);
        self.look_at_visit();
        for body in self.trace.due(us) {
            self.record(body, &mut effects);
        }
        let status = self.status();
        if self.shown.as_ref() != Some(&status) {
            effects.push(Effect::Show(Box::new(status.clone())));
            self.shown = Some(status);
        }
        effects
    }

    /// When [`LaneEvent::Woke`] is due, monotonic microseconds; `None` if nothing waits.
    pub fn next_wake(&self) -> Option<u64> {
        let stored = self.giving_back.iter().filter(|back| !back.late).map(|back| back.until_us).min();
        let waits =
            [self.in_view.next_wake(), self.state_ends(), self.trace.next_wake(), self.visits.next_wake(), stored];
        waits.into_iter().flatten().min()
    }

    /// When the present state ends by itself.
    fn state_ends(&self) -> Option<u64> {
        match &self.state {
            State::Idle => None,
            State::Judging { deadline_us, .. }
            | State::Recording { deadline_us, .. }
            | State::Opening { deadline_us, .. } => Some(*deadline_us),
            // While the code stays in view the screen stays too.
            State::Refusing { code, since_us, .. } => Some(self.hold(since_us.saturating_add(REFUSAL_US), Some(*code))),
            State::Asking { until_us, .. } => Some(*until_us),
            State::Open(open) => Some(self.open_ends(open)),
        }
    }

    /// Until when something is shown: its time, or as long as its code stays in view.
    pub(super) fn hold(&self, until_us: u64, code: Option<Hash>) -> u64 {
        code.and_then(|code| self.in_view.until(code)).map_or(until_us, |seen| until_us.max(seen))
    }

    /// Whether everybody may leave here, whatever else is the matter.
    pub(super) fn is_free_exit(&self) -> bool {
        self.setup.direction == Direction::Out && self.setup.egress == Egress::Free
    }

    fn seen(&mut self, codes: &[Hash], us: u64, effects: &mut Vec<Effect>) {
        self.leave_view(us);
        self.in_view.see(codes, us);
        if let Some(admitted) = &mut self.admitted
            && admitted.stays
            && codes.contains(&admitted.code)
        {
            admitted.at_us = us;
        }
        if !self.takes_codes(us) {
            return;
        }
        let Some(code) = self.in_view.take(codes, us) else {
            return;
        };
        self.visits.attend();
        if let Some(admitted) = self.admitted
            && admitted.code == code
            && us.saturating_sub(admitted.at_us) < RESCAN_HOLD_US
        {
            self.presentation += 1;
            let opening = Opening {
                romanian: admitted.romanian,
                passed: true,
                ..Opening::new(Some(code), self.setup.direction, 0)
            };
            self.state = State::Open(OpenGate::shown_again(opening, us));
            return;
        }
        self.in_view.begin(code);
        let limit = if self.is_free_exit() { FREE_EXIT_WAIT_US } else { SHELL_LIMIT_US };
        self.state = State::Judging { code, deadline_us: us.saturating_add(limit) };
        effects.push(Effect::Judge(code));
    }

    /// Whether a new code may be judged now.
    fn takes_codes(&self, us: u64) -> bool {
        if self.fire || self.gives_back(us) {
            return false;
        }
        match &self.state {
            State::Idle => true,
            State::Refusing { since_us, .. } => us >= since_us.saturating_add(REFUSAL_LEAST_US),
            State::Judging { .. } | State::Asking { .. } | State::Recording { .. } | State::Opening { .. } => false,
            State::Open(open) => self.lets_next_in(open, us),
        }
    }

    fn judged(&mut self, input: Box<DecisionInput>, verdict: Verdict, us: u64, effects: &mut Vec<Effect>) {
        let State::Judging { code, .. } = self.state else {
            return;
        };
        // The answer to an earlier question, which something else has overtaken.
        if input.pass.token != code {
            return;
        }
        self.presentation += 1;
        match verdict {
            Verdict::Refuse(refusal) => self.refuse(refusal, &input, us, effects),
            Verdict::Ask(question) => {
                let until_us = us.saturating_add(ASK_US);
                self.state = State::Asking { question: Box::new(question), input, until_us };
            }
            Verdict::Admit(admission) => self.authorise(input, admission, None, us, effects),
        }
    }

    fn refuse(&mut self, refusal: Refusal, input: &DecisionInput, us: u64, effects: &mut Vec<Effect>) {
        let reason = refusal.reason;
        let key = TraceKey { pass: refusal.pass.clone(), reason };
        let body = || match &input.pass.finding {
            Finding::Genuine { .. } => EventBody::Refused { input: Box::new(input.clone()), reason },
            Finding::Defective(_) => EventBody::Noise { reason, token: input.pass.token },
        };
        self.leave_trace(key, body, us, effects);
        self.in_view.dismiss();
        self.state = State::Refusing { refusal, code: input.pass.token, since_us: us };
    }

    /// Writes the first one of its minute, and counts those that follow.
    pub(super) fn leave_trace(
        &mut self,
        key: TraceKey,
        body: impl FnOnce() -> EventBody,
        us: u64,
        effects: &mut Vec<Effect>,
    ) {
        if !self.trace.counts(&key, us) {
            let ticket = self.record(body(), effects);
            self.trace.begin(key, ticket, us);
        }
    }

    fn input(&mut self, input: Input, active: bool, us: u64, effects: &mut Vec<Effect>) {
        match input {
            Input::Presence => {
                let was = std::mem::replace(&mut self.presence, active);
                self.presence_told(active, us);
                if active {
                    self.reconsider(Reason::NoVehicle);
                } else if was {
                    self.cleared(us, effects);
                }
            }
            Input::BarrierOpen => {
                self.barrier_open = active;
                self.barrier_moved(us, effects);
            }
            Input::ExitButton if active => self.exit_button(us, effects),
            Input::ExitButton => {}
            Input::Fire => {
                if self.fire != active {
                    self.fire = active;
                    self.record(EventBody::Fire { active }, effects);
                }
            }
        }
        self.settle(us, effects);
    }

    fn staff(&mut self, request: StaffRequest, us: u64, effects: &mut Vec<Effect>) {
        match request {
            StaffRequest::Answer { yes, presentation, staff } => {
                if presentation != self.presentation {
                    return;
                }
                let State::Asking { question, input, .. } = &self.state else {
                    return;
                };
                let (question, input) = (question.clone(), input.clone());
                if yes {
                    let confirmed = Some(Confirmation { reason: question.reason, staff });
                    self.presentation += 1;
                    self.authorise(input, question.admission, confirmed, us, effects);
                } else {
                    self.declined(*question, &input, us, effects);
                }
            }
            StaffRequest::Close { closed, staff } => {
                if self.closed != closed {
                    self.closed = closed;
                    self.record(EventBody::LaneClosed { closed, staff }, effects);
                    if !closed {
                        // Who takes it into use again says that it was looked at.
                        self.mended(Part::Barrier, "staff reopened the lane", effects);
                        self.reconsider(Reason::OutOfOrder);
                    }
                }
            }
        }
    }

    /// Staff said no, or nothing.
    fn declined(&mut self, question: Question, input: &DecisionInput, us: u64, effects: &mut Vec<Effect>) {
        self.presentation += 1;
        let refusal = Refusal {
            reason: question.reason,
            pass: question.admission.pass.clone(),
            last: question.last,
            right_gates: vec![],
            romanian: question.admission.romanian,
        };
        self.refuse(refusal, input, us, effects);
    }

    /// A part failed before the lane's eyes.
    pub(super) fn fault(&mut self, part: Part, why: &str, effects: &mut Vec<Effect>) {
        self.set_fault(part, why.to_owned(), effects);
    }

    fn set_fault(&mut self, part: Part, detail: String, effects: &mut Vec<Effect>) {
        if !self.faults.contains(&part) {
            self.faults.push(part);
            self.faults.sort_unstable();
            self.record(EventBody::Health { part, working: false, detail }, effects);
        }
    }

    fn part(&mut self, part: Part, working: bool, detail: String, us: u64, effects: &mut Vec<Effect>) {
        if !working {
            self.set_fault(part, detail, effects);
            if part == Part::GateIo {
                self.looked_away();
                // Whoever had the pulse is gone: nobody will say what became of it.
                if let State::Opening { key, .. } = self.state {
                    self.pulsed(key, super::PulseResult::Unknown, us, effects);
                }
            }
            // Who can't read the replica can't judge: no answer will come.
            if part == Part::Storage
                && let State::Judging { code, .. } = self.state
            {
                self.give_up_judging(code, us, effects);
            }
        } else {
            // First of all: whoever waits in view is judged by what it gives back.
            if part == Part::Storage {
                for body in std::mem::take(&mut self.unstored) {
                    self.give_back(body, us, effects);
                }
            }
            self.mended(part, &detail, effects);
        }
    }

    /// A part works again.
    pub(super) fn mended(&mut self, part: Part, why: &str, effects: &mut Vec<Effect>) {
        if !self.faults.contains(&part) {
            return;
        }
        self.faults.retain(|fault| *fault != part);
        self.record(EventBody::Health { part, working: true, detail: why.to_owned() }, effects);
        if !self.is_stopped() {
            self.reconsider(Reason::LaneFault);
        }
    }

    fn give_up_judging(&mut self, code: Hash, us: u64, effects: &mut Vec<Effect>) {
        if self.is_free_exit() {
            self.presentation += 1;
            let opening = Opening { free: true, ..Opening::new(Some(code), Direction::Out, self.setup.open_ms) };
            self.in_view.admit(us);
            self.open_without_record(opening, us, effects);
        } else {
            self.state = State::Idle;
            self.in_view.dismiss();
            self.in_view.give_back(code);
        }
    }

    /// What stood in the way of the code on the screen is gone: it may be judged again without leaving the view.
    fn reconsider(&mut self, gone: Reason) {
        if let State::Refusing { refusal, code, .. } = &self.state
            && refusal.reason == gone
        {
            self.in_view.give_back(*code);
        }
    }

    fn leave_view(&mut self, us: u64) {
        self.in_view.drop_gone(us);
        if let Some(admitted) = &mut self.admitted {
            admitted.stays &= self.in_view.until(admitted.code).is_some();
        }
        self.retried = self.retried.filter(|code| self.in_view.until(*code).is_some());
    }

    /// Ends what has lasted long enough.
    fn expire(&mut self, us: u64, effects: &mut Vec<Effect>) {
        self.leave_view(us);
        self.expire_giving_back(us, effects);
        if self.state_ends().is_none_or(|ends| us < ends) {
            return;
        }
        match &self.state {
            State::Idle => {}
            State::Judging { code, .. } => self.give_up_judging(*code, us, effects),
            State::Refusing { .. } => self.state = State::Idle,
            State::Asking { question, input, .. } => {
                let (question, input) = (question.clone(), input.clone());
                self.declined(*question, &input, us, effects);
            }
            State::Recording { ticket, opening, .. } => {
                let (ticket, opening) = (*ticket, opening.clone());
                self.give_up_recording(ticket, opening, us, effects);
            }
            State::Opening { .. } => self.pulse_unheard(us, effects),
            State::Open(_) => self.open_ended(us, effects),
        }
    }
}
