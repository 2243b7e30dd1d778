//! Conversions of values within expressions: `CAST` and the implicit casts. Lenient: what cannot be read wholly is read as
//! far as it goes, with a warning (an error in strict writes).
//!
//! | to | from a string | from a number | from a date or time |
//! |---|---|---|---|
//! | integer | digits at its front | rounded | `YYYYMMDDhhmmss`, `hhmmss` |
//! | DOUBLE, DECIMAL | number at its front | nearest | the same with the fraction |
//! | date, time | [`crate::temporal::parse`]; NULL if it is none | digits as `YYYYMMDD…`; NULL if none | parts are kept or cut |
//! | string | cut to length | as printed | as printed |

use crate::charset::Charset;
use crate::context::{EvalContext, RESULT_BYTES_MAX};
use crate::decimal::Decimal;
use crate::error::EvalError;
use crate::number;
use crate::temporal::{self, DateTime, SECOND, parse};
use crate::types::{EvalType, FieldType, TypeKind, UNSPECIFIED};
use crate::value::Value;
use std::borrow::Cow;

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
        Value::Time(v) => temporal::time_number(*v) as f64 + (*v % SECOND) as f64 / 1e6,
    }
}

/// The truth of a value: not 0; `None` for NULL.
pub fn truth(value: &Value) -> Option<bool> {
    Some(match value {
        Value::Null => return None,
        Value::Int(v) | Value::Time(v) => *v != 0,
        Value::UInt(v) => *v != 0,
        Value::Decimal(v) => !v.is_zero(),
        Value::DateTime(v) => v.0 != 0,
        other => to_f64_quiet(other) != 0.0,
    })
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

/// The value's text, as `CONCAT` sees it.
pub fn to_text(value: &Value, ty: &FieldType) -> Vec<u8> {
    let mut out = Vec::new();
    crate::cell::format_value(ty, value, &mut out);
    out
}

fn truncated(kind: &'static str, value: &Value) -> EvalError {
    EvalError::TruncatedWrongValue { kind, value: display(value) }
}

/// Converts a value to another type, as `CAST` and the implicit casts do.
///
/// # Errors
/// [`EvalError`] when strict mode makes an error of a warning, and for types that nothing is cast to.
pub fn cast_value(value: &Value, from: &FieldType, to: &FieldType, ctx: &EvalContext) -> Result<Value, EvalError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    if (from.kind == TypeKind::Timestamp) != (to.kind == TypeKind::Timestamp) {
        return cast_moment(value, from, to, ctx);
    }
    if let (true, Some(number)) = (to.is_numeric(), crate::func::hybrid_number(value, from)) {
        return cast_value(&number, &FieldType::bigint_unsigned(), to, ctx);
    }
    if let (Value::DateTime(date), TypeKind::Date, true) =
        (value, from.kind, to.is_numeric() && to.kind != TypeKind::Year)
    {
        // A DATE is YYYYMMDD as a number, without a time of day.
        let number = Value::Int(date.date_number() as i64);
        return cast_value(&number, &FieldType::bigint(), to, ctx);
    }
    match to.eval_type() {
        EvalType::Null => Ok(Value::Null),
        EvalType::Int if to.kind == TypeKind::Year => to_year(value, ctx),
        EvalType::Int => to_integer(value, to, ctx),
        EvalType::Real => {
            let number = to_f64(value, ctx)?;
            Ok(Value::Double(if to.kind == TypeKind::Float { f64::from(number as f32) } else { number }))
        }
        EvalType::Decimal => to_decimal_type(value, to, ctx),
        EvalType::String => to_string_type(value, from, to, ctx),
        EvalType::DateTime => Ok(to_datetime(value, from, to, ctx)?.map_or(Value::Null, Value::DateTime)),
        EvalType::Duration => Ok(to_time(value, from, to.decimals, ctx)?.map_or(Value::Null, Value::Time)),
    }
}

/// A TIMESTAMP, which is a moment in UTC, to any other type or the other way round: between them lies the session's zone.
fn cast_moment(value: &Value, from: &FieldType, to: &FieldType, ctx: &EvalContext) -> Result<Value, EvalError> {
    if let (Value::DateTime(utc), TypeKind::Timestamp) = (value, from.kind) {
        let local = Value::DateTime(ctx.time_zone.from_utc(*utc));
        return cast_value(&local, &FieldType::datetime(from.decimals), to, ctx);
    }
    let local = cast_value(value, from, &FieldType::datetime(to.decimals), ctx)?;
    Ok(match local {
        // What no moment corresponds to keeps its place among those that one does.
        Value::DateTime(local) => Value::DateTime(moment_of_local(local, ctx).unwrap_or(local)),
        other => other,
    })
}

/// A time of the session's zone as a TIMESTAMP; the statement's own time is this moment even in an hour that comes twice.
/// `None` for dates that do not exist.
pub fn moment_of_local(local: DateTime, ctx: &EvalContext) -> Option<DateTime> {
    if local.truncate(0) == now_local(ctx).truncate(0) {
        let utc = DateTime::from_micros(ctx.now_unix_micros + temporal::zone::unix_epoch())?.truncate(0);
        return DateTime::from_micros(utc.to_micros()? + i64::from(local.fields().micro));
    }
    ctx.time_zone.to_utc(local)
}

/// The double of a value, with a warning for strings that are not numbers.
///
/// # Errors
/// In strict writes instead of the warning.
pub fn to_f64(value: &Value, ctx: &EvalContext) -> Result<f64, EvalError> {
    let Some(bytes) = value.as_bytes() else { return Ok(to_f64_quiet(value)) };
    let (number, complete) = number::parse_double(bytes);
    // An empty text is zero without a word.
    if !complete && !bytes.iter().all(u8::is_ascii_whitespace) {
        ctx.soften(truncated("DOUBLE", value))?;
    }
    Ok(number)
}

/// The integer of a value in 128 bits: decimals are rounded half away from zero, doubles half to even.
///
/// # Errors
/// In strict writes instead of a warning.
pub fn to_i128(value: &Value, ctx: &EvalContext) -> Result<i128, EvalError> {
    Ok(match value {
        Value::Null => 0,
        Value::Int(v) => i128::from(*v),
        Value::UInt(v) => i128::from(*v),
        Value::Double(v) => v.round_ties_even() as i128,
        Value::Decimal(v) => v.to_i128().unwrap_or(if v.is_negative() { i128::MIN } else { i128::MAX }),
        Value::String(_) | Value::Bytes(_) => {
            let (number, complete) = number::parse_integer(value.as_bytes().unwrap_or_default());
            if !complete {
                ctx.soften(truncated("INTEGER", value))?;
            }
            number
        }
        Value::DateTime(v) => i128::from(v.round(0).to_number()),
        Value::Time(v) => i128::from(temporal::time_number(temporal::round_time(*v, 0))),
    })
}

/// The bits of a value as bit operators see them: negative numbers wrap.
///
/// # Errors
/// In strict writes instead of a warning.
pub fn to_bits(value: &Value, ctx: &EvalContext) -> Result<u64, EvalError> {
    let number = to_i128(value, ctx)?;
    // A number with a point is a signed integer on its way, whatever its size.
    let has_point = matches!(value, Value::Decimal(_) | Value::Double(_));
    let most = if has_point { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    Ok(number.clamp(i128::from(i64::MIN), most) as u64)
}

/// The year of a value: one or two digits are of 1970 to 2069, NULL with a warning where it is none.
fn to_year(value: &Value, ctx: &EvalContext) -> Result<Value, EvalError> {
    let quiet = EvalContext { warnings: Default::default(), in_write: false, ..ctx.clone() };
    let number = match value {
        Value::DateTime(date) => i128::from(date.year()),
        Value::Time(_) => i128::from(now_local(ctx).year()),
        other => to_i128(other, &quiet)?,
    };
    let is_text = value.as_bytes().is_some();
    let empty = value.as_bytes().is_some_and(|text| number::scan(text).is_none());
    let year = match number {
        _ if empty => None,
        0 if is_text => Some(2000),
        0 => Some(0),
        1..=69 => Some(number + 2000),
        70..=99 => Some(number + 1900),
        1901..=2155 => Some(number),
        _ => None,
    };
    if year.is_none() || quiet.warnings.count() > 0 {
        ctx.soften(truncated("YEAR", value))?;
    }
    Ok(year.map_or(Value::Null, |year| Value::Int(year as i64)))
}

fn to_integer(value: &Value, to: &FieldType, ctx: &EvalContext) -> Result<Value, EvalError> {
    match (value, to.unsigned) {
        // CAST of an integer keeps the bits.
        (Value::Int(v), true) => return Ok(Value::UInt(*v as u64)),
        (Value::Int(v), false) => return Ok(Value::Int(*v)),
        (Value::UInt(v), true) => return Ok(Value::UInt(*v)),
        (Value::UInt(v), false) => return Ok(Value::Int(*v as i64)),
        _ => {}
    }
    let number = to_i128(value, ctx)?;
    let is_string = value.as_bytes().is_some();
    if to.unsigned {
        let fitted = number.clamp(i128::from(i64::MIN), i128::from(u64::MAX));
        if fitted != number {
            ctx.soften(truncated("INTEGER", value))?;
        }
        return Ok(Value::UInt(fitted as u64));
    }
    // A string beyond the signed range but within the unsigned one wraps, as in MySQL.
    let high = if is_string { i128::from(u64::MAX) } else { i128::from(i64::MAX) };
    let fitted = number.clamp(i128::from(i64::MIN), high);
    if fitted != number {
        ctx.soften(truncated("INTEGER", value))?;
    }
    Ok(Value::Int(fitted as i64))
}

/// The decimal of a value at its own scale, with a warning for strings that are not numbers.
///
/// # Errors
/// In strict writes instead of the warning; 1690 for a double beyond 65 digits.
pub fn to_decimal(value: &Value, ctx: &EvalContext) -> Result<Decimal, EvalError> {
    let fraction = |whole: i128, micro: i64| Decimal::new(whole * 1_000_000 + i128::from(micro), 6);
    Ok(match value {
        Value::Null => Decimal::ZERO,
        Value::Int(v) => Decimal::from(*v),
        Value::UInt(v) => Decimal::from(*v),
        Value::Decimal(v) => *v,
        // The largest there is stands for what is larger: what it is for has a say of its own about that.
        Value::Double(v) => Decimal::from_f64(*v).unwrap_or_else(|| decimal_limit(65, 0, v.is_sign_negative())),
        Value::String(_) | Value::Bytes(_) => {
            let bytes = value.as_bytes().unwrap_or_default();
            let parsed = Decimal::parse(bytes);
            let used = parsed.map_or(0, |p| p.1);
            if parsed.is_none() && number::scan(bytes).is_some() {
                // A number, but one beyond 65 digits.
                let negative = bytes.trim_ascii_start().first() == Some(&b'-');
                let double = number::parse_double(bytes).0;
                ctx.soften(truncated("DECIMAL", value))?;
                return Ok(if double.abs() < 1.0 { Decimal::ZERO } else { decimal_limit(65, 0, negative) });
            }
            if parsed.is_none() || !bytes[used..].iter().all(u8::is_ascii_whitespace) {
                ctx.soften(truncated("DECIMAL", value))?;
            }
            parsed.map_or(Decimal::ZERO, |p| p.0)
        }
        Value::DateTime(v) if v.fields().micro == 0 => Decimal::from(v.to_number()),
        Value::DateTime(v) => fraction(i128::from(v.to_number()), i64::from(v.fields().micro)),
        Value::Time(v) if v % SECOND == 0 => Decimal::from(temporal::time_number(*v)),
        Value::Time(v) => fraction(i128::from(temporal::time_number(*v)), v % SECOND),
    })
}

/// The largest DECIMAL(precision, scale), with the sign wanted.
pub fn decimal_limit(precision: u32, scale: u8, negative: bool) -> Decimal {
    let all_nines = crate::decimal::power_of_ten(precision.min(76)).wrapping_sub(arrow::datatypes::i256::ONE);
    let limit = Decimal::from_i256(all_nines, scale);
    if negative { limit.negate() } else { limit }
}

fn to_decimal_type(value: &Value, to: &FieldType, ctx: &EvalContext) -> Result<Value, EvalError> {
    let decimal = to_decimal(value, ctx)?;
    let fitted = decimal.rescale(to.decimals).filter(|d| d.fits(to.length, to.decimals));
    match fitted {
        Some(d) if to.unsigned && d.is_negative() => {
            ctx.soften(truncated("DECIMAL", value))?;
            Ok(Value::Decimal(Decimal::new(0, to.decimals)))
        }
        Some(d) => Ok(Value::Decimal(d)),
        None => {
            ctx.soften(truncated("DECIMAL", value))?;
            Ok(Value::Decimal(decimal_limit(to.length, to.decimals, decimal.is_negative())))
        }
    }
}

/// Characters of a DOUBLE.
const DOUBLE_WIDTH: usize = 22;

fn to_string_type(value: &Value, from: &FieldType, to: &FieldType, ctx: &EvalContext) -> Result<Value, EvalError> {
    let binary = to.is_binary_string();
    let limit = if to.length == UNSPECIFIED { usize::MAX } else { to.length as usize };
    if let (Value::String(text), false) = (value, binary) {
        let fitted = to.collation.character_set().fit(text);
        return match (fitted.char_indices().nth(limit), &fitted) {
            (None, Cow::Borrowed(_)) => Ok(value.clone()),
            (None, Cow::Owned(fitted)) => Ok(Value::from(fitted.as_str())),
            (Some((end, _)), _) => {
                ctx.soften(truncated("CHAR", value))?;
                Ok(Value::from(&fitted[..end]))
            }
        };
    }
    let mut bytes = match value {
        Value::String(text) => from.collation.character_set().encode(text).into_owned(),
        Value::Bytes(bytes) => bytes.to_vec(),
        // A number is never cut where it becomes text by itself.
        Value::Double(number) if from.kind != TypeKind::Float && limit >= DOUBLE_WIDTH => {
            let text = to_text(value, from);
            let fitted = if text.len() > limit { number::format_within(*number, limit) } else { None };
            fitted.map_or(text, String::into_bytes)
        }
        _ => to_text(value, from),
    };
    if binary {
        if bytes.len() > limit {
            ctx.soften(truncated("BINARY", value))?;
            bytes.truncate(limit);
        }
        if to.kind == TypeKind::Binary && to.length != UNSPECIFIED {
            if limit > RESULT_BYTES_MAX {
                ctx.soften(EvalError::ResultTooLong { function: "cast_as_binary", limit: RESULT_BYTES_MAX })?;
                return Ok(Value::Null);
            }
            bytes.resize(limit, 0);
        }
        return Ok(Value::from(bytes));
    }
    let charset = to.collation.character_set();
    let text = match charset.decode(&bytes) {
        Ok(text) => text,
        Err(at) => {
            let shown: String = bytes[at..].iter().take(3).map(|b| format!("{b:02X}")).collect();
            ctx.warnings.push(1300, format!("Invalid {} character string: '{shown}'", charset.name()));
            if charset != Charset::Ascii {
                return Ok(Value::Null);
            }
            bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '?' }).collect()
        }
    };
    match text.char_indices().nth(limit) {
        None => Ok(Value::from(&*text)),
        Some((end, _)) => {
            ctx.soften(truncated("CHAR", value))?;
            Ok(Value::from(&text[..end]))
        }
    }
}

fn incorrect(kind: &'static str, value: &Value) -> EvalError {
    EvalError::IncorrectTemporal { kind, value: display(value) }
}

fn datetime_kind(to: &FieldType) -> &'static str {
    if to.kind == TypeKind::Date { "date" } else { "datetime" }
}

/// Which dates with zero parts a conversion lets be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroDates {
    /// 0000-00-00.
    pub whole: bool,
    /// A day 0, or a month 0, of some year.
    pub parts: bool,
}

impl ZeroDates {
    /// What NO_ZERO_DATE and NO_ZERO_IN_DATE leave.
    pub fn of_mode(ctx: &EvalContext) -> ZeroDates {
        ZeroDates { whole: !ctx.mode.no_zero_date, parts: !ctx.mode.no_zero_in_date }
    }

    /// True for dates that are let be.
    pub fn allow(self, date: DateTime) -> bool {
        if date.is_zero_date() { self.whole } else { self.parts || date.is_real_date() }
    }
}

/// The date and time of a value, fitted to `to` (midnight for DATE); `None` with a warning when it is none.
///
/// # Errors
/// In strict writes instead of the warning.
pub fn to_datetime(
    value: &Value,
    from: &FieldType,
    to: &FieldType,
    ctx: &EvalContext,
) -> Result<Option<DateTime>, EvalError> {
    datetime_with(value, from, to, ZeroDates::of_mode(ctx), ctx)
}

/// [`to_datetime`] with a say in which dates with zero parts are dates.
///
/// # Errors
/// As there.
pub fn datetime_with(
    value: &Value,
    from: &FieldType,
    to: &FieldType,
    zeros: ZeroDates,
    ctx: &EvalContext,
) -> Result<Option<DateTime>, EvalError> {
    let fit = |value: DateTime| match to.kind {
        TypeKind::Date => value.date(),
        _ => ctx.fit_datetime(value, to.decimals),
    };
    let parsed = match value {
        Value::DateTime(v) => return Ok(Some(fit(*v))),
        Value::Time(v) => {
            let today = now_local(ctx).date().to_micros().unwrap_or_default();
            return Ok(DateTime::from_micros(today + v).map(fit));
        }
        _ => datetime_of(value, from, ctx)?,
    };
    match parsed {
        Some(p) if zeros.allow(p.value) => {
            if p.truncated {
                ctx.soften(EvalError::TruncatedWrongValue { kind: datetime_kind(to), value: display(value) })?;
            }
            if to.kind != TypeKind::Date && ctx.leaves_calendar(p.value, to.decimals) {
                ctx.soften(EvalError::DatetimeOverflow("datetime"))?;
                return Ok(None);
            }
            Ok(Some(fit(p.value)))
        }
        _ => {
            ctx.soften(incorrect(datetime_kind(to), value))?;
            Ok(None)
        }
    }
}

/// What a text or a number says of a date and a time.
///
/// # Errors
/// As [`to_decimal`].
pub fn datetime_of(
    value: &Value,
    from: &FieldType,
    ctx: &EvalContext,
) -> Result<Option<parse::Parsed<DateTime>>, EvalError> {
    Ok(match value {
        Value::String(_) | Value::Bytes(_) => read_datetime(value.as_bytes().unwrap_or_default(), ctx),
        Value::Double(_) | Value::Decimal(_) => {
            let (whole, micro) = whole_and_micros(value, ctx)?;
            parse::datetime_of_number(whole, days(ctx)).map(|p| {
                let with_fraction = p.value.to_micros().and_then(|m| DateTime::from_micros(m + micro as i64));
                parse::Parsed { value: with_fraction.filter(|_| p.has_time).unwrap_or(p.value), ..p }
            })
        }
        Value::Int(year) if from.kind == TypeKind::Year => {
            let first_day = parse::datetime_of_number(i128::from(*year) * 10_000 + 101, days(ctx));
            first_day.map(|parsed| parse::Parsed { has_time: true, ..parsed })
        }
        _ => parse::datetime_of_number(to_i128(value, ctx)?, days(ctx)),
    })
}

/// Larger than the number of any date or time.
const NO_DATE: f64 = 1e20;

/// A number's digits before the point, and the first six behind it; the limit where it is none of a date, which a DECIMAL may
/// not hold.
fn whole_and_micros(value: &Value, ctx: &EvalContext) -> Result<(i128, i128), EvalError> {
    if let Value::Double(number) = value
        && number.abs() >= NO_DATE
    {
        return Ok((if *number < 0.0 { i128::MIN } else { i128::MAX }, 0));
    }
    let decimal = to_decimal(value, ctx)?;
    let micro = decimal.rescale(6).and_then(|d| d.unscaled().to_i128()).unwrap_or_default() % 1_000_000;
    Ok((decimal.truncate(0).to_i128().unwrap_or(i128::MAX), micro))
}

/// A number as a TIME, with its fraction; the limit, as truncated, beyond it.
///
/// # Errors
/// As [`to_decimal`].
pub fn time_of_number(value: &Value, ctx: &EvalContext) -> Result<Option<parse::Parsed<i64>>, EvalError> {
    if !matches!(value, Value::Double(_) | Value::Decimal(_)) {
        return Ok(parse::time_of_number(to_i128(value, ctx)?));
    }
    let (whole, micro) = whole_and_micros(value, ctx)?;
    let with_fraction = |p: parse::Parsed<i64>| match p.truncated {
        true => p,
        false => parse::Parsed {
            value: p.value + micro as i64,
            truncated: p.value.abs() == temporal::TIME_MAX && micro != 0,
            ..p
        },
    };
    Ok(parse::time_of_number(whole).map(with_fraction))
}

/// The time of a value, with `fsp` digits of fraction; `None` with a warning when it is none.
///
/// # Errors
/// In strict writes instead of the warning.
pub fn to_time(value: &Value, from: &FieldType, fsp: u8, ctx: &EvalContext) -> Result<Option<i64>, EvalError> {
    let parsed = match value {
        Value::Time(v) => return Ok(Some(ctx.fit_time(*v, fsp))),
        Value::DateTime(v) => return Ok(Some(ctx.fit_time(v.time_of_day(), fsp))),
        // A column of YEAR is a day of that year, at midnight; a BIT is its bytes.
        Value::Int(_) if from.kind == TypeKind::Year && from.is_field() => return Ok(Some(0)),
        Value::UInt(_) if from.kind == TypeKind::Bit => read_time(&to_text(value, from), ctx),
        Value::String(_) | Value::Bytes(_) => read_time(value.as_bytes().unwrap_or_default(), ctx),
        // A number beyond the limits is no time; a text beyond them is the limit.
        _ => match time_of_number(value, ctx)? {
            Some(parsed) if parsed.truncated => {
                ctx.soften(EvalError::TruncatedWrongValue { kind: "time", value: display(value) })?;
                return Ok(None);
            }
            parsed => parsed,
        },
    };
    match parsed {
        Some(p) => {
            if p.truncated {
                ctx.soften(EvalError::TruncatedWrongValue { kind: "time", value: display(value) })?;
            }
            Ok(Some(ctx.fit_time(p.value, fsp)))
        }
        None => {
            ctx.soften(incorrect("time", value))?;
            Ok(None)
        }
    }
}

/// Which days of a month the mode allows.
pub fn days(ctx: &EvalContext) -> parse::Days {
    if ctx.mode.allow_invalid_dates { parse::Days::UpTo31 } else { parse::Days::OfMonth }
}

/// A text as a date and time of the session's zone; one that names its offset is moved from there.
pub fn read_datetime(text: &[u8], ctx: &EvalContext) -> Option<parse::Parsed<DateTime>> {
    let parsed = parse::datetime(text, days(ctx))?;
    let Some(offset) = parsed.offset else { return Some(parsed) };
    let utc = DateTime::from_micros(parsed.value.to_micros()? - i64::from(offset) * SECOND)?;
    Some(parse::Parsed { value: ctx.time_zone.from_utc(utc), offset: None, ..parsed })
}

/// The moment, in UTC, of a text that names its offset.
pub fn moment_of_text(text: &[u8], ctx: &EvalContext) -> Option<DateTime> {
    let parsed = parse::datetime(text, days(ctx))?;
    DateTime::from_micros(parsed.value.to_micros()? - i64::from(parsed.offset?) * SECOND)
}

/// A text as a TIME, in the same way.
pub fn read_time(text: &[u8], ctx: &EvalContext) -> Option<parse::Parsed<i64>> {
    let parsed = parse::time(text)?;
    match parsed.offset {
        None => Some(parsed),
        Some(_) => read_datetime(text, ctx).map(|moved| parse::Parsed {
            value: moved.value.time_of_day(),
            offset: None,
            ..parsed
        }),
    }
}

/// The statement's time in the session's zone, with all six digits.
pub fn now_local(ctx: &EvalContext) -> DateTime {
    ctx.time_zone.local_of_unix(ctx.now_unix_micros).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(value: Value, to: FieldType) -> (String, u64) {
        let ctx = EvalContext::default();
        let from = crate::func::literal_type(&value);
        let result = cast_value(&value, &from, &to, &ctx).unwrap();
        let text = if result.is_null() { "NULL".into() } else { String::from_utf8(to_text(&result, &to)).unwrap() };
        (text, ctx.warnings.count())
    }

    #[test]
    fn casts_are_mysqls() {
        let (int, uint) = (FieldType::bigint(), FieldType::bigint_unsigned());
        let cases: Vec<(Value, FieldType, &str, u64)> = vec![
            ("12abc".into(), int.clone(), "12", 1),
            ("1.9".into(), int.clone(), "1", 1),
            (Value::Double(1.5), int.clone(), "2", 0),
            (Value::Double(-1.5), int.clone(), "-2", 0),
            (Value::Int(-1), uint.clone(), "18446744073709551615", 0),
            (Value::UInt(u64::MAX), int.clone(), "-1", 0),
            ("18446744073709551615".into(), uint, "18446744073709551615", 0),
            ("abc".into(), FieldType::double(), "0", 1),
            ("123.456".into(), FieldType::decimal(5, 1), "123.5", 0),
            ("123456".into(), FieldType::decimal(5, 1), "9999.9", 1),
            ("2020-02-30".into(), FieldType::date(), "NULL", 1),
            ("2020-02-28 10:00:00".into(), FieldType::date(), "2020-02-28", 0),
            (Value::Int(20200228), FieldType::datetime(0), "2020-02-28 00:00:00", 0),
            ("10:11:12.6".into(), FieldType::time(0), "10:11:13", 0),
            ("abcdef".into(), FieldType::new(TypeKind::Char), "a", 1),
            (Value::DateTime(DateTime::from_date(2020, 1, 2)), int, "20200102000000", 0),
        ];
        for (value, to, text, warnings) in cases {
            assert_eq!(cast(value.clone(), to.clone()), (text.to_string(), warnings), "{value:?} AS {to:?}");
        }
    }
}
