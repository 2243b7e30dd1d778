//! Requests in, streams of batches out.
//!
//! Concurrency: the handler owns a runtime of a few threads. A request first takes a place in the queue (refused when it
//! is full), then waits for one of `threads` permits, then runs as one task until its end. Its task and the stream that
//! the service reads share a short channel: a slow client pauses the scan, a client that is gone (the stream dropped)
//! ends it at the next batch. A simulation passes [`Threads::Current`], and everything runs on its own single thread.

use crate::config::{
    BATCH_ROWS_DEFAULT, BATCH_ROWS_MAX, BUSY_BACKOFF_MS, Config, PROGRESS_INTERVAL, RESPONSES_BUFFERED, STACK_BYTES,
};
use crate::encode;
use crate::error::{Error, Result};
use crate::fragment::{self, FragmentCache, FragmentRequest, SharedSource};
use crate::scan::{RegionScan, eval_context};
use crate::source::BatchSource;
use basalt_common::StoreId;
use basalt_common::env::Env;
use basalt_common::memory::heap::{self, Meter, Metered};
use basalt_common::memory::{Account, Tracker, process};
use basalt_expr::fragment::FRAGMENT_VERSION;
use basalt_expr::memory_pool::TrackedPool;
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse, ScanSummary, Warning};
use basalt_proto::errors::{RegionError, ServerIsBusy, region_error};
use basalt_storage::replicated::RegionSnapshot;
use basalt_storage::service::coprocessor::Coprocessor;
use datafusion_execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use prost::Message;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};

/// Where fragments run.
pub enum Threads {
    /// On threads of the handler's own.
    Own,
    /// On the caller's runtime, for simulations in one thread.
    Current,
}

/// Runs fragments for one store.
pub struct CoprocessorHandler {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    store_id: StoreId,
    env: Env,
    queue_max: usize,
    queued: AtomicUsize,
    running: Semaphore,
    plans: FragmentCache,
    runtime_env: Arc<RuntimeEnv>,
    /// What fragments hold, and batches on their way to clients.
    memory: Arc<Tracker>,
}

impl CoprocessorHandler {
    /// A handler for the store `store_id`.
    ///
    /// # Errors
    /// [`Error::Internal`] when its threads cannot be started.
    pub fn new(store_id: StoreId, env: Env, config: &Config, threads: Threads) -> Result<Self> {
        let runtime = match threads {
            Threads::Current => None,
            Threads::Own => Some(
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(config.threads.max(1))
                    .thread_name("coprocessor")
                    .enable_time()
                    .thread_stack_size(STACK_BYTES)
                    .build()
                    .map_err(|e| Error::Internal(format!("cannot start threads: {e}")))?,
            ),
        };
        let memory = process().child(format!("the coprocessor of store {store_id}"));
        memory.restart(config.memory_bytes_max);
        let runtime_env = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackedPool::new(memory.clone(), "the coprocessor")))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        let shared = Shared {
            store_id,
            env,
            queue_max: config.queue_max,
            queued: AtomicUsize::new(0),
            running: Semaphore::new(config.threads.max(1)),
            plans: FragmentCache::new(config.plan_cache_max),
            runtime_env,
            memory,
        };
        Ok(CoprocessorHandler { shared: Arc::new(shared), runtime })
    }
}

impl Coprocessor for CoprocessorHandler {
    fn handle(&self, request: CoprocessorRequest, snapshot: RegionSnapshot) -> BoxStream<'static, CoprocessorResponse> {
        let Some(place) = Place::take(&self.shared) else {
            return futures::stream::iter([busy().into()]).boxed();
        };
        let (tx, rx) = mpsc::channel(RESPONSES_BUFFERED);
        let shared = self.shared.clone();
        let work = async move {
            tokio::select! {
                () = tx.closed() => {}
                result = AssertUnwindSafe(shared.answer(&request, snapshot, &tx)).catch_unwind() => {
                    let panicked = |_| Err(Error::Internal("a fragment panicked; the store's log says where".to_string()));
                    if let Err(error) = result.unwrap_or_else(panicked) {
                        // A closed channel means that the client is gone.
                        let _ = tx.send(error.into()).await;
                    }
                }
            }
            drop(place);
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(work)),
            None => drop(tokio::spawn(work)),
        }
        tokio_stream::wrappers::ReceiverStream::new(rx).boxed()
    }
}

impl Drop for CoprocessorHandler {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Requests that still run answer nobody: the service that read them is gone.
            runtime.shutdown_background();
        }
    }
}

/// A place in the queue, given back when the request is answered.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Place> {
        let place = Place(shared.clone());
        (shared.queued.fetch_add(1, Ordering::Relaxed) < shared.queue_max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

fn busy() -> Error {
    let message = "too many coprocessor requests".to_string();
    let kind = region_error::Kind::ServerIsBusy(ServerIsBusy { reason: message.clone(), backoff_ms: BUSY_BACKOFF_MS });
    Error::Region(Box::new(RegionError { message, kind: Some(kind) }))
}

impl Shared {
    async fn answer(
        &self,
        request: &CoprocessorRequest,
        snapshot: RegionSnapshot,
        tx: &mpsc::Sender<CoprocessorResponse>,
    ) -> Result<()> {
        let _permit = self.running.acquire().await.map_err(|_| Error::Internal("shutting down".to_string()))?;
        let started = self.env.now();
        let mut summary = ScanSummary { store_id: self.store_id.0, ..Default::default() };
        let source: Box<dyn BatchSource> = Box::new(RegionScan::open(request, &snapshot)?);
        let mut last = if request.fragment.is_empty() {
            self.bare(request, source, &mut summary, tx).await?
        } else {
            // What operators do not count and expressions make is measured, a request's for itself: groups, beside the
            // batch that they are on their way out in, are twice what they count.
            let meter = Arc::new(Meter::with_limit(self.memory.limit().saturating_mul(2)));
            Metered::new(Box::pin(self.fragment(request, source, &mut summary, tx)), meter).await?
        };
        summary.total_us = self.env.now().since(started).as_micros() as u64;
        last.summary = Some(summary);
        // A closed channel means that the client is gone.
        let _ = tx.send(last).await;
        Ok(())
    }

    async fn fragment(
        &self,
        request: &CoprocessorRequest,
        source: Box<dyn BatchSource>,
        summary: &mut ScanSummary,
        tx: &mpsc::Sender<CoprocessorResponse>,
    ) -> Result<CoprocessorResponse> {
        if request.fragment_version != FRAGMENT_VERSION {
            let (theirs, ours) = (request.fragment_version, FRAGMENT_VERSION);
            return Err(Error::Invalid(format!("fragment version {theirs} is not understood here, only {ours}")));
        }
        let scan = request.scan.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        let (plan, eval) = self.plans.plan(FragmentRequest {
            fragment: request.fragment.clone(),
            scan: scan.into(),
            context: request.eval_context.clone(),
            eval: Arc::new(eval_context(request)?),
            schema: source.schema(),
        })?;
        let source = Arc::new(SharedSource::new(source, batch_rows(request), self.env.clone()));
        let mut held = Account::new(self.memory.clone());
        let mut batches = fragment::execute(&plan, source.clone(), self.runtime_env.clone())?;
        loop {
            match tokio::time::timeout(PROGRESS_INTERVAL, batches.next()).await {
                Ok(Some(batch)) => send(&batch?, summary, (tx, &mut held)).await?,
                Ok(None) => break,
                // An aggregate says nothing until its end: tell the client that it is being worked on. One that is gone
                // cancels this task.
                Err(_) => drop(tx.send(CoprocessorResponse::default()).await),
            }
        }
        // Operators that had enough (LIMIT) leave the source in the middle, which is not an early end.
        let counts = source.counts();
        (summary.rows_scanned, summary.versions_scanned, summary.scan_us) =
            (counts.rows, counts.versions, source.scan_us());
        summary.warnings = eval.warnings.take().into_iter().map(warning).collect();
        Ok(end(source.stop()))
    }

    /// The rows as they are, without DataFusion.
    async fn bare(
        &self,
        request: &CoprocessorRequest,
        mut source: Box<dyn BatchSource>,
        summary: &mut ScanSummary,
        tx: &mpsc::Sender<CoprocessorResponse>,
    ) -> Result<CoprocessorResponse> {
        let mut held = Account::new(self.memory.clone());
        let mut left = if request.limit == 0 { u64::MAX } else { request.limit };
        let mut scan_us = 0;
        while left > 0 {
            let started = self.env.now();
            let rows_max = batch_rows(request).min(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(batch) = source.next_batch(rows_max)? else { break };
            scan_us += self.env.now().since(started).as_micros() as u64;
            left = left.saturating_sub(batch.num_rows() as u64);
            send(&batch, summary, (tx, &mut held)).await?;
            tokio::task::yield_now().await;
        }
        let counts = source.counts();
        (summary.rows_scanned, summary.versions_scanned, summary.scan_us) = (counts.rows, counts.versions, scan_us);
        Ok(end(source.stop()))
    }
}

fn batch_rows(request: &CoprocessorRequest) -> usize {
    match request.batch_rows_max as usize {
        0 => BATCH_ROWS_DEFAULT,
        rows => rows.min(BATCH_ROWS_MAX),
    }
}

async fn send(
    batch: &arrow::record_batch::RecordBatch,
    summary: &mut ScanSummary,
    (tx, held): (&mpsc::Sender<CoprocessorResponse>, &mut Account),
) -> Result<()> {
    // The batch, its message, and those that a slow client has not taken.
    held.set(batch.get_array_memory_size() * 2);
    let mut responses = encode::responses(batch);
    loop {
        let before = heap::balance();
        let Some(response) = responses.next() else { break };
        let response = response?;
        let taken = heap::balance() - before;
        held.add(response.batch.len() * RESPONSES_BUFFERED);
        summary.rows_returned += response.rows;
        summary.bytes_returned += response.batch.len() as u64;
        if tx.send(response).await.is_err() {
            return Err(Error::Internal("the client is gone".to_string()));
        }
        // Whoever sends it frees it.
        if let Some(meter) = Meter::current() {
            meter.add(-taken);
        }
    }
    Ok(())
}

fn end(stop: Option<crate::source::Stop>) -> CoprocessorResponse {
    match stop {
        None => CoprocessorResponse::default(),
        Some(stop) => CoprocessorResponse {
            resume_from: Some(stop.rest),
            resume_range: stop.range as u32,
            locked: stop.locked,
            ..Default::default()
        },
    }
}

fn warning(warning: basalt_expr::Warning) -> Warning {
    Warning { code: warning.code.into(), message: warning.message }
}
