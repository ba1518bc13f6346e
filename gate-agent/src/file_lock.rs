//! A lock on a file that only one process has at a time (flock(2)).

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// A lock that is held as long as this lives; the operating system lets go of it when the process ends.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Takes the lock of this file, which is made if it is not there. `None`: somebody else has it.
    ///
    /// # Errors
    /// If the file can't be made or locked.
    pub(crate) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).write(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for FileLock {
    /// Closing would not do: a program that is being started elsewhere in this process holds a copy of every open file
    /// between fork and exec, and with it the lock. Unlocking takes it from all copies.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "a lock could not be taken back; it ends with the file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_owner_whoever_else_holds_the_file() {
        let folder = crate::replica::testing::Folder::new("file-lock");
        let path = folder.path().join("a.lock");
        let lock = FileLock::take(&path).unwrap().unwrap();
        assert!(FileLock::take(&path).unwrap().is_none(), "one at a time");
        // What a child has of it between fork and exec.
        let copy = lock.0.try_clone().unwrap();
        drop(lock);
        assert!(FileLock::take(&path).unwrap().is_some());
        drop(copy);
        assert!(FileLock::take(&folder.path().join("nowhere/a.lock")).is_err());
    }
}
