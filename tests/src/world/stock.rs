//! A gate's memory, filled without a cloud: signed chunks made here, applied by the gate's own code.
//!
//! For benchmarks that need a hundred thousand or a million passes, and for power cuts; no network.

use std::path::Path;

use ed25519_dalek::SigningKey;
use gate_agent::identity::{Identity, IdentityFile};
use gate_agent::replica::{Replica, Start};
use gate_core::event::Head;
use gate_core::ids::{BootId, Cti, DeviceId, Direction, GateId, Hash, Kid, LaneId, PassId, VenueId, ZoneId};
use gate_core::keys::PublicKey;
use gate_core::pass::{Claims, IssuerKey, PassFlags, VISITOR_LIMIT, issue};
use gate_core::product::{OfflineScope, Product, ProductKind, RuleText, SecondScan};
use gate_core::statement::{DeviceKey, Duty, DutyKey, Statement, StatementBody};
use gate_core::sync::v1::{
    AsOf, CHUNK_LIMIT, Change, Chunk, Enrolled, GateRow, PassChange, PullReply, Receipt, Signed, VendorRow, VenueRow,
    ZoneRow,
};
use gate_core::time::{DayRule, Now, ServiceDay, Trust};
use gate_core::view::{Egress, PassRow, PassStanding, Vendor};
use serde_bytes::ByteBuf;
use uuid::Uuid;

const YEAR_S: i64 = 365 * 86_400;
/// Passes issued to be shown; those that only fill the replica have other ids.
const SHOWN: u8 = 0x5a;

/// A venue's keys and the passes it issued.
pub struct Stock {
    venue: VenueId,
    gate: GateId,
    device: DeviceId,
    zone: ZoneId,
    issuer: SigningKey,
    now: Now,
}

fn key(of: u8) -> SigningKey {
    SigningKey::from_bytes(&[of; 32])
}

impl Stock {
    /// A venue at this moment, Unix milliseconds.
    pub fn new(wall_ms: i64) -> Self {
        let id = |n: u128| Uuid::from_u128(n);
        let now = Now { wall_ms, mono_us: 1, boot: BootId(id(1)), trust: Trust::Ntp };
        Self {
            venue: VenueId(id(2)),
            gate: GateId(id(3)),
            device: DeviceId(id(4)),
            zone: ZoneId(id(5)),
            issuer: key(5),
            now,
        }
    }

    /// The moment it was made for.
    pub fn now(&self) -> Now {
        self.now
    }

    /// The gate's own row.
    pub fn gate_row(&self) -> GateRow {
        GateRow {
            id: self.gate,
            lane: LaneId(Uuid::from_u128(6)),
            name: "Entrance".to_owned(),
            zone: self.zone,
            direction: Direction::In,
            staffed: false,
            egress: Egress::Scan,
            open_ms: 100,
        }
    }

    /// The text of a pass that nobody has used.
    pub fn pass(&self, number: u32) -> anyhow::Result<String> {
        let now = self.now.wall_ms / 1000;
        let claims = Claims {
            vendor: "V1".parse()?,
            venue: "PK".parse()?,
            not_before: now - 3600,
            expires: now + 86_400,
            cti: cti(SHOWN, number),
            product: 1,
            flags: PassFlags::default(),
            subject: None,
        };
        Ok(issue(&claims, Kid(*b"iss1"), &self.issuer, VISITOR_LIMIT)?)
    }

    /// Lays out a gate's data folder: key, identity, and a replica with this many passes.
    pub fn fill(&self, data_dir: &Path, cloud_url: &str, passes: u32) -> anyhow::Result<Replica> {
        std::fs::create_dir_all(data_dir)?;
        let device_key = gate_agent::identity::device_key(&gate_agent::identity::key_path(data_dir))?;
        let enrolled = self.enrolled(PublicKey::from(&device_key));
        let identity = Identity::of(&enrolled, cloud_url);
        IdentityFile::of(&identity, &enrolled, Hash::ZERO).save(&gate_agent::identity::identity_path(data_dir))?;
        let start = Start { epoch: 1, now: self.now, software: "stock".to_owned() };
        let mut replica = Replica::open(&data_dir.join("replica.db"), start)?;
        replica.set_identity(&identity, &enrolled, self.now)?;
        let mut road = self.road(0, Hash::ZERO);
        replica.apply(&road.reply(self.settings(), None), self.now)?;
        let mut from = 0;
        while from < passes {
            let to = passes.min(from + CHUNK_LIMIT as u32);
            let rows = (from..to).map(|number| self.row(number)).collect();
            let as_of = (to == passes).then_some(self.now.wall_ms);
            replica.apply(&road.reply(rows, as_of), self.now)?;
            from = to;
        }
        Ok(replica)
    }

    /// The chain of changes, from where a gate stands.
    pub fn road(&self, position: u64, head: Hash) -> Road {
        Road { venue: self.venue, position, head }
    }

    /// The id of a pass from [`Stock::pass`].
    pub fn pass_id(&self, number: u32) -> PassId {
        PassId { vendor: vendor_code(), cti: cti(SHOWN, number) }
    }

    /// What the cloud says of a pass that only fills the replica.
    pub fn row(&self, number: u32) -> Change {
        self.told(number, PassStanding::Live)
    }

    /// The same with a standing.
    pub fn told(&self, number: u32, standing: PassStanding) -> Change {
        let row = PassRow { standing, until: None, uses: None };
        Change::Pass(PassChange { pass: self.told_id(number), row })
    }

    /// The id of such a pass.
    pub fn told_id(&self, number: u32) -> PassId {
        // Ids in no order at all, as random ones are.
        PassId { vendor: vendor_code(), cti: cti(1, number) }
    }

    /// The server's word that it holds a journal up to here.
    pub fn receipt(&self, upto: Head) -> ByteBuf {
        ByteBuf::from(Receipt { venue: self.venue, upto }.sign(&key(4)))
    }

    /// What the cloud answers to an enrolment.
    pub fn enrolled(&self, device_key: PublicKey) -> Enrolled {
        let duty = |duty: Duty, of: u8| StatementBody::Duty(DutyKey { duty, key: PublicKey::from(&key(of)) });
        let bodies = [
            duty(Duty::Settings, 2),
            duty(Duty::Time, 3),
            duty(Duty::Server, 4),
            StatementBody::Device(DeviceKey { device: self.device, gate: self.gate, key: device_key, revoked: false }),
            StatementBody::Issuer(IssuerKey {
                kid: Kid(*b"iss1"),
                vendor: vendor_code(),
                venue: venue_code(),
                key: PublicKey::from(&self.issuer),
                from: self.now.wall_ms / 1000 - YEAR_S,
                until: self.now.wall_ms / 1000 + YEAR_S,
                revoked: false,
            }),
        ];
        let statements = bodies
            .into_iter()
            .zip(1u64..)
            .map(|(body, number)| ByteBuf::from(Statement { venue: self.venue, number, body }.sign(&key(1))))
            .collect();
        Enrolled {
            venue: self.venue,
            venue_code: venue_code(),
            root: PublicKey::from(&key(1)),
            device: self.device,
            gate: self.gate,
            statements,
        }
    }

    /// What the cloud tells a gate first.
    pub fn settings(&self) -> Vec<Change> {
        let day_rule = DayRule { time_zone: "Europe/Bucharest".to_owned(), boundary_min: 180 };
        vec![
            Change::Venue(VenueRow { code: venue_code(), name: "Bench".to_owned(), day_rule }),
            Change::Zone(ZoneRow {
                id: self.zone,
                name: "Lot".to_owned(),
                parent: None,
                capacity: 1_000_000,
                warn_percent: 90,
                best_effort: false,
                rights_holder: Some(self.gate),
            }),
            Change::Gate(self.gate_row()),
            Change::Vendor(VendorRow {
                code: vendor_code(),
                standing: Vendor { active: true, weekdays: 127, closed_days: vec![ServiceDay(0)] },
            }),
            Change::Product(Product {
                number: 1,
                name: "Visitor".to_owned(),
                kind: ProductKind::Visitor,
                rules: vec![RuleText { name: "single".to_owned(), args: vec![] }],
                zones: vec![],
                second_scan: SecondScan::Hard,
                offline_scope: OfflineScope::Site,
                max_staleness_s: None,
                attention: None,
                open_ms: None,
                home_gate: None,
            }),
        ]
    }
}

fn venue_code() -> gate_core::ids::VenueCode {
    "PK".parse().unwrap_or_else(|_| unreachable!("two capitals are a venue code"))
}

fn vendor_code() -> gate_core::ids::VendorCode {
    "V1".parse().unwrap_or_else(|_| unreachable!("a capital and a digit are a vendor code"))
}

fn cti(kind: u8, number: u32) -> Cti {
    let hash = Hash::of("stock", &[[kind, 0, 0, 0], number.to_be_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.0[..16]);
    Cti(bytes)
}

/// The chain of chunks, as a cloud would sign it.
pub struct Road {
    venue: VenueId,
    position: u64,
    head: Hash,
}

impl Road {
    /// The next chunk, and if it is the last one how new the replica is with it, Unix milliseconds.
    pub fn reply(&mut self, changes: Vec<Change>, as_of_ms: Option<i64>) -> PullReply {
        let to = self.position + changes.len() as u64;
        let chunk = Chunk { venue: self.venue, from: self.position, to, previous: self.head, changes };
        self.position = to;
        self.head = chunk.hash();
        let as_of = as_of_ms.map(|as_of_ms| {
            let as_of = AsOf { venue: self.venue, position: self.position, head: self.head, as_of_ms };
            ByteBuf::from(as_of.sign(&key(2)))
        });
        PullReply { chunks: vec![ByteBuf::from(chunk.sign(&key(2)))], more: as_of.is_none(), as_of }
    }
}
