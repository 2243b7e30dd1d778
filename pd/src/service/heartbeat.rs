//! What stores tell PD and ask of it: heartbeats, registration, split ids, and operators by hand.

use super::{PdService, State, records};
use crate::cluster::{RegionInfo, Stale};
use crate::config::SPLIT_COUNT_MAX;
use crate::error::Error;
use crate::schedule::{BY_HAND, Operator, Step, retire};
use basalt_common::{Peer, PeerId, Region, RegionId, StoreId, Timestamp, UserKey};
use basalt_proto::meta::{Store, StoreState};
use basalt_proto::pd::{self, add_operator_request, region_heartbeat_response};

impl From<Stale> for Error {
    fn from(stale: Stale) -> Self {
        Error::StaleEpoch { region: stale.newer.0 }
    }
}

impl PdService {
    pub(super) fn store_heartbeat(
        &self,
        request: pd::StoreHeartbeatRequest,
    ) -> Result<pd::StoreHeartbeatResponse, Error> {
        let stats = request.stats.ok_or_else(|| Error::Invalid("heartbeat without statistics".into()))?;
        let last = self.tso.lock().last();
        // A read at the largest timestamp is no timestamp that was ever given.
        if stats.max_seen_ts > last.0 && stats.max_seen_ts != u64::MAX {
            tracing::error!(store = stats.store_id, seen = stats.max_seen_ts, %last, "a store saw a future timestamp");
        }
        let wall_ms = self.env.wall_ms();
        let newest_ts = last.max(Timestamp::compose(wall_ms, 0)).0;
        let mut state = self.state.lock();
        match state.cluster.store_heartbeat(stats, self.env.now(), wall_ms) {
            true => Ok(pd::StoreHeartbeatResponse { collect_to: state.gc.collect_to.0, newest_ts }),
            false => Err(Error::NotFound(format!("store {}", stats.store_id))),
        }
    }

    pub(super) async fn put_store(&self, request: pd::PutStoreRequest) -> Result<pd::PutStoreResponse, Error> {
        let store = request.store.filter(|s| s.id != 0).ok_or_else(|| Error::Invalid("store without an id".into()))?;
        let _writer = self.writer.lock().await;
        {
            let state = self.state.lock();
            if !state.bootstrapped {
                return Err(Error::NotBootstrapped);
            }
            let known = state.cluster.store(StoreId(store.id));
            if known.is_some_and(|s| s.store.state() == StoreState::Tombstone) {
                return Err(Error::Invalid(format!("store {} was removed from the cluster", store.id)));
            }
        }
        self.meta.write(vec![records::put_store(&store)]).await?;
        tracing::info!(store = store.id, address = store.address, "store is registered");
        self.state.lock().cluster.put_store(store, self.env.now());
        Ok(pd::PutStoreResponse {})
    }

    /// From now on the store's replicas are lost: the checker makes them anew on other stores, at once.
    pub(super) async fn retire_store(&self, request: pd::RetireStoreRequest) -> Result<pd::RetireStoreResponse, Error> {
        let id = StoreId(request.store_id);
        let _writer = self.writer.lock().await;
        let store = {
            let state = self.state.lock();
            let Some(known) = state.cluster.store(id) else { return Err(Error::NotFound(format!("store {id}"))) };
            let (now, down_after) = (self.env.now(), self.config.store_down_after);
            if let Some(short) = retire::in_danger(&state.cluster, id, now, down_after) {
                return Err(Error::Invalid(short.to_string()));
            }
            Store { state: StoreState::Offline as i32, ..known.store.clone() }
        };
        self.meta.write(vec![records::put_store(&store)]).await?;
        tracing::warn!(store = store.id, address = store.address, "store is retired, its replicas are made anew");
        self.state.lock().cluster.set_store_state(id, StoreState::Offline);
        Ok(pd::RetireStoreResponse {})
    }

    pub(super) async fn region_heartbeat(
        &self,
        request: pd::RegionHeartbeatRequest,
    ) -> Result<pd::RegionHeartbeatResponse, Error> {
        let region = request.region.as_ref().ok_or_else(|| Error::Invalid("heartbeat without a region".into()))?;
        let peers = |peers: &[basalt_proto::meta::Peer]| peers.iter().map(Peer::from).collect();
        let info = RegionInfo {
            leader: request.leader.as_ref().map(Peer::from),
            term: request.term,
            size_bytes: request.approximate_size_bytes,
            keys: request.approximate_keys,
            down_peers: peers(&request.down_peers),
            pending_peers: peers(&request.pending_peers),
            ..RegionInfo::bare(Region::from(region))
        };
        self.take_over(info.clone()).await?;
        // Drawn before the lock: whether a new peer is needed is only known under it, and an unused id costs nothing.
        let mut spare = match self.may_need_peer(&info) {
            true => Some(PeerId(self.allocate_ids(1).await?)),
            false => None,
        };
        let now = self.env.now();
        let step = {
            let State { cluster, scheduler, .. } = &mut *self.state.lock();
            // As it stands in the tree now: another report may have come since.
            let known = cluster.region(info.region.id).filter(|known| known.region == info.region).cloned();
            known.and_then(|known| scheduler.on_heartbeat(cluster, &known, &self.config, now, &mut || spare.take()))
        };
        Ok(pd::RegionHeartbeatResponse {
            epoch: step.is_some().then(|| info.region.epoch.into()),
            step: step.map(step_message),
        })
    }

    /// Brings the heartbeat's configuration into the tree, and onto the disk if it is new.
    async fn take_over(&self, info: RegionInfo) -> Result<(), Error> {
        {
            let mut state = self.state.lock();
            let known = state.cluster.region(info.region.id);
            if known.is_some_and(|k| k.region == info.region) {
                state.cluster.put_region(info, self.env.now())?;
                return Ok(());
            }
        }
        let _writer = self.writer.lock().await;
        let region = info.region.clone();
        let changed = {
            let mut state = self.state.lock();
            let changed = state.cluster.put_region(info, self.env.now())?;
            for gone in &changed.removed {
                state.scheduler.forget(*gone);
            }
            changed
        };
        if changed.configuration {
            let mut changes = vec![records::put_region(&region)];
            changes.extend(changed.removed.into_iter().map(records::delete_region));
            // The tree is rebuilt from heartbeats anyway: a record that could not be written is only older news.
            if let Err(e) = self.meta.write(changes).await {
                tracing::warn!(region = %region.id, error = %e, "region's configuration not recorded");
            }
        }
        Ok(())
    }

    fn may_need_peer(&self, info: &RegionInfo) -> bool {
        let state = self.state.lock();
        state.cluster.stores().any(|s| info.region.peer_on(StoreId(s.store.id)).is_none())
    }

    pub(super) async fn ask_split(&self, request: pd::AskSplitRequest) -> Result<pd::AskSplitResponse, Error> {
        let region = request.region.as_ref().map(Region::from);
        let region = region.ok_or_else(|| Error::Invalid("split of no region".into()))?;
        if request.count == 0 || request.count > SPLIT_COUNT_MAX {
            return Err(Error::Invalid(format!("split into {} more; at most {SPLIT_COUNT_MAX}", request.count)));
        }
        let peers = region.peers.len() as u32;
        self.state.lock().cluster.check(&RegionInfo { term: u64::MAX, ..RegionInfo::bare(region) })?;
        let mut next = self.allocate_ids(request.count * (1 + peers)).await?;
        let mut take = || {
            next += 1;
            next - 1
        };
        let ids = (0..request.count).map(|_| pd::ask_split_response::SplitIds {
            region_id: take(),
            peer_ids: (0..peers).map(|_| take()).collect(),
        });
        Ok(pd::AskSplitResponse { ids: ids.collect() })
    }

    pub(super) fn add_operator(&self, request: pd::AddOperatorRequest) -> Result<pd::AddOperatorResponse, Error> {
        use add_operator_request::Step as Wanted;
        let peer = |p: &Option<basalt_proto::meta::Peer>| {
            p.as_ref().map(Peer::from).ok_or_else(|| Error::Invalid("step without a peer".into()))
        };
        let step = match request.step.as_ref().ok_or_else(|| Error::Invalid("operator without a step".into()))? {
            Wanted::AddPeer(s) => Step::AddPeer(peer(&s.peer)?),
            Wanted::RemovePeer(s) => Step::RemovePeer(peer(&s.peer)?),
            Wanted::TransferLeader(s) => Step::TransferLeader(peer(&s.to)?),
            Wanted::Split(s) => Step::Split(s.split_keys.iter().cloned().map(UserKey).collect()),
        };
        let timeout = match step {
            Step::AddPeer(_) | Step::RemovePeer(_) => self.config.peer_operator_timeout,
            Step::TransferLeader(_) | Step::Split(_) => self.config.quick_operator_timeout,
        };
        let State { cluster, scheduler, .. } = &mut *self.state.lock();
        let id = RegionId(request.region_id);
        let info = cluster.region(id).ok_or_else(|| Error::NotFound(format!("region {id}")))?;
        scheduler.install(id, Operator::new(BY_HAND, [step], info, self.env.now(), timeout));
        Ok(pd::AddOperatorResponse {})
    }
}

fn step_message(step: Step) -> region_heartbeat_response::Step {
    use region_heartbeat_response::Step as Message;
    match step {
        Step::AddPeer(peer) => Message::AddPeer(pd::AddPeerStep { peer: Some(peer.into()) }),
        Step::RemovePeer(peer) => Message::RemovePeer(pd::RemovePeerStep { peer: Some(peer.into()) }),
        Step::TransferLeader(to) => Message::TransferLeader(pd::TransferLeaderStep { to: Some(to.into()) }),
        Step::Split(keys) => Message::Split(pd::SplitStep { split_keys: keys.into_iter().map(|k| k.0).collect() }),
    }
}
