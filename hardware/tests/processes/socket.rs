//! Where gate-io listens: it takes the place of a dead one, and never that of a living one or of anything else.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use hardware::gate_io::HandConfig;
use hardware::lines::simulated::{Board, ReleaseModel};

use crate::{SOON, gate_io};

/// A gate's folder with a board; nothing runs yet.
fn gate() -> (tempfile::TempDir, Board) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gate-io.toml"), HandConfig::example().to_toml().unwrap()).unwrap();
    let board = Board::listen(&folder.path().join("board"), ReleaseModel::Strict, None).unwrap();
    (folder, board)
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(gate_io());
    command
        .arg("--socket")
        .arg(folder.join("socket"))
        .arg("--lines")
        .arg(format!("simulated:{}", folder.join("board").display()))
        .arg("--config")
        .arg(folder.join("gate-io.toml"));
    command
}

/// A running gate-io that has its lines.
struct Running(Child);

impl Running {
    fn start(folder: &Path, board: &Board) -> Self {
        let running = Self(command(folder).spawn().unwrap());
        assert!(board.wait_held("relay", true, SOON), "gate-io did not take its lines");
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts a gate-io that is to refuse; gives what it said.
fn refused(folder: &Path) -> String {
    let Output { status, stderr, .. } = command(folder).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    said
}

#[test]
fn nothing_but_a_socket_is_removed() {
    let (folder, board) = gate();
    let socket = folder.path().join("socket");
    std::fs::write(&socket, "somebody's data").unwrap();
    let said = refused(folder.path());
    assert!(said.contains(&format!("{} is a file, not a socket", socket.display())), "{said}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "somebody's data");
    assert_eq!(board.level("relay"), None, "it touched the lines first");
    std::fs::remove_file(&socket).unwrap();
    std::fs::create_dir(&socket).unwrap();
    let said = refused(folder.path());
    assert!(said.contains("is a folder, not a socket"), "{said}");
    assert!(socket.is_dir());
}

#[test]
fn a_living_gate_io_keeps_its_socket_and_hears_nothing() {
    use std::io::{BufRead, BufReader, Write};
    let (folder, board) = gate();
    let first = Running::start(folder.path(), &board);
    let socket = folder.path().join("socket");
    let mut brain = UnixStream::connect(&socket).unwrap();
    brain.set_read_timeout(Some(SOON)).unwrap();
    let mut heard = BufReader::new(brain.try_clone().unwrap()).lines();
    assert!(heard.next().unwrap().unwrap().contains("hello"));
    // Other lines, so that only the socket stands in the way of the second.
    let elsewhere = Board::listen(&folder.path().join("elsewhere"), ReleaseModel::Strict, None).unwrap();
    std::fs::rename(folder.path().join("board"), folder.path().join("first board")).unwrap();
    std::fs::rename(folder.path().join("elsewhere"), folder.path().join("board")).unwrap();
    let said = refused(folder.path());
    assert!(said.contains(&format!("is held by gate-io (process {})", first.0.id())), "{said}");
    assert_eq!(elsewhere.level("relay"), None, "it touched the lines first");
    // A connection would have taken command from the brain, which then would read the end here.
    brain.write_all(b"{\"do\":\"query\",\"event\":\"e\"}\n").unwrap();
    assert!(heard.next().unwrap().unwrap().contains(r#""result":"unknown""#));
}

#[test]
fn what_a_dead_gate_io_left_makes_way() {
    let (folder, board) = gate();
    let socket = folder.path().join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(UnixStream::connect(&socket).is_err(), "somebody answers");
    let _running = Running::start(folder.path(), &board);
    UnixStream::connect(&socket).unwrap();
}
