//! A season of eight months off: the gate decides at once by what it still knows, says no to what it can't know any more,
//! and is whole again by itself when there is a road that can be believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context;
use gate_agent::sync::{Surroundings, ThisMachine};
use gate_core::decision::Verdict;
use gate_core::reason::Reason;
use gate_core::sync::session::Link as Heard;
use gate_core::time::{Now, Trust};
use gate_tests::clock::{Deadline, unix_ms};
use gate_tests::world::device::{Device, Passes, Post};
use gate_tests::world::{Certificates, Link, Mode, NAME, Office, free_address, memory_folder, text_at};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const DAY_MS: i64 = 86_400_000;
/// How long it was off.
const OFF_MS: i64 = 240 * DAY_MS;
/// Full service must be back within this long of a road.
const WHOLE: Duration = Duration::from_secs(300);

/// A machine without a battery: its clock begins in 1970, and what the gate keeps goes on from the journal.
struct DeadBattery {
    machine: ThisMachine,
    kept: Now,
}

impl Surroundings for DeadBattery {
    fn now(&self) -> Now {
        let now = self.machine.now();
        Now { wall_ms: i64::try_from(now.mono_us / 1000).unwrap_or(0), trust: Trust::Unknown, ..now }
    }

    fn believed(&self) -> Now {
        self.kept
    }

    fn random(&self) -> [u8; 32] {
        self.machine.random()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_eight_months_a_gate_serves_at_once_and_is_whole_by_itself_with_the_road() -> anyhow::Result<()> {
    let world = memory_folder("gate-hibernation")?;
    let certificates = Arc::new(Certificates::new()?);
    let address = free_address()?;
    let road = Link::open_tls(address, certificates.clone()).await?;
    let url = format!("https://{NAME}:{}", road.address().port());
    // The service, by a clock that can be moved. It stands eight months back.
    let clock = Arc::new(AtomicI64::new(unix_ms() - OFF_MS));
    let reading = clock.clone();
    let mut config = cloud_sync::Config::new(world.join("cloud"), cloud_sync::PublicUrl::loopback(address));
    config.clock = Arc::new(move || reading.load(Ordering::Relaxed));
    config.authorities = vec![format!("{NAME}:{}", road.address().port())];
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = TcpListener::bind(address).await?;
    let cloud = tokio::spawn(cloud_sync::run(listener, config, async move {
        let _dropped = stopped.await;
    }));

    // Autumn: a gate that knows everything.
    let mut office = Office::first_login(address).await?;
    let zone = text_at(&office.post("/zones", &json!({"name": "Pool", "capacity": 100})).await?, "/id")?;
    let fresh = json!({"name": "Fresh", "number": 2, "rules": [{"name": "unlimited"}], "max_staleness_s": 259_200});
    office.post("/products", &fresh).await?;
    let post = Post { name: "Entrance", zone: &zone, entrance: true };
    let mut gate = Device::enrol(&office, post, &world, &format!("http://{address}")).await?;
    let passes = Passes::of_new_vendor(&office, &gate, "V1").await?;
    gate.start(&url, Some(certificates.authority()))?;
    gate.until("it knows the season", |gate| Ok(gate.knows_vendor()? && gate.holds_rights()?)).await?;
    let keys = |gate: &mut Device| -> anyhow::Result<usize> { Ok(gate.reader().keyring()?.iter().count()) };
    let known = keys(&mut gate)?;
    gate.settles().await?;
    gate.stop().await;
    let (name, id, dir) = (gate.name.clone(), gate.gate.clone(), gate.dir().to_path_buf());
    drop(gate);

    // Winter. In spring the office issues passes that last longer than the key of autumn: another key, of which the gate has
    // never heard.
    clock.store(unix_ms(), Ordering::Relaxed);
    office.log_in_again().await?;
    let vendors = office.look("/vendors").await?;
    let now_ms = unix_ms();
    let order = json!({
        "vendor_id": vendors[0]["id"], "product_id": 1, "count": 1,
        "valid_from_ms": now_ms - 1000, "valid_until_ms": now_ms + 600 * DAY_MS,
    });
    office.post("/batches", &order).await?;
    office.patch(&format!("/zones/{zone}"), &json!({"capacity": 60})).await?;

    // Power, no road that can be believed: the certificate ran out over the winter, and this gate knows the date.
    road.set(Mode::Expired);
    let mut gate = Device::open(&name, &id, dir)?;
    let cold = || Now { trust: Trust::Continued, ..Device::now() };
    let age_ms = gate.reader().status(cold())?.age_ms.context("its replica's age")?;
    assert!(age_ms >= OFF_MS, "{age_ms}");
    let mut engine = gate.engine_to(&url, Some(certificates.authority()))?;
    let mut number = 0;
    let mut show = |gate: &mut Device, product: u16| -> anyhow::Result<Verdict> {
        number += 1;
        Ok(gate.present_at(&passes.of_product(number, product), false, cold())?.0)
    };
    let mut degraded = |gate: &mut Device| -> anyhow::Result<()> {
        let verdict = show(gate, 1)?;
        assert!(matches!(verdict, Verdict::Admit(_)), "a visitor needs no news: {verdict:?}");
        let verdict = show(gate, 2)?;
        let stale = matches!(&verdict, Verdict::Refuse(refusal) if refusal.reason == Reason::ReplicaStale);
        assert!(stale, "what needs news of three days is not guessed: {verdict:?}");
        Ok(())
    };
    degraded(&mut gate)?;
    for _ in 0..3 {
        gate.wake.link_up();
        engine.step().await;
        assert_ne!(engine.link(), Heard::Online, "an expired certificate is no road");
        degraded(&mut gate)?;
    }
    assert_eq!(keys(&mut gate)?, known, "nothing came over that road");

    // Somebody renews the certificate. Nobody touches the gate. By what it has kept since autumn the certificate is not good
    // yet: whoever insisted on that would never hear the time.
    drop(engine);
    road.heal();
    let autumn = Now { wall_ms: unix_ms() - OFF_MS, ..Device::now() };
    for (trust, link) in [(Trust::Ntp, Heard::Never), (Trust::Unknown, Heard::Online)] {
        let kept = Now { trust, ..autumn };
        let battery = Arc::new(DeadBattery { machine: ThisMachine::default(), kept });
        let mut engine = gate.engine_by(&url, Some(certificates.authority()), battery)?;
        for _ in 0..3 {
            gate.wake.link_up();
            engine.step().await;
        }
        assert_eq!(engine.link(), link, "a certificate of yesterday, by a date of autumn with trust {trust:?}");
    }
    // The time is signed now, and the clock set by it.
    gate.start(&url, Some(certificates.authority()))?;
    let whole = Deadline::after(WHOLE);
    let mut status = gate.reader().status(cold())?;
    while status.pending > 0 || status.age_ms.is_none_or(|age_ms| age_ms > DAY_MS) || keys(&mut gate)? == known {
        anyhow::ensure!(!whole.is_over(), "not whole after {WHOLE:?}: {status:?}, links {:?}", gate.links());
        tokio::time::sleep(Duration::from_millis(50)).await;
        status = gate.reader().status(cold())?;
    }
    assert!(keys(&mut gate)? > known, "the new season's key");
    assert_eq!(status.zones[0].capacity, 60, "the new season's settings");
    let verdict = gate.present_at(&passes.of_product(9_999, 2), false, cold())?.0;
    assert!(matches!(verdict, Verdict::Admit(_)), "full service: {verdict:?}");
    gate.settles().await?;
    let inbox = office.look("/alerts").await?;
    // What was acknowledged last autumn may be pruned by now; nothing is missing at the cloud.
    let applied = inbox["applied"].as_u64().context("applied")?;
    assert!(applied >= gate.events()? && inbox["parked"] == 0, "{inbox}");
    let overview = office.overview().await?;
    assert_eq!(overview["zones"][0]["occupancy"], 5, "four let in without a road and one with: {overview}");
    gate.stop().await;
    drop(gate);
    drop(stop);
    cloud.await??;
    std::fs::remove_dir_all(&world)?;
    Ok(())
}
