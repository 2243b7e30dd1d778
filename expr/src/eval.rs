//! Runs expressions over batches.

use crate::context::EvalContext;
use crate::error::EvalError;
use crate::expr::Expr;
use crate::types::FieldType;
use crate::value::Value;
use arrow::array::{ArrayRef, RecordBatch};

/// A column of results, or one value for all rows.
#[derive(Clone, Debug)]
pub enum ColumnarValue {
    /// One value a row.
    Array(ArrayRef),
    /// The same for every row.
    Scalar(Value),
}

impl ColumnarValue {
    /// As an array of `rows` rows of type `ty`.
    ///
    /// # Errors
    /// [`EvalError::Internal`] when the scalar is not of that type.
    pub fn into_array(self, ty: &FieldType, rows: usize) -> Result<ArrayRef, EvalError> {
        match self {
            ColumnarValue::Array(array) => Ok(array),
            ColumnarValue::Scalar(value) => {
                let mut builder = crate::convert::ColumnBuilder::new(ty, rows);
                for _ in 0..rows {
                    builder.append(&value)?;
                }
                Ok(builder.finish())
            }
        }
    }
}

/// Evaluates `expr` for every row of `batch`.
///
/// # Errors
/// [`EvalError`] of the first row that fails.
pub fn eval(expr: &Expr, batch: &RecordBatch, ctx: &EvalContext) -> Result<ColumnarValue, EvalError> {
    let _ = ctx;
    match expr {
        Expr::Column { index, .. } => match batch.columns().get(*index) {
            Some(array) => Ok(ColumnarValue::Array(array.clone())),
            None => Err(EvalError::Internal(format!("no column {index}"))),
        },
        Expr::Literal(value, _) => Ok(ColumnarValue::Scalar(value.clone())),
        _ => Err(EvalError::Unsupported("functions".into())),
    }
}

/// Evaluates an expression without columns.
///
/// # Errors
/// [`EvalError`] when it fails, or reads a column.
pub fn eval_scalar(expr: &Expr, ctx: &EvalContext) -> Result<Value, EvalError> {
    eval_row(expr, &[], ctx)
}

/// Evaluates an expression over one row of values: the short path's INSERT, UPDATE and point reads.
///
/// # Errors
/// [`EvalError`] when it fails.
pub fn eval_row(expr: &Expr, row: &[Value], ctx: &EvalContext) -> Result<Value, EvalError> {
    let missing = |what: &str, index: usize| EvalError::Internal(format!("no {what} {index}"));
    match expr {
        Expr::Literal(value, _) => Ok(value.clone()),
        Expr::Column { index, .. } => row.get(*index).cloned().ok_or_else(|| missing("column", *index)),
        Expr::Parameter { index, .. } => {
            ctx.parameters.get(*index).cloned().ok_or_else(|| missing("parameter", *index))
        }
        _ => Err(EvalError::Unsupported("functions".into())),
    }
}
