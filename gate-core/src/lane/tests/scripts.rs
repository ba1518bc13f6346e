//! Scripts about codes, records, pulses, staff, parts and exits.

use super::Do::*;
use super::*;
use PulseResult::{Done, Refused, Started};

/// From the first frame to the green lamp: what most scripts begin with. Ends with the gate shown open at 900 ms.
pub(super) fn admitted(of: char) -> Vec<(u64, Do, &'static [&'static str])> {
    let judge: &[&str] = match of {
        'A' => &["judge A", "show wait yellow p0"],
        _ => &["judge B", "show wait yellow p0"],
    };
    vec![
        (0, See(if of == 'A' { "A" } else { "B" }), judge),
        (10, Admits(of), &["record authorised #0", "show wait yellow p1"]),
        (20, Stored(0), &["open 0 800ms", "show admit green p1"]),
        (30, Pulse(0, Started), &[]),
        (900, Pulse(0, Done), &["record opened 0 #1"]),
    ]
}

pub(super) fn then(
    mut before: Vec<(u64, Do, &'static [&'static str])>,
    after: &[(u64, Do, &'static [&'static str])],
) -> Vec<(u64, Do, &'static [&'static str])> {
    before.extend_from_slice(after);
    before
}

#[test]
fn an_admission_is_recorded_before_it_opens() {
    let script = then(
        admitted('A'),
        &[(910, Stored(1), &[]), (1000, Wake, &[]), (3899, Wake, &[]), (3900, Wake, &["show idle red p1"])],
    );
    check("happy path", entrance_setup(), &script);
}

#[test]
fn nothing_opens_without_a_stored_record() {
    check(
        "the commit fails",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (20, NotStored(0), &["record health Storage false #1", "show fault fault lane_fault p2"]),
            (30, NotStored(1), &[]),
            (40, Stored(0), &[]),
            (9000, Wake, &[]),
            (9010, Works(Part::Storage), &["record health Storage true #2", "show idle red p2"]),
        ],
    );
    check(
        "the commit takes 3 s",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (3009, Wake, &[]),
            (3010, Wake, &["record health Storage false #1", "show fault fault lane_fault p2"]),
            (4000, Stored(0), &["record not opened 0 #2"]),
            (4010, Stored(1), &[]),
            (4020, Works(Part::Storage), &["record health Storage true #3", "show idle red p2"]),
        ],
    );
    check(
        "another record's word is not this one's",
        entrance_setup(),
        &[
            (0, Close(true), &["record closed true #0", "show closed red out_of_order p0"]),
            (1, Close(false), &["record closed false #1", "show idle red p0"]),
            (10, See("A"), &["judge A", "show wait yellow p0"]),
            (20, Admits('A'), &["record authorised #2", "show wait yellow p1"]),
            (30, Stored(0), &[]),
            (40, Stored(1), &[]),
            (50, Stored(2), &["open 2 800ms", "show admit green p1"]),
        ],
    );
}

#[test]
fn a_new_setup_keeps_what_the_lane_knows() {
    let mut rig = Rig::new(watched_setup());
    for (ms, what) in [
        (0, Sensor(Input::Presence, true)),
        (1, Fails(Part::Camera)),
        (2, Works(Part::Camera)),
        (3, Fails(Part::Clock)),
        (10, See("A")),
        (20, Admits('A')),
        (30, Stored(0)),
    ] {
        rig.handle(ms, what);
    }
    rig.lane.set_setup(LaneSetup { open_ms: 2000, ..watched_setup() });
    assert_eq!(rig.lane.readiness(), Readiness::Ready, "somebody still stands there");
    assert_eq!(rig.lane.status().faults, [Part::Clock]);
    assert_eq!(rig.lane.status().kind, ScreenKind::Wait, "and is still being admitted");
    assert_eq!(rig.handle(40, See("A")), [""; 0], "a code in view is not judged again");
    assert_eq!(rig.handle(50, Stored(3)), ["open 3 800ms", "show admit green p1"], "as it was decided");
    rig.handle(60, Close(true));
    rig.lane.set_setup(LaneSetup { direction: Direction::Out, ..watched_setup() });
    assert_eq!(rig.lane.readiness(), Readiness::OutOfOrder);
}

#[test]
fn the_next_car_is_judged_after_an_admission() {
    let script = then(
        admitted('A'),
        &[
            // Not before the first was told.
            (1500, See("B"), &[]),
            (1900, See("B"), &["judge B", "show wait yellow p1"]),
            (1910, Admits('B'), &["record authorised #2", "show wait yellow p2"]),
            (1920, Stored(2), &["open 2 800ms", "show admit green p2"]),
        ],
    );
    check("two cars", entrance_setup(), &script);
}

#[test]
fn a_refusal_stays_for_two_seconds_and_goes_after_four() {
    check(
        "refusal",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (10, Refuses('A', Reason::Expired), &["record refused expired #0", "show deny red expired p1"]),
            (1500, See("B"), &[]),
            (2010, See("B"), &["judge B", "show wait yellow p1"]),
            (2020, Refuses('B', Reason::LotFull), &["record refused lot_full #1", "show full red lot_full p2"]),
            (6019, Wake, &[]),
            (6020, Wake, &["show idle red p2"]),
        ],
    );
}

#[test]
fn staff_are_asked() {
    let asked: Vec<(u64, Do, &[&str])> = vec![
        (0, See("A"), &["judge A", "show wait yellow p0"]),
        (10, Asks('A', Reason::ChildNeedsAdult), &["show check yellow child_needs_adult p1"]),
    ];
    let script = then(
        asked.clone(),
        &[
            // The answer to an earlier question.
            (500, Answer(true, 0), &[]),
            (1000, Answer(true, 1), &["record authorised, asked child_needs_adult #0", "show wait yellow p2"]),
            // A second tap does nothing.
            (1001, Answer(true, 1), &[]),
            (1002, Answer(false, 2), &[]),
            (1010, Stored(0), &["open 0 800ms", "show admit green p2"]),
        ],
    );
    check("yes", entrance_setup(), &script);
    let script = then(
        asked.clone(),
        &[
            (1000, Answer(false, 1), &["record refused child_needs_adult #0", "show deny red child_needs_adult p2"]),
            (1001, Answer(true, 1), &[]),
            (1002, Answer(true, 2), &[]),
        ],
    );
    check("no", entrance_setup(), &script);
    let script = then(
        asked,
        &[
            (20_009, Wake, &[]),
            (20_010, Wake, &["record refused child_needs_adult #0", "show deny red child_needs_adult p2"]),
        ],
    );
    check("nobody answers", entrance_setup(), &script);
}

#[test]
fn closing_and_reopening() {
    let rig = check(
        "closed",
        entrance_setup(),
        &[
            (0, Close(true), &["record closed true #0", "show closed red out_of_order p0"]),
            (1, Close(true), &[]),
            (10, See("A"), &["judge A", "show wait yellow p0"]),
            (
                20,
                Refuses('A', Reason::OutOfOrder),
                &["record refused out_of_order #1", "show closed red out_of_order p1"],
            ),
            // Reopened while somebody waits with the code in view: judged again.
            (1000, See("A"), &[]),
            (1500, Close(false), &["record closed false #2"]),
            (1600, See("A"), &[]),
            (2100, See("A"), &["judge A", "show wait yellow p1"]),
        ],
    );
    assert_eq!(rig.lane.readiness(), Readiness::Ready);
    let mut closed = Rig::new(entrance_setup());
    closed.handle(0, Close(true));
    assert_eq!(closed.lane.readiness(), Readiness::OutOfOrder);
}

#[test]
fn fire_wins_over_everything() {
    check(
        "fire",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (15, Sensor(Input::Fire, true), &["record fire true #1", "show fire green p1"]),
            (16, Sensor(Input::Fire, true), &[]),
            (20, Stored(0), &["open 0 800ms"]),
            // gate-io holds the gate open and takes no orders: that is no fault.
            (30, Pulse(0, Refused), &["record not opened 0 #2"]),
            (35, Stored(2), &[]),
            // Nobody is let in meanwhile.
            (40, See("B"), &[]),
            (5000, Fails(Part::Camera), &["record health Camera false #3", "show fire green p1"]),
            (5001, Works(Part::Camera), &["record health Camera true #4", "show fire green p1"]),
            (9000, Sensor(Input::Fire, false), &["record fire false #5", "show idle red p1"]),
            (9100, See("B"), &["judge B", "show wait yellow p1"]),
        ],
    );
}

#[test]
fn every_part_that_fails_shows_and_recovers() {
    for part in [Part::Camera, Part::GateIo, Part::Storage] {
        let mut rig = Rig::new(entrance_setup());
        let name = format!("{part:?}");
        let fails = rig.handle(0, Fails(part));
        assert_eq!(fails, [format!("record health {name} false #0"), "show fault fault lane_fault p0".into()]);
        assert_eq!(rig.lane.readiness(), Readiness::Fault);
        assert_eq!(rig.lane.status().faults, [part]);
        assert_eq!(rig.handle(5, Fails(part)), [""; 0], "{name} said twice");
        assert_eq!(rig.handle(60_000, Wake), [""; 0], "{name}: time heals nothing");
        let works = rig.handle(60_001, Works(part));
        assert_eq!(works, [format!("record health {name} true #1"), "show idle red p0".into()]);
        assert_eq!(rig.lane.readiness(), Readiness::Ready);
    }
    // Two at once: both must be back. The clock is decide's business.
    let mut rig = Rig::new(entrance_setup());
    rig.handle(0, Fails(Part::Camera));
    rig.handle(1, Fails(Part::GateIo));
    rig.handle(2, Works(Part::Camera));
    assert_eq!(rig.lane.readiness(), Readiness::Fault);
    rig.handle(3, Works(Part::GateIo));
    rig.handle(4, Fails(Part::Clock));
    assert_eq!((rig.lane.readiness(), rig.lane.status().kind), (Readiness::Ready, ScreenKind::Idle));
    assert_eq!(rig.lane.status().faults, [Part::Clock]);
    // A fault ends while somebody shows a code: judged again without taking it away.
    check(
        "recovery",
        entrance_setup(),
        &[
            (0, Fails(Part::GateIo), &["record health GateIo false #0", "show fault fault lane_fault p0"]),
            (10, See("A"), &["judge A", "show wait yellow p0"]),
            (20, Refuses('A', Reason::LaneFault), &["record refused lane_fault #1", "show fault fault lane_fault p1"]),
            (1000, Works(Part::GateIo), &["record health GateIo true #2", "show fault fault lane_fault p1"]),
            (1900, See("A"), &[]),
            (2100, See("A"), &["judge A", "show wait yellow p1"]),
        ],
    );
}

#[test]
fn no_answer_to_a_judgement_does_not_stop_the_lane() {
    check(
        "the shell can't read the replica",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (5, Fails(Part::Storage), &["record health Storage false #0", "show fault fault lane_fault p0"]),
            (10, Admits('A'), &[]),
        ],
    );
    check(
        "the shell says nothing",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (2900, See("A"), &[]),
            (3000, Wake, &["show idle red p0"]),
            (3100, See("A"), &["judge A", "show wait yellow p0"]),
        ],
    );
}

#[test]
fn a_free_exit_opens_whatever_fails() {
    check(
        "all well",
        free_exit_setup(),
        &[
            (0, Wake, &["show freeexit green p0"]),
            (10, See("A"), &["judge A", "show wait yellow p0"]),
            (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (30, Stored(0), &["open 0 800ms", "show goodbye green p1"]),
            (900, Pulse(0, Done), &["record opened 0 #1"]),
        ],
    );
    check(
        "storage is dead",
        free_exit_setup(),
        &[
            (0, Fails(Part::Storage), &["record health Storage false #0", "show freeexit green p0"]),
            (10, See("A"), &["judge A", "show wait yellow p0"]),
            (20, Admits('A'), &["record authorised #1", "show wait yellow p1"]),
            (30, NotStored(1), &["open free 0 800ms", "show goodbye green p1"]),
            (900, FreePulse(0, Done), &[]),
            (5000, Wake, &["show freeexit green p1"]),
        ],
    );
    check(
        "storage is slow",
        free_exit_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (519, Wake, &[]),
            (520, Wake, &["open free 0 800ms", "show goodbye green p1"]),
            // Stored after all: the opening is the one it authorised, and there is no second pulse.
            (700, Stored(0), &[]),
            (1400, FreePulse(0, Done), &["record opened 0 #1"]),
        ],
    );
    check(
        "storage is slower",
        free_exit_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (20, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (520, Wake, &["open free 0 800ms", "show goodbye green p1"]),
            (1400, FreePulse(0, Done), &[]),
            (1500, Stored(0), &["record opened 0 #1"]),
            (1600, Stored(0), &[]),
        ],
    );
    check(
        "the replica can't be read",
        free_exit_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (
                10,
                Fails(Part::Storage),
                &["record health Storage false #0", "open free 0 800ms", "show goodbye green p1"],
            ),
        ],
    );
    check(
        "no answer at all",
        free_exit_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (500, Wake, &["open free 0 800ms", "show goodbye green p1"]),
        ],
    );
}

#[test]
fn the_exit_button() {
    let exit = LaneSetup { direction: Direction::Out, ..entrance_setup() };
    let button = || Sensor(Input::ExitButton, true);
    check(
        "pressed",
        exit,
        &[
            (0, button(), &["record exit button #0", "show wait yellow p1"]),
            (5, Sensor(Input::ExitButton, false), &[]),
            // Pressed again meanwhile.
            (10, button(), &[]),
            (20, Stored(0), &["open 0 800ms", "show goodbye green p1"]),
            (30, button(), &[]),
            (900, Pulse(0, Done), &["record opened 0 #1"]),
            (1000, button(), &["record exit button #2", "show wait yellow p2"]),
            (1010, Stored(2), &["open 2 800ms", "show goodbye green p2"]),
        ],
    );
    check(
        "pressed with a full disk and a closed lane",
        exit,
        &[
            (0, Close(true), &["record closed true #0", "show closed red out_of_order p0"]),
            (5, NotStored(0), &["record health Storage false #1", "show fault fault lane_fault p0"]),
            (10, button(), &["record exit button #2", "show wait yellow p1"]),
            (20, NotStored(2), &["open free 0 800ms", "show goodbye green p1"]),
        ],
    );
    check("an entrance has none", entrance_setup(), &[(0, button(), &["show idle red p0"])]);
}

#[test]
fn a_full_or_nearly_full_zone_shows_at_the_entrance() {
    check(
        "full",
        entrance_setup(),
        &[
            (0, Zone(Fullness::NearFull), &["show idle yellowflash p0"]),
            (1, Zone(Fullness::Full), &["show full red lot_full p0"]),
            (10, See("A"), &["judge A", "show wait yellow p0"]),
            (20, Refuses('A', Reason::LotFull), &["record refused lot_full #0", "show full red lot_full p1"]),
            // A place becomes free while the driver waits with the code in view.
            (1500, See("A"), &[]),
            (2200, Zone(Fullness::NearFull), &[]),
            (2300, See("A"), &["judge A", "show wait yellow p1"]),
        ],
    );
    let exit = LaneSetup { direction: Direction::Out, ..entrance_setup() };
    check("an exit does not care", exit, &[(0, Zone(Fullness::Full), &["show idle red p0"])]);
}

#[test]
fn a_code_held_for_a_minute_is_decided_once() {
    // Admitted: the same ADMIT for as long as it is held.
    let mut rig = check("admitted", entrance_setup(), &admitted('A'));
    for frame in 9..600 {
        assert_eq!(rig.handle(frame * 100 + 5, See("A")), [""; 0], "at {frame}00 ms");
    }
    assert_eq!(rig.handle(60_905, Wake), ["show idle red p1"]);
    // Held until just now: whoever was admitted does not read "already used".
    assert_eq!(rig.handle(61_000, See("A")), ["show admit green p2"]);
    // Refused: the same words for as long as it is held, and one event.
    let mut rig = check(
        "refused",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (
                10,
                Refuses('A', Reason::AlreadyUsed),
                &["record refused already_used #0", "show deny red already_used p1"],
            ),
        ],
    );
    for frame in 1..600 {
        // The reader misses some frames.
        let codes = if frame % 7 == 0 { "" } else { "A" };
        assert_eq!(rig.handle(frame * 100, See(codes)), [""; 0], "at {frame}00 ms");
    }
    assert_eq!(rig.handle(60_900, Wake), ["show idle red p1"]);
}

#[test]
fn an_admitted_code_that_comes_back_sees_admit_for_eight_seconds() {
    let script = then(
        admitted('A'),
        &[
            (3900, Wake, &["show idle red p1"]),
            (8899, See("A"), &["show admit green p2"]),
            // Another eight seconds are not given: it has left since its admission.
            (12_000, Wake, &["show idle red p2"]),
            (12_100, See("A"), &["judge A", "show wait yellow p2"]),
            (
                12_110,
                Refuses('A', Reason::AlreadyUsed),
                &["record refused already_used #2", "show deny red already_used p3"],
            ),
        ],
    );
    check("comes back", entrance_setup(), &script);
    let script = then(
        admitted('A'),
        &[(3900, Wake, &["show idle red p1"]), (8900, See("A"), &["judge A", "show wait yellow p1"])],
    );
    check("comes back late", entrance_setup(), &script);
}

#[test]
fn several_codes_in_view() {
    let script = then(
        vec![
            (0, See("AB"), &["judge A", "show wait yellow p0"] as &[&str]),
            (10, Refuses('A', Reason::NotAPass), &["record noise not_a_pass #0", "show deny red not_a_pass p1"]),
            // A sticker in view must not keep the pass beside it from being read, nor make the lamps flicker.
            (100, See("AB"), &[]),
            (1050, See("AB"), &[]),
            (2009, See("AB"), &[]),
            (2010, See("AB"), &["judge B", "show wait yellow p1"]),
            (2020, Admits('B'), &["record authorised #1", "show wait yellow p2"]),
            (2030, Stored(1), &["open 1 800ms", "show admit green p2"]),
            (2500, See("AB"), &[]),
            (2900, Pulse(1, Done), &["record opened 1 #2"]),
        ],
        &[],
    );
    let mut rig = check("sticker and pass", entrance_setup(), &script);
    for frame in 30..200 {
        // Now the reader finds one, now the other.
        let codes = if frame % 2 == 0 { "A" } else { "B" };
        assert_eq!(rig.handle(frame * 100, See(codes)), [""; 0], "at {frame}00 ms");
    }
    check(
        "a second code while the first is being dealt with",
        entrance_setup(),
        &[
            (0, See("A"), &["judge A", "show wait yellow p0"]),
            (5, See("BA"), &[]),
            // An answer about another code than the one that was asked about.
            (8, Admits('B'), &[]),
            (10, Admits('A'), &["record authorised #0", "show wait yellow p1"]),
            (15, See("B"), &[]),
            (20, Stored(0), &["open 0 800ms", "show admit green p1"]),
            (25, See("B"), &[]),
        ],
    );
}
