//! Whether what gates said was right: no use out of nowhere, and nobody turned away for what was not so.

use std::collections::{BTreeMap, BTreeSet};

use gate_agent::replica::ReplicaReader;
use gate_core::decision::DecisionInput;
use gate_core::event::{self, Event, EventBody};
use gate_core::ids::{EventId, PassId};
use gate_core::pass::Finding;
use gate_core::reason::Reason;
use gate_core::time::Trust;

use super::world::World;
use crate::journal::journal_of;

impl World<'_> {
    /// Looks at every decision in every journal. `held` is what the cloud holds.
    pub(super) fn check_answers(&mut self, held: &[Event]) -> anyhow::Result<()> {
        let mut journals = Vec::new();
        for gate in 0..self.gates.len() {
            let reader = ReplicaReader::open(&self.gates[gate].database())?;
            journals.push(journal_of(&reader)?.into_iter().map(|(event, _)| event).collect::<Vec<_>>());
        }
        let mut uses: BTreeMap<PassId, BTreeSet<EventId>> = BTreeMap::new();
        for event in journals.iter().flatten().chain(held) {
            if let Some(pass) = charged(event) {
                uses.entry(pass.clone()).or_default().insert(event.id);
            }
        }
        for (gate, journal) in journals.iter().enumerate() {
            // Its own events that were still to come, and those that it had taken back.
            let mut not_so: BTreeSet<EventId> = journal.iter().map(|event| event.id).collect();
            let mut openings = Openings::default();
            for event in journal {
                if openings.forgotten_by(event) {
                    let text = format!("{} does not know that its opening before may not have happened", event.id);
                    self.violated(Some(gate), &text);
                }
                openings.hear(event);
                if let EventBody::Authorised { input, .. } | EventBody::Refused { input, .. } = &event.body {
                    self.check_uses(gate, event, input, &not_so, &uses);
                }
                if let EventBody::Refused { input, reason } = &event.body {
                    self.check_reason(gate, event, input, *reason);
                }
                not_so.remove(&event.id);
                not_so.extend(event::taken_back(&event.body));
            }
        }
        Ok(())
    }

    /// What a gate knew of a pass's uses had all happened: in its own journal before, or in another one.
    fn check_uses(
        &mut self,
        gate: usize,
        event: &Event,
        input: &DecisionInput,
        not_so: &BTreeSet<EventId>,
        uses: &BTreeMap<PassId, BTreeSet<EventId>>,
    ) {
        // What an older backup and a pruned journal have both let go of, nobody can name any more.
        if self.watch.restores > 0 {
            return;
        }
        let Finding::Genuine { claims, .. } = &input.pass.finding else { return };
        let there = uses.get(&claims.id()).map_or(0, |all| all.difference(not_so).count());
        let known = usize::try_from(input.view.uses.total).unwrap_or(usize::MAX);
        if known > there {
            let (id, cti) = (event.id, claims.cti);
            self.violated(Some(gate), &format!("I5: {id} knew {known} uses of {cti}, {there} had happened"));
        }
    }

    /// The reason is one that there can be in this run.
    fn check_reason(&mut self, gate: usize, event: &Event, input: &DecisionInput, reason: Reason) {
        let Finding::Genuine { claims, .. } = &input.pass.finding else { return };
        let so = match reason {
            // Follow from the view, whose uses are looked at above, and whose numbers are compared when all is heard.
            Reason::AlreadyUsed | Reason::UsedToday | Reason::NoUsesLeft | Reason::LotFull => true,
            Reason::NoVehicle => self.gates[gate].inputs.presence,
            Reason::LaneFault | Reason::OutOfOrder => true,
            Reason::Revoked => self.watch.revoked_ever.contains(&claims.cti.to_string()),
            Reason::Expired | Reason::NotYetValid => self.watch.clocks_lie,
            Reason::ClockUnknown => input.now.trust < Trust::Ntp,
            // A gate that has heard of nothing yet knows neither vendors nor products.
            Reason::VendorInactive | Reason::UnknownProduct | Reason::UnknownKey => input.view.position == 0,
            Reason::NotAPass
            | Reason::Unsupported
            | Reason::Malformed
            | Reason::TooLong
            | Reason::BadSignature
            | Reason::IssuerRevoked
            | Reason::WrongVenue
            | Reason::WrongGate
            | Reason::Superseded
            | Reason::Blocked
            | Reason::UnknownPass
            | Reason::ReplicaStale
            | Reason::UnknownRule
            | Reason::OutsideHours
            | Reason::AlreadyInside
            | Reason::TooSoon
            | Reason::ChildNeedsAdult
            | Reason::Attention
            | Reason::Unreadable => false,
        };
        if !so {
            self.violated(Some(gate), &format!("{} turned somebody away as {reason}, which was not so", event.id));
        }
    }
}

/// What became of a gate's own openings, as its journal tells it.
#[derive(Default)]
struct Openings<'a> {
    newest: BTreeMap<PassId, &'a Event>,
    unknown: BTreeSet<EventId>,
}

impl<'a> Openings<'a> {
    fn hear(&mut self, event: &'a Event) {
        if let Some(pass) = event::pass_of(&event.body) {
            self.newest.insert(pass.clone(), event);
        }
        match &event.body {
            EventBody::NotOpened { of, unknown: true } => {
                self.unknown.insert(*of);
            }
            EventBody::NotOpened { of, unknown: false } | EventBody::Opened { of, .. } | EventBody::Annulled { of } => {
                self.unknown.remove(of);
            }
            EventBody::EpochOpened { .. }
            | EventBody::Authorised { .. }
            | EventBody::Refused { .. }
            | EventBody::Passed { .. }
            | EventBody::Repeated { .. }
            | EventBody::Noise { .. }
            | EventBody::Overridden { .. }
            | EventBody::ExitButton { .. }
            | EventBody::Fire { .. }
            | EventBody::Recounted(_)
            | EventBody::Health { .. }
            | EventBody::LaneClosed { .. }
            | EventBody::ClockStepped(_) => {}
        }
    }

    /// A pass was judged as if it had been let in, although it was written down before that nobody knows.
    fn forgotten_by(&self, event: &Event) -> bool {
        let (EventBody::Authorised { input, .. } | EventBody::Refused { input, .. }) = &event.body else {
            return false;
        };
        let Finding::Genuine { claims, .. } = &input.pass.finding else { return false };
        let Some(newest) = self.newest.get(&claims.id()) else { return false };
        let EventBody::Authorised { admission, .. } = &newest.body else { return false };
        let may_come_again = admission.reopens.is_none() && newest.at.boot == event.at.boot;
        may_come_again && self.unknown.contains(&newest.id) && input.view.uses.unopened.is_none()
    }
}

/// The pass of which an event takes a use.
fn charged(event: &Event) -> Option<&PassId> {
    let EventBody::Authorised { admission, .. } = &event.body else { return None };
    admission.pass.as_ref().filter(|_| admission.charges_use)
}
