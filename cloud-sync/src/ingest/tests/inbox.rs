//! The inbox: each contradiction once, with its evidence, whose it is, and what became of it.

use super::*;

async fn listed(lot: &Lot, query: &str) -> Vec<Value> {
    let reply = lot.world.get(&lot.world.at(&format!("conflicts{query}"))).await.ok();
    reply.json().as_array().unwrap().clone()
}

async fn whole(lot: &Lot, conflict: &Value) -> Value {
    let path = lot.world.at(&format!("conflicts/{}", conflict["id"].as_str().unwrap()));
    lot.world.get(&path).await.ok().json()
}

#[tokio::test]
async fn a_pass_that_was_voided_while_the_gate_was_apart_is_flagged_with_its_evidence() {
    for annulled in [false, true] {
        let lot = Lot::new(1).await;
        let path = lot.world.at(&format!("passes/{}/revoke", lot.ctis[0]));
        lot.world.post(&path, json!({})).await.ok();
        lot.world.later(3_600_000);
        let at = NOON + 60_000;
        let (mut journal, opened) = lot.entrance.journal(11, None);
        let admitted = journal.append(None, now(at), lot.entrance.admit(&lot.texts[0], &lot.keys, at));
        let mut sent = vec![opened.bytes, admitted.bytes];
        if annulled {
            sent.push(journal.append(None, now(at + 1), EventBody::Annulled { of: admitted.event.id }).bytes);
        }
        let reply = lot.entrance.push(&lot.world, &sent).await;
        assert!(!reply.outcomes.iter().any(parked), "what happened is a fact");
        let found = listed(&lot, "").await;
        if annulled {
            assert!(found.is_empty(), "{found:?}");
            continue;
        }
        assert_eq!((found.len(), &found[0]["kind"]), (1, &json!("revoked_use")));
        assert_eq!(found[0]["pass"].as_str().unwrap().split('-').nth(1), Some(lot.ctis[0].as_str()));
        let shown = whole(&lot, &found[0]).await;
        assert_eq!(shown["events"][0]["id"], admitted.event.id.to_string());
        assert_eq!(shown["events"][0]["bytes"], hex::encode(admitted.event.encode()));
    }
}

/// A use before the voiding is none of the inbox's business, and a block that was lifted flags only what fell into it.
#[tokio::test]
async fn only_uses_while_the_pass_was_void_are_flagged() {
    let lot = Lot::new(3).await;
    let act = async |cti: &str, action: &str| {
        lot.world.post(&lot.world.at(&format!("passes/{cti}/{action}")), json!({})).await.ok();
    };
    lot.world.later(10_000);
    act(&lot.ctis[0], "revoke").await;
    act(&lot.ctis[1], "block").await;
    lot.world.later(10_000);
    act(&lot.ctis[1], "unblock").await;
    lot.world.later(10_000);
    let (mut journal, opened) = lot.entrance.journal(11, None);
    let mut sent = vec![opened.bytes];
    for (pass, after) in [(0, 9000), (1, 25_000), (2, 15_000), (1, 15_000)] {
        let at = NOON + after;
        sent.push(journal.append(None, now(at), lot.entrance.admit(&lot.texts[pass], &lot.keys, at)).bytes);
    }
    lot.entrance.push(&lot.world, &sent).await;
    let found = listed(&lot, "?kind=revoked_use").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["at_ms"], NOON + 15_000);
    assert_eq!(found[0]["pass"].as_str().unwrap().split('-').nth(1), Some(lot.ctis[1].as_str()));
}

/// Which use is the extra one follows from when they happened, not from when they were heard.
#[tokio::test]
async fn the_later_of_two_uses_is_the_extra_one_also_if_it_is_heard_first() {
    let lot = Lot::new(1).await;
    let south = lot.world.device(lot.entrance.zone, Direction::In).await;
    let use_at = |device: &TestDevice, epoch, at| {
        let (mut journal, opened) = device.journal(epoch, None);
        let used = journal.append(None, now(at), device.admit(&lot.texts[0], &lot.keys, at));
        (used.event.id, journal, vec![opened.bytes, used.bytes])
    };
    let (late, _, late_events) = use_at(&south, 1, NOON + 9000);
    south.push(&lot.world, &late_events).await;
    assert!(listed(&lot, "").await.is_empty());
    let (early, mut journal, early_events) = use_at(&lot.entrance, 2, NOON);
    lot.entrance.push(&lot.world, &early_events).await;
    let found = listed(&lot, "").await;
    assert_eq!((found.len(), &found[0]["kind"], &found[0]["product_id"]), (1, &json!("double_use"), &json!(1)));
    let shown = whole(&lot, &found[0]).await;
    assert_eq!(
        (&shown["events"][0]["id"], &shown["against"][0]["id"]),
        (&json!(late.to_string()), &json!(early.to_string()))
    );
    let figures = lot.world.get(&lot.world.at("figures")).await.ok().json();
    assert_eq!(figures["double_uses"], json!([{"product_id": 1, "extra_uses": 1}]));
    let products = lot.world.get(&lot.world.at("products")).await.ok().json();
    assert_eq!(
        products[0]["exposure"],
        json!({"gates": 2, "extra_in_all": 1, "extra_per_day": null, "extra_uses": 1}),
        "two entrances: at most one extra, and there was one"
    );
    // The first one did not happen: then the second is the only one.
    let back = journal.append(None, now(NOON + 1), EventBody::NotOpened { of: early, unknown: false });
    lot.entrance.push(&lot.world, &[back.bytes]).await;
    assert!(listed(&lot, "").await.is_empty());
}

#[tokio::test]
async fn poison_has_an_owner_can_be_given_away_tried_again_and_resolved_and_all_that_is_on_record() {
    let lot = Lot::new(1).await;
    let zone = gate_core::ids::ZoneId(Uuid::from_u128(77));
    let (mut journal, opened) = lot.entrance.journal(11, None);
    let button = journal.append(None, now(NOON), EventBody::ExitButton { zones: vec![zone], generations: vec![0] });
    let after = journal.append(None, now(NOON), noise());
    let reply = lot.entrance.push(&lot.world, &[opened.bytes, button.bytes, after.bytes]).await;
    assert!(parked(&reply.outcomes[1]));
    let held = receipt(&lot, &lot.entrance, &reply.receipts[0]).await;
    assert_eq!(held.event.seq, 2, "one bad event does not keep the gate from letting go of the rest");
    let found = listed(&lot, "").await;
    assert_eq!((found.len(), &found[0]["kind"], &found[0]["owner"]["name"]), (1, &json!("poison"), &json!("Owner")));
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let at = |what: &str| lot.world.at(&format!("conflicts/{id}/{what}"));
    lot.world.post(&at("assign"), json!({"person_id": "nobody"})).await.is_problem(422, "invalid");
    let me = lot.world.get("/v1/session").await.ok().json()["user"]["id"].clone();
    let people = lot.world.get(&lot.world.at("people")).await.ok().json();
    assert_eq!(people, json!([{"id": me, "name": "Owner", "role": "owner"}]), "to whom it can be given");
    let given = lot.world.post(&at("assign"), json!({"person_id": me})).await.ok().json();
    assert_eq!(given["owner"]["id"], me);
    lot.world.post(&at("resolve"), json!({"note": ""})).await.is_problem(422, "invalid");
    lot.world.post(&at("resolve"), json!({"action": "retry", "note": "try"})).await.is_problem(409, "still_aside");
    lot.world.post(&at("resolve"), json!({"action": "release", "note": "x"})).await.is_problem(409, "not_fenced");
    assert_eq!(listed(&lot, "").await.len(), 1, "nothing was done");
    let venue = lot.entrance.enrolled.venue;
    let made = lot
        .world
        .app
        .db()
        .write(async |tx| {
            tx.execute(
                "INSERT INTO zones (venue_id, zone_id, name, parent_id, capacity, warn_percent, best_effort, rights_holder, fullness, basis, created_ms) SELECT venue_id, $1, name, parent_id, capacity, warn_percent, best_effort, rights_holder, fullness, basis, created_ms FROM zones WHERE venue_id = $2",
                crate::store::params![zone, venue],
            )
            .await
        })
        .await;
    made.unwrap();
    let done =
        lot.world.post(&at("resolve"), json!({"action": "retry", "note": "the zone is there now"})).await.ok().json();
    assert_eq!((&done["state"], &done["standing"], &done["resolved_by"]), (&json!("resolved"), &json!(false), &me));
    let inbox = lot.inbox().await;
    assert_eq!((inbox["applied"].as_u64(), inbox["parked"].as_u64()), (Some(3), Some(0)));
    assert!(listed(&lot, "").await.is_empty());
    assert_eq!(listed(&lot, "?state=all").await.len(), 1);
    lot.world.get(&lot.world.at("conflicts?kind=nonsense")).await.is_problem(422, "invalid");
    let audit = lot
        .world
        .app
        .db()
        .read(async |tx| {
            tx.query(
                "SELECT action, before_value, after_value FROM audit WHERE action LIKE 'conflict.%' ORDER BY action",
                &[],
            )
            .await
        })
        .await
        .map_err(|error: crate::store::DbError| error)
        .unwrap();
    let actions: Vec<String> = audit.iter().map(|row| row.get(0).unwrap()).collect();
    assert_eq!(actions, ["conflict.assign", "conflict.resolve"]);
    let states =
        |column| serde_json::from_str::<Value>(&audit[1].get::<String>(column).unwrap()).unwrap()["state"].clone();
    assert_eq!((states(1), states(2)), (json!("open"), json!("resolved")));
}

#[tokio::test]
async fn the_inbox_comes_in_pages_that_miss_and_double_nothing() {
    let lot = Lot::new(1).await;
    let poison: Vec<Vec<u8>> = (0..7u8).map(|n| vec![n]).collect();
    lot.entrance.push(&lot.world, &poison).await;
    let (mut path, mut seen) = (lot.world.at("conflicts?limit=3&kind=poison"), Vec::new());
    loop {
        let reply = lot.world.get(&path).await.ok();
        seen.extend(
            reply.json().as_array().unwrap().iter().map(|conflict| conflict["id"].as_str().unwrap().to_owned()),
        );
        let Some(link) = reply.headers.get("link") else { break };
        path = link.to_str().unwrap().trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!(seen.len(), 7);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
}

#[tokio::test]
async fn drift_is_clamped_said_aloud_and_mended_by_a_recount_of_the_office() {
    let lot = Lot::new(1).await;
    let zone = lot.entrance.zone;
    let (mut journal, opened) = lot.exit.journal(21, None);
    let mut sent = vec![opened.bytes];
    for n in 0..3 {
        sent.extend(leave(&mut journal, zone, 0, NOON + n).map(|event| event.bytes));
    }
    lot.exit.push(&lot.world, &sent).await;
    let shown = lot.overview().await["zones"][0].clone();
    assert_eq!(
        (&shown["occupancy"], &shown["low"], &shown["high"], &shown["drift"]),
        (&json!(0), &json!(0), &json!(0), &json!(3))
    );
    assert_eq!(listed(&lot, "").await[0]["kind"], "drift");
    let path = lot.world.at(&format!("zones/{zone}/recount"));
    lot.world.post(&path, json!({"observed": 5, "reason": " "})).await.is_problem(422, "invalid");
    let before = lot.exit.replica(&lot.world).await.len();
    let done = lot.world.post(&path, json!({"observed": 5, "reason": "walked the rows"})).await;
    assert_eq!(done.status, 201);
    assert_eq!((&done.json()["before"], &done.json()["after"]), (&json!(0), &json!(5)));
    assert_eq!(lot.occupancy().await, 5);
    assert!(listed(&lot, "").await.is_empty(), "the recount explains it");
    let told = lot.exit.replica(&lot.world).await.split_off(before);
    let Change::Count(tally) = told.last().unwrap() else { panic!("{told:?}") };
    assert_eq!((tally.basis.generation, super::super::merged(tally).occupancy()), (1, 5));
    // A second one follows the first in the same journal, and what was heard meanwhile counts over it.
    lot.world.later(60_000);
    lot.exit.push(&lot.world, &bytes(&leave(&mut journal, zone, 1, NOON + 60_000))).await;
    assert_eq!(lot.occupancy().await, 4);
    lot.world.post(&path, json!({"observed": 7, "reason": "again"})).await.ok();
    assert_eq!(lot.occupancy().await, 7);
    // Nothing was overwritten: made anew from the events the number is the same.
    let (app, venue) = (&lot.world.app, lot.entrance.enrolled.venue);
    let dump = async || {
        app.db().read(async |tx| Ok::<_, crate::store::DbError>(crate::ingest::dump(tx, venue).await)).await.unwrap()
    };
    let once = dump().await;
    app.change(venue, async |tx| crate::ingest::rebuild(tx, app, venue).await).await.unwrap();
    assert_eq!(once, dump().await);
    assert_eq!(lot.occupancy().await, 7);
}

#[tokio::test]
async fn more_who_leave_than_came_are_told_again_after_somebody_has_looked() {
    let lot = Lot::new(1).await;
    let zone = lot.entrance.zone;
    let (mut journal, opened) = lot.exit.journal(21, None);
    lot.exit.push(&lot.world, &[opened.bytes]).await;
    for generation in 0..3 {
        let at = NOON + 60_000 * i64::try_from(generation).unwrap();
        lot.world.later(60_000);
        lot.exit.push(&lot.world, &bytes(&leave(&mut journal, zone, generation, at + 30_000))).await;
        let found = listed(&lot, "?kind=drift").await;
        assert_eq!(found.len(), 1, "after recount {generation}: {found:?}");
        let path = lot.world.at(&format!("conflicts/{}/resolve", found[0]["id"].as_str().unwrap()));
        lot.world.post(&path, json!({"action": "close", "note": "somebody jumped over the fence"})).await.ok();
        assert!(listed(&lot, "?kind=drift").await.is_empty());
        let path = lot.world.at(&format!("zones/{zone}/recount"));
        lot.world.post(&path, json!({"observed": 0, "reason": "nobody is there"})).await.ok();
    }
    assert_eq!(listed(&lot, "?kind=drift&state=resolved").await.len(), 3);
}

#[tokio::test]
async fn an_opening_of_which_nobody_knows_widens_the_number_until_it_is_known() {
    let lot = Lot::new(2).await;
    let of = lot.morning(vec![])[1].event.id;
    let events = lot.morning(vec![EventBody::Opened { of, watched: false }]);
    lot.entrance.push(&lot.world, &bytes(&events[..3])).await;
    assert_eq!(lot.interval().await, (0, 2, 2));
    lot.entrance.push(&lot.world, &bytes(&events[3..])).await;
    assert_eq!(lot.interval().await, (1, 2, 2), "one of them certainly came in");
}

#[tokio::test]
async fn whoever_stood_under_the_open_barrier_of_a_gate_that_fell_silent_may_have_turned_back() {
    for (watched, low) in [(true, 0), (false, 1)] {
        let lot = Lot::new(1).await;
        let of = lot.morning(vec![])[1].event.id;
        let through = EventBody::Passed { of: Some(of), direction: Direction::In };
        let events = lot.morning(vec![EventBody::Opened { of, watched }, through]);
        let numbers = async || {
            let (low, occupancy, _) = lot.interval().await;
            (low, occupancy)
        };
        lot.entrance.push(&lot.world, &bytes(&events[..3])).await;
        assert_eq!(numbers().await, (1, 1), "heard just now");
        lot.world.later(6 * 60_000);
        assert_eq!(numbers().await, (low, 1), "silent, watched: {watched}");
        lot.entrance.push(&lot.world, &bytes(&events[3..])).await;
        lot.world.later(6 * 60_000);
        assert_eq!(numbers().await, (1, 1), "went through");
    }
}

#[tokio::test]
async fn a_gate_that_is_heard_again_and_has_still_to_tell_what_it_did_keeps_the_number_wide() {
    let lot = Lot::new(3).await;
    let events = lot.morning(vec![]);
    let bounds = async || {
        let (low, _, high) = lot.interval().await;
        (low, high)
    };
    lot.entrance.push(&lot.world, &bytes(&events[..2])).await;
    assert_eq!(bounds().await, (0, 1), "it is told what became of the first one later");
    // Away for ten minutes; then it asks what is new before it tells what it did.
    lot.world.later(10 * 60_000);
    lot.entrance.pull(&lot.world, 0, Hash::ZERO).await.ok();
    let (low, high) = bounds().await;
    assert!(low == 0 && high >= 3, "two more are in, and nobody has heard of them: {low} to {high}");
    lot.entrance.push(&lot.world, &bytes(&events[2..])).await;
    assert_eq!(bounds().await, (0, 3), "all is told");
}
