//! Messages to domain types and back. Malformed requests become [`KeyError::Invalid`].

use crate::error::{ConflictReason, Error, KeyError, LockedKey, RegionError};
use crate::mvcc::LockKind;
use crate::txn::action::check_txn_status::{CheckTxnStatus, TxnStatus};
use crate::txn::action::pessimistic_lock::{MustNotExist, PessimisticLock};
use crate::txn::action::prewrite::{Assertion, CommitMode, Mutation, MutationOp, Prewrite};
use crate::txn::pessimistic::{Patience, Waits};
use basalt_common::{Timestamp, UserKey};
use basalt_proto::errors as pb;
use basalt_proto::kv;
use bytes::Bytes;
use std::time::Duration;

/// A lock as clients see it.
pub fn lock_info(locked: LockedKey) -> pb::LockInfo {
    let LockedKey { key, lock } = locked;
    let kind = match lock.kind {
        LockKind::Put => pb::LockKind::LockPut,
        LockKind::Delete => pb::LockKind::LockDelete,
        LockKind::Lock => pb::LockKind::LockLock,
        LockKind::Pessimistic => pb::LockKind::LockPessimistic,
    };
    pb::LockInfo {
        key: key.0,
        primary: lock.primary.0,
        start_ts: lock.start_ts.0,
        ttl_ms: lock.ttl_ms,
        kind: kind as i32,
        for_update_ts: lock.for_update_ts.0,
        txn_size: lock.txn_size,
        use_async_commit: lock.use_async_commit,
        min_commit_ts: lock.min_commit_ts.0,
        secondaries: lock.secondaries.into_iter().map(|key| key.0).collect(),
    }
}

/// A key error as a message.
pub fn key_error(error: KeyError) -> pb::KeyError {
    use pb::key_error::Kind;
    let kind = match error {
        KeyError::Locked(locked) => Kind::Locked(lock_info(*locked)),
        KeyError::WriteConflict { start_ts, conflict_start_ts, conflict_commit_ts, key, primary, reason } => {
            let reason = match reason {
                ConflictReason::Optimistic => pb::write_conflict::Reason::Optimistic,
                ConflictReason::SelfRolledBack => pb::write_conflict::Reason::SelfRolledBack,
            };
            Kind::WriteConflict(pb::WriteConflict {
                start_ts: start_ts.0,
                conflict_start_ts: conflict_start_ts.0,
                conflict_commit_ts: conflict_commit_ts.0,
                key: key.0,
                primary: primary.0,
                reason: reason as i32,
            })
        }
        KeyError::AlreadyExist(key) => Kind::AlreadyExist(pb::AlreadyExist { key: key.0 }),
        KeyError::Deadlock { lock_ts, key, circle } => {
            let (wait_chain, wait_keys) = circle.into_iter().map(|(txn, key)| (txn.0, key.0)).unzip();
            Kind::Deadlock(pb::Deadlock { lock_ts: lock_ts.0, lock_key: key.0, wait_chain, wait_keys })
        }
        KeyError::CommitTsExpired { start_ts, commit_ts, key, min_commit_ts } => {
            Kind::CommitTsExpired(pb::CommitTsExpired {
                start_ts: start_ts.0,
                attempted_commit_ts: commit_ts.0,
                key: key.0,
                min_commit_ts: min_commit_ts.0,
            })
        }
        KeyError::TxnNotFound { start_ts, primary } => {
            Kind::TxnNotFound(pb::TxnNotFound { start_ts: start_ts.0, primary_key: primary.0 })
        }
        KeyError::TxnLockNotFound { start_ts, commit_ts, key } => {
            Kind::TxnLockNotFound(pb::TxnLockNotFound { start_ts: start_ts.0, commit_ts: commit_ts.0, key: key.0 })
        }
        KeyError::Committed { start_ts, commit_ts, key } => {
            Kind::Committed(pb::Committed { start_ts: start_ts.0, commit_ts: commit_ts.0, key: key.0 })
        }
        KeyError::AssertionFailed { start_ts, key, must_exist, existing_start_ts, existing_commit_ts } => {
            Kind::AssertionFailed(pb::AssertionFailed {
                start_ts: start_ts.0,
                key: key.0,
                assertion: if must_exist { "EXIST" } else { "NOT_EXIST" }.to_string(),
                existing_start_ts: existing_start_ts.0,
                existing_commit_ts: existing_commit_ts.0,
            })
        }
        KeyError::PrimaryMismatch(locked) => {
            Kind::PrimaryMismatch(pb::PrimaryMismatch { lock_info: Some(lock_info(*locked)) })
        }
        KeyError::PessimisticLockNotFound { start_ts, key } => {
            Kind::PessimisticLockNotFound(pb::PessimisticLockNotFound { start_ts: start_ts.0, key: key.0 })
        }
        KeyError::LockWaitTimeout(locked) => {
            Kind::LockWaitTimeout(pb::LockWaitTimeout { lock_info: Some(lock_info(*locked)) })
        }
        KeyError::KeyTooLarge { size, limit } => {
            Kind::KeyTooLarge(pb::KeyTooLarge { size_bytes: size as u64, limit_bytes: limit as u64 })
        }
        KeyError::Corrupt(message) => Kind::Corrupt(message),
        KeyError::BelowSafePoint { ts, safe_point } => {
            Kind::BelowSafePoint(pb::BelowSafePoint { ts: ts.0, safe_point: safe_point.0 })
        }
        KeyError::Invalid(message) => Kind::Invalid(message),
    };
    pb::KeyError { kind: Some(kind) }
}

/// A region error as a message.
pub fn region_error(error: RegionError) -> pb::RegionError {
    use pb::region_error::Kind;
    let message = error.to_string();
    let kind = match error {
        RegionError::NotLeader { region, leader } => {
            Some(Kind::NotLeader(pb::NotLeader { region_id: region.0, leader: leader.map(Into::into) }))
        }
        RegionError::RegionNotFound(region) => Some(Kind::RegionNotFound(pb::RegionNotFound { region_id: region.0 })),
        RegionError::KeyNotInRegion(region) => Some(Kind::KeyNotInRegion(pb::KeyNotInRegion {
            key: Bytes::new(),
            region_id: region.id.0,
            start_key: region.range.start.0.clone(),
            end_key: region.range.end.0.clone(),
        })),
        RegionError::EpochNotMatch(regions) => {
            Some(Kind::EpochNotMatch(pb::EpochNotMatch { current_regions: regions.iter().map(Into::into).collect() }))
        }
        RegionError::ServerIsBusy { reason, backoff } => Some(Kind::ServerIsBusy(pb::ServerIsBusy {
            reason: reason.to_string(),
            backoff_ms: backoff.as_millis() as u64,
        })),
        RegionError::StaleCommand => Some(Kind::StaleCommand(pb::StaleCommand {})),
        RegionError::StoreNotMatch { wanted, actual } => {
            Some(Kind::StoreNotMatch(pb::StoreNotMatch { request_store_id: wanted.0, actual_store_id: actual.0 }))
        }
        RegionError::ClusterMismatch { wanted, actual } => {
            Some(Kind::ClusterMismatch(pb::ClusterMismatch { request_cluster_id: wanted, actual_cluster_id: actual }))
        }
        RegionError::EntryTooLarge { size, limit } => {
            Some(Kind::EntryTooLarge(pb::EntryTooLarge { region_id: 0, entry_size_bytes: size, limit_bytes: limit }))
        }
        RegionError::MaxTsNotSynced(region) => Some(Kind::MaxTsNotSynced(pb::MaxTsNotSynced { region_id: region.0 })),
        RegionError::ReadNotReady(region) => Some(Kind::ReadNotReady(pb::ReadNotReady { region_id: region.0 })),
        RegionError::DiskFull(store) => Some(Kind::DiskFull(pb::DiskFull { store_id: store.0 })),
        RegionError::Undetermined => Some(Kind::Undetermined(pb::Undetermined {})),
        // The store is stopping: the region will be led elsewhere.
        RegionError::Engine(_) => None,
    };
    pb::RegionError { message, kind }
}

/// Keys of a request.
pub fn user_keys(keys: Vec<Bytes>) -> Vec<UserKey> {
    keys.into_iter().map(UserKey::from).collect()
}

fn mutation(mutation: kv::Mutation) -> Result<Mutation, Error> {
    let op = match kv::Op::try_from(mutation.op) {
        Ok(kv::Op::Put) => MutationOp::Put,
        Ok(kv::Op::Delete) => MutationOp::Delete,
        Ok(kv::Op::Lock) => MutationOp::Lock,
        Ok(kv::Op::Insert) => MutationOp::Insert,
        Ok(kv::Op::CheckNotExists) => MutationOp::CheckNotExists,
        Err(_) => return Err(KeyError::Invalid(format!("mutation op {}", mutation.op)).into()),
    };
    let assertion = match kv::Assertion::try_from(mutation.assertion) {
        Ok(kv::Assertion::None) => Assertion::None,
        Ok(kv::Assertion::Exist) => Assertion::Exist,
        Ok(kv::Assertion::NotExist) => Assertion::NotExist,
        Err(_) => return Err(KeyError::Invalid(format!("assertion {}", mutation.assertion)).into()),
    };
    let is_pessimistic_lock = mutation.is_pessimistic_lock;
    Ok(Mutation { op, key: mutation.key.into(), value: mutation.value, assertion, is_pessimistic_lock })
}

/// A prewrite.
///
/// # Errors
/// [`KeyError::Invalid`].
pub fn prewrite(request: kv::PrewriteRequest, key_bytes_max: usize) -> Result<Prewrite, Error> {
    if request.start_ts == 0 || request.start_ts == u64::MAX {
        return Err(KeyError::Invalid(format!("start_ts {}", request.start_ts)).into());
    }
    let mode = match (request.try_one_pc, request.use_async_commit) {
        (true, _) => CommitMode::OnePhase,
        (false, true) => CommitMode::Async { secondaries: user_keys(request.secondaries) },
        (false, false) => CommitMode::TwoPhase,
    };
    Ok(Prewrite {
        mutations: request.mutations.into_iter().map(mutation).collect::<Result<_, _>>()?,
        primary: request.primary.into(),
        start_ts: Timestamp(request.start_ts),
        lock_ttl_ms: request.lock_ttl_ms,
        txn_size: request.txn_size,
        for_update_ts: Timestamp(request.for_update_ts),
        min_commit_ts: Timestamp(request.min_commit_ts),
        max_commit_ts: Timestamp(request.max_commit_ts),
        mode,
        key_bytes_max,
    })
}

/// A pessimistic lock, and how long its client waits.
///
/// # Errors
/// [`KeyError::Invalid`].
pub fn pessimistic_lock(
    request: kv::PessimisticLockRequest,
    key_bytes_max: usize,
) -> Result<(PessimisticLock, Waits), Error> {
    let patience = match request.wait_timeout_ms {
        i64::MIN..0 => Patience::NoWait,
        0 => Patience::Default,
        ms => Patience::For(Duration::from_millis(ms.unsigned_abs())),
    };
    let held = request.mutations.iter().filter(|mutation| mutation.is_pessimistic_lock);
    let shared = held.map(|mutation| UserKey(mutation.key.clone())).collect();
    let keys = request.mutations.into_iter().map(mutation).map(|mutation| {
        let mutation = mutation?;
        let must_not_exist = mutation.assertion == Assertion::NotExist || mutation.op == MutationOp::Insert;
        Ok((mutation.key, MustNotExist(must_not_exist)))
    });
    let lock = PessimisticLock {
        keys: keys.collect::<Result<_, Error>>()?,
        primary: request.primary.into(),
        start_ts: Timestamp(request.start_ts),
        lock_ttl_ms: request.lock_ttl_ms,
        for_update_ts: Timestamp(request.for_update_ts.max(request.start_ts)),
        min_commit_ts: Timestamp(request.min_commit_ts),
        is_shared: request.is_shared,
        shared,
        return_values: request.return_values,
        txn_keys: request.txn_keys,
        skip_locked: match request.locks_max {
            0 => None,
            max => Some(max as usize),
        },
        key_bytes_max,
    };
    Ok((lock, Waits { patience, waited: Duration::from_millis(request.waited_ms) }))
}

/// A question to a primary.
pub fn check_txn_status(request: kv::CheckTxnStatusRequest) -> CheckTxnStatus {
    CheckTxnStatus {
        primary: request.primary_key.into(),
        lock_ts: Timestamp(request.lock_ts),
        caller_start_ts: Timestamp(request.caller_start_ts),
        current_ts: Timestamp(request.current_ts),
        rollback_if_not_exist: request.rollback_if_not_exist,
        force_sync_commit: request.force_sync_commit,
        resolving_pessimistic_lock: request.resolving_pessimistic_lock,
        owner_is_dead: request.owner_is_dead,
    }
}

/// The primary's answer.
pub fn txn_status(status: TxnStatus) -> kv::CheckTxnStatusResponse {
    let mut response = kv::CheckTxnStatusResponse::default();
    let action = match status {
        TxnStatus::Committed(commit_ts) => {
            response.commit_ts = commit_ts.0;
            kv::TxnAction::NoAction
        }
        TxnStatus::RolledBack => kv::TxnAction::NoAction,
        TxnStatus::Expired => kv::TxnAction::TtlExpireRollback,
        TxnStatus::NotFoundRolledBack => kv::TxnAction::LockNotExistRollback,
        TxnStatus::PessimisticExpired => kv::TxnAction::TtlExpirePessimisticRollback,
        TxnStatus::NotFound => kv::TxnAction::LockNotExistDoNothing,
        TxnStatus::Alive { lock, is_pushed } => {
            // Zero would say that the transaction is over.
            response.lock_ttl_ms = lock.lock.ttl_ms.max(1);
            response.lock_info = Some(lock_info(*lock));
            if is_pushed { kv::TxnAction::MinCommitTsPushed } else { kv::TxnAction::NoAction }
        }
    };
    response.action = action as i32;
    response
}
