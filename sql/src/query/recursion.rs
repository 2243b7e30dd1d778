//! The work table of a recursive common table expression, with MySQL's limit on how often it may be read
//! (`cte_max_recursion_depth`, error 3636): every iteration of the recursion reads it once.

use crate::error::Error;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{TableProvider, TableType};
use datafusion_common::Result;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::Expr;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Iterations when the session does not say.
pub const RECURSION_DEPTH_MAX: u64 = 1_000;

/// A work table that may be read `limit` times.
#[derive(Debug)]
pub struct LimitedWorkTable {
    /// DataFusion's.
    pub table: CteWorkTable,
    /// Iterations.
    pub limit: u64,
}

#[async_trait]
impl TableProvider for LimitedWorkTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = self.table.scan(session, projection, filters, limit).await?;
        Ok(Arc::new(RecursionLimitExec { input, limit: self.limit, runs: Arc::default() }))
    }
}

/// Passes its input through, `limit` times.
#[derive(Debug)]
struct RecursionLimitExec {
    input: Arc<dyn ExecutionPlan>,
    limit: u64,
    /// Shared by the copies that the recursion makes of its step's plan.
    runs: Arc<AtomicU64>,
}

impl RecursionLimitExec {
    fn over(&self, children: Vec<Arc<dyn ExecutionPlan>>) -> Arc<dyn ExecutionPlan> {
        let input = children.into_iter().next().unwrap_or_else(|| self.input.clone());
        Arc::new(RecursionLimitExec { input, limit: self.limit, runs: self.runs.clone() })
    }
}

impl DisplayAs for RecursionLimitExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecursionLimitExec: {}", self.limit)
    }
}

impl ExecutionPlan for RecursionLimitExec {
    fn name(&self) -> &'static str {
        "RecursionLimitExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.over(children))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.over(children))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        // The read that finds the last iteration's rows is allowed: it is the one that may give none.
        if run > self.limit {
            return Err(Error::recursion_too_deep(run).into());
        }
        self.input.execute(partition, context)
    }
}
