//! Test support: a venue with seeded keys that signs chunks, receipts and statements as the cloud does, and folders that
//! go away by themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ed25519_dalek::SigningKey;
use gate_core::decision::{Admission, DecisionInput, RULES_VERSION};
use gate_core::event::{Event, EventBody, Head};
use gate_core::ids::{BootId, Cti, DeviceId, Direction, EventId, GateId, Hash, Kid, LaneId, PassId, VenueId, ZoneId};
use gate_core::keys::PublicKey;
use gate_core::pass::{Claims, Finding, IssuerKey, PassFlags, ScannedPass};
use gate_core::product::{OfflineScope, Product, ProductKind, Rule, SecondScan};
use gate_core::statement::{DeviceKey, Duty, DutyKey, Statement, StatementBody};
use gate_core::sync::v1::{
    AsOf, Change, Chunk, Enrolled, GateRow, ItemOutcome, PassChange, PullReply, PushReply, Receipt, Signed, UseMark,
    VendorRow, VenueRow, ZoneRow,
};
use gate_core::time::{DayRule, Now, ServiceDay, Trust};
use gate_core::view::{Egress, LaneContext, PassRow, PassStanding, Readiness, ReplicaView, Vendor};
use serde_bytes::ByteBuf;
use uuid::Uuid;

use super::{Replica, Start};
use crate::identity::Identity;

/// Noon of a Tuesday in Bucharest.
pub(crate) const T0: i64 = 1_790_000_000_000;
/// A day.
pub(crate) const DAY: i64 = 86_400_000;

/// A folder of its own for one test.
pub(crate) struct Folder(PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        // In memory where there is such a place: what is tested here is not the disk's speed.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        Self::within(&place, n, name)
    }

    /// A folder on a disk, for what only a disk shows.
    pub(crate) fn on_disk(name: &str) -> Self {
        Self::within(&std::env::temp_dir(), NEXT.fetch_add(1, Ordering::Relaxed), name)
    }

    fn within(place: &Path, n: u32, name: &str) -> Self {
        let path = place.join(format!("gate-agent-{}-{n}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.0.join("replica.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A moment, milliseconds after [`T0`].
pub(crate) fn at(ms: i64) -> Now {
    Now { wall_ms: T0 + ms, mono_us: (ms.max(0) as u64) * 1000, boot: BootId(Uuid::from_u128(9)), trust: Trust::Ntp }
}

/// Opens a database with an epoch.
pub(crate) fn open(path: &Path, epoch: u64) -> Replica {
    Replica::open(path, start(epoch)).unwrap()
}

pub(crate) fn start(epoch: u64) -> Start {
    Start { epoch, now: at(0), software: "test 1".to_owned() }
}

/// A small deterministic generator (splitmix64): no randomness of the system enters a test.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

impl Replica {
    /// Does everything that recording does, then something with the open transaction, and never commits.
    pub(crate) fn record_and(
        &mut self,
        body: EventBody,
        now: Now,
        then: impl FnOnce(&rusqlite::Connection),
    ) -> Result<(), super::ReplicaError> {
        let mut journal = self.journal.clone().unwrap();
        let sealed = journal.append(Some(LANE), now, body);
        let position = super::keys::position_of(&self.epochs, sealed.event.id).unwrap();
        self.write(|checked| {
            super::record::store(checked, position, &sealed)?;
            then(checked.db());
            Err(super::ReplicaError::Refused("the power went".to_owned()).into())
        })
    }

    /// Records many events in one transaction: what a long time leaves behind, in a short one.
    pub(crate) fn record_many(&mut self, now: Now, bodies: Vec<EventBody>) {
        let mut journal = self.journal.clone().unwrap();
        let epochs = self.epochs.clone();
        let sealed: Vec<_> = bodies.into_iter().map(|body| journal.append(Some(LANE), now, body)).collect();
        self.write(|checked| {
            for sealed in &sealed {
                let position = super::keys::position_of(&epochs, sealed.event.id).unwrap();
                super::record::store(checked, position, sealed)?;
            }
            Ok(())
        })
        .unwrap();
        self.journal = Some(journal);
    }

    /// Records as if the disk had failed at the sync: the caller heard an error, the event is stored or not.
    pub(crate) fn fail_sync(&mut self, body: EventBody, now: Now, stored: bool) {
        let mut journal = self.journal.clone().unwrap();
        let sealed = journal.append(Some(LANE), now, body);
        if stored {
            let position = super::keys::position_of(&self.epochs, sealed.event.id).unwrap();
            self.write(|checked| super::record::store(checked, position, &sealed)).unwrap();
        }
        self.doubt = Some(journal);
        let io = super::ReplicaError::Io { path: self.path.clone(), why: "fsync".to_owned() };
        self.after::<()>(Err(io)).unwrap_err();
    }

    /// Lets the database grow to this many pages only.
    pub(crate) fn limit_pages(&mut self, pages: u32) {
        self.read(|db| db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))).unwrap();
    }
}

/// A venue, its keys, and the end of its change stream.
#[derive(Clone)]
pub(crate) struct Venue {
    pub(crate) root: SigningKey,
    pub(crate) settings: SigningKey,
    pub(crate) time: SigningKey,
    pub(crate) server: SigningKey,
    pub(crate) device_key: SigningKey,
    pub(crate) id: VenueId,
    pub(crate) position: u64,
    pub(crate) head: Hash,
}

pub(crate) const GATE: GateId = GateId(Uuid::from_u128(0x20));
pub(crate) const OTHER_GATE: GateId = GateId(Uuid::from_u128(0x21));
pub(crate) const LANE: LaneId = LaneId(Uuid::from_u128(0x30));
pub(crate) const ZONE: ZoneId = ZoneId(Uuid::from_u128(0x40));
pub(crate) const DEVICE: DeviceId = DeviceId(Uuid::from_u128(0x50));
pub(crate) const OTHER_DEVICE: DeviceId = DeviceId(Uuid::from_u128(0x51));

impl Venue {
    pub(crate) fn new() -> Self {
        let key = |n: u8| SigningKey::from_bytes(&[n; 32]);
        Self {
            root: key(1),
            settings: key(2),
            time: key(3),
            server: key(4),
            device_key: key(5),
            id: VenueId(Uuid::from_u128(0x10)),
            position: 0,
            head: Hash::ZERO,
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::of(&self.enrolled(), "http://127.0.0.1:1")
    }

    pub(crate) fn statement(&self, number: u64, body: StatementBody) -> Vec<u8> {
        Statement { venue: self.id, number, body }.sign(&self.root)
    }

    pub(crate) fn duty(&self, number: u64, duty: Duty, key: &SigningKey) -> Vec<u8> {
        self.statement(number, StatementBody::Duty(DutyKey { duty, key: PublicKey::from(key) }))
    }

    pub(crate) fn issuer(&self, revoked: bool) -> StatementBody {
        StatementBody::Issuer(IssuerKey {
            kid: Kid([1, 2, 3, 4]),
            vendor: "V1".parse().unwrap(),
            venue: "BC".parse().unwrap(),
            key: PublicKey::from(&SigningKey::from_bytes(&[6; 32])),
            from: 0,
            until: i64::from(u32::MAX),
            revoked,
        })
    }

    pub(crate) fn device_statement(&self) -> StatementBody {
        StatementBody::Device(DeviceKey {
            device: DEVICE,
            gate: GATE,
            key: PublicKey::from(&self.device_key),
            revoked: false,
        })
    }

    pub(crate) fn enrolled(&self) -> Enrolled {
        let statements = [
            self.duty(1, Duty::Settings, &self.settings),
            self.duty(2, Duty::Time, &self.time),
            self.duty(3, Duty::Server, &self.server),
            self.statement(4, self.device_statement()),
        ];
        Enrolled {
            venue: self.id,
            venue_code: "BC".parse().unwrap(),
            root: PublicKey::from(&self.root),
            device: DEVICE,
            gate: GATE,
            statements: statements.into_iter().map(ByteBuf::from).collect(),
        }
    }

    /// The next chunk of the venue's one stream.
    pub(crate) fn chunk(&mut self, changes: Vec<Change>) -> ByteBuf {
        let chunk = Chunk {
            venue: self.id,
            from: self.position,
            to: self.position + changes.len() as u64,
            previous: self.head,
            changes,
        };
        self.position = chunk.to;
        self.head = chunk.hash();
        ByteBuf::from(chunk.sign(&self.settings))
    }

    pub(crate) fn as_of(&self, as_of_ms: i64) -> ByteBuf {
        ByteBuf::from(AsOf { venue: self.id, position: self.position, head: self.head, as_of_ms }.sign(&self.settings))
    }

    /// A reply with one chunk and its age.
    pub(crate) fn reply(&mut self, changes: Vec<Change>, as_of_ms: i64) -> PullReply {
        let chunks = if changes.is_empty() { vec![] } else { vec![self.chunk(changes)] };
        PullReply { chunks, as_of: Some(self.as_of(as_of_ms)), more: false }
    }

    /// What a venue with one zone, two gates, a vendor and three products says first.
    pub(crate) fn basics(&self) -> Vec<Change> {
        let product = |number: u16, kind: ProductKind, rules: Vec<Rule>| {
            Change::Product(Product {
                number,
                name: format!("Product {number}"),
                kind,
                rules: rules.iter().map(Rule::text).collect(),
                zones: vec![],
                second_scan: SecondScan::Hard,
                offline_scope: OfflineScope::Site,
                max_staleness_s: None,
                attention: None,
                open_ms: None,
                home_gate: None,
            })
        };
        vec![
            Change::Statement(ByteBuf::from(self.statement(5, self.issuer(false)))),
            Change::Venue(VenueRow {
                code: "BC".parse().unwrap(),
                name: "Centre".to_owned(),
                day_rule: DayRule { time_zone: "Europe/Bucharest".to_owned(), boundary_min: 180 },
            }),
            Change::Zone(self.zone(100, Some(GATE))),
            Change::Gate(gate_row(GATE, "North", Direction::In)),
            Change::Gate(gate_row(OTHER_GATE, "South", Direction::In)),
            Change::Vendor(VendorRow {
                code: "V1".parse().unwrap(),
                standing: Vendor { active: true, weekdays: 127, closed_days: vec![] },
            }),
            product(0, ProductKind::Visitor, vec![Rule::Single]),
            product(1, ProductKind::Visitor, vec![Rule::PerDay(1)]),
            product(30, ProductKind::Subscription, vec![Rule::Unlimited]),
        ]
    }

    pub(crate) fn zone(&self, capacity: u32, rights_holder: Option<GateId>) -> ZoneRow {
        ZoneRow {
            id: ZONE,
            name: "Lot".to_owned(),
            parent: None,
            capacity,
            warn_percent: 90,
            best_effort: false,
            rights_holder,
        }
    }

    /// An enrolled gate that knows the basics.
    pub(crate) fn gate(&mut self, path: &Path) -> Replica {
        let mut replica = open(path, 1);
        replica.set_identity(&self.identity(), &self.enrolled(), at(0)).unwrap();
        let basics = self.basics();
        let reply = self.reply(basics, T0);
        replica.apply(&reply, at(0)).unwrap();
        replica
    }

    /// The server's word that it holds an epoch up to this event.
    pub(crate) fn receipt(&self, upto: Head) -> ByteBuf {
        ByteBuf::from(Receipt { venue: self.id, upto }.sign(&self.server))
    }
}

/// A gate of the zone.
pub(crate) fn gate_row(id: GateId, name: &str, direction: Direction) -> GateRow {
    GateRow {
        id,
        lane: LANE,
        name: name.to_owned(),
        zone: ZONE,
        direction,
        staffed: false,
        egress: Egress::Scan,
        open_ms: 800,
    }
}

pub(crate) fn pass_id(n: u64) -> PassId {
    // Spread over the key space as random ids are.
    let mut seeded = Seeded(n);
    let mut cti = [0; 16];
    cti[..8].copy_from_slice(&seeded.next().to_be_bytes());
    cti[8..].copy_from_slice(&n.to_be_bytes());
    PassId { vendor: "V1".parse().unwrap(), cti: Cti(cti) }
}

/// A genuine pass.
pub(crate) fn scanned(n: u64, product: u16) -> ScannedPass {
    let id = pass_id(n);
    let claims = Claims {
        vendor: id.vendor,
        venue: "BC".parse().unwrap(),
        not_before: T0 / 1000 - 86_400,
        expires: T0 / 1000 + 40 * 86_400,
        cti: id.cti,
        product,
        flags: PassFlags::default(),
        subject: None,
    };
    ScannedPass {
        token: Hash::of("test", &n.to_be_bytes()),
        finding: Finding::Genuine { claims, kid: Kid([1, 2, 3, 4]) },
    }
}

pub(crate) fn pass_change(n: u64, standing: PassStanding) -> Change {
    Change::Pass(PassChange { pass: pass_id(n), row: PassRow { standing, until: None, uses: None } })
}

/// The service day of a moment after [`T0`] at the test venue.
pub(crate) fn day_of(ms: i64) -> ServiceDay {
    DayRule { time_zone: "Europe/Bucharest".to_owned(), boundary_min: 180 }.local(T0 + ms).unwrap().day
}

pub(crate) fn mark(device: DeviceId, seq: u64, n: u64, ms: i64, annulled: bool) -> UseMark {
    UseMark {
        event: EventId { device, epoch: 7, seq },
        pass: pass_id(n),
        gate: OTHER_GATE,
        at_ms: T0 + ms,
        service_day: day_of(ms),
        direction: Direction::In,
        charged: true,
        annulled,
    }
}

/// An admission of a pass, decided from a view.
pub(crate) fn authorised(n: u64, product: u16, view: ReplicaView, ms: i64, reopens: Option<EventId>) -> EventBody {
    let generations = view.spaces.iter().map(|space| space.generation).collect();
    let zones = view.spaces.iter().map(|space| space.zone).collect();
    let lane = LaneContext {
        gate: GATE,
        lane: LANE,
        direction: Direction::In,
        staffed: false,
        egress: Egress::Scan,
        readiness: Readiness::Ready,
    };
    EventBody::Authorised {
        input: Box::new(DecisionInput { pass: scanned(n, product), view, lane, now: at(ms), rules: RULES_VERSION }),
        admission: Admission {
            pass: Some(pass_id(n)),
            direction: Direction::In,
            service_day: day_of(ms),
            charges_use: reopens.is_none(),
            remaining: None,
            zones,
            reopens,
            clock_doubt: false,
            open_ms: None,
            romanian: false,
        },
        generations,
        confirmed: None,
    }
}

/// Admits a pass as the lane does: view, then record.
pub(crate) fn admit(replica: &mut Replica, n: u64, product: u16, ms: i64) -> EventId {
    let mut reader = replica.reader().unwrap();
    let gate = gate_row(GATE, "North", Direction::In);
    let view = reader.view(&scanned(n, product), &gate, at(ms)).unwrap();
    let reopens = None;
    replica.record(Some(LANE), at(ms), authorised(n, product, view, ms, reopens)).unwrap().event.id
}

/// What the cloud holds of one device: it stores by event id and signs for the prefix without a gap.
#[derive(Default, Clone)]
pub(crate) struct Held(pub(crate) BTreeMap<(u64, u64), Vec<u8>>);

impl Held {
    /// Takes events and answers as the cloud does.
    pub(crate) fn take(&mut self, venue: &Venue, events: &[ByteBuf]) -> PushReply {
        let mut outcomes = Vec::new();
        for bytes in events {
            let event = Event::decode(bytes).unwrap();
            let known = self.0.insert((event.id.epoch, event.id.seq), bytes.to_vec());
            assert!(known.as_ref().is_none_or(|known| known == bytes.as_slice()), "one id, two events: {}", event.id);
            outcomes.push(if known.is_some() { ItemOutcome::Exists } else { ItemOutcome::Created });
        }
        PushReply { outcomes, receipts: self.receipts(venue) }
    }

    pub(crate) fn receipts(&self, venue: &Venue) -> Vec<ByteBuf> {
        let mut heads: BTreeMap<u64, Head> = BTreeMap::new();
        for ((epoch, seq), bytes) in &self.0 {
            let next = heads.get(epoch).map_or(0, |head| head.event.seq + 1);
            if *seq == next {
                let event = EventId { device: DEVICE, epoch: *epoch, seq: *seq };
                heads.insert(*epoch, Head { event, hash: gate_core::event::hash(bytes) });
            }
        }
        heads.into_values().map(|head| venue.receipt(head)).collect()
    }
}
