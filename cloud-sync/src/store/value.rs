//! Values as they go into statements and come out of rows.

use gate_core::ids::{Cti, DeviceId, EventId, GateId, Hash, Kid, LaneId, VendorCode, VenueCode, VenueId, ZoneId};

use super::DbError;

/// One value of a column.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// BIGINT.
    Integer(i64),
    /// TEXT.
    Text(String),
    /// BLOB.
    Bytes(Vec<u8>),
}

macro_rules! from_number {
    ($($kind:ty),*) => { $(
        impl From<$kind> for Value {
            fn from(n: $kind) -> Self {
                Self::Integer(i64::from(n))
            }
        }
    )* };
}
from_number!(i64, i32, u32, u16, u8, bool);

impl From<usize> for Value {
    /// Sizes of things in memory always fit.
    fn from(n: usize) -> Self {
        Self::Integer(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<u64> for Value {
    /// Counters and epochs stay below 2^63; a larger one is stored as the largest.
    fn from(n: u64) -> Self {
        Self::Integer(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<T> From<Option<T>> for Value
where
    Self: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

/// What a column's value can be read as.
pub trait FromValue: Sized {
    /// What people call it.
    const NAME: &'static str;

    /// Reads it.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    const NAME: &'static str = "a whole number";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Integer(n) = value { Some(*n) } else { None }
    }
}

macro_rules! read_number {
    ($($kind:ty),*) => { $(
        impl FromValue for $kind {
            const NAME: &'static str = stringify!($kind);

            fn from_value(value: &Value) -> Option<Self> {
                i64::from_value(value).and_then(|n| Self::try_from(n).ok())
            }
        }
    )* };
}
read_number!(i32, u64, u32, u16, u8);

impl FromValue for bool {
    const NAME: &'static str = "yes or no";

    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(|n| n != 0)
    }
}

impl FromValue for String {
    const NAME: &'static str = "text";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl FromValue for Vec<u8> {
    const NAME: &'static str = "bytes";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Bytes(bytes) = value { Some(bytes.clone()) } else { None }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const NAME: &'static str = T::NAME;

    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

/// Ids are stored as their text.
macro_rules! id_as_text {
    ($($kind:ty),*) => { $(
        impl From<$kind> for Value {
            fn from(id: $kind) -> Self {
                Self::Text(id.to_string())
            }
        }

        impl From<&$kind> for Value {
            fn from(id: &$kind) -> Self {
                Self::Text(id.to_string())
            }
        }

        impl FromValue for $kind {
            const NAME: &'static str = stringify!($kind);

            fn from_value(value: &Value) -> Option<Self> {
                if let Value::Text(text) = value { text.parse().ok() } else { None }
            }
        }
    )* };
}
id_as_text!(VenueId, GateId, LaneId, ZoneId, DeviceId, EventId, VendorCode, VenueCode, Cti, Kid, Hash);

/// One row of an answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Row(pub(super) Vec<Value>);

impl Row {
    /// The value of a column, from 0.
    pub fn get<T: FromValue>(&self, column: usize) -> Result<T, DbError> {
        let value = self.0.get(column);
        value.and_then(T::from_value).ok_or_else(|| DbError::Type {
            column,
            found: match value {
                None => "no such column".to_owned(),
                Some(Value::Null) => "nothing".to_owned(),
                Some(Value::Integer(n)) => format!("the number {n}"),
                Some(Value::Text(_)) => "some text".to_owned(),
                Some(Value::Bytes(bytes)) => format!("{} bytes", bytes.len()),
            },
            expected: T::NAME,
        })
    }
}
