//! Commit records.
//!
//! ```text
//! ┌──────┬──────────┬───────┬───────────────────────┬───────────────────┐
//! │ kind │ start_ts │ flags │ gc_fence, 8 B BE      │ value, to the end │
//! │ 1 B  │ 8 B BE   │ 1 B   │ only with that flag   │ only with that flag │
//! └──────┴──────────┴───────┴───────────────────────┴───────────────────┘
//! kind   P put · D delete · L lock · R rollback
//! flags  1 value inlined · 2 protected rollback · 4 overlapped rollback · 8 gc_fence
//! ```
//! *Protected*: this rollback decided the transaction; it may not go before the safe point has passed it.
//! *Overlapped rollback*: a transaction whose start_ts is this record's commit_ts was rolled back on this key; the two
//! records share one key. Such a record was written a second time, after newer versions: `gc_fence` is the commit_ts of
//! the next newer version at that moment (zero: there was none), so that the rewritten record is not taken for the newest
//! once that version is collected.

use basalt_common::Timestamp;
use basalt_common::codec::{self, CodecError};
use bytes::Bytes;

const INLINED: u8 = 1;
const PROTECTED: u8 = 2;
const OVERLAPPED: u8 = 4;
const FENCED: u8 = 8;

/// What a transaction did to the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteKind {
    /// Set a value.
    Put,
    /// Removed it.
    Delete,
    /// Only locked the key.
    Lock,
    /// Was rolled back; stands at its start_ts.
    Rollback,
}

/// A commit record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// What was done.
    pub kind: WriteKind,
    /// The transaction.
    pub start_ts: Timestamp,
    /// The value of a put, when short.
    pub short_value: Option<Bytes>,
    /// See the module.
    pub is_protected: bool,
    /// See the module.
    pub has_overlapped_rollback: bool,
    /// See the module.
    pub gc_fence: Option<Timestamp>,
}

/// A commit record as it lies in the engine's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteRef<'a> {
    /// What was done.
    pub kind: WriteKind,
    /// The transaction.
    pub start_ts: Timestamp,
    /// The value of a put, when short.
    pub short_value: Option<&'a [u8]>,
    /// See the module.
    pub is_protected: bool,
    /// See the module.
    pub has_overlapped_rollback: bool,
    /// See the module.
    pub gc_fence: Option<Timestamp>,
}

impl Write {
    /// A record without marks.
    pub fn new(kind: WriteKind, start_ts: Timestamp, short_value: Option<Bytes>) -> Write {
        Write { kind, start_ts, short_value, is_protected: false, has_overlapped_rollback: false, gc_fence: None }
    }

    /// A rollback's record.
    pub fn rollback(start_ts: Timestamp, is_protected: bool) -> Write {
        Write { is_protected, ..Write::new(WriteKind::Rollback, start_ts, None) }
    }

    /// Writes the record.
    pub fn encode(&self) -> Bytes {
        let value = self.short_value.as_deref().unwrap_or_default();
        let mut out = Vec::with_capacity(18 + value.len());
        out.push(match self.kind {
            WriteKind::Put => b'P',
            WriteKind::Delete => b'D',
            WriteKind::Lock => b'L',
            WriteKind::Rollback => b'R',
        });
        codec::encode_u64(&mut out, self.start_ts.0);
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(self.short_value.is_some(), INLINED)
                | flag(self.is_protected, PROTECTED)
                | flag(self.has_overlapped_rollback, OVERLAPPED)
                | flag(self.gc_fence.is_some(), FENCED),
        );
        if let Some(fence) = self.gc_fence {
            codec::encode_u64(&mut out, fence.0);
        }
        out.extend_from_slice(value);
        out.into()
    }
}

impl<'a> WriteRef<'a> {
    /// Reads a record in place.
    ///
    /// # Errors
    /// [`CodecError`] when these bytes are not a commit record.
    #[inline]
    pub fn decode(input: &'a [u8]) -> Result<WriteRef<'a>, CodecError> {
        let (head, mut rest) = input.split_first_chunk::<10>().ok_or(CodecError::Truncated)?;
        let kind = match head[0] {
            b'P' => WriteKind::Put,
            b'D' => WriteKind::Delete,
            b'L' => WriteKind::Lock,
            b'R' => WriteKind::Rollback,
            _ => return Err(CodecError::Malformed("write kind")),
        };
        let start_ts = Timestamp(codec::decode_u64(&mut &head[1..9])?);
        let flags = head[9];
        if flags & !(INLINED | PROTECTED | OVERLAPPED | FENCED) != 0 {
            return Err(CodecError::Malformed("write flags"));
        }
        let gc_fence = if flags & FENCED != 0 { Some(Timestamp(codec::decode_u64(&mut rest)?)) } else { None };
        let short_value = (flags & INLINED != 0).then_some(rest);
        if short_value.is_none() && !rest.is_empty() {
            return Err(CodecError::Malformed("bytes after a commit record"));
        }
        Ok(WriteRef {
            kind,
            start_ts,
            short_value,
            is_protected: flags & PROTECTED != 0,
            has_overlapped_rollback: flags & OVERLAPPED != 0,
            gc_fence,
        })
    }

    /// False when this put was rewritten under a newer version that a reader at `ts` would have to see but that may
    /// have been collected: the key then has no value.
    #[inline]
    pub fn is_current_at(&self, ts: Timestamp) -> bool {
        !self.gc_fence.is_some_and(|fence| !fence.is_zero() && fence <= ts)
    }

    /// A copy that outlives the engine's memory.
    pub fn to_owned(&self) -> Write {
        Write {
            kind: self.kind,
            start_ts: self.start_ts,
            short_value: self.short_value.map(Bytes::copy_from_slice),
            is_protected: self.is_protected,
            has_overlapped_rollback: self.has_overlapped_rollback,
            gc_fence: self.gc_fence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_fixed() {
        let put = Write::new(WriteKind::Put, Timestamp(5), Some(Bytes::from_static(b"v")));
        let long = Write::new(WriteKind::Put, Timestamp(5), None);
        let rolled_back = Write::rollback(Timestamp(6), true);
        let rewritten = Write { has_overlapped_rollback: true, gc_fence: Some(Timestamp(9)), ..put.clone() };
        let golden: [(&Write, &[u8]); 4] = [
            (&put, b"P\0\0\0\0\0\0\0\x05\x01v"),
            (&long, b"P\0\0\0\0\0\0\0\x05\0"),
            (&rolled_back, b"R\0\0\0\0\0\0\0\x06\x02"),
            (&rewritten, b"P\0\0\0\0\0\0\0\x05\x0d\0\0\0\0\0\0\0\x09v"),
        ];
        for (record, bytes) in golden {
            assert_eq!(&record.encode()[..], bytes);
            assert_eq!(&WriteRef::decode(bytes).expect("a golden record").to_owned(), record);
        }
        assert!(WriteRef::decode(b"P\0\0\0\0\0\0\0\x05\0x").is_err());
        assert!(WriteRef::decode(b"P\0\0\0\0\0\0\0\x05\x40").is_err());
        assert!(WriteRef::decode(b"P").is_err());
    }

    #[test]
    fn a_rewritten_record_is_not_read_past_its_fence() {
        let record = Write { gc_fence: Some(Timestamp(9)), ..Write::new(WriteKind::Put, Timestamp(5), None) }.encode();
        let record = WriteRef::decode(&record).expect("just encoded");
        assert!(record.is_current_at(Timestamp(8)) && !record.is_current_at(Timestamp(9)));
    }
}
