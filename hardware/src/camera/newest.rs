//! One place for one picture: the newest.
//!
//! A driver queues frames while a decode is running; without this the gate would look at the past.

use std::sync::{Condvar, Mutex, PoisonError};

use super::Delivery;

/// Holds the newest delivery until a decoder takes it.
#[derive(Debug, Default)]
pub struct Newest {
    slot: Mutex<Slot>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    delivery: Option<Delivery>,
    closed: bool,
}

impl Newest {
    /// Replaces whatever was not taken yet.
    pub fn put(&self, delivery: Delivery) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).delivery = Some(delivery);
        self.arrived.notify_one();
    }

    /// No more will come.
    pub fn close(&self) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.arrived.notify_one();
    }

    /// Waits for a delivery; `None` once it is closed and empty.
    #[must_use]
    pub fn take(&self) -> Option<Delivery> {
        let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = self
            .arrived
            .wait_while(slot, |slot| slot.delivery.is_none() && !slot.closed)
            .unwrap_or_else(PoisonError::into_inner);
        slot.delivery.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_is_left_and_the_end_is_seen() {
        let newest = Newest::default();
        for name in ["a", "b", "c"] {
            newest.put(Delivery::Skipped(name.to_owned()));
        }
        assert!(matches!(newest.take(), Some(Delivery::Skipped(name)) if name == "c"));
        let waited = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| newest.take());
            newest.close();
            waiting.join().unwrap()
        });
        assert!(waited.is_none());
    }
}
