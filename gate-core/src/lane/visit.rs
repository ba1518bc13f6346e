//! Visits: somebody stood at the lane and left, and no code was read. That leaves a trace too.
//!
//! Only a lane with a presence input knows of it. A visit counts as [`Reason::Unreadable`] unless something explains it:
//!
//! - a code was taken to be judged, or the gate opened, while somebody stood there (or just before they drove up);
//! - they left through an open gate: who follows close behind is a `Passed` event;
//! - the lane was closed, on fire, had a fault or took no codes at some moment of it: the cause is written, and the screen
//!   asked nobody for a code. A free exit asks nobody either;
//! - its beginning was not seen: it was there when the program started, or when gate-io came back.
//!
//! A full lot explains nothing, because codes are read there as ever.

use super::Effect;
use super::machine::{Lane, State};
use super::trace::TraceKey;
use crate::event::{EventBody, Part};
use crate::ids::Hash;
use crate::reason::Reason;

/// Who is gone before this did not come to show anything, microseconds. Walking across a loop or light barrier of two
/// metres takes a second and a half; nobody stops, lowers a window and holds a code up in less than two.
const LEAST_US: u64 = 2_000_000;
/// Who is there again this soon never left, microseconds: loops lose a motorcycle, and the middle of a trailer.
const GAP_US: u64 = 1_000_000;

/// One stay at the lane.
#[derive(Clone, Copy, Debug)]
struct Visit {
    since_us: u64,
    left_us: Option<u64>,
    /// Something came of it, or something else is known to be the reason that nothing did.
    explained: bool,
}

/// Who stands at the lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Visits {
    visit: Option<Visit>,
    /// The input was heard since the start, and since gate-io is there.
    known: bool,
    /// A code was taken, or the gate opened, while nobody stood there: for whoever drives up next.
    ahead: bool,
}

impl Visits {
    /// Somebody stands there. `busy`: the lane is still dealing with a code, or shows what came of it.
    fn arrive(&mut self, busy: bool, us: u64) {
        let ahead = std::mem::take(&mut self.ahead) && busy;
        match &mut self.visit {
            Some(visit) => visit.left_us = None,
            None => {
                let explained = ahead || !self.known;
                self.visit = Some(Visit { since_us: us, left_us: None, explained });
            }
        }
    }

    /// Nobody stands there any more.
    fn leave(&mut self, us: u64) {
        if let Some(visit) = &mut self.visit {
            visit.left_us.get_or_insert(us);
        }
    }

    /// A code is taken to be judged, or the gate opens.
    pub(super) fn attend(&mut self) {
        match &mut self.visit {
            Some(visit) => visit.explained = true,
            None => self.ahead = true,
        }
    }

    /// The visit that goes on is none that a code was missing from.
    fn explain(&mut self) {
        if let Some(visit) = &mut self.visit {
            visit.explained = true;
        }
    }

    /// The input is not heard: neither who stands there nor who comes next was seen to come.
    pub(super) fn look_away(&mut self) {
        self.known = false;
        self.explain();
    }

    /// Ends the visit if it is over. True if it came to nothing without a reason.
    fn over_for_nothing(&mut self, us: u64) -> bool {
        let over = self.visit.take_if(|visit| visit.left_us.is_some_and(|left| us >= left.saturating_add(GAP_US)));
        over.is_some_and(|Visit { since_us, left_us, explained }| {
            !explained && left_us.is_some_and(|left| left.saturating_sub(since_us) >= LEAST_US)
        })
    }

    /// When the visit of somebody who left is over, microseconds.
    pub(super) fn next_wake(&self) -> Option<u64> {
        Some(self.visit?.left_us?.saturating_add(GAP_US))
    }
}

impl Lane {
    /// The shell gives the lane no codes, or lets it admit nobody, whatever is held up: not reading one says nothing about
    /// whoever stands there.
    pub fn takes_no_codes(&mut self) {
        self.visits.explain();
    }

    /// The presence input, before anything else is made of it.
    pub(super) fn presence_told(&mut self, active: bool, us: u64) {
        if active {
            self.visits.arrive(!matches!(self.state, State::Idle), us);
        } else {
            if matches!(self.state, State::Opening { .. } | State::Open(_)) || self.barrier_open {
                self.visits.explain();
            }
            self.visits.leave(us);
        }
        self.visits.known = true;
    }

    /// Writes down a visit that is over and came to nothing. First of all: who comes now is somebody else.
    pub(super) fn end_visit(&mut self, us: u64, effects: &mut Vec<Effect>) {
        if self.visits.over_for_nothing(us) {
            let key = TraceKey { pass: None, reason: Reason::Unreadable };
            let body = || EventBody::Noise { reason: Reason::Unreadable, token: Hash::ZERO };
            self.leave_trace(key, body, us, effects);
        }
    }

    /// Looks whether the lane asks for codes at all.
    pub(super) fn look_at_visit(&mut self) {
        let fault = self.faults.iter().any(|part| match part {
            Part::Camera | Part::GateIo | Part::Storage | Part::Barrier => true,
            Part::Clock => false,
        });
        if fault || self.closed || self.fire || self.is_free_exit() {
            self.visits.explain();
        }
    }
}
