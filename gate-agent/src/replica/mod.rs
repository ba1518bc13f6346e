//! What a gate knows and what it did, in one SQLite file.
//!
//! [`Replica`] is the one writer, owned by one thread; [`ReplicaReader`] is a second, read-only connection for the
//! decision loop. Both work inline: no thread, clock or randomness in here, so that the simulation runs the same code.
//!
//! Every write is one transaction under WAL and `synchronous=FULL`: when a call returned, a power cut can't undo it,
//! and when it failed, nothing of it happened. An error never leaves the journal ahead of the file.

mod apply;
mod checked;
mod counts;
mod error;
mod heal;
mod keys;
mod log_check;
mod outbox;
mod prune;
mod record;
mod reserve;
mod resets;
mod resync;
mod salvage;
mod schema;
mod statements;
mod status;
mod sync_again;
mod time_reset;
mod view;
mod warm;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use gate_core::event::Head;
use gate_core::ids::{EventId, Hash, LaneId};
use gate_core::journal::Journal;
use gate_core::mutant::{self, Mutant};
use gate_core::sync::v1::Enrolled;
use gate_core::time::Now;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::file_lock::FileLock;
use crate::identity::Identity;
use checked::Checked;
use error::{classify, classify_io};
use keys::EpochRow;

pub use apply::Applied;
pub use error::ReplicaError;
pub use heal::{begin_anew, open_or_salvage};
pub use outbox::{Acknowledged, PendingEvent};
pub use prune::{KEEP_MS, Pruned};
pub(crate) use reserve::ALARM_PERCENT;
pub use reserve::Limits;
pub use resync::wish_resync;
pub use salvage::{Salvaged, salvage};
pub use status::{ReplicaStatus, ZoneStatus};
pub use time_reset::Passed;
pub use view::ReplicaReader;
pub use warm::Round;

/// What opening a database needs from outside.
#[derive(Clone, Debug)]
pub struct Start {
    /// The journal epoch to begin: random, below 2^63.
    pub epoch: u64,
    /// The moment.
    pub now: Now,
    /// Name and version of the software, for the epoch's first event.
    pub software: String,
}

/// The writer of a gate's database.
#[derive(Debug)]
pub struct Replica {
    path: PathBuf,
    /// `None` after the disk failed, until the next call opens it again.
    db: Option<Connection>,
    /// Held as long as this writer lives.
    _lock: FileLock,
    start: Start,
    identity: Option<Identity>,
    /// `None` until the device is enrolled.
    journal: Option<Journal>,
    /// Where the journal stands if the transaction that failed was stored after all.
    doubt: Option<Journal>,
    epochs: Vec<EpochRow>,
    recorded: Recorded,
    reserve: reserve::Reserve,
    checkpoints: sync_again::Checkpoints,
}

/// Told after every event that was recorded: there is something to send.
#[derive(Default)]
struct Recorded(Option<Box<dyn Fn() + Send>>);

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorded")
    }
}

/// A failure inside a transaction: SQLite's, or ours.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Own(ReplicaError),
}

impl Fault {
    /// As an error about this file.
    pub(crate) fn at(self, path: &Path) -> ReplicaError {
        match self {
            Self::Sql(error) => classify(path, error),
            Self::Own(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<ReplicaError> for Fault {
    fn from(error: ReplicaError) -> Self {
        Self::Own(error)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(db) = &self.db {
            sync_again::before_closing(db, &self.path);
        }
    }
}

impl Replica {
    /// Opens the database, creating it if there is none, and begins a journal epoch if the device is enrolled.
    ///
    /// The whole file is checked first; a damaged one is an error, never recreated.
    pub fn open(path: &Path, start: Start) -> Result<Self, ReplicaError> {
        match Self::open_checked(path, start.clone()) {
            Err(ReplicaError::Damaged { .. }) if mutant::active(Mutant::RecreateDamaged) => {
                for suffix in ["", "-wal", "-shm"] {
                    let mut name = path.as_os_str().to_owned();
                    name.push(suffix);
                    let _gone = std::fs::remove_file(name);
                }
                Self::open_checked(path, start)
            }
            opened => opened,
        }
    }

    fn open_checked(path: &Path, start: Start) -> Result<Self, ReplicaError> {
        let lock = lock(path)?;
        salvage::finish_interrupted(path)?;
        schema::refuse_newer_file(path)?;
        if !mutant::active(Mutant::NoCheckAtStart) {
            log_check::check(path)?;
        }
        let db = schema::connect_writer(path)?;
        schema::prepare(&db, path)?;
        let failed = |e| classify(path, e);
        let identity = read_identity(&db).map_err(failed)?;
        let epochs = keys::read_epochs(&db).map_err(failed)?;
        let mut replica = Self {
            path: path.to_path_buf(),
            db: Some(db),
            _lock: lock,
            start,
            identity,
            journal: None,
            doubt: None,
            epochs,
            recorded: Recorded::default(),
            reserve: reserve::Reserve::default(),
            checkpoints: sync_again::Checkpoints::of(path),
        };
        if !mutant::active(Mutant::NoCheckAtStart) {
            replica.check_pending()?;
        }
        if replica.identity.is_some() {
            replica.begin_epoch(replica.start.now)?;
        }
        sync_again::names(path);
        Ok(replica)
    }

    /// Stores who this device is, with the statements that came with the enrolment, and begins the journal.
    pub fn set_identity(&mut self, identity: &Identity, enrolled: &Enrolled, now: Now) -> Result<(), ReplicaError> {
        if let Some(known) = &self.identity
            && (known.device != identity.device || known.venue != identity.venue || known.root != identity.root)
        {
            return Err(ReplicaError::OtherDevice {
                found: known.device.to_string(),
                expected: identity.device.to_string(),
            });
        }
        self.write(|checked| {
            for bytes in &enrolled.statements {
                statements::take(checked, identity.venue, &identity.root, bytes)?;
            }
            let value = gate_core::canonical::encode(identity);
            checked.put(&checked::IDENTITY, &[1.into(), Value::Blob(value)])?;
            Ok(())
        })?;
        self.identity = Some(identity.clone());
        if self.journal.is_none() {
            self.begin_epoch(now)?;
        }
        Ok(())
    }

    /// Calls this after every event that was recorded. It must return at once.
    pub fn on_record(&mut self, tell: Box<dyn Fn() + Send>) {
        self.recorded = Recorded(Some(tell));
    }

    /// Who this device is; `None` before enrolment.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the journal stands. `None` before enrolment.
    pub fn journal_head(&self) -> Option<Head> {
        self.journal.as_ref().map(Journal::head)
    }

    /// A read-only connection for another thread.
    pub fn reader(&self) -> Result<ReplicaReader, ReplicaError> {
        ReplicaReader::open(&self.path)
    }

    /// The latest time that signed proof says has passed, Unix milliseconds; 0 if none was ever heard.
    pub fn floor_ms(&mut self) -> Result<i64, ReplicaError> {
        self.read(keys::proved_ms).map(|floor| floor.unwrap_or(0))
    }

    /// Raises the floor. A lower one changes nothing.
    pub fn set_floor_ms(&mut self, ms: i64) -> Result<(), ReplicaError> {
        if ms <= self.floor_ms()? {
            return Ok(());
        }
        self.write(|checked| Ok(keys::set_mark(checked, keys::FLOOR, ms)?))
    }

    /// When the journal's newest event was written, by this device's clock; `None` in an empty journal. Asked before this
    /// opening wrote anything, it tells where the clock must go on from: see [`ReplicaReader::newest_at`].
    pub fn newest_at(&self) -> Result<Option<Now>, ReplicaError> {
        self.reader()?.newest_at()
    }

    /// Openings of this device that were authorised and of which neither `Opened`, `NotOpened` nor `Annulled` is recorded, oldest first.
    pub fn unsettled(&mut self) -> Result<Vec<(EventId, Option<LaneId>)>, ReplicaError> {
        let rows: Vec<([u8; 8], Option<[u8; 16]>)> = self.read(|db| {
            db.prepare_cached("SELECT name, value FROM state WHERE kind = ?1 AND one = ?2 ORDER BY name")?
                .query_map([keys::UNSETTLED, record::WAITS], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.into_iter()
            .map(|(name, lane)| {
                let position = i64::from_be_bytes(name);
                let id =
                    keys::id_at(&self.epochs, position).ok_or_else(|| self.damaged("an opening without its event"))?;
                Ok((id, lane.map(|bytes| LaneId(uuid::Uuid::from_bytes(bytes)))))
            })
            .collect()
    }

    /// Begins the epoch this opening was given.
    fn begin_epoch(&mut self, now: Now) -> Result<(), ReplicaError> {
        let Some(identity) = self.identity.clone() else { return Err(ReplicaError::NotEnrolled) };
        let epoch = self.start.epoch;
        let fits = i64::try_from(epoch).is_ok();
        if !fits || self.epochs.iter().any(|known| known.device == identity.device && known.epoch == epoch) {
            return Err(ReplicaError::EpochUsed(epoch));
        }
        let last = self.read(last_event)?;
        let continues = match last {
            None => None,
            Some((position, hash)) => {
                let event =
                    keys::id_at(&self.epochs, position).ok_or_else(|| self.damaged("an event outside every epoch"))?;
                Some(Head { event, hash })
            }
        };
        let first = last.map_or(1, |(position, _)| position + 1);
        let ids = (identity.venue, identity.gate, identity.device);
        let (journal, sealed) = Journal::open(ids, epoch, continues, self.start.software.clone(), now);
        let ordinal = self.epochs.last().map_or(1, |epoch| epoch.ordinal + 1);
        let row = EpochRow { ordinal, device: identity.device, epoch, first };
        self.write(|checked| {
            keys::put_epoch(checked, &row)?;
            record::store(checked, first, &sealed)
        })?;
        self.epochs.push(row);
        self.journal = Some(journal);
        Ok(())
    }

    /// What waits to be sent must be what was written: a damaged event is found before the cloud finds it.
    fn check_pending(&mut self) -> Result<(), ReplicaError> {
        let bad: Option<i64> = self.read(|db| {
            let mut statement = db.prepare(&format!(
                "SELECT position, hash, bytes FROM events WHERE {} UNION ALL
                 SELECT outbox.position, hash, bytes FROM outbox LEFT JOIN events ON events.position = outbox.position",
                outbox::WAITS
            ))?;
            let mut rows = statement.query([outbox::sent_upto(db)?])?;
            while let Some(row) = rows.next()? {
                let (hash, bytes) = (row.get_ref(1)?.as_blob_or_null()?, row.get_ref(2)?.as_blob_or_null()?);
                let good =
                    matches!((hash, bytes), (Some(hash), Some(bytes)) if gate_core::event::hash(bytes).0 == hash);
                if !good {
                    return row.get(0).map(Some);
                }
            }
            Ok(None)
        })?;
        match bad {
            None => Ok(()),
            Some(position) => Err(self.damaged(&format!("event {position} is not the one that was written"))),
        }
    }

    fn damaged(&self, why: &str) -> ReplicaError {
        ReplicaError::Damaged { path: self.path.clone(), why: why.to_owned() }
    }

    /// Reads something; one statement, so one consistent moment.
    fn read<T>(&mut self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ReplicaError> {
        let path = self.path.clone();
        let result = read(self.connection()?).map_err(|e| classify(&path, e));
        self.after(result)
    }

    /// Writes something in one transaction: all of it or nothing.
    fn write<T>(&mut self, write: impl FnOnce(&mut Checked<'_>) -> Result<T, Fault>) -> Result<T, ReplicaError> {
        let path = self.path.clone();
        let db = self.connection()?;
        let result = (|| {
            let tx = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            let mut checked = Checked::begin(&tx)?;
            let value = write(&mut checked)?;
            checked.finish()?;
            tx.commit()?;
            Ok(value)
        })();
        if result.is_ok() {
            self.checkpoints.after_commit(&path);
        }
        self.after(result.map_err(|fault: Fault| fault.at(&path)))
    }

    /// After the disk failed, the pages in memory and on disk may differ: the connection is closed and the next call
    /// reads everything again. Nothing is retried blindly.
    fn after<T>(&mut self, result: Result<T, ReplicaError>) -> Result<T, ReplicaError> {
        if matches!(result, Err(ReplicaError::Io { .. } | ReplicaError::ReadOnly { .. })) {
            self.db = None;
        }
        result
    }

    /// The connection, opened again if the disk had failed.
    fn connection(&mut self) -> Result<&Connection, ReplicaError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => {
                let db = schema::connect_writer(&self.path)?;
                self.find_journal(&db)?;
                db
            }
        };
        Ok(self.db.insert(db))
    }

    /// After opening again: whether the event in doubt was stored. Another end means that the card lost some.
    fn find_journal(&mut self, db: &Connection) -> Result<(), ReplicaError> {
        let last = last_event(db).map_err(|e| classify(&self.path, e))?.map(|(_, hash)| hash);
        let stands = |journal: &Option<Journal>| journal.as_ref().map(|journal| journal.head().hash) == last;
        if stands(&self.journal) {
            return Ok(());
        }
        if self.doubt.is_some() && stands(&self.doubt) {
            self.journal = self.doubt.take();
            return Ok(());
        }
        Err(self.damaged(
            "the journal's last events are gone after a disk failure; restart gate-agent to begin a new epoch",
        ))
    }
}

/// The last event's position and hash.
fn last_event(db: &Connection) -> rusqlite::Result<Option<(i64, Hash)>> {
    db.query_row("SELECT position, hash FROM events ORDER BY position DESC LIMIT 1", [], |row| {
        Ok((row.get(0)?, Hash(row.get(1)?)))
    })
    .optional()
}

fn read_identity(db: &Connection) -> rusqlite::Result<Option<Identity>> {
    let bytes: Option<Vec<u8>> = db.query_row("SELECT value FROM identity", [], |row| row.get(0)).optional()?;
    bytes.map(|bytes| keys::decode(&bytes)).transpose()
}

/// One writer at a time: two would mint the same event ids.
fn lock(path: &Path) -> Result<FileLock, ReplicaError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    FileLock::take(&PathBuf::from(name))
        .map_err(|error| classify_io(path, &error))?
        .ok_or_else(|| ReplicaError::InUse { path: path.to_path_buf() })
}
