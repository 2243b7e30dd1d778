//! Keys as users of the store see them, keys as the engine holds them, and ranges of keys.
//!
//! A [`UserKey`] is any byte string; regions, requests, locks and PD speak of user keys. The engine holds their
//! memcomparable encoding, an [`EncodedKey`], to which the column families append a descending timestamp; the encoding is
//! what keeps `a` with its versions apart from `ab` (see [`crate::codec`]). Encoding keeps order, so a range of user keys
//! is a range of encoded keys.

use crate::codec::{self, CodecError};
use crate::ts::Timestamp;
use bytes::Bytes;
use std::fmt;

/// A key as clients know it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UserKey(pub Bytes);

impl UserKey {
    /// The key's bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The engine's form of this key.
    pub fn encode(&self) -> EncodedKey {
        EncodedKey::from_user(&self.0)
    }

    /// The first key after this one.
    pub fn successor(&self) -> UserKey {
        let mut key = Vec::with_capacity(self.0.len() + 1);
        key.extend_from_slice(&self.0);
        key.push(0);
        UserKey(key.into())
    }
}

impl From<Bytes> for UserKey {
    fn from(key: Bytes) -> Self {
        UserKey(key)
    }
}
impl From<Vec<u8>> for UserKey {
    fn from(key: Vec<u8>) -> Self {
        UserKey(key.into())
    }
}
impl From<&[u8]> for UserKey {
    fn from(key: &[u8]) -> Self {
        UserKey(Bytes::copy_from_slice(key))
    }
}
impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// A user key in memcomparable form, as the lock column family holds it; with a timestamp appended, as the others do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncodedKey(Vec<u8>);

/// Bytes of the timestamp behind an encoded key.
pub const TS_LEN: usize = 8;

impl EncodedKey {
    /// Encodes a user key.
    pub fn from_user(key: &[u8]) -> Self {
        let mut out = Vec::with_capacity(codec::encoded_bytes_len(key.len()) + TS_LEN);
        codec::encode_bytes(&mut out, key);
        EncodedKey(out)
    }

    /// The encoded bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The encoded bytes, owned.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// This key followed by `ts`, newer first: `key ⊕ !ts`.
    pub fn with_ts(&self, ts: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + TS_LEN);
        out.extend_from_slice(&self.0);
        codec::encode_u64_desc(&mut out, ts.0);
        out
    }
}

impl fmt::Debug for EncodedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Decodes an encoded key without timestamp.
///
/// # Errors
/// [`CodecError`] when `encoded` is not exactly one encoded key.
pub fn decode_user_key(mut encoded: &[u8]) -> Result<UserKey, CodecError> {
    let key = codec::decode_bytes(&mut encoded)?;
    if !encoded.is_empty() {
        return Err(CodecError::Malformed("bytes after a key"));
    }
    Ok(UserKey(key.into()))
}

/// Splits an engine key into the encoded user key and its timestamp.
///
/// # Errors
/// [`CodecError::Truncated`] when there is no room for a timestamp.
pub fn split_ts(key: &[u8]) -> Result<(&[u8], Timestamp), CodecError> {
    let (key, mut ts) = key.split_at_checked(key.len().wrapping_sub(TS_LEN)).ok_or(CodecError::Truncated)?;
    Ok((key, Timestamp(codec::decode_u64_desc(&mut ts)?)))
}

/// `[start, end)` in user keys; an empty `end` is infinity.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct KeyRange {
    /// First key of the range.
    pub start: UserKey,
    /// First key after the range; empty = no end.
    pub end: UserKey,
}

impl KeyRange {
    /// The range `[start, end)`.
    pub fn new(start: impl Into<UserKey>, end: impl Into<UserKey>) -> Self {
        KeyRange { start: start.into(), end: end.into() }
    }

    /// Everything.
    pub fn all() -> Self {
        KeyRange::default()
    }

    /// True if `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && (self.end.0.is_empty() || key < self.end.as_slice())
    }

    /// True if `other` lies wholly in the range.
    pub fn contains_range(&self, other: &KeyRange) -> bool {
        other.start >= self.start && (self.end.0.is_empty() || (!other.end.0.is_empty() && other.end <= self.end))
    }

    /// What both ranges cover; `None` when they do not touch.
    pub fn intersect(&self, other: &KeyRange) -> Option<KeyRange> {
        let start = self.start.clone().max(other.start.clone());
        let end = match (self.end.0.is_empty(), other.end.0.is_empty()) {
            (true, _) => other.end.clone(),
            (_, true) => self.end.clone(),
            _ => self.end.clone().min(other.end.clone()),
        };
        (end.0.is_empty() || start < end).then_some(KeyRange { start, end })
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, if self.end.0.is_empty() { "∞".to_string() } else { self.end.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_key_format_is_fixed() {
        let key = EncodedKey::from_user(b"a").with_ts(Timestamp(9));
        assert_eq!(key, b"a\0\0\0\0\0\0\0\xf8\xff\xff\xff\xff\xff\xff\xff\xf6");
    }

    #[test]
    fn versions_of_a_key_stay_together_and_newest_first() {
        let (a, ab) = (EncodedKey::from_user(b"a"), EncodedKey::from_user(b"ab"));
        let mut keys =
            [ab.with_ts(Timestamp(1)), a.with_ts(Timestamp(5)), ab.with_ts(Timestamp(9)), a.with_ts(Timestamp(7))];
        keys.sort();
        let back: Vec<_> = keys
            .iter()
            .map(|k| split_ts(k).map(|(k, ts)| (decode_user_key(k).unwrap().to_string(), ts.0)).unwrap())
            .collect();
        assert_eq!(back, [("a".into(), 7), ("a".into(), 5), ("ab".into(), 9), ("ab".into(), 1)]);
        assert!(split_ts(b"short").is_err());
    }

    #[test]
    fn ranges_are_half_open_and_may_have_no_end() {
        let r = KeyRange::new(&b"b"[..], &b"d"[..]);
        assert!(r.contains(b"b") && r.contains(b"c\xff") && !r.contains(b"d") && !r.contains(b"a"));
        assert!(KeyRange::all().contains_range(&r) && !r.contains_range(&KeyRange::all()));
        assert_eq!(r.intersect(&KeyRange::new(&b"c"[..], &b""[..])), Some(KeyRange::new(&b"c"[..], &b"d"[..])));
        assert_eq!(r.intersect(&KeyRange::new(&b"d"[..], &b""[..])), None);
    }
}
