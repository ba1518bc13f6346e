//! A zone that begins anew with nobody each night: once, offline too, and what passes later counts.

use std::cell::RefCell;
use std::rc::Rc;

use gate_core::event::{Event, EventBody};
use gate_core::ids::{BootId, GateId};
use gate_core::occupancy::Recount;
use gate_core::reset::Daily;
use gate_core::sync::v1::{Change, ZoneReset};
use gate_core::time::{ClockReading, Now, TimeKeeper, Trust};
use hardware::gate_io::{IoDown, Pattern};
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::LaneInputs;
use crate::lane_runner::{Job, Known, Ports, Runner};
use crate::replica::testing::*;
use crate::replica::{Replica, ReplicaReader};
use crate::screen::Facts;

/// Three in the morning in Bucharest, the night after [`T0`], Unix milliseconds.
const THREE: i64 = 1_790_035_200_000;
const MINUTE: i64 = 60_000;

fn daily(minute: u16) -> Change {
    Change::Reset(ZoneReset { zone: ZONE, daily: Some(Daily { minute, since_ms: T0 }) })
}

/// A gate that holds the rights of a zone with a reset at three.
fn gate(folder: &Folder, holder: GateId) -> Replica {
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let reply = venue.reply(vec![Change::Zone(venue.zone(100, Some(holder))), daily(180)], T0);
    replica.apply(&reply, at(0)).unwrap();
    replica
}

/// The resets in a journal.
fn resets(folder: &Folder) -> Vec<Recount> {
    let db = rusqlite::Connection::open(folder.db()).unwrap();
    let mut statement = db.prepare("SELECT bytes FROM events ORDER BY position").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let events = rows.map(|bytes| Event::decode(&bytes.unwrap()).unwrap());
    events
        .filter_map(|event| if let EventBody::Recounted(recount) = event.body { Some(recount) } else { None })
        .collect()
}

fn occupancy(replica: &Replica, now: Now) -> u32 {
    replica.reader().unwrap().status(now).unwrap().zones[0].occupancy
}

/// The machine's clock and its writer; no hand, no network.
#[derive(Clone)]
struct Alone {
    writer: Rc<RefCell<Replica>>,
    clock: Rc<RefCell<ClockReading>>,
}

impl Ports for Alone {
    fn clocks(&self) -> ClockReading {
        *self.clock.borrow()
    }
    fn pulse(&self, _name: &str, _ms: u32) -> Result<(), IoDown> {
        Err(IoDown)
    }
    fn query(&self, _name: &str) {}
    fn lamps(&self, _pattern: Pattern) {}
    fn alive(&self) {}
    fn store(&self, job: Job) {
        job.carry_out(&mut self.writer.borrow_mut());
    }
}

/// Runs a lane without network from one moment to another, each by what the machine's clock shows, Unix milliseconds.
fn run(folder: &Folder, epoch: u64, (from, until): (i64, i64), believed: bool) {
    let boot = BootId(Uuid::from_u128(epoch.into()));
    let shown = |ms: i64| if believed { ms } else { 0 };
    let floor = ReplicaReader::open(&folder.db()).unwrap().floor_ms().unwrap().max(T0);
    let clock = ClockReading { system_ms: shown(from), mono_us: 1_000_000, ntp: false };
    let mut time = TimeKeeper::new(boot, floor);
    let start = crate::replica::Start { epoch, now: time.now(clock).0, software: "test".to_owned() };
    let replica = Replica::open(&folder.db(), start).unwrap();
    let reader = replica.reader().unwrap();
    let ports = Alone { writer: Rc::new(RefCell::new(replica)), clock: Rc::new(RefCell::new(clock)) };
    let (facts, _seen) = watch::channel(Facts::default());
    let inputs = LaneInputs { presence: false, barrier: false };
    let mut runner = Runner::new(Known { replica: reader, inputs, time, facts }, ports.clone());
    runner.begin();
    let mut now = from;
    while now < until {
        now += MINUTE;
        {
            let mut clock = ports.clock.borrow_mut();
            clock.system_ms = shown(now);
            clock.mono_us += 60_000_000;
        }
        runner.beat();
    }
}

/// D54: at 03:00 local, once, offline too.
#[test]
fn a_zone_begins_anew_once_a_night_offline_and_over_restarts() {
    type Runs = Vec<(i64, i64, bool)>;
    let (hour, evening) = (60 * MINUTE, T0 + 3 * MINUTE);
    let table: Vec<(&str, GateId, Runs, Vec<i64>)> = vec![
        ("awake all night", GATE, vec![(evening, THREE + hour, true)], vec![THREE]),
        ("not before three", GATE, vec![(evening, THREE - MINUTE, true)], vec![]),
        (
            "started again before, at and after three",
            GATE,
            vec![
                (evening, THREE - 2 * MINUTE, true),
                (THREE - MINUTE, THREE + MINUTE, true),
                (THREE + 2 * MINUTE, THREE + 3 * MINUTE, true),
                (THREE + hour, THREE + 9 * hour, true),
            ],
            vec![THREE],
        ),
        (
            "off at three",
            GATE,
            vec![(evening, evening + hour, true), (THREE + 2 * hour, THREE + 3 * hour, true)],
            vec![THREE],
        ),
        ("two nights", GATE, vec![(evening, THREE + DAY + hour, true)], vec![THREE, THREE + DAY]),
        (
            "off for a weekend: the last night",
            GATE,
            vec![(evening, evening + hour, true), (THREE + 3 * DAY - hour, THREE + 3 * DAY - MINUTE, true)],
            vec![THREE + 2 * DAY],
        ),
        (
            "a clock that is a week ahead, or a week without power: nobody signed for it",
            GATE,
            vec![(evening, evening + hour, true), (THREE + 7 * DAY - hour, THREE + 7 * DAY - MINUTE, true)],
            vec![],
        ),
        ("a clock that lost the date", GATE, vec![(evening, THREE + hour, false)], vec![]),
        ("another gate holds the rights", OTHER_GATE, vec![(evening, THREE + hour, true)], vec![]),
    ];
    for (name, holder, runs, instants) in table {
        let folder = Folder::new("resets");
        let mut replica = gate(&folder, holder);
        for pass in 1..=3 {
            admit(&mut replica, pass, 0, 10);
        }
        drop(replica);
        for (n, (from, until, believed)) in (2u64..).zip(runs) {
            run(&folder, n, (from, until), believed);
        }
        let found = resets(&folder);
        assert_eq!(found.iter().map(|recount| recount.at_ms).collect::<Vec<_>>(), instants, "{name}");
        for (n, recount) in found.iter().enumerate() {
            assert_eq!((recount.generation, recount.observed), (n as u64 + 1, 0), "{name}");
            assert_eq!(recount.before, Some(if n == 0 { 3 } else { 0 }), "{name}: what was there is kept");
        }
        let left = occupancy(&open(&folder.db(), 99), at(0));
        assert_eq!(left, if instants.is_empty() { 3 } else { 0 }, "{name}");
    }
}

#[test]
fn what_passed_after_the_instant_counts_however_late_the_reset_is_made() {
    let folder = Folder::new("resets");
    let mut replica = gate(&folder, GATE);
    let since = THREE - T0;
    for (pass, ms) in [(1, 10), (2, since - 1), (3, since + 5), (4, since + 90 * MINUTE)] {
        admit(&mut replica, pass, 0, ms);
    }
    let late = Now { trust: Trust::Continued, ..at(since + 120 * MINUTE) };
    let unsure = Now { trust: Trust::Unknown, ..late };
    assert_eq!(replica.reset_zones(None, unsure).unwrap(), []);
    assert_eq!(occupancy(&replica, late), 4);
    assert_eq!(replica.reset_zones(None, late).unwrap().len(), 1);
    assert_eq!(occupancy(&replica, late), 2, "those who came after three");
    assert_eq!(resets(&folder)[0].before, Some(4));
    for _ in 0..3 {
        assert_eq!(replica.reset_zones(None, late).unwrap(), []);
    }
    // Everything is made again from the events as it was.
    drop(replica);
    let mut replica = open(&folder.db(), 7);
    assert_eq!((occupancy(&replica, late), replica.reset_zones(None, late).unwrap().len()), (2, 0));
}

#[test]
fn a_reset_that_is_switched_off_resets_nothing_and_one_of_today_not_this_morning() {
    for (name, daily, resets) in [
        ("on", Some(Daily { minute: 180, since_ms: T0 }), 1),
        ("off", None, 0),
        ("asked for at five", Some(Daily { minute: 180, since_ms: THREE + 120 * MINUTE }), 0),
    ] {
        let folder = Folder::new("resets");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let changes = vec![self::daily(60), Change::Reset(ZoneReset { zone: ZONE, daily })];
        let reply = venue.reply(changes, T0);
        replica.apply(&reply, at(0)).unwrap();
        let status = replica.reader().unwrap().status(at(0)).unwrap();
        assert_eq!(status.zones[0].resets, daily.is_some(), "{name}");
        let now = at(THREE - T0 + 180 * MINUTE);
        assert_eq!(replica.reset_zones(None, now).unwrap().len(), resets, "{name}");
    }
}
