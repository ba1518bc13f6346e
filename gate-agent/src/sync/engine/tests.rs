//! The engine against a cloud that loses, repeats, mixes up and refuses: nothing leaves the outbox unacknowledged.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use gate_core::event::{Event, EventBody, Part};
use gate_core::ids::{DeviceId, VenueId};
use gate_core::statement::{DeviceKey, StatementBody};
use gate_core::sync::v1::{Change, PullReply, PushReply};
use gate_core::time::Now;
use gate_core::view::PassStanding;

use super::*;
use crate::replica::testing::*;

/// The clock and randomness of a test: both go only where they are told.
struct Quiet(Mutex<(i64, Seeded)>);

impl Surroundings for Quiet {
    fn now(&self) -> Now {
        let inner = self.0.lock().unwrap();
        Now { mono_us: inner.0 as u64, ..at(inner.0 / 1000) }
    }

    fn random(&self) -> [u8; 32] {
        let random = &mut self.0.lock().unwrap().1;
        let mut bytes = [0; 32];
        for part in bytes.chunks_exact_mut(8) {
            part.copy_from_slice(&random.next().to_be_bytes());
        }
        bytes
    }
}

impl Quiet {
    fn until(&self, us: u64) {
        let mut inner = self.0.lock().unwrap();
        inner.0 = inner.0.max(us as i64);
    }

    fn pass(&self, us: i64) {
        self.0.lock().unwrap().0 += us;
    }
}

/// What goes wrong with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mishap {
    None,
    RequestLost,
    ReplyLost,
    Twice,
    OldReply,
    Stranger,
    Busy,
}

struct CloudState {
    venue: Venue,
    held: Held,
    /// Replies that are served one chunk at a time, by position.
    chunks: Vec<(u64, serde_bytes::ByteBuf)>,
    poison: BTreeSet<(u64, u64)>,
    down: bool,
    withdrawn: Option<SyncError>,
    /// What is kept aside of a device that is not believed.
    fenced: Option<Vec<EventId>>,
    mishaps: Option<Seeded>,
    last_push: Option<PushReply>,
    last_pull: Option<PullReply>,
    pushes: Vec<usize>,
    /// It was restored from a backup and knows no position of this gate.
    behind: bool,
    /// The road is so slow that a longer push is never through in time.
    longest_push: usize,
    /// How often it refused a poison event that came by itself.
    refused_alone: u32,
    /// What was asked, in order.
    asked: Vec<Asked>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    /// From this position.
    Pull(u64),
    /// With so many events.
    Push(usize),
}

/// A cloud in this process.
#[derive(Clone)]
struct FakeCloud(Arc<Mutex<CloudState>>);

impl FakeCloud {
    fn mishap(&self) -> Mishap {
        let mut state = self.0.lock().unwrap();
        let Some(random) = &mut state.mishaps else { return Mishap::None };
        match random.below(12) {
            0 => Mishap::RequestLost,
            1 => Mishap::ReplyLost,
            2 => Mishap::Twice,
            3 => Mishap::OldReply,
            4 => Mishap::Stranger,
            5 => Mishap::Busy,
            _ => Mishap::None,
        }
    }

    fn happen<T: Clone>(
        &self,
        take: impl Fn(&mut CloudState) -> Result<T, SyncError>,
        old: Option<T>,
    ) -> Result<T, SyncError> {
        let mishap = self.mishap();
        let mut state = self.0.lock().unwrap();
        if state.down {
            return Err(refused(500, "internal"));
        }
        if let Some(refusal) = &state.withdrawn {
            return Err(refusal.clone());
        }
        let lost = || SyncError::Unreachable("lost".to_owned());
        match mishap {
            Mishap::None => take(&mut state),
            Mishap::RequestLost => Err(lost()),
            Mishap::ReplyLost => take(&mut state).and(Err(lost())),
            Mishap::Twice => take(&mut state).and_then(|_| take(&mut state)),
            Mishap::OldReply => old.map_or_else(|| take(&mut state), Ok),
            Mishap::Stranger => Err(SyncError::Stranger("text/html".to_owned())),
            Mishap::Busy => Err(later(503, "busy", Some(2))),
        }
    }
}

fn refused(status: u16, code: &str) -> SyncError {
    later(status, code, None)
}

fn later(status: u16, code: &str, retry_after_s: Option<u32>) -> SyncError {
    SyncError::Refused { status, code: code.to_owned(), detail: None, retry_after_s, statement: None }
}

impl Transport for FakeCloud {
    async fn push(&self, push: &Push) -> Result<PushReply, SyncError> {
        let old = self.0.lock().unwrap().last_push.clone();
        self.happen(
            |state| {
                let venue = state.venue.clone();
                let key = gate_core::keys::PublicKey::from(&venue.device_key);
                JournalHead::open(&push.head, &key).map_err(|_| refused(401, "signature"))?;
                state.pushes.push(push.events.len());
                state.asked.push(Asked::Push(push.events.len()));
                if push.events.len() > state.longest_push {
                    return Err(SyncError::Unreachable("no answer in time".to_owned()));
                }
                if let Some(aside) = &mut state.fenced {
                    aside.extend(push.events.iter().map(|bytes| Event::decode(bytes).unwrap().id));
                    return Err(refused(403, "device_fenced"));
                }
                for bytes in &push.events {
                    let id = Event::decode(bytes).unwrap().id;
                    if state.poison.contains(&(id.epoch, id.seq)) {
                        state.refused_alone += u32::from(push.events.len() == 1);
                        return Err(refused(400, "malformed"));
                    }
                }
                let reply = state.held.take(&venue, &push.events);
                state.last_push = Some(reply.clone());
                Ok(reply)
            },
            old,
        )
    }

    async fn pull(&self, pull: &Pull) -> Result<PullReply, SyncError> {
        let old = self.0.lock().unwrap().last_pull.clone();
        self.happen(
            |state| {
                state.asked.push(Asked::Pull(pull.position));
                if state.behind {
                    return Err(refused(409, "replica_ahead"));
                }
                let next = state.chunks.iter().position(|(from, _)| *from == pull.position);
                let more = next.is_some_and(|at| at + 1 < state.chunks.len());
                let chunks = next.map(|at| state.chunks[at].1.clone()).into_iter().collect();
                let as_of = (!more).then(|| state.venue.as_of(T0 + 5000));
                let reply = PullReply { chunks, as_of, more };
                state.last_pull = Some(reply.clone());
                Ok(reply)
            },
            old,
        )
    }

    async fn time(&self, venue: VenueId, nonce: &[u8]) -> Result<Vec<u8>, SyncError> {
        self.happen(
            |state| {
                let time = SignedTime { venue, nonce: ByteBuf::from(nonce.to_vec()), now_ms: T0 + 77 };
                Ok(time.sign(&state.venue.time))
            },
            Some(b"an old answer".to_vec()),
        )
    }
}

/// A gate, a cloud and what lies between them.
struct Both {
    _folder: Folder,
    replica: Arc<Mutex<Replica>>,
    cloud: FakeCloud,
    clock: Arc<Quiet>,
    engine: Engine<FakeCloud, Arc<Mutex<Replica>>>,
    signed: mpsc::Receiver<SignedMoment>,
    changed: watch::Receiver<u64>,
    links: Arc<Mutex<Vec<Link>>>,
}

impl Both {
    fn new(seed: u64) -> Self {
        let folder = Folder::new("engine");
        let mut venue = Venue::new();
        let replica = Arc::new(Mutex::new(venue.gate(&folder.db())));
        let key = venue.device_key.clone();
        let cloud = FakeCloud(Arc::new(Mutex::new(CloudState {
            venue,
            held: Held::default(),
            chunks: vec![],
            poison: BTreeSet::new(),
            down: false,
            withdrawn: None,
            fenced: None,
            mishaps: None,
            last_push: None,
            last_pull: None,
            pushes: vec![],
            behind: false,
            longest_push: usize::MAX,
            refused_alone: 0,
            asked: vec![],
        })));
        let clock = Arc::new(Quiet(Mutex::new((0, Seeded(seed)))));
        let (tell_signed, signed) = mpsc::channel(64);
        let (tell_changed, changed) = watch::channel(0);
        let links = Arc::new(Mutex::new(vec![]));
        let told = links.clone();
        let link = Box::new(move |link, _failure| {
            let mut told = told.lock().unwrap();
            if told.last() != Some(&link) {
                told.push(link);
            }
        });
        let ears = Ears { signed: tell_signed, changed: tell_changed, link };
        let engine = Engine::new((cloud.clone(), replica.clone()), key, clock.clone(), Arc::new(Wake::default()), ears);
        Self { _folder: folder, replica, cloud, clock, engine, signed, changed, links }
    }

    fn record(&self, n: i64) {
        let body = EventBody::Health { part: Part::Camera, working: true, detail: format!("test {n}") };
        self.replica.lock().unwrap().record(None, at(n), body).unwrap();
    }

    /// Every recorded event is held by the cloud, or still waits here, or stands in quarantine.
    fn nothing_is_lost(&self) {
        let mut replica = self.replica.lock().unwrap();
        let waiting: BTreeSet<_> =
            replica.pending(100_000, usize::MAX).unwrap().iter().map(|e| (e.id.epoch, e.id.seq)).collect();
        let reader = replica.reader().unwrap();
        let quarantined = reader.quarantined().unwrap();
        let state = self.cloud.0.lock().unwrap();
        let walked: Result<(), ()> = reader
            .journal(|bytes| {
                let id = Event::decode(bytes).unwrap().id;
                let name = (id.epoch, id.seq);
                let safe = state.held.0.contains_key(&name)
                    || waiting.contains(&name)
                    || quarantined.iter().any(|(q, _)| *q == id);
                assert!(safe, "{id} is nowhere");
                Ok(())
            })
            .unwrap();
        walked.unwrap();
    }

    async fn steps(&mut self, most: usize) {
        for _ in 0..most {
            match self.engine.step().await {
                Step::Did => self.clock.pass(1000),
                Step::WaitUntil(until) => self.clock.until(until),
            }
        }
    }

    /// Steps until there is nothing to do but wait for the next poll.
    async fn settle(&mut self) {
        for _ in 0..10_000 {
            let pending = self.replica.lock().unwrap().pending_count().unwrap();
            match self.engine.step().await {
                Step::Did => self.clock.pass(1000),
                Step::WaitUntil(_) if self.engine.link() == Link::Online && pending == 0 => return,
                Step::WaitUntil(until) => self.clock.until(until),
            }
        }
        panic!("it never settled");
    }
}

#[tokio::test]
async fn gate_and_cloud_come_to_know_the_same() {
    let mut both = Both::new(1);
    for n in 0..1200 {
        both.record(n);
    }
    {
        let mut state = both.cloud.0.lock().unwrap();
        for n in 0..7 {
            let from = state.venue.position;
            let chunk = state
                .venue
                .chunk((0..50).map(|m| pass_change(n * 50 + m, PassStanding::Revoked)).collect::<Vec<Change>>());
            state.chunks.push((from, chunk));
        }
    }
    both.settle().await;
    let state = both.cloud.0.lock().unwrap();
    assert_eq!(state.held.0.len(), 1201);
    assert_eq!(both.replica.lock().unwrap().position().unwrap().0, state.venue.position, "all pages were fetched");
    assert!(state.pushes.iter().all(|count| *count <= PUSH_LIMIT) && state.pushes.len() >= 3, "{:?}", state.pushes);
    assert_eq!(both.signed.try_recv().unwrap().ms, T0 + 77);
    assert!(both.signed.try_recv().is_err(), "the time is asked once an hour");
    assert!(*both.changed.borrow() >= 7);
    assert_eq!(both.links.lock().unwrap().as_slice(), [Link::Online]);
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_on_a_bad_road() {
    for seed in 0..40 {
        let mut both = Both::new(seed);
        both.cloud.0.lock().unwrap().mishaps = Some(Seeded(seed * 31 + 7));
        let mut random = Seeded(seed);
        for round in 0..25 {
            for n in 0..random.below(8) {
                both.record(round * 10 + n as i64);
            }
            if random.below(3) == 0 {
                let mut state = both.cloud.0.lock().unwrap();
                let from = state.venue.position;
                let chunk = state.venue.chunk(vec![pass_change(round as u64, PassStanding::Revoked)]);
                state.chunks.push((from, chunk));
            }
            let steps = 1 + random.below(6) as usize;
            both.steps(steps).await;
            both.nothing_is_lost();
        }
        both.cloud.0.lock().unwrap().mishaps = None;
        both.engine.wake.link_up();
        both.settle().await;
        both.nothing_is_lost();
        let recorded = crate::journal_check::check(&both.replica.lock().unwrap().reader().unwrap()).unwrap();
        let state = both.cloud.0.lock().unwrap();
        assert!(recorded.ok, "seed {seed}: {recorded}");
        assert_eq!(state.held.0.len() as u64, recorded.events, "seed {seed}");
        assert_eq!(both.replica.lock().unwrap().position().unwrap().0, state.venue.position, "seed {seed}");
        assert!(both.replica.lock().unwrap().reader().unwrap().quarantined().unwrap().is_empty(), "seed {seed}");
    }
}

#[tokio::test]
async fn a_gate_that_lost_its_rights_says_so_at_once_though_nothing_happened_there() {
    let mut both = Both::new(8);
    both.settle().await;
    both.cloud.0.lock().unwrap().asked.clear();
    for (name, holder) in [("taken away", None), ("given", Some(GATE))] {
        let after = {
            let mut state = both.cloud.0.lock().unwrap();
            let from = state.venue.position;
            let zone = Change::Zone(state.venue.zone(10, holder));
            let chunk = state.venue.chunk(vec![zone]);
            state.chunks.push((from, chunk));
            state.venue.position
        };
        both.engine.wake.hinted();
        both.steps(6).await;
        let asked = std::mem::take(&mut both.cloud.0.lock().unwrap().asked);
        assert_eq!(asked[0], Asked::Pull(after - 1), "{name}");
        assert_eq!(asked[1..3], [Asked::Pull(after), Asked::Push(0)], "{name}: {asked:?}");
        assert!(!asked[3..].contains(&Asked::Push(0)), "{name}: once is enough: {asked:?}");
    }
    let pass = {
        let mut state = both.cloud.0.lock().unwrap();
        let from = state.venue.position;
        let chunk = state.venue.chunk(vec![pass_change(1, PassStanding::Revoked)]);
        state.chunks.push((from, chunk));
        from
    };
    both.engine.wake.hinted();
    both.steps(1).await;
    assert_eq!(both.cloud.0.lock().unwrap().asked, [Asked::Pull(pass)], "nobody waits to hear of a pass");
}

#[tokio::test]
async fn a_revocation_comes_down_between_two_pages_of_a_long_backlog() {
    let mut both = Both::new(9);
    both.settle().await;
    for n in 0..1600 {
        both.record(n);
    }
    both.cloud.0.lock().unwrap().asked.clear();
    both.steps(1).await;
    let from = {
        let mut state = both.cloud.0.lock().unwrap();
        let from = state.venue.position;
        let chunk = state.venue.chunk(vec![pass_change(1, PassStanding::Revoked)]);
        state.chunks.push((from, chunk));
        from
    };
    both.engine.wake.hinted();
    both.steps(3).await;
    let asked = both.cloud.0.lock().unwrap().asked.clone();
    assert_eq!(asked, [Asked::Push(500), Asked::Pull(from), Asked::Push(500), Asked::Push(500)]);
}

#[tokio::test]
async fn a_restored_cloud_gets_back_what_it_lost_and_no_gate_is_stuck_or_set_back() {
    let mut both = Both::new(10);
    {
        let mut state = both.cloud.0.lock().unwrap();
        let from = state.venue.position;
        let chunk = state.venue.chunk(vec![pass_change(1, PassStanding::Revoked)]);
        state.chunks.push((from, chunk));
    }
    for n in 0..40 {
        both.record(n);
    }
    both.settle().await;
    let knew = both.replica.lock().unwrap().position().unwrap();
    {
        let mut state = both.cloud.0.lock().unwrap();
        state.behind = true;
        // The backup has ten events and none of the changes.
        state.held.0.retain(|(_, seq), _| *seq < 10);
    }
    for n in 40..45 {
        both.record(n);
    }
    both.settle().await;
    both.nothing_is_lost();
    assert_eq!(both.cloud.0.lock().unwrap().held.0.len(), 46, "what it lost and what is new");
    assert_eq!(both.replica.lock().unwrap().position().unwrap(), knew, "nobody's mere word sets a gate back");
    // Nothing new happens there: the next look tells that more was lost.
    both.cloud.0.lock().unwrap().held.0.retain(|(_, seq), _| *seq < 3);
    both.clock.pass(20_000_000);
    both.steps(2).await;
    both.settle().await;
    assert_eq!(both.cloud.0.lock().unwrap().held.0.len(), 46);
}

#[tokio::test]
async fn a_limited_road_carries_no_more_than_it_may() {
    for kbit_s in [8u32, 64, 1000] {
        let mut both = Both::new(11);
        let engine = std::mem::replace(&mut both.engine, Both::new(12).engine);
        both.engine = engine.limited(kbit_s);
        let mut bytes = 0;
        for n in 0..600 {
            both.record(n);
        }
        let began = both.clock.now().mono_us;
        both.settle().await;
        let us = both.clock.now().mono_us - began;
        for event in both.cloud.0.lock().unwrap().held.0.values() {
            bytes += event.len() as u64;
        }
        let allowed = u64::from(kbit_s) * 125;
        // The last load is followed by its rest, which is not waited for here.
        let rate = bytes.saturating_sub(allowed.max(LIMITED_PUSH_BYTES as u64)) * 1_000_000 / us;
        assert!(rate <= allowed, "{kbit_s} kbit/s: {bytes} bytes in {us} us");
        assert!(us < bytes * 1_000_000 / allowed + 5_000_000, "{kbit_s} kbit/s: slower than it may be: {us} us");
    }
}

#[tokio::test]
async fn a_slow_road_gets_smaller_loads_until_they_are_through() {
    let mut both = Both::new(13);
    both.cloud.0.lock().unwrap().longest_push = 20;
    for n in 0..300 {
        both.record(n);
    }
    both.settle().await;
    assert_eq!(both.cloud.0.lock().unwrap().held.0.len(), 301);
}

#[tokio::test]
async fn one_poison_event_does_not_stop_the_others() {
    let mut both = Both::new(3);
    for n in 0..30 {
        both.record(n);
    }
    both.cloud.0.lock().unwrap().poison.insert((1, 17));
    both.settle().await;
    both.nothing_is_lost();
    let quarantined = both.replica.lock().unwrap().reader().unwrap().quarantined().unwrap();
    assert_eq!(quarantined.iter().map(|(id, _)| id.seq).collect::<Vec<_>>(), [17]);
    assert!(quarantined[0].1.contains("malformed"), "{quarantined:?}");
    assert_eq!(both.cloud.0.lock().unwrap().refused_alone, 3, "then it no longer stands in the way");
    assert_eq!(both.cloud.0.lock().unwrap().held.0.len(), 30);
    // A cloud that learned to take it gets it when an operator says so.
    both.cloud.0.lock().unwrap().poison.clear();
    assert_eq!(both.replica.lock().unwrap().release_quarantine().unwrap(), 1);
    both.settle().await;
    assert_eq!(both.cloud.0.lock().unwrap().held.0.len(), 31);
}

#[tokio::test]
async fn a_broken_server_condemns_no_event() {
    let mut both = Both::new(4);
    for n in 0..5 {
        both.record(n);
    }
    both.settle().await;
    for n in 5..10 {
        both.record(n);
    }
    both.cloud.0.lock().unwrap().down = true;
    both.steps(300).await;
    assert!(both.replica.lock().unwrap().reader().unwrap().quarantined().unwrap().is_empty());
    assert_eq!(both.engine.link(), Link::Offline);
    both.cloud.0.lock().unwrap().down = false;
    both.settle().await;
    assert_eq!(both.cloud.0.lock().unwrap().held.0.len(), 11);
    assert_eq!(both.links.lock().unwrap().as_slice(), [Link::Online, Link::Offline, Link::Online]);
}

#[tokio::test]
async fn a_device_is_withdrawn_by_the_venues_word_only() {
    let revoked = |venue: &Venue, device: DeviceId, number: u64, revoked: bool| {
        let key = gate_core::keys::PublicKey::from(&venue.device_key);
        venue.statement(number, StatementBody::Device(DeviceKey { device, gate: GATE, key, revoked }))
    };
    let venue = Venue::new();
    let stranger = Venue { root: ed25519_dalek::SigningKey::from_bytes(&[66; 32]), ..venue.clone() };
    for (name, statement, withdrawn) in [
        ("no word at all", None, false),
        ("not a statement", Some(vec![1, 2, 3]), false),
        ("a stranger's word", Some(revoked(&stranger, DEVICE, 9, true)), false),
        ("about another device", Some(revoked(&venue, OTHER_DEVICE, 9, true)), false),
        ("an old word", Some(revoked(&venue, DEVICE, 2, true)), false),
        ("a word that keeps it", Some(revoked(&venue, DEVICE, 9, false)), false),
        ("the venue's word", Some(revoked(&venue, DEVICE, 9, true)), true),
    ] {
        let mut both = Both::new(6);
        both.record(1);
        both.cloud.0.lock().unwrap().withdrawn = Some(SyncError::Refused {
            status: 403,
            code: "device_revoked".to_owned(),
            detail: None,
            retry_after_s: None,
            statement,
        });
        both.steps(3).await;
        let said = |replica: &Replica| replica.reader().unwrap().device_revoked().unwrap();
        assert_eq!(said(&both.replica.lock().unwrap()), withdrawn, "{name}");
        assert_eq!(*both.changed.borrow() > 0, withdrawn, "{name}: the lane is told");
        both.nothing_is_lost();
        let path = both.replica.lock().unwrap().path().to_path_buf();
        let folder = both._folder;
        drop((both.engine, both.replica));
        assert_eq!(said(&open(&path, 2)), withdrawn, "{name}: after a restart");
        drop(folder);
    }
}

#[tokio::test]
async fn a_step_that_is_cut_off_is_simply_done_again() {
    // Polled a few times and dropped, at each place where it can be waiting.
    for polls in 1..12 {
        let mut both = Both::new(5);
        both.record(1);
        for _ in 0..3 {
            let mut left = polls;
            let step = both.engine.step();
            tokio::pin!(step);
            let cut = std::future::poll_fn(|context| {
                left -= 1;
                match step.as_mut().poll(context) {
                    std::task::Poll::Ready(_) => std::task::Poll::Ready(()),
                    std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(()),
                    std::task::Poll::Pending => std::task::Poll::Pending,
                }
            });
            cut.await;
        }
        both.settle().await;
        both.nothing_is_lost();
        assert_eq!(both.cloud.0.lock().unwrap().held.0.len(), 2);
    }
}

mod news;
mod testimony;
