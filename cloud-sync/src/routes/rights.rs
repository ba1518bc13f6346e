//! Who holds a zone's capacity rights: never two gates at once, also while one of them is out of reach.
//!
//! A gate that is told to hold rights admits without asking anybody. So before another gate gets them, the one that had
//! them must be known to admit nobody by them any more: its device has applied the change that took them (it pulls from a
//! later position) and has handed over its whole journal since, or a manager has withdrawn the device.

use gate_core::ids::{GateId, VenueId, ZoneId};
use gate_core::sync::v1::ZoneRow;

use super::zones;
use crate::fence;
use crate::problem::ApiError;
use crate::store::{DbError, Tx, params};

/// Zones within zones within zones: no more levels than this are followed.
const LEVELS: usize = 16;
/// The problem of a zone whose rights another gate may still be using.
const HELD: &str = "rights_held";

/// A zone and the zones around it, from the inside out.
pub async fn around(tx: &mut Tx, venue: VenueId, zone: ZoneRow) -> Result<Vec<ZoneRow>, DbError> {
    let mut found = vec![zone];
    while found.len() < LEVELS
        && let Some(parent) = found.last().and_then(|zone| zone.parent)
        && let Some(next) = zones::one(tx, venue, parent).await?
    {
        found.push(next);
    }
    Ok(found)
}

/// Whether a gate is an entrance of this zone or of one within it.
pub async fn leads_into(tx: &mut Tx, venue: VenueId, gate: GateId, zone: ZoneId) -> Result<bool, DbError> {
    let row = tx
        .first(
            "SELECT zone_id FROM gates WHERE venue_id = $1 AND gate_id = $2 AND direction = 'in'",
            params![venue, gate],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    let Some(own) = zones::one(tx, venue, row.get(0)?).await? else { return Ok(false) };
    Ok(around(tx, venue, own).await?.iter().any(|around| around.id == zone))
}

/// Refuses a new holder while the one before may still admit somebody.
pub async fn may_hold(tx: &mut Tx, venue: VenueId, zone: ZoneId, gate: GateId) -> Result<(), ApiError> {
    if fence::is_at(tx, venue, gate).await? {
        return Err(ApiError::conflict(
            HELD,
            "Two histories of this gate's device exist. Look at the inbox first: rights are given to one gate, not to a copy.",
        ));
    }
    let row = tx
        .first(
            "SELECT rights_holder, released_by, released_at FROM zones WHERE venue_id = $1 AND zone_id = $2",
            params![venue, zone],
        )
        .await?
        .ok_or_else(|| ApiError::not_found("zone"))?;
    let holder: Option<GateId> = row.get(0)?;
    let released: Option<GateId> = row.get(1)?;
    let Some(old) = holder.or(released).filter(|old| *old != gate) else { return Ok(()) };
    // While it still holds them, nothing it has applied is late enough.
    let since = if holder.is_some() { i64::MAX } else { row.get(2)? };
    let unsettled = tx
        .number(
            "SELECT COUNT(*) FROM devices WHERE venue_id = $1 AND gate_id = $2 AND revoked_ms IS NULL AND settled < $3",
            params![venue, old, since],
        )
        .await?;
    if unsettled == 0 {
        return Ok(());
    }
    let name = tx.first("SELECT name FROM gates WHERE venue_id = $1 AND gate_id = $2", params![venue, old]).await?;
    let name: String = name.map(|row| row.get(0)).transpose()?.unwrap_or_default();
    let detail = if holder.is_some() {
        format!("{name} holds the rights and may be using them now. Take them from it first (rights_holder: null).")
    } else {
        format!(
            "{name} gave the rights up but has not yet said that it knows. Wait until it is online and has sent everything, or withdraw its device."
        )
    };
    Err(ApiError::conflict(HELD, detail))
}

/// Whether a gate may hold the rights of a zone that no gate holds.
pub async fn free(tx: &mut Tx, venue: VenueId, zone: ZoneId, gate: GateId) -> Result<bool, ApiError> {
    match may_hold(tx, venue, zone, gate).await {
        Ok(()) => Ok(true),
        Err(error) if error.code() == HELD => Ok(false),
        Err(error) => Err(error),
    }
}

/// Keeps who gave the rights up. `told` is the position of the chain from which every gate knows it.
pub async fn note(tx: &mut Tx, venue: VenueId, before: &ZoneRow, after: &ZoneRow, told: u64) -> Result<(), DbError> {
    if before.rights_holder == after.rights_holder {
        return Ok(());
    }
    let (released_by, released_at) =
        if after.rights_holder.is_none() { (before.rights_holder, told) } else { (None, 0) };
    tx.execute(
        "UPDATE zones SET released_by = $1, released_at = $2 WHERE venue_id = $3 AND zone_id = $4",
        params![released_by, released_at, venue, after.id],
    )
    .await
    .map(|_| ())
}
