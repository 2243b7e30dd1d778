//! Reading and writing a region without knowing raft.
//!
//! The transaction layer and the coprocessor see a region through [`Replicated`]: a consistent snapshot of a region that
//! this store leads, and writes that are applied on a quorum before they answer. Real: `raft_kv` over the raft store.
//! Second: `local`, one engine without replication, under the golden scripts of `mvcc` and `txn`.

pub mod local;
pub mod raft_kv;

use crate::collected::Collected;
use crate::engine::{Modify, Snapshot};
use crate::error::{KeyError, RegionError};
use async_trait::async_trait;
use basalt_common::env::Monotonic;
use basalt_common::mutant::mutant;
use basalt_common::{Epoch, PeerId, Region, RegionId, Timestamp};
use basalt_proto::raft::GcStep;
use std::sync::Arc;

/// Which region, in which configuration, a request was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionCtx {
    /// The region.
    pub region_id: RegionId,
    /// Its epoch as the client knows it; must be equal.
    pub epoch: Epoch,
    /// The peer that the client takes for the leader; must be this store's.
    pub peer_id: PeerId,
    /// When the client stops waiting.
    pub deadline: Option<Monotonic>,
}

/// A region's data at one moment, read under a leader's lease (or a read index).
#[derive(Clone)]
pub struct RegionSnapshot {
    /// The engine's snapshot; holds other regions' data too, so bound every read by `region.range`.
    pub data: Arc<dyn Snapshot>,
    /// The region as of the snapshot.
    pub region: Arc<Region>,
    /// The leader's term: a write that follows from this read must be proposed in the same term.
    pub term: u64,
    /// Whether the leader has learned the newest timestamp since it was elected (or since a merge): without it no async
    /// commit and no one-phase commit (M8).
    pub max_ts_synced: bool,
    /// How far garbage collection is.
    pub collected: Collected,
}

impl RegionSnapshot {
    /// Refuses readers and new locks of a transaction that are older than the safe point (M26).
    ///
    /// # Errors
    /// [`KeyError::BelowSafePoint`].
    pub fn check_safe_point(&self, ts: Timestamp) -> Result<(), KeyError> {
        let safe_point = self.collected.safe_point;
        if ts < safe_point && !mutant("M26") { Err(KeyError::BelowSafePoint { ts, safe_point }) } else { Ok(()) }
    }

    /// Whether nothing can be said of a transaction any more: it left no lock, and its records may be gone.
    pub fn has_forgotten(&self, start_ts: Timestamp) -> bool {
        start_ts < self.collected.collected_to
    }
}

/// What is written, and under which leadership it was computed.
#[derive(Debug, Clone)]
pub struct ReplicatedWrite {
    /// Changes of the data families, engine keys within the region.
    pub modifies: Vec<Modify>,
    /// The term of the snapshot that they follow from; refused (`StaleCommand`) in any other.
    pub term: u64,
    /// Garbage collection's marks, which change with them.
    pub gc: Option<GcStep>,
}

/// Regions of one store that can be read and written.
#[async_trait]
pub trait Replicated: Send + Sync + 'static {
    /// A linearizable snapshot of a region that this store leads.
    async fn snapshot(&self, ctx: &RegionCtx) -> Result<RegionSnapshot, RegionError>;

    /// Replicates and applies a write. At `Ok` a quorum has it on disk and this store's snapshots see it.
    /// [`RegionError::Undetermined`] when it was proposed and its fate is not known; any other error: not applied.
    ///
    /// `Undetermined` may only be answered once this peer no longer serves reads in `write.term`: the caller then drops
    /// the latches and the in-memory locks that keep readers away from the write. The future is driven to its end, even
    /// when the client is gone.
    async fn write(&self, ctx: &RegionCtx, write: ReplicatedWrite) -> Result<(), RegionError>;
}
