//! Tables of decisions: what changes from the admissible example, and what is answered.

use uuid::Uuid;

mod clocks;
mod exposure;
mod model;
mod order;
mod policy;
mod random;
mod replay;
mod staleness;
mod times;

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
        elapsed_ms: None,
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
    let inside = |rules_of: &[Rule]| {
        with(|i| {
            rules(i, rules_of);
            used(i, 5, 2, 600);
            i.view.uses.inside = true;
        })
    };
    let unlimited = [Rule::Unlimited, Rule::ReentryAfterExit];
    assert_eq!(says(&inside(&[Rule::Unlimited])), Says::Admit, "only the rule asks for an exit");
    assert_eq!(says(&inside(&unlimited)), Says::Refuse(Reason::AlreadyInside), "unlimited, but one at a time");
    let mut out = inside(&unlimited);
    out.view.uses.inside = false;
    assert_eq!(says(&out), Says::Admit, "unlimited, after the exit");
    let mut tomorrow = inside(&unlimited);
    tomorrow.view.uses.today = 0;
    assert_eq!(says(&tomorrow), Says::Refuse(Reason::AlreadyInside), "a new day is no exit");
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

/// A29: whoever comes again is told of the use, and not of where the pass was seen since.
#[test]
fn a_used_pass_says_when_it_was_used_also_after_its_holder_left() {
    let at = |ago_s: i64, direction| LastUse { at_ms: NOON * 1000 - ago_s * 1000, ..last_use(direction) };
    let (monday, noon, out) = (at(86_400, Direction::In), at(600, Direction::In), at(60, Direction::Out));
    let pause = [Rule::Unlimited, Rule::MinInterval(3600)];
    for (name, rules_of, uses, reason, told) in [
        ("single", vec![Rule::Single], 2, Reason::AlreadyUsed, &monday),
        ("ten entries", vec![Rule::Times(2)], 2, Reason::NoUsesLeft, &noon),
        ("daily", vec![Rule::PerDay(1)], 1, Reason::UsedToday, &noon),
        ("a pause since it was seen", pause.to_vec(), 2, Reason::TooSoon, &out),
    ] {
        for staffed in [false, true] {
            let input = with(|i| {
                rules(i, &rules_of);
                used(i, uses, 1, 60);
                i.lane.staffed = staffed;
                i.view.product.as_mut().unwrap().second_scan = SecondScan::Soft;
                i.view.uses.last = Some(out.clone());
                i.view.uses.first_charged = Some(monday.clone());
                i.view.uses.newest_charged = Some(noon.clone());
            });
            let (said, last) = match input.replay() {
                Verdict::Refuse(refusal) => (refusal.reason, refusal.last),
                Verdict::Ask(question) => (question.reason, question.last),
                Verdict::Admit(admission) => panic!("{name}: {admission:?}"),
            };
            assert_eq!((said, last.as_ref()), (reason, Some(told)), "{name}, staffed {staffed}");
        }
    }
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
fn one_re_presentation_after_an_unknown_opening() {
    let interrupted = |ago_ms: i64| {
        with(|i| {
            used(i, 1, 1, 30);
            let at_ms = i.now.wall_ms - ago_ms;
            i.view.uses.unopened = Some(Unopened { event: event_id(8), at_ms, places: vec![LOT], elapsed_ms: None });
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
    assert!(!admission.charges_use, "no use is taken again");
    assert_eq!(admission.zones, [LOT], "the place is taken over");
    let mut full = interrupted(1000);
    full.view.spaces[0].rights_held = 0;
    assert_eq!(says(&full), Says::Admit, "its right was spent the first time");
    let why = explain(&full).into_iter().find(|step| step.check == Check::Capacity).unwrap();
    assert!(why.en.contains("the interrupted admission's own") && why.ro.contains("admiterii întrerupte"), "{why:?}");
    full.view.uses.unopened.as_mut().unwrap().places.clear();
    assert_eq!(says(&full), Says::Refuse(Reason::LotFull), "a recount let go of its place, and others have taken it");
    full.view.spaces[0].rights_held = 1;
    assert_eq!(says(&full), Says::Admit, "or they have not");
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
    for (reason, change) in order::every_reason() {
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
    for (reason, change) in order::every_reason() {
        let mut input = exit(Egress::Scan);
        change(&mut input);
        let refused = reason <= Reason::IssuerRevoked
            || [Reason::WrongVenue, Reason::NoVehicle, Reason::OutOfOrder, Reason::LaneFault].contains(&reason);
        let expected = if refused { Says::Refuse(reason) } else { Says::Admit };
        assert_eq!(says(&input), expected, "scanned exit, {reason}");
    }
}

#[test]
fn an_exit_frees_a_place_only_for_who_was_inside() {
    type Change = fn(&mut DecisionInput);
    let minutes = |n: i64| Some(n * 60_000);
    let (entered, left) = (Some(Direction::In), Some(Direction::Out));
    let genuine: Change = |_| {};
    let picture: Change = |i| defective(i, Defect::NotAPass);
    let forged: Change = |i| defective(i, Defect::BadSignature(KID));
    let elsewhere: Change = |i| claim(i).venue = "P2".parse().unwrap();
    let expired: Change = |i| claim(i).expires = NOON - 60;
    // (what is shown, the last that is known of it, age of the replica, whether a place becomes free).
    for (name, shown, last, age_ms, frees) in [
        ("it is inside", genuine, entered, minutes(0), true),
        ("it is inside, by an old replica", genuine, entered, minutes(500), true),
        ("it is inside and expired meanwhile", expired, entered, minutes(0), true),
        ("it left", genuine, left, minutes(0), false),
        ("it left, by an old replica", genuine, left, None, false),
        ("never used, fresh replica", genuine, None, minutes(0), false),
        ("never used, replica ahead of this clock", genuine, None, minutes(-3), false),
        ("never used, five minutes", genuine, None, minutes(5), false),
        ("never heard of, six minutes", genuine, None, minutes(6), true),
        ("never heard of anything", genuine, None, None, true),
        ("any picture", picture, None, None, false),
        ("a forged pass", forged, entered, None, false),
        ("a pass of another venue", elsewhere, entered, None, false),
    ] {
        for egress in [Egress::Free, Egress::Scan] {
            let input = with(|i| {
                i.lane.direction = Direction::Out;
                i.lane.egress = egress;
                i.view.age_ms = age_ms;
                i.view.uses.last = last.map(last_use);
                shown(i);
            });
            match input.replay() {
                Verdict::Admit(admission) => {
                    let expected = if frees { vec![LOT] } else { vec![] };
                    assert_eq!(admission.zones, expected, "{name}, {egress:?}");
                }
                other @ (Verdict::Ask(_) | Verdict::Refuse(_)) => {
                    assert!(egress == Egress::Scan && !frees, "{name}, {egress:?}: {other:?}");
                }
            }
        }
    }
}

/// A18: what is wrong with a text is told apart in what people see, in the journal, and in the explanation.
#[test]
fn every_way_in_which_a_signature_check_fails_has_its_own_reason() {
    let keys = keyring();
    let issued = |seed: u8, kid| crate::pass::issue(&claims(), kid, &key(seed), crate::pass::VISITOR_LIMIT).unwrap();
    let good = pass_text();
    let mut said = std::collections::BTreeSet::new();
    for (name, text, reason) in [
        ("signed by a wrong key", issued(9, KID), Reason::BadSignature),
        ("signed by a key that nobody knows", issued(9, crate::ids::Kid([9; 4])), Reason::UnknownKey),
        ("cut off", good[..good.len() - 20].to_owned(), Reason::Malformed),
        ("empty", String::new(), Reason::NotAPass),
        ("oversized", format!("{good}{}", "0".repeat(400)), Reason::TooLong),
        ("of another version", "GP2:00".to_owned(), Reason::Unsupported),
    ] {
        let input = with(|i| i.pass = crate::pass::open(&text, &keys));
        assert_eq!(says(&input), Says::Refuse(reason), "{name}");
        let last = explain(&input).pop().unwrap();
        assert!(said.insert((reason, last.en.clone())), "{name}: {}", last.en);
    }
    assert_eq!(said.iter().map(|(reason, _)| reason).collect::<std::collections::BTreeSet<_>>().len(), 6);
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
