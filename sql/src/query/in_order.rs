//! Rows in the order of their keys, for aggregates whose answer depends on it: a rule.
//!
//! Which of `'a'` and `'A'` stands for their group is up to the row that comes first, and so are the strings of a
//! GROUP_CONCAT that names no order. In MySQL that is the row with the lower key, and of a UNION the one of the earlier
//! branch. Regions and branches answer when they are ready, so below such an aggregate
//! - scans give their regions one after the other ([`RemoteScanExec::in_order`]; they are still read side by side);
//! - a union's branches are read one after the other ([`InOrderExec`]).
//!
//! Not done: rows that a join has spread over several partitions come in the order in which those are ready.

use super::remote_scan::{RemoteScanExec, downcast};
use basalt_expr::first_row::FIRST_ROW_NAME;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_plan::aggregates::AggregateExec;
use datafusion_physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::union::UnionExec;
use datafusion_physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PhysicalExpr, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use std::fmt;
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
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    let plan = if is_changed { plan.replace_children(children, options)? } else { plan };
    let is_racing = is_wanted && downcast::<UnionExec>(&plan).is_some();
    Ok(if is_racing { Arc::new(InOrderExec::new(plan)) } else { plan })
}

fn depends_on_order(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let depends = |name: &str| name == FIRST_ROW_NAME || name == super::group_concat::NAME;
    match downcast::<AggregateExec>(plan) {
        Some(aggregate) => aggregate.aggr_expr().iter().any(|call| depends(call.fun().name())),
        None => false,
    }
}

/// The partitions of its input, one after the other, as one.
#[derive(Debug)]
struct InOrderExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl InOrderExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> InOrderExec {
        let mut known = input.equivalence_properties().clone();
        known.clear_orderings();
        known.clear_per_partition_constants();
        let (emission, bounds) = (input.pipeline_behavior(), input.boundedness());
        let properties = PlanProperties::new(known, Partitioning::UnknownPartitioning(1), emission, bounds)
            .with_scheduling_type(input.properties().scheduling_type);
        InOrderExec { input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for InOrderExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InOrderExec")
    }
}

impl ExecutionPlan for InOrderExec {
    fn name(&self) -> &str {
        "InOrderExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(InOrderExec::new(input))),
            _ => datafusion_common::internal_err!("one input is put in order"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, _: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (schema, input) = (self.schema(), self.input.clone());
        let partitions = 0..input.output_partitioning().partition_count();
        let rows = futures::stream::iter(partitions)
            .map(move |partition| input.execute(partition, task.clone()))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
