//! The client's errors, by what the caller does next.

use basalt_common::Timestamp;
use basalt_proto::errors;
use bytes::Bytes;

/// Why a request to the cluster failed. Except for [`Error::Undetermined`], it had no effect that others will see.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Somebody committed a key in between. Optimistic: restart the transaction. Pessimistic lock request: take a new
    /// `for_update_ts` and run the statement again.
    #[error("write conflict on {}: started at {start_ts}, committed at {conflict_commit_ts}", key.escape_ascii())]
    WriteConflict {
        /// The key.
        key: Bytes,
        /// The transaction that lost.
        start_ts: Timestamp,
        /// The commit that it did not see.
        conflict_commit_ts: Timestamp,
    },
    /// Waiting would never have ended: roll the transaction back.
    #[error("deadlock on {}", key.escape_ascii())]
    Deadlock {
        /// The key that was waited for.
        key: Bytes,
        /// The transactions that waited, each for the next, by their start_ts, and on which key.
        circle: Vec<(Timestamp, Bytes)>,
    },
    /// Another transaction holds the key for longer than the caller wants to wait.
    #[error("lock wait timeout on {}", key.escape_ascii())]
    LockTimeout {
        /// The key.
        key: Bytes,
    },
    /// Another transaction holds the key, and the caller wants no waiting.
    #[error("{} is locked", key.escape_ascii())]
    LockNotAvailable {
        /// The key.
        key: Bytes,
    },
    /// A commit met another transaction's lock, and is one that does not wait
    /// ([`TxnOptions::waits_at_commit`](crate::TxnOptions::waits_at_commit)), or a read that stops there
    /// ([`Snapshot::stopping_at_locks`](crate::Snapshot::stopping_at_locks)): lock first, then write.
    #[error("the lock of {} would have to be waited for", key.escape_ascii())]
    WouldWait {
        /// The key.
        key: Bytes,
    },
    /// A key that must be new is there.
    #[error("{} exists already", key.escape_ascii())]
    AlreadyExists {
        /// The key.
        key: Bytes,
    },
    /// Whether the transaction committed is not known. Never repeat it blindly; tell the user.
    #[error("outcome is not known: {0}")]
    Undetermined(String),
    /// The transaction was rolled back by others (its locks outlived their time): restart it.
    #[error("transaction {start_ts} was rolled back: {reason}")]
    Aborted {
        /// The transaction.
        start_ts: Timestamp,
        /// What was found.
        reason: String,
    },
    /// The time for retries is spent: the region has no reachable leader, or its store is busy.
    #[error("region unavailable: {0}")]
    RegionUnavailable(String),
    /// The store has no room for writes: tell the user, who must make some.
    #[error("disk full: {0}")]
    DiskFull(String),
    /// The time for retries is spent: PD does not answer.
    #[error("placement driver unavailable: {0}")]
    PdUnavailable(String),
    /// The transaction buffers too much: split it.
    #[error("transaction is too large: {size} {unit} over {limit}")]
    TxnTooLarge {
        /// What it has.
        size: usize,
        /// Of what: `bytes` or `keys`.
        unit: &'static str,
        /// The bound.
        limit: usize,
    },
    /// One key or value is too large.
    #[error("entry of {size} bytes is over the limit of {limit}")]
    EntryTooLarge {
        /// Its bytes.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// What a serializable transaction had read was changed before it could commit: restart it.
    #[error("what was read was changed: key {}", key.escape_ascii())]
    ReadChanged {
        /// One that was.
        key: Bytes,
    },
    /// The commit came too late for the schema that the transaction was made with: restart it.
    #[error("commit timestamp {commit_ts} is beyond {max_commit_ts}")]
    CommitTsTooLarge {
        /// What PD gave.
        commit_ts: Timestamp,
        /// What the caller allowed.
        max_commit_ts: Timestamp,
    },
    /// The data was not as the writer asserted: stop and look.
    #[error("assertion {assertion} failed on {}", key.escape_ascii())]
    AssertionFailed {
        /// The key.
        key: Bytes,
        /// What was asserted.
        assertion: String,
    },
    /// A computation in a store failed as the user's statement says, with MySQL's code.
    #[error("{message}")]
    Sql {
        /// MySQL's error number.
        code: u16,
        /// SQLSTATE.
        sql_state: String,
        /// MySQL's text.
        message: String,
    },
    /// Stored data does not decode, or an answer makes no sense: stop.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// A read, or a transaction, older than what garbage collection keeps.
    #[error("timestamp {ts} is older than what is kept: the safe point is {safe_point}")]
    BelowSafePoint {
        /// Its timestamp.
        ts: Timestamp,
        /// Versions that no reader at or above it needs may be gone.
        safe_point: Timestamp,
    },
    /// A request that cannot be.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// This process is stopping.
    #[error("the client is shut down")]
    Shutdown,
}

/// Short for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The reaction to a key error other than a lock, which the lock resolver deals with.
    pub(crate) fn below_safe_point(error: errors::BelowSafePoint) -> Error {
        Error::BelowSafePoint { ts: Timestamp(error.ts), safe_point: Timestamp(error.safe_point) }
    }

    pub(crate) fn of_key(error: errors::KeyError, start_ts: Timestamp) -> Error {
        use errors::key_error::Kind;
        let aborted = |reason: String| Error::Aborted { start_ts, reason };
        match error.kind {
            Some(Kind::WriteConflict(e)) if e.reason() == errors::write_conflict::Reason::SelfRolledBack => {
                aborted(format!("rolled back by another client at key {}", e.key.escape_ascii()))
            }
            Some(Kind::WriteConflict(e)) => Error::WriteConflict {
                key: e.key,
                start_ts,
                conflict_commit_ts: Timestamp(e.conflict_commit_ts.max(e.conflict_start_ts)),
            },
            Some(Kind::AlreadyExist(e)) => Error::AlreadyExists { key: e.key },
            Some(Kind::Deadlock(e)) => {
                let circle = e.wait_chain.into_iter().map(Timestamp).zip(e.wait_keys).collect();
                Error::Deadlock { key: e.lock_key, circle }
            }
            Some(Kind::LockWaitTimeout(e)) => Error::LockTimeout { key: e.lock_info.unwrap_or_default().key },
            Some(Kind::Locked(e)) => Error::LockTimeout { key: e.key },
            Some(Kind::CommitTsTooLarge(e)) => {
                Error::CommitTsTooLarge { commit_ts: Timestamp(e.commit_ts), max_commit_ts: Timestamp::ZERO }
            }
            Some(Kind::TxnLockNotFound(e)) => aborted(format!("no lock on {}", e.key.escape_ascii())),
            Some(Kind::PessimisticLockNotFound(e)) => aborted(format!("lost its lock on {}", e.key.escape_ascii())),
            Some(Kind::TxnNotFound(e)) => aborted(format!("no trace of it at {}", e.primary_key.escape_ascii())),
            Some(Kind::AssertionFailed(e)) => Error::AssertionFailed { key: e.key, assertion: e.assertion },
            Some(Kind::KeyTooLarge(e)) => {
                Error::EntryTooLarge { size: e.size_bytes as usize, limit: e.limit_bytes as usize }
            }
            Some(Kind::BelowSafePoint(e)) => Error::below_safe_point(e),
            Some(Kind::Corrupt(message)) => Error::Corrupt(message),
            Some(Kind::Invalid(message)) => Error::Invalid(message),
            Some(Kind::Committed(e)) => {
                Error::Corrupt(format!("transaction {} is committed at {}", e.start_ts, e.commit_ts))
            }
            Some(Kind::CommitTsExpired(e)) => aborted(format!("must commit at {} or later", e.min_commit_ts)),
            Some(Kind::PrimaryMismatch(_)) => Error::Corrupt("lock names another primary".into()),
            None => Error::Corrupt("key error without a kind".into()),
        }
    }
}
