//! The replica checker: every region gets as many voters as it should have, on stores that live.
//!
//! Wanted are `min(replicas_max, stores)` voters, where stores being emptied and stores gone for good do not count. A store
//! that is merely down does count: its replicas come back with it, and are replaced only after `store_replace_after`.
//! In order, the first that applies:
//!
//! 1. a learner that is there becomes a voter (or goes, when nobody needs it);
//! 2. too few good voters: a learner on the best store without a peer, then promote;
//! 3. enough good voters and a bad one (store emptied, gone, or down for long): remove the bad one;
//! 4. more voters than `replicas_max`: remove one, the least healthy, then the one on the fullest store.
//!
//! The leader's own peer is never removed: leadership is handed on first.

use super::{Operator, Scheduler, Step};
use crate::cluster::{Cluster, RegionInfo, StoreInfo};
use crate::config::PdConfig;
use basalt_common::env::Monotonic;
use basalt_common::{Peer, PeerId, PeerRole, StoreId};
use basalt_proto::meta::StoreState;

/// The operator that a region needs, if it needs one and limits allow it.
pub(super) fn check(
    cluster: &Cluster,
    scheduler: &Scheduler,
    info: &RegionInfo,
    cfg: &PdConfig,
    now: Monotonic,
    fresh_peer_id: &mut dyn FnMut() -> Option<PeerId>,
) -> Option<Operator> {
    let view = View { cluster, cfg, now };
    let operator = |reason, steps: Vec<Step>| Some(Operator::new(reason, steps, info, now, cfg.peer_operator_timeout));
    let (good, bad): (Vec<&Peer>, Vec<&Peer>) = info.voters().partition(|p| !view.is_lost(p.store_id));
    let wanted = view.wanted_voters();
    if let Some(learner) = info.region.peers.iter().find(|p| p.role == PeerRole::Learner) {
        return match good.len() < wanted && !view.is_lost(learner.store_id) {
            true => operator("promote learner", vec![promote(learner)]),
            false => operator("remove learner", vec![Step::RemovePeer(*learner)]),
        };
    }
    if good.len() < wanted {
        let store = view.best_store_for(info, scheduler)?;
        let learner = Peer { id: fresh_peer_id()?, store_id: store, role: PeerRole::Learner };
        return operator("add replica", vec![Step::AddPeer(learner), promote(&learner)]);
    }
    let surplus = match bad.first() {
        Some(lost) => lost,
        None if good.len() > cfg.replicas_max as usize => good.iter().max_by_key(|p| {
            let leads = info.leader.is_some_and(|l| l.id == p.id);
            (!leads, info.is_unhealthy(p), cluster.region_count(p.store_id), p.id)
        })?,
        None => return None,
    };
    let mut steps = vec![Step::RemovePeer(**surplus)];
    if info.leader.is_some_and(|l| l.id == surplus.id) {
        let heir = good.iter().find(|p| p.id != surplus.id && !info.is_unhealthy(p) && view.is_up(p.store_id))?;
        steps.insert(0, Step::TransferLeader(**heir));
    }
    operator("remove replica", steps)
}

fn promote(learner: &Peer) -> Step {
    Step::AddPeer(Peer { role: PeerRole::Voter, ..*learner })
}

struct View<'a> {
    cluster: &'a Cluster,
    cfg: &'a PdConfig,
    now: Monotonic,
}

impl View<'_> {
    /// True if what lies on the store is to be moved elsewhere.
    fn is_lost(&self, store: StoreId) -> bool {
        self.cluster.store(store).is_none_or(|info| match info.store.state() {
            StoreState::Up | StoreState::Down => self.now.since(info.heard) > self.cfg.store_replace_after,
            StoreState::Offline | StoreState::Tombstone => true,
        })
    }

    fn is_up(&self, store: StoreId) -> bool {
        self.cluster.store(store).is_some_and(|info| self.state(info) == StoreState::Up)
    }

    fn state(&self, info: &StoreInfo) -> StoreState {
        self.cluster.store_state(info, self.now, self.cfg.store_down_after)
    }

    fn wanted_voters(&self) -> usize {
        let stores = self.cluster.stores().filter(|s| !self.is_lost(StoreId(s.store.id))).count();
        stores.min(self.cfg.replicas_max as usize)
    }

    /// The up store without a peer of the region that has the fewest regions, counting what is on its way.
    fn best_store_for(&self, info: &RegionInfo, scheduler: &Scheduler) -> Option<StoreId> {
        let candidates = self.cluster.stores().filter(|s| self.state(s) == StoreState::Up && !s.stats.is_busy);
        candidates
            .map(|s| StoreId(s.store.id))
            .filter(|id| info.region.peer_on(*id).is_none() && scheduler.adds_to(*id) < self.cfg.adds_per_store_max)
            .min_by_key(|id| (self.cluster.region_count(*id) + scheduler.adds_to(*id), *id))
    }
}
