//! The eye as a process: a camera and decoders, no network, no files, no database.
//!
//! It says what it sees on stdout and may be killed at any time. When nobody listens any more it ends.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use hardware::camera::newest::Newest;
use hardware::camera::replay::{Pace, Replay};
use hardware::camera::v4l2::V4l2;
use hardware::camera::{Camera, CameraAddress, CameraError, Delivery, Shot};
use hardware::clock::mono_us;
use hardware::decode::Cascade;
use hardware::reader::{Chooser, ReaderMessage, Sandboxed};
use hardware::sandbox;

/// The status with which the process ends when the camera is gone.
const CAMERA_LOST: u8 = 3;

/// Reads QR codes from a camera and prints them as JSON lines.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// v4l2:/dev/v4l/by-id/… or replay:PATH.
    #[arg(long)]
    camera: String,
    /// Frame width to ask the camera for, in pixels.
    #[arg(long, default_value_t = 1280)]
    width: u32,
    /// Frame height to ask the camera for, in pixels.
    #[arg(long, default_value_t = 720)]
    height: u32,
    /// No decoding stage starts later than this after the first, in milliseconds.
    #[arg(long, default_value_t = 20)]
    deadline_ms: u64,
    /// Replay: frames a second.
    #[arg(long, default_value_t = Pace::default().fps)]
    fps: u32,
    /// Replay: for how many frames a file is shown.
    #[arg(long, default_value_t = Pace::default().hold)]
    hold: u32,
    /// Replay: for how many frames the view is empty after a file.
    #[arg(long, default_value_t = Pace::default().gap)]
    gap: u32,
    /// Replay: the last file shown before a restart.
    #[arg(long)]
    after: Option<String>,
    /// Do not lock the process in.
    #[arg(long)]
    no_sandbox: bool,
    /// Lock the process in, try to break out, say what was refused and end.
    #[arg(long, conflicts_with = "no_sandbox")]
    prove_sandbox: bool,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    std::panic::set_hook(Box::new(log_panic));
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(why) => {
            say(&ReaderMessage::CameraLost { why: why.to_string() });
            ExitCode::from(CAMERA_LOST)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, CameraError> {
    let address: CameraAddress = arguments.camera.parse().map_err(CameraError::Open)?;
    let pace = Pace { fps: arguments.fps, hold: arguments.hold, gap: arguments.gap };
    match &address {
        CameraAddress::V4l2(path) => {
            let camera = V4l2::open(path, arguments.width, arguments.height)?;
            begin(arguments, &address, &camera)?;
            look_at_newest(camera, arguments)
        }
        CameraAddress::Replay(path) => {
            let camera = Replay::open(path, pace, arguments.after.clone())?;
            begin(arguments, &address, &camera)?;
            if arguments.prove_sandbox {
                return Ok(prove());
            }
            look_at_all(camera, arguments)
        }
    }
}

/// Locks the process in and says that the camera is open.
fn begin(arguments: &Arguments, address: &CameraAddress, camera: &impl Camera) -> Result<(), CameraError> {
    let sandboxed = if arguments.no_sandbox {
        Sandboxed::None
    } else {
        sandbox::lock_in(address).map_err(|why| CameraError::Open(format!("no sandbox: {why}")))?
    };
    std::thread::spawn(end_with_listener);
    let (width, height) = camera.size();
    say(&ReaderMessage::Opened { camera: arguments.camera.clone(), width, height, sandboxed });
    Ok(())
}

/// A lens does not wait: decode on a thread of its own, always the newest frame.
fn look_at_newest(mut camera: V4l2, arguments: &Arguments) -> Result<ExitCode, CameraError> {
    if arguments.prove_sandbox {
        return Ok(prove());
    }
    let newest = Arc::new(Newest::default());
    let decoding = Arc::clone(&newest);
    let mut eye = Eye::new(arguments);
    let decoder = std::thread::spawn(move || {
        while let Some(delivery) = decoding.take() {
            eye.look_at(delivery);
        }
    });
    let lost = loop {
        match camera.next_frame() {
            Ok(delivery) if !decoder.is_finished() => newest.put(delivery),
            Ok(_) => break CameraError::Lost("the decoder thread ended".to_owned()),
            Err(why) => break why,
        }
    };
    newest.close();
    Err(lost)
}

/// A folder waits: every frame is looked at, in order.
fn look_at_all(mut camera: Replay, arguments: &Arguments) -> Result<ExitCode, CameraError> {
    let mut eye = Eye::new(arguments);
    loop {
        eye.look_at(camera.next_frame()?);
    }
}

struct Eye {
    cascade: Cascade,
    chooser: Chooser,
    frames: u64,
}

impl Eye {
    fn new(arguments: &Arguments) -> Self {
        let cascade = Cascade::new(Duration::from_millis(arguments.deadline_ms));
        Self { cascade, chooser: Chooser::default(), frames: 0 }
    }

    fn look_at(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Shot(shot) => self.read(&shot),
            Delivery::Showing(name) => say(&ReaderMessage::Showing { name }),
            Delivery::Skipped(what) => say(&ReaderMessage::Warning { what }),
        }
    }

    fn read(&mut self, shot: &Shot) {
        self.frames += 1;
        let frame = self.frames;
        // The listener's stopwatch starts here.
        say(&ReaderMessage::Decoding { frame });
        let reading = self.cascade.read(&shot.frame);
        let texts = self.chooser.choose(reading.texts, mono_us());
        say(&ReaderMessage::Frame {
            frame,
            captured_mono_us: shot.captured_mono_us,
            decode_us: reading.elapsed_us,
            texts,
            luma_mean: shot.frame.mean(),
        });
    }
}

fn prove() -> ExitCode {
    let attempts = sandbox::attempts();
    for attempt in &attempts {
        say(&ReaderMessage::Warning {
            what: format!("{}: {}", attempt.what, if attempt.refused { "refused" } else { "POSSIBLE" }),
        });
    }
    if attempts.iter().all(|attempt| attempt.refused) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says one line. When nobody listens there is nothing left to do.
fn say(message: &ReaderMessage) {
    let written = serde_json::to_vec(message).map_err(std::io::Error::from).and_then(|mut line| {
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&line)?;
        out.flush()
    });
    if written.is_err() {
        std::process::exit(0);
    }
}

/// Ends the process when the other end of stdout closes, even while the camera hangs.
fn end_with_listener() {
    use rustix::event::{PollFd, PollFlags, poll};
    let stdout = rustix::stdio::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    loop {
        match poll(&mut watched, None) {
            Ok(_) => std::process::exit(0),
            Err(rustix::io::Errno::INTR) => {}
            // Then a write finds out.
            Err(_) => return,
        }
    }
}

/// A decoder's panic is an ordinary event here. The message may hold what the lens saw: only the place is logged.
fn log_panic(panic: &PanicHookInfo<'_>) {
    static PANICS: AtomicU64 = AtomicU64::new(0);
    let count = PANICS.fetch_add(1, Ordering::Relaxed) + 1;
    // The first of each power of two: a hostile poster must not fill the log.
    if count.is_power_of_two() {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%place, count, "a decoder panicked");
    }
}
