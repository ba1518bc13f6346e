//! The hand: the process that alone owns the relay, the lamps and the inputs, and how the brain talks to it.
//!
//! The rules live in [`hand`], which does no I/O: commands, input edges and times go in, line levels and
//! messages come out, so that every promise can be tested without a wire. [`server`] gives it a socket and
//! lines, [`client`] is what the agent holds, [`protocol`] is what they say to each other.

pub mod client;
pub mod config;
pub mod debounce;
pub mod failsafe;
pub mod hand;
pub mod lamps;
mod past;
pub mod protocol;
pub mod server;
mod watch;

pub use client::{GateIo, IoCommands, IoDown, IoEvent};
pub use config::HandConfig;
pub use protocol::{Answer, Command, Hello, Message, Pattern, PulseResult, SafeWhy};
