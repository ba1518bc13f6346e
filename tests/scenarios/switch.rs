//! Whoever works on the network throws the maintenance switch, and it comes back.

use gate_tests::world::{Cloud, Gate, GatePlan, HOLD, Office, fresh_folder, text_at};
use hardware::lines::simulated::ReleaseModel;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_stops_the_exchange_and_nothing_else_until_it_is_back() -> anyhow::Result<()> {
    let world = fresh_folder("gate-switch")?;
    let cloud = Cloud::start(&world).await?;
    let office = Office::first_login(cloud.address).await?;
    let zone = text_at(&office.post("/zones", &json!({"name": "Lot", "capacity": 9})).await?, "/id")?;
    let plan = json!({"name": "Entrance", "direction": "in", "zone_id": zone});
    let id = text_at(&office.post("/gates", &plan).await?, "/id")?;
    let code = text_at(&office.post(&format!("/gates/{id}/enrolment"), &json!({})).await?, "/code")?;
    let at = cloud.link.address();
    let plan = GatePlan { name: "gate", world: &world, cloud: at, release: ReleaseModel::Strict, hold: HOLD };
    let mut gate = Gate::build(&plan)?;
    gate.command(&["enrol", &code])?;
    gate.start().await?;
    gate.wait("it is online", |s| s["status"]["link"] == "online" && s["status"]["pending"] == 0).await?;
    gate.command(&["offline", "--for", "30m"])?;
    gate.wait("it is offline", |s| s["status"]["link"] == "offline").await?;
    assert_eq!(gate.status().await?["screen"]["kind"], "idle", "people are served as before");
    gate.command(&["online"])?;
    gate.wait("it is online again", |s| s["status"]["link"] == "online").await?;
    // The network itself fails: whoever asks the gate hears why, and later that it once did.
    cloud.link.cut();
    let down = |s: &Value| s["status"]["link"] == "offline" && s["status"]["sync_failure"]["in_a_row"] != 0;
    gate.wait("it notices", down).await?;
    let told: Value = serde_json::from_str(&gate.command(&["--json", "status"])?)?;
    let why = told["status"]["sync_failure"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("can't be reached"), "{told}");
    cloud.link.heal();
    let back = |s: &Value| s["status"]["link"] == "online" && s["status"]["sync_failure"]["in_a_row"] == 0;
    gate.wait("it is back", back).await?;
    let told: Value = serde_json::from_str(&gate.command(&["--json", "status"])?)?;
    assert!(told["status"]["sync_failure"]["why"].is_string() && told["status"]["pending"] == 0, "{told}");
    drop((gate, cloud));
    std::fs::remove_dir_all(&world)?;
    Ok(())
}
