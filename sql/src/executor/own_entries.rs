//! The rows that a transaction has written, in the indexes of its snapshot.
//!
//! ```text
//! snapshot      (10, 1) ─▶ row 1: v = 10        what the transaction reads
//! newest        (11, 1) ─▶ row 1: v = 11        another has committed this since
//! own writes    (11, 1) deleted, (12, 1), row 1: v = 12
//! ```
//! Writes go against the newest row: those to index entries would leave (10, 1) in the snapshot, and row 1 would be there twice.
//! A consistent read shows the own row instead of the snapshot's, as InnoDB does. So of a row that was *passed* (changed by
//! others between the snapshot and the transaction's lock) the snapshot's entries must not be seen, and the own row's must.
//!
//! An entry of a unique index is one row's after the other. The transaction may have taken a value that another row has given
//! up since the snapshot, and have given it up again itself: it has deleted the entry, which in the snapshot is that row's still.
//!
//! A transaction that met no such change reads its own writes as they are. Not done: a unique value that the snapshot has in
//! another row, and the transaction in one of its own: an entry has one row, so that the index shows the own one alone, and the
//! table both.

use super::index_entries;
use crate::catalog::model::{Index, Table};
use crate::context::{DirtyRows, ReadView};
use crate::error::{Error, Result};
use crate::executor::table_reader::has_integer_handle;
use crate::transaction::SessionTxn;
use basalt_common::table_key::{index_range, rows_range};
use basalt_common::{KeyRange, UserKey};
use basalt_expr::key::{decode_index_handle, encode_row_key};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows whose entries are made between two looks at what else there is to do.
const ROWS_BETWEEN_YIELDS: usize = 1_024;

/// Writes of a view, in the making.
type Writes = BTreeMap<UserKey, Option<Bytes>>;

/// Corrects what a consistent read sees that may read `indexes` of a table; for a transaction that went past its snapshot.
///
/// # Errors
/// What the client returns; [`Error::Internal`] for a row that cannot be read.
pub async fn correct(view: &mut ReadView, txn: &mut SessionTxn, table: &Table, indexes: &[&Index]) -> Result<()> {
    let own = txn.dirty(&[rows_range(table.id)]);
    let own = own.as_deref();
    // A row without a lock has not been asked about.
    let is_passed = |key: &UserKey| txn.changed_past_its_snapshot(key.as_slice()).unwrap_or(true);
    let passed = own.into_iter().flat_map(DirtyRows::iter).filter(|(key, _)| is_passed(key));
    let passed: Vec<(Bytes, Option<Bytes>)> = passed.map(|(key, value)| (key.0.clone(), value.clone())).collect();
    let before = match passed.is_empty() {
        true => Vec::new(),
        false => txn.of_snapshot(passed.iter().map(|(key, _)| key.clone()).collect()).await?,
    };
    let after: Vec<(Bytes, Bytes)> = passed.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let dirty = view.dirty.iter().flat_map(|dirty| dirty.iter());
    let mut writes: Writes = dirty.map(|(key, value)| (key.clone(), value.clone())).collect();
    for index in indexes {
        for (entry, _) in entries(table, index, &before).await? {
            writes.entry(entry).or_insert(None);
        }
        let there = entries(table, index, &after).await?;
        writes.extend(there.into_iter().map(|(entry, value)| (entry, Some(value))));
        if index.unique {
            show_given_up(&mut writes, txn, table, index, own).await?;
        }
    }
    view.dirty = (!writes.is_empty()).then(|| Arc::new(DirtyRows::new(writes)));
    Ok(())
}

/// Shows entries again that the transaction has deleted, and that are other rows' in the snapshot.
async fn show_given_up(
    writes: &mut Writes,
    txn: &mut SessionTxn,
    table: &Table,
    index: &Index,
    own: Option<&DirtyRows>,
) -> Result<()> {
    let KeyRange { start, end } = index_range(table.id, index.id);
    // One without a lock was a row's that the transaction has changed: the newest one's, if not the snapshot's.
    let may_be_others = |key: &UserKey| txn.changed_past_its_snapshot(key.as_slice()).unwrap_or(true);
    let deleted = writes.range(start..end).filter(|(key, value)| value.is_none() && may_be_others(key));
    let deleted: Vec<Bytes> = deleted.map(|(key, _)| key.0.clone()).collect();
    if deleted.is_empty() {
        return Ok(());
    }
    for (key, value) in txn.of_snapshot(deleted).await? {
        let handle = decode_index_handle(&key, &value, index.columns.len(), has_integer_handle(table));
        let handle = handle.map_err(|e| Error::Internal(format!("entry {}: {e}", key.escape_ascii())))?;
        let row = encode_row_key(table.id, &handle);
        if own.is_none_or(|own| own.get(&row).is_none()) {
            writes.remove(&UserKey(key));
        }
    }
    Ok(())
}

async fn entries(table: &Table, index: &Index, rows: &[(Bytes, Bytes)]) -> Result<Vec<(UserKey, Bytes)>> {
    let mut entries = Vec::with_capacity(rows.len());
    for rows in rows.chunks(ROWS_BETWEEN_YIELDS) {
        let found = index_entries::of_rows(table, index, rows)?;
        entries.extend(found.into_iter().map(|(entry, _)| (UserKey::from(entry.key), Bytes::from(entry.value))));
        tokio::task::yield_now().await;
    }
    Ok(entries)
}
