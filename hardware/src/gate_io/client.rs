//! The brain's end of the connection to gate-io.
//!
//! Commands never wait, neither for the hand nor for another task: when a call returns, the command is in
//! the socket or refused. One that was given while the hand is away is never delivered late, because a pulse
//! seconds after its decision opens the gate for somebody else.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::protocol::{Answer, Command, Hello, MAX_LINE, Message, Pattern, PulseResult, SafeWhy};
use crate::lines::Input;

/// How long between two attempts to reach a hand that is away.
const RETRY: Duration = Duration::from_millis(100);
/// Events the brain has not taken yet; beyond this the connection waits, which is safe.
const EVENTS: usize = 256;

/// What the hand reports to the brain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IoEvent {
    /// Connected, for the first time or again.
    Up(Hello),
    /// The hand is away; outputs are at their safe levels. Said once per loss.
    Lost {
        /// What was seen.
        why: String,
    },
    /// A pulse command was judged, or a running pulse ended.
    Pulse {
        /// The id the pulse carried.
        event: String,
        /// What became of it.
        result: PulseResult,
    },
    /// The answer to a query.
    Answer {
        /// The id asked about.
        event: String,
        /// What is known about it.
        result: Answer,
    },
    /// A debounced input changed.
    Input {
        /// Which one.
        input: Input,
        /// Its new state.
        active: bool,
        /// When, `CLOCK_MONOTONIC` microseconds.
        mono_us: u64,
    },
    /// The outputs went to their safe levels.
    Safe {
        /// Why.
        why: SafeWhy,
    },
    /// Fire was latched or reset.
    Fire {
        /// True: the gate stands open.
        latched: bool,
    },
}

/// The hand is away: the command was not and will not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("gate-io is not connected")]
pub struct IoDown;

/// The connection to gate-io. It reconnects by itself; dropping it closes the socket, which is safe.
#[derive(Debug)]
pub struct GateIo {
    commands: IoCommands,
    events: mpsc::Receiver<IoEvent>,
    task: JoinHandle<()>,
}

/// The commanding half, to be cloned where it is needed. Every method returns at once.
#[derive(Debug, Clone)]
pub struct IoCommands {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    way: Mutex<Way>,
    lamps: Mutex<Lamps>,
}

/// The way to the hand.
#[derive(Debug, Default)]
enum Way {
    /// Nobody is there yet, or any more.
    #[default]
    Away,
    /// The hand said hello. Dropping this half tells it that nothing more will come.
    Open(OwnedWriteHalf),
    /// The [`GateIo`] was dropped: no connection may be used again.
    Closed,
}

/// The pattern the brain wants, and whether the hand may have forgotten it.
#[derive(Debug, Default)]
struct Lamps {
    wanted: Option<Pattern>,
    forgotten: bool,
}

impl GateIo {
    /// Starts connecting to the gate-io at `socket`. Must be called inside a tokio runtime.
    #[must_use]
    pub fn connect(socket: impl Into<PathBuf>) -> Self {
        let socket = socket.into();
        let shared = Arc::new(Shared::default());
        let (event_to, events) = mpsc::channel(EVENTS);
        let task = tokio::spawn(stay_connected(socket, Arc::clone(&shared), event_to));
        Self { commands: IoCommands { shared }, events, task }
    }

    /// The next event. Cancel safe. Never ends; pends while there is nothing to say.
    pub async fn next(&mut self) -> IoEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only together with this value.
            None => std::future::pending().await,
        }
    }

    /// A handle for giving commands from elsewhere.
    #[must_use]
    pub fn commands(&self) -> IoCommands {
        self.commands.clone()
    }
}

impl std::ops::Deref for GateIo {
    type Target = IoCommands;

    fn deref(&self) -> &IoCommands {
        &self.commands
    }
}

impl Drop for GateIo {
    fn drop(&mut self) {
        self.task.abort();
        // Whoever holds a commanding half keeps no connection.
        *self.commands.shared.way() = Way::Closed;
    }
}

impl Shared {
    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hand said hello: commands go there from now on.
    fn open(&self, writing: OwnedWriteHalf) {
        let mut way = self.way();
        if !matches!(*way, Way::Closed) {
            *way = Way::Open(writing);
        }
    }

    /// The connection ended.
    fn shut(&self) {
        let mut way = self.way();
        if matches!(*way, Way::Open(_)) {
            *way = Way::Away;
        }
    }
}

impl IoCommands {
    /// Whether the hand is connected now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(*self.shared.way(), Way::Open(_))
    }

    /// "The decision loop is alive", four times a second; `hold` keeps a hold up.
    /// After the hand went safe or was away, this also shows the wanted lamps again.
    ///
    /// # Errors
    /// [`IoDown`].
    pub fn heartbeat(&self, hold: bool) -> Result<(), IoDown> {
        self.send(Command::Heartbeat { hold })?;
        let mut lamps = self.lamps_state();
        if let (true, Some(pattern)) = (lamps.forgotten, lamps.wanted) {
            lamps.forgotten = false;
            self.send(Command::Lamps { pattern })?;
        }
        Ok(())
    }

    /// Closes the relay once for `ms` milliseconds on behalf of a recorded event. The verdict comes as [`IoEvent::Pulse`].
    ///
    /// # Errors
    /// [`IoDown`]: nothing was sent and nothing will be.
    pub fn pulse(&self, event: &str, ms: u32) -> Result<(), IoDown> {
        self.send(Command::Pulse { event: event.to_owned(), ms })
    }

    /// Closes the relay for as long as heartbeats carry `hold`.
    ///
    /// # Errors
    /// [`IoDown`].
    pub fn hold(&self, reason: &str) -> Result<(), IoDown> {
        self.send(Command::Hold { reason: reason.to_owned() })
    }

    /// Shows a pattern until told otherwise; remembered while the hand is away.
    ///
    /// # Errors
    /// [`IoDown`]: it will be shown once the hand is back.
    pub fn lamps(&self, pattern: Pattern) -> Result<(), IoDown> {
        let mut lamps = self.lamps_state();
        lamps.wanted = Some(pattern);
        let sent = self.send(Command::Lamps { pattern });
        lamps.forgotten |= sent.is_err();
        sent
    }

    /// Sends the outputs to their safe levels.
    ///
    /// # Errors
    /// [`IoDown`]: they are safe already.
    pub fn safe(&self) -> Result<(), IoDown> {
        self.lamps_state().wanted = None;
        self.send(Command::Safe)
    }

    /// Asks whether the pulse of an event was carried out; answered by [`IoEvent::Answer`].
    ///
    /// # Errors
    /// [`IoDown`].
    pub fn query(&self, event: &str) -> Result<(), IoDown> {
        self.send(Command::Query { event: event.to_owned() })
    }

    /// Drops a latched fire state, if the fire input is quiet.
    ///
    /// # Errors
    /// [`IoDown`].
    pub fn reset_fire(&self) -> Result<(), IoDown> {
        self.send(Command::ResetFire)
    }

    fn send(&self, command: Command) -> Result<(), IoDown> {
        let mut line = serde_json::to_vec(&command).map_err(|_| IoDown)?;
        line.push(b'\n');
        let mut way = self.shared.way();
        let Way::Open(writing) = &*way else { return Err(IoDown) };
        if matches!(writing.try_write(&line), Ok(written) if written == line.len()) {
            return Ok(());
        }
        // A hand that takes nothing any more is as good as away, and one that got half a line must not get the rest late:
        // hanging up is safe, and the hand answers it.
        *way = Way::Away;
        Err(IoDown)
    }

    fn lamps_state(&self) -> MutexGuard<'_, Lamps> {
        self.shared.lamps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn stay_connected(socket: PathBuf, shared: Arc<Shared>, events: mpsc::Sender<IoEvent>) {
    let mut told_lost = false;
    loop {
        let (was_up, why) = match connection(&socket, &shared, &events).await {
            Ended::NeverUp(why) => (false, why),
            Ended::WasUp(why) => (true, why),
            Ended::NobodyListens => return,
        };
        shared.shut();
        if was_up || !told_lost {
            told_lost = true;
            if events.send(IoEvent::Lost { why }).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

enum Ended {
    /// No hello came.
    NeverUp(String),
    /// It worked for a while.
    WasUp(String),
    /// The [`GateIo`] was dropped.
    NobodyListens,
}

async fn connection(socket: &Path, shared: &Shared, events: &mpsc::Sender<IoEvent>) -> Ended {
    let (reading, writing) = match UnixStream::connect(socket).await {
        Ok(stream) => stream.into_split(),
        Err(why) => return Ended::NeverUp(format!("{}: {why}", socket.display())),
    };
    let mut reading = BufReader::new(reading);
    let mut writing = Some(writing);
    let why = loop {
        let message = match next_message(&mut reading).await {
            Ok(message) => message,
            Err(why) => break why,
        };
        let Some(event) = heard(message, shared) else { continue };
        if matches!(event, IoEvent::Up { .. })
            && let Some(writing) = writing.take()
        {
            shared.open(writing);
        }
        if events.send(event).await.is_err() {
            return Ended::NobodyListens;
        }
    };
    if writing.is_none() { Ended::WasUp(why) } else { Ended::NeverUp(why) }
}

/// The next line, or why there will be none.
async fn next_message(reading: &mut BufReader<OwnedReadHalf>) -> Result<Message, String> {
    let mut line = Vec::new();
    match reading.take(MAX_LINE as u64).read_until(b'\n', &mut line).await {
        Ok(_) if line.last() == Some(&b'\n') => {
            serde_json::from_slice(&line).map_err(|_| "gate-io said something that is not understood".to_owned())
        }
        Ok(_) => Err("gate-io closed the connection".to_owned()),
        Err(why) => Err(why.to_string()),
    }
}

fn heard(message: Message, shared: &Shared) -> Option<IoEvent> {
    let forget_lamps = || {
        shared.lamps.lock().unwrap_or_else(PoisonError::into_inner).forgotten = true;
    };
    Some(match message {
        Message::Hello(hello) => {
            forget_lamps();
            IoEvent::Up(hello)
        }
        Message::Pulse { event, result } => IoEvent::Pulse { event, result },
        Message::Answer { event, result } => IoEvent::Answer { event, result },
        Message::Input { input, active, mono_us } => IoEvent::Input { input, active, mono_us },
        Message::Safe { why } => {
            forget_lamps();
            IoEvent::Safe { why }
        }
        Message::Fire { latched } => IoEvent::Fire { latched },
        Message::Malformed { why } => {
            tracing::error!(%why, "gate-io did not understand this agent");
            return None;
        }
    })
}
