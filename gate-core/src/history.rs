//! What a set of events means, whatever the order in which they were heard: uses, counts, and what happened when.
//!
//! Gates and cloud keep the same numbers in tables that they move forward event by event. [`fold`] says what those tables
//! must hold: it looks at the whole set at once, so it can't depend on order, on repeats, or on who heard what first.
//! The rules are these, and nothing else:
//!
//! - An event counts once, by its id. Of two that claim one id, the one with the smaller hash counts and the id is set
//!   aside as forked.
//! - An admission is a use of its pass from the moment it is authorised, unless its own device took it back
//!   (an annulment, or a pulse that certainly never moved the relay); that may be heard before the admission itself. Taking back twice is once.
//! - It charges the service day that it names. No day is ever worked out again.
//! - A zone rests on the recount with the greatest (generation, event id). Of several of one generation all but one are
//!   lost and should be shown to somebody. A passage counts over a recount as [`Basis::counts`] says, and what takes it
//!   back counts exactly where it does.
//! - Every passage names all zones it leads through, so a zone that holds others is the sum of what passed its own gates
//!   and theirs, in whatever order they are merged.
//! - What is heard late also changes what is said about the past: [`Zone::level`] and [`History::moved`] rest on when
//!   things happened, not on when they were heard.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{self, Event, EventBody};
use crate::ids::{Direction, EventId, GateId, PassId, ZoneId};
use crate::occupancy::{Actor, ActorCount, Basis, Estimate, ZoneCount};
use crate::reason::Reason;
use crate::time::ServiceDay;

/// How long one entry of [`History::moved`] is, milliseconds (a quarter of an hour).
pub const BUCKET_MS: i64 = 900_000;

/// Everything that follows from a set of events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// How many different events there are.
    pub events: usize,
    /// What became of each pass.
    pub passes: BTreeMap<PassId, PassHistory>,
    /// How full each zone is and was.
    pub zones: BTreeMap<ZoneId, Zone>,
    /// Who came and went, by the first millisecond of the quarter of an hour and by gate. What was taken back, or taken
    /// over by a later admission, is not in it.
    pub moved: BTreeMap<(i64, GateId), Moved>,
    /// Who was turned away, by the first event that says so.
    pub refused: BTreeMap<EventId, Refused>,
    /// Events that could not be taken at their word, and why. They change nothing else.
    pub aside: BTreeMap<EventId, Aside>,
}

/// What became of one pass.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PassHistory {
    /// Its admissions, by the event that authorised each.
    pub admissions: BTreeMap<EventId, Use>,
}

/// One admission of a pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Use {
    /// Where.
    pub gate: GateId,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// The day it charged.
    pub service_day: ServiceDay,
    /// Which way.
    pub direction: Direction,
    /// Whether it took a use.
    pub charged: bool,
    /// Its device took it back.
    pub taken_back: bool,
    /// What became of the opening.
    pub outcome: Outcome,
    /// The earlier admission that it makes up for.
    pub reopens: Option<EventId>,
}

/// What became of an opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing was heard of it, or nobody knows.
    Unknown,
    /// It opened.
    Opened,
    /// It did not.
    NotOpened,
}

/// How many came and went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moved {
    /// Authorised ways in.
    pub entries: u64,
    /// Authorised ways out.
    pub exits: u64,
}

/// Presentations that were turned away for one reason within one minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Where.
    pub gate: GateId,
    /// When the first was, Unix milliseconds.
    pub at_ms: i64,
    /// Why.
    pub reason: Reason,
    /// How many in all.
    pub times: u64,
}

/// Why an event is not taken at its word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Aside {
    /// Another event has the same id.
    Forked,
    /// It says something about an event of another device.
    AnotherDevice,
    /// It names another number of generations than of zones.
    Generations,
}

/// How full a zone is and was.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Zone {
    /// The number now, by device and epoch over the greatest recount.
    pub count: ZoneCount,
    /// Entries in that number and exits not yet in it, of which nobody knows whether they happened.
    pub unknown: Moved,
    /// Recounts that lost against another of their generation.
    pub lost: BTreeSet<EventId>,
    recounts: Vec<Basis>,
    passages: Vec<Passage>,
}

/// Something that counts in a zone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Passage {
    at_ms: i64,
    event: EventId,
    generation: u64,
    direction: Direction,
    /// It was taken back, or a later admission took its place over.
    given_back: bool,
    unknown: bool,
}

impl PassHistory {
    fn charged(&self) -> impl Iterator<Item = &Use> {
        self.admissions.values().filter(|used| used.charged && !used.taken_back)
    }

    /// Uses taken in all.
    pub fn total(&self) -> usize {
        self.charged().count()
    }

    /// Uses taken on one service day.
    pub fn on(&self, day: ServiceDay) -> usize {
        self.charged().filter(|used| used.service_day == day).count()
    }

    /// The days on which uses were taken, and how many.
    pub fn days(&self) -> BTreeMap<ServiceDay, usize> {
        let mut days = BTreeMap::new();
        for used in self.charged() {
            *days.entry(used.service_day).or_default() += 1;
        }
        days
    }
}

impl Zone {
    /// What these events count over a recount, by device and epoch.
    pub fn over(&self, basis: &Basis) -> ZoneCount {
        let mut actors: BTreeMap<Actor, (u64, u64)> = BTreeMap::new();
        for passage in self.passages.iter().filter(|passage| passage.counts_over(basis)) {
            let back = passage.given_back.then(|| opposite(passage.direction));
            let way = (!passage.may_still_be_inside()).then_some(passage.direction);
            for direction in [way, back].into_iter().flatten() {
                let (entries, exits) = actors.entry(Actor::from(passage.event)).or_default();
                match direction {
                    Direction::In => *entries += 1,
                    Direction::Out => *exits += 1,
                }
            }
        }
        let mut count = ZoneCount::resting_on(basis.clone());
        for (actor, (entries, exits)) in actors {
            count.observe(ActorCount { actor, entries, exits });
        }
        count
    }

    /// How many were in the zone at a moment, by all that is known of it today. Below zero as [`ZoneCount::demand`].
    pub fn level(&self, at_ms: i64) -> i64 {
        let basis = greatest(self.recounts.iter().filter(|recount| recount.at_ms <= at_ms));
        let until_then = self.passages.iter().take_while(|passage| passage.at_ms <= at_ms);
        let moved: i64 = until_then
            .filter(|passage| !passage.given_back && !passage.may_still_be_inside())
            .filter(|passage| passage.counts_over(&basis))
            .map(|passage| match passage.direction {
                Direction::In => 1,
                Direction::Out => -1,
            })
            .sum();
        i64::from(basis.observed) + moved
    }

    /// The number now with its doubt.
    pub fn estimate(&self) -> Estimate {
        Estimate::of(self.count.demand(), self.unknown.entries, self.unknown.exits)
    }
}

impl Passage {
    /// An exit of which nobody knows whether it was made: its place is not given away.
    fn may_still_be_inside(&self) -> bool {
        self.unknown && self.direction == Direction::Out
    }

    /// Said here in other words than [`Basis::counts`]: whoever counted could not have seen it, or it was made on what
    /// they counted.
    fn counts_over(&self, basis: &Basis) -> bool {
        let newer = self.generation >= basis.generation;
        let frontier = basis.frontier.iter().filter(|seen| Actor::from(**seen) == Actor::from(self.event));
        let heard_of = frontier.map(|seen| seen.seq).max().is_some_and(|newest| self.event.seq <= newest);
        newer || (self.at_ms > basis.at_ms && !heard_of)
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::In => Direction::Out,
        Direction::Out => Direction::In,
    }
}

fn greatest<'a>(recounts: impl Iterator<Item = &'a Basis>) -> Basis {
    recounts.max_by_key(|basis| (basis.generation, basis.event)).cloned().unwrap_or(Basis::START)
}

/// What events say about other events.
#[derive(Default)]
struct Words {
    taken_back: BTreeSet<EventId>,
    /// Admissions whose places a later one took over.
    taken_over: BTreeSet<EventId>,
    /// Openings that are known to have happened.
    opened: BTreeSet<EventId>,
    /// Openings of which only a passage tells whether somebody went out.
    watched: BTreeSet<EventId>,
    passed: BTreeSet<EventId>,
    more: BTreeMap<EventId, u64>,
}

impl Words {
    /// Where the lane watches its passage, an open way in is an entry, and only a passage is an exit.
    fn complete(&mut self, event: &Event) {
        let heard = match event::counts_of(&event.body).map(|counted| counted.direction) {
            Some(Direction::In) => &self.watched,
            Some(Direction::Out) => &self.passed,
            None => return,
        };
        if heard.contains(&event.id) {
            self.opened.insert(event.id);
        }
    }
}

/// Takes a set of events together. The order and repeats make no difference.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> History {
    let mut history = History::default();
    let mut facts: BTreeMap<EventId, &Event> = BTreeMap::new();
    for event in events {
        let Some(known) = facts.insert(event.id, event).filter(|known| *known != event) else { continue };
        history.aside.insert(event.id, Aside::Forked);
        if event::hash(&known.encode()) < event::hash(&event.encode()) {
            facts.insert(event.id, known);
        }
    }
    history.events = facts.len();
    let mut words = Words::default();
    for event in facts.values() {
        history.listen(event, &mut words);
    }
    for event in facts.values() {
        words.complete(event);
    }
    for event in facts.values() {
        history.take(event, &words);
    }
    for zone in history.zones.values_mut() {
        zone.settle();
    }
    history
}

impl History {
    /// Hears what an event says about others.
    fn listen(&mut self, event: &Event, words: &mut Words) {
        let (about, more) = match &event.body {
            EventBody::Repeated { of, more } => (Some(*of), Some(*more)),
            EventBody::Opened { of, watched } => {
                let heard = if *watched { &mut words.watched } else { &mut words.opened };
                heard.insert(*of);
                (None, None)
            }
            EventBody::Passed { of: Some(of), .. } => {
                words.passed.insert(*of);
                (None, None)
            }
            EventBody::Authorised { .. } => {
                words.taken_over.extend(event::takes_over(event));
                (None, None)
            }
            // Said here once more, so that what tables are compared with does not rest on what they rest on.
            EventBody::Annulled { of } | EventBody::NotOpened { of, unknown: false } => (Some(*of), None),
            EventBody::EpochOpened { .. }
            | EventBody::NotOpened { unknown: true, .. }
            | EventBody::Passed { of: None, .. }
            | EventBody::Refused { .. }
            | EventBody::Noise { .. }
            | EventBody::Overridden { .. }
            | EventBody::ExitButton { .. }
            | EventBody::Fire { .. }
            | EventBody::Recounted(_)
            | EventBody::Health { .. }
            | EventBody::ClockStepped(_)
            | EventBody::LaneClosed { .. } => (None, None),
        };
        let Some(of) = about else { return };
        if of.device != event.id.device {
            self.aside.insert(event.id, Aside::AnotherDevice);
            return;
        }
        match more {
            Some(more) => *words.more.entry(of).or_default() += u64::from(more),
            None => {
                words.taken_back.insert(of);
            }
        }
    }

    /// Takes in what an event says about the world.
    fn take(&mut self, event: &Event, words: &Words) {
        let taken_back = words.taken_back.contains(&event.id);
        let given_back = taken_back || words.taken_over.contains(&event.id);
        if let Some(counted) = event::counts_of(&event.body)
            && counted.zones.len() != counted.generations.len()
        {
            self.aside.insert(event.id, Aside::Generations);
            return;
        }
        match &event.body {
            EventBody::Authorised { admission, .. } => {
                if let Some(pass) = &admission.pass {
                    let outcome = match (words.opened.contains(&event.id), taken_back) {
                        (true, _) => Outcome::Opened,
                        (false, true) => Outcome::NotOpened,
                        (false, false) => Outcome::Unknown,
                    };
                    let used = Use {
                        gate: event.gate,
                        at_ms: event.at.wall_ms,
                        service_day: admission.service_day,
                        direction: admission.direction,
                        charged: admission.charges_use,
                        taken_back,
                        outcome,
                        reopens: admission.reopens,
                    };
                    self.passes.entry(pass.clone()).or_default().admissions.insert(event.id, used);
                }
            }
            EventBody::Refused { reason, .. } | EventBody::Noise { reason, .. } => {
                let times = 1 + words.more.get(&event.id).copied().unwrap_or(0);
                let refused = Refused { gate: event.gate, at_ms: event.at.wall_ms, reason: *reason, times };
                self.refused.insert(event.id, refused);
            }
            EventBody::Recounted(recount) => {
                self.zones.entry(recount.zone).or_default().recounts.push(Basis::of(event.id, recount));
            }
            EventBody::Overridden { .. }
            | EventBody::ExitButton { .. }
            | EventBody::EpochOpened { .. }
            | EventBody::Opened { .. }
            | EventBody::NotOpened { .. }
            | EventBody::Passed { .. }
            | EventBody::Annulled { .. }
            | EventBody::Repeated { .. }
            | EventBody::Fire { .. }
            | EventBody::Health { .. }
            | EventBody::ClockStepped(_)
            | EventBody::LaneClosed { .. } => {}
        }
        let Some(counted) = event::counts_of(&event.body) else { return };
        for (zone, generation) in counted.zones.iter().zip(counted.generations) {
            self.zones.entry(*zone).or_default().passages.push(Passage {
                at_ms: event.at.wall_ms,
                event: event.id,
                generation: *generation,
                direction: counted.direction,
                given_back,
                unknown: !given_back && !words.opened.contains(&event.id),
            });
        }
        if !given_back {
            let bucket = event.at.wall_ms.saturating_sub(event.at.wall_ms.rem_euclid(BUCKET_MS));
            let moved = self.moved.entry((bucket, event.gate)).or_default();
            match counted.direction {
                Direction::In => moved.entries += 1,
                Direction::Out => moved.exits += 1,
            }
        }
    }
}

impl Zone {
    /// Orders what was collected and works out the number now.
    fn settle(&mut self) {
        self.passages.sort_unstable();
        self.recounts.sort_unstable_by_key(|recount| (recount.generation, recount.event));
        let pairs = self.recounts.windows(2);
        self.lost =
            pairs.filter(|pair| pair[0].generation == pair[1].generation).filter_map(|pair| pair[0].event).collect();
        let basis = greatest(self.recounts.iter());
        self.count = self.over(&basis);
        self.unknown = Moved::default();
        for passage in self.passages.iter().filter(|passage| passage.unknown && passage.counts_over(&basis)) {
            match passage.direction {
                Direction::In => self.unknown.entries += 1,
                Direction::Out => self.unknown.exits += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests;
