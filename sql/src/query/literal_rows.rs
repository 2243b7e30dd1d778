//! Many rows of literals, as a table in memory: DataFusion's rules would look at each of its own VALUES again and again.

use super::lower::as_type;
use crate::error::Result;
use crate::plan::OutputColumn;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use basalt_expr::convert::array_of;
use basalt_expr::expr::Expr;
use basalt_expr::fragment::BATCH_ROWS;
use basalt_expr::value::Value;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use std::sync::Arc;

/// Fewer rows stay expressions.
const ROWS_MIN: usize = 16;

/// The rows as a table; `None` when they are few, or some cell is no literal.
///
/// # Errors
/// When a value is not of its column's type.
pub fn table(rows: &[Vec<Expr>], output: &[OutputColumn]) -> Result<Option<Arc<dyn TableProvider>>> {
    if rows.len() < ROWS_MIN {
        return Ok(None);
    }
    // Columns go by position; names may repeat.
    let fields = output.iter().enumerate().map(|(i, column)| column.ty.arrow_field(&format!("c{i}")));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut batches = Vec::with_capacity(rows.len().div_ceil(BATCH_ROWS));
    for rows in rows.chunks(BATCH_ROWS) {
        let mut columns = Vec::with_capacity(output.len());
        for (i, column) in output.iter().enumerate() {
            let Some(values) = rows.iter().map(|row| value(&row[i], column)).collect::<Option<Vec<_>>>() else {
                return Ok(None);
            };
            columns.push(array_of(&column.ty, &values)?);
        }
        batches.push(RecordBatch::try_new(schema.clone(), columns).map_err(datafusion_common::DataFusionError::from)?);
    }
    Ok(Some(Arc::new(MemTable::try_new(schema, vec![batches])?)))
}

fn value(expr: &Expr, column: &OutputColumn) -> Option<Value> {
    match as_type(expr, column) {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}
