//! What the cloud has not confirmed yet.
//!
//! Nothing leaves the outbox unacknowledged, and a 4xx never deletes: what the cloud put aside, or can't take at all,
//! moves to quarantine with its reason and its bytes, where the dashboard and `gate-agent status` show it.

use gate_core::event::Head;
use gate_core::ids::{EventId, Hash};
use gate_core::statement::Duty;
use gate_core::sync::v1::{ItemOutcome, PushReply, Receipt, Signed};
use gate_core::time::Now;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use super::checked::{Checked, OUTBOX, QUARANTINE, RECEIPTS};
use super::keys::{self, EpochRow, blob};
use super::{Fault, Replica, ReplicaError, statements};

/// An event that waits to be confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingEvent {
    /// Its name.
    pub id: EventId,
    /// Its canonical bytes, as they are sent.
    pub bytes: Vec<u8>,
}

/// What became of events that were sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Acknowledged {
    /// Confirmed: out of the outbox.
    pub confirmed: u64,
    /// Put aside by the cloud: in quarantine.
    pub parked: u64,
    /// Kept in the outbox, because a receipt in the same reply denies them.
    pub denied: u64,
}

const DAY_MS: i64 = 86_400_000;

impl Replica {
    /// The oldest unconfirmed events: at most `max`, and no more bytes than `max_bytes` unless the first alone has more.
    pub fn pending(&mut self, max: usize, max_bytes: usize) -> Result<Vec<PendingEvent>, ReplicaError> {
        let rows = self.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT outbox.position, bytes FROM outbox JOIN events ON events.position = outbox.position
                 ORDER BY outbox.position LIMIT ?1",
            )?;
            let mut rows = statement.query([i64::try_from(max).unwrap_or(i64::MAX)])?;
            let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
            let mut total = 0;
            while let Some(row) = rows.next()? {
                let bytes: Vec<u8> = row.get(1)?;
                total += bytes.len();
                if total > max_bytes && !found.is_empty() {
                    break;
                }
                found.push((row.get(0)?, bytes));
            }
            Ok(found)
        })?;
        rows.into_iter()
            .map(|(position, bytes)| {
                let id =
                    keys::id_at(&self.epochs, position).ok_or_else(|| self.damaged("an event outside every epoch"))?;
                Ok(PendingEvent { id, bytes })
            })
            .collect()
    }

    /// How many events wait.
    pub fn pending_count(&mut self) -> Result<u64, ReplicaError> {
        self.read(|db| db.prepare_cached("SELECT count(*) FROM outbox")?.query_row([], |row| row.get::<_, i64>(0)))
            .map(i64::cast_unsigned)
    }

    /// Takes in what became of the events that were sent.
    ///
    /// A confirmed event leaves the outbox, unless a receipt in the same reply denies that the cloud holds it: then the reply
    /// belongs to another request and the event stays. A receipt that falls behind an earlier one tells that the cloud
    /// was restored from a backup: what it lost is sent again.
    pub fn acknowledge(&mut self, sent: &[EventId], reply: &PushReply, now: Now) -> Result<Acknowledged, ReplicaError> {
        if reply.outcomes.len() != sent.len() {
            return Err(ReplicaError::Refused(format!("{} outcomes for {} events", reply.outcomes.len(), sent.len())));
        }
        let identity = self.identity.clone().ok_or(ReplicaError::NotEnrolled)?;
        let epochs = self.epochs.clone();
        self.write(|checked| {
            let mut receipts = Vec::new();
            if !reply.receipts.is_empty() {
                let key = statements::duty_key(checked.db(), identity.venue, &identity.root, Duty::Server)?;
                for bytes in &reply.receipts {
                    let receipt = Receipt::open(bytes, &key)
                        .map_err(|e| ReplicaError::Refused(format!("a receipt is not the cloud's: {e}")))?;
                    if receipt.venue != identity.venue {
                        return Err(ReplicaError::Refused("a receipt belongs to another venue".to_owned()).into());
                    }
                    // Of an epoch that this journal does not hold (an older card of this device): nothing to note here.
                    if let Some(position) = keys::position_of(&epochs, receipt.upto.event) {
                        check_hash(checked.db(), position, &receipt.upto)?;
                        receipts.push((position, receipt, bytes));
                    }
                }
            }
            let mut done = Acknowledged::default();
            for (id, outcome) in sent.iter().zip(&reply.outcomes) {
                let Some(position) = keys::position_of(&epochs, *id) else {
                    return Err(ReplicaError::Refused(format!("event {id} was not sent by this journal")).into());
                };
                match outcome {
                    ItemOutcome::Created | ItemOutcome::Exists => {
                        let denied = receipts
                            .iter()
                            .any(|(upto, receipt, _)| same_epoch(&receipt.upto.event, id) && *upto < position);
                        if !denied || has_hole(checked, &epochs, position)? {
                            checked.remove(&OUTBOX, &[position.into()])?;
                            done.confirmed += 1;
                        } else {
                            done.denied += 1;
                        }
                    }
                    ItemOutcome::Parked { reason } => {
                        set_aside(checked, position, reason, true, now)?;
                        done.parked += 1;
                    }
                }
            }
            for (position, receipt, bytes) in receipts {
                take_receipt(checked, &epochs, position, &receipt, bytes, now)?;
            }
            Ok(done)
        })
    }

    /// Moves an event that the cloud can't take, again and again, out of the way of the others. It stays in the journal
    /// and in quarantine, with its reason.
    pub fn quarantine(&mut self, id: EventId, reason: &str, now: Now) -> Result<(), ReplicaError> {
        let position = keys::position_of(&self.epochs, id).ok_or(ReplicaError::UnknownEvent(id))?;
        self.write(|checked| set_aside(checked, position, reason, false, now))
    }

    /// Puts the events that the cloud could not take back into the outbox, to be tried again; says how many.
    pub fn release_quarantine(&mut self) -> Result<u64, ReplicaError> {
        self.write(|checked| {
            let positions: Vec<i64> = checked
                .db()
                .prepare_cached("SELECT position FROM quarantine WHERE held = 0")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for position in &positions {
                checked.remove(&QUARANTINE, &[(*position).into()])?;
                checked.put(&OUTBOX, &[(*position).into()])?;
            }
            Ok(positions.len() as u64)
        })
    }
}

fn same_epoch(a: &EventId, b: &EventId) -> bool {
    a.device == b.device && a.epoch == b.epoch
}

/// A receipt must be about the event that is here.
fn check_hash(db: &Connection, position: i64, upto: &Head) -> Result<(), Fault> {
    let hash: Option<[u8; 32]> = db
        .prepare_cached("SELECT hash FROM events WHERE position = ?1")?
        .query_row([position], |row| row.get(0))
        .optional()?;
    match hash {
        // Pruned: acknowledged long ago.
        None => Ok(()),
        Some(hash) if Hash(hash) == upto.hash => Ok(()),
        Some(_) => Err(ReplicaError::Refused(format!(
            "the cloud acknowledged another event {} than this journal holds: two copies of this device are in use",
            upto.event
        ))
        .into()),
    }
}

/// Whether the cloud never took an earlier event of this epoch: then its receipts can't reach this one.
fn has_hole(checked: &Checked<'_>, epochs: &[EpochRow], position: i64) -> rusqlite::Result<bool> {
    let first = epochs.iter().rev().find(|epoch| epoch.first <= position).map_or(position, |epoch| epoch.first);
    checked
        .db()
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM quarantine WHERE position >= ?1 AND position < ?2 AND held = 0)")?
        .query_row([first, position], |row| row.get(0))
}

fn set_aside(checked: &mut Checked<'_>, position: i64, reason: &str, held: bool, now: Now) -> Result<(), Fault> {
    let bytes: Option<Vec<u8>> = checked
        .db()
        .prepare_cached("SELECT bytes FROM events WHERE position = ?1")?
        .query_row([position], |row| row.get(0))
        .optional()?;
    let Some(bytes) = bytes else { return Ok(()) };
    checked.put(
        &QUARANTINE,
        &[position.into(), Value::Text(reason.to_owned()), now.wall_ms.into(), held.into(), Value::Blob(bytes)],
    )?;
    checked.remove(&OUTBOX, &[position.into()])?;
    Ok(())
}

fn take_receipt(
    checked: &mut Checked<'_>,
    epochs: &[EpochRow],
    position: i64,
    receipt: &Receipt,
    bytes: &[u8],
    now: Now,
) -> Result<(), Fault> {
    let upto = receipt.upto;
    let Some(epoch) = epochs.iter().find(|row| row.device == upto.event.device && row.epoch == upto.event.epoch) else {
        return Ok(());
    };
    let newest: Option<i64> = checked
        .db()
        .prepare_cached("SELECT max(seq) FROM receipts WHERE ordinal = ?1")?
        .query_row([epoch.ordinal], |row| row.get(0))?;
    let seq = upto.event.seq.cast_signed();
    if newest.is_some_and(|newest| seq < newest) {
        return send_again(checked, epochs, epoch, position);
    }
    if newest == Some(seq) {
        return Ok(());
    }
    // By signed time where there is any: a wrong clock must not make events look long acknowledged.
    let heard_ms = keys::proved_ms(checked.db())?.unwrap_or(now.wall_ms);
    checked.put(
        &RECEIPTS,
        &[
            epoch.ordinal.into(),
            heard_ms.div_euclid(DAY_MS).into(),
            seq.into(),
            blob(&upto.hash.0),
            heard_ms.into(),
            blob(bytes),
        ],
    )?;
    Ok(())
}

/// The cloud holds less of an epoch than it once said: everything after that goes up again.
fn send_again(checked: &mut Checked<'_>, epochs: &[EpochRow], epoch: &EpochRow, position: i64) -> Result<(), Fault> {
    let end = epochs.iter().find(|next| next.first > epoch.first).map_or(i64::MAX, |next| next.first);
    let lost: Vec<i64> = checked
        .db()
        .prepare_cached(
            "SELECT position FROM events WHERE position > ?1 AND position < ?2
             AND position NOT IN (SELECT position FROM quarantine) AND position NOT IN (SELECT position FROM outbox)",
        )?
        .query_map([position, end], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for position in lost {
        checked.put(&OUTBOX, &[position.into()])?;
    }
    Ok(())
}
