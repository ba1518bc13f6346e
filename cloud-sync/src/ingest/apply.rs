//! What an event means for the numbers people see and for what other gates must know.

use gate_core::decision::{Admission, DecisionInput};
use gate_core::event::{self, Event, EventBody};
use gate_core::ids::{Direction, EventId};
use gate_core::product::{Product, Rule};
use gate_core::reason::Reason;
use gate_core::sync::v1::UseMark;
use gate_core::time::{ServiceDay, Trust};

use super::counts::{self, Passage};
use super::{News, Refusal, Source, alert, chain};
use crate::live::BUCKET_MS;
use crate::store::{DbError, Tx, params};

/// Applies an event that was just stored.
pub(super) async fn apply(tx: &mut Tx, source: &Source, event: &Event, news: &mut News) -> Result<(), Refusal> {
    note_clock(tx, source, event).await?;
    match &event.body {
        EventBody::EpochOpened { continues, software } => {
            let software: String = software.chars().take(200).collect();
            tx.execute(
                "UPDATE devices SET software = $1 WHERE venue_id = $2 AND device_id = $3",
                params![software, source.venue, source.device],
            )
            .await?;
            chain::note_opening(tx, source, event.id, *continues).await?;
        }
        EventBody::Authorised { input, admission, .. } => {
            count(tx, source, event, news).await?;
            authorised(tx, source, event, (input, admission), news).await?;
            taken_back_before(tx, source, event, news).await?;
        }
        EventBody::Overridden { .. } | EventBody::ExitButton { .. } => {
            count(tx, source, event, news).await?;
            taken_back_before(tx, source, event, news).await?;
        }
        EventBody::Annulled { .. } => take_back(tx, source, event, "annulled", news).await?,
        EventBody::NotOpened { .. } => take_back(tx, source, event, "not_opened", news).await?,
        EventBody::Refused { reason, .. } | EventBody::Noise { reason, .. } => {
            refused(tx, source, event, *reason, 1).await?;
            for (_, more) in followups(tx, source, event.id, "repeated").await? {
                refused(tx, source, event, *reason, more).await?;
            }
        }
        EventBody::Repeated { of, more } => {
            about(tx, source, event.id, *of, "repeated", i64::from(*more)).await?;
            if let Some(base) = stored(tx, source, *of).await?
                && let EventBody::Refused { reason, .. } | EventBody::Noise { reason, .. } = &base.body
            {
                refused(tx, source, &base, *reason, i64::from(*more)).await?;
            }
        }
        EventBody::Recounted(recount) => {
            if !counts::rest_on(tx, source.venue, event.id, recount).await? {
                let evidence = format!("recount {} of zone {} lost against a newer one", event.id, recount.zone);
                alert(tx, source, "recount_lost", &evidence).await?;
            }
            news.zones.insert(recount.zone);
        }
        EventBody::Health { part, working, detail } => {
            let part = serde_json::to_string(part).unwrap_or_default();
            let detail: String = detail.chars().take(200).collect();
            tx.execute(
                "INSERT INTO health (venue_id, gate_id, part, working, detail, at_ms) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (venue_id, gate_id, part) DO UPDATE SET working = excluded.working, detail = excluded.detail, at_ms = excluded.at_ms WHERE excluded.at_ms >= health.at_ms",
                params![source.venue, source.gate, part.trim_matches('"'), *working, detail, event.at.wall_ms],
            )
            .await?;
        }
        EventBody::Opened { .. }
        | EventBody::Passed { .. }
        | EventBody::Fire { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => {}
    }
    Ok(())
}

async fn note_clock(tx: &mut Tx, source: &Source, event: &Event) -> Result<(), DbError> {
    let trust = match event.at.trust {
        Trust::Unknown => "unknown",
        Trust::Continued => "continued",
        Trust::Ntp => "ntp",
        Trust::Signed => "signed",
    };
    tx.execute(
        "UPDATE devices SET clock_trust = $1 WHERE venue_id = $2 AND device_id = $3",
        params![trust, source.venue, source.device],
    )
    .await
    .map(|_| ())
}

/// Keeps what an admission charges its pass.
async fn authorised(
    tx: &mut Tx,
    source: &Source,
    event: &Event,
    (input, admission): (&DecisionInput, &Admission),
    news: &mut News,
) -> Result<(), Refusal> {
    let Some(mark) = use_mark(event, admission, false) else { return Ok(()) };
    tx.execute(
        "INSERT INTO uses (venue_id, event, vendor_code, cti, gate_id, at_ms, service_day, direction, charged, annulled) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)",
        params![source.venue, event.id, &mark.pass.vendor, mark.pass.cti, event.gate, mark.at_ms, mark.service_day.0, way(mark.direction), mark.charged],
    )
    .await?;
    if mark.charged {
        look_for_double_use(tx, source, input, &mark).await?;
    }
    news.uses.insert(event.id, mark);
    Ok(())
}

fn use_mark(event: &Event, admission: &Admission, annulled: bool) -> Option<UseMark> {
    let pass = admission.pass.clone()?;
    Some(UseMark {
        event: event.id,
        pass,
        gate: event.gate,
        at_ms: event.at.wall_ms,
        service_day: admission.service_day,
        direction: admission.direction,
        charged: admission.charges_use,
        annulled,
    })
}

/// How often a pass may charge: in all, and per day of the venue.
///
/// The same as the decision at the gate: all rules must hold, so the smallest number counts; a product that does not say
/// how often means once; the number of the pass's own row goes before the product's.
fn allowance(product: Option<&Product>, row_uses: Option<u32>) -> (Option<u32>, Option<u32>) {
    let (mut in_all, mut per_day, mut named) = (None, None, false);
    let least = |known: Option<u32>, n: u32| Some(known.map_or(n, |known| known.min(n)));
    for rule in product.iter().flat_map(|product| &product.rules).filter_map(Rule::read) {
        match rule {
            Rule::Single => in_all = least(in_all, 1),
            Rule::Times(n) => in_all = least(in_all, n),
            Rule::PerDay(n) => per_day = least(per_day, n),
            Rule::Unlimited => {}
            Rule::Hours { .. } | Rule::ReentryAfterExit | Rule::MinInterval(_) | Rule::ChildWithAdult => continue,
        }
        named = true;
    }
    if !named {
        in_all = Some(1);
    }
    (row_uses.or(in_all), per_day)
}

/// More uses than the pass has are said aloud: gates that were apart can't prevent them.
async fn look_for_double_use(
    tx: &mut Tx,
    source: &Source,
    input: &DecisionInput,
    mark: &UseMark,
) -> Result<(), DbError> {
    let row_uses = input.view.row.as_ref().and_then(|row| row.uses);
    let (in_all, per_day) = allowance(input.view.product.as_ref(), row_uses);
    if let Some(allowed) = in_all {
        let charged = tx
            .number(
                "SELECT COUNT(*) FROM uses WHERE venue_id = $1 AND cti = $2 AND vendor_code = $3 AND charged = 1 AND annulled = 0",
                params![source.venue, mark.pass.cti, &mark.pass.vendor],
            )
            .await?;
        if charged > i64::from(allowed) {
            let evidence =
                format!("pass {} was used {charged} times of {allowed}, last by event {}", mark.pass, mark.event);
            alert(tx, source, "double_use", &evidence).await?;
        }
    }
    if let Some(allowed) = per_day {
        let charged = tx
            .number(
                "SELECT COUNT(*) FROM uses WHERE venue_id = $1 AND cti = $2 AND vendor_code = $3 AND charged = 1 AND annulled = 0 AND service_day = $4",
                params![source.venue, mark.pass.cti, &mark.pass.vendor, mark.service_day.0],
            )
            .await?;
        if charged > i64::from(allowed) {
            let evidence = format!(
                "pass {} was used {charged} times of {allowed} in one day, last by event {}",
                mark.pass, mark.event
            );
            alert(tx, source, "double_use", &evidence).await?;
        }
    }
    Ok(())
}

/// Counts what an event counts: through zones, and into the quarter of an hour.
async fn count(tx: &mut Tx, source: &Source, event: &Event, news: &mut News) -> Result<(), Refusal> {
    let Some(counted) = event::counts_of(&event.body) else { return Ok(()) };
    if counted.zones.len() != counted.generations.len() {
        return Err(Refusal::Park("it names another number of generations than of zones".to_owned()));
    }
    for (zone, generation) in counted.zones.iter().zip(counted.generations) {
        let passage = Passage {
            by: event.id,
            of: event.id,
            generation: *generation,
            at_ms: event.at.wall_ms,
            direction: counted.direction,
        };
        if !counts::add(tx, source.venue, *zone, &passage).await? {
            return Err(Refusal::Park("it names a zone that is not this venue's".to_owned()));
        }
        news.zones.insert(*zone);
    }
    rate(tx, source, event.at.wall_ms, counted.direction, 1).await?;
    Ok(())
}

async fn rate(tx: &mut Tx, source: &Source, at_ms: i64, direction: Direction, by: i64) -> Result<(), DbError> {
    let bucket = at_ms - at_ms.rem_euclid(BUCKET_MS);
    let (entries, exits) = match direction {
        Direction::In => (by, 0),
        Direction::Out => (0, by),
    };
    tx.execute(
        "INSERT INTO rates (venue_id, bucket_ms, gate_id, entries, exits) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (venue_id, bucket_ms, gate_id) DO UPDATE SET entries = rates.entries + excluded.entries, exits = rates.exits + excluded.exits",
        params![source.venue, bucket, source.gate, entries, exits],
    )
    .await
    .map(|_| ())
}

/// The events that take another one back, each by its kind; one of them is enough, a second one changes nothing.
const TAKERS: [&str; 2] = ["annulled", "not_opened"];

/// Takes in an event that may take another one back.
async fn take_back(
    tx: &mut Tx,
    source: &Source,
    event: &Event,
    kind: &'static str,
    news: &mut News,
) -> Result<(), Refusal> {
    // A relay of which nobody knows whether it moved takes nothing back.
    let Some(of) = event::taken_back(&event.body) else { return Ok(()) };
    let before = takers(tx, source, of).await?;
    about(tx, source, event.id, of, kind, 1).await?;
    if before.is_empty()
        && let Some(base) = stored(tx, source, of).await?
    {
        annul(tx, source, event.id, &base, news).await?;
    }
    Ok(())
}

/// What took an event back before it came itself.
async fn taken_back_before(tx: &mut Tx, source: &Source, base: &Event, news: &mut News) -> Result<(), Refusal> {
    // Of two the device's earlier one counts, as it did at the gate.
    match takers(tx, source, base.id).await?.first() {
        Some(by) => annul(tx, source, *by, base, news).await,
        None => Ok(()),
    }
}

async fn takers(tx: &mut Tx, source: &Source, of: EventId) -> Result<Vec<EventId>, DbError> {
    let mut found = Vec::new();
    for kind in TAKERS {
        found.extend(followups(tx, source, of, kind).await?.into_iter().map(|(by, _)| by));
    }
    found.sort_by_key(|by| (by.epoch, by.seq));
    Ok(found)
}

/// Takes back what an event counted: the other way is counted up, and a use is free again.
async fn annul(tx: &mut Tx, source: &Source, by: EventId, base: &Event, news: &mut News) -> Result<(), Refusal> {
    let Some(counted) = event::counts_of(&base.body) else { return Ok(()) };
    let back = match counted.direction {
        Direction::In => Direction::Out,
        Direction::Out => Direction::In,
    };
    for (zone, generation) in counted.zones.iter().zip(counted.generations) {
        let passage = Passage { by, of: base.id, generation: *generation, at_ms: base.at.wall_ms, direction: back };
        counts::add(tx, source.venue, *zone, &passage).await?;
        news.zones.insert(*zone);
    }
    rate(tx, source, base.at.wall_ms, counted.direction, -1).await?;
    if let EventBody::Authorised { admission, .. } = &base.body
        && let Some(mark) = use_mark(base, admission, true)
    {
        tx.execute("UPDATE uses SET annulled = 1 WHERE venue_id = $1 AND event = $2", params![source.venue, base.id])
            .await?;
        news.uses.insert(base.id, mark);
    }
    Ok(())
}

async fn refused(tx: &mut Tx, source: &Source, event: &Event, reason: Reason, times: i64) -> Result<(), DbError> {
    // A venue's time zone was checked when it was made; should it ever be unknown, the UTC day is close enough.
    let day = source.day_rule.local(event.at.wall_ms).map_or_else(
        |_| ServiceDay(i32::try_from(event.at.wall_ms.div_euclid(86_400_000)).unwrap_or(0)),
        |local| local.day,
    );
    tx.execute(
        "INSERT INTO refusals (venue_id, service_day, gate_id, reason, times) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (venue_id, service_day, gate_id, reason) DO UPDATE SET times = refusals.times + excluded.times",
        params![source.venue, day.0, source.gate, reason.code(), times],
    )
    .await
    .map(|_| ())
}

/// Keeps that an event says something about an earlier one of the same device.
async fn about(
    tx: &mut Tx,
    source: &Source,
    event: EventId,
    of: EventId,
    kind: &str,
    amount: i64,
) -> Result<(), Refusal> {
    if of.device != source.device {
        return Err(Refusal::Park("it is about an event of another device".to_owned()));
    }
    if TAKERS.contains(&kind) && !followups(tx, source, of, kind).await?.is_empty() {
        return Err(Refusal::Park("it is taken back already".to_owned()));
    }
    tx.execute(
        "INSERT INTO followups (venue_id, about, event, kind, amount) VALUES ($1, $2, $3, $4, $5)",
        params![source.venue, of, event, kind, amount],
    )
    .await?;
    Ok(())
}

async fn followups(tx: &mut Tx, source: &Source, of: EventId, kind: &str) -> Result<Vec<(EventId, i64)>, DbError> {
    let rows = tx
        .query(
            "SELECT event, amount FROM followups WHERE venue_id = $1 AND about = $2 AND kind = $3 ORDER BY event",
            params![source.venue, of, kind],
        )
        .await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
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

fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
    }
}
