//! Syncs that are repeated, because a card that only claims to have done one would lose days with it and not a scan.
//!
//! After a commit the next commit's sync makes good for one that the card ignored. Nothing does so after a checkpoint, whose
//! pages stand in the log no longer, nor for the names of files. A card that ignores one sync in ten ignores four in a row
//! once in ten thousand times.

use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use rusqlite::Connection;

/// How often.
const TIMES: usize = 3;

/// Notices that a checkpoint wrote into the database.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    changed: Option<SystemTime>,
}

impl Checkpoints {
    /// Those from now on.
    pub(crate) fn of(database: &Path) -> Self {
        Self { changed: changed(database) }
    }

    /// After each commit, before another one may write over the log: syncs the database again if a checkpoint wrote into it.
    /// Says whether it did.
    pub(crate) fn after_commit(&mut self, database: &Path) -> bool {
        let now = changed(database);
        let happened = now != self.changed;
        if happened {
            self.changed = now;
            again(database);
        }
        happened
    }
}

fn changed(database: &Path) -> Option<SystemTime> {
    std::fs::metadata(database).and_then(|file| file.modified()).ok()
}

/// Before the last connection closes and the log goes with it.
pub(crate) fn before_closing(db: &Connection, database: &Path) {
    let log_frames = db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1));
    match log_frames {
        Ok(_) => again(database),
        // Closing tries it once more, and what fails there stays in the log.
        Err(error) => tracing::warn!(%error, "the log could not be written into the database"),
    }
}

/// After the files were made.
pub(crate) fn names(database: &Path) {
    again(database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new(".")));
}

/// A repeated sync that fails says nothing new: the first one did not, and what it wrote is read back at the next start.
fn again(path: &Path) {
    let synced = File::open(path).and_then(|file| (0..TIMES).try_for_each(|_| file.sync_all()));
    if let Err(error) = synced {
        tracing::warn!(path = %path.display(), %error, "a sync could not be repeated");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::testing::*;

    #[test]
    fn only_what_a_checkpoint_wrote_is_synced_again() {
        let folder = Folder::new("sync-again");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let mut seen = Checkpoints::of(&folder.db());
        admit(&mut replica, 1, 0, 0);
        assert!(!seen.after_commit(&folder.db()), "a commit writes only into the log");
        // A clock of files may tick slowly.
        let earlier = SystemTime::UNIX_EPOCH;
        File::options().write(true).open(folder.db()).unwrap().set_modified(earlier).unwrap();
        let mut seen = Checkpoints::of(&folder.db());
        drop(replica);
        assert!(seen.after_commit(&folder.db()));
        assert!(!seen.after_commit(&folder.db()));
    }
}
