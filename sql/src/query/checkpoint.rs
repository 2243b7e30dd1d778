//! Places where a statement ends that was killed, takes too long, or has grown over its memory.
//!
//! Rules are synchronous and rewrite whole plans. Between two of them stands a rule that changes nothing and calls
//! [`Checkpoint::pass`]. When the plan runs, its joins call [`Checkpoint::pass_running`] ([`super::interruptible`]).

use crate::error::{Error, Result};
use crate::memory;
use crate::server::kill::KillSwitch;
use basalt_common::memory::heap;
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
    planned_until: Instant,
    runs_until: Option<Instant>,
}

impl Checkpoint {
    /// For a statement that begins now and may run for `time_max`, if that is limited.
    pub fn new(kill: Arc<KillSwitch>, time_max: Option<Duration>) -> Checkpoint {
        let now = Instant::now();
        Checkpoint { kill, planned_until: now + PLAN_TIME_MAX, runs_until: time_max.map(|limit| now + limit) }
    }

    /// Whether planning may go on.
    ///
    /// # Errors
    /// 1317, 8175, 3024.
    pub fn pass(&self) -> Result<()> {
        self.pass_by(Some(self.planned_until))?;
        memory::check()
    }

    /// Whether execution may go on.
    ///
    /// # Errors
    /// 1317, 8175, 3024.
    pub fn pass_running(&self) -> Result<()> {
        self.pass_by(self.runs_until)?;
        Ok(heap::check_growth(0)?)
    }

    fn pass_by(&self, until: Option<Instant>) -> Result<()> {
        if self.kill.is_interrupted() {
            return Err(Error::Killed);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(Error::timed_out());
        }
        Ok(())
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
        let checkpoint = Checkpoint::new(kill.clone(), None);
        assert!(checkpoint.pass().is_ok() && checkpoint.pass_running().is_ok());
        kill.kill_query();
        assert_eq!(checkpoint.pass().unwrap_err().code(), 1317);
        assert_eq!(checkpoint.pass_running().unwrap_err().code(), 1317);
    }

    #[test]
    fn a_statement_whose_time_is_over_runs_no_further() {
        let checkpoint = Checkpoint::new(Arc::default(), Some(Duration::ZERO));
        assert_eq!(checkpoint.pass_running().unwrap_err().code(), 3024);
        assert!(checkpoint.pass().is_ok(), "planning has a limit of its own");
    }
}
