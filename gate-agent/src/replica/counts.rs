//! Zone counts: what this device's own events moved, merged with what the cloud says all others moved.
//!
//! The count is `gate_core::occupancy::ZoneCount`: actors' numbers over a recount, merged by maximum. Its value is
//! stored as `demand`, so that a decision reads one row per zone however many devices and epochs have counted.

use gate_core::event::{self, Counted, Event};
use gate_core::ids::{DeviceId, Direction, EventId, ZoneId};
use gate_core::mutant::{self, Mutant};
use gate_core::occupancy::{Actor, ActorCount, Basis, ZoneCount};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::Fault;
use super::checked::{Checked, MOVEMENTS};
use super::keys::{self, blob};

/// What an event counts in one zone: a row of `movements`.
struct Movement {
    position: i64,
    /// It tells whose number moves.
    event: EventId,
    zone: ZoneId,
    /// The recount generation that the decision rested on.
    generation: u64,
    at_ms: i64,
    /// Both are 1 where it was given back.
    entries: i64,
    exits: i64,
}

/// Counts what the event at this position counts, in each zone on the recount generation that its decision rested on.
pub(crate) fn move_through(checked: &mut Checked<'_>, position: i64, event: &Event) -> Result<(), Fault> {
    let Some(Counted { direction, zones, generations }) = event::counts_of(&event.body) else { return Ok(()) };
    let (entries, exits) = match direction {
        Direction::In => (1, 0),
        Direction::Out => (0, 1),
    };
    let (at_ms, event) = (event.at.wall_ms, event.id);
    for (at, zone) in zones.iter().enumerate() {
        let generation = generations.get(at).copied().unwrap_or(0);
        let movement = Movement { position, event, zone: *zone, generation, at_ms, entries, exits };
        movement.put(checked)?;
        movement.add(checked, (entries, exits))?;
    }
    Ok(())
}

/// Counts the event at this position back, exactly where it was counted. Once.
pub(crate) fn move_back(checked: &mut Checked<'_>, position: i64, event: EventId) -> Result<(), Fault> {
    for mut movement in movements(checked.db(), position, event)? {
        let back = (1 - movement.entries, 1 - movement.exits);
        (movement.entries, movement.exits) = (1, 1);
        movement.put(checked)?;
        movement.add(checked, back)?;
        if mutant::active(Mutant::RefundTwice) {
            movement.add(checked, back)?;
        }
    }
    Ok(())
}

impl Movement {
    fn put(&self, checked: &mut Checked<'_>) -> rusqlite::Result<()> {
        checked.put(
            &MOVEMENTS,
            &[
                self.position.into(),
                blob(self.zone.0.as_bytes()),
                self.generation.cast_signed().into(),
                self.at_ms.into(),
                self.entries.into(),
                self.exits.into(),
            ],
        )
    }

    /// Whether it counts over a recount.
    fn counts(&self, basis: &Basis) -> bool {
        basis.counts(self.event, self.generation, self.at_ms)
    }

    /// Adds to the number of its zone, if it counts over the recount that this rests on.
    fn add(&self, checked: &mut Checked<'_>, (entries, exits): (i64, i64)) -> Result<(), Fault> {
        let (generation, demand) = number(checked, self.zone)?;
        // The basis is looked at only where its generation alone does not answer.
        if self.generation < generation && !self.counts(&basis_of(checked.db(), self.zone)?) {
            return Ok(());
        }
        let actor = Actor::from(self.event);
        let (known_entries, known_exits) = known(checked, self.zone, actor)?;
        put_count(checked, self.zone, actor, known_entries + entries, known_exits + exits)?;
        Ok(put_number(checked, self.zone, generation, demand + entries - exits)?)
    }
}

/// What the event at this position counts and was not given back.
fn movements(db: &Connection, position: i64, event: EventId) -> rusqlite::Result<Vec<Movement>> {
    db.prepare_cached(
        "SELECT zone, generation, at_ms, entries, exits FROM movements WHERE position = ?1 AND entries <> exits",
    )?
    .query_map([position], |row| {
        Ok(Movement {
            position,
            event,
            zone: ZoneId(Uuid::from_bytes(row.get(0)?)),
            generation: row.get::<_, i64>(1)?.cast_unsigned(),
            at_ms: row.get(2)?,
            entries: row.get(3)?,
            exits: row.get(4)?,
        })
    })?
    .collect()
}

/// Whether the event at this position is counted in its zones.
pub(crate) fn is_counted(checked: &Checked<'_>, position: i64) -> rusqlite::Result<bool> {
    checked
        .db()
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM movements WHERE position = ?1)")?
        .query_row([position], |row| row.get(0))
}

/// Where the event at this position takes a place that still counts: not where a recount has let go of it.
pub(crate) fn places(db: &Connection, position: i64, event: EventId) -> rusqlite::Result<Vec<ZoneId>> {
    let mut found = Vec::new();
    for movement in movements(db, position, event)? {
        if movement.entries > 0 && movement.counts(&basis_of(db, movement.zone)?) {
            found.push(movement.zone);
        }
    }
    Ok(found)
}

/// Lets a zone rest on a recount, with what actors are said to have counted since. An older recount changes nothing.
pub(crate) fn rest_on(
    checked: &mut Checked<'_>,
    zone: ZoneId,
    basis: &Basis,
    told: &[ActorCount],
) -> Result<(), Fault> {
    let known_basis = basis_of(checked.db(), zone)?;
    let rank = |basis: &Basis| (basis.generation, basis.event);
    if rank(basis) < rank(&known_basis) {
        return Ok(());
    }
    if rank(basis) > rank(&known_basis) {
        for count in counts(checked, zone)? {
            keys::remove_state(checked, keys::ACTOR_COUNT, &count_key(zone, count.actor))?;
        }
        for count in own_counts(checked, zone, basis)? {
            put_count(checked, zone, count.actor, count.entries.cast_signed(), count.exits.cast_signed())?;
        }
    }
    for count in told {
        let (entries, exits) = known(checked, zone, count.actor)?;
        let more = (count.entries.cast_signed().max(entries), count.exits.cast_signed().max(exits));
        if more != (entries, exits) {
            put_count(checked, zone, count.actor, more.0, more.1)?;
        }
    }
    let mut whole = ZoneCount::resting_on(basis.clone());
    for count in counts(checked, zone)? {
        whole.observe(count);
    }
    if *basis != known_basis {
        let value = Value::Blob(gate_core::canonical::encode(basis));
        keys::put_state(checked, keys::ZONE_BASIS, zone.0.as_bytes(), (0, 0), value)?;
    }
    Ok(put_number(checked, zone, basis.generation, whole.demand())?)
}

/// The recount a zone rests on.
pub(crate) fn basis_of(db: &Connection, zone: ZoneId) -> rusqlite::Result<Basis> {
    let value: Option<Vec<u8>> = db
        .prepare_cached("SELECT value FROM state WHERE kind = ?1 AND name = ?2")?
        .query_row(rusqlite::params![keys::ZONE_BASIS, zone.0.as_bytes()], |row| row.get(0))
        .optional()?;
    value.map_or(Ok(Basis::START), |value| keys::decode(&value))
}

/// The generation of the recount a zone rests on, and the zone's number.
fn number(checked: &Checked<'_>, zone: ZoneId) -> rusqlite::Result<(u64, i64)> {
    let row = keys::numbers(checked.db(), keys::ZONE_NUMBER, zone.0.as_bytes())?;
    Ok(row.map_or((0, 0), |(generation, demand)| (generation.cast_unsigned(), demand)))
}

fn put_number(checked: &mut Checked<'_>, zone: ZoneId, generation: u64, demand: i64) -> rusqlite::Result<()> {
    let numbers = (generation.cast_signed(), demand);
    keys::put_state(checked, keys::ZONE_NUMBER, zone.0.as_bytes(), numbers, Value::Null)
}

fn count_key(zone: ZoneId, actor: Actor) -> [u8; 40] {
    let mut key = [0; 40];
    key[..16].copy_from_slice(zone.0.as_bytes());
    key[16..32].copy_from_slice(actor.device.0.as_bytes());
    key[32..].copy_from_slice(&actor.epoch.to_be_bytes());
    key
}

/// What an actor is known to have counted in and out.
fn known(checked: &Checked<'_>, zone: ZoneId, actor: Actor) -> rusqlite::Result<(i64, i64)> {
    Ok(keys::numbers(checked.db(), keys::ACTOR_COUNT, &count_key(zone, actor))?.unwrap_or((0, 0)))
}

fn put_count(checked: &mut Checked<'_>, zone: ZoneId, actor: Actor, entries: i64, exits: i64) -> rusqlite::Result<()> {
    keys::put_state(checked, keys::ACTOR_COUNT, &count_key(zone, actor), (entries, exits), Value::Null)
}

/// What all actors have counted in a zone.
fn counts(checked: &Checked<'_>, zone: ZoneId) -> rusqlite::Result<Vec<ActorCount>> {
    let first = count_key(zone, Actor { device: DeviceId(Uuid::nil()), epoch: 0 });
    let last = count_key(zone, Actor { device: DeviceId(Uuid::max()), epoch: u64::MAX });
    checked
        .db()
        .prepare_cached("SELECT name, one, two FROM state WHERE kind = ?1 AND name BETWEEN ?2 AND ?3")?
        .query_map(rusqlite::params![keys::ACTOR_COUNT, first, last], |row| {
            let name: [u8; 40] = row.get(0)?;
            let device: [u8; 16] = keys::fixed(&name[16..32])?;
            let epoch: [u8; 8] = keys::fixed(&name[32..])?;
            Ok(ActorCount {
                actor: Actor { device: DeviceId(Uuid::from_bytes(device)), epoch: u64::from_be_bytes(epoch) },
                entries: row.get::<_, i64>(1)?.cast_unsigned(),
                exits: row.get::<_, i64>(2)?.cast_unsigned(),
            })
        })?
        .collect()
}

/// What this device's own events count over a recount, one number per epoch.
fn own_counts(checked: &Checked<'_>, zone: ZoneId, basis: &Basis) -> rusqlite::Result<Vec<ActorCount>> {
    let epochs = keys::read_epochs(checked.db())?;
    let mut statement = checked.db().prepare_cached(
        "SELECT position, generation, at_ms, entries, exits FROM movements WHERE zone = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([zone.0.as_bytes()])?;
    let mut found: Vec<ActorCount> = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(event) = keys::id_at(&epochs, row.get(0)?) else { continue };
        if !basis.counts(event, row.get::<_, i64>(1)?.cast_unsigned(), row.get(2)?) {
            continue;
        }
        let actor = Actor::from(event);
        let (entries, exits) = (row.get::<_, i64>(3)?.cast_unsigned(), row.get::<_, i64>(4)?.cast_unsigned());
        match found.last_mut() {
            Some(last) if last.actor == actor => {
                last.entries += entries;
                last.exits += exits;
            }
            Some(_) | None => found.push(ActorCount { actor, entries, exits }),
        }
    }
    Ok(found)
}
