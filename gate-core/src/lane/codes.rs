//! The codes in view: each is judged once for as long as it stays, and a reader that misses a frame changes nothing.
//!
//! Several may be in view at once: a sticker on a car must not keep its driver's pass from being read, and two codes
//! that a reader finds by turns must not make the lamps flicker. But one driver pays once: a strip of a vendor's sheet
//! held up shows many good passes, so whatever was in view beside the code that was admitted is not judged until it has
//! left the view. A strip that is drawn past the camera shows its next pass only when the first has left: a code that
//! follows such a companion waits too, but only for [`FOLLOWER_US`], because the companion may as well be a poster that
//! never leaves, and then the next driver must be served.

use crate::ids::Hash;

/// A code that was not seen for this long has left the view, microseconds.
const GONE_US: u64 = 1_000_000;
/// Codes seen within this long of each other are held up together; readers find several by turns, microseconds. Whoever
/// comes later is somebody else, or took the first code away.
const TOGETHER_US: u64 = 400_000;
/// More codes than this at once are not remembered.
const LIMIT: usize = 16;
/// A code that came while a companion of an admitted one was in view waits until this long after the admission, microseconds.
const FOLLOWER_US: u64 = 8_000_000;

#[derive(Clone, Copy, Debug)]
struct Code {
    code: Hash,
    last_seen_us: u64,
    /// When it was judged, if it was since it came into view.
    judged_us: Option<u64>,
    /// It was in view together with the code that is being dealt with.
    beside: bool,
    /// Until when it is not judged, because somebody with another code was admitted.
    held_until_us: Option<u64>,
}

impl Code {
    fn is_held(&self, us: u64) -> bool {
        self.held_until_us.is_some_and(|until| us < until)
    }
}

/// The code that was judged last, unless it was refused.
#[derive(Clone, Copy, Debug)]
struct Subject {
    code: Hash,
    /// When it was admitted, if it was.
    admitted_us: Option<u64>,
}

/// What the reader sees at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct CodesInView {
    codes: Vec<Code>,
    subject: Option<Subject>,
}

impl CodesInView {
    /// Takes in a frame.
    pub(super) fn see(&mut self, frame: &[Hash], us: u64) {
        self.drop_gone(us);
        for code in frame {
            if let Some(known) = self.codes.iter_mut().find(|known| known.code == *code) {
                known.last_seen_us = us;
            } else if self.codes.len() < LIMIT || self.evict(us) {
                let newcomer = self.newcomer(*code, us);
                self.codes.push(newcomer);
            }
        }
    }

    /// A code that comes into view.
    fn newcomer(&self, code: Hash, us: u64) -> Code {
        let mut newcomer = Code { code, last_seen_us: us, judged_us: None, beside: false, held_until_us: None };
        let Some(subject) = self.subject.filter(|subject| subject.code != code) else {
            return newcomer;
        };
        let beside = |known: &Code| us < known.last_seen_us.saturating_add(TOGETHER_US);
        let with_subject = self.codes.iter().any(|known| known.code == subject.code && beside(known));
        match subject.admitted_us {
            None => newcomer.beside = with_subject,
            Some(_) if with_subject => newcomer.held_until_us = Some(u64::MAX),
            Some(admitted_us) => {
                let follows = self.codes.iter().any(|known| known.is_held(us) && beside(known));
                newcomer.held_until_us = follows.then(|| admitted_us.saturating_add(FOLLOWER_US));
            }
        }
        newcomer
    }

    /// Makes room for a newcomer by forgetting the code that was judged the longest ago: many bad codes must not keep a
    /// good one from being seen. The code that is dealt with stays, and so do those that were not judged.
    fn evict(&mut self, us: u64) -> bool {
        let subject = self.subject.map(|subject| subject.code);
        let oldest = (0..self.codes.len())
            .filter(|at| {
                let known = &self.codes[*at];
                known.judged_us.is_some() && !known.is_held(us) && Some(known.code) != subject
            })
            .min_by_key(|at| self.codes[*at].judged_us);
        if let Some(at) = oldest {
            self.codes.remove(at);
        }
        oldest.is_some()
    }

    /// The code of a frame that waits the longest without having been judged since it came into view; of several that
    /// came together the first by position. It counts as judged from now on.
    pub(super) fn take(&mut self, frame: &[Hash], us: u64) -> Option<Hash> {
        // They are kept in the order in which they came.
        let next = self
            .codes
            .iter_mut()
            .find(|known| known.judged_us.is_none() && !known.is_held(us) && frame.contains(&known.code))?;
        next.judged_us = Some(us);
        Some(next.code)
    }

    /// This code is being judged: whatever else waits in view, or comes while it is there, is shown together with it.
    pub(super) fn begin(&mut self, code: Hash) {
        self.subject = Some(Subject { code, admitted_us: None });
        for known in &mut self.codes {
            known.beside = known.code != code && known.judged_us.is_none();
        }
    }

    /// The code being judged is not let through: those beside it may be.
    pub(super) fn dismiss(&mut self) {
        self.subject = None;
        for known in &mut self.codes {
            known.beside = false;
        }
    }

    /// The code being judged is let through: those beside it must leave before they count.
    pub(super) fn admit(&mut self, us: u64) {
        if let Some(subject) = &mut self.subject {
            subject.admitted_us = Some(us);
        }
        for known in self.codes.iter_mut().filter(|known| known.beside) {
            known.beside = false;
            known.held_until_us = Some(u64::MAX);
        }
    }

    /// Lets a code be judged again although it never left.
    pub(super) fn give_back(&mut self, code: Hash) {
        for known in self.codes.iter_mut().filter(|known| known.code == code) {
            known.judged_us = None;
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
