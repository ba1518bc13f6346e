//! Events through the real router: once, in any order, with poison between them, from devices that lie.

use gate_core::canonical;
use gate_core::event::{Event, EventBody, Head, Part};
use gate_core::ids::{DeviceId, Direction, EventId, GateId, Hash, VenueId};
use gate_core::journal::SealedEvent;
use gate_core::occupancy::Recount;
use gate_core::pass::Keyring;
use gate_core::sync::v1::{Change, EVENTS_PATH, ItemOutcome, PUSH_LIMIT, PushReply, Receipt, Signed, UseMark};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::testing::{NOON, TestDevice, World, keyring, noise, now};

struct Lot {
    world: World,
    entrance: TestDevice,
    exit: TestDevice,
    keys: Keyring,
    texts: Vec<String>,
    ctis: Vec<String>,
}

impl Lot {
    async fn new(passes: usize) -> Self {
        let world = World::new().await;
        let zone = world.zone(10).await;
        let entrance = world.device(zone, Direction::In).await;
        let exit = world.device(zone, Direction::Out).await;
        let vendor = world.vendor("Bakery").await;
        let made = world.batch("k", &world.batch_of(&vendor, passes)).await.ok().json();
        let batch = made["batch_id"].as_str().unwrap().to_owned();
        let keys = keyring(&entrance.replica(&world).await, &entrance);
        let texts = crate::routes::batch_texts(&world.app, entrance.enrolled.venue, &batch).await;
        let whole = world.get(&world.at(&format!("batches/{batch}"))).await.ok().json();
        let ctis = whole["passes"].as_array().unwrap().iter().map(|p| p["cti"].as_str().unwrap().to_owned()).collect();
        Self { world, entrance, exit, keys, texts, ctis }
    }

    async fn overview(&self) -> Value {
        self.world.get(&self.world.at("overview")).await.ok().json()
    }

    async fn occupancy(&self) -> u64 {
        self.overview().await["zones"][0]["occupancy"].as_u64().unwrap()
    }

    async fn inbox(&self) -> Value {
        self.world.get(&self.world.at("alerts")).await.ok().json()
    }

    async fn alerts(&self) -> Vec<String> {
        let inbox = self.inbox().await;
        inbox["alerts"].as_array().unwrap().iter().map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// The entrance's journal: opening, then one admission per pass, then what `more` says.
    fn morning(&self, more: Vec<EventBody>) -> Vec<SealedEvent> {
        let (mut journal, opened) = self.entrance.journal(11, None);
        let mut events = vec![opened];
        for (n, text) in self.texts.iter().enumerate() {
            let at = NOON + n as i64 * 1000;
            events.push(journal.append(Some(self.entrance.lane), now(at), self.entrance.admit(text, &self.keys, at)));
        }
        for body in more {
            events.push(journal.append(Some(self.entrance.lane), now(NOON + 60_000), body));
        }
        events
    }
}

fn bytes(events: &[SealedEvent]) -> Vec<Vec<u8>> {
    events.iter().map(|event| event.bytes.clone()).collect()
}

fn parked(outcome: &ItemOutcome) -> bool {
    matches!(outcome, ItemOutcome::Parked { .. })
}

async fn receipt(lot: &Lot, device: &TestDevice, bytes: &[u8]) -> Head {
    let venue = device.enrolled.venue;
    let key = lot
        .world
        .app
        .db()
        .read(async |tx| Ok::<_, crate::store::DbError>(super::server_key(tx, venue).await))
        .await
        .unwrap();
    let receipt = Receipt::open(bytes, &key).unwrap();
    assert_eq!(receipt.venue, venue);
    receipt.upto
}

#[tokio::test]
async fn a_journal_counts_once_however_often_and_in_whatever_order_it_comes() {
    let lot = Lot::new(3).await;
    let events = lot.morning(vec![noise()]);
    let all = bytes(&events);
    let first = lot.entrance.push(&lot.world, &all).await;
    assert_eq!(first.outcomes, vec![ItemOutcome::Created; 5]);
    let head = events.last().unwrap();
    let expected = Head { event: head.event.id, hash: head.hash };
    assert_eq!(receipt(&lot, &lot.entrance, &first.receipts[0]).await, expected);
    assert_eq!(lot.occupancy().await, 3);

    let again = lot.entrance.push(&lot.world, &all).await;
    assert_eq!(again.outcomes, vec![ItemOutcome::Exists; 5]);
    assert_eq!(receipt(&lot, &lot.entrance, &again.receipts[0]).await, expected);
    assert_eq!(lot.occupancy().await, 3, "a repeat counts nothing");

    let other = Lot::new(3).await;
    let mut backwards = bytes(&other.morning(vec![noise()]));
    let tail = backwards.split_off(2);
    let late = other.entrance.push(&other.world, &tail).await;
    assert_eq!(late.outcomes, vec![ItemOutcome::Created; 3]);
    assert!(late.receipts.is_empty(), "nothing is acknowledged across a gap");
    assert_eq!(other.occupancy().await, 2, "what came counts");
    assert_eq!(other.overview().await["gates"][0]["pending"], 2);
    backwards.reverse();
    let newest = other.morning(vec![noise()]).pop().unwrap();
    let body = other.entrance.push_body(Head { event: newest.event.id, hash: newest.hash }, &backwards);
    let filled = other.world.send(other.entrance.request(&other.world, EVENTS_PATH, body)).await.ok();
    let filled: PushReply = canonical::decode(&filled.body).unwrap();
    assert_eq!(receipt(&other, &other.entrance, &filled.receipts[0]).await.event.seq, 4);
    let (mut one, mut two) = (lot.overview().await, other.overview().await);
    for view in [&mut one, &mut two] {
        // The same picture but for the ids and the number of pushes it took.
        view["seq"] = Value::Null;
        for gate in view["gates"].as_array_mut().unwrap() {
            gate["pending"] = Value::Null;
        }
    }
    assert_eq!(one, two);
    assert!(other.alerts().await.is_empty());
}

#[tokio::test]
async fn poison_is_parked_and_stops_nothing() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![noise(), noise()]);
    let mut foreign = events[2].event.clone();
    foreign.id.device = DeviceId(Uuid::from_u128(1));
    let mut elsewhere = events[2].event.clone();
    elsewhere.venue = VenueId(Uuid::from_u128(1));
    let mut other_gate = events[2].event.clone();
    other_gate.gate = GateId(Uuid::from_u128(1));
    let mut too_late = events[2].event.clone();
    too_late.at.wall_ms = i64::MAX;
    let mut huge = events[2].event.clone();
    huge.id.epoch = u64::MAX;
    let mut not_canonical = events[2].bytes.clone();
    not_canonical.push(0);
    let mut unknown_zone = events[1].event.clone();
    unknown_zone.id.seq = 9;
    let EventBody::Authorised { admission, .. } = &mut unknown_zone.body else { panic!("an admission") };
    admission.zones = vec![gate_core::ids::ZoneId(Uuid::from_u128(1))];
    let mut uneven = events[1].event.clone();
    uneven.id.seq = 9;
    let EventBody::Authorised { generations, .. } = &mut uneven.body else { panic!("an admission") };
    generations.clear();
    let poisons: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("no event", b"hello".to_vec()),
        ("a trailing byte", not_canonical),
        ("another device's", foreign.encode()),
        ("another venue's", elsewhere.encode()),
        ("another gate's", other_gate.encode()),
        ("out of time", too_late.encode()),
        ("out of range", huge.encode()),
        ("an unknown zone", unknown_zone.encode()),
        ("uneven generations", uneven.encode()),
    ];
    let mut sent = Vec::new();
    for (at, event) in events.iter().enumerate() {
        sent.push(event.bytes.clone());
        if at == 0 {
            sent.extend(poisons.iter().map(|(_, poison)| poison.clone()));
        }
    }
    let reply = lot.entrance.push(&lot.world, &sent).await;
    for (at, outcome) in reply.outcomes.iter().enumerate() {
        let poison = (1..=poisons.len()).contains(&at);
        assert_eq!(
            parked(outcome),
            poison,
            "item {at}: {outcome:?} {:?}",
            poisons.get(at.wrapping_sub(1)).map(|p| p.0)
        );
    }
    assert_eq!(receipt(&lot, &lot.entrance, &reply.receipts[0]).await.event.seq, 3);
    assert_eq!(lot.occupancy().await, 1);
    let inbox = lot.inbox().await;
    assert_eq!((inbox["applied"].as_u64(), inbox["parked"].as_u64()), (Some(4), Some(poisons.len() as u64)));
    lot.entrance.push(&lot.world, &sent).await;
    assert_eq!(lot.inbox().await["parked"], inbox["parked"], "parked once");
}

#[tokio::test]
async fn rewritten_history_is_parked_and_somebody_hears_of_it() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![noise(), noise()]);
    lot.entrance.push(&lot.world, &bytes(&events[..3])).await;
    let mut rewritten = events[2].event.clone();
    rewritten.at.wall_ms += 1;
    let mut unlinked = events[3].event.clone();
    unlinked.previous = Hash::ZERO;
    for (name, item) in [("rewritten", rewritten.encode()), ("unlinked", unlinked.encode())] {
        let before = lot.alerts().await.len();
        let reply = lot.entrance.push(&lot.world, std::slice::from_ref(&item)).await;
        assert!(parked(&reply.outcomes[0]), "{name}: {:?}", reply.outcomes);
        let kinds = lot.alerts().await;
        assert!(
            kinds.len() > before && kinds.iter().all(|kind| kind == "fork" || kind == "journal_shorter"),
            "{name}: {kinds:?}"
        );
        lot.entrance.push(&lot.world, &[item]).await;
        assert_eq!(lot.alerts().await, kinds, "{name}: the same evidence is one alert");
    }
    let reply = lot.entrance.push(&lot.world, &bytes(&events[3..])).await;
    assert_eq!(reply.outcomes, vec![ItemOutcome::Created], "the true event still comes in");
    assert_eq!(receipt(&lot, &lot.entrance, &reply.receipts[0]).await.event.seq, 3);
}

#[tokio::test]
async fn two_journals_that_continue_one_head_are_a_fork_and_a_shorter_journal_is_a_loss() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    let head = Head { event: events[1].event.id, hash: events[1].hash };
    for (epoch, alerts) in [(12, vec![]), (13, vec!["fork"])] {
        let (_, opened) = lot.entrance.journal(epoch, Some(head));
        let reply = lot.entrance.push(&lot.world, &[opened.bytes]).await;
        assert_eq!(reply.outcomes, [ItemOutcome::Created]);
        assert_eq!(lot.alerts().await, alerts, "epoch {epoch}");
    }
    let short = Head { event: events[0].event.id, hash: events[0].hash };
    let body = lot.entrance.push_body(short, &[]);
    lot.world.send(lot.entrance.request(&lot.world, EVENTS_PATH, body)).await.ok();
    assert!(lot.alerts().await.contains(&"journal_shorter".to_owned()));
}

#[tokio::test]
async fn an_annulment_frees_use_and_place_in_either_order() {
    for reversed in [false, true] {
        let lot = Lot::new(2).await;
        let base = lot.morning(vec![])[1].event.id;
        let events = lot.morning(vec![EventBody::Annulled { of: base }, EventBody::Annulled { of: base }]);
        let mut sent = bytes(&events);
        if reversed {
            sent.reverse();
        }
        let reply = lot.entrance.push(&lot.world, &sent).await;
        assert_eq!(reply.outcomes.iter().filter(|outcome| parked(outcome)).count(), 1, "an admission is annulled once");
        assert_eq!(lot.occupancy().await, 1, "reversed: {reversed}");
        let pass = lot.world.get(&lot.world.at(&format!("passes/{}", lot.ctis[0]))).await.ok().json();
        assert_eq!((pass["status"].as_str(), pass["uses"][0]["annulled"].as_bool()), (Some("valid"), Some(true)));
        let entries: i64 = lot.overview().await["rates"]["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bucket| bucket["entries"].as_i64().unwrap())
            .sum();
        assert_eq!(entries, 1);
    }
}

#[tokio::test]
async fn other_gates_hear_of_uses_and_counts_as_signed_changes() {
    let lot = Lot::new(2).await;
    let before = lot.exit.replica(&lot.world).await.len();
    let events = lot.morning(vec![noise()]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    let changes = lot.exit.replica(&lot.world).await.split_off(before);
    let uses: Vec<&UseMark> =
        changes.iter().filter_map(|c| if let Change::Use(mark) = c { Some(mark) } else { None }).collect();
    assert_eq!(uses.len(), 2);
    assert_eq!((uses[0].event, uses[0].charged, uses[0].annulled), (events[1].event.id, true, false));
    let counts: Vec<_> =
        changes.iter().filter_map(|c| if let Change::Count(tally) = c { Some(tally) } else { None }).collect();
    assert_eq!(counts.len(), 1, "one for all of a push");
    assert_eq!(super::merged(counts[0]).occupancy(), 2);

    let (mut journal, opened) = lot.exit.journal(21, None);
    let gone = journal.append(
        None,
        now(NOON + 5000),
        EventBody::ExitButton { zones: vec![lot.exit.zone], generations: vec![0] },
    );
    lot.exit.push(&lot.world, &[opened.bytes, gone.bytes]).await;
    assert_eq!(lot.occupancy().await, 1);
}

#[tokio::test]
async fn a_second_use_that_nobody_could_prevent_is_reported() {
    let lot = Lot::new(1).await;
    let zone = lot.entrance.zone;
    let south = lot.world.device(zone, Direction::In).await;
    lot.entrance.push(&lot.world, &bytes(&lot.morning(vec![]))).await;
    assert!(lot.alerts().await.is_empty());
    let (mut journal, opened) = south.journal(31, None);
    let copy = journal.append(None, now(NOON + 9000), south.admit(&lot.texts[0], &lot.keys, NOON + 9000));
    let reply = south.push(&lot.world, &[opened.bytes, copy.bytes]).await;
    assert_eq!(reply.outcomes, [ItemOutcome::Created, ItemOutcome::Created], "what happened is a fact");
    assert_eq!(lot.alerts().await, ["double_use"]);
    let code = lot.world.get(&lot.world.at(&format!("passes/{}", lot.ctis[0]))).await.ok().json();
    assert_eq!((code["status"].as_str(), code["uses"].as_array().unwrap().len()), (Some("used"), 2));
}

#[tokio::test]
async fn a_recount_starts_the_number_anew() {
    let lot = Lot::new(3).await;
    let zone = lot.entrance.zone;
    let frontier = vec![lot.morning(vec![])[2].event.id];
    let recount = |generation, observed| {
        EventBody::Recounted(Recount { zone, generation, observed, at_ms: NOON + 1500, frontier: frontier.clone() })
    };
    // The recount heard of two of the three admissions and saw seven cars.
    let events = lot.morning(vec![recount(1, 7), recount(1, 99), recount(0, 50)]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    assert_eq!(lot.occupancy().await, 99 + 1, "of two of one generation the later event wins");
    assert_eq!(lot.alerts().await, ["recount_lost"]);
}

#[tokio::test]
async fn refusals_rates_and_health_reach_the_picture() {
    let lot = Lot::new(1).await;
    let first = lot.morning(vec![noise()])[2].event.id;
    let ghost = EventId { seq: 99, ..first };
    let events = lot.morning(vec![
        noise(),
        EventBody::Repeated { of: first, more: 4 },
        EventBody::Repeated { of: ghost, more: 1 },
        EventBody::Health { part: Part::Camera, working: false, detail: "unplugged".into() },
    ]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    let view = lot.overview().await;
    assert_eq!(
        view["refusals"],
        json!([{"reason": "not_a_pass", "count": 5, "title_en": "NOT A PASS", "title_ro": "NU ESTE UN PERMIS"}])
    );
    let gates = view["gates"].as_array().unwrap();
    assert_eq!((gates[0]["state"].as_str(), gates[0]["broken"][0].as_str()), (Some("degraded"), Some("camera")));
    assert_eq!((gates[0]["software"].as_str(), gates[0]["clock_trust"].as_str()), (Some("test/1"), Some("ntp")));
    assert_eq!(gates[1]["state"], "online");
    let buckets = view["rates"]["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), 96);
    assert_eq!(buckets[95], json!({"start_ms": NOON - NOON % crate::live::BUCKET_MS, "entries": 1, "exits": 0}));
    assert_eq!(view["zones"][0]["percent"], 10);

    lot.world.later(6 * 60_000);
    let view = lot.overview().await;
    assert_eq!(view["gates"][0]["state"], "offline");
    let zone = &view["zones"][0];
    assert_eq!((zone["low"].as_u64(), zone["occupancy"].as_u64(), zone["high"].as_u64()), (Some(0), Some(1), Some(10)));
}

#[tokio::test]
async fn a_withdrawn_device_is_heard_by_nobody_and_its_words_are_kept_aside() {
    let lot = Lot::new(1).await;
    let path = lot.world.at(&format!("devices/{}/revoke", lot.entrance.enrolled.device));
    lot.world.post(&path, json!({})).await.ok();
    let events = bytes(&lot.morning(vec![]));
    lot.entrance.try_push(&lot.world, &events).await.is_problem(403, "device_revoked");
    lot.entrance.pull(&lot.world, 0, Hash::ZERO).await.is_problem(403, "device_revoked");
    assert_eq!(lot.occupancy().await, 0);
    let inbox = lot.inbox().await;
    assert_eq!((inbox["applied"].as_u64(), inbox["parked"].as_u64()), (Some(0), Some(2)));
}

#[tokio::test]
async fn what_was_parked_is_applied_once_it_can_be() {
    let lot = Lot::new(1).await;
    let zone = gate_core::ids::ZoneId(Uuid::from_u128(77));
    let (mut journal, opened) = lot.entrance.journal(11, None);
    let button = journal.append(None, now(NOON), EventBody::ExitButton { zones: vec![zone], generations: vec![0] });
    let sent = [opened.bytes, button.bytes];
    let reply = lot.entrance.push(&lot.world, &sent).await;
    assert!(parked(&reply.outcomes[1]), "{:?}", reply.outcomes);
    assert_eq!(lot.inbox().await["parked"], 1);
    let listed = lot.world.get(&lot.world.at("parked")).await.ok().json();
    assert!(listed[0]["reason"].as_str().unwrap().contains("zone"), "{listed}");
    let venue = lot.entrance.enrolled.venue;
    lot.world
        .app
        .db()
        .write(async |tx| {
            tx.execute(
                "INSERT INTO zones SELECT venue_id, $1, name, parent_id, capacity, warn_percent, best_effort, rights_holder, fullness, basis, created_ms FROM zones WHERE venue_id = $2",
                crate::store::params![zone, venue],
            )
            .await
        })
        .await
        .unwrap();
    let reply = lot.entrance.push(&lot.world, &sent).await;
    assert_eq!(reply.outcomes, [ItemOutcome::Exists, ItemOutcome::Created]);
    let inbox = lot.inbox().await;
    assert_eq!((inbox["applied"].as_u64(), inbox["parked"].as_u64()), (Some(2), Some(0)));
}

#[tokio::test]
async fn facts_can_be_neither_changed_nor_deleted() {
    let lot = Lot::new(1).await;
    lot.entrance.push(&lot.world, &bytes(&lot.morning(vec![]))).await;
    for sql in [
        "DELETE FROM events",
        "UPDATE events SET at_ms = 0",
        "DELETE FROM audit",
        "UPDATE audit SET person_id = 'nobody'",
    ] {
        let result: Result<usize, crate::store::DbError> =
            lot.world.app.db().write(async |tx| tx.execute(sql, &[]).await).await;
        assert!(matches!(result, Err(crate::store::DbError::Conflict(_))), "{sql}: {result:?}");
    }
    assert_eq!(lot.inbox().await["applied"], 2);
}

#[tokio::test]
async fn a_push_has_its_limits_and_a_head_of_its_own() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![]);
    let many = vec![vec![0u8]; PUSH_LIMIT + 1];
    lot.entrance.try_push(&lot.world, &many).await.is_problem(413, "too_large");
    lot.entrance.try_push(&lot.world, &[vec![0; 400 * 1024]]).await.is_problem(413, "too_large");
    let head = Head { event: events[1].event.id, hash: events[1].hash };
    let stolen = lot.exit.push_body(head, &bytes(&events));
    let reply = lot.world.send(lot.entrance.request(&lot.world, EVENTS_PATH, stolen)).await;
    reply.is_problem(400, "malformed");
    let reply = lot.world.send(lot.entrance.request(&lot.world, EVENTS_PATH, b"junk".to_vec())).await;
    reply.is_problem(400, "malformed");
    assert_eq!(lot.inbox().await["applied"], 0);
    let large = lot.entrance.push(&lot.world, &[vec![0; 250 * 1024]]).await;
    assert!(parked(&large.outcomes[0]), "a full push is read");
    assert_eq!(Event::decode(&events[0].bytes).unwrap(), events[0].event);
}
