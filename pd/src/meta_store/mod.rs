//! Where PD keeps its few small records.
//!
//! The seam behind which a raft group of PDs will stand: a write is one atomic batch, and at `Ok` it survives the loss of
//! power (later: of a minority of PDs). Reads happen at start only; PD lives from memory.
//!
//! Real: [`rocks`]. Simulated: [`memory`], whose crash loses what was not synced and whose writes can be made to fail.

pub mod memory;
pub mod rocks;

use async_trait::async_trait;
use bytes::Bytes;
use std::path::PathBuf;

/// Why PD's records cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MetaError {
    /// Another process has the folder open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The disk or the store failed; nothing of the batch may be relied on.
    #[error("PD's store failed: {0}")]
    Failed(String),
    /// A record does not decode: stop.
    #[error("PD's record {0} is damaged")]
    Corrupt(String),
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetaChange {
    /// Sets a record.
    Put(String, Bytes),
    /// Removes a record; one that is not there is fine.
    Delete(String),
}

/// A small durable map.
#[async_trait]
pub trait MetaStore: Send + Sync + 'static {
    /// Reads one record.
    fn get(&self, key: &str) -> Result<Option<Bytes>, MetaError>;

    /// Reads every record whose key starts with `prefix`, in order.
    fn scan(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, MetaError>;

    /// Applies a batch atomically; durable at `Ok`.
    async fn write(&self, batch: Vec<MetaChange>) -> Result<(), MetaError>;
}
