//! Conversions of values within expressions: lenient, with warnings.

use crate::context::EvalContext;
use crate::error::EvalError;
use crate::number;
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;

/// The double nearest to a value, without warnings; strings give the number at their front, NULL gives 0.
pub fn to_f64_quiet(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Int(v) => *v as f64,
        Value::UInt(v) => *v as f64,
        Value::Double(v) => *v,
        Value::Decimal(v) => v.to_f64(),
        Value::String(s) => number::parse_double(s.as_bytes()).0,
        Value::Bytes(b) => number::parse_double(b).0,
        Value::DateTime(v) => v.to_number() as f64 + f64::from(v.fields().micro) / 1e6,
        Value::Time(v) => crate::temporal::time_number(*v) as f64 + (*v % crate::temporal::SECOND) as f64 / 1e6,
    }
}

/// The value as text for messages.
pub fn display(value: &Value) -> String {
    let mut out = Vec::new();
    crate::cell::format_value(&crate::func::literal_type(value), value, &mut out);
    if value.is_null() {
        out.extend_from_slice(b"NULL");
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Converts a value to another type, as `CAST` and the implicit casts do.
///
/// # Errors
/// [`EvalError`] when strict mode makes an error of a warning.
pub fn cast_value(value: &Value, from: &FieldType, to: &FieldType, ctx: &EvalContext) -> Result<Value, EvalError> {
    let _ = (from, ctx);
    if value.is_null() {
        return Ok(Value::Null);
    }
    match (to.eval_type(), value) {
        (EvalType::Int, Value::Int(_)) if !to.unsigned => Ok(value.clone()),
        (EvalType::Real, _) => Ok(Value::Double(to_f64_quiet(value))),
        (EvalType::String, Value::String(_)) if to.kind != TypeKind::Char => Ok(value.clone()),
        _ => Err(EvalError::Unsupported(format!("CAST AS {}", to.sql_name()))),
    }
}
