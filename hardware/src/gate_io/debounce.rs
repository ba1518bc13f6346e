//! Contacts bounce: a level counts once it has stayed for the configured time.
//!
//! Done here rather than in the kernel so that every backend behaves the same and tests own the time.

/// The debounced state of one input.
#[derive(Debug, Clone)]
pub struct Debounced {
    stable: bool,
    /// The level that wants to become stable, and when its edge came.
    pending: Option<(bool, u64)>,
    hold_us: u64,
}

impl Debounced {
    /// An input that starts with `active` and needs `hold_us` microseconds of quiet.
    #[must_use]
    pub fn new(active: bool, hold_us: u64) -> Self {
        Self { stable: active, pending: None, hold_us }
    }

    /// The state that counts now.
    #[must_use]
    pub fn active(&self) -> bool {
        self.stable
    }

    /// An edge came at `at_us`.
    pub fn edge(&mut self, active: bool, at_us: u64) {
        self.pending = match self.pending {
            // A repeat of the same level does not restart the wait.
            Some((level, since)) if level == active => Some((level, since)),
            Some(_) | None if active == self.stable => None,
            Some(_) | None => Some((active, at_us)),
        };
    }

    /// Commits a level that has stayed long enough; returns it with the time of its edge.
    pub fn settle(&mut self, now_us: u64) -> Option<(bool, u64)> {
        let (level, since) = self.pending?;
        if now_us < since.saturating_add(self.hold_us) {
            return None;
        }
        self.pending = None;
        self.stable = level;
        Some((level, since))
    }

    /// When [`Debounced::settle`] may have something to commit.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        self.pending.map(|(_, since)| since.saturating_add(self.hold_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_level_that_stays_counts() {
        let mut input = Debounced::new(false, 20);
        input.edge(true, 100);
        assert_eq!(input.settle(119), None);
        input.edge(false, 119);
        assert_eq!(input.settle(500), None, "a glitch shorter than the hold left a trace");
        input.edge(true, 600);
        input.edge(true, 615);
        assert_eq!(input.next_wake(), Some(620));
        assert_eq!(input.settle(620), Some((true, 600)));
        assert!(input.active());
        input.edge(true, 700);
        assert_eq!(input.next_wake(), None);
        input.edge(false, 800);
        assert_eq!(input.settle(820), Some((false, 800)));
    }

    #[test]
    fn without_a_hold_every_edge_counts_at_once() {
        let mut input = Debounced::new(true, 0);
        input.edge(false, 7);
        assert_eq!(input.settle(7), Some((false, 7)));
    }
}
