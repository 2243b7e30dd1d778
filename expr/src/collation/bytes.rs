//! The `_bin` collations that ignore trailing spaces: by bytes, the shorter text going on with spaces without end.
//!
//! A sort key is the text in the bytes of its character set, with a mark behind it that is above the characters below the
//! space and below all others, and these characters marked in their turn:
//! ```text
//! 00 bb   a byte below the space's
//! 01      a space, when the first other byte behind it is below the space
//! 02      the end; trailing spaces are cut off before it
//! bb      any other byte, the space's included
//!
//! 'ab '   61 62 02
//! 'a'     61 02
//! 'a \t'  61 01 00 09 02
//! ```

use super::name::Collation;
use crate::charset::Charset;
use std::borrow::Cow;
use std::cmp::Ordering;

const LOW: u8 = 0;
const SPACE_BEFORE_LOW: u8 = 1;
const END: u8 = 2;

/// A text in the bytes that it is compared by.
fn own_bytes(charset: Charset, text: &[u8]) -> Cow<'_, [u8]> {
    match charset.is_utf8() || text.is_ascii() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(charset.encode(&String::from_utf8_lossy(text)).into_owned()),
    }
}

pub(super) fn compare(charset: Charset, a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (own_bytes(charset, a), own_bytes(charset, b));
    let common = a.len().min(b.len());
    let with_spaces =
        |rest: &[u8]| rest.iter().find(|byte| **byte != b' ').map_or(Ordering::Equal, |byte| byte.cmp(&b' '));
    a[..common]
        .cmp(&b[..common])
        .then_with(|| with_spaces(&a[common..]))
        .then_with(|| with_spaces(&b[common..]).reverse())
}

pub(super) fn sort_key(charset: Charset, text: &[u8], out: &mut Vec<u8>) {
    push_prefix(charset, text, out);
    out.push(END);
}

/// What the keys of all texts begin with that begin with `text`, its trailing spaces cut off.
pub(super) fn push_prefix(charset: Charset, text: &[u8], out: &mut Vec<u8>) {
    let text = own_bytes(charset, text);
    out.reserve(text.len() + 1);
    let mut spaces = 0;
    for &byte in text.iter() {
        if byte == b' ' {
            spaces += 1;
            continue;
        }
        let space = if byte < b' ' { SPACE_BEFORE_LOW } else { b' ' };
        out.extend(std::iter::repeat_n(space, std::mem::take(&mut spaces)));
        if byte < b' ' {
            out.push(LOW);
        }
        out.push(byte);
    }
}

/// The text of a sort key, without the trailing spaces that it had. Anything goes in.
pub(super) fn text_of(charset: Charset, key: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            LOW => bytes.extend(rest.next()),
            SPACE_BEFORE_LOW => bytes.push(b' '),
            END => break,
            other => bytes.push(other),
        }
    }
    match charset.decode(&bytes) {
        Ok(text) => text.into_owned(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

impl Collation {
    /// True when its sort keys are not the bytes of the texts but tell them, up to trailing spaces.
    pub(super) fn pads_bytes(self) -> bool {
        self.is_bin() && self.pads_space()
    }

    /// True when a text cannot be read back from its sort key ([`Collation::example`]).
    pub fn loses(self, text: &[u8]) -> bool {
        match (self.is_bin(), self.pads_space()) {
            (true, true) => text.last() == Some(&b' ') || !self.character_set().is_utf8() && self.lacks(text),
            (true, false) => false,
            _ => *self.weight(text) != *text,
        }
    }

    /// True for a text with characters that are not the character set's, which no column of it holds.
    fn lacks(self, text: &[u8]) -> bool {
        self.character_set().first_missing(&String::from_utf8_lossy(text)).is_some()
    }

    /// What the sort keys of all texts begin with that begin with `text`; none where that is nothing.
    pub fn key_prefix(self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self.pads_bytes() {
            true => push_prefix(self.character_set(), text, &mut out),
            false if self.is_bin() => out.extend_from_slice(text),
            false => {}
        }
        (!out.is_empty()).then_some(out)
    }
}
