//! Text and numbers to dates and times, as lenient as MySQL: any punctuation separates, two-digit years are of 1970 to
//! 2069, `20200101` and `'2020-1-1'` are the same day.

use super::{DAY, DateTime, Fields, SECOND, TIME_MAX, zone};

/// What a text was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed<T> {
    /// The value, with all six digits of its fraction.
    pub value: T,
    /// Digits of fraction that were written (6 at most).
    pub fsp: u8,
    /// Something that is not part of it follows: a truncation.
    pub truncated: bool,
    /// A time of day was written.
    pub has_time: bool,
    /// Seconds east of UTC that the text names (`+05:30`); `None` = the session's zone.
    pub offset: Option<i32>,
}

/// Which days a month has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Days {
    /// Those of the calendar.
    OfMonth,
    /// 31 each: `sql_mode` ALLOW_INVALID_DATES.
    UpTo31,
}

impl Days {
    /// Zero parts pass.
    fn allow(self, fields: &Fields) -> bool {
        match self {
            Days::OfMonth => fields.is_valid(true),
            Days::UpTo31 => fields.day <= 31 && Fields { day: fields.day.min(1), ..*fields }.is_valid(true),
        }
    }
}

/// Reads a date with or without a time of day. Zero parts are allowed here; `None` when it is neither a date of the
/// calendar nor one with zero parts.
pub fn datetime(text: &[u8], days: Days) -> Option<Parsed<DateTime>> {
    let text = text.trim_ascii();
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let rest = &text[digits..];
    // Digits alone, perhaps with a fraction: YYMMDD, YYYYMMDD, YYMMDDhhmmss, YYYYMMDDhhmmss.
    let compact =
        rest.is_empty() || rest[0] == b'.' && digits >= 12 || (rest[0] == b'T' || rest[0] == b' ') && digits >= 6;
    if compact && digits >= 5 {
        return compact_datetime(text, digits, days);
    }
    separated_datetime(text, days)
}

fn compact_datetime(text: &[u8], digits: usize, days: Days) -> Option<Parsed<DateTime>> {
    let year_digits = if matches!(digits, 8 | 14) || digits > 14 { 4 } else { 2 };
    let mut parts = [0u32; 6];
    let mut at = 0;
    for (index, part) in parts.iter_mut().enumerate() {
        let width = if index == 0 { year_digits } else { 2 };
        let end = (at + width).min(digits);
        *part = number(&text[at..end])?;
        at = end;
    }
    if year_digits == 2 {
        parts[0] = two_digit_year(parts[0]);
    }
    let mut has_time = digits > 8 || digits == 7;
    let mut rest = &text[digits..];
    if at < digits {
        rest = &text[at..];
    } else if matches!(rest.first(), Some(b'T' | b' ')) {
        // `20200101T101112`
        let time = &rest[1..];
        let time_digits = time.iter().take_while(|b| b.is_ascii_digit()).count();
        if time_digits == 6 {
            for (index, part) in parts[3..].iter_mut().enumerate() {
                *part = number(&time[index * 2..index * 2 + 2])?;
            }
            has_time = true;
            rest = &time[time_digits..];
        }
    }
    finish(Written { parts, has_time, takes_offset: false }, rest, days)
}

fn separated_datetime(text: &[u8], days: Days) -> Option<Parsed<DateTime>> {
    let mut parts = [0u32; 6];
    let mut at = 0;
    let mut found = 0;
    let mut year_digits = 0;
    while found < 6 {
        let digits = text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            break;
        }
        if digits > 4 || found > 0 && digits > 2 {
            // The time of day may be followed by rubbish, a date may not.
            if found < 3 {
                return None;
            }
            break;
        }
        parts[found] = number(&text[at..at + digits])?;
        if found == 0 {
            year_digits = digits;
        }
        at += digits;
        found += 1;
        let separators = text[at..].iter().take_while(|b| is_separator(**b, found)).count();
        let next_is_digit = text.get(at + separators).is_some_and(u8::is_ascii_digit);
        if found == 6 || separators == 0 || !next_is_digit {
            break;
        }
        at += separators;
    }
    if found < 3 {
        return None;
    }
    if year_digits <= 2 {
        parts[0] = two_digit_year(parts[0]);
    }
    finish(Written { parts, has_time: found > 3, takes_offset: found == 6 }, &text[at..], days)
}

fn is_separator(byte: u8, found: usize) -> bool {
    match found {
        3 => matches!(byte, b'T' | b' ') || byte.is_ascii_punctuation(),
        _ => byte.is_ascii_punctuation(),
    }
}

/// The numbers of a date and time, and what may come behind them.
struct Written {
    parts: [u32; 6],
    has_time: bool,
    /// An offset may follow the seconds: a sign there that begins none makes the whole text no date.
    takes_offset: bool,
}

fn finish(written: Written, rest: &[u8], days: Days) -> Option<Parsed<DateTime>> {
    let Written { parts: [year, month, day, hour, minute, second], has_time, takes_offset } = written;
    let (micro, fsp, carry, rest) = if has_time { fraction(rest) } else { (0, 0, false, rest) };
    let fields = Fields { year, month, day, hour, minute, second, micro };
    if !days.allow(&fields) {
        return None;
    }
    let (offset, rest) = match rest.first() {
        Some(b'+' | b'-') if takes_offset && fields.is_valid(false) => (Some(zone::literal_offset(rest)?), &rest[..0]),
        Some(b'+' | b'-') if takes_offset => return None,
        _ => (None, rest),
    };
    let mut value = fields.pack();
    if carry {
        value = DateTime::from_micros(value.to_micros()? + 1)?;
    }
    Some(Parsed { value, fsp, truncated: !rest.trim_ascii().is_empty(), has_time, offset })
}

/// True for a text that names its offset from UTC.
pub fn has_offset(text: &[u8]) -> bool {
    datetime(text, Days::UpTo31).is_some_and(|parsed| parsed.offset.is_some())
}

/// Reads `.123456…`: microseconds, digits written (6 at most), whether a seventh digit rounds up, and what follows.
fn fraction(text: &[u8]) -> (u32, u8, bool, &[u8]) {
    if text.first() != Some(&b'.') {
        return (0, 0, false, text);
    }
    let digits = text[1..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut micro = 0;
    for index in 0..6 {
        micro = micro * 10 + if index < digits { u32::from(text[1 + index] - b'0') } else { 0 };
    }
    let carry = digits > 6 && text[7] >= b'5';
    (micro, digits.min(6) as u8, carry, &text[1 + digits..])
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, &byte| value.checked_mul(10)?.checked_add(u32::from(byte.checked_sub(b'0')?)))
}

/// A year written with two digits: 70 to 99 are of the last century.
pub fn two_digit_year(year: u32) -> u32 {
    match year {
        0..=69 => year + 2000,
        70..=99 => year + 1900,
        _ => year,
    }
}

/// A number as a date: `YYMMDD`, `YYYYMMDD`, `YYMMDDhhmmss` or `YYYYMMDDhhmmss`; 0 is the zero date.
pub fn datetime_of_number(number: i128, days: Days) -> Option<Parsed<DateTime>> {
    let whole = |value, has_time| Parsed { value, fsp: 0, truncated: false, has_time, offset: None };
    if number == 0 {
        return Some(whole(DateTime::ZERO, false));
    }
    let number = u64::try_from(number).ok()?;
    let (date, time, has_time) = match number {
        101..=99_991_231 => (number, 0, false),
        101_000_000..=99_991_231_235_959 => (number / 1_000_000, number % 1_000_000, true),
        _ => return None,
    };
    let mut year = (date / 10_000) as u32;
    if date < 1_000_000 {
        year = two_digit_year(year);
    }
    let fields = Fields {
        year,
        month: (date / 100 % 100) as u32,
        day: (date % 100) as u32,
        hour: (time / 10_000) as u32,
        minute: (time / 100 % 100) as u32,
        second: (time % 100) as u32,
        micro: 0,
    };
    days.allow(&fields).then(|| whole(fields.pack(), has_time))
}

/// Reads a TIME: `[D ]hh:mm:ss.f`, `hh:mm`, `hhmmss`, or a date with a time of day, of which the latter counts. A time
/// beyond the limits comes as the limit and counts as truncated. `None` when it is none.
pub fn time(text: &[u8]) -> Option<Parsed<i64>> {
    let text = text.trim_ascii();
    if text.len() >= 12
        && let Some(parsed) = datetime(text, Days::OfMonth)
        && parsed.has_time
        && text[..text.len().min(11)].iter().any(|b| !b.is_ascii_digit() && *b != b':' && *b != b'.')
    {
        return Some(Parsed {
            value: parsed.value.time_of_day(),
            fsp: parsed.fsp,
            truncated: parsed.truncated,
            has_time: true,
            offset: parsed.offset,
        });
    }
    let negative = text.first() == Some(&b'-');
    let text = &text[usize::from(negative)..];
    let digits_at = |at: usize| text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let first = digits_at(0);
    if first == 0 {
        return None;
    }
    let mut at = first;
    let mut days = 0i64;
    let mut parts = [0i64; 3];
    let value = |from: usize, len: usize| number(&text[from..from + len]).map(i64::from);
    if text.get(at) == Some(&b' ') && text.get(at + 1).is_some_and(u8::is_ascii_digit) {
        days = value(0, first)?;
        let len = digits_at(at + 1);
        parts[0] = value(at + 1, len)?;
        at += 1 + len;
    } else if text.get(at) == Some(&b':') {
        parts[0] = value(0, first)?;
    } else {
        let whole = value(0, first)?;
        parts = [whole / 10_000, whole / 100 % 100, whole % 100];
    }
    let separated = days > 0 || text.get(at) == Some(&b':');
    if separated {
        for part in parts.iter_mut().skip(1) {
            if text.get(at) != Some(&b':') || !text.get(at + 1).is_some_and(u8::is_ascii_digit) {
                break;
            }
            let len = digits_at(at + 1);
            *part = value(at + 1, len)?;
            at += 1 + len;
        }
    }
    if parts[1] > 59 || parts[2] > 59 || has_exponent(&text[at..]) {
        return None;
    }
    let (micro, fsp, carry, rest) = fraction(&text[at..]);
    let seconds = (days * 24 + parts[0]) * 3600 + parts[1] * 60 + parts[2];
    let micros = seconds.saturating_mul(SECOND).saturating_add(i64::from(micro) + i64::from(carry));
    let over = micros > TIME_MAX;
    let micros = micros.min(TIME_MAX);
    Some(Parsed {
        value: if negative { -micros } else { micros },
        fsp,
        truncated: over || !rest.trim_ascii().is_empty(),
        has_time: true,
        offset: None,
    })
}

/// True for a text that goes on as a number's exponent: `1e2` is no time.
fn has_exponent(rest: &[u8]) -> bool {
    match rest {
        [b'e' | b'E', b'+' | b'-', digit, ..] | [b'e' | b'E', digit, ..] => digit.is_ascii_digit(),
        _ => false,
    }
}

/// A number as a TIME: `hhmmss`; `None` when minutes or seconds are above 59.
pub fn time_of_number(number: i128) -> Option<Parsed<i64>> {
    let magnitude = number.unsigned_abs();
    if magnitude > 8_385_959 {
        // A full date and time counts with its time of day.
        if let Some(parsed) = datetime_of_number(number, Days::OfMonth).filter(|p| p.has_time) {
            let value = parsed.value.time_of_day();
            return Some(Parsed { value, fsp: 0, truncated: false, has_time: true, offset: None });
        }
        let value = if number < 0 { -TIME_MAX } else { TIME_MAX };
        return Some(Parsed { value, fsp: 0, truncated: true, has_time: true, offset: None });
    }
    let n = magnitude as i64;
    let (hour, minute, second) = (n / 10_000, n / 100 % 100, n % 100);
    if minute > 59 || second > 59 {
        return None;
    }
    let value = (hour * 3600 + minute * 60 + second) * SECOND;
    debug_assert!(value < 36 * DAY);
    Some(Parsed {
        value: if number < 0 { -value } else { value },
        fsp: 0,
        truncated: false,
        has_time: true,
        offset: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dt(text: &str) -> Option<String> {
        datetime(text.as_bytes(), Days::OfMonth).map(|p| {
            let mut out = Vec::new();
            p.value.format(p.fsp, &mut out);
            String::from_utf8(out).unwrap() + if p.truncated { "!" } else { "" }
        })
    }
    fn tm(text: &str) -> Option<String> {
        time(text.as_bytes()).map(|p| {
            let mut out = Vec::new();
            super::super::format_time(p.value, p.fsp, &mut out);
            String::from_utf8(out).unwrap() + if p.truncated { "!" } else { "" }
        })
    }

    #[test]
    fn dates_are_read_as_mysql_does() {
        let some = |s: &str| Some(s.to_string());
        assert_eq!(dt("2020-01-02"), some("2020-01-02 00:00:00"));
        assert_eq!(dt("2020-1-2 3:4:5"), some("2020-01-02 03:04:05"));
        assert_eq!(dt("20200102"), some("2020-01-02 00:00:00"));
        assert_eq!(dt("20200102030405"), some("2020-01-02 03:04:05"));
        assert_eq!(dt("20200102030405.678"), some("2020-01-02 03:04:05.678"));
        assert_eq!(dt("200102"), some("2020-01-02 00:00:00"));
        assert_eq!(dt("99.12.31 11^30"), some("1999-12-31 11:30:00"));
        assert_eq!(dt("2020-01-02T03:04:05.9999996"), some("2020-01-02 03:04:06.000000"));
        assert_eq!(dt("2020-01-02 10:00:00x"), some("2020-01-02 10:00:00!"));
        assert_eq!(dt("0000-00-00"), some("0000-00-00 00:00:00"));
        for bad in ["2020-13-01", "2020-02-30", "abc", "", "2020-01-02 25:00:00", "2020", "2020-01"] {
            assert_eq!(dt(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_read_as_mysql_does() {
        let some = |s: &str| Some(s.to_string());
        assert_eq!(tm("10:11:12"), some("10:11:12"));
        assert_eq!(tm("10:11"), some("10:11:00"));
        assert_eq!(tm("1 10:11:12.5"), some("34:11:12.5"));
        assert_eq!(tm("-101112"), some("-10:11:12"));
        assert_eq!(tm("12"), some("00:00:12"));
        assert_eq!(tm("900:00:00"), some("838:59:59!"));
        assert_eq!(tm("2020-01-02 10:11:12"), some("10:11:12"));
        assert_eq!((tm("10:61:00"), tm("x")), (None, None));
    }
}
