//! Collations: when two strings are equal, and which comes first.
//!
//! A collation turns a string into a *weight*: bytes whose order is the collation's order. Comparison, keys, grouping and
//! joins all use the weight, so they agree by construction.
//!
//! | collation | id | weight | trailing spaces |
//! |---|---|---|---|
//! | `utf8mb4_bin` (default) | 46 | the bytes | ignored |
//! | `binary` | 63 | the bytes | count |
//! | `utf8mb4_general_ci` | 45 | 2 bytes a character: its capital without accent | ignored |
//! | `utf8mb4_unicode_ci` | 224 | primary weights, see [`primary_weight`] | ignored |
//! | `utf8mb4_0900_ai_ci` | 255 | primary weights | count |
//!
//! Ignoring trailing spaces is done by cutting them off. MySQL pads the shorter string instead, which differs only in the
//! order (never the equality) of strings that go on with a control character below the space.
//! Exact for Latin text; other scripts compare by folded code point within `unicode_ci` and `0900_ai_ci`, which gives the
//! right equality for letters without accents and the code chart's order.

use crate::error::ExprError;
use std::borrow::Cow;
use std::cmp::Ordering;

/// How strings of a type compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub enum Collation {
    /// By bytes, trailing spaces ignored.
    #[default]
    Utf8mb4Bin,
    /// Bytes, not text.
    Binary,
    /// Case and (most) accents ignored, one weight a character.
    Utf8mb4GeneralCi,
    /// Unicode's primary weights, trailing spaces ignored.
    Utf8mb4UnicodeCi,
    /// Unicode's primary weights, trailing spaces count.
    Utf8mb40900AiCi,
}

impl Collation {
    /// MySQL's number of the collation, as sent in column definitions.
    pub fn id(self) -> u16 {
        match self {
            Collation::Utf8mb4Bin => 46,
            Collation::Binary => 63,
            Collation::Utf8mb4GeneralCi => 45,
            Collation::Utf8mb4UnicodeCi => 224,
            Collation::Utf8mb40900AiCi => 255,
        }
    }

    /// The collation of a MySQL number; `None` for one that is not supported.
    pub fn from_id(id: u32) -> Option<Collation> {
        Some(match id {
            // utf8mb4, utf8mb3, latin1 and ascii relatives, all stored as UTF-8
            46 | 83 | 47 | 65 | 309 => Collation::Utf8mb4Bin,
            63 => Collation::Binary,
            45 | 33 | 8 | 11 | 48 => Collation::Utf8mb4GeneralCi,
            224 | 192 => Collation::Utf8mb4UnicodeCi,
            255 => Collation::Utf8mb40900AiCi,
            _ => return None,
        })
    }

    /// The collation's name.
    pub fn name(self) -> &'static str {
        match self {
            Collation::Utf8mb4Bin => "utf8mb4_bin",
            Collation::Binary => "binary",
            Collation::Utf8mb4GeneralCi => "utf8mb4_general_ci",
            Collation::Utf8mb4UnicodeCi => "utf8mb4_unicode_ci",
            Collation::Utf8mb40900AiCi => "utf8mb4_0900_ai_ci",
        }
    }

    /// The character set the collation belongs to.
    pub fn charset(self) -> &'static str {
        if self == Collation::Binary { "binary" } else { "utf8mb4" }
    }

    /// All collations, for `SHOW COLLATION`.
    pub fn all() -> [Collation; 5] {
        use Collation::*;
        [Utf8mb4Bin, Binary, Utf8mb4GeneralCi, Utf8mb4UnicodeCi, Utf8mb40900AiCi]
    }

    /// The collation of a MySQL name, any case. Names of utf8, latin1 and ascii map to their utf8mb4 relatives.
    ///
    /// # Errors
    /// [`ExprError::UnknownCollation`] for any other name.
    pub fn from_name(name: &str) -> Result<Collation, ExprError> {
        let lower = name.to_ascii_lowercase();
        Ok(match lower.as_str() {
            "utf8mb4_bin" | "utf8_bin" | "utf8mb3_bin" | "latin1_bin" | "ascii_bin" | "utf8mb4_0900_bin" => {
                Collation::Utf8mb4Bin
            }
            "binary" => Collation::Binary,
            "utf8mb4_general_ci" | "utf8_general_ci" | "utf8mb3_general_ci" | "latin1_swedish_ci"
            | "latin1_general_ci" | "ascii_general_ci" => Collation::Utf8mb4GeneralCi,
            "utf8mb4_unicode_ci" | "utf8_unicode_ci" | "utf8mb3_unicode_ci" => Collation::Utf8mb4UnicodeCi,
            "utf8mb4_0900_ai_ci" => Collation::Utf8mb40900AiCi,
            _ => return Err(ExprError::UnknownCollation(name.to_string())),
        })
    }

    /// The default collation of a character set.
    ///
    /// # Errors
    /// [`ExprError::UnknownCharset`] for a character set that is not stored.
    pub fn of_charset(charset: &str) -> Result<Collation, ExprError> {
        match charset.to_ascii_lowercase().as_str() {
            "utf8mb4" | "utf8" | "utf8mb3" | "latin1" | "ascii" => Ok(Collation::Utf8mb4Bin),
            "binary" => Ok(Collation::Binary),
            _ => Err(ExprError::UnknownCharset(charset.to_string())),
        }
    }

    /// True when equal weights mean equal bytes up to trailing spaces.
    pub fn is_bin(self) -> bool {
        matches!(self, Collation::Utf8mb4Bin | Collation::Binary)
    }

    /// True when trailing spaces do not count in comparisons.
    pub fn pads_space(self) -> bool {
        !matches!(self, Collation::Binary | Collation::Utf8mb40900AiCi)
    }

    /// The comparison key of `text`: byte order of weights is the collation's order. `text` of a collation other than
    /// `binary` should be UTF-8; bytes that are not count as themselves.
    pub fn weight(self, text: &[u8]) -> Cow<'_, [u8]> {
        let text = if self.pads_space() { trim_spaces(text) } else { text };
        if self.is_bin() {
            return Cow::Borrowed(text);
        }
        let Ok(string) = std::str::from_utf8(text) else { return Cow::Borrowed(text) };
        let mut out = Vec::with_capacity(text.len() * 2);
        for c in string.chars() {
            match self {
                Collation::Utf8mb4GeneralCi => out.extend_from_slice(&general_weight(c).to_be_bytes()),
                _ => primary_weight(c, &mut out),
            }
        }
        Cow::Owned(out)
    }

    /// Compares two strings.
    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Collation::Binary => a.cmp(b),
            Collation::Utf8mb4Bin => trim_spaces(a).cmp(trim_spaces(b)),
            _ => self.weight(a).cmp(&self.weight(b)),
        }
    }

    /// True when `a` and `b` are the same letter, as LIKE and LOCATE ask it, one character at a time.
    pub fn same_char(self, a: char, b: char) -> bool {
        match self {
            Collation::Utf8mb4Bin | Collation::Binary => a == b,
            Collation::Utf8mb4GeneralCi => a == b || general_weight(a) == general_weight(b),
            _ => {
                a == b || {
                    let (mut x, mut y) = (Vec::new(), Vec::new());
                    primary_weight(a, &mut x);
                    primary_weight(b, &mut y);
                    x == y
                }
            }
        }
    }
}

fn trim_spaces(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&b| b != b' ').map_or(0, |last| last + 1);
    &text[..end]
}

/// Capital letters without accents for U+00C0..U+0180; a letter that has no base keeps its own (capital) place.
const LATIN_BASE: &str = concat!(
    "AAAAAAÆCEEEEIIIIÐNOOOOO×ØUUUUYÞS",
    "AAAAAAÆCEEEEIIIIÐNOOOOO÷ØUUUUYÞY",
    "AAAAAACCCCCCCCDDĐĐEEEEEEEEEEGGGG",
    "GGGGHHĦĦIIIIIIIIIIĲĲJJKKĸLLLLLLĿ",
    "ĿŁŁNNNNNNŉŊŊOOOOOOŒŒRRRRRRSSSSSS",
    "SSTTTTŦŦUUUUUUUUUUUUWWYYYZZZZZZS",
);

/// The capital of `c` without accent, where one character stands for it.
fn fold(c: char) -> char {
    let code = c as u32;
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    if (0xc0..0x180).contains(&code) {
        return LATIN_BASE.chars().nth((code - 0xc0) as usize).unwrap_or(c);
    }
    let mut upper = c.to_uppercase();
    let capital = match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    };
    match capital {
        'Ά' => 'Α',
        'Έ' => 'Ε',
        'Ή' => 'Η',
        'Ί' | 'Ϊ' => 'Ι',
        'Ό' => 'Ο',
        'Ύ' | 'Ϋ' => 'Υ',
        'Ώ' => 'Ω',
        'Ѐ' | 'Ё' => 'Е',
        other => other,
    }
}

/// `utf8mb4_general_ci`: one 16-bit weight a character; all characters beyond the basic plane are equal.
fn general_weight(c: char) -> u16 {
    u16::try_from(fold(c) as u32).unwrap_or(0xfffd)
}

/// ASCII in the order of Unicode's default table; letters and digits follow.
const PUNCTUATION: &[u8] = b"\t\n\x0b\x0c\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";
const DIGIT_BASE: u16 = 0x100;
const LETTER_BASE: u16 = 0x200;

/// Appends the primary weights of `c`: spaces and punctuation, then digits, then letters, everything else by folded code
/// point. Control characters have none.
fn primary_weight(c: char, out: &mut Vec<u8>) {
    let folded = fold(c);
    let mut push = |weight: u16| out.extend_from_slice(&weight.to_be_bytes());
    let letter = |l: char| LETTER_BASE + (l as u16 - 'A' as u16) * 4;
    match folded {
        '0'..='9' => push(DIGIT_BASE + folded as u16 - '0' as u16),
        'S' if c == 'ß' => [letter('S'), letter('S')].into_iter().for_each(push),
        'A'..='Z' => push(letter(folded)),
        'Æ' => [letter('A'), letter('E')].into_iter().for_each(push),
        'Œ' => [letter('O'), letter('E')].into_iter().for_each(push),
        'Ĳ' => [letter('I'), letter('J')].into_iter().for_each(push),
        'Ð' | 'Đ' => push(letter('D') + 1),
        'Ħ' => push(letter('H') + 1),
        'Ł' => push(letter('L') + 1),
        'Ø' => push(letter('O') + 1),
        'Ŋ' => push(letter('N') + 1),
        'Ŧ' => push(letter('T') + 1),
        'Þ' => push(letter('Z') + 1),
        _ if folded.is_ascii() => {
            if let Some(at) = PUNCTUATION.iter().position(|&p| p == folded as u8) {
                push(1 + at as u16);
            }
        }
        other => {
            // Above all of Latin: 0xf0 keeps them apart, then the code point in three bytes.
            out.push(0xf0);
            out.extend_from_slice(&(other as u32).to_be_bytes()[1..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin_table_is_complete() {
        assert_eq!(LATIN_BASE.chars().count(), 0xc0);
        for (c, base) in
            [('é', 'E'), ('Ü', 'U'), ('ñ', 'N'), ('ž', 'Z'), ('ł', 'Ł'), ('ÿ', 'Y'), ('ſ', 'S'), ('đ', 'Đ')]
        {
            assert_eq!(fold(c), base, "{c}");
        }
    }

    #[test]
    fn equality_and_order_follow_the_collation() {
        use Collation::*;
        let eq = |c: Collation, a: &str, b: &str| c.compare(a.as_bytes(), b.as_bytes()) == Ordering::Equal;
        assert!(eq(Utf8mb4Bin, "a", "a  ") && !eq(Utf8mb4Bin, "a", "A") && !eq(Binary, "a", "a "));
        assert!(eq(Utf8mb4GeneralCi, "Straße", "STRASE") && eq(Utf8mb4GeneralCi, "café ", "CAFE"));
        assert!(eq(Utf8mb4UnicodeCi, "Straße", "STRASSE") && eq(Utf8mb40900AiCi, "é", "E"));
        assert!(!eq(Utf8mb40900AiCi, "a", "a ") && eq(Utf8mb4UnicodeCi, "a", "a "));
        assert_eq!(Utf8mb40900AiCi.compare(b"_", b"0"), Ordering::Less);
        assert_eq!(Utf8mb4Bin.compare(b"_", b"0"), Ordering::Greater);
    }
}
