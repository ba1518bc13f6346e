//! Which Ed25519 keys may be trusted at all.
//!
//! `VerifyingKey::from_bytes` follows ZIP-215 and accepts weak and mixed-order points, so parsing proves little.
//! A key is registered only if its bytes are canonical, its point has no torsion and is not weak; signatures are
//! then checked with `verify_strict`. Together that refuses all twelve vectors of the public ed25519-speccheck set
//! (Chalkias, Garillot, Nikolaenko: "Taming the many EdDSAs", 2020).

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

/// An Ed25519 public key that passed registration.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

/// Why a public key is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes, not on the curve, or not the canonical encoding of its point.
    #[error("these bytes are not the canonical encoding of an Ed25519 key")]
    NotCanonical,
    /// A point of small order: signatures under it prove nothing.
    #[error("this is a weak Ed25519 key")]
    Weak,
    /// A point with a small-order part: verifiers would disagree about signatures under it.
    #[error("this Ed25519 key is not torsion-free")]
    Torsion,
}

impl PublicKey {
    /// Registers a key.
    pub fn register(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyError::NotCanonical)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::NotCanonical)?;
        let point = key.to_edwards();
        if point.compress().to_bytes() != bytes {
            return Err(KeyError::NotCanonical);
        }
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        if !point.is_torsion_free() {
            return Err(KeyError::Torsion);
        }
        Ok(Self(key))
    }

    /// Whether the signature over the message holds, by `verify_strict`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }

    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl From<&ed25519_dalek::SigningKey> for PublicKey {
    /// A key that was generated properly is a good key.
    fn from(key: &ed25519_dalek::SigningKey) -> Self {
        Self(key.verifying_key())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(self.as_bytes()))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::ids::Hash(*self.as_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = crate::ids::Hash::deserialize(deserializer)?;
        Self::register(&bytes.0).map_err(serde::de::Error::custom)
    }
}
