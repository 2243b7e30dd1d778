//! Comparing texts, and the bytes that compare as they do.
//!
//! The sort key of a text, where a weight is two bytes, high one first:
//! ```text
//! trailing spaces count:    w₁ w₁ … │ 0000 w₂ w₂ … │ 0000 w₃ w₃ …      as many levels as the collation has; no weight is 0
//! trailing spaces ignored:  w₁ w₁ … 0002                               trailing spaces cut off
//! bytes are the weights:    the bytes; where trailing spaces are ignored, as bytes.rs marks them
//!
//! 'aB' utf8mb4_0900_ai_ci  1c47 1c60
//! 'aB' utf8mb4_0900_as_cs  1c47 1c60 0000 0020 0020 0000 0002 0008
//! 'aB ' utf8mb4_general_ci 0041 0042 0002
//! ```
//! Ignoring trailing spaces means that the shorter text goes on with spaces without end. Few characters are below the
//! space (tab, line feed, …), and a text with one of them behind comes before the text without it: `'a\t' < 'a' = 'a '`.
//! So the end needs a mark, 0002, above those characters and below the space:
//! ```text
//! 0000 bb   a weight below the space's, of which only the low byte differs
//! 0001      a space, when the first other character behind it is below the space
//! 0002      the end
//! wwww      any other weight, the space's included
//! ```

use super::bytes;
use super::name::Collation;
use super::scan::{Scanner, common_prefix};
use super::tables::{NONE, Table};
use std::borrow::Cow;
use std::cmp::Ordering;

pub(super) const LEVEL_END: [u8; 2] = [0, 0];
pub(super) const BELOW_SPACE: [u8; 2] = [0, 0];
pub(super) const SPACE_BEFORE_LOWER: [u8; 2] = [0, 1];
pub(super) const TEXT_END: [u8; 2] = [0, 2];

impl Collation {
    /// Compares two strings. `binary` compares bytes; other collations expect UTF-8 but have an order for any bytes.
    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        let Some((table, levels)) = self.table() else {
            return if self.pads_bytes() { bytes::compare(self.character_set(), a, b) } else { a.cmp(b) };
        };
        if a == b {
            return Ordering::Equal;
        }
        let start = common_prefix(a, b);
        let (a, b) = (&a[start..], &b[start..]);
        let compare = |level: usize| match skip_ascii(&table.ascii[level], a, b) {
            Ok(at) => {
                let [a, b] = [a, b].map(|text| Scanner::new(table, level, &text[at..]));
                if self.pads_space() { compare_padded(a, b, table.space()) } else { a.cmp(b) }
            }
            Err(order) => order,
        };
        (0..levels).map(compare).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Appends bytes whose order is the collation's order, drawn above. Equal keys are equal strings, so a hash of the
    /// key is one of the string.
    pub fn sort_key(self, text: &[u8], out: &mut Vec<u8>) {
        let Some((table, levels)) = self.table() else {
            match self.pads_bytes() {
                true => bytes::sort_key(self.character_set(), text, out),
                false => out.extend_from_slice(text),
            }
            return;
        };
        out.reserve(text.len() * 2 * levels + 2);
        if self.pads_space() {
            return padded_key(table, text, out);
        }
        for level in 0..levels {
            if level > 0 {
                out.extend_from_slice(&LEVEL_END);
            }
            let rest = ascii_key(&table.ascii[level], text, out);
            Scanner::new(table, level, rest).for_each(|weight| out.extend_from_slice(&weight.to_be_bytes()));
        }
    }

    /// The sort key, borrowed where it is the text itself.
    pub fn weight(self, text: &[u8]) -> Cow<'_, [u8]> {
        if self.table().is_none() && !self.pads_bytes() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::new();
        self.sort_key(text, &mut out);
        Cow::Owned(out)
    }

    /// What `WEIGHT_STRING` answers: the weights without our marks, of one byte in 8-bit character sets, trailing spaces
    /// included.
    pub fn weight_string(self, text: &[u8]) -> Vec<u8> {
        let Some((table, _)) = self.table() else {
            return self.character_set().encode(&String::from_utf8_lossy(text)).into_owned();
        };
        let mut out = Vec::new();
        if !self.pads_space() {
            self.sort_key(text, &mut out);
            return out;
        }
        let eight_bit = matches!(self, Collation::Latin1SwedishCi | Collation::AsciiGeneralCi);
        for weight in Scanner::new(table, 0, text) {
            match u8::try_from(weight) {
                Ok(byte) if eight_bit => out.push(byte),
                _ => out.extend_from_slice(&weight.to_be_bytes()),
            }
        }
        out
    }

    /// True when `a` and `b` are the same letter, as LIKE and LOCATE ask it, one character at a time.
    pub fn same_char(self, a: char, b: char) -> bool {
        if a == b {
            return true;
        }
        let Some((table, levels)) = self.table() else { return false };
        let (a, b) = (u32::from(a), u32::from(b));
        if a < 0x80 && b < 0x80 {
            return (0..levels).all(|level| table.ascii[level][a as usize] == table.ascii[level][b as usize]);
        }
        table.is_listed_block(a)
            && table.is_listed_block(b)
            && (0..levels).all(|level| table.weights(a, level).as_slice() == table.weights(b, level).as_slice())
    }
}

/// Passes over equal weights as long as both texts are ASCII: where that ends, or which of the texts is the smaller one.
fn skip_ascii(ascii: &[u16; 128], a: &[u8], b: &[u8]) -> Result<usize, Ordering> {
    for (at, (&x, &y)) in a.iter().zip(b).enumerate() {
        let (Some(&x), Some(&y)) = (ascii.get(usize::from(x)), ascii.get(usize::from(y))) else { return Ok(at) };
        if x == NONE || y == NONE {
            return Ok(at);
        }
        if x != y {
            return Err(x.cmp(&y));
        }
    }
    Ok(a.len().min(b.len()))
}

/// Appends the weights of the ASCII characters in front and returns what is behind them.
fn ascii_key<'a>(ascii: &[u16; 128], text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (run, rest) = text.split_at(text.iter().position(|b| !b.is_ascii()).unwrap_or(text.len()));
    let mut end = out.len();
    out.resize(end + run.len() * 2, 0);
    for &byte in run {
        let weight = ascii[usize::from(byte)];
        if weight != NONE {
            out[end..end + 2].copy_from_slice(&weight.to_be_bytes());
            end += 2;
        }
    }
    out.truncate(end);
    rest
}

/// Compares as if the shorter one went on with spaces.
fn compare_padded(mut a: Scanner<'_>, mut b: Scanner<'_>, space: u16) -> Ordering {
    loop {
        let order = match (a.next(), b.next()) {
            (Some(x), Some(y)) => x.cmp(&y),
            (None, None) => return Ordering::Equal,
            (Some(x), None) => return compare_with_spaces(x, a, space),
            (None, Some(y)) => return compare_with_spaces(y, b, space).reverse(),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn compare_with_spaces(first: u16, rest: Scanner<'_>, space: u16) -> Ordering {
    std::iter::once(first).chain(rest).map(|weight| weight.cmp(&space)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

fn padded_key(table: &'static Table, text: &[u8], out: &mut Vec<u8>) {
    let space = table.space();
    let mut spaces = 0;
    for weight in Scanner::new(table, 0, text) {
        if weight == space {
            spaces += 1;
            continue;
        }
        let before = if weight < space { SPACE_BEFORE_LOWER } else { space.to_be_bytes() };
        (0..std::mem::take(&mut spaces)).for_each(|_| out.extend_from_slice(&before));
        if weight < space {
            out.extend_from_slice(&BELOW_SPACE);
            out.push(weight as u8);
        } else {
            out.extend_from_slice(&weight.to_be_bytes());
        }
    }
    out.extend_from_slice(&TEXT_END);
}
