//! A rule that takes the projections out of filters, before DataFusion moves projections a second time.
//!
//! Its first pass leaves `Projection` above a `FilterExec` that puts out some columns only. The second takes the columns of
//! that projection, which count what the filter puts out, for columns of what the filter reads: `SELECT a.v + b.v, a.u …
//! LEFT JOIN … WHERE b.u IS NULL`, of a table with itself, asked whether `a.u` is NULL, or failed where names gave it away.
//! Separate, the two projections become one, and that is moved as it should be.

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::projection::ProjectionExpr;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion_physical_plan::projection::ProjectionExec;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct SeparateProjections;

impl PhysicalOptimizerRule for SeparateProjections {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let filter = node.downcast_ref::<FilterExec>();
            let Some((filter, projection)) = filter.and_then(|f| Some((f, f.projection().as_ref()?))) else {
                return Ok(Transformed::no(node));
            };
            let input = filter.input().schema();
            let column = |index: &usize| {
                let name = input.field(*index).name();
                ProjectionExpr { expr: Arc::new(Column::new(name, *index)), alias: name.clone() }
            };
            let columns: Vec<ProjectionExpr> = projection.iter().map(column).collect();
            let whole = FilterExecBuilder::from(filter).apply_projection(None)?.build()?;
            Ok(Transformed::yes(Arc::new(ProjectionExec::try_new(columns, Arc::new(whole))?)))
        })
        .map(|t| t.data)
    }

    fn name(&self) -> &'static str {
        "separate_projections"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
