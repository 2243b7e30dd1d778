//! Numbers as text: reading the number at the front of a string, printing doubles as MySQL prints them.

/// The parts of a number in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberText<'a> {
    /// A minus stands before it.
    pub negative: bool,
    /// Digits before the point, may be empty.
    pub integer: &'a [u8],
    /// Digits behind the point, may be empty.
    pub fraction: &'a [u8],
    /// The power of ten behind `e`.
    pub exponent: i64,
}

/// Finds the number at the front of `text`, after spaces; also says how many bytes it takes, those spaces included.
pub fn scan(text: &[u8]) -> Option<(NumberText<'_>, usize)> {
    let digits_from = |from: usize| text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let negative = text.get(at) == Some(&b'-');
    at += usize::from(matches!(text.get(at), Some(b'-' | b'+')));
    let integer = &text[at..at + digits_from(at)];
    at += integer.len();
    let mut fraction: &[u8] = &[];
    if text.get(at) == Some(&b'.') {
        fraction = &text[at + 1..at + 1 + digits_from(at + 1)];
        if !integer.is_empty() || !fraction.is_empty() {
            at += 1 + fraction.len();
        }
    }
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut exponent = 0i64;
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'-' | b'+')));
        let digits = digits_from((at + 1 + sign).min(text.len()));
        if digits > 0 {
            let start = at + 1 + sign;
            for &byte in &text[start..start + digits] {
                exponent = (exponent * 10 + i64::from(byte - b'0')).min(100_000);
            }
            if text[at + 1] == b'-' {
                exponent = -exponent;
            }
            at = start + digits;
        }
    }
    Some((NumberText { negative, integer, fraction, exponent }, at))
}

/// The double at the front of `text` and whether nothing but spaces follows; `(0.0, false)` when there is none.
pub fn parse_double(text: &[u8]) -> (f64, bool) {
    let Some((_, used)) = scan(text) else { return (0.0, false) };
    let number = std::str::from_utf8(&text[..used]).ok().and_then(|s| s.trim().parse::<f64>().ok()).unwrap_or(0.0);
    let complete = text[used..].iter().all(u8::is_ascii_whitespace);
    if number.is_infinite() {
        return (f64::MAX.copysign(number), false);
    }
    (number, complete)
}

/// The integer at the front of `text` (a fraction is not read) and whether nothing but spaces follows. An integer beyond
/// 128 bits counts as the largest of those.
pub fn parse_integer(text: &[u8]) -> (i128, bool) {
    let start = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let negative = text.get(start) == Some(&b'-');
    let sign = usize::from(matches!(text.get(start), Some(b'-' | b'+')));
    let digits = text[start + sign..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut value = 0i128;
    for &byte in &text[start + sign..start + sign + digits] {
        value = value.saturating_mul(10).saturating_add(i128::from(byte - b'0'));
    }
    let complete = digits > 0 && text[start + sign + digits..].iter().all(u8::is_ascii_whitespace);
    (if negative { -value } else { value }, complete)
}

/// A number that is longer than `width` characters with as many of its digits as there is room for; `None` when it fits, or
/// when not even one digit does.
pub fn format_within(value: f64, width: usize) -> Option<String> {
    const DIGITS_MAX: usize = 17;
    let mut whole = Vec::new();
    format_double(value, &mut whole);
    if whole.len() <= width || !value.is_finite() {
        return None;
    }
    let fitted = (1..=DIGITS_MAX).rev().find_map(|digits| {
        let rounded = format!("{value:.*e}", digits - 1);
        let (mantissa, exponent) = rounded.split_once('e')?;
        let exponent: i32 = exponent.parse().ok()?;
        let mantissa =
            if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
        let fixed = format!("{value:.*}", usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0));
        let fixed = if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.') } else { &fixed };
        let is_exact = digits as i32 > exponent;
        match () {
            () if is_exact && fixed.len() <= width => Some(fixed.to_string()),
            () if mantissa.len() + 1 + exponent.to_string().len() <= width => Some(format!("{mantissa}e{exponent}")),
            () => None,
        }
    });
    fitted.or_else(|| Some(least_digits(value, width)))
}

/// A double whose first digit does not fit: as many digits behind the point as there is room for, down to 0; very small and
/// very large ones by one digit and an exponent, which is then cut.
fn least_digits(value: f64, width: usize) -> String {
    const FIXED_FROM: f64 = 1e-3;
    if !(FIXED_FROM..1.0).contains(&value.abs()) {
        return format!("{value:.0e}");
    }
    let decimals = width.saturating_sub(usize::from(value < 0.0) + "0.".len());
    let fixed = format!("{value:.decimals$}");
    match fixed.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        true => fixed,
        false => "0".into(),
    }
}

/// Appends a double as MySQL prints DOUBLE: the shortest digits that read back the same, plain from `1e-15` up to
/// below `1e15`, with an exponent otherwise.
pub fn format_double(value: f64, out: &mut Vec<u8>) {
    if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
        return;
    }
    if value == value.trunc() && value.abs() < 1e15 {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
        return;
    }
    format_digits(ryu::Buffer::new().format(value), out);
}

/// Appends a FLOAT: up to 6 significant digits, as MySQL prints it.
pub fn format_float(value: f64, out: &mut Vec<u8>) {
    let value = value as f32;
    if value == 0.0 || !value.is_finite() {
        return format_double(f64::from(value), out);
    }
    // Six digits, unless fewer already say the same number.
    let text = format!("{value:.5e}");
    format_digits(&text, out);
}

/// Appends a number with exactly `digits` behind the point (DOUBLE(m,d)).
pub fn format_fixed(value: f64, digits: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{value:.digits$}").as_bytes());
}

/// Rewrites a number printed in Rust's way into MySQL's.
fn format_digits(text: &str, out: &mut Vec<u8>) {
    let Some((number, _)) = scan(text.as_bytes()) else {
        out.extend_from_slice(text.as_bytes());
        return;
    };
    let mut digits: Vec<u8> = number.integer.iter().chain(number.fraction).copied().collect();
    let leading = digits.iter().take_while(|&&d| d == b'0').count();
    // position of the point, counted from the first significant digit
    let point = number.integer.len() as i64 + number.exponent - leading as i64;
    digits.drain(..leading);
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    if number.negative {
        out.push(b'-');
    }
    if (-14..=15).contains(&point) {
        if point <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-point) as usize, b'0');
            out.extend_from_slice(&digits);
        } else if digits.len() as i64 <= point {
            let zeros = point as usize - digits.len();
            out.extend_from_slice(&digits);
            out.resize(out.len() + zeros, b'0');
        } else {
            out.extend_from_slice(&digits[..point as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[point as usize..]);
        }
        return;
    }
    out.push(digits.first().copied().unwrap_or(b'0'));
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.push(b'e');
    out.extend_from_slice((point - 1).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(f: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_print_as_in_mysql() {
        let cases = [
            (0.1, "0.1"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (1e20, "1e20"),
            (1.5e300, "1.5e300"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (1e-5, "0.00001"),
            (1e-20, "1e-20"),
            (0.30000000000000004, "0.30000000000000004"),
            (123456789.125, "123456789.125"),
        ];
        for (value, text) in cases {
            assert_eq!(print(|o| format_double(value, o)), text);
        }
        assert_eq!(print(|o| format_float(f64::from(1.1f32), o)), "1.1");
        assert_eq!(print(|o| format_float(f64::from(123456.7f32), o)), "123457");
        assert_eq!(print(|o| format_float(1e20, o)), "1e20");
    }

    #[test]
    fn the_front_of_a_text_is_read() {
        assert_eq!(parse_double(b" 1.5e2abc"), (150.0, false));
        assert_eq!(parse_double(b"12 "), (12.0, true));
        assert_eq!(parse_double(b"x"), (0.0, false));
        assert_eq!(parse_double(b"1e999"), (f64::MAX, false));
        assert_eq!(parse_integer(b"-12x"), (-12, false));
        assert_eq!(scan(b"1e").unwrap().1, 1);
        assert!(scan(b".").is_none() && scan(b"-").is_none());
    }
}
