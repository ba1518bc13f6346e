//! The program itself: it starts with nothing configured, stops when told, and says what is wrong and what to do.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cloud-sync-command-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-sync"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("NOTIFY_SOCKET");
    command
}

fn ends(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(arguments).output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout),
    )
}

/// Starts the service and waits until it says that it serves, and where.
fn serve(data: &Path) -> (Child, String, BufReader<std::process::ChildStderr>) {
    let data = data.to_str().unwrap();
    let mut child = command(&["serve", "--data", data, "--listen", "127.0.0.1:0", "--log-json"]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"serving\"") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it served");
    }
    let address = line.split("\"address\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    (child, address, log)
}

fn get(address: &str, path: &str) -> String {
    use std::io::Write;
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_starts_with_nothing_configured_and_ends_when_told() {
    let folder = Folder::new("start");
    let (mut child, address, mut log) = serve(&folder.0);
    assert!(get(&address, "/health").contains("\"status\":\"ok\""));
    assert!(get(&address, "/v1/setup").contains("{\"owner_exists\":false}"));
    let (code, said) = ends(&["serve", "--data", folder.0.to_str().unwrap(), "--listen", &address]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("another program listens there") && said.contains("--listen"), "{said}");
    // A request that never ends does not keep the service alive.
    let mut held = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut held, b"POST /v1/session HTTP/1.1\r\nHost: x\r\nX-Requested-With: gate-dashboard\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        .unwrap();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("stopping"), "{rest}");
}

#[test]
fn a_proxy_that_was_forgotten_is_named_at_the_start() {
    for (proxy, named) in [(false, true), (true, false)] {
        let folder = Folder::new("proxy");
        let data = folder.0.to_str().unwrap();
        let mut arguments = vec![
            "serve",
            "--data",
            data,
            "--listen",
            "127.0.0.1:0",
            "--public-url",
            "https://gates.example",
            "--log-json",
        ];
        if proxy {
            arguments.push("--behind-proxy");
        }
        let mut child = command(&arguments).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut said, mut line) = (String::new(), String::new());
        while !line.contains("\"serving\"") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it served: {said}");
            said.push_str(&line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(said.contains("\"ERROR\"") && said.contains("--behind-proxy"), named, "{said}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_cure() {
    let folder = Folder::new("wrong");
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    std::fs::write(path("file"), b"x").unwrap();
    let made = |name: &str| {
        let (code, said) = ends(&["init", "--data", &path(name)]);
        assert_eq!(code, Some(0), "{said}");
        path(name)
    };
    let spoiled = made("spoiled");
    std::fs::write(format!("{spoiled}/cloud.db"), b"no database ".repeat(1000)).unwrap();
    let _ = std::fs::remove_file(format!("{spoiled}/cloud.db-wal"));
    // A file that is no database of ours is named as such, also where its key is missing.
    let both = made("both");
    std::fs::copy(format!("{spoiled}/cloud.db"), format!("{both}/cloud.db")).unwrap();
    let _ = std::fs::remove_file(format!("{both}/cloud.db-wal"));
    std::fs::remove_file(format!("{both}/master.key")).unwrap();
    let foreign = path("foreign");
    std::fs::create_dir_all(&foreign).unwrap();
    rusqlite::Connection::open(format!("{foreign}/cloud.db")).unwrap().execute_batch("CREATE TABLE notes (x)").unwrap();
    let before = std::fs::read(format!("{foreign}/cloud.db")).unwrap();
    let keyless = made("keyless");
    std::fs::remove_file(format!("{keyless}/master.key")).unwrap();
    let open = made("open");
    std::fs::set_permissions(format!("{open}/master.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    for (name, arguments, code, words) in [
        ("folder is a file", vec!["serve", "--data", &path("file"), "--listen", "127.0.0.1:0"], 3, "--data"),
        (
            "damaged database",
            vec!["serve", "--data", &spoiled, "--listen", "127.0.0.1:0"],
            5,
            "restore it from a backup",
        ),
        (
            "damaged database without its key",
            vec!["serve", "--data", &both, "--listen", "127.0.0.1:0"],
            5,
            "restore it from a backup",
        ),
        (
            "another program's database",
            vec!["serve", "--data", &foreign, "--listen", "127.0.0.1:0"],
            5,
            "another program's database",
        ),
        (
            "no master key",
            vec!["serve", "--data", &keyless, "--listen", "127.0.0.1:0"],
            5,
            "restore it from its backup",
        ),
        ("key for everybody", vec!["serve", "--data", &open, "--listen", "127.0.0.1:0"], 5, "chmod 600"),
        ("open to the network", vec!["serve", "--data", &path("a"), "--listen", "0.0.0.0:0"], 3, "--behind-proxy"),
        (
            "no such address",
            vec!["serve", "--data", &path("b"), "--listen", "192.0.2.1:1"],
            4,
            "choose another --listen",
        ),
        (
            "plain http",
            vec!["serve", "--data", &path("c"), "--listen", "127.0.0.1:0", "--public-url", "http://gates.example"],
            3,
            "https://",
        ),
        ("no address", vec!["serve", "--listen", "nonsense"], 2, "--listen"),
    ] {
        let (found, said) = ends(&arguments);
        assert_eq!(found, Some(code), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
    }
    assert_eq!(std::fs::read(format!("{foreign}/cloud.db")).unwrap(), before, "nothing was written into it");
    assert!(!Path::new(&format!("{foreign}/master.key")).exists());
    let (code, said) = ends(&["openapi"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("\"openapi\": \"3.1"), "{}", &said[..200]);
}

#[test]
fn numbers_are_made_anew_and_a_restored_backup_is_announced_on_an_operators_word() {
    let folder = Folder::new("rebuild");
    let data = folder.0.join("data").to_str().unwrap().to_owned();
    for verb in ["rebuild", "restored"] {
        let (code, said) = ends(&[verb, "--data", &data]);
        assert_eq!(code, Some(3), "{verb} makes no folder: {said}");
        assert!(said.contains("--data"), "{said}");
    }
    assert_eq!(ends(&["init", "--data", &data]).0, Some(0));
    assert_eq!(ends(&["rebuild", "--data", &data]).0, Some(0));
    let (code, said) = ends(&["restored", "--data", &data]);
    assert_eq!(code, Some(0));
    assert!(said.contains("0 gates"), "{said}");
}
