//! What the tests of several modules share: a folder that goes away, a service in memory, and those who call it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use ed25519_dalek::SigningKey;
use gate_core::canonical;
use gate_core::decision::{DecisionInput, RULES_VERSION, Verdict, decide};
use gate_core::event::{EventBody, Head};
use gate_core::ids::{BootId, Direction, EventId, GateId, Hash, LaneId, ZoneId};
use gate_core::journal::{Journal, SealedEvent};
use gate_core::keys::PublicKey;
use gate_core::pass::{IssuerKey, Keyring, open};
use gate_core::product::{OfflineScope, Product, ProductKind, Rule, SecondScan};
use gate_core::reason::Reason;
use gate_core::statement::{Statement, StatementBody};
use gate_core::sync::request_signature::{self, Signer9421};
use gate_core::sync::v1::{
    AsOf, CHANGES_PATH, Change, Chunk, ENROL_PATH, EVENTS_PATH, Enrol, Enrolled, JournalHead, Pull, PullReply, Push,
    PushReply, Signed,
};
use gate_core::time::{DayRule, Now, Trust};
use gate_core::view::{Egress, LaneContext, Readiness, ReplicaView, Uses, Vendor, ZoneSpace};
use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use crate::app::App;
use crate::config::{Config, PublicUrl};
use crate::entropy::Entropy;

/// 20 November 2026, 14:40 in Bucharest.
pub const NOON: i64 = 1_795_178_400_000;
/// The authority of the service under test.
pub const AUTHORITY: &str = "cloud.example";

/// A folder under the system's temporary one, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let random = hex::encode(Entropy::system().bytes::<6>());
        let path = std::env::temp_dir().join(format!("cloud-sync-{name}-{random}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An answer, wholly read.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Insists on a proper problem of this status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{text}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{text}");
        assert_eq!(problem["status"], status);
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|words| !words.is_empty()), "{field}: {text}");
        }
        assert!(problem["errors"].is_array());
        problem
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.is_success(), "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        self
    }
}

/// A service in memory with a clock of its own, its owner logged in and one venue.
pub struct World {
    pub app: App,
    pub clock: Arc<AtomicI64>,
    pub venue: String,
    pub cookie: String,
}

impl World {
    /// A service that nobody owns yet.
    pub async fn empty() -> Self {
        let clock = Arc::new(AtomicI64::new(NOON));
        let mut config = Config::new("unused", PublicUrl { secure: true, authority: AUTHORITY.to_owned() });
        let reading = Arc::clone(&clock);
        config.clock = Arc::new(move || reading.load(Ordering::Relaxed));
        config.entropy = Entropy::seeded(7);
        let app = crate::open_in_memory(config).await.unwrap();
        Self { app, clock, venue: String::new(), cookie: String::new() }
    }

    pub async fn new() -> Self {
        Self::empty().await.founded().await
    }

    /// A service that is open already, with a clock that was given to it.
    pub async fn over(app: App, clock: Arc<AtomicI64>) -> Self {
        Self { app, clock, venue: String::new(), cookie: String::new() }.founded().await
    }

    async fn founded(self) -> Self {
        let mut world = self;
        let reply = world
            .post(
                "/v1/setup",
                json!({"email": "owner@venue.example", "name": "Owner", "password": "correct horse battery",
                       "venue_name": "Lot Nord", "time_zone": "Europe/Bucharest"}),
            )
            .await
            .ok();
        world.cookie = cookie_in(&reply);
        world.venue = reply.json()["venues"][0]["id"].as_str().unwrap().to_owned();
        world
    }

    pub fn later(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.app.clone().router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// A call of the owner's browser.
    pub fn request(&self, method: &str, path: &str, body: Option<Value>) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path).header("x-requested-with", "gate-dashboard");
        if !self.cookie.is_empty() {
            request = request.header("cookie", format!("gate_session={}", self.cookie));
        }
        match body {
            Some(body) => {
                request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
            }
            None => request.body(Body::empty()).unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path, None)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.request("POST", path, Some(body))).await
    }

    /// A path within the venue.
    pub fn at(&self, path: &str) -> String {
        format!("/v1/venues/{}/{path}", self.venue)
    }

    pub async fn zone(&self, capacity: u32) -> ZoneId {
        let reply = self.post(&self.at("zones"), json!({"name": "Lot", "capacity": capacity})).await.ok();
        reply.json()["id"].as_str().unwrap().parse().unwrap()
    }

    pub async fn vendor(&self, name: &str) -> String {
        let reply = self.post(&self.at("vendors"), json!({"name": name})).await.ok();
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    pub fn batch_of(&self, vendor: &str, count: usize) -> Value {
        json!({"vendor_id": vendor, "product_id": 1, "count": count,
               "valid_from_ms": NOON - 3_600_000, "valid_until_ms": NOON + 86_400_000})
    }

    pub async fn batch(&self, key: &str, body: &Value) -> Reply {
        let mut request = self.request("POST", &self.at("batches"), Some(body.clone()));
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        self.send(request).await
    }

    /// Makes a gate and enrols a device for it.
    pub async fn device(&self, zone: ZoneId, direction: Direction) -> TestDevice {
        let way = if direction == Direction::In { "in" } else { "out" };
        let body = json!({"name": format!("Gate {way}"), "direction": way, "zone_id": zone.to_string()});
        let gate = self.post(&self.at("gates"), body).await.ok().json();
        self.enrol(
            gate["id"].as_str().unwrap().parse().unwrap(),
            gate["lane_id"].as_str().unwrap().parse().unwrap(),
            zone,
            direction,
        )
        .await
    }

    pub async fn invitation(&self, gate: GateId) -> String {
        let reply = self.post(&self.at(&format!("gates/{gate}/enrolment")), json!({})).await.ok();
        reply.json()["code"].as_str().unwrap().to_owned()
    }

    pub async fn ask_to_enrol(&self, code: &str, key: &SigningKey) -> Reply {
        let enrol = Enrol {
            code: code.to_owned(),
            key: PublicKey::from(key),
            model: "test".to_owned(),
            software: "test/1".to_owned(),
        };
        let request = Request::post(ENROL_PATH).header("content-type", "application/cbor");
        self.send(request.body(Body::from(enrol.sign(key))).unwrap()).await
    }

    pub async fn enrol(&self, gate: GateId, lane: LaneId, zone: ZoneId, direction: Direction) -> TestDevice {
        let key = SigningKey::from_bytes(&self.app.entropy().bytes());
        let reply = self.ask_to_enrol(&self.invitation(gate).await, &key).await.ok();
        let enrolled: Enrolled = canonical::decode(&reply.body).unwrap();
        TestDevice { key, enrolled, lane, zone, direction, nonces: AtomicU64::new(0) }
    }
}

/// The session token of an answer.
pub fn cookie_in(reply: &Reply) -> String {
    let cookie = reply.headers["set-cookie"].to_str().unwrap();
    cookie.strip_prefix("gate_session=").unwrap().split(';').next().unwrap().to_owned()
}

/// A gate's device, as far as its side of the wire goes.
pub struct TestDevice {
    pub key: SigningKey,
    pub enrolled: Enrolled,
    pub lane: LaneId,
    pub zone: ZoneId,
    pub direction: Direction,
    nonces: AtomicU64,
}

impl TestDevice {
    pub fn journal(&self, epoch: u64, continues: Option<Head>) -> (Journal, SealedEvent) {
        let ids = (self.enrolled.venue, self.enrolled.gate, self.enrolled.device);
        Journal::open(ids, epoch, continues, "test/1".to_owned(), now(NOON))
    }

    pub fn nonce(&self) -> String {
        format!("nonce-of-test-{:04}", self.nonces.fetch_add(1, Ordering::Relaxed))
    }

    /// A signed request, not yet sent, so that tests can spoil it.
    pub fn signed(&self, method: &str, path: &str, body: Vec<u8>, created: i64, nonce: &str) -> Request<Body> {
        let signer = Signer9421 { device: self.enrolled.device, created, nonce: nonce.to_owned() };
        let request = request_signature::Request { method, authority: AUTHORITY, path, query: "", body: &body };
        let headers = request_signature::sign(&request, &signer, &self.key);
        Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/cbor")
            .header("content-digest", headers.content_digest)
            .header("signature-input", headers.signature_input)
            .header("signature", headers.signature)
            .body(Body::from(body))
            .unwrap()
    }

    pub fn request(&self, world: &World, path: &str, body: Vec<u8>) -> Request<Body> {
        self.signed("POST", path, body, world.app.now_ms() / 1000, &self.nonce())
    }

    pub fn push_body(&self, head: Head, events: &[Vec<u8>]) -> Vec<u8> {
        let head = JournalHead { venue: self.enrolled.venue, head }.sign(&self.key);
        let events = events.iter().cloned().map(ByteBuf::from).collect();
        canonical::encode(&Push { head: ByteBuf::from(head), events })
    }

    pub async fn try_push(&self, world: &World, events: &[Vec<u8>]) -> Reply {
        // The head of what is sent; tests of heads make their own.
        let last = events
            .iter()
            .filter_map(|bytes| gate_core::event::Event::decode(bytes).ok())
            .max_by_key(|event| event.id.seq);
        let head = last.map_or(
            Head { event: EventId { device: self.enrolled.device, epoch: 1, seq: 0 }, hash: Hash::ZERO },
            |event| Head {
                event: EventId { device: self.enrolled.device, ..event.id },
                hash: gate_core::event::hash(&event.encode()),
            },
        );
        world.send(self.request(world, EVENTS_PATH, self.push_body(head, events))).await
    }

    pub async fn push(&self, world: &World, events: &[Vec<u8>]) -> PushReply {
        canonical::decode(&self.try_push(world, events).await.ok().body).unwrap()
    }

    pub async fn pull(&self, world: &World, position: u64, head: Hash) -> Reply {
        world.send(self.request(world, CHANGES_PATH, canonical::encode(&Pull { position, head }))).await
    }

    /// The key that signs changes, as the pinned root says.
    pub fn settings(&self) -> PublicKey {
        let mut settings = None;
        let mut statements = Vec::new();
        for bytes in &self.enrolled.statements {
            let statement = Statement::open(bytes, self.enrolled.venue, &self.enrolled.root).unwrap();
            if let StatementBody::Duty(duty) = &statement.body
                && duty.duty == gate_core::statement::Duty::Settings
            {
                settings = Some(duty.key);
            }
            statements.push(statement.number);
        }
        assert!(statements.is_sorted());
        settings.unwrap()
    }

    /// Follows the chain from the start as a gate does, believing nothing that is not signed.
    pub async fn replica(&self, world: &World) -> Vec<Change> {
        let settings = self.settings();
        let (mut position, mut head, mut changes) = (0, Hash::ZERO, Vec::new());
        loop {
            let reply: PullReply = canonical::decode(&self.pull(world, position, head).await.ok().body).unwrap();
            for bytes in &reply.chunks {
                let chunk = Chunk::open(bytes, &settings).unwrap();
                assert_eq!((chunk.from, chunk.previous, chunk.venue), (position, head, self.enrolled.venue));
                assert_eq!(chunk.to - chunk.from, chunk.changes.len() as u64);
                position = chunk.to;
                head = chunk.hash();
                changes.extend(chunk.changes);
            }
            if !reply.more {
                let as_of = AsOf::open(&reply.as_of.unwrap(), &settings).unwrap();
                assert_eq!((as_of.position, as_of.head, as_of.as_of_ms), (position, head, world.app.now_ms()));
                return changes;
            }
            assert!(reply.as_of.is_none());
        }
    }

    /// What the gate would record when this pass is shown, decided by the real rules.
    pub fn admit(&self, text: &str, keys: &Keyring, at_ms: i64) -> EventBody {
        self.admit_with(text, keys, at_ms, Uses::default())
    }

    pub fn admit_with(&self, text: &str, keys: &Keyring, at_ms: i64, uses: Uses) -> EventBody {
        let product = Product {
            number: 1,
            name: "Visitor".to_owned(),
            kind: ProductKind::Visitor,
            rules: vec![Rule::Single.text()],
            zones: vec![],
            second_scan: SecondScan::Hard,
            offline_scope: OfflineScope::Site,
            max_staleness_s: None,
            attention: None,
            open_ms: None,
            home_gate: None,
        };
        let view = ReplicaView {
            venue: self.enrolled.venue_code.clone(),
            day_rule: DayRule { time_zone: "Europe/Bucharest".to_owned(), boundary_min: 180 },
            age_ms: Some(0),
            position: 0,
            vendor: Some(Vendor { active: true, weekdays: 127, closed_days: vec![] }),
            row: None,
            product: Some(product),
            uses,
            spaces: vec![ZoneSpace { zone: self.zone, rights_held: 10, best_effort: false, generation: 0 }],
            right_gates: vec![],
        };
        let lane = LaneContext {
            gate: self.enrolled.gate,
            lane: self.lane,
            direction: self.direction,
            staffed: false,
            egress: Egress::Scan,
            readiness: Readiness::Ready,
        };
        let (pass, now) = (open(text, keys), now(at_ms));
        match decide(&pass, &view, &lane, now) {
            Verdict::Admit(admission) => EventBody::Authorised {
                input: Box::new(DecisionInput { pass, view, lane, now, rules: RULES_VERSION }),
                generations: vec![0; admission.zones.len()],
                admission,
                confirmed: None,
            },
            Verdict::Refuse(refusal) => EventBody::Refused {
                input: Box::new(DecisionInput { pass, view, lane, now, rules: RULES_VERSION }),
                reason: refusal.reason,
            },
            Verdict::Ask(question) => panic!("asked: {question:?}"),
        }
    }
}

/// A moment by a clock that NTP keeps.
pub fn now(wall_ms: i64) -> Now {
    Now { wall_ms, mono_us: 1, boot: BootId(Uuid::from_u128(1)), trust: Trust::Ntp }
}

/// A scan of some other code.
pub fn noise() -> EventBody {
    EventBody::Noise { reason: Reason::NotAPass, token: Hash::ZERO }
}

/// All issuing keys that a replica knows.
pub fn keyring(changes: &[Change], device: &TestDevice) -> Keyring {
    let keys = changes.iter().filter_map(|change| match change {
        Change::Statement(bytes) => {
            match Statement::open(bytes, device.enrolled.venue, &device.enrolled.root).unwrap().body {
                StatementBody::Issuer(key) => Some::<IssuerKey>(key),
                StatementBody::Device(_)
                | StatementBody::Duty(_)
                | StatementBody::Chain(_)
                | StatementBody::Time(_) => None,
            }
        }
        Change::Venue(_)
        | Change::Zone(_)
        | Change::Gate(_)
        | Change::Vendor(_)
        | Change::Product(_)
        | Change::Pass(_)
        | Change::Use(_)
        | Change::Count(_)
        | Change::Reset(_)
        | Change::Unknown(_) => None,
    });
    keys.collect()
}
