//! Taking in signed replica changes.
//!
//! A chunk is believed only if the settings key named by the venue's root signed it, it belongs to this venue, begins where
//! the replica ends and names the last chunk's hash. So changes may come by any road, and none can be rolled back, left
//! out or swapped. A chunk is applied whole or not at all; the good chunks before a bad one stay.
//!
//! While the replica is fetched anew (`resync.rs`) the chunks build its new copy, and the old one goes on deciding.

use gate_core::canonical;
use gate_core::cose::{self, Purpose};
use gate_core::ids::{EventId, Hash};
use gate_core::keys::PublicKey;
use gate_core::mutant::{self, Mutant};
use gate_core::statement::{Duty, Statement, StatementBody};
use gate_core::sync::plausible;
use gate_core::sync::v1::{AsOf, CHUNK_LIMIT, Change, Chunk, PullReply, Signed, UseMark};
use gate_core::time::Now;
use rusqlite::types::Value;

use super::checked::{Checked, PASSES, SETTINGS};
use super::keys::{self, Progress, blob};
use super::record::{UseRow, direction_number};
use super::{Fault, Replica, ReplicaError, counts, resync, statements, time_reset};
use crate::identity::Identity;

/// What a reply brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// How many changes.
    pub changes: u64,
    /// Up to which change the replica has been applied now.
    pub position: u64,
    /// Whether issuing keys may have changed: read the key ring again.
    pub keys_changed: bool,
    /// How new the replica is now, Unix milliseconds.
    pub as_of_ms: Option<i64>,
    /// The cloud has more.
    pub more: bool,
}

/// A chunk whose signature and place hold.
struct Believed {
    chunk: Chunk,
    hash: Hash,
}

impl Replica {
    /// Applies a reply of the cloud. One transaction; on a refusal the chunks before the refused one stay applied, which
    /// is harmless because each holds by itself.
    pub fn apply(&mut self, reply: &PullReply, _now: Now) -> Result<Applied, ReplicaError> {
        let identity = self.identity.clone().ok_or(ReplicaError::NotEnrolled)?;
        let (applied, refusal) = self.write(|checked| {
            let mut applied = Applied { more: reply.more, ..Applied::default() };
            let before = keys::mark_integer(checked.db(), keys::KEYRING)?;
            let mut refusal = None;
            for bytes in &reply.chunks {
                // The settings key is read for each chunk: one may bring the statement that replaces it.
                match believe(checked, &identity, bytes)? {
                    Ok(believed) => {
                        applied.changes += believed.chunk.changes.len() as u64;
                        apply_chunk(checked, &identity, believed)?;
                    }
                    Err(why) => {
                        refusal = Some(why);
                        break;
                    }
                }
            }
            if refusal.is_none()
                && let Some(bytes) = &reply.as_of
            {
                refusal = take_as_of(checked, &identity, bytes)?.err();
            }
            time_reset::fetch_what_seemed_old(checked)?;
            applied.position = resync::pulling(checked.db())?.1.position;
            applied.as_of_ms = keys::mark_integer(checked.db(), keys::AS_OF)?;
            applied.keys_changed = keys::mark_integer(checked.db(), keys::KEYRING)? != before;
            Ok((applied, refusal))
        })?;
        if applied.keys_changed && self.is_withdrawn()? {
            self.wipe()?;
        }
        match refusal {
            None => Ok(applied),
            Some(why) => Err(ReplicaError::Refused(why)),
        }
    }

    /// Takes the venue's word that this device is withdrawn, as it comes with the cloud's refusal: only if the pinned root
    /// signed it about this device, and no newer statement says otherwise. Says whether the device is withdrawn now.
    ///
    /// A device that is withdrawn forgets what it knew about passes; its journal stays as it is.
    pub fn hear_withdrawal(&mut self, bytes: &[u8]) -> Result<bool, ReplicaError> {
        let identity = self.identity.clone().ok_or(ReplicaError::NotEnrolled)?;
        let withdrawn = self.write(|checked| {
            let refuse = |why: String| Fault::from(ReplicaError::Refused(why));
            let stated = Statement::open(bytes, identity.venue, &identity.root).map_err(|e| refuse(e.to_string()))?;
            let subject = stated.subject();
            match stated.body {
                StatementBody::Device(device) if device.device == identity.device && device.revoked => {}
                StatementBody::Device(_)
                | StatementBody::Issuer(_)
                | StatementBody::Duty(_)
                | StatementBody::Chain(_)
                | StatementBody::Time(_) => {
                    return Err(refuse(format!("a statement about {subject} withdraws nothing from this device")));
                }
            }
            statements::take(checked, identity.venue, &identity.root, bytes)?;
            statements::withdraws(checked.db(), &identity)
        })?;
        if withdrawn {
            self.wipe()?;
        }
        Ok(withdrawn)
    }

    /// Up to which change the replica has been applied, and the hash of the last chunk: what to ask the cloud with. While
    /// it is fetched anew, that of the new copy.
    pub fn position(&mut self) -> Result<(u64, Hash), ReplicaError> {
        self.heed_wish()?;
        self.read(|db| resync::pulling(db).map(|(_, progress)| (progress.position, progress.head)))
    }

    /// How new the replica is by the settings key's word, Unix milliseconds.
    pub fn as_of_ms(&mut self) -> Result<Option<i64>, ReplicaError> {
        self.read(|db| keys::mark_integer(db, keys::AS_OF))
    }

    /// The key that has a duty for the venue, by the statements in force.
    pub fn duty_key(&mut self, duty: Duty) -> Result<PublicKey, ReplicaError> {
        let identity = self.identity.clone().ok_or(ReplicaError::NotEnrolled)?;
        let path = self.path.clone();
        let found = statements::duty_key(self.connection()?, identity.venue, &identity.root, duty);
        self.after(found.map_err(|fault| fault.at(&path)))
    }
}

/// Whether a chunk is the next one. The inner error says why not, in words.
fn believe(checked: &Checked<'_>, identity: &Identity, bytes: &[u8]) -> Result<Result<Believed, String>, Fault> {
    let key = match statements::duty_key(checked.db(), identity.venue, &identity.root, Duty::Settings) {
        Ok(key) => key,
        Err(Fault::Own(ReplicaError::Refused(why))) => return Ok(Err(why)),
        Err(other) => return Err(other),
    };
    let (_, Progress { position, head, .. }) = resync::pulling(checked.db())?;
    Ok(open_chunk(bytes, &key).and_then(|believed| {
        let chunk = &believed.chunk;
        let length = chunk.changes.len();
        if chunk.venue != identity.venue {
            return Err("the chunk belongs to another venue".to_owned());
        }
        if chunk.from > position && mutant::active(Mutant::SkipChunks) {
            return Ok(believed);
        }
        if chunk.from > position {
            return Err(format!("the chunk begins at change {}, the replica ends at {position}: changes are missing between", chunk.from));
        }
        if chunk.from < position {
            return Err(format!("the chunk begins at change {}, the replica has {position} already: older changes are not applied again", chunk.from));
        }
        if chunk.previous != head {
            return Err(format!("the chunk at change {} does not follow the one before it: another history", chunk.from));
        }
        if length == 0 || length > CHUNK_LIMIT || chunk.from.checked_add(length as u64) != Some(chunk.to) || i64::try_from(chunk.to).is_err() {
            return Err(format!("the chunk says changes {} to {} and holds {length}", chunk.from, chunk.to));
        }
        check_statements(chunk, identity)?;
        Ok(believed)
    }))
}

/// Opens a chunk; its hash is that of the canonical bytes that were signed.
fn open_chunk(bytes: &[u8], key: &PublicKey) -> Result<Believed, String> {
    let payload = cose::open(Purpose::Chunk, bytes, key)
        .map_err(|_| "the chunk is not signed by the venue's settings key".to_owned())?;
    let chunk: Chunk =
        canonical::decode(&payload).map_err(|e| format!("the chunk is signed but can't be read: {e}"))?;
    Ok(Believed { chunk, hash: Hash::of("gatechunk/1", &payload) })
}

/// All statements of a chunk must hold, and all its numbers must be possible, before any of its changes is applied.
fn check_statements(chunk: &Chunk, identity: &Identity) -> Result<(), String> {
    for change in &chunk.changes {
        plausible::check(change).map_err(|why| why.to_string())?;
        if let Change::Statement(bytes) = change {
            Statement::open(bytes, identity.venue, &identity.root).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn apply_chunk(checked: &mut Checked<'_>, identity: &Identity, believed: Believed) -> Result<(), Fault> {
    let Believed { chunk, hash } = believed;
    let (mark, progress) = resync::pulling(checked.db())?;
    for change in &chunk.changes {
        apply_change(checked, identity, progress.side, change)?;
    }
    Progress { position: chunk.to, head: hash, ..progress }.write(checked, mark)?;
    Ok(())
}

/// Statements, uses and counts only ever grow, so they are the same for both copies of the replica; the rest belongs to
/// the copy that is pulled.
fn apply_change(checked: &mut Checked<'_>, identity: &Identity, side: i64, change: &Change) -> Result<(), Fault> {
    let mut setting = |kind: i64, name: &[u8], value: Vec<u8>| {
        checked.put(&SETTINGS, &[side.into(), kind.into(), blob(name), Value::Blob(value)])
    };
    match change {
        Change::Statement(bytes) => {
            if statements::take(checked, identity.venue, &identity.root, bytes)? {
                time_reset::heed(checked, identity)?;
            }
        }
        Change::Venue(row) => setting(keys::VENUE, &[], canonical::encode(row))?,
        Change::Zone(row) => setting(keys::ZONE, row.id.0.as_bytes(), canonical::encode(row))?,
        Change::Gate(row) => setting(keys::GATE, row.id.0.as_bytes(), canonical::encode(row))?,
        Change::Vendor(row) => setting(keys::VENDOR, row.code.as_str().as_bytes(), canonical::encode(row))?,
        Change::Product(row) => setting(keys::PRODUCT, &row.number.to_be_bytes(), canonical::encode(row))?,
        Change::Pass(change) => {
            let value = canonical::encode(&change.row);
            checked.put(&PASSES, &[side.into(), Value::Blob(keys::pass_key(&change.pass)), Value::Blob(value)])?;
        }
        Change::Use(mark) => take_use(checked, mark)?,
        Change::Reset(reset) => setting(keys::RESET, reset.zone.0.as_bytes(), canonical::encode(&reset.daily))?,
        Change::Count(tally) => counts::rest_on(checked, tally.zone, &tally.basis, &tally.counts)?,
        Change::Unknown(bytes) => {
            tracing::warn!(
                bytes = bytes.len(),
                "the cloud told of something this software does not know: update this gate"
            );
        }
    }
    Ok(())
}

/// An admission that the cloud reports. This device's own are known by their id and not written twice.
fn take_use(checked: &mut Checked<'_>, mark: &UseMark) -> Result<(), Fault> {
    if mutant::active(Mutant::ForgetOthersUses) {
        return Ok(());
    }
    let echo = if mutant::active(Mutant::EchoCounts) { 1 << 32 } else { 0 };
    let event = EventId { seq: mark.event.seq + echo, ..mark.event };
    let known = UseRow::find(checked, &mark.pass, event)?;
    let annulled = mark.annulled && !mutant::active(Mutant::AnnulByUnion);
    let row = match known {
        Some(mut row) => {
            if row.annulled || !annulled {
                return Ok(());
            }
            row.annulled = true;
            row
        }
        None => UseRow {
            own: 0,
            gate: *mark.gate.0.as_bytes(),
            at_ms: mark.at_ms,
            day: i64::from(mark.service_day.0),
            direction: direction_number(mark.direction),
            charged: mark.charged,
            annulled,
            ends_s: 0,
            reopens: None,
        },
    };
    Ok(row.put(checked, &mark.pass, event)?)
}

/// The settings key's word about how new the replica is. An older word changes nothing.
fn take_as_of(checked: &mut Checked<'_>, identity: &Identity, bytes: &[u8]) -> Result<Result<(), String>, Fault> {
    let key = match statements::duty_key(checked.db(), identity.venue, &identity.root, Duty::Settings) {
        Ok(key) => key,
        Err(Fault::Own(ReplicaError::Refused(why))) => return Ok(Err(why)),
        Err(other) => return Err(other),
    };
    let as_of = match AsOf::open(bytes, &key) {
        Ok(as_of) => as_of,
        Err(error) => return Ok(Err(format!("the replica's age is not proved: {error}"))),
    };
    let (mark, progress) = resync::pulling(checked.db())?;
    if as_of.venue != identity.venue {
        return Ok(Err("the replica's age is told for another venue".to_owned()));
    }
    if (as_of.position, as_of.head) != (progress.position, progress.head) {
        return Ok(Err(format!(
            "the replica's age is told for change {}, the replica ends at {}",
            as_of.position, progress.position
        )));
    }
    let known = keys::mark_integer(checked.db(), keys::AS_OF)?;
    if mark == keys::RESYNC {
        // The new copy must be newer than the one it replaces, so that no old history can be put in its place.
        if known.is_some_and(|known| as_of.as_of_ms < known) {
            return Ok(Err("the replica that was fetched anew is older than the one that is here".to_owned()));
        }
        resync::complete(checked, &progress)?;
    }
    if known.is_none_or(|known| known < as_of.as_of_ms) {
        keys::set_mark(checked, keys::AS_OF, as_of.as_of_ms)?;
    }
    Ok(Ok(()))
}
