//! The leaf of query plans: a table's or an index's rows, read by storage, together with whatever part of the plan was
//! pushed down to it.
//!
//! ```text
//! RemoteScanExec ─ scan      what to decode, which ranges, as of when, the transaction's own rows in them
//!                ─ fragment  FilterExec … FragmentScanExec: runs on every region; starts as the bare leaf
//! ```
//! It puts out one partition: the tasks of all regions as they answer, in no order unless asked ([`RemoteScanExec::in_order`]). What is pushed down gives partial
//! results a region, so whatever must see all rows at once (a final aggregate, a sort, a limit) stays above.
//!
//! The transaction's own rows never travel: their keys are cut out of the ranges, and the same fragment runs over them
//! here, as one more task. So push-down is the same inside a transaction that has written.
//!
//! A look-up ([`Access::Lookup`]) reads entries of an index, and rows by the handles in them: see [`super::lookup`].

use super::fan_out::{FanOut, ScanEvent, ScanRequest};
use super::scan_metrics::ScanMetrics;
use super::{lookup, own_rows};
use crate::context::DirtyRows;
use crate::error::{Error, Result};
use crate::memory::measured::received;
use crate::server::kill::KillSwitch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use basalt_client::ReadSet;
use basalt_common::{KeyRange, TableId, Timestamp};
use basalt_expr::EvalContext;
use basalt_expr::fragment::{self, FRAGMENT_BYTES_MAX, FragmentScanExec};
use basalt_proto::coprocessor::ScanSpec;
use bytes::Bytes;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{Constraints, DataFusionError, Result as DfResult, Statistics};
use datafusion_execution::runtime_env::RuntimeEnv;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion_physical_plan::limit::LocalLimitExec;
use datafusion_physical_plan::statistics::StatisticsArgs;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Which keys a scan reads.
#[derive(Debug, Clone)]
pub enum Access {
    /// Ranges of the row keys or of one index that holds all that is wanted.
    Ranges(Vec<KeyRange>),
    /// Entries of an index, then their rows.
    Lookup {
        /// Decodes the handles from entries.
        index: ScanSpec,
        /// Ranges of the index.
        ranges: Vec<KeyRange>,
        /// Whether the table may be scanned instead when the ranges turn out to hold too much; not if the statement
        /// names the index.
        may_scan: bool,
    },
}

/// What a scan reads; shared by all forms that its node takes during optimization.
pub struct ScanSource {
    /// What is read, for EXPLAIN: `table:t`, `table:t, index:i(a, b)`.
    pub access_object: String,
    /// How it is read, for EXPLAIN: `range: (10, +inf)`.
    pub access_info: String,
    /// What to decode of rows (of entries, when an index alone is read).
    pub spec: ScanSpec,
    /// Which keys.
    pub access: Access,
    /// Whether an index is read, alone or before the rows.
    pub is_index: bool,
    /// The table, to make row keys of handles.
    pub table_id: TableId,
    /// As of when.
    pub ts: Timestamp,
    /// Told of what is read.
    pub reads: Option<Arc<ReadSet>>,
    /// The transaction's own writes.
    pub dirty: Option<Arc<DirtyRows>>,
    /// `EvalContext::encode` of the statement.
    pub eval_context: Bytes,
    /// The same, for what runs here.
    pub eval: Arc<EvalContext>,
    /// Sends requests.
    pub fan_out: Arc<dyn FanOut>,
    /// Regions read at a time.
    pub concurrency: usize,
    /// Ends the scan with the statement.
    pub kill: Arc<KillSwitch>,
    /// Rows that the scan is believed to give; inexact.
    pub rows_estimated: Option<usize>,
}

/// A scan and what was pushed down to it.
pub struct RemoteScanExec {
    source: Arc<ScanSource>,
    fragment: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: Arc<ScanMetrics>,
    /// Whether regions are given in the order of their keys.
    keep_order: bool,
}

/// What holds for the rows of every region and so for all of them together: columns that a filter or a projection made
/// constant or equal. Sorts above were planned with that knowledge; regions' rows come in no order. What DataFusion
/// calls constant within a partition (an expression over constants) stays: no constant of a fragment differs between
/// regions, and the scan is one partition.
fn known_of_rows(fragment: &Arc<dyn ExecutionPlan>) -> EquivalenceProperties {
    let mut known = fragment.properties().eq_properties.clone().with_constraints(Constraints::default());
    known.clear_orderings();
    known
}

impl RemoteScanExec {
    /// A bare scan that puts out `schema`.
    pub fn new(source: Arc<ScanSource>, schema: SchemaRef) -> Self {
        Self::with_fragment(source, Arc::new(FragmentScanExec::new(schema)), Arc::default())
    }

    fn with_fragment(source: Arc<ScanSource>, fragment: Arc<dyn ExecutionPlan>, metrics: Arc<ScanMetrics>) -> Self {
        let properties = PlanProperties::new(
            known_of_rows(&fragment),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        RemoteScanExec { source, fragment, properties: Arc::new(properties), metrics, keep_order: false }
    }

    /// The same scan with another fragment, if storage can run it: what is too long to be sent stays above the scan.
    pub fn with_pushed(&self, fragment: Arc<dyn ExecutionPlan>) -> Option<RemoteScanExec> {
        fragment::encode(&fragment).ok().filter(|bytes| bytes.len() <= FRAGMENT_BYTES_MAX)?;
        Some(Self::with_fragment(self.source.clone(), fragment, self.metrics.clone()))
    }

    /// The same scan, which gives its regions in the order of their keys.
    pub fn in_order(&self) -> RemoteScanExec {
        let scan = Self::with_fragment(self.source.clone(), self.fragment.clone(), self.metrics.clone());
        RemoteScanExec { keep_order: true, ..scan }
    }

    /// What storage runs.
    pub fn fragment(&self) -> &Arc<dyn ExecutionPlan> {
        &self.fragment
    }

    /// What is read.
    pub fn source(&self) -> &Arc<ScanSource> {
        &self.source
    }

    /// What the tasks reported.
    pub fn scan_metrics(&self) -> &Arc<ScanMetrics> {
        &self.metrics
    }

    fn is_bare(&self) -> bool {
        self.fragment.children().is_empty()
    }

    /// The fragment's bytes and the limit of a bare scan: a limit alone needs no fragment.
    fn encoded(&self) -> DfResult<(Bytes, u64)> {
        if self.is_bare() {
            return Ok((Bytes::new(), 0));
        }
        if let Some(limit) = downcast::<LocalLimitExec>(&self.fragment)
            && limit.input().children().is_empty()
        {
            return Ok((Bytes::new(), limit.fetch() as u64));
        }
        Ok((fragment::encode(&self.fragment)?, 0))
    }
}

/// A plan node as its own type.
pub fn downcast<T: ExecutionPlan>(plan: &Arc<dyn ExecutionPlan>) -> Option<&T> {
    (plan.as_ref() as &dyn Any).downcast_ref::<T>()
}

impl fmt::Debug for RemoteScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteScanExec({}, {:?})", self.source.access_object, self.fragment)
    }
}

impl DisplayAs for RemoteScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteScanExec: {}, fragment=[", self.source.access_object)?;
        let mut node = Some(&self.fragment);
        let mut separator = "";
        while let Some(plan) = node {
            write!(f, "{separator}")?;
            plan.fmt_as(DisplayFormatType::Default, f)?;
            separator = " <- ";
            node = plan.children().first().copied();
        }
        write!(f, "]")
    }
}

impl ExecutionPlan for RemoteScanExec {
    fn name(&self) -> &'static str {
        "RemoteScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> DfResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if let (true, Some(rows)) = (self.is_bare(), self.source.rows_estimated) {
            statistics.num_rows = datafusion_common::stats::Precision::Inexact(rows);
        }
        Ok(Arc::new(statistics))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let (encoded, limit) = self.encoded()?;
        let reader = Reader {
            source: self.source.clone(),
            fragment: self.fragment.clone(),
            encoded,
            limit,
            metrics: self.metrics.clone(),
            runtime: context.runtime_env(),
            batch_rows: context.session_config().batch_size(),
            keep_order: self.keep_order,
        };
        self.metrics.start();
        let schema = self.schema();
        let metrics = self.metrics.clone();
        let batches = reader.read().map_err(DataFusionError::from).inspect(move |batch| {
            if let Ok(batch) = batch {
                metrics.add_output(batch.num_rows());
            }
        });
        let expected = schema.clone();
        let batches = batches.map(move |batch| fragment::conform(&batch?, &expected));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// What a scan gives: batches of the fragment's rows.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Everything one run of a scan needs.
pub struct Reader {
    pub(super) source: Arc<ScanSource>,
    fragment: Arc<dyn ExecutionPlan>,
    encoded: Bytes,
    limit: u64,
    pub(super) metrics: Arc<ScanMetrics>,
    runtime: Arc<RuntimeEnv>,
    batch_rows: usize,
    keep_order: bool,
}

impl Reader {
    fn read(self) -> Batches {
        let kill = self.source.kill.clone();
        let batches = match &self.source.access {
            Access::Ranges(ranges) => self.ranges(ranges),
            Access::Lookup { index, ranges, may_scan } => {
                let (index, ranges, may_scan) = (index.clone(), ranges.clone(), *may_scan);
                lookup::read(self, index, ranges, may_scan)
            }
        };
        until_killed(batches, kill)
    }

    /// Committed rows of `ranges` from storage, and the transaction's own in them.
    pub(super) fn ranges(&self, ranges: &[KeyRange]) -> Batches {
        let split = own_rows::split(ranges, self.source.dirty.as_deref());
        let remote = self.remote(&self.source.spec, split.ranges, self.encoded.clone(), self.limit);
        if split.own.is_empty() {
            return remote;
        }
        let own = own_rows::run(
            &self.fragment,
            own_rows::decode(&self.source.spec, &split.own),
            self.runtime.clone(),
            self.batch_rows,
        );
        remote.chain(own).boxed()
    }

    /// Committed rows of `ranges`, as `spec` and a fragment say.
    pub(super) fn remote(&self, spec: &ScanSpec, ranges: Vec<KeyRange>, fragment: Bytes, limit: u64) -> Batches {
        if ranges.is_empty() {
            return futures::stream::empty().boxed();
        }
        if let Some(reads) = &self.source.reads {
            ranges.iter().for_each(|range| reads.note(range.clone(), self.source.ts));
        }
        let request = ScanRequest {
            spec: spec.clone(),
            ranges,
            ts: self.source.ts,
            fragment,
            limit,
            eval_context: self.source.eval_context.clone(),
            concurrency: self.source.concurrency,
            keep_order: self.keep_order,
        };
        let metrics = self.metrics.clone();
        let warnings = self.source.eval.warnings.clone();
        self.source
            .fan_out
            .run(request)
            .try_filter_map(move |event| {
                let result = match event {
                    ScanEvent::Batch(bytes) => decode(&bytes).map(Some),
                    ScanEvent::TaskDone(summary) => {
                        metrics.task_done(&summary);
                        for warning in summary.warnings {
                            warnings.push(warning.code as u16, warning.message);
                        }
                        Ok(None)
                    }
                };
                futures::future::ready(result)
            })
            .boxed()
    }
}

/// Ends the rows with an error once the statement is killed, even while a store does not answer.
fn until_killed(batches: Batches, kill: Arc<KillSwitch>) -> Batches {
    let bell = kill.clone();
    let rung = async move { bell.interrupted().await };
    let last = futures::stream::once(async move { kill.is_interrupted() })
        .filter_map(|killed| futures::future::ready(killed.then_some(Err(Error::Killed))));
    batches.take_until(rung).chain(last).boxed()
}

fn decode(bytes: &Bytes) -> Result<RecordBatch> {
    // The message was allocated by whoever received it; its buffers are freed with the batch.
    received(bytes.len())?;
    let mut reader = StreamReader::try_new(std::io::Cursor::new(bytes), None).map_err(malformed)?;
    match reader.next() {
        Some(batch) => batch.map_err(malformed),
        None => Err(Error::Internal("storage sent a message without a batch".to_string())),
    }
}

fn malformed(error: arrow::error::ArrowError) -> Error {
    Error::Internal(format!("storage sent a batch that does not decode: {error}"))
}
