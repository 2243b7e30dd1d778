//! Filling an index in, while rows are being written.
//!
//! ```text
//! rows  ├──────── wave 1 ────────┤├──────── wave 2 ────────┤…      next_key moves after each wave, in the job's row
//!        batch batch batch batch
//! ```
//! Each batch is one optimistic transaction: it reads rows at its start_ts, writes their entries, and marks the rows' keys,
//! so that it meets every write of one of these rows that commits after its start_ts. Then it is done again and reads the
//! new row. A write that commits before its start_ts is read. All writers maintain the index since the step before, so a
//! batch that is done twice writes what is there.
//!
//! Several batches run side by side; a wave ends when all of them have.

use super::job::OWNER_SILENCE_MAX_MS;
use crate::catalog::model::{Handle, Index, Table};
use crate::catalog::{Catalog, keys, store};
use crate::error::{Error, Result};
use basalt_client::{LockRequest, ScanOptions, Transaction, TxnOptions};
use basalt_common::{KeyRange, UserKey, table_key};
use basalt_expr::key::{self, IndexEntry, IndexPart, IndexTarget};
use basalt_expr::row::{RowDecoder, ScanColumn};
use basalt_expr::temporal::zone::TimeZone;
use basalt_expr::value::Value;
use bytes::Bytes;
use prost::Message;

/// Rows of one batch.
const BATCH_ROWS: usize = 512;
/// Batches side by side.
const PARALLEL: usize = 4;
/// How often a batch is done again.
const BATCH_TRIES: u32 = 100;

/// How far a job is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The job.
    pub job_id: u64,
    /// First row key that is not done; empty = none is.
    pub next_key: Bytes,
    /// Rows done.
    pub rows_done: u64,
}

/// Fills the index in from where the job stands.
///
/// # Errors
/// 1062 when two rows have the same values of a unique index; what the cluster answers.
pub async fn run(catalog: &Catalog, from: &Progress, table: &Table, index: &Index) -> Result<()> {
    let rows = table_key::rows_range(table.id);
    let mut progress = from.clone();
    let mut start = if progress.next_key.is_empty() { rows.start.clone() } else { UserKey(progress.next_key.clone()) };
    loop {
        let ranges = next_wave(catalog, &start, &rows.end).await?;
        if ranges.is_empty() {
            return Ok(());
        }
        let mut batches = Vec::with_capacity(ranges.len());
        for range in &ranges {
            batches.push(fill_batch(catalog, table, index, range.clone()));
        }
        let done = futures::future::try_join_all(batches).await?;
        start = ranges.last().map(|r| r.end.clone()).unwrap_or_default();
        progress.rows_done += done.iter().sum::<u64>();
        progress.next_key = start.0.clone();
        record_progress(catalog, &progress).await?;
    }
}

/// Consecutive ranges of about a batch each, from `start`; none when there are no more rows.
async fn next_wave(catalog: &Catalog, start: &UserKey, end: &UserKey) -> Result<Vec<KeyRange>> {
    let snapshot = catalog.cluster().snapshot(catalog.cluster().timestamp().await?);
    let options = ScanOptions { key_only: true, limit: BATCH_ROWS * PARALLEL, ..Default::default() };
    let mut scanner = snapshot.scan(KeyRange { start: start.clone(), end: end.clone() }, options);
    let mut keys = Vec::new();
    while let Some((key, _)) = scanner.next().await? {
        keys.push(UserKey(key));
    }
    let mut ranges = Vec::new();
    let mut from = start.clone();
    for batch in keys.chunks(BATCH_ROWS) {
        let to = batch.last().map(UserKey::successor).unwrap_or_default();
        ranges.push(KeyRange { start: from, end: to.clone() });
        from = to;
    }
    Ok(ranges)
}

/// One batch, until it commits; returns its rows.
async fn fill_batch(catalog: &Catalog, table: &Table, index: &Index, range: KeyRange) -> Result<u64> {
    let mut tries = 0;
    loop {
        let mut txn = catalog.cluster().begin(TxnOptions::default()).await?;
        let rows = write_entries(&mut txn, table, index, &range).await?;
        match txn.commit().await.map_err(Error::from) {
            Ok(_) => return Ok(rows),
            Err(error) if tries < BATCH_TRIES && (error.is_write_conflict() || error.is_undetermined()) => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn write_entries(txn: &mut Transaction, table: &Table, index: &Index, range: &KeyRange) -> Result<u64> {
    let zone = TimeZone::utc();
    let columns: Vec<ScanColumn> =
        index.columns.iter().map(|part| scan_column(table, part.column, &zone)).collect::<Result<_>>()?;
    let parts: Vec<IndexPart> = index
        .columns
        .iter()
        .map(|part| IndexPart {
            ty: table.columns[part.column].ty.clone(),
            prefix_length: part.prefix_length.unwrap_or(0),
        })
        .collect();
    let target = IndexTarget { table: table.id, index: index.id, unique: index.unique, parts: &parts };
    let mut decoder = RowDecoder::new(columns, zone.clone(), BATCH_ROWS);
    let mut row_keys = Vec::new();
    let mut scanner = txn.snapshot().scan(range.clone(), ScanOptions::default());
    while let Some((key, value)) = scanner.next().await? {
        decoder.append(&key[table_key::ROW_PREFIX_LEN.min(key.len())..], &value)?;
        row_keys.push(key);
    }
    let batch = decoder.finish()?;
    let mut entries: Vec<(IndexEntry, Vec<Value>)> = Vec::with_capacity(row_keys.len());
    for (row, key) in row_keys.iter().enumerate() {
        let values = (0..parts.len())
            .map(|column| basalt_expr::convert::value_at(batch.column(column), &parts[column].ty, row))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let (_, handle) =
            key::decode_row_key(key, table.handle.is_integer()).map_err(|e| Error::Internal(e.to_string()))?;
        entries.push((key::encode_index_entry(target, &values, &handle, &zone)?, values));
    }
    check_unique(txn, table, index, &entries).await?;
    for (entry, _) in entries {
        txn.put(entry.key, entry.value)?;
    }
    let rows = row_keys.len() as u64;
    if rows > 0 {
        let keys = row_keys.into_iter().map(|key| (key, false)).collect();
        txn.lock_keys(LockRequest { keys, ..Default::default() }).await?;
    }
    Ok(rows)
}

/// A unique entry may be there already for the same row (a writer was faster), not for another.
async fn check_unique(
    txn: &Transaction,
    table: &Table,
    index: &Index,
    entries: &[(IndexEntry, Vec<Value>)],
) -> Result<()> {
    let mut wanted = std::collections::BTreeMap::new();
    for (entry, values) in entries.iter().filter(|(e, _)| e.unique) {
        if wanted.insert(Bytes::from(entry.key.clone()), (&entry.value, values)).is_some() {
            return Err(duplicate(table, index, values));
        }
    }
    for (key, there) in txn.batch_get(wanted.keys().cloned().collect()).await? {
        let Some((value, values)) = wanted.get(&key) else { continue };
        if there[..] != value[..] {
            return Err(duplicate(table, index, values));
        }
    }
    Ok(())
}

fn duplicate(table: &Table, index: &Index, values: &[Value]) -> Error {
    let text: Vec<String> = index
        .columns
        .iter()
        .zip(values)
        .map(|(part, value)| {
            String::from_utf8_lossy(&crate::catalog::value_text(value, &table.columns[part.column].ty)).into_owned()
        })
        .collect();
    Error::duplicate_entry(text.join("-"), format!("{}.{}", table.name, index.name))
}

fn scan_column(table: &Table, offset: usize, zone: &TimeZone) -> Result<ScanColumn> {
    let column = &table.columns[offset];
    let mut default = None;
    if let Some(value) = &column.original_default {
        let mut bytes = Vec::new();
        basalt_expr::row::encode_stored_value(value, &column.ty, zone, &mut bytes)?;
        default = Some(bytes);
    }
    Ok(ScanColumn { id: column.id, ty: column.ty.clone(), default, is_handle: table.handle == Handle::Integer(offset) })
}

/// Writes down how far the job is, and that its owner lives.
async fn record_progress(catalog: &Catalog, progress: &Progress) -> Result<()> {
    let mut txn = catalog.cluster().begin(TxnOptions::default()).await?;
    let job = store::read_job(&txn, progress.job_id).await?.filter(|job| job.owner == catalog.server_id());
    let Some(mut job) = job else {
        return Err(Error::Internal(format!("schema change {} went to another server", progress.job_id)));
    };
    job.reorg_next_key = progress.next_key.clone();
    job.rows_done = progress.rows_done;
    job.owner_until_unix_ms = txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS;
    txn.put(keys::job(progress.job_id), job.encode_to_vec())?;
    txn.commit().await?;
    tracing::info!(job = progress.job_id, rows = progress.rows_done, "filling an index in");
    Ok(())
}
