//! Joins that let others run: a rule that puts [`YieldExec`] around them.
//!
//! DataFusion's operators give way while they wait for input. A join of millions of pairs waits for nothing: it and the
//! aggregate above it would run to their end in one go, keep a thread of the server for as long, and hear of no KILL. So
//! every join's output, and every input of a nested loop, rests after each batch: the task comes by the place that looks for
//! KILL and time limits ([`super::execute::bounded`]), and other connections get their turn.
//!
//! Not done: a nested loop that finds nothing does not rest within one batch of its probe side times its whole build side.

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties};
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// See the module.
#[derive(Debug)]
pub struct YieldAtJoins;

impl PhysicalOptimizerRule for YieldAtJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(rest_at).map(|t| t.data)
    }

    fn name(&self) -> &'static str {
        "yield_at_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn rest_at(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let node = match node.name() {
        "NestedLoopJoinExec" | "CrossJoinExec" => {
            let children = node.children().into_iter().map(|child| YieldExec::around(child.clone())).collect();
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            node.replace_children(children, options)?
        }
        "HashJoinExec" | "SortMergeJoinExec" => node,
        _ => return Ok(Transformed::no(node)),
    };
    Ok(Transformed::yes(YieldExec::around(node)))
}

/// Passes batches on and rests after each.
#[derive(Debug, Clone)]
struct YieldExec {
    input: Arc<dyn ExecutionPlan>,
}

impl YieldExec {
    fn around(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        if input.name() == "YieldExec" { input } else { Arc::new(YieldExec { input }) }
    }
}

impl DisplayAs for YieldExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("YieldExec")
    }
}

impl ExecutionPlan for YieldExec {
    fn name(&self) -> &str {
        "YieldExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
            (Some(input), true) => Ok(Arc::new(YieldExec { input })),
            _ => datafusion_common::internal_err!("one input is passed on"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, task)?;
        let schema = input.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, Resting { input, rest: false })))
    }
}

struct Resting<S> {
    input: S,
    /// A batch was passed on and nobody else had a turn since.
    rest: bool,
}

impl<S: Stream + Unpin> Stream for Resting<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if std::mem::take(&mut self.rest) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.input.poll_next_unpin(cx);
        self.rest = matches!(next, Poll::Ready(Some(_)));
        next
    }
}
