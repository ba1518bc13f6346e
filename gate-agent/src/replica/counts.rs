//! Zone counts: what this device's own events moved, merged with what the cloud says all others moved.
//!
//! The count is `gate_core::occupancy::ZoneCount`: actors' numbers over a recount, merged by maximum. Its value is
//! stored as `demand`, so that a decision reads one row per zone however many devices and epochs have counted.

use gate_core::event::Counted;
use gate_core::ids::{DeviceId, Direction, EventId, ZoneId};
use gate_core::occupancy::{Actor, ActorCount, Basis, ZoneCount};
use rusqlite::OptionalExtension;
use rusqlite::types::Value;
use uuid::Uuid;

use super::Fault;
use super::checked::{Checked, MOVEMENTS, ZONE_BASES, ZONE_COUNTS};
use super::keys::{self, blob};

/// An event that counts in zones.
pub(crate) struct Passage<'a> {
    /// The event's position.
    pub(crate) position: i64,
    /// The event: it tells whose number moves.
    pub(crate) by: EventId,
    /// Position and id of the event whose place before or after a recount decides: itself, or the one it takes back.
    pub(crate) of: (i64, EventId),
    /// When that one happened, Unix milliseconds.
    pub(crate) at_ms: i64,
    /// What it counts.
    pub(crate) counted: Counted<'a>,
}

/// Counts an event's way through its zones, each in the recount generation the decision rested on.
pub(crate) fn move_through(checked: &mut Checked<'_>, passage: &Passage<'_>) -> Result<(), Fault> {
    let Counted { direction, zones, generations } = passage.counted;
    for (at, zone) in zones.iter().enumerate() {
        let generation = generations.get(at).copied().unwrap_or(0);
        let (entries, exits) = match direction {
            Direction::In => (1, 0),
            Direction::Out => (0, 1),
        };
        checked.put(
            &MOVEMENTS,
            &[
                passage.position.into(),
                blob(zone.0.as_bytes()),
                passage.of.0.into(),
                generation.cast_signed().into(),
                passage.at_ms.into(),
                Value::Integer(entries),
                Value::Integer(exits),
            ],
        )?;
        let (basis, demand) = basis_of(checked, *zone)?;
        if !basis.counts(passage.of.1, generation, passage.at_ms) {
            continue;
        }
        let actor = Actor::from(passage.by);
        let (known_entries, known_exits) = known(checked, *zone, actor)?;
        put_count(checked, *zone, actor, known_entries + entries, known_exits + exits)?;
        put_basis(checked, *zone, &basis, demand + entries - exits)?;
    }
    Ok(())
}

/// Whether the event at this position was taken back in its zones already.
pub(crate) fn is_taken_back(checked: &Checked<'_>, of: i64) -> rusqlite::Result<bool> {
    checked
        .db()
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM movements WHERE of = ?1 AND of <> position)")?
        .query_row([of], |row| row.get(0))
}

/// Lets a zone rest on a recount, with what actors are said to have counted since. An older recount changes nothing.
pub(crate) fn rest_on(
    checked: &mut Checked<'_>,
    zone: ZoneId,
    basis: &Basis,
    told: &[ActorCount],
) -> Result<(), Fault> {
    let (known_basis, _) = basis_of(checked, zone)?;
    let rank = |basis: &Basis| (basis.generation, basis.event);
    if rank(basis) < rank(&known_basis) {
        return Ok(());
    }
    if rank(basis) > rank(&known_basis) {
        for count in counts(checked, zone)? {
            checked.remove(&ZONE_COUNTS, &count_key(zone, count.actor))?;
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
    Ok(put_basis(checked, zone, basis, whole.demand())?)
}

/// The recount a zone rests on, and its number.
fn basis_of(checked: &Checked<'_>, zone: ZoneId) -> rusqlite::Result<(Basis, i64)> {
    let row: Option<(i64, Vec<u8>)> = checked
        .db()
        .prepare_cached("SELECT demand, value FROM zone_bases WHERE zone = ?1")?
        .query_row([zone.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match row {
        None => Ok((Basis::START, 0)),
        Some((demand, value)) => Ok((keys::decode(&value)?, demand)),
    }
}

fn put_basis(checked: &mut Checked<'_>, zone: ZoneId, basis: &Basis, demand: i64) -> rusqlite::Result<()> {
    let value = gate_core::canonical::encode(basis);
    checked.put(
        &ZONE_BASES,
        &[blob(zone.0.as_bytes()), basis.generation.cast_signed().into(), demand.into(), Value::Blob(value)],
    )
}

fn count_key(zone: ZoneId, actor: Actor) -> [Value; 3] {
    [blob(zone.0.as_bytes()), blob(actor.device.0.as_bytes()), actor.epoch.cast_signed().into()]
}

/// What an actor is known to have counted in and out.
fn known(checked: &Checked<'_>, zone: ZoneId, actor: Actor) -> rusqlite::Result<(i64, i64)> {
    let row: Option<(i64, i64)> = checked
        .db()
        .prepare_cached("SELECT entries, exits FROM zone_counts WHERE zone = ?1 AND device = ?2 AND epoch = ?3")?
        .query_row(rusqlite::params_from_iter(count_key(zone, actor)), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(row.unwrap_or((0, 0)))
}

fn put_count(checked: &mut Checked<'_>, zone: ZoneId, actor: Actor, entries: i64, exits: i64) -> rusqlite::Result<()> {
    let [zone, device, epoch] = count_key(zone, actor);
    checked.put(&ZONE_COUNTS, &[zone, device, epoch, entries.into(), exits.into()])
}

/// What all actors have counted in a zone.
fn counts(checked: &Checked<'_>, zone: ZoneId) -> rusqlite::Result<Vec<ActorCount>> {
    checked
        .db()
        .prepare_cached("SELECT device, epoch, entries, exits FROM zone_counts WHERE zone = ?1")?
        .query_map([zone.0.as_bytes()], |row| {
            Ok(ActorCount {
                actor: Actor {
                    device: DeviceId(Uuid::from_bytes(row.get(0)?)),
                    epoch: row.get::<_, i64>(1)?.cast_unsigned(),
                },
                entries: row.get::<_, i64>(2)?.cast_unsigned(),
                exits: row.get::<_, i64>(3)?.cast_unsigned(),
            })
        })?
        .collect()
}

/// What this device's own events count over a recount, one number per epoch.
fn own_counts(checked: &Checked<'_>, zone: ZoneId, basis: &Basis) -> rusqlite::Result<Vec<ActorCount>> {
    let epochs = keys::read_epochs(checked.db())?;
    let mut statement = checked.db().prepare_cached(
        "SELECT position, of, generation, at_ms, entries, exits FROM movements WHERE zone = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([zone.0.as_bytes()])?;
    let mut found: Vec<ActorCount> = Vec::new();
    while let Some(row) = rows.next()? {
        let (Some(by), Some(of)) = (keys::id_at(&epochs, row.get(0)?), keys::id_at(&epochs, row.get(1)?)) else {
            continue;
        };
        let generation = row.get::<_, i64>(2)?.cast_unsigned();
        if !basis.counts(of, generation, row.get(3)?) {
            continue;
        }
        let actor = Actor::from(by);
        let (entries, exits) = (row.get::<_, i64>(4)?.cast_unsigned(), row.get::<_, i64>(5)?.cast_unsigned());
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
