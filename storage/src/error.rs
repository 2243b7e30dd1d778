//! The store's errors, by what the caller does next: a [`RegionError`] sends the request elsewhere or back later, a
//! [`KeyError`] is an answer about the data, for the transaction to deal with.

use crate::engine::EngineError;
use crate::mvcc::Lock;
use basalt_common::{Peer, Region, RegionId, StoreId, Timestamp, UserKey};
use std::time::Duration;

/// The request came to the wrong place or at the wrong time; the client refreshes, waits or goes elsewhere. Nothing was
/// changed, except where the variant says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegionError {
    /// This peer does not lead; it may know who does.
    #[error("region {region} is not led by this peer")]
    NotLeader {
        /// Of which region.
        region: RegionId,
        /// Who leads, if known.
        leader: Option<Peer>,
    },
    /// The store has no such region.
    #[error("region {0} is not on this store")]
    RegionNotFound(RegionId),
    /// A key of the request lies outside the region.
    #[error("key is not in region {0:?}")]
    KeyNotInRegion(Box<Region>),
    /// The region was split, merged or reconfigured since the client looked it up.
    #[error("epoch does not match")]
    EpochNotMatch(Vec<Region>),
    /// Too much to do; come again after the delay.
    #[error("server is busy: {reason}")]
    ServerIsBusy {
        /// What is full.
        reason: &'static str,
        /// How long to stay away.
        backoff: Duration,
    },
    /// The term changed between propose and apply: not applied.
    #[error("stale command")]
    StaleCommand,
    /// Meant for another store.
    #[error("request is for store {wanted}, this is store {actual}")]
    StoreNotMatch {
        /// Whom the client meant.
        wanted: StoreId,
        /// Who got it.
        actual: StoreId,
    },
    /// Meant for another cluster.
    #[error("request is for cluster {wanted}, this is cluster {actual}")]
    ClusterMismatch {
        /// Which the client meant.
        wanted: u64,
        /// Whose this store is.
        actual: u64,
    },
    /// The write does not fit one raft entry.
    #[error("entry of {size} bytes is over the limit of {limit}")]
    EntryTooLarge {
        /// Its size, bytes.
        size: u64,
        /// The bound, bytes.
        limit: u64,
    },
    /// A new leader has not yet learned the cluster's newest timestamp: no async commit and no one-phase commit yet.
    #[error("max_ts of region {0} is not synced")]
    MaxTsNotSynced(RegionId),
    /// The leader cannot serve reads yet.
    #[error("region {0} is not ready to read")]
    ReadNotReady(RegionId),
    /// No room to write.
    #[error("disk of store {0} is full")]
    DiskFull(StoreId),
    /// The write was proposed and it is not known whether it will be applied.
    #[error("outcome is not known")]
    Undetermined,
    /// The engine failed; the store is stopping.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A key and the lock on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedKey {
    /// Which key.
    pub key: UserKey,
    /// Who holds it.
    pub lock: Lock,
}

/// Why a write conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictReason {
    /// Somebody committed after this transaction started: begin again.
    Optimistic,
    /// This transaction itself was rolled back: it is over.
    SelfRolledBack,
}

/// An answer about the data. Nothing was changed by the command that got it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Another transaction holds the key: resolve its lock, or wait.
    #[error("{} is locked by {}", .0.key, .0.lock.start_ts)]
    Locked(Box<LockedKey>),
    /// A newer version (or this transaction's own rollback) is in the way.
    #[error(
        "write of {start_ts} to {key} conflicts with {conflict_start_ts} committed at {conflict_commit_ts} ({reason:?})"
    )]
    WriteConflict {
        /// Whose write.
        start_ts: Timestamp,
        /// Whose version is in the way.
        conflict_start_ts: Timestamp,
        /// Since when.
        conflict_commit_ts: Timestamp,
        /// Where.
        key: UserKey,
        /// Of the transaction whose write it is.
        primary: UserKey,
        /// What to do about it.
        reason: ConflictReason,
    },
    /// The key has a value, and must not have.
    #[error("{0} exists")]
    AlreadyExist(UserKey),
    /// Waiting for this lock would never end.
    #[error("waiting for {lock_ts} on {key} closes a cycle")]
    Deadlock {
        /// Who holds the lock.
        lock_ts: Timestamp,
        /// On which key.
        key: UserKey,
        /// The transactions of the cycle, each waiting for the next, and on which key.
        circle: Vec<(Timestamp, UserKey)>,
    },
    /// The commit timestamp is below what readers were promised: take a new one.
    #[error("commit of {start_ts} at {commit_ts} is below {min_commit_ts}")]
    CommitTsExpired {
        /// Whose commit.
        start_ts: Timestamp,
        /// At which timestamp.
        commit_ts: Timestamp,
        /// Where.
        key: UserKey,
        /// The least allowed.
        min_commit_ts: Timestamp,
    },
    /// There is no trace of the transaction on its primary key.
    #[error("transaction {start_ts} is not known at {primary}")]
    TxnNotFound {
        /// Which transaction.
        start_ts: Timestamp,
        /// Where it should be.
        primary: UserKey,
    },
    /// The lock to be committed is gone: the transaction was rolled back.
    #[error("transaction {start_ts} has no lock on {key}")]
    TxnLockNotFound {
        /// Whose lock.
        start_ts: Timestamp,
        /// At which timestamp it was to be committed.
        commit_ts: Timestamp,
        /// Where.
        key: UserKey,
    },
    /// The transaction to be rolled back is committed.
    #[error("transaction {start_ts} was committed at {commit_ts}")]
    Committed {
        /// Which transaction.
        start_ts: Timestamp,
        /// When.
        commit_ts: Timestamp,
        /// Where the record is.
        key: UserKey,
    },
    /// The key is not what the client is sure it is: rows and indexes, or client and store, disagree.
    #[error("assertion that {key} {} failed", if *.must_exist { "exists" } else { "does not exist" })]
    AssertionFailed {
        /// Who asserts.
        start_ts: Timestamp,
        /// Of which key.
        key: UserKey,
        /// What.
        must_exist: bool,
        /// The version that is there; zero = none.
        existing_start_ts: Timestamp,
        /// Since when.
        existing_commit_ts: Timestamp,
    },
    /// The lock names another primary: ask there.
    #[error("{} is not the primary of {}", .0.key, .0.lock.start_ts)]
    PrimaryMismatch(Box<LockedKey>),
    /// The lock that prewrite relies on is gone.
    #[error("transaction {start_ts} has no pessimistic lock on {key}")]
    PessimisticLockNotFound {
        /// Whose.
        start_ts: Timestamp,
        /// Where.
        key: UserKey,
    },
    /// The client's patience is over.
    #[error("timed out waiting for {} on {}", .0.lock.start_ts, .0.key)]
    LockWaitTimeout(Box<LockedKey>),
    /// No engine takes such a key.
    #[error("key of {size} bytes is over the limit of {limit}")]
    KeyTooLarge {
        /// Its size, bytes.
        size: usize,
        /// The bound, bytes.
        limit: usize,
    },
    /// What is stored does not decode.
    #[error("corrupt data: {0}")]
    Corrupt(String),
    /// Versions that old may be collected.
    #[error("timestamp {ts} is below the safe point {safe_point} of garbage collection")]
    BelowSafePoint {
        /// Of the reader, or of the transaction.
        ts: Timestamp,
        /// How far versions may be collected.
        safe_point: Timestamp,
    },
    /// The request makes no sense.
    #[error("invalid request: {0}")]
    Invalid(String),
}

/// Why a command failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// About the data.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// About where and when.
    #[error(transparent)]
    Region(#[from] RegionError),
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        Error::Region(RegionError::Engine(error))
    }
}

impl From<basalt_common::codec::CodecError> for Error {
    fn from(error: basalt_common::codec::CodecError) -> Self {
        Error::Key(KeyError::Corrupt(error.to_string()))
    }
}
