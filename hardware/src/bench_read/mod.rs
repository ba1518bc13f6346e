//! Is the cascade better than what it is made of?
//!
//! Runs it and every single pure-Rust decoder over the same pictures in the same run, in turns, and compares
//! recall, wrong reads and processor time. Real photographs are used where they are at hand; synthetic
//! frames with passes follow from a seed. The report carries its own limits, so that a figure that got worse
//! fails a build instead of a gate.

mod decoders;
mod samples;

use std::path::Path;

use serde::Serialize;

use decoders::{Contestant, Outcome};
use samples::Sample;

/// How often every decoder looks at every picture; the median counts.
const ROUNDS: usize = 3;
/// Synthetic frames for each of four levels of difficulty.
const FRAMES_PER_LEVEL: u32 = 60;
/// The cascade may cost this many times what rxing's own filtered reader costs at the 95th percentile.
const CPU_FACTOR: f64 = 3.0;

/// What one decoder did with one set of pictures.
#[derive(Debug, Clone, Serialize)]
pub struct SetScore {
    /// Name of the set.
    pub set: String,
    /// Pictures in it.
    pub pictures: usize,
    /// Pictures read rightly (for pictures without a code: read as nothing).
    pub right: usize,
    /// Pictures from which a text came that is not in them.
    pub wrong: usize,
}

/// What one decoder did in all.
#[derive(Debug, Clone, Serialize)]
pub struct Score {
    /// Name of the decoder.
    pub decoder: &'static str,
    /// Part of the pictures with a code that was read rightly, 0..=1.
    pub recall: f64,
    /// Wrong reads over all pictures.
    pub wrong: usize,
    /// Pictures on which it panicked. For the cascade: panics that left it, each of which ends a process.
    pub panics: usize,
    /// Median of the processor time for a picture, in microseconds.
    pub cpu_p50_us: u64,
    /// 95th percentile of the processor time for a picture, in microseconds.
    pub cpu_p95_us: u64,
    /// The longest processor time for a picture, in microseconds.
    pub cpu_max_us: u64,
    /// By set.
    pub sets: Vec<SetScore>,
}

/// One limit and what was measured against it.
#[derive(Debug, Clone, Serialize)]
pub struct Limit {
    /// What is promised.
    pub promise: String,
    /// What was measured.
    pub measured: f64,
    /// What it is compared with.
    pub limit: f64,
    /// Whether it holds.
    pub ok: bool,
}

/// The outcome of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Seed of the synthetic frames.
    pub seed: u64,
    /// Pictures looked at.
    pub pictures: usize,
    /// Sets that were not at hand.
    pub skipped: Vec<String>,
    /// The cascade first, then the single decoders.
    pub scores: Vec<Score>,
    /// Every limit.
    pub limits: Vec<Limit>,
    /// Whether all limits hold.
    pub ok: bool,
}

/// Compares all decoders. `photos` is the folder with the photograph sets; pictures are shrunk to 1280 pixels.
///
/// Takes about two minutes with optimised decoders; one thread.
#[must_use]
pub fn run(photos: Option<&Path>, seed: u64) -> Report {
    // Decoders that panic are counted; a hundred stack traces tell nobody more.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let report = run_with(photos, seed, FRAMES_PER_LEVEL);
    std::panic::set_hook(hook);
    report
}

/// The same with another number of synthetic frames for each of the four levels.
#[must_use]
pub fn run_with(photos: Option<&Path>, seed: u64, frames_per_level: u32) -> Report {
    let (files, skipped) = samples::photographs(photos);
    let mut results = Vec::new();
    let photographs = files.iter().filter_map(samples::photograph);
    let drawn =
        (1..=4).flat_map(|level| (0..frames_per_level).filter_map(move |number| samples::drawn(seed, level, number)));
    for sample in photographs.chain(drawn) {
        results.push(look(&sample));
    }
    let scores: Vec<Score> =
        decoders::ALL.iter().enumerate().map(|(at, contestant)| score(contestant.name, at, &results)).collect();
    let limits = limits(&scores);
    Report { seed, pictures: results.len(), skipped, ok: limits.iter().all(|limit| limit.ok), scores, limits }
}

/// What every contestant made of one picture.
struct Looked {
    set: String,
    has_code: bool,
    /// One for each of [`decoders::ALL`].
    outcomes: Vec<(Judgement, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Judgement {
    Right,
    Nothing,
    Wrong,
    Panicked,
}

fn look(sample: &Sample) -> Looked {
    let mut rounds: Vec<Vec<(Judgement, u64)>> = vec![Vec::new(); decoders::ALL.len()];
    for round in 0..ROUNDS {
        for turn in 0..decoders::ALL.len() {
            // Everybody goes first once: what is left in the caches favours nobody.
            let at = (round + turn) % decoders::ALL.len();
            let Contestant { read, .. } = &decoders::ALL[at];
            let Outcome { texts, cpu_us } = decoders::measure(*read, &sample.frame);
            rounds[at].push((judge(texts.as_deref(), sample.text.as_deref()), cpu_us));
        }
    }
    let outcomes = rounds.into_iter().map(|mut rounds| {
        rounds.sort_by_key(|(judgement, _)| *judgement);
        let judgement = rounds[ROUNDS / 2].0;
        rounds.sort_by_key(|(_, cpu_us)| *cpu_us);
        (judgement, rounds[ROUNDS / 2].1)
    });
    Looked { set: sample.set.clone(), has_code: sample.text.is_some(), outcomes: outcomes.collect() }
}

/// A text that holds the reference and more is not wrong: some references hold one character set of several.
fn judge(read: Option<&[String]>, wanted: Option<&str>) -> Judgement {
    match (read, wanted) {
        (None, _) => Judgement::Panicked,
        (Some([]), None) => Judgement::Right,
        (Some([]), Some(_)) => Judgement::Nothing,
        (Some(_), None) => Judgement::Wrong,
        (Some(texts), Some(wanted)) if texts.iter().any(|text| text == wanted) => Judgement::Right,
        (Some(texts), Some(wanted)) if texts.iter().any(|text| text.contains(wanted)) => Judgement::Nothing,
        (Some(_), Some(_)) => Judgement::Wrong,
    }
}

fn score(decoder: &'static str, at: usize, results: &[Looked]) -> Score {
    let count = |judgement: Judgement| results.iter().filter(|result| result.outcomes[at].0 == judgement).count();
    let with_code: Vec<&Looked> = results.iter().filter(|result| result.has_code).collect();
    let right = with_code.iter().filter(|result| result.outcomes[at].0 == Judgement::Right).count();
    let mut cpu_us: Vec<u64> = results.iter().map(|result| result.outcomes[at].1).collect();
    cpu_us.sort_unstable();
    let percentile = |percent: usize| cpu_us.get(cpu_us.len() * percent / 100).copied().unwrap_or(0);
    let mut sets: Vec<SetScore> = Vec::new();
    for result in results {
        if sets.last().is_none_or(|last| last.set != result.set) {
            sets.push(SetScore { set: result.set.clone(), pictures: 0, right: 0, wrong: 0 });
        }
        if let Some(set) = sets.last_mut() {
            set.pictures += 1;
            set.right += usize::from(result.outcomes[at].0 == Judgement::Right);
            set.wrong += usize::from(result.outcomes[at].0 == Judgement::Wrong);
        }
    }
    Score {
        decoder,
        recall: ratio(right, with_code.len()),
        wrong: count(Judgement::Wrong),
        panics: count(Judgement::Panicked),
        cpu_p50_us: percentile(50),
        cpu_p95_us: percentile(95),
        cpu_max_us: cpu_us.last().copied().unwrap_or(0),
        sets,
    }
}

fn limits(scores: &[Score]) -> Vec<Limit> {
    let Some((cascade, singles)) = scores.split_first() else {
        return Vec::new();
    };
    let mut limits: Vec<Limit> = singles
        .iter()
        .map(|single| Limit {
            promise: format!("recall above that of {}", single.decoder),
            measured: cascade.recall,
            limit: single.recall,
            ok: cascade.recall > single.recall,
        })
        .collect();
    let filtered = singles.iter().find(|single| single.decoder == decoders::FILTERED);
    let budget_us = CPU_FACTOR * filtered.map_or(0.0, |filtered| float(filtered.cpu_p95_us));
    limits.push(Limit {
        promise: format!("processor time p95 at most {CPU_FACTOR} times that of {}", decoders::FILTERED),
        measured: float(cascade.cpu_p95_us),
        limit: budget_us,
        ok: float(cascade.cpu_p95_us) <= budget_us,
    });
    for (promise, measured) in [("no wrong read", cascade.wrong), ("no process lost", cascade.panics)] {
        limits.push(Limit { promise: promise.to_owned(), measured: ratio(measured, 1), limit: 0.0, ok: measured == 0 });
    }
    limits
}

#[expect(clippy::cast_precision_loss, reason = "counts of pictures")]
fn ratio(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of one picture")]
fn float(us: u64) -> f64 {
    us as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_judged_exactly() {
        let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| (*text).to_owned()).collect() };
        for (read, wanted, judgement) in [
            (Some(texts(&["A"])), Some("A"), Judgement::Right),
            (Some(texts(&["B", "A"])), Some("A"), Judgement::Right),
            (Some(texts(&["B"])), Some("A"), Judgement::Wrong),
            (Some(texts(&["xAx"])), Some("A"), Judgement::Nothing),
            (Some(texts(&[])), Some("A"), Judgement::Nothing),
            (Some(texts(&[])), None, Judgement::Right),
            (Some(texts(&["A"])), None, Judgement::Wrong),
            (None, Some("A"), Judgement::Panicked),
        ] {
            assert_eq!(judge(read.as_deref(), wanted), judgement, "{read:?} {wanted:?}");
        }
    }

    #[test]
    fn a_small_run_compares_everybody_on_the_same_frames() {
        let report = run_with(None, 1, 2);
        assert_eq!(report.pictures, 8);
        assert_eq!(report.scores.len(), decoders::ALL.len());
        assert!(report.scores.iter().all(|score| score.sets.iter().map(|set| set.pictures).sum::<usize>() == 8));
        assert!(report.scores[0].recall > 0.0 && report.scores[0].wrong == 0);
        assert_eq!(report.limits.len(), decoders::ALL.len() + 2);
        assert!(!report.skipped.is_empty());
    }

    #[test]
    fn every_limit_can_fail() {
        let score = |decoder, recall, wrong, panics, cpu_p95_us| Score {
            decoder,
            recall,
            wrong,
            panics,
            cpu_p50_us: 1,
            cpu_p95_us,
            cpu_max_us: cpu_p95_us,
            sets: Vec::new(),
        };
        let single = score(decoders::FILTERED, 0.5, 9, 9, 10);
        for (cascade, broken) in [
            (score("cascade", 0.6, 0, 0, 30), 0),
            (score("cascade", 0.5, 0, 0, 30), 1),
            (score("cascade", 0.6, 1, 0, 30), 1),
            (score("cascade", 0.6, 0, 1, 30), 1),
            (score("cascade", 0.6, 0, 0, 31), 1),
        ] {
            let limits = limits(&[cascade, single.clone()]);
            assert_eq!(limits.iter().filter(|limit| !limit.ok).count(), broken, "{limits:?}");
        }
    }
}
