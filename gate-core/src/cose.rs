//! The one envelope for everything that is signed: an untagged COSE_Sign1 (RFC 9052 section 4.2).
//!
//! Strict on purpose. The protected header is exactly `{1: -19 (Ed25519, RFC 9864), 4: kid}`, the unprotected
//! one is empty, the payload is attached, and the bytes are the only encoding of what they say: opening rebuilds
//! the whole token and compares. The algorithm is never chosen by the token. What a signature is for is bound in
//! by external_aad, so that one made for a statement can never pass for a pass.

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, iana};
use ed25519_dalek::{Signer, SigningKey};

use crate::ids::{Hash, Kid};
use crate::keys::PublicKey;

/// What a signature is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A pass, signed by a vendor's issuing key.
    Pass,
    /// A numbered statement of the venue, signed by its root.
    Statement,
    /// A chunk of replica changes, signed by the settings key.
    Chunk,
    /// How new a replica head is, signed by the settings key.
    AsOf,
    /// The last hash of a device's journal, signed by the device.
    Head,
    /// How much of a journal the cloud holds, signed by the server's key.
    Receipt,
    /// What time it is, signed by the time key.
    Time,
    /// An enrolment request, signed by the new device's key.
    Enrolment,
}

impl Purpose {
    /// The external_aad. Frozen: golden bytes depend on it.
    pub fn aad(self) -> &'static [u8] {
        match self {
            Self::Pass => b"gatepass/1",
            Self::Statement => b"gatestatement/1",
            Self::Chunk => b"gatechunk/1",
            Self::AsOf => b"gateasof/1",
            Self::Head => b"gatehead/1",
            Self::Receipt => b"gatereceipt/1",
            Self::Time => b"gatetime/1",
            Self::Enrolment => b"gateenrolment/1",
        }
    }
}

/// Why bytes are not an envelope.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not CBOR of the right shape, or another encoding of it.
    #[error("not a canonical COSE_Sign1")]
    Shape,
    /// The protected header is not exactly {alg: Ed25519, kid}.
    #[error("the protected header is not the one template")]
    Header,
    /// The signature does not hold under the key.
    #[error("the signature does not hold")]
    Signature,
}

/// A token taken apart, its signature not yet checked.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The key that is said to have signed.
    pub kid: Kid,
    /// What was signed.
    pub payload: Vec<u8>,
    sign1: CoseSign1,
}

fn template(kid: Kid) -> Header {
    HeaderBuilder::new().algorithm(iana::Algorithm::Ed25519).key_id(kid.0.to_vec()).build()
}

/// The bytes of the one allowed protected header: `{1: -19, 4: h'kid'}`.
fn protected_bytes(kid: Kid) -> Vec<u8> {
    let mut bytes = vec![0xa2, 0x01, 0x32, 0x04, 0x44];
    bytes.extend_from_slice(&kid.0);
    bytes
}

/// The key id of a key that has none of its own: the first four bytes of a hash of its bytes.
pub fn kid_of(key: &PublicKey) -> Kid {
    let hash = Hash::of("gatekid/1", key.as_bytes());
    Kid([hash.0[0], hash.0[1], hash.0[2], hash.0[3]])
}

/// Signs a payload.
pub fn sign(purpose: Purpose, kid: Kid, payload: Vec<u8>, key: &SigningKey) -> Vec<u8> {
    let sign1 = CoseSign1Builder::new()
        .protected(template(kid))
        .payload(payload)
        .create_signature(purpose.aad(), |message| key.sign(message).to_bytes().to_vec())
        .build();
    // Every part was built here from plain values, so writing it can't fail; no reader accepts an empty token.
    sign1.to_vec().unwrap_or_default()
}

impl Envelope {
    /// Takes a token apart. Nothing in it may be used before [`Envelope::verify`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let sign1 = CoseSign1::from_slice(bytes).map_err(|_| EnvelopeError::Shape)?;
        let kid: [u8; 4] = sign1.protected.header.key_id.as_slice().try_into().map_err(|_| EnvelopeError::Header)?;
        let kid = Kid(kid);
        if sign1.protected.original_data.as_deref() != Some(&protected_bytes(kid)) {
            return Err(EnvelopeError::Header);
        }
        if sign1.unprotected != Header::default() {
            return Err(EnvelopeError::Header);
        }
        let Some(payload) = sign1.payload.clone() else {
            return Err(EnvelopeError::Shape);
        };
        if sign1.signature.len() != 64 {
            return Err(EnvelopeError::Shape);
        }
        let envelope = Self { kid, payload, sign1 };
        if envelope.rebuild() != bytes {
            return Err(EnvelopeError::Shape);
        }
        Ok(envelope)
    }

    /// The token written again from its parsed parts.
    fn rebuild(&self) -> Vec<u8> {
        let rebuilt = CoseSign1Builder::new()
            .protected(template(self.kid))
            .payload(self.payload.clone())
            .signature(self.sign1.signature.clone())
            .build();
        rebuilt.to_vec().unwrap_or_default()
    }

    /// Whether the key signed this payload for this purpose.
    pub fn verify(&self, purpose: Purpose, key: &PublicKey) -> Result<(), EnvelopeError> {
        self.sign1.verify_signature(purpose.aad(), |signature, message| {
            if key.verifies(message, signature) { Ok(()) } else { Err(EnvelopeError::Signature) }
        })
    }
}

/// Opens a token that must be signed by this very key, and gives its payload.
pub fn open(purpose: Purpose, bytes: &[u8], key: &PublicKey) -> Result<Vec<u8>, EnvelopeError> {
    let envelope = Envelope::parse(bytes)?;
    envelope.verify(purpose, key)?;
    Ok(envelope.payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    #[test]
    fn a_token_holds_for_its_purpose_and_key_only() {
        let public = PublicKey::from(&key());
        let other = PublicKey::from(&SigningKey::from_bytes(&[8; 32]));
        let token = sign(Purpose::Chunk, kid_of(&public), b"x".to_vec(), &key());
        assert_eq!(open(Purpose::Chunk, &token, &public), Ok(b"x".to_vec()));
        assert_eq!(open(Purpose::AsOf, &token, &public), Err(EnvelopeError::Signature));
        assert_eq!(open(Purpose::Chunk, &token, &other), Err(EnvelopeError::Signature));
    }

    #[test]
    fn every_change_of_a_byte_is_refused() {
        let public = PublicKey::from(&key());
        let token = sign(Purpose::Pass, kid_of(&public), b"payload".to_vec(), &key());
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut changed = token.clone();
                changed[at] ^= 1 << bit;
                assert!(open(Purpose::Pass, &changed, &public).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let public = PublicKey::from(&key());
        let good = sign(Purpose::Pass, kid_of(&public), b"p".to_vec(), &key());
        let mut tagged = vec![0xd2];
        tagged.extend_from_slice(&good);
        let mut trailing = good.clone();
        trailing.push(0);
        let old_alg = CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).key_id(vec![1, 2, 3, 4]).build())
            .payload(b"p".to_vec())
            .create_signature(Purpose::Pass.aad(), |m| key().sign(m).to_bytes().to_vec())
            .build()
            .to_vec()
            .unwrap();
        let unprotected = CoseSign1Builder::new()
            .protected(template(kid_of(&public)))
            .unprotected(HeaderBuilder::new().key_id(vec![9]).build())
            .payload(b"p".to_vec())
            .create_signature(Purpose::Pass.aad(), |m| key().sign(m).to_bytes().to_vec())
            .build()
            .to_vec()
            .unwrap();
        let detached = CoseSign1Builder::new()
            .protected(template(kid_of(&public)))
            .create_detached_signature(b"p", Purpose::Pass.aad(), |m| key().sign(m).to_bytes().to_vec())
            .build()
            .to_vec()
            .unwrap();
        for (name, bytes) in [
            ("tag 18", tagged),
            ("trailing byte", trailing),
            ("EdDSA", old_alg),
            ("unprotected", unprotected),
            ("detached", detached),
        ] {
            assert!(open(Purpose::Pass, &bytes, &public).is_err(), "{name}");
        }
    }
}
