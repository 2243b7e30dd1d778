//! The physical rule that moves operators from above a scan into its fragment.
//!
//! It walks up from the scans. What an operator needs of all rows decides how it goes down:
//!
//! | operator above the scan | in the fragment | stays above |
//! |---|---|---|
//! | Filter, Projection | the operator | – (a limit, if the filter had one) |
//! | Aggregate, partial step | the operator: one state a group and region | – (its final step is above anyhow) |
//! | Sort with a limit (top-n) | the same top-n: n rows a region | the operator |
//! | Limit | skip + count rows a region | the operator |
//!
//! An operator goes down only if all below it did and if its expressions can be written
//! ([`basalt_expr::fragment::encode`]); the rest of the plan above does not change. The rule runs twice: right after
//! distribution is settled, while a partial aggregate is still apart from its final step (the rule that merges the two when
//! no exchange is between them comes next), and at the end, for limits and projections that moved in the meantime.

use super::remote_scan::{RemoteScanExec, downcast};
use basalt_expr::pass_through::with_inputs;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion_physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion_physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion_physical_plan::projection::ProjectionExec;
use datafusion_physical_plan::sorts::sort::SortExec;
use std::sync::Arc;

/// Rows of a top-n above which it stays in the SQL server: every region would send as many.
pub const TOP_N_ROWS_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct PushIntoStorage;

impl PhysicalOptimizerRule for PushIntoStorage {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| Ok(push(&node)?.map_or_else(|| Transformed::no(node), Transformed::yes)))
            .map(|t| t.data)
    }

    fn name(&self) -> &'static str {
        "push_into_storage"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The node with more work in the fragment below it; `None` when there is nothing to move.
fn push(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let children = node.children();
    let [child] = children[..] else { return Ok(None) };
    let Some(scan) = downcast::<RemoteScanExec>(child) else { return Ok(None) };
    if let Some(filter) = downcast::<FilterExec>(node) {
        return push_filter(scan, filter);
    }
    if let Some(sort) = downcast::<SortExec>(node) {
        return push_top_n(node, scan, sort);
    }
    if let Some(limit) = downcast::<GlobalLimitExec>(node) {
        return push_limit(node, scan, limit.fetch().map(|fetch| fetch.saturating_add(limit.skip())));
    }
    if let Some(limit) = downcast::<LocalLimitExec>(node) {
        return push_limit(node, scan, Some(limit.fetch()));
    }
    let partial = downcast::<AggregateExec>(node).is_some_and(|a| *a.mode() == AggregateMode::Partial);
    if !partial && downcast::<ProjectionExec>(node).is_none() {
        return Ok(None);
    }
    if is_reduced(scan) {
        return Ok(None);
    }
    let fragment = over(node, scan.fragment().clone())?;
    Ok(scan.with_pushed(fragment).map(as_plan))
}

fn as_plan(scan: RemoteScanExec) -> Arc<dyn ExecutionPlan> {
    Arc::new(scan)
}

/// The same operator over another input.
fn over(node: &Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    with_inputs(node.clone(), vec![input])
}

/// True when the fragment gives only some of the rows, or states instead of rows: then only projections of top-n rows
/// could follow, which gains nothing.
fn is_reduced(scan: &RemoteScanExec) -> bool {
    let top = scan.fragment();
    downcast::<AggregateExec>(top).is_some()
        || downcast::<SortExec>(top).is_some()
        || downcast::<LocalLimitExec>(top).is_some()
}

fn push_filter(scan: &RemoteScanExec, filter: &FilterExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if is_reduced(scan) {
        return Ok(None);
    }
    let moved = FilterExecBuilder::from(filter).with_input(scan.fragment().clone()).build()?;
    let pushed = scan.with_pushed(Arc::new(moved)).map(as_plan);
    Ok(match (pushed, filter.fetch()) {
        // The limit that had been folded into the filter counts rows of all regions.
        (Some(scan), Some(fetch)) => Some(Arc::new(GlobalLimitExec::new(scan, 0, Some(fetch)))),
        (pushed, _) => pushed,
    })
}

fn push_top_n(
    node: &Arc<dyn ExecutionPlan>,
    scan: &RemoteScanExec,
    sort: &SortExec,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(fetch) = sort.fetch().filter(|&rows| rows <= TOP_N_ROWS_MAX) else { return Ok(None) };
    if is_reduced(scan) {
        return Ok(None);
    }
    let top_n = SortExec::new(sort.expr().clone(), scan.fragment().clone()).with_fetch(Some(fetch));
    match scan.with_pushed(Arc::new(top_n)) {
        Some(scan) => Ok(Some(over(node, Arc::new(scan))?)),
        None => Ok(None),
    }
}

fn push_limit(
    node: &Arc<dyn ExecutionPlan>,
    scan: &RemoteScanExec,
    rows: Option<usize>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(rows) = rows else { return Ok(None) };
    if is_reduced(scan) {
        return Ok(None);
    }
    let limit = LocalLimitExec::new(scan.fragment().clone(), rows);
    match scan.with_pushed(Arc::new(limit)) {
        Some(scan) => Ok(Some(over(node, Arc::new(scan))?)),
        None => Ok(None),
    }
}
