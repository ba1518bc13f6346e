//! The one place of this crate that reads a clock.

use std::time::{Duration, Instant};

/// A moment by which something must have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// That far from now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// Whether it is over.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn is_over(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn unix_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
