//! The one place of this crate that reads a clock.
//!
//! The kernel's monotonic clock is the same for every process of one machine, so the agent, gate-io
//! and the simulated board can compare stamps. It never jumps when somebody sets the date.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Microseconds of `CLOCK_MONOTONIC`: comparable between processes on one machine, never between machines.
#[must_use]
pub fn mono_us() -> u64 {
    micros(clock_gettime(ClockId::Monotonic))
}

/// Microseconds of processor time this thread has used: what a benchmark compares on a busy machine.
#[must_use]
pub fn thread_cpu_us() -> u64 {
    micros(clock_gettime(ClockId::ThreadCPUTime))
}

fn micros(at: Timespec) -> u64 {
    let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(at.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanos / 1_000
}

/// Measures how long something takes, in wall time of the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    started_us: u64,
}

impl Stopwatch {
    /// Starts measuring now.
    #[must_use]
    pub fn start() -> Self {
        Self { started_us: mono_us() }
    }

    /// Microseconds since [`Stopwatch::start`].
    #[must_use]
    pub fn elapsed_us(&self) -> u64 {
        mono_us().saturating_sub(self.started_us)
    }
}
