//! `gate-agent doctor`: everything a gate needs, each with what is wrong and how to mend it.
//!
//! It looks, it never repairs, and it works while the agent runs: the database is opened for reading only.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gate_core::time::Trust;
use serde::Serialize;

use crate::clock::{self, Clock};
use crate::config::Config;
use crate::identity::{self, MachineFiles};
use crate::replica::ReplicaReader;
use crate::sync::transport::describe;
use crate::{daemon, journal_check};

/// How a check went, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Good.
    Pass,
    /// Could not be checked on this machine or in this state.
    Skipped,
    /// Works, but somebody should look.
    Warn,
    /// Does not work.
    Fail,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its stable name, for `--only`.
    pub id: &'static str,
    /// How it went.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What to do, where something is to be done.
    pub fix: Option<String>,
}

/// All checks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this structure.
    pub schema: u8,
    /// Each check, in the order in which a person would look.
    pub checks: Vec<Check>,
}

impl Report {
    /// The worst state of all.
    pub fn worst(&self) -> State {
        self.checks
            .iter()
            .map(|check| check.state)
            .filter(|state| *state != State::Skipped)
            .max()
            .unwrap_or(State::Pass)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let word = match check.state {
                State::Pass => "ok     ",
                State::Skipped => "skipped",
                State::Warn => "WARNING",
                State::Fail => "FAILED ",
            };
            writeln!(f, "{word}  {:<12} {}", check.id, check.detail)?;
            if let Some(fix) = &check.fix {
                writeln!(f, "         {:<12} -> {fix}", "")?;
            }
        }
        let count = |state| self.checks.iter().filter(|check| check.state == state).count();
        write!(
            f,
            "{} ok, {} warnings, {} failed, {} skipped",
            count(State::Pass),
            count(State::Warn),
            count(State::Fail),
            count(State::Skipped)
        )
    }
}

fn pass(id: &'static str, detail: impl Into<String>) -> Check {
    Check { id, state: State::Pass, detail: detail.into(), fix: None }
}

fn bad(id: &'static str, state: State, detail: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { id, state, detail: detail.into(), fix: Some(fix.into()) }
}

/// The names of all checks, in their order.
pub const NAMES: [&str; 15] = [
    "config",
    "key",
    "sqlite",
    "database",
    "replica",
    "outbox",
    "disk",
    "clock",
    "camera",
    "reader",
    "gate_io",
    "gpio",
    "gpio_strict",
    "journal",
    "cloud",
];

/// Runs the checks; all of them, or those named. A configuration that can't be read is always told: nothing else could be
/// looked at.
pub async fn examine(config: &Path, only: &[String]) -> Report {
    let wanted = |id: &str| only.is_empty() || only.iter().any(|name| name == id);
    let mut checks = Vec::new();
    match Config::load(config) {
        Err(error) => checks.push(bad("config", State::Fail, error.to_string(), "mend the lines named above")),
        Ok(config) => {
            checks.push(pass("config", "the configuration is good"));
            checks.push(key(&config, &MachineFiles::here()));
            checks.extend(database(&config));
            checks.push(disk(&config));
            checks.push(clock_trust(&config));
            checks.push(camera(&config));
            checks.push(reader(&config));
            checks.push(gate_io(&config));
            checks.push(gpio());
            checks.push(persistent_outputs());
            checks.push(journal(&config));
            checks.push(cloud(&config).await);
        }
    }
    checks.retain(|check| wanted(check.id) || (check.id == "config" && check.state == State::Fail));
    Report { schema: 1, checks }
}

fn key(config: &Config, machine: &MachineFiles) -> Check {
    let path = identity::key_path(&config.data_dir);
    match std::fs::metadata(&path) {
        Err(_) => bad(
            "key",
            State::Fail,
            format!("there is no device key at {}", path.display()),
            "enrol this gate: `gate-agent enrol CODE`",
        ),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => bad(
            "key",
            State::Fail,
            format!("{} can be read by others (mode {:o})", path.display(), found.permissions().mode() & 0o777),
            format!("chmod 0400 {}; if others used this machine, revoke the device and enrol again", path.display()),
        ),
        Ok(_) => match identity::load_key_on(&config.data_dir, machine) {
            Ok(_) if identity::is_bound(&config.data_dir) => {
                pass("key", "the device key is there, sealed for this machine, and only this user can read it")
            }
            Ok(_) if machine.sources().is_empty() => bad(
                "key",
                State::Warn,
                "the device key is there and only this user can read it, but nothing names this machine: whoever copies its disk copies the key",
                "give the machine an /etc/machine-id (systemd-machine-id-setup) and restart the agent",
            ),
            Ok(_) => pass(
                "key",
                "the device key is there and only this user can read it; the next start of the agent seals it",
            ),
            Err(error) => {
                let cure = if error.is_other_machine() {
                    "put the card back into its machine; or stop the agent and run `gate-agent enrol CODE` with a code of this gate, which replaces the old device"
                } else {
                    "revoke the device in the dashboard and enrol again"
                };
                bad("key", State::Fail, error.to_string(), cure)
            }
        },
    }
}

fn database(config: &Config) -> Vec<Check> {
    let path = config.database();
    let mut checks = Vec::new();
    let version = rusqlite::version_number();
    checks.push(if version >= 3_051_003 && version != 3_052_000 {
        pass("sqlite", format!("SQLite {}", rusqlite::version()))
    } else {
        bad(
            "sqlite",
            State::Fail,
            format!("SQLite {} can damage a WAL database", rusqlite::version()),
            "build with the bundled SQLite",
        )
    });
    if !path.exists() {
        checks.push(bad(
            "database",
            State::Fail,
            format!("there is no database at {}", path.display()),
            "enrol this gate: `gate-agent enrol CODE`",
        ));
        return checks;
    }
    let mut reader = match ReplicaReader::open(&path) {
        Ok(reader) => reader,
        Err(error) => {
            checks.push(bad(
                "database",
                State::Fail,
                error.to_string(),
                "restart the agent, which heals it, or stop it and run `gate-agent salvage`",
            ));
            return checks;
        }
    };
    checks.push(match reader.check_whole() {
        Ok(()) => pass("database", "the whole file was checked: no damage"),
        Err(error) => bad(
            "database",
            State::Fail,
            error.to_string(),
            "restart the agent, which heals it, or stop it and run `gate-agent salvage`",
        ),
    });
    let mut time = daemon::time_keeper(&path, clock::boot_id());
    let (now, _) = time.now(Clock::new(&config.ntp_marker).read());
    match reader.status(now) {
        Err(error) => checks.push(bad(
            "replica",
            State::Fail,
            error.to_string(),
            "restart the agent, which heals it, or stop it and run `gate-agent salvage`",
        )),
        Ok(status) => {
            checks.push(match (&status.gate, status.age_ms) {
                (None, _) => bad(
                    "replica",
                    State::Fail,
                    "this gate has not heard of its settings yet",
                    "let it reach the cloud once",
                ),
                (Some(_), Some(age)) if age < 15 * 60 * 1000 => {
                    pass("replica", format!("{} s old, at change {}", age / 1000, status.position))
                }
                (Some(_), age) => bad(
                    "replica",
                    State::Warn,
                    age.map_or("its age is not known".to_owned(), |age| format!("{} min old", age / 60_000)),
                    "check the network; the gate goes on deciding meanwhile",
                ),
            });
            checks.push(if status.quarantined > 0 {
                bad(
                    "outbox",
                    State::Warn,
                    format!("{} events wait, {} are parked", status.pending, status.quarantined),
                    "look at the conflict inbox of the dashboard",
                )
            } else {
                pass("outbox", format!("{} events wait to be delivered", status.pending))
            });
        }
    }
    checks
}

/// Below this the gate still writes, but somebody should look, bytes.
const DISK_WARN: u64 = 256 * 1024 * 1024;
/// Below this there is no room for a busy day, bytes.
const DISK_FAIL: u64 = 32 * 1024 * 1024;

fn disk(config: &Config) -> Check {
    match rustix::fs::statvfs(&config.data_dir) {
        Err(error) => bad(
            "disk",
            State::Fail,
            format!("{}: {error}", config.data_dir.display()),
            "check that the data partition is mounted",
        ),
        Ok(found) => {
            let free = found.f_bavail * found.f_frsize;
            let detail = format!("{} MB free", free / 1_000_000);
            match free {
                0..DISK_FAIL => {
                    bad("disk", State::Fail, detail, "free space: without it the gate does not open by itself")
                }
                DISK_FAIL..DISK_WARN => bad("disk", State::Warn, detail, "free space soon"),
                _ => pass("disk", detail),
            }
        }
    }
}

fn clock_trust(config: &Config) -> Check {
    let mut time = daemon::time_keeper(&config.database(), clock::boot_id());
    match time.now(Clock::new(&config.ntp_marker).read()).0.trust {
        Trust::Signed | Trust::Ntp => pass("clock", "disciplined by NTP"),
        Trust::Continued => bad(
            "clock",
            State::Warn,
            "goes on, but nobody confirms it",
            "let it reach the network, or fit a real-time clock",
        ),
        Trust::Unknown => bad(
            "clock",
            State::Fail,
            "shows a time that has passed already",
            "let it reach the network, or set the clock",
        ),
    }
}

fn camera(config: &Config) -> Check {
    let Some((kind, path)) = config.camera.source.split_once(':') else {
        return bad("camera", State::Fail, "no camera is configured", "set camera.source");
    };
    match std::fs::File::open(path) {
        Ok(_) if kind == "v4l2" && !path.contains("/by-id/") => bad(
            "camera",
            State::Warn,
            format!("{path} may be another camera after a restart"),
            "use its stable name from /dev/v4l/by-id",
        ),
        Ok(_) => pass("camera", format!("{path} can be opened")),
        Err(error) => bad(
            "camera",
            State::Fail,
            format!("{path}: {error}"),
            "plug the camera in, or set camera.source to one of /dev/v4l/by-id/*",
        ),
    }
}

fn reader(config: &Config) -> Check {
    match daemon::reader_program(config) {
        Ok(path) if path.is_file() => pass("reader", format!("{} is there", path.display())),
        Ok(path) => bad(
            "reader",
            State::Fail,
            format!("there is no program {}", path.display()),
            "install gate-reader beside gate-agent or set camera.reader",
        ),
        Err(error) => bad("reader", State::Fail, error.to_string(), "set camera.reader"),
    }
}

fn gate_io(config: &Config) -> Check {
    let path = &config.gate_io;
    if !path.exists() {
        return bad(
            "gate_io",
            State::Fail,
            format!("there is no socket {}", path.display()),
            "start gate-io: `systemctl start gate-io`",
        );
    }
    // Connecting would take the lines from the running agent; the socket's listener shows in /proc instead.
    let listeners = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    if listeners.lines().any(|line| line.ends_with(&*path.to_string_lossy())) {
        pass("gate_io", format!("gate-io listens on {}", path.display()))
    } else {
        bad(
            "gate_io",
            State::Fail,
            format!("nobody listens on {}", path.display()),
            "restart gate-io: `systemctl restart gate-io`",
        )
    }
}

fn gpio() -> Check {
    if Path::new("/dev/gpiochip0").exists() {
        pass("gpio", "the kernel has GPIO lines")
    } else {
        Check { id: "gpio", state: State::Skipped, detail: "this machine has no /dev/gpiochip*".to_owned(), fix: None }
    }
}

/// Raspberry Pi kernels keep a released output driving unless told otherwise: a dead gate-io would leave the relay on.
fn persistent_outputs() -> Check {
    let path = "/sys/module/pinctrl_bcm2835/parameters/persist_gpio_outputs";
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim() == "Y" => bad(
            "gpio_strict",
            State::Fail,
            "the kernel keeps outputs driving after their owner is gone",
            "add dtparam=strict_gpiod to config.txt and restart the machine",
        ),
        Ok(_) => pass("gpio_strict", "released outputs go back to their safe level"),
        Err(_) => Check {
            id: "gpio_strict",
            state: State::Skipped,
            detail: "not a Raspberry Pi kernel".to_owned(),
            fix: None,
        },
    }
}

fn journal(config: &Config) -> Check {
    if !config.database().exists() {
        return Check { id: "journal", state: State::Skipped, detail: "there is no journal yet".to_owned(), fix: None };
    }
    match journal_check::verify(&config.database()) {
        Ok(report) if report.ok => pass("journal", report.to_string()),
        Ok(report) => bad(
            "journal",
            State::Fail,
            report.to_string(),
            "do not delete anything; tell whoever runs the cloud service",
        ),
        Err(error) => bad(
            "journal",
            State::Fail,
            format!("{error:#}"),
            "restart the agent, which heals it, or stop it and run `gate-agent salvage`",
        ),
    }
}

async fn cloud(config: &Config) -> Check {
    let client = reqwest::Client::builder()
        .timeout(std::time::Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let answer = match client {
        Ok(client) => client.get(format!("{}/health", config.cloud_url.trim_end_matches('/'))).send().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) if answer.status().is_success() => pass("cloud", format!("{} answers", config.cloud_url)),
        Ok(answer) => bad(
            "cloud",
            State::Warn,
            format!("{} answers {}", config.cloud_url, answer.status()),
            "check cloud_url; a captive portal may be in the way",
        ),
        Err(error) => bad(
            "cloud",
            State::Warn,
            format!("{}: {}", config.cloud_url, describe(&error)),
            "check the network; the gate goes on deciding meanwhile",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, extra: &str) -> std::path::PathBuf {
        let path = dir.join("gate-agent.toml");
        let text = format!(
            "data_dir = \"{0}\"\ncloud_url = \"http://127.0.0.1:9\"\n[camera]\nsource = \"replay:{0}\"\n[gate_io]\nsocket = \"{0}/io.sock\"\n{extra}",
            dir.display()
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_key_is_looked_at_and_left_as_it_is() {
        use crate::identity::tests::pi;
        use crate::replica::testing::Folder;
        let folder = Folder::new("doctor-key");
        let (own, other) = (pi(&folder, "10000000abcd0001"), pi(&folder, "10000000abcd0002"));
        let nameless = MachineFiles::below(folder.path().join("nothing"));
        let config = Config::load(&config(folder.path(), "")).unwrap();
        let path = identity::key_path(folder.path());
        let found = |machine: &MachineFiles| {
            let before = std::fs::read(&path).unwrap();
            let check = key(&config, machine);
            assert_eq!(std::fs::read(&path).unwrap(), before, "{check:?}");
            (check.state, check.detail, check.fix.unwrap_or_default())
        };
        // A key of a gate that was enrolled before keys were sealed.
        std::fs::write(&path, [9; 32]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(found(&own).0, State::Pass);
        assert_eq!(found(&nameless).0, State::Warn);
        identity::bind_key(folder.path(), &own).unwrap();
        let (state, detail, _) = found(&own);
        assert!(state == State::Pass && detail.contains("sealed"), "{detail}");
        let (state, detail, fix) = found(&other);
        assert!(state == State::Fail && detail.contains("another machine") && fix.contains("enrol"), "{detail}: {fix}");
    }

    #[tokio::test]
    async fn each_missing_part_is_named_with_its_cure() {
        let _provider = rustls::crypto::ring::default_provider().install_default();
        let dir = std::env::temp_dir().join(format!("doctor-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let report = examine(&config(&dir, ""), &[]).await;
        let state = |id: &str| report.checks.iter().find(|check| check.id == id).map(|check| check.state);
        for (id, expected) in [
            ("config", State::Pass),
            ("key", State::Fail),
            ("database", State::Fail),
            ("camera", State::Pass),
            ("gate_io", State::Fail),
            ("cloud", State::Warn),
        ] {
            assert_eq!(state(id), Some(expected), "{id}: {report}");
        }
        assert!(report.checks.iter().filter(|check| check.state >= State::Warn).all(|check| check.fix.is_some()));
        assert_eq!(report.worst(), State::Fail);

        let only = examine(&config(&dir, ""), &["camera".to_owned()]).await;
        assert_eq!(only.checks.len(), 1);
        assert!(report.checks.iter().all(|check| NAMES.contains(&check.id)), "{report}");

        for only in [vec![], vec!["camera".to_owned()]] {
            let broken = examine(&config(&dir, "[moon]\n"), &only).await;
            assert_eq!(broken.checks.len(), 1);
            assert_eq!(broken.worst(), State::Fail, "only {only:?}");
            assert!(broken.checks[0].detail.contains("moon"), "{broken}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
