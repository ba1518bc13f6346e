//! Somebody left earlier than the numbers that were told since: history is corrected, and somebody hears of it.

use gate_core::ids::Direction;

use super::openings::Opening;
use super::{Source, raise};
use crate::conflict::Kind;
use crate::store::{DbError, Tx, params};

/// What comes in this soon after it happened is not late, milliseconds.
const SOON_MS: i64 = 5 * 60 * 1000;

/// Looks whether an exit changes a day that is over, or comes after a recount that should have seen it.
pub(super) async fn look(tx: &mut Tx, source: &Source, opening: &Opening) -> Result<(), DbError> {
    let late = source.received_ms.saturating_sub(opening.at_ms) > SOON_MS;
    if opening.direction == Direction::In || opening.zones.is_empty() || !late {
        return Ok(());
    }
    let mut against = Vec::new();
    for (zone, _) in &opening.zones {
        let row = tx
            .first(
                "SELECT event FROM recounts WHERE venue_id = $1 AND zone_id = $2 AND at_ms >= $3 AND received_ms < $4 ORDER BY at_ms, event LIMIT 1",
                params![source.venue, zone, opening.at_ms, source.received_ms],
            )
            .await?;
        if let Some(row) = row {
            against.push(row.get::<String>(0)?);
        }
    }
    let text = if !against.is_empty() {
        format!(
            "exit {} happened before a recount and came in after it: the day is corrected, the number rests on the recount",
            opening.id
        )
    } else if source.day(source.received_ms) > opening.day {
        format!("exit {} belongs to a day that is over: that day's numbers are corrected", opening.id)
    } else {
        return Ok(());
    };
    let mut finding = source.finding(Kind::LateExit, opening.id.to_string(), text);
    finding.derived = true;
    finding.zone = opening.zones.first().map(|(zone, _)| *zone);
    finding.events = vec![opening.id.to_string()];
    finding.against = against;
    finding.at_ms = opening.at_ms;
    raise(tx, source, &finding).await.map(|_| ())
}
