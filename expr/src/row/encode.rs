//! Writing rows.

use super::{FLAG_WIDE, VERSION};
use crate::error::EvalError;
use crate::types::{EvalType, FieldType};
use crate::value::Value;

/// Appends the row made of `columns` (id, type, value), in any order, each id once. Values must have been stored into their
/// types (`store::cast_for_store`).
///
/// # Errors
/// [`EvalError::Internal`] for a value of another type than its column.
pub fn encode_row(columns: &[(u32, &FieldType, &Value)], out: &mut Vec<u8>) -> Result<(), EvalError> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    if !columns.is_sorted_by_key(|c| c.0) {
        order.sort_unstable_by_key(|&i| columns[i].0);
    }
    let mut values = Vec::with_capacity(columns.len() * 8);
    let mut present = Vec::with_capacity(columns.len());
    let mut nulls = Vec::new();
    for &(id, ty, value) in order.iter().map(|&i| &columns[i]) {
        if value.is_null() {
            nulls.push(id);
        } else {
            encode_stored_value(value, ty, &mut values)?;
            present.push((id, values.len()));
        }
    }
    let ids_max = present.last().map_or(0, |c| c.0).max(nulls.last().copied().unwrap_or(0));
    let wide = ids_max > u32::from(u8::MAX) || values.len() > usize::from(u16::MAX);
    out.extend_from_slice(&[VERSION, if wide { FLAG_WIDE } else { 0 }]);
    for count in [present.len(), nulls.len()] {
        let count = u16::try_from(count).map_err(|_| EvalError::Internal("a row of 65,536 columns".into()))?;
        out.extend_from_slice(&count.to_le_bytes());
    }
    for id in present.iter().map(|c| c.0).chain(nulls) {
        if wide { out.extend_from_slice(&id.to_le_bytes()) } else { out.push(id as u8) }
    }
    for &(_, end) in &present {
        if wide {
            out.extend_from_slice(&(end as u32).to_le_bytes());
        } else {
            out.extend_from_slice(&(end as u16).to_le_bytes());
        }
    }
    out.extend_from_slice(&values);
    Ok(())
}

/// Appends one value (not NULL) as it stands in a row: also the form of a column's default in
/// `ScanColumn::default_value`. (The catalog keeps defaults as text.)
///
/// # Errors
/// [`EvalError::Internal`] for a value of another type.
pub fn encode_stored_value(value: &Value, ty: &FieldType, out: &mut Vec<u8>) -> Result<(), EvalError> {
    let mismatch = || EvalError::Internal(format!("{value:?} in a column of type {}", ty.sql_name()));
    match (value, ty.eval_type()) {
        (Value::Int(_) | Value::UInt(_), EvalType::Int) if ty.unsigned => {
            push_unsigned(value.as_u64().ok_or_else(mismatch)?, out);
        }
        (Value::Int(_) | Value::UInt(_), EvalType::Int) => push_signed(value.as_i64().ok_or_else(mismatch)?, out),
        (Value::Time(v), EvalType::Duration) => push_signed(*v, out),
        (Value::Double(v), EvalType::Real) => out.extend_from_slice(&v.to_le_bytes()),
        (Value::Decimal(v), EvalType::Decimal) => {
            let unscaled = v.rescale(ty.decimals).ok_or_else(mismatch)?.unscaled();
            let bytes = unscaled.to_le_bytes();
            out.push(ty.decimals);
            // Drop bytes that only repeat the sign.
            let mut len = bytes.len();
            while len > 1 && matches!((bytes[len - 1], bytes[len - 2] >> 7), (0, 0) | (0xff, 1)) {
                len -= 1;
            }
            out.extend_from_slice(&bytes[..len]);
        }
        (Value::DateTime(v), EvalType::DateTime) => {
            out.extend_from_slice(&v.0.to_le_bytes());
        }
        (Value::String(_) | Value::Bytes(_), EvalType::String) => {
            out.extend_from_slice(value.as_bytes().unwrap_or_default());
        }
        _ => return Err(mismatch()),
    }
    Ok(())
}

fn push_signed(value: i64, out: &mut Vec<u8>) {
    let bytes = value.to_le_bytes();
    let len = if i64::from(value as i8) == value {
        1
    } else if i64::from(value as i16) == value {
        2
    } else if i64::from(value as i32) == value {
        4
    } else {
        8
    };
    out.extend_from_slice(&bytes[..len]);
}

fn push_unsigned(value: u64, out: &mut Vec<u8>) {
    let len = match value {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    out.extend_from_slice(&value.to_le_bytes()[..len]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Decimal;

    #[test]
    fn format_is_fixed() {
        let (int, text, dec) = (FieldType::bigint(), FieldType::varchar(9), FieldType::decimal(10, 2));
        let columns = [
            (3, &text, &Value::from("hi")),
            (1, &int, &Value::Int(-2)),
            (2, &int, &Value::Null),
            (4, &dec, &Value::Decimal(Decimal::new(-150, 2))),
            (5, &int, &Value::Int(300)),
        ];
        let mut out = Vec::new();
        encode_row(&columns, &mut out).unwrap();
        let golden: &[u8] = &[
            1, 0, 4, 0, 1, 0, // version, flags, 4 values, 1 null
            1, 3, 4, 5, 2, // ids
            1, 0, 3, 0, 6, 0, 8, 0, // ends
            0xfe, b'h', b'i', 2, 0x6a, 0xff, 0x2c, 0x01,
        ];
        assert_eq!(out, golden);
    }
}
