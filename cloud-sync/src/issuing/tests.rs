//! Batches through the real router, and every pass they make.

use std::collections::BTreeSet;

use gate_core::ids::{Direction, VenueId};
use gate_core::pass::{Finding, Keyring, ScannedPass, open};
use gate_core::sync::v1::{Change, PassChange};
use gate_core::view::PassStanding;
use serde_json::json;

use super::Code;
use crate::testing::{NOON, TestDevice, World, keyring};

async fn shop() -> (World, TestDevice, String) {
    let world = World::new().await;
    let zone = world.zone(10).await;
    let gate = world.device(zone, Direction::In).await;
    let vendor = world.vendor("Brutăria Ștefănescu").await;
    (world, gate, vendor)
}

fn venue(world: &World) -> VenueId {
    world.venue.parse().unwrap()
}

async fn keys(world: &World, gate: &TestDevice) -> Keyring {
    keyring(&gate.replica(world).await, gate)
}

async fn issued(world: &World) -> i64 {
    world.app.db().read(async |tx| tx.number("SELECT COUNT(*) FROM passes", &[]).await).await.unwrap()
}

#[tokio::test]
async fn a_batch_is_made_once_and_wholly_or_not_at_all() {
    let (world, _, vendor) = shop().await;
    let asked = world.batch_of(&vendor, 30);
    let made = world.batch("morning", &asked).await.ok().json();
    assert_eq!(world.batch("morning", &asked).await.ok().json(), made, "the stored answer");
    assert_eq!(issued(&world).await, 30);
    let mut other = asked.clone();
    other["count"] = json!(31);
    world.batch("morning", &other).await.is_problem(422, "idempotency_reused");
    world.post(&world.at("batches"), asked.clone()).await.is_problem(400, "idempotency_key");
    for (name, field, value, pointer) in [
        ("none", "count", json!(0), "/count"),
        ("too many", "count", json!(5001), "/count"),
        ("over before it begins", "valid_until_ms", json!(NOON - 7_200_000), "/valid_until_ms"),
        ("over already", "valid_until_ms", json!(NOON - 1), "/valid_until_ms"),
        ("for ever", "valid_until_ms", json!(NOON + 4 * 365 * 86_400_000i64), "/valid_until_ms"),
        ("long ago", "valid_from_ms", json!(NOON - 9 * 86_400_000i64), "/valid_from_ms"),
        ("unknown vendor", "vendor_id", json!("nobody"), "/vendor_id"),
        ("unknown product", "product_id", json!(9), "/product_id"),
    ] {
        let mut bad = asked.clone();
        bad[field] = value;
        let problem = world.batch(name, &bad).await.is_problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{name}");
    }
    let mut endless = asked.clone();
    endless.as_object_mut().unwrap().remove("valid_until_ms");
    world.batch("no end", &endless).await.is_problem(422, "invalid");
    assert_eq!(issued(&world).await, 30, "what failed left nothing");
    world.batch("largest", &world.batch_of(&vendor, 5000)).await.ok();
    assert_eq!(issued(&world).await, 5030);
}

#[tokio::test]
async fn pages_miss_nothing_and_double_nothing_while_batches_come_in() {
    let (world, _, vendor) = shop().await;
    let mut made = Vec::new();
    let mut issue = async |n: usize| {
        let reply = world.batch(&format!("key {n}"), &world.batch_of(&vendor, 1)).await.ok().json();
        made.push(reply["batch_id"].as_str().unwrap().to_owned());
    };
    for n in 0..7 {
        issue(n).await;
        if n % 3 == 0 {
            world.later(1000);
        }
    }
    let (mut seen, mut path) = (Vec::new(), world.at("batches?limit=2"));
    loop {
        let reply = world.get(&path).await.ok();
        let page = reply.json();
        seen.extend(page.as_array().unwrap().iter().map(|batch| batch["batch_id"].as_str().unwrap().to_owned()));
        world.later(1000);
        issue(100 + seen.len()).await;
        let Some(link) = reply.headers.get("link") else { break };
        let link = link.to_str().unwrap();
        path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap().to_owned();
    }
    seen.sort();
    let mut expected = made[..7].to_vec();
    expected.sort();
    assert_eq!(seen, expected);
    for bad in ["limit=0", "limit=501", "after=xyz"] {
        world.get(&world.at(&format!("batches?{bad}"))).await.is_problem(422, "invalid");
    }
}

#[tokio::test]
async fn a_quota_counts_by_the_venues_day_and_says_what_is_left() {
    let (world, _, vendor) = shop().await;
    let path = world.at(&format!("vendors/{vendor}"));
    world.send(world.request("PATCH", &path, Some(json!({"daily_quota": 50})))).await.ok();
    world.batch("a", &world.batch_of(&vendor, 30)).await.ok();
    let problem = world.batch("b", &world.batch_of(&vendor, 21)).await.is_problem(422, "quota");
    assert!(problem["detail"].as_str().unwrap().starts_with("20 of 50"), "{problem}");
    world.batch("c", &world.batch_of(&vendor, 20)).await.ok();
    world.later(14 * 3_600_000);
    world.batch("d", &world.batch_of(&vendor, 50)).await.ok();
}

#[tokio::test]
async fn ten_thousand_passes_are_unique_genuine_small_and_nameless() {
    let (world, gate, vendor) = shop().await;
    let reference = "Ion Popescu, B 12 XYZ, 0722 123 456";
    let mut texts = Vec::new();
    for key in ["a", "b"] {
        let mut asked = world.batch_of(&vendor, 5000);
        asked["reference"] = json!(reference);
        let made = world.batch(key, &asked).await.ok().json();
        let batch = made["batch_id"].as_str().unwrap();
        texts.extend(crate::routes::batch_texts(&world.app, venue(&world), batch).await);
    }
    let keys = keys(&world, &gate).await;
    let mut ids = BTreeSet::new();
    for (at, text) in texts.iter().enumerate() {
        assert!(text.len() <= 195, "{} characters", text.len());
        let ScannedPass { finding: Finding::Genuine { claims, .. }, .. } = open(text, &keys) else {
            panic!("pass {at} is not genuine");
        };
        ids.insert(claims.cti.0);
        let bytes = base45_bytes(text);
        for word in ["Popescu", "0722 123", "tefănescu", "Brutăria", "Lot Nord", "owner@", "venue.example"] {
            assert!(
                !bytes.windows(word.len()).any(|w| w == word.as_bytes()) && !text.contains(word),
                "{word} in pass {at}"
            );
        }
        if at % 500 == 0 {
            assert_eq!(Code::new(text).unwrap().size(), 41, "version 6");
        }
    }
    assert_eq!(ids.len(), 10_000);
}

/// The token of a text, read without the library that wrote it.
fn base45_bytes(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
    let values: Vec<usize> = text["GP1:".len()..].chars().map(|c| ALPHABET.find(c).unwrap()).collect();
    let mut bytes = Vec::new();
    for group in values.chunks(3) {
        let n = group.iter().rev().fold(0, |sum, value| sum * 45 + value);
        if group.len() == 3 {
            bytes.push((n / 256) as u8);
        }
        bytes.push((n % 256) as u8);
    }
    bytes
}

#[tokio::test]
async fn a_sheet_a_picture_and_a_lookup_show_the_same_pass() {
    let (world, _, vendor) = shop().await;
    let made = world.batch("k", &world.batch_of(&vendor, 50)).await.ok().json();
    let pdf = world.get(made["links"]["pdf"].as_str().unwrap()).await.ok();
    assert_eq!((&pdf.headers["content-type"], &pdf.body[..5]), (&"application/pdf".parse().unwrap(), &b"%PDF-"[..]));
    assert!(String::from_utf8_lossy(&pdf.body).contains("/Count 3"));
    assert_eq!(world.get(made["links"]["pdf"].as_str().unwrap()).await.body, pdf.body, "the same bytes again");
    let whole = world.get(made["links"]["batch"].as_str().unwrap()).await.ok().json();
    let pass = &whole["passes"][49];
    let (cti, short) = (pass["cti"].as_str().unwrap(), pass["short_code"].as_str().unwrap());
    let png = world.get(&world.at(&format!("passes/{cti}.png"))).await.ok();
    assert_eq!(png.headers["content-type"], "image/png");
    let svg = world.get(&world.at(&format!("passes/{cti}.svg"))).await.ok();
    assert!(svg.body.starts_with(b"<svg"));
    let found = world.get(&world.at(&format!("passes/lookup?code={}", short.to_lowercase()))).await.ok().json();
    assert_eq!((found["passes"][0]["cti"].as_str(), found["passes"][0]["status"].as_str()), (Some(cti), Some("valid")));
    assert_eq!(world.get(&world.at(&format!("passes/{cti}"))).await.ok().json(), found["passes"][0]);
    let wrong = if short.starts_with('7') { '8' } else { '7' };
    let mistyped = format!("{wrong}{}", &short[1..]);
    world.get(&world.at(&format!("passes/lookup?code={mistyped}"))).await.is_problem(422, "invalid");
    world.get(&world.at("passes/lookup?code=00000000")).await.is_problem(404, "not_found");
    for name in ["nothing", "nothing.png", &format!("{cti}.exe"), &format!("{}.png", "0".repeat(32))] {
        world.get(&world.at(&format!("passes/{name}"))).await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn what_happens_to_a_pass_reaches_the_gates_in_order() {
    let (world, gate, vendor) = shop().await;
    let made = world.batch("k", &world.batch_of(&vendor, 3)).await.ok().json();
    let batch = made["batch_id"].as_str().unwrap();
    let whole = world.get(made["links"]["batch"].as_str().unwrap()).await.ok().json();
    let cti = |n: usize| whole["passes"][n]["cti"].as_str().unwrap().to_owned();
    let before = gate.replica(&world).await.len();
    let act =
        async |n: usize, action: &str| world.post(&world.at(&format!("passes/{}/{action}", cti(n))), json!({})).await;
    act(0, "block").await.ok();
    act(0, "block").await.ok();
    act(0, "unblock").await.ok();
    act(0, "revoke").await.ok();
    act(0, "unblock").await.is_problem(409, "standing");
    act(0, "reissue").await.is_problem(409, "standing");
    let new = act(1, "reissue").await.ok().json();
    let revoked = world.post(&world.at(&format!("batches/{batch}/revoke")), json!({})).await.ok().json();
    assert_eq!(revoked, json!({"revoked": 2}), "the new pass and the third");
    let told: Vec<(String, PassStanding)> = gate
        .replica(&world)
        .await
        .split_off(before)
        .into_iter()
        .filter_map(|change| {
            if let Change::Pass(PassChange { pass, row }) = change {
                Some((pass.cti.to_string(), row.standing))
            } else {
                None
            }
        })
        .collect();
    let new = new["cti"].as_str().unwrap().to_owned();
    assert_eq!(
        told[..5],
        [
            (cti(0), PassStanding::Blocked),
            (cti(0), PassStanding::Live),
            (cti(0), PassStanding::Revoked),
            (cti(1), PassStanding::Superseded),
            (new.clone(), PassStanding::Live),
        ]
    );
    let rest: BTreeSet<_> = told[5..].iter().map(|(cti, _)| cti.clone()).collect();
    assert_eq!(rest, BTreeSet::from([new, cti(2)]));
    act(9 % 3, "revoke").await.ok();
}

#[tokio::test]
async fn a_key_reaches_as_far_as_its_passes_and_another_vendors_key_signs_nothing_of_them() {
    let (world, gate, vendor) = shop().await;
    let mut far = world.batch_of(&vendor, 1);
    far["valid_until_ms"] = json!(NOON + 1000 * 86_400_000i64);
    let made = world.batch("far", &far).await.ok().json();
    let texts = crate::routes::batch_texts(&world.app, venue(&world), made["batch_id"].as_str().unwrap()).await;
    let keys = keys(&world, &gate).await;
    assert_eq!(keys.len(), 2, "the first key ends after two years, so a second one was made");
    assert!(matches!(open(&texts[0], &keys).finding, Finding::Genuine { .. }));
    let sealed = world
        .app
        .db()
        .read(async |tx| tx.query("SELECT sealed FROM issuers UNION ALL SELECT sealed FROM venue_keys", &[]).await)
        .await
        .unwrap();
    assert_eq!(sealed.len(), 6);
    for row in sealed {
        assert_eq!(row.get::<Vec<u8>>(0).unwrap().len(), 24 + 32 + 16, "sealed, never plain");
    }
}
