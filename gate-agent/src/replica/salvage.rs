//! Getting a gate's journal out of a damaged file: at a start that meets one, and on an operator's command.
//!
//! The damaged file is kept aside untouched. Every event that can still be read and whose place in the chain holds goes
//! into a new database, in its old position and waiting to be sent, so that it still reaches the cloud; what it meant
//! for uses and counts is derived again. Everything that came from the cloud comes from there again: unverified rows of a
//! damaged file never decide about anybody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gate_core::event::{self, Event};
use gate_core::ids::Hash;
use gate_core::journal::SealedEvent;
use gate_core::sync::v1::Enrolled;
use gate_core::time::Trust;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::checked::{Checked, IDENTITY};
use super::error::classify_io;
use super::keys::{self, EpochRow};
use super::{Fault, ReplicaError, lock, read_identity, record, schema, statements, time_reset};
use crate::identity::{Identity, IdentityFile};

/// What could be saved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Salvaged {
    /// Events in the new database, all of them waiting to be sent.
    pub events: u64,
    /// Events that were found but don't hold; they are only in the file that was kept aside.
    pub rejected: u64,
    /// Places in the journal between the saved events whose event is lost.
    pub missing: u64,
    /// Where the damaged file is now.
    pub kept_aside: PathBuf,
}

/// A file beside the database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ReplicaError {
    move |error| classify_io(path, &error)
}

/// Puts the new database in place if a salvage was cut short after the damaged one was moved aside.
pub(crate) fn finish_interrupted(path: &Path) -> Result<(), ReplicaError> {
    let fresh = beside(path, ".salvaged");
    if !path.exists() && fresh.exists() {
        std::fs::rename(&fresh, path).map_err(io(path))?;
    }
    Ok(())
}

/// Saves what can be saved. `enrolment` is the identity file, for when the database can't even say whose it is.
pub fn salvage(path: &Path, enrolment: Option<&IdentityFile>) -> Result<Salvaged, ReplicaError> {
    let _lock = lock(path)?;
    finish_interrupted(path)?;
    if !path.exists() {
        return Err(ReplicaError::Io { path: path.to_path_buf(), why: "there is no such file".to_owned() });
    }
    let damaged = open_damaged(path);
    let known = enrolment.map(|file| (file.identity.clone(), file.enrolled()));
    let (identity, enrolled) = known.or_else(|| damaged.as_ref().and_then(stored_enrolment)).ok_or_else(|| {
        ReplicaError::Ownerless { path: path.to_path_buf(), why: "its identity can't be read".to_owned() }
    })?;
    let pruned = damaged.as_ref().and_then(|db| keys::mark_bytes(db, keys::PRUNED).ok().flatten());
    let room = std::fs::metadata(path).map_err(io(path))?.len() / SMALLEST_EVENT;
    let found = damaged.as_ref().map(|db| read_events(db, pruned.as_deref(), room)).unwrap_or_default();
    drop(damaged);
    let (good, epochs, rejected) = sort_out(&identity, &found);

    let fresh = beside(path, ".salvaged");
    for suffix in ["", "-wal", "-shm"] {
        remove_if_there(&beside(&fresh, suffix))?;
    }
    write_new(&fresh, &identity, &enrolled, &good, &epochs, pruned)?;

    let kept_aside = (1..)
        .map(|n| beside(path, &format!(".damaged-{n}")))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| beside(path, ".damaged"));
    for suffix in ["-wal", "-shm", ""] {
        let from = beside(path, suffix);
        if from.exists() {
            std::fs::rename(&from, beside(&kept_aside, suffix)).map_err(io(&from))?;
        }
    }
    std::fs::rename(&fresh, path).map_err(io(path))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder))?;

    let span = match (good.first_key_value(), good.last_key_value()) {
        (Some((first, _)), Some((last, _))) => last.abs_diff(*first) + 1,
        (None, _) | (_, None) => 0,
    };
    let events = good.len() as u64;
    Ok(Salvaged { events, rejected, missing: span - events, kept_aside })
}

fn remove_if_there(path: &Path) -> Result<(), ReplicaError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(path)(error)),
    }
}

fn open_damaged(path: &Path) -> Option<Connection> {
    let db =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX).ok()?;
    db.pragma_update(None, "mmap_size", 0).ok()?;
    Some(db)
}

/// The enrolment as the damaged database holds it. Statements are verified again when they are written.
fn stored_enrolment(db: &Connection) -> Option<(Identity, Enrolled)> {
    let identity = read_identity(db).ok()??;
    let mut statement = db.prepare("SELECT value FROM statements").ok()?;
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).ok()?;
    let file = IdentityFile {
        identity: identity.clone(),
        code: Hash::ZERO,
        statements: rows.map_while(Result::ok).map(hex::encode).collect(),
    };
    Some((identity, file.enrolled()))
}

type Row = (Vec<u8>, Vec<u8>);

/// Every row of the journal that can still be read: from the front, from the back, and one by one between.
fn read_events(db: &Connection, pruned: Option<&[u8]>, room: u64) -> BTreeMap<i64, Row> {
    let mut found = BTreeMap::new();
    let mut scan = |sql: &str| -> (bool, Option<i64>) {
        let mut last = None;
        let Ok(mut statement) = db.prepare(sql) else { return (false, last) };
        let Ok(mut rows) = statement.query([]) else { return (false, last) };
        loop {
            match rows.next() {
                Ok(None) => return (true, last),
                Ok(Some(row)) => {
                    if let (Ok(position), Ok(hash), Ok(bytes)) = (row.get(0), row.get(1), row.get(2)) {
                        found.insert(position, (hash, bytes));
                        last = Some(position);
                    }
                }
                Err(_) => return (false, last),
            }
        }
    };
    let (whole, front) = scan("SELECT position, hash, bytes FROM events ORDER BY position");
    if whole {
        return found;
    }
    let (_, back) = scan("SELECT position, hash, bytes FROM events ORDER BY position DESC");
    // No more events can be between than the file has room for.
    let begins = pruned
        .and_then(|mark| mark.get(..8))
        .map_or(0, |at| at.iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte)));
    let from = front.unwrap_or(begins).saturating_add(1);
    let to = from.saturating_add(i64::try_from(room).unwrap_or(i64::MAX));
    for position in from..to.min(back.unwrap_or(to)) {
        let row = db.query_row("SELECT hash, bytes FROM events WHERE position = ?1", [position], |row| {
            Ok((row.get(0)?, row.get(1)?))
        });
        if let Ok(row) = row {
            found.insert(position, row);
        }
    }
    found
}

/// No event is smaller, bytes.
const SMALLEST_EVENT: u64 = 128;

/// Tells the events that hold from those that don't, and finds out where each epoch begins.
fn sort_out(identity: &Identity, found: &BTreeMap<i64, Row>) -> (BTreeMap<i64, SealedEvent>, Vec<EpochRow>, u64) {
    let mut good: BTreeMap<i64, SealedEvent> = BTreeMap::new();
    let mut epochs: Vec<EpochRow> = Vec::new();
    let mut rejected = 0;
    for (position, (hash, bytes)) in found {
        let sealed = Event::decode(bytes)
            .ok()
            .filter(|event| event.venue == identity.venue && event.id.device == identity.device)
            .filter(|_| event::hash(bytes).0.as_slice() == hash)
            .map(|event| SealedEvent { hash: event::hash(bytes), event, bytes: bytes.clone() });
        let placed = sealed.filter(|sealed| fits(*position, sealed, &good, &epochs));
        match placed {
            None => rejected += 1,
            Some(sealed) => {
                let first = position - sealed.event.id.seq.cast_signed();
                if epochs.last().is_none_or(|epoch| epoch.epoch != sealed.event.id.epoch) {
                    let ordinal = epochs.last().map_or(1, |epoch| epoch.ordinal + 1);
                    epochs.push(EpochRow { ordinal, device: identity.device, epoch: sealed.event.id.epoch, first });
                }
                good.insert(*position, sealed);
            }
        }
    }
    (good, epochs, rejected)
}

/// Whether an event stands where its id says and follows the one before it, where that one is known.
fn fits(position: i64, sealed: &SealedEvent, good: &BTreeMap<i64, SealedEvent>, epochs: &[EpochRow]) -> bool {
    let Some(first) = i64::try_from(sealed.event.id.seq).ok().and_then(|seq| position.checked_sub(seq)) else {
        return false;
    };
    let epoch_fits = match epochs.last() {
        Some(last) if last.epoch == sealed.event.id.epoch => last.first == first,
        Some(last) => first > last.first && epochs.iter().all(|epoch| epoch.epoch != sealed.event.id.epoch),
        None => true,
    };
    let link_fits = good.get(&(position - 1)).is_none_or(|before| sealed.event.previous == before.hash);
    epoch_fits && link_fits
}

fn write_new(
    fresh: &Path,
    identity: &Identity,
    enrolled: &Enrolled,
    good: &BTreeMap<i64, SealedEvent>,
    epochs: &[EpochRow],
    pruned: Option<Vec<u8>>,
) -> Result<(), ReplicaError> {
    let db = schema::connect_writer(fresh)?;
    schema::prepare(&db, fresh)?;
    let fill = || -> Result<(), Fault> {
        let tx = Transaction::new_unchecked(&db, TransactionBehavior::Immediate)?;
        let mut checked = Checked::begin(&tx)?;
        checked.put(&IDENTITY, &[1.into(), Value::Blob(gate_core::canonical::encode(identity))])?;
        for bytes in &enrolled.statements {
            match statements::take(&mut checked, identity.venue, &identity.root, bytes) {
                // A statement that rotted comes from the cloud again.
                Ok(_) | Err(Fault::Own(ReplicaError::Refused(_))) => {}
                Err(other) => return Err(other),
            }
        }
        for epoch in epochs {
            keys::put_epoch(&mut checked, epoch)?;
        }
        for (position, sealed) in good {
            record::store(&mut checked, *position, sealed)?;
        }
        if let (Some((first, _)), Some((last, _))) = (good.first_key_value(), good.last_key_value()) {
            keys::set_mark(&mut checked, keys::SENT, first - 1)?;
            keys::set_mark(&mut checked, keys::GAPS, *last)?;
        }
        // Clock files may be gone with the damage, and so is the floor; what was recorded under signed time proves one.
        if let Some(proved_ms) = good
            .values()
            .filter(|sealed| sealed.event.at.trust == Trust::Signed)
            .map(|sealed| sealed.event.at.wall_ms)
            .max()
        {
            keys::set_mark(&mut checked, keys::FLOOR, proved_ms)?;
        }
        // Unless the venue has taken signed time back.
        time_reset::heed(&mut checked, identity)?;
        if let (Some(mark), Some((first, sealed))) = (pruned, good.first_key_value())
            && mark_precedes(&mark, *first, sealed.event.previous)
        {
            keys::set_pruned(&mut checked, first - 1, &sealed.event.previous.0)?;
        }
        checked.finish()?;
        Ok(tx.commit()?)
    };
    fill().map_err(|fault| fault.at(fresh))?;
    // Everything into the one file: the log beside it must not be needed any more when it is renamed.
    db.pragma_update(None, "journal_mode", "DELETE").map_err(|e| Fault::Sql(e).at(fresh))?;
    db.close().map_err(|(_, e)| Fault::Sql(e).at(fresh))
}

/// Whether a pruning mark names the event right before the first one that was saved.
fn mark_precedes(mark: &[u8], first: i64, previous: Hash) -> bool {
    let (Some(position), Some(hash)) = (mark.get(..8), mark.get(8..)) else { return false };
    position == (first - 1).to_be_bytes() && hash == previous.0
}
