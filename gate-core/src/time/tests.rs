//! What clocks do to a gate, and what they must not.

use super::*;
use crate::examples::Dice;

const T0: i64 = 1_790_000_000_000;
const DAY: i64 = 86_400_000;

fn keeper() -> TimeKeeper {
    TimeKeeper::new(BootId(uuid::Uuid::from_u128(1)), T0)
}

fn reading(system_ms: i64, seconds: u64, ntp: bool) -> ClockReading {
    ClockReading { system_ms, mono_us: seconds * 1_000_000, ntp }
}

#[test]
fn trust_follows_what_is_known() {
    for (name, system, ntp, wall, trust) in [
        ("1970 after boot", 0, false, T0, Trust::Unknown),
        ("1970 though NTP says fine", 0, true, T0, Trust::Unknown),
        ("one day behind the floor", T0 - DAY, false, T0, Trust::Unknown),
        ("went on", T0 + 5, false, T0 + 5, Trust::Continued),
        ("disciplined", T0 + 5, true, T0 + 5, Trust::Ntp),
    ] {
        let (now, _) = keeper().now(reading(system, 1, ntp));
        assert_eq!((now.wall_ms, now.trust), (wall, trust), "{name}");
    }
}

#[test]
fn signed_time_wins_ages_and_is_never_moved_by_the_system_clock() {
    let mut keeper = keeper();
    keeper.hear_signed(T0 + 1000, 1_000_000);
    assert_eq!(keeper.floor_ms(), T0 + 1000);
    let (now, _) = keeper.now(reading(0, 11, false));
    assert_eq!((now.wall_ms, now.trust), (T0 + 11_000, Trust::Signed));
    for (system, trust) in [(T0 + 86_402_000, Trust::Ntp), (T0 + 400 * DAY, Trust::Continued)] {
        let (now, _) = keeper.now(reading(system, 86_402, true));
        assert_eq!((now.wall_ms, now.trust), (T0 + 1000 + 86_401_000, trust));
    }
    keeper.hear_signed(T0 + 500, 2_000_000);
    assert_eq!(keeper.floor_ms(), T0 + 1000, "a replayed answer lowers nothing");
}

#[test]
fn the_roots_word_takes_wrong_signed_time_back_and_nothing_else_does() {
    let year = 365 * DAY;
    let mut keeper = keeper();
    // The service's clock is a year ahead.
    keeper.hear_signed(T0 + year, 1_000_000);
    for (name, signed) in [("the right time", T0 + 5_000), ("NTP and the system clock", T0 + year)] {
        keeper.hear_signed(signed, 2_000_000);
        let (now, _) = keeper.now(reading(T0 + 5_000, 5, true));
        assert_eq!(
            (now.wall_ms, now.trust),
            (T0 + year + if signed == T0 + year { 3_000 } else { 4_000 }, Trust::Signed),
            "{name}"
        );
    }
    assert!(keeper.take_back(4, T0 + 6_000));
    assert_eq!((keeper.floor_ms(), keeper.heeded()), (T0 + 6_000, Some(4)));
    let (now, _) = keeper.now(reading(T0 + 7_000, 7, true));
    assert_eq!((now.wall_ms, now.trust), (T0 + 7_000, Trust::Ntp), "the system clock is believed anew");
    assert_eq!(now.mono_us, 7_000_000);
    keeper.hear_signed(T0 + 8_000, 8_000_000);
    let (now, _) = keeper.now(reading(0, 9, false));
    assert_eq!((now.wall_ms, now.trust), (T0 + 9_000, Trust::Signed), "and so is the venue's key");
    for (name, number, floor_ms) in [("again", 4, T0 + 1), ("of a gate that was never wrong", 5, T0 + 8_000)] {
        assert!(!keeper.take_back(number, floor_ms), "{name}");
        let (now, _) = keeper.now(reading(0, 9, false));
        assert_eq!((keeper.floor_ms(), now.trust), (T0 + 8_000, Trust::Signed), "{name}");
    }
    // A system clock that is behind the word is not believed.
    assert!(keeper.take_back(6, T0 + 7_000));
    let (now, _) = keeper.now(reading(T0 - DAY, 10, true));
    assert_eq!((now.wall_ms, now.trust), (T0 + 7_000, Trust::Unknown));
}

#[test]
fn a_ten_year_step_costs_trust_but_does_not_move_time_and_the_floor_stays() {
    let mut keeper = keeper();
    keeper.now(reading(T0 + 1000, 1, true));
    let (now, anomaly) = keeper.now(reading(T0 + 3650 * DAY, 2, true));
    assert_eq!((now.wall_ms, now.trust), (T0 + 1999, Trust::Unknown));
    assert!(anomaly.is_some());
    assert_eq!(keeper.floor_ms(), T0);
    keeper.hear_signed(T0 + 9000, 9_000_000);
    let (now, _) = keeper.now(reading(T0 + 3650 * DAY, 10, true));
    assert_eq!((now.wall_ms, now.trust), (T0 + 10_000, Trust::Signed));
}

#[test]
fn time_never_goes_back_within_a_boot() {
    let mut keeper = keeper();
    let mut last = 0;
    for (second, system) in [(1, T0 + 10_000), (2, T0 + 2_000), (3, T0 + 9_000), (4, T0 + 12_500), (5, 0)] {
        let (now, _) = keeper.now(reading(system, second, false));
        assert!(now.wall_ms >= last, "at second {second}");
        last = now.wall_ms;
    }
}

#[test]
fn the_service_day_begins_at_the_boundary_also_on_dst_nights() {
    let rule = DayRule { time_zone: "Europe/Bucharest".into(), boundary_min: 180 };
    let local = |text: &str| rule.local(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap();
    // 2026-03-29 03:00 -> 04:00 local; 2026-10-25 04:00 -> 03:00 local.
    for (name, before, after) in [
        ("plain night", "2026-06-10T23:59:59Z", "2026-06-11T00:00:00Z"),
        ("23-hour day: 02:59:59 is followed by 04:00", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"),
    ] {
        let (before, after) = (local(before), local(after));
        assert_eq!(before.day.0 + 1, after.day.0, "{name}");
    }
    // 25-hour day: the hour 03:00-04:00 happens twice, both times in the new day.
    let once = local("2026-10-25T00:30:00Z");
    let twice = local("2026-10-25T01:30:00Z");
    assert_eq!((once.minute, twice.minute, once.day), (210, 210, twice.day));
    assert!(DayRule { time_zone: "Mars/Olympus".into(), boundary_min: 0 }.local(T0).is_err());
}

#[test]
fn a_boot_never_goes_below_the_floor() {
    for (name, system, wall) in
        [("1970", 0, T0), ("a day before the floor", T0 - DAY, T0), ("the floor", T0, T0), ("i64::MIN", i64::MIN, T0)]
    {
        let mut keeper = keeper();
        let (now, _) = keeper.now(reading(system, 1, false));
        assert_eq!(now.wall_ms, wall, "{name}");
        // While the date is not known time goes on all the same.
        let (later, anomaly) = keeper.now(reading(system.saturating_add(3_600_000), 3601, false));
        assert!((3_598_000..=3_600_000).contains(&(later.wall_ms - wall)), "{name}: {}", later.wall_ms - wall);
        assert_eq!(anomaly, None, "{name}");
    }
}

/// the journal remembers what the clock forgot.
#[test]
fn a_reboot_goes_on_from_the_journal() {
    let boot = |n| BootId(uuid::Uuid::from_u128(n));
    let newest = |after_days: i64, trust| {
        Some(Now { wall_ms: T0 + after_days * DAY, mono_us: 900_000_000, boot: boot(1), trust })
    };
    use Trust::{Continued, Ntp, Signed, Unknown};
    // (what the journal says, the clock at the next boot, NTP; the time and the trust then), in days after the floor.
    for (name, journal, system, ntp, wall, trust) in [
        ("no journal, battery pulled", None, -9000, false, 0, Unknown),
        ("battery pulled", newest(60, Continued), -9000, false, 60, Unknown),
        ("set back a day", newest(1, Continued), 0, false, 1, Continued),
        ("set back a year", newest(60, Signed), -365, false, 60, Unknown),
        ("set back although NTP says so", newest(60, Continued), 3, true, 60, Continued),
        ("a saved time", newest(60, Ntp), 59, false, 60, Continued),
        ("went on", newest(60, Unknown), 61, false, 61, Continued),
        ("disciplined", newest(60, Continued), 61, true, 61, Ntp),
        ("eight months in a box", newest(60, Signed), 300, false, 300, Continued),
        ("a season without network", newest(199, Continued), -9000, false, 199, Unknown),
        ("what an unsigned clock said that long ago is not remembered", newest(201, Ntp), -9000, false, 0, Unknown),
        ("what was signed is", newest(201, Signed), -9000, false, 201, Unknown),
        ("ten years ahead", newest(60, Continued), 3650, false, 60, Unknown),
        ("ten years ahead, and NTP says so", newest(60, Continued), 3650, true, 60, Unknown),
        ("the journal is behind the floor", newest(-5, Signed), -9000, false, 0, Unknown),
    ] {
        let mut keeper = TimeKeeper::resume(boot(2), T0, journal);
        let (now, _) = keeper.now(reading(T0 + system * DAY, 1, ntp));
        assert_eq!((now.wall_ms, now.trust), (T0 + wall * DAY, trust), "{name}");
        assert_eq!(keeper.floor_ms(), T0, "{name}: only signed time raises the floor");
    }
    // The program was started again, the machine was not: time goes on by the monotonic clock.
    for (trust, system, wall, then) in [
        (Signed, 0, T0 + 10 * DAY + 100_000, Continued),
        (Signed, T0 + 10 * DAY + 100_000, T0 + 10 * DAY + 100_000, Ntp),
        (Continued, T0 + 2 * DAY, T0 + 10 * DAY + 99_950, Continued),
        (Continued, 0, T0 + 10 * DAY + 99_950, Continued),
        (Continued, T0 + 10 * DAY + 23 * DAY / 24, T0 + 10 * DAY + 23 * DAY / 24, Ntp),
        // What was believed in this boot is not believed anew: a crash is no way around the limit of a day.
        (Continued, T0 + 50 * DAY, T0 + 10 * DAY + 99_950, Unknown),
        (Ntp, T0 + 50 * DAY, T0 + 10 * DAY + 99_950, Unknown),
        (Unknown, 0, T0 + 10 * DAY + 99_950, Unknown),
        (Unknown, T0 + 50 * DAY, T0 + 50 * DAY, Ntp),
    ] {
        let mut keeper = TimeKeeper::resume(boot(1), T0, newest(10, trust));
        let (now, _) = keeper.now(reading(system, 1000, true));
        assert_eq!((now.wall_ms, now.trust), (wall, then), "{trust:?}, clock at {system}");
    }
}

/// trust falls as the table says, time does not.
#[test]
fn sixty_days_without_ntp_or_cloud() {
    for (name, ntp_days, boots_on) in [("NTP never", 0, 0), ("NTP for ten days", 10, 0), ("a reboot on day 30", 0, 30)]
    {
        let mut keeper = keeper();
        keeper.hear_signed(T0 + 1000, 1_000_000);
        let mut signed = true;
        let mut newest = None;
        for hour in 0..60 * 24 {
            let day = hour / 24;
            if boots_on > 0 && hour == boots_on * 24 {
                keeper = TimeKeeper::resume(BootId(uuid::Uuid::from_u128(2)), keeper.floor_ms(), newest);
                signed = false;
            }
            let ntp = day < ntp_days;
            let since_boot = if signed { hour } else { hour - boots_on * 24 };
            let at = reading(T0 + 1000 + hour as i64 * 3_600_000, since_boot * 3600 + 1, ntp);
            let (now, anomaly) = keeper.now(at);
            let expected = match (signed && hour < 24, ntp) {
                (true, _) => Trust::Signed,
                (false, true) => Trust::Ntp,
                (false, false) => Trust::Continued,
            };
            assert_eq!((now.trust, anomaly), (expected, None), "{name}, hour {hour}");
            assert!(now.wall_ms.abs_diff(at.system_ms) <= 2000, "{name}, hour {hour}: the time is still right");
            newest = Some(now);
        }
    }
}

#[test]
fn a_step_back_is_one_anomaly_and_time_goes_on() {
    let mut keeper = keeper();
    keeper.now(reading(T0 + DAY, 1, true));
    let (now, anomaly) = keeper.now(reading(T0 + DAY - 3_600_000 + 1000, 2, true));
    assert_eq!(anomaly, Some(ClockAnomaly { expected_ms: T0 + DAY + 1000, read_ms: T0 + DAY - 3_599_000 }));
    assert_eq!(now.trust, Trust::Continued, "what NTP says now is not what is kept");
    // Four readings a second for an hour: no further anomaly, and an hour passes.
    let mut last = now;
    for quarter in 1..=14_400i64 {
        let at_us = 2_000_000 + quarter as u64 * 250_000;
        let system_ms = T0 + DAY - 3_599_000 + quarter * 250;
        let (now, anomaly) = keeper.now(ClockReading { system_ms, mono_us: at_us, ntp: true });
        assert_eq!(anomaly, None, "quarter second {quarter}");
        assert!(now.wall_ms >= last.wall_ms);
        last = now;
    }
    let lost = T0 + DAY + 3_601_000 - last.wall_ms;
    assert!((0..=2000).contains(&lost), "the clock lost {lost} ms in an hour");
}

#[test]
fn many_small_steps_ahead_are_one_large_one() {
    let mut keeper = keeper();
    keeper.now(reading(T0, 1, true));
    let mut system = T0;
    for step in 2..2000 {
        system += 1_900_000;
        let (now, _) = keeper.now(reading(system, step, true));
        let most = T0 + DAY + 2 * 1000 * step as i64;
        assert!(now.wall_ms <= most, "step {step}: {} ms ahead", now.wall_ms - T0);
    }
    let (now, _) = keeper.now(reading(system, 2000, true));
    assert_eq!(now.trust, Trust::Unknown);
    keeper.hear_signed(T0 + 2_000_000, 2_000_000_000);
    let (now, _) = keeper.now(reading(system, 2001, true));
    assert_eq!((now.wall_ms, now.trust), (T0 + 2_001_000, Trust::Signed), "signed time repairs it");
}

#[test]
fn an_answer_that_was_kept_back_does_not_turn_the_clock_back() {
    for (name, late_ms, taken) in
        [("at once", 0, true), ("10 s on the way", 10_000, true), ("an hour on the way", 3_600_000, false)]
    {
        let mut keeper = keeper();
        keeper.hear_signed(T0 + 1000, 1_000_000);
        let true_ms = T0 + 1000 + 7_200_000;
        keeper.hear_signed(true_ms - late_ms, 7_201_000_000);
        let (now, _) = keeper.now(reading(0, 7201, false));
        assert_eq!(now.wall_ms, if taken { true_ms - late_ms } else { true_ms }, "{name}");
        assert_eq!(keeper.floor_ms(), if taken { true_ms - late_ms } else { T0 + 1000 }, "{name}");
    }
}

/// whatever the system clock does, over and over.
#[test]
fn a_thousand_random_scripts() {
    let (mut anomalies, mut unknown, mut trusted) = (0, 0, 0);
    for seed in 0..1000 {
        let mut dice = Dice::new(seed);
        let mut keeper = keeper();
        let (mut us, mut true_ms, mut system) = (1_000_000 * dice.below(100), T0 + dice.below(1000) as i64 * DAY, 0i64);
        system += dice.one_of(&[0, T0 - DAY, T0, true_ms, true_ms, true_ms + 400 * DAY]);
        let (mut floor, mut heard) = (T0, T0);
        let mut last: Option<Now> = None;
        let mut first: Option<Now> = None;
        for step in 0..60 {
            let elapsed = dice.one_of(&[0, 999, 16_700, 250_000, 60_000_000, 3_600_000_000]) + dice.below(1000);
            us += elapsed;
            true_ms += (elapsed / 1000) as i64;
            // 200 ppm either way.
            system = system
                .saturating_add((elapsed / 1000) as i64 + dice.one_of(&[-1, 0, 1]) * (elapsed / 5_000_000) as i64);
            let mut stepped = false;
            if dice.below(4) == 0 {
                let size = dice.one_of(&[1000, 4000, 60_000, 3_600_000, DAY, 30 * DAY, 3650 * DAY, i64::MAX]);
                let size = if dice.below(2) == 0 { size } else { -size };
                let before = system;
                system = system.saturating_add(size);
                stepped = system.abs_diff(before) > 3_000;
            }
            let mut signed = false;
            if dice.below(10) == 0 {
                let say = dice.one_of(&[true_ms, true_ms, true_ms - 5000, true_ms - DAY, T0 - 1]);
                let before = keeper.floor_ms();
                keeper.hear_signed(say, us);
                signed = keeper.floor_ms() != before || say == before;
                heard = heard.max(say);
            }
            let ntp = dice.below(2) == 0;
            let (now, anomaly) = keeper.now(ClockReading { system_ms: system, mono_us: us, ntp });
            let told = format!("seed {seed}, step {step}");
            assert!(now.wall_ms >= keeper.floor_ms(), "{told}: below the floor");
            assert!(keeper.floor_ms() >= floor && keeper.floor_ms() <= heard, "{told}: the floor is poisoned");
            floor = keeper.floor_ms();
            if let Some(last) = last {
                if stepped {
                    assert!(anomaly.is_some(), "{told}: a step unseen");
                }
                assert!(anomaly.is_none() || stepped, "{told}: an anomaly without a step");
                assert!(now.mono_us >= last.mono_us, "{told}");
                // At the end of what 64 bits can count there is no later.
                if !signed && now.wall_ms < i64::MAX {
                    let pace = (elapsed / 1000) as i64;
                    let least = pace - pace / 1000 - 2;
                    assert!(
                        now.wall_ms - last.wall_ms >= least.max(0),
                        "{told}: {} ms in {pace}",
                        now.wall_ms - last.wall_ms
                    );
                }
            }
            let anchored = heard > T0;
            let begin = *first.get_or_insert(now);
            if !anchored && begin.trust > Trust::Unknown {
                let pace = ((now.mono_us - begin.mono_us) / 1000) as i64;
                assert!(now.wall_ms - begin.wall_ms <= DAY + pace + pace / 1000 + 2, "{told}: more than a day ahead");
            }
            if now.trust == Trust::Ntp {
                assert!(ntp && now.wall_ms.abs_diff(system) <= 60_000, "{told}: NTP does not say so");
            }
            anomalies += u32::from(anomaly.is_some());
            unknown += u32::from(now.trust == Trust::Unknown);
            trusted += u32::from(now.trust >= Trust::Ntp);
            last = Some(now);
        }
    }
    assert!(anomalies > 1000 && unknown > 1000 && trusted > 1000, "{anomalies} {unknown} {trusted}");
}

/// over 21 years and in zones with odd offsets, days come one after the other.
#[test]
fn service_days_never_return_and_never_skip() {
    let begin = "2024-01-01T12:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
    let end = "2045-01-01T12:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
    // Boundaries inside the hour that happens twice are the hard ones: 90 in London, 30 in Havana, 210 in Bucharest.
    for (zone, boundary_min) in [
        ("Europe/Bucharest", 180),
        ("Europe/Bucharest", 210),
        ("Europe/London", 90),
        ("America/Havana", 30),
        ("America/St_Johns", 0),
        ("Australia/Lord_Howe", 105),
        ("Asia/Kolkata", 0),
    ] {
        let rule = DayRule { time_zone: zone.into(), boundary_min };
        let first = rule.local(begin).unwrap();
        let (mut last, mut at) = (first, begin);
        let mut again = 0;
        while at < end {
            at += 47 * 60_000;
            let now = rule.local(at).unwrap();
            let moved = now.day.0 - last.day.0;
            assert!((0..=1).contains(&moved), "{zone} at {at}: {moved} days");
            // What the wall clock shows agrees, except while it shows an hour again.
            if now.minute >= boundary_min {
                assert_eq!(now.day.weekday(), now.weekday, "{zone} at {at}");
            } else if now.day.weekday() == now.weekday {
                again += 1;
            }
            last = now;
        }
        assert_eq!(last.day.0 - first.day.0, 7671, "{zone}");
        assert!(again <= 42, "{zone}: {again} moments of a day that has begun but shows less");
    }
    assert_eq!(ServiceDay(0).weekday(), 3);
    assert_eq!(ServiceDay(-4).weekday(), 6);
}
