//! DECIMAL: exact numbers of up to 65 digits, 30 of them behind the point, with MySQL's rounding (half away from zero).
//!
//! A decimal is an integer and a scale: `unscaled / 10^scale`. Arithmetic is done in 128 bits while that is enough and in
//! 256 bits (76 digits) otherwise; what does not fit there either is `None`, which callers turn into error 1690 or 1264.

use crate::types::{DECIMAL_PRECISION_MAX, DECIMAL_SCALE_MAX};
use arrow::datatypes::i256;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Digits that `/` adds to the scale of its left side (`div_precision_increment`).
pub const DIVISION_SCALE: u8 = 4;

/// A DECIMAL value. Equality and order are of the numbers: `1.0 = 1.00`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    unscaled: i256,
    scale: u8,
}

const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut at = 1;
    while at < 39 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// `10^exponent` for exponents up to 76.
pub fn power_of_ten(exponent: u32) -> i256 {
    match POWERS.get(exponent as usize) {
        Some(&power) => i256::from_i128(power),
        None => i256::from_i128(POWERS[38]).wrapping_mul(i256::from_i128(POWERS[(exponent.min(76) - 38) as usize])),
    }
}

/// `10^exponent` for exponents up to 38.
pub fn power_of_ten_i128(exponent: u32) -> i128 {
    POWERS[exponent.min(38) as usize]
}

/// `a / b`, rounded half away from zero; `b` is not 0.
pub fn divide_rounded_i128(a: i128, b: i128) -> i128 {
    let (quotient, remainder) = (a / b, a % b);
    // |remainder| * 2 >= |b|, without overflow
    if remainder.unsigned_abs() >= b.unsigned_abs() - remainder.unsigned_abs() && remainder != 0 {
        quotient + if (a < 0) == (b < 0) { 1 } else { -1 }
    } else {
        quotient
    }
}

fn divide_rounded(a: i256, b: i256) -> Option<i256> {
    if let (Some(a), Some(b)) = (a.to_i128(), b.to_i128())
        && a != i128::MIN
    {
        return Some(i256::from_i128(divide_rounded_i128(a, b)));
    }
    let quotient = a.checked_div(b)?;
    let remainder = a.checked_rem(b)?.checked_abs()?;
    let half_or_more = remainder >= b.checked_abs()?.checked_sub(remainder)?;
    if !half_or_more {
        return Some(quotient);
    }
    let one = if a.is_negative() == b.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(one)
}

impl Decimal {
    /// 0.
    pub const ZERO: Decimal = Decimal { unscaled: i256::ZERO, scale: 0 };

    /// `unscaled / 10^scale`.
    pub fn new(unscaled: i128, scale: u8) -> Decimal {
        Decimal { unscaled: i256::from_i128(unscaled), scale }
    }
    /// The same from 256 bits.
    pub fn from_i256(unscaled: i256, scale: u8) -> Decimal {
        Decimal { unscaled, scale }
    }
    /// The integer without the point.
    pub fn unscaled(&self) -> i256 {
        self.unscaled
    }
    /// Digits behind the point.
    pub fn scale(&self) -> u8 {
        self.scale
    }
    /// True for 0, of any scale.
    pub fn is_zero(&self) -> bool {
        self.unscaled == i256::ZERO
    }
    /// True below 0.
    pub fn is_negative(&self) -> bool {
        self.unscaled.is_negative()
    }
    /// Digits of the number, those behind the point included, at least 1.
    pub fn precision(&self) -> u32 {
        let digits = match self.unscaled.to_i128() {
            Some(v) => v.unsigned_abs().checked_ilog10().map_or(1, |d| d + 1),
            None => self.unscaled.to_string().trim_start_matches('-').len() as u32,
        };
        digits.max(u32::from(self.scale)).max(1)
    }
    /// True when the number fits DECIMAL(precision, scale) without losing digits before the point.
    pub fn fits(&self, precision: u32, scale: u8) -> bool {
        self.unscaled == i256::ZERO || {
            let limit = power_of_ten(precision.min(76));
            match self.rescale(scale) {
                Some(d) => d.unscaled < limit && d.unscaled > limit.wrapping_neg(),
                None => false,
            }
        }
    }

    /// The number with `scale` digits behind the point, rounded half away from zero; `None` when it does not fit 256 bits.
    pub fn rescale(&self, scale: u8) -> Option<Decimal> {
        let unscaled = match scale.cmp(&self.scale) {
            Ordering::Equal => self.unscaled,
            Ordering::Greater => self.unscaled.checked_mul(power_of_ten(u32::from(scale - self.scale)))?,
            Ordering::Less => divide_rounded(self.unscaled, power_of_ten(u32::from(self.scale - scale)))?,
        };
        Some(Decimal { unscaled, scale })
    }
    /// ROUND(self, digits): negative `digits` round before the point.
    pub fn round(&self, digits: i64) -> Option<Decimal> {
        self.to_digits(digits, divide_rounded)
    }
    /// The number cut to `scale` digits behind the point, if it has more.
    pub fn truncate(&self, scale: u8) -> Decimal {
        if scale >= self.scale {
            return *self;
        }
        let unscaled = self.unscaled.wrapping_div(power_of_ten(u32::from(self.scale - scale)));
        Decimal { unscaled, scale }
    }
    /// TRUNCATE(self, digits): negative `digits` cut before the point.
    pub fn truncate_digits(&self, digits: i64) -> Option<Decimal> {
        self.to_digits(digits, |a, b| a.checked_div(b))
    }
    fn to_digits(self, digits: i64, divide: impl Fn(i256, i256) -> Option<i256>) -> Option<Decimal> {
        let scale = i64::from(self.scale);
        if digits >= scale {
            return Some(self);
        }
        let cut = scale - digits;
        if cut > 76 {
            return Some(Decimal::ZERO);
        }
        let power = power_of_ten(cut as u32);
        let quotient = divide(self.unscaled, power)?;
        if digits >= 0 {
            return Some(Decimal { unscaled: quotient, scale: digits as u8 });
        }
        Some(Decimal { unscaled: quotient.checked_mul(power_of_ten((-digits).min(76) as u32))?, scale: 0 })
    }
    /// The greatest integer at or below.
    pub fn floor(&self) -> Decimal {
        let cut = self.truncate(0);
        if self.is_negative() && cut != *self {
            return Decimal { unscaled: cut.unscaled.wrapping_sub(i256::ONE), scale: 0 };
        }
        cut
    }
    /// The least integer at or above.
    pub fn ceil(&self) -> Decimal {
        self.negate().floor().negate()
    }
    /// `-self`.
    pub fn negate(&self) -> Decimal {
        Decimal { unscaled: self.unscaled.wrapping_neg(), scale: self.scale }
    }
    /// `|self|`.
    pub fn abs(&self) -> Decimal {
        if self.is_negative() { self.negate() } else { *self }
    }

    fn aligned(&self, other: &Decimal) -> Option<(i256, i256, u8)> {
        let scale = self.scale.max(other.scale);
        Some((self.rescale(scale)?.unscaled, other.rescale(scale)?.unscaled, scale))
    }
    fn checked(unscaled: i256, scale: u8) -> Option<Decimal> {
        let result = Decimal { unscaled, scale };
        let result = if scale > DECIMAL_SCALE_MAX { result.rescale(DECIMAL_SCALE_MAX)? } else { result };
        if result.unscaled.to_i128().is_some() {
            return Some(result);
        }
        (result.precision() <= DECIMAL_PRECISION_MAX).then_some(result)
    }
    /// `self + other`; `None` beyond 65 digits.
    pub fn add(&self, other: &Decimal) -> Option<Decimal> {
        let (a, b, scale) = self.aligned(other)?;
        Decimal::checked(a.checked_add(b)?, scale)
    }
    /// `self - other`; `None` beyond 65 digits.
    pub fn subtract(&self, other: &Decimal) -> Option<Decimal> {
        self.add(&other.negate())
    }
    /// `self * other`; `None` beyond 65 digits.
    pub fn multiply(&self, other: &Decimal) -> Option<Decimal> {
        Decimal::checked(self.unscaled.checked_mul(other.unscaled)?, self.scale + other.scale)
    }
    /// `self / other` with `scale` digits behind the point; `None` for a zero divisor and beyond 65 digits.
    pub fn divide(&self, other: &Decimal, scale: u8) -> Option<Decimal> {
        if other.is_zero() {
            return None;
        }
        let scale = scale.min(DECIMAL_SCALE_MAX);
        // self.u / 10^a / (other.u / 10^b) * 10^scale = self.u * 10^(scale + b - a) / other.u
        let shift = i32::from(scale) + i32::from(other.scale) - i32::from(self.scale);
        let unscaled = if shift >= 0 {
            divide_rounded(self.unscaled.checked_mul(power_of_ten_checked(shift as u32)?)?, other.unscaled)?
        } else {
            divide_rounded(self.unscaled, other.unscaled.checked_mul(power_of_ten(shift.unsigned_abs()))?)?
        };
        Decimal::checked(unscaled, scale)
    }
    /// `self DIV other`, cut to an integer; `None` for a zero divisor.
    pub fn divide_integer(&self, other: &Decimal) -> Option<i256> {
        let (a, b, _) = self.aligned(other)?;
        if b == i256::ZERO { None } else { a.checked_div(b) }
    }
    /// `self % other` with the sign of `self`; `None` for a zero divisor.
    pub fn remainder(&self, other: &Decimal) -> Option<Decimal> {
        let (a, b, scale) = self.aligned(other)?;
        if b == i256::ZERO { None } else { Some(Decimal { unscaled: a.checked_rem(b)?, scale }) }
    }

    /// The nearest double.
    pub fn to_f64(&self) -> f64 {
        if let Some(v) = self.unscaled.to_i128()
            && v.unsigned_abs() < 1 << 53
            && self.scale <= 22
        {
            return v as f64 / 10f64.powi(i32::from(self.scale));
        }
        self.to_string().parse().unwrap_or(f64::NAN)
    }
    /// The decimal that a double prints as (shortest digits that read back the same); `None` for infinities, NaN and
    /// numbers beyond 76 digits.
    pub fn from_f64(value: f64) -> Option<Decimal> {
        if !value.is_finite() {
            return None;
        }
        Decimal::parse(format!("{value:e}").as_bytes()).map(|(d, _)| d)
    }
    /// The integer nearest, rounded half away from zero; `None` beyond 128 bits.
    pub fn to_i128(&self) -> Option<i128> {
        self.rescale(0)?.unscaled.to_i128()
    }

    /// Reads a number from the front of `text` after spaces: sign, digits, point, exponent. Returns it and the bytes read;
    /// `None` when there is none, or when it has more than 65 digits before the point. Digits beyond 30 behind the point
    /// are rounded.
    pub fn parse(text: &[u8]) -> Option<(Decimal, usize)> {
        let (number, used) = crate::number::scan(text)?;
        let mut unscaled = i256::ZERO;
        let mut small = 0i128;
        let mut digits = 0u32;
        let mut scale = 0i64;
        let mut dropped = 0i64;
        let ten = i256::from_i128(10);
        for (fraction, part) in [(false, number.integer), (true, number.fraction)] {
            for &byte in part {
                if digits == 0 && byte == b'0' && !fraction {
                    continue;
                }
                if digits >= 75 {
                    // beyond any scale we keep; the digits before the point still count as places
                    dropped += i64::from(!fraction);
                    continue;
                }
                if digits < 38 {
                    small = small * 10 + i128::from(byte - b'0');
                    unscaled = i256::from_i128(small);
                } else {
                    unscaled = unscaled.checked_mul(ten)?.checked_add(i256::from_i128(i128::from(byte - b'0')))?;
                }
                digits += u32::from(digits > 0 || byte != b'0');
                scale += i64::from(fraction);
            }
        }
        let mut scale = scale - number.exponent - dropped;
        if unscaled == i256::ZERO {
            let scale = scale.clamp(0, i64::from(DECIMAL_SCALE_MAX)) as u8;
            return Some((Decimal { unscaled, scale }, used));
        }
        if scale < 0 {
            if -scale > 76 {
                return None;
            }
            unscaled = unscaled.checked_mul(power_of_ten_checked(-scale as u32)?)?;
            scale = 0;
        }
        if scale > i64::from(DECIMAL_SCALE_MAX) {
            let cut = scale - i64::from(DECIMAL_SCALE_MAX);
            unscaled = if cut > 76 { i256::ZERO } else { divide_rounded(unscaled, power_of_ten(cut as u32))? };
            scale = i64::from(DECIMAL_SCALE_MAX);
        }
        if number.negative {
            unscaled = unscaled.wrapping_neg();
        }
        Some((Decimal { unscaled, scale: scale as u8 }, used))
    }

    /// Appends the number as MySQL prints it, with all digits of its scale.
    pub fn format(&self, out: &mut Vec<u8>) {
        let mut buffer = itoa::Buffer::new();
        let long;
        let digits = match self.unscaled.to_i128() {
            Some(v) => buffer.format(v.unsigned_abs()),
            None => {
                long = self.unscaled.to_string();
                long.trim_start_matches('-')
            }
        };
        if self.is_negative() {
            out.push(b'-');
        }
        let scale = usize::from(self.scale);
        if scale == 0 {
            out.extend_from_slice(digits.as_bytes());
            return;
        }
        match digits.len().checked_sub(scale) {
            Some(point) if point > 0 => {
                out.extend_from_slice(&digits.as_bytes()[..point]);
                out.push(b'.');
                out.extend_from_slice(&digits.as_bytes()[point..]);
            }
            _ => {
                out.extend_from_slice(b"0.");
                out.resize(out.len() + scale - digits.len(), b'0');
                out.extend_from_slice(digits.as_bytes());
            }
        }
    }

    /// The number without zeros at the end of its fraction.
    pub fn normalize(&self) -> Decimal {
        let mut result = *self;
        if result.is_zero() {
            return Decimal::ZERO;
        }
        let ten = i256::from_i128(10);
        while result.scale > 0 && result.unscaled.wrapping_rem(ten) == i256::ZERO {
            result = Decimal { unscaled: result.unscaled.wrapping_div(ten), scale: result.scale - 1 };
        }
        result
    }
}

fn power_of_ten_checked(exponent: u32) -> Option<i256> {
    (exponent <= 76).then(|| power_of_ten(exponent))
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = Vec::with_capacity(24);
        self.format(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Decimal {}
impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        if self.scale == other.scale {
            return self.unscaled.cmp(&other.unscaled);
        }
        match self.aligned(other) {
            Some((a, b, _)) => a.cmp(&b),
            // One of them has too many digits to be given the other's scale: compare before the point, then behind.
            None => {
                let whole = self.truncate(0).unscaled.cmp(&other.truncate(0).unscaled);
                whole.then_with(|| {
                    let (a, b) = (self.normalize(), other.normalize());
                    a.to_f64().total_cmp(&b.to_f64())
                })
            }
        }
    }
}
impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let normal = self.normalize();
        normal.unscaled.hash(state);
        normal.scale.hash(state);
    }
}
impl From<i64> for Decimal {
    fn from(value: i64) -> Decimal {
        Decimal::new(i128::from(value), 0)
    }
}
impl From<u64> for Decimal {
    fn from(value: u64) -> Decimal {
        Decimal::new(i128::from(value), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).unwrap().0
    }

    #[test]
    fn reads_and_prints() {
        for text in ["0", "1", "-1", "0.5", "-0.05", "123.4500", "99999999999999999999999999999999999999999999.1"] {
            assert_eq!(d(text).to_string(), text);
        }
        assert_eq!(d("1e3").to_string(), "1000");
        assert_eq!(d("12.5e-1").to_string(), "1.25");
        assert_eq!(d(" +007.10").to_string(), "7.10");
        assert!(Decimal::parse(b"abc").is_none());
        assert_eq!(Decimal::parse(b"1.5abc").unwrap().1, 3);
    }

    #[test]
    fn calculates_as_mysql() {
        assert_eq!(d("5").divide(&d("2"), 4).unwrap().to_string(), "2.5000");
        assert_eq!(d("2").divide(&d("3"), 4).unwrap().to_string(), "0.6667");
        assert_eq!(d("-2").divide(&d("3"), 4).unwrap().to_string(), "-0.6667");
        assert_eq!(d("1.005").round(2).unwrap().to_string(), "1.01");
        assert_eq!(d("-1.5").round(0).unwrap().to_string(), "-2");
        assert_eq!(d("155").round(-1).unwrap().to_string(), "160");
        assert_eq!(d("1.999").truncate_digits(2).unwrap().to_string(), "1.99");
        assert_eq!(d("0.1").add(&d("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(d("1.10").multiply(&d("2.5")).unwrap().to_string(), "2.750");
        assert_eq!(d("-7.5").remainder(&d("2")).unwrap().to_string(), "-1.5");
        assert_eq!((d("-1.1").floor(), d("-1.1").ceil(), d("1.1").ceil()), (d("-2"), d("-1"), d("2")));
        assert_eq!(d("1.0"), d("1.000"));
        assert_eq!(Decimal::from_f64(1.005).unwrap().to_string(), "1.005");
    }
}
