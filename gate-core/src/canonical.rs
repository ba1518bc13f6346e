//! The one way values become bytes: CBOR with one encoding per value.
//!
//! Structures are written in their declared field order (not sorted: the order is frozen by golden bytes) with definite
//! lengths and shortest integers as in RFC 8949 section 4.2, and read back only if writing them again gives the very same
//! bytes. So two parties can never hold two different byte strings for one value, and a hash or signature over the bytes
//! is one over the value.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not the canonical form of a value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Not CBOR, or not this structure.
    #[error("not the expected structure: {0}")]
    Structure(String),
    /// The value is followed by further bytes.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// The value has another encoding; this one is not the canonical one.
    #[error("not in canonical form")]
    NotCanonical,
}

/// Writes a value canonically.
///
/// The types of this crate contain nothing that CBOR can't hold, so this can't fail for them; a type
/// that could would give an empty vector, which no reader accepts.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    if ciborium::into_writer(value, &mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

/// Reads a value and insists on its canonical form.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let mut rest = bytes;
    let value: T = ciborium::de::from_reader_with_recursion_limit(&mut rest, 24)
        .map_err(|e| CanonicalError::Structure(e.to_string()))?;
    if !rest.is_empty() {
        return Err(CanonicalError::Trailing(rest.len()));
    }
    if encode(&value) != bytes {
        return Err(CanonicalError::NotCanonical);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_bytes_are_read() {
        assert_eq!(encode(&(1u8, "a")), [0x82, 0x01, 0x61, b'a']);
        let read = |bytes: &[u8]| decode::<(u8, String)>(bytes);
        assert!(read(&[0x82, 0x01, 0x61, b'a']).is_ok());
        assert_eq!(read(&[0x82, 0x01, 0x61, b'a', 0x00]), Err(CanonicalError::Trailing(1)));
        assert_eq!(read(&[0x82, 0x18, 0x01, 0x61, b'a']), Err(CanonicalError::NotCanonical));
        assert!(read(&[0x9f, 0x01, 0x61, b'a', 0xff]).is_err(), "indefinite length");
        assert!(matches!(read(&[0x82, 0x01]), Err(CanonicalError::Structure(_))));
    }
}
