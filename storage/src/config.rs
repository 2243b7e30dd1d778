//! The store's bounds and sizes, with defaults that are safe on two cores and 2 GiB.

use serde::{Deserialize, Serialize};

/// The data engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Blocks of data files kept in memory, bytes; shared by all families.
    pub block_cache_bytes: usize,
    /// A family's memtable before it is flushed, bytes.
    pub write_buffer_bytes: usize,
    /// All memtables together before the oldest are flushed, bytes.
    pub write_buffers_total_bytes: usize,
    /// Threads for flushes and compactions.
    pub background_jobs_max: i32,
    /// Open data files.
    pub open_files_max: i32,
    /// Size aimed at for one data file, bytes.
    pub target_file_bytes: u64,
    /// Files in level 0 from which writes are asked to slow down.
    pub level0_slowdown_files: u64,
    /// Bytes waiting for compaction from which writes are asked to slow down.
    pub pending_compaction_slowdown_bytes: u64,
    /// Entries of the memtables read at most to estimate a range's size.
    pub approximate_entries_max: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            block_cache_bytes: 256 << 20,
            write_buffer_bytes: 32 << 20,
            write_buffers_total_bytes: 160 << 20,
            background_jobs_max: 2,
            open_files_max: 4096,
            target_file_bytes: 16 << 20,
            level0_slowdown_files: 20,
            pending_compaction_slowdown_bytes: 16 << 30,
            approximate_entries_max: 200_000,
        }
    }
}

/// Transactions on one store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TxnConfig {
    /// Hash slots of the latches. More slots, fewer commands that wait without sharing a key.
    pub latch_slots: usize,
    /// Commands in progress, waiting for latches included; above it `ServerIsBusy`.
    pub commands_max: usize,
    /// Bytes of writes on their way through replication; above it `ServerIsBusy`.
    pub pending_write_bytes_max: usize,
    /// Longest user key, bytes.
    pub key_bytes_max: usize,
    /// How long a request for a pessimistic lock waits on the store before it is answered, whatever the client is
    /// ready to wait in all, milliseconds: a dead holder must be noticed and resolved by the client.
    pub lock_wait_slice_ms: u64,
    /// The time that a client waits for a lock when its request does not say, milliseconds.
    pub lock_wait_default_ms: u64,
    /// Requests waiting for locks at once; above it `ServerIsBusy`.
    pub lock_waiters_max: usize,
    /// When the first waiter after a release could not take the lock, the next is woken so much later, milliseconds.
    pub lock_wake_next_ms: u64,
    /// Locks resolved by one write when a transaction's locks in a whole region are resolved.
    pub resolve_batch_keys: usize,
    /// Pairs of a scan's answer at most.
    pub scan_pairs_max: usize,
    /// Bytes of a scan's answer at most, when the request does not say.
    pub scan_bytes_max: usize,
    /// Requests of one stream answered at the same time.
    pub stream_inflight_max: usize,
    /// Responses in one stream message at most.
    pub stream_batch_max: usize,
}

impl Default for TxnConfig {
    fn default() -> Self {
        TxnConfig {
            latch_slots: 4096,
            commands_max: 16_384,
            pending_write_bytes_max: 64 << 20,
            key_bytes_max: 4096,
            lock_wait_slice_ms: 1_000,
            lock_wait_default_ms: 50_000,
            lock_waiters_max: 8_192,
            lock_wake_next_ms: 20,
            resolve_batch_keys: 256,
            scan_pairs_max: 10_240,
            scan_bytes_max: 8 << 20,
            stream_inflight_max: 1_024,
            stream_batch_max: 128,
        }
    }
}
