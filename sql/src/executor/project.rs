//! Expressions over each row.

use crate::error::{Error, Result};
use crate::plan::OutputColumn;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use basalt_expr::expr::Expr;
use basalt_expr::{EvalContext, eval};
use std::sync::Arc;

/// Evaluates one expression an output column.
///
/// # Errors
/// When one cannot be calculated.
pub fn project(exprs: &[Expr], output: &[OutputColumn], batch: &RecordBatch, ctx: &EvalContext) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut arrays = Vec::with_capacity(exprs.len());
    for expr in exprs {
        arrays.push(eval(expr, batch, ctx)?.into_array(expr.ty(), rows)?);
    }
    batch_of(schema(output), arrays, rows)
}

/// The schema of output columns. Every column may be NULL as far as Arrow is concerned.
pub fn schema(output: &[OutputColumn]) -> SchemaRef {
    let field = |c: &OutputColumn| c.ty.arrow_field(&c.name).with_nullable(true);
    Arc::new(Schema::new(output.iter().map(field).collect::<Vec<_>>()))
}

/// A batch of columns, which may be none.
///
/// # Errors
/// [`Error::Internal`] when columns and schema do not fit.
pub fn batch_of(schema: SchemaRef, arrays: Vec<arrow::array::ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(|e| Error::Internal(format!("batch: {e}")))
}
