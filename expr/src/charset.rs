//! Character sets: which characters there are, and their bytes.
//!
//! Text is UTF-8 wherever it is computed with or stored, whatever its character set. A character set says what may stand
//! in it, and what its bytes are where bytes are asked for: by a client, by HEX and LENGTH, by a conversion to bytes.
//!
//! ```text
//! client ── decode ──▶ UTF-8 ── expressions, rows, keys ──▶ UTF-8 ── encode ──▶ client
//!                                      │
//!                                      └─ encode ─▶ bytes: HEX, LENGTH, MD5, CAST(… AS BINARY), BLOB columns
//! ```
//!
//! | name | characters | bytes of one |
//! |---|---|---|
//! | `utf8mb4` | all | 1 to 4 |
//! | `utf8mb3` | those below U+10000 | 1 to 3 |
//! | `latin1` | those of Windows' code page 1252, and U+0081, U+008D, U+008F, U+0090, U+009D in its holes | 1 |
//! | `ascii` | those below U+0080 | 1 |
//! | `binary` | bytes, not characters | 1 |
//!
//! A character that the target does not have becomes `?`. Bytes that are no text stay an error: text here is always valid.

use crate::collation::Collation;
use std::borrow::Cow;

/// A character set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Charset {
    /// UTF-8.
    #[default]
    Utf8mb4,
    /// UTF-8 of at most three bytes.
    Utf8mb3,
    /// Windows' code page 1252.
    Latin1,
    /// Seven bits.
    Ascii,
    /// Bytes.
    Binary,
}

use Charset::*;

/// MySQL's character sets that are not done.
const NOT_DONE: &[&str] = &[
    "armscii8", "big5", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932", "dec8", "eucjpms",
    "euckr", "gb18030", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin2",
    "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16", "utf16le", "utf32",
];

/// What stands for a character that a character set does not have.
const SUBSTITUTE: char = '?';

/// The characters of latin1 from 0x80 to 0x9f, where it is not Unicode's order.
const LATIN1_MIDDLE: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn latin1_byte(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0..=0x7f | 0xa0..=0xff) => Some(code as u8),
        _ => LATIN1_MIDDLE.iter().position(|&other| other == c).map(|at| 0x80 + at as u8),
    }
}

fn latin1_char(byte: u8) -> char {
    match byte {
        0x80..=0x9f => LATIN1_MIDDLE[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

impl Charset {
    /// The character set of a MySQL name, any case; `None` for those that are not done.
    pub fn from_name(name: &str) -> Option<Charset> {
        Collation::of_charset(name).ok().map(Collation::character_set)
    }

    /// True for the names of MySQL's other character sets, in lower case.
    pub fn is_not_done(name: &str) -> bool {
        NOT_DONE.contains(&name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Utf8mb4 => "utf8mb4",
            Utf8mb3 => "utf8mb3",
            Latin1 => "latin1",
            Ascii => "ascii",
            Binary => "binary",
        }
    }

    /// Most bytes of a character.
    pub fn char_bytes_max(self) -> u32 {
        match self {
            Utf8mb4 => 4,
            Utf8mb3 => 3,
            Latin1 | Ascii | Binary => 1,
        }
    }

    /// True when its bytes are those that text is kept in.
    pub fn is_utf8(self) -> bool {
        self != Latin1
    }

    /// True when every character of `other` is one of its own.
    pub fn holds(self, other: Charset) -> bool {
        let size = |charset| match charset {
            Ascii => 0,
            Latin1 => 1,
            Utf8mb3 => 2,
            Utf8mb4 => 3,
            Binary => 4,
        };
        size(self) >= size(other)
    }

    /// True when it has this character.
    pub fn has(self, c: char) -> bool {
        match self {
            Utf8mb4 | Binary => true,
            Utf8mb3 => c <= '\u{ffff}',
            Latin1 => latin1_byte(c).is_some(),
            Ascii => c.is_ascii(),
        }
    }

    /// Where the first character stands that it does not have.
    pub fn first_missing(self, text: &str) -> Option<usize> {
        match self {
            Utf8mb4 | Binary => None,
            _ if text.is_ascii() => None,
            _ => text.char_indices().find(|(_, c)| !self.has(*c)).map(|(at, _)| at),
        }
    }

    /// The text with [`SUBSTITUTE`] for characters that it does not have.
    pub fn fit(self, text: &str) -> Cow<'_, str> {
        match self.first_missing(text) {
            None => Cow::Borrowed(text),
            Some(_) => Cow::Owned(text.chars().map(|c| if self.has(c) { c } else { SUBSTITUTE }).collect()),
        }
    }

    /// Its bytes of a text.
    pub fn encode(self, text: &str) -> Cow<'_, [u8]> {
        if self == Latin1 && !text.is_ascii() {
            return text.chars().map(|c| latin1_byte(c).unwrap_or(SUBSTITUTE as u8)).collect();
        }
        match self.fit(text) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }

    /// The text that these bytes are in it.
    ///
    /// # Errors
    /// Where the bytes stop being text.
    pub fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
        match self {
            Latin1 if !bytes.is_ascii() => Ok(bytes.iter().map(|&byte| latin1_char(byte)).collect()),
            Ascii if !bytes.is_ascii() => Err(bytes.iter().position(|b| !b.is_ascii()).unwrap_or(0)),
            _ => {
                let text = std::str::from_utf8(bytes).map_err(|error| error.valid_up_to())?;
                match if self == Utf8mb3 { self.first_missing(text) } else { None } {
                    Some(at) => Err(at),
                    None => Ok(Cow::Borrowed(text)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_is_code_page_1252_and_every_byte_a_character() {
        let all: Vec<u8> = (0..=255).collect();
        let text = Latin1.decode(&all).unwrap();
        assert_eq!(text.chars().count(), 256);
        assert_eq!(&*Latin1.encode(&text), &all[..]);
        for (byte, c) in [(0x80, '€'), (0x81, '\u{81}'), (0x9f, 'Ÿ'), (0xe4, 'ä'), (0x9d, '\u{9d}')] {
            assert_eq!(Latin1.decode(&[byte]).unwrap().chars().next(), Some(c));
        }
    }

    #[test]
    fn what_a_character_set_does_not_have_is_a_question_mark() {
        for (charset, text, bytes) in [
            (Latin1, "aä日", &b"a\xe4?"[..]),
            (Latin1, "\u{80}", b"?"),
            (Ascii, "aä日", b"a??"),
            (Utf8mb3, "ä😀", "ä?".as_bytes()),
            (Utf8mb4, "ä😀", "ä😀".as_bytes()),
        ] {
            assert_eq!(&*charset.encode(text), bytes, "{charset:?} {text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_where_they_begin() {
        assert_eq!(Ascii.decode(b"ab\xe4"), Err(2));
        assert_eq!(Utf8mb4.decode(b"a\xc3"), Err(1));
        assert_eq!(Utf8mb3.decode("a😀".as_bytes()), Err(1));
        assert_eq!(Utf8mb4.decode("a😀".as_bytes()).unwrap(), "a😀");
    }

    #[test]
    fn a_character_set_holds_the_smaller_ones() {
        let all = [Ascii, Latin1, Utf8mb3, Utf8mb4];
        for (at, charset) in all.into_iter().enumerate() {
            assert!(all[..=at].iter().all(|other| charset.holds(*other)));
            assert!(all[at + 1..].iter().all(|other| !charset.holds(*other)));
            assert_eq!(Charset::from_name(charset.name()), Some(charset));
        }
    }
}
