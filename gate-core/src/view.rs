//! What a gate knows about one presentation, as a value already read.
//!
//! The shell reads a [`ReplicaView`] from storage in one go; [`crate::decision::decide`] never queries anything. Both are
//! kept in the decision event, so that the decision can be replayed bit for bit on another machine.

use serde::{Deserialize, Serialize};

use crate::ids::{Direction, EventId, GateId, LaneId, VenueCode, ZoneId};
use crate::product::Product;
use crate::time::{DayRule, ServiceDay};

/// What the replica says that matters for one pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplicaView {
    /// The venue this gate belongs to.
    pub venue: VenueCode,
    /// When its days begin.
    pub day_rule: DayRule,
    /// Age of the replica: now less the last applied signed as-of, milliseconds. `None`: never heard one.
    pub age_ms: Option<i64>,
    /// Up to which change the replica has been applied.
    pub position: u64,
    /// The vendor who issued the pass.
    pub vendor: Option<Vendor>,
    /// The pass's own row, if it has one.
    pub row: Option<PassRow>,
    /// The product the pass names.
    pub product: Option<Product>,
    /// What uses of it are known.
    pub uses: Uses,
    /// The zones this lane leads through, outermost last.
    pub spaces: Vec<ZoneSpace>,
    /// Names of the gates that would take this pass, if this one does not.
    pub right_gates: Vec<String>,
}

/// Whether a vendor's passes are good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Vendor {
    /// Switched on.
    pub active: bool,
    /// The weekdays on which it trades, bit 0 = Monday; works without network.
    pub weekdays: u8,
    /// Service days on which it does not trade.
    pub closed_days: Vec<ServiceDay>,
}

impl Vendor {
    /// Whether it trades on every weekday and no day is an exception.
    pub(crate) fn trades_daily(&self) -> bool {
        self.weekdays & EVERY_WEEKDAY == EVERY_WEEKDAY && self.closed_days.is_empty()
    }

    /// Whether it trades on a service day: by that day's weekday, not by the civil date's after midnight.
    pub(crate) fn trades_on(&self, day: ServiceDay) -> bool {
        self.weekdays & (1 << day.weekday()) != 0 && !self.closed_days.contains(&day)
    }
}

/// Monday to Sunday.
const EVERY_WEEKDAY: u8 = 0x7f;

/// What was decided about one pass since it was issued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassStanding {
    /// Good.
    Live,
    /// On hold; may become live again.
    Blocked,
    /// Withdrawn for good.
    Revoked,
    /// Replaced by a newer pass.
    Superseded,
}

/// A pass's row in the replica. Subscriptions always have one; visitor passes only after something happened to them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PassRow {
    /// Its standing.
    pub standing: PassStanding,
    /// Shortened validity: refuse from this Unix second although the code says later.
    pub until: Option<i64>,
    /// How many admissions it has in all, instead of the product's number.
    pub uses: Option<u32>,
}

/// What is known of a pass's uses, annulled ones left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Uses {
    /// All that charged it.
    pub total: u32,
    /// Those charged to the current service day.
    pub today: u32,
    /// The newest admission, in or out.
    pub last: Option<LastUse>,
    /// The first one that charged it, where that is not `last`: what whoever shows a used pass is told. Absent in all that
    /// was written before there was this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_charged: Option<LastUse>,
    /// The newest one that charged it, where that is not `last`: somebody left, or came back free of charge, since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_charged: Option<LastUse>,
    /// The newest one that led in, if no exit followed.
    pub inside: bool,
    /// An admission at this gate whose opening is not known to have happened: it may be presented again.
    pub unopened: Option<Unopened>,
}

impl Uses {
    /// When and where a pass that may be used once was used.
    pub(crate) fn first_use(&self) -> Option<&LastUse> {
        self.first_charged.as_ref().or(self.last.as_ref())
    }

    /// When and where it was used last: not where it was seen last.
    pub(crate) fn newest_use(&self) -> Option<&LastUse> {
        self.newest_charged.as_ref().or(self.last.as_ref())
    }
}

/// One admission of a pass; the newest, unless it is said otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastUse {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Where.
    pub gate: GateId,
    /// What people call that gate.
    pub gate_name: String,
    /// Which way.
    pub direction: Direction,
    /// How long ago by the monotonic clock, milliseconds: what a clock that is set can't change. Absent for another gate's,
    /// for one before the last boot, and in all that was written before there was this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
}

/// An authorised admission of which nobody knows whether the gate opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unopened {
    /// The event that authorised it.
    pub event: EventId,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Where it still takes a place that this gate could give on: a recount may have let go of it. Absent where there is
    /// none, as in all that was written before there was this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<ZoneId>,
    /// How long ago, as in [`LastUse::elapsed_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
}

/// One zone's room as this gate may spend it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZoneSpace {
    /// Which zone.
    pub zone: ZoneId,
    /// Capacity rights held here.
    pub rights_held: u32,
    /// The zone lets people in without a right, by its owner's setting.
    pub best_effort: bool,
    /// Which recount its count rests on.
    pub generation: u64,
}

/// What is fixed about a lane, and whether it can be used now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LaneContext {
    /// The gate.
    pub gate: GateId,
    /// The lane.
    pub lane: LaneId,
    /// In or out.
    pub direction: Direction,
    /// Staff stand by and can answer a question.
    pub staffed: bool,
    /// How one leaves; for lanes that lead out.
    pub egress: Egress,
    /// Whether it can be used now.
    pub readiness: Readiness,
}

/// How a lane that leads out treats people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Egress {
    /// Opens for anybody, with or without a pass.
    Free,
    /// A pass of this venue opens it, also an expired one.
    Scan,
}

/// Whether a lane can be used now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Yes.
    Ready,
    /// The presence input says that nobody stands there.
    NoVehicle,
    /// Staff closed it.
    OutOfOrder,
    /// It has a fault.
    Fault,
}
