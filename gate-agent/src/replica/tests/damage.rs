//! A failing card: every damaged file is noticed, none makes the program panic, and the journal is saved out of it.

use std::path::Path;

use gate_core::event::EventBody;
use gate_core::ids::Hash;
use gate_core::view::PassStanding;

use crate::identity::IdentityFile;
use crate::journal_check;
use crate::replica::testing::*;
use crate::replica::{Replica, ReplicaError, salvage};

/// A gate with some life behind it; closed, so that everything is in the one file.
fn lived(folder: &Folder) -> (Venue, Facts) {
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let rows = (1000..1120).map(|n| pass_change(n, PassStanding::Revoked)).collect();
    let reply = venue.reply(rows, T0 + 5);
    replica.apply(&reply, at(5)).unwrap();
    for n in 0..40 {
        let id = admit(&mut replica, n, 0, n as i64 * 1000);
        if n % 3 != 0 {
            replica.record(None, at(n as i64 * 1000 + 1), EventBody::Opened { of: id, watched: false }).unwrap();
        }
    }
    drop(replica);
    let copy = folder.path().join("copy.db");
    std::fs::copy(folder.db(), &copy).unwrap();
    (venue, Facts::of(&copy).unwrap())
}

/// Everything that a decision or the cloud would be told, read as the agent reads it at a start.
#[derive(PartialEq, Debug)]
struct Facts {
    views: Vec<gate_core::view::ReplicaView>,
    pending: Vec<Vec<u8>>,
    unsettled: usize,
    keys: usize,
}

impl Facts {
    fn of(path: &Path) -> Result<Self, ReplicaError> {
        let mut replica = Replica::open(path, start(90))?;
        let mut reader = replica.reader()?;
        let gate = reader.gate()?.unwrap();
        let views = (0..50)
            .chain(1000..1130)
            .map(|n| reader.view(&scanned(n, 0), &gate, at(99_000)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut pending: Vec<_> = replica.pending(10_000, usize::MAX)?.into_iter().map(|event| event.bytes).collect();
        // The epoch that this look itself began.
        pending.pop();
        Ok(Self { views, pending, unsettled: replica.unsettled()?.len(), keys: reader.keyring()?.len() })
    }
}

/// Damages a copy of a file in a way that the number decides.
fn damage(bytes: &mut Vec<u8>, case: u64) -> String {
    let mut random = Seeded(case);
    let length = bytes.len() as u64;
    match case % 5 {
        0 => {
            let flips = 1 + random.below(64);
            for _ in 0..flips {
                let at = random.below(length) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
            format!("{flips} bits flipped")
        }
        1 => {
            let at = random.below(length) as usize;
            bytes[at] ^= 1 << random.below(8);
            format!("one bit at {at}")
        }
        2 => {
            let left = random.below(length);
            bytes.truncate(left as usize);
            format!("cut to {left} bytes")
        }
        3 => {
            let page = random.below(length / 1024) as usize * 1024;
            bytes[page..page + 1024].fill(0);
            format!("page at {page} zeroed")
        }
        _ => {
            let at = random.below(length - 200) as usize;
            for byte in &mut bytes[at..at + 1 + (case % 200) as usize] {
                *byte = random.next() as u8;
            }
            format!("noise at {at}")
        }
    }
}

#[test]
fn two_hundred_damaged_files_give_the_right_data_or_say_damaged() {
    let folder = Folder::new("damage");
    let (_, right) = lived(&folder);
    let good = std::fs::read(folder.db()).unwrap();
    let (mut noticed, mut harmless) = (0, 0);
    for case in 0..200 {
        let mut bytes = good.clone();
        let how = damage(&mut bytes, case);
        let path = folder.path().join("case.db");
        for suffix in ["-wal", "-shm"] {
            let _none = std::fs::remove_file(folder.path().join(format!("case.db{suffix}")));
        }
        std::fs::write(&path, &bytes).unwrap();
        match Facts::of(&path) {
            Ok(found) => {
                harmless += 1;
                assert_eq!(found, right, "case {case} ({how}) was not noticed");
                // What a decision does not need may still be wrong: the journal check says so.
                let _report = journal_check::verify(&path).unwrap();
            }
            Err(ReplicaError::Damaged { why, .. }) => {
                noticed += 1;
                assert!(!why.is_empty());
            }
            // A file cut to nothing is a new one; the identity is gone, and nothing opens without it.
            Err(ReplicaError::NotEnrolled) => assert!(bytes.is_empty(), "case {case} ({how})"),
            Err(other) => panic!("case {case} ({how}): {other}"),
        }
    }
    assert!(noticed > 100, "{noticed} noticed, {harmless} harmless");
}

/// Rows that are all there, but in pages that changed places, are found by a scan and by no look-up.
#[test]
fn pages_that_changed_places_are_damage() {
    let folder = Folder::new("swapped");
    let (_venue, right) = lived(&folder);
    let whole = std::fs::read(folder.db()).unwrap();
    let pages = whole.len() / 1024;
    let path = folder.path().join("case.db");
    let (mut served, mut damaged) = (0, 0);
    // Leaves of tables without row ids: type 10.
    let leaves: Vec<usize> = (1..pages).filter(|page| whole[page * 1024] == 10).collect();
    for pair in leaves.windows(2) {
        let mut bytes = whole.clone();
        for offset in 0..1024 {
            bytes.swap(pair[0] * 1024 + offset, pair[1] * 1024 + offset);
        }
        std::fs::write(&path, &bytes).unwrap();
        match Facts::of(&path) {
            Ok(facts) => {
                served += 1;
                assert_eq!(facts, right, "pages {pair:?}");
            }
            Err(ReplicaError::Damaged { .. }) => damaged += 1,
            Err(other) => panic!("pages {pair:?}: {other}"),
        }
        for suffix in ["-wal", "-shm"] {
            let _gone = std::fs::remove_file(folder.path().join(format!("case.db{suffix}")));
        }
    }
    assert!(damaged > 5, "{served} served, {damaged} damaged of {} leaves", leaves.len());
}

#[test]
fn salvage_saves_every_event_that_holds_and_keeps_the_damaged_file() {
    let folder = Folder::new("salvage");
    let (venue, right) = lived(&folder);
    let good = std::fs::read(folder.db()).unwrap();
    let file = IdentityFile::of(&venue.identity(), &venue.enrolled(), Hash::ZERO);
    let (mut all, mut some) = (0, 0);
    for case in 0..40 {
        let mut bytes = good.clone();
        let how = damage(&mut bytes, case);
        let path = folder.path().join(format!("case-{case}.db"));
        std::fs::write(&path, &bytes).unwrap();
        let saved = salvage(&path, Some(&file)).unwrap();
        assert_eq!(
            std::fs::read(&saved.kept_aside).unwrap(),
            bytes,
            "case {case} ({how}): the damaged file was touched"
        );
        // The new database opens, holds what was saved, and sends only what was really written.
        let mut replica = open(&path, 91);
        let pending = replica.pending(10_000, usize::MAX).unwrap();
        assert_eq!(pending.len() as u64, saved.events + 1, "case {case} ({how})");
        for event in &pending[..pending.len() - 1] {
            assert!(right.pending.contains(&event.bytes), "case {case} ({how})");
        }
        assert_eq!(replica.position().unwrap().0, 0, "the replica comes from the cloud again");
        if saved.events as usize == right.pending.len() {
            all += 1;
            assert!(journal_check::verify(&path).unwrap().ok, "case {case} ({how})");
        } else if saved.events > 0 {
            some += 1;
        }
        drop(replica);
        let good = salvage(&path, None);
        assert!(good.is_ok(), "case {case}: a good database can be salvaged too, by its own identity: {good:?}");
    }
    assert!(all > 5 && some > 5, "{all} whole, {some} in part");
}

#[test]
fn salvage_without_any_identity_changes_nothing() {
    let folder = Folder::new("salvage-nothing");
    let path = folder.db();
    assert!(salvage(&path, None).is_err(), "no file");
    std::fs::write(&path, b"not a database at all").unwrap();
    let error = salvage(&path, None).unwrap_err();
    assert!(matches!(error, ReplicaError::Ownerless { .. }) && error.to_string().contains("identity.json"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database at all");
    assert!(matches!(Replica::open(&path, start(1)), Err(ReplicaError::Damaged { .. })));
}

#[test]
fn a_salvage_that_was_cut_off_is_finished_at_the_next_start() {
    let folder = Folder::new("salvage-cut");
    let (_, right) = lived(&folder);
    std::fs::rename(folder.db(), folder.path().join("replica.db.salvaged")).unwrap();
    assert_eq!(Facts::of(&folder.db()).unwrap().views, right.views);
}
