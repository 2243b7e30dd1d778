//! Requests against a region in the memory engine.

use crate::config::Config;
use crate::handler::{CoprocessorHandler, Threads};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use basalt_common::env::Env;
use basalt_common::table_key::{row_key, rows_range};
use basalt_common::{Epoch, KeyRange, Region, RegionId, StoreId, TableId, Timestamp, UserKey};
use basalt_expr::fragment::{self, FRAGMENT_VERSION, FragmentScanExec};
use basalt_expr::row::{ScanColumn, encode_row};
use basalt_expr::scan_decoder::ScanDecoder;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use basalt_proto::coprocessor::{
    self as pb, CoprocessorRequest, CoprocessorResponse, ScanSpec, TableScan, scan_spec::Source,
};
use basalt_storage::collected::Collected;
use basalt_storage::engine::memory::MemoryEngine;
use basalt_storage::engine::{Cf, Engine, Modify};
use basalt_storage::mvcc::{Lock, LockKind, Write, WriteKind};
use basalt_storage::replicated::RegionSnapshot;
use basalt_storage::service::coprocessor::Coprocessor;
use datafusion_expr::Operator;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, lit};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion_physical_plan::filter::FilterExec;
use futures::StreamExt;
use std::sync::Arc;

const TABLE: TableId = TableId(9);
const ROWS: i64 = 1_000;

/// Rows `(id, id % 10)`, committed at 10; every fifth has an older version.
fn region() -> (MemoryEngine, RegionSnapshot) {
    let engine = MemoryEngine::new();
    let mut batch = Vec::new();
    let mut put = |id: i64, value: i64, start: u64| {
        let mut bytes = Vec::new();
        encode_row(&[(2, &FieldType::bigint(), &Value::Int(value))], &mut bytes).unwrap();
        let write = Write::new(WriteKind::Put, Timestamp(start), Some(bytes.into()));
        let key = UserKey::from(row_key(TABLE, id)).encode().with_ts(Timestamp(start + 1));
        batch.push(Modify::Put { cf: Cf::Write, key: key.into(), value: write.encode() });
    };
    for id in 0..ROWS {
        if id % 5 == 0 {
            put(id, 99, 3);
        }
        put(id, id % 10, 9);
    }
    engine.write(&batch).unwrap();
    let snapshot = snapshot(&engine);
    (engine, snapshot)
}

fn snapshot(engine: &MemoryEngine) -> RegionSnapshot {
    let region = Region { id: RegionId(2), range: rows_range(TABLE), epoch: Epoch::default(), peers: Vec::new() };
    RegionSnapshot {
        data: engine.snapshot(),
        region: Arc::new(region),
        term: 1,
        max_ts_synced: true,
        collected: Collected::default(),
    }
}

fn spec(columns: &[ScanColumn]) -> ScanSpec {
    let source = TableScan { table_id: TABLE.0, primary_key_columns: vec![1], integer_handle: true };
    ScanSpec { source: Some(Source::Table(source)), columns: columns.iter().map(ScanColumn::to_proto).collect() }
}

fn id_and_value() -> Vec<ScanColumn> {
    let id = ScanColumn { is_handle: true, ..ScanColumn::new(1, FieldType::bigint().required()) };
    vec![id, ScanColumn::new(2, FieldType::bigint())]
}

fn request(columns: &[ScanColumn], range: &KeyRange) -> CoprocessorRequest {
    let range = pb::KeyRange { start_key: range.start.0.clone(), end_key: range.end.0.clone() };
    CoprocessorRequest { ranges: vec![range], start_ts: 20, scan: Some(spec(columns)), ..Default::default() }
}

async fn run(request: CoprocessorRequest, snapshot: RegionSnapshot) -> (Vec<RecordBatch>, CoprocessorResponse) {
    let env = Env::simulated(1, 0);
    let handler = CoprocessorHandler::new(StoreId(1), env, &Config::default(), Threads::Current).unwrap();
    let mut responses: Vec<_> = handler.handle(request, snapshot).collect().await;
    let last = responses.pop().unwrap();
    let decode = |r: &CoprocessorResponse| StreamReader::try_new(&r.batch[..], None).unwrap().next().unwrap().unwrap();
    (responses.iter().map(decode).collect(), last)
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test]
async fn bare_scans_have_limits_directions_and_timestamps() {
    let (_, snapshot) = region();
    let all = request(&id_and_value(), &rows_range(TABLE));
    let (batches, last) = run(all.clone(), snapshot.clone()).await;
    assert_eq!(ids(&batches), (0..ROWS).collect::<Vec<_>>());
    let summary = last.summary.unwrap();
    assert_eq!((summary.rows_scanned, summary.rows_returned, summary.store_id), (1_000, 1_000, 1));
    let backward = CoprocessorRequest { reverse: true, limit: 3, ..all.clone() };
    assert_eq!(ids(&run(backward, snapshot.clone()).await.0), [999, 998, 997]);
    let old = CoprocessorRequest { start_ts: 5, ..all };
    let (batches, _) = run(old, snapshot).await;
    assert_eq!(ids(&batches).len(), 200);
    assert!(batches[0].column(1).as_primitive::<Int64Type>().iter().all(|v| v == Some(99)));
}

#[tokio::test]
async fn pages_put_together_are_the_whole() {
    let (_, snapshot) = region();
    let mut request = request(&id_and_value(), &rows_range(TABLE));
    request.page_bytes_max = 2_000;
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let (batches, last) = run(request.clone(), snapshot.clone()).await;
        found.extend(ids(&batches));
        pages += 1;
        match last.resume_from {
            Some(rest) => request.ranges = vec![rest],
            None => break,
        }
    }
    assert_eq!(found, (0..ROWS).collect::<Vec<_>>());
    assert!(pages > 10, "{pages}");
}

#[tokio::test]
async fn a_lock_ends_the_scan_before_it() {
    let (engine, _) = region();
    let key = UserKey::from(row_key(TABLE, 500));
    let lock = Lock::new(LockKind::Put, key.clone(), Timestamp(15), 3_000);
    let modify = Modify::Put { cf: Cf::Lock, key: key.encode().into_vec().into(), value: lock.encode() };
    engine.write(&[modify]).unwrap();
    let scan = request(&id_and_value(), &rows_range(TABLE));
    let (batches, last) = run(scan.clone(), snapshot(&engine)).await;
    assert_eq!(ids(&batches), (0..500).collect::<Vec<_>>());
    assert_eq!((last.locked.unwrap().start_ts, last.resume_from.unwrap().start_key), (15, key.0.clone()));
    let context = pb::CoprocessorContext { resolved_locks: vec![15], ..Default::default() };
    let (batches, last) = run(CoprocessorRequest { context: Some(context), ..scan }, snapshot(&engine)).await;
    assert_eq!((ids(&batches).len(), last.locked), (1_000, None));
}

#[tokio::test]
async fn points_are_read_and_missing_ones_are_not() {
    let (_, snapshot) = region();
    let mut request = request(&id_and_value(), &rows_range(TABLE));
    let point = |id: i64| {
        let key = UserKey::from(row_key(TABLE, id));
        pb::KeyRange { end_key: key.successor().0, start_key: key.0 }
    };
    request.ranges = vec![point(3), point(5_000), point(7)];
    assert_eq!(ids(&run(request, snapshot).await.0), [3, 7]);
}

#[tokio::test]
async fn a_count_without_columns_and_a_filtered_count_give_one_row() {
    let (_, snapshot) = region();
    let fragment = |schema: arrow::datatypes::SchemaRef, filtered: bool| -> Arc<dyn ExecutionPlan> {
        let mut input: Arc<dyn ExecutionPlan> = Arc::new(FragmentScanExec::new(schema.clone()));
        if filtered {
            let predicate = BinaryExpr::new(Arc::new(Column::new("v", 0)), Operator::Gt, lit(6i64));
            input = Arc::new(FilterExec::try_new(Arc::new(predicate), input).unwrap());
        }
        let count = AggregateExprBuilder::new(datafusion_functions_aggregate::count::count_udaf(), vec![lit(1i64)]);
        let count = Arc::new(count.schema(schema.clone()).alias("n").build().unwrap());
        let groups = PhysicalGroupBy::new_single(Vec::new());
        let partial = AggregateMode::Partial;
        Arc::new(AggregateExec::try_new(partial, groups, vec![count], vec![None], input, schema).unwrap())
    };
    for (columns, filtered, expected) in [(Vec::new(), false, 1_000), (vec![id_and_value().remove(1)], true, 300)] {
        let decoder = ScanDecoder::new(&spec(&columns), 1).unwrap();
        let renamed = decoder.schema().fields().iter().map(|f| f.as_ref().clone().with_name("v")).collect::<Vec<_>>();
        let plan = fragment(Arc::new(arrow::datatypes::Schema::new(renamed)), filtered);
        let request = CoprocessorRequest {
            fragment: fragment::encode(&plan).unwrap(),
            fragment_version: FRAGMENT_VERSION,
            ..request(&columns, &rows_range(TABLE))
        };
        let (batches, last) = run(request.clone(), snapshot.clone()).await;
        assert_eq!(last.other_error, "");
        assert_eq!((ids(&batches), batches[0].column(0).data_type()), (vec![expected], &DataType::Int64));
        let unknown = CoprocessorRequest { fragment_version: 1, ..request };
        assert!(run(unknown, snapshot.clone()).await.1.other_error.contains("version"));
    }
}

#[tokio::test]
async fn keys_of_other_regions_are_refused() {
    let (_, snapshot) = region();
    let (_, last) = run(request(&id_and_value(), &rows_range(TableId(10))), snapshot).await;
    assert!(last.region_error.is_some());
}
