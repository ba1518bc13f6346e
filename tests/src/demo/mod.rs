//! The story: a food truck park with ten places, an entrance, an exit, and a network that fails in the middle.
//!
//! Every row says beforehand what must come out. Nothing is looked up in the program's own memory: verdicts are read from
//! the touchscreen, pulses from the lines, occupancy from each gate and from the cloud's API.

pub(crate) mod scene;
mod summary;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use hardware::clock::Stopwatch;
use hardware::lines::simulated::ReleaseModel;
use serde_json::{Value, json};

use crate::clock::{Deadline, unix_ms};
use crate::world::{Cloud, Gate, GatePlan, HOLD, Office, fresh_folder, text_at};
use scene::{Codes, Pass};
pub(crate) use summary::write_rows;
pub use summary::{Row, Summary};

/// How the demo is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// End after the story.
    pub once: bool,
    /// Seed of the camera scenes.
    pub seed: u64,
    /// Keep the world's folder.
    pub keep: bool,
}

/// Places in the lot. Small, so that the story reaches both lines: 90 % is nine cars.
const CAPACITY: u32 = 10;
/// Frames for which the kill campaign holds a pass up.
const CAMPAIGN_HOLD: u64 = 20;
/// Passes on the sheet.
const SHEET: usize = 24;
/// How long gates and cloud may take to agree after something happened.
const SYNC: Duration = Duration::from_secs(60);
/// How long the pass lives that is to be shown too late, ms.
pub(crate) const SHORT_LIFE_MS: i64 = 3_000;
/// Milliseconds in a day.
const DAY_MS: i64 = 86_400_000;

/// Everything that runs.
pub(crate) struct Venue {
    pub(crate) cloud: Cloud,
    pub(crate) office: Office,
    pub(crate) entrance: Gate,
    pub(crate) exit: Gate,
    pub(crate) world: PathBuf,
}

/// A venue that has just opened, and its passes.
pub(crate) struct Opening {
    pub(crate) venue: Venue,
    pub(crate) passes: Vec<Pass>,
}

impl Opening {
    /// A lot with room for this many cars, and a pass for each.
    pub(crate) async fn with_room(cars: u32, seed: u64) -> anyhow::Result<Self> {
        let venue = open_venue(cars + 1, CAMPAIGN_HOLD, &mut |_| {}).await?;
        let batch = order(&venue.office, cars as usize).await?;
        let passes = scene::printed(&venue.office, &venue.world, &batch.good, seed).await?;
        Ok(Self { venue, passes })
    }
}

async fn open_venue(capacity: u32, hold: u64, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Venue> {
    let world = fresh_folder("gate-demo")?;
    tell("1. A cloud starts with nothing configured; the owner makes the first account.");
    let cloud = Cloud::start(&world).await?;
    let office = Office::first_login(cloud.address).await?;
    tell(&format!("   dashboard: http://{}", cloud.address));
    let (entrance, exit) = open_gates(&cloud, &office, &world, (capacity, hold), tell).await?;
    Ok(Venue { cloud, office, entrance, exit, world })
}

/// Tells the story.
pub async fn run(options: &Options, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Summary> {
    let mut venue = open_venue(CAPACITY, HOLD, tell).await?;
    let codes = print_passes(&venue, options.seed, tell).await?;
    let mut summary = Summary::new(options.keep);
    afternoon(&mut venue, &codes, &mut summary, tell).await?;
    without_network(&mut venue, &codes, &mut summary, tell).await?;
    summary.finish(venue).await?;
    Ok(summary)
}

async fn open_gates(
    cloud: &Cloud,
    office: &Office,
    world: &std::path::Path,
    (capacity, hold): (u32, u64),
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<(Gate, Gate)> {
    tell("2. One lot, an entrance and an exit, each enrolled with a one-time code.");
    let zone = office.post("/zones", &json!({"name": "Lot", "capacity": capacity})).await?;
    let zone = text_at(&zone, "/id")?;
    let mut gates = Vec::new();
    for (name, folder, direction, egress) in [("Entrance", "entrance", "in", "scan"), ("Exit", "exit", "out", "free")] {
        let gate = json!({"name": name, "direction": direction, "zone_id": zone, "egress": egress});
        let id = text_at(&office.post("/gates", &gate).await?, "/id")?;
        let code = text_at(&office.post(&format!("/gates/{id}/enrolment"), &json!({})).await?, "/code")?;
        let plan = GatePlan { name: folder, world, cloud: cloud.link.address(), release: ReleaseModel::Strict, hold };
        let mut gate = Gate::build(&plan)?;
        gate.command(&["enrol", &code])?;
        gate.start().await?;
        tell(&format!("   {name}: touchscreen http://{}", gate.screen));
        gates.push(gate);
    }
    let mut gates = gates.into_iter();
    match (gates.next(), gates.next()) {
        (Some(entrance), Some(exit)) => Ok((entrance, exit)),
        _ => bail!("there should be two gates"),
    }
}

/// What the vendor ordered.
struct Order {
    vendor: String,
    good: Value,
    old: Value,
}

async fn order(office: &Office, count: usize) -> anyhow::Result<Order> {
    let vendor = text_at(&office.post("/vendors", &json!({"name": "Taco truck"})).await?, "/id")?;
    let now = unix_ms();
    let batch = |from: i64, until: i64, count: usize| json!({"vendor_id": vendor, "product_id": 1, "count": count, "valid_from_ms": from, "valid_until_ms": until});
    let good = office.post("/batches", &batch(now - DAY_MS, now + DAY_MS, count)).await?;
    // Nobody may issue a pass that is over; this one is over by the time it is printed and held up.
    let old = office.post("/batches", &batch(now - DAY_MS, now + SHORT_LIFE_MS, 1)).await?;
    Ok(Order { vendor, good, old })
}

async fn print_passes(venue: &Venue, seed: u64, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Codes> {
    tell("3. A vendor types a number and prints the sheet; poppler rasterises it, a seeded scene holds each code up.");
    let order = order(&venue.office, SHEET).await?;
    let mut codes = Codes::print(&venue.office, &venue.world, &order.good, &order.old, seed).await?;
    codes.vendor = order.vendor;
    tell(&format!("   {SHEET} passes printed and cut out; every one reads as the pass that was issued"));
    Ok(codes)
}

async fn afternoon(
    venue: &mut Venue,
    codes: &Codes,
    summary: &mut Summary,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    tell("4. The afternoon.");
    let gate = &mut venue.entrance;
    let show = |pass: usize| codes.genuine(pass);
    summary.show(gate, tell, "a good pass", show(0), ("admit", None), 1).await?;
    while unix_ms() <= codes.expires_ms {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    summary.show(gate, tell, "an expired pass", codes.expired(), ("deny", Some("expired")), 0).await?;
    summary.show(gate, tell, "a forged pass", codes.forged(), ("deny", Some("bad_signature")), 0).await?;
    summary.show(gate, tell, "a pass of another venue", codes.foreign(), ("deny", Some("unknown_key")), 0).await?;
    for photograph in codes.photographs() {
        summary
            .show(gate, tell, "a photograph of some other code", photograph, ("deny", Some("not_a_pass")), 0)
            .await?;
    }
    let revoked = &codes.sheet[20];
    let before = position(&venue.entrance.status().await?);
    venue.office.post(&format!("/passes/{}/revoke", revoked.cti), &json!({})).await?;
    wait_for_news(&mut venue.entrance, before, tell).await?;
    let gate = &mut venue.entrance;
    summary.show(gate, tell, "a pass revoked a moment ago", show(20), ("deny", Some("revoked")), 0).await?;
    let vendor = format!("/vendors/{}", codes.vendor);
    for (active, expected, pulses) in [(false, ("deny", Some("vendor_inactive")), 0), (true, ("admit", None), 1)] {
        let before = position(&venue.entrance.status().await?);
        venue.office.patch(&vendor, &json!({"active": active})).await?;
        wait_for_news(&mut venue.entrance, before, tell).await?;
        // The same code must leave the view before it is a presentation of its own.
        venue.entrance.let_go().await;
        let what = if active { "the same vendor, switched on again" } else { "a vendor switched off a moment ago" };
        summary.show(&mut venue.entrance, tell, what, show(1), expected, pulses).await?;
    }
    let gate = &mut venue.entrance;
    for car in 2..8 {
        summary.show(gate, tell, "a good pass", show(car), ("admit", None), 1).await?;
    }
    gate.wait("no warning shows below 90 %", |s| s["screen"]["kind"] == "idle" && s["screen"]["lamp"] == "red").await?;
    summary.show(gate, tell, "the ninth car: 90 %", show(8), ("admit", None), 1).await?;
    gate.wait("the yellow warning shows at 90 %", |s| {
        s["screen"]["kind"] == "idle" && s["screen"]["lamp"] == "yellow_flash"
    })
    .await?;
    summary.note("90 % of the places: the entrance flashes yellow", true);
    summary.show(gate, tell, "a copy of the first pass", show(0), ("deny", Some("already_used")), 0).await?;
    let told = gate.status().await?["screen"]["detail"]["used_at_gate"].clone();
    summary.check("the copy's screen says where the pass was used", &json!("Entrance"), &told);
    summary.show(gate, tell, "the tenth car: full", show(9), ("admit", None), 1).await?;
    gate.wait("LOT FULL shows", |s| s["screen"]["kind"] == "full" && s["screen"]["lamp"] == "red").await?;
    summary.note("100 %: red and LOT FULL before anybody asks", true);
    summary.show(gate, tell, "an eleventh car", show(10), ("full", Some("lot_full")), 0).await?;
    // It drives off. Had it stayed with its code up, the next free place would let it in by itself.
    gate.let_go().await;

    tell("5. One leaves; the place is free at the entrance as soon as the news arrives.");
    summary.show(&mut venue.exit, tell, "a pass at the exit", show(0), ("admit", None), 1).await?;
    agree(venue, 9).await?;
    venue.entrance.wait("the entrance has room again", |s| s["screen"]["kind"] == "idle").await?;
    summary.note("an exit frees a place at the entrance", true);
    summary.show(&mut venue.entrance, tell, "the eleventh car again", show(10), ("admit", None), 1).await?;
    agree(venue, 10).await?;
    Ok(())
}

async fn without_network(
    venue: &mut Venue,
    codes: &Codes,
    summary: &mut Summary,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    tell("6. Three leave by the exit button; then the network is cut.");
    for _ in 0..3 {
        summary.press_exit(&mut venue.exit, tell).await?;
    }
    agree(venue, 7).await?;
    venue.cloud.link.cut();
    let gate = &mut venue.entrance;
    gate.wait("the entrance notices", |s| s["status"]["link"] == "offline").await?;
    summary.show(gate, tell, "a good pass, offline", codes.genuine(11), ("admit", None), 1).await?;
    summary.show(gate, tell, "a good pass, offline", codes.genuine(12), ("admit", None), 1).await?;
    summary
        .show(gate, tell, "a copy of the eleventh, offline", codes.genuine(10), ("deny", Some("already_used")), 0)
        .await?;
    summary.show(gate, tell, "a forged pass, offline", codes.forged(), ("deny", Some("bad_signature")), 0).await?;
    summary.show(gate, tell, "a third car: the last right", codes.genuine(13), ("admit", None), 1).await?;
    summary.press_exit(&mut venue.exit, tell).await?;
    let gate = &mut venue.entrance;
    summary
        .show(
            gate,
            tell,
            "a car too many: the freed place is not known here",
            codes.genuine(14),
            ("full", Some("lot_full")),
            0,
        )
        .await?;
    gate.let_go().await;
    let waiting = gate.status().await?["status"]["pending"].as_u64().unwrap_or(0);
    let seen = occupancy(&venue.office.overview().await?);
    summary.check("the cloud still shows what it knew", &json!(7), &json!(seen));
    summary.note(&format!("{waiting} events wait at the entrance"), waiting >= 4);
    tell("   the network heals");
    venue.cloud.link.heal();
    agree(venue, 9).await?;
    summary.show(&mut venue.entrance, tell, "the car too many, again", codes.genuine(14), ("admit", None), 1).await?;
    agree(venue, 10).await?;
    summary.note("after healing, entrance, exit and cloud show the same number", true);
    Ok(())
}

/// The cloud's number.
pub(crate) fn occupancy(overview: &Value) -> Option<u64> {
    overview.pointer("/zones/0/occupancy").and_then(Value::as_u64)
}

/// Waits until entrance, exit and cloud all show this many cars and nothing waits to be delivered.
async fn agree(venue: &mut Venue, cars: u64) -> anyhow::Result<()> {
    let deadline = Deadline::after(SYNC);
    loop {
        let cloud = occupancy(&venue.office.overview().await?);
        let mut gates = Vec::new();
        for gate in [&venue.entrance, &venue.exit] {
            let status = gate.status().await?;
            gates.push((status["zone"]["occupancy"].as_u64(), status["status"]["pending"].as_u64()));
        }
        if cloud == Some(cars) && gates.iter().all(|gate| *gate == (Some(cars), Some(0))) {
            return Ok(());
        }
        if deadline.is_over() {
            bail!(
                "gates and cloud do not agree on {cars} cars: cloud {cloud:?}, gates (cars, waiting events) {gates:?}"
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Up to which change a gate has applied what the cloud decided.
fn position(status: &Value) -> Option<u64> {
    status["status"]["position"].as_u64()
}

/// Waits until a gate has applied something newer than `before`, and tells how long that took.
async fn wait_for_news(gate: &mut Gate, before: Option<u64>, tell: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let asked = Stopwatch::start();
    gate.wait("the news arrive", |status| position(status) > before).await?;
    tell(&format!("   the entrance heard of it within {} ms", asked.elapsed_us() / 1000));
    Ok(())
}

/// A pass as the demo holds it up.
pub(crate) type Held<'a> = &'a Pass;
