//! Recording, the outbox, receipts, pruning.

use gate_core::event::{Event, EventBody, Head, Part};
use gate_core::ids::EventId;
use gate_core::sync::v1::{ItemOutcome, PushReply};
use rusqlite::Connection;
use serde_bytes::ByteBuf;

use crate::journal_check;
use crate::replica::testing::*;
use crate::replica::{Acknowledged, KEEP_MS, PendingEvent, Replica, ReplicaError, ReplicaReader};

fn health(n: i64) -> EventBody {
    EventBody::Health { part: Part::Camera, working: n % 2 == 0, detail: format!("test {n}") }
}

fn bodies(events: &[PendingEvent]) -> Vec<ByteBuf> {
    events.iter().map(|event| ByteBuf::from(event.bytes.clone())).collect()
}

fn ids(events: &[PendingEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// Sends everything to a cloud that takes it.
fn sync(replica: &mut Replica, venue: &Venue, held: &mut Held) {
    loop {
        let events = replica.pending(500, usize::MAX).unwrap();
        if events.is_empty() {
            return;
        }
        let reply = held.take(venue, &bodies(&events));
        replica.acknowledge(&ids(&events), &reply, at(0)).unwrap();
    }
}

#[test]
fn every_event_is_stored_once_in_order_over_two_epochs() {
    let folder = Folder::new("once");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    for n in 0..5 {
        replica.record(None, at(n), health(n)).unwrap();
    }
    drop(replica);
    let mut replica = open(&folder.db(), 2);
    replica.record(None, at(9), health(9)).unwrap();
    let pending = replica.pending(500, usize::MAX).unwrap();
    let mut names: Vec<_> = pending.iter().map(|event| (event.id.epoch, event.id.seq)).collect();
    names.sort_unstable();
    assert_eq!(names, [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 0), (2, 1)]);
    for event in &pending {
        assert_eq!(Event::decode(&event.bytes).unwrap().id, event.id);
    }
    let report = journal_check::verify(&folder.db()).unwrap();
    assert!(report.ok && report.events == 8, "{report}");
    assert_eq!(report.head, replica.journal_head());
    assert!(matches!(Replica::open(&folder.db(), start(3)), Err(ReplicaError::InUse { .. })));
    drop(replica);
    assert!(matches!(Replica::open(&folder.db(), start(2)), Err(ReplicaError::EpochUsed(2))));
    assert!(matches!(Replica::open(&folder.db(), start(1 << 63)), Err(ReplicaError::EpochUsed(_))));
}

#[test]
fn before_enrolment_nothing_is_recorded_and_another_device_is_refused() {
    let folder = Folder::new("unenrolled");
    let venue = Venue::new();
    let mut replica = open(&folder.db(), 1);
    assert!(matches!(replica.record(None, at(0), health(0)), Err(ReplicaError::NotEnrolled)));
    assert_eq!((replica.identity(), replica.journal_head()), (None, None));
    replica.set_identity(&venue.identity(), &venue.enrolled(), at(0)).unwrap();
    replica.set_identity(&venue.identity(), &venue.enrolled(), at(0)).unwrap();
    assert_eq!(replica.pending_count().unwrap(), 1, "one epoch was opened, not two");
    let mut other = venue.identity();
    other.device = OTHER_DEVICE;
    assert!(matches!(replica.set_identity(&other, &venue.enrolled(), at(0)), Err(ReplicaError::OtherDevice { .. })));
}

/// Copies the database as a power cut would leave it: the file and its log, while the writer is in mid-air.
fn cut(from: &std::path::Path, to: &std::path::Path) {
    std::fs::copy(from, to).unwrap();
    let log = |path: &std::path::Path| std::path::PathBuf::from(format!("{}-wal", path.display()));
    std::fs::copy(log(from), log(to)).unwrap();
}

#[test]
fn a_record_that_was_not_committed_leaves_nothing() {
    let folder = Folder::new("cut");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    admit(&mut replica, 1, 0, 0);
    let events = replica.pending_count().unwrap();
    // Every statement of an admission runs, and the power goes before the commit.
    let mut reader = replica.reader().unwrap();
    let view = reader.view(&scanned(2, 0), &gate_row(GATE, "North", gate_core::ids::Direction::In), at(1)).unwrap();
    drop(reader);
    let body = authorised(2, 0, view, 1, None);
    let half = folder.path().join("half.db");
    let before = replica.journal_head();
    let path = folder.db();
    let failed = replica.record_and(body.clone(), at(1), |db| {
        db.cache_flush().unwrap();
        cut(&path, &half);
    });
    assert!(failed.is_err());
    assert_eq!(replica.journal_head(), before, "the journal stands where it stood");
    let mut left = open(&half, 7);
    assert_eq!(left.pending_count().unwrap(), events + 1, "what was committed, and the new epoch");
    assert!(journal_check::verify(&half).unwrap().ok);
    let mut reader = left.reader().unwrap();
    let gate = reader.gate().unwrap().unwrap();
    let view = reader.view(&scanned(2, 0), &gate, at(2)).unwrap();
    assert_eq!((view.uses.total, view.spaces[0].rights_held), (0, 99));
    assert_eq!(left.unsettled().unwrap().len(), 1);
    // Committed is committed, whatever happens to the process then.
    let id = replica.record(Some(LANE), at(1), body).unwrap().event.id;
    let whole = folder.path().join("whole.db");
    cut(&path, &whole);
    let mut kept = open(&whole, 8);
    assert_eq!(kept.unsettled().unwrap().last(), Some(&(id, Some(LANE))));
    assert_eq!(kept.pending_count().unwrap(), events + 2);
}

#[test]
fn only_what_was_confirmed_leaves_the_outbox() {
    let folder = Folder::new("acknowledge");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    for n in 0..5 {
        replica.record(None, at(n), health(n)).unwrap();
    }
    let sent = replica.pending(4, usize::MAX).unwrap();
    assert_eq!(replica.pending(500, 1).unwrap().len(), 1, "at least one goes, however large");
    let parked = ItemOutcome::Parked { reason: "no such lane".to_owned() };
    let mut held = Held::default();
    let mut reply = held.take(&venue, &bodies(&sent));
    reply.outcomes[2] = parked;
    let wrong = PushReply { outcomes: reply.outcomes[..3].to_vec(), ..reply.clone() };
    assert!(replica.acknowledge(&ids(&sent), &wrong, at(0)).is_err(), "one outcome is missing");
    let forged = PushReply { receipts: vec![ByteBuf::from(venue.as_of(T0).to_vec())], ..reply.clone() };
    assert!(replica.acknowledge(&ids(&sent), &forged, at(0)).is_err(), "a receipt that is none");
    assert_eq!(replica.pending_count().unwrap(), 6, "a refused reply confirms nothing");
    let done = replica.acknowledge(&ids(&sent), &reply, at(0)).unwrap();
    assert_eq!(done, Acknowledged { confirmed: 3, parked: 1, denied: 0 });
    assert_eq!(replica.acknowledge(&ids(&sent), &reply, at(0)).unwrap().denied, 0, "the same answer again");
    let status = replica.reader().unwrap().status(at(0)).unwrap();
    assert_eq!((status.pending, status.quarantined), (2, 1));
    assert_eq!(status.quarantine_reason, Some((sent[2].id, "no such lane".to_owned())));
    assert_eq!(
        ids(&replica.pending(500, usize::MAX).unwrap()),
        [(1, 4), (1, 5)].map(|(epoch, seq)| EventId { device: DEVICE, epoch, seq })
    );
    assert!(journal_check::verify(&folder.db()).unwrap().ok);
}

#[test]
fn an_answer_to_another_request_confirms_nothing() {
    let folder = Folder::new("stale");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    for n in 0..5 {
        replica.record(None, at(n), health(n)).unwrap();
    }
    let first = replica.pending(3, usize::MAX).unwrap();
    let mut held = Held::default();
    let old = held.take(&venue, &bodies(&first));
    replica.acknowledge(&ids(&first), &old, at(0)).unwrap();
    let second = replica.pending(3, usize::MAX).unwrap();
    let done = replica.acknowledge(&ids(&second), &old, at(0)).unwrap();
    assert_eq!(done, Acknowledged { confirmed: 0, parked: 0, denied: 3 });
    assert_eq!(replica.pending_count().unwrap(), 3);
}

#[test]
fn a_cloud_restored_from_a_backup_gets_back_what_it_lost() {
    let folder = Folder::new("restored");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    for n in 0..9 {
        replica.record(None, at(n), health(n)).unwrap();
    }
    let mut held = Held::default();
    sync(&mut replica, &venue, &mut held);
    let whole = held.clone();
    // The backup holds the first four; the gate sends something new and hears how far the cloud is.
    held.0.retain(|(_, seq), _| *seq < 4);
    replica.record(None, at(20), health(20)).unwrap();
    sync(&mut replica, &venue, &mut held);
    assert_eq!(held.0.len(), whole.0.len() + 1);
    assert_eq!(replica.pending_count().unwrap(), 0);
    // Another history under the same id is not taken for ours.
    let event = EventId { device: DEVICE, epoch: 1, seq: 9 };
    let lie = PushReply {
        outcomes: vec![],
        receipts: vec![venue.receipt(Head { event, hash: gate_core::ids::Hash([7; 32]) })],
    };
    assert!(replica.acknowledge(&[], &lie, at(0)).unwrap_err().to_string().contains("two copies"));
}

#[test]
fn an_event_that_the_cloud_cannot_take_waits_aside_and_can_be_tried_again() {
    let folder = Folder::new("quarantine");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    for n in 0..3 {
        replica.record(None, at(n), health(n)).unwrap();
    }
    let all = replica.pending(500, usize::MAX).unwrap();
    let mut held = Held::default();
    let reply = held.take(&venue, &bodies(&all[..1]));
    replica.acknowledge(&[all[0].id], &reply, at(0)).unwrap();
    replica.quarantine(all[1].id, "500", at(0)).unwrap();
    // Receipts can't reach beyond the hole, and yet what was stored leaves the outbox.
    let reply = held.take(&venue, &bodies(&all[2..]));
    let done = replica.acknowledge(&ids(&all[2..]), &reply, at(0)).unwrap();
    assert_eq!((done.confirmed, done.denied), (2, 0));
    assert_eq!(replica.release_quarantine().unwrap(), 1);
    sync(&mut replica, &venue, &mut held);
    assert_eq!(held.0.len(), 4);
    assert_eq!(replica.reader().unwrap().status(at(0)).unwrap().quarantined, 0);
}

#[test]
fn old_acknowledged_events_go_and_the_journal_still_verifies() {
    let folder = Folder::new("prune");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let mut held = Held::default();
    let first = admit(&mut replica, 1, 0, 0);
    replica.record(None, at(1), EventBody::Opened { of: first, watched: false }).unwrap();
    sync(&mut replica, &venue, &mut held);
    drop(replica);
    let mut replica = open(&folder.db(), 2);
    sync(&mut replica, &venue, &mut held);
    let tell_age = |replica: &mut Replica, ms: i64| {
        let reply = gate_core::sync::v1::PullReply { chunks: vec![], as_of: Some(venue.as_of(T0 + ms)), more: false };
        replica.apply(&reply, at(ms)).unwrap();
    };
    tell_age(&mut replica, KEEP_MS - 1);
    assert_eq!(replica.prune().unwrap().events, 0, "not old enough");
    tell_age(&mut replica, KEEP_MS + 1);
    assert_eq!(replica.prune().unwrap().events, 3, "the last event stays: the next epoch continues it");
    assert_eq!(replica.prune().unwrap().events, 0);
    admit(&mut replica, 2, 0, 10);
    drop(replica);
    let replica = open(&folder.db(), 3);
    let report = journal_check::verify(&folder.db()).unwrap();
    assert!(report.ok && report.events == 3, "{report}");
    assert_eq!(report.begins_after.unwrap().event.seq, 2);
    let mut reader = replica.reader().unwrap();
    let gate = reader.gate().unwrap().unwrap();
    let view = reader.view(&scanned(1, 0), &gate, at(20)).unwrap();
    assert_eq!((view.uses.total, view.spaces[0].rights_held), (1, 98), "what the events meant stays");
}

#[test]
fn a_tampered_journal_names_its_first_bad_event() {
    let folder = Folder::new("tamper");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    for n in 0..5 {
        replica.record(None, at(n), health(n)).unwrap();
    }
    let mut held = Held::default();
    sync(&mut replica, &venue, &mut held);
    drop(replica);
    for (name, sql, says) in [
        ("removed", "DELETE FROM events WHERE position = 3", "/3 stands where"),
        (
            "swapped",
            "UPDATE events SET bytes = (SELECT bytes FROM events WHERE position = 4) WHERE position = 3",
            "/3 stands where",
        ),
        (
            "replaced",
            "INSERT OR REPLACE INTO events SELECT 3, class, hash, bytes FROM events WHERE position = 4",
            "/3 stands where",
        ),
        ("cut off", "DELETE FROM events WHERE position > 4", "tail is missing"),
        ("emptied", "DELETE FROM events", "tail is missing"),
    ] {
        let copy = folder.path().join(format!("{name}.db"));
        std::fs::copy(folder.db(), &copy).unwrap();
        let db = Connection::open(&copy).unwrap();
        let refused = db.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("events are facts"), "{name}: {refused}");
        // Whoever owns the machine can do it all the same.
        db.execute_batch(super::WITHOUT_GUARDS).unwrap();
        db.execute(sql, []).unwrap();
        drop(db);
        let report = journal_check::verify(&copy).unwrap();
        assert!(!report.ok && report.to_string().contains(says), "{name}: {report}");
        if !["swapped", "replaced"].contains(&name) {
            assert!(matches!(Replica::open(&copy, start(9)), Err(ReplicaError::Damaged { .. })), "{name}");
        }
    }
}

#[test]
fn the_floor_only_rises() {
    let folder = Folder::new("floor");
    let mut replica = open(&folder.db(), 1);
    for (set, is) in [(500, 500), (400, 500), (501, 501)] {
        replica.set_floor_ms(set).unwrap();
        assert_eq!(replica.floor_ms().unwrap(), is);
    }
    drop(replica);
    assert_eq!(ReplicaReader::open(&folder.db()).unwrap().floor_ms().unwrap(), 501);
}
