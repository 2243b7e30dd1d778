//! The seam to the raft store for requests about regions rather than keys.

use crate::error::RegionError;
use crate::replicated::RegionCtx;
use async_trait::async_trait;
use basalt_common::{Peer, Region, UserKey};
use basalt_proto::kv::{RegionHashRequest, RegionHashResponse, RegionInfoRequest, RegionInfoResponse};

/// Why an administrative request was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdminError {
    /// Wrong place or time: as with data requests.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Cannot be done, and why.
    #[error("{0}")]
    Refused(String),
}

/// What a store does to its regions on request. Implemented by the raft store.
#[async_trait]
pub trait RegionAdmin: Send + Sync + 'static {
    /// Splits a region at keys within it (ascending); answers with the parts in key order once the split is applied.
    async fn split(&self, ctx: &RegionCtx, keys: Vec<UserKey>) -> Result<Vec<Region>, AdminError>;
    /// Hands leadership of a region to another of its peers; answers when the transfer is under way.
    async fn transfer_leader(&self, ctx: &RegionCtx, to: Peer) -> Result<(), AdminError>;
    /// What this store knows of its regions.
    async fn region_info(&self, request: RegionInfoRequest) -> RegionInfoResponse;
    /// A hash over a region's data at an applied index.
    async fn region_hash(&self, request: RegionHashRequest) -> RegionHashResponse;
}
