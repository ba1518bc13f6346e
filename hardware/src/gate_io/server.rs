//! Gives the [`Hand`] a socket and lines.
//!
//! One loop owns the hand and the outputs. Threads that read (connections, inputs) only put events into a
//! bounded queue; none of them can move a line. Any failure of a line ends the process: it returns to
//! safe by being restarted, because it no longer knows what the outputs do.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use thiserror::Error;

use super::config::HandConfig;
use super::hand::{Hand, HandEvent};
use super::protocol::{Command, MAX_LINE, Message};
use super::watch::{REREAD, watch_inputs};
use crate::clock::mono_us;
use crate::lines::{InputEdge, Levels, LineError, Lines};
use crate::socket::{TakeError, take};

/// Enough for a burst of edges and commands; a full queue slows the readers, never the loop.
const QUEUE: usize = 64;

/// Why gate-io stopped.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The socket could not be made.
    #[error(transparent)]
    Socket(#[from] TakeError),
    /// A line failed.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// What the threads put into the queue of the loop.
pub(super) enum Arrival {
    Connected(u64, UnixStream),
    Line(u64, Vec<u8>),
    Closed(u64),
    Edge(InputEdge),
    LinesFailed(LineError),
    Stop,
}

/// Takes the place of the one gate-io of this gate: before the lines, which not every backend guards against
/// a second owner.
///
/// # Errors
/// [`ServeError::Socket`] when something else lies there or another gate-io is alive.
pub fn listen(socket: &Path) -> Result<UnixListener, ServeError> {
    let listener = take(socket)?;
    let open = std::fs::set_permissions(socket, Permissions::from_mode(0o660));
    open.map_err(|why| TakeError::Refused { path: socket.to_owned(), why })?;
    Ok(listener)
}

/// Serves until SIGTERM or SIGINT, then leaves the outputs at their safe levels.
/// The lines were requested with their safe values already.
///
/// # Errors
/// [`ServeError::Line`] when a line fails.
pub fn serve(listener: UnixListener, lines: Arc<dyn Lines>, config: HandConfig) -> Result<(), ServeError> {
    let (arrive, arrivals) = sync_channel(QUEUE);
    let active = lines.active_inputs()?;
    let safe = config.safe_levels();
    let mut hand = Hand::new(config, &active, mono_us());
    let (watched, watching) = (Arc::clone(&lines), arrive.clone());
    std::thread::spawn(move || watch_inputs(watched.as_ref(), active, &watching));
    let stopping = arrive.clone();
    std::thread::spawn(move || wait_for_stop(&stopping));
    std::thread::spawn(move || accept(&listener, &arrive));
    run(&mut hand, lines.as_ref(), &arrivals)?;
    Ok(lines.set(safe)?)
}

fn run(hand: &mut Hand, lines: &dyn Lines, arrivals: &Receiver<Arrival>) -> Result<(), ServeError> {
    let mut control: Option<(u64, UnixStream)> = None;
    let mut shown = None;
    loop {
        let now = mono_us();
        show(lines, hand.levels(now), &mut shown)?;
        let wait = hand.next_wake(now).map_or(REREAD, |at| Duration::from_micros(at.saturating_sub(now)));
        let mut malformed = None;
        let event = match arrivals.recv_timeout(wait) {
            Ok(Arrival::Connected(id, stream)) => {
                if let Some((_, old)) = control.replace((id, stream)) {
                    hang_up(&old);
                }
                HandEvent::Connected
            }
            Ok(Arrival::Line(id, line)) if is_in_control(control.as_ref(), id) => {
                match serde_json::from_slice::<Command>(&line) {
                    Ok(command) => HandEvent::Command(command),
                    Err(why) => {
                        malformed = Some(Message::Malformed { why: why.to_string() });
                        HandEvent::Tick
                    }
                }
            }
            Ok(Arrival::Closed(id)) if is_in_control(control.as_ref(), id) => {
                control = None;
                HandEvent::Disconnected
            }
            // The last words of a connection that lost control.
            Ok(Arrival::Line(..) | Arrival::Closed(_)) => HandEvent::Tick,
            Ok(Arrival::Edge(edge)) => {
                HandEvent::Edge { input: edge.input, active: edge.active, mono_us: edge.mono_us }
            }
            Ok(Arrival::LinesFailed(why)) => return Err(why.into()),
            Ok(Arrival::Stop) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => HandEvent::Tick,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(LineError::Failed("nobody watches the inputs any more".to_owned()).into());
            }
        };
        let now = mono_us();
        let said = hand.handle(event, now);
        // Lines first, words later: nobody hears of a level that is not there yet.
        show(lines, hand.levels(now), &mut shown)?;
        let lost = match &mut control {
            Some((_, stream)) => said.iter().chain(&malformed).any(|message| tell(stream, message).is_err()),
            None => false,
        };
        if lost && let Some((_, stream)) = control.take() {
            // A client that does not read is as good as gone; the hand never waits for it.
            hang_up(&stream);
            hand.handle(HandEvent::Disconnected, mono_us());
        }
    }
}

fn show(lines: &dyn Lines, levels: Levels, shown: &mut Option<Levels>) -> Result<(), LineError> {
    if *shown != Some(levels) {
        lines.set(levels)?;
        *shown = Some(levels);
    }
    Ok(())
}

fn is_in_control(control: Option<&(u64, UnixStream)>, id: u64) -> bool {
    control.is_some_and(|(controlling, _)| *controlling == id)
}

fn tell(stream: &mut UnixStream, message: &Message) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// A failure means that the other side hung up first.
fn hang_up(stream: &UnixStream) {
    drop(stream.shutdown(std::net::Shutdown::Both));
}

fn accept(listener: &UnixListener, arrive: &SyncSender<Arrival>) {
    for (id, stream) in (0_u64..).zip(listener.incoming()) {
        let Ok(stream) = stream else { continue };
        let Ok(reading) = stream.try_clone() else {
            continue;
        };
        // A client that does not read may not stretch a pulse by more than this.
        if stream.set_write_timeout(Some(Duration::from_millis(10))).is_err() {
            continue;
        }
        if arrive.send(Arrival::Connected(id, stream)).is_err() {
            return;
        }
        let arrive = arrive.clone();
        std::thread::spawn(move || read_lines(id, reading, &arrive));
    }
}

fn read_lines(id: u64, stream: UnixStream, arrive: &SyncSender<Arrival>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line);
        if read.is_err() || line.last() != Some(&b'\n') {
            break;
        }
        if arrive.send(Arrival::Line(id, line)).is_err() {
            return;
        }
    }
    drop(arrive.send(Arrival::Closed(id)));
}

fn wait_for_stop(arrive: &SyncSender<Arrival>) {
    let waited = tokio::runtime::Builder::new_current_thread().enable_io().build().and_then(|runtime| {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            Ok(())
        })
    });
    match waited {
        Ok(()) => drop(arrive.send(Arrival::Stop)),
        // Then a signal ends the process by default, and the kernel takes the lines back.
        Err(why) => tracing::warn!(%why, "signals cannot be watched"),
    }
}
