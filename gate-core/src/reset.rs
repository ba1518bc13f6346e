//! A zone that begins each day with nobody in it: at a local time every night its count is set to nobody, once, with or
//! without network.
//!
//! The gate that holds the zone's capacity rights does it, because it alone admits by them; a zone that no gate holds is
//! reset by the cloud. Both record a [`Recount`] like any other, so every copy hears of it. It is dated at the instant of
//! the reset itself and names no frontier: what passed later counts on it and what passed before does not, whoever made
//! it, however late it was made and in whatever order things are heard.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::ids::ZoneId;
use crate::mutant::{self, Mutant};
use crate::occupancy::{Basis, Recount};
use crate::time::{Now, Trust};

/// When a zone is reset each day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Daily {
    /// Minutes after local midnight in the venue's time zone, 0 to 1439.
    pub minute: u16,
    /// Since when this holds, Unix milliseconds: no earlier instant resets anything.
    pub since_ms: i64,
}

impl Daily {
    /// The latest instant at or before `now_ms` at which the venue's clock came to the minute of the reset, Unix
    /// milliseconds; `None` for a time zone that this software does not know.
    ///
    /// Each date has one: the first where the clock shows the minute twice, and as much later as the clock is put ahead
    /// where it does not show it at all.
    pub fn latest(&self, time_zone: &str, now_ms: i64) -> Option<i64> {
        let zone = TimeZone::get(time_zone).ok()?;
        let today = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(zone.clone()).date();
        let (hour, minute) = (i8::try_from(self.minute / 60).ok()?, i8::try_from(self.minute % 60).ok()?);
        let on = |date: Date| {
            let at = Date::at(date, hour.min(23), minute, 0, 0).to_zoned(zone.clone()).ok()?;
            Some(at.timestamp().as_millisecond())
        };
        // Tomorrow's, where the clock is put back over midnight.
        let dates = [today.tomorrow().ok(), Some(today), today.yesterday().ok()];
        dates.into_iter().flatten().filter_map(on).filter(|at| *at <= now_ms).max()
    }

    /// The instant at which a zone that rests on this basis must be reset, if that is due. A clock that does not know the
    /// date resets nothing; one that nobody signed for does, because a gate may be without network for long, but only one
    /// night after the other: a clock that is weeks ahead must not empty a full zone. What a weekend without power leaves out
    /// is made up for.
    pub fn due(&self, time_zone: &str, basis: &Basis, now: Now) -> Option<i64> {
        if now.trust == Trust::Unknown {
            return None;
        }
        let rests = if mutant::active(Mutant::ResetAgain) { i64::MIN } else { basis.at_ms };
        let at = self.latest(time_zone, now.wall_ms).filter(|at| *at > self.since_ms && *at > rests)?;
        let known_ms = basis.at_ms.max(self.since_ms);
        let proved = now.trust == Trust::Signed || at.saturating_sub(known_ms) <= UNPROVED_MS;
        if !proved && !mutant::active(Mutant::ResetAgain) {
            return None;
        }
        Some(if mutant::active(Mutant::ResetDatedNow) { now.wall_ms } else { at })
    }
}

/// How long after the last reset (or after the rule was set) a clock that nobody signed for may make another, milliseconds:
/// three days and the hour by which a day may be longer.
const UNPROVED_MS: i64 = 73 * 3600 * 1000;

/// The reset of a zone at an instant, Unix milliseconds. `demand` is what the zone counted until now, below zero if more
/// left than came: it is kept, because somebody may still be in there.
pub fn recount(zone: ZoneId, basis: &Basis, demand: i64, at_ms: i64) -> Recount {
    let generation = basis.generation.saturating_add(1);
    Recount { zone, generation, observed: 0, at_ms, frontier: Vec::new(), before: Some(demand) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{LOT, event_id};
    use crate::ids::BootId;

    const ZONE: &str = "Europe/Bucharest";
    const MINUTE: i64 = 60_000;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn at(wall_ms: i64, trust: Trust) -> Now {
        Now { wall_ms, mono_us: 0, boot: BootId(uuid::Uuid::nil()), trust }
    }

    fn daily(minute: u16) -> Daily {
        Daily { minute, since_ms: 0 }
    }

    #[test]
    fn each_night_has_one_instant_also_when_clocks_change() {
        // 2026-03-29 03:00 -> 04:00 local; 2026-10-25 04:00 -> 03:00 local.
        for (name, minute, now, latest) in [
            ("just before three", 180, "2026-06-10T23:59:59.999Z", "2026-06-10T00:00:00Z"),
            ("at three", 180, "2026-06-11T00:00:00Z", "2026-06-11T00:00:00Z"),
            ("in the evening", 180, "2026-06-11T20:00:00Z", "2026-06-11T00:00:00Z"),
            ("midnight", 0, "2026-06-10T21:00:00Z", "2026-06-10T21:00:00Z"),
            ("the last minute of the day", 1439, "2026-06-11T20:58:00Z", "2026-06-10T20:59:00Z"),
            ("three is missing: when the clock jumps", 180, "2026-03-29T00:59:59Z", "2026-03-28T01:00:00Z"),
            ("three is missing: it jumped", 180, "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"),
            ("half past three is missing", 210, "2026-03-29T01:29:59Z", "2026-03-28T01:30:00Z"),
            ("half past three is missing: half an hour on", 210, "2026-03-29T01:30:00Z", "2026-03-29T01:30:00Z"),
            ("three comes twice: the first", 180, "2026-10-25T00:00:00Z", "2026-10-25T00:00:00Z"),
            ("three comes twice: not the second", 180, "2026-10-25T01:00:00Z", "2026-10-25T00:00:00Z"),
            ("nor later", 180, "2026-10-25T12:00:00Z", "2026-10-25T00:00:00Z"),
        ] {
            assert_eq!(daily(minute).latest(ZONE, ms(now)), Some(ms(latest)), "{name}");
        }
        assert_eq!(daily(180).latest("Mars/Olympus", ms("2026-06-11T00:00:00Z")), None);
    }

    #[test]
    fn a_zone_is_reset_once_a_night_however_often_it_is_asked_for() {
        for (name, from, until, nights) in [
            ("plain", "2026-06-10T12:00:00Z", "2026-06-13T12:00:00Z", 3),
            ("the short night", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", 2),
            ("the long night", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", 2),
        ] {
            for minute in [0, 150, 180, 210, 239, 240] {
                let (mut basis, mut resets, mut now) = (Basis::START, 0, ms(from));
                let daily = Daily { minute, since_ms: now };
                while now < ms(until) {
                    if let Some(instant) = daily.due(ZONE, &basis, at(now, Trust::Continued)) {
                        assert!(now - instant < 7 * MINUTE, "{name} {minute}: at the first look after it");
                        resets += 1;
                        basis = Basis::of(event_id(resets), &recount(LOT, &basis, 3, instant));
                    }
                    now += 7 * MINUTE;
                }
                assert_eq!((resets, basis.generation), (nights, nights), "{name} {minute}");
            }
        }
    }

    #[test]
    fn what_keeps_a_zone_from_being_reset() {
        let three = ms("2026-06-11T00:00:00Z");
        let rests = |at_ms| Basis { generation: 4, at_ms, ..Basis::START };
        for (name, since_ms, basis, now, trust, due) in [
            ("nothing", 0, rests(three - 1), three, Trust::Signed, true),
            ("hours late", 0, rests(three - 1), three + 300 * MINUTE, Trust::Ntp, true),
            ("no network for weeks", 0, rests(three - 1), three, Trust::Continued, true),
            ("a weekend without power", 0, rests(three - 72 * 60 * MINUTE), three, Trust::Continued, true),
            ("a clock that is weeks ahead", 0, rests(three - 40 * 1440 * MINUTE), three, Trust::Continued, false),
            ("the same, and NTP says so", 0, rests(three - 40 * 1440 * MINUTE), three, Trust::Ntp, false),
            ("really weeks later", 0, rests(three - 40 * 1440 * MINUTE), three, Trust::Signed, true),
            ("asked for yesterday", three - 1440 * MINUTE, Basis::START, three, Trust::Continued, true),
            ("never counted", 0, Basis::START, three, Trust::Signed, true),
            ("the date is not known", 0, rests(three - 1), three, Trust::Unknown, false),
            ("done already", 0, rests(three), three + MINUTE, Trust::Signed, false),
            ("people counted since", 0, rests(three + 5 * MINUTE), three + 9 * MINUTE, Trust::Signed, false),
            ("asked for only since", three + MINUTE, rests(three - 1), three + 2 * MINUTE, Trust::Signed, false),
        ] {
            let found = Daily { minute: 180, since_ms }.due(ZONE, &basis, at(now, trust));
            assert_eq!(found, due.then_some(three), "{name}");
        }
    }

    #[test]
    fn what_passed_after_the_instant_counts_and_what_was_there_is_kept() {
        let three = ms("2026-06-11T00:00:00Z");
        let before = Basis { generation: 4, ..Basis::START };
        let reset = recount(LOT, &before, -2, three);
        assert_eq!((reset.generation, reset.observed, reset.before), (5, 0, Some(-2)));
        let basis = Basis::of(event_id(9), &reset);
        for (name, generation, at_ms, counts) in [
            ("before it", 4, three - 1, false),
            ("before it, by a gate that had heard of it", 5, three - 1, true),
            ("after it, by a gate that had not heard of it", 4, three + 1, true),
            ("long after, on an older count still", 2, three + 400 * MINUTE, true),
        ] {
            assert_eq!(basis.counts(event_id(7), generation, at_ms), counts, "{name}");
        }
    }
}
