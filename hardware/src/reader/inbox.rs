//! The newest wins, the queue holds one.
//!
//! A brain that was busy for a second must not work through a second of frames: it needs the last text,
//! and whether the view has been empty since. States of the camera are kept apart, because none may be lost.

use std::collections::VecDeque;

use super::ReaderEvent;

/// States kept for a brain that does not listen; older ones are of no use to it.
const STATES: usize = 16;

/// What the brain has not taken yet, in the order it happened.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: VecDeque<ReaderEvent>,
}

#[derive(PartialEq, Eq)]
enum Class {
    /// Replaced only by a newer one with texts.
    Text,
    /// Replaced by a newer empty one.
    Empty,
    State,
}

impl Inbox {
    pub(super) fn push(&mut self, event: ReaderEvent) {
        match class(&event) {
            Class::State => {
                let states = self.waiting.iter().filter(|old| class(old) == Class::State).count();
                if states >= STATES
                    && let Some(oldest) = self.waiting.iter().position(|old| class(old) == Class::State)
                {
                    self.waiting.remove(oldest);
                }
            }
            seen @ (Class::Text | Class::Empty) => self.waiting.retain(|old| class(old) != seen),
        }
        self.waiting.push_back(event);
    }

    pub(super) fn take(&mut self) -> Option<ReaderEvent> {
        self.waiting.pop_front()
    }
}

fn class(event: &ReaderEvent) -> Class {
    match event {
        ReaderEvent::Seen { texts, .. } if texts.is_empty() => Class::Empty,
        ReaderEvent::Seen { .. } => Class::Text,
        ReaderEvent::CameraUp { .. } | ReaderEvent::CameraLost { .. } | ReaderEvent::Restarted { .. } => Class::State,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(frame: u64, text: &str) -> ReaderEvent {
        ReaderEvent::Seen {
            frame,
            captured_mono_us: frame,
            decode_us: 1,
            texts: if text.is_empty() { vec![] } else { vec![text.to_owned()] },
            luma_mean: 100,
        }
    }

    fn lost() -> ReaderEvent {
        ReaderEvent::CameraLost { why: "unplugged".to_owned() }
    }

    #[test]
    fn what_is_left_unread() {
        for (name, pushed, left) in [
            ("the newest text wins", vec![seen(1, "a"), seen(2, "b")], vec![seen(2, "b")]),
            ("empties coalesce", vec![seen(1, ""), seen(2, ""), seen(3, "")], vec![seen(3, "")]),
            ("no empty replaces a text", vec![seen(1, "a"), seen(2, "")], vec![seen(1, "a"), seen(2, "")]),
            (
                "that the view was empty in between stays known",
                vec![seen(1, "a"), seen(2, ""), seen(3, "a")],
                vec![seen(2, ""), seen(3, "a")],
            ),
            ("states stay, in order", vec![seen(1, "a"), lost(), seen(2, "b")], vec![lost(), seen(2, "b")]),
        ] {
            let mut inbox = Inbox::default();
            for event in pushed {
                inbox.push(event);
            }
            let kept: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
            assert_eq!(kept, left, "{name}");
        }
    }

    #[test]
    fn it_never_grows() {
        let mut inbox = Inbox::default();
        for frame in 0..10_000 {
            inbox.push(seen(frame, "a"));
            inbox.push(seen(frame, ""));
            inbox.push(lost());
        }
        assert_eq!(inbox.waiting.len(), STATES + 2);
    }
}
