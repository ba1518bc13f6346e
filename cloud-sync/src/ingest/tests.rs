//! Events through the real router: once, in any order, with poison between them, from devices that lie.

mod fencing;
mod inbox;
mod orders;
mod restored;
mod taken_back;

use gate_core::canonical;
use gate_core::event::{Event, EventBody, Head, Part};
use gate_core::ids::{DeviceId, Direction, EventId, GateId, Hash, VenueId, ZoneId};
use gate_core::journal::{Journal, SealedEvent};
use gate_core::occupancy::Recount;
use gate_core::pass::Keyring;
use gate_core::product::Rule;
use gate_core::reason::Reason;
use gate_core::statement::{Statement, StatementBody};
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
    /// A pass that the morning does not use.
    spare: String,
    spare_cti: String,
}

impl Lot {
    async fn new(passes: usize) -> Self {
        Self::with_spare(passes, 0).await
    }

    async fn and_one_more(passes: usize) -> Self {
        Self::with_spare(passes, 1).await
    }

    async fn with_spare(passes: usize, spare: usize) -> Self {
        Self::at(World::new().await, passes, spare).await
    }

    async fn at(world: World, passes: usize, spare: usize) -> Self {
        let zone = world.zone(10).await;
        let entrance = world.device(zone, Direction::In).await;
        let exit = world.device(zone, Direction::Out).await;
        let vendor = world.vendor("Bakery").await;
        let made = world.batch("k", &world.batch_of(&vendor, passes + spare)).await.ok().json();
        let batch = made["batch_id"].as_str().unwrap().to_owned();
        let keys = keyring(&entrance.replica(&world).await, &entrance);
        let mut texts = crate::routes::batch_texts(&world.app, entrance.enrolled.venue, &batch).await;
        let whole = world.get(&world.at(&format!("batches/{batch}"))).await.ok().json();
        let mut ctis: Vec<String> =
            whole["passes"].as_array().unwrap().iter().map(|p| p["cti"].as_str().unwrap().to_owned()).collect();
        let spare_cti = if spare > 0 { ctis.pop().unwrap() } else { String::new() };
        let spare = if spare > 0 { texts.pop().unwrap() } else { String::new() };
        Self { world, entrance, exit, keys, texts, ctis, spare, spare_cti }
    }

    async fn overview(&self) -> Value {
        self.world.get(&self.world.at("overview")).await.ok().json()
    }

    async fn occupancy(&self) -> u64 {
        self.overview().await["zones"][0]["occupancy"].as_u64().unwrap()
    }

    /// What the lot's number is at least, is, and is at most.
    async fn interval(&self) -> (i64, i64, i64) {
        let zone = self.overview().await["zones"][0].clone();
        (zone["low"].as_i64().unwrap(), zone["occupancy"].as_i64().unwrap(), zone["high"].as_i64().unwrap())
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

/// Somebody presses the exit button and drives out.
fn leave(journal: &mut Journal, zone: ZoneId, generation: u64, at_ms: i64) -> [SealedEvent; 2] {
    let button = EventBody::ExitButton { zones: vec![zone], generations: vec![generation] };
    let asked = journal.append(None, now(at_ms), button);
    let of = asked.event.id;
    [asked, journal.append(None, now(at_ms), EventBody::Opened { of, watched: false })]
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
    let [asked, gone] = leave(&mut journal, lot.exit.zone, 0, NOON + 5000);
    let before = lot.exit.replica(&lot.world).await.len();
    lot.exit.push(&lot.world, &[opened.bytes, asked.bytes]).await;
    assert_eq!(lot.occupancy().await, 2, "nobody has left yet");
    lot.exit.push(&lot.world, &[gone.bytes]).await;
    assert_eq!(lot.occupancy().await, 1);
    let told = lot.exit.replica(&lot.world).await.split_off(before);
    let Some(Change::Count(tally)) = told.last() else { panic!("{told:?}") };
    assert_eq!(super::merged(tally).occupancy(), 1, "the place is given back when it is free");
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

/// How often is often enough: what the gates' own rules say, also where the product names no number.
#[tokio::test]
async fn too_many_uses_are_found_by_the_rules_of_the_product() {
    const DAY: i64 = 86_400_000;
    for (name, rules, at, reported) in [
        ("no rule means once", vec![], vec![0, 1000], 1),
        ("hours alone mean once", vec![Rule::Hours { weekdays: 127, from_min: 0, to_min: 0 }], vec![0, 1000], 1),
        ("twice a day, three times", vec![Rule::PerDay(2)], vec![0, 1000, 2000], 1),
        ("twice a day, on two days", vec![Rule::PerDay(2)], vec![0, 1000, DAY, DAY + 1000], 0),
        ("once a day, twice on the second", vec![Rule::PerDay(1)], vec![0, DAY, DAY + 1000], 1),
        ("the smallest number", vec![Rule::Times(5), Rule::Times(2)], vec![0, 1000, 2000], 1),
        ("both a day and in all", vec![Rule::PerDay(1), Rule::Times(2)], vec![0, DAY, 2 * DAY], 1),
        ("unlimited", vec![Rule::Unlimited], vec![0, 1000, 2000], 0),
    ] {
        let lot = Lot::new(1).await;
        // Two gates that heard nothing of each other take turns.
        let south = lot.world.device(lot.entrance.zone, Direction::In).await;
        let gates = [&lot.entrance, &south];
        let mut journals: Vec<_> = gates.iter().map(|gate| gate.journal(11, None)).collect();
        let mut sent: Vec<Vec<Vec<u8>>> = journals.iter().map(|(_, opened)| vec![opened.bytes.clone()]).collect();
        for (n, after) in at.iter().enumerate() {
            let gate = n % 2;
            let mut body = gates[gate].admit(&lot.texts[0], &lot.keys, NOON);
            let EventBody::Authorised { input, admission, .. } = &mut body else { panic!("{body:?}") };
            input.view.product.as_mut().unwrap().rules = rules.iter().map(Rule::text).collect();
            admission.service_day.0 += i32::try_from(after / DAY).unwrap();
            let event = journals[gate].0.append(None, now(NOON + after), body);
            sent[gate].push(event.bytes);
        }
        for (gate, events) in gates.iter().zip(&sent) {
            gate.push(&lot.world, events).await;
        }
        assert_eq!(lot.alerts().await.iter().filter(|kind| *kind == "double_use").count(), reported, "{name}");
    }
}

/// An event has two times: when it happened by the gate, and when it came here.
#[tokio::test]
async fn the_time_of_receipt_is_kept_beside_the_time_of_the_event() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![]);
    lot.world.later(3_600_000);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    lot.world.later(1000);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    let rows = lot
        .world
        .app
        .db()
        .read(async |tx| tx.query("SELECT at_ms, received_ms FROM events ORDER BY seq", &[]).await)
        .await
        .map_err(|error: crate::store::DbError| error)
        .unwrap();
    let times: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0).unwrap(), row.get(1).unwrap())).collect();
    assert_eq!(times, [(NOON, NOON + 3_600_000), (NOON, NOON + 3_600_000)], "a repeat changes neither");
}

/// Whatever order two gates' journals arrive in, cut into whatever pieces, the picture is the same to the byte.
#[tokio::test]
async fn fifty_interleavings_of_two_journals_give_one_picture() {
    let mut expected: Option<(String, String)> = None;
    for seed in 0..50u64 {
        // The same seed of randomness gives the same ids, so that pictures can be compared as they are.
        let lot = Lot::new(4).await;
        let zone = lot.entrance.zone;
        let base = lot.morning(vec![])[1].event.id;
        let lost = EventBody::NotOpened { of: base, unknown: false };
        let came = bytes(&lot.morning(vec![noise(), lost, EventBody::Annulled { of: base }]));
        let (mut journal, opened) = lot.exit.journal(21, None);
        let mut went = vec![opened.bytes];
        for n in 0..3 {
            went.extend(leave(&mut journal, zone, 0, NOON + 5000 + n).map(|event| event.bytes));
        }
        let of = Event::decode(&went[3]).unwrap().id;
        went.push(journal.append(None, now(NOON + 9000), EventBody::Annulled { of }).bytes);
        let mut order: Vec<(&TestDevice, Vec<u8>)> = came.into_iter().map(|event| (&lot.entrance, event)).collect();
        order.extend(went.into_iter().map(|event| (&lot.exit, event)));
        let drawn = crate::entropy::Entropy::seeded(seed + 1000);
        for at in (1..order.len()).rev() {
            let other = usize::try_from(u64::from_be_bytes(drawn.bytes()) % (at as u64 + 1)).unwrap();
            order.swap(at, other);
        }
        for (device, event) in &order {
            device.push(&lot.world, std::slice::from_ref(event)).await;
        }
        // And once whole, so that each gate has told its true head.
        for device in [&lot.entrance, &lot.exit] {
            let mut all: Vec<Vec<u8>> =
                order.iter().filter(|(of, _)| std::ptr::eq(*of, device)).map(|(_, event)| event.clone()).collect();
            all.sort_by_key(|event| Event::decode(event).unwrap().id.seq);
            device.push(&lot.world, &all).await;
        }
        let mut view = lot.overview().await;
        view["seq"] = Value::Null;
        let mut passes = Vec::new();
        for cti in &lot.ctis {
            passes.push(lot.world.get(&lot.world.at(&format!("passes/{cti}"))).await.ok().json());
        }
        let picture = (view.to_string(), json!(passes).to_string());
        let first = expected.get_or_insert_with(|| picture.clone());
        assert_eq!(*first, picture, "seed {seed}");
    }
    let (view, _) = expected.unwrap();
    assert!(
        view.contains("\"occupancy\":1"),
        "four in, one of them taken back; three out, one of them taken back: {view}"
    );
}

#[tokio::test]
async fn a_recount_starts_the_number_anew() {
    let lot = Lot::new(3).await;
    let zone = lot.entrance.zone;
    let frontier = vec![lot.morning(vec![])[2].event.id];
    let recount = |generation, observed| {
        EventBody::Recounted(Recount {
            zone,
            generation,
            observed,
            at_ms: NOON + 1500,
            frontier: frontier.clone(),
            before: None,
        })
    };
    // The recount heard of two of the three admissions and saw seven cars.
    let events = lot.morning(vec![recount(1, 7), recount(1, 99), recount(0, 50)]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    assert_eq!(lot.occupancy().await, 99 + 1, "of two of one generation the later event wins");
    let mut alerts = lot.alerts().await;
    alerts.sort();
    assert_eq!(alerts, ["over_capacity", "recount_lost"]);
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
        EventBody::Noise { reason: Reason::Unreadable, token: Hash::ZERO },
        EventBody::Repeated { of: EventId { seq: first.seq + 4, ..first }, more: 2 },
    ]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    let view = lot.overview().await;
    assert_eq!(
        view["refusals"],
        json!([
            {"reason": "not_a_pass", "count": 5, "title_en": "NOT A PASS", "title_ro": "NU ESTE UN PERMIS"},
            {"reason": "unreadable", "count": 3, "title_en": "NO CODE READ", "title_ro": "NICIUN COD CITIT"},
        ])
    );
    let gates = view["gates"].as_array().unwrap();
    assert_eq!((gates[0]["state"].as_str(), gates[0]["broken"][0].as_str()), (Some("degraded"), Some("camera")));
    assert_eq!((gates[0]["software"].as_str(), gates[0]["clock_trust"].as_str()), (Some("test/1"), Some("ntp")));
    assert_eq!(gates[1]["state"], "never_seen");
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
    // A gate believes no mere word that it is withdrawn, only what the root it pinned has signed.
    for reply in [lot.entrance.try_push(&lot.world, &events).await, lot.entrance.pull(&lot.world, 0, Hash::ZERO).await]
    {
        let problem = reply.is_problem(403, "device_revoked");
        let bytes = hex::decode(problem["statement"].as_str().unwrap()).unwrap();
        let enrolled = &lot.entrance.enrolled;
        let statement = Statement::open(&bytes, enrolled.venue, &enrolled.root).unwrap();
        let StatementBody::Device(told) = &statement.body else { panic!("{statement:?}") };
        assert_eq!((told.device, told.gate, told.revoked), (enrolled.device, enrolled.gate, true));
        let before = enrolled.statements.last().unwrap();
        assert!(statement.number > Statement::open(before, enrolled.venue, &enrolled.root).unwrap().number);
    }
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
                "INSERT INTO zones (venue_id, zone_id, name, parent_id, capacity, warn_percent, best_effort, rights_holder, fullness, basis, created_ms) SELECT venue_id, $1, name, parent_id, capacity, warn_percent, best_effort, rights_holder, fullness, basis, created_ms FROM zones WHERE venue_id = $2",
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
