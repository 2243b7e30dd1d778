//! Garbage collection's part that needs a client: whose locks are in the way, and who reads what is old.
//!
//! ```text
//!   PD moves the safe point ─▶ every region is closed below it, its locks come back ─▶ their transactions are ended
//!                              again, until no region has one ─▶ PD is told, and lets the stores delete
//! ```
//! A transaction whose lock is below the safe point can neither read nor lock any more; if nobody has decided it, it is rolled
//! back. PD does not move the safe point past transactions and snapshots that processes say they have
//! ([`Cluster::oldest_reader`]), up to a limit.

use crate::cluster::Cluster;
use crate::config::{REGION_CONCURRENCY, REQUEST_BUDGET};
use crate::error::{Error, Result};
use crate::retry::{Retry, wrong_answer};
use basalt_common::{KeyRange, Timestamp, UserKey};
use basalt_proto::kv::{self, kv_request, kv_response};
use basalt_proto::pd::GcResponse;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Locks asked for at a time.
const LOCKS_MAX: u32 = 1_024;

/// The timestamps at which this process reads.
#[derive(Default)]
pub(crate) struct Readers {
    by_ts: Mutex<BTreeMap<Timestamp, usize>>,
}

/// Somebody reads at a timestamp, until this is dropped.
pub(crate) struct Reading {
    cluster: Cluster,
    ts: Timestamp,
}

impl Reading {
    pub(crate) fn new(cluster: &Cluster, ts: Timestamp) -> Reading {
        *cluster.readers.by_ts.lock().entry(ts).or_default() += 1;
        Reading { cluster: cluster.clone(), ts }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut readers = self.cluster.readers.by_ts.lock();
        if let Some(count) = readers.get_mut(&self.ts) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.ts);
            }
        }
    }
}

impl Cluster {
    /// The oldest timestamp at which a transaction or a snapshot of this process reads.
    pub fn oldest_reader(&self) -> Option<Timestamp> {
        self.readers.by_ts.lock().keys().next().copied()
    }

    /// Moves the safe point as far as it may go, and ends what is in the way of collecting up to it. Any process may, also
    /// several at a time. Returns how far it came.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`], [`Error::RegionUnavailable`]; [`Error::LockTimeout`] when a transaction of before is still
    /// being committed. Nothing is lost by trying again later.
    pub fn advance_safe_point(&self) -> BoxFuture<'_, Result<GcResponse>> {
        Box::pin(async move {
            let marks = self.pd.gc(true, Timestamp::ZERO).await?;
            if marks.safe_point <= marks.collect_to {
                return Ok(marks);
            }
            let safe_point = Timestamp(marks.safe_point);
            let closed: Vec<_> =
                self.parts().await?.into_iter().map(|part| self.close_below(part, safe_point)).collect();
            let closed = stream::iter(closed).buffer_unordered(REGION_CONCURRENCY);
            let locks: u64 = closed.try_fold(0, |sum, locks| async move { Ok(sum + locks) }).await?;
            if locks > 0 {
                tracing::info!(locks, %safe_point, "ended transactions that were left over");
            }
            self.pd.gc(false, safe_point).await
        })
    }

    /// All keys, cut where PD knows regions to begin. Which regions there are by now shows as they are asked.
    async fn parts(&self) -> Result<Vec<KeyRange>> {
        let regions = self.regions_in(&KeyRange::all()).await?;
        let mut starts: Vec<UserKey> = regions.into_iter().map(|found| found.region.range.start).collect();
        starts.push(UserKey::default());
        starts.sort();
        starts.dedup();
        let ends = starts.iter().skip(1).cloned().chain([UserKey::default()]).collect::<Vec<_>>();
        Ok(starts.into_iter().zip(ends).map(|(start, end)| KeyRange { start, end }).collect())
    }

    /// Closes the regions of a range and ends the transactions whose locks it finds; says how many locks.
    async fn close_below(&self, range: KeyRange, safe_point: Timestamp) -> Result<u64> {
        let (mut left, mut locks) = (Some(range), 0);
        let mut retry = Retry::new(&self.env, REQUEST_BUDGET);
        while let Some(range) = left.clone() {
            let route = self.locate(range.start.as_slice(), &mut retry).await?;
            let Some(part) = range.intersect(&route.region.range) else {
                return Err(Error::Corrupt(format!("region {} does not touch the range", route.region.id)));
            };
            let request = |context| {
                kv_request::Cmd::ScanLock(kv::ScanLockRequest {
                    context: Some(context),
                    max_version: safe_point.prev().0,
                    start_key: part.start.0.clone(),
                    end_key: part.end.0.clone(),
                    limit: LOCKS_MAX,
                    safe_point: safe_point.0,
                })
            };
            let answer = match self.attempt(&route, &mut retry, request).await? {
                Some(kv_response::Cmd::ScanLock(answer)) => answer,
                Some(_) => return Err(wrong_answer()),
                None => continue,
            };
            if let Some(error) = answer.error {
                return Err(Error::of_key(error, safe_point));
            }
            if answer.locks.is_empty() {
                left = match part.end == range.end {
                    true => None,
                    false => Some(KeyRange { start: part.end, end: range.end }),
                };
            }
            locks += answer.locks.len() as u64;
            // It answers: what comes next has a fresh budget.
            retry = Retry::new(&self.env, REQUEST_BUDGET);
            for lock in answer.locks {
                if !self.resolve_of_the_dead(&lock, &mut retry).await? {
                    return Err(Error::LockTimeout { key: lock.key });
                }
            }
        }
        Ok(locks)
    }
}
