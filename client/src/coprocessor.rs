//! Running a fragment over key ranges, region by region.
//!
//! ```text
//!   ranges ─ split by region ─▶ task 0: region 2 ─┐
//!                               task 1: region 7 ─┼─ some at a time ─▶ one stream of responses, each with its task
//!                               task 2: region 9 ─┘
//! ```
//!
//! A task is the part of the ranges that lies in one region. When the region turns out to have been split, its ranges
//! become new tasks; when a lock is in the way, its owner is looked up and the request comes again; when a page ended,
//! the next request goes on where it ended.
//!
//! Exactly once: a request that fails after it has brought rows would bring them again. So a task holds back a request's
//! responses until it has ended well, and up to [`COPROCESSOR_HOLD_BYTES_MAX`]; a failure later than that fails the query.
//! Plain scans are paged well below the bound, and partial aggregates are small.
//!
//! A single task runs on its reader's task, without a hop; several run on tasks of their own, owned by the stream: dropping
//! it cancels them.

use crate::cluster::Cluster;
use crate::config::{
    CALL_TIMEOUT, COPROCESSOR_CONCURRENCY, COPROCESSOR_HOLD_BYTES_MAX, COPROCESSOR_PAGE_BYTES, COPROCESSOR_QUEUE,
    REQUEST_BUDGET,
};
use crate::error::{Error, Result};
use crate::gc::Reading;
use crate::lock_resolver::Bypass;
use crate::region_cache::CachedRegion;
use crate::retry::Retry;
use crate::rpc::RpcError;
use basalt_common::{KeyRange, Peer, RegionId, StoreId, Timestamp};
use basalt_proto::coprocessor as cop;
use basalt_proto::errors::LockInfo;
use futures::future::BoxFuture;
use futures::future::FutureExt;
use futures::stream::StreamExt;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What to run, and over what.
#[derive(Debug, Clone)]
pub struct CoprocessorQuery {
    /// The ranges, in the order in which they are to be read.
    pub ranges: Vec<KeyRange>,
    /// What to read as of; not [`Timestamp::MAX`].
    pub start_ts: Timestamp,
    /// Scan, fragment and limits; context, ranges and timestamp are filled in for each request.
    pub template: cop::CoprocessorRequest,
    /// Responses come in the order of the ranges. Otherwise as they are ready.
    pub keep_order: bool,
    /// Tasks at a time; 0 = [`COPROCESSOR_CONCURRENCY`].
    pub concurrency: usize,
}

/// One response and where it comes from.
#[derive(Debug)]
pub struct CoprocessorItem {
    /// Counts tasks from 0; a region that was split under a task makes more.
    pub task: usize,
    /// The region.
    pub region_id: RegionId,
    /// The store that ran it.
    pub store_id: StoreId,
    /// A batch, or the summary of a request.
    pub response: cop::CoprocessorResponse,
}

type Output = mpsc::Sender<Result<CoprocessorItem>>;

/// Responses of a query. Dropping it cancels what is under way.
pub struct CoprocessorStream {
    /// In the order in which they are read to their ends.
    outputs: VecDeque<mpsc::Receiver<Result<CoprocessorItem>>>,
    /// Ordered tasks that wait for their turn.
    waiting: VecDeque<Task>,
    shared: Arc<Shared>,
    /// The only task, run by the reader.
    inline: Option<BoxFuture<'static, ()>>,
    running: JoinSet<()>,
    failed: bool,
}

struct Shared {
    cluster: Cluster,
    _reading: Reading,
    query: CoprocessorQuery,
    bypass: Mutex<Bypass>,
    tasks: AtomicUsize,
    /// Unordered tasks that wait for a worker.
    queue: Mutex<VecDeque<Task>>,
}

struct Task {
    id: usize,
    ranges: Vec<KeyRange>,
}

impl Cluster {
    /// Starts a query over the coprocessors.
    ///
    /// # Errors
    /// [`Error::RegionUnavailable`], [`Error::PdUnavailable`] when the regions cannot be found. What happens later comes
    /// with the stream.
    pub fn coprocess(&self, mut query: CoprocessorQuery) -> BoxFuture<'_, Result<CoprocessorStream>> {
        Box::pin(async move {
            if query.concurrency == 0 {
                query.concurrency = COPROCESSOR_CONCURRENCY;
            }
            if query.template.fragment.is_empty() && query.template.page_bytes_max == 0 {
                query.template.page_bytes_max = COPROCESSOR_PAGE_BYTES;
            }
            let tasks = self.split_into_tasks(&query.ranges, query.template.reverse).await?;
            let shared = Arc::new(Shared {
                cluster: self.clone(),
                _reading: Reading::new(self, query.start_ts),
                tasks: AtomicUsize::new(tasks.len()),
                bypass: Mutex::default(),
                queue: Mutex::default(),
                query,
            });
            Ok(CoprocessorStream::start(shared, tasks))
        })
    }

    async fn split_into_tasks(&self, ranges: &[KeyRange], reverse: bool) -> Result<VecDeque<Task>> {
        let mut retry = Retry::new(&self.env, REQUEST_BUDGET);
        let mut tasks: VecDeque<Task> = VecDeque::new();
        let mut last: Option<Arc<CachedRegion>> = None;
        for range in ranges {
            let mut parts = Vec::new();
            let mut left = Some(range.clone());
            while let Some(range) = left {
                self.prefetch(&range).await?;
                let route = self.locate(range.start.as_slice(), &mut retry).await?;
                let Some(part) = range.intersect(&route.region.range) else { break };
                left = match part.end == range.end {
                    true => None,
                    false => Some(KeyRange { start: part.end.clone(), end: range.end }),
                };
                parts.push((route, part));
            }
            if reverse {
                parts.reverse();
            }
            for (route, part) in parts {
                let same = last.as_ref().is_some_and(|l| l.region.id == route.region.id);
                match tasks.back_mut().filter(|_| same) {
                    Some(task) => task.ranges.push(part),
                    None => tasks.push_back(Task { id: tasks.len(), ranges: vec![part] }),
                }
                last = Some(route);
            }
        }
        Ok(tasks)
    }
}

impl CoprocessorStream {
    fn start(shared: Arc<Shared>, mut tasks: VecDeque<Task>) -> CoprocessorStream {
        let mut stream = CoprocessorStream {
            outputs: VecDeque::new(),
            waiting: VecDeque::new(),
            shared: shared.clone(),
            inline: None,
            running: JoinSet::new(),
            failed: false,
        };
        let (output, receiver) = mpsc::channel(COPROCESSOR_QUEUE);
        if tasks.len() <= 1 {
            if let Some(task) = tasks.pop_front() {
                stream.outputs.push_back(receiver);
                stream.inline = Some(Box::pin(async move { shared.run(task, &output).await }));
            }
            return stream;
        }
        if shared.query.keep_order {
            stream.waiting = tasks;
            for _ in 0..shared.query.concurrency {
                stream.start_next();
            }
            return stream;
        }
        let workers = shared.query.concurrency.min(tasks.len());
        *shared.queue.lock() = tasks;
        stream.outputs.push_back(receiver);
        for _ in 0..workers {
            let (shared, output) = (shared.clone(), output.clone());
            stream.running.spawn(async move {
                loop {
                    let Some(task) = shared.queue.lock().pop_front() else { return };
                    shared.run(task, &output).await;
                }
            });
        }
        stream
    }

    /// Tasks started or planned so far.
    pub fn tasks(&self) -> usize {
        self.shared.tasks.load(Ordering::Relaxed)
    }

    /// The next response; none at the end. After an error the stream is at its end.
    ///
    /// # Errors
    /// [`Error::Sql`] for what the fragment met, [`Error::RegionUnavailable`], [`Error::LockTimeout`] and so on.
    pub async fn next(&mut self) -> Result<Option<CoprocessorItem>> {
        self.next_item().await
    }

    fn next_item(&mut self) -> BoxFuture<'_, Result<Option<CoprocessorItem>>> {
        Box::pin(async move {
            if self.failed {
                return Ok(None);
            }
            while let Some(output) = self.outputs.front_mut() {
                let item = match &mut self.inline {
                    None => output.recv().await,
                    Some(task) => tokio::select! {
                        biased;
                        item = output.recv() => item,
                        () = task => {
                            self.inline = None;
                            continue;
                        }
                    },
                };
                match item {
                    Some(Ok(item)) => return Ok(Some(item)),
                    Some(Err(e)) => {
                        self.failed = true;
                        self.running.abort_all();
                        self.inline = None;
                        return Err(e);
                    }
                    None => {
                        self.outputs.pop_front();
                        self.start_next();
                    }
                }
            }
            Ok(None)
        })
    }

    /// Turns this into a [`futures::Stream`].
    pub fn into_stream(self) -> impl futures::Stream<Item = Result<CoprocessorItem>> + Send {
        futures::stream::unfold(self, |mut this| async move {
            let item = this.next().await.transpose()?;
            Some((item, this))
        })
    }

    /// Starts the next ordered task.
    fn start_next(&mut self) {
        let Some(task) = self.waiting.pop_front() else { return };
        let (output, receiver) = mpsc::channel(COPROCESSOR_QUEUE);
        self.outputs.push_back(receiver);
        let shared = self.shared.clone();
        self.running.spawn(async move { shared.run(task, &output).await });
        // Those that have ended need no more room.
        while self.running.try_join_next().is_some() {}
    }
}

/// How a request ended.
enum Ended {
    /// Everything was read.
    Complete,
    /// So much is left to read: a page ended, or the region moved.
    Left(Vec<KeyRange>),
}

impl Shared {
    async fn run(&self, task: Task, output: &Output) {
        if let Err(e) = self.try_run(task, output).await {
            // A reader that is gone needs no error.
            let _ = output.send(Err(e)).await;
        }
    }

    async fn try_run(&self, task: Task, output: &Output) -> Result<()> {
        let mut work = VecDeque::from([task]);
        let mut retry = Retry::new(&self.cluster.env, REQUEST_BUDGET);
        while let Some(mut task) = work.pop_front() {
            let mut parts = self.cluster.split_into_tasks(&task.ranges, self.query.template.reverse).await?;
            let Some(first) = parts.pop_front() else { continue };
            for part in parts.into_iter().rev() {
                let id = self.tasks.fetch_add(1, Ordering::Relaxed);
                work.push_front(Task { id, ranges: part.ranges });
            }
            task.ranges = first.ranges;
            let attempts = retry.attempts;
            if let Ended::Left(ranges) = self.request(&task, output, &mut retry).await? {
                work.push_front(Task { id: task.id, ranges });
            }
            if retry.attempts == attempts {
                // It made progress: what comes next has a fresh budget.
                retry = Retry::new(&self.cluster.env, REQUEST_BUDGET);
            }
        }
        Ok(())
    }

    /// One request for one region.
    async fn request(&self, task: &Task, output: &Output, retry: &mut Retry) -> Result<Ended> {
        let Some(first) = task.ranges.first() else { return Ok(Ended::Complete) };
        let route = self.cluster.locate(first.start.as_slice(), retry).await?;
        let Some(peer) = route.leader() else {
            self.cluster.regions.invalidate(route.region.id, route.region.epoch);
            return Ok(Ended::Left(task.ranges.clone()));
        };
        let request = self.message(&route, peer, &task.ranges);
        let asked = self.cluster.kv.coprocess(peer.store_id, request);
        let mut responses = match self.cluster.unless_silent(&route, peer, asked).await {
            Ok(responses) => responses,
            Err(e) => {
                retry.attempts += 1;
                self.cluster.on_rpc_error(&route, peer, &e, retry).await?;
                return Ok(Ended::Left(task.ranges.clone()));
            }
        };
        let mut held = Held { items: Vec::new(), bytes: 0, output, is_open: false, has_summary: false };
        loop {
            let next = self.cluster.unless_silent(&route, peer, responses.next().map(Option::transpose));
            let response = match tokio::time::timeout(CALL_TIMEOUT, next).await {
                Ok(Ok(Some(response))) => response,
                Ok(Ok(None)) if held.has_summary => {
                    held.release().await?;
                    return Ok(Ended::Complete);
                }
                broken => {
                    let no_answer = |reason: &str| RpcError::NoAnswer {
                        target: format!("store {}", peer.store_id),
                        reason: reason.to_owned(),
                    };
                    let error = match broken {
                        Ok(Err(error)) => error,
                        // Whoever answered is gone: a summary comes with the last of the data.
                        Ok(Ok(_)) => no_answer("its answer ends before the summary"),
                        Err(_) => no_answer("no answer in time"),
                    };
                    held.must_be_closed(&error.to_string())?;
                    retry.attempts += 1;
                    self.cluster.on_rpc_error(&route, peer, &error, retry).await?;
                    return Ok(Ended::Left(task.ranges.clone()));
                }
            };
            let item = |response| CoprocessorItem {
                task: task.id,
                region_id: route.region.id,
                store_id: peer.store_id,
                response,
            };
            if let Some(ended) = self.on_response(task, &route, peer, response, &mut held, item, retry).await? {
                return Ok(ended);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the loop body of request, cut out to keep both readable")]
    async fn on_response(
        &self,
        task: &Task,
        route: &CachedRegion,
        peer: Peer,
        mut response: cop::CoprocessorResponse,
        held: &mut Held<'_>,
        item: impl Fn(cop::CoprocessorResponse) -> CoprocessorItem,
        retry: &mut Retry,
    ) -> Result<Option<Ended>> {
        if let Some(e) = response.region_error.take() {
            held.must_be_closed(&e.message)?;
            retry.attempts += 1;
            self.cluster.on_region_error(route, peer, e, retry).await?;
            return Ok(Some(Ended::Left(task.ranges.clone())));
        }
        if let Some(e) = response.sql_error {
            return Err(Error::Sql { code: e.code as u16, sql_state: e.sql_state, message: e.message });
        }
        if let Some(old) = response.below_safe_point {
            return Err(Error::below_safe_point(old));
        }
        if !response.other_error.is_empty() {
            return Err(Error::Invalid(response.other_error));
        }
        let left = response.resume_from.take().map(|from| rest(&task.ranges, from, response.resume_range as usize));
        if let Some(lock) = response.locked.take() {
            // With a position the rows so far are good, and the lock is behind them.
            let left = match left {
                Some(left) => {
                    held.release().await?;
                    left
                }
                None => {
                    held.must_be_closed("a lock came up")?;
                    task.ranges.clone()
                }
            };
            retry.attempts += 1;
            self.resolve(lock, retry).await?;
            return Ok(Some(Ended::Left(left)));
        }
        held.push(item(response)).await?;
        match left {
            None => Ok(None),
            Some(left) => {
                held.release().await?;
                Ok(Some(Ended::Left(left)))
            }
        }
    }

    async fn resolve(&self, lock: LockInfo, retry: &mut Retry) -> Result<()> {
        self.cluster.resolve_for_read(vec![lock], self.query.start_ts, &self.bypass, retry).await
    }

    fn message(&self, route: &CachedRegion, peer: Peer, ranges: &[KeyRange]) -> cop::CoprocessorRequest {
        let context = self.cluster.context(route, peer, std::time::Duration::ZERO);
        let bypass = self.bypass.lock();
        let range = |r: &KeyRange| cop::KeyRange { start_key: r.start.0.clone(), end_key: r.end.0.clone() };
        cop::CoprocessorRequest {
            context: Some(cop::CoprocessorContext {
                region_id: context.region_id,
                epoch: context.epoch,
                peer: context.peer,
                cluster_id: context.cluster_id,
                deadline_ms: 0,
                resolved_locks: bypass.resolved.clone(),
                committed_locks: bypass.committed.clone(),
            }),
            ranges: ranges.iter().map(range).collect(),
            start_ts: self.query.start_ts.0,
            ..self.query.template.clone()
        }
    }
}

/// What is left of ranges when a page ended within the one with index `at`.
fn rest(ranges: &[KeyRange], from: cop::KeyRange, at: usize) -> Vec<KeyRange> {
    let from = KeyRange::new(from.start_key, from.end_key);
    let is_empty = !from.end.0.is_empty() && from.start >= from.end;
    let first = (!is_empty).then_some(from);
    first.into_iter().chain(ranges.iter().skip(at + 1).cloned()).collect()
}

/// Responses of one request that are not handed on yet.
struct Held<'a> {
    items: Vec<CoprocessorItem>,
    bytes: usize,
    output: &'a Output,
    /// Something of this request was handed on: it cannot be repeated.
    is_open: bool,
    /// The summary came, and with it all there is.
    has_summary: bool,
}

impl Held<'_> {
    async fn push(&mut self, item: CoprocessorItem) -> Result<()> {
        self.has_summary |= item.response.summary.is_some();
        self.bytes += item.response.batch.len();
        self.items.push(item);
        if self.bytes > COPROCESSOR_HOLD_BYTES_MAX {
            self.release().await?;
            self.is_open = true;
        }
        Ok(())
    }

    async fn release(&mut self) -> Result<()> {
        self.bytes = 0;
        for item in self.items.drain(..) {
            self.output.send(Ok(item)).await.map_err(|_| Error::Shutdown)?;
        }
        Ok(())
    }

    fn must_be_closed(&self, reason: &str) -> Result<()> {
        match self.is_open {
            true => Err(Error::RegionUnavailable(format!("scan broke off: {reason}"))),
            false => Ok(()),
        }
    }
}
