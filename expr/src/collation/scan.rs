//! The weights of a text at one level, one after the other.

use super::tables::{NONE, Table, Weights};

/// Gives the weights of a text; bytes that are not UTF-8 have weights of their own, behind all characters but few.
pub(super) struct Scanner<'a> {
    table: &'static Table,
    level: usize,
    text: &'a [u8],
    pending: Weights,
}

impl<'a> Scanner<'a> {
    pub fn new(table: &'static Table, level: usize, text: &'a [u8]) -> Scanner<'a> {
        Scanner { table, level, text, pending: Weights::default() }
    }
}

impl Iterator for Scanner<'_> {
    type Item = u16;

    #[inline]
    fn next(&mut self) -> Option<u16> {
        loop {
            if let Some(weight) = self.pending.pop() {
                return Some(weight);
            }
            let (&first, rest) = self.text.split_first()?;
            if first < 0x80 {
                self.text = rest;
                let weight = self.table.ascii[self.level][usize::from(first)];
                if weight != NONE {
                    return Some(weight);
                }
                continue;
            }
            match first_char(self.text) {
                Some(c) => {
                    self.text = &self.text[c.len_utf8()..];
                    self.pending = self.table.weights(u32::from(c), self.level);
                }
                None => {
                    self.text = rest;
                    return Some(0xff00 | u16::from(first));
                }
            }
        }
    }
}

/// The character that the bytes start with, which is not an ASCII one; `None` when they are not UTF-8.
fn first_char(text: &[u8]) -> Option<char> {
    let bits = |at: usize| text.get(at).filter(|&&b| b & 0xc0 == 0x80).map(|&b| u32::from(b & 0x3f));
    let first = u32::from(text[0]);
    let (code, length) = match first {
        0xc2..=0xdf => ((first & 0x1f) << 6 | bits(1)?, 2),
        0xe0..=0xef => ((first & 0x0f) << 12 | bits(1)? << 6 | bits(2)?, 3),
        0xf0..=0xf4 => ((first & 0x07) << 18 | bits(1)? << 12 | bits(2)? << 6 | bits(3)?, 4),
        _ => return None,
    };
    char::from_u32(code).filter(|c| c.len_utf8() == length)
}

/// Where two texts begin to differ, put back to the beginning of a character of both.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut at = a.iter().zip(b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
    let inside = |text: &[u8], at: usize| text.get(at).is_some_and(|b| b & 0xc0 == 0x80);
    while at > 0 && (inside(a, at) || inside(b, at)) {
        at -= 1;
    }
    at
}
