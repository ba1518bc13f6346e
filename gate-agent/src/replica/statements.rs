//! The venue's signed statements: kept as the bytes the root signed, and verified again whenever they are used.

use gate_core::ids::VenueId;
use gate_core::keys::PublicKey;
use gate_core::statement::{Duty, Statement, StatementBody};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use super::checked::{Checked, STATEMENTS};
use super::{Fault, ReplicaError, keys};
use crate::identity::Identity;

/// Takes a statement if the root signed it and nothing newer is known about its subject. Says whether it was news.
pub(crate) fn take(checked: &mut Checked<'_>, venue: VenueId, root: &PublicKey, bytes: &[u8]) -> Result<bool, Fault> {
    let statement = Statement::open(bytes, venue, root).map_err(|e| ReplicaError::Refused(e.to_string()))?;
    let subject = statement.subject();
    let number = i64::try_from(statement.number)
        .map_err(|_| ReplicaError::Refused(format!("statement number {} is out of range", statement.number)))?;
    let known: Option<(i64, Vec<u8>)> = checked
        .db()
        .prepare_cached("SELECT number, value FROM statements WHERE subject = ?1")?
        .query_row([&subject], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((known_number, known_bytes)) = known {
        if known_number == number && known_bytes != bytes {
            return Err(ReplicaError::Refused(format!(
                "the root signed two statements numbered {number} about {subject}"
            ))
            .into());
        }
        if known_number >= number {
            return Ok(false);
        }
    }
    checked.put(&STATEMENTS, &[Value::Text(subject), number.into(), keys::blob(bytes)])?;
    let version = keys::mark_integer(checked.db(), keys::KEYRING)?.unwrap_or(0);
    keys::set_mark(checked, keys::KEYRING, version + 1)?;
    Ok(true)
}

/// What the newest statement about a subject says; verified under the root.
pub(crate) fn about(
    db: &Connection,
    venue: VenueId,
    root: &PublicKey,
    subject: &str,
) -> Result<Option<Statement>, Fault> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT value FROM statements WHERE subject = ?1")?
        .query_row([subject], |row| row.get(0))
        .optional()?;
    let Some(bytes) = bytes else { return Ok(None) };
    let statement = Statement::open(&bytes, venue, root).map_err(|e| ReplicaError::Refused(e.to_string()))?;
    if statement.subject() != subject {
        return Err(
            ReplicaError::Refused(format!("a statement about {} stands for {subject}", statement.subject())).into()
        );
    }
    Ok(Some(statement))
}

/// Whether the newest statement about this device withdraws its key.
pub(crate) fn withdraws(db: &Connection, identity: &Identity) -> Result<bool, Fault> {
    let subject = format!("device/{}", identity.device);
    let stated = about(db, identity.venue, &identity.root, &subject)?;
    Ok(stated.is_some_and(|statement| match statement.body {
        StatementBody::Device(device) => device.revoked,
        StatementBody::Issuer(_) | StatementBody::Duty(_) | StatementBody::Chain(_) | StatementBody::Time(_) => false,
    }))
}

/// The key that has a duty for the venue.
pub(crate) fn duty_key(db: &Connection, venue: VenueId, root: &PublicKey, duty: Duty) -> Result<PublicKey, Fault> {
    let (subject, what) = match duty {
        Duty::Settings => ("duty/settings", "settings"),
        Duty::Time => ("duty/time", "time"),
        Duty::Server => ("duty/server", "server's"),
    };
    match about(db, venue, root, subject)?.map(|statement| statement.body) {
        Some(StatementBody::Duty(found)) => Ok(found.key),
        Some(
            StatementBody::Issuer(_) | StatementBody::Device(_) | StatementBody::Chain(_) | StatementBody::Time(_),
        )
        | None => Err(ReplicaError::Refused(format!("no statement names the venue's {what} key")).into()),
    }
}
