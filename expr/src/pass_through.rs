//! Operators that pass the rows of one input on: what DataFusion asks of every node is answered here, once.

use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{Result, Statistics, internal_err};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_plan::execution_plan::{CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion_physical_plan::projection::{ProjectionExec, make_with_child};
use datafusion_physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use std::fmt;
use std::sync::Arc;

/// How an operator passes rows on: all of them, unchanged.
pub trait PassThrough: fmt::Debug + Clone + Send + Sync + 'static {
    /// The operator's name in plans.
    const NAME: &'static str;
    /// Rows come in the order in which the same partition of the input has them.
    const KEEPS_ORDER: bool = true;

    /// What is known of the rows: what is known of the input's.
    fn properties(input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        input.properties().clone()
    }

    /// The rows of a partition: the input's.
    ///
    /// # Errors
    /// The input's.
    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        task: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        input.execute(partition, task)
    }
}

/// A node over other inputs; what is known of its rows is found out anew.
///
/// # Errors
/// The node's, for inputs that it cannot have.
pub fn with_inputs(
    node: Arc<dyn ExecutionPlan>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    node.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// A node that passes its input on.
#[derive(Debug)]
pub struct PassThroughExec<P> {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    how: P,
}

impl<P: PassThrough> PassThroughExec<P> {
    /// Over an input.
    pub fn new(input: Arc<dyn ExecutionPlan>, how: P) -> PassThroughExec<P> {
        PassThroughExec { properties: P::properties(&input), input, how }
    }
}

impl<P: PassThrough> DisplayAs for PassThroughExec<P> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(P::NAME)
    }
}

impl<P: PassThrough> ExecutionPlan for PassThroughExec<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![P::KEEPS_ORDER]
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
            (Some(input), true) => Ok(Arc::new(PassThroughExec::new(input, self.how.clone()))),
            _ => internal_err!("{} has one input", P::NAME),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        with_inputs(self, children)
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.how.execute(&self.input, partition, task)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(input.clone()),
            _ => internal_err!("{} has one input", P::NAME),
        }
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    /// Fewer columns are chosen below.
    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let chooses = projection.expr().iter().all(|e| e.expr.downcast_ref::<Column>().is_some());
        if !chooses || projection.expr().len() >= self.input.schema().fields().len() {
            return Ok(None);
        }
        let input = make_with_child(projection, &self.input)?;
        Ok(Some(Arc::new(PassThroughExec::new(input, self.how.clone()))))
    }
}
