//! How the lane's words are written in the hand's: what is wired, and how pulses are named.

use gate_core::lane::{LaneSetup, PulseKey};
use gate_core::sync::v1::GateRow;
use gate_core::view::Egress;

use crate::config::LaneInputs;

/// What is fixed about the lane: the gate's row, and what is wired here.
pub(super) fn setup(gate: Option<&GateRow>, inputs: LaneInputs) -> LaneSetup {
    LaneSetup {
        direction: gate.map_or(gate_core::ids::Direction::In, |gate| gate.direction),
        egress: gate.map_or(Egress::Scan, |gate| gate.egress),
        open_ms: gate.map_or(800, |gate| gate.open_ms),
        presence: inputs.presence,
        barrier: inputs.barrier,
    }
}

/// The name under which gate-io knows a pulse.
pub(super) fn pulse_name(key: PulseKey) -> String {
    match key {
        PulseKey::Event(event) => event.to_string(),
        PulseKey::Free(number) => format!("free/{number}"),
    }
}

/// The pulse behind such a name.
pub(super) fn read_pulse_name(name: &str) -> Option<PulseKey> {
    match name.strip_prefix("free/") {
        Some(number) => number.parse().ok().map(PulseKey::Free),
        None => name.parse().ok().map(PulseKey::Event),
    }
}
