//! Where an event stands in its device's hash chain, and how far the chain is held without a gap.

use gate_core::event::{Event, EventBody, Head};
use gate_core::ids::{EventId, Hash};

use super::{Source, alert};
use crate::store::{DbError, Tx, params};

/// Whether an event may take its place.
pub(super) enum Place {
    /// Nothing is there, and its neighbours fit.
    Free,
    /// This very event is there.
    Taken,
    /// It contradicts what is there.
    Fork(String),
}

/// Looks at an event's place and its neighbours.
pub(super) async fn place(tx: &mut Tx, source: &Source, event: &Event, hash: Hash) -> Result<Place, DbError> {
    let id = event.id;
    let from = i64::try_from(id.seq).unwrap_or(i64::MAX);
    let rows = tx
        .query(
            "SELECT seq, hash, previous FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq >= $4 AND seq <= $5",
            params![source.venue, id.device, id.epoch, from.saturating_sub(1), from.saturating_add(1)],
        )
        .await?;
    for row in rows {
        let (seq, there, previous): (i64, Hash, Hash) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if seq == from {
            if there == hash {
                return Ok(Place::Taken);
            }
            return Ok(Place::Fork("another event has this number already: the journal was rewritten".to_owned()));
        }
        let linked = if seq < from { event.previous == there } else { previous == hash };
        if !linked {
            return Ok(Place::Fork("it does not follow the event before it: one of the two was changed".to_owned()));
        }
    }
    let opens = matches!(event.body, EventBody::EpochOpened { .. });
    if opens != (id.seq == 0) {
        return Ok(Place::Fork("an epoch begins with its opening and with nothing else".to_owned()));
    }
    if let EventBody::EpochOpened { continues, .. } = &event.body
        && event.previous != continues.map_or(Hash::ZERO, |head| head.hash)
    {
        return Ok(Place::Fork("it does not follow the head that it names".to_owned()));
    }
    Ok(Place::Free)
}

/// Keeps an event whose place is free.
pub(super) async fn store(
    tx: &mut Tx,
    source: &Source,
    event: &Event,
    hash: Hash,
    bytes: &[u8],
) -> Result<(), DbError> {
    let id = event.id;
    tx.execute(
        "INSERT INTO events (venue_id, device_id, epoch, seq, hash, previous, gate_id, at_ms, received_ms, kind, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        params![source.venue, id.device, id.epoch, id.seq, hash, event.previous, event.gate, event.at.wall_ms, source.now_ms, kind(&event.body), bytes],
    )
    .await?;
    tx.execute(
        "INSERT INTO epochs (venue_id, device_id, epoch, upto, upto_hash, held, continues) VALUES ($1, $2, $3, -1, $4, 1, NULL) ON CONFLICT (venue_id, device_id, epoch) DO UPDATE SET held = epochs.held + 1",
        params![source.venue, id.device, id.epoch, Hash::ZERO],
    )
    .await?;
    Ok(())
}

/// Moves an epoch's contiguous prefix forward and gives its end.
pub(super) async fn advance(tx: &mut Tx, source: &Source, epoch: u64) -> Result<Option<Head>, DbError> {
    let row = tx
        .first(
            "SELECT upto, upto_hash FROM epochs WHERE venue_id = $1 AND device_id = $2 AND epoch = $3",
            params![source.venue, source.device, epoch],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let before: i64 = row.get(0)?;
    let (mut upto, mut hash): (i64, Hash) = (before, row.get(1)?);
    'held: loop {
        let rows = tx
            .query(
                "SELECT seq, hash FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq > $4 ORDER BY seq LIMIT 1000",
                params![source.venue, source.device, epoch, upto],
            )
            .await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            if row.get::<i64>(0)? != upto + 1 {
                break 'held;
            }
            upto += 1;
            hash = row.get(1)?;
        }
    }
    if upto != before {
        tx.execute(
            "UPDATE epochs SET upto = $1, upto_hash = $2 WHERE venue_id = $3 AND device_id = $4 AND epoch = $5",
            params![upto, hash, source.venue, source.device, epoch],
        )
        .await?;
    }
    Ok(u64::try_from(upto).ok().map(|seq| Head { event: EventId { device: source.device, epoch, seq }, hash }))
}

/// Compares the device's own word about its head with what is held, and keeps how much is still to come.
pub(super) async fn note_head(tx: &mut Tx, source: &Source, head: &Head) -> Result<(), DbError> {
    let id = head.event;
    let held = tx
        .first(
            "SELECT held FROM epochs WHERE venue_id = $1 AND device_id = $2 AND epoch = $3",
            params![source.venue, source.device, id.epoch],
        )
        .await?;
    let held: i64 = held.map(|row| row.get(0)).transpose()?.unwrap_or(0);
    let longest = tx
        .first(
            "SELECT seq, hash FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq >= $4 ORDER BY seq DESC LIMIT 1",
            params![source.venue, source.device, id.epoch, id.seq],
        )
        .await?;
    if let Some(row) = longest {
        let (seq, hash): (u64, Hash) = (row.get(0)?, row.get(1)?);
        if seq > id.seq {
            alert(tx, source, "journal_shorter", &format!("the device says {id}, event {seq} of that epoch is held"))
                .await?;
        } else if hash != head.hash {
            alert(tx, source, "fork", &format!("the device says {id} has another hash than the event that is held"))
                .await?;
        }
    }
    let written = i64::try_from(id.seq).unwrap_or(i64::MAX).saturating_add(1);
    tx.execute(
        "UPDATE devices SET pending = $1 WHERE venue_id = $2 AND device_id = $3",
        params![written.saturating_sub(held).max(0), source.venue, source.device],
    )
    .await?;
    if written <= held {
        // All that it wrote is here: what it did before the changes it has applied is counted.
        tx.execute(
            "UPDATE devices SET settled = pulled WHERE venue_id = $1 AND device_id = $2",
            params![source.venue, source.device],
        )
        .await?;
    }
    Ok(())
}

/// A second child of one head is a fork: the device's card was copied or set back.
pub(super) async fn note_opening(
    tx: &mut Tx,
    source: &Source,
    id: EventId,
    continues: Option<Head>,
) -> Result<(), DbError> {
    let named = continues.map_or_else(|| "nothing".to_owned(), |head| format!("{} {}", head.event, head.hash));
    let others = tx
        .number(
            "SELECT COUNT(*) FROM epochs WHERE venue_id = $1 AND device_id = $2 AND continues = $3 AND epoch <> $4",
            params![source.venue, source.device, named.as_str(), id.epoch],
        )
        .await?;
    if others > 0 {
        alert(tx, source, "fork", &format!("two journals continue {named}: {id} is the second")).await?;
    }
    tx.execute(
        "UPDATE epochs SET continues = $1 WHERE venue_id = $2 AND device_id = $3 AND epoch = $4",
        params![named, source.venue, source.device, id.epoch],
    )
    .await
    .map(|_| ())
}

/// A name for queries and reports.
fn kind(body: &EventBody) -> &'static str {
    match body {
        EventBody::EpochOpened { .. } => "epoch_opened",
        EventBody::Authorised { .. } => "authorised",
        EventBody::Opened { .. } => "opened",
        EventBody::NotOpened { .. } => "not_opened",
        EventBody::Passed { .. } => "passed",
        EventBody::Annulled { .. } => "annulled",
        EventBody::Refused { .. } => "refused",
        EventBody::Noise { .. } => "noise",
        EventBody::Repeated { .. } => "repeated",
        EventBody::Overridden { .. } => "overridden",
        EventBody::ExitButton { .. } => "exit_button",
        EventBody::Fire { .. } => "fire",
        EventBody::Recounted(_) => "recounted",
        EventBody::Health { .. } => "health",
        EventBody::ClockStepped(_) => "clock_stepped",
        EventBody::LaneClosed { .. } => "lane_closed",
    }
}
