//! The first phase: every batch prewritten, side by side, and what their answers mean together.

use super::commit::{AtLock, Batch, Committer, Way, batches_of};
use crate::config::REGION_CONCURRENCY;
use crate::error::{Error, Result};
use crate::region_cache::CachedRegion;
use crate::retry::{Retry, wrong_answer};
use basalt_common::Timestamp;
use basalt_common::mutant::mutant;
use basalt_proto::errors::{LockInfo, LockKind, key_error};
use basalt_proto::kv::{self, kv_request, kv_response};
use futures::stream::{self, StreamExt};
use std::sync::atomic::Ordering;

/// What the prewrites came to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Prewritten {
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

impl Committer {
    /// Prewrites every batch, side by side. An error is certain unless it is [`Error::Undetermined`].
    pub(super) async fn prewrite(&self, mut batches: Vec<Batch>, retry: &mut Retry) -> Result<Prewritten> {
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
                Prewritten::Locked if mutant("M10") && self.way == Way::Async => {}
                other => return Ok(other),
            }
        }
        Ok(Prewritten::AsyncCommitted(commit_ts))
    }

    /// Whether failed prewrites leave a doubt.
    fn judge(&self, failures: Vec<Failure>, done: &[Prewritten]) -> Error {
        let fell_back = done.iter().any(|d| matches!(d, Prewritten::Locked));
        let decides = self.way != Way::TwoPhase && !fell_back;
        let in_doubt =
            decides && failures.iter().all(|f| f.unknown) || mutant("M14") && failures.iter().any(|f| f.unknown);
        // The failure that says most: not that others were given up because of it, and one that is certain.
        let told = failures.into_iter().min_by_key(|f| (matches!(f.error, Error::Shutdown), f.unknown));
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
                // What an earlier attempt has done may have been collected.
                Some(key_error::Kind::BelowSafePoint(e)) => return Err(Told::Nothing(Error::below_safe_point(e))),
                kind => {
                    let error = basalt_proto::errors::KeyError { kind };
                    return Err(Told::Refused(Error::of_key(error, self.start_ts)));
                }
            }
        }
        if let Some(lock) = locks.first() {
            let is_over = self.cluster.env.now() > self.lock_wait_until;
            let stays = is_over || locks.iter().any(|lock| lock.kind() == LockKind::LockPessimistic);
            let passed = match self.at_lock {
                AtLock::Wait if is_over => return Err(Told::Refused(Error::LockTimeout { key: lock.key.clone() })),
                AtLock::Conflict if stays => self.clear_dead(locks, retry).await,
                AtLock::Wait | AtLock::Conflict => self.cluster.resolve_for_write(locks, retry).await,
                AtLock::Tell => self.clear_dead(locks, retry).await,
            };
            passed.map_err(Told::Refused)?;
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

    /// Cleans up locks whose transactions are over; fails at one that lives.
    async fn clear_dead(&self, locks: Vec<LockInfo>, retry: &mut Retry) -> Result<()> {
        for lock in locks {
            if !self.cluster.resolve_or_report(&lock, retry).await? {
                let (key, start_ts, conflict_commit_ts) = (lock.key, self.start_ts, Timestamp(lock.start_ts));
                return Err(match self.at_lock {
                    AtLock::Conflict => Error::WriteConflict { key, start_ts, conflict_commit_ts },
                    AtLock::Wait | AtLock::Tell => Error::WouldWait { key },
                });
            }
        }
        Ok(())
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
