//! Runs a short query: reads its rows and puts them through its operators.
//!
//! A short query reads few rows, so that its result is made at once, not streamed: nothing is left open in the transaction
//! when the session starts to write rows to the client. Rows that a LIMIT does not want are not read.
//!
//! How many rows a value of a key has is a guess until they are read. A query that has another plan reads
//! [`SHORT_ROWS_MAX`] rows at most; when there are more, what was read is dropped and the query path starts over.

use crate::context::{RowStream, StatementContext};
use crate::error::{Error, Result};
use crate::executor::table_reader::{TableReader, touched_ranges};
use crate::executor::{aggregate, filter, project, sort};
use crate::executor::{lock, own_entries};
use crate::plan::{OutputColumn, RowLimit};
use crate::planner::access::Resolved;
use crate::planner::{SHORT_ROWS_MAX, ShortOperator, ShortQuery, ShortSource, TableRead, row_count};
use crate::result_columns::arrow_schema;
use crate::transaction::SessionTxn;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use basalt_common::memory::Account;
use basalt_common::{KeyRange, UserKey};
use basalt_expr::convert::array_of;
use basalt_expr::expr::Expr;
use basalt_expr::{EvalContext, Value, eval_scalar};
use std::sync::Arc;

/// Runs the query, or returns `None` when its ranges or its rows turn out to be too many for the short path.
///
/// # Errors
/// What storage or an operator runs into.
pub async fn select(
    query: &ShortQuery,
    ctx: &Arc<StatementContext>,
    txn: &mut SessionTxn,
) -> Result<Option<RowStream>> {
    let mut held = Account::new(ctx.memory.clone());
    let batches = match &query.source {
        ShortSource::Values(rows, columns) => vec![ctx.measured(|| values_batch(rows, columns, &ctx.eval))?],
        ShortSource::Table(read) => {
            let resolved = read.access.resolve(&read.scan.table, &ctx.eval)?;
            let limit = read.limit.as_ref().map(|limit| rows_wanted(limit, &ctx.eval)).transpose()?.flatten();
            if query.fallback.is_some() && !is_short(&resolved, limit) {
                return Ok(None);
            }
            if query.locking.is_some() && (txn.is_open() || txn.is_pessimistic()) {
                lock::read_and_lock(query, read, resolved, (ctx, &mut held), txn).await?
            } else {
                let view = read_view(read, &resolved, txn).await?;
                let mut reader = TableReader::new(read, resolved, ctx, view, limit);
                let rows_max = if query.fallback.is_some() { SHORT_ROWS_MAX as usize } else { usize::MAX };
                match read_within(&mut reader, &query.operators, rows_max, (ctx, &mut held)).await? {
                    Some(batches) => batches,
                    None => return Ok(None),
                }
            }
        }
    };
    let batches = ctx.measured(|| run_operators(&query.operators, batches, ctx))?;
    Ok(Some(RowStream::from_batches(query.output.clone(), batches).holding(held)))
}

/// True when so few rows are read that the short path is the faster one.
fn is_short(resolved: &Resolved, limit: Option<usize>) -> bool {
    if limit.is_some_and(|limit| limit as u64 <= SHORT_ROWS_MAX) {
        return true;
    }
    match resolved {
        Resolved::Rows(keys) | Resolved::Entries(keys) => keys.len() as u64 <= SHORT_ROWS_MAX,
        Resolved::Ranges { rows_max, .. } => rows_max.is_some_and(|rows| rows <= SHORT_ROWS_MAX),
    }
}

/// A single row by its key needs no timestamp.
async fn read_view(read: &TableRead, resolved: &Resolved, txn: &mut SessionTxn) -> Result<crate::context::ReadView> {
    match resolved {
        Resolved::Rows(keys) if keys.len() == 1 => txn.point_view(&point_range(&keys[0])).await,
        Resolved::Entries(keys) if keys.len() == 1 && read.access.is_covering && !txn.went_past_its_snapshot() => {
            txn.point_view(&point_range(&keys[0])).await
        }
        resolved => {
            let mut view = txn.read_view(&touched_ranges(read, resolved)).await?;
            let table = &read.scan.table;
            if let Some(index) = read.access.index(table)
                && txn.went_past_its_snapshot()
            {
                own_entries::correct(&mut view, txn, table, &[index]).await?;
            }
            Ok(view)
        }
    }
}

fn point_range(key: &UserKey) -> KeyRange {
    KeyRange { start: key.clone(), end: key.successor() }
}

/// Reads until the end, or until the operators' LIMIT has enough.
pub(super) async fn read_all(
    reader: &mut TableReader<'_>,
    operators: &[ShortOperator],
    counted: (&StatementContext, &mut Account),
) -> Result<Vec<RecordBatch>> {
    // There are no more rows than that.
    Ok(read_within(reader, operators, usize::MAX, counted).await?.unwrap_or_default())
}

/// As [`read_all`]; `None` when it takes more than `rows_max` rows.
async fn read_within(
    reader: &mut TableReader<'_>,
    operators: &[ShortOperator],
    rows_max: usize,
    (ctx, held): (&StatementContext, &mut Account),
) -> Result<Option<Vec<RecordBatch>>> {
    let enough = match operators.iter().find(|o| !matches!(o, ShortOperator::Project(..))) {
        Some(ShortOperator::Limit(limit)) => rows_wanted(limit, &ctx.eval)?,
        _ => None,
    };
    let (mut out, mut rows) = (Vec::new(), 0);
    while let Some(read) = reader.next().await? {
        rows += read.batch.num_rows();
        held.try_add(read.batch.get_array_memory_size())?;
        out.push(read.batch);
        if enough.is_some_and(|enough| rows >= enough) {
            break;
        }
        if reader.rows_read() > rows_max {
            return Ok(None);
        }
    }
    Ok(Some(out))
}

/// Rows that a LIMIT lets through, those it skips included; `None` = all.
///
/// # Errors
/// When its numbers cannot be calculated.
pub(super) fn rows_wanted(limit: &RowLimit, eval: &EvalContext) -> Result<Option<usize>> {
    let Some(count) = &limit.count else { return Ok(None) };
    let (offset, count) = (skipped(limit, eval)?, row_count(count, eval)?);
    Ok(Some(offset.saturating_add(count)))
}

fn skipped(limit: &RowLimit, eval: &EvalContext) -> Result<usize> {
    limit.offset.as_ref().map_or(Ok(0), |offset| row_count(offset, eval))
}

fn values_batch(rows: &[Vec<Expr>], columns: &[OutputColumn], eval: &EvalContext) -> Result<RecordBatch> {
    let mut values: Vec<Vec<Value>> = vec![Vec::with_capacity(rows.len()); columns.len()];
    for row in rows {
        for (expr, column) in row.iter().zip(&mut values) {
            column.push(eval_scalar(expr, eval)?);
        }
    }
    let arrays = values.iter().zip(columns).map(|(values, column)| Ok(array_of(&column.ty, values)?));
    project::batch_of(arrow_schema(columns), arrays.collect::<Result<_>>()?, rows.len())
}

/// Puts all the rows through the operators. Row-wise operators go batch by batch; the others see everything at once.
///
/// # Errors
/// When an operator cannot calculate.
pub(super) fn run_operators(
    operators: &[ShortOperator],
    mut batches: Vec<RecordBatch>,
    ctx: &StatementContext,
) -> Result<Vec<RecordBatch>> {
    let eval = &ctx.eval;
    for operator in operators {
        match operator {
            ShortOperator::Filter(predicate) => {
                for batch in &mut batches {
                    *batch = filter::apply(batch, &filter::mask(predicate, batch, eval)?)?;
                }
            }
            ShortOperator::Project(exprs, output) => {
                for batch in &mut batches {
                    *batch = project::project(exprs, output, batch, eval)?;
                }
            }
            ShortOperator::Limit(limit) => batches = limited(batches, limit, eval)?,
            ShortOperator::Aggregate { group_by, aggregates, output } => {
                let calls = (group_by.as_slice(), aggregates.as_slice());
                batches = vec![match concat(batches)? {
                    Some(batch) => aggregate::aggregate(&batch, calls.0, calls.1, output, eval)?,
                    None => aggregate::empty(calls.0, calls.1, output)?,
                }];
            }
            ShortOperator::Sort(keys) => {
                batches =
                    concat(batches)?.map(|batch| sort::sort(&batch, keys, eval)).transpose()?.into_iter().collect();
            }
            ShortOperator::Distinct => {
                batches = concat(batches)?.map(|batch| sort::distinct(&batch)).transpose()?.into_iter().collect();
            }
        }
    }
    Ok(batches)
}

pub(super) fn concat(mut batches: Vec<RecordBatch>) -> Result<Option<RecordBatch>> {
    if batches.len() <= 1 {
        return Ok(batches.pop());
    }
    let schema = batches[0].schema();
    concat_batches(&schema, &batches).map(Some).map_err(|e| Error::Internal(format!("concat: {e}")))
}

fn limited(batches: Vec<RecordBatch>, limit: &RowLimit, eval: &EvalContext) -> Result<Vec<RecordBatch>> {
    let mut skip = skipped(limit, eval)?;
    let mut left = match &limit.count {
        Some(count) => row_count(count, eval)?,
        None => usize::MAX,
    };
    let mut out = Vec::with_capacity(batches.len());
    for batch in batches {
        let skipped = skip.min(batch.num_rows());
        skip -= skipped;
        let taken = (batch.num_rows() - skipped).min(left);
        left -= taken;
        if taken > 0 {
            out.push(batch.slice(skipped, taken));
        }
    }
    Ok(out)
}
