//! A region's log as the raft crate sees it: recent entries from memory, older ones from the raft log.
//!
//! ```text
//!  truncated      cache first        persisted     last
//!      │ in the raft log │ in the raft log and the cache │ in the cache only │
//! ```
//! Entries that are not synced yet are in the cache only, so the cache gives up only entries that are both synced and
//! applied. The truncated index and term come from the apply state: compaction is an entry like any other.

use super::StoreError;
use super::keys::INIT_LOG;
use crate::raftlog::{RaftLog, entry_bytes, limit_bytes};
use basalt_common::{PeerRole, Region, RegionId};
use basalt_proto::raft::{ApplyState, HardStateRecord, RaftLocalState, SnapshotMeta};
use prost::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

/// What is known of a snapshot that a follower needs.
#[derive(Debug, Clone, Default)]
enum Exported {
    /// Nobody asked.
    #[default]
    None,
    /// Raft asked; the peer must order it.
    Wanted,
    /// It is being made, at this index or a later one.
    Ordered(u64),
    /// It can be sent.
    Ready(Box<Snapshot>),
}

/// See the module.
#[derive(Clone)]
pub struct PeerStorage {
    region_id: RegionId,
    log: Arc<dyn RaftLog>,
    hard_state: HardState,
    conf_state: ConfState,
    truncated_index: u64,
    truncated_term: u64,
    last_index: u64,
    last_term: u64,
    cache: VecDeque<Entry>,
    cache_bytes: u64,
    exported: RefCell<Exported>,
}

impl PeerStorage {
    /// The log of a region whose data this store has, as of its apply state, and whether what is on disk must be replaced
    /// by its [`local_state`](Self::local_state) before anything is appended: a snapshot took its place, or it was never
    /// written, because a split made the region.
    ///
    /// # Errors
    /// [`StoreError::Log`] when the log cannot be read.
    pub fn load(
        log: Arc<dyn RaftLog>,
        region_id: RegionId,
        apply: &ApplyState,
        conf_state: ConfState,
    ) -> Result<(Self, bool), StoreError> {
        let found = log.state(region_id)?.unwrap_or_default();
        let hard = found.state.hard_state.unwrap_or_default();
        let (truncated, truncated_term) = (apply.truncated_index, apply.truncated_term);
        let mut last_index = found.state.last_index;
        let replaced = match log.term(region_id, truncated)? {
            Some(term) => term != truncated_term,
            None => last_index != truncated && found.first_index > last_index,
        };
        let mut hard_state = HardState { term: hard.term, vote: hard.vote, commit: hard.commit, ..Default::default() };
        let reset = last_index < truncated || replaced;
        if reset {
            last_index = truncated;
            if hard_state.term < truncated_term {
                hard_state.term = truncated_term;
                hard_state.vote = 0;
            }
            hard_state.commit = truncated;
        }
        hard_state.commit = hard_state.commit.max(apply.applied_index);
        if apply.applied_index > last_index {
            return Err(StoreError::Corrupt(format!(
                "region {region_id} applied entry {} and its log ends at {last_index}",
                apply.applied_index
            )));
        }
        let last_term = match last_index == truncated {
            true => truncated_term,
            false => log.term(region_id, last_index)?.ok_or_else(|| {
                StoreError::Corrupt(format!("entry {last_index} of region {region_id} is missing from its log"))
            })?,
        };
        let storage = PeerStorage {
            region_id,
            log,
            hard_state,
            conf_state,
            truncated_index: truncated,
            truncated_term,
            last_index,
            last_term,
            cache: VecDeque::new(),
            cache_bytes: 0,
            exported: RefCell::default(),
        };
        Ok((storage, reset))
    }

    /// The empty log of a peer that waits for a snapshot, with the vote that it may have given before.
    ///
    /// # Errors
    /// [`StoreError::Log`] when the log cannot be read.
    pub fn empty(log: Arc<dyn RaftLog>, region_id: RegionId) -> Result<Self, StoreError> {
        let hard = log.state(region_id)?.and_then(|s| s.state.hard_state).unwrap_or_default();
        Ok(PeerStorage {
            region_id,
            log,
            hard_state: HardState { term: hard.term, vote: hard.vote, ..Default::default() },
            conf_state: ConfState::default(),
            truncated_index: 0,
            truncated_term: 0,
            last_index: 0,
            last_term: 0,
            cache: VecDeque::new(),
            cache_bytes: 0,
            exported: RefCell::default(),
        })
    }

    /// The record that describes the log as it is after everything appended so far.
    pub fn local_state(&self) -> RaftLocalState {
        let hs = &self.hard_state;
        let hard_state = HardStateRecord { term: hs.term, vote: hs.vote, commit: hs.commit };
        RaftLocalState { hard_state: Some(hard_state), last_index: self.last_index }
    }

    /// The hard state as last set.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Sets the hard state; the caller has it persisted.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// The configuration as last set.
    pub fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// Takes over how far apply has come.
    pub fn resume(&mut self, apply: &ApplyState, conf_state: ConfState) {
        self.truncate(apply.truncated_index, apply.truncated_term);
        self.conf_state = conf_state;
        self.hard_state.commit = self.hard_state.commit.max(apply.applied_index);
    }

    /// Sets the configuration after it was applied.
    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    /// The log begins behind this index.
    pub fn truncated_index(&self) -> u64 {
        self.truncated_index
    }

    /// Adds entries, replacing what lies at and above the first one's index. They are readable at once, durable later.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        match self.cache.front().map(|e| e.index) {
            Some(front) if front < first.index => {
                while self.cache.back().is_some_and(|e| e.index >= first.index) {
                    self.cache_bytes -= self.cache.pop_back().map_or(0, |e| entry_bytes(&e));
                }
                if self.cache.back().is_some_and(|e| e.index + 1 != first.index) {
                    self.clear_cache();
                }
            }
            _ => self.clear_cache(),
        }
        for entry in entries {
            self.cache_bytes += entry_bytes(entry);
            self.last_index = entry.index;
            self.last_term = entry.term;
            self.cache.push_back(entry.clone());
        }
    }

    /// Forgets the log and begins behind a snapshot.
    pub fn restore(&mut self, index: u64, term: u64, conf_state: ConfState) {
        self.clear_cache();
        self.truncated_index = index;
        self.truncated_term = term;
        self.last_index = index;
        self.last_term = term;
        self.conf_state = conf_state;
        *self.exported.borrow_mut() = Exported::None;
    }

    /// Forgets entries up to `index`, which apply recorded as truncated.
    pub fn truncate(&mut self, index: u64, term: u64) {
        if index <= self.truncated_index {
            return;
        }
        self.truncated_index = index;
        self.truncated_term = term;
        self.evict(index, 0);
        let stale = matches!(&*self.exported.borrow(), Exported::Ready(s) if s.get_metadata().index < index);
        if stale {
            *self.exported.borrow_mut() = Exported::None;
        }
    }

    /// Gives up the oldest entries, at most up to `index`, while the cache holds more than `bytes_max`.
    pub fn evict(&mut self, index: u64, bytes_max: u64) {
        while self.cache_bytes > bytes_max && self.cache.front().is_some_and(|e| e.index <= index) {
            self.cache_bytes -= self.cache.pop_front().map_or(0, |e| entry_bytes(&e));
        }
    }

    /// Where the snapshot that is being made, or can be sent, ends.
    pub fn snapshot_index(&self) -> Option<u64> {
        match &*self.exported.borrow() {
            Exported::Ordered(index) => Some(*index),
            Exported::Ready(snapshot) => Some(snapshot.get_metadata().index),
            Exported::None | Exported::Wanted => None,
        }
    }

    /// True once after raft asked for a snapshot that is not there yet. It will be of what was `applied`, or of more.
    pub fn take_snapshot_wanted(&mut self, applied: u64) -> bool {
        let exported = self.exported.get_mut();
        let wanted = matches!(exported, Exported::Wanted);
        if wanted {
            *exported = Exported::Ordered(applied);
        }
        wanted
    }

    /// Hands in an exported snapshot, or nothing when the export failed.
    pub fn set_snapshot(&mut self, meta: Option<&SnapshotMeta>) {
        *self.exported.get_mut() = match meta {
            Some(meta) if meta.index >= self.truncated_index => Exported::Ready(Box::new(self.to_raft(meta))),
            _ => Exported::None,
        };
    }

    /// Forgets an exported snapshot: the region changed, or it was sent.
    pub fn forget_snapshot(&mut self) {
        if matches!(self.exported.get_mut(), Exported::Ready(_)) {
            *self.exported.get_mut() = Exported::None;
        }
    }

    fn to_raft(&self, meta: &SnapshotMeta) -> Snapshot {
        let region = meta.region.as_ref().map(Region::from);
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = meta.index;
        snapshot.mut_metadata().term = meta.term;
        if let Some(region) = region {
            snapshot.mut_metadata().set_conf_state(conf_state_of(&region));
        }
        if !meta.conf_state.is_empty() {
            let conf: Result<ConfState, _> = protobuf::Message::parse_from_bytes(&meta.conf_state);
            if let Ok(conf) = conf {
                snapshot.mut_metadata().set_conf_state(conf);
            }
        }
        snapshot.data = meta.encode_to_vec().into();
        snapshot
    }

    fn clear_cache(&mut self) {
        self.cache.clear();
        self.cache_bytes = 0;
    }

    fn cached(&self, index: u64) -> Option<&Entry> {
        let front = self.cache.front()?.index;
        self.cache.get(index.checked_sub(front)? as usize)
    }

    fn store_error(error: crate::raftlog::LogError) -> raft::Error {
        raft::Error::Store(StorageError::Other(Box::new(error)))
    }
}

impl Storage for PeerStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last_index + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let bytes_max = max_size.into().unwrap_or(u64::MAX >> 1);
        let cache_first = self.cache.front().map_or(u64::MAX, |e| e.index);
        let mut entries = Vec::new();
        if low < cache_first {
            let below = high.min(cache_first);
            entries = self.log.entries(self.region_id, low, below, bytes_max).map_err(Self::store_error)?;
            if entries.is_empty() {
                return Err(raft::Error::Store(StorageError::Unavailable));
            }
            if (entries.len() as u64) < below - low {
                return Ok(entries);
            }
        }
        let next = low + entries.len() as u64;
        if next < high {
            let skip = (next - cache_first) as usize;
            entries.extend(self.cache.iter().skip(skip).take((high - next) as usize).cloned());
        }
        limit_bytes(&mut entries, bytes_max);
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated_index {
            return Ok(self.truncated_term);
        }
        if index == self.last_index {
            return Ok(self.last_term);
        }
        if index < self.truncated_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.last_index {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        if let Some(entry) = self.cached(index) {
            return Ok(entry.term);
        }
        let term = self.log.term(self.region_id, index).map_err(Self::store_error)?;
        term.ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let mut exported = self.exported.borrow_mut();
        match &*exported {
            Exported::Ready(snapshot) if snapshot.get_metadata().index >= request_index => return Ok(*snapshot.clone()),
            Exported::Ordered(_) => {}
            _ => *exported = Exported::Wanted,
        }
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

/// The raft configuration of a region that is not between two configurations.
pub fn conf_state_of(region: &Region) -> ConfState {
    let of = |role| region.peers.iter().filter(move |p| p.role == role).map(|p| p.id.0).collect::<Vec<u64>>();
    ConfState::from((of(PeerRole::Voter), of(PeerRole::Learner)))
}

/// The apply state of a region that was just made.
pub fn initial_apply_state() -> ApplyState {
    ApplyState {
        applied_index: INIT_LOG,
        applied_term: INIT_LOG,
        truncated_index: INIT_LOG,
        truncated_term: INIT_LOG,
        gc: None,
    }
}
