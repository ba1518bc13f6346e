//! What is said about double use in advance is what happens: gates that hear of nobody, until each of them refuses.

use super::*;

/// How often gates apart from each other let one pass in on each of some days, each knowing only its own journal.
fn admitted_apart(product: &Product, gates: u32, days: i64) -> (u64, Vec<u64>) {
    let mut by_day = vec![0u64; usize::try_from(days).unwrap()];
    for gate in 0..gates {
        let (mut total, mut inside) = (0u32, false);
        for day in 0..days {
            let mut today = 0u32;
            // More often than any rule allows, leaving in between.
            for visit in 0..12 {
                let mut input = with(|i| {
                    i.view.product = Some(product.clone());
                    i.lane.gate = crate::ids::GateId(Uuid::from_u128(100 + u128::from(gate)));
                    moved_to(i, "2026-06-10T08:00:00+03:00");
                    i.now.wall_ms += (day * 24 + visit) * 3_600_000;
                });
                input.view.uses = crate::view::Uses { total, today, inside, ..Default::default() };
                match input.replay() {
                    Verdict::Admit(admission) if admission.charges_use => {
                        total += 1;
                        today += 1;
                        by_day[usize::try_from(day).unwrap()] += 1;
                    }
                    Verdict::Admit(_) | Verdict::Ask(_) | Verdict::Refuse(_) => {}
                }
                inside = false;
            }
        }
    }
    (by_day.iter().sum(), by_day)
}

#[test]
fn the_declared_exposure_is_the_worst_that_happens() {
    use OfflineScope::{Any, HomeGate, Site};
    let home = crate::ids::GateId(Uuid::from_u128(101));
    let times = |n| vec![Rule::Times(n)];
    // (rules, scope, gates apart, extra in all, extra per day)
    for (name, rules_of, scope, gates, in_all, per_day) in [
        ("single, one gate", vec![Rule::Single], Site, 1, Some(0), None),
        ("single, two gates", vec![Rule::Single], Site, 2, Some(1), None),
        ("single, five gates", vec![Rule::Single], Any, 5, Some(4), None),
        ("no rule is once", vec![], Site, 3, Some(2), None),
        ("single at home", vec![Rule::Single], HomeGate, 5, Some(0), None),
        ("ten times, three gates", times(10), Site, 3, Some(20), None),
        ("ten times at home", times(10), HomeGate, 3, Some(0), None),
        ("daily, three gates", vec![Rule::PerDay(1)], Any, 3, None, Some(2)),
        ("twice a day, three gates", vec![Rule::PerDay(2)], Site, 3, None, Some(4)),
        ("daily at home", vec![Rule::PerDay(1)], HomeGate, 3, None, Some(0)),
        ("ten, one a day, two gates", vec![Rule::Times(10), Rule::PerDay(1)], Site, 2, Some(10), Some(1)),
        ("daily with re-entry", vec![Rule::PerDay(1), Rule::ReentryAfterExit], Site, 4, None, Some(3)),
        ("unlimited", vec![Rule::Unlimited], Any, 4, None, None),
        ("no gate", vec![Rule::Single], Site, 0, Some(0), None),
    ] {
        let product = Product { offline_scope: scope, home_gate: Some(home), ..product(&rules_of) };
        let declared = exposure(&product, gates, None);
        assert_eq!((declared.extra_in_all, declared.extra_per_day), (in_all, per_day), "{name}");
        let days = 15;
        let allowance = Allowance::promised(Some(&product), None);
        let (total, by_day) = admitted_apart(&product, gates, days);
        if let (Some(allowed), Some(extra)) = (allowance.in_all, in_all) {
            let extra_seen = total.saturating_sub(u64::from(allowed));
            assert_eq!(extra_seen, extra, "{name}: {total} in all");
        }
        if let (Some(allowed), Some(extra)) = (allowance.per_day, per_day) {
            let worst = by_day.iter().map(|n| n.saturating_sub(u64::from(allowed))).max().unwrap();
            assert_eq!(worst, extra, "{name}: {by_day:?}");
        }
        let none = in_all.unwrap_or(0) == 0 && per_day.unwrap_or(0) == 0;
        assert_eq!(declared.is_none(), none, "{name}");
    }
    let row = exposure(&product(&[Rule::Single]), 3, Some(4));
    assert_eq!(row.extra_in_all, Some(8), "the number in the pass's own row counts");
    let unnamed = Product { offline_scope: HomeGate, home_gate: None, ..product(&[Rule::Single]) };
    assert_eq!(exposure(&unnamed, 3, None).gates, 0, "no gate takes it");
}

#[test]
fn a_home_gates_pass_is_good_there_only_however_fresh_the_replica() {
    let home = |at: Option<crate::ids::GateId>| {
        move |i: &mut DecisionInput| {
            let product = i.view.product.as_mut().unwrap();
            (product.offline_scope, product.home_gate) = (OfflineScope::HomeGate, at);
            i.view.right_gates = vec!["South entrance".into()];
            i.view.age_ms = Some(0);
        }
    };
    check("at home", home(Some(ENTRANCE)), Says::Admit);
    check("elsewhere", home(Some(OTHER_GATE)), Says::Refuse(Reason::WrongGate));
    check("nowhere", home(None), Says::Refuse(Reason::WrongGate));
    let Verdict::Refuse(refusal) = with(home(Some(OTHER_GATE))).replay() else { panic!("refused") };
    assert_eq!(refusal.right_gates, ["South entrance"], "people are told where to go");
    check(
        "leaving is no use",
        |i| {
            home(Some(OTHER_GATE))(i);
            i.lane.direction = Direction::Out;
        },
        Says::Admit,
    );
    check(
        "staff are not asked: they can override",
        |i| {
            home(Some(OTHER_GATE))(i);
            i.lane.staffed = true;
        },
        Says::Refuse(Reason::WrongGate),
    );
}

#[test]
fn uses_beyond_the_allowance_are_counted_once() {
    for (name, in_all, per_day, days, extra) in [
        ("within", Some(3), Some(1), vec![1, 1, 1], 0),
        ("in all", Some(3), None, vec![2, 2], 1),
        ("one day", None, Some(1), vec![3, 1], 2),
        ("two days", None, Some(1), vec![3, 2], 3),
        ("both, the larger", Some(2), Some(1), vec![2, 2], 2),
        ("no limit", None, None, vec![9], 0),
    ] {
        assert_eq!(Allowance { in_all, per_day }.exceeded(days), extra, "{name}");
    }
}
