//! What a manager can check for himself: decisions made again, exposure said in advance, audits, and limits.

use gate_core::event::EventBody;
use gate_core::sync::v1::EVENTS_PATH;

use super::*;
use crate::testing::{NOON, keyring, noise, now};

#[tokio::test]
async fn a_stored_decision_is_made_again_bit_for_bit_and_told_in_both_languages() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let device = world.device(zone, Direction::In).await;
    let vendor = world.vendor("Bakery").await;
    let made = world.batch("k", &world.batch_of(&vendor, 1)).await.ok().json();
    let keys = keyring(&device.replica(&world).await, &device);
    let texts = crate::routes::batch_texts(&world.app, device.enrolled.venue, made["batch_id"].as_str().unwrap()).await;
    let (mut journal, opened) = device.journal(11, None);
    let good = journal.append(Some(device.lane), now(NOON), device.admit(&texts[0], &keys, NOON));
    // Somebody changed what was granted after it was decided.
    let mut body = device.admit(&texts[0], &keys, NOON);
    let EventBody::Authorised { admission, .. } = &mut body else { panic!("an admission") };
    admission.charges_use = false;
    let bent = journal.append(Some(device.lane), now(NOON), body);
    let other = journal.append(None, now(NOON), noise());
    let used = gate_core::view::Uses { total: 1, ..Default::default() };
    let refused = journal.append(Some(device.lane), now(NOON), device.admit_with(&texts[0], &keys, NOON, used));
    let all = [&opened, &good, &bent, &other, &refused].map(|event| event.bytes.clone());
    device.push(&world, &all).await;
    let replay = async |event: &gate_core::journal::SealedEvent| {
        world.get(&world.at(&format!("events/{}/replay", event.event.id))).await
    };
    let told = replay(&good).await.ok().json();
    assert_eq!((&told["verdict"], &told["same"], &told["actor"]), (&json!("admit"), &json!(true), &json!("auto")));
    assert_eq!(told["event"], good.event.id.to_string());
    for language in ["en", "ro"] {
        assert!(told[language].as_array().is_some_and(|lines| lines.len() > 3), "{told}");
    }
    assert_ne!(told["en"], told["ro"]);
    assert_eq!(replay(&bent).await.ok().json()["same"], false);
    let told = replay(&refused).await.ok().json();
    assert_eq!((&told["verdict"], &told["same"], &told["actor"]), (&json!("refuse"), &json!(true), &Value::Null));
    replay(&other).await.is_problem(409, "no_decision");
    let unknown = gate_core::ids::EventId { seq: 99, ..good.event.id };
    world.get(&world.at(&format!("events/{unknown}/replay"))).await.is_problem(404, "not_found");
    world.get(&world.at("events/x/y/z/replay")).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_product_says_in_advance_how_often_it_can_be_used_too_often() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let mut gates = Vec::new();
    for direction in [Direction::In, Direction::In, Direction::In, Direction::Out] {
        gates.push(world.device(zone, direction).await);
    }
    let home = gates[0].enrolled.gate.to_string();
    let out = gates[3].enrolled.gate.to_string();
    let ask = |scope: &str, home: Option<&str>, number: u16| {
        json!({"name": "P", "number": number, "offline_scope": scope, "home_gate": home,
               "rules": [{"name": "times", "args": [4]}, {"name": "per_day", "args": [2]}]})
    };
    for (name, body) in [
        ("no home", ask("home_gate", None, 2)),
        ("a home for nothing", ask("any", Some(&home), 2)),
        ("an exit", ask("home_gate", Some(&out), 2)),
    ] {
        let problem = world.post(&world.at("products"), body).await.is_problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/home_gate", "{name}");
    }
    for (scope, home, number, gates, in_all, per_day) in
        [("any", None, 2, 3, 8, 4), ("site", None, 3, 3, 8, 4), ("home_gate", Some(home.as_str()), 4, 1, 0, 0)]
    {
        let made = world.post(&world.at("products"), ask(scope, home, number)).await.ok().json();
        let expected = json!({"gates": gates, "extra_in_all": in_all, "extra_per_day": per_day, "extra_uses": 0});
        assert_eq!(made["exposure"], expected, "{scope}");
        let listed = world.get(&world.at("products")).await.ok().json();
        assert_eq!(listed.as_array().unwrap().last().unwrap()["exposure"], expected, "{scope}");
    }
    let told = gates[0].replica(&world).await;
    let Change::Product(product) = told.last().unwrap() else { panic!("{told:?}") };
    assert_eq!(product.home_gate, Some(gates[0].enrolled.gate), "gates hear of it");
}

/// Each change is on record so that what was before and after can be had again.
#[tokio::test]
async fn the_audit_holds_the_state_before_and_after_each_change() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let vendor = world.vendor("Bakery").await;
    let state = async || {
        let zones = world.get(&world.at("zones")).await.ok().json();
        let vendors = world.get(&world.at("vendors")).await.ok().json();
        let venue = world.get(&format!("/v1/venues/{}", world.venue)).await.ok().json();
        (zones[0].clone(), vendors[0].clone(), venue)
    };
    let patch = async |path: String, body: Value| world.send(world.request("PATCH", &path, Some(body))).await.ok();
    let before = state().await;
    patch(world.at(&format!("zones/{zone}")), json!({"capacity": 77, "name": "North"})).await;
    patch(world.at(&format!("vendors/{vendor}")), json!({"name": "Baker", "weekdays": 31})).await;
    patch(format!("/v1/venues/{}", world.venue), json!({"name": "Lot Sud", "day_begins_min": 60})).await;
    let after = state().await;
    let rows = world
        .app
        .db()
        .read(async |tx| tx.query("SELECT action, before_value, after_value FROM audit", &[]).await)
        .await
        .map_err(|error: crate::store::DbError| error)
        .unwrap();
    let entry = |action: &str| {
        let row = rows.iter().find(|row| row.get::<String>(0).unwrap() == action).unwrap();
        let value = |column| serde_json::from_str::<Value>(&row.get::<String>(column).unwrap()).unwrap();
        (value(1), value(2))
    };
    for (action, was, is, fields) in [
        (
            "zone.change",
            &before.0,
            &after.0,
            vec![("capacity", "capacity"), ("name", "name"), ("warn_percent", "warn_percent")],
        ),
        ("venue.change", &before.2, &after.2, vec![("name", "name")]),
    ] {
        let (recorded_before, recorded_after) = entry(action);
        // Putting every recorded new value over the recorded old state gives the state there is.
        let mut applied = recorded_before.clone();
        for (name, value) in recorded_after.as_object().unwrap() {
            applied[name] = value.clone();
        }
        assert_eq!(applied, recorded_after, "{action}");
        for (shown, recorded) in fields {
            assert_eq!(
                (&recorded_before[recorded], &recorded_after[recorded]),
                (&was[shown], &is[shown]),
                "{action} {shown}"
            );
        }
    }
    assert_ne!(before.1, after.1);
}

#[tokio::test]
async fn a_device_that_asks_too_often_waits_and_the_others_do_not() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let (busy, calm) = (world.device(zone, Direction::In).await, world.device(zone, Direction::Out).await);
    let mut told = None;
    for n in 0..2000 {
        let reply = busy.pull(&world, 0, gate_core::ids::Hash::ZERO).await;
        if reply.status == 429 {
            assert!(n > 100, "an honest month of events is about 120 requests");
            let after: u32 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&after));
            reply.is_problem(429, "throttled");
            told = Some(after);
            break;
        }
        reply.ok();
    }
    calm.pull(&world, 0, gate_core::ids::Hash::ZERO).await.ok();
    world.later(i64::from(told.unwrap()) * 1000);
    busy.pull(&world, 0, gate_core::ids::Hash::ZERO).await.ok();
}

#[tokio::test]
async fn whoever_guesses_signatures_is_slowed_and_real_gates_are_not() {
    let world = World::new().await;
    let device = world.device(world.zone(10).await, Direction::In).await;
    let mut refused = None;
    for n in 0..1000 {
        let mut request = device.request(&world, EVENTS_PATH, vec![]);
        let wrong = format!("sig1=:{}:", "A".repeat(86) + "==");
        request.headers_mut().insert("signature", wrong.parse().unwrap());
        let reply = world.send(request).await;
        if reply.status == 429 {
            reply.is_problem(429, "throttled");
            refused = Some(n);
            break;
        }
        assert_eq!(reply.status, 401, "{}", String::from_utf8_lossy(&reply.body));
    }
    assert!(refused.is_some_and(|n| n > 20), "{refused:?}");
    device.pull(&world, 0, gate_core::ids::Hash::ZERO).await.ok();
}

/// So many at once that the database can't keep up: the rest is asked to come back, at moments of their own.
#[tokio::test]
async fn five_hundred_gates_at_once_are_served_or_told_when_to_come_back() {
    let folder = crate::testing::Folder::new("herd");
    let mut config = crate::Config::new(folder.root(), "https://cloud.example".parse().unwrap());
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(NOON));
    let reading = std::sync::Arc::clone(&clock);
    config.clock = std::sync::Arc::new(move || reading.load(std::sync::atomic::Ordering::Relaxed));
    config.entropy = crate::entropy::Entropy::seeded(3);
    let world = World::over(crate::open(config).await.unwrap(), clock).await;
    let zone = world.zone(10).await;
    let device = world.device(zone, Direction::In).await;
    let ask = || {
        let (_, opened) = device.journal(1, None);
        let head = gate_core::event::Head { event: opened.event.id, hash: opened.hash };
        device.request(&world, EVENTS_PATH, device.push_body(head, &[opened.bytes]))
    };
    let (mut waiting, mut rounds, mut served) = (500, 0, 0);
    while waiting > 0 {
        // Signed anew each time, as a gate does.
        let round: Vec<_> = (0..waiting).map(|_| ask()).collect();
        let replies = futures_util::future::join_all(round.into_iter().map(|request| world.send(request))).await;
        for reply in replies {
            match reply.status.as_u16() {
                200 => {
                    served += 1;
                    waiting -= 1;
                }
                503 => {
                    reply.is_problem(503, "busy");
                    let after: u32 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
                    assert!((1..=5).contains(&after));
                }
                429 => {
                    reply.is_problem(429, "throttled");
                }
                other => panic!("{other}: {}", String::from_utf8_lossy(&reply.body)),
            }
        }
        rounds += 1;
        world.later(5000);
    }
    assert_eq!(served, 500);
    assert!(rounds > 1, "some had to come back");
    let figures = world.get(&world.at("figures")).await.ok().json();
    assert_eq!((&figures["applied"], &figures["balanced"]), (&json!(1), &json!(true)));
}
