//! Tables of decisions: what changes from the admissible example, and what is answered.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use uuid::Uuid;

use super::*;
use crate::examples::*;
use crate::ids::{Cti, ZoneId};
use crate::pass::MalformedWhy;
use crate::product::RuleText;
use crate::time::DayRule;
use crate::view::{PassRow, Unopened, Vendor, ZoneSpace};

/// What a table row expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Says {
    Admit,
    Ask(Reason),
    Refuse(Reason),
}

fn says(input: &DecisionInput) -> Says {
    match input.replay() {
        Verdict::Admit(_) => Says::Admit,
        Verdict::Ask(question) => Says::Ask(question.reason),
        Verdict::Refuse(refusal) => Says::Refuse(refusal.reason),
    }
}

fn check(name: &str, change: impl FnOnce(&mut DecisionInput), expected: Says) {
    let mut input = input();
    change(&mut input);
    assert_eq!(says(&input), expected, "{name}");
}

fn with(change: impl FnOnce(&mut DecisionInput)) -> DecisionInput {
    let mut input = input();
    change(&mut input);
    input
}

fn admitted(input: &DecisionInput) -> Admission {
    match input.replay() {
        Verdict::Admit(admission) => admission,
        other @ (Verdict::Ask(_) | Verdict::Refuse(_)) => panic!("not admitted: {other:?}"),
    }
}

fn rules(input: &mut DecisionInput, rules: &[Rule]) {
    input.view.product = Some(product(rules));
}

fn claim(input: &mut DecisionInput) -> &mut Claims {
    match &mut input.pass.finding {
        Finding::Genuine { claims, .. } => claims,
        Finding::Defective(defect) => panic!("the example is genuine, not {defect:?}"),
    }
}

fn used(input: &mut DecisionInput, total: u32, today: u32, ago_s: i64) {
    input.view.uses.total = total;
    input.view.uses.today = today;
    input.view.uses.last = Some(LastUse {
        at_ms: input.now.wall_ms - ago_s * 1000,
        gate: OTHER_GATE,
        gate_name: "South entrance".into(),
        direction: Direction::In,
    });
}

fn standing(input: &mut DecisionInput, standing: PassStanding) {
    input.view.row = Some(PassRow { standing, until: None, uses: None });
}

fn defective(input: &mut DecisionInput, defect: Defect) {
    input.pass.finding = Finding::Defective(defect);
}

fn local(text: &str) -> i64 {
    text.parse::<jiff::Zoned>().unwrap().timestamp().as_millisecond()
}

/// Moves the example to this moment in Bucharest, its pass good for a year around it.
fn moved_to(input: &mut DecisionInput, text: &str) {
    input.now.wall_ms = local(&format!("{text}[Europe/Bucharest]"));
    let seconds = input.now.wall_ms / 1000;
    claim(input).not_before = seconds - 180 * DAY;
    claim(input).expires = seconds + 180 * DAY;
}

#[test]
fn the_example_is_admitted_and_charged() {
    let admission = admitted(&input());
    assert_eq!(
        admission,
        Admission {
            pass: Some(claims().id()),
            direction: Direction::In,
            service_day: ServiceDay(20_614),
            charges_use: true,
            remaining: Some(0),
            zones: vec![LOT],
            reopens: None,
            clock_doubt: false,
            open_ms: None,
            romanian: false,
        }
    );
}

type Change = fn(&mut DecisionInput);

/// For every reason one change of the admissible example that leads to it, in the order in which `decide` looks.
fn every_reason() -> Vec<(Reason, Change)> {
    vec![
        (Reason::NotAPass, |i| defective(i, Defect::NotAPass)),
        (Reason::Unsupported, |i| defective(i, Defect::Unsupported)),
        (Reason::Malformed, |i| defective(i, Defect::Malformed(MalformedWhy::Claims))),
        (Reason::UnknownKey, |i| defective(i, Defect::UnknownKey(KID))),
        (Reason::BadSignature, |i| defective(i, Defect::BadSignature(KID))),
        (Reason::IssuerRevoked, |i| defective(i, Defect::IssuerRevoked(KID))),
        (Reason::Expired, |i| claim(i).expires = NOON),
        (Reason::NotYetValid, |i| claim(i).not_before = NOON + 1),
        (Reason::ClockUnknown, |i| {
            i.now.trust = Trust::Unknown;
            claim(i).not_before = NOON + DAY + 1;
            claim(i).expires = NOON + 2 * DAY;
        }),
        (Reason::WrongVenue, |i| claim(i).venue = "P2".parse().unwrap()),
        (Reason::WrongGate, |i| {
            i.view.product.as_mut().unwrap().zones = vec![ZoneId(Uuid::from_u128(99))];
        }),
        (Reason::VendorInactive, |i| i.view.vendor.as_mut().unwrap().active = false),
        (Reason::Revoked, |i| standing(i, PassStanding::Revoked)),
        (Reason::Superseded, |i| standing(i, PassStanding::Superseded)),
        (Reason::Blocked, |i| standing(i, PassStanding::Blocked)),
        (Reason::UnknownProduct, |i| i.view.product = None),
        (Reason::UnknownPass, |i| {
            i.view.product.as_mut().unwrap().kind = ProductKind::Subscription;
        }),
        (Reason::ReplicaStale, |i| {
            i.view.product.as_mut().unwrap().max_staleness_s = Some(59);
        }),
        (Reason::UnknownRule, |i| {
            let rule = RuleText { name: "moon_phase".into(), args: vec![1] };
            i.view.product.as_mut().unwrap().rules.push(rule);
        }),
        (Reason::OutsideHours, |i| {
            let hours = Rule::Hours { weekdays: 0x7f, from_min: 0, to_min: 719 };
            i.view.product.as_mut().unwrap().rules.push(hours.text());
        }),
        (Reason::AlreadyInside, |i| {
            i.view.product.as_mut().unwrap().rules.push(Rule::ReentryAfterExit.text());
            i.view.uses.inside = true;
        }),
        (Reason::TooSoon, |i| {
            i.view.product.as_mut().unwrap().rules.push(Rule::MinInterval(60).text());
            used(i, 0, 0, 59);
        }),
        (Reason::ChildNeedsAdult, |i| {
            i.view.product.as_mut().unwrap().rules.push(Rule::ChildWithAdult.text());
            claim(i).flags = PassFlags::CHILD;
        }),
        (Reason::AlreadyUsed, |i| i.view.uses.total = 1),
        (Reason::NoUsesLeft, |i| {
            i.view.product.as_mut().unwrap().rules = vec![Rule::Times(3).text()];
            i.view.uses.total = 3;
        }),
        (Reason::UsedToday, |i| {
            i.view.product.as_mut().unwrap().rules = vec![Rule::PerDay(1).text()];
            i.view.uses.today = 1;
        }),
        (Reason::Attention, |i| {
            i.lane.staffed = true;
            claim(i).flags = PassFlags::ATTENTION;
        }),
        (Reason::LotFull, |i| {
            for space in &mut i.view.spaces {
                space.rights_held = 0;
            }
        }),
        (Reason::NoVehicle, |i| i.lane.readiness = Readiness::NoVehicle),
        (Reason::OutOfOrder, |i| i.lane.readiness = Readiness::OutOfOrder),
        (Reason::LaneFault, |i| i.lane.readiness = Readiness::Fault),
    ]
}

#[test]
fn every_reason_is_given_by_some_presentation() {
    let given: Vec<Reason> = every_reason().iter().map(|(reason, _)| *reason).collect();
    assert_eq!(given, Reason::ALL, "the list of reasons is in the order in which decide looks");
    for (reason, change) in every_reason() {
        let expected = if reason == Reason::Attention { Says::Ask(reason) } else { Says::Refuse(reason) };
        check(reason.code(), change, expected);
    }
}

/// Reasons that exclude each other because they are about the same thing.
fn same_matter(a: Reason, b: Reason) -> bool {
    let matters: [&[Reason]; 5] = [
        &[Reason::Expired, Reason::NotYetValid, Reason::ClockUnknown],
        &[Reason::Revoked, Reason::Superseded, Reason::Blocked, Reason::UnknownPass],
        &[Reason::AlreadyUsed, Reason::NoUsesLeft, Reason::UsedToday],
        &[Reason::NoVehicle, Reason::OutOfOrder, Reason::LaneFault],
        &[Reason::WrongGate, Reason::UnknownProduct],
    ];
    matters.iter().any(|matter| matter.contains(&a) && matter.contains(&b))
}

#[test]
fn of_two_failing_reasons_the_first_is_the_answer() {
    let all = every_reason();
    let mut pairs = 0;
    for (first, (reason, change)) in all.iter().enumerate() {
        for (later, other) in &all[first + 1..] {
            // A row that needs the product can't follow one that takes it away; staff change what is a failure.
            let defect = *reason <= Reason::IssuerRevoked && *later <= Reason::IssuerRevoked;
            let attention = [*reason, *later].contains(&Reason::Attention);
            let product = *reason == Reason::UnknownProduct && *later != Reason::LotFull;
            if defect || attention || product || same_matter(*reason, *later) {
                continue;
            }
            if matches!(later, Reason::NoUsesLeft | Reason::UsedToday) {
                // These rows replace the rules that rows before them added; the next test has them.
                continue;
            }
            pairs += 1;
            let mut input = input();
            // The later one first: a defect takes the claims away that it needs.
            other(&mut input);
            change(&mut input);
            assert_eq!(says(&input), Says::Refuse(*reason), "{reason} and {later}");
        }
    }
    assert!(pairs > 250, "{pairs}");
}

#[test]
fn all_32_combinations_of_the_five_classic_checks_give_the_first_in_order() {
    let failing: [(Reason, Change); 5] = [
        (Reason::BadSignature, |i| defective(i, Defect::BadSignature(KID))),
        (Reason::Expired, |i| claim(i).expires = NOON - 1),
        (Reason::VendorInactive, |i| i.view.vendor = None),
        (Reason::AlreadyUsed, |i| used(i, 1, 1, 7200)),
        (Reason::LotFull, |i| i.view.spaces[0].rights_held = 0),
    ];
    for combination in 0..32u32 {
        let fails: Vec<_> = (0..5).filter(|n| combination & (1 << n) != 0).map(|n| failing[n]).collect();
        let expected = fails.first().map_or(Says::Admit, |(reason, _)| Says::Refuse(*reason));
        let input = with(|input| fails.iter().rev().for_each(|(_, change)| change(input)));
        assert_eq!(says(&input), expected, "combination {combination:05b}");
    }
}

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
}

#[test]
fn how_often_a_pass_is_good() {
    let (admit, used_up) = (Says::Admit, Says::Refuse(Reason::NoUsesLeft));
    let again = Says::Refuse(Reason::AlreadyUsed);
    for (name, rules_of, total, row_uses, expected, left) in [
        ("single, fresh", vec![Rule::Single], 0, None, admit, Some(0)),
        ("single, used", vec![Rule::Single], 1, None, again, None),
        ("no rule means once", vec![], 1, None, again, None),
        ("10 times, last one", vec![Rule::Times(10)], 9, None, admit, Some(0)),
        ("10 times, first one", vec![Rule::Times(10)], 0, None, admit, Some(9)),
        ("10 times, used up", vec![Rule::Times(10)], 10, None, used_up, None),
        ("10 times, more than used up", vec![Rule::Times(10)], 12, None, used_up, None),
        ("once is once, however said", vec![Rule::Times(1)], 1, None, again, None),
        ("all rules hold: the smallest", vec![Rule::Times(10), Rule::Single], 1, None, again, None),
        ("in any order", vec![Rule::Single, Rule::Times(10)], 1, None, again, None),
        ("unlimited", vec![Rule::Unlimited], 4000, None, admit, None),
        ("the row gives more", vec![Rule::Single], 1, Some(5), admit, Some(3)),
        ("the row gives less", vec![Rule::Times(10)], 2, Some(2), used_up, None),
        ("the row gives none", vec![Rule::Unlimited], 0, Some(0), used_up, None),
    ] {
        let input = with(|i| {
            rules(i, &rules_of);
            i.view.uses.total = total;
            if row_uses.is_some() {
                standing(i, PassStanding::Live);
                i.view.row.as_mut().unwrap().uses = row_uses;
            }
        });
        assert_eq!(says(&input), expected, "{name}");
        if expected == admit {
            assert_eq!(admitted(&input).remaining, left, "{name}");
        }
    }
}

#[test]
fn re_entry_and_minimum_interval() {
    let reentry = [Rule::Single, Rule::ReentryAfterExit];
    // In: charged. In again: refused. Out and in again: admitted and not charged. The next day: used.
    let first = with(|i| rules(i, &reentry));
    assert!(admitted(&first).charges_use);
    let second = with(|i| {
        rules(i, &reentry);
        used(i, 1, 1, 600);
        i.view.uses.inside = true;
    });
    assert_eq!(says(&second), Says::Refuse(Reason::AlreadyInside));
    let mut third = second.clone();
    third.view.uses.inside = false;
    let admission = admitted(&third);
    assert!(!admission.charges_use);
    assert_eq!((admission.remaining, admission.zones), (Some(0), vec![LOT]), "a right is spent all the same");
    let mut tomorrow = third.clone();
    tomorrow.view.uses.today = 0;
    assert_eq!(says(&tomorrow), Says::Refuse(Reason::AlreadyUsed));
    let mut per_day = third.clone();
    per_day.view.product = Some(product(&[Rule::PerDay(1), Rule::ReentryAfterExit]));
    assert!(!admitted(&per_day).charges_use, "in-out-in on a daily pass");

    for (name, ago_s, expected) in [
        ("59 s ago", 59, Says::Refuse(Reason::TooSoon)),
        ("60 s ago", 60, Says::Admit),
        ("in the future, by this clock", -5, Says::Refuse(Reason::TooSoon)),
    ] {
        check(
            name,
            |i| {
                rules(i, &[Rule::Unlimited, Rule::MinInterval(60)]);
                used(i, 3, 3, ago_s);
            },
            expected,
        );
    }
    let inside = with(|i| {
        rules(i, &[Rule::Unlimited]);
        i.view.uses.inside = true;
    });
    assert_eq!(says(&inside), Says::Admit, "only the rule asks for an exit");
}

#[test]
fn a_second_scan_by_policy_and_staff() {
    let last = |verdict: Verdict| match verdict {
        Verdict::Ask(question) => question.last,
        Verdict::Refuse(refusal) => refusal.last,
        Verdict::Admit(admission) => panic!("admitted: {admission:?}"),
    };
    for (policy, staffed, expected) in [
        (SecondScan::Hard, false, Says::Refuse(Reason::AlreadyUsed)),
        (SecondScan::Hard, true, Says::Refuse(Reason::AlreadyUsed)),
        (SecondScan::Soft, false, Says::Refuse(Reason::AlreadyUsed)),
        (SecondScan::Soft, true, Says::Ask(Reason::AlreadyUsed)),
    ] {
        let input = with(|i| {
            i.view.product.as_mut().unwrap().second_scan = policy;
            i.lane.staffed = staffed;
            used(i, 1, 1, 7200);
        });
        assert_eq!(says(&input), expected, "{policy:?}, staffed {staffed}");
        let last = last(input.replay()).expect("says when and where");
        assert_eq!((last.gate, last.at_ms), (OTHER_GATE, NOON * 1000 - 7_200_000));
    }
    // The capacity right is still needed before anybody is asked.
    check(
        "soft, staffed, full",
        |i| {
            i.view.product.as_mut().unwrap().second_scan = SecondScan::Soft;
            i.lane.staffed = true;
            used(i, 1, 1, 7200);
            i.view.spaces[0].rights_held = 0;
        },
        Says::Refuse(Reason::LotFull),
    );
}

#[test]
fn staff_are_asked_about_everything_they_must_look_at() {
    let question = |change: fn(&mut DecisionInput)| {
        let mut input = input();
        input.lane.staffed = true;
        change(&mut input);
        match input.replay() {
            Verdict::Ask(question) => question,
            other @ (Verdict::Admit(_) | Verdict::Refuse(_)) => panic!("not asked: {other:?}"),
        }
    };
    let child: fn(&mut DecisionInput) = |i| {
        rules(i, &[Rule::Single, Rule::ChildWithAdult]);
        claim(i).flags = PassFlags::CHILD;
    };
    let asked = question(child);
    assert_eq!((asked.reason, asked.also), (Reason::ChildNeedsAdult, vec![]));
    assert!(asked.admission.charges_use);
    let asked = question(|i| {
        i.view.product.as_mut().unwrap().attention = Some("Look at the band".into());
    });
    assert_eq!((asked.reason, asked.text.as_deref()), (Reason::Attention, Some("Look at the band")));
    // One yes must not cover what staff were not told.
    let asked = question(|i| {
        rules(i, &[Rule::Single, Rule::ChildWithAdult]);
        let product = i.view.product.as_mut().unwrap();
        product.second_scan = SecondScan::Soft;
        product.max_staleness_s = Some(0);
        claim(i).flags = PassFlags::CHILD.with(PassFlags::ATTENTION);
        used(i, 1, 1, 60);
    });
    assert_eq!(asked.reason, Reason::ReplicaStale);
    assert_eq!(asked.also, [Reason::ChildNeedsAdult, Reason::AlreadyUsed, Reason::Attention]);
    assert!(asked.last.is_some());
    // Where nobody stands by: the child and the stale replica are refused, a flag for staff is nobody's fault.
    check("child, unattended", child, Says::Refuse(Reason::ChildNeedsAdult));
    check("attention, unattended", |i| claim(i).flags = PassFlags::ATTENTION, Says::Admit);
    check("a child without the rule", |i| claim(i).flags = PassFlags::CHILD, Says::Admit);
}

#[test]
fn how_old_a_replica_may_be() {
    let hours = |n: i64| Some(n * 3_600_000);
    let stale = |staffed: bool| match staffed {
        true => Says::Ask(Reason::ReplicaStale),
        false => Says::Refuse(Reason::ReplicaStale),
    };
    for staffed in [false, true] {
        for (name, kind, limit_s, age_ms, expected) in [
            ("visitor, any age", ProductKind::Visitor, None, hours(10_000), Says::Admit),
            ("visitor, never heard", ProductKind::Visitor, None, None, Says::Admit),
            ("visitor with a limit", ProductKind::Visitor, Some(3600), hours(1), Says::Admit),
            ("visitor over its limit", ProductKind::Visitor, Some(3599), hours(1), stale(staffed)),
            ("visitor with a limit, never heard", ProductKind::Visitor, Some(3600), None, stale(staffed)),
            ("subscription at 72 h", ProductKind::Subscription, None, hours(72), Says::Admit),
            ("subscription over 72 h", ProductKind::Subscription, None, Some(72 * 3_600_000 + 1), stale(staffed)),
            ("subscription, never heard", ProductKind::Subscription, None, None, stale(staffed)),
            ("subscription with a longer limit", ProductKind::Subscription, Some(720_000), hours(100), Says::Admit),
        ] {
            check(
                &format!("{name}, staffed {staffed}"),
                |i| {
                    i.lane.staffed = staffed;
                    i.view.age_ms = age_ms;
                    let product = i.view.product.as_mut().unwrap();
                    (product.kind, product.max_staleness_s) = (kind, limit_s);
                    standing(i, PassStanding::Live);
                },
                expected,
            );
        }
    }
}

#[test]
fn one_re_presentation_after_an_unknown_opening() {
    let interrupted = |ago_ms: i64| {
        with(|i| {
            used(i, 1, 1, 30);
            let at_ms = i.now.wall_ms - ago_ms;
            i.view.uses.unopened = Some(Unopened { event: event_id(8), at_ms });
        })
    };
    for (ago_ms, expected) in [
        (0, Says::Admit),
        (REPRESENT_WINDOW_MS, Says::Admit),
        (REPRESENT_WINDOW_MS + 1, Says::Refuse(Reason::AlreadyUsed)),
        (-1, Says::Refuse(Reason::AlreadyUsed)),
    ] {
        assert_eq!(says(&interrupted(ago_ms)), expected, "{ago_ms} ms ago");
    }
    let admission = admitted(&interrupted(1000));
    assert_eq!(admission.reopens, Some(event_id(8)), "flagged");
    assert!(!admission.charges_use && admission.zones.is_empty(), "nothing is charged again");
    let mut full = interrupted(1000);
    full.view.spaces[0].rights_held = 0;
    assert_eq!(says(&full), Says::Admit, "its right was spent the first time");
    let mut revoked = interrupted(1000);
    standing(&mut revoked, PassStanding::Revoked);
    assert_eq!(says(&revoked), Says::Refuse(Reason::Revoked), "but it must still be valid");
    let mut fault = interrupted(1000);
    fault.lane.readiness = Readiness::Fault;
    assert_eq!(says(&fault), Says::Refuse(Reason::LaneFault));
}

#[test]
fn capacity_rights() {
    let space = |rights_held, best_effort| ZoneSpace { zone: LOT, rights_held, best_effort, generation: 1 };
    for (name, spaces, expected) in [
        ("one right", vec![space(1, false)], Says::Admit),
        ("none", vec![space(0, false)], Says::Refuse(Reason::LotFull)),
        ("none, but best effort", vec![space(0, true)], Says::Admit),
        ("nested, outer full", vec![space(1, false), space(0, false)], Says::Refuse(Reason::LotFull)),
        ("nested, outer best effort", vec![space(1, false), space(0, true)], Says::Admit),
        ("no zone known", vec![], Says::Refuse(Reason::LaneFault)),
    ] {
        check(name, |i| i.view.spaces = spaces, expected);
    }
}

#[test]
fn the_right_gate_is_named() {
    let input = with(|i| {
        i.view.product.as_mut().unwrap().zones = vec![ZoneId(Uuid::from_u128(99))];
        i.view.right_gates = vec!["South entrance".into()];
        claim(i).flags = PassFlags::ROMANIAN;
    });
    let Verdict::Refuse(refusal) = input.replay() else { panic!("refused") };
    assert_eq!(refusal.right_gates, ["South entrance"]);
    assert!(refusal.romanian);
    assert_eq!(refusal.pass, Some(claims().id()));
    let forged = with(|i| {
        i.view.right_gates = vec!["South entrance".into()];
        used(i, 1, 1, 60);
        defective(i, Defect::BadSignature(KID));
    });
    let Verdict::Refuse(refusal) = forged.replay() else { panic!("refused") };
    assert_eq!((refusal.pass, refusal.last, refusal.right_gates), (None, None, vec![]), "a forger is told nothing");
}

#[test]
fn the_way_out() {
    let exit = |egress| {
        with(|i| {
            i.lane.direction = Direction::Out;
            i.lane.egress = egress;
        })
    };
    // Free: whatever is the matter.
    for (reason, change) in every_reason() {
        let mut input = exit(Egress::Free);
        change(&mut input);
        assert_eq!(says(&input), Says::Admit, "free egress, {reason}");
        let admission = admitted(&input);
        assert!(!admission.charges_use && admission.direction == Direction::Out);
    }
    let mut lost = exit(Egress::Free);
    lost.view.day_rule.time_zone = "Mars/Olympus".into();
    lost.view.spaces.clear();
    lost.now.trust = Trust::Unknown;
    lost.now.wall_ms = i64::MIN;
    assert_eq!(says(&lost), Says::Admit, "no clock, no zone, no network");
    // With a pass of this venue: also an expired, used, revoked one.
    for (reason, change) in every_reason() {
        let mut input = exit(Egress::Scan);
        change(&mut input);
        let refused = reason <= Reason::IssuerRevoked
            || [Reason::WrongVenue, Reason::NoVehicle, Reason::OutOfOrder, Reason::LaneFault].contains(&reason);
        let expected = if refused { Says::Refuse(reason) } else { Says::Admit };
        assert_eq!(says(&input), expected, "scanned exit, {reason}");
    }
}

#[test]
fn an_admission_says_what_the_lane_needs() {
    let input = with(|i| {
        i.view.product.as_mut().unwrap().open_ms = Some(1500);
        claim(i).flags = PassFlags::ROMANIAN;
        i.view.spaces.push(ZoneSpace {
            zone: ZoneId(Uuid::from_u128(9)),
            rights_held: 1,
            best_effort: false,
            generation: 0,
        });
    });
    let admission = admitted(&input);
    assert_eq!((admission.open_ms, admission.romanian), (Some(1500), true));
    assert_eq!(admission.zones, [LOT, ZoneId(Uuid::from_u128(9))]);
}

/// Any rule, with numbers that make sense and numbers that do not.
fn any_rule() -> impl Strategy<Value = RuleText> {
    let name = prop::sample::select(vec![
        "single",
        "times",
        "per_day",
        "unlimited",
        "hours",
        "reentry_after_exit",
        "min_interval",
        "child_with_adult",
        "moon_phase",
    ]);
    let args = prop::collection::vec(prop_oneof![0i64..1500, any::<i64>()], 0..4);
    prop_oneof![
        1 => (name, args).prop_map(|(name, args)| RuleText { name: name.into(), args }),
        3 => (1u32..4).prop_map(|n| Rule::Times(n).text()),
        3 => (1u32..4).prop_map(|n| Rule::PerDay(n).text()),
        3 => Just(Rule::Unlimited.text()),
        1 => (0u8..128, 0u16..1440, 0u16..1441).prop_map(|(weekdays, from_min, to_min)| Rule::Hours {
            weekdays,
            from_min,
            to_min
        }
        .text()),
    ]
}

fn any_moment() -> impl Strategy<Value = i64> {
    prop_oneof![
        20 => (NOON - 4000) * 1000..(NOON + 4000) * 1000,
        1 => any::<i64>(),
        1 => Just(i64::MIN),
        1 => Just(i64::MAX),
    ]
}

fn any_input() -> impl Strategy<Value = DecisionInput> {
    let lane = (prop::bool::weighted(0.3), any::<bool>(), any::<bool>(), 0usize..15);
    let few = prop_oneof![3 => Just(0u32), 1 => 1u32..3];
    let moment = || prop::option::weighted(0.2, any_moment());
    let uses = (few, 0u32..2, prop::bool::weighted(0.2), moment(), moment());
    let offer = (
        prop::option::weighted(0.9, prop::collection::vec(any_rule(), 0..4)),
        prop::bool::weighted(0.3),
        any::<bool>(),
        prop::option::weighted(0.3, 0u32..100),
        prop::bool::weighted(0.3),
    );
    let until = prop::option::weighted(0.2, NOON - 60..NOON + 60);
    let row = prop::option::weighted(0.6, (0usize..9, until, prop::option::weighted(0.2, 0u32..3)));
    let spaces = prop::collection::vec((0u32..5, any::<bool>()), 0..3);
    let claims = (0u8..8, 0usize..12, 0usize..8);
    (any_moment(), 0usize..4, lane, uses, offer, row, spaces, claims).prop_map(
        |(wall_ms, trust, lane, uses, product_of, row, spaces, (flags, defect, vendor))| {
            let mut input = input();
            input.now.wall_ms = wall_ms;
            input.now.trust = [Trust::Unknown, Trust::Continued, Trust::Ntp, Trust::Signed][trust];
            let (out, staffed, free, readiness) = lane;
            input.lane.direction = if out { Direction::Out } else { Direction::In };
            input.lane.staffed = staffed;
            input.lane.egress = if free { Egress::Free } else { Egress::Scan };
            // Mostly ready, so that admissions are common.
            input.lane.readiness = *[Readiness::NoVehicle, Readiness::OutOfOrder, Readiness::Fault]
                .get(readiness)
                .unwrap_or(&Readiness::Ready);
            let (total, today, inside, last, unopened) = uses;
            input.view.uses.total = total;
            input.view.uses.today = today;
            input.view.uses.inside = inside;
            input.view.uses.unopened = unopened.map(|at_ms| Unopened { event: event_id(1), at_ms });
            input.view.uses.last = last.map(|at_ms| LastUse {
                at_ms,
                gate: OTHER_GATE,
                gate_name: "South".into(),
                direction: Direction::In,
            });
            let (rules, subscription, soft, staleness, attention) = product_of;
            input.view.product = rules.map(|rules| Product {
                rules,
                kind: if subscription { ProductKind::Subscription } else { ProductKind::Visitor },
                second_scan: if soft { SecondScan::Soft } else { SecondScan::Hard },
                max_staleness_s: staleness,
                attention: attention.then(|| "look".into()),
                ..product(&[])
            });
            input.view.row = row.map(|(standing, until, uses)| PassRow {
                standing: *[PassStanding::Revoked, PassStanding::Blocked, PassStanding::Superseded]
                    .get(standing)
                    .unwrap_or(&PassStanding::Live),
                until,
                uses,
            });
            input.view.spaces = spaces
                .into_iter()
                .map(|(rights_held, best_effort)| ZoneSpace { zone: LOT, rights_held, best_effort, generation: 0 })
                .collect();
            if vendor == 0 {
                input.view.vendor = None;
            }
            claim(&mut input).flags = PassFlags(flags);
            claim(&mut input).cti = Cti([flags; 16]);
            let defects = [Defect::NotAPass, Defect::BadSignature(KID), Defect::IssuerRevoked(KID)];
            if let Some(defect) = defects.get(defect) {
                defective(&mut input, *defect);
            }
            input
        },
    )
}

/// The property says something only if the random presentations come to every kind of answer.
#[test]
fn the_random_presentations_come_to_every_kind_of_answer() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut entries, mut exits, mut asked, mut refused) = (0, 0, 0, BTreeSet::new());
    for _ in 0..3000 {
        let input = any_input().new_tree(&mut runner).unwrap().current();
        match input.replay() {
            Verdict::Admit(admission) if admission.direction == Direction::In => entries += 1,
            Verdict::Admit(_) => exits += 1,
            Verdict::Ask(_) => asked += 1,
            Verdict::Refuse(refusal) => {
                refused.insert(refusal.reason);
            }
        }
    }
    assert!(
        entries > 50 && exits > 50 && asked > 20 && refused.len() > 20,
        "{entries} entries, {exits} exits, {asked} asked, {} reasons",
        refused.len()
    );
}

fn holds(input: &DecisionInput) -> Result<(), TestCaseError> {
    let verdict = input.replay();
    prop_assert_eq!(&verdict, &input.replay());
    // What the journal keeps decides the same on another machine, and is one byte string.
    let bytes = crate::canonical::encode(input);
    let again: DecisionInput = crate::canonical::decode(&bytes).unwrap();
    prop_assert_eq!(&again, input);
    prop_assert_eq!(&again.replay(), &verdict);
    let admission = match verdict {
        Verdict::Admit(admission) => Some(admission),
        Verdict::Ask(question) => {
            prop_assert!(input.lane.staffed, "nobody is there to ask");
            Some(question.admission)
        }
        Verdict::Refuse(_) => None,
    };
    let Some(admission) = admission else { return Ok(()) };
    prop_assert_eq!(admission.direction, input.lane.direction);
    if admission.direction == Direction::Out {
        prop_assert!(!admission.charges_use);
        return Ok(());
    }
    prop_assert!(admission.pass.is_some(), "nobody enters without a pass");
    prop_assert!(matches!(input.pass.finding, Finding::Genuine { .. }), "not genuine");
    prop_assert_eq!(input.lane.readiness, Readiness::Ready);
    if admission.reopens.is_some() {
        prop_assert!(!admission.charges_use && admission.zones.is_empty());
    } else {
        prop_assert!(!input.view.spaces.is_empty());
        prop_assert!(input.view.spaces.iter().all(|space| space.rights_held > 0 || space.best_effort));
        prop_assert_eq!(admission.zones.len(), input.view.spaces.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 5_000,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(17),
        ..ProptestConfig::default()
    })]

    #[test]
    fn decide_is_total_repeatable_and_never_lets_in_without_a_right(input in any_input()) {
        holds(&input)?;
    }
}
