//! How many are in a zone, kept as the sums of each actor since the zone's recount.

use std::collections::BTreeMap;

use gate_core::canonical;
use gate_core::event::{self, Event};
use gate_core::ids::{Direction, EventId, GateId, VenueId, ZoneId};
use gate_core::mutant::{self, Mutant};
use gate_core::occupancy::{Actor, ActorCount, Basis, Estimate, Fullness, Recount, ZoneCount};
use gate_core::sync::v1::ZoneTally;
use gate_core::time::ServiceDay;
use serde_json::json;

use super::{News, Refusal, Source, raise};
use crate::conflict::{self, Finding, Kind};
use crate::store::{DbError, Row, Tx, params};

/// Something that counts in a zone.
pub(super) struct Passage {
    /// The event that counts it.
    pub(super) event: EventId,
    /// The recount generation of the count it was made on.
    pub(super) generation: u64,
    /// When it happened, Unix milliseconds.
    pub(super) at_ms: i64,
    /// Which way is counted up.
    pub(super) direction: Direction,
}

fn sums(direction: Direction) -> (i64, i64) {
    match direction {
        Direction::In => (1, 0),
        Direction::Out => (0, 1),
    }
}

/// What counts of a passage as long as nobody knows of it, and then: the place of an exit that may not have been made is not
/// given away.
fn so_far((entries, exits): (i64, i64), unknown: bool) -> (i64, i64) {
    (entries, if unknown && !mutant::active(Mutant::ExitsCountAtOnce) { 0 } else { exits })
}

async fn basis(tx: &mut Tx, venue: VenueId, zone: ZoneId) -> Result<Option<Basis>, DbError> {
    let row = tx.first("SELECT basis FROM zones WHERE venue_id = $1 AND zone_id = $2", params![venue, zone]).await?;
    let Some(row) = row else { return Ok(None) };
    let bytes: Vec<u8> = row.get(0)?;
    let basis = canonical::decode(&bytes)
        .map_err(|error| DbError::Statement(format!("the basis of zone {zone} can't be read: {error}")))?;
    Ok(Some(basis))
}

/// The recount that a zone rests on, read once for all of a push.
async fn ground<'a>(
    tx: &mut Tx,
    source: &Source,
    zone: ZoneId,
    news: &'a mut News,
) -> Result<Option<&'a Basis>, DbError> {
    if !news.bases.contains_key(&zone)
        && let Some(found) = basis(tx, source.venue, zone).await?
    {
        news.bases.insert(zone, found);
    }
    Ok(news.bases.get(&zone))
}

/// Counts a passage of which nobody knows yet whether it happened; false if there is no such zone.
pub(super) async fn add(
    tx: &mut Tx,
    source: &Source,
    zone: ZoneId,
    passage: &Passage,
    news: &mut News,
) -> Result<bool, DbError> {
    let Some(basis) = ground(tx, source, zone, news).await? else { return Ok(false) };
    let Passage { event, generation, at_ms, direction } = *passage;
    let counts = basis.counts(event, generation, at_ms);
    let moved = sums(direction);
    tx.execute(
        "INSERT INTO passages (venue_id, zone_id, device_id, epoch, seq, generation, at_ms, entries, exits, unknown) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)",
        params![source.venue, zone, event.device, event.epoch, event.seq, generation, at_ms, moved.0, moved.1],
    )
    .await?;
    if counts {
        raise_tally(tx, source.venue, zone, Actor::from(event), so_far(moved, true)).await?;
        doubt(tx, source.venue, zone, moved).await?;
    }
    Ok(true)
}

/// It is known now what became of a passage. An exit counts from now on; one that was taken back counts the other way too.
pub(super) async fn make_certain(
    tx: &mut Tx,
    source: &Source,
    zone: ZoneId,
    passage: &Passage,
    news: &mut News,
) -> Result<(), DbError> {
    let event = passage.event;
    tx.execute(
        "UPDATE passages SET unknown = 0 WHERE venue_id = $1 AND zone_id = $2 AND device_id = $3 AND epoch = $4 AND seq = $5",
        params![source.venue, zone, event.device, event.epoch, event.seq],
    )
    .await?;
    if passage.counts(tx, source, zone, news).await? {
        let (entries, exits) = sums(passage.direction);
        doubt(tx, source.venue, zone, (-entries, -exits)).await?;
        let (_, counted) = so_far((entries, exits), true);
        if counted < exits && !mutant::active(Mutant::LoseExits) {
            raise_tally(tx, source.venue, zone, Actor::from(event), (0, exits - counted)).await?;
        }
    }
    Ok(())
}

/// Counts a passage back, exactly where it was counted: the other way is counted up too.
pub(super) async fn give_back(
    tx: &mut Tx,
    source: &Source,
    zone: ZoneId,
    passage: &Passage,
    news: &mut News,
) -> Result<(), DbError> {
    let event = passage.event;
    tx.execute(
        "UPDATE passages SET entries = 1, exits = 1 WHERE venue_id = $1 AND zone_id = $2 AND device_id = $3 AND epoch = $4 AND seq = $5",
        params![source.venue, zone, event.device, event.epoch, event.seq],
    )
    .await?;
    if passage.counts(tx, source, zone, news).await? {
        let (entries, exits) = sums(passage.direction);
        raise_tally(tx, source.venue, zone, Actor::from(event), (exits, entries)).await?;
    }
    Ok(())
}

impl Passage {
    /// Whether it counts over the recount that a zone rests on.
    async fn counts(&self, tx: &mut Tx, source: &Source, zone: ZoneId, news: &mut News) -> Result<bool, DbError> {
        let basis = ground(tx, source, zone, news).await?;
        Ok(basis.is_some_and(|basis| basis.counts(self.event, self.generation, self.at_ms)))
    }
}

async fn raise_tally(
    tx: &mut Tx,
    venue: VenueId,
    zone: ZoneId,
    actor: Actor,
    (entries, exits): (i64, i64),
) -> Result<(), DbError> {
    // An exit of which nobody knows whether it was made.
    if (entries, exits) == (0, 0) {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO tallies (venue_id, zone_id, device_id, epoch, entries, exits) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (venue_id, zone_id, device_id, epoch) DO UPDATE SET entries = tallies.entries + excluded.entries, exits = tallies.exits + excluded.exits",
        params![venue, zone, actor.device, actor.epoch, entries, exits],
    )
    .await
    .map(|_| ())
}

async fn doubt(tx: &mut Tx, venue: VenueId, zone: ZoneId, (entries, exits): (i64, i64)) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO doubts (venue_id, zone_id, entries, exits) VALUES ($1, $2, $3, $4) ON CONFLICT (venue_id, zone_id) DO UPDATE SET entries = doubts.entries + excluded.entries, exits = doubts.exits + excluded.exits",
        params![venue, zone, entries, exits],
    )
    .await
    .map(|_| ())
}

/// Counts who came and went on a day of the venue.
pub(super) async fn on_day(
    tx: &mut Tx,
    source: &Source,
    (zone, day): (ZoneId, ServiceDay),
    direction: Direction,
    by: i64,
) -> Result<(), DbError> {
    let (entries, exits) = sums(direction);
    tx.execute(
        "INSERT INTO zone_days (venue_id, zone_id, service_day, entries, exits) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (venue_id, zone_id, service_day) DO UPDATE SET entries = zone_days.entries + excluded.entries, exits = zone_days.exits + excluded.exits",
        params![source.venue, zone, day.0, entries * by, exits * by],
    )
    .await
    .map(|_| ())
}

/// The deliberate fault of counting an event that is held already.
pub(super) async fn count_again(tx: &mut Tx, source: &Source, event: &Event, news: &mut News) -> Result<(), DbError> {
    let Some(counted) = event::counts_of(&event.body) else { return Ok(()) };
    for zone in counted.zones {
        raise_tally(tx, source.venue, *zone, Actor::from(event.id), sums(counted.direction)).await?;
        news.zones.insert(*zone);
    }
    Ok(())
}

/// Takes in a recount: as the zone's new ground, unless a greater one is there.
pub(super) async fn rest_on(
    tx: &mut Tx,
    source: &Source,
    event: EventId,
    recount: &Recount,
    news: &mut News,
) -> Result<(), Refusal> {
    let (venue, zone) = (source.venue, recount.zone);
    let Some(before) = basis(tx, venue, zone).await? else {
        return Err(Refusal::Park("it recounts a zone that is not this venue's".to_owned()));
    };
    // Numbers are used up one by one. A rebuild meets them in another order, and what is held was taken once.
    if source.live && recount.generation > before.generation.saturating_add(GENERATIONS_AHEAD) {
        return Err(Refusal::Park("its recount is far beyond all recounts of the zone".to_owned()));
    }
    tx.execute(
        "INSERT INTO recounts (venue_id, zone_id, event, generation, observed, at_ms, received_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![venue, zone, event, recount.generation, recount.observed, recount.at_ms, source.received_ms],
    )
    .await?;
    note_lost(tx, source, zone, recount.generation).await?;
    let new = Basis::of(event, recount);
    if (new.generation, new.event) <= (before.generation, before.event) {
        return Ok(());
    }
    tx.execute(
        "UPDATE zones SET basis = $1 WHERE venue_id = $2 AND zone_id = $3",
        params![canonical::encode(&new), venue, zone],
    )
    .await?;
    news.bases.insert(zone, new.clone());
    tx.execute("DELETE FROM tallies WHERE venue_id = $1 AND zone_id = $2", params![venue, zone]).await?;
    tx.execute("DELETE FROM doubts WHERE venue_id = $1 AND zone_id = $2", params![venue, zone]).await?;
    // Only what can count over it is looked at: made on it or on a later one, or made after it.
    let on_it = format!("SELECT {COLUMNS} FROM passages WHERE venue_id = $1 AND zone_id = $2 AND generation >= $3");
    let mut rows = tx.query(&on_it, params![venue, zone, new.generation]).await?;
    rows.extend(late_for(tx, venue, zone, &new).await?);
    for row in rows {
        let event = EventId { device: row.get(0)?, epoch: row.get(1)?, seq: row.get(2)? };
        if new.counts(event, row.get(3)?, row.get(4)?) {
            let moved = (row.get(5)?, row.get(6)?);
            let unknown = row.get::<bool>(7)?;
            raise_tally(tx, venue, zone, Actor::from(event), so_far(moved, unknown)).await?;
            if unknown {
                doubt(tx, venue, zone, moved).await?;
            }
        }
    }
    Ok(())
}

/// How far beyond the last recount that was heard one may be numbered: a gate that was away has made far fewer.
const GENERATIONS_AHEAD: u64 = 1000;

/// What is read of a passage.
const COLUMNS: &str = "device_id, epoch, seq, generation, at_ms, entries, exits, unknown";

/// What was made after a recount by gates that had not heard of it.
async fn late_for(tx: &mut Tx, venue: VenueId, zone: ZoneId, basis: &Basis) -> Result<Vec<Row>, DbError> {
    let after_it = format!(
        "SELECT {COLUMNS} FROM passages WHERE venue_id = $1 AND zone_id = $2 AND generation = $3 AND at_ms > $4"
    );
    // From one generation to the next, so that what was before the recount is not even walked over.
    let next = "SELECT MIN(generation) FROM passages WHERE venue_id = $1 AND zone_id = $2 AND generation > $3 AND generation < $4";
    let (mut rows, mut generation) = (Vec::new(), -1i64);
    while let Some(row) = tx.first(next, params![venue, zone, generation, basis.generation]).await?
        && let Some(found) = row.get::<Option<i64>>(0)?
    {
        rows.extend(tx.query(&after_it, params![venue, zone, found, basis.at_ms]).await?);
        generation = found;
    }
    Ok(rows)
}

/// What passed in a zone since it was last counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Past {
    /// How many times somebody came or went.
    pub passed: u64,
    /// The most that were ever missing: so many more had left than had come, by when it happened.
    pub short: u32,
    /// When the last of it happened, Unix milliseconds.
    pub last_ms: Option<i64>,
}

/// Passages are put in order by this, milliseconds: the clocks of two gates may differ by as much.
const STEP_MS: i64 = 120_000;

/// Reads what passed in a zone since it was last counted, whenever it was heard. What is dated after `now_ms` passed at a
/// time that nobody knows.
pub async fn past(tx: &mut Tx, venue: VenueId, zone: ZoneId, now_ms: i64) -> Result<Past, DbError> {
    let Some(basis) = basis(tx, venue, zone).await? else { return Ok(Past::default()) };
    let mut steps: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut last_ms = None;
    let on_it = "SELECT at_ms / $1, CAST(SUM(entries) AS BIGINT), CAST(SUM(CASE WHEN unknown = 0 THEN exits ELSE 0 END) AS BIGINT), MAX(CASE WHEN at_ms <= $2 THEN at_ms END) FROM passages WHERE venue_id = $3 AND zone_id = $4 AND generation >= $5 GROUP BY 1";
    for row in tx.query(on_it, params![STEP_MS, now_ms, venue, zone, basis.generation]).await? {
        steps.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
        last_ms = last_ms.max(row.get(3)?);
    }
    for row in late_for(tx, venue, zone, &basis).await? {
        let event = EventId { device: row.get(0)?, epoch: row.get(1)?, seq: row.get(2)? };
        let at_ms: i64 = row.get(4)?;
        if basis.counts(event, row.get(3)?, at_ms) {
            let (entries, exits) = so_far((row.get(5)?, row.get(6)?), row.get(7)?);
            let step = steps.entry(at_ms / STEP_MS).or_default();
            *step = (step.0 + entries, step.1 + exits);
            last_ms = last_ms.max((at_ms <= now_ms).then_some(at_ms));
        }
    }
    let passed = steps.values().map(|(entries, exits)| entries.saturating_add(*exits)).sum::<i64>();
    Ok(Past { passed: u64::try_from(passed).unwrap_or(0), short: short(basis.observed, &steps), last_ms })
}

/// How far below nobody the count went. Who came in up to a step later is taken for having been there already.
fn short(observed: u32, steps: &BTreeMap<i64, (i64, i64)>) -> u32 {
    let (mut demand, mut short) = (i64::from(observed), 0i64);
    for (step, (entries, exits)) in steps {
        demand += entries - exits;
        let soon = steps.get(&(step + 1)).map_or(0, |(entries, _)| *entries);
        short = short.max(-(demand + soon));
    }
    u32::try_from(short).unwrap_or(u32::MAX)
}

/// Of several recounts of one generation the one with the greatest event holds; somebody is told of the others.
async fn note_lost(tx: &mut Tx, source: &Source, zone: ZoneId, generation: u64) -> Result<(), DbError> {
    let rows = tx
        .query(
            "SELECT event, observed, at_ms, received_ms FROM recounts WHERE venue_id = $1 AND zone_id = $2 AND generation = $3",
            params![source.venue, zone, generation],
        )
        .await?;
    if rows.len() < 2 {
        return Ok(());
    }
    let read = |row: &Row| Ok::<_, DbError>((row.get::<EventId>(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let mut recounts: Vec<(EventId, u32, i64, i64)> = rows.iter().map(read).collect::<Result<_, _>>()?;
    recounts.sort_unstable();
    let Some((winner, held, ..)) = recounts.pop() else { return Ok(()) };
    conflict::withdraw(tx, source.venue, Kind::RecountLost, &winner.to_string()).await?;
    for (event, observed, at_ms, received_ms) in recounts {
        let text =
            format!("two people counted zone {zone} at once: {event} saw {observed}, {winner} saw {held} and holds");
        let mut finding = Finding::new(Kind::RecountLost, event.to_string(), text, received_ms);
        finding.derived = true;
        finding.device = Some(event.device);
        finding.zone = Some(zone);
        finding.details = json!({"observed": observed, "held": held});
        finding.events = vec![event.to_string()];
        finding.against = vec![winner.to_string()];
        finding.at_ms = at_ms;
        raise(tx, source, &finding).await?;
    }
    Ok(())
}

/// A zone's count as gates are told it.
pub async fn tally(tx: &mut Tx, venue: VenueId, zone: ZoneId) -> Result<ZoneTally, DbError> {
    let basis = basis(tx, venue, zone).await?.ok_or_else(|| DbError::Statement(format!("zone {zone} is gone")))?;
    let rows = tx
        .query(
            "SELECT device_id, epoch, entries, exits FROM tallies WHERE venue_id = $1 AND zone_id = $2 AND (entries <> 0 OR exits <> 0) ORDER BY device_id, epoch",
            params![venue, zone],
        )
        .await?;
    let count = |row: &Row| {
        Ok::<_, DbError>(ActorCount {
            actor: Actor { device: row.get(0)?, epoch: row.get(1)? },
            entries: row.get(2)?,
            exits: row.get(3)?,
        })
    };
    Ok(ZoneTally { zone, basis, counts: rows.iter().map(count).collect::<Result<_, _>>()? })
}

/// Entries and exits in a zone's count of which nobody knows whether they happened.
pub async fn doubts(tx: &mut Tx, venue: VenueId, zone: ZoneId) -> Result<(u64, u64), DbError> {
    let row = tx
        .first("SELECT entries, exits FROM doubts WHERE venue_id = $1 AND zone_id = $2", params![venue, zone])
        .await?;
    row.map_or(Ok((0, 0)), |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Merges a tally into the number it stands for.
pub fn merged(tally: &ZoneTally) -> ZoneCount {
    let mut count = ZoneCount::resting_on(tally.basis.clone());
    for actor in &tally.counts {
        count.observe(*actor);
    }
    count
}

/// Moves the word people see for a zone, and gives its tally.
pub(super) async fn settle(tx: &mut Tx, venue: VenueId, zone: ZoneId) -> Result<ZoneTally, DbError> {
    let tally = tally(tx, venue, zone).await?;
    let row = tx
        .first(
            "SELECT fullness, capacity, warn_percent FROM zones WHERE venue_id = $1 AND zone_id = $2",
            params![venue, zone],
        )
        .await?;
    if let Some(row) = row {
        let word = fullness(&row.get::<String>(0)?).next(merged(&tally).occupancy(), row.get(1)?, row.get(2)?);
        tx.execute(
            "UPDATE zones SET fullness = $1 WHERE venue_id = $2 AND zone_id = $3",
            params![fullness_text(word), venue, zone],
        )
        .await?;
    }
    Ok(tally)
}

/// Tells somebody what a zone's number says that can't be: more than it holds, once until that ends, or fewer than nobody.
pub async fn note_conditions(
    tx: &mut Tx,
    venue: VenueId,
    zone: ZoneId,
    gate: Option<GateId>,
    now_ms: i64,
) -> Result<(), DbError> {
    let row = tx
        .first(
            "SELECT name, capacity, over_capacity FROM zones WHERE venue_id = $1 AND zone_id = $2",
            params![venue, zone],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    let (name, capacity, known): (String, u32, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let count = merged(&tally(tx, venue, zone).await?);
    note_drift(tx, venue, zone, (&name, &count), now_ms).await?;
    crate::count_due::done(tx, venue, zone, count.basis(), now_ms).await?;
    let occupancy = count.occupancy();
    let over = occupancy > capacity;
    if over == known {
        return Ok(());
    }
    tx.execute("UPDATE zones SET over_capacity = $1 WHERE venue_id = $2 AND zone_id = $3", params![over, venue, zone])
        .await?;
    if over {
        let text = format!("zone {zone} ({name}) counts {occupancy} in {capacity} places");
        let episode = episodes(tx, venue, zone).await?;
        let mut finding = Finding::new(Kind::OverCapacity, format!("{zone} {episode}"), text, now_ms);
        finding.gate = gate;
        finding.zone = Some(zone);
        finding.details = json!({"occupancy": occupancy, "capacity": capacity});
        conflict::raise(tx, venue, &finding).await?;
    } else {
        let standing = tx
            .query(
                "SELECT conflict_id FROM conflicts WHERE venue_id = $1 AND kind = 'over_capacity' AND zone_id = $2 AND standing = 1",
                params![venue, zone],
            )
            .await?;
        for row in standing {
            conflict::end(tx, venue, &row.get::<String>(0)?).await?;
        }
    }
    Ok(())
}

/// How often more were in a zone than it holds.
async fn episodes(tx: &mut Tx, venue: VenueId, zone: ZoneId) -> Result<i64, DbError> {
    tx.number(
        "SELECT COUNT(*) FROM conflicts WHERE venue_id = $1 AND kind = 'over_capacity' AND zone_id = $2",
        params![venue, zone],
    )
    .await
}

/// More left than came, even if every doubt is taken in favour: raised while it is so, and taken back when entries that
/// came late, or a recount, explain it.
async fn note_drift(
    tx: &mut Tx,
    venue: VenueId,
    zone: ZoneId,
    (name, count): (&str, &ZoneCount),
    now_ms: i64,
) -> Result<(), DbError> {
    let (entries, exits) = doubts(tx, venue, zone).await?;
    let drift = Estimate::of(count.demand(), entries, exits).drift;
    // One that was over and comes back is another one, also if somebody has looked at the first.
    let over = tx
        .number(
            "SELECT COUNT(*) FROM conflicts WHERE venue_id = $1 AND kind = 'drift' AND zone_id = $2 AND standing = 0",
            params![venue, zone],
        )
        .await?;
    let key = if over == 0 { zone.to_string() } else { format!("{zone} {over}") };
    if drift == 0 {
        return conflict::withdraw(tx, venue, Kind::Drift, &key).await;
    }
    let text = format!(
        "in zone {zone} ({name}) {drift} more were seen leaving than coming in: somebody came in unseen. Count what is there and enter it as a recount"
    );
    let mut finding = Finding::new(Kind::Drift, key, text, now_ms);
    finding.zone = Some(zone);
    finding.details = json!({"drift": drift});
    finding.against = count.basis().event.map(|event| event.to_string()).into_iter().collect();
    conflict::raise(tx, venue, &finding).await.map(|_| ())
}

/// Reads a stored word; an unknown one begins anew.
pub fn fullness(text: &str) -> Fullness {
    match text {
        "full" => Fullness::Full,
        "near_full" => Fullness::NearFull,
        _ => Fullness::Open,
    }
}

/// The word as it is stored and shown.
pub fn fullness_text(word: Fullness) -> &'static str {
    match word {
        Fullness::Open => "open",
        Fullness::NearFull => "near_full",
        Fullness::Full => "full",
    }
}
