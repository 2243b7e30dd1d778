//! Constants of columns as text: as SHOW prints them, as the catalog keeps them, and as duplicate-key messages name them.

use crate::error::Result;
use basalt_expr::EvalContext;
use basalt_expr::store::{StoreContext, cast_for_store};
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;

/// A value of a column of type `ty` as text; bytes as they are.
pub fn value_text(value: &Value, ty: &FieldType) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Int(v) => out.extend_from_slice(v.to_string().as_bytes()),
        Value::UInt(v) => out.extend_from_slice(v.to_string().as_bytes()),
        Value::Double(v) if ty.kind == TypeKind::Float => basalt_expr::number::format_float(*v, &mut out),
        Value::Double(v) => basalt_expr::number::format_double(*v, &mut out),
        Value::Decimal(v) => v.format(&mut out),
        Value::String(v) => out.extend_from_slice(v.as_bytes()),
        Value::Bytes(v) => out.extend_from_slice(v),
        Value::DateTime(v) if ty.kind == TypeKind::Date => v.format_date(&mut out),
        Value::DateTime(v) => v.format(ty.scale(), &mut out),
        Value::Time(v) => basalt_expr::temporal::format_time(*v, ty.scale(), &mut out),
    }
    out
}

/// Reads what [`value_text`] made of a value that is not NULL.
///
/// # Errors
/// When the text is no value of that type.
pub fn text_value(text: &[u8], ty: &FieldType) -> Result<Value> {
    let value = match std::str::from_utf8(text) {
        // A number: a string would be stored as its bytes.
        Ok(text) if ty.kind == TypeKind::Bit && text.parse::<u64>().is_ok() => Value::UInt(text.parse().unwrap_or(0)),
        Ok(text) if !ty.is_binary_string() => Value::String(text.into()),
        _ => Value::Bytes(bytes::Bytes::copy_from_slice(text)),
    };
    let from = basalt_expr::func::literal_type(&value);
    // Zero dates are allowed in here: whether a default may be one was settled when the table was made.
    let mut eval = EvalContext::default();
    (eval.mode.no_zero_date, eval.mode.no_zero_in_date) = (false, false);
    let ctx = StoreContext { eval: &eval, column: "", row: 1, ignore: false };
    Ok(cast_for_store(&value, &from, ty, &ctx)?)
}
