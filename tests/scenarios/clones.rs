//! Cards that were copied, set back or thrown away: seen at first contact, nothing lost, nothing believed that should not be.

use std::time::Duration;

use anyhow::Context;
use gate_core::decision::Verdict;
use gate_tests::clock::Deadline;
use gate_tests::world::device::{Device, Passes, Post};
use gate_tests::world::{Cloud, Office, copy_folder, memory_folder, text_at};
use serde_json::{Value, json};

struct One {
    world: std::path::PathBuf,
    cloud: Cloud,
    office: Office,
    device: Device,
    passes: Passes,
    url: String,
}

impl One {
    async fn open(name: &str) -> anyhow::Result<Self> {
        let world = memory_folder(name)?;
        let cloud = Cloud::start(&world).await?;
        let office = Office::first_login(cloud.address).await?;
        let url = format!("http://{}", cloud.link.address());
        let zone = text_at(&office.post("/zones", &json!({"name": "Lot", "capacity": 100})).await?, "/id")?;
        let post = Post { name: "Entrance", zone: &zone, entrance: true };
        let mut device = Device::enrol(&office, post, &world, &url).await?;
        let passes = Passes::of_new_vendor(&office, &device, "V1").await?;
        device.start(&url, None)?;
        device.until("it is ready", |d| Ok(d.knows_vendor()? && d.holds_rights()?)).await?;
        device.settles().await?;
        Ok(Self { world, cloud, office, device, passes, url })
    }

    async fn inbox(&self) -> anyhow::Result<Value> {
        self.office.look("/alerts?limit=500").await
    }

    /// Waits until the office was alarmed of this.
    async fn alarmed(&self, kind: &str) -> anyhow::Result<Value> {
        let deadline = Deadline::after(Duration::from_secs(60));
        loop {
            let inbox = self.inbox().await?;
            if inbox["alerts"].as_array().is_some_and(|all| all.iter().any(|alert| alert["kind"] == kind)) {
                return Ok(inbox);
            }
            anyhow::ensure!(!deadline.is_over(), "no {kind} in {inbox}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the cloud holds so many events, applied or kept aside.
    async fn holds(&self, events: u64) -> anyhow::Result<()> {
        let deadline = Deadline::after(Duration::from_secs(60));
        loop {
            let inbox = self.inbox().await?;
            let held = inbox["applied"].as_u64().unwrap_or(0) + inbox["parked"].as_u64().unwrap_or(0);
            if held >= events {
                return Ok(());
            }
            anyhow::ensure!(!deadline.is_over(), "{events} events were written, the cloud holds {held}: {inbox}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn close(mut self) -> anyhow::Result<()> {
        self.device.stop().await;
        drop((self.device, self.cloud));
        Ok(std::fs::remove_dir_all(&self.world)?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_one_card_are_seen_at_first_contact_and_both_histories_are_kept() -> anyhow::Result<()> {
    let mut one = One::open("gate-clone").await?;
    one.device.present(&one.passes.pass(1), false)?;
    one.device.settles().await?;
    one.device.stop().await;
    let (name, gate, dir) = (one.device.name.clone(), one.device.gate.clone(), one.device.dir().to_path_buf());
    let shared = one.device.events()?;
    let copied = one.world.join("copy");
    copy_folder(&dir, &copied)?;
    // Both run: the first and its copy admit different people. Each start begins an epoch of its own after the same head.
    let mut clone = Device::open(&name, &gate, copied)?;
    let One { world, cloud, office, device, passes, url } = one;
    drop(device);
    let first = Device::open(&name, &gate, dir)?;
    let mut one = One { world, cloud, office, device: first, passes, url };
    one.device.present(&one.passes.pass(2), false)?;
    clone.present(&one.passes.pass(3), false)?;
    let url = one.url.clone();
    one.device.start(&url, None)?;
    one.device.settles().await?;
    clone.start(&url, None)?;
    one.alarmed("fork").await?;
    // Both are fenced: what they say from now on is kept aside, believed by nobody and lost to nobody.
    let applied = one.inbox().await?["applied"].clone();
    one.device.present(&one.passes.pass(4), false)?;
    clone.present(&one.passes.pass(5), false)?;
    let both = one.device.events()? + clone.events()? - shared;
    one.holds(both).await?;
    let inbox = one.inbox().await?;
    assert!(inbox["parked"].as_u64().is_some_and(|parked| parked >= 4), "{inbox}");
    assert_eq!(inbox["applied"], applied, "{inbox}");
    let zones = one.office.overview().await?;
    let before = zones["zones"][0]["occupancy"].as_u64().context("no occupancy")?;
    assert!(before < 5, "what is kept aside is not counted: {zones}");
    // A manager looks, and lets the device go on: then nothing of either history is missing.
    let open = one.office.look("/conflicts?kind=fork&state=open").await?;
    let list = open.as_array().or_else(|| open["conflicts"].as_array()).context("no list of conflicts")?;
    let id = text_at(list.first().context("no conflict")?, "/id")?;
    let resolution = json!({"action": "release", "note": "the card was copied for a test"});
    one.office.post(&format!("/conflicts/{id}/resolve"), &resolution).await?;
    one.device.wake.link_up();
    clone.wake.link_up();
    one.device.settles().await?;
    clone.settles().await?;
    let inbox = one.inbox().await?;
    assert_eq!((&inbox["applied"], &inbox["parked"]), (&json!(both), &json!(0)), "{inbox}");
    let zones = one.office.overview().await?;
    assert_eq!(zones["zones"][0]["occupancy"], 5, "{zones}");
    clone.stop().await;
    drop(clone);
    one.close().await
}

/// a whole older card in the gate. The cloud fences it, and the gate says itself what is wrong with it.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_card_that_was_put_back_is_found_by_the_cloud_and_by_the_gate_itself() -> anyhow::Result<()> {
    let mut one = One::open("gate-set-back").await?;
    one.device.present(&one.passes.pass(1), false)?;
    one.device.settles().await?;
    one.device.stop().await;
    let (name, gate, dir) = (one.device.name.clone(), one.device.gate.clone(), one.device.dir().to_path_buf());
    let older = one.world.join("older");
    copy_folder(&dir, &older)?;
    let url = one.url.clone();
    one.device.start(&url, None)?;
    one.device.present(&one.passes.pass(2), false)?;
    one.device.settles().await?;
    one.device.stop().await;
    let One { world, cloud, office, device, passes, url } = one;
    drop(device);
    let mut back = Device::open(&name, &gate, older.clone())?;
    assert!(gate_agent::journal_check::verify(&older.join("replica.db"))?.ok, "without a road nobody can know");
    back.start(&url, None)?;
    let one = One { world, cloud, office, device: back, passes, url };
    one.alarmed("journal_shorter").await?;
    let deadline = Deadline::after(Duration::from_secs(60));
    let said = loop {
        let report = gate_agent::journal_check::verify(&older.join("replica.db"))?;
        if !report.ok {
            break report.to_string();
        }
        anyhow::ensure!(!deadline.is_over(), "the gate does not find out: {report}");
        one.device.wake.link_up();
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(said.contains("set back") || said.contains("tail is missing"), "{said}");
    one.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_withdrawn_device_says_is_kept_aside_and_changes_nothing() -> anyhow::Result<()> {
    let mut one = One::open("gate-revoked").await?;
    one.device.present(&one.passes.pass(1), false)?;
    one.device.settles().await?;
    let before = one.inbox().await?;
    one.device.stop().await;
    one.device.present(&one.passes.pass(2), false)?;
    let device = one.device.identity().device;
    one.office.post(&format!("/devices/{device}/revoke"), &json!({})).await?;
    let url = one.url.clone();
    one.device.start(&url, None)?;
    one.device.until("it hears that it is withdrawn", |d| Ok(d.replica().reader()?.device_revoked()?)).await?;
    let deadline = Deadline::after(Duration::from_secs(60));
    let mut after = one.inbox().await?;
    while after["parked"] != 2 {
        anyhow::ensure!(!deadline.is_over(), "the admission and its opening should be kept aside: {after}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        after = one.inbox().await?;
    }
    assert_eq!(after["applied"], before["applied"], "nothing it says is taken as true: {after}");
    let zones = one.office.overview().await?;
    assert_eq!(zones["zones"][0]["occupancy"], 1, "{zones}");
    let (verdict, _) = one.device.present(&one.passes.pass(1), false)?;
    assert!(matches!(&verdict, Verdict::Refuse(_)), "a withdrawn device lets nobody in: {verdict:?}");
    one.close().await
}
