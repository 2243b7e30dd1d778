//! About how large tables are: by what PD hears of their regions, else by a look at their first rows.

use crate::error::Result;
use basalt_client::pd_client::RegionAndLeader;
use basalt_client::{Cluster, ScanOptions};
use basalt_common::{KeyRange, TableId, table_key};

/// Rows that are looked at. A table that has no more is known exactly.
const ROWS_LOOKED_AT: usize = 1_000;

/// About how large a table is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Rows.
    pub rows: u64,
    /// Bytes of its rows, keys included.
    pub data_bytes: u64,
    /// Bytes of its secondary indexes.
    pub index_bytes: u64,
}

/// About how large a table is.
///
/// # Errors
/// What the cluster answers.
pub async fn of_table(cluster: &Cluster, table: TableId) -> Result<TableSize> {
    let regions = cluster.regions_in(&table_key::table_range(table)).await?;
    let rows = table_key::rows_range(table);
    let snapshot = cluster.snapshot(cluster.timestamp().await?);
    let mut scanner = snapshot.scan(rows.clone(), ScanOptions { limit: ROWS_LOOKED_AT, ..Default::default() });
    let (mut looked_at, mut bytes) = (0u64, 0u64);
    while let Some((key, value)) = scanner.next().await? {
        looked_at += 1;
        bytes += (key.len() + value.len()) as u64;
    }
    let known = within(&regions, &rows);
    let indexes = within(&regions, &KeyRange { start: table_key::table_range(table).start, end: rows.start.clone() });
    if looked_at < ROWS_LOOKED_AT as u64 {
        return Ok(TableSize { rows: looked_at, data_bytes: bytes, index_bytes: indexes.1 });
    }
    // What lies in regions that the rows share with others is not counted: at least what was seen is there.
    let count = known.0.max(looked_at);
    let data_bytes = known.1.max(bytes * count / looked_at);
    Ok(TableSize { rows: count, data_bytes, index_bytes: indexes.1 })
}

/// Keys and bytes of the regions that hold keys of a range and, but for one at either end, nothing else. The regions at the
/// ends count by half.
fn within(regions: &[RegionAndLeader], range: &KeyRange) -> (u64, u64) {
    let mut sum = (0, 0);
    for found in regions {
        let region = &found.region.range;
        let unbounded = region.end.0.is_empty();
        if (!unbounded && region.end <= range.start) || region.start >= range.end {
            continue;
        }
        let is_inside = region.start >= range.start && !unbounded && region.end <= range.end;
        let part = if is_inside { 1 } else { 2 };
        sum.0 += found.approximate_keys / part;
        sum.1 += found.approximate_size_bytes / part;
    }
    sum
}
