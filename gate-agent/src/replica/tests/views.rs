//! What one presentation sees.

use gate_core::event::EventBody;
use gate_core::ids::{BootId, Direction, EventId};
use gate_core::occupancy::{ActorCount, Basis, Recount};
use gate_core::statement::{StatementBody, TimeReset};
use gate_core::sync::v1::{Change, UseMark, ZoneTally};
use gate_core::time::Now;
use gate_core::view::{LastUse, PassStanding, ReplicaView, Uses};
use uuid::Uuid;

use crate::replica::Replica;
use crate::replica::testing::*;

/// One thing that happens to pass 7 before it is looked at.
enum Before {
    Admitted(i64),
    Opened,
    NotOpened { unknown: bool },
    Annulled,
    Reopened(i64),
    Told(Change),
    Restarted,
}

struct Seen {
    total: u32,
    today: u32,
    inside: bool,
    unopened: bool,
    last: bool,
    standing: Option<PassStanding>,
}

const UNUSED: Seen = Seen { total: 0, today: 0, inside: false, unopened: false, last: false, standing: None };
const USED: Seen = Seen { total: 1, today: 1, inside: true, unopened: false, last: true, standing: None };

fn look(replica: &Replica, n: u64, ms: i64) -> ReplicaView {
    let mut reader = replica.reader().unwrap();
    let gate = reader.gate().unwrap().unwrap();
    reader.view(&scanned(n, 0), &gate, at(ms)).unwrap()
}

fn told(mark: UseMark) -> Before {
    Before::Told(Change::Use(mark))
}

fn out(mark: UseMark) -> UseMark {
    UseMark { direction: Direction::Out, charged: false, ..mark }
}

#[test]
fn a_view_says_what_happened_to_the_pass() {
    use Before::*;
    let standing = |standing| Seen { standing: Some(standing), ..UNUSED };
    let row = |standing| Told(pass_change(7, standing));
    let hour = 3_600_000;
    let table: Vec<(&str, Vec<Before>, Seen)> = vec![
        ("unused: absence means unused", vec![], UNUSED),
        ("gate-io has still to say what became of it", vec![Admitted(0)], USED),
        ("used", vec![Admitted(0), Opened], USED),
        ("used on another day", vec![Admitted(-2 * DAY), Opened], Seen { today: 0, ..USED }),
        ("certainly not opened: the use is free", vec![Admitted(0), NotOpened { unknown: false }], UNUSED),
        ("taken back twice", vec![Admitted(0), NotOpened { unknown: false }, Annulled, Annulled], UNUSED),
        ("nobody knows", vec![Admitted(0), NotOpened { unknown: true }], Seen { unopened: true, ..USED }),
        ("opened after all", vec![Admitted(0), NotOpened { unknown: true }, Opened], USED),
        ("opened is final", vec![Admitted(0), Opened, NotOpened { unknown: true }], USED),
        ("presented again", vec![Admitted(0), NotOpened { unknown: true }, Reopened(1000)], USED),
        ("annulled: the use is free", vec![Admitted(0), Annulled], UNUSED),
        ("kept over a restart", vec![Admitted(0), Opened, Restarted], USED),
        ("used at another gate", vec![told(mark(OTHER_DEVICE, 3, 7, 0, false))], USED),
        (
            "used here and there",
            vec![Admitted(0), Opened, told(mark(OTHER_DEVICE, 3, 7, 0, false))],
            Seen { total: 2, today: 2, ..USED },
        ),
        ("told twice", vec![told(mark(OTHER_DEVICE, 3, 7, 0, false)), told(mark(OTHER_DEVICE, 3, 7, 0, false))], USED),
        (
            "annulled there",
            vec![told(mark(OTHER_DEVICE, 3, 7, 0, false)), told(mark(OTHER_DEVICE, 3, 7, 0, true))],
            UNUSED,
        ),
        (
            "annulled stays",
            vec![told(mark(OTHER_DEVICE, 3, 7, 0, true)), told(mark(OTHER_DEVICE, 3, 7, 0, false))],
            UNUSED,
        ),
        (
            "inside, then out",
            vec![told(mark(OTHER_DEVICE, 3, 7, 0, false)), told(out(mark(OTHER_DEVICE, 4, 7, hour, false)))],
            Seen { inside: false, ..USED },
        ),
        (
            "told in the other order",
            vec![told(out(mark(OTHER_DEVICE, 4, 7, hour, false))), told(mark(OTHER_DEVICE, 3, 7, 0, false))],
            Seen { inside: false, ..USED },
        ),
        ("revoked", vec![row(PassStanding::Revoked)], standing(PassStanding::Revoked)),
        ("blocked", vec![row(PassStanding::Blocked)], standing(PassStanding::Blocked)),
        ("superseded", vec![row(PassStanding::Superseded)], standing(PassStanding::Superseded)),
        ("a subscription", vec![row(PassStanding::Live)], standing(PassStanding::Live)),
        ("unblocked again", vec![row(PassStanding::Blocked), row(PassStanding::Live)], standing(PassStanding::Live)),
        ("another pass's row", vec![Told(pass_change(8, PassStanding::Revoked))], UNUSED),
    ];
    for (name, before, seen) in table {
        let folder = Folder::new("view");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let mut of = None;
        let mut epoch = 1;
        for thing in before {
            let admitted = of.unwrap_or(mark(DEVICE, 0, 7, 0, false).event);
            match thing {
                Admitted(ms) => of = Some(admit(&mut replica, 7, 0, ms)),
                Opened => {
                    drop(replica.record(None, at(10), EventBody::Opened { of: admitted, watched: false }).unwrap())
                }
                NotOpened { unknown } => {
                    drop(replica.record(None, at(10), EventBody::NotOpened { of: admitted, unknown }).unwrap())
                }
                Annulled => drop(replica.record(None, at(10), EventBody::Annulled { of: admitted }).unwrap()),
                Reopened(ms) => {
                    let view = look(&replica, 7, ms);
                    replica.record(Some(LANE), at(ms), authorised(7, 0, view, ms, of)).unwrap();
                }
                Told(change) => {
                    let reply = venue.reply(vec![change], T0 + 1);
                    replica.apply(&reply, at(1)).unwrap();
                }
                Restarted => {
                    drop(replica);
                    epoch += 1;
                    replica = open(&folder.db(), epoch);
                }
            }
        }
        let view = look(&replica, 7, 20);
        let Uses { total, today, inside, .. } = view.uses;
        assert_eq!((total, today, inside), (seen.total, seen.today, seen.inside), "{name}");
        assert_eq!(view.uses.unopened.is_some(), seen.unopened, "{name}: unopened");
        assert_eq!(view.uses.last.is_some(), seen.last, "{name}: last");
        assert_eq!(view.row.map(|row| row.standing), seen.standing, "{name}: row");
        assert!(view.vendor.is_some() && view.product.is_some(), "{name}");
        if let Some(last) = view.uses.last {
            assert!(["North", "South"].contains(&last.gate_name.as_str()), "{name}: {}", last.gate_name);
        }
    }
}

#[test]
fn the_use_of_a_pass_is_told_apart_from_where_it_was_seen_last() {
    let folder = Folder::new("charged");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    admit(&mut replica, 7, 0, 1_000);
    let uses = look(&replica, 7, 2_000).uses;
    assert_eq!((uses.first_charged, uses.newest_charged), (None, None), "it is the newest movement");
    // Used elsewhere too while nobody knew, and out again.
    let second = UseMark { gate: OTHER_GATE, ..mark(OTHER_DEVICE, 0, 7, 5_000, false) };
    let left = UseMark { direction: Direction::Out, charged: false, ..mark(OTHER_DEVICE, 1, 7, 9_000, false) };
    let reply = venue.reply(vec![Change::Use(second), Change::Use(left)], T0 + 10_000);
    replica.apply(&reply, at(10_000)).unwrap();
    let uses = look(&replica, 7, 20_000).uses;
    let when = |one: Option<LastUse>| one.map(|one| (one.at_ms - T0, one.direction));
    assert_eq!(when(uses.last), Some((9_000, Direction::Out)));
    assert_eq!(when(uses.first_charged), Some((1_000, Direction::In)));
    assert_eq!(when(uses.newest_charged), Some((5_000, Direction::In)));
}

#[test]
fn how_long_ago_an_own_use_was_does_not_follow_a_clock_that_is_set() {
    let folder = Folder::new("elapsed");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let own = admit(&mut replica, 7, 0, 1_000);
    replica.record(None, at(1_100), EventBody::NotOpened { of: own, unknown: true }).unwrap();
    let gate = replica.reader().unwrap().gate().unwrap().unwrap();
    let see = |replica: &Replica, now: Now| {
        let uses = replica.reader().unwrap().view(&scanned(7, 0), &gate, now).unwrap().uses;
        (uses.last.unwrap().elapsed_ms, uses.unopened.map(|unopened| unopened.elapsed_ms))
    };
    let set_back = Now { wall_ms: T0 - 3_600_000, ..at(31_000) };
    assert_eq!(see(&replica, set_back), (Some(30_000), Some(Some(30_000))));
    let booted = Now { boot: BootId(Uuid::from_u128(10)), ..at(31_000) };
    assert_eq!(see(&replica, booted), (None, Some(None)), "the clock of another boot says nothing");
    let elsewhere = UseMark { gate: OTHER_GATE, ..mark(OTHER_DEVICE, 0, 7, 5_000, false) };
    let reply = venue.reply(vec![Change::Use(elsewhere)], T0 + 6_000);
    replica.apply(&reply, at(6_000)).unwrap();
    assert_eq!(see(&replica, at(31_000)).0, None, "nor does another gate's");
}

#[test]
fn this_gates_own_use_that_comes_back_from_the_cloud_is_not_counted_twice() {
    let folder = Folder::new("own-mark");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let own = admit(&mut replica, 7, 0, 0);
    replica.record(None, at(10), EventBody::Opened { of: own, watched: false }).unwrap();
    let back = UseMark { event: own, gate: GATE, ..mark(DEVICE, 0, 7, 0, false) };
    let reply = venue.reply(vec![Change::Use(back)], T0 + 1);
    replica.apply(&reply, at(1)).unwrap();
    let uses = look(&replica, 7, 20).uses;
    assert_eq!((uses.total, uses.unopened), (1, None));
    assert_eq!(uses.last.unwrap().gate, GATE);
}

#[test]
fn a_clock_that_went_back_does_not_reorder_this_gates_own_uses() {
    let folder = Folder::new("clock");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let first = admit(&mut replica, 7, 1, 0);
    replica.record(None, at(1), EventBody::Opened { of: first, watched: false }).unwrap();
    let second = admit(&mut replica, 7, 1, -30 * DAY);
    replica.record(None, at(2), EventBody::NotOpened { of: second, unknown: true }).unwrap();
    let uses = look(&replica, 7, -30 * DAY + 5).uses;
    assert_eq!(uses.unopened.unwrap().event, second, "the newest is the one recorded last");
    assert_eq!(uses.last.unwrap().at_ms, T0 - 30 * DAY);
    assert_eq!((uses.total, uses.today), (2, 1), "the service day that was charged stays as recorded");
    // The replica was told as of T0: a clock a month before that can't say how old it is.
    assert_eq!(look(&replica, 7, -30 * DAY).age_ms, None);
    assert_eq!(look(&replica, 7, -60_000).age_ms, Some(0));
    assert_eq!(look(&replica, 7, 60_000).age_ms, Some(60_000));
}

#[test]
fn rights_are_held_at_the_holder_only_and_follow_every_count() {
    let folder = Folder::new("rights");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let held = |replica: &Replica| look(replica, 99, 20).spaces[0].rights_held;
    let tell = |replica: &mut Replica, venue: &mut Venue, change: Change| {
        let reply = venue.reply(vec![change], T0 + 1);
        replica.apply(&reply, at(1)).unwrap();
    };
    assert_eq!(held(&replica), 100);
    let first = admit(&mut replica, 1, 0, 0);
    admit(&mut replica, 2, 0, 0);
    assert_eq!(held(&replica), 98);
    replica.record(None, at(5), EventBody::Annulled { of: first }).unwrap();
    assert_eq!(held(&replica), 99);
    // An exit elsewhere frees a place; this device's own count coming back changes nothing.
    let counts = |exits| {
        let own = ActorCount { actor: first.into(), entries: 2, exits: 1 };
        let other = ActorCount { actor: mark(OTHER_DEVICE, 0, 1, 0, false).event.into(), entries: 0, exits };
        Change::Count(ZoneTally { zone: ZONE, basis: Basis::START, counts: vec![own, other] })
    };
    tell(&mut replica, &mut venue, counts(1));
    assert_eq!(held(&replica), 100);
    tell(&mut replica, &mut venue, counts(1));
    assert_eq!(held(&replica), 100, "told again");
    // Somebody left unseen before: never more rights than places.
    tell(&mut replica, &mut venue, counts(5));
    assert_eq!(held(&replica), 100);
    // A recount replaces what was counted before it; what came after it counts on.
    let recount = Recount {
        zone: ZONE,
        generation: 1,
        observed: 97,
        at_ms: T0 + 10,
        frontier: vec![replica.journal_head().unwrap().event],
        before: None,
    };
    let later = admit(&mut replica, 3, 0, 15);
    replica.record(None, at(16), EventBody::Recounted(recount.clone())).unwrap();
    assert_eq!(held(&replica), 2, "97 were seen and one came in since");
    assert_eq!(look(&replica, 99, 20).spaces[0].generation, 1);
    drop(replica);
    let mut replica = open(&folder.db(), 2);
    admit(&mut replica, 4, 0, 18);
    assert_eq!(held(&replica), 1);
    // The cloud's older recount of the same generation changes nothing, a newer generation wins and keeps what came later.
    tell(&mut replica, &mut venue, Change::Count(ZoneTally { zone: ZONE, basis: Basis::START, counts: vec![] }));
    assert_eq!(held(&replica), 1);
    let newer = Recount { generation: 2, observed: 50, at_ms: T0 + 17, frontier: vec![later], ..recount };
    let event = mark(OTHER_DEVICE, 9, 1, 0, false).event;
    tell(
        &mut replica,
        &mut venue,
        Change::Count(ZoneTally { zone: ZONE, basis: Basis::of(event, &newer), counts: vec![] }),
    );
    assert_eq!(held(&replica), 49, "the fourth came after the newer recount");
    // Another gate holds the rights: none here.
    let elsewhere = Change::Zone(venue.zone(100, Some(OTHER_GATE)));
    tell(&mut replica, &mut venue, elsewhere);
    assert_eq!(held(&replica), 0);
    assert_eq!(replica.reader().unwrap().status(at(20)).unwrap().zones[0].occupancy, 51);
}

#[test]
fn what_is_taken_back_counts_where_it_was_counted() {
    use EventBody::{Annulled, ExitButton, NotOpened, Overridden};
    let zones = || vec![ZONE];
    let overridden = || Overridden {
        staff: None,
        why: "trailer".to_owned(),
        note: None,
        direction: Direction::In,
        zones: zones(),
        generations: vec![0],
        over: None,
    };
    let button = || ExitButton { zones: zones(), generations: vec![0] };
    let opened = |watched| move |of| EventBody::Opened { of, watched };
    let passed = |of| EventBody::Passed { of: Some(of), direction: Direction::Out };
    let never = |of| NotOpened { of, unknown: false };
    let perhaps = |of| NotOpened { of, unknown: true };
    let annulled = |of| Annulled { of };
    type Back = Vec<Box<dyn Fn(EventId) -> EventBody>>;
    // Two are inside before; then something counts, and is or is not taken back.
    let table: Vec<(&str, Option<EventBody>, Back, u32)> = vec![
        ("an admission", None, vec![], 3),
        ("an admission that never opened", None, vec![Box::new(never)], 2),
        ("an admission of which nobody knows", None, vec![Box::new(perhaps)], 3),
        ("an admission, twice", None, vec![Box::new(never), Box::new(annulled)], 2),
        ("the other way round", None, vec![Box::new(annulled), Box::new(never), Box::new(annulled)], 2),
        ("an override", Some(overridden()), vec![], 3),
        ("an override that never opened", Some(overridden()), vec![Box::new(never), Box::new(never)], 2),
        ("an override of which nobody knows", Some(overridden()), vec![Box::new(perhaps)], 3),
        ("the exit button", Some(button()), vec![], 2),
        ("the exit button, opened", Some(button()), vec![Box::new(opened(false))], 1),
        ("the exit button, opened twice", Some(button()), vec![Box::new(opened(false)), Box::new(opened(false))], 1),
        ("the exit button, the barrier is open", Some(button()), vec![Box::new(opened(true))], 2),
        ("the exit button, gone", Some(button()), vec![Box::new(opened(true)), Box::new(passed)], 1),
        ("the exit button, turned back", Some(button()), vec![Box::new(opened(true)), Box::new(annulled)], 2),
        ("the exit button, of which nobody knows", Some(button()), vec![Box::new(perhaps)], 2),
        ("the exit button, taken back after all", Some(button()), vec![Box::new(opened(false)), Box::new(annulled)], 2),
        ("the exit button, nothing moved", Some(button()), vec![Box::new(never), Box::new(annulled)], 2),
    ];
    for (name, body, back, inside) in table {
        for restarted in [false, true] {
            let folder = Folder::new("back");
            let mut venue = Venue::new();
            let mut replica = venue.gate(&folder.db());
            let occupancy = |replica: &Replica| replica.reader().unwrap().status(at(20)).unwrap().zones[0].occupancy;
            admit(&mut replica, 1, 0, 0);
            admit(&mut replica, 2, 0, 0);
            let of = match body.clone() {
                Some(body) => replica.record(Some(LANE), at(1), body).unwrap().event.id,
                None => admit(&mut replica, 3, 0, 1),
            };
            if restarted {
                // Another epoch, another actor: what an earlier run counted is taken back all the same.
                drop(replica);
                replica = open(&folder.db(), 2);
            }
            for taking in &back {
                replica.record(Some(LANE), at(30), taking(of)).unwrap();
            }
            assert_eq!(occupancy(&replica), inside, "{name}, restarted: {restarted}");
            // A recount that saw it all happen before: nothing of it counts any more, whenever it is taken back.
            let recount =
                Recount { zone: ZONE, generation: 1, observed: 50, at_ms: T0 + 10, frontier: vec![of], before: None };
            replica.record(None, at(40), EventBody::Recounted(recount.clone())).unwrap();
            assert_eq!(occupancy(&replica), 50, "{name}, restarted: {restarted}, recounted after");
            replica.record(Some(LANE), at(50), never(of)).unwrap();
            assert_eq!(occupancy(&replica), 50, "{name}, restarted: {restarted}, taken back after the recount");
        }
    }
}

/// The power failed between record and pulse; whoever it was comes again. In between nothing happens, people count the zone
/// and are heard, or count it and are heard only afterwards.
#[test]
fn who_comes_again_takes_the_first_ones_place_over_also_where_a_recount_let_go_of_it() {
    enum Between {
        Nothing,
        Heard,
        HeardAfterwards,
    }
    for (name, between, inside_again, kept) in [
        ("nothing", Between::Nothing, 2, true),
        ("a recount", Between::Heard, 51, false),
        ("a recount that is heard afterwards", Between::HeardAfterwards, 51, true),
    ] {
        let folder = Folder::new("again");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let inside = |replica: &Replica| replica.reader().unwrap().status(at(90)).unwrap().zones[0].occupancy;
        admit(&mut replica, 1, 0, 0);
        let first = admit(&mut replica, 7, 0, 1);
        drop(replica);
        let mut replica = open(&folder.db(), 2);
        replica.record(Some(LANE), at(2), EventBody::NotOpened { of: first, unknown: true }).unwrap();
        assert_eq!(inside(&replica), 2, "{name}");
        let recount =
            Recount { zone: ZONE, generation: 1, observed: 50, at_ms: T0 + 10, frontier: vec![first], before: None };
        let mut count = |replica: &mut Replica| {
            let basis = Basis::of(mark(OTHER_DEVICE, 9, 1, 0, false).event, &recount);
            let told = Change::Count(ZoneTally { zone: ZONE, basis, counts: vec![] });
            let reply = venue.reply(vec![told], T0 + 11);
            replica.apply(&reply, at(11)).unwrap();
        };
        if let Between::Heard = between {
            count(&mut replica);
            assert_eq!(inside(&replica), 50, "{name}");
        }
        let view = look(&replica, 7, 20);
        let unopened = view.uses.unopened.clone().unwrap();
        assert_eq!((unopened.event, unopened.places.as_slice()), (first, [ZONE].get(..usize::from(kept)).unwrap()));
        let again = replica.record(Some(LANE), at(20), authorised(7, 0, view, 20, Some(first))).unwrap().event.id;
        replica.record(Some(LANE), at(21), EventBody::Opened { of: again, watched: false }).unwrap();
        if let Between::HeardAfterwards = between {
            assert_eq!(inside(&replica), 2, "{name}: not heard of yet");
            count(&mut replica);
        }
        assert_eq!(inside(&replica), inside_again, "{name}");
        assert_eq!(look(&replica, 7, 30).uses.total, 1, "{name}: one use");
        // It turns out late that the first one never opened.
        replica.record(Some(LANE), at(40), EventBody::NotOpened { of: first, unknown: false }).unwrap();
        assert_eq!(inside(&replica), inside_again, "{name}: and nobody is counted out for it");
    }
}

#[test]
fn a_reader_that_stays_open_sees_every_new_setting() {
    let folder = Folder::new("settings");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let mut reader = replica.reader().unwrap();
    let gate = gate_row(GATE, "North", Direction::In);
    let mut see = |replica: &mut Replica, change: Option<Change>| {
        if let Some(change) = change {
            let reply = venue.reply(vec![change], T0 + 1);
            replica.apply(&reply, at(1)).unwrap();
        }
        let view = reader.view(&scanned(7, 0), &gate, at(1)).unwrap();
        let fresh = look(replica, 7, 1);
        assert_eq!(view, fresh, "as a reader that was just opened");
        view
    };
    let first = see(&mut replica, None);
    assert_eq!(see(&mut replica, None), first, "a second look sees the same");
    let mut changes = Venue::new().basics();
    for change in &mut changes {
        match change {
            Change::Venue(row) => row.day_rule.boundary_min += 60,
            Change::Zone(row) => row.capacity = 7,
            Change::Vendor(row) => row.standing.active = false,
            Change::Product(row) => row.name.push('!'),
            Change::Statement(_)
            | Change::Gate(_)
            | Change::Pass(_)
            | Change::Use(_)
            | Change::Count(_)
            | Change::Reset(_)
            | Change::Unknown(_) => {}
        }
        see(&mut replica, Some(change.clone()));
    }
    let last = see(&mut replica, None);
    assert!(last.day_rule != first.day_rule && last.vendor != first.vendor && last.product != first.product);
    assert_eq!((first.spaces[0].rights_held, last.spaces[0].rights_held), (100, 7));
    admit(&mut replica, 1, 0, 0);
    assert_eq!(see(&mut replica, None).spaces[0].rights_held, 6, "counts are never remembered");
}

#[test]
fn a_pass_of_another_zone_is_told_its_gates() {
    let folder = Folder::new("gates");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let there = gate_core::ids::ZoneId(uuid::Uuid::from_u128(0x41));
    let mut product = None;
    for change in venue.basics() {
        if let Change::Product(found) = change
            && found.number == 0
        {
            product = Some(found);
        }
    }
    let mut gate = gate_row(OTHER_GATE, "South", Direction::In);
    gate.zone = there;
    if let Some(product) = &mut product {
        product.zones = vec![there];
    }
    let zone = gate_core::sync::v1::ZoneRow { id: there, ..venue.zone(10, None) };
    let reply = venue.reply(vec![Change::Zone(zone), Change::Gate(gate), Change::Product(product.unwrap())], T0);
    replica.apply(&reply, at(0)).unwrap();
    assert_eq!(look(&replica, 7, 0).right_gates, ["South"]);
}

/// Whoever came in by the time that was taken back, and went out by the right one, is outside.
#[test]
fn uses_of_a_time_that_was_taken_back_stand_before_those_of_the_right_one() {
    const YEAR: i64 = 365 * 86_400_000;
    let entry = |seq, ms| UseMark { gate: OTHER_GATE, ..mark(OTHER_DEVICE, seq, 7, ms, false) };
    let exit = |seq, ms| UseMark { direction: Direction::Out, charged: false, ..entry(seq, ms) };
    for (name, marks, inside, last_ms) in [
        ("in by the wrong time", vec![entry(0, YEAR)], true, 100),
        ("and out by the right one", vec![entry(0, YEAR), exit(1, 5_000)], false, 5_000),
        ("both by the wrong one", vec![entry(0, YEAR), exit(1, YEAR + 5)], false, 100),
        ("and in again", vec![entry(0, YEAR), exit(1, YEAR + 5), entry(2, 6_000)], true, 6_000),
    ] {
        let folder = Folder::new("taken-back");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let word = venue.statement(20, StatementBody::Time(TimeReset { floor_ms: T0 + 100 }));
        let mut changes: Vec<Change> = marks.into_iter().map(Change::Use).collect();
        changes.push(Change::Statement(serde_bytes::ByteBuf::from(word)));
        let reply = venue.reply(changes, T0 + 10_000);
        replica.apply(&reply, at(10_000)).unwrap();
        let uses = look(&replica, 7, 20_000).uses;
        assert_eq!((uses.inside, uses.last.map(|last| last.at_ms - T0)), (inside, Some(last_ms)), "{name}");
    }
}
