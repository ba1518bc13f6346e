//! Which zones somebody should count anew: looked at once a night, suggested in the inbox.
//!
//! A count goes wrong in ways that no gate sees: somebody walks in behind a car, a sensor misses one, a gate is without
//! power. What it leaves behind only people can mend, by counting. So each night at half past three by the venue's clock,
//! when little moves, each zone is looked at whose count goes on day and night; one that begins again each day with nobody
//! in it ([`gate_core::reset`]) needs no advice. A service that was off at that hour looks when it starts. Somebody should
//! count a zone when since its last recount
//! - more had left than had come at some time, by when it happened (`drift`), also if entries hid that again since;
//! - at least two openings, and one for every fifty places, are not known to have been made (`unsure`);
//! - nothing passed for four hours, all its gates were heard, and somebody is still in there by the count, which is older
//!   than a week (`quiet`): as few as may really be there are easily counted then;
//! - it was not counted for thirty days, and as many passed as it has places, at least fifty (`old`).
//!
//! A zone has one suggestion at most. It ends by itself with the next recount or reset, or when no reason is left. One that
//! a person closed without counting is not repeated for a week.

use std::collections::BTreeMap;

use gate_core::ids::{VenueId, ZoneId};
use gate_core::occupancy::{Basis, Estimate};
use gate_core::reset::Daily;
use serde_json::json;

use crate::app::App;
use crate::conflict::{self, Finding, Kind};
use crate::ingest::{self, Past};
use crate::live;
use crate::problem::ApiError;
use crate::routes::zones;
use crate::store::{DbError, Tx, params};

/// When it is looked, minutes after local midnight.
const MINUTE: u16 = 210;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Nothing passed for this long, milliseconds.
const QUIET_MS: i64 = 4 * HOUR_MS;
/// A gate that was not heard for this long may have let somebody through since, milliseconds.
const UNHEARD_MS: i64 = HOUR_MS;
/// A count at rest is believed for this long, milliseconds.
const REST_MS: i64 = 7 * DAY_MS;
/// A count is old after this long, milliseconds.
const OLD_MS: i64 = 30 * DAY_MS;
/// Whoever closed a suggestion without counting hears no other for this long, milliseconds.
const PEACE_MS: i64 = 7 * DAY_MS;

/// Why a zone should be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Drift,
    Unsure,
    Quiet,
    Old,
}

impl Why {
    /// Its name in the API.
    const fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Unsure => "unsure",
            Self::Quiet => "quiet",
            Self::Old => "old",
        }
    }

    fn words(self, seen: &Seen) -> String {
        match self {
            Self::Drift => {
                format!("since its last recount {} more had left than had come at one time", seen.past.short)
            }
            Self::Unsure => format!("of {} openings it is not known whether they were made", seen.unsure),
            Self::Quiet => format!("nothing passed for hours and {} are still in there by its count", seen.count.high),
            Self::Old => match seen.counted_ms {
                Some(_) => format!("{} passed in the more than 30 days since it was counted", seen.past.passed),
                None => format!("{} passed and it was never counted", seen.past.passed),
            },
        }
    }
}

/// What a zone looks like in the night.
#[derive(Clone, Debug)]
struct Seen {
    capacity: u32,
    count: Estimate,
    /// Openings of which nobody knows whether they were made.
    unsure: u64,
    past: Past,
    /// When it was counted last, Unix milliseconds.
    counted_ms: Option<i64>,
    /// The recount of then.
    recount: Vec<String>,
    /// Some gate of it was not heard lately.
    unheard: bool,
    now_ms: i64,
}

impl Seen {
    fn reasons(&self) -> Vec<Why> {
        let older_than = |ms: i64| self.counted_ms.is_none_or(|at| self.now_ms.saturating_sub(at) > ms);
        let still = self.past.last_ms.is_some_and(|last| self.now_ms.saturating_sub(last) >= QUIET_MS);
        let unsure = self.unsure >= 2 && self.unsure.saturating_mul(50) >= u64::from(self.capacity);
        let many = self.past.passed >= u64::from(self.capacity.max(50));
        let holds = |why: &Why| match why {
            Why::Drift => self.past.short > 0,
            Why::Unsure => unsure,
            Why::Quiet => self.count.high > 0 && still && !self.unheard && older_than(REST_MS),
            Why::Old => many && older_than(OLD_MS),
        };
        [Why::Drift, Why::Unsure, Why::Quiet, Why::Old].into_iter().filter(holds).collect()
    }

    fn details(&self, reasons: &[Why]) -> serde_json::Value {
        json!({
            "reasons": reasons.iter().map(|why| why.name()).collect::<Vec<_>>(),
            "counted": self.count.high,
            "low": self.count.low,
            "high": self.count.high,
            "unsure": self.unsure,
            "drift": self.past.short,
            "passed": self.past.passed,
            "last_passed_ms": self.past.last_ms,
            "last_counted_ms": self.counted_ms,
        })
    }
}

/// The recount of a basis, as evidence.
fn recounted(basis: &Basis) -> Vec<String> {
    basis.event.map(|event| event.to_string()).into_iter().collect()
}

/// Looks at the zones of each venue in which that is due; gives how many should be counted and were not suggested yet.
pub async fn look(app: &App) -> Result<usize, ApiError> {
    let venues = app
        .db()
        .read(async |tx| tx.query("SELECT venue_id, time_zone, looked_ms FROM venues ORDER BY venue_id", &[]).await)
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    let mut suggested = 0;
    for row in venues {
        let (venue, time_zone, looked_ms): (VenueId, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let night = Daily { minute: MINUTE, since_ms: 0 }.latest(&time_zone, app.now_ms());
        if let Some(night) = night.filter(|night| *night > looked_ms) {
            suggested += app.change(venue, async |tx| in_venue(tx, app, venue, night).await).await?;
        }
    }
    Ok(suggested)
}

async fn in_venue(tx: &mut Tx, app: &App, venue: VenueId, night: i64) -> Result<usize, ApiError> {
    let looked = tx
        .execute("UPDATE venues SET looked_ms = $1 WHERE venue_id = $2 AND looked_ms < $1", params![night, venue])
        .await?;
    if looked == 0 {
        // Another process of this service was faster.
        return Ok(0);
    }
    let zones = zones::all(tx, venue).await?;
    let parents: BTreeMap<ZoneId, Option<ZoneId>> = zones.iter().map(|(zone, _)| (zone.id, zone.parent)).collect();
    let heard = heard(tx, venue).await?;
    let mut suggested = 0;
    for (zone, daily) in &zones {
        let unheard = |(gate, seen_ms): &(ZoneId, i64)| {
            live::within(&parents, *gate, zone.id) && app.now_ms().saturating_sub(*seen_ms) > UNHEARD_MS
        };
        let seen = see(tx, venue, (zone.id, zone.capacity), heard.iter().any(unheard), app.now_ms()).await?;
        let reasons = if daily.is_some() { Vec::new() } else { seen.reasons() };
        suggested += usize::from(suggest(tx, venue, (zone.id, &zone.name), (&seen, &reasons), night).await?);
    }
    Ok(suggested)
}

/// The zones that gates with a device lead into, each with when that was last heard, Unix milliseconds.
async fn heard(tx: &mut Tx, venue: VenueId) -> Result<Vec<(ZoneId, i64)>, DbError> {
    let rows = tx
        .query(
            "SELECT g.zone_id, COALESCE(d.seen_ms, 0) FROM gates g JOIN devices d ON d.venue_id = g.venue_id AND d.gate_id = g.gate_id AND d.revoked_ms IS NULL WHERE g.venue_id = $1",
            params![venue],
        )
        .await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

async fn see(
    tx: &mut Tx,
    venue: VenueId,
    (zone, capacity): (ZoneId, u32),
    unheard: bool,
    now_ms: i64,
) -> Result<Seen, DbError> {
    let count = ingest::merged(&ingest::tally(tx, venue, zone).await?);
    let (entries, exits) = ingest::doubts(tx, venue, zone).await?;
    Ok(Seen {
        capacity,
        count: Estimate::of(count.demand(), entries, exits),
        unsure: entries.saturating_add(exits),
        past: ingest::past(tx, venue, zone, now_ms).await?,
        counted_ms: count.basis().event.map(|_| count.basis().at_ms),
        recount: recounted(count.basis()),
        unheard,
        now_ms,
    })
}

/// Brings the one suggestion of a zone up to date; true if it is new.
async fn suggest(
    tx: &mut Tx,
    venue: VenueId,
    (zone, name): (ZoneId, &str),
    (seen, reasons): (&Seen, &[Why]),
    night: i64,
) -> Result<bool, DbError> {
    let row = tx
        .first(
            "SELECT conflict_id, resolved_ms, resolved_by, raised_ms FROM conflicts WHERE venue_id = $1 AND kind = 'count_due' AND zone_id = $2 ORDER BY raised_ms DESC LIMIT 1",
            params![venue, zone],
        )
        .await?;
    let mut raised_ms = night;
    if let Some(row) = row {
        let (id, resolved_ms): (String, Option<i64>) = (row.get(0)?, row.get(1)?);
        match resolved_ms {
            None if reasons.is_empty() => {
                conflict::settle(tx, venue, &id, seen.now_ms).await?;
                return Ok(false);
            }
            // It keeps its name and says what is so now.
            None => raised_ms = row.get(3)?,
            Some(at) => {
                let by_somebody = row.get::<Option<String>>(2)?.is_some();
                let counted_since = seen.counted_ms.is_some_and(|counted| counted > at);
                if by_somebody && !counted_since && seen.now_ms.saturating_sub(at) < PEACE_MS {
                    return Ok(false);
                }
            }
        }
    }
    if reasons.is_empty() {
        return Ok(false);
    }
    let whys: Vec<String> = reasons.iter().map(|why| why.words(seen)).collect();
    let text = format!(
        "count who is in zone {zone} ({name}) and enter it as a recount: it counts {} now; {}",
        seen.count.high,
        whys.join("; ")
    );
    let mut finding = Finding::new(Kind::CountDue, format!("{zone} {raised_ms}"), text, raised_ms);
    finding.zone = Some(zone);
    finding.details = seen.details(reasons);
    finding.against.clone_from(&seen.recount);
    finding.at_ms = night;
    conflict::raise(tx, venue, &finding).await
}

/// A zone rests on this count now: what was suggested before it is done.
pub async fn done(tx: &mut Tx, venue: VenueId, zone: ZoneId, basis: &Basis, now_ms: i64) -> Result<(), DbError> {
    let rows = tx
        .query(
            "SELECT conflict_id, against FROM conflicts WHERE venue_id = $1 AND kind = 'count_due' AND zone_id = $2 AND standing = 1",
            params![venue, zone],
        )
        .await?;
    let rests_on = recounted(basis);
    for row in rows {
        let against: Vec<String> = serde_json::from_str(&row.get::<String>(1)?).unwrap_or_default();
        if against != rests_on {
            conflict::settle(tx, venue, &row.get::<String>(0)?, now_ms).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
