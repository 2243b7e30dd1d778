//! UPDATE: reads rows, locks them, assigns, writes the ones that changed.

use crate::catalog::model::Handle as HandleKind;
use crate::context::{ReadView, StatementContext};
use crate::error::Result;
use crate::executor::assign::{self, Target};
use crate::executor::column_value::StoreMode;
use crate::executor::outcome::{DmlResult, update_info};
use crate::executor::source::RowSource;
use crate::executor::table_writer::{EncodedRow, TableWriter};
use crate::executor::{lock, rows};
use crate::plan::{Locking, UpdateTarget};
use crate::planner::{RowsPlan, UpdatePlan};
use crate::transaction::SessionTxn;
use basalt_expr::value::Value;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Rows after which other connections get their turn.
const ROWS_BETWEEN_YIELDS: u64 = 256;

/// Runs the statement within the transaction.
///
/// # Errors
/// Whatever makes a row fail; nothing of the statement may stay then.
pub async fn update(plan: &UpdatePlan, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<DmlResult> {
    let targets = &plan.update.targets;
    let writers: Vec<_> = targets.iter().map(|t| TableWriter::new(&t.table, ctx)).collect();
    // A join may bring a row several times; it is changed once under each name.
    let is_join = targets.len() > 1 || matches!(plan.source, RowsPlan::Query(_));
    let mut seen: HashSet<(usize, Bytes)> = HashSet::new();
    let mut twice: HashMap<Bytes, ChangedTwice> = HashMap::new();
    let has_other_name: Vec<bool> =
        targets.iter().map(|target| targets.iter().filter(|t| t.table.id == target.table.id).count() > 1).collect();
    let mut source = RowSource::open(&plan.source, ctx, txn).await?;
    let view = txn.current_read_view()?;
    let (mut matched, mut changed) = (0u64, 0);
    while let Some(mut batch) = source.next().await? {
        lock_rows(targets, &writers, &batch, ctx, txn).await?;
        for row in &mut batch {
            for (at, (target, writer)) in targets.iter().zip(&writers).enumerate() {
                let Some(old) = old_row(target, writer, row)? else { continue };
                if is_join && !seen.insert((at, old.key.clone())) {
                    continue;
                }
                let other_name = has_other_name[at].then(|| twice.entry(old.key.clone()).or_default());
                matched += 1;
                if matched.is_multiple_of(ROWS_BETWEEN_YIELDS) {
                    tokio::task::yield_now().await;
                }
                let mode = StoreMode { row: matched, ignore: plan.update.ignore, null_fails: false };
                let run = UpdateRow { at, target, writer, old, mode };
                match run.apply(row, other_name, &view, ctx, txn).await {
                    Ok(is_changed) => changed += u64::from(is_changed),
                    Err(error) if plan.update.ignore && error.code() == 1062 => {
                        ctx.eval.warnings.push(1062, error.to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    let info = update_info(matched, changed, ctx.eval.warnings.count());
    Ok(DmlResult { affected_rows: changed, found_rows: matched, info, ..DmlResult::default() })
}

/// A row of a table that stands under several names: what it holds by now, and who assigned it.
#[derive(Default, Clone)]
struct ChangedTwice {
    /// Its columns, once it was changed.
    values: Vec<Value>,
    /// By column, the position of the last target that assigned it.
    assigned_by: HashMap<usize, usize>,
}

impl ChangedTwice {
    /// Makes a target's new values of the row the row's, but for what a later target has assigned.
    fn merge(&mut self, at: usize, target: &UpdateTarget, new: &mut [Value]) {
        if self.values.is_empty() {
            self.values = new.to_vec();
        }
        for column in target.assignments.iter().map(|a| a.column) {
            let by = self.assigned_by.entry(column).or_insert(at);
            if *by <= at {
                *by = at;
                self.values[column] = new[column].clone();
            }
        }
        new.clone_from_slice(&self.values);
    }
}

/// The stored form of a target's row; `None` where an outer join found none.
fn old_row(target: &UpdateTarget, writer: &TableWriter<'_>, row: &[Value]) -> Result<Option<EncodedRow>> {
    let values = &row[target.offset..];
    if is_missing(&target.table.handle, target.table.columns.len(), values) {
        return Ok(None);
    }
    let hidden = rows::hidden_number(&target.table, values);
    let values = &values[..target.table.columns.len()];
    Ok(Some(writer.encode(values, &writer.handle(values, hidden)?)?))
}

/// True when the handle is NULL: no row has that.
pub(super) fn is_missing(handle: &HandleKind, columns: usize, values: &[Value]) -> bool {
    match handle {
        HandleKind::Integer(offset) => values[*offset].is_null(),
        HandleKind::Common(offsets) => offsets.iter().all(|&offset| values[offset].is_null()),
        HandleKind::Hidden => values[columns].is_null(),
    }
}

/// Locks the rows of a batch, as far as the transaction does so.
async fn lock_rows(
    targets: &[UpdateTarget],
    writers: &[TableWriter<'_>],
    batch: &[Vec<Value>],
    ctx: &StatementContext,
    txn: &mut SessionTxn,
) -> Result<()> {
    if !txn.is_pessimistic() {
        return Ok(());
    }
    let mut keys = Vec::with_capacity(batch.len());
    for row in batch {
        for (target, writer) in targets.iter().zip(writers) {
            keys.extend(old_row(target, writer, row)?.map(|old| (old.key, lock::ANY)));
        }
    }
    lock::lock(keys, Locking::FOR_UPDATE, ctx, txn).await?;
    Ok(())
}

struct UpdateRow<'a> {
    /// The target's position.
    at: usize,
    target: &'a UpdateTarget,
    writer: &'a TableWriter<'a>,
    old: EncodedRow,
    mode: StoreMode,
}

impl UpdateRow<'_> {
    /// Assigns and writes; false when the row stays as it is.
    async fn apply(
        &self,
        row: &mut [Value],
        other_name: Option<&mut ChangedTwice>,
        view: &ReadView,
        ctx: &StatementContext,
        txn: &mut SessionTxn,
    ) -> Result<bool> {
        let table = &*self.target.table;
        let assigned = Target { table, offset: self.target.offset, assignments: &self.target.assignments };
        if !assign::assign(&assigned, row, self.mode, ctx)? {
            return Ok(false);
        }
        let values = &mut row[self.target.offset..];
        let hidden = rows::hidden_number(table, values);
        let values = &mut values[..table.columns.len()];
        let encode = |values: &[Value]| self.writer.encode(values, &self.writer.handle(values, hidden)?);
        let mut before = None;
        let mut merged = other_name.as_deref().cloned();
        if let Some(merged) = &mut merged {
            if !merged.values.is_empty() {
                before = Some(encode(&merged.values)?);
            }
            merged.merge(self.at, self.target, values);
        }
        let old = before.as_ref().unwrap_or(&self.old);
        let new = encode(values)?;
        self.writer.check_changed(old, &new, view, txn).await?;
        self.writer.replace(old, &new, txn).await?;
        assigned.raise_auto_increment(values, ctx).await?;
        // Not before: IGNORE lets a row be whose change failed.
        if let (Some(other_name), Some(merged)) = (other_name, merged) {
            *other_name = merged;
        }
        Ok(true)
    }
}
