//! Finishing another transaction's locks once its fate is known from its primary.

use super::commit::commit_lock;
use super::rollback::roll_back_lock;
use super::{Changes, rollback};
use crate::error::Error;
use crate::mvcc::MvccReader;
use basalt_common::{Timestamp, UserKey};

/// Commits (`Some`) or rolls back (`None`) the lock of `start_ts` on a key. Where there is no such lock, a commit changes
/// nothing, and a rollback leaves its record.
///
/// # Errors
/// Of the engine; [`crate::error::KeyError::Committed`] when a rollback meets the commit.
pub fn resolve_lock(
    reader: &mut MvccReader<'_>,
    user_key: &UserKey,
    start_ts: Timestamp,
    commit_ts: Option<Timestamp>,
    changes: &mut Changes,
) -> Result<(), Error> {
    let key = user_key.encode();
    match (reader.lock(&key, start_ts)?, commit_ts) {
        (Some(lock), Some(commit_ts)) if lock.start_ts == start_ts => commit_lock(&key, &lock, commit_ts, changes),
        (Some(lock), None) if lock.start_ts == start_ts => {
            let is_protected = &lock.primary == user_key;
            roll_back_lock(reader, &key, &lock, is_protected, changes)?;
        }
        (_, Some(_)) => {}
        (_, None) => rollback::rollback(reader, user_key, start_ts, changes)?,
    }
    Ok(())
}
