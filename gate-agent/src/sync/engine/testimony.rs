//! What a device still says that nobody believes: it was withdrawn, or two histories of it exist.
//!
//! Its events are evidence. They stay where they are, because only the venue may say that they are done with, but the cloud
//! hears each of them and keeps it aside: the device may be gone before anybody has looked.

use gate_core::sync::v1::PUSH_LIMIT;

use super::{Engine, Trouble};
use crate::sync::{Store, SyncError, Transport};

/// Most events that are told: as many as the cloud keeps aside.
const TESTIMONY: u64 = 10_000;

/// How far the cloud was told, since it took something for the last time.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Told {
    /// Up to this position of the journal.
    upto: i64,
    events: u64,
}

impl Told {
    /// Whether anything was told.
    pub(super) fn is_something(self) -> bool {
        self.events > 0
    }
}

impl<T: Transport, S: Store> Engine<T, S> {
    /// Tells the next page of what waits here and was not told yet. One page at a time, after each refusal, so that neither a
    /// narrow road nor the pauses of one that refuses are forgotten.
    pub(super) async fn testify(&mut self) {
        let (Told { upto, events }, window, most) = (self.told, self.window.max(1), self.most_bytes());
        if events >= TESTIMONY {
            return;
        }
        let Ok(page) = self.store.with(move |replica| replica.waiting_after(upto, window, most)).await else { return };
        let (Some((last, _)), count) = (page.last(), page.len() as u64) else { return };
        let last = *last;
        let page: Vec<_> = page.into_iter().map(|(_, event)| event).collect();
        match self.ask(&page).await {
            // The answer is a refusal, and says nothing new.
            Err(Trouble::Road(error)) if matches!(error.code(), Some("device_fenced" | "device_revoked")) => {
                self.told = Told { upto: last, events: events + count };
                self.window = (self.window * 2).min(PUSH_LIMIT);
            }
            // Somebody has looked meanwhile: what waits is sent as always.
            Ok(_) => self.told = Told::default(),
            Err(Trouble::Road(SyncError::Unreachable(why))) => {
                self.window = (page.len() / 2).max(1);
                tracing::debug!(why, "the cloud could not be told what it does not believe");
            }
            Err(Trouble::Road(_) | Trouble::Store(_)) => {}
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
