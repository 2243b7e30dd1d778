//! A rule that keeps what is known of the rows below an outer join from what comes out of it.
//!
//! An outer join gives NULLs for columns of the side that may lack a partner. DataFusion joins what it knows of both sides
//! whatever the join is: a column that is constant below (`ON … AND c.v = 1`, `(SELECT w, 'y' flag …)`) would be constant above,
//! and `coalesce(v, 5)` equal to the column that it was put into. Sorts by such a column were left out, windows and groups
//! took all rows for peers. Between the join and that side stands [`NullSuppliedExec`], of whose rows nothing is known.

use basalt_expr::pass_through::{PassThrough, PassThroughExec, with_inputs};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{JoinType, Result};
use datafusion_physical_expr::EquivalenceProperties;
use datafusion_physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion_physical_plan::{ExecutionPlan, PlanProperties};
use std::sync::Arc;

/// See the module. It comes once it is decided which side of a join is which, and before sorts are left out.
#[derive(Debug)]
pub struct NullsOfOuterJoins;

impl PhysicalOptimizerRule for NullsOfOuterJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some([left, right]) = join_type(&node).map(null_supplied) else { return Ok(Transformed::no(node)) };
            if !left && !right {
                return Ok(Transformed::no(node));
            }
            let around = |(input, is_supplied): (&Arc<dyn ExecutionPlan>, bool)| match is_supplied {
                true => Arc::new(NullSuppliedExec::new(input.clone(), NullSupplied)),
                false => input.clone(),
            };
            let inputs = node.children().into_iter().zip([left, right]).map(around).collect();
            with_inputs(node, inputs).map(Transformed::yes)
        })
        .map(|t| t.data)
    }

    fn name(&self) -> &'static str {
        "nulls_of_outer_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn join_type(node: &Arc<dyn ExecutionPlan>) -> Option<JoinType> {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        return Some(*join.join_type());
    }
    node.downcast_ref::<SortMergeJoinExec>().map(|join| join.join_type())
}

/// Of the left and of the right side: whether its columns come out as NULLs.
fn null_supplied(join: JoinType) -> [bool; 2] {
    [matches!(join, JoinType::Right | JoinType::Full), matches!(join, JoinType::Left | JoinType::Full)]
}

/// A side of an outer join that NULLs may stand for.
pub type NullSuppliedExec = PassThroughExec<NullSupplied>;

/// Passes batches on; says nothing of them but how they are distributed.
#[derive(Debug, Clone)]
pub struct NullSupplied;

impl PassThrough for NullSupplied {
    const NAME: &'static str = "NullSuppliedExec";

    fn properties(input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        let unknown = EquivalenceProperties::new(input.schema());
        Arc::new(input.properties().as_ref().clone().with_eq_properties(unknown))
    }
}
