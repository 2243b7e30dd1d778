//! Scanning a range backward. The cursor meets a key's oldest version first, so the visible one is remembered while
//! walking toward newer ones; after a few steps a seek goes to it directly.

use super::lock::{Lock, LockKind, Verdict};
use super::scan::{Cursors, Found, Row, STEPS_BEFORE_SEEK, ScanOptions, ScanStats, keep_if_valid, without_ts};
use super::write::{WriteKind, WriteRef};
use crate::engine::Snapshot;
use crate::error::Error;
use basalt_common::Timestamp;
use basalt_common::codec;
use basalt_common::key;
use std::sync::Arc;

/// Scans `[start, end)` against key order.
pub struct BackwardScanner {
    cursors: Cursors,
    is_started: bool,
    key: Vec<u8>,
    user_key: Vec<u8>,
    value: Vec<u8>,
}

/// The visible version as far as the walk has seen.
enum Best {
    Nothing,
    Inlined,
    Long(Timestamp),
}

impl BackwardScanner {
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
        BackwardScanner { cursors, is_started: false, key: Vec::new(), user_key: Vec::new(), value: Vec::new() }
    }

    /// The next row downward; `None` at the end.
    ///
    /// # Errors
    /// [`crate::error::KeyError::Locked`] at a key with a lock in the reader's way; the next call goes on below it.
    #[expect(clippy::should_implement_trait, reason = "rows are borrowed, which Iterator cannot say")]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, Error> {
        if !self.is_started {
            self.is_started = true;
            self.cursors.write.seek_to_last()?;
            keep_if_valid(&mut self.cursors.lock, |lock| lock.seek_to_last())?;
        }
        while self.choose_key() {
            if self.visit_key()? {
                self.cursors.stats.rows += 1;
                self.user_key.clear();
                codec::decode_bytes_into(&mut self.user_key, &mut &self.key[..])?;
                return Ok(Some(Row { key: &self.user_key, value: &self.value }));
            }
        }
        Ok(None)
    }

    /// What the scan has cost so far.
    pub fn stats(&self) -> ScanStats {
        self.cursors.stats
    }

    /// Takes the largest key under the two cursors.
    fn choose_key(&mut self) -> bool {
        let written = self.cursors.write.valid().then(|| without_ts(self.cursors.write.key()));
        let locked = self.cursors.lock.as_ref().map(|lock| lock.key());
        let Some(largest) = written.max(locked) else { return false };
        self.key.clear();
        self.key.extend_from_slice(largest);
        true
    }

    /// Reads the chosen key into `value` and moves both cursors below it. False when it has no visible value.
    fn visit_key(&mut self) -> Result<bool, Error> {
        self.value.clear();
        let mut read_through = None;
        if let Some(cursor) = &mut self.cursors.lock
            && cursor.key() == self.key
        {
            let lock = Lock::decode(cursor.value())?;
            keep_if_valid(&mut self.cursors.lock, |lock| lock.prev())?;
            let user_key = key::decode_user_key(&self.key)?;
            match lock.verdict(user_key.as_slice(), &self.cursors.options.read) {
                Verdict::Pass => {}
                Verdict::ReadThrough => read_through = Some(lock),
                Verdict::Blocks => {
                    self.leave_key()?;
                    return Err(lock.blocks(user_key));
                }
            }
        }
        if let Some(lock) = read_through {
            self.leave_key()?;
            if lock.kind != LockKind::Delete {
                self.cursors.load_lock_value(&self.key, &lock, &mut self.value)?;
            }
            return Ok(lock.kind != LockKind::Delete);
        }
        self.visit_versions()
    }

    fn visit_versions(&mut self) -> Result<bool, Error> {
        let ts = self.cursors.options.read.ts;
        let mut best = Best::Nothing;
        for _ in 0..STEPS_BEFORE_SEEK {
            if !self.cursors.is_on(&self.key) {
                return self.take(best);
            }
            let (_, commit_ts) = key::split_ts(self.cursors.write.key())?;
            if commit_ts > ts {
                self.leave_key()?;
                return self.take(best);
            }
            self.cursors.stats.versions += 1;
            let record = WriteRef::decode(self.cursors.write.value())?;
            match record.kind {
                WriteKind::Put if !record.is_current_at(ts) => best = Best::Nothing,
                WriteKind::Put => match record.short_value {
                    Some(value) => {
                        self.value.clear();
                        if !self.cursors.options.key_only {
                            self.value.extend_from_slice(value);
                        }
                        best = Best::Inlined;
                    }
                    None => best = Best::Long(record.start_ts),
                },
                WriteKind::Delete => best = Best::Nothing,
                WriteKind::Lock | WriteKind::Rollback => {}
            }
            self.cursors.write.prev()?;
        }
        if !self.cursors.is_on(&self.key) {
            return self.take(best);
        }
        self.value.clear();
        self.cursors.seek_write(&self.key, ts)?;
        let found = self.cursors.find_visible(&self.key, &mut self.value)?;
        if found == Found::Inlined {
            self.value.extend_from_slice(self.cursors.inlined()?);
        }
        self.below_key()?;
        Ok(found != Found::Nothing)
    }

    fn take(&mut self, best: Best) -> Result<bool, Error> {
        match best {
            Best::Nothing => Ok(false),
            Best::Inlined => Ok(true),
            Best::Long(start_ts) => {
                self.value.clear();
                self.cursors.load_value(&self.key, start_ts, &mut self.value)?;
                Ok(true)
            }
        }
    }

    /// Moves the write cursor below the versions of the key, if it is on one.
    fn leave_key(&mut self) -> Result<(), Error> {
        if self.cursors.is_on(&self.key) { self.below_key() } else { Ok(()) }
    }

    fn below_key(&mut self) -> Result<(), Error> {
        self.cursors.stats.seeks += 1;
        // An encoded key without timestamp sorts before all its versions.
        self.cursors.write.seek_for_prev(&self.key)?;
        Ok(())
    }
}
