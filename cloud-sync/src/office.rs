//! What the office itself says happened: a journal of its own, in the same chain of facts as those of the gates.
//!
//! A recount is an event, so that merging, conflicts and a rebuild treat it like any other. The journal's epoch begins
//! anew after the service was restored, because what it wrote after the backup may live on elsewhere.

use gate_core::event::{Event, EventBody, Head};
use gate_core::ids::{BootId, DeviceId, EventId, GateId, Hash, VenueId, ZoneId};
use gate_core::occupancy::{Basis, Recount};
use gate_core::reset::{self, Daily};
use gate_core::sync::v1::Change;
use gate_core::time::{Now, Trust};
use uuid::Uuid;

use crate::app::App;
use crate::problem::ApiError;
use crate::routes::{venue_row, zones};
use crate::store::{DbError, Tx, params};
use crate::{ingest, replica};

/// What the office's events name as their gate: none.
const NO_GATE: GateId = GateId(Uuid::nil());

/// Writes one event of the office and applies it; gives its id and what gates must be told.
async fn write(tx: &mut Tx, app: &App, venue: VenueId, body: EventBody) -> Result<(EventId, Vec<Change>), ApiError> {
    let (device, last) = journal(tx, app, venue).await?;
    let rule = venue_row(tx, venue).await?.day_rule;
    let now_ms = app.now_ms();
    let at = Now { wall_ms: now_ms, mono_us: 0, boot: BootId(device.0), trust: Trust::Signed };
    let event = |id: EventId, previous: Hash, body: EventBody| Event {
        id,
        previous,
        venue,
        gate: NO_GATE,
        lane: None,
        at,
        body,
    };
    let (epoch, mut head) = match last {
        Begun::At(head) => (head.event.epoch, Some(head)),
        Begun::Not { epoch } => (epoch, None),
    };
    if head.is_none() {
        let software = format!("cloud-sync {}", env!("CARGO_PKG_VERSION"));
        let id = EventId { device, epoch, seq: 0 };
        let opened = event(id, Hash::ZERO, EventBody::EpochOpened { continues: None, software });
        ingest::own(tx, (venue, device), (rule.clone(), now_ms), &opened).await?;
        head = Some(Head { event: id, hash: gate_core::event::hash(&opened.encode()) });
    }
    let head = head.ok_or_else(|| ApiError::internal(&"the office's journal has no head"))?;
    let id = EventId { seq: head.event.seq + 1, ..head.event };
    let changes = ingest::own(tx, (venue, device), (rule, now_ms), &event(id, head.hash, body)).await?;
    Ok((id, changes))
}

enum Begun {
    At(Head),
    Not { epoch: u64 },
}

async fn journal(tx: &mut Tx, app: &App, venue: VenueId) -> Result<(DeviceId, Begun), DbError> {
    let row = tx
        .first("SELECT office_device, office_epoch FROM venues WHERE venue_id = $1", params![venue])
        .await?
        .ok_or_else(|| DbError::Statement("the venue is gone".to_owned()))?;
    let known: (Option<DeviceId>, Option<u64>) = (row.get(0)?, row.get(1)?);
    if let (Some(device), Some(epoch)) = known {
        let row = tx
            .first(
                "SELECT seq, hash FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 ORDER BY seq DESC LIMIT 1",
                params![venue, device, epoch],
            )
            .await?;
        return Ok(match row {
            Some(row) => {
                let event = EventId { device, epoch, seq: row.get(0)? };
                (device, Begun::At(Head { event, hash: row.get(1)? }))
            }
            None => (device, Begun::Not { epoch }),
        });
    }
    // A device of its own for each epoch: no journal of the office ever has two histories.
    let device = DeviceId(app.new_id());
    let epoch = u64::from_be_bytes(app.entropy().bytes()) >> 1;
    tx.execute(
        "UPDATE venues SET office_device = $1, office_epoch = $2 WHERE venue_id = $3",
        params![device, epoch, venue],
    )
    .await?;
    Ok((device, Begun::Not { epoch }))
}

/// What the office wrote may live on elsewhere: it begins another journal.
pub async fn begin_anew(tx: &mut Tx, venue: VenueId) -> Result<(), DbError> {
    tx.execute("UPDATE venues SET office_device = NULL, office_epoch = NULL WHERE venue_id = $1", params![venue])
        .await
        .map(|_| ())
}

/// Somebody counted what is really in a zone.
pub async fn recount(
    tx: &mut Tx,
    app: &App,
    venue: VenueId,
    zone: ZoneId,
    observed: u32,
) -> Result<(EventId, Vec<Change>), ApiError> {
    let known = ingest::tally(tx, venue, zone).await?;
    // What counted since the last recount and was heard of. What happened before this one and comes later was seen by it.
    let mut frontier = Vec::new();
    for count in &known.counts {
        let row = tx
            .first(
                "SELECT seq FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 ORDER BY seq DESC LIMIT 1",
                params![venue, count.actor.device, count.actor.epoch],
            )
            .await?;
        if let Some(row) = row {
            frontier.push(EventId { device: count.actor.device, epoch: count.actor.epoch, seq: row.get(0)? });
        }
    }
    let generation = known.basis.generation.saturating_add(1);
    let recount = Recount { zone, generation, observed, at_ms: app.now_ms(), frontier, before: None };
    write(tx, app, venue, EventBody::Recounted(recount)).await
}

/// Zones with a daily reset that no gate can make: nobody holds their capacity rights, or a gate without a device.
const UNHELD: &str = "SELECT venue_id, zone_id FROM zones WHERE reset_min IS NOT NULL AND NOT EXISTS (SELECT 1 FROM devices WHERE devices.venue_id = zones.venue_id AND devices.gate_id = zones.rights_holder AND devices.revoked_ms IS NULL)";

/// Begins each zone anew with nobody for which that is due and which no gate can reset ([`gate_core::reset`]). Gives how
/// many there were.
pub async fn reset_zones(app: &App) -> Result<usize, ApiError> {
    let mut resets = 0;
    let candidates = app.db().read(async |tx| Ok::<_, ApiError>(tx.query(UNHELD, &[]).await?)).await?;
    for row in candidates {
        let (venue, zone) = (row.get(0)?, row.get(1)?);
        if app.db().read(async |tx| due(tx, app, venue, zone).await).await?.is_some() {
            resets += usize::from(app.change(venue, async |tx| reset(tx, app, venue, zone).await).await?);
        }
    }
    Ok(resets)
}

async fn due(tx: &mut Tx, app: &App, venue: VenueId, zone: ZoneId) -> Result<Option<Recount>, ApiError> {
    let unheld = format!("{UNHELD} AND venue_id = $1 AND zone_id = $2");
    if tx.first(&unheld, params![venue, zone]).await?.is_none() {
        return Ok(None);
    }
    let known = ingest::tally(tx, venue, zone).await?;
    let (daily, time_zone) = (zones::daily(tx, venue, zone).await?, venue_row(tx, venue).await?.day_rule.time_zone);
    let at = reset_due(daily, &time_zone, &known.basis, app.now_ms());
    Ok(at.map(|at_ms| reset::recount(zone, &known.basis, ingest::merged(&known).demand(), at_ms)))
}

/// The instant at which a zone must begin anew, if that is due and nobody has said that it was done, Unix milliseconds.
pub fn reset_due(daily: Option<Daily>, time_zone: &str, basis: &Basis, now_ms: i64) -> Option<i64> {
    let now = Now { wall_ms: now_ms, mono_us: 0, boot: BootId(Uuid::nil()), trust: Trust::Signed };
    daily?.due(time_zone, basis, now)
}

async fn reset(tx: &mut Tx, app: &App, venue: VenueId, zone: ZoneId) -> Result<bool, ApiError> {
    // A gate may have got the rights in the meantime.
    let Some(recount) = due(tx, app, venue, zone).await? else { return Ok(false) };
    let (event, changes) = write(tx, app, venue, EventBody::Recounted(recount)).await?;
    tracing::info!(%zone, %event, "a zone begins anew with nobody in it");
    replica::publish(tx, app.master(), venue, changes).await?;
    Ok(true)
}
