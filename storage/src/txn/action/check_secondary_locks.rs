//! Finding out whether an async-commit transaction is committed: it is when every one of its keys is locked. Where a
//! lock is missing the transaction is prevented from ever getting it.

use super::Changes;
use super::rollback::{mark_in_lock, put_rollback, roll_back_lock};
use crate::error::{Error, LockedKey};
use crate::mvcc::{LockKind, MvccReader, OwnRecord};
use basalt_common::{Timestamp, UserKey};

/// What the secondaries say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecondaryStatus {
    /// All keys asked for are locked.
    Locked(Vec<LockedKey>),
    /// One of them is committed, so all are.
    Committed(Timestamp),
    /// One of them is not locked and never will be.
    RolledBack,
}

/// Checks the transaction's lock on each key.
///
/// # Errors
/// Of the engine.
pub fn check_secondary_locks(
    reader: &mut MvccReader<'_>,
    user_keys: &[UserKey],
    start_ts: Timestamp,
    changes: &mut Changes,
) -> Result<SecondaryStatus, Error> {
    let mut locks = Vec::with_capacity(user_keys.len());
    let mut is_rolled_back = false;
    for user_key in user_keys {
        let key = user_key.encode();
        match reader.lock(&key, start_ts)? {
            Some(lock) if lock.start_ts == start_ts && lock.kind != LockKind::Pessimistic => {
                locks.push(LockedKey { key: user_key.clone(), lock });
            }
            Some(lock) if lock.start_ts == start_ts => {
                roll_back_lock(reader, &key, &lock, true, changes)?;
                is_rolled_back = true;
            }
            other => match reader.own_record(&key, start_ts)? {
                OwnRecord::Committed { commit_ts, .. } => return Ok(SecondaryStatus::Committed(commit_ts)),
                OwnRecord::RolledBack => is_rolled_back = true,
                OwnRecord::None { overlapped } => {
                    put_rollback(&key, start_ts, true, overlapped, changes);
                    mark_in_lock(&key, start_ts, other, changes);
                    is_rolled_back = true;
                }
            },
        }
    }
    Ok(if is_rolled_back { SecondaryStatus::RolledBack } else { SecondaryStatus::Locked(locks) })
}
