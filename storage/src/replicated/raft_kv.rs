//! Regions replicated by raft, as the transaction layer sees them.
//!
//! A snapshot is taken on the caller's thread: the region's delegate says whether this store leads, for which epoch and
//! until when, and the engine gives the snapshot. Only without a lease does the read go through the raft store's mailbox.
//! A write is encoded on the caller's thread, proposed in the term of the snapshot that it follows from, and answered when
//! it is applied here.

use super::{RegionCtx, RegionSnapshot, Replicated, ReplicatedWrite};
use crate::engine::{Cf, DATA_CFS, Engine, EngineRange};
use crate::error::RegionError;
use crate::raftstore::apply::encode_modify;
use crate::raftstore::delegate::ReadDelegate;
use crate::raftstore::handle::RaftHandle;
use crate::raftstore::message::{AdminDone, PeerStatus};
use crate::raftstore::node::pd::PdCaller;
use crate::service::admin::{AdminError, RegionAdmin};
use async_trait::async_trait;
use basalt_common::env::Env;
use basalt_common::{Peer, PeerId, Region, RegionId, UserKey};
use basalt_proto::kv::{RegionHashRequest, RegionHashResponse, RegionInfo, RegionInfoRequest, RegionInfoResponse};
use basalt_proto::raft::split_command::NewRegion;
use basalt_proto::raft::{AdminCommand, HashCommand, RaftCommand, SplitCommand, admin_command};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub struct RaftKv {
    handle: RaftHandle,
    engine: Arc<dyn Engine>,
    env: Env,
    pd: PdCaller,
}

impl RaftKv {
    /// Reads and writes the regions of the store behind `handle`.
    pub fn new(handle: RaftHandle, engine: Arc<dyn Engine>, env: Env, pd: PdCaller) -> Self {
        RaftKv { handle, engine, env, pd }
    }

    /// How long the caller is ready to wait.
    fn wait(&self, ctx: &RegionCtx) -> Duration {
        let limit = self.handle.config().request_timeout;
        ctx.deadline.map_or(limit, |deadline| deadline.since(self.env.now()).min(limit))
    }

    fn delegate(&self, region_id: RegionId) -> Result<Arc<ReadDelegate>, RegionError> {
        self.handle.delegates().get(region_id).ok_or(RegionError::RegionNotFound(region_id))
    }

    /// A snapshot under the lease. `None`: ask the raft store.
    fn lease_snapshot(&self, ctx: &RegionCtx, delegate: &ReadDelegate) -> Result<Option<RegionSnapshot>, RegionError> {
        let drops = delegate.drops();
        let term = delegate.term();
        if term == 0 || ctx.peer_id != delegate.peer_id {
            return Ok(None);
        }
        let data = self.engine.snapshot();
        let (region, collected) = (delegate.region(), delegate.collected());
        if region.epoch != ctx.epoch {
            return Err(RegionError::EpochNotMatch(vec![(*region).clone()]));
        }
        if !delegate.has_lease(self.env.now(), drops) || delegate.term() != term {
            return Ok(None);
        }
        Ok(Some(RegionSnapshot { data, region, term, max_ts_synced: delegate.max_ts_synced(term), collected }))
    }

    async fn status(&self, region_id: RegionId) -> Result<PeerStatus, RegionError> {
        let found = self.handle.status(Some(region_id)).await?;
        found.into_iter().next().ok_or(RegionError::RegionNotFound(region_id))
    }

    fn region_info_of(&self, peer: &PeerStatus) -> RegionInfo {
        let (bytes, keys) = approximate_size(&*self.engine, &peer.region);
        RegionInfo {
            region: Some((&*peer.region).into()),
            peer_id: peer.peer_id.0,
            leader: peer.leader.map(Into::into),
            term: peer.term,
            applied_index: peer.applied_index,
            approximate_size_bytes: bytes,
            approximate_keys: keys,
            first_index: peer.first_index,
            last_index: peer.last_index,
        }
    }

    async fn hash(&self, region_id: RegionId) -> Result<crate::raftstore::message::RegionHash, String> {
        let peer = self.status(region_id).await.map_err(|e| e.to_string())?;
        if !peer.is_leader {
            return peer.hash.ok_or_else(|| "no hash was computed here yet; ask the leader first".into());
        }
        let ctx = RegionCtx { region_id, epoch: peer.region.epoch, peer_id: peer.peer_id, deadline: None };
        let command = AdminCommand { kind: Some(admin_command::Kind::ComputeHash(HashCommand {})) };
        match self.handle.admin(ctx, command, self.handle.config().request_timeout).await {
            Ok(AdminDone::Hash(hash)) => Ok(hash),
            Ok(_) => Err("the store answered something else".into()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Bytes and keys of a region by the engine's statistics; keys are those of the write family.
pub fn approximate_size(engine: &dyn Engine, region: &Region) -> (u64, u64) {
    let range = EngineRange::from(&region.range);
    let mut total = (0, 0);
    for cf in DATA_CFS {
        if let Ok(size) = engine.approximate_size(cf, &range) {
            total.0 += size.bytes;
            total.1 += if cf == Cf::Write { size.keys } else { 0 };
        }
    }
    total
}

/// Splits a region at keys: asks PD for ids and proposes.
///
/// # Errors
/// [`AdminError`] when PD refuses or the region does.
pub async fn split_region(
    handle: &RaftHandle,
    pd: &PdCaller,
    ctx: RegionCtx,
    region: &Region,
    keys: Vec<UserKey>,
) -> Result<Vec<Region>, AdminError> {
    let ids = pd.ask_split(region, keys.len() as u32).await.map_err(|e| AdminError::Refused(e.to_string()))?;
    if ids.len() != keys.len() {
        return Err(AdminError::Refused(format!("PD gave ids for {} of {} regions", ids.len(), keys.len())));
    }
    let new = |(key, ids): (UserKey, basalt_proto::pd::ask_split_response::SplitIds)| NewRegion {
        split_key: key.0,
        region_id: ids.region_id,
        peer_ids: ids.peer_ids,
    };
    let regions = keys.into_iter().zip(ids).map(new).collect();
    let command = AdminCommand { kind: Some(admin_command::Kind::Split(SplitCommand { regions })) };
    match handle.admin(ctx, command, handle.config().request_timeout).await? {
        AdminDone::Split(regions) => Ok(regions),
        _ => Err(AdminError::Refused("the store answered something else".into())),
    }
}

#[async_trait]
impl Replicated for RaftKv {
    async fn snapshot(&self, ctx: &RegionCtx) -> Result<RegionSnapshot, RegionError> {
        let delegate = self.delegate(ctx.region_id)?;
        if let Some(snapshot) = self.lease_snapshot(ctx, &delegate)? {
            return Ok(snapshot);
        }
        let grant = self.handle.read(*ctx, self.wait(ctx)).await?;
        let data = self.engine.snapshot();
        // Between the grant and the snapshot the peer may have lost its leadership, and its data.
        if delegate.term() != grant.term {
            return Err(RegionError::NotLeader { region: ctx.region_id, leader: None });
        }
        let (region, collected) = (delegate.region(), delegate.collected());
        if region.epoch != ctx.epoch {
            return Err(RegionError::EpochNotMatch(vec![(*region).clone()]));
        }
        let max_ts_synced = delegate.max_ts_synced(grant.term);
        Ok(RegionSnapshot { data, region, term: grant.term, max_ts_synced, collected })
    }

    async fn write(&self, ctx: &RegionCtx, write: ReplicatedWrite) -> Result<(), RegionError> {
        let delay = self.engine.suggested_delay();
        if !delay.is_zero() {
            return Err(RegionError::ServerIsBusy { reason: "the engine is behind with compactions", backoff: delay });
        }
        let command = RaftCommand {
            region_id: ctx.region_id.0,
            epoch: Some(ctx.epoch.into()),
            term: write.term,
            modifies: write.modifies.into_iter().map(encode_modify).collect(),
            admin: None,
            gc: write.gc,
        };
        let data = command.encode_to_vec().into();
        self.handle.propose(*ctx, write.term, data).await
    }
}

#[async_trait]
impl RegionAdmin for RaftKv {
    async fn split(&self, ctx: &RegionCtx, keys: Vec<UserKey>) -> Result<Vec<Region>, AdminError> {
        let region = self.delegate(ctx.region_id)?.region();
        if region.epoch != ctx.epoch {
            return Err(RegionError::EpochNotMatch(vec![(*region).clone()]).into());
        }
        if let Some(key) = keys.iter().find(|k| !region.contains(k.as_slice()) || **k == region.range.start) {
            return Err(AdminError::Refused(format!("key {key} does not split the region")));
        }
        split_region(&self.handle, &self.pd, *ctx, &region, keys).await
    }

    async fn transfer_leader(&self, ctx: &RegionCtx, to: Peer) -> Result<(), AdminError> {
        let region = self.delegate(ctx.region_id)?.region();
        let to = if to.id == PeerId(0) { region.peer_on(to.store_id).map_or(to.id, |p| p.id) } else { to.id };
        Ok(self.handle.transfer_leader(ctx.region_id, to, self.wait(ctx)).await?)
    }

    async fn region_info(&self, request: RegionInfoRequest) -> RegionInfoResponse {
        if request.leads_only {
            let delegate = self.handle.delegates().get(RegionId(request.region_id));
            let leader = delegate.filter(|delegate| delegate.term() != 0).map(|delegate| {
                let (peer_id, region) = (delegate.peer_id, delegate.region());
                let leader = region.peer(peer_id).map(Into::into);
                RegionInfo { peer_id: peer_id.0, leader, term: delegate.term(), ..RegionInfo::default() }
            });
            return RegionInfoResponse { regions: leader.into_iter().collect() };
        }
        let wanted = (request.region_id != 0).then_some(RegionId(request.region_id));
        let peers = self.handle.status(wanted).await.unwrap_or_default();
        RegionInfoResponse { regions: peers.iter().map(|p| self.region_info_of(p)).collect() }
    }

    async fn region_hash(&self, request: RegionHashRequest) -> RegionHashResponse {
        match self.hash(RegionId(request.region_id)).await {
            Ok(hash) => RegionHashResponse {
                applied_index: hash.applied_index,
                hash: hash.hash,
                keys: hash.keys,
                error: String::new(),
            },
            Err(error) => RegionHashResponse { error, ..RegionHashResponse::default() },
        }
    }
}
