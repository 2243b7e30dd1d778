//! Join conditions that can be stopped: a rule that puts [`Interruptible`] around them.
//!
//! A join compares a batch of its probe side with all of its build side before it looks at anything else, and as long as no
//! pair fits it puts out nothing at which [`super::yielding`] could rest: 1,024 rows beside ten million are minutes. The
//! condition itself is asked about some thousand pairs at a time. There KILL, the time limit and the memory limit are looked
//! at; and once a statement has compared [`LIGHT_PAIRS`], its thread's other connections go on elsewhere meanwhile.

use super::checkpoint::Checkpoint;
use crate::memory;
use arrow::datatypes::{FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::joins::utils::JoinFilter;
use datafusion_physical_plan::joins::{
    HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pairs that are compared in about a millisecond.
const LIGHT_PAIRS: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub struct InterruptJoins {
    /// Of the statement.
    pub checkpoint: Checkpoint,
}

impl PhysicalOptimizerRule for InterruptJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| self.interrupt(node)).map(|t| t.data)
    }

    fn name(&self) -> &'static str {
        "interrupt_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl InterruptJoins {
    fn interrupt(&self, node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
        if let Some((join, filter)) = node.downcast_ref::<NestedLoopJoinExec>().and_then(|j| Some((j, j.filter()?))) {
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(self.around(filter))).build()?;
            return Ok(Transformed::yes(Arc::new(join)));
        }
        if let Some((join, filter)) = node.downcast_ref::<HashJoinExec>().and_then(|j| Some((j, j.filter()?))) {
            let join = HashJoinExecBuilder::from(join).with_filter(Some(self.around(filter))).build()?;
            return Ok(Transformed::yes(Arc::new(join)));
        }
        Ok(Transformed::no(node))
    }

    fn around(&self, filter: &JoinFilter) -> JoinFilter {
        let expression = Interruptible {
            inner: filter.expression().clone(),
            checkpoint: self.checkpoint.clone(),
            pairs: Arc::default(),
        };
        JoinFilter::new(Arc::new(expression), filter.column_indices().to_vec(), filter.schema().clone())
    }
}

/// An expression that is not evaluated any further once its statement has to end.
#[derive(Debug)]
struct Interruptible {
    inner: Arc<dyn PhysicalExpr>,
    checkpoint: Checkpoint,
    pairs: Arc<AtomicUsize>,
}

impl PartialEq for Interruptible {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Interruptible {}

impl Hash for Interruptible {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Display for Interruptible {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Interruptible {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.checkpoint.pass_running()?;
        if self.pairs.fetch_add(batch.num_rows(), Ordering::Relaxed) < LIGHT_PAIRS {
            return self.inner.evaluate(batch);
        }
        memory::aside(|| self.inner.evaluate(batch))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(Interruptible { inner, checkpoint: self.checkpoint.clone(), pairs: self.pairs.clone() }))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
