//! A USB camera through Video4Linux.
//!
//! Opened by its stable name under `/dev/v4l/by-id`, because a camera that is plugged in again may get
//! another number. Luma is taken from the raw bytes: the library's own conversion goes through RGB.
//! Nothing of a lost camera is used again: after an error the process ends and opens everything anew,
//! since old buffers are known to loop for ever.

use std::path::{Path, PathBuf};

use nokhwa::Camera as Device;
use nokhwa::utils::{CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution};

use super::{Camera, CameraError, Delivery, Shot};
use crate::clock::mono_us;
use crate::frame::{FrameError, LumaFrame};

/// Frames a second asked of the camera; it may give fewer.
const FPS: u32 = 30;

/// An open camera that streams.
pub struct V4l2 {
    device: Device,
    format: CameraFormat,
}

impl V4l2 {
    /// Opens the camera at a `/dev` path and starts the stream, as close to the asked size as it can.
    ///
    /// # Errors
    /// [`CameraError::Open`] when there is no such camera, it is busy, or it has no format known here.
    pub fn open(path: &Path, width: u32, height: u32) -> Result<Self, CameraError> {
        let index = device_number(path)?;
        let mut last = String::new();
        // YUYV needs no decompression; many cameras have large sizes only as MJPEG.
        for kind in [FrameFormat::YUYV, FrameFormat::MJPEG, FrameFormat::GRAY, FrameFormat::NV12] {
            let wanted = CameraFormat::new(Resolution::new(width, height), kind, FPS);
            let kinds = [kind];
            let request = RequestedFormat::with_formats(RequestedFormatType::Closest(wanted), &kinds);
            match Device::new(CameraIndex::Index(index), request) {
                Ok(device) => return Self::stream(device),
                Err(why) => last = why.to_string(),
            }
        }
        Err(CameraError::Open(format!("{}: {last}", path.display())))
    }

    fn stream(mut device: Device) -> Result<Self, CameraError> {
        device.open_stream().map_err(|why| CameraError::Open(why.to_string()))?;
        let format = device.camera_format();
        Ok(Self { device, format })
    }
}

impl Camera for V4l2 {
    fn next_frame(&mut self) -> Result<Delivery, CameraError> {
        let raw = self.device.frame_raw().map_err(|why| CameraError::Lost(why.to_string()))?;
        let captured_mono_us = mono_us();
        let (width, height) = (self.format.width(), self.format.height());
        Ok(match luma(self.format.format(), width, height, &raw) {
            Ok(frame) => Delivery::Shot(Shot { frame, captured_mono_us }),
            Err(why) => Delivery::Skipped(why.to_string()),
        })
    }

    fn size(&self) -> (u32, u32) {
        (self.format.width(), self.format.height())
    }
}

fn luma(kind: FrameFormat, width: u32, height: u32, raw: &[u8]) -> Result<LumaFrame, FrameError> {
    let pixels = width as usize * height as usize;
    match kind {
        FrameFormat::YUYV => LumaFrame::from_yuyv(width, height, raw),
        FrameFormat::MJPEG => LumaFrame::from_encoded(raw),
        // Both begin with the plane that is wanted.
        FrameFormat::GRAY | FrameFormat::NV12 => {
            LumaFrame::new(width, height, raw.iter().copied().take(pixels).collect())
        }
        FrameFormat::RAWRGB | FrameFormat::RAWBGR => {
            // Green carries most of the brightness and is the middle byte of both.
            LumaFrame::new(width, height, raw.iter().skip(1).step_by(3).copied().take(pixels).collect())
        }
    }
}

/// `/dev/v4l/by-id/usb-…-index0` -> `/dev/video2` -> 2.
fn device_number(path: &Path) -> Result<u32, CameraError> {
    let node: PathBuf =
        std::fs::canonicalize(path).map_err(|why| CameraError::Open(format!("{}: {why}", path.display())))?;
    let name = node.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix("video")
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| CameraError::Open(format!("{} is not a video device", node.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stable_name_leads_to_the_number_of_today() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("video7");
        std::fs::write(&node, "").unwrap();
        let stable = folder.path().join("usb-maker_camera-video-index0");
        std::os::unix::fs::symlink(&node, &stable).unwrap();
        assert_eq!(device_number(&stable).unwrap(), 7);
        assert!(device_number(&folder.path().join("absent")).is_err());
        assert!(device_number(folder.path()).is_err());
    }

    #[test]
    fn every_raw_format_becomes_luma() {
        for (kind, raw) in [
            (FrameFormat::YUYV, vec![10, 0, 20, 0]),
            (FrameFormat::GRAY, vec![10, 20]),
            (FrameFormat::NV12, vec![10, 20, 128]),
            (FrameFormat::RAWRGB, vec![0, 10, 0, 0, 20, 0]),
        ] {
            assert_eq!(luma(kind, 2, 1, &raw).unwrap().luma(), [10, 20], "{kind:?}");
            assert!(luma(kind, 2, 1, &raw[..1]).is_err(), "{kind:?}: a torn frame was taken");
        }
    }
}
