//! Keys of rows and index entries: values written so that byte order is SQL's order.
//!
//! Each value is a flag and a payload; the payloads are of `basalt_common::codec`, so no encoding is a prefix of another
//! and the next value may follow.
//!
//! ```text
//! ┌──────┬─────────────────────────────────────────────────────────────────────────────┐
//! │ 0x01 │ NULL: nothing follows, sorts first                                           │
//! │ 0x03 │ Int, TIME: 8 bytes, sign bit flipped                                         │
//! │ 0x04 │ UInt: 8 bytes                                                                │
//! │ 0x05 │ DOUBLE, FLOAT: 8 bytes                                                       │
//! │ 0x06 │ DECIMAL: 32 bytes, the integer at the column's scale, sign bit flipped       │
//! │ 0x07 │ string: the collation's weight in groups of 8 with markers                   │
//! │ 0x08 │ DATE, DATETIME, TIMESTAMP (UTC): 8 bytes packed                              │
//! └──────┴─────────────────────────────────────────────────────────────────────────────┘
//! (1, 'ab') with an INT and a VARCHAR column → 03 8000000000000001 · 07 6162000000000000 f9
//! ```
//! A weight (`collation::sort_key` draws it) may have lost what the collation ignores (case, accents, trailing spaces), and
//! in all but `_bin` collations it is not text. The key says who is equal to whom; the strings themselves stand in the entry's value when the weight differs from them ([`encode_index_entry`]), so an
//! index scan is always covering for its whole columns.
//!
//! Rows: `t{table}_r{handle}`; the handle is a `BIGINT` primary key's 8 bytes, the hidden `_basalt_rowid`, or the encoded
//! values of any other clustered primary key. Index entries: `t{table}_i{index}{values}` and, unless the index is unique
//! and no value is NULL, `{handle}` behind them. The entry's value:
//! ```text
//! ┌───────┬─────────────────────┬────────────────────────────┐
//! │ flags │ handle (flag 0x01)  │ restored row (flag 0x02)   │
//! └───────┴─────────────────────┴────────────────────────────┘
//!           varint length, bytes   row codec, column ids = positions in the index
//! ```
//! Not done: descending columns.

mod codec;

pub use codec::{decode_value, encode_value, skip_value};

use crate::error::EvalError;
use crate::types::{FieldType, UNSPECIFIED};
use crate::value::Value;
use basalt_common::codec::{self as bytes_codec, CodecError};
use basalt_common::{IndexId, TableId, table_key};

const VALUE_HAS_HANDLE: u8 = 1;
const VALUE_HAS_RESTORED: u8 = 2;

/// What identifies a row within its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handle {
    /// An integer clustered key or the hidden row id. An unsigned key is kept with its sign bit flipped, so that order is
    /// preserved: see [`Handle::of_unsigned`].
    Int(i64),
    /// The encoded values of any other clustered key.
    Common(Vec<u8>),
}

impl Handle {
    /// The handle of an unsigned integer key.
    pub fn of_unsigned(value: u64) -> Handle {
        Handle::Int((value ^ (1 << 63)) as i64)
    }
    /// The handle of a single integer key column.
    ///
    /// # Errors
    /// [`EvalError::Internal`] when `value` is not an integer of that type.
    pub fn of_integer(value: &Value, ty: &FieldType) -> Result<Handle, EvalError> {
        let handle =
            if ty.unsigned { value.as_u64().map(Handle::of_unsigned) } else { value.as_i64().map(Handle::Int) };
        handle.ok_or_else(|| EvalError::Internal(format!("{value:?} is no integer handle")))
    }
    /// The handle of the values of a clustered key that is not a single integer.
    ///
    /// # Errors
    /// As [`encode_value`].
    pub fn of_values(values: &[(&FieldType, &Value)]) -> Result<Handle, EvalError> {
        let mut out = Vec::with_capacity(values.len() * 12);
        for (ty, value) in values {
            encode_value(&mut out, value, ty)?;
        }
        Ok(Handle::Common(out))
    }
    /// The key column's value of an integer handle.
    pub fn to_integer(&self, unsigned: bool) -> Option<Value> {
        match self {
            Handle::Int(v) if unsigned => Some(Value::UInt(*v as u64 ^ (1 << 63))),
            Handle::Int(v) => Some(Value::Int(*v)),
            Handle::Common(_) => None,
        }
    }
    /// Appends the handle as it ends a row key.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Handle::Int(v) => bytes_codec::encode_i64(out, *v),
            Handle::Common(bytes) => out.extend_from_slice(bytes),
        }
    }
    /// Reads a handle; `integer` says of which kind the table's are.
    ///
    /// # Errors
    /// [`CodecError`] when it is not one.
    pub fn decode(mut bytes: &[u8], integer: bool) -> Result<Handle, CodecError> {
        if !integer {
            return if bytes.is_empty() { Err(CodecError::Truncated) } else { Ok(Handle::Common(bytes.to_vec())) };
        }
        let handle = bytes_codec::decode_i64(&mut bytes)?;
        if bytes.is_empty() { Ok(Handle::Int(handle)) } else { Err(CodecError::Malformed("integer handle")) }
    }
}

/// A column of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexPart {
    /// The column's type.
    pub ty: FieldType,
    /// Only so many characters (bytes of a binary string) are in the index; 0 for all.
    pub prefix_length: u32,
}

impl IndexPart {
    /// The whole column.
    pub fn whole(ty: FieldType) -> IndexPart {
        IndexPart { ty, prefix_length: 0 }
    }

    /// The part of `value` that is in the index.
    pub fn cut(&self, value: &Value) -> Value {
        if self.prefix_length == 0 || self.prefix_length == UNSPECIFIED {
            return value.clone();
        }
        let length = self.prefix_length as usize;
        match value {
            Value::String(s) => match s.char_indices().nth(length) {
                Some((end, _)) => Value::from(&s[..end]),
                None => value.clone(),
            },
            Value::Bytes(b) if b.len() > length => Value::Bytes(b.slice(..length)),
            _ => value.clone(),
        }
    }

    /// Whether other values than `value` may have its entry: it is as long as the prefix, or longer.
    pub fn may_be_cut(&self, value: &Value) -> bool {
        let length = self.prefix_length as usize;
        let is_prefix = self.prefix_length != 0 && self.prefix_length != UNSPECIFIED;
        is_prefix
            && match value {
                Value::String(s) => s.chars().count() >= length,
                Value::Bytes(b) => b.len() >= length,
                _ => false,
            }
    }
}

/// `t{table}_r{handle}`.
pub fn encode_row_key(table: TableId, handle: &Handle) -> Vec<u8> {
    let mut out = table_key::row_prefix(table);
    handle.encode(&mut out);
    out
}

/// The handle of a row key.
///
/// # Errors
/// [`CodecError`] when `key` is not a row's.
pub fn decode_row_key(key: &[u8], integer: bool) -> Result<(TableId, Handle), CodecError> {
    match table_key::decode(key)? {
        (table, table_key::TableKeyKind::Row, handle) => Ok((table, Handle::decode(handle, integer)?)),
        _ => Err(CodecError::Malformed("not a row key")),
    }
}

/// An index entry, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The key.
    pub key: Vec<u8>,
    /// The value; never empty.
    pub value: Vec<u8>,
    /// The key alone decides uniqueness: writing it over another row's entry is a duplicate.
    pub unique: bool,
}

/// The entry of a row in an index. `values` are of the index's columns, in order, one for each of `parts`.
///
/// # Errors
/// As [`encode_value`].
pub fn encode_index_entry(target: IndexTarget<'_>, values: &[Value], handle: &Handle) -> Result<IndexEntry, EvalError> {
    let mut key = table_key::index_prefix(target.table, target.index);
    let unique = target.unique && !values.iter().any(Value::is_null);
    let mut restored = Vec::new();
    for (position, (part, value)) in target.parts.iter().zip(values).enumerate() {
        let value = part.cut(value);
        encode_value(&mut key, &value, &part.ty)?;
        if let Some(bytes) = value.as_bytes()
            && part.ty.collation.loses(bytes)
        {
            restored.push((position as u32, part, value));
        }
    }
    let mut out = vec![u8::from(unique) * VALUE_HAS_HANDLE + u8::from(!restored.is_empty()) * VALUE_HAS_RESTORED];
    if unique {
        let mut bytes = Vec::with_capacity(8);
        handle.encode(&mut bytes);
        bytes_codec::encode_varint(&mut out, bytes.len() as u64);
        out.extend_from_slice(&bytes);
    } else {
        handle.encode(&mut key);
    }
    if !restored.is_empty() {
        let columns: Vec<_> = restored.iter().map(|(id, part, value)| (*id, &part.ty, value)).collect();
        crate::row::encode_row(&columns, &mut out)?;
    }
    Ok(IndexEntry { key, value: out, unique })
}

/// Where an index entry belongs.
#[derive(Clone, Copy, Debug)]
pub struct IndexTarget<'a> {
    /// The table.
    pub table: TableId,
    /// The index.
    pub index: IndexId,
    /// UNIQUE or PRIMARY.
    pub unique: bool,
    /// Its columns.
    pub parts: &'a [IndexPart],
}

/// The handle that an index entry points to. `columns` is the number of the index's columns.
///
/// # Errors
/// [`CodecError`] for bytes that are no such entry.
pub fn decode_index_handle(key: &[u8], value: &[u8], columns: usize, integer: bool) -> Result<Handle, CodecError> {
    let parts = split_index_value(value)?;
    if let Some(handle) = parts.handle {
        return Handle::decode(handle, integer);
    }
    let table_key::TableKeyKind::Index(_) = table_key::decode(key)?.1 else {
        return Err(CodecError::Malformed("not an index key"));
    };
    let mut rest = table_key::decode(key)?.2;
    for _ in 0..columns {
        rest = &rest[skip_value(rest)?..];
    }
    Handle::decode(rest, integer)
}

/// The parts of an index entry's value.
pub(crate) struct IndexValue<'a> {
    pub handle: Option<&'a [u8]>,
    pub restored: Option<&'a [u8]>,
}

pub(crate) fn split_index_value(value: &[u8]) -> Result<IndexValue<'_>, CodecError> {
    let (&flags, mut rest) = value.split_first().ok_or(CodecError::Truncated)?;
    if flags & !(VALUE_HAS_HANDLE | VALUE_HAS_RESTORED) != 0 {
        return Err(CodecError::Malformed("flags of an index entry"));
    }
    let mut handle = None;
    if flags & VALUE_HAS_HANDLE != 0 {
        let len = bytes_codec::decode_varint(&mut rest)?;
        let len = usize::try_from(len).map_err(|_| CodecError::Truncated)?;
        let (bytes, after) = rest.split_at_checked(len).ok_or(CodecError::Truncated)?;
        handle = Some(bytes);
        rest = after;
    }
    Ok(IndexValue { handle, restored: (flags & VALUE_HAS_RESTORED != 0).then_some(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collation::Collation;

    #[test]
    fn entry_formats_are_fixed() {
        let entry = |unique, ty: FieldType, value: Value| {
            let parts = [IndexPart::whole(ty)];
            let target = IndexTarget { table: TableId(7), index: IndexId(1), unique, parts: &parts };
            encode_index_entry(target, &[value], &Handle::Int(-3)).unwrap()
        };
        let key = |rest: &[u8]| [b"t\0\0\0\0\0\0\0\x07_i\0\0\0\0\0\0\0\x01".as_slice(), rest].concat();
        let unique = entry(true, FieldType::bigint(), Value::Int(5));
        assert_eq!(unique.key, key(b"\x03\x80\0\0\0\0\0\0\x05"));
        assert_eq!(unique.value, b"\x01\x08\x7f\xff\xff\xff\xff\xff\xff\xfd");
        let plain = entry(false, FieldType::bigint(), Value::Int(5));
        assert_eq!(plain.key, key(b"\x03\x80\0\0\0\0\0\0\x05\x7f\xff\xff\xff\xff\xff\xff\xfd"));
        assert_eq!(plain.value, b"\0");
        let general_ci = FieldType::varchar(9).with_collation(Collation::Utf8mb4GeneralCi);
        let restored = entry(false, general_ci, Value::from("Ab"));
        assert_eq!(restored.key, key(b"\x07\0A\0B\0\x02\0\0\xfd\x7f\xff\xff\xff\xff\xff\xff\xfd"));
        assert_eq!(restored.value, b"\x02\x01\0\x01\0\0\0\0\x02\0Ab");
    }
}
