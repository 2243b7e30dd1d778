//! The replica checker: every region has `replicas_max` voters, on stores that live.
//!
//! A store that is merely down keeps its replicas: they come back with it. After `store_replace_after` they are lost, as
//! is a replica that its leader has not heard of for so long although its store lives. Nothing is taken away before its
//! replacement is there and well, so a region never has fewer voters that live on the way than before; where no other store
//! can take a replica, the lost one stays listed and comes back with its store. In order, the first that applies:
//!
//! 1. a learner becomes a voter once it is caught up; it goes when nobody needs it, its store is lost, or it has not caught
//!    up within an operator's time;
//! 2. too few voters that are not lost: a learner on the best store without a peer, then promote;
//! 3. more voters than `replicas_max`: remove one, a lost one first, then the least healthy, then the one on the fullest
//!    store; only while `replicas_max` of the others are well.
//!
//! The leader's own peer is never removed: leadership is handed on first.

use super::{Operator, Scheduler, Step};
use crate::cluster::{Cluster, RegionInfo, StoreInfo};
use crate::config::PdConfig;
use basalt_common::env::Monotonic;
use basalt_common::{Peer, PeerId, PeerRole, StoreId};
use basalt_proto::meta::StoreState;
use std::time::Duration;

/// The operator that a region needs, if it needs one and limits allow it.
pub(super) fn check(
    cluster: &Cluster,
    scheduler: &Scheduler,
    info: &RegionInfo,
    cfg: &PdConfig,
    now: Monotonic,
    fresh_peer_id: &mut dyn FnMut() -> Option<PeerId>,
) -> Option<Operator> {
    let view = View { cluster, cfg, now, info };
    let operator = |reason, steps: Vec<Step>| Some(Operator::new(reason, steps, info, now, cfg.peer_operator_timeout));
    let wanted = cfg.replicas_max as usize;
    let kept = info.voters().filter(|p| !view.is_lost(p, cfg.store_replace_after)).count();
    let (failed, learners): (Vec<&Peer>, Vec<&Peer>) = info
        .region
        .peers
        .iter()
        .filter(|p| p.role == PeerRole::Learner)
        .partition(|p| kept >= wanted || view.is_lost(p, cfg.peer_operator_timeout));
    if let Some(learner) = failed.first() {
        return operator("remove learner", vec![Step::RemovePeer(**learner)]);
    }
    if let Some(learner) = learners.iter().min_by_key(|p| (info.is_unhealthy(p), p.id)) {
        return operator("promote learner", vec![promote(learner)]);
    }
    if kept < wanted {
        let store = view.best_store(scheduler)?;
        let learner = Peer { id: fresh_peer_id()?, store_id: store, role: PeerRole::Learner };
        return operator("add replica", vec![Step::AddPeer(learner), promote(&learner)]);
    }
    if info.voters().count() <= wanted {
        return None;
    }
    let surplus = info.voters().max_by_key(|p| {
        let leads = info.leader.is_some_and(|l| l.id == p.id);
        let lost = view.is_lost(p, cfg.store_replace_after);
        (lost, !leads, !view.is_well(p), cluster.region_count(p.store_id), p.id)
    })?;
    let others: Vec<&Peer> = info.voters().filter(|p| p.id != surplus.id && view.is_well(p)).collect();
    if others.len() < wanted {
        return None;
    }
    let mut steps = vec![Step::RemovePeer(*surplus)];
    if info.leader.is_some_and(|l| l.id == surplus.id) {
        let heir = others.iter().min_by_key(|p| (cluster.leader_count(p.store_id), p.id))?;
        steps.insert(0, Step::TransferLeader(**heir));
    }
    operator("remove replica", steps)
}

fn promote(learner: &Peer) -> Step {
    Step::AddPeer(Peer { role: PeerRole::Voter, ..*learner })
}

/// True if what lies on the store is to be moved elsewhere.
pub(super) fn is_store_lost(cluster: &Cluster, store: StoreId, cfg: &PdConfig, now: Monotonic) -> bool {
    cluster.store(store).is_none_or(|info| match info.store.state() {
        StoreState::Up | StoreState::Down => now.since(info.heard) > cfg.store_replace_after,
        StoreState::Offline | StoreState::Tombstone => true,
    })
}

struct View<'a> {
    cluster: &'a Cluster,
    cfg: &'a PdConfig,
    now: Monotonic,
    info: &'a RegionInfo,
}

impl View<'_> {
    /// True if the peer is to be replaced: its store is, or it was not well for longer than `patience`.
    fn is_lost(&self, peer: &Peer, patience: Duration) -> bool {
        is_store_lost(self.cluster, peer.store_id, self.cfg, self.now)
            || self.info.unhealthy_for(peer, self.now).is_some_and(|time| time > patience)
    }

    /// True if the peer answers its leader and has what it has, on a store that PD hears.
    fn is_well(&self, peer: &Peer) -> bool {
        let is_up = self.cluster.store(peer.store_id).is_some_and(|info| self.state(info) == StoreState::Up);
        is_up && !self.info.is_unhealthy(peer)
    }

    fn state(&self, info: &StoreInfo) -> StoreState {
        self.cluster.store_state(info, self.now, self.cfg.store_down_after)
    }

    /// The up store with room and without a peer of the region that has the fewest regions, counting what is on its way; one where a
    /// learner of the region failed lately only if there is no other.
    fn best_store(&self, scheduler: &Scheduler) -> Option<StoreId> {
        let region = &self.info.region;
        let candidates = self
            .cluster
            .stores()
            .filter(|s| self.state(s) == StoreState::Up && !s.stats.is_busy && !s.stats.leads_nothing);
        candidates
            .map(|s| StoreId(s.store.id))
            .filter(|id| {
                region.peer_on(*id).is_none() && scheduler.adds_to(*id, self.now) < self.cfg.adds_per_store_max
            })
            .min_by_key(|id| {
                let failed = scheduler.failed_lately(region.id, *id, self.now);
                (failed, self.cluster.region_count(*id) + scheduler.adds_to(*id, self.now), *id)
            })
    }
}
