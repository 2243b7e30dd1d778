//! The one place that writes rows: a row and all its index entries go into the transaction's buffer together.
//!
//! | index state | adding a row | removing a row |
//! |---|---|---|
//! | delete-only | nothing | entry removed |
//! | write-only, reorganization, public | entry added, unique ones checked | entry removed |
//!
//! A unique key is checked in one of two ways. A pessimistic transaction locks it as new first ([`TableWriter::lock_new`]), so
//! that the statement itself fails with 1062. An optimistic one looks into its snapshot, writes it as new and learns at commit
//! whether it still was ([`basalt_client::Transaction::insert`]). What the transaction wrote itself is checked at once in both.
//!
//! Values are given for all of the table's columns, in any state, already stored into their types.

use crate::catalog::model::{Handle as HandleKind, Index, SchemaState, Table};
use crate::context::{ReadView, StatementContext};
use crate::error::{Error, Result};
use crate::executor::table_reader::fetch;
use crate::executor::{duplicate, index_entries, lock};
use crate::plan::Locking;
use crate::transaction::SessionTxn;
use basalt_common::{TableId, UserKey};
use basalt_expr::key::{Handle, IndexEntry, IndexPart, IndexTarget, encode_index_entry, encode_row_key};
use basalt_expr::row::encode_row;
use basalt_expr::value::Value;
use bytes::Bytes;

/// Writes rows of one table within one statement.
pub struct TableWriter<'a> {
    /// The table.
    pub table: &'a Table,
    ctx: &'a StatementContext,
    indexes: Vec<(&'a Index, Vec<IndexPart>)>,
}

/// A row as it is stored.
#[derive(Debug, Clone)]
pub struct EncodedRow {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// Its index entries, with the state of their index.
    pub entries: Vec<(SchemaState, IndexEntry)>,
    /// The row key is a key of the user's, not a hidden number.
    is_key_unique: bool,
}

impl EncodedRow {
    /// Keys that no other row may have: the primary key and the unique entries that are written.
    pub fn unique_keys(&self) -> impl Iterator<Item = Bytes> + '_ {
        let row = self.is_key_unique.then(|| self.key.clone());
        let is_written = |(state, entry): &&(SchemaState, IndexEntry)| entry.unique && *state >= SchemaState::WriteOnly;
        row.into_iter().chain(self.entries.iter().filter(is_written).map(|(_, e)| Bytes::copy_from_slice(&e.key)))
    }
}

impl<'a> TableWriter<'a> {
    /// A writer for a table.
    pub fn new(table: &'a Table, ctx: &'a StatementContext) -> TableWriter<'a> {
        let parts = |index: &'a Index| (index, index_entries::parts(table, index));
        let is_maintained = |index: &&Index| index.state != SchemaState::None;
        TableWriter { table, ctx, indexes: table.entry_indexes().filter(is_maintained).map(parts).collect() }
    }

    /// The table's id.
    pub fn table_id(&self) -> TableId {
        self.table.id
    }

    /// The handle of a row; `hidden` is the number of a row without clustered key.
    ///
    /// # Errors
    /// [`Error::Internal`] for values of wrong types, or without a hidden number where one is needed.
    pub fn handle(&self, values: &[Value], hidden: Option<i64>) -> Result<Handle> {
        Ok(match &self.table.handle {
            HandleKind::Integer(offset) => Handle::of_integer(&values[*offset], &self.table.columns[*offset].ty)?,
            HandleKind::Common(offsets) => {
                let parts: Vec<_> = offsets.iter().map(|&at| (&self.table.columns[at].ty, &values[at])).collect();
                Handle::of_values(&parts)?
            }
            HandleKind::Hidden => {
                Handle::Int(hidden.ok_or_else(|| Error::Internal("a row without its hidden number".into()))?)
            }
        })
    }

    /// A row with its entries.
    ///
    /// # Errors
    /// [`Error::Internal`] for values of wrong types.
    pub fn encode(&self, values: &[Value], handle: &Handle) -> Result<EncodedRow> {
        let is_stored = |at: usize| self.table.handle != HandleKind::Integer(at);
        let columns: Vec<_> = (self.table.columns.iter().zip(values).enumerate())
            .filter(|(at, _)| is_stored(*at))
            .map(|(_, (column, value))| (column.id, &column.ty, value))
            .collect();
        let mut value = Vec::with_capacity(16 + columns.len() * 16);
        encode_row(&columns, &mut value)?;
        let mut entries = Vec::with_capacity(self.indexes.len());
        for (index, parts) in &self.indexes {
            let of_index: Vec<Value> = index.columns.iter().map(|c| values[c.column].clone()).collect();
            let target = IndexTarget { table: self.table.id, index: index.id, unique: index.unique, parts };
            entries.push((index.state, encode_index_entry(target, &of_index, handle)?));
        }
        Ok(EncodedRow {
            key: encode_row_key(self.table.id, handle).into(),
            value: value.into(),
            entries,
            is_key_unique: self.table.handle != HandleKind::Hidden,
        })
    }

    /// Makes sure that the unique keys of rows that are to be added are new, and locks them. An optimistic transaction looks
    /// into its snapshot: what goes on reading must not see two rows with one key until its COMMIT is refused. Of a statement
    /// outside of one, COMMIT comes at once and looks for itself.
    ///
    /// # Errors
    /// 1062, or what storage and the lock request return.
    pub async fn lock_new(&self, rows: &[EncodedRow], txn: &mut SessionTxn) -> Result<()> {
        if !txn.is_pessimistic() && !txn.is_open() {
            return Ok(());
        }
        let mut keys = Vec::new();
        for key in rows.iter().flat_map(EncodedRow::unique_keys) {
            match txn.own_write(&key) {
                Some(Some(_)) => return Err(self.duplicate(&key, rows)),
                // Deleted by this transaction, which has looked at it then.
                Some(None) => {}
                None => keys.push(key),
            }
        }
        if !txn.is_pessimistic() {
            let view = txn.current_view(&[]).await?;
            let met = fetch(&view, keys.into_iter().map(UserKey).collect()).await?;
            return met.first().map_or(Ok(()), |(key, _)| Err(self.duplicate(&key.0, rows)));
        }
        let keys = keys.into_iter().map(|key| (key, lock::MUST_BE_NEW)).collect();
        lock::lock(keys, Locking::FOR_UPDATE, self.ctx, txn).await.map_err(|e| self.describe(e, rows))?;
        Ok(())
    }

    /// Adds a row whose unique keys must be new.
    ///
    /// # Errors
    /// 1062 for the transaction's own rows; what the buffer refuses.
    pub async fn add(&self, row: &EncodedRow, txn: &mut SessionTxn) -> Result<()> {
        let buffer = txn.write().await?;
        let result = match row.is_key_unique {
            true => buffer.insert(row.key.clone(), row.value.clone()),
            false => buffer.put(row.key.clone(), row.value.clone()),
        };
        result.map_err(|e| self.describe(e.into(), std::slice::from_ref(row)))?;
        for (state, entry) in &row.entries {
            if *state >= SchemaState::WriteOnly {
                let written = match entry.unique {
                    true => buffer.insert(entry.key.clone(), entry.value.clone()),
                    false => buffer.put(entry.key.clone(), entry.value.clone()),
                };
                written.map_err(|e| self.describe(e.into(), std::slice::from_ref(row)))?;
            }
        }
        Ok(())
    }

    /// Removes a row.
    ///
    /// # Errors
    /// What the buffer refuses.
    pub async fn remove(&self, row: &EncodedRow, txn: &mut SessionTxn) -> Result<()> {
        let buffer = txn.write().await?;
        buffer.delete(row.key.clone())?;
        for (_, entry) in &row.entries {
            buffer.delete(entry.key.clone())?;
        }
        Ok(())
    }

    /// Replaces a row; entries that stay the same are not touched.
    ///
    /// # Errors
    /// As [`TableWriter::add`].
    pub async fn replace(&self, old: &EncodedRow, new: &EncodedRow, txn: &mut SessionTxn) -> Result<()> {
        if old.key != new.key {
            self.remove(old, txn).await?;
            return self.add(new, txn).await;
        }
        let buffer = txn.write().await?;
        let row = new;
        buffer.put(new.key.clone(), new.value.clone())?;
        for ((state, old), (_, new)) in old.entries.iter().zip(&new.entries) {
            if old == new {
                continue;
            }
            if old.key != new.key {
                buffer.delete(old.key.clone())?;
            }
            if *state < SchemaState::WriteOnly {
                continue;
            }
            let written = match new.unique && old.key != new.key {
                true => buffer.insert(new.key.clone(), new.value.clone()),
                false => buffer.put(new.key.clone(), new.value.clone()),
            };
            written.map_err(|e| self.describe(e.into(), std::slice::from_ref(row)))?;
        }
        Ok(())
    }

    /// Makes sure that the unique keys a changed row gets are new, and in a pessimistic transaction locks them and the
    /// ones it gives up. An optimistic statement reads them: a later row of the statement may be the one that has the
    /// key, and would otherwise overwrite this one.
    ///
    /// # Errors
    /// 1062, or what storage and the lock request return.
    pub async fn check_changed(
        &self,
        old: &EncodedRow,
        new: &EncodedRow,
        view: &ReadView,
        txn: &mut SessionTxn,
    ) -> Result<()> {
        let before: Vec<Bytes> = old.unique_keys().collect();
        let after: Vec<Bytes> = new.unique_keys().collect();
        let fresh: Vec<Bytes> = after.iter().filter(|key| !before.contains(key)).cloned().collect();
        let given_up = before.into_iter().filter(|key| !after.contains(key));
        if txn.is_pessimistic() {
            let keys = given_up.map(|key| (key, lock::ANY)).collect();
            lock::lock(keys, Locking::FOR_UPDATE, self.ctx, txn).await?;
        }
        let row = std::slice::from_ref(new);
        for key in fresh {
            match txn.own_write(&key) {
                Some(Some(_)) => return Err(self.duplicate(&key, row)),
                Some(None) => {}
                None if txn.is_pessimistic() => {
                    let keys = vec![(key, lock::MUST_BE_NEW)];
                    lock::lock(keys, Locking::FOR_UPDATE, self.ctx, txn).await.map_err(|e| self.describe(e, row))?;
                }
                None if view.snapshot.get(&key).await?.is_some() => return Err(self.duplicate(&key, row)),
                None => {}
            }
        }
        Ok(())
    }

    /// The error for one of the table's keys that exists; one of `rows` was to have it.
    pub fn duplicate(&self, key: &[u8], rows: &[EncodedRow]) -> Error {
        let row = rows.iter().find(|row| row.unique_keys().any(|own| own[..] == *key));
        let row = row.map(|row| (row.key.clone(), row.value.clone()));
        duplicate::of_table(self.table, key, row.as_ref(), self.ctx)
    }

    fn describe(&self, error: Error, rows: &[EncodedRow]) -> Error {
        match error {
            Error::Client(basalt_client::Error::AlreadyExists { key }) => self.duplicate(&key, rows),
            error => error,
        }
    }
}
