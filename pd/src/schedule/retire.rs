//! Whether a store may be given up whose data are gone.

use crate::cluster::Cluster;
use basalt_common::env::Monotonic;
use basalt_common::{RegionId, StoreId};
use basalt_proto::meta::StoreState;
use std::fmt;
use std::time::Duration;

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
        write!(f, "{regions} regions need it: region {region} would have {left} of its {voters} voters")
    }
}

/// The first region that needs the store, if one does.
pub fn in_danger(cluster: &Cluster, store: StoreId, now: Monotonic, down_after: Duration) -> Option<Short> {
    let is_up = |id: StoreId| {
        cluster.store(id).is_some_and(|info| cluster.store_state(info, now, down_after) == StoreState::Up)
    };
    let mut short =
        cluster.regions().filter(|info| info.voters().any(|peer| peer.store_id == store)).filter_map(|info| {
            let is_left = |peer: &&basalt_common::Peer| {
                peer.store_id != store && is_up(peer.store_id) && !info.is_unhealthy(peer)
            };
            let (voters, left) = (info.voters().count(), info.voters().filter(is_left).count());
            (left <= voters / 2).then_some(Short { region: info.region.id, voters, left, regions: 1 })
        });
    let first = short.next()?;
    Some(Short { regions: 1 + short.count(), ..first })
}
