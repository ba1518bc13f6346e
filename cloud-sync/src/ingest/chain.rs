//! Where an event stands in its device's hash chain, and how far the chain is held without a gap.

use gate_core::event::{self, Event, EventBody, Head};
use gate_core::ids::{EventId, Hash};
use gate_core::sync::v1::ItemOutcome;

use super::push::suspect;
use super::{News, Refusal, Source, parked, raise};
use crate::conflict::Kind;
use crate::store::{DbError, Tx, params};

/// Openings of one device's journal that are taken at most: one an hour for more than ten years.
const EPOCHS: i64 = 100_000;
/// So many epochs are walked back to look for what is missing.
const BACK: usize = 256;

/// Whether an event may take its place.
pub(super) enum Place {
    /// Nothing is there, and its neighbours fit.
    Free,
    /// This very event is there.
    Taken,
    /// It contradicts what is there.
    Fork(String),
}

/// Looks at an event's place and its neighbours.
pub(super) async fn place(tx: &mut Tx, source: &Source, event: &Event, hash: Hash) -> Result<Place, DbError> {
    let id = event.id;
    let from = i64::try_from(id.seq).unwrap_or(i64::MAX);
    let rows = tx
        .query(
            "SELECT seq, hash, previous FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq >= $4 AND seq <= $5",
            params![source.venue, id.device, id.epoch, from.saturating_sub(1), from.saturating_add(1)],
        )
        .await?;
    for row in rows {
        let (seq, there, previous): (i64, Hash, Hash) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if seq == from {
            if there == hash {
                return Ok(Place::Taken);
            }
            return Ok(Place::Fork("another event has this number already: the journal was rewritten".to_owned()));
        }
        let linked = if seq < from { event.previous == there } else { previous == hash };
        if !linked {
            return Ok(Place::Fork("it does not follow the event before it: one of the two was changed".to_owned()));
        }
    }
    let opens = matches!(event.body, EventBody::EpochOpened { .. });
    if opens != (id.seq == 0) {
        return Ok(Place::Fork("an epoch begins with its opening and with nothing else".to_owned()));
    }
    if let EventBody::EpochOpened { continues, .. } = &event.body
        && event.previous != continues.map_or(Hash::ZERO, |head| head.hash)
    {
        return Ok(Place::Fork("it does not follow the head that it names".to_owned()));
    }
    Ok(Place::Free)
}

/// What to say of an item that is held already, unless it is new.
pub(super) async fn held(tx: &mut Tx, source: &Source, bytes: &[u8]) -> Result<Option<ItemOutcome>, DbError> {
    let Ok(event) = Event::decode(bytes) else { return Ok(None) };
    let there = tx
        .first(
            "SELECT hash FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq = $4",
            params![source.venue, source.device, event.id.epoch, event.id.seq],
        )
        .await?;
    let same = event.id.device == source.device
        && there.map(|row| row.get::<Hash>(0)).transpose()? == Some(event::hash(bytes));
    Ok(same.then_some(ItemOutcome::Exists))
}

/// Refuses numbers that no journal reaches: an event far beyond all that is held of its epoch, or epochs without end.
pub(super) async fn check_bounds(tx: &mut Tx, source: &Source, id: EventId, ahead: u64) -> Result<(), Refusal> {
    let row = tx
        .first(
            "SELECT upto, held FROM epochs WHERE venue_id = $1 AND device_id = $2 AND epoch = $3",
            params![source.venue, id.device, id.epoch],
        )
        .await?;
    let held: i64 = match row {
        Some(row) => row.get::<i64>(0)?.max(row.get(1)?),
        None => {
            let epochs = tx
                .number(
                    "SELECT COUNT(*) FROM epochs WHERE venue_id = $1 AND device_id = $2",
                    params![source.venue, id.device],
                )
                .await?;
            if epochs >= EPOCHS {
                return Err(Refusal::Park(format!("the device opened its journal more than {EPOCHS} times")));
            }
            0
        }
    };
    if id.seq > ahead.saturating_add(u64::try_from(held).unwrap_or(0)) {
        return Err(Refusal::Park(format!("its number is {ahead} beyond all that is held of its epoch")));
    }
    Ok(())
}

/// Keeps an event whose place is free.
pub(super) async fn store(
    tx: &mut Tx,
    source: &Source,
    event: &Event,
    hash: Hash,
    bytes: &[u8],
) -> Result<(), DbError> {
    let id = event.id;
    tx.execute(
        "INSERT INTO events (venue_id, device_id, epoch, seq, hash, previous, gate_id, at_ms, received_ms, kind, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        params![source.venue, id.device, id.epoch, id.seq, hash, event.previous, event.gate, event.at.wall_ms, source.received_ms, kind(&event.body), bytes],
    )
    .await
    .map(|_| ())
}

/// Counts a stored event in its epoch.
pub(super) async fn note_held(tx: &mut Tx, source: &Source, id: EventId) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO epochs (venue_id, device_id, epoch, upto, upto_hash, held) VALUES ($1, $2, $3, -1, $4, 1) ON CONFLICT (venue_id, device_id, epoch) DO UPDATE SET held = epochs.held + 1",
        params![source.venue, id.device, id.epoch, Hash::ZERO],
    )
    .await
    .map(|_| ())
}

/// Moves an epoch's contiguous prefix forward and gives its end. What is kept aside because it can't be applied is held
/// too: one bad event must not keep a gate from letting go of all that follow.
pub(super) async fn advance(tx: &mut Tx, source: &Source, epoch: u64) -> Result<Option<Head>, DbError> {
    let row = tx
        .first(
            "SELECT upto, upto_hash FROM epochs WHERE venue_id = $1 AND device_id = $2 AND epoch = $3",
            params![source.venue, source.device, epoch],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let before: i64 = row.get(0)?;
    let (mut upto, mut hash): (i64, Hash) = (before, row.get(1)?);
    'held: loop {
        let rows = tx
            .query(
                "SELECT seq, hash FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq > $4 ORDER BY seq LIMIT 600",
                params![source.venue, source.device, epoch, upto],
            )
            .await?;
        let begun = upto;
        for row in &rows {
            if row.get::<i64>(0)? != upto + 1 {
                break;
            }
            upto += 1;
            hash = row.get(1)?;
        }
        if upto > begun && rows.len() == 600 {
            continue;
        }
        let next = EventId { device: source.device, epoch, seq: u64::try_from(upto + 1).unwrap_or(0) };
        match parked::chained(tx, source, next).await? {
            Some(aside) => {
                upto += 1;
                hash = aside;
            }
            None => break 'held,
        }
    }
    if upto != before {
        tx.execute(
            "UPDATE epochs SET upto = $1, upto_hash = $2 WHERE venue_id = $3 AND device_id = $4 AND epoch = $5",
            params![upto, hash, source.venue, source.device, epoch],
        )
        .await?;
    }
    Ok(u64::try_from(upto).ok().map(|seq| Head { event: EventId { device: source.device, epoch, seq }, hash }))
}

/// What is missing of a device's journal, walking back from an epoch over the heads that epochs continue.
#[derive(Default)]
pub(super) struct Gaps {
    /// Epochs that are held only in part: their receipts say how far.
    pub(super) behind: Vec<u64>,
    /// An epoch of which not even the beginning is held: no receipt can say so.
    pub(super) lost: Option<u64>,
}

/// Looks for what this service has lost, as after a restore from a backup.
pub(super) async fn gaps(tx: &mut Tx, source: &Source, from: u64) -> Result<Gaps, DbError> {
    let mut gaps = Gaps::default();
    let (mut epoch, mut ends) = (i64::try_from(from).unwrap_or(i64::MAX), 0i64);
    for _ in 0..BACK {
        let row = tx
            .first(
                "SELECT upto, continues_epoch, continues_seq FROM epochs WHERE venue_id = $1 AND device_id = $2 AND epoch = $3",
                params![source.venue, source.device, epoch],
            )
            .await?;
        let number = u64::try_from(epoch).unwrap_or(0);
        let begun = row.map(|row| Ok::<_, DbError>((row.get::<i64>(0)?, row.get(1)?, row.get(2)?))).transpose()?;
        let Some((upto, Some(parent), Some(parent_ends))) = begun.filter(|(upto, ..)| *upto >= 0) else {
            gaps.lost = Some(number);
            break;
        };
        if upto < ends {
            gaps.behind.push(number);
        }
        if parent < 0 {
            break;
        }
        (epoch, ends) = (parent, parent_ends);
    }
    Ok(gaps)
}

/// Compares the device's own word about its head with what is held, and keeps how much is still to come.
///
/// A head that is behind what is held is a message that took long, or came twice, unless it was signed after one that
/// showed more: then the journal became shorter.
pub(super) async fn note_head(
    tx: &mut Tx,
    source: &Source,
    head: &Head,
    signed_s: i64,
    news: &mut News,
) -> Result<(), DbError> {
    let id = head.event;
    let row = tx
        .first(
            "SELECT upto, held FROM epochs WHERE venue_id = $1 AND device_id = $2 AND epoch = $3",
            params![source.venue, source.device, id.epoch],
        )
        .await?;
    let (upto, held): (i64, i64) = match row {
        Some(row) => (row.get(0)?, row.get(1)?),
        None => (-1, 0),
    };
    let there = tx
        .first(
            "SELECT hash FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq = $4",
            params![source.venue, source.device, id.epoch, id.seq],
        )
        .await?;
    // A push that shows two histories by its items says no more by its head.
    if let Some(row) = there
        && news.fence.is_none()
        && row.get::<Hash>(0)? != head.hash
    {
        let text = format!("the device says {id} has another hash than the event that is held");
        let mut finding = source.finding(Kind::Fork, format!("{id} {}", head.hash), text);
        finding.events = vec![head.hash.to_string()];
        finding.against = vec![id.to_string()];
        suspect(tx, source, &finding, news).await?;
    }
    note_shown(tx, source, id, signed_s).await?;
    // Of epochs of which something is held, so that nobody fills the table with words alone.
    tx.execute(
        "INSERT INTO shown (venue_id, device_id, epoch, seq) SELECT venue_id, device_id, epoch, $1 FROM epochs WHERE venue_id = $2 AND device_id = $3 AND epoch = $4 ON CONFLICT (venue_id, device_id, epoch) DO UPDATE SET seq = excluded.seq WHERE shown.seq < excluded.seq",
        params![id.seq, source.venue, source.device, id.epoch],
    )
    .await?;
    let written = i64::try_from(id.seq).unwrap_or(i64::MAX).saturating_add(1);
    let aside = tx
        .number(
            "SELECT COUNT(*) FROM parked WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND chained = 1",
            params![source.venue, source.device, id.epoch],
        )
        .await?;
    let whole = upto.saturating_add(1) >= written;
    let pending = if whole { 0 } else { written.saturating_sub(held).saturating_sub(aside).max(1) };
    tx.execute(
        "UPDATE devices SET pending = $1 WHERE venue_id = $2 AND device_id = $3",
        params![pending, source.venue, source.device],
    )
    .await?;
    if whole {
        // All that it wrote is here: what it did before the changes it has applied is counted.
        tx.execute(
            "UPDATE devices SET settled = pulled, whole_ms = $1 WHERE venue_id = $2 AND device_id = $3",
            params![source.received_ms, source.venue, source.device],
        )
        .await?;
    }
    Ok(())
}

async fn note_shown(tx: &mut Tx, source: &Source, id: EventId, signed_s: i64) -> Result<(), DbError> {
    let row = tx
        .first(
            "SELECT head_created_s, head_epoch, head_seq FROM devices WHERE venue_id = $1 AND device_id = $2",
            params![source.venue, source.device],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    let (then, epoch, seq): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let now = (i64::try_from(id.epoch).unwrap_or(i64::MAX), i64::try_from(id.seq).unwrap_or(i64::MAX));
    if now.0 == epoch && now.1 < seq {
        if signed_s > then {
            let text =
                format!("the device says that its journal ends at {id}; it showed event {seq} of that epoch before");
            let mut finding = source.finding(Kind::JournalShorter, id.to_string(), text);
            finding.against = vec![EventId { seq: u64::try_from(seq).unwrap_or(0), ..id }.to_string()];
            raise(tx, source, &finding).await?;
        }
        return Ok(());
    }
    if signed_s < then {
        // A message of the epoch before that took long.
        return Ok(());
    }
    tx.execute(
        "UPDATE devices SET head_created_s = $1, head_epoch = $2, head_seq = $3 WHERE venue_id = $4 AND device_id = $5",
        params![signed_s, now.0, now.1, source.venue, source.device],
    )
    .await
    .map(|_| ())
}

/// Keeps which head an epoch continues. A second child of one head is a fork: the device's card was copied or set back.
pub(super) async fn note_opening(
    tx: &mut Tx,
    source: &Source,
    id: EventId,
    continues: Option<Head>,
    news: &mut News,
) -> Result<(), DbError> {
    // A card that was enrolled anew goes on from its earlier device's journal, which ends there for good.
    let (epoch, seq) = continues.map_or((-1, -1), |head| {
        if head.event.device != id.device {
            return (-2, -2);
        }
        (i64::try_from(head.event.epoch).unwrap_or(i64::MAX), i64::try_from(head.event.seq).unwrap_or(i64::MAX))
    });
    let hash = continues.map_or(Hash::ZERO, |head| head.hash);
    tx.execute(
        "UPDATE epochs SET continues_epoch = $1, continues_seq = $2, continues_hash = $3 WHERE venue_id = $4 AND device_id = $5 AND epoch = $6",
        params![epoch, seq, hash, source.venue, source.device, id.epoch],
    )
    .await?;
    let children = tx
        .query(
            "SELECT epoch FROM epochs WHERE venue_id = $1 AND device_id = $2 AND continues_epoch = $3 AND continues_seq = $4",
            params![source.venue, source.device, epoch, seq],
        )
        .await?;
    if children.len() > 1 {
        let mut openings = Vec::new();
        for row in children {
            openings.push(EventId { device: id.device, epoch: row.get(0)?, seq: 0 }.to_string());
        }
        openings.sort();
        let named = continues.map_or_else(|| "nothing".to_owned(), |head| head.event.to_string());
        let text =
            format!("{} journals of one device continue {named}: its card was copied or set back", openings.len());
        // Each further one is another conflict: somebody may have looked at those before it.
        let which = match openings.len() {
            2 => format!("{} after {named}", id.device),
            more => format!("{} after {named}, journal {more}", id.device),
        };
        let mut finding = source.finding(Kind::Fork, which, text);
        finding.derived = true;
        finding.events = openings;
        finding.against = vec![named];
        suspect(tx, source, &finding, news).await?;
    }
    if let Some(head) = continues.filter(|head| head.event.device == id.device) {
        check_shown(tx, source, id, head.event, news).await?;
        check_children(tx, source, head.event.epoch, news).await?;
    }
    Ok(())
}

/// Compares the end of an epoch, as the one after it names it, with the furthest end that the device itself has shown.
async fn check_shown(
    tx: &mut Tx,
    source: &Source,
    opening: EventId,
    end: EventId,
    news: &mut News,
) -> Result<(), DbError> {
    let row = tx
        .first(
            "SELECT seq FROM shown WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq > $4",
            params![source.venue, source.device, end.epoch, end.seq],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    let shown = EventId { seq: row.get(0)?, ..end };
    let text = format!(
        "{opening} goes on from {end}, although the device showed that it had written {shown}: an older state of it is in use, or its newest events were lost"
    );
    let mut finding = source.finding(Kind::JournalShorter, opening.to_string(), text);
    finding.derived = true;
    finding.events = vec![opening.to_string()];
    finding.against = vec![shown.to_string()];
    suspect(tx, source, &finding, news).await
}

/// Compares an epoch with what the epochs after it say that it ended with.
pub(super) async fn check_children(tx: &mut Tx, source: &Source, epoch: u64, news: &mut News) -> Result<(), DbError> {
    let children = tx
        .query(
            "SELECT epoch, continues_seq, continues_hash FROM epochs WHERE venue_id = $1 AND device_id = $2 AND continues_epoch = $3 ORDER BY epoch",
            params![source.venue, source.device, epoch],
        )
        .await?;
    for row in children {
        let (child, seq, named): (u64, u64, Hash) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let parent = EventId { device: source.device, epoch, seq };
        let opening = EventId { device: source.device, epoch: child, seq: 0 };
        // Its end, and the next that is held: those in between may have been put aside by the gate.
        let after = tx
            .query(
                "SELECT seq, hash FROM events WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq >= $4 ORDER BY seq LIMIT 2",
                params![source.venue, source.device, epoch, seq],
            )
            .await?;
        for row in after {
            let at: u64 = row.get(0)?;
            let mut finding = if at > seq {
                let text = format!(
                    "{opening} goes on from {parent}, although event {at} of that epoch is held: an older state of the device is in use, or its newest events were lost"
                );
                source.finding(Kind::JournalShorter, opening.to_string(), text)
            } else if row.get::<Hash>(1)? != named {
                let text = format!("{opening} goes on from another event {parent} than the one that is held");
                source.finding(Kind::Fork, opening.to_string(), text)
            } else {
                continue;
            };
            finding.derived = true;
            finding.events = vec![opening.to_string()];
            finding.against = vec![EventId { seq: at, ..parent }.to_string()];
            suspect(tx, source, &finding, news).await?;
        }
    }
    Ok(())
}

/// A name for queries and reports.
fn kind(body: &EventBody) -> &'static str {
    match body {
        EventBody::EpochOpened { .. } => "epoch_opened",
        EventBody::Authorised { .. } => "authorised",
        EventBody::Opened { .. } => "opened",
        EventBody::NotOpened { .. } => "not_opened",
        EventBody::Passed { .. } => "passed",
        EventBody::Annulled { .. } => "annulled",
        EventBody::Refused { .. } => "refused",
        EventBody::Noise { .. } => "noise",
        EventBody::Repeated { .. } => "repeated",
        EventBody::Overridden { .. } => "overridden",
        EventBody::ExitButton { .. } => "exit_button",
        EventBody::Fire { .. } => "fire",
        EventBody::Recounted(_) => "recounted",
        EventBody::Health { .. } => "health",
        EventBody::ClockStepped(_) => "clock_stepped",
        EventBody::LaneClosed { .. } => "lane_closed",
    }
}
