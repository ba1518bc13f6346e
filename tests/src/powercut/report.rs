//! What was found, for people and for programs.

use std::fmt;

use gate_core::mutant::Mutant;
use serde_json::{Value, json};

use super::history::State;
use super::mutants::Caught;
use super::trace::Op;
use super::{Known, Options, cuts, injuries, lying};

/// Admissions that may be lost in one cut of a card that lies.
const LYING_LIMIT: usize = 3;

/// How long a gate may take to save a damaged database, without what it fetches again, milliseconds.
const SALVAGE_LIMIT_MS: u64 = 60_000;

/// How long the parts took.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seconds {
    /// Tracing and reading every state.
    pub tracing: f64,
    /// Power cuts of an honest card.
    pub cuts: f64,
    /// Of a lying one.
    pub lying: f64,
    /// Damaged databases.
    pub injuries: f64,
}

/// What one trace holds.
struct Traced {
    name: &'static str,
    operations: usize,
    syncs: usize,
    transactions: usize,
    events: usize,
    pulses: usize,
    megabytes: f64,
}

/// Everything.
pub struct Report {
    options: Options,
    traced: Vec<Traced>,
    /// Cuts by workload.
    pub cuts: Vec<(&'static str, cuts::Tally)>,
    /// The control.
    pub control: Option<cuts::Tally>,
    /// Lying cards by workload.
    pub lying: Vec<(&'static str, lying::Tally)>,
    /// Damaged databases.
    pub injuries: Option<injuries::Tally>,
    /// Faults.
    pub mutants: Vec<(Mutant, Caught)>,
    /// Times.
    pub seconds: Seconds,
}

impl Report {
    /// An empty one.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            traced: vec![],
            cuts: vec![],
            control: None,
            lying: vec![],
            injuries: None,
            mutants: vec![],
            seconds: Seconds::default(),
        }
    }

    /// Notes what a trace holds.
    pub fn traced(&mut self, known: &Known) {
        let ops = &known.work.ops;
        let count = |wanted: fn(&Op) -> bool| ops.iter().filter(|op| wanted(op)).count();
        let written = |op: &Op| if let Op::Write { bytes, .. } = op { bytes.len() } else { 0 };
        self.traced.push(Traced {
            name: known.work.name,
            operations: ops.len(),
            syncs: count(|op| matches!(op, Op::Sync { .. } | Op::SyncFolder { .. })),
            transactions: known.history.states.iter().filter(|state: &&State| state.digest.is_some()).count(),
            events: known.history.facts.len(),
            pulses: count(|op| matches!(op, Op::Pulse { .. })),
            megabytes: ops.iter().map(written).sum::<usize>() as f64 / 1e6,
        });
    }

    fn all_cuts(&self) -> cuts::Tally {
        let mut all = cuts::Tally::default();
        for (_, tally) in &self.cuts {
            all.add(tally.clone());
        }
        all
    }

    /// The control must have lost something, or nothing here proves anything.
    fn control_lost(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.lost > 0)
    }

    /// Whether everything is as it must be.
    pub fn ok(&self) -> bool {
        let cuts = self.options.cuts == 0 || (self.cuts.iter().all(|(_, tally)| tally.clean()) && self.control_lost());
        let lying = self.lying.iter().all(|(_, tally)| {
            tally.wrong == 0 && tally.worst.max(tally.fault_worst) <= LYING_LIMIT && tally.alarms_all()
        });
        let injuries = self.injuries.as_ref().is_none_or(|tally| tally.clean() && tally.slowest_ms <= SALVAGE_LIMIT_MS);
        cuts && lying && injuries && self.mutants.iter().all(|(_, caught)| caught.showed > 0)
    }

    /// The figures.
    pub fn json(&self) -> Value {
        let all = self.all_cuts();
        let per_thousand = |seconds: f64, count: u64| if count == 0 { 0.0 } else { seconds * 1000.0 / count as f64 };
        let lying: Vec<Value> = self
            .lying
            .iter()
            .map(|(name, tally)| {
                json!({
                    "workload": name, "cuts": tally.cuts, "cuts_with_loss": tally.lost,
                    "worst_admissions_lost": tally.worst, "worst_admissions_limit": LYING_LIMIT,
                    "fault": tally.fault, "fault_alarmed": tally.alarmed, "fault_worst_admissions_lost": tally.fault_worst,
                    "gaps": tally.gaps, "gaps_known_outside": tally.known_outside,
                    "gaps_found": tally.found, "wrong": tally.wrong,
                })
            })
            .collect();
        let mutants: Vec<Value> = self
            .mutants
            .iter()
            .map(|(mutant, caught)| json!({ "mutant": mutant.name(), "in": caught.shown_in, "showed": caught.showed, "of": caught.of }))
            .collect();
        json!({
            "powercut": self.options.seed,
            "cuts": all.cuts, "corrupt": all.corrupt, "corrupt_limit": 0,
            "acknowledged_lost": all.lost, "acknowledged_lost_limit": 0,
            "halves": all.halves, "halves_limit": 0,
            "durable_not_yet_acknowledged": all.early, "most_writes_in_flight": all.in_flight, "used_passes_shown_again": all.shown_again,
            "control_cuts": self.control.as_ref().map_or(0, |control| control.cuts),
            "control_lost": self.control.as_ref().map_or(0, |control| control.lost), "control_lost_least": 1,
            "control_worst": self.control.as_ref().map_or(0, |control| control.worst),
            "seconds_per_1000_cuts": per_thousand(self.seconds.cuts, all.cuts),
            "seconds_tracing": self.seconds.tracing,
            "lying": lying,
            "injuries": self.injuries.as_ref().map(|tally| json!({
                "count": tally.injuries, "right": tally.right,
                "found_on_read": tally.on_read, "damaged": tally.damaged, "refused": tally.refused,
                "earlier": tally.earlier, "earlier_worst_events": tally.earlier_worst, "salvaged": tally.salvaged,
                "events_saved": tally.saved.0, "events_there": tally.saved.1, "slowest_salvage_ms": tally.slowest_ms, "salvage_limit_ms": SALVAGE_LIMIT_MS,
                "panics": tally.panics, "panics_limit": 0, "wrong": tally.wrong, "wrong_limit": 0,
                "seconds": self.seconds.injuries,
            })),
            "mutants": mutants,
            "mutants_caught": self.mutants.iter().filter(|(_, caught)| caught.showed > 0).count(),
            "ok": self.ok(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.options.seed)?;
        for traced in &self.traced {
            writeln!(
                f,
                "{:<5} {} operations ({:.1} MB, {} syncs), {} transactions, {} events, {} pulses of the relay",
                traced.name,
                traced.operations,
                traced.megabytes,
                traced.syncs,
                traced.transactions,
                traced.events,
                traced.pulses
            )?;
        }
        writeln!(f, "traced and understood in {:.1} s", self.seconds.tracing)?;
        if !self.cuts.is_empty() {
            writeln!(
                f,
                "\n{:<24}{:>8}{:>9}{:>7}{:>8}{:>8}",
                "power cuts", "cuts", "corrupt", "lost", "halves", "early"
            )?;
            let mut line = |name: &str, tally: &cuts::Tally| {
                writeln!(
                    f,
                    "{name:<24}{:>8}{:>9}{:>7}{:>8}{:>8}",
                    tally.cuts, tally.corrupt, tally.lost, tally.halves, tally.early
                )
            };
            for (name, tally) in &self.cuts {
                line(name, tally)?;
            }
            if let Some(control) = &self.control {
                line("control: NORMAL", control)?;
                writeln!(f, "the control lost up to {} events at once, and must lose some", control.worst)?;
            }
            let all = self.all_cuts().cuts;
            writeln!(f, "{:.1} s per 1,000 cuts", self.seconds.cuts * 1000.0 / all.max(1) as f64)?;
            let again = self.all_cuts().shown_again;
            writeln!(f, "{again} used passes were shown to what was left; one that is let in counts under halves")?;
            for (name, tally) in &self.cuts {
                for example in &tally.examples {
                    writeln!(f, "VIOLATION {name}: {example}")?;
                }
            }
        }
        for (name, tally) in &self.lying {
            writeln!(
                f,
                "\na card that ignores 1-20 % of the syncs, {name}: {} cuts, {} lost something ({} admissions at most, limit {LYING_LIMIT}), \
                 {} were found out at the start ({} with an alarm, {} admissions lost at most); {} gaps in the journal, of {} the \
                 cloud had heard, {} of those it notices",
                tally.cuts,
                tally.lost,
                tally.worst,
                tally.fault,
                tally.alarmed,
                tally.fault_worst,
                tally.gaps,
                tally.known_outside,
                tally.found
            )?;
            for example in &tally.examples {
                writeln!(f, "VIOLATION {example}")?;
            }
        }
        if let Some(tally) = &self.injuries {
            writeln!(
                f,
                "\n{} injuries: {} right, {} right but for an old event that is found damaged when it is read, {} damaged, {} refused otherwise, {} an earlier moment (at most {} events before); \
                 {} panics, {} wrong; {} salvaged, {} of {} events saved, in {} ms at most ({:.0} s)",
                tally.injuries,
                tally.right,
                tally.on_read,
                tally.damaged,
                tally.refused,
                tally.earlier,
                tally.earlier_worst,
                tally.panics,
                tally.wrong,
                tally.salvaged,
                tally.saved.0,
                tally.saved.1,
                tally.slowest_ms,
                self.seconds.injuries
            )?;
            for example in &tally.examples {
                writeln!(f, "VIOLATION {example}")?;
            }
        }
        for (mutant, caught) in &self.mutants {
            let verdict = if caught.showed > 0 { "caught" } else { "NOT CAUGHT" };
            writeln!(
                f,
                "mutant {:<20} {verdict} in {}: {} of {}",
                mutant.name(),
                caught.shown_in,
                caught.showed,
                caught.of
            )?;
            if let Some(example) = &caught.example {
                writeln!(f, "    {example}")?;
            }
        }
        write!(f, "{}", if self.ok() { "all as it must be" } else { "NOT as it must be" })
    }
}
