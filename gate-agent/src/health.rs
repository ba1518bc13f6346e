//! Tells systemd that deciding goes on.
//!
//! It is told from the decision loop and from nowhere else: a process whose loop stands still is a process that must be
//! restarted, however alive its other threads are.

use sd_notify::NotifyState;

/// The loop came round.
pub fn decided() {
    notify(&[NotifyState::Watchdog]);
}

/// The service is ready: the database is open and the lane runs.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The service is stopping on purpose.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(state: &[NotifyState]) {
    // Without systemd there is nobody to tell, and that is fine.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
