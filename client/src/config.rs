//! The client's settings and bounds.

use std::time::Duration;

/// Time that one statement's request may spend on retries.
pub const REQUEST_BUDGET: Duration = Duration::from_secs(20);
/// How long SPLIT TABLE waits until PD lists the regions it made.
pub const SPLIT_LISTED_WAIT: Duration = Duration::from_secs(5);
/// How often it looks.
pub const SPLIT_LISTED_POLL: Duration = Duration::from_millis(20);
/// Time that a commit may spend on retries: giving up here can mean an unknown outcome.
pub const COMMIT_BUDGET: Duration = Duration::from_secs(40);
/// Time that a lookup or a timestamp from PD may take.
pub const PD_BUDGET: Duration = Duration::from_secs(10);
/// Time that clean-up behind a failure may spend; locks that stay end with their TTL.
pub const CLEANUP_BUDGET: Duration = Duration::from_secs(5);
/// How long one call to a store may take before its answer counts as lost.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a store whose disk is full may take to hand a region to another that has room.
pub const FULL_STORE_WAIT: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
pub const BACKOFF_CAP: Duration = Duration::from_millis(500);

/// Regions remembered; over it everything is forgotten and looked up again.
pub const REGION_CACHE_MAX: usize = 200_000;
/// Regions fetched with one question about a range.
pub const REGION_PREFETCH: u32 = 128;
/// Outcomes of other transactions remembered.
pub const TXN_STATUS_CACHE_MAX: usize = 4_096;

/// Requests to regions in flight for one batched read, prewrite or commit.
pub const REGION_CONCURRENCY: usize = 16;
/// Pairs in one scan request.
pub const SCAN_BATCH: usize = 1_024;
/// How fast the pages of a scan grow that was begun with a small one.
pub const PAGE_GROWTH: usize = 4;
/// Bytes in one scan response, about.
pub const SCAN_BYTES_MAX: u64 = 1 << 20;
/// Mutations in one prewrite or commit request at most.
pub const BATCH_KEYS_MAX: usize = 4_096;
/// Bytes of mutations in one prewrite request, about; well below the largest raft entry.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Keys of a transaction that may commit asynchronously: all of them stand in the primary's lock.
pub const ASYNC_COMMIT_KEYS_MAX: usize = 256;
/// Bytes of those keys.
pub const ASYNC_COMMIT_KEY_BYTES_MAX: usize = 4 << 10;

/// Bytes of keys and values that one transaction may buffer, unless its options say otherwise.
pub const TXN_BYTES_MAX: usize = 100 << 20;
/// Keys that such a one may write or lock.
pub const TXN_KEYS_MAX: usize = 2_000_000;
/// Bytes of one key.
pub const KEY_BYTES_MAX: usize = 4 << 10;
/// Bytes of one value, below the largest raft entry.
pub const VALUE_BYTES_MAX: usize = 6 << 20;

/// How long the locks of a commit live when nobody prolongs them.
pub const COMMIT_LOCK_TTL: Duration = Duration::from_secs(3);
/// How long pessimistic locks live when nobody prolongs them: the client that took them is gone.
pub const PESSIMISTIC_LOCK_TTL: Duration = Duration::from_secs(10);
/// So long before their time is over a transaction asks whether its pessimistic locks are there.
pub const LOCKS_DOUBTED_BEFORE: Duration = Duration::from_secs(1);
/// How long the prewrite of one region waits for others' locks while the transaction may hold locks in other regions:
/// readers cannot pass those of an async commit. Shorter than [`REQUEST_BUDGET`], with which they wait.
pub const PREWRITE_LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long an optimistic commit over several requests waits for other commits under way, for each of its requests: they may
/// wait for what it has prewritten.
pub const OPTIMISTIC_LOCK_WAIT: Duration = Duration::from_millis(50);
/// How often a lock's life is prolonged, as a part of its TTL.
pub const HEARTBEATS_PER_TTL: u32 = 3;
/// After so long a transaction is no longer kept alive.
pub const TXN_LIFE_MAX: Duration = Duration::from_secs(3_600);
/// How long to wait for a lock where the caller does not say: MySQL's `innodb_lock_wait_timeout`.
pub const LOCK_WAIT_DEFAULT: Duration = Duration::from_secs(50);
/// One store-side wait for a lock; longer waits are asked for again, so that the locks of
/// a client that died are noticed.
pub const LOCK_WAIT_SLICE: Duration = Duration::from_millis(500);
/// How old a transaction is before anybody asks for its owner: most end sooner.
pub const OWNER_ASKED_AFTER: Duration = Duration::from_secs(1);
/// How often the owner of a lock that is waited for is asked whether it lives.
pub const OWNER_ASKED_EVERY: Duration = Duration::from_millis(250);
/// Owners remembered as asked.
pub const OWNERS_ALIVE_MAX: usize = 4_096;
/// A transaction with so many keys or more has all its locks in a region resolved at once.
pub const RESOLVE_WHOLE_REGION_KEYS: u64 = 16;

/// Tasks that finish commits and clean up behind the callers' backs; over it the caller does it itself.
pub const BACKGROUND_TASKS_MAX: usize = 1_024;
/// How long shutdown waits for them.
pub const BACKGROUND_SHUTDOWN: Duration = Duration::from_secs(5);

/// Ranges that a serializable transaction keeps of what it has read; over it neighbors become one.
pub const READ_RANGES_MAX: usize = 4_096;

/// Regions that one coprocessor query works on at a time where the caller does not say.
pub const COPROCESSOR_CONCURRENCY: usize = 15;
/// Responses of a coprocessor query that wait for their reader, a task.
pub const COPROCESSOR_QUEUE: usize = 4;
/// Bytes that a task holds back until its request ended well, so that it can be repeated; beyond it they are handed on.
pub const COPROCESSOR_HOLD_BYTES_MAX: usize = 8 << 20;
/// Bytes after which a store ends the page of a plain scan.
pub const COPROCESSOR_PAGE_BYTES: u64 = 4 << 20;

/// Requests queued for one store's stream; over it callers wait.
pub const STREAM_QUEUE: usize = 4_096;
/// Requests in one stream message at most.
pub const STREAM_BATCH_MAX: usize = 256;
/// Callers that wait for a timestamp in one batch at most.
pub const TSO_BATCH_MAX: usize = 4_096;
