//! Tables of information_schema and its like, as rows in memory.

use super::lower::{VirtualTables, output_schema};
use crate::error::{Error, Result};
use crate::plan::{LogicalPlan, VirtualScan, walk};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use basalt_expr::convert::array_of;
use basalt_expr::value::Value;
use datafusion::datasource::MemTable;
use std::sync::Arc;

/// The made-up tables that a plan reads, each once.
pub fn virtual_scans(plan: &LogicalPlan) -> Vec<VirtualScan> {
    let mut found = Vec::new();
    walk::visit(plan, &mut |node| {
        if let LogicalPlan::Virtual(scan) = node {
            found.push(scan.clone());
        }
    });
    found.sort_by(|a, b| (&a.database, &a.table).cmp(&(&b.database, &b.table)));
    found.dedup_by(|a, b| (&a.database, &a.table) == (&b.database, &b.table));
    found
}

/// Adds a made-up table's rows, one value a column.
///
/// # Errors
/// [`Error::Eval`] when a value is not of its column's type.
pub fn add(tables: &mut VirtualTables, scan: &VirtualScan, rows: &[Vec<Value>]) -> Result<()> {
    let mut arrays = Vec::with_capacity(scan.output.len());
    for (index, column) in scan.output.iter().enumerate() {
        let values: Vec<_> = rows.iter().map(|row| row.get(index).cloned().unwrap_or(Value::Null)).collect();
        arrays.push(array_of(&column.ty, &values)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let schema = output_schema(&scan.output);
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
    let table = MemTable::try_new(schema, vec![vec![batch]]).map_err(Error::from)?;
    tables.insert((scan.database.clone(), scan.table.clone()), Arc::new(table));
    Ok(())
}
