//! What every lines backend promises, as checks that run on a desk and on a lane.
//!
//! A promise is stated once here and asked of the simulated board in every test run, of the kernel's
//! character device and of a Raspberry Pi where there is one. The backend is looked at from outside
//! through a [`Probe`]: what a meter on the terminal block would show.

use std::time::Duration;

use crate::gate_io::config::HandConfig;
use crate::lines::{self, Input, Levels, Lines, LinesAddress, Output};

/// Sees and moves the wires from outside, independent of the backend.
pub trait Probe {
    /// The level of an output's wire; `None` where nothing can look at it.
    fn output(&self, output: Output) -> Option<bool>;
    /// Moves an input's wire; `false` where nothing can.
    fn drive(&self, input: Input, level: bool) -> bool;
}

/// A backend whose wires nobody can look at: only what it says of itself is checked.
#[derive(Debug)]
pub struct Blind;

impl Probe for Blind {
    fn output(&self, _: Output) -> Option<bool> {
        None
    }

    fn drive(&self, _: Input, _: bool) -> bool {
        false
    }
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The promise.
    pub promise: &'static str,
    /// What was seen instead.
    pub seen: String,
}

/// What a run of the contract found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Promises that were kept.
    pub kept: Vec<&'static str>,
    /// Promises that were not.
    pub broken: Vec<Broken>,
    /// Promises that could not be looked at here.
    pub unseen: Vec<&'static str>,
}

impl Verdict {
    fn note(&mut self, promise: &'static str, kept: Option<bool>, seen: impl FnOnce() -> String) {
        match kept {
            Some(true) => self.kept.push(promise),
            Some(false) => self.broken.push(Broken { promise, seen: seen() }),
            None => self.unseen.push(promise),
        }
    }
}

/// How long an edge may take from the wire to the backend.
const EDGE: Duration = Duration::from_secs(5);

/// Opens the backend and asks every promise of it. The relay is driven for a moment: not on a gate in use.
#[must_use]
pub fn check(address: &LinesAddress, config: &HandConfig, probe: &dyn Probe) -> Verdict {
    let mut verdict = Verdict::default();
    let lines = match lines::open(address, config) {
        Ok(lines) => lines,
        Err(why) => {
            verdict.note("the lines can be requested", Some(false), || why.to_string());
            return verdict;
        }
    };
    outputs(lines.as_ref(), config, probe, &mut verdict);
    inputs(lines.as_ref(), config, probe, &mut verdict);
    let second = lines::open(address, config);
    let exclusive = match address {
        LinesAddress::Chardev(_) | LinesAddress::Simulated(_) => Some(second.is_err()),
        // Registers know no owner: the documented weakness of this backend.
        LinesAddress::Rppal => None,
    };
    verdict.note("a second owner is refused", exclusive, || "it got the lines".to_owned());
    verdict
}

fn outputs(lines: &dyn Lines, config: &HandConfig, probe: &dyn Probe, verdict: &mut Verdict) {
    let differing = |levels: Levels| {
        let wire = |output: Output| levels.get(output) != config.output(output).active_low;
        let seen: Option<Vec<(Output, bool)>> =
            Output::ALL.into_iter().map(|output| Some((output, probe.output(output)?))).collect();
        seen.map(|seen| seen.into_iter().filter(|(output, level)| *level != wire(*output)).collect::<Vec<_>>())
    };
    let safe = config.safe_levels();
    let wrong = differing(safe);
    verdict.note("outputs are safe from the first moment", wrong.as_ref().map(Vec::is_empty), || format!("{wrong:?}"));
    for mask in 0..16_u8 {
        let on = |bit: u8| mask & (1 << bit) != 0;
        let levels = Levels { relay: on(0), red: on(1), yellow: on(2), green: on(3) }.guarded();
        if let Err(why) = lines.set(levels) {
            verdict.note("every output can be driven", Some(false), || format!("{levels:?}: {why}"));
            return;
        }
        let wrong = differing(levels);
        if wrong.as_ref().is_some_and(|wrong| !wrong.is_empty()) {
            verdict.note("an output is what it was set to", Some(false), || format!("{levels:?}: {wrong:?}"));
            return;
        }
    }
    let looked = differing(safe).map(|_| true);
    verdict.note("every output can be driven", Some(true), String::new);
    verdict.note("an output is what it was set to", looked, String::new);
    let back = lines.set(safe).is_ok();
    verdict.note("outputs return to safe", Some(back), || "the call failed".to_owned());
}

fn inputs(lines: &dyn Lines, config: &HandConfig, probe: &dyn Probe, verdict: &mut Verdict) {
    const EDGES: &str = "every edge of an input is told once, with its level and time";
    const LEVELS: &str = "the level of an input can be read";
    for input in Input::ALL {
        let Some(wiring) = config.input(input) else {
            continue;
        };
        for active in [true, false] {
            let from_us = crate::clock::mono_us();
            if !probe.drive(input, active != wiring.active_low) {
                verdict.note(EDGES, None, String::new);
                verdict.note(LEVELS, Some(lines.active_inputs().is_ok()), || "the call failed".to_owned());
                return;
            }
            let edge = match lines.next_edge(EDGE) {
                Ok(Some(edge)) => edge,
                other @ (Ok(None) | Err(_)) => {
                    verdict.note(EDGES, Some(false), || format!("{input:?} {active}: {other:?}"));
                    return;
                }
            };
            let in_time = (from_us..=crate::clock::mono_us()).contains(&edge.mono_us);
            if edge.input != input || edge.active != active || !in_time {
                verdict.note(EDGES, Some(false), || format!("{input:?} {active} from {from_us}: {edge:?}"));
                return;
            }
            let read = lines.active_inputs().map(|inputs| inputs.contains(&input));
            if !matches!(read, Ok(read) if read == active) {
                verdict.note(LEVELS, Some(false), || format!("{input:?} {active}: {read:?}"));
                return;
            }
        }
    }
    let silent = matches!(lines.next_edge(Duration::from_millis(20)), Ok(None));
    verdict.note(EDGES, Some(silent), || "an edge nobody made".to_owned());
    verdict.note(LEVELS, Some(true), String::new);
}
