//! Rows as values: what DML works on.

use crate::catalog::model::{Handle as HandleKind, Table};
use crate::context::ReadView;
use crate::error::{Error, Result};
use crate::executor::table_reader::{fetch, scan_columns};
use arrow::record_batch::RecordBatch;
use basalt_common::UserKey;
use basalt_common::table_key::ROW_PREFIX_LEN;
use basalt_expr::convert::ColumnReader;
use basalt_expr::row::RowDecoder;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use std::collections::HashMap;

/// The rows of a batch whose columns are of these types.
///
/// # Errors
/// [`Error::Internal`] when they are not.
pub fn of_batch(batch: &RecordBatch, types: &[FieldType]) -> Result<Vec<Vec<Value>>> {
    if batch.num_columns() != types.len() {
        return Err(Error::Internal(format!("{} columns for {} types", batch.num_columns(), types.len())));
    }
    let readers = batch.columns().iter().zip(types).map(|(array, ty)| Ok(ColumnReader::new(array.as_ref(), ty)?));
    let readers = readers.collect::<Result<Vec<_>>>()?;
    Ok((0..batch.num_rows()).map(|row| readers.iter().map(|reader| reader.value(row)).collect()).collect())
}

/// All columns of a table, the hidden handle behind them if rows have one.
pub fn all_offsets(table: &Table) -> Vec<usize> {
    (0..table.columns.len() + usize::from(table.handle == HandleKind::Hidden)).collect()
}

/// Types of [`all_offsets`].
pub fn all_types(table: &Table) -> Vec<FieldType> {
    let hidden = (table.handle == HandleKind::Hidden).then(FieldType::bigint);
    table.columns.iter().map(|c| c.ty.clone()).chain(hidden).collect()
}

/// Reads whole rows by their keys: all columns, then the hidden handle. Keys without a row are left out.
///
/// # Errors
/// What storage returns.
pub async fn read(table: &Table, keys: Vec<UserKey>, view: &ReadView) -> Result<HashMap<UserKey, Vec<Value>>> {
    let pairs = fetch(view, keys).await?;
    let rows = decode(table, pairs.iter().map(|(key, value)| (key.as_slice(), &value[..])))?;
    Ok(pairs.into_iter().map(|(key, _)| key).zip(rows).collect())
}

/// Stored rows, by key and value: all columns, then the hidden handle.
///
/// # Errors
/// [`Error::Eval`] for bytes that are no row.
pub fn decode<'a>(
    table: &Table,
    pairs: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Vec<Vec<Value>>> {
    let columns = scan_columns(table, &all_offsets(table))?;
    let mut decoder = RowDecoder::new(columns, pairs.len());
    for (key, value) in pairs {
        decoder.append(key.get(ROW_PREFIX_LEN..).unwrap_or_default(), value)?;
    }
    of_batch(&decoder.finish()?, &all_types(table))
}

/// The hidden number of a row as `read` gives it; `None` for tables that have none.
pub fn hidden_number(table: &Table, row: &[Value]) -> Option<i64> {
    if table.handle == HandleKind::Hidden { row.get(table.columns.len()).and_then(Value::as_i64) } else { None }
}
