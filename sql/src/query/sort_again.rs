//! A rule that sorts what an operator needs sorted and what its input does not say it is.
//!
//! DataFusion plans a merge over the branches of a UNION when each branch has the order that is asked for, and asks
//! afterwards whether the union has it. A branch of constants has every order; which of them hold for the union it does not
//! always find, and the whole plan is refused. Sorted once more, below the merge, it is not.

use basalt_expr::pass_through::with_inputs;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::{LexOrdering, OrderingRequirements};
use datafusion_physical_plan::sorts::sort::SortExec;
use datafusion_physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct SortAgain;

impl PhysicalOptimizerRule for SortAgain {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let mut sorted = Vec::new();
            for (at, (input, wanted)) in node.children().into_iter().zip(node.required_input_ordering()).enumerate() {
                let Some(wanted) = wanted.map(OrderingRequirements::into_single) else { continue };
                if !input.equivalence_properties().ordering_satisfy_requirement(wanted.clone())? {
                    let sort = SortExec::new(LexOrdering::from(wanted), input.clone());
                    sorted.push((at, Arc::new(sort.with_preserve_partitioning(true))));
                }
            }
            if sorted.is_empty() {
                return Ok(Transformed::no(node));
            }
            let mut inputs: Vec<Arc<dyn ExecutionPlan>> = node.children().into_iter().cloned().collect();
            for (at, sort) in sorted {
                inputs[at] = sort;
            }
            with_inputs(node, inputs).map(Transformed::yes)
        })
        .map(|t| t.data)
    }

    fn name(&self) -> &'static str {
        "sort_again"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
