//! DELETE: reads rows, locks them, removes them.

use crate::context::StatementContext;
use crate::error::Result;
use crate::executor::outcome::DmlResult;
use crate::executor::source::RowSource;
use crate::executor::table_writer::{EncodedRow, TableWriter};
use crate::executor::update::is_missing;
use crate::executor::{lock, rows};
use crate::plan::Locking;
use crate::planner::{DeletePlan, RowsPlan};
use crate::transaction::SessionTxn;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;

/// Runs the statement within the transaction.
///
/// # Errors
/// Whatever makes a row fail; nothing of the statement may stay then.
pub async fn delete(plan: &DeletePlan, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<DmlResult> {
    let targets = &plan.delete.targets;
    let writers: Vec<_> = targets.iter().map(|t| TableWriter::new(&t.table, ctx)).collect();
    let is_join = targets.len() > 1 || matches!(plan.source, RowsPlan::Query(_));
    let mut seen: HashSet<Bytes> = HashSet::new();
    let mut source = RowSource::open(&plan.source, ctx, txn).await?;
    let mut deleted = 0;
    while let Some(batch) = source.next().await? {
        let mut found: Vec<(usize, EncodedRow)> = Vec::with_capacity(batch.len());
        for row in &batch {
            for (at, (target, writer)) in targets.iter().zip(&writers).enumerate() {
                let values = &row[target.offset..];
                if is_missing(&target.table.handle, target.table.columns.len(), values) {
                    continue;
                }
                let hidden = rows::hidden_number(&target.table, values);
                let values = &values[..target.table.columns.len()];
                let old = writer.encode(values, &writer.handle(values, hidden)?)?;
                if !is_join || seen.insert(old.key.clone()) {
                    found.push((at, old));
                }
            }
        }
        if txn.is_pessimistic() {
            let keys = found.iter().flat_map(|(_, old)| std::iter::once(old.key.clone()).chain(old.unique_keys()));
            let keys = keys.map(|key| (key, lock::ANY)).collect();
            lock::lock(keys, Locking::FOR_UPDATE, ctx, txn).await?;
        }
        for (at, old) in found {
            writers[at].remove(&old, txn).await?;
            deleted += 1;
        }
    }
    Ok(DmlResult { affected_rows: deleted, found_rows: deleted, ..DmlResult::default() })
}
