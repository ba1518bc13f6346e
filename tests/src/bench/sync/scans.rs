//! Ten passes a second for minutes, while the replica is fetched anew all the time.

use std::time::Duration;

use gate_core::decision::Verdict;

use super::{Figures, Site, news};
use crate::bench::percentile;

/// Between two passes.
const PACE: Duration = Duration::from_millis(100);
/// From a pass's being shown to its admission on the disk, 99 of 100, ms. What the lane adds is measured by `decide`.
const LIMIT_MS: f64 = 200.0;

pub(super) async fn measure(minutes: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let site = Site::open("gate-bench-scans", true).await?;
    let (mut device, passes) = site.ready("Entrance").await?;
    news::revoke(&site).await?;
    device.start(&site.url(), None)?;
    let count = minutes * 60_000 / PACE.as_millis() as u64;
    let (mut times, mut missed, mut beside, mut resyncs) = (Vec::new(), 0u64, 0u64, 0u64);
    let mut pace = tokio::time::interval(PACE);
    for number in 0..count {
        let due = pace.tick().await;
        if device.replica().is_resyncing()? {
            beside += 1;
        } else {
            device.replica().resync()?;
            device.wake.hinted();
            resyncs += 1;
        }
        let (verdict, _) = tokio::task::block_in_place(|| device.present(&passes.pass(number), false))?;
        missed += u64::from(!matches!(verdict, Verdict::Admit(_)));
        times.push(due.elapsed().as_secs_f64() * 1e3);
    }
    figures.told("scans: passes shown", "", count as f64);
    figures.told("scans: of these beside a running resync", "", beside as f64);
    figures.told("scans: resyncs begun", "", resyncs as f64);
    figures.most("scans: not admitted", "", missed as f64, 0.0);
    figures.told("scans: due to admission on the disk, p50", "ms", percentile(&times, 50));
    figures.most("scans: due to admission on the disk, p99", "ms", percentile(&times, 99), LIMIT_MS);
    device.stop().await;
    drop(device);
    site.close()
}
