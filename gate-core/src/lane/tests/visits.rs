//! Scripts of people who stand at a lane and leave: every visit leaves a trace, and only one.

use super::Do::*;
use super::*;
use PulseResult::Done;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const THERE: Do = Sensor(Input::Presence, true);
const GONE: Do = Sensor(Input::Presence, false);

fn presence_setup() -> LaneSetup {
    LaneSetup { barrier: false, ..watched_setup() }
}

/// What is recorded when a lane, whose inputs were heard at 0 ms, goes through this.
fn records(setup: LaneSetup, script: &[(u64, Do)]) -> Vec<String> {
    let mut rig = Rig::new(setup);
    rig.handle(0, GONE);
    let mut records = vec![];
    for (ms, what) in script.iter().cloned().chain([(50_000, Wake)]) {
        // The shell wakes the lane when it asks for that.
        while let Some(due_us) = rig.lane.next_wake().filter(|due_us| *due_us < ms * 1000) {
            records.extend(rig.handle(due_us.div_ceil(1000), Wake));
        }
        records.extend(rig.handle(ms, what));
    }
    records.retain(|effect| effect.starts_with("record"));
    records
}

#[test]
fn a_visit_without_a_code_leaves_a_trace_unless_something_explains_it() {
    let unread = &["record noise unreadable #0"] as &[&str];
    let (fails, works) = (|part| (2000, Fails(part)), |part| (3000, Works(part)));
    let part = |part| vec![(1000, THERE), fails(part), works(part), (9000, GONE)];
    type Row<'a> = (&'a str, LaneSetup, Vec<(u64, Do)>, &'a [&'a str]);
    let rows: Vec<Row<'_>> = vec![
        ("comes and goes", presence_setup(), vec![(1000, THERE), (9000, GONE)], unread),
        ("where the barrier is watched too", watched_setup(), vec![(1000, THERE), (9000, GONE)], unread),
        ("stays", presence_setup(), vec![(1000, THERE)], &[]),
        ("just long enough", presence_setup(), vec![(1000, THERE), (3000, GONE)], unread),
        ("brushes the loop", presence_setup(), vec![(1000, THERE), (2999, GONE)], &[]),
        (
            "a loop that loses it for a moment",
            presence_setup(),
            vec![(1000, THERE), (2500, GONE), (3499, THERE), (5000, GONE), (5100, THERE), (8000, GONE)],
            unread,
        ),
        ("two of them", presence_setup(), vec![(1000, THERE), (4000, GONE), (5000, THERE), (8000, GONE)], unread),
        (
            "refused, and leaves later",
            presence_setup(),
            vec![(1000, THERE), (2000, See("A")), (2010, Refuses('A', Reason::Expired)), (30_000, GONE)],
            &["record refused expired #0"],
        ),
        (
            "refused, and the loop loses it",
            presence_setup(),
            vec![
                (1000, THERE),
                (2000, See("A")),
                (2010, Refuses('A', Reason::Expired)),
                (30_000, GONE),
                (30_500, THERE),
                (40_000, GONE),
            ],
            &["record refused expired #0"],
        ),
        (
            "holds the code out before driving up",
            presence_setup(),
            vec![
                (1000, See("A")),
                (1010, Refuses('A', Reason::Expired)),
                (1900, See("A")),
                (2000, THERE),
                (9000, GONE),
            ],
            &["record refused expired #0"],
        ),
        (
            "comes after somebody was refused and left",
            presence_setup(),
            vec![
                (1000, THERE),
                (2000, See("A")),
                (2010, Refuses('A', Reason::Expired)),
                (3000, GONE),
                (4500, THERE),
                (9000, GONE),
            ],
            &["record refused expired #0", "record noise unreadable #1"],
        ),
        (
            "let in",
            presence_setup(),
            vec![
                (1000, THERE),
                (2000, See("A")),
                (2010, Admits('A')),
                (2020, Stored(0)),
                (2820, Pulse(0, Done)),
                (9000, GONE),
            ],
            &["record authorised #0", "record opened 0 #1"],
        ),
        (
            "stands where somebody was let in, and leaves when it is shut",
            presence_setup(),
            vec![
                (1000, THERE),
                (2000, See("A")),
                (2010, Admits('A')),
                (2020, Stored(0)),
                (2820, Pulse(0, Done)),
                (3000, GONE),
                (4500, THERE),
                (9000, GONE),
            ],
            &["record authorised #0", "record opened 0 #1", "record noise unreadable #2"],
        ),
        (
            "goes through behind somebody",
            watched_setup(),
            vec![
                (1000, THERE),
                (2000, See("A")),
                (2010, Admits('A')),
                (2020, Stored(0)),
                (2500, Sensor(Input::BarrierOpen, true)),
                (2820, Pulse(0, Done)),
                (3000, GONE),
                (4500, THERE),
                (9000, GONE),
                (9500, Sensor(Input::BarrierOpen, false)),
            ],
            &["record authorised #0", "record opened 0 #1", "record passed Some(0) #2", "record passed None #3"],
        ),
        (
            "opened from the exit button",
            LaneSetup { direction: Direction::Out, ..presence_setup() },
            vec![
                (1000, THERE),
                (2000, Sensor(Input::ExitButton, true)),
                (2010, Stored(0)),
                (2820, Pulse(0, Done)),
                (9000, GONE),
            ],
            &["record exit button #0", "record opened 0 #1"],
        ),
        (
            "a free exit asks nobody",
            LaneSetup { presence: true, ..free_exit_setup() },
            vec![(1000, THERE), (9000, GONE)],
            &[],
        ),
        (
            "the lane is closed",
            presence_setup(),
            vec![(500, Close(true)), (1000, THERE), (9000, GONE)],
            &["record closed true #0"],
        ),
        (
            "fire",
            presence_setup(),
            vec![(1000, THERE), (2000, Sensor(Input::Fire, true)), (9000, GONE)],
            &["record fire true #0"],
        ),
        (
            "the camera fails",
            presence_setup(),
            part(Part::Camera),
            &["record health Camera false #0", "record health Camera true #1"],
        ),
        (
            "the hand is away",
            presence_setup(),
            part(Part::GateIo),
            &["record health GateIo false #0", "record health GateIo true #1"],
        ),
        (
            "a clock that is not sure changes nothing",
            presence_setup(),
            part(Part::Clock),
            &["record health Clock false #0", "record health Clock true #1", "record noise unreadable #2"],
        ),
        ("the lot is full", presence_setup(), vec![(500, Zone(Fullness::Full)), (1000, THERE), (9000, GONE)], unread),
    ];
    for (name, setup, script, expected) in rows {
        assert_eq!(records(setup, &script), expected, "{name}");
    }
}

#[test]
fn whoever_was_there_before_the_lane_could_see_is_not_counted() {
    let mut at_start = Rig::new(presence_setup());
    at_start.handle(0, THERE);
    at_start.handle(9000, GONE);
    assert_eq!(at_start.lane.next_wake(), Some(10_000_000), "it may come back");
    assert_eq!(at_start.handle(10_000, Wake), [""; 0], "there at the start");
    // gate-io comes back and says that somebody stands there.
    let away = [(1000, Fails(Part::GateIo)), (20_000, Works(Part::GateIo))];
    let health = ["record health GateIo false #0", "record health GateIo true #1"];
    let back = |rest: &[(u64, Do)]| records(presence_setup(), &[&away, rest].concat());
    assert_eq!(back(&[(20_001, THERE), (25_000, GONE)]), health, "there when the hand is back");
    let next = back(&[(20_001, THERE), (25_000, GONE), (30_000, THERE), (35_000, GONE)]);
    assert_eq!(next, [health[0], health[1], "record noise unreadable #2"], "and the next one");
    let clear = back(&[(20_001, GONE), (30_000, THERE), (35_000, GONE)]);
    assert_eq!(clear, [health[0], health[1], "record noise unreadable #2"], "nobody was there");
    // The shell takes no codes: the replica can't be read, or the device was withdrawn.
    let mut withdrawn = Rig::new(presence_setup());
    withdrawn.handle(0, GONE);
    withdrawn.handle(1000, THERE);
    withdrawn.lane.takes_no_codes();
    withdrawn.handle(9000, GONE);
    assert_eq!(withdrawn.handle(10_000, Wake), [""; 0]);
}

/// Somebody comes, shows something or nothing that can be read, and leaves.
#[derive(Clone, Copy, Debug)]
struct Presented {
    after_ms: u64,
    code: char,
    shows: Shows,
    stays_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shows {
    Nothing,
    Used,
    Noise,
    Good,
}

fn presented() -> impl Strategy<Value = Presented> {
    let shows = prop::sample::select(vec![Shows::Nothing, Shows::Nothing, Shows::Used, Shows::Noise, Shows::Good]);
    (9_000u64..20_000, prop::sample::select(vec!['A', 'B', 'C']), shows, 4_000u64..9_000)
        .prop_map(|(after_ms, code, shows, stays_ms)| Presented { after_ms, code, shows, stays_ms })
}

/// What a lane's records add up to.
#[derive(Clone, Copy, Default, Debug)]
struct Sum {
    accepted: u32,
    refused: u32,
    unread: u32,
    more: u32,
}

/// A lane whose records are stored and whose pulses are carried out at once.
struct Busy {
    rig: Rig,
    sum: Sum,
    next: u64,
}

impl Busy {
    fn play(&mut self, ms: u64, what: Do) {
        let mut waiting = std::collections::VecDeque::from([what]);
        while let Some(what) = waiting.pop_front() {
            for effect in self.rig.lane.handle(event(what, Direction::In), at(ms)) {
                match effect {
                    Effect::Record(_, body) => {
                        self.count(&body);
                        waiting.push_back(Stored(self.next));
                        self.next += 1;
                    }
                    Effect::Open { key: PulseKey::Event(of), .. } => waiting.push_back(Pulse(of.seq, Done)),
                    Effect::Open { key: PulseKey::Free(_), .. } => panic!("an entrance opens without a record"),
                    Effect::Judge(_) | Effect::Inquire(_) | Effect::Show(_) => {}
                }
            }
        }
    }

    fn count(&mut self, body: &EventBody) {
        match body {
            EventBody::Authorised { .. } => self.sum.accepted += 1,
            EventBody::Noise { reason: Reason::Unreadable, .. } => self.sum.unread += 1,
            EventBody::Refused { .. } | EventBody::Noise { .. } => self.sum.refused += 1,
            EventBody::Repeated { more, .. } => self.sum.more += more,
            EventBody::Opened { .. } => {}
            EventBody::EpochOpened { .. }
            | EventBody::NotOpened { .. }
            | EventBody::Passed { .. }
            | EventBody::Annulled { .. }
            | EventBody::Overridden { .. }
            | EventBody::ExitButton { .. }
            | EventBody::Fire { .. }
            | EventBody::Recounted(_)
            | EventBody::Health { .. }
            | EventBody::ClockStepped(_)
            | EventBody::LaneClosed { .. } => panic!("nobody did this: {body:?}"),
        }
    }

    fn visit(&mut self, ms: u64, Presented { code, shows, stays_ms, .. }: Presented) {
        self.play(ms, THERE);
        if shows != Shows::Nothing {
            let seen = ["A", "B", "C"].into_iter().find(|seen| seen.starts_with(code)).unwrap();
            self.play(ms + 1000, See(seen));
        }
        match shows {
            Shows::Nothing => {}
            Shows::Used => self.play(ms + 1010, Refuses(code, Reason::AlreadyUsed)),
            Shows::Noise => self.play(ms + 1010, Refuses(code, Reason::NotAPass)),
            Shows::Good => self.play(ms + 1010, Admits(code)),
        }
        self.play(ms + stays_ms, GONE);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(52),
        ..ProptestConfig::default()
    })]

    /// Accepted, refused and unread make up every presentation, however many there are in a minute.
    #[test]
    fn what_is_recorded_adds_up_to_the_presentations(visits in prop::collection::vec(presented(), 1..60)) {
        let mut busy = Busy { rig: Rig::new(presence_setup()), sum: Sum::default(), next: 0 };
        busy.play(0, GONE);
        let mut ms = 0;
        for visit in &visits {
            ms += visit.after_ms;
            busy.play(ms, Wake);
            busy.visit(ms, *visit);
            ms += visit.stays_ms;
        }
        busy.play(ms + 2_000, Wake);
        busy.play(ms + 62_000, Wake);
        let Sum { accepted, refused, unread, more } = busy.sum;
        let presentations = u32::try_from(visits.len()).unwrap();
        prop_assert_eq!(accepted + refused + unread + more, presentations, "{:?}", busy.sum);
        let good = visits.iter().filter(|visit| visit.shows == Shows::Good).count();
        prop_assert_eq!(accepted as usize, good);
        let silent = visits.iter().any(|visit| visit.shows == Shows::Nothing);
        prop_assert_eq!(unread > 0, silent);
    }
}
