//! The one place of this crate that reads clocks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gate_core::ids::BootId;
use gate_core::time::ClockReading;

/// Reads the system's clocks; whether NTP disciplines them is looked up beside the decision path.
#[derive(Clone, Debug)]
pub struct Clock {
    ntp: Arc<AtomicBool>,
    marker: PathBuf,
}

impl Clock {
    /// `marker` exists while the clock is disciplined by NTP.
    pub fn new(marker: &Path) -> Self {
        let clock = Self { ntp: Arc::new(AtomicBool::new(false)), marker: marker.to_owned() };
        clock.look_for_ntp();
        clock
    }

    /// Looks whether NTP disciplines the clock. Call it now and then, never while deciding: it touches a file system.
    pub fn look_for_ntp(&self) {
        self.ntp.store(self.marker.exists(), Ordering::Relaxed);
    }

    /// What the clocks read now.
    pub fn read(&self) -> ClockReading {
        ClockReading { system_ms: system_ms(), mono_us: mono_us(), ntp: self.ntp.load(Ordering::Relaxed) }
    }
}

/// Microseconds since boot; the same for every process of this machine.
pub fn mono_us() -> u64 {
    hardware::clock::mono_us()
}

/// The system clock, Unix milliseconds, believed by nobody without [`gate_core::time::TimeKeeper`].
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn system_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Which boot of the machine this is.
pub fn boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // A machine without the file gets a boot id of its own for every start: stamps of two starts are then not compared.
    text.trim().parse().unwrap_or_else(|_| BootId(uuid::Uuid::now_v7()))
}
