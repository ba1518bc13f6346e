//! Scripts about a pulse that does not do what was asked, and a gate-io that goes away in the middle.

use super::Do::*;
use super::scripts::then;
use super::*;
use PulseResult::{Away, CutShort, Done, Refused, Started, Unknown};

#[test]
fn a_pulse_lost_with_the_hand_is_the_hands_fault_and_ends_when_it_is_back() {
    check(
        "gate-io dies while the relay is on",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (20, Stored(0), &["open 0 800ms", "show admit green p1"]),
            (30, Pulse(0, Started), &[]),
            (
                300,
                Fails(Part::GateIo),
                &["record health GateIo false #1", "record not opened 0, unknown #2", "show fault fault lane_fault p1"],
            ),
            (900, Works(Part::GateIo), &["record health GateIo true #3", "show idle red p1"]),
        ],
    );
    check(
        "gate-io is away when it is asked",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (20, Stored(0), &["open 0 800ms", "show admit green p1"]),
            (
                21,
                Pulse(0, Away),
                &["record not opened 0 #1", "record health GateIo false #2", "show fault fault lane_fault p1"],
            ),
            (900, Works(Part::GateIo), &["record health GateIo true #3", "show idle red p1"]),
        ],
    );
}

#[test]
fn a_pulse_that_is_refused_or_lost_is_a_fault() {
    for (result, record) in [(Refused, "record not opened 0 #1"), (Unknown, "record not opened 0, unknown #1")] {
        check(
            &format!("{result:?}"),
            entrance_setup(),
            &[
                (0, See("A"), &["judge A", "show wait yellow p0"]),
                (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
                (20, Stored(0), &["open 0 800ms", "show admit green p1"]),
                (30, Pulse(0, result), &[record, "record health Barrier false #2", "show fault fault lane_fault p1"]),
                // A late word about it changes nothing.
                (40, Pulse(0, Done), &[]),
                // Still in view: not judged again by itself.
                (50, See("A"), &[]),
                // That the socket to gate-io is up mends nothing.
                (60, Works(Part::GateIo), &[]),
                // It left and came back, but its use is not given back yet: it would read "already used".
                (2000, See("A"), &[]),
                (2010, Stored(1), &[]),
                // Not "just admitted", because it was not.
                (2020, See("A"), &["judge A", "show wait yellow p1"]),
            ],
        );
    }
}

#[test]
fn a_pulse_of_which_nothing_is_heard_is_asked_about_before_it_is_called_lost() {
    let unheard: Vec<(u64, Do, &[&str])> = vec![
        (0, See("A"), &["judge A", "show wait yellow p0"]),
        (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
        (20, Stored(0), &["open 0 800ms", "show admit green p1"]),
        (30, Pulse(1, Done), &[]),
        (1819, Wake, &[]),
        (1820, Wake, &["inquire 0"]),
        (1821, Wake, &[]),
    ];
    let after = |more| then(unheard.clone(), more);
    check(
        "no answer either",
        entrance_setup(),
        &after(&[
            (2819, Wake, &[]),
            (
                2820,
                Wake,
                &[
                    "record not opened 0, unknown #1",
                    "record health Barrier false #2",
                    "show fault fault lane_fault p1",
                ],
            ),
        ]),
    );
    let rig = check(
        "the program stood still, and the word about the pulse had waited",
        entrance_setup(),
        &after(&[(1825, Pulse(0, Done), &["record opened 0 #1"]), (4825, Wake, &["show idle red p1"])]),
    );
    assert_eq!(rig.lane.status().faults, []);
    check(
        "the hand did not do it",
        entrance_setup(),
        &after(&[(
            1825,
            Pulse(0, Refused),
            &["record not opened 0 #1", "record health Barrier false #2", "show fault fault lane_fault p1"],
        )]),
    );
    check(
        "the hand goes away meanwhile",
        entrance_setup(),
        &after(&[(
            1825,
            Fails(Part::GateIo),
            &["record health GateIo false #1", "record not opened 0, unknown #2", "show fault fault lane_fault p1"],
        )]),
    );
}

#[test]
fn a_pulse_that_was_cut_short_is_not_the_barriers_fault_and_who_still_stands_there_is_judged_again() {
    let cut: Vec<(u64, Do, &[&str])> = vec![
        (0, See("A"), &["judge A", "show wait yellow p0"]),
        (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
        (20, Stored(0), &["open 0 800ms", "show admit green p1"]),
        (30, Pulse(0, Started), &[]),
        (600, See("A"), &[]),
        (700, Pulse(0, CutShort), &["record not opened 0, unknown #1", "show idle red p1"]),
        // What it gives back is not stored yet.
        (710, See("AB"), &[]),
    ];
    let after = |more| then(cut.clone(), more);
    check(
        "stored",
        entrance_setup(),
        &after(&[
            (720, Stored(1), &[]),
            (730, See("A"), &["judge A", "show wait yellow p1"]),
            (740, AdmitsAgain('A'), &["record authorised #2", "show wait yellow p2"]),
            (750, Stored(2), &["open 2 800ms", "show admit green p2"]),
            // Whatever stands still does so again: nobody's last chance goes by itself, and it is said aloud.
            (
                1400,
                Pulse(2, CutShort),
                &[
                    "record not opened 2, unknown #3",
                    "record health Barrier false #4",
                    "show fault fault lane_fault p2",
                ],
            ),
            (1410, Stored(3), &[]),
            (1420, See("A"), &[]),
        ]),
    );
    check(
        "storage fails",
        entrance_setup(),
        &after(&[
            (720, NotStored(1), &["record health Storage false #2", "show fault fault lane_fault p1"]),
            (730, See("A"), &[]),
            // What was not written is written before anybody is judged again.
            (
                1500,
                Works(Part::Storage),
                &["record not opened 0, unknown #3", "record health Storage true #4", "show idle red p1"],
            ),
            (1510, See("A"), &[]),
            (1520, Stored(3), &[]),
            (1530, See("A"), &["judge A", "show wait yellow p1"]),
        ]),
    );
    check(
        "storage says nothing: that is a fault, and nobody is charged meanwhile",
        entrance_setup(),
        &after(&[
            (1500, See("A"), &[]),
            (2400, See("A"), &[]),
            (3300, See("A"), &[]),
            (3700, Wake, &["record health Storage false #2", "show fault fault lane_fault p1"]),
            (4200, See("A"), &[]),
            (4300, Stored(1), &[]),
            (4310, See("A"), &["judge A", "show wait yellow p1"]),
        ]),
    );
    check(
        "nobody waits long at a free exit",
        free_exit_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (20, Stored(0), &["open 0 800ms", "show goodbye green p1"]),
            (600, See("A"), &[]),
            (700, Pulse(0, CutShort), &["record not opened 0, unknown #1", "show freeexit green p1"]),
            (1199, See("A"), &[]),
            (1200, See("A"), &["judge A", "show wait yellow p1"]),
            (1210, Admits('A'), &["record authorised #2", "show wait yellow p2"]),
            (1220, Stored(2), &["open 2 800ms", "show goodbye green p2"]),
            // By itself it is tried once, and not as long as somebody stands there.
            (
                1900,
                Pulse(2, CutShort),
                &["record not opened 2, unknown #3", "record health Barrier false #4", "show freeexit green p2"],
            ),
            (1910, Stored(3), &[]),
            (1920, See("A"), &[]),
        ],
    );
}

#[test]
fn a_barrier_that_was_seen_to_rise_has_opened_however_the_pulse_ended() {
    for result in [CutShort, Unknown] {
        check(
            &format!("{result:?}"),
            watched_setup(),
            &[
                (0, Sensor(Input::Presence, true), &["show idle red p0"]),
                (10, See("A"), &["judge A", "show wait yellow p0"]),
                (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
                (30, Stored(0), &["open 0 800ms", "show admit green p1"]),
                (400, Sensor(Input::BarrierOpen, true), &[]),
                (740, Pulse(0, result), &["record opened 0 #1"]),
                // Through in its name, and nobody else is.
                (2500, Sensor(Input::Presence, false), &["record passed Some(0) #2"]),
            ],
        );
    }
    check(
        "one that was held open before says nothing about the pulse",
        watched_setup(),
        &[
            (0, Sensor(Input::Presence, true), &["show idle red p0"]),
            (5, Sensor(Input::BarrierOpen, true), &[]),
            (10, See("A"), &["judge A", "show wait yellow p0"]),
            (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (30, Stored(0), &["open 0 800ms", "show admit green p1"]),
            (740, Pulse(0, CutShort), &["record not opened 0, unknown #1", "show idle red p1"]),
        ],
    );
    let late: Vec<(u64, Do, &[&str])> = vec![
        (0, Sensor(Input::Presence, true), &["show idle red p0"]),
        (10, See("A"), &["judge A", "show wait yellow p0"]),
        (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
        (30, Stored(0), &["open 0 800ms", "show admit green p1"]),
        (740, Pulse(0, CutShort), &["record not opened 0, unknown #1", "show idle red p1"]),
        (750, Stored(1), &[]),
    ];
    check(
        "a barrier takes its time",
        watched_setup(),
        &then(
            late.clone(),
            &[
                (2500, Sensor(Input::BarrierOpen, true), &["record opened 0 #2", "show admit green p2"]),
                (5000, Sensor(Input::Presence, false), &["record passed Some(0) #3"]),
            ],
        ),
    );
    check(
        "but not that much: somebody opened it",
        watched_setup(),
        &then(
            late,
            &[
                (8740, Sensor(Input::BarrierOpen, true), &[]),
                (9000, Sensor(Input::Presence, false), &["record passed None #2"]),
            ],
        ),
    );
}

#[test]
fn whoever_went_through_in_its_name_is_through_whatever_becomes_of_the_pulse() {
    for result in [Refused, Unknown] {
        check(
            &format!("{result:?}"),
            watched_setup(),
            &[
                (0, Sensor(Input::Presence, true), &["show idle red p0"]),
                (10, See("A"), &["judge A", "show wait yellow p0"]),
                (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
                (30, Stored(0), &["open 0 800ms", "show admit green p1"]),
                (400, Sensor(Input::BarrierOpen, true), &[]),
                (900, Sensor(Input::Presence, false), &["record passed Some(0) #1"]),
                (1000, Pulse(0, result), &["record opened 0 #2"]),
            ],
        );
    }
}

#[test]
fn a_barrier_fault_lets_the_next_one_try_and_ends_with_a_good_pulse_or_by_staff() {
    let refused: Vec<(u64, Do, &[&str])> = vec![
        (0, See("A"), &["judge A", "show wait yellow p0"]),
        (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
        (20, Stored(0), &["open 0 800ms", "show admit green p1"]),
        (
            30,
            Pulse(0, Refused),
            &["record not opened 0 #1", "record health Barrier false #2", "show fault fault lane_fault p1"],
        ),
        (40, Stored(1), &[]),
    ];
    let after = |more| then(refused.clone(), more);
    let rig = check(
        "a good pulse",
        entrance_setup(),
        &after(&[
            (5000, See("B"), &["judge B", "show wait yellow p1"]),
            (5010, Refuses('B', Reason::Expired), &["record refused expired #3", "show deny red expired p2"]),
            (9010, Wake, &["show fault fault lane_fault p2"]),
            (10_000, See("A"), &["judge A", "show wait yellow p2"]),
            (10_010, Admits('A'), &["record authorised #4", "show wait yellow p3"]),
            (10_020, Stored(4), &["open 4 800ms", "show admit green p3"]),
            (10_030, Pulse(4, Started), &[]),
            (10_900, Pulse(4, Done), &["record opened 4 #5", "record health Barrier true #6", "show admit green p3"]),
            (13_900, Wake, &["show idle red p3"]),
        ]),
    );
    assert_eq!(rig.lane.status().faults, []);
    let rig = check("time heals nothing", entrance_setup(), &after(&[(600_000, Wake, &[])]));
    assert_eq!(rig.lane.readiness(), Readiness::Ready, "nobody is locked out for ever");
    check(
        "the shell says so",
        entrance_setup(),
        &after(&[(50, Works(Part::Barrier), &["record health Barrier true #3", "show idle red p1"])]),
    );
    check(
        "staff close the lane and take it into use again",
        entrance_setup(),
        &after(&[
            (50, Close(true), &["record closed true #3", "show closed red out_of_order p1"]),
            (60, Close(false), &["record closed false #4", "record health Barrier true #5", "show idle red p1"]),
        ]),
    );
    check(
        "a free exit stays one",
        free_exit_setup(),
        &[(0, Fails(Part::Barrier), &["record health Barrier false #0", "show freeexit green p0"])],
    );
}
