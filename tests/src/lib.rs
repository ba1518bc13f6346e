//! World: the real programs as processes, a simulated board per gate, and a network link that can be cut.
//!
//! The demo, the scenarios and the benchmarks all stand on this. Nothing here replaces a part of the product: the cloud is
//! `cloud-sync serve`, a gate is `gate-agent run` with its `gate-reader` and `gate-io`, and only the copper behind the
//! GPIO lines and the light in front of the lens are simulated.

pub mod bench;
pub mod campaign;
pub mod clock;
pub mod coldboot;
pub mod demo;
mod journal;
pub mod powercut;
pub mod simulation;
pub mod world;
