//! Questions about regions and stores, answered from memory.

use super::PdService;
use crate::cluster::RegionInfo;
use crate::config::SCAN_REGIONS_MAX;
use crate::error::Error;
use basalt_common::{KeyRange, RegionId, StoreId};
use basalt_proto::pd::{self, get_region_request::By};

impl PdService {
    pub(super) fn get_region(&self, request: &pd::GetRegionRequest) -> Result<pd::GetRegionResponse, Error> {
        let state = self.state.lock();
        if !state.bootstrapped {
            return Err(Error::NotBootstrapped);
        }
        let by = request.by.as_ref().ok_or_else(|| Error::Invalid("region by nothing".into()))?;
        let found = match by {
            By::Key(key) => state.cluster.region_at(key),
            By::BeforeKey(key) => state.cluster.region_before(key),
            By::RegionId(id) => state.cluster.region(RegionId(*id)),
        };
        let found = found.ok_or_else(|| {
            Error::NotFound(match by {
                By::Key(key) | By::BeforeKey(key) => format!("region of key {}", key.escape_ascii()),
                By::RegionId(id) => format!("region {id}"),
            })
        })?;
        Ok(pd::GetRegionResponse { found: Some(answer(found)) })
    }

    pub(super) fn scan_regions(&self, request: &pd::ScanRegionsRequest) -> Result<pd::ScanRegionsResponse, Error> {
        let state = self.state.lock();
        if !state.bootstrapped {
            return Err(Error::NotBootstrapped);
        }
        let range = KeyRange::new(request.start_key.clone(), request.end_key.clone());
        let limit = match request.limit as usize {
            0 => SCAN_REGIONS_MAX,
            limit => limit.min(SCAN_REGIONS_MAX),
        };
        let regions = state.cluster.scan(&range, limit).into_iter().map(answer).collect();
        Ok(pd::ScanRegionsResponse { regions })
    }

    pub(super) fn get_stores(&self) -> pd::GetStoresResponse {
        let now = self.env.now();
        let state = self.state.lock();
        let stores = state.cluster.stores().map(|info| {
            let id = StoreId(info.store.id);
            let mut store = info.store.clone();
            store.set_state(state.cluster.store_state(info, now, self.config.store_down_after));
            let mut stats = info.stats;
            stats.store_id = id.0;
            stats.region_count = state.cluster.region_count(id) as u64;
            stats.leader_count = state.cluster.leader_count(id) as u64;
            pd::StoreAndStats { store: Some(store), stats: Some(stats), last_heartbeat_unix_ms: info.heard_wall_ms }
        });
        pd::GetStoresResponse { stores: stores.collect() }
    }
}

fn answer(info: &RegionInfo) -> pd::RegionAndLeader {
    pd::RegionAndLeader {
        region: Some((&info.region).into()),
        leader: info.leader.map(Into::into),
        approximate_size_bytes: info.size_bytes,
        approximate_keys: info.keys,
    }
}
