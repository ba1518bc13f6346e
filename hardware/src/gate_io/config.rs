//! What is wired where, and what "safe" means at this gate.
//!
//! A gate's wiring is a fact somebody wrote down once; everything wrong with it is reported together,
//! before a line is touched.

use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::lines::{Input, Levels, Output};

/// Fire opens within 100 ms of its edge; half of that may go by to tell it from a bounce.
const FIRE_DEBOUNCE_MAX_MS: u32 = 50;

/// One output line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// Line number on the chip (BCM number on a Raspberry Pi).
    pub line: u32,
    /// The load is on when the line is low. Forbidden for relays by the wiring guide, allowed for lamps.
    #[serde(default)]
    pub active_low: bool,
    /// The state taken when nobody is in command: `false` = off (fail-secure), `true` = on (fail-safe).
    #[serde(default)]
    pub safe: bool,
}

/// One input line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// Line number on the chip (BCM number on a Raspberry Pi).
    pub line: u32,
    /// The input is active when the line is low: a normally closed loop, a button to ground.
    #[serde(default)]
    pub active_low: bool,
    /// How long a level must stay before it counts, in milliseconds, 0..=1000; 0..=50 for fire.
    #[serde(default = "default_debounce_ms")]
    pub debounce_ms: u32,
}

/// The four outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outputs {
    /// The contact that opens the gate.
    pub relay: OutputConfig,
    /// Stop.
    pub red: OutputConfig,
    /// Check, wait.
    pub yellow: OutputConfig,
    /// Go.
    pub green: OutputConfig,
}

/// The inputs that are wired; the others are absent and never active.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// A person asks to leave.
    pub exit_button: Option<InputConfig>,
    /// The fire panel.
    pub fire: Option<InputConfig>,
    /// A vehicle or person stands in the lane.
    pub presence: Option<InputConfig>,
    /// The barrier says it is open.
    pub barrier_open: Option<InputConfig>,
    /// The box was opened.
    pub tamper: Option<InputConfig>,
}

/// Everything gate-io needs to know about its gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandConfig {
    /// Relay and lamps.
    pub outputs: Outputs,
    /// Buttons, loops, contacts.
    #[serde(default)]
    pub inputs: Inputs,
    /// The longest pulse, in milliseconds, 1..=60000.
    #[serde(default = "default_pulse_max_ms")]
    pub pulse_max_ms: u32,
    /// How long the relay rests after a pulse before the next may begin, in milliseconds, 0..=500; a barrier
    /// drive does not see two pulses as two without it. A pulse counts as done when its rest is over.
    #[serde(default = "default_pulse_gap_ms")]
    pub pulse_gap_ms: u32,
    /// Without a heartbeat for this long the outputs go safe, in milliseconds, 500..=750: a heartbeat comes
    /// every 250, and one may be late.
    #[serde(default = "default_heartbeat_timeout_ms")]
    pub heartbeat_timeout_ms: u32,
}

/// Why a configuration was not taken.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("the gate-io configuration cannot be read")]
    Read(#[from] std::io::Error),
    /// The file is not the expected TOML.
    #[error("the gate-io configuration is not understood: {0}")]
    Parse(#[from] toml::de::Error),
    /// The values contradict each other; every problem is named.
    #[error("the gate-io configuration cannot work: {}", .0.join("; "))]
    Contradiction(Vec<String>),
}

impl HandConfig {
    /// Reads and checks a TOML file.
    ///
    /// # Errors
    /// [`ConfigError`] naming every problem found.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(&std::fs::read_to_string(path)?)?;
        config.checked()
    }

    /// Returns the configuration when it can work.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`] naming every problem found.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let lamps = [Output::Red, Output::Yellow, Output::Green];
        let lit: Vec<&str> = lamps.into_iter().filter(|lamp| self.output(*lamp).safe).map(Output::name).collect();
        if lit.len() > 1 {
            problems.push(format!("{} are on together in the safe state", lit.join(" and ")));
        }
        if !(1..=60_000).contains(&self.pulse_max_ms) {
            problems.push(format!("pulse_max_ms {} is outside 1..=60000", self.pulse_max_ms));
        }
        if self.pulse_gap_ms > 500 {
            problems.push(format!("pulse_gap_ms {} is outside 0..=500", self.pulse_gap_ms));
        }
        if !(500..=750).contains(&self.heartbeat_timeout_ms) {
            problems.push(format!("heartbeat_timeout_ms {} is outside 500..=750", self.heartbeat_timeout_ms));
        }
        let mut lines: Vec<(u32, &str)> = Vec::new();
        lines.extend(Output::ALL.map(|output| (self.output(output).line, output.name())));
        for input in Input::ALL {
            if let Some(config) = self.input(input) {
                lines.push((config.line, input.name()));
                let limit_ms = if input == Input::Fire { FIRE_DEBOUNCE_MAX_MS } else { 1_000 };
                if config.debounce_ms > limit_ms {
                    problems.push(format!("{} debounces longer than {limit_ms} ms", input.name()));
                }
            }
        }
        for (at, (line, name)) in lines.iter().enumerate() {
            for (other, other_name) in &lines[..at] {
                if line == other {
                    problems.push(format!("{other_name} and {name} share line {line}"));
                }
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(ConfigError::Contradiction(problems)) }
    }

    /// The wiring of an output.
    #[must_use]
    pub fn output(&self, output: Output) -> &OutputConfig {
        match output {
            Output::Relay => &self.outputs.relay,
            Output::Red => &self.outputs.red,
            Output::Yellow => &self.outputs.yellow,
            Output::Green => &self.outputs.green,
        }
    }

    /// The wiring of an input, if it is wired.
    #[must_use]
    pub fn input(&self, input: Input) -> Option<&InputConfig> {
        match input {
            Input::ExitButton => self.inputs.exit_button.as_ref(),
            Input::Fire => self.inputs.fire.as_ref(),
            Input::Presence => self.inputs.presence.as_ref(),
            Input::BarrierOpen => self.inputs.barrier_open.as_ref(),
            Input::Tamper => self.inputs.tamper.as_ref(),
        }
    }

    /// The levels taken when nobody is in command.
    #[must_use]
    pub fn safe_levels(&self) -> Levels {
        Levels {
            relay: self.outputs.relay.safe,
            red: self.outputs.red.safe,
            yellow: self.outputs.yellow.safe,
            green: self.outputs.green.safe,
        }
    }

    /// A fail-secure gate with every input wired (lines 5..=27): what the simulated board and the tests use.
    #[must_use]
    pub fn example() -> Self {
        let output = |line, safe| OutputConfig { line, active_low: false, safe };
        let input = |line| Some(InputConfig { line, active_low: false, debounce_ms: 20 });
        Self {
            outputs: Outputs {
                relay: output(17, false),
                red: output(22, true),
                yellow: output(23, false),
                green: output(24, false),
            },
            inputs: Inputs {
                exit_button: input(5),
                fire: input(6),
                presence: input(25),
                barrier_open: input(26),
                tamper: input(27),
            },
            pulse_max_ms: default_pulse_max_ms(),
            pulse_gap_ms: default_pulse_gap_ms(),
            heartbeat_timeout_ms: default_heartbeat_timeout_ms(),
        }
    }

    /// The configuration as TOML, the form [`HandConfig::read`] takes.
    ///
    /// # Errors
    /// When the value cannot be written as TOML; no value of this type is known to do so.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

fn default_debounce_ms() -> u32 {
    20
}

fn default_pulse_max_ms() -> u32 {
    5_000
}

fn default_pulse_gap_ms() -> u32 {
    200
}

fn default_heartbeat_timeout_ms() -> u32 {
    750
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_survives_the_round_trip() {
        let example = HandConfig::example();
        let text = example.to_toml().unwrap();
        let parsed: HandConfig = toml::from_str(&text).unwrap();
        assert_eq!(parsed.checked().unwrap(), example);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let mut config = HandConfig::example();
        config.outputs.green.safe = true;
        config.outputs.yellow.line = 17;
        config.pulse_max_ms = 0;
        config.pulse_gap_ms = 501;
        config.inputs.fire.as_mut().unwrap().debounce_ms = 51;
        config.inputs.presence.as_mut().unwrap().debounce_ms = 1_001;
        config.heartbeat_timeout_ms = 751;
        let Err(ConfigError::Contradiction(problems)) = config.checked() else {
            panic!("a contradictory configuration was taken");
        };
        assert_eq!(problems.len(), 7, "{problems:?}");
    }

    #[test]
    fn the_hand_waits_for_a_late_heartbeat_and_not_longer_than_the_promise() {
        for (heartbeat_timeout_ms, good) in [(1, false), (499, false), (500, true), (750, true), (751, false)] {
            let config = HandConfig { heartbeat_timeout_ms, ..HandConfig::example() };
            assert_eq!(config.checked().is_ok(), good, "{heartbeat_timeout_ms} ms");
        }
    }

    #[test]
    fn a_file_from_before_the_gap_was_known_gets_the_usual_one() {
        let text = HandConfig::example().to_toml().unwrap().replace("pulse_gap_ms = 200\n", "");
        assert!(!text.contains("pulse_gap_ms"));
        assert_eq!(toml::from_str::<HandConfig>(&text).unwrap(), HandConfig::example());
    }

    #[test]
    fn unknown_words_are_refused() {
        let text = HandConfig::example().to_toml().unwrap();
        assert!(toml::from_str::<HandConfig>(&format!("pulse_max_milliseconds = 1\n{text}")).is_err());
    }
}
