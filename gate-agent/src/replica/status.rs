//! How the database stands, for the status line, the heartbeat and `gate-agent status`.

use gate_core::ids::EventId;
use gate_core::sync::v1::{GateRow, VenueRow, ZoneRow};
use gate_core::time::Now;

use super::view::{age_ms, occupancy, spaces, zone_count};
use super::{ReplicaError, ReplicaReader, keys, outbox, reserve, resets};

/// How the database stands at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaStatus {
    /// What people call the venue.
    pub venue_name: Option<String>,
    /// This gate's row.
    pub gate: Option<GateRow>,
    /// Up to which change the replica has been applied.
    pub position: u64,
    /// How new it is, Unix milliseconds.
    pub as_of_ms: Option<i64>,
    /// Its age, milliseconds; `None` if nothing was ever heard or the clock stands before it.
    pub age_ms: Option<i64>,
    /// Events that the cloud has not confirmed.
    pub pending: u64,
    /// Events that the cloud put aside or could not take.
    pub quarantined: u64,
    /// The newest of them and why.
    pub quarantine_reason: Option<(EventId, String)>,
    /// How much of the database's file is in use, bytes.
    pub used_bytes: u64,
    /// The zones this gate leads through, its own first.
    pub zones: Vec<ZoneStatus>,
}

/// A zone as this gate knows it.
#[derive(Clone, PartialEq, Debug)]
pub struct ZoneStatus {
    /// Its settings.
    pub row: ZoneRow,
    /// What is in it.
    pub occupancy: u32,
    /// What may be in it.
    pub capacity: u32,
    /// Capacity rights held at this gate.
    pub rights_held: u32,
    /// The recount generation its count rests on.
    pub generation: u64,
    /// This gate begins it anew with nobody each day.
    pub resets: bool,
}

impl ReplicaReader {
    /// Events that the cloud put aside or could not take, oldest first, each with its reason.
    pub fn quarantined(&self) -> Result<Vec<(EventId, String)>, ReplicaError> {
        self.moment(|db| {
            let epochs = keys::read_epochs(db)?;
            let mut statement = db.prepare_cached("SELECT position, reason FROM quarantine ORDER BY position")?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
            let mut found = Vec::new();
            for row in rows {
                let (position, reason) = row?;
                if let Some(id) = keys::id_at(&epochs, position) {
                    found.push((id, reason));
                }
            }
            Ok(found)
        })
    }

    /// How the database stands.
    pub fn status(&mut self, now: Now) -> Result<ReplicaStatus, ReplicaError> {
        let gate = self.gate()?;
        self.moment(|db| {
            let progress = keys::progress(db)?;
            let venue: Option<VenueRow> = keys::setting(db, progress.side, keys::VENUE, &[])?;
            let mut zones = Vec::new();
            if let Some(gate) = &gate {
                for (row, space) in spaces(db, progress.side, gate)? {
                    let occupancy = occupancy(zone_count(db, row.id)?.1);
                    zones.push(ZoneStatus {
                        occupancy,
                        capacity: row.capacity,
                        rights_held: space.rights_held,
                        generation: space.generation,
                        resets: row.rights_holder == Some(gate.id)
                            && resets::daily(db, progress.side, row.id)?.is_some(),
                        row,
                    });
                }
            }
            let many =
                |sql: &str| db.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
            let newest = db
                .prepare_cached("SELECT position, reason FROM quarantine ORDER BY position DESC LIMIT 1")?
                .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?
                .next()
                .transpose()?;
            let epochs = keys::read_epochs(db)?;
            Ok(ReplicaStatus {
                venue_name: venue.map(|venue| venue.name),
                position: progress.position,
                as_of_ms: keys::mark_integer(db, keys::AS_OF)?,
                age_ms: age_ms(db, now)?,
                used_bytes: reserve::used_bytes(db)?,
                pending: outbox::waiting(db)?,
                quarantined: many("SELECT count(*) FROM quarantine")?,
                quarantine_reason: newest
                    .and_then(|(position, reason)| Some((keys::id_at(&epochs, position)?, reason))),
                zones,
                gate: gate.clone(),
            })
        })
    }
}
