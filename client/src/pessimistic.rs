//! Taking pessimistic locks, and giving them back.
//!
//! One call locks the keys of one statement. Keys are grouped by region; the group of the primary goes first, since the
//! other locks point to it, then the others side by side. All or nothing: when a key cannot be had, what the call locked
//! is given back before the error is returned. A store rolls back only locks up to the given `for_update_ts`, so a
//! request that arrives late takes nothing away from a later statement.
//!
//! A key that changed after `for_update_ts` is locked all the same, and its newest commit raises `for_update_ts`. Whoever
//! asked for the values has the newest ones. Everybody else has read something older: the call fails with
//! [`Error::WriteConflict`], the locks stay, and the statement that runs again finds nothing changed.
//!
//! Stores put commits above every timestamp that they have met, and whoever begins after a commit is to see it: so no store
//! may meet a timestamp that PD has not given. A commit's own may be the one after the newest given; where it raised
//! `for_update_ts`, PD is asked for one that is not below it before anything is read, locked or committed at it.
//!
//! Locks of a call with [`LockRequest::is_shared`] stand beside each other. A later call without it has them made exclusive.
//!
//! The store waits for a lock, in slices; between them the owner is looked up at its primary, so that the lock of a client
//! that died is noticed. The place in the queue is as old as the wait. `NOWAIT` asks for no wait. For `SKIP LOCKED`
//! [`Transaction::lock_available`] goes through keys in the order of the rows, as many of one region in a request as follow
//! each other, until it has enough.

use crate::backoff::Cause;
use crate::cluster::Cluster;
use crate::config::{
    BATCH_KEYS_MAX, CLEANUP_BUDGET, LOCK_WAIT_DEFAULT, LOCK_WAIT_SLICE, LOCKS_DOUBTED_BEFORE, PESSIMISTIC_LOCK_TTL,
    REGION_CONCURRENCY, REQUEST_BUDGET,
};
use crate::error::{Error, Result};
use crate::heartbeat::{self, Beating, Heartbeat, Seen};
use crate::owners::Owned;
use crate::region_cache::CachedRegion;
use crate::retry::{Retry, wrong_answer};
use crate::transaction::{Transaction, TxnMode};
use basalt_common::Timestamp;
use basalt_common::env::Monotonic;
use basalt_common::mutant::mutant;
use basalt_proto::errors::{KeyError, LockInfo, key_error};
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for a lock that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LockWait {
    /// [`LOCK_WAIT_DEFAULT`].
    #[default]
    Default,
    /// So long.
    AtMost(Duration),
    /// Not at all: [`Error::LockNotAvailable`].
    NoWait,
}

/// What a statement wants locked.
#[derive(Debug, Clone, Default)]
pub struct LockRequest {
    /// The keys, and whether each must not exist.
    pub keys: Vec<(Bytes, bool)>,
    /// Commits after it are conflicts; zero = the newest one that this transaction used.
    pub for_update_ts: Timestamp,
    /// How long to wait.
    pub wait: LockWait,
    /// Bring the newest values of the keys.
    pub return_values: bool,
    /// Others may share the locks: the keys are read, not changed.
    pub is_shared: bool,
}

/// What was locked.
#[derive(Debug, Clone, Default)]
pub struct LockedKeys {
    /// The newest committed values, if asked for; `None` for a key that does not exist.
    pub values: BTreeMap<Bytes, Option<Bytes>>,
}

/// A key that [`Transaction::lock_available`] brings.
#[derive(Debug, Clone)]
pub struct AvailableKey {
    /// The key.
    pub key: Bytes,
    /// Its newest committed value; `None` when it does not exist.
    pub value: Option<Bytes>,
    /// An earlier call locked it.
    pub was_held: bool,
    /// Its newest commit, when that is after the `for_update_ts` that the call began with.
    pub newer_commit: Option<Timestamp>,
}

/// A pessimistic lock that this transaction holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldLock {
    /// The store found the key absent when it locked it.
    pub(crate) known_absent: bool,
    /// Others may share it.
    pub(crate) is_shared: bool,
    /// Nobody has changed the key since.
    pub(crate) unchanged_since: Timestamp,
}

/// One call's unchanging part.
struct Locking<'a> {
    cluster: &'a Cluster,
    primary: Bytes,
    start_ts: Timestamp,
    started: Monotonic,
    for_update_ts: Timestamp,
    is_shared: bool,
    /// Keys whose locks the transaction shares, and wants for itself.
    upgraded: BTreeSet<Bytes>,
    return_values: bool,
    is_first: bool,
    /// Keys that the transaction has locked or written.
    txn_keys: u64,
    /// When the call began, and when it gives up; none: no waiting.
    asked: Monotonic,
    deadline: Option<Monotonic>,
}

/// A key, and whether it must not exist.
type Wanted = (Bytes, bool);

/// A key that was locked.
struct Locked {
    key: Bytes,
    must_be_new: bool,
    /// Its newest value, if asked for.
    value: Option<Bytes>,
    /// Its newest commit, when that is after `for_update_ts`.
    newer_commit: Option<Timestamp>,
    /// Nothing was committed later.
    newest_commit: Timestamp,
}

impl Transaction {
    /// Locks keys until the end of the transaction. Keys that it holds already are not asked for again.
    ///
    /// # Errors
    /// See the module's head: [`Error::Deadlock`], [`Error::LockTimeout`], [`Error::LockNotAvailable`],
    /// [`Error::AlreadyExists`]: nothing of this call stays locked. [`Error::WriteConflict`]: everything is locked.
    pub fn lock_keys(&mut self, request: LockRequest) -> BoxFuture<'_, Result<LockedKeys>> {
        Box::pin(async move {
            let size = self.held.len() + self.marked.len() + request.keys.len();
            if size > self.buffer.keys_max() {
                return Err(Error::TxnTooLarge { size, unit: "keys", limit: self.buffer.keys_max() });
            }
            if self.options.mode == TxnMode::Optimistic {
                self.marked.extend(request.keys.into_iter().map(|(key, _)| key));
                return Ok(LockedKeys::default());
            }
            self.settle_asked().await;
            self.for_update_ts = self.for_update_ts.max(request.for_update_ts);
            self.settle_for_update_ts().await?;
            let mut locked = LockedKeys::default();
            let mut fresh: BTreeMap<Bytes, bool> = BTreeMap::new();
            for (key, must_be_new) in request.keys {
                match self.holds_for(&key, request.is_shared) {
                    true => self.read_held(key, must_be_new, request.return_values, &mut locked).await?,
                    false => *fresh.entry(key).or_default() |= must_be_new,
                }
            }
            let Some(first) = fresh.keys().next() else { return Ok(locked) };
            let primary = self.primary.clone().unwrap_or_else(|| first.clone());
            let deadline = match request.wait {
                LockWait::Default => Some(LOCK_WAIT_DEFAULT),
                LockWait::AtMost(wait) => Some(wait),
                LockWait::NoWait => None,
            };
            let wanted: Vec<Wanted> = fresh.into_iter().collect();
            self.own();
            self.asked = self.not_held(wanted.iter().map(|(key, _)| key));
            let upgraded = self.upgraded(wanted.iter().map(|(key, _)| key));
            let (is_shared, return_values) = (request.is_shared, request.return_values);
            let locking = self.locking(primary.clone(), upgraded, is_shared, return_values, deadline);
            let outcome = locking.lock_all(wanted.clone()).await;
            self.asked.clear();
            match outcome {
                Ok(got) => {
                    let conflict = match request.return_values {
                        true => None,
                        // Of a key that must be new nothing was read.
                        false => got.iter().find(|got| got.newer_commit.is_some() && !got.must_be_new),
                    };
                    let conflict = conflict.and_then(|got| Some((got.key.clone(), got.newer_commit?)));
                    for got in got {
                        let (key, value) = self.hold(got, request.return_values, request.is_shared);
                        if request.return_values {
                            locked.values.insert(key, value);
                        }
                    }
                    self.note_primary(primary);
                    match conflict {
                        None => self.settle_for_update_ts().await.map(|()| locked),
                        Some((key, conflict_commit_ts)) => {
                            Err(Error::WriteConflict { key, start_ts: self.start_ts, conflict_commit_ts })
                        }
                    }
                }
                Err(e) => {
                    if let (Error::AlreadyExists { key }, Some(reads)) = (&e, &self.reads) {
                        // That it is there was seen, and nothing keeps it there.
                        reads.note_key(key, self.for_update_ts);
                    }
                    self.give_back(wanted.into_iter().map(|(key, _)| key).collect()).await;
                    Err(e)
                }
            }
        })
    }

    /// Before a request for locks: this process is their owner, whoever asks.
    fn own(&mut self) {
        self.owned.get_or_insert_with(|| Owned::new(&self.cluster, self.start_ts));
    }

    /// Whether the lock that is held on a key is enough: for a change a shared one is not.
    fn holds_for(&self, key: &[u8], is_shared: bool) -> bool {
        self.held.get(key).is_some_and(|held| is_shared || !held.is_shared)
    }

    /// Those of some keys that earlier calls have not locked. What is given back are these alone: a shared lock outlives a
    /// request for more.
    fn not_held<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) -> Vec<Bytes> {
        keys.filter(|key| !self.held.contains_key(*key)).cloned().collect()
    }

    /// Those of some keys that earlier calls have locked, and do not hold for what is wanted now.
    fn upgraded<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) -> BTreeSet<Bytes> {
        keys.filter(|key| self.held.contains_key(*key)).cloned().collect()
    }

    /// After a lock request was dropped before its answer: gives back what it got, or is about to get. Called by itself before
    /// the next request and at the end.
    pub async fn settle_asked(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let asked = std::mem::take(&mut self.asked);
        let up_to = self.refresh_for_update_ts().await.unwrap_or(self.for_update_ts);
        // Locks that are asked for from now on are newer than what is taken back.
        self.for_update_ts = up_to.next();
        self.for_update_ts_is_given = false;
        let (cluster, start_ts) = (self.cluster.clone(), self.start_ts);
        self.cluster.pessimistic_rollback(start_ts, up_to, asked.clone()).await;
        self.cluster.background.try_run(async move {
            tokio::time::sleep(LOCK_WAIT_SLICE).await;
            cluster.pessimistic_rollback(start_ts, up_to, asked).await;
        });
    }

    /// Gives back what a call that failed may have locked.
    async fn give_back(&mut self, keys: Vec<Bytes>) {
        // Locks of keys that had changed are newer than what was asked for.
        let up_to = self.refresh_for_update_ts().await.unwrap_or(self.for_update_ts);
        self.cluster.pessimistic_rollback(self.start_ts, up_to, self.not_held(keys.iter())).await;
    }

    /// Locks keys that no other transaction holds, from the front of `keys` on until there are `most`, and takes them and
    /// those it passes out of `keys`; brings them with their newest values. Keys that this transaction holds already count.
    /// With `is_shared` others may hold the locks, too.
    ///
    /// # Errors
    /// As [`Transaction::lock_keys`], but for those about waiting. [`Error::Invalid`] in an optimistic transaction.
    pub fn lock_available<'a>(
        &'a mut self,
        keys: &'a mut VecDeque<Bytes>,
        most: usize,
        is_shared: bool,
    ) -> BoxFuture<'a, Result<Vec<AvailableKey>>> {
        Box::pin(async move {
            if self.options.mode == TxnMode::Optimistic {
                return Err(Error::Invalid("an optimistic transaction does not know what others lock".into()));
            }
            self.settle_asked().await;
            self.settle_for_update_ts().await?;
            let mut locked = Vec::new();
            while locked.len() < most
                && let Some(key) = keys.front().cloned()
            {
                if self.holds_for(&key, is_shared) {
                    let mut own = LockedKeys::default();
                    self.read_held(key.clone(), false, true, &mut own).await?;
                    keys.pop_front();
                    let value = own.values.remove(&key).flatten();
                    locked.push(AvailableKey { key, value, was_held: true, newer_commit: None });
                } else if let Err(e) = self.lock_next(keys, most - locked.len(), is_shared, &mut locked).await {
                    self.give_back(keys.drain(..).collect()).await;
                    return Err(e);
                }
                self.settle_for_update_ts().await?;
            }
            Ok(locked)
        })
    }

    /// One request for keys at the front of `left` that lie in one region.
    async fn lock_next(
        &mut self,
        left: &mut VecDeque<Bytes>,
        most: usize,
        is_shared: bool,
        locked: &mut Vec<AvailableKey>,
    ) -> Result<()> {
        let size = self.held.len() + self.marked.len() + most.min(left.len());
        if size > self.buffer.keys_max() {
            return Err(Error::TxnTooLarge { size, unit: "keys", limit: self.buffer.keys_max() });
        }
        let Some(first) = left.front().cloned() else { return Ok(()) };
        let mut retry = Retry::new(&self.cluster.env, REQUEST_BUDGET);
        let route = self.cluster.locate(&first, &mut retry).await?;
        let is_next = |key: &&Bytes| route.region.contains(key) && !self.holds_for(key, is_shared);
        let batch: Vec<Bytes> = left.iter().take(BATCH_KEYS_MAX).take_while(is_next).cloned().collect();
        self.own();
        self.asked = self.not_held(batch.iter());
        let (primary, upgraded) = (self.primary.clone().unwrap_or_default(), self.upgraded(batch.iter()));
        let locking = self.locking(primary, upgraded, is_shared, true, None);
        let outcome = locking.lock_some(&route, &batch, most, &mut retry).await;
        self.asked.clear();
        let tried = match outcome? {
            Some(tried) => tried,
            // The next request may find others free: what a lost one has locked is not what it will bring.
            None if retry.maybe_executed => {
                self.give_back(batch).await;
                return Ok(());
            }
            None => return Ok(()),
        };
        let first_locked = tried.iter().zip(&batch).find(|(found, _)| found.is_some()).map(|(_, key)| key.clone());
        left.drain(..tried.len().min(left.len()));
        for got in tried.into_iter().flatten() {
            let newer_commit = got.newer_commit;
            let was_held = self.held.contains_key(&got.key);
            let (key, value) = self.hold(got, true, is_shared);
            locked.push(AvailableKey { key, value, was_held, newer_commit });
        }
        if let Some(key) = first_locked {
            self.note_primary(key);
        }
        Ok(())
    }

    /// Gives locks back of keys that turned out not to be wanted. The primary stays, while others point to it.
    pub async fn unlock(&mut self, keys: Vec<Bytes>) {
        let primary = self.primary.clone();
        let given_back: Vec<Bytes> =
            keys.into_iter().filter(|key| primary.as_ref() != Some(key) && self.held.remove(key).is_some()).collect();
        if !given_back.is_empty() {
            self.cluster.pessimistic_rollback(self.start_ts, self.for_update_ts, given_back).await;
        }
    }

    fn locking(
        &self,
        primary: Bytes,
        upgraded: BTreeSet<Bytes>,
        is_shared: bool,
        return_values: bool,
        patience: Option<Duration>,
    ) -> Locking<'_> {
        let now = self.cluster.env.now();
        Locking {
            cluster: &self.cluster,
            primary,
            start_ts: self.start_ts,
            started: self.started,
            for_update_ts: self.for_update_ts,
            is_shared,
            upgraded,
            return_values,
            is_first: self.held.is_empty(),
            txn_keys: self.held.len().max(self.buffer.len()) as u64,
            asked: now,
            deadline: patience.map(|patience| now.after(patience)),
        }
    }

    /// Notes a lock that was had; the key, with its value.
    fn hold(&mut self, got: Locked, has_value: bool, is_shared: bool) -> (Bytes, Option<Bytes>) {
        if let Some(commit) = got.newer_commit.filter(|commit| *commit > self.for_update_ts) {
            (self.for_update_ts, self.for_update_ts_is_given) = (commit, false);
        }
        let known_absent = got.must_be_new || has_value && got.value.is_none();
        self.newest_commit = self.newest_commit.max(got.newest_commit);
        // A shared lock has kept others from changing it before.
        let since = self.held.get(&got.key).map_or(got.newest_commit, |held| held.unchanged_since);
        self.held.insert(got.key.clone(), HeldLock { known_absent, is_shared, unchanged_since: since });
        (got.key, got.value)
    }

    /// Draws a new `for_update_ts`, after a conflict and at the start of a statement that reads what is newest.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn refresh_for_update_ts(&mut self) -> BoxFuture<'_, Result<Timestamp>> {
        Box::pin(async move {
            self.for_update_ts = self.cluster.timestamp().await?.max(self.for_update_ts);
            self.for_update_ts_is_given = true;
            Ok(self.for_update_ts)
        })
    }

    /// Before `for_update_ts` is used: see the module.
    async fn settle_for_update_ts(&mut self) -> Result<()> {
        if !self.for_update_ts_is_given && !mutant("M34") {
            self.refresh_for_update_ts().await?;
        }
        Ok(())
    }

    /// The largest `for_update_ts` used; `start_ts` at first.
    pub fn for_update_ts(&self) -> Timestamp {
        self.for_update_ts
    }

    /// True if the transaction holds a pessimistic lock on the key.
    pub fn holds_lock(&self, key: &[u8]) -> bool {
        self.held.contains_key(key)
    }

    /// Whether others may have changed the key after `ts`, before the transaction locked it; `None` when it has not.
    pub fn may_have_changed_since(&self, key: &[u8], ts: Timestamp) -> Option<bool> {
        self.held.get(key).map(|held| held.unchanged_since > ts)
    }

    /// No key had a later commit when it was locked.
    pub fn newest_commit(&self) -> Timestamp {
        self.newest_commit
    }

    /// True if the transaction holds pessimistic locks.
    pub fn has_locks(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives back every pessimistic lock.
    pub(crate) async fn release_locks(&mut self) {
        let keys: Vec<Bytes> = std::mem::take(&mut self.held).into_keys().collect();
        if !keys.is_empty() {
            self.cluster.pessimistic_rollback(self.start_ts, self.for_update_ts, keys).await;
        }
    }

    /// A key locked by an earlier statement: nobody else can have changed it since.
    async fn read_held(&mut self, key: Bytes, must_be_new: bool, wanted: bool, locked: &mut LockedKeys) -> Result<()> {
        let held = *self.held.get(&key).ok_or_else(|| Error::Invalid("no lock".into()))?;
        if !wanted && (!must_be_new || held.known_absent) {
            return Ok(());
        }
        let value = self.cluster.snapshot(self.for_update_ts).get(&key).await?;
        if must_be_new && value.is_some() && self.buffer.get(&key).is_none() {
            return Err(Error::AlreadyExists { key });
        }
        self.held.insert(key.clone(), HeldLock { known_absent: value.is_none(), ..held });
        if wanted {
            locked.values.insert(key, value);
        }
        Ok(())
    }

    /// With the first lock the primary is chosen, and kept alive.
    fn note_primary(&mut self, primary: Bytes) {
        if self.primary.is_none() && self.held.contains_key(&primary) {
            self.heartbeat = Some(Heartbeat::start(&self.cluster, self.beating(primary.clone())));
            self.primary = Some(primary);
        }
    }

    /// Before anybody is told what was read under the transaction's locks: whether it still has them. Asks the primary only when
    /// others may have taken this process or the locks for dead, because it stood still or could reach nobody.
    ///
    /// # Errors
    /// [`Error::Aborted`] when they were taken from it; what the cluster returns.
    pub async fn confirm_locks(&self) -> Result<()> {
        let (Some(primary), false) = (&self.primary, self.held.is_empty()) else { return Ok(()) };
        let seen = self.heartbeat.as_ref().map(Heartbeat::seen);
        let is_in_time = |seen: &Seen| self.cluster.env.now().after(LOCKS_DOUBTED_BEFORE) < seen.until();
        if seen.is_some_and(|seen| is_in_time(seen) && self.cluster.is_believed_alive_since(seen.at())) {
            return Ok(());
        }
        heartbeat::confirm(&self.cluster, &self.beating(primary.clone()), seen).await
    }

    /// How the transaction's pessimistic locks are kept alive.
    pub(crate) fn beating(&self, primary: Bytes) -> Beating {
        Beating { primary, start_ts: self.start_ts, started: self.started, ttl: PESSIMISTIC_LOCK_TTL }
    }
}

impl Locking<'_> {
    /// Locks all keys or fails.
    async fn lock_all(&self, mut wanted: Vec<Wanted>) -> Result<Vec<Locked>> {
        let mut retry = self.retry();
        let mut locked = Vec::new();
        // The primary's lock must be there before others point to it.
        if let Some(at) = wanted.iter().position(|(key, _)| *key == self.primary) {
            let route = self.cluster.locate(&self.primary, &mut retry).await?;
            wanted.swap(0, at);
            let (mut with_primary, others): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|(key, _)| route.region.contains(key));
            let rest = with_primary.split_off(with_primary.len().min(BATCH_KEYS_MAX));
            wanted = others.into_iter().chain(rest).collect();
            locked.extend(self.lock_batch(route, with_primary, &mut retry).await?);
        }
        if wanted.is_empty() {
            return Ok(locked);
        }
        let groups = self.cluster.group_by_region(wanted, |(key, _)| key, &mut retry).await?;
        let mut calls = Vec::new();
        for (route, keys) in groups {
            for batch in keys.chunks(BATCH_KEYS_MAX) {
                let (route, keys, mut retry) = (route.clone(), batch.to_vec(), retry.fork());
                calls.push(async move { self.lock_batch(route, keys, &mut retry).await });
            }
        }
        // The first failure ends the call, as a deadlock must be told at once; a lock that another request still gets
        // within its slice of waiting ends with the transaction.
        let all: Vec<Vec<Locked>> = stream::iter(calls).buffer_unordered(REGION_CONCURRENCY).try_collect().await?;
        locked.extend(all.into_iter().flatten());
        Ok(locked)
    }

    /// One request for keys of one region, of which those are left out that others hold: what was tried, from the first
    /// key on. `None` when the region has moved.
    async fn lock_some(
        &self,
        route: &CachedRegion,
        keys: &[Bytes],
        most: usize,
        retry: &mut Retry,
    ) -> Result<Option<Vec<Option<Locked>>>> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let mut wanted: Vec<Wanted> = keys.iter().map(|key| (key.clone(), false)).collect();
        loop {
            let request = |context| self.request(context, &wanted, Some(most));
            let answer = match self.cluster.attempt(route, retry, request).await? {
                Some(kv_response::Cmd::PessimisticLock(answer)) => answer,
                Some(_) => return Err(wrong_answer()),
                None => return Ok(None),
            };
            let Some(error) = answer.errors.into_iter().next() else {
                if answer.values.len() > wanted.len() || answer.values.is_empty() {
                    return Err(wrong_answer());
                }
                let found = wanted.into_iter().zip(answer.values);
                return Ok(Some(found.map(|(wanted, v)| (!v.skipped).then(|| self.locked(wanted, v))).collect()));
            };
            match self.on_key_error(error, retry).await {
                Ok(()) => {}
                // A holder that is committing: the keys before it by themselves, or it is the first one.
                Err(Error::LockNotAvailable { key }) => match wanted.iter().position(|(wanted, _)| *wanted == key) {
                    Some(0) => return Ok(Some(vec![None])),
                    Some(at) => wanted.truncate(at),
                    None => return Err(wrong_answer()),
                },
                Err(e) => return Err(e),
            }
        }
    }

    fn locked(&self, (key, must_be_new): Wanted, found: kv::LockedValue) -> Locked {
        let newest_commit = Timestamp(found.newest_commit_ts);
        Locked {
            key,
            must_be_new,
            value: found.exists.then_some(found.value),
            newer_commit: (newest_commit > self.for_update_ts).then_some(newest_commit),
            newest_commit,
        }
    }

    fn retry(&self) -> Retry {
        let wait = self.deadline.map_or(Duration::ZERO, |d| d.since(self.cluster.env.now()));
        Retry::new(&self.cluster.env, wait + REQUEST_BUDGET)
    }

    /// Locks keys of one region (or what has become of it).
    async fn lock_batch(&self, route: Arc<CachedRegion>, keys: Vec<Wanted>, retry: &mut Retry) -> Result<Vec<Locked>> {
        let mut got = Vec::with_capacity(keys.len());
        let mut work = vec![(route, keys)];
        while let Some((route, keys)) = work.pop() {
            let answer = match self.cluster.attempt(&route, retry, |context| self.request(context, &keys, None)).await?
            {
                Some(kv_response::Cmd::PessimisticLock(answer)) => answer,
                Some(_) => return Err(wrong_answer()),
                None => {
                    work.extend(self.cluster.group_by_region(keys, |(key, _)| key, retry).await?);
                    continue;
                }
            };
            match answer.errors.into_iter().next() {
                None if answer.values.len() == keys.len() => {
                    got.extend(keys.into_iter().zip(answer.values).map(|(wanted, v)| self.locked(wanted, v)));
                }
                None => return Err(wrong_answer()),
                Some(e) => {
                    self.on_key_error(e, retry).await?;
                    work.push((route, keys));
                }
            }
        }
        Ok(got)
    }

    /// Ok: come again.
    async fn on_key_error(&self, error: KeyError, retry: &mut Retry) -> Result<()> {
        let (lock, store_waited) = match error.kind {
            Some(key_error::Kind::Locked(lock)) => (lock, false),
            Some(key_error::Kind::LockWaitTimeout(e)) => match e.lock_info {
                Some(lock) => (lock, true),
                None => return self.check_deadline(&LockInfo::default()),
            },
            kind => return Err(Error::of_key(KeyError { kind }, self.start_ts)),
        };
        // Without waiting a lock is still had if its owner is gone.
        let resolved = self.cluster.resolve_or_report(&lock, retry).await?;
        if resolved {
            return Ok(());
        }
        self.check_deadline(&lock)?;
        if !store_waited && retry.backoff.wait(Cause::Locked).await.is_err() {
            return Err(Error::LockTimeout { key: lock.key });
        }
        Ok(())
    }

    fn check_deadline(&self, lock: &LockInfo) -> Result<()> {
        match self.deadline {
            None => Err(Error::LockNotAvailable { key: lock.key.clone() }),
            Some(deadline) if self.cluster.env.now() >= deadline => Err(Error::LockTimeout { key: lock.key.clone() }),
            Some(_) => Ok(()),
        }
    }

    fn request(&self, context: kv::Context, keys: &[Wanted], most: Option<u32>) -> kv_request::Cmd {
        let now = self.cluster.env.now();
        let wait_timeout_ms = match self.deadline {
            None => -1,
            Some(deadline) => (deadline.since(now).min(LOCK_WAIT_SLICE).as_millis() as i64).max(1),
        };
        let mutation = |(key, must_be_new): &Wanted| kv::Mutation {
            op: kv::Op::Lock as i32,
            key: key.clone(),
            assertion: if *must_be_new { kv::Assertion::NotExist } else { kv::Assertion::None } as i32,
            is_pessimistic_lock: self.upgraded.contains(key),
            ..kv::Mutation::default()
        };
        let age = now.since(self.started);
        kv_request::Cmd::PessimisticLock(kv::PessimisticLockRequest {
            context: Some(context),
            mutations: keys.iter().map(mutation).collect(),
            primary: self.primary.clone(),
            start_ts: self.start_ts.0,
            lock_ttl_ms: (age + PESSIMISTIC_LOCK_TTL).as_millis() as u64,
            for_update_ts: self.for_update_ts.0,
            wait_timeout_ms,
            is_shared: self.is_shared,
            return_values: self.return_values,
            min_commit_ts: self.for_update_ts.next().0,
            is_first_lock: self.is_first,
            txn_keys: self.txn_keys,
            waited_ms: now.since(self.asked).as_millis() as u64,
            locks_max: most.unwrap_or_default(),
        })
    }
}

impl Cluster {
    /// Gives back what a request that was dropped has locked, and once more when a store cannot be at it any more.
    pub(crate) async fn take_back_dropped(&self, start_ts: Timestamp, up_to: Timestamp, keys: Vec<Bytes>) {
        self.pessimistic_rollback(start_ts, up_to, keys.clone()).await;
        tokio::time::sleep(LOCK_WAIT_SLICE).await;
        self.pessimistic_rollback(start_ts, up_to, keys).await;
    }

    /// Gives pessimistic locks back, as far as the stores can be reached in a short time; the others end with their TTL.
    pub(crate) async fn pessimistic_rollback(&self, start_ts: Timestamp, for_update_ts: Timestamp, keys: Vec<Bytes>) {
        let mut retry = Retry::new(&self.env, CLEANUP_BUDGET);
        if let Err(e) = self.try_pessimistic_rollback(start_ts, for_update_ts, keys, &mut retry).await {
            tracing::debug!(%start_ts, error = %e, "pessimistic locks not given back");
        }
    }

    async fn try_pessimistic_rollback(
        &self,
        start_ts: Timestamp,
        for_update_ts: Timestamp,
        mut left: Vec<Bytes>,
        retry: &mut Retry,
    ) -> Result<()> {
        while !left.is_empty() {
            let groups = self.group_by_region(std::mem::take(&mut left), |k| k, retry).await?;
            for (route, keys) in groups {
                let request = |context| {
                    kv_request::Cmd::PessimisticRollback(kv::PessimisticRollbackRequest {
                        context: Some(context),
                        start_ts: start_ts.0,
                        for_update_ts: for_update_ts.0,
                        keys: keys.clone(),
                    })
                };
                match self.attempt(&route, retry, request).await? {
                    Some(kv_response::Cmd::PessimisticRollback(answer)) => {
                        if let Some(e) = answer.errors.into_iter().next() {
                            return Err(Error::of_key(e, start_ts));
                        }
                    }
                    Some(_) => return Err(wrong_answer()),
                    None => left.extend(keys),
                }
            }
        }
        Ok(())
    }
}
