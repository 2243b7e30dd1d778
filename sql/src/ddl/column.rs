//! Column definitions: from the type as written to the type as kept, with its default.

use crate::binder::column_type;
use crate::catalog::model::{Column, ColumnDefault, SchemaState};
use crate::error::{Error, Result};
use crate::parser::ast::{Expr, Literal, UnaryOp};
use crate::parser::statement::ColumnDefinition;
use basalt_expr::EvalContext;
use basalt_expr::collation::Collation;
use basalt_expr::store::{StoreContext, cast_for_store};
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;

/// A column as kept; the primary key's NOT NULL is the table's to add.
///
/// # Errors
/// As [`column_type`]; 1067 for a default that does not fit, 1235 for what Basalt does not have.
pub fn build_column(
    id: u32,
    definition: &ColumnDefinition,
    collation: Collation,
    eval: &EvalContext,
) -> Result<Column> {
    if definition.generated {
        return Err(Error::unsupported("generated columns"));
    }
    if definition.references {
        return Err(Error::unsupported("foreign keys"));
    }
    if definition.check {
        return Err(Error::unsupported("CHECK constraints"));
    }
    let mut ty = column_type(&definition.ty, &definition.name, collation)?;
    let serial = definition.ty.name == "serial";
    ty.not_null |= definition.not_null == Some(true) || definition.auto_increment || definition.primary;
    if definition.primary && definition.not_null == Some(false) {
        return Err(Error::primary_key_null());
    }
    let auto_increment = definition.auto_increment || serial;
    if auto_increment && !(ty.is_integer() || matches!(ty.kind, TypeKind::Float | TypeKind::Double)) {
        return Err(Error::wrong_column_specifier(&definition.name));
    }
    let on_update_now = match definition.on_update_now {
        None => false,
        Some(fsp) if matches!(ty.kind, TypeKind::DateTime | TypeKind::Timestamp) && fsp == u32::from(ty.decimals) => {
            true
        }
        Some(_) => {
            return Err(Error::User {
                code: 1294,
                sqlstate: "HY000",
                message: format!("Invalid ON UPDATE clause for '{}' column", definition.name),
            });
        }
    };
    let default = match &definition.default {
        None if ty.not_null || auto_increment => ColumnDefault::None,
        None => ColumnDefault::Value(Value::Null),
        Some(_) if auto_increment => return Err(Error::invalid_default(&definition.name)),
        Some(expr) => default_value(&definition.name, expr, &ty, eval)?,
    };
    if ty.not_null && default == ColumnDefault::Value(Value::Null) {
        return Err(Error::invalid_default(&definition.name));
    }
    let comment = definition.comment.clone().unwrap_or_default();
    Ok(Column {
        id,
        name: definition.name.clone(),
        ty,
        default,
        auto_increment,
        on_update_now,
        comment,
        state: SchemaState::Public,
        original_default: None,
    })
}

fn default_value(name: &str, expr: &Expr, ty: &FieldType, eval: &EvalContext) -> Result<ColumnDefault> {
    let invalid = || Error::invalid_default(name);
    if let Some(fsp) = current_timestamp(expr) {
        let fits = matches!(ty.kind, TypeKind::DateTime | TypeKind::Timestamp) && fsp == ty.decimals;
        return if fits { Ok(ColumnDefault::CurrentTimestamp(fsp)) } else { Err(invalid()) };
    }
    let (value, from) = constant(expr).ok_or_else(|| Error::unsupported("expressions as defaults"))?;
    if value.is_null() {
        return Ok(ColumnDefault::Value(Value::Null));
    }
    if ty.blob_bytes_max().is_some() {
        return Err(Error::User {
            code: 1101,
            sqlstate: "42000",
            message: format!("BLOB, TEXT, GEOMETRY or JSON column '{name}' can't have a default value"),
        });
    }
    let ctx = StoreContext { eval, column: name, row: 1, ignore: false };
    cast_for_store(&value, &from, ty, &ctx).map(ColumnDefault::Value).map_err(|_| invalid())
}

/// Fractional digits of CURRENT_TIMESTAMP and its other names.
fn current_timestamp(expr: &Expr) -> Option<u8> {
    let Expr::Function { name, args } = expr else { return None };
    if !matches!(name.as_str(), "current_timestamp" | "now" | "localtime" | "localtimestamp") {
        return None;
    }
    match args.as_slice() {
        [] => Some(0),
        [Expr::Literal(Literal::Integer(fsp))] => u8::try_from(*fsp).ok(),
        _ => None,
    }
}

/// A literal, with a sign before numbers.
fn constant(expr: &Expr) -> Option<(Value, FieldType)> {
    let bytes = |b: &[u8]| match std::str::from_utf8(b) {
        Ok(text) => Value::String(text.into()),
        Err(_) => Value::Bytes(bytes::Bytes::copy_from_slice(b)),
    };
    let value = match expr {
        Expr::Literal(Literal::Null) => Value::Null,
        Expr::Literal(Literal::Bool(on)) => Value::Int(i64::from(*on)),
        Expr::Literal(Literal::Integer(n)) => i64::try_from(*n).map_or(Value::UInt(*n), Value::Int),
        Expr::Literal(Literal::Decimal(text) | Literal::Float(text) | Literal::Temporal(_, text)) => {
            Value::String(text.as_str().into())
        }
        Expr::Literal(Literal::String { bytes: b, .. }) => bytes(b),
        Expr::Literal(Literal::Hex(b) | Literal::Bit(b)) => Value::Bytes(bytes::Bytes::copy_from_slice(b)),
        Expr::Unary(UnaryOp::Plus, inner) => return constant(inner),
        Expr::Unary(UnaryOp::Minus, inner) => match constant(inner)?.0 {
            Value::Int(v) => Value::Int(v.checked_neg()?),
            Value::UInt(v) if v == 1 << 63 => Value::Int(i64::MIN),
            Value::String(text) => Value::String(format!("-{text}").into()),
            _ => return None,
        },
        _ => return None,
    };
    let ty = basalt_expr::func::literal_type(&value);
    Some((value, ty))
}
