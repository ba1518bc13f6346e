//! Every refused presentation leaves a trace, and nobody can wear out the card.
//!
//! The first presentation of a minute is written at once; further ones of the same kind are counted and written as one
//! `Repeated` event when the minute is over. Genuine passes are told apart by (pass, reason), everything else by reason.
//! So is a visit that came to nothing because no code could be read ([`super::visit`]).

use std::collections::BTreeMap;

use super::Ticket;
use crate::event::EventBody;
use crate::ids::{EventId, PassId};
use crate::reason::Reason;

/// What is counted together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TraceKey {
    /// The pass, if it was genuine.
    pub(super) pass: Option<PassId>,
    /// Why it was refused.
    pub(super) reason: Reason,
}

/// The record of the first presentation of a minute.
#[derive(Clone, Copy, Debug)]
enum First {
    Waiting(Ticket),
    Stored(EventId),
}

#[derive(Clone, Debug)]
struct Counted {
    minute: u64,
    first: First,
    more: u32,
}

/// The refusals of the current minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    counted: BTreeMap<TraceKey, Counted>,
    /// Minutes that are over, but whose first record is not stored yet.
    late: Vec<(Ticket, u32)>,
    ready: Vec<EventBody>,
}

const MINUTE_US: u64 = 60_000_000;

impl Trace {
    /// Whether one of this kind was written in this minute already; then this one is only counted.
    pub(super) fn counts(&mut self, key: &TraceKey, mono_us: u64) -> bool {
        match self.counted.get_mut(key) {
            Some(counted) if counted.minute == mono_us / MINUTE_US => {
                counted.more = counted.more.saturating_add(1);
                true
            }
            Some(_) | None => false,
        }
    }

    /// The first one of its minute is being written with this ticket.
    pub(super) fn begin(&mut self, key: TraceKey, ticket: Ticket, mono_us: u64) {
        let minute = mono_us / MINUTE_US;
        let first = First::Waiting(ticket);
        if let Some(over) = self.counted.insert(key, Counted { minute, first, more: 0 }) {
            self.close(over);
        }
    }

    /// A record is stored. True if it is one of these.
    pub(super) fn stored(&mut self, ticket: Ticket, event: EventId) -> bool {
        if let Some(at) = self.late.iter().position(|(waiting, _)| *waiting == ticket) {
            let (_, more) = self.late.swap_remove(at);
            self.ready.push(EventBody::Repeated { of: event, more });
            return true;
        }
        let mut mine = self
            .counted
            .values_mut()
            .filter(|counted| matches!(counted.first, First::Waiting(waiting) if waiting == ticket));
        match mine.next() {
            Some(counted) => {
                counted.first = First::Stored(event);
                true
            }
            None => false,
        }
    }

    /// A record could not be stored: the next of its kind tries again.
    pub(super) fn not_stored(&mut self, ticket: Ticket) {
        self.late.retain(|(waiting, _)| *waiting != ticket);
        self.counted.retain(|_, counted| !matches!(counted.first, First::Waiting(waiting) if waiting == ticket));
    }

    /// What has to be written because its minute is over.
    pub(super) fn due(&mut self, mono_us: u64) -> Vec<EventBody> {
        let minute = mono_us / MINUTE_US;
        let over = self.counted.extract_if(.., |_, counted| counted.minute < minute);
        for (_, counted) in over.collect::<Vec<_>>() {
            self.close(counted);
        }
        std::mem::take(&mut self.ready)
    }

    fn close(&mut self, Counted { first, more, .. }: Counted) {
        match first {
            _ if more == 0 => {}
            First::Stored(of) => self.ready.push(EventBody::Repeated { of, more }),
            First::Waiting(ticket) => self.late.push((ticket, more)),
        }
    }

    /// When the current minute is over, if anything is counted, microseconds.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.counted.values().map(|counted| (counted.minute + 1) * MINUTE_US).min()
    }
}
