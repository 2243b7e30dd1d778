//! Time zones: a TIMESTAMP is a moment, kept in UTC and shown in the session's zone.
//!
//! [`TimeZone::parse`] is the one reader of names and offsets, for `SET time_zone` and CONVERT_TZ alike. Where a clock is
//! set forward, the hour that does not exist is the moment of the jump; where it is set back, an hour that comes twice is
//! its first coming, as MySQL has both.

use super::{DAY, DateTime, SECOND, calendar};
use chrono::{DateTime as Moment, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use std::sync::Arc;

/// Offsets that `time_zone` and literals may have: -13:59 to +14:00, in seconds.
const OFFSET_MIN: i32 = -(13 * 3600 + 59 * 60);
const OFFSET_MAX: i32 = 14 * 3600;
/// A jump of a clock is looked for this far around a time that does not exist; none in the tables is longer than a day.
const JUMP_SECONDS_MAX: i64 = 25 * 3600;

/// A session's `time_zone`: an offset (`+08:00`) or a name (`Europe/Berlin`). Cloning is cheap.
#[derive(Clone, Debug)]
pub struct TimeZone {
    name: Arc<str>,
    rule: Rule,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Seconds east of UTC.
    Offset(i32),
    Named(Tz),
}

impl TimeZone {
    /// UTC.
    pub fn utc() -> TimeZone {
        TimeZone { name: "UTC".into(), rule: Rule::Offset(0) }
    }
    /// The zone of a name (any case) or of an offset; `SYSTEM` is UTC, whatever the machine is set to. `None` when there is
    /// no such zone.
    pub fn parse(name: &str) -> Option<TimeZone> {
        if name.eq_ignore_ascii_case("system") || name.eq_ignore_ascii_case("utc") {
            return Some(TimeZone { name: name.to_ascii_uppercase().into(), rule: Rule::Offset(0) });
        }
        if name.starts_with(['+', '-']) {
            let seconds = offset_seconds(name.as_bytes())?;
            let minutes = seconds.abs() / 60;
            let sign = if seconds < 0 { '-' } else { '+' };
            let name = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60).into();
            return Some(TimeZone { name, rule: Rule::Offset(seconds) });
        }
        let tz = chrono_tz::TZ_VARIANTS.iter().find(|tz| tz.name().eq_ignore_ascii_case(name))?;
        Some(TimeZone { name: tz.name().into(), rule: Rule::Named(*tz) })
    }
    /// The name as MySQL shows it: of an offset two digits each, of a name its own letters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seconds east of UTC at a moment.
    fn offset_at(&self, unix_micros: i64) -> Option<i32> {
        match self.rule {
            Rule::Offset(seconds) => Some(seconds),
            Rule::Named(tz) => {
                let moment = Moment::<Utc>::from_timestamp(unix_micros.div_euclid(SECOND), 0)?;
                Some(tz.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc())
            }
        }
    }
    /// The local time of a moment in microseconds since 1970.
    pub fn local_of_unix(&self, unix_micros: i64) -> Option<DateTime> {
        let offset = self.offset_at(unix_micros)?;
        DateTime::from_micros(unix_micros + i64::from(offset) * SECOND + unix_epoch())
    }
    /// The moment of a local time, in microseconds since 1970: the earlier one where a clock was set back; where it was
    /// set forward, the moment of the jump. `None` for dates that do not exist.
    pub fn unix_of_local(&self, local: DateTime) -> Option<i64> {
        let as_if_utc = local.to_micros()? - unix_epoch();
        let Rule::Named(tz) = self.rule else {
            return Some(as_if_utc - i64::from(self.offset_at(as_if_utc)?) * SECOND);
        };
        let naive = Moment::<Utc>::from_timestamp(as_if_utc.div_euclid(SECOND), 0)?.naive_utc();
        match tz.offset_from_local_datetime(&naive) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => {
                Some(as_if_utc - i64::from(offset.fix().local_minus_utc()) * SECOND)
            }
            // The fraction stays, as MySQL leaves it.
            LocalResult::None => Some(jump_around(tz, naive)? * SECOND + as_if_utc.rem_euclid(SECOND)),
        }
    }
    /// True for a local time that a clock which was set forward never showed.
    pub fn is_skipped(&self, local: DateTime) -> bool {
        let Rule::Named(tz) = self.rule else { return false };
        let naive = local.to_micros().and_then(|micros| {
            Moment::<Utc>::from_timestamp((micros - unix_epoch()).div_euclid(SECOND), 0)
                .map(|moment| moment.naive_utc())
        });
        naive.is_some_and(|naive| matches!(tz.offset_from_local_datetime(&naive), LocalResult::None))
    }
    /// A TIMESTAMP, which is in UTC, as this zone shows it. The zero date stays.
    pub fn from_utc(&self, utc: DateTime) -> DateTime {
        match (utc.to_micros(), self.rule) {
            (_, Rule::Offset(0)) | (None, _) => utc,
            (Some(micros), _) => self.local_of_unix(micros - unix_epoch()).unwrap_or(utc),
        }
    }
    /// A time of this zone as a TIMESTAMP, which is in UTC. The zero date stays; `None` for dates that do not exist.
    pub fn to_utc(&self, local: DateTime) -> Option<DateTime> {
        if local == DateTime::ZERO {
            return Some(local);
        }
        DateTime::from_micros(self.unix_of_local(local)? + unix_epoch())
    }
}

/// The moment, in seconds since 1970, at which the clock passed over `skipped`.
fn jump_around(tz: Tz, skipped: NaiveDateTime) -> Option<i64> {
    let offset_at = |seconds: i64| {
        let moment = Moment::<Utc>::from_timestamp(seconds, 0)?;
        Some(tz.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc())
    };
    let around = skipped.and_utc().timestamp();
    let (mut before, mut behind) = (around - JUMP_SECONDS_MAX, around + JUMP_SECONDS_MAX);
    let local = |seconds: i64| offset_at(seconds).map(|offset| seconds + i64::from(offset));
    while behind - before > 1 {
        let middle = before + (behind - before) / 2;
        if local(middle)? <= around { before = middle } else { behind = middle }
    }
    debug_assert!(tz.offset_from_local_datetime(&(skipped - TimeDelta::days(2))).earliest().is_some());
    Some(behind)
}

/// Seconds east of UTC of `+hh:mm` or `-h:m`, within -13:59 to +14:00.
fn offset_seconds(text: &[u8]) -> Option<i32> {
    let (sign, rest) = text.split_first()?;
    let colon = rest.iter().position(|b| *b == b':')?;
    let number = |digits: &[u8]| -> Option<i32> {
        if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some(digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0')))
    };
    let (hours, minutes) = (number(&rest[..colon])?, number(&rest[colon + 1..])?);
    let seconds = hours * 3600 + minutes * 60;
    let seconds = if *sign == b'-' { -seconds } else { seconds };
    (minutes < 60 && (OFFSET_MIN..=OFFSET_MAX).contains(&seconds)).then_some(seconds)
}

/// The seconds of the offset that a literal ends with (`+05:30`: a sign, two digits each); `-00:00` is none.
pub(super) fn literal_offset(text: &[u8]) -> Option<i32> {
    let shape = matches!(text, [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|x| x.is_ascii_digit()));
    match text {
        b"-00:00" => None,
        // A zone ends at -13:59, a literal at -14:00.
        b"-14:00" => Some(-OFFSET_MAX),
        _ if shape => offset_seconds(text),
        _ => None,
    }
}

impl PartialEq for TimeZone {
    fn eq(&self, other: &TimeZone) -> bool {
        self.name == other.name
    }
}
impl Eq for TimeZone {}

/// 1970-01-01 in microseconds since 0000-01-01.
pub fn unix_epoch() -> i64 {
    calendar::days_from_civil(1970, 1, 1) * DAY
}

#[cfg(test)]
mod tests {
    use super::super::Fields;
    use super::*;

    #[test]
    fn zones_convert_both_ways() {
        let noon = Fields { year: 2024, month: 7, day: 1, hour: 12, ..Fields::default() }.pack();
        let berlin = TimeZone::parse("europe/BERLIN").unwrap();
        assert_eq!(berlin.name(), "Europe/Berlin");
        let utc = berlin.to_utc(noon).unwrap();
        assert_eq!(utc.fields().hour, 10);
        assert_eq!(berlin.from_utc(utc), noon);
        assert_eq!(TimeZone::parse("+8:00").unwrap().to_utc(noon).unwrap().fields().hour, 4);
    }

    #[test]
    fn offsets_and_names_are_read() {
        let name = |text: &str| TimeZone::parse(text).map(|zone| zone.name().to_string());
        for (text, shown) in [("+5:30", "+05:30"), ("-00:00", "+00:00"), ("+05:3", "+05:03"), ("-13:59", "-13:59")] {
            assert_eq!(name(text).as_deref(), Some(shown), "{text}");
        }
        for bad in ["", "5:30", "+14:01", "-14:00", "+1:60", "+1:00x", " UTC", "Nowhere/Land", "+", "+:"] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    #[test]
    fn hours_that_do_not_exist_or_come_twice() {
        let berlin = TimeZone::parse("Europe/Berlin").unwrap();
        let gap = Fields { year: 2024, month: 3, day: 31, hour: 2, minute: 30, micro: 5, ..Fields::default() }.pack();
        let jump = Fields { year: 2024, month: 3, day: 31, hour: 3, micro: 5, ..Fields::default() }.pack();
        assert!(berlin.is_skipped(gap) && !berlin.is_skipped(jump));
        assert_eq!(berlin.from_utc(berlin.to_utc(gap).unwrap()), jump);
        let twice = Fields { year: 2025, month: 10, day: 26, hour: 2, minute: 30, ..Fields::default() }.pack();
        assert_eq!(berlin.unix_of_local(twice), Some(1_761_438_600 * SECOND));
        // A day that was left out.
        let apia = TimeZone::parse("Pacific/Apia").unwrap();
        let left_out = Fields { year: 2011, month: 12, day: 30, hour: 5, ..Fields::default() }.pack();
        let next = DateTime::from_date(2011, 12, 31);
        assert_eq!(apia.from_utc(apia.to_utc(left_out).unwrap()), next);
    }
}
