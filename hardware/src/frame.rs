//! A grey picture: the only thing that passes from a camera to a decoder.
//!
//! QR codes are black on white, so colour is dropped at the camera and never stored. A frame's size
//! is checked before anything is allocated for it, because a file or a driver may claim any size.

use std::path::Path;

use image::{ImageReader, Limits};
use thiserror::Error;

/// The longest side a frame may have, in pixels. Larger pictures are refused before they are allocated.
pub const MAX_SIDE: u32 = 4096;

/// Why a picture did not become a frame.
#[derive(Debug, Error)]
pub enum FrameError {
    /// Width or height is 0 or above [`MAX_SIDE`].
    #[error("a frame of {width}x{height} pixels is outside 1..={MAX_SIDE}")]
    Size {
        /// Claimed width in pixels.
        width: u32,
        /// Claimed height in pixels.
        height: u32,
    },
    /// The pixels handed over do not fill the claimed size.
    #[error("{got} pixels were delivered where the size needs {wanted}")]
    Short {
        /// Pixels delivered.
        got: usize,
        /// Pixels the size needs.
        wanted: usize,
    },
    /// The file could not be read.
    #[error("the picture file cannot be read")]
    Read(#[from] std::io::Error),
    /// The file is not a picture, is truncated, or claims a size above the cap.
    #[error("the picture cannot be decoded: {0}")]
    Decode(String),
}

/// One grey picture: 8 bits a pixel, rows from top to bottom without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LumaFrame {
    width: u32,
    height: u32,
    luma: Vec<u8>,
}

impl LumaFrame {
    /// Takes `width * height` grey bytes as a frame.
    ///
    /// # Errors
    /// [`FrameError::Size`] for an empty or oversized picture, [`FrameError::Short`] when the bytes do not fit the size.
    pub fn new(width: u32, height: u32, luma: Vec<u8>) -> Result<Self, FrameError> {
        let wanted = pixels(width, height)?;
        if luma.len() != wanted {
            return Err(FrameError::Short { got: luma.len(), wanted });
        }
        Ok(Self { width, height, luma })
    }

    /// A frame of one grey value.
    ///
    /// # Errors
    /// [`FrameError::Size`] for an empty or oversized picture.
    pub fn flat(width: u32, height: u32, grey: u8) -> Result<Self, FrameError> {
        let wanted = pixels(width, height)?;
        Ok(Self { width, height, luma: vec![grey; wanted] })
    }

    /// Takes the luma bytes (every second byte) of a packed YUYV picture.
    ///
    /// # Errors
    /// As [`LumaFrame::new`]; surplus bytes at the end (driver padding) are ignored.
    pub fn from_yuyv(width: u32, height: u32, yuyv: &[u8]) -> Result<Self, FrameError> {
        let wanted = pixels(width, height)?;
        let luma: Vec<u8> = yuyv.iter().copied().step_by(2).take(wanted).collect();
        Self::new(width, height, luma)
    }

    /// Reads a PNG, JPEG or WebP from memory.
    ///
    /// # Errors
    /// [`FrameError::Decode`] when it is not such a picture, is truncated or too large.
    pub fn from_encoded(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format()?;
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        limits.max_alloc = Some(u64::from(MAX_SIDE) * u64::from(MAX_SIDE) * 8);
        reader.limits(limits);
        let picture = reader.decode().map_err(|why| FrameError::Decode(why.to_string()))?;
        // A transparent picture is meant to lie on white paper.
        let luma = if picture.color().has_alpha() { flatten(&picture.to_luma_alpha8()) } else { picture.to_luma8() };
        Self::new(luma.width(), luma.height(), luma.into_raw())
    }

    /// Reads a picture file.
    ///
    /// # Errors
    /// [`FrameError::Read`] when the file cannot be read or exceeds 64 MiB, otherwise as [`LumaFrame::from_encoded`].
    pub fn from_file(path: &Path) -> Result<Self, FrameError> {
        const MAX_FILE: u64 = 64 << 20;
        let size = std::fs::metadata(path)?.len();
        if size > MAX_FILE {
            return Err(FrameError::Decode(format!("{size} bytes is above {MAX_FILE}")));
        }
        Self::from_encoded(&std::fs::read(path)?)
    }

    /// Width in pixels, 1..=[`MAX_SIDE`].
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, 1..=[`MAX_SIDE`].
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The grey bytes, row by row.
    #[must_use]
    pub fn luma(&self) -> &[u8] {
        &self.luma
    }

    /// Mean brightness, 0 (black) to 255 (white): tells a covered lens from an empty road.
    #[must_use]
    pub fn mean(&self) -> u8 {
        let sum: u64 = self.luma.iter().map(|&p| u64::from(p)).sum();
        u8::try_from(sum / self.luma.len().max(1) as u64).unwrap_or(u8::MAX)
    }

    /// The frame as a PNG file, for demos and tests.
    ///
    /// # Errors
    /// [`FrameError::Decode`] when the encoder refuses.
    pub fn to_png(&self) -> Result<Vec<u8>, FrameError> {
        let mut png = std::io::Cursor::new(Vec::new());
        image::write_buffer_with_format(
            &mut png,
            &self.luma,
            self.width,
            self.height,
            image::ExtendedColorType::L8,
            image::ImageFormat::Png,
        )
        .map_err(|why| FrameError::Decode(why.to_string()))?;
        Ok(png.into_inner())
    }
}

fn flatten(picture: &image::ImageBuffer<image::LumaA<u8>, Vec<u8>>) -> image::GrayImage {
    image::GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [grey, alpha] = picture.get_pixel(x, y).0;
        let (grey, alpha) = (u32::from(grey), u32::from(alpha));
        let on_white = (grey * alpha + 255 * (255 - alpha)) / 255;
        image::Luma([u8::try_from(on_white).unwrap_or(u8::MAX)])
    })
}

fn pixels(width: u32, height: u32) -> Result<usize, FrameError> {
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(FrameError::Size { width, height });
    }
    Ok(width as usize * height as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_refused_before_they_are_allocated() {
        for (width, height, fine) in
            [(1, 1, true), (4096, 1, true), (0, 1, false), (1, 0, false), (4097, 1, false), (u32::MAX, u32::MAX, false)]
        {
            assert_eq!(LumaFrame::flat(width, height, 0).is_ok(), fine, "{width}x{height}");
        }
        assert!(LumaFrame::new(2, 2, vec![0; 3]).is_err());
    }

    #[test]
    fn yuyv_gives_every_second_byte() {
        let frame = LumaFrame::from_yuyv(2, 2, &[1, 128, 2, 128, 3, 128, 4, 128, 99, 99]).unwrap();
        assert_eq!(frame.luma(), [1, 2, 3, 4]);
        assert!(LumaFrame::from_yuyv(2, 2, &[1, 128, 2, 128]).is_err());
    }

    #[test]
    fn a_png_survives_the_round_trip_and_a_torn_one_is_refused() {
        let frame = LumaFrame::new(3, 2, vec![0, 50, 100, 150, 200, 250]).unwrap();
        let png = frame.to_png().unwrap();
        assert_eq!(LumaFrame::from_encoded(&png).unwrap(), frame);
        assert!(LumaFrame::from_encoded(&png[..png.len() / 2]).is_err());
        assert!(LumaFrame::from_encoded(b"not a picture").is_err());
    }

    #[test]
    fn a_picture_beyond_the_cap_is_refused() {
        let mut png = std::io::Cursor::new(Vec::new());
        let wide = vec![0_u8; 4097];
        image::write_buffer_with_format(
            &mut png,
            &wide,
            4097,
            1,
            image::ExtendedColorType::L8,
            image::ImageFormat::Png,
        )
        .unwrap();
        assert!(LumaFrame::from_encoded(png.get_ref()).is_err());
    }
}
