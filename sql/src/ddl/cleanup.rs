//! Deleting what was dropped, once nobody can be reading it.

use crate::catalog::{Catalog, keys};
use crate::error::{Error, Result};
use basalt_client::{ScanOptions, TxnOptions};
use basalt_common::{IndexId, Timestamp, table_key};
use std::time::Duration;

/// How long a dropped range stays readable for statements that began before.
pub const DROPPED_KEPT: Duration = Duration::from_secs(600);
/// Ranges deleted in one go.
const RANGES_MAX: usize = 64;

/// Deletes ranges that were dropped longer than [`DROPPED_KEPT`] ago. Deleting twice does no harm, so any server may.
///
/// # Errors
/// What the cluster answers; what was not deleted is left for the next time.
pub async fn delete_dropped(catalog: &Catalog) -> Result<()> {
    let cluster = catalog.cluster();
    let now = cluster.timestamp().await?;
    let before = Timestamp::compose(now.physical_ms().saturating_sub(DROPPED_KEPT.as_millis() as u64), 0);
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
