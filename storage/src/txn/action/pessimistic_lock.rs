//! Taking a lock before the value is known: pessimistic transactions.

use super::{Changes, check_key};
use crate::error::{ConflictReason, Error, KeyError};
use crate::mvcc::reader::Versioned;
use crate::mvcc::{Lock, LockKind, MvccReader, OwnRecord, WriteKind};
use basalt_common::{EncodedKey, Timestamp, UserKey};

/// A lock wanted.
#[derive(Clone, Debug)]
pub struct PessimisticLock {
    /// The keys, each with whether it must have no value.
    pub keys: Vec<(UserKey, MustNotExist)>,
    /// Of the transaction.
    pub primary: UserKey,
    /// The transaction.
    pub start_ts: Timestamp,
    /// See [`Lock::ttl_ms`].
    pub lock_ttl_ms: u64,
    /// The keys must be unchanged since then.
    pub for_update_ts: Timestamp,
    /// See [`Lock::min_commit_ts`].
    pub min_commit_ts: Timestamp,
    /// The values are wanted.
    pub return_values: bool,
    /// Longest key, bytes.
    pub key_bytes_max: usize,
}

/// Whether a key to be locked must have no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MustNotExist(pub bool);

/// Locks all keys, or none; returns their values, in order, when wanted.
///
/// # Errors
/// [`KeyError::Locked`] by another transaction, [`KeyError::WriteConflict`] when a key changed after `for_update_ts` (or the
/// transaction was rolled back), [`KeyError::AlreadyExist`].
pub fn pessimistic_lock(
    reader: &mut MvccReader<'_>,
    wanted: &PessimisticLock,
    changes: &mut Changes,
) -> Result<Vec<Option<Versioned>>, Error> {
    let mut values = Vec::with_capacity(if wanted.return_values { wanted.keys.len() } else { 0 });
    for (user_key, must_not_exist) in &wanted.keys {
        check_key(user_key, wanted.key_bytes_max)?;
        let key = user_key.encode();
        lock_key(reader, wanted, user_key, &key, changes)?;
        // A repeated request checks and reads again: the first answer may have been lost (M16).
        if wanted.return_values || must_not_exist.0 {
            let value = reader.get_committed(&key, wanted.for_update_ts)?;
            if must_not_exist.0 && value.is_some() {
                return Err(KeyError::AlreadyExist(user_key.clone()).into());
            }
            if wanted.return_values {
                values.push(value);
            }
        }
    }
    Ok(values)
}

fn lock_key(
    reader: &mut MvccReader<'_>,
    wanted: &PessimisticLock,
    user_key: &UserKey,
    key: &EncodedKey,
    changes: &mut Changes,
) -> Result<(), Error> {
    match reader.lock(key)? {
        Some(lock) if lock.start_ts != wanted.start_ts => return Err(lock.blocks(user_key.clone())),
        Some(lock) if lock.kind != LockKind::Pessimistic => {
            // Prewritten already: a request that was overtaken. There is nothing to take any more.
            let (start_ts, key) = (wanted.start_ts, user_key.clone());
            return Err(KeyError::PessimisticLockNotFound { start_ts, key }.into());
        }
        Some(mut lock) => {
            if lock.for_update_ts < wanted.for_update_ts {
                lock.for_update_ts = wanted.for_update_ts;
                lock.ttl_ms = lock.ttl_ms.max(wanted.lock_ttl_ms);
                lock.min_commit_ts = lock.min_commit_ts.max(wanted.min_commit_ts);
                changes.put_lock(key, &lock);
            }
            return Ok(());
        }
        None => {}
    }
    check_newest(reader, wanted, user_key, key)?;
    let mut lock = Lock::new(LockKind::Pessimistic, wanted.primary.clone(), wanted.start_ts, wanted.lock_ttl_ms);
    lock.for_update_ts = wanted.for_update_ts;
    lock.min_commit_ts = wanted.min_commit_ts;
    changes.put_lock(key, &lock);
    Ok(())
}

/// Refuses when the key changed after `for_update_ts`, and when the transaction is over.
fn check_newest(
    reader: &mut MvccReader<'_>,
    wanted: &PessimisticLock,
    user_key: &UserKey,
    key: &EncodedKey,
) -> Result<(), Error> {
    let start_ts = wanted.start_ts;
    let conflict = |conflict_start_ts, conflict_commit_ts, reason| {
        let (key, primary) = (user_key.clone(), wanted.primary.clone());
        Error::from(KeyError::WriteConflict { start_ts, conflict_start_ts, conflict_commit_ts, key, primary, reason })
    };
    let mut found = reader.seek_write(key, Timestamp::MAX)?;
    if found.as_ref().is_some_and(|(commit_ts, _)| *commit_ts >= start_ts) {
        match reader.own_record(key, start_ts)? {
            OwnRecord::RolledBack => return Err(conflict(start_ts, start_ts, ConflictReason::SelfRolledBack)),
            OwnRecord::Committed { commit_ts, .. } => {
                return Err(KeyError::Committed { start_ts, commit_ts, key: user_key.clone() }.into());
            }
            OwnRecord::None { .. } => found = reader.seek_write(key, Timestamp::MAX)?,
        }
    }
    while let Some((commit_ts, write)) = found {
        if commit_ts <= wanted.for_update_ts {
            break;
        }
        if write.kind != WriteKind::Rollback {
            return Err(conflict(write.start_ts, commit_ts, ConflictReason::PessimisticRetry));
        }
        found = reader.next_write(key)?;
    }
    Ok(())
}
