//! A raft log in memory, for simulations: a crash loses what was not synced, and the disk can be made to fail.
//!
//! Appends are synced before they return, as the trait promises; compaction is not, and a crash undoes it.

use super::{LogBatch, LogError, LogState, RaftLog, RegionAppend, limit_bytes};
use basalt_common::RegionId;
use basalt_proto::raft::RaftLocalState;
use parking_lot::Mutex;
use raft::eraftpb::Entry;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
struct Region {
    state: RaftLocalState,
    entries: BTreeMap<u64, Entry>,
}

impl Region {
    fn append(&mut self, append: &RegionAppend) {
        if append.reset {
            *self = Region::default();
        }
        if let Some(first) = append.entries.first() {
            self.entries.split_off(&first.index);
        }
        self.entries.extend(append.entries.iter().map(|e| (e.index, e.clone())));
        if let Some(state) = &append.state {
            self.state = *state;
            self.entries.split_off(&(state.last_index + 1));
        }
    }

    fn log_state(&self) -> LogState {
        let first_index = self.entries.keys().next().copied().unwrap_or(self.state.last_index + 1);
        LogState { state: self.state, first_index }
    }
}

#[derive(Default)]
struct Inner {
    current: BTreeMap<RegionId, Region>,
    synced: BTreeMap<RegionId, Region>,
    failure: Option<LogError>,
}

/// See the module.
#[derive(Default)]
pub struct MemoryRaftLog {
    inner: Mutex<Inner>,
}

impl MemoryRaftLog {
    /// Loses everything that was not synced, as a power cut does.
    pub fn crash(&self) {
        let mut inner = self.inner.lock();
        inner.current = inner.synced.clone();
    }

    /// Makes every following append fail, or work again.
    pub fn fail_appends(&self, failure: Option<LogError>) {
        self.inner.lock().failure = failure;
    }
}

impl RaftLog for MemoryRaftLog {
    fn append(&self, batch: &LogBatch) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        if let Some(failure) = &inner.failure {
            return Err(failure.clone());
        }
        let Inner { current, synced, .. } = &mut *inner;
        for (&id, append) in &batch.regions {
            for map in [&mut *current, &mut *synced] {
                match *append == RegionAppend::removal() {
                    true => drop(map.remove(&id)),
                    false => map.entry(id).or_default().append(append),
                }
            }
        }
        Ok(())
    }

    fn entries(&self, region: RegionId, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let inner = self.inner.lock();
        let Some(region) = inner.current.get(&region) else { return Ok(Vec::new()) };
        let mut entries: Vec<Entry> = Vec::new();
        for (&index, entry) in region.entries.range(low..high.max(low)) {
            if index != low + entries.len() as u64 {
                break;
            }
            entries.push(entry.clone());
        }
        limit_bytes(&mut entries, bytes_max);
        Ok(entries)
    }

    fn term(&self, region: RegionId, index: u64) -> Result<Option<u64>, LogError> {
        Ok(self.inner.lock().current.get(&region).and_then(|r| r.entries.get(&index)).map(|e| e.term))
    }

    fn state(&self, region: RegionId) -> Result<Option<LogState>, LogError> {
        Ok(self.inner.lock().current.get(&region).map(Region::log_state))
    }

    fn regions(&self) -> Result<Vec<(RegionId, LogState)>, LogError> {
        Ok(self.inner.lock().current.iter().map(|(&id, r)| (id, r.log_state())).collect())
    }

    fn compact(&self, region: RegionId, index: u64) -> Result<(), LogError> {
        if let Some(region) = self.inner.lock().current.get_mut(&region) {
            region.entries = region.entries.split_off(&index);
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        let inner = self.inner.lock();
        inner.current.values().flat_map(|r| r.entries.values()).map(super::entry_bytes).sum()
    }
}
