//! The hand of a simulated gate: the real rules of gate-io over lines that are remembered, not switched.

use std::collections::BTreeSet;

use hardware::gate_io::hand::{Hand, HandEvent};
use hardware::gate_io::{Command, HandConfig, IoEvent, Message, PulseResult};
use hardware::lines::{Input, Levels};

/// A running gate-io.
pub struct SimHand {
    hand: Hand,
    /// Which agent's connection is in control.
    pub client: Option<u64>,
    relay: bool,
    on_since_us: u64,
    /// What the relay is on for, and for how long it was asked, milliseconds.
    cause: Option<(String, u32)>,
    safe: Levels,
    /// Pulses that it carried out to their end.
    carried_out: BTreeSet<String>,
    /// When the next tick comes, microseconds of the run.
    pub tick_at: Option<u64>,
}

/// A relay that moved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edge {
    /// It closed, for this pulse; `None`: for no pulse (fire).
    On(Option<String>),
    /// It opened again after so many microseconds; how long it was asked for, milliseconds.
    Off(u64, Option<u32>),
}

impl SimHand {
    /// Starts gate-io at this monotonic stamp of its machine.
    pub fn start(active: &[Input], mono_us: u64) -> Self {
        let config = HandConfig::example();
        let safe = config.safe_levels();
        let hand = Hand::new(config, active, mono_us);
        Self {
            hand,
            client: None,
            relay: false,
            on_since_us: 0,
            cause: None,
            safe,
            carried_out: BTreeSet::new(),
            tick_at: None,
        }
    }

    /// Takes in something; gives what is said, and how the relay moved.
    pub fn handle(&mut self, event: HandEvent, mono_us: u64) -> (Vec<IoEvent>, Option<Edge>) {
        let asked = match &event {
            HandEvent::Command(Command::Pulse { event, ms }) => Some((event.clone(), *ms)),
            HandEvent::Command(_)
            | HandEvent::Connected
            | HandEvent::Disconnected
            | HandEvent::Edge { .. }
            | HandEvent::Tick => None,
        };
        let said = self.hand.handle(event, mono_us);
        for message in &said {
            if let Message::Pulse { event, result: PulseResult::Done } = message {
                self.carried_out.insert(event.clone());
            }
        }
        let relay = self.hand.levels(mono_us).relay;
        let edge = match (self.relay, relay) {
            (false, true) => {
                self.on_since_us = mono_us;
                self.cause.clone_from(&asked);
                Some(Edge::On(asked.map(|(name, _)| name)))
            }
            (true, false) => Some(self.fell(mono_us)),
            (false, false) | (true, true) => None,
        };
        self.relay = relay;
        (said.into_iter().filter_map(told).collect(), edge)
    }

    /// gate-io is killed; the kernel lets the lines go. Gives the relay's edge if it was on.
    pub fn kill(mut self, mono_us: u64) -> Option<Edge> {
        self.relay.then(|| self.fell(mono_us))
    }

    fn fell(&mut self, mono_us: u64) -> Edge {
        Edge::Off(mono_us.saturating_sub(self.on_since_us), self.cause.take().map(|(_, ms)| ms))
    }

    /// Whether it carried out this pulse to its end.
    pub fn has_carried_out(&self, pulse: &str) -> bool {
        self.carried_out.contains(pulse)
    }

    /// When time alone changes something next.
    pub fn next_wake(&self, mono_us: u64) -> Option<u64> {
        self.hand.next_wake(mono_us)
    }

    /// Whether all outputs are at their safe levels.
    pub fn is_safe(&self, mono_us: u64) -> bool {
        self.hand.levels(mono_us) == self.safe
    }
}

/// A message as gate-io's client hands it on.
fn told(message: Message) -> Option<IoEvent> {
    Some(match message {
        Message::Hello(hello) => IoEvent::Up(hello),
        Message::Pulse { event, result } => IoEvent::Pulse { event, result },
        Message::Answer { event, result } => IoEvent::Answer { event, result },
        Message::Input { input, active, mono_us } => IoEvent::Input { input, active, mono_us },
        Message::Safe { why } => IoEvent::Safe { why },
        Message::Fire { latched } => IoEvent::Fire { latched },
        Message::Malformed { .. } => return None,
    })
}
