//! What the golden files hold: one value of every kind that travels or stays.

use serde_bytes::ByteBuf;
use uuid::Uuid;

use super::File;
use crate::event::{self, Confirmation, Event, EventBody, Head, Part};
use crate::examples::*;
use crate::ids::{Direction, Hash, PassId, StaffId, ZoneId};
use crate::keys::PublicKey;
use crate::occupancy::{Actor, ActorCount, Basis, Recount};
use crate::pass::{
    Claims, Defect, Finding, MalformedWhy, PASS_LIMIT, PassFlags, ShortCode, VISITOR_LIMIT, issue, open, token_hash,
};
use crate::product::{OfflineScope, Product, ProductKind, Rule, SecondScan};
use crate::reason::Reason;
use crate::reset::{self, Daily};
use crate::statement::{ChainCut, DeviceKey, Duty, DutyKey, Statement, StatementBody, TimeReset};
use crate::sync::request_signature::{Request, Signer9421, sign};
use crate::sync::v1::{
    AsOf, Change, Chunk, Enrol, Enrolled, GateRow, Hint, ItemOutcome, JournalHead, PassChange, Pull, PullReply, Push,
    PushReply, Receipt, Signed, SignedTime, UseMark, VendorRow, VenueRow, ZoneReset, ZoneRow, ZoneTally,
};
use crate::time::{ClockAnomaly, ServiceDay, Trust};
use crate::view::{Egress, LastUse, PassRow, PassStanding, Readiness, Unopened, Uses, Vendor, ZoneSpace};

fn staff() -> StaffId {
    StaffId(Uuid::from_u128(0x08))
}

fn pass_id() -> PassId {
    claims().id()
}

fn big_claims() -> Claims {
    Claims {
        vendor: "VEND".parse().unwrap(),
        venue: "PARK".parse().unwrap(),
        product: 300,
        flags: PassFlags::CHILD.with(PassFlags::ATTENTION).with(PassFlags::ROMANIAN),
        subject: Some("c-1".to_owned().try_into().unwrap()),
        ..claims()
    }
}

pub(super) fn passes() -> File {
    let mut file = File::new("passes");
    let text = pass_text();
    assert!(matches!(open(&text, &keyring()).finding, Finding::Genuine { .. }));
    file.text("visitor", &text);
    file.text("visitor token hash", token_hash(&text).to_string());
    file.text("visitor id", pass_id().to_string());
    file.text("visitor short code", ShortCode::of(&pass_id()).to_string());
    file.bytes("visitor claims", &claims().encode());
    let big = big_claims();
    file.text("larger", issue(&big, KID, &signing_key(), PASS_LIMIT).unwrap());
    file.bytes("larger claims", &big.encode());
    assert!(issue(&big, KID, &signing_key(), VISITOR_LIMIT).is_err());
    file
}

fn statement(number: u64, body: StatementBody) -> Statement {
    Statement { venue: VENUE, number, body }
}

fn duty(duty: Duty, seed: u8) -> StatementBody {
    StatementBody::Duty(DutyKey { duty, key: PublicKey::from(&key(seed)) })
}

fn all_statements() -> Vec<(&'static str, Statement)> {
    let device = DeviceKey { device: DEVICE, gate: ENTRANCE, key: PublicKey::from(&key(4)), revoked: false };
    vec![
        ("issuer", statement(1, StatementBody::Issuer(issuer_key()))),
        ("device", statement(2, StatementBody::Device(device))),
        ("duty settings", statement(3, duty(Duty::Settings, 5))),
        ("duty time", statement(4, duty(Duty::Time, 6))),
        ("duty server", statement(5, duty(Duty::Server, 7))),
        ("time", statement(7, StatementBody::Time(TimeReset { floor_ms: NOON * 1000 }))),
        ("chain", statement(6, StatementBody::Chain(ChainCut { position: 17, head: Hash([0xcc; 32]) }))),
    ]
}

pub(super) fn statements() -> File {
    let mut file = File::new("statements");
    let root = key(3);
    for (name, statement) in all_statements() {
        let bytes = statement.sign(&root);
        assert_eq!(Statement::open(&bytes, VENUE, &PublicKey::from(&root)).as_ref(), Ok(&statement));
        file.bytes(&format!("{name} signed"), &bytes);
        file.text(&format!("{name} subject"), statement.subject());
        file.value(name, &statement);
    }
    file
}

/// A decision input in which nothing is left out.
fn full_input() -> crate::decision::DecisionInput {
    let mut input = input();
    let claims = big_claims();
    input.pass.finding = Finding::Genuine { claims, kid: KID };
    input.view.row = Some(PassRow { standing: PassStanding::Live, until: Some(NOON + 60), uses: Some(10) });
    input.view.product = Some(full_product());
    input.view.vendor = Some(Vendor { active: true, weekdays: 0x1f, closed_days: vec![ServiceDay(20_600)] });
    input.view.uses = Uses {
        total: 3,
        today: 1,
        last: Some(LastUse {
            at_ms: NOON * 1000 - 3_600_000,
            gate: OTHER_GATE,
            gate_name: "South entrance".into(),
            direction: Direction::Out,
            elapsed_ms: None,
        }),
        first_charged: Some(last_use(Direction::In)),
        newest_charged: None,
        inside: true,
        unopened: Some(Unopened {
            event: event_id(3),
            at_ms: NOON * 1000 - 30_000,
            places: vec![],
            elapsed_ms: Some(30_000),
        }),
    };
    input.view.spaces.push(ZoneSpace {
        zone: ZoneId(Uuid::from_u128(0x09)),
        rights_held: 0,
        best_effort: true,
        generation: 0,
    });
    input.view.right_gates = vec!["South entrance".into()];
    input.lane.staffed = true;
    input.lane.readiness = Readiness::NoVehicle;
    input.now.trust = Trust::Signed;
    input
}

fn full_product() -> Product {
    Product {
        number: 300,
        name: "Season".into(),
        kind: ProductKind::Subscription,
        rules: [
            Rule::Single,
            Rule::Times(10),
            Rule::PerDay(1),
            Rule::Unlimited,
            Rule::Hours { weekdays: 0x7f, from_min: 1320, to_min: 360 },
            Rule::ReentryAfterExit,
            Rule::MinInterval(60),
            Rule::ChildWithAdult,
        ]
        .iter()
        .map(Rule::text)
        .collect(),
        zones: vec![LOT],
        second_scan: SecondScan::Soft,
        offline_scope: OfflineScope::HomeGate,
        max_staleness_s: Some(3600),
        attention: Some("Look at the band".into()),
        open_ms: Some(1200),
        home_gate: None,
    }
}

fn recount() -> Recount {
    Recount { zone: LOT, generation: 3, observed: 120, at_ms: NOON * 1000, frontier: vec![event_id(4)], before: None }
}

/// One body of every kind. The match keeps the list complete: a new kind does not compile without a line here.
fn body_name(body: &EventBody) -> &'static str {
    match body {
        EventBody::EpochOpened { .. } => "epoch_opened",
        EventBody::Authorised { .. } => "authorised",
        EventBody::Opened { .. } => "opened",
        EventBody::NotOpened { .. } => "not_opened",
        EventBody::Passed { .. } => "passed",
        EventBody::Annulled { .. } => "annulled",
        EventBody::Refused { .. } => "refused",
        EventBody::Noise { .. } => "noise",
        EventBody::Repeated { .. } => "repeated",
        EventBody::Overridden { .. } => "overridden",
        EventBody::ExitButton { .. } => "exit_button",
        EventBody::Fire { .. } => "fire",
        EventBody::Recounted(_) => "recounted",
        EventBody::Health { .. } => "health",
        EventBody::ClockStepped(_) => "clock_stepped",
        EventBody::LaneClosed { .. } => "lane_closed",
    }
}

/// How many kinds of event there are.
const BODIES: usize = 16;

fn bodies() -> Vec<EventBody> {
    let of = event_id(1);
    vec![
        EventBody::EpochOpened {
            continues: Some(Head { event: event_id(9), hash: Hash([0xee; 32]) }),
            software: "gate-agent 0.1.0".into(),
        },
        EventBody::Authorised {
            input: Box::new(full_input()),
            admission: admission(),
            generations: vec![2, 0],
            confirmed: Some(Confirmation { reason: Reason::Attention, staff: Some(staff()) }),
        },
        EventBody::Opened { of, watched: false },
        EventBody::NotOpened { of, unknown: true },
        EventBody::Passed { of: Some(of), direction: Direction::In },
        EventBody::Annulled { of },
        EventBody::Refused { input: Box::new(full_input()), reason: Reason::NoVehicle },
        EventBody::Noise { reason: Reason::NotAPass, token: token_hash("https://example.org/") },
        EventBody::Repeated { of, more: 41 },
        EventBody::Overridden {
            staff: Some(staff()),
            why: "phone is dead".into(),
            note: Some(event::note_hash(&[7; 16], "showed a paper ticket")),
            direction: Direction::In,
            zones: vec![LOT],
            generations: vec![2],
            over: Some(of),
        },
        EventBody::ExitButton { zones: vec![LOT], generations: vec![2] },
        EventBody::Fire { active: true },
        EventBody::Recounted(recount()),
        EventBody::Health { part: Part::Camera, working: false, detail: "no frame for 2 s".into() },
        EventBody::ClockStepped(ClockAnomaly { expected_ms: NOON * 1000, read_ms: 0 }),
        EventBody::LaneClosed { closed: true, staff: None },
    ]
}

pub(super) fn events() -> File {
    let mut file = File::new("events");
    let mut names = std::collections::BTreeSet::new();
    for (seq, body) in bodies().into_iter().enumerate() {
        let name = body_name(&body);
        names.insert(name);
        let event = Event {
            id: event_id(seq as u64),
            previous: Hash([seq as u8; 32]),
            venue: VENUE,
            gate: ENTRANCE,
            lane: (seq > 0).then_some(LANE),
            at: noon(),
            body,
        };
        file.text(&format!("{name} hash"), event::hash(&event.encode()).to_string());
        file.value(name, &event);
    }
    assert_eq!(names.len(), BODIES, "a kind of event has no golden bytes");
    file.value("body opened, watched", &EventBody::Opened { of: event_id(1), watched: true });
    file.text("event id", event_id(42).to_string());
    let malformed = Defect::Malformed;
    for (name, defect) in [
        ("not a pass", Defect::NotAPass),
        ("unsupported", Defect::Unsupported),
        ("too long", malformed(MalformedWhy::TooLong)),
        ("base45", malformed(MalformedWhy::Base45)),
        ("envelope", malformed(MalformedWhy::Envelope)),
        ("claims", malformed(MalformedWhy::Claims)),
        ("unknown key", Defect::UnknownKey(KID)),
        ("issuer revoked", Defect::IssuerRevoked(KID)),
        ("bad signature", Defect::BadSignature(KID)),
        ("key misused", Defect::KeyMisused(KID)),
    ] {
        let mut input = input();
        input.pass.finding = Finding::Defective(defect);
        file.value(&format!("decision input {name}"), &input);
    }
    for reason in Reason::ALL {
        file.value(&format!("reason {reason}"), reason);
    }
    for part in [Part::Camera, Part::GateIo, Part::Storage, Part::Clock, Part::Barrier] {
        file.value(&format!("part {part:?}"), &part);
    }
    file
}

pub(super) fn counts() -> File {
    let mut file = File::new("counts");
    file.value("recount", &recount());
    // The daily reset came later; a recount without one is written as before.
    file.value("recount daily reset", &reset::recount(LOT, &Basis::START, -2, NOON * 1000));
    file.value("basis", &Basis::of(event_id(5), &recount()));
    file.value("basis at the start", &Basis::START);
    let actor = Actor::from(event_id(0));
    file.value("actor count", &ActorCount { actor, entries: 12, exits: 4 });
    file
}

fn changes() -> Vec<(&'static str, Change)> {
    let venue = VenueRow { code: "P1".parse().unwrap(), name: "Parking Unirii".into(), day_rule: day_rule() };
    let zone = ZoneRow {
        id: LOT,
        name: "Lot".into(),
        parent: None,
        capacity: 220,
        warn_percent: 90,
        best_effort: false,
        rights_holder: Some(ENTRANCE),
    };
    let gate = GateRow {
        id: ENTRANCE,
        lane: LANE,
        name: "North entrance".into(),
        zone: LOT,
        direction: Direction::In,
        staffed: false,
        egress: Egress::Scan,
        open_ms: 800,
    };
    let vendor = VendorRow {
        code: "V1".parse().unwrap(),
        standing: Vendor { active: true, weekdays: 0x7f, closed_days: vec![ServiceDay(20_600)] },
    };
    let row = PassRow { standing: PassStanding::Revoked, until: None, uses: None };
    let used = UseMark {
        event: event_id(6),
        pass: pass_id(),
        gate: OTHER_GATE,
        at_ms: NOON * 1000,
        service_day: ServiceDay(20_614),
        direction: Direction::In,
        charged: true,
        annulled: false,
    };
    let count = ZoneTally {
        zone: LOT,
        basis: Basis::of(event_id(5), &recount()),
        counts: vec![ActorCount { actor: Actor::from(event_id(0)), entries: 12, exits: 4 }],
    };
    let signed = all_statements()[0].1.sign(&key(3));
    vec![
        ("statement", Change::Statement(ByteBuf::from(signed))),
        ("venue", Change::Venue(venue)),
        ("zone", Change::Zone(zone)),
        ("gate", Change::Gate(gate)),
        ("vendor", Change::Vendor(vendor)),
        ("product", Change::Product(full_product())),
        ("pass", Change::Pass(PassChange { pass: pass_id(), row })),
        ("use", Change::Use(used)),
        ("count", Change::Count(count)),
    ]
}

/// The match keeps [`changes`] complete: a new kind does not compile without a line here.
fn change_name(change: &Change) -> &'static str {
    match change {
        Change::Statement(_) => "statement",
        Change::Venue(_) => "venue",
        Change::Zone(_) => "zone",
        Change::Gate(_) => "gate",
        Change::Vendor(_) => "vendor",
        Change::Product(_) => "product",
        Change::Pass(_) => "pass",
        Change::Use(_) => "use",
        Change::Count(_) => "count",
        Change::Reset(_) => "reset",
        Change::Unknown(_) => "unknown",
    }
}

/// How many kinds of change there are.
const CHANGES: usize = 9;

/// A signed value: its bytes, and that they open to the value again.
fn signed<T: Signed + PartialEq + std::fmt::Debug>(file: &mut File, name: &str, value: &T, seed: u8) -> ByteBuf {
    let bytes = value.sign(&key(seed));
    assert_eq!(T::open(&bytes, &PublicKey::from(&key(seed))).as_ref(), Ok(value), "{name}");
    file.bytes(&format!("{name} signed"), &bytes);
    file.value(name, value);
    ByteBuf::from(bytes)
}

pub(super) fn sync_v1() -> File {
    let mut file = File::new("sync_v1");
    let enrol = Enrol {
        code: "ABCD2345".into(),
        key: PublicKey::from(&key(4)),
        model: "Raspberry Pi 4 Model B Rev 1.4".into(),
        software: "gate-agent 0.1.0".into(),
    };
    signed(&mut file, "enrol", &enrol, 4);
    // Those that there were when these bytes were frozen.
    let statements = all_statements()[..5].iter().map(|(_, s)| ByteBuf::from(s.sign(&key(3)))).collect();
    file.value(
        "enrolled",
        &Enrolled {
            venue: VENUE,
            venue_code: "P1".parse().unwrap(),
            root: PublicKey::from(&key(3)),
            device: DEVICE,
            gate: ENTRANCE,
            statements,
        },
    );
    let head = Head { event: event_id(7), hash: Hash([0x77; 32]) };
    let journal_head = JournalHead { venue: VENUE, head };
    let journal_head = signed(&mut file, "journal head", &journal_head, 4);
    let events = vec![ByteBuf::from(vec![1, 2, 3]), ByteBuf::from(vec![])];
    file.value("push", &Push { head: journal_head, events });
    let receipt = signed(&mut file, "receipt", &Receipt { venue: VENUE, upto: head }, 7);
    let outcomes = vec![ItemOutcome::Created, ItemOutcome::Exists, ItemOutcome::Parked { reason: "unreadable".into() }];
    file.value("push reply", &PushReply { outcomes, receipts: vec![receipt] });
    file.value("pull", &Pull { position: 17, head: Hash([0x33; 32]) });
    let mut names = std::collections::BTreeSet::new();
    for (name, change) in changes() {
        assert_eq!(name, change_name(&change));
        names.insert(name);
        file.value(&format!("change {name}"), &change);
    }
    // Those that came later are not in the chunk that was frozen.
    for (name, daily) in
        [("change reset", Some(Daily { minute: 180, since_ms: NOON * 1000 })), ("change reset off", None)]
    {
        let change = Change::Reset(ZoneReset { zone: LOT, daily });
        assert_eq!(change_name(&change), "reset");
        file.value(name, &change);
    }
    assert_eq!(names.len(), CHANGES, "a kind of change has no golden bytes");
    // The home gate came later; a product without one is written as before.
    file.value("change product home gate", &Change::Product(Product { home_gate: Some(ENTRANCE), ..full_product() }));
    let chunk = Chunk {
        venue: VENUE,
        from: 17,
        to: 17 + CHANGES as u64,
        previous: Hash([0x33; 32]),
        changes: changes().into_iter().map(|(_, change)| change).collect(),
    };
    file.text("chunk hash", chunk.hash().to_string());
    let chunk_head = chunk.hash();
    let chunk = signed(&mut file, "chunk", &chunk, 5);
    let as_of = AsOf { venue: VENUE, position: 26, head: chunk_head, as_of_ms: NOON * 1000 };
    let as_of = signed(&mut file, "as of", &as_of, 5);
    file.value("pull reply", &PullReply { chunks: vec![chunk], as_of: Some(as_of), more: false });
    let time = SignedTime { venue: VENUE, nonce: ByteBuf::from(vec![0x5a; 16]), now_ms: NOON * 1000 };
    signed(&mut file, "signed time", &time, 6);
    file.value("hint", &Hint { position: 26 });
    file
}

pub(super) fn request_signature() -> File {
    let mut file = File::new("request_signature");
    let signer = Signer9421 { device: DEVICE, created: NOON, nonce: "n0nce-0123456789".into() };
    for (name, method, path, query, body) in [
        ("push", "POST", "/v1/sync/events", "", b"body".as_slice()),
        ("live", "GET", "/v1/sync/live", "after=17", b"".as_slice()),
    ] {
        let request = Request { method, authority: "cloud.example:8443", path, query, body };
        let headers = sign(&request, &signer, &key(4));
        file.text(&format!("{name} content-digest"), headers.content_digest);
        file.text(&format!("{name} signature-input"), headers.signature_input);
        file.text(&format!("{name} signature"), headers.signature);
    }
    file
}
