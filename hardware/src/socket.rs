//! Takes a place in the file system for a unix socket without pushing anybody out of it.
//!
//! A process that was killed leaves its socket behind, and the next one must be able to start. A file, a
//! folder or a socket somebody listens at is never removed: a slip in a unit file must not delete data, and
//! a second gate-io must not cut the first one off. Whether somebody listens is asked in a way the listener
//! does not notice, because for gate-io every connection is a change of command.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// Why a place could not be taken. What was there is there still.
#[derive(Debug, Error)]
pub enum TakeError {
    /// Something else lies there.
    #[error("{} is {what}, not a socket; it was not touched", .path.display())]
    NotASocket {
        /// The place.
        path: PathBuf,
        /// What lies there, in words.
        what: &'static str,
    },
    /// Somebody listens there.
    #[error("{} is held by {by}", .path.display())]
    Held {
        /// The place.
        path: PathBuf,
        /// The name and id of a process, as far as this process may know it.
        by: String,
    },
    /// The file system refused.
    #[error("{} cannot be used as a socket: {why}", .path.display())]
    Refused {
        /// The place.
        path: PathBuf,
        /// What it said.
        why: std::io::Error,
    },
}

/// Listens at `path`; removes a socket there first that nobody listens at any more.
///
/// # Errors
/// [`TakeError`] when anything else lies there, somebody listens there, or the file system refuses.
pub fn take(path: &Path) -> Result<UnixListener, TakeError> {
    let refused = |why| TakeError::Refused { path: path.to_owned(), why };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Of two that start in the same moment the second looks when the first listens.
    let turn = File::open(folder).map_err(refused)?;
    turn.lock().map_err(refused)?;
    clear(path)?;
    UnixListener::bind(path).map_err(refused)
}

fn clear(path: &Path) -> Result<(), TakeError> {
    let refused = |why| TakeError::Refused { path: path.to_owned(), why };
    let kind = match std::fs::symlink_metadata(path) {
        Ok(there) => there.file_type(),
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(refused(why)),
    };
    if !kind.is_socket() {
        let what = match () {
            () if kind.is_file() => "a file",
            () if kind.is_dir() => "a folder",
            () if kind.is_symlink() => "a symbolic link",
            () => "a device or pipe",
        };
        return Err(TakeError::NotASocket { path: path.to_owned(), what });
    }
    if somebody_listens(path).map_err(refused)? {
        return Err(TakeError::Held { path: path.to_owned(), by: holder(path) });
    }
    std::fs::remove_file(path).map_err(refused)
}

/// Asks with a socket of another type: the kernel refuses it before the listener hears of it, and says
/// by the reason whether there is one.
fn somebody_listens(path: &Path) -> std::io::Result<bool> {
    match UnixDatagram::unbound()?.connect(path) {
        Ok(()) => Ok(true),
        Err(why) if Errno::from_io_error(&why) == Some(Errno::PROTOTYPE) => Ok(true),
        Err(why) if why.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(why) => Err(why),
    }
}

/// Who listens at `path`, as far as /proc tells this process.
fn holder(path: &Path) -> String {
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    // Number, count, protocol, flags, type, state, inode, path.
    let links = sockets.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(6);
        let inode = words.next()?;
        (Path::new(words.next()?) == path).then(|| PathBuf::from(format!("socket:[{inode}]")))
    });
    let links: BTreeSet<PathBuf> = links.collect();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let holds = |process: &Path| {
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|file| links.contains(&file))
    };
    processes
        .map(|process| process.path())
        .filter(|process| holds(process))
        .find_map(|process| {
            let name = std::fs::read_to_string(process.join("comm")).ok()?;
            let id: u32 = process.file_name()?.to_str()?.parse().ok()?;
            Some(format!("{} (process {id})", name.trim()))
        })
        .unwrap_or_else(|| "another process".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_nobody_listens_at_makes_way() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        drop(UnixListener::bind(at("stale")).unwrap());
        drop(UnixDatagram::bind(at("stale datagram")).unwrap());
        std::fs::write(at("file"), "precious").unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink(at("stale"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("absent"), at("dangling link")).unwrap();
        let live = UnixListener::bind(at("live")).unwrap();
        live.set_nonblocking(true).unwrap();
        let _datagram = UnixDatagram::bind(at("live datagram")).unwrap();
        for (name, refusal) in [
            ("nothing", None),
            ("file", Some("is a file, not a socket")),
            ("folder", Some("is a folder, not a socket")),
            ("link", Some("is a symbolic link, not a socket")),
            ("dangling link", Some("is a symbolic link, not a socket")),
            ("live", Some("is held by")),
            ("live datagram", Some("is held by")),
            ("stale", None),
            ("stale datagram", None),
            ("no such folder/socket", Some("cannot be used as a socket")),
        ] {
            match (take(&at(name)), refusal) {
                (Ok(_), None) => {}
                (Err(why), Some(words)) => assert!(why.to_string().contains(words), "{name}: {why}"),
                (taken, _) => panic!("{name}: {taken:?}"),
            }
        }
        assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "precious");
        let id = std::process::id().to_string();
        assert!(take(&at("live")).unwrap_err().to_string().contains(&format!("(process {id})")));
        assert_eq!(live.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "the listener noticed the question");
    }

    #[test]
    fn of_many_that_start_at_once_one_gets_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let taken: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..8).map(|_| scope.spawn(|| take(&path))).collect();
            starting.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1, "{taken:?}");
    }
}
