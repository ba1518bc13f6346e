//! One push of one device: each item gets its outcome, and the others hear what follows.

use std::collections::BTreeSet;

use gate_core::event::{self, Event, EventBody};
use gate_core::mutant::{self, Mutant};
use gate_core::sync::v1::{Change, ItemOutcome, JournalHead, Push, PushReply, Receipt, Signed};
use serde_bytes::ByteBuf;

use super::{News, Refusal, Source, apply, chain, counts, parked, raise};
use crate::app::App;
use crate::auth::AnyDevice;
use crate::conflict::Kind;
use crate::fence;
use crate::keys::{self, Role};
use crate::problem::ApiError;
use crate::replica;
use crate::routes::venue_row;
use crate::store::{DbError, Tx, params};

/// An event further ahead of all that is held of its epoch than this is a mistake, not a gap: a gate keeps far fewer.
const AHEAD_LIMIT: u64 = 2_000_000;
/// The earliest and the latest moment that an event may name, Unix milliseconds (2000 to 2200).
const TIMES: std::ops::Range<i64> = 946_684_800_000..7_258_118_400_000;

/// Who sent a push, and when it came.
pub(super) async fn source(tx: &mut Tx, app: &App, device: &AnyDevice) -> Result<Source, DbError> {
    Ok(Source {
        venue: device.venue,
        device: device.device,
        gate: device.gate,
        day_rule: venue_row(tx, device.venue).await?.day_rule,
        received_ms: app.now_ms(),
        live: true,
    })
}

fn head_of(device: &AnyDevice, push: &Push) -> Result<JournalHead, ApiError> {
    JournalHead::open(&push.head, &device.key)
        .ok()
        .filter(|head| head.venue == device.venue && head.head.event.device == device.device)
        .ok_or_else(|| ApiError::malformed("The journal head is not signed by this device."))
}

/// Takes in a push: of a device that is believed it is applied, of another one it is kept aside. Which one it is is read
/// here, because that may have changed since the request was looked at.
pub async fn receive(
    tx: &mut Tx,
    app: &App,
    device: &AnyDevice,
    sent: &Push,
) -> Result<Result<PushReply, Unbelieved>, ApiError> {
    let why = tx
        .first(
            "SELECT revoked_ms, fenced_ms FROM devices WHERE venue_id = $1 AND device_id = $2",
            params![device.venue, device.device],
        )
        .await?
        .map(|row| Ok::<_, DbError>((row.get::<Option<i64>>(0)?, row.get::<Option<i64>>(1)?)))
        .transpose()?;
    let unbelieved = match why {
        None | Some((Some(_), _)) => Unbelieved::Withdrawn,
        Some((None, Some(_))) => Unbelieved::Fenced,
        Some((None, None)) => return push(tx, app, device, sent).await.map(Ok),
    };
    quarantine(tx, app, (device, unbelieved), sent).await?;
    Ok(Err(unbelieved))
}

/// Why nothing that a device sends is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unbelieved {
    /// It was withdrawn.
    Withdrawn,
    /// Two histories of it exist.
    Fenced,
}

/// Takes in a push of a believed device.
async fn push(tx: &mut Tx, app: &App, device: &AnyDevice, push: &Push) -> Result<PushReply, ApiError> {
    let head = head_of(device, push)?;
    let source = source(tx, app, device).await?;
    parked::check_room(tx, &source).await?;
    let mut news = News::default();
    let mut outcomes = Vec::with_capacity(push.events.len());
    let mut epochs = BTreeSet::from([head.head.event.epoch]);
    for bytes in &push.events {
        outcomes.push(item(tx, &source, bytes, &mut news, &mut epochs).await?);
    }
    for epoch in &epochs {
        chain::check_children(tx, &source, *epoch, &mut news).await?;
    }
    if news.fence.is_some() {
        // An older card may be in the gate: our word about what it goes on from tells it so.
        epochs.extend(push.events.iter().filter_map(|bytes| goes_on_from(&source, bytes)));
    }
    if push.events.is_empty() {
        // The gate holds everything for acknowledged: it is told where that is not so.
        let gaps = chain::gaps(tx, &source, head.head.event.epoch).await?;
        epochs.extend(gaps.behind);
        if let Some(lost) = gaps.lost {
            replica::ask_again(tx, source.venue, source.device, lost).await?;
        }
    }
    let key = keys::load(tx, app.master(), source.venue, Role::Server).await?;
    let mut receipts = Vec::new();
    for epoch in epochs {
        if let Some(upto) = chain::advance(tx, &source, epoch).await? {
            receipts.push(ByteBuf::from(Receipt { venue: source.venue, upto }.sign(&key)));
        }
    }
    chain::note_head(tx, &source, &head.head, device.signed_s, &mut news).await?;
    let changes = finish(tx, &source, &mut news).await?;
    replica::publish(tx, app.master(), source.venue, changes).await?;
    Ok(PushReply { outcomes, receipts })
}

/// The epoch that an opening of the journal goes on from.
fn goes_on_from(source: &Source, bytes: &[u8]) -> Option<u64> {
    let EventBody::EpochOpened { continues, .. } = Event::decode(bytes).ok()?.body else { return None };
    continues.filter(|head| head.event.device == source.device).map(|head| head.event.epoch)
}

/// Takes one item, or keeps it aside.
pub(super) async fn item(
    tx: &mut Tx,
    source: &Source,
    bytes: &[u8],
    news: &mut News,
    epochs: &mut BTreeSet<u64>,
) -> Result<ItemOutcome, DbError> {
    if news.fence.is_some() {
        let reason = "sent after the device was fenced".to_owned();
        if let Some(known) = chain::held(tx, source, bytes).await? {
            return Ok(known);
        }
        parked::park(tx, source, bytes, &reason, parked::Why::Fenced).await?;
        return Ok(ItemOutcome::Parked { reason });
    }
    tx.execute("SAVEPOINT item", &[]).await?;
    // What a refused item would have meant must not be told: it is learnt apart.
    let mut own = News { bases: std::mem::take(&mut news.bases), ..News::default() };
    let outcome = match take(tx, source, bytes, &mut own, epochs).await {
        Ok(outcome) => {
            news.take_over(own);
            outcome
        }
        Err(Refusal::Db(error)) => return Err(error),
        Err(Refusal::Park(reason)) => set_aside(tx, source, bytes, reason, parked::Why::Poison).await?,
        Err(Refusal::Fork(reason)) => {
            let outcome = set_aside(tx, source, bytes, reason.clone(), parked::Why::Fork).await?;
            forked(tx, source, bytes, &reason, news).await?;
            outcome
        }
    };
    tx.execute("RELEASE SAVEPOINT item", &[]).await?;
    Ok(outcome)
}

/// Undoes what was done for an item so far and parks it.
async fn set_aside(
    tx: &mut Tx,
    source: &Source,
    bytes: &[u8],
    reason: String,
    why: parked::Why,
) -> Result<ItemOutcome, DbError> {
    tx.execute("ROLLBACK TO SAVEPOINT item", &[]).await?;
    parked::park(tx, source, bytes, &reason, why).await?;
    Ok(ItemOutcome::Parked { reason })
}

/// Two histories of one device: both are kept, and the device is believed no further until somebody has looked.
async fn forked(tx: &mut Tx, source: &Source, bytes: &[u8], reason: &str, news: &mut News) -> Result<(), DbError> {
    let hash = event::hash(bytes);
    let mut finding = source.finding(Kind::Fork, hash.to_string(), reason);
    finding.events = vec![hash.to_string()];
    if let Ok(event) = Event::decode(bytes) {
        finding.text = format!("event {}: {reason}", event.id);
        finding.against = vec![event.id.to_string()];
        finding.at_ms = event.at.wall_ms;
    }
    suspect(tx, source, &finding, news).await
}

/// Raises a conflict that a device can't explain, and fences it the first time.
pub(super) async fn suspect(
    tx: &mut Tx,
    source: &Source,
    finding: &crate::conflict::Finding,
    news: &mut News,
) -> Result<(), DbError> {
    if mutant::active(Mutant::SilentFork) {
        return Ok(());
    }
    if raise(tx, source, finding).await? && source.live {
        fence::put(tx, source.venue, source.device, &finding.id(), source.received_ms).await?;
        news.fence = Some(finding.id());
    }
    Ok(())
}

/// Tells what follows from all that was taken: the changes that gates must hear.
pub(super) async fn finish(tx: &mut Tx, source: &Source, news: &mut News) -> Result<Vec<Change>, DbError> {
    if let Some((at_ms, _, _, trust)) = news.clock.take() {
        tx.execute(
            "UPDATE devices SET clock_trust = $1, clock_at_ms = $2 WHERE venue_id = $3 AND device_id = $4 AND clock_at_ms <= $2",
            params![trust, at_ms, source.venue, source.device],
        )
        .await?;
    }
    let mut changes: Vec<Change> = std::mem::take(&mut news.uses).into_values().map(Change::Use).collect();
    for zone in std::mem::take(&mut news.zones) {
        changes.push(Change::Count(counts::settle(tx, source.venue, zone).await?));
        counts::note_conditions(tx, source.venue, zone, Some(source.gate), source.received_ms).await?;
    }
    Ok(changes)
}

/// Keeps aside what a withdrawn or fenced device sent: evidence, believed by nobody.
async fn quarantine(
    tx: &mut Tx,
    app: &App,
    (device, unbelieved): (&AnyDevice, Unbelieved),
    push: &Push,
) -> Result<(), ApiError> {
    let source = source(tx, app, device).await?;
    let mut room = parked::room(tx, &source).await?;
    let (reason, why) = match unbelieved {
        Unbelieved::Withdrawn => ("sent after the device was withdrawn", parked::Why::Withdrawn),
        Unbelieved::Fenced => ("sent after the device was fenced", parked::Why::Fenced),
    };
    for bytes in &push.events {
        if room <= 0 {
            break;
        }
        if chain::held(tx, &source, bytes).await?.is_none() && parked::park(tx, &source, bytes, reason, why).await? {
            room -= 1;
        }
    }
    Ok(())
}

/// Takes one item.
async fn take(
    tx: &mut Tx,
    source: &Source,
    bytes: &[u8],
    news: &mut News,
    epochs: &mut BTreeSet<u64>,
) -> Result<ItemOutcome, Refusal> {
    let event = Event::decode(bytes).map_err(|error| Refusal::Park(format!("unreadable: {error}")))?;
    check(source, &event)?;
    let hash = event::hash(bytes);
    match chain::place(tx, source, &event, hash).await? {
        chain::Place::Free => {}
        chain::Place::Taken => {
            epochs.insert(event.id.epoch);
            if mutant::active(Mutant::CountTwice) {
                counts::count_again(tx, source, &event, news).await?;
            }
            return Ok(ItemOutcome::Exists);
        }
        chain::Place::Fork(why) => return Err(Refusal::Fork(why)),
    }
    chain::check_bounds(tx, source, event.id, AHEAD_LIMIT).await?;
    epochs.insert(event.id.epoch);
    chain::store(tx, source, &event, hash, bytes).await?;
    chain::note_held(tx, source, event.id).await?;
    apply::apply(tx, source, &event, news).await?;
    // A gate may try again what could not be applied before: then it is applied and no longer parked.
    parked::taken(tx, source, hash).await?;
    Ok(ItemOutcome::Created)
}

fn check(source: &Source, event: &Event) -> Result<(), Refusal> {
    let park = |reason: &str| Err(Refusal::Park(reason.to_owned()));
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
    if !TIMES.contains(&event.at.wall_ms) {
        return park("its time is out of range");
    }
    // What gates are told rests on it, and they would refuse it.
    if let EventBody::Recounted(recount) = &event.body {
        if !TIMES.contains(&recount.at_ms) {
            return park("its recount is of a time that is out of range");
        }
        if !recount.frontier.iter().all(|heard| fits(heard.epoch) && fits(heard.seq)) {
            return park("its recount had heard of an event whose number is out of range");
        }
    }
    Ok(())
}

/// Stores and applies an event that this service wrote itself.
pub(super) async fn write(tx: &mut Tx, source: &Source, event: &Event) -> Result<Vec<Change>, DbError> {
    let bytes = event.encode();
    let mut news = News::default();
    let told = |refusal: Refusal| match refusal {
        Refusal::Db(error) => error,
        Refusal::Park(why) | Refusal::Fork(why) => DbError::Statement(format!("our own event: {why}")),
    };
    chain::store(tx, source, event, event::hash(&bytes), &bytes).await?;
    chain::note_held(tx, source, event.id).await?;
    apply::apply(tx, source, event, &mut news).await.map_err(told)?;
    parked::came_in(tx, source.venue, true).await?;
    chain::advance(tx, source, event.id.epoch).await?;
    finish(tx, source, &mut news).await
}
