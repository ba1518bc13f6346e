//! The cloud's copy of every journal, linked from its first event to its last.

use std::collections::BTreeMap;

use gate_core::event::{Event, EventBody, Head};
use gate_core::ids::DeviceId;
use gate_core::journal::Verifier;

use super::world::World;

/// One opening of a journal: what it goes on from, and its events as they were written, in order.
type Epoch<'a> = (Option<Head>, Vec<&'a [u8]>);

impl World<'_> {
    /// Every event in the cloud names the one before it, over all starts of a device. `held` is in the order of device,
    /// epoch and number.
    pub(super) fn check_chains(&mut self, held: &[(Event, Vec<u8>)]) {
        let mut journals: BTreeMap<DeviceId, BTreeMap<u64, Epoch<'_>>> = BTreeMap::new();
        for (event, bytes) in held {
            let epochs = journals.entry(event.id.device).or_default();
            let continues = if let EventBody::EpochOpened { continues, .. } = &event.body { *continues } else { None };
            let (_, written) = epochs.entry(event.id.epoch).or_insert_with(|| (continues, Vec::new()));
            written.push(bytes);
        }
        for (device, epochs) in journals {
            if self.is_withdrawn(device) {
                continue;
            }
            let mut verifier = Verifier::new(None, Vec::new());
            let (mut before, mut linked) = (None, 0);
            let follows = |before: Option<u64>| {
                epochs.iter().find(|(_, (continues, _))| continues.map(|head| head.event.epoch) == before)
            };
            while let Some((epoch, (_, written))) = follows(before) {
                for bytes in written {
                    if let Err(problem) = verifier.next(bytes) {
                        self.violated(
                            None,
                            &format!("I9: the cloud's copy of {device}'s journal does not hold: {problem}"),
                        );
                    }
                }
                (before, linked) = (Some(*epoch), linked + 1);
            }
            if linked != epochs.len() {
                let all = epochs.len();
                self.violated(None, &format!("I9: of {all} starts of {device} in the cloud {linked} are linked"));
            }
        }
    }
}
