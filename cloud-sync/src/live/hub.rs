//! Who waits for news of which venue, within this process.
//!
//! A notice carries no news itself: whoever hears it reads the database. So a missed notice costs nothing but time, and
//! several processes over one database stay right by asking again every few seconds.

use gate_core::ids::VenueId;
use tokio::sync::broadcast;

/// Notices that wait for a slow listener; one that falls behind simply reads the database once.
const BACKLOG: usize = 256;

/// Passes notices on.
#[derive(Clone)]
pub struct Hub(broadcast::Sender<VenueId>);

impl Default for Hub {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Hub {
    /// Something of this venue changed.
    pub fn tell(&self, venue: VenueId) {
        // Nobody listening is the usual case at night.
        let _ = self.0.send(venue);
    }

    /// Listens to one venue.
    pub fn listen(&self, venue: VenueId) -> Listener {
        Listener { venue, notices: self.0.subscribe() }
    }
}

/// Hears of one venue.
pub struct Listener {
    venue: VenueId,
    notices: broadcast::Receiver<VenueId>,
}

impl Listener {
    /// Waits until something of the venue may have changed. All notices that wait are one.
    pub async fn changed(&mut self) {
        loop {
            match self.notices.recv().await {
                Ok(venue) if venue == self.venue => break,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => break,
                // The hub lives as long as the service; nothing more will ever come.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
        self.notices = self.notices.resubscribe();
    }
}
