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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::{Language, screen_words};

    #[test]
    fn people_can_tell_the_screens_apart_without_their_colours() {
        // Pairs that share lamp and sound, because both mean the same to a driver's foot; the word tells them apart.
        let alike = [[ScreenKind::Deny, ScreenKind::Full], [ScreenKind::Idle, ScreenKind::Closed]];
        let mut shared = vec![];
        for (at, one) in ScreenKind::ALL.iter().enumerate() {
            for other in &ScreenKind::ALL[at + 1..] {
                for language in [Language::En, Language::Ro] {
                    let (a, b) = (screen_words(*one, language), screen_words(*other, language));
                    assert_ne!((a.title, a.advice), (b.title, b.advice), "{one:?} and {other:?}");
                }
                if one.signal(false) == other.signal(false) {
                    shared.push([*one, *other]);
                }
            }
        }
        shared.sort_unstable();
        let mut expected = alike;
        expected.sort_unstable();
        assert_eq!(shared, expected);
        assert_eq!(ScreenKind::ALL.len(), 11);
    }

    #[test]
    fn green_means_go_and_red_means_stop() {
        for kind in ScreenKind::ALL {
            let goes =
                matches!(kind, ScreenKind::Admit | ScreenKind::Goodbye | ScreenKind::FreeExit | ScreenKind::Fire);
            for near_full in [false, true] {
                let lamp = kind.signal(near_full).lamp;
                assert_eq!(lamp == Lamp::Green, goes, "{kind:?}");
                // The warning is for who comes next; it never hides a verdict.
                let flashes = *kind == ScreenKind::Idle && near_full;
                assert_eq!(lamp == Lamp::YellowFlash, flashes, "{kind:?}, near full {near_full}");
            }
            assert_eq!(kind.signal(false).lamp == Lamp::Fault, *kind == ScreenKind::Fault);
        }
        let sounds = |kind: ScreenKind| kind.signal(false).sound;
        assert_ne!(sounds(ScreenKind::Admit), sounds(ScreenKind::Goodbye));
        assert_ne!(sounds(ScreenKind::Admit), sounds(ScreenKind::Deny));
        assert_ne!(sounds(ScreenKind::Check), sounds(ScreenKind::Deny));
        assert_eq!(sounds(ScreenKind::Idle), None, "a lane at rest is quiet");
    }
}
