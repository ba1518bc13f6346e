//! Every aggregate made anew from the facts.
//!
//! What people see, what gates are told and what is in the inbox follows from the stored events. So it can be dropped at
//! any time: after a mistake in this program, after a migration, or to prove that it is right. The facts themselves,
//! what people decided about conflicts, and what was already told to gates stay as they are.

use gate_core::canonical;
use gate_core::event::Event;
use gate_core::ids::{DeviceId, VenueId, ZoneId};
use gate_core::occupancy::Basis;
use gate_core::sync::v1::Change;

use super::{News, Refusal, Source, apply, chain, counts, push};
use crate::app::App;
use crate::conflict;
use crate::problem::ApiError;
use crate::replica;
use crate::routes::venue_row;
use crate::store::{DbError, Tx, params};

/// Events that are read at once.
const PAGE: i64 = 1000;

/// What a rebuild found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// Events that were applied again.
    pub events: u64,
    /// Zones: name, the number before, the number now.
    pub zones: Vec<(String, u32, u32)>,
}

/// Makes everything anew that follows from the events of a venue, and tells gates of the numbers that were wrong.
pub async fn rebuild(tx: &mut Tx, app: &App, venue: VenueId) -> Result<Rebuilt, ApiError> {
    let zones = tx
        .query("SELECT zone_id, name FROM zones WHERE venue_id = $1 ORDER BY created_ms, zone_id", params![venue])
        .await?;
    let zones: Vec<(ZoneId, String)> =
        zones.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect::<Result<_, DbError>>()?;
    let mut before = Vec::new();
    for (zone, _) in &zones {
        before.push(counts::tally(tx, venue, *zone).await?);
    }
    forget(tx, venue).await?;
    let events = again(tx, app, venue).await?;
    let (mut changes, mut told) = (Vec::new(), Vec::new());
    for ((zone, name), before) in zones.into_iter().zip(before) {
        let after = counts::settle(tx, venue, zone).await?;
        counts::note_conditions(tx, venue, zone, None, app.now_ms()).await?;
        told.push((name, counts::merged(&before).occupancy(), counts::merged(&after).occupancy()));
        if before != after {
            changes.push(Change::Count(after));
        }
    }
    replica::publish(tx, app.master(), venue, changes).await?;
    Ok(Rebuilt { events, zones: told })
}

/// Every venue, one transaction each.
pub async fn rebuild_all(app: &App) -> Result<Vec<(String, Rebuilt)>, ApiError> {
    let rows = app
        .db()
        .read(async |tx| tx.query("SELECT venue_id, name FROM venues ORDER BY created_ms, venue_id", &[]).await)
        .await?;
    let mut done = Vec::new();
    for row in rows {
        let venue: VenueId = row.get(0)?;
        let rebuilt = app.change(venue, async |tx| rebuild(tx, app, venue).await).await?;
        done.push((row.get(1)?, rebuilt));
    }
    app.db()
        .write(async |tx| tx.execute("DELETE FROM settings WHERE name = 'rebuild'", &[]).await.map(|_| ()))
        .await
        .map_err(|error: DbError| error.into())
        .map(|()| done)
}

/// After a migration that changed what is kept beside the facts.
pub async fn rebuild_if_needed(app: &App) -> Result<(), ApiError> {
    let needed = app
        .db()
        .read(async |tx| tx.number("SELECT COUNT(*) FROM settings WHERE name = 'rebuild'", &[]).await)
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    if needed > 0 {
        tracing::info!("the database was brought up to date; its numbers are made anew from the events");
        rebuild_all(app).await?;
    }
    Ok(())
}

async fn forget(tx: &mut Tx, venue: VenueId) -> Result<(), DbError> {
    for sql in [
        "DELETE FROM openings WHERE venue_id = $1",
        "DELETE FROM waiting WHERE venue_id = $1",
        "DELETE FROM uses WHERE venue_id = $1",
        "DELETE FROM passages WHERE venue_id = $1",
        "DELETE FROM tallies WHERE venue_id = $1",
        "DELETE FROM doubts WHERE venue_id = $1",
        "DELETE FROM recounts WHERE venue_id = $1",
        "DELETE FROM zone_days WHERE venue_id = $1",
        "DELETE FROM rates WHERE venue_id = $1",
        "DELETE FROM refusals WHERE venue_id = $1",
        "DELETE FROM health WHERE venue_id = $1",
        "DELETE FROM epochs WHERE venue_id = $1",
        "UPDATE devices SET clock_trust = NULL, clock_at_ms = 0, software_at_ms = 0 WHERE venue_id = $1",
    ] {
        tx.execute(sql, params![venue]).await?;
    }
    tx.execute("UPDATE zones SET basis = $1 WHERE venue_id = $2", params![canonical::encode(&Basis::START), venue])
        .await?;
    conflict::forget_derived(tx, venue).await
}

/// Applies every event again: recounts first, because whether an exit is late depends on those that came before it.
async fn again(tx: &mut Tx, app: &App, venue: VenueId) -> Result<u64, DbError> {
    let mut source = Source {
        venue,
        device: DeviceId(uuid::Uuid::nil()),
        gate: gate_core::ids::GateId(uuid::Uuid::nil()),
        day_rule: venue_row(tx, venue).await?.day_rule,
        received_ms: app.now_ms(),
        live: false,
    };
    let mut events = 0;
    for recounts in [true, false] {
        let (mut device, mut epoch, mut seq) = (String::new(), -1i64, -1i64);
        let mut news = News::default();
        loop {
            let rows = tx
                .query(
                    "SELECT device_id, epoch, seq, bytes, received_ms FROM events WHERE venue_id = $1 AND (device_id, epoch, seq) > ($2, $3, $4) AND (kind = 'recounted') = $5 ORDER BY device_id, epoch, seq LIMIT $6",
                    params![venue, device.as_str(), epoch, seq, recounts, PAGE],
                )
                .await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let from: String = row.get(0)?;
                if from != device {
                    finish(tx, &source, &mut news).await?;
                }
                (device, epoch, seq) = (from, row.get(1)?, row.get(2)?);
                let event = Event::decode(&row.get::<Vec<u8>>(3)?)
                    .map_err(|error| DbError::Statement(format!("a stored event can't be read again: {error}")))?;
                (source.device, source.gate, source.received_ms) = (event.id.device, event.gate, row.get(4)?);
                chain::note_held(tx, &source, event.id).await?;
                match apply::apply(tx, &source, &event, &mut news).await {
                    Ok(()) => events += 1,
                    Err(Refusal::Db(error)) => return Err(error),
                    Err(Refusal::Park(why) | Refusal::Fork(why)) => {
                        return Err(DbError::Statement(format!("event {} can't be applied again: {why}", event.id)));
                    }
                }
            }
        }
        finish(tx, &source, &mut news).await?;
    }
    let epochs = tx
        .query("SELECT device_id, epoch FROM epochs WHERE venue_id = $1 ORDER BY device_id, epoch", params![venue])
        .await?;
    for row in epochs {
        source.device = row.get(0)?;
        let gate = tx
            .first("SELECT gate_id FROM devices WHERE venue_id = $1 AND device_id = $2", params![venue, source.device])
            .await?;
        if let Some(gate) = gate {
            source.gate = gate.get(0)?;
        }
        chain::check_children(tx, &source, row.get(1)?, &mut News::default()).await?;
        chain::advance(tx, &source, row.get(1)?).await?;
    }
    Ok(events)
}

/// What a push does at its end, without telling anybody.
async fn finish(tx: &mut Tx, source: &Source, news: &mut News) -> Result<(), DbError> {
    news.zones.clear();
    push::finish(tx, source, news).await.map(|_| ())
}
