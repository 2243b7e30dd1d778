//! Column definitions: from the type as written to the type as kept, with its default.

use crate::catalog::model::{Column, ColumnDefault, SchemaState};
use crate::error::{Error, Result};
use crate::parser::ast::{DataType, Expr, Literal, UnaryOp};
use crate::parser::statement::ColumnDefinition;
use basalt_expr::EvalContext;
use basalt_expr::collation::Collation;
use basalt_expr::store::{StoreContext, cast_for_store};
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;

/// Characters of a VARCHAR, bytes of a VARBINARY.
const VARCHAR_MAX: u32 = 16_383;
const VARBINARY_MAX: u32 = 65_535;
const CHAR_MAX: u32 = 255;
const DECIMAL_DIGITS_MAX: u32 = 65;
const DECIMAL_SCALE_MAX: u32 = 30;
const FSP_MAX: u32 = 6;
const BIT_MAX: u32 = 64;

/// A type as kept. `collation` is the table's, for strings that name none.
///
/// # Errors
/// 1074 and its like for lengths that are too long, 1115 and 1273 for character sets and collations, 1235 for types that
/// Basalt does not have.
pub fn field_type(name: &str, ty: &DataType, collation: Collation) -> Result<FieldType> {
    use TypeKind::*;
    let fsp = || -> Result<u8> {
        match ty.length.unwrap_or(0) {
            fsp if fsp <= FSP_MAX => Ok(fsp as u8),
            fsp => Err(Error::User {
                code: 1426,
                sqlstate: "42000",
                message: format!("Too-big precision {fsp} specified for '{name}'. Maximum is 6."),
            }),
        }
    };
    let integer = |kind| FieldType { unsigned: ty.unsigned, ..FieldType::new(kind) };
    let text = |kind, length: Option<u32>, max: u32| -> Result<FieldType> {
        let length = length.unwrap_or(1);
        if length > max {
            return Err(Error::column_too_long(name, max));
        }
        let collation = string_collation(ty, collation)?;
        Ok(FieldType { length, collation, ..FieldType::new(kind) })
    };
    let blob = |kind| FieldType::new(kind);
    let long_text = |kind| -> Result<FieldType> {
        Ok(FieldType { collation: string_collation(ty, collation)?, ..FieldType::new(kind) })
    };
    Ok(match ty.name.as_str() {
        "tinyint" | "bool" | "boolean" => integer(Tiny),
        "smallint" => integer(Short),
        "mediumint" => integer(Int24),
        "int" | "integer" => integer(Long),
        "bigint" => integer(LongLong),
        "serial" => FieldType { unsigned: true, not_null: true, ..FieldType::new(LongLong) },
        "float" if ty.decimals.is_none() && ty.length.is_some_and(|p| p > 24) => integer(Double),
        "float" => {
            FieldType { decimals: ty.decimals.map_or(FieldType::new(Float).decimals, |d| d as u8), ..integer(Float) }
        }
        "double" | "real" => {
            FieldType { decimals: ty.decimals.map_or(FieldType::new(Double).decimals, |d| d as u8), ..integer(Double) }
        }
        "decimal" | "numeric" | "dec" | "fixed" => {
            let (precision, scale) = (ty.length.unwrap_or(10), ty.decimals.unwrap_or(0));
            if precision > DECIMAL_DIGITS_MAX {
                return Err(Error::User {
                    code: 1426,
                    sqlstate: "42000",
                    message: format!("Too-big precision {precision} specified for '{name}'. Maximum is 65."),
                });
            }
            if scale > DECIMAL_SCALE_MAX {
                return Err(Error::User {
                    code: 1425,
                    sqlstate: "42000",
                    message: format!("Too big scale {scale} specified for column '{name}'. Maximum is 30."),
                });
            }
            if scale > precision {
                return Err(Error::User {
                    code: 1427,
                    sqlstate: "42000",
                    message: format!("For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column '{name}')."),
                });
            }
            FieldType {
                unsigned: ty.unsigned,
                ..FieldType::decimal(if precision == 0 { 10 } else { precision }, scale as u8)
            }
        }
        "year" => integer(Year),
        "date" => integer(Date),
        "datetime" => FieldType { decimals: fsp()?, ..FieldType::new(DateTime) },
        "timestamp" => FieldType { decimals: fsp()?, ..FieldType::new(Timestamp) },
        "time" => FieldType { decimals: fsp()?, ..FieldType::new(Time) },
        "char" | "character" | "nchar" => text(Char, ty.length, CHAR_MAX)?,
        "varchar" | "nvarchar" if ty.length.is_some() => text(VarChar, ty.length, VARCHAR_MAX)?,
        "binary" => FieldType { length: within(name, ty.length.unwrap_or(1), CHAR_MAX)?, ..FieldType::new(Binary) },
        "varbinary" if ty.length.is_some() => {
            FieldType { length: within(name, ty.length.unwrap_or(1), VARBINARY_MAX)?, ..FieldType::new(VarBinary) }
        }
        "tinytext" => long_text(TinyText)?,
        "text" => long_text(Text)?,
        "mediumtext" => long_text(MediumText)?,
        "longtext" => long_text(LongText)?,
        "tinyblob" => blob(TinyBlob),
        "blob" => blob(Blob),
        "mediumblob" => blob(MediumBlob),
        "longblob" => blob(LongBlob),
        "bit" => FieldType {
            length: within(name, ty.length.unwrap_or(1).max(1), BIT_MAX)?,
            unsigned: true,
            ..FieldType::new(Bit)
        },
        "varchar" | "nvarchar" | "varbinary" => return Err(Error::syntax("", 1)),
        other => return Err(Error::unsupported(format!("the type {}", other.to_uppercase()))),
    })
}

fn within(name: &str, length: u32, max: u32) -> Result<u32> {
    if length > max { Err(Error::column_too_long(name, max)) } else { Ok(length) }
}

fn string_collation(ty: &DataType, table: Collation) -> Result<Collation> {
    match (&ty.collation, &ty.charset) {
        (Some(name), _) => Ok(Collation::from_name(name)?),
        (None, Some(charset)) => Ok(Collation::of_charset(charset)?),
        (None, None) if ty.binary => Ok(Collation::default()),
        (None, None) => Ok(table),
    }
}

/// A column as kept; the primary key's NOT NULL is the table's to add.
///
/// # Errors
/// As [`field_type`]; 1067 for a default that does not fit, 1235 for what Basalt does not have.
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
    let mut ty = field_type(&definition.name, &definition.ty, collation)?;
    let serial = definition.ty.name == "serial";
    ty.not_null |= definition.not_null == Some(true) || definition.auto_increment || definition.primary;
    if definition.primary && definition.not_null == Some(false) {
        return Err(Error::User {
            code: 1171,
            sqlstate: "42000",
            message: "All parts of a PRIMARY KEY must be NOT NULL; if you need NULL in a key, use UNIQUE instead"
                .into(),
        });
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
