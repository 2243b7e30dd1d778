//! Order, and each row once.

use crate::error::{Error, Result};
use crate::plan::SortKey;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use basalt_expr::convert::ColumnReader;
use basalt_expr::func::compare;
use basalt_expr::key::encode_value;
use basalt_expr::types::FieldType;
use basalt_expr::{EvalContext, Value, eval};
use std::cmp::Ordering;
use std::collections::HashSet;

/// Sorts a batch; equal rows keep their order. NULLs are first ascending, last descending.
///
/// # Errors
/// When a key cannot be calculated.
pub fn sort(batch: &RecordBatch, keys: &[SortKey], ctx: &EvalContext) -> Result<RecordBatch> {
    take(batch, order(batch, keys, ctx)?)
}

/// The numbers of a batch's rows in the order that [`sort`] gives them.
///
/// # Errors
/// When a key cannot be calculated.
pub fn order(batch: &RecordBatch, keys: &[SortKey], ctx: &EvalContext) -> Result<Vec<u32>> {
    let rows = batch.num_rows();
    let mut columns: Vec<(Vec<Value>, &FieldType, bool)> = Vec::with_capacity(keys.len());
    for key in keys {
        let array = eval(&key.expr, batch, ctx)?.into_array(key.expr.ty(), rows)?;
        columns.push((values(&array, key.expr.ty())?, key.expr.ty(), key.descending));
    }
    let order = |a: &u32, b: &u32| {
        columns.iter().fold(Ordering::Equal, |ordering, (values, ty, descending)| {
            ordering.then_with(|| {
                let ordering = compare(&values[*a as usize], &values[*b as usize], ty);
                if *descending { ordering.reverse() } else { ordering }
            })
        })
    };
    let mut indices: Vec<u32> = (0..rows as u32).collect();
    indices.sort_by(order);
    Ok(indices)
}

/// Drops rows that are equal to an earlier one, by the columns' collations.
///
/// # Errors
/// [`Error::Internal`] for columns that keys cannot hold.
pub fn distinct(batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (array, field) in batch.columns().iter().zip(batch.schema().fields()) {
        let ty = FieldType::of_arrow_field(field);
        columns.push((values(array, &ty)?, ty));
    }
    let mut seen = HashSet::with_capacity(rows);
    let mut kept = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut key = Vec::with_capacity(columns.len() * 12);
        for (values, ty) in &columns {
            encode_value(&mut key, &values[row], ty)?;
        }
        if seen.insert(key) {
            kept.push(row as u32);
        }
    }
    if kept.len() == rows { Ok(batch.clone()) } else { take(batch, kept) }
}

/// A column's values.
///
/// # Errors
/// [`Error::Internal`] when the array is not of that type.
pub fn values(array: &ArrayRef, ty: &FieldType) -> Result<Vec<Value>> {
    let reader = ColumnReader::new(array.as_ref(), ty)?;
    Ok((0..array.len()).map(|row| reader.value(row)).collect())
}

/// Some rows of a batch, in the order given.
///
/// # Errors
/// [`Error::Internal`] when there are no such rows.
pub fn take(batch: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch> {
    take_record_batch(batch, &UInt32Array::from(rows)).map_err(|e| Error::Internal(format!("take: {e}")))
}
