//! Committing a transaction's locks: the lock becomes a commit record at commit_ts.

use super::Changes;
use crate::error::{Error, KeyError};
use crate::mvcc::{Lock, LockKind, MvccReader, OwnRecord, Write, WriteKind};
use basalt_common::{EncodedKey, Timestamp, UserKey};

/// Commits `start_ts` on a key.
///
/// # Errors
/// [`KeyError::CommitTsExpired`] below what readers were promised, [`KeyError::TxnLockNotFound`] when the transaction was
/// rolled back here, or has not been prewritten here.
pub fn commit(
    reader: &mut MvccReader<'_>,
    user_key: &UserKey,
    start_ts: Timestamp,
    commit_ts: Timestamp,
    changes: &mut Changes,
) -> Result<(), Error> {
    if commit_ts <= start_ts {
        return Err(KeyError::Invalid(format!("commit_ts {commit_ts} is not above start_ts {start_ts}")).into());
    }
    let key = user_key.encode();
    let lock_not_found = || KeyError::TxnLockNotFound { start_ts, commit_ts, key: user_key.clone() };
    match reader.lock(&key, start_ts)? {
        Some(lock) if lock.start_ts == start_ts => {
            if commit_ts < lock.min_commit_ts {
                let min_commit_ts = lock.min_commit_ts;
                let key = user_key.clone();
                return Err(KeyError::CommitTsExpired { start_ts, commit_ts, key, min_commit_ts }.into());
            }
            if lock.kind == LockKind::Pessimistic && &lock.primary == user_key {
                // The primary was never prewritten: nothing is decided, and there is nothing to commit.
                return Err(lock_not_found().into());
            }
            commit_lock(&key, &lock, commit_ts, changes);
            Ok(())
        }
        _ => match reader.own_record(&key, start_ts)? {
            OwnRecord::Committed { .. } => Ok(()),
            OwnRecord::RolledBack | OwnRecord::None { .. } => Err(lock_not_found().into()),
        },
    }
}

/// Turns a lock into its commit record. A pessimistic lock that no prewrite replaced becomes nothing (M16).
pub(super) fn commit_lock(key: &EncodedKey, lock: &Lock, commit_ts: Timestamp, changes: &mut Changes) {
    let kind = match lock.kind {
        LockKind::Put => WriteKind::Put,
        LockKind::Delete => WriteKind::Delete,
        LockKind::Lock => WriteKind::Lock,
        LockKind::Pessimistic => {
            changes.unlock(key, lock);
            return;
        }
    };
    let mut write = Write::new(kind, lock.start_ts, lock.short_value.clone());
    write.has_overlapped_rollback = lock.rollback_ts.contains(&commit_ts);
    changes.put_write(key, commit_ts, &write);
    changes.unlock(key, lock);
}
