//! Time zones: a TIMESTAMP is a moment, kept in UTC and shown in the session's zone.

use super::{DAY, DateTime, SECOND, calendar};
use arrow::array::timezone::Tz;
use chrono::{DateTime as Moment, Datelike, NaiveDate, Offset, TimeZone as _, Timelike, Utc};

/// A session's `time_zone`: an offset (`+08:00`) or a name (`Europe/Berlin`).
#[derive(Clone, Debug)]
pub struct TimeZone {
    name: String,
    tz: Tz,
}

impl TimeZone {
    /// UTC.
    pub fn utc() -> TimeZone {
        TimeZone { name: "UTC".to_string(), tz: "+00:00".parse().expect("an offset of zero is one") }
    }
    /// The zone of a name or offset; `SYSTEM` is UTC, whatever the machine is set to. `None` when there is no such zone.
    pub fn parse(name: &str) -> Option<TimeZone> {
        if name.eq_ignore_ascii_case("system") || name.eq_ignore_ascii_case("utc") {
            return Some(TimeZone { name: name.to_uppercase(), ..TimeZone::utc() });
        }
        let padded;
        let offset = match name.as_bytes() {
            // `+8:00` is an offset too
            [sign @ (b'+' | b'-'), hour, b':', ..] => {
                padded = format!("{}0{}{}", *sign as char, *hour as char, &name[2..]);
                padded.as_str()
            }
            _ => name,
        };
        Some(TimeZone { name: name.to_string(), tz: offset.parse().ok()? })
    }
    /// The name as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The local time of a moment in microseconds since 1970.
    pub fn local_of_unix(&self, unix_micros: i64) -> Option<DateTime> {
        let moment = Moment::<Utc>::from_timestamp(unix_micros.div_euclid(SECOND), 0)?;
        let offset = self.tz.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc();
        DateTime::from_micros(unix_micros + i64::from(offset) * SECOND + unix_epoch())
    }
    /// The moment of a local time, in microseconds since 1970: the earlier one where a clock was set back; where it was
    /// set forward, the moment of the jump. `None` for dates that do not exist.
    pub fn unix_of_local(&self, local: DateTime) -> Option<i64> {
        let f = local.fields();
        let naive = NaiveDate::from_ymd_opt(f.year as i32, f.month, f.day)?
            .and_hms_micro_opt(f.hour, f.minute, f.second, f.micro)?;
        use chrono::LocalResult::{Ambiguous, None as Gap, Single};
        match self.tz.offset_from_local_datetime(&naive) {
            Single(offset) | Ambiguous(offset, _) => {
                Some(local.to_micros()? - unix_epoch() - i64::from(offset.fix().local_minus_utc()) * SECOND)
            }
            Gap => {
                // Walk back to the last moment that exists; gaps are at most a few hours.
                let mut before = naive;
                for _ in 0..24 * 4 {
                    before -= chrono::TimeDelta::minutes(15);
                    if let Single(_) | Ambiguous(..) = self.tz.offset_from_local_datetime(&before) {
                        break;
                    }
                }
                let aligned = DateTime::from_date(before.year() as u32, before.month(), before.day());
                let seconds = i64::from(before.num_seconds_from_midnight()) / 900 * 900 + 900;
                let offset = self.tz.offset_from_local_datetime(&before).earliest()?.fix().local_minus_utc();
                Some(aligned.to_micros()? + seconds * SECOND - unix_epoch() - i64::from(offset) * SECOND)
            }
        }
    }
    /// A stored TIMESTAMP (packed, UTC) as this zone shows it. The zero date stays.
    pub fn from_utc(&self, utc: DateTime) -> DateTime {
        match utc.to_micros() {
            Some(micros) => self.local_of_unix(micros - unix_epoch()).unwrap_or(utc),
            None => utc,
        }
    }
    /// A TIMESTAMP of this zone as it is stored (packed, UTC). The zero date stays; `None` for dates that do not exist.
    pub fn to_utc(&self, local: DateTime) -> Option<DateTime> {
        if local == DateTime::ZERO {
            return Some(local);
        }
        DateTime::from_micros(self.unix_of_local(local)? + unix_epoch())
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
        let berlin = TimeZone::parse("Europe/Berlin").unwrap();
        let utc = berlin.to_utc(noon).unwrap();
        assert_eq!(utc.fields().hour, 10);
        assert_eq!(berlin.from_utc(utc), noon);
        assert_eq!(TimeZone::parse("+8:00").unwrap().to_utc(noon).unwrap().fields().hour, 4);
        assert!(TimeZone::parse("Nowhere/Land").is_none());
        let gap = Fields { year: 2024, month: 3, day: 31, hour: 2, minute: 30, ..Fields::default() }.pack();
        let jump = Fields { year: 2024, month: 3, day: 31, hour: 3, ..Fields::default() }.pack();
        assert_eq!(berlin.from_utc(berlin.to_utc(gap).unwrap()), jump);
    }
}
