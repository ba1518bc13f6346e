//! The maintenance switch: no exchange with the cloud for a while, for whoever works on the network.
//!
//! It expires by itself, also if nobody thinks of it: its end is a monotonic stamp of this boot, so that no clock can
//! stretch it, and a restart of the machine ends it. Deciding never asks for it: a gate decides the same with and without.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gate_core::ids::BootId;
use serde::{Deserialize, Serialize};

use super::{Surroundings, ThisMachine};

/// Name of the file in the data folder.
const FILE: &str = "offline.json";
/// Shortest and longest time for which the switch may be thrown.
const SPAN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Why the switch could not be thrown.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// Too short or too long.
    #[error("offline for {} s: choose between 1 minute and 24 hours, for example --for 30m", .0.as_secs())]
    Span(Duration),
    /// The file can't be written.
    #[error("can't write {}: {why}. Is the data folder there, and yours to write to?", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Off {
    boot: BootId,
    until_mono_us: u64,
}

/// Stops all exchange with the cloud for this long.
pub fn offline(data_dir: &Path, span: Duration) -> Result<(), MaintenanceError> {
    if span < SPAN.0 || span > SPAN.1 {
        return Err(MaintenanceError::Span(span));
    }
    Switch::at(data_dir).throw(span, &ThisMachine::default())
}

/// Begins the exchange again. It is no mistake if it never stopped.
pub fn online(data_dir: &Path) -> Result<(), MaintenanceError> {
    let path = data_dir.join(FILE);
    match std::fs::remove_file(&path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(MaintenanceError::File { path, why }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// How long there will be no exchange yet; `None` while there is.
pub fn left(data_dir: &Path) -> Option<Duration> {
    Switch::at(data_dir).left(&ThisMachine::default())
}

/// The switch of one data folder. Without a folder it is never thrown.
#[derive(Clone, Debug, Default)]
pub struct Switch(Option<PathBuf>);

impl Switch {
    /// The switch of a data folder.
    pub fn at(data_dir: &Path) -> Self {
        Self(Some(data_dir.join(FILE)))
    }

    fn throw(&self, span: Duration, surroundings: &dyn Surroundings) -> Result<(), MaintenanceError> {
        let Some(path) = &self.0 else { return Ok(()) };
        let now = surroundings.now();
        let us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let off = Off { boot: now.boot, until_mono_us: now.mono_us.saturating_add(us) };
        let failed = |why: std::io::Error| MaintenanceError::File { path: path.clone(), why };
        let part = path.with_extension("part");
        std::fs::write(&part, serde_json::to_vec(&off).map_err(|e| failed(e.into()))?).map_err(failed)?;
        std::fs::rename(&part, path).map_err(failed)
    }

    /// How long it stays thrown. A file that can't be read or asks for more than the longest time is no order.
    fn left(&self, surroundings: &dyn Surroundings) -> Option<Duration> {
        let bytes = std::fs::read(self.0.as_ref()?).ok()?;
        let off: Off = serde_json::from_slice(&bytes).ok()?;
        let now = surroundings.now();
        let left = Duration::from_micros(off.until_mono_us.checked_sub(now.mono_us)?);
        (off.boot == now.boot && !left.is_zero() && left <= SPAN.1).then_some(left)
    }

    /// Returns at once unless the switch is thrown; calls `rests` once if it is.
    pub(super) async fn wait_until_on(&self, surroundings: &dyn Surroundings, rests: impl FnOnce()) {
        let Some(left) = self.left(surroundings) else { return };
        tracing::warn!(left_s = left.as_secs(), "no exchange with the cloud: somebody threw the maintenance switch");
        rests();
        while let Some(left) = self.left(surroundings) {
            tokio::time::sleep(left.min(LOOK)).await;
        }
        tracing::info!("the maintenance switch is back");
    }

    /// Returns when the switch is thrown.
    pub(super) async fn wait_until_off(&self, surroundings: &dyn Surroundings) {
        while self.left(surroundings).is_none() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use gate_core::time::{Now, Trust};

    use super::*;
    use crate::replica::testing::Folder;

    struct At(Mutex<Now>);

    impl Surroundings for At {
        fn now(&self) -> Now {
            *self.0.lock().unwrap()
        }

        fn random(&self) -> [u8; 32] {
            [0; 32]
        }
    }

    fn boot(n: u128) -> BootId {
        BootId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn the_switch_comes_back_by_itself_and_at_every_restart() {
        let folder = Folder::new("switch");
        let switch = Switch::at(folder.path());
        let at = |boot, mono_us| At(Mutex::new(Now { wall_ms: 0, mono_us, boot, trust: Trust::Unknown }));
        assert_eq!(switch.left(&at(boot(1), 5)), None);
        switch.throw(Duration::from_secs(1800), &at(boot(1), 1_000_000)).unwrap();
        for (name, here, left) in [
            ("just thrown", at(boot(1), 1_000_000), Some(1800)),
            ("half over", at(boot(1), 901_000_000), Some(900)),
            ("over", at(boot(1), 1_801_000_000), None),
            ("long over", at(boot(1), 9_000_000_000), None),
            ("after a restart", at(boot(2), 1_000_001), None),
        ] {
            assert_eq!(switch.left(&here).map(|left| left.as_secs()), left, "{name}");
        }
        online(folder.path()).unwrap();
        online(folder.path()).unwrap();
        assert_eq!(switch.left(&at(boot(1), 1_000_000)), None);
    }

    #[test]
    fn what_is_no_order_of_ours_stops_nothing() {
        let folder = Folder::new("switch");
        let switch = Switch::at(folder.path());
        let here = At(Mutex::new(Now { wall_ms: 0, mono_us: 5, boot: boot(1), trust: Trust::Unknown }));
        let year = format!("{{\"boot\":\"{}\",\"until_mono_us\":31536000000000}}", uuid::Uuid::from_u128(1));
        for text in ["", "{", "{}", "[1]", year.as_str()] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(switch.left(&here), None, "{text}");
        }
        for span in [0, 59, 24 * 3600 + 1] {
            let error = offline(folder.path(), Duration::from_secs(span)).unwrap_err();
            assert!(error.to_string().contains("24 hours"), "{error}");
        }
        let nowhere = folder.path().join("nowhere");
        let error = offline(&nowhere, Duration::from_secs(60)).unwrap_err();
        assert!(error.to_string().contains("offline"), "{error}");
        assert_eq!(Switch::default().left(&here), None);
    }
}
