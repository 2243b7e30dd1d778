//! The rows that a DML statement reads: by the short path in batches, or by the query path as a stream.

use crate::context::{ReadView, RowStream, StatementContext};
use crate::error::{Error, Result};
use crate::executor::table_reader::{TableReader, touched_ranges};
use crate::executor::{lock, lock_query, own_entries, rows, select};
use crate::plan::{Locking, Query, Scan};
use crate::planner::access::Resolved;
use crate::planner::{RowsPlan, ShortQuery, ShortSource};
use crate::transaction::SessionTxn;
use basalt_common::memory::Account;
use basalt_common::{KeyRange, table_key};
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows to be written or changed.
pub struct RowSource<'a> {
    types: Vec<FieldType>,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// Batch by batch: nothing sorts or limits.
    Reader(Box<TableReader<'a>>),
    Stream(RowStream),
}

impl<'a> RowSource<'a> {
    /// Starts reading what a statement is about to change: the newest committed rows when it locks them.
    ///
    /// # Errors
    /// What storage returns.
    pub async fn open(
        plan: &'a RowsPlan,
        ctx: &'a Arc<StatementContext>,
        txn: &mut SessionTxn,
    ) -> Result<RowSource<'a>> {
        let types = plan.output().into_iter().map(|c| c.ty).collect();
        let kind = match plan {
            RowsPlan::Short(short) => Self::open_short(short, ctx, txn).await?,
            RowsPlan::Query(query) => Kind::Stream(open_query(query, ctx, txn).await?),
        };
        Ok(RowSource { types, kind })
    }

    async fn open_short(
        short: &'a ShortQuery,
        ctx: &'a Arc<StatementContext>,
        txn: &mut SessionTxn,
    ) -> Result<Kind<'a>> {
        let ShortSource::Table(read) = &short.source else { return Self::open_select(short, ctx, txn).await };
        if short.locking.is_some() {
            return Self::open_select(short, ctx, txn).await;
        }
        let resolved = read.access.resolve(&read.scan.table, &ctx.eval)?;
        if short.operators.is_empty()
            && let Some(rows) = lock::lock_named(read, &resolved, Locking::FOR_UPDATE, ctx, txn).await?
        {
            let reader = TableReader::of_rows(read, rows, ctx, txn.current_read_view()?);
            return Ok(Kind::Reader(Box::new(reader)));
        }
        let mut view = txn.current_view(&touched_ranges(read, &resolved)).await?;
        if !txn.is_open() && !txn.is_pessimistic() && !matches!(resolved, Resolved::Ranges { .. }) {
            // Another transaction may be about to make one of the rows one that is to be changed.
            view.snapshot = view.snapshot.stopping_at_locks();
        }
        let mut reader = TableReader::new(read, resolved, ctx, view, None);
        if short.operators.is_empty() {
            return Ok(Kind::Reader(Box::new(reader)));
        }
        let mut held = Account::new(ctx.memory.clone());
        let batches = select::read_all(&mut reader, &short.operators, (ctx, &mut held)).await?;
        let batches = select::run_operators(&short.operators, batches, ctx)?;
        Ok(Kind::Stream(RowStream::from_batches(short.output.clone(), batches).holding(held)))
    }

    /// Rows of no table, or those that a locking clause of INSERT … SELECT is about.
    async fn open_select(short: &ShortQuery, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<Kind<'a>> {
        let rows = select::select(short, ctx, txn).await?;
        rows.map(Kind::Stream).ok_or_else(|| Error::Internal("these rows are read here or nowhere".into()))
    }

    /// The next rows; `None` at the end. There may be none in a batch.
    ///
    /// # Errors
    /// What storage or an operator runs into.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<Value>>>> {
        let batch = match &mut self.kind {
            Kind::Reader(reader) => reader.next().await?.map(|read| read.batch),
            Kind::Stream(stream) => stream.next().await?,
        };
        batch.map(|batch| rows::of_batch(&batch, &self.types)).transpose()
    }

    /// Types of the rows' columns.
    pub fn types(&self) -> &[FieldType] {
        &self.types
    }
}

async fn open_query(query: &Query, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<RowStream> {
    if !query.locks.is_empty() {
        return lock_query::lock_and_read(query, ctx, txn).await;
    }
    let view = txn.current_view(&tables_of(query)).await?;
    crate::query::execute(&query.root, ctx, &view, &ctx.virtual_tables).await
}

/// What a consistent read of the query sees.
///
/// # Errors
/// What the client returns.
pub async fn read_view(query: &Query, txn: &mut SessionTxn) -> Result<ReadView> {
    let mut view = txn.read_view(&tables_of(query)).await?;
    if txn.went_past_its_snapshot() {
        let mut tables = BTreeMap::new();
        visit_scans(query, |scan| {
            tables.insert(scan.table.id, scan.table.clone());
        });
        for table in tables.values() {
            let indexes: Vec<_> = table.entry_indexes().collect();
            own_entries::correct(&mut view, txn, table, &indexes).await?;
        }
    }
    Ok(view)
}

/// The key ranges of all tables that the query reads: where the transaction's own writes matter.
pub fn tables_of(query: &Query) -> Vec<KeyRange> {
    let mut tables = BTreeSet::new();
    visit_scans(query, |scan| {
        tables.insert(scan.table.id);
    });
    tables.into_iter().map(table_key::table_range).collect()
}

fn visit_scans(query: &Query, mut visit: impl FnMut(&Scan)) {
    for plan in std::iter::once(&query.root).chain(query.locks.iter().map(|locks| &locks.source)) {
        crate::planner::visit_scans(plan, &mut visit);
    }
}
