//! What was done can be had again: `after` laid over `before` is the state there is, for every kind of entry.

use std::cell::RefCell;
use std::collections::BTreeSet;

use gate_core::event::{EventBody, Head};
use gate_core::ids::{DeviceId, ZoneId};

use super::*;
use crate::ingest;
use crate::store::{DbError, params};
use crate::testing::NOON;

/// A venue of which is looked before and after something is done.
struct Watched {
    world: World,
    seen: RefCell<BTreeSet<String>>,
}

impl Watched {
    async fn newest(&self, action: &str) -> Value {
        let entries = self.world.get(&self.world.at(&format!("audit?action={action}&limit=1"))).await.ok().json();
        entries[0].clone()
    }

    /// The entry must lead from what was to what is; what only follows from other things is not part of either.
    async fn leads(&self, action: &str, was: &Value, is: &Value) {
        let entry = self.newest(action).await;
        assert_eq!((&entry["action"], &entry["person"]), (&json!(action), &json!("Owner")));
        let told = |side: &str| entry[side].as_object().cloned().unwrap_or_default();
        for (name, value) in told("before") {
            assert!(was.get(&name).is_none_or(|shown| *shown == value), "{action} before: {name} {value} {was}");
        }
        let mut made = if was.is_object() { was.clone() } else { json!({}) };
        for (name, value) in told("after") {
            if is.get(&name).is_some() {
                made[name] = value;
            }
        }
        assert_eq!(&made, is, "{action}: after over before is the state");
        assert_ne!(was, is, "{action}: something was changed");
        self.seen.borrow_mut().insert(action.to_owned());
    }

    /// One of a list, by its id.
    async fn one(&self, list: &str, id: &str) -> Value {
        let list = self.world.get(&self.world.at(list)).await.ok().json();
        let of = |item: &&Value| item["id"].as_str().or(item["batch_id"].as_str()) == Some(id);
        list.as_array().unwrap().iter().find(of).cloned().unwrap_or(Value::Null)
    }

    async fn patch(&self, path: &str, body: Value) {
        self.world.later(1);
        self.world.send(self.world.request("PATCH", path, Some(body))).await.ok();
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.world.later(1);
        let reply = self.world.post(&self.world.at(path), body).await.ok();
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    async fn occupancy(&self, zone: ZoneId) -> Value {
        let venue = self.world.venue.parse().unwrap();
        let read = async |tx: &mut crate::store::Tx| ingest::tally(tx, venue, zone).await;
        let tally = self.world.app.db().read(read).await.map_err(|error: DbError| error).unwrap();
        json!({"id": zone, "occupancy": ingest::merged(&tally).occupancy()})
    }

    async fn standing(&self, device: DeviceId) -> Value {
        let venue = self.world.venue.parse().unwrap();
        let read = async |tx: &mut crate::store::Tx| super::super::gates::standing(tx, venue, device).await;
        self.world.app.db().read(read).await.map_err(|error: DbError| error).unwrap()
    }

    async fn code_of(&self, gate: &str) -> Value {
        const CODES: &str = "SELECT expires_ms FROM enrolments WHERE gate_id = $1 AND device_id IS NULL";
        let read = async |tx: &mut crate::store::Tx| tx.query(CODES, params![gate]).await;
        let rows = self.world.app.db().read(read).await.map_err(|error: DbError| error).unwrap();
        assert!(rows.len() < 2);
        rows.first().map_or(Value::Null, |row| json!({"gate_id": gate, "expires_ms": row.get::<i64>(0).unwrap()}))
    }

    /// A pass's standing in its batch.
    async fn pass(&self, batch: &str, cti: &str) -> Value {
        let whole = self.world.get(&self.world.at(&format!("batches/{batch}"))).await.ok().json();
        let line = whole["passes"].as_array().unwrap().iter().find(|pass| pass["cti"] == cti).cloned().unwrap();
        let shown = self.world.get(&self.world.at(&format!("passes/{cti}"))).await.ok().json();
        json!({"cti": cti, "standing": line["standing"], "superseded_by": shown["superseded_by"]})
    }

    /// The standings of a batch's passes that can still change.
    async fn passes(&self, batch: &str) -> Value {
        let whole = self.world.get(&self.world.at(&format!("batches/{batch}"))).await.ok().json();
        let lines = whole["passes"].as_array().unwrap().iter().filter(|pass| pass["standing"] != "superseded");
        let lines = lines.map(|pass| (pass["cti"].as_str().unwrap().to_owned(), pass["standing"].clone()));
        json!({"batch_id": batch, "passes": lines.collect::<serde_json::Map<_, _>>()})
    }
}

/// Every action that the source can write: a word, a dot, a word.
fn actions() -> BTreeSet<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/routes");
    let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if !file.is_file() {
            continue;
        }
        for text in std::fs::read_to_string(file).unwrap().split('"') {
            if text.split_once('.').is_some_and(|(what, done)| word(what) && word(done) && done.len() > 4) {
                found.insert(text.to_owned());
            }
        }
    }
    found
}

/// B11: each change entry round-trips.
#[tokio::test]
async fn every_kind_of_entry_leads_from_what_was_to_what_is() {
    let at = Watched { world: World::new().await, seen: RefCell::default() };
    let world = &at.world;

    // Places.
    let made = at.post("zones", json!({"name": "Lot", "capacity": 10, "daily_reset_min": 180})).await;
    let zone_id: ZoneId = made["id"].as_str().unwrap().parse().unwrap();
    let zone = zone_id.to_string();
    at.leads("zone.create", &Value::Null, &at.one("zones", &zone).await).await;
    let was = at.one("zones", &zone).await;
    let change =
        json!({"capacity": 77, "name": "North", "best_effort": true, "warn_percent": 80, "daily_reset_min": null});
    at.patch(&world.at(&format!("zones/{zone}")), change).await;
    at.leads("zone.change", &was, &at.one("zones", &zone).await).await;
    let was = world.get(&format!("/v1/venues/{}", world.venue)).await.ok().json();
    at.patch(&format!("/v1/venues/{}", world.venue), json!({"name": "Lot Sud", "day_begins_min": 60})).await;
    at.leads("venue.change", &was, &world.get(&format!("/v1/venues/{}", world.venue)).await.ok().json()).await;
    let was = at.one("zones", &zone).await;
    let made = at.post("gates", json!({"name": "North", "direction": "in", "zone_id": zone})).await;
    let gate = made["id"].as_str().unwrap().to_owned();
    at.leads("gate.create", &Value::Null, &at.one("gates", &gate).await).await;
    // The first entrance got the zone's rights: a change of the zone too.
    at.leads("zone.change", &was, &at.one("zones", &zone).await).await;
    for _ in 0..2 {
        let was = at.code_of(&gate).await;
        world.later(1000);
        at.post(&format!("gates/{gate}/enrolment"), json!({})).await;
        at.leads("gate.enrolment", &was, &at.code_of(&gate).await).await;
    }
    let was = at.occupancy(zone_id).await;
    at.post(&format!("zones/{zone}/recount"), json!({"observed": 5, "reason": "round"})).await;
    at.leads("zone.recount", &was, &at.occupancy(zone_id).await).await;

    // Passes.
    let made = at.post("vendors", json!({"name": "Bakery", "daily_quota": 50})).await;
    let vendor = made["id"].as_str().unwrap().to_owned();
    at.leads("vendor.create", &Value::Null, &at.one("vendors", &vendor).await).await;
    let was = at.one("vendors", &vendor).await;
    let change =
        json!({"name": "Baker", "weekdays": 31, "closed_days": ["2026-12-25"], "daily_quota": 0, "active": false});
    at.patch(&world.at(&format!("vendors/{vendor}")), change).await;
    at.leads("vendor.change", &was, &at.one("vendors", &vendor).await).await;
    let product = json!({"name": "Ten", "number": 2, "rules": [{"name": "times", "args": [10]}], "attention": "Ask"});
    at.post("products", product).await;
    let products = world.get(&world.at("products")).await.ok().json();
    at.leads("product.create", &Value::Null, &products[1]).await;
    let made = world.batch("k", &world.batch_of(&vendor, 4)).await.ok().json();
    let batch = made["batch_id"].as_str().unwrap().to_owned();
    at.leads("batch.issue", &Value::Null, &at.one("batches", &batch).await).await;
    let whole = world.get(&world.at(&format!("batches/{batch}"))).await.ok().json();
    let ctis: Vec<String> = (0..4).map(|n| whole["passes"][n]["cti"].as_str().unwrap().to_owned()).collect();
    for (what, cti) in [("block", 0), ("unblock", 0), ("revoke", 1), ("reissue", 2), ("block", 3)] {
        let was = at.pass(&batch, &ctis[cti]).await;
        at.post(&format!("passes/{}/{what}", ctis[cti]), json!({})).await;
        at.leads(&format!("pass.{what}"), &was, &at.pass(&batch, &ctis[cti]).await).await;
    }
    // The one that was revoked before stays out of it.
    let without = |mut state: Value| {
        state["passes"].as_object_mut().unwrap().remove(&ctis[1]);
        state
    };
    let was = without(at.passes(&batch).await);
    at.post(&format!("batches/{batch}/revoke"), json!({})).await;
    at.leads("batch.revoke", &was, &without(at.passes(&batch).await)).await;

    // Devices and the inbox.
    let device = world.device(zone_id, Direction::In).await;
    let (mut journal, opened) = device.journal(11, None);
    let absent = ZoneId(uuid::Uuid::from_u128(0x77));
    let button = EventBody::ExitButton { zones: vec![absent], generations: vec![0] };
    let button = journal.append(None, crate::testing::now(NOON), button);
    let last = Head { event: button.event.id, hash: button.hash };
    device.push(world, &[opened.bytes, button.bytes]).await;
    let parked = world.get(&world.at("parked")).await.ok().json();
    let hash = parked[0]["hash"].as_str().or(parked[0]["id"].as_str()).unwrap().to_owned();
    const ZONE: &str = "INSERT INTO zones (venue_id, zone_id, name, parent_id, capacity, warn_percent, best_effort, rights_holder, fullness, basis, created_ms) SELECT venue_id, $1, name, parent_id, capacity, warn_percent, best_effort, rights_holder, fullness, basis, created_ms FROM zones";
    world.app.db().write(async |tx| tx.execute(ZONE, params![absent]).await).await.map_err(|e: DbError| e).unwrap();
    let aside = async || {
        let list = world.get(&world.at("parked")).await.ok().json();
        json!({"hash": hash, "parked": list.as_array().unwrap().iter().any(|item| item.to_string().contains(&hash))})
    };
    let was = aside().await;
    at.post(&format!("parked/{hash}/retry"), json!({})).await;
    at.leads("parked.retry", &was, &aside().await).await;
    let second = world.device(zone_id, Direction::In).await;
    let begun = second.journal(11, None).1;
    second.push(world, std::slice::from_ref(&begun.bytes)).await;
    let first_of_second = Head { event: begun.event.id, hash: begun.hash };
    for (n, action, device, last) in [(0, "release", &device, last), (1, "withdraw", &second, first_of_second)] {
        for epoch in [12, 13] {
            device.push(world, &[device.journal(epoch, Some(last)).1.bytes]).await;
        }
        let forks = world.get(&world.at("conflicts?kind=fork")).await.ok().json();
        let id = forks[0]["id"].as_str().unwrap().to_owned();
        let me = world.get("/v1/session").await.ok().json()["user"]["id"].clone();
        let conflict = async || world.get(&world.at(&format!("conflicts/{id}"))).await.ok().json();
        let part = |mut whole: Value| {
            for derived in ["events", "against", "owner", "standing", "fenced"] {
                whole.as_object_mut().unwrap().remove(derived);
            }
            whole
        };
        let was = json!({"owner": conflict().await["owner"]["id"]});
        let body = json!({"person_id": me});
        at.post(&format!("conflicts/{id}/assign"), body).await;
        if n == 0 {
            let entry = at.newest("conflict.assign").await;
            assert_eq!(entry["after"]["owner"]["id"], conflict().await["owner"]["id"], "{was}");
            at.seen.borrow_mut().insert("conflict.assign".to_owned());
        }
        let (was, stood) = (part(conflict().await), at.standing(device.enrolled.device).await);
        at.post(&format!("conflicts/{id}/resolve"), json!({"action": action, "note": "looked"})).await;
        at.leads("conflict.resolve", &was, &part(conflict().await)).await;
        let done = if action == "release" { "device.release" } else { "device.revoke" };
        at.leads(done, &stood, &at.standing(device.enrolled.device).await).await;
    }
    let other = world.device(zone_id, Direction::In).await.enrolled.device;
    let was = at.standing(other).await;
    at.post(&format!("devices/{other}/revoke"), json!({})).await;
    at.leads("device.revoke", &was, &at.standing(other).await).await;

    assert_eq!(*at.seen.borrow(), actions(), "an action has no round trip here");
}

#[tokio::test]
async fn the_audit_comes_in_pages_and_only_to_those_who_manage_the_venue() {
    let world = World::new().await;
    for n in 0..7 {
        world.zone(10 + n).await;
        world.later(1);
    }
    let (mut path, mut found) = (world.at("audit?limit=3&action=zone.create"), Vec::new());
    loop {
        let reply = world.get(&path).await.ok();
        found.extend(reply.json().as_array().unwrap().iter().map(|entry| entry["after"]["capacity"].clone()));
        let Some(link) = reply.headers.get("link") else { break };
        let link = link.to_str().unwrap();
        path = link[1..link.find('>').unwrap()].to_owned();
        assert!(path.contains("action=zone.create"), "{path}");
    }
    assert_eq!(found, (10..17).rev().map(|n| json!(n)).collect::<Vec<_>>());
    world.get(&world.at("audit?action=%27%20OR")).await.is_problem(422, "invalid");
    world.get(&world.at("audit?after=zz")).await.is_problem(422, "invalid");
    world.get(&world.at("audit?limit=0")).await.is_problem(422, "invalid");
    let other = world.post("/v1/venues", json!({"name": "Pool", "time_zone": "UTC"})).await.ok().json();
    let other = format!("/v1/venues/{}/audit", other["id"].as_str().unwrap());
    assert_eq!(world.get(&other).await.ok().json(), json!([]), "another venue's is its own");
    for (role, status) in [("manager", None), ("staff", Some((403, "role"))), ("none", Some((404, "not_found")))] {
        let set = async |tx: &mut crate::store::Tx| {
            let venue: gate_core::ids::VenueId = world.venue.parse().unwrap();
            match role {
                "none" => tx.execute("DELETE FROM members WHERE venue_id = $1", params![venue]).await,
                _ => tx.execute("UPDATE members SET role = $1 WHERE venue_id = $2", params![role, venue]).await,
            }
        };
        world.app.db().write(set).await.map_err(|error: DbError| error).unwrap();
        let reply = world.get(&world.at("audit")).await;
        match status {
            None => assert_eq!(reply.ok().json().as_array().unwrap().len(), 7),
            Some((status, code)) => drop(reply.is_problem(status, code)),
        }
    }
}
