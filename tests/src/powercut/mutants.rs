//! Deliberate faults of the gate's memory: each must be caught, or a fault of that kind would pass unseen.

use gate_core::mutant::{Catcher, Mutant};

use super::{Known, Options, Shelf, cuts, gates, injuries, life};

/// Cuts and injuries that a fault must not survive.
const CUTS: u32 = 400;
const INJURIES: u32 = 400;
/// Passes in front of a gate with a fault.
const SCANS: u32 = 8;

/// What became of a fault.
#[derive(Clone, Debug)]
pub struct Caught {
    /// Which work the fault was in, or what was done to its database.
    pub shown_in: &'static str,
    /// How many cuts or injuries showed it.
    pub showed: u64,
    /// Of how many.
    pub of: u64,
    /// The first of them, in words.
    pub example: Option<String>,
}

/// The faults that are caught here.
pub fn all() -> impl Iterator<Item = Mutant> {
    Mutant::ALL.iter().copied().filter(|mutant| mutant.catcher() == Catcher::Powercut)
}

/// Tries one, in all work in which it must show.
pub fn try_one(mutant: Mutant, known: &[Known], options: Options, shelf: &Shelf) -> anyhow::Result<Vec<Caught>> {
    if is_at_start(mutant) {
        let _on = Switched::on(mutant);
        let tally = injuries::run(known, INJURIES, options.seed, shelf)?;
        return Ok(vec![Caught {
            shown_in: "injuries",
            showed: tally.wrong + tally.panics,
            of: tally.injuries,
            example: tally.examples.into_iter().next(),
        }]);
    }
    let mut works = vec![life(Options { steps: options.steps.min(60), ..options }, Some(mutant))?];
    // The trace of the whole gate must show it too: its control.
    if options.scans > 0 && mutant == Mutant::SynchronousNormal {
        let runtime = tokio::runtime::Runtime::new()?;
        works.push(runtime.block_on(gates::scans(SCANS, options.seed, Some(mutant), shelf))?);
    }
    works
        .into_iter()
        .map(|work| {
            let known = work.understand(shelf)?;
            let tally = cuts::run(&known, CUTS, options.seed, shelf)?;
            let showed = tally.corrupt + tally.lost + tally.halves;
            let example = tally.examples.into_iter().next();
            Ok(Caught { shown_in: known.work.name, showed, of: tally.cuts, example })
        })
        .collect()
}

/// Whether a fault shows when a database is opened, not when it is written.
fn is_at_start(mutant: Mutant) -> bool {
    matches!(mutant, Mutant::NoCheckAtStart | Mutant::RecreateDamaged)
}

/// A fault that is on as long as this value lives.
struct Switched;

impl Switched {
    fn on(mutant: Mutant) -> Self {
        super::switch(Some(mutant));
        Self
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        super::switch(None);
    }
}
