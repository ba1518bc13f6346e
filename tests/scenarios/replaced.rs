//! A dead gate gets a new card: the old identity is fenced by that alone, and the new one knows what the old one did.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use gate_agent::sync::CloudUrl;
use gate_agent::sync::transport::{HttpRoad, Limits, client};
use gate_core::decision::Verdict;
use gate_core::reason::Reason;
use gate_tests::clock::Deadline;
use gate_tests::world::device::{Device, Passes, Post};
use gate_tests::world::{Certificates, Cloud, Link, Mode, NAME, Office, free_address, memory_folder, program, text_at};
use serde_json::json;

/// Passes that were used before the machine died.
const USED: u64 = 40;
/// A new card must serve within this long, from the code on.
const SERVES: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_new_card_serves_with_what_the_old_one_did_and_the_old_one_is_fenced() -> anyhow::Result<()> {
    let world = memory_folder("gate-replaced")?;
    let cloud = Cloud::start(&world).await?;
    let office = Office::first_login(cloud.address).await?;
    let zone = text_at(&office.post("/zones", &json!({"name": "Lot", "capacity": 100})).await?, "/id")?;
    let url = format!("http://{}", cloud.link.address());
    let post = Post { name: "Entrance", zone: &zone, entrance: true };
    let mut old = Device::enrol(&office, post, &world, &url).await?;
    let passes = Passes::of_new_vendor(&office, &old, "V1").await?;
    old.start(&url, None)?;
    old.until("it may let in", |device| Ok(device.knows_vendor()? && device.holds_rights()?)).await?;
    for number in 0..USED {
        let (verdict, _) = old.present(&passes.pass(number), false)?;
        anyhow::ensure!(matches!(verdict, Verdict::Admit(_)), "{verdict:?}");
    }
    old.settles().await?;
    old.stop().await;

    // A new card, and one code from the dashboard. Nobody touches anything else.
    let deadline = Deadline::after(SERVES);
    let code = text_at(&office.post(&format!("/gates/{}/enrolment", old.gate), &json!({})).await?, "/code")?;
    let mut new = Device::take_over(&old, &code, &world, &url).await?;
    assert_ne!(new.identity().device, old.identity().device);
    new.start(&url, None)?;
    new.until("it may let in", |device| Ok(device.knows_vendor()? && device.holds_rights()?)).await?;
    for number in [0, USED / 2, USED - 1] {
        let (verdict, _) = new.present(&passes.pass(number), false)?;
        assert!(matches!(&verdict, Verdict::Refuse(r) if r.reason == Reason::AlreadyUsed), "{number}: {verdict:?}");
    }
    let (verdict, _) = new.present(&passes.pass(USED), false)?;
    assert!(matches!(verdict, Verdict::Admit(_)), "{verdict:?}");
    new.settles().await?;
    anyhow::ensure!(!deadline.is_over(), "it took longer than {SERVES:?}");
    let overview = office.overview().await?;
    assert_eq!(overview["zones"][0]["occupancy"], USED + 1, "counted on: {overview}");
    let status = new.reader().status(Device::now())?;
    assert_eq!(u64::from(status.zones[0].occupancy), USED + 1, "the new card counts on too");

    // The old machine was not dead after all: it hears that it is withdrawn, and nothing it says is believed.
    let before = office.look("/alerts").await?["applied"].clone();
    let address = CloudUrl::parse(&url)?;
    let mut engine = old.engine(HttpRoad::new(client(Limits::default())?, address.clone()), &address);
    let (verdict, _) = old.present(&passes.pass(USED + 7), false)?;
    assert!(matches!(verdict, Verdict::Admit(_)), "it has not heard yet: {verdict:?}");
    let deadline = Deadline::after(Duration::from_secs(60));
    while !old.reader().device_revoked().context("the old card")? {
        anyhow::ensure!(!deadline.is_over(), "the old card never hears that it is withdrawn");
        old.wake.link_up();
        engine.step().await;
    }
    assert_eq!(office.look("/alerts").await?["applied"], before, "what it did since is not counted as the gate's");
    let gates = office.look("/gates").await?;
    assert_eq!(gates[0]["device_id"], json!(new.identity().device.to_string()));
    new.stop().await;
    drop((engine, old, new, cloud));
    std::fs::remove_dir_all(&world)?;
    Ok(())
}

/// A new card in a machine without a battery believes that it is another year, and the cloud's certificate says that it is
/// not good then. A machine that NTP keeps knows better.
#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_does_not_know_the_date_is_enrolled_and_one_that_does_insists_on_it() -> anyhow::Result<()> {
    let world = memory_folder("gate-enrol-dates")?;
    let certificates = Arc::new(Certificates::new()?);
    let address = free_address()?;
    let road = Link::open_tls(address, certificates.clone()).await?;
    let authority = format!("{NAME}:{}", road.address().port());
    let cloud = Cloud::serve(&world, address, std::slice::from_ref(&authority)).await?;
    let office = Office::first_login(address).await?;
    let zone = text_at(&office.post("/zones", &json!({"name": "Lot", "capacity": 100})).await?, "/id")?;
    let plan = json!({"name": "Entrance", "direction": "in", "zone_id": zone, "egress": "scan"});
    let gate = text_at(&office.post("/gates", &plan).await?, "/id")?;
    let code = text_at(&office.post(&format!("/gates/{gate}/enrolment"), &json!({})).await?, "/code")?;
    let (trusted, marker, config) = (world.join("authority.pem"), world.join("ntp"), world.join("gate-agent.toml"));
    std::fs::write(&trusted, certificates.authority())?;
    let text = format!(
        "data_dir = {:?}\ncloud_url = \"https://{authority}\"\n[clock]\nntp_marker = {marker:?}\n",
        world.join("state")
    );
    std::fs::write(&config, text)?;
    let enrol = || {
        let mut command = Command::new(program("gate-agent")?);
        command.arg("enrol").arg(&code).arg("--config").arg(&config).env("SSL_CERT_FILE", &trusted);
        let said = command.output()?;
        anyhow::Ok((said.status.success(), String::from_utf8_lossy(&said.stderr).into_owned()))
    };
    road.set(Mode::Expired);
    std::fs::write(&marker, "")?;
    let (enrolled, said) = tokio::task::block_in_place(enrol)?;
    assert!(!enrolled && said.contains("certificate"), "it knows the date: {said}");
    std::fs::remove_file(&marker)?;
    let (enrolled, said) = tokio::task::block_in_place(enrol)?;
    assert!(enrolled, "nobody knows the date: {said}");
    drop(cloud);
    Ok(std::fs::remove_dir_all(&world)?)
}
