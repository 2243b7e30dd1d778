//! `column = value`: the assignments of UPDATE and ON DUPLICATE KEY UPDATE over one row.

use crate::catalog::model::{SchemaState, Table};
use crate::context::StatementContext;
use crate::error::Result;
use crate::executor::column_value::{self, StoreMode};
use crate::plan::Assignment;
use basalt_expr::expr::Expr;
use basalt_expr::value::Value;

/// The table whose columns are assigned, and where they stand in the row.
pub struct Target<'a> {
    /// The table.
    pub table: &'a Table,
    /// Where its columns start in the row.
    pub offset: usize,
    /// In order; later ones see earlier ones' values.
    pub assignments: &'a [Assignment],
}

impl Target<'_> {
    /// The next AUTO_INCREMENT value is above one that was assigned.
    ///
    /// # Errors
    /// When the counter cannot be raised.
    pub async fn raise_auto_increment(&self, values: &[Value], ctx: &StatementContext) -> Result<()> {
        let Some(offset) = self.table.auto_increment_column() else { return Ok(()) };
        let given = values[offset].as_u64().filter(|_| self.assignments.iter().any(|a| a.column == offset));
        match given {
            Some(given) => ctx.catalog.sequences().observe_auto_increment(self.table.id, given).await,
            None => Ok(()),
        }
    }
}

/// Assigns, and says whether the table's row is another one now. A row that changes gets new values for its
/// ON UPDATE CURRENT_TIMESTAMP columns that are not assigned themselves.
///
/// # Errors
/// When a value cannot be calculated or stored.
pub fn assign(target: &Target<'_>, row: &mut [Value], mode: StoreMode, ctx: &StatementContext) -> Result<bool> {
    // Against the row as it was: a column may be assigned twice, and get its own value back.
    let place = |assignment: &Assignment| target.offset + assignment.column;
    let before: Vec<_> = target.assignments.iter().map(|a| row[place(a)].clone()).collect();
    for assignment in target.assignments {
        let column = &target.table.columns[assignment.column];
        let value = match &assignment.value {
            None => column_value::default(column, mode, ctx)?,
            // A column's own value is let be, whatever the mode thinks of it.
            Some(Expr::Column { index, .. }) if *index == place(assignment) => continue,
            Some(expr) => column_value::store(&ctx.eval_row(expr, row)?, expr.ty(), column, mode, ctx)?,
        };
        row[place(assignment)] = value;
    }
    let is_changed = target.assignments.iter().zip(before).any(|(a, before)| row[place(a)] != before);
    if is_changed {
        for (offset, column) in target.table.columns.iter().enumerate() {
            let is_assigned = target.assignments.iter().any(|a| a.column == offset);
            if column.on_update_now && !is_assigned && column.state == SchemaState::Public {
                row[target.offset + offset] = column_value::now(column, ctx)?;
            }
        }
    }
    Ok(is_changed)
}
