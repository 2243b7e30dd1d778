//! The raft log in `raft-engine`: append-only files, the index in memory, garbage rewritten when files are mostly dead.
//!
//! Each region is a raft group of the engine; its state is a key of the group. The engine keeps no leftovers above the
//! last entry, and forgets a group when it is cleaned. Reads of entries go to files: they need the cache above.

use super::{LogBatch, LogError, LogState, RaftLog};
use basalt_common::RegionId;
use basalt_proto::raft::RaftLocalState;
use prost::Message as _;
use raft::eraftpb::Entry;
use raft_engine::{Command, Config, Engine, LogBatch as EngineBatch, MessageExt, ReadableSize};
use std::path::Path;

/// Bytes of one file.
const FILE_BYTES: u64 = 64 << 20;
/// Dead bytes above this start a purge.
const PURGE_BYTES: u64 = 512 << 20;
/// A batch of more bytes is compressed.
const COMPRESS_ABOVE_BYTES: u64 = 8 << 10;

const STATE_KEY: &[u8] = b"state";

/// How the engine finds an entry's index.
#[derive(Clone)]
struct EntryIndex;

impl MessageExt for EntryIndex {
    type Entry = Entry;
    fn index(e: &Entry) -> u64 {
        e.index
    }
}

/// See the module.
pub struct EngineRaftLog {
    engine: Engine,
}

impl EngineRaftLog {
    /// Opens or creates the log in a folder.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process has it open; others as the engine reports them.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let dir = path.to_str().ok_or_else(|| LogError::Io(format!("{} is not UTF-8", path.display())))?;
        let config = Config {
            dir: dir.to_owned(),
            target_file_size: ReadableSize(FILE_BYTES),
            purge_threshold: ReadableSize(PURGE_BYTES),
            batch_compression_threshold: ReadableSize(COMPRESS_ABOVE_BYTES),
            ..Config::default()
        };
        let engine = Engine::open(config).map_err(|e| match e {
            ::raft_engine::Error::Other(ref why) if why.to_string().contains("lock") => LogError::InUse(dir.into()),
            e => io(&e),
        })?;
        Ok(EngineRaftLog { engine })
    }

    fn log_state(&self, region: RegionId, state: &[u8]) -> Result<LogState, LogError> {
        let state = RaftLocalState::decode(state)
            .map_err(|e| LogError::Corrupt(format!("state of region {region} does not decode: {e}")))?;
        let first_index = self.engine.first_index(region.0).unwrap_or(state.last_index + 1);
        Ok(LogState { state, first_index })
    }
}

impl RaftLog for EngineRaftLog {
    fn append(&self, batch: &LogBatch) -> Result<(), LogError> {
        let mut out = EngineBatch::default();
        for (&region, append) in &batch.regions {
            if append.reset {
                out.add_command(region.0, Command::Clean);
            }
            if !append.entries.is_empty() {
                out.add_entries::<EntryIndex>(region.0, &append.entries).map_err(|e| io(&e))?;
            }
            if let Some(state) = &append.state {
                out.put(region.0, STATE_KEY.to_vec(), state.encode_to_vec()).map_err(|e| io(&e))?;
            }
        }
        self.engine.write(&mut out, true).map(|_| ()).map_err(|e| io(&e))?;
        self.engine.purge_expired_files().map(|_| ()).map_err(|e| io(&e))
    }

    fn entries(&self, region: RegionId, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let (Some(first), Some(last)) = (self.engine.first_index(region.0), self.engine.last_index(region.0)) else {
            return Ok(Vec::new());
        };
        let high = high.min(last + 1);
        let mut entries = Vec::new();
        if low >= first && low < high {
            self.engine
                .fetch_entries_to::<EntryIndex>(region.0, low, high, Some(bytes_max as usize), &mut entries)
                .map_err(|e| io(&e))?;
        }
        super::limit_bytes(&mut entries, bytes_max);
        Ok(entries)
    }

    fn term(&self, region: RegionId, index: u64) -> Result<Option<u64>, LogError> {
        Ok(self.entries(region, index, index + 1, u64::MAX >> 1)?.first().map(|e| e.term))
    }

    fn state(&self, region: RegionId) -> Result<Option<LogState>, LogError> {
        self.engine.get(region.0, STATE_KEY).map(|state| self.log_state(region, &state)).transpose()
    }

    fn regions(&self) -> Result<Vec<(RegionId, LogState)>, LogError> {
        let mut ids = self.engine.raft_groups();
        ids.sort_unstable();
        let mut found = Vec::new();
        for id in ids {
            if let Some(state) = self.state(RegionId(id))? {
                found.push((RegionId(id), state));
            }
        }
        Ok(found)
    }

    fn compact(&self, region: RegionId, index: u64) -> Result<(), LogError> {
        self.engine.compact_to(region.0, index);
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.get_used_size() as u64
    }
}

fn io(error: &::raft_engine::Error) -> LogError {
    let text = error.to_string();
    match error {
        ::raft_engine::Error::Corruption(_) => LogError::Corrupt(text),
        _ if text.contains("No space left") => LogError::DiskFull(text),
        _ => LogError::Io(text),
    }
}
