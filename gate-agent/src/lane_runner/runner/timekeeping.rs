//! What time it is at the lane: read once per event, raised by signed time, taken back by the venue's root alone.

use gate_core::event::EventBody;
use gate_core::time::{ClockAnomaly, Now};

use super::{Ports, Runner};
use crate::lane_runner::Job;
use crate::replica::Passed;
use crate::sync::engine::SignedMoment;

impl<P: Ports> Runner<P> {
    /// This moment; a step of the system clock is recorded.
    pub(super) fn now(&mut self) -> Now {
        let (now, anomaly) = self.time.now(self.ports.clocks());
        if let Some(anomaly) = anomaly {
            tracing::warn!(expected_ms = anomaly.expected_ms, read_ms = anomaly.read_ms, "the system clock stepped");
            self.write(None, now, EventBody::ClockStepped(anomaly));
        }
        now
    }

    /// The cloud said what time it is, and signed it.
    pub fn signed(&mut self, signed: SignedMoment) {
        // It may be the right one after a wrong one.
        self.hear_time_reset();
        self.time.hear_signed(signed.ms, signed.heard_us);
        self.ports.store(Job::RaiseFloor { floor_ms: self.time.floor_ms(), reset: self.time.heeded() });
    }

    /// The replica may have heard that signed time was wrong.
    pub(super) fn hear_time_reset(&mut self) {
        if self.replica.time_reset().is_ok_and(|number| number == self.time.heeded()) {
            return;
        }
        let Ok(Passed { floor_ms, reset: Some(number), .. }) = self.replica.passed() else { return };
        let before = self.now();
        if !self.time.take_back(number, floor_ms.max(crate::daemon::BUILD_FLOOR_MS)) {
            return;
        }
        let now = self.now();
        tracing::warn!(
            believed_ms = before.wall_ms,
            now_ms = now.wall_ms,
            number,
            "the venue's word takes signed time back"
        );
        let anomaly = ClockAnomaly { expected_ms: before.wall_ms, read_ms: now.wall_ms };
        self.write(None, now, EventBody::ClockStepped(anomaly));
    }
}
