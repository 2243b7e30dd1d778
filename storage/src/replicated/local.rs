//! One engine without replication: one region that holds all keys, and writes that are applied at once.

use super::{RegionCtx, RegionSnapshot, Replicated, ReplicatedWrite};
use crate::collected::{Collected, advance};
use crate::engine::{Engine, EngineError};
use crate::error::RegionError;
use crate::service::admin::{AdminError, RegionAdmin};
use async_trait::async_trait;
use basalt_common::{Epoch, KeyRange, Peer, PeerId, PeerRole, Region, RegionId, StoreId, UserKey};
use basalt_proto::kv::{RegionHashRequest, RegionHashResponse, RegionInfo, RegionInfoRequest, RegionInfoResponse};
use basalt_proto::raft::GcState;
use parking_lot::Mutex;
use std::sync::Arc;

/// See the module.
pub struct LocalReplicated {
    engine: Arc<dyn Engine>,
    region: Arc<Region>,
    gc: Mutex<GcState>,
}

impl LocalReplicated {
    /// Region 1, epoch (1, 1), whose only peer is 1 on store 1.
    pub fn new(engine: Arc<dyn Engine>) -> Arc<Self> {
        let peer = Peer { id: PeerId(1), store_id: StoreId(1), role: PeerRole::Voter };
        let epoch = Epoch { conf_ver: 1, version: 1 };
        let region = Region { id: RegionId(1), range: KeyRange::all(), epoch, peers: vec![peer] };
        Arc::new(LocalReplicated { engine, region: Arc::new(region), gc: Mutex::default() })
    }

    /// The region.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// The context of a request for the region.
    pub fn ctx(&self) -> RegionCtx {
        RegionCtx {
            region_id: self.region.id,
            epoch: self.region.epoch,
            peer_id: self.region.peers[0].id,
            deadline: None,
        }
    }

    fn check(&self, ctx: &RegionCtx) -> Result<(), RegionError> {
        if ctx.region_id != self.region.id {
            return Err(RegionError::RegionNotFound(ctx.region_id));
        }
        if ctx.epoch != self.region.epoch {
            return Err(RegionError::EpochNotMatch(vec![(*self.region).clone()]));
        }
        Ok(())
    }
}

#[async_trait]
impl Replicated for LocalReplicated {
    async fn snapshot(&self, ctx: &RegionCtx) -> Result<RegionSnapshot, RegionError> {
        self.check(ctx)?;
        let data = self.engine.snapshot();
        Ok(RegionSnapshot {
            data,
            collected: Collected::from(&*self.gc.lock()),
            region: Arc::clone(&self.region),
            term: 1,
            max_ts_synced: true,
        })
    }

    async fn write(&self, ctx: &RegionCtx, write: ReplicatedWrite) -> Result<(), RegionError> {
        self.check(ctx)?;
        if let Some(step) = &write.gc {
            advance(&mut self.gc.lock(), step);
        }
        self.engine.write(&write.modifies).map_err(|error| match error {
            EngineError::DiskFull(_) => RegionError::DiskFull(self.region.peers[0].store_id),
            error => RegionError::Engine(error),
        })
    }
}

#[async_trait]
impl RegionAdmin for LocalReplicated {
    async fn split(&self, _ctx: &RegionCtx, _keys: Vec<UserKey>) -> Result<Vec<Region>, AdminError> {
        Err(AdminError::Refused("a store without replication has one region".into()))
    }

    async fn transfer_leader(&self, _ctx: &RegionCtx, _to: Peer) -> Result<(), AdminError> {
        Err(AdminError::Refused("a store without replication has one peer".into()))
    }

    async fn region_info(&self, _request: RegionInfoRequest) -> RegionInfoResponse {
        let peer = self.region.peers[0];
        let region = Some((&*self.region).into());
        RegionInfoResponse {
            regions: vec![RegionInfo {
                region,
                peer_id: peer.id.0,
                leader: Some(peer.into()),
                term: 1,
                ..RegionInfo::default()
            }],
        }
    }

    async fn region_hash(&self, _request: RegionHashRequest) -> RegionHashResponse {
        RegionHashResponse { error: "a store without replication has no replicas".into(), ..Default::default() }
    }
}
