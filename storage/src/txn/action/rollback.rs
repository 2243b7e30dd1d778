//! Rolling a transaction back on its keys. Always leaves a record (M1, M2), protected on the primary (M3, M4).

use super::Changes;
use crate::error::{Error, KeyError};
use crate::mvcc::{Lock, MvccReader, OwnRecord, Write};
use basalt_common::mutant::mutant;
use basalt_common::{EncodedKey, Timestamp, UserKey};

/// Rolls `start_ts` back on a key, whatever it left there.
///
/// # Errors
/// [`KeyError::Committed`] when it is committed.
pub fn rollback(
    reader: &mut MvccReader<'_>,
    user_key: &UserKey,
    start_ts: Timestamp,
    changes: &mut Changes,
) -> Result<(), Error> {
    let key = user_key.encode();
    let lock = reader.lock(&key, start_ts)?;
    match lock {
        Some(lock) if lock.start_ts == start_ts => {
            let is_protected = &lock.primary == user_key && !mutant("M3");
            roll_back_lock(reader, &key, &lock, is_protected, changes)
        }
        other => match reader.own_record(&key, start_ts)? {
            OwnRecord::Committed { commit_ts, .. } => {
                Err(KeyError::Committed { start_ts, commit_ts, key: user_key.clone() }.into())
            }
            OwnRecord::RolledBack => Ok(()),
            OwnRecord::None { .. } if mutant("M1") => Ok(()),
            OwnRecord::None { overlapped } => {
                put_rollback(&key, start_ts, true, overlapped, changes);
                mark_in_lock(&key, start_ts, other, changes);
                Ok(())
            }
        },
    }
}

/// Takes the transaction's own lock away and leaves the record.
pub(super) fn roll_back_lock(
    reader: &mut MvccReader<'_>,
    key: &EncodedKey,
    lock: &Lock,
    is_protected: bool,
    changes: &mut Changes,
) -> Result<(), Error> {
    let overlapped = match reader.own_record(key, lock.start_ts)? {
        OwnRecord::None { overlapped } => overlapped,
        // A lock beside its own record: only the lock is left to remove.
        OwnRecord::RolledBack => {
            changes.unlock(key, lock);
            return Ok(());
        }
        OwnRecord::Committed { .. } => {
            let message = format!("{key:?} is locked and committed by {}", lock.start_ts);
            return Err(KeyError::Corrupt(message).into());
        }
    };
    if lock.has_long_value() {
        changes.delete_value(key, lock.start_ts);
    }
    put_rollback(key, lock.start_ts, is_protected, overlapped, changes);
    changes.unlock(key, lock);
    Ok(())
}

/// Leaves the rollback record, or the mark of it in the commit record that stands in its place (M5), which then carries
/// the commit_ts of the next newer version (M6).
pub(super) fn put_rollback(
    key: &EncodedKey,
    start_ts: Timestamp,
    is_protected: bool,
    overlapped: Option<(Write, Option<Timestamp>)>,
    changes: &mut Changes,
) {
    match overlapped {
        None => changes.put_write(key, start_ts, &Write::rollback(start_ts, is_protected)),
        Some(_) if mutant("M5") => changes.put_write(key, start_ts, &Write::rollback(start_ts, is_protected)),
        Some((write, newer)) => {
            let gc_fence = write.gc_fence.or(Some(newer.unwrap_or(Timestamp::ZERO))).filter(|_| !mutant("M6"));
            changes.put_write(key, start_ts, &Write { has_overlapped_rollback: true, gc_fence, ..write });
        }
    }
}

/// Another transaction's async-commit lock may be committed at this very `start_ts`, over the rollback record: it is told.
pub(super) fn mark_in_lock(key: &EncodedKey, start_ts: Timestamp, lock: Option<Lock>, changes: &mut Changes) {
    if let Some(mut lock) = lock
        && lock.use_async_commit
        && lock.min_commit_ts <= start_ts
        && !lock.rollback_ts.contains(&start_ts)
    {
        lock.rollback_ts.push(start_ts);
        changes.put_lock(key, &lock);
    }
}
