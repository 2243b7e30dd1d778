//! What a running statement has in hand, and how it gives back rows.
//!
//! ```text
//! session ──┬─ Arc<StatementContext>   everything that may be shared with plan nodes and tasks: schema, evaluation, limits
//!           └─ &mut SessionTxn         the transaction, which only the statement itself touches
//!                  │
//!                  └─ ReadView         what a consistent read sees: a timestamp and the transaction's own writes
//! ```
//! A statement first asks [`SessionTxn`](crate::transaction::SessionTxn) for a [`ReadView`] and then reads through it; the
//! view owns what it needs, so that a [`RowStream`] lives on while the session writes rows to the client.
//!
//! Invariants: a context is never changed after it was made; nothing in it refers to a connection's socket; a read view
//! never sees writes that the statement itself makes after the view was taken (no Halloween problem).

use crate::catalog::Catalog;
use crate::catalog::model::Schema;
use crate::deadlocks::Deadlocks;
use crate::error::{Error, Result};
use crate::query::VirtualTables;
use crate::result_columns::ResultColumns;
use crate::server::kill::KillSwitch;
use arrow::record_batch::RecordBatch;
use basalt_client::{Cluster, Snapshot};
use basalt_common::memory::{Account, Tracker};
use basalt_common::{KeyRange, Timestamp, UserKey};
use basalt_expr::{EvalContext, Expr, Value};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Everything a running statement shares with the nodes of its plan.
pub struct StatementContext {
    /// The cluster.
    pub cluster: Cluster,
    /// Where numbers for rows come from.
    pub catalog: Catalog,
    /// The schema that the statement was bound to.
    pub schema: Arc<Schema>,
    /// Rows of the made-up tables that the statement reads.
    pub virtual_tables: VirtualTables,
    /// Modes, time zone, the statement's `NOW()`, warnings, and the values of `?` (among them the literals that the plan
    /// cache took out of the text).
    pub eval: Arc<EvalContext>,
    /// Flipped when the statement must stop.
    pub kill: Arc<KillSwitch>,
    /// Bounds on what the statement may use.
    pub limits: Limits,
    /// When its time is over (3024).
    pub ends: Option<Instant>,
    /// Counts what the statement holds, within its limit.
    pub memory: Arc<Tracker>,
    /// Takes note of circles of waits that ended in the statement.
    pub deadlocks: Arc<Deadlocks>,
    /// What the statement did, for `SHOW STATUS` and `EXPLAIN ANALYZE`.
    pub counters: Counters,
}

impl StatementContext {
    /// For loops, once a batch: goes on, or stops.
    ///
    /// # Errors
    /// [`Error::Killed`] once the statement must stop.
    pub fn check_killed(&self) -> Result<()> {
        if self.kill.is_interrupted() { Err(Error::Killed) } else { Ok(()) }
    }

    /// Does work that makes values: what the allocator gives for it counts as the statement's, and it ends where that is
    /// too much.
    pub fn measured<T>(&self, work: impl FnOnce() -> T) -> T {
        self.memory.meter().measure(work)
    }

    /// The value of an expression over a row, within the statement's memory.
    ///
    /// # Errors
    /// What the expression runs into.
    pub fn eval_row(&self, expr: &Expr, row: &[Value]) -> Result<Value> {
        Ok(match expr {
            Expr::Literal(..) | Expr::Column { .. } | Expr::Parameter { .. } => {
                basalt_expr::eval_row(expr, row, &self.eval)?
            }
            _ => self.measured(|| basalt_expr::eval_row(expr, row, &self.eval))?,
        })
    }

    /// Runs `work` until it is done or the statement must stop, in which case `work` is dropped.
    ///
    /// # Errors
    /// [`Error::Killed`], 3024, or what `work` returns.
    pub async fn guard<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.kill.interrupted() => Err(Error::Killed),
            () = sleep_until(self.ends) => Err(Error::timed_out()),
        }
    }
}

/// Until then; for ever without an end.
pub async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Bounds on one statement.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long it waits for a row's lock (1205).
    pub lock_wait_timeout: Duration,
    /// Whether that ends the transaction, not the statement alone.
    pub rolls_back_on_timeout: bool,
    /// How long a SELECT may run (3024); `None` = for ever.
    pub execution_time_max: Option<Duration>,
    /// Regions that one scan reads at a time.
    pub scan_concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            lock_wait_timeout: LOCK_WAIT_TIMEOUT,
            rolls_back_on_timeout: false,
            execution_time_max: None,
            scan_concurrency: SCAN_CONCURRENCY,
        }
    }
}

/// Default of [`Limits::lock_wait_timeout`], as `innodb_lock_wait_timeout`.
pub const LOCK_WAIT_TIMEOUT: Duration = Duration::from_secs(50);
/// Default of [`Limits::scan_concurrency`].
pub const SCAN_CONCURRENCY: usize = 8;

/// What a statement did.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows read from storage.
    pub rows_read: AtomicU64,
    /// Times it was run again because of a write conflict.
    pub retries: AtomicU64,
}

impl Counters {
    /// Counts rows that came from storage.
    pub fn add_rows_read(&self, rows: usize) {
        self.rows_read.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Counts one more run of the statement.
    pub fn add_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a consistent read sees.
#[derive(Clone)]
pub struct ReadView {
    /// Committed data as of [`ReadView::ts`].
    pub snapshot: Snapshot,
    /// The timestamp; [`Timestamp::MAX`] reads the newest committed version and is only good for reading one key.
    pub ts: Timestamp,
    /// The transaction's own writes, when there are any.
    pub dirty: Option<Arc<DirtyRows>>,
}

impl ReadView {
    /// Committed data as of `ts`, nothing else.
    pub fn at(cluster: &Cluster, ts: Timestamp) -> ReadView {
        ReadView { snapshot: cluster.snapshot(ts), ts, dirty: None }
    }

    /// One key.
    ///
    /// # Errors
    /// What the client returns.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if let Some(own) = self.dirty.as_ref().and_then(|dirty| dirty.get(key)) {
            return Ok(own.clone());
        }
        Ok(self.snapshot.get(key).await?)
    }
}

/// A copy of what a transaction has written but not committed; `None` is a deletion.
#[derive(Debug, Default)]
pub struct DirtyRows {
    rows: BTreeMap<UserKey, Option<Bytes>>,
}

impl DirtyRows {
    /// Copies writes, in any order.
    pub fn new(rows: impl IntoIterator<Item = (UserKey, Option<Bytes>)>) -> Self {
        DirtyRows { rows: rows.into_iter().collect() }
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The write to one key: `Some(None)` was deleted, `None` was not touched.
    pub fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.rows.get(&UserKey::from(key))
    }

    /// All writes, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&UserKey, &Option<Bytes>)> {
        self.rows.iter()
    }

    /// Writes within a range, in key order.
    pub fn range(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&UserKey, &Option<Bytes>)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let empty = !range.end.0.is_empty() && range.end <= range.start;
        let end = match (empty, range.end.0.is_empty()) {
            (true, _) => Excluded(&range.start),
            (_, true) => Unbounded,
            _ => Excluded(&range.end),
        };
        // An included start equal to an excluded end is the empty range, which `BTreeMap` accepts.
        self.rows.range::<UserKey, _>((Included(&range.start), end))
    }
}

/// Rows as they come: names and types, then batches.
pub struct RowStream {
    /// Names and types.
    pub columns: ResultColumns,
    batches: BoxStream<'static, Result<RecordBatch>>,
    /// What the batches that wait hold.
    _held: Option<Account>,
}

impl RowStream {
    /// Batches from a stream.
    pub fn new(columns: impl Into<ResultColumns>, batches: BoxStream<'static, Result<RecordBatch>>) -> Self {
        RowStream { columns: columns.into(), batches, _held: None }
    }

    /// Batches that are all there.
    pub fn from_batches(columns: impl Into<ResultColumns>, batches: Vec<RecordBatch>) -> Self {
        RowStream::new(columns, futures::stream::iter(batches.into_iter().map(Ok)).boxed())
    }

    /// Keeps an account open for as long as the rows are there.
    pub fn holding(self, account: Account) -> Self {
        RowStream { _held: Some(account), ..self }
    }

    /// The next batch; `None` at the end. Dropping the stream cancels what it started.
    ///
    /// # Errors
    /// Whatever the operators ran into; the stream is over then.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.batches.next().await.transpose()
    }

    /// All that is left, for results known to be small.
    ///
    /// # Errors
    /// As [`RowStream::next`]; [`Error::Internal`] above `rows_max` rows.
    pub async fn collect(mut self, rows_max: usize) -> Result<Vec<RecordBatch>> {
        let (mut out, mut rows) = (Vec::new(), 0);
        while let Some(batch) = self.next().await? {
            rows += batch.num_rows();
            if rows > rows_max {
                return Err(Error::Internal(format!("more than {rows_max} rows where few were expected")));
            }
            out.push(batch);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirty_rows_answer_ranges_and_keys() {
        let dirty = DirtyRows::new([
            (UserKey::from(&b"a"[..]), Some(Bytes::from_static(b"1"))),
            (UserKey::from(&b"c"[..]), None),
        ]);
        let count = |start: &[u8], end: &[u8]| dirty.range(&KeyRange::new(start, end)).count();
        assert_eq!((count(b"a", b"c"), count(b"b", b""), count(b"d", b"b"), count(b"c", b"c")), (1, 1, 0, 0));
        assert_eq!(dirty.get(b"c"), Some(&None));
        assert_eq!(dirty.get(b"b"), None);
    }
}
