//! What the venue's root signs: numbered statements about keys.
//!
//! A gate pins the root at enrolment and believes nothing else. Statements are numbered so that an older one can't undo a
//! newer one: for each subject the highest number wins.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::cose::{self, Purpose};
use crate::ids::{DeviceId, GateId, Hash, VenueId};
use crate::keys::PublicKey;
use crate::pass::IssuerKey;

/// The subject of the word that takes wrong signed time back.
pub const TIME: &str = "time";

/// A statement of a venue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// Whose.
    pub venue: VenueId,
    /// Its number; grows by one with each statement of the venue.
    pub number: u64,
    /// What it says.
    pub body: StatementBody,
}

/// What a statement says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementBody {
    /// This key signs passes for this vendor at this venue, or no longer does.
    Issuer(IssuerKey),
    /// This device watches this gate.
    Device(DeviceKey),
    /// This key has a duty for the whole venue.
    Duty(DutyKey),
    /// The chain of changes was lost from here on: begin again.
    Chain(ChainCut),
    /// Time that was signed was wrong: forget it.
    Time(TimeReset),
}

/// A device's key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceKey {
    /// The device.
    pub device: DeviceId,
    /// The gate it watches.
    pub gate: GateId,
    /// Its key.
    pub key: PublicKey,
    /// Nothing it says from now on is believed.
    pub revoked: bool,
}

/// A key with a duty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DutyKey {
    /// Which duty.
    pub duty: Duty,
    /// The key; a later statement for the same duty replaces it.
    pub key: PublicKey,
}

/// The service was restored from a backup: what it told gates after the backup was made is void.
///
/// Only the root can say so, so that nobody else can make a gate forget what it was told. Gates that knew more than the
/// backup take the whole chain anew; the number of the statement says that of two cuts the later one holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChainCut {
    /// How many changes the gate had applied that was found to know more.
    pub position: u64,
    /// The hash of the last chunk it had applied.
    pub head: Hash,
}

/// The service's own clock was wrong while it signed the time: what gates were told is void.
///
/// Signed time only ever raises the floor below which a gate believes no clock, so nobody but the root can undo a mistake,
/// and an older word can't be played back: of two the higher number holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimeReset {
    /// What has certainly passed: the time at which this was signed, by a clock that was set right, Unix milliseconds.
    pub floor_ms: i64,
}

/// What a venue key is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Signs replica changes and how new they are.
    Settings,
    /// Signs the time.
    Time,
    /// Signs receipts for events.
    Server,
}

/// Why a statement is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StatementError {
    /// Not signed by the pinned root.
    #[error("the statement is not signed by this venue's root")]
    Signature,
    /// The root signed something that is not a statement.
    #[error("the statement can't be read: {0}")]
    Structure(String),
    /// It belongs to another venue.
    #[error("the statement belongs to another venue")]
    Venue,
}

impl Statement {
    /// Signs the statement with the venue's root.
    pub fn sign(&self, root: &SigningKey) -> Vec<u8> {
        let kid = cose::kid_of(&PublicKey::from(root));
        cose::sign(Purpose::Statement, kid, crate::canonical::encode(self), root)
    }

    /// Opens a statement that must be this venue's.
    pub fn open(bytes: &[u8], venue: VenueId, root: &PublicKey) -> Result<Self, StatementError> {
        let payload = cose::open(Purpose::Statement, bytes, root).map_err(|_| StatementError::Signature)?;
        let statement: Self =
            crate::canonical::decode(&payload).map_err(|e| StatementError::Structure(e.to_string()))?;
        if statement.venue == venue { Ok(statement) } else { Err(StatementError::Venue) }
    }

    /// What the statement is about: of two with one subject, the higher number holds.
    pub fn subject(&self) -> String {
        match &self.body {
            StatementBody::Issuer(issuer) => format!("issuer/{}", issuer.key),
            StatementBody::Device(device) => format!("device/{}", device.device),
            StatementBody::Duty(duty) => match duty.duty {
                Duty::Settings => "duty/settings".to_owned(),
                Duty::Time => "duty/time".to_owned(),
                Duty::Server => "duty/server".to_owned(),
            },
            StatementBody::Chain(_) => "chain".to_owned(),
            StatementBody::Time(_) => TIME.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::*;
    use crate::ids::VenueId;

    #[test]
    fn only_this_venues_root_is_believed_and_only_in_statements() {
        let statement = Statement { venue: VENUE, number: 7, body: StatementBody::Issuer(issuer_key()) };
        let root = PublicKey::from(&key(3));
        let bytes = statement.sign(&key(3));
        let open = |bytes: &[u8]| Statement::open(bytes, VENUE, &root);
        assert_eq!(open(&bytes), Ok(statement.clone()));
        let elsewhere = Statement { venue: VenueId(uuid::Uuid::from_u128(99)), ..statement.clone() };
        assert_eq!(open(&elsewhere.sign(&key(3))), Err(StatementError::Venue));
        assert_eq!(open(&statement.sign(&key(4))), Err(StatementError::Signature), "another key");
        let payload = crate::canonical::encode(&statement);
        let kid = cose::kid_of(&root);
        for purpose in [Purpose::Pass, Purpose::Chunk, Purpose::Head, Purpose::Time] {
            let other = cose::sign(purpose, kid, payload.clone(), &key(3));
            assert_eq!(open(&other), Err(StatementError::Signature), "{purpose:?}");
        }
        let garbage = cose::sign(Purpose::Statement, kid, vec![0xa0], &key(3));
        assert!(matches!(open(&garbage), Err(StatementError::Structure(_))));
        let mut number = payload.clone();
        number.push(0);
        let trailing = cose::sign(Purpose::Statement, kid, number, &key(3));
        assert!(matches!(open(&trailing), Err(StatementError::Structure(_))), "trailing byte");
        // A statement about a weak key can't even be read, so nobody can be made to register one.
        let weak: [u8; 32] = std::array::from_fn(|at| u8::from(at == 0));
        let at = payload.windows(32).position(|window| window == issuer_key().key.as_bytes()).unwrap();
        let mut with_weak = payload;
        with_weak[at..at + 32].copy_from_slice(&weak);
        let weak = cose::sign(Purpose::Statement, kid, with_weak, &key(3));
        assert!(matches!(open(&weak), Err(StatementError::Structure(_))), "weak key");
    }

    #[test]
    fn statements_about_one_thing_have_one_subject() {
        let of = |body| Statement { venue: VENUE, number: 1, body }.subject();
        let issuer = of(StatementBody::Issuer(issuer_key()));
        let withdrawn = IssuerKey { revoked: true, kid: crate::ids::Kid([0; 4]), ..issuer_key() };
        assert_eq!(issuer, of(StatementBody::Issuer(withdrawn)), "a key is withdrawn whatever it is called");
        let other = IssuerKey { key: PublicKey::from(&key(2)), ..issuer_key() };
        assert_ne!(issuer, of(StatementBody::Issuer(other)));
        let cut = |position| of(StatementBody::Chain(ChainCut { position, head: Hash::ZERO }));
        assert_eq!(cut(4), cut(9), "of two cuts the later one holds");
        let time = |floor_ms| of(StatementBody::Time(TimeReset { floor_ms }));
        assert_eq!(time(4), time(9), "and of two words about the time");
        let duty = |duty| of(StatementBody::Duty(DutyKey { duty, key: PublicKey::from(&key(5)) }));
        assert_ne!(duty(Duty::Time), duty(Duty::Settings));
        assert_ne!(duty(Duty::Time), duty(Duty::Server));
    }
}
