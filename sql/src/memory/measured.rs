//! Measures what DataFusion's operators take from the allocator, beside what they count themselves.
//!
//! An operator counts the buffers it holds, mostly. A batch of three rows costs ten times its buffers, a batch without
//! columns costs although it has none, and a nested loop over forty tables makes millions of them: 24 GiB that no operator
//! counted. So the stream of a query is polled within a span of its statement's [`Meter`], and so is every task that
//! DataFusion spawns for it ([`install`]): what they keep is the statement's.
//!
//! Batches that come from storage were allocated by other threads, and are freed here; [`received`] adds them.
//!
//! The quota is met a quarter late ([`over_quota`]): an operator that spills keeps to what it counts, and that may be a
//! little less than what it has.

use crate::error::{Error, Result};
use basalt_common::memory::heap::{Meter, Metered};
use basalt_common::memory::{Exceeded, Tracker};
use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Sees that what DataFusion spawns is measured for the statement that it was spawned for.
pub fn install() {
    // Only a second server in one process finds it set, to the same.
    let _ = set_join_set_tracer(&SpawnedForStatement);
}

struct SpawnedForStatement;

impl JoinSetTracer for SpawnedForStatement {
    fn trace_future(&self, work: BoxFuture<'static, Box<dyn Any + Send>>) -> BoxFuture<'static, Box<dyn Any + Send>> {
        match Meter::current() {
            Some(meter) => Box::pin(Metered::new(work, meter)),
            None => work,
        }
    }

    fn trace_block(
        &self,
        work: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
    ) -> Box<dyn FnOnce() -> Box<dyn Any + Send> + Send> {
        match Meter::current() {
            Some(meter) => Box::new(move || meter.measure(work)),
            None => work,
        }
    }
}

/// Tells the statement whose work this thread does of bytes that another thread allocated for it.
pub fn received(bytes: usize) {
    if let Some(meter) = Meter::current() {
        meter.add(bytes as i64);
    }
}

/// Whether a statement has clearly more than it may.
///
/// # Errors
/// 8175.
pub fn over_quota(statement: &Tracker) -> Result<()> {
    let (used, limit) = (statement.used(), statement.limit());
    if used <= limit.saturating_add(limit / 4) {
        return Ok(());
    }
    Err(Error::from(Exceeded { label: statement.label().into(), used, wanted: 0, limit }))
}

/// The stream of a query, measured, and ended when the statement holds more than it may.
pub struct MeasuredStream<T> {
    work: Metered<BoxStream<'static, Result<T>>>,
    statement: Arc<Tracker>,
    ended: bool,
}

impl<T> MeasuredStream<T> {
    /// Measures `work` for `statement`.
    pub fn new(work: BoxStream<'static, Result<T>>, statement: Arc<Tracker>) -> Self {
        MeasuredStream { work: Metered::new(work, statement.meter().clone()), statement, ended: false }
    }
}

impl<T> Stream for MeasuredStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.work).poll_with(|work| work.poll_next(cx));
        if let Err(error) = over_quota(&self.statement) {
            self.ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        polled
    }
}
