//! `ORDER BY … LIMIT` of very many rows: a rule that sorts them all and then counts.
//!
//! DataFusion keeps the first rows of a sort with a limit in a heap. That is right for ten rows and wrong for a million:
//! each row that comes costs a search in the heap, and the heap cannot spill. A sort without a limit can.
//!
//! Heaps of several partitions share what they know of the last row that may still be among the first. Where a key is one
//! constant in each partition it is left out of their sorts, and of that knowledge: a branch of `SELECT 1, x … UNION ALL
//! SELECT 2, y … ORDER BY 1 DESC, 2 LIMIT 5` kept the rows of the other from being seen. There each partition is sorted, too.

use super::pushdown::TOP_N_ROWS_MAX;
use super::remote_scan::downcast;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::equivalence::AcrossPartitions;
use datafusion_physical_plan::limit::LocalLimitExec;
use datafusion_physical_plan::sorts::sort::SortExec;
use datafusion_physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct SortThenLimit;

impl PhysicalOptimizerRule for SortThenLimit {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(sort) = downcast::<SortExec>(&node) else { return Ok(Transformed::no(node)) };
            let preserves = sort.preserve_partitioning();
            let is_apart = preserves && has_constants_by_partition(sort.input());
            let Some(rows) = sort.fetch().filter(|rows| is_apart || *rows > TOP_N_ROWS_MAX) else {
                return Ok(Transformed::no(node));
            };
            let all = SortExec::new(sort.expr().clone(), sort.input().clone()).with_preserve_partitioning(preserves);
            Ok(Transformed::yes(Arc::new(LocalLimitExec::new(Arc::new(all), rows)) as Arc<dyn ExecutionPlan>))
        })
        .map(|t| t.data)
    }

    fn name(&self) -> &'static str {
        "sort_then_limit"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether what is one value within each partition may be another one in the next.
fn has_constants_by_partition(input: &Arc<dyn ExecutionPlan>) -> bool {
    let constants = input.equivalence_properties().constants();
    constants.iter().any(|constant| constant.across_partitions == AcrossPartitions::Heterogeneous)
}
