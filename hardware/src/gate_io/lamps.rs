//! Which single lamp a pattern lights at a given moment.
//!
//! A lamp is a choice of one, so red and green together cannot be expressed here. The slowest change
//! is half a second: nothing flashes faster than 1 Hz, far below the 3 Hz that can hurt people.

use super::protocol::Pattern;
use crate::lines::Levels;

/// Half a period of `fault` and `yellow_flash`, in microseconds.
const HALF_US: u64 = 500_000;
/// How long `test` shows each lamp, in microseconds.
const TEST_US: u64 = 1_000_000;

/// The one lamp that is lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lamp {
    None,
    Red,
    Yellow,
    Green,
}

/// Lights `pattern`, begun at `since_us`, into `levels` as it looks at `now_us`; the relay is left alone.
pub fn show(levels: &mut Levels, pattern: Pattern, since_us: u64, now_us: u64) {
    let shown_us = now_us.saturating_sub(since_us);
    let lamp = match pattern {
        Pattern::Off => Lamp::None,
        Pattern::Red => Lamp::Red,
        Pattern::Yellow => Lamp::Yellow,
        Pattern::Green => Lamp::Green,
        Pattern::Fault if (shown_us / HALF_US).is_multiple_of(2) => Lamp::Yellow,
        Pattern::Fault => Lamp::Red,
        Pattern::YellowFlash if (shown_us / HALF_US).is_multiple_of(2) => Lamp::Yellow,
        Pattern::YellowFlash => Lamp::None,
        Pattern::Test => match (shown_us / TEST_US) % 3 {
            0 => Lamp::Red,
            1 => Lamp::Yellow,
            _ => Lamp::Green,
        },
    };
    levels.red = lamp == Lamp::Red;
    levels.yellow = lamp == Lamp::Yellow;
    levels.green = lamp == Lamp::Green;
}

/// When the pattern looks different next, if it changes at all.
#[must_use]
pub fn next_change(pattern: Pattern, since_us: u64, now_us: u64) -> Option<u64> {
    let step = match pattern {
        Pattern::Fault | Pattern::YellowFlash => HALF_US,
        Pattern::Test => TEST_US,
        Pattern::Off | Pattern::Red | Pattern::Yellow | Pattern::Green => return None,
    };
    let steps = now_us.saturating_sub(since_us) / step + 1;
    Some(since_us + steps * step)
}
