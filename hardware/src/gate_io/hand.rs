//! The rules of the hand, without a wire, a socket or a clock.
//!
//! Commands, input edges and ticks go in with the time they happened; line levels and messages come out.
//!
//! ```text
//!            lamps / pulse / hold, heartbeat fresh
//!   SAFE ────────────────────────────────────────► IN COMMAND ── pulse: relay on, bounded
//!    ▲  ◄──────────────────────────────────────────   │          hold: relay on while heartbeats say so
//!    │     heartbeat lost, socket closed, safe        │
//!    │                                                │ fire input
//!    └───────── reset_fire, input quiet ── FIRE ◄─────┴── (also from SAFE): relay on, green; wins over everything
//! ```
//!
//! The relay is on only inside a running pulse, a held hold or a latched fire, or where "on" is this
//! gate's safe level. After a pulse it rests before the next one, whichever way the pulse ended; a hold and a
//! fire do not wait for that. What was pulsed is remembered until the process ends, and not longer.

use super::config::HandConfig;
use super::debounce::Debounced;
use super::lamps;
use super::past::Past;
use super::protocol::{Answer, Command, Hello, MAX_EVENT, Message, Pattern, PulseResult, SafeWhy};
use crate::lines::{Input, Levels};

/// Something that happened to the hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandEvent {
    /// A client took control; a previous one, if any, lost it.
    Connected,
    /// The controlling client asked for something.
    Command(Command),
    /// The controlling client is gone.
    Disconnected,
    /// An input line changed (not yet debounced).
    Edge {
        /// Which input.
        input: Input,
        /// Its new state.
        active: bool,
        /// When, `CLOCK_MONOTONIC` microseconds.
        mono_us: u64,
    },
    /// Time passed: call at or after [`Hand::next_wake`].
    Tick,
}

/// The gap after a pulse.
#[derive(Debug)]
struct Rest {
    until_us: u64,
    /// The pulse that is done once the relay has rested; `None` where it was told already that it was cut short.
    done: Option<String>,
}

/// The state of one gate's outputs and the memory of its pulses.
#[derive(Debug)]
pub struct Hand {
    config: HandConfig,
    inputs: Vec<(Input, Debounced)>,
    heartbeat_at: Option<u64>,
    safe: bool,
    fire: bool,
    pulse: Option<(String, u64)>,
    rest: Option<Rest>,
    hold: bool,
    pattern: Pattern,
    pattern_since: u64,
    past: Past,
}

impl Hand {
    /// A hand at its safe levels, with the inputs that are active at the start.
    /// A fire input that is active already latches at the first tick.
    #[must_use]
    pub fn new(config: HandConfig, active: &[Input], now_us: u64) -> Self {
        let wired = Input::ALL.iter().filter_map(|&input| {
            let hold_us = u64::from(config.input(input)?.debounce_ms) * 1_000;
            let mut state = Debounced::new(false, hold_us);
            if active.contains(&input) {
                state.edge(true, now_us);
            }
            Some((input, state))
        });
        Self {
            inputs: wired.collect(),
            config,
            heartbeat_at: None,
            safe: true,
            fire: false,
            pulse: None,
            rest: None,
            hold: false,
            pattern: Pattern::Off,
            pattern_since: now_us,
            past: Past::default(),
        }
    }

    /// Takes in what happened at `now_us`; returns what the controlling client is to be told.
    /// Read [`Hand::levels`] afterwards.
    pub fn handle(&mut self, event: HandEvent, now_us: u64) -> Vec<Message> {
        let mut say = Vec::new();
        // Whatever time has ended, it ended before this event: a late tick must not stretch a pulse.
        self.pass_time(now_us, &mut say);
        match event {
            HandEvent::Connected => {
                // What the old connection would have been told is of no use to the new one.
                self.go_safe(SafeWhy::Socket, now_us, &mut say);
                say.clear();
                say.push(self.hello());
            }
            HandEvent::Disconnected => self.go_safe(SafeWhy::Socket, now_us, &mut say),
            HandEvent::Edge { input, active, mono_us } => {
                if let Some((_, state)) = self.inputs.iter_mut().find(|(wired, _)| *wired == input) {
                    state.edge(active, mono_us.min(now_us));
                }
                self.settle_inputs(now_us, &mut say);
            }
            HandEvent::Command(command) => self.command(command, now_us, &mut say),
            HandEvent::Tick => {}
        }
        say
    }

    /// What every output is to be at `now_us`.
    #[must_use]
    pub fn levels(&self, now_us: u64) -> Levels {
        let mut levels = self.config.safe_levels();
        if self.fire {
            lamps::show(&mut levels, Pattern::Green, now_us, now_us);
            levels.relay = true;
        } else if !self.safe {
            lamps::show(&mut levels, self.pattern, self.pattern_since, now_us);
            levels.relay = self.pulse.is_some() || self.hold;
        }
        levels.guarded()
    }

    /// The next moment at which time alone changes something.
    #[must_use]
    pub fn next_wake(&self, now_us: u64) -> Option<u64> {
        let lamp =
            if self.safe || self.fire { None } else { lamps::next_change(self.pattern, self.pattern_since, now_us) };
        let pulse = self.pulse.as_ref().map(|(_, until)| *until);
        let rest = self.rest.as_ref().map(|rest| rest.until_us);
        let heartbeat = self.heartbeat_at.map(|at| at + self.timeout_us());
        let inputs = self.inputs.iter().filter_map(|(_, state)| state.next_wake());
        inputs.chain(lamp).chain(pulse).chain(rest).chain(heartbeat).min()
    }

    /// Whether fire is latched: the gate stands open.
    #[must_use]
    pub fn fire(&self) -> bool {
        self.fire
    }

    fn command(&mut self, command: Command, now_us: u64, say: &mut Vec<Message>) {
        match command {
            Command::Heartbeat { hold } => {
                self.heartbeat_at = Some(now_us);
                self.hold &= hold;
            }
            Command::Pulse { event, ms } => self.start_pulse(event, ms, now_us, say),
            Command::Hold { reason } => {
                if self.heartbeat_at.is_some() && !self.fire {
                    tracing::info!(%reason, "the relay is held");
                    self.take_command(now_us);
                    self.hold = true;
                }
            }
            Command::Lamps { pattern } => {
                if self.heartbeat_at.is_some() {
                    self.take_command(now_us);
                    if pattern != self.pattern {
                        self.pattern = pattern;
                        self.pattern_since = now_us;
                    }
                }
            }
            Command::Safe => self.go_safe(SafeWhy::Command, now_us, say),
            Command::Query { event } => {
                let result = self.past.answer(&event);
                say.push(Message::Answer { event, result });
            }
            Command::ResetFire => {
                let quiet = !self.inputs.iter().any(|(input, state)| *input == Input::Fire && state.active());
                if self.fire && quiet {
                    self.fire = false;
                    say.push(Message::Fire { latched: false });
                    self.go_safe(SafeWhy::Command, now_us, say);
                }
            }
        }
    }

    fn start_pulse(&mut self, event: String, ms: u32, now_us: u64, say: &mut Vec<Message>) {
        if event.is_empty() || event.len() > MAX_EVENT || ms == 0 {
            let why = format!("a pulse needs 1 ms or more and an event id of 1..={MAX_EVENT} bytes");
            say.push(Message::Malformed { why });
            return;
        }
        let done_before = self.past.answer(&event) == Answer::Done;
        let result = if done_before {
            PulseResult::RefusedRepeat
        } else if self.heartbeat_at.is_none() {
            PulseResult::RefusedNoHeartbeat
        } else if self.fire || self.pulse.is_some() || self.rest.is_some() {
            PulseResult::RefusedBusy
        } else {
            PulseResult::Started
        };
        if result == PulseResult::Started {
            self.take_command(now_us);
            let ms = ms.min(self.config.pulse_max_ms);
            self.pulse = Some((event.clone(), now_us + u64::from(ms) * 1_000));
            self.past.note(&event, Answer::Done);
        } else if !done_before {
            self.past.note(&event, Answer::NotDone);
        }
        say.push(Message::Pulse { event, result });
    }

    fn pass_time(&mut self, now_us: u64, say: &mut Vec<Message>) {
        if let Some((event, until)) = self.pulse.take() {
            if now_us >= until {
                self.rest_after(Some(event), now_us);
            } else {
                self.pulse = Some((event, until));
            }
        }
        if let Some(rest) = self.rest.take_if(|rest| now_us >= rest.until_us) {
            say.extend(rest.done.map(|event| Message::Pulse { event, result: PulseResult::Done }));
        }
        if self.heartbeat_at.is_some_and(|at| now_us >= at + self.timeout_us()) {
            self.go_safe(SafeWhy::Heartbeat, now_us, say);
        }
        self.settle_inputs(now_us, say);
    }

    fn settle_inputs(&mut self, now_us: u64, say: &mut Vec<Message>) {
        let mut fire = false;
        for (input, state) in &mut self.inputs {
            if let Some((active, mono_us)) = state.settle(now_us) {
                fire |= *input == Input::Fire && active;
                say.push(Message::Input { input: *input, active, mono_us });
            }
        }
        if fire && !self.fire {
            // First: whoever hears of the pulse must know why.
            say.push(Message::Fire { latched: true });
            self.cut_short(now_us, say);
            self.fire = true;
        }
    }

    /// A command that moves outputs arrived from a living brain: leave the safe levels.
    fn take_command(&mut self, now_us: u64) {
        if self.safe {
            self.safe = false;
            self.pattern = Pattern::Off;
            self.pattern_since = now_us;
        }
    }

    fn go_safe(&mut self, why: SafeWhy, now_us: u64, say: &mut Vec<Message>) {
        self.cut_short(now_us, say);
        self.safe = true;
        match why {
            SafeWhy::Heartbeat | SafeWhy::Socket => self.heartbeat_at = None,
            // Whoever asked for it may still be alive and change its mind.
            SafeWhy::Command => {}
        }
        say.push(Message::Safe { why });
    }

    fn cut_short(&mut self, now_us: u64, say: &mut Vec<Message>) {
        self.hold = false;
        if let Some((event, _)) = self.pulse.take() {
            say.push(Message::Pulse { event, result: PulseResult::CutShort });
            self.rest_after(None, now_us);
        }
        // Its relay has opened; whoever waits for the word may not be there when the rest is over.
        if let Some(event) = self.rest.as_mut().and_then(|rest| rest.done.take()) {
            say.push(Message::Pulse { event, result: PulseResult::Done });
        }
    }

    /// Counted from now, when the relay opens, and not from when it should have.
    fn rest_after(&mut self, done: Option<String>, now_us: u64) {
        let gap_us = u64::from(self.config.pulse_gap_ms) * 1_000;
        self.rest = (gap_us > 0 || done.is_some()).then(|| Rest { until_us: now_us + gap_us, done });
    }

    fn hello(&self) -> Message {
        let active = self.inputs.iter().filter(|(_, state)| state.active());
        Message::Hello(Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fire: self.fire,
            active: active.map(|(input, _)| *input).collect(),
            last_pulses: self.past.last(),
        })
    }

    fn timeout_us(&self) -> u64 {
        u64::from(self.config.heartbeat_timeout_ms) * 1_000
    }
}

#[cfg(test)]
#[path = "hand_tests.rs"]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one message among all")]
mod tests;
