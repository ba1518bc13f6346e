//! The wire between gate and cloud, version 1. It never changes: gates update later than the cloud.
//!
//! Bodies are canonical CBOR (`application/cbor`). What must survive any transport (cloud, LAN, USB stick) is signed
//! inside the body: chunks and as-of by the settings key, receipts by the server's key, time by the time key, heads by
//! the device.

use ed25519_dalek::SigningKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::canonical;
use crate::cose::{self, Purpose};
use crate::event::Head;
use crate::ids::{DeviceId, Direction, EventId, GateId, Hash, LaneId, PassId, VenueCode, VenueId, ZoneId};
use crate::keys::PublicKey;
use crate::occupancy::{ActorCount, Basis};
use crate::product::Product;
use crate::reset::Daily;
use crate::time::{DayRule, ServiceDay};
use crate::view::{Egress, LaneContext, PassRow, Readiness, Vendor};

/// The media type of every body.
pub const MEDIA_TYPE: &str = "application/cbor";
/// Most events in one push.
pub const PUSH_LIMIT: usize = 500;
/// Most bytes of events in one push.
pub const PUSH_BYTES: usize = 256 * 1024;
/// Most changes in one chunk.
pub const CHUNK_LIMIT: usize = 500;
/// Where a device enrols (POST, [`Enrol`] signed by the new key, answers [`Enrolled`]).
pub const ENROL_PATH: &str = "/v1/enrol";
/// Where events go (POST, [`Push`], answers [`PushReply`]).
pub const EVENTS_PATH: &str = "/v1/sync/events";
/// Where changes come from (POST, [`Pull`], answers [`PullReply`]).
pub const CHANGES_PATH: &str = "/v1/sync/changes";
/// Where signed time comes from (GET with `nonce`, answers a signed [`SignedTime`]); needs no signature.
pub const TIME_PATH: &str = "/v1/time";
/// The held channel (WebSocket, [`Hint`] messages), authenticated when opened.
pub const LIVE_PATH: &str = "/v1/sync/live";

/// A value signed for a purpose.
pub trait Signed: Serialize + DeserializeOwned {
    /// What its signature is for.
    const PURPOSE: Purpose;

    /// Signs it.
    fn sign(&self, key: &SigningKey) -> Vec<u8> {
        cose::sign(Self::PURPOSE, cose::kid_of(&PublicKey::from(key)), canonical::encode(self), key)
    }

    /// Opens it, signed by this key.
    fn open(bytes: &[u8], key: &PublicKey) -> Result<Self, SignedError> {
        let payload = cose::open(Self::PURPOSE, bytes, key).map_err(|_| SignedError::Signature)?;
        canonical::decode(&payload).map_err(|e| SignedError::Structure(e.to_string()))
    }
}

/// Why a signed value is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignedError {
    /// The signature does not hold under the key that must have made it.
    #[error("the signature does not hold")]
    Signature,
    /// Signed, but not this structure.
    #[error("signed but unreadable: {0}")]
    Structure(String),
}

/// A new device asks to be the eyes of a gate. The body is this, signed by the new key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enrol {
    /// The one-time code, as shown to the installer, upper case without hyphens.
    pub code: String,
    /// The new device's key; the body is signed by it.
    pub key: PublicKey,
    /// What machine it is.
    pub model: String,
    /// Its software.
    pub software: String,
}

impl Signed for Enrol {
    const PURPOSE: Purpose = Purpose::Enrolment;
}

/// The answer: who the device is from now on, and the root it must pin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// The venue.
    pub venue: VenueId,
    /// Its code in passes.
    pub venue_code: VenueCode,
    /// The root key to pin.
    pub root: PublicKey,
    /// The new device.
    pub device: DeviceId,
    /// Its gate.
    pub gate: GateId,
    /// All statements in force, signed by the root.
    pub statements: Vec<ByteBuf>,
}

/// Events going up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Push {
    /// The journal's head when this was sent, signed by the device ([`JournalHead`]).
    pub head: ByteBuf,
    /// Canonical events, oldest first.
    pub events: Vec<ByteBuf>,
}

/// A device's signed word about where its journal stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JournalHead {
    /// The venue.
    pub venue: VenueId,
    /// The head.
    pub head: Head,
}

impl Signed for JournalHead {
    const PURPOSE: Purpose = Purpose::Head;
}

/// What became of the events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PushReply {
    /// One outcome per event sent, in the same order.
    pub outcomes: Vec<ItemOutcome>,
    /// How far the cloud holds each epoch without a gap ([`Receipt`], signed by the server's key).
    pub receipts: Vec<ByteBuf>,
}

/// What became of one event. Nothing is ever deleted because of an outcome.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemOutcome {
    /// Stored now.
    Created,
    /// Stored before; the same bytes.
    Exists,
    /// Kept aside for a person: it could not be applied.
    Parked {
        /// Why, for the dashboard.
        reason: String,
    },
}

/// The cloud's signed word that it holds an epoch up to and including `upto`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The venue.
    pub venue: VenueId,
    /// The last event of the contiguous prefix, and its hash.
    pub upto: Head,
}

impl Signed for Receipt {
    const PURPOSE: Purpose = Purpose::Receipt;
}

/// A gate asks what changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pull {
    /// Up to which change it has.
    pub position: u64,
    /// The hash of the last chunk it applied; [`Hash::ZERO`] at the start.
    pub head: Hash,
}

/// What changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PullReply {
    /// Signed chunks that follow on each other.
    pub chunks: Vec<ByteBuf>,
    /// How new the last of them is ([`AsOf`], signed by the settings key); absent while more chunks wait.
    pub as_of: Option<ByteBuf>,
    /// There is more to pull.
    pub more: bool,
}

/// Replica changes, signed so that they can travel by any road unchanged and can't be rolled back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chunk {
    /// The venue.
    pub venue: VenueId,
    /// First change in it.
    pub from: u64,
    /// First change no longer in it.
    pub to: u64,
    /// Hash of the chunk before; [`Hash::ZERO`] for the first.
    pub previous: Hash,
    /// The changes, each as the canonical bytes of itself: one of a kind that this software does not know is
    /// [`Change::Unknown`] and does not keep the others from being read.
    #[serde(with = "sealed")]
    pub changes: Vec<Change>,
}

impl Signed for Chunk {
    const PURPOSE: Purpose = Purpose::Chunk;
}

impl Chunk {
    /// The hash by which the next chunk names this one.
    pub fn hash(&self) -> Hash {
        Hash::of("gatechunk/1", &canonical::encode(self))
    }
}

/// The settings key's word that at `as_of_ms` there was nothing after `head`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AsOf {
    /// The venue.
    pub venue: VenueId,
    /// Up to which change.
    pub position: u64,
    /// The hash of the last chunk.
    pub head: Hash,
    /// When, Unix milliseconds.
    pub as_of_ms: i64,
}

impl Signed for AsOf {
    const PURPOSE: Purpose = Purpose::AsOf;
}

/// The time, as the time key signs it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedTime {
    /// The venue.
    pub venue: VenueId,
    /// What the gate asked with, so that an old answer is no answer.
    pub nonce: ByteBuf,
    /// Unix milliseconds.
    pub now_ms: i64,
}

impl Signed for SignedTime {
    const PURPOSE: Purpose = Purpose::Time;
}

/// A message on the held channel: pull now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hint {
    /// There are changes up to here.
    pub position: u64,
}

/// One change of the replica. A later change of the same thing replaces the earlier one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A statement signed by the root.
    Statement(ByteBuf),
    /// The venue's settings.
    Venue(VenueRow),
    /// A zone.
    Zone(ZoneRow),
    /// A gate.
    Gate(GateRow),
    /// A vendor. Its name stays in the cloud.
    Vendor(VendorRow),
    /// A product.
    Product(Product),
    /// A pass that something happened to, or a subscription.
    Pass(PassChange),
    /// An admission that another gate reported.
    Use(UseMark),
    /// What all devices together have counted in a zone, as the cloud knows it.
    Count(ZoneTally),
    /// At what time of the day a zone begins again with nobody in it, if it does.
    Reset(ZoneReset),
    /// A change of a kind that came after this software, as it was signed. Never written as such.
    #[serde(skip)]
    Unknown(ByteBuf),
}

/// Changes travel as byte strings within their chunk, so that an old gate can step over a new kind.
mod sealed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_bytes::ByteBuf;

    use super::Change;
    use crate::canonical;

    pub(super) fn serialize<S: Serializer>(changes: &[Change], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = |change: &Change| match change {
            Change::Unknown(bytes) => bytes.clone(),
            Change::Statement(_)
            | Change::Venue(_)
            | Change::Zone(_)
            | Change::Gate(_)
            | Change::Vendor(_)
            | Change::Product(_)
            | Change::Pass(_)
            | Change::Use(_)
            | Change::Count(_)
            | Change::Reset(_) => ByteBuf::from(canonical::encode(change)),
        };
        changes.iter().map(bytes).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Change>, D::Error> {
        let sealed = Vec::<ByteBuf>::deserialize(deserializer)?;
        let open = |bytes: ByteBuf| canonical::decode(&bytes).unwrap_or(Change::Unknown(bytes));
        Ok(sealed.into_iter().map(open).collect())
    }
}

/// A venue's settings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VenueRow {
    /// Its code in passes.
    pub code: VenueCode,
    /// What people call it.
    pub name: String,
    /// When its days begin.
    pub day_rule: DayRule,
}

/// A zone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZoneRow {
    /// The zone.
    pub id: ZoneId,
    /// What people call it.
    pub name: String,
    /// The zone around it.
    pub parent: Option<ZoneId>,
    /// How many may be in it.
    pub capacity: u32,
    /// From which share of it entrances warn, percent.
    pub warn_percent: u8,
    /// Lets people in without a right.
    pub best_effort: bool,
    /// The one gate that may spend its capacity rights.
    pub rights_holder: Option<GateId>,
}

/// A gate and its lane.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GateRow {
    /// The gate.
    pub id: GateId,
    /// Its lane.
    pub lane: LaneId,
    /// What people call it.
    pub name: String,
    /// The zone it leads into or out of.
    pub zone: ZoneId,
    /// Which way.
    pub direction: Direction,
    /// Staff stand by.
    pub staffed: bool,
    /// How one leaves, where it leads out.
    pub egress: Egress,
    /// How long it opens, milliseconds.
    pub open_ms: u32,
}

impl GateRow {
    /// What `decide` is told of the gate's lane.
    pub fn lane_context(&self, readiness: Readiness) -> LaneContext {
        LaneContext {
            gate: self.id,
            lane: self.lane,
            direction: self.direction,
            staffed: self.staffed,
            egress: self.egress,
            readiness,
        }
    }
}

/// A vendor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VendorRow {
    /// Its code in passes.
    pub code: crate::ids::VendorCode,
    /// Whether its passes are good.
    pub standing: Vendor,
}

/// A zone's daily reset. Apart from the zone's row, so that a gate which does not know it still takes the row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZoneReset {
    /// The zone.
    pub zone: ZoneId,
    /// When; `None` where its count goes on for ever.
    pub daily: Option<Daily>,
}

/// What happened to a pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PassChange {
    /// The pass.
    pub pass: PassId,
    /// Its row from now on.
    pub row: PassRow,
}

/// An admission, as other gates need to know it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UseMark {
    /// The event that authorised it.
    pub event: EventId,
    /// The pass.
    pub pass: PassId,
    /// Where.
    pub gate: GateId,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// The service day it charged.
    pub service_day: ServiceDay,
    /// Which way.
    pub direction: Direction,
    /// Whether it took a use.
    pub charged: bool,
    /// Its own device annulled it.
    pub annulled: bool,
}

/// A zone's count as the cloud knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ZoneTally {
    /// The zone.
    pub zone: ZoneId,
    /// The recount it rests on.
    pub basis: Basis,
    /// What each actor has counted since.
    pub counts: Vec<ActorCount>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::*;

    #[test]
    fn what_is_signed_for_one_purpose_is_nothing_for_another() {
        let venue = VENUE;
        let head = Head { event: event_id(1), hash: Hash([1; 32]) };
        let public = PublicKey::from(&key(5));
        // A head and a receipt look alike inside; only what they were signed for tells a device's word from the cloud's.
        let head_bytes = JournalHead { venue, head }.sign(&key(5));
        assert_eq!(Receipt::open(&head_bytes, &public), Err(SignedError::Signature));
        let receipt_bytes = Receipt { venue, upto: head }.sign(&key(5));
        assert_eq!(JournalHead::open(&receipt_bytes, &public), Err(SignedError::Signature));
        assert_eq!(Receipt::open(&receipt_bytes, &PublicKey::from(&key(6))), Err(SignedError::Signature));
        let mislabelled = cose::sign(
            Purpose::Receipt,
            cose::kid_of(&public),
            canonical::encode(&JournalHead { venue, head }),
            &key(5),
        );
        assert!(matches!(Receipt::open(&mislabelled, &public), Err(SignedError::Structure(_))));
    }

    #[test]
    fn a_chunks_hash_names_everything_in_it() {
        let chunk = Chunk { venue: VENUE, from: 3, to: 4, previous: Hash::ZERO, changes: vec![] };
        let others = [
            Chunk { from: 2, ..chunk.clone() },
            Chunk { to: 5, ..chunk.clone() },
            Chunk { previous: Hash([1; 32]), ..chunk.clone() },
            Chunk { changes: vec![Change::Statement(ByteBuf::new())], ..chunk.clone() },
        ];
        for other in others {
            assert_ne!(other.hash(), chunk.hash(), "{other:?}");
        }
    }

    #[test]
    fn a_gate_steps_over_a_change_of_a_later_kind_and_keeps_its_place_in_the_chain() {
        let later = ByteBuf::from(canonical::encode(&std::collections::BTreeMap::from([("moon", 1)])));
        let known = Change::Statement(ByteBuf::from(vec![1, 2, 3]));
        let chunk = Chunk {
            venue: VenueId(uuid::Uuid::from_u128(1)),
            from: 4,
            to: 6,
            previous: Hash::ZERO,
            changes: vec![Change::Unknown(later.clone()), known.clone()],
        };
        let bytes = canonical::encode(&chunk);
        let read: Chunk = canonical::decode(&bytes).unwrap();
        assert_eq!(read.changes, [Change::Unknown(later), known]);
        assert_eq!(read.hash(), chunk.hash());
    }
}
