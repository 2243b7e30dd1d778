//! Whether anything has changed in a range since it was read: what a serializable transaction asks before it commits.

use super::Lock;
use super::lock::{LockKind, ReadAt, Verdict};
use super::write::{WriteKind, WriteRef};
use crate::engine::{Cf, EngineRange, IterOptions, Snapshot};
use crate::error::Error;
use basalt_common::key::{decode_user_key, split_ts};
use basalt_common::{Timestamp, UserKey};

/// The first key in a range that was put or deleted after `since`, as the reader sees it. Looks at every version.
///
/// # Errors
/// [`crate::error::KeyError::Locked`] when a lock may commit at or below the reader's timestamp; of the engine.
pub fn first_change(
    snapshot: &dyn Snapshot,
    range: &EngineRange,
    read: &ReadAt,
    since: Timestamp,
) -> Result<Option<UserKey>, Error> {
    let options = || IterOptions { lower: range.start.clone(), upper: range.end.clone(), ..IterOptions::default() };
    let mut changed: Option<UserKey> = None;
    let mut locks = snapshot.iter(Cf::Lock, options())?;
    let mut valid = locks.seek_to_first()?;
    while valid {
        let lock = Lock::decode(locks.value())?;
        let key = decode_user_key(locks.key())?;
        match lock.verdict(key.as_slice(), read) {
            Verdict::Pass => {}
            Verdict::Blocks => return Err(lock.blocks(key)),
            Verdict::ReadThrough if matches!(lock.kind, LockKind::Put | LockKind::Delete) => {
                changed.get_or_insert(key);
            }
            Verdict::ReadThrough => {}
        }
        valid = locks.next()?;
    }
    let mut writes = snapshot.iter(Cf::Write, options())?;
    let mut valid = writes.seek_to_first()?;
    while valid {
        let (key, commit_ts) = split_ts(writes.key())?;
        if since < commit_ts && commit_ts <= read.ts {
            let kind = WriteRef::decode(writes.value())?.kind;
            if matches!(kind, WriteKind::Put | WriteKind::Delete) {
                let key = decode_user_key(key)?;
                return Ok(Some(changed.map_or(key.clone(), |locked| locked.min(key))));
            }
        }
        valid = writes.next()?;
    }
    Ok(changed)
}
