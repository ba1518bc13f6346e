//! What people see and hear: a pure function of what a lane is doing.
//!
//! Colour is never alone: every kind of screen has its own lamp pattern, word and sound.

use serde::{Deserialize, Serialize};

/// What the lamps show. One lamp at a time, except `Fault`, which alternates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lamp {
    /// Stop.
    Red,
    /// Wait, somebody looks at it.
    Yellow,
    /// Nearly full: slow flash, 1 Hz.
    YellowFlash,
    /// Go.
    Green,
    /// Yellow and red alternating at 1 Hz: call staff.
    Fault,
}

/// Four sounds with different rhythms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sound {
    /// Come in.
    Entry,
    /// Goodbye.
    Exit,
    /// Somebody has to look.
    Attention,
    /// No.
    Error,
}

/// The kinds of screen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScreenKind {
    /// Nothing is shown to the camera.
    Idle,
    /// Being written down.
    Wait,
    /// Come in.
    Admit,
    /// Goodbye.
    Goodbye,
    /// The exit is free.
    FreeExit,
    /// Staff are asked.
    Check,
    /// No.
    Deny,
    /// No place left.
    Full,
    /// Closed by staff.
    Closed,
    /// Call staff.
    Fault,
    /// Open because of fire.
    Fire,
}

/// What lamps and speaker do for a kind of screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Signal {
    /// The lamps.
    pub lamp: Lamp,
    /// Played once when the screen appears.
    pub sound: Option<Sound>,
}

impl ScreenKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Idle,
        Self::Wait,
        Self::Admit,
        Self::Goodbye,
        Self::FreeExit,
        Self::Check,
        Self::Deny,
        Self::Full,
        Self::Closed,
        Self::Fault,
        Self::Fire,
    ];

    /// The signal of this kind of screen. `near_full` only matters while nothing else is to be said.
    pub fn signal(self, near_full: bool) -> Signal {
        let (lamp, sound) = match self {
            Self::Idle if near_full => (Lamp::YellowFlash, None),
            Self::Idle => (Lamp::Red, None),
            Self::Wait => (Lamp::Yellow, None),
            Self::Admit => (Lamp::Green, Some(Sound::Entry)),
            Self::Goodbye => (Lamp::Green, Some(Sound::Exit)),
            Self::FreeExit => (Lamp::Green, None),
            Self::Check => (Lamp::Yellow, Some(Sound::Attention)),
            Self::Deny | Self::Full => (Lamp::Red, Some(Sound::Error)),
            Self::Closed => (Lamp::Red, None),
            Self::Fault => (Lamp::Fault, Some(Sound::Attention)),
            Self::Fire => (Lamp::Green, Some(Sound::Attention)),
        };
        Signal { lamp, sound }
    }
}
