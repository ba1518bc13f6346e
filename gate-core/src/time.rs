//! Time is a value with a trust level, because a Raspberry Pi may boot without knowing the date.
//!
//! [`TimeKeeper`] turns clock readings into [`Now`]. Only signed time raises the persisted floor; nothing lowers it but the
//! word of the venue's root that what was signed was wrong ([`TimeKeeper::take_back`]). Durations use the monotonic clock
//! alone. What the journal says has passed is not undone by a reboot: a gate whose clock was set back, or whose battery was
//! pulled, goes on from its newest event, without believing the date.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::ids::BootId;
use crate::mutant::{self, Mutant};

/// How far the wall clock may be believed, from worst to best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The clock reads a time that has already passed, or jumped: the date is not known.
    Unknown,
    /// The clock went on from an earlier run (real-time clock, saved time); nobody confirmed it.
    Continued,
    /// The operating system says that NTP disciplines it. NTP is not authenticated.
    Ntp,
    /// Told by the venue's time key less than a day ago.
    Signed,
}

/// One moment, read once per event and passed down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Now {
    /// Unix milliseconds.
    pub wall_ms: i64,
    /// Microseconds since boot; never steps.
    pub mono_us: u64,
    /// Which boot `mono_us` counts from.
    pub boot: BootId,
    /// How far `wall_ms` may be believed.
    pub trust: Trust,
}

/// What the clocks read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockReading {
    /// The system clock, Unix milliseconds.
    pub system_ms: i64,
    /// CLOCK_BOOTTIME or CLOCK_MONOTONIC, microseconds.
    pub mono_us: u64,
    /// Whether the kernel says that the clock is disciplined (`adjtimex` without STA_UNSYNC).
    pub ntp: bool,
}

/// The wall clock did something it should not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClockAnomaly {
    /// What the last reading promised for now, Unix milliseconds.
    pub expected_ms: i64,
    /// What the clock reads, Unix milliseconds.
    pub read_ms: i64,
}

/// Without signed proof the clock may be moved ahead by at most this since it was first believed, milliseconds.
const STEP_LIMIT_MS: i64 = 24 * 3600 * 1000;
/// A clock that nobody signed for is not believed if it begins further ahead of what is known than this, milliseconds (400
/// days: a gate may sleep from one season to the next). A lie beyond it costs trust, and does not lock anybody out.
const AHEAD_LIMIT_MS: i64 = 400 * 24 * 3600 * 1000;
/// The journal's time is remembered over a reboot if it is at most this far past the floor, milliseconds (200 days: a
/// season without network). What an unsigned clock made it say can't cost more than that, and only until time is signed.
const JOURNAL_LIMIT_MS: i64 = 200 * 24 * 3600 * 1000;
/// A machine without a battery starts with the time that it saved last, at most this long before it went off,
/// milliseconds.
const SAVED_LIMIT_MS: i64 = 2 * 3600 * 1000;
/// A step smaller than this is slewing, not an anomaly, milliseconds.
const SLEW_LIMIT_MS: u64 = 2_000;
/// A disciplined system clock that differs by more than this from the time that is kept here proves nothing about it,
/// milliseconds.
const AGREEMENT_MS: u64 = 60_000;
/// Oscillators and slewing kernels are off by at most one part in this many (500 ppm).
const DRIFT_PARTS: u64 = 2_000;
/// Signed time may have been on its way for at most this long, milliseconds; the transport gives up earlier.
const DELAY_LIMIT_MS: i64 = 15_000;
/// Signed time is fresh for this long, microseconds.
const SIGNED_FRESH_US: u64 = 24 * 3600 * 1_000_000;

/// A moment on the wall clock and the monotonic stamp it belongs to.
#[derive(Clone, Copy, Debug)]
struct Fix {
    ms: i64,
    us: u64,
}

impl Fix {
    /// The wall clock when the monotonic one shows `us`.
    fn at(self, us: u64) -> i64 {
        self.ms.saturating_add(whole_ms(us.saturating_sub(self.us)))
    }

    /// The same, if the monotonic clock is as fast as it may be wrong.
    fn earliest(self, us: u64) -> i64 {
        let elapsed = us.saturating_sub(self.us);
        self.ms.saturating_add(whole_ms(elapsed - elapsed / DRIFT_PARTS))
    }

    /// The same, if the monotonic clock is as slow as it may be wrong.
    fn latest(self, us: u64) -> i64 {
        let elapsed = us.saturating_sub(self.us);
        self.ms.saturating_add(whole_ms(elapsed.saturating_add(elapsed / DRIFT_PARTS)))
    }
}

fn whole_ms(us: u64) -> i64 {
    i64::try_from(us / 1000).unwrap_or(i64::MAX)
}

/// Keeps wall time honest within one boot.
///
/// Time told by the venue's key is kept going by the monotonic clock alone. Until there is any, the system clock is
/// followed: ahead at once, but not further than a day in all; back never, so that an expired pass can't become valid
/// again and an expiry can't be put off. After a step back, time goes on at the monotonic clock's pace.
///
/// | at the start | time | trust |
/// |---|---|---|
/// | the clock is two hours or more behind the floor (1970, set back, battery pulled) | goes on from the journal, or the floor | unknown |
/// | it is behind what has passed, but not behind the floor (a time that was saved now and then) | the same | continued |
/// | it is at most 400 days ahead of what has passed | the clock's | NTP if disciplined, else continued |
/// | it is further ahead | goes on from the journal, or the floor | unknown |
/// | time was signed | the signed time, by the monotonic clock | signed for a day, then NTP if that agrees, else continued |
#[derive(Clone, Debug)]
pub struct TimeKeeper {
    boot: BootId,
    floor_ms: i64,
    /// What had passed before this start, at least.
    least_ms: i64,
    /// Signed time.
    anchor: Option<Fix>,
    /// Signed time is fresh up to this monotonic stamp.
    fresh_until_us: u64,
    /// When the system clock was first believed.
    origin: Option<Fix>,
    /// The system clock when it was last followed.
    base: Option<Fix>,
    /// The system clock at the last reading: steps are measured against it.
    system: Option<Fix>,
    last: Option<Now>,
    jumped: bool,
    /// The number of the last word by which signed time was taken back, as far as this knows of it.
    reset: Option<i64>,
}

impl TimeKeeper {
    /// Starts with the persisted floor (at least the build time of the software), Unix milliseconds.
    pub fn new(boot: BootId, floor_ms: i64) -> Self {
        Self {
            boot,
            floor_ms,
            least_ms: floor_ms,
            anchor: None,
            fresh_until_us: 0,
            origin: None,
            base: None,
            system: None,
            last: None,
            jumped: false,
            reset: None,
        }
    }

    /// Starts with the persisted floor and the moment of the journal's newest event.
    ///
    /// Within one boot that moment goes on with the monotonic clock; signed time goes on too, only not as fresh, and a clock
    /// that was believed is not believed anew. After a reboot it is the least that can have passed.
    pub fn resume(boot: BootId, floor_ms: i64, newest: Option<Now>) -> Self {
        let mut keeper = Self::new(boot, floor_ms);
        let Some(newest) = newest.filter(|newest| {
            newest.trust == Trust::Signed || newest.wall_ms <= floor_ms.saturating_add(JOURNAL_LIMIT_MS)
        }) else {
            return keeper;
        };
        keeper.least_ms = floor_ms.max(newest.wall_ms);
        if newest.boot == boot {
            let fix = Fix { ms: newest.wall_ms, us: newest.mono_us };
            keeper.base = Some(fix);
            keeper.anchor = (newest.trust == Trust::Signed).then_some(fix);
            // What was believed once in this boot may move ahead by a day in all, however often the program starts.
            keeper.origin = (newest.trust != Trust::Unknown).then_some(fix);
        }
        keeper
    }

    /// The latest time that signed proof says has passed. Persist it when it changes.
    pub fn floor_ms(&self) -> i64 {
        self.floor_ms
    }

    /// Takes signed time that was heard at the monotonic stamp `heard_us`. It was signed a little earlier; the time on the
    /// way is not added, so that the floor can't be set too high. An answer that is older than what is known already (kept
    /// back on the way, or replayed) changes nothing.
    pub fn hear_signed(&mut self, signed_ms: i64, heard_us: u64) {
        let kept_back =
            self.anchor.is_some_and(|anchor| signed_ms < anchor.earliest(heard_us).saturating_sub(DELAY_LIMIT_MS));
        if signed_ms < self.floor_ms || kept_back {
            return;
        }
        self.floor_ms = signed_ms;
        self.anchor = Some(Fix { ms: signed_ms, us: heard_us });
        self.fresh_until_us = heard_us.saturating_add(SIGNED_FRESH_US);
    }

    /// What it was started with had heeded the root's word of this number already.
    pub fn having_heeded(mut self, reset: Option<i64>) -> Self {
        self.reset = reset;
        self
    }

    /// The number of the last word by which signed time was taken back, as far as it was heeded here.
    pub fn heeded(&self) -> Option<i64> {
        self.reset
    }

    /// The venue's root takes back what was signed, in a word of this number: nothing but this floor is known to have passed,
    /// Unix milliseconds, and the system clock is believed anew. The one way in which time goes back. Says whether it did: a
    /// word that is known, or a floor that is not below what is known, changes nothing.
    pub fn take_back(&mut self, reset: i64, floor_ms: i64) -> bool {
        let known = self.reset.replace(reset) == Some(reset);
        if known || floor_ms >= self.floor_ms {
            return false;
        }
        self.floor_ms = floor_ms;
        self.least_ms = floor_ms;
        self.anchor = None;
        self.fresh_until_us = 0;
        self.origin = None;
        self.base = None;
        self.jumped = false;
        self.last = self.last.map(|last| Now { wall_ms: floor_ms, ..last });
        true
    }

    /// Turns a reading into a moment, and says if the system clock stepped since the last one.
    pub fn now(&mut self, reading: ClockReading) -> (Now, Option<ClockAnomaly>) {
        let us = reading.mono_us.max(self.last.map_or(0, |last| last.mono_us));
        let anomaly = self.system.map(|system| system.at(us)).and_then(|expected_ms| {
            let stepped = reading.system_ms.abs_diff(expected_ms) > SLEW_LIMIT_MS;
            stepped.then_some(ClockAnomaly { expected_ms, read_ms: reading.system_ms })
        });
        self.system = Some(Fix { ms: reading.system_ms, us });
        let (wall_ms, trust) = match self.anchor {
            Some(anchor) => {
                let wall_ms = anchor.at(us);
                (wall_ms, if us < self.fresh_until_us { Trust::Signed } else { agreed(reading, wall_ms) })
            }
            None => self.follow(reading, us),
        };
        let wall_ms = if mutant::active(Mutant::TimeGoesBack) { reading.system_ms } else { wall_ms };
        if mutant::active(Mutant::FloorFromNtp) && reading.ntp {
            self.floor_ms = self.floor_ms.max(reading.system_ms);
        }
        let now = Now { wall_ms: wall_ms.max(self.floor_ms), mono_us: us, boot: self.boot, trust };
        self.last = Some(now);
        (now, anomaly)
    }

    /// Follows the system clock as far as it may be believed.
    fn follow(&mut self, reading: ClockReading, us: u64) -> (i64, Trust) {
        let read_ms = reading.system_ms;
        let base = *self.base.get_or_insert(Fix { ms: self.least_ms, us });
        let mut wall_ms = base.earliest(us);
        let absurd = self.origin.is_none() && read_ms > wall_ms.saturating_add(AHEAD_LIMIT_MS);
        if read_ms >= wall_ms && !absurd {
            let origin = *self.origin.get_or_insert(Fix { ms: read_ms, us });
            if read_ms > origin.latest(us).saturating_add(STEP_LIMIT_MS) {
                self.jumped = true;
            }
            if !self.jumped {
                wall_ms = read_ms;
                self.base = Some(Fix { ms: read_ms, us });
            }
        }
        // What `base` was before may have promised a little more than `earliest` says now.
        wall_ms = wall_ms.max(self.last.map_or(wall_ms, |last| last.wall_ms));
        // A clock that was saved now and then starts a little behind what has passed. It went on like that.
        if self.origin.is_none() && !absurd && read_ms >= self.floor_ms.saturating_sub(SAVED_LIMIT_MS) {
            self.origin = Some(Fix { ms: wall_ms, us });
        }
        if self.origin.is_none() || self.jumped {
            (wall_ms, Trust::Unknown)
        } else {
            (wall_ms, agreed(reading, wall_ms))
        }
    }
}

/// How far a time may be believed that nobody signed lately.
fn agreed(reading: ClockReading, wall_ms: i64) -> Trust {
    if reading.ntp && reading.system_ms.abs_diff(wall_ms) <= AGREEMENT_MS { Trust::Ntp } else { Trust::Continued }
}

/// The venue's day, as days since 1970-01-01 in its own calendar. It begins at the venue's day boundary, not at midnight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceDay(pub i32);

/// Where a venue's days begin.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct DayRule {
    /// IANA time zone, for example `Europe/Bucharest`.
    pub time_zone: String,
    /// Minutes after local midnight at which the service day begins, 0 to 719.
    pub boundary_min: u16,
}

/// A moment in the venue's own calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalMoment {
    /// The service day it falls in.
    pub day: ServiceDay,
    /// Weekday of the civil date, Monday = 0.
    pub weekday: u8,
    /// Minutes since local midnight, 0 to 1439.
    pub minute: u16,
}

/// A time zone this software does not know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a known time zone")]
pub struct UnknownTimeZone(pub String);

impl DayRule {
    /// Places a moment in the venue's calendar. A day begins when the clock first shows the boundary (or jumps over it), and
    /// does not begin again when the clock is put back, so days of 23 and 25 hours come out right and no day returns.
    pub fn local(&self, wall_ms: i64) -> Result<LocalMoment, UnknownTimeZone> {
        let unknown = || UnknownTimeZone(self.time_zone.clone());
        let zone = TimeZone::get(&self.time_zone).map_err(|_| unknown())?;
        let moment = Timestamp::from_millisecond(wall_ms).map_err(|_| unknown())?;
        let at = moment.to_zoned(zone.clone());
        let minute = at.hour() as u16 * 60 + at.minute() as u16;
        let today = at.date();
        let begun = |date: Date| {
            let boundary = date.at((self.boundary_min / 60) as i8, (self.boundary_min % 60) as i8, 0, 0);
            boundary.to_zoned(zone.clone()).is_ok_and(|begin| begin.timestamp() <= moment)
        };
        let date = match (today.tomorrow(), today.yesterday()) {
            // Only where the clock is put back over midnight.
            (Ok(tomorrow), _) if begun(tomorrow) => tomorrow,
            // Where it is put back over the boundary the day has begun although it shows less.
            (_, Ok(yesterday)) if minute < self.boundary_min && !begun(today) => yesterday,
            (Ok(_) | Err(_), Ok(_) | Err(_)) => today,
        };
        let day = Date::constant(1970, 1, 1).until(date).map_err(|_| unknown())?.get_days();
        Ok(LocalMoment { day: ServiceDay(day), weekday: weekday(at.weekday()), minute })
    }
}

impl ServiceDay {
    /// Its weekday, Monday = 0.
    pub fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday.
        ((i64::from(self.0) + 3).rem_euclid(7)) as u8
    }
}

fn weekday(weekday: jiff::civil::Weekday) -> u8 {
    weekday.to_monday_zero_offset() as u8
}

#[cfg(test)]
mod tests;
