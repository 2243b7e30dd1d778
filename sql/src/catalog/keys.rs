//! Keys of the catalog; see the module for the layout.

use basalt_common::codec::{self, CodecError};
use basalt_common::table_key::{META_PREFIX, prefix_range};
use basalt_common::{IndexId, KeyRange, TableId};

fn key(kind: u8, numbers: &[u64]) -> Vec<u8> {
    let mut out = vec![META_PREFIX, kind];
    numbers.iter().for_each(|n| codec::encode_u64(&mut out, *n));
    out
}

/// `mV`: the schema version.
pub fn version() -> Vec<u8> {
    key(b'V', &[])
}

/// `mD{database}`.
pub fn database(id: u64) -> Vec<u8> {
    key(b'D', &[id])
}

/// All databases.
pub fn databases() -> KeyRange {
    prefix_range(key(b'D', &[]))
}

/// `mT{database}{table}`.
pub fn table(database: u64, table: TableId) -> Vec<u8> {
    key(b'T', &[database, table.0])
}

/// All tables.
pub fn tables() -> KeyRange {
    prefix_range(key(b'T', &[]))
}

/// `mA{table}`: the AUTO_INCREMENT counter.
pub fn auto_increment(table: TableId) -> Vec<u8> {
    key(b'A', &[table.0])
}

/// `mR{table}`: the hidden row id counter.
pub fn row_id(table: TableId) -> Vec<u8> {
    key(b'R', &[table.0])
}

/// `mJ{job}`.
pub fn job(id: u64) -> Vec<u8> {
    key(b'J', &[id])
}

/// All jobs.
pub fn jobs() -> KeyRange {
    prefix_range(key(b'J', &[]))
}

/// `mX{claim}`.
pub fn claim(id: u64) -> Vec<u8> {
    key(b'X', &[id])
}

/// All claims of tables.
pub fn claims() -> KeyRange {
    prefix_range(key(b'X', &[]))
}

/// `mG{ts}{table}{index}`; index 0 = the whole table.
pub fn dropped(ts: u64, table: TableId, index: IndexId) -> Vec<u8> {
    key(b'G', &[ts, table.0, index.0])
}

/// Ranges that were dropped before `ts`.
pub fn dropped_before(ts: u64) -> KeyRange {
    KeyRange::new(key(b'G', &[]), key(b'G', &[ts]))
}

/// When, and what, a `mG` key says was dropped.
///
/// # Errors
/// [`CodecError`] for another key.
pub fn decode_dropped(mut bytes: &[u8]) -> Result<(u64, TableId, IndexId), CodecError> {
    bytes = bytes.strip_prefix(&[META_PREFIX, b'G']).ok_or(CodecError::Malformed("not a dropped range"))?;
    Ok((
        codec::decode_u64(&mut bytes)?,
        TableId(codec::decode_u64(&mut bytes)?),
        IndexId(codec::decode_u64(&mut bytes)?),
    ))
}

/// `mU{user}00{host}`.
pub fn user(name: &str, host: &str) -> Vec<u8> {
    let mut out = vec![META_PREFIX, b'U'];
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.extend_from_slice(host.as_bytes());
    out
}

/// All accounts.
pub fn users() -> KeyRange {
    prefix_range(vec![META_PREFIX, b'U'])
}

/// `mS{name}`: a system variable's global value.
pub fn variable(name: &str) -> Vec<u8> {
    let mut out = vec![META_PREFIX, b'S'];
    out.extend_from_slice(name.as_bytes());
    out
}

/// All global values that were set.
pub fn variables() -> KeyRange {
    prefix_range(vec![META_PREFIX, b'S'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_formats_are_fixed() {
        assert_eq!(version(), b"mV");
        assert_eq!(table(2, TableId(7)), b"mT\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x07");
        assert_eq!(auto_increment(TableId(7)), b"mA\0\0\0\0\0\0\0\x07");
        assert_eq!(user("root", "%"), b"mUroot\0%");
        assert_eq!(variable("sql_mode"), b"mSsql_mode");
        let key = dropped(9, TableId(7), IndexId(1));
        assert_eq!(key, b"mG\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x01");
        assert_eq!(decode_dropped(&key), Ok((9, TableId(7), IndexId(1))));
    }
}
