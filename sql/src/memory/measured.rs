//! Measures what DataFusion's operators take from the allocator, beside what they count themselves.
//!
//! An operator counts the buffers it holds, mostly. A batch of three rows costs ten times its buffers, a batch without
//! columns costs although it has none, and a nested loop over forty tables makes millions of them: 24 GiB that no operator
//! counted. So the stream of a query is polled within a span of its statement's [`Meter`], and so is every task that
//! DataFusion spawns for it ([`install`]): what they keep is the statement's.
//!
//! Batches that come from storage were allocated by other threads, and are freed here; [`received`] adds them.
//!
//! The same places see how long a query's polls take, and let others on ([`Pace`]).
//!
//! The quota is met a quarter late ([`over_quota`]): an operator that spills keeps to what it counts, and that may be a
//! little less than what it has.

use super::aside;
use crate::error::{Error, Result};
use basalt_common::memory::heap::{self, Meter, Metered};
use basalt_common::memory::{Exceeded, Tracker};
use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// A poll of a query that takes longer is not the last such.
const LONG_POLL: Duration = Duration::from_millis(1);

/// Sees that what DataFusion spawns is measured for the statement that it was spawned for.
pub fn install() {
    // Only a second server in one process finds it set, to the same.
    let _ = set_join_set_tracer(&SpawnedForStatement);
}

struct SpawnedForStatement;

impl JoinSetTracer for SpawnedForStatement {
    fn trace_future(&self, work: BoxFuture<'static, Box<dyn Any + Send>>) -> BoxFuture<'static, Box<dyn Any + Send>> {
        match Meter::current() {
            Some(meter) => Box::pin(Spawned { work: Metered::new(work, meter), pace: Pace::default() }),
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

/// A task of a query.
struct Spawned<F> {
    work: Metered<F>,
    pace: Pace,
}

impl<F: Future + Unpin> Future for Spawned<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        this.pace.keep(|| Pin::new(&mut this.work).poll(cx))
    }
}

/// Whether a query's polls take long. Behind one that did, the next are done while another thread takes over this one's
/// connections: a handful of large queries would otherwise keep all threads that small ones are served by, and each step of
/// those would wait for all of them.
#[derive(Default)]
struct Pace {
    long: bool,
}

impl Pace {
    fn keep<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let polled = if self.long { aside(poll) } else { poll() };
        self.long = began.elapsed() >= LONG_POLL;
        polled
    }
}

/// Tells the statement whose work this thread does of bytes that another thread allocated for it.
///
/// # Errors
/// 8175: operators between the scan and the result may put away all that they get.
pub fn received(bytes: usize) -> Result<()> {
    if let Some(meter) = Meter::current() {
        meter.add(bytes as i64);
    }
    Ok(heap::check_growth(0)?)
}

/// Whether a statement has clearly more than it may.
///
/// # Errors
/// 8175.
pub fn over_quota(statement: &Tracker) -> Result<()> {
    let (used, limit) = (statement.used(), statement.limit());
    if i64::try_from(used).unwrap_or(i64::MAX) <= heap::late(i64::try_from(limit).unwrap_or(i64::MAX)) {
        return Ok(());
    }
    Err(Error::from(Exceeded { label: statement.label().into(), used, wanted: 0, limit }))
}

/// The stream of a query, measured, and ended when the statement holds more than it may.
pub struct MeasuredStream<T> {
    work: Metered<BoxStream<'static, Result<T>>>,
    statement: Arc<Tracker>,
    pace: Pace,
    ended: bool,
}

impl<T> MeasuredStream<T> {
    /// Measures `work` for `statement`.
    pub fn new(work: BoxStream<'static, Result<T>>, statement: Arc<Tracker>) -> Self {
        let work = Metered::new(work, statement.meter().clone());
        MeasuredStream { work, statement, pace: Pace::default(), ended: false }
    }
}

impl<T> Stream for MeasuredStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let polled = this.pace.keep(|| Pin::new(&mut this.work).poll_with(|work| work.poll_next(cx)));
        if let Err(error) = over_quota(&this.statement) {
            this.ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        polled
    }
}
