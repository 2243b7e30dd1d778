//! What to do about another transaction's lock (Percolator §2.2): find out its fate at its primary, and clean up.
//!
//! ```text
//!   lock met ─▶ CheckTxnStatus at the primary ─┬─ committed at c ─▶ commit the lock at c
//!                                              ├─ rolled back ────▶ roll the lock back
//!                                              ├─ alive ──────────▶ a reader passes if min_commit_ts could be pushed
//!                                              │                    beyond its timestamp; everybody else waits
//!                                              └─ async commit and its time is over
//!                                                   └─▶ CheckSecondaryLocks on every key that the primary names:
//!                                                       all locked → committed at the largest min_commit_ts
//!                                                       one missing → the answer says committed at c, or rolled back
//! ```
//!
//! A pessimistic lock whose owner is known to be dead ([`crate::owners`]) counts as one whose time is over.
//!
//! The fate is always decided by what the stores hold, never by what this process believes (M10). Only final fates
//! are remembered.
//!
//! A reader does not wait for the clean-up: it names the transactions whose fate it knows in its next request
//! ([`Bypass`]), and the clean-up goes on in the background.

use crate::backoff::Cause;
use crate::cluster::Cluster;
use crate::config::{CLEANUP_BUDGET, REGION_CONCURRENCY, RESOLVE_WHOLE_REGION_KEYS, TXN_STATUS_CACHE_MAX};
use crate::error::{Error, Result};
use crate::retry::{Retry, wrong_answer};
use basalt_common::Timestamp;
use basalt_proto::errors::{KeyError, LockInfo, LockKind, key_error};
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Locks that a read may pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bypass {
    /// Transactions rolled back, or committed above the read's timestamp: their locks are as if not there.
    pub(crate) resolved: Vec<u64>,
    /// Transactions committed at or below it: their locks are as if committed.
    pub(crate) committed: Vec<u64>,
}

impl Bypass {
    fn contains(&self, start_ts: u64) -> bool {
        self.resolved.contains(&start_ts) || self.committed.contains(&start_ts)
    }
}

/// The fate of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Committed(Timestamp),
    RolledBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Final(Fate),
    /// Whatever it was, it is so long ago that none of its locks is left: what was met is not there any more.
    Gone,
    /// Not decided; `passable`: it will commit above the asking reader's timestamp.
    Alive {
        passable: bool,
    },
}

/// Final fates of other transactions, the newest of them.
#[derive(Default)]
pub(crate) struct TxnStatusCache {
    fates: Mutex<BTreeMap<u64, Fate>>,
}

impl TxnStatusCache {
    fn get(&self, start_ts: u64) -> Option<Fate> {
        self.fates.lock().get(&start_ts).copied()
    }

    fn put(&self, start_ts: u64, fate: Fate) {
        let mut fates = self.fates.lock();
        if fates.len() >= TXN_STATUS_CACHE_MAX {
            fates.pop_first();
        }
        fates.insert(start_ts, fate);
    }
}

/// What CheckTxnStatus said.
enum Checked {
    Status(Status),
    /// An async commit whose time is over: its secondaries decide.
    AskSecondaries(Box<LockInfo>),
}

/// What a question to a primary takes for granted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Supposed {
    /// Nothing: the owner lives while the lock's time is not over.
    Alive,
    /// Nobody has the transaction any more.
    Dead,
    /// The secondaries do not decide, though it is an async commit's lock.
    SyncCommit,
}

impl Cluster {
    /// Deals with locks in the way of a read at `read_ts`: adds to `bypass` what may be passed, and waits if some may not.
    pub(crate) async fn resolve_for_read(
        &self,
        locks: Vec<LockInfo>,
        read_ts: Timestamp,
        bypass: &Mutex<Bypass>,
        retry: &mut Retry,
    ) -> Result<()> {
        let mut must_wait = None;
        for lock in locks {
            if bypass.lock().contains(lock.start_ts) {
                // The store does not let it pass: there is no way around cleaning up now.
                self.resolve_one(lock, Timestamp::ZERO, retry, &mut must_wait).await?;
                continue;
            }
            match self.status_of(&lock, read_ts, retry).await? {
                Status::Final(fate) => {
                    match fate {
                        Fate::Committed(ts) if ts <= read_ts => bypass.lock().committed.push(lock.start_ts),
                        _ => bypass.lock().resolved.push(lock.start_ts),
                    }
                    self.clean_up_later(lock, fate);
                }
                Status::Gone | Status::Alive { passable: true } => bypass.lock().resolved.push(lock.start_ts),
                Status::Alive { passable: false } => must_wait = Some(lock.key),
            }
        }
        wait_for(must_wait, retry).await
    }

    /// Deals with locks in the way of a write: cleans up those that are decided, and waits if some are not.
    pub(crate) async fn resolve_for_write(&self, locks: Vec<LockInfo>, retry: &mut Retry) -> Result<()> {
        let mut must_wait = None;
        for lock in locks {
            // Zero: a writer pushes nobody.
            self.resolve_one(lock, Timestamp::ZERO, retry, &mut must_wait).await?;
        }
        wait_for(must_wait, retry).await
    }

    /// Deals with one lock without waiting for its owner; false if the owner is alive.
    pub(crate) async fn resolve_or_report(&self, lock: &LockInfo, retry: &mut Retry) -> Result<bool> {
        let mut must_wait = None;
        self.resolve_one(lock.clone(), Timestamp::ZERO, retry, &mut must_wait).await?;
        Ok(must_wait.is_none())
    }

    /// Deals with a lock whose owner is past the safe point and can do nothing but commit; false if it is about to.
    pub(crate) async fn resolve_of_the_dead(&self, lock: &LockInfo, retry: &mut Retry) -> Result<bool> {
        let status = match self.statuses.get(lock.start_ts) {
            Some(fate) => Status::Final(fate),
            None => self.decide(lock, Timestamp::ZERO, Supposed::Dead, retry).await?,
        };
        match status {
            Status::Final(fate) => self.clean_up(lock, fate, retry).await.map(|()| true),
            Status::Gone => Ok(true),
            Status::Alive { .. } => Ok(false),
        }
    }

    async fn resolve_one(
        &self,
        lock: LockInfo,
        caller_ts: Timestamp,
        retry: &mut Retry,
        must_wait: &mut Option<Bytes>,
    ) -> Result<()> {
        match self.status_of(&lock, caller_ts, retry).await? {
            Status::Final(fate) => self.clean_up(&lock, fate, retry).await,
            Status::Gone => Ok(()),
            Status::Alive { .. } => {
                *must_wait = Some(lock.key);
                Ok(())
            }
        }
    }

    async fn status_of(&self, lock: &LockInfo, caller_ts: Timestamp, retry: &mut Retry) -> Result<Status> {
        if let Some(fate) = self.statuses.get(lock.start_ts) {
            return Ok(Status::Final(fate));
        }
        let status = self.decide(lock, caller_ts, Supposed::Alive, retry).await?;
        let is_alive = matches!(status, Status::Alive { .. });
        if is_alive && lock.kind() == LockKind::LockPessimistic && self.is_nobodys(Timestamp(lock.start_ts)).await {
            return self.decide(lock, caller_ts, Supposed::Dead, retry).await;
        }
        Ok(status)
    }

    /// Asks the primary, and the secondaries where they decide.
    async fn decide(
        &self,
        lock: &LockInfo,
        caller_ts: Timestamp,
        supposed: Supposed,
        retry: &mut Retry,
    ) -> Result<Status> {
        let primary = match self.check_txn_status(lock, caller_ts, supposed, retry).await? {
            Checked::Status(status) => return Ok(status),
            Checked::AskSecondaries(primary) => primary,
        };
        match self.ask_secondaries(&primary, retry).await? {
            Some(fate) => {
                self.statuses.put(lock.start_ts, fate);
                self.resolve_keys(&primary, fate, retry).await?;
                Ok(Status::Final(fate))
            }
            // One of its locks fell back to the ordinary way: the primary alone decides.
            None => match self.check_txn_status(lock, caller_ts, Supposed::SyncCommit, retry).await? {
                Checked::Status(status) => Ok(status),
                Checked::AskSecondaries(_) => Err(wrong_answer()),
            },
        }
    }

    async fn check_txn_status(
        &self,
        lock: &LockInfo,
        caller_ts: Timestamp,
        supposed: Supposed,
        retry: &mut Retry,
    ) -> Result<Checked> {
        let (force_sync_commit, owner_is_dead) = (supposed == Supposed::SyncCommit, supposed == Supposed::Dead);
        let now = self.pd.timestamp().await?;
        let is_pessimistic = lock.kind() == LockKind::LockPessimistic;
        let request = |context| {
            kv_request::Cmd::CheckTxnStatus(kv::CheckTxnStatusRequest {
                context: Some(context),
                primary_key: lock.primary.clone(),
                lock_ts: lock.start_ts,
                caller_start_ts: caller_ts.0,
                current_ts: now.0,
                // A primary that is not there yet may still be on its way, as long as the lock's own time is not over.
                rollback_if_not_exist: owner_is_dead || is_expired(lock, now),
                force_sync_commit,
                resolving_pessimistic_lock: is_pessimistic,
                owner_is_dead,
            })
        };
        let kv_response::Cmd::CheckTxnStatus(answer) = self.call_key(&lock.primary, retry, request).await? else {
            return Err(wrong_answer());
        };
        let alive = |passable| Ok(Checked::Status(Status::Alive { passable }));
        match answer.error.map(|e| e.kind) {
            None => {}
            Some(Some(key_error::Kind::TxnNotFound(_))) => return alive(false),
            Some(Some(key_error::Kind::BelowSafePoint(_))) => return Ok(Checked::Status(Status::Gone)),
            // The pessimistic lock is of an attempt that chose another primary and was given up.
            Some(Some(key_error::Kind::PrimaryMismatch(_))) if is_pessimistic => {
                return Ok(Checked::Status(Status::Final(Fate::RolledBack)));
            }
            Some(kind) => return Err(Error::of_key(KeyError { kind }, Timestamp(lock.start_ts))),
        }
        let action = kv::TxnAction::try_from(answer.action).unwrap_or(kv::TxnAction::NoAction);
        if answer.commit_ts > 0 {
            let fate = Fate::Committed(Timestamp(answer.commit_ts));
            self.statuses.put(lock.start_ts, fate);
            return Ok(Checked::Status(Status::Final(fate)));
        }
        if let Some(primary) = answer.lock_info.filter(|l| l.use_async_commit && !force_sync_commit) {
            return match is_expired(&primary, now) {
                true => Ok(Checked::AskSecondaries(Box::new(primary))),
                false => alive(false),
            };
        }
        if answer.lock_ttl_ms > 0 {
            return alive(action == kv::TxnAction::MinCommitTsPushed);
        }
        // A pessimistic rollback decides nothing about the transaction: only an ordinary one leaves a record.
        use kv::TxnAction::{LockNotExistDoNothing, TtlExpirePessimisticRollback};
        if !matches!(action, LockNotExistDoNothing | TtlExpirePessimisticRollback) {
            self.statuses.put(lock.start_ts, Fate::RolledBack);
        }
        Ok(Checked::Status(Status::Final(Fate::RolledBack)))
    }

    /// Asks every key that the primary's lock names. None: one of them is no async-commit lock.
    async fn ask_secondaries(&self, primary: &LockInfo, retry: &mut Retry) -> Result<Option<Fate>> {
        let mut left = primary.secondaries.clone();
        let mut commit_ts = Timestamp(primary.min_commit_ts);
        let mut decided: Option<Fate> = None;
        while !left.is_empty() {
            let groups = self.group_by_region(std::mem::take(&mut left), |k| k, retry).await?;
            for (route, keys) in groups {
                let request = |context| {
                    kv_request::Cmd::CheckSecondaryLocks(kv::CheckSecondaryLocksRequest {
                        context: Some(context),
                        keys: keys.clone(),
                        start_ts: primary.start_ts,
                    })
                };
                let answer = match self.attempt(&route, retry, request).await? {
                    Some(kv_response::Cmd::CheckSecondaryLocks(answer)) => answer,
                    Some(_) => return Err(wrong_answer()),
                    None => {
                        left.extend(keys);
                        continue;
                    }
                };
                match answer.error {
                    None => {}
                    // Somebody has ended the transaction meanwhile, and nothing is known of it here: the primary's region says.
                    Some(KeyError { kind: Some(key_error::Kind::BelowSafePoint(_)) }) => return Ok(None),
                    Some(e) => return Err(Error::of_key(e, Timestamp(primary.start_ts))),
                }
                if answer.locks.len() < keys.len() {
                    let fate = match answer.commit_ts {
                        0 => Fate::RolledBack,
                        ts => Fate::Committed(Timestamp(ts)),
                    };
                    if decided.is_some_and(|d| d != fate) {
                        return Err(Error::Corrupt(format!("transaction {} has two fates", primary.start_ts)));
                    }
                    decided = Some(fate);
                } else if answer.locks.iter().any(|l| !l.use_async_commit) {
                    return Ok(None);
                }
                commit_ts = answer.locks.iter().map(|l| Timestamp(l.min_commit_ts)).fold(commit_ts, Timestamp::max);
            }
        }
        Ok(Some(decided.unwrap_or(Fate::Committed(commit_ts))))
    }

    /// Ends every lock of an async commit that is decided.
    async fn resolve_keys(&self, primary: &LockInfo, fate: Fate, retry: &mut Retry) -> Result<()> {
        let mut left: Vec<Bytes> = primary.secondaries.iter().chain([&primary.key]).cloned().collect();
        while !left.is_empty() {
            let groups = self.group_by_region(std::mem::take(&mut left), |k| k, retry).await?;
            let calls = groups.into_iter().map(|(route, keys)| {
                let mut retry = retry.fork();
                async move {
                    let request = |context| resolve_request(context, primary.start_ts, fate, keys.clone());
                    let answer = self.attempt(&route, &mut retry, request).await?;
                    Ok::<_, Error>(match answer {
                        Some(answer) => {
                            check_resolved(answer, primary.start_ts)?;
                            Vec::new()
                        }
                        None => keys,
                    })
                }
            });
            let calls: Vec<_> = calls.collect();
            let again: Vec<Vec<Bytes>> = stream::iter(calls).buffer_unordered(REGION_CONCURRENCY).try_collect().await?;
            left.extend(again.into_iter().flatten());
        }
        Ok(())
    }

    /// Ends one lock of a transaction whose fate is known (or all its locks in the region, when there are many).
    async fn clean_up(&self, lock: &LockInfo, fate: Fate, retry: &mut Retry) -> Result<()> {
        let answer = match lock.kind() {
            LockKind::LockPessimistic => {
                let request = |context| {
                    kv_request::Cmd::PessimisticRollback(kv::PessimisticRollbackRequest {
                        context: Some(context),
                        start_ts: lock.start_ts,
                        for_update_ts: lock.for_update_ts,
                        keys: vec![lock.key.clone()],
                    })
                };
                self.call_key(&lock.key, retry, request).await?
            }
            _ => {
                let keys = match lock.txn_size >= RESOLVE_WHOLE_REGION_KEYS {
                    true => Vec::new(),
                    false => vec![lock.key.clone()],
                };
                let request = |context| resolve_request(context, lock.start_ts, fate, keys.clone());
                self.call_key(&lock.key, retry, request).await?
            }
        };
        check_resolved(answer, lock.start_ts)
    }

    fn clean_up_later(&self, lock: LockInfo, fate: Fate) {
        let cluster = self.clone();
        self.background.try_run(async move {
            let mut retry = Retry::new(&cluster.env, CLEANUP_BUDGET);
            if let Err(e) = cluster.clean_up(&lock, fate, &mut retry).await {
                tracing::debug!(start_ts = lock.start_ts, error = %e, "lock not cleaned up");
            }
        });
    }
}

/// True if the lock's time is over by PD's clock.
fn is_expired(lock: &LockInfo, now: Timestamp) -> bool {
    Timestamp(lock.start_ts).physical_ms().saturating_add(lock.ttl_ms) < now.physical_ms()
}

async fn wait_for(key: Option<Bytes>, retry: &mut Retry) -> Result<()> {
    match key {
        None => Ok(()),
        Some(key) => {
            let waited = retry.backoff.wait_at_least(Cause::Locked, Duration::ZERO).await;
            waited.map_err(|_| Error::LockTimeout { key })
        }
    }
}

fn resolve_request(context: kv::Context, start_ts: u64, fate: Fate, keys: Vec<Bytes>) -> kv_request::Cmd {
    let commit_ts = match fate {
        Fate::Committed(ts) => ts.0,
        Fate::RolledBack => 0,
    };
    kv_request::Cmd::ResolveLock(kv::ResolveLockRequest { context: Some(context), start_ts, commit_ts, keys })
}

fn check_resolved(answer: kv_response::Cmd, start_ts: u64) -> Result<()> {
    let error = match answer {
        kv_response::Cmd::ResolveLock(r) => r.error,
        kv_response::Cmd::PessimisticRollback(r) => r.errors.into_iter().next(),
        _ => return Err(wrong_answer()),
    };
    error.map_or(Ok(()), |e| Err(Error::of_key(e, Timestamp(start_ts))))
}
