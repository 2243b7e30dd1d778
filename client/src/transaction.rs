//! A transaction as the SQL layer holds it: a snapshot, a buffer of writes, and the locks it took.
//!
//! ```text
//!   begin ─▶ start_ts            get = buffer, else snapshot        commit ─▶ two_phase
//!            no store is asked   put, insert, delete = buffer only
//!                                lock_keys (pessimistic) ─▶ locks in the stores, kept alive by a heartbeat
//! ```
//!
//! *Optimistic*: conflicts show at commit. `lock_keys` only marks keys, which then conflict like writes.
//!
//! *Pessimistic*: a statement locks the keys it is going to write, at a `for_update_ts` of its own, and reads at it. Answers
//! to [`Transaction::lock_keys`]: `WriteConflict` – somebody committed after `for_update_ts`: take a new one, read again;
//! `Deadlock` – roll the transaction back; `LockTimeout`, `LockNotAvailable` – the statement fails, the transaction goes on.
//! Locks outlive the rollback of a statement, as in MySQL.
//!
//! A transaction that is dropped without commit or rollback gives up its locks in the background.

use crate::buffer::{Buffer, Entry, Savepoint};
use crate::cluster::Cluster;
use crate::config::TXN_BYTES_MAX;
use crate::error::{Error, Result};
use crate::heartbeat::Heartbeat;
use crate::owners::Owned;
use crate::pessimistic::HeldLock;
use crate::read_set::ReadSet;
use crate::snapshot::{ScanOptions, Scanner, Snapshot};
use crate::two_phase;
use basalt_common::env::Monotonic;
use basalt_common::memory::Account;
use basalt_common::{KeyRange, Timestamp};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// When conflicts are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TxnMode {
    /// At commit.
    #[default]
    Optimistic,
    /// When a statement locks what it writes.
    Pessimistic,
}

/// How a transaction is to run.
#[derive(Debug, Clone, Copy)]
pub struct TxnOptions {
    /// When conflicts are found.
    pub mode: TxnMode,
    /// Read at this timestamp instead of a fresh one.
    pub start_ts: Option<Timestamp>,
    /// The transaction is one statement that began after `start_ts` was drawn. Its commit needs no timestamp of its own
    /// to come after everything that had ended before it began.
    pub autocommit: bool,
    /// The commit must not be later; zero = no bound.
    pub max_commit_ts: Timestamp,
    /// Commit in one phase when one region holds all keys.
    pub one_pc: bool,
    /// Answer a commit when everything is prewritten.
    pub async_commit: bool,
    /// A commit that meets another transaction's lock waits for its end, and holds what it has prewritten meanwhile.
    /// Otherwise it fails with [`Error::WouldWait`].
    pub waits_at_commit: bool,
    /// All that is read is as of the commit, too, or the commit fails with [`Error::ReadChanged`]: see [`crate::read_set`].
    pub records_reads: bool,
    /// Bytes of keys and values that it may write; the bound on the number of keys goes with it.
    pub bytes_max: usize,
}

impl Default for TxnOptions {
    fn default() -> Self {
        TxnOptions {
            mode: TxnMode::Optimistic,
            start_ts: None,
            autocommit: false,
            max_commit_ts: Timestamp::ZERO,
            one_pc: true,
            async_commit: true,
            waits_at_commit: true,
            records_reads: false,
            bytes_max: TXN_BYTES_MAX,
        }
    }
}

/// A transaction under way.
pub struct Transaction {
    pub(crate) cluster: Cluster,
    pub(crate) options: TxnOptions,
    pub(crate) start_ts: Timestamp,
    pub(crate) started: Monotonic,
    snapshot: Snapshot,
    /// What was read, when that must be as of the commit.
    pub(crate) reads: Option<Arc<ReadSet>>,
    pub(crate) buffer: Buffer,
    /// Pessimistic locks in the stores.
    pub(crate) held: BTreeMap<Bytes, HeldLock>,
    /// The newest commit of any key when it was locked.
    pub(crate) newest_commit: Timestamp,
    /// Keys of a lock request under way: when it is dropped, it may still be served.
    pub(crate) asked: Vec<Bytes>,
    /// Optimistic: keys to conflict on without writing them.
    pub(crate) marked: BTreeSet<Bytes>,
    /// The key whose lock decides; chosen with the first pessimistic lock.
    pub(crate) primary: Option<Bytes>,
    /// The largest one used.
    pub(crate) for_update_ts: Timestamp,
    /// PD has given it, and no commit only.
    pub(crate) for_update_ts_is_given: bool,
    pub(crate) heartbeat: Option<Heartbeat>,
    /// From before the first lock is asked for.
    pub(crate) owned: Option<Owned>,
    finished: bool,
}

impl Transaction {
    pub(crate) fn new(cluster: Cluster, start_ts: Timestamp, options: TxnOptions) -> Transaction {
        let reads: Option<Arc<ReadSet>> = options.records_reads.then(Arc::default);
        Transaction {
            snapshot: cluster.snapshot(start_ts).recording(reads.clone()),
            reads,
            started: cluster.env.now(),
            cluster,
            start_ts,
            buffer: Buffer::new(options.bytes_max),
            options,
            held: BTreeMap::new(),
            newest_commit: Timestamp::ZERO,
            asked: Vec::new(),
            marked: BTreeSet::new(),
            primary: None,
            for_update_ts: start_ts,
            for_update_ts_is_given: true,
            heartbeat: None,
            owned: None,
            finished: false,
        }
    }

    /// Counts in `account` what the transaction has written and how to undo it.
    pub fn count_in(&mut self, account: Account) {
        self.buffer.count_in(account);
    }

    /// What the transaction reads at.
    pub fn start_ts(&self) -> Timestamp {
        self.start_ts
    }

    /// When conflicts are found.
    pub fn mode(&self) -> TxnMode {
        self.options.mode
    }

    /// The data as of `start_ts`, without this transaction's own writes.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The data as of another timestamp, without own writes.
    pub fn snapshot_at(&self, ts: Timestamp) -> Snapshot {
        self.cluster.snapshot(ts).recording(self.reads.clone())
    }

    /// What was read so far, when that must be as of the commit.
    pub fn reads(&self) -> Option<&Arc<ReadSet>> {
        self.reads.as_ref()
    }

    /// Bounds the commit timestamp, as [`TxnOptions::max_commit_ts`].
    pub fn set_max_commit_ts(&mut self, bound: Timestamp) {
        self.options.max_commit_ts = bound;
    }

    /// Reads a key: own writes first, then the snapshot.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>>> {
        Box::pin(async move {
            match self.buffer.get(key) {
                Some(entry) => Ok(entry.value.clone()),
                None => self.snapshot.get(key).await,
            }
        })
    }

    /// Reads many keys: own writes first, then the snapshot. Returns the pairs that are there, in no order.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn batch_get(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>>> {
        Box::pin(async move {
            let mut own = Vec::new();
            let mut left = Vec::with_capacity(keys.len());
            for key in keys {
                match self.buffer.get(&key) {
                    Some(Entry { value: Some(value), .. }) => own.push((key, value.clone())),
                    Some(_) => {}
                    None => left.push(key),
                }
            }
            if !left.is_empty() {
                own.extend(self.snapshot.batch_get(left).await?);
            }
            Ok(own)
        })
    }

    /// Reads a range, own writes merged in as they are now.
    pub fn scan(&self, range: KeyRange, options: ScanOptions) -> UnionScanner {
        self.scan_over(&self.snapshot, range, options)
    }

    /// As [`Transaction::scan`], over another snapshot: a pessimistic statement's.
    pub fn scan_over(&self, snapshot: &Snapshot, range: KeyRange, options: ScanOptions) -> UnionScanner {
        let own = self.buffer.range(&range).map(|(k, e)| (k.clone(), e.value.clone()));
        let own: VecDeque<_> = match options.reverse {
            false => own.collect(),
            true => own.rev().collect(),
        };
        // Own deletions eat into a limit.
        let limit = match (options.limit, own.len()) {
            (0, _) => 0,
            (limit, own) => limit + own,
        };
        let wanted = if options.limit == 0 { usize::MAX } else { options.limit };
        let scanner = snapshot.scan(range, ScanOptions { limit, ..options });
        UnionScanner { scanner, own, peeked: None, reverse: options.reverse, wanted }
    }

    /// Own writes in a range, in key order: `None` is a deletion.
    pub fn dirty(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&Bytes, Option<&Bytes>)> {
        self.buffer.range(range).map(|(k, e)| (k, e.value.as_ref()))
    }

    /// The own write of a key, if there is one: `Some(None)` is a deletion.
    pub fn dirty_value(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.buffer.get(key).map(|e| e.value.as_ref())
    }

    /// True if nothing was written.
    pub fn is_clean(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Writes a key, whether it is there or not.
    ///
    /// # Errors
    /// [`Error::TxnTooLarge`], [`Error::EntryTooLarge`].
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<()> {
        self.buffer.put(key.into(), value.into())
    }

    /// Writes a key that must be new: known at once for own writes, at commit (or when it is locked) for others.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for an own write; [`Error::TxnTooLarge`], [`Error::EntryTooLarge`].
    pub fn insert(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<()> {
        self.buffer.insert(key.into(), value.into())
    }

    /// Deletes a key, whether it is there or not.
    ///
    /// # Errors
    /// [`Error::TxnTooLarge`], [`Error::EntryTooLarge`].
    pub fn delete(&mut self, key: impl Into<Bytes>) -> Result<()> {
        self.buffer.delete(key.into())
    }

    /// A position to return to: before every statement, and for `SAVEPOINT`.
    pub fn savepoint(&self) -> Savepoint {
        self.buffer.savepoint()
    }

    /// Undoes the writes since a savepoint. Locks stay.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        self.buffer.rollback_to(savepoint);
    }

    /// Gives up every savepoint, and the memory that undoing takes.
    pub fn release_savepoints(&mut self) {
        self.buffer.release_savepoints();
    }

    /// Commits, and returns the commit timestamp; `start_ts` when there was nothing to commit. The transaction is over,
    /// whatever the outcome.
    ///
    /// # Errors
    /// [`Error::WriteConflict`], [`Error::AlreadyExists`], [`Error::ReadChanged`], [`Error::Aborted`] and others: rolled back.
    /// [`Error::Undetermined`]: not known.
    pub fn commit(&mut self) -> BoxFuture<'_, Result<Timestamp>> {
        Box::pin(async move {
            if self.finished {
                return Err(Error::Invalid("the transaction is over".into()));
            }
            self.finished = true;
            self.settle_asked().await;
            let result = two_phase::commit(self).await;
            self.heartbeat = None;
            result
        })
    }

    /// Gives up writes and locks.
    pub fn rollback(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if !std::mem::replace(&mut self.finished, true) {
                self.heartbeat = None;
                self.settle_asked().await;
                self.release_locks().await;
            }
        })
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let has_locks = !self.held.is_empty() || !self.asked.is_empty();
        if has_locks && !self.finished {
            let (cluster, start_ts, for_update_ts) = (self.cluster.clone(), self.start_ts, self.for_update_ts);
            let keys = std::mem::take(&mut self.held).into_keys().collect();
            let asked = std::mem::take(&mut self.asked);
            self.cluster.background.try_run(async move {
                cluster.pessimistic_rollback(start_ts, for_update_ts, keys).await;
                if !asked.is_empty() {
                    let up_to = cluster.timestamp().await.unwrap_or(for_update_ts);
                    cluster.take_back_dropped(start_ts, up_to, asked).await;
                }
            });
        }
    }
}

/// A range of a transaction being read: the snapshot with own writes merged in.
pub struct UnionScanner {
    scanner: Scanner,
    own: VecDeque<(Bytes, Option<Bytes>)>,
    peeked: Option<(Bytes, Bytes)>,
    reverse: bool,
    wanted: usize,
}

impl UnionScanner {
    /// The next pair in the scan's direction.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        while self.wanted > 0 {
            if self.peeked.is_none() {
                self.peeked = self.scanner.next().await?;
            }
            let Some((own_key, _)) = self.own.front() else {
                self.wanted -= 1;
                return Ok(self.peeked.take());
            };
            let own_first = match &self.peeked {
                None => true,
                Some((stored, _)) if own_key == stored => {
                    self.peeked = None;
                    true
                }
                Some((stored, _)) => (own_key < stored) != self.reverse,
            };
            if !own_first {
                self.wanted -= 1;
                return Ok(self.peeked.take());
            }
            if let Some((key, Some(value))) = self.own.pop_front() {
                self.wanted -= 1;
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }
}
