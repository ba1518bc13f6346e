//! What the cloud says while gates are apart from it: the true number lies in its interval all the time.

use std::collections::{BTreeMap, BTreeSet};

use gate_agent::replica::ReplicaReader;
use gate_core::event::{Event, EventBody};
use gate_core::history::fold;
use gate_core::ids::{EventId, ZoneId};

use super::checks::{held_by, shown_of};
use super::cloud::Cloud;
use super::world::World;
use crate::journal::journal_of;

impl World<'_> {
    /// Compares the intervals on the dashboard with what follows from all journals, wherever they are. What a gate that
    /// was heard of just now has not sent yet may be missing; of a gate that is shown as offline nothing may.
    pub(super) fn look_at_numbers(&mut self) -> anyhow::Result<()> {
        // The history of such a gate is evidence, not truth.
        if !self.watch.withdrawn.is_empty() || self.watch.set_back.is_some() {
            return Ok(());
        }
        let Some(overview) = self.overview()? else { return Ok(()) };
        let true_ms = self.true_ms();
        let database = self.cloud.as_ref().map(Cloud::database).unwrap_or_default();
        let mut events: Vec<Event> = held_by(&database)?.into_iter().map(|(event, _)| event).collect();
        let heard: BTreeSet<EventId> = events.iter().map(|event| event.id).collect();
        let offline = |gate: usize| {
            let id = self.gates[gate].made.gate.to_string();
            overview["gates"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|one| one["id"] == id.as_str() && one["state"] == "offline")
        };
        let mut on_the_way: BTreeMap<ZoneId, u64> = BTreeMap::new();
        for gate in 0..self.gates.len() {
            let Ok(reader) = ReplicaReader::open(&self.gates[gate].database()) else { continue };
            let own = journal_of(&reader)?.into_iter().map(|(event, _)| event);
            let mut own: Vec<Event> = own.filter(|event| !heard.contains(&event.id)).collect();
            if !offline(gate) {
                for zone in [self.gates[gate].made.zone, self.template.site] {
                    *on_the_way.entry(zone).or_default() += own.len() as u64;
                }
            }
            events.append(&mut own);
        }
        self.watch.figures.looks += 1;
        let history = fold(&events);
        for (name, zone) in self.template.zones() {
            let follows = u64::from(history.zones.get(&zone).map_or(0, |zone| zone.count.occupancy()));
            // A clock that is ahead lets a zone begin anew before its hour, and a restored service may have forgotten that
            // gates let it.
            let forgotten = self.watch.rules_lost.contains(&zone);
            let unforeseen = |event: &&Event| matches!(&event.body, EventBody::Recounted(recount) if recount.zone == zone && (forgotten || recount.at_ms > true_ms));
            if events.iter().filter(unforeseen).any(|event| !heard.contains(&event.id)) {
                continue;
            }
            let shown = shown_of(&overview, zone);
            let Some((low, high)) = shown.and_then(|one| Some((one["low"].as_u64()?, one["high"].as_u64()?))) else {
                self.violated(None, &format!("E13: the overview does not say how full {name} is"));
                continue;
            };
            let slack = on_the_way.get(&zone).copied().unwrap_or(0);
            if !(low.saturating_sub(slack)..=high + slack).contains(&follows) {
                let text =
                    format!("E13: the cloud says {low} to {high} in {name}, {slack} are on the way, {follows} follow");
                self.violated(None, &text);
            }
        }
        Ok(())
    }
}
