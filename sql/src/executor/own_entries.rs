//! The rows that a transaction has written, in the indexes of its snapshot.
//!
//! ```text
//! snapshot      (10, 1) ─▶ row 1: v = 10        what the transaction reads
//! newest        (11, 1) ─▶ row 1: v = 11        another has committed this since
//! own writes    (11, 1) deleted, (12, 1), row 1: v = 12
//! ```
//! Writes go against the newest row: those to index entries would leave (10, 1) in the snapshot, and row 1 would be there twice.
//! A consistent read shows the own row instead of the snapshot's, as InnoDB does. So the entries that it must not see are those of
//! the snapshot's row, and those that it must see are those of the own one, whatever was written. Where nobody else has changed any of
//! the rows, that is what was written.
//!
//! Not done: a unique value that the snapshot has in another row, which gave it up since: an entry has one row, so that the index
//! shows the own one alone, and the table both.

use super::index_entries;
use crate::catalog::model::{Index, Table};
use crate::context::{DirtyRows, ReadView};
use crate::error::Result;
use crate::transaction::SessionTxn;
use basalt_common::table_key::{rows_range, table_range};
use basalt_common::{KeyRange, UserKey};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a consistent read sees that may read indexes of `tables`, own writes in `ranges` included.
///
/// # Errors
/// What the client returns; [`crate::error::Error::Internal`] for a row that cannot be read.
pub async fn read_view(txn: &mut SessionTxn, ranges: &[KeyRange], tables: &[Arc<Table>]) -> Result<ReadView> {
    let mut view = txn.read_view(ranges).await?;
    if txn.may_write_past_its_snapshot() {
        for table in tables {
            correct(&mut view, txn, table).await?;
        }
    }
    Ok(view)
}

async fn correct(view: &mut ReadView, txn: &mut SessionTxn, table: &Table) -> Result<()> {
    let Some(own) = txn.dirty(&[rows_range(table.id)]) else { return Ok(()) };
    if !own.iter().any(|(key, _)| txn.wrote_past_its_snapshot(key.as_slice())) {
        return Ok(());
    }
    let rows = || own.iter().map(|(key, value)| (key.0.clone(), value.clone()));
    let before = txn.rows_of_snapshot(rows().map(|(key, _)| key).collect()).await?;
    let puts: Vec<(Bytes, Bytes)> = rows().filter_map(|(key, value)| Some((key, value?))).collect();
    let (table_keys, row_keys) = (table_range(table.id), rows_range(table.id));
    let is_entry = |key: &UserKey| table_keys.contains(key.as_slice()) && !row_keys.contains(key.as_slice());
    let mut writes: BTreeMap<UserKey, Option<Bytes>> = BTreeMap::new();
    if let Some(dirty) = &view.dirty {
        let others = dirty.iter().filter(|(key, _)| !is_entry(key));
        writes.extend(others.map(|(key, value)| (key.clone(), value.clone())));
    }
    for index in table.entry_indexes() {
        let gone = entries(table, index, &before)?.into_iter().map(|(key, _)| (key, None));
        writes.extend(gone);
        let there = entries(table, index, &puts)?.into_iter().map(|(key, value)| (key, Some(value)));
        writes.extend(there);
    }
    view.dirty = Some(Arc::new(DirtyRows::new(writes)));
    Ok(())
}

fn entries(table: &Table, index: &Index, rows: &[(Bytes, Bytes)]) -> Result<Vec<(UserKey, Bytes)>> {
    let found = index_entries::of_rows(table, index, rows)?;
    Ok(found.into_iter().map(|(entry, _)| (UserKey::from(entry.key), Bytes::from(entry.value))).collect())
}
