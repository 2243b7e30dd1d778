//! Taking a lock before the value is known: pessimistic transactions.
//!
//! A key that changed after `for_update_ts` is locked all the same: whoever waited for it has it, and need not queue
//! again. The answer brings the newest commit and, when wanted, the newest value, which nobody can change any more; a
//! client that has read something older reads again, and finds its locks there.
//!
//! Shared locks (FOR SHARE) stand beside each other. Their holder may ask for more: once it holds the key alone its lock
//! becomes exclusive.

use super::{Changes, check_key};
use crate::error::{ConflictReason, Error, KeyError};
use crate::mvcc::{Lock, LockKind, MvccReader, OwnRecord, WriteKind};
use basalt_common::mutant::mutant;
use basalt_common::{EncodedKey, Timestamp, UserKey};
use bytes::Bytes;
use std::collections::BTreeSet;

/// A lock wanted.
#[derive(Clone, Debug)]
pub struct PessimisticLock {
    /// The keys, each with whether it must have no value.
    pub keys: Vec<(UserKey, MustNotExist)>,
    /// Of the transaction. Empty with [`PessimisticLock::skip_locked`]: the first key that is locked becomes it.
    pub primary: UserKey,
    /// The transaction.
    pub start_ts: Timestamp,
    /// See [`Lock::ttl_ms`].
    pub lock_ttl_ms: u64,
    /// What the client has read of the keys is as of then.
    pub for_update_ts: Timestamp,
    /// See [`Lock::min_commit_ts`].
    pub min_commit_ts: Timestamp,
    /// Others may share the locks: the keys are read, not changed.
    pub is_shared: bool,
    /// Keys whose locks the transaction shares already, and wants for itself. One that it has lost is not taken anew: what was
    /// read under it may have changed.
    pub shared: BTreeSet<UserKey>,
    /// The values are wanted.
    pub return_values: bool,
    /// SKIP LOCKED: keys that others hold are left out, and no more than so many are locked.
    pub skip_locked: Option<usize>,
    /// How many keys the transaction has locked or written.
    pub txn_keys: u64,
    /// Longest key, bytes.
    pub key_bytes_max: usize,
}

/// Whether a key to be locked must have no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MustNotExist(pub bool);

/// A key that was locked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockedValue {
    /// Its newest value, when wanted and there is one.
    pub value: Option<Bytes>,
    /// Nothing was committed later. Later than `for_update_ts` it is the newest commit.
    pub newest_commit: Timestamp,
    /// Another transaction holds it: it was left out.
    pub skipped: bool,
    /// Other transactions that share the lock.
    pub sharers: Vec<Timestamp>,
}

/// Locks all keys, or none; those that [`PessimisticLock::skip_locked`] allows, and the answer ends with the last of them.
///
/// # Errors
/// [`KeyError::Locked`] by another transaction, [`KeyError::AlreadyExist`], [`KeyError::WriteConflict`] when the
/// transaction was rolled back.
pub fn pessimistic_lock(
    reader: &mut MvccReader<'_>,
    wanted: &PessimisticLock,
    changes: &mut Changes,
) -> Result<Vec<LockedValue>, Error> {
    let mut locked_values = Vec::with_capacity(wanted.keys.len());
    let mut left = wanted.skip_locked.unwrap_or(usize::MAX);
    let mut primary = Some(wanted.primary.clone()).filter(|primary| !primary.as_slice().is_empty());
    for (user_key, must_not_exist) in &wanted.keys {
        if left == 0 {
            break;
        }
        check_key(user_key, wanted.key_bytes_max)?;
        let key = user_key.encode();
        let primary_key = primary.as_ref().unwrap_or(user_key);
        let (lock, newest_commit) = match lock_key(reader, wanted, primary_key, user_key, &key, changes) {
            Err(Error::Key(KeyError::Locked(locked)))
                if wanted.skip_locked.is_some() && stays(&locked.lock, wanted) =>
            {
                locked_values.push(LockedValue { skipped: true, ..LockedValue::default() });
                continue;
            }
            outcome => outcome?,
        };
        left -= 1;
        primary.get_or_insert_with(|| user_key.clone());
        let mut value = None;
        // A repeated request checks and reads again: the first answer may have been lost (M16).
        if wanted.return_values || must_not_exist.0 {
            // Under the lock the newest value is the one as of any later timestamp.
            value = reader.get_committed(&key, newest_commit.max(wanted.for_update_ts))?.map(|found| found.value);
            if must_not_exist.0 && value.is_some() && !mutant("M16") {
                return Err(KeyError::AlreadyExist(user_key.clone()).into());
            }
        }
        let sharers = lock.sharers.iter().map(|sharer| sharer.start_ts).collect();
        locked_values.push(LockedValue { value, newest_commit, skipped: false, sharers });
    }
    Ok(locked_values)
}

/// Which of some keys a SKIP LOCKED request can have, as far as a snapshot shows: those with a value that nobody else holds
/// or claims; from the first on until there are `most`.
///
/// # Errors
/// [`KeyError::Locked`] by a transaction that is committing, or taken for dead.
pub fn available(
    reader: &mut MvccReader<'_>,
    wanted: &PessimisticLock,
    keys: &[(UserKey, MustNotExist)],
    mut most: usize,
    is_claimed: impl Fn(&UserKey) -> bool,
) -> Result<Vec<bool>, Error> {
    let mut found = Vec::new();
    for (user_key, _) in keys {
        if most == 0 {
            break;
        }
        let key = user_key.encode();
        let is_held = match reader.lock(&key, wanted.start_ts)?.and_then(|lock| in_the_way(&lock, wanted)) {
            Some(lock) if stays(&lock, wanted) => true,
            Some(lock) => return Err(lock.blocks(user_key.clone())),
            None => false,
        };
        let is_available = !is_held && !is_claimed(user_key) && reader.get_committed(&key, Timestamp::MAX)?.is_some();
        most -= usize::from(is_available);
        found.push(is_available);
    }
    Ok(found)
}

/// Whether SKIP LOCKED leaves a key out: its holder is alive, as far as the store knows, and not committing; or it deletes the
/// key, which is no more to be had then.
fn stays(lock: &Lock, wanted: &PessimisticLock) -> bool {
    let stays = |lock: &Lock| matches!(lock.kind, LockKind::Pessimistic | LockKind::Delete);
    lock.holders().all(|lock| stays(lock) && !lock.is_expired(wanted.for_update_ts))
}

/// Those of a key's holders that keep the transaction from locking it; one that is taken for dead comes first.
fn in_the_way(lock: &Lock, wanted: &PessimisticLock) -> Option<Lock> {
    let is_own = lock.start_ts == wanted.start_ts;
    let lock = match wanted.is_shared {
        true if is_own || lock.is_shared => None,
        false if is_own => lock.others(),
        _ => Some(lock.clone()),
    }?;
    let dead = lock.holders().find(|lock| lock.is_expired(wanted.for_update_ts)).map(|lock| lock.start_ts);
    Some(lock.of(dead.unwrap_or_default()))
}

/// Returns the lock, and [`LockedValue::newest_commit`].
fn lock_key(
    reader: &mut MvccReader<'_>,
    wanted: &PessimisticLock,
    primary: &UserKey,
    user_key: &UserKey,
    key: &EncodedKey,
    changes: &mut Changes,
) -> Result<(Lock, Timestamp), Error> {
    let found = reader.lock(key, wanted.start_ts)?;
    if let Some(others) = found.as_ref().and_then(|lock| in_the_way(lock, wanted)) {
        return Err(others.blocks(user_key.clone()));
    }
    let is_own = |lock: &Lock| lock.start_ts == wanted.start_ts;
    if wanted.shared.contains(user_key) && !found.as_ref().is_some_and(is_own) {
        return Err(KeyError::PessimisticLockNotFound { start_ts: wanted.start_ts, key: user_key.clone() }.into());
    }
    let sharers = match found {
        Some(lock) if is_own(&lock) && lock.kind != LockKind::Pessimistic => {
            // Prewritten already: a request that was overtaken. There is nothing to take any more.
            let (start_ts, key) = (wanted.start_ts, user_key.clone());
            return Err(KeyError::PessimisticLockNotFound { start_ts, key }.into());
        }
        Some(mut lock) if is_own(&lock) => {
            // When the key was locked; its newest commit, if that was later than what was asked for: this request sent twice.
            let locked_at = lock.for_update_ts;
            let is_upgraded = lock.is_shared && !wanted.is_shared;
            if lock.for_update_ts < wanted.for_update_ts || is_upgraded {
                lock.is_shared &= wanted.is_shared;
                lock.for_update_ts = lock.for_update_ts.max(wanted.for_update_ts);
                lock.ttl_ms = lock.ttl_ms.max(wanted.lock_ttl_ms);
                lock.min_commit_ts = lock.min_commit_ts.max(wanted.min_commit_ts);
                changes.put_lock(key, &lock);
            }
            return Ok((lock, locked_at));
        }
        Some(lock) => lock.into_holders(),
        None => Vec::new(),
    };
    let newest_commit = newest_commit(reader, wanted, user_key, key)?;
    let mut lock = Lock::new(LockKind::Pessimistic, primary.clone(), wanted.start_ts, wanted.lock_ttl_ms);
    lock.for_update_ts = newest_commit.max(wanted.for_update_ts);
    lock.min_commit_ts = wanted.min_commit_ts.max(lock.for_update_ts.next());
    lock.is_shared = wanted.is_shared;
    lock.sharers = sharers;
    changes.put_lock(key, &lock);
    Ok((lock, newest_commit))
}

/// See [`LockedValue::newest_commit`]. Refuses when the transaction is over.
fn newest_commit(
    reader: &mut MvccReader<'_>,
    wanted: &PessimisticLock,
    user_key: &UserKey,
    key: &EncodedKey,
) -> Result<Timestamp, Error> {
    let start_ts = wanted.start_ts;
    let mut found = reader.seek_write(key, Timestamp::MAX)?;
    if found.as_ref().is_some_and(|(commit_ts, _)| *commit_ts >= start_ts) {
        match reader.own_record(key, start_ts)? {
            OwnRecord::RolledBack => {
                return Err(KeyError::WriteConflict {
                    start_ts,
                    conflict_start_ts: start_ts,
                    conflict_commit_ts: start_ts,
                    key: user_key.clone(),
                    primary: wanted.primary.clone(),
                    reason: ConflictReason::SelfRolledBack,
                }
                .into());
            }
            OwnRecord::Committed { commit_ts, .. } => {
                return Err(KeyError::Committed { start_ts, commit_ts, key: user_key.clone() }.into());
            }
            OwnRecord::None { .. } => found = reader.seek_write(key, Timestamp::MAX)?,
        }
    }
    while let Some((commit_ts, write)) = found {
        if commit_ts <= wanted.for_update_ts || write.kind != WriteKind::Rollback {
            return Ok(commit_ts);
        }
        found = reader.next_write(key)?;
    }
    Ok(Timestamp::ZERO)
}
