//! Fragments: the part of a query's physical plan that runs where the data is.
//!
//! The SQL server cuts its plan just above the scans and sends the lower part to every region of the scan; the storage
//! node runs it with the same operators over the region's rows. Both sides need the same words for it, so they stand
//! here: the leaf, the codec and the version.
//!
//! ```text
//! SQL server                          storage node
//! RemoteScanExec ── bytes ──────────▶ AggregateExec(Partial)
//!   fragment: AggregateExec(Partial)    FilterExec
//!               FilterExec                FragmentScanExec ◀── FragmentSource: the region's rows as Arrow batches
//!                 FragmentScanExec
//! ```
//! The bytes are a `datafusion-proto` plan with this codec: the leaf is written as its columns' names, since their types
//! follow from the request's scan specification; MySQL's expressions are written by payload ([`crate::datafusion`]) and
//! take their surroundings from the request, built-in aggregates are written by name.
//!
//! ```text
//! leaf   01 n (nullable, length, name)…        numbers are varints
//! ```
//!
//! Invariants: a fragment has exactly one leaf, a [`FragmentScanExec`], and only the operators of [`is_fragment_node`];
//! [`decode`] refuses everything else, so bytes from the network never open a file or run an unknown operator. The state
//! that partial aggregates put out is DataFusion's own: both sides must have the same [`FRAGMENT_VERSION`], which changes
//! with DataFusion's version.
//!
//! A decoded plan holds no data and no request state: the rows come in through the task's context
//! ([`task_context`]), so one decoded plan serves many regions, one [`instance`] each.

use crate::context::EvalContext;
use crate::datafusion::{FUNCTION_NAME, MySqlFunction, decode_function};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use basalt_common::codec::{CodecError, decode_varint, encode_varint};
use bytes::Bytes;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DataFusionError, Result, exec_err, internal_err, plan_err};
use datafusion_execution::config::SessionConfig;
use datafusion_execution::runtime_env::RuntimeEnv;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::{AggregateUDF, ScalarUDF};
use datafusion_physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion_physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType, reset_plan_states};
use datafusion_physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// Of the encoding and of the partial aggregates' states. A store that is asked for another version refuses, and the
/// SQL server reads plain rows instead.
pub const FRAGMENT_VERSION: u32 = 5_503;
/// Longest fragment that is decoded.
pub const FRAGMENT_BYTES_MAX: usize = 1 << 20;
/// Rows that operators work on at a time.
pub const BATCH_ROWS: usize = 8_192;

const LEAF_MARK: u8 = 1;

/// Where a fragment's leaf takes its rows from.
pub trait FragmentSource: Send + Sync {
    /// Opens the rows; called once.
    ///
    /// # Errors
    /// Whatever keeps the rows from being read; passed on as the fragment's error.
    fn open(&self, schema: &SchemaRef) -> Result<SendableRecordBatchStream>;
}

struct BoundSource(Arc<dyn FragmentSource>);

/// The only leaf of a fragment: stands for the rows of whichever region the fragment runs on.
#[derive(Debug)]
pub struct FragmentScanExec {
    properties: Arc<PlanProperties>,
}

impl FragmentScanExec {
    /// A leaf that puts out batches of `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        FragmentScanExec { properties: Arc::new(properties) }
    }
}

impl DisplayAs for FragmentScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FragmentScanExec")
    }
}

impl ExecutionPlan for FragmentScanExec {
    fn name(&self) -> &'static str {
        "FragmentScanExec"
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
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        match context.session_config().get_extension::<BoundSource>() {
            Some(source) => source.0.open(&self.schema()),
            None => exec_err!("a fragment's scan is run without a source"),
        }
    }
}

/// Whether an operator may stand in a fragment: it needs nothing but its input, and `datafusion-proto` writes it.
pub fn is_fragment_node(name: &str) -> bool {
    matches!(
        name,
        "FragmentScanExec"
            | "FilterExec"
            | "ProjectionExec"
            | "AggregateExec"
            | "SortExec"
            | "SortExec(TopK)"
            | "LocalLimitExec"
            | "GlobalLimitExec"
            | "CoalesceBatchesExec"
            | "CooperativeExec"
    )
}

/// Writes a fragment.
///
/// # Errors
/// When an operator or expression in it cannot be sent; the caller then keeps it on its own side.
pub fn encode(plan: &Arc<dyn ExecutionPlan>) -> Result<Bytes> {
    check(plan)?;
    refuse_subqueries(plan)?;
    let codec = FragmentCodec { schema: None, context: Arc::default(), functions: AtomicUsize::new(0) };
    physical_plan_to_bytes_with_extension_codec(plan.clone(), &codec)
}

/// A scalar subquery's value is known only above the scan; written out, its expression cannot be read back.
fn refuse_subqueries(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let found = plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(&mut |root| {
            found |= root.exists(|expr| Ok((expr.as_ref() as &dyn std::any::Any).is::<ScalarSubqueryExpr>()))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    })?;
    if found { exec_err!("a scalar subquery stays above the fragment") } else { Ok(()) }
}

/// A fragment as it was read.
pub struct Decoded {
    /// The plan.
    pub plan: Arc<dyn ExecutionPlan>,
    /// Whether it depends on the surroundings that it was read with: only otherwise may another statement run it.
    pub has_functions: bool,
}

/// Reads a fragment over a scan of `schema`; its functions run in the surroundings of `context`.
///
/// # Errors
/// When the bytes are not a fragment of this version.
pub fn decode(bytes: &[u8], schema: SchemaRef, context: Arc<EvalContext>) -> Result<Decoded> {
    if bytes.len() > FRAGMENT_BYTES_MAX {
        return exec_err!("fragment of {} bytes is over the limit of {FRAGMENT_BYTES_MAX}", bytes.len());
    }
    let codec = FragmentCodec { schema: Some(schema), context, functions: AtomicUsize::new(0) };
    let plan = physical_plan_from_bytes_with_extension_codec(bytes, &DECODE_CONTEXT, &codec)?;
    check(&plan)?;
    let plan = crate::slices::cut(plan)?;
    Ok(Decoded { plan, has_functions: codec.functions.into_inner() > 0 })
}

/// A copy of a decoded fragment that shares no run-time state (metrics, dynamic filters) with other runs of it.
///
/// # Errors
/// When an operator cannot be copied.
pub fn instance(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    reset_plan_states(plan.clone())
}

/// The context in which a fragment runs: its rows, its memory, its batch size.
pub fn task_context(source: Arc<dyn FragmentSource>, runtime: Arc<RuntimeEnv>, batch_rows: usize) -> Arc<TaskContext> {
    let config = SessionConfig::new()
        .with_batch_size(batch_rows.max(1))
        .with_target_partitions(1)
        .with_extension(Arc::new(BoundSource(source)));
    Arc::new(TaskContext::new(
        None,
        String::new(),
        config,
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        runtime,
    ))
}

fn check(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let mut leaves = 0;
    plan.apply(|node| {
        if !is_fragment_node(node.name()) {
            return plan_err!("{} cannot run in storage", node.name());
        }
        if node.children().is_empty() {
            leaves += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if leaves == 1 { Ok(()) } else { plan_err!("a fragment has one leaf, not {leaves}") }
}

static DECODE_CONTEXT: LazyLock<TaskContext> = LazyLock::new(|| {
    let mut aggregates = datafusion_functions_aggregate::all_default_aggregate_functions();
    aggregates.push(crate::first_row::FirstRow::udaf());
    aggregates.push(crate::sum_in_order::SumInOrder::udaf());
    TaskContext::new(
        None,
        String::new(),
        SessionConfig::new(),
        HashMap::new(),
        HashMap::new(),
        aggregates.into_iter().map(|f| (f.name().to_string(), f)).collect(),
        HashMap::new(),
        Arc::new(RuntimeEnv::default()),
    )
});

#[derive(Debug)]
struct FragmentCodec {
    /// Of the scan; only when decoding.
    schema: Option<SchemaRef>,
    /// Of the statement; only when decoding.
    context: Arc<EvalContext>,
    /// How many functions were read.
    functions: AtomicUsize,
}

impl PhysicalExtensionCodec for FragmentCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        _: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match &self.schema {
            Some(scan) => Ok(Arc::new(FragmentScanExec::new(read_leaf(bytes, scan)?))),
            None => internal_err!("a fragment is read without a scan"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        out: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if node.name() != "FragmentScanExec" {
            return internal_err!("{} cannot run in storage", node.name());
        }
        write_leaf(&node.schema(), out);
        Ok(())
    }

    fn try_encode_udf(&self, function: &ScalarUDF, out: &mut Vec<u8>) -> Result<()> {
        match function.inner().downcast_ref::<MySqlFunction>() {
            Some(function) => out.extend_from_slice(function.payload()),
            None => return plan_err!("function {} cannot run in storage", function.name()),
        }
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, payload: &[u8]) -> Result<Arc<ScalarUDF>> {
        if name != FUNCTION_NAME {
            return plan_err!("function {name} is not known to storage");
        }
        self.functions.fetch_add(1, Ordering::Relaxed);
        decode_function(payload, &self.context)
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, _: &mut Vec<u8>) -> Result<()> {
        match DECODE_CONTEXT.aggregate_functions().get(function.name()) {
            Some(known) if known.as_ref() == function => Ok(()),
            _ => plan_err!("aggregate function {} cannot run in storage", function.name()),
        }
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        DECODE_CONTEXT
            .aggregate_functions()
            .get(name)
            .cloned()
            .ok_or_else(|| DataFusionError::Plan(format!("aggregate function {name} is not known to storage")))
    }
}

fn write_leaf(schema: &SchemaRef, out: &mut Vec<u8>) {
    out.push(LEAF_MARK);
    encode_varint(out, schema.fields().len() as u64);
    for field in schema.fields() {
        out.push(u8::from(field.is_nullable()));
        encode_varint(out, field.name().len() as u64);
        out.extend_from_slice(field.name().as_bytes());
    }
}

/// The scan's schema under the names that the fragment's expressions use.
fn read_leaf(bytes: &[u8], scan: &SchemaRef) -> Result<SchemaRef> {
    let mut fields = Vec::with_capacity(scan.fields().len());
    let names = leaf_names(bytes).map_err(|e| DataFusionError::Plan(format!("leaf of a fragment: {e}")))?;
    if names.len() != scan.fields().len() {
        return plan_err!("a fragment over {} columns is sent with a scan of {}", names.len(), scan.fields().len());
    }
    for (field, (nullable, name)) in scan.fields().iter().zip(names) {
        fields.push(field.as_ref().clone().with_name(name).with_nullable(nullable));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn leaf_names(bytes: &[u8]) -> Result<Vec<(bool, String)>, CodecError> {
    let Some((&LEAF_MARK, mut input)) = bytes.split_first() else { return Err(CodecError::Malformed("unknown node")) };
    let mut names = Vec::new();
    for _ in 0..decode_varint(&mut input)? {
        let (&nullable, rest) = input.split_first().ok_or(CodecError::Truncated)?;
        input = rest;
        let len = usize::try_from(decode_varint(&mut input)?).map_err(|_| CodecError::Truncated)?;
        let (name, rest) = input.split_at_checked(len).ok_or(CodecError::Truncated)?;
        input = rest;
        let name = std::str::from_utf8(name).map_err(|_| CodecError::Malformed("name"))?;
        names.push((nullable != 0, name.to_string()));
    }
    Ok(names)
}

/// Gives a batch the names and promises of `schema`, whose types it has.
///
/// # Errors
/// When the types differ, or a NULL stands where none may.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
}
