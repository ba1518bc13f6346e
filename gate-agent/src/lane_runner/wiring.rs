//! How the lane's words are written in the hand's: what is wired, and how pulses are named.

use gate_core::event::EventBody;
use gate_core::ids::EventId;
use gate_core::lane::{LaneSetup, PulseKey, PulseResult};
use gate_core::signals::Lamp;
use gate_core::sync::v1::GateRow;
use gate_core::view::Egress;

use hardware::gate_io::Pattern;

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

/// The pattern that gate-io shows for a lamp.
pub(super) fn pattern_of(lamp: Lamp) -> Pattern {
    match lamp {
        Lamp::Red => Pattern::Red,
        Lamp::Yellow => Pattern::Yellow,
        Lamp::YellowFlash => Pattern::YellowFlash,
        Lamp::Green => Pattern::Green,
        Lamp::Fault => Pattern::Fault,
    }
}

/// What gate-io's answer means to the lane.
pub(super) fn result_of(result: hardware::gate_io::PulseResult) -> PulseResult {
    use hardware::gate_io::PulseResult as Hand;
    match result {
        Hand::Started => PulseResult::Started,
        // An earlier attempt was carried out: that is what was wanted.
        Hand::Done | Hand::RefusedRepeat => PulseResult::Done,
        Hand::RefusedBusy | Hand::RefusedNoHeartbeat => PulseResult::Refused,
        Hand::CutShort => PulseResult::CutShort,
    }
}

/// What gate-io's answer about a pulse means to the lane that waited for word of its end.
pub(super) fn told_of(answer: hardware::gate_io::Answer) -> PulseResult {
    use hardware::gate_io::Answer;
    match answer {
        Answer::Done => PulseResult::Done,
        Answer::NotDone => PulseResult::Refused,
        Answer::Unknown => PulseResult::Unknown,
    }
}

/// What is written about an opening of an earlier run; `watched` where the lane sees who goes through.
pub(super) fn what_became(of: EventId, answer: hardware::gate_io::Answer, watched: bool) -> EventBody {
    use hardware::gate_io::Answer;
    match answer {
        // Whether somebody went through meanwhile was not seen.
        Answer::Done => EventBody::Opened { of, watched },
        Answer::NotDone => EventBody::NotOpened { of, unknown: false },
        Answer::Unknown => EventBody::NotOpened { of, unknown: true },
    }
}

/// A refused pulse is asked for again until this long after the first time, microseconds. The rest after
/// an earlier pulse is over by then, and there is still time for a whole pulse before the lane gives up.
const AGAIN_US: u64 = 500_000;

/// How often it is looked whether to ask again, microseconds.
const HEARTBEAT_US: u64 = super::HEARTBEAT.as_micros() as u64;

/// A pulse that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    key: PulseKey,
    ms: u32,
    until_us: u64,
    refused: bool,
}

impl Asked {
    pub(super) fn new(key: PulseKey, ms: u32, us: u64) -> Self {
        Self { key, ms, until_us: us + AGAIN_US, refused: false }
    }

    /// The hand refused it. True if it is worth asking again with the next beat.
    pub(super) fn may_ask_again(&mut self, key: PulseKey, us: u64) -> bool {
        self.refused = self.key == key && us < self.until_us;
        self.refused
    }

    /// What to ask for again, once; nothing when the time for it is over, as after a stall: whoever stood there may be gone.
    pub(super) fn again(&mut self, us: u64) -> Option<(PulseKey, u32)> {
        (std::mem::take(&mut self.refused) && us < self.until_us + HEARTBEAT_US).then_some((self.key, self.ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_pulse_is_asked_for_again_for_a_while_and_only_after_a_refusal() {
        let mut asked = Asked::new(PulseKey::Free(1), 800, 1_000);
        assert_eq!(asked.again(2_000), None);
        assert!(!asked.may_ask_again(PulseKey::Free(2), 2_000), "another pulse's answer");
        assert!(asked.may_ask_again(PulseKey::Free(1), 2_000));
        assert_eq!(asked.again(2_000), Some((PulseKey::Free(1), 800)));
        assert_eq!(asked.again(2_000), None, "once for each refusal");
        assert!(asked.may_ask_again(PulseKey::Free(1), 2_000));
        assert_eq!(asked.again(1_000 + AGAIN_US + HEARTBEAT_US), None, "the loop stood still meanwhile");
        assert!(!asked.may_ask_again(PulseKey::Free(1), 1_000 + AGAIN_US), "the lane has given up by then");
    }

    #[test]
    fn pulses_keep_their_names() {
        let event =
            gate_core::ids::EventId { device: gate_core::ids::DeviceId(uuid::Uuid::from_u128(3)), epoch: 7, seq: 9 };
        for key in [PulseKey::Free(5), PulseKey::Event(event)] {
            assert_eq!(read_pulse_name(&pulse_name(key)), Some(key));
        }
        assert_eq!(read_pulse_name("free/x"), None);
    }
}
