//! `ORDER BY … LIMIT` of very many rows: a rule that sorts them all and then counts.
//!
//! DataFusion keeps the first rows of a sort with a limit in a heap. That is right for ten rows and wrong for a million:
//! each row that comes costs a search in the heap, and the heap cannot spill. A sort without a limit can.

use super::pushdown::TOP_N_ROWS_MAX;
use super::remote_scan::downcast;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::limit::LocalLimitExec;
use datafusion_physical_plan::sorts::sort::SortExec;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct SortThenLimit;

impl PhysicalOptimizerRule for SortThenLimit {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(sort) = downcast::<SortExec>(&node) else { return Ok(Transformed::no(node)) };
            let Some(rows) = sort.fetch().filter(|rows| *rows > TOP_N_ROWS_MAX) else {
                return Ok(Transformed::no(node));
            };
            let preserves = sort.preserve_partitioning();
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
