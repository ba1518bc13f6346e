//! Ten thousand revocations, and how long a gate takes to know them all.

use gate_agent::sync::CloudUrl;
use gate_agent::sync::transport::{HttpRoad, Limits, client};
use hardware::clock::Stopwatch;
use serde_json::json;

use super::{Figures, Site};
use crate::clock::unix_ms;
use crate::world::text_at;

/// Revocations, in batches that are withdrawn as a whole.
const BATCHES: usize = 4;
const BATCH: usize = 2_500;
/// Until the gate knows them, s.
const LIMIT_S: f64 = 1.0;

pub(super) async fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let site = Site::open("gate-bench-news", true).await?;
    let (device, _) = site.ready("Entrance").await?;
    let before = device.replica().position()?.0;
    revoke(&site).await?;
    let url = CloudUrl::parse(&site.url())?;
    let road = HttpRoad::new(client(Limits::default())?, url.clone());
    let mut engine = device.engine(road, &url);
    let watch = Stopwatch::start();
    while device.replica().position()?.0 < before + (BATCHES * BATCH) as u64 {
        engine.step().await;
    }
    let s = watch.elapsed_us() as f64 / 1e6;
    figures.most("news: 10,000 revocations known at a gate", "s", s, LIMIT_S);
    drop((engine, device));
    site.close()
}

/// Makes them at the office.
pub(super) async fn revoke(site: &Site) -> anyhow::Result<()> {
    let vendor = text_at(&site.office.post("/vendors", &json!({"name": "Tacos"})).await?, "/id")?;
    let now = unix_ms();
    for _ in 0..BATCHES {
        let order = json!({
            "vendor_id": vendor, "product_id": 1, "count": BATCH,
            "valid_from_ms": now - 1000, "valid_until_ms": now + 86_400_000,
        });
        let batch = text_at(&site.office.post("/batches", &order).await?, "/batch_id")?;
        site.office.post(&format!("/batches/{batch}/revoke"), &json!({})).await?;
    }
    Ok(())
}
