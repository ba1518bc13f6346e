//! Facts coming in from gates.
//!
//! Each event is taken once, in whatever order it comes. One that can't be applied is parked with its reason and never
//! stops the others; what comes in is always applied plus parked. What is kept beside the facts (uses, counts, rates,
//! conflicts) is a function of the set of facts alone: whatever order they come in, and made anew by [`rebuild`], it is
//! the same. So what is said about an event waits for it, what is heard late changes what was said about the past, and
//! nothing here looks at what happened to be heard before.

mod apply;
mod chain;
mod counts;
mod late;
mod openings;
mod parked;
mod push;
mod rebuild;
#[cfg(test)]
mod state;
mod uses;

use std::collections::{BTreeMap, BTreeSet};

use gate_core::event::Event;
use gate_core::ids::{EventId, GateId, VenueId, ZoneId};
use gate_core::occupancy::Basis;
use gate_core::sync::v1::UseMark;
use gate_core::time::{DayRule, ServiceDay};

pub use counts::{Past, doubts, fullness, fullness_text, merged, note_conditions, past, tally};
pub use openings::is_undecided;
pub use parked::retry;
pub use push::{Unbelieved, receive};
#[cfg(test)]
pub use rebuild::rebuild;
pub use rebuild::{Rebuilt, rebuild_all, rebuild_if_needed};
pub use uses::recheck as recheck_standing;

use crate::conflict::{self, Finding, Kind};
use crate::store::{DbError, Tx};

/// Whose events are taken in.
#[derive(Clone, Debug)]
pub struct Source {
    venue: VenueId,
    device: gate_core::ids::DeviceId,
    gate: GateId,
    day_rule: DayRule,
    /// When the event came in, Unix milliseconds.
    received_ms: i64,
    /// It comes in now; false while aggregates are made anew.
    live: bool,
}

impl Source {
    /// The day of the venue that a moment belongs to.
    fn day(&self, at_ms: i64) -> ServiceDay {
        // A venue's time zone was checked when it was made; should it ever be unknown, the UTC day is close enough.
        self.day_rule
            .local(at_ms)
            .map_or_else(|_| ServiceDay(i32::try_from(at_ms.div_euclid(86_400_000)).unwrap_or(0)), |local| local.day)
    }

    /// A finding about an event of this device.
    fn finding(&self, kind: Kind, key: impl Into<String>, text: impl Into<String>) -> Finding {
        let mut finding = Finding::new(kind, key, text, self.received_ms);
        finding.gate = Some(self.gate);
        finding.device = Some(self.device);
        finding
    }
}

/// What is learnt on the way: what gates must be told afterwards, and what is looked up only once.
#[derive(Default)]
struct News {
    uses: BTreeMap<EventId, UseMark>,
    zones: BTreeSet<ZoneId>,
    bases: BTreeMap<ZoneId, Basis>,
    /// The newest word on the device's clock: (when, epoch, seq, trust).
    clock: Option<(i64, u64, u64, &'static str)>,
    /// Two histories were found: what this device says from here on is kept aside.
    fence: Option<String>,
}

impl News {
    fn take_over(&mut self, other: Self) {
        self.uses.extend(other.uses);
        self.zones.extend(other.zones);
        self.bases = other.bases;
        self.clock = self.clock.max(other.clock);
        self.fence = self.fence.take().or(other.fence);
    }
}

/// Why an item is kept aside.
enum Refusal {
    /// It can't be applied, for this reason.
    Park(String),
    /// It contradicts what the device said before: somebody should look.
    Fork(String),
    /// The database itself failed: nothing of the push is taken.
    Db(DbError),
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        match error {
            // A value that the schema can't hold is the item's fault.
            DbError::Conflict(why) => Self::Park(format!("could not be applied: {why}")),
            DbError::Type { .. } => Self::Park(format!("could not be applied: {error}")),
            DbError::Storage(_)
            | DbError::Damaged(_)
            | DbError::Foreign
            | DbError::Closed
            | DbError::Statement(_)
            | DbError::Newer { .. } => Self::Db(error),
        }
    }
}

/// Writes an event of the office's own journal and applies it like any other.
pub async fn own(
    tx: &mut Tx,
    (venue, device): (VenueId, gate_core::ids::DeviceId),
    (day_rule, now_ms): (DayRule, i64),
    event: &Event,
) -> Result<Vec<gate_core::sync::v1::Change>, DbError> {
    let source = Source { venue, device, gate: event.gate, day_rule, received_ms: now_ms, live: true };
    push::write(tx, &source, event).await
}

/// Raises a conflict and says whether it is new.
async fn raise(tx: &mut Tx, source: &Source, finding: &Finding) -> Result<bool, DbError> {
    conflict::raise(tx, source.venue, finding).await
}

/// The key a receipt must be checked with, for tests of this module and its callers.
#[cfg(test)]
pub(crate) async fn server_key(tx: &mut Tx, venue: VenueId) -> gate_core::keys::PublicKey {
    crate::keys::public(tx, venue, crate::keys::Role::Server).await.unwrap()
}

#[cfg(test)]
pub(crate) use state::dump;

#[cfg(test)]
mod tests;
