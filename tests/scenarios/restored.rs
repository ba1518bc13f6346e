//! A cloud that was restored from a backup: the gates give it back what it lost, none is stuck, none is set back by it.

use std::time::Duration;

use gate_agent::sync::CloudUrl;
use gate_agent::sync::transport::{HttpRoad, Limits, client};
use gate_core::decision::Verdict;
use gate_core::reason::Reason;
use gate_core::sync::session::Link as Heard;
use gate_tests::clock::Deadline;
use gate_tests::world::device::{Device, Passes, Post};
use gate_tests::world::{Cloud, Office, copy_folder, memory_folder, text_at};
use serde_json::json;

/// Moments at which a backup is taken, and admissions before each.
const POINTS: u64 = 6;
const BETWEEN: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_restored_to_any_backup_is_given_back_what_it_lost() -> anyhow::Result<()> {
    let world = memory_folder("gate-restored")?;
    let mut cloud = Cloud::start(&world).await?;
    let office = Office::first_login(cloud.address).await?;
    let zone = text_at(&office.post("/zones", &json!({"name": "Lot", "capacity": 100_000})).await?, "/id")?;
    let url = format!("http://{}", cloud.link.address());
    let post = Post { name: "Entrance", zone: &zone, entrance: true };
    let mut device = Device::enrol(&office, post, &world, &url).await?;
    let passes = Passes::of_new_vendor(&office, &device, "V1").await?;
    let address = CloudUrl::parse(&url)?;
    let road = HttpRoad::new(client(Limits::default())?, address.clone());
    let mut engine = device.engine(road, &address);
    let authorities = [cloud.link.address().to_string()];
    let data = world.join("cloud");
    let backup = |point: u64| world.join(format!("backup-{point}"));

    let mut shown = 0;
    for point in 0..POINTS {
        while !device.knows_vendor()? || !device.holds_rights()? {
            device.wake.hinted();
            engine.step().await;
        }
        for _ in 0..BETWEEN {
            let (verdict, _) = device.present(&passes.pass(shown), false)?;
            anyhow::ensure!(matches!(verdict, Verdict::Admit(_)), "{verdict:?}");
            shown += 1;
        }
        while device.pending()? > 0 {
            engine.step().await;
        }
        cloud.process.kill()?;
        copy_folder(&data, &backup(point))?;
        cloud.process = Cloud::serve(&world, cloud.address, &authorities).await?;
        device.wake.link_up();
    }
    for point in (0..POINTS).rev() {
        cloud.process.kill()?;
        std::fs::remove_dir_all(&data)?;
        copy_folder(&backup(point), &data)?;
        cloud.process = Cloud::serve(&world, cloud.address, &authorities).await?;
        let deadline = Deadline::after(Duration::from_secs(60));
        let inbox = loop {
            device.wake.link_up();
            engine.step().await;
            let inbox = office.look("/alerts").await?;
            let settled = device.pending()? == 0 && engine.link() == Heard::Online;
            if settled && !device.replica().is_resyncing()? && inbox["applied"] == device.events()? {
                break inbox;
            }
            anyhow::ensure!(
                !deadline.is_over(),
                "backup {point}: {} of {} events, {} pending: {inbox}",
                inbox["applied"],
                device.events()?,
                device.pending()?
            );
        };
        assert_eq!(inbox["parked"], 0, "backup {point}: {inbox}");
        let overview = office.overview().await?;
        assert_eq!(overview["zones"][0]["occupancy"], shown, "backup {point}: {overview}");
        // What was used stays used, also what the backup had never heard of.
        let (verdict, _) = device.present(&passes.pass(shown - 1), false)?;
        assert!(matches!(&verdict, Verdict::Refuse(r) if r.reason == Reason::AlreadyUsed), "{verdict:?}");
        let (verdict, _) = device.present(&passes.pass(shown), false)?;
        assert!(matches!(verdict, Verdict::Admit(_)), "backup {point}: the gate goes on: {verdict:?}");
        shown += 1;
    }
    drop((engine, device, cloud));
    std::fs::remove_dir_all(&world)?;
    Ok(())
}
