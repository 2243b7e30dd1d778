//! A commit from its mutations to its outcome: which way it goes, and what happens to it when it fails.

use super::prewrite::Prewritten;
use crate::cluster::Cluster;
use crate::config::{
    ASYNC_COMMIT_KEY_BYTES_MAX, ASYNC_COMMIT_KEYS_MAX, BATCH_BYTES_MAX, BATCH_KEYS_MAX, COMMIT_BUDGET, COMMIT_LOCK_TTL,
    OPTIMISTIC_LOCK_WAIT, PESSIMISTIC_LOCK_TTL, PREWRITE_LOCK_WAIT_MAX,
};
use crate::error::{Error, Result};
use crate::heartbeat::{Beating, Heartbeat};
use crate::read_set::ReadSet;
use crate::region_cache::CachedRegion;
use crate::retry::Retry;
use crate::transaction::{Transaction, TxnMode};
use basalt_common::Timestamp;
use basalt_common::env::Monotonic;
use basalt_proto::kv;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// One commit under way; shared with the tasks that finish it.
pub(super) struct Committer {
    pub(super) cluster: Cluster,
    pub(super) start_ts: Timestamp,
    pub(super) started: Monotonic,
    /// Zero in an optimistic transaction.
    pub(super) for_update_ts: Timestamp,
    pub(super) max_commit_ts: Timestamp,
    pub(super) primary: Bytes,
    /// In key order.
    pub(super) mutations: Vec<kv::Mutation>,
    /// Keys that leave locks, without the primary.
    pub(super) secondaries: Vec<Bytes>,
    pub(super) min_commit_ts: Timestamp,
    pub(super) ttl: Duration,
    pub(super) way: Way,
    /// What must not have changed by the commit.
    pub(super) reads: Option<Arc<ReadSet>>,
    /// A prewrite failed for certain: the others need not try again.
    pub(super) failed: AtomicBool,
    /// What prewrites do at others' locks, and when they stop waiting for those of commits under way.
    pub(super) at_lock: AtLock,
    pub(super) lock_wait_until: Monotonic,
    /// The answer of some prewrite was lost, so that it may still arrive.
    pub(super) any_unknown: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    OnePhase,
    Async,
    TwoPhase,
}

pub(super) type Batch = (Arc<CachedRegion>, Vec<kv::Mutation>);

/// Commits a transaction. See [`Transaction::commit`].
pub(crate) async fn commit(txn: &mut Transaction) -> Result<Timestamp> {
    let mutations = mutations_of(txn);
    if mutations.iter().all(|m| m.op() == kv::Op::Lock && m.is_pessimistic_lock) {
        // What was read under locks is as of now.
        let reads = txn.reads.clone().filter(|reads| !txn.held.is_empty() || !reads.is_of_one_moment());
        let checked = match reads {
            Some(reads) => match txn.cluster.timestamp().await {
                Ok(now) => reads.check(&txn.cluster, txn.start_ts, now).await,
                Err(e) => Err(e),
            },
            None => Ok(()),
        };
        let checked = match checked {
            // Where something is written the prewrite finds out.
            Ok(()) => txn.confirm_locks().await,
            Err(e) => Err(e),
        };
        // Nothing was written: locks that guarded reads are given back.
        txn.release_locks().await;
        return checked.map(|()| txn.start_ts);
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
    if txn.heartbeat.is_none() && (batches.len() > 1 || committer.reads.is_some()) {
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

/// What a prewrite does when it meets the lock of a transaction that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtLock {
    /// Waits for its end.
    Wait,
    /// Fails with [`Error::WouldWait`].
    Tell,
    /// Fails with [`Error::WriteConflict`], unless that transaction is committing and done in a moment.
    Conflict,
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
    let reads = txn.reads.clone().filter(|reads| !reads.is_empty());
    let way = match batches.len() {
        // What was read is looked at between the two phases.
        _ if reads.is_some() => Way::TwoPhase,
        1 if txn.options.one_pc => Way::OnePhase,
        _ if txn.options.async_commit && few && all_locked => Way::Async,
        _ => Way::TwoPhase,
    };
    let floor = match way {
        Way::OnePhase | Way::Async if !txn.options.autocommit || !txn.for_update_ts_is_given => {
            txn.cluster.timestamp().await?
        }
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
        reads,
        failed: AtomicBool::new(false),
        at_lock: match (txn.options.waits_at_commit, is_pessimistic || batches.len() == 1) {
            (false, _) => AtLock::Tell,
            (true, true) => AtLock::Wait,
            (true, false) => AtLock::Conflict,
        },
        lock_wait_until: match (batches.len(), is_pessimistic) {
            (1, _) => Monotonic(u64::MAX),
            (_, true) => txn.cluster.env.now().after(PREWRITE_LOCK_WAIT_MAX),
            (batches, false) => txn.cluster.env.now().after(OPTIMISTIC_LOCK_WAIT * batches as u32),
        },
        any_unknown: AtomicBool::new(false),
    };
    Ok((Arc::new(committer), batches))
}

/// Groups mutations by region, and cuts groups that are too large for one request.
pub(super) async fn batches_of(
    cluster: &Cluster,
    mutations: Vec<kv::Mutation>,
    retry: &mut Retry,
) -> Result<Vec<Batch>> {
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
}
