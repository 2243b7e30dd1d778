//! Planning that can be stopped: a rule that changes nothing and stands between all others.
//!
//! Rules are synchronous and rewrite whole plans. Between two of them this one looks whether the statement was killed, has
//! planned for [`PLAN_TIME_MAX`], or has grown over its memory; then planning ends with an error.

use crate::error::{Error, Result};
use crate::memory;
use crate::server::kill::KillSwitch;
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::optimizer::OptimizerConfig;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_expr::LogicalPlan;
use datafusion_physical_plan::ExecutionPlan;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a statement may be planned.
pub const PLAN_TIME_MAX: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    kill: Arc<KillSwitch>,
    until: Instant,
}

impl Checkpoint {
    /// For planning that begins now.
    pub fn new(kill: Arc<KillSwitch>) -> Checkpoint {
        Checkpoint { kill, until: Instant::now() + PLAN_TIME_MAX }
    }

    /// Whether planning may go on.
    ///
    /// # Errors
    /// 1317, 8175, 3024.
    pub fn pass(&self) -> Result<()> {
        if self.kill.is_interrupted() {
            return Err(Error::Killed);
        }
        if Instant::now() > self.until {
            return Err(Error::timed_out());
        }
        memory::check()
    }

    /// Puts the checkpoint behind each of DataFusion's rules.
    pub fn among<R: ?Sized>(rules: &[Arc<R>], checkpoint: &Arc<R>) -> Vec<Arc<R>> {
        rules.iter().flat_map(|rule| [rule.clone(), checkpoint.clone()]).collect()
    }
}

impl OptimizerRule for Checkpoint {
    fn name(&self) -> &str {
        "checkpoint"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> datafusion_common::Result<Transformed<LogicalPlan>> {
        self.pass()?;
        Ok(Transformed::no(plan))
    }
}

impl PhysicalOptimizerRule for Checkpoint {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> datafusion_common::Result<Arc<dyn ExecutionPlan>> {
        self.pass()?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "checkpoint"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_statement_does_not_pass() {
        let kill = Arc::new(KillSwitch::new());
        let checkpoint = Checkpoint::new(kill.clone());
        assert!(checkpoint.pass().is_ok());
        kill.kill_query();
        assert_eq!(checkpoint.pass().unwrap_err().code(), 1317);
    }
}
