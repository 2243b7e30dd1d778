//! Leader balance: when a store leads clearly more regions than another that could lead this one, it hands it over; a store
//! that is to lead nothing, because its disk is full or it is about to stop, hands over everything that another can lead.
//!
//! "Clearly" is more than the tolerance plus one, moves under way included, so that a move never makes the opposite move
//! attractive. Done at the heartbeat of the region in question: the busiest stores send most heartbeats.

use super::{Operator, Scheduler, Step};
use crate::cluster::{Cluster, RegionInfo};
use crate::config::PdConfig;
use basalt_common::env::Monotonic;
use basalt_common::{Peer, StoreId};
use basalt_proto::meta::StoreState;

/// The move of leadership that a region's heartbeat gives occasion for.
pub(super) fn check(
    cluster: &Cluster,
    scheduler: &Scheduler,
    info: &RegionInfo,
    cfg: &PdConfig,
    now: Monotonic,
) -> Option<Operator> {
    let leader = info.leader?;
    let moves: Vec<(StoreId, StoreId)> = scheduler.leader_moves(now).collect();
    let leads_nothing = |store: StoreId| cluster.store(store).is_some_and(|s| s.stats.leads_nothing);
    let must_leave = leads_nothing(leader.store_id);
    if moves.len() >= cfg.leader_moves_max && !must_leave {
        return None;
    }
    let leads = |store: StoreId| {
        let incoming = moves.iter().filter(|(_, to)| *to == store).count();
        let outgoing = moves.iter().filter(|(from, _)| *from == store).count();
        (cluster.leader_count(store) + incoming).saturating_sub(outgoing)
    };
    let can_lead = |store: StoreId| {
        cluster
            .store(store)
            .is_some_and(|s| !s.stats.is_busy && cluster.store_state(s, now, cfg.store_down_after) == StoreState::Up)
    };
    let is_candidate =
        |p: &&Peer| p.id != leader.id && !info.is_unhealthy(p) && can_lead(p.store_id) && !leads_nothing(p.store_id);
    let target = info.voters().filter(is_candidate).min_by_key(|p| (leads(p.store_id), p.store_id))?;
    let is_busier = leads(leader.store_id) > leads(target.store_id) + cfg.leader_tolerance;
    let reason = if must_leave { "lead elsewhere" } else { "balance leaders" };
    (must_leave || is_busier)
        .then(|| Operator::new(reason, [Step::TransferLeader(*target)], info, now, cfg.quick_operator_timeout))
}
