//! Column definitions: what a client is told about a result's columns.
//!
//! ```text
//! "def" | schema | table | org_table | name | org_name     six length-encoded strings
//! 0c | collation u16 | length u32 | type u8 | flags u16 | decimals u8 | 00 00
//! ```
//!
//! A [`ColumnSet`] holds the definitions of one result as finished packets, so that a cached statement sends them with
//! one copy: only the sequence numbers are filled in per response.

use super::charset::ResultCharset;
use super::constant::{COLLATION_BINARY, COLLATION_DEFAULT, ColumnFlags, TypeCode};
use super::payload::{put_lenenc_bytes, put_lenenc_int};

/// Decimals of a column whose values are floating point or strings: not fixed.
pub const DECIMALS_NOT_FIXED: u8 = 31;

/// One column of a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnDef {
    /// Schema of the table; empty for expressions.
    pub schema: String,
    /// The table's alias in the statement; empty for expressions.
    pub table: String,
    /// The table's own name; empty for expressions and derived tables.
    pub org_table: String,
    /// The column's name in the result.
    pub name: String,
    /// The column's own name; empty for expressions.
    pub org_name: String,
    /// Collation id of the values; 63 marks numbers, times and byte strings.
    pub collation: u16,
    /// Display length in bytes, four of them a character.
    pub length: u32,
    /// Type of the values; decides their shape in binary rows.
    pub type_code: TypeCode,
    /// Properties.
    pub flags: ColumnFlags,
    /// Digits after the point; [`DECIMALS_NOT_FIXED`] for floating point.
    pub decimals: u8,
}

impl ColumnDef {
    /// A signed 64-bit column of an expression.
    pub fn bigint(name: impl Into<String>) -> ColumnDef {
        ColumnDef {
            schema: String::new(),
            table: String::new(),
            org_table: String::new(),
            name: name.into(),
            org_name: String::new(),
            collation: COLLATION_BINARY,
            length: 21,
            type_code: TypeCode::LONGLONG,
            flags: ColumnFlags::BINARY,
            decimals: 0,
        }
    }

    /// A text column of an expression, `chars` characters wide.
    pub fn text(name: impl Into<String>, chars: u32) -> ColumnDef {
        ColumnDef {
            collation: COLLATION_DEFAULT,
            length: chars.saturating_mul(4),
            type_code: TypeCode::VAR_STRING,
            flags: ColumnFlags::default(),
            decimals: DECIMALS_NOT_FIXED,
            ..ColumnDef::bigint(name)
        }
    }

    /// How a prepared statement's parameter is described: its type is not known yet.
    pub fn parameter() -> ColumnDef {
        ColumnDef { type_code: TypeCode::VAR_STRING, length: 0, ..ColumnDef::bigint("?") }
    }

    pub(super) fn encode(&self, charset: ResultCharset, out: &mut Vec<u8>) {
        for text in ["def", &self.schema, &self.table, &self.org_table, &self.name, &self.org_name] {
            put_lenenc_bytes(out, &charset.name(text));
        }
        let (collation, length) = charset.of_column(self.collation, self.length);
        out.push(0x0c);
        out.extend_from_slice(&collation.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.push(self.type_code.0);
        out.extend_from_slice(&self.flags.0.to_le_bytes());
        out.extend_from_slice(&[self.decimals, 0, 0]);
    }
}

/// What a row needs to know of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellType {
    /// Type of the values.
    pub code: TypeCode,
    /// The column is unsigned.
    pub unsigned: bool,
}

/// The columns of one result, ready to be sent. Made once per statement and shared.
#[derive(Clone, Debug, Default)]
pub struct ColumnSet {
    columns: Vec<ColumnDef>,
    cells: Vec<CellType>,
    /// The definitions as packets with sequence number 0.
    packets: Vec<u8>,
    /// Where the sequence numbers stand in `packets`.
    sequence_at: Vec<u32>,
}

impl ColumnSet {
    /// Encodes the definitions for a client that reads UTF-8.
    pub fn new(columns: Vec<ColumnDef>) -> ColumnSet {
        ColumnSet::in_charset(columns, ResultCharset::default())
    }

    /// Encodes the definitions for a client that is sent text in `charset`.
    pub fn in_charset(columns: Vec<ColumnDef>, charset: ResultCharset) -> ColumnSet {
        let mut packets = Vec::new();
        let mut sequence_at = Vec::with_capacity(columns.len());
        for column in &columns {
            let start = packets.len();
            packets.extend_from_slice(&[0; 4]);
            column.encode(charset, &mut packets);
            // Names are identifiers of at most 64 characters or aliases cut by the binder: far below 2^24 bytes.
            let [a, b, c, _] = ((packets.len() - start - 4) as u32).to_le_bytes();
            if let Some(header) = packets.get_mut(start..start + 4) {
                header.copy_from_slice(&[a, b, c, 0]);
            }
            sequence_at.push((start + 3) as u32);
        }
        let cells = columns
            .iter()
            .map(|column| CellType { code: column.type_code, unsigned: column.flags.has(ColumnFlags::UNSIGNED) })
            .collect();
        ColumnSet { columns, cells, packets, sequence_at }
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// True for a statement without result.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The definitions.
    pub fn columns(&self) -> &[ColumnDef] {
        &self.columns
    }

    /// The types of the values.
    pub fn cells(&self) -> &[CellType] {
        &self.cells
    }

    /// Finished packets and the places of their sequence numbers.
    pub(crate) fn packets(&self) -> (&[u8], &[u32]) {
        (&self.packets, &self.sequence_at)
    }
}

/// Appends a definition as COM_FIELD_LIST wants it: with the column's default after it (NULL here).
pub(super) fn encode_field_list_entry(column: &ColumnDef, charset: ResultCharset, out: &mut Vec<u8>) {
    column.encode(charset, out);
    put_lenenc_int(out, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_bytes() {
        let mut out = Vec::new();
        ColumnDef {
            schema: "d".into(),
            table: "a".into(),
            org_table: "t".into(),
            org_name: "c".into(),
            flags: ColumnFlags::NOT_NULL.with(ColumnFlags::UNSIGNED),
            ..ColumnDef::bigint("x")
        }
        .encode(ResultCharset::default(), &mut out);
        assert_eq!(out, b"\x03def\x01d\x01a\x01t\x01x\x01c\x0c\x3f\x00\x15\x00\x00\x00\x08\x21\x00\x00\x00\x00");
    }

    #[test]
    fn a_set_is_its_definitions_as_packets() {
        let set = ColumnSet::new(vec![ColumnDef::bigint("a"), ColumnDef::text("b", 10)]);
        let (packets, places) = set.packets();
        let mut expected = Vec::new();
        for column in set.columns() {
            let mut payload = Vec::new();
            column.encode(ResultCharset::default(), &mut payload);
            expected.extend_from_slice(&[payload.len() as u8, 0, 0, 0]);
            expected.extend_from_slice(&payload);
        }
        assert_eq!(packets, expected);
        assert_eq!(places.len(), 2);
        assert!(set.cells().iter().all(|cell| !cell.unsigned));
    }
}
