//! The coordinator of commits (Percolator §2.2, with one-phase commit and async commit).
//!
//! ```text
//!   mutations ─ group by region ─┬─ one batch ──▶ prewrite with try_one_pc ──▶ committed: one round, no locks
//!                                │
//!                                ├─ few keys ───▶ prewrite all, async ─▶ committed at max(min_commit_ts): answer,
//!                                │                                       then commit all in the background
//!                                └─ otherwise ──▶ prewrite all ─▶ commit_ts from PD ─▶ commit the primary: answer,
//!                                                                                      then the others in the background
//! ```
//!
//! # What decides
//!
//! | way | the moment of commit | requests whose lost answer makes the outcome unknown |
//! |---|---|---|
//! | one phase | the prewrite is applied | the prewrite |
//! | async | the last key's prewrite is applied | any prewrite, as long as *none* is known to have failed |
//! | two phases | the primary's commit is applied | the primary's commit |
//!
//! A lost answer is asked for again: every request is idempotent, and stores answer a repetition from their own commit
//! record or lock. Only when patience ends without an answer is the outcome unknown ([`Error::Undetermined`]), and only in
//! the cases of the table: one key that certainly was not prewritten is enough to know that an async commit did not happen
//! (FAULTS M14). The fall-back from async or one phase to two phases is the store's decision, seen in its answer
//! (`min_commit_ts` or `one_pc_commit_ts` = 0); from then on the primary's commit decides.
//!
//! One more danger: a prewrite whose answer was lost may still be on its way when another attempt has failed for a reason
//! that passes (a lock). Would it arrive after the caller was told "failed", an async commit could become complete. So
//! after a lost answer a failed one-phase or async commit rolls back its primary before it is reported.
//!
//! # The floor of commit timestamps
//!
//! A commit timestamp computed by stores must not lie below that of a transaction that ended before this one began to
//! commit (FAULTS M7). So a fresh timestamp is drawn as a floor; an autocommit statement drew its `start_ts` after it
//! began, and that is floor enough.
//!
//! # Primary
//!
//! The first key that leaves a lock, or for a pessimistic transaction the key locked first. Its lock names all other keys
//! of an async commit. After a failure that is certain, everything is rolled back in the background; after an unknown
//! outcome nothing is touched.

use crate::backoff::Cause;
use crate::cluster::Cluster;
use crate::config::{
    ASYNC_COMMIT_KEY_BYTES_MAX, ASYNC_COMMIT_KEYS_MAX, BATCH_BYTES_MAX, BATCH_KEYS_MAX, CLEANUP_BUDGET, COMMIT_BUDGET,
    COMMIT_LOCK_TTL, PESSIMISTIC_LOCK_TTL, PREWRITE_LOCK_WAIT_MAX, REGION_CONCURRENCY,
};
use crate::error::{Error, Result};
use crate::heartbeat::{Beating, Heartbeat};
use crate::region_cache::CachedRegion;
use crate::retry::{Retry, wrong_answer};
use crate::transaction::{Transaction, TxnMode};
use basalt_common::Timestamp;
use basalt_common::env::Monotonic;
use basalt_proto::errors::key_error;
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One commit under way; shared with the tasks that finish it.
struct Committer {
    cluster: Cluster,
    start_ts: Timestamp,
    started: Monotonic,
    /// Zero in an optimistic transaction.
    for_update_ts: Timestamp,
    max_commit_ts: Timestamp,
    primary: Bytes,
    /// In key order.
    mutations: Vec<kv::Mutation>,
    /// Keys that leave locks, without the primary.
    secondaries: Vec<Bytes>,
    min_commit_ts: Timestamp,
    ttl: Duration,
    way: Way,
    /// A prewrite failed for certain: the others need not try again.
    failed: AtomicBool,
    /// When prewrites stop waiting for others' locks.
    lock_wait_until: Monotonic,
    /// The answer of some prewrite was lost, so that it may still arrive.
    any_unknown: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    OnePhase,
    Async,
    TwoPhase,
}

type Batch = (Arc<CachedRegion>, Vec<kv::Mutation>);

/// What the prewrites came to.
#[derive(Debug, Clone, Copy)]
enum Prewritten {
    /// The transaction is committed.
    Committed(Timestamp),
    /// Everything is locked; every lock of an async commit stands, and this is their largest `min_commit_ts`.
    AsyncCommitted(Timestamp),
    /// Everything is locked; the primary's commit decides.
    Locked,
}

/// Why a batch was not prewritten.
struct Failure {
    error: Error,
    /// An attempt may have been executed all the same.
    unknown: bool,
}

/// Commits a transaction. See [`Transaction::commit`].
pub(crate) async fn commit(txn: &mut Transaction) -> Result<Timestamp> {
    let mutations = mutations_of(txn);
    if mutations.iter().all(|m| m.op() == kv::Op::Lock && m.is_pessimistic_lock) {
        // Nothing was written: locks that guarded reads are given back.
        txn.release_locks().await;
        return Ok(txn.start_ts);
    }
    let mut retry = Retry::new(&txn.cluster.env, COMMIT_BUDGET);
    let (committer, batches) = match prepare(txn, mutations, &mut retry).await {
        Ok(prepared) => prepared,
        Err(e) => {
            // Nothing was sent yet but pessimistic locks.
            txn.release_locks().await;
            return Err(e);
        }
    };
    if txn.heartbeat.is_none() && batches.len() > 1 {
        let Committer { primary, start_ts, started, ttl, .. } = &*committer;
        let beating = Beating { primary: primary.clone(), start_ts: *start_ts, started: *started, ttl: *ttl };
        txn.heartbeat = Some(Heartbeat::start(&txn.cluster, beating));
    }
    let mut result = committer.run(batches, &mut retry).await;
    if let Err(e) = &result
        && !matches!(e, Error::Undetermined(_))
        && committer.a_late_prewrite_could_commit()
    {
        result = committer.settle_by_primary(e.clone()).await;
    }
    match &result {
        Ok(_) | Err(Error::Undetermined(_)) => {}
        Err(_) => {
            let cluster = txn.cluster.clone();
            cluster.background.run(async move { committer.roll_back().await }).await;
        }
    }
    result
}

/// The transaction's writes and locks as mutations, in key order.
fn mutations_of(txn: &Transaction) -> Vec<kv::Mutation> {
    let is_pessimistic = txn.options.mode == TxnMode::Pessimistic;
    let lock_only = |key: &Bytes| kv::Mutation {
        op: kv::Op::Lock as i32,
        key: key.clone(),
        is_pessimistic_lock: txn.held.contains_key(key),
        ..kv::Mutation::default()
    };
    let mut mutations = Vec::with_capacity(txn.buffer.len() + txn.held.len() + txn.marked.len());
    for (key, entry) in txn.buffer.iter() {
        let held = txn.held.get(key);
        // A lock that was taken on the condition that the key is absent has checked it already.
        let must_check = entry.presumed_new && !held.is_some_and(|h| h.known_absent);
        let op = match (&entry.value, must_check) {
            (Some(_), true) => kv::Op::Insert,
            (Some(_), false) => kv::Op::Put,
            // Inserted and deleted here: what is left is the promise that the key was free.
            (None, true) if held.is_none() => kv::Op::CheckNotExists,
            (None, _) if entry.presumed_new && held.is_some() => kv::Op::Lock,
            (None, _) => kv::Op::Delete,
        };
        mutations.push(kv::Mutation {
            op: op as i32,
            key: key.clone(),
            value: entry.value.clone().unwrap_or_default(),
            assertion: kv::Assertion::None as i32,
            is_pessimistic_lock: is_pessimistic && held.is_some(),
        });
    }
    let only_locked = txn.held.keys().chain(&txn.marked).filter(|key| txn.buffer.get(key).is_none());
    let written = mutations.len();
    mutations.extend(only_locked.map(lock_only));
    if mutations.len() > written {
        mutations.sort_by(|a, b| a.key.cmp(&b.key));
    }
    mutations
}

async fn prepare(
    txn: &Transaction,
    mutations: Vec<kv::Mutation>,
    retry: &mut Retry,
) -> Result<(Arc<Committer>, Vec<Batch>)> {
    let is_pessimistic = txn.options.mode == TxnMode::Pessimistic;
    let leaves_lock = |m: &&kv::Mutation| m.op() != kv::Op::CheckNotExists;
    let first = mutations.iter().find(leaves_lock).or(mutations.first());
    let first = first.map(|m| m.key.clone()).unwrap_or_default();
    let primary = txn.primary.clone().unwrap_or(first);
    let batches = batches_of(&txn.cluster, mutations.clone(), retry).await?;
    let secondaries: Vec<Bytes> =
        mutations.iter().filter(leaves_lock).map(|m| m.key.clone()).filter(|key| *key != primary).collect();
    let key_bytes: usize = secondaries.iter().map(Bytes::len).sum::<usize>() + primary.len();
    // A key that is only checked leaves no lock that a resolver could find.
    let all_locked = mutations.iter().all(|m| m.op() != kv::Op::CheckNotExists);
    let few = secondaries.len() < ASYNC_COMMIT_KEYS_MAX && key_bytes <= ASYNC_COMMIT_KEY_BYTES_MAX;
    let way = match batches.len() {
        1 if txn.options.one_pc => Way::OnePhase,
        _ if txn.options.async_commit && few && all_locked => Way::Async,
        _ => Way::TwoPhase,
    };
    let floor = match way {
        Way::OnePhase | Way::Async if !txn.options.autocommit => txn.cluster.timestamp().await?,
        _ => Timestamp::ZERO,
    };
    let for_update_ts = if is_pessimistic { txn.for_update_ts } else { Timestamp::ZERO };
    let committer = Committer {
        cluster: txn.cluster.clone(),
        start_ts: txn.start_ts,
        started: txn.started,
        for_update_ts,
        max_commit_ts: txn.options.max_commit_ts,
        primary,
        mutations,
        secondaries,
        min_commit_ts: txn.start_ts.max(for_update_ts).max(floor).next(),
        ttl: if is_pessimistic { PESSIMISTIC_LOCK_TTL } else { COMMIT_LOCK_TTL },
        way,
        failed: AtomicBool::new(false),
        lock_wait_until: match batches.len() {
            1 => Monotonic(u64::MAX),
            _ => txn.cluster.env.now().after(PREWRITE_LOCK_WAIT_MAX),
        },
        any_unknown: AtomicBool::new(false),
    };
    Ok((Arc::new(committer), batches))
}

/// Groups mutations by region, and cuts groups that are too large for one request.
async fn batches_of(cluster: &Cluster, mutations: Vec<kv::Mutation>, retry: &mut Retry) -> Result<Vec<Batch>> {
    let groups = cluster.group_by_region(mutations, |m| &m.key, retry).await?;
    let mut batches = Vec::with_capacity(groups.len());
    for (route, group) in groups {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for mutation in group {
            let size = mutation.key.len() + mutation.value.len();
            if !batch.is_empty() && (bytes + size > BATCH_BYTES_MAX || batch.len() >= BATCH_KEYS_MAX) {
                batches.push((route.clone(), std::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += size;
            batch.push(mutation);
        }
        batches.push((route, batch));
    }
    Ok(batches)
}

impl Committer {
    async fn run(self: &Arc<Self>, batches: Vec<Batch>, retry: &mut Retry) -> Result<Timestamp> {
        match self.prewrite(batches, retry).await? {
            Prewritten::Committed(commit_ts) => Ok(commit_ts),
            Prewritten::AsyncCommitted(commit_ts) => {
                let this = self.clone();
                let keys = std::iter::once(&self.primary).chain(&self.secondaries).cloned().collect();
                self.cluster.background.run(async move { this.commit_rest(keys, commit_ts).await }).await;
                Ok(commit_ts)
            }
            // Everything that was to be checked was checked, and nothing is locked.
            Prewritten::Locked if self.leaves_no_lock() => Ok(self.start_ts),
            Prewritten::Locked => self.commit_primary(retry).await,
        }
    }

    fn leaves_no_lock(&self) -> bool {
        self.mutations.iter().all(|m| m.op() == kv::Op::CheckNotExists)
    }

    /// Prewrites every batch, side by side. An error is certain unless it is [`Error::Undetermined`].
    async fn prewrite(&self, mut batches: Vec<Batch>, retry: &mut Retry) -> Result<Prewritten> {
        let results: Vec<std::result::Result<Prewritten, Failure>> = match batches.len() {
            1 => match batches.pop() {
                Some(batch) => vec![self.prewrite_batch(batch, retry).await],
                None => Vec::new(),
            },
            _ => {
                // No request is given up because another failed: each gets its answer, or its patience ends.
                let calls: Vec<_> = batches
                    .into_iter()
                    .map(|batch| {
                        let mut retry = retry.fork();
                        async move {
                            let result = self.prewrite_batch(batch, &mut retry).await;
                            if result.is_err() {
                                self.failed.store(true, Ordering::Relaxed);
                            }
                            result
                        }
                    })
                    .collect();
                stream::iter(calls).buffer_unordered(REGION_CONCURRENCY).collect().await
            }
        };
        let mut failures = Vec::new();
        let mut done = Vec::new();
        for result in results {
            match result {
                Ok(prewritten) => done.push(prewritten),
                Err(failure) => failures.push(failure),
            }
        }
        if let Some(Prewritten::Committed(ts)) = done.iter().find(|d| matches!(d, Prewritten::Committed(_))) {
            return Ok(Prewritten::Committed(*ts));
        }
        if !failures.is_empty() {
            return Err(self.judge(failures, &done));
        }
        let mut commit_ts = self.min_commit_ts;
        for prewritten in done {
            match prewritten {
                Prewritten::AsyncCommitted(ts) => commit_ts = commit_ts.max(ts),
                other => return Ok(other),
            }
        }
        Ok(Prewritten::AsyncCommitted(commit_ts))
    }

    /// Whether failed prewrites leave a doubt.
    fn judge(&self, failures: Vec<Failure>, done: &[Prewritten]) -> Error {
        let fell_back = done.iter().any(|d| matches!(d, Prewritten::Locked));
        let in_doubt = self.way != Way::TwoPhase && !fell_back && failures.iter().all(|f| f.unknown);
        // The failure that says most: one that is certain.
        let told = failures.into_iter().min_by_key(|f| (f.unknown, matches!(f.error, Error::Shutdown)));
        match told {
            Some(f) if in_doubt => Error::Undetermined(f.error.to_string()),
            Some(f) => f.error,
            None => Error::Shutdown,
        }
    }

    /// Prewrites a batch, or what a split has made of it.
    async fn prewrite_batch(&self, batch: Batch, retry: &mut Retry) -> std::result::Result<Prewritten, Failure> {
        // With each part whether an earlier attempt of it may have been executed.
        let mut work = vec![(batch, false)];
        let mut result: Option<Prewritten> = None;
        while let Some(((route, mutations), mut unknown)) = work.pop() {
            let step = self.prewrite_once(&route, mutations, unknown, retry).await;
            if std::mem::take(&mut retry.maybe_executed) {
                unknown = true;
                self.any_unknown.store(true, Ordering::Relaxed);
            }
            let fail = |error, unknown| Failure { error, unknown };
            match step {
                Ok(Step::Done(part)) => result = Some(merge(result, part)),
                Ok(Step::Again(mutations)) if self.failed.load(Ordering::Relaxed) => {
                    tracing::debug!(keys = mutations.len(), "prewrite given up: another failed");
                    return Err(fail(Error::Shutdown, unknown));
                }
                Ok(Step::Again(mutations)) => match batches_of(&self.cluster, mutations, retry).await {
                    Ok(batches) => work.extend(batches.into_iter().map(|batch| (batch, unknown))),
                    Err(e) => return Err(fail(e, unknown)),
                },
                Ok(Step::Answered(mutations)) => work.push(((route, mutations), false)),
                Err(Told::Refused(e)) => return Err(fail(e, false)),
                Err(Told::Nothing(e)) => return Err(fail(e, unknown)),
            }
        }
        Ok(result.unwrap_or(Prewritten::Locked))
    }

    async fn prewrite_once(
        &self,
        route: &CachedRegion,
        mutations: Vec<kv::Mutation>,
        is_repeated: bool,
        retry: &mut Retry,
    ) -> std::result::Result<Step, Told> {
        let request = |context| self.prewrite_request(context, &mutations, is_repeated);
        let answer = match self.cluster.attempt(route, retry, request).await.map_err(Told::Nothing)? {
            Some(kv_response::Cmd::Prewrite(answer)) => answer,
            Some(_) => return Err(Told::Nothing(wrong_answer())),
            None => return Ok(Step::Again(mutations)),
        };
        let mut locks = Vec::new();
        for error in answer.errors {
            match error.kind {
                Some(key_error::Kind::Locked(lock)) => locks.push(lock),
                // A repetition of what had committed already.
                Some(key_error::Kind::Committed(e)) if e.start_ts == self.start_ts.0 => {
                    return Ok(Step::Done(Prewritten::Committed(Timestamp(e.commit_ts))));
                }
                kind => {
                    let error = basalt_proto::errors::KeyError { kind };
                    return Err(Told::Refused(Error::of_key(error, self.start_ts)));
                }
            }
        }
        if let Some(lock) = locks.first() {
            if self.cluster.env.now() > self.lock_wait_until {
                return Err(Told::Refused(Error::LockTimeout { key: lock.key.clone() }));
            }
            self.cluster.resolve_for_write(locks, retry).await.map_err(Told::Refused)?;
            retry.maybe_executed = false;
            return Ok(Step::Answered(mutations));
        }
        Ok(Step::Done(match (answer.one_pc_commit_ts, answer.min_commit_ts) {
            (0, 0) => Prewritten::Locked,
            (0, ts) if self.way == Way::Async => Prewritten::AsyncCommitted(Timestamp(ts)),
            (0, _) => Prewritten::Locked,
            (ts, _) => Prewritten::Committed(Timestamp(ts)),
        }))
    }

    fn prewrite_request(&self, context: kv::Context, mutations: &[kv::Mutation], is_retry: bool) -> kv_request::Cmd {
        let age = self.cluster.env.now().since(self.started);
        let is_async = self.way == Way::Async;
        let has_primary = mutations.iter().any(|m| m.key == self.primary);
        kv_request::Cmd::Prewrite(kv::PrewriteRequest {
            context: Some(context),
            mutations: mutations.to_vec(),
            primary: self.primary.clone(),
            start_ts: self.start_ts.0,
            lock_ttl_ms: (age + self.ttl).as_millis() as u64,
            txn_size: self.mutations.len() as u64,
            for_update_ts: self.for_update_ts.0,
            min_commit_ts: self.min_commit_ts.0,
            max_commit_ts: self.max_commit_ts.0,
            use_async_commit: is_async,
            secondaries: if is_async && has_primary { self.secondaries.clone() } else { Vec::new() },
            try_one_pc: self.way == Way::OnePhase && mutations.len() == self.mutations.len(),
            is_retry,
        })
    }

    /// Draws the commit timestamp and commits the primary: the moment of commit.
    async fn commit_primary(self: &Arc<Self>, retry: &mut Retry) -> Result<Timestamp> {
        loop {
            let commit_ts = self.cluster.timestamp().await?;
            if !self.max_commit_ts.is_zero() && commit_ts > self.max_commit_ts {
                return Err(Error::CommitTsTooLarge { commit_ts, max_commit_ts: self.max_commit_ts });
            }
            match self.commit_primary_at(commit_ts, retry).await? {
                Some(commit_ts) => {
                    let this = self.clone();
                    let rest = self.secondaries.clone();
                    self.cluster.background.run(async move { this.commit_rest(rest, commit_ts).await }).await;
                    return Ok(commit_ts);
                }
                // A reader pushed the primary beyond it: a later timestamp is needed.
                None => {
                    let waited = retry.backoff.wait(Cause::Locked).await;
                    waited.map_err(|_| Error::RegionUnavailable("commit is pushed again and again".into()))?;
                }
            }
        }
    }

    /// Commits the primary. None: the timestamp is too low.
    async fn commit_primary_at(&self, commit_ts: Timestamp, retry: &mut Retry) -> Result<Option<Timestamp>> {
        let mut unknown = false;
        loop {
            let request = |context| self.commit_request(context, vec![self.primary.clone()], commit_ts);
            let attempt = async {
                let route = self.cluster.locate(&self.primary, retry).await?;
                self.cluster.attempt(&route, retry, request).await
            };
            let attempt = attempt.await;
            unknown |= std::mem::take(&mut retry.maybe_executed);
            let answer = match attempt {
                Ok(Some(kv_response::Cmd::Commit(answer))) => answer,
                Ok(Some(_)) => return Err(Error::Undetermined("wrong answer to a commit".into())),
                Ok(None) => continue,
                Err(e) if unknown => return Err(Error::Undetermined(e.to_string())),
                Err(e) => return Err(e),
            };
            return match answer.error.map(|e| e.kind) {
                None if answer.commit_ts != 0 => Ok(Some(Timestamp(answer.commit_ts))),
                None => Ok(Some(commit_ts)),
                Some(Some(key_error::Kind::CommitTsExpired(_))) => Ok(None),
                Some(Some(key_error::Kind::Committed(e))) if e.start_ts == self.start_ts.0 => {
                    Ok(Some(Timestamp(e.commit_ts)))
                }
                Some(kind) => Err(Error::of_key(basalt_proto::errors::KeyError { kind }, self.start_ts)),
            };
        }
    }

    /// Commits keys of a transaction that is decided. What is not reached is resolved by who meets it.
    async fn commit_rest(&self, keys: Vec<Bytes>, commit_ts: Timestamp) {
        let mut retry = Retry::new(&self.cluster.env, COMMIT_BUDGET);
        let request = |context, keys| self.commit_request(context, keys, commit_ts);
        if let Err(e) = self.for_all_keys(keys, &mut retry, &request).await {
            tracing::debug!(start_ts = %self.start_ts, error = %e, "secondaries not committed");
        }
    }

    fn a_late_prewrite_could_commit(&self) -> bool {
        self.way != Way::TwoPhase && self.any_unknown.load(Ordering::Relaxed)
    }

    /// Makes sure that a transaction that failed with `error` stays failed: with its primary rolled back nothing that
    /// arrives late can complete it.
    async fn settle_by_primary(&self, error: Error) -> Result<Timestamp> {
        let mut retry = Retry::new(&self.cluster.env, CLEANUP_BUDGET);
        let request = |context| {
            kv_request::Cmd::BatchRollback(kv::BatchRollbackRequest {
                context: Some(context),
                start_ts: self.start_ts.0,
                keys: vec![self.primary.clone()],
            })
        };
        match self.cluster.call_key(&self.primary, &mut retry, request).await {
            Ok(kv_response::Cmd::BatchRollback(answer)) => match answer.error.and_then(|e| e.kind) {
                None => Err(error),
                Some(key_error::Kind::Committed(e)) => Ok(Timestamp(e.commit_ts)),
                Some(_) => Err(Error::Undetermined(error.to_string())),
            },
            _ => Err(Error::Undetermined(error.to_string())),
        }
    }

    /// Rolls back everything, after a failure that is certain.
    async fn roll_back(&self) {
        let mut retry = Retry::new(&self.cluster.env, CLEANUP_BUDGET);
        let keys = std::iter::once(&self.primary).chain(&self.secondaries).cloned().collect();
        let request = |context, keys| {
            kv_request::Cmd::BatchRollback(kv::BatchRollbackRequest {
                context: Some(context),
                start_ts: self.start_ts.0,
                keys,
            })
        };
        if let Err(e) = self.for_all_keys(keys, &mut retry, &request).await {
            tracing::debug!(start_ts = %self.start_ts, error = %e, "not rolled back everywhere");
        }
    }

    /// Sends a command about keys to all their regions.
    async fn for_all_keys(
        &self,
        mut left: Vec<Bytes>,
        retry: &mut Retry,
        make: &(impl Fn(kv::Context, Vec<Bytes>) -> kv_request::Cmd + Sync),
    ) -> Result<()> {
        while !left.is_empty() {
            let groups = self.cluster.group_by_region(std::mem::take(&mut left), |k| k, retry).await?;
            let chunks = groups.into_iter().flat_map(|(route, keys)| {
                let chunks: Vec<Vec<Bytes>> = keys.chunks(BATCH_KEYS_MAX).map(<[Bytes]>::to_vec).collect();
                chunks.into_iter().map(move |keys| (route.clone(), keys))
            });
            let calls = chunks.map(|(route, keys)| {
                let mut retry = retry.fork();
                async move {
                    let answer = self.cluster.attempt(&route, &mut retry, |ctx| make(ctx, keys.clone())).await?;
                    let error = match answer {
                        None => return Ok(keys),
                        Some(kv_response::Cmd::Commit(answer)) => answer.error,
                        Some(kv_response::Cmd::BatchRollback(answer)) => answer.error,
                        Some(_) => return Err(wrong_answer()),
                    };
                    error.map_or(Ok(Vec::new()), |e| Err(Error::of_key(e, self.start_ts)))
                }
            });
            let calls: Vec<_> = calls.collect();
            let results: Vec<Result<Vec<Bytes>>> =
                stream::iter(calls).buffer_unordered(REGION_CONCURRENCY).collect().await;
            for result in results {
                left.extend(result?);
            }
        }
        Ok(())
    }

    fn commit_request(&self, context: kv::Context, keys: Vec<Bytes>, commit_ts: Timestamp) -> kv_request::Cmd {
        kv_request::Cmd::Commit(kv::CommitRequest {
            context: Some(context),
            start_ts: self.start_ts.0,
            keys,
            commit_ts: commit_ts.0,
        })
    }
}

/// What one prewrite attempt came to.
enum Step {
    Done(Prewritten),
    /// No answer to it: group anew.
    Again(Vec<kv::Mutation>),
    /// Certainly not executed; what was in the way is dealt with.
    Answered(Vec<kv::Mutation>),
}

/// Why a batch is given up.
enum Told {
    /// The store said no: certainly not executed.
    Refused(Error),
    /// Patience ended.
    Nothing(Error),
}

/// Both parts of a batch that was split: committed if one says so, async only if both are.
fn merge(so_far: Option<Prewritten>, part: Prewritten) -> Prewritten {
    match (so_far, part) {
        (None, part) => part,
        (Some(done @ Prewritten::Committed(_)), _) => done,
        (Some(_), done @ Prewritten::Committed(_)) => done,
        (Some(Prewritten::AsyncCommitted(a)), Prewritten::AsyncCommitted(b)) => Prewritten::AsyncCommitted(a.max(b)),
        _ => Prewritten::Locked,
    }
}
