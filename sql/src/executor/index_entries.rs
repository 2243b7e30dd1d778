//! The entries that rows have in an index.

use crate::catalog::model::{Index, IndexColumn, Table};
use crate::error::{Error, Result};
use crate::executor::table_reader::scan_columns;
use basalt_common::table_key;
use basalt_expr::convert::value_at;
use basalt_expr::key::{self, IndexEntry, IndexPart, IndexTarget};
use basalt_expr::row::RowDecoder;
use basalt_expr::value::Value;
use bytes::Bytes;

/// The columns of an index, as its entries are encoded.
pub fn parts(table: &Table, index: &Index) -> Vec<IndexPart> {
    let part = |part: &IndexColumn| IndexPart {
        ty: table.columns[part.column].ty.clone(),
        prefix_length: part.prefix_length.unwrap_or(0),
    };
    index.columns.iter().map(part).collect()
}

/// The entry of each row in an index, with the values of the index's columns. Rows are keys and stored values.
///
/// # Errors
/// [`Error::Internal`] for a row that cannot be read.
pub fn of_rows(table: &Table, index: &Index, rows: &[(Bytes, Bytes)]) -> Result<Vec<(IndexEntry, Vec<Value>)>> {
    let offsets: Vec<usize> = index.columns.iter().map(|part| part.column).collect();
    let parts = parts(table, index);
    let target = IndexTarget { table: table.id, index: index.id, unique: index.unique, parts: &parts };
    let mut decoder = RowDecoder::new(scan_columns(table, &offsets)?, rows.len());
    for (key, value) in rows {
        decoder.append(&key[table_key::ROW_PREFIX_LEN.min(key.len())..], value)?;
    }
    let batch = decoder.finish()?;
    let mut entries = Vec::with_capacity(batch.num_rows());
    for (row, (key, _)) in rows.iter().enumerate() {
        let values = (0..parts.len())
            .map(|column| value_at(batch.column(column), &parts[column].ty, row))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let handle = key::decode_row_key(key, table.handle.is_integer());
        let (_, handle) = handle.map_err(|e| Error::Internal(e.to_string()))?;
        entries.push((key::encode_index_entry(target, &values, &handle)?, values));
    }
    Ok(entries)
}
