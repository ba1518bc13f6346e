//! What managers see now, and who is told when it changes.

mod hub;
mod overview;

pub use hub::{Hub, Listener};
pub use overview::{Overview, read, within};

/// Entries and exits are counted per quarter of an hour, milliseconds. Every time zone in use is a multiple of it away
/// from UTC, so that one grid fits all.
pub const BUCKET_MS: i64 = 900_000;

#[cfg(test)]
mod tests;
