//! How a gate and the cloud come to know the same: events up, changes down, signed time and hints.
//!
//! [`engine`] drives `gate_core`'s session over a [`transport`]; [`live`] listens for hints. All of it runs beside the
//! decision path and can be dropped at any moment: what matters is in the database before and after every step.

pub mod carrier;
pub mod engine;
pub mod live;
pub mod maintenance;
pub mod problem;
pub mod store;
pub mod tls;
pub mod transport;

use std::sync::atomic::{AtomicBool, Ordering};

use gate_core::ids::BootId;
use gate_core::time::{Now, Trust};
use tokio::sync::{Notify, watch};

pub use engine::{Ears, Engine, SignedMoment, Step};
pub use problem::SyncError;
pub use store::{Store, StoreError};
pub use transport::{CloudUrl, HttpTransport, Road, RoadAnswer, RoadRequest, SignedTransport, Transport};

use crate::clock;
use crate::screen::Facts;

/// The clock and the randomness that sync runs on.
pub trait Surroundings: Send + Sync {
    /// The moment.
    fn now(&self) -> Now;
    /// The moment that certificates are judged by. Where nobody keeps a better one, the machine's clock is taken for right.
    fn believed(&self) -> Now {
        Now { trust: Trust::Ntp, ..self.now() }
    }
    /// Fresh random bytes, for nonces and jitter.
    fn random(&self) -> [u8; 32];
}

/// This machine's clock and randomness. Its wall clock is believed by nobody: a request that is refused for it is signed
/// again with the cloud's nonce, and what decides about passes is `TimeKeeper`'s time.
#[derive(Debug)]
pub struct ThisMachine {
    boot: BootId,
}

impl Default for ThisMachine {
    fn default() -> Self {
        Self { boot: clock::boot_id() }
    }
}

impl Surroundings for ThisMachine {
    fn now(&self) -> Now {
        Now { wall_ms: clock::system_ms(), mono_us: clock::mono_us(), boot: self.boot, trust: Trust::Continued }
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        if let Err(error) = getrandom::fill(&mut bytes) {
            // A repeated nonce is refused by the cloud; nothing secret hangs on these bytes.
            tracing::error!(%error, "the system gives no random bytes");
        }
        bytes
    }
}

/// This machine's randomness, and the time that this gate keeps.
#[derive(Debug)]
pub struct KeptTime {
    /// The machine.
    pub machine: ThisMachine,
    /// Where the lane tells the time that it keeps.
    pub facts: watch::Receiver<Facts>,
}

impl Surroundings for KeptTime {
    fn now(&self) -> Now {
        self.machine.now()
    }

    fn believed(&self) -> Now {
        let machine = self.machine.now();
        let kept = self.facts.borrow().now;
        // Before the lane has looked at its clocks nobody knows the date.
        kept.map_or(Now { trust: Trust::Unknown, ..machine }, |kept| {
            let since_ms = machine.mono_us.saturating_sub(kept.mono_us) / 1000;
            let wall_ms = kept.wall_ms.saturating_add(i64::try_from(since_ms).unwrap_or(i64::MAX));
            Now { wall_ms, mono_us: machine.mono_us, ..kept }
        })
    }

    fn random(&self) -> [u8; 32] {
        self.machine.random()
    }
}

/// Wakes the engine before its pause is over.
#[derive(Debug, Default)]
pub struct Wake {
    notify: Notify,
    /// For the live channel, which has pauses of its own.
    link: Notify,
    hinted: AtomicBool,
    link_up: AtomicBool,
}

impl Wake {
    /// An event was recorded: there is something to send.
    pub fn recorded(&self) {
        self.notify.notify_one();
    }

    /// The cloud said that there are changes.
    pub fn hinted(&self) {
        self.hinted.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// The network came back.
    pub fn link_up(&self) {
        self.link_up.store(true, Ordering::Release);
        self.notify.notify_one();
        self.link.notify_waiters();
    }

    pub(crate) fn take_hinted(&self) -> bool {
        self.hinted.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn take_link_up(&self) -> bool {
        self.link_up.swap(false, Ordering::AcqRel)
    }

    pub(crate) async fn link_is_up(&self) {
        self.link.notified().await;
    }

    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

/// The first eight random bytes as a number.
pub(crate) fn number(bytes: [u8; 32]) -> u64 {
    bytes.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
