//! A device of which two histories exist is believed no further until a manager has looked.
//!
//! It is not withdrawn: it may be an honest gate whose card was put back, or lost what it had written. It goes on
//! deciding and hearing of changes; what it sends is kept aside, nobody is told of it, and it gets no capacity rights.
//! A manager lets it go on (what was kept aside is then applied) or withdraws it.

use axum::http::StatusCode;
use gate_core::ids::{DeviceId, GateId, VenueId};

use crate::problem::ApiError;
use crate::store::{DbError, Tx, params};

/// Fences a device for a conflict, unless it is fenced already.
pub async fn put(tx: &mut Tx, venue: VenueId, device: DeviceId, conflict: &str, now_ms: i64) -> Result<(), DbError> {
    tracing::error!(device.id = %device, "two histories of one device: what it sends is kept aside until somebody looks");
    tx.execute(
        "UPDATE devices SET fenced_ms = $1, fenced_for = $2 WHERE venue_id = $3 AND device_id = $4 AND fenced_ms IS NULL",
        params![now_ms, conflict, venue, device],
    )
    .await
    .map(|_| ())
}

/// Believes a device again; false if it was not fenced.
pub async fn lift(tx: &mut Tx, venue: VenueId, device: DeviceId) -> Result<bool, DbError> {
    tx.execute(
        "UPDATE devices SET fenced_ms = NULL, fenced_for = NULL WHERE venue_id = $1 AND device_id = $2 AND fenced_ms IS NOT NULL",
        params![venue, device],
    )
    .await
    .map(|changed| changed > 0)
}

/// Whether the device at a gate is fenced.
pub async fn is_at(tx: &mut Tx, venue: VenueId, gate: GateId) -> Result<bool, DbError> {
    let fenced = tx
        .number(
            "SELECT COUNT(*) FROM devices WHERE venue_id = $1 AND gate_id = $2 AND revoked_ms IS NULL AND fenced_ms IS NOT NULL",
            params![venue, gate],
        )
        .await?;
    Ok(fenced > 0)
}

/// What a fenced device hears.
pub fn told() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "device_fenced",
        "Two histories of this device exist",
        "What it sends is kept aside until a manager has looked at the inbox. Keep everything and go on asking.",
    )
    .with_header("retry-after", "30".to_owned())
}
