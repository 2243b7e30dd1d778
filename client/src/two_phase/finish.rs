//! The second phase: the primary's commit, the others behind the caller's back, and rolling back.

use super::commit::{Committer, Way};
use crate::backoff::Cause;
use crate::config::{BATCH_KEYS_MAX, CLEANUP_BUDGET, COMMIT_BUDGET, REGION_CONCURRENCY};
use crate::error::{Error, Result};
use crate::retry::{Retry, wrong_answer};
use basalt_common::Timestamp;
use basalt_common::mutant::mutant;
use basalt_proto::errors::key_error;
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Committer {
    /// Draws the commit timestamp and commits the primary: the moment of commit.
    pub(super) async fn commit_primary(self: &Arc<Self>, retry: &mut Retry) -> Result<Timestamp> {
        loop {
            let commit_ts = self.cluster.timestamp().await?;
            if !self.max_commit_ts.is_zero() && commit_ts > self.max_commit_ts {
                return Err(Error::CommitTsTooLarge { commit_ts, max_commit_ts: self.max_commit_ts });
            }
            if let Some(reads) = &self.reads {
                reads.check(&self.cluster, self.start_ts, commit_ts).await?;
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
                Err(_) if unknown && mutant("M33") => return Ok(Some(commit_ts)),
                Err(e) if unknown => return Err(Error::Undetermined(e.to_string())),
                Err(e) => return Err(e),
            };
            return match answer.error.map(|e| e.kind) {
                None if answer.commit_ts != 0 => Ok(Some(Timestamp(answer.commit_ts))),
                None => Ok(Some(commit_ts)),
                Some(Some(key_error::Kind::CommitTsExpired(_))) => Ok(None),
                // What an earlier attempt has done may have been collected.
                Some(Some(key_error::Kind::BelowSafePoint(e))) if unknown => {
                    Err(Error::Undetermined(Error::below_safe_point(e).to_string()))
                }
                Some(Some(key_error::Kind::Committed(e))) if e.start_ts == self.start_ts.0 => {
                    Ok(Some(Timestamp(e.commit_ts)))
                }
                Some(kind) => Err(Error::of_key(basalt_proto::errors::KeyError { kind }, self.start_ts)),
            };
        }
    }

    /// Commits keys of a transaction that is decided. What is not reached is resolved by who meets it.
    pub(super) async fn commit_rest(&self, keys: Vec<Bytes>, commit_ts: Timestamp) {
        let mut retry = Retry::new(&self.cluster.env, COMMIT_BUDGET);
        let request = |context, keys| self.commit_request(context, keys, commit_ts);
        if let Err(e) = self.for_all_keys(keys, &mut retry, &request).await {
            tracing::debug!(start_ts = %self.start_ts, error = %e, "secondaries not committed");
        }
    }

    pub(super) fn a_late_prewrite_could_commit(&self) -> bool {
        self.way != Way::TwoPhase && self.any_unknown.load(Ordering::Relaxed)
    }

    /// Makes sure that a transaction that failed with `error` stays failed: with its primary rolled back nothing that
    /// arrives late can complete it.
    pub(super) async fn settle_by_primary(&self, error: Error) -> Result<Timestamp> {
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
    pub(super) async fn roll_back(&self) {
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
