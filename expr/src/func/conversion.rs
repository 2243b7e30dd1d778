//! CAST, BINARY, COLLATE, the weight that rows are grouped and joined by, and what constants become beside columns.

use super::Func;
use super::spec::{Arg, Call, Ret, Spec, text_result};
use super::{date_number, infer};
use crate::cast::{ZeroDates, cast_value, datetime_with};
use crate::charset::Charset;
use crate::collation::Collation;
use crate::context::{EvalContext, Warnings};
use crate::decimal::Decimal;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::store::{StoreContext, cast_for_store};
use crate::temporal::{DateTime, parse};
use crate::types::{DECIMAL_PRECISION_MAX, DECIMAL_SCALE_MAX, EvalType, FieldType};
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    const ANY: &[Arg] = &[Arg::Any];
    Some(match func {
        // Built by infer::cast and infer::collate, which know the type.
        Func::Cast => Spec::new(1, 1, ANY, Ret::First, convert),
        Func::CollateTo => Spec::new(1, 1, ANY, Ret::First, same),
        Func::Recollate => Spec::new(1, 1, ANY, Ret::First, recollate),
        Func::Weight => Spec::new(1, 1, ANY, Ret::Custom(type_binary), weight).total(),
        Func::WeightString => Spec::new(1, 1, ANY, Ret::Custom(type_weights), weight_string),
        Func::Binary => Spec::new(1, 1, ANY, Ret::Custom(type_binary), convert).total(),
        Func::ExactNumber => Spec::new(1, 1, ANY, Ret::Custom(type_exact), exact_number).total(),
        Func::YearNumber => Spec::new(1, 1, ANY, Ret::Custom(type_exact), year_number).total(),
        Func::YearStart => Spec::new(1, 1, ANY, Ret::Custom(type_moment), year_start).total(),
        Func::NoTime => Spec::new(1, 1, ANY, Ret::First, no_time).total(),
        Func::DateNumber => Spec::new(1, 1, ANY, Ret::First, date_number::date_number).total(),
        Func::TimeNumber => Spec::new(2, 2, ANY, Ret::First, date_number::time_number_of).total(),
        Func::Stored => Spec::new(2, 2, ANY, Ret::First, stored),
        Func::DateConstant => Spec::new(2, 2, ANY, Ret::First, date_constant),
        Func::ComparedTime => Spec::new(1, 1, ANY, Ret::First, compared_time).total(),
        Func::LooseDate => Spec::new(1, 1, ANY, Ret::First, loose_date),
        _ => return None,
    })
}

fn type_binary(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(text_result(args[0].ty().display_width().saturating_mul(4), Collation::Binary))
}

fn type_moment(_: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType::datetime(0))
}

/// Every BIGINT, and every DECIMAL of up to 35 digits before the point.
fn type_exact(_: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType::decimal(DECIMAL_PRECISION_MAX, DECIMAL_SCALE_MAX))
}

/// A value as a column takes it that has the name of the second argument: an error in strict mode if it does not fit.
fn stored(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let name = crate::cast::display(&args[1]);
    let context = StoreContext { eval: call.ctx, column: &name, row: 1, ignore: false };
    cast_for_store(&args[0], call.types[0], call.ty, &context)
}

/// A constant beside integers: its number without rounding, where a double or a string would lose digits.
fn exact_number(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(Value::Decimal(at_full_scale(exact(&args[0], call)?)))
}

/// A constant beside a YEAR as that column takes it: rounded, one or two digits a year of 1970 to 2069. What it does not
/// take stays the number that it is.
fn year_number(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let hybrid = crate::func::hybrid_number(&args[0], call.types[0]);
    let value = hybrid.as_ref().unwrap_or(&args[0]);
    let number = match value {
        Value::DateTime(date) => return Ok(Value::Decimal(at_full_scale(Decimal::from(i64::from(date.year()))))),
        Value::Time(_) => {
            let today = crate::cast::now_local(call.ctx);
            return Ok(Value::Decimal(at_full_scale(Decimal::from(i64::from(today.year())))));
        }
        value => exact(value, call)?,
    };
    let year = number.to_i128().and_then(|whole| crate::store::year_of(whole, value.as_bytes()));
    Ok(Value::Decimal(at_full_scale(year.map_or(number, Decimal::from))))
}

/// A YEAR beside a date: before its first day, after all of the year before.
fn year_start(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(match args[0] {
        Value::Int(year) => Value::DateTime(DateTime::from_date(year as u32, 0, 0)),
        _ => Value::Null,
    })
}

/// A constant text beside a date: it must be one. The second argument is the kind that the error names.
fn date_constant(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let quiet = EvalContext { warnings: Warnings::default(), in_write: false, ..call.ctx.clone() };
    // Beside a DATE the offset of a zone moves nothing.
    let local = match args[0].as_bytes().filter(|_| args[1].as_bytes() == Some(b"DATE")) {
        Some(text) => parse::datetime(text, crate::cast::days(call.ctx)).filter(|parsed| parsed.offset.is_some()),
        None => None,
    };
    if let Some(local) = local {
        return Ok(Value::DateTime(local.value));
    }
    let value = cast_value(&args[0], call.types[0], call.ty, &quiet)?;
    let shown = || crate::cast::display(&args[0]);
    if !value.is_null() {
        quiet.warnings.take().into_iter().for_each(|w| call.ctx.warnings.push(w.code, w.message));
        return Ok(value);
    }
    let kind = if args[1].as_bytes() == Some(b"DATE") { "date" } else { "datetime" };
    Err(match call.ctx.in_write && call.ctx.mode.strict {
        true => EvalError::IncorrectTemporal { kind, value: shown() },
        false => EvalError::WrongConstant { kind: crate::cast::display(&args[1]), value: shown() },
    })
}

/// A constant text beside a TIME that is none stays a text, with a word about it.
fn no_time(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let value = crate::cast::display(&args[0]);
    call.ctx.soften(EvalError::IncorrectTemporal { kind: "time", value })?;
    Ok(args[0].clone())
}

/// A text beside a date or time that is none compares as zero.
fn compared_time(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let value = cast_value(&args[0], call.types[0], call.ty, call.ctx)?;
    Ok(match (value, call.ty.eval_type()) {
        (Value::Null, EvalType::Duration) => Value::Time(0),
        (Value::Null, _) => Value::DateTime(DateTime::ZERO),
        (value, _) => value,
    })
}

/// A text or a number that parts of a date are taken from: a part may be 0, in a number all of them.
fn loose_date(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let is_text = args[0].as_bytes().is_some();
    let zeros = ZeroDates { whole: !(is_text && call.ctx.mode.no_zero_date), parts: true };
    let date = datetime_with(&args[0], call.types[0], call.ty, zeros, call.ctx)?;
    Ok(date.map_or(Value::Null, Value::DateTime))
}

/// A number without rounding.
pub(super) fn exact(value: &Value, call: &Call<'_>) -> Result<Decimal, EvalError> {
    if let Some(number) = value.as_bytes().and_then(infer::exact_text) {
        return Ok(number);
    }
    Ok(match value {
        Value::Int(v) => Decimal::from(*v),
        Value::UInt(v) => Decimal::from(*v),
        Value::Decimal(v) => *v,
        // An empty string is 0 without a word.
        value if value.as_bytes().is_some_and(<[u8]>::is_empty) => Decimal::new(0, 0),
        value => {
            let number = crate::cast::to_f64(value, call.ctx)?;
            // From here on every double is an integer, of which Rust's conversion keeps all digits.
            const WHOLE: f64 = 9_007_199_254_740_992.0;
            match number.abs() < WHOLE {
                true => Decimal::from_f64(number).unwrap_or(Decimal::new(0, 0)),
                false => Decimal::new((number as i128).clamp(-EXACT_MAX, EXACT_MAX), 0),
            }
        }
    })
}

/// Largest number of 35 digits.
const EXACT_MAX: i128 = 10i128.pow(35) - 1;

fn at_full_scale(number: Decimal) -> Decimal {
    let clamped = match number.to_i128() {
        Some(v) if v.abs() <= EXACT_MAX => number,
        _ if number.is_negative() => Decimal::new(-EXACT_MAX, 0),
        _ => Decimal::new(EXACT_MAX, 0),
    };
    clamped.rescale(DECIMAL_SCALE_MAX).unwrap_or(clamped)
}

/// Up to 8 weights of 2 bytes at 3 levels for a character, though most have one.
fn type_weights(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(text_result(args[0].ty().display_width().saturating_mul(8), Collation::Binary))
}

fn convert(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    cast_value(&args[0], call.types[0], call.ty, call.ctx)
}

fn same(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(args[0].clone())
}

/// What meets text of another character set in a comparison or a concatenation: error 3854 where that one has no place
/// for it.
fn recollate(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    recollated(&args[0], call.types[0].collation, call.ty.collation)
}

/// A string of one collation as one of another.
pub(crate) fn recollated(value: &Value, from: Collation, to: Collation) -> Result<Value, EvalError> {
    let (from, to) = (from.character_set(), to.character_set());
    let fits = match value {
        Value::String(_) if to == Charset::Binary => return Ok(Value::from(from.encode(text_of(value)).into_owned())),
        Value::String(text) => to.first_missing(text).is_none(),
        Value::Bytes(bytes) if to != Charset::Binary => match to.decode(bytes) {
            Ok(text) => return Ok(Value::from(&*text)),
            Err(_) => false,
        },
        _ => true,
    };
    if fits {
        return Ok(value.clone());
    }
    let text = match value {
        Value::String(text) => printable(&from.encode(text), usize::MAX),
        _ => printable(value.as_bytes().unwrap_or_default(), usize::MAX),
    };
    Err(EvalError::CannotConvertString { text, from: from.name(), to: to.name() })
}

fn text_of(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        _ => "",
    }
}

/// Bytes as messages show them: ASCII as it is, others as `\xE4`; `...` behind the first `max`.
pub(crate) fn printable(bytes: &[u8], max: usize) -> String {
    let mut out = String::new();
    for &byte in bytes.iter().take(max) {
        match byte {
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02X}")),
        }
    }
    if bytes.len() > max {
        out.push_str("...");
    }
    out
}

fn weight(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    // Adding zero makes one zero of both.
    if let Value::Double(number) = args[0] {
        let number = Value::Double(number + 0.0);
        let is_number = call.ty.eval_type() == EvalType::Real;
        return Ok(if is_number { number } else { Value::from(crate::cast::to_text(&number, call.types[0])) });
    }
    Ok(match args[0].as_bytes() {
        Some(bytes) => Value::from(call.collation(0).weight(bytes).into_owned()),
        None => Value::from(crate::cast::to_text(&args[0], call.types[0])),
    })
}

/// WEIGHT_STRING(text): NULL for what is not a string.
fn weight_string(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let Some(bytes) = args[0].as_bytes() else { return Ok(Value::Null) };
    // No character has more bytes of weights than that.
    const WEIGHT_BYTES_MAX: usize = 8;
    call.check_length(bytes.len().saturating_mul(WEIGHT_BYTES_MAX))?;
    Ok(Value::from(call.collation(0).weight_string(bytes)))
}
