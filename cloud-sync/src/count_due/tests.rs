//! Whom it is suggested to count, in which nights, and how that ends.

use std::sync::atomic::Ordering;

use gate_core::event::EventBody;
use gate_core::ids::{DeviceId, Direction};
use gate_core::journal::Journal;
use serde_json::Value;

use super::*;
use crate::testing::{NOON, TestDevice, World, now};

const MINUTE_MS: i64 = 60_000;
/// Half past three in the morning in Bucharest, the night after [`NOON`], Unix milliseconds.
const NIGHT: i64 = 1_795_224_600_000;

fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[test]
fn a_zone_is_counted_for_a_reason_and_for_no_other() {
    let busy = Past { passed: 400, short: 0, last_ms: Some(NIGHT - QUIET_MS + 1) };
    let rest = Past { last_ms: Some(NIGHT - QUIET_MS), ..busy };
    let good = Seen {
        capacity: 220,
        count: Estimate { low: 12, high: 12, drift: 0 },
        unsure: 0,
        past: busy,
        counted_ms: Some(NIGHT - DAY_MS),
        recount: vec![],
        unheard: false,
        now_ms: NIGHT,
    };
    let counted = |ago: i64| Some(NIGHT - ago);
    for (name, seen, expected) in [
        ("nothing wrong", good.clone(), vec![]),
        ("more left than came", Seen { past: Past { short: 1, ..busy }, ..good.clone() }, vec![Why::Drift]),
        ("few openings unsure", Seen { unsure: 4, ..good.clone() }, vec![]),
        ("one for fifty places unsure", Seen { unsure: 5, ..good.clone() }, vec![Why::Unsure]),
        ("one unsure in a small zone", Seen { unsure: 1, capacity: 10, ..good.clone() }, vec![]),
        ("two unsure in a small zone", Seen { unsure: 2, capacity: 10, ..good.clone() }, vec![Why::Unsure]),
        ("at rest, counted this week", Seen { past: rest, counted_ms: counted(REST_MS), ..good.clone() }, vec![]),
        ("at rest", Seen { past: rest, counted_ms: counted(REST_MS + 1), ..good.clone() }, vec![Why::Quiet]),
        ("busy until late", Seen { counted_ms: counted(REST_MS + 1), ..good.clone() }, vec![]),
        (
            "at rest, but a gate is not heard",
            Seen { past: rest, counted_ms: counted(REST_MS + 1), unheard: true, ..good.clone() },
            vec![],
        ),
        (
            "at rest and empty",
            Seen {
                past: rest,
                counted_ms: counted(REST_MS + 1),
                count: Estimate { low: 0, high: 0, drift: 0 },
                ..good.clone()
            },
            vec![],
        ),
        (
            "nothing ever passed: it is what was counted",
            Seen { past: Past::default(), counted_ms: counted(REST_MS + 1), ..good.clone() },
            vec![],
        ),
        ("thirty days", Seen { counted_ms: counted(OLD_MS), ..good.clone() }, vec![]),
        ("more than thirty days", Seen { counted_ms: counted(OLD_MS + 1), ..good.clone() }, vec![Why::Old]),
        (
            "long ago, few passed",
            Seen { past: Past { passed: 219, ..busy }, counted_ms: counted(OLD_MS + 1), ..good.clone() },
            vec![],
        ),
        ("never counted", Seen { counted_ms: None, ..good.clone() }, vec![Why::Old]),
        (
            "never counted, a small zone and few passed",
            Seen { past: Past { passed: 49, ..busy }, counted_ms: None, capacity: 10, ..good.clone() },
            vec![],
        ),
        (
            "all at once",
            Seen { past: Past { short: 3, ..rest }, unsure: 9, counted_ms: None, ..good },
            vec![Why::Drift, Why::Unsure, Why::Quiet, Why::Old],
        ),
    ] {
        assert_eq!(seen.reasons(), expected, "{name}");
        let told = seen.details(&expected);
        assert_eq!(told["reasons"].as_array().unwrap().len(), expected.len(), "{name}");
    }
}

/// A zone of ten places with an entrance and an exit, and what was suggested about it.
struct Night {
    world: World,
    zone: ZoneId,
    entrance: TestDevice,
    exit: TestDevice,
    journals: [Journal; 2],
}

impl Night {
    async fn new() -> Self {
        let world = World::new().await;
        let zone = world.zone(10).await;
        let entrance = world.device(zone, Direction::In).await;
        let exit = world.device(zone, Direction::Out).await;
        let journals = [(&entrance, 11), (&exit, 12)].map(|(device, epoch)| device.journal(epoch, None));
        let [(first, opened), (second, also)] = journals;
        entrance.push(&world, &[opened.bytes]).await;
        exit.push(&world, &[also.bytes]).await;
        Self { world, zone, entrance, exit, journals: [first, second] }
    }

    /// Somebody is let in or out at each of these moments; heard at once.
    async fn pass(&mut self, direction: Direction, moments: &[i64]) {
        let (device, journal) = match direction {
            Direction::In => (&self.entrance, &mut self.journals[0]),
            Direction::Out => (&self.exit, &mut self.journals[1]),
        };
        let mut sent = Vec::new();
        for at in moments {
            let body = EventBody::Overridden {
                staff: None,
                why: "lost".to_owned(),
                note: None,
                direction,
                zones: vec![self.zone],
                generations: vec![0],
                over: None,
            };
            let event = journal.append(None, now(*at), body);
            let of = event.event.id;
            sent.push(event.bytes);
            sent.push(journal.append(None, now(*at), EventBody::Opened { of, watched: false }).bytes);
        }
        for some in sent.chunks(400) {
            device.push(&self.world, some).await;
        }
    }

    async fn look_at(&self, at_ms: i64) -> usize {
        self.world.clock.store(at_ms, Ordering::Relaxed);
        look(&self.world.app).await.unwrap()
    }

    /// Each suggestion there ever was: whether somebody has to do something, and why.
    async fn suggestions(&self) -> Vec<(bool, Value)> {
        let rows = self
            .world
            .app
            .db()
            .read(async |tx| {
                let sql =
                    "SELECT resolved_ms, standing, details FROM conflicts WHERE kind = 'count_due' ORDER BY raised_ms";
                tx.query(sql, &[]).await
            })
            .await
            .map_err(|error: DbError| error)
            .unwrap();
        let one = |row: &crate::store::Row| {
            let open = row.get::<Option<i64>>(0).unwrap().is_none();
            assert!(row.get::<bool>(1).unwrap() || !open, "what is over is not left to anybody");
            (open, serde_json::from_str::<Value>(&row.get::<String>(2).unwrap()).unwrap())
        };
        rows.iter().map(one).collect()
    }

    async fn recount(&self, observed: u32) {
        let (app, venue) = (&self.world.app, self.entrance.enrolled.venue);
        app.change(venue, async |tx| crate::office::recount(tx, app, venue, self.zone, observed).await).await.unwrap();
    }
}

/// Each night has one look, at half past three by the venue's clock, however often it is asked for: also where that time
/// is missing (2026-03-29, 03:00 -> 04:00) and where it comes twice (2026-10-25, 04:00 -> 03:00).
#[tokio::test]
async fn a_zone_that_drifts_is_suggested_once_a_night_also_when_clocks_change_and_a_recount_ends_it() {
    for (name, evening, first, second) in [
        ("plain", "2026-06-10T18:00:00Z", "2026-06-11T00:30:00Z", "2026-06-12T00:30:00Z"),
        ("half past three is missing", "2026-03-28T18:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"),
        ("half past three comes twice", "2026-10-24T18:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
    ] {
        let mut night = Night::new().await;
        let mut at = ms(evening);
        // What was due before it had gates is none of its business.
        assert_eq!(night.look_at(at).await, 0, "{name}");
        for (round, expected) in [(1, ms(first)), (2, ms(second))] {
            night.pass(Direction::Out, &[at, at + 1]).await;
            let (mut found, until) = (vec![], at + DAY_MS);
            while at < until {
                for _ in 0..night.look_at(at).await {
                    found.push(at);
                }
                at += 10 * MINUTE_MS;
            }
            assert_eq!(found, [expected], "{name}, round {round}: one suggestion, at the first look after the minute");
            let known = night.suggestions().await;
            assert_eq!((known.len(), known.last().unwrap().0), (round, true), "{name}, round {round}");
            assert_eq!(known.last().unwrap().1["drift"], 2, "{name}, round {round}");
            night.recount(0).await;
            assert!(night.suggestions().await.iter().all(|(open, _)| !open), "{name}, round {round}: counted");
        }
        let quiet = at + 3 * DAY_MS;
        while at < quiet {
            assert_eq!(night.look_at(at).await, 0, "{name}: counted well, nothing more to say");
            at += 3 * HOUR_MS;
        }
    }
}

/// What hides behind a good number: more had left than came, and entries since brought the count above nobody again.
#[tokio::test]
async fn drift_is_remembered_by_when_it_happened_not_by_when_it_was_heard() {
    use Direction::{In, Out};
    let at = |minutes: i64| NIGHT - 10 * HOUR_MS + minutes * MINUTE_MS;
    type Passed = Vec<(Direction, Vec<i64>)>;
    let cases: [(&str, Passed, u64); 5] = [
        ("in, then out", vec![(In, vec![at(0)]), (Out, vec![at(5)])], 0),
        ("the exit is heard first", vec![(Out, vec![at(5)]), (In, vec![at(0)])], 0),
        ("the gates' clocks differ by a minute", vec![(Out, vec![at(5)]), (In, vec![at(6)])], 0),
        ("out, then in, ten minutes later", vec![(Out, vec![at(5)]), (In, vec![at(15), at(16), at(17)])], 1),
        ("two out, then in", vec![(Out, vec![at(5), at(8)]), (In, vec![at(20), at(21), at(22)])], 2),
    ];
    for (name, passed, short) in cases {
        let mut night = Night::new().await;
        night.world.clock.store(at(30), Ordering::Relaxed);
        for (direction, moments) in passed {
            night.pass(direction, &moments).await;
        }
        assert_eq!(night.look_at(NIGHT).await, usize::from(short > 0), "{name}");
        let told: Vec<u64> =
            night.suggestions().await.iter().map(|(_, told)| told["drift"].as_u64().unwrap()).collect();
        assert_eq!(told, if short > 0 { vec![short] } else { vec![] }, "{name}");
    }
}

/// It stays one suggestion that says what is so now; a person may close it, and hears no other for a week.
#[tokio::test]
async fn one_suggestion_a_zone_until_there_is_no_reason_and_peace_for_whoever_closed_it() {
    let mut night = Night::new().await;
    night.world.clock.store(NOON, Ordering::Relaxed);
    assert_eq!(night.look_at(NOON).await, 0);
    night.pass(Direction::Out, &[NOON]).await;
    assert_eq!(night.look_at(NIGHT).await, 1);
    let open = night.world.get(&night.world.at("conflicts?kind=count_due")).await.ok().json();
    let [one] = open.as_array().unwrap().as_slice() else { panic!("{open}") };
    assert_eq!((&one["zone_id"], &one["standing"], &one["state"]), (&json!(night.zone), &json!(true), &json!("open")));
    assert_eq!((&one["details"]["reasons"], &one["details"]["last_counted_ms"]), (&json!(["drift"]), &Value::Null));
    assert_eq!(one["details"]["counted"], 0);
    assert_eq!(night.world.get(&night.world.at("overview")).await.ok().json()["open_conflicts"], 2, "and the drift");

    night.pass(Direction::Out, &[NIGHT + 1, NIGHT + 2]).await;
    assert_eq!(night.look_at(NIGHT + DAY_MS).await, 0, "no second one");
    let known = night.suggestions().await;
    assert_eq!((known.len(), &known[0].1["drift"]), (1, &json!(3)), "but what is so now");

    // The manager's session is of the first day.
    night.world.clock.store(NIGHT, Ordering::Relaxed);
    let id = one["id"].as_str().unwrap();
    let note = json!({"note": "the ramp is closed, nobody can be in there"});
    night.world.post(&night.world.at(&format!("conflicts/{id}/resolve")), note).await.ok();
    for (days, suggested) in [(2, 0), (6, 0), (8, 1)] {
        assert_eq!(night.look_at(NIGHT + days * DAY_MS).await, suggested, "day {days}");
    }
    // Turning on a daily reset leaves no reason.
    let on = async |tx: &mut Tx| tx.execute("UPDATE zones SET reset_min = 180", &[]).await.map_err(ApiError::from);
    night.world.app.change(night.entrance.enrolled.venue, on).await.unwrap();
    assert_eq!(night.look_at(NIGHT + 9 * DAY_MS).await, 0);
    assert!(night.suggestions().await.iter().all(|(open, _)| !open));
}

/// A service that was off at half past three looks when it starts, once.
#[tokio::test]
async fn a_service_that_was_off_in_the_night_suggests_when_it_starts_once() {
    let mut night = Night::new().await;
    assert_eq!(night.look_at(NOON).await, 0);
    let evening = NIGHT - 6 * HOUR_MS;
    night.world.clock.store(evening, Ordering::Relaxed);
    night.pass(Direction::Out, &[evening]).await;
    let mut found = vec![];
    for minutes in 0..200 {
        found.push(night.look_at(NIGHT + 3 * DAY_MS + 7 * HOUR_MS + minutes * MINUTE_MS / 3).await);
    }
    assert_eq!((found[0], found.iter().sum::<usize>()), (1, 1));
}

/// At rest through the night: only where all gates were heard, and with what the gates themselves say of the moment.
#[tokio::test]
async fn a_count_at_rest_above_nobody_is_suggested_if_all_gates_were_heard() {
    for (name, silent, gone, suggested) in
        [("all heard", false, false, 1), ("one not heard", true, false, 0), ("it is withdrawn", true, true, 1)]
    {
        let mut night = Night::new().await;
        assert_eq!(night.look_at(NOON).await, 0);
        night.pass(Direction::In, &[NOON]).await;
        let seen = |device: DeviceId, ms: i64| (device, ms);
        for (device, seen_ms) in [
            seen(night.entrance.enrolled.device, NIGHT),
            seen(night.exit.enrolled.device, if silent { NIGHT - UNHEARD_MS - 1 } else { NIGHT }),
        ] {
            let sql = "UPDATE devices SET seen_ms = $1, revoked_ms = $2 WHERE device_id = $3";
            let revoked = (gone && seen_ms < NIGHT).then_some(NOON);
            let work = async |tx: &mut Tx| tx.execute(sql, params![seen_ms, revoked, device]).await;
            night.world.app.db().write(work).await.unwrap();
        }
        assert_eq!(night.look_at(NIGHT).await, suggested, "{name}");
        let told: Vec<Value> = night.suggestions().await.into_iter().map(|(_, told)| told).collect();
        if suggested > 0 {
            assert_eq!((&told[0]["reasons"], &told[0]["counted"]), (&json!(["quiet"]), &json!(1)), "{name}");
            assert_eq!(told[0]["last_passed_ms"], NOON, "{name}");
        }
    }
}

/// Never counted, and sixty came and went.
#[tokio::test]
async fn a_zone_that_was_never_counted_is_suggested_and_a_rebuild_keeps_it() {
    let mut night = Night::new().await;
    assert_eq!(night.look_at(NOON).await, 0);
    let moments: Vec<i64> = (0..30).map(|n| NOON + n * 10 * MINUTE_MS).collect();
    night.pass(Direction::In, &moments).await;
    let left: Vec<i64> = moments.iter().map(|at| at + 5 * MINUTE_MS).collect();
    night.pass(Direction::Out, &left).await;
    assert_eq!(night.look_at(NIGHT).await, 1);
    let known = night.suggestions().await;
    assert_eq!((&known[0].1["reasons"], &known[0].1["passed"]), (&json!(["old"]), &json!(60)));
    let (app, venue) = (&night.world.app, night.entrance.enrolled.venue);
    app.change(venue, async |tx| ingest::rebuild(tx, app, venue).await).await.unwrap();
    assert_eq!(night.suggestions().await, known);
    let before = night.exit.replica(&night.world).await.len();
    let path = night.world.at(&format!("zones/{}/recount", night.zone));
    night.world.post(&path, json!({"observed": 2, "reason": "walked through"})).await.ok();
    assert!(night.suggestions().await.iter().all(|(open, _)| !open), "the form of the office ends it too");
    assert!(night.exit.replica(&night.world).await.len() > before);
}
