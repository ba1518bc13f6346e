//! What gates are told: changes as one chain of signed chunks per venue, the same for every gate.
//!
//! A chunk is written in the transaction that made its changes, so that no gate can hear of what was rolled back and
//! none can miss what was committed. A chunk never changes once written: gates hold its hash.

use gate_core::ids::{DeviceId, Hash, VenueId};
use gate_core::statement::{ChainCut, StatementBody, TimeReset};
use gate_core::sync::plausible;
use gate_core::sync::v1::{AsOf, CHUNK_LIMIT, Change, Chunk, Pull, PullReply, Signed};
use serde_bytes::ByteBuf;

use crate::app::App;
use crate::auth::AnyDevice;
use crate::conflict::{self, Finding, Kind};
use crate::keys::{self, KeyError, Master, Role};
use crate::office;
use crate::problem::ApiError;
use crate::store::{DbError, Tx, params};

/// Most bytes of chunks in one answer; a gate asks again for the rest.
const REPLY_BYTES: usize = 512 * 1024;
/// Most chunks in one answer.
const REPLY_CHUNKS: i64 = 64;
/// A device gets a new word that its place is void at most this often, milliseconds.
const CUT_EVERY_MS: i64 = 60_000;

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
pub async fn publish(tx: &mut Tx, master: &Master, venue: VenueId, mut changes: Vec<Change>) -> Result<u64, KeyError> {
    let mut at = position(tx, venue).await?;
    // A gate that refuses one change applies none after it. What a device made us say is not worth that.
    changes.retain(|change| {
        plausible::check(change)
            .inspect_err(|why| tracing::error!(venue.id = %venue, %why, "a change that gates would refuse is not told"))
            .is_ok()
    });
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
    .await?;
    if position > 0 {
        return Ok(());
    }
    // It begins again, as it was asked to.
    tx.execute(
        "UPDATE devices SET must_restart = 0 WHERE venue_id = $1 AND device_id = $2 AND must_restart = 1",
        params![device.venue, device.device],
    )
    .await
    .map(|_| ())
}

/// What to say to a gate that asks what changed.
pub enum Answer {
    /// This follows what it has.
    Follows(PullReply),
    /// It has something that this service does not know, or no longer stands by.
    Unknown,
}

/// Answers a gate that asks what changed.
pub async fn answer(tx: &mut Tx, app: &App, device: &AnyDevice, pull: &Pull) -> Result<Answer, ApiError> {
    let venue = device.venue;
    let known = if pull.position == 0 {
        pull.head == Hash::ZERO
    } else {
        tx.first("SELECT hash FROM chunks WHERE venue_id = $1 AND to_position = $2", params![venue, pull.position])
            .await?
            .map(|row| row.get::<Hash>(0))
            .transpose()?
            == Some(pull.head)
    };
    if !known || (pull.position > 0 && must_restart(tx, device).await?) {
        return Ok(Answer::Unknown);
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
        let key = keys::load(tx, app.master(), venue, Role::Settings).await?;
        let as_of = AsOf { venue, position: at.next, head: at.head, as_of_ms: app.now_ms() };
        Some(ByteBuf::from(as_of.sign(&key)))
    };
    Ok(Answer::Follows(PullReply { chunks, as_of, more }))
}

async fn must_restart(tx: &mut Tx, device: &AnyDevice) -> Result<bool, DbError> {
    let asked = tx
        .number(
            "SELECT must_restart FROM devices WHERE venue_id = $1 AND device_id = $2",
            params![device.venue, device.device],
        )
        .await?;
    Ok(asked > 0)
}

/// Answers a gate whose place in the chain is not known here: the service was restored from a backup. Only the venue's
/// root can make a gate begin again, so the answer carries its word; the same word for the same place.
pub async fn cut(tx: &mut Tx, app: &App, device: &AnyDevice, pull: &Pull) -> Result<ApiError, ApiError> {
    let (venue, now_ms) = (device.venue, app.now_ms());
    let problem = ApiError::conflict(
        "replica_ahead",
        "The gate knows changes that this service does not: the service was restored from a backup. The statement lets the gate take everything anew; what it recorded it sends again.",
    );
    let known = tx
        .first(
            "SELECT bytes FROM cuts WHERE venue_id = $1 AND position = $2 AND head = $3",
            params![venue, pull.position, pull.head],
        )
        .await?;
    if let Some(row) = known {
        return Ok(problem.with_statement(Some(&row.get::<Vec<u8>>(0)?)));
    }
    // A device that names ever new places gets a word for one of them a minute.
    let allowed = tx
        .execute(
            "UPDATE devices SET cut_ms = $1 WHERE venue_id = $2 AND device_id = $3 AND cut_ms <= $4",
            params![now_ms, venue, device.device, now_ms - CUT_EVERY_MS],
        )
        .await?;
    if allowed == 0 || i64::try_from(pull.position).is_err() {
        return Ok(problem.with_header("retry-after", (CUT_EVERY_MS / 1000).to_string()));
    }
    let body = StatementBody::Chain(ChainCut { position: pull.position, head: pull.head });
    // Above every number that may have been given between the backup and now.
    let least = u64::try_from(now_ms.div_euclid(1000)).unwrap_or(0);
    let bytes = keys::state_above(tx, app.master(), venue, body, least).await?;
    tx.execute(
        "INSERT INTO cuts (venue_id, position, head, bytes, made_ms) VALUES ($1, $2, $3, $4, $5)",
        params![venue, pull.position, pull.head, bytes.clone(), now_ms],
    )
    .await?;
    office::begin_anew(tx, venue).await?;
    let ours = position(tx, venue).await?;
    let text = format!(
        "a gate has applied {} changes that end with {}; this service has {}: it was restored from a backup, and gates send again what it lost",
        pull.position, pull.head, ours.next
    );
    let mut finding = Finding::new(Kind::CloudRestored, format!("{} {}", pull.position, pull.head), text, now_ms);
    finding.gate = Some(device.gate);
    finding.device = Some(device.device);
    finding.events = vec![format!("{} {}", pull.position, pull.head)];
    finding.against = vec![format!("{} {}", ours.next, ours.head)];
    conflict::raise(tx, venue, &finding).await?;
    Ok(problem.with_statement(Some(&bytes)))
}

/// The beginning of a device's epoch is lost here, and the device holds it for acknowledged: it begins again, and so
/// sends everything it keeps. Once for each epoch, because what it no longer keeps stays lost.
pub async fn ask_again(tx: &mut Tx, venue: VenueId, device: DeviceId, epoch: u64) -> Result<(), DbError> {
    let asked = tx
        .execute(
            "UPDATE devices SET must_restart = 1, restart_for = $1 WHERE venue_id = $2 AND device_id = $3 AND COALESCE(restart_for, -1) <> $1",
            params![epoch, venue, device],
        )
        .await?;
    if asked > 0 {
        tx.execute("DELETE FROM cuts WHERE venue_id = $1", params![venue]).await?;
    }
    Ok(())
}

/// Tells the venue's gates, under its root, that signed time was wrong and that nothing is known to have passed but this,
/// Unix milliseconds.
pub async fn take_time_back(tx: &mut Tx, master: &Master, venue: VenueId, floor_ms: i64) -> Result<(), ApiError> {
    // Above every number that a backup may have forgotten.
    let least = u64::try_from(floor_ms.div_euclid(1000)).unwrap_or(0);
    let statement = keys::state_above(tx, master, venue, StatementBody::Time(TimeReset { floor_ms }), least).await?;
    publish(tx, master, venue, vec![Change::Statement(ByteBuf::from(statement))]).await?;
    Ok(())
}

/// An operator says that the service was restored: every gate takes the whole chain anew and sends again what it keeps.
/// Says how many gates that concerns.
pub async fn restored(tx: &mut Tx, venue: VenueId) -> Result<usize, DbError> {
    office::begin_anew(tx, venue).await?;
    tx.execute("DELETE FROM cuts WHERE venue_id = $1", params![venue]).await?;
    tx.execute(
        "UPDATE devices SET must_restart = 1, cut_ms = 0 WHERE venue_id = $1 AND revoked_ms IS NULL",
        params![venue],
    )
    .await
}
