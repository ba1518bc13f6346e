//! Random sets of events in random orders, against tables that are moved forward event by event as gates and cloud do.

use super::*;

/// What a random venue wrote down: three gates, each with two epochs, over two lots that lie in one.
fn random_events(dice: &mut Dice) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for device in 1..=3u128 {
        for epoch in [dice.any() >> 1, dice.any() >> 1] {
            let mut own: Vec<EventId> = vec![];
            for seq in 0..dice.below(14) {
                let id = id(device, epoch, seq);
                let at_ms = T0 + dice.below(48) as i64 * 1_800_000;
                let zones = dice.one_of(&[[NORTH, WHOLE], [SOUTH, WHOLE]]);
                let generation = dice.below(3);
                let earlier = if own.is_empty() { id } else { dice.one_of(&own) };
                let body = match dice.below(20) {
                    0..3 => admitted(Direction::In, pass(dice.below(4) as u8), &zones, generation),
                    3..7 => admitted(Direction::Out, pass(dice.below(4) as u8), &zones, generation),
                    7 => EventBody::ExitButton { zones: zones.to_vec(), generations: vec![generation; 2] },
                    8 => EventBody::Annulled { of: earlier },
                    9 => EventBody::NotOpened { of: earlier, unknown: dice.below(2) == 0 },
                    10 | 14..18 => EventBody::Opened { of: earlier, watched: dice.below(2) == 0 },
                    18 => EventBody::Passed { of: Some(earlier), direction: Direction::Out },
                    11 => EventBody::Repeated { of: earlier, more: dice.below(5) as u32 },
                    12 => EventBody::Noise { reason: Reason::NotAPass, token: Hash::ZERO },
                    _ => {
                        let frontier: Vec<_> =
                            events.iter().filter(|_| dice.below(8) == 0).map(|event| event.id).collect();
                        let zone = dice.one_of(&[NORTH, SOUTH, WHOLE]);
                        recounted(zone, 1 + dice.below(3), dice.below(6) as u32, at_ms, &frontier)
                    }
                };
                own.push(id);
                events.push(event(id, at_ms, body));
            }
        }
    }
    events
}

fn shuffled<'a>(dice: &mut Dice, events: &'a [Event]) -> Vec<&'a Event> {
    let mut order: Vec<&Event> = events.iter().collect();
    for at in (1..order.len()).rev() {
        order.swap(at, dice.below(at as u64 + 1) as usize);
    }
    order
}

/// What moved a number: the event whose place before or after a recount decides, its generation and time, and by how much.
type Row = (EventId, u64, i64, i64);

/// A copy that hears one event after the other, as the tables of gates and cloud do.
#[derive(Default)]
struct Tables {
    known: BTreeMap<EventId, Event>,
    takers: BTreeMap<EventId, EventId>,
    /// What was said to be complete, by direction.
    complete: BTreeSet<(EventId, Direction)>,
    counted: BTreeSet<EventId>,
    charged: BTreeMap<PassId, BTreeSet<EventId>>,
    passages: BTreeMap<ZoneId, Vec<Row>>,
    bases: BTreeMap<ZoneId, Basis>,
    numbers: BTreeMap<ZoneId, i64>,
}

impl Tables {
    fn hear(&mut self, event: &Event) {
        if self.known.insert(event.id, event.clone()).is_some() {
            return;
        }
        self.count(event);
        for direction in [Direction::In, Direction::Out] {
            if let Some(of) = event::completes(&event.body, direction) {
                self.complete.insert((of, direction));
                if let Some(opening) = self.known.get(&of).cloned() {
                    self.count(&opening);
                }
            }
        }
        if let EventBody::Authorised { admission, .. } = &event.body
            && admission.charges_use
            && let Some(pass) = &admission.pass
        {
            self.charged.entry(pass.clone()).or_default().insert(event.id);
        }
        if self.takers.contains_key(&event.id) {
            self.take_back(event);
        }
        if let Some(of) = event::taken_back(&event.body)
            && self.takers.insert(of, event.id).is_none()
            && let Some(taken) = self.known.get(&of).cloned()
        {
            self.take_back(&taken);
        }
        if let EventBody::Recounted(recount) = &event.body {
            let basis = Basis::of(event.id, recount);
            let rank = |basis: &Basis| (basis.generation, basis.event);
            if self.bases.get(&recount.zone).is_none_or(|known| rank(&basis) > rank(known)) {
                let over = self.passages.get(&recount.zone).into_iter().flatten();
                let counted = over.filter(|(of, generation, at_ms, _)| basis.counts(*of, *generation, *at_ms));
                let since: i64 = counted.map(|(.., by)| by).sum();
                self.numbers.insert(recount.zone, i64::from(basis.observed) + since);
                self.bases.insert(recount.zone, basis);
            }
        }
    }

    fn take_back(&mut self, taken: &Event) {
        self.count(taken);
        self.turn(taken, -1);
        for charged in self.charged.values_mut() {
            charged.remove(&taken.id);
        }
    }

    /// Counts an entry at once, and an exit as soon as it is known what became of it.
    fn count(&mut self, of: &Event) {
        let Some(direction) = event::counts_of(&of.body).map(|counted| counted.direction) else { return };
        let known = self.complete.contains(&(of.id, direction)) || self.takers.contains_key(&of.id);
        if (direction == Direction::In || known) && self.counted.insert(of.id) {
            self.turn(of, 1);
        }
    }

    fn turn(&mut self, of: &Event, sign: i64) {
        let Some(counted) = event::counts_of(&of.body) else { return };
        for (zone, generation) in counted.zones.iter().zip(counted.generations) {
            let one = match counted.direction {
                Direction::In => sign,
                Direction::Out => -sign,
            };
            self.passages.entry(*zone).or_default().push((of.id, *generation, of.at.wall_ms, one));
            let basis = self.bases.get(zone).cloned().unwrap_or(Basis::START);
            let number = self.numbers.entry(*zone).or_default();
            if basis.counts(of.id, *generation, of.at.wall_ms) {
                *number += one;
            }
        }
    }
}

#[test]
fn any_order_repeat_and_partition_gives_one_history() {
    let (mut recounts, mut taken, mut negative) = (0, 0, 0);
    for seed in 0..1000 {
        let mut dice = Dice::new(seed);
        let events = random_events(&mut dice);
        let whole = fold(&events);
        assert_eq!(whole.events, events.len(), "seed {seed}");
        for _ in 0..3 {
            let mut order = shuffled(&mut dice, &events);
            let again: Vec<_> = order.iter().copied().filter(|_| dice.below(3) == 0).collect();
            order.extend(again);
            assert_eq!(fold(order.iter().copied()), whole, "seed {seed}: order or repeats");
            let mut tables = Tables::default();
            order.iter().for_each(|event| tables.hear(event));
            for zone in [NORTH, SOUTH, WHOLE] {
                let number = tables.numbers.get(&zone).copied().unwrap_or(0);
                assert_eq!(number, demand(&whole, zone), "seed {seed}: zone {zone} by tables");
            }
            for (pass, charged) in &tables.charged {
                assert_eq!(charged.len(), whole.passes[pass].total(), "seed {seed}: pass {pass} by tables");
            }
        }
        // Cut into what each gate knows of itself, over the recount that all have heard of by now.
        for (zone, number) in &whole.zones {
            let mut merged = ZoneCount::resting_on(number.count.basis().clone());
            for device in shuffled(&mut dice, &events).iter().map(|event| event.id.device).collect::<BTreeSet<_>>() {
                let part = fold(events.iter().filter(|event| event.id.device == device));
                let Some(own) = part.zones.get(zone) else { continue };
                merged.merge(own.over(number.count.basis()));
                merged.merge(own.over(number.count.basis()));
            }
            assert_eq!(merged, number.count, "seed {seed}: zone {zone} in parts");
            // The history ends where the number is.
            assert_eq!(number.level(i64::MAX), number.count.demand(), "seed {seed}");
            recounts += number.recounts.len();
            negative += usize::from(number.count.demand() < 0);
        }
        taken += whole.passes.values().flat_map(|pass| pass.admissions.values()).filter(|used| used.taken_back).count();
    }
    assert!(recounts > 500 && taken > 300 && negative > 50, "{recounts} recounts, {taken} taken back, {negative}");
}

#[test]
fn a_zone_that_holds_others_is_their_sum_under_any_merge_order() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut events = random_events(&mut dice);
        // People count the whole or nothing: with the parts, each to the same moment.
        events.retain(|event| !matches!(event.body, EventBody::Recounted(_)));
        let at_ms = T0 + 40 * 1_800_000;
        let frontier: Vec<EventId> = events.iter().filter(|_| dice.below(2) == 0).map(|event| event.id).collect();
        if dice.below(2) == 0 {
            for (seq, zone, observed) in [(0, NORTH, 5), (1, SOUTH, 7), (2, WHOLE, 12)] {
                events.push(event(id(9, 1, seq), at_ms, recounted(zone, 3, observed, at_ms, &frontier)));
            }
        }
        for _ in 0..4 {
            let order = shuffled(&mut dice, &events);
            // Also on the way, as soon as all that was counted together was heard.
            for heard in [order.len() / 2, order.len()] {
                let history = fold(order[..heard].iter().copied());
                let counted = history.zones.values().filter(|zone| zone.count.basis().generation == 3).count();
                if counted == 0 || counted == 3 {
                    let parts = demand(&history, NORTH) + demand(&history, SOUTH);
                    assert_eq!(demand(&history, WHOLE), parts, "seed {seed}, {heard} heard");
                }
            }
        }
    }
}
