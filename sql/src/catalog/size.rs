//! About how large tables are: by what PD hears of their regions, else by a look at their first rows.

use crate::error::Result;
use basalt_client::pd_client::RegionAndLeader;
use basalt_client::{Cluster, ScanOptions, Snapshot};
use basalt_common::{KeyRange, TableId, table_key};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};

/// Rows that are looked at. A table that has no more is known exactly.
const ROWS_LOOKED_AT: usize = 1_000;
/// Tables whose rows are looked at when many are asked for, and how many at a time.
const TABLES_LOOKED_AT: usize = 200;
const LOOKS: usize = 16;

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
    Ok(of_tables(cluster, &[table]).await?.pop().unwrap_or_default())
}

/// About how large some tables are, in their order.
///
/// # Errors
/// What the cluster answers.
pub async fn of_tables(cluster: &Cluster, tables: &[TableId]) -> Result<Vec<TableSize>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let all = match tables {
        [table] => table_key::table_range(*table),
        _ => KeyRange::new(vec![table_key::TABLE_PREFIX], vec![table_key::TABLE_PREFIX + 1]),
    };
    let regions = cluster.regions_in(&all).await?;
    let snapshot = cluster.snapshot(cluster.timestamp().await?);
    let mut sizes: Vec<BoxFuture<'_, Result<TableSize>>> = Vec::with_capacity(tables.len());
    for (position, table) in tables.iter().enumerate() {
        sizes.push(of_rows(&regions, &snapshot, *table, position < TABLES_LOOKED_AT).boxed());
    }
    futures::stream::iter(sizes).buffered(LOOKS).try_collect().await
}

async fn of_rows(
    regions: &[RegionAndLeader],
    snapshot: &Snapshot,
    table: TableId,
    may_look: bool,
) -> Result<TableSize> {
    let rows = table_key::rows_range(table);
    let known = within(regions, &rows);
    let before_rows = KeyRange { start: table_key::table_range(table).start, end: rows.start.clone() };
    let index_bytes = within(regions, &before_rows).1;
    if !may_look {
        return Ok(TableSize { rows: known.0, data_bytes: known.1, index_bytes });
    }
    let mut scanner = snapshot.scan(rows, ScanOptions { limit: ROWS_LOOKED_AT, ..Default::default() });
    let (mut looked_at, mut bytes) = (0u64, 0u64);
    while let Some((key, value)) = scanner.next().await? {
        looked_at += 1;
        bytes += (key.len() + value.len()) as u64;
    }
    if looked_at < ROWS_LOOKED_AT as u64 {
        return Ok(TableSize { rows: looked_at, data_bytes: bytes, index_bytes });
    }
    // At least what was seen is there.
    let count = known.0.max(looked_at);
    Ok(TableSize { rows: count, data_bytes: known.1.max(bytes * count / looked_at), index_bytes })
}

/// About how many keys a range holds, as PD hears of its regions.
pub fn keys_within(regions: &[RegionAndLeader], range: &KeyRange) -> u64 {
    within(regions, range).0
}

/// Keys and bytes of the regions that hold keys of a range. Those that hold others as well, at its ends, count by half.
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
