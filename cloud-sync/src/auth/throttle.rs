//! Slows guessing down: so many attempts per subject and window, whether or not the subject exists.

use crate::problem::ApiError;
use crate::store::{DbError, Tx, params};

/// The window, milliseconds.
const WINDOW_MS: i64 = 15 * 60 * 1000;

/// Counts an attempt before it is looked at, and refuses it when there were too many.
pub async fn attempt(tx: &mut Tx, subject: &str, limit: i64, now_ms: i64) -> Result<(), ApiError> {
    let oldest = now_ms - WINDOW_MS;
    tx.execute("DELETE FROM throttle WHERE since_ms < $1", params![oldest]).await?;
    let row = tx
        .first(
            "INSERT INTO throttle (subject, failures, since_ms) VALUES ($1, 1, $2) ON CONFLICT (subject) DO UPDATE SET failures = throttle.failures + 1 RETURNING failures, since_ms",
            params![subject, now_ms],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    if row.get::<i64>(0)? > limit {
        let since: i64 = row.get(1)?;
        return Err(ApiError::throttled((since + WINDOW_MS - now_ms).div_euclid(1000)));
    }
    Ok(())
}

/// It was no guess.
pub async fn forgive(tx: &mut Tx, subject: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM throttle WHERE subject = $1", params![subject]).await.map(|_| ())
}
