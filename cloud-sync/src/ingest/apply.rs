//! What an event means for the numbers people see and for what other gates must know.

use gate_core::event::{self, Event, EventBody, Part};
use gate_core::ids::{Direction, EventId, GateId, ZoneId};
use gate_core::mutant::{self, Mutant};
use gate_core::reason::Reason;
use gate_core::time::Trust;

use super::openings::{self, Opening, Word};
use super::{News, Refusal, Source, chain, counts, raise, uses};
use crate::conflict::Kind;
use crate::live::BUCKET_MS;
use crate::store::{DbError, Tx, params};

/// An event dated further ahead of our clock than this shows a wrong clock, milliseconds.
const AHEAD_MS: i64 = 10 * 60 * 1000;
/// Zones that one way leads through at most.
const ZONES: usize = 16;
/// Recount generations that can be reached by counting.
const GENERATIONS: u64 = 1 << 40;
/// Journals that a recount names at most.
const FRONTIER: usize = 10_000;

/// Applies an event that was just stored.
pub(super) async fn apply(tx: &mut Tx, source: &Source, event: &Event, news: &mut News) -> Result<(), Refusal> {
    note_clock(tx, source, event, news).await?;
    let id = event.id;
    match &event.body {
        EventBody::EpochOpened { continues, software } => {
            let software: String = software.chars().take(200).collect();
            tx.execute(
                "UPDATE devices SET software = $1, software_at_ms = $2 WHERE venue_id = $3 AND device_id = $4 AND software_at_ms <= $2",
                params![software, event.at.wall_ms, source.venue, source.device],
            )
            .await?;
            chain::note_opening(tx, source, id, *continues, news).await?;
        }
        EventBody::Authorised { input, admission, .. } => {
            // What was said of the opening before it came may annul the use, so that is kept first.
            uses::add(tx, source, event, (input, admission), news).await?;
            opening(tx, source, event, news).await?;
            if let Some(first) = event::takes_over(event)
                && !mutant::active(Mutant::PlaceKept)
            {
                openings::hear(tx, source, first, id, Word::TakenOver, news).await?;
            }
        }
        EventBody::Overridden { .. } | EventBody::ExitButton { .. } => opening(tx, source, event, news).await?,
        EventBody::Annulled { of } => openings::hear(tx, source, *of, id, Word::Taken, news).await?,
        EventBody::NotOpened { of, .. } => {
            // A relay of which nobody knows whether it moved takes nothing back.
            if event::taken_back(&event.body).is_some() {
                openings::hear(tx, source, *of, id, Word::Taken, news).await?;
            }
        }
        EventBody::Opened { of, watched } => {
            let word = if *watched { Word::Watched } else { Word::Opened };
            openings::hear(tx, source, *of, id, word, news).await?;
        }
        EventBody::Passed { of: Some(of), .. } => openings::hear(tx, source, *of, id, Word::Passed, news).await?,
        EventBody::Refused { reason, .. } | EventBody::Noise { reason, .. } => {
            refused(tx, source, event, *reason, 1).await?;
            repeated_before(tx, source, event, *reason).await?;
        }
        EventBody::Repeated { of, more } => repeated(tx, source, (id, *of), *more).await?,
        EventBody::Recounted(recount) => {
            if recount.generation >= GENERATIONS || recount.frontier.len() > FRONTIER {
                return Err(Refusal::Park("no recount has such a number, or names so many journals".to_owned()));
            }
            counts::rest_on(tx, source, id, recount, news).await?;
            news.zones.insert(recount.zone);
        }
        EventBody::Health { part, working, detail } => health(tx, source, event, (*part, *working), detail).await?,
        EventBody::ClockStepped(step) => {
            let by_s = step.read_ms.saturating_sub(step.expected_ms).div_euclid(1000);
            let text = format!("the clock stepped by {by_s} s at {id}");
            let mut finding = source.finding(Kind::ClockFault, id.to_string(), text);
            finding.derived = true;
            finding.details = serde_json::json!({"by_s": by_s});
            finding.events = vec![id.to_string()];
            finding.at_ms = event.at.wall_ms;
            raise(tx, source, &finding).await?;
        }
        EventBody::Passed { of: None, .. } | EventBody::Fire { .. } | EventBody::LaneClosed { .. } => {}
    }
    Ok(())
}

async fn opening(tx: &mut Tx, source: &Source, event: &Event, news: &mut News) -> Result<(), Refusal> {
    let Some(counted) = event::counts_of(&event.body) else { return Ok(()) };
    if counted.zones.len() != counted.generations.len() {
        return Err(Refusal::Park("it names another number of generations than of zones".to_owned()));
    }
    if counted.zones.len() > ZONES || counted.generations.iter().any(|generation| *generation >= GENERATIONS) {
        return Err(Refusal::Park("no way leads through so many zones, or rests on such a recount".to_owned()));
    }
    // A day is charged once and never worked out again; where an event charges none, it is the venue's day of its time.
    let day = match &event.body {
        EventBody::Authorised { admission, .. } => admission.service_day,
        EventBody::EpochOpened { .. }
        | EventBody::Opened { .. }
        | EventBody::NotOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Annulled { .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Overridden { .. }
        | EventBody::ExitButton { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_)
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => source.day(event.at.wall_ms),
    };
    let zones: Vec<(ZoneId, u64)> = counted.zones.iter().copied().zip(counted.generations.iter().copied()).collect();
    let opening = Opening::new((event.id, event.gate, event.at.wall_ms), (day, counted.direction), zones);
    openings::add(tx, source, opening, news).await
}

async fn note_clock(tx: &mut Tx, source: &Source, event: &Event, news: &mut News) -> Result<(), DbError> {
    let trust = match event.at.trust {
        Trust::Unknown => "unknown",
        Trust::Continued => "continued",
        Trust::Ntp => "ntp",
        Trust::Signed => "signed",
    };
    let at_ms = event.at.wall_ms;
    news.clock = news.clock.max(Some((at_ms, event.id.epoch, event.id.seq, trust)));
    if at_ms.saturating_sub(source.received_ms) <= AHEAD_MS {
        return Ok(());
    }
    let first = EventId { seq: 0, ..event.id };
    let text = format!(
        "device {} dates what it writes ahead of our clock, in the journal that begins with {first}",
        source.device
    );
    let mut finding = source.finding(Kind::ClockFault, format!("{first} ahead"), text);
    finding.derived = true;
    finding.events = vec![first.to_string()];
    raise(tx, source, &finding).await.map(|_| ())
}

/// Counts in the quarter of an hour in which it happened.
pub(super) async fn rate(
    tx: &mut Tx,
    source: &Source,
    (gate, at_ms): (GateId, i64),
    direction: Direction,
    by: i64,
) -> Result<(), DbError> {
    let bucket = at_ms - at_ms.rem_euclid(BUCKET_MS);
    let (entries, exits) = match direction {
        Direction::In => (by, 0),
        Direction::Out => (0, by),
    };
    tx.execute(
        "INSERT INTO rates (venue_id, bucket_ms, gate_id, entries, exits) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (venue_id, bucket_ms, gate_id) DO UPDATE SET entries = rates.entries + excluded.entries, exits = rates.exits + excluded.exits",
        params![source.venue, bucket, gate, entries, exits],
    )
    .await
    .map(|_| ())
}

async fn health(
    tx: &mut Tx,
    source: &Source,
    event: &Event,
    (part, working): (Part, bool),
    detail: &str,
) -> Result<(), DbError> {
    let part = serde_json::to_string(&part).unwrap_or_default();
    let detail: String = detail.chars().take(200).collect();
    tx.execute(
        "INSERT INTO health (venue_id, gate_id, part, working, detail, at_ms, epoch, seq) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (venue_id, gate_id, part) DO UPDATE SET working = excluded.working, detail = excluded.detail, at_ms = excluded.at_ms, epoch = excluded.epoch, seq = excluded.seq WHERE (excluded.at_ms, excluded.epoch, excluded.seq) > (health.at_ms, health.epoch, health.seq)",
        params![source.venue, source.gate, part.trim_matches('"'), working, detail, event.at.wall_ms, event.id.epoch, event.id.seq],
    )
    .await
    .map(|_| ())
}

async fn refused(tx: &mut Tx, source: &Source, event: &Event, reason: Reason, times: i64) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO refusals (venue_id, service_day, gate_id, reason, times) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (venue_id, service_day, gate_id, reason) DO UPDATE SET times = refusals.times + excluded.times",
        params![source.venue, source.day(event.at.wall_ms).0, source.gate, reason.code(), times],
    )
    .await
    .map(|_| ())
}

/// What was said to be repeated before it came itself.
async fn repeated_before(tx: &mut Tx, source: &Source, event: &Event, reason: Reason) -> Result<(), DbError> {
    let rows = tx
        .query(
            "SELECT amount FROM waiting WHERE venue_id = $1 AND about = $2 AND kind = 'repeated'",
            params![source.venue, event.id],
        )
        .await?;
    for row in &rows {
        refused(tx, source, event, reason, row.get(0)?).await?;
    }
    if !rows.is_empty() {
        tx.execute(
            "DELETE FROM waiting WHERE venue_id = $1 AND about = $2 AND kind = 'repeated'",
            params![source.venue, event.id],
        )
        .await?;
    }
    Ok(())
}

async fn repeated(tx: &mut Tx, source: &Source, (id, of): (EventId, EventId), more: u32) -> Result<(), Refusal> {
    if of.device != source.device {
        return Err(Refusal::Park("it is about an event of another device".to_owned()));
    }
    match stored(tx, source, of).await? {
        Some(base) => {
            if let EventBody::Refused { reason, .. } | EventBody::Noise { reason, .. } = &base.body {
                refused(tx, source, &base, *reason, i64::from(more)).await?;
            }
        }
        None => {
            tx.execute(
                "INSERT INTO waiting (venue_id, about, event, kind, amount) VALUES ($1, $2, $3, 'repeated', $4)",
                params![source.venue, of, id, more],
            )
            .await?;
        }
    }
    Ok(())
}

async fn stored(tx: &mut Tx, source: &Source, id: EventId) -> Result<Option<Event>, DbError> {
    let row = tx
        .first(
            "SELECT bytes FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq = $4",
            params![source.venue, id.device, id.epoch, id.seq],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let bytes: Vec<u8> = row.get(0)?;
    Event::decode(&bytes)
        .map(Some)
        .map_err(|error| DbError::Statement(format!("event {id} can't be read again: {error}")))
}

/// A direction as it is stored.
pub(super) fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
    }
}

/// A stored direction.
pub(super) fn direction(text: &str) -> Direction {
    if text == "in" { Direction::In } else { Direction::Out }
}
