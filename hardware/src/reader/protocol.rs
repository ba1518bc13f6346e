//! What gate-reader says on its pipe: JSON, one object per line.

use serde::{Deserialize, Serialize};

/// The longest line the client accepts, in bytes: [`MAX_TEXTS`] codes full of control characters, which take
/// six bytes each in JSON, still fit.
pub const MAX_LINE: usize = 256 * 1024;

/// The most texts one frame may carry.
pub const MAX_TEXTS: usize = 8;

/// The longest text that is passed on, in bytes; the largest QR code holds 4296 characters.
pub const MAX_TEXT: usize = 4296;

/// How far gate-reader locked itself in after opening the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sandboxed {
    /// System calls are filtered and the file system is closed.
    #[serde(rename = "seccomp+landlock")]
    Full,
    /// System calls are filtered; this kernel has no Landlock.
    #[serde(rename = "seccomp")]
    Seccomp,
    /// Switched off on the command line.
    #[serde(rename = "none")]
    None,
}

/// One line from gate-reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReaderMessage {
    /// The camera is open; frames follow.
    Opened {
        /// The camera's address as given on the command line.
        camera: String,
        /// Frame width in pixels; 0 where every frame has its own (replay).
        width: u32,
        /// Frame height in pixels; 0 where every frame has its own (replay).
        height: u32,
        /// How far the process locked itself in.
        sandboxed: Sandboxed,
    },
    /// A decode begins; a `frame` with the same number must follow within the decode limit.
    Decoding {
        /// Number of the frame since this process started.
        frame: u64,
    },
    /// A frame was looked at. `texts` is empty when it held no code.
    Frame {
        /// Number of the frame since this process started.
        frame: u64,
        /// When the picture was taken, `CLOCK_MONOTONIC` microseconds.
        captured_mono_us: u64,
        /// How long decoding took, in microseconds.
        decode_us: u64,
        /// The texts read, in a stable order: top to bottom, then left to right.
        texts: Vec<String>,
        /// Mean brightness, 0..=255.
        luma_mean: u8,
    },
    /// The replay camera shows the next file of its folder; given back on a restart with `--after`.
    Showing {
        /// File name inside the folder.
        name: String,
    },
    /// Something is odd but goes on: a torn picture was skipped.
    Warning {
        /// What.
        what: String,
    },
    /// The camera went away; the process ends with status 3.
    CameraLost {
        /// What was seen.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_frame_a_poster_can_hold_fits_a_line() {
        let frame = |text: &str| ReaderMessage::Frame {
            frame: u64::MAX,
            captured_mono_us: u64::MAX,
            decode_us: u64::MAX,
            texts: vec![text.to_owned(); MAX_TEXTS],
            luma_mean: 255,
        };
        // What the largest QR code holds: bytes, characters, digits.
        for text in ["\u{1}".repeat(2953), "\"".repeat(2953), "A".repeat(MAX_TEXT), "\u{1}".repeat(MAX_TEXT)] {
            assert!(serde_json::to_vec(&frame(&text)).unwrap().len() < MAX_LINE);
        }
    }

    #[test]
    fn the_wire_is_what_the_contract_says() {
        let frame = ReaderMessage::Frame {
            frame: 3,
            captured_mono_us: 9,
            decode_us: 4,
            texts: vec!["GP1:X".into()],
            luma_mean: 120,
        };
        let text = serde_json::to_string(&frame).unwrap();
        assert_eq!(
            text,
            r#"{"kind":"frame","frame":3,"captured_mono_us":9,"decode_us":4,"texts":["GP1:X"],"luma_mean":120}"#
        );
        assert_eq!(serde_json::from_str::<ReaderMessage>(&text).unwrap(), frame);
        let opened =
            ReaderMessage::Opened { camera: "replay:/x".into(), width: 0, height: 0, sandboxed: Sandboxed::Seccomp };
        assert!(serde_json::to_string(&opened).unwrap().contains(r#""sandboxed":"seccomp""#));
    }
}
