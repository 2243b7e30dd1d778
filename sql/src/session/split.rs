//! SPLIT TABLE: regions made before the rows come.
//!
//! `BETWEEN (low) AND (high) REGIONS n` cuts the rows (or an index) into n regions: the first takes everything below
//! `low + step`, the last everything above `high - step`, where `step = (high - low) / n`. Rows are first cut off from
//! what lies before them, so that exactly n regions hold them.

use super::session::SqlSession;
use crate::catalog::model::{Handle, Table};
use crate::context::RowStream;
use crate::error::{Error, Result};
use crate::parser::statement::{Split, SplitAt};
use crate::plan::OutputColumn;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use basalt_common::{KeyRange, table_key};
use basalt_expr::store::StoreContext;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use bytes::Bytes;
use std::sync::Arc;

/// Regions that one statement makes at most.
pub const REGIONS_MAX: u64 = 1000;

impl SqlSession {
    /// Runs SPLIT TABLE; says how many regions were made.
    pub(super) async fn split(&mut self, split: &Split) -> Result<RowStream> {
        let (_, table) = self.table(&split.table)?;
        let index = split.index.as_deref();
        let range = range_of(&table, index)?;
        let mut keys = vec![range.start.0.clone()];
        match &split.at {
            SplitAt::Between { low, high, regions } => {
                if !(1..=REGIONS_MAX).contains(regions) {
                    return Err(invalid(format!("REGIONS must be between 1 and {REGIONS_MAX}")));
                }
                let low = self.split_key(&table, index, low)?;
                let high = self.split_key(&table, index, high)?;
                if low >= high {
                    return Err(invalid("the lower bound must be below the upper bound".into()));
                }
                keys.extend(between(&low, &high, *regions));
            }
            SplitAt::By(points) => {
                for point in points {
                    keys.push(self.split_key(&table, index, point)?);
                }
            }
        }
        keys.sort();
        keys.dedup();
        let made = self.server.cluster.split_regions(keys).await?;
        let ty = FieldType::bigint_unsigned();
        let column =
            OutputColumn { name: "TOTAL_SPLIT_REGION".into(), table: String::new(), origin: None, ty: ty.clone() };
        let array = basalt_expr::convert::array_of(&ty, &[Value::UInt(made)])?;
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![ty.arrow_field("n")])), vec![array])?;
        Ok(RowStream::from_batches(vec![column], vec![batch]))
    }

    /// The key at which rows (or index entries) with these values begin.
    fn split_key(&mut self, table: &Table, index: Option<&str>, values: &[crate::parser::ast::Expr]) -> Result<Bytes> {
        let (mut key, columns): (Vec<u8>, Vec<usize>) = match (index, &table.handle) {
            (Some(name), _) => {
                let range = range_of(table, Some(name))?;
                let index =
                    table.index(name).ok_or_else(|| Error::internal("an index with a range has a definition"))?;
                (range.start.0.to_vec(), index.columns.iter().map(|c| c.column).collect())
            }
            (None, Handle::Common(columns)) => (table_key::row_prefix(table.id), columns.clone()),
            (None, Handle::Integer(column)) => (table_key::row_prefix(table.id), vec![*column]),
            (None, Handle::Hidden) => (table_key::row_prefix(table.id), Vec::new()),
        };
        let hidden = index.is_none() && table.handle == Handle::Hidden;
        let width = if hidden { 1 } else { columns.len() };
        if values.is_empty() || values.len() > width {
            return Err(invalid(format!("{} values where the key has {width} columns", values.len())));
        }
        let eval = self.eval_context(Arc::from([]), false);
        for (position, expr) in values.iter().enumerate() {
            let value = self.evaluate(expr)?;
            let from = basalt_expr::func::literal_type(&value);
            let integer_handle = index.is_none() && !matches!(table.handle, Handle::Common(_));
            if integer_handle {
                let ty = columns.first().map_or_else(FieldType::bigint, |c| table.columns[*c].ty.clone());
                let stored = basalt_expr::store::cast_for_store(
                    &value,
                    &from,
                    &ty,
                    &StoreContext { eval: &eval, column: "handle", row: 1, ignore: false },
                )?;
                let handle = match stored {
                    Value::Int(v) => v,
                    Value::UInt(v) => (v ^ (1 << 63)) as i64,
                    _ => return Err(invalid("the row key is an integer".into())),
                };
                basalt_common::codec::encode_i64(&mut key, handle);
            } else {
                let column = &table.columns[columns[position]];
                let stored = basalt_expr::store::cast_for_store(
                    &value,
                    &from,
                    &column.ty,
                    &StoreContext { eval: &eval, column: &column.name, row: 1, ignore: false },
                )?;
                basalt_expr::key::encode_value(&mut key, &stored, &column.ty)?;
            }
        }
        Ok(key.into())
    }
}

/// The keys of a table's rows, or of one of its indexes.
///
/// # Errors
/// 1176 for an index that the table does not have.
fn range_of(table: &Table, index: Option<&str>) -> Result<KeyRange> {
    let Some(name) = index else { return Ok(table_key::rows_range(table.id)) };
    let index = table.entry_indexes().find(|i| i.name.eq_ignore_ascii_case(name)).ok_or_else(|| Error::User {
        code: 1176,
        sqlstate: "42000",
        message: format!("Key '{name}' doesn't exist in table '{}'", table.name),
    })?;
    Ok(table_key::index_range(table.id, index.id))
}

fn invalid(message: String) -> Error {
    Error::User { code: 8212, sqlstate: "HY000", message: format!("Failed to split region ranges: {message}") }
}

/// `regions - 1` keys that cut `[low, high)` evenly, by the eight bytes behind what both have in common.
fn between(low: &[u8], high: &[u8], regions: u64) -> Vec<Bytes> {
    let common = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    let number = |key: &[u8]| {
        let mut eight = [0u8; 8];
        let tail = &key[common.min(key.len())..];
        let length = tail.len().min(8);
        eight[..length].copy_from_slice(&tail[..length]);
        u64::from_be_bytes(eight)
    };
    // How many of the eight bytes the bounds really have: an 8-byte handle must stay 8 bytes long.
    let width = low.len().max(high.len()).saturating_sub(common).min(8);
    let (from, to) = (u128::from(number(low)), u128::from(number(high)));
    (1..u128::from(regions))
        .map(|i| {
            let at = (from + (to - from) * i / u128::from(regions)) as u64;
            let mut key = low[..common].to_vec();
            key.extend_from_slice(&at.to_be_bytes()[..width]);
            Bytes::from(key)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_common::TableId;

    #[test]
    fn eight_regions_have_seven_even_cuts() {
        let key = |handle| table_key::row_key(TableId(9), handle);
        let cuts = between(&key(0), &key(8000), 8);
        let expected: Vec<Bytes> = (1..8).map(|i| Bytes::from(key(i * 1000))).collect();
        assert_eq!(cuts, expected);
        assert_eq!(between(&key(-100), &key(100), 2), [Bytes::from(key(0))]);
        assert!(between(&key(0), &key(10), 1).is_empty());
    }
}
