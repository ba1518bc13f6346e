//! Power cuts of a card that is honest about syncs.

use hardware::compose::Chance;

use super::card::Card;
use super::examine::{Examined, Examiner, Found};
use super::history::History;
use super::{Known, Shelf, threads};

/// Every so many cards SQLite's whole integrity check runs too.
const DEEP: usize = 8;
/// Examples of a violation that are kept.
const EXAMPLES: usize = 5;

/// What cuts did.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// How many.
    pub cuts: u64,
    /// Cards on which the gate did not run, or ran with what never was.
    pub corrupt: u64,
    /// Cards on which something was missing that had been promised.
    pub lost: u64,
    /// Most events missing on one card.
    pub worst: usize,
    /// Cards that contradict themselves, or hold a thing by half.
    pub halves: u64,
    /// Cards that hold a transaction whose end nobody had been told of yet.
    pub early: u64,
    /// Used passes that were shown a second time.
    pub shown_again: u64,
    /// Most writes that were not synced at one cut.
    pub in_flight: usize,
    /// Some violations in words.
    pub examples: Vec<String>,
}

impl Tally {
    /// Whether nothing was wrong.
    pub fn clean(&self) -> bool {
        self.cuts > 0 && self.corrupt + self.lost + self.halves == 0
    }

    /// Adds what another worker found.
    pub fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.corrupt += other.corrupt;
        self.lost += other.lost;
        self.worst = self.worst.max(other.worst);
        self.halves += other.halves;
        self.early += other.early;
        self.shown_again += other.shown_again;
        self.in_flight = self.in_flight.max(other.in_flight);
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }

    fn note(&mut self, example: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    fn judge(&mut self, cut: Cut, examined: &Examined, history: &History) {
        self.cuts += 1;
        self.shown_again += examined.shown_again;
        let promised = history.promised(cut.done);
        let at = format!("cut {} after operation {} (seed {})", cut.number, cut.done, cut.seed);
        match &examined.found {
            Found::State(state) if *state < promised => {
                self.lost += 1;
                let events = history.events_between(*state, promised).count();
                self.worst = self.worst.max(events);
                self.note(|| {
                    format!("{at}: state {state} was found, {promised} was promised: {events} events are lost")
                });
            }
            Found::Anew => {
                if history.states[promised].digest.is_some() {
                    self.lost += 1;
                    self.worst = self.worst.max(history.events_between(0, promised).count());
                    self.note(|| format!("{at}: nothing was found, state {promised} was promised"));
                }
            }
            Found::State(state) => self.early += u64::from(*state > promised),
            wrong @ (Found::NeverWas | Found::Damaged(_) | Found::Refused(_) | Found::Panicked(_)) => {
                self.corrupt += 1;
                self.note(|| format!("{at}: {wrong:?}"));
            }
        }
        if !examined.contradictions.is_empty() {
            self.halves += 1;
            self.note(|| format!("{at}: {}", examined.contradictions.join("; ")));
        }
    }
}

/// One cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Which one.
    pub number: usize,
    /// After how many operations.
    pub done: usize,
    /// Seed of what the card keeps.
    pub seed: u64,
}

/// Draws moments in their order: with enough of them one after every single operation, then anywhere, and often right after
/// something was promised.
pub fn moments(known: &Known, count: u32, seed: u64) -> Vec<Cut> {
    let mut chance = Chance::new(seed);
    let (length, promises) = (known.work.ops.len(), &known.history.promises);
    let mut cuts: Vec<Cut> = (0..count as usize)
        .map(|number| {
            let anywhere = 1 + chance.below(length);
            let done = match promises.get(chance.below(promises.len())) {
                _ if count as usize >= length && number < length => number + 1,
                Some((at, _)) if chance.happens(0.4) => (at + 1 + chance.below(4)).min(length),
                Some(_) | None => anywhere,
            };
            Cut { number, done, seed: chance.bits() }
        })
        .collect();
    cuts.sort_by_key(|cut| cut.done);
    cuts
}

/// Cuts the power this often.
pub fn run(known: &Known, count: u32, seed: u64, shelf: &Shelf) -> anyhow::Result<Tally> {
    let cuts = moments(known, count, seed);
    let workers = threads();
    let mut tally = Tally::default();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                let own: Vec<Cut> = cuts.iter().skip(worker).step_by(workers).copied().collect();
                let folder = shelf.folder(&format!("cut-{worker}"));
                scope.spawn(move || work(known, &own, folder))
            })
            .collect();
        for worker in running {
            tally.add(worker.join().map_err(|_| anyhow::anyhow!("a worker died"))??);
        }
        Ok(())
    })?;
    Ok(tally)
}

fn work(known: &Known, cuts: &[Cut], folder: std::path::PathBuf) -> anyhow::Result<Tally> {
    let examiner = Examiner { history: &known.history, stock: &known.work.stock, folder };
    let mut card = Card::holding(&known.work.base);
    let mut done = 0;
    let mut tally = Tally::default();
    for cut in cuts {
        for op in &known.work.ops[done..cut.done] {
            card.take(op, false);
        }
        done = cut.done;
        let mut chance = Chance::new(cut.seed);
        tally.in_flight = tally.in_flight.max(card.pending());
        let files = card.cut(&mut chance);
        let examined = examiner.examine(&files, &mut chance, cut.number % DEEP == 0)?;
        tally.judge(*cut, &examined, &known.history);
    }
    Ok(tally)
}
