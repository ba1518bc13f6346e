//! The venue's word that signed time was wrong: what was proved by it is proved no more.

use gate_core::statement::{StatementBody, TIME, TimeReset};
use rusqlite::Connection;

use super::checked::Checked;
use super::{Fault, ReplicaError, ReplicaReader, keys, statements};
use crate::identity::Identity;

/// Heeds the newest word about the time, once: the floor is what it says, how new the replica is is not known until the cloud
/// says so again, and no event that stands in the journal tells what time it is.
pub(crate) fn heed(checked: &mut Checked<'_>, identity: &Identity) -> Result<(), Fault> {
    let Some((number, reset)) = newest(checked.db(), identity)? else { return Ok(()) };
    if keys::mark_integer(checked.db(), keys::TIME_RESET)?.is_some_and(|known| known >= number) {
        return Ok(());
    }
    let newest: i64 = checked.db().query_row("SELECT COALESCE(MAX(position), 0) FROM events", [], |row| row.get(0))?;
    keys::set_mark(checked, keys::TIME_RESET, number)?;
    keys::set_mark(checked, keys::TIME_RESET_AT, newest)?;
    keys::set_mark(checked, keys::FLOOR, reset.floor_ms)?;
    keys::drop_mark(checked, keys::AS_OF)?;
    Ok(())
}

fn newest(db: &Connection, identity: &Identity) -> Result<Option<(i64, TimeReset)>, Fault> {
    let Some(statement) = statements::about(db, identity.venue, &identity.root, TIME)? else { return Ok(None) };
    let number = i64::try_from(statement.number)
        .map_err(|_| ReplicaError::Refused(format!("statement number {} is out of range", statement.number)))?;
    Ok(match statement.body {
        StatementBody::Time(reset) => Some((number, reset)),
        StatementBody::Issuer(_) | StatementBody::Device(_) | StatementBody::Duty(_) | StatementBody::Chain(_) => None,
    })
}

impl ReplicaReader {
    /// The number of the venue's newest word that signed time was wrong, and the floor that it sets, Unix milliseconds; `None`
    /// if this replica never had to heed one, or none since the known one.
    pub fn time_reset(&mut self, known: Option<i64>) -> Result<Option<(i64, i64)>, ReplicaError> {
        let Some(identity) = self.identity()? else { return Ok(None) };
        self.moment(|db| {
            let heeded = keys::mark_integer(db, keys::TIME_RESET)?;
            if heeded.is_none() || heeded == known {
                return Ok(None);
            }
            Ok(newest(db, &identity)?.map(|(number, reset)| (number, reset.floor_ms)))
        })
    }
}
