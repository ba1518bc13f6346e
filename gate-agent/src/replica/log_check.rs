//! Whether the write-ahead log beside a database is whole, looked at before SQLite reads it.
//!
//! SQLite ends a log at the first frame whose checksum fails and goes on from there. That is right after a power cut, which
//! can only hurt the newest transaction, and wrong after bit rot or on a card that lied about a sync: days of admissions
//! would be gone without a word, and used passes good again. The two can be told apart. Every frame carries the checksum of
//! all before it, so that frames behind a broken one still prove that they belong together; and under `synchronous=FULL`
//! a transaction is begun only after the one before it was synced. A transaction that follows another one behind the break
//! therefore says that something was lost which the card had promised to hold.

use std::fs::File;
use std::io::{BufReader, Error, Read};
use std::path::{Path, PathBuf};

use super::ReplicaError;
use super::error::classify_io;

/// Bytes of the log's header and of a frame's.
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The page size that every database of ours has.
const PAGE: usize = 1024;
/// The header's first word, without the lowest bit, which tells the byte order of the checksums.
const MAGIC: u32 = 0x377f_0682;

/// Fails if the log of this database is broken in a way that no power cut explains. What it holds is synced, so that nothing
/// is built on frames that a killed process left in memory only.
pub(crate) fn check(database: &Path) -> Result<(), ReplicaError> {
    first_page(database)?;
    let path = log_of(database);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(classify_io(&path, &error)),
    };
    let broken = find_break(BufReader::with_capacity(64 * 1024, &file)).map_err(|error| classify_io(&path, &error))?;
    if let Some(frame) = broken {
        return Err(ReplicaError::Damaged {
            path: database.to_path_buf(),
            why: format!("its log is broken at page {frame}, and what was written later stands behind it"),
        });
    }
    file.sync_all().map_err(|error| classify_io(&path, &error))
}

/// Fails if the database's first page is gone and its log is there: SQLite throws a log away with which it could not go on,
/// also where it only reads. A database has its first page before its log has one.
pub(crate) fn first_page(database: &Path) -> Result<(), ReplicaError> {
    let length = |path: &Path| std::fs::metadata(path).map(|file| file.len()).unwrap_or(0);
    if length(database) < PAGE as u64 && length(&log_of(database)) >= (HEADER + FRAME_HEADER + PAGE) as u64 {
        return Err(ReplicaError::Damaged {
            path: database.to_path_buf(),
            why: "its first page is gone, and its log is there".to_owned(),
        });
    }
    Ok(())
}

fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// The running checksum of a log.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Checksum {
    words: (u32, u32),
    big_endian: bool,
}

impl Checksum {
    fn add(mut self, bytes: &[u8]) -> Self {
        let word = |bytes: &[u8]| {
            let four = [bytes[0], bytes[1], bytes[2], bytes[3]];
            if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
        };
        let (mut first, mut second) = self.words;
        for pair in bytes.chunks_exact(8) {
            first = first.wrapping_add(word(pair)).wrapping_add(second);
            second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
        }
        self.words = (first, second);
        self
    }

    fn is(self, stored: &[u8]) -> bool {
        self.words == (number(stored), number(&stored[4..]))
    }

    /// The checksum that stands in the file, right or wrong.
    fn go_on_from(&mut self, stored: &[u8]) {
        self.words = (number(stored), number(&stored[4..]));
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Finds the frame (from 1; 0 is the header) at which a log is broken although later transactions follow.
fn find_break(mut log: impl Read) -> Result<Option<u64>, Error> {
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(None);
    }
    let magic = number(&header);
    let mut sum = Checksum { words: (0, 0), big_endian: magic & 1 == 1 };
    let whole =
        magic & !1 == MAGIC && number(&header[8..]) as usize == PAGE && sum.add(&header[..24]).is(&header[24..]);
    if !whole {
        // The order of this machine's bytes, which wrote it.
        sum.big_endian = cfg!(target_endian = "big");
    }
    sum.go_on_from(&header[24..]);
    // Frames of an earlier round through the file have another salt and are over.
    let mut salt = [0; 8];
    salt.copy_from_slice(&header[16..24]);
    let mut broken = if whole { None } else { Some(0) };
    let (mut number_of, mut after_commit) = (0, false);
    let mut frame = [0; FRAME_HEADER + PAGE];
    while fill(&mut log, &mut frame)? {
        number_of += 1;
        let (head, page) = frame.split_at(FRAME_HEADER);
        let follows = head[8..16] == salt[..] && sum.add(&head[..8]).add(page).is(&head[16..24]);
        if follows && broken.is_some() && after_commit {
            return Ok(broken);
        }
        if !follows && broken.is_none() {
            broken = Some(number_of);
        }
        after_commit = follows && number(&head[4..8]) != 0;
        sum.go_on_from(&head[16..24]);
        if !whole {
            // Nobody knows this round's salt: it is enough that a frame has that of the frame that it follows.
            salt.copy_from_slice(&head[8..16]);
        }
    }
    Ok(None)
}

/// Reads a whole piece; false at the end of the file, also in the middle of one.
fn fill(from: &mut impl Read, piece: &mut [u8]) -> Result<bool, Error> {
    match from.read_exact(piece) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::testing::*;
    use crate::replica::{Replica, ReplicaError};

    /// A database in use with its log, and where the log's transactions end, in bytes.
    fn in_use(folder: &Folder) -> (Vec<u8>, Vec<u8>, Vec<usize>) {
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        for n in 0..12 {
            admit(&mut replica, n, 0, n as i64 * 1000);
        }
        let database = std::fs::read(folder.db()).unwrap();
        let log = std::fs::read(folder.path().join("replica.db-wal")).unwrap();
        let ends = (1..)
            .map(|n| HEADER + n * (FRAME_HEADER + PAGE))
            .take_while(|end| *end <= log.len())
            .filter(|end| number(&log[end - PAGE - FRAME_HEADER + 4..]) != 0)
            .collect();
        (database, log, ends)
    }

    fn open_with(folder: &Folder, database: &[u8], log: &[u8]) -> Result<Replica, ReplicaError> {
        let path = folder.path().join("case.db");
        for (suffix, bytes) in [("", database), ("-wal", log), ("-shm", &[])] {
            std::fs::write(folder.path().join(format!("case.db{suffix}")), bytes).unwrap();
        }
        Replica::open(&path, start(77))
    }

    #[test]
    fn only_a_break_that_a_power_cut_can_make_is_passed_over() {
        let folder = Folder::new("log-check");
        let (database, log, ends) = in_use(&folder);
        assert!(ends.len() > 12, "{} transactions", ends.len());
        let last = ends[ends.len() - 2];
        let flipped = |at: usize| {
            let mut log = log.clone();
            log[at] ^= 4;
            log
        };
        let mut swapped = log.clone();
        for at in 0..PAGE {
            swapped.swap(at, 20 * PAGE + at);
        }
        for (name, log, opens) in [
            ("the first kilobyte and another one changed places", swapped, false),
            ("untouched", log.clone(), true),
            ("nothing", vec![], true),
            ("the header's salt", flipped(17), false),
            ("the header's page size", flipped(10), false),
            ("the first frame", flipped(HEADER + 100), false),
            ("a frame's header in the middle", flipped(ends[ends.len() / 2] + 9), false),
            ("a page in the middle", flipped(ends[ends.len() / 2] + 500), false),
            ("the newest transaction", flipped(last + 500), true),
            ("cut inside the newest transaction", log[..last + 700].to_vec(), true),
            ("cut after a frame", log[..ends[3]].to_vec(), true),
        ] {
            match (open_with(&folder, &database, &log), opens) {
                (Ok(_), true) => {}
                (Err(ReplicaError::Damaged { why, .. }), false) => assert!(why.contains("log"), "{name}: {why}"),
                (found, _) => panic!("{name}: {:?}", found.map(|_| ())),
            }
        }
    }

    #[test]
    fn a_log_is_not_thrown_away_with_the_database_that_is_gone() {
        let folder = Folder::new("log-alone");
        let (database, log, _) = in_use(&folder);
        for left in [0, 1, PAGE - 1] {
            let path = folder.path().join("case.db");
            std::fs::write(&path, &database[..left]).unwrap();
            std::fs::write(folder.path().join("case.db-wal"), &log).unwrap();
            assert!(crate::replica::ReplicaReader::open(&path).is_err(), "{left} bytes left");
            assert_eq!(std::fs::read(folder.path().join("case.db-wal")).unwrap(), log, "{left} bytes left");
            let opened = open_with(&folder, &database[..left], &log);
            assert!(matches!(opened, Err(ReplicaError::Damaged { .. })), "{left} bytes left");
            assert_eq!(std::fs::read(folder.path().join("case.db-wal")).unwrap(), log, "{left} bytes left");
        }
    }

    /// What an earlier round through the file, or a transaction that was cut off and written over, leaves behind is no break.
    #[test]
    fn leftovers_are_no_break() {
        let folder = Folder::new("log-leftovers");
        let (database, log, ends) = in_use(&folder);
        let frame = FRAME_HEADER + PAGE;
        let mut older = log.clone();
        // The frames behind the third transaction carry the salt of another round.
        for at in (ends[2]..older.len()).step_by(frame) {
            older[at + 8] ^= 0xff;
        }
        assert!(open_with(&folder, &database, &older).is_ok());
        // A longer transaction that was cut off, then a shorter one in its place: its end still stands behind.
        let mut over = log.clone();
        let newest = ends[ends.len() - 2];
        over[newest + frame - 1] ^= 1;
        assert!(open_with(&folder, &database, &over).is_ok());
    }
}
