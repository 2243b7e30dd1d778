//! Asking a transaction's primary for its fate, and deciding it when the transaction must be taken for dead.

use super::Changes;
use super::rollback::{mark_in_lock, put_rollback, roll_back_lock};
use crate::error::{Error, KeyError, LockedKey};
use crate::mvcc::{Lock, LockKind, MvccReader, OwnRecord};
use basalt_common::mutant::mutant;
use basalt_common::{EncodedKey, Timestamp, UserKey};

/// Who asks about whom.
#[derive(Clone, Debug)]
pub struct CheckTxnStatus {
    /// Where the transaction's fate is decided.
    pub primary: UserKey,
    /// The transaction asked about.
    pub lock_ts: Timestamp,
    /// The reader in whose way it is; zero or [`Timestamp::MAX`] when nobody's promise is wanted.
    pub caller_start_ts: Timestamp,
    /// Now, by PD.
    pub current_ts: Timestamp,
    /// Roll back where there is no trace of the transaction.
    pub rollback_if_not_exist: bool,
    /// Make an async-commit transaction an ordinary one.
    pub force_sync_commit: bool,
    /// Only the pessimistic lock is in the way.
    pub resolving_pessimistic_lock: bool,
    /// Whoever had the transaction is dead: its lock's time is over.
    pub owner_is_dead: bool,
}

/// The transaction's fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnStatus {
    /// Committed.
    Committed(Timestamp),
    /// Rolled back before.
    RolledBack,
    /// Rolled back now, for its TTL has passed.
    Expired,
    /// Rolled back now, for there was no trace of it.
    NotFoundRolledBack,
    /// Its pessimistic lock on the primary was removed, for its TTL has passed; the transaction may still go on.
    PessimisticExpired,
    /// There is no trace of it and nothing was done.
    NotFound,
    /// In progress.
    Alive {
        /// Its lock.
        lock: Box<LockedKey>,
        /// It will commit above the caller.
        is_pushed: bool,
    },
}

/// Decides what can be decided.
///
/// # Errors
/// [`KeyError::TxnNotFound`] where there is no trace and it shall not be rolled back, [`KeyError::PrimaryMismatch`] when the
/// lock names another primary.
pub fn check_txn_status(
    reader: &mut MvccReader<'_>,
    check: &CheckTxnStatus,
    changes: &mut Changes,
) -> Result<TxnStatus, Error> {
    let key = check.primary.encode();
    match reader.lock(&key, check.lock_ts)? {
        Some(lock) if lock.start_ts == check.lock_ts => check_lock(reader, check, &key, lock, changes),
        other => check_record(reader, check, &key, other, changes),
    }
}

fn check_lock(
    reader: &mut MvccReader<'_>,
    check: &CheckTxnStatus,
    key: &EncodedKey,
    mut lock: Lock,
    changes: &mut Changes,
) -> Result<TxnStatus, Error> {
    let locked = |lock: Lock| Box::new(LockedKey { key: check.primary.clone(), lock });
    if lock.primary != check.primary {
        return Err(KeyError::PrimaryMismatch(locked(lock)).into());
    }
    // Its secondaries may all be locked, and it committed by that: only they can tell.
    if lock.use_async_commit && !check.force_sync_commit {
        return Ok(TxnStatus::Alive { lock: locked(lock), is_pushed: false });
    }
    if check.owner_is_dead || lock.is_expired(check.current_ts) {
        if check.resolving_pessimistic_lock && lock.kind == LockKind::Pessimistic {
            changes.unlock(key, &lock);
            return Ok(TxnStatus::PessimisticExpired);
        }
        roll_back_lock(reader, key, &lock, !mutant("M4"), changes)?;
        return Ok(TxnStatus::Expired);
    }
    let mut is_changed = false;
    if lock.use_async_commit {
        lock.use_async_commit = false;
        lock.secondaries.clear();
        is_changed = true;
    }
    let wants_promise = !check.caller_start_ts.is_zero() && check.caller_start_ts != Timestamp::MAX;
    let mut is_pushed = lock.min_commit_ts > check.caller_start_ts && check.caller_start_ts != Timestamp::MAX;
    if wants_promise && !is_pushed && lock.kind != LockKind::Pessimistic {
        // Above all that have asked until now, so that the next to ask needs no write.
        lock.min_commit_ts = check.caller_start_ts.next().max(check.current_ts);
        is_pushed = true;
        is_changed = true;
    }
    if is_changed {
        changes.put_lock(key, &lock);
    }
    Ok(TxnStatus::Alive { lock: locked(lock), is_pushed })
}

fn check_record(
    reader: &mut MvccReader<'_>,
    check: &CheckTxnStatus,
    key: &EncodedKey,
    other: Option<Lock>,
    changes: &mut Changes,
) -> Result<TxnStatus, Error> {
    match reader.own_record(key, check.lock_ts)? {
        OwnRecord::Committed { commit_ts, .. } => Ok(TxnStatus::Committed(commit_ts)),
        OwnRecord::RolledBack => Ok(TxnStatus::RolledBack),
        OwnRecord::None { .. } if check.resolving_pessimistic_lock => Ok(TxnStatus::NotFound),
        OwnRecord::None { .. } if check.rollback_if_not_exist && mutant("M2") => Ok(TxnStatus::NotFoundRolledBack),
        OwnRecord::None { overlapped } if check.rollback_if_not_exist => {
            put_rollback(key, check.lock_ts, true, overlapped, changes);
            mark_in_lock(key, check.lock_ts, other, changes);
            Ok(TxnStatus::NotFoundRolledBack)
        }
        OwnRecord::None { .. } => {
            Err(KeyError::TxnNotFound { start_ts: check.lock_ts, primary: check.primary.clone() }.into())
        }
    }
}
