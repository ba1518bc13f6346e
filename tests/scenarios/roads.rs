//! A gate and every kind of bad road: taken for "no network", nothing lost, nothing twice, nobody obeyed but the cloud.

use std::sync::Arc;

use anyhow::Context;
use gate_agent::sync::CloudUrl;
use gate_agent::sync::transport::{HttpRoad, Limits, client};
use gate_core::decision::Verdict;
use gate_core::sync::session::Link as Heard;
use gate_tests::world::device::{Device, Passes, Post};
use gate_tests::world::{Certificates, Cloud, Link, Mode, NAME, Office, free_address, memory_folder, text_at};
use serde_json::json;

/// Presentations before a road goes bad, and while it is.
const BEFORE: u64 = 3;
const WHILE: u64 = 6;
/// Devices that take turns.
const TURNS: u64 = 8;

/// How many the cloud counts in all zones.
async fn counted(office: &Office) -> anyhow::Result<u64> {
    let overview = office.overview().await?;
    let zones = overview["zones"].as_array().context("no zones in the overview")?;
    Ok(zones.iter().filter_map(|zone| zone["occupancy"].as_u64()).sum())
}

/// A road with a gate at its end.
struct Lane {
    mode: Mode,
    road: Link,
    device: Device,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_road_is_no_road_and_everything_arrives_once_when_it_is_good_again() -> anyhow::Result<()> {
    let world = memory_folder("gate-roads")?;
    let certificates = Arc::new(Certificates::new()?);
    let address = free_address()?;
    let mut roads = Vec::new();
    for mode in Mode::ALL {
        roads.push((mode, Link::open_tls(address, certificates.clone()).await?));
    }
    let plain = Link::open(address).await?;
    let mut authorities: Vec<_> = roads.iter().map(|(_, road)| format!("{NAME}:{}", road.address().port())).collect();
    authorities.push(plain.address().to_string());
    let cloud = Cloud::start_at(&world, address, plain, &authorities).await?;
    let office = Office::first_login(cloud.address).await?;
    let mut lanes = Vec::new();
    for (mode, road) in roads {
        let name = format!("{mode:?}");
        let zone = text_at(&office.post("/zones", &json!({"name": name, "capacity": 1000})).await?, "/id")?;
        let post = Post { name: &name, zone: &zone, entrance: true };
        let device = Device::enrol(&office, post, &world, &format!("http://{address}")).await?;
        lanes.push(Lane { mode, road, device });
    }
    let passes = Passes::of_new_vendor(&office, &lanes[0].device, "V1").await?;

    let mut number = 0;
    let mut show = |device: &mut Device, times: u64| -> anyhow::Result<()> {
        for _ in 0..times {
            number += 1;
            let (verdict, _) = device.present(&passes.pass(number), false)?;
            anyhow::ensure!(matches!(verdict, Verdict::Admit(_)), "{}: {verdict:?}", device.name);
        }
        Ok(())
    };
    for lane in &mut lanes {
        let url = format!("https://{NAME}:{}", lane.road.address().port());
        lane.device.start(&url, Some(certificates.authority()))?;
        lane.device.hears(Heard::Online).await.context("the good road")?;
        lane.device
            .until("it knows the vendor and its zone", |device| Ok(device.knows_vendor()? && device.holds_rights()?))
            .await?;
        show(&mut lane.device, BEFORE)?;
        lane.device.settles().await?;
    }

    for lane in &mut lanes {
        lane.device.forget_link();
        lane.road.set(lane.mode);
        show(&mut lane.device, WHILE)?;
    }
    for lane in lanes.iter_mut().filter(|lane| !lane.mode.carries()) {
        lane.device.hears(Heard::Offline).await.with_context(|| format!("{:?}", lane.mode))?;
        // Deciding goes on as if there had never been a network.
        show(&mut lane.device, WHILE)?;
    }
    let mut recorded = 0;
    for lane in &lanes {
        lane.road.heal();
        lane.device.wake.link_up();
    }
    for lane in &lanes {
        lane.device.settles().await.with_context(|| format!("after {:?}", lane.mode))?;
        assert_eq!(lane.road.lured(), 0, "{:?}: nobody follows a redirection", lane.mode);
        recorded += lane.device.events()?;
    }
    let inbox = office.look("/alerts").await?;
    assert_eq!(inbox["applied"], recorded, "every event once: {inbox}");
    assert_eq!((&inbox["parked"], &inbox["alerts"]), (&json!(0), &json!([])), "{inbox}");
    assert_eq!(counted(&office).await?, number, "everybody who was let in is counted once");
    for lane in &mut lanes {
        // None writes in the folder that goes.
        lane.device.stop().await;
    }
    drop((lanes, cloud));
    std::fs::remove_dir_all(&world)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_at_any_byte_counts_nothing_twice() -> anyhow::Result<()> {
    let world = memory_folder("gate-cuts")?;
    let cloud = Cloud::start(&world).await?;
    let office = Office::first_login(cloud.address).await?;
    let url = format!("http://{}", cloud.link.address());
    let address = CloudUrl::parse(&url)?;
    // Several in turn: no single device may ask as often as this test does.
    let mut lanes = Vec::new();
    for n in 0..TURNS {
        let name = format!("Entrance {n}");
        let zone = text_at(&office.post("/zones", &json!({"name": name, "capacity": 100_000})).await?, "/id")?;
        let post = Post { name: &name, zone: &zone, entrance: true };
        let device = Device::enrol(&office, post, &world, &url).await?;
        let road = HttpRoad::new(client(Limits::default())?, address.clone());
        lanes.push((device.engine(road, &address), device));
    }
    let passes = Passes::of_new_vendor(&office, &lanes[0].1, "V1").await?;
    for (engine, device) in &mut lanes {
        while device.pending()? > 0 || !device.knows_vendor()? || !device.holds_rights()? {
            device.wake.hinted();
            engine.step().await;
        }
    }
    let (mut cut, mut shown) = (0u64, 0u64);
    let mut whole = 0;
    while whole < TURNS {
        let (engine, device) = &mut lanes[(cut % TURNS) as usize];
        let (verdict, _) = device.present(&passes.pass(cut), false)?;
        assert!(matches!(verdict, Verdict::Admit(_)), "{cut}: {verdict:?}");
        shown += 1;
        cloud.link.cut_answers_at(cut);
        // The link is up as far as this device knows, and an event waits: it is a push's answer that is cut.
        for _ in 0..4 {
            if device.pending()? == 0 || engine.link() != Heard::Online {
                break;
            }
            engine.step().await;
        }
        whole = if device.pending()? == 0 { whole + 1 } else { 0 };
        cloud.link.heal();
        device.wake.link_up();
        while device.pending()? > 0 {
            engine.step().await;
        }
        cut += 1;
    }
    assert!(cut > 200, "an answer has more than {cut} bytes");
    let recorded = lanes.iter().map(|(_, device)| device.events()).sum::<anyhow::Result<u64>>()?;
    let inbox = office.look("/alerts").await?;
    assert_eq!(inbox["applied"], recorded, "{inbox}");
    assert_eq!((&inbox["parked"], &inbox["alerts"]), (&json!(0), &json!([])), "{inbox}");
    assert_eq!(counted(&office).await?, shown);
    drop((lanes, cloud));
    std::fs::remove_dir_all(&world)?;
    Ok(())
}
