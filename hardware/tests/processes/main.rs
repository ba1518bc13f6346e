//! The two processes as they run at a gate: real programs, real pipes and sockets, a simulated board.
//!
//! One binary, so that it links once. Nothing here sleeps: every wait is for something that happens, with a limit.

#![expect(clippy::unwrap_used, reason = "this crate is nothing but tests; a failed step is a failed test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one event among all")]

mod contract;
mod hand;
mod photos;
mod reader;
mod sandbox;
mod socket;

use std::io::Write;
use std::time::Duration;

/// The limit of every wait: long enough for the slowest machine, short enough to end.
const SOON: Duration = Duration::from_secs(30);

/// Says on the terminal, past the test harness's capture, that something was not looked at.
fn skipped(what: &str) {
    let line = format!("skipped: {what}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn gate_reader() -> &'static str {
    env!("CARGO_BIN_EXE_gate-reader")
}

fn gate_io() -> &'static str {
    env!("CARGO_BIN_EXE_gate-io")
}

fn board_sim() -> &'static str {
    env!("CARGO_BIN_EXE_board-sim")
}
