//! The venue's word that signed time was wrong: what was proved by it is proved no more.

use gate_core::statement::{StatementBody, TIME, TimeReset};
use gate_core::sync::plausible::LATEST_MS;
use gate_core::time::{Now, Trust};
use rusqlite::{Connection, OptionalExtension};

use super::checked::Checked;
use super::{Fault, KEEP_MS, Replica, ReplicaError, ReplicaReader, keys, resync, statements};
use crate::identity::Identity;

/// An event of signed time is at most this far past the floor that was signed with it, milliseconds: signed time is fresh for a
/// day, and clocks drift.
const SIGNED_SPAN_MS: i64 = 2 * 24 * 3600 * 1000;

/// What the database says has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// The latest time that signed proof says has passed, Unix milliseconds; 0 if none was ever heard.
    pub floor_ms: i64,
    /// When the journal's newest event was written, by its device's clock; `None` in an empty journal, or where all of it was
    /// written before signed time was taken back.
    pub newest: Option<Now>,
    /// The number of the venue's newest word that signed time was wrong, as far as it was heeded.
    pub reset: Option<i64>,
}

/// Heeds the newest word about the time, once: the floor is what it says, the replica is as new as that at most, and no event
/// that stands in the journal tells what time it is. What was let go of because it seemed old is fetched again.
pub(crate) fn heed(checked: &mut Checked<'_>, identity: &Identity) -> Result<(), Fault> {
    let Some((number, reset)) = newest_word(checked.db(), identity)? else { return Ok(()) };
    if keys::mark_integer(checked.db(), keys::TIME_RESET)?.is_some_and(|known| known >= number) {
        return Ok(());
    }
    let floor_ms = reset.floor_ms.clamp(0, LATEST_MS);
    let proved_ms = keys::proved_ms(checked.db())?.unwrap_or(0);
    let newest: i64 = checked.db().query_row("SELECT COALESCE(MAX(position), 0) FROM events", [], |row| row.get(0))?;
    keys::set_mark(checked, keys::TIME_RESET, number)?;
    keys::set_mark(checked, keys::TIME_RESET_AT, newest)?;
    keys::set_mark(checked, keys::TIME_RESET_TO, floor_ms)?;
    keys::set_mark(checked, keys::FLOOR, floor_ms)?;
    if let Some(as_of) = keys::mark_integer(checked.db(), keys::AS_OF)? {
        // What this word stands in was made at that moment, and all before it is here.
        keys::set_mark(checked, keys::AS_OF, as_of.min(floor_ms))?;
    }
    if proved_ms.saturating_sub(floor_ms) > KEEP_MS {
        keys::set_mark(checked, keys::TIME_RESYNC, 1)?;
    }
    Ok(())
}

/// Begins to fetch everything anew where a word that was heeded asks for it: uses of passes that seemed long over are among it.
pub(crate) fn fetch_what_seemed_old(checked: &mut Checked<'_>) -> rusqlite::Result<()> {
    if keys::drop_mark(checked, keys::TIME_RESYNC)? {
        resync::begin(checked)?;
    }
    Ok(())
}

/// A moment that an event names, as it may be compared with others: what lies ahead of now was written by the time that was
/// taken back, before the word that did so.
pub(crate) fn dated(db: &Connection, now: Now) -> rusqlite::Result<impl Fn(i64) -> i64 + use<>> {
    let to = keys::mark_integer(db, keys::TIME_RESET_TO)?;
    let ahead_ms = now.wall_ms.saturating_add(super::view::AHEAD_MS);
    Ok(move |at_ms: i64| to.filter(|_| at_ms > ahead_ms).unwrap_or(at_ms))
}

fn newest_word(db: &Connection, identity: &Identity) -> Result<Option<(i64, TimeReset)>, Fault> {
    let Some(statement) = statements::about(db, identity.venue, &identity.root, TIME)? else { return Ok(None) };
    let number = i64::try_from(statement.number)
        .map_err(|_| ReplicaError::Refused(format!("statement number {} is out of range", statement.number)))?;
    Ok(match statement.body {
        StatementBody::Time(reset) => Some((number, reset)),
        StatementBody::Issuer(_) | StatementBody::Device(_) | StatementBody::Duty(_) | StatementBody::Chain(_) => None,
    })
}

fn newest_at(db: &Connection) -> rusqlite::Result<Option<Now>> {
    let after = keys::mark_integer(db, keys::TIME_RESET_AT)?.unwrap_or(0);
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT bytes FROM events WHERE position > ?1 ORDER BY position DESC LIMIT 1")?
        .query_row([after], |row| row.get(0))
        .optional()?;
    let at = bytes.map(|bytes| keys::decode::<gate_core::event::Event>(&bytes)).transpose()?.map(|event| event.at);
    // What was being written while the word came has the time that was taken back: signed, and far past what is proved.
    let taken_back = keys::mark_integer(db, keys::TIME_RESET)?.is_some();
    let proved_ms = keys::proved_ms(db)?.unwrap_or(0);
    let so = |at: &Now| at.trust != Trust::Signed || at.wall_ms <= proved_ms.saturating_add(SIGNED_SPAN_MS);
    Ok(at.filter(|at| !taken_back || so(at)))
}

impl Replica {
    /// The number of the venue's newest word that signed time was wrong, as far as it was heeded.
    pub fn time_reset(&mut self) -> Result<Option<i64>, ReplicaError> {
        self.read(|db| keys::mark_integer(db, keys::TIME_RESET))
    }
}

impl ReplicaReader {
    /// The number of the venue's newest word that signed time was wrong, as far as it was heeded.
    pub fn time_reset(&self) -> Result<Option<i64>, ReplicaError> {
        self.moment(|db| Ok(keys::mark_integer(db, keys::TIME_RESET)?))
    }

    /// What has passed, as one moment of the database knows it. A clock that was set back, or lost its battery, goes on from
    /// there.
    pub fn passed(&self) -> Result<Passed, ReplicaError> {
        self.moment(|db| {
            let floor_ms = keys::proved_ms(db)?.unwrap_or(0);
            Ok(Passed { floor_ms, newest: newest_at(db)?, reset: keys::mark_integer(db, keys::TIME_RESET)? })
        })
    }

    /// The latest time that signed proof says has passed, Unix milliseconds; 0 if none was ever heard.
    pub fn floor_ms(&self) -> Result<i64, ReplicaError> {
        Ok(self.passed()?.floor_ms)
    }

    /// When the journal's newest event was written: [`Passed::newest`].
    pub fn newest_at(&self) -> Result<Option<Now>, ReplicaError> {
        Ok(self.passed()?.newest)
    }
}
