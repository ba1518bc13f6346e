//! The one place where the service reads a clock.

use std::sync::Arc;
use std::time::SystemTime;

/// Gives the current Unix milliseconds; a simulation passes its own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The system's clock.
pub fn system() -> Clock {
    Arc::new(|| {
        #[expect(clippy::disallowed_methods, reason = "this is the clock everything else is given")]
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // Before 1970 there is no time worth having.
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}
