//! Two histories of one device: found at once, both kept, nothing more believed until somebody has looked.

use gate_core::sync::v1::{JournalHead, Push};
use serde_bytes::ByteBuf;

use super::*;

fn head(event: &SealedEvent) -> Head {
    Head { event: event.event.id, hash: event.hash }
}

async fn conflicts(lot: &Lot, query: &str) -> Value {
    lot.world.get(&lot.world.at(&format!("conflicts{query}"))).await.ok().json()
}

async fn resolve(lot: &Lot, conflict: &Value, action: &str) -> crate::testing::Reply {
    let path = lot.world.at(&format!("conflicts/{}/resolve", conflict["id"].as_str().unwrap()));
    lot.world.post(&path, json!({"action": action, "note": "looked at the card"})).await
}

async fn figures(lot: &Lot) -> Value {
    let figures = lot.world.get(&lot.world.at("figures")).await.ok().json();
    assert_eq!(figures["balanced"], true, "{figures}");
    figures
}

/// Everything by which a second history shows itself, and what never is one.
#[tokio::test]
async fn a_second_history_is_found_whatever_shows_it_and_a_repeat_or_a_crash_never_is_one() {
    type Tell = fn(&Lot, &[SealedEvent]) -> Vec<Vec<u8>>;
    let cases: [(&str, Option<&str>, Tell); 10] = [
        ("sent again after a lost answer", None, |_, events| bytes(events)),
        ("a part sent again", None, |_, events| bytes(&events[1..3])),
        ("restarted at once, twice", None, |lot, events| {
            let (first, opened) = lot.entrance.journal(12, Some(head(events.last().unwrap())));
            let (_, again) = lot.entrance.journal(13, Some(first.head()));
            vec![opened.bytes, again.bytes]
        }),
        ("restarted with events that were not sent yet", None, |lot, events| {
            let (mut journal, _) = lot.entrance.journal(11, None);
            for event in &events[1..] {
                journal.append(event.event.lane, event.event.at, event.event.body.clone());
            }
            let more = journal.append(None, now(NOON + 70_000), noise());
            let (_, opened) = lot.entrance.journal(12, Some(journal.head()));
            vec![more.bytes, opened.bytes]
        }),
        ("the same number with other words", Some("fork"), |_, events| {
            let mut rewritten = events[2].event.clone();
            rewritten.at.wall_ms += 1;
            vec![rewritten.encode()]
        }),
        ("a link that does not fit", Some("fork"), |_, events| {
            let mut unlinked = events[3].event.clone();
            unlinked.id.seq += 1;
            unlinked.previous = Hash::ZERO;
            vec![unlinked.encode()]
        }),
        ("two journals after one head", Some("fork"), |lot, events| {
            let last = head(events.last().unwrap());
            vec![lot.entrance.journal(12, Some(last)).1.bytes, lot.entrance.journal(13, Some(last)).1.bytes]
        }),
        ("a journal from nothing", Some("fork"), |lot, _| vec![lot.entrance.journal(12, None).1.bytes]),
        ("an older state of the card", Some("journal_shorter"), |lot, events| {
            vec![lot.entrance.journal(12, Some(head(&events[1]))).1.bytes]
        }),
        ("another history before the head", Some("fork"), |lot, events| {
            let other = Head { hash: Hash([9; 32]), ..head(events.last().unwrap()) };
            vec![lot.entrance.journal(12, Some(other)).1.bytes]
        }),
    ];
    for (name, kind, tell) in cases {
        let lot = Lot::new(1).await;
        let events = lot.morning(vec![noise(), noise()]);
        lot.entrance.push(&lot.world, &bytes(&events)).await;
        let sent = tell(&lot, &events);
        lot.entrance.push(&lot.world, &sent).await;
        let found = conflicts(&lot, "").await;
        let Some(kind) = kind else {
            assert_eq!(found, json!([]), "{name}");
            lot.entrance.push(&lot.world, &sent).await;
            continue;
        };
        assert_eq!(found.as_array().unwrap().len(), 1, "{name}: {found}");
        assert_eq!(found[0]["kind"], kind, "{name}");
        let raised = found[0]["id"].clone();
        // From now on nothing is believed, and everything kept.
        let (mut journal, opened) = lot.entrance.journal(40, Some(head(events.last().unwrap())));
        let later = [opened.bytes, journal.append(None, now(NOON + 90_000), noise()).bytes];
        let before = figures(&lot).await["parked"].as_i64().unwrap();
        for _ in 0..2 {
            lot.entrance.try_push(&lot.world, &later).await.is_problem(403, "device_fenced");
        }
        assert_eq!(figures(&lot).await["parked"].as_i64().unwrap(), before + 2, "{name}: once");
        // The same evidence once more is the same conflict.
        lot.entrance.try_push(&lot.world, &sent).await.is_problem(403, "device_fenced");
        let again = conflicts(&lot, "").await;
        assert_eq!((again.as_array().unwrap().len(), &again[0]["id"]), (1, &raised), "{name}");
        // It still hears of revocations, and gets no rights.
        lot.entrance.pull(&lot.world, 0, Hash::ZERO).await.ok();
        assert!(events.iter().all(|event| Event::decode(&event.bytes).is_ok()));
    }
}

#[tokio::test]
async fn a_card_that_was_put_back_goes_on_when_a_manager_says_so() {
    let lot = Lot::and_one_more(2).await;
    let events = lot.morning(vec![noise()]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    // The card is set back to its state after the first admission, and works on.
    let (mut restored, opened) = lot.entrance.journal(12, Some(head(&events[1])));
    let admitted = restored.append(None, now(NOON + 80_000), lot.entrance.admit(&lot.spare, &lot.keys, NOON + 80_000));
    let sent = [opened.bytes, admitted.bytes];
    let reply = lot.entrance.push(&lot.world, &sent).await;
    assert_eq!(reply.outcomes[0], ItemOutcome::Created, "that it began is a fact");
    assert!(parked(&reply.outcomes[1]), "what follows is kept aside: {:?}", reply.outcomes);
    assert_eq!(lot.occupancy().await, 2, "and counts nowhere");
    let found = conflicts(&lot, "?kind=journal_shorter").await;
    let shown =
        lot.world.get(&lot.world.at(&format!("conflicts/{}", found[0]["id"].as_str().unwrap()))).await.ok().json();
    assert_eq!(shown["events"][0]["kind"], "epoch_opened");
    assert_eq!(shown["fenced"], true, "its gate waits");
    assert_eq!(shown["against"][0]["id"], events[2].event.id.to_string(), "{shown}");
    let give = async || {
        let path = lot.world.at(&format!("zones/{}", lot.entrance.zone));
        let body = json!({"rights_holder": lot.entrance.enrolled.gate.to_string()});
        lot.world.send(lot.world.request("PATCH", &path, Some(body))).await
    };
    give().await.is_problem(409, "rights_held");
    resolve(&lot, &found[0], "close").await.is_problem(409, "fenced");
    resolve(&lot, &found[0], "release").await.ok();
    let shown =
        lot.world.get(&lot.world.at(&format!("conflicts/{}", found[0]["id"].as_str().unwrap()))).await.ok().json();
    assert_eq!(shown["fenced"], false);
    assert_eq!(lot.occupancy().await, 3, "what was kept aside is applied");
    assert_eq!(figures(&lot).await["parked"], 0);
    let reply = lot.entrance.push(&lot.world, &sent).await;
    assert_eq!(reply.outcomes, [ItemOutcome::Exists, ItemOutcome::Exists]);
    let more = restored.append(None, now(NOON + 81_000), noise());
    let reply = lot.entrance.push(&lot.world, &[more.bytes]).await;
    assert_eq!(reply.outcomes, [ItemOutcome::Created], "it is believed again");
    assert_eq!(conflicts(&lot, "").await, json!([]));
    assert_eq!(conflicts(&lot, "?state=resolved").await[0]["note"], "looked at the card");
    resolve(&lot, &found[0], "release").await.is_problem(409, "resolved");
    give().await.ok();
}

#[tokio::test]
async fn a_copied_device_is_withdrawn_and_its_gate_begins_again_with_a_new_one() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![noise()]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    let last = head(events.last().unwrap());
    for epoch in [12, 13] {
        lot.entrance.push(&lot.world, &[lot.entrance.journal(epoch, Some(last)).1.bytes]).await;
    }
    let found = conflicts(&lot, "?kind=fork").await;
    assert_eq!(found[0]["owner"]["name"], "Owner");
    resolve(&lot, &found[0], "withdraw").await.ok();
    lot.entrance.try_push(&lot.world, &bytes(&events)).await.is_problem(403, "device_revoked");
    let new = lot.world.enrol(lot.entrance.enrolled.gate, lot.entrance.lane, lot.entrance.zone, Direction::In).await;
    let (_, opened) = new.journal(1, None);
    let reply = new.push(&lot.world, &[opened.bytes]).await;
    assert_eq!(reply.outcomes, [ItemOutcome::Created]);
}

/// Both orders of a clone's events and the original's show the same fork.
#[tokio::test]
async fn the_original_that_goes_on_after_its_copy_was_heard_is_found_too() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![noise(), noise()]);
    lot.entrance.push(&lot.world, &bytes(&events[..3])).await;
    let (_, copy) = lot.entrance.journal(12, Some(head(&events[2])));
    lot.entrance.push(&lot.world, &[copy.bytes]).await;
    assert_eq!(conflicts(&lot, "").await, json!([]), "so far one history");
    let reply = lot.entrance.push(&lot.world, &bytes(&events[3..])).await;
    assert_eq!(reply.outcomes[0], ItemOutcome::Created, "both histories are kept");
    assert_eq!(conflicts(&lot, "").await[0]["kind"], "journal_shorter");
    lot.entrance.try_push(&lot.world, &bytes(&events)).await.is_problem(403, "device_fenced");
}

#[tokio::test]
async fn an_older_state_is_found_also_where_the_next_event_was_never_heard() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![noise(), noise()]);
    // The gate put one event aside; what came after it was taken.
    let mut heard = bytes(&events);
    heard.remove(2);
    lot.entrance.push(&lot.world, &heard).await;
    assert_eq!(conflicts(&lot, "").await, json!([]));
    lot.entrance.push(&lot.world, &[lot.entrance.journal(12, Some(head(&events[1]))).1.bytes]).await;
    let found = conflicts(&lot, "").await;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["kind"]), (1, &json!("journal_shorter")), "{found}");
}

/// nothing of the lost tail had come, but the device had shown that it was there.
#[tokio::test]
async fn a_tail_that_was_only_shown_is_missed_too() {
    for (name, goes_on_from, kind) in [("what it showed", 4, None), ("an older card", 2, Some("journal_shorter"))] {
        let lot = Lot::new(1).await;
        let events = lot.morning(vec![noise(), noise(), noise()]);
        // The first page of a backlog: the head is far beyond it.
        let body = lot.entrance.push_body(head(&events[4]), &bytes(&events[..2]));
        lot.world.send(lot.entrance.request(&lot.world, EVENTS_PATH, body)).await.ok();
        let mut sent = bytes(&events[2..=goes_on_from]);
        sent.push(lot.entrance.journal(12, Some(head(&events[goes_on_from]))).1.bytes);
        lot.entrance.push(&lot.world, &sent).await;
        let found = conflicts(&lot, "").await;
        assert_eq!(found[0]["kind"].as_str(), kind, "{name}: {found}");
    }
}

/// A manager let the device go on; the same image once more is another card that was put back.
#[tokio::test]
async fn the_same_older_card_put_back_again_is_found_again() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    let last = head(events.last().unwrap());
    for (epoch, open) in [(12, 0), (13, 1), (14, 1)] {
        lot.world.later(1000);
        lot.entrance.push(&lot.world, &[lot.entrance.journal(epoch, Some(last)).1.bytes]).await;
        let found = conflicts(&lot, "?kind=fork").await;
        assert_eq!(found.as_array().unwrap().len(), open, "{epoch}: {found}");
        if open > 0 {
            lot.entrance.try_push(&lot.world, &[]).await.is_problem(403, "device_fenced");
            resolve(&lot, &found[0], "release").await.ok();
        }
    }
}

/// Between the look at a request and its turn at the database the device may have been withdrawn.
#[tokio::test]
async fn what_waits_for_its_turn_while_the_device_is_withdrawn_is_kept_aside() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![]);
    let push = Push {
        head: ByteBuf::from(
            JournalHead { venue: lot.entrance.enrolled.venue, head: head(&events[1]) }.sign(&lot.entrance.key),
        ),
        events: bytes(&events).into_iter().map(ByteBuf::from).collect(),
    };
    let id = lot.entrance.enrolled.device;
    let device = lot.world.app.db().read(async |tx| crate::auth::known_device(tx, id).await).await.unwrap().unwrap();
    let path = lot.world.at(&format!("devices/{}/revoke", lot.entrance.enrolled.device));
    lot.world.post(&path, json!({})).await.ok();
    let app = &lot.world.app;
    let told =
        app.change(device.venue, async |tx| crate::ingest::receive(tx, app, &device, &push).await).await.unwrap();
    assert_eq!(told.unwrap_err(), crate::ingest::Unbelieved::Withdrawn);
    assert_eq!((lot.occupancy().await, &figures(&lot).await["parked"]), (0, &json!(2)));
}

/// what one device says of a recount is signed for all gates, and one that they refuse would stop everything after it.
#[tokio::test]
async fn a_recount_that_gates_would_refuse_is_kept_aside_and_they_hear_what_follows() {
    let recount = |change: fn(&mut Recount)| {
        move |zone| {
            let mut recount = Recount { zone, generation: 1, observed: 3, at_ms: NOON, frontier: vec![], before: None };
            change(&mut recount);
            recount
        }
    };
    let heard = |epoch, seq| EventId { device: DeviceId(Uuid::nil()), epoch, seq };
    for (name, made, taken) in [
        ("an honest one", recount(|_| {}), true),
        ("before all time", recount(|recount| recount.at_ms = -1), false),
        ("after all time", recount(|recount| recount.at_ms = i64::MAX), false),
        ("far beyond the last", recount(|recount| recount.generation = 1 << 39), false),
    ] {
        let lot = Lot::new(1).await;
        let (mut journal, opened) = lot.entrance.journal(11, None);
        let said = journal.append(None, now(NOON), EventBody::Recounted(made(lot.entrance.zone)));
        let reply = lot.entrance.push(&lot.world, &[opened.bytes, said.bytes]).await;
        assert_eq!(parked(&reply.outcomes[1]), !taken, "{name}: {:?}", reply.outcomes);
        assert_eq!(lot.occupancy().await, if taken { 3 } else { 0 }, "{name}");
        let path = lot.world.at(&format!("zones/{}/recount", lot.entrance.zone));
        lot.world.post(&path, json!({"observed": 7, "reason": "walked the rows"})).await.ok();
        for change in lot.exit.replica(&lot.world).await {
            gate_core::sync::plausible::check(&change).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }
    let lot = Lot::new(1).await;
    let (mut journal, opened) = lot.entrance.journal(11, None);
    let mut said = recount(|_| {})(lot.entrance.zone);
    said.frontier = vec![heard(u64::MAX, 0)];
    let said = journal.append(None, now(NOON), EventBody::Recounted(said));
    let reply = lot.entrance.push(&lot.world, &[opened.bytes, said.bytes]).await;
    assert!(parked(&reply.outcomes[1]), "{:?}", reply.outcomes);
}

/// A message that took long says less than is held; only one that was signed later says that something is gone.
#[tokio::test]
async fn a_late_message_is_no_loss_and_a_shorter_journal_is_one() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    let short = lot.entrance.push_body(head(&events[0]), &[]);
    lot.world.send(lot.entrance.request(&lot.world, EVENTS_PATH, short.clone())).await.ok();
    assert_eq!(conflicts(&lot, "").await, json!([]));
    lot.world.later(5000);
    lot.world.send(lot.entrance.request(&lot.world, EVENTS_PATH, short)).await.ok();
    assert_eq!(conflicts(&lot, "").await[0]["kind"], "journal_shorter");
    let other = Head { hash: Hash([3; 32]), ..head(&events[1]) };
    let body = lot.entrance.push_body(other, &[]);
    lot.world.send(lot.entrance.request(&lot.world, EVENTS_PATH, body)).await.ok();
    assert_eq!(conflicts(&lot, "?kind=fork").await.as_array().unwrap().len(), 1);
    lot.entrance.try_push(&lot.world, &[]).await.is_problem(403, "device_fenced");
}

#[tokio::test]
async fn numbers_that_no_journal_reaches_are_kept_aside() {
    let lot = Lot::new(1).await;
    let events = lot.morning(vec![noise()]);
    lot.entrance.push(&lot.world, &bytes(&events)).await;
    let changed = |change: fn(&mut Event)| {
        let mut event = events[2].event.clone();
        event.id.seq = 3;
        change(&mut event);
        event.encode()
    };
    let zone = lot.entrance.zone;
    let leave = |event: &mut Event, zones: Vec<gate_core::ids::ZoneId>| {
        event.body = EventBody::ExitButton { generations: vec![0; zones.len()], zones };
    };
    let many = {
        let mut event = events[2].event.clone();
        event.id.seq = 3;
        event.previous = events[2].hash;
        leave(&mut event, vec![zone; 100]);
        event.encode()
    };
    for (name, item) in [
        ("far ahead", changed(|event| event.id.seq = 1_000_000_000_000)),
        ("no such number", changed(|event| event.id.seq = u64::MAX)),
        ("a hundred zones", many),
    ] {
        let reply = lot.entrance.push(&lot.world, &[item]).await;
        assert!(parked(&reply.outcomes[0]), "{name}: {:?}", reply.outcomes);
    }
    assert_eq!(figures(&lot).await["open"]["poison"], 3);
}
