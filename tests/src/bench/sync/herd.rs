//! Hundreds of gates whose network comes back at one moment.

use std::time::Duration;

use anyhow::Context;
use gate_core::sync::session::Link as Heard;
use hardware::clock::Stopwatch;

use super::{Figures, Site};
use crate::world::device::{Device, Passes};

/// Admissions at each gate while there was no network; each is two events.
const ADMISSIONS: u64 = 10;
/// Until the last gate and the cloud know the same, s.
const LIMIT_S: u64 = 600;
/// Each is waited for so long, before it and in it.
const PATIENCE: Duration = Duration::from_secs(LIMIT_S);
/// Answers for each gate that say "later" or that the server is in trouble.
const ERRORS_LIMIT: f64 = 5.0;
/// The cloud's memory, MB.
const MEMORY_LIMIT: f64 = 512.0;

pub(super) async fn measure(gates: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let site = Site::open("gate-bench-herd", false).await?;
    let mut devices = Vec::new();
    for n in 0..gates {
        devices.push(site.device(&format!("Entrance {n}")).await?);
    }
    let passes = Passes::of_new_vendor(&site.office, &devices[0], "V1").await?;
    let url = site.url();
    for device in &mut devices {
        device.start(&url, None)?;
    }
    for device in &devices {
        device.until_within(PATIENCE, "it is ready", |d| Ok(d.knows_vendor()? && d.holds_rights()?)).await?;
        delivered(device).await?;
    }
    site.cloud.link.cut();
    let mut number = 0;
    for device in &mut devices {
        device.forget_link();
        for _ in 0..ADMISSIONS {
            number += 1;
            device.present(&passes.pass(number), false)?;
        }
    }
    for device in &mut devices {
        device.hears(Heard::Offline).await?;
    }
    let (answers, errors) = site.cloud.link.answers();
    let cpu = cpu_s(site.cloud.process.id())?;
    let watch = Stopwatch::start();
    site.cloud.link.heal();
    for device in &devices {
        // All hear of the network at once: nobody's pause spreads them.
        device.wake.link_up();
    }
    for device in &devices {
        delivered(device).await?;
    }
    let up_s = watch.elapsed_us() as f64 / 1e6;
    let mut furthest = 0;
    for device in &devices {
        furthest = furthest.max(device.replica().position()?.0);
    }
    for device in &devices {
        let knows = |d: &Device| Ok(d.replica().position()?.0 >= furthest);
        device.until_within(PATIENCE, "it knows what the others know", knows).await?;
    }
    let all_s = watch.elapsed_us() as f64 / 1e6;
    let (answers_after, errors_after) = site.cloud.link.answers();
    let later = (errors_after - errors) as f64;
    figures.told("herd: gates", "", gates as f64);
    figures.told("herd: everything delivered", "s", up_s);
    figures.most("herd: everybody knows the same", "s", all_s, LIMIT_S as f64);
    figures.told("herd: answers", "", (answers_after - answers) as f64);
    figures.told("herd: of these 5xx", "", later);
    figures.most("herd: 5xx for each gate", "", later / gates.max(1) as f64, ERRORS_LIMIT);
    figures.most("herd: cloud's peak memory", "MB", peak_mb(site.cloud.process.id())?, MEMORY_LIMIT);
    figures.told("herd: cloud's CPU", "s", cpu_s(site.cloud.process.id())? - cpu);
    // What is under way ends before its folder goes.
    for device in &mut devices {
        device.stop().await;
    }
    drop(devices);
    site.close()
}

async fn delivered(device: &Device) -> anyhow::Result<()> {
    device.until_within(PATIENCE, "everything is delivered", |device| Ok(device.pending()? == 0)).await
}

fn peak_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    let kb: f64 = line.split_whitespace().nth(1).context("no number in VmHWM")?.parse()?;
    Ok(kb / 1024.0)
}

/// User and system time of a process, s.
fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks: Vec<f64> = after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
