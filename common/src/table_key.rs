//! The layout of the key space.
//!
//! ```text
//! m…                                   catalog (sql::catalog)
//! t{table_id}_r{handle}                one row;        handle: 8 bytes (memcomparable i64) or an encoded clustered key
//! t{table_id}_i{index_id}{values}          unique entry; the handle is in its value
//! t{table_id}_i{index_id}{values}{handle}  other entry
//! ```
//! `table_id` and `index_id` are memcomparable `u64`s, so a table is one range, its rows one range, each index one range.
//! Values, and what entries hold, are written by `basalt_expr`'s key codec; here are the prefixes only.

use crate::codec::{self, CodecError};
use crate::id::{IndexId, TableId};
use crate::key::KeyRange;

/// First byte of everything that belongs to tables.
pub const TABLE_PREFIX: u8 = b't';
/// First byte of the catalog.
pub const META_PREFIX: u8 = b'm';
/// Length of a row prefix: `t{table_id}_r`.
pub const ROW_PREFIX_LEN: usize = 1 + 8 + 2;
/// Length of an index prefix: `t{table_id}_i{index_id}`.
pub const INDEX_PREFIX_LEN: usize = 1 + 8 + 2 + 8;

/// `t{table_id}`.
pub fn table_prefix(table: TableId) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    out.push(TABLE_PREFIX);
    codec::encode_u64(&mut out, table.0);
    out
}

/// `t{table_id}_r`, with room for a handle.
pub fn row_prefix(table: TableId) -> Vec<u8> {
    let mut out = table_prefix(table);
    out.extend_from_slice(b"_r");
    out
}

/// `t{table_id}_i{index_id}`, with room for values.
pub fn index_prefix(table: TableId, index: IndexId) -> Vec<u8> {
    let mut out = table_prefix(table);
    out.extend_from_slice(b"_i");
    codec::encode_u64(&mut out, index.0);
    out
}

/// The key of the row with an integer handle.
pub fn row_key(table: TableId, handle: i64) -> Vec<u8> {
    let mut out = row_prefix(table);
    codec::encode_i64(&mut out, handle);
    out
}

/// Everything of a table: rows and indexes.
pub fn table_range(table: TableId) -> KeyRange {
    prefix_range(table_prefix(table))
}

/// A table's rows.
pub fn rows_range(table: TableId) -> KeyRange {
    prefix_range(row_prefix(table))
}

/// One index of a table.
pub fn index_range(table: TableId, index: IndexId) -> KeyRange {
    prefix_range(index_prefix(table, index))
}

/// The range of all keys that start with `prefix`.
pub fn prefix_range(prefix: Vec<u8>) -> KeyRange {
    let end = prefix_end(&prefix);
    KeyRange::new(prefix, end)
}

/// The first key after all that start with `prefix`; empty (infinity) when there is none.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    end
}

/// What a key of a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKeyKind {
    /// A row; the rest of the key is its handle.
    Row,
    /// An entry of an index; the rest of the key are the values.
    Index(IndexId),
}

/// Takes a table key apart: table, kind and what follows the prefix.
///
/// # Errors
/// [`CodecError`] when `key` is not under a table's prefix.
pub fn decode(key: &[u8]) -> Result<(TableId, TableKeyKind, &[u8]), CodecError> {
    let (&first, mut rest) = key.split_first().ok_or(CodecError::Truncated)?;
    if first != TABLE_PREFIX {
        return Err(CodecError::Malformed("not a table key"));
    }
    let table = TableId(codec::decode_u64(&mut rest)?);
    let (kind, mut rest) = rest.split_at_checked(2).ok_or(CodecError::Truncated)?;
    match kind {
        b"_r" => Ok((table, TableKeyKind::Row, rest)),
        b"_i" => {
            let index = IndexId(codec::decode_u64(&mut rest)?);
            Ok((table, TableKeyKind::Index(index), rest))
        }
        _ => Err(CodecError::Malformed("neither row nor index")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_formats_are_fixed() {
        assert_eq!(row_key(TableId(7), -3), b"t\0\0\0\0\0\0\0\x07_r\x7f\xff\xff\xff\xff\xff\xff\xfd");
        assert_eq!(index_prefix(TableId(7), IndexId(1)), b"t\0\0\0\0\0\0\0\x07_i\0\0\0\0\0\0\0\x01");
    }

    #[test]
    fn a_table_is_one_range_and_keys_decode() {
        let key = row_key(TableId(7), -3);
        assert!(table_range(TableId(7)).contains(&key) && rows_range(TableId(7)).contains(&key));
        assert!(!table_range(TableId(8)).contains(&key) && !index_range(TableId(7), IndexId(1)).contains(&key));
        assert!(row_key(TableId(7), -3) < row_key(TableId(7), 2));
        let (table, kind, mut rest) = decode(&key).unwrap();
        assert_eq!((table, kind, codec::decode_i64(&mut rest)), (TableId(7), TableKeyKind::Row, Ok(-3)));
        assert_eq!(prefix_end(&[1, 0xff]), [2]);
        assert!(prefix_end(&[0xff]).is_empty());
    }
}
