//! Lines on a simulated board, as gate-io sees them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::wire::{Ask, Drive, Line, Tell, WantedInput, WantedOutput};
use crate::gate_io::config::HandConfig;
use crate::lines::{Input, InputEdge, Levels, LineError, Lines, Output};

/// How long the board may take to answer; a kernel answers in microseconds.
const ANSWER: Duration = Duration::from_secs(5);

/// The lines of one gate on a [`Board`](super::Board).
pub struct SimulatedLines {
    config: HandConfig,
    talk: Mutex<Talk>,
    edges: Mutex<Receiver<InputEdge>>,
}

/// The asking half of the connection: one question at a time.
struct Talk {
    stream: UnixStream,
    answers: Receiver<Tell>,
}

impl SimulatedLines {
    /// Connects to the board and takes every line of the configuration.
    ///
    /// # Errors
    /// [`LineError::Request`] when there is no board at `socket` or it refuses.
    pub fn open(socket: &Path, config: &HandConfig) -> Result<Self, LineError> {
        let unreachable = |why: std::io::Error| LineError::Request(format!("{}: {why}", socket.display()));
        let stream = UnixStream::connect(socket).map_err(unreachable)?;
        let reading = stream.try_clone().map_err(unreachable)?;
        let (answer_to, answers) = sync_channel(4);
        // A gate has five inputs; more unread edges than this means nobody looks at them any more.
        let (edge_to, edges) = sync_channel(1024);
        let wiring = config.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(reading).lines() {
                let Ok(tell) = line.map_err(drop).and_then(|line| serde_json::from_str(&line).map_err(drop)) else {
                    return;
                };
                let delivered = match tell {
                    Tell::Edge { line, level, mono_us } => match edge(&wiring, &line, level, mono_us) {
                        Some(edge) => edge_to.send(edge).is_ok(),
                        None => true,
                    },
                    Tell::Granted | Tell::Refused { .. } | Tell::Done | Tell::Levels { .. } => {
                        answer_to.send(tell).is_ok()
                    }
                };
                if !delivered {
                    return;
                }
            }
        });
        let lines =
            Self { config: config.clone(), talk: Mutex::new(Talk { stream, answers }), edges: Mutex::new(edges) };
        let safe = config.safe_levels();
        let mut outputs = Output::ALL;
        outputs.sort_by_key(|output| safe.get(*output));
        let outputs = outputs.map(|output| {
            let active_low = config.output(output).active_low;
            WantedOutput { name: output.name().to_owned(), level: safe.get(output) != active_low, rest: active_low }
        });
        let inputs = Input::ALL.iter().filter_map(|&input| {
            let wiring = config.input(input)?;
            Some(WantedInput { name: input.name().to_owned(), rest: wiring.active_low })
        });
        let request = Ask::Request { outputs: outputs.into(), inputs: inputs.collect() };
        match lines.ask(request)? {
            Tell::Granted => Ok(lines),
            Tell::Refused { why } => Err(LineError::Request(why)),
            other @ (Tell::Done | Tell::Levels { .. } | Tell::Edge { .. }) => {
                Err(LineError::Request(format!("the board answered {other:?}")))
            }
        }
    }

    fn ask(&self, ask: Ask) -> Result<Tell, LineError> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        send(&mut talk.stream, &Line::Ask(ask))?;
        talk.answers.recv_timeout(ANSWER).map_err(|_| LineError::Failed("the board is gone".to_owned()))
    }
}

impl Lines for SimulatedLines {
    fn set(&self, levels: Levels) -> Result<(), LineError> {
        // What goes off goes off before anything comes on.
        for on in [false, true] {
            let outputs = Output::ALL.into_iter().filter(|output| levels.get(*output) == on);
            let wires = outputs.map(|output| (output.name().to_owned(), on != self.config.output(output).active_low));
            match self.ask(Ask::Set { levels: wires.collect() })? {
                Tell::Done => {}
                other @ (Tell::Granted | Tell::Refused { .. } | Tell::Levels { .. } | Tell::Edge { .. }) => {
                    return Err(LineError::Failed(format!("the board answered {other:?}")));
                }
            }
        }
        Ok(())
    }

    fn active_inputs(&self) -> Result<Vec<Input>, LineError> {
        let levels = match self.ask(Ask::Levels)? {
            Tell::Levels { levels } => levels,
            other @ (Tell::Granted | Tell::Refused { .. } | Tell::Done | Tell::Edge { .. }) => {
                return Err(LineError::Failed(format!("the board answered {other:?}")));
            }
        };
        let active = |input: &Input| {
            let level = levels.get(input.name()).copied();
            self.config.input(*input).is_some_and(|wiring| level == Some(!wiring.active_low))
        };
        Ok(Input::ALL.into_iter().filter(active).collect())
    }

    fn next_edge(&self, timeout: Duration) -> Result<Option<InputEdge>, LineError> {
        let edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        match edges.recv_timeout(timeout) {
            Ok(edge) => Ok(Some(edge)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(LineError::Failed("the board is gone".to_owned())),
        }
    }
}

impl Drop for SimulatedLines {
    fn drop(&mut self) {
        let talk = self.talk.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The reading thread holds a copy of the socket: only a shutdown gives the lines back now.
        // A failure means that the board is already gone.
        drop(talk.stream.shutdown(std::net::Shutdown::Both));
    }
}

/// Moves an input of a board in another process, as a finger or a fire panel would. Levels are those of the wire.
///
/// # Errors
/// [`LineError::Request`] when there is no board at `socket`.
pub fn drive(socket: &Path, line: &str, level: bool) -> Result<(), LineError> {
    once(socket, &Line::Drive(Drive { drive: line.to_owned(), level })).map(drop)
}

/// The level of a line of a board in another process; `None` when the board has no such line.
///
/// # Errors
/// [`LineError::Request`] when there is no board at `socket`.
pub fn level(socket: &Path, line: &str) -> Result<Option<bool>, LineError> {
    match once(socket, &Line::Ask(Ask::Levels))? {
        Tell::Levels { levels } => Ok(levels.get(line).copied()),
        Tell::Granted | Tell::Refused { .. } | Tell::Done | Tell::Edge { .. } => Ok(None),
    }
}

fn once(socket: &Path, line: &Line) -> Result<Tell, LineError> {
    let unreachable = |why: std::io::Error| LineError::Request(format!("{}: {why}", socket.display()));
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    stream.set_read_timeout(Some(ANSWER)).map_err(unreachable)?;
    send(&mut stream, line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(unreachable)?;
    serde_json::from_str(&answer).map_err(|why| LineError::Request(why.to_string()))
}

fn send(stream: &mut UnixStream, line: &Line) -> Result<(), LineError> {
    let mut text = serde_json::to_string(line).map_err(|why| LineError::Failed(why.to_string()))?;
    text.push('\n');
    stream.write_all(text.as_bytes()).map_err(|why| LineError::Failed(format!("the board is gone: {why}")))
}

fn edge(config: &HandConfig, line: &str, level: bool, mono_us: u64) -> Option<InputEdge> {
    let input = Input::ALL.into_iter().find(|input| input.name() == line)?;
    let wiring = config.input(input)?;
    Some(InputEdge { input, active: level != wiring.active_low, mono_us })
}
