//! Whatever is presented: an answer, always the same one, and nobody let in without a right.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;

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

pub(super) fn any_input() -> impl Strategy<Value = DecisionInput> {
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
            input.view.uses.unopened = unopened.map(|at_ms| {
                let places = if at_ms % 2 == 0 { vec![LOT] } else { vec![] };
                Unopened {
                    event: event_id(1),
                    at_ms,
                    places,
                    elapsed_ms: at_ms.try_into().ok().filter(|ms| ms % 3 == 0),
                }
            });
            input.view.uses.last = last.map(|at_ms| LastUse {
                at_ms,
                gate: OTHER_GATE,
                gate_name: "South".into(),
                direction: Direction::In,
                elapsed_ms: None,
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
    let interrupted = input.view.uses.unopened.as_ref().filter(|_| admission.reopens.is_some());
    prop_assert!(interrupted.is_none() || !admission.charges_use);
    prop_assert!(!input.view.spaces.is_empty());
    let kept = |zone| interrupted.is_some_and(|unopened| unopened.places.contains(&zone));
    prop_assert!(input.view.spaces.iter().all(|space| space.rights_held > 0 || space.best_effort || kept(space.zone)));
    prop_assert_eq!(admission.zones.len(), input.view.spaces.len());
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
