//! A full or failing disk: nothing half-written, and the journal goes on by itself once there is room.

use std::path::Path;
use std::process::Command;

use gate_core::event::{EventBody, Part};

use crate::journal_check;
use crate::replica::testing::*;
use crate::replica::{Replica, ReplicaError};

fn health(n: i64) -> EventBody {
    EventBody::Health { part: Part::Storage, working: true, detail: "x".repeat(200 + n as usize % 50) }
}

/// Records until the disk is full; gives how many were stored.
fn fill(replica: &mut Replica) -> i64 {
    for n in 0..100_000 {
        match replica.record(None, at(n), health(n)) {
            Ok(_) => {}
            Err(ReplicaError::Full { .. }) => return n,
            Err(other) => panic!("record {n}: {other}"),
        }
    }
    panic!("the disk never filled");
}

/// After a full disk: all that was said to be stored is there, nothing else, and the chain holds.
fn goes_on(replica: &mut Replica, path: &Path, stored: i64) {
    let before = replica.pending_count().unwrap();
    assert_eq!(before as i64, stored + 1, "every stored record and the epoch, nothing half-written");
    let large = EventBody::Health { part: Part::Storage, working: false, detail: "x".repeat(64 * 1024) };
    assert!(matches!(replica.record(None, at(0), large), Err(ReplicaError::Full { .. })), "still full");
    assert_eq!(replica.pending_count().unwrap(), before);
    assert!(journal_check::verify(path).unwrap().ok);
}

#[test]
fn a_full_file_system_is_said_and_survived() {
    let folder = Folder::new("tmpfs");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m,mode=700", "gate-agent-test"])
        .arg(folder.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        skipped("no tmpfs can be mounted here (not root): the file system's own ENOSPC was not tried");
        return;
    }
    let unmount = Unmount(folder.path());
    let venue = Venue::new();
    // Filled at different moments: the space runs out in another statement each time.
    for round in 0..10u64 {
        let path = folder.path().join(format!("{round}.db"));
        let ballast = folder.path().join("ballast");
        let mut fresh = venue.clone();
        let mut replica = fresh.gate(&path);
        let before = replica.pending_count().unwrap() as i64;
        let mut random = Seeded(round);
        let free = rustix::fs::statvfs(folder.path()).unwrap();
        let keep = 48 * 1024 + random.below(64 * 1024);
        std::fs::write(&ballast, vec![1; (free.f_bavail * free.f_frsize).saturating_sub(keep) as usize]).unwrap();
        let stored = fill(&mut replica) + before - 1;
        goes_on(&mut replica, &path, stored);
        std::fs::remove_file(&ballast).unwrap();
        for n in 0..3 {
            replica.record(None, at(n), health(n)).unwrap();
        }
        let report = journal_check::verify(&path).unwrap();
        assert!(report.ok && report.events as i64 == stored + 4, "{report}");
        drop(replica);
        drop(open(&path, 5));
        for suffix in ["", "-wal", "-shm", ".lock"] {
            let _none = std::fs::remove_file(folder.path().join(format!("{round}.db{suffix}")));
        }
    }
    drop(unmount);
}

/// Unmounts also when the test fails.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _done = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen in the output")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

#[test]
fn a_full_database_is_said_and_survived() {
    let folder = Folder::new("max-pages");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let before = replica.pending_count().unwrap() as i64;
    replica.limit_pages(120);
    let stored = fill(&mut replica) + before - 1;
    goes_on(&mut replica, &folder.db(), stored);
    // What the cloud sends does not fit either, and leaves nothing.
    let rows = (0..400).map(|n| pass_change(n, gate_core::view::PassStanding::Revoked)).collect();
    let reply = venue.reply(rows, T0);
    let position = replica.position().unwrap();
    assert!(matches!(replica.apply(&reply, at(0)), Err(ReplicaError::Full { .. })));
    assert_eq!(replica.position().unwrap(), position);
    replica.limit_pages(100_000);
    replica.apply(&reply, at(0)).unwrap();
    replica.record(None, at(0), health(0)).unwrap();
    assert!(journal_check::verify(&folder.db()).unwrap().ok);
}

#[test]
fn a_folder_that_may_not_be_written_or_is_missing_is_named() {
    let folder = Folder::new("nowhere");
    let missing = folder.path().join("not/there.db");
    let error = Replica::open(&missing, start(1)).unwrap_err();
    assert!(error.to_string().contains("not/there.db"), "{error}");
    assert!(error.is_fault());
}

#[test]
fn after_a_failed_sync_the_journal_goes_on_from_what_is_really_stored() {
    for (name, stored, lost, goes_on) in [
        ("the event in doubt was not stored", false, false, true),
        ("it was stored after all", true, false, true),
        ("earlier events are gone as well", false, true, false),
    ] {
        let folder = Folder::new("doubt");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        replica.record(None, at(0), health(0)).unwrap();
        let before = replica.pending_count().unwrap();
        replica.fail_sync(health(1), at(1), stored);
        if lost {
            let other = rusqlite::Connection::open(folder.db()).unwrap();
            other.execute_batch(super::WITHOUT_GUARDS).unwrap();
            other.execute("DELETE FROM events WHERE position = (SELECT max(position) FROM events)", []).unwrap();
        }
        let next = replica.record(None, at(2), health(2));
        if goes_on {
            assert_eq!(next.unwrap().event.id.seq, before + u64::from(stored), "{name}");
            assert_eq!(replica.pending_count().unwrap(), before + 1 + u64::from(stored), "{name}");
            assert!(journal_check::verify(&folder.db()).unwrap().ok, "{name}");
        } else {
            assert!(matches!(next, Err(ReplicaError::Damaged { .. })), "{name}");
            assert!(replica.record(None, at(3), health(3)).is_err(), "{name}: and it stays so");
        }
    }
}

fn override_() -> EventBody {
    let (zones, generations) = (vec![], vec![]);
    let direction = gate_core::ids::Direction::In;
    EventBody::Overridden {
        staff: None,
        why: "lost ticket".into(),
        note: None,
        direction,
        zones,
        generations,
        over: None,
    }
}

fn button() -> EventBody {
    EventBody::ExitButton { zones: vec![], generations: vec![] }
}

/// An automatic admission of a pass nobody has seen yet.
fn automatic(replica: &mut Replica, n: u64) -> Result<(), ReplicaError> {
    let mut reader = replica.reader()?;
    let gate = gate_row(GATE, "North", gate_core::ids::Direction::In);
    let view = reader.view(&scanned(n, 0), &gate, at(0))?;
    replica.record(Some(LANE), at(0), authorised(n, 0, view, 0, None)).map(drop)
}

#[test]
fn on_a_full_disk_staff_and_exits_use_the_reserve_and_everything_heals() {
    let folder = Folder::new("reserve");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m,mode=700", "gate-agent-test"])
        .arg(folder.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        skipped("no tmpfs can be mounted here (not root): the reserve was not tried on a full file system");
        return;
    }
    let unmount = Unmount(folder.path());
    let (path, ballast) = (folder.path().join("gate.db"), folder.path().join("ballast"));
    let limits = crate::replica::Limits { reserve_bytes: 512 * 1024, journal_bytes: 0 };
    let mut venue = Venue::new();
    let mut replica = venue.gate(&path);
    replica.set_limits(limits).unwrap();
    assert!(!replica.reserve_in_use());
    let fill_up = || {
        let free = rustix::fs::statvfs(folder.path()).unwrap();
        std::fs::write(&ballast, vec![1; (free.f_bavail * free.f_frsize).saturating_sub(8 * 1024) as usize]).unwrap();
    };
    fill_up();
    let refused = (0..200).find(|n| automatic(&mut replica, *n).is_err()).unwrap();
    assert!(!replica.reserve_in_use(), "an automatic admission does not touch the reserve");
    // Staff and exits are recorded from the reserve; automatic admissions still are not, although there is room now.
    let pending = replica.pending_count().unwrap();
    for n in 0..20 {
        replica.record(Some(LANE), at(n), if n % 2 == 0 { override_() } else { button() }).unwrap();
    }
    assert!(replica.reserve_in_use());
    let error = automatic(&mut replica, refused).unwrap_err();
    assert!(matches!(error, ReplicaError::Full { .. }) && error.to_string().contains("reserve"), "{error}");
    assert!(matches!(replica.record(None, at(0), health(0)), Err(ReplicaError::Full { .. })));
    assert_eq!(replica.pending_count().unwrap(), pending + 20);
    // The reserve is used up as well: whoever may leave still does, and is counted, over a restart.
    let exits = fill_with(&mut replica);
    let counted = replica.unrecorded();
    assert!(counted >= 1, "{exits} exits fitted");
    for n in 0..4 {
        assert!(replica.record(Some(LANE), at(5000 + n), button()).is_err());
    }
    assert_eq!(replica.unrecorded(), counted + 4);
    drop(replica);
    std::fs::remove_file(&ballast).unwrap();
    let (mut replica, saved) = crate::replica::open_or_salvage(&path, start(2), None).unwrap();
    assert_eq!(saved, None);
    replica.set_limits(limits).unwrap();
    assert_eq!(replica.unrecorded(), counted + 4, "kept over the restart");
    // There is room: the reserve is held again, automatic admissions go on, the number is in the journal.
    automatic(&mut replica, refused).unwrap();
    assert!(!replica.reserve_in_use());
    assert_eq!(replica.unrecorded(), 0);
    let last = replica.pending(100_000, usize::MAX).unwrap();
    let told = last.iter().map(|event| String::from_utf8_lossy(&event.bytes).into_owned());
    let words = format!("{} openings could not be recorded", counted + 4);
    assert_eq!(told.filter(|text| text.contains(&words)).count(), 1, "{words}");
    assert!(journal_check::verify(&path).unwrap().ok);
    // Within one run as well.
    fill_up();
    assert!((1000..1200).any(|n| automatic(&mut replica, n).is_err()));
    while !replica.reserve_in_use() {
        replica.record(Some(LANE), at(0), override_()).unwrap();
    }
    assert!(automatic(&mut replica, 2000).is_err());
    std::fs::remove_file(&ballast).unwrap();
    replica.record(None, at(0), health(0)).unwrap();
    assert!(!replica.reserve_in_use());
    automatic(&mut replica, 2000).unwrap();
    drop(replica);
    // A start on a full disk gives the reserve up, so that staff can open.
    fill_up();
    assert!(matches!(Replica::open(&path, start(3)), Err(ReplicaError::Full { .. })));
    let (replica, _) = crate::replica::open_or_salvage(&path, start(4), None).unwrap();
    drop(replica);
    drop(unmount);
}

/// Lets people out until not even that can be recorded.
fn fill_with(replica: &mut Replica) -> u64 {
    (0..50_000).find(|n| replica.record(Some(LANE), at(*n as i64), button()).is_err()).unwrap()
}
