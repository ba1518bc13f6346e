//! Which events had their pulse. Lives as long as the process: what came before is unknown, and said to be.

use std::collections::VecDeque;

use super::protocol::{Answer, PastPulse};

/// How many pulses are remembered to refuse repeats and to answer queries.
pub(super) const REMEMBERED: usize = 1024;
/// How many of them a new connection is told.
const TOLD: usize = 16;

/// The last pulses, oldest first.
#[derive(Debug, Default)]
pub(super) struct Past {
    pulses: VecDeque<PastPulse>,
}

impl Past {
    /// What is known about the pulse of an event.
    pub(super) fn answer(&self, event: &str) -> Answer {
        let known = self.pulses.iter().find(|past| past.event == event);
        known.map_or(Answer::Unknown, |past| past.result)
    }

    /// Writes down what became of a pulse; the oldest is forgotten.
    pub(super) fn note(&mut self, event: &str, result: Answer) {
        self.pulses.retain(|past| past.event != event);
        if self.pulses.len() == REMEMBERED {
            self.pulses.pop_front();
        }
        self.pulses.push_back(PastPulse { event: event.to_owned(), result });
    }

    /// The last few.
    pub(super) fn last(&self) -> Vec<PastPulse> {
        let older = self.pulses.len().saturating_sub(TOLD);
        self.pulses.iter().skip(older).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_and_the_newest_word_counts() {
        let mut past = Past::default();
        for number in 0..REMEMBERED + 1 {
            past.note(&number.to_string(), Answer::NotDone);
        }
        assert_eq!(past.pulses.len(), REMEMBERED);
        assert_eq!(past.answer("0"), Answer::Unknown);
        past.note("1", Answer::Done);
        assert_eq!(past.answer("1"), Answer::Done);
        assert_eq!(past.last().len(), TOLD);
        assert_eq!(past.last().last().map(|past| past.event.as_str()), Some("1"));
    }
}
