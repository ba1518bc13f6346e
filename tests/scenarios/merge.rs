//! Ten thousand events that were written without a network arrive exactly once, over a road that loses, repeats and mixes
//! up, with gates and cloud killed in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use gate_agent::sync::transport::{Road, RoadAnswer, RoadRequest};
use gate_agent::sync::{CloudUrl, Step, SyncError};
use gate_core::decision::Verdict;
use gate_core::sync::session::Link as Heard;
use gate_tests::world::device::{Device, Passes, Post};
use gate_tests::world::{Cloud, Inline, Office, memory_folder, text_at};
use hardware::compose::Chance;
use serde_json::json;

const EVENTS: u64 = 10_000;
const SEED: u64 = 7;

/// A road through this process, over which things happen to requests and answers.
struct Rough {
    cloud: Mutex<Inline>,
    chance: Mutex<Chance>,
    calm: AtomicBool,
    /// An answer that was held up.
    late: Mutex<Option<RoadAnswer>>,
}

#[derive(Clone)]
struct ToRough(Arc<Rough>);

impl Rough {
    fn draw(&self, of: usize) -> usize {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).below(of)
    }

    async fn ask(&self, request: &RoadRequest) -> Result<RoadAnswer, SyncError> {
        let cloud = self.cloud.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cloud.send(request.clone()).await
    }
}

impl Road for ToRough {
    async fn send(&self, request: RoadRequest) -> Result<RoadAnswer, SyncError> {
        let lost = || SyncError::Unreachable("lost".to_owned());
        let mishap = if self.0.calm.load(Ordering::Relaxed) { usize::MAX } else { self.0.draw(12) };
        match mishap {
            0 => Err(lost()),
            1 => self.0.ask(&request).await.and(Err(lost())),
            2 => {
                // The copy comes first or last; its nonce was used, and the gate hears one of the two answers.
                let first = self.0.ask(&request).await?;
                let second = self.0.ask(&request).await?;
                Ok(if self.0.draw(2) == 0 { first } else { second })
            }
            3 => {
                let new = self.0.ask(&request).await?;
                let old = self.0.late.lock().unwrap_or_else(PoisonError::into_inner).replace(new);
                old.ok_or_else(lost)
            }
            _ => self.0.ask(&request).await,
        }
    }
}

#[tokio::test]
async fn ten_thousand_events_from_offline_arrive_exactly_once() -> anyhow::Result<()> {
    let world = memory_folder("gate-merge")?;
    // Set up with real processes and a good road; then the same folder is served from within, so that it can be killed.
    let mut cloud = Cloud::start(&world).await?;
    let office = Office::first_login(cloud.address).await?;
    let url = format!("http://{}", cloud.link.address());
    let mut devices = Vec::new();
    for n in 0..4 {
        let name = format!("Entrance {n}");
        let zone = text_at(&office.post("/zones", &json!({"name": name, "capacity": 100_000})).await?, "/id")?;
        devices.push(Device::enrol(&office, Post { name: &name, zone: &zone, entrance: true }, &world, &url).await?);
    }
    let passes = Passes::of_new_vendor(&office, &devices[0], "V1").await?;
    for device in &mut devices {
        device.start(&url, None)?;
        device.until("it is ready", |d| Ok(d.knows_vendor()? && d.holds_rights()?)).await?;
        device.settles().await?;
        device.stop().await;
    }
    let (address, authority) = (cloud.address, cloud.link.address().to_string());
    cloud.process.kill()?;

    // Cut off: everything is decided and written at the gates. Each admission is two events.
    let mut chance = Chance::new(SEED);
    let mut admitted = 0u64;
    while admitted * 2 < EVENTS {
        let at = chance.below(devices.len());
        let (verdict, _) = devices[at].present(&passes.pass(admitted), false)?;
        anyhow::ensure!(matches!(verdict, Verdict::Admit(_)), "{verdict:?}");
        admitted += 1;
    }

    let authorities = [authority];
    let data = world.join("cloud");
    let open = || Inline::open(&data, address, &authorities);
    let rough = Arc::new(Rough {
        cloud: Mutex::new(open().await?),
        chance: Mutex::new(Chance::new(SEED + 1)),
        calm: AtomicBool::new(false),
        late: Mutex::new(None),
    });
    let url = CloudUrl::parse(&url)?;
    let (mut kills, mut rounds) = (0, 0);
    loop {
        rounds += 1;
        anyhow::ensure!(rounds < 2000, "it never came to an end (seed {SEED})");
        let mut waiting = 0;
        for device in &mut devices {
            let mut engine = device.engine(ToRough(rough.clone()), &url);
            for _ in 0..1 + chance.below(3) {
                if let Step::WaitUntil(_) = engine.step().await {
                    // No pause is sat out here: the link is said to be up again.
                    device.wake.link_up();
                    if engine.link() == Heard::Online && device.pending()? == 0 {
                        break;
                    }
                }
            }
            waiting += device.pending()?;
        }
        if waiting == 0 {
            break;
        }
        match chance.below(4) {
            0 => {
                // A gate dies, with its engine wherever it was, and starts again over its card.
                let at = chance.below(devices.len());
                let dead = devices.remove(at);
                let (name, gate, dir) = (dead.name.clone(), dead.gate.clone(), dead.dir().to_path_buf());
                drop(dead);
                devices.push(Device::open(&name, &gate, dir)?);
                kills += 1;
            }
            1 => {
                *rough.cloud.lock().unwrap_or_else(PoisonError::into_inner) = Inline::nobody();
                *rough.cloud.lock().unwrap_or_else(PoisonError::into_inner) = open().await?;
                kills += 1;
            }
            _ => {}
        }
    }
    assert!(kills > 3, "{kills} kills prove little (seed {SEED})");
    *rough.cloud.lock().unwrap_or_else(PoisonError::into_inner) = Inline::nobody();

    cloud.process = Cloud::serve(&world, address, &authorities).await?;
    let recorded = devices.iter().map(Device::events).sum::<anyhow::Result<u64>>()?;
    let inbox = office.look("/alerts").await?;
    assert_eq!(inbox["applied"], recorded, "seed {SEED}: {inbox}");
    assert_eq!((&inbox["parked"], &inbox["alerts"]), (&json!(0), &json!([])), "seed {SEED}: {inbox}");
    let zones = office.overview().await?;
    let counted: u64 = zones["zones"].as_array().context("zones")?.iter().filter_map(|z| z["occupancy"].as_u64()).sum();
    assert_eq!(counted, admitted, "seed {SEED}: {zones}");
    drop((devices, cloud));
    std::fs::remove_dir_all(&world)?;
    Ok(())
}
