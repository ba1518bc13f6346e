//! Nothing opens before its record is stored: handing records to the shell and waiting for them.

use super::machine::{FREE_EXIT_WAIT_US, GivingBack, Lane, SHELL_LIMIT_US, State};
use super::passage::Opening;
use super::{Effect, PulseKey, Ticket};
use crate::event::{EventBody, Part};
use crate::ids::EventId;
use crate::mutant::{self, Mutant};

impl Lane {
    pub(super) fn record(&mut self, body: EventBody, effects: &mut Vec<Effect>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        effects.push(Effect::Record(ticket, body));
        ticket
    }

    /// Whether what a record gives back would not be seen yet. A free exit waits for none for long.
    pub(super) fn gives_back(&self, us: u64) -> bool {
        if self.is_free_exit() {
            return self.giving_back.iter().any(|back| us < back.until_us);
        }
        !self.giving_back.is_empty() || !self.unstored.is_empty()
    }

    /// Storage does not say what became of a record in time: nobody can be let in until it does.
    pub(super) fn expire_giving_back(&mut self, us: u64, effects: &mut Vec<Effect>) {
        let mut late = false;
        for back in self.giving_back.iter_mut().filter(|back| !back.late && us >= back.until_us) {
            back.late = true;
            late = true;
        }
        if late && !self.is_free_exit() {
            self.fault(Part::Storage, "a record was not stored in time", effects);
        }
    }

    /// Records that an opening did not happen, or perhaps not: nobody is judged before that is stored.
    pub(super) fn give_back(&mut self, body: EventBody, us: u64, effects: &mut Vec<Effect>) {
        let ticket = self.record(body.clone(), effects);
        let limit = if self.is_free_exit() { FREE_EXIT_WAIT_US } else { SHELL_LIMIT_US };
        if mutant::active(Mutant::JudgeTooSoon) {
            return;
        }
        self.giving_back.push(GivingBack { ticket, body, until_us: us.saturating_add(limit), late: false });
    }

    /// There is an answer about this record. Gives it if it was one that gives something back.
    fn answered(&mut self, ticket: Ticket) -> Option<EventBody> {
        let at = self.giving_back.iter().position(|back| back.ticket == ticket)?;
        Some(self.giving_back.swap_remove(at).body)
    }

    /// Waits for a record, after which the gate opens.
    pub(super) fn recording(&mut self, ticket: Ticket, opening: Opening, us: u64) {
        let limit = if opening.free { FREE_EXIT_WAIT_US } else { SHELL_LIMIT_US };
        self.state = State::Recording { ticket, opening, deadline_us: us.saturating_add(limit) };
    }

    pub(super) fn stored(&mut self, ticket: Ticket, event: EventId, us: u64, effects: &mut Vec<Effect>) {
        let _stored = self.answered(ticket);
        if self.trace.stored(ticket, event) {
            return;
        }
        if let Some(at) = self.given_up.iter().position(|given_up| *given_up == ticket) {
            self.given_up.swap_remove(at);
            self.give_back(EventBody::NotOpened { of: event, unknown: false }, us, effects);
            return;
        }
        match &mut self.state {
            State::Recording { ticket: waiting, opening, .. } if *waiting == ticket => {
                let opening = Opening { of: Some(event), ..opening.clone() };
                self.pulse(PulseKey::Event(event), opening, us, effects);
            }
            State::Opening { opening, .. } if opening.late == Some(ticket) => {
                opening.of = Some(event);
            }
            State::Open(open) if open.opening.late == Some(ticket) => {
                open.opening.late = None;
                open.opening.of = Some(event);
                self.tell_opened(effects);
            }
            State::Idle
            | State::Judging { .. }
            | State::Refusing { .. }
            | State::Asking { .. }
            | State::Recording { .. }
            | State::Opening { .. }
            | State::Open(_) => {}
        }
    }

    pub(super) fn not_stored(&mut self, ticket: Ticket, us: u64, effects: &mut Vec<Effect>) {
        let lost = self.answered(ticket);
        self.unstored.extend(lost);
        self.trace.not_stored(ticket);
        self.given_up.retain(|given_up| *given_up != ticket);
        self.fault(Part::Storage, "an event could not be stored", effects);
        if let State::Recording { ticket: waiting, opening, .. } = &self.state
            && *waiting == ticket
        {
            let opening = opening.clone();
            self.open_without_record(opening, us, effects);
        }
    }

    /// The record is not there in time.
    pub(super) fn give_up_recording(&mut self, ticket: Ticket, opening: Opening, us: u64, effects: &mut Vec<Effect>) {
        if opening.free {
            let opening = Opening { late: Some(ticket), ..opening };
            self.open_without_record(opening, us, effects);
        } else {
            self.given_up.push(ticket);
            self.fault(Part::Storage, "a record was not stored in time", effects);
            self.open_without_record(opening, us, effects);
        }
    }

    /// No record, no automatic opening, except where everybody may leave.
    pub(super) fn open_without_record(&mut self, opening: Opening, us: u64, effects: &mut Vec<Effect>) {
        if opening.free || mutant::active(Mutant::OpenUnrecorded) {
            let key = PulseKey::Free(self.next_free);
            self.next_free = self.next_free.wrapping_add(1);
            self.pulse(key, opening, us, effects);
        } else {
            self.presentation += 1;
            self.state = State::Idle;
        }
    }
}
