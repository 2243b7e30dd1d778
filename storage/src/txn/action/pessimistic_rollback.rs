//! Giving pessimistic locks back (a statement failed). Leaves no record: the transaction goes on.

use super::Changes;
use crate::error::Error;
use crate::mvcc::{LockKind, MvccReader};
use basalt_common::{Timestamp, UserKey};

/// Removes the pessimistic lock of `start_ts` on a key, unless a later statement (a larger `for_update_ts`) took it again.
///
/// # Errors
/// Of the engine.
pub fn pessimistic_rollback(
    reader: &mut MvccReader<'_>,
    user_key: &UserKey,
    start_ts: Timestamp,
    for_update_ts: Timestamp,
    changes: &mut Changes,
) -> Result<(), Error> {
    let key = user_key.encode();
    if let Some(lock) = reader.lock(&key, start_ts)?
        && lock.kind == LockKind::Pessimistic
        && lock.start_ts == start_ts
        && lock.for_update_ts <= for_update_ts
    {
        changes.unlock(&key, &lock);
    }
    Ok(())
}
