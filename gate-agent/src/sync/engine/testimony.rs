//! What a device still says that nobody believes: it was withdrawn, or two histories of it exist.
//!
//! Its events are evidence. They stay where they are, because only the venue may say that they are done with, but the cloud
//! hears each of them once and keeps it aside: the device may be gone before anybody has looked.

use gate_core::ids::EventId;
use gate_core::sync::v1::{PUSH_BYTES, PUSH_LIMIT};

use super::{Engine, Trouble};
use crate::replica::PendingEvent;
use crate::sync::{Store, SyncError, Transport};

/// Most events that are told: as many as the cloud keeps aside.
const TESTIMONY: usize = 10_000;

impl<T: Transport, S: Store> Engine<T, S> {
    /// Tells all that waits here and was not told since the cloud took something for the last time.
    pub(super) async fn testify(&mut self) {
        let told = self.testified.len();
        let waiting = self.store.with(move |replica| {
            let nothing_new = replica.pending_count()? <= told as u64 || told >= TESTIMONY;
            if nothing_new { Ok(vec![]) } else { replica.pending(TESTIMONY, usize::MAX) }
        });
        let Ok(waiting) = waiting.await else { return };
        let fresh: Vec<PendingEvent> =
            waiting.into_iter().filter(|event| !self.testified.contains(&event.id)).collect();
        let mut rest = fresh.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(PUSH_LIMIT).take_while(|event| {
                bytes += event.bytes.len();
                bytes <= PUSH_BYTES
            });
            let (page, others) = rest.split_at(fits.count().max(1));
            rest = others;
            match self.ask(page).await {
                // The answer is a refusal, and says nothing new.
                Err(Trouble::Road(error)) if matches!(error.code(), Some("device_fenced" | "device_revoked")) => {}
                // Somebody has looked meanwhile: what waits is sent again as always.
                Ok(_) => return self.testified.clear(),
                Err(Trouble::Road(SyncError::Unreachable(why))) => {
                    tracing::debug!(why, "the cloud could not be told what it does not believe");
                    return;
                }
                Err(Trouble::Road(_) | Trouble::Store(_)) => return,
            }
            self.testified.extend(page.iter().map(|event| event.id).collect::<Vec<EventId>>());
        }
    }

    /// The cloud says that this device is withdrawn, and shows the venue's word for it: it is kept if it holds.
    pub(super) async fn withdrawn(&mut self, statement: Vec<u8>) {
        match self.store.with(move |replica| replica.hear_withdrawal(&statement)).await {
            Ok(true) => {
                self.ears.changed.send_modify(|version| *version += 1);
                self.testify().await;
            }
            Ok(false) => tracing::warn!("an older word withdraws this device; a newer one keeps it"),
            Err(error) => tracing::warn!(%error, "the word that withdraws this device does not hold"),
        }
    }
}
