//! What a campaign measured, each figure against its limit, and everything that went wrong.

use std::fmt;

use serde_json::{Map, Value, json};

/// One figure.
struct Figure {
    name: &'static str,
    value: f64,
    /// It must not be above this; `None` where it is only reported.
    limit: Option<f64>,
}

/// The outcome of a campaign.
pub struct Figures {
    campaign: &'static str,
    seed: u64,
    times: u32,
    figures: Vec<Figure>,
    violations: Vec<String>,
}

impl Figures {
    /// Nothing measured yet.
    pub(super) fn new(campaign: &'static str, seed: u64, times: u32) -> Self {
        Self { campaign, seed, times, figures: Vec::new(), violations: Vec::new() }
    }

    /// A figure that must not be above its limit.
    pub(super) fn at_most(&mut self, name: &'static str, value: f64, limit: f64) {
        self.figures.push(Figure { name, value, limit: Some(limit) });
    }

    /// A figure without a limit.
    pub(super) fn note(&mut self, name: &'static str, value: f64) {
        self.figures.push(Figure { name, value, limit: None });
    }

    /// Something that must never happen did.
    pub(super) fn violate(&mut self, what: String) {
        self.violations.push(what);
    }

    /// How much went wrong so far.
    pub(super) fn violations(&self) -> usize {
        self.violations.len()
    }

    /// Whether nothing went wrong and every figure is within its limit.
    pub fn ok(&self) -> bool {
        self.violations.is_empty() && self.figures.iter().all(|f| f.limit.is_none_or(|limit| f.value <= limit))
    }

    /// The figures.
    pub fn json(&self) -> Value {
        let figures: Map<String, Value> =
            self.figures.iter().map(|f| (f.name.to_owned(), json!({"value": f.value, "limit": f.limit}))).collect();
        json!({
            "campaign": self.campaign, "seed": self.seed, "times": self.times,
            "figures": figures, "violations": self.violations, "ok": self.ok(),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} times, seed {}", self.times, self.seed)?;
        for figure in &self.figures {
            match figure.limit {
                Some(limit) => writeln!(f, "{:<52} {:>9.1} (at most {limit})", figure.name, figure.value)?,
                None => writeln!(f, "{:<52} {:>9.1}", figure.name, figure.value)?,
            }
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATION {violation}")?;
        }
        write!(f, "{} violations", self.violations.len())
    }
}

/// The greatest of some figures; 0 if there are none.
pub(super) fn worst(of: &[f64]) -> f64 {
    of.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_above_its_limit_and_a_violation_each_fail_a_campaign() {
        let with = |value: f64, violation: bool| {
            let mut figures = Figures::new("test", 1, 1);
            figures.at_most("ms", value, 5.0);
            figures.note("kB", 1e9);
            if violation {
                figures.violate("it rained".to_owned());
            }
            figures.ok()
        };
        assert!(with(5.0, false));
        assert!(!with(5.1, false) && !with(5.0, true) && !with(f64::INFINITY, false));
    }
}
