//! Where frames come from.
//!
//! A camera is asked for its next frame and may take as long as it likes: a stalled driver can't be told
//! to hurry, only killed with its process. Backends are [`v4l2`] for a real lens and [`replay`] for pictures
//! in a folder, which lets a demo or a test stand in front of the gate.

pub mod newest;
pub mod replay;
pub mod v4l2;

use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use crate::frame::LumaFrame;

/// One picture and when it was taken.
#[derive(Debug, Clone)]
pub struct Shot {
    /// The picture.
    pub frame: LumaFrame,
    /// `CLOCK_MONOTONIC` microseconds at which it was handed over by the driver.
    pub captured_mono_us: u64,
}

/// What a camera delivered.
#[derive(Debug)]
pub enum Delivery {
    /// A picture.
    Shot(Shot),
    /// The next file of a replay folder follows; its name is remembered across restarts.
    Showing(String),
    /// A picture was skipped, and why.
    Skipped(String),
}

/// Why a camera delivers no more.
#[derive(Debug, Error)]
pub enum CameraError {
    /// It could not be opened.
    #[error("the camera cannot be opened: {0}")]
    Open(String),
    /// It was there and went away.
    #[error("the camera is gone: {0}")]
    Lost(String),
}

/// Something that takes pictures. It stays on the thread that opened it.
pub trait Camera {
    /// Waits for the next delivery, for as long as it takes.
    ///
    /// # Errors
    /// [`CameraError::Lost`]: the camera must be opened anew, all of it.
    fn next_frame(&mut self) -> Result<Delivery, CameraError>;

    /// Width and height of its frames in pixels; 0 where every frame has its own.
    fn size(&self) -> (u32, u32);
}

/// Which camera to open, as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraAddress {
    /// `v4l2:/dev/v4l/by-id/…`: a stable name, because numbers change when a camera is plugged in again.
    V4l2(PathBuf),
    /// `replay:PATH`: a picture, or a folder of pictures.
    Replay(PathBuf),
}

impl FromStr for CameraAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("v4l2", path)) if !path.is_empty() => Ok(Self::V4l2(path.into())),
            Some(("replay", path)) if !path.is_empty() => Ok(Self::Replay(path.into())),
            Some(_) | None => Err(format!("'{text}' is neither v4l2:DEVICE nor replay:PATH")),
        }
    }
}
