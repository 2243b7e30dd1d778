//! Reads rows of a table by an access path, a batch at a time, as a transaction sees them.
//!
//! ```text
//! Resolved ─┬─ Rows     row keys ───────────────────────────▶ get ─▶ decode ─▶ filter
//!           ├─ Entries  entry keys ─▶ get ─┬─ covering ────────────▶ decode ─▶ filter
//!           └─ Ranges   scan ─┬─ table ────│───────────────────────▶ decode ─▶ filter
//!                             └─ index ────┴─ row keys ─────▶ get ─▶ decode ─▶ filter
//! ```
//! A statement that locks what single keys name has fetched the rows with the locks ([`super::lock::lock_named`]); they are
//! only decoded and filtered. Rows come in the order of the key that is read. Each comes with its row key, for whoever
//! locks or changes it.

use crate::catalog::model::{Handle, Table};
use crate::context::{ReadView, StatementContext};
use crate::error::{Error, Result};
use crate::executor::config::{BATCH_GROWTH, FIRST_BATCH_ROWS, READ_BATCH_ROWS};
use crate::executor::filter;
use crate::executor::range_scan::RangeScan;
use crate::planner::TableRead;
use crate::planner::access::{AccessKey, Resolved};
use arrow::record_batch::RecordBatch;
use basalt_common::table_key::{self, INDEX_PREFIX_LEN, ROW_PREFIX_LEN};
use basalt_common::{KeyRange, UserKey};
use basalt_expr::key::{decode_index_handle, encode_row_key};
use basalt_expr::row::{IndexDecoder, IndexLayout, RowDecoder, ScanColumn, ScanLayout, encode_stored_value};
use basalt_expr::types::FieldType;
use bytes::Bytes;
use std::collections::HashMap;

/// A key and its value.
pub type Pair = (UserKey, Bytes);

/// Rows of one batch.
pub struct ReadBatch {
    /// Row keys, one a row.
    pub keys: Vec<UserKey>,
    /// The scan's columns.
    pub batch: RecordBatch,
}

/// See the module.
pub struct TableReader<'a> {
    read: &'a TableRead,
    ctx: &'a StatementContext,
    view: ReadView,
    source: Source,
    /// Rows still wanted; `usize::MAX` = all.
    wanted: usize,
    batch_rows: usize,
    /// Rows read so far, those that the filter dropped included.
    rows_read: usize,
}

enum Source {
    Fetched(std::vec::IntoIter<Pair>),
    Rows(std::vec::IntoIter<UserKey>),
    Entries(std::vec::IntoIter<UserKey>),
    Table(RangeScan),
    Index(RangeScan),
}

impl<'a> TableReader<'a> {
    /// A reader of what `resolved` names. `wanted` is how many rows the consumer needs at most, when every row counts.
    pub fn new(
        read: &'a TableRead,
        resolved: Resolved,
        ctx: &'a StatementContext,
        view: ReadView,
        wanted: Option<usize>,
    ) -> TableReader<'a> {
        let ordered = |mut keys: Vec<UserKey>| {
            if read.reverse {
                keys.reverse();
            }
            keys.into_iter()
        };
        let wanted = wanted.unwrap_or(usize::MAX);
        let source = match resolved {
            Resolved::Rows(keys) => Source::Rows(ordered(keys)),
            Resolved::Entries(keys) => Source::Entries(ordered(keys)),
            Resolved::Ranges { ranges, .. } => {
                let scan = RangeScan::new(&view, ranges, read.reverse, wanted);
                if read.access.key == AccessKey::Table { Source::Table(scan) } else { Source::Index(scan) }
            }
        };
        TableReader { read, ctx, view, source, wanted, batch_rows: READ_BATCH_ROWS, rows_read: 0 }
    }

    /// Reads small batches first: for a consumer that may have enough after some rows.
    pub fn growing(mut self, first: usize) -> TableReader<'a> {
        self.batch_rows = first.clamp(FIRST_BATCH_ROWS, READ_BATCH_ROWS);
        if let Source::Table(scan) | Source::Index(scan) = &mut self.source {
            scan.begin_with(self.batch_rows);
        }
        self
    }

    /// A reader of rows that are here already, in their order.
    pub fn of_rows(read: &'a TableRead, rows: Vec<Pair>, ctx: &'a StatementContext, view: ReadView) -> TableReader<'a> {
        let source = Source::Fetched(rows.into_iter());
        TableReader { read, ctx, view, source, wanted: usize::MAX, batch_rows: READ_BATCH_ROWS, rows_read: 0 }
    }

    /// The next rows that pass the filter; `None` at the end. A batch may be empty.
    ///
    /// # Errors
    /// What storage or the filter runs into.
    pub async fn next(&mut self) -> Result<Option<ReadBatch>> {
        self.ctx.check_killed()?;
        if self.wanted == 0 {
            return Ok(None);
        }
        let limit = self.batch_rows.min(self.wanted);
        self.batch_rows = (self.batch_rows * BATCH_GROWTH).min(READ_BATCH_ROWS);
        let batch = match &mut self.source {
            Source::Fetched(rows) => {
                let pairs: Vec<_> = rows.take(limit).collect();
                if pairs.is_empty() {
                    return Ok(None);
                }
                self.decode_rows(pairs)?
            }
            Source::Rows(keys) => {
                let keys: Vec<_> = keys.take(limit).collect();
                if keys.is_empty() {
                    return Ok(None);
                }
                let pairs = fetch(&self.view, keys).await?;
                self.decode_rows(pairs)?
            }
            Source::Entries(keys) => {
                let keys: Vec<_> = keys.take(limit).collect();
                if keys.is_empty() {
                    return Ok(None);
                }
                let entries = fetch(&self.view, keys).await?;
                self.decode_entries(entries).await?
            }
            Source::Table(scan) => {
                let pairs = scan.next(limit).await?;
                if pairs.is_empty() {
                    return Ok(None);
                }
                self.decode_rows(pairs)?
            }
            Source::Index(scan) => {
                let entries = scan.next(limit).await?;
                if entries.is_empty() {
                    return Ok(None);
                }
                self.decode_entries(entries).await?
            }
        };
        if self.wanted != usize::MAX {
            self.wanted = self.wanted.saturating_sub(batch.keys.len());
        }
        self.ctx.counters.add_rows_read(batch.keys.len());
        self.rows_read += batch.keys.len();
        self.filter(batch).map(Some)
    }

    /// Rows read so far, those that the filter dropped included.
    pub fn rows_read(&self) -> usize {
        self.rows_read
    }

    fn filter(&self, read: ReadBatch) -> Result<ReadBatch> {
        let Some(predicate) = &self.read.filter else { return Ok(read) };
        let mask = filter::mask(predicate, &read.batch, &self.ctx.eval)?;
        let batch = filter::apply(&read.batch, &mask)?;
        let keys = read.keys.into_iter().zip(mask.iter()).filter(|(_, keep)| *keep == Some(true)).map(|(k, _)| k);
        Ok(ReadBatch { keys: keys.collect(), batch })
    }

    fn decode_rows(&self, pairs: Vec<Pair>) -> Result<ReadBatch> {
        let mut decoder = RowDecoder::new(layout_of(self.read)?, pairs.len());
        let mut keys = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let handle = key.as_slice().get(ROW_PREFIX_LEN..).ok_or_else(|| corrupt(&key))?;
            decoder.append(handle, &value)?;
            keys.push(key);
        }
        Ok(ReadBatch { keys, batch: decoder.finish()? })
    }

    async fn decode_entries(&self, entries: Vec<Pair>) -> Result<ReadBatch> {
        let keys = row_keys(self.read, &entries)?;
        if !self.read.access.is_covering {
            let rows = fetch(&self.view, keys).await?;
            return self.decode_rows(rows);
        }
        let table = &self.read.scan.table;
        let index = index_layout(table, self.read.access.key);
        let mut decoder = IndexDecoder::new(index, layout_of(self.read)?, entries.len())?;
        for (key, value) in &entries {
            let values = key.as_slice().get(INDEX_PREFIX_LEN..).ok_or_else(|| corrupt(key))?;
            decoder.append(values, value)?;
        }
        Ok(ReadBatch { keys, batch: decoder.finish()? })
    }
}

/// The rows that entries of the read's index name.
///
/// # Errors
/// [`Error::Internal`] for an entry that cannot be read.
pub fn row_keys(read: &TableRead, entries: &[Pair]) -> Result<Vec<UserKey>> {
    let table = &read.scan.table;
    let columns = read.access.index(table).map_or(0, |index| index.columns.len());
    let is_integer = has_integer_handle(table);
    let row_key = |(key, value): &Pair| {
        let handle = decode_index_handle(key.as_slice(), value, columns, is_integer).map_err(|_| corrupt(key))?;
        Ok(UserKey::from(encode_row_key(table.id, &handle)))
    };
    entries.iter().map(row_key).collect()
}

/// Reads keys; those that are not there are left out, the others come in the order of `keys`.
///
/// # Errors
/// What storage returns.
pub async fn fetch(view: &ReadView, keys: Vec<UserKey>) -> Result<Vec<Pair>> {
    if let [key] = keys.as_slice() {
        let value = view.get(key.as_slice()).await?;
        return Ok(value.map(|value| (key.clone(), value)).into_iter().collect());
    }
    let own = |key: &UserKey| view.dirty.as_ref().and_then(|dirty| dirty.get(key.as_slice()));
    let wanted: Vec<Bytes> = keys.iter().filter(|key| own(key).is_none()).map(|key| key.0.clone()).collect();
    let mut found: HashMap<Bytes, Bytes> = HashMap::with_capacity(wanted.len());
    if !wanted.is_empty() {
        found.extend(view.snapshot.batch_get(wanted).await?);
    }
    let value = |key: UserKey| {
        let value = match own(&key) {
            Some(own) => own.clone(),
            None => found.get(&key.0).cloned(),
        };
        value.map(|value| (key, value))
    };
    Ok(keys.into_iter().filter_map(value).collect())
}

/// True when handles are eight bytes of an integer.
pub fn has_integer_handle(table: &Table) -> bool {
    !matches!(table.handle, Handle::Common(_))
}

/// What of a transaction's own writes a read of `resolved` may meet: ranges of the table's keys.
pub fn touched_ranges(read: &TableRead, resolved: &Resolved) -> Vec<KeyRange> {
    let table = &read.scan.table;
    let point = |key: &UserKey| KeyRange { start: key.clone(), end: key.successor() };
    let mut ranges: Vec<KeyRange> = match resolved {
        Resolved::Rows(keys) | Resolved::Entries(keys) => keys.iter().map(point).collect(),
        Resolved::Ranges { ranges, .. } => ranges.clone(),
    };
    if !read.access.is_covering {
        ranges.push(table_key::rows_range(table.id));
    }
    ranges
}

/// How to decode what a plan reads, made when it runs first.
fn layout_of(read: &TableRead) -> Result<ScanLayout> {
    if let Some(layout) = read.layout.get() {
        return Ok(layout.clone());
    }
    let layout = ScanLayout::from(scan_columns(&read.scan.table, &read.scan.columns)?);
    Ok(read.layout.get_or_init(|| layout).clone())
}

/// How to decode columns of a table, by their offsets; the offset behind the last is the hidden handle.
///
/// # Errors
/// [`Error::Internal`] for a default that is not of its column's type.
pub fn scan_columns(table: &Table, offsets: &[usize]) -> Result<Vec<ScanColumn>> {
    let column = |&offset: &usize| {
        let Some(column) = table.columns.get(offset) else {
            return Ok(ScanColumn { is_handle: true, ..ScanColumn::new(u32::MAX, FieldType::bigint().required()) });
        };
        let mut out = ScanColumn::new(column.id, column.ty.clone());
        out.is_handle = table.handle == Handle::Integer(offset);
        if let Some(default) = column.original_default.as_ref().filter(|d| !d.is_null()) {
            let mut bytes = Vec::new();
            encode_stored_value(default, &column.ty, &mut bytes)?;
            out.default = Some(bytes);
        }
        Ok(out)
    };
    offsets.iter().map(column).collect()
}

/// What an index's entries hold, in order.
pub fn index_layout(table: &Table, key: AccessKey) -> IndexLayout {
    let column = |offset: usize| (table.columns[offset].id, table.columns[offset].ty.clone());
    let columns = match key {
        AccessKey::Index(at) => table.indexes[at].columns.iter().map(|c| column(c.column)).collect(),
        AccessKey::Table => Vec::new(),
    };
    let handle_columns = match &table.handle {
        Handle::Common(offsets) => offsets.iter().map(|&offset| column(offset)).collect(),
        Handle::Integer(_) | Handle::Hidden => Vec::new(),
    };
    IndexLayout { columns, handle_columns, integer_handle: has_integer_handle(table) }
}

fn corrupt(key: &UserKey) -> Error {
    Error::Internal(format!("damaged entry at {key}"))
}
