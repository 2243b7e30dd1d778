//! The last physical rule: what may make long strings gets its input in slices. See [`basalt_expr::slices`]; stores do the
//! same to the fragments that they are sent.

use basalt_expr::slices;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_physical_plan::ExecutionPlan;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct CutLongRows;

impl PhysicalOptimizerRule for CutLongRows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        slices::cut(plan)
    }

    fn name(&self) -> &'static str {
        "cut_long_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
