//! Scans of stored tables: which key, which ranges, which columns.
//!
//! DataFusion asks a table for the columns that are left after pruning; only then is it known whether an index covers the
//! query, so the access path is chosen here ([`crate::planner::access`]), from the hints that came down with the scan.

use super::fan_out::FanOut;
use super::own_rows::point_ranges;
use super::remote_scan::{Access, RemoteScanExec, ScanSource};
use crate::catalog::model::{Handle, Index, Table};
use crate::context::DirtyRows;
use crate::error::{Error, Result};
use crate::plan::Scan;
use crate::planner::access::{AccessKey, AccessPath, Choice, Resolved, choose};
use crate::server::kill::KillSwitch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use basalt_client::ReadSet;
use basalt_common::{KeyRange, Timestamp};
use basalt_expr::EvalContext;
use basalt_expr::expr::Expr;
use basalt_expr::row::{ScanColumn, encode_stored_value};
use basalt_expr::types::{FieldType, UNSPECIFIED};
use basalt_proto::coprocessor::{self as pb, IndexScan, ScanSpec, TableScan, scan_spec::Source};
use bytes::Bytes;
use datafusion::catalog::Session;
use datafusion::datasource::{TableProvider, TableType};
use datafusion_common::Result as DfResult;
use datafusion_expr::Expr as DfExpr;
use datafusion_physical_plan::ExecutionPlan;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Column id under which the hidden handle is asked for; no stored column has it.
pub const HIDDEN_HANDLE_ID: u32 = u32::MAX;
/// Rows that a region is thought to hold when nothing better is known; only their order matters, to join sides.
const ROWS_PER_REGION: usize = 50_000;
/// What part of a table a path with a bounded or half-open range is thought to read.
const RANGE_SHARE: usize = 10;

/// Makes scans for one statement.
#[derive(Clone)]
pub struct ScanPlanner {
    /// Sends requests.
    pub fan_out: Arc<dyn FanOut>,
    /// As of when.
    pub ts: Timestamp,
    /// Told of what is read.
    pub reads: Option<Arc<ReadSet>>,
    /// The transaction's own writes.
    pub dirty: Option<Arc<DirtyRows>>,
    /// The statement.
    pub eval: Arc<EvalContext>,
    /// Ends scans.
    pub kill: Arc<KillSwitch>,
    /// How long the statement may run.
    pub time_max: Option<Duration>,
    /// Regions that one scan reads at a time.
    pub concurrency: usize,
}

impl ScanPlanner {
    /// The table of a scan; `hints` are over its output.
    ///
    /// # Errors
    /// [`Error::Internal`] for a column that the table does not have.
    pub fn table(&self, scan: &Scan, hints: Vec<Expr>) -> Result<Arc<dyn TableProvider>> {
        let fields = scan.output.iter().map(|column| column.ty.arrow_field(&column.name));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        if scan.columns.iter().any(|&offset| offset > scan.table.columns.len()) {
            return Err(Error::Internal(format!("a scan of {} asks for a column that is not there", scan.table.name)));
        }
        Ok(Arc::new(ScanTable { planner: self.clone(), scan: scan.clone(), hints, schema }))
    }
}

/// One occurrence of a stored table in a statement.
struct ScanTable {
    planner: ScanPlanner,
    scan: Scan,
    hints: Vec<Expr>,
    schema: SchemaRef,
}

impl fmt::Debug for ScanTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanTable({})", self.scan.table.name)
    }
}

#[async_trait]
impl TableProvider for ScanTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[DfExpr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.scan.columns.len()).collect();
        let projection = projection.unwrap_or(&all);
        let schema = Arc::new(self.schema.project(projection)?);
        let source = self.source(projection).await?;
        Ok(Arc::new(RemoteScanExec::new(Arc::new(source), schema)))
    }
}

impl ScanTable {
    async fn source(&self, projection: &[usize]) -> Result<ScanSource> {
        let (table, planner) = (&*self.scan.table, &self.planner);
        let needed: Vec<usize> = projection.iter().map(|&position| self.scan.columns[position]).collect();
        let choice =
            Choice { table, columns: &self.scan.columns, needed: &needed, hints: &self.scan.hints, order: &[] };
        let (mut path, _) = choose(choice, self.hints.clone());
        if path.columns.is_empty() && self.scan.hints.is_empty() {
            // Everything is read: the rows lie in more regions than an index, and regions are read side by side.
            path = AccessPath::whole_table();
        }
        let (spec, access, rows) = self.access(&path, &needed)?;
        let ranges = match &access {
            Access::Ranges(ranges) | Access::Lookup { ranges, .. } => ranges,
        };
        let rows_estimated = match rows {
            Some(rows) => rows,
            None => {
                let rows = planner.fan_out.region_count(ranges).await?.saturating_mul(ROWS_PER_REGION);
                if path.columns.is_empty() { rows } else { rows / RANGE_SHARE + 1 }
            }
        };
        let access_info = access_info(&path, ranges);
        Ok(ScanSource {
            access_object: access_object(&self.scan, path.index(table)),
            access_info,
            is_index: path.key != AccessKey::Table,
            spec,
            access,
            table_id: table.id,
            ts: planner.ts,
            reads: planner.reads.clone(),
            dirty: planner.dirty.clone(),
            eval_context: Bytes::from(planner.eval.encode()),
            eval: planner.eval.clone(),
            fan_out: planner.fan_out.clone(),
            concurrency: planner.concurrency,
            kill: planner.kill.clone(),
            rows_estimated: Some(rows_estimated),
        })
    }

    /// What to decode, which keys, and how many rows at most if the keys tell.
    fn access(&self, path: &AccessPath, needed: &[usize]) -> Result<(ScanSpec, Access, Option<usize>)> {
        let table = &*self.scan.table;
        let (ranges, rows) = match path.resolve(table, &self.planner.eval)? {
            Resolved::Rows(keys) => {
                let rows = keys.len();
                return Ok((table_spec(table, needed)?, Access::Ranges(sorted(point_ranges(keys))), Some(rows)));
            }
            Resolved::Entries(keys) => {
                let rows = keys.len();
                (sorted(point_ranges(keys)), Some(rows))
            }
            Resolved::Ranges { ranges, rows_max } => (sorted(ranges), rows_max.map(|rows| rows as usize)),
        };
        match path.index(table) {
            None => Ok((table_spec(table, needed)?, Access::Ranges(ranges), rows)),
            Some(index) if path.is_covering => Ok((index_spec(table, index, needed)?, Access::Ranges(ranges), rows)),
            Some(index) => {
                let may_scan = self.scan.hints.iter().all(|hint| hint.ignore);
                let access = Access::Lookup { index: handle_spec(table, index)?, ranges, may_scan };
                Ok((table_spec(table, needed)?, access, rows))
            }
        }
    }
}

fn sorted(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.sort_by(|a, b| a.start.cmp(&b.start));
    ranges.dedup();
    ranges
}

/// Reads columns (offsets in the table; one past the last is the hidden handle) of rows.
///
/// # Errors
/// [`Error::Eval`] when a column's default does not encode.
pub fn table_spec(table: &Table, columns: &[usize]) -> Result<ScanSpec> {
    let key_columns = match &table.handle {
        Handle::Integer(offset) => vec![table.columns[*offset].id],
        Handle::Common(offsets) => offsets.iter().map(|&offset| table.columns[offset].id).collect(),
        Handle::Hidden => Vec::new(),
    };
    let source =
        TableScan { table_id: table.id.0, primary_key_columns: key_columns, integer_handle: is_integer(table) };
    Ok(ScanSpec { source: Some(Source::Table(source)), columns: scan_columns(table, columns)? })
}

/// Reads columns of an index's entries: its own, and those of the handle.
///
/// # Errors
/// As [`table_spec`].
pub fn index_spec(table: &Table, index: &Index, columns: &[usize]) -> Result<ScanSpec> {
    let parts: Vec<usize> = index.columns.iter().map(|column| column.column).collect();
    let handle: &[usize] = match &table.handle {
        Handle::Common(offsets) => offsets,
        Handle::Integer(_) | Handle::Hidden => &[],
    };
    let source = IndexScan {
        table_id: table.id.0,
        index_id: index.id.0,
        index_columns: parts.iter().map(|&offset| table.columns[offset].id).collect(),
        unique: index.unique,
        handle_columns: handle.iter().map(|&offset| table.columns[offset].id).collect(),
        integer_handle: is_integer(table),
        // Entries have a handle's column as a column of the index when it is one.
        index_parts: plain_columns(table, &parts)?,
        handle_parts: plain_columns(table, handle)?,
    };
    Ok(ScanSpec { source: Some(Source::Index(source)), columns: scan_columns(table, columns)? })
}

/// Reads the handles of an index's entries, encoded as they end row keys.
///
/// # Errors
/// As [`table_spec`].
pub fn handle_spec(table: &Table, index: &Index) -> Result<ScanSpec> {
    let mut spec = index_spec(table, index, &[])?;
    let handle = ScanColumn { is_handle: true, ..ScanColumn::new(HIDDEN_HANDLE_ID, FieldType::varbinary(UNSPECIFIED)) };
    spec.columns = vec![handle.to_proto()];
    Ok(spec)
}

fn is_integer(table: &Table) -> bool {
    !matches!(table.handle, Handle::Common(_))
}

fn plain_columns(table: &Table, offsets: &[usize]) -> Result<Vec<pb::ScanColumn>> {
    let columns = offsets.iter().map(|&offset| Ok(pb::ScanColumn { is_handle: false, ..scan_column(table, offset)? }));
    columns.collect()
}

fn scan_columns(table: &Table, offsets: &[usize]) -> Result<Vec<pb::ScanColumn>> {
    offsets.iter().map(|&offset| scan_column(table, offset)).collect()
}

fn scan_column(table: &Table, offset: usize) -> Result<pb::ScanColumn> {
    let Some(column) = table.columns.get(offset) else {
        let handle = ScanColumn::new(HIDDEN_HANDLE_ID, FieldType::bigint().required());
        return Ok(ScanColumn { is_handle: true, ..handle }.to_proto());
    };
    let default = match &column.original_default {
        None => None,
        Some(value) if value.is_null() => None,
        Some(value) => {
            let mut bytes = Vec::new();
            encode_stored_value(value, &column.ty, &mut bytes)?;
            Some(bytes)
        }
    };
    let is_handle = table.handle == Handle::Integer(offset);
    Ok(ScanColumn { id: column.id, ty: column.ty.clone(), default, is_handle }.to_proto())
}

fn access_object(scan: &Scan, index: Option<&Index>) -> String {
    let table = match scan.alias.eq_ignore_ascii_case(&scan.table.name) {
        true => format!("table:{}", scan.table.name),
        false => format!("table:{} ({})", scan.alias, scan.table.name),
    };
    let Some(index) = index else { return table };
    let columns: Vec<_> = index.columns.iter().map(|c| scan.table.columns[c.column].name.as_str()).collect();
    format!("{table}, index:{}({})", index.name, columns.join(", "))
}

fn access_info(path: &AccessPath, ranges: &[KeyRange]) -> String {
    if path.columns.is_empty() {
        return "full scan".to_string();
    }
    let points = ranges.iter().filter(|range| is_point(range)).count();
    match (points, ranges.len() - points) {
        (0, 0) => "no range".to_string(),
        (0, ranges) => format!("ranges:{ranges}"),
        (points, 0) => format!("keys:{points}"),
        (points, ranges) => format!("keys:{points}, ranges:{ranges}"),
    }
}

fn is_point(range: &KeyRange) -> bool {
    range.end.as_slice().split_last() == Some((&0, range.start.as_slice()))
}
