//! The wires of a gate, by their trade names.
//!
//! A backend is opened with the wiring and from then on speaks of the relay, the lamps and the inputs;
//! numbers and polarity stay inside. Outputs are requested together with their safe value in one call, so
//! that no line ever shows a level nobody asked for. The promises all backends keep are in [`crate::contract`].

pub mod chardev;
pub mod raspberry;
pub mod simulated;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::gate_io::config::HandConfig;

/// Something that can be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// The contact that opens the gate.
    Relay,
    /// Stop.
    Red,
    /// Check, wait.
    Yellow,
    /// Go.
    Green,
}

impl Output {
    /// Every output.
    pub const ALL: [Self; 4] = [Self::Relay, Self::Red, Self::Yellow, Self::Green];

    /// The name used on the wire, on the simulated board and in configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Red => "red",
            Self::Yellow => "yellow",
            Self::Green => "green",
        }
    }
}

/// Something that can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A person asks to leave.
    ExitButton,
    /// The fire panel.
    Fire,
    /// A vehicle or person stands in the lane.
    Presence,
    /// The barrier says it is open.
    BarrierOpen,
    /// The box was opened.
    Tamper,
}

impl Input {
    /// Every input.
    pub const ALL: [Self; 5] = [Self::ExitButton, Self::Fire, Self::Presence, Self::BarrierOpen, Self::Tamper];

    /// The name used on the wire, on the simulated board and in configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ExitButton => "exit_button",
            Self::Fire => "fire",
            Self::Presence => "presence",
            Self::BarrierOpen => "barrier_open",
            Self::Tamper => "tamper",
        }
    }
}

/// What every output is to be: `true` = on, whatever the polarity of its wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// The contact that opens the gate.
    pub relay: bool,
    /// Stop.
    pub red: bool,
    /// Check, wait.
    pub yellow: bool,
    /// Go.
    pub green: bool,
}

impl Levels {
    /// The level of one output.
    #[must_use]
    pub fn get(self, output: Output) -> bool {
        match output {
            Output::Relay => self.relay,
            Output::Red => self.red,
            Output::Yellow => self.yellow,
            Output::Green => self.green,
        }
    }

    /// The last word before the wires: where red and green were both asked for, green is dropped.
    #[must_use]
    pub fn guarded(mut self) -> Self {
        if self.red {
            self.green = false;
        }
        self
    }
}

/// One change of an input line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputEdge {
    /// Which input.
    pub input: Input,
    /// Its state after the polarity is applied.
    pub active: bool,
    /// When, `CLOCK_MONOTONIC` microseconds.
    pub mono_us: u64,
}

/// Why the wires cannot be used.
#[derive(Debug, Error)]
pub enum LineError {
    /// The backend is not there or refused the request.
    #[error("cannot request the lines: {0}")]
    Request(String),
    /// A line that was granted stopped working.
    #[error("a line failed: {0}")]
    Failed(String),
}

/// The wires of one gate. Dropping it gives the lines back to the kernel.
pub trait Lines: Send + Sync {
    /// Drives every output. Lamps that go off do so before others come on.
    ///
    /// # Errors
    /// [`LineError::Failed`]: the hand must stop, because it no longer knows what the outputs do.
    fn set(&self, levels: Levels) -> Result<(), LineError>;

    /// The inputs that are active now.
    ///
    /// # Errors
    /// [`LineError::Failed`] when a line cannot be read.
    fn active_inputs(&self) -> Result<Vec<Input>, LineError>;

    /// Waits for the next change of an input, at most `timeout`; `None` = nothing changed.
    ///
    /// # Errors
    /// [`LineError::Failed`] when the lines are gone.
    fn next_edge(&self, timeout: Duration) -> Result<Option<InputEdge>, LineError>;
}

/// Which backend to open, as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinesAddress {
    /// `chardev:/dev/gpiochip0`: the kernel's character device.
    Chardev(PathBuf),
    /// `rppal`: the registers of a Raspberry Pi.
    Rppal,
    /// `simulated:SOCKET`: a [`simulated::Board`].
    Simulated(PathBuf),
}

impl FromStr for LinesAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("chardev", path)) if !path.is_empty() => Ok(Self::Chardev(path.into())),
            Some(("simulated", path)) if !path.is_empty() => Ok(Self::Simulated(path.into())),
            None if text == "rppal" => Ok(Self::Rppal),
            Some(_) | None => Err(format!("'{text}' is none of chardev:/dev/gpiochipN, rppal, simulated:SOCKET")),
        }
    }
}

/// Requests every line of the configuration, outputs at their safe levels.
///
/// # Errors
/// [`LineError::Request`] when the backend is absent, a line does not exist or belongs to somebody else.
pub fn open(address: &LinesAddress, config: &HandConfig) -> Result<Arc<dyn Lines>, LineError> {
    Ok(match address {
        LinesAddress::Chardev(chip) => Arc::new(chardev::Chardev::open(chip, config)?),
        LinesAddress::Rppal => Arc::new(raspberry::Raspberry::open(config)?),
        LinesAddress::Simulated(socket) => Arc::new(simulated::SimulatedLines::open(socket, config)?),
    })
}
