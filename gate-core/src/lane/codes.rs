//! The codes in view: each is judged once for as long as it stays, and a reader that misses a frame changes nothing.
//!
//! Several may be in view at once: a sticker on a car must not keep its driver's pass from being read, and two codes
//! that a reader finds by turns must not make the lamps flicker.

use crate::ids::Hash;

/// A code that was not seen for this long has left the view, microseconds.
const GONE_US: u64 = 1_000_000;
/// More codes than this at once are not looked at.
const LIMIT: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Code {
    code: Hash,
    last_seen_us: u64,
    judged: bool,
}

/// What the reader sees at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct CodesInView {
    codes: Vec<Code>,
}

impl CodesInView {
    /// Takes in a frame.
    pub(super) fn see(&mut self, frame: &[Hash], us: u64) {
        self.drop_gone(us);
        for code in frame {
            if let Some(known) = self.codes.iter_mut().find(|known| known.code == *code) {
                known.last_seen_us = us;
            } else if self.codes.len() < LIMIT {
                self.codes.push(Code { code: *code, last_seen_us: us, judged: false });
            }
        }
    }

    /// The first code of a frame, by position, that was not judged since it came into view. It counts as judged from now on.
    pub(super) fn take(&mut self, frame: &[Hash]) -> Option<Hash> {
        let next =
            frame.iter().find_map(|code| self.codes.iter().position(|known| known.code == *code && !known.judged))?;
        self.codes[next].judged = true;
        Some(self.codes[next].code)
    }

    /// Lets a code be judged again although it never left.
    pub(super) fn give_back(&mut self, code: Hash) {
        for known in self.codes.iter_mut().filter(|known| known.code == code) {
            known.judged = false;
        }
    }

    /// Until when this code stays in view if it is not seen again; `None` if it is not in view.
    pub(super) fn until(&self, code: Hash) -> Option<u64> {
        let known = self.codes.iter().find(|known| known.code == code)?;
        Some(known.last_seen_us.saturating_add(GONE_US))
    }

    /// Forgets what was not seen for a while.
    pub(super) fn drop_gone(&mut self, us: u64) {
        self.codes.retain(|known| us < known.last_seen_us.saturating_add(GONE_US));
    }

    /// When the next code leaves.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.codes.iter().map(|known| known.last_seen_us.saturating_add(GONE_US)).min()
    }
}
