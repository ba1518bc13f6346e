//! The simulation: real gates and the real cloud over a network, clocks, disks and hands that break as a seed says.
//!
//! What is real: `gate_core`, the agent's lane, replica, journal and sync, gate-io's rules, the cloud's router and
//! database. What is simulated: the road between them, the machines' clocks and power, light before the lens, copper
//! behind the lines, and people. Every run is one thread over one queue; the same seed gives the same trace, and the
//! hash of the trace is printed to prove it.
//!
//! A crash leaves what SQLite had committed. That a commit survives a power cut on a real card is shown by the power cuts.

mod answers;
mod apart;
pub mod campaign;
mod cards;
mod chains;
mod checks;
mod cloud;
mod faults;
mod gate;
mod hand;
mod inside;
mod machines;
mod office;
mod people;
mod plan;
mod ports;
mod roads;
pub mod template;
mod told;
pub mod world;

use hardware::compose::Chance;

/// 32 random bytes.
fn random32(chance: &mut Chance) -> [u8; 32] {
    let mut bytes = [0; 32];
    for piece in bytes.chunks_mut(8) {
        piece.copy_from_slice(&chance.bits().to_le_bytes());
    }
    bytes
}
