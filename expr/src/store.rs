//! Values into columns: MySQL's assignment rules.
//!
//! Stricter than a cast: what a column cannot hold is an error in strict mode, and otherwise the nearest value with a
//! warning of the same code. NULL passes: 1048 and defaults are the caller's.
//!
//! | code | when |
//! |---|---|
//! | 1264 | a number beyond the column's range |
//! | 1265 | a number at the front of a string, rubbish behind it; digits cut off a DECIMAL (a note, never an error) |
//! | 1292 | not a date, not a time |
//! | 1366 | no number in the string, bytes that are not UTF-8 |
//! | 1406 | a string longer than the column (as a warning: 1265) |

use crate::cast;
use crate::charset::Charset;
use crate::context::EvalContext;
use crate::decimal::Decimal;
use crate::error::EvalError;
use crate::func::conversion::printable;
use crate::number;
use crate::temporal::{self, DateTime, Fields, parse};
use crate::types::{EvalType, FieldType, TypeKind, UNSPECIFIED, VARCHAR_BYTES_MAX};
use crate::value::Value;
use std::sync::Arc;

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

impl StoreContext<'_> {
    fn soften(&self, error: EvalError) -> Result<(), EvalError> {
        if self.is_strict() {
            return Err(error);
        }
        self.eval.warnings.push_error(&error);
        Ok(())
    }
    fn is_strict(&self) -> bool {
        self.eval.mode.strict && !self.ignore
    }
    /// A string that is cut: an error of its own in strict mode.
    fn too_long(&self) -> Result<(), EvalError> {
        if self.is_strict() {
            return Err(EvalError::DataTooLong { column: self.column.into(), row: self.row });
        }
        self.eval.warnings.push_error(&self.data_truncated());
        Ok(())
    }
    /// A date or time of which a part is lost: 1292 in strict mode whatever was lost, else the warning that says it.
    fn soften_temporal(&self, kind: &'static str, value: &Value, warning: EvalError) -> Result<(), EvalError> {
        if self.is_strict() {
            return self.incorrect_temporal(kind, value);
        }
        self.eval.warnings.push_error(&warning);
        Ok(())
    }
    fn out_of_range(&self) -> Result<(), EvalError> {
        self.soften(EvalError::ColumnOutOfRange { column: self.column.into(), row: self.row })
    }
    fn data_truncated(&self) -> EvalError {
        EvalError::DataTruncated { column: self.column.into(), row: self.row }
    }
    fn incorrect(&self, kind: &'static str, value: &Value) -> Result<(), EvalError> {
        let value = cast::display(value);
        self.soften(EvalError::IncorrectColumnValue { kind, value, column: self.column.into(), row: self.row })
    }
    fn incorrect_temporal(&self, kind: &'static str, value: &Value) -> Result<(), EvalError> {
        let value = cast::display(value);
        self.soften(EvalError::IncorrectTemporalColumn { kind, value, column: self.column.into(), row: self.row })
    }
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
    if value.is_null() {
        return Ok(Value::Null);
    }
    if let (Value::DateTime(moment), TypeKind::Timestamp) = (value, from.kind) {
        if to.kind == TypeKind::Timestamp {
            return Ok(Value::DateTime(ctx.eval.fit_datetime(*moment, to.decimals)));
        }
        let local = Value::DateTime(ctx.eval.time_zone.from_utc(*moment));
        return cast_for_store(&local, &FieldType::datetime(from.decimals), to, ctx);
    }
    if let (Value::DateTime(date), TypeKind::Date, true) =
        (value, from.kind, to.is_numeric() && to.kind != TypeKind::Year)
    {
        let number = Value::Int(date.date_number() as i64);
        return cast_for_store(&number, &FieldType::bigint(), to, ctx);
    }
    if from.kind != to.kind && matches!(from.kind, TypeKind::Bit | TypeKind::Year) {
        // The number that it is, neither its bytes nor its four digits nor a day.
        return cast_for_store(value, &FieldType { unsigned: from.unsigned, ..FieldType::bigint() }, to, ctx);
    }
    let hybrid = if to.is_numeric() { crate::func::hybrid_number(value, from) } else { None };
    let value = hybrid.as_ref().unwrap_or(value);
    match to.kind {
        TypeKind::Null => Ok(Value::Null),
        TypeKind::Year => store_year(value, ctx),
        TypeKind::Bit => store_bit(value, from, to, ctx),
        TypeKind::Json | TypeKind::Enum | TypeKind::Set => Err(EvalError::Unsupported(to.base_name().to_uppercase())),
        _ => match to.eval_type() {
            EvalType::Int => store_integer(value, to, ctx),
            EvalType::Real => store_real(value, to, ctx),
            EvalType::Decimal => store_decimal(value, to, ctx),
            EvalType::DateTime => store_datetime(value, from, to, ctx),
            EvalType::Duration => store_time(value, from, to, ctx),
            _ => store_string(value, from, to, ctx),
        },
    }
}

/// The number of a value for a column of numbers; strings are read strictly.
fn number_of(value: &Value, kind: &'static str, ctx: &StoreContext<'_>) -> Result<Decimal, EvalError> {
    let Some(bytes) = value.as_bytes() else {
        return cast::to_decimal(value, ctx.eval);
    };
    let Some((number, used)) = Decimal::parse(bytes) else {
        if number::scan(bytes).is_some() {
            // A number, but one beyond 65 digits.
            let negative = bytes.trim_ascii_start().first() == Some(&b'-');
            return Ok(cast::decimal_limit(65, 0, negative));
        }
        ctx.incorrect(kind, value)?;
        return Ok(Decimal::ZERO);
    };
    if !bytes[used..].iter().all(u8::is_ascii_whitespace) {
        match kind {
            "decimal" if ctx.is_strict() => ctx.incorrect(kind, value)?,
            _ => ctx.soften(ctx.data_truncated())?,
        }
    }
    Ok(number)
}

fn store_integer(value: &Value, to: &FieldType, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    let number = match value {
        Value::Int(_) | Value::UInt(_) => value.as_i128().unwrap_or_default(),
        Value::Double(v) => v.round_ties_even() as i128,
        // Below zero even where it would round to zero.
        Value::Decimal(v) if to.unsigned && v.is_negative() && !v.is_zero() => -1,
        _ => {
            let decimal = number_of(value, "integer", ctx)?;
            decimal.to_i128().unwrap_or(if decimal.is_negative() { i128::MIN } else { i128::MAX })
        }
    };
    let (low, high) = to.integer_range();
    let fitted = number.clamp(low, high);
    if fitted != number {
        ctx.out_of_range()?;
    }
    Ok(if to.unsigned { Value::UInt(fitted as u64) } else { Value::Int(fitted as i64) })
}

fn store_year(value: &Value, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    let number = match value {
        Value::DateTime(v) => i128::from(v.year()),
        Value::Time(_) => i128::from(cast::now_local(ctx.eval).year()),
        // Without its fraction.
        Value::Double(v) => *v as i128,
        _ => match value.as_bytes() {
            // A text that begins with no number is the year 0000.
            Some(text) if number::scan(text).is_none() => {
                ctx.incorrect("integer", value)?;
                return Ok(Value::Int(0));
            }
            _ => number_of(value, "integer", ctx)?.to_i128().unwrap_or(-1),
        },
    };
    match year_of(number, value.as_bytes()) {
        Some(year) => Ok(Value::Int(year)),
        None => {
            ctx.out_of_range()?;
            Ok(Value::Int(0))
        }
    }
}

/// The year that a number is, or the number of a text: of one or two digits one of 1970 to 2069. The number 0 is the year
/// 0000, a text of it 2000 unless it has four characters.
pub fn year_of(number: i128, text: Option<&[u8]>) -> Option<i64> {
    let is_digits = |text: &[u8]| text.len() != 4 && number::scan(text).is_some();
    match number {
        0 if text.is_some_and(is_digits) => Some(2000),
        0 => Some(0),
        1..=69 => Some(number as i64 + 2000),
        70..=99 => Some(number as i64 + 1900),
        1901..=2155 => Some(number as i64),
        _ => None,
    }
}

fn store_bit(value: &Value, from: &FieldType, to: &FieldType, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    let of_bytes = |bytes: &[u8]| {
        let significant = bytes.iter().skip_while(|b| **b == 0);
        significant.fold(0i128, |n, b| n.saturating_mul(256).saturating_add(i128::from(*b)))
    };
    let number = match value {
        Value::Bytes(bytes) => of_bytes(bytes),
        Value::String(text) => of_bytes(&from.collation.character_set().encode(text)),
        Value::Double(v) => *v as i128,
        // Below zero even where it would round to zero.
        Value::Decimal(v) if v.is_negative() && v.to_i128().is_some_and(|v| v >= -1) && v.truncate(0).is_zero() => {
            ctx.out_of_range()?;
            0
        }
        _ => number_of(value, "integer", ctx)?.to_i128().unwrap_or(i128::MAX),
    };
    let (low, high) = to.integer_range();
    if !(low..=high).contains(&number) {
        ctx.soften(EvalError::DataTooLong { column: ctx.column.into(), row: ctx.row })?;
    }
    // Too much of either sign is all bits set.
    Ok(Value::UInt(if (low..=high).contains(&number) { number } else { high } as u64))
}

fn store_real(value: &Value, to: &FieldType, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    let mut number = match value.as_bytes() {
        Some(bytes) => {
            let (number, complete) = number::parse_double(bytes);
            if number::scan(bytes).is_none() || !complete {
                ctx.incorrect(if to.kind == TypeKind::Float { "FLOAT" } else { "DOUBLE" }, value)?;
            }
            number
        }
        None => cast::to_f64_quiet(value),
    };
    if to.unsigned && number < 0.0 {
        ctx.out_of_range()?;
        number = 0.0;
    }
    if to.length != UNSPECIFIED && to.decimals <= 30 {
        let limit = 10f64.powi(to.length as i32 - i32::from(to.decimals)) - 10f64.powi(-i32::from(to.decimals));
        let unit = 10f64.powi(i32::from(to.decimals));
        // Half to even, what is behind the point by itself: so it is never -0.
        let rounded = number.floor() + ((number - number.floor()) * unit).round_ties_even() / unit;
        number = if rounded.is_finite() { rounded } else { number };
        if number.abs() > limit {
            ctx.out_of_range()?;
            number = limit.copysign(number);
        }
    }
    if to.kind == TypeKind::Float {
        if number.abs() > f64::from(f32::MAX) {
            ctx.out_of_range()?;
            number = f64::from(f32::MAX).copysign(number);
        }
        number = f64::from(number as f32);
    }
    Ok(Value::Double(number))
}

fn store_decimal(value: &Value, to: &FieldType, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    let number = match value {
        Value::Double(v) => Decimal::from_f64(*v).unwrap_or_else(|| cast::decimal_limit(65, 0, v.is_sign_negative())),
        _ => number_of(value, "decimal", ctx)?,
    };
    if to.unsigned && number.is_negative() {
        ctx.out_of_range()?;
        return Ok(Value::Decimal(Decimal::new(0, to.decimals)));
    }
    match number.rescale(to.decimals).filter(|d| d.fits(to.length, to.decimals)) {
        Some(fitted) => {
            if fitted != number && value.as_bytes().is_some() {
                ctx.eval.warnings.push_error(&ctx.data_truncated());
            }
            Ok(Value::Decimal(fitted))
        }
        None => {
            ctx.out_of_range()?;
            Ok(Value::Decimal(cast::decimal_limit(to.length, to.decimals, number.is_negative())))
        }
    }
}

/// A local time as a TIMESTAMP, whose range in UTC is 1970-01-01 00:00:01 to 2038-01-19 03:14:07.999999.
fn store_moment(local: DateTime, value: &Value, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    let least = DateTime(DateTime::from_date(1970, 1, 1).0 + (1 << 20));
    let end = Fields { year: 2038, month: 1, day: 19, hour: 3, minute: 14, second: 8, micro: 0 }.pack();
    // A text with an offset is that moment even in an hour that comes twice.
    let named = value.as_bytes().and_then(|text| cast::moment_of_text(text, ctx.eval));
    let moment = named.or_else(|| cast::moment_of_local(local, ctx.eval));
    match moment.filter(|moment| *moment == DateTime::ZERO || (least..end).contains(moment)) {
        Some(moment) => {
            if ctx.eval.time_zone.is_skipped(local) {
                let warning = EvalError::InvalidTimestamp { column: ctx.column.into(), row: ctx.row };
                ctx.soften_temporal("datetime", value, warning)?;
            }
            Ok(Value::DateTime(moment))
        }
        None => {
            ctx.incorrect_temporal("datetime", value)?;
            Ok(Value::DateTime(DateTime::ZERO))
        }
    }
}

fn store_datetime(value: &Value, from: &FieldType, to: &FieldType, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    let kind = if to.kind == TypeKind::Date { "date" } else { "datetime" };
    let quiet = EvalContext { warnings: Default::default(), in_write: false, ..ctx.eval.clone() };
    if is_beyond(value) {
        let warning = EvalError::ColumnOutOfRange { column: ctx.column.into(), row: ctx.row };
        ctx.soften_temporal(kind, value, warning)?;
        return Ok(Value::DateTime(DateTime::ZERO));
    }
    let parsed = match value {
        Value::String(_) | Value::Bytes(_) => {
            cast::read_datetime(value.as_bytes().unwrap_or_default(), ctx.eval).map(|p| (p.value, p.truncated))
        }
        Value::DateTime(v) => Some((*v, false)),
        _ => cast::to_datetime(value, from, &FieldType::datetime(6), &quiet)?.map(|v| (v, false)),
    };
    let Some((parsed, truncated)) = parsed.filter(|p| cast::ZeroDates::of_mode(ctx.eval).allow(p.0)) else {
        // A date that the calendar or the mode does not have is out of range; everything else is no date.
        let is_shaped = value.as_bytes().is_some_and(|text| parse::datetime(text, parse::Days::UpTo31).is_some());
        let warning = match parsed.is_some() || is_shaped {
            true => EvalError::ColumnOutOfRange { column: ctx.column.into(), row: ctx.row },
            false => ctx.data_truncated(),
        };
        ctx.soften_temporal(kind, value, warning)?;
        return Ok(Value::DateTime(DateTime::ZERO));
    };
    if truncated {
        ctx.soften_temporal(kind, value, ctx.data_truncated())?;
    }
    let fsp = if to.kind == TypeKind::Date { 0 } else { to.decimals };
    let fitted = ctx.eval.fit_datetime(parsed, fsp);
    if ctx.eval.leaves_calendar(parsed, fsp) {
        ctx.soften(EvalError::DatetimeOverflow("datetime"))?;
        ctx.out_of_range()?;
        return Ok(Value::DateTime(DateTime::ZERO));
    }
    Ok(match to.kind {
        TypeKind::Date => Value::DateTime(fitted.date()),
        TypeKind::Timestamp => {
            let moment = store_moment(fitted, value, ctx)?;
            match moment {
                Value::DateTime(moment) => Value::DateTime(ctx.eval.fit_datetime(moment, fsp)),
                other => other,
            }
        }
        _ => Value::DateTime(fitted),
    })
}

/// A double that is longer than any number of a date.
fn is_beyond(value: &Value) -> bool {
    const LONGEST: f64 = 1e30;
    matches!(value, Value::Double(number) if number.abs() >= LONGEST)
}

fn store_time(value: &Value, from: &FieldType, to: &FieldType, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    let quiet = EvalContext { warnings: Default::default(), in_write: false, ..ctx.eval.clone() };
    if let (true, Value::Double(number)) = (is_beyond(value), value) {
        let warning = EvalError::ColumnOutOfRange { column: ctx.column.into(), row: ctx.row };
        ctx.soften_temporal("time", value, warning)?;
        let limit = temporal::TIME_MAX / temporal::SECOND * temporal::SECOND;
        return Ok(Value::Time(if *number < 0.0 { -limit } else { limit }));
    }
    let parsed = match value.as_bytes() {
        Some(bytes) => cast::read_time(bytes, ctx.eval).map(|p| (p.value, p.truncated)),
        None if value.as_i128().is_some() || matches!(value, Value::Double(_) | Value::Decimal(_)) => {
            cast::time_of_number(value, &quiet)?.map(|p| (p.value, p.truncated))
        }
        None => cast::to_time(value, from, 6, &quiet)?.map(|v| (v, false)),
    };
    let Some((micros, truncated)) = parsed else {
        let is_shaped = value.as_bytes().is_none_or(|text| text.contains(&b':') && number::scan(text).is_some());
        let warning = match is_shaped {
            true => EvalError::ColumnOutOfRange { column: ctx.column.into(), row: ctx.row },
            false => ctx.data_truncated(),
        };
        ctx.soften_temporal("time", value, warning)?;
        return Ok(Value::Time(0));
    };
    let out_of_range = quiet.warnings.count() > 0 || truncated && micros.abs() == temporal::TIME_MAX;
    if out_of_range {
        let warning = EvalError::ColumnOutOfRange { column: ctx.column.into(), row: ctx.row };
        ctx.soften_temporal("time", value, warning)?;
    } else if truncated {
        ctx.soften_temporal("time", value, ctx.data_truncated())?;
    }
    Ok(Value::Time(ctx.eval.fit_time(micros, to.decimals).clamp(-temporal::TIME_MAX, temporal::TIME_MAX)))
}

fn store_string(value: &Value, from: &FieldType, to: &FieldType, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    if to.is_binary_string() {
        return store_binary(value, from, to, ctx);
    }
    let text = match shorter_double(value, to, to.length) {
        Some(text) => text.into(),
        None => text_for(value, from, to.collation.character_set(), ctx)?,
    };
    // Trailing spaces of a CHAR are not kept, neither those that came nor those that a cut leaves; those of a VARCHAR beyond
    // its length go with a note.
    let without_spaces = |text| if to.kind == TypeKind::Char { str::trim_end_matches(text, ' ') } else { text };
    let trimmed = without_spaces(&text);
    let end = match to.blob_bytes_max() {
        Some(bytes) => (trimmed.len() > bytes).then(|| trimmed.floor_char_boundary(bytes)),
        None if to.length == UNSPECIFIED || trimmed.len() <= to.length as usize => None,
        None => trimmed.char_indices().nth(to.length as usize).map(|(end, _)| end),
    };
    match end {
        Some(end) => {
            if trimmed[end..].bytes().all(|b| b == b' ') {
                ctx.eval.warnings.push_error(&ctx.data_truncated());
            } else {
                ctx.too_long()?;
            }
            Ok(Value::from(without_spaces(&trimmed[..end])))
        }
        None if trimmed.len() == text.len() => Ok(Value::String(text.clone())),
        None => Ok(Value::from(trimmed)),
    }
}

/// A double that is too long for a column of so many characters, with as many digits as there is room for.
fn shorter_double(value: &Value, to: &FieldType, length: u32) -> Option<String> {
    match value {
        Value::Double(number) if to.blob_bytes_max().is_none() && length != UNSPECIFIED => {
            number::format_within(*number, length as usize)
        }
        _ => None,
    }
}

/// A value as text of a column's character set. What has no place in it is error 1366; otherwise a character becomes `?`,
/// and bytes that are no text are cut off where that begins.
fn text_for(value: &Value, from: &FieldType, to: Charset, ctx: &StoreContext<'_>) -> Result<Arc<str>, EvalError> {
    let wrong = |bytes: &[u8]| EvalError::IncorrectColumnValue {
        kind: "string",
        value: printable(bytes, WRONG_BYTES_SHOWN),
        column: ctx.column.into(),
        row: ctx.row,
    };
    Ok(match value {
        Value::String(text) => match to.first_missing(text) {
            None => text.clone(),
            Some(at) => {
                ctx.soften(wrong(&from.collation.character_set().encode(&text[at..])))?;
                to.fit(text).into()
            }
        },
        Value::Bytes(bytes) => match to.decode(bytes) {
            Ok(text) => text.into(),
            Err(at) => {
                ctx.soften(wrong(&bytes[at..]))?;
                String::from_utf8_lossy(&bytes[..at]).into()
            }
        },
        _ => String::from_utf8_lossy(&cast::to_text(value, from)).into(),
    })
}

/// Bytes of a string that error 1366 shows.
const WRONG_BYTES_SHOWN: usize = 6;

fn store_binary(value: &Value, from: &FieldType, to: &FieldType, ctx: &StoreContext<'_>) -> Result<Value, EvalError> {
    let mut bytes = match value {
        Value::Bytes(bytes) => bytes.clone(),
        Value::String(text) => from.collation.character_set().encode(text).into_owned().into(),
        _ => match shorter_double(value, to, to.length) {
            Some(text) => text.into_bytes().into(),
            None => cast::to_text(value, from).into(),
        },
    };
    let limit = match to.blob_bytes_max() {
        Some(bytes) => bytes,
        None if to.length == UNSPECIFIED => VARCHAR_BYTES_MAX as usize,
        None => to.length as usize,
    };
    if bytes.len() > limit {
        ctx.too_long()?;
        bytes.truncate(limit);
    }
    if to.kind == TypeKind::Binary && bytes.len() < limit {
        let mut padded = bytes.to_vec();
        padded.resize(limit, 0);
        bytes = padded.into();
    }
    Ok(Value::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(value: Value, to: FieldType, strict: bool) -> String {
        let mut eval = EvalContext::default();
        eval.mode.strict = strict;
        let ctx = StoreContext { eval: &eval, column: "c", row: 2, ignore: false };
        let from = crate::func::literal_type(&value);
        match cast_for_store(&value, &from, &to, &ctx) {
            Ok(stored) => {
                let text = String::from_utf8_lossy(&cast::to_text(&stored, &to)).into_owned();
                let warnings: Vec<_> = eval.warnings.take().iter().map(|w| w.code.to_string()).collect();
                if warnings.is_empty() { text } else { format!("{text} ({})", warnings.join(",")) }
            }
            Err(error) => format!("{} {error}", error.code()),
        }
    }

    #[test]
    fn columns_take_what_mysql_takes() {
        let tiny = FieldType::new(TypeKind::Tiny);
        let cases: Vec<(Value, FieldType, &str, &str)> = vec![
            (Value::Int(127), tiny.clone(), "127", "127"),
            (Value::Int(128), tiny.clone(), "1264 Out of range value for column 'c' at row 2", "127 (1264)"),
            ("12".into(), tiny.clone(), "12", "12"),
            ("1.5".into(), tiny.clone(), "2", "2"),
            ("12x".into(), tiny.clone(), "1265 Data truncated for column 'c' at row 2", "12 (1265)"),
            ("x".into(), tiny, "1366 Incorrect integer value: 'x' for column 'c' at row 2", "0 (1366)"),
            ("abcd".into(), FieldType::varchar(3), "1406 Data too long for column 'c' at row 2", "abc (1265)"),
            ("abc  ".into(), FieldType::varchar(3), "abc (1265)", "abc (1265)"),
            (
                "2020-02-30".into(),
                FieldType::date(),
                "1292 Incorrect date value: '2020-02-30' for column 'c' at row 2",
                "0000-00-00 (1264)",
            ),
            ("1.239".into(), FieldType::decimal(4, 2), "1.24 (1265)", "1.24 (1265)"),
            (
                Value::Int(100),
                FieldType::decimal(4, 2),
                "1264 Out of range value for column 'c' at row 2",
                "99.99 (1264)",
            ),
            ("10:00".into(), FieldType::time(0), "10:00:00", "10:00:00"),
            (
                "839:00:00".into(),
                FieldType::time(0),
                "1292 Incorrect time value: '839:00:00' for column 'c' at row 2",
                "838:59:59 (1264)",
            ),
            (Value::Int(99), FieldType::new(TypeKind::Year), "1999", "1999"),
        ];
        for (value, to, strict, lenient) in cases {
            assert_eq!(store(value.clone(), to.clone(), true), strict);
            assert_eq!(store(value, to, false), lenient);
        }
    }
}
