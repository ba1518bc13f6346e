//! The brain of a gate: replica, journal, lane runner, sync, touchscreen API and operator commands.
//!
//! `daemon` is the parts list. Deciding itself is in `gate-core`; seeing and acting are in `hardware`.

pub mod clock;
pub mod closing;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod enrol;
mod file_lock;
pub mod health;
pub mod identity;
pub mod journal_check;
pub mod lane_runner;
pub mod replay;
pub mod replica;
pub mod screen;
pub mod storage;
pub mod sync;
