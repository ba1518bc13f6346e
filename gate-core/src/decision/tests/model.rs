//! What a pass is good for over a whole life, product by product: each admission is fed back into what is known of its
//! uses, as one gate that hears of everything would, and the number of admissions is compared with the product's promise.

use super::*;
use proptest::prelude::*;

const HOUR_MS: i64 = 3_600_000;

/// What somebody does with their pass next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Shows it at the entrance.
    Enter,
    /// Leaves with it.
    Leave,
    /// Waits, hours.
    Wait(i64),
}

/// One pass and everything that is known of it.
pub(super) struct Life {
    input: DecisionInput,
    today: ServiceDay,
    /// Charged admissions in all, and by service day.
    charged: Vec<ServiceDay>,
    entries: u32,
}

impl Life {
    pub(super) fn new(rules_of: &[Rule]) -> Self {
        let input = with(|i| {
            rules(i, rules_of);
            moved_to(i, "2026-06-10T12:00:00+03:00");
        });
        Self { input, today: ServiceDay(i32::MIN), charged: vec![], entries: 0 }
    }

    pub(super) fn step(&mut self, step: Step) -> Option<Says> {
        let direction = match step {
            Step::Wait(hours) => {
                self.input.now.wall_ms += hours * HOUR_MS;
                return None;
            }
            Step::Enter => Direction::In,
            Step::Leave => Direction::Out,
        };
        let view = &mut self.input.view;
        self.today = view.day_rule.local(self.input.now.wall_ms).unwrap().day;
        view.uses.total = u32::try_from(self.charged.len()).unwrap();
        view.uses.today = u32::try_from(self.charged.iter().filter(|day| **day == self.today).count()).unwrap();
        self.input.lane.direction = direction;
        let says = says(&self.input);
        if let Verdict::Admit(admission) = self.input.replay() {
            assert_eq!(admission.service_day, self.today);
            if admission.charges_use {
                self.charged.push(admission.service_day);
            }
            let left = direction == Direction::Out && self.input.view.uses.inside;
            assert_eq!(!admission.zones.is_empty(), direction == Direction::In || left, "places match people");
            self.entries += u32::from(direction == Direction::In);
            self.input.view.uses.inside = direction == Direction::In;
            self.input.view.uses.last = Some(LastUse { at_ms: self.input.now.wall_ms, ..last_use(direction) });
        }
        Some(says)
    }

    /// How often it was charged.
    pub(super) fn charges(&self) -> usize {
        self.charged.len()
    }

    fn charged_on(&self, day: ServiceDay) -> usize {
        self.charged.iter().filter(|charged| **charged == day).count()
    }
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Enter),
        2 => Just(Step::Leave),
        3 => (1i64..30).prop_map(Step::Wait),
    ];
    // Less than the half year for which the pass is good.
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20),
        ..ProptestConfig::default()
    })]

    #[test]
    fn times_n_admits_exactly_n(n in 1u32..12, steps in any_steps()) {
        let mut life = Life::new(&[Rule::Times(n)]);
        let shown = steps.iter().filter(|step| matches!(step, Step::Enter)).count();
        for step in steps {
            let before = life.entries;
            let expected = if before < n {
                Says::Admit
            } else {
                Says::Refuse(if n == 1 { Reason::AlreadyUsed } else { Reason::NoUsesLeft })
            };
            let said = life.step(step);
            if matches!(step, Step::Enter) {
                prop_assert_eq!(said, Some(expected));
            }
        }
        prop_assert_eq!(life.entries as usize, shown.min(n as usize));
    }

    #[test]
    fn single_admits_once_whatever_else_happens(steps in any_steps()) {
        let mut life = Life::new(&[Rule::Single]);
        let shown = steps.iter().any(|step| matches!(step, Step::Enter));
        for step in steps {
            life.step(step);
        }
        prop_assert_eq!(life.entries, u32::from(shown));
    }

    #[test]
    fn per_day_admits_n_on_each_day_and_begins_anew(n in 1u32..4, steps in any_steps()) {
        let mut life = Life::new(&[Rule::PerDay(n)]);
        for step in steps {
            let said = life.step(step);
            if matches!(step, Step::Enter) {
                let today = life.charged_on(life.today);
                prop_assert!(today <= n as usize);
                match said {
                    Some(Says::Admit) => {}
                    Some(Says::Refuse(Reason::UsedToday)) => prop_assert_eq!(today, n as usize),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }

    #[test]
    fn unlimited_admits_always_and_with_re_entry_only_who_is_outside(reentry: bool, steps in any_steps()) {
        let mut life = Life::new(if reentry { &[Rule::Unlimited, Rule::ReentryAfterExit] } else { &[Rule::Unlimited] });
        for step in steps {
            let inside = life.input.view.uses.inside;
            let said = life.step(step);
            if matches!(step, Step::Enter) {
                let expected = if reentry && inside { Says::Refuse(Reason::AlreadyInside) } else { Says::Admit };
                prop_assert_eq!(said, Some(expected));
            }
        }
    }

    #[test]
    fn a_daily_pass_with_re_entry_charges_a_day_once(steps in any_steps()) {
        let mut life = Life::new(&[Rule::PerDay(1), Rule::ReentryAfterExit]);
        for step in steps {
            let inside = life.input.view.uses.inside;
            let said = life.step(step);
            prop_assert!(life.charged_on(life.today) <= 1);
            if matches!(step, Step::Enter) {
                let expected = if inside { Says::Refuse(Reason::AlreadyInside) } else { Says::Admit };
                prop_assert_eq!(said, Some(expected));
            }
        }
    }
}
