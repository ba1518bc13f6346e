//! From scanned text to believed claims, and from claims to text.
//!
//! Order: length, prefix, Base45, COSE shape, key, signature, claims, binding of key to vendor and venue.
//! Nothing in the text is used before its signature holds. Time, venue and use are `decide`'s business.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use super::claims::{Claims, ClaimsError};
use super::keyring::{IssuerKey, Keyring};
use crate::cose::{self, Envelope, Purpose};
use crate::ids::{Hash, Kid};

/// The prefix of a pass of this version.
const PREFIX: &str = "GP1:";
/// A text longer than this is no pass, whatever is in it (characters; ASCII, so also bytes).
const TEXT_LIMIT: usize = 400;
/// A token longer than this is no pass.
const TOKEN_LIMIT: usize = 300;
/// The longest visitor pass in bytes: `GP1:` + Base45 of it is 195 characters, the room of QR version 6-L.
pub const VISITOR_LIMIT: usize = 127;
/// The longest pass of any kind in bytes: with the prefix it fits QR version 8-M (221 characters).
pub const PASS_LIMIT: usize = 144;

/// What a reader found in one text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScannedPass {
    /// SHA-256 of the scanned text: names the presentation in the journal without keeping the token.
    pub token: Hash,
    /// Genuine, or not and why.
    pub finding: Finding,
}

/// Whether a text is a pass that a known key signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The signature holds; the claims may be believed.
    Genuine {
        /// What it says.
        claims: Claims,
        /// The key that signed it.
        kid: Kid,
    },
    /// It is not; nothing in it is believed.
    Defective(Defect),
}

/// Why a text is not a pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// Some other text: a web address, another system's ticket.
    NotAPass,
    /// A pass of a version this reader does not know.
    Unsupported,
    /// Says it is a pass but is not built like one.
    Malformed(MalformedWhy),
    /// No such issuing key is known here.
    UnknownKey(Kid),
    /// The venue withdrew the key.
    IssuerRevoked(Kid),
    /// The signature does not hold under the key it names.
    BadSignature(Kid),
    /// The signature holds, but the key may not sign for this vendor, venue or time.
    KeyMisused(Kid),
}

/// What exactly is malformed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MalformedWhy {
    /// Longer than any pass.
    TooLong,
    /// Not canonical Base45.
    Base45,
    /// Not the one COSE_Sign1 shape.
    Envelope,
    /// The claims are not those of a pass, in canonical form.
    Claims,
}

/// SHA-256 of a scanned text: what names a presentation in the journal and a code in view.
pub fn token_hash(text: &str) -> Hash {
    Hash::of("gatetext/1", text.as_bytes())
}

/// Reads a scanned text.
pub fn open(text: &str, keys: &Keyring) -> ScannedPass {
    let token = token_hash(text);
    let finding = match find(text, keys) {
        Ok((claims, kid)) => Finding::Genuine { claims, kid },
        Err(defect) => Finding::Defective(defect),
    };
    ScannedPass { token, finding }
}

fn find(text: &str, keys: &Keyring) -> Result<(Claims, Kid), Defect> {
    let Some(encoded) = text.strip_prefix(PREFIX) else {
        return Err(if is_other_version(text) { Defect::Unsupported } else { Defect::NotAPass });
    };
    let malformed = |why| Defect::Malformed(why);
    if text.len() > TEXT_LIMIT {
        return Err(malformed(MalformedWhy::TooLong));
    }
    let bytes = base45::decode(encoded).map_err(|_| malformed(MalformedWhy::Base45))?;
    // One text per token: the decoder may forgive, the comparison does not.
    if base45::encode(&bytes) != encoded {
        return Err(malformed(MalformedWhy::Base45));
    }
    if bytes.len() > TOKEN_LIMIT {
        return Err(malformed(MalformedWhy::TooLong));
    }
    let envelope = Envelope::parse(&bytes).map_err(|_| malformed(MalformedWhy::Envelope))?;
    let kid = envelope.kid;
    let named = keys.named(kid);
    if named.is_empty() {
        return Err(Defect::UnknownKey(kid));
    }
    let signer =
        named.iter().find(|key| envelope.verify(Purpose::Pass, &key.key).is_ok()).ok_or(Defect::BadSignature(kid))?;
    if signer.revoked {
        return Err(Defect::IssuerRevoked(kid));
    }
    let claims = Claims::decode(&envelope.payload).map_err(|_| malformed(MalformedWhy::Claims))?;
    if !may_sign(signer, &claims) {
        return Err(Defect::KeyMisused(kid));
    }
    Ok((claims, kid))
}

/// `GP` and another number: a pass of a time to come (`GP2:` is kept for possession-bound presentations).
fn is_other_version(text: &str) -> bool {
    text.strip_prefix("GP")
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(version, _)| (1..=3).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_digit()))
}

fn may_sign(key: &IssuerKey, claims: &Claims) -> bool {
    key.vendor == claims.vendor
        && key.venue == claims.venue
        && key.from <= claims.not_before
        && claims.expires <= key.until
}

/// Signs a pass and gives its text.
///
/// `limit` is [`VISITOR_LIMIT`] or [`PASS_LIMIT`]: a pass that would not fit its QR version is an error here, not a
/// code that nobody can read later.
pub fn issue(claims: &Claims, kid: Kid, key: &SigningKey, limit: usize) -> Result<String, ClaimsError> {
    claims.check()?;
    let bytes = cose::sign(Purpose::Pass, kid, claims.encode(), key);
    if bytes.len() > limit {
        return Err(ClaimsError::TooLong(bytes.len(), limit));
    }
    Ok(format!("{PREFIX}{}", base45::encode(&bytes)))
}
