//! What a change may say at all, whoever signed it.
//!
//! A signature proves who speaks, not that it makes sense: a cloud with a fault signs its faults too. A gate that refuses
//! a chunk keeps what it had and goes on deciding; one that takes in a number that it can't hold may stop deciding at all.
//! The limits are far beyond anything a venue needs, so that they never stand in the way of a later version.

use super::v1::{Change, ZoneTally};
use crate::ids::EventId;
use crate::occupancy::ActorCount;
use crate::reset::Daily;

/// Names and texts are at most this long, bytes.
const TEXT_BYTES: usize = 4096;
/// Lists within one change have at most this many entries.
const LIST: usize = 10_000;
/// A gate opens for at most this long, milliseconds (ten minutes).
const OPEN_MS: u32 = 600_000;
/// Nobody counts further than this: beyond it sums are no longer exact everywhere.
const COUNT: u64 = 1 << 53;
/// Times lie between 1970 and the year 9999, Unix milliseconds.
pub const LATEST_MS: i64 = 253_402_300_799_999;

/// A change that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the change about {what} makes no sense: {why}")]
pub struct Implausible {
    /// What it is about.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Whether a change can be what it says.
pub fn check(change: &Change) -> Result<(), Implausible> {
    let (what, wrong) = match change {
        Change::Statement(bytes) => ("a key", [(bytes.len() > TEXT_BYTES, "the statement is too long")].to_vec()),
        Change::Venue(venue) => (
            "the venue",
            vec![
                (venue.name.len() > TEXT_BYTES, "its name is too long"),
                (venue.day_rule.time_zone.len() > TEXT_BYTES, "its time zone is too long"),
                (venue.day_rule.boundary_min >= 1440, "its day begins after the day has ended"),
            ],
        ),
        Change::Zone(zone) => (
            "a zone",
            vec![
                (zone.name.len() > TEXT_BYTES, "its name is too long"),
                (zone.warn_percent > 100, "it warns beyond full"),
                (zone.parent == Some(zone.id), "it lies within itself"),
            ],
        ),
        Change::Gate(gate) => (
            "a gate",
            vec![
                (gate.name.len() > TEXT_BYTES, "its name is too long"),
                (gate.open_ms == 0 || gate.open_ms > OPEN_MS, "it opens for no time or for too long"),
            ],
        ),
        Change::Vendor(vendor) => ("a vendor", vec![(vendor.standing.closed_days.len() > LIST, "it closes too often")]),
        Change::Product(product) => (
            "a product",
            vec![
                (product.name.len() > TEXT_BYTES, "its name is too long"),
                (product.attention.as_ref().is_some_and(|text| text.len() > TEXT_BYTES), "its text is too long"),
                (product.zones.len() > LIST, "it names too many zones"),
                (product.rules.len() > 100, "it has too many rules"),
                (
                    product.rules.iter().any(|rule| rule.name.len() > TEXT_BYTES || rule.args.len() > 100),
                    "one of its rules is too long",
                ),
                (product.open_ms.is_some_and(|ms| ms == 0 || ms > OPEN_MS), "it opens for no time or for too long"),
            ],
        ),
        Change::Pass(pass) => {
            let until = pass.row.until.unwrap_or(0);
            ("a pass", vec![(!(0..=LATEST_MS / 1000).contains(&until), "it ends at no time that there is")])
        }
        Change::Use(used) => (
            "a use",
            vec![
                (!fits(&used.event), "the event's number is out of range"),
                (!(0..=LATEST_MS).contains(&used.at_ms), "it happened at no time that there is"),
            ],
        ),
        Change::Count(tally) => ("a count", counted(tally)),
        Change::Reset(reset) => {
            let daily = reset.daily.unwrap_or(Daily { minute: 0, since_ms: 0 });
            (
                "a zone's reset",
                vec![
                    (daily.minute >= 1440, "it is after the day has ended"),
                    (!(0..=LATEST_MS).contains(&daily.since_ms), "it holds since no time that there is"),
                ],
            )
        }
        // Of a kind that came later: it is stepped over.
        Change::Unknown(_) => return Ok(()),
    };
    match wrong.into_iter().find(|(is, _)| *is) {
        Some((_, why)) => Err(Implausible { what, why }),
        None => Ok(()),
    }
}

fn fits(event: &EventId) -> bool {
    i64::try_from(event.epoch).is_ok() && i64::try_from(event.seq).is_ok()
}

fn counted(tally: &ZoneTally) -> Vec<(bool, &'static str)> {
    let basis = &tally.basis;
    let sum = |of: fn(&ActorCount) -> u64| tally.counts.iter().fold(0u64, |sum, count| sum.saturating_add(of(count)));
    let began = basis.event.is_none() && basis.generation == 0;
    vec![
        (tally.counts.len() > LIST * 10, "too many devices have counted"),
        (basis.frontier.len() > LIST * 10, "the recount had heard of too many journals"),
        (sum(|count| count.entries) > COUNT || sum(|count| count.exits) > COUNT, "nobody counts that far"),
        (tally.counts.iter().any(|count| i64::try_from(count.actor.epoch).is_err()), "an epoch is out of range"),
        (i64::try_from(basis.generation).is_err(), "the recount's generation is out of range"),
        (!basis.event.iter().chain(&basis.frontier).all(fits), "an event's number is out of range"),
        (!began && !(0..=LATEST_MS).contains(&basis.at_ms), "it was recounted at no time that there is"),
    ]
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;

    use super::super::v1::{GateRow, PassChange, UseMark, VendorRow, VenueRow, ZoneReset, ZoneRow};
    use super::*;
    use crate::examples::*;
    use crate::ids::Direction;
    use crate::occupancy::{Actor, Basis};
    use crate::product::Rule;
    use crate::time::ServiceDay;
    use crate::view::{Egress, PassRow, PassStanding, Vendor};

    fn venue() -> VenueRow {
        VenueRow { code: "P1".parse().unwrap(), name: "Pool".into(), day_rule: day_rule() }
    }

    fn zone() -> ZoneRow {
        let (name, rights_holder) = ("Lot".into(), Some(ENTRANCE));
        ZoneRow { id: LOT, name, parent: None, capacity: 220, warn_percent: 90, best_effort: false, rights_holder }
    }

    fn gate() -> GateRow {
        let (id, lane, name, zone) = (ENTRANCE, LANE, "North".into(), LOT);
        GateRow { id, lane, name, zone, direction: Direction::In, staffed: false, egress: Egress::Scan, open_ms: 800 }
    }

    fn used() -> UseMark {
        let (event, pass, gate, service_day) = (event_id(3), claims().id(), ENTRANCE, ServiceDay(20_614));
        let (at_ms, direction) = (NOON * 1000, Direction::In);
        UseMark { event, pass, gate, at_ms, service_day, direction, charged: true, annulled: false }
    }

    fn tally() -> ZoneTally {
        let basis =
            Basis { generation: 2, event: Some(event_id(9)), observed: 40, at_ms: NOON * 1000, frontier: vec![] };
        let counts = vec![ActorCount { actor: Actor::from(event_id(1)), entries: 40, exits: 7 }];
        ZoneTally { zone: LOT, basis, counts }
    }

    fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
        change(&mut value);
        value
    }

    /// a cloud may sign nonsense; the gate says what is wrong with it.
    #[test]
    fn what_makes_sense_is_taken_and_nonsense_is_named() {
        let long = "x".repeat(TEXT_BYTES + 1);
        let row = |until| PassRow { standing: PassStanding::Live, until, uses: Some(u32::MAX) };
        let pass = |until| Change::Pass(PassChange { pass: claims().id(), row: row(until) });
        let vendor = |days| {
            let standing = Vendor { active: true, weekdays: 0x7f, closed_days: vec![ServiceDay(1); days] };
            Change::Vendor(VendorRow { code: "V1".parse().unwrap(), standing })
        };
        let reset = |minute, since_ms| Change::Reset(ZoneReset { zone: LOT, daily: Some(Daily { minute, since_ms }) });
        let start = ZoneTally { zone: LOT, basis: Basis::START, counts: vec![] };
        let rules = |n: usize| with(product(&[]), |p| p.rules = vec![Rule::Single.text(); n]);
        for (name, change, why) in [
            ("venue", Change::Venue(venue()), None),
            ("zone", Change::Zone(zone()), None),
            ("gate", Change::Gate(gate()), None),
            ("vendor", vendor(400), None),
            ("product", Change::Product(product(&[Rule::Single])), None),
            ("pass", pass(Some(NOON)), None),
            ("use", Change::Use(used()), None),
            ("count", Change::Count(tally()), None),
            ("reset", reset(180, NOON * 1000), None),
            ("no reset", Change::Reset(ZoneReset { zone: LOT, daily: None }), None),
            ("reset after the day", reset(1440, 0), Some("ended")),
            ("reset before time", reset(0, -1), Some("time")),
            ("a zone that was never recounted", Change::Count(start), None),
            ("statement", Change::Statement(ByteBuf::from(vec![0; 300])), None),
            ("a kind that came later", Change::Unknown(ByteBuf::from(vec![0; 300_000])), None),
            ("largest venue", Change::Zone(with(zone(), |z| z.capacity = u32::MAX)), None),
            ("venue's name", Change::Venue(with(venue(), |v| v.name = long.clone())), Some("name")),
            ("venue's day", Change::Venue(with(venue(), |v| v.day_rule.boundary_min = 1440)), Some("day")),
            ("venue's zone", Change::Venue(with(venue(), |v| v.day_rule.time_zone = long.clone())), Some("zone")),
            ("zone's warning", Change::Zone(with(zone(), |z| z.warn_percent = 101)), Some("full")),
            ("zone in itself", Change::Zone(with(zone(), |z| z.parent = Some(LOT))), Some("itself")),
            ("open for ever", Change::Gate(with(gate(), |g| g.open_ms = u32::MAX)), Some("opens")),
            ("open never", Change::Gate(with(gate(), |g| g.open_ms = 0)), Some("opens")),
            ("vendor's days", vendor(LIST + 1), Some("often")),
            ("product's rules", Change::Product(rules(101)), Some("rules")),
            ("product's text", Change::Product(with(rules(1), |p| p.attention = Some(long.clone()))), Some("text")),
            ("product's opening", Change::Product(with(rules(1), |p| p.open_ms = Some(600_001))), Some("opens")),
            ("pass ends before time", pass(Some(-1)), Some("ends")),
            ("pass ends after time", pass(Some(i64::MAX)), Some("ends")),
            ("use before 1970", Change::Use(with(used(), |u| u.at_ms = -1)), Some("time")),
            ("use's number", Change::Use(with(used(), |u| u.event.seq = u64::MAX)), Some("number")),
            ("counts", Change::Count(with(tally(), |t| t.counts[0].entries = u64::MAX)), Some("far")),
            (
                "sums",
                Change::Count(with(tally(), |t| {
                    t.counts = vec![ActorCount { exits: COUNT / 2 + 1, ..t.counts[0] }; 2]
                })),
                Some("far"),
            ),
            ("generation", Change::Count(with(tally(), |t| t.basis.generation = u64::MAX)), Some("generation")),
            (
                "frontier",
                Change::Count(with(tally(), |t| t.basis.frontier = vec![EventId { epoch: u64::MAX, ..event_id(1) }])),
                Some("number"),
            ),
            (
                "10^5 devices",
                Change::Count(with(tally(), |t| t.counts = vec![t.counts[0]; LIST * 10 + 1])),
                Some("devices"),
            ),
            ("recounted before time", Change::Count(with(tally(), |t| t.basis.at_ms = i64::MIN)), Some("time")),
        ] {
            match (check(&change), why) {
                (Ok(()), None) => {}
                (Err(found), Some(why)) => assert!(found.to_string().contains(why), "{name}: {found}"),
                (found, why) => panic!("{name}: {found:?}, expected {why:?}"),
            }
        }
    }
}
