//! The inbox of contradictions: what happened apart from what should have happened, each with its evidence.
//!
//! A conflict is named by its kind and by what it is about, never by when it was noticed, so that finding it again changes
//! nothing. What follows from the stored facts alone is `derived`: it is taken back when a later fact explains it, and a
//! rebuild finds exactly the same. What a device said beside its facts, and what the service saw of the moment, is not.

use gate_core::ids::{DeviceId, GateId, Hash, PassId, VenueId, ZoneId};

use crate::store::{DbError, Tx, params};

macro_rules! kinds {
    ($($(#[doc = $what:literal])+ $name:ident = $text:literal,)+) => {
        /// What contradicts what.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Kind { $($(#[doc = $what])+ $name,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in the database and the API.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

kinds! {
    /// A pass was used more often than it allows.
    DoubleUse = "double_use",
    /// A pass let somebody in after it was withdrawn, replaced or put on hold.
    RevokedUse = "revoked_use",
    /// More are in a zone than it holds.
    OverCapacity = "over_capacity",
    /// Somebody left on a day, or before a recount, whose numbers were told already.
    LateExit = "late_exit",
    /// Something went through for an admission that was taken back.
    LatePassage = "passage_after_annulment",
    /// A gate's clock stepped, or is ahead of ours.
    ClockFault = "clock_fault",
    /// A device has two histories.
    Fork = "fork",
    /// A device goes on from an older state than it has shown.
    JournalShorter = "journal_shorter",
    /// An item could not be applied and is kept aside.
    Poison = "poison",
    /// Two people counted at once.
    RecountLost = "recount_lost",
    /// More were seen leaving a zone than coming in.
    Drift = "drift",
    /// A gate knows changes that this service has lost.
    CloudRestored = "cloud_restored",
    /// A device that was withdrawn goes on sending.
    WithdrawnDevice = "withdrawn_device",
    /// A zone's number should be checked by counting ([`crate::count_due`]): a suggestion, nothing contradicts.
    CountDue = "count_due",
}

/// A contradiction and what shows it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What contradicts what.
    pub kind: Kind,
    /// What it is about; with the kind, its name.
    pub key: String,
    /// Follows from the stored facts alone.
    pub derived: bool,
    /// Where.
    pub gate: Option<GateId>,
    /// By which device.
    pub device: Option<DeviceId>,
    /// In which zone.
    pub zone: Option<ZoneId>,
    /// With which pass, and of which product.
    pub pass: Option<(PassId, u16)>,
    /// What was found: event ids, or hashes of parked items.
    pub events: Vec<String>,
    /// What that contradicts.
    pub against: Vec<String>,
    /// Both in a sentence.
    pub text: String,
    /// The numbers in it, by name, for a page that tells it in its own words; null if there are none.
    pub details: serde_json::Value,
    /// When it happened, Unix milliseconds.
    pub at_ms: i64,
    /// When what shows it came in, Unix milliseconds.
    pub raised_ms: i64,
}

impl Finding {
    /// A finding about nothing in particular yet.
    pub fn new(kind: Kind, key: impl Into<String>, text: impl Into<String>, raised_ms: i64) -> Self {
        Self {
            kind,
            key: key.into(),
            derived: false,
            gate: None,
            device: None,
            zone: None,
            pass: None,
            events: vec![],
            against: vec![],
            text: text.into(),
            details: serde_json::Value::Null,
            at_ms: raised_ms,
            raised_ms,
        }
    }

    /// Its name.
    pub fn id(&self) -> String {
        id(self.kind, &self.key)
    }
}

/// The name of a conflict.
pub fn id(kind: Kind, key: &str) -> String {
    Hash::of("gateconflict/1", format!("{}\n{key}", kind.name()).as_bytes()).to_string()
}

/// Puts a conflict into the inbox; true if it was not known. One that somebody resolved stays resolved.
pub async fn raise(tx: &mut Tx, venue: VenueId, finding: &Finding) -> Result<bool, DbError> {
    let list = |items: &[String]| serde_json::to_string(items).unwrap_or_default();
    let (events, against) = (list(&finding.events), list(&finding.against));
    let details = (!finding.details.is_null()).then(|| finding.details.to_string());
    let id = finding.id();
    let updated = tx
        .execute(
            "UPDATE conflicts SET standing = 1, evidence = $1, events = $2, against = $3, at_ms = $4, details = $5 WHERE venue_id = $6 AND conflict_id = $7",
            params![finding.text.as_str(), events.as_str(), against.as_str(), finding.at_ms, details.clone(), venue, id.as_str()],
        )
        .await?;
    if updated > 0 {
        return Ok(false);
    }
    let (pass, product) = finding.pass.clone().unzip();
    tx.execute(
        "INSERT INTO conflicts (venue_id, conflict_id, kind, derived, standing, gate_id, device_id, zone_id, vendor_code, cti, product, evidence, events, against, at_ms, raised_ms, details) VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        params![
            venue, id, finding.kind.name(), finding.derived, finding.gate, finding.device, finding.zone,
            pass.as_ref().map(|pass| pass.vendor.to_string()), pass.as_ref().map(|pass| pass.cti), product,
            finding.text.as_str(), events, against, finding.at_ms, finding.raised_ms, details
        ],
    )
    .await?;
    Ok(true)
}

/// It is not so any more: nothing remains of a conflict that nobody touched, one that somebody did is marked.
pub async fn withdraw(tx: &mut Tx, venue: VenueId, kind: Kind, key: &str) -> Result<(), DbError> {
    let id = id(kind, key);
    let gone = tx
        .execute(
            "DELETE FROM conflicts WHERE venue_id = $1 AND conflict_id = $2 AND assigned_to IS NULL AND resolved_ms IS NULL",
            params![venue, id.as_str()],
        )
        .await?;
    if gone == 0 {
        end(tx, venue, &id).await?;
    }
    Ok(())
}

/// It was so, and is over.
pub async fn end(tx: &mut Tx, venue: VenueId, id: &str) -> Result<(), DbError> {
    tx.execute(
        "UPDATE conflicts SET standing = 0 WHERE venue_id = $1 AND conflict_id = $2 AND standing = 1",
        params![venue, id],
    )
    .await
    .map(|_| ())
}

/// What was suggested is done, or there is no reason for it any more: nobody has to resolve it.
pub async fn settle(tx: &mut Tx, venue: VenueId, id: &str, now_ms: i64) -> Result<(), DbError> {
    tx.execute(
        "UPDATE conflicts SET standing = 0, resolved_ms = COALESCE(resolved_ms, $1) WHERE venue_id = $2 AND conflict_id = $3 AND standing = 1",
        params![now_ms, venue, id],
    )
    .await
    .map(|_| ())
}

/// Takes back everything that follows from facts, before the facts are looked at again.
pub async fn forget_derived(tx: &mut Tx, venue: VenueId) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM conflicts WHERE venue_id = $1 AND derived = 1 AND assigned_to IS NULL AND resolved_ms IS NULL",
        params![venue],
    )
    .await?;
    tx.execute("UPDATE conflicts SET standing = 0 WHERE venue_id = $1 AND derived = 1", params![venue])
        .await
        .map(|_| ())
}
