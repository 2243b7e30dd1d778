//! The work table of a recursive common table expression, with MySQL's limit on how often it may be read
//! (`cte_max_recursion_depth`, error 3636): every iteration of the recursion reads it once.

use crate::error::Error;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use basalt_expr::pass_through::{PassThrough, PassThroughExec};
use datafusion::catalog::Session;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{TableProvider, TableType};
use datafusion_common::Result;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::Expr;
use datafusion_physical_plan::ExecutionPlan;
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
        Ok(Arc::new(PassThroughExec::new(input, RecursionLimit { limit: self.limit, runs: Arc::default() })))
    }
}

/// Passes its input through, `limit` times.
#[derive(Debug, Clone)]
struct RecursionLimit {
    limit: u64,
    /// Shared by the copies that the recursion makes of its step's plan.
    runs: Arc<AtomicU64>,
}

impl PassThrough for RecursionLimit {
    const NAME: &'static str = "RecursionLimitExec";

    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        task: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        // The read that finds the last iteration's rows is allowed: it is the one that may give none.
        if run > self.limit {
            return Err(Error::recursion_too_deep(run).into());
        }
        input.execute(partition, task)
    }
}
