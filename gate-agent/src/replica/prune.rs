//! Letting go of old events, so that the card does not fill: only what the cloud signed for, 90 days after it did.
//!
//! The signed receipt stays, and `journal verify` begins after it. Uses and counts stay too: they are what the events
//! meant, and passes may still be presented.

use gate_core::event::Head;
use gate_core::ids::{EventId, Hash};
use gate_core::mutant::{self, Mutant};
use rusqlite::{Connection, OptionalExtension, params};

use super::checked::{EVENTS, MOVEMENTS, RECEIPTS, USES};
use super::keys::{self, blob};
use super::{Fault, Replica, ReplicaError, outbox};

/// How long acknowledged events are kept, milliseconds: as long, a cloud restored from a backup gets back what it lost.
pub const KEEP_MS: i64 = 90 * 86_400_000;

/// Events removed in one call: a long pause would hold up a record.
const AT_ONCE: i64 = 2000;

/// What pruning did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// Events removed.
    pub events: u64,
    /// There are more to remove: call again.
    pub more: bool,
}

impl Replica {
    /// Removes events that were acknowledged more than 90 days ago, by time that the venue signed: a clock that jumps
    /// ahead removes nothing.
    ///
    /// Uses go when their pass ended as long ago: nobody is let in with it, whatever it was used for. Of a pass whose end
    /// is not known they stay. Copies of the replica that decide no more go as well (`resync.rs`).
    pub fn prune(&mut self) -> Result<Pruned, ReplicaError> {
        let events = self.prune_events()?;
        let uses = self.prune_uses()?;
        let sides = self.drop_old_sides()?;
        Ok(Pruned { more: events.more || uses || sides, ..events })
    }

    /// Removes uses that no rule can need any more; true if there are more.
    fn prune_uses(&mut self) -> Result<bool, ReplicaError> {
        self.write(|checked| {
            let Some(proved_ms) = keys::proved_ms(checked.db())? else { return Ok(false) };
            let ended: Vec<(Vec<u8>, Vec<u8>)> = checked
                .db()
                .prepare_cached("SELECT pass, event FROM uses WHERE ends_s > 0 AND ends_s < ?1 LIMIT ?2")?
                .query_map([(proved_ms - KEEP_MS).div_euclid(1000), AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            for (pass, event) in &ended {
                checked.remove(&USES, &[blob(pass), blob(event)])?;
            }
            Ok(ended.len() as i64 == AT_ONCE)
        })
    }

    fn prune_events(&mut self) -> Result<Pruned, ReplicaError> {
        self.write(|checked| {
            let db = checked.db();
            let none = Pruned { events: 0, more: false };
            let Some(proved_ms) = keys::proved_ms(db)? else { return Ok(none) };
            let Some(first) = db
                .prepare_cached("SELECT min(position) FROM events")?
                .query_row([], |row| row.get::<_, Option<i64>>(0))?
            else {
                return Ok(none);
            };
            // Nothing at or after what still waits, and never the last event: the next epoch continues it.
            let lost: Option<i64> = db.prepare_cached("SELECT min(position) FROM outbox")?.query_row([], |row| row.get(0))?;
            // Nor what the cloud never took: it may be tried again.
            let aside: Option<i64> = db
                .prepare_cached("SELECT min(position) FROM quarantine WHERE held = 0")?
                .query_row([], |row| row.get(0))?;
            let lost = [lost, aside].into_iter().flatten().min();
            let waits = Some(outbox::sent_upto(db)?.saturating_add(1)).min(lost.or(Some(i64::MAX)));
            let last: i64 = db.prepare_cached("SELECT max(position) FROM events")?.query_row([], |row| row.get(0))?;
            let limit = waits.unwrap_or(last).min(last);
            let acknowledged = db
                .prepare_cached(
                    "SELECT epochs.first + receipts.seq AS position, receipts.ordinal, receipts.seq
                     FROM receipts JOIN epochs ON epochs.ordinal = receipts.ordinal
                     WHERE receipts.heard_ms <= ?1 AND epochs.first + receipts.seq < ?2 AND epochs.first + receipts.seq >= ?3
                     ORDER BY position DESC LIMIT 1",
                )?
                .query_row([proved_ms - KEEP_MS, limit, first], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
                .optional()?;
            let at_once = (last > first).then_some((last - 1, 0, 0));
            let found = if mutant::active(Mutant::PruneUnsent) { at_once } else { acknowledged };
            let Some((position, ordinal, seq)) = found else {
                return Ok(none);
            };
            let end = position.min(first + AT_ONCE - 1);
            let events: Vec<i64> = db
                .prepare_cached("SELECT position FROM events WHERE position <= ?1 ORDER BY position")?
                .query_map([end], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let movements: Vec<(i64, Vec<u8>)> = db
                .prepare_cached("SELECT position, zone FROM movements WHERE position <= ?1")?
                .query_map([end], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            // The journal may end this call between two receipts: the hash of the last event removed says where it
            // goes on, and the receipt behind it proves that the cloud holds that too.
            let hash: [u8; 32] =
                db.prepare_cached("SELECT hash FROM events WHERE position = ?1")?.query_row([end], |row| row.get(0))?;
            // First, or the schema would not let go of them.
            keys::set_pruned(checked, end, &hash)?;
            for event in &events {
                checked.remove(&EVENTS, &[(*event).into()])?;
            }
            for (at, zone) in movements {
                checked.remove(&MOVEMENTS, &[at.into(), blob(&zone)])?;
            }
            let unsettled: Vec<Vec<u8>> = checked
                .db()
                .prepare_cached("SELECT name FROM state WHERE kind = ?1 AND name <= ?2")?
                .query_map(params![keys::UNSETTLED, end.to_be_bytes()], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for name in unsettled {
                keys::remove_state(checked, keys::UNSETTLED, &name)?;
            }
            if end == position {
                drop_older_receipts(checked, ordinal, seq)?;
            }
            Ok(Pruned { events: events.len() as u64, more: end < position })
        })
    }
}

/// Receipts before the one at which the journal now begins prove nothing that is still here.
fn drop_older_receipts(checked: &mut super::Checked<'_>, ordinal: i64, seq: i64) -> Result<(), Fault> {
    let old: Vec<(i64, i64)> = checked
        .db()
        .prepare_cached("SELECT ordinal, day FROM receipts WHERE ordinal < ?1 OR (ordinal = ?1 AND seq < ?2)")?
        .query_map([ordinal, seq], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (ordinal, day) in old {
        checked.remove(&RECEIPTS, &[ordinal.into(), day.into()])?;
    }
    Ok(())
}

/// Where the journal begins since it was pruned, and the heads that the cloud signed for and that must be found.
pub(crate) fn acknowledged(db: &Connection) -> Result<(Option<Head>, Vec<Head>), Fault> {
    let epochs = keys::read_epochs(db)?;
    let start = match keys::mark_bytes(db, keys::PRUNED)? {
        None => None,
        Some(bytes) => {
            let bytes: [u8; 40] = keys::fixed(&bytes)?;
            let position = bytes[..8].iter().fold(0i64, |sum, byte| sum << 8 | i64::from(*byte));
            let hash = Hash(keys::fixed(&bytes[8..])?);
            keys::id_at(&epochs, position).map(|event| (position, Head { event, hash }))
        }
    };
    let mut statement = db.prepare(
        "SELECT epochs.first + receipts.seq, epochs.device, epochs.epoch, receipts.seq, receipts.hash
         FROM receipts JOIN epochs ON epochs.ordinal = receipts.ordinal ORDER BY 1",
    )?;
    let heads = statement
        .query_map([], |row| {
            let device = gate_core::ids::DeviceId(uuid::Uuid::from_bytes(row.get(1)?));
            let event = EventId {
                device,
                epoch: row.get::<_, i64>(2)?.cast_unsigned(),
                seq: row.get::<_, i64>(3)?.cast_unsigned(),
            };
            Ok((row.get::<_, i64>(0)?, Head { event, hash: Hash(row.get(4)?) }))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let after = start.map_or(i64::MIN, |(position, _)| position);
    let heads = heads.into_iter().filter(|(position, _)| *position > after).map(|(_, head)| head).collect();
    Ok((start.map(|(_, head)| head), heads))
}
