//! Locks rows before they are changed, or for SELECT … FOR UPDATE.
//!
//! A pessimistic statement reads at a fresh `for_update_ts` and then locks what it found. A row that was committed between
//! the two makes the lock request fail with a write conflict, and [`super::statement`] runs the statement once more: so a
//! statement always works on what it has locked. FOR SHARE takes the same lock as FOR UPDATE: stricter than MySQL's, never
//! wrong.

use crate::context::StatementContext;
use crate::error::{Error, Result};
use crate::executor::filter;
use crate::executor::select::{memory_exceeded, rows_wanted};
use crate::executor::table_reader::{TableReader, touched_ranges};
use crate::plan::LockWait;
use crate::planner::access::Resolved;
use crate::planner::{ShortOperator, ShortQuery, TableRead};
use crate::transaction::SessionTxn;
use arrow::array::BooleanArray;
use arrow::record_batch::RecordBatch;
use basalt_client::{LockRequest, LockedKeys};
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
    let wait = match wait {
        LockWait::Default => basalt_client::LockWait::AtMost(ctx.limits.lock_wait_timeout),
        LockWait::NoWait => basalt_client::LockWait::NoWait,
        LockWait::SkipLocked => basalt_client::LockWait::SkipLocked,
    };
    let request = LockRequest { keys, wait, ..LockRequest::default() };
    let buffer = txn.write().await?;
    ctx.guard(async { buffer.lock_keys(request).await.map_err(Error::from) }).await
}

/// Reads and locks the rows of a locking SELECT, as many as its LIMIT wants.
///
/// # Errors
/// What storage, the filter or the lock request return.
pub async fn read_and_lock(
    query: &ShortQuery,
    read: &TableRead,
    resolved: Resolved,
    ctx: &StatementContext,
    txn: &mut SessionTxn,
) -> Result<Vec<RecordBatch>> {
    let wait = query.locking.map_or(LockWait::Default, |locking| locking.wait);
    let view = txn.current_view(&touched_ranges(read, &resolved)).await?;
    let first = query.operators.iter().find(|o| !matches!(o, ShortOperator::Project(..)));
    let enough = match first {
        Some(ShortOperator::Limit(limit)) => rows_wanted(limit, &ctx.eval)?,
        _ => None,
    };
    let mut reader = TableReader::new(read, resolved, ctx, view, None);
    let (mut out, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while enough.is_none_or(|enough| rows < enough) {
        let Some(found) = reader.next().await? else { break };
        let wanted = enough.map_or(found.keys.len(), |enough| (enough - rows).min(found.keys.len()));
        // Rows that LIMIT leaves out are not locked, unless locked ones have to be skipped.
        let taken = if wait == LockWait::SkipLocked { found.keys.len() } else { wanted };
        let keys = found.keys[..taken].iter().map(|key| (key.0.clone(), ANY)).collect();
        let locked = lock(keys, wait, ctx, txn).await?;
        let mut batch = found.batch.slice(0, taken);
        if !locked.skipped.is_empty() {
            let is_locked = |key: &basalt_common::UserKey| !locked.skipped.contains(&key.0);
            let mask: BooleanArray = found.keys[..taken].iter().map(|key| Some(is_locked(key))).collect();
            batch = filter::apply(&batch, &mask)?;
        }
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if bytes > ctx.limits.memory_bytes_max {
            return Err(memory_exceeded());
        }
        out.push(batch);
    }
    Ok(out)
}
