//! EXPLAIN and EXPLAIN ANALYZE: the operators, where each runs, what each cost.
//!
//! ```text
//! id                          task  access object  operator info
//! HashAgg                     root                 funcs: count(t.c1)
//! └─TableReader               root                 full scan
//!   └─HashAgg(partial)        cop
//!     └─Selection             cop                  c1 > 10
//!       └─TableFullScan       cop   table:t        full scan
//! ```
//! `cop` is what storage runs, once a region. With ANALYZE a reader's line says how many tasks there were, on how many
//! stores, the rows they scanned, the rows and bytes they returned, and the time.

use super::execute::{bounded, plan_query, run};
use super::lower::VirtualTables;
use super::remote_scan::{Access, RemoteScanExec, downcast};
use super::scan_metrics::ScanSums;
use crate::context::{ReadView, RowStream, StatementContext};
use crate::error::Result;
use crate::plan::{OutputColumn, Query, RowLocks};
use arrow::record_batch::RecordBatch;
use basalt_expr::convert::array_of;
use basalt_expr::datafusion::MySqlFunction;
use basalt_expr::describe::describe;
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;
use datafusion_execution::TaskContext;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, IsNullExpr, NotExpr};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion_physical_plan::filter::FilterExec;
use datafusion_physical_plan::projection::ProjectionExec;
use datafusion_physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::StreamExt;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A query that is ready to run.
pub struct PlannedQuery {
    /// The operators.
    pub physical: Arc<dyn ExecutionPlan>,
    /// Memory, batch size.
    pub task: Arc<TaskContext>,
}

/// One operator's line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExplainLine {
    /// Name, indented under its parent.
    pub id: String,
    /// Rows expected; none = unknown.
    pub estimated_rows: Option<usize>,
    /// Rows seen.
    pub actual_rows: Option<u64>,
    /// `root` or `cop`.
    pub task: &'static str,
    /// What is read.
    pub access_object: String,
    /// What it cost.
    pub execution_info: String,
    /// What it does.
    pub operator_info: String,
}

/// What EXPLAIN shows of a query; with `analyze` the query is run to its end first, without locks.
///
/// # Errors
/// As [`super::execute`].
pub async fn explain(
    query: &Query,
    ctx: &Arc<StatementContext>,
    view: &ReadView,
    virtual_tables: &VirtualTables,
    analyze: bool,
) -> Result<RowStream> {
    let fan_out = Arc::new(super::cluster_fan_out::ClusterFanOut::new(ctx.cluster.clone()));
    let planned = plan_query(&query.root, ctx, view, virtual_tables, fan_out).await?;
    if analyze {
        let mut batches = bounded(run(&planned)?, ctx);
        while let Some(batch) = batches.next().await {
            batch?;
        }
    }
    let lines = lines(&planned.physical, analyze);
    let lines = if query.locks.is_empty() { lines } else { below_locks(&query.locks, lines) };
    rows(&lines, analyze)
}

/// A query's lines under one that names the tables whose rows it locks.
fn below_locks(locks: &[RowLocks], lines: Vec<ExplainLine>) -> Vec<ExplainLine> {
    let targets = locks.iter().flat_map(|locks| &locks.targets);
    let names = targets.map(|target| {
        let strength = if target.locking.share { "for share" } else { "for update" };
        format!("{strength} of {}", target.table.name)
    });
    let operator_info = names.collect::<Vec<_>>().join(", ");
    let head = ExplainLine { id: "SelectLock".into(), task: "root", operator_info, ..ExplainLine::default() };
    let below = lines.into_iter().enumerate().map(|(position, line)| {
        let branch = if position == 0 { "└─" } else { "  " };
        ExplainLine { id: format!("{branch}{}", line.id), ..line }
    });
    std::iter::once(head).chain(below).collect()
}

/// One line an operator, parents first.
pub fn lines(plan: &Arc<dyn ExecutionPlan>, analyze: bool) -> Vec<ExplainLine> {
    let mut out = Vec::new();
    walk(plan, "root", "", "", analyze, &mut out);
    out
}

/// The lines as a result set.
///
/// # Errors
/// When they do not make a batch, which would be a fault of ours.
pub fn rows(lines: &[ExplainLine], analyze: bool) -> Result<RowStream> {
    let names: &[&str] = match analyze {
        false => &["id", "estRows", "task", "access object", "operator info"],
        true => &["id", "estRows", "actRows", "task", "access object", "execution info", "operator info"],
    };
    let text = FieldType::new(TypeKind::LongText).required();
    let columns: Vec<_> = names
        .iter()
        .map(|name| OutputColumn { name: (*name).to_string(), table: String::new(), origin: None, ty: text.clone() })
        .collect();
    let mut cells: Vec<Vec<Value>> = vec![Vec::with_capacity(lines.len()); names.len()];
    for line in lines {
        let estimated = line.estimated_rows.map_or_else(|| "-".to_string(), |rows| rows.to_string());
        let actual = line.actual_rows.map_or_else(|| "-".to_string(), |rows| rows.to_string());
        let values: Vec<&str> = match analyze {
            false => vec![&line.id, &estimated, line.task, &line.access_object, &line.operator_info],
            true => vec![
                &line.id,
                &estimated,
                &actual,
                line.task,
                &line.access_object,
                &line.execution_info,
                &line.operator_info,
            ],
        };
        for (cell, value) in cells.iter_mut().zip(values) {
            cell.push(Value::from(value));
        }
    }
    let arrays = cells.iter().map(|values| array_of(&text, values)).collect::<Result<Vec<_>, _>>()?;
    let batch = RecordBatch::try_new(super::lower::output_schema(&columns), arrays)?;
    Ok(RowStream::from_batches(columns, vec![batch]))
}

fn walk(
    plan: &Arc<dyn ExecutionPlan>,
    task: &'static str,
    first: &str,
    rest: &str,
    analyze: bool,
    out: &mut Vec<ExplainLine>,
) {
    if let Some(scan) = downcast::<RemoteScanExec>(plan) {
        return walk_scan(plan, scan, first, rest, analyze, out);
    }
    let children = plan.children();
    // These only pass rows on.
    if let ("CooperativeExec" | "CoalesceBatchesExec" | "YieldExec" | "SliceExec" | "NullSuppliedExec", [child]) =
        (plan.name(), &children[..])
    {
        return walk(child, task, first, rest, analyze, out);
    }
    let metrics = analyze.then(|| plan.metrics()).flatten();
    let time = metrics.as_ref().and_then(|m| m.elapsed_compute()).map(|nanos| Duration::from_nanos(nanos as u64));
    out.push(ExplainLine {
        id: format!("{first}{}", display_name(plan)),
        estimated_rows: estimated_rows(plan),
        actual_rows: metrics.as_ref().and_then(|m| m.output_rows()).map(|rows| rows as u64),
        task,
        access_object: String::new(),
        execution_info: time.map(|time| format!("time:{time:.2?}")).unwrap_or_default(),
        operator_info: details(plan),
    });
    for (position, child) in children.iter().enumerate() {
        let last = position + 1 == children.len();
        let (first, rest) = branches(rest, last);
        walk(child, task, &first, &rest, analyze, out);
    }
}

fn branches(rest: &str, last: bool) -> (String, String) {
    if last { (format!("{rest}└─"), format!("{rest}  ")) } else { (format!("{rest}├─"), format!("{rest}│ ")) }
}

/// A reader, and below it what storage runs.
fn walk_scan(
    plan: &Arc<dyn ExecutionPlan>,
    scan: &RemoteScanExec,
    first: &str,
    rest: &str,
    analyze: bool,
    out: &mut Vec<ExplainLine>,
) {
    let source = scan.source();
    let lookup = matches!(source.access, Access::Lookup { .. });
    let sums = scan.scan_metrics().sums();
    let name = match (lookup, source.is_index) {
        (true, _) => "IndexLookUp",
        (false, true) => "IndexReader",
        (false, false) => "TableReader",
    };
    out.push(ExplainLine {
        id: format!("{first}{name}"),
        estimated_rows: estimated_rows(plan),
        actual_rows: analyze.then_some(sums.rows_output),
        task: "root",
        access_object: String::new(),
        execution_info: if analyze { execution_info(&sums) } else { String::new() },
        operator_info: source.access_info.clone(),
    });
    if lookup {
        let (line, _) = branches(rest, false);
        out.push(leaf(&format!("{line}IndexRangeScan(Build)"), scan));
    }
    let (mut line, mut rest) = branches(rest, true);
    let mut node = scan.fragment();
    while let Some(child) = node.children().first().copied() {
        out.push(ExplainLine {
            id: format!("{line}{}", display_name(node)),
            task: "cop",
            operator_info: details(node),
            ..ExplainLine::default()
        });
        (line, rest) = branches(&rest, true);
        node = child;
    }
    let whole = source.access_info == "full scan";
    out.push(match (lookup, source.is_index, whole) {
        (true, ..) => ExplainLine {
            id: format!("{line}TableRowIDScan(Probe)"),
            task: "cop",
            access_object: source.access_object.split(", index:").next().unwrap_or_default().to_string(),
            ..ExplainLine::default()
        },
        (_, true, true) => leaf(&format!("{line}IndexFullScan"), scan),
        (_, true, false) => leaf(&format!("{line}IndexRangeScan"), scan),
        (_, false, true) => leaf(&format!("{line}TableFullScan"), scan),
        (_, false, false) => leaf(&format!("{line}TableRangeScan"), scan),
    });
}

fn leaf(id: &str, scan: &RemoteScanExec) -> ExplainLine {
    let source = scan.source();
    ExplainLine {
        id: id.to_string(),
        estimated_rows: source.rows_estimated,
        task: "cop",
        access_object: source.access_object.clone(),
        operator_info: source.access_info.clone(),
        ..ExplainLine::default()
    }
}

fn execution_info(sums: &ScanSums) -> String {
    // Old versions that garbage collection has not removed yet, or may not.
    let versions = match sums.versions_scanned > sums.rows_scanned {
        true => format!(", versions scanned:{}", sums.versions_scanned),
        false => String::new(),
    };
    format!(
        "time:{:.2?}, tasks:{}, stores:{}, rows scanned:{}{versions}, rows returned:{}, bytes returned:{}, storage time:{:.2?}, max:{:.2?}{}",
        sums.elapsed,
        sums.tasks,
        sums.stores.len(),
        sums.rows_scanned,
        sums.rows_returned,
        sums.bytes_returned,
        sums.storage,
        sums.storage_max,
        if sums.is_index_left { ", too much under the index: the table was scanned" } else { "" },
    )
}

fn estimated_rows(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    statistics.num_rows.get_value().copied()
}

/// The operator's name as TiDB's users know it.
fn display_name(plan: &Arc<dyn ExecutionPlan>) -> String {
    let shown = one_line(plan);
    match plan.name() {
        "FilterExec" => "Selection".to_string(),
        "ProjectionExec" => "Projection".to_string(),
        "AggregateExec" if shown.contains("mode=Partial") => "HashAgg(partial)".to_string(),
        "AggregateExec" => "HashAgg".to_string(),
        "SortExec(TopK)" => "TopN".to_string(),
        "SortExec" => "Sort".to_string(),
        "GlobalLimitExec" | "LocalLimitExec" => "Limit".to_string(),
        "HashJoinExec" => "HashJoin".to_string(),
        "SortMergeJoinExec" => "MergeJoin".to_string(),
        "NestedLoopJoinExec" | "CrossJoinExec" => "NestedLoopJoin".to_string(),
        "UnionExec" => "Union".to_string(),
        "RepartitionExec" => "Shuffle".to_string(),
        "CoalescePartitionsExec" => "Gather".to_string(),
        "SortPreservingMergeExec" => "GatherMerge".to_string(),
        "WindowAggExec" | "BoundedWindowAggExec" => "Window".to_string(),
        "DataSourceExec" => "MemTableScan".to_string(),
        "PlaceholderRowExec" => "TableDual".to_string(),
        other => other.trim_end_matches("Exec").to_string(),
    }
}

/// What the operator does: predicates and projections in our words, the rest in DataFusion's, without the positions
/// behind columns.
fn details(plan: &Arc<dyn ExecutionPlan>) -> String {
    if let Some(filter) = downcast::<FilterExec>(plan) {
        return expression(filter.predicate());
    }
    if let Some(projection) = downcast::<ProjectionExec>(plan) {
        let exprs = projection.expr().iter().map(|e| match expression(&e.expr) {
            text if text == e.alias => text,
            text => format!("{text}->{}", e.alias),
        });
        return exprs.collect::<Vec<_>>().join(", ");
    }
    let shown = one_line(plan);
    without_positions(shown.split_once(": ").map_or("", |(_, details)| details))
}

/// An expression as SQL would write it.
fn expression(expr: &Arc<dyn PhysicalExpr>) -> String {
    let any = expr.as_ref() as &dyn Any;
    if let Some(column) = any.downcast_ref::<Column>() {
        return column.name().to_string();
    }
    if let Some(binary) = any.downcast_ref::<BinaryExpr>() {
        let side = |side: &Arc<dyn PhysicalExpr>| {
            let nested =
                (side.as_ref() as &dyn Any).downcast_ref::<BinaryExpr>().is_some_and(|b| b.op() != binary.op());
            if nested { format!("({})", expression(side)) } else { expression(side) }
        };
        return format!("{} {} {}", side(binary.left()), binary.op(), side(binary.right()));
    }
    if let Some(call) = any.downcast_ref::<ScalarFunctionExpr>()
        && let Some(function) = call.fun().inner().downcast_ref::<MySqlFunction>()
    {
        let name = |index: usize| call.args().get(index).map_or_else(|| format!("#{index}"), expression);
        return describe(function.expr(), &name);
    }
    if let Some(not) = any.downcast_ref::<NotExpr>() {
        return format!("NOT ({})", expression(not.arg()));
    }
    if let Some(is_null) = any.downcast_ref::<IsNullExpr>() {
        return format!("{} IS NULL", expression(is_null.arg()));
    }
    if let Some(is_not_null) = any.downcast_ref::<IsNotNullExpr>() {
        return format!("{} IS NOT NULL", expression(is_not_null.arg()));
    }
    without_positions(&expr.to_string())
}

fn without_positions(shown: &str) -> String {
    let mut out = String::with_capacity(shown.len());
    let mut chars = shown.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '@' && chars.peek().is_some_and(char::is_ascii_digit) {
            while chars.next_if(char::is_ascii_digit).is_some() {}
        } else {
            out.push(c);
        }
    }
    out
}

fn one_line(plan: &Arc<dyn ExecutionPlan>) -> String {
    struct Shown<'a>(&'a dyn ExecutionPlan);
    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            DisplayAs::fmt_as(self.0, DisplayFormatType::Default, f)
        }
    }
    Shown(plan.as_ref()).to_string()
}
