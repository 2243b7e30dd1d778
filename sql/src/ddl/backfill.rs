//! Filling indexes in, while rows are being written.
//!
//! ```text
//! rows  ├──────── wave 1 ────────┤├──────── wave 2 ────────┤…      next_key moves after each wave, in the job's row
//!        batch batch batch batch
//! ```
//! Each batch begins as one optimistic transaction: it reads rows at its start_ts, writes their entries, and marks the rows' keys,
//! so that it meets every write of one of these rows that commits after its start_ts. Then it is done again and reads the
//! new row. A write that commits before its start_ts is read. All writers maintain the index since the step before, so a
//! batch that is done twice writes what is there.
//!
//! A batch that meets writers does not race them: it goes on pessimistically, with the rows that nobody holds first, in one
//! request that waits for nobody, and waits for a held row only while it holds none itself. So it is in nobody's way, and
//! closes no circle.
//!
//! Several batches run side by side; a wave ends when all of them have.

use super::job::{OWNER_SILENCE_MAX_MS, Run};
use crate::catalog::model::{Index, Table};
use crate::catalog::{keys, size, store};
use crate::error::{Error, Result};
use crate::executor::index_entries;
use basalt_client::{Error as ClientError, LockRequest, LockWait, ScanOptions, Transaction, TxnMode, TxnOptions};
use basalt_common::{KeyRange, UserKey, table_key};
use basalt_expr::key::IndexEntry;
use basalt_expr::value::Value;
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Rows of one batch.
const BATCH_ROWS: usize = 512;
/// Batches side by side.
const PARALLEL: usize = 4;
/// Rows that are counted beforehand, to tell how far the work is.
const ROWS_COUNTED: usize = 100_000;
/// The pause before a batch is done again after a conflict.
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);
/// How long a batch waits for a row before it looks whether the job goes on.
const ROW_WAIT: Duration = Duration::from_secs(1);

/// How far a job is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The job.
    pub job_id: u64,
    /// First row key that is not done; empty = none is.
    pub next_key: Bytes,
    /// Rows done.
    pub rows_done: u64,
    /// Rows that there are, about; 0 = not known.
    pub rows_total: u64,
}

/// The indexes of a job, and their table.
pub(super) struct Backfill<'a> {
    /// The job.
    pub run: &'a Run,
    /// The table.
    pub table: &'a Table,
    /// What is filled in.
    pub indexes: &'a [Index],
}

impl Backfill<'_> {
    /// Fills the indexes in from where the job stands.
    ///
    /// # Errors
    /// 1062 when two rows have the same values of a unique index; [`Error::Killed`]; what the cluster answers.
    pub async fn run(&self, from: Progress) -> Result<()> {
        let rows = table_key::rows_range(self.table.id);
        let mut progress = from;
        if progress.rows_total == 0 {
            progress.rows_total = self.rows_about().await?;
        }
        self.tell(&progress);
        let mut start =
            if progress.next_key.is_empty() { rows.start.clone() } else { UserKey(progress.next_key.clone()) };
        loop {
            if self.run.stop.is_cancelled() {
                return Err(Error::Killed);
            }
            let ranges = self.next_wave(&start, &rows.end).await?;
            if ranges.is_empty() {
                return Ok(());
            }
            let mut batches = Vec::with_capacity(ranges.len());
            for range in &ranges {
                batches.push(self.fill_batch(range.clone()));
            }
            let done = tokio::select! {
                done = futures::future::try_join_all(batches) => done?,
                error = self.run.stay_owner() => return Err(error),
            };
            start = ranges.last().map(|r| r.end.clone()).unwrap_or_default();
            let before = progress.rows_done;
            progress.rows_done += done.iter().sum::<u64>();
            progress.next_key = start.0.clone();
            self.record(&progress).await?;
            self.tell(&progress);
            if tenth(before, progress.rows_total) != tenth(progress.rows_done, progress.rows_total) {
                tracing::info!(
                    job = progress.job_id,
                    rows = progress.rows_done,
                    of = progress.rows_total,
                    "filling indexes in"
                );
            }
        }
    }

    /// Rows that there are: counted as long as that takes little beside the work, else what PD hears of.
    async fn rows_about(&self) -> Result<u64> {
        let cluster = self.run.catalog.cluster();
        let snapshot = cluster.snapshot(cluster.timestamp().await?);
        let options = ScanOptions { key_only: true, limit: ROWS_COUNTED, ..Default::default() };
        let mut scanner = snapshot.scan(table_key::rows_range(self.table.id), options);
        let mut rows = 0;
        while scanner.next().await?.is_some() {
            rows += 1;
        }
        if rows < ROWS_COUNTED as u64 {
            return Ok(rows);
        }
        Ok(rows.max(size::of_table(cluster, self.table.id).await?.rows))
    }

    /// What the process list shows.
    fn tell(&self, progress: &Progress) {
        let names: Vec<&str> = self.indexes.iter().map(|i| i.name.as_str()).collect();
        let (plural, names) = (if names.len() > 1 { "es" } else { "" }, names.join(", "));
        // The estimate is never shown smaller than what is done.
        let total = progress.rows_total.max(progress.rows_done);
        let text = format!("adding index{plural} {names}: {} of ~{total} rows", progress.rows_done);
        self.run.report.send_replace(text);
    }
}

/// Which tenth of the work, for the log; every 100,000 rows when nobody knows how many there are.
fn tenth(rows_done: u64, rows_total: u64) -> u64 {
    let step = if rows_total == 0 { 100_000 } else { rows_total.div_ceil(10) };
    rows_done / step
}

impl Backfill<'_> {
    /// Consecutive ranges of about a batch each, from `start`; none when there are no more rows.
    async fn next_wave(&self, start: &UserKey, end: &UserKey) -> Result<Vec<KeyRange>> {
        let cluster = self.run.catalog.cluster();
        let snapshot = cluster.snapshot(cluster.timestamp().await?);
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
    async fn fill_batch(&self, range: KeyRange) -> Result<u64> {
        let options = TxnOptions { waits_at_commit: false, ..TxnOptions::default() };
        let mut txn = self.run.catalog.cluster().begin(options).await?;
        let rows = read_rows(&txn, &range).await?;
        self.write_entries(&mut txn, &rows).await?;
        let keys: Vec<Bytes> = rows.into_iter().map(|(key, _)| key).collect();
        let marked = keys.iter().map(|key| (key.clone(), false)).collect();
        txn.lock_keys(LockRequest { keys: marked, ..Default::default() }).await?;
        match txn.commit().await {
            Ok(_) => Ok(keys.len() as u64),
            Err(error) if is_in_the_way(&error) => self.fill_locked(keys).await,
            Err(error) => Err(error.into()),
        }
    }

    /// A batch whose rows others write, or did just now: those rows that are still there, as they are when they are locked.
    async fn fill_locked(&self, keys: Vec<Bytes>) -> Result<u64> {
        let count = keys.len() as u64;
        let mut left = VecDeque::from(keys);
        let patience = self.run.patience();
        while let Some(first) = left.front().cloned() {
            patience.goes_on()?;
            let options = TxnOptions { mode: TxnMode::Pessimistic, waits_at_commit: false, ..TxnOptions::default() };
            let mut txn = self.run.catalog.cluster().begin(options).await?;
            let mut locked = lock_available(&mut txn, &left).await?;
            if locked.is_empty() {
                let wait = LockWait::AtMost(ROW_WAIT);
                let request =
                    LockRequest { keys: vec![(first, false)], wait, return_values: true, ..Default::default() };
                match txn.lock_keys(request).await {
                    Ok(found) => locked.extend(found.values),
                    Err(ClientError::LockTimeout { .. } | ClientError::Deadlock { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            let done: BTreeSet<Bytes> = locked.iter().map(|(key, _)| key.clone()).collect();
            let rows: Vec<Row> = locked.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            self.write_entries(&mut txn, &rows).await?;
            match txn.commit().await {
                Ok(_) => left.retain(|key| !done.contains(key)),
                Err(error) if is_in_the_way(&error) => tokio::time::sleep(CONFLICT_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }

    async fn write_entries(&self, txn: &mut Transaction, rows: &[Row]) -> Result<()> {
        for index in self.indexes {
            write_entries(txn, self.table, index, rows).await?;
        }
        Ok(())
    }

    /// Writes down how far the job is, and that its owner lives.
    async fn record(&self, progress: &Progress) -> Result<()> {
        let catalog = &self.run.catalog;
        let mut txn = catalog.cluster().begin(TxnOptions::default()).await?;
        let job = store::read_job(&txn, progress.job_id).await?.filter(|job| job.owner == catalog.server_id());
        let Some(mut job) = job else {
            return Err(Error::Internal(format!("schema change {} went to another server", progress.job_id)));
        };
        job.reorg_next_key = progress.next_key.clone();
        (job.rows_done, job.rows_total) = (progress.rows_done, progress.rows_total);
        job.owner_until_unix_ms = txn.start_ts().physical_ms() + OWNER_SILENCE_MAX_MS;
        txn.put(keys::job(progress.job_id), job.encode_to_vec())?;
        txn.commit().await?;
        Ok(())
    }
}

/// A row's key and value.
type Row = (Bytes, Bytes);

async fn read_rows(txn: &Transaction, range: &KeyRange) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut scanner = txn.snapshot().scan(range.clone(), ScanOptions::default());
    while let Some(row) = scanner.next().await? {
        rows.push(row);
    }
    Ok(rows)
}

/// Locks those of some rows that nobody else holds, and brings them as they are.
async fn lock_available(txn: &mut Transaction, keys: &VecDeque<Bytes>) -> Result<Vec<(Bytes, Option<Bytes>)>> {
    let mut keys = keys.clone();
    let available = txn.lock_available(&mut keys, usize::MAX, false).await?;
    Ok(available.into_iter().map(|found| (found.key, found.value)).collect())
}

/// True when a batch is done again because of other writers, or because nobody knows whether it was done: what it writes does
/// no harm twice.
fn is_in_the_way(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::WriteConflict { .. }
            | ClientError::WouldWait { .. }
            | ClientError::Aborted { .. }
            | ClientError::Undetermined(_)
    )
}

/// Puts one index's entries of some rows.
async fn write_entries(txn: &mut Transaction, table: &Table, index: &Index, rows: &[Row]) -> Result<()> {
    let entries = index_entries::of_rows(table, index, rows)?;
    check_unique(txn, table, index, &entries).await?;
    for (entry, _) in entries {
        txn.put(entry.key, entry.value)?;
    }
    Ok(())
}

/// A unique entry may be there already for the same row (a writer was faster), not for another.
async fn check_unique(
    txn: &Transaction,
    table: &Table,
    index: &Index,
    entries: &[(IndexEntry, Vec<Value>)],
) -> Result<()> {
    let mut wanted = BTreeMap::new();
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
