//! Whatever the order, the repeats and the parts in which events are heard: one history.

mod lot;
mod order;

use std::sync::LazyLock;

use uuid::Uuid;

use super::*;
use crate::decision::{Admission, DecisionInput};
use crate::event::hash;
use crate::examples::*;
use crate::ids::{Cti, DeviceId, Hash};
use crate::occupancy::Recount;
use crate::time::Now;

const WHOLE: ZoneId = ZoneId(Uuid::from_u128(0x40));
const NORTH: ZoneId = ZoneId(Uuid::from_u128(0x41));
const SOUTH: ZoneId = ZoneId(Uuid::from_u128(0x42));
const T0: i64 = NOON * 1000;

fn id(device: u128, epoch: u64, seq: u64) -> EventId {
    EventId { device: DeviceId(Uuid::from_u128(device)), epoch, seq }
}

fn event(id: EventId, at_ms: i64, body: EventBody) -> Event {
    let gate = GateId(id.device.0);
    let at = Now { wall_ms: at_ms, ..noon() };
    Event { id, previous: Hash::ZERO, venue: VENUE, gate, lane: None, at, body }
}

fn pass(n: u8) -> PassId {
    PassId { vendor: "V1".parse().unwrap(), cti: Cti([n; 16]) }
}

/// Signing a pass for every event would take longer than everything else.
static EXAMPLE: LazyLock<(DecisionInput, Admission)> = LazyLock::new(|| (input(), admission()));

/// An admission of a pass through zones, counted in one generation.
fn admitted(direction: Direction, of: PassId, zones: &[ZoneId], generation: u64) -> EventBody {
    let admission = Admission {
        pass: Some(of),
        direction,
        charges_use: direction == Direction::In,
        zones: zones.to_vec(),
        ..EXAMPLE.1.clone()
    };
    let generations = vec![generation; zones.len()];
    EventBody::Authorised { input: Box::new(EXAMPLE.0.clone()), admission, generations, confirmed: None }
}

fn entry(n: u8, zones: &[ZoneId]) -> EventBody {
    admitted(Direction::In, pass(n), zones, 0)
}

fn recounted(zone: ZoneId, generation: u64, observed: u32, at_ms: i64, frontier: &[EventId]) -> EventBody {
    EventBody::Recounted(Recount { zone, generation, observed, at_ms, frontier: frontier.to_vec(), before: None })
}

fn demand(history: &History, zone: ZoneId) -> i64 {
    history.zones.get(&zone).map_or(0, |zone| zone.count.demand())
}

#[test]
fn an_annulment_frees_use_and_place_before_and_after_its_admission_and_once() {
    let came = event(id(1, 1, 1), T0, entry(1, &[NORTH, WHOLE]));
    let annulled = event(id(1, 1, 2), T0 + 9000, EventBody::Annulled { of: came.id });
    let never = event(id(1, 1, 3), T0 + 9001, EventBody::NotOpened { of: came.id, unknown: false });
    let doubt = event(id(1, 1, 4), T0 + 9002, EventBody::NotOpened { of: came.id, unknown: true });
    let opened = event(id(1, 1, 5), T0 + 9003, EventBody::Opened { of: came.id, watched: false });
    let stranger = event(id(2, 1, 1), T0 + 9004, EventBody::Annulled { of: came.id });
    for (name, events, uses, inside, doubtful) in [
        ("came", vec![&came], 1, 1, 1),
        ("came and opened", vec![&came, &opened], 1, 1, 0),
        ("annulled", vec![&came, &annulled], 0, 0, 0),
        ("annulled, heard first", vec![&annulled, &came], 0, 0, 0),
        ("annulled twice over", vec![&annulled, &came, &never, &annulled], 0, 0, 0),
        ("never moved", vec![&never, &came], 0, 0, 0),
        ("nobody knows", vec![&came, &doubt], 1, 1, 1),
        ("annulled although it opened", vec![&came, &opened, &annulled], 0, 0, 0),
        ("by another device", vec![&came, &stranger], 1, 1, 1),
        ("annulled, never heard of", vec![&annulled], 0, 0, 0),
    ] {
        let history = fold(events);
        assert_eq!(history.passes.get(&pass(1)).map_or(0, PassHistory::total), uses, "{name}");
        assert_eq!((demand(&history, NORTH), demand(&history, WHOLE)), (inside, inside), "{name}");
        let unknown = history.zones.get(&NORTH).map_or(0, |zone| zone.unknown.entries);
        assert_eq!(unknown, doubtful, "{name}");
        assert_eq!(history.moved.values().map(|moved| moved.entries).sum::<u64>(), uses as u64, "{name}");
    }
    assert_eq!(fold([&came, &stranger]).aside, BTreeMap::from([(stranger.id, Aside::AnotherDevice)]));
}

#[test]
fn a_second_presentation_after_an_unknown_opening_is_one_person_whatever_is_counted_or_heard_between() {
    let first = event(id(1, 1, 1), T0, entry(1, &[NORTH]));
    let doubt = event(id(1, 2, 1), T0 + 1, EventBody::NotOpened { of: first.id, unknown: true });
    let never = event(id(1, 2, 1), T0 + 1, EventBody::NotOpened { of: first.id, unknown: false });
    // Made on the recount by whoever had heard of it, and on the one before by a gate that was cut off.
    let makes_up = |generation, zones: &[ZoneId]| {
        let mut body = admitted(Direction::In, pass(1), zones, generation);
        if let EventBody::Authorised { admission, .. } = &mut body {
            (admission.reopens, admission.charges_use) = (Some(first.id), false);
        }
        event(id(1, 2, 2), T0 + 60_000, body)
    };
    let (again, cut_off, told, placeless) =
        (makes_up(0, &[NORTH]), makes_up(0, &[NORTH]), makes_up(1, &[NORTH]), makes_up(0, &[]));
    let opened = event(id(1, 2, 3), T0 + 61_000, EventBody::Opened { of: again.id, watched: false });
    let left = event(id(1, 2, 3), T0 + 61_000, EventBody::Annulled { of: again.id });
    let counted = event(id(2, 1, 1), T0 + 30_000, recounted(NORTH, 1, 0, T0 + 30_000, &[first.id]));
    for (name, events, low, high, entries) in [
        ("nobody knows", vec![&first, &doubt], 0, 1, 1),
        ("shown again", vec![&again, &first, &doubt], 0, 1, 1),
        ("and in", vec![&opened, &again, &first, &doubt], 1, 1, 1),
        ("and turned back", vec![&left, &again, &first, &doubt], 0, 0, 0),
        ("the first one is known late not to have opened", vec![&opened, &again, &never, &first], 1, 1, 1),
        ("counted in between", vec![&opened, &told, &counted, &first, &doubt], 1, 1, 1),
        ("and the gate has not heard of it", vec![&opened, &cut_off, &counted, &first, &doubt], 1, 1, 1),
        ("the first one was lost", vec![&opened, &again], 1, 1, 1),
        ("an admission without zones leaves the place where it is", vec![&opened, &placeless, &first, &doubt], 0, 1, 2),
    ] {
        let history = fold(events);
        let estimate = history.zones[&NORTH].estimate();
        assert_eq!((estimate.low, estimate.high, estimate.drift), (low, high, 0), "{name}");
        let annulled = usize::from(name.starts_with("the first one"));
        assert_eq!(history.passes[&pass(1)].total(), 1 - annulled, "{name}");
        assert_eq!(history.moved.values().map(|moved| moved.entries).sum::<u64>(), entries, "{name}");
    }
    // Another device can't give its place back.
    let mut stranger = makes_up(0, &[NORTH]);
    stranger.id = id(3, 1, 1);
    assert_eq!(demand(&fold([&first, &stranger]), NORTH), 2);
}

#[test]
fn an_exit_counts_when_it_was_made_and_its_place_is_kept_until_then() {
    let came = event(id(1, 1, 1), T0, entry(1, &[NORTH]));
    let inside = event(id(1, 1, 2), T0 + 1, EventBody::Opened { of: came.id, watched: true });
    let left = event(id(2, 1, 1), T0 + 10, admitted(Direction::Out, pass(1), &[NORTH], 0));
    let word = |seq, body| event(id(2, 1, seq), T0 + 10 + seq as i64, body);
    let of = left.id;
    let open = word(2, EventBody::Opened { of, watched: false });
    let barrier = word(2, EventBody::Opened { of, watched: true });
    let passed = word(3, EventBody::Passed { of: Some(of), direction: Direction::Out });
    let lost = word(2, EventBody::NotOpened { of, unknown: true });
    let never = word(2, EventBody::NotOpened { of, unknown: false });
    let turned_back = word(4, EventBody::Annulled { of });
    for (name, words, low, high) in [
        ("authorised", vec![], 0, 1),
        ("the relay moved, and nobody watches", vec![&open], 0, 0),
        ("the barrier is open", vec![&barrier], 0, 1),
        ("and somebody went through", vec![&barrier, &passed], 0, 0),
        ("or turned back", vec![&barrier, &turned_back], 1, 1),
        ("a lost pulse", vec![&lost], 0, 1),
        ("a pulse that never was", vec![&never], 1, 1),
        ("taken back after all", vec![&open, &turned_back], 1, 1),
    ] {
        let estimate = fold(words.into_iter().chain([&left, &inside, &came])).zones[&NORTH].estimate();
        assert_eq!((estimate.low, estimate.high, estimate.drift), (low, high, 0), "{name}");
    }
}

#[test]
fn of_two_recounts_the_greatest_generation_and_event_wins_and_the_loser_is_shown() {
    let first = event(id(1, 1, 1), T0, recounted(NORTH, 1, 10, T0, &[]));
    let other = event(id(2, 1, 1), T0, recounted(NORTH, 1, 20, T0 + 5, &[]));
    let next = event(id(1, 1, 9), T0, recounted(NORTH, 2, 30, T0 + 10, &[]));
    for (name, events, number, lost) in [
        ("one", vec![&first], 10, vec![]),
        ("two of one generation", vec![&first, &other], 20, vec![first.id]),
        ("the other way round", vec![&other, &first], 20, vec![first.id]),
        ("a later generation", vec![&other, &next], 30, vec![]),
        ("heard before the earlier one", vec![&next, &first], 30, vec![]),
        ("all", vec![&next, &first, &other], 30, vec![first.id]),
    ] {
        let history = fold(events);
        assert_eq!(demand(&history, NORTH), number, "{name}");
        assert_eq!(history.zones[&NORTH].lost.iter().copied().collect::<Vec<_>>(), lost, "{name}");
    }
}

#[test]
fn what_a_recount_could_not_have_seen_counts_and_the_rest_does_not() {
    let recount = event(id(9, 1, 1), T0, recounted(NORTH, 1, 100, T0, &[id(1, 1, 5)]));
    for (name, came, generation, at_ms, number) in [
        ("within the frontier", id(1, 1, 5), 0, T0 + 1, 100),
        ("after the frontier, before the recount", id(1, 1, 6), 0, T0 - 1, 100),
        ("after the frontier and the recount", id(1, 1, 6), 0, T0 + 1, 101),
        ("another epoch, after it", id(1, 2, 1), 0, T0 + 1, 101),
        ("a gate that nobody had heard of, before it", id(2, 1, 1), 0, T0 - 1, 100),
        ("a gate that nobody had heard of, after it", id(2, 1, 1), 0, T0 + 1, 101),
        ("on the new count, by a clock that is behind", id(1, 1, 6), 1, T0 - 1, 101),
    ] {
        let passage = event(came, at_ms, admitted(Direction::In, pass(1), &[NORTH], generation));
        // It may be taken back after the recount: where it does not count, that does not count either.
        let back = event(id(9 + came.device.0.as_u128(), 1, 1), at_ms, EventBody::Annulled { of: came });
        let back = Event { id: EventId { seq: came.seq + 3, ..came }, ..back };
        for events in [[&recount, &passage], [&passage, &recount]] {
            assert_eq!(demand(&fold(events), NORTH), number, "{name}");
        }
        for events in [[&recount, &passage, &back], [&back, &recount, &passage], [&passage, &back, &recount]] {
            assert_eq!(demand(&fold(events), NORTH), 100, "{name}, taken back");
        }
    }
}

#[test]
fn late_events_correct_the_past_too() {
    let hour = 3_600_000;
    let north = GateId(Uuid::from_u128(1));
    let south = GateId(Uuid::from_u128(2));
    let came: Vec<_> = (0..4u64).map(|n| event(id(1, 1, n), T0 + n as i64 * hour, entry(n as u8, &[NORTH]))).collect();
    let known = fold(&came);
    let at = |history: &History, hours: i64| history.zones[&NORTH].level(T0 + hours * hour);
    assert_eq!([-1, 0, 1, 2, 3, 9].map(|hours| at(&known, hours)), [0, 1, 2, 3, 4, 4]);
    // The exit was offline: two left between the second and the third hour, and are heard of at night.
    let left: Vec<_> = (0..2u64)
        .map(|n| {
            let body = admitted(Direction::Out, pass(n as u8), &[NORTH], 0);
            event(id(2, 1, 2 * n), T0 + 2 * hour + (n as i64 + 1) * 60_000, body)
        })
        .collect();
    let asked = fold(came.iter().chain(&left));
    assert_eq!([2, 3].map(|hours| at(&asked, hours)), [3, 4], "nobody knows yet that they left");
    let opened = |left: &Event| {
        let after = EventId { seq: left.id.seq + 1, ..left.id };
        event(after, left.at.wall_ms + 1, EventBody::Opened { of: left.id, watched: false })
    };
    let opened: Vec<_> = left.iter().map(opened).collect();
    let corrected = fold(came.iter().chain(&left).chain(&opened));
    assert_eq!([-1, 0, 1, 2, 3, 9].map(|hours| at(&corrected, hours)), [0, 1, 2, 3, 2, 2]);
    let moved = &corrected.moved;
    assert_eq!(moved[&(T0, north)], Moved { entries: 1, exits: 0 });
    assert_eq!(
        moved[&(T0 + 2 * hour, south)],
        Moved { entries: 0, exits: 2 },
        "where they left, not when it was heard"
    );
    // A recount explains the number from its moment on, and leaves what was before it alone.
    let recount = event(id(9, 1, 1), T0 + 5 * hour, recounted(NORTH, 1, 7, T0 + 5 * hour, &[came[3].id, left[1].id]));
    let counted = fold(came.iter().chain(&left).chain(&opened).chain([&recount]));
    assert_eq!([3, 4, 5, 9].map(|hours| at(&counted, hours)), [2, 2, 7, 7]);
}

#[test]
fn a_use_charges_the_day_that_it_names_on_nights_when_clocks_change_and_however_late_it_is_heard() {
    let rule = day_rule();
    let local = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let mut events = vec![];
    // Around 2026-03-29 (23 hours) and 2026-10-25 (25 hours), a use every half hour for three days.
    for begin in ["2026-03-27T22:00:00Z", "2026-10-23T22:00:00Z"] {
        for half in 0..144 {
            let at_ms = local(begin) + half * 1_800_000;
            let mut body = entry(1, &[NORTH]);
            if let EventBody::Authorised { admission, .. } = &mut body {
                admission.service_day = rule.local(at_ms).unwrap().day;
            }
            events.push(event(id(1, 1, events.len() as u64), at_ms, body));
        }
    }
    let days: Vec<usize> = fold(events.iter().rev()).passes[&pass(1)].days().into_values().collect();
    // A day begins at 03:00; the one that is cut short has 46 half hours, the long one 50.
    assert_eq!(days, [6, 48, 46, 44, 4, 48, 50, 42], "half hours per service day");
    // A clock that was wrong: the day stands in the event, and stays.
    let mut wrong = events[7].clone();
    wrong.at.wall_ms += 40 * 86_400_000;
    let known = fold(&events);
    events[7] = wrong;
    assert_eq!(fold(&events).passes[&pass(1)].days(), known.passes[&pass(1)].days());
}

#[test]
fn refusals_and_their_repeats_add_up_and_forks_are_set_aside() {
    let refused = event(id(1, 1, 1), T0, EventBody::Noise { reason: Reason::NotAPass, token: Hash::ZERO });
    let repeated = |seq, more| event(id(1, 1, seq), T0 + 60_000, EventBody::Repeated { of: refused.id, more });
    let (three, five) = (repeated(2, 3), repeated(3, 5));
    let history = fold([&five, &refused, &three, &five]);
    assert_eq!(history.refused[&refused.id].times, 9);
    assert_eq!(fold([&five]).refused.len(), 0);
    let one = event(id(1, 1, 4), T0, entry(1, &[NORTH]));
    let other = event(id(1, 1, 4), T0, entry(2, &[NORTH]));
    let history = fold([&one, &other]);
    assert_eq!(history, fold([&other, &one]), "which of the two came first makes no difference");
    assert_eq!(history.aside, BTreeMap::from([(one.id, Aside::Forked)]));
    assert_eq!((history.events, demand(&history, NORTH)), (1, 1));
    let kept = if hash(&one.encode()) < hash(&other.encode()) { pass(1) } else { pass(2) };
    assert_eq!(history.passes.keys().collect::<Vec<_>>(), [&kept]);
    let mut odd = entry(3, &[NORTH, WHOLE]);
    if let EventBody::Authorised { generations, .. } = &mut odd {
        generations.pop();
    }
    let odd = event(id(1, 1, 5), T0, odd);
    let history = fold([&odd]);
    assert_eq!(history.aside, BTreeMap::from([(odd.id, Aside::Generations)]));
    assert!(history.zones.is_empty() && history.passes.is_empty());
}
