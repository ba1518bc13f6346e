//! A thief takes the card out of a gate: no name, no key that makes a pass.

use std::path::Path;

use anyhow::Context;
use ed25519_dalek::SigningKey;
use gate_agent::replica::ReplicaReader;
use gate_core::keys::PublicKey;
use gate_core::pass::Keyring;
use gate_tests::clock::unix_ms;
use gate_tests::world::{Cloud, Gate, GatePlan, HOLD, Office, fresh_folder, text_at};
use hardware::lines::simulated::ReleaseModel;
use serde_json::json;

/// Words that the cloud knows and no gate may.
const CANARIES: [&str; 5] = ["owner@venue.example", "Owner", "Canary tacos", "customer-canary-7", "correct horse"];

#[tokio::test(flavor = "multi_thread")]
async fn the_card_holds_no_name_and_no_key_that_makes_a_pass() -> anyhow::Result<()> {
    let world = fresh_folder("gate-stolen")?;
    let cloud = Cloud::start(&world).await?;
    let office = Office::first_login(cloud.address).await?;
    let zone = text_at(&office.post("/zones", &json!({"name": "Lot", "capacity": 9})).await?, "/id")?;
    let plan = json!({"name": "Entrance", "direction": "in", "zone_id": zone});
    let id = text_at(&office.post("/gates", &plan).await?, "/id")?;
    let vendor = text_at(&office.post("/vendors", &json!({"name": "Canary tacos"})).await?, "/id")?;
    let code = text_at(&office.post(&format!("/gates/{id}/enrolment"), &json!({})).await?, "/code")?;
    let now = unix_ms();
    let order = json!({
        "vendor_id": vendor, "product_id": 1, "count": 3, "reference": "customer-canary-7",
        "valid_from_ms": now - 1000, "valid_until_ms": now + 3_600_000,
    });
    let batch = text_at(&office.post("/batches", &order).await?, "/batch_id")?;
    let cti = text_at(&office.look(&format!("/batches/{batch}")).await?, "/passes/0/cti")?;
    office.post(&format!("/passes/{cti}/revoke"), &json!({})).await?;
    let plan = GatePlan {
        name: "gate",
        world: &world,
        cloud: cloud.link.address(),
        release: ReleaseModel::Strict,
        hold: HOLD,
    };
    let mut gate = Gate::build(&plan)?;
    gate.command(&["enrol", &code])?;
    gate.start().await?;
    gate.agent.take().context("the agent runs")?.kill()?;

    let mut keys = ReplicaReader::open(&gate.data_dir().join("replica.db"))?;
    let issuers = issuers(&keys.keyring()?);
    assert!(!issuers.is_empty(), "the gate must know at least one issuing key, or this proves nothing");
    let mut seen = 0usize;
    for file in std::fs::read_dir(gate.data_dir())? {
        let path = file?.path();
        let bytes = std::fs::read(&path)?;
        seen += bytes.len();
        for canary in CANARIES {
            assert!(!holds(&bytes, canary.as_bytes()), "{} holds {canary:?}", path.display());
        }
        assert!(!holds(&bytes, code.as_bytes()), "{} holds the enrolment code", path.display());
        no_window_is_an_issuing_key(&path, &bytes, &issuers);
    }
    assert!(seen > 10_000, "only {seen} bytes were looked at");
    drop(gate);
    std::fs::remove_dir_all(&world)?;
    Ok(())
}

fn issuers(keys: &Keyring) -> Vec<[u8; 32]> {
    keys.iter().map(|issuer| *issuer.key.as_bytes()).collect()
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// Tries every 32 bytes of a file as the seed of a signing key.
fn no_window_is_an_issuing_key(path: &Path, bytes: &[u8], issuers: &[[u8; 32]]) {
    for (at, window) in bytes.windows(32).enumerate() {
        // Free pages are zeros; one look at them is enough.
        if at > 0 && window.iter().all(|byte| *byte == 0) {
            continue;
        }
        let Ok(seed) = window.try_into() else { continue };
        let public = PublicKey::from(&SigningKey::from_bytes(seed));
        assert!(!issuers.contains(public.as_bytes()), "{} holds an issuing key at byte {at}", path.display());
    }
}
