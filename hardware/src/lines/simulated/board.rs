//! The simulated kernel and terminal block.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::wire::{Ask, Line, Tell, WantedInput, WantedOutput};
use crate::clock::mono_us;
use crate::lines::LineError;

/// What happens to an output when the process that holds it goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseModel {
    /// The line returns to input: its pull resistor decides (upstream kernels, `strict_gpiod`).
    Strict,
    /// The line keeps driving (Raspberry Pi kernels by default).
    Persist,
}

impl FromStr for ReleaseModel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "strict" => Ok(Self::Strict),
            "persist" => Ok(Self::Persist),
            _ => Err(format!("'{text}' is neither strict nor persist")),
        }
    }
}

/// Who moved a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeBy {
    /// The client that holds the line.
    Client,
    /// The kernel, taking the line back from a client that went away.
    Release,
    /// The world outside: a finger, a car, a fire panel.
    World,
}

/// One change of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// When, `CLOCK_MONOTONIC` microseconds.
    pub mono_us: u64,
    /// The trade name of the line: `relay`, `red`, `fire`, …
    pub line: String,
    /// The level of the wire after the change (not its meaning: see `active_low`).
    pub level: bool,
    /// Who did it.
    pub by: EdgeBy,
}

/// A board that clients reach over a unix socket. Dropping it cuts every client off.
pub struct Board {
    socket: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    model: ReleaseModel,
}

#[derive(Default)]
struct State {
    lines: BTreeMap<String, LineState>,
    edges: Vec<Edge>,
    file: Option<File>,
    clients: BTreeMap<u64, UnixStream>,
    next_client: u64,
    closed: bool,
}

#[derive(Default, Clone, Copy)]
struct LineState {
    level: bool,
    rest: bool,
    /// The client that drives it.
    driver: Option<u64>,
    /// The client that watches it.
    watcher: Option<u64>,
}

impl Board {
    /// Serves a board at `socket`; every edge is also appended to `edges` as a JSON line if given.
    ///
    /// # Errors
    /// [`LineError::Request`] when the socket or the file cannot be made.
    pub fn listen(socket: &Path, model: ReleaseModel, edges: Option<&Path>) -> Result<Self, LineError> {
        let refused = |why: std::io::Error| LineError::Request(format!("{}: {why}", socket.display()));
        let listener = crate::socket::take(socket).map_err(|why| LineError::Request(why.to_string()))?;
        let file = match edges {
            Some(path) => Some(File::options().create(true).append(true).open(path).map_err(refused)?),
            None => None,
        };
        let shared =
            Arc::new(Shared { state: Mutex::new(State { file, ..State::default() }), changed: Condvar::new(), model });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if serving.lock().closed {
                    return;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Ok(Self { socket: socket.to_owned(), shared })
    }

    /// Where clients connect.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Moves an input, as a finger or a fire panel would.
    pub fn drive(&self, line: &str, level: bool) {
        self.shared.drive(line, level);
    }

    /// The level of a line; `None` while nobody ever asked for or drove such a line.
    #[must_use]
    pub fn level(&self, line: &str) -> Option<bool> {
        self.shared.lock().lines.get(line).map(|line| line.level)
    }

    /// Every edge since the board was made, oldest first.
    #[must_use]
    pub fn edges(&self) -> Vec<Edge> {
        self.shared.lock().edges.clone()
    }

    /// Waits until `wanted` holds of the edges recorded so far; returns them, or `None` after `timeout`.
    #[must_use]
    pub fn wait_edges(&self, timeout: Duration, mut wanted: impl FnMut(&[Edge]) -> bool) -> Option<Vec<Edge>> {
        let state = self.wait(timeout, |state| wanted(&state.edges))?;
        Some(state.edges.clone())
    }

    /// Waits until a line has a level; `false` after `timeout`.
    #[must_use]
    pub fn wait_level(&self, line: &str, level: bool, timeout: Duration) -> bool {
        self.wait(timeout, |state| state.lines.get(line).is_some_and(|line| line.level == level)).is_some()
    }

    /// Waits until a client drives an output (`true`) or nobody does (`false`); `false` after `timeout`.
    #[must_use]
    pub fn wait_held(&self, line: &str, held: bool, timeout: Duration) -> bool {
        let is_held = |state: &State| state.lines.get(line).is_some_and(|line| line.driver.is_some());
        self.wait(timeout, |state| is_held(state) == held).is_some()
    }

    fn wait(&self, timeout: Duration, mut done: impl FnMut(&State) -> bool) -> Option<MutexGuard<'_, State>> {
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), timeout, |state| !done(state))
            .unwrap_or_else(PoisonError::into_inner);
        (!waited.timed_out()).then_some(state)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        for client in state.clients.values() {
            // A client that is already gone needs no farewell.
            drop(client.shutdown(std::net::Shutdown::Both));
        }
        drop(state);
        // Wakes the accepting thread so that it sees `closed`; then nobody can find the board any more.
        drop(UnixStream::connect(&self.socket));
        drop(std::fs::remove_file(&self.socket));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one client until it goes away, however it goes.
    fn serve(&self, stream: UnixStream) {
        let Ok(reading) = stream.try_clone() else {
            return;
        };
        let me = {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            state.next_client += 1;
            let me = state.next_client;
            state.clients.insert(me, stream);
            me
        };
        for line in BufReader::new(reading).lines() {
            let Ok(line) = line else { break };
            let mut state = self.lock();
            let answer = match serde_json::from_str(&line) {
                Ok(Line::Ask(ask)) => {
                    if matches!(ask, Ask::Request { .. }) {
                        state = self.after_the_dead(state);
                    }
                    state.answer(me, ask)
                }
                Ok(Line::Drive(drive)) => {
                    state.drive(&drive.drive, drive.level);
                    Tell::Done
                }
                Err(why) => Tell::Refused { why: why.to_string() },
            };
            state.tell(me, &answer);
            drop(state);
            self.changed.notify_all();
        }
        let mut state = self.lock();
        state.clients.remove(&me);
        state.release(me, self.model);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until the lines of clients that are gone already are released: a kernel does that before anybody can see that
    /// a process has ended, here a thread of its own has to come to it.
    fn after_the_dead<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let dead_owner = |state: &mut State| {
            let mut owners = state.lines.values().filter_map(|line| line.driver.or(line.watcher));
            owners.any(|owner| state.clients.get(&owner).is_some_and(hung_up))
        };
        self.changed.wait_while(state, dead_owner).unwrap_or_else(PoisonError::into_inner)
    }

    fn drive(&self, line: &str, level: bool) {
        self.lock().drive(line, level);
        self.changed.notify_all();
    }
}

/// Whether nobody is at the other end any more.
fn hung_up(stream: &UnixStream) -> bool {
    let mut watched = [PollFd::new(stream, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&at_once)).is_ok() && watched[0].revents().contains(PollFlags::HUP)
}

impl State {
    fn answer(&mut self, me: u64, ask: Ask) -> Tell {
        match ask {
            Ask::Request { outputs, inputs } => self.request(me, outputs, inputs),
            Ask::Set { levels } => {
                let held = |line: &String| self.lines.get(line).is_some_and(|line| line.driver == Some(me));
                if let Some(line) = levels.keys().find(|line| !held(line)) {
                    return Tell::Refused { why: format!("{line} is not held by this client") };
                }
                for (line, level) in levels {
                    self.set(&line, level, EdgeBy::Client);
                }
                Tell::Done
            }
            Ask::Levels => {
                Tell::Levels { levels: self.lines.iter().map(|(name, line)| (name.clone(), line.level)).collect() }
            }
        }
    }

    fn request(&mut self, me: u64, outputs: Vec<WantedOutput>, inputs: Vec<WantedInput>) -> Tell {
        let names = outputs.iter().map(|output| &output.name).chain(inputs.iter().map(|input| &input.name));
        for name in names {
            let line = self.lines.get(name).copied().unwrap_or_default();
            if line.driver.or(line.watcher).is_some() {
                return Tell::Refused { why: format!("{name} is held by another client") };
            }
        }
        for output in outputs {
            let line = self
                .lines
                .entry(output.name.clone())
                .or_insert(LineState { level: output.rest, ..LineState::default() });
            line.rest = output.rest;
            line.driver = Some(me);
            self.set(&output.name, output.level, EdgeBy::Client);
        }
        for input in inputs {
            let line = self.lines.entry(input.name).or_insert(LineState { level: input.rest, ..LineState::default() });
            line.rest = input.rest;
            line.watcher = Some(me);
        }
        Tell::Granted
    }

    fn release(&mut self, me: u64, model: ReleaseModel) {
        let mut dropped = Vec::new();
        for (name, line) in &mut self.lines {
            if line.driver == Some(me) {
                line.driver = None;
                dropped.push((name.clone(), line.rest));
            }
            if line.watcher == Some(me) {
                line.watcher = None;
            }
        }
        match model {
            ReleaseModel::Strict => {
                for (name, rest) in dropped {
                    self.set(&name, rest, EdgeBy::Release);
                }
            }
            ReleaseModel::Persist => {}
        }
    }

    fn drive(&mut self, line: &str, level: bool) {
        self.lines.entry(line.to_owned()).or_default();
        self.set(line, level, EdgeBy::World);
    }

    /// Gives a line a level, records the edge if there is one, and tells whoever watches it.
    fn set(&mut self, name: &str, level: bool, by: EdgeBy) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        if line.level == level {
            return;
        }
        line.level = level;
        let watcher = line.watcher;
        let edge = Edge { mono_us: mono_us(), line: name.to_owned(), level, by };
        if let Some(watcher) = watcher {
            self.tell(watcher, &Tell::Edge { line: edge.line.clone(), level, mono_us: edge.mono_us });
        }
        if let (Some(file), Ok(mut text)) = (&mut self.file, serde_json::to_string(&edge)) {
            text.push('\n');
            if let Err(why) = file.write_all(text.as_bytes()) {
                tracing::warn!(%why, "the record of edges cannot be written");
            }
        }
        self.edges.push(edge);
    }

    fn tell(&mut self, client: u64, tell: &Tell) {
        let (Some(stream), Ok(mut text)) = (self.clients.get_mut(&client), serde_json::to_string(tell)) else {
            return;
        };
        text.push('\n');
        if stream.write_all(text.as_bytes()).is_err() {
            // Its reading thread sees the end and releases its lines.
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate_io::config::HandConfig;
    use crate::lines::simulated::SimulatedLines;
    use crate::lines::{Levels, Lines};

    const SOON: Duration = Duration::from_secs(10);

    fn relay_on() -> Levels {
        Levels { relay: true, ..Levels::default() }
    }

    #[test]
    fn the_release_model_decides_what_a_dead_owner_leaves_behind() {
        for (model, left_on) in [(ReleaseModel::Strict, false), (ReleaseModel::Persist, true)] {
            let folder = tempfile::tempdir().unwrap();
            let board = Board::listen(&folder.path().join("board"), model, None).unwrap();
            let lines = SimulatedLines::open(board.socket(), &HandConfig::example()).unwrap();
            lines.set(relay_on()).unwrap();
            assert_eq!(board.level("relay"), Some(true));
            drop(lines);
            assert!(board.wait_held("relay", false, SOON));
            assert_eq!(board.level("relay"), Some(left_on), "{model:?}");
        }
    }

    #[test]
    fn a_line_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let board = Board::listen(&folder.path().join("board"), ReleaseModel::Strict, None).unwrap();
        let first = SimulatedLines::open(board.socket(), &HandConfig::example()).unwrap();
        assert!(SimulatedLines::open(board.socket(), &HandConfig::example()).is_err());
        drop(first);
        assert!(board.wait_held("relay", false, SOON));
        assert!(SimulatedLines::open(board.socket(), &HandConfig::example()).is_ok());
    }

    #[test]
    fn who_comes_after_a_dead_owner_finds_the_lines_free() {
        let folder = tempfile::tempdir().unwrap();
        let board = Board::listen(&folder.path().join("board"), ReleaseModel::Strict, None).unwrap();
        for _ in 0..200 {
            SimulatedLines::open(board.socket(), &HandConfig::example()).unwrap().set(relay_on()).unwrap();
        }
    }

    #[test]
    fn edges_are_written_down_as_they_happen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edges.jsonl");
        let board = Board::listen(&folder.path().join("board"), ReleaseModel::Strict, Some(&file)).unwrap();
        board.drive("fire", true);
        super::super::drive(board.socket(), "fire", false).unwrap();
        assert_eq!(super::super::level(board.socket(), "fire").unwrap(), Some(false));
        assert_eq!(super::super::level(board.socket(), "nothing").unwrap(), None);
        let written: Vec<Edge> =
            std::fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(written, board.edges());
        assert_eq!(written.len(), 2);
        assert!(written.iter().all(|edge| edge.by == EdgeBy::World));
    }
}
