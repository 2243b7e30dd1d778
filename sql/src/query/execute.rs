//! Running a query: lower, plan, stream.
//!
//! One pool of memory a statement; operators that can (sorts, joins' builds, aggregates) spill to files that only this process
//! can read, the others fail with 8175. KILL, a statement's time limit and a client that stops reading all end in the same
//! way: the stream is dropped, and with it every request to storage.

use super::checkpoint::Checkpoint;
use super::explain::PlannedQuery;
use super::fan_out::FanOut;
use super::lower::{Lowerer, VirtualTables};
use super::scan_plan::ScanPlanner;
use super::session::QuerySession;
use crate::context::{ReadView, RowStream, StatementContext, sleep_until};
use crate::error::{Error, Result};
use crate::memory::{self, measured::MeasuredStream};
use crate::plan::{LogicalPlan, extent};
use arrow::record_batch::RecordBatch;
use basalt_common::memory::Tracker;
use basalt_common::memory::heap::Metered;
use datafusion_execution::TaskContext;
use datafusion_expr::Expr as DfExpr;
use datafusion_expr::logical_plan::builder::LogicalPlanBuilder;
use datafusion_physical_plan::execute_stream;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::pin::Pin;
use std::sync::Arc;

/// A query of more tables, or of more operators and expressions, is planned while another thread takes over this one's
/// connections.
const TABLES_INLINE_MAX: usize = 12;
const WEIGHT_INLINE_MAX: usize = 500;

fn is_light(plan: &LogicalPlan) -> bool {
    let mut tables = 0;
    crate::planner::visit_scans(plan, &mut |_| tables += 1);
    tables <= TABLES_INLINE_MAX && extent::weight(plan) <= WEIGHT_INLINE_MAX && extent::nested_subqueries(plan) <= 2
}

/// Runs a query that the short path does not take.
///
/// # Errors
/// 1235 for what is not done, 8175, 1317, 3024, errors of evaluation and of storage.
pub async fn execute(
    plan: &LogicalPlan,
    ctx: &Arc<StatementContext>,
    view: &ReadView,
    virtual_tables: &VirtualTables,
) -> Result<RowStream> {
    let fan_out = Arc::new(super::cluster_fan_out::ClusterFanOut::new(ctx.cluster.clone()));
    let planned = plan_query(plan, ctx, view, virtual_tables, fan_out).await?;
    // Operators that merge partitions spawn their tasks when they start, and those what they need.
    let batches = ctx.measured(|| run(&planned))?;
    let batches = MeasuredStream::new(batches, ctx.memory.clone()).boxed();
    Ok(RowStream::new(plan.output(), bounded(batches, ctx)))
}

/// Makes the physical plan of a query.
///
/// # Errors
/// As [`execute`].
pub async fn plan_query(
    plan: &LogicalPlan,
    ctx: &Arc<StatementContext>,
    view: &ReadView,
    virtual_tables: &VirtualTables,
    fan_out: Arc<dyn FanOut>,
) -> Result<PlannedQuery> {
    let scans = ScanPlanner {
        fan_out,
        ts: view.ts,
        reads: view.snapshot.reads().cloned(),
        dirty: view.dirty.clone(),
        eval: ctx.eval.clone(),
        kill: ctx.kill.clone(),
        time_max: ctx.limits.execution_time_max,
        concurrency: ctx.limits.scan_concurrency,
    };
    let planning = plan_with(plan, &scans, virtual_tables, QuerySession::shared(), &ctx.memory);
    let mut planning = Metered::new(Box::pin(planning), ctx.memory.meter().clone());
    if is_light(plan) {
        return planning.await;
    }
    std::future::poll_fn(|cx| memory::aside(|| Pin::new(&mut planning).poll(cx))).await
}

/// The same without a statement around it.
///
/// # Errors
/// As [`execute`].
pub async fn plan_with(
    plan: &LogicalPlan,
    scans: &ScanPlanner,
    virtual_tables: &VirtualTables,
    session: &QuerySession,
    statement: &Arc<Tracker>,
) -> Result<PlannedQuery> {
    let checkpoint = Checkpoint::new(scans.kill.clone(), scans.time_max);
    let mut lowerer = Lowerer::new(&scans.eval, scans, virtual_tables);
    let lowered = lowerer.lower(plan, super::hints::Hints::default())?;
    let wanted: Vec<_> = lowered.columns.iter().map(|c| c.column.clone()).collect();
    let logical = match lowered.plan.schema().columns() == wanted {
        true => lowered.plan,
        false => {
            let columns = wanted.into_iter().map(DfExpr::Column);
            LogicalPlanBuilder::from(lowered.plan).project(columns)?.build()?
        }
    };
    let state = session.for_query(statement, &checkpoint)?;
    let physical = state.create_physical_plan(&logical).await?;
    Ok(PlannedQuery { physical, task: Arc::new(TaskContext::from(&state)) })
}

/// Starts a planned query.
///
/// # Errors
/// When an operator cannot start.
pub fn run(planned: &PlannedQuery) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let stream = execute_stream(planned.physical.clone(), planned.task.clone())?;
    Ok(stream.map(|batch| batch.map_err(Error::from)).boxed())
}

/// Ends the rows when the statement is killed or its time is over.
pub fn bounded(
    batches: BoxStream<'static, Result<RecordBatch>>,
    ctx: &Arc<StatementContext>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let deadline = ctx.limits.execution_time_max.map(|limit| tokio::time::Instant::now() + limit);
    let kill = ctx.kill.clone();
    let state = Some(batches);
    futures::stream::unfold(state, move |state| {
        let kill = kill.clone();
        async move {
            let mut batches = state?;
            tokio::select! {
                biased;
                () = kill.interrupted() => Some((Err(Error::Killed), None)),
                () = sleep_until(deadline) => Some((Err(Error::timed_out()), None)),
                batch = batches.next() => match batch? {
                    Ok(batch) => Some((Ok(batch), Some(batches))),
                    Err(error) => Some((Err(error), None)),
                },
            }
        }
    })
    .boxed()
}
