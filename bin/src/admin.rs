//! What `basalt ctl` and the status page ask of a cluster, through the same two seams that SQL uses.

use anyhow::{Context, Result, bail};
use basalt_client::rpc::{KvRpc, PdRpc};
use basalt_common::{Peer, Region, StoreId, Timestamp};
use basalt_proto::pd::{self, pd_request, pd_response};
use basalt_proto::{errors, kv, meta};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use std::sync::Arc;

/// Regions that PD is asked for at a time.
const PAGE: u32 = 1024;
/// How often replicas are asked again until they have applied the same index.
const HASH_TRIES: u32 = 20;
/// Regions whose replicas are compared at a time: most of it is waiting for followers.
const CHECKS: usize = 32;

/// Access to a cluster.
#[derive(Clone)]
pub struct Admin {
    pub cluster_id: u64,
    pub kv: Arc<dyn KvRpc>,
    pub pd: Arc<dyn PdRpc>,
}

impl Admin {
    async fn pd(&self, cmd: pd_request::Cmd) -> Result<pd_response::Cmd> {
        let response = self.pd.call(pd::PdRequest { cluster_id: self.cluster_id, cmd: Some(cmd) }).await?;
        if let Some(error) = response.error {
            bail!("PD: {}", error.message);
        }
        response.cmd.context("PD sent an empty answer")
    }

    async fn kv(&self, store: u64, cmd: kv::kv_request::Cmd) -> Result<kv::kv_response::Cmd> {
        let response = self.kv.call(StoreId(store), kv::KvRequest { cmd: Some(cmd) }).await?;
        response.cmd.context("the store sent an empty answer")
    }

    /// The stores with their statistics.
    pub async fn stores(&self) -> Result<Value> {
        let pd_response::Cmd::GetStores(found) = self.pd(pd_request::Cmd::GetStores(pd::GetStoresRequest {})).await?
        else {
            bail!("PD answered another question");
        };
        let rows = found.stores.into_iter().map(|s| {
            let (store, stats) = (s.store.unwrap_or_default(), s.stats.unwrap_or_default());
            json!({
                "id": store.id, "address": store.address, "state": store.state().as_str_name().to_lowercase(),
                "regions": stats.region_count, "leaders": stats.leader_count, "size_bytes": stats.used_bytes,
                "capacity_bytes": stats.capacity_bytes, "available_bytes": stats.available_bytes,
                "last_heartbeat_unix_ms": s.last_heartbeat_unix_ms,
            })
        });
        Ok(Value::Array(rows.collect()))
    }

    /// How far garbage collection is, and who holds it.
    pub async fn gc(&self) -> Result<Value> {
        let ask = pd::GcRequest { advance: false, resolved_to: 0 };
        let pd_response::Cmd::Gc(gc) = self.pd(pd_request::Cmd::Gc(ask)).await? else {
            bail!("PD answered another question");
        };
        let at = |ts: u64| Timestamp(ts).physical_ms();
        Ok(json!([{
            "safe_point_unix_ms": at(gc.safe_point), "collected_to_unix_ms": at(gc.collect_to),
            "held_by": gc.held_by, "held_at_unix_ms": at(gc.held_at),
        }]))
    }

    /// Every region and its leader, in key order.
    async fn all_regions(&self) -> Result<Vec<pd::RegionAndLeader>> {
        let (mut all, mut start) = (Vec::new(), Bytes::new());
        loop {
            let request = pd::ScanRegionsRequest { start_key: start.clone(), end_key: Bytes::new(), limit: PAGE };
            let pd_response::Cmd::ScanRegions(page) = self.pd(pd_request::Cmd::ScanRegions(request)).await? else {
                bail!("PD answered another question");
            };
            let Some(last) = page.regions.last().and_then(|r| r.region.clone()) else { return Ok(all) };
            all.extend(page.regions);
            if last.end_key.is_empty() {
                return Ok(all);
            }
            start = last.end_key;
        }
    }

    /// The regions.
    pub async fn regions(&self) -> Result<Value> {
        let rows = self.all_regions().await?.into_iter().map(|r| {
            let region = r.region.unwrap_or_default();
            let epoch = region.epoch.unwrap_or_default();
            json!({
                "id": region.id, "start_key": hex::encode(&region.start_key), "end_key": hex::encode(&region.end_key),
                "conf_ver": epoch.conf_ver, "version": epoch.version,
                "leader_store": r.leader.map(|l| l.store_id),
                "peers": region.peers.iter().map(|p| json!({"id": p.id, "store": p.store_id, "role": p.role().as_str_name().to_lowercase()})).collect::<Vec<_>>(),
                "size_bytes": r.approximate_size_bytes, "keys": r.approximate_keys,
            })
        });
        Ok(Value::Array(rows.collect()))
    }

    async fn region(&self, by: pd::get_region_request::By) -> Result<(Region, Peer)> {
        let request = pd::GetRegionRequest { by: Some(by) };
        let pd_response::Cmd::GetRegion(found) = self.pd(pd_request::Cmd::GetRegion(request)).await? else {
            bail!("PD answered another question");
        };
        let found = found.found.context("no such region")?;
        let region = Region::from(&found.region.context("no such region")?);
        let leader = found.leader.map(|l| Peer::from(&l)).context("the region has no leader now")?;
        Ok((region, leader))
    }

    fn context(&self, region: &Region, leader: Peer) -> kv::Context {
        kv::Context {
            region_id: region.id.0,
            epoch: Some(region.epoch.into()),
            peer: Some(leader.into()),
            cluster_id: self.cluster_id,
            ..Default::default()
        }
    }

    /// Splits the region that holds `key` at `key`.
    pub async fn split(&self, key: Bytes) -> Result<Value> {
        let (region, leader) = self.region(pd::get_region_request::By::Key(key.clone())).await?;
        let request = kv::SplitRegionRequest { context: Some(self.context(&region, leader)), split_keys: vec![key] };
        let kv::kv_response::Cmd::SplitRegion(response) =
            self.kv(leader.store_id.0, kv::kv_request::Cmd::SplitRegion(request)).await?
        else {
            bail!("the store answered another question");
        };
        check(response.region_error, &response.error)?;
        Ok(json!(
            response
                .regions
                .iter()
                .map(
                    |r| json!({"id": r.id, "start_key": hex::encode(&r.start_key), "end_key": hex::encode(&r.end_key)})
                )
                .collect::<Vec<_>>()
        ))
    }

    /// Makes a region's peer on a store its leader.
    pub async fn transfer_leader(&self, region: u64, store: u64) -> Result<Value> {
        let (region, leader) = self.region(pd::get_region_request::By::RegionId(region)).await?;
        let to = region
            .peer_on(StoreId(store))
            .with_context(|| format!("region {} has no peer on store {store}", region.id))?;
        let request = kv::TransferLeaderRequest { context: Some(self.context(&region, leader)), to: Some(to.into()) };
        let kv::kv_response::Cmd::TransferLeader(response) =
            self.kv(leader.store_id.0, kv::kv_request::Cmd::TransferLeader(request)).await?
        else {
            bail!("the store answered another question");
        };
        check(response.region_error, &response.error)?;
        Ok(json!({"region": region.id.0, "from_store": leader.store_id.0, "to_store": store}))
    }

    /// Compares the replicas of every region at equal applied indexes.
    ///
    /// # Errors
    /// Names the first region whose replicas differ, or that could not be compared.
    pub async fn check_replicas(&self) -> Result<Value> {
        let checks = self.all_regions().await?.into_iter().map(|found| async move {
            let region = found.region.context("a region without metadata")?;
            self.check_region(&region).await
        });
        let replicas: Vec<usize> = futures::stream::iter(checks).buffer_unordered(CHECKS).try_collect().await?;
        let (regions, replicas) = (replicas.len(), replicas.iter().sum::<usize>());
        Ok(json!({"regions": regions, "replicas": replicas, "equal": true}))
    }

    /// The leader's hash is a command in the region's log, which every replica computes at the same index; the others are
    /// asked until they have come that far.
    async fn check_region(&self, region: &meta::Region) -> Result<usize> {
        let mut last = String::new();
        for _ in 0..HASH_TRIES {
            match self.try_check_region(region).await? {
                Ok(replicas) => return Ok(replicas),
                Err(why) => last = why,
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        bail!("replicas of region {} could not be compared: {last}", region.id)
    }

    /// One try; the inner error says why it proved nothing.
    async fn try_check_region(&self, region: &meta::Region) -> Result<Result<usize, String>> {
        let Ok((region, leader)) = self.region(pd::get_region_request::By::RegionId(region.id)).await else {
            return Ok(Err("it has no leader".into()));
        };
        let first = match self.hash(region.id.0, leader.store_id.0).await {
            Ok(hash) => hash,
            Err(why) => return Ok(Err(format!("{why:#}"))),
        };
        for peer in region.peers.iter().filter(|p| p.store_id != leader.store_id) {
            let mut behind = 0;
            for _ in 0..HASH_TRIES {
                let hash = match self.hash(region.id.0, peer.store_id.0).await {
                    Ok(hash) => hash,
                    Err(why) => return Ok(Err(format!("{why:#}"))),
                };
                behind = hash.applied_index;
                if behind >= first.applied_index {
                    if behind == first.applied_index && (hash.hash, hash.keys) != (first.hash, first.keys) {
                        bail!(
                            "replicas of region {} differ at index {behind}: store {} has {} keys ({:016x}), store {} has {} keys ({:016x})",
                            region.id,
                            leader.store_id,
                            first.keys,
                            first.hash,
                            peer.store_id,
                            hash.keys,
                            hash.hash
                        );
                    }
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            if behind != first.applied_index {
                return Ok(Err(format!(
                    "store {} has a hash at index {behind}, the leader at {}",
                    peer.store_id, first.applied_index
                )));
            }
        }
        Ok(Ok(region.peers.len()))
    }

    async fn hash(&self, region_id: u64, store: u64) -> Result<kv::RegionHashResponse> {
        match self.kv(store, kv::kv_request::Cmd::RegionHash(kv::RegionHashRequest { region_id })).await? {
            kv::kv_response::Cmd::RegionHash(r) if r.error.is_empty() => Ok(r),
            kv::kv_response::Cmd::RegionHash(r) => bail!("store {store}: {}", r.error),
            _ => bail!("the store answered another question"),
        }
    }
}

fn check(region_error: Option<errors::RegionError>, error: &str) -> Result<()> {
    if let Some(e) = region_error {
        bail!("the region is moving, try again: {}", e.message);
    }
    if !error.is_empty() {
        bail!("{error}");
    }
    Ok(())
}

/// Reads a key that was written in hexadecimal.
pub fn unhex(text: &str) -> Result<Bytes> {
    hex::decode(text).map(Bytes::from).with_context(|| format!("{text:?} is not hexadecimal"))
}
