//! From a frame to the texts of the codes in it.
//!
//! No single decoder reads everything, and none may be trusted with time: a poster can be drawn that keeps
//! one busy for seconds. So a [`Cascade`] runs cheap attempts first, stops at the first that reads something,
//! starts nothing after its deadline, and puts a panic boundary around every attempt.

pub mod filter;
mod grey;
pub mod single;
mod stages;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

pub use single::Found;
pub use stages::Stage;

use crate::clock;
use crate::frame::LumaFrame;

/// A stage is also left out when it would probably end later than this after the start, so that an honest
/// but busy picture on a slow machine never looks like a hung decoder.
const ENDS_BY: Duration = Duration::from_millis(100);

/// What a frame held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The texts of all codes the successful stage saw, top to bottom, then left to right, without repeats.
    pub texts: Vec<String>,
    /// The stage that read them, or the last one that was tried.
    pub stage: &'static str,
    /// How long it all took, in microseconds of the cascade's clock.
    pub elapsed_us: u64,
    /// Stages that panicked.
    pub panics: u32,
}

/// Decoding attempts in order of what they cost and find.
#[derive(Debug)]
pub struct Cascade {
    deadline_us: u64,
    now_us: fn() -> u64,
    /// Frames without a text in a row.
    misses: usize,
}

impl Cascade {
    /// A cascade that starts no stage later than `deadline` of wall time after the first.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        Self::timed_by(deadline, clock::mono_us)
    }

    /// The same with another clock: benchmarks measure processor time, so that a busy machine changes nothing.
    #[must_use]
    pub fn timed_by(deadline: Duration, now_us: fn() -> u64) -> Self {
        Self { deadline_us: micros(deadline), now_us, misses: 0 }
    }

    /// Reads one frame.
    ///
    /// A gate sees the same code in many frames. After a frame that gave nothing, the expensive stages begin
    /// with another one, so that over a few frames each gets its turn before the deadline.
    pub fn read(&mut self, frame: &LumaFrame) -> Reading {
        let (first, later) = stages::ALL.split_at(stages::FIRST);
        let turn = self.misses % later.len();
        let order = first.iter().chain(&later[turn..]).chain(&later[..turn]);
        let reading = self.run(frame, order);
        self.misses = if reading.texts.is_empty() { self.misses.wrapping_add(1) } else { 0 };
        reading
    }

    fn run<'a>(&self, frame: &LumaFrame, stages: impl Iterator<Item = &'a Stage>) -> Reading {
        let started = (self.now_us)();
        if !has_contrast(frame) {
            let elapsed_us = (self.now_us)().saturating_sub(started);
            return Reading { texts: Vec::new(), stage: "none", elapsed_us, panics: 0 };
        }
        let mut reading = Reading { texts: Vec::new(), stage: "none", elapsed_us: 0, panics: 0 };
        let mut per_cost_us = 0;
        for stage in stages {
            let ends_us = reading.elapsed_us + per_cost_us * u64::from(stage.cost);
            let late = reading.elapsed_us >= self.deadline_us || ends_us > micros(ENDS_BY).max(self.deadline_us);
            if late && reading.stage != "none" {
                continue;
            }
            reading.stage = stage.name;
            let begun = reading.elapsed_us;
            let found = catch_unwind(AssertUnwindSafe(|| (stage.read)(frame))).unwrap_or_else(|_| {
                reading.panics += 1;
                Vec::new()
            });
            reading.elapsed_us = (self.now_us)().saturating_sub(started);
            per_cost_us = per_cost_us.max((reading.elapsed_us - begun) / u64::from(stage.cost.max(1)));
            if !found.is_empty() {
                reading.texts = texts(found);
                break;
            }
        }
        reading
    }
}

/// Whether anything could be printed in the frame: a covered lens and a blank wall need no decoder.
fn has_contrast(frame: &LumaFrame) -> bool {
    const LEAST: u8 = 8;
    let (darkest, brightest) =
        frame.luma().iter().fold((u8::MAX, 0), |(dark, bright), grey| (dark.min(*grey), bright.max(*grey)));
    brightest.saturating_sub(darkest) >= LEAST
}

/// The order depends on what is where, never on which pattern a decoder happened to find first.
fn texts(mut found: Vec<Found>) -> Vec<String> {
    found.sort_by(|one, other| (one.top, one.left, &one.text).cmp(&(other.top, other.left, &other.text)));
    let mut texts: Vec<String> = Vec::new();
    for found in found {
        if !texts.contains(&found.text) {
            texts.push(found.text);
        }
    }
    texts
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "cascade_tests.rs"]
mod tests;
