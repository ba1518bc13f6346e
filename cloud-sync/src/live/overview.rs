//! The one picture: how full, which gates are there, how many came and went, who was refused.
//!
//! A zone's number is exact while all its gates are heard. When a gate is silent, something may have passed there: one
//! every four seconds at most (twice the fastest lane measured), plus what it said it still had to send. Silent is also who
//! is heard but has not told everything: with a month to send, or with two histories of which none is believed.
//! - `high` = occupancy + that allowance over the silent entrances, but never above the capacity where entering needs a
//!   right (rights are escrowed: a silent entrance can't admit more than there are places), unless it is above already;
//! - before that, both ends widen by what is unknown of openings that were reported: each moved one or nobody;
//! - `low`  = occupancy - that allowance over the silent exits - one for each silent entrance that was last heard of while
//!   somebody stood under its open barrier, who may have turned back; never below zero; zero when the zone's daily reset is
//!   due and nobody has said yet that it was made.
//!
//! The simulation compares both with what follows from all journals, wherever they are.

use std::collections::BTreeMap;

use gate_core::ids::{DeviceId, GateId, VenueId, ZoneId};
use gate_core::occupancy::Estimate;
use gate_core::reason::{Language, Reason};
use gate_core::sync::v1::ZoneRow;
use gate_core::time::DayRule;
use serde::Serialize;
use utoipa::ToSchema;

use super::BUCKET_MS;
use crate::problem::ApiError;
use crate::routes::{venue_row, zones};
use crate::store::{DbError, Tx, params};
use crate::{ingest, office};

/// A gate that was heard this lately is online, milliseconds. Gates ask every 15 seconds.
const ONLINE_MS: i64 = 60_000;
/// A gate that told everything this lately is not silent, milliseconds. Gates show where their journal ends once a minute.
const WHOLE_MS: i64 = 150_000;
/// The least time between two passages of one lane, milliseconds.
const PASSAGE_MS: i64 = 4_000;
/// How far back the rates go, milliseconds.
const RATES_MS: i64 = 24 * 3600 * 1000;

/// What managers see.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub struct Overview {
    /// Grows with every change.
    pub seq: i64,
    /// When this was read, Unix milliseconds.
    pub now_ms: i64,
    /// Zones, oldest first.
    pub zones: Vec<ZoneNow>,
    /// Gates, oldest first.
    pub gates: Vec<GateNow>,
    /// Entries and exits of the last 24 hours, by the gates' own times.
    pub rates: Rates,
    /// What is wrong now and needs somebody; what was wrong before is under `alerts`.
    pub warnings: Vec<Warning>,
    /// What waits for somebody in the inbox: conflicts that are still so and that nobody resolved.
    pub open_conflicts: i64,
    /// Why people were refused since the venue's day began, most frequent first.
    pub refusals: Vec<Refused>,
}

/// Something that is wrong now.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub struct Warning {
    /// `over_capacity`: more are in the zone than it holds.
    kind: &'static str,
    zone_id: String,
    zone: String,
    occupancy: u32,
    capacity: u32,
}

/// How full a zone is.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub struct ZoneNow {
    id: String,
    name: String,
    capacity: u32,
    /// By what has been heard.
    pub occupancy: u32,
    /// Not fewer than this.
    pub low: u32,
    /// Not more than this.
    pub high: u32,
    /// How many more left than came in, by what has been heard: the number shown ends at zero. A recount mends it.
    drift: u32,
    /// Of the capacity.
    percent: u32,
    /// `open`, `near_full` or `full`.
    state: &'static str,
    /// The oldest moment that all gates of the zone have been heard since, Unix milliseconds.
    as_of_ms: i64,
    warn_percent: u8,
}

/// How a gate is.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub struct GateNow {
    id: String,
    name: String,
    zone_id: String,
    /// `in` or `out`.
    direction: String,
    /// `never_seen`, `online`, `degraded` (a part of it is broken, or its clock is unsure) or `offline`.
    state: &'static str,
    last_seen_ms: Option<i64>,
    /// Events it had still to send when it last sent some.
    pending: i64,
    software: Option<String>,
    /// `signed`, `ntp`, `continued` or `unknown`.
    clock_trust: Option<String>,
    /// Parts that are broken: `camera`, `gate_io`, `storage`, `clock`.
    broken: Vec<String>,
}

/// Entries and exits over time.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub struct Rates {
    bucket_s: i64,
    buckets: Vec<Bucket>,
}

/// One quarter of an hour.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub struct Bucket {
    start_ms: i64,
    entries: i64,
    exits: i64,
}

/// How often one reason was given.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub struct Refused {
    reason: String,
    count: i64,
    title_en: String,
    title_ro: String,
}

struct Gate {
    zone: ZoneId,
    entrance: bool,
    enrolled: bool,
    /// Of the newest admission of a silent entrance it was heard that the barrier opened, and not whether somebody went
    /// through.
    undecided: bool,
    /// When it last showed an end of its journal up to which everything is held.
    whole_ms: Option<i64>,
    now: GateNow,
}

impl Gate {
    /// For how long something may have passed there unheard, milliseconds; `None` if it is heard and told everything.
    fn silence(&self, now_ms: i64) -> Option<i64> {
        let since = |ms: i64, limit: i64| Some(now_ms - ms).filter(|silence| *silence > limit);
        let unheard = since(self.now.last_seen_ms?, ONLINE_MS);
        let untold = self.whole_ms.and_then(|whole_ms| since(whole_ms, WHOLE_MS));
        unheard.max(untold)
    }
}

/// Reads it all from one state of the database.
pub async fn read(tx: &mut Tx, venue: VenueId, now_ms: i64) -> Result<Overview, ApiError> {
    let seq = tx.number("SELECT live_seq FROM venues WHERE venue_id = $1", params![venue]).await?;
    let gates = gates(tx, venue, now_ms).await?;
    let rule = venue_row(tx, venue).await?.day_rule;
    let zones = zones(tx, venue, &rule.time_zone, &gates, now_ms).await?;
    let over = zones.iter().filter(|zone| zone.occupancy > zone.capacity);
    Ok(Overview {
        seq,
        now_ms,
        warnings: over
            .map(|zone| Warning {
                kind: "over_capacity",
                zone_id: zone.id.clone(),
                zone: zone.name.clone(),
                occupancy: zone.occupancy,
                capacity: zone.capacity,
            })
            .collect(),
        zones,
        open_conflicts: tx
            .number(
                "SELECT COUNT(*) FROM conflicts WHERE venue_id = $1 AND resolved_ms IS NULL AND standing = 1",
                params![venue],
            )
            .await?,
        rates: rates(tx, venue, now_ms).await?,
        refusals: refusals(tx, venue, &rule, now_ms).await?,
        gates: gates.into_iter().map(|gate| gate.now).collect(),
    })
}

async fn gates(tx: &mut Tx, venue: VenueId, now_ms: i64) -> Result<Vec<Gate>, DbError> {
    let broken = tx
        .query("SELECT gate_id, part FROM health WHERE venue_id = $1 AND working = 0 ORDER BY part", params![venue])
        .await?;
    let broken: Vec<(GateId, String)> =
        broken.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect::<Result<_, DbError>>()?;
    let rows = tx
        .query(
            "SELECT g.gate_id, g.name, g.zone_id, g.direction, d.device_id, d.seen_ms, d.pending, d.software, d.clock_trust, d.whole_ms FROM gates g LEFT JOIN devices d ON d.venue_id = g.venue_id AND d.gate_id = g.gate_id AND d.revoked_ms IS NULL WHERE g.venue_id = $1 ORDER BY g.created_ms, g.gate_id",
            params![venue],
        )
        .await?;
    let gate = |row: &crate::store::Row| {
        let id: GateId = row.get(0)?;
        let zone: ZoneId = row.get(2)?;
        let direction: String = row.get(3)?;
        let last_seen_ms: Option<i64> = row.get(5)?;
        let clock_trust: Option<String> = row.get(8)?;
        let broken: Vec<String> = broken.iter().filter(|(gate, _)| *gate == id).map(|(_, part)| part.clone()).collect();
        let unsure = clock_trust.as_deref() == Some("unknown");
        let state = match last_seen_ms {
            None => "never_seen",
            Some(seen) if now_ms - seen > ONLINE_MS => "offline",
            Some(_) if unsure || !broken.is_empty() => "degraded",
            Some(_) => "online",
        };
        Ok::<_, DbError>(Gate {
            zone,
            entrance: direction == "in",
            enrolled: row.get::<Option<String>>(4)?.is_some(),
            undecided: false,
            whole_ms: row.get(9)?,
            now: GateNow {
                id: id.to_string(),
                name: row.get(1)?,
                zone_id: zone.to_string(),
                direction,
                state,
                last_seen_ms,
                pending: row.get::<Option<i64>>(6)?.unwrap_or(0),
                software: row.get(7)?,
                clock_trust,
                broken,
            },
        })
    };
    let mut gates: Vec<Gate> = rows.iter().map(gate).collect::<Result<_, _>>()?;
    for (gate, row) in gates.iter_mut().zip(&rows) {
        if gate.entrance
            && gate.silence(now_ms).is_some()
            && let Some(device) = row.get::<Option<DeviceId>>(4)?
        {
            gate.undecided = ingest::is_undecided(tx, venue, device).await?;
        }
    }
    Ok(gates)
}

async fn zones(
    tx: &mut Tx,
    venue: VenueId,
    time_zone: &str,
    gates: &[Gate],
    now_ms: i64,
) -> Result<Vec<ZoneNow>, DbError> {
    let rows = tx.query("SELECT zone_id, fullness FROM zones WHERE venue_id = $1", params![venue]).await?;
    let words: BTreeMap<ZoneId, String> =
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect::<Result<_, DbError>>()?;
    let all = zones::all(tx, venue).await?;
    let parents: BTreeMap<ZoneId, Option<ZoneId>> = all.iter().map(|(zone, _)| (zone.id, zone.parent)).collect();
    let mut zones = Vec::with_capacity(all.len());
    for (zone, daily) in all {
        let ZoneRow { id, capacity, warn_percent, .. } = zone;
        let count = ingest::merged(&ingest::tally(tx, venue, id).await?);
        let occupancy = count.occupancy();
        let here: Vec<&Gate> = gates.iter().filter(|gate| gate.enrolled && within(&parents, gate.zone, id)).collect();
        let (unknown_in, unknown_out) = ingest::doubts(tx, venue, id).await?;
        let known = Estimate::of(count.demand(), unknown_in, unknown_out);
        let (mut low, high) = interval(known, (!zone.best_effort).then_some(capacity), &here, now_ms);
        if office::reset_due(daily, time_zone, count.basis(), now_ms).is_some() {
            low = 0;
        }
        let percent = u64::from(occupancy) * 100 / u64::from(capacity.max(1));
        zones.push(ZoneNow {
            id: id.to_string(),
            name: zone.name,
            capacity,
            occupancy,
            low,
            high,
            drift: known.drift,
            percent: u32::try_from(percent).unwrap_or(u32::MAX),
            state: ingest::fullness_text(ingest::fullness(words.get(&id).map_or("", String::as_str)).next(
                occupancy,
                capacity,
                warn_percent,
            )),
            as_of_ms: here.iter().filter_map(|gate| gate.now.last_seen_ms).min().unwrap_or(now_ms),
            warn_percent,
        });
    }
    Ok(zones)
}

/// Whether a zone is this one or lies within it: its gates count for both.
pub fn within(parents: &BTreeMap<ZoneId, Option<ZoneId>>, zone: ZoneId, around: ZoneId) -> bool {
    let mut at = Some(zone);
    // More steps than there are zones would be a circle.
    for _ in 0..parents.len() {
        if at == Some(around) {
            return true;
        }
        at = at.and_then(|zone| parents.get(&zone).copied().flatten());
    }
    false
}

/// What may have passed unheard; see the top of this file. `rights` is the capacity where entering needs a right.
fn interval(known: Estimate, rights: Option<u32>, gates: &[&Gate], now_ms: i64) -> (u32, u32) {
    let (mut entered, mut gone) = (0i64, 0i64);
    for gate in gates {
        let Some(silence) = gate.silence(now_ms) else { continue };
        let passages = silence / PASSAGE_MS + gate.now.pending;
        if gate.entrance {
            entered += passages;
            gone += i64::from(gate.undecided);
        } else {
            gone += passages;
        }
    }
    let people = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let high = known.high.saturating_add(people(entered));
    let high = rights.map_or(high, |capacity| high.min(capacity.max(known.high)));
    (known.low.saturating_sub(people(gone)), high)
}

async fn rates(tx: &mut Tx, venue: VenueId, now_ms: i64) -> Result<Rates, DbError> {
    let last = now_ms - now_ms.rem_euclid(BUCKET_MS);
    let first = last - RATES_MS + BUCKET_MS;
    let rows = tx
        .query(
            "SELECT bucket_ms, CAST(SUM(entries) AS BIGINT), CAST(SUM(exits) AS BIGINT) FROM rates WHERE venue_id = $1 AND bucket_ms >= $2 AND bucket_ms <= $3 GROUP BY bucket_ms",
            params![venue, first, last],
        )
        .await?;
    let mut buckets: Vec<Bucket> =
        (0..RATES_MS / BUCKET_MS).map(|n| Bucket { start_ms: first + n * BUCKET_MS, entries: 0, exits: 0 }).collect();
    for row in rows {
        let start: i64 = row.get(0)?;
        let at = usize::try_from((start - first) / BUCKET_MS).unwrap_or(usize::MAX);
        if let Some(bucket) = buckets.get_mut(at) {
            bucket.entries = row.get(1)?;
            bucket.exits = row.get(2)?;
        }
    }
    Ok(Rates { bucket_s: BUCKET_MS / 1000, buckets })
}

async fn refusals(tx: &mut Tx, venue: VenueId, rule: &DayRule, now_ms: i64) -> Result<Vec<Refused>, ApiError> {
    let today = rule.local(now_ms).map_err(|error| ApiError::internal(&error))?.day;
    let rows = tx
        .query(
            "SELECT reason, CAST(SUM(times) AS BIGINT) FROM refusals WHERE venue_id = $1 AND service_day = $2 GROUP BY reason ORDER BY 2 DESC, reason",
            params![venue, today.0],
        )
        .await?;
    let refused = |row: &crate::store::Row| {
        let code: String = row.get(0)?;
        let known = Reason::ALL.iter().find(|reason| reason.code() == code);
        let title = |language| known.map_or_else(|| code.clone(), |reason| reason.words(language).title.to_owned());
        Ok::<_, DbError>(Refused {
            count: row.get(1)?,
            title_en: title(Language::En),
            title_ro: title(Language::Ro),
            reason: code,
        })
    };
    Ok(rows.iter().map(refused).collect::<Result<_, DbError>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn gate(entrance: bool, seen_ms: Option<i64>, pending: i64) -> Gate {
        Gate {
            zone: ZoneId(Uuid::nil()),
            entrance,
            enrolled: true,
            undecided: false,
            whole_ms: seen_ms,
            now: GateNow {
                id: String::new(),
                name: String::new(),
                zone_id: String::new(),
                direction: String::new(),
                state: "online",
                last_seen_ms: seen_ms,
                pending,
                software: None,
                clock_trust: None,
                broken: vec![],
            },
        }
    }

    #[test]
    fn a_number_widens_by_what_silent_gates_may_have_done_and_never_past_what_rights_allow() {
        let now = 10_000_000;
        let (heard, silent) = (Some(now - ONLINE_MS), Some(now - 5 * ONLINE_MS));
        for (name, gates, rights, expected) in [
            ("no gate", vec![], Some(220), (100, 100)),
            ("all heard", vec![gate(true, heard, 3), gate(false, heard, 3)], Some(220), (100, 100)),
            ("never seen has done nothing", vec![gate(true, None, 0)], Some(220), (100, 100)),
            ("silent entrance", vec![gate(true, silent, 2)], Some(220), (100, 177)),
            ("silent exit", vec![gate(false, silent, 0)], Some(220), (25, 100)),
            ("silent entrance with few rights", vec![gate(true, silent, 0)], Some(110), (100, 110)),
            (
                "silent entrance with somebody in it",
                vec![Gate { undecided: true, ..gate(true, silent, 0) }],
                Some(110),
                (99, 110),
            ),
            (
                "heard entrance with somebody in it",
                vec![Gate { undecided: true, ..gate(true, heard, 0) }],
                Some(110),
                (100, 100),
            ),
            (
                "heard, and has told nothing for five minutes",
                vec![
                    Gate { whole_ms: silent, ..gate(true, heard, 2) },
                    Gate { whole_ms: silent, ..gate(false, heard, 0) },
                ],
                Some(220),
                (25, 177),
            ),
            ("full already", vec![gate(true, silent, 0)], Some(90), (100, 100)),
            ("no rights needed", vec![gate(true, silent, 0)], None, (100, 175)),
            ("silent for days", vec![gate(true, Some(0), 0), gate(false, Some(0), 0)], Some(220), (0, 220)),
        ] {
            let gates: Vec<&Gate> = gates.iter().collect();
            assert_eq!(interval(Estimate::of(100, 0, 0), rights, &gates, now), expected, "{name}");
        }
    }
}
