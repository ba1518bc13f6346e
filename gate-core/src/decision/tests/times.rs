//! Windows, days, hours and doubt about the clock.

use super::*;

#[test]
fn the_window_opens_at_nbf_and_closes_at_exp_whatever_the_zone() {
    let (nbf, exp) = (claims().not_before, claims().expires);
    for zone in ["Europe/Bucharest", "UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati"] {
        for (second, expected) in [
            (nbf - 1, Says::Refuse(Reason::NotYetValid)),
            (nbf, Says::Admit),
            (exp - 1, Says::Admit),
            (exp, Says::Refuse(Reason::Expired)),
            (exp + 1, Says::Refuse(Reason::Expired)),
        ] {
            for millis in [0, 999] {
                check(
                    &format!("{zone} at {second}.{millis:03}"),
                    |i| {
                        i.view.day_rule = DayRule { time_zone: zone.into(), boundary_min: 180 };
                        i.now.wall_ms = second * 1000 + millis;
                    },
                    expected,
                );
            }
        }
    }
    // On the nights when the clocks change: a pass is good for elapsed seconds, not for what clocks show.
    for (name, nbf, hours) in
        [("23-hour day", "2026-03-29T00:00:00+02:00", 23), ("25-hour day", "2026-10-25T00:00:00+03:00", 25)]
    {
        let nbf = local(&format!("{nbf}[Europe/Bucharest]"));
        for (hour, expected) in [(0, Says::Admit), (hours - 1, Says::Admit), (hours, Says::Refuse(Reason::Expired))] {
            check(
                &format!("{name}, hour {hour}"),
                |i| {
                    claim(i).not_before = nbf / 1000;
                    claim(i).expires = nbf / 1000 + hours * 3600;
                    i.now.wall_ms = nbf + hour * 3_600_000;
                },
                expected,
            );
        }
    }
    check(
        "a row shortens the window",
        |i| {
            standing(i, PassStanding::Live);
            i.view.row.as_mut().unwrap().until = Some(NOON);
        },
        Says::Refuse(Reason::Expired),
    );
    check(
        "a row can't lengthen it",
        |i| {
            standing(i, PassStanding::Live);
            i.view.row.as_mut().unwrap().until = Some(NOON + 10 * DAY);
            i.now.wall_ms = claims().expires * 1000;
        },
        Says::Refuse(Reason::Expired),
    );
}

#[test]
fn a_clock_stepped_back_a_day_brings_no_pass_back() {
    use crate::ids::BootId;
    use crate::time::{ClockReading, TimeKeeper};
    for ntp in [false, true] {
        let mut keeper = TimeKeeper::new(BootId(Uuid::from_u128(1)), (NOON - 30 * DAY) * 1000);
        let mut at = |seconds: i64, system: i64| {
            let mono_us = u64::try_from(seconds * 1_000_000).unwrap();
            keeper.now(ClockReading { system_ms: system * 1000, mono_us, ntp })
        };
        let says_at = |now: Now| {
            let input = with(|i| {
                i.now = now;
                claim(i).expires = NOON;
            });
            says(&input)
        };
        let (before, _) = at(1, NOON - 2);
        assert_eq!(says_at(before), Says::Admit, "two seconds before the end, ntp {ntp}");
        let (after, anomaly) = at(6, NOON + 3 - DAY);
        assert!(anomaly.is_some(), "the step is noticed, ntp {ntp}");
        assert_eq!(says_at(after), Says::Refuse(Reason::Expired), "the clock says yesterday, ntp {ntp}");
        let (later, _) = at(3600, NOON + 3600 - DAY);
        assert_eq!(says_at(later), Says::Refuse(Reason::Expired), "and goes on saying so, ntp {ntp}");
    }
}

#[test]
fn what_an_unsure_clock_may_decide() {
    use Says::{Admit, Ask, Refuse};
    const DOUBT: Says = Refuse(Reason::ClockUnknown);
    const EARLY: Says = Refuse(Reason::NotYetValid);
    let visitor = vec![Rule::Single];
    let daily = vec![Rule::PerDay(1)];
    let hours = vec![Rule::Hours { weekdays: 0x7f, from_min: 0, to_min: 1440 }];
    // Columns: valid now; begins within a day; begins in more than a day; expired.
    for (kind, rules_of, trust, now, soon, later) in [
        ("single", &visitor, Trust::Signed, Admit, EARLY, EARLY),
        ("single", &visitor, Trust::Ntp, Admit, EARLY, EARLY),
        ("single", &visitor, Trust::Continued, Admit, EARLY, EARLY),
        ("single", &visitor, Trust::Unknown, Admit, Admit, DOUBT),
        ("per day", &daily, Trust::Signed, Admit, EARLY, EARLY),
        ("per day", &daily, Trust::Ntp, Admit, EARLY, EARLY),
        ("per day", &daily, Trust::Continued, DOUBT, EARLY, EARLY),
        ("per day", &daily, Trust::Unknown, DOUBT, DOUBT, DOUBT),
        ("hours", &hours, Trust::Ntp, Admit, EARLY, EARLY),
        ("hours", &hours, Trust::Continued, DOUBT, EARLY, EARLY),
        ("hours", &hours, Trust::Unknown, DOUBT, DOUBT, DOUBT),
    ] {
        for (offset, expected) in [(-10, now), (DAY, soon), (DAY + 1, later)] {
            let input = with(|i| {
                rules(i, rules_of);
                i.now.trust = trust;
                claim(i).not_before = NOON + offset;
                claim(i).expires = NOON + 9 * DAY;
            });
            assert_eq!(says(&input), expected, "{kind} at {trust:?}, nbf {offset:+}");
            if expected == Admit {
                assert_eq!(admitted(&input).clock_doubt, trust < Trust::Ntp, "{kind} {trust:?}");
            }
        }
        check(
            &format!("expired stays expired: {kind} at {trust:?}"),
            |i| {
                rules(i, rules_of);
                i.now.trust = trust;
                claim(i).expires = NOON;
            },
            Refuse(Reason::Expired),
        );
    }
    check(
        "staff may decide about the day",
        |i| {
            rules(i, &daily);
            i.now.trust = Trust::Continued;
            i.lane.staffed = true;
        },
        Ask(Reason::ClockUnknown),
    );
    check("a zone that nobody knows", |i| i.view.day_rule.time_zone = "Mars/Olympus".into(), DOUBT);
}

#[test]
fn a_day_begins_at_the_boundary_also_when_clocks_change() {
    let day = |text: &str| {
        let input = with(|i| {
            rules(i, &[Rule::PerDay(1)]);
            moved_to(i, text);
        });
        admitted(&input).service_day
    };
    for (name, before, after, differs) in [
        ("plain night", "2026-06-10T02:59:59+03:00", "2026-06-10T03:00:00+03:00", true),
        ("midnight is nothing", "2026-06-09T23:59:59+03:00", "2026-06-10T00:00:00+03:00", false),
        ("spring: 02:59:59 is followed by 04:00", "2026-03-29T02:59:59+02:00", "2026-03-29T04:00:00+03:00", true),
        ("autumn: the first 03:00 begins the day", "2026-10-25T02:59:59+03:00", "2026-10-25T03:00:00+03:00", true),
        ("autumn: the second 03:00 does not", "2026-10-25T03:59:59+03:00", "2026-10-25T03:00:00+02:00", false),
        ("new year", "2026-12-31T12:00:00+02:00", "2027-01-01T02:59:59+02:00", false),
        ("leap day", "2028-02-29T03:00:00+02:00", "2028-03-01T02:59:59+02:00", false),
    ] {
        let (before, after) = (day(before), day(after));
        assert_eq!(after.0 - before.0, i32::from(differs), "{name}");
    }
    // A single use of yesterday stays used; the daily counter is what begins again.
    check("single use survives the night", |i| used(i, 1, 0, 86_400), Says::Refuse(Reason::AlreadyUsed));
    check(
        "per day begins again",
        |i| {
            rules(i, &[Rule::PerDay(1)]);
            used(i, 1, 0, 86_400);
        },
        Says::Admit,
    );
    check(
        "per day, used today",
        |i| {
            rules(i, &[Rule::PerDay(1)]);
            used(i, 1, 1, 600);
        },
        Says::Refuse(Reason::UsedToday),
    );
    check(
        "twice per day",
        |i| {
            rules(i, &[Rule::PerDay(2)]);
            used(i, 1, 1, 600);
        },
        Says::Admit,
    );
}

#[test]
fn hours_hold_over_midnight_and_on_their_weekdays() {
    let friday = 1 << 4;
    let night = Rule::Hours { weekdays: friday, from_min: 22 * 60, to_min: 6 * 60 };
    let work = Rule::Hours { weekdays: 0b1_1111, from_min: 8 * 60, to_min: 18 * 60 };
    let all_day = Rule::Hours { weekdays: 0x7f, from_min: 0, to_min: 1440 };
    let clock_change = Rule::Hours { weekdays: 0x7f, from_min: 210, to_min: 240 };
    let no = Says::Refuse(Reason::OutsideHours);
    // 2026-06-10 is a Wednesday.
    for (name, windows, at, expected) in [
        ("before work", vec![&work], "2026-06-10T07:59:59+03:00", no),
        ("work begins", vec![&work], "2026-06-10T08:00:00+03:00", Says::Admit),
        ("work ends", vec![&work], "2026-06-10T17:59:59+03:00", Says::Admit),
        ("after work", vec![&work], "2026-06-10T18:00:00+03:00", no),
        ("Saturday", vec![&work], "2026-06-13T12:00:00+03:00", no),
        ("Friday night begins", vec![&night], "2026-06-12T22:00:00+03:00", Says::Admit),
        ("Saturday morning", vec![&night], "2026-06-13T05:59:59+03:00", Says::Admit),
        ("Saturday morning is over", vec![&night], "2026-06-13T06:00:00+03:00", no),
        ("Saturday night", vec![&night], "2026-06-13T22:00:00+03:00", no),
        ("Friday morning belongs to Thursday", vec![&night], "2026-06-12T05:00:00+03:00", no),
        ("either window", vec![&work, &night], "2026-06-13T01:00:00+03:00", Says::Admit),
        ("neither window", vec![&work, &night], "2026-06-13T07:00:00+03:00", no),
        ("all day, last minute", vec![&all_day], "2026-06-13T23:59:59+03:00", Says::Admit),
        ("03:30 happens twice in autumn", vec![&clock_change], "2026-10-25T03:30:00+03:00", Says::Admit),
        ("and again", vec![&clock_change], "2026-10-25T03:30:00+02:00", Says::Admit),
        ("03:30 never happens in spring", vec![&clock_change], "2026-03-29T04:00:00+03:00", no),
    ] {
        check(
            name,
            |i| {
                rules(i, &windows.into_iter().cloned().collect::<Vec<_>>());
                moved_to(i, at);
            },
            expected,
        );
    }
}

#[test]
fn a_vendor_trades_on_its_days() {
    let no = Says::Refuse(Reason::VendorInactive);
    let vendor = |weekdays, closed: &[i32]| {
        let closed_days = closed.iter().map(|day| ServiceDay(*day)).collect();
        Some(Vendor { active: true, weekdays, closed_days })
    };
    let wednesday = 1 << 2;
    for (name, vendor, at, expected) in [
        ("its weekday", vendor(wednesday, &[]), "2026-06-10T12:00:00+03:00", Says::Admit),
        ("another weekday", vendor(wednesday, &[]), "2026-06-11T12:00:00+03:00", no),
        ("the night still is Wednesday", vendor(wednesday, &[]), "2026-06-11T02:00:00+03:00", Says::Admit),
        ("the night before is not", vendor(wednesday, &[]), "2026-06-10T02:00:00+03:00", no),
        ("a closed day", vendor(0x7f, &[20_614]), "2026-06-10T12:00:00+03:00", no),
        ("the day after", vendor(0x7f, &[20_614]), "2026-06-11T03:00:00+03:00", Says::Admit),
        ("unknown vendor", None, "2026-06-10T12:00:00+03:00", no),
    ] {
        check(
            name,
            |i| {
                moved_to(i, at);
                i.view.vendor = vendor;
            },
            expected,
        );
    }
    // Where the date is not known, it closes nobody's day.
    let (sundays, off) = (1 << 6, Some(Vendor { active: false, weekdays: 0x7f, closed_days: vec![] }));
    for (name, vendor, trust, unattended, staffed) in [
        ("another weekday, clock went on", vendor(sundays, &[]), Trust::Continued, no, no),
        (
            "another weekday, date unknown",
            vendor(sundays, &[]),
            Trust::Unknown,
            Says::Admit,
            Says::Ask(Reason::ClockUnknown),
        ),
        (
            "a day off, date unknown",
            vendor(0x7f, &[20_614]),
            Trust::Unknown,
            Says::Admit,
            Says::Ask(Reason::ClockUnknown),
        ),
        ("every day", vendor(0x7f, &[]), Trust::Unknown, Says::Admit, Says::Admit),
        ("switched off", off, Trust::Unknown, no, no),
        ("nobody", None, Trust::Unknown, no, no),
    ] {
        for (at_hand, expected) in [(false, unattended), (true, staffed)] {
            let input = with(|i| {
                moved_to(i, "2026-06-10T12:00:00+03:00");
                i.now.trust = trust;
                i.lane.staffed = at_hand;
                i.view.vendor = vendor.clone();
            });
            assert_eq!(says(&input), expected, "{name}, staffed {at_hand}");
            if expected == Says::Admit && !at_hand {
                assert!(admitted(&input).clock_doubt, "{name}: flagged");
            }
        }
    }
}

/// durations belong to the monotonic clock, as far as it has been running.
#[test]
fn a_clock_that_is_set_neither_shortens_nor_lengthens_a_pause() {
    let (hour, pause) = (3_600_000, Rule::MinInterval(60));
    for (name, wall_ago_ms, elapsed_ms, soon, again) in [
        ("not set", 30_000, Some(30_000), true, true),
        ("set an hour ahead", 30_000 + hour, Some(30_000), true, true),
        ("set an hour back", 30_000 - hour, Some(30_000), true, true),
        ("set back, and the pause is over", 61_000 - hour, Some(61_000), false, true),
        ("set back, and ten minutes are over", 601_000 - hour, Some(601_000), false, false),
        ("after a boot: as the wall clock says", 61_000, None, false, true),
        ("after a boot with a clock that is behind", -hour, None, true, false),
    ] {
        let paused = with(|i| {
            rules(i, &[Rule::Unlimited, pause.clone()]);
            used(i, 1, 1, 0);
            let last = i.view.uses.last.as_mut().unwrap();
            (last.at_ms, last.elapsed_ms) = (i.now.wall_ms - wall_ago_ms, elapsed_ms);
        });
        assert_eq!(says(&paused), if soon { Says::Refuse(Reason::TooSoon) } else { Says::Admit }, "{name}: pause");
        let shown_again = with(|i| {
            used(i, 1, 1, 0);
            let at_ms = i.now.wall_ms - wall_ago_ms;
            i.view.uses.unopened = Some(Unopened { event: event_id(8), at_ms, places: vec![LOT], elapsed_ms });
        });
        let answer = if again { Says::Admit } else { Says::Refuse(Reason::AlreadyUsed) };
        assert_eq!(says(&shown_again), answer, "{name}: shown again");
    }
}
