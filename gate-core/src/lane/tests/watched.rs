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
        (900, Pulse(0, Done), &["record opened 0 #1"]),
        (1500, Sensor(Input::BarrierOpen, true), &[]),
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
            // The pass is free again, and is judged again.
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
        (900, Pulse(0, Done), &["record opened 0 #1"]),
        (8899, Wake, &[]),
        (8900, Wake, &["record annulled 0 #2", "record health GateIo false #3", "show fault fault lane_fault p1"]),
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
