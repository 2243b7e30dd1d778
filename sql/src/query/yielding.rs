//! Joins that let others run: a rule that puts [`YieldExec`] around them.
//!
//! DataFusion's operators give way while they wait for input. A join of millions of pairs waits for nothing: it and the
//! aggregate above it would run to their end in one go, keep a thread of the server for as long, and hear of no KILL. So
//! every join's output, and every input of a nested loop, rests after each batch: the task comes by the place that looks for
//! KILL and time limits ([`super::execute::bounded`]), and other connections get their turn. The statement's memory is looked
//! at there, too: what a join puts out may be put away above it.
//!
//! They also put small batches together. A cross join makes a batch for each row of its left side, of as many rows as its
//! right side has; forty of them over tables of three rows keep millions of batches, each a thousand bytes around three
//! rows, and batches without columns are nothing but that. What passes here has [`CHUNK_ROWS`] rows or is the last.
//!
//! A nested loop that finds nothing does not rest within one batch of its probe side times its whole build side: its condition
//! does what can be done there ([`super::interruptible`]).

use crate::error::Error;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use basalt_common::memory::heap;
use basalt_expr::fragment::BATCH_ROWS;
use basalt_expr::pass_through::{PassThrough, PassThroughExec, with_inputs};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// See the module.
#[derive(Debug)]
pub struct YieldAtJoins;

impl PhysicalOptimizerRule for YieldAtJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(rest_at).map(|t| t.data)
    }

    fn name(&self) -> &'static str {
        "yield_at_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn rest_at(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let node = match node.name() {
        "NestedLoopJoinExec" | "CrossJoinExec" => {
            let children = node.children().into_iter().map(|child| around(child.clone())).collect();
            with_inputs(node, children)?
        }
        "HashJoinExec" | "SortMergeJoinExec" => {
            return Ok(Transformed::yes(Arc::new(YieldExec::new(node, Rests { chunks: false }))));
        }
        _ => return Ok(Transformed::no(node)),
    };
    Ok(Transformed::yes(around(node)))
}

/// Rows that small batches are put together to.
const CHUNK_ROWS: usize = 1024;
/// Small batches after which others get their turn.
const BATCHES_MAX: usize = 64;

/// Passes batches on and rests after each.
#[derive(Debug, Clone)]
struct Rests {
    /// Small batches are put together.
    chunks: bool,
}

type YieldExec = PassThroughExec<Rests>;

fn around(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if input.name() == Rests::NAME { input } else { Arc::new(YieldExec::new(input, Rests { chunks: true })) }
}

impl PassThrough for Rests {
    const NAME: &'static str = "YieldExec";

    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        task: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = input.execute(partition, task)?;
        let schema = input.schema();
        let chunks = self.chunks.then(|| Chunks::new(&schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, Resting { input, chunks, rest: false })))
    }
}

struct Resting<S> {
    input: S,
    chunks: Option<Chunks>,
    /// A batch was passed on and nobody else had a turn since.
    rest: bool,
}

impl<S: Stream<Item = Result<RecordBatch>> + Unpin> Resting<S> {
    /// The next batch that is worth passing on.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        let Some(chunks) = &mut self.chunks else { return self.input.poll_next_unpin(cx) };
        for _ in 0..BATCHES_MAX {
            if let Some(ready) = chunks.ready() {
                return Poll::Ready(Some(Ok(ready)));
            }
            match std::task::ready!(self.input.poll_next_unpin(cx)) {
                Some(batch) => chunks.push(batch?)?,
                None => return Poll::Ready(chunks.rest().transpose()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Stream<Item = Result<RecordBatch>> + Unpin> Stream for Resting<S> {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rest) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.poll_chunk(cx);
        self.rest = matches!(next, Poll::Ready(Some(_)));
        if self.rest
            && let Err(exceeded) = heap::check_growth(0)
        {
            return Poll::Ready(Some(Err(Error::from(exceeded).into())));
        }
        next
    }
}

/// Small batches on their way to a larger one.
enum Chunks {
    /// Without columns only the number of rows is left of them.
    Counted {
        schema: SchemaRef,
        rows: usize,
    },
    Joined(BatchCoalescer),
}

impl Chunks {
    fn new(schema: &SchemaRef) -> Chunks {
        if schema.fields().is_empty() {
            return Chunks::Counted { schema: schema.clone(), rows: 0 };
        }
        let coalescer = BatchCoalescer::new(schema.clone(), CHUNK_ROWS);
        Chunks::Joined(coalescer.with_biggest_coalesce_batch_size(Some(CHUNK_ROWS / 2)))
    }

    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        match self {
            Chunks::Counted { rows, .. } => *rows += batch.num_rows(),
            Chunks::Joined(coalescer) => coalescer.push_batch(batch)?,
        }
        Ok(())
    }

    fn ready(&mut self) -> Option<RecordBatch> {
        match self {
            Chunks::Counted { rows, .. } if *rows < BATCH_ROWS => None,
            Chunks::Counted { schema, rows } => {
                *rows -= BATCH_ROWS;
                counted(schema, BATCH_ROWS).ok()
            }
            Chunks::Joined(coalescer) => coalescer.next_completed_batch(),
        }
    }

    /// What is left when nothing follows.
    fn rest(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Chunks::Counted { rows: 0, .. } => Ok(None),
            Chunks::Counted { schema, rows } => counted(schema, std::mem::take(rows)).map(Some),
            Chunks::Joined(coalescer) => {
                coalescer.finish_buffered_batch()?;
                Ok(coalescer.next_completed_batch())
            }
        }
    }
}

fn counted(schema: &SchemaRef, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, Int32Array};
    use arrow::datatypes::{DataType, Field, Schema};

    fn all(batches: Vec<RecordBatch>) -> Vec<RecordBatch> {
        let schema = batches[0].schema();
        let input = futures::stream::iter(batches.into_iter().map(Ok));
        let resting = Resting { input, chunks: Some(Chunks::new(&schema)), rest: false };
        futures::executor::block_on(resting.map(Result::unwrap).collect())
    }

    #[test]
    fn small_batches_come_together_in_order_and_none_is_lost() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, false)]));
        let batch = |from: i32, rows: i32| {
            let column = Arc::new(Int32Array::from_iter_values(from..from + rows));
            RecordBatch::try_new(schema.clone(), vec![column]).unwrap()
        };
        let mut input: Vec<_> = (0..1000).map(|at| batch(at * 3, 3)).collect();
        input.push(batch(3000, 5000));
        let output = all(input);
        let values = output.iter().flat_map(|b| {
            let column = b.column(0).as_any().downcast_ref::<Int32Array>().unwrap();
            (0..column.len()).map(|at| column.value(at)).collect::<Vec<_>>()
        });
        assert!(values.eq(0..8000));
        assert!(output.len() <= 10, "{} batches", output.len());
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let schema = Arc::new(Schema::empty());
        let output = all((0..5000).map(|_| counted(&schema, 7).unwrap()).collect());
        assert_eq!(output.iter().map(RecordBatch::num_rows).sum::<usize>(), 35_000);
        assert_eq!(output.len(), 5);
    }
}
