//! Ninety days of backups: a cloud that is restored to every tenth of them is given back everything since by its gate.

use std::path::Path;

use anyhow::Context;
use gate_agent::sync::CloudUrl;
use gate_core::event::EventBody;
use gate_core::ids::{Direction, ZoneId};
use gate_core::sync::session::Link as Heard;
use gate_core::time::Now;
use gate_tests::world::device::{Device, Post};
use gate_tests::world::{Cloud, Inline, Office, copy_folder, memory_folder, text_at};
use serde_json::json;

/// Backups over ninety days, two a day.
const POINTS: u64 = 180;
/// Every which of them is restored.
const EVERY: u64 = 10;
const DAY_MS: i64 = 86_400_000;
/// How often sync may be asked to go on before it counts as stuck.
const STEPS: u32 = 400;

/// A whole number that the cloud's database gives.
fn asked(data: &Path, sql: &str) -> anyhow::Result<u64> {
    let db = rusqlite::Connection::open(data.join("cloud.db"))?;
    Ok(db.query_row(sql, [], |row| row.get::<_, i64>(0))?.try_into()?)
}

const EVENTS: &str = "SELECT COUNT(*) FROM events";
const PARKED: &str = "SELECT COUNT(*) FROM parked";
const INSIDE: &str = "SELECT SUM(entries) - SUM(exits) FROM tallies";

#[tokio::test]
async fn every_tenth_backup_of_ninety_days_is_given_back_what_it_lost() -> anyhow::Result<()> {
    let world = memory_folder("gate-backups")?;
    let mut cloud = Cloud::start(&world).await?;
    let office = Office::first_login(cloud.address).await?;
    let zone = text_at(&office.post("/zones", &json!({"name": "Lot", "capacity": 100_000})).await?, "/id")?;
    let post = Post { name: "Entrance", zone: &zone, entrance: true };
    let url = format!("http://{}", cloud.link.address());
    let device = Device::enrol(&office, post, &world, &url).await?;
    let zone: ZoneId = zone.parse()?;
    // From here on the service runs in this process, over the same folder.
    cloud.process.kill()?;
    let address = CloudUrl::parse(&url)?;
    let authorities = [cloud.link.address().to_string()];
    let data = world.join("cloud");
    let backup = |point: u64| world.join(format!("backup-{point}"));
    let open = || Inline::open(&data, cloud.address, &authorities);

    let began_ms = Device::now().wall_ms - 89 * DAY_MS;
    let enter = |now: Now| -> anyhow::Result<()> {
        let (why, direction) = ("lost".to_owned(), Direction::In);
        let (zones, generations) = (vec![zone], vec![0]);
        let body = EventBody::Overridden { staff: None, why, note: None, direction, zones, generations, over: None };
        let of = device.replica().record(None, now, body)?.event.id;
        device.replica().record(None, now, EventBody::Opened { of, watched: false })?;
        Ok(())
    };
    let mut inside = 0;
    let mut engine = device.engine(open().await?, &address);
    for point in 0..POINTS {
        let wall_ms = began_ms + i64::try_from(point)? * DAY_MS / 2;
        enter(Now { wall_ms, ..Device::now() })?;
        inside += 1;
        if point % EVERY != 0 {
            continue;
        }
        let mut steps = 0;
        while device.pending()? > 0 {
            device.wake.link_up();
            engine.step().await;
            steps += 1;
            anyhow::ensure!(steps < STEPS, "backup {point}: {} pending", device.pending()?);
        }
        // The service ends, so that its file is whole.
        drop(engine);
        copy_folder(&data, &backup(point))?;
        engine = device.engine(open().await?, &address);
    }
    let points: Vec<u64> = (0..POINTS).step_by(usize::try_from(EVERY)?).collect();
    assert_eq!(points.len(), 18);
    for point in points.into_iter().rev() {
        drop(engine);
        std::fs::remove_dir_all(&data)?;
        copy_folder(&backup(point), &data)?;
        let lost = device.events()? - asked(&data, EVENTS)?;
        anyhow::ensure!(lost >= POINTS - point, "backup {point} lacks only {lost} events: it proves nothing");
        engine = device.engine(open().await?, &address);
        let mut steps = 0;
        loop {
            device.wake.link_up();
            engine.step().await;
            let all = asked(&data, EVENTS)? == device.events()?;
            if all && device.pending()? == 0 && engine.link() == Heard::Online && !device.replica().is_resyncing()? {
                break;
            }
            steps += 1;
            let said = (asked(&data, EVENTS)?, device.events()?, device.pending()?);
            anyhow::ensure!(steps < STEPS, "backup {point}: cloud, gate, pending: {said:?}");
        }
        assert_eq!(asked(&data, PARKED)?, 0, "backup {point}");
        assert_eq!(asked(&data, INSIDE)?, inside, "backup {point}");
        enter(Device::now()).context("the gate goes on")?;
        inside += 1;
    }
    drop((engine, device, cloud));
    std::fs::remove_dir_all(&world)?;
    Ok(())
}
