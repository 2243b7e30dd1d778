//! `AND OR XOR NOT IS`: three-valued logic over any values; 0 is false, every other number true.

use super::Func;
use super::spec::{Arg, Call, Ret, Spec};
use crate::cast::truth;
use crate::error::EvalError;
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    let (arguments, kernel): (usize, super::spec::Kernel) = match func {
        Func::And => (2, and),
        Func::Or => (2, or),
        Func::Xor => (2, xor),
        Func::Not => (1, not),
        Func::IsNull | Func::IsNotNull | Func::IsTrue | Func::IsNotTrue | Func::IsFalse | Func::IsNotFalse => (1, is),
        _ => return None,
    };
    let spec = Spec::new(arguments, arguments, &[Arg::Any], Ret::Bool, kernel).sees_null().total();
    Some(spec)
}

/// `a AND b`.
pub(crate) fn and_values(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// `a OR b`.
pub(crate) fn or_values(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    and_values(a.map(|v| !v), b.map(|v| !v)).map(|v| !v)
}

/// A truth as MySQL's integer.
pub(crate) fn of_truth(value: Option<bool>) -> Value {
    value.map_or(Value::Null, Value::bool)
}

fn and(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(of_truth(and_values(truth(&args[0]), truth(&args[1]))))
}

fn or(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(of_truth(or_values(truth(&args[0]), truth(&args[1]))))
}

fn xor(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(match (truth(&args[0]), truth(&args[1])) {
        (Some(a), Some(b)) => Value::bool(a != b),
        _ => Value::Null,
    })
}

fn not(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(of_truth(truth(&args[0]).map(|v| !v)))
}

fn is(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let value = &args[0];
    Ok(Value::bool(match call.func {
        Func::IsNull => value.is_null(),
        Func::IsNotNull => !value.is_null(),
        Func::IsTrue => truth(value) == Some(true),
        Func::IsNotTrue => truth(value) != Some(true),
        Func::IsFalse => truth(value) == Some(false),
        _ => truth(value) != Some(false),
    }))
}
