//! Dates and times as MySQL has them: zero dates exist, TIME goes from -838:59:59 to 838:59:59, fractions have up to six
//! digits.
//!
//! DATE, DATETIME and TIMESTAMP are one packed number ([`DateTime`]), so that comparing numbers compares dates, in Arrow
//! arrays, rows and keys alike:
//! ```text
//!  63   60 59       46 45  42 41 37 36  32 31    26 25    20 19          0
//! ┌───────┬───────────┬──────┬─────┬──────┬────────┬────────┬─────────────┐
//! │   0   │   year    │ month│ day │ hour │ minute │ second │ microsecond │
//! └───────┴───────────┴──────┴─────┴──────┴────────┴────────┴─────────────┘
//! ```
//! TIME is a signed number of microseconds.
//!
//! | module | does |
//! |---|---|
//! | [`calendar`] | days since year 0, weekdays, month lengths, weeks |
//! | [`parse`] | text and numbers to dates and times |
//! | [`zone`] | time zones: TIMESTAMP between UTC and a session's zone |

pub mod calendar;
pub mod parse;
pub mod zone;

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub const DAY: i64 = 86_400 * SECOND;
/// The longest TIME, in microseconds.
pub const TIME_MAX: i64 = (838 * 3600 + 59 * 60 + 59) * SECOND;

/// A date with a time of day, packed; the order of the numbers is the order in time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DateTime(pub u64);

/// The fields of a [`DateTime`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Fields {
    pub year: u32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub micro: u32,
}

impl Fields {
    /// Packs the fields; they must be within their ranges ([`Fields::is_valid`]).
    pub fn pack(&self) -> DateTime {
        DateTime(
            u64::from(self.year) << 46
                | u64::from(self.month) << 42
                | u64::from(self.day) << 37
                | u64::from(self.hour) << 32
                | u64::from(self.minute) << 26
                | u64::from(self.second) << 20
                | u64::from(self.micro),
        )
    }

    /// True when this is a day of the calendar and a time of day. Zero month and day pass when `allow_zero`.
    pub fn is_valid(&self, allow_zero: bool) -> bool {
        let zero = self.month == 0 || self.day == 0;
        let date = if zero {
            allow_zero && self.month <= 12 && self.day <= 31
        } else {
            self.month <= 12 && self.day <= calendar::days_in_month(self.year, self.month)
        };
        date && self.year <= 9999 && self.hour < 24 && self.minute < 60 && self.second < 60 && self.micro < 1_000_000
    }
}

impl DateTime {
    /// `0000-00-00 00:00:00`.
    pub const ZERO: DateTime = DateTime(0);

    /// Midnight of a day.
    pub fn from_date(year: u32, month: u32, day: u32) -> DateTime {
        Fields { year, month, day, ..Fields::default() }.pack()
    }
    /// Takes the number apart.
    pub fn fields(self) -> Fields {
        let bits = |shift: u32, width: u32| (self.0 >> shift) as u32 & ((1 << width) - 1);
        Fields {
            year: bits(46, 14),
            month: bits(42, 4),
            day: bits(37, 5),
            hour: bits(32, 5),
            minute: bits(26, 6),
            second: bits(20, 6),
            micro: bits(0, 20),
        }
    }
    /// Year, 0 to 9999.
    pub fn year(self) -> u32 {
        (self.0 >> 46) as u32 & 0x3fff
    }
    /// Month, 0 to 12.
    pub fn month(self) -> u32 {
        (self.0 >> 42) as u32 & 0xf
    }
    /// Day, 0 to 31.
    pub fn day(self) -> u32 {
        (self.0 >> 37) as u32 & 0x1f
    }
    /// The same day at midnight.
    pub fn date(self) -> DateTime {
        DateTime(self.0 >> 37 << 37)
    }
    /// True for `0000-00-00 …`.
    pub fn is_zero_date(self) -> bool {
        self.0 >> 37 == 0
    }
    /// True when the day exists: neither month nor day is zero.
    pub fn is_real_date(self) -> bool {
        self.month() != 0 && self.day() != 0
    }
    /// True when its month has this day, too: ALLOW_INVALID_DATES lets others pass.
    pub fn is_calendar_date(self) -> bool {
        self.is_real_date() && self.day() <= calendar::days_in_month(self.year(), self.month())
    }
    /// The time of day in microseconds.
    pub fn time_of_day(self) -> i64 {
        let f = self.fields();
        (i64::from(f.hour) * 3600 + i64::from(f.minute) * 60 + i64::from(f.second)) * SECOND + i64::from(f.micro)
    }
    /// Microseconds since 0000-01-01, for differences and additions; `None` when month or day is zero.
    pub fn to_micros(self) -> Option<i64> {
        if !self.is_real_date() {
            return None;
        }
        let days = calendar::days_from_civil(self.year(), self.month(), self.day());
        Some(days * DAY + self.time_of_day())
    }
    /// What [`DateTime::to_micros`] gave; `None` outside of the years 0 to 9999.
    pub fn from_micros(micros: i64) -> Option<DateTime> {
        let (year, month, day) = calendar::civil_from_days(micros.div_euclid(DAY))?;
        let time = micros.rem_euclid(DAY);
        let seconds = (time / SECOND) as u32;
        let fields = Fields {
            year,
            month,
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micro: (time % SECOND) as u32,
        };
        Some(fields.pack())
    }
    /// Rounded half up to `fsp` digits of fraction; stays as it is at the end of the calendar.
    pub fn round(self, fsp: u8) -> DateTime {
        let unit = fraction_unit(fsp);
        let micro = i64::from(self.fields().micro);
        if unit == 1 || micro % unit == 0 {
            return self;
        }
        let cut = DateTime(self.0 - (micro % unit) as u64);
        if micro % unit * 2 < unit {
            return cut;
        }
        match self.to_micros() {
            Some(micros) => DateTime::from_micros(micros - micro % unit + unit).unwrap_or(cut),
            None => cut,
        }
    }
    /// The fraction cut to `fsp` digits.
    pub fn truncate(self, fsp: u8) -> DateTime {
        DateTime(self.0 - u64::from(self.fields().micro) % fraction_unit(fsp) as u64)
    }
    /// `YYYYMMDDhhmmss`, without the fraction.
    pub fn to_number(self) -> u64 {
        let f = self.fields();
        self.date_number() * 1_000_000 + u64::from(f.hour * 10_000 + f.minute * 100 + f.second)
    }
    /// `YYYYMMDD`.
    pub fn date_number(self) -> u64 {
        u64::from(self.year() * 10_000 + self.month() * 100 + self.day())
    }
    /// Appends `YYYY-MM-DD`.
    pub fn format_date(self, out: &mut Vec<u8>) {
        let year = self.year();
        push_two(year / 100, out);
        push_two(year % 100, out);
        out.push(b'-');
        push_two(self.month(), out);
        out.push(b'-');
        push_two(self.day(), out);
    }
    /// Appends `YYYY-MM-DD hh:mm:ss` with `fsp` digits of fraction.
    pub fn format(self, fsp: u8, out: &mut Vec<u8>) {
        let f = self.fields();
        self.format_date(out);
        out.push(b' ');
        push_two(f.hour, out);
        out.push(b':');
        push_two(f.minute, out);
        out.push(b':');
        push_two(f.second, out);
        push_fraction(f.micro, fsp, out);
    }
}

/// Microseconds of the last digit kept with `fsp` digits of fraction.
pub fn fraction_unit(fsp: u8) -> i64 {
    10i64.pow(6 - u32::from(fsp.min(6)))
}

/// A TIME rounded half away from zero to `fsp` digits of fraction.
pub fn round_time(micros: i64, fsp: u8) -> i64 {
    let unit = fraction_unit(fsp);
    let rest = micros % unit;
    if rest.abs() * 2 >= unit && rest != 0 { micros - rest + unit * rest.signum() } else { micros - rest }
}

/// Appends a TIME as `hh:mm:ss` with `fsp` digits of fraction.
pub fn format_time(micros: i64, fsp: u8, out: &mut Vec<u8>) {
    if micros < 0 {
        out.push(b'-');
    }
    let micros = micros.unsigned_abs();
    let seconds = micros / SECOND as u64;
    let hours = seconds / 3600;
    if hours < 100 {
        push_two(hours as u32, out);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(hours).as_bytes());
    }
    out.push(b':');
    push_two((seconds / 60 % 60) as u32, out);
    out.push(b':');
    push_two((seconds % 60) as u32, out);
    push_fraction((micros % SECOND as u64) as u32, fsp, out);
}

/// A TIME as a number: `hhmmss`, without the fraction.
pub fn time_number(micros: i64) -> i64 {
    let seconds = micros.abs() / SECOND;
    (seconds / 3600 * 10_000 + seconds / 60 % 60 * 100 + seconds % 60) * micros.signum()
}

fn push_two(value: u32, out: &mut Vec<u8>) {
    out.push(b'0' + (value / 10 % 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

fn push_fraction(micro: u32, fsp: u8, out: &mut Vec<u8>) {
    if fsp == 0 {
        return;
    }
    out.push(b'.');
    let mut unit = 100_000;
    for _ in 0..fsp.min(6) {
        out.push(b'0' + (micro / unit % 10) as u8);
        unit /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_order_and_fields() {
        let a = Fields { year: 2024, month: 2, day: 29, hour: 23, minute: 59, second: 59, micro: 999_999 };
        assert_eq!(a.pack().fields(), a);
        assert!(a.pack() < DateTime::from_date(2024, 3, 1) && DateTime::ZERO < a.pack());
        assert_eq!(a.pack().round(3), DateTime::from_date(2024, 3, 1));
        assert_eq!(DateTime::from_micros(a.pack().to_micros().unwrap()), Some(a.pack()));
        let mut out = Vec::new();
        a.pack().format(3, &mut out);
        assert_eq!(out, b"2024-02-29 23:59:59.999");
        out.clear();
        format_time(-(100 * 3600 + 61) * SECOND - 500_000, 1, &mut out);
        assert_eq!(out, b"-100:01:01.5");
    }
}
