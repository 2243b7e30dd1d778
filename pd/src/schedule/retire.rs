//! Whether a store may be given up whose data are gone.

use crate::cluster::Cluster;
use basalt_common::env::Monotonic;
use basalt_common::{RegionId, StoreId};
use basalt_proto::meta::StoreState;
use std::fmt;
use std::time::Duration;

/// Some heartbeats.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// A region that would not have a majority without the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// The region.
    pub region: RegionId,
    /// Its voters.
    pub voters: usize,
    /// Those of them on other stores that are up and caught up.
    pub left: usize,
    /// Regions like it.
    pub regions: usize,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Short { region, voters, left, regions } = self;
        write!(
            f,
            "{regions} regions need it: of region {region} only {left} of {voters} voters are known to be well elsewhere"
        )
    }
}

/// The first region that needs the store, if one does.
pub fn in_danger(cluster: &Cluster, store: StoreId, now: Monotonic, down_after: Duration) -> Option<Short> {
    let is_up = |id: StoreId| {
        let silence_max = down_after.min(HEARD_WITHIN);
        cluster.store(id).is_some_and(|info| cluster.store_state(info, now, silence_max) == StoreState::Up)
    };
    let mut short =
        cluster.regions().filter(|info| info.voters().any(|peer| peer.store_id == store)).filter_map(|info| {
            let is_left = |peer: &&basalt_common::Peer| {
                peer.store_id != store && is_up(peer.store_id) && !info.is_unhealthy(peer)
            };
            // Only a leader elsewhere knows how the others are; PD itself remembers nobody's state over a restart.
            let is_known = info.leader.is_some_and(|leader| leader.store_id != store && is_up(leader.store_id));
            let left = if is_known { info.voters().filter(is_left).count() } else { 0 };
            let voters = info.voters().count();
            (left <= voters / 2).then_some(Short { region: info.region.id, voters, left, regions: 1 })
        });
    let first = short.next()?;
    Some(Short { regions: 1 + short.count(), ..first })
}
