//! What one event costs the cloud, with few and with many in its database.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use gate_agent::sync::transport::{SignedTransport, Transport};
use gate_agent::sync::{CloudUrl, SyncError};
use gate_core::event::EventBody;
use gate_core::ids::{PassId, VenueId};
use gate_core::journal::Journal;
use gate_core::pass::Finding;
use gate_core::sync::v1::{ItemOutcome, JournalHead, PUSH_BYTES, PUSH_LIMIT, Push, Signed};
use hardware::clock::thread_cpu_us;
use serde_bytes::ByteBuf;

use super::{Figures, Site, size};
use crate::bench::median;
use crate::world::device::{Device, Passes};
use crate::world::{Inline, copy_folder};

/// Events in the smaller database.
const FEW: u64 = 10_000;
/// More than an admission and its opening have, bytes.
const PAIR_BYTES: usize = 4096;
/// Pushes that are measured at each.
const TURNS: usize = 31;
/// CPU per event may grow this much.
const GROWTH_LIMIT: f64 = 1.5;

/// A journal that goes on where the device's own ended, and the cloud that it goes to.
struct Side {
    transport: SignedTransport<Inline>,
    journal: Journal,
    venue: VenueId,
    key: ed25519_dalek::SigningKey,
    template: EventBody,
    passes: Passes,
    admitted: u64,
    first: Vec<ByteBuf>,
    us: Vec<f64>,
}

impl Side {
    async fn new(device: &mut Device, passes: &Passes, site: &Site, data: &Path) -> anyhow::Result<Self> {
        let authority = site.cloud.link.address().to_string();
        let url = CloudUrl::parse(&site.url())?;
        let cloud = Inline::open(data, site.cloud.address, &[authority]).await?;
        let identity = device.identity().clone();
        let head = device.replica().journal_head().context("the device has no journal")?;
        let ids = (identity.venue, identity.gate, identity.device);
        let (journal, opened) = Journal::open(ids, 77, Some(head), "bench".to_owned(), Device::now());
        let (_, body) = device.judge(&passes.pass(0), Device::now())?;
        Ok(Self {
            transport: device.transport(cloud, &url),
            journal,
            venue: identity.venue,
            key: device.key().clone(),
            template: body.context("a good pass was not decided")?,
            passes: passes.clone(),
            admitted: 0,
            first: vec![ByteBuf::from(opened.bytes)],
            us: Vec::new(),
        })
    }

    /// The next page of a journal: admissions and openings in turn, each of a pass of its own.
    fn page(&mut self) -> anyhow::Result<Push> {
        let mut events = std::mem::take(&mut self.first);
        let mut bytes = 0;
        while events.len() + 2 <= PUSH_LIMIT && bytes + PAIR_BYTES <= PUSH_BYTES {
            self.admitted += 1;
            let pass = self.passes.pass(self.admitted);
            let mut body = self.template.clone();
            let (EventBody::Authorised { input, admission, .. }, Finding::Genuine { claims, .. }) =
                (&mut body, &pass.finding)
            else {
                anyhow::bail!("a good pass was not admitted");
            };
            admission.pass = Some(PassId { vendor: claims.vendor.clone(), cti: claims.cti });
            input.pass = pass;
            let lane = Some(input.lane.lane);
            let authorised = self.journal.append(lane, Device::now(), body);
            let opened =
                self.journal.append(lane, Device::now(), EventBody::Opened { of: authorised.event.id, watched: false });
            bytes += authorised.bytes.len() + opened.bytes.len();
            events.extend([ByteBuf::from(authorised.bytes), ByteBuf::from(opened.bytes)]);
        }
        let head = JournalHead { venue: self.venue, head: self.journal.head() }.sign(&self.key);
        Ok(Push { head: ByteBuf::from(head), events })
    }

    /// Pushes a page; gives the CPU per event, microseconds, signing the request included.
    async fn push(&mut self) -> anyhow::Result<f64> {
        let push = self.page()?;
        loop {
            let before = thread_cpu_us();
            let reply = self.transport.push(&push).await;
            let us = thread_cpu_us() - before;
            match reply {
                Ok(reply) => {
                    let taken = reply.outcomes.iter().all(|outcome| *outcome == ItemOutcome::Created);
                    anyhow::ensure!(taken, "not all were taken: {:?}", reply.outcomes.first());
                    return Ok(us as f64 / push.events.len() as f64);
                }
                // One device alone may not ask more often.
                Err(SyncError::Refused { status: 429, .. }) => tokio::time::sleep(Duration::from_millis(60)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

pub(super) async fn measure(many: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let mut site = Site::open("gate-bench-ingest", true).await?;
    let (mut device, passes) = site.ready("Entrance").await?;
    site.cloud.process.kill()?;
    let data = site.world.join("cloud");
    let mut sides = Vec::new();
    let mut empty = 0;
    for name in ["few", "many"] {
        let copy = site.world.join(name);
        copy_folder(&data, &copy)?;
        empty = size(&copy)?;
        sides.push(Side::new(&mut device, &passes, &site, &copy).await?);
    }
    for (side, events) in sides.iter_mut().zip([FEW, many]) {
        while side.admitted * 2 < events {
            side.push().await?;
        }
    }
    let bytes = size(&site.world.join("many"))?.saturating_sub(empty) as f64 / (sides[1].admitted * 2) as f64;
    for _ in 0..TURNS {
        for side in &mut sides {
            let us = side.push().await?;
            side.us.push(us);
        }
    }
    let (few, more) = (median(&sides[0].us), median(&sides[1].us));
    figures.told("ingest: CPU per event at 10,000", "us", few);
    figures.told("ingest: events in the larger database", "", (sides[1].admitted * 2) as f64);
    figures.told("ingest: CPU per event there", "us", more);
    figures.most("ingest: growth", "x", more / few, GROWTH_LIMIT);
    figures.told("ingest: bytes on disk per event", "B", bytes);
    drop(sides);
    drop(device);
    site.close()
}
