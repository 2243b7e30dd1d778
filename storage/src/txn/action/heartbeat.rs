//! Keeping a transaction alive: its primary's TTL is raised.

use super::Changes;
use crate::error::{Error, KeyError};
use crate::mvcc::MvccReader;
use basalt_common::{Timestamp, UserKey};

/// Raises the TTL of the primary's lock to `advise_ttl_ms`; returns the TTL it has then.
///
/// # Errors
/// [`KeyError::TxnNotFound`] when the lock is gone: the transaction is over, one way or the other.
pub fn heartbeat(
    reader: &mut MvccReader<'_>,
    primary: &UserKey,
    start_ts: Timestamp,
    advise_ttl_ms: u64,
    changes: &mut Changes,
) -> Result<u64, Error> {
    let key = primary.encode();
    match reader.lock(&key, start_ts)? {
        Some(mut lock) if lock.start_ts == start_ts => {
            if lock.ttl_ms < advise_ttl_ms {
                lock.ttl_ms = advise_ttl_ms;
                changes.put_lock(&key, &lock);
            }
            Ok(lock.ttl_ms)
        }
        _ => Err(KeyError::TxnNotFound { start_ts, primary: primary.clone() }.into()),
    }
}
