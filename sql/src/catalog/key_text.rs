//! Keys as people read them: `t_15_r_6000` is row 6000 of table 15.

use super::model::{Handle, Schema, Table};
use basalt_common::codec;
use basalt_common::table_key::{self, META_PREFIX, TABLE_PREFIX, TableKeyKind};

/// A key, or border of a region; empty for the ends of the key space. What has no name stands in hexadecimal.
///
/// ```text
/// t_15             everything of table 15 begins here
/// t_15_r_6000      its row 6000; t_15_r_hex where the row's key is not an integer
/// t_15_i_2_hex     an entry of its index 2, by the encoded values
/// m_hex            the catalog
/// ```
pub fn key_text(key: &[u8], schema: &Schema) -> String {
    match key.first() {
        None => String::new(),
        Some(&TABLE_PREFIX) => table_key_text(key, schema).unwrap_or_else(|| hex(key)),
        Some(&META_PREFIX) => format!("m_{}", hex(&key[1..])),
        Some(_) => hex(key),
    }
}

fn table_key_text(key: &[u8], schema: &Schema) -> Option<String> {
    if let Ok((table, kind, rest)) = table_key::decode(key) {
        let head = match kind {
            TableKeyKind::Row => format!("t_{table}_r"),
            TableKeyKind::Index(index) => format!("t_{table}_i_{index}"),
        };
        let tail = match kind {
            TableKeyKind::Row => row_text(rest, schema.table_by_id(table).map(|(_, t)| t.as_ref())),
            TableKeyKind::Index(_) => hex(rest),
        };
        return Some(if tail.is_empty() { head } else { format!("{head}_{tail}") });
    }
    let mut rest = &key[1..];
    let table = codec::decode_u64(&mut rest).ok()?;
    Some(match rest {
        [] => format!("t_{table}"),
        rest => format!("t_{table}_{}", hex(rest)),
    })
}

/// What follows a row prefix. A border may be cut short, or lie behind a whole handle.
fn row_text(rest: &[u8], table: Option<&Table>) -> String {
    let mut bytes = rest;
    let handle = table.is_none_or(|t| t.handle.is_integer()).then(|| codec::decode_i64(&mut bytes).ok()).flatten();
    let Some(handle) = handle else { return hex(rest) };
    let is_unsigned =
        matches!(table, Some(Table { handle: Handle::Integer(at), columns, .. }) if columns[*at].ty.unsigned);
    let number = if is_unsigned { ((handle as u64) ^ (1 << 63)).to_string() } else { handle.to_string() };
    if bytes.is_empty() { number } else { format!("{number}_{}", hex(bytes)) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_common::{IndexId, TableId};

    #[test]
    fn keys_are_named() {
        let text = |key: &[u8]| key_text(key, &Schema::default());
        let table = TableId(15);
        assert_eq!(text(b""), "");
        assert_eq!(text(&table_key::table_prefix(table)), "t_15");
        assert_eq!(text(&table_key::row_prefix(table)), "t_15_r");
        assert_eq!(text(&table_key::row_key(table, 6000)), "t_15_r_6000");
        assert_eq!(text(&table_key::row_key(table, -3)), "t_15_r_-3");
        assert_eq!(text(&[&table_key::row_key(table, 1)[..], b"\0"].concat()), "t_15_r_1_00");
        assert_eq!(text(&table_key::index_prefix(table, IndexId(2))), "t_15_i_2");
        assert_eq!(text(&[&table_key::index_prefix(table, IndexId(2))[..], b"\x03\x80"].concat()), "t_15_i_2_0380");
        assert_eq!(text(b"mV"), "m_56");
        assert_eq!(text(b"t\0"), "7400");
        assert_eq!(text(b"z\xff"), "7aff");
    }
}
