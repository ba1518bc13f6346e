//! The API as a whole: every refusal is a problem, every route is described, and gates get in by one code.

mod audit;
mod resets;
mod trust;

use axum::body::Body;
use axum::http::Request;
use ed25519_dalek::SigningKey;
use gate_core::canonical;
use gate_core::ids::Direction;
use gate_core::statement::{Duty, Statement, StatementBody};
use gate_core::sync::v1::{Change, ENROL_PATH, Enrolled, Signed, SignedTime, TIME_PATH};
use serde_json::{Value, json};

use crate::testing::World;

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let world = World::new().await;
    let raw = |method: &str, path: &str, kind: &str, body: &str| {
        let mut request = world.request(method, path, None);
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        *request.body_mut() = Body::from(body.to_owned());
        request
    };
    let json = "application/json";
    for (request, status, code) in [
        (raw("POST", &world.at("zones"), json, "{"), 400, "malformed"),
        (raw("POST", &world.at("zones"), json, "{}"), 422, "invalid"),
        (raw("POST", &world.at("zones"), "text/plain", "{}"), 415, "media_type"),
        (raw("POST", &world.at("zones"), json, r#"{"name":"x","capacity":-1}"#), 422, "invalid"),
        (raw("POST", &world.at("zones"), json, r#"{"name":"x","capacity":0}"#), 422, "invalid"),
        (raw("POST", &world.at("zones"), json, "{\"name\":\"a\\nb\",\"capacity\":5}"), 422, "invalid"),
        (raw("POST", &world.at("zones"), json, &"x".repeat(100_000)), 413, "too_large"),
        (raw("DELETE", &world.at("zones"), json, ""), 405, "method"),
        (raw("GET", "/v1/nothing", json, ""), 404, "not_found"),
        (raw("POST", "/anything", json, ""), 404, "not_found"),
        (raw("GET", "/v1/venues/not-an-id/zones", json, ""), 404, "not_found"),
        (raw("GET", "/v1/time?nonce=zz", json, ""), 400, "malformed"),
        (raw("GET", "/v1/time", json, ""), 400, "malformed"),
        (raw("GET", &world.at("live"), json, ""), 426, "upgrade"),
        (raw("GET", &world.at("passes/lookup"), json, ""), 400, "malformed"),
        (raw("PATCH", &world.at("zones/not-an-id"), json, "{}"), 404, "not_found"),
        (raw("PATCH", &world.at("vendors/nobody"), json, "{}"), 404, "not_found"),
        (raw("POST", &world.at("gates/00000000-0000-0000-0000-000000000000/enrolment"), json, "{}"), 404, "not_found"),
        (raw("POST", &world.at("devices/00000000-0000-0000-0000-000000000000/revoke"), json, "{}"), 404, "not_found"),
        (raw("POST", ENROL_PATH, "application/cbor", "junk"), 400, "malformed"),
        (raw("POST", ENROL_PATH, "application/cbor", &"x".repeat(100_000)), 413, "too_large"),
    ] {
        let name = format!("{} {}", request.method(), request.uri());
        let reply = world.send(request).await;
        assert_eq!(reply.status, status, "{name}: {}", String::from_utf8_lossy(&reply.body));
        reply.is_problem(status, code);
    }
}

/// A page can point at the field, in words that name nothing of ours.
#[tokio::test]
async fn a_wrong_field_is_named_and_never_in_the_words_of_a_library() {
    let world = World::new().await;
    let post = |path: &str, body: Value| world.request("POST", &world.at(path), Some(body));
    let get = |path: &str| world.request("GET", &world.at(path), None);
    for (request, status, pointer, words) in [
        (post("zones", json!({"capacity": 5})), 422, "/name", "needed"),
        (post("zones", json!({"name": "x", "capacity": -1})), 422, "/capacity", "kind of value"),
        (
            post("zones", json!({"name": "x", "capacity": 5, "parent_id": "nowhere"})),
            422,
            "/parent_id",
            "kind of value",
        ),
        (post("gates", json!({"name": "x", "direction": "up", "zone_id": world.venue})), 422, "/direction", "known"),
        (
            post("products", json!({"name": "x", "number": 1, "rules": [{"name": "times", "args": ["ten"]}]})),
            422,
            "/rules/0/args/0",
            "kind of value",
        ),
        (post("zones", json!([])), 422, "", "kind of value"),
        (get("passes/lookup"), 400, "/code", "needed"),
        (get("alerts?limit=many"), 400, "/limit", "kind of value"),
    ] {
        let name = format!("{} {pointer}", request.uri());
        let problem = world.send(request).await.is_problem(status, if status == 422 { "invalid" } else { "malformed" });
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{name}: {problem}");
        let said = problem.to_string();
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(words), "{name}: {said}");
        for foreign in ["deserialize", "`", "u32", "line 1", "invalid type"] {
            assert!(!said.contains(foreign), "{name}: {said}");
        }
    }
}

/// What a manager changed is written down with the values before and after.
#[tokio::test]
async fn a_changed_vendor_leaves_a_line_with_before_and_after() {
    let world = World::new().await;
    let vendor = world.vendor("Bakery").await;
    let change = json!({"active": false, "daily_quota": 40});
    world.send(world.request("PATCH", &world.at(&format!("vendors/{vendor}")), Some(change))).await.ok();
    let rows = world
        .app
        .db()
        .read(async |tx| {
            let sql = "SELECT before_value, after_value, person_id, at_ms FROM audit WHERE action = 'vendor.change'";
            tx.query(sql, &[]).await
        })
        .await
        .map_err(|error: crate::store::DbError| error)
        .unwrap();
    let [row] = rows.as_slice() else { panic!("one line: {rows:?}") };
    let value = |column: usize| serde_json::from_str::<Value>(&row.get::<String>(column).unwrap()).unwrap();
    let (before, after) = (value(0), value(1));
    assert_eq!((&before["active"], &before["daily_quota"]), (&json!(true), &Value::Null));
    assert_eq!((&after["active"], &after["daily_quota"]), (&json!(false), &json!(40)));
    assert_eq!((&before["id"], &before["name"]), (&after["id"], &json!("Bakery")));
    let me = world.get("/v1/session").await.ok().json();
    assert_eq!(
        (json!(row.get::<String>(2).unwrap()), row.get(3).unwrap()),
        (me["user"]["id"].clone(), world.app.now_ms())
    );
}

#[tokio::test]
async fn the_document_describes_every_route_and_its_errors() {
    let world = World::new().await;
    let served = world.get("/openapi.json").await.ok().json();
    assert_eq!(served, serde_json::to_value(crate::app::openapi()).unwrap());
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut count = 0;
    for (path, methods) in served["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            count += 1;
            assert!(operation["summary"].is_string(), "{method} {path} says what it does");
            let guarded = path.starts_with("/v1/venues") || path.starts_with("/v1/sync");
            assert_eq!(operation["security"].is_array(), guarded, "{method} {path} says who may call it");
            for (status, response) in operation["responses"].as_object().unwrap() {
                if status.starts_with('4') || status.starts_with('5') {
                    let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                    assert_eq!(schema, "#/components/schemas/Problem", "{method} {path} {status}");
                }
            }
        }
    }
    assert!(count >= 35, "{count} operations");
}

#[tokio::test]
async fn pages_carry_their_policy_and_the_api_never_answers_with_a_page() {
    let world = World::new().await;
    for path in ["/", "/v1/nothing", "/health", "/openapi.json"] {
        let reply = world.get(path).await;
        let policy = reply.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff", "{path}");
        assert!(reply.headers.contains_key("strict-transport-security"), "{path}");
    }
    assert_eq!(world.get("/health").await.ok().json()["status"], "ok");
}

#[tokio::test]
async fn a_code_enrols_one_device_once_and_a_lost_answer_can_be_asked_for_again() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let first = world.device(zone, Direction::In).await;
    let gate = first.enrolled.gate;
    let key = SigningKey::from_bytes(&[5; 32]);
    let code = world.invitation(gate).await;
    let typed = format!("{}-{}", code[..4].to_lowercase(), &code[4..]);
    let answer = world.ask_to_enrol(&typed, &key).await.ok();
    let enrolled: Enrolled = canonical::decode(&answer.body).unwrap();
    assert_eq!(enrolled.gate, gate);
    assert_eq!(world.ask_to_enrol(&code, &key).await.ok().body, answer.body, "the first answer may have been lost");
    world.ask_to_enrol(&code, &SigningKey::from_bytes(&[6; 32])).await.is_problem(403, "enrolment_code");
    world.ask_to_enrol(&world.invitation(gate).await, &key).await.is_problem(409, "key_known");

    let statements: Vec<Statement> = enrolled
        .statements
        .iter()
        .map(|bytes| Statement::open(bytes, enrolled.venue, &enrolled.root).unwrap())
        .collect();
    let revoked: Vec<bool> = statements
        .iter()
        .filter_map(|statement| match &statement.body {
            StatementBody::Device(device) => Some(device.revoked),
            StatementBody::Issuer(_) | StatementBody::Duty(_) | StatementBody::Chain(_) | StatementBody::Time(_) => {
                None
            }
        })
        .collect();
    assert_eq!(revoked, [true, false], "the gate's earlier device is withdrawn");
    first.pull(&world, 0, gate_core::ids::Hash::ZERO).await.is_problem(403, "device_revoked");

    let old = world.invitation(gate).await;
    let new = world.invitation(gate).await;
    let fresh = |n: u8| SigningKey::from_bytes(&[n; 32]);
    world.ask_to_enrol(&old, &fresh(10)).await.is_problem(403, "enrolment_code");
    world.later(7 * 24 * 3_600_000);
    world.ask_to_enrol(&new, &fresh(11)).await.is_problem(403, "enrolment_code");

    let mut stolen = gate_core::sync::v1::Enrol {
        code: code.clone(),
        key: gate_core::keys::PublicKey::from(&fresh(12)),
        model: "m".into(),
        software: "s".into(),
    };
    let foreign = Request::post(ENROL_PATH).body(Body::from(stolen.sign(&fresh(13)))).unwrap();
    world.send(foreign).await.is_problem(400, "malformed");
    stolen.model = "x".repeat(300);
    let long = Request::post(ENROL_PATH).body(Body::from(stolen.sign(&fresh(12)))).unwrap();
    world.send(long).await.is_problem(400, "malformed");
    for _ in 0..20 {
        world.ask_to_enrol("00000000", &fresh(14)).await;
    }
    world.ask_to_enrol("00000000", &fresh(14)).await.is_problem(429, "throttled");
}

#[tokio::test]
async fn time_is_signed_for_the_one_who_asked() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let device = world.device(zone, Direction::In).await;
    let duty = |wanted: Duty| {
        device.enrolled.statements.iter().find_map(|bytes| {
            match Statement::open(bytes, device.enrolled.venue, &device.enrolled.root).unwrap().body {
                StatementBody::Duty(duty) if duty.duty == wanted => Some(duty.key),
                StatementBody::Issuer(_)
                | StatementBody::Device(_)
                | StatementBody::Duty(_)
                | StatementBody::Chain(_)
                | StatementBody::Time(_) => None,
            }
        })
    };
    let ask = async |query: &str| world.get(&format!("{TIME_PATH}?{query}")).await;
    let nonce = "00112233445566778899aabbccddeeff";
    let answer = ask(&format!("nonce={nonce}")).await.ok();
    let time = SignedTime::open(&answer.body, &duty(Duty::Time).unwrap()).unwrap();
    assert_eq!(
        (time.now_ms, time.venue, hex::encode(&time.nonce)),
        (world.app.now_ms(), device.enrolled.venue, nonce.to_owned())
    );
    assert!(SignedTime::open(&answer.body, &duty(Duty::Server).unwrap()).is_err(), "no other key signs time");
    ask("nonce=0011").await.is_problem(400, "malformed");
    world.post("/v1/venues", json!({"name": "Pool", "time_zone": "UTC"})).await.ok();
    ask(&format!("nonce={nonce}")).await.is_problem(400, "malformed");
    ask(&format!("nonce={nonce}&venue={}", world.venue)).await.ok();
    ask(&format!("nonce={nonce}&venue=00000000-0000-0000-0000-000000000000")).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn settings_reach_the_gates_and_the_first_entrance_holds_the_rights() {
    let world = World::new().await;
    let zone = world.zone(220).await;
    let exit = world.device(zone, Direction::Out).await;
    let north = world.device(zone, Direction::In).await;
    let south = world.device(zone, Direction::In).await;
    let vendor = world.vendor("Bakery").await;
    let patch = async |path: &str, body: Value| world.send(world.request("PATCH", &world.at(path), Some(body))).await;
    patch(&format!("vendors/{vendor}"), json!({"active": false, "closed_days": ["2026-12-25"]})).await.ok();
    patch(&format!("vendors/{vendor}"), json!({"closed_days": ["Christmas"]})).await.is_problem(422, "invalid");
    world.post(&world.at(&format!("devices/{}/revoke", north.enrolled.device)), json!({})).await.ok();
    patch(&format!("zones/{zone}"), json!({"capacity": 200, "rights_holder": south.enrolled.gate})).await.ok();
    patch(&format!("zones/{zone}"), json!({"rights_holder": exit.enrolled.gate})).await.is_problem(422, "invalid");
    let mut holders = Vec::new();
    let mut standing = None;
    let mut product = None;
    for change in exit.replica(&world).await {
        match change {
            Change::Zone(zone) => holders.push((zone.rights_holder, zone.capacity)),
            Change::Vendor(vendor) => standing = Some(vendor.standing),
            Change::Product(found) => product = Some(found),
            Change::Statement(_)
            | Change::Venue(_)
            | Change::Gate(_)
            | Change::Pass(_)
            | Change::Use(_)
            | Change::Count(_)
            | Change::Reset(_)
            | Change::Unknown(_) => {}
        }
    }
    assert_eq!(holders, [(None, 220), (Some(north.enrolled.gate), 220), (Some(south.enrolled.gate), 200)]);
    let standing = standing.unwrap();
    assert_eq!((standing.active, standing.closed_days[0].0), (false, 20_812));
    assert_eq!(product.unwrap().name, "Visitor");
}

/// Never two holders: while the one before may still admit, nobody else gets the rights.
#[tokio::test]
async fn rights_move_only_when_the_gate_that_had_them_is_known_to_have_stopped() {
    use gate_core::event::Head;
    let world = World::new().await;
    let zone = world.zone(220).await;
    let north = world.device(zone, Direction::In).await;
    let south = world.device(zone, Direction::In).await;
    let path = world.at(&format!("zones/{zone}"));
    let grant =
        async |holder: Value| world.send(world.request("PATCH", &path, Some(json!({ "rights_holder": holder })))).await;
    let to = |gate: gate_core::ids::GateId| json!(gate.to_string());
    let (n, s) = (north.enrolled.gate, south.enrolled.gate);
    let pull = async |device: &crate::testing::TestDevice| {
        let (mut position, mut head) = (0, gate_core::ids::Hash::ZERO);
        loop {
            let reply = device.pull(&world, position, head).await.ok();
            let reply: gate_core::sync::v1::PullReply = canonical::decode(&reply.body).unwrap();
            let Some(as_of) = reply.as_of else { panic!("short enough for one answer") };
            let settings = device.settings();
            let as_of = gate_core::sync::v1::AsOf::open(&as_of, &settings).unwrap();
            if (position, head) == (as_of.position, as_of.head) {
                break;
            }
            (position, head) = (as_of.position, as_of.head);
        }
    };
    grant(to(s)).await.is_problem(409, "rights_held");
    grant(to(n)).await.ok();
    let (mut journal, opened) = north.journal(11, None);
    north.push(&world, &[opened.bytes]).await;
    pull(&north).await;
    grant(to(s)).await.is_problem(409, "rights_held");
    assert_eq!(grant(Value::Null).await.ok().json()["rights_holder"], Value::Null);
    grant(to(s)).await.is_problem(409, "rights_held");
    let third = world.device(zone, Direction::In).await;
    let zones = world.get(&world.at("zones")).await.ok().json();
    assert_eq!(zones[0]["rights_holder"], Value::Null, "a new entrance gets none either");
    // Handing over everything is not enough before it has heard, and having heard is not enough before that.
    let one = journal.append(None, crate::testing::now(crate::testing::NOON), crate::testing::noise());
    let two = journal.append(None, crate::testing::now(crate::testing::NOON), crate::testing::noise());
    north.push(&world, std::slice::from_ref(&one.bytes)).await;
    grant(to(s)).await.is_problem(409, "rights_held");
    pull(&north).await;
    grant(to(s)).await.is_problem(409, "rights_held");
    let head = Head { event: two.event.id, hash: two.hash };
    let body = north.push_body(head, &[]);
    world.send(north.request(&world, gate_core::sync::v1::EVENTS_PATH, body)).await.ok();
    grant(to(s)).await.is_problem(409, "rights_held");
    north.push(&world, &[two.bytes]).await;
    grant(to(s)).await.ok();

    // A device that a manager withdrew admits nobody any more.
    grant(Value::Null).await.ok();
    grant(to(third.enrolled.gate)).await.is_problem(409, "rights_held");
    grant(to(s)).await.ok();
    world.post(&world.at(&format!("devices/{}/revoke", south.enrolled.device)), json!({})).await.ok();
    assert_eq!(grant(to(third.enrolled.gate)).await.ok().json()["rights_holder"], to(third.enrolled.gate));
}

#[tokio::test]
async fn the_first_entrance_of_a_zone_holds_the_rights_of_the_zones_around_it_too() {
    let world = World::new().await;
    let parent = world.zone(220).await;
    let make = async |name: &str, parent: gate_core::ids::ZoneId| -> gate_core::ids::ZoneId {
        let body = json!({"name": name, "capacity": 20, "parent_id": parent.to_string()});
        let made = world.post(&world.at("zones"), body).await.ok().json();
        made["id"].as_str().unwrap().parse().unwrap()
    };
    let child = make("Ground floor", parent).await;
    let other = make("Roof", parent).await;
    let exit = world.device(child, Direction::Out).await;
    let inner = world.device(child, Direction::In).await;
    let roof = world.device(other, Direction::In).await;
    let holders = async || -> Vec<Value> {
        let zones = world.get(&world.at("zones")).await.ok().json();
        let zones = zones.as_array().unwrap();
        let of = |id| zones.iter().find(|zone| zone["id"] == json!(id)).unwrap()["rights_holder"].clone();
        vec![of(parent), of(child), of(other)]
    };
    let id = |device: &crate::testing::TestDevice| json!(device.enrolled.gate.to_string());
    assert_eq!(holders().await, [id(&inner), id(&inner), id(&roof)]);
    let told: Vec<_> = exit
        .replica(&world)
        .await
        .into_iter()
        .filter_map(|change| if let Change::Zone(zone) = change { Some((zone.id, zone.rights_holder)) } else { None })
        .collect();
    assert!(told.contains(&(parent, Some(inner.enrolled.gate))) && told.contains(&(child, Some(inner.enrolled.gate))));
    let grant = async |zone: gate_core::ids::ZoneId, holder: Value| {
        let path = world.at(&format!("zones/{zone}"));
        world.send(world.request("PATCH", &path, Some(json!({ "rights_holder": holder })))).await
    };
    grant(child, id(&roof)).await.is_problem(422, "invalid");
    grant(other, id(&inner)).await.is_problem(422, "invalid");
    grant(parent, id(&exit)).await.is_problem(422, "invalid");
    world.post(&world.at(&format!("devices/{}/revoke", inner.enrolled.device)), json!({})).await.ok();
    grant(parent, id(&roof)).await.ok();
    assert_eq!(holders().await, [id(&roof), id(&inner), id(&roof)]);
}

#[tokio::test]
async fn a_gate_that_knows_more_than_the_service_is_told_so() {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let device = world.device(zone, Direction::In).await;
    device.pull(&world, 9999, gate_core::ids::Hash::ZERO).await.is_problem(409, "replica_ahead");
    device.pull(&world, 0, gate_core::ids::Hash([1; 32])).await.is_problem(409, "replica_ahead");
}

#[tokio::test]
async fn products_are_checked_before_any_gate_hears_of_them() {
    let world = World::new().await;
    let product = |number: u16, rules: Value| json!({"name": "Ten entries", "number": number, "rules": rules});
    let path = world.at("products");
    world.post(&path, product(2, json!([{"name": "times", "args": [10]}]))).await.ok();
    world.post(&path, product(2, json!([]))).await.is_problem(409, "number_taken");
    world.post(&path, product(24, json!([]))).await.is_problem(422, "invalid");
    world.post(&path, product(3, json!([{"name": "moon_phase"}]))).await.is_problem(422, "invalid");
    let listed = world.get(&path).await.ok().json();
    assert_eq!(listed.as_array().unwrap().iter().map(|p| p["number"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    let code = world.post(&world.at("vendors"), json!({"name": "A", "code": "A1"})).await.ok().json();
    assert_eq!(code["code"], "A1");
    world.post(&world.at("vendors"), json!({"name": "B", "code": "A1"})).await.is_problem(409, "code_taken");
    world.post(&world.at("vendors"), json!({"name": "B", "code": "ABC"})).await.is_problem(422, "invalid");
}
