//! Dates and times, part two: intervals and differences.
//!
//! An interval's unit is the last (`DATE_ADD(date, value, 'unit')`) or first (`EXTRACT('unit', x)`,
//! `TIMESTAMPDIFF('unit', a, b)`) argument, a string constant.

use super::Func;
use super::datetime::{day_number, fsp_of, integer, moment};
use super::infer::cast;
use super::spec::{Arg, Call, Ret, Spec, coerce};
use crate::cast::{cast_value, to_text};
use crate::decimal::Decimal;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::temporal::{self, DAY, DateTime, SECOND, TIME_MAX, calendar, parse};
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;

/// A unit of `INTERVAL`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[allow(missing_docs)]
pub enum IntervalUnit {
    MicroSecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    SecondMicro,
    MinuteMicro,
    MinuteSecond,
    HourMicro,
    HourSecond,
    HourMinute,
    DayMicro,
    DaySecond,
    DayMinute,
    DayHour,
    YearMonth,
}

use IntervalUnit as Unit;

impl IntervalUnit {
    /// The unit of a SQL name, any case, with or without `SQL_TSI_`.
    pub fn by_name(name: &str) -> Option<IntervalUnit> {
        let upper = name.to_ascii_uppercase();
        Some(match upper.strip_prefix("SQL_TSI_").unwrap_or(&upper) {
            "MICROSECOND" | "FRAC_SECOND" => Unit::MicroSecond,
            "SECOND" => Unit::Second,
            "MINUTE" => Unit::Minute,
            "HOUR" => Unit::Hour,
            "DAY" => Unit::Day,
            "WEEK" => Unit::Week,
            "MONTH" => Unit::Month,
            "QUARTER" => Unit::Quarter,
            "YEAR" => Unit::Year,
            "SECOND_MICROSECOND" => Unit::SecondMicro,
            "MINUTE_MICROSECOND" => Unit::MinuteMicro,
            "MINUTE_SECOND" => Unit::MinuteSecond,
            "HOUR_MICROSECOND" => Unit::HourMicro,
            "HOUR_SECOND" => Unit::HourSecond,
            "HOUR_MINUTE" => Unit::HourMinute,
            "DAY_MICROSECOND" => Unit::DayMicro,
            "DAY_SECOND" => Unit::DaySecond,
            "DAY_MINUTE" => Unit::DayMinute,
            "DAY_HOUR" => Unit::DayHour,
            "YEAR_MONTH" => Unit::YearMonth,
            _ => return None,
        })
    }
    /// True when it has a part smaller than a day.
    pub fn has_time(self) -> bool {
        !matches!(self, Unit::Day | Unit::Week | Unit::Month | Unit::Quarter | Unit::Year | Unit::YearMonth)
    }
    fn has_micros(self) -> bool {
        matches!(self, Unit::MicroSecond | Unit::SecondMicro | Unit::MinuteMicro | Unit::HourMicro | Unit::DayMicro)
    }
    /// Microseconds of the parts of a unit made of several, largest first.
    fn parts(self) -> &'static [i64] {
        const ALL: [i64; 5] = [DAY, 3600 * SECOND, 60 * SECOND, SECOND, 1];
        match self {
            Unit::SecondMicro => &ALL[3..],
            Unit::MinuteMicro => &ALL[2..],
            Unit::MinuteSecond => &ALL[2..4],
            Unit::HourMicro => &ALL[1..],
            Unit::HourSecond => &ALL[1..4],
            Unit::HourMinute => &ALL[1..3],
            Unit::DayMicro => &ALL,
            Unit::DaySecond => &ALL[..4],
            Unit::DayMinute => &ALL[..3],
            Unit::DayHour => &ALL[..2],
            _ => &[],
        }
    }
}

/// A length of time: months are not a number of days.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interval {
    /// Years, quarters and months.
    pub months: i64,
    /// Everything else.
    pub micros: i64,
}

impl Interval {
    /// Adds itself to a date; `None` outside of the calendar.
    pub fn add_to(self, date: DateTime) -> Option<DateTime> {
        let mut date = date;
        if self.months != 0 {
            let index = i64::from(date.year()) * 12 + i64::from(date.month().max(1)) - 1;
            let index = index.checked_add(self.months)?;
            let (year, month) = (index.div_euclid(12), index.rem_euclid(12) as u32 + 1);
            let year = u32::try_from(year).ok().filter(|y| *y <= 9999)?;
            let fields = date.fields();
            let day = fields.day.min(calendar::days_in_month(year, month));
            date = temporal::Fields { year, month, day, ..fields }.pack();
        }
        if self.micros == 0 {
            return Some(date);
        }
        DateTime::from_micros(date.to_micros()?.checked_add(self.micros)?)
    }
    /// The other direction.
    pub fn negate(self) -> Interval {
        Interval { months: self.months.saturating_neg(), micros: self.micros.saturating_neg() }
    }
}

pub(super) fn spec(func: Func) -> Option<Spec> {
    use Func::*;
    const ANY: &[Arg] = &[Arg::Any];
    Some(match func {
        DateAdd | DateSub => Spec::new(2, 3, ANY, Ret::Custom(type_date_add), date_add),
        TimestampAdd => Spec::new(3, 3, ANY, Ret::Custom(type_timestamp_add), date_add),
        DateDiff => Spec::new(2, 2, &[Arg::DateTime], Ret::Int, date_diff),
        TimestampDiff => Spec::new(3, 3, &[Arg::Text, Arg::DateTime, Arg::DateTime], Ret::Int, timestamp_diff),
        TimeDiff => Spec::new(2, 2, ANY, Ret::Custom(type_time_diff), time_diff),
        AddTime | SubTime => Spec::new(2, 2, &[Arg::Any, Arg::Time], Ret::Custom(type_add_time), add_time),
        PeriodAdd | PeriodDiff => Spec::new(2, 2, &[Arg::Int], Ret::Int, period),
        Extract => Spec::new(2, 2, ANY, Ret::Custom(type_extract), extract),
        _ => return None,
    })
}

fn unit_of(expr: Option<&Expr>) -> Result<Unit, ExprError> {
    let name = match expr {
        None => return Ok(Unit::Day),
        Some(Expr::Literal(value, _)) => value.as_bytes().map(|b| String::from_utf8_lossy(b).into_owned()),
        Some(_) => None,
    };
    name.and_then(|n| Unit::by_name(&n)).ok_or_else(|| ExprError::BadArguments("INTERVAL".into()))
}

fn unit_value(value: Option<&Value>) -> Unit {
    let name = value.and_then(Value::as_bytes).map(|b| String::from_utf8_lossy(b).into_owned());
    name.and_then(|n| Unit::by_name(&n)).unwrap_or(Unit::Day)
}

fn added_type(date: &FieldType, amount: &FieldType, unit: Unit) -> FieldType {
    let fraction = match unit {
        u if u.has_micros() => 6,
        Unit::Second if amount.is_string() => 6,
        Unit::Second => amount.scale().min(6),
        _ => 0,
    };
    match date.eval_type() {
        EvalType::DateTime if date.kind == TypeKind::Date && !unit.has_time() => FieldType::date(),
        EvalType::DateTime => FieldType::datetime(date.decimals.max(fraction)),
        EvalType::Duration if unit.has_time() => FieldType::time(date.decimals.max(fraction)),
        EvalType::Duration => FieldType::datetime(date.decimals),
        _ => FieldType::varchar(29),
    }
}

fn type_date_add(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let unit = unit_of(args.get(2))?;
    let ty = added_type(args[0].ty(), args[1].ty(), unit);
    if args[0].ty().is_string() && is_moment(&args[0]) {
        args[0] = cast(std::mem::replace(&mut args[0], Expr::null()), FieldType::datetime(6));
    } else if !args[0].ty().is_temporal() && !is_plain_number(args[0].ty()) {
        args[0] = coerce(std::mem::replace(&mut args[0], Expr::null()), Arg::Text);
    }
    Ok(ty)
}

/// A number is read as a date by its digits, not as the text that it would be.
fn is_plain_number(ty: &FieldType) -> bool {
    ty.is_numeric() && ty.kind != TypeKind::Bit
}

/// What these calculate is a date with a time for the next one, even where it shows as a date alone.
fn is_moment(expr: &Expr) -> bool {
    matches!(expr, Expr::Call { func: Func::DateAdd | Func::DateSub | Func::TimestampAdd, .. })
}

/// TIMESTAMPADD(unit, amount, date): brought into DATE_ADD's order.
fn type_timestamp_add(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    args.swap(0, 2);
    type_date_add(args)
}

/// The numbers in an interval's text, with their sign.
fn numbers(text: &[u8]) -> (bool, Vec<(i64, usize)>) {
    let negative = text.trim_ascii_start().first() == Some(&b'-');
    let mut found = Vec::new();
    let mut current: Option<(i64, usize)> = None;
    for &byte in text {
        if byte.is_ascii_digit() {
            let (value, digits) = current.unwrap_or((0, 0));
            current = Some((value.saturating_mul(10).saturating_add(i64::from(byte - b'0')), digits + 1));
        } else if let Some(number) = current.take() {
            found.push(number);
        }
    }
    found.extend(current);
    (negative, found)
}

/// The interval of an amount and a unit; `None` when it is beyond any calendar, or NULL.
///
/// # Errors
/// As a conversion to a number.
pub fn interval_value(
    value: &Value,
    ty: &FieldType,
    unit: IntervalUnit,
    ctx: &crate::EvalContext,
) -> Result<Option<Interval>, EvalError> {
    if value.is_null() {
        return Ok(None);
    }
    let call = Call { func: Func::DateAdd, ty, types: vec![ty], ctx, memo: super::spec::Memo::default() };
    interval_of(&call, value, ty, unit)
}

/// Reads an interval's amount; `None` when it is beyond any calendar.
fn interval_of(call: &Call<'_>, value: &Value, ty: &FieldType, unit: Unit) -> Result<Option<Interval>, EvalError> {
    let micros = |count: i64, each: i64| count.checked_mul(each).map(|micros| Interval { months: 0, micros });
    let months = |count: i64, each: i64| count.checked_mul(each).map(|months| Interval { months, micros: 0 });
    let parts = unit.parts();
    if unit == Unit::YearMonth || !parts.is_empty() {
        let (negative, found) = numbers(&to_text(value, ty));
        if found.len() > if unit == Unit::YearMonth { 2 } else { parts.len() } {
            return Ok(None);
        }
        let result = if unit == Unit::YearMonth {
            let at = |i: usize| found.get(i).map_or(0, |n| n.0);
            let total = if found.len() == 1 { Some(at(0)) } else { at(0).checked_mul(12).map(|y| y + at(1)) };
            total.map(|months| Interval { months, micros: 0 })
        } else {
            // Fewer numbers than parts are the smallest ones; microseconds are digits behind a point.
            let skip = parts.len().saturating_sub(found.len());
            let sum = parts[skip..].iter().zip(&found).try_fold(0i64, |sum, (each, (count, digits))| {
                let each = if *each == 1 && unit.has_micros() { 10i64.pow(6 - (*digits).min(6) as u32) } else { *each };
                sum.checked_add(count.checked_mul(each)?)
            });
            sum.map(|micros| Interval { months: 0, micros })
        };
        return Ok(result.map(|i| if negative { i.negate() } else { i }));
    }
    // What only a BIGINT UNSIGNED holds is negative here.
    let signed = match value {
        Value::UInt(count) => Some(*count as i64),
        Value::String(_) | Value::Bytes(_) if unit != Unit::Second => {
            let number = crate::cast::to_i128(value, call.ctx)?;
            let clamped = number.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            Some(u64::try_from(number).map_or(clamped, |count| count as i64))
        }
        _ => None,
    };
    let value = &signed.map_or_else(|| value.clone(), Value::Int);
    if unit == Unit::Second {
        let seconds = crate::cast::to_decimal(value, call.ctx)?;
        let scaled = seconds.rescale(6).and_then(|d| d.unscaled().to_i128()).and_then(|m| i64::try_from(m).ok());
        return Ok(scaled.map(|micros| Interval { months: 0, micros }));
    }
    let count = integer(call, value)?;
    Ok(match unit {
        Unit::MicroSecond => micros(count, 1),
        Unit::Minute => micros(count, 60 * SECOND),
        Unit::Hour => micros(count, 3600 * SECOND),
        Unit::Day => micros(count, DAY),
        Unit::Week => micros(count, 7 * DAY),
        Unit::Month => months(count, 1),
        Unit::Quarter => months(count, 3),
        _ => months(count, 12),
    })
}

fn date_add(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let unit = unit_value(args.get(2));
    let overflow = || -> Result<Value, EvalError> {
        call.ctx.soften(EvalError::DatetimeOverflow("datetime"))?;
        Ok(Value::Null)
    };
    let Some(interval) = interval_of(call, &args[1], call.types[1], unit)? else { return overflow() };
    let interval = if call.func == Func::DateSub { interval.negate() } else { interval };
    let (start, has_time) = match &args[0] {
        Value::DateTime(v) => (*v, true),
        Value::Time(v) if call.ty.kind == TypeKind::Time => {
            let sum = v.saturating_add(interval.micros);
            return if sum.abs() > TIME_MAX { overflow() } else { Ok(Value::Time(sum)) };
        }
        Value::Time(_) => match cast_value(&args[0], call.types[0], &FieldType::datetime(6), call.ctx)? {
            Value::DateTime(v) => (v, true),
            _ => return Ok(Value::Null),
        },
        value => match crate::cast::datetime_of(value, call.types[0], call.ctx)? {
            Some(parsed) => (parsed.value, parsed.has_time),
            None => {
                let value = crate::cast::display(value);
                call.ctx.soften(EvalError::IncorrectTemporal { kind: "datetime", value })?;
                return Ok(Value::Null);
            }
        },
    };
    if !start.is_calendar_date() {
        return Ok(Value::Null);
    }
    let Some(sum) = interval.add_to(start) else { return overflow() };
    if !call.ty.is_string() {
        return Ok(Value::DateTime(sum));
    }
    let mut out = Vec::new();
    if has_time || unit.has_time() {
        sum.format(if sum.fields().micro == 0 { 0 } else { 6 }, &mut out);
    } else {
        sum.format_date(&mut out);
    }
    Ok(call.text(out))
}

fn date_diff(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(match (day_number(moment(&args[0])), day_number(moment(&args[1]))) {
        (Some(a), Some(b)) => Value::Int(a - b),
        _ => Value::Null,
    })
}

fn timestamp_diff(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let unit = unit_value(args.first());
    let (from, to) = (moment(&args[1]), moment(&args[2]));
    if !(from.is_calendar_date() && to.is_calendar_date()) {
        return Ok(Value::Null);
    }
    let (Some(a), Some(b)) = (from.to_micros(), to.to_micros()) else { return Ok(Value::Null) };
    let micros = b - a;
    let months = || {
        let (early, late, sign) = if a <= b { (from, to, 1) } else { (to, from, -1) };
        let index = |d: DateTime| i64::from(d.year()) * 12 + i64::from(d.month());
        let rest = |d: DateTime| (d.day(), d.time_of_day());
        (index(late) - index(early) - i64::from(rest(late) < rest(early))) * sign
    };
    Ok(Value::Int(match unit {
        Unit::MicroSecond => micros,
        Unit::Second => micros / SECOND,
        Unit::Minute => micros / (60 * SECOND),
        Unit::Hour => micros / (3600 * SECOND),
        Unit::Day => micros / DAY,
        Unit::Week => micros / (7 * DAY),
        Unit::Month => months(),
        Unit::Quarter => months() / 3,
        Unit::Year => months() / 12,
        _ => return Ok(Value::Null),
    }))
}

/// Text and numbers are read by the kernel, each as what it looks like.
fn type_time_diff(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType::time(args.iter().map(fsp_of).max().unwrap_or(0)))
}

/// Both sides must be times, or both dates.
fn time_diff(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let sides = (time_or_date(call, &args[0])?, time_or_date(call, &args[1])?);
    let difference = match sides {
        (Some(Value::Time(a)), Some(Value::Time(b))) => a - b,
        (Some(Value::DateTime(a)), Some(Value::DateTime(b))) => micros_counted(a) - micros_counted(b),
        _ => return Ok(Value::Null),
    };
    clamp_time(call, call.ctx.fit_time(difference, call.ty.decimals))
}

/// Microseconds since a day 0, also of days that no month has.
fn micros_counted(date: DateTime) -> i64 {
    let days = if date.is_zero_date() { 0 } else { calendar::to_days(date.year(), date.month(), date.day()) };
    days * DAY + date.time_of_day()
}

/// The time or the date that a value is; `None` with a warning when it is neither.
fn time_or_date(call: &Call<'_>, value: &Value) -> Result<Option<Value>, EvalError> {
    let found = match value {
        Value::Time(_) | Value::DateTime(_) => Some(value.clone()),
        Value::String(_) | Value::Bytes(_) => time_or_date_of_text(call, value)?,
        number => time_or_date_of_number(call, number)?,
    };
    if found.is_none() {
        call.ctx.soften(EvalError::IncorrectTemporal { kind: "datetime", value: crate::cast::display(value) })?;
    }
    Ok(found)
}

/// A text that is a time with colons and nothing else is one; then come dates, and then what begins as a time.
fn time_or_date_of_text(call: &Call<'_>, value: &Value) -> Result<Option<Value>, EvalError> {
    let text = value.as_bytes().unwrap_or_default();
    let time = parse::time(text);
    let hours = text.strip_prefix(b"-").unwrap_or(text).split(|b| *b == b':').next().unwrap_or_default();
    let has_colons = text.contains(&b':') && hours.iter().all(|b| b.is_ascii_digit() || *b == b' ');
    if let (Some(time), true) = (time, has_colons && text == text.trim_ascii())
        && !time.truncated
    {
        return Ok(Some(Value::Time(time.value)));
    }
    let date = match parse::datetime(text, parse::Days::UpTo31) {
        Some(parsed) if parsed.offset.is_some() => crate::cast::read_datetime(text, call.ctx),
        other => other,
    };
    if let Some(date) = date {
        return Ok(Some(Value::DateTime(date.value)));
    }
    if time.is_some_and(|time| time.truncated) {
        call.ctx.soften(EvalError::TruncatedWrongValue { kind: "time", value: crate::cast::display(value) })?;
    }
    Ok(time.map(|time| Value::Time(time.value)))
}

/// A number that is longer than a time is a date.
fn time_or_date_of_number(call: &Call<'_>, number: &Value) -> Result<Option<Value>, EvalError> {
    const TIME_DIGITS_MAX: i128 = 8_385_959;
    let number = crate::cast::to_decimal(number, call.ctx)?;
    let whole = number.truncate(0).to_i128().unwrap_or(i128::MAX);
    let micro = number.rescale(6).and_then(|d| d.unscaled().to_i128()).unwrap_or_default() % i128::from(SECOND);
    if whole.abs() <= TIME_DIGITS_MAX {
        return Ok(parse::time_of_number(whole).map(|time| Value::Time(time.value + micro as i64)));
    }
    let date = parse::datetime_of_number(whole, parse::Days::UpTo31);
    Ok(date.map(|date| Value::DateTime(DateTime(date.value.0 + if date.has_time { micro as u64 } else { 0 }))))
}

fn clamp_time(call: &Call<'_>, micros: i64) -> Result<Value, EvalError> {
    let fitted = micros.clamp(-TIME_MAX, TIME_MAX);
    if fitted != micros {
        let mut text = Vec::new();
        temporal::format_time(micros, 0, &mut text);
        let value = String::from_utf8_lossy(&text).into_owned();
        call.ctx.soften(EvalError::TruncatedWrongValue { kind: "time", value })?;
    }
    Ok(Value::Time(fitted))
}

/// Of text and numbers, which the kernel reads, it makes text.
fn type_add_time(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let fsp = args.iter().map(|a| a.ty().decimals.min(6)).max().unwrap_or(0);
    Ok(match args[0].ty().eval_type() {
        EvalType::Duration => FieldType::time(fsp),
        EvalType::DateTime => FieldType::datetime(fsp),
        _ => FieldType::varchar(29),
    })
}

fn add_time(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let Value::Time(time) = args[1] else { return Ok(Value::Null) };
    let time = if call.func == Func::SubTime { -time } else { time };
    let sum = match time_or_date(call, &args[0])? {
        Some(Value::Time(start)) => clamp_time(call, start + time)?,
        Some(start) if moment(&start).is_calendar_date() => {
            let sum = moment(&start).to_micros().and_then(|m| DateTime::from_micros(m + time));
            sum.map_or(Value::Null, Value::DateTime)
        }
        _ => Value::Null,
    };
    if !call.ty.is_string() {
        return Ok(sum);
    }
    let mut out = Vec::new();
    let fsp = |micros: i64| if micros % SECOND == 0 { 0 } else { 6 };
    match sum {
        Value::Time(sum) => temporal::format_time(sum, fsp(sum), &mut out),
        Value::DateTime(sum) => sum.format(fsp(sum.time_of_day()), &mut out),
        _ => return Ok(Value::Null),
    }
    Ok(call.text(out))
}

/// PERIOD_ADD and PERIOD_DIFF count months without a sign, modulo 2^64.
fn period(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let full_year = |year: u64| if year < 100 { u64::from(parse::two_digit_year(year as u32)) } else { year };
    let months = |value: &Value| {
        let period = value.as_i64().filter(|period| *period > 0 && (1..=12).contains(&(period % 100)));
        let period = period.ok_or_else(|| EvalError::WrongArguments(call.func.name().into()))? as u64;
        Ok::<u64, EvalError>(full_year(period / 100) * 12 + period % 100 - 1)
    };
    let from = months(&args[0])?;
    if call.func == Func::PeriodDiff {
        return Ok(Value::Int(from.wrapping_sub(months(&args[1])?) as i64));
    }
    let sum = from.wrapping_add(args[1].as_i128().unwrap_or(0) as u64);
    let period = full_year(sum / 12).wrapping_mul(100).wrapping_add(sum % 12 + 1);
    Ok(Value::Int(if sum == 0 { 0 } else { period as i64 }))
}

fn type_extract(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let unit = unit_of(args.first())?;
    if !args[1].ty().is_temporal() {
        let dated =
            !unit.has_time() || matches!(unit, Unit::DayHour | Unit::DayMinute | Unit::DaySecond | Unit::DayMicro);
        let want = if dated { Arg::LooseDate } else { Arg::Time };
        args[1] = coerce(std::mem::replace(&mut args[1], Expr::null()), want);
    }
    Ok(FieldType::bigint())
}

fn extract(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let unit = unit_value(args.first());
    let (date, time, days) = match &args[1] {
        Value::Time(v) => (DateTime::ZERO, *v, 0),
        other => {
            let v = moment(other);
            (v, v.time_of_day(), i64::from(v.day()))
        }
    };
    let (year, month) = (i64::from(date.year()), i64::from(date.month()));
    let seconds = time.abs() / SECOND;
    let (h, m, s, f) = (seconds / 3600, seconds / 60 % 60, seconds % 60, time.abs() % SECOND);
    let value = match unit {
        Unit::Year => year,
        Unit::Quarter => (month + 2) / 3,
        Unit::Month => month,
        Unit::Week if date.is_real_date() => i64::from(calendar::week(date.year(), date.month(), date.day(), 0).1),
        Unit::Week => return Ok(Value::Null),
        Unit::Day => days,
        Unit::Hour => h,
        Unit::Minute => m,
        Unit::Second => s,
        Unit::MicroSecond => f,
        Unit::YearMonth => year * 100 + month,
        Unit::DayHour => days * 100 + h,
        Unit::DayMinute => days * 10_000 + h * 100 + m,
        Unit::DaySecond => days * 1_000_000 + h * 10_000 + m * 100 + s,
        Unit::DayMicro => (days * 1_000_000 + h * 10_000 + m * 100 + s) * SECOND + f,
        Unit::HourMinute => h * 100 + m,
        Unit::HourSecond => h * 10_000 + m * 100 + s,
        Unit::HourMicro => (h * 10_000 + m * 100 + s) * SECOND + f,
        Unit::MinuteSecond => m * 100 + s,
        Unit::MinuteMicro => (m * 100 + s) * SECOND + f,
        Unit::SecondMicro => s * SECOND + f,
    };
    Ok(Value::Int(if time < 0 { -value } else { value }))
}

/// A decimal's seconds as microseconds, for FROM_UNIXTIME.
pub(super) fn decimal_micros(value: &Decimal) -> Option<i64> {
    value.rescale(6)?.unscaled().to_i128().and_then(|m| i64::try_from(m).ok())
}
