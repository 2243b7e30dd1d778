//! The local key-value engine under a store: an ordered map in four column families, with snapshots.
//!
//! Two engines, one conformance test: RocksDB (`rocks`), and a memory engine (`memory`) whose crash loses what was not
//! flushed and which can stall or fail, for simulations.
//!
//! ```text
//! lock     encoded key            → lock record
//! write    encoded key ⊕ !commit_ts → commit record (values up to 255 bytes inlined)
//! default  encoded key ⊕ !start_ts  → value
//! local    apply states, region states, the store's identity (never replicated)
//! ```
//! Durability: a write is in memory only until a flush. The raft log is the log: on restart, entries above the flushed
//! apply state are applied again. All column families flush together, so the apply state on disk tells exactly what the
//! data on disk contains. [`Engine::get_flushed`] reads that durable state, and the raft log is truncated no further.

#[cfg(test)]
mod conformance;
pub mod memory;
pub mod rocks;

use basalt_common::KeyRange;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// A column family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cf {
    /// Values by `key ⊕ !start_ts`.
    Default,
    /// Locks by key.
    Lock,
    /// Commit and rollback records by `key ⊕ !commit_ts`.
    Write,
    /// What the store keeps of itself and its regions.
    Local,
}

/// The families that hold users' data, in the order in which they are scanned, hashed and shipped.
pub const DATA_CFS: [Cf; 3] = [Cf::Default, Cf::Lock, Cf::Write];

impl Cf {
    /// The name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Cf::Default => "default",
            Cf::Lock => "lock",
            Cf::Write => "write",
            Cf::Local => "local",
        }
    }
}

/// One change of the engine. Keys are engine keys (encoded, with timestamp where the family has one).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Modify {
    /// Sets a key.
    Put {
        /// Where.
        cf: Cf,
        /// Engine key.
        key: Bytes,
        /// New value.
        value: Bytes,
    },
    /// Removes a key.
    Delete {
        /// Where.
        cf: Cf,
        /// Engine key.
        key: Bytes,
    },
    /// Removes `[start, end)`; an empty `end` is infinity.
    DeleteRange {
        /// Where.
        cf: Cf,
        /// First engine key.
        start: Bytes,
        /// First engine key that stays.
        end: Bytes,
    },
}

/// What went wrong in the engine. None of these is the request's fault.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// Another process has the folder open.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// The disk is full; nothing was written.
    #[error("disk full: {0}")]
    DiskFull(String),
    /// What is on disk does not check or decode. The store must stop.
    #[error("corrupt data: {0}")]
    Corrupt(String),
    /// Any other failure of the disk or the file system.
    #[error("storage engine: {0}")]
    Io(String),
}

/// Bounds and direction of an iterator, in engine keys.
#[derive(Clone, Default, Debug)]
pub struct IterOptions {
    /// First key seen; empty = from the start.
    pub lower: Bytes,
    /// First key not seen; empty = to the end.
    pub upper: Bytes,
    /// After a seek only keys that share the sought key's prefix (all but the timestamp) are seen, so that a bloom filter
    /// may answer. For seeks forward in the `write` and `default` families.
    pub prefix_same_as_start: bool,
    /// Whether blocks read stay in the cache; off for long scans.
    pub fill_cache: bool,
}

/// Walks one column family in key order. Positions are invalid until the first seek.
pub trait EngineIterator: Send {
    /// To the first key `>= key`.
    fn seek(&mut self, key: &[u8]) -> Result<bool, EngineError>;
    /// To the last key `<= key`.
    fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool, EngineError>;
    /// To the first key within the bounds.
    fn seek_to_first(&mut self) -> Result<bool, EngineError>;
    /// To the last key within the bounds.
    fn seek_to_last(&mut self) -> Result<bool, EngineError>;
    /// One forward. True while on a key.
    fn next(&mut self) -> Result<bool, EngineError>;
    /// One back. True while on a key.
    fn prev(&mut self) -> Result<bool, EngineError>;
    /// True while on a key.
    fn valid(&self) -> bool;
    /// The key here; only while valid.
    fn key(&self) -> &[u8];
    /// The value here; only while valid.
    fn value(&self) -> &[u8];
}

/// The engine as it was at one moment. Holds resources of the engine: keep it for one request.
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError>;
    /// A new iterator.
    fn iter(&self, cf: Cf, options: IterOptions) -> Result<Box<dyn EngineIterator>, EngineError>;
}

/// An ordered map in column families.
pub trait Engine: Send + Sync + 'static {
    /// The current state, unchanging.
    fn snapshot(&self) -> Arc<dyn Snapshot>;
    /// The current value of a key.
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError>;
    /// The value of a key as the last flush made it durable.
    fn get_flushed(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError>;
    /// Applies the changes in order, all or none; visible at return, durable at the next flush.
    fn write(&self, batch: &[Modify]) -> Result<(), EngineError>;
    /// Makes everything written so far durable; returns when it is.
    fn flush(&self) -> Result<(), EngineError>;
    /// Bytes and keys that lie in a range of one family, from statistics; cheap and approximate.
    fn approximate_size(&self, cf: Cf, range: &EngineRange) -> Result<ApproximateSize, EngineError>;
    /// Writes the family's entries of `range` in `snapshot` to a sorted file that [`Engine::ingest`] takes.
    fn export(
        &self,
        snapshot: &dyn Snapshot,
        cf: Cf,
        range: &EngineRange,
        path: &Path,
    ) -> Result<ExportedFile, EngineError>;
    /// Adds a sorted file to a family; its entries replace what they meet. The file may be moved away.
    fn ingest(&self, cf: Cf, path: &Path) -> Result<(), EngineError>;
    /// Rewrites the range's files of commit records and values, so that what was deleted takes no room and no scan steps
    /// over it. May take long.
    fn compact_range(&self, range: &EngineRange);
    /// Total bytes on disk.
    fn disk_bytes(&self) -> u64;
    /// The file system that it is on; `None` for an engine that is on none, or when the system does not say.
    fn disk_space(&self) -> Option<DiskSpace>;
    /// How far writes must slow down now; zero = full speed (flow control instead of write stalls).
    fn suggested_delay(&self) -> std::time::Duration;
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it, bytes.
    pub capacity: u64,
    /// What may still be written, bytes.
    pub available: u64,
}

/// `[start, end)` in engine keys; an empty `end` is infinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRange {
    /// First key.
    pub start: Bytes,
    /// First key after.
    pub end: Bytes,
}

impl From<&KeyRange> for EngineRange {
    fn from(range: &KeyRange) -> Self {
        let encode = |key: &basalt_common::UserKey| {
            if key.0.is_empty() { Bytes::new() } else { Bytes::from(key.encode().into_vec()) }
        };
        EngineRange { start: encode(&range.start), end: encode(&range.end) }
    }
}

/// From statistics, not from a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApproximateSize {
    /// Bytes on disk and in memory.
    pub bytes: u64,
    /// Entries.
    pub keys: u64,
}

/// A file written by [`Engine::export`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// Its length; zero entries mean that no file was written.
    pub size_bytes: u64,
    /// Entries in it.
    pub entries: u64,
    /// CRC-32 of the whole file.
    pub crc32: u32,
}
