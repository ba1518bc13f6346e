//! Slows guessing down, whether or not who is guessed at exists.
//!
//! An address may try so often within a window. An account, wherever the attempts come from, is guarded by a pause that
//! doubles with each failure and never grows beyond half a minute: a thousand addresses guess no faster than one, and
//! whoever owns the account is never locked out for longer than that. Who has logged in before from the same browser
//! does not even wait: see [`super::known_browser`].

use crate::problem::ApiError;
use crate::store::{DbError, Tx, params};

/// The window of an address, and how long an account's failures are remembered after the last, milliseconds.
const WINDOW_MS: i64 = 15 * 60 * 1000;
/// Failures of an account before it pauses.
const FREE_FAILURES: i64 = 5;
/// The longest pause of an account, milliseconds.
const PAUSE_MAX_MS: i64 = 30 * 1000;

/// Counts an attempt of an address before it is looked at, and refuses it when there were too many.
pub async fn attempt(tx: &mut Tx, subject: &str, limit: i64, now_ms: i64) -> Result<(), ApiError> {
    forget(tx, now_ms).await?;
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

/// Counts an attempt at an account before it is looked at, and refuses it within the pause after the last one. What is
/// refused counts nothing, so that nobody makes the pause longer by knocking.
pub async fn attempt_account(tx: &mut Tx, subject: &str, now_ms: i64) -> Result<(), ApiError> {
    forget(tx, now_ms).await?;
    let row = tx.first("SELECT failures, since_ms FROM throttle WHERE subject = $1", params![subject]).await?;
    if let Some(row) = row {
        let until = row.get::<i64>(1)? + pause_ms(row.get(0)?);
        if now_ms < until {
            return Err(ApiError::throttled((until - now_ms + 999).div_euclid(1000)));
        }
    }
    tx.execute(
        "INSERT INTO throttle (subject, failures, since_ms) VALUES ($1, 1, $2) ON CONFLICT (subject) DO UPDATE SET failures = throttle.failures + 1, since_ms = excluded.since_ms",
        params![subject, now_ms],
    )
    .await?;
    Ok(())
}

/// The pause after so many failures: none at first, then one second, two, four and so on.
fn pause_ms(failures: i64) -> i64 {
    if failures < FREE_FAILURES {
        return 0;
    }
    // Ten doublings of a second are more than the longest pause.
    let doublings = (failures - FREE_FAILURES).min(10);
    (1000 << doublings).min(PAUSE_MAX_MS)
}

async fn forget(tx: &mut Tx, now_ms: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM throttle WHERE since_ms < $1", params![now_ms - WINDOW_MS]).await.map(|_| ())
}

/// It was no guess.
pub async fn forgive(tx: &mut Tx, subject: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM throttle WHERE subject = $1", params![subject]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_half_a_minute() {
        for (failures, seconds) in [(0, 0), (4, 0), (5, 1), (6, 2), (9, 16), (10, 30), (11, 30), (i64::MAX, 30)] {
            assert_eq!(pause_ms(failures), seconds * 1000, "{failures} failures");
        }
    }
}
