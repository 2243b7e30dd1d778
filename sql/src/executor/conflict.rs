//! Inserts that do not fail on duplicates: IGNORE, REPLACE, ON DUPLICATE KEY UPDATE.
//!
//! The unique keys of a batch are locked (pessimistic) and read together; then row by row, because a row may meet
//! one that the same statement has just written:
//!
//! | rule | a row that meets another |
//! |---|---|
//! | IGNORE | is left out, with a warning |
//! | REPLACE | removes all rows that it meets, and is added |
//! | ON DUPLICATE KEY UPDATE | changes the row that it meets first, in the order of the keys |

use crate::catalog::model::{Index, SchemaState};
use crate::context::{ReadView, StatementContext};
use crate::error::Result;
use crate::executor::column_value::StoreMode;
use crate::executor::insert::{NewRow, Tally};
use crate::executor::rows;
use crate::executor::table_reader::{fetch, has_integer_handle};
use crate::executor::table_writer::{EncodedRow, TableWriter};
use crate::executor::{assign, lock};
use crate::plan::{Insert, Locking};
use crate::transaction::SessionTxn;
use basalt_common::table_key::{self, TableKeyKind};
use basalt_common::{KeyRange, UserKey};
use basalt_expr::key::{decode_index_handle, encode_row_key};
use basalt_expr::value::Value;
use bytes::Bytes;
use std::collections::HashMap;

/// What happens to a row that meets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictRule {
    /// The statement fails.
    Fail,
    /// The row is left out.
    Ignore,
    /// The other rows are removed.
    Replace,
    /// The other row is changed.
    Update,
}

impl ConflictRule {
    /// The statement's rule.
    pub fn of(insert: &Insert) -> ConflictRule {
        match (insert.replace, insert.on_duplicate.is_empty(), insert.ignore) {
            (true, _, _) => ConflictRule::Replace,
            (_, false, _) => ConflictRule::Update,
            (_, _, true) => ConflictRule::Ignore,
            _ => ConflictRule::Fail,
        }
    }
}

struct Batch<'a> {
    insert: &'a Insert,
    writer: &'a TableWriter<'a>,
    ctx: &'a StatementContext,
    /// Without own writes: those are asked of the transaction, as they are now.
    view: ReadView,
    /// What is stored under the batch's unique keys.
    stored: HashMap<UserKey, Bytes>,
}

/// Writes a batch by the rule.
///
/// # Errors
/// What storage, the lock request or an assignment return.
pub async fn write(
    insert: &Insert,
    rule: ConflictRule,
    rows: Vec<NewRow>,
    writer: &TableWriter<'_>,
    ctx: &StatementContext,
    txn: &mut SessionTxn,
    tally: &mut Tally,
) -> Result<()> {
    let mut encoded = Vec::with_capacity(rows.len());
    for row in rows {
        let new = writer.encode(&row.values, &writer.handle(&row.values, row.hidden)?)?;
        encoded.push((row, new));
    }
    let keys: Vec<Bytes> = encoded.iter().flat_map(|(_, new)| new.unique_keys().collect::<Vec<_>>()).collect();
    let view = txn.current_view(&[]).await?;
    if txn.is_pessimistic() {
        let wanted = keys.iter().map(|key| (key.clone(), lock::ANY)).collect();
        lock::lock(wanted, Locking::FOR_UPDATE, ctx, txn).await?;
    }
    let stored = fetch(&view, keys.into_iter().map(UserKey).collect()).await?.into_iter().collect();
    let batch = Batch { insert, writer, ctx, view, stored };
    for (row, new) in encoded {
        batch.write_row(rule, row, new, txn, tally).await?;
    }
    Ok(())
}

impl Batch<'_> {
    async fn write_row(
        &self,
        rule: ConflictRule,
        row: NewRow,
        new: EncodedRow,
        txn: &mut SessionTxn,
        tally: &mut Tally,
    ) -> Result<()> {
        let met = self.met(&new, txn);
        let added = match (rule, met.first()) {
            (_, None) => 1,
            (ConflictRule::Ignore | ConflictRule::Fail, Some((key, _))) => {
                let error = self.writer.duplicate(key, std::slice::from_ref(&new));
                self.ctx.eval.warnings.push(error.code(), error.to_string());
                tally.duplicates += 1;
                return Ok(());
            }
            (ConflictRule::Update, Some((_, row_key))) => {
                tally.duplicates += 1;
                return self.update_row(row_key.clone(), &row, txn, tally).await;
            }
            (ConflictRule::Replace, Some((key, _))) => {
                // MySQL changes the row that the last unique key finds, and does not count what stays as it was.
                let is_last = self.is_of_last_unique(key);
                let mut row_keys: Vec<UserKey> = met.into_iter().map(|(_, row_key)| row_key).collect();
                row_keys.sort_unstable();
                row_keys.dedup();
                let mut removed = row_keys.len() as u64;
                for row_key in row_keys {
                    let is_same = self.remove_row(row_key, &row, txn).await?;
                    removed -= u64::from(is_same && is_last);
                }
                tally.duplicates += removed;
                1 + removed
            }
        };
        self.writer.add(&new, txn).await?;
        tally.affected += added;
        tally.found += added;
        tally.wrote(self.writer.table, &row.values, row.generated);
        Ok(())
    }

    /// The unique keys of the row that exist, with the keys of the rows that have them, in the order of the table's keys.
    fn met(&self, new: &EncodedRow, txn: &SessionTxn) -> Vec<(Bytes, UserKey)> {
        let is_integer = has_integer_handle(self.writer.table);
        let existing = |key: Bytes| {
            let value = match txn.own_write(&key) {
                Some(own) => own?,
                None => self.stored.get(&UserKey(key.clone()))?.clone(),
            };
            let row_key = match table_key::decode(&key).ok()?.1 {
                TableKeyKind::Row => UserKey(key.clone()),
                TableKeyKind::Index(_) => {
                    // A unique entry has its handle in the value; the number of columns is not needed.
                    let handle = decode_index_handle(&key, &value, 0, is_integer).ok()?;
                    UserKey::from(encode_row_key(self.writer.table_id(), &handle))
                }
            };
            Some((key, row_key))
        };
        new.unique_keys().filter_map(existing).collect()
    }

    /// A row as the transaction sees it now, with its stored form. `None` when it is gone.
    async fn existing(&self, row_key: UserKey, txn: &mut SessionTxn) -> Result<Option<(Vec<Value>, EncodedRow)>> {
        if txn.is_pessimistic() {
            lock::lock(vec![(row_key.0.clone(), lock::ANY)], Locking::FOR_UPDATE, self.ctx, txn).await?;
        }
        let range = KeyRange { start: row_key.clone(), end: row_key.successor() };
        let view = ReadView { dirty: txn.dirty(std::slice::from_ref(&range)), ..self.view.clone() };
        let table = self.writer.table;
        let Some(values) = rows::read(table, vec![row_key.clone()], &view).await?.remove(&row_key) else {
            return Ok(None);
        };
        let handle = self.writer.handle(&values, rows::hidden_number(table, &values))?;
        let encoded = self.writer.encode(&values, &handle)?;
        Ok(Some((values, encoded)))
    }

    fn is_of_last_unique(&self, key: &[u8]) -> bool {
        let is_unique = |i: &&Index| i.unique && i.state == SchemaState::Public;
        let last = self.writer.table.indexes.iter().rev().find(is_unique);
        match table_key::decode(key) {
            Ok((_, TableKeyKind::Row, _)) => last.is_some_and(|i| i.primary),
            Ok((_, TableKeyKind::Index(id), _)) => last.is_some_and(|i| i.id == id),
            Err(_) => false,
        }
    }

    /// Removes a row; true when it was the same as the new one.
    async fn remove_row(&self, row_key: UserKey, new: &NewRow, txn: &mut SessionTxn) -> Result<bool> {
        let Some((old, encoded)) = self.existing(row_key, txn).await? else { return Ok(false) };
        self.writer.remove(&encoded, txn).await?;
        Ok(old[..self.writer.table.columns.len()] == new.values[..])
    }

    async fn update_row(&self, row_key: UserKey, new: &NewRow, txn: &mut SessionTxn, tally: &mut Tally) -> Result<()> {
        let Some((old, encoded)) = self.existing(row_key, txn).await? else { return Ok(()) };
        let table = self.writer.table;
        let mut values = old[..table.columns.len()].to_vec();
        // Assignments see the existing row, then the row that was to be inserted, then what was selected beside it.
        let mut input = values.clone();
        input.extend_from_slice(&new.values);
        input.extend_from_slice(&new.beside);
        let ignore = self.insert.ignore;
        let mode = StoreMode { row: tally.records, ignore, null_fails: false };
        let target = assign::Target { table, offset: 0, assignments: &self.insert.on_duplicate };
        let changed = assign::assign(&target, &mut input, mode, self.ctx)?;
        tally.found += 1;
        if !changed {
            return Ok(());
        }
        values.clone_from_slice(&input[..table.columns.len()]);
        let handle = self.writer.handle(&values, rows::hidden_number(table, &old))?;
        let changed = self.writer.encode(&values, &handle)?;
        match self.writer.check_changed(&encoded, &changed, &self.view, txn).await {
            // The changed row meets a third one.
            Err(error) if ignore && error.code() == 1062 => {
                self.ctx.eval.warnings.push(1062, error.to_string());
                return Ok(());
            }
            outcome => outcome?,
        }
        self.writer.replace(&encoded, &changed, txn).await?;
        target.raise_auto_increment(&values, self.ctx).await?;
        tally.affected += 2;
        tally.found += 1;
        tally.wrote(table, &values, false);
        Ok(())
    }
}
