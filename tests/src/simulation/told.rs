//! Uses that a gate had been told of when it let somebody in: what no partition excuses.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use gate_agent::replica::{KEEP_MS, ReplicaReader};
use gate_core::decision::DecisionInput;
use gate_core::event::{self, Event, EventBody};
use gate_core::history::{History, PassHistory};
use gate_core::ids::{Direction, EventId, PassId, ZoneId};
use gate_core::statement::Duty;
use gate_core::sync::v1::{Change, Chunk, Signed};

use super::checks::look_into;
use super::template::LOT_PLACES;
use super::world::World;
use crate::journal::journal_of;

impl World<'_> {
    /// Nobody is let in by a pass whose uses the gate knew to be used up: its own, and those that were in the changes it
    /// had applied.
    pub(super) fn check_known_uses(&mut self, events: &[Event], back: &BTreeSet<EventId>) -> anyhow::Result<()> {
        // What a restored cloud or an older card says has other numbers.
        if self.watch.restores > 0 || self.watch.set_back.is_some() {
            return Ok(());
        }
        let told = self.told_uses()?;
        let mut charged: BTreeMap<&PassId, Vec<&Event>> = BTreeMap::new();
        for event in events {
            if let EventBody::Authorised { admission, .. } = &event.body
                && let Some(pass) = &admission.pass
                && admission.charges_use
                && admission.direction == Direction::In
                && !back.contains(&event.id)
            {
                charged.entry(pass).or_default().push(event);
            }
        }
        let mut wrong = Vec::new();
        for (pass, uses) in charged {
            let cti = pass.cti.to_string();
            let Some(made) = self.template.passes.iter().find(|one| one.cti == cti) else { continue };
            let (allowed, per_day) = made.allowed();
            for event in &uses {
                let EventBody::Authorised { input, admission, .. } = &event.body else { continue };
                let known = uses.iter().filter(|other| {
                    let EventBody::Authorised { admission: earlier, .. } = &other.body else { return false };
                    let same_day = !per_day || earlier.service_day == admission.service_day;
                    let heard = told.get(&other.id).is_some_and(|position| *position <= input.view.position);
                    other.id.device != event.id.device && same_day && heard
                });
                let known = known.count();
                if u64::try_from(known).unwrap_or(u64::MAX) >= allowed {
                    let (id, at) = (event.id, input.view.position);
                    wrong.push(format!("I5: {id} let {cti} in at change {at}, which knew of {known} uses elsewhere"));
                }
            }
        }
        for wrong in wrong {
            self.violated(None, &wrong);
        }
        Ok(())
    }

    /// Uses that a restored service has lost and only a device that was withdrawn could say again: nobody asks it, and gates
    /// that had heard of them before go on knowing them.
    fn untold_uses(&self, events: &[Event]) -> anyhow::Result<BTreeMap<PassId, usize>> {
        let mut untold = BTreeMap::new();
        if self.watch.restores == 0 {
            return Ok(untold);
        }
        let held: BTreeSet<EventId> = events.iter().map(|event| event.id).collect();
        for gate in &self.watch.withdrawn {
            let reader = ReplicaReader::open(&self.gates[*gate].database())?;
            for (event, _) in journal_of(&reader)? {
                if let EventBody::Authorised { admission, .. } = &event.body
                    && let Some(pass) = &admission.pass
                    && !held.contains(&event.id)
                {
                    *untold.entry(pass.clone()).or_default() += 1;
                }
            }
        }
        Ok(untold)
    }

    /// When all have agreed, every gate knows as many uses of every pass as follow from the events.
    pub(super) fn check_agreed_uses(&mut self, history: &History, events: &[Event]) -> anyhow::Result<()> {
        // A gate lets go of uses of passes that ended a season ago.
        if self.leap_ms >= KEEP_MS || self.watch.set_back.is_some() {
            return Ok(());
        }
        let mut shown: BTreeMap<&PassId, &DecisionInput> = BTreeMap::new();
        for event in events {
            if let EventBody::Authorised { input, admission, .. } = &event.body
                && let Some(pass) = &admission.pass
            {
                shown.entry(pass).or_insert(input);
            }
        }
        let untold = self.untold_uses(events)?;
        for gate in 0..self.gates.len() {
            if self.watch.withdrawn.contains(&gate) || self.gates[gate].agent.is_none() {
                continue;
            }
            let mut reader = ReplicaReader::open(&self.gates[gate].database())?;
            let Some(row) = reader.gate()? else { continue };
            for (pass, input) in &shown {
                let known = reader.view(&input.pass, &row, input.now)?.uses.total;
                let follow = history.passes.get(pass).map_or(0, PassHistory::total);
                let most = follow + untold.get(*pass).copied().unwrap_or(0);
                if !(follow..=most).contains(&usize::try_from(known)?) {
                    let text =
                        format!("I4: this gate knows {known} uses of {}, {follow} follow from the events", pass.cti);
                    self.violated(Some(gate), &text);
                }
            }
        }
        Ok(())
    }

    /// Two entries that a gate let in by one and the same news each spend a right. `events` are in their journals' order.
    pub(super) fn check_rights_are_spent(&mut self, events: &[Event]) {
        // A restored service begins another chain of news, which may come to the same number.
        if self.watch.restores > 0 {
            return;
        }
        let mut last: Option<(EventId, &DecisionInput, &[ZoneId])> = None;
        let mut wrong = Vec::new();
        for event in events {
            let EventBody::Authorised { input, admission, .. } = &event.body else {
                // Places that come back, or are counted anew, are no news.
                if event::taken_back(&event.body).is_some() || matches!(event.body, EventBody::Recounted(_)) {
                    last = None;
                }
                continue;
            };
            if admission.direction == Direction::Out || admission.zones.is_empty() {
                continue;
            }
            if let Some((before, known, passed_on)) = last
                && (before.device, before.epoch) == (event.id.device, event.id.epoch)
                && known.view.position == input.view.position
            {
                for (one, next) in known.view.spaces.iter().zip(&input.view.spaces) {
                    let same = (one.zone, one.generation) == (next.zone, next.generation);
                    // A count below zero has as many rights as there are places, however many come in.
                    let strict = one.zone == self.template.lot && next.rights_held < LOT_PLACES;
                    let strict = strict && !passed_on.contains(&one.zone);
                    if same && strict && one.rights_held > 0 && next.rights_held >= one.rights_held {
                        wrong.push(format!("I4: {before} and {} were let in by one right of {}", event.id, one.zone));
                    }
                }
            }
            // A place that is passed on to whoever comes again is no further one.
            let again = admission.reopens.and(input.view.uses.unopened.as_ref());
            last = Some((event.id, input, again.map_or(&[][..], |unopened| &unopened.places)));
        }
        for wrong in wrong {
            self.violated(None, &wrong);
        }
    }

    /// Up to which change a gate must have come to know of each use.
    fn told_uses(&mut self) -> anyhow::Result<BTreeMap<EventId, u64>> {
        let agent = self.gates.iter().find_map(|gate| gate.agent.as_ref()).context("no agent runs at the end")?;
        let key = agent.with_writer(|replica| replica.duty_key(Duty::Settings))?;
        let database = self.cloud.as_ref().context("the cloud runs at the end")?.database();
        let db = look_into(&database)?;
        let chunks: Vec<Vec<u8>> = db
            .prepare("SELECT bytes FROM chunks ORDER BY from_position")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut told = BTreeMap::new();
        for bytes in chunks {
            let chunk = Chunk::open(&bytes, &key)?;
            for change in &chunk.changes {
                if let Change::Use(mark) = change {
                    told.entry(mark.event).or_insert(chunk.to);
                }
            }
        }
        Ok(told)
    }
}
