//! Dates and times, part three: DATE_FORMAT, STR_TO_DATE and their relatives.

use super::Func;
use super::datetime::{UNIX_MICROS_MAX, moment};
use super::datetime_arith::decimal_micros;
use super::spec::{Arg, Call, Ret, Spec};
use crate::cast::{ZeroDates, to_decimal};
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::temporal::{DateTime, Fields, SECOND, calendar, parse};
use crate::types::{FieldType, TypeKind};
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    use Func::*;
    Some(match func {
        DateFormat => Spec::new(2, 2, &[Arg::LooseDate, Arg::Text], Ret::Text(1024), date_format),
        TimeFormat => Spec::new(2, 2, &[Arg::Time, Arg::Text], Ret::Text(1024), time_format),
        StrToDate => Spec::new(2, 2, &[Arg::Text], Ret::Custom(type_str_to_date), str_to_date),
        FromUnixTime => Spec::new(1, 2, &[Arg::Number, Arg::Text], Ret::Custom(type_from_unix), from_unixtime),
        GetFormat => Spec::new(2, 2, &[Arg::Text], Ret::Text(17), get_format),
        _ => return None,
    })
}

fn push(out: &mut Vec<u8>, value: u32, width: usize) {
    out.extend_from_slice(format!("{value:0width$}").as_bytes());
}

fn short(name: &str) -> &[u8] {
    &name.as_bytes()[..3]
}

/// The day of the year, counted on from days and months that no year has: the day 0 is one before the first of a month.
fn day_of_year(date: &Fields) -> i64 {
    let days = if (date.year, date.month) == (0, 0) { 0 } else { calendar::to_days(date.year, date.month, date.day) };
    days - calendar::to_days(date.year, 1, 1) + 1
}

/// Formats a date, or a time that is one of no day, by DATE_FORMAT's letters; `None` where a letter asks for what it has not.
fn format_date(date: DateTime, hours: u32, is_time: bool, format: &[u8]) -> Option<Vec<u8>> {
    let f = date.fields();
    // The day 0 of a month is the one before its first, and month 0 ends a year.
    let week = |mode: u32| (f.month != 0).then(|| calendar::week(f.year, f.month, f.day, mode));
    let weekday = || (f.year != 0 || f.month != 0).then(|| calendar::weekday(f.year, f.month, f.day));
    let twelve = if hours.is_multiple_of(12) { 12 } else { hours % 12 };
    let half: &[u8] = if hours % 24 < 12 { b"AM" } else { b"PM" };
    let mut out = Vec::with_capacity(format.len() * 2);
    let mut letters = format.iter();
    while let Some(&byte) = letters.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let Some(&letter) = letters.next() else {
            out.push(b'%');
            break;
        };
        match letter {
            b'Y' => push(&mut out, f.year, 4),
            b'y' => push(&mut out, f.year % 100, 2),
            b'm' => push(&mut out, f.month, 2),
            b'c' => push(&mut out, f.month, 1),
            b'd' => push(&mut out, f.day, 2),
            b'e' => push(&mut out, f.day, 1),
            b'D' => {
                push(&mut out, f.day, 1);
                let suffix = match (f.day % 10, f.day / 10) {
                    (1, tens) if tens != 1 => "st",
                    (2, tens) if tens != 1 => "nd",
                    (3, tens) if tens != 1 => "rd",
                    _ => "th",
                };
                out.extend_from_slice(suffix.as_bytes());
            }
            b'M' => out.extend_from_slice(calendar::MONTHS.get(f.month.checked_sub(1)? as usize)?.as_bytes()),
            b'b' => out.extend_from_slice(short(calendar::MONTHS.get(f.month.checked_sub(1)? as usize)?)),
            b'W' => out.extend_from_slice(calendar::WEEKDAYS[weekday()? as usize].as_bytes()),
            b'a' => out.extend_from_slice(short(calendar::WEEKDAYS[weekday()? as usize])),
            b'w' => push(&mut out, (weekday()? + 1) % 7, 1),
            b'j' if is_time => return None,
            b'j' => out.extend_from_slice(format!("{:03}", day_of_year(&f)).as_bytes()),
            b'H' => push(&mut out, hours, 2),
            b'k' => push(&mut out, hours, 1),
            b'h' | b'I' => push(&mut out, twelve, 2),
            b'l' => push(&mut out, twelve, 1),
            b'i' => push(&mut out, f.minute, 2),
            b's' | b'S' => push(&mut out, f.second, 2),
            b'f' => push(&mut out, f.micro, 6),
            b'p' => out.extend_from_slice(half),
            b'T' => out.extend_from_slice(format!("{hours:02}:{:02}:{:02}", f.minute, f.second).as_bytes()),
            b'r' => {
                out.extend_from_slice(format!("{twelve:02}:{:02}:{:02} ", f.minute, f.second).as_bytes());
                out.extend_from_slice(half);
            }
            b'U' => push(&mut out, week(0)?.1, 2),
            b'u' => push(&mut out, week(1)?.1, 2),
            b'V' => push(&mut out, week(2)?.1, 2),
            b'v' => push(&mut out, week(3)?.1, 2),
            b'X' => push(&mut out, week(2)?.0, 4),
            b'x' => push(&mut out, week(3)?.0, 4),
            other => out.push(other),
        }
    }
    Some(out)
}

/// A date by the letters of `format`; `None` for an empty one, too.
fn formatted(call: &Call<'_>, date: DateTime, hours: u32, format: &Value) -> Result<Option<Vec<u8>>, EvalError> {
    // No letter makes more than six times its length.
    const GROWTH_MAX: usize = 6;
    let Some(format) = format.as_bytes().filter(|format| !format.is_empty()) else { return Ok(None) };
    call.check_length(format.len().saturating_mul(GROWTH_MAX))?;
    Ok(format_date(date, hours, call.func == Func::TimeFormat, format))
}

fn date_format(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let date = moment(&args[0]);
    let text = formatted(call, date, date.fields().hour, &args[1])?;
    Ok(text.map_or(Value::Null, |t| call.text(t)))
}

fn time_format(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let Value::Time(micros) = args[0] else { return Ok(Value::Null) };
    let seconds = micros.abs() / SECOND;
    let fields = Fields {
        minute: (seconds / 60 % 60) as u32,
        second: (seconds % 60) as u32,
        micro: (micros.abs() % SECOND) as u32,
        ..Fields::default()
    };
    let text = formatted(call, fields.pack(), (seconds / 3600) as u32, &args[1])?;
    Ok(match text {
        Some(mut text) => {
            if micros < 0 {
                text.insert(0, b'-');
            }
            call.text(text)
        }
        None => Value::Null,
    })
}

/// A constant format says whether there will be a date, a time or both.
fn type_str_to_date(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let Expr::Literal(format, _) = &args[1] else { return Ok(FieldType::datetime(6)) };
    let format = format.as_bytes().unwrap_or_default();
    let has = |letters: &[u8]| format.windows(2).any(|w| w[0] == b'%' && letters.contains(&w[1]));
    let fsp = if has(b"f") { 6 } else { 0 };
    let (date, time) = (has(b"YymcdDeMbjWawUuVvXx"), has(b"HkhIlisSTrpf"));
    Ok(match (date, time) {
        (false, true) => FieldType::time(fsp),
        (_, false) => FieldType::date(),
        _ => FieldType::datetime(fsp),
    })
}

struct Scanner<'a> {
    text: &'a [u8],
}

impl Scanner<'_> {
    fn number(&mut self, digits_max: usize) -> Option<u32> {
        let digits = self.text.iter().take(digits_max).take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let (number, rest) = self.text.split_at(digits);
        self.text = rest;
        std::str::from_utf8(number).ok()?.parse().ok()
    }
    /// Position of the name that stands here, whole or its first three letters.
    fn name(&mut self, names: &[&str], abbreviated: bool) -> Option<u32> {
        for (at, name) in names.iter().enumerate() {
            let name = if abbreviated { short(name) } else { name.as_bytes() };
            if self.text.len() >= name.len() && self.text[..name.len()].eq_ignore_ascii_case(name) {
                self.text = &self.text[name.len()..];
                return Some(at as u32);
            }
        }
        None
    }
    fn skip(&mut self, is_skipped: fn(&u8) -> bool) {
        let skipped = self.text.iter().take_while(|byte| is_skipped(byte)).count();
        self.text = &self.text[skipped..];
    }
    fn spaces(&mut self) {
        self.text = self.text.trim_ascii_start();
    }
}

#[derive(Default)]
struct Scanned {
    fields: Fields,
    day_of_year: Option<u32>,
    /// Monday is 1.
    weekday: Option<u32>,
    week: Option<Week>,
    year_of_week: Option<YearOfWeek>,
    afternoon: Option<bool>,
    twelve_hours: bool,
}

/// A week's number: %U, %u, %V or %v.
#[derive(Clone, Copy)]
struct Week {
    number: u32,
    /// %U and %V.
    sunday_first: bool,
    /// %V and %v: its year is %X or %x.
    has_own_year: bool,
}

/// %X or %x.
#[derive(Clone, Copy)]
struct YearOfWeek {
    year: u32,
    sunday_first: bool,
}

impl Scanned {
    /// The day that a week and a weekday say, whatever else was said; `None` where the letters do not belong together.
    fn day_of_week(&self, week: Week, weekday: u32) -> Option<(u32, u32, u32)> {
        let year = match (week.has_own_year, self.year_of_week) {
            (true, Some(own)) if own.sunday_first == week.sunday_first => own.year,
            (false, None) => self.fields.year,
            _ => return None,
        };
        let start = calendar::to_days(year, 1, 1);
        let first = i64::from(calendar::weekday(year, 1, 1));
        // Days from January 1 to the first day of week 1, and from there to the weekday.
        let (to_week, to_day) = match week.sunday_first {
            true => ((6 - first) % 7, weekday % 7),
            false => (if first <= 3 { -first } else { 7 - first }, weekday - 1),
        };
        date_of(start + to_week + (i64::from(week.number) - 1) * 7 + i64::from(to_day))
    }
}

/// The date of a day's number; no text has one of year 0.
fn date_of(days: i64) -> Option<(u32, u32, u32)> {
    calendar::from_days(days).filter(|(year, _, _)| *year > 0)
}

/// Reads a text by DATE_FORMAT's letters; also says whether all of the text was read.
fn scan_date(text: &[u8], format: &[u8]) -> Option<(Fields, bool)> {
    let mut scanner = Scanner { text };
    let mut found = Scanned::default();
    let mut letters = format.iter();
    while let Some(&byte) = letters.next() {
        scanner.spaces();
        // A text that ends early leaves the rest at zero.
        if scanner.text.is_empty() {
            break;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        if byte != b'%' {
            scanner.text = scanner.text.strip_prefix(&[byte])?;
            continue;
        }
        let Some(&letter) = letters.next() else {
            scanner.text = scanner.text.strip_prefix(b"%")?;
            break;
        };
        scan_letter(letter, &mut scanner, &mut found)?;
    }
    let mut fields = found.fields;
    if found.twelve_hours {
        if fields.hour == 0 || fields.hour > 12 {
            return None;
        }
        fields.hour = fields.hour % 12 + if found.afternoon == Some(true) { 12 } else { 0 };
    }
    if let Some(day) = found.day_of_year.filter(|day| *day > 0) {
        let (year, month, day) = date_of(calendar::to_days(fields.year, 1, 1) + i64::from(day) - 1)?;
        fields = Fields { year, month, day, ..fields };
    }
    if let (Some(week), Some(weekday)) = (found.week, found.weekday) {
        let (year, month, day) = found.day_of_week(week, weekday)?;
        fields = Fields { year, month, day, ..fields };
    }
    fields.is_valid(true).then_some((fields, scanner.text.trim_ascii().is_empty()))
}

fn scan_letter(letter: u8, scanner: &mut Scanner<'_>, found: &mut Scanned) -> Option<()> {
    let fields = &mut found.fields;
    match letter {
        b'Y' => {
            let before = scanner.text.len();
            let year = scanner.number(4)?;
            fields.year = if before - scanner.text.len() <= 2 { parse::two_digit_year(year) } else { year };
        }
        b'y' => fields.year = parse::two_digit_year(scanner.number(2)?),
        b'm' | b'c' => fields.month = scanner.number(2)?,
        b'd' | b'e' => fields.day = scanner.number(2)?,
        b'D' => {
            fields.day = scanner.number(2)?;
            scanner.text = scanner.text.get(2..)?;
        }
        b'M' => fields.month = scanner.name(&calendar::MONTHS, false)? + 1,
        b'b' => fields.month = scanner.name(&calendar::MONTHS, true)? + 1,
        b'W' | b'a' => found.weekday = Some(scanner.name(&calendar::WEEKDAYS, letter == b'a')? + 1),
        b'w' => {
            let day = scanner.number(1).filter(|day| *day < 7)?;
            found.weekday = Some(if day == 0 { 7 } else { day });
        }
        b'U' | b'u' | b'V' | b'v' => {
            let has_own_year = letter.eq_ignore_ascii_case(&b'v');
            let number = scanner.number(2).filter(|week| *week <= 53 && (*week > 0 || !has_own_year))?;
            found.week = Some(Week { number, sunday_first: letter.is_ascii_uppercase(), has_own_year });
        }
        b'X' | b'x' => {
            found.year_of_week = Some(YearOfWeek { year: scanner.number(4)?, sunday_first: letter == b'X' });
        }
        b'j' => found.day_of_year = Some(scanner.number(3)?),
        b'H' | b'k' => fields.hour = scanner.number(2)?,
        b'h' | b'I' | b'l' => {
            fields.hour = scanner.number(2)?;
            found.twelve_hours = true;
        }
        b'i' => fields.minute = scanner.number(2)?,
        b's' | b'S' => fields.second = scanner.number(2)?,
        b'f' => {
            let before = scanner.text.len();
            let fraction = scanner.number(6)?;
            fields.micro = fraction * 10u32.pow(6 - (before - scanner.text.len()) as u32);
        }
        b'p' => found.afternoon = Some(scanner.name(&["AM", "PM"].map(|n| n), false)? == 1),
        b'T' | b'r' => {
            fields.hour = scanner.number(2)?;
            scanner.text = scanner.text.strip_prefix(b":")?;
            fields.minute = scanner.number(2)?;
            scanner.text = scanner.text.strip_prefix(b":")?;
            fields.second = scanner.number(2)?;
            if letter == b'r' {
                scanner.spaces();
                found.twelve_hours = true;
                found.afternoon = Some(scanner.name(&["AM", "PM"], false)? == 1);
            }
        }
        b'%' => scanner.text = scanner.text.strip_prefix(b"%")?,
        b'.' => scanner.skip(u8::is_ascii_punctuation),
        b'@' => scanner.skip(u8::is_ascii_alphabetic),
        b'#' => scanner.skip(u8::is_ascii_digit),
        _ => return None,
    }
    Some(())
}

fn str_to_date(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (text, format) = (args[0].as_bytes().unwrap_or_default(), args[1].as_bytes().unwrap_or_default());
    let incorrect = || EvalError::WrongValueForFunction {
        kind: "datetime",
        value: crate::cast::display(&args[0]),
        function: "str_to_date",
    };
    let Some((fields, complete)) = scan_date(text, format) else {
        call.ctx.soften(incorrect())?;
        return Ok(Value::Null);
    };
    let value = fields.pack();
    let is_time = call.ty.kind == TypeKind::Time;
    if !is_time && !ZeroDates::of_mode(call.ctx).allow(value) {
        call.ctx.soften(incorrect())?;
        return Ok(Value::Null);
    }
    if !complete {
        let kind = match call.ty.kind {
            TypeKind::Date => "date",
            TypeKind::Time => "time",
            _ => "datetime",
        };
        call.ctx.soften(EvalError::TruncatedWrongValue { kind, value: crate::cast::display(&args[0]) })?;
    }
    if is_time {
        return Ok(Value::Time(value.time_of_day()));
    }
    Ok(Value::DateTime(if call.ty.kind == TypeKind::Date { value.date() } else { value }))
}

fn type_from_unix(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    if args.len() == 2 {
        return Ok(FieldType::varchar(1024));
    }
    Ok(FieldType::datetime(args[0].ty().scale().min(6)))
}

fn from_unixtime(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let seconds = to_decimal(&args[0], call.ctx)?;
    let is_cut = call.ctx.mode.time_truncate_fractional;
    let micros = decimal_micros(&if is_cut { seconds.truncate(6) } else { seconds });
    let Some(micros) = micros.filter(|m| (0..=UNIX_MICROS_MAX).contains(m)) else { return Ok(Value::Null) };
    let Some(local) = call.ctx.time_zone.local_of_unix(micros) else { return Ok(Value::Null) };
    match args.get(1) {
        None => Ok(Value::DateTime(call.ctx.fit_datetime(local, call.ty.decimals))),
        Some(format) => {
            let text = formatted(call, local, local.fields().hour, format)?;
            Ok(text.map_or(Value::Null, |t| call.text(t)))
        }
    }
}

fn get_format(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let word = |v: &Value| String::from_utf8_lossy(v.as_bytes().unwrap_or_default()).to_ascii_uppercase();
    let format = match (word(&args[0]).as_str(), word(&args[1]).as_str()) {
        ("DATE", "USA") => "%m.%d.%Y",
        ("DATE", "JIS" | "ISO") => "%Y-%m-%d",
        ("DATE", "EUR") => "%d.%m.%Y",
        ("DATE", "INTERNAL") => "%Y%m%d",
        ("DATETIME" | "TIMESTAMP", "USA") => "%Y-%m-%d %H.%i.%s",
        ("DATETIME" | "TIMESTAMP", "JIS" | "ISO") => "%Y-%m-%d %H:%i:%s",
        ("DATETIME" | "TIMESTAMP", "EUR") => "%Y-%m-%d %H.%i.%s",
        ("DATETIME" | "TIMESTAMP", "INTERNAL") => "%Y%m%d%H%i%s",
        ("TIME", "USA") => "%h:%i:%s %p",
        ("TIME", "JIS" | "ISO") => "%H:%i:%s",
        ("TIME", "EUR") => "%H.%i.%s",
        ("TIME", "INTERNAL") => "%H%i%s",
        _ => return Ok(Value::Null),
    };
    Ok(Value::from(format))
}
