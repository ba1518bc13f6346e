//! Lines through the registers of a Raspberry Pi (`rppal`).
//!
//! For kernels where the character device cannot be used. It has two weaknesses the default has not: a
//! killed process leaves its pins as they were, and two processes may drive one pin. The registers are
//! polled, because a read costs less than a microsecond and needs no second interface.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rppal::gpio::{Gpio, InputPin, OutputPin};

use super::{Input, InputEdge, Levels, LineError, Lines, Output};
use crate::clock::{Stopwatch, mono_us};
use crate::gate_io::config::HandConfig;

/// How often the inputs are looked at.
const POLL: Duration = Duration::from_millis(5);

/// The lines of one gate on the header of a Raspberry Pi.
pub struct Raspberry {
    outputs: Mutex<Vec<Wire<OutputPin, Output>>>,
    inputs: Vec<Wire<InputPin, Input>>,
    seen: Mutex<Vec<Input>>,
}

struct Wire<Pin, Name> {
    pin: Pin,
    name: Name,
    active_low: bool,
}

impl Raspberry {
    /// Takes the pins, outputs driven to their safe level from the first moment.
    ///
    /// # Errors
    /// [`LineError::Request`] when this is not a Raspberry Pi or a pin is taken within this process.
    pub fn open(config: &HandConfig) -> Result<Self, LineError> {
        let gpio = Gpio::new().map_err(|why| LineError::Request(why.to_string()))?;
        let take = |line: u32| {
            let number = u8::try_from(line).map_err(|_| LineError::Request(format!("no pin {line}")))?;
            gpio.get(number).map_err(|why| LineError::Request(why.to_string()))
        };
        let safe = config.safe_levels();
        let mut outputs = Vec::new();
        for name in Output::ALL {
            let wiring = config.output(name);
            let pin = take(wiring.line)?;
            let mut pin =
                if safe.get(name) == wiring.active_low { pin.into_output_low() } else { pin.into_output_high() };
            // Dropping must not return the pin to what the boot loader left: the next gate-io decides.
            pin.set_reset_on_drop(true);
            outputs.push(Wire { pin, name, active_low: wiring.active_low });
        }
        let mut inputs = Vec::new();
        for name in Input::ALL {
            if let Some(wiring) = config.input(name) {
                let pin = take(wiring.line)?.into_input();
                inputs.push(Wire { pin, name, active_low: wiring.active_low });
            }
        }
        let lines = Self { outputs: Mutex::new(outputs), inputs, seen: Mutex::new(Vec::new()) };
        *lines.seen.lock().unwrap_or_else(PoisonError::into_inner) = lines.active_inputs()?;
        Ok(lines)
    }

    fn changed(&self) -> Option<InputEdge> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for wire in &self.inputs {
            let active = wire.pin.is_high() != wire.active_low;
            let known = seen.contains(&wire.name);
            if active != known {
                if active {
                    seen.push(wire.name);
                } else {
                    seen.retain(|name| *name != wire.name);
                }
                return Some(InputEdge { input: wire.name, active, mono_us: mono_us() });
            }
        }
        None
    }
}

impl Lines for Raspberry {
    fn set(&self, levels: Levels) -> Result<(), LineError> {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        // What goes off goes off before anything comes on.
        for on in [false, true] {
            for wire in outputs.iter_mut().filter(|wire| levels.get(wire.name) == on) {
                if on == wire.active_low {
                    wire.pin.set_low();
                } else {
                    wire.pin.set_high();
                }
            }
        }
        Ok(())
    }

    fn active_inputs(&self) -> Result<Vec<Input>, LineError> {
        let active = |wire: &&Wire<InputPin, Input>| wire.pin.is_high() != wire.active_low;
        Ok(self.inputs.iter().filter(active).map(|wire| wire.name).collect())
    }

    fn next_edge(&self, timeout: Duration) -> Result<Option<InputEdge>, LineError> {
        let waited = Stopwatch::start();
        loop {
            if let Some(edge) = self.changed() {
                return Ok(Some(edge));
            }
            if u128::from(waited.elapsed_us()) >= timeout.as_micros() {
                return Ok(None);
            }
            std::thread::sleep(POLL.min(timeout));
        }
    }
}
