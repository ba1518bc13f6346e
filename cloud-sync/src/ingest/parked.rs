//! Items kept aside: each with its bytes, its reason, and the conflict that tells somebody.

use std::collections::BTreeSet;

use gate_core::event::{self, Event};
use gate_core::ids::{DeviceId, EventId, Hash, VenueId};
use gate_core::mutant::{self, Mutant};
use gate_core::sync::v1::{Change, ItemOutcome};

use super::{News, Source, chain, push, raise};
use crate::conflict::{self, Kind};
use crate::problem::ApiError;
use crate::routes::venue_row;
use crate::store::{DbError, Tx, params};

/// Items of one device that are kept aside at most; beyond that it only fills the disk.
const LIMIT: i64 = 10_000;
/// When a device whose room is full may try again, seconds.
const FULL_RETRY_S: i64 = 600;

/// Why an item is kept aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// It can't be applied.
    Poison,
    /// It belongs to a second history.
    Fork,
    /// Its device is fenced.
    Fenced,
    /// Its device is withdrawn.
    Withdrawn,
}

/// How many more items of this device may be kept aside.
pub(super) async fn room(tx: &mut Tx, source: &Source) -> Result<i64, DbError> {
    let kept = tx
        .number(
            "SELECT COUNT(*) FROM parked WHERE venue_id = $1 AND device_id = $2",
            params![source.venue, source.device],
        )
        .await?;
    Ok(LIMIT - kept)
}

/// A device that only sends what can't be applied is asked to wait; nothing of it is lost, because nothing is answered.
pub(super) async fn check_room(tx: &mut Tx, source: &Source) -> Result<(), ApiError> {
    if room(tx, source).await? > 0 {
        return Ok(());
    }
    Err(ApiError::new(
        axum::http::StatusCode::TOO_MANY_REQUESTS,
        "parked_full",
        "Too much of this device is kept aside",
        format!("{LIMIT} of its items could not be applied. A manager must look at the inbox before more are taken."),
    )
    .with_header("retry-after", FULL_RETRY_S.to_string()))
}

/// Notes that a different item came in.
pub(super) async fn came_in(tx: &mut Tx, venue: VenueId, applied: bool) -> Result<(), DbError> {
    tx.execute(
        "UPDATE venues SET events_in = events_in + 1, applied = applied + $1 WHERE venue_id = $2",
        params![applied, venue],
    )
    .await
    .map(|_| ())
}

/// Keeps an item aside; false if it is kept already.
pub(super) async fn park(tx: &mut Tx, source: &Source, bytes: &[u8], reason: &str, why: Why) -> Result<bool, DbError> {
    let hash = event::hash(bytes);
    let event = Event::decode(bytes).ok().filter(|event| event.id.device == source.device);
    let place =
        event.as_ref().map(|event| event.id).filter(|id| id.epoch <= i64::MAX as u64 && id.seq <= i64::MAX as u64);
    let finding = match why {
        Why::Poison => {
            let mut finding =
                source.finding(Kind::Poison, hash.to_string(), format!("an item is kept aside: {reason}"));
            finding.events = vec![hash.to_string()];
            Some(finding)
        }
        Why::Withdrawn => {
            let text =
                format!("device {} was withdrawn and goes on sending; what it sends is kept aside", source.device);
            Some(source.finding(Kind::WithdrawnDevice, source.device.to_string(), text))
        }
        // The fork itself is in the inbox.
        Why::Fork | Why::Fenced => None,
    };
    let conflict = match &finding {
        Some(finding) => Some(finding.id()),
        None => fence_of(tx, source).await?,
    };
    let new = if mutant::active(Mutant::DropPoison) {
        1
    } else {
        tx.execute(
            "INSERT INTO parked (venue_id, device_id, hash, reason, bytes, received_ms, epoch, seq, chained, conflict_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (venue_id, device_id, hash) DO NOTHING",
            params![
                source.venue, source.device, hash, reason, bytes, source.received_ms, place.map(|id| id.epoch),
                place.map(|id| id.seq), why == Why::Poison && place.is_some(), conflict
            ],
        )
        .await?
    };
    if new == 0 {
        return Ok(false);
    }
    tracing::warn!(gate.id = %source.gate, device.id = %source.device, reason, "an event was parked");
    came_in(tx, source.venue, false).await?;
    if let Some(finding) = finding {
        raise(tx, source, &finding).await?;
    }
    Ok(true)
}

async fn fence_of(tx: &mut Tx, source: &Source) -> Result<Option<String>, DbError> {
    let row = tx
        .first(
            "SELECT fenced_for FROM devices WHERE venue_id = $1 AND device_id = $2",
            params![source.venue, source.device],
        )
        .await?;
    row.map_or(Ok(None), |row| row.get(0))
}

/// An item was applied; if it was kept aside before, it is no longer.
pub(super) async fn taken(tx: &mut Tx, source: &Source, hash: Hash) -> Result<(), DbError> {
    let before = tx
        .execute(
            "DELETE FROM parked WHERE venue_id = $1 AND device_id = $2 AND hash = $3",
            params![source.venue, source.device, hash],
        )
        .await?;
    if before == 0 {
        return came_in(tx, source.venue, true).await;
    }
    tx.execute("UPDATE venues SET applied = applied + 1 WHERE venue_id = $1", params![source.venue]).await?;
    conflict::withdraw(tx, source.venue, Kind::Poison, &hash.to_string()).await
}

/// Tries again to apply what is kept aside of a device: one item, or all. Says how many were applied, and what gates
/// must be told.
pub async fn retry(
    tx: &mut Tx,
    venue: VenueId,
    device: DeviceId,
    one: Option<Hash>,
    now_ms: i64,
) -> Result<(usize, Vec<Change>), DbError> {
    let row =
        tx.first("SELECT gate_id FROM devices WHERE venue_id = $1 AND device_id = $2", params![venue, device]).await?;
    let Some(row) = row else { return Ok((0, vec![])) };
    let source = Source {
        venue,
        device,
        gate: row.get(0)?,
        day_rule: venue_row(tx, venue).await?.day_rule,
        received_ms: now_ms,
        live: true,
    };
    let rows = tx
        .query(
            "SELECT bytes, hash FROM parked WHERE venue_id = $1 AND device_id = $2 ORDER BY epoch, seq, hash",
            params![venue, device],
        )
        .await?;
    let (mut news, mut epochs, mut applied) = (News::default(), BTreeSet::new(), 0);
    for row in rows {
        if one.is_some_and(|one| row.get::<Hash>(1).ok() != Some(one)) {
            continue;
        }
        let outcome = push::item(tx, &source, &row.get::<Vec<u8>>(0)?, &mut news, &mut epochs).await?;
        applied += usize::from(outcome == ItemOutcome::Created);
    }
    for epoch in epochs {
        chain::check_children(tx, &source, epoch, &mut news).await?;
        chain::advance(tx, &source, epoch).await?;
    }
    Ok((applied, push::finish(tx, &source, &mut news).await?))
}

/// The next item of an epoch that counts as held although it is kept aside.
pub(super) async fn chained(tx: &mut Tx, source: &Source, id: EventId) -> Result<Option<Hash>, DbError> {
    let rows = tx
        .query(
            "SELECT hash FROM parked WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq = $4 AND chained = 1 LIMIT 2",
            params![source.venue, id.device, id.epoch, id.seq],
        )
        .await?;
    match rows.as_slice() {
        [row] => row.get(0).map(Some),
        _ => Ok(None),
    }
}
