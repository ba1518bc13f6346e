//! What the cloud has not confirmed yet.
//!
//! Nothing leaves the outbox unacknowledged, and a 4xx never deletes: what the cloud put aside, or can't take at all,
//! moves to quarantine with its reason and its bytes, where the dashboard and `gate-agent status` show it.
//!
//! That an event waits is derived, so that recording one writes no row for it: all behind the mark `sent` wait, except
//! those in `delivered` and in quarantine; before it only those in `outbox`, which the cloud lost. What happened at the
//! lane goes up before news, so an event may be delivered before its forerunners. The mark moves by signed receipts
//! alone: what the cloud only said to hold is sent again when a receipt tells that it does not.

use std::collections::BTreeSet;

use gate_core::event::Head;
use gate_core::ids::{EventId, Hash};
use gate_core::mutant::{self, Mutant};
use gate_core::statement::Duty;
use gate_core::sync::v1::{ItemOutcome, PushReply, Receipt, Signed};
use gate_core::time::Now;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use super::checked::{Checked, DELIVERED, EVENTS, OUTBOX, QUARANTINE, RECEIPTS, STRANGERS};
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

/// Among how many waiting events urgent ones are looked for. A bound: with a million behind, asking must stay cheap.
const LOOK_AHEAD: i64 = 4000;

/// News gets one place in this many while urgent events wait, so that it always moves on.
const NEWS_SHARE: usize = 8;

impl Replica {
    /// The events to send next, what happened at the lane before news, each oldest first: at most `max`, and no more bytes
    /// than `max_bytes` unless the first alone has more.
    pub fn pending(&mut self, max: usize, max_bytes: usize) -> Result<Vec<PendingEvent>, ReplicaError> {
        let rows = self.read(|db| {
            let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
            let mut bytes_of = db.prepare_cached("SELECT bytes FROM events WHERE position = ?1")?;
            let (urgent, news): (Vec<_>, Vec<_>) = window(db)?.into_iter().partition(|(_, class)| *class == 0);
            let kept_free = if news.is_empty() { 0 } else { 1 };
            let mut total = 0;
            // Urgent ones leave a share free for news; news then takes whatever is left.
            let shares = [
                (urgent, max - kept_free * (max / NEWS_SHARE), max_bytes - kept_free * (max_bytes / NEWS_SHARE)),
                (news, max, max_bytes),
            ];
            for (positions, most, most_bytes) in shares {
                for (position, _) in positions {
                    if found.len() >= most {
                        break;
                    }
                    let bytes: Vec<u8> = bytes_of.query_row([position], |row| row.get(0))?;
                    total += bytes.len();
                    if total > most_bytes && !found.is_empty() {
                        total -= bytes.len();
                        break;
                    }
                    found.push((position, bytes));
                }
            }
            Ok(found)
        })?;
        rows.into_iter().map(|(position, bytes)| self.named(position, bytes)).collect()
    }

    /// Events that wait behind a position, oldest first, each with its own: at most `max`, and no more bytes than `max_bytes`
    /// unless the first alone has more.
    pub fn waiting_after(
        &mut self,
        position: i64,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(i64, PendingEvent)>, ReplicaError> {
        let rows = self.read(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT position, bytes FROM events
                 WHERE position > ?2 AND (position IN (SELECT position FROM outbox) OR {WAITS})
                 ORDER BY position LIMIT ?3"
            ))?;
            let most = i64::try_from(max).unwrap_or(i64::MAX);
            let mut rows = statement.query([sent_upto(db)?, position, most])?;
            let (mut found, mut total): (Vec<(i64, Vec<u8>)>, usize) = (Vec::new(), 0);
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
        rows.into_iter().map(|(position, bytes)| Ok((position, self.named(position, bytes)?))).collect()
    }

    fn named(&self, position: i64, bytes: Vec<u8>) -> Result<PendingEvent, ReplicaError> {
        let id = keys::id_at(&self.epochs, position).ok_or_else(|| self.damaged("an event outside every epoch"))?;
        Ok(PendingEvent { id, bytes })
    }

    /// How many events wait.
    pub fn pending_count(&mut self) -> Result<u64, ReplicaError> {
        self.read(waiting)
    }

    /// Takes in what became of the events that were sent.
    ///
    /// A confirmed event leaves the outbox, unless a receipt in the same reply denies that the cloud holds it: then the reply
    /// belongs to another request and the event stays. A receipt that ends before an event which the cloud said to hold
    /// tells that the cloud was restored from a backup: what it lost is sent again.
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
                    match keys::position_of(&epochs, receipt.upto.event) {
                        Some(position) => match check_hash(checked.db(), position, &receipt.upto)? {
                            None => receipts.push((position, receipt, bytes)),
                            Some(why) => {
                                // Nothing of this reply is believed, but the proof is kept.
                                take_stranger(checked, &receipt, bytes)?;
                                return Ok(Err(why));
                            }
                        },
                        None if receipt.upto.event.device == identity.device => {
                            take_stranger(checked, &receipt, bytes)?
                        }
                        None => {}
                    }
                }
            }
            let mut done = Acknowledged::default();
            let mut told = BTreeSet::new();
            for (id, outcome) in sent.iter().zip(&reply.outcomes) {
                let Some(position) = keys::position_of(&epochs, *id) else {
                    return Err(ReplicaError::Refused(format!("event {id} was not sent by this journal")).into());
                };
                match outcome {
                    ItemOutcome::Created | ItemOutcome::Exists => {
                        told.insert(position);
                    }
                    ItemOutcome::Parked { reason } => {
                        set_aside(checked, position, reason, true, now)?;
                        done.parked += 1;
                    }
                }
            }
            for (upto, receipt, _) in &receipts {
                done.denied += hear_denial(checked, &epochs, *upto, receipt, &mut told)?;
            }
            let vouched: Vec<i64> = receipts.iter().map(|(upto, _, _)| *upto).collect();
            done.denied += drop_unvouched(checked, &epochs, &vouched, &mut told)?;
            done.confirmed = told.len() as u64;
            for (_, receipt, bytes) in receipts {
                take_receipt(checked, &epochs, &receipt, bytes, now)?;
            }
            deliver(checked, &epochs, told)?;
            Ok(Ok(done))
        })?
        .map_err(ReplicaError::Refused)
    }

    /// Moves an event that the cloud can't take, again and again, out of the way of the others. It stays in the journal
    /// and in quarantine, with its reason.
    pub fn quarantine(&mut self, id: EventId, reason: &str, now: Now) -> Result<(), ReplicaError> {
        let position = keys::position_of(&self.epochs, id).ok_or(ReplicaError::UnknownEvent(id))?;
        let epochs = self.epochs.clone();
        self.write(|checked| {
            if mutant::active(Mutant::DeleteOnRefusal) {
                // The schema would refuse it.
                checked.db().execute_batch("DROP TRIGGER IF EXISTS events_keep")?;
                checked.remove(&EVENTS, &[position.into()])?;
            } else if !mutant::active(Mutant::BelieveOwnPush) {
                set_aside(checked, position, reason, false, now)?;
            }
            deliver(checked, &epochs, BTreeSet::from([position]))
        })
    }

    /// Puts the events that the cloud could not take back into the outbox, to be tried again; says how many.
    pub fn release_quarantine(&mut self) -> Result<u64, ReplicaError> {
        self.write(|checked| {
            let positions: Vec<i64> = checked
                .db()
                .prepare_cached("SELECT position FROM quarantine WHERE held = 0")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let sent = sent_upto(checked.db())?;
            for position in &positions {
                checked.remove(&QUARANTINE, &[(*position).into()])?;
                checked.remove(&DELIVERED, &[(*position).into()])?;
                if *position <= sent {
                    checked.put(&OUTBOX, &[(*position).into()])?;
                }
            }
            Ok(positions.len() as u64)
        })
    }
}

/// The position up to which nothing waits but what is in `outbox`.
pub(crate) fn sent_upto(db: &Connection) -> rusqlite::Result<i64> {
    Ok(keys::mark_integer(db, keys::SENT)?.unwrap_or(0))
}

/// Every waiting event, as a condition on `events.position`; `?1` is the mark `sent`.
pub(crate) const WAITS: &str = "(events.position > ?1 AND events.position NOT IN (SELECT position FROM delivered)
     AND events.position NOT IN (SELECT position FROM quarantine))";

/// How many events wait.
pub(crate) fn waiting(db: &Connection) -> rusqlite::Result<u64> {
    let sent = sent_upto(db)?;
    let number = |sql: &str| db.prepare_cached(sql)?.query_row([sent], |row| row.get::<_, i64>(0));
    let again: i64 = db.prepare_cached("SELECT count(*) FROM outbox")?.query_row([], |row| row.get(0))?;
    let behind = if keys::mark_integer(db, keys::GAPS)?.is_some_and(|gaps| gaps > sent) {
        number("SELECT count(*) FROM events WHERE position > ?1")?
    } else {
        number("SELECT max(0, coalesce(max(position), 0) - ?1) FROM events")?
    };
    let aside = number(
        "SELECT (SELECT count(*) FROM quarantine WHERE position > ?1)
              + (SELECT count(*) FROM delivered WHERE position > ?1 AND position NOT IN (SELECT position FROM quarantine))",
    )?;
    Ok((again + behind - aside).max(0).cast_unsigned())
}

/// The oldest waiting events with their class, as many as are looked at.
fn window(db: &Connection) -> rusqlite::Result<Vec<(i64, i64)>> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let mut found: Vec<(i64, i64)> = db
        .prepare_cached(
            "SELECT outbox.position, class FROM outbox JOIN events ON events.position = outbox.position
             ORDER BY outbox.position LIMIT ?1",
        )?
        .query_map([LOOK_AHEAD], read)?
        .collect::<rusqlite::Result<_>>()?;
    let behind = db
        .prepare_cached(&format!("SELECT position, class FROM events WHERE {WAITS} ORDER BY position LIMIT ?2"))?
        .query_map([sent_upto(db)?, LOOK_AHEAD], read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    found.extend(behind);
    Ok(found)
}

/// First position after the epoch that holds this one.
fn epoch_end(epochs: &[EpochRow], position: i64) -> i64 {
    epochs.iter().map(|epoch| epoch.first).filter(|first| *first > position).min().unwrap_or(i64::MAX)
}

/// A receipt ends before an event that the cloud holds, if all it ever said is true. If it said so just now, the reply
/// belongs to another request and its word about this epoch counts for nothing; how many events that concerns. If it
/// said so before, it lost them.
fn hear_denial(
    checked: &mut Checked<'_>,
    epochs: &[EpochRow],
    upto: i64,
    receipt: &Receipt,
    told: &mut BTreeSet<i64>,
) -> Result<u64, Fault> {
    let (next, end) = (upto + 1, epoch_end(epochs, upto));
    if next >= end || mutant::active(Mutant::BelieveOwnPush) {
        return Ok(0);
    }
    let db = checked.db();
    if position_in(db, "quarantine", next)? {
        return Ok(0);
    }
    if position_in(db, "events", next)? {
        if told.contains(&next) {
            let before = told.len();
            told.retain(|position| !(next..end).contains(position));
            send_again(checked, upto, end, told)?;
            return Ok((before - told.len()) as u64);
        }
        let believed = if next <= sent_upto(db)? {
            !position_in(db, "outbox", next)?
        } else {
            position_in(db, "delivered", next)?
        };
        if believed {
            send_again(checked, upto, end, told)?;
        }
        return Ok(0);
    }
    // The next one was pruned here, so receipts can't ever pass it: what is left is offered once per step back.
    let newest: Option<i64> = checked
        .db()
        .prepare_cached(
            "SELECT max(epochs.first + receipts.seq) FROM receipts JOIN epochs ON epochs.ordinal = receipts.ordinal
             WHERE epochs.device = ?1 AND epochs.epoch = ?2",
        )?
        .query_row(
            rusqlite::params![receipt.upto.event.device.0.as_bytes(), receipt.upto.event.epoch.cast_signed()],
            |row| row.get(0),
        )?;
    let heard = keys::mark_integer(checked.db(), keys::FELL_TO)?;
    if newest.is_some_and(|newest| upto < newest) && heard != Some(upto) {
        keys::set_mark(checked, keys::FELL_TO, upto)?;
        send_again(checked, upto, end, told)?;
    }
    Ok(0)
}

/// Lets go of what was said to be held without a signature: the reply must bring a receipt for the epoch, if only for
/// what it held before. Only where an event that the cloud never took, or that was pruned here, keeps receipts from
/// reaching further, its bare word must do. Says how many events are not believed.
fn drop_unvouched(
    checked: &mut Checked<'_>,
    epochs: &[EpochRow],
    vouched: &[i64],
    told: &mut BTreeSet<i64>,
) -> Result<u64, Fault> {
    let (mut bare, mut voids) = (Vec::new(), BTreeSet::new());
    for position in told.iter() {
        let Some(epoch) = epochs.iter().rev().find(|epoch| epoch.first <= *position) else { continue };
        let end = epoch_end(epochs, *position);
        let signed = vouched.iter().any(|upto| epoch_end(epochs, *upto) == end);
        let reached = receipt_reach(checked.db(), epochs, *position)? >= *position;
        if signed
            || reached
            || has_hole(checked, epochs, *position)?
            || !position_in(checked.db(), "events", epoch.first)?
        {
            continue;
        }
        bare.push(*position);
        voids.insert((epoch.first, end));
    }
    for position in &bare {
        told.remove(position);
    }
    // No receipt at all: it holds nothing from the epoch's start on. What it was believed to hold goes up again.
    for (first, end) in voids {
        let waits = if first <= sent_upto(checked.db())? {
            position_in(checked.db(), "outbox", first)?
        } else {
            !position_in(checked.db(), "delivered", first)?
        };
        if !waits && !position_in(checked.db(), "quarantine", first)? {
            send_again(checked, first - 1, end, &BTreeSet::new())?;
        }
    }
    Ok(bare.len() as u64)
}

/// Notes events as delivered and moves the mark `sent` as far as receipts, quarantine and lost events let it.
fn deliver(checked: &mut Checked<'_>, epochs: &[EpochRow], told: BTreeSet<i64>) -> Result<(), Fault> {
    let before = sent_upto(checked.db())?;
    let mut sent = before;
    let mut fresh = BTreeSet::new();
    for position in told {
        if position <= before {
            checked.remove(&OUTBOX, &[position.into()])?;
        } else {
            fresh.insert(position);
        }
    }
    loop {
        let next: Option<i64> = checked
            .db()
            .prepare_cached("SELECT min(position) FROM events WHERE position > ?1")?
            .query_row([sent], |row| row.get(0))?;
        let Some(next) = next else { break };
        let proven = receipt_reach(checked.db(), epochs, next)?;
        if proven >= next {
            sent = proven;
            fresh = fresh.split_off(&(sent + 1));
        } else if position_in(checked.db(), "quarantine", next)? {
            sent = next;
            fresh.remove(&next);
        } else if has_hole(checked, epochs, next)?
            && (fresh.remove(&next) || position_in(checked.db(), "delivered", next)?)
        {
            // Receipts can't reach it: the cloud's word must do.
            sent = next;
        } else {
            break;
        }
    }
    if sent != before {
        let passed: Vec<i64> = checked
            .db()
            .prepare_cached("SELECT position FROM delivered WHERE position <= ?1")?
            .query_map([sent], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for position in passed {
            checked.remove(&DELIVERED, &[position.into()])?;
        }
        keys::set_mark(checked, keys::SENT, sent)?;
    }
    for position in fresh {
        if !position_in(checked.db(), "delivered", position)? {
            checked.put(&DELIVERED, &[position.into()])?;
        }
    }
    Ok(())
}

/// Whether a position stands in one of the tables of positions.
fn position_in(db: &Connection, table: &str, position: i64) -> rusqlite::Result<bool> {
    db.prepare_cached(&format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE position = ?1)"))?
        .query_row([position], |row| row.get(0))
}

/// The position up to which the newest receipt of this event's epoch reaches.
fn receipt_reach(db: &Connection, epochs: &[EpochRow], position: i64) -> rusqlite::Result<i64> {
    let Some(epoch) = epochs.iter().rev().find(|epoch| epoch.first <= position) else { return Ok(0) };
    let newest: Option<i64> = db
        .prepare_cached("SELECT max(seq) FROM receipts WHERE ordinal = ?1")?
        .query_row([epoch.ordinal], |row| row.get(0))?;
    Ok(newest.map_or(0, |seq| epoch.first + seq).min(epoch_end(epochs, position) - 1))
}

/// A receipt for an event of this device that this journal does not hold: the proof is kept for `journal verify`.
fn take_stranger(checked: &mut Checked<'_>, receipt: &Receipt, bytes: &[u8]) -> Result<(), Fault> {
    let event = receipt.upto.event;
    tracing::error!(event.id = %event, "the cloud holds an event of this device that this journal does not");
    let known: Option<i64> = checked
        .db()
        .prepare_cached("SELECT seq FROM strangers WHERE epoch = ?1")?
        .query_row([event.epoch.cast_signed()], |row| row.get(0))
        .optional()?;
    let seq = event.seq.cast_signed();
    if known.is_none_or(|known| known < seq) {
        let row = [event.epoch.cast_signed().into(), seq.into(), blob(&receipt.upto.hash.0), blob(bytes)];
        checked.put(&STRANGERS, &row)?;
    }
    Ok(())
}

/// A receipt must be about the event that is here. If it is not, why not.
fn check_hash(db: &Connection, position: i64, upto: &Head) -> rusqlite::Result<Option<String>> {
    let hash: Option<[u8; 32]> = db
        .prepare_cached("SELECT hash FROM events WHERE position = ?1")?
        .query_row([position], |row| row.get(0))
        .optional()?;
    // Without a row it was pruned: acknowledged long ago.
    Ok(hash.filter(|hash| Hash(*hash) != upto.hash).map(|_| {
        format!(
            "the cloud acknowledged another event {} than this journal holds: two copies of this device are in use",
            upto.event
        )
    }))
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
    checked.remove(&DELIVERED, &[position.into()])?;
    Ok(())
}

fn take_receipt(
    checked: &mut Checked<'_>,
    epochs: &[EpochRow],
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
    if newest.is_some_and(|newest| seq <= newest) {
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

/// Every event that is still kept waits again.
pub(crate) fn offer_all(checked: &mut Checked<'_>) -> Result<(), Fault> {
    let first: Option<i64> =
        checked.db().prepare_cached("SELECT min(position) FROM events")?.query_row([], |row| row.get(0))?;
    first.map_or(Ok(()), |first| send_again(checked, first - 1, i64::MAX, &BTreeSet::new()))
}

/// The cloud holds less than it once said: everything between goes up again, except what it was just told.
fn send_again(checked: &mut Checked<'_>, after: i64, end: i64, told: &BTreeSet<i64>) -> Result<(), Fault> {
    if mutant::active(Mutant::NeverRefill) {
        return Ok(());
    }
    let sent = sent_upto(checked.db())?;
    let lost: Vec<i64> = checked
        .db()
        .prepare_cached(
            "SELECT position FROM events WHERE position > ?1 AND position < ?2 AND position <= ?3
             AND position NOT IN (SELECT position FROM quarantine) AND position NOT IN (SELECT position FROM outbox)",
        )?
        .query_map([after, end, sent], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for position in lost.into_iter().filter(|position| !told.contains(position)) {
        checked.put(&OUTBOX, &[position.into()])?;
    }
    let believed: Vec<i64> = checked
        .db()
        .prepare_cached("SELECT position FROM delivered WHERE position > ?1 AND position < ?2")?
        .query_map([after, end], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for position in believed {
        checked.remove(&DELIVERED, &[position.into()])?;
    }
    Ok(())
}
