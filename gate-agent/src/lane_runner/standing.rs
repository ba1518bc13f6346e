//! Whether this gate may decide at all, and what people see while it may not.
//!
//! None of this is an event: nothing broke that a journal should tell of. A gate that was never told everything, that can't
//! read what it was told, or that the venue withdrew shows FAULT and calls staff, and says why on its status line. Who may
//! leave freely still does, and fire is gate-io's.

use gate_core::ids::Direction;
use gate_core::lane::LaneStatus;
use gate_core::mutant::{self, Mutant};
use gate_core::reason::Reason;
use gate_core::signals::ScreenKind;
use gate_core::sync::v1::GateRow;
use gate_core::view::{Egress, Readiness};

use crate::screen::NotDeciding;

/// Whether this gate may decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The replica was never complete: absence does not mean "unused" yet.
    NotSetUp,
    /// It decides.
    Ready,
    /// The venue withdrew this device.
    Withdrawn,
    /// The device key is sealed for another machine.
    OtherMachine,
    /// The replica can't be read, and why.
    Unreadable(String),
}

impl Standing {
    /// What the replica makes of this gate. `as_of_ms` is there once the replica was complete.
    pub fn of(gate: Option<&GateRow>, as_of_ms: Option<i64>, withdrawn: bool) -> Self {
        if withdrawn && !mutant::active(Mutant::WithdrawnDecides) {
            return Self::Withdrawn;
        }
        match gate {
            Some(gate) if as_of_ms.is_some() || is_free_exit(gate) => Self::Ready,
            Some(_) | None => Self::NotSetUp,
        }
    }

    /// Why it does not decide, for the status line.
    pub fn why(&self) -> Option<NotDeciding> {
        let (code, why) = match self {
            Self::Ready => return None,
            Self::NotSetUp => {
                ("not_set_up", "this gate has not heard all of its venue's settings and passes yet".to_owned())
            }
            Self::Withdrawn => ("withdrawn", "this device was withdrawn by the venue".to_owned()),
            Self::OtherMachine => {
                let why = "this card belongs to another machine: enrol it again, or put it back";
                ("other_machine", why.to_owned())
            }
            Self::Unreadable(why) => ("unreadable", why.clone()),
        };
        Some(NotDeciding { code, why })
    }

    /// Whether codes are given to the lane. A free exit needs no answer to open.
    pub fn takes_codes(&self, free_exit: bool) -> bool {
        match self {
            Self::NotSetUp => false,
            Self::Ready | Self::Withdrawn => true,
            Self::OtherMachine | Self::Unreadable(_) => free_exit,
        }
    }

    /// How ready the lane is for `decide`.
    pub fn readiness(&self, lane: Readiness) -> Readiness {
        match self {
            Self::Ready => lane,
            Self::NotSetUp | Self::Withdrawn | Self::OtherMachine | Self::Unreadable(_) => Readiness::Fault,
        }
    }

    /// What people see: what the lane shows, or FAULT where it would invite somebody.
    pub fn shown(&self, lane: LaneStatus, free_exit: bool) -> LaneStatus {
        let invites = match lane.kind {
            ScreenKind::Idle | ScreenKind::Full | ScreenKind::Closed => true,
            // While nothing can be read no answer will come.
            ScreenKind::Wait => matches!(self, Self::Unreadable(_)),
            ScreenKind::Admit
            | ScreenKind::Goodbye
            | ScreenKind::Fire
            | ScreenKind::FreeExit
            | ScreenKind::Check
            | ScreenKind::Deny
            | ScreenKind::Fault => false,
        };
        if *self == Self::Ready || free_exit || !invites {
            return lane;
        }
        let kind = ScreenKind::Fault;
        LaneStatus { kind, signal: kind.signal(lane.near_full), reason: Some(Reason::LaneFault), ..lane }
    }
}

/// Whether everybody may leave here.
pub fn is_free_exit(gate: &GateRow) -> bool {
    gate.direction == Direction::Out && gate.egress == Egress::Free
}

/// The replica could not be read.
pub struct Unreadable {
    /// When it is tried next.
    pub retry: Retry,
    /// The text that could not be decided about, if that was it: reading is well again when this can be read.
    pub text: Option<String>,
}

/// When to try again what failed: after one second, two, four, up to thirty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    pause_us: u64,
    due_us: u64,
}

impl Retry {
    const FIRST_US: u64 = 1_000_000;
    const LONGEST_US: u64 = 30_000_000;

    /// It failed for the first time, at this monotonic stamp.
    pub fn after(us: u64) -> Self {
        Self { pause_us: Self::FIRST_US, due_us: us.saturating_add(Self::FIRST_US) }
    }

    /// It failed again.
    pub fn again(self, us: u64) -> Self {
        let pause_us = self.pause_us.saturating_mul(2).min(Self::LONGEST_US);
        Self { pause_us, due_us: us.saturating_add(pause_us) }
    }

    /// Whether it is time.
    pub fn is_due(self, us: u64) -> bool {
        us >= self.due_us
    }
}

#[cfg(test)]
mod tests {
    use gate_core::lane::{Lane, LaneEvent, LaneSetup};

    use super::*;
    use crate::replica::testing::{Folder, GATE, Venue, at, gate_row, open};

    #[test]
    fn a_gate_decides_only_after_its_replica_was_complete_once() {
        let folder = Folder::new("standing");
        let mut venue = Venue::new();
        let mut replica = open(&folder.db(), 1);
        replica.set_identity(&venue.identity(), &venue.enrolled(), at(0)).unwrap();
        let standing = |replica: &crate::replica::Replica| {
            let mut reader = replica.reader().unwrap();
            let status = reader.status(at(0)).unwrap();
            Standing::of(status.gate.as_ref(), status.as_of_ms, reader.device_revoked().unwrap())
        };
        assert_eq!(standing(&replica), Standing::NotSetUp, "nothing was heard");
        let basics = venue.basics();
        let mut reply = venue.reply(basics, 0);
        reply.as_of = None;
        replica.apply(&reply, at(0)).unwrap();
        assert_eq!(standing(&replica), Standing::NotSetUp, "its row is known, the passes are still on their way");
        let reply = venue.reply(vec![], 5);
        replica.apply(&reply, at(0)).unwrap();
        assert_eq!(standing(&replica), Standing::Ready);
        drop(replica);
        assert_eq!(standing(&open(&folder.db(), 2)), Standing::Ready, "after a restart without a network");
    }

    #[test]
    fn people_see_a_fault_where_they_would_be_invited() {
        let lane = |direction, egress| {
            let setup = LaneSetup { direction, egress, open_ms: 800, presence: false, barrier: false };
            let mut lane = Lane::new(setup, 0);
            let effects = lane.handle(LaneEvent::Woke, at(0));
            assert_eq!(effects.len(), 1, "only the screen");
            lane.status()
        };
        let entry = lane(Direction::In, Egress::Scan);
        let free = lane(Direction::Out, Egress::Free);
        let unreadable = Standing::Unreadable("bad sectors".to_owned());
        for (standing, shows) in [
            (Standing::Ready, ScreenKind::Idle),
            (Standing::NotSetUp, ScreenKind::Fault),
            (Standing::Withdrawn, ScreenKind::Fault),
            (Standing::OtherMachine, ScreenKind::Fault),
            (unreadable.clone(), ScreenKind::Fault),
        ] {
            let shown = standing.shown(entry.clone(), false);
            assert_eq!(shown.kind, shows, "{standing:?}");
            assert_eq!(shown.signal, shows.signal(false), "{standing:?}: the lamp says the same");
            assert!(shown.faults.is_empty(), "{standing:?}: no part is blamed");
            assert_eq!(standing.shown(free.clone(), true), free, "{standing:?}: who may leave still may");
        }
        let wait = LaneStatus { kind: ScreenKind::Wait, ..entry.clone() };
        assert_eq!(unreadable.shown(wait.clone(), false).kind, ScreenKind::Fault, "no answer will come");
        assert_eq!(Standing::Withdrawn.shown(wait, false).kind, ScreenKind::Wait);
        let fire = LaneStatus { kind: ScreenKind::Fire, ..entry };
        assert_eq!(Standing::Withdrawn.shown(fire.clone(), false), fire);
    }

    #[test]
    fn a_free_exit_waits_for_nobody() {
        let entry = gate_row(GATE, "North", Direction::In);
        let scanned = gate_row(GATE, "North", Direction::Out);
        let free = GateRow { egress: Egress::Free, ..scanned.clone() };
        assert_eq!(Standing::of(Some(&entry), None, false), Standing::NotSetUp);
        assert_eq!(Standing::of(Some(&scanned), None, false), Standing::NotSetUp);
        assert_eq!(Standing::of(Some(&free), None, false), Standing::Ready);
        assert_eq!(Standing::of(Some(&free), None, true), Standing::Withdrawn);
        assert!(Standing::Withdrawn.takes_codes(true) && Standing::Unreadable(String::new()).takes_codes(true));
        assert!(!Standing::NotSetUp.takes_codes(false) && !Standing::Unreadable(String::new()).takes_codes(false));
        assert_eq!(Standing::Withdrawn.readiness(Readiness::Ready), Readiness::Fault);
        assert_eq!(Standing::Ready.readiness(Readiness::NoVehicle), Readiness::NoVehicle);
    }

    #[test]
    fn what_failed_is_tried_again_ever_more_rarely() {
        let mut retry = Retry::after(0);
        let mut us = 0;
        let mut pauses = vec![];
        for _ in 0..7 {
            let due = (0..).find(|s| retry.is_due(us + s * 1_000_000)).unwrap();
            pauses.push(due);
            us += due * 1_000_000;
            retry = retry.again(us);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }
}
