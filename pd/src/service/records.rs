//! PD's durable records: their keys and bytes, and reading all of them at start.

use super::gc::Marks;
use super::registry::Registry;
use crate::cluster::{Cluster, RegionInfo};
use crate::config::PdConfig;
use crate::meta_store::{MetaChange, MetaError, MetaStore};
use basalt_common::env::Env;
use basalt_common::{Region, RegionId, Timestamp};
use basalt_proto::{meta, pd};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

pub(super) const CLUSTER: &str = "cluster";
pub(super) const TSO: &str = "tso";
pub(super) const ID: &str = "id";
const GC: &str = "gc";
const STORES: &str = "store/";
const REGIONS: &str = "region/";
const SAFE_POINTS: &str = "safepoint/";

/// What a PD starts from.
pub(super) struct Loaded {
    pub(super) cluster_id: u64,
    pub(super) bootstrapped: bool,
    pub(super) replicas_max: u32,
    pub(super) tso_window_ms: u64,
    pub(super) id_window: u64,
    pub(super) cluster: Cluster,
    pub(super) registry: Registry,
    pub(super) gc: Marks,
}

/// Reads every record; an empty store becomes a new cluster with an id of its own.
pub(super) async fn load(meta: &dyn MetaStore, env: &Env, config: &PdConfig) -> Result<Loaded, MetaError> {
    let record = match meta.get(CLUSTER)? {
        Some(bytes) => decode::<pd::ClusterRecord>(CLUSTER, bytes)?,
        None => {
            let cluster_id = env.random_u64().max(1);
            meta.write(vec![put_cluster(cluster_id, false, config.replicas_max)]).await?;
            pd::ClusterRecord { cluster_id, bootstrapped: false, max_replicas: config.replicas_max }
        }
    };
    let mut cluster = Cluster::default();
    for (key, bytes) in meta.scan(STORES)? {
        cluster.put_store(decode::<meta::Store>(&key, bytes)?, env.now());
    }
    let mut regions = Vec::new();
    for (key, bytes) in meta.scan(REGIONS)? {
        regions.push(Region::from(&decode::<meta::Region>(&key, bytes)?));
    }
    // A batch that a crash cut off may have left a parent beside its child: the newer one first, then the older is refused.
    regions.sort_by_key(|r| std::cmp::Reverse(r.epoch.version));
    for region in regions {
        let id = region.id;
        if cluster.put_region(RegionInfo::bare(region), env.now()).is_err() {
            tracing::warn!(region = %id, "recorded region is older than one that overlaps it");
        }
    }
    let mut registry = Registry::default();
    for (key, bytes) in meta.scan(SAFE_POINTS)? {
        let (ts, expires_ms) = two_numbers(&key, &bytes)?;
        registry.set_safe_point(key[SAFE_POINTS.len()..].to_string(), Timestamp(ts), expires_ms);
    }
    let gc = match meta.get(GC)? {
        Some(bytes) => {
            let (safe_point, collect_to) = two_numbers(GC, &bytes)?;
            Marks { safe_point: Timestamp(safe_point), collect_to: Timestamp(collect_to) }
        }
        None => Marks::default(),
    };
    Ok(Loaded {
        cluster_id: record.cluster_id,
        bootstrapped: record.bootstrapped,
        replicas_max: record.max_replicas,
        tso_window_ms: read_number(meta, TSO)?,
        id_window: read_number(meta, ID)?,
        cluster,
        registry,
        gc,
    })
}

pub(super) fn put_cluster(cluster_id: u64, bootstrapped: bool, max_replicas: u32) -> MetaChange {
    let record = pd::ClusterRecord { cluster_id, bootstrapped, max_replicas };
    MetaChange::Put(CLUSTER.into(), record.encode_to_vec().into())
}

pub(super) fn put_number(key: &str, number: u64) -> MetaChange {
    MetaChange::Put(key.into(), Bytes::copy_from_slice(&number.to_be_bytes()))
}

pub(super) fn put_store(store: &meta::Store) -> MetaChange {
    MetaChange::Put(format!("{STORES}{:020}", store.id), store.encode_to_vec().into())
}

pub(super) fn put_region(region: &Region) -> MetaChange {
    MetaChange::Put(region_key(region.id), meta::Region::from(region).encode_to_vec().into())
}

pub(super) fn delete_region(id: RegionId) -> MetaChange {
    MetaChange::Delete(region_key(id))
}

/// 8 bytes of timestamp, 8 bytes of expiry in wall milliseconds, big-endian.
pub(super) fn put_safe_point(service: &str, ts: Timestamp, expires_ms: u64) -> MetaChange {
    MetaChange::Put(format!("{SAFE_POINTS}{service}"), of_two(ts.0, expires_ms))
}

/// 8 bytes of the safe point, 8 bytes of how far stores may collect, big-endian.
pub(super) fn put_gc(marks: Marks) -> MetaChange {
    MetaChange::Put(GC.into(), of_two(marks.safe_point.0, marks.collect_to.0))
}

fn of_two(first: u64, second: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(16);
    bytes.put_u64(first);
    bytes.put_u64(second);
    bytes.freeze()
}

fn two_numbers(key: &str, bytes: &[u8]) -> Result<(u64, u64), MetaError> {
    let numbers: [u8; 16] = bytes.try_into().map_err(|_| MetaError::Corrupt(key.into()))?;
    let numbers = u128::from_be_bytes(numbers);
    Ok(((numbers >> 64) as u64, numbers as u64))
}

pub(super) fn delete_safe_point(service: &str) -> MetaChange {
    MetaChange::Delete(format!("{SAFE_POINTS}{service}"))
}

fn region_key(id: RegionId) -> String {
    format!("{REGIONS}{:020}", id.0)
}

fn read_number(meta: &dyn MetaStore, key: &str) -> Result<u64, MetaError> {
    let Some(bytes) = meta.get(key)? else { return Ok(0) };
    let number: [u8; 8] = bytes[..].try_into().map_err(|_| MetaError::Corrupt(key.into()))?;
    Ok(u64::from_be_bytes(number))
}

fn decode<M: Message + Default>(key: &str, bytes: Bytes) -> Result<M, MetaError> {
    M::decode(bytes).map_err(|e| MetaError::Corrupt(format!("{key}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_formats_are_fixed() {
        let put = |key: &str, value: &'static [u8]| MetaChange::Put(key.into(), Bytes::from_static(value));
        assert_eq!(put_number(TSO, 258), put("tso", b"\0\0\0\0\0\0\x01\x02"));
        let safe_point = put("safepoint/backup", b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02");
        assert_eq!(put_safe_point("backup", Timestamp(1), 2), safe_point);
        let marks = Marks { safe_point: Timestamp(2), collect_to: Timestamp(1) };
        assert_eq!(put_gc(marks), put("gc", b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01"));
        assert_eq!(delete_region(RegionId(7)), MetaChange::Delete("region/00000000000000000007".into()));
    }
}
