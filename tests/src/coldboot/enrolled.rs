//! The state a gate is switched off with: enrolled on its own machine, synced once, and then alone.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::image::Root;
use crate::clock::{Deadline, unix_ms};
use crate::demo::scene;
use crate::world::{Cloud, Office, Process, free_address, http_client, text_at};

/// How long enrolment and first sync may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Milliseconds in a day.
const DAY_MS: i64 = 86_400_000;

/// What the gate had heard when it was switched off.
#[derive(Debug)]
pub struct Heard {
    /// Up to which change.
    pub position: u64,
}

/// Opens a venue with one entrance, puts the product into the system, lets it enrol and sync there, and stops both.
/// Pictures of its passes lie ready for both stories.
pub async fn prepare(root: &Root, world: &Path, seed: u64) -> anyhow::Result<Heard> {
    let mut cloud = Cloud::start(world).await?;
    let screen = free_address()?;
    root.install(cloud.link.address(), screen)?;
    let office = Office::first_login(cloud.address).await?;
    let zone = text_at(&office.post("/zones", &json!({"name": "Lot", "capacity": 10})).await?, "/id")?;
    let gate = json!({"name": "Entrance", "direction": "in", "zone_id": zone, "egress": "scan"});
    let gate = text_at(&office.post("/gates", &gate).await?, "/id")?;
    let vendor = text_at(&office.post("/vendors", &json!({"name": "Taco truck"})).await?, "/id")?;
    let now = unix_ms();
    let batch = json!({
        "vendor_id": vendor, "product_id": 1, "count": 3,
        "valid_from_ms": now - DAY_MS, "valid_until_ms": now + DAY_MS,
    });
    let batch = office.post("/batches", &batch).await?;
    let passes = scene::printed(&office, world, &batch, seed).await?;
    let [first, second, revoked] = passes.as_slice() else { bail!("three passes were ordered") };
    for (story, name, pass) in [
        ("saved", "1-good", first),
        ("saved", "2-revoked", revoked),
        ("lost", "1-copy", first),
        ("lost", "2-good", second),
        ("lost", "3-revoked", revoked),
    ] {
        root.picture(story, name, &pass.frame)?;
    }
    let code = text_at(&office.post(&format!("/gates/{gate}/enrolment"), &json!({})).await?, "/code")?;
    office.post(&format!("/passes/{}/revoke", revoked.cti), &json!({})).await?;
    let inside = root.inside();
    let mut enrolment = Process::start_under(&inside, "enrol", "gate-agent", ["enrol", &code], world)?;
    enrolment.wait(PATIENCE)?;
    let mut agent = Process::start_under(&inside, "gate-agent", "gate-agent", ["run"], world)?;
    let heard = synced(&mut agent, screen).await?;
    agent.stop(Duration::from_secs(20))?;
    cloud.process.stop(Duration::from_secs(20))?;
    Ok(heard)
}

/// Waits until the gate holds everything the cloud has said, and the cloud everything the gate has.
async fn synced(agent: &mut Process, screen: SocketAddr) -> anyhow::Result<Heard> {
    let client = http_client(Duration::from_secs(3))?;
    let deadline = Deadline::after(PATIENCE);
    let mut last = Value::Null;
    loop {
        if let Ok(answer) = client.get(format!("http://{screen}/v1/status")).send().await {
            last = answer.json().await?;
            let status = &last["status"];
            let has_all = status["synced_age_s"].is_number() && last["gate"]["name"] == "Entrance";
            if let (true, Some(0), Some(position)) = (has_all, status["pending"].as_u64(), status["position"].as_u64())
            {
                return Ok(Heard { position });
            }
        }
        agent.must_run()?;
        if deadline.is_over() {
            bail!("the first sync took longer than {PATIENCE:?}; it shows {last}\nits log ends:\n{}", agent.said());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
