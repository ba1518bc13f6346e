//! How many are in a zone: a recount plus what passed since, as a CRDT that every copy merges to the same number.
//!
//! Counts since the recount are a [`PNCounter`] whose actors are (device, epoch). The greatest (generation, event id) of
//! two recounts wins; counters of the same recount merge by their maxima. A passage names the generation it was counted
//! in; one of an older generation counts if the recount could not have seen it: outside its frontier and later than it.

use crdts::{CmRDT, CvRDT, PNCounter};
use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, EventId, ZoneId};
use crate::mutant::{self, Mutant};

/// Who counts: one opening of one device's journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Actor {
    /// The device.
    pub device: DeviceId,
    /// The opening of its journal.
    pub epoch: u64,
}

impl From<EventId> for Actor {
    fn from(event: EventId) -> Self {
        Self { device: event.device, epoch: event.epoch }
    }
}

/// People counted what is really in a zone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recount {
    /// The zone.
    pub zone: ZoneId,
    /// One more than the generation it replaces.
    pub generation: u64,
    /// What was counted.
    pub observed: u32,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// The last event of each journal that the counter had heard of.
    pub frontier: Vec<EventId>,
    /// What the zone counted until then, below zero if more left than came. Only a daily reset says it
    /// ([`crate::reset`]): nobody looked, so what was there must not be forgotten. Absent elsewhere, as in all that was
    /// written before there was this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

/// The recount a zone's number rests on. Before the first one, generation 0 with nothing observed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Basis {
    /// The recount's generation.
    pub generation: u64,
    /// The event that recorded it; decides between two of one generation.
    pub event: Option<EventId>,
    /// What was observed.
    pub observed: u32,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// What it had heard of.
    pub frontier: Vec<EventId>,
}

impl Basis {
    /// Before the first recount: an empty zone.
    pub const START: Self = Self { generation: 0, event: None, observed: 0, at_ms: i64::MIN, frontier: Vec::new() };

    /// The basis that a recorded recount makes.
    pub fn of(event: EventId, recount: &Recount) -> Self {
        Self {
            generation: recount.generation,
            event: Some(event),
            observed: recount.observed,
            at_ms: recount.at_ms,
            frontier: recount.frontier.clone(),
        }
    }

    /// Whether a passage that was counted in `generation` adds to the number that rests on this recount.
    pub fn counts(&self, event: EventId, generation: u64, at_ms: i64) -> bool {
        if generation >= self.generation {
            return true;
        }
        let heard = self.frontier.iter().any(|seen| Actor::from(*seen) == Actor::from(event) && event.seq <= seen.seq);
        !heard && at_ms > self.at_ms && !mutant::active(Mutant::RecountAsAbsolute)
    }
}

/// A zone's number as one copy knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZoneCount {
    basis: Basis,
    counter: PNCounter<Actor>,
}

impl Default for ZoneCount {
    fn default() -> Self {
        Self { basis: Basis::START, counter: PNCounter::new() }
    }
}

/// What one actor has counted, for storage and travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ActorCount {
    /// Who.
    pub actor: Actor,
    /// How often it counted one more: entries, and exits that were annulled.
    pub entries: u64,
    /// How often it counted one less: exits, and entries that were annulled.
    pub exits: u64,
}

impl ZoneCount {
    /// A count that rests on a recount.
    pub fn resting_on(basis: Basis) -> Self {
        Self { basis, counter: PNCounter::new() }
    }

    /// The recount it rests on.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Sets what an actor has counted so far. Only ever grows: a smaller number changes nothing.
    pub fn observe(&mut self, count: ActorCount) {
        let mut told = PNCounter::new();
        if count.entries > 0 {
            told.apply(told.inc_many(count.actor, count.entries));
        }
        if count.exits > 0 {
            told.apply(told.dec_many(count.actor, count.exits));
        }
        self.counter.merge(told);
    }

    /// Takes in another copy. Commutative, associative and idempotent.
    pub fn merge(&mut self, other: Self) {
        let rank = |basis: &Basis| (basis.generation, basis.event);
        match rank(&self.basis).cmp(&rank(&other.basis)) {
            std::cmp::Ordering::Less => *self = other,
            std::cmp::Ordering::Equal => self.counter.merge(other.counter),
            std::cmp::Ordering::Greater => {}
        }
    }

    /// What is in the zone by this count. Below zero means that more were seen leaving than coming in: somebody came in
    /// unseen, or something was counted as an exit that was none.
    ///
    /// Such a debt stays until a recount: with -3, the next three entries leave the visible number at 0. It can't be
    /// forgiven here, because the number is a function of what each actor counted in all, and how far it went below
    /// zero on the way depends on an order that copies do not share: one that forgave by its own order would show
    /// another number than the next. A recount is that same correction as a fact which everybody hears of. What keeps
    /// the debt small is that exits free places only for who was inside ([`crate::decision`]).
    pub fn demand(&self) -> i64 {
        let since = i64::try_from(self.counter.read()).unwrap_or(i64::MAX);
        i64::from(self.basis.observed).saturating_add(since)
    }

    /// What is in the zone, never below zero.
    pub fn occupancy(&self) -> u32 {
        u32::try_from(self.demand().max(0)).unwrap_or(u32::MAX)
    }

    /// Places still free: the rights that may be held in all. Never more than the capacity, also with a count below zero;
    /// as long as that debt lasts, as many entries as it is large do not make the number of rights smaller.
    pub fn free(&self, capacity: u32) -> u32 {
        capacity.saturating_sub(self.occupancy())
    }
}

/// A zone's number where it is not known of every opening whether it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Estimate {
    /// Not fewer than this are in the zone; never below zero.
    pub low: u32,
    /// Not more than this; never below zero.
    pub high: u32,
    /// How many more left than came, even if every doubt is taken in favour: somebody came in unseen, or something was
    /// counted as an exit that was none. Not part of the number, which ends at zero.
    pub drift: u32,
}

impl Estimate {
    /// The number with its doubt. `demand` is the count, which is never too low: entries of which nobody knows stand in
    /// it, exits of which nobody knows do not ([`crate::event::counts_of`]). Each of them moved either one or nobody.
    pub fn of(demand: i64, unknown_entries: u64, unknown_exits: u64) -> Self {
        let less = i64::try_from(unknown_entries.saturating_add(unknown_exits)).unwrap_or(i64::MAX);
        let visible = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        let low = visible(demand.saturating_sub(less));
        Self { low, high: visible(demand), drift: visible(demand.saturating_neg()) }
    }
}

/// How full a zone is, in the three words people see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fullness {
    /// Room.
    Open,
    /// At or above the warning line.
    NearFull,
    /// No place left.
    Full,
}

/// The share of a zone's capacity by which it must empty below the warning line before the warning ends, percent.
const HYSTERESIS_PERCENT: u64 = 2;

impl Fullness {
    /// The next word, given the last one: the warning begins at `warn_percent` and ends two percent below it, so that
    /// one car coming and going does not make the light flicker.
    pub fn next(self, occupancy: u32, capacity: u32, warn_percent: u8) -> Self {
        let used = u64::from(occupancy) * 100;
        let line = |percent: u64| u64::from(capacity) * percent;
        let warn = u64::from(warn_percent);
        if occupancy >= capacity {
            Self::Full
        } else if used >= line(warn) || (self != Self::Open && used > line(warn.saturating_sub(HYSTERESIS_PERCENT))) {
            Self::NearFull
        } else {
            Self::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn actor(n: u128) -> Actor {
        Actor { device: DeviceId(Uuid::from_u128(n)), epoch: 1 }
    }

    fn event(n: u128, seq: u64) -> EventId {
        EventId { device: DeviceId(Uuid::from_u128(n)), epoch: 1, seq }
    }

    fn basis(generation: u64, by: u128, observed: u32) -> Basis {
        Basis { generation, event: Some(event(by, 0)), observed, at_ms: 1000, frontier: vec![event(1, 5)] }
    }

    #[test]
    fn six_hundred_sixty_in_and_out_end_at_zero_and_never_pass_capacity() {
        let mut count = ZoneCount::default();
        let (mut entries, mut exits) = (0, 0);
        // A fixed shuffle: multiples of a unit modulo a prime.
        for step in 0..1320u64 {
            let wants_in = (step * 7919) % 1321 % 2 == 0;
            let inside = entries - exits;
            if (wants_in && inside < 220 && entries < 660) || exits == entries || exits == 660 {
                entries += 1;
            } else {
                exits += 1;
            }
            count.observe(ActorCount { actor: actor(1), entries, exits: 0 });
            count.observe(ActorCount { actor: actor(2), entries: 0, exits });
            assert!((0..=220).contains(&count.demand()), "step {step}: {}", count.demand());
        }
        assert_eq!((entries, exits, count.occupancy()), (660, 660, 0));
    }

    #[test]
    fn a_count_below_zero_gives_no_credit_and_a_recount_ends_it() {
        let mut count = ZoneCount::default();
        count.observe(ActorCount { actor: actor(2), entries: 0, exits: 3 });
        for (entries, demand, occupancy, free) in [(0, -3, 0, 10), (1, -2, 0, 10), (3, 0, 0, 10), (4, 1, 1, 9)] {
            count.observe(ActorCount { actor: actor(1), entries, exits: 0 });
            assert_eq!((count.demand(), count.occupancy(), count.free(10)), (demand, occupancy, free), "{entries} in");
        }
        let mut counted = ZoneCount::resting_on(basis(1, 9, 0));
        counted.observe(ActorCount { actor: actor(1), entries: 1, exits: 0 });
        count.merge(counted);
        assert_eq!((count.occupancy(), count.free(10)), (1, 9), "the first entry after a recount is seen at once");
    }

    #[test]
    fn what_a_recount_saw_is_not_counted_again() {
        let recount = basis(2, 9, 100);
        for (name, seq, generation, at_ms, counts) in [
            ("seen by the recount", 5, 1, 2000, false),
            ("not heard of, but before it", 6, 1, 900, false),
            ("not heard of and after it", 6, 1, 2000, true),
            ("of its own generation", 6, 2, 900, true),
            ("of a newer one", 6, 3, 900, true),
        ] {
            assert_eq!(recount.counts(event(1, seq), generation, at_ms), counts, "{name}");
        }
    }

    #[test]
    fn doubt_widens_the_number_and_drift_is_said_apart() {
        for (name, demand, entries, exits, low, high, drift) in [
            ("no doubt", 100, 0, 0, 100, 100, 0),
            ("two entries may not have happened", 100, 2, 0, 98, 100, 0),
            ("an exit may have happened", 100, 0, 1, 99, 100, 0),
            ("both", 100, 2, 1, 97, 100, 0),
            ("never below nobody", 1, 3, 0, 0, 1, 0),
            ("more left than came", -3, 0, 0, 0, 0, 3),
            ("perhaps more left", -3, 1, 1, 0, 0, 3),
            ("absurd", i64::MIN, u64::MAX, u64::MAX, 0, 0, u32::MAX),
            ("absurd the other way", i64::MAX, 0, u64::MAX, 0, u32::MAX, 0),
        ] {
            assert_eq!(Estimate::of(demand, entries, exits), Estimate { low, high, drift }, "{name}");
        }
    }

    #[test]
    fn fullness_does_not_flicker() {
        let mut fullness = Fullness::Open;
        let walk = [
            (197, Fullness::Open),
            (198, Fullness::NearFull),
            (197, Fullness::NearFull),
            (194, Fullness::NearFull),
            (193, Fullness::Open),
            (197, Fullness::Open),
            (220, Fullness::Full),
            (219, Fullness::NearFull),
        ];
        for (occupancy, expected) in walk {
            fullness = fullness.next(occupancy, 220, 90);
            assert_eq!(fullness, expected, "at {occupancy}");
        }
    }

    fn any_count() -> impl Strategy<Value = ZoneCount> {
        (0u64..3, 1u128..4, proptest::collection::vec((1u128..4, 0u64..50, 0u64..50), 0..6)).prop_map(
            |(generation, by, counts)| {
                let mut count = ZoneCount::resting_on(basis(generation, by, 10));
                for (who, entries, exits) in counts {
                    count.observe(ActorCount { actor: actor(who), entries, exits });
                }
                count
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_seed: proptest::test_runner::RngSeed::Fixed(19),
            ..ProptestConfig::default()
        })]

        #[test]
        fn copies_merge_to_the_same_number_in_any_order(a in any_count(), b in any_count(), c in any_count()) {
            let merged = |parts: [&ZoneCount; 3]| {
                let mut whole = parts[0].clone();
                whole.merge(parts[1].clone());
                whole.merge(parts[2].clone());
                whole
            };
            let once = merged([&a, &b, &c]);
            prop_assert_eq!(&once, &merged([&c, &b, &a]));
            prop_assert_eq!(&once, &merged([&b, &a, &c]));
            let mut twice = once.clone();
            twice.merge(once.clone());
            prop_assert_eq!(once, twice);
        }
    }
}
