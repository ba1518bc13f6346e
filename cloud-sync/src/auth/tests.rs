//! Who may do what, and what happens to everybody else.

use axum::body::Body;
use axum::http::Request;
use gate_core::ids::{Direction, Hash};
use gate_core::sync::v1::{CHANGES_PATH, EVENTS_PATH, LIVE_PATH};
use serde_json::{Value, json};

use crate::testing::{AUTHORITY, TestDevice, World, cookie_in};

fn login(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password})
}

/// A second person who owns a venue of their own and has no business in the first.
async fn stranger(world: &World) -> (String, String) {
    let (id, venue) = ("stranger", gate_core::ids::VenueId(world.app.new_id()));
    let hash = super::make_password("another long password", [1; 16]).unwrap();
    let app = &world.app;
    let token = app
        .db()
        .write(async |tx| {
            use crate::store::params;
            tx.execute(
                "INSERT INTO people (id, email, name, password, created_ms) VALUES ($1, $2, $3, $4, $5)",
                params![id, "stranger@venue.example", "Stranger", hash.0, 0i64],
            )
            .await?;
            tx.execute(
                "INSERT INTO venues (venue_id, code, name, time_zone, boundary_min, created_ms, live_seq) VALUES ($1, 'ZZ', 'Other', 'UTC', 0, 0, 0)",
                params![venue],
            )
            .await?;
            tx.execute("INSERT INTO members (venue_id, person_id, role) VALUES ($1, $2, 'owner')", params![venue, id])
                .await?;
            super::start_session(tx, app, id).await
        })
        .await
        .unwrap();
    (token, venue.to_string())
}

#[tokio::test]
async fn every_route_of_a_venue_is_closed_to_everybody_else() {
    let mut world = World::new().await;
    let zone = world.zone(10).await;
    let gate = world.device(zone, Direction::In).await;
    let (stranger, _) = stranger(&world).await;
    let owner = world.cookie.clone();
    let document = serde_json::to_value(crate::app::openapi()).unwrap();
    let mut seen = 0;
    for (template, methods) in document["paths"].as_object().unwrap() {
        if !template.starts_with("/v1/venues/{venue}") {
            continue;
        }
        let path = template
            .replace("{venue}", &world.venue)
            .replace("{zone}", &zone.to_string())
            .replace("{gate}", &gate.enrolled.gate.to_string());
        let path = path
            .split('{')
            .next()
            .map_or(path.clone(), |start| if start == path { path.clone() } else { path.replace(['{', '}'], "") });
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| ["get", "post", "patch", "delete", "put"].contains(&key.as_str()))
        {
            seen += 1;
            let method = method.to_uppercase();
            let name = format!("{method} {path}");
            let body = (method != "GET").then(|| json!({}));
            let socket = template.ends_with("/live");
            let build = |world: &World| {
                let mut request = world.request(&method, &path, body.clone());
                if socket {
                    let headers = request.headers_mut();
                    for (key, value) in [
                        ("connection", "upgrade"),
                        ("upgrade", "websocket"),
                        ("sec-websocket-version", "13"),
                        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                        ("origin", "https://cloud.example"),
                    ] {
                        headers.insert(key, value.parse().unwrap());
                    }
                }
                request
            };
            world.cookie = String::new();
            let reply = world.send(build(&world)).await;
            assert_eq!(reply.status, 401, "{name} by nobody: {}", String::from_utf8_lossy(&reply.body));
            reply.is_problem(401, "login_needed");
            world.cookie.clone_from(&stranger);
            let reply = world.send(build(&world)).await;
            assert_eq!(
                reply.status,
                404,
                "{name} by a manager of another venue: {}",
                String::from_utf8_lossy(&reply.body)
            );
            reply.is_problem(404, "not_found");
            world.cookie = String::new();
            let signed = gate.signed(&method, &path, vec![], world.app.now_ms() / 1000, &gate.nonce());
            let reply = world.send(signed).await;
            assert_eq!(reply.status, 401, "{name} by a device");
            world.cookie.clone_from(&owner);
            let mut unmarked = build(&world);
            unmarked.headers_mut().remove("x-requested-with");
            let reply = world.send(unmarked).await;
            if method != "GET" {
                reply.is_problem(403, "forged");
            }
            let mut forged = build(&world);
            forged.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
            world.send(forged).await.is_problem(403, "forged");
        }
    }
    assert!(seen > 25, "{seen} routes were tried");
    for path in [EVENTS_PATH, CHANGES_PATH] {
        world.post(path, json!({})).await.is_problem(401, "signature");
    }
    // Who asks comes before what is asked for.
    world.get(LIVE_PATH).await.is_problem(401, "signature");
    let signed = gate.signed("GET", LIVE_PATH, vec![], world.app.now_ms() / 1000, &gate.nonce());
    let reply = world.send(signed).await;
    reply.is_problem(426, "upgrade");
    assert_eq!(reply.headers["upgrade"], "websocket");
}

#[tokio::test]
async fn staff_are_told_that_managers_do_it() {
    let world = World::new().await;
    let venue = world.venue.clone();
    world
        .app
        .db()
        .write(async |tx| {
            tx.execute("UPDATE members SET role = 'staff' WHERE venue_id = $1", crate::store::params![venue.as_str()])
                .await
        })
        .await
        .unwrap();
    world.get(&world.at("zones")).await.is_problem(403, "role");
    world.post("/v1/venues", json!({"name": "More", "time_zone": "UTC"})).await.is_problem(403, "role");
}

#[tokio::test]
async fn the_first_run_happens_once_and_gives_a_safe_cookie() {
    let mut world = World::empty().await;
    assert_eq!(world.get("/v1/setup").await.json(), json!({"owner_exists": false}));
    let body = |password: &str, zone: &str| json!({"email": " Owner@Venue.example ", "name": "Owner", "password": password, "venue_name": "Lot", "time_zone": zone});
    for (name, bad, pointer) in [
        ("short password", body("short", "UTC"), "/password"),
        ("unknown zone", body("long enough pw", "Mars/Olympus"), "/time_zone"),
    ] {
        let problem = world.post("/v1/setup", bad).await.is_problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{name}");
    }
    let reply = world.post("/v1/setup", body("long enough pw", "Europe/Bucharest")).await.ok();
    let cookie = reply.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(reply.json()["user"]["email"], "owner@venue.example");
    world.post("/v1/setup", body("long enough pw", "UTC")).await.is_problem(409, "owner_exists");
    world.cookie = cookie_in(&reply);
    assert_eq!(world.get("/v1/session").await.ok().json(), reply.json());
    let kept = world.app.db().read(async |tx| tx.query("SELECT token FROM sessions", &[]).await).await.unwrap();
    assert_ne!(kept[0].get::<String>(0).unwrap(), world.cookie, "only its hash is stored");
    let gone = world.send(world.request("DELETE", "/v1/session", None)).await.ok();
    assert!(gone.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    world.get("/v1/session").await.is_problem(401, "login_needed");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_tells_nothing_about_who_exists() {
    let world = World::new().await;
    let known = world.post("/v1/session", login("owner@venue.example", "wrong password")).await;
    let unknown = world.post("/v1/session", login("nobody@venue.example", "wrong password")).await;
    known.is_problem(401, "wrong_login");
    assert_eq!(known.body, unknown.body);
    for email in ["owner@venue.example", "nobody@venue.example"] {
        for _ in 1..5 {
            world.post("/v1/session", login(email, "wrong password")).await.is_problem(401, "wrong_login");
        }
        let reply = world.post("/v1/session", login(email, "correct horse battery")).await;
        reply.is_problem(429, "throttled");
        assert_eq!(reply.headers["retry-after"], "1", "{email}");
    }
    world.later(1000);
    world.post("/v1/session", login("Owner@venue.example", "correct horse battery")).await.ok();
    for _ in 0..4 {
        world.post("/v1/session", login("owner@venue.example", "wrong password")).await.is_problem(401, "wrong_login");
        world.post("/v1/session", login("owner@venue.example", "correct horse battery")).await.ok();
    }
}

fn from(mut request: Request<Body>, address: &str) -> Request<Body> {
    let address = std::net::SocketAddr::new(address.parse().unwrap(), 1);
    request.extensions_mut().insert(axum::extract::ConnectInfo(address));
    request
}

/// Many addresses guess at one account no faster than one does, and its owner still gets in.
#[tokio::test]
async fn an_account_is_guarded_from_everywhere_and_its_owner_is_not_locked_out() {
    let world = World::new().await;
    let try_from = async |world: &World, address: &str, cookie: Option<&str>, password: &str| {
        let body = login("owner@venue.example", password);
        let mut request = from(world.request("POST", "/v1/session", Some(body)), address);
        if let Some(cookie) = cookie {
            request.headers_mut().insert("cookie", cookie.parse().unwrap());
        }
        world.send(request).await
    };
    let first = try_from(&world, "192.0.2.1", None, "correct horse battery").await.ok();
    let cookies: Vec<&str> = first.headers.get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
    let known = cookies.iter().find(|c| c.starts_with("gate_known=")).unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Secure"] {
        assert!(known.contains(part), "{known}");
    }
    let known = known.split(';').next().unwrap();
    let (mut looked_at, mut longest) = (0, 0);
    for second in 0..300 {
        let address = format!("198.51.100.{}", second % 250);
        let reply = try_from(&world, &address, None, "a guess").await;
        if reply.status == 401 {
            looked_at += 1;
        } else {
            reply.is_problem(429, "throttled");
            longest = longest.max(reply.headers["retry-after"].to_str().unwrap().parse::<i64>().unwrap());
        }
        world.later(1000);
    }
    assert!(longest <= 30, "{longest}");
    assert!((10..=20).contains(&looked_at), "{looked_at} guesses in five minutes");
    try_from(&world, "192.0.2.1", Some("gate_known=00.00"), "correct horse battery").await.is_problem(429, "throttled");
    try_from(&world, "192.0.2.9", Some(known), "correct horse battery").await.ok();
    world.get("/v1/session").await.ok();
    world.later(30_000);
    try_from(&world, "192.0.2.77", None, "correct horse battery").await.ok();
    // One customer's addresses are one address.
    for n in 0..60 {
        let body = login(&format!("someone{n}@venue.example"), "a guess");
        world
            .send(from(world.request("POST", "/v1/session", Some(body)), &format!("2001:db8::{n:x}")))
            .await
            .is_problem(401, "wrong_login");
    }
    let body = login("owner@venue.example", "correct horse battery");
    let request = from(world.request("POST", "/v1/session", Some(body)), "2001:db8::ffff");
    world.send(request).await.is_problem(429, "throttled");
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
    const HOUR: i64 = 3_600_000;
    let world = World::new().await;
    for _ in 0..13 {
        world.later(23 * HOUR);
        world.get("/v1/session").await.ok();
    }
    world.later(40 * HOUR);
    world.get("/v1/session").await.is_problem(401, "login_needed");
    let fresh = World::new().await;
    for _ in 0..14 {
        fresh.later(23 * HOUR);
        fresh.get("/v1/session").await.ok();
    }
    fresh.later(15 * HOUR);
    fresh.get("/v1/session").await.is_problem(401, "login_needed");
    let mut planted = World::new().await;
    planted.cookie = format!("{}; gate_session=planted", planted.cookie);
    planted.get("/v1/session").await.is_problem(401, "login_needed");
}

async fn gate() -> (World, TestDevice) {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let device = world.device(zone, Direction::In).await;
    (world, device)
}

fn pull() -> Vec<u8> {
    gate_core::canonical::encode(&gate_core::sync::v1::Pull { position: 0, head: Hash::ZERO })
}

/// a signed request is taken once and in its time.
#[tokio::test]
async fn a_signed_request_is_taken_once_and_in_its_time() {
    let (world, device) = gate().await;
    let now = world.app.now_ms() / 1000;
    let send =
        async |created: i64, nonce: &str| world.send(device.signed("POST", CHANGES_PATH, pull(), created, nonce)).await;
    send(now, "nonce-nonce-nonce-1").await.ok();
    send(now, "nonce-nonce-nonce-1").await.is_problem(401, "replayed");
    send(now + 1, "nonce-nonce-nonce-1").await.is_problem(401, "replayed");
    for (name, created, taken) in [
        ("300 s ago", -300, true),
        ("301 s ago", -301, false),
        ("300 s ahead", 300, true),
        ("301 s ahead", 301, false),
        ("1970", -now, false),
    ] {
        let reply = send(now + created, &device.nonce()).await;
        if taken {
            reply.ok();
        } else {
            reply.is_problem(401, "clock_skew");
            assert!(reply.headers.contains_key("gate-nonce"), "{name}");
        }
    }
    let offered = send(0, &device.nonce()).await.headers["gate-nonce"].to_str().unwrap().to_owned();
    send(0, &offered).await.ok();
    send(0, &offered).await.is_problem(401, "clock_skew");
    let late = send(0, &device.nonce()).await.headers["gate-nonce"].to_str().unwrap().to_owned();
    world.later(61_000);
    send(0, &late).await.is_problem(401, "clock_skew");
    world.later(600_000);
    send(now, "nonce-nonce-nonce-1").await.is_problem(401, "clock_skew");
}

/// no part of a signed request can be moved, dropped or doubled.
#[tokio::test]
async fn a_signature_fits_one_request_only() {
    let (world, device) = gate().await;
    let other = world.device(device.zone, Direction::Out).await;
    let now = world.app.now_ms() / 1000;
    let good = || device.signed("POST", CHANGES_PATH, pull(), now, &device.nonce());
    let moved = |change: &dyn Fn(&mut Request<Body>)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let replaced = |name: &'static str, from: &'static str, to: &'static str| {
        moved(&move |request: &mut Request<Body>| {
            let value = request.headers()[name].to_str().unwrap().replacen(from, to, 1);
            request.headers_mut().insert(name, value.parse().unwrap());
        })
    };
    let second = |name: &'static str| {
        moved(&move |request: &mut Request<Body>| {
            let value = request.headers()[name].clone();
            request.headers_mut().append(name, value);
        })
    };
    let dropped =
        |name: &'static str| moved(&move |request: &mut Request<Body>| drop(request.headers_mut().remove(name)));
    let names = [device.enrolled.device.to_string(), other.enrolled.device.to_string()];
    for (name, request) in [
        ("other path", moved(&|request| *request.uri_mut() = EVENTS_PATH.parse().unwrap())),
        ("query added", moved(&|request| *request.uri_mut() = "/v1/sync/changes?a=1".parse().unwrap())),
        ("other body", moved(&|request| *request.body_mut() = Body::from("other"))),
        ("digest dropped", dropped("content-digest")),
        ("signature dropped", dropped("signature")),
        ("input dropped", dropped("signature-input")),
        ("digest twice", second("content-digest")),
        ("signature twice", second("signature")),
        ("input twice", second("signature-input")),
        ("second label", replaced("signature", "gate=", "other=:AA==:, gate=")),
        ("other algorithm", replaced("signature-input", "ed25519", "hmac-sha256")),
        ("component dropped", replaced("signature-input", " \"content-digest\"", "")),
        ("other nonce", replaced("signature-input", "nonce-of-test", "nonce-of-TEST")),
        ("parameter added", replaced("signature-input", ";alg", ";expires=9;alg")),
        (
            "another device's name",
            moved(&|request: &mut Request<Body>| {
                let value = request.headers()["signature-input"].to_str().unwrap().replace(&names[0], &names[1]);
                request.headers_mut().insert("signature-input", value.parse().unwrap());
            }),
        ),
    ] {
        let reply = world.send(request).await;
        assert_eq!(reply.status, 401, "{name}: {}", String::from_utf8_lossy(&reply.body));
        reply.is_problem(401, "signature");
    }
    world.send(good()).await.ok();
}

/// another spelling of the same request gets no other answer than 401 or 404.
#[tokio::test]
async fn a_request_has_one_spelling() {
    use gate_core::sync::request_signature::{self, Signer9421};
    let (world, device) = gate().await;
    let body = pull();
    for (name, authority, signed_path, sent_path, status) in [
        ("as it should be", AUTHORITY, CHANGES_PATH, CHANGES_PATH, 200),
        ("host in capitals", "CLOUD.EXAMPLE", CHANGES_PATH, CHANGES_PATH, 401),
        ("port spelled out", "cloud.example:443", CHANGES_PATH, CHANGES_PATH, 401),
        ("another host", "other.example", CHANGES_PATH, CHANGES_PATH, 401),
        ("double slash", AUTHORITY, "//v1/sync/changes", "//v1/sync/changes", 404),
        ("double slash sent only", AUTHORITY, CHANGES_PATH, "/v1//sync/changes", 404),
        ("escaped slash", AUTHORITY, "/v1%2Fsync/changes", "/v1%2Fsync/changes", 404),
        ("escaped letter sent only", AUTHORITY, CHANGES_PATH, "/v1/sync/change%73", 401),
        ("slash at the end", AUTHORITY, CHANGES_PATH, "/v1/sync/changes/", 404),
    ] {
        let signer =
            Signer9421 { device: device.enrolled.device, created: world.app.now_ms() / 1000, nonce: device.nonce() };
        let request =
            request_signature::Request { method: "POST", authority, path: signed_path, query: "", body: &body };
        let headers = request_signature::sign(&request, &signer, &device.key);
        let sent = Request::post(sent_path)
            .header("Host", "whatever.example")
            .header("content-digest", headers.content_digest)
            .header("signature-input", headers.signature_input)
            .header("signature", headers.signature)
            .body(Body::from(body.clone()))
            .unwrap();
        let reply = world.send(sent).await;
        // An escaped letter may be another route or this one with another path: never this request.
        assert!(reply.status == status || (status == 401 && reply.status == 404), "{name}: {}", reply.status);
    }
}
