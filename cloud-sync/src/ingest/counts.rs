//! How many are in a zone, kept as the sums of each actor since the zone's recount.

use gate_core::canonical;
use gate_core::ids::{Direction, EventId, GateId, Hash, VenueId, ZoneId};
use gate_core::occupancy::{Actor, ActorCount, Basis, Fullness, Recount, ZoneCount};
use gate_core::sync::v1::ZoneTally;

use super::Refusal;
use crate::store::{DbError, Tx, params};

/// Something that counts in a zone.
pub(super) struct Passage {
    /// The event that counts it.
    pub(super) by: EventId,
    /// The event whose place before or after a recount decides: itself, or the admission that an annulment takes back.
    pub(super) of: EventId,
    /// The recount generation of the count it was made on.
    pub(super) generation: u64,
    /// When `of` happened, Unix milliseconds.
    pub(super) at_ms: i64,
    /// Which way is counted up.
    pub(super) direction: Direction,
}

async fn basis(tx: &mut Tx, venue: VenueId, zone: ZoneId) -> Result<Option<Basis>, DbError> {
    let row = tx.first("SELECT basis FROM zones WHERE venue_id = $1 AND zone_id = $2", params![venue, zone]).await?;
    let Some(row) = row else { return Ok(None) };
    let bytes: Vec<u8> = row.get(0)?;
    let basis = canonical::decode(&bytes)
        .map_err(|error| DbError::Statement(format!("the basis of zone {zone} can't be read: {error}")))?;
    Ok(Some(basis))
}

/// Counts a passage; false if there is no such zone.
pub(super) async fn add(tx: &mut Tx, venue: VenueId, zone: ZoneId, passage: &Passage) -> Result<bool, Refusal> {
    let Some(basis) = basis(tx, venue, zone).await? else { return Ok(false) };
    if i64::try_from(passage.generation).is_err() {
        return Err(Refusal::Park("its recount generation is out of range".to_owned()));
    }
    let (entries, exits) = match passage.direction {
        Direction::In => (1, 0),
        Direction::Out => (0, 1),
    };
    let by = passage.by;
    tx.execute(
        "INSERT INTO passages (venue_id, zone_id, device_id, epoch, seq, of_epoch, of_seq, generation, at_ms, entries, exits) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        params![venue, zone, by.device, by.epoch, by.seq, passage.of.epoch, passage.of.seq, passage.generation, passage.at_ms, entries, exits],
    )
    .await?;
    if basis.counts(passage.of, passage.generation, passage.at_ms) {
        raise(tx, venue, zone, Actor::from(by), entries, exits).await?;
    }
    Ok(true)
}

async fn raise(
    tx: &mut Tx,
    venue: VenueId,
    zone: ZoneId,
    actor: Actor,
    entries: i64,
    exits: i64,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO tallies (venue_id, zone_id, device_id, epoch, entries, exits) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (venue_id, zone_id, device_id, epoch) DO UPDATE SET entries = tallies.entries + excluded.entries, exits = tallies.exits + excluded.exits",
        params![venue, zone, actor.device, actor.epoch, entries, exits],
    )
    .await
    .map(|_| ())
}

/// Takes a recount as the zone's new ground, unless a greater one is there; false if it lost.
pub(super) async fn rest_on(tx: &mut Tx, venue: VenueId, event: EventId, recount: &Recount) -> Result<bool, Refusal> {
    let Some(before) = basis(tx, venue, recount.zone).await? else {
        return Err(Refusal::Park("it recounts a zone that is not this venue's".to_owned()));
    };
    if i64::try_from(recount.generation).is_err() {
        return Err(Refusal::Park("its recount generation is out of range".to_owned()));
    }
    let new = Basis::of(event, recount);
    if (new.generation, new.event) <= (before.generation, before.event) {
        return Ok(false);
    }
    tx.execute(
        "UPDATE zones SET basis = $1 WHERE venue_id = $2 AND zone_id = $3",
        params![canonical::encode(&new), venue, recount.zone],
    )
    .await?;
    tx.execute("DELETE FROM tallies WHERE venue_id = $1 AND zone_id = $2", params![venue, recount.zone]).await?;
    let rows = tx
        .query(
            "SELECT device_id, epoch, of_epoch, of_seq, generation, at_ms, entries, exits FROM passages WHERE venue_id = $1 AND zone_id = $2",
            params![venue, recount.zone],
        )
        .await?;
    for row in rows {
        let actor = Actor { device: row.get(0)?, epoch: row.get(1)? };
        let of = EventId { device: actor.device, epoch: row.get(2)?, seq: row.get(3)? };
        if new.counts(of, row.get(4)?, row.get(5)?) {
            raise(tx, venue, recount.zone, actor, row.get(6)?, row.get(7)?).await?;
        }
    }
    Ok(true)
}

/// A zone's count as gates are told it.
pub async fn tally(tx: &mut Tx, venue: VenueId, zone: ZoneId) -> Result<ZoneTally, DbError> {
    let basis = basis(tx, venue, zone).await?.ok_or_else(|| DbError::Statement(format!("zone {zone} is gone")))?;
    let rows = tx
        .query(
            "SELECT device_id, epoch, entries, exits FROM tallies WHERE venue_id = $1 AND zone_id = $2 ORDER BY device_id, epoch",
            params![venue, zone],
        )
        .await?;
    let count = |row: &crate::store::Row| {
        Ok::<_, DbError>(ActorCount {
            actor: Actor { device: row.get(0)?, epoch: row.get(1)? },
            entries: row.get(2)?,
            exits: row.get(3)?,
        })
    };
    Ok(ZoneTally { zone, basis, counts: rows.iter().map(count).collect::<Result<_, _>>()? })
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

/// Tells somebody, once until it ends, that more are in a zone than it holds.
pub async fn note_capacity(
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
    let occupancy = merged(&tally(tx, venue, zone).await?).occupancy();
    let over = occupancy > capacity;
    if over == known {
        return Ok(());
    }
    tx.execute("UPDATE zones SET over_capacity = $1 WHERE venue_id = $2 AND zone_id = $3", params![over, venue, zone])
        .await?;
    if over {
        let episodes = tx
            .number("SELECT COUNT(*) FROM alerts WHERE venue_id = $1 AND kind = 'over_capacity'", params![venue])
            .await?;
        let evidence = format!("zone {zone} ({name}) counts {occupancy} in {capacity} places");
        let id = Hash::of("gatealert/1", format!("over_capacity\n{zone}\n{episodes}").as_bytes());
        tx.execute(
            "INSERT INTO alerts (venue_id, alert_id, kind, gate_id, evidence, raised_ms) VALUES ($1, $2, 'over_capacity', $3, $4, $5)",
            params![venue, id, gate, evidence, now_ms],
        )
        .await?;
    }
    Ok(())
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
