//! Zones that this gate begins anew with nobody each day ([`gate_core::reset`]): those whose capacity rights it holds.

use gate_core::event::EventBody;
use gate_core::ids::{EventId, LaneId, ZoneId};
use gate_core::occupancy::Recount;
use gate_core::reset::{self, Daily};
use gate_core::sync::v1::{GateRow, VenueRow};
use gate_core::time::Now;
use rusqlite::Connection;

use super::view::{spaces, zone_count};
use super::{Replica, ReplicaError, counts, keys};

impl Replica {
    /// Records a reset of each zone for which one is due now, and gives the events. Looks at the zones' present basis, so
    /// that an instant resets a zone once, whatever happened in between: a restart, or a recount that was heard of.
    pub fn reset_zones(&mut self, lane: Option<LaneId>, now: Now) -> Result<Vec<EventId>, ReplicaError> {
        let Some(identity) = self.identity.clone() else { return Ok(Vec::new()) };
        let due = self.read(|db| {
            let side = keys::progress(db)?.side;
            let gate: Option<GateRow> = keys::setting(db, side, keys::GATE, identity.gate.0.as_bytes())?;
            gate.map_or_else(|| Ok(Vec::new()), |gate| due(db, side, &gate, now))
        })?;
        let mut done = Vec::new();
        for recount in due {
            tracing::info!(zone = %recount.zone, counted = recount.before, "a zone begins anew with nobody in it");
            done.push(self.record(lane, now, EventBody::Recounted(recount))?.event.id);
        }
        Ok(done)
    }
}

/// A zone's daily reset, where it has one.
pub(crate) fn daily(db: &Connection, side: i64, zone: ZoneId) -> rusqlite::Result<Option<Daily>> {
    Ok(keys::setting::<Option<Daily>>(db, side, keys::RESET, zone.0.as_bytes())?.flatten())
}

fn due(db: &Connection, side: i64, gate: &GateRow, now: Now) -> rusqlite::Result<Vec<Recount>> {
    let Some(venue) = keys::setting::<VenueRow>(db, side, keys::VENUE, &[])? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (row, _) in spaces(db, side, gate)? {
        if row.rights_holder != Some(gate.id) {
            continue;
        }
        let Some(daily) = daily(db, side, row.id)? else { continue };
        let basis = counts::basis_of(db, row.id)?;
        if let Some(at_ms) = daily.due(&venue.day_rule.time_zone, &basis, now) {
            found.push(reset::recount(row.id, &basis, zone_count(db, row.id)?.1, at_ms));
        }
    }
    Ok(found)
}
