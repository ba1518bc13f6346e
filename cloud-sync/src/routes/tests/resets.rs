//! Zones that begin again each day with nobody in them: who is told so, and those that no gate can reset.

use std::sync::atomic::Ordering;

use gate_core::event::EventBody;
use gate_core::reset::{self, Daily};

use super::*;
use crate::ingest;
use crate::testing::{NOON, now};

/// Three in the morning in Bucharest, the night after [`NOON`], Unix milliseconds.
const THREE: i64 = 1_795_222_800_000;

#[tokio::test]
async fn gates_hear_of_a_daily_reset_and_of_its_end() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let device = world.device(zone, Direction::In).await;
    let path = world.at(&format!("zones/{zone}"));
    let patch = async |body: Value| world.send(world.request("PATCH", &path, Some(body))).await;
    assert_eq!(world.get(&world.at("zones")).await.ok().json()[0]["daily_reset_min"], Value::Null);
    for (name, body, shown) in [
        ("on", json!({"daily_reset_min": 180}), json!(180)),
        ("something else", json!({"capacity": 11}), json!(180)),
        ("the same again", json!({"daily_reset_min": 180}), json!(180)),
        ("another time", json!({"daily_reset_min": 1439}), json!(1439)),
        ("off", json!({"daily_reset_min": null}), Value::Null),
    ] {
        assert_eq!(patch(body).await.ok().json()["daily_reset_min"], shown, "{name}");
        assert_eq!(world.get(&world.at("zones")).await.ok().json()[0]["daily_reset_min"], shown, "{name}");
    }
    patch(json!({"daily_reset_min": 1440})).await.is_problem(422, "invalid");
    patch(json!({"daily_reset_min": -1})).await.is_problem(422, "invalid");
    let made = json!({"name": "Pool", "capacity": 5, "daily_reset_min": 60});
    assert_eq!(world.post(&world.at("zones"), made).await.ok().json()["daily_reset_min"], 60);
    let told: Vec<_> = device
        .replica(&world)
        .await
        .into_iter()
        .filter_map(|change| if let Change::Reset(reset) = change { Some(reset.daily) } else { None })
        .collect();
    let daily = |minute| Some(Daily { minute, since_ms: NOON });
    assert_eq!(told, [daily(180), daily(1439), None, daily(60)]);
}

/// D54: the cloud resets only what no gate can, once a night.
#[tokio::test]
async fn a_zone_that_no_gate_holds_is_reset_by_the_cloud_once() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let device = world.device(zone, Direction::In).await;
    let path = world.at(&format!("zones/{zone}"));
    let patch = async |body: Value| world.send(world.request("PATCH", &path, Some(body))).await.ok();
    patch(json!({"daily_reset_min": 180})).await;
    world.post(&format!("{path}/recount"), json!({"observed": 7, "reason": "round"})).await.ok();
    let count = async || {
        let read = async |tx: &mut crate::store::Tx| ingest::tally(tx, device.enrolled.venue, zone).await;
        let tally = world.app.db().read(read).await.map_err(|error: crate::store::DbError| error).unwrap();
        (tally.basis.generation, ingest::merged(&tally).occupancy())
    };
    let reset_at = async |ms: i64| {
        world.clock.store(ms, Ordering::Relaxed);
        crate::office::reset_zones(&world.app).await.unwrap()
    };
    assert_eq!(count().await, (1, 7));
    assert_eq!(reset_at(THREE + 60_000).await, 0, "a gate holds the rights: it resets by itself");
    patch(json!({"rights_holder": null})).await;
    for (name, ms, resets, after) in [
        ("before three", THREE - 1, 0, (1, 7)),
        ("at three", THREE, 1, (2, 0)),
        ("again", THREE + 20_000, 0, (2, 0)),
        ("the whole day", THREE + 80_000_000, 0, (2, 0)),
        ("the next night", THREE + 86_400_000, 1, (3, 0)),
    ] {
        assert_eq!(reset_at(ms).await, resets, "{name}");
        assert_eq!(count().await, after, "{name}");
    }
    let rows = async |sql: &'static str| {
        world.app.db().read(async |tx| tx.query(sql, &[]).await).await.map_err(|e: crate::store::DbError| e).unwrap()
    };
    let kept: Vec<_> = rows("SELECT bytes FROM events WHERE kind = 'recounted' ORDER BY seq")
        .await
        .iter()
        .map(|row| gate_core::event::Event::decode(&row.get::<Vec<u8>>(0).unwrap()).unwrap().body)
        .filter_map(
            |body| if let EventBody::Recounted(recount) = body { Some((recount.before, recount.at_ms)) } else { None },
        )
        .collect();
    assert_eq!(kept, [(None, NOON), (Some(7), THREE), (Some(0), THREE + 86_400_000)], "what was there is kept");

    // A gate that holds the rights and has no device any more can't.
    patch(json!({"rights_holder": device.enrolled.gate})).await;
    let third = THREE + 2 * 86_400_000;
    assert_eq!(reset_at(third).await, 0);
    // Before the manager's session ends.
    world.clock.store(THREE, Ordering::Relaxed);
    world.post(&world.at(&format!("devices/{}/revoke", device.enrolled.device)), json!({})).await.ok();
    assert_eq!((reset_at(third).await, reset_at(third + 1).await), (1, 0));
}

/// The gate's own reset is one of many events that come late; what passed after it at another gate counts on it.
#[tokio::test]
async fn a_gates_reset_that_comes_late_counts_what_passed_since_and_says_what_was_there() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let entrance = world.device(zone, Direction::In).await;
    let other = world.device(zone, Direction::In).await;
    let over = |ms: i64| {
        let (why, direction) = ("lost".to_owned(), Direction::In);
        let body = EventBody::Overridden {
            staff: None,
            why,
            note: None,
            direction,
            zones: vec![zone],
            generations: vec![0],
            over: None,
        };
        (now(ms), body)
    };
    world.clock.store(THREE + 7_200_000, Ordering::Relaxed);
    let (mut journal, opened) = other.journal(12, None);
    let mut sent = vec![opened.bytes];
    for ms in [THREE - 5, THREE + 5, THREE + 3_600_000] {
        let (at, body) = over(ms);
        sent.push(journal.append(None, at, body).bytes);
    }
    other.push(&world, &sent).await;
    let (mut journal, opened) = entrance.journal(11, None);
    let recount = reset::recount(zone, &gate_core::occupancy::Basis::START, 3, THREE);
    let reset = journal.append(None, now(THREE + 7_000_000), EventBody::Recounted(recount));
    entrance.push(&world, &[opened.bytes, reset.bytes]).await;
    let read = async |tx: &mut crate::store::Tx| ingest::tally(tx, entrance.enrolled.venue, zone).await;
    let tally = world.app.db().read(read).await.map_err(|error: crate::store::DbError| error).unwrap();
    assert_eq!((tally.basis.generation, ingest::merged(&tally).occupancy()), (1, 2), "the two after three");
}
