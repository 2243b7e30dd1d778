//! Queries over tables in memory, cut into regions: with push-down and without it the rows must be the same, for one
//! region and for eight.

use super::execute::{plan_with, run};
use super::explain::lines;
use super::fan_out::{FanOut, ScanEvent, ScanRequest};
use super::lower::VirtualTables;
use super::remote_scan::{RemoteScanExec, downcast};
use super::scan_metrics::ScanSums;
use super::scan_plan::ScanPlanner;
use super::session::QuerySession;
use crate::catalog::model::{Column, ColumnDefault, Handle, Index, IndexColumn, SchemaState, Table};
use crate::context::DirtyRows;
use crate::error::{Error, Result};
use crate::plan::{
    AggregateCall, CompareOp, JoinKind, LogicalPlan, OutputColumn, Scan, SetKind, SortKey, Subquery, SubqueryKind,
    WindowCall, WindowFunc, outer_column,
};
use crate::server::kill::KillSwitch;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use basalt_common::{IndexId, KeyRange, TableId, Timestamp, UserKey};
use basalt_expr::EvalContext;
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use basalt_expr::fragment::{self, FragmentSource};
use basalt_expr::func::Func;
use basalt_expr::key::{Handle as KeyHandle, IndexPart, IndexTarget, encode_index_entry, encode_row_key};
use basalt_expr::row::encode_row;
use basalt_expr::scan_decoder::ScanDecoder;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use basalt_proto::coprocessor::ScanSummary;
use bytes::Bytes;
use datafusion_execution::SendableRecordBatchStream;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of a batch that comes back.
const BATCH_ROWS: usize = 1_000;

/// Regions of a cluster that is a map.
struct MemoryFanOut {
    data: BTreeMap<UserKey, Bytes>,
    /// Start keys of all regions but the first.
    splits: Vec<UserKey>,
}

impl MemoryFanOut {
    fn regions(&self) -> Vec<KeyRange> {
        let starts = std::iter::once(UserKey::default()).chain(self.splits.iter().cloned());
        let ends = self.splits.iter().cloned().chain(std::iter::once(UserKey::default()));
        starts.zip(ends).map(|(start, end)| KeyRange { start, end }).collect()
    }

    fn within<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = (&'a UserKey, &'a Bytes)> {
        self.data.range(range.start.clone()..).take_while(|(key, _)| range.contains(key.as_slice()))
    }

    async fn task(&self, request: &ScanRequest, region: &KeyRange) -> Result<Option<Vec<ScanEvent>>> {
        let internal = |e: &dyn std::fmt::Display| Error::Internal(e.to_string());
        let eval = EvalContext::decode(&request.eval_context).map_err(|e| internal(&e))?;
        let mut decoder = ScanDecoder::new(&request.spec, 16)?;
        let (mut scanned, mut touched) = (0, false);
        for range in request.ranges.iter().filter_map(|range| range.intersect(region)) {
            touched = true;
            for (key, value) in self.within(&range) {
                scanned += 1;
                decoder.append(key.as_slice(), value)?;
            }
        }
        if !touched {
            return Ok(None);
        }
        let rows = decoder.finish()?;
        let batches = match request.fragment.is_empty() {
            true => vec![rows],
            false => {
                let decoded = fragment::decode(&request.fragment, rows.schema(), Arc::new(eval))?;
                let plan = fragment::instance(&decoded.plan)?;
                let context = fragment::task_context(Arc::new(Rows(Mutex::new(Some(rows)))), Arc::default(), 100);
                plan.execute(0, context)?.try_collect::<Vec<_>>().await?
            }
        };
        let mut events = Vec::new();
        let mut summary = ScanSummary { rows_scanned: scanned, store_id: 1, ..Default::default() };
        for batch in &batches {
            for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
                let part = batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start));
                summary.rows_returned += part.num_rows() as u64;
                events.push(ScanEvent::Batch(encode(&part)?));
            }
        }
        events.push(ScanEvent::TaskDone(summary));
        Ok(Some(events))
    }
}

/// A statement's tracker with a limit.
fn quota(bytes: usize) -> Arc<basalt_common::memory::Tracker> {
    let statement = basalt_common::memory::process().child("the statement");
    statement.restart(bytes);
    statement
}

fn encode(batch: &RecordBatch) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes.into())
}

struct Rows(Mutex<Option<RecordBatch>>);

impl FragmentSource for Rows {
    fn open(&self, schema: &arrow::datatypes::SchemaRef) -> datafusion_common::Result<SendableRecordBatchStream> {
        let batch = self.0.lock().take().map(|batch| fragment::conform(&batch, schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), futures::stream::iter(batch))))
    }
}

struct SharedFanOut(Arc<MemoryFanOut>);

#[async_trait]
impl FanOut for SharedFanOut {
    async fn region_count(&self, ranges: &[KeyRange]) -> Result<usize> {
        let touched = |region: &KeyRange| ranges.iter().any(|range| range.intersect(region).is_some());
        Ok(self.0.regions().iter().filter(|region| touched(region)).count())
    }

    async fn row_count(&self, range: &KeyRange) -> Result<u64> {
        Ok(self.0.within(range).count() as u64)
    }

    fn run(&self, request: ScanRequest) -> BoxStream<'static, Result<ScanEvent>> {
        let data = self.0.clone();
        futures::stream::once(async move {
            let mut events = Vec::new();
            for region in data.regions() {
                events.extend(data.task(&request, &region).await?.unwrap_or_default());
            }
            Ok::<_, Error>(futures::stream::iter(events.into_iter().map(Ok)))
        })
        .try_flatten()
        .boxed()
    }
}

fn column(id: u32, name: &str, ty: FieldType) -> Column {
    Column {
        id,
        name: name.to_string(),
        ty,
        default: ColumnDefault::None,
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        state: SchemaState::Public,
        original_default: None,
    }
}

/// `t (id BIGINT PRIMARY KEY, a BIGINT, b VARCHAR(20), d DECIMAL(10,2), KEY ka (a))`
fn table(id: u64) -> Arc<Table> {
    let index = |id: u64, name: &str, column: usize, primary: bool| Index {
        id: IndexId(id),
        name: name.to_string(),
        columns: vec![IndexColumn { column, prefix_length: None, collation_version: 0 }],
        unique: primary,
        primary,
        state: SchemaState::Public,
        comment: String::new(),
    };
    Arc::new(Table {
        id: TableId(id),
        name: format!("t{id}"),
        database_id: 1,
        columns: vec![
            column(1, "id", FieldType::bigint().required()),
            column(2, "a", FieldType::bigint()),
            column(3, "b", FieldType::varchar(20)),
            column(4, "d", FieldType::decimal(10, 2)),
        ],
        indexes: vec![index(1, "PRIMARY", 0, true), index(2, "ka", 1, false)],
        handle: Handle::Integer(0),
        charset: "utf8mb4".to_string(),
        collation: "utf8mb4_bin".to_string(),
        comment: String::new(),
        created_unix_ms: 0,
        next_index_id: 3,
        next_column_id: 9,
        version: 1,
    })
}

fn row(id: i64) -> [Value; 4] {
    let mixed = (id.wrapping_mul(7_919) ^ (id >> 3)).rem_euclid(1_000_003);
    let a = if mixed % 11 == 0 { Value::Null } else { Value::Int(mixed % 50) };
    let b = if mixed % 13 == 0 { Value::Null } else { Value::from(["percona", "mysql", "tidb"][(mixed % 3) as usize]) };
    let d = Value::Decimal(basalt_expr::Decimal::new(i128::from(mixed % 10_000 - 5_000), 2));
    [Value::Int(id), a, b, d]
}

/// Keys and values of a row and its index entry.
fn stored(table: &Table, values: &[Value; 4]) -> Vec<(UserKey, Bytes)> {
    let handle = KeyHandle::Int(values[0].as_i64().unwrap());
    let columns: Vec<_> = (1..4).map(|i| (table.columns[i].id, &table.columns[i].ty, &values[i])).collect();
    let mut bytes = Vec::new();
    encode_row(&columns, &mut bytes).unwrap();
    let parts = [IndexPart::whole(table.columns[1].ty.clone())];
    let target = IndexTarget { table: table.id, index: IndexId(2), unique: false, parts: &parts };
    let entry = encode_index_entry(target, &values[1..2], &handle).unwrap();
    vec![
        (UserKey::from(encode_row_key(table.id, &handle)), bytes.into()),
        (UserKey::from(entry.key), entry.value.into()),
    ]
}

const ROWS: i64 = 500;

fn cluster(tables: &[Arc<Table>], regions: i64) -> Arc<MemoryFanOut> {
    let mut data = BTreeMap::new();
    let mut splits = Vec::new();
    for table in tables {
        data.extend((0..ROWS).flat_map(|id| stored(table, &row(id))));
        splits
            .extend((1..regions).map(|i| UserKey::from(encode_row_key(table.id, &KeyHandle::Int(i * ROWS / regions)))));
    }
    Arc::new(MemoryFanOut { data, splits })
}

fn scan(table: &Arc<Table>) -> LogicalPlan {
    let output = table.columns.iter().map(|c| output(&c.name, c.ty.clone())).collect();
    LogicalPlan::Scan(Scan {
        table: table.clone(),
        database: "test".to_string(),
        alias: table.name.clone(),
        columns: (0..table.columns.len()).collect(),
        output,
        hints: Vec::new(),
    })
}

fn output(name: &str, ty: FieldType) -> OutputColumn {
    OutputColumn { name: name.to_string(), table: String::new(), origin: None, ty }
}

fn col(index: usize) -> Expr {
    let types =
        [FieldType::bigint().required(), FieldType::bigint(), FieldType::varchar(20), FieldType::decimal(10, 2)];
    Expr::column(index, types[index % 4].clone())
}

fn call(func: Func, args: Vec<Expr>) -> Expr {
    Expr::Call { func, args, ty: FieldType::boolean() }
}

fn filter(input: LogicalPlan, predicate: Expr) -> LogicalPlan {
    LogicalPlan::Filter { input: Box::new(input), predicate }
}

fn aggregate(
    input: LogicalPlan,
    group_by: Vec<Expr>,
    calls: Vec<(AggregateFunc, Option<Expr>, FieldType)>,
) -> LogicalPlan {
    let mut columns: Vec<_> = group_by.iter().map(|e| output("g", e.ty().clone())).collect();
    columns.extend(calls.iter().map(|(_, _, ty)| output("x", ty.clone())));
    let aggregates = calls.into_iter().map(|(func, arg, ty)| AggregateCall {
        func,
        args: arg.into_iter().collect(),
        distinct: func == AggregateFunc::CountDistinct,
        order_by: Vec::new(),
        separator: None,
        ty,
    });
    let (input, aggregates) = (Box::new(input), aggregates.collect());
    LogicalPlan::Aggregate { input, group_by, aggregates, rollup: false, output: columns }
}

struct Ran {
    rows: Vec<String>,
    scans: Vec<ScanSums>,
    text: String,
}

async fn run_plan(plan: &LogicalPlan, data: &Arc<MemoryFanOut>, dirty: Option<Arc<DirtyRows>>, pushdown: bool) -> Ran {
    let dir = std::env::temp_dir();
    let session = if pushdown { QuerySession::new(dir) } else { QuerySession::without_pushdown(dir) };
    let scans = ScanPlanner {
        fan_out: Arc::new(SharedFanOut(data.clone())),
        ts: Timestamp(1),
        reads: None,
        dirty,
        eval: Arc::default(),
        kill: Arc::new(KillSwitch::new()),
        time_max: None,
        concurrency: 2,
    };
    let planned = plan_with(plan, &scans, &VirtualTables::new(), &session, &quota(64 << 20)).await.unwrap();
    let batches: Vec<_> = run(&planned).unwrap().try_collect().await.unwrap();
    let types: Vec<_> = plan.output().into_iter().map(|c| c.ty).collect();
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells = types.iter().enumerate().map(|(i, ty)| {
                assert_eq!(*batch.column(i).data_type(), ty.arrow_type(), "column {i}");
                let mut out = Vec::new();
                match basalt_expr::cell::format_cell(ty, batch.column(i), row, &mut out).unwrap() {
                    true => String::from_utf8(out).unwrap(),
                    false => "NULL".to_string(),
                }
            });
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    let mut scans = Vec::new();
    collect_scans(&planned.physical, &mut scans);
    let text =
        lines(&planned.physical, false).iter().map(|l| format!("{} {} {}\n", l.id, l.task, l.operator_info)).collect();
    Ran { rows, scans, text }
}

fn collect_scans(plan: &Arc<dyn ExecutionPlan>, out: &mut Vec<ScanSums>) {
    if let Some(scan) = downcast::<RemoteScanExec>(plan) {
        out.push(scan.scan_metrics().sums());
    }
    plan.children().into_iter().for_each(|child| collect_scans(child, out));
}

/// Runs a plan both ways over 1 and 8 regions; gives the rows and, of the run with push-down over 8, the scans.
async fn check(plan: &LogicalPlan, tables: &[Arc<Table>], ordered: bool) -> Ran {
    let mut expected: Option<Vec<String>> = None;
    let mut last = None;
    for regions in [1, 8] {
        let data = cluster(tables, regions);
        for pushdown in [false, true] {
            let mut ran = run_plan(plan, &data, None, pushdown).await;
            if !ordered {
                ran.rows.sort();
            }
            match &expected {
                None => expected = Some(ran.rows.clone()),
                Some(expected) => assert_eq!(&ran.rows, expected, "{regions} regions, {pushdown}:\n{}", ran.text),
            }
            last = Some(ran);
        }
    }
    last.unwrap()
}

#[tokio::test]
async fn a_count_over_eight_regions_returns_eight_rows() {
    let t = table(7);
    let predicate = call(Func::Gt, vec![col(1), Expr::int(10)]);
    let calls = vec![(AggregateFunc::Count, Some(col(2)), FieldType::bigint().required())];
    let plan = aggregate(filter(scan(&t), predicate), vec![], calls);
    let ran = check(&plan, &[t], false).await;
    let count = (0..ROWS).map(row).filter(|r| r[1].as_i64().is_some_and(|a| a > 10) && !r[2].is_null()).count();
    assert_eq!(ran.rows, [count.to_string()]);
    let sums = &ran.scans[0];
    assert_eq!((sums.tasks, sums.rows_scanned, sums.rows_returned), (8, ROWS as u64, 8), "{}", ran.text);
}

#[tokio::test]
async fn count_star_reads_no_column() {
    let t = table(7);
    let plan = aggregate(scan(&t), vec![], vec![(AggregateFunc::Count, None, FieldType::bigint().required())]);
    let ran = check(&plan, &[t], false).await;
    assert_eq!(ran.rows, [ROWS.to_string()]);
    assert_eq!(ran.scans[0].rows_returned, 8, "{}", ran.text);
}

#[tokio::test]
async fn groups_sums_and_extremes_agree() {
    let t = table(7);
    let calls = vec![
        (AggregateFunc::Sum, Some(col(0)), FieldType::decimal(41, 0)),
        (AggregateFunc::Sum, Some(col(3)), FieldType::decimal(32, 2)),
        (AggregateFunc::Min, Some(col(3)), FieldType::decimal(10, 2)),
        (AggregateFunc::Max, Some(col(0)), FieldType::bigint()),
        (AggregateFunc::CountDistinct, Some(col(1)), FieldType::bigint().required()),
    ];
    let plan = aggregate(scan(&t), vec![col(1)], calls);
    let ran = check(&plan, &[t], false).await;
    assert_eq!(ran.rows.len(), 51);
}

#[tokio::test]
async fn top_n_and_limits_send_few_rows() {
    let t = table(7);
    let keys = vec![SortKey { expr: col(1), descending: false }, SortKey { expr: col(0), descending: true }];
    let sort = LogicalPlan::Sort { input: Box::new(scan(&t)), keys };
    let plan = LogicalPlan::Limit { input: Box::new(sort), offset: Some(Expr::int(2)), count: Some(Expr::int(5)) };
    let ran = check(&plan, std::slice::from_ref(&t), true).await;
    assert_eq!(ran.rows.len(), 5);
    assert!(ran.rows[0].contains("|NULL|"), "NULLs come first: {:?}", ran.rows);
    assert_eq!(ran.scans[0].rows_returned, 8 * 7, "{}", ran.text);
    let plan = LogicalPlan::Limit { input: Box::new(scan(&t)), offset: None, count: Some(Expr::int(3)) };
    let ran = run_plan(&plan, &cluster(&[t], 8), None, true).await;
    // The stream is dropped before the tasks report.
    assert!(ran.rows.len() == 3 && ran.text.contains("Limit cop fetch=3"), "{}", ran.text);
}

#[tokio::test]
async fn ranges_come_from_predicates() {
    let t = table(7);
    let between = call(
        Func::And,
        vec![call(Func::Ge, vec![col(0), Expr::int(100)]), call(Func::Lt, vec![col(0), Expr::int(110)])],
    );
    let ran = check(&filter(scan(&t), between), std::slice::from_ref(&t), false).await;
    assert_eq!((ran.rows.len(), ran.scans[0].rows_scanned), (10, 10), "{}", ran.text);
    // An index that does not cover: entries, then rows.
    let ran = check(&filter(scan(&t), call(Func::Eq, vec![col(1), Expr::int(17)])), &[t], false).await;
    assert!(ran.text.contains("IndexLookUp"), "{}", ran.text);
    assert_eq!(ran.scans[0].rows_scanned, 2 * ran.rows.len() as u64);
}

#[tokio::test]
async fn joins_and_subqueries_agree() {
    let (t, u) = (table(7), table(8));
    let join = |kind| LogicalPlan::Join {
        left: Box::new(scan(&t)),
        right: Box::new(filter(scan(&u), call(Func::Lt, vec![col(0), Expr::int(50)]))),
        kind,
        condition: Some(call(Func::Eq, vec![col(1), col(4)])),
    };
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Semi, JoinKind::Anti] {
        assert!(!check(&join(kind), &[t.clone(), u.clone()], false).await.rows.is_empty());
    }
    let subquery =
        |kind, plan, correlated, ty| Subquery { kind, plan: Box::new(plan), correlated, output: output("s", ty) };
    let correlated =
        filter(scan(&u), call(Func::Eq, vec![col(0), Expr::column(outer_column(0, 1), FieldType::bigint())]));
    let exists = subquery(SubqueryKind::Exists, correlated.clone(), true, FieldType::boolean());
    let apply = LogicalPlan::Apply { input: Box::new(scan(&t)), subqueries: vec![exists] };
    let not = call(Func::Not, vec![Expr::column(4, FieldType::boolean())]);
    let with_match =
        check(&filter(apply.clone(), Expr::column(4, FieldType::boolean())), &[t.clone(), u.clone()], false).await;
    let without = check(&filter(apply, not), &[t.clone(), u.clone()], false).await;
    assert_eq!(with_match.rows.len() + without.rows.len(), ROWS as usize);
    let counts = vec![(AggregateFunc::Count, None, FieldType::bigint().required())];
    let scalar = subquery(SubqueryKind::Scalar, aggregate(correlated, vec![], counts), true, FieldType::bigint());
    let apply = LogicalPlan::Apply { input: Box::new(scan(&t)), subqueries: vec![scalar] };
    let ran = check(&apply, &[t, u], false).await;
    assert_eq!(ran.rows.len(), ROWS as usize);
    assert!(ran.rows.iter().any(|r| r.ends_with("|0")) && ran.rows.iter().any(|r| r.ends_with("|1")));
}

#[tokio::test]
async fn own_rows_take_part_like_stored_ones() {
    let t = table(7);
    let mut dirty: Vec<(UserKey, Option<Bytes>)> = Vec::new();
    for id in [3, 400, 10_000] {
        let mut values = row(id);
        if id < ROWS {
            dirty.extend(stored(&t, &values).into_iter().map(|(key, _)| (key, None)));
        }
        values[1] = Value::Int(17);
        dirty.extend(stored(&t, &values).into_iter().map(|(key, value)| (key, Some(value))));
    }
    let deleted = row(5);
    dirty.extend(stored(&t, &deleted).into_iter().map(|(key, _)| (key, None)));
    let dirty = Some(Arc::new(DirtyRows::new(dirty)));
    let data = cluster(std::slice::from_ref(&t), 8);
    let count = vec![(AggregateFunc::Count, None, FieldType::bigint().required())];
    let ran = run_plan(&aggregate(scan(&t), vec![], count), &data, dirty.clone(), true).await;
    assert_eq!(ran.rows, [ROWS.to_string()], "one more, one less");
    let by_index = filter(scan(&t), call(Func::Eq, vec![col(1), Expr::int(17)]));
    let ran = run_plan(&by_index, &data, dirty, true).await;
    for id in ["3|", "400|", "10000|"] {
        assert!(ran.rows.iter().any(|row| row.starts_with(id)), "{id} in {:?}", ran.rows);
    }
}

/// Half of 20,000 rows lie under one value of the index, and a few under another; one row of each is the transaction's own.
#[tokio::test]
async fn too_much_under_an_index_is_read_from_the_table() {
    let t = table(7);
    let hot = Vec::from_iter((0..20_000).map(|id| {
        let a = if id % 2 == 0 { 17 } else { id % 1_000 };
        [Value::Int(id), Value::Int(a), Value::from("x"), Value::Null]
    }));
    let data = hot.iter().flat_map(|row| stored(&t, row)).collect();
    let splits = vec![UserKey::from(encode_row_key(t.id, &KeyHandle::Int(9_000)))];
    let data = Arc::new(MemoryFanOut { data, splits });
    let (moved, deleted, changed) = (&mut hot[3].clone(), hot[4].clone(), &mut hot[12_000].clone());
    let gone = [moved.clone(), deleted].into_iter().flat_map(|row| stored(&t, &row)).map(|(key, _)| (key, None));
    let mut dirty = Vec::from_iter(gone);
    (moved[1], changed[2]) = (Value::Int(17), Value::from("y"));
    dirty.extend([moved, changed].into_iter().flat_map(|row| stored(&t, row)).map(|(key, value)| (key, Some(value))));
    let dirty = Arc::new(DirtyRows::new(dirty));
    let sum = |key| {
        let calls = vec![
            (AggregateFunc::Count, None, FieldType::bigint().required()),
            (AggregateFunc::Sum, Some(col(0)), FieldType::decimal(41, 0)),
            (AggregateFunc::Max, Some(col(2)), FieldType::varchar(20)),
        ];
        aggregate(filter(scan(&t), call(Func::Eq, vec![col(1), Expr::int(key)])), vec![], calls)
    };
    let even: i64 = (0..20_000).step_by(2).sum();
    for pushdown in [false, true] {
        let ran = run_plan(&sum(17), &data, None, pushdown).await;
        assert_eq!((&*ran.rows[0], ran.scans[0].is_index_left), (&*format!("10020|{}|x", even + 190_340), true));
        assert!(ran.scans[0].rows_returned < if pushdown { 5_000 } else { 50_000 }, "{:?}", ran.scans[0]);
        let ran = run_plan(&sum(17), &data, Some(dirty.clone()), pushdown).await;
        assert_eq!((&*ran.rows[0], ran.scans[0].is_index_left), (&*format!("10020|{}|y", even + 190_340 - 1), true));
        let ran = run_plan(&sum(19), &data, Some(dirty.clone()), pushdown).await;
        assert_eq!((&*ran.rows[0], ran.scans[0].is_index_left), ("20|190380|x", false));
    }
}

#[tokio::test]
async fn averages_strings_and_functions_agree() {
    let t = table(7);
    let calls = vec![
        (AggregateFunc::Avg, Some(col(0)), FieldType::decimal(23, 4)),
        (AggregateFunc::Avg, Some(col(3)), FieldType::decimal(14, 6)),
        (AggregateFunc::Count, Some(col(1)), FieldType::bigint().required()),
        (AggregateFunc::Max, Some(col(2)), FieldType::varchar(20)),
        (AggregateFunc::BitXor, Some(col(1)), FieldType::bigint_unsigned()),
    ];
    let percona = call(Func::Ne, vec![col(2), Expr::string("percona")]);
    let plan = aggregate(filter(scan(&t), percona), vec![col(2)], calls);
    let ran = check(&plan, std::slice::from_ref(&t), false).await;
    assert_eq!(ran.rows.len(), 2, "{:?}", ran.rows);
    assert!(ran.rows[0].starts_with("mysql|") && ran.rows[1].starts_with("tidb|"));
    assert_eq!(ran.scans[0].rows_returned, 16, "{}", ran.text);
    let length = Expr::Call { func: Func::CharLength, args: vec![col(2)], ty: FieldType::bigint() };
    let output = vec![output("n", FieldType::bigint()), output("b", FieldType::varchar(20))];
    let plan = LogicalPlan::Project { input: Box::new(scan(&t)), exprs: vec![length, col(2)], output };
    let ran = check(&LogicalPlan::Distinct { input: Box::new(plan) }, &[t], false).await;
    assert_eq!(ran.rows, ["4|tidb", "5|mysql", "7|percona", "NULL|NULL"]);
}

#[tokio::test]
async fn explain_shows_what_storage_runs() {
    let t = table(7);
    let predicate = call(
        Func::And,
        vec![
            call(
                Func::Gt,
                vec![
                    col(3),
                    Expr::literal(Value::Decimal(basalt_expr::Decimal::new(1_000, 2))).cast(FieldType::decimal(10, 2)),
                ],
            ),
            call(Func::Eq, vec![col(2), Expr::string("percona")]),
        ],
    );
    let calls = vec![(AggregateFunc::Count, Some(col(1)), FieldType::bigint().required())];
    let plan = aggregate(filter(scan(&t), predicate), vec![], calls);
    let ran = run_plan(&plan, &cluster(&[t], 8), None, true).await;
    let shown: Vec<_> = ran.text.lines().collect();
    assert!(shown[0].starts_with("HashAgg root"), "{}", ran.text);
    assert!(shown[1].starts_with("└─TableReader root"), "{}", ran.text);
    assert!(shown[2].contains("HashAgg(partial) cop"), "{}", ran.text);
    assert!(ran.text.contains("(b = \"percona\")"), "{}", ran.text);
    assert!(shown.last().unwrap().contains("TableFullScan cop full scan"), "{}", ran.text);
}

fn project(input: LogicalPlan, exprs: Vec<Expr>) -> LogicalPlan {
    let columns = exprs.iter().map(|e| output("p", e.ty().clone())).collect();
    LogicalPlan::Project { input: Box::new(input), exprs, output: columns }
}

fn with_subquery(
    input: LogicalPlan,
    kind: SubqueryKind,
    plan: LogicalPlan,
    correlated: bool,
    ty: FieldType,
) -> LogicalPlan {
    let subquery = Subquery { kind, plan: Box::new(plan), correlated, output: output("s", ty) };
    LogicalPlan::Apply { input: Box::new(input), subqueries: vec![subquery] }
}

#[tokio::test]
async fn subqueries_as_values_have_three_results() {
    let (t, u) = (table(7), table(8));
    let tables = [t.clone(), u.clone()];
    let outer = |index| Expr::column(outer_column(0, index), FieldType::bigint());
    // (SELECT u.d FROM u WHERE u.id = t.a), one row or none for each.
    let one = project(filter(scan(&u), call(Func::Eq, vec![col(0), outer(1)])), vec![col(3)]);
    let plan = with_subquery(scan(&t), SubqueryKind::Scalar, one, true, FieldType::decimal(10, 2));
    let ran = check(&plan, &tables, false).await;
    assert_eq!(ran.rows.len(), ROWS as usize);
    assert!(ran.rows.iter().all(|r| r.contains("|NULL|") || !r.ends_with("|NULL")), "no match only for NULL");
    // t.a IN (SELECT u.a FROM u WHERE u.id < 100): u.a has NULLs, so nothing is surely absent.
    let some = project(filter(scan(&u), call(Func::Lt, vec![col(0), Expr::int(100)])), vec![col(1)]);
    let kind = SubqueryKind::In { operand: col(1) };
    let plan = with_subquery(scan(&t), kind.clone(), some.clone(), false, FieldType::boolean());
    let ran = check(&plan, &tables, false).await;
    assert!(ran.rows.iter().any(|r| r.ends_with("|1")) && ran.rows.iter().any(|r| r.ends_with("|NULL")));
    assert!(!ran.rows.iter().any(|r| r.ends_with("|0")));
    let result = Expr::column(4, FieldType::boolean());
    let member = check(&filter(plan.clone(), result.clone()), &tables, false).await.rows.len();
    assert!(member > 0 && member < ROWS as usize);
    let absent = check(&filter(plan, call(Func::Not, vec![result])), &tables, false).await;
    assert_eq!(absent.rows.len(), 0);
    // t.id > ALL (SELECT u.id FROM u WHERE u.id < 100)
    let some = project(filter(scan(&u), call(Func::Lt, vec![col(0), Expr::int(100)])), vec![col(0)]);
    let kind = SubqueryKind::Quantified { operand: col(0), op: CompareOp::Gt, all: true };
    let plan = with_subquery(scan(&t), kind, some, false, FieldType::boolean());
    let ran = check(&plan, &tables, false).await;
    assert_eq!(ran.rows.iter().filter(|r| r.ends_with("|1")).count(), ROWS as usize - 100);
}

#[tokio::test]
async fn two_rows_where_one_is_needed_are_error_1242() {
    let (t, u) = (table(7), table(8));
    let data = cluster(&[t.clone(), u.clone()], 2);
    let session = QuerySession::new(std::env::temp_dir());
    let outer = Expr::column(outer_column(0, 1), FieldType::bigint());
    let correlated = project(filter(scan(&u), call(Func::Eq, vec![col(1), outer])), vec![col(0)]);
    let uncorrelated = project(scan(&u), vec![col(0)]);
    for (plan, is_correlated) in [(correlated, true), (uncorrelated, false)] {
        let plan = with_subquery(scan(&t), SubqueryKind::Scalar, plan, is_correlated, FieldType::bigint());
        let scans = ScanPlanner {
            fan_out: Arc::new(SharedFanOut(data.clone())),
            ts: Timestamp(1),
            reads: None,
            dirty: None,
            eval: Arc::default(),
            kill: Arc::new(KillSwitch::new()),
            time_max: None,
            concurrency: 2,
        };
        let planned = plan_with(&plan, &scans, &VirtualTables::new(), &session, &quota(64 << 20)).await.unwrap();
        let result: Result<Vec<_>> = run(&planned).unwrap().try_collect().await;
        assert_eq!(result.unwrap_err().code(), 1242, "correlated: {is_correlated}");
    }
}

#[tokio::test]
async fn set_operations_windows_and_recursion_agree() {
    let (t, u) = (table(7), table(8));
    let tables = [t.clone(), u.clone()];
    let side = |table: &Arc<Table>, below: i64| {
        project(filter(scan(table), call(Func::Lt, vec![col(0), Expr::int(below)])), vec![col(1), col(2)])
    };
    let columns = vec![output("a", FieldType::bigint()), output("b", FieldType::varchar(20))];
    for kind in [SetKind::Union, SetKind::Intersect, SetKind::Except] {
        let inputs = vec![side(&t, 60), side(&u, 30)];
        let plan = LogicalPlan::SetOperation { kind, all: false, inputs, output: columns.clone() };
        let ran = check(&plan, &tables, false).await;
        assert!(!ran.rows.is_empty(), "{kind:?}");
    }
    let window = |func, args: Vec<Expr>, ty: FieldType| WindowCall {
        func,
        args,
        partition_by: vec![col(2)],
        order_by: vec![SortKey { expr: col(0), descending: false }],
        frame: None,
        ty,
    };
    let calls = vec![
        window(WindowFunc::RowNumber, vec![], FieldType::bigint_unsigned().required()),
        window(WindowFunc::Aggregate(AggregateFunc::Sum), vec![col(0)], FieldType::decimal(41, 0)),
        window(WindowFunc::Lag, vec![col(1), Expr::int(1)], FieldType::bigint()),
    ];
    let mut columns: Vec<_> = scan(&t).output();
    columns.extend(calls.iter().map(|c| output("w", c.ty.clone())));
    let plan = LogicalPlan::Window { input: Box::new(scan(&t)), calls, output: columns };
    assert_eq!(check(&plan, &tables, false).await.rows.len(), ROWS as usize);
    // WITH RECURSIVE n AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50)
    let number = vec![output("n", FieldType::bigint())];
    let base = LogicalPlan::Values { rows: vec![vec![Expr::int(1)]], output: number.clone() };
    let work = LogicalPlan::WorkTable { name: "n".to_string(), output: number };
    let n = Expr::column(0, FieldType::bigint());
    let next = Expr::Call { func: Func::Add, args: vec![n.clone(), Expr::int(1)], ty: FieldType::bigint() };
    let step = project(filter(work, call(Func::Lt, vec![n, Expr::int(50)])), vec![next]);
    let plan = LogicalPlan::RecursiveCte {
        name: "n".to_string(),
        base: Box::new(base),
        step: Box::new(step),
        distinct: false,
    };
    assert_eq!(check(&plan, &tables, false).await.rows.len(), 50);
}

fn any_predicate() -> impl Strategy<Value = Expr> {
    let column = prop_oneof![Just(0usize), Just(1)];
    let op = prop_oneof![Just(Func::Eq), Just(Func::Ne), Just(Func::Lt), Just(Func::Ge), Just(Func::NullSafeEq)];
    let compare =
        (column, op, -5i64..600).prop_map(|(column, op, value)| call(op, vec![col(column), Expr::int(value)]));
    let text = prop_oneof![Just("percona"), Just("tidb "), Just("x")];
    let leaf = prop_oneof![
        4 => compare,
        1 => text.prop_map(|text| call(Func::Eq, vec![col(2), Expr::string(text)])),
        1 => Just(call(Func::IsNull, vec![col(2)])),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let pair = (prop_oneof![Just(Func::And), Just(Func::Or)], inner.clone(), inner.clone());
        prop_oneof![
            3 => pair.prop_map(|(func, left, right)| call(func, vec![left, right])),
            1 => inner.prop_map(|arg| call(Func::Not, vec![arg])),
        ]
    })
}

fn any_aggregates() -> impl Strategy<Value = Vec<(AggregateFunc, Option<Expr>, FieldType)>> {
    let bigint = || FieldType::bigint().required();
    let one = prop_oneof![
        Just((AggregateFunc::Count, None, bigint())),
        Just((AggregateFunc::Count, Some(col(2)), bigint())),
        Just((AggregateFunc::CountDistinct, Some(col(2)), bigint())),
        Just((AggregateFunc::Sum, Some(col(1)), FieldType::decimal(41, 0))),
        Just((AggregateFunc::Avg, Some(col(3)), FieldType::decimal(14, 6))),
        Just((AggregateFunc::Min, Some(col(2)), FieldType::varchar(20))),
        Just((AggregateFunc::Max, Some(col(3)), FieldType::decimal(10, 2))),
    ];
    proptest::collection::vec(one, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn push_down_changes_no_result(
        predicate in any_predicate(),
        groups in proptest::sample::subsequence(vec![1usize, 2, 3], 0..3),
        aggregates in proptest::option::of(any_aggregates()),
        top in proptest::option::of((0usize..4, any::<bool>(), 0i64..5, 1i64..20)),
    ) {
        let t = table(7);
        let mut plan = filter(scan(&t), predicate);
        if let Some(aggregates) = aggregates {
            plan = aggregate(plan, groups.iter().map(|&g| col(g)).collect(), aggregates);
        }
        if let Some((key, descending, offset, count)) = top {
            // Every column is a key, so that the order is total.
            let columns = plan.output();
            let width = columns.len();
            let keys = (0..width).map(|i| SortKey {
                expr: Expr::column((i + key) % width, columns[(i + key) % width].ty.clone()),
                descending,
            });
            plan = LogicalPlan::Sort { keys: keys.collect(), input: Box::new(plan) };
            let (offset, count) = (Some(Expr::int(offset)), Some(Expr::int(count)));
            plan = LogicalPlan::Limit { input: Box::new(plan), offset, count };
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&plan, &[t], top.is_some()));
    }
}
