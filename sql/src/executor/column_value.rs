//! What is stored into a column: given values by MySQL's assignment rules, and defaults.

use crate::catalog::model::{Column, ColumnDefault};
use crate::context::StatementContext;
use crate::error::{Error, Result};
use basalt_expr::decimal::Decimal;
use basalt_expr::store::{StoreContext, cast_for_store};
use basalt_expr::temporal::DateTime;
use basalt_expr::types::{EvalType, FieldType, TypeKind};
use basalt_expr::value::Value;
use basalt_expr::{Expr, Func, eval_scalar};
use std::sync::Arc;

/// How bad values are taken.
#[derive(Debug, Clone, Copy)]
pub struct StoreMode {
    /// The row, counted from 1, for messages.
    pub row: u64,
    /// IGNORE: errors become warnings.
    pub ignore: bool,
    /// NULL where there must be a value is an error in every sql_mode: the row is the only one of an INSERT.
    pub null_fails: bool,
}

/// A given value as it is stored.
///
/// # Errors
/// 1048 for NULL where there must be a value; 1264, 1406 and their like.
pub fn store(
    value: &Value,
    from: &FieldType,
    column: &Column,
    mode: StoreMode,
    ctx: &StatementContext,
) -> Result<Value> {
    if value.is_null() {
        return not_null(column, mode, ctx);
    }
    let store = StoreContext { eval: &ctx.eval, column: &column.name, row: mode.row, ignore: mode.ignore };
    Ok(cast_for_store(value, from, &column.ty, &store)?)
}

fn not_null(column: &Column, mode: StoreMode, ctx: &StatementContext) -> Result<Value> {
    if !column.ty.not_null {
        return Ok(Value::Null);
    }
    let error = Error::not_null(&column.name);
    if (ctx.eval.mode.strict || mode.null_fails) && !mode.ignore {
        return Err(error);
    }
    ctx.eval.warnings.push(error.code(), error.to_string());
    Ok(implicit_default(&column.ty))
}

/// What expressions of an INSERT see in a column that its row gives a value to later: the default, without complaint.
///
/// # Errors
/// When the time cannot be stored there.
pub fn not_given_yet(column: &Column, ctx: &StatementContext) -> Result<Value> {
    match &column.default {
        ColumnDefault::Value(value) => Ok(value.clone()),
        ColumnDefault::CurrentTimestamp(_) => now(column, ctx),
        ColumnDefault::None if !column.ty.not_null => Ok(Value::Null),
        ColumnDefault::None => Ok(implicit_default(&column.ty)),
    }
}

/// What a column gets that an INSERT does not name (or names with DEFAULT).
///
/// # Errors
/// 1364 when it has no default and must have a value.
pub fn default(column: &Column, mode: StoreMode, ctx: &StatementContext) -> Result<Value> {
    match &column.default {
        ColumnDefault::Value(value) if value.is_null() && column.ty.not_null => not_null(column, mode, ctx),
        ColumnDefault::Value(value) => Ok(value.clone()),
        ColumnDefault::CurrentTimestamp(_) => now(column, ctx),
        // The number comes later.
        ColumnDefault::None if column.auto_increment => Ok(Value::Null),
        ColumnDefault::None if !column.ty.not_null => Ok(Value::Null),
        ColumnDefault::None => {
            let error = Error::no_default(&column.name);
            if ctx.eval.mode.strict && !mode.ignore {
                return Err(error);
            }
            ctx.eval.warnings.push(error.code(), error.to_string());
            Ok(implicit_default(&column.ty))
        }
    }
}

/// The statement's time as a value of the column.
///
/// # Errors
/// When it cannot be stored there.
pub fn now(column: &Column, ctx: &StatementContext) -> Result<Value> {
    let digits = column.ty.decimals.min(6);
    let call = Expr::call(Func::Now, vec![Expr::int(i64::from(digits))])?;
    let value = eval_scalar(&call, &ctx.eval)?;
    let store = StoreContext { eval: &ctx.eval, column: &column.name, row: 1, ignore: false };
    Ok(cast_for_store(&value, call.ty(), &column.ty, &store)?)
}

/// What stands in for a missing value where errors are warnings: zero, or nothing.
fn implicit_default(ty: &FieldType) -> Value {
    match ty.eval_type() {
        EvalType::Null => Value::Null,
        EvalType::Int if ty.unsigned => Value::UInt(0),
        EvalType::Int => Value::Int(0),
        EvalType::Real => Value::Double(0.0),
        EvalType::Decimal => Value::Decimal(Decimal::new(0, ty.decimals)),
        EvalType::DateTime => Value::DateTime(DateTime::ZERO),
        EvalType::Duration => Value::Time(0),
        // A BINARY has all its bytes.
        EvalType::String if ty.kind == TypeKind::Binary => Value::from(vec![0; ty.length as usize]),
        EvalType::String if ty.is_binary_string() => Value::Bytes(bytes::Bytes::new()),
        EvalType::String => Value::String(Arc::from("")),
    }
}
