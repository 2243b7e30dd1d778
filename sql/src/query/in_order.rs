//! Rows in the order of their keys, for aggregates whose answer depends on it: a rule.
//!
//! Which of `'a'` and `'A'` stands for their group is up to the row that comes first, and so are the strings of a
//! GROUP_CONCAT that names no order. In MySQL that is the row with the lower key, and of a UNION the one of the earlier
//! branch. Regions and branches answer when they are ready, so below such an aggregate
//! - scans give their regions one after the other ([`RemoteScanExec::in_order`]; they are still read side by side);
//! - a union's branches are read one after the other ([`OneAfterTheOther`]).
//!
//! Not done: rows that a join has spread over several partitions come in the order in which those are ready.

use super::remote_scan::{RemoteScanExec, downcast};
use basalt_expr::first_row::FIRST_ROW_NAME;
use basalt_expr::pass_through::{PassThrough, PassThroughExec, with_inputs};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_plan::aggregates::AggregateExec;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::union::UnionExec;
use datafusion_physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct ReadInOrder;

impl PhysicalOptimizerRule for ReadInOrder {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        ordered(plan, false)
    }

    fn name(&self) -> &'static str {
        "read_in_order"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A plan whose leaves, and unions, are in order where an aggregate above wants it.
fn ordered(plan: Arc<dyn ExecutionPlan>, is_wanted: bool) -> Result<Arc<dyn ExecutionPlan>> {
    let is_wanted = is_wanted || depends_on_order(&plan);
    if let Some(scan) = downcast::<RemoteScanExec>(&plan) {
        return Ok(if is_wanted || depends_on_order(scan.fragment()) { Arc::new(scan.in_order()) } else { plan });
    }
    let before: Vec<_> = plan.children().into_iter().cloned().collect();
    let children = before.iter().map(|child| ordered(child.clone(), is_wanted)).collect::<Result<Vec<_>>>()?;
    let is_changed = before.iter().zip(&children).any(|(before, after)| !Arc::ptr_eq(before, after));
    let plan = if is_changed { with_inputs(plan, children)? } else { plan };
    let is_racing = is_wanted && downcast::<UnionExec>(&plan).is_some();
    Ok(if is_racing { Arc::new(PassThroughExec::new(plan, OneAfterTheOther)) } else { plan })
}

fn depends_on_order(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let depends = |name: &str| name == FIRST_ROW_NAME || name == super::group_concat::NAME;
    match downcast::<AggregateExec>(plan) {
        Some(aggregate) => aggregate.aggr_expr().iter().any(|call| depends(call.fun().name())),
        None => false,
    }
}

/// The partitions of its input, one after the other, as one.
#[derive(Debug, Clone)]
struct OneAfterTheOther;

impl PassThrough for OneAfterTheOther {
    const NAME: &'static str = "InOrderExec";
    const KEEPS_ORDER: bool = false;

    fn properties(input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        let mut known = input.equivalence_properties().clone();
        known.clear_orderings();
        known.clear_per_partition_constants();
        let (emission, bounds) = (input.pipeline_behavior(), input.boundedness());
        let properties = PlanProperties::new(known, Partitioning::UnknownPartitioning(1), emission, bounds);
        Arc::new(properties.with_scheduling_type(input.properties().scheduling_type))
    }

    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        _: usize,
        task: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (schema, input) = (input.schema(), input.clone());
        let partitions = 0..input.output_partitioning().partition_count();
        let rows = futures::stream::iter(partitions)
            .map(move |partition| input.execute(partition, task.clone()))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
