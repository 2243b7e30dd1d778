//! A constant number beside a column of dates or times: what `WHERE created > 20250101` compares.
//!
//! MySQL brings a constant to the column's type before it compares. A number that is a date of that type (`20250101`,
//! `250101`, `20250101120000`) becomes it, without what the type has no room for. One that is none (`20250230`, `0.5`,
//! `1e10`) stays a number, and then the column is one as well: `20250101` for a DATE, `20250101000000` for a DATETIME.
//!
//! Dates here are packed in the order of their numbers ([`crate::temporal`]), and the packing has room between them: no
//! second has its 1,000,000th microsecond. So a number that is no date has a place in that order too, before all dates
//! with a higher number, behind all with a lower one, and equal to none. An index over dates serves either way.
//!
//! A TIME leaves no such room: it is compared as a number.
//!
//! Not done: a number below zero takes the place of the zero date, below which there is none.

use super::Func;
use super::infer;
use super::spec::Call;
use crate::cast::{cast_value, days};
use crate::decimal::Decimal;
use crate::error::EvalError;
use crate::expr::Expr;
use crate::temporal::{DateTime, Fields, calendar, parse, round_time, time_number};
use crate::types::{FieldType, TypeKind};
use crate::value::Value;

/// Digits of the numbers that are compared with a TIME, six of them behind the point.
const NUMBER_DIGITS: u32 = 30;
/// Microseconds of a second.
const MICROS: i128 = 1_000_000;
/// The first number of hours, minutes and seconds that is longer than every TIME.
const TIME_END: i128 = 8_390_000;

/// A column of dates and a constant number.
pub(super) fn unify_date(column: Expr, number: Expr) -> (Expr, Expr) {
    let beside = column.ty().clone();
    let ty = FieldType { not_null: number.ty().not_null, ..beside };
    (column, Expr::Call { func: Func::DateNumber, args: vec![number], ty })
}

/// A column of TIME and a constant number, of which a list keeps all digits.
pub(super) fn unify_time(column: Expr, number: Expr, operation: &str) -> (Expr, Expr) {
    let fsp = if operation == "in" { 6 } else { column.ty().decimals };
    let (not_null, ty) = (number.ty().not_null, FieldType::decimal(NUMBER_DIGITS, 6));
    let digits = Expr::int(i64::from(fsp));
    let number = Expr::Call { func: Func::TimeNumber, args: vec![number, digits], ty: FieldType { not_null, ..ty } };
    (as_number(column), number)
}

/// A date or time as the number of its digits: `20250101` of a DATE.
pub fn as_number(expr: Expr) -> Expr {
    let fsp = expr.ty().decimals.min(6);
    let digits = match expr.ty().kind {
        TypeKind::Date => 8,
        TypeKind::Time => 7,
        _ => 14,
    };
    infer::cast(expr, FieldType::decimal(digits + u32::from(fsp), fsp))
}

/// The place of a number among the values of `call.ty`.
pub(super) fn date_number(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let micros = micros_of(&super::conversion::exact(&args[0], call)?);
    let kind = call.ty.kind;
    let local = as_date(micros, call).unwrap_or_else(|| place(micros, kind == TypeKind::Date));
    if kind != TypeKind::Timestamp || local == DateTime::ZERO {
        return Ok(Value::DateTime(local));
    }
    moment(local, call)
}

/// A number in millionths, cut to what a date can be compared with.
fn micros_of(number: &Decimal) -> i128 {
    const END: i128 = 100_000_000_000_000_000 * MICROS;
    let micros = number.truncate(6).rescale(6).and_then(|micros| micros.unscaled().to_i128());
    micros.unwrap_or(if number.is_negative() { -END } else { END }).clamp(-END, END)
}

/// The date that a number is, as the column keeps it.
fn as_date(micros: i128, call: &Call<'_>) -> Option<DateTime> {
    let kind = call.ty.kind;
    let (whole, fraction) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
    // A day that its month does not have stays one beside these, though none is equal to it.
    let days = if kind == TypeKind::Timestamp { days(call.ctx) } else { parse::Days::UpTo31 };
    let parsed = parse::datetime_of_number(whole, days)?;
    let (is_zero, is_real) = (parsed.value == DateTime::ZERO, parsed.value.is_real_date());
    if !(is_real || is_zero && fraction == 0) {
        return None;
    }
    match kind {
        TypeKind::Date => Some(parsed.value.date()),
        _ if !parsed.has_time && kind == TypeKind::Timestamp && fraction != 0 => None,
        _ if !parsed.has_time => Some(parsed.value),
        _ => Some(DateTime(parsed.value.0 + fraction as u64).round(call.ty.decimals)),
    }
}

/// The place behind every date: the last day's, with all bits of its time.
fn behind_all() -> DateTime {
    DateTime(DateTime::from_date(9_999, 12, 31).0 + (1 << 37) - 1)
}

/// Where digits belong that are no date: a field beyond its range ends all that could be equal.
fn place(micros: i128, is_date: bool) -> DateTime {
    if micros <= 0 {
        return DateTime::ZERO;
    }
    let (whole, micro) = (micros / MICROS, (micros % MICROS) as u32);
    let (date, time) = if is_date { (whole, 0) } else { (whole / 1_000_000, (whole % 1_000_000) as u32) };
    let micro = if is_date { micro.min(1) } else { micro };
    if date > 99_991_231 {
        return behind_all();
    }
    let date = date as u32;
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    let (hour, minute, second) = (time / 10_000, time / 100 % 100, time % 100);
    let day_start = Fields { year, month, day, ..Fields::default() };
    let fields = match () {
        () if month > 12 => Fields { month: 13, day: 0, ..day_start },
        () if day > 31 => Fields { day: 31, hour: 24, ..day_start },
        () if hour > 23 => Fields { hour: 24, ..day_start },
        () if minute > 59 => Fields { hour, minute: 60, ..day_start },
        () if second > 59 => Fields { hour, minute, second: 60, ..day_start },
        () => Fields { hour, minute, second, micro, ..day_start },
    };
    fields.pack()
}

/// A local time as the column of moments keeps it; one that does not exist goes right before the next that does.
fn moment(local: DateTime, call: &Call<'_>) -> Result<Value, EvalError> {
    let fields = local.fields();
    let exists = fields.is_valid(false);
    let next = if exists { local } else { next_second(fields) };
    if next.year() < 1970 {
        return Ok(Value::DateTime(DateTime(1)));
    }
    let from = FieldType::datetime(6);
    let quiet = crate::context::EvalContext { warnings: Default::default(), in_write: false, ..call.ctx.clone() };
    Ok(match cast_value(&Value::DateTime(next), &from, &FieldType { decimals: 6, ..call.ty.clone() }, &quiet)? {
        Value::DateTime(utc) if exists => Value::DateTime(utc),
        Value::DateTime(utc) => Value::DateTime(DateTime(utc.0.saturating_sub(1))),
        _ => Value::DateTime(behind_all()),
    })
}

/// The first second that exists behind fields of which one does not.
fn next_second(f: Fields) -> DateTime {
    let (mut year, mut month, mut day) = (f.year, f.month.max(1), f.day.max(1));
    if f.month == 0 || f.day == 0 {
        return DateTime::from_date(year, month.min(12), day);
    }
    let is_past_day = f.hour > 23 || day > calendar::days_in_month(year, month.min(12));
    if !is_past_day && month <= 12 {
        let seconds = (f.hour * 60 + f.minute.min(60)) * 60 + if f.minute > 59 { 0 } else { f.second.min(60) };
        if let Some(start) = DateTime::from_date(year, month, day).to_micros() {
            let next = DateTime::from_micros(start + i64::from(seconds) * 1_000_000);
            return next.unwrap_or(DateTime(u64::MAX));
        }
    }
    day += 1;
    if month > 12 || day > calendar::days_in_month(year, month) {
        (month, day) = (month + 1, 1);
    }
    if month > 12 {
        (year, month) = (year + 1, 1);
    }
    DateTime::from_date(year, month, day)
}

/// The number of a TIME that a number is, with the digits that the column keeps; any other number as it is.
pub(super) fn time_number_of(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let number = super::conversion::exact(&args[0], call)?;
    let fsp = args[1].as_u64().and_then(|v| u8::try_from(v).ok()).unwrap_or(6);
    let as_it_is = |micros: i128| Value::Decimal(Decimal::new(micros, 6));
    let micros = micros_of(&number);
    let (whole, fraction) = (micros / MICROS, micros % MICROS);
    let seconds = if whole.abs() < TIME_END {
        parse::time_of_number(whole).filter(|parsed| !parsed.truncated).map(|parsed| parsed.value)
    } else {
        let parsed = parse::datetime_of_number(whole, parse::Days::UpTo31).filter(|parsed| parsed.has_time);
        parsed.map(|parsed| parsed.value.time_of_day())
    };
    let Some(seconds) = seconds else { return Ok(as_it_is(micros)) };
    let time = round_time(seconds + fraction as i64, fsp);
    let whole_seconds = time / 1_000_000 * 1_000_000;
    Ok(as_it_is(i128::from(time_number(whole_seconds)) * MICROS + i128::from(time - whole_seconds)))
}
