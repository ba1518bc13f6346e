//! Identifiers are types, so that a gate is never passed where a zone was meant.
//!
//! Random ids are UUIDv7 minted by the application (this crate has neither clock nor randomness).
//! In CBOR they are 16-byte strings, in JSON the usual text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| IdError { what: stringify!($name) })
            }
        }
    };
}

uuid_id!(
    /// The tenant. Everything belongs to exactly one venue.
    VenueId
);
uuid_id!(
    /// A place in a road or doorway; it survives a new Raspberry Pi.
    GateId
);
uuid_id!(
    /// One way through one gate, in or out.
    LaneId
);
uuid_id!(
    /// A place with a capacity. Zones nest.
    ZoneId
);
uuid_id!(
    /// One enrolled Raspberry Pi with one key.
    DeviceId
);
uuid_id!(
    /// A person who works at a venue.
    StaffId
);
uuid_id!(
    /// One run of the machine, minted at every boot so that monotonic stamps can be compared.
    BootId
);

/// A text that is not an id of the kind that was asked for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is not a valid {what}")]
pub struct IdError {
    what: &'static str,
}

macro_rules! short_code {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 2 to 4 characters of `0-9 A-Z`. Two are what a visitor pass has room for
        /// (127 bytes, QR version 6-L).
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The code as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let good = (2..=4).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
                if good { Ok(Self(text.to_owned())) } else { Err(IdError { what: stringify!($name) }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(code: $name) -> String {
                code.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

short_code!(
    /// Who issued a pass (`iss`), unique within a venue.
    VendorCode
);
short_code!(
    /// Where a pass is good (`aud`).
    VenueCode
);

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError { what: stringify!($name) })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&hex::encode(self.0))
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    serde_bytes::ByteArray::<$len>::deserialize(deserializer).map(|b| Self(b.into_array()))
                }
            }
        }
    };
}

byte_id!(
    /// The 128 random bits that make a pass unique within its vendor (`cti`, RFC 8392 section 3.1.7).
    Cti, 16
);
byte_id!(
    /// The name of an issuing key inside a pass: 4 random bytes, unique only by luck, so readers try all keys that share one.
    Kid, 4
);
byte_id!(
    /// A SHA-256 digest.
    Hash, 32
);

impl Hash {
    /// What the first event of a device's first epoch names as its predecessor.
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 over a domain name, a zero byte and the bytes, so that no hash made for one purpose fits another.
    pub fn of(domain: &str, bytes: &[u8]) -> Self {
        use sha2::Digest;
        let mut hasher = sha2::Sha256::new();
        hasher.update(domain.as_bytes());
        hasher.update([0]);
        hasher.update(bytes);
        Self(hasher.finalize().into())
    }
}

/// A pass, named by what its signed bytes say and never by the scanned text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PassId {
    /// Who issued it.
    pub vendor: VendorCode,
    /// Which of that vendor's passes.
    pub cti: Cti,
}

impl fmt::Display for PassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.vendor, self.cti)
    }
}

impl FromStr for PassId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (vendor, cti) = text.split_once('-').ok_or(IdError { what: "PassId" })?;
        Ok(Self { vendor: vendor.parse()?, cti: cti.parse()? })
    }
}

/// Names one event for ever: which device, which run of its journal, which place in that run.
///
/// `epoch` is random (63 bits, so that it fits a BIGINT) and new each time a journal is opened;
/// `seq` counts from 0 within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct EventId {
    /// The device that wrote the event.
    pub device: DeviceId,
    /// Which opening of its journal.
    pub epoch: u64,
    /// Place within the epoch, from 0.
    pub seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:016x}/{}", self.device, self.epoch, self.seq)
    }
}

impl FromStr for EventId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { what: "EventId" };
        let mut parts = text.split('/');
        let (Some(device), Some(epoch), Some(seq), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(error);
        };
        Ok(Self {
            device: device.parse()?,
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| error.clone())?,
            seq: seq.parse().map_err(|_| error)?,
        })
    }
}

/// Which way a lane leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Into the zone.
    In,
    /// Out of it.
    Out,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_take_two_to_four_capitals_and_digits() {
        for (text, good) in
            [("V1", true), ("ABCD", true), ("A", false), ("ABCDE", false), ("v1", false), ("V ", false), ("É1", false)]
        {
            assert_eq!(text.parse::<VendorCode>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn an_event_id_survives_its_text() {
        let id = EventId { device: DeviceId(Uuid::from_u128(7)), epoch: 0x0123_4567_89ab_cdef, seq: 42 };
        assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
        for bad in ["", "x/1/2", "00000000-0000-0000-0000-000000000007/1", "00000000-0000-0000-0000-000000000007/1/2/3"]
        {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_bytes_in_cbor_and_text_in_json() {
        let cti = Cti([0xab; 16]);
        let mut cbor = Vec::new();
        ciborium::into_writer(&cti, &mut cbor).unwrap();
        assert_eq!(cbor[0], 0x50);
        assert_eq!(serde_json::to_string(&cti).unwrap(), format!("\"{}\"", "ab".repeat(16)));
    }
}
