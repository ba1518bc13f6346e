//! What a gate says to the cloud next: events up first, then changes down, then wait for a hint.
//!
//! Sans-IO. The shell asks [`Session::next`] what to do, does it, and tells the outcome; timers and randomness are
//! arguments, so that the same code runs in the simulation.

use crate::mutant::{Mutant, active};

/// Shortest pause after a failure, microseconds.
const BACKOFF_MIN_US: u64 = 250_000;
/// Longest pause after failures, microseconds.
const BACKOFF_MAX_US: u64 = 30_000_000;
/// A server's wish for a pause is honoured up to this long, microseconds: a mistaken one must not silence a gate for days.
const RETRY_AFTER_MAX_US: u64 = 600_000_000;
/// Without a hint, ask anyway this often, microseconds.
const POLL_US: u64 = 15_000_000;
/// A gate that has nothing to send shows its journal's head this often, microseconds, and when the link comes back: the
/// answer's receipts tell what a cloud that was restored from a backup has lost, also where its chain of changes gives
/// nothing away.
const SHOW_US: u64 = 60_000_000;

/// What the shell should do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send the oldest unacknowledged events; if there are none, only the journal's signed head.
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
    Pushed {
        /// There were none: the journal's head was shown.
        head_only: bool,
    },
    /// The changes were applied.
    Pulled {
        /// The cloud has more.
        more: bool,
    },
    /// The cloud does not know the changes that this gate has: it was restored from an older backup. Events still go up.
    CloudBehind,
    /// The cloud answered and did not take the events: it says that something is wrong with them, or with their device.
    NotTaken,
    /// The cloud answered, and what it said about changes can't be taken: it refuses the question, or its answer is not
    /// believed. Events still go up.
    NotTold,
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
    /// Before anything is tried again.
    rest: Backoff,
    /// Before events are: a cloud that does not take them may have news all the same.
    push_rest: Backoff,
    /// Before news are: a cloud whose news can't be taken may take events all the same.
    pull_rest: Backoff,
    pace_until_us: u64,
    pull_wanted: bool,
    /// The last answer said that there is more.
    unfinished: bool,
    /// The cloud said that there is something: it goes before what waits here, once.
    hinted: bool,
    /// The last thing that worked was a pull: what waits here has its turn.
    pulled_last: bool,
    confirm: Confirm,
    last_pull_us: u64,
    /// When the head is shown again.
    show_at_us: u64,
}

/// How far the gate's word is that it has applied a change, and all that it did before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Confirm {
    /// Nobody waits for it.
    Nothing,
    /// The next pull tells from which position it asks.
    Position,
    /// The next push shows the journal's head as it is since then.
    Head,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            link: Link::Never,
            rest: Backoff::default(),
            push_rest: Backoff::default(),
            pull_rest: Backoff::default(),
            pace_until_us: 0,
            pull_wanted: true,
            unfinished: false,
            hinted: false,
            pulled_last: false,
            confirm: Confirm::Nothing,
            last_pull_us: 0,
            show_at_us: 0,
        }
    }
}

impl Session {
    /// What to do now, given how many events wait to be acknowledged.
    pub fn next(&self, now_us: u64, pending_events: u64) -> Action {
        let not_before_us = self.rest.until_us.max(self.pace_until_us);
        if now_us < not_before_us {
            return Action::WaitUntil(not_before_us);
        }
        let poll_at = self.last_pull_us.saturating_add(POLL_US);
        let to_push = pending_events > 0 || self.confirm == Confirm::Head || now_us >= self.show_at_us;
        let may_push = now_us >= self.push_rest.until_us;
        // While offline the small question goes first: it costs nothing if the answer does not come.
        let to_pull = self.link != Link::Online
            || self.unfinished
            // A revocation does not wait until a month's events are up.
            || self.hinted
            || (self.pull_wanted && !(to_push && may_push))
            || now_us >= poll_at;
        let pull_at = if to_pull { self.pull_rest.until_us } else { poll_at.max(self.pull_rest.until_us) };
        if to_pull && now_us >= pull_at {
            Action::Pull
        } else if to_push && may_push {
            Action::Push
        } else if to_push {
            Action::WaitUntil(pull_at.min(self.push_rest.until_us))
        } else {
            Action::WaitUntil(pull_at.min(self.show_at_us))
        }
    }

    /// Takes in the outcome of an action. `random` is any 64 random bits, for the jitter.
    pub fn done(&mut self, outcome: Outcome, now_us: u64, random: u64) {
        match outcome {
            Outcome::Pushed { head_only } => {
                self.worked();
                if head_only {
                    self.show_at_us = now_us.saturating_add(SHOW_US);
                }
                self.push_rest = Backoff::default();
                self.pulled_last = false;
                self.hinted = self.pull_wanted;
                if self.confirm == Confirm::Head {
                    self.confirm = Confirm::Nothing;
                }
            }
            Outcome::Pulled { more } => {
                self.worked();
                self.pull_wanted = more;
                self.unfinished = more;
                self.hinted = false;
                self.pulled_last = true;
                if self.confirm == Confirm::Position {
                    self.confirm = Confirm::Head;
                }
                self.last_pull_us = now_us;
                self.pull_rest = Backoff::default();
            }
            Outcome::CloudBehind => {
                self.worked();
                self.pull_rest = Backoff::default();
                self.pull_wanted = false;
                self.unfinished = false;
                self.hinted = false;
                self.pulled_last = true;
                // What was acknowledged may be lost there: its receipts tell.
                self.show_at_us = now_us;
                self.last_pull_us = now_us;
            }
            Outcome::NotTaken => {
                self.worked();
                self.pulled_last = false;
                self.hinted = self.pull_wanted;
                self.push_rest.fail(now_us, random);
            }
            Outcome::NotTold => {
                self.worked();
                self.pulled_last = true;
                self.pull_rest.fail(now_us, random);
            }
            Outcome::Failed { retry_after_s } => {
                self.link = if self.link == Link::Never { Link::Never } else { Link::Offline };
                self.rest.fail(now_us, random);
                let asked = (u64::from(retry_after_s.unwrap_or(0)) * 1_000_000).min(RETRY_AFTER_MAX_US);
                // A fleet that was told one moment must not come back at one moment, and less so the second time.
                let asked = if asked == 0 { 0 } else { asked + random % (asked / 2 + 1) };
                self.rest.until_us = self.rest.until_us.saturating_add(asked);
                if active(Mutant::NeverRetry) {
                    self.rest.until_us = u64::MAX;
                }
            }
        }
    }

    /// The cloud hinted at changes.
    pub fn hinted(&mut self) {
        self.pull_wanted = true;
        // News and events take turns, so that neither a month's events nor a busy venue holds up the other.
        self.hinted = !self.pulled_last;
    }

    /// Something was applied that the cloud must know to be applied (who holds capacity rights): the position is told and
    /// then the journal's head, also if no event waits. The head says that nothing done before is missing.
    pub fn confirm(&mut self) {
        self.confirm = Confirm::Position;
        self.pull_wanted = true;
    }

    /// The road is meant to carry no more than so much: nothing until this monotonic stamp, microseconds.
    pub fn pace(&mut self, until_us: u64) {
        self.pace_until_us = until_us;
    }

    /// The network came back: do not sit out the pause.
    pub fn link_up(&mut self) {
        if active(Mutant::NeverRetry) {
            return;
        }
        self.rest = Backoff::default();
        self.push_rest = Backoff::default();
        self.pull_rest = Backoff::default();
        self.pull_wanted = true;
    }

    /// How the link is.
    pub fn link(&self) -> Link {
        self.link
    }

    fn worked(&mut self) {
        if self.link != Link::Online {
            self.show_at_us = 0;
        }
        self.link = Link::Online;
        self.rest = Backoff::default();
    }
}

/// A growing pause.
#[derive(Clone, Copy, Default, Debug)]
struct Backoff {
    failures: u32,
    /// Not before this monotonic stamp, microseconds.
    until_us: u64,
}

impl Backoff {
    /// It failed once more.
    fn fail(&mut self, now_us: u64, random: u64) {
        self.until_us = now_us.saturating_add(backoff(self.failures, random));
        self.failures = self.failures.saturating_add(1);
    }
}

/// The pause after so many failures before this one, microseconds.
fn backoff(failures: u32, random: u64) -> u64 {
    let exponential = BACKOFF_MIN_US.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX_US);
    // Full jitter over the upper half: never zero, never more than the cap.
    exponential / 2 + random % (exponential / 2 + 1)
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
        session.done(Outcome::Pushed { head_only: false }, 3, 0);
        session.hinted();
        assert_eq!(session.next(3, 0), Action::Pull);
        session.done(Outcome::Pulled { more: false }, 4, 0);
        assert_eq!(session.next(4, 0), Action::Push, "the head, for what a cloud may have lost");
        session.done(Outcome::Pushed { head_only: true }, 4, 0);
        assert_eq!(session.next(4, 0), Action::WaitUntil(4 + POLL_US));
    }

    #[test]
    fn a_revocation_does_not_wait_for_a_months_events_and_events_do_not_wait_for_a_busy_venue() {
        let mut session = Session::default();
        session.done(Outcome::Pulled { more: false }, 1, 0);
        let mut actions = Vec::new();
        for now in 2..10 {
            // A hint between any two steps.
            session.hinted();
            let action = session.next(now, 60_000);
            actions.push(action);
            match action {
                Action::Push => session.done(Outcome::Pushed { head_only: false }, now, 0),
                Action::Pull => session.done(Outcome::Pulled { more: false }, now, 0),
                Action::WaitUntil(_) => panic!("there is something to do"),
            }
        }
        use Action::{Pull, Push};
        assert_eq!(actions, [Push, Pull, Push, Pull, Push, Pull, Push, Pull]);
    }

    #[test]
    fn what_must_be_confirmed_is_confirmed_at_once_by_a_gate_with_nothing_to_send() {
        let mut session = Session::default();
        session.done(Outcome::Pulled { more: false }, 1, 0);
        session.done(Outcome::Pushed { head_only: true }, 1, 0);
        session.confirm();
        assert_eq!(session.next(1, 0), Action::Pull, "from the position after the change");
        session.done(Outcome::Failed { retry_after_s: None }, 1, 0);
        let Action::WaitUntil(later) = session.next(1, 0) else { panic!("must pause after a failure") };
        assert_eq!(session.next(later, 0), Action::Pull);
        session.done(Outcome::Pulled { more: false }, later, 0);
        session.hinted();
        assert_eq!(session.next(later, 0), Action::Push, "the head, with no event");
        session.done(Outcome::Pushed { head_only: true }, later, 0);
        assert_eq!(session.next(later, 0), Action::Pull, "the hint");
        session.done(Outcome::Pulled { more: false }, later, 0);
        assert!(matches!(session.next(later, 0), Action::WaitUntil(_)), "once is enough");
    }

    #[test]
    fn a_cloud_that_knows_less_still_gets_the_events_and_is_asked_again() {
        let mut session = Session::default();
        assert_eq!(session.next(0, 3), Action::Pull);
        session.done(Outcome::CloudBehind, 1, 0);
        assert_eq!(session.next(1, 3), Action::Push);
        session.done(Outcome::Pushed { head_only: false }, 2, 0);
        assert_eq!(session.next(2, 0), Action::Push, "the head alone");
        session.done(Outcome::Pushed { head_only: true }, 2, 0);
        assert_eq!(session.next(2, 0), Action::WaitUntil(1 + POLL_US));
        assert_eq!(session.next(1 + POLL_US, 0), Action::Pull);
        session.done(Outcome::CloudBehind, 1 + POLL_US, 0);
        assert_eq!(session.next(1 + POLL_US, 0), Action::Push, "the head, so that its receipts tell what was lost");
    }

    #[test]
    fn an_idle_gate_shows_its_head_once_a_minute_and_when_the_link_comes_back() {
        let mut session = Session::default();
        let (mut now, mut shown) = (0, vec![]);
        let fails = |now: u64| (150_000_000..170_000_000).contains(&now);
        while now < 400_000_000 {
            match session.next(now, 0) {
                Action::Push | Action::Pull if fails(now) => {
                    session.done(Outcome::Failed { retry_after_s: None }, now, 0)
                }
                Action::Push => {
                    shown.push(now / 1_000_000);
                    session.done(Outcome::Pushed { head_only: true }, now, 0);
                }
                Action::Pull => session.done(Outcome::Pulled { more: false }, now, 0),
                Action::WaitUntil(until) => {
                    assert!(until > now && until - now <= BACKOFF_MAX_US, "{now} to {until}");
                    now = until;
                }
            }
        }
        assert_eq!((shown[0], shown[1], shown[2]), (0, 60, 120));
        assert!((170..200).contains(&shown[3]), "after the link was away: {shown:?}");
        assert_eq!(shown[4], shown[3] + 60);
    }

    #[test]
    fn a_cloud_that_takes_no_events_is_not_hammered_and_still_tells_its_news() {
        let mut session = Session::default();
        session.done(Outcome::Pulled { more: false }, 1, 0);
        let mut now = 1;
        let mut pauses = Vec::new();
        for round in 0..12u64 {
            assert_eq!(session.next(now, 3), Action::Push, "round {round}");
            session.done(Outcome::NotTaken, now, round * 0x9e37_79b9);
            assert_eq!(session.link(), Link::Online);
            session.hinted();
            assert_eq!(session.next(now, 3), Action::Pull, "a revocation does not wait for it");
            session.done(Outcome::Pulled { more: false }, now, 0);
            let began = now;
            while let Action::WaitUntil(until) = session.next(now, 3) {
                now = until;
                if session.next(now, 3) == Action::Pull {
                    session.done(Outcome::Pulled { more: false }, now, 0);
                }
            }
            pauses.push(now - began);
        }
        assert!(pauses[0] <= BACKOFF_MIN_US && pauses[11] > BACKOFF_MAX_US / 2 - 1, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= BACKOFF_MAX_US), "{pauses:?}");
        session.done(Outcome::NotTaken, now, 0);
        session.link_up();
        session.done(Outcome::Pulled { more: false }, now, 0);
        assert_eq!(session.next(now, 3), Action::Push);
    }

    #[test]
    fn a_cloud_whose_news_cannot_be_taken_still_gets_the_events_and_is_not_hammered() {
        let mut session = Session::default();
        let (mut now, mut left, mut asked) = (0, 20, vec![]);
        while now < 300_000_000 {
            match session.next(now, left) {
                Action::Pull => {
                    asked.push(now);
                    session.done(Outcome::NotTold, now, now.wrapping_mul(0x9e37_79b9));
                    assert_eq!(session.link(), Link::Online, "it answers");
                }
                Action::Push => {
                    let head_only = left == 0;
                    left = left.saturating_sub(1);
                    session.done(Outcome::Pushed { head_only }, now, 0);
                }
                Action::WaitUntil(until) => {
                    assert!(until > now && until - now <= BACKOFF_MAX_US, "{now} to {until}");
                    now = until;
                }
            }
            assert!(left == 0 || now == 0, "{left} events wait behind news that can't be taken");
            session.hinted();
        }
        assert!((10..25).contains(&asked.len()), "{asked:?}");
        session.done(Outcome::Pulled { more: false }, now, 0);
        session.hinted();
        assert_eq!(session.next(now, 1), Action::Push, "news and events take turns");
        session.done(Outcome::Pushed { head_only: false }, now, 0);
        assert_eq!(session.next(now, 0), Action::Pull, "and nothing is held against it");
    }

    #[test]
    fn a_limited_road_rests_after_each_load_whatever_happens() {
        let mut session = Session::default();
        session.done(Outcome::Pulled { more: true }, 1, 0);
        session.pace(500);
        session.link_up();
        session.hinted();
        assert_eq!(session.next(2, 9), Action::WaitUntil(500));
        assert_eq!(session.next(500, 9), Action::Pull);
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
        // What the server asks for comes on top.
        let own = BACKOFF_MAX_US / 2;
        session.done(Outcome::Failed { retry_after_s: Some(60) }, now, 0);
        assert_eq!(session.next(now, 1), Action::WaitUntil(now + own + 60_000_000));
        session.done(Outcome::Failed { retry_after_s: Some(u32::MAX) }, now, 0);
        assert_eq!(session.next(now, 1), Action::WaitUntil(now + own + RETRY_AFTER_MAX_US));
        session.link_up();
        assert_eq!(session.next(now, 1), Action::Pull);
        assert_eq!(session.link(), Link::Never, "nothing was ever heard");
    }
}
