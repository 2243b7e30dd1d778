//! One MySQL value, outside of Arrow: literals, parameters, rows being written, keys.
//!
//! A [`Value`] knows its calculation type but not its column type: a FLOAT is a `Double` holding a 32-bit number, a DATE
//! a `DateTime` at midnight. Whoever prints or stores it has the [`crate::FieldType`].

use crate::decimal::Decimal;
use crate::temporal::DateTime;
use bytes::Bytes;
use std::sync::Arc;

/// A value. Cloning is cheap. `==` is of the representation (`Int(1) != UInt(1)`); SQL's comparison is
/// [`crate::func::compare`].
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    /// NULL.
    #[default]
    Null,
    /// A signed integer, also the YEAR.
    Int(i64),
    /// An unsigned integer, also BIT.
    UInt(u64),
    /// FLOAT and DOUBLE; neither NaN nor infinite.
    Double(f64),
    /// DECIMAL.
    Decimal(Decimal),
    /// Text.
    String(Arc<str>),
    /// Bytes.
    Bytes(Bytes),
    /// DATE (at midnight), DATETIME; a TIMESTAMP in UTC.
    DateTime(DateTime),
    /// TIME in microseconds.
    Time(i64),
}

impl Value {
    /// True for NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
    /// MySQL's boolean.
    pub fn bool(value: bool) -> Value {
        Value::Int(i64::from(value))
    }
    /// The bytes of a string of either kind.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::String(s) => Some(s.as_bytes()),
            Value::Bytes(b) => Some(b),
            _ => None,
        }
    }
    /// The integer, when it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(v) => Some(*v),
            Value::UInt(v) => i64::try_from(*v).ok(),
            _ => None,
        }
    }
    /// The integer, when it is one and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Int(v) => u64::try_from(*v).ok(),
            Value::UInt(v) => Some(*v),
            _ => None,
        }
    }
    /// The integer, when it is one.
    pub fn as_i128(&self) -> Option<i128> {
        match self {
            Value::Int(v) => Some(i128::from(*v)),
            Value::UInt(v) => Some(i128::from(*v)),
            _ => None,
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}
impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::UInt(value)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Double(value)
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::String(value.into())
    }
}
impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::String(value.into())
    }
}
impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Value {
        Value::Bytes(value.into())
    }
}
impl From<Decimal> for Value {
    fn from(value: Decimal) -> Value {
        Value::Decimal(value)
    }
}
