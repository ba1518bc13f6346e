//! What can go wrong with a gate's database, told apart by what a person can do about it.

use std::path::{Path, PathBuf};

use gate_core::ids::EventId;

/// Why the replica could not do what was asked. Each message names the file and the cure.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The file is not what was written: bit rot, a failing card, a foreign file.
    #[error(
        "{} is damaged ({why}). Nothing was changed. Restart gate-agent or run `gate-agent salvage`: it keeps this file aside, \
         saves every event whose chain holds, and the rest comes back from the cloud",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A damaged database, and nobody knows whose it is.
    #[error(
        "{} is damaged ({why}), and neither it nor identity.json beside it says whose it is, so nothing can be saved. Nothing \
         was changed. Put identity.json back from a copy of this card, or move the file aside and enrol this gate again",
        path.display()
    )]
    Ownerless {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No room for the record.
    #[error("no space left for {}: nothing was recorded and nobody is let in automatically; staff and exits use the reserve. Free space on its partition; the journal continues by itself", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The file or its file system may not be written.
    #[error("{} can't be written: its file system is read-only or its owner is another. Check the card and `mount`", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// The disk failed. The connection was closed; the state is read again before anything else is written.
    #[error("the disk failed under {} ({why}). If this repeats, replace the card", path.display())]
    Io {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// Another process writes this database.
    #[error("{} is in use by another gate-agent. Stop that one first", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The linked SQLite has a known fault that can corrupt a WAL database.
    #[error("SQLite {0} can corrupt a database in WAL mode; 3.51.3 or newer is needed, and 3.52.0 was withdrawn")]
    UnsafeSqlite(String),
    /// A newer gate-agent wrote this database.
    #[error("{} has schema {found}, this gate-agent knows {known}. Install the newer software again", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// What the file says.
        found: i64,
        /// What this software knows.
        known: i64,
    },
    /// Nothing can be recorded before the device knows who it is.
    #[error("this device is not enrolled. Run `gate-agent enrol` with the code that the dashboard shows")]
    NotEnrolled,
    /// The database belongs to another device.
    #[error("this database belongs to device {found}, not to {expected}. Give each device its own state folder")]
    OtherDevice {
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
    },
    /// An epoch that was used before: the random source or the card was copied.
    #[error("journal epoch {0:016x} was used before. Start again; if this repeats, the random source is broken")]
    EpochUsed(u64),
    /// An event names an event that this journal does not hold.
    #[error("event {0} is not in this journal, so nothing can be said about it")]
    UnknownEvent(EventId),
    /// Something from the cloud is not believed. Nothing of it was applied.
    #[error("refused: {0}")]
    Refused(String),
}

impl ReplicaError {
    /// Whether the decision loop must show FAULT: nothing can be recorded or read.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Damaged { .. }
            | Self::Ownerless { .. }
            | Self::Full { .. }
            | Self::ReadOnly { .. }
            | Self::Io { .. }
            | Self::InUse { .. }
            | Self::UnsafeSqlite(_)
            | Self::NewerSchema { .. }
            | Self::NotEnrolled
            | Self::OtherDevice { .. }
            | Self::EpochUsed(_) => true,
            Self::UnknownEvent(_) | Self::Refused(_) => false,
        }
    }
}

/// Free bytes below which a failed write is called a full disk, whatever the file system calls it.
const FULL_BELOW: u64 = 64 * 1024;

/// Tells apart what SQLite reports.
pub(crate) fn classify(path: &Path, error: rusqlite::Error) -> ReplicaError {
    use rusqlite::ErrorCode as Code;
    let path = path.to_path_buf();
    let why = error.to_string();
    let Some(failure) = error.sqlite_error() else {
        // A value of another type or a missing row where the schema promises one: the content is not what was written.
        return ReplicaError::Damaged { path, why };
    };
    let code = failure.code;
    if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ {
        // The file ends before what it says it holds.
        ReplicaError::Damaged { path, why: "the file is cut off".to_owned() }
    } else if code == Code::DiskFull {
        ReplicaError::Full { path }
    } else if code == Code::ReadOnly || code == Code::PermissionDenied {
        ReplicaError::ReadOnly { path }
    } else if code == Code::DatabaseBusy || code == Code::DatabaseLocked {
        ReplicaError::InUse { path }
    } else if code == Code::DatabaseCorrupt || code == Code::NotADatabase || code == Code::ConstraintViolation {
        ReplicaError::Damaged { path, why }
    } else if no_space(&path) {
        // Shared memory and truncation report a full disk as an I/O error.
        ReplicaError::Full { path }
    } else {
        ReplicaError::Io { path, why }
    }
}

/// Tells apart what the file system reports.
pub(crate) fn classify_io(path: &Path, error: &std::io::Error) -> ReplicaError {
    use std::io::ErrorKind as Kind;
    let path = path.to_path_buf();
    let kind = error.kind();
    if kind == Kind::StorageFull || kind == Kind::QuotaExceeded {
        ReplicaError::Full { path }
    } else if kind == Kind::ReadOnlyFilesystem || kind == Kind::PermissionDenied {
        ReplicaError::ReadOnly { path }
    } else {
        ReplicaError::Io { path, why: error.to_string() }
    }
}

fn no_space(path: &Path) -> bool {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    rustix::fs::statvfs(folder).is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < FULL_BELOW)
}
