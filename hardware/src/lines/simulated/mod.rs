//! Wires without a board: a gate runs tonight on a laptop, and a test can kill it and look at the relay.
//!
//! A [`Board`] stands for the kernel and the terminal block. It hosts lines by their trade names on a unix
//! socket, gives them to one client at a time, records every edge, and decides what happens to an output
//! when its owner dies, because that is what kernels disagree about. [`SimulatedLines`] is what gate-io opens.

mod board;
mod client;
mod wire;

pub use board::{Board, Edge, EdgeBy, ReleaseModel};
pub use client::{SimulatedLines, drive, level};
