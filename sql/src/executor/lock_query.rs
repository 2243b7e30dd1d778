//! Locks the rows of a query that the query path runs: of joins, subqueries, aggregates, parts of set operations.
//!
//! Queries of their own find the keys ([`RowLocks::source`]), at the newest commits, and what they find is locked batch by
//! batch. The result is what the statement's own one has put out, or comes from the statement, which then reads at the same
//! timestamp. A row that was committed between reading and locking makes the lock fail with a write conflict, and
//! [`super::statement`] runs the statement once more.
//!
//! With SKIP LOCKED each row of the result is locked before the next one is looked at. It is left out when one of its locks
//! is another's, and what it has got until then is given back. LIMIT counts the rows that stay.
//!
//! Tables that no clause names are read at that timestamp too; MySQL reads them as the transaction's snapshot has them. Rows
//! that an OFFSET skips are locked with SKIP LOCKED only.

use crate::catalog::model::{Handle as HandleKind, Table};
use crate::context::{ReadView, RowStream, StatementContext};
use crate::error::{Error, Result};
use crate::executor::{lock, rows, sort, source};
use crate::plan::{LockTarget, LockWait, Locking, Query, RowLimit, RowLocks};
use crate::planner::row_count;
use crate::transaction::SessionTxn;
use arrow::record_batch::RecordBatch;
use basalt_client::Error as ClientError;
use basalt_common::memory::Account;
use basalt_expr::EvalContext;
use basalt_expr::key::{Handle, encode_row_key};
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Locks what the query's clauses say, and reads its result.
///
/// # Errors
/// What storage, an operator or a lock request return; 1317 when killed while waiting.
pub async fn lock_and_read(query: &Query, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<RowStream> {
    let view = txn.current_view(&source::tables_of(query)).await?;
    let skipping = ReadView { snapshot: view.snapshot.clone().passing_deletes(), ..view.clone() };
    let mut held = Account::new(ctx.memory.clone());
    let mut result = None;
    for locks in &query.locks {
        let skips = locks.targets.iter().any(|target| target.locking.wait == LockWait::SkipLocked);
        let batches = match skips {
            true => lock_available(locks, &skipping, (ctx, &mut held), txn).await?,
            false => lock_all(locks, &view, (ctx, &mut held), txn).await?,
        };
        if locks.result_columns.is_some() {
            result = Some(batches);
        }
    }
    match result {
        Some(batches) => Ok(RowStream::from_batches(query.root.output(), batches).holding(held)),
        None => {
            // The statement calculates the same again.
            ctx.eval.warnings.take();
            crate::query::execute(&query.root, ctx, &view, &ctx.virtual_tables).await
        }
    }
}

/// Locks every row that the source brings. Returns the rows when they are the result.
async fn lock_all(
    locks: &RowLocks,
    view: &ReadView,
    (ctx, held): (&Arc<StatementContext>, &mut Account),
    txn: &mut SessionTxn,
) -> Result<Vec<RecordBatch>> {
    let mut found = crate::query::execute(&locks.source, ctx, view, &ctx.virtual_tables).await?;
    let types = types_of(&found);
    let mut out = Vec::new();
    while let Some(batch) = found.next().await? {
        let mut wanted = Vec::new();
        for target in &locks.targets {
            let keys = keys_of(target, &batch, &types)?;
            wanted.extend(keys.into_iter().flatten().map(|key| (target.locking, key)));
        }
        lock_keys(wanted, ctx, txn).await?;
        if let Some(columns) = locks.result_columns {
            held.try_add(batch.get_array_memory_size())?;
            out.push(first_columns(&batch, columns)?);
        }
    }
    Ok(out)
}

/// Goes through the rows of a result with SKIP LOCKED; returns those that it could lock.
async fn lock_available(
    locks: &RowLocks,
    view: &ReadView,
    (ctx, held): (&Arc<StatementContext>, &mut Account),
    txn: &mut SessionTxn,
) -> Result<Vec<RecordBatch>> {
    let Some(columns) = locks.result_columns else {
        return Err(Error::Internal("SKIP LOCKED of rows that are no result".into()));
    };
    let (mut skip, mut wanted) = limits(locks.limit.as_ref(), &ctx.eval)?;
    let mut found = crate::query::execute(&locks.source, ctx, view, &ctx.virtual_tables).await?;
    let types = types_of(&found);
    let mut tried = Tried::default();
    let mut out = Vec::new();
    while wanted > 0
        && let Some(batch) = found.next().await?
    {
        let keys = locks.targets.iter().map(|target| keys_of(target, &batch, &types));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let mut kept = Vec::new();
        for row in 0..batch.num_rows() {
            if wanted == 0 {
                break;
            }
            let of_row = locks.targets.iter().zip(&keys);
            let of_row = of_row.filter_map(|(target, keys)| Some((target.locking, keys[row].clone()?)));
            match tried.lock_row(of_row.collect(), ctx, txn).await? {
                false => {}
                true if skip > 0 => skip -= 1,
                true => {
                    wanted -= 1;
                    kept.push(row as u32);
                }
            }
        }
        let batch = sort::take(&first_columns(&batch, columns)?, kept)?;
        held.try_add(batch.get_array_memory_size())?;
        out.push(batch);
    }
    Ok(out)
}

/// Rows to leave out first, and rows at most.
fn limits(limit: Option<&RowLimit>, eval: &EvalContext) -> Result<(usize, usize)> {
    let Some(RowLimit { offset, count }) = limit else { return Ok((0, usize::MAX)) };
    let offset = offset.as_ref().map_or(Ok(0), |offset| row_count(offset, eval))?;
    let count = count.as_ref().map_or(Ok(usize::MAX), |count| row_count(count, eval))?;
    Ok((offset, count))
}

/// Keys that were asked for with SKIP LOCKED, and whether they were had: rows of a join bring the same ones again.
#[derive(Default)]
struct Tried(BTreeMap<Bytes, bool>);

impl Tried {
    /// Locks the keys of one row. False when one of those that are not waited for is another's: then it locks nothing.
    async fn lock_row(
        &mut self,
        keys: Vec<(Locking, Bytes)>,
        ctx: &StatementContext,
        txn: &mut SessionTxn,
    ) -> Result<bool> {
        let may_skip = txn.is_pessimistic();
        let (skipped, waited): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|(locking, _)| may_skip && locking.wait == LockWait::SkipLocked);
        let mut fresh = Vec::new();
        for (locking, key) in skipped {
            let is_ours = match self.0.get(&key) {
                Some(is_ours) => *is_ours,
                None => self.lock_key(key, locking.share, &mut fresh, ctx, txn).await?,
            };
            if !is_ours {
                for key in &fresh {
                    self.0.remove(key);
                }
                txn.locking().await?.unlock(fresh).await;
                return Ok(false);
            }
        }
        lock_keys(waited, ctx, txn).await?;
        Ok(true)
    }

    /// Locks a key unless it is another's; notes in `fresh` what this transaction had not locked before.
    async fn lock_key(
        &mut self,
        key: Bytes,
        is_shared: bool,
        fresh: &mut Vec<Bytes>,
        ctx: &StatementContext,
        txn: &mut SessionTxn,
    ) -> Result<bool> {
        let buffer = txn.locking().await?;
        let start_ts = buffer.start_ts();
        let mut wanted = VecDeque::from([key.clone()]);
        let had =
            ctx.guard(async { buffer.lock_available(&mut wanted, 1, is_shared).await.map_err(Error::from) }).await?;
        let had = had.into_iter().next();
        self.0.insert(key.clone(), had.is_some());
        let Some(had) = had else { return Ok(false) };
        if let Some(conflict_commit_ts) = had.newer_commit {
            return Err(ClientError::WriteConflict { key, start_ts, conflict_commit_ts }.into());
        }
        if !had.was_held {
            fresh.push(key);
        }
        Ok(true)
    }
}

/// Locks keys, each with or without waiting.
async fn lock_keys(keys: Vec<(Locking, Bytes)>, ctx: &StatementContext, txn: &mut SessionTxn) -> Result<()> {
    for wait in [LockWait::NoWait, LockWait::Default] {
        for share in [false, true] {
            let is_wanted = |locking: &Locking| {
                locking.share == share && (locking.wait == LockWait::Default) == (wait == LockWait::Default)
            };
            let keys = keys.iter().filter(|(locking, _)| is_wanted(locking)).map(|(_, key)| (key.clone(), lock::ANY));
            lock::lock(keys.collect(), Locking { share, wait }, ctx, txn).await?;
        }
    }
    Ok(())
}

fn types_of(rows: &RowStream) -> Vec<FieldType> {
    rows.columns.iter().map(|column| column.ty.clone()).collect()
}

/// The keys of a table's rows in a batch; `None` where an outer join found none.
fn keys_of(target: &LockTarget, batch: &RecordBatch, types: &[FieldType]) -> Result<Vec<Option<Bytes>>> {
    let handles = of_columns(batch, &target.handle)?;
    let types: Vec<FieldType> = target.handle.iter().map(|&at| types[at].clone()).collect();
    rows::of_batch(&handles, &types)?.iter().map(|values| row_key(&target.table, values)).collect()
}

fn row_key(table: &Table, values: &[Value]) -> Result<Option<Bytes>> {
    if values.iter().all(Value::is_null) {
        return Ok(None);
    }
    let handle = match &table.handle {
        HandleKind::Integer(offset) => Handle::of_integer(&values[0], &table.columns[*offset].ty)?,
        HandleKind::Common(offsets) => {
            let types = offsets.iter().map(|&offset| &table.columns[offset].ty);
            let stored: Vec<Value> = types.clone().zip(values).map(|(ty, value)| as_stored(ty, value)).collect();
            Handle::of_values(&types.zip(&stored).collect::<Vec<_>>())?
        }
        HandleKind::Hidden => {
            let number = values[0].as_i64();
            Handle::Int(number.ok_or_else(|| Error::Internal("a hidden handle that is no number".into()))?)
        }
    };
    Ok(Some(encode_row_key(table.id, &handle).into()))
}

/// A CHAR is stored without the spaces that sql_mode PAD_CHAR_TO_FULL_LENGTH reads it with.
fn as_stored(ty: &FieldType, value: &Value) -> Value {
    match value {
        Value::String(text) if ty.kind == TypeKind::Char => Value::from(text.trim_end_matches(' ')),
        value => value.clone(),
    }
}

fn first_columns(batch: &RecordBatch, columns: usize) -> Result<RecordBatch> {
    of_columns(batch, &(0..columns).collect::<Vec<_>>())
}

fn of_columns(batch: &RecordBatch, columns: &[usize]) -> Result<RecordBatch> {
    batch.project(columns).map_err(|e| Error::Internal(format!("columns of a batch: {e}")))
}
