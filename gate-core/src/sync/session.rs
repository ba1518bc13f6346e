//! What a gate says to the cloud next: events up first, then changes down, then wait for a hint.
//!
//! Sans-IO. The shell asks [`Session::next`] what to do, does it, and tells the outcome; timers and randomness are
//! arguments, so that the same code runs in the simulation.

/// Shortest pause after a failure, microseconds.
const BACKOFF_MIN_US: u64 = 250_000;
/// Longest pause after failures, microseconds.
const BACKOFF_MAX_US: u64 = 30_000_000;
/// A server's wish for a pause is honoured up to this long, microseconds: a mistaken one must not silence a gate for days.
const RETRY_AFTER_MAX_US: u64 = 600_000_000;
/// Without a hint, ask anyway this often, microseconds.
const POLL_US: u64 = 15_000_000;

/// What the shell should do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send the oldest unacknowledged events.
    Push,
    /// Ask for changes.
    Pull,
    /// Nothing until this monotonic stamp, microseconds, or until something happens.
    WaitUntil(u64),
}

/// What came of an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The cloud took the events.
    Pushed,
    /// The changes were applied.
    Pulled {
        /// The cloud has more.
        more: bool,
    },
    /// No proper answer: no network, a captive portal, an error of the server.
    Failed {
        /// The server asked for this pause, seconds.
        retry_after_s: Option<u32>,
    },
}

/// How the link is, for the status line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// Nothing was ever heard from the cloud since this program started.
    Never,
    /// The last exchange worked.
    Online,
    /// The last exchange failed.
    Offline,
}

/// One gate's conversation with the cloud.
#[derive(Clone, Debug)]
pub struct Session {
    link: Link,
    failures: u32,
    not_before_us: u64,
    pull_wanted: bool,
    /// The last answer said that there is more.
    unfinished: bool,
    last_pull_us: u64,
}

impl Default for Session {
    fn default() -> Self {
        Self { link: Link::Never, failures: 0, not_before_us: 0, pull_wanted: true, unfinished: false, last_pull_us: 0 }
    }
}

impl Session {
    /// What to do now, given how many events wait to be acknowledged.
    pub fn next(&self, now_us: u64, pending_events: u64) -> Action {
        if now_us < self.not_before_us {
            return Action::WaitUntil(self.not_before_us);
        }
        let poll_at = self.last_pull_us.saturating_add(POLL_US);
        // While offline the small question goes first: it costs nothing if the answer does not come.
        if self.link != Link::Online
            || self.unfinished
            || (self.pull_wanted && pending_events == 0)
            || now_us >= poll_at
        {
            Action::Pull
        } else if pending_events > 0 {
            Action::Push
        } else {
            Action::WaitUntil(poll_at)
        }
    }

    /// Takes in the outcome of an action. `random` is any 64 random bits, for the jitter.
    pub fn done(&mut self, outcome: Outcome, now_us: u64, random: u64) {
        match outcome {
            Outcome::Pushed => self.worked(),
            Outcome::Pulled { more } => {
                self.worked();
                self.pull_wanted = more;
                self.unfinished = more;
                self.last_pull_us = now_us;
            }
            Outcome::Failed { retry_after_s } => {
                self.link = if self.link == Link::Never { Link::Never } else { Link::Offline };
                let exponential = BACKOFF_MIN_US.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX_US);
                self.failures = self.failures.saturating_add(1);
                // Full jitter over the upper half: never zero, never more than the cap.
                let pause = exponential / 2 + random % (exponential / 2 + 1);
                let asked = (u64::from(retry_after_s.unwrap_or(0)) * 1_000_000).min(RETRY_AFTER_MAX_US);
                // A fleet that was told one moment must not come back at one moment.
                let asked = asked + random % (asked / 8 + 1);
                self.not_before_us = now_us.saturating_add(pause.max(asked));
            }
        }
    }

    /// The cloud hinted at changes.
    pub fn hinted(&mut self) {
        self.pull_wanted = true;
    }

    /// The network came back: do not sit out the pause.
    pub fn link_up(&mut self) {
        self.failures = 0;
        self.not_before_us = 0;
        self.pull_wanted = true;
    }

    /// How the link is.
    pub fn link(&self) -> Link {
        self.link
    }

    fn worked(&mut self) {
        self.link = Link::Online;
        self.failures = 0;
        self.not_before_us = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admissions_go_up_before_news_come_down_once_the_link_works() {
        let mut session = Session::default();
        assert_eq!(session.next(0, 5), Action::Pull);
        session.done(Outcome::Pulled { more: true }, 1, 0);
        assert_eq!(session.next(1, 5), Action::Pull, "news are waiting and were never finished");
        session.done(Outcome::Pulled { more: false }, 2, 0);
        assert_eq!(session.next(2, 5), Action::Push);
        session.done(Outcome::Pushed, 3, 0);
        session.hinted();
        assert_eq!(session.next(3, 1), Action::Push);
        assert_eq!(session.next(3, 0), Action::Pull);
        session.done(Outcome::Pulled { more: false }, 4, 0);
        assert_eq!(session.next(4, 0), Action::WaitUntil(4 + POLL_US));
    }

    #[test]
    fn pauses_grow_to_thirty_seconds_and_end_when_the_link_comes_up() {
        let mut session = Session::default();
        let mut now = 0;
        for round in 0..40 {
            session.done(Outcome::Failed { retry_after_s: None }, now, u64::wrapping_mul(round, 0x9e37_79b9_7f4a_7c15));
            let Action::WaitUntil(until) = session.next(now, 1) else { panic!("must pause after a failure") };
            assert!(
                until - now <= BACKOFF_MAX_US && until - now >= BACKOFF_MIN_US / 2,
                "round {round}: {}",
                until - now
            );
            now = until;
        }
        session.done(Outcome::Failed { retry_after_s: Some(60) }, now, 0);
        assert_eq!(session.next(now, 1), Action::WaitUntil(now + 60_000_000));
        session.done(Outcome::Failed { retry_after_s: Some(u32::MAX) }, now, 0);
        assert_eq!(session.next(now, 1), Action::WaitUntil(now + RETRY_AFTER_MAX_US));
        session.link_up();
        assert_eq!(session.next(now, 1), Action::Pull);
        assert_eq!(session.link(), Link::Never, "nothing was ever heard");
    }
}
