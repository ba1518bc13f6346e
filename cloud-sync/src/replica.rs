//! What gates are told: changes as one chain of signed chunks per venue, the same for every gate.
//!
//! A chunk is written in the transaction that made its changes, so that no gate can hear of what was rolled back and
//! none can miss what was committed. A chunk never changes once written: gates hold its hash.

use gate_core::ids::{Hash, VenueId};
use gate_core::sync::v1::{AsOf, CHUNK_LIMIT, Change, Chunk, Pull, PullReply, Signed};
use serde_bytes::ByteBuf;

use crate::auth::AnyDevice;
use crate::keys::{self, KeyError, Master, Role};
use crate::problem::ApiError;
use crate::store::{DbError, Tx, params};

/// Most bytes of chunks in one answer; a gate asks again for the rest.
const REPLY_BYTES: usize = 512 * 1024;
/// Most chunks in one answer.
const REPLY_CHUNKS: i64 = 64;

/// How far the chain of a venue reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The next change gets this number.
    pub next: u64,
    /// The hash of the last chunk.
    pub head: Hash,
}

/// Where the chain stands.
pub async fn position(tx: &mut Tx, venue: VenueId) -> Result<Position, DbError> {
    let row = tx
        .first(
            "SELECT to_position, hash FROM chunks WHERE venue_id = $1 ORDER BY from_position DESC LIMIT 1",
            params![venue],
        )
        .await?;
    match row {
        Some(row) => Ok(Position { next: row.get(0)?, head: row.get(1)? }),
        None => Ok(Position { next: 0, head: Hash::ZERO }),
    }
}

/// Appends changes to the chain, signed, and says where it then stands.
pub async fn publish(tx: &mut Tx, master: &Master, venue: VenueId, changes: Vec<Change>) -> Result<u64, KeyError> {
    let mut at = position(tx, venue).await?;
    if changes.is_empty() {
        return Ok(at.next);
    }
    let key = keys::load(tx, master, venue, Role::Settings).await?;
    let mut rest = changes.into_iter().peekable();
    while rest.peek().is_some() {
        let changes: Vec<Change> = rest.by_ref().take(CHUNK_LIMIT).collect();
        let to = at.next + changes.len() as u64;
        let chunk = Chunk { venue, from: at.next, to, previous: at.head, changes };
        let hash = chunk.hash();
        tx.execute(
            "INSERT INTO chunks (venue_id, from_position, to_position, hash, bytes) VALUES ($1, $2, $3, $4, $5)",
            params![venue, chunk.from, chunk.to, hash, chunk.sign(&key)],
        )
        .await?;
        at = Position { next: to, head: hash };
    }
    Ok(at.next)
}

/// Keeps up to which change a device has applied what it was told.
pub async fn note_pull(tx: &mut Tx, device: &AnyDevice, position: u64) -> Result<(), DbError> {
    tx.execute(
        "UPDATE devices SET pulled = $1 WHERE venue_id = $2 AND device_id = $3 AND pulled <> $1",
        params![position, device.venue, device.device],
    )
    .await
    .map(|_| ())
}

/// Answers a gate that asks what changed.
pub async fn answer(
    tx: &mut Tx,
    master: &Master,
    venue: VenueId,
    pull: &Pull,
    now_ms: i64,
) -> Result<PullReply, ApiError> {
    let known = if pull.position == 0 {
        pull.head == Hash::ZERO
    } else {
        tx.first("SELECT hash FROM chunks WHERE venue_id = $1 AND to_position = $2", params![venue, pull.position])
            .await?
            .map(|row| row.get::<Hash>(0))
            .transpose()?
            == Some(pull.head)
    };
    if !known {
        return Err(ApiError::conflict(
            "replica_ahead",
            "The gate knows changes that this service never made: it was restored from an older backup, or the gate belongs to another one. Enrol the gate again.",
        ));
    }
    let rows = tx
        .query(
            "SELECT to_position, hash, bytes FROM chunks WHERE venue_id = $1 AND from_position >= $2 ORDER BY from_position LIMIT $3",
            params![venue, pull.position, REPLY_CHUNKS],
        )
        .await?;
    let mut at = Position { next: pull.position, head: pull.head };
    let mut chunks: Vec<ByteBuf> = Vec::new();
    let mut size = 0;
    for row in rows {
        let bytes: Vec<u8> = row.get(2)?;
        if !chunks.is_empty() && size + bytes.len() > REPLY_BYTES {
            break;
        }
        size += bytes.len();
        at = Position { next: row.get(0)?, head: row.get(1)? };
        chunks.push(ByteBuf::from(bytes));
    }
    let more = at != position(tx, venue).await?;
    let as_of = if more {
        None
    } else {
        let key = keys::load(tx, master, venue, Role::Settings).await?;
        let as_of = AsOf { venue, position: at.next, head: at.head, as_of_ms: now_ms };
        Some(ByteBuf::from(as_of.sign(&key)))
    };
    Ok(PullReply { chunks, as_of, more })
}
