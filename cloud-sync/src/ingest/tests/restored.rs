//! A service that was put back to an older state: gates find out, and give back what it lost.

use gate_core::statement::ChainCut;

use super::*;
use crate::config::{Config, PublicUrl};
use crate::store::Mode;
use crate::testing::{AUTHORITY, Folder};

/// A service over a folder, which can be put back to the state of an earlier moment.
struct Shelf {
    folder: Folder,
    clock: std::sync::Arc<std::sync::atomic::AtomicI64>,
}

impl Shelf {
    async fn open(&self, round: u64) -> crate::App {
        let mut config = Config::new(self.folder.root(), PublicUrl { secure: true, authority: AUTHORITY.to_owned() });
        let reading = std::sync::Arc::clone(&self.clock);
        config.clock = std::sync::Arc::new(move || reading.load(std::sync::atomic::Ordering::Relaxed));
        config.entropy = crate::entropy::Entropy::seeded(7 + round);
        config.mode = Mode::Inline;
        crate::open(config).await.unwrap()
    }

    /// Copies the database, or puts the copy back.
    fn copy(&self, from: &str, to: &str) {
        for end in ["", "-wal", "-shm"] {
            let (from, to) = (self.folder.path(&format!("{from}{end}")), self.folder.path(&format!("{to}{end}")));
            let _ = std::fs::remove_file(&to);
            if from.exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
    }
}

/// What a gate knows of the chain: where it is, and the number of the last cut it has heard of.
struct Gate {
    position: u64,
    head: Hash,
    cut: u64,
}

impl Gate {
    /// Pulls as a gate does until there is nothing more; says how often it was told to begin again.
    async fn catch_up(&mut self, lot: &Lot, device: &TestDevice) -> usize {
        let mut cuts = 0;
        for _ in 0..50 {
            let reply = device.pull(&lot.world, self.position, self.head).await;
            if reply.status == 409 {
                let problem = reply.is_problem(409, "replica_ahead");
                let bytes = hex::decode(problem["statement"].as_str().unwrap()).unwrap();
                let enrolled = &device.enrolled;
                let statement = Statement::open(&bytes, enrolled.venue, &enrolled.root).unwrap();
                assert_eq!(statement.subject(), "chain");
                let StatementBody::Chain(ChainCut { position, head }) = statement.body else { panic!("{statement:?}") };
                assert_eq!((position, head), (self.position, self.head));
                assert!(statement.number > self.cut, "a gate believes only a later word");
                self.cut = statement.number;
                (self.position, self.head) = (0, Hash::ZERO);
                cuts += 1;
                continue;
            }
            let reply: gate_core::sync::v1::PullReply = canonical::decode(&reply.ok().body).unwrap();
            for bytes in &reply.chunks {
                let chunk = gate_core::sync::v1::Chunk::open(bytes, &device.settings()).unwrap();
                assert_eq!((chunk.from, chunk.previous), (self.position, self.head));
                (self.position, self.head) = (chunk.to, chunk.hash());
            }
            if !reply.more {
                return cuts;
            }
        }
        panic!("it never ends");
    }
}

#[tokio::test]
async fn a_service_put_back_to_any_point_gets_back_what_it_lost_and_gates_agree_with_it_again() {
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(NOON));
    let shelf = Shelf { folder: Folder::new("restored"), clock: clock.clone() };
    let world = World::over(shelf.open(0).await, clock).await;
    let mut lot = Lot::at(world, 30, 0).await;
    let zone = lot.entrance.zone;
    let came = lot.morning(vec![noise(); 10]);
    let (mut journal, opened) = lot.exit.journal(21, None);
    let mut went = vec![opened];
    for n in 0..20 {
        let leave = EventBody::ExitButton { zones: vec![zone], generations: vec![0] };
        went.push(journal.append(None, now(NOON + 40_000 + n), leave));
    }
    let (mut one, mut two) =
        (Gate { position: 0, head: Hash::ZERO, cut: 0 }, Gate { position: 0, head: Hash::ZERO, cut: 0 });
    // One event at a time; every tenth state is kept.
    let mut kept = Vec::new();
    let mut told: Vec<(bool, Vec<u8>)> = Vec::new();
    for n in 0..came.len().max(went.len()) {
        told.extend(came.get(n).map(|event| (true, event.bytes.clone())));
        told.extend(went.get(n).map(|event| (false, event.bytes.clone())));
    }
    for (n, (entrance, event)) in told.iter().enumerate() {
        if n % 10 == 0 {
            shelf.copy("cloud.db", &format!("kept-{n}"));
            kept.push(n);
        }
        let device = if *entrance { &lot.entrance } else { &lot.exit };
        device.push(&lot.world, std::slice::from_ref(event)).await;
        lot.world.later(1000);
    }
    one.catch_up(&lot, &lot.entrance).await;
    two.catch_up(&lot, &lot.exit).await;
    let expected = lot.occupancy().await;
    let venue = lot.entrance.enrolled.venue;
    let dump = async |lot: &Lot| {
        let read =
            lot.world.app.db().read(async |tx| Ok::<_, crate::store::DbError>(super::super::dump(tx, venue).await));
        read.await.unwrap()
    };
    let whole = dump(&lot).await;
    assert_eq!(kept.len(), 7);
    for (round, n) in kept.into_iter().enumerate() {
        lot.world.app = crate::open_in_memory(lot.world.app.config().clone()).await.unwrap();
        shelf.copy(&format!("kept-{n}"), "cloud.db");
        lot.world.app = shelf.open(round as u64 + 1).await;
        lot.world.later(120_000);
        let cuts = one.catch_up(&lot, &lot.entrance).await + two.catch_up(&lot, &lot.exit).await;
        assert!(cuts >= 1, "put back to {n}: both gates knew more");
        assert!(lot.alerts().await.iter().any(|kind| kind == "cloud_restored"), "put back to {n}");
        // They keep their events 90 days after acknowledgement, and send all of them again.
        lot.entrance.push(&lot.world, &bytes(&came)).await;
        lot.exit.push(&lot.world, &bytes(&went)).await;
        one.catch_up(&lot, &lot.entrance).await;
        two.catch_up(&lot, &lot.exit).await;
        assert_eq!((one.position, one.head), (two.position, two.head));
        assert_eq!(lot.occupancy().await, expected, "put back to {n}");
        let again = dump(&lot).await;
        let differ: Vec<_> = whole.iter().filter(|line| !again.contains(line)).collect();
        assert!(differ.is_empty() && again.len() == whole.len(), "put back to {n}: {differ:?}");
        let figures = lot.world.get(&lot.world.at("figures")).await.ok().json();
        assert_eq!(figures["balanced"], true, "{figures}");
    }
}

/// The chain may be as long as it was and the events still gone: whoever put the backup back says so.
#[tokio::test]
async fn an_operator_makes_every_gate_begin_again_once() {
    let lot = Lot::new(1).await;
    let mut gate = Gate { position: 0, head: Hash::ZERO, cut: 0 };
    assert_eq!(gate.catch_up(&lot, &lot.entrance).await, 0);
    assert_eq!(crate::restored(&lot.world.app).await.unwrap(), 2, "two gates");
    assert_eq!(gate.catch_up(&lot, &lot.entrance).await, 1);
    assert_eq!(gate.catch_up(&lot, &lot.entrance).await, 0);
    // A device that names ever new places is not signed a word for each.
    let mut words = 0;
    for n in 0..5u8 {
        let reply = lot.exit.pull(&lot.world, 1_000_000, Hash([n; 32])).await;
        words += usize::from(reply.is_problem(409, "replica_ahead")["statement"].is_string());
    }
    assert_eq!(words, 1);
    // Nobody who enrols later hears of it.
    let new = lot.world.device(lot.entrance.zone, Direction::In).await;
    for bytes in &new.enrolled.statements {
        let statement = Statement::open(bytes, new.enrolled.venue, &new.enrolled.root).unwrap();
        assert_ne!(statement.subject(), "chain");
    }
}

/// D75: the service's clock was wrong, and its operator says so.
#[tokio::test]
async fn an_operator_takes_wrong_signed_time_back() {
    let lot = Lot::new(1).await;
    lot.world.later(60_000);
    let floor_ms = crate::time_was_wrong(&lot.world.app).await.unwrap();
    assert_eq!(floor_ms, lot.world.app.now_ms());
    let told = lot.entrance.replica(&lot.world).await.into_iter().filter_map(|change| {
        let Change::Statement(bytes) = change else { return None };
        let enrolled = &lot.entrance.enrolled;
        let stated = Statement::open(&bytes, enrolled.venue, &enrolled.root).unwrap().body;
        let StatementBody::Time(reset) = stated else { return None };
        Some(reset.floor_ms)
    });
    assert_eq!(told.collect::<Vec<_>>(), [floor_ms]);
    // Who enrols later knows the word, so that it takes nothing back from them.
    let new = lot.world.device(lot.entrance.zone, Direction::In).await;
    let subjects = new
        .enrolled
        .statements
        .iter()
        .map(|bytes| Statement::open(bytes, new.enrolled.venue, &new.enrolled.root).unwrap().subject());
    assert_eq!(subjects.filter(|subject| subject == "time").count(), 1);
}

/// A gate that holds everything for acknowledged hears from an empty push what is missing: how far an epoch is held, or,
/// where not even its beginning is, that it must begin again; once, because what it no longer keeps stays lost.
#[tokio::test]
async fn a_gate_with_nothing_to_send_hears_what_was_lost() {
    let lot = Lot::new(1).await;
    let first = lot.morning(vec![noise(), noise()]);
    let last = first.last().unwrap();
    let (mut journal, opened) = lot.entrance.journal(12, Some(Head { event: last.event.id, hash: last.hash }));
    let after = journal.append(None, now(NOON + 70_000), noise());
    let second = [opened.bytes, after.bytes];
    let nothing = async |lot: &Lot| {
        let body = lot.entrance.push_body(journal.head(), &[]);
        let reply = lot.world.send(lot.entrance.request(&lot.world, EVENTS_PATH, body)).await.ok();
        let reply: PushReply = canonical::decode(&reply.body).unwrap();
        let mut told = Vec::new();
        for bytes in &reply.receipts {
            let upto = receipt(lot, &lot.entrance, bytes).await;
            told.push((upto.event.epoch, upto.event.seq));
        }
        told
    };
    let mut gate = Gate { position: 0, head: Hash::ZERO, cut: 0 };
    gate.catch_up(&lot, &lot.entrance).await;
    // Only the second epoch survived.
    lot.entrance.push(&lot.world, &second).await;
    for again in [true, false] {
        assert_eq!(nothing(&lot).await, [(12, 1)]);
        assert_eq!(gate.catch_up(&lot, &lot.entrance).await, usize::from(again));
        lot.world.later(120_000);
    }
    // Of the first one the beginning is back.
    lot.entrance.push(&lot.world, &bytes(&first[..2])).await;
    assert_eq!(nothing(&lot).await, [(11, 1), (12, 1)]);
    lot.entrance.push(&lot.world, &bytes(&first[2..])).await;
    assert_eq!(nothing(&lot).await, [(12, 1)], "nothing is missing");
    gate.catch_up(&lot, &lot.entrance).await;
    assert!(lot.alerts().await.iter().all(|kind| kind == "cloud_restored"));
}
