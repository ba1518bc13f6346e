//! Starts gate-reader, listens to it, and kills and restarts it when a frame is late.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::inbox::Inbox;
use super::protocol::{MAX_LINE, MAX_TEXT, MAX_TEXTS, ReaderMessage, Sandboxed};

/// How to run the eye.
#[derive(Debug, Clone)]
pub struct ReaderConfig {
    /// The gate-reader program.
    pub program: PathBuf,
    /// `v4l2:/dev/v4l/by-id/…` or `replay:PATH`.
    pub camera: String,
    /// Frame width to ask the camera for, in pixels.
    pub width: u32,
    /// Frame height to ask the camera for, in pixels.
    pub height: u32,
    /// No decoding stage starts later than this after the first.
    pub deadline: Duration,
    /// Without any message for this long the camera has stalled: kill and restart.
    pub stall_after: Duration,
    /// A decode longer than this is hostile or hopeless: kill and restart.
    pub decode_limit: Duration,
    /// The first wait before a restart; doubled up to [`ReaderConfig::backoff_max`], reset by the first frame.
    pub backoff_min: Duration,
    /// The longest wait before a restart.
    pub backoff_max: Duration,
    /// Further arguments for gate-reader, such as `--hold 5`.
    pub arguments: Vec<String>,
}

impl ReaderConfig {
    /// The product's limits: 1280x720, 20 ms to start stages, 150 ms a decode, 2 s a stall, 250 ms to 5 s between restarts.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, camera: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            camera: camera.into(),
            width: 1280,
            height: 720,
            deadline: Duration::from_millis(20),
            stall_after: Duration::from_secs(2),
            decode_limit: Duration::from_millis(150),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(5),
            arguments: Vec::new(),
        }
    }
}

/// What the eye reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReaderEvent {
    /// A frame was looked at; `texts` is empty when it held no code.
    Seen {
        /// Number of the frame since gate-reader started.
        frame: u64,
        /// When the picture was taken, `CLOCK_MONOTONIC` microseconds.
        captured_mono_us: u64,
        /// How long decoding took, in microseconds.
        decode_us: u64,
        /// The texts read, top to bottom, then left to right; at most [`MAX_TEXTS`].
        texts: Vec<String>,
        /// Mean brightness, 0..=255.
        luma_mean: u8,
    },
    /// The camera delivers, for the first time or again.
    CameraUp {
        /// The camera's address.
        camera: String,
        /// Frame width in pixels, 0 where every frame has its own.
        width: u32,
        /// Frame height in pixels, 0 where every frame has its own.
        height: u32,
        /// How far gate-reader locked itself in.
        sandboxed: Sandboxed,
    },
    /// The camera cannot be opened or went away. Restarting is tried with growing waits.
    CameraLost {
        /// What was seen.
        why: String,
    },
    /// gate-reader was killed or died and is being started again.
    Restarted {
        /// What was seen.
        why: String,
    },
}

/// A running eye. Dropping it kills gate-reader.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    arrived: Notify,
    /// Process id of the running gate-reader, 0 while there is none.
    pid: AtomicU32,
}

impl Reader {
    /// Starts the eye. Must be called inside a tokio runtime; failures to start come as events.
    #[must_use]
    pub fn spawn(config: ReaderConfig) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(keep_running(config, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// The next event; of frames, the newest. Cancel safe. Never ends.
    pub async fn next(&mut self) -> ReaderEvent {
        loop {
            let arrived = self.shared.arrived.notified();
            if let Some(event) = self.shared.lock().take() {
                return event;
            }
            arrived.await;
        }
    }

    /// Process id of the running gate-reader, `None` between two runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        Some(self.shared.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The child is killed when the task drops it.
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: ReaderEvent) {
        self.lock().push(event);
        self.arrived.notify_one();
    }
}

/// What one run of gate-reader leaves for the next.
struct Memory {
    /// The last file the replay camera showed.
    shown: Option<String>,
    /// The wait before the next start.
    backoff: Duration,
}

async fn keep_running(config: ReaderConfig, shared: Arc<Shared>) {
    let mut memory = Memory { shown: None, backoff: config.backoff_min };
    loop {
        let event = run_once(&config, &shared, &mut memory).await;
        shared.pid.store(0, Ordering::Release);
        shared.push(event);
        tokio::time::sleep(memory.backoff).await;
        memory.backoff = (memory.backoff * 2).min(config.backoff_max);
    }
}

/// Runs gate-reader until it ends or is late; says why it is over.
async fn run_once(config: &ReaderConfig, shared: &Shared, memory: &mut Memory) -> ReaderEvent {
    let mut child = match start(config, memory) {
        Ok(child) => child,
        Err(why) => {
            return ReaderEvent::CameraLost { why: format!("{}: {why}", config.program.display()) };
        }
    };
    shared.pid.store(child.id().unwrap_or(0), Ordering::Release);
    let Some(stdout) = child.stdout.take() else {
        return ReaderEvent::Restarted { why: "gate-reader has no pipe".to_owned() };
    };
    let ended = listen(config, shared, memory, stdout).await;
    // It may be dead already; what counts is that it is dead afterwards.
    drop(child.kill().await);
    ended
}

fn start(config: &ReaderConfig, memory: &Memory) -> std::io::Result<Child> {
    let mut command = Command::new(&config.program);
    command
        .arg("--camera")
        .arg(&config.camera)
        .args(["--width", &config.width.to_string()])
        .args(["--height", &config.height.to_string()])
        .args(["--deadline-ms", &config.deadline.as_millis().to_string()]);
    if let Some(shown) = &memory.shown {
        command.arg("--after").arg(shown);
    }
    command.args(&config.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()
}

async fn listen(config: &ReaderConfig, shared: &Shared, memory: &mut Memory, stdout: ChildStdout) -> ReaderEvent {
    let mut pipe = BufReader::new(stdout);
    let mut decoding = false;
    loop {
        let limit = if decoding { config.decode_limit } else { config.stall_after };
        let mut line = Vec::new();
        let mut bounded = (&mut pipe).take(MAX_LINE as u64);
        let read = match tokio::time::timeout(limit, bounded.read_until(b'\n', &mut line)).await {
            Err(_) if decoding => {
                return ReaderEvent::Restarted { why: format!("a decode took longer than {limit:?}") };
            }
            Err(_) => {
                return ReaderEvent::Restarted { why: format!("the camera gave nothing for {limit:?}") };
            }
            Ok(read) => read,
        };
        if read.is_err() || line.last() != Some(&b'\n') {
            return ReaderEvent::Restarted { why: "gate-reader ended".to_owned() };
        }
        let Ok(message) = serde_json::from_slice::<ReaderMessage>(&line) else {
            return ReaderEvent::Restarted { why: "gate-reader said something that is not understood".to_owned() };
        };
        decoding = matches!(message, ReaderMessage::Decoding { .. });
        match message {
            ReaderMessage::Decoding { .. } => {}
            ReaderMessage::Opened { camera, width, height, sandboxed } => {
                shared.push(ReaderEvent::CameraUp { camera, width, height, sandboxed });
            }
            ReaderMessage::Frame { frame, captured_mono_us, decode_us, mut texts, luma_mean } => {
                memory.backoff = config.backoff_min;
                // gate-reader chose already; this bounds one that was taken over.
                texts.retain(|text| text.len() <= MAX_TEXT);
                texts.truncate(MAX_TEXTS);
                shared.push(ReaderEvent::Seen { frame, captured_mono_us, decode_us, texts, luma_mean });
            }
            ReaderMessage::Showing { name } => memory.shown = Some(name),
            ReaderMessage::Warning { what } => tracing::warn!(%what, "gate-reader"),
            ReaderMessage::CameraLost { why } => return ReaderEvent::CameraLost { why },
        }
    }
}
