//! Where readers and async or one-phase commits meet: the largest timestamp read, and the locks that are on their way.
//!
//! ```text
//! reader                         commit
//! 1 max_ts ← max(max_ts, ts)     1 under the table's mutex: add the keys, then take
//! 2 look for locks in memory         commit_ts = max(max_ts + 1, floor)
//! 3 snapshot                     2 write, apply        3 remove the keys
//! ```
//! If the reader's 2 comes after the commit's 1, the reader sees the lock. If it comes before, so did the reader's 1, and
//! the commit's timestamp is above the reader's. The keys leave only when every later snapshot has the write.
//!
//! The count of locks is read without the mutex: it is raised before `max_ts` is read, all sequentially consistent, so a
//! reader that sees zero is in the second case.

use crate::engine::EngineRange;
use crate::mvcc::{Lock, LockKind, ReadAt};
use basalt_common::Timestamp;
use basalt_common::mutant::mutant;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// One a store.
#[derive(Default)]
pub struct ConcurrencyManager {
    max_ts: AtomicU64,
    count: AtomicUsize,
    table: Mutex<BTreeMap<Bytes, MemoryLock>>,
}

/// A lock on its way to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLock {
    /// As it will be written, without its value.
    pub lock: Lock,
    /// It is not written at all: the transaction is committed by the write.
    pub is_one_phase: bool,
}

/// No timestamp is small enough.
#[derive(Debug, PartialEq, Eq)]
pub struct AboveMaxCommitTs;

impl ConcurrencyManager {
    /// A manager that has seen nothing.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Remembers that somebody reads at `ts`. Reads of the newest version promise nothing.
    pub fn update_max_ts(&self, ts: Timestamp) {
        if ts != Timestamp::MAX && self.max_ts.load(SeqCst) < ts.0 {
            self.max_ts.fetch_max(ts.0, SeqCst);
        }
    }

    /// The largest timestamp that was read at.
    pub fn max_ts(&self) -> Timestamp {
        Timestamp(self.max_ts.load(SeqCst))
    }

    /// Puts locks into memory and decides their timestamp: above every read, at least `floor`. The caller holds the
    /// latches of the keys.
    ///
    /// # Errors
    /// [`AboveMaxCommitTs`] when it would be above `max_commit_ts` (zero: no bound); nothing is left in memory.
    pub fn lock_keys(
        self: &Arc<Self>,
        locks: Vec<(Bytes, MemoryLock)>,
        floor: Timestamp,
        max_commit_ts: Timestamp,
    ) -> Result<(Timestamp, MemoryLocks), AboveMaxCommitTs> {
        let mut table = self.table.lock();
        self.count.fetch_add(locks.len(), SeqCst);
        let decided = floor.max(self.max_ts().next());
        let mut keys = Vec::with_capacity(locks.len());
        if !max_commit_ts.is_zero() && decided > max_commit_ts && !mutant("M29") {
            self.count.fetch_sub(locks.len(), SeqCst);
            return Err(AboveMaxCommitTs);
        }
        for (key, mut memory_lock) in locks {
            memory_lock.lock.min_commit_ts = decided;
            keys.push(key.clone());
            table.insert(key, memory_lock);
        }
        Ok((decided, MemoryLocks { manager: Arc::clone(self), keys }))
    }

    /// True when no lock is in memory: nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.count.load(SeqCst) == 0
    }

    /// The lock in memory on an encoded key that stands in a reader's way.
    pub fn blocking_lock(&self, key: &[u8], read: &ReadAt) -> Option<MemoryLock> {
        if self.is_empty() {
            return None;
        }
        self.table.lock().get(key).filter(|lock| lock.blocks(read)).cloned()
    }

    /// The first lock in memory within a range that stands in a reader's way, with its encoded key.
    pub fn blocking_lock_in(&self, range: &EngineRange, read: &ReadAt) -> Option<(Bytes, MemoryLock)> {
        if self.is_empty() || (!range.end.is_empty() && range.start >= range.end) {
            return None;
        }
        let end = if range.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(range.end.clone()) };
        let table = self.table.lock();
        let mut locks = table.range((Bound::Included(range.start.clone()), end));
        locks.find(|(_, lock)| lock.blocks(read)).map(|(key, lock)| (key.clone(), lock.clone()))
    }
}

impl MemoryLock {
    fn blocks(&self, read: &ReadAt) -> bool {
        let changes_value = matches!(self.lock.kind, LockKind::Put | LockKind::Delete);
        // A one-phase commit appears at once with its write; until then the newest version is the one that is there.
        let is_not_yet = read.ts == Timestamp::MAX && self.is_one_phase;
        changes_value
            && !(read.passes_deletes && self.lock.kind == LockKind::Delete)
            && self.lock.min_commit_ts <= read.ts
            && !is_not_yet
            && !read.resolved_locks.contains(&self.lock.start_ts.0)
    }
}

/// Locks in memory; removed when dropped.
pub struct MemoryLocks {
    manager: Arc<ConcurrencyManager>,
    keys: Vec<Bytes>,
}

impl Drop for MemoryLocks {
    fn drop(&mut self) {
        let mut table = self.manager.table.lock();
        for key in &self.keys {
            table.remove(key);
        }
        self.manager.count.fetch_sub(self.keys.len(), SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_common::UserKey;

    fn lock(start_ts: u64, is_one_phase: bool) -> MemoryLock {
        let lock = Lock::new(LockKind::Put, UserKey::from(&b"a"[..]), Timestamp(start_ts), 1);
        MemoryLock { lock, is_one_phase }
    }

    #[test]
    fn a_commit_is_above_earlier_reads_and_blocks_later_ones() {
        let manager = ConcurrencyManager::new();
        manager.update_max_ts(Timestamp(10));
        manager.update_max_ts(Timestamp::MAX);
        assert_eq!(manager.max_ts(), Timestamp(10), "reads of the newest version promise nothing");
        let key = Bytes::from_static(b"k");
        let locks = vec![(key.clone(), lock(5, false))];
        let (commit_ts, guard) = manager.lock_keys(locks, Timestamp(6), Timestamp::ZERO).expect("no bound");
        assert_eq!(commit_ts, Timestamp(11));
        let read = |ts| ReadAt::at(Timestamp(ts));
        assert!(manager.blocking_lock(&key, &read(10)).is_none());
        assert!(manager.blocking_lock(&key, &read(11)).is_some());
        assert!(manager.blocking_lock(&key, &read(u64::MAX)).is_some());
        let all = EngineRange { start: Bytes::new(), end: Bytes::new() };
        assert!(manager.blocking_lock_in(&all, &read(11)).is_some());
        drop(guard);
        assert!(manager.is_empty() && manager.blocking_lock(&key, &read(11)).is_none());
        let refused = manager.lock_keys(vec![(key.clone(), lock(5, false))], Timestamp(6), Timestamp(10));
        assert!(refused.is_err() && manager.is_empty());
        let one_phase = manager.lock_keys(vec![(key.clone(), lock(5, true))], Timestamp(6), Timestamp(11));
        assert!(one_phase.is_ok() && manager.blocking_lock(&key, &read(u64::MAX)).is_none());
        assert!(manager.blocking_lock(&key, &read(11)).is_some());
    }
}
