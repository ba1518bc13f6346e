//! Facts coming in from gates.
//!
//! Each event is taken once, in whatever order it comes. One that can't be applied is parked with its reason and never
//! stops the others; what comes in is always applied plus parked. Applying an event twice, or two events in the other
//! order, gives the same numbers: sums only grow, and what is said about an earlier event waits for it.

mod apply;
mod chain;
mod counts;

use std::collections::{BTreeMap, BTreeSet};

use gate_core::event::{self, Event};
use gate_core::ids::{EventId, GateId, Hash, VenueId, ZoneId};
use gate_core::sync::v1::{Change, ItemOutcome, JournalHead, Push, PushReply, Receipt, Signed, UseMark};
use gate_core::time::DayRule;
use serde_bytes::ByteBuf;

pub use counts::{fullness, fullness_text, merged, note_capacity, tally};

use crate::app::App;
use crate::auth::AnyDevice;
use crate::keys::{self, Role};
use crate::problem::ApiError;
use crate::replica;
use crate::routes::venue_row;
use crate::store::{DbError, Tx, params};

/// Items of one withdrawn device that are kept aside at most; beyond that it only fills the disk.
const PARKED_LIMIT: i64 = 10_000;

/// Whose events are taken in.
#[derive(Clone, Debug)]
struct Source {
    venue: VenueId,
    device: gate_core::ids::DeviceId,
    gate: GateId,
    day_rule: DayRule,
    now_ms: i64,
}

/// What gates must be told afterwards.
#[derive(Default)]
struct News {
    uses: BTreeMap<EventId, UseMark>,
    zones: BTreeSet<ZoneId>,
}

/// Why an item is kept aside.
enum Refusal {
    /// It can't be applied, for this reason.
    Park(String),
    /// It contradicts what the device said before: somebody should look.
    Fork(String),
    /// The database itself failed: nothing of the push is taken.
    Db(DbError),
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        match error {
            // A value that the schema can't hold is the item's fault.
            DbError::Conflict(why) => Self::Park(format!("could not be applied: {why}")),
            DbError::Type { .. } => Self::Park(format!("could not be applied: {error}")),
            DbError::Storage(_)
            | DbError::Damaged(_)
            | DbError::Foreign
            | DbError::Closed
            | DbError::Statement(_)
            | DbError::Newer { .. } => Self::Db(error),
        }
    }
}

/// Takes in a push of a believed device.
pub async fn push(tx: &mut Tx, app: &App, device: &AnyDevice, push: &Push) -> Result<PushReply, ApiError> {
    let head = JournalHead::open(&push.head, &device.key)
        .ok()
        .filter(|head| head.venue == device.venue && head.head.event.device == device.device)
        .ok_or_else(|| ApiError::malformed("The journal head is not signed by this device."))?;
    let source = Source {
        venue: device.venue,
        device: device.device,
        gate: device.gate,
        day_rule: venue_row(tx, device.venue).await?.day_rule,
        now_ms: app.now_ms(),
    };
    let mut news = News::default();
    let mut outcomes = Vec::with_capacity(push.events.len());
    let mut epochs = BTreeSet::from([head.head.event.epoch]);
    for bytes in &push.events {
        tx.execute("SAVEPOINT item", &[]).await?;
        let outcome = match take(tx, &source, bytes, &mut news, &mut epochs).await {
            Ok(outcome) => outcome,
            Err(Refusal::Db(error)) => return Err(error.into()),
            Err(Refusal::Park(reason)) => set_aside(tx, &source, bytes, reason).await?,
            Err(Refusal::Fork(reason)) => {
                let outcome = set_aside(tx, &source, bytes, reason.clone()).await?;
                alert(tx, &source, "fork", &format!("{reason} ({})", event::hash(bytes))).await?;
                outcome
            }
        };
        tx.execute("RELEASE SAVEPOINT item", &[]).await?;
        outcomes.push(outcome);
    }
    let key = keys::load(tx, app.master(), source.venue, Role::Server).await?;
    let mut receipts = Vec::new();
    for epoch in epochs {
        if let Some(upto) = chain::advance(tx, &source, epoch).await? {
            receipts.push(ByteBuf::from(Receipt { venue: source.venue, upto }.sign(&key)));
        }
    }
    chain::note_head(tx, &source, &head.head).await?;
    let mut changes: Vec<Change> = news.uses.into_values().map(Change::Use).collect();
    for zone in news.zones {
        changes.push(Change::Count(counts::settle(tx, source.venue, zone).await?));
        counts::note_capacity(tx, source.venue, zone, Some(source.gate), source.now_ms).await?;
    }
    replica::publish(tx, app.master(), source.venue, changes).await?;
    Ok(PushReply { outcomes, receipts })
}

/// Keeps aside what a withdrawn device sent: evidence, believed by nobody.
pub async fn quarantine(tx: &mut Tx, app: &App, device: &AnyDevice, push: &Push) -> Result<(), ApiError> {
    let source = Source {
        venue: device.venue,
        device: device.device,
        gate: device.gate,
        day_rule: venue_row(tx, device.venue).await?.day_rule,
        now_ms: app.now_ms(),
    };
    for bytes in &push.events {
        let kept = tx
            .number(
                "SELECT COUNT(*) FROM parked WHERE venue_id = $1 AND device_id = $2",
                params![source.venue, source.device],
            )
            .await?;
        if kept >= PARKED_LIMIT {
            break;
        }
        park(tx, &source, bytes, "sent after the device was withdrawn").await?;
    }
    Ok(())
}

/// Undoes what was done for an item so far and parks it.
async fn set_aside(tx: &mut Tx, source: &Source, bytes: &[u8], reason: String) -> Result<ItemOutcome, DbError> {
    tx.execute("ROLLBACK TO SAVEPOINT item", &[]).await?;
    park(tx, source, bytes, &reason).await?;
    Ok(ItemOutcome::Parked { reason })
}

async fn park(tx: &mut Tx, source: &Source, bytes: &[u8], reason: &str) -> Result<(), DbError> {
    tracing::warn!(gate.id = %source.gate, device.id = %source.device, reason, "an event was parked");
    tx.execute(
        "INSERT INTO parked (venue_id, device_id, hash, reason, bytes, received_ms) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (venue_id, device_id, hash) DO NOTHING",
        params![source.venue, source.device, event::hash(bytes), reason, bytes, source.now_ms],
    )
    .await
    .map(|_| ())
}

/// Takes one item.
async fn take(
    tx: &mut Tx,
    source: &Source,
    bytes: &[u8],
    news: &mut News,
    epochs: &mut BTreeSet<u64>,
) -> Result<ItemOutcome, Refusal> {
    let park = |reason: &str| Err(Refusal::Park(reason.to_owned()));
    let event = Event::decode(bytes).map_err(|error| Refusal::Park(format!("unreadable: {error}")))?;
    if event.id.device != source.device {
        return park("written by another device");
    }
    if event.venue != source.venue {
        return park("belongs to another venue");
    }
    if event.gate != source.gate {
        return park("belongs to another gate");
    }
    let fits = |n: u64| i64::try_from(n).is_ok();
    if !fits(event.id.epoch) || !fits(event.id.seq) {
        return park("its number is out of range");
    }
    // 2000 to 2200: what no clock of a gate can say is a mistake, not a time.
    if !(946_684_800_000..7_258_118_400_000).contains(&event.at.wall_ms) {
        return park("its time is out of range");
    }
    let hash = event::hash(bytes);
    epochs.insert(event.id.epoch);
    match chain::place(tx, source, &event, hash).await? {
        chain::Place::Free => {}
        chain::Place::Taken => return Ok(ItemOutcome::Exists),
        chain::Place::Fork(why) => return Err(Refusal::Fork(why)),
    }
    chain::store(tx, source, &event, hash, bytes).await?;
    apply::apply(tx, source, &event, news).await?;
    // A gate may try again what could not be applied before: then it is applied and no longer parked.
    tx.execute(
        "DELETE FROM parked WHERE venue_id = $1 AND device_id = $2 AND hash = $3",
        params![source.venue, source.device, hash],
    )
    .await?;
    Ok(ItemOutcome::Created)
}

/// Raises an alert, once for the same evidence.
async fn alert(tx: &mut Tx, source: &Source, kind: &str, evidence: &str) -> Result<(), DbError> {
    let id = Hash::of("gatealert/1", format!("{kind}\n{evidence}").as_bytes());
    tx.execute(
        "INSERT INTO alerts (venue_id, alert_id, kind, gate_id, evidence, raised_ms) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (venue_id, alert_id) DO NOTHING",
        params![source.venue, id, kind, source.gate, evidence, source.now_ms],
    )
    .await
    .map(|_| ())
}

/// The key a receipt must be checked with, for tests of this module and its callers.
#[cfg(test)]
pub(crate) async fn server_key(tx: &mut Tx, venue: VenueId) -> gate_core::keys::PublicKey {
    keys::public(tx, venue, Role::Server).await.unwrap()
}

#[cfg(test)]
mod tests;
