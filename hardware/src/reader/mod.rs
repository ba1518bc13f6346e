//! The eye as the brain sees it: a process that is fed by a camera and can be killed at any time.
//!
//! [`Reader`] starts `gate-reader`, takes the texts it reads, and kills and restarts it when a frame is
//! late. What it hears from that process is bounded and parsed with suspicion, because whatever the lens
//! saw may have taken the process over.

mod choose;
mod client;
mod inbox;
mod protocol;

pub use choose::Chooser;
pub use client::{Reader, ReaderConfig, ReaderEvent};
pub use protocol::{MAX_LINE, MAX_TEXT, MAX_TEXTS, ReaderMessage, Sandboxed};
