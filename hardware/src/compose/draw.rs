//! Draws QR codes, so that benchmarks and tests know what is in a picture.

use fast_qr::{ECL, Mode, QRBuilder, Version};
use thiserror::Error;

use super::Chance;
use crate::frame::LumaFrame;

/// Modules of white around a code.
const QUIET: usize = 4;

/// Why a code could not be drawn.
#[derive(Debug, Error)]
pub enum DrawError {
    /// The text does not fit a QR code.
    #[error("the text does not fit a QR code")]
    TooLong,
    /// The picture would be larger than a frame may be.
    #[error(transparent)]
    Size(#[from] crate::frame::FrameError),
}

/// A QR code of `text` at level L, as small as it can be, `module_px` pixels a module, four modules of white around it.
/// A pass of up to 195 characters of the alphanumeric set gives version 6.
///
/// # Errors
/// [`DrawError`] when text or scale are too large.
pub fn code(text: &str, module_px: usize) -> Result<LumaFrame, DrawError> {
    let mut builder = QRBuilder::new(text);
    builder.ecl(ECL::L);
    if text.len() > 154 && text.len() <= 195 && text.bytes().all(is_alphanumeric) {
        builder.mode(Mode::Alphanumeric).version(Version::V06);
    }
    let code = builder.build().map_err(|_| DrawError::TooLong)?;
    let modules = code.size + 2 * QUIET;
    let side = modules * module_px;
    let dark = |x: usize, y: usize| {
        let inside = |at: usize| (QUIET..QUIET + code.size).contains(&at);
        inside(x) && inside(y) && code[y - QUIET][x - QUIET].value()
    };
    let mut luma = Vec::with_capacity(side * side);
    for y in 0..side {
        luma.extend((0..side).map(|x| if dark(x / module_px, y / module_px) { 0 } else { 255 }));
    }
    let side = u32::try_from(side).unwrap_or(u32::MAX);
    Ok(LumaFrame::new(side, side, luma)?)
}

/// A text like a pass: `GP1:` and random characters of the Base45 set, 190 to 195 in all (version 6 at level L).
pub fn random_pass_text(chance: &mut Chance) -> String {
    let length = 190 + chance.below(6);
    let mut text = "GP1:".to_owned();
    while text.len() < length {
        text.push(char::from(ALPHANUMERIC[chance.below(ALPHANUMERIC.len())]));
    }
    text
}

const ALPHANUMERIC: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

fn is_alphanumeric(byte: u8) -> bool {
    ALPHANUMERIC.contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_fits_version_6() {
        let text = random_pass_text(&mut Chance::new(3));
        assert!((190..=195).contains(&text.len()));
        let code = code(&text, 2).unwrap();
        assert_eq!(code.width(), 2 * (41 + 8));
    }

    #[test]
    fn what_cannot_be_drawn_is_said() {
        assert!(matches!(code(&"x".repeat(5000), 1), Err(DrawError::TooLong)));
        assert!(matches!(code("X", 1000), Err(DrawError::Size(_))));
    }
}
