//! DataFusion's rule that puts inner joins together anew so that none is a cross join, kept away from `<=>`.
//!
//! The rule gathers the keys of all inner joins below one another and forgets which of them take NULL for equal to NULL:
//! the pairs of two NULLs were lost as soon as a `<=>` join met another one.

use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{NullEquality, Result};
use datafusion_expr::LogicalPlan;
use std::sync::Arc;

/// The rule, for plans without joins by `<=>`.
#[derive(Debug)]
pub struct NullSafeCrossJoins {
    /// DataFusion's.
    pub rule: Arc<dyn OptimizerRule + Send + Sync>,
}

impl OptimizerRule for NullSafeCrossJoins {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut guarded = false;
        plan.apply_with_subqueries(|node| {
            guarded |= matches!(node, LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull);
            Ok(if guarded { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if guarded {
            return plan.map_children(|child| self.rewrite(child, config));
        }
        self.rule.rewrite(plan, config)
    }
}
