//! One value of a key.

use crate::decimal::Decimal;
use crate::error::EvalError;
use crate::temporal::DateTime;
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;
use arrow::datatypes::i256;
use basalt_common::codec::{self, CodecError};

const NULL: u8 = 0x01;
const INT: u8 = 0x03;
const UINT: u8 = 0x04;
const DOUBLE: u8 = 0x05;
const DECIMAL: u8 = 0x06;
const BYTES: u8 = 0x07;
const DATETIME: u8 = 0x08;
const DECIMAL_BYTES: usize = 32;

/// Appends one value of a column. `value` must have been stored into a column of this type (`store::cast_for_store`).
///
/// # Errors
/// [`EvalError::Internal`] for a value of another type.
pub fn encode_value(out: &mut Vec<u8>, value: &Value, ty: &FieldType) -> Result<(), EvalError> {
    let mismatch = || EvalError::Internal(format!("{value:?} in a key column of type {}", ty.sql_name()));
    match value {
        Value::Null => out.push(NULL),
        Value::Int(_) | Value::UInt(_) if ty.is_integer() && ty.unsigned => {
            out.push(UINT);
            codec::encode_u64(out, value.as_u64().ok_or_else(mismatch)?);
        }
        Value::Int(_) | Value::UInt(_) if ty.is_integer() => {
            out.push(INT);
            codec::encode_i64(out, value.as_i64().ok_or_else(mismatch)?);
        }
        Value::Double(v) if ty.eval_type() == EvalType::Real => {
            out.push(DOUBLE);
            codec::encode_f64(out, *v);
        }
        Value::Decimal(v) if ty.kind == TypeKind::Decimal => {
            let unscaled = v.rescale(ty.decimals).ok_or_else(mismatch)?.unscaled();
            out.push(DECIMAL);
            let mut bytes = unscaled.to_be_bytes();
            bytes[0] ^= 0x80;
            out.extend_from_slice(&bytes);
        }
        Value::String(_) | Value::Bytes(_) if ty.is_string() => {
            out.push(BYTES);
            codec::encode_bytes(out, &ty.collation.weight(value.as_bytes().unwrap_or_default()));
        }
        Value::DateTime(v) if ty.eval_type() == EvalType::DateTime => {
            out.push(DATETIME);
            codec::encode_u64(out, v.0);
        }
        Value::Time(v) if ty.kind == TypeKind::Time => {
            out.push(INT);
            codec::encode_i64(out, *v);
        }
        _ => return Err(mismatch()),
    }
    Ok(())
}

/// Reads one value of a column and moves `input` past it. Of a string there is only its weight, so what comes back has lost
/// what its collation ignores: trailing spaces, or in other than `_bin` collations case and accents too
/// ([`Collation::example`](crate::collation::Collation::example)).
///
/// # Errors
/// [`CodecError`] when the bytes are not a value of this type.
pub fn decode_value(input: &mut &[u8], ty: &FieldType) -> Result<Value, CodecError> {
    let (&flag, rest) = input.split_first().ok_or(CodecError::Truncated)?;
    *input = rest;
    let wrong = CodecError::Malformed("a key column of another type");
    Ok(match (flag, ty.eval_type()) {
        (NULL, _) => Value::Null,
        (INT, EvalType::Int) => Value::Int(codec::decode_i64(input)?),
        (INT, EvalType::Duration) => Value::Time(codec::decode_i64(input)?),
        (UINT, EvalType::Int) => Value::UInt(codec::decode_u64(input)?),
        (DOUBLE, EvalType::Real) => Value::Double(codec::decode_f64(input)?),
        (DECIMAL, EvalType::Decimal) => {
            let (bytes, rest) = input.split_first_chunk::<DECIMAL_BYTES>().ok_or(CodecError::Truncated)?;
            *input = rest;
            let mut bytes = *bytes;
            bytes[0] ^= 0x80;
            Value::Decimal(Decimal::from_i256(i256::from_be_bytes(bytes), ty.decimals))
        }
        (BYTES, EvalType::String) => {
            let bytes = codec::decode_bytes(input)?;
            if ty.is_binary_string() { Value::from(bytes) } else { Value::from(ty.collation.example(&bytes)) }
        }
        (DATETIME, EvalType::DateTime) => Value::DateTime(DateTime(codec::decode_u64(input)?)),
        _ => return Err(wrong),
    })
}

/// The length of the value at the front of `input`.
///
/// # Errors
/// [`CodecError`] when it starts with no value.
pub fn skip_value(input: &[u8]) -> Result<usize, CodecError> {
    let (&flag, rest) = input.split_first().ok_or(CodecError::Truncated)?;
    let payload = match flag {
        NULL => 0,
        INT | UINT | DOUBLE | DATETIME => 8,
        DECIMAL => DECIMAL_BYTES,
        BYTES => codec::skip_bytes(rest)?,
        _ => return Err(CodecError::Malformed("flag of a key value")),
    };
    if rest.len() < payload { Err(CodecError::Truncated) } else { Ok(1 + payload) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collation::Collation;

    fn key(value: &Value, ty: &FieldType) -> Vec<u8> {
        let mut out = Vec::new();
        encode_value(&mut out, value, ty).unwrap();
        out
    }

    #[test]
    fn format_is_fixed() {
        assert_eq!(key(&Value::Null, &FieldType::bigint()), [1]);
        assert_eq!(key(&Value::Int(1), &FieldType::bigint()), [3, 0x80, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(
            key(&Value::from("ab "), &FieldType::varchar(9).with_collation(Collation::Utf8mb4Bin)),
            b"\x07ab\x02\0\0\0\0\0\xfa"
        );
        let dec = key(&Value::Decimal(Decimal::new(-15, 1)), &FieldType::decimal(10, 2));
        assert_eq!((dec.len(), dec[1], dec[32]), (33, 0x7f, 0x100u32.wrapping_sub(150) as u8));
    }

    #[test]
    fn order_and_round_trip() {
        let cases: Vec<(FieldType, Vec<Value>)> = vec![
            (FieldType::bigint(), vec![Value::Null, Value::Int(i64::MIN), Value::Int(-1), Value::Int(5)]),
            (FieldType::bigint_unsigned(), vec![Value::Null, Value::UInt(0), Value::UInt(u64::MAX)]),
            (FieldType::double(), vec![Value::Null, Value::Double(-1.5), Value::Double(0.0), Value::Double(9e9)]),
            (
                FieldType::decimal(40, 2),
                ["-99999999999999999999999999999999999", "-1.50", "0.00", "1.25", "2.00"]
                    .map(|t| Value::Decimal(Decimal::parse(t.as_bytes()).unwrap().0.rescale(2).unwrap()))
                    .to_vec(),
            ),
            (FieldType::varchar(9), ["", "a", "ab", "abcdefgh", "abcdefghi", "b"].map(Value::from).to_vec()),
            (
                FieldType::new(TypeKind::Timestamp),
                vec![
                    Value::DateTime(DateTime::ZERO),
                    Value::DateTime(DateTime::from_date(2020, 1, 1)),
                    Value::DateTime(DateTime::from_date(2021, 1, 1)),
                ],
            ),
            (FieldType::time(0), vec![Value::Time(-5), Value::Time(5)]),
        ];
        for (ty, values) in cases {
            let encode = |v: &Value| {
                let mut out = Vec::new();
                encode_value(&mut out, v, &ty).unwrap();
                out
            };
            let keys: Vec<_> = values.iter().map(encode).collect();
            assert!(keys.windows(2).all(|w| w[0] < w[1]), "{ty:?}");
            for (value, key) in values.iter().zip(&keys) {
                assert_eq!(skip_value(key), Ok(key.len()));
                assert_eq!(decode_value(&mut &key[..], &ty).as_ref(), Ok(value));
            }
        }
        let ci = FieldType::varchar(9).with_collation(Collation::Utf8mb4GeneralCi);
        assert_eq!(key(&Value::from("Ab"), &ci), key(&Value::from("aB  "), &ci));
    }
}
