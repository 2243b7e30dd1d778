//! DataFusion's session, set up once a server and copied for each query.
//!
//! What differs from its defaults, and why:
//! - no exchange that only spreads rows (round robin): it would stand between a scan and what can be pushed into it;
//! - no run-time filters: they would have to travel to running fragments;
//! - [`NullSafeCrossJoins`] and [`Guarded`] in place of the rules that they guard;
//! - [`PushIntoStorage`], [`SortAgain`], [`SortThenLimit`], [`YieldAtJoins`], [`ReadInOrder`] and [`CutLongRows`] among the physical rules;
//! - unions stay unions, which [`ReadInOrder`] knows how to read;
//! - no catalog: plans are lowered from bound statements, names are never looked up here.

use super::checkpoint::Checkpoint;
use super::cut::CutLongRows;
use super::guarded_rules::{Guarded, NullSafeCrossJoins};
use super::in_order::ReadInOrder;
use super::interruptible::InterruptJoins;
use super::large_top::SortThenLimit;
use super::null_supplied::NullsOfOuterJoins;
use super::projected_filters::SeparateProjections;
use super::pushdown::PushIntoStorage;
use super::sort_again::SortAgain;
use super::yielding::YieldAtJoins;
use crate::error::Result;
use crate::memory::QUOTA_VARIABLE;
use basalt_common::memory::Tracker;
use basalt_expr::memory_pool::TrackedPool;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion_execution::config::SessionConfig;
use datafusion_execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Threads that one query spreads over in the SQL server; storage does the wide part.
pub const TARGET_PARTITIONS_MAX: usize = 4;
/// Of the statement's memory, what a sort keeps free for merging at most.
const SORT_RESERVED: usize = 8;
/// Bytes that one query may spill.
pub const SPILL_BYTES_MAX: u64 = 16 << 30;

/// The session that queries are copied from.
pub struct QuerySession {
    state: SessionState,
    logical_rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    physical_rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
    spill_dir: PathBuf,
}

impl QuerySession {
    /// A session that spills below `spill_dir`, a folder that only the server may read.
    pub fn new(spill_dir: PathBuf) -> Self {
        Self::with_rules(spill_dir, physical_rules())
    }

    /// A session that sends storage nothing but scans: what the tests compare push-down with.
    #[cfg(test)]
    pub fn without_pushdown(spill_dir: PathBuf) -> Self {
        Self::with_rules(spill_dir, PhysicalOptimizer::new().rules)
    }

    fn with_rules(spill_dir: PathBuf, rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>) -> Self {
        let partitions = std::thread::available_parallelism().map_or(1, usize::from).min(TARGET_PARTITIONS_MAX);
        let state = SessionStateBuilder::new()
            .with_config(config(partitions))
            .with_optimizer_rules(logical_rules())
            .with_physical_optimizer_rules(rules.clone())
            .with_expr_planners(Vec::new())
            .with_aggregate_functions(datafusion_functions_aggregate::all_default_aggregate_functions())
            .with_window_functions(datafusion::functions_window::all_default_window_functions())
            .build();
        QuerySession { state, logical_rules: logical_rules(), physical_rules: rules, spill_dir }
    }

    /// The state for one query of `statement`, within whose limit its operators live.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when the runtime cannot be set up.
    pub fn for_query(&self, statement: &Arc<Tracker>, checkpoint: &Checkpoint) -> Result<SessionState> {
        let runtime = self.runtime(statement)?;
        let logical: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(checkpoint.clone());
        let physical: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(checkpoint.clone());
        let mut rules = Checkpoint::among(&self.physical_rules, &physical);
        rules.push(Arc::new(InterruptJoins { checkpoint: checkpoint.clone() }));
        let state = SessionStateBuilder::from(self.state.clone())
            .with_optimizer_rules(Checkpoint::among(&self.logical_rules, &logical))
            .with_physical_optimizer_rules(rules);
        let mut config = self.state.config().clone();
        let reserved = config.options().execution.sort_spill_reservation_bytes;
        config.options_mut().execution.sort_spill_reservation_bytes = reserved.min(statement.limit() / SORT_RESERVED);
        let state = state.with_config(config);
        Ok(state.with_runtime_env(runtime).build())
    }

    fn runtime(&self, statement: &Arc<Tracker>) -> Result<Arc<RuntimeEnv>> {
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![self.spill_dir.clone()]))
            .with_max_temp_directory_size(SPILL_BYTES_MAX);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackedPool::new(statement.clone(), QUOTA_VARIABLE)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        Ok(runtime)
    }
}

fn config(partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(basalt_expr::fragment::BATCH_ROWS)
        .with_round_robin_repartition(false)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false);
    // What an optimizer rule puts in the place of an empty input has no type of ours beside Arrow's; ours are the binder's.
    config.options_mut().execution.skip_physical_aggregate_schema_check = true;
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    optimizer.enable_topk_repartition = false;
    optimizer.prefer_existing_union = true;
    config
}

fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    // Leaves keys out of sorts that earlier ones determine, also where a join put NULLs for both: a NULL has many.
    rules.retain(|rule| rule.name() != "eliminate_duplicated_expr");
    for rule in &mut rules {
        if rule.name() == "eliminate_cross_join" {
            *rule = Arc::new(NullSafeCrossJoins { rule: rule.clone() });
        } else if rule.name() == "extract_equijoin_predicate" {
            *rule = Arc::new(Guarded::null_safe_keys(rule.clone()));
        } else if rule.name() == "push_down_filter" {
            *rule = Arc::new(Guarded::filters_above_totals(rule.clone()));
        } else if rule.name() == "simplify_expressions" {
            *rule = Arc::new(Guarded::lists_apart(rule.clone()));
        }
    }
    rules
}

fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    // The first finds columns by their names, of which a join may have two: a filter would reach the wrong side. What can be
    // pushed down has been, in the logical plan. The second takes what a filter leaves of a column for what there is: behind
    // `n = 5` COUNT(DISTINCT n) was 1, without any row, too.
    let is_wrong = |name: &str| name.starts_with("FilterPushdown") || name == "aggregate_statistics";
    rules.retain(|rule| !is_wrong(rule.name()));
    let moves_again = rules.iter().rposition(|rule| rule.name() == "ProjectionPushdown");
    rules.insert(moves_again.expect("DataFusion's default rules move projections"), Arc::new(SeparateProjections));
    let sorts = rules.iter().position(|rule| rule.name() == "EnsureRequirements");
    rules.insert(sorts.expect("DataFusion's default rules have requirements"), Arc::new(NullsOfOuterJoins));
    for (name, offset) in [("EnsureRequirements", 1), ("EnsureCooperative", 0)] {
        let position = rules.iter().position(|rule| rule.name() == name);
        let position = position.expect("DataFusion's default rules have distribution and cooperation") + offset;
        rules.insert(position, Arc::new(PushIntoStorage));
    }
    let check = rules.iter().position(|rule| rule.name() == "SanityCheckPlan");
    rules.insert(check.expect("DataFusion's default rules end with a check"), Arc::new(SortAgain));
    rules.push(Arc::new(SortThenLimit));
    rules.push(Arc::new(YieldAtJoins));
    rules.push(Arc::new(ReadInOrder));
    rules.push(Arc::new(CutLongRows));
    rules
}

static SHARED: OnceLock<QuerySession> = OnceLock::new();

impl QuerySession {
    /// Sets the server's session up to spill below `spill_dir`; the first call counts.
    pub fn configure(spill_dir: PathBuf) {
        SHARED.get_or_init(|| QuerySession::new(spill_dir));
    }

    /// The server's session; spills below the system's temporary folder unless configured.
    pub fn shared() -> &'static QuerySession {
        SHARED.get_or_init(|| QuerySession::new(std::env::temp_dir()))
    }
}
