//! One gate: a simulated board, and the real gate-io, gate-agent and gate-reader on it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use hardware::clock::mono_us;
use hardware::gate_io::HandConfig;
use hardware::lines::simulated::{Board, Edge, ReleaseModel};
use serde_json::Value;

use super::process::{Process, program};
use super::{free_address, http_client};
use crate::clock::Deadline;

/// How long a gate may take to come up, or to show what it was shown.
const PATIENCE: Duration = Duration::from_secs(30);

/// Frames a second of the replay camera.
const FPS: u64 = 15;
/// Frames for which something is held up, where nothing else is said: longer than a refusal keeps the screen, so that
/// nothing is missed.
pub const HOLD: u64 = 36;
/// Empty frames between two: nobody takes a code away and holds up the next one faster.
const GAP: u64 = 8;
/// A lane forgets a code that it has not seen for this long; with some room, ms.
const FORGET_MS: u64 = 1_300;

/// A gate with its processes.
pub struct Gate {
    /// What the logs call it.
    pub name: String,
    /// The lines behind gate-io.
    pub board: Board,
    /// The hand; `None` while it is dead.
    pub gate_io: Option<Process>,
    /// The brain with its eye; `None` while it is dead.
    pub agent: Option<Process>,
    /// Where the touchscreen page is.
    pub screen: SocketAddr,
    dir: PathBuf,
    frames: PathBuf,
    shown: u32,
    /// When the view will be empty if nothing more is held up, monotonic microseconds.
    empty_us: u64,
    hold: u64,
    client: reqwest::Client,
}

/// What a gate needs to be built.
pub struct GatePlan<'a> {
    /// What the logs call it.
    pub name: &'a str,
    /// The world's folder.
    pub world: &'a Path,
    /// Where it reaches the cloud.
    pub cloud: SocketAddr,
    /// What its kernel does with lines whose owner is gone.
    pub release: ReleaseModel,
    /// For how many frames something is held up, usually [`HOLD`].
    pub hold: u64,
}

impl Gate {
    /// Lays out a gate's folder and board; nothing runs yet.
    pub fn build(plan: &GatePlan<'_>) -> anyhow::Result<Self> {
        let dir = plan.world.join(plan.name);
        let frames = dir.join("frames");
        std::fs::create_dir_all(&frames)?;
        let board = Board::listen(&dir.join("board.sock"), plan.release, Some(&dir.join("edges.jsonl")))?;
        std::fs::write(dir.join("gate-io.toml"), HandConfig::example().to_toml()?)?;
        let screen = free_address()?;
        let config = format!(
            "data_dir = {data:?}\ncloud_url = \"http://{cloud}\"\n[camera]\nsource = \"replay:{frames}\"\ndecode_limit_ms = 2000\narguments = [\"--fps\", \"{FPS}\", \"--hold\", \"{hold}\", \"--gap\", \"{GAP}\"]\n[gate_io]\nsocket = {socket:?}\n[screen]\nlisten = \"{screen}\"\n[log]\nformat = \"json\"\n",
            hold = plan.hold,
            data = dir.join("data"),
            cloud = plan.cloud,
            frames = frames.display(),
            socket = dir.join("gate-io.sock"),
        );
        std::fs::write(dir.join("gate-agent.toml"), config)?;
        let client = http_client(Duration::from_secs(3))?;
        Ok(Self {
            name: plan.name.to_owned(),
            board,
            gate_io: None,
            agent: None,
            screen,
            dir,
            frames,
            shown: 0,
            empty_us: 0,
            hold: plan.hold,
            client,
        })
    }

    /// The gate's configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("gate-agent.toml")
    }

    /// Where the gate keeps its key, its replica and its journal.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Runs `gate-agent` with arguments to its end, and gives what it printed.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = std::process::Command::new(program("gate-agent")?)
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("gate-agent {arguments:?}: {}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(said)
    }

    /// Starts the hand.
    pub fn start_gate_io(&mut self) -> anyhow::Result<()> {
        let lines = format!("simulated:{}", self.dir.join("board.sock").display());
        let arguments = [
            "--socket".into(),
            self.dir.join("gate-io.sock").into_os_string(),
            "--lines".into(),
            lines.into(),
            "--config".into(),
            self.dir.join("gate-io.toml").into_os_string(),
        ];
        self.gate_io = Some(Process::start("gate-io", "gate-io", arguments, &self.dir)?);
        Ok(())
    }

    /// Starts the brain, which starts the eye. A new eye sees what is in front of it now, not what was held up before.
    pub fn restart_agent(&mut self) -> anyhow::Result<()> {
        for frame in std::fs::read_dir(&self.frames)? {
            std::fs::remove_file(frame?.path())?;
        }
        self.empty_us = 0;
        self.start_agent()
    }

    /// Starts the brain under another program, which is given first with its arguments.
    pub fn start_agent_under(&mut self, above: &[OsString]) -> anyhow::Result<()> {
        let arguments = ["--config".into(), self.config().into_os_string(), "run".into()];
        self.agent = Some(Process::start_under(above, "gate-agent", "gate-agent", arguments, &self.dir)?);
        Ok(())
    }

    /// Starts the brain, which starts the eye.
    pub fn start_agent(&mut self) -> anyhow::Result<()> {
        let arguments = ["--config".into(), self.config().into_os_string(), "run".into()];
        self.agent = Some(Process::start("gate-agent", "gate-agent", arguments, &self.dir)?);
        Ok(())
    }

    /// Starts hand, brain and eye, and waits until passes are decided.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.start_gate_io()?;
        self.start_agent()?;
        self.is_ready().await
    }

    /// Waits until passes are decided.
    pub async fn is_ready(&mut self) -> anyhow::Result<()> {
        self.wait("the gate is ready", |status| {
            status["status"]["camera"] == "ok"
                && status["status"]["gate_io"] == "ok"
                && status["screen"]["kind"] != "fault"
                && status["gate"]["name"] != ""
        })
        .await?;
        Ok(())
    }

    /// What the touchscreen shows.
    pub async fn status(&self) -> anyhow::Result<Value> {
        let answer = self.client.get(format!("http://{}/v1/status", self.screen)).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Waits until the touchscreen shows what is wanted.
    pub async fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.wait_within(PATIENCE, what, wanted).await
    }

    /// Waits that long until the touchscreen shows what is wanted.
    pub async fn wait_within(
        &mut self,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let deadline = Deadline::after(patience);
        let mut last = Value::Null;
        loop {
            if let Ok(status) = self.status().await {
                if wanted(&status) {
                    return Ok(status);
                }
                last = status;
            }
            for process in [&mut self.agent, &mut self.gate_io].into_iter().flatten() {
                process.must_run()?;
            }
            if deadline.is_over() {
                let said = self.agent.as_ref().map(Process::said).unwrap_or_default();
                bail!("{}: waited {patience:?} until {what}; it shows {last}\nits log ends:\n{said}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Holds a picture in front of the camera. It is shown for some frames, then the view is empty again.
    pub fn hold_up(&mut self, png: &[u8]) -> anyhow::Result<()> {
        self.shown += 1;
        self.empty_us = self.empty_us.max(mono_us()) + (self.hold + GAP) * 1_000_000 / FPS;
        let path = self.frames.join(format!("{:05}.png", self.shown));
        // Written beside and moved in, so that the camera never sees half a picture.
        let part = self.frames.join(format!("{:05}.part", self.shown));
        std::fs::write(&part, png)?;
        std::fs::rename(&part, &path).with_context(|| format!("can't show {}", path.display()))
    }

    /// Pulls the camera out. It can be found again at once, as one that was plugged in again.
    pub fn unplug(&mut self) -> anyhow::Result<()> {
        self.shown += 1;
        Ok(std::fs::write(self.frames.join(format!("{:05}.unplug", self.shown)), b"")?)
    }

    /// Waits until nothing is in view any more and the lane has forgotten it.
    pub async fn let_go(&self) {
        let left = (self.empty_us + FORGET_MS * 1000).saturating_sub(mono_us());
        tokio::time::sleep(Duration::from_micros(left)).await;
    }

    /// Rising edges of the relay so far.
    pub fn pulses(&self) -> Vec<Edge> {
        self.board.edges().into_iter().filter(|edge| edge.line == "relay" && edge.level).collect()
    }
}
