//! Dates and times, part one: the current time, parts of a date, building dates and times.

use super::Func;
use super::spec::{Arg, Call, Ret, Spec};
use crate::cast::{ZeroDates, cast_value, now_local, to_f64_quiet, to_i128};
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::temporal::{self, DAY, DateTime, SECOND, TIME_MAX, calendar, zone::unix_epoch};
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    use Func::*;
    const DATETIME: &[Arg] = &[Arg::DateTime];
    const TIME: &[Arg] = &[Arg::Time];
    const INT: &[Arg] = &[Arg::Int];
    Some(match func {
        Now | SysDate | UtcTimestamp => Spec::new(0, 1, INT, Ret::Custom(type_now), now).total(),
        CurrentDate | UtcDate => Spec::new(0, 0, INT, Ret::Date, now).total(),
        CurrentTime | UtcTime => Spec::new(0, 1, INT, Ret::Custom(type_now_time), now).total(),
        Year => Spec::new(1, 1, &[Arg::LooseDate], Ret::Custom(type_year), date_part),
        Quarter | Month | Day => Spec::new(1, 1, &[Arg::LooseDate], Ret::Int, date_part),
        DayOfWeek | DayOfYear | WeekDay | WeekOfYear | ToDays | ToSeconds => {
            Spec::new(1, 1, DATETIME, Ret::Int, date_part)
        }
        Week | YearWeek => Spec::new(1, 2, &[Arg::DateTime, Arg::Int], Ret::Int, date_part).sees_null(),
        Hour | Minute | Second | MicroSecond | TimeToSec => {
            Spec::new(1, 1, &[Arg::Any], Ret::Custom(type_time_part), time_part)
        }
        DayName | MonthName => Spec::new(1, 1, DATETIME, Ret::Text(9), name),
        Date => Spec::new(1, 1, DATETIME, Ret::Date, date),
        LastDay => Spec::new(1, 1, DATETIME, Ret::Date, last_day),
        Time => Spec::new(1, 1, TIME, Ret::Custom(type_time), |_, args| Ok(args[0].clone())),
        Timestamp => Spec::new(1, 2, &[Arg::DateTime, Arg::Time], Ret::Custom(type_timestamp), timestamp),
        MakeDate => Spec::new(2, 2, INT, Ret::Date, make_date),
        MakeTime => Spec::new(3, 3, &[Arg::Int, Arg::Int, Arg::Number], Ret::Custom(type_make_time), make_time),
        FromDays => Spec::new(1, 1, INT, Ret::Date, from_days),
        SecToTime => Spec::new(1, 1, &[Arg::Number], Ret::Custom(type_seconds), sec_to_time),
        UnixTimestamp => Spec::new(0, 1, &[Arg::Any], Ret::Custom(type_unix), unix_timestamp),
        ConvertTz => Spec::new(3, 3, &[Arg::DateTime, Arg::Text, Arg::Text], Ret::Custom(type_first), convert_tz),
        _ => return None,
    })
}

/// Digits of fraction that a constant argument asks for.
fn constant_fsp(args: &[Expr]) -> Result<u8, ExprError> {
    match args.first() {
        None => Ok(0),
        Some(Expr::Literal(value, _)) => match value.as_u64() {
            Some(fsp @ 0..=6) => Ok(fsp as u8),
            _ => Err(ExprError::BadArguments("fractional seconds".into())),
        },
        Some(_) => Err(ExprError::BadArguments("fractional seconds".into())),
    }
}

fn type_now(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    constant_fsp(args).map(FieldType::datetime)
}

fn type_now_time(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    constant_fsp(args).map(FieldType::time)
}

fn type_first(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let ty = args[0].ty();
    Ok(match ty.eval_type() {
        EvalType::Duration => FieldType::time(ty.decimals),
        _ => FieldType::datetime(ty.decimals),
    })
}

/// TIME(NULL) is a TIME, too.
fn type_time(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType::time(args[0].ty().decimals.min(6)))
}

fn type_timestamp(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType::datetime(args.iter().map(|a| a.ty().decimals).max().unwrap_or(0)))
}

/// Unsigned, as a column of YEAR is, but not 0 to 2155 alone.
fn type_year(_: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType { unsigned: true, ..FieldType::new(TypeKind::Long) })
}

/// HOUR('2020-01-01 10:00:00') takes a time from a date: dates keep their type, everything else becomes TIME.
fn type_time_part(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    if !args[0].ty().is_temporal() {
        args[0] = super::spec::coerce(std::mem::replace(&mut args[0], Expr::null()), Arg::Time);
    }
    Ok(FieldType::bigint())
}

fn type_make_time(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType::time(args[2].ty().scale().min(6)))
}

fn type_seconds(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType::time(args[0].ty().scale().min(6)))
}

/// Text and numbers are read by the kernel: what is no date is the moment 0, not NULL.
fn type_unix(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let fsp = match args.first_mut() {
        None => 0,
        Some(arg) if arg.ty().is_temporal() => {
            *arg = super::spec::coerce(std::mem::replace(arg, Expr::null()), Arg::DateTime);
            arg.ty().decimals.min(6)
        }
        Some(Expr::Literal(value, _)) if value.as_bytes().is_some_and(is_no_date) => 6,
        Some(arg) => fsp_of(arg),
    };
    Ok(match fsp {
        0 => FieldType::bigint(),
        fsp => FieldType::decimal(12 + u32::from(fsp), fsp),
    })
}

fn now(call: &Call<'_>, _: &[Value]) -> Result<Value, EvalError> {
    let utc = matches!(call.func, Func::UtcTimestamp | Func::UtcDate | Func::UtcTime);
    let local = if utc {
        DateTime::from_micros(call.ctx.now_unix_micros + unix_epoch()).unwrap_or_default()
    } else {
        match call.ctx.clock_unix_micros.filter(|_| call.func == Func::SysDate) {
            Some(clock) => call.ctx.time_zone.local_of_unix(clock).unwrap_or_default(),
            None => now_local(call.ctx),
        }
    };
    let cut = local.truncate(call.ty.decimals);
    Ok(match call.func {
        Func::CurrentDate | Func::UtcDate => Value::DateTime(local.date()),
        Func::CurrentTime | Func::UtcTime => Value::Time(cut.time_of_day()),
        _ => Value::DateTime(cut),
    })
}

fn is_no_date(text: &[u8]) -> bool {
    temporal::parse::datetime(text, temporal::parse::Days::UpTo31).is_none()
}

/// Digits of fraction in what text or a number is as a date or time.
pub(super) fn fsp_of(arg: &Expr) -> u8 {
    match arg.ty().eval_type() {
        EvalType::String => super::spec::literal_fsp(arg),
        EvalType::Real => 6,
        _ => arg.ty().decimals.min(6),
    }
}

/// The date of a value that [`Arg::DateTime`] gave.
pub(super) fn moment(value: &Value) -> DateTime {
    match value {
        Value::DateTime(v) => *v,
        _ => DateTime::ZERO,
    }
}

fn date_part(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if args[0].is_null() {
        return Ok(Value::Null);
    }
    let v = moment(&args[0]);
    let (year, month, day) = (v.year(), v.month(), v.day());
    let simple = match call.func {
        Func::Year => return Ok(Value::UInt(u64::from(year))),
        Func::Month => Some(month),
        Func::Quarter => Some(month.div_ceil(3)),
        Func::Day => Some(day),
        _ => None,
    };
    if let Some(part) = simple {
        return Ok(Value::Int(i64::from(part)));
    }
    // TO_DAYS counts on from the month's first day.
    if !(v.is_calendar_date() || v.is_real_date() && call.func == Func::ToDays) {
        return Ok(Value::Null);
    }
    if args.get(1).is_some_and(Value::is_null) {
        return Ok(Value::Int(0));
    }
    // A negative mode is none.
    let mode = args.get(1).map_or(0, |m| m.as_i64().unwrap_or(0).max(0)) as u32;
    Ok(Value::Int(match call.func {
        Func::DayOfWeek => i64::from((calendar::weekday(year, month, day) + 1) % 7 + 1),
        Func::WeekDay => i64::from(calendar::weekday(year, month, day)),
        Func::DayOfYear => i64::from(calendar::day_of_year(year, month, day)),
        Func::WeekOfYear => i64::from(calendar::week(year, month, day, 3).1),
        Func::Week => i64::from(calendar::week(year, month, day, mode).1),
        Func::YearWeek => {
            let (year, week) = calendar::week(year, month, day, mode | 2);
            i64::from(year * 100 + week)
        }
        Func::ToDays => calendar::to_days(year, month, day),
        _ => calendar::to_days(year, month, day) * 86_400 + v.time_of_day() / SECOND,
    }))
}

fn time_part(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let micros = match &args[0] {
        Value::Time(v) => *v,
        other => moment(other).time_of_day(),
    };
    let seconds = micros.abs() / SECOND;
    Ok(Value::Int(match call.func {
        Func::Hour => seconds / 3600,
        Func::Minute => seconds / 60 % 60,
        Func::Second => seconds % 60,
        Func::MicroSecond => micros.abs() % SECOND,
        _ => micros / SECOND,
    }))
}

fn name(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let v = moment(&args[0]);
    Ok(match call.func {
        Func::MonthName if v.month() > 0 => Value::from(calendar::MONTHS[v.month() as usize - 1]),
        Func::DayName if v.is_calendar_date() => {
            Value::from(calendar::WEEKDAYS[calendar::weekday(v.year(), v.month(), v.day()) as usize])
        }
        _ => Value::Null,
    })
}

fn date(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(allowed(moment(&args[0]), call).map_or(Value::Null, |date| Value::DateTime(date.date())))
}

/// A date that the mode lets be where one is asked for: a column may hold others.
fn allowed(date: DateTime, call: &Call<'_>) -> Option<DateTime> {
    ZeroDates::of_mode(call.ctx).allow(date).then_some(date)
}

fn last_day(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let v = moment(&args[0]);
    if v.month() == 0 {
        return Ok(Value::Null);
    }
    let day = calendar::days_in_month(v.year(), v.month());
    Ok(Value::DateTime(DateTime::from_date(v.year(), v.month(), day)))
}

fn timestamp(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let Some(Value::Time(time)) = args.get(1) else {
        return Ok(allowed(moment(&args[0]), call).map_or(Value::Null, Value::DateTime));
    };
    if !moment(&args[0]).is_calendar_date() {
        return Ok(Value::Null);
    }
    let sum = moment(&args[0]).to_micros().and_then(|m| DateTime::from_micros(m + time));
    match sum {
        Some(sum) => Ok(Value::DateTime(sum)),
        None => {
            call.ctx.soften(EvalError::DatetimeOverflow("datetime"))?;
            Ok(Value::Null)
        }
    }
}

fn make_date(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (year, day) = (args[0].as_i64().unwrap_or(-1), args[1].as_i64().unwrap_or(0));
    if !(0..=9999).contains(&year) || day <= 0 {
        return Ok(Value::Null);
    }
    let year = if year < 100 { temporal::parse::two_digit_year(year as u32) } else { year as u32 };
    let days = calendar::days_from_civil(year, 1, 1).saturating_add(day - 1);
    Ok(match calendar::civil_from_days(days) {
        Some((y, m, d)) => Value::DateTime(DateTime::from_date(y, m, d)),
        None => Value::Null,
    })
}

/// Seconds as microseconds, rounded or cut as the mode says.
fn micros_of(seconds: f64, call: &Call<'_>) -> i128 {
    let micros = seconds * SECOND as f64;
    (if call.ctx.mode.time_truncate_fractional { micros.trunc() } else { micros.round() }) as i128
}

fn make_time(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (hour, minute) = (args[0].as_i64().unwrap_or(0), args[1].as_i64().unwrap_or(-1));
    let second = to_f64_quiet(&args[2]);
    if !(0..60).contains(&minute) || !(0.0..60.0).contains(&second) {
        return Ok(Value::Null);
    }
    let rest = minute * 60 * SECOND + micros_of(second, call) as i64;
    let micros = hour.clamp(-839, 839).abs() * 3600 * SECOND + rest;
    let micros = call.ctx.fit_time(micros, call.ty.decimals).min(TIME_MAX);
    Ok(Value::Time(if hour < 0 { -micros } else { micros }))
}

fn from_days(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let days = args[0].as_i64().unwrap_or(0);
    if let Some((year, month, day)) = calendar::from_days(days) {
        return Ok(Value::DateTime(DateTime::from_date(year, month, day)));
    }
    call.ctx.warnings.push(DATE_OUT_OF_RANGE, format!("DATE value is out of range in 'from_days({days})'"));
    Ok(Value::Null)
}

/// ER_DATE_OUT_OF_RANGE of MySQL 9; older ones give the day 0 of no year.
const DATE_OUT_OF_RANGE: u16 = 6527;

fn sec_to_time(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let micros = match args[0].as_i128() {
        Some(seconds) => seconds.saturating_mul(i128::from(SECOND)),
        None => micros_of(to_f64_quiet(&args[0]), call),
    };
    let fitted = micros.clamp(-i128::from(TIME_MAX), i128::from(TIME_MAX)) as i64;
    if i128::from(fitted) != micros {
        let value = crate::cast::display(&args[0]);
        call.ctx.soften(EvalError::TruncatedWrongValue { kind: "time", value })?;
    }
    Ok(Value::Time(call.ctx.fit_time(fitted, call.ty.decimals)))
}

fn unix_timestamp(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let micros = match args.first() {
        None => call.ctx.now_unix_micros / SECOND * SECOND,
        // A TIMESTAMP is a moment as it stands.
        Some(value) if call.types[0].kind == TypeKind::Timestamp => {
            moment(value).to_micros().map_or(0, |micros| micros - unix_epoch())
        }
        Some(value) => {
            let local = match cast_value(value, call.types[0], &FieldType::datetime(6), call.ctx)? {
                Value::DateTime(local) => local,
                _ => DateTime::ZERO,
            };
            let utc = crate::cast::moment_of_local(local, call.ctx).and_then(DateTime::to_micros);
            utc.map_or(0, |micros| micros - unix_epoch())
        }
    };
    let micros = if (0..=UNIX_MICROS_MAX).contains(&micros) { micros } else { 0 };
    Ok(match call.ty.eval_type() {
        EvalType::Decimal => {
            let unit = temporal::fraction_unit(call.ty.decimals);
            Value::Decimal(crate::decimal::Decimal::new(i128::from(micros / unit), call.ty.decimals))
        }
        _ => Value::Int(micros / SECOND),
    })
}

/// 32536771199.999999, the last moment that UNIX_TIMESTAMP and FROM_UNIXTIME take.
pub(super) const UNIX_MICROS_MAX: i64 = 32_536_771_199_999_999;

fn convert_tz(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let zone = |v: &Value| {
        let name = String::from_utf8_lossy(v.as_bytes().unwrap_or_default()).into_owned();
        temporal::zone::TimeZone::parse(&name)
    };
    let (Some(from), Some(to)) = (zone(&args[1]), zone(&args[2])) else { return Ok(Value::Null) };
    if !moment(&args[0]).is_zero_date() && !moment(&args[0]).is_calendar_date() {
        return Ok(Value::Null);
    }
    let Some(micros) = from.unix_of_local(moment(&args[0])) else { return Ok(Value::Null) };
    // Beyond what a moment may be, the time stays as it is.
    if !(1..=UNIX_MICROS_MAX).contains(&micros) {
        return Ok(args[0].clone());
    }
    let moved = to.local_of_unix(micros);
    Ok(moved.map_or(Value::Null, Value::DateTime))
}

/// Whole days of a date since 0000-01-01, for differences.
pub(super) fn day_number(value: DateTime) -> Option<i64> {
    value.date().to_micros().map(|m| m / DAY)
}

/// A bare `INTERVAL`-like integer argument, rounded.
pub(super) fn integer(call: &Call<'_>, value: &Value) -> Result<i64, EvalError> {
    let wide = to_i128(value, call.ctx)?;
    Ok(wide.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}
