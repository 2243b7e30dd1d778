//! Scanning a range forward: what the coprocessor reads, so it is made to cost little for each row.
//!
//! ```text
//! lock cursor    ·········· d ················      rows come from the smaller of the two keys;
//! write cursor   a@9 a@5 b@7 c@8 c@3 d@4 e@2 …      no locks left: one comparison less a row
//!                ↑ newest version of the row's key
//! ```
//! A row's key is decoded into a buffer that is used again; its value is borrowed from the write cursor (or from a
//! buffer, when it was long). The cursor leaves a row only when the next one is asked for. Versions that are too new, and
//! older ones of a row that was answered, are stepped over [`STEPS_BEFORE_SEEK`] times before a seek jumps the rest.

use super::lock::{Lock, LockKind, ReadAt, Verdict};
use super::reader::missing_value;
use super::write::{WriteKind, WriteRef};
use crate::engine::{Cf, EngineIterator, EngineRange, IterOptions, Snapshot};
use crate::error::Error;
use basalt_common::codec;
use basalt_common::key::{self, TS_LEN};
use basalt_common::{Timestamp, UserKey};
use std::sync::Arc;

/// Versions stepped over one by one before a seek: a seek costs about as much as so many steps.
pub(super) const STEPS_BEFORE_SEEK: usize = 8;

/// A row of a scan, borrowed until the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    /// User key.
    pub key: &'a [u8],
    /// Value; empty when only keys were asked for.
    pub value: &'a [u8],
}

/// What a scan has cost so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ScanStats {
    /// Rows answered.
    pub rows: u64,
    /// Entries of the write family passed.
    pub versions: u64,
    /// Seeks after the first.
    pub seeks: u64,
}

/// What is scanned.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Encoded keys.
    pub range: EngineRange,
    /// At which timestamp, past which locks.
    pub read: ReadAt,
    /// Values are not wanted.
    pub key_only: bool,
    /// Whether blocks read stay in the cache.
    pub fill_cache: bool,
}

/// The cursors that both directions share.
pub(super) struct Cursors {
    snapshot: Arc<dyn Snapshot>,
    pub(super) options: ScanOptions,
    pub(super) write: Box<dyn EngineIterator>,
    /// None once it has passed the last lock, and when locks are not met.
    pub(super) lock: Option<Box<dyn EngineIterator>>,
    values: Option<Box<dyn EngineIterator>>,
    /// A key with timestamp, to be sought.
    seek_key: Vec<u8>,
    pub(super) stats: ScanStats,
}

impl Cursors {
    pub(super) fn new(snapshot: Arc<dyn Snapshot>, options: ScanOptions, meets_locks: bool) -> Result<Self, Error> {
        let iter_options = IterOptions {
            lower: options.range.start.clone(),
            upper: options.range.end.clone(),
            prefix_same_as_start: false,
            fill_cache: options.fill_cache,
        };
        let write = snapshot.iter(Cf::Write, iter_options.clone())?;
        let lock = if meets_locks { Some(snapshot.iter(Cf::Lock, iter_options)?) } else { None };
        let stats = ScanStats::default();
        Ok(Cursors { snapshot, options, write, lock, values: None, seek_key: Vec::new(), stats })
    }

    /// Moves the write cursor to the first entry at or after `key ⊕ ts`.
    pub(super) fn seek_write(&mut self, key: &[u8], ts: Timestamp) -> Result<bool, Error> {
        self.seek_key.clear();
        self.seek_key.extend_from_slice(key);
        codec::encode_u64_desc(&mut self.seek_key, ts.0);
        self.stats.seeks += 1;
        Ok(self.write.seek(&self.seek_key)?)
    }

    /// True while the write cursor is on a version of `key`.
    #[inline]
    pub(super) fn is_on(&self, key: &[u8]) -> bool {
        self.write.valid() && without_ts(self.write.key()) == key
    }

    /// Appends a long value to `out`. Values lie in the order of their keys: the cursor is often one step away.
    pub(super) fn load_value(&mut self, key: &[u8], start_ts: Timestamp, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.options.key_only {
            return Ok(());
        }
        self.seek_key.clear();
        self.seek_key.extend_from_slice(key);
        codec::encode_u64_desc(&mut self.seek_key, start_ts.0);
        let values = match &mut self.values {
            Some(values) => values,
            none => {
                let fill_cache = self.options.fill_cache;
                let (lower, upper) = (self.options.range.start.clone(), self.options.range.end.clone());
                let options = IterOptions { lower, upper, prefix_same_as_start: false, fill_cache };
                none.insert(self.snapshot.iter(Cf::Default, options)?)
            }
        };
        let mut steps = 0;
        while values.valid() && values.key() < &self.seek_key[..] && steps < STEPS_BEFORE_SEEK {
            values.next()?;
            steps += 1;
        }
        if !values.valid() || values.key() != &self.seek_key[..] {
            values.seek(&self.seek_key)?;
        }
        if !values.valid() || values.key() != &self.seek_key[..] {
            return Err(missing_value(key, start_ts));
        }
        out.extend_from_slice(values.value());
        Ok(())
    }

    /// The value that a lock on `key` would commit.
    pub(super) fn load_lock_value(&mut self, key: &[u8], lock: &Lock, out: &mut Vec<u8>) -> Result<(), Error> {
        match &lock.short_value {
            Some(value) => out.extend_from_slice(value),
            None => self.load_value(key, lock.start_ts, out)?,
        }
        Ok(())
    }

    /// Walks from the newest version of `key`, on which (or before which) the write cursor stands, to the visible one.
    pub(super) fn find_visible(&mut self, key: &[u8], loaded: &mut Vec<u8>) -> Result<Found, Error> {
        let ts = self.options.read.ts;
        let mut too_new = 0;
        while self.is_on(key) {
            self.stats.versions += 1;
            let (_, commit_ts) = key::split_ts(self.write.key())?;
            if commit_ts > ts {
                too_new += 1;
                if too_new == STEPS_BEFORE_SEEK {
                    self.seek_write(key, ts)?;
                } else {
                    self.write.next()?;
                }
                continue;
            }
            let record = WriteRef::decode(self.write.value())?;
            match record.kind {
                WriteKind::Put if !record.is_current_at(ts) => return Ok(Found::Nothing),
                WriteKind::Put if record.short_value.is_some() => return Ok(Found::Inlined),
                WriteKind::Put => {
                    let start_ts = record.start_ts;
                    self.load_value(key, start_ts, loaded)?;
                    return Ok(Found::Loaded);
                }
                WriteKind::Delete => return Ok(Found::Nothing),
                WriteKind::Lock | WriteKind::Rollback => {
                    self.write.next()?;
                }
            }
        }
        Ok(Found::Nothing)
    }

    /// The inlined value under the write cursor.
    pub(super) fn inlined(&self) -> Result<&[u8], Error> {
        if self.options.key_only {
            return Ok(&[]);
        }
        Ok(WriteRef::decode(self.write.value())?.short_value.unwrap_or_default())
    }
}

/// Where the visible value of a key is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none.
    Nothing,
    /// Under the write cursor.
    Inlined,
    /// In the buffer.
    Loaded,
}

/// An engine key without its timestamp. Shorter keys, which no one wrote, count as a whole.
#[inline]
pub(super) fn without_ts(key: &[u8]) -> &[u8] {
    &key[..key.len().saturating_sub(TS_LEN)]
}

/// Scans `[start, end)` in key order.
pub struct ForwardScanner {
    cursors: Cursors,
    is_started: bool,
    /// The encoded key of the current row; its versions are still under the cursor when `must_leave`.
    key: Vec<u8>,
    must_leave: bool,
    user_key: Vec<u8>,
    loaded: Vec<u8>,
}

impl ForwardScanner {
    /// A scan of a snapshot; nothing is read yet.
    ///
    /// # Errors
    /// Of the engine.
    pub fn new(snapshot: Arc<dyn Snapshot>, options: ScanOptions) -> Result<Self, Error> {
        Ok(Self::of(Cursors::new(snapshot, options, true)?))
    }

    /// A scan of what is committed, whatever locks there are.
    ///
    /// # Errors
    /// Of the engine.
    pub fn past_locks(snapshot: Arc<dyn Snapshot>, options: ScanOptions) -> Result<Self, Error> {
        Ok(Self::of(Cursors::new(snapshot, options, false)?))
    }

    fn of(cursors: Cursors) -> Self {
        ForwardScanner {
            cursors,
            is_started: false,
            key: Vec::new(),
            must_leave: false,
            user_key: Vec::new(),
            loaded: Vec::new(),
        }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// [`crate::error::KeyError::Locked`] at a key with a lock in the reader's way; the next call goes on behind it.
    #[expect(clippy::should_implement_trait, reason = "rows are borrowed, which Iterator cannot say")]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, Error> {
        if !self.is_started {
            self.is_started = true;
            self.cursors.write.seek_to_first()?;
            keep_if_valid(&mut self.cursors.lock, |lock| lock.seek_to_first())?;
        }
        let found = loop {
            if self.must_leave {
                self.leave_key()?;
            }
            match self.step()? {
                Step::End => return Ok(None),
                Step::Skip => {}
                Step::Row(found) => break found,
            }
        };
        self.cursors.stats.rows += 1;
        self.user_key.clear();
        codec::decode_bytes_into(&mut self.user_key, &mut &self.key[..])?;
        let value = match found {
            Found::Inlined => self.cursors.inlined()?,
            _ => &self.loaded[..],
        };
        Ok(Some(Row { key: &self.user_key, value }))
    }

    /// What the scan has cost so far.
    pub fn stats(&self) -> ScanStats {
        self.cursors.stats
    }

    /// Looks at the smallest key under the two cursors.
    #[inline]
    fn step(&mut self) -> Result<Step, Error> {
        let cursors = &mut self.cursors;
        let has_write = cursors.write.valid();
        if let Some(lock) = &cursors.lock {
            let lock_key = lock.key();
            let written = without_ts(cursors.write.key());
            if !has_write || lock_key <= written {
                let has_versions = has_write && lock_key == written;
                return self.step_over_lock(has_versions);
            }
        }
        if !has_write {
            return Ok(Step::End);
        }
        self.key.clear();
        self.key.extend_from_slice(without_ts(cursors.write.key()));
        self.step_over_versions()
    }

    fn step_over_versions(&mut self) -> Result<Step, Error> {
        self.loaded.clear();
        let found = self.cursors.find_visible(&self.key, &mut self.loaded)?;
        self.must_leave = true;
        Ok(if found == Found::Nothing { Step::Skip } else { Step::Row(found) })
    }

    #[cold]
    fn step_over_lock(&mut self, has_versions: bool) -> Result<Step, Error> {
        let Some(cursor) = &mut self.cursors.lock else { return Ok(Step::Skip) };
        self.key.clear();
        self.key.extend_from_slice(cursor.key());
        let lock = Lock::decode(cursor.value())?;
        keep_if_valid(&mut self.cursors.lock, |lock| lock.next())?;
        let user_key: UserKey = key::decode_user_key(&self.key)?;
        match lock.verdict(user_key.as_slice(), &self.cursors.options.read) {
            Verdict::Pass if has_versions => self.step_over_versions(),
            Verdict::Pass => Ok(Step::Skip),
            Verdict::Blocks => {
                self.must_leave = has_versions;
                Err(lock.blocks(user_key))
            }
            Verdict::ReadThrough => {
                self.must_leave = has_versions;
                if lock.kind == LockKind::Delete {
                    return Ok(Step::Skip);
                }
                self.loaded.clear();
                self.cursors.load_lock_value(&self.key, &lock, &mut self.loaded)?;
                Ok(Step::Row(Found::Loaded))
            }
        }
    }

    /// Moves the write cursor past the versions of the current key.
    #[inline]
    fn leave_key(&mut self) -> Result<(), Error> {
        self.must_leave = false;
        for _ in 0..STEPS_BEFORE_SEEK {
            if !self.cursors.is_on(&self.key) {
                return Ok(());
            }
            self.cursors.write.next()?;
        }
        if self.cursors.is_on(&self.key) {
            // No version is at zero: this lands on the next key.
            self.cursors.seek_write(&self.key, Timestamp::ZERO)?;
        }
        Ok(())
    }
}

enum Step {
    End,
    Skip,
    Row(Found),
}

/// Moves a cursor and drops it when it has passed its last entry.
pub(super) fn keep_if_valid(
    cursor: &mut Option<Box<dyn EngineIterator>>,
    step: impl FnOnce(&mut dyn EngineIterator) -> Result<bool, crate::engine::EngineError>,
) -> Result<(), Error> {
    if let Some(iter) = cursor
        && !step(&mut **iter)?
    {
        *cursor = None;
    }
    Ok(())
}
