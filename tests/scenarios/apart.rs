//! One pass, several gates that don't hear of each other: how many get in is bounded, and each extra one is reported.

use anyhow::Context;
use gate_core::decision::Verdict;
use gate_core::event::EventBody;
use gate_core::reason::Reason;
use gate_tests::clock::unix_ms;
use gate_tests::world::device::{Device, Passes, Post};
use gate_tests::world::{Cloud, Link, Office, memory_folder, text_at};
use serde_json::{Value, json};

/// Several gates, each with a road of its own, and what they let in.
struct Gates {
    world: std::path::PathBuf,
    cloud: Cloud,
    office: Office,
    devices: Vec<Device>,
    roads: Vec<Link>,
    passes: Passes,
    product: u16,
}

impl Gates {
    async fn open(name: &str, count: usize) -> anyhow::Result<Self> {
        let world = memory_folder(name)?;
        let cloud = Cloud::start(&world).await?;
        let office = Office::first_login(cloud.address).await?;
        let url = format!("http://{}", cloud.link.address());
        let mut devices = Vec::new();
        for n in 0..count {
            let name = format!("Entrance {n}");
            let zone = text_at(&office.post("/zones", &json!({"name": name, "capacity": 5000})).await?, "/id")?;
            let post = Post { name: &name, zone: &zone, entrance: true };
            devices.push(Device::enrol(&office, post, &world, &url).await?);
        }
        let passes = Passes::of_new_vendor(&office, &devices[0], "V1").await?;
        let mut gates = Self { world, cloud, office, devices, roads: Vec::new(), passes, product: 1 };
        for device in &mut gates.devices {
            // All take the one road; each may be stopped by itself.
            device.start(&url, None)?;
            device.until("it is ready", |d| Ok(d.knows_vendor()? && d.holds_rights()?)).await?;
            device.settles().await?;
        }
        Ok(gates)
    }

    /// Shows one pass at some gates, and says how many let it in.
    fn show(&mut self, number: u64, at: &[usize]) -> anyhow::Result<usize> {
        let mut admitted = 0;
        for gate in at {
            let pass = self.passes.of_product(number, self.product);
            let (verdict, _) = self.devices[*gate].present(&pass, false)?;
            match verdict {
                Verdict::Admit(_) => admitted += 1,
                Verdict::Refuse(refusal) => {
                    let reason = refusal.reason;
                    anyhow::ensure!(matches!(reason, Reason::AlreadyUsed | Reason::WrongGate), "refused: {reason:?}");
                }
                Verdict::Ask(question) => anyhow::bail!("asked: {question:?}"),
            }
        }
        Ok(admitted)
    }

    /// Waits until every gate and the cloud know the same.
    async fn meet(&self) -> anyhow::Result<()> {
        for device in &self.devices {
            device.wake.link_up();
        }
        for device in &self.devices {
            device.settles().await?;
        }
        // The cloud's word from after the last delivery: nothing that was delivered is missing below it.
        let delivered_ms = unix_ms();
        for device in &self.devices {
            device
                .until("it knows what the others know", |d| {
                    d.wake.hinted();
                    Ok(d.replica().as_of_ms()?.is_some_and(|as_of_ms| as_of_ms > delivered_ms))
                })
                .await?;
        }
        Ok(())
    }

    /// Double uses that the office was told of.
    async fn reports(&self) -> anyhow::Result<usize> {
        let mut count = 0;
        let mut path = "/alerts?limit=500".to_owned();
        loop {
            let (inbox, next) = self.office.look_page(&path).await?;
            let alerts = inbox["alerts"].as_array().context("no list of alerts")?;
            count += alerts.iter().filter(|alert| alert["kind"] == "double_use").count();
            match next {
                Some(next) => path = next,
                None => return Ok(count),
            }
        }
    }

    /// Every event is at the cloud once.
    async fn close(mut self) -> anyhow::Result<()> {
        let recorded = self.devices.iter().map(Device::events).sum::<anyhow::Result<u64>>()?;
        let inbox: Value = self.office.look("/alerts").await?;
        anyhow::ensure!(inbox["applied"] == recorded, "{recorded} events, the cloud has {}", inbox["applied"]);
        anyhow::ensure!(inbox["parked"] == 0, "{inbox}");
        for device in &mut self.devices {
            device.stop().await;
        }
        drop((self.devices, self.cloud, self.roads));
        std::fs::remove_dir_all(&self.world)?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_at_two_gates_at_one_moment_gets_in_twice_at_most_and_each_extra_one_is_reported() -> anyhow::Result<()>
{
    let mut gates = Gates::open("gate-race", 2).await?;
    let (mut extra, races) = (0, 200);
    for number in 0..races {
        // Both gates are online; they decide within a millisecond of each other.
        let admitted = gates.show(number, &[0, 1])?;
        assert!((1..=2).contains(&admitted), "race {number}: {admitted} admissions");
        extra += admitted - 1;
    }
    gates.meet().await?;
    assert_eq!(gates.reports().await?, extra, "every extra admission is reported, and nothing else");
    // Once heard of, nowhere.
    for number in 0..20 {
        assert_eq!(gates.show(number, &[0, 1])?, 0, "pass {number} was used");
    }
    gates.meet().await?;
    assert_eq!(gates.reports().await?, extra);
    gates.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_with_a_home_gate_gets_in_once_in_a_thousand_races() -> anyhow::Result<()> {
    let mut gates = Gates::open("gate-home", 2).await?;
    let home = gates.devices[1].gate.clone();
    let product = json!({
        "name": "Home", "number": 2, "kind": "visitor", "rules": [{"name": "single", "args": []}],
        "offline_scope": "home_gate", "home_gate": home,
    });
    gates.office.post("/products", &product).await?;
    gates.meet().await?;
    gates.product = 2;
    for number in 0..1000 {
        let admitted = gates.show(number, if number % 2 == 0 { &[0, 1] } else { &[1, 0] })?;
        assert_eq!(admitted, 1, "race {number}");
    }
    gates.meet().await?;
    assert_eq!(gates.reports().await?, 0);
    gates.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_network_cut_and_healed_a_copy_gets_in_once_more_and_is_reported_once() -> anyhow::Result<()> {
    let mut gates = Gates::open("gate-healed", 2).await?;
    gates.cloud.link.cut();
    assert_eq!(gates.show(1, &[0, 1, 0, 1])?, 2, "each gate by itself lets it in once");
    gates.cloud.link.heal();
    gates.meet().await?;
    assert_eq!(gates.reports().await?, 1);
    assert_eq!(gates.show(1, &[0, 1])?, 0);
    gates.meet().await?;
    assert_eq!(gates.reports().await?, 1);
    gates.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_screenshots_at_five_lonely_gates_get_in_five_times_and_all_but_one_are_reported() -> anyhow::Result<()>
{
    let mut gates = Gates::open("gate-lonely", 5).await?;
    gates.cloud.link.cut();
    let order: Vec<usize> = (0..20).map(|n| n * 7 % 5).collect();
    assert_eq!(gates.show(1, &order)?, 5);
    gates.cloud.link.heal();
    gates.meet().await?;
    assert_eq!(gates.reports().await?, 4, "five got in, one of them rightly");
    gates.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_before_the_pulse_the_holder_may_come_again_here_and_a_copy_nowhere() -> anyhow::Result<()> {
    let mut gates = Gates::open("gate-powercut", 2).await?;
    let pass = gates.passes.pass(1);
    let (verdict, of) = gates.devices[0].present(&pass, true)?;
    assert!(matches!(verdict, Verdict::Admit(_)), "{verdict:?}");
    // The power is back: a new start over the same card.
    let (name, gate, dir) = {
        let mut cut = gates.devices.remove(0);
        cut.stop().await;
        (cut.name.clone(), cut.gate.clone(), cut.dir().to_path_buf())
    };
    let mut again = Device::open(&name, &gate, dir)?;
    let unsettled = again.replica().unsettled()?;
    assert_eq!(unsettled.iter().map(|(id, _)| Some(*id)).collect::<Vec<_>>(), [of], "the start asks gate-io about it");
    let of = of.context("an admission has an event")?;
    assert!(
        matches!(again.judge(&pass, Device::now())?.0, Verdict::Refuse(_)),
        "gate-io may still say that nothing opened"
    );
    // The power of both was gone: it does not know.
    again.replica().record(None, Device::now(), EventBody::NotOpened { of, unknown: true })?;
    again.start(&format!("http://{}", gates.cloud.link.address()), None)?;
    gates.devices.insert(0, again);
    gates.meet().await?;
    assert_eq!(gates.show(1, &[1])?, 0, "the copy at the other gate");
    assert_eq!(gates.show(1, &[0])?, 1, "the holder, where the gate did not open");
    assert_eq!(gates.show(1, &[0, 1])?, 0, "once");
    gates.meet().await?;
    assert_eq!(gates.reports().await?, 0, "nobody got in twice");
    gates.close().await
}
