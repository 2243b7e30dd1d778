//! Rules of DataFusion, kept away from where they give wrong answers: those that put inner joins together anew so that none is a
//! cross join and that make keys of equalities, from `<=>`; that which moves filters down, from aggregates without groups.
//!
//! The first gathers the keys of all inner joins below one another and forgets which of them take NULL for equal to NULL:
//! the pairs of two NULLs were lost as soon as a `<=>` join met another one.

use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
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
            guarded |= is_null_safe(node);
            Ok(if guarded { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if guarded {
            return plan.map_children(|child| self.rewrite(child, config));
        }
        self.rule.rewrite(plan, config)
    }
}

/// A rule that leaves some nodes as they are.
#[derive(Debug)]
pub struct Guarded {
    rule: Arc<dyn OptimizerRule + Send + Sync>,
    leaves: fn(&LogicalPlan) -> bool,
}

impl Guarded {
    /// DataFusion's rule that makes keys of a join's equalities, kept away from joins by `<=>`: for those a key takes NULL for
    /// equal to NULL, which `=` does not. An equality that comes to such a join later stays a condition on its pairs.
    pub fn null_safe_keys(rule: Arc<dyn OptimizerRule + Send + Sync>) -> Guarded {
        Guarded { rule, leaves: is_null_safe }
    }

    /// DataFusion's rule that moves filters down, kept from moving them below an aggregate without groups: that gives a row of
    /// no rows as well, and a condition without columns, which the rule takes for one of the groups', would only empty its
    /// input.
    pub fn filters_above_totals(rule: Arc<dyn OptimizerRule + Send + Sync>) -> Guarded {
        Guarded { rule, leaves: filters_a_total }
    }
}

impl OptimizerRule for Guarded {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if (self.leaves)(&plan) { Ok(Transformed::no(plan)) } else { self.rule.rewrite(plan, config) }
    }
}

fn is_null_safe(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull)
}

/// A filter over a total; the rule makes one of filters on each other before it looks below them.
fn filters_a_total(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return false };
    match &*filter.input {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        below => filters_a_total(below),
    }
}
