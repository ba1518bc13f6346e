//! The QR code of a pass: alphanumeric, the smallest version that holds it, with its quiet zone.
//!
//! A visitor pass always fits version 6 at level L: 41 modules, read from farther away than anything larger.

use std::fmt::Write;

use fast_qr::qr::QRBuilder;
use fast_qr::{ECL, Mode, Version};

/// The light border every code needs, modules.
pub const QUIET: usize = 4;
/// Pixels per module of a picture.
const SCALE: usize = 10;

/// A QR code.
pub struct Code {
    modules: Vec<bool>,
    size: usize,
}

/// Why a text can't become a code.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodeError {
    /// Longer than the largest code that gates are asked to read.
    #[error("a text of {0} characters does not fit the codes that gates read")]
    TooLong(usize),
    /// The picture could not be written.
    #[error("the picture could not be written: {0}")]
    Picture(String),
}

impl Code {
    /// Makes the code of a pass.
    pub fn new(text: &str) -> Result<Self, CodeError> {
        // Version 6 at level L for visitors; larger passes get version 8 at level M.
        for (version, level) in [(Version::V06, ECL::L), (Version::V08, ECL::M)] {
            if let Ok(code) = QRBuilder::new(text).mode(Mode::Alphanumeric).version(version).ecl(level).build() {
                let size = code.size;
                let modules = (0..size * size).map(|at| code.data[at].value()).collect();
                return Ok(Self { modules, size });
            }
        }
        Err(CodeError::TooLong(text.len()))
    }

    /// Modules on a side, without the quiet zone.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Dark stretches: row, first column, length. Fewer shapes than modules, and no hairlines between them.
    pub fn stretches(&self) -> Vec<(usize, usize, usize)> {
        let mut found = Vec::new();
        for (row, modules) in self.modules.chunks(self.size).enumerate() {
            let mut column = 0;
            for stretch in modules.chunk_by(|a, b| a == b) {
                if stretch.first() == Some(&true) {
                    found.push((row, column, stretch.len()));
                }
                column += stretch.len();
            }
        }
        found
    }

    /// As a drawing, for pages and messages.
    pub fn svg(&self) -> String {
        let side = self.size + 2 * QUIET;
        let mut path = String::new();
        for (row, column, length) in self.stretches() {
            // Writing to a string can't fail.
            let _ = write!(path, "M{} {}h{length}v1h-{length}z", column + QUIET, row + QUIET);
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\"><rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{path}\"/></svg>"
        )
    }

    /// As a picture.
    pub fn png(&self) -> Result<Vec<u8>, CodeError> {
        let side = u32::try_from((self.size + 2 * QUIET) * SCALE).map_err(|_| CodeError::TooLong(self.size))?;
        let mut picture = image::GrayImage::from_pixel(side, side, image::Luma([255]));
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let module = |pixel: u32| (pixel as usize / SCALE).checked_sub(QUIET).filter(|at| *at < self.size);
            if let (Some(column), Some(row)) = (module(x), module(y))
                && self.modules[row * self.size + column]
            {
                *pixel = image::Luma([0]);
            }
        }
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).map_err(|e| CodeError::Picture(e.to_string()))?;
        Ok(bytes.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_pass_fits_version_6_and_a_longer_one_version_8() {
        let text = |length: usize| format!("GP1:{}", "A".repeat(length - 4));
        for (length, version) in [(195, Some(6)), (196, Some(8)), (221, Some(8)), (222, None)] {
            assert_eq!(Code::new(&text(length)).ok().map(|code| (code.size() - 17) / 4), version, "{length}");
        }
    }

    #[test]
    fn stretches_are_the_dark_modules() {
        let code = Code::new("GP1:ABC").unwrap();
        let dark: usize = code.stretches().iter().map(|(_, _, length)| length).sum();
        assert_eq!(dark, code.modules.iter().filter(|dark| **dark).count());
        assert!(code.svg().contains("viewBox=\"0 0 49 49\""));
        assert_eq!(&code.png().unwrap()[1..4], b"PNG");
    }
}
