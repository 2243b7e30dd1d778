//! The store's bounds and sizes, with defaults that are safe on two cores and 2 GiB.

use serde::{Deserialize, Serialize};
use std::time::Duration;

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
    /// How long a command waits for its latches, and then for its write, when the request has no shorter deadline,
    /// milliseconds. A write goes on behind an answer of `Undetermined`.
    pub command_wait_max_ms: u64,
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
    /// Locks resolved by one write when a transaction's locks in a whole region are resolved.
    pub resolve_batch_keys: usize,
    /// Pairs of a scan's answer at most.
    pub scan_pairs_max: usize,
    /// Bytes of a scan's answer at most, when the request does not say.
    pub scan_bytes_max: usize,
    /// Requests of one stream answered at the same time; above `lock_waiters_max`, so that requests which wait for locks
    /// never keep those away that release them.
    pub stream_inflight_max: usize,
    /// Responses in one stream message at most.
    pub stream_batch_max: usize,
}

impl Default for TxnConfig {
    fn default() -> Self {
        TxnConfig {
            latch_slots: 4096,
            commands_max: 16_384,
            command_wait_max_ms: 10_000,
            pending_write_bytes_max: 64 << 20,
            key_bytes_max: 4096,
            lock_wait_slice_ms: 1_000,
            lock_wait_default_ms: 50_000,
            lock_waiters_max: 8_192,
            resolve_batch_keys: 256,
            scan_pairs_max: 10_240,
            scan_bytes_max: 8 << 20,
            stream_inflight_max: 16_384,
            stream_batch_max: 128,
        }
    }
}

/// The raft store's bounds and intervals.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// One step of raft's logical clock.
    pub tick: Duration,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// A follower that heard nothing for this many ticks may campaign, and others vote for it.
    pub election_ticks: usize,
    /// It draws how long it waits: so many ticks or fewer. Clients wait as long. Replicas whose ticks fall together and who
    /// draw the same may have to draw again; the phases of stores' ticks differ, so that few draws are enough.
    pub election_ticks_max: usize,
    /// How long after a round was *sent* the leader may answer reads alone, once a quorum acknowledged the round. Must
    /// stay below `(election_ticks - 1) * tick` by more than clocks drift in that time.
    pub lease: Duration,
    /// Inputs waiting for the raft thread; above it, proposals are refused as busy and messages are dropped.
    pub mailbox_max: usize,
    /// Inputs handled in one round, before what they brought about is written and sent.
    pub round_inputs_max: usize,
    /// Proposals of one region that are not applied yet.
    pub proposals_pending_max: usize,
    /// Reads of one region that wait for a read index.
    pub reads_pending_max: usize,
    /// Bytes of one entry.
    pub entry_bytes_max: usize,
    /// Bytes of entries in one append message.
    pub append_bytes_max: u64,
    /// Append messages to one follower that are not acknowledged.
    pub appends_inflight_max: usize,
    /// Bytes of committed entries handed to apply at once.
    pub committed_bytes_max: u64,
    /// Bytes of entries of one region that are proposed and not committed.
    pub uncommitted_bytes_max: u64,
    /// Bytes of applied entries that one region keeps in memory for its followers.
    pub entry_cache_bytes_max: u64,
    /// Bytes that apply gathers into one engine write.
    pub apply_batch_bytes_max: usize,
    /// Entries of one region's log after which it is compacted.
    pub log_entries_max: u64,
    /// Bytes of one region's log after which it is compacted, though they are fewer entries.
    pub log_bytes_max: u64,
    /// A follower this many entries behind no longer holds the log back; it will get a snapshot.
    pub log_lag_entries_max: u64,
    /// When the log has so many bytes, a follower that is a small part of that behind does not, either.
    pub log_lag_bytes_max: u64,
    /// Entries of one region's log that are kept for a follower that is getting a snapshot; above it, that follower needs
    /// another.
    pub log_held_entries_max: u64,
    /// Bytes of entries handed to apply and not applied. Above it a store takes no more, and its leaders slow down.
    pub apply_waiting_bytes_max: u64,
    /// Ticks between looks at whether logs can be compacted.
    pub log_compact_ticks: u64,
    /// Bytes of raft log on disk above which the data engine is flushed, so that the log can be cut.
    pub log_flush_bytes: u64,
    /// Ticks after which an unanswered read index is asked again.
    pub read_retry_ticks: u64,
    /// A waiting caller gets `Undetermined` (writes) or `ReadNotReady` (reads) after this long, if its deadline is later.
    pub request_timeout: Duration,
    /// Votes kept for regions that a split is about to create here.
    pub votes_kept_max: usize,
    /// A peer unheard of for this long is reported to PD as down.
    pub peer_down_after: Duration,
    /// A peer that hears of no leader for this long asks PD whether it is still one of its region.
    pub leader_missing_after: Duration,
    /// Time between a leader's reports to PD when nothing changes.
    pub region_heartbeat: Duration,
    /// Time between a store's reports to PD.
    pub store_heartbeat: Duration,
    /// Regions are split into pieces of about this many bytes.
    pub region_split_size_bytes: u64,
    /// A region above this is split.
    pub region_max_size_bytes: u64,
    /// Bytes of one message of a snapshot stream.
    pub snapshot_chunk_bytes: usize,
    /// How long a snapshot may take to arrive.
    pub snapshot_timeout: Duration,
    /// Envelopes waiting for one other store; above it they are dropped, which raft survives.
    pub transport_queue_max: usize,
    /// Bytes of envelopes in one message of a raft stream.
    pub transport_batch_bytes: usize,
}

impl Default for RaftConfig {
    fn default() -> Self {
        RaftConfig {
            tick: Duration::from_millis(100),
            heartbeat_ticks: 2,
            election_ticks: 10,
            election_ticks_max: 13,
            lease: Duration::from_millis(700),
            mailbox_max: 16_384,
            round_inputs_max: 1_024,
            proposals_pending_max: 8_192,
            reads_pending_max: 8_192,
            entry_bytes_max: 8 << 20,
            append_bytes_max: 1 << 20,
            appends_inflight_max: 256,
            committed_bytes_max: 16 << 20,
            uncommitted_bytes_max: 128 << 20,
            entry_cache_bytes_max: 1 << 20,
            apply_batch_bytes_max: 1 << 20,
            log_entries_max: 4_096,
            log_bytes_max: 32 << 20,
            log_lag_entries_max: 65_536,
            log_lag_bytes_max: 512 << 20,
            log_held_entries_max: 262_144,
            apply_waiting_bytes_max: 64 << 20,
            log_compact_ticks: 30,
            log_flush_bytes: 256 << 20,
            read_retry_ticks: 3,
            request_timeout: Duration::from_secs(10),
            votes_kept_max: 256,
            peer_down_after: Duration::from_secs(30),
            leader_missing_after: Duration::from_secs(30),
            region_heartbeat: Duration::from_secs(3),
            store_heartbeat: Duration::from_secs(3),
            region_split_size_bytes: 96 << 20,
            region_max_size_bytes: 144 << 20,
            snapshot_chunk_bytes: 1 << 20,
            snapshot_timeout: Duration::from_secs(120),
            transport_queue_max: 16_384,
            transport_batch_bytes: 1 << 20,
        }
    }
}
