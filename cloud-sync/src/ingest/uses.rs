//! Uses of passes: which of them are more than a pass has, and which came after it was withdrawn.
//!
//! The uses of a pass are put in the order in which they happened; one that finds nothing left is extra. So a use that is
//! heard late may make a later one the extra one, and an annulment may leave none.

use gate_core::decision::{Admission, Allowance, DecisionInput};
use gate_core::event::Event;
use gate_core::ids::{Cti, Direction, EventId, GateId, PassId, VendorCode, VenueId};
use gate_core::mutant::{self, Mutant};
use gate_core::sync::v1::UseMark;
use gate_core::time::ServiceDay;

use super::{News, Source, apply};
use crate::conflict::{self, Finding, Kind};
use crate::store::{DbError, Row, Tx, params};

/// Uses of one pass that are ranked; beyond that it is in the inbox often enough.
const RANKED: i64 = 5_000;

/// A use as it is ranked.
struct Use {
    event: EventId,
    gate: GateId,
    at_ms: i64,
    received_ms: i64,
    day: i64,
    product: u16,
    in_all: Option<u32>,
    per_day: Option<u32>,
    extra: bool,
}

/// Keeps what an admission charges its pass.
pub(super) async fn add(
    tx: &mut Tx,
    source: &Source,
    event: &Event,
    (input, admission): (&DecisionInput, &Admission),
    news: &mut News,
) -> Result<(), DbError> {
    let Some(pass) = admission.pass.clone() else { return Ok(()) };
    let product = input.view.product.as_ref();
    let row_uses = input.view.row.as_ref().and_then(|row| row.uses);
    let allowance = Allowance::promised(product, row_uses);
    let limited_by = match (allowance.in_all, allowance.per_day) {
        (Some(_), _) => 2,
        (None, Some(_)) => 1,
        (None, None) => 0,
    };
    let number = product.map_or(0, |product| product.number);
    tx.execute(
        "INSERT INTO uses (venue_id, event, vendor_code, cti, product, gate_id, at_ms, received_ms, service_day, direction, charged, annulled, limited_by, in_all, per_day, extra) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, $14, 0)",
        params![source.venue, event.id, &pass.vendor, pass.cti, number, event.gate, event.at.wall_ms, source.received_ms, admission.service_day.0, apply::way(admission.direction), admission.charges_use, limited_by, allowance.in_all, allowance.per_day],
    )
    .await?;
    if admission.charges_use {
        rank(tx, source.venue, &pass, limited_by, admission.service_day).await?;
    }
    if admission.direction == Direction::In {
        check_standing(tx, source.venue, &pass, event.id).await?;
    }
    let mark = UseMark {
        event: event.id,
        pass,
        gate: event.gate,
        at_ms: event.at.wall_ms,
        service_day: admission.service_day,
        direction: admission.direction,
        charged: admission.charges_use,
        annulled: false,
    };
    news.uses.insert(event.id, mark);
    Ok(())
}

/// The use did not happen.
pub(super) async fn annul(tx: &mut Tx, source: &Source, event: EventId, news: &mut News) -> Result<(), DbError> {
    if mutant::active(Mutant::AnnulByUnion) {
        return Ok(());
    }
    let row = tx
        .first(
            "SELECT vendor_code, cti, gate_id, at_ms, service_day, direction, charged, limited_by FROM uses WHERE venue_id = $1 AND event = $2",
            params![source.venue, event],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    tx.execute(
        "UPDATE uses SET annulled = 1, extra = 0 WHERE venue_id = $1 AND event = $2",
        params![source.venue, event],
    )
    .await?;
    let pass = PassId { vendor: row.get(0)?, cti: row.get(1)? };
    let service_day = ServiceDay(row.get(4)?);
    let charged: bool = row.get(6)?;
    let key = event.to_string();
    conflict::withdraw(tx, source.venue, Kind::DoubleUse, &key).await?;
    conflict::withdraw(tx, source.venue, Kind::RevokedUse, &key).await?;
    if charged {
        rank(tx, source.venue, &pass, row.get(7)?, service_day).await?;
    }
    let mark = UseMark {
        event,
        pass,
        gate: row.get(2)?,
        at_ms: row.get(3)?,
        service_day,
        direction: apply::direction(&row.get::<String>(5)?),
        charged,
        annulled: true,
    };
    news.uses.insert(event, mark);
    Ok(())
}

/// Finds the uses that are more than the pass has, among those that are limited the same way.
async fn rank(tx: &mut Tx, venue: VenueId, pass: &PassId, limited_by: i64, day: ServiceDay) -> Result<(), DbError> {
    const COLUMNS: &str = "event, gate_id, at_ms, received_ms, service_day, product, in_all, per_day, extra";
    let rows = match limited_by {
        0 => return Ok(()),
        1 => {
            let sql = format!(
                "SELECT {COLUMNS} FROM uses WHERE venue_id = $1 AND cti = $2 AND limited_by = 1 AND service_day = $3 AND vendor_code = $4 AND charged = 1 AND annulled = 0 ORDER BY at_ms, event LIMIT $5"
            );
            tx.query(&sql, params![venue, pass.cti, day.0, &pass.vendor, RANKED]).await?
        }
        _ => {
            let sql = format!(
                "SELECT {COLUMNS} FROM uses WHERE venue_id = $1 AND cti = $2 AND limited_by = 2 AND vendor_code = $3 AND charged = 1 AND annulled = 0 ORDER BY at_ms, event LIMIT $4"
            );
            tx.query(&sql, params![venue, pass.cti, &pass.vendor, RANKED]).await?
        }
    };
    let read = |row: &Row| {
        Ok::<_, DbError>(Use {
            event: row.get(0)?,
            gate: row.get(1)?,
            at_ms: row.get(2)?,
            received_ms: row.get(3)?,
            day: row.get(4)?,
            product: row.get(5)?,
            in_all: row.get(6)?,
            per_day: row.get(7)?,
            extra: row.get(8)?,
        })
    };
    let uses: Vec<Use> = rows.iter().map(read).collect::<Result<_, _>>()?;
    let mut good: Vec<&Use> = Vec::new();
    for used in &uses {
        let today = good.iter().filter(|earlier| earlier.day == used.day).count();
        let full = |limit: Option<u32>, taken: usize| limit.is_some_and(|limit| taken >= limit as usize);
        let extra = full(used.in_all, good.len()) || full(used.per_day, today);
        if extra {
            let allowed = used.per_day.filter(|limit| today >= *limit as usize).or(used.in_all).unwrap_or(1);
            let period = if full(used.in_all, good.len()) { "in all" } else { "on one day" };
            let text = format!("pass {pass} may be used {allowed} times {period}; {} is one more", used.event);
            let mut finding = Finding::new(Kind::DoubleUse, used.event.to_string(), text, used.received_ms);
            finding.derived = true;
            finding.gate = Some(used.gate);
            finding.device = Some(used.event.device);
            finding.pass = Some((pass.clone(), used.product));
            finding.events = vec![used.event.to_string()];
            finding.against = good.iter().rev().take(5).map(|earlier| earlier.event.to_string()).collect();
            finding.at_ms = used.at_ms;
            conflict::raise(tx, venue, &finding).await?;
        } else {
            if used.extra {
                conflict::withdraw(tx, venue, Kind::DoubleUse, &used.event.to_string()).await?;
            }
            good.push(used);
        }
        if extra != used.extra {
            tx.execute(
                "UPDATE uses SET extra = $1 WHERE venue_id = $2 AND event = $3",
                params![extra, venue, used.event],
            )
            .await?;
        }
    }
    Ok(())
}

/// Whether a pass had been taken back when it let somebody in.
async fn check_standing(tx: &mut Tx, venue: VenueId, pass: &PassId, event: EventId) -> Result<(), DbError> {
    let row = tx
        .first(
            "SELECT u.at_ms, u.gate_id, u.product, u.received_ms, (SELECT s.standing FROM standings s WHERE s.venue_id = u.venue_id AND s.cti = u.cti AND s.from_ms <= u.at_ms ORDER BY s.from_ms DESC LIMIT 1) FROM uses u WHERE u.venue_id = $1 AND u.event = $2",
            params![venue, event],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    let standing: Option<String> = row.get(4)?;
    let Some(standing) = standing.filter(|standing| standing != "live") else { return Ok(()) };
    let key = event.to_string();
    let text = format!("pass {pass} was {standing} when {event} let somebody in with it: the gate had not heard yet");
    let mut finding = Finding::new(Kind::RevokedUse, key.clone(), text, row.get(3)?);
    finding.derived = true;
    finding.gate = row.get(1)?;
    finding.device = Some(event.device);
    finding.pass = Some((pass.clone(), row.get(2)?));
    finding.events = vec![key];
    finding.against = vec![format!("{pass} {standing}")];
    finding.at_ms = row.get(0)?;
    conflict::raise(tx, venue, &finding).await.map(|_| ())
}

/// Keeps a pass's new standing, and looks at uses that a gate dated later than now.
pub async fn recheck(
    tx: &mut Tx,
    venue: VenueId,
    (vendor, cti): (&VendorCode, Cti),
    standing: &str,
    now_ms: i64,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO standings (venue_id, cti, from_ms, standing) VALUES ($1, $2, $3, $4) ON CONFLICT (venue_id, cti, from_ms) DO UPDATE SET standing = excluded.standing",
        params![venue, cti, now_ms, standing],
    )
    .await?;
    let rows = tx
        .query(
            "SELECT event FROM uses WHERE venue_id = $1 AND cti = $2 AND vendor_code = $3 AND direction = 'in' AND annulled = 0 AND at_ms >= $4",
            params![venue, cti, vendor, now_ms],
        )
        .await?;
    let pass = PassId { vendor: vendor.clone(), cti };
    for row in rows {
        let event: EventId = row.get(0)?;
        conflict::withdraw(tx, venue, Kind::RevokedUse, &event.to_string()).await?;
        check_standing(tx, venue, &pass, event).await?;
    }
    Ok(())
}
