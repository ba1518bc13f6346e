//! How ids stand in the database: fixed bytes for names, whole numbers for what grows.

use gate_core::event::Event;
use gate_core::ids::{DeviceId, EventId, GateId, Hash, LaneId, PassId};
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::checked::{Checked, EPOCHS, STATE};

/// Kinds of rows in the table `state`; 0 is the sum's.
pub(crate) const UNSETTLED: i64 = 1;
pub(crate) const ZONE_NUMBER: i64 = 2;
pub(crate) const ACTOR_COUNT: i64 = 3;
const MARK: i64 = 4;
pub(crate) const ZONE_BASIS: i64 = 5;

/// Mark: up to which change the replica that decides was applied ([`Progress`]).
pub(crate) const REPLICA: &str = "replica";
/// Mark: the same of the one that is being fetched anew; there as long as it is.
pub(crate) const RESYNC: &str = "resync";
/// Mark: the number of the venue's newest word that its chain of changes begins again.
pub(crate) const CUT: &str = "chain_cut";
/// Mark: what is revoked stays so when the new copy is complete; there while that copy is fetched because of a cut.
pub(crate) const CARRY: &str = "carry_revoked";
/// Mark: how new the replica is, Unix milliseconds.
pub(crate) const AS_OF: &str = "as_of_ms";
/// Mark: grows with every statement that was taken.
pub(crate) const KEYRING: &str = "keyring_version";
/// Mark: the time floor, Unix milliseconds.
pub(crate) const FLOOR: &str = "floor_ms";
/// Mark: the number of the venue's newest word that signed time was wrong, as far as this replica has heeded it.
pub(crate) const TIME_RESET: &str = "time_reset";
/// Mark: the journal's newest position when it did. What was written until then says nothing about the time.
pub(crate) const TIME_RESET_AT: &str = "time_reset_at";
/// Mark: the floor that it set, Unix milliseconds.
pub(crate) const TIME_RESET_TO: &str = "time_reset_to";
/// Mark: everything is to be fetched anew for it.
pub(crate) const TIME_RESYNC: &str = "time_resync";
/// Mark: the signed receipt after which the journal begins since it was pruned.
pub(crate) const PRUNED: &str = "pruned_after";
/// Mark: the cloud has every event up to this position, or it waits in `outbox` or `quarantine`.
pub(crate) const SENT: &str = "sent";
/// Mark: how far back the cloud fell when it was last offered what it had lost beyond a pruned event.
pub(crate) const FELL_TO: &str = "fell_to";
/// Mark: the last position before which a salvage left gaps.
pub(crate) const GAPS: &str = "gaps_upto";

/// Kinds of rows in the table `settings`.
pub(crate) const VENUE: i64 = 1;
pub(crate) const ZONE: i64 = 2;
pub(crate) const GATE: i64 = 3;
pub(crate) const VENDOR: i64 = 4;
pub(crate) const PRODUCT: i64 = 5;
pub(crate) const RESET: i64 = 6;

/// One opening of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EpochRow {
    /// Which opening of this database's journal, from 1.
    pub(crate) ordinal: i64,
    /// Who wrote it.
    pub(crate) device: DeviceId,
    /// Its epoch.
    pub(crate) epoch: u64,
    /// The position of its first event.
    pub(crate) first: i64,
}

/// The id of the event at a position.
pub(crate) fn id_at(epochs: &[EpochRow], position: i64) -> Option<EventId> {
    let at = epochs.partition_point(|epoch| epoch.first <= position).checked_sub(1)?;
    let epoch = epochs.get(at)?;
    let seq = u64::try_from(position - epoch.first).ok()?;
    Some(EventId { device: epoch.device, epoch: epoch.epoch, seq })
}

/// The position of an event of this journal. The event itself may be pruned or lost.
pub(crate) fn position_of(epochs: &[EpochRow], id: EventId) -> Option<i64> {
    let at = epochs.iter().position(|epoch| epoch.device == id.device && epoch.epoch == id.epoch)?;
    let position = epochs[at].first.checked_add(i64::try_from(id.seq).ok()?)?;
    match epochs.get(at + 1) {
        Some(next) if position >= next.first => None,
        Some(_) | None => Some(position),
    }
}

/// All openings, oldest first.
pub(crate) fn read_epochs(db: &Connection) -> Result<Vec<EpochRow>> {
    db.prepare_cached("SELECT ordinal, device, epoch, first FROM epochs ORDER BY first")?
        .query_map([], |row| {
            Ok(EpochRow {
                ordinal: row.get(0)?,
                device: DeviceId(Uuid::from_bytes(row.get(1)?)),
                epoch: row.get::<_, i64>(2)?.cast_unsigned(),
                first: row.get(3)?,
            })
        })?
        .collect()
}

/// Writes an opening.
pub(crate) fn put_epoch(checked: &mut Checked<'_>, row: &EpochRow) -> Result<()> {
    checked.put(
        &EPOCHS,
        &[row.ordinal.into(), blob(row.device.0.as_bytes()), row.epoch.cast_signed().into(), row.first.into()],
    )
}

/// Bytes as a value.
pub(crate) fn blob(bytes: &[u8]) -> Value {
    Value::Blob(bytes.to_vec())
}

/// A pass: its random bytes first, then the vendor's code.
pub(crate) fn pass_key(pass: &PassId) -> Vec<u8> {
    let mut key = pass.cti.0.to_vec();
    key.extend_from_slice(pass.vendor.as_str().as_bytes());
    key
}

/// An event id: device, epoch, seq.
pub(crate) fn event_key(event: EventId) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(event.device.0.as_bytes());
    key[16..24].copy_from_slice(&event.epoch.to_be_bytes());
    key[24..].copy_from_slice(&event.seq.to_be_bytes());
    key
}

/// How the table `uses` names an event: one of this journal by its position, which is a quarter as long and makes as many
/// more rows fit a page; another device's by its id.
pub(crate) fn use_key(db: &Connection, event: EventId) -> Result<Vec<u8>> {
    Ok(match position_of(&read_epochs(db)?, event) {
        Some(position) => position.to_be_bytes().to_vec(),
        None => event_key(event).to_vec(),
    })
}

/// The event at a position of the journal; `None` if it is not here.
pub(crate) fn event_at(db: &Connection, position: i64) -> Result<Option<Event>> {
    db.prepare_cached("SELECT bytes FROM events WHERE position = ?1")?
        .query_row([position], |row| row.get::<_, Vec<u8>>(0))
        .optional()?
        .map(|bytes| decode(&bytes))
        .transpose()
}

/// Reads canonical bytes of a stored row.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    gate_core::canonical::decode(bytes)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(e)))
}

/// Writes a row of the table `state`.
pub(crate) fn put_state(
    checked: &mut Checked<'_>,
    kind: i64,
    name: &[u8],
    numbers: (i64, i64),
    value: Value,
) -> Result<()> {
    checked.put(&STATE, &[kind.into(), blob(name), numbers.0.into(), numbers.1.into(), value])
}

/// Removes a row of the table `state`; says whether it was there.
pub(crate) fn remove_state(checked: &mut Checked<'_>, kind: i64, name: &[u8]) -> Result<bool> {
    checked.remove(&STATE, &[kind.into(), blob(name)])
}

/// The two numbers of a row of the table `state`.
pub(crate) fn numbers(db: &Connection, kind: i64, name: &[u8]) -> Result<Option<(i64, i64)>> {
    db.prepare_cached("SELECT one, two FROM state WHERE kind = ?1 AND name = ?2")?
        .query_row(rusqlite::params![kind, name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Reads a whole-number mark.
pub(crate) fn mark_integer(db: &Connection, name: &str) -> Result<Option<i64>> {
    Ok(numbers(db, MARK, name.as_bytes())?.map(|(number, _)| number))
}

/// Reads a mark of bytes.
pub(crate) fn mark_bytes(db: &Connection, name: &str) -> Result<Option<Vec<u8>>> {
    db.prepare_cached("SELECT value FROM state WHERE kind = ?1 AND name = ?2")?
        .query_row(rusqlite::params![MARK, name.as_bytes()], |row| row.get(0))
        .optional()
}

/// Sets a whole-number mark.
pub(crate) fn set_mark(checked: &mut Checked<'_>, name: &str, number: i64) -> Result<()> {
    put_state(checked, MARK, name.as_bytes(), (number, 0), Value::Null)
}

/// Sets the mark of the last position that was pruned, with that event's hash. The schema lets go of nothing behind it, and
/// reads the position as a number (`migrations/0003_append_only.sql`).
pub(crate) fn set_pruned(checked: &mut Checked<'_>, position: i64, hash: &[u8; 32]) -> Result<()> {
    let mut mark = position.to_be_bytes().to_vec();
    mark.extend_from_slice(hash);
    put_state(checked, MARK, PRUNED.as_bytes(), (position, 0), blob(&mark))
}

/// Removes a mark; says whether it was there.
pub(crate) fn drop_mark(checked: &mut Checked<'_>, name: &str) -> Result<bool> {
    remove_state(checked, MARK, name.as_bytes())
}

/// How far a copy of the replica is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// First change that is not applied.
    pub(crate) position: u64,
    /// The rows of `settings` and `passes` that belong to it.
    pub(crate) side: i64,
    /// The hash of the last chunk.
    pub(crate) head: Hash,
}

impl Progress {
    /// Nothing is applied.
    pub(crate) fn start(side: i64) -> Self {
        Self { position: 0, side, head: Hash::ZERO }
    }

    /// Reads what stands under a mark.
    pub(crate) fn read(db: &Connection, mark: &str) -> Result<Option<Self>> {
        let row: Option<(i64, i64, Vec<u8>)> = db
            .prepare_cached("SELECT one, two, value FROM state WHERE kind = ?1 AND name = ?2")?
            .query_row(rusqlite::params![MARK, mark.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((position, side, head)) = row else { return Ok(None) };
        Ok(Some(Self { position: position.cast_unsigned(), side, head: Hash(fixed(&head)?) }))
    }

    /// Writes it under a mark.
    pub(crate) fn write(&self, checked: &mut Checked<'_>, mark: &str) -> Result<()> {
        put_state(checked, MARK, mark.as_bytes(), (self.position.cast_signed(), self.side), blob(&self.head.0))
    }
}

/// How far the replica is that decides.
pub(crate) fn progress(db: &Connection) -> Result<Progress> {
    Ok(Progress::read(db, REPLICA)?.unwrap_or_else(|| Progress::start(0)))
}

/// The latest moment that something signed proves to have passed, Unix milliseconds.
pub(crate) fn proved_ms(db: &Connection) -> Result<Option<i64>> {
    Ok(mark_integer(db, FLOOR)?.max(mark_integer(db, AS_OF)?))
}

/// Bytes of a fixed length.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| {
        rusqlite::Error::FromSqlConversionFailure(
            0,
            Type::Blob,
            format!("{} bytes, {N} belong there", bytes.len()).into(),
        )
    })
}

/// A row of settings of one side, if there is one.
pub(crate) fn setting<T: Serialize + DeserializeOwned>(
    db: &Connection,
    side: i64,
    kind: i64,
    name: &[u8],
) -> Result<Option<T>> {
    let mut statement = db.prepare_cached("SELECT value FROM settings WHERE side = ?1 AND kind = ?2 AND name = ?3")?;
    let mut rows = statement.query(rusqlite::params![side, kind, name])?;
    match rows.next()? {
        None => Ok(None),
        Some(row) => decode(row.get_ref(0)?.as_blob()?).map(Some),
    }
}

/// All settings of one kind.
pub(crate) fn settings<T: Serialize + DeserializeOwned>(db: &Connection, side: i64, kind: i64) -> Result<Vec<T>> {
    let mut statement = db.prepare_cached("SELECT value FROM settings WHERE side = ?1 AND kind = ?2")?;
    let mut rows = statement.query([side, kind])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(decode(row.get_ref(0)?.as_blob()?)?);
    }
    Ok(found)
}

/// A gate from its bytes.
pub(crate) fn gate_of(bytes: [u8; 16]) -> GateId {
    GateId(Uuid::from_bytes(bytes))
}

/// A lane as a value.
pub(crate) fn lane_value(lane: Option<LaneId>) -> Value {
    lane.map_or(Value::Null, |lane| blob(lane.0.as_bytes()))
}
