//! `bench sync`: what reconciling costs, at the gate and at the cloud, and whether anybody at a gate notices.
//!
//! 1. `ingest`: the cloud's CPU per event with 10,000 and with 1,000,000 events in its database, in turns; bytes per event.
//! 2. `news`: 10,000 revocations taken in by a gate.
//! 3. `revoke`: from the office's click to the gate's knowing it, over the held channel.
//! 4. `writes`: bytes and syncs of the agent for an admission.
//! 5. `backlog`: a month without network, 60,000 events, going up while people present passes.
//! 6. `roads`: verdicts while the network misbehaves in every way, in turns with a good one.
//! 7. `herd`: 200 gates that come back at once.
//! 8. `scans`: ten passes a second for ten minutes beside a replica that is fetched anew.

mod backlog;
mod herd;
mod ingest;
mod lane;
mod news;
mod scans;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::world::device::{Device, Passes, Post};
use crate::world::{Cloud, Office, fresh_folder, memory_folder, text_at};

/// The parts, in the order in which they run.
pub const PARTS: [&str; 8] = ["ingest", "news", "revoke", "writes", "backlog", "roads", "herd", "scans"];

/// How large a run is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which of [`PARTS`]; none means all.
    pub only: Vec<String>,
    /// Events in the larger database of `ingest`.
    pub events: u64,
    /// Events of `backlog` that must be up in five minutes.
    pub backlog: u64,
    /// Gates of `herd`.
    pub gates: usize,
    /// How long `scans` takes.
    pub minutes: u64,
}

/// One figure and its limit.
struct Figure {
    name: &'static str,
    unit: &'static str,
    value: f64,
    limit: Option<f64>,
}

/// What was measured.
#[derive(Default)]
struct Figures(Vec<Figure>);

impl Figures {
    /// A figure that must not be exceeded.
    fn most(&mut self, name: &'static str, unit: &'static str, value: f64, limit: f64) {
        self.0.push(Figure { name, unit, value, limit: Some(limit) });
    }

    /// A figure that is told.
    fn told(&mut self, name: &'static str, unit: &'static str, value: f64) {
        self.0.push(Figure { name, unit, value, limit: None });
    }
}

/// A cloud with its office.
struct Site {
    world: PathBuf,
    cloud: Cloud,
    office: Office,
}

impl Site {
    /// On the disk, where its speed is what is measured; else in memory.
    async fn open(name: &str, on_disk: bool) -> anyhow::Result<Self> {
        let world = if on_disk { fresh_folder(name)? } else { memory_folder(name)? };
        let cloud = Cloud::start(&world).await?;
        let office = Office::first_login(cloud.address).await?;
        Ok(Self { world, cloud, office })
    }

    fn url(&self) -> String {
        format!("http://{}", self.cloud.link.address())
    }

    async fn device(&self, name: &str) -> anyhow::Result<Device> {
        let zone = text_at(&self.office.post("/zones", &json!({"name": name, "capacity": 1_000_000})).await?, "/id")?;
        Device::enrol(&self.office, Post { name, zone: &zone, entrance: true }, &self.world, &self.url()).await
    }

    /// A device that knows everything, and passes that it admits.
    async fn ready(&self, name: &str) -> anyhow::Result<(Device, Passes)> {
        let mut device = self.device(name).await?;
        let passes = Passes::of_new_vendor(&self.office, &device, "V1").await?;
        device.start(&self.url(), None)?;
        device.until("it is ready", |d| Ok(d.knows_vendor()? && d.holds_rights()?)).await?;
        device.settles().await?;
        device.stop().await;
        Ok((device, passes))
    }

    fn close(self) -> anyhow::Result<()> {
        drop(self.cloud);
        Ok(std::fs::remove_dir_all(&self.world)?)
    }
}

/// Runs the parts that are wanted.
pub fn run(seed: u64, options: &Options) -> anyhow::Result<(String, Value)> {
    for name in &options.only {
        anyhow::ensure!(PARTS.contains(&name.as_str()), "no part {name:?}: choose of {}", PARTS.join(", "));
    }
    let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|name| name == part);
    let mut figures = Figures::default();
    // The inline cloud's CPU is this thread's.
    let inline = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let runtime = tokio::runtime::Runtime::new()?;
    if wanted("ingest") {
        inline.block_on(ingest::measure(options.events, &mut figures))?;
    }
    if wanted("news") {
        runtime.block_on(news::measure(&mut figures))?;
    }
    if wanted("revoke") {
        runtime.block_on(lane::revocations(&mut figures))?;
    }
    if wanted("writes") {
        runtime.block_on(lane::writes(seed, &mut figures))?;
    }
    if wanted("backlog") {
        runtime.block_on(backlog::measure(seed, options.backlog, &mut figures))?;
    }
    if wanted("roads") {
        runtime.block_on(lane::roads(seed, &mut figures))?;
    }
    if wanted("herd") {
        runtime.block_on(herd::measure(options.gates, &mut figures))?;
    }
    if wanted("scans") {
        runtime.block_on(scans::measure(options.minutes, &mut figures))?;
    }
    report(&figures)
}

fn report(figures: &Figures) -> anyhow::Result<(String, Value)> {
    let mut table = String::new();
    let mut all = Map::new();
    all.insert("bench".to_owned(), json!("sync"));
    let mut ok = true;
    for Figure { name, unit, value, limit } in &figures.0 {
        let within = limit.is_none_or(|limit| *value <= limit);
        ok &= within;
        let told = limit.map(|limit| format!("(limit {limit})")).unwrap_or_default();
        let mark = if within { "" } else { "  SHORT" };
        writeln!(table, "  {name:<52} {value:>12.2} {unit:<6} {told}{mark}")?;
        let key = name.replace([' ', ',', '-', ':', '%', '\''], "_");
        all.insert(format!("{key}_limit"), json!(limit));
        all.insert(key, json!(value));
    }
    all.insert("ok".to_owned(), json!(ok));
    Ok((table, Value::Object(all)))
}

/// Bytes of a folder.
fn size(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
