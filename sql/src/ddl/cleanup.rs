//! Deleting what was dropped, once nobody can be reading it.

use crate::catalog::{Catalog, keys};
use crate::error::{Error, Result};
use basalt_client::{ScanOptions, TxnOptions};
use basalt_common::{IndexId, Timestamp, table_key};

/// A range that is dropped by a transaction that began at a time is there for readers until that commits, at most so much later.
const COMMITTED_AFTER_MS: u64 = 60_000;
/// Ranges deleted in one go.
const RANGES_MAX: usize = 64;

/// Deletes ranges that were dropped before what garbage collection keeps. Deleting twice does no harm, so any server may.
///
/// # Errors
/// What the cluster answers; what was not deleted is left for the next time.
pub async fn delete_dropped(catalog: &Catalog) -> Result<()> {
    let cluster = catalog.cluster();
    let now = cluster.timestamp().await?;
    let collect_to = Timestamp(cluster.pd().gc(false, Timestamp::ZERO).await?.collect_to);
    let before = Timestamp::compose(collect_to.physical_ms().saturating_sub(COMMITTED_AFTER_MS), 0);
    let snapshot = cluster.snapshot(now);
    let mut scanner = snapshot
        .scan(keys::dropped_before(before.0), ScanOptions { limit: RANGES_MAX, key_only: true, ..Default::default() });
    let mut found = Vec::new();
    while let Some((key, _)) = scanner.next().await? {
        found.push(key);
    }
    for key in found {
        let (_, table, index) = keys::decode_dropped(&key).map_err(|e| Error::Internal(e.to_string()))?;
        let range =
            if index == IndexId(0) { table_key::table_range(table) } else { table_key::index_range(table, index) };
        cluster.delete_range(range).await?;
        let mut txn = cluster.begin(TxnOptions::default()).await?;
        txn.delete(key)?;
        txn.commit().await?;
        tracing::info!(%table, %index, "deleted a dropped range");
    }
    Ok(())
}
