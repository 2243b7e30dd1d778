//! Dates and times on the wire, in both directions: parameters of prepared statements and cells of rows.
//!
//! ```text
//! binary date/datetime   length u8 (0, 4, 7 or 11) | year u16 | month | day | hour | minute | second | micros u32
//! binary time            length u8 (0, 8 or 12)    | negative | days u32 | hour | minute | second | micros u32
//! ```
//!
//! A length of 0 is the zero value; trailing parts that are zero may be left out. The parts are what the client sent:
//! month 77 is for the caller to refuse.

use super::payload::{Malformed, Payload};

/// A date, or a date and a time of day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the fields are what they say")]
pub struct DateTimeParts {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub micros: u32,
}

/// A span of time; `hour` goes up to 23, the rest is in `days`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the fields are what they say")]
pub struct TimeParts {
    pub negative: bool,
    pub days: u32,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub micros: u32,
}

impl DateTimeParts {
    pub(super) fn decode(payload: &mut Payload<'_>) -> Result<DateTimeParts, Malformed> {
        let length = payload.u8()?;
        let mut parts = DateTimeParts::default();
        if !matches!(length, 0 | 4 | 7 | 11) {
            return Err(Malformed);
        }
        if length >= 4 {
            (parts.year, parts.month, parts.day) = (payload.u16()?, payload.u8()?, payload.u8()?);
        }
        if length >= 7 {
            (parts.hour, parts.minute, parts.second) = (payload.u8()?, payload.u8()?, payload.u8()?);
        }
        if length == 11 {
            parts.micros = payload.u32()?;
        }
        Ok(parts)
    }

    pub(super) fn encode_binary(&self, out: &mut Vec<u8>, date_only: bool) {
        let has_time = !date_only && (self.hour, self.minute, self.second, self.micros) != (0, 0, 0, 0);
        let length = match (self, has_time) {
            (parts, _) if *parts == DateTimeParts::default() => 0,
            (_, false) => 4,
            (parts, true) if parts.micros == 0 => 7,
            (_, true) => 11,
        };
        out.push(length);
        if length >= 4 {
            out.extend_from_slice(&self.year.to_le_bytes());
            out.extend_from_slice(&[self.month, self.day]);
        }
        if length >= 7 {
            out.extend_from_slice(&[self.hour, self.minute, self.second]);
        }
        if length == 11 {
            out.extend_from_slice(&self.micros.to_le_bytes());
        }
    }

    /// Appends `YYYY-MM-DD`, or with the time of day and `decimals` digits of the second's fraction.
    pub(super) fn encode_text(&self, out: &mut Vec<u8>, date_only: bool, decimals: u8) {
        put_digits(out, u32::from(self.year), 4);
        out.push(b'-');
        put_digits(out, u32::from(self.month), 2);
        out.push(b'-');
        put_digits(out, u32::from(self.day), 2);
        if !date_only {
            out.push(b' ');
            put_clock(out, u32::from(self.hour), self.minute, self.second);
            put_fraction(out, self.micros, decimals);
        }
    }
}

impl TimeParts {
    pub(super) fn decode(payload: &mut Payload<'_>) -> Result<TimeParts, Malformed> {
        let length = payload.u8()?;
        let mut parts = TimeParts::default();
        if !matches!(length, 0 | 8 | 12) {
            return Err(Malformed);
        }
        if length >= 8 {
            (parts.negative, parts.days) = (payload.u8()? != 0, payload.u32()?);
            (parts.hour, parts.minute, parts.second) = (payload.u8()?, payload.u8()?, payload.u8()?);
        }
        if length == 12 {
            parts.micros = payload.u32()?;
        }
        Ok(parts)
    }

    pub(super) fn encode_binary(&self, out: &mut Vec<u8>) {
        if (TimeParts { negative: false, ..*self }) == TimeParts::default() {
            return out.push(0);
        }
        out.extend_from_slice(&[if self.micros == 0 { 8 } else { 12 }, u8::from(self.negative)]);
        out.extend_from_slice(&self.days.to_le_bytes());
        out.extend_from_slice(&[self.hour, self.minute, self.second]);
        if self.micros != 0 {
            out.extend_from_slice(&self.micros.to_le_bytes());
        }
    }

    /// Appends `[-]HHH:MM:SS` with `decimals` digits of the second's fraction.
    pub(super) fn encode_text(&self, out: &mut Vec<u8>, decimals: u8) {
        if self.negative {
            out.push(b'-');
        }
        put_clock(out, self.days.saturating_mul(24).saturating_add(u32::from(self.hour)), self.minute, self.second);
        put_fraction(out, self.micros, decimals);
    }
}

fn put_clock(out: &mut Vec<u8>, hours: u32, minute: u8, second: u8) {
    put_digits(out, hours, 2);
    out.push(b':');
    put_digits(out, u32::from(minute), 2);
    out.push(b':');
    put_digits(out, u32::from(second), 2);
}

fn put_fraction(out: &mut Vec<u8>, micros: u32, decimals: u8) {
    let decimals = u32::from(decimals.min(6));
    if decimals > 0 {
        out.push(b'.');
        put_digits(out, micros / 10_u32.pow(6 - decimals), decimals as usize);
    }
}

fn put_digits(out: &mut Vec<u8>, value: u32, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value).as_bytes();
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetime_shapes() {
        let day = DateTimeParts { year: 2024, month: 2, day: 29, ..Default::default() };
        let second = DateTimeParts { hour: 23, minute: 59, second: 1, ..day };
        let micros = DateTimeParts { micros: 120, ..second };
        for (parts, length, text) in [
            (DateTimeParts::default(), 0, "0000-00-00 00:00:00.0000"),
            (day, 4, "2024-02-29 00:00:00.0000"),
            (second, 7, "2024-02-29 23:59:01.0000"),
            (micros, 11, "2024-02-29 23:59:01.0001"),
        ] {
            let mut binary = Vec::new();
            parts.encode_binary(&mut binary, false);
            assert_eq!(binary.len(), 1 + length);
            assert_eq!(DateTimeParts::decode(&mut Payload::new(&binary)), Ok(parts));
            let mut out = Vec::new();
            parts.encode_text(&mut out, false, 4);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
        assert_eq!(DateTimeParts::decode(&mut Payload::new(&[5, 1, 2, 3, 4, 5])), Err(Malformed));
        assert_eq!(DateTimeParts::decode(&mut Payload::new(&[11, 1, 2, 3, 4, 5])), Err(Malformed));
    }

    #[test]
    fn time_shapes() {
        let minute = TimeParts { negative: true, days: 34, hour: 22, minute: 59, ..Default::default() };
        let micros = TimeParts { micros: 7, ..minute };
        for (parts, length, text) in [
            (TimeParts::default(), 0, "00:00:00.000000"),
            (minute, 8, "-838:59:00.000000"),
            (micros, 12, "-838:59:00.000007"),
        ] {
            let mut binary = Vec::new();
            parts.encode_binary(&mut binary);
            assert_eq!(binary.len(), 1 + length);
            assert_eq!(TimeParts::decode(&mut Payload::new(&binary)), Ok(parts));
            let mut out = Vec::new();
            parts.encode_text(&mut out, 6);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }
}
