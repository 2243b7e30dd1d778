//! Expressions over each row.

use crate::error::{Error, Result};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use basalt_expr::expr::Expr;
use basalt_expr::{EvalContext, eval};

/// Evaluates one expression a column of the schema.
///
/// # Errors
/// When one cannot be calculated.
pub fn project(exprs: &[Expr], schema: &SchemaRef, batch: &RecordBatch, ctx: &EvalContext) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut arrays = Vec::with_capacity(exprs.len());
    for expr in exprs {
        arrays.push(eval(expr, batch, ctx)?.into_array(expr.ty(), rows)?);
    }
    batch_of(schema.clone(), arrays, rows)
}

/// A batch of columns, which may be none.
///
/// # Errors
/// [`Error::Internal`] when columns and schema do not fit.
pub fn batch_of(schema: SchemaRef, arrays: Vec<arrow::array::ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(|e| Error::Internal(format!("batch: {e}")))
}
