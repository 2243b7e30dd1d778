//! What each transactional command reads and what it changes, as functions from a snapshot to changes: nothing here
//! waits, writes or knows the time. The scheduler holds the latches of the keys meanwhile, so between the snapshot and
//! the application of the changes nobody else changes these keys.
//!
//! One file a verb. All of them are idempotent by (start_ts, key): a command may come twice, late, and after the
//! transaction's end. What makes that so:
//! - a rollback always leaves a record, also where it found no lock, so that a prewrite that comes later fails;
//! - prewrite looks for the transaction's own record before it reports any failure: a repeated prewrite of a committed
//!   transaction succeeds;
//! - rollback records are never removed before the safe point has passed them, and survive meeting a commit record of
//!   another transaction on the same key and timestamp (*overlapped rollback*, [`crate::mvcc::write`]).
//!
//! See Percolator §2.2 for the plain protocol. Pessimistic locks, async commit and one-phase commit follow TiDB's design.
//! Numbers such as M9, here and in the golden scripts, are those of `docs/mistakes.md`.

pub mod check_secondary_locks;
pub mod check_txn_status;
pub mod commit;
pub mod heartbeat;
pub mod pessimistic_lock;
pub mod pessimistic_rollback;
pub mod prewrite;
pub mod resolve_lock;
pub mod rollback;

use crate::engine::{Cf, Modify};
use crate::error::{Error, KeyError};
use crate::mvcc::{Lock, Write};
use basalt_common::{EncodedKey, Timestamp, UserKey};
use bytes::Bytes;

/// What a command wants changed, all or nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In this order.
    pub modifies: Vec<Modify>,
    /// Encoded keys whose lock goes: whoever waits for them may be woken.
    pub released: Vec<Bytes>,
}

impl Changes {
    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.modifies.is_empty()
    }

    /// About how many bytes the write takes.
    pub fn size_bytes(&self) -> usize {
        let size = |modify: &Modify| match modify {
            Modify::Put { key, value, .. } => key.len() + value.len(),
            Modify::Delete { key, .. } => key.len(),
            Modify::DeleteRange { start, end, .. } => start.len() + end.len(),
        };
        self.modifies.iter().map(size).sum()
    }

    fn put_lock(&mut self, key: &EncodedKey, lock: &Lock) {
        let key = Bytes::copy_from_slice(key.as_slice());
        self.modifies.push(Modify::Put { cf: Cf::Lock, key, value: lock.encode() });
    }

    /// Takes a lock away; those that share the key stay.
    fn unlock(&mut self, key: &EncodedKey, lock: &Lock) {
        match lock.others() {
            Some(others) => self.put_lock(key, &others),
            None => self.modifies.push(Modify::Delete { cf: Cf::Lock, key: Bytes::copy_from_slice(key.as_slice()) }),
        }
        self.released.push(Bytes::copy_from_slice(key.as_slice()));
    }

    fn put_write(&mut self, key: &EncodedKey, commit_ts: Timestamp, write: &Write) {
        self.modifies.push(Modify::Put { cf: Cf::Write, key: key.with_ts(commit_ts).into(), value: write.encode() });
    }

    fn put_value(&mut self, key: &EncodedKey, start_ts: Timestamp, value: Bytes) {
        self.modifies.push(Modify::Put { cf: Cf::Default, key: key.with_ts(start_ts).into(), value });
    }

    fn delete_value(&mut self, key: &EncodedKey, start_ts: Timestamp) {
        self.modifies.push(Modify::Delete { cf: Cf::Default, key: key.with_ts(start_ts).into() });
    }
}

/// Refuses keys that the engine's formats are not made for.
fn check_key(key: &UserKey, limit: usize) -> Result<(), Error> {
    if key.0.len() > limit {
        return Err(KeyError::KeyTooLarge { size: key.0.len(), limit }.into());
    }
    Ok(())
}
