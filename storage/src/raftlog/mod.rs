//! The raft logs of all regions of a store, on one disk file system, written together.
//!
//! A store leads or follows thousands of regions; each has a log. What makes a write durable is one `fsync`, so the raft
//! store collects what all regions want to append in one round into a [`LogBatch`] and [`RaftLog::append`] makes it
//! durable as one: the cost of a sync is shared by every region that had something to say.
//!
//! ```text
//!   region 7:  state {term, vote, commit, last_index}   entries  41 42 43 44
//!   region 9:  state {term, vote, commit, last_index}   entries  6 7
//!                                                                │      └ last_index: what lies above it is dead
//!                                                                └ first entry: what lies below was compacted
//! ```
//! Three backends under one conformance test: [`rocks`] (a RocksDB instance of its own with a synced WAL; the default),
//! [`raft_engine`] (log-structured files with an index in memory), [`memory`] (for simulations: a crash loses what was
//! not synced).
//!
//! Invariants:
//! - At `Ok` of [`RaftLog::append`] everything in the batch, and everything before it, survives a power cut.
//! - `last_index` of the state is authoritative. Entries above it are leftovers of a truncated tail and are never read.
//! - Entries have consecutive indexes. An append at index `i` replaces everything from `i` on.
//! - The log does not know where it was compacted to: that is the apply state, in the data engine. Compaction only
//!   removes entries that a flushed apply state covers, so it is never needed for recovery and is not synced.
//!
//! Not done: a cache. Recent entries live in `raftstore::peer_storage`; this layer is read for lagging followers and at
//! restart.

pub mod memory;
pub mod raft_engine;
pub mod rocks;

#[cfg(test)]
mod conformance;

use basalt_common::RegionId;
use basalt_proto::raft::RaftLocalState;
use raft::eraftpb::Entry;
use std::collections::BTreeMap;

/// What went wrong in the log. All of these stop the store: a sync that failed once must not be tried again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Another process has the folder open.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// The disk is full.
    #[error("disk full: {0}")]
    DiskFull(String),
    /// What is on disk does not check or decode.
    #[error("corrupt raft log: {0}")]
    Corrupt(String),
    /// Any other failure of the disk or the file system.
    #[error("raft log: {0}")]
    Io(String),
}

/// What one region wants to make durable in one round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegionAppend {
    /// Everything that the region had is removed first, its state too: a snapshot replaced it, or its peer is gone.
    pub reset: bool,
    /// Entries with consecutive indexes; they replace what the log has from the first one's index on.
    pub entries: Vec<Entry>,
    /// The state after the entries; `last_index` is the last entry's.
    pub state: Option<RaftLocalState>,
}

impl RegionAppend {
    /// Nothing of the region is left.
    pub fn removal() -> RegionAppend {
        RegionAppend { reset: true, entries: Vec::new(), state: None }
    }
}

/// What all regions want to make durable in one round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogBatch {
    /// By region, so that the order is the same in every run.
    pub regions: BTreeMap<RegionId, RegionAppend>,
}

impl LogBatch {
    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// Adds what came after this batch, so that both become durable by one sync.
    pub fn merge(&mut self, later: LogBatch) {
        for (region, append) in later.regions {
            match self.regions.get_mut(&region) {
                None => {
                    self.regions.insert(region, append);
                }
                Some(_) if append.reset => {
                    self.regions.insert(region, append);
                }
                Some(earlier) => {
                    if let Some(first) = append.entries.first() {
                        let keep = earlier.entries.iter().take_while(|e| e.index < first.index).count();
                        earlier.entries.truncate(keep);
                    }
                    earlier.entries.extend(append.entries);
                    if append.state.is_some() {
                        earlier.state = append.state;
                    }
                }
            }
        }
    }
}

/// What a region's log holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogState {
    /// The state as last appended.
    pub state: RaftLocalState,
    /// Index of the first entry held; `last_index + 1` when there is none.
    pub first_index: u64,
}

/// The raft logs of a store.
pub trait RaftLog: Send + Sync + 'static {
    /// Makes the batch durable, all or nothing; returns when it is.
    ///
    /// # Errors
    /// Any error stops the store: what the disk holds is not known.
    fn append(&self, batch: &LogBatch) -> Result<(), LogError>;

    /// Entries of `[low, high)`, at least one, and as many as fit `bytes_max`. Fewer when some are not in the log.
    fn entries(&self, region: RegionId, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError>;

    /// The term of one entry; `None` when it is not in the log.
    fn term(&self, region: RegionId, index: u64) -> Result<Option<u64>, LogError>;

    /// What the log holds of a region; `None` when it knows nothing of it.
    fn state(&self, region: RegionId) -> Result<Option<LogState>, LogError>;

    /// Every region that the log knows, in order.
    fn regions(&self) -> Result<Vec<(RegionId, LogState)>, LogError>;

    /// Removes the entries below `index`. Not synced.
    fn compact(&self, region: RegionId, index: u64) -> Result<(), LogError>;

    /// Has the disk give up what was removed, where it does not by itself. May take long.
    fn reclaim(&self) {}

    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;
}

/// Takes entries until `bytes_max` is reached, but at least one.
pub(crate) fn limit_bytes(entries: &mut Vec<Entry>, bytes_max: u64) {
    let mut total = 0u64;
    let mut keep = 0;
    for entry in entries.iter() {
        total += entry_bytes(entry);
        if keep > 0 && total > bytes_max {
            break;
        }
        keep += 1;
    }
    entries.truncate(keep);
}

/// About how many bytes an entry takes.
pub(crate) fn entry_bytes(entry: &Entry) -> u64 {
    (entry.data.len() + entry.context.len() + 24) as u64
}
