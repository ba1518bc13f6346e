//! The claims of a pass and their one encoding.
//!
//! A CWT claims set in deterministic CBOR with these keys in this order: 1 iss (vendor), 2 sub (optional, opaque),
//! 3 aud (venue), 4 exp, 5 nbf, 7 cti, -65537 [product, flags]. No names, plates or phones: everything personal
//! stays in the cloud, found by (vendor, cti).

use ciborium::Value;
use serde::{Deserialize, Serialize};

use crate::ids::{Cti, PassId, VendorCode, VenueCode};

/// The private claim that carries product and flags (private use: below -65536, RFC 8392 section 9.1).
const PRODUCT_CLAIM: i64 = -65537;

/// An opaque customer reference of 1 to 16 bytes, never a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

impl Subject {
    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Subject {
    type Error = ClaimsError;

    fn try_from(text: String) -> Result<Self, ClaimsError> {
        let good = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(Self(text)) } else { Err(ClaimsError::Subject) }
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> String {
        subject.0
    }
}

/// What a pass says about its holder, as bits 0 to 4 (one CBOR byte).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PassFlags(pub u8);

impl PassFlags {
    /// The holder is a child.
    pub const CHILD: Self = Self(1);
    /// Staff should look before letting the holder in.
    pub const ATTENTION: Self = Self(2);
    /// The holder reads Romanian; otherwise English.
    pub const ROMANIAN: Self = Self(4);
    const KNOWN: u8 = 7;

    /// Whether all of `other`'s bits are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of bits.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a pass says. Believe it only from a [`super::ScannedPass`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it (`iss`).
    pub vendor: VendorCode,
    /// Where it is good (`aud`).
    pub venue: VenueCode,
    /// First second it is good, Unix seconds (`nbf`).
    pub not_before: i64,
    /// First second it is no longer good, Unix seconds (`exp`).
    pub expires: i64,
    /// Its random id (`cti`).
    pub cti: Cti,
    /// Which of the venue's products, 0 to 65535; visitor products have 0 to 23 so that a pass fits QR version 6-L.
    pub product: u16,
    /// Facts about the holder.
    pub flags: PassFlags,
    /// Opaque customer reference (`sub`).
    pub subject: Option<Subject>,
}

/// Why bytes or values are not the claims of a pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimsError {
    /// Not a CBOR map with exactly the claims of a pass, in canonical form.
    #[error("the claims are not those of a pass")]
    Shape,
    /// A claim has a value out of its range.
    #[error("claim {0} is out of range")]
    Range(i64),
    /// The subject is not 1 to 16 printable ASCII characters.
    #[error("a customer reference has 1 to 16 printable ASCII characters")]
    Subject,
    /// The time window is empty or outside 2000-2106.
    #[error("the pass would never be valid")]
    Window,
    /// The pass would need a larger QR code than readers can be relied on to read.
    #[error("the pass would have {0} bytes, {1} is the limit")]
    TooLong(usize, usize),
}

impl Claims {
    /// The id under which all state about this pass is kept.
    pub fn id(&self) -> PassId {
        PassId { vendor: self.vendor.clone(), cti: self.cti }
    }

    /// Refuses a window that is empty or outside what a pass can mean (2000 to 2106, 32-bit unsigned seconds).
    pub fn check(&self) -> Result<(), ClaimsError> {
        let range = 946_684_800..=i64::from(u32::MAX);
        if !range.contains(&self.not_before) || !range.contains(&self.expires) || self.not_before >= self.expires {
            return Err(ClaimsError::Window);
        }
        if self.flags.0 & !PassFlags::KNOWN != 0 {
            return Err(ClaimsError::Range(PRODUCT_CLAIM));
        }
        Ok(())
    }

    /// The canonical bytes of the claims set.
    pub fn encode(&self) -> Vec<u8> {
        let key = |n: i64| Value::Integer(n.into());
        let mut map = vec![(key(1), Value::Text(self.vendor.as_str().to_owned()))];
        if let Some(subject) = &self.subject {
            map.push((key(2), Value::Text(subject.as_str().to_owned())));
        }
        map.extend([
            (key(3), Value::Text(self.venue.as_str().to_owned())),
            (key(4), Value::Integer(self.expires.into())),
            (key(5), Value::Integer(self.not_before.into())),
            (key(7), Value::Bytes(self.cti.0.to_vec())),
            (
                key(PRODUCT_CLAIM),
                Value::Array(vec![Value::Integer(self.product.into()), Value::Integer(self.flags.0.into())]),
            ),
        ]);
        crate::canonical::encode(&Value::Map(map))
    }

    /// Reads the claims set, accepting only the bytes that [`Claims::encode`] would write.
    pub fn decode(bytes: &[u8]) -> Result<Self, ClaimsError> {
        let value: Value = ciborium::de::from_reader_with_recursion_limit(bytes, 8).map_err(|_| ClaimsError::Shape)?;
        let Value::Map(entries) = value else {
            return Err(ClaimsError::Shape);
        };
        if entries.len() > 7 {
            return Err(ClaimsError::Shape);
        }
        let mut claims = ClaimValues(entries);
        let Value::Array(pair) = claims.take(PRODUCT_CLAIM)? else {
            return Err(ClaimsError::Shape);
        };
        let Value::Bytes(cti) = claims.take(7)? else {
            return Err(ClaimsError::Shape);
        };
        let [product, flags]: [Value; 2] = pair.try_into().map_err(|_| ClaimsError::Shape)?;
        let found = Self {
            vendor: claims.text(1)?.try_into().map_err(|_| ClaimsError::Range(1))?,
            venue: claims.text(3)?.try_into().map_err(|_| ClaimsError::Range(3))?,
            expires: integer(&claims.take(4)?, 4)?,
            not_before: integer(&claims.take(5)?, 5)?,
            cti: Cti(cti.try_into().map_err(|_| ClaimsError::Range(7))?),
            product: integer(&product, PRODUCT_CLAIM)?,
            flags: PassFlags(integer(&flags, PRODUCT_CLAIM)?),
            subject: match claims.text(2) {
                Ok(text) => Some(text.try_into()?),
                Err(_) => None,
            },
        };
        found.check()?;
        if found.encode() != bytes {
            return Err(ClaimsError::Shape);
        }
        Ok(found)
    }
}

struct ClaimValues(Vec<(Value, Value)>);

impl ClaimValues {
    fn take(&mut self, key: i64) -> Result<Value, ClaimsError> {
        let at = self.0.iter().position(|(k, _)| *k == Value::Integer(key.into())).ok_or(ClaimsError::Shape)?;
        Ok(self.0.swap_remove(at).1)
    }

    fn text(&mut self, key: i64) -> Result<String, ClaimsError> {
        if let Value::Text(text) = self.take(key)? { Ok(text) } else { Err(ClaimsError::Shape) }
    }
}

fn integer<T: TryFrom<i128>>(value: &Value, claim: i64) -> Result<T, ClaimsError> {
    let Value::Integer(n) = value else {
        return Err(ClaimsError::Shape);
    };
    T::try_from(i128::from(*n)).map_err(|_| ClaimsError::Range(claim))
}
