//! Scripts of lanes that see who stands there and whether the barrier is open.

use super::Do::*;
use super::scripts::{admitted, then};
use super::*;
use PulseResult::Done;

#[test]
fn presence_must_be_there_before_a_code_counts() {
    let setup = LaneSetup { barrier: false, ..watched_setup() };
    let mut rig = Rig::new(setup);
    assert_eq!(rig.lane.readiness(), Readiness::NoVehicle);
    rig.handle(0, Sensor(Input::Presence, true));
    assert_eq!(rig.lane.readiness(), Readiness::Ready);
    check(
        "drives up with the code held out",
        setup,
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (10, Refuses('A', Reason::NoVehicle), &["record refused no_vehicle #0", "show deny red no_vehicle p1"]),
            (1000, See("A"), &[]),
            (1500, Sensor(Input::Presence, true), &[]),
            (2100, See("A"), &["judge A", "show wait yellow p1"]),
        ],
    );
}

/// A watched lane with a car at it, admitted and open.
fn car_at_open_barrier() -> Vec<(u64, Do, &'static [&'static str])> {
    vec![
        (0, Sensor(Input::Presence, true), &["show idle red p0"]),
        (10, See("A"), &["judge A", "show wait yellow p0"]),
        (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
        (30, Stored(0), &["open 0 800ms", "show admit green p1"]),
        (900, Pulse(0, Done), &[]),
        // The relay did it, but only the barrier shows that it opened.
        (1500, Sensor(Input::BarrierOpen, true), &["record opened 0 #1"]),
    ]
}

#[test]
fn a_watched_lane_tells_passing_from_turning_back() {
    let through = then(
        car_at_open_barrier(),
        &[
            (30_000, Wake, &[]),
            // No other code while the car is under the barrier.
            (30_500, See("B"), &[]),
            (31_000, Sensor(Input::Presence, false), &["record passed Some(0) #2"]),
            (33_000, Sensor(Input::BarrierOpen, false), &[]),
            (34_000, Wake, &["show idle red p1"]),
        ],
    );
    check("passes", watched_setup(), &through);
    let back = then(
        car_at_open_barrier(),
        &[
            (8000, Sensor(Input::BarrierOpen, false), &[]),
            (9000, Sensor(Input::Presence, false), &["record annulled 0 #2", "show idle red p1"]),
            // The pass is free again once that is stored, and is judged again.
            (9050, See("A"), &[]),
            (9060, Stored(2), &[]),
            (9100, See("A"), &["judge A", "show wait yellow p1"]),
        ],
    );
    check("turns back", watched_setup(), &back);
    let during_pulse = vec![
        (0, Sensor(Input::Presence, true), &["show idle red p0"] as &[&str]),
        (10, See("A"), &["judge A", "show wait yellow p0"]),
        (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
        (30, Stored(0), &["open 0 800ms", "show admit green p1"]),
        (200, Sensor(Input::BarrierOpen, true), &[]),
        (600, Sensor(Input::Presence, false), &["record passed Some(0) #1"]),
        (800, Sensor(Input::BarrierOpen, false), &[]),
        // A passage that was seen before the pulse ended must not be annulled after it.
        (900, Pulse(0, Done), &["record opened 0 #2"]),
        (3900, Wake, &["show idle red p1"]),
    ];
    check("passes during the pulse", watched_setup(), &during_pulse);
    let never = vec![
        (0, Sensor(Input::Presence, true), &["show idle red p0"] as &[&str]),
        (10, See("A"), &["judge A", "show wait yellow p0"]),
        (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
        (30, Stored(0), &["open 0 800ms", "show admit green p1"]),
        (900, Pulse(0, Done), &[]),
        (8899, Wake, &[]),
        // Nobody knows whether it opened: the use is not given back, but the code may be shown again.
        (
            8900,
            Wake,
            &["record not opened 0, unknown #1", "record health Barrier false #2", "show fault fault lane_fault p1"],
        ),
        (8910, Stored(1), &[]),
        (9000, See("A"), &["judge A", "show wait yellow p1"]),
        (9010, Admits('A'), &["record authorised #3", "show wait yellow p2"]),
        (9020, Stored(3), &["open 3 800ms", "show admit green p2"]),
        (9900, Pulse(3, Done), &[]),
        // A pulse alone does not mend a barrier that can be seen; that it moves does.
        (
            10_500,
            Sensor(Input::BarrierOpen, true),
            &["record opened 3 #4", "record health Barrier true #5", "show admit green p2"],
        ),
    ];
    check("the barrier never opens", watched_setup(), &never);
    let stuck = then(
        car_at_open_barrier(),
        &[
            (120_899, Wake, &[]),
            (120_900, Wake, &["show idle red p1"]),
            (121_000, Sensor(Input::BarrierOpen, false), &[]),
        ],
    );
    check("the barrier stays open: the use counts", watched_setup(), &stuck);
    let script = then(
        admitted('A'),
        &[(910, Sensor(Input::BarrierOpen, true), &[]), (920, Sensor(Input::BarrierOpen, false), &[])],
    );
    check("only a lane with both inputs annuls", LaneSetup { barrier: true, ..entrance_setup() }, &script);
}

#[test]
fn an_admission_is_taken_back_only_from_who_was_seen_all_the_time() {
    let (open, closed) = (Sensor(Input::BarrierOpen, true), Sensor(Input::BarrierOpen, false));
    let (there, gone) = (Sensor(Input::Presence, true), Sensor(Input::Presence, false));
    // What happens around the pulse, which is asked for at 30 ms and done at 900 ms; and what is written about it.
    type Moves = Vec<(u64, Do)>;
    let outcomes: Vec<(&str, Moves, &[&str])> = vec![
        (
            "turns back",
            vec![(0, there.clone()), (1000, open.clone()), (8000, closed.clone()), (9000, gone.clone())],
            &["opened 0", "annulled 0"],
        ),
        (
            "turns back before the pulse is done",
            vec![(0, there.clone()), (200, open.clone()), (600, closed.clone()), (700, gone.clone())],
            &["opened 0", "annulled 0"],
        ),
        (
            "leaves before the barrier is seen open",
            vec![(0, there.clone()), (500, gone.clone()), (1000, open.clone()), (8000, closed.clone())],
            &["opened 0"],
        ),
        ("nobody was there", vec![(1000, open.clone()), (8000, closed.clone())], &["opened 0"]),
        (
            "comes only after the pulse, and leaves when it is closed",
            vec![(500, there.clone()), (1000, open.clone()), (8000, closed.clone()), (9000, gone.clone())],
            &["opened 0"],
        ),
        (
            "out of sight for a moment",
            vec![
                (0, there.clone()),
                (950, gone.clone()),
                (960, there.clone()),
                (1000, open.clone()),
                (8000, closed.clone()),
                (9000, gone.clone()),
            ],
            &["opened 0"],
        ),
        (
            "gate-io was away for a moment",
            vec![
                (0, there.clone()),
                (1000, open.clone()),
                (2000, Fails(Part::GateIo)),
                (2100, Works(Part::GateIo)),
                (8000, closed.clone()),
                (9000, gone.clone()),
            ],
            &["opened 0", "health GateIo false", "health GateIo true"],
        ),
        (
            "the barrier is never seen open",
            vec![(0, there.clone()), (9500, gone.clone())],
            &["not opened 0, unknown", "health Barrier false"],
        ),
        (
            "through, and one close behind",
            vec![
                (0, there.clone()),
                (1000, open.clone()),
                (2000, gone.clone()),
                // Said again: nothing new.
                (2100, gone.clone()),
                (2500, there.clone()),
                (4000, gone.clone()),
                (8000, closed.clone()),
            ],
            &["opened 0", "passed Some(0)", "passed None"],
        ),
    ];
    for (name, moves, expected) in outcomes {
        let mut events = vec![
            (10, See("A")),
            (20, Admits('A')),
            (30, Stored(0)),
            (900, Pulse(0, Done)),
            (8900, Wake),
            (130_000, Wake),
        ];
        events.extend(moves);
        events.sort_by_key(|(ms, _)| *ms);
        let mut rig = Rig::new(watched_setup());
        let mut written = vec![];
        for (ms, what) in events {
            for effect in rig.handle(ms, what) {
                if let Some((record, number)) = effect.strip_prefix("record ").and_then(|text| text.rsplit_once(" #")) {
                    written.push(record.to_owned());
                    if record != "authorised" {
                        assert_eq!(rig.handle(ms, Stored(number.parse().unwrap())), [""; 0], "{name}");
                    }
                }
            }
        }
        assert_eq!(written[0], "authorised", "{name}");
        assert_eq!(written[1..], *expected, "{name}");
        assert_eq!(rig.lane.next_wake(), None, "{name}: comes to rest");
    }
}

#[test]
fn a_closed_barrier_is_never_shown_as_open_again() {
    let script = then(
        car_at_open_barrier(),
        &[
            // Out of sight for a moment while gate-io was away; then the barrier closes before the driver went.
            (2000, Fails(Part::GateIo), &["record health GateIo false #2", "show admit green p1"]),
            (2100, Works(Part::GateIo), &["record health GateIo true #3", "show admit green p1"]),
            (4000, Sensor(Input::BarrierOpen, false), &["show idle red p1"]),
            (4100, See("A"), &["judge A", "show wait yellow p1"]),
        ],
    );
    check("shown again", watched_setup(), &script);
}

#[test]
fn who_goes_through_without_an_admission_is_written_down() {
    check(
        "the barrier was held open",
        watched_setup(),
        &[
            (0, Sensor(Input::BarrierOpen, true), &["show idle red p0"]),
            (10, Sensor(Input::Presence, true), &[]),
            (2000, Sensor(Input::Presence, false), &["record passed None #0"]),
            (2010, Sensor(Input::Presence, false), &[]),
        ],
    );
    check(
        "backed off from a closed barrier",
        watched_setup(),
        &[(10, Sensor(Input::Presence, true), &["show idle red p0"]), (2000, Sensor(Input::Presence, false), &[])],
    );
    let blind = LaneSetup { presence: false, ..watched_setup() };
    check("a lane that can't see", blind, &[(0, Sensor(Input::BarrierOpen, true), &["show idle red p0"])]);
}
