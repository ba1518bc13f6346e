//! How ids stand in the database: fixed bytes for names, whole numbers for what grows.

use gate_core::ids::{DeviceId, EventId, GateId, Hash, LaneId, PassId};
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::checked::{Checked, EPOCHS, MARKS};

/// Mark: up to which change the replica was applied.
pub(crate) const POSITION: &str = "position";
/// Mark: the hash of the last chunk.
pub(crate) const HEAD: &str = "head";
/// Mark: how new the replica is, Unix milliseconds.
pub(crate) const AS_OF: &str = "as_of_ms";
/// Mark: grows with every statement that was taken.
pub(crate) const KEYRING: &str = "keyring_version";
/// Mark: the time floor, Unix milliseconds.
pub(crate) const FLOOR: &str = "floor_ms";
/// Mark: the signed receipt after which the journal begins since it was pruned.
pub(crate) const PRUNED: &str = "pruned_after";

/// Kinds of rows in the table `settings`.
pub(crate) const VENUE: i64 = 1;
pub(crate) const ZONE: i64 = 2;
pub(crate) const GATE: i64 = 3;
pub(crate) const VENDOR: i64 = 4;
pub(crate) const PRODUCT: i64 = 5;

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
    db.prepare("SELECT ordinal, device, epoch, first FROM epochs ORDER BY first")?
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

/// An event id from its key.
pub(crate) fn event_of(key: [u8; 32]) -> EventId {
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let device = key[..16].iter().fold(0u128, |sum, byte| sum << 8 | u128::from(*byte));
    EventId { device: DeviceId(Uuid::from_u128(device)), epoch: number(&key[16..24]), seq: number(&key[24..]) }
}

/// Reads canonical bytes of a stored row.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    gate_core::canonical::decode(bytes)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(e)))
}

/// Reads a whole-number mark.
pub(crate) fn mark_integer(db: &Connection, name: &str) -> Result<Option<i64>> {
    db.prepare_cached("SELECT value FROM marks WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()
}

/// Reads a mark of bytes.
pub(crate) fn mark_bytes(db: &Connection, name: &str) -> Result<Option<Vec<u8>>> {
    db.prepare_cached("SELECT value FROM marks WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()
}

/// Sets a mark.
pub(crate) fn set_mark(checked: &mut Checked<'_>, name: &str, value: Value) -> Result<()> {
    checked.put(&MARKS, &[Value::Text(name.to_owned()), value])
}

/// The latest moment that something signed proves to have passed, Unix milliseconds.
pub(crate) fn proved_ms(db: &Connection) -> Result<Option<i64>> {
    Ok(mark_integer(db, FLOOR)?.max(mark_integer(db, AS_OF)?))
}

/// The replica's position and the hash of its last chunk.
pub(crate) fn progress(db: &Connection) -> Result<(u64, Hash)> {
    let position = mark_integer(db, POSITION)?.unwrap_or(0).cast_unsigned();
    let head = match mark_bytes(db, HEAD)? {
        None => Hash::ZERO,
        Some(bytes) => Hash(fixed(&bytes)?),
    };
    Ok((position, head))
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

/// A row of settings, if there is one.
pub(crate) fn setting<T: Serialize + DeserializeOwned>(db: &Connection, kind: i64, name: &[u8]) -> Result<Option<T>> {
    let mut statement = db.prepare_cached("SELECT value FROM settings WHERE kind = ?1 AND name = ?2")?;
    let mut rows = statement.query(rusqlite::params![kind, name])?;
    match rows.next()? {
        None => Ok(None),
        Some(row) => decode(row.get_ref(0)?.as_blob()?).map(Some),
    }
}

/// All settings of one kind.
pub(crate) fn settings<T: Serialize + DeserializeOwned>(db: &Connection, kind: i64) -> Result<Vec<T>> {
    let mut statement = db.prepare_cached("SELECT value FROM settings WHERE kind = ?1")?;
    let mut rows = statement.query([kind])?;
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
