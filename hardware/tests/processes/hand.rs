//! The hand at a gate: the real gate-io, the real client, and a board that tells what the relay really did.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use hardware::clock::mono_us;
use hardware::gate_io::{
    Answer, GateIo, HandConfig, Hello, IoCommands, IoDown, IoEvent, Pattern, PulseResult, SafeWhy,
};
use hardware::lines::Input;
use hardware::lines::simulated::{self, Board, Edge, EdgeBy, ReleaseModel};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{SOON, board_sim, gate_io};

/// A pulse that outlasts every test.
const LONG_MS: u32 = 60_000;

/// A board and the gate-io on it.
struct Rig {
    folder: tempfile::TempDir,
    board: Board,
    hand: Child,
}

impl Rig {
    fn new(model: ReleaseModel) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = HandConfig { pulse_max_ms: LONG_MS, ..HandConfig::example() };
        std::fs::write(folder.path().join("gate-io.toml"), config.to_toml().unwrap()).unwrap();
        let board = Board::listen(&folder.path().join("board"), model, None).unwrap();
        let hand = start(folder.path());
        let rig = Self { folder, board, hand };
        assert!(rig.board.wait_held("relay", true, SOON), "gate-io did not take its lines");
        rig
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn kill(&mut self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.hand.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        self.hand.wait().unwrap();
    }

    fn restart(&mut self) {
        self.hand = start(self.folder.path());
        assert!(self.board.wait_held("relay", true, SOON), "gate-io did not come back");
    }

    fn wait_relay(&self, on: bool) {
        assert!(self.board.wait_level("relay", on, SOON), "the relay did not go {on}");
    }

    /// The first edge of the relay to `level` after a moment.
    fn relay_edge(&self, level: bool, after_us: u64) -> Edge {
        let is_it = |edge: &&Edge| edge.line == "relay" && edge.level == level && edge.mono_us >= after_us;
        let edges = self.board.wait_edges(SOON, |edges| edges.iter().any(|edge| is_it(&edge)));
        edges.expect("the relay did not move").iter().find(is_it).unwrap().clone()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.hand.kill().ok();
        self.hand.wait().ok();
    }
}

fn start(folder: &Path) -> Child {
    Command::new(gate_io())
        .arg("--socket")
        .arg(folder.join("socket"))
        .arg("--lines")
        .arg(format!("simulated:{}", folder.join("board").display()))
        .arg("--config")
        .arg(folder.join("gate-io.toml"))
        .spawn()
        .unwrap()
}

/// A brain whose decision loop is alive until it is dropped.
struct Brain {
    io: GateIo,
    heart: JoinHandle<()>,
}

impl Brain {
    async fn at(rig: &Rig) -> Self {
        let io = GateIo::connect(rig.socket());
        let heart = tokio::spawn(beat(io.commands()));
        let mut brain = Self { io, heart };
        brain.until("up", |event| matches!(event, IoEvent::Up { .. }).then_some(())).await;
        brain
    }

    async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(IoEvent) -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = wanted(self.io.next().await) {
                    return found;
                }
            }
        };
        timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"))
    }

    /// Pulses once the first heartbeat has arrived; says what became of it.
    async fn pulse(&mut self, event: &str, ms: u32) -> PulseResult {
        loop {
            if self.io.pulse(event, ms).is_err() {
                self.until("up", |event| matches!(event, IoEvent::Up { .. }).then_some(())).await;
                continue;
            }
            let result = self.result(event).await;
            if result != PulseResult::RefusedNoHeartbeat {
                return result;
            }
        }
    }

    async fn result(&mut self, wanted: &str) -> PulseResult {
        self.until("a pulse", |event| match event {
            IoEvent::Pulse { event, result } if event == wanted => Some(result),
            _ => None,
        })
        .await
    }

    async fn answer(&mut self, wanted: &str) -> Answer {
        self.io.query(wanted).unwrap();
        self.until("an answer", |event| match event {
            IoEvent::Answer { event, result } if event == wanted => Some(result),
            _ => None,
        })
        .await
    }
}

impl Drop for Brain {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

async fn beat(commands: IoCommands) {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    loop {
        every.tick().await;
        // While the hand is away there is nothing to keep alive.
        commands.heartbeat(true).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulse_moves_the_relay_once_and_for_about_as_long_as_asked() {
    let rig = Rig::new(ReleaseModel::Strict);
    let mut brain = Brain::at(&rig).await;
    assert_eq!(brain.pulse("e1", 200).await, PulseResult::Started);
    assert_eq!(brain.result("e1").await, PulseResult::Done);
    assert_eq!(brain.pulse("e1", 200).await, PulseResult::RefusedRepeat);
    assert_eq!(brain.answer("e1").await, Answer::Done);
    let relay: Vec<Edge> = rig.board.edges().into_iter().filter(|edge| edge.line == "relay").collect();
    assert_eq!(relay.len(), 2, "{relay:?}");
    let on_ms = (relay[1].mono_us - relay[0].mono_us) / 1_000;
    // The exact length is a promise of the pure hand; a busy machine may be late by a scheduling delay at either edge.
    assert!((100..1_200).contains(&on_ms), "the relay was on for {on_ms} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_hand_lets_go_of_the_relay_where_the_kernel_does() {
    let mut rig = Rig::new(ReleaseModel::Strict);
    let mut brain = Brain::at(&rig).await;
    assert_eq!(brain.pulse("e1", LONG_MS).await, PulseResult::Started);
    rig.wait_relay(true);
    let killed_us = mono_us();
    rig.kill(Signal::KILL);
    let off = rig.relay_edge(false, killed_us);
    assert_eq!(off.by, EdgeBy::Release);
    let late_ms = (off.mono_us - killed_us) / 1_000;
    assert!(late_ms <= 500, "the relay was on for {late_ms} ms after the kill");
    brain.until("the loss", |event| matches!(event, IoEvent::Lost { .. }).then_some(())).await;
    assert_eq!(brain.io.pulse("e2", 100), Err(IoDown));
    rig.restart();
    brain.until("up", |event| matches!(event, IoEvent::Up { .. }).then_some(())).await;
    // What it did before the kill is not known to it any more, and what it was not there for is not done late.
    assert_eq!(brain.answer("e1").await, Answer::Unknown);
    assert_eq!(brain.answer("e2").await, Answer::Unknown);
    assert_eq!(rig.board.level("relay"), Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_hand_makes_a_relay_safe_that_the_kernel_left_on() {
    let mut rig = Rig::new(ReleaseModel::Persist);
    let mut brain = Brain::at(&rig).await;
    assert_eq!(brain.pulse("e1", LONG_MS).await, PulseResult::Started);
    rig.wait_relay(true);
    rig.kill(Signal::KILL);
    assert!(rig.board.wait_held("relay", false, SOON));
    assert_eq!(rig.board.level("relay"), Some(true), "this model keeps driving");
    let started_us = mono_us();
    rig.restart();
    let off = rig.relay_edge(false, started_us);
    assert_eq!(off.by, EdgeBy::Client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_that_is_asked_to_end_leaves_its_outputs_safe() {
    let mut rig = Rig::new(ReleaseModel::Persist);
    let mut brain = Brain::at(&rig).await;
    assert_eq!(brain.pulse("e1", LONG_MS).await, PulseResult::Started);
    rig.wait_relay(true);
    rig.kill(Signal::TERM);
    assert!(rig.board.wait_held("relay", false, SOON));
    assert_eq!((rig.board.level("relay"), rig.board.level("red")), (Some(false), Some(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brain_that_dies_takes_its_pulse_with_it() {
    let rig = Rig::new(ReleaseModel::Strict);
    let mut brain = Brain::at(&rig).await;
    assert_eq!(brain.pulse("e1", LONG_MS).await, PulseResult::Started);
    rig.wait_relay(true);
    drop(brain);
    rig.wait_relay(false);
    // Another brain is told what became of it.
    let io = &mut GateIo::connect(rig.socket());
    let Ok(IoEvent::Up(Hello { last_pulses, .. })) = timeout(SOON, io.next()).await else { panic!("no hello") };
    assert_eq!(last_pulses.last().map(|past| (past.event.as_str(), past.result)), Some(("e1", Answer::Done)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brain_that_hangs_loses_the_relay_within_its_heartbeat() {
    let rig = Rig::new(ReleaseModel::Strict);
    let mut brain = Brain::at(&rig).await;
    brain.io.lamps(Pattern::Green).unwrap();
    assert_eq!(brain.pulse("e1", LONG_MS).await, PulseResult::Started);
    rig.wait_relay(true);
    brain.heart.abort();
    let hung_us = mono_us();
    let off = rig.relay_edge(false, hung_us);
    let late_ms = (off.mono_us - hung_us) / 1_000;
    // 750 ms and the scheduling delay of a busy machine.
    assert!(late_ms <= 1_500, "the relay was on for {late_ms} ms without a heartbeat");
    let why = brain.until("safe", |event| match event {
        IoEvent::Safe { why } => Some(why),
        _ => None,
    });
    assert_eq!(why.await, SafeWhy::Heartbeat);
    assert!(rig.board.wait_level("red", true, SOON));
    // Once the brain is back, so are its lamps: it need not know that they were dark.
    brain.heart = tokio::spawn(beat(brain.io.commands()));
    assert!(rig.board.wait_level("green", true, SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_opens_without_a_brain_and_stays_open() {
    let rig = Rig::new(ReleaseModel::Strict);
    rig.board.drive("fire", true);
    rig.wait_relay(true);
    let mut brain = Brain::at(&rig).await;
    rig.board.drive("fire", false);
    let quiet = |event| matches!(event, IoEvent::Input { input: Input::Fire, active: false, .. }).then_some(());
    brain.until("the end of the fire", quiet).await;
    brain.io.safe().unwrap();
    assert_eq!(brain.pulse("e1", 100).await, PulseResult::RefusedBusy);
    assert_eq!(rig.board.level("relay"), Some(true));
    brain.io.reset_fire().unwrap();
    brain.until("the reset", |event| (event == IoEvent::Fire { latched: false }).then_some(())).await;
    rig.wait_relay(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_opens_within_100_ms() {
    const ROUNDS: usize = 7;
    let rig = Rig::new(ReleaseModel::Strict);
    let mut brain = Brain::at(&rig).await;
    let mut took_us = Vec::new();
    for _ in 0..ROUNDS {
        let from_us = mono_us();
        rig.board.drive("fire", true);
        // Both stamps are the board's: what the wires did, with the debouncing of the input in between.
        let relay = rig.relay_edge(true, from_us);
        let edges = rig.board.edges();
        let fire = edges.iter().find(|edge| edge.line == "fire" && edge.level && edge.mono_us >= from_us).unwrap();
        took_us.push(relay.mono_us - fire.mono_us);
        rig.board.drive("fire", false);
        let quiet = |event| matches!(event, IoEvent::Input { input: Input::Fire, active: false, .. }).then_some(());
        brain.until("the end of the fire", quiet).await;
        brain.io.reset_fire().unwrap();
        rig.wait_relay(false);
    }
    took_us.sort_unstable();
    let debounce_us = u64::from(HandConfig::example().inputs.fire.unwrap().debounce_ms) * 1_000;
    assert!(took_us[0] >= debounce_us, "a bounce would have opened: {took_us:?} us");
    // The middle of a few: one may meet a busy machine.
    assert!(took_us[ROUNDS / 2] <= 100_000, "from fire to relay: {took_us:?} us");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_lamps_are_lit_at_once_on_the_wires() {
    let rig = Rig::new(ReleaseModel::Strict);
    let mut brain = Brain::at(&rig).await;
    // Lamps are taken from a living brain only: after this its heart has been heard.
    assert_eq!(brain.pulse("e1", 1).await, PulseResult::Started);
    let steady = [(Pattern::Red, "red"), (Pattern::Yellow, "yellow"), (Pattern::Green, "green")];
    let every_change = steady.iter().flat_map(|from| steady.iter().map(move |to| [from, to]));
    for (pattern, lamp) in every_change.flatten() {
        brain.io.lamps(*pattern).unwrap();
        assert!(rig.board.wait_level(lamp, true, SOON), "{pattern:?}");
    }
    assert_eq!(lit_at_once(&rig.board.edges()), 1);
}

/// The most lamps that were lit between two edges.
fn lit_at_once(edges: &[Edge]) -> usize {
    let mut lit = std::collections::BTreeSet::new();
    let counts = edges.iter().filter(|edge| ["red", "yellow", "green"].contains(&edge.line.as_str())).map(|edge| {
        if edge.level {
            lit.insert(edge.line.clone());
        } else {
            lit.remove(&edge.line);
        }
        lit.len()
    });
    counts.max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_told_with_the_time_of_the_wire() {
    let rig = Rig::new(ReleaseModel::Strict);
    let mut brain = Brain::at(&rig).await;
    rig.board.drive("presence", true);
    let told_us = brain.until("presence", |event| match event {
        IoEvent::Input { input: Input::Presence, active: true, mono_us } => Some(mono_us),
        _ => None,
    });
    let told_us = told_us.await;
    let edges = rig.board.edges();
    let wire = edges.iter().find(|edge| edge.line == "presence").unwrap();
    assert_eq!(told_us, wire.mono_us);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failsafe_command_takes_over_and_makes_safe() {
    let rig = Rig::new(ReleaseModel::Strict);
    let mut brain = Brain::at(&rig).await;
    assert_eq!(brain.pulse("e1", LONG_MS).await, PulseResult::Started);
    rig.wait_relay(true);
    let asked = Command::new(gate_io()).arg("--socket").arg(rig.socket()).arg("--safe").status().unwrap();
    assert!(asked.success());
    assert_eq!(rig.board.level("relay"), Some(false));
    brain.until("the takeover", |event| matches!(event, IoEvent::Lost { .. }).then_some(())).await;
    let nobody = Command::new(gate_io()).args(["--socket", "/nonexistent/socket", "--safe"]).status().unwrap();
    assert!(!nobody.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_and_a_flood_is_cut_off() {
    let rig = Rig::new(ReleaseModel::Strict);
    // Once a client was greeted, the socket is there.
    drop(Brain::at(&rig).await);
    let mut stream = UnixStream::connect(rig.socket()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    assert!(answers.next().unwrap().unwrap().contains(r#""say":"hello""#));
    stream.write_all(b"open sesame\n").unwrap();
    assert!(answers.next().unwrap().unwrap().contains("malformed"));
    stream.write_all(b"{\"do\":\"heartbeat\"}\n{\"do\":\"pulse\",\"event\":\"e\",\"ms\":60000}\n").unwrap();
    rig.wait_relay(true);
    // The other side may hang up in the middle of this line.
    stream.write_all(&vec![b'x'; 64 * 1024]).ok();
    rig.wait_relay(false);
}

#[test]
fn a_hand_without_its_board_ends() {
    let mut rig = Rig::new(ReleaseModel::Strict);
    let elsewhere = rig.folder.path().join("elsewhere");
    let other = Board::listen(&elsewhere, ReleaseModel::Strict, None).unwrap();
    drop(std::mem::replace(&mut rig.board, other));
    assert!(!rig.hand.wait().unwrap().success());
}

#[test]
fn the_board_runs_as_a_process_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, edges) = (folder.path().join("board"), folder.path().join("edges.jsonl"));
    let mut board = Command::new(board_sim())
        .arg("--socket")
        .arg(&socket)
        .arg("--edges")
        .arg(&edges)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It says so once it listens.
    let mut said = BufReader::new(board.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("the board is there"));
    simulated::drive(&socket, "fire", true).unwrap();
    assert_eq!(simulated::level(&socket, "fire").unwrap(), Some(true));
    board.kill().unwrap();
    board.wait().unwrap();
    let edge: Edge = serde_json::from_str(std::fs::read_to_string(edges).unwrap().trim()).unwrap();
    assert_eq!((edge.line.as_str(), edge.level, edge.by), ("fire", true, EdgeBy::World));
}
