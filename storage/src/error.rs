//! The store's errors, by what the caller does next.

use crate::engine::EngineError;
use basalt_common::{Peer, Region, RegionId, StoreId};
use std::time::Duration;

/// The request came to the wrong place or at the wrong time; the client refreshes, waits or goes elsewhere. Nothing was
/// changed, except where the variant says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegionError {
    /// This peer does not lead; it may know who does.
    #[error("region {region} is not led by this peer")]
    NotLeader {
        /// Of which region.
        region: RegionId,
        /// Who leads, if known.
        leader: Option<Peer>,
    },
    /// The store has no such region.
    #[error("region {0} is not on this store")]
    RegionNotFound(RegionId),
    /// A key of the request lies outside the region.
    #[error("key is not in region {0:?}")]
    KeyNotInRegion(Box<Region>),
    /// The region was split, merged or reconfigured since the client looked it up.
    #[error("epoch does not match")]
    EpochNotMatch(Vec<Region>),
    /// Too much to do; come again after the delay.
    #[error("server is busy: {reason}")]
    ServerIsBusy {
        /// What is full.
        reason: &'static str,
        /// How long to stay away.
        backoff: Duration,
    },
    /// The term changed between propose and apply: not applied.
    #[error("stale command")]
    StaleCommand,
    /// Meant for another store.
    #[error("request is for store {wanted}, this is store {actual}")]
    StoreNotMatch {
        /// Whom the client meant.
        wanted: StoreId,
        /// Who got it.
        actual: StoreId,
    },
    /// The write does not fit one raft entry.
    #[error("entry of {size} bytes is over the limit of {limit}")]
    EntryTooLarge {
        /// Its size, bytes.
        size: u64,
        /// The bound, bytes.
        limit: u64,
    },
    /// A new leader has not yet learned the cluster's newest timestamp: no async commit and no one-phase commit yet.
    #[error("max_ts of region {0} is not synced")]
    MaxTsNotSynced(RegionId),
    /// The leader cannot serve reads yet.
    #[error("region {0} is not ready to read")]
    ReadNotReady(RegionId),
    /// No room to write.
    #[error("disk of store {0} is full")]
    DiskFull(StoreId),
    /// The write was proposed and it is not known whether it will be applied.
    #[error("outcome is not known")]
    Undetermined,
    /// The engine failed; the store is stopping.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
