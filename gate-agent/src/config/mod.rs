//! What is configured at a gate, understood once.
//!
//! [`Config::parse`] reports every problem together, each with its line and its cure; afterwards no value is optional or
//! doubtful. The file is what was typed (`read.rs`), this is what it means.

mod read;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::replica::Limits;
pub use read::Problem;
use read::Section;

/// The commented file that `gate-agent config default` prints.
pub const DEFAULT: &str = include_str!("default.toml");

/// A gate's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where the replica, the journal and the device key are kept.
    pub data_dir: PathBuf,
    /// The cloud's address, without a trailing slash.
    pub cloud_url: String,
    /// The eye.
    pub camera: Camera,
    /// The hand's socket.
    pub gate_io: PathBuf,
    /// Inputs that are wired.
    pub lane: LaneInputs,
    /// Where the touchscreen page is served; loopback.
    pub screen: SocketAddr,
    /// Exists while NTP disciplines the clock.
    pub ntp_marker: PathBuf,
    /// What is logged, and how.
    pub log: Log,
    /// Space held free for staff and exits, MB.
    pub reserve_mb: u32,
    /// Space the database may use, MB.
    pub database_mb: u32,
    /// Most that sync may use of the network, kilobits a second; 0: no limit.
    pub limit_kbit_s: u32,
}

/// The eye.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Camera {
    /// `v4l2:PATH` or `replay:PATH`.
    pub source: String,
    /// The gate-reader program; `None`: beside this one.
    pub reader: Option<PathBuf>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Milliseconds after which a decode is killed.
    pub decode_limit_ms: u32,
    /// Further arguments for gate-reader.
    pub arguments: Vec<String>,
}

/// Inputs that are wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LaneInputs {
    /// Presence loop or light barrier.
    pub presence: bool,
    /// Barrier position.
    pub barrier: bool,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// `error`, `warn`, `info` or `debug`.
    pub level: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}

/// A configuration that can't be used, with everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read {}: {why}. Write one with `gate-agent config default > {}`", path.display(), path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// The file has mistakes.
    #[error("{}", list(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Each of them.
        problems: Vec<Problem>,
    },
}

fn list(path: &Path, problems: &[Problem]) -> String {
    let mut text = format!("{} has {} problem(s):", path.display(), problems.len());
    for problem in problems {
        text.push_str(&format!("\n  line {}: {}", problem.line, problem.message));
    }
    text
}

/// A configuration file larger than this is not one, bytes.
const SIZE_LIMIT: u64 = 64 * 1024;

impl Config {
    /// Reads and understands a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |why| ConfigError::Unreadable { path: path.to_owned(), why };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > SIZE_LIMIT {
            return Err(unreadable(std::io::Error::other(format!("{size} bytes is too large for a configuration"))));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|e| {
            unreadable(std::io::Error::other(format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to())))
        })?;
        Self::parse(&text).map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
    }

    /// Understands a text, or says everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        // A file edited on Windows begins with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (mut top, mut problems) = Section::parse(text);
        let found = &mut problems;

        let data_dir = top.path("data_dir", found);
        let cloud_url = top.text("cloud_url", found, check_url);
        let mut camera = top.section("camera", found);
        let source = camera.text("source", found, check_source);
        let reader = camera.text("reader", found, |_| Ok(()));
        let width = camera.number("width", 160..=4096, found);
        let height = camera.number("height", 120..=4096, found);
        let decode_limit_ms = camera.number("decode_limit_ms", 20..=5000, found);
        let arguments = camera.texts("arguments", found);
        camera.finish(found);
        let mut gate_io = top.section("gate_io", found);
        let socket = gate_io.path("socket", found);
        gate_io.finish(found);
        let mut lane = top.section("lane", found);
        let presence = lane.switch("presence", found);
        let barrier = lane.switch("barrier", found);
        lane.finish(found);
        let mut storage = top.section("storage", found);
        let reserve_mb = storage.number("reserve_mb", 0..=4096, found);
        let database_mb = storage.number("database_mb", 0..=1_000_000, found);
        storage.finish(found);
        let mut sync = top.section("sync", found);
        let limit_kbit_s = sync.number("limit_kbit_s", 0..=1_000_000, found);
        sync.finish(found);
        let mut screen = top.section("screen", found);
        let listen = screen.parsed("listen", found, |text| match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(address),
            Ok(_) => Err("the touchscreen page is for this machine only: use 127.0.0.1 or [::1]".to_owned()),
            Err(_) => Err("write an address and a port, for example \"127.0.0.1:8080\"".to_owned()),
        });
        screen.finish(found);
        let mut clock = top.section("clock", found);
        let ntp_marker = clock.path("ntp_marker", found);
        clock.finish(found);
        let mut log = top.section("log", found);
        let level = log.one_of("level", &["error", "warn", "info", "debug"], found);
        let format = log.one_of("format", &["text", "json"], found);
        log.finish(found);
        top.finish(found);

        if !problems.is_empty() {
            problems.sort_by_key(|problem| problem.line);
            return Err(problems);
        }
        Ok(Self {
            data_dir,
            cloud_url: cloud_url.trim_end_matches('/').to_owned(),
            camera: Camera {
                source,
                reader: if reader.is_empty() { None } else { Some(PathBuf::from(reader)) },
                width,
                height,
                decode_limit_ms,
                arguments,
            },
            gate_io: socket,
            lane: LaneInputs { presence, barrier },
            // Every failure above left a problem, and there is none.
            screen: listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            ntp_marker,
            log: Log { level, json: format == "json" },
            reserve_mb,
            database_mb,
            limit_kbit_s,
        })
    }

    /// How much space the gate may use and must keep.
    pub fn limits(&self) -> Limits {
        let bytes = |mb: u32| u64::from(mb) * 1_000_000;
        Limits { reserve_bytes: bytes(self.reserve_mb), journal_bytes: bytes(self.database_mb) }
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("replica.db")
    }
}

/// The host must be named, and plain http is for this machine.
fn check_url(url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").ok_or("write https:// and the name of the cloud service")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains('@') || host.chars().any(char::is_whitespace) {
        return Err("there is no host name in this address".to_owned());
    }
    let name = if host.starts_with('[') {
        host.split(']').next().map(|h| format!("{h}]"))
    } else {
        host.split(':').next().map(str::to_owned)
    };
    let local = matches!(name.as_deref(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match scheme {
        "https" => Ok(()),
        "http" if local => Ok(()),
        "http" => Err("plain http would let anybody on the way read and change it: write https".to_owned()),
        _ => Err("write https:// and the name of the cloud service".to_owned()),
    }
}

fn check_source(source: &str) -> Result<(), String> {
    match source.split_once(':') {
        Some(("v4l2" | "replay", path)) if !path.is_empty() => Ok(()),
        Some(_) | None => Err("write \"v4l2:/dev/v4l/by-id/…\" or \"replay:DIR\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_a_good_one_also_with_windows_line_ends_and_a_byte_order_mark() {
        let config = Config::parse(DEFAULT).unwrap();
        assert_eq!(config.camera.width, 1280);
        let windows = format!("\u{feff}{}", DEFAULT.replace('\n', "\r\n"));
        assert_eq!(Config::parse(&windows).unwrap(), config);
    }

    #[test]
    fn every_value_has_a_default_but_the_cloud() {
        let problems = Config::parse("").unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].message.contains("cloud_url"));
    }

    #[test]
    fn all_problems_are_told_together_with_their_lines() {
        let text = "cloud_url = \"http://gates.example\"\ncolour = \"red\"\n[camera]\nsource = \"usb\"\nwidht = 3\nheight = 5\n[screen]\nlisten = \"0.0.0.0:80\"\n[log]\nlevel = \"loud\"\n[gate_io]\nsocket = 5\n";
        let problems = Config::parse(text).unwrap_err();
        let told: Vec<_> = problems.iter().map(|p| (p.line, p.message.as_str())).collect();
        for (line, word) in [
            (1, "https"),
            (2, "colour"),
            (4, "v4l2"),
            (5, "did you mean \"width\""),
            (6, "120"),
            (8, "this machine"),
            (10, "debug"),
            (12, "text"),
        ] {
            assert!(
                told.iter().any(|(l, m)| *l == line && m.contains(word)),
                "line {line} should tell of {word}: {told:?}"
            );
        }
        assert_eq!(told.len(), 8, "{told:?}");
    }

    #[test]
    fn hostile_files_are_told_not_obeyed() {
        for text in [
            "[[[",
            "cloud_url = 'https://a'\ncloud_url = 'https://b'",
            "camera = 5\ncloud_url='https://a'",
            "\u{0}",
            "cloud_url = \"https:// a\"",
        ] {
            assert!(Config::parse(text).is_err(), "{text:?}");
        }
        let deep = format!("cloud_url = 'https://a'\nx = {}", "[".repeat(5000));
        assert!(Config::parse(&deep).is_err());
    }
}
