//! A start that meets a damaged database heals it: the journal is saved out of it, the rest comes from the cloud again. One
//! that meets an empty database on a device that was enrolled begins it anew.
//!
//! The damaged file is kept aside. Until the replica is complete again the gate does not decide about anybody, so nothing
//! that rotted ever opens or closes a gate.

use std::path::Path;

use gate_core::event::{EventBody, Part};
use gate_core::time::Now;

use super::{Replica, ReplicaError, Salvaged, Start, reserve, salvage};
use crate::identity::IdentityFile;

/// Opens the database, and first salvages it if it is damaged. `enrolment` is the identity file, for when the database can't
/// even say whose it is. Gives what was saved, if anything had to be.
///
/// If the disk is too full even for the event that begins an epoch, the reserve is given up: staff must be able to open.
pub fn open_or_salvage(
    path: &Path,
    start: Start,
    enrolment: Option<&IdentityFile>,
) -> Result<(Replica, Option<Salvaged>), ReplicaError> {
    let why = match Replica::open(path, start.clone()) {
        Ok(replica) => return Ok((replica, None)),
        Err(ReplicaError::Full { .. }) if reserve::release(path) => {
            tracing::error!("the disk is full: the reserve is given up so that this gate can start");
            return Replica::open(path, start).map(|replica| (replica, None));
        }
        Err(ReplicaError::Damaged { why, .. }) => why,
        Err(other) => return Err(other),
    };
    tracing::error!(path = %path.display(), why, "the database is damaged: its events are saved into a new one");
    let saved = salvage(path, enrolment)?;
    let mut replica = Replica::open(path, start.clone())?;
    let detail = format!(
        "the database was damaged ({why}): {} events saved, {} rejected, {} missing; the damaged file is kept as {}",
        saved.events,
        saved.rejected,
        saved.missing,
        saved.kept_aside.file_name().unwrap_or_default().to_string_lossy()
    );
    tracing::warn!("{detail}. This gate decides again once it has heard everything from the cloud");
    // Two events: the first raises the alarm, the second says that the storage itself works.
    let again = "a new database was begun; passes and settings are fetched again".to_owned();
    for (working, detail) in [(false, detail), (true, again)] {
        replica.record(None, start.now, EventBody::Health { part: Part::Storage, working, detail })?;
    }
    Ok((replica, Some(saved)))
}

/// Begins an empty database of a device that was enrolled: a card that lied about a sync may lose the file, or all of it,
/// and then knows nothing of anybody. Says so in the journal, which raises the alarm; the cloud has the rest.
pub fn begin_anew(replica: &mut Replica, enrolment: &IdentityFile, now: Now) -> Result<(), ReplicaError> {
    tracing::error!("the database is empty although this device is enrolled: what it held is lost");
    replica.set_identity(&enrolment.identity, &enrolment.enrolled(), now)?;
    let lost = "the database was empty although this device is enrolled: events that were not sent are lost".to_owned();
    let again = "a new database was begun; passes and settings are fetched again".to_owned();
    for (working, detail) in [(false, lost), (true, again)] {
        replica.record(None, now, EventBody::Health { part: Part::Storage, working, detail })?;
    }
    Ok(())
}
