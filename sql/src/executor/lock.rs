//! Locks rows before they are changed, or for SELECT … FOR UPDATE.
//!
//! A pessimistic statement reads at a fresh `for_update_ts` and then locks what it found. A row that was committed between
//! the two makes the lock request fail with a write conflict, and [`super::statement`] runs the statement once more: so a
//! statement always works on what it has locked.
//!
//! Rows that the statement names by single keys ([`lock_named`]) are locked first, and come with the locks: one request
//! instead of a timestamp, a read and a lock. A key without a row is locked as well, so that two transactions that each
//! delete and insert it go one after the other; InnoDB has gap locks for that. FOR SHARE takes shared locks.

use crate::context::StatementContext;
use crate::error::{Error, Result};
use crate::executor::select::{concat, read_all, rows_wanted};
use crate::executor::table_reader::{Pair, ReadBatch, TableReader, row_keys, touched_ranges};
use crate::executor::{index_entries, project, sort};
use crate::plan::{LockWait, Locking};
use crate::planner::access::Resolved;
use crate::planner::{ShortOperator, ShortQuery, TableRead};
use crate::transaction::SessionTxn;
use arrow::record_batch::RecordBatch;
use basalt_client::{LockRequest, LockedKeys};
use basalt_common::UserKey;
use basalt_common::memory::Account;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// The key must not exist.
pub const MUST_BE_NEW: bool = true;
/// The key may exist or not.
pub const ANY: bool = false;

/// Locks keys, each new or not, for the running statement. An optimistic transaction only notes them.
///
/// # Errors
/// What the lock request returns; 1317 and 3024 when stopped while waiting.
pub async fn lock(
    keys: Vec<(Bytes, bool)>,
    locking: Locking,
    ctx: &StatementContext,
    txn: &mut SessionTxn,
) -> Result<LockedKeys> {
    if keys.is_empty() {
        return Ok(LockedKeys::default());
    }
    let request =
        LockRequest { keys, wait: how_long(locking.wait, ctx), is_shared: locking.share, ..LockRequest::default() };
    let buffer = txn.locking().await?;
    settled(ctx.guard(async { buffer.lock_keys(request).await.map_err(Error::from) }).await, txn).await
}

/// After a request for locks: one that was dropped must not get them behind everybody's back.
///
/// # Errors
/// The request's.
pub async fn settled<T>(outcome: Result<T>, txn: &mut SessionTxn) -> Result<T> {
    if outcome.as_ref().is_err_and(Error::is_interruption) {
        txn.locking().await?.settle_asked().await;
    }
    outcome
}

fn how_long(wait: LockWait, ctx: &StatementContext) -> basalt_client::LockWait {
    match wait {
        LockWait::Default => basalt_client::LockWait::AtMost(ctx.limits.lock_wait_timeout),
        LockWait::NoWait => basalt_client::LockWait::NoWait,
        // Nobody is waited for, and those that another holds are not asked for.
        LockWait::SkipLocked => basalt_client::LockWait::NoWait,
    }
}

/// Locks what `resolved` names by single keys, and brings the rows; `None` when it names ranges, or nothing is locked
/// before the commit.
///
/// # Errors
/// What the lock request returns; 1317 and 3024 when stopped while waiting.
pub async fn lock_named(
    read: &TableRead,
    resolved: &Resolved,
    locking: Locking,
    ctx: &StatementContext,
    txn: &mut SessionTxn,
) -> Result<Option<Vec<Pair>>> {
    if !txn.is_pessimistic() || locking.wait == LockWait::SkipLocked {
        return Ok(None);
    }
    let rows = match resolved {
        Resolved::Rows(keys) => keys.clone(),
        Resolved::Entries(keys) => row_keys(read, &lock_and_fetch(keys.clone(), locking, ctx, txn).await?)?,
        Resolved::Ranges { .. } => return Ok(None),
    };
    let mut rows = lock_and_fetch(rows, locking, ctx, txn).await?;
    if read.reverse {
        rows.reverse();
    }
    Ok(Some(rows))
}

/// Locks keys; those that exist come with their values, the transaction's own writes included.
async fn lock_and_fetch(
    keys: Vec<UserKey>,
    locking: Locking,
    ctx: &StatementContext,
    txn: &mut SessionTxn,
) -> Result<Vec<Pair>> {
    // What the transaction wrote it has locked.
    let foreign = keys.iter().filter(|key| txn.own_write(key.as_slice()).is_none());
    let request = LockRequest {
        keys: foreign.map(|key| (key.0.clone(), ANY)).collect(),
        wait: how_long(locking.wait, ctx),
        return_values: true,
        is_shared: locking.share,
        ..LockRequest::default()
    };
    let buffer = txn.locking().await?;
    let outcome = ctx.guard(async { buffer.lock_keys(request).await.map_err(Error::from) }).await;
    let mut locked = settled(outcome, txn).await?;
    let pair = |key: UserKey| {
        let value = txn.own_write(key.as_slice()).unwrap_or_else(|| locked.values.remove(&key.0).flatten());
        value.map(|value| (key, value))
    };
    Ok(keys.into_iter().filter_map(pair).collect())
}

/// Reads and locks the rows of a locking SELECT, as many as its LIMIT wants: rows that it does not return are not locked,
/// those aside that its OFFSET skips.
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
    let locking = query.locking.unwrap_or(Locking::FOR_UPDATE);
    let choice = Choice::of(&query.operators, ctx)?;
    if choice.wanted.is_none_or(|wanted| single_keys(&resolved) <= wanted)
        && let Some(rows) = lock_named(read, &resolved, locking, ctx, txn).await?
    {
        let mut reader = TableReader::of_rows(read, rows, ctx, txn.current_read_view()?);
        return read_all(&mut reader, &query.operators, (ctx, held)).await;
    }
    let mut view = txn.current_view(&touched_ranges(read, &resolved)).await?;
    if locking.wait == LockWait::SkipLocked && txn.is_pessimistic() {
        view.snapshot = view.snapshot.passing_deletes();
    }
    let mut reader = TableReader::new(read, resolved.clone(), ctx, view, None);
    if let Some(wanted) = choice.wanted.filter(|_| !choice.is_sorted) {
        reader = reader.growing(wanted);
    }
    let (mut out, mut rows) = (Vec::new(), 0);
    while choice.wanted.is_none_or(|wanted| rows < wanted) {
        let found = match choice.is_sorted {
            true => choice.sorted(&mut reader, (ctx, held)).await?,
            false => reader.next().await?,
        };
        let Some(found) = found else { break };
        let most = choice.wanted.map_or(usize::MAX, |wanted| wanted - rows);
        let batches = match locking.wait {
            LockWait::SkipLocked if txn.is_pessimistic() => {
                lock_available((read, &resolved), found.keys, (most, locking.share), ctx, txn).await?
            }
            _ => {
                let taken = found.keys.len().min(most);
                let keys = found.keys[..taken].iter().map(|key| (key.0.clone(), ANY)).collect();
                lock(keys, locking, ctx, txn).await?;
                vec![found.batch.slice(0, taken)]
            }
        };
        for batch in batches {
            rows += batch.num_rows();
            held.try_add(batch.get_array_memory_size())?;
            out.push(batch);
        }
    }
    Ok(out)
}

/// Locks rows that nobody else holds, in their order until there are `most`, and brings them as they are now. Rows that the
/// read does not want any more stay free.
async fn lock_available(
    (read, resolved): (&TableRead, &Resolved),
    keys: Vec<UserKey>,
    (most, is_shared): (usize, bool),
    ctx: &StatementContext,
    txn: &mut SessionTxn,
) -> Result<Vec<RecordBatch>> {
    let mut left: VecDeque<Bytes> = keys.into_iter().map(|key| key.0).collect();
    let (mut batches, mut rows) = (Vec::new(), 0);
    while rows < most && !left.is_empty() {
        let buffer = txn.locking().await?;
        let locked = ctx
            .guard(async { buffer.lock_available(&mut left, most - rows, is_shared).await.map_err(Error::from) })
            .await?;
        let fresh = locked.iter().filter(|locked| !locked.was_held).map(|locked| locked.key.clone());
        let mut unwanted: BTreeSet<Bytes> = fresh.collect();
        let current = locked.into_iter().filter_map(|locked| {
            let value = txn.own_write(&locked.key).unwrap_or(locked.value)?;
            Some((UserKey(locked.key), value))
        });
        let current = still_there(read, resolved, current.collect())?;
        let mut reader = TableReader::of_rows(read, current, ctx, txn.current_read_view()?);
        while let Some(found) = reader.next().await? {
            rows += found.keys.len();
            for key in &found.keys {
                unwanted.remove(&key.0);
            }
            batches.push(found.batch);
        }
        txn.locking().await?.unlock(unwanted.into_iter().collect()).await;
    }
    Ok(batches)
}

/// Those of some rows whose entries lie where the read has looked: what its index has tested the filter does not test again,
/// and another transaction may have changed it since.
fn still_there(read: &TableRead, resolved: &Resolved, rows: Vec<Pair>) -> Result<Vec<Pair>> {
    let table = &read.scan.table;
    let Some(index) = read.access.index(table) else { return Ok(rows) };
    let rows: Vec<(Bytes, Bytes)> = rows.into_iter().map(|(key, value)| (key.0, value)).collect();
    let is_wanted = |entry: &[u8]| match resolved {
        Resolved::Rows(_) => true,
        Resolved::Entries(keys) => keys.iter().any(|key| key.as_slice() == entry),
        Resolved::Ranges { ranges, .. } => ranges.iter().any(|range| range.contains(entry)),
    };
    let entries = index_entries::of_rows(table, index, &rows)?;
    let rows = rows.into_iter().zip(entries).filter(|(_, (entry, _))| is_wanted(&entry.key));
    Ok(rows.map(|((key, value), _)| (UserKey(key), value)).collect())
}

/// Which of the rows that it reads a query returns.
struct Choice<'a> {
    operators: &'a [ShortOperator],
    /// How many rows its LIMIT wants; `None` when all of them count.
    wanted: Option<usize>,
    /// Which ones these are shows when all are sorted.
    is_sorted: bool,
}

impl<'a> Choice<'a> {
    fn of(operators: &'a [ShortOperator], ctx: &StatementContext) -> Result<Choice<'a>> {
        let is_rowwise = |o: &ShortOperator| matches!(o, ShortOperator::Project(..) | ShortOperator::Sort(_));
        let at = operators.iter().take_while(|o| is_rowwise(o)).count();
        let wanted = match operators.get(at) {
            Some(ShortOperator::Limit(limit)) => rows_wanted(limit, &ctx.eval)?,
            _ => None,
        };
        let operators = if wanted.is_some() { &operators[..at] } else { &[] };
        let is_sorted = operators.iter().any(|o| matches!(o, ShortOperator::Sort(_)));
        Ok(Choice { operators, wanted, is_sorted })
    }

    /// All that is left to read, sorted.
    async fn sorted(
        &self,
        reader: &mut TableReader<'_>,
        (ctx, held): (&StatementContext, &mut Account),
    ) -> Result<Option<ReadBatch>> {
        let (mut keys, mut batches) = (Vec::new(), Vec::new());
        while let Some(found) = reader.next().await? {
            held.try_add(found.batch.get_array_memory_size())?;
            keys.extend(found.keys);
            batches.push(found.batch);
        }
        let Some(batch) = concat(batches)? else { return Ok(None) };
        let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
        let mut shown = batch.clone();
        for operator in self.operators {
            match operator {
                ShortOperator::Project(exprs, output) => shown = project::project(exprs, output, &shown, &ctx.eval)?,
                ShortOperator::Sort(by) => {
                    let sorted = sort::order(&shown, by, &ctx.eval)?;
                    shown = sort::take(&shown, sorted.clone())?;
                    order = sorted.into_iter().map(|row| order[row as usize]).collect();
                }
                _ => {}
            }
        }
        let keys = order.iter().map(|&row| keys[row as usize].clone()).collect();
        Ok(Some(ReadBatch { keys, batch: sort::take(&batch, order)? }))
    }
}

fn single_keys(resolved: &Resolved) -> usize {
    match resolved {
        Resolved::Rows(keys) | Resolved::Entries(keys) => keys.len(),
        Resolved::Ranges { .. } => usize::MAX,
    }
}
