//! Power cuts of a card that answers some syncs without doing anything.
//!
//! No program can keep its promises on such a card. What it can do is to lose little, and not to lose it unseen: the
//! gate's log may prove that something is missing, and the cloud may hold events that the gate's journal no longer does.
//! A gate that finds out heals as its start does, and raises the alarm by an event of its own.

use std::collections::HashSet;

use gate_agent::identity::{IdentityFile, identity_path};
use gate_agent::replica::{ReplicaError, Start, begin_anew, open_or_salvage};
use gate_core::event::{Event, EventBody, Part};
use gate_core::ids::Hash;
use hardware::compose::Chance;

use super::card::Card;
use super::cuts::moments;
use super::examine::{Examiner, Found};
use super::history::Fact;
use super::{Known, Shelf, threads};

/// A card that ignores this many percent of the syncs, at most.
const MOST: u32 = 20;
/// Cuts of one card that keeps the same lies.
const PER_CARD: u32 = 5;

/// What a lying card did.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// How many cuts.
    pub cuts: u64,
    /// Cards on which something was missing that had been promised.
    pub lost: u64,
    /// Most admissions missing on one card.
    pub worst: usize,
    /// Cards on which the gate itself found out at its start.
    pub fault: u64,
    /// Of these: it has the alarm in its journal after healing, or stays shut because nobody can tell whose it is.
    pub alarmed: u64,
    /// Most admissions that neither healing nor the cloud has, on one of these cards.
    pub fault_worst: usize,
    /// Cards on which events are missing.
    pub gaps: u64,
    /// Of these: the cloud holds some of what is missing.
    pub known_outside: u64,
    /// Of those: it finds out at the first contact.
    pub found: u64,
    /// Cards with what never was, or half a thing. None may be.
    pub wrong: u64,
    /// Some of those in words.
    pub examples: Vec<String>,
}

impl Tally {
    /// Whether everything that can be known to be missing is made known.
    pub fn alarms_all(&self) -> bool {
        self.found == self.known_outside && self.alarmed == self.fault
    }

    fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.lost += other.lost;
        self.worst = self.worst.max(other.worst);
        self.fault += other.fault;
        self.alarmed += other.alarmed;
        self.fault_worst = self.fault_worst.max(other.fault_worst);
        self.gaps += other.gaps;
        self.known_outside += other.known_outside;
        self.found += other.found;
        self.wrong += other.wrong;
        self.examples.extend(other.examples);
        self.examples.truncate(5);
    }
}

/// Cuts the power this often, on cards that ignore 1 to 20 % of the syncs.
pub fn run(known: &Known, count: u32, seed: u64, shelf: &Shelf) -> anyhow::Result<Tally> {
    let cards = count.div_ceil(PER_CARD).max(MOST);
    let share = count.div_ceil(cards);
    let workers = threads();
    let mut tally = Tally::default();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                let folder = shelf.folder(&format!("lie-{worker}"));
                scope.spawn(move || -> anyhow::Result<Tally> {
                    let mut own = Tally::default();
                    for card in (0..cards).skip(worker).step_by(workers) {
                        own.add(one_card(known, 1 + card % MOST, share, seed ^ (u64::from(card) << 24), &folder)?);
                    }
                    Ok(own)
                })
            })
            .collect();
        for worker in running {
            tally.add(worker.join().map_err(|_| anyhow::anyhow!("a worker died"))??);
        }
        Ok(())
    })?;
    Ok(tally)
}

fn one_card(known: &Known, percent: u32, count: u32, seed: u64, folder: &std::path::Path) -> anyhow::Result<Tally> {
    let history = &known.history;
    let examiner = Examiner { history, stock: &known.work.stock, folder: folder.to_path_buf() };
    let mut lies = Chance::new(!seed);
    let mut card = Card::holding(&known.work.base);
    let mut done = 0;
    let mut tally = Tally::default();
    for cut in moments(known, count, seed) {
        for op in &known.work.ops[done..cut.done] {
            card.take(op, lies.below(100) < percent as usize);
        }
        done = cut.done;
        let mut chance = Chance::new(cut.seed);
        let files = card.cut(&mut chance);
        let examined = examiner.examine(&files, &mut chance, false)?;
        tally.cuts += 1;
        let promised = history.promised(cut.done);
        match &examined.found {
            Found::State(state) => {
                let missing: Vec<_> = history.events_between(*state, promised).collect();
                tally.lost += u64::from(*state < promised);
                let admissions =
                    missing.iter().filter(|fact| matches!(fact.event.body, EventBody::Authorised { .. })).count();
                tally.worst = tally.worst.max(admissions);
                if !missing.is_empty() {
                    tally.gaps += 1;
                    let held: Vec<&Fact> = history.sent(cut.done).collect();
                    if missing.iter().any(|fact| held.iter().any(|held| held.event.id == fact.event.id)) {
                        tally.known_outside += 1;
                        tally.found +=
                            u64::from(examined.opening.as_ref().is_some_and(|event| is_noticed(event, &held)));
                    }
                }
            }
            Found::Anew if history.states[promised].digest.is_none() => {}
            Found::Anew | Found::Damaged(_) => {
                tally.fault += 1;
                super::lay_out(folder, &files)?;
                let healed = heal(&examiner)?;
                tally.alarmed += u64::from(healed.alarmed);
                let held: HashSet<Hash> = history.sent(cut.done).map(|fact| fact.hash).chain(healed.saved).collect();
                let lost = history.events_between(0, promised).filter(|fact| {
                    matches!(fact.event.body, EventBody::Authorised { .. }) && !held.contains(&fact.hash)
                });
                tally.fault_worst = tally.fault_worst.max(lost.count());
            }
            wrong @ (Found::NeverWas | Found::Refused(_) | Found::Panicked(_)) => {
                tally.wrong += 1;
                tally.examples.push(format!("{percent} % lies, after operation {}: {wrong:?}", cut.done));
            }
        }
        if !examined.contradictions.is_empty() {
            tally.wrong += 1;
            tally.examples.push(format!(
                "{percent} % lies, after operation {}: {}",
                cut.done,
                examined.contradictions.join("; ")
            ));
        }
    }
    tally.examples.truncate(5);
    Ok(tally)
}

/// What a start made of a card that it can't go on with.
struct Healed {
    alarmed: bool,
    saved: Vec<Hash>,
}

/// As the agent does it at its start.
fn heal(examiner: &Examiner<'_>) -> anyhow::Result<Healed> {
    let (path, now) = (examiner.database(), examiner.stock.now());
    let file = IdentityFile::load(&identity_path(&examiner.folder)).ok().flatten();
    let start = Start { epoch: 1 << 60, now, software: "after the power cut".to_owned() };
    let mut replica = match open_or_salvage(&path, start, file.as_ref()) {
        Ok((replica, _)) => replica,
        Err(ReplicaError::Ownerless { .. }) => return Ok(Healed { alarmed: true, saved: vec![] }),
        Err(other) => return Err(other.into()),
    };
    if replica.identity().is_none() {
        let Some(file) = file else { return Ok(Healed { alarmed: true, saved: vec![] }) };
        begin_anew(&mut replica, &file, now)?;
    }
    let (mut alarmed, mut saved) = (false, Vec::new());
    let walked: Result<(), gate_core::canonical::CanonicalError> = replica.reader()?.journal(|bytes| {
        let body = Event::decode(bytes)?.body;
        alarmed |= matches!(body, EventBody::Health { part: Part::Storage, working: false, .. });
        saved.push(gate_core::event::hash(bytes));
        Ok(())
    })?;
    walked?;
    Ok(Healed { alarmed, saved })
}

/// Whether the cloud finds out when it hears of the new epoch: it holds more of the epoch that the gate says it continues, or
/// another epoch that continues the same head.
fn is_noticed(opening: &Event, held: &[&Fact]) -> bool {
    let EventBody::EpochOpened { continues, .. } = &opening.body else { return false };
    held.iter().any(|fact| {
        let longer =
            continues.is_some_and(|head| fact.event.id.epoch == head.event.epoch && fact.event.id.seq > head.event.seq);
        let fork = matches!(&fact.event.body, EventBody::EpochOpened { continues: other, .. } if other == continues);
        longer || fork
    })
}
