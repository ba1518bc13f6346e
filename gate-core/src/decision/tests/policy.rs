//! The whole policy table of how often and when a pass may come in: days of presentations, each with its answer.

use super::model::{Life, Step};
use super::*;

/// What happens to a pass, as a line of steps: `i` shows it at the entrance, `o` leaves, `d` a day goes by,
/// `h` an hour.
fn step(letter: char) -> Step {
    match letter {
        'i' => Step::Enter,
        'o' => Step::Leave,
        'd' => Step::Wait(24),
        'h' => Step::Wait(1),
        other => panic!("no step {other}"),
    }
}

/// A-42 and the rules of every product: for each entrance in the line one answer. `A` admitted and charged, `f` admitted
/// free of charge, `u` used already, `n` none left, `t` used today, `s` inside already, `w` too soon.
#[test]
fn every_product_over_days_of_coming_and_going() {
    let (single, times4, daily, twice) = ([Rule::Single], [Rule::Times(4)], [Rule::PerDay(1)], [Rule::PerDay(2)]);
    let back = Rule::ReentryAfterExit;
    let pause = Rule::MinInterval(3600);
    let with =
        |rules: &[Rule], more: &[&Rule]| -> Vec<Rule> { rules.iter().chain(more.iter().copied()).cloned().collect() };
    for (name, rules, line, answers) in [
        ("single: once, whatever follows", with(&single, &[]), "i i o i d i", "Auuu"),
        ("single with re-entry: back on the same day only", with(&single, &[&back]), "i i o i o i o d i", "Asffu"),
        ("a family's four entries at once, and no fifth", with(&times4, &[]), "iiiii d i", "AAAAnn"),
        ("a family's four entries over days", with(&times4, &[]), "i d i d ii d i", "AAAAn"),
        ("a family of four that all must leave first", with(&times4, &[&back]), "ii o i d i o i", "AsfsA"),
        ("daily: once a day", with(&daily, &[]), "ii o i d ii d i", "AttAtA"),
        ("daily: pass-back is refused", with(&daily, &[&back]), "iii o i o i d i", "Assffs"),
        ("daily with re-entry: a day begins anew", with(&daily, &[&back]), "i o d i o i o d i", "AAfA"),
        ("daily: still inside the next day", with(&daily, &[&back]), "i d i o i", "AsA"),
        ("two a day", with(&twice, &[]), "iii d iii", "AAtAAt"),
        ("four entries, one a day", with(&times4, &[&Rule::PerDay(1)]), "ii d i d i d i d i", "AtAAAn"),
        ("unlimited", with(&[Rule::Unlimited], &[]), "iiiii", "AAAAA"),
        ("unlimited, one at a time", with(&[Rule::Unlimited], &[&back]), "ii o i d i", "Asfs"),
        ("unlimited, an hour apart", with(&[Rule::Unlimited], &[&pause]), "ii h i h i i", "AwAAw"),
        ("no rule is once", vec![], "i d i", "Au"),
    ] {
        let mut life = Life::new(&rules);
        let mut said = String::new();
        for letter in line.chars().filter(|letter| !letter.is_whitespace()) {
            let charged = life.charges();
            let Some(says) = life.step(step(letter)) else { continue };
            if letter == 'o' {
                assert_eq!(says, Says::Admit, "{name}: nobody is kept inside");
                continue;
            }
            said.push(match says {
                Says::Admit if life.charges() > charged => 'A',
                Says::Admit => 'f',
                Says::Refuse(Reason::AlreadyUsed) => 'u',
                Says::Refuse(Reason::NoUsesLeft) => 'n',
                Says::Refuse(Reason::UsedToday) => 't',
                Says::Refuse(Reason::AlreadyInside) => 's',
                Says::Refuse(Reason::TooSoon) => 'w',
                Says::Ask(reason) | Says::Refuse(reason) => panic!("{name}: {reason}"),
            });
        }
        assert_eq!(said, answers, "{name}: {line}");
    }
}

/// The same over its limit where staff stand by: a soft product asks them, a hard one does not.
#[test]
fn over_the_limit_with_and_without_staff() {
    for (name, rules_of, total, today, reason) in [
        ("subscription over its daily limit", vec![Rule::PerDay(1)], 7, 1, Reason::UsedToday),
        ("family pass, fifth person", vec![Rule::Times(4)], 4, 4, Reason::NoUsesLeft),
        ("single, second time", vec![Rule::Single], 1, 1, Reason::AlreadyUsed),
    ] {
        for (second_scan, staffed, asks) in [
            (SecondScan::Hard, false, false),
            (SecondScan::Hard, true, false),
            (SecondScan::Soft, false, false),
            (SecondScan::Soft, true, true),
        ] {
            check(
                &format!("{name}, {second_scan:?}, staffed {staffed}"),
                |i| {
                    rules(i, &rules_of);
                    let product = i.view.product.as_mut().unwrap();
                    (product.second_scan, product.kind) = (second_scan, ProductKind::Subscription);
                    standing(i, PassStanding::Live);
                    used(i, total, today, 7200);
                    i.lane.staffed = staffed;
                },
                if asks { Says::Ask(reason) } else { Says::Refuse(reason) },
            );
        }
    }
}

/// in six zones, on every day from 2024 to 2045: a daily pass that was used yesterday evening is good again from
/// the boundary on, and one that was used today is not.
#[test]
fn a_daily_pass_is_good_once_on_every_day_of_21_years_in_six_zones() {
    let mut example = input();
    rules(&mut example, &[Rule::PerDay(1)]);
    let begin = "2024-01-01T00:30:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    for (zone, boundary_min) in [
        ("Europe/Bucharest", 180),
        ("Europe/London", 90),
        ("America/Havana", 30),
        ("America/St_Johns", 0),
        ("Australia/Lord_Howe", 105),
        ("Asia/Kolkata", 0),
    ] {
        example.view.day_rule = DayRule { time_zone: zone.into(), boundary_min };
        let (mut used_on, mut admitted) = (None, 0);
        // Three presentations a day, at moments that wander around the clock.
        for at in 0..7671 * 3i64 {
            example.now.wall_ms = begin + at * 28_800_000 + (at % 96) * 300_000;
            let seconds = example.now.wall_ms / 1000;
            claim(&mut example).not_before = seconds - DAY;
            claim(&mut example).expires = seconds + DAY;
            let today = example.view.day_rule.local(example.now.wall_ms).unwrap().day;
            example.view.uses.today = u32::from(used_on == Some(today));
            let expected = if used_on == Some(today) { Says::Refuse(Reason::UsedToday) } else { Says::Admit };
            let said = says(&example);
            assert_eq!(said, expected, "{zone}, {seconds}");
            if said == Says::Admit {
                admitted += 1;
                used_on = Some(today);
            }
        }
        assert!((7670..=7672).contains(&admitted), "{zone}: {admitted} days");
    }
}

/// moments at which software has stumbled before.
#[test]
fn leap_days_leap_seconds_and_2038_are_moments_like_others() {
    for (name, at) in [
        ("29 February", "2028-02-29T12:00:00+02:00"),
        ("the last second of a leap day", "2028-02-29T23:59:59+02:00"),
        ("2100 is no leap year", "2100-02-28T23:59:59+02:00"),
        ("the second before a leap second", "2016-12-31T23:59:59+00:00"),
        ("2^31 - 1", "2038-01-19T03:14:07+00:00"),
        ("2^31", "2038-01-19T03:14:08+00:00"),
        ("2^31 + 1", "2038-01-19T03:14:09+00:00"),
        ("2044", "2044-12-31T23:59:59+00:00"),
    ] {
        let at_s = at.parse::<jiff::Timestamp>().unwrap().as_second();
        for (offset, expected) in [
            (-1, Says::Refuse(Reason::NotYetValid)),
            (0, Says::Admit),
            (9, Says::Admit),
            (10, Says::Refuse(Reason::Expired)),
        ] {
            check(
                &format!("{name} {offset:+}"),
                |i| {
                    rules(i, &[Rule::PerDay(1)]);
                    i.now.wall_ms = (at_s + offset) * 1000;
                    (claim(i).not_before, claim(i).expires) = (at_s, at_s + 10);
                },
                expected,
            );
        }
    }
    // A leap second that the kernel repeats is a step back of one second: slewing, not an anomaly, and nothing reopens.
    let mut keeper = crate::time::TimeKeeper::new(crate::ids::BootId(Uuid::from_u128(1)), 0);
    let leap = "2016-12-31T23:59:59Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let mut last = i64::MIN;
    for (second, shown) in [(0, leap - 1000), (1, leap), (2, leap), (3, leap + 1000)] {
        let reading = crate::time::ClockReading { system_ms: shown, mono_us: second * 1_000_000 + 1, ntp: true };
        let (now, anomaly) = keeper.now(reading);
        assert_eq!(anomaly, None, "second {second}");
        assert!(now.wall_ms >= last, "second {second}");
        last = now.wall_ms;
    }
}
