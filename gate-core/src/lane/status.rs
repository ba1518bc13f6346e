//! What people see of a lane, and whether it can let anybody through.

use super::machine::{Lane, State};
use super::passage::{OpenGate, of_opening};
use super::{LaneStatus, PulseKey};
use crate::event::Part;
use crate::ids::{Direction, EventId};
use crate::occupancy::Fullness;
use crate::reason::Reason;
use crate::signals::ScreenKind;
use crate::view::Readiness;

impl Lane {
    /// Whether the lane itself writes down what became of this opening: it is being carried out, or its record waits.
    pub fn settles(&self, of: EventId) -> bool {
        let bodies = self.giving_back.iter().map(|back| &back.body).chain(&self.unstored);
        bodies.filter_map(of_opening).any(|waits| waits == of) || self.under_way() == Some(of)
    }

    /// The opening that is being carried out, as long as it is not written down that it happened.
    fn under_way(&self) -> Option<EventId> {
        match &self.state {
            State::Opening { opening, .. } | State::Open(OpenGate { opening, .. }) if !opening.told => opening.of,
            State::Opening { .. }
            | State::Open(_)
            | State::Idle
            | State::Judging { .. }
            | State::Refusing { .. }
            | State::Asking { .. }
            | State::Recording { .. } => None,
        }
    }

    /// The pulse about which gate-io was asked, by [`Effect::Inquire`](super::Effect::Inquire).
    pub fn inquires(&self) -> Option<PulseKey> {
        match &self.state {
            State::Opening { key, inquired: true, .. } => Some(*key),
            State::Opening { .. }
            | State::Open(_)
            | State::Idle
            | State::Judging { .. }
            | State::Refusing { .. }
            | State::Asking { .. }
            | State::Recording { .. } => None,
        }
    }

    /// Whether a pass could be let through now, for `decide`.
    pub fn readiness(&self) -> Readiness {
        if self.closed {
            Readiness::OutOfOrder
        } else if self.is_stopped() {
            Readiness::Fault
        } else if self.setup.presence && !self.presence {
            Readiness::NoVehicle
        } else {
            Readiness::Ready
        }
    }

    /// Whether a part failed without which nobody can be let in. A clock that is not sure is none: `decide` knows.
    /// A barrier that did not do what was asked is none either: only the next try can show that it does again.
    pub(super) fn is_stopped(&self) -> bool {
        self.faults.iter().any(|part| match part {
            Part::Camera | Part::GateIo | Part::Storage => true,
            Part::Clock | Part::Barrier => false,
        })
    }

    /// What the lane shows now.
    pub fn status(&self) -> LaneStatus {
        let mut reason = None;
        let mut refusal = None;
        let mut question = None;
        let mut romanian = false;
        let fault = self.is_stopped() && !self.is_free_exit();
        let kind = match &self.state {
            _ if self.fire => ScreenKind::Fire,
            State::Opening { opening, .. } | State::Open(OpenGate { opening, .. }) => {
                romanian = opening.romanian;
                match opening.direction {
                    Direction::In => ScreenKind::Admit,
                    Direction::Out => ScreenKind::Goodbye,
                }
            }
            State::Recording { .. } | State::Judging { .. } => ScreenKind::Wait,
            State::Refusing { .. } | State::Asking { .. } | State::Idle if fault => {
                reason = Some(Reason::LaneFault);
                ScreenKind::Fault
            }
            State::Refusing { refusal: shown, .. } => {
                reason = Some(shown.reason);
                romanian = shown.romanian;
                refusal = Some(shown.clone());
                refusal_screen(shown.reason)
            }
            State::Asking { question: shown, .. } => {
                reason = Some(shown.reason);
                romanian = shown.admission.romanian;
                question = Some((**shown).clone());
                ScreenKind::Check
            }
            State::Idle if self.closed => {
                reason = Some(Reason::OutOfOrder);
                ScreenKind::Closed
            }
            State::Idle if self.is_free_exit() => ScreenKind::FreeExit,
            State::Idle if self.faults.contains(&Part::Barrier) => {
                reason = Some(Reason::LaneFault);
                ScreenKind::Fault
            }
            State::Idle if self.setup.direction == Direction::In && self.fullness == Fullness::Full => {
                reason = Some(Reason::LotFull);
                ScreenKind::Full
            }
            State::Idle => ScreenKind::Idle,
        };
        let near_full = self.setup.direction == Direction::In && self.fullness != Fullness::Open;
        LaneStatus {
            kind,
            signal: kind.signal(near_full),
            reason,
            presentation: self.presentation,
            romanian,
            refusal,
            question,
            faults: self.faults.clone(),
            near_full,
        }
    }
}

fn refusal_screen(reason: Reason) -> ScreenKind {
    if reason == Reason::LotFull {
        ScreenKind::Full
    } else if reason == Reason::OutOfOrder {
        ScreenKind::Closed
    } else if reason == Reason::LaneFault {
        ScreenKind::Fault
    } else {
        ScreenKind::Deny
    }
}
