//! Locks rows before they are changed, or for SELECT … FOR UPDATE.
//!
//! A pessimistic statement reads at a fresh `for_update_ts` and then locks what it found. A row that was committed between
//! the two makes the lock request fail with a write conflict, and [`super::statement`] runs the statement once more: so a
//! statement always works on what it has locked.
//!
//! Rows that the statement names by single keys ([`lock_named`]) are locked first, and come with the locks: one request
//! instead of a timestamp, a read and a lock. A key without a row is locked as well, so that two transactions that each
//! delete and insert it go one after the other; InnoDB has gap locks for that. FOR SHARE takes the same lock as FOR UPDATE:
//! stricter than MySQL's, never wrong.

use crate::context::StatementContext;
use crate::error::{Error, Result};
use crate::executor::filter;
use crate::executor::select::{read_all, rows_wanted};
use crate::executor::table_reader::{Pair, TableReader, row_keys, touched_ranges};
use crate::plan::LockWait;
use crate::planner::access::Resolved;
use crate::planner::{ShortOperator, ShortQuery, TableRead};
use crate::transaction::SessionTxn;
use arrow::array::BooleanArray;
use arrow::record_batch::RecordBatch;
use basalt_client::{LockRequest, LockedKeys};
use basalt_common::UserKey;
use basalt_common::memory::Account;
use bytes::Bytes;

/// The key must not exist.
pub const MUST_BE_NEW: bool = true;
/// The key may exist or not.
pub const ANY: bool = false;

/// Locks keys, each new or not, for the running statement. An optimistic transaction only notes them.
///
/// # Errors
/// What the lock request returns; 1317 when killed while waiting.
pub async fn lock(
    keys: Vec<(Bytes, bool)>,
    wait: LockWait,
    ctx: &StatementContext,
    txn: &mut SessionTxn,
) -> Result<LockedKeys> {
    if keys.is_empty() {
        return Ok(LockedKeys::default());
    }
    let request = LockRequest { keys, wait: how_long(wait, ctx), ..LockRequest::default() };
    let buffer = txn.write().await?;
    ctx.guard(async { buffer.lock_keys(request).await.map_err(Error::from) }).await
}

fn how_long(wait: LockWait, ctx: &StatementContext) -> basalt_client::LockWait {
    match wait {
        LockWait::Default => basalt_client::LockWait::AtMost(ctx.limits.lock_wait_timeout),
        LockWait::NoWait => basalt_client::LockWait::NoWait,
        LockWait::SkipLocked => basalt_client::LockWait::SkipLocked,
    }
}

/// Locks what `resolved` names by single keys, and brings the rows; `None` when it names ranges, or nothing is locked
/// before the commit.
///
/// # Errors
/// What the lock request returns; 1317 when killed while waiting.
pub async fn lock_named(
    read: &TableRead,
    resolved: &Resolved,
    wait: LockWait,
    ctx: &StatementContext,
    txn: &mut SessionTxn,
) -> Result<Option<Vec<Pair>>> {
    if !txn.is_pessimistic() || wait == LockWait::SkipLocked {
        return Ok(None);
    }
    let rows = match resolved {
        Resolved::Rows(keys) => keys.clone(),
        Resolved::Entries(keys) => row_keys(read, &lock_and_fetch(keys.clone(), wait, ctx, txn).await?)?,
        Resolved::Ranges { .. } => return Ok(None),
    };
    lock_and_fetch(rows, wait, ctx, txn).await.map(Some)
}

/// Locks keys; those that exist come with their values, the transaction's own writes included.
async fn lock_and_fetch(
    keys: Vec<UserKey>,
    wait: LockWait,
    ctx: &StatementContext,
    txn: &mut SessionTxn,
) -> Result<Vec<Pair>> {
    // What the transaction wrote it has locked.
    let foreign = keys.iter().filter(|key| txn.own_write(key.as_slice()).is_none());
    let request = LockRequest {
        keys: foreign.map(|key| (key.0.clone(), ANY)).collect(),
        wait: how_long(wait, ctx),
        return_values: true,
        ..LockRequest::default()
    };
    let buffer = txn.write().await?;
    let mut locked = ctx.guard(async { buffer.lock_keys(request).await.map_err(Error::from) }).await?;
    let pair = |key: UserKey| {
        let value = txn.own_write(key.as_slice()).unwrap_or_else(|| locked.values.remove(&key.0).flatten());
        value.map(|value| (key, value))
    };
    Ok(keys.into_iter().filter_map(pair).collect())
}

/// Reads and locks the rows of a locking SELECT, as many as its LIMIT wants.
///
/// # Errors
/// What storage, the filter or the lock request return.
pub async fn read_and_lock(
    query: &ShortQuery,
    read: &TableRead,
    resolved: Resolved,
    (ctx, held): (&StatementContext, &mut Account),
    txn: &mut SessionTxn,
) -> Result<Vec<RecordBatch>> {
    let wait = query.locking.map_or(LockWait::Default, |locking| locking.wait);
    let enough = rows_enough(query, ctx)?;
    if enough.is_none_or(|enough| single_keys(&resolved) <= enough)
        && let Some(rows) = lock_named(read, &resolved, wait, ctx, txn).await?
    {
        let mut reader = TableReader::of_rows(read, rows, ctx, txn.current_read_view()?);
        return read_all(&mut reader, &query.operators, (ctx, held)).await;
    }
    let view = txn.current_view(&touched_ranges(read, &resolved)).await?;
    let mut reader = TableReader::new(read, resolved, ctx, view, None);
    let (mut out, mut rows) = (Vec::new(), 0);
    while enough.is_none_or(|enough| rows < enough) {
        let Some(found) = reader.next().await? else { break };
        let wanted = enough.map_or(found.keys.len(), |enough| (enough - rows).min(found.keys.len()));
        // Rows that LIMIT leaves out are not locked, unless locked ones have to be skipped.
        let taken = if wait == LockWait::SkipLocked { found.keys.len() } else { wanted };
        let keys = found.keys[..taken].iter().map(|key| (key.0.clone(), ANY)).collect();
        let locked = lock(keys, wait, ctx, txn).await?;
        let mut batch = found.batch.slice(0, taken);
        if !locked.skipped.is_empty() {
            let is_locked = |key: &UserKey| !locked.skipped.contains(&key.0);
            let mask: BooleanArray = found.keys[..taken].iter().map(|key| Some(is_locked(key))).collect();
            batch = filter::apply(&batch, &mask)?;
        }
        rows += batch.num_rows();
        held.try_add(batch.get_array_memory_size())?;
        out.push(batch);
    }
    Ok(out)
}

/// Rows after which the query's LIMIT has enough; `None` when it needs all.
fn rows_enough(query: &ShortQuery, ctx: &StatementContext) -> Result<Option<usize>> {
    match query.operators.iter().find(|o| !matches!(o, ShortOperator::Project(..))) {
        Some(ShortOperator::Limit(limit)) => rows_wanted(limit, &ctx.eval),
        _ => Ok(None),
    }
}

fn single_keys(resolved: &Resolved) -> usize {
    match resolved {
        Resolved::Rows(keys) | Resolved::Entries(keys) => keys.len(),
        Resolved::Ranges { .. } => usize::MAX,
    }
}
