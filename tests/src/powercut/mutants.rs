//! Deliberate faults of the gate's memory: each must be caught, or a fault of that kind would pass unseen.

use gate_core::mutant::{Catcher, Mutant};

use super::{Known, Options, Shelf, cuts, injuries, life};

/// Cuts and injuries that a fault must not survive.
const CUTS: u32 = 400;
const INJURIES: u32 = 400;

/// What became of a fault.
#[derive(Clone, Debug)]
pub struct Caught {
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

/// Tries one.
pub fn try_one(mutant: Mutant, known: &[Known], options: Options, shelf: &Shelf) -> anyhow::Result<Caught> {
    if is_at_start(mutant) {
        let _on = Switched::on(mutant);
        let tally = injuries::run(known, INJURIES, options.seed, shelf)?;
        return Ok(Caught {
            showed: tally.wrong + tally.panics,
            of: tally.injuries,
            example: tally.examples.into_iter().next(),
        });
    }
    let known = life(Options { steps: options.steps.min(60), ..options }, Some(mutant))?.understand(shelf)?;
    let tally = cuts::run(&known, CUTS, options.seed, shelf)?;
    let showed = tally.corrupt + tally.lost + tally.halves;
    Ok(Caught { showed, of: tally.cuts, example: tally.examples.into_iter().next() })
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
