//! Which texts are told when a frame holds more of them than a message may carry.
//!
//! A sheet of codes beside the lens must not hide the pass somebody holds up, wherever in the view it is.
//! So what looks like a pass goes before what does not, and among equals whoever waited longest.

use std::collections::BTreeMap;

use super::protocol::{MAX_TEXT, MAX_TEXTS};

/// For how long a text that was told steps back behind those that were not, in microseconds.
const RECENT_US: u64 = 1_000_000;

/// Remembers what was told within the last second.
#[derive(Debug, Default)]
pub struct Chooser {
    told_us: BTreeMap<String, u64>,
}

impl Chooser {
    /// At most [`MAX_TEXTS`] of `texts`, in the order they came in; texts longer than [`MAX_TEXT`] bytes are dropped.
    ///
    /// Passes (`GP`, a digit, `:`) go before others, texts not told within the last second before those that
    /// were, then whoever was told longest ago, then by place. `now_us` never goes back.
    pub fn choose(&mut self, mut texts: Vec<String>, now_us: u64) -> Vec<String> {
        self.told_us.retain(|_, told_us| now_us.saturating_sub(*told_us) < RECENT_US);
        texts.retain(|text| text.len() <= MAX_TEXT);
        if texts.len() > MAX_TEXTS {
            let mut placed: Vec<(usize, String)> = texts.into_iter().enumerate().collect();
            // A text that was not told has no time, which is before every time.
            placed.sort_by_key(|(place, text)| (!is_pass(text), self.told_us.get(text).copied(), *place));
            placed.truncate(MAX_TEXTS);
            placed.sort_by_key(|(place, _)| *place);
            texts = placed.into_iter().map(|(_, text)| text).collect();
        }
        self.told_us.extend(texts.iter().map(|text| (text.clone(), now_us)));
        texts
    }
}

fn is_pass(text: &str) -> bool {
    let version = text.strip_prefix("GP").and_then(|rest| rest.split_once(':'));
    version.is_some_and(|(version, _)| version.len() == 1 && version.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// When, what was seen, what is told.
    type Frame = (u64, Vec<String>, Vec<String>);

    /// A text of each letter.
    fn row(letters: &str) -> Vec<String> {
        letters.chars().map(String::from).collect()
    }

    fn passes(letters: &str) -> Vec<String> {
        letters.chars().map(|letter| format!("GP1:{letter}")).collect()
    }

    fn with(mut first: Vec<String>, second: Vec<String>) -> Vec<String> {
        first.extend(second);
        first
    }

    #[test]
    fn who_is_told() {
        let table: [(&str, Vec<Frame>); 8] = [
            (
                "eight are all told, again and again",
                vec![(0, row("ABCDEFGH"), row("ABCDEFGH")), (1, row("ABCDEFGH"), row("ABCDEFGH"))],
            ),
            ("of nine the first eight by place", vec![(0, row("ABCDEFGHI"), row("ABCDEFGH"))]),
            (
                "the ninth has its turn in the next frame",
                vec![
                    (0, row("ABCDEFGHI"), row("ABCDEFGH")),
                    (1, row("ABCDEFGHI"), row("ABCDEFGI")),
                    (2, row("ABCDEFGHI"), row("ABCDEFGH")),
                ],
            ),
            (
                "a pass below a sheet of codes is told in every frame",
                vec![
                    (0, with(row("ABCDEFGHIJ"), passes("P")), with(row("ABCDEFG"), passes("P"))),
                    (1, with(row("ABCDEFGHIJ"), passes("P")), with(row("ABCDHIJ"), passes("P"))),
                ],
            ),
            (
                "a new pass below a sheet of passes is told at once",
                vec![(0, passes("ABCDEFGH"), passes("ABCDEFGH")), (1, passes("ABCDEFGHP"), passes("ABCDEFGP"))],
            ),
            (
                "after a second nobody was told",
                vec![
                    (0, row("ABCDEFGH"), row("ABCDEFGH")),
                    (SECOND - 1, row("ABCDEFGHI"), row("ABCDEFGI")),
                    (2 * SECOND - 1, row("ABCDEFGHI"), row("ABCDEFGH")),
                ],
            ),
            (
                "what only resembles a pass is none",
                vec![(
                    0,
                    with(
                        ["GP:A", "GPX:A", "gp1:A", "GP12:A", "XGP1:A", "GP1", "", "GP\u{661}:A"]
                            .map(String::from)
                            .into(),
                        passes("P"),
                    ),
                    with(
                        ["GP:A", "GPX:A", "gp1:A", "GP12:A", "XGP1:A", "GP1", ""].map(String::from).into(),
                        passes("P"),
                    ),
                )],
            ),
            (
                "a text too long is not told and takes nobody's place",
                vec![(0, with(vec!["x".repeat(MAX_TEXT + 1)], row("ABCDEFGH")), row("ABCDEFGH"))],
            ),
        ];
        for (name, frames) in table {
            let mut chooser = Chooser::default();
            for (now_us, seen, told) in frames {
                assert_eq!(chooser.choose(seen, now_us), told, "{name}, at {now_us} us");
            }
        }
    }

    #[test]
    fn everybody_in_a_crowd_has_a_turn_within_a_second_and_the_memory_ends() {
        let crowd: Vec<String> = (0..60).map(|number| format!("GP1:{number:02}")).collect();
        let mut chooser = Chooser::default();
        let mut told = std::collections::BTreeSet::new();
        for frame in 0..15 {
            told.extend(chooser.choose(crowd.clone(), frame * 66_000));
        }
        assert_eq!(told.len(), crowd.len());
        chooser.choose(Vec::new(), 10 * SECOND);
        assert!(chooser.told_us.is_empty());
    }
}
