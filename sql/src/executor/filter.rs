//! Rows for which a predicate is true.

use crate::error::{Error, Result};
use arrow::array::{Array, AsArray, BooleanArray, BooleanBuilder};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use basalt_expr::convert::ColumnReader;
use basalt_expr::expr::Expr;
use basalt_expr::{ColumnarValue, EvalContext, Value, eval};

/// For each row, whether the predicate is true; NULL and false are false.
///
/// # Errors
/// When the predicate cannot be calculated.
pub fn mask(predicate: &Expr, batch: &RecordBatch, ctx: &EvalContext) -> Result<BooleanArray> {
    let rows = batch.num_rows();
    let array = match eval(predicate, batch, ctx)? {
        ColumnarValue::Scalar(value) => return Ok(BooleanArray::from(vec![is_true(&value); rows])),
        ColumnarValue::Array(array) => array,
    };
    Ok(match array.data_type() {
        DataType::Int64 => truth(array.as_primitive::<Int64Type>().iter().map(|v| v.is_some_and(|v| v != 0))),
        DataType::UInt64 => truth(array.as_primitive::<UInt64Type>().iter().map(|v| v.is_some_and(|v| v != 0))),
        DataType::Float64 => truth(array.as_primitive::<Float64Type>().iter().map(|v| v.is_some_and(|v| v != 0.0))),
        DataType::Boolean => truth(array.as_boolean().iter().map(|v| v == Some(true))),
        _ => {
            let reader = ColumnReader::new(array.as_ref(), predicate.ty())?;
            truth((0..rows).map(|row| is_true(&reader.value(row))))
        }
    })
}

fn truth(rows: impl ExactSizeIterator<Item = bool>) -> BooleanArray {
    let mut out = BooleanBuilder::with_capacity(rows.len());
    rows.for_each(|row| out.append_value(row));
    out.finish()
}

/// MySQL's truth of a value.
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Int(v) => *v != 0,
        Value::UInt(v) => *v != 0,
        Value::Double(v) => *v != 0.0,
        Value::Decimal(v) => !v.is_zero(),
        other => basalt_expr::cast::to_f64_quiet(other) != 0.0,
    }
}

/// The rows that the mask keeps.
///
/// # Errors
/// [`Error::Internal`] when mask and batch do not fit.
pub fn apply(batch: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch> {
    if mask.true_count() == batch.num_rows() {
        return Ok(batch.clone());
    }
    filter_record_batch(batch, mask).map_err(|e| Error::Internal(format!("filter: {e}")))
}
