//! The venue that tests speak of: one vendor, one entrance, one exit, fixed keys and fixed times.
//!
//! Golden bytes are made of these values, so changing one here shows as a changed wire.

use ed25519_dalek::SigningKey;
use uuid::Uuid;

use crate::decision::{Admission, DecisionInput, Verdict};
use crate::ids::{BootId, Cti, DeviceId, Direction, EventId, GateId, Kid, LaneId, VenueId, ZoneId};
use crate::keys::PublicKey;
use crate::pass::{Claims, IssuerKey, Keyring, PassFlags, ScannedPass, VISITOR_LIMIT, issue, open};
use crate::product::{OfflineScope, Product, ProductKind, Rule, SecondScan};
use crate::time::{DayRule, Now, Trust};
use crate::view::{Egress, LaneContext, LastUse, Readiness, ReplicaView, Uses, Vendor, ZoneSpace};

/// 2026-06-10 12:00:00 in Bucharest (a Wednesday), Unix seconds.
pub const NOON: i64 = 1_781_082_000;
/// One day, seconds.
pub const DAY: i64 = 86_400;
/// The kid of [`issuer_key`].
pub const KID: Kid = Kid([0xa1, 0xb2, 0xc3, 0xd4]);

/// The venue.
pub const VENUE: VenueId = VenueId(Uuid::from_u128(0x01));
/// The entrance.
pub const ENTRANCE: GateId = GateId(Uuid::from_u128(0x02));
/// Its lane.
pub const LANE: LaneId = LaneId(Uuid::from_u128(0x03));
/// The lot.
pub const LOT: ZoneId = ZoneId(Uuid::from_u128(0x04));
/// The entrance's device.
pub const DEVICE: DeviceId = DeviceId(Uuid::from_u128(0x05));
/// Another gate.
pub const OTHER_GATE: GateId = GateId(Uuid::from_u128(0x06));

/// A key that is the same in every run.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The vendor's issuing key.
pub fn signing_key() -> SigningKey {
    key(1)
}

/// What the venue's root says about [`signing_key`].
pub fn issuer_key() -> IssuerKey {
    IssuerKey {
        kid: KID,
        vendor: "V1".parse().unwrap(),
        venue: "P1".parse().unwrap(),
        key: PublicKey::from(&signing_key()),
        from: NOON - 30 * DAY,
        until: NOON + 30 * DAY,
        revoked: false,
    }
}

/// The ring with that one key.
pub fn keyring() -> Keyring {
    Keyring::from_iter([issuer_key()])
}

/// A visitor pass that is good from one hour before noon to one after.
pub fn claims() -> Claims {
    Claims {
        vendor: "V1".parse().unwrap(),
        venue: "P1".parse().unwrap(),
        not_before: NOON - 3600,
        expires: NOON + 3600,
        cti: Cti(*b"0123456789abcdef"),
        product: 1,
        flags: PassFlags::default(),
        subject: None,
    }
}

/// Its text.
pub fn pass_text() -> String {
    issue(&claims(), KID, &signing_key(), VISITOR_LIMIT).unwrap()
}

/// The pass as a reader finds it.
pub fn scanned(claims: &Claims) -> ScannedPass {
    let mut scanned = open(&pass_text(), &keyring());
    scanned.finding = crate::pass::Finding::Genuine { claims: claims.clone(), kid: KID };
    scanned
}

/// A visitor product with these rules.
pub fn product(rules: &[Rule]) -> Product {
    Product {
        number: 1,
        name: "Day ticket".into(),
        kind: ProductKind::Visitor,
        rules: rules.iter().map(Rule::text).collect(),
        zones: vec![],
        second_scan: SecondScan::Hard,
        offline_scope: OfflineScope::Site,
        max_staleness_s: None,
        attention: None,
        open_ms: None,
        home_gate: None,
    }
}

/// Days that begin at 03:00 in Bucharest.
pub fn day_rule() -> DayRule {
    DayRule { time_zone: "Europe/Bucharest".into(), boundary_min: 180 }
}

/// A replica that knows everything and has room.
pub fn view() -> ReplicaView {
    ReplicaView {
        venue: "P1".parse().unwrap(),
        day_rule: day_rule(),
        age_ms: Some(60_000),
        position: 17,
        vendor: Some(Vendor { active: true, weekdays: 0x7f, closed_days: vec![] }),
        row: None,
        product: Some(product(&[Rule::Single])),
        uses: Uses::default(),
        spaces: vec![ZoneSpace { zone: LOT, rights_held: 5, best_effort: false, generation: 2 }],
        right_gates: vec![],
    }
}

/// A use of the pass at the other gate, a minute before noon.
pub fn last_use(direction: Direction) -> LastUse {
    LastUse {
        at_ms: NOON * 1000 - 60_000,
        gate: OTHER_GATE,
        gate_name: "South entrance".into(),
        direction,
        elapsed_ms: None,
    }
}

/// The entrance, unattended and ready.
pub fn entrance() -> LaneContext {
    LaneContext {
        gate: ENTRANCE,
        lane: LANE,
        direction: Direction::In,
        staffed: false,
        egress: Egress::Scan,
        readiness: Readiness::Ready,
    }
}

/// A moment, Unix milliseconds, told by NTP.
pub fn at_ms(wall_ms: i64) -> Now {
    Now { wall_ms, mono_us: 5_000_000, boot: BootId(Uuid::from_u128(0x07)), trust: Trust::Ntp }
}

/// Noon, told by NTP.
pub fn noon() -> Now {
    at_ms(NOON * 1000)
}

/// The event of this number in the entrance's journal.
pub fn event_id(seq: u64) -> EventId {
    EventId { device: DEVICE, epoch: 0x0102_0304_0506_0708, seq }
}

/// An admissible presentation at noon, as software with the first rules wrote it down.
pub fn input() -> DecisionInput {
    // The version with which the golden files were frozen; entries are decided as then.
    DecisionInput { pass: scanned(&claims()), view: view(), lane: entrance(), now: noon(), rules: 1 }
}

/// The admission that [`input`] leads to.
pub fn admission() -> Admission {
    let Verdict::Admit(admission) = input().replay() else { panic!("the example is admissible") };
    admission
}

/// Repeatable dice (xorshift64*): the same seed gives the same throws.
pub struct Dice(u64);

impl Dice {
    /// Dice that throw the sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.any() % end
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
