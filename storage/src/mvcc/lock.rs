//! Lock records, and whether a lock stops a reader.
//!
//! ```text
//! ┌──────┬───────────┬─────────┬───────────────────┬────────────────────────────┐
//! │ kind │ start_ts  │ ttl_ms  │ primary           │ fields, each behind a tag  │
//! │ 1 B  │ 8 B BE    │ varint  │ varint len, bytes │                            │
//! └──────┴───────────┴─────────┴───────────────────┴────────────────────────────┘
//! kind  P put · D delete · L lock · S pessimistic
//! tags  v value (varint len, bytes) · f for_update_ts (8 B) · t txn_size (varint) · c min_commit_ts (8 B)
//!       a async commit (varint count, then varint len and bytes each) · r rollback_ts (varint count, then 8 B each)
//!       h shared (varint count, then varint len and record of each other holder)
//! ```
//! Fields are written in the order of this list and only when they are not empty.
//!
//! A shared lock (FOR SHARE) has one record for all its holders, each with a lock of its own: the first in the record's own
//! fields, the others behind `h`. They are of kind S, or L once their transaction commits: none of them changes the value.

use crate::error::{Error, KeyError, LockedKey};
use basalt_common::codec::{self, CodecError};
use basalt_common::{Timestamp, UserKey};
use bytes::Bytes;

/// What a lock will become at commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// A new value.
    Put,
    /// No value.
    Delete,
    /// The value stays; the key was locked by a read.
    Lock,
    /// Taken before prewrite; becomes nothing unless a prewrite replaces it.
    Pessimistic,
}

/// A transaction in progress on a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lock {
    /// What it will become.
    pub kind: LockKind,
    /// The key that decides the transaction's fate.
    pub primary: UserKey,
    /// The transaction.
    pub start_ts: Timestamp,
    /// How long after the physical part of `start_ts` the transaction is taken for alive.
    pub ttl_ms: u64,
    /// For pessimistic transactions: the timestamp at which the key was found unchanged; zero otherwise.
    pub for_update_ts: Timestamp,
    /// Keys of the transaction, a hint for resolving.
    pub txn_size: u64,
    /// The transaction commits at or above this. Zero: nothing was promised.
    pub min_commit_ts: Timestamp,
    /// The value, when short; longer ones are in the default family at `start_ts`.
    pub short_value: Option<Bytes>,
    /// The transaction is committed as soon as all its keys are locked so.
    pub use_async_commit: bool,
    /// On the primary of an async-commit transaction: all its other keys.
    pub secondaries: Vec<UserKey>,
    /// Transactions that were rolled back on this key while the lock was there and whose start_ts this lock's commit_ts
    /// may turn out to be: their rollback record must not be lost.
    pub rollback_ts: Vec<Timestamp>,
    /// Other transactions may hold shared locks on the key beside it.
    pub is_shared: bool,
    /// Those that do.
    pub sharers: Vec<Lock>,
}

/// At which timestamp, and past which locks, is read.
#[derive(Clone, Debug, Default)]
pub struct ReadAt {
    /// Versions up to this are seen; [`Timestamp::MAX`]: the newest.
    pub ts: Timestamp,
    /// start_ts of transactions known to be rolled back, or committed above `ts`: their locks do not count.
    pub resolved_locks: Vec<u64>,
    /// start_ts of transactions known to be committed at or below `ts`: their locks' values are read.
    pub committed_locks: Vec<u64>,
    /// Locks that delete do not count: whoever reads asks for the locks of what it finds, and learns there what is deleted.
    pub passes_deletes: bool,
    /// Every lock blocks: whoever reads would rather ask for the key's lock.
    pub stops_at_locks: bool,
}

impl ReadAt {
    /// Reads at a timestamp with no locks known.
    pub fn at(ts: Timestamp) -> Self {
        ReadAt { ts, ..ReadAt::default() }
    }
}

/// What a lock means to a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As if it were not there.
    Pass,
    /// Its value is the answer.
    ReadThrough,
    /// It may commit at or below the reader's timestamp.
    Blocks,
}

impl Lock {
    /// What this lock on `key` means to a reader.
    pub fn verdict(&self, key: &[u8], read: &ReadAt) -> Verdict {
        if read.stops_at_locks {
            return Verdict::Blocks;
        }
        let changes_value = matches!(self.kind, LockKind::Put | LockKind::Delete);
        let is_passed = read.passes_deletes && self.kind == LockKind::Delete;
        if !changes_value || is_passed || self.start_ts > read.ts || self.min_commit_ts > read.ts {
            return Verdict::Pass;
        }
        // The newest value of a primary is what is committed now: the lock, as long as it is one, is not. With async
        // commit the transaction may be committed though its locks are still there.
        if read.ts == Timestamp::MAX && !self.use_async_commit && self.primary.as_slice() == key {
            return Verdict::Pass;
        }
        if read.resolved_locks.contains(&self.start_ts.0) {
            return Verdict::Pass;
        }
        if read.committed_locks.contains(&self.start_ts.0) {
            return Verdict::ReadThrough;
        }
        Verdict::Blocks
    }

    /// The error for whoever this lock on `key` stops.
    pub fn blocks(self, key: impl Into<UserKey>) -> Error {
        Error::Key(KeyError::Locked(Box::new(LockedKey { key: key.into(), lock: self })))
    }

    /// True when the transaction must be taken for dead at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.start_ts.physical_ms().saturating_add(self.ttl_ms) < now.physical_ms()
    }

    /// The lock of `start_ts`, with the others as its sharers; without one there, the lock as it is.
    pub fn of(mut self, start_ts: Timestamp) -> Lock {
        if let Some(at) = self.sharers.iter().position(|sharer| sharer.start_ts == start_ts) {
            let own = self.sharers.remove(at);
            return Lock { sharers: self.into_holders(), ..own };
        }
        self
    }

    /// What is left on the key without this lock.
    pub fn others(&self) -> Option<Lock> {
        let (first, rest) = self.sharers.split_first()?;
        Some(Lock { sharers: rest.to_vec(), ..first.clone() })
    }

    /// All that hold the key, each without the others.
    pub fn into_holders(mut self) -> Vec<Lock> {
        let mut sharers = std::mem::take(&mut self.sharers);
        sharers.insert(0, self);
        sharers
    }

    /// All that hold the key.
    pub fn holders(&self) -> impl Iterator<Item = &Lock> {
        std::iter::once(self).chain(&self.sharers)
    }

    /// Whether the value, if there is one, is in the default family.
    pub fn has_long_value(&self) -> bool {
        self.kind == LockKind::Put && self.short_value.is_none()
    }

    /// Writes the record.
    pub fn encode(&self) -> Bytes {
        let value_len = self.short_value.as_ref().map_or(0, Bytes::len);
        let mut out = Vec::with_capacity(64 + self.primary.0.len() + value_len);
        out.push(match self.kind {
            LockKind::Put => b'P',
            LockKind::Delete => b'D',
            LockKind::Lock => b'L',
            LockKind::Pessimistic => b'S',
        });
        codec::encode_u64(&mut out, self.start_ts.0);
        codec::encode_varint(&mut out, self.ttl_ms);
        encode_slice(&mut out, self.primary.as_slice());
        if let Some(value) = &self.short_value {
            out.push(b'v');
            encode_slice(&mut out, value);
        }
        if !self.for_update_ts.is_zero() {
            out.push(b'f');
            codec::encode_u64(&mut out, self.for_update_ts.0);
        }
        if self.txn_size != 0 {
            out.push(b't');
            codec::encode_varint(&mut out, self.txn_size);
        }
        if !self.min_commit_ts.is_zero() {
            out.push(b'c');
            codec::encode_u64(&mut out, self.min_commit_ts.0);
        }
        if self.use_async_commit {
            out.push(b'a');
            codec::encode_varint(&mut out, self.secondaries.len() as u64);
            for key in &self.secondaries {
                encode_slice(&mut out, key.as_slice());
            }
        }
        if !self.rollback_ts.is_empty() {
            out.push(b'r');
            codec::encode_varint(&mut out, self.rollback_ts.len() as u64);
            for ts in &self.rollback_ts {
                codec::encode_u64(&mut out, ts.0);
            }
        }
        if self.is_shared {
            out.push(b'h');
            codec::encode_varint(&mut out, self.sharers.len() as u64);
            for sharer in &self.sharers {
                encode_slice(&mut out, &sharer.encode());
            }
        }
        out.into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`CodecError`] when these bytes are not a lock record.
    pub fn decode(input: &[u8]) -> Result<Lock, CodecError> {
        Lock::decode_holder(input, false)
    }

    fn decode_holder(mut input: &[u8], is_sharer: bool) -> Result<Lock, CodecError> {
        let input = &mut input;
        let kind = match take(input)? {
            b'P' => LockKind::Put,
            b'D' => LockKind::Delete,
            b'L' => LockKind::Lock,
            b'S' => LockKind::Pessimistic,
            _ => return Err(CodecError::Malformed("lock kind")),
        };
        let start_ts = Timestamp(codec::decode_u64(input)?);
        let ttl_ms = codec::decode_varint(input)?;
        let primary = UserKey::from(decode_slice(input)?);
        let mut lock = Lock::new(kind, primary, start_ts, ttl_ms);
        while !input.is_empty() {
            match take(input)? {
                b'v' => lock.short_value = Some(Bytes::copy_from_slice(decode_slice(input)?)),
                b'f' => lock.for_update_ts = Timestamp(codec::decode_u64(input)?),
                b't' => lock.txn_size = codec::decode_varint(input)?,
                b'c' => lock.min_commit_ts = Timestamp(codec::decode_u64(input)?),
                b'a' => {
                    lock.use_async_commit = true;
                    for _ in 0..codec::decode_varint(input)? {
                        lock.secondaries.push(UserKey::from(decode_slice(input)?));
                    }
                }
                b'r' => {
                    for _ in 0..codec::decode_varint(input)? {
                        lock.rollback_ts.push(Timestamp(codec::decode_u64(input)?));
                    }
                }
                b'h' => {
                    lock.is_shared = true;
                    for _ in 0..codec::decode_varint(input)? {
                        if is_sharer {
                            return Err(CodecError::Malformed("sharer of a sharer"));
                        }
                        lock.sharers.push(Lock::decode_holder(decode_slice(input)?, true)?);
                    }
                }
                _ => return Err(CodecError::Malformed("lock field")),
            }
        }
        Ok(lock)
    }

    /// A lock with nothing but what every lock has.
    pub fn new(kind: LockKind, primary: UserKey, start_ts: Timestamp, ttl_ms: u64) -> Lock {
        Lock {
            kind,
            primary,
            start_ts,
            ttl_ms,
            for_update_ts: Timestamp::ZERO,
            txn_size: 0,
            min_commit_ts: Timestamp::ZERO,
            short_value: None,
            use_async_commit: false,
            secondaries: Vec::new(),
            rollback_ts: Vec::new(),
            is_shared: false,
            sharers: Vec::new(),
        }
    }
}

fn take(input: &mut &[u8]) -> Result<u8, CodecError> {
    let (&byte, rest) = input.split_first().ok_or(CodecError::Truncated)?;
    *input = rest;
    Ok(byte)
}

fn encode_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    codec::encode_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn decode_slice<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], CodecError> {
    let len = codec::decode_varint(input)?;
    let len = usize::try_from(len).map_err(|_| CodecError::Truncated)?;
    let (head, rest) = input.split_at_checked(len).ok_or(CodecError::Truncated)?;
    *input = rest;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_fixed() {
        let mut lock = Lock::new(LockKind::Put, UserKey::from(&b"pk"[..]), Timestamp(5), 300);
        assert_eq!(&lock.encode()[..], b"P\0\0\0\0\0\0\0\x05\xac\x02\x02pk");
        lock.short_value = Some(Bytes::from_static(b"v1"));
        lock.for_update_ts = Timestamp(6);
        lock.txn_size = 2;
        lock.min_commit_ts = Timestamp(7);
        lock.use_async_commit = true;
        lock.secondaries = vec![UserKey::from(&b"k2"[..])];
        lock.rollback_ts = vec![Timestamp(8)];
        let golden: &[u8] = b"P\0\0\0\0\0\0\0\x05\xac\x02\x02pkv\x02v1f\0\0\0\0\0\0\0\x06t\x02c\0\0\0\0\0\0\0\x07\
            a\x01\x02k2r\x01\0\0\0\0\0\0\0\x08";
        assert_eq!(&lock.encode()[..], golden);
        assert_eq!(Lock::decode(golden), Ok(lock));
        for cut in 0..golden.len() {
            // A cut may fall between fields, where the rest is a lock too; it must never panic.
            let _ = Lock::decode(&golden[..cut]);
        }
        assert_eq!(Lock::decode(b"X"), Err(CodecError::Malformed("lock kind")));
    }

    #[test]
    fn a_shared_lock_is_one_record_with_a_lock_for_each_holder() {
        let holder = |ts: u64| Lock {
            is_shared: true,
            ..Lock::new(LockKind::Pessimistic, UserKey::from(&b"p"[..]), Timestamp(ts), 9)
        };
        let mut lock = holder(5);
        lock.sharers = vec![holder(6), holder(7)];
        let bytes = lock.encode();
        assert_eq!(
            &bytes[..],
            b"S\0\0\0\0\0\0\0\x05\x09\x01ph\x02\x0eS\0\0\0\0\0\0\0\x06\x09\x01ph\0\x0eS\0\0\0\0\0\0\0\x07\x09\x01ph\0"
        );
        assert_eq!(Lock::decode(&bytes), Ok(lock.clone()));
        let of = lock.clone().of(Timestamp(6));
        assert_eq!(of.holders().map(|lock| lock.start_ts.0).collect::<Vec<_>>(), [6, 5, 7]);
        let others = of.others().expect("two are left");
        assert_eq!(others.holders().map(|lock| lock.start_ts.0).collect::<Vec<_>>(), [5, 7]);
        assert_eq!((lock.clone().of(Timestamp(8)), holder(5).others()), (lock.clone(), None));
        lock.sharers[0].sharers.push(holder(8));
        assert_eq!(Lock::decode(&lock.encode()), Err(CodecError::Malformed("sharer of a sharer")));
    }

    #[test]
    fn readers_stop_only_at_locks_that_may_commit_below_them() {
        let mut lock = Lock::new(LockKind::Put, UserKey::from(&b"a"[..]), Timestamp(5), 1);
        let at = |ts| ReadAt::at(Timestamp(ts));
        assert_eq!(lock.verdict(b"a", &at(4)), Verdict::Pass);
        assert_eq!(lock.verdict(b"a", &at(5)), Verdict::Blocks);
        assert_eq!(lock.verdict(b"a", &at(u64::MAX)), Verdict::Pass, "the primary's newest value is not the lock's");
        assert_eq!(lock.verdict(b"b", &at(u64::MAX)), Verdict::Blocks);
        lock.use_async_commit = true;
        assert_eq!(lock.verdict(b"a", &at(u64::MAX)), Verdict::Blocks, "it may be committed already");
        lock.min_commit_ts = Timestamp(9);
        assert_eq!(lock.verdict(b"a", &at(8)), Verdict::Pass);
        let known = ReadAt { ts: Timestamp(9), resolved_locks: vec![5], ..ReadAt::default() };
        assert_eq!(lock.verdict(b"a", &known), Verdict::Pass);
        let known = ReadAt { ts: Timestamp(9), committed_locks: vec![5], ..ReadAt::default() };
        assert_eq!(lock.verdict(b"a", &known), Verdict::ReadThrough);
        lock.kind = LockKind::Pessimistic;
        assert_eq!(lock.verdict(b"a", &at(9)), Verdict::Pass);
        lock.kind = LockKind::Delete;
        assert_eq!(lock.verdict(b"a", &at(9)), Verdict::Blocks);
        assert_eq!(lock.verdict(b"a", &ReadAt { passes_deletes: true, ..at(9) }), Verdict::Pass);
        lock.kind = LockKind::Pessimistic;
        assert_eq!(lock.verdict(b"a", &at(9)), Verdict::Pass);
        assert_eq!(lock.verdict(b"a", &ReadAt { stops_at_locks: true, ..at(9) }), Verdict::Blocks);
    }
}
