//! The raft log in a RocksDB instance of its own. The only file that names `rocksdb` beside the data engine.
//!
//! ```text
//! region id, 8 bytes big endian │ 0x00                              → RaftLocalState
//! region id, 8 bytes big endian │ 0x01 │ index, 8 bytes big endian  → eraftpb.Entry
//! ```
//! Every append is one write batch with a synced write-ahead log. Leftovers of a truncated tail stay where they are until
//! they are overwritten or compacted; `last_index` hides them.
//!
//! A write that was cut short at the end of the write-ahead log was not acknowledged, and is dropped at the next start. Damage
//! anywhere else is an error: RocksDB's default would end the log there without a word, and with it entries and votes that
//! this store has promised to keep. That needs log files that are not used again, whose old bytes nobody could tell from damage.

use super::{LogBatch, LogError, LogState, RaftLog, entry_bytes};
use crate::engine::rocks::says_in_use;
use basalt_common::RegionId;
use basalt_common::mutant::mutant;
use basalt_proto::raft::RaftLocalState;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::Entry;
use rocksdb::{
    DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};
use std::path::Path;

/// Memtables of the log, bytes each. Most entries are compacted away before they reach a file.
const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// The write-ahead log is kept open in files of at most this many bytes in all.
const WAL_BYTES_MAX: u64 = 256 << 20;

const STATE_TAG: u8 = 0;
const ENTRY_TAG: u8 = 1;

/// See the module.
pub struct RocksRaftLog {
    db: DB,
    synced: WriteOptions,
    unsynced: WriteOptions,
}

impl RocksRaftLog {
    /// Opens or creates the log in a folder.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process has it open; others as RocksDB reports them.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_write_buffer_number(3);
        options.set_max_total_wal_size(WAL_BYTES_MAX);
        options.set_compression_type(DBCompressionType::None);
        options.set_max_background_jobs(2);
        options.set_keep_log_file_num(2);
        options.set_recycle_log_file_num(0);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_enable_pipelined_write(false);
        let db = DB::open(&options, path).map_err(|e| open_error(path, &e))?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(RocksRaftLog { db, synced, unsynced: WriteOptions::default() })
    }

    fn first_entry(&self, region: RegionId) -> Result<Option<u64>, LogError> {
        let from = entry_key(region, 0);
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(entry_key(region, u64::MAX).to_vec());
        match self.db.iterator_opt(IteratorMode::From(&from, Direction::Forward), read).next() {
            None => Ok(None),
            Some(item) => {
                let (key, _) = item.map_err(|e| io(&e))?;
                Ok(key.get(9..17).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes))
            }
        }
    }

    fn log_state(&self, region: RegionId, state: &[u8]) -> Result<LogState, LogError> {
        let state = RaftLocalState::decode(state)
            .map_err(|e| LogError::Corrupt(format!("state of region {region} does not decode: {e}")))?;
        let first = self.first_entry(region)?.filter(|&i| i <= state.last_index);
        Ok(LogState { state, first_index: first.unwrap_or(state.last_index + 1) })
    }
}

impl RaftLog for RocksRaftLog {
    fn append(&self, batch: &LogBatch) -> Result<(), LogError> {
        let mut out = WriteBatch::default();
        let mut buffer = Vec::new();
        for (&region, append) in &batch.regions {
            if append.reset && !mutant("M31") {
                out.delete(state_key(region));
                out.delete_range(entry_key(region, 0), entry_key(region, u64::MAX));
            }
            for entry in &append.entries {
                buffer.clear();
                entry.write_to_vec(&mut buffer).map_err(|e| LogError::Corrupt(e.to_string()))?;
                out.put(entry_key(region, entry.index), &buffer);
            }
            if let Some(state) = &append.state {
                out.put(state_key(region), state.encode_to_vec());
            }
        }
        self.db.write_opt(out, &self.synced).map_err(|e| io(&e))
    }

    fn entries(&self, region: RegionId, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        let mut total = 0;
        let from = entry_key(region, low);
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(entry_key(region, high.max(low)).to_vec());
        for item in self.db.iterator_opt(IteratorMode::From(&from, Direction::Forward), read) {
            let (_, value) = item.map_err(|e| io(&e))?;
            let entry = decode_entry(region, &value)?;
            total += entry_bytes(&entry);
            if entry.index != low + entries.len() as u64 || (!entries.is_empty() && total > bytes_max) {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn term(&self, region: RegionId, index: u64) -> Result<Option<u64>, LogError> {
        match self.db.get_pinned(entry_key(region, index)).map_err(|e| io(&e))? {
            None => Ok(None),
            Some(value) => Ok(Some(decode_entry(region, &value)?.term)),
        }
    }

    fn state(&self, region: RegionId) -> Result<Option<LogState>, LogError> {
        match self.db.get_pinned(state_key(region)).map_err(|e| io(&e))? {
            None => Ok(None),
            Some(value) => self.log_state(region, &value).map(Some),
        }
    }

    fn regions(&self) -> Result<Vec<(RegionId, LogState)>, LogError> {
        let mut found = Vec::new();
        let mut next = 0u64;
        loop {
            let from = state_key(RegionId(next));
            let Some(item) = self.db.iterator(IteratorMode::From(&from, Direction::Forward)).next() else { break };
            let (key, value) = item.map_err(|e| io(&e))?;
            let id = key.get(..8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
            let id = id.ok_or_else(|| LogError::Corrupt("a key is cut short".into()))?;
            if key.get(8) == Some(&STATE_TAG) {
                found.push((RegionId(id), self.log_state(RegionId(id), &value)?));
            }
            let Some(after) = id.checked_add(1) else { break };
            next = after;
        }
        Ok(found)
    }

    fn compact(&self, region: RegionId, index: u64) -> Result<(), LogError> {
        let Some(first) = self.first_entry(region)? else { return Ok(()) };
        if first >= index {
            return Ok(());
        }
        let mut out = WriteBatch::default();
        out.delete_range(entry_key(region, first), entry_key(region, index));
        self.db.write_opt(out, &self.unsynced).map_err(|e| io(&e))
    }

    fn reclaim(&self) {
        self.db.compact_range(None::<&[u8]>, None::<&[u8]>);
    }

    fn disk_bytes(&self) -> u64 {
        let property = |name: &str| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        property("rocksdb.total-sst-files-size") + property("rocksdb.cur-size-all-mem-tables")
    }
}

fn state_key(region: RegionId) -> [u8; 9] {
    let mut key = [STATE_TAG; 9];
    key[..8].copy_from_slice(&region.0.to_be_bytes());
    key
}

fn entry_key(region: RegionId, index: u64) -> [u8; 17] {
    let mut key = [ENTRY_TAG; 17];
    key[..8].copy_from_slice(&region.0.to_be_bytes());
    key[9..].copy_from_slice(&index.to_be_bytes());
    key
}

fn decode_entry(region: RegionId, bytes: &[u8]) -> Result<Entry, LogError> {
    Entry::parse_from_bytes(bytes)
        .map_err(|e| LogError::Corrupt(format!("an entry of region {region} does not decode: {e}")))
}

fn io(error: &rocksdb::Error) -> LogError {
    let text = error.to_string();
    match error.kind() {
        rocksdb::ErrorKind::Corruption => LogError::Corrupt(text),
        _ if text.contains("No space left") => LogError::DiskFull(text),
        _ => LogError::Io(text),
    }
}

fn open_error(path: &Path, error: &rocksdb::Error) -> LogError {
    match io(error) {
        LogError::Corrupt(text) => LogError::Corrupt(format!("a file in {} is damaged: {text}", path.display())),
        _ if says_in_use(error.as_ref()) => LogError::InUse(path.display().to_string()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::RegionAppend;
    use super::*;
    use std::path::PathBuf;

    const BATCHES: u64 = 64;

    fn fill(folder: &Path) {
        let log = RocksRaftLog::open(folder).expect("opens");
        for index in 1..=BATCHES {
            let entry = Entry { index, term: 1, data: vec![index as u8; 200].into(), ..Default::default() };
            let state = Some(RaftLocalState { last_index: index, ..RaftLocalState::default() });
            let append = RegionAppend { reset: false, entries: vec![entry], state };
            log.append(&LogBatch { regions: [(RegionId(1), append)].into() }).expect("appends");
        }
    }

    /// The write-ahead log that everything is in.
    fn wal(folder: &Path) -> PathBuf {
        let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
        let logs = files.filter(|path| path.extension().is_some_and(|e| e == "log"));
        logs.max_by_key(|path| path.metadata().map_or(0, |m| m.len())).expect("there is a log")
    }

    /// How many batches are there after the file was changed, or why the log does not open.
    fn after(change: impl FnOnce(&mut Vec<u8>)) -> Result<u64, LogError> {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path());
        let wal = wal(folder.path());
        let mut bytes = std::fs::read(&wal).expect("readable");
        change(&mut bytes);
        std::fs::write(&wal, bytes).expect("writable");
        let log = RocksRaftLog::open(folder.path())?;
        let found = log.entries(RegionId(1), 1, BATCHES + 1, u64::MAX >> 1)?.len() as u64;
        assert_eq!(log.state(RegionId(1))?.map_or(0, |s| s.state.last_index), found);
        Ok(found)
    }

    #[test]
    fn damage_is_an_error_and_only_a_torn_end_is_cut() {
        let mut len = 0;
        assert_eq!(after(|bytes| len = bytes.len()).expect("an untouched log opens"), BATCHES);
        for part in 0..16 {
            match after(|bytes| bytes[len * part / 16 + 9] ^= 0x10) {
                Err(LogError::Corrupt(text)) => assert!(text.contains("is damaged"), "{text}"),
                Err(error) => panic!("part {part}: {error}"),
                Ok(found) => assert_eq!(found, BATCHES, "part {part} was cut off in silence"),
            }
        }
        let torn = after(|bytes| bytes.truncate(len - 50)).expect("a torn end is no damage");
        assert_eq!(torn, BATCHES - 1);
    }

    #[test]
    fn key_formats_are_fixed() {
        assert_eq!(state_key(RegionId(0x0102)), *b"\0\0\0\0\0\0\x01\x02\0");
        assert_eq!(entry_key(RegionId(0x0102), 3), *b"\0\0\0\0\0\0\x01\x02\x01\0\0\0\0\0\0\0\x03");
    }
}
