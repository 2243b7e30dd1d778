//! Batches are bounded in rows; what an expression makes of them is bounded here, in bytes.
//!
//! `REPEAT(s, 100000)` over a batch of 8,192 rows is a column of gigabytes, and so is what LENGTH() reads of it. So
//! expressions that may make long strings run over a few rows at a time:
//! - the operators that hold them get their input [`InSlices`]: projections, filters, aggregates, sorts.
//!   [`cut`] puts it below them, in the SQL server as the last rule, in a store when a fragment is read;
//! - where that is not possible, in the condition of a join, a function slices by itself what is within it, and puts its
//!   results together again ([`crate::datafusion::MySqlFunction`]).
//!
//! How many rows that are is learned from what those before came to ([`SliceRows`], [`made`]): one row first, then up to
//! eight times as many as before, as long as they make about [`SLICE_BYTES`]. Expressions over ordinary columns are back at
//! whole batches within the first one.
//!
//! RAND(n) counts its calls from a batch's first row; what holds such a function is not cut.

use crate::datafusion::MySqlFunction;
use crate::func::growth::made;
use crate::pass_through::{PassThrough, PassThroughExec, with_inputs};
use arrow::array::RecordBatch;
use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::Volatility;
use datafusion_physical_expr::ScalarFunctionExpr;
use datafusion_physical_expr::expressions::Literal;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt};
use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::ThreadId;

/// What a slice should come to.
const SLICE_BYTES: usize = 4 << 20;
/// A slice has at most so many times the rows of those before it.
const GROWTH_MAX: usize = 8;
/// Bytes of a value that make a column of a whole batch longer than a slice should be.
pub(crate) const LONG_BYTES: usize = 2048;

/// How many rows to evaluate at a time, learned on the way.
#[derive(Debug)]
pub(crate) struct SliceRows(AtomicUsize);

impl SliceRows {
    pub fn starting(rows: usize) -> SliceRows {
        SliceRows(AtomicUsize::new(rows))
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A slice of `rows` came to `bytes`.
    pub fn learn(&self, rows: usize, bytes: usize) {
        let fitting = SLICE_BYTES / (bytes / rows.max(1)).max(1);
        let before = self.get();
        self.0.store(fitting.clamp(1, before.max(rows.saturating_mul(GROWTH_MAX))), Ordering::Relaxed);
    }
}

/// The plan with slices below what may make long strings.
///
/// # Errors
/// When a node cannot be built again.
pub fn cut(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let [input] = node.children()[..] else { return Ok(Transformed::no(node)) };
        let Some(first) = first_slice(&node)? else { return Ok(Transformed::no(node)) };
        let input = Arc::new(PassThroughExec::new(input.clone(), InSlices { first }));
        with_inputs(node, vec![input]).map(Transformed::yes)
    })
    .map(|plan| plan.data)
}

/// How many rows at first, for a node whose expressions may make long strings.
fn first_slice(node: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    let (mut long, mut volatile, mut literals) = (false, false, 0);
    node.apply_expressions(&mut |root| {
        root.apply(|expr| {
            let expr = expr.as_ref() as &dyn Any;
            if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
                let own = function.fun().inner().downcast_ref::<MySqlFunction>();
                long |= own.is_some_and(MySqlFunction::may_be_long);
                volatile |= function.fun().signature().volatility == Volatility::Volatile;
            } else if let Some(literal) = expr.downcast_ref::<Literal>() {
                literals += literal.value().size();
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if volatile {
        return Ok(None);
    }
    Ok(match literals > LONG_BYTES {
        // These are known to be repeated for every row.
        true => Some((SLICE_BYTES / literals).max(1)),
        false => long.then_some(1),
    })
}

/// Gives its input in slices.
#[derive(Debug, Clone)]
struct InSlices {
    /// Rows of the first slice.
    first: usize,
}

impl PassThrough for InSlices {
    const NAME: &'static str = "SliceExec";

    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        task: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = SliceRows::starting(self.first);
        let slices = Slices { input: input.execute(partition, task)?, rows, rest: None, given: None, pauses: false };
        Ok(Box::pin(RecordBatchStreamAdapter::new(input.schema(), slices)))
    }
}

/// What was given last: whoever took it comes back when it has evaluated it, mostly on the same thread.
struct Given {
    rows: usize,
    made: u64,
    thread: ThreadId,
}

struct Slices<S> {
    input: S,
    rows: SliceRows,
    /// What is left of the input's batch.
    rest: Option<RecordBatch>,
    given: Option<Given>,
    /// A slice was given, and nobody else had a turn since: those above may go on for long without waiting for anything.
    pauses: bool,
}

impl<S> Slices<S> {
    fn slice(&mut self, batch: RecordBatch) -> RecordBatch {
        let rows = self.rows.get().min(batch.num_rows());
        if rows > 0 {
            self.given = Some(Given { rows, made: made(), thread: std::thread::current().id() });
        }
        if rows == batch.num_rows() {
            return batch;
        }
        self.pauses = true;
        self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        batch.slice(0, rows)
    }
}

impl<S: Stream<Item = Result<RecordBatch>> + Unpin> Stream for Slices<S> {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(Given { rows, made: before, thread }) = self.given.take()
            && thread == std::thread::current().id()
        {
            self.rows.learn(rows, usize::try_from(made().wrapping_sub(before)).unwrap_or(usize::MAX));
        }
        if std::mem::take(&mut self.pauses) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match std::task::ready!(self.input.poll_next_unpin(cx)) {
                Some(Ok(batch)) => batch,
                other => return Poll::Ready(other),
            },
        };
        Poll::Ready(Some(Ok(self.slice(batch))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::func::growth::Growth;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    /// Rows of the slices that a reader is given who makes so many bytes of a row.
    fn slices(rows: i64, first: usize, bytes: impl Fn(i64) -> usize) -> Vec<usize> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(0..rows))]).unwrap();
        let input = futures::stream::iter([Ok(batch.clone()), Ok(batch)]);
        let rows = SliceRows::starting(first);
        let mut slices = Slices { input, rows, rest: None, given: None, pauses: false };
        let (mut sizes, mut seen) = (Vec::new(), Vec::new());
        while let Some(slice) = futures::executor::block_on(slices.next()) {
            let slice = slice.unwrap();
            let values = slice.column(0).as_primitive::<Int64Type>().values();
            let mut growth = Growth::default();
            values.iter().for_each(|n| growth.add(bytes(*n)).unwrap());
            seen.extend(values.iter().copied());
            sizes.push(slice.num_rows());
        }
        let half = seen.len() as i64 / 2;
        assert!(seen.iter().copied().eq((0..half).chain(0..half)), "every row comes once, in order");
        sizes
    }

    #[test]
    fn short_rows_are_back_at_whole_batches_and_long_ones_stay_few() {
        assert_eq!(slices(8_192, 1, |_| 10), [1, 8, 64, 512, 4_096, 3_511, 8_192]);
        assert_eq!(slices(19, 1, |_| SLICE_BYTES / 10), [1, 8, 10, 10, 9]);
        assert_eq!(slices(3, 1, |_| 10 * SLICE_BYTES), [1; 6]);
        let growing = slices(20, 1, |n| if n < 9 { 1 } else { SLICE_BYTES });
        assert_eq!(growing[..4], [1, 8, 11, 1], "{growing:?}");
        assert_eq!(slices(50, 30, |_| 0), [30, 20, 50]);
    }
}
