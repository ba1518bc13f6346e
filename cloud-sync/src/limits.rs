//! How much one caller may ask, and how many may ask at once.
//!
//! Kept in memory: a limit that wrote to the database would be what it protects from. Each process has its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::entropy::Entropy;
use crate::problem::ApiError;

/// Requests that a device may save up.
const DEVICE_BURST: u32 = 600;
/// Milliseconds in which it earns another: 20 a second. A month of events is 120 requests.
const DEVICE_EARNS_MS: i64 = 50;
/// Requests with a signature that does not hold, that one address may save up.
const STRANGER_BURST: u32 = 120;
/// Milliseconds in which it earns another: one in two seconds.
const STRANGER_EARNS_MS: i64 = 2000;
/// Device requests that are worked on or wait for it. The database takes one at a time; a gate gives up after ten seconds.
const AT_ONCE: usize = 32;
/// Callers that are remembered; beyond that those that have everything saved up are forgotten.
const REMEMBERED: usize = 10_000;

/// What a caller has saved up.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    since_ms: i64,
}

/// The limits of one process.
pub struct Limits {
    buckets: Mutex<HashMap<String, Bucket>>,
    at_once: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { buckets: Mutex::default(), at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Limits {
    /// Counts a request of a device.
    pub fn device(&self, device: &str, now_ms: i64) -> Result<(), ApiError> {
        self.spend(&format!("device/{device}"), DEVICE_BURST, DEVICE_EARNS_MS, now_ms)
    }

    /// Counts a request that nobody of ours signed.
    pub fn stranger(&self, neighbourhood: &str, now_ms: i64) -> Result<(), ApiError> {
        self.spend(&format!("stranger/{neighbourhood}"), STRANGER_BURST, STRANGER_EARNS_MS, now_ms)
    }

    fn spend(&self, who: &str, burst: u32, earns_ms: i64, now_ms: i64) -> Result<(), ApiError> {
        // A panic elsewhere leaves a number that is at worst a request off.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| now_ms.saturating_sub(bucket.since_ms) < i64::from(burst) * earns_ms);
        }
        let bucket = buckets.entry(who.to_owned()).or_insert(Bucket { left: burst, since_ms: now_ms });
        let earned = now_ms.saturating_sub(bucket.since_ms).max(0).div_euclid(earns_ms);
        if earned > 0 {
            let earned_now = u32::try_from(earned).unwrap_or(u32::MAX);
            bucket.left = bucket.left.saturating_add(earned_now).min(burst);
            bucket.since_ms = if bucket.left == burst { now_ms } else { bucket.since_ms + earned * earns_ms };
        }
        if bucket.left == 0 {
            return Err(ApiError::throttled((earns_ms + 999).div_euclid(1000)));
        }
        bucket.left -= 1;
        Ok(())
    }

    /// A turn among the device requests that are worked on at once; who finds no room comes back a little later, and not
    /// all at the same moment.
    pub fn turn(&self, entropy: &Entropy) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.at_once).try_acquire_owned().map_err(|_| {
            let [random] = entropy.bytes::<1>();
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many gates ask at once",
                "Nothing was changed. Ask again after the time in Retry-After.",
            )
            .with_header("retry-after", (1 + random % 5).to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_save_up_and_then_goes_at_its_pace() {
        let limits = Limits::default();
        for n in 0..DEVICE_BURST {
            assert!(limits.device("a", 0).is_ok(), "request {n}");
        }
        assert_eq!(limits.device("a", 0).unwrap_err().code(), "throttled");
        assert!(limits.device("b", 0).is_ok(), "each has its own");
        assert!(limits.stranger("a", 0).is_ok());
        assert!(limits.device("a", DEVICE_EARNS_MS - 1).is_err());
        assert!(limits.device("a", DEVICE_EARNS_MS).is_ok());
        assert!(limits.device("a", DEVICE_EARNS_MS).is_err());
        // A clock that steps back gives nothing and takes nothing.
        assert!(limits.device("a", -1_000_000).is_err());
        let rested = 10 * i64::from(DEVICE_BURST) * DEVICE_EARNS_MS;
        let saved = (0..2 * DEVICE_BURST).filter(|_| limits.device("a", rested).is_ok()).count();
        assert_eq!(saved, DEVICE_BURST as usize);
    }

    #[test]
    fn so_many_at_once_and_the_next_is_told_when_to_come_back() {
        let limits = Limits::default();
        let entropy = Entropy::seeded(1);
        let mut turns: Vec<_> = (0..AT_ONCE).map(|_| limits.turn(&entropy).unwrap()).collect();
        assert_eq!(limits.turn(&entropy).unwrap_err().code(), "busy");
        turns.pop();
        assert!(limits.turn(&entropy).is_ok());
    }

    #[test]
    fn callers_that_have_everything_saved_up_are_forgotten() {
        let limits = Limits::default();
        for n in 0..REMEMBERED {
            limits.device(&n.to_string(), 0).unwrap();
        }
        limits.device("late", i64::from(DEVICE_BURST) * DEVICE_EARNS_MS).unwrap();
        assert_eq!(limits.buckets.lock().unwrap().len(), 1);
    }
}
