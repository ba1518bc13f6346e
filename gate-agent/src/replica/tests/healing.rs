//! Damage that heals itself, a replica that is fetched anew, a device that was withdrawn.

use gate_core::event::EventBody;
use gate_core::ids::Hash;
use gate_core::statement::{ChainCut, DeviceKey, StatementBody};
use gate_core::sync::v1::{Change, PullReply};
use gate_core::view::PassStanding;

use crate::identity::IdentityFile;
use crate::journal_check;
use crate::lane_runner::standing::Standing;
use crate::replica::testing::*;
use crate::replica::{Replica, ReplicaError, begin_anew, open_or_salvage, wish_resync};

fn standing(replica: &Replica) -> Standing {
    let mut reader = replica.reader().unwrap();
    let status = reader.status(at(0)).unwrap();
    Standing::of(status.gate.as_ref(), status.as_of_ms, reader.device_revoked().unwrap())
}

/// What the replica says about a pass.
fn row(replica: &Replica, n: u64) -> Option<PassStanding> {
    let mut reader = replica.reader().unwrap();
    let gate = reader.gate().unwrap().unwrap();
    reader.view(&scanned(n, 0), &gate, at(0)).unwrap().row.map(|row| row.standing)
}

fn details(replica: &mut Replica) -> Vec<(bool, String)> {
    let pending = replica.pending(500, usize::MAX).unwrap();
    let events = pending.iter().map(|event| gate_core::event::Event::decode(&event.bytes).unwrap());
    events
        .filter_map(|event| {
            let EventBody::Health { working, detail, .. } = event.body else { return None };
            Some((working, detail))
        })
        .collect()
}

#[test]
fn a_start_heals_a_damaged_database_and_decides_when_the_replica_is_whole_again() {
    let folder = Folder::new("heal");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let basics = venue.clone();
    for n in 0..30 {
        let id = admit(&mut replica, n, 0, n as i64);
        replica.record(None, at(n as i64), EventBody::Opened { of: id, watched: false }).unwrap();
    }
    drop(replica);
    let mut bytes = std::fs::read(folder.db()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 300].fill(0x5a);
    std::fs::write(folder.db(), &bytes).unwrap();
    let file = IdentityFile::of(&venue.identity(), &venue.enrolled(), Hash::ZERO);
    let (mut replica, saved) = open_or_salvage(&folder.db(), start(2), Some(&file)).unwrap();
    let saved = saved.unwrap();
    assert!(saved.events > 20, "{saved:?}");
    assert_eq!(std::fs::read(&saved.kept_aside).unwrap(), bytes, "the damaged file is kept as it was");
    let told = details(&mut replica);
    assert_eq!(told.iter().map(|(working, _)| *working).collect::<Vec<_>>(), [false, true], "{told:?}");
    assert!(told[0].1.contains("damaged") && told[0].1.contains("events saved"), "{told:?}");
    // Nobody is decided about from half a replica.
    assert_eq!(standing(&replica), Standing::NotSetUp);
    assert_eq!(replica.position().unwrap(), (0, Hash::ZERO));
    let mut again = Venue { position: 0, head: Hash::ZERO, ..basics };
    let changes = again.basics();
    let reply = again.reply(changes, T0 + 50);
    replica.apply(&reply, at(50)).unwrap();
    assert_eq!(standing(&replica), Standing::Ready);
    drop(replica);
    let (replica, saved) = open_or_salvage(&folder.db(), start(3), None).unwrap();
    assert_eq!(saved, None, "healed once, it is whole");
    drop(replica);
    // A file that nobody can name the owner of stays as it is.
    let lost = folder.path().join("lost.db");
    std::fs::write(&lost, b"not a database at all").unwrap();
    assert!(matches!(open_or_salvage(&lost, start(4), None), Err(ReplicaError::Ownerless { .. })));
    assert_eq!(std::fs::read(&lost).unwrap(), b"not a database at all");
}

#[test]
fn a_database_that_is_gone_is_begun_anew_with_an_alarm_and_decides_about_nobody() {
    let folder = Folder::new("begin-anew");
    let venue = Venue::new();
    let file = IdentityFile::of(&venue.identity(), &venue.enrolled(), Hash::ZERO);
    let (mut replica, saved) = open_or_salvage(&folder.db(), start(2), Some(&file)).unwrap();
    assert_eq!((saved, replica.identity()), (None, None));
    begin_anew(&mut replica, &file, at(0)).unwrap();
    assert_eq!(replica.identity(), Some(&venue.identity()));
    assert_eq!(standing(&replica), Standing::NotSetUp);
    let told = details(&mut replica);
    assert_eq!(told.iter().map(|(working, _)| *working).collect::<Vec<_>>(), [false, true], "{told:?}");
    assert!(told[0].1.contains("lost"), "{told:?}");
}

#[test]
fn the_old_replica_decides_until_the_new_one_is_complete() {
    let folder = Folder::new("resync");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let first = venue.clone();
    let gone = vec![pass_change(1, PassStanding::Revoked), pass_change(2, PassStanding::Blocked)];
    let reply = venue.reply(gone, T0 + 10);
    replica.apply(&reply, at(10)).unwrap();
    let id = admit(&mut replica, 7, 0, 20);
    wish_resync(&folder.db()).unwrap();
    assert_eq!(replica.position().unwrap(), (0, Hash::ZERO), "the wish is heeded at the next question");
    assert!(replica.is_resyncing().unwrap());
    let before = replica.reader().unwrap().status(at(0)).unwrap();
    assert_eq!((before.position, before.as_of_ms), (venue.position, Some(T0 + 10)));
    // The chain again, in pieces, with a restart between them. It says other things now.
    let mut again = Venue { position: 0, head: Hash::ZERO, ..first };
    let changes = again.basics();
    let piece = PullReply { as_of: None, more: true, ..again.reply(changes, 0) };
    replica.apply(&piece, at(30)).unwrap();
    drop(replica);
    let mut replica = open(&folder.db(), 2);
    assert_eq!(replica.position().unwrap(), (again.position, again.head));
    assert_eq!((row(&replica, 1), row(&replica, 2)), (Some(PassStanding::Revoked), Some(PassStanding::Blocked)));
    assert_eq!(standing(&replica), Standing::Ready);
    admit(&mut replica, 8, 0, 40);
    replica.record(None, at(41), EventBody::NotOpened { of: id, unknown: true }).unwrap();
    let change = pass_change(3, PassStanding::Superseded);
    // An older word than the one it replaces does not complete it.
    let mut old = again.clone();
    let stale = old.reply(vec![change.clone()], T0 + 9);
    assert!(matches!(replica.apply(&stale, at(50)), Err(ReplicaError::Refused(why)) if why.contains("older")));
    assert_eq!(row(&replica, 1), Some(PassStanding::Revoked));
    let fresh = PullReply { chunks: vec![], as_of: Some(old.as_of(T0 + 60)), more: false };
    let applied = replica.apply(&fresh, at(60)).unwrap();
    assert_eq!(applied.as_of_ms, Some(T0 + 60));
    assert!(!replica.is_resyncing().unwrap());
    assert_eq!([1, 2, 3].map(|n| row(&replica, n)), [None, None, Some(PassStanding::Superseded)]);
    // What this gate did itself is not the cloud's to give.
    let mut reader = replica.reader().unwrap();
    let gate = reader.gate().unwrap().unwrap();
    assert_eq!(reader.view(&scanned(7, 0), &gate, at(0)).unwrap().uses.unopened.unwrap().event, id);
    assert!(journal_check::verify(&folder.db()).unwrap().ok);
    // The old copy goes away.
    while replica.prune().unwrap().more {}
    let db = rusqlite::Connection::open(folder.db()).unwrap();
    for table in ["passes", "settings"] {
        let sides: i64 =
            db.query_row(&format!("SELECT count(DISTINCT side) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(sides, 1, "{table}");
    }
    drop((replica, reader));
    drop(open(&folder.db(), 3));
}

#[test]
fn a_service_restored_from_a_backup_gets_everything_back_and_revives_nothing() {
    let folder = Folder::new("chain-cut");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let backup = venue.clone();
    let gone = vec![pass_change(1, PassStanding::Revoked), pass_change(2, PassStanding::Blocked)];
    let reply = venue.reply(gone, T0 + 10);
    replica.apply(&reply, at(10)).unwrap();
    let id = admit(&mut replica, 7, 0, 20);
    replica.record(None, at(21), EventBody::Opened { of: id, watched: false }).unwrap();
    let mut held = Held::default();
    let all = replica.pending(500, usize::MAX).unwrap();
    let bodies: Vec<_> = all.iter().map(|event| serde_bytes::ByteBuf::from(event.bytes.clone())).collect();
    let ids: Vec<_> = all.iter().map(|event| event.id).collect();
    let answer = held.take(&venue, &bodies);
    replica.acknowledge(&ids, &answer, at(30)).unwrap();
    assert_eq!(replica.pending_count().unwrap(), 0);
    let cut =
        |number| venue.statement(number, StatementBody::Chain(ChainCut { position: venue.position, head: venue.head }));
    let forged = gate_core::statement::Statement {
        venue: venue.id,
        number: 99,
        body: StatementBody::Chain(ChainCut { position: 1, head: Hash::ZERO }),
    };
    assert!(replica.hear_reset(&forged.sign(&venue.settings)).is_err(), "only the root says so");
    assert!(replica.hear_reset(&venue.duty(98, gate_core::statement::Duty::Time, &venue.time)).is_err());
    assert!(replica.hear_reset(&cut(50)).unwrap());
    assert!(!replica.hear_reset(&cut(50)).unwrap(), "once");
    assert!(!replica.hear_reset(&cut(49)).unwrap(), "an older word is no news");
    assert_eq!(replica.pending_count().unwrap() as usize, all.len(), "every event that is kept is offered again");
    assert_eq!(row(&replica, 1), Some(PassStanding::Revoked));
    // The restored service knows what the backup knew, and has said something since.
    let mut restored = Venue { position: 0, head: Hash::ZERO, ..backup };
    let changes = restored.basics();
    let mut reply = restored.reply(changes, T0 + 40);
    reply.chunks.push(restored.chunk(vec![pass_change(1, PassStanding::Live)]));
    reply.as_of = Some(restored.as_of(T0 + 40));
    replica.apply(&reply, at(40)).unwrap();
    assert_eq!([1, 2].map(|n| row(&replica, n)), [Some(PassStanding::Revoked), None]);
    let mut empty = Held::default();
    let answer = empty.take(&venue, &bodies);
    replica.acknowledge(&ids, &answer, at(50)).unwrap();
    assert_eq!(replica.pending_count().unwrap(), 0);
}

#[test]
fn a_withdrawn_device_forgets_the_passes_and_keeps_its_journal() {
    let folder = Folder::new("wipe");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    let mut changes: Vec<_> = (1000..1400).map(|n| pass_change(n, PassStanding::Revoked)).collect();
    changes.push(Change::Use(mark(OTHER_DEVICE, 1, 77, 0, false)));
    let reply = venue.reply(changes, T0 + 5);
    replica.apply(&reply, at(5)).unwrap();
    admit(&mut replica, 1, 0, 10);
    let (events, floor) = (replica.pending(500, usize::MAX).unwrap(), replica.floor_ms().unwrap());
    let key = |revoked| {
        let key = gate_core::keys::PublicKey::from(&venue.device_key);
        StatementBody::Device(DeviceKey { device: DEVICE, gate: GATE, key, revoked })
    };
    assert!(replica.hear_withdrawal(&venue.statement(60, key(true))).unwrap());
    let count = |sql: &str| -> i64 {
        rusqlite::Connection::open(folder.db()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    for (what, sql, left) in [
        ("passes", "SELECT count(*) FROM passes", 0),
        ("uses of others", "SELECT count(*) FROM uses WHERE own = 0", 0),
        ("vendors and products", "SELECT count(*) FROM settings WHERE kind > 3", 0),
        ("other gates", "SELECT count(*) FROM settings WHERE kind = 3", 1),
        ("own uses", "SELECT count(*) FROM uses", 1),
    ] {
        assert_eq!(count(sql), left, "{what}");
    }
    assert_eq!(replica.pending(500, usize::MAX).unwrap(), events, "what was not sent is sealed as it was");
    assert!(journal_check::verify(&folder.db()).unwrap().ok);
    assert_eq!(standing(&replica), Standing::Withdrawn);
    let status = replica.reader().unwrap().status(at(20)).unwrap();
    assert_eq!(status.venue_name.as_deref(), Some("Centre"), "the screen still says where it stands");
    assert!(status.gate.is_some() && replica.floor_ms().unwrap() >= floor, "time stays proved");
    replica.record(None, at(21), EventBody::ExitButton { zones: vec![], generations: vec![] }).unwrap();
    drop(replica);
    // Taken in again it fetches everything from the start, and decides only then.
    let mut replica = open(&folder.db(), 2);
    assert_eq!(replica.position().unwrap(), (0, Hash::ZERO));
    let mut fresh = Venue { position: 0, head: Hash::ZERO, ..venue.clone() };
    let mut changes = vec![Change::Statement(serde_bytes::ByteBuf::from(venue.statement(61, key(false))))];
    changes.extend(fresh.basics());
    let reply = fresh.reply(changes, T0 + 30);
    replica.apply(&reply, at(30)).unwrap();
    assert_eq!(standing(&replica), Standing::Ready);
}

#[test]
fn without_any_clock_file_the_floor_comes_from_what_was_signed_and_from_the_journal() {
    use gate_core::ids::BootId;
    use gate_core::time::{ClockReading, Now, TimeKeeper, Trust};

    let folder = Folder::new("clock-files");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    assert_eq!(replica.floor_ms().unwrap(), T0, "the settings key signed that this has passed");
    let signed = |ms: i64| Now { trust: Trust::Signed, ..at(ms) };
    let health = |detail: &str| EventBody::Health {
        part: gate_core::event::Part::Clock,
        working: true,
        detail: detail.to_owned(),
    };
    replica.record(None, signed(DAY), health("signed")).unwrap();
    replica.record(None, at(5 * DAY), health("by NTP, which nobody signed")).unwrap();
    replica.set_floor_ms(T0 + 2 * DAY).unwrap();
    drop(replica);
    // The card is hurt as well: floor and as-of are gone with it, the journal is saved.
    let file = IdentityFile::of(&venue.identity(), &venue.enrolled(), Hash::ZERO);
    crate::replica::salvage(&folder.db(), Some(&file)).unwrap();
    let reader = crate::replica::ReplicaReader::open(&folder.db()).unwrap();
    assert_eq!(reader.floor_ms().unwrap(), T0 + DAY, "proved by the journal; NTP proves nothing");
    let newest = reader.newest_at().unwrap();
    assert_eq!(newest.map(|newest| newest.wall_ms), Some(T0 + 5 * DAY));
    // After a reboot with a clock at 1970 time goes on from the journal's end, and nobody calls it sure.
    let mut time = TimeKeeper::resume(BootId(uuid::Uuid::from_u128(77)), reader.floor_ms().unwrap(), newest);
    let (now, _) = time.now(ClockReading { system_ms: 0, mono_us: 1_000_000, ntp: false });
    assert!(now.wall_ms >= T0 + 5 * DAY && now.trust <= Trust::Continued, "{now:?}");
}
