//! Reading single keys: values at a timestamp for readers, records and locks for the transaction actions.

use super::lock::{Lock, LockKind, ReadAt, Verdict};
use super::write::{Write, WriteKind, WriteRef};
use crate::engine::{Cf, EngineIterator, IterOptions, Snapshot};
use crate::error::{Error, KeyError};
use basalt_common::codec;
use basalt_common::key::{self, TS_LEN};
use basalt_common::{EncodedKey, Timestamp};
use bytes::Bytes;

/// Reads keys of one snapshot; keeps its cursor from key to key.
pub struct MvccReader<'a> {
    snapshot: &'a dyn Snapshot,
    write: Option<Box<dyn EngineIterator>>,
    seek_key: Vec<u8>,
    /// Entries of the write family looked at.
    pub versions: u64,
}

/// A value and since when it is the value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// Its commit_ts; for a value read through a lock, the lock's start_ts.
    pub commit_ts: Timestamp,
}

/// What a transaction left on a key, apart from a lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OwnRecord {
    /// Its commit record.
    Committed {
        /// When.
        commit_ts: Timestamp,
        /// What.
        write: Write,
    },
    /// Its rollback record, or the mark of it in another transaction's commit record.
    RolledBack,
    /// Nothing.
    None {
        /// The commit record of another transaction that stands where this one's rollback record would, with the
        /// commit_ts of the next newer version.
        overlapped: Option<(Write, Option<Timestamp>)>,
    },
}

impl<'a> MvccReader<'a> {
    /// Reads a snapshot.
    pub fn new(snapshot: &'a dyn Snapshot) -> Self {
        MvccReader { snapshot, write: None, seek_key: Vec::new(), versions: 0 }
    }

    /// The value of a user key for a reader.
    ///
    /// # Errors
    /// [`KeyError::Locked`] when a lock on the key may commit at or below the reader's timestamp.
    pub fn get(&mut self, user_key: &[u8], read: &ReadAt) -> Result<Option<Versioned>, Error> {
        self.seek_key.clear();
        codec::encode_bytes(&mut self.seek_key, user_key);
        if let Some(lock) = self.snapshot.get(Cf::Lock, &self.seek_key)? {
            let lock = Lock::decode(&lock)?;
            match lock.verdict(user_key, read) {
                Verdict::Pass => {}
                Verdict::Blocks => return Err(lock.blocks(user_key)),
                Verdict::ReadThrough if lock.kind == LockKind::Delete => return Ok(None),
                Verdict::ReadThrough => {
                    let key = std::mem::take(&mut self.seek_key);
                    let value = load_lock_value(self.snapshot, &key, &lock)?;
                    return Ok(Some(Versioned { value, commit_ts: lock.start_ts }));
                }
            }
        }
        self.newest_value(read.ts)
    }

    /// The newest committed value at or below `ts`, whatever locks there are.
    ///
    /// # Errors
    /// Of the engine, or [`KeyError::Corrupt`].
    pub fn get_committed(&mut self, key: &EncodedKey, ts: Timestamp) -> Result<Option<Versioned>, Error> {
        self.seek_key.clear();
        self.seek_key.extend_from_slice(key.as_slice());
        self.newest_value(ts)
    }

    /// The newest put or delete of the key in `seek_key` at or below `ts`.
    fn newest_value(&mut self, ts: Timestamp) -> Result<Option<Versioned>, Error> {
        let key_len = self.seek_key.len();
        codec::encode_u64_desc(&mut self.seek_key, ts.0);
        let write = cursor(self.snapshot, &mut self.write)?;
        let mut valid = write.seek(&self.seek_key)?;
        while valid {
            let (key, commit_ts) = key::split_ts(write.key())?;
            if key != &self.seek_key[..key_len] {
                break;
            }
            self.versions += 1;
            let record = WriteRef::decode(write.value())?;
            match record.kind {
                WriteKind::Put if !record.is_current_at(ts) => return Ok(None),
                WriteKind::Put => {
                    let value = match record.short_value {
                        Some(value) => Bytes::copy_from_slice(value),
                        None => {
                            self.seek_key.truncate(key_len);
                            load_value(self.snapshot, &mut self.seek_key, record.start_ts)?
                        }
                    };
                    return Ok(Some(Versioned { value, commit_ts }));
                }
                WriteKind::Delete => return Ok(None),
                WriteKind::Lock | WriteKind::Rollback => valid = write.next()?,
            }
        }
        Ok(None)
    }

    /// The lock of `start_ts` on a key, or else whose there is.
    ///
    /// # Errors
    /// Of the engine, or [`KeyError::Corrupt`].
    pub fn lock(&self, key: &EncodedKey, start_ts: Timestamp) -> Result<Option<Lock>, Error> {
        match self.snapshot.get(Cf::Lock, key.as_slice())? {
            Some(lock) => Ok(Some(Lock::decode(&lock)?.of(start_ts))),
            None => Ok(None),
        }
    }

    /// The newest record of the key at or below `ts`, whatever its kind.
    ///
    /// # Errors
    /// Of the engine, or [`KeyError::Corrupt`].
    pub fn seek_write(&mut self, key: &EncodedKey, ts: Timestamp) -> Result<Option<(Timestamp, Write)>, Error> {
        self.seek_key.clear();
        self.seek_key.extend_from_slice(key.as_slice());
        codec::encode_u64_desc(&mut self.seek_key, ts.0);
        let write = cursor(self.snapshot, &mut self.write)?;
        write.seek(&self.seek_key)?;
        self.write_here(key)
    }

    /// The next older record after the one that [`MvccReader::seek_write`] or this found.
    ///
    /// # Errors
    /// Of the engine, or [`KeyError::Corrupt`].
    pub fn next_write(&mut self, key: &EncodedKey) -> Result<Option<(Timestamp, Write)>, Error> {
        cursor(self.snapshot, &mut self.write)?.next()?;
        self.write_here(key)
    }

    fn write_here(&mut self, key: &EncodedKey) -> Result<Option<(Timestamp, Write)>, Error> {
        let write = cursor(self.snapshot, &mut self.write)?;
        if !write.valid() {
            return Ok(None);
        }
        let (here, commit_ts) = key::split_ts(write.key())?;
        if here != key.as_slice() {
            return Ok(None);
        }
        self.versions += 1;
        Ok(Some((commit_ts, WriteRef::decode(write.value())?.to_owned())))
    }

    /// The newest record that is a put or a delete, from `ts` down.
    ///
    /// # Errors
    /// Of the engine, or [`KeyError::Corrupt`].
    pub fn newest_data_write(&mut self, key: &EncodedKey, ts: Timestamp) -> Result<Option<(Timestamp, Write)>, Error> {
        let mut found = self.seek_write(key, ts)?;
        while let Some((_, write)) = &found {
            if matches!(write.kind, WriteKind::Put | WriteKind::Delete) {
                break;
            }
            found = self.next_write(key)?;
        }
        Ok(found)
    }

    /// What the transaction `start_ts` left on the key.
    ///
    /// # Errors
    /// Of the engine, or [`KeyError::Corrupt`].
    pub fn own_record(&mut self, key: &EncodedKey, start_ts: Timestamp) -> Result<OwnRecord, Error> {
        let mut newer = None;
        let mut found = self.seek_write(key, Timestamp::MAX)?;
        while let Some((commit_ts, write)) = found {
            if commit_ts < start_ts {
                break;
            }
            if write.start_ts == start_ts {
                return Ok(match write.kind {
                    WriteKind::Rollback => OwnRecord::RolledBack,
                    _ => OwnRecord::Committed { commit_ts, write },
                });
            }
            if commit_ts == start_ts {
                return Ok(match write.has_overlapped_rollback {
                    true => OwnRecord::RolledBack,
                    false => OwnRecord::None { overlapped: Some((write, newer)) },
                });
            }
            if matches!(write.kind, WriteKind::Put | WriteKind::Delete) {
                newer = Some(commit_ts);
            }
            found = self.next_write(key)?;
        }
        Ok(OwnRecord::None { overlapped: None })
    }

    /// Up to `limit` locks (more when the last key is shared) of a transaction (or of all, with `None`) with start_ts up to `max_ts`, in `[lower, upper)` of
    /// encoded keys.
    ///
    /// # Errors
    /// Of the engine, or [`KeyError::Corrupt`].
    pub fn scan_locks(
        &self,
        range: &crate::engine::EngineRange,
        filter: LockFilter,
    ) -> Result<Vec<(EncodedKeyBytes, Lock)>, Error> {
        let options = IterOptions { lower: range.start.clone(), upper: range.end.clone(), ..IterOptions::default() };
        let mut iter = self.snapshot.iter(Cf::Lock, options)?;
        let mut valid = iter.seek_to_first()?;
        let mut found = Vec::new();
        while valid && found.len() < filter.limit {
            let lock = Lock::decode(iter.value())?;
            let is_wanted =
                |lock: &&Lock| lock.start_ts <= filter.max_ts && filter.start_ts.is_none_or(|ts| ts == lock.start_ts);
            let key = Bytes::copy_from_slice(iter.key());
            found.extend(lock.holders().filter(is_wanted).map(|lock| (key.clone(), lock.clone())));
            valid = iter.next()?;
        }
        Ok(found)
    }
}

/// The bytes of an encoded key.
pub type EncodedKeyBytes = Bytes;

/// Which locks are looked for.
#[derive(Clone, Copy, Debug)]
pub struct LockFilter {
    /// Of this transaction only.
    pub start_ts: Option<Timestamp>,
    /// Of transactions that started at or below this.
    pub max_ts: Timestamp,
    /// At most so many.
    pub limit: usize,
}

/// The cursor over the write family, made at first use: each seek sees the versions of one key only.
fn cursor<'c>(
    snapshot: &dyn Snapshot,
    write: &'c mut Option<Box<dyn EngineIterator>>,
) -> Result<&'c mut Box<dyn EngineIterator>, Error> {
    match write {
        Some(write) => Ok(write),
        none => {
            let options = IterOptions { prefix_same_as_start: true, fill_cache: true, ..IterOptions::default() };
            Ok(none.insert(snapshot.iter(Cf::Write, options)?))
        }
    }
}

/// A long value: `key` is an encoded key and gets the timestamp appended.
pub(super) fn load_value(snapshot: &dyn Snapshot, key: &mut Vec<u8>, start_ts: Timestamp) -> Result<Bytes, Error> {
    codec::encode_u64_desc(key, start_ts.0);
    snapshot.get(Cf::Default, key)?.ok_or_else(|| missing_value(&key[..key.len() - TS_LEN], start_ts))
}

/// The value that a lock would commit.
pub(super) fn load_lock_value(snapshot: &dyn Snapshot, key: &[u8], lock: &Lock) -> Result<Bytes, Error> {
    match &lock.short_value {
        Some(value) => Ok(value.clone()),
        None => load_value(snapshot, &mut key.to_vec(), lock.start_ts),
    }
}

pub(super) fn missing_value(key: &[u8], start_ts: Timestamp) -> Error {
    Error::Key(KeyError::Corrupt(format!("no value of {start_ts} at {}", key.escape_ascii())))
}
