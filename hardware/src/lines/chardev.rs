//! Lines through the kernel's GPIO character device: the backend of the product.
//!
//! The kernel knows who holds a line, so a second gate-io is refused, and with `strict_gpiod` a killed one
//! loses its outputs at once. Polarity is given to the kernel, which then speaks of active and inactive.

use std::path::Path;
use std::time::Duration;

use gpiocdev::Request;
use gpiocdev::line::{EdgeDetection, EdgeKind, Value, Values};

use super::{Input, InputEdge, Levels, LineError, Lines, Output};
use crate::gate_io::config::HandConfig;

/// The lines of one gate on one GPIO chip.
pub struct Chardev {
    request: Request,
    outputs: [(Output, u32); 4],
    inputs: Vec<(Input, u32)>,
}

impl Chardev {
    /// Requests all lines in one call, outputs with their safe values.
    ///
    /// # Errors
    /// [`LineError::Request`] when the chip is absent or a line is missing or taken.
    pub fn open(chip: &Path, config: &HandConfig) -> Result<Self, LineError> {
        let mut builder = Request::builder();
        builder.on_chip(chip).with_consumer("gate-io");
        let safe = config.safe_levels();
        for output in Output::ALL {
            let wiring = config.output(output);
            builder.with_line(wiring.line).as_output(value(safe.get(output)));
            if wiring.active_low {
                builder.as_active_low();
            } else {
                builder.as_active_high();
            }
        }
        let mut inputs = Vec::new();
        for input in Input::ALL {
            let Some(wiring) = config.input(input) else {
                continue;
            };
            inputs.push((input, wiring.line));
            builder.with_line(wiring.line).as_input().with_edge_detection(EdgeDetection::BothEdges);
            if wiring.active_low {
                builder.as_active_low();
            } else {
                builder.as_active_high();
            }
        }
        let request = builder.request().map_err(|why| LineError::Request(format!("{}: {why}", chip.display())))?;
        Ok(Self { request, outputs: Output::ALL.map(|output| (output, config.output(output).line)), inputs })
    }

    fn drive(&self, levels: Levels) -> Result<(), LineError> {
        let values: Values = self.outputs.iter().map(|&(output, line)| (line, value(levels.get(output)))).collect();
        self.request.set_values(&values).map_err(failed)
    }
}

impl Lines for Chardev {
    fn set(&self, levels: Levels) -> Result<(), LineError> {
        // The kernel sets the lines of one call one after the other: darkness first, then the new lamp.
        let mut now = Values::default();
        self.request.values(&mut now).map_err(failed)?;
        let is_on = |wanted: Output| {
            self.outputs.iter().any(|&(output, line)| output == wanted && now.get(line) == Some(Value::Active))
        };
        self.drive(Levels {
            relay: levels.relay,
            red: levels.red && is_on(Output::Red),
            yellow: levels.yellow && is_on(Output::Yellow),
            green: levels.green && is_on(Output::Green),
        })?;
        self.drive(levels)
    }

    fn active_inputs(&self) -> Result<Vec<Input>, LineError> {
        let mut values = Values::default();
        self.request.values(&mut values).map_err(failed)?;
        let active = |line: u32| values.get(line) == Some(Value::Active);
        Ok(self.inputs.iter().filter(|(_, line)| active(*line)).map(|(input, _)| *input).collect())
    }

    fn next_edge(&self, timeout: Duration) -> Result<Option<InputEdge>, LineError> {
        if self.inputs.is_empty() {
            std::thread::sleep(timeout);
            return Ok(None);
        }
        if !self.request.wait_edge_event(timeout).map_err(failed)? {
            return Ok(None);
        }
        let edge = self.request.read_edge_event().map_err(failed)?;
        Ok(self.inputs.iter().find(|(_, line)| *line == edge.offset).map(|(input, _)| InputEdge {
            input: *input,
            active: edge.kind == EdgeKind::Rising,
            mono_us: edge.timestamp_ns / 1_000,
        }))
    }
}

fn value(on: bool) -> Value {
    if on { Value::Active } else { Value::Inactive }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn failed(why: gpiocdev::Error) -> LineError {
    LineError::Failed(why.to_string())
}
