//! A venue made once through the cloud's own routes, and copied for every seed: zones, gates, devices, passes.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ed25519_dalek::SigningKey;
use gate_core::canonical;
use gate_core::ids::{Direction, GateId, ZoneId};
use gate_core::keys::PublicKey;
use gate_core::pass::open as open_pass;
use gate_core::sync::v1::{ENROL_PATH, Enrol, Enrolled, Signed};
use hardware::compose::Chance;
use hardware::frame::LumaFrame;
use serde_json::json;

use super::cloud::{Cloud, OWNER};
use crate::world::copy_folder;

/// The moment at which every run begins: 20 November 2026, 14:40 in Bucharest, Unix milliseconds.
pub const BEGIN_MS: i64 = 1_795_178_400_000;
/// Places in the lot.
pub const LOT_PLACES: u32 = 6;

/// A gate as the venue made it.
#[derive(Clone)]
pub struct GateMade {
    /// What people call it.
    pub name: &'static str,
    /// In or out.
    pub direction: Direction,
    /// The gate.
    pub gate: GateId,
    /// Its zone.
    pub zone: ZoneId,
    /// Everybody may leave.
    pub free_exit: bool,
    /// The enrolled device's key.
    pub key: SigningKey,
    /// What the cloud told it.
    pub enrolled: Enrolled,
}

/// A pass and what it is for.
#[derive(Clone)]
pub struct PassMade {
    /// What the camera reads.
    pub text: String,
    /// Its id, as the office knows it.
    pub cti: String,
    /// The number of its product.
    pub product: u16,
}

impl PassMade {
    /// How often it may be used, and whether that is for each day.
    pub fn allowed(&self) -> (u64, bool) {
        match self.product {
            1 => (1, false),
            2 => (3, false),
            _ => (2, true),
        }
    }
}

/// A venue, ready to be copied.
pub struct Template {
    folder: PathBuf,
    /// The office's session.
    pub cookie: String,
    /// The venue's id.
    pub venue: String,
    /// Its gates, in the order in which runs take them.
    pub gates: Vec<GateMade>,
    /// Strict: at most [`LOT_PLACES`].
    pub lot: ZoneId,
    /// Best effort.
    pub pool: ZoneId,
    /// The zone around both.
    pub site: ZoneId,
    /// Passes nobody has used.
    pub passes: Vec<PassMade>,
}

/// The gates, most needed first: a run takes the first three to eight.
const GATES: [(&str, &str, Direction, bool); 8] = [
    ("Lot in", "lot", Direction::In, false),
    ("Lot out", "lot", Direction::Out, false),
    ("Pool west", "pool", Direction::In, false),
    ("Pool east", "pool", Direction::In, false),
    ("Pool out", "pool", Direction::Out, true),
    ("Lot second in", "lot", Direction::In, false),
    ("Pool south", "pool", Direction::In, false),
    ("Lot back out", "lot", Direction::Out, true),
];

/// Product number, rules, how many passes.
const PRODUCTS: [(u16, &str, i64, usize); 3] = [(1, "single", 0, 70), (2, "times", 3, 12), (3, "per_day", 2, 12)];

impl Template {
    /// Makes the venue in a folder.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let data = folder.join("cloud");
        let mut cloud = Cloud::open(&data, BEGIN_MS, 1, String::new())?;
        let setup = cloud.send_json(
            "POST",
            "/v1/setup",
            Some(&json!({"email": OWNER.0, "name": "Owner", "password": OWNER.1,
                "venue_name": "Simulated", "time_zone": "Europe/Bucharest"})),
        )?;
        let cookie = setup.cookie.context("the first login sets a cookie")?;
        let venue = setup.body["venues"][0]["id"].as_str().context("the venue has an id")?.to_owned();
        cloud.cookie.clone_from(&cookie);
        let at = |path: &str| format!("/v1/venues/{venue}/{path}");
        let zone = |cloud: &mut Cloud, body: serde_json::Value| -> anyhow::Result<ZoneId> {
            let made = cloud.send_json("POST", &at("zones"), Some(&body))?.body;
            made["id"].as_str().context("a zone has an id")?.parse().map_err(anyhow::Error::msg)
        };
        let site = zone(&mut cloud, json!({"name": "Site", "capacity": 60, "best_effort": true}))?;
        let lot = zone(&mut cloud, json!({"name": "Lot", "capacity": LOT_PLACES, "parent_id": site.to_string()}))?;
        let pool = zone(
            &mut cloud,
            json!({"name": "Pool", "capacity": 50, "parent_id": site.to_string(), "best_effort": true}),
        )?;
        let mut chance = Chance::new(0x6a7e);
        let mut gates = Vec::new();
        for (name, zone, direction, free_exit) in GATES {
            let zone = if zone == "lot" { lot } else { pool };
            // The longer one lasts longer than the hand waits for a heartbeat: a stall can cut it short.
            let open_ms = if gates.len() % 2 == 0 { 1_000 } else { 500 };
            let way = if direction == Direction::In { "in" } else { "out" };
            let mut body = json!({"name": name, "direction": way, "zone_id": zone.to_string(), "open_ms": open_ms});
            if free_exit {
                body["egress"] = json!("free");
            }
            let made = cloud.send_json("POST", &at("gates"), Some(&body))?.body;
            let gate: GateId = made["id"].as_str().context("a gate has an id")?.parse().map_err(anyhow::Error::msg)?;
            let (key, enrolled) = enrol(&mut cloud, &at, gate, &mut chance)?;
            gates.push(GateMade { name, direction, gate, zone, free_exit, key, enrolled });
        }
        let mut passes = Vec::new();
        let vendor = cloud.send_json("POST", &at("vendors"), Some(&json!({"name": "Truck"})))?.body;
        let vendor = vendor["id"].as_str().context("a vendor has an id")?.to_owned();
        for (number, rule, times, count) in PRODUCTS {
            if number != 1 {
                let args = if times == 0 { vec![] } else { vec![times] };
                let product = json!({"name": rule, "number": number, "rules": [{"name": rule, "args": args}]});
                cloud.send_json("POST", &at("products"), Some(&product))?;
            }
            let batch = json!({"vendor_id": vendor, "product_id": number, "count": count,
                "valid_from_ms": BEGIN_MS - 3_600_000, "valid_until_ms": BEGIN_MS + 300 * 86_400_000});
            let made = cloud.send_json("POST", &at("batches"), Some(&batch))?.body;
            let batch = made["batch_id"].as_str().context("a batch has an id")?.to_owned();
            let listed = cloud.send_json("GET", &at(&format!("batches/{batch}")), None)?.body;
            let ids = listed["passes"].as_array().with_context(|| format!("a batch lists its passes: {listed}"))?;
            for pass in ids {
                let cti = pass["cti"].as_str().context("a pass has an id")?.to_owned();
                let picture = cloud.send_raw("GET", &at(&format!("passes/{cti}.png")), &[], Vec::new())?.body;
                passes.push(PassMade { text: read(&picture)?, cti, product: number });
            }
        }
        drop(cloud);
        Ok(Self { folder: folder.to_path_buf(), cookie, venue, gates, lot, pool, site, passes })
    }

    /// The zones, by the names that people read.
    pub fn zones(&self) -> [(&'static str, ZoneId); 3] {
        [("Lot", self.lot), ("Pool", self.pool), ("Site", self.site)]
    }

    /// Copies the cloud's data into a folder that does not exist yet.
    pub fn copy_cloud(&self, to: &Path) -> anyhow::Result<()> {
        copy_folder(&self.folder.join("cloud"), to)
    }
}

/// Enrols a device for a gate, as `gate-agent enrol` does.
pub fn enrol(
    cloud: &mut Cloud,
    at: &impl Fn(&str) -> String,
    gate: GateId,
    chance: &mut Chance,
) -> anyhow::Result<(SigningKey, Enrolled)> {
    let invitation = cloud.send_json("POST", &at(&format!("gates/{gate}/enrolment")), Some(&json!({})))?.body;
    let code = invitation["code"].as_str().context("an invitation has a code")?.replace('-', "").to_uppercase();
    let key = SigningKey::from_bytes(&super::random32(chance));
    let asked = Enrol { code, key: PublicKey::from(&key), model: "simulated".into(), software: "simulation".into() };
    let answer =
        cloud.send_raw("POST", ENROL_PATH, &[("content-type", "application/cbor".into())], asked.sign(&key))?;
    if !answer.status.is_success() {
        bail!("enrolment: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    Ok((key, canonical::decode(&answer.body)?))
}

/// Reads the code in a picture.
fn read(png: &[u8]) -> anyhow::Result<String> {
    let picture = image::load_from_memory(png)?.into_luma8();
    let (width, height) = picture.dimensions();
    let frame = LumaFrame::new(width, height, picture.into_raw())?;
    let mut cascade = hardware::decode::Cascade::new(std::time::Duration::from_secs(1));
    let text = cascade.read(&frame).texts.into_iter().next().context("a pass's picture can be read")?;
    let scanned = open_pass(&text, &gate_core::pass::Keyring::default());
    anyhow::ensure!(scanned.token == gate_core::pass::token_hash(&text), "a text has one hash");
    Ok(text)
}
