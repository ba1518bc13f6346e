//! Every reason is given by some presentation, and of several the first in order.

use super::*;

pub(super) type Change = fn(&mut DecisionInput);

/// For every reason one change of the admissible example that leads to it, in the order in which `decide` looks.
pub(super) fn every_reason() -> Vec<(Reason, Change)> {
    vec![
        (Reason::NotAPass, |i| defective(i, Defect::NotAPass)),
        (Reason::Unsupported, |i| defective(i, Defect::Unsupported)),
        (Reason::Malformed, |i| defective(i, Defect::Malformed(MalformedWhy::Claims))),
        (Reason::TooLong, |i| defective(i, Defect::Malformed(MalformedWhy::TooLong))),
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
    let mut given: Vec<Reason> = every_reason().iter().map(|(reason, _)| *reason).collect();
    // The lane says this of somebody who left without a code: nothing was decided.
    given.push(Reason::Unreadable);
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
