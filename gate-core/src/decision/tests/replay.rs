//! A recorded decision can be made again and told in words.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::random::any_input;
use super::*;
use crate::event::{Confirmation, Event, EventBody};
use crate::ids::Hash;
use crate::reason::Language;

pub(super) fn event(body: EventBody) -> Event {
    Event { id: event_id(3), previous: Hash::ZERO, venue: VENUE, gate: ENTRANCE, lane: Some(LANE), at: noon(), body }
}

/// What a gate writes down about a presentation, if staff answer every question with yes.
fn recorded(input: &DecisionInput) -> Event {
    let boxed = Box::new(input.clone());
    let authorised = |admission: Admission, confirmed| {
        let generations = vec![0; admission.zones.len()];
        event(EventBody::Authorised { input: boxed.clone(), admission, generations, confirmed })
    };
    match input.replay() {
        Verdict::Admit(admission) => authorised(admission, None),
        Verdict::Ask(question) => {
            authorised(question.admission, Some(Confirmation { reason: question.reason, staff: None }))
        }
        Verdict::Refuse(refusal) => event(EventBody::Refused { input: boxed.clone(), reason: refusal.reason }),
    }
}

#[test]
fn every_reason_is_explained_as_the_last_check_in_both_languages() {
    let mut said = BTreeSet::new();
    for (reason, change) in order::every_reason() {
        let input = with(change);
        let replayed = replay(&recorded(&input)).expect("a decision");
        assert!(replayed.same, "{reason}");
        let last = replayed.steps.last().unwrap();
        if reason == Reason::Attention {
            let asked = replayed.steps.iter().find(|step| step.outcome == Outcome::Asked).unwrap();
            assert_eq!(asked.check, Check::Attention);
        } else {
            assert_eq!(last.outcome, Outcome::Failed(reason), "{reason}");
            assert!(said.insert(last.en.clone()), "{reason}: said before: {}", last.en);
        }
        let others = &replayed.steps[..replayed.steps.len() - 1];
        assert!(others.iter().all(|step| !matches!(step.outcome, Outcome::Failed(_))), "{reason}");
        for language in [Language::En, Language::Ro] {
            let words = replayed.words(language);
            assert_eq!(words.len(), replayed.steps.len() + 3, "{reason}");
            let title = reason.words(language).title;
            assert!(words.iter().any(|line| line.contains(title)), "{reason} {language:?}: {words:#?}");
            assert!(words.iter().all(|line| line.len() > 8), "{reason}: {words:#?}");
        }
        assert!(replayed.steps.iter().all(|step| step.en != step.ro), "{reason}: translated");
    }
}

#[test]
fn the_words_say_age_clock_uses_and_rights() {
    let input = with(|i| {
        rules(i, &[Rule::Times(10), Rule::PerDay(2)]);
        used(i, 3, 1, 7200);
        i.view.age_ms = Some(26 * 3_600_000);
        i.view.product.as_mut().unwrap().max_staleness_s = Some(48 * 3600);
        i.now.trust = Trust::Signed;
    });
    let replayed = replay(&recorded(&input)).unwrap();
    let expected = [
        "Decided 2026-06-10 12:00:00 at gate 00000000-0000-0000-0000-000000000002; clock signed by the venue; replica 1 d 2 h old, at change 17; rules 1.",
        "[ok] The text is a pass of this system.",
        "[ok] This gate knows its version.",
        "[ok] It is built like a pass.",
        "[ok] The key that it names is known here.",
        "[ok] Its signature holds.",
        "[ok] The venue trusts that key.",
        "[ok] It is pass V1-30313233343536373839616263646566 of vendor V1, product 1.",
        "[ok] It is good from 2026-06-10 11:00:00 until 2026-06-10 13:00:00; it was 2026-06-10 12:00:00.",
        "[ok] It is for venue P1; this is P1.",
        "[ok] It opens what lies behind this gate.",
        "[ok] Vendor V1 trades on this day.",
        "[ok] Nobody said anything against it.",
        "[ok] Its product is 1 (Day ticket).",
        "[ok] A visitor's pass need not be known here.",
        "[ok] The replica was 1 d 2 h old, at most 2 d 0 h will do: fresh enough.",
        "[ok] Its rules are understood: times(10), per_day(2).",
        "[ok] The clock (signed by the venue) is good enough for its rules.",
        "[ok] 2026-06-10 12:00:00 is not outside its hours.",
        "[ok] By what is known it is not inside.",
        "[ok] It last came in at 2026-06-10 10:00:00, South entrance.",
        "[ok] No adult has to be there.",
        "[ok] It was used 3 of 10 times in all and 1 of 2 on this day.",
        "[ok] Staff need not look.",
        "[ok] Rights to a place held at this gate: 5 in zone …0004.",
        "[ok] The lane was ready.",
        "Let through by the gate.",
        "Decided again from the recorded input: the same, bit for bit.",
    ];
    assert_eq!(replayed.words(Language::En), expected);
    let romanian = replayed.words(Language::Ro).join("\n");
    for said in ["semnat de locație", "veche de 1 zile 2 h", "de 3 din 10 ori", "5 în zona …0004", "bit cu bit"] {
        assert!(romanian.contains(said), "{said}: {romanian}");
    }
}

#[test]
fn a_record_that_says_something_else_is_not_the_same() {
    let input = input();
    let fine = recorded(&input);
    assert!(replay(&fine).unwrap().same);
    let lied = |change: fn(&mut Admission)| {
        let mut event = fine.clone();
        if let EventBody::Authorised { admission, .. } = &mut event.body {
            change(admission);
        }
        replay(&event).unwrap()
    };
    type Lie = fn(&mut Admission);
    let lies: [(&str, Lie); 4] = [
        ("uses", |a| a.remaining = Some(9)),
        ("charge", |a| a.charges_use = false),
        ("zones", |a| a.zones.clear()),
        ("day", |a| a.service_day.0 += 1),
    ];
    for (name, change) in lies {
        assert!(!lied(change).same, "{name}");
    }
    let refused =
        replay(&event(EventBody::Refused { input: Box::new(input.clone()), reason: Reason::Expired })).unwrap();
    assert!(!refused.same);
    assert!(refused.conclusion(Language::En).contains("rules 1"), "{}", refused.conclusion(Language::En));
    let mut today = input;
    today.rules = RULES_VERSION;
    let refused = replay(&event(EventBody::Refused { input: Box::new(today), reason: Reason::Expired })).unwrap();
    assert!(refused.conclusion(Language::En).contains("NOT the same"));
    assert_eq!(replay(&event(EventBody::Opened { of: event_id(1), watched: false })), None);
}

#[test]
fn what_staff_answered_is_the_same_decision() {
    let asked = with(|i| {
        i.lane.staffed = true;
        claim(i).flags = PassFlags::ATTENTION;
    });
    let Verdict::Ask(question) = asked.replay() else { panic!("asked") };
    let boxed = Box::new(asked.clone());
    let yes = |reason, confirmed: bool| {
        let confirmed = confirmed.then_some(Confirmation { reason, staff: None });
        let (input, admission) = (boxed.clone(), question.admission.clone());
        replay(&event(EventBody::Authorised { input, admission, generations: vec![2], confirmed })).unwrap()
    };
    assert!(yes(Reason::Attention, true).same);
    assert!(!yes(Reason::AlreadyUsed, true).same, "they were asked something else");
    assert!(!yes(Reason::Attention, false).same, "nobody was asked");
    let no = replay(&event(EventBody::Refused { input: boxed.clone(), reason: Reason::Attention })).unwrap();
    assert!(no.same, "their no, or nobody's answer");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(23),
        ..ProptestConfig::default()
    })]

    /// On another machine: only the canonical bytes of the event travel.
    #[test]
    fn whatever_was_decided_is_decided_again_from_its_bytes(input in any_input()) {
        let event = Event::decode(&recorded(&input).encode()).unwrap();
        let replayed = replay(&event).unwrap();
        prop_assert!(replayed.same);
        let ascending = replayed.steps.windows(2).all(|pair| pair[0].check < pair[1].check);
        prop_assert!(ascending, "{:?}", replayed.steps);
        let asked: Vec<_> = replayed.steps.iter().filter(|step| step.outcome == Outcome::Asked).collect();
        match &replayed.again {
            Verdict::Admit(_) => prop_assert!(asked.is_empty()),
            Verdict::Ask(question) => prop_assert!(asked.len() > question.also.len()),
            Verdict::Refuse(refusal) => {
                prop_assert_eq!(replayed.steps.last().map(|step| step.outcome), Some(Outcome::Failed(refusal.reason)));
            }
        }
    }
}
