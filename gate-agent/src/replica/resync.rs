//! Fetching the replica anew, and forgetting it.
//!
//! What the cloud told in settings and passes stands in copies, called sides. Normally there is one. To fetch it anew a
//! second is begun: changes from the first one on are applied to it, while the old one goes on deciding, and when the
//! settings key says that the new one is complete they change places in one small transaction. So scanning never waits,
//! and no half-known replica ever decides.
//!
//! Statements, uses, counts and the time floor are not dropped: they only ever grow, and applying them twice says the
//! same. The journal and what this device did itself are not the cloud's to give.

use std::path::{Path, PathBuf};

use gate_core::mutant::{self, Mutant};
use gate_core::statement::{Statement, StatementBody};
use gate_core::view::{PassRow, PassStanding};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use super::checked::{PASSES, SETTINGS, USES};
use super::error::classify_io;
use super::keys::{self, Progress, blob};
use super::{Checked, Fault, Replica, ReplicaError, outbox, statements};

/// Rows removed in one transaction: a long one would hold up a record.
const AT_ONCE: i64 = 2000;

/// The copy of the replica to which changes are applied, and the mark under which its progress stands.
pub(crate) fn pulling(db: &Connection) -> rusqlite::Result<(&'static str, Progress)> {
    match Progress::read(db, keys::RESYNC)? {
        Some(progress) => Ok((keys::RESYNC, progress)),
        None => Ok((keys::REPLICA, keys::progress(db)?)),
    }
}

/// The new copy decides from now on. The old one's rows are removed later, a few at a time.
pub(crate) fn complete(checked: &mut Checked<'_>, fresh: &Progress) -> rusqlite::Result<()> {
    if keys::drop_mark(checked, keys::CARRY)? {
        carry_revoked(checked, keys::progress(checked.db())?.side, fresh.side)?;
    }
    fresh.write(checked, keys::REPLICA)?;
    keys::drop_mark(checked, keys::RESYNC)?;
    tracing::info!(position = fresh.position, "the replica was fetched anew and decides from now on");
    Ok(())
}

/// A cloud that was restored from a backup forgot what it was told since. What is withdrawn for good stays withdrawn.
fn carry_revoked(checked: &mut Checked<'_>, old: i64, fresh: i64) -> rusqlite::Result<()> {
    let for_good = |row: &PassRow| matches!(row.standing, PassStanding::Revoked | PassStanding::Superseded);
    let mut revoked: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    {
        let mut statement = checked.db().prepare("SELECT pass, value FROM passes WHERE side = ?1")?;
        let mut rows = statement.query([old])?;
        while let Some(row) = rows.next()? {
            let value: Vec<u8> = row.get(1)?;
            if for_good(&keys::decode(&value)?) {
                revoked.push((row.get(0)?, value));
            }
        }
    }
    for (pass, value) in revoked {
        let told: Option<Vec<u8>> = checked
            .db()
            .prepare_cached("SELECT value FROM passes WHERE side = ?1 AND pass = ?2")?
            .query_row(rusqlite::params![fresh, pass], |row| row.get(0))
            .optional()?;
        let known = told.map(|told| keys::decode::<PassRow>(&told)).transpose()?;
        if known.is_none_or(|known| !for_good(&known)) {
            checked.put(&PASSES, &[fresh.into(), Value::Blob(pass), Value::Blob(value)])?;
        }
    }
    Ok(())
}

/// Begins a new copy within a transaction.
pub(super) fn begin(checked: &mut Checked<'_>) -> rusqlite::Result<()> {
    let progress = keys::progress(checked.db())?;
    let begun = Progress::read(checked.db(), keys::RESYNC)?;
    // A side that was begun before is not used again: its rows may still be there.
    let side = begun.map_or(progress.side, |begun| begun.side) + 1;
    Progress::start(side).write(checked, keys::RESYNC)
}

/// The file by which an operator asks the running agent for a resync.
fn wish(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".resync");
    PathBuf::from(name)
}

/// Asks whoever writes this database to fetch the replica anew, at its next question to the cloud.
pub fn wish_resync(database: &Path) -> Result<(), ReplicaError> {
    std::fs::write(wish(database), b"").map_err(|error| classify_io(database, &error))
}

impl Replica {
    /// Begins to fetch the replica anew, from the first change on. The gate goes on deciding from what it has until the new
    /// copy is complete. Begun a second time, it starts over.
    ///
    /// For an operator who doubts the replica. The copy that replaces this one must be newer by the settings key's word.
    pub fn resync(&mut self) -> Result<(), ReplicaError> {
        self.write(|checked| Ok(begin(checked)?))?;
        tracing::info!("the replica is fetched anew");
        Ok(())
    }

    /// Takes the venue's word that its chain of changes begins again: the service was restored from a backup. Only if the
    /// pinned root signed it and it is newer than the last one. Says whether it was news.
    ///
    /// The replica is then fetched anew, what is revoked stays revoked, and every event that is still kept goes up again:
    /// nobody knows which of them the service lost.
    pub fn hear_reset(&mut self, bytes: &[u8]) -> Result<bool, ReplicaError> {
        let identity = self.identity.clone().ok_or(ReplicaError::NotEnrolled)?;
        let news = self.write(|checked| {
            let refuse = |why: String| Fault::from(ReplicaError::Refused(why));
            let stated = Statement::open(bytes, identity.venue, &identity.root).map_err(|e| refuse(e.to_string()))?;
            match &stated.body {
                StatementBody::Chain(_) => {}
                StatementBody::Issuer(_)
                | StatementBody::Device(_)
                | StatementBody::Duty(_)
                | StatementBody::Time(_) => {
                    return Err(refuse(format!("a statement about {} begins no chain again", stated.subject())));
                }
            }
            let number = i64::try_from(stated.number).map_err(|_| refuse("a number out of range".to_owned()))?;
            if keys::mark_integer(checked.db(), keys::CUT)?.is_some_and(|known| known >= number) {
                return Ok(false);
            }
            keys::set_mark(checked, keys::CUT, number)?;
            keys::set_mark(checked, keys::CARRY, 1)?;
            begin(checked)?;
            outbox::offer_all(checked)?;
            Ok(true)
        })?;
        if news {
            tracing::warn!("the venue's service was restored from a backup: everything is exchanged again");
        }
        Ok(news)
    }

    /// Does what an operator asked for by [`wish_resync`].
    pub(crate) fn heed_wish(&mut self) -> Result<(), ReplicaError> {
        let wish = wish(&self.path);
        if wish.exists() {
            self.resync()?;
            // If it can't be removed the replica is fetched once more than was asked for.
            if let Err(error) = std::fs::remove_file(&wish) {
                tracing::warn!(%error, "the wish for a resync could not be removed");
            }
        }
        Ok(())
    }

    /// Whether the replica is being fetched anew.
    pub fn is_resyncing(&mut self) -> Result<bool, ReplicaError> {
        self.read(|db| Ok(Progress::read(db, keys::RESYNC)?.is_some()))
    }

    /// Removes rows of copies that decide no more. True if there are more to remove: call again.
    pub(crate) fn drop_old_sides(&mut self) -> Result<bool, ReplicaError> {
        let sides = self.read(sides_in_use)?;
        if !self.read(|db| has_old_rows(db, sides))? {
            return Ok(false);
        }
        self.write(|checked| {
            let removed = remove_passes(checked, "side <> ?1 AND side <> ?2", sides)?;
            if removed < AT_ONCE {
                remove_settings(checked, "side <> ?1 AND side <> ?2", sides)?;
            }
            Ok(removed == AT_ONCE)
        })
    }

    /// Whether the venue's newest word withdraws this device.
    pub(crate) fn is_withdrawn(&mut self) -> Result<bool, ReplicaError> {
        let Some(identity) = self.identity.clone() else { return Ok(false) };
        let path = self.path.clone();
        let withdrawn = statements::withdraws(self.connection()?, &identity);
        self.after(withdrawn.map_err(|fault| fault.at(&path)))
    }

    /// A device that was withdrawn forgets what the venue told it about passes, vendors, products and other gates. Its
    /// journal stays sealed as it is, with what has not been sent; so does what its own screen shows. If the venue takes
    /// it in again, it fetches everything anew.
    pub(crate) fn wipe(&mut self) -> Result<(), ReplicaError> {
        if mutant::active(Mutant::WithdrawnDecides) {
            return Ok(());
        }
        let own = self.identity.as_ref().map(|identity| *identity.gate.0.as_bytes());
        // First of all nothing counts as applied: what is cut off in the middle must not look whole.
        let side = self.write(|checked| {
            // What the clock was proved to have passed stays proved.
            if let Some(proved_ms) = keys::proved_ms(checked.db())? {
                keys::set_mark(checked, keys::FLOOR, proved_ms)?;
            }
            for mark in [keys::RESYNC, keys::CARRY, keys::AS_OF] {
                keys::drop_mark(checked, mark)?;
            }
            let side = keys::progress(checked.db())?.side;
            Progress::start(side).write(checked, keys::REPLICA)?;
            Ok(side)
        })?;
        let (none, mut removed) = ((i64::MIN, i64::MIN), 0);
        loop {
            let more = self.write(|checked| {
                let mut now = remove_passes(checked, "side <> ?1 AND side <> ?2", none)?;
                if now < AT_ONCE {
                    now += remove_others_uses(checked)?;
                }
                removed += now;
                Ok(now >= AT_ONCE)
            })?;
            if !more {
                break;
            }
        }
        self.write(|checked| {
            remove_settings(checked, "side <> ?1 OR kind >= ?2", (side, keys::VENDOR))?;
            let others: Vec<Vec<u8>> = checked
                .db()
                .prepare_cached("SELECT name FROM settings WHERE side = ?1 AND kind = ?2")?
                .query_map([side, keys::GATE], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for gate in others.iter().filter(|gate| own.is_none_or(|own| gate.as_slice() != own)) {
                checked.remove(&SETTINGS, &[side.into(), keys::GATE.into(), blob(gate)])?;
            }
            Ok(())
        })?;
        tracing::warn!(rows = removed, "this device was withdrawn: it has forgotten what it knew about passes");
        Ok(())
    }
}

/// The side that decides and the one that is being fetched; twice the same if there is one.
fn sides_in_use(db: &Connection) -> rusqlite::Result<(i64, i64)> {
    let side = keys::progress(db)?.side;
    Ok((side, Progress::read(db, keys::RESYNC)?.map_or(side, |fresh| fresh.side)))
}

fn has_old_rows(db: &Connection, sides: (i64, i64)) -> rusqlite::Result<bool> {
    // Sides only grow, so what is old stands first.
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM passes WHERE side < max(?1, ?2) AND side <> ?1 AND side <> ?2)
             OR EXISTS (SELECT 1 FROM settings WHERE side < max(?1, ?2) AND side <> ?1 AND side <> ?2)",
    )?
    .query_row(sides, |row| row.get(0))
}

fn remove_passes(checked: &mut Checked<'_>, wanted: &str, with: (i64, i64)) -> rusqlite::Result<i64> {
    let old: Vec<(i64, Vec<u8>)> = checked
        .db()
        .prepare(&format!("SELECT side, pass FROM passes WHERE {wanted} LIMIT {AT_ONCE}"))?
        .query_map(with, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (side, pass) in &old {
        checked.remove(&PASSES, &[(*side).into(), blob(pass)])?;
    }
    Ok(old.len() as i64)
}

fn remove_settings(checked: &mut Checked<'_>, wanted: &str, with: (i64, i64)) -> rusqlite::Result<()> {
    let old: Vec<(i64, i64, Vec<u8>)> = checked
        .db()
        .prepare(&format!("SELECT side, kind, name FROM settings WHERE {wanted}"))?
        .query_map(with, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (side, kind, name) in old {
        checked.remove(&SETTINGS, &[side.into(), kind.into(), Value::Blob(name)])?;
    }
    Ok(())
}

fn remove_others_uses(checked: &mut Checked<'_>) -> rusqlite::Result<i64> {
    let others: Vec<(Vec<u8>, Vec<u8>)> = checked
        .db()
        .prepare_cached("SELECT pass, event FROM uses WHERE own = 0 LIMIT 2000")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (pass, event) in &others {
        checked.remove(&USES, &[blob(pass), blob(event)])?;
    }
    Ok(others.len() as i64)
}
