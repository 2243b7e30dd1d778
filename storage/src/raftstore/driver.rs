//! Turns a raft store's crank: what the state machine wants done goes to three queues, and what came of it comes back as
//! inputs.
//!
//! ```text
//!  callers, transport ──▶ mailbox ──▶ crank ──┬─▶ log queue: one synced write for all that waits ──┐
//!                            ▲                ├─▶ apply queue: engine writes, answers ─────────────┤
//!                            │                └─▶ snapshot queue: files, to write and to send      │
//!                            └──────────────── persisted, applied, built, sent ────────────────────┘
//! ```
//! A queue keeps its order; between queues there is none: an entry may be applied long before a sync that was ordered
//! earlier is reported. Two drivers do the queues' work: [`threads`] with a thread each, [`task`] in one task under a
//! simulated clock, each piece as late as a seed says. Everything above the queues is the same for both, and is here.
//!
//! Small work that nobody waits behind is done by the crank itself: it costs nobody anything, and saves a lone client two
//! thread wake-ups. As soon as others wait, the work goes to the queues, whose length makes the batches. A disk whose last
//! sync was slow is left to the log queue, so that heartbeats keep going out.

pub mod task;
pub mod threads;

use super::StoreError;
use super::apply::{ApplyCore, ApplyTask, ExportJob, is_admin};
use super::handle::RaftHandle;
use super::message::Input;
use super::snapshot::SnapshotFiles;
use super::store::{Effects, PdEvent, Store};
use super::transport::{SnapshotDone, Transport};
use crate::engine::Engine;
use crate::raftlog::{LogBatch, RaftLog};
use basalt_common::env::{Env, Monotonic};
use basalt_common::metrics;
use basalt_proto::raft::Envelope;
use crossbeam_channel::Receiver;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// After a sync that took longer than this the crank waits for none, until one took less.
const INLINE_SYNC_MAX: Duration = Duration::from_millis(2);
/// The crank applies at most this many bytes of entries itself.
const INLINE_APPLY_BYTES_MAX: usize = 16 << 10;
/// Batches merged into one synced write.
const LOG_BATCHES_MAX: usize = 256;

/// What a driver works with.
pub struct DriverParams {
    /// The state machine.
    pub store: Store,
    /// Applies its entries.
    pub apply: ApplyCore,
    /// The data.
    pub engine: Arc<dyn Engine>,
    /// The log.
    pub log: Arc<dyn RaftLog>,
    /// Snapshot folder.
    pub files: Arc<SnapshotFiles>,
    /// To other stores.
    pub transport: Arc<dyn Transport>,
    /// Reports for PD.
    pub pd: mpsc::Sender<PdEvent>,
    /// Clock.
    pub env: Env,
    /// The store's front door.
    pub handle: RaftHandle,
    /// Where what came through the front door waits.
    pub inputs: Receiver<Input>,
}

/// Something to make durable, and its number.
pub(super) type LogWork = (u64, LogBatch);

/// Something to do with a snapshot's files.
pub(super) enum SnapshotWork {
    /// Write them.
    Export(ExportJob),
    /// Send them, with their message.
    Send(Envelope),
}

/// Takes what the crank does not do itself.
pub(super) trait Queues {
    /// Make durable.
    fn log(&mut self, work: LogWork);
    /// Apply.
    fn apply(&mut self, work: Vec<ApplyTask>);
    /// Write or send a snapshot.
    fn snapshot(&mut self, work: SnapshotWork);
    /// Whether the crank may do small work itself now, as far as the queues are concerned.
    fn may_do_at_once(&mut self) -> bool;
}

/// Does the work, in whichever thread or task. Cheap to clone.
#[derive(Clone)]
pub(super) struct Worker {
    log: Arc<dyn RaftLog>,
    apply: Arc<Mutex<ApplyCore>>,
    engine: Arc<dyn Engine>,
    files: Arc<SnapshotFiles>,
    transport: Arc<dyn Transport>,
    handle: RaftHandle,
    /// How long the last sync took, whoever waited for it, microseconds.
    last_sync_us: Arc<AtomicU64>,
}

impl Worker {
    /// Makes a batch durable, and those that wait behind it.
    ///
    /// # Errors
    /// A failed sync must not be tried again: what the disk holds is not known.
    pub(super) fn append(
        &self,
        (mut number, mut batch): LogWork,
        waiting: impl Iterator<Item = LogWork>,
    ) -> Result<Input, StoreError> {
        for (later, more) in waiting.take(LOG_BATCHES_MAX) {
            number = later;
            batch.merge(more);
        }
        let timer = metrics::RAFT_LOG_APPEND_SECONDS.start_timer();
        self.log.append(&batch)?;
        self.last_sync_us.store((timer.stop_and_record() * 1e6) as u64, Ordering::Relaxed);
        Ok(Input::Persisted(number))
    }

    /// Applies, and says which snapshots were taken meanwhile.
    ///
    /// # Errors
    /// Any error stops the store.
    pub(super) fn apply(&self, tasks: Vec<ApplyTask>) -> Result<(Input, Vec<SnapshotWork>), StoreError> {
        let mut core = self.apply.lock();
        let applied = core.run(tasks)?;
        let exports = core.take_exports().into_iter().map(SnapshotWork::Export);
        Ok((Input::Applied(applied), exports.collect()))
    }

    /// Writes or sends a snapshot's files; what is sent reports by itself.
    pub(super) fn snapshot(&self, work: SnapshotWork) -> Option<Input> {
        match work {
            SnapshotWork::Export(job) => {
                let region_id = job.meta.region.as_ref().map_or(0, |r| r.id).into();
                let meta = self.files.export(&*self.engine, job);
                let meta = meta.inspect_err(|error| tracing::warn!(%error, "a snapshot cannot be exported"));
                Some(Input::SnapshotBuilt { region_id, meta: meta.ok().map(Box::new) })
            }
            SnapshotWork::Send(envelope) => {
                let done = SnapshotDone::new(self.handle.clone(), self.files.clone(), &envelope);
                self.transport.send_snapshot(envelope, self.files.clone(), done);
                None
            }
        }
    }
}

/// Whether applying takes no longer than handing it over would: what reads or removes a region, or flushes, never does.
fn is_small(tasks: &[ApplyTask]) -> bool {
    let mut bytes = 0;
    tasks.iter().all(|task| match task {
        ApplyTask::Register(_) => true,
        ApplyTask::Entries { entries, .. } => {
            bytes += entries.iter().map(|e| e.data.len()).sum::<usize>();
            bytes <= INLINE_APPLY_BYTES_MAX && !entries.iter().any(is_admin)
        }
        ApplyTask::Restore { .. } | ApplyTask::Refuse(_) | ApplyTask::Export { .. } | ApplyTask::Destroy { .. } => {
            false
        }
    })
}

/// The state machine with its inputs, its clock and its queues.
pub(super) struct Crank<Q> {
    store: Store,
    worker: Worker,
    queues: Q,
    pd: mpsc::Sender<PdEvent>,
    pd_late: VecDeque<PdEvent>,
    env: Env,
    inputs: Receiver<Input>,
    inputs_max: usize,
    tick: Duration,
    next_tick: Monotonic,
    /// Number of the last batch that the log queue has and did not report; 0 when it has none.
    log_waiting: u64,
    /// Batches of tasks that the apply queue has.
    apply_waiting: usize,
}

impl<Q: Queues> Crank<Q> {
    /// A crank that has not been turned, over the queues that `queues` makes for its worker.
    pub(super) fn new(params: DriverParams, queues: impl FnOnce(&Worker) -> Q) -> Self {
        let DriverParams { store, apply, engine, log, files, transport, pd, env, handle, inputs } = params;
        let tick = handle.config().tick;
        let inputs_max = handle.config().round_inputs_max;
        let apply = Arc::new(Mutex::new(apply));
        let worker = Worker { log, apply, engine, files, transport, handle, last_sync_us: Arc::default() };
        Crank {
            store,
            queues: queues(&worker),
            worker,
            pd,
            pd_late: VecDeque::new(),
            next_tick: env.now().after(tick),
            env,
            inputs,
            inputs_max,
            tick,
            log_waiting: 0,
            apply_waiting: 0,
        }
    }

    /// The state machine.
    pub(super) fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// What does the work of its queues.
    #[cfg(test)]
    pub(super) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// What waits for the crank.
    pub(super) fn inputs(&self) -> &Receiver<Input> {
        &self.inputs
    }

    /// How long the crank may sleep when nothing comes in.
    pub(super) fn until_tick(&self) -> Duration {
        self.next_tick.since(self.env.now())
    }

    /// One round: takes what waits, and `first` before it; steps the clock if it is time; has everything done that came
    /// of it.
    ///
    /// # Errors
    /// Any error stops the store.
    pub(super) fn round(&mut self, first: Option<Input>) -> Result<(), StoreError> {
        let now = self.env.now();
        let mut taken = usize::from(first.is_some());
        if let Some(input) = first {
            self.take(input, now)?;
        }
        while taken < self.inputs_max
            && let Ok(input) = self.inputs.try_recv()
        {
            taken += 1;
            self.take(input, now)?;
        }
        if now >= self.next_tick {
            // Ticks that were missed are not made up for: a follower must see real time pass before it campaigns.
            self.next_tick = now.after(self.tick);
            self.store.tick(now);
            self.report_late();
        }
        self.turn(now)
    }

    /// Hands one input to the state machine.
    ///
    /// # Errors
    /// Any error stops the store.
    pub(super) fn take(&mut self, input: Input, now: Monotonic) -> Result<(), StoreError> {
        match &input {
            Input::Persisted(number) if *number >= self.log_waiting => self.log_waiting = 0,
            Input::Applied(_) => self.apply_waiting = self.apply_waiting.saturating_sub(1),
            _ => {}
        }
        self.store.handle(input, now)
    }

    /// Has everything done that the inputs so far brought about.
    ///
    /// # Errors
    /// Any error stops the store.
    pub(super) fn turn(&mut self, now: Monotonic) -> Result<(), StoreError> {
        loop {
            let effects = self.store.take_effects(now);
            if effects.is_empty() {
                return Ok(());
            }
            self.dispatch(effects, now)?;
        }
    }

    fn dispatch(&mut self, effects: Effects, now: Monotonic) -> Result<(), StoreError> {
        if !effects.send.is_empty() {
            self.worker.transport.send(effects.send);
        }
        for event in effects.pd {
            self.report(event);
        }
        for envelope in effects.snapshots {
            self.queues.snapshot(SnapshotWork::Send(envelope));
        }
        if let Some(work) = effects.persist {
            self.persist(work, now)?;
        }
        if !effects.apply.is_empty() {
            self.apply(effects.apply, now)?;
        }
        Ok(())
    }

    fn may_do_at_once(&mut self) -> bool {
        self.inputs.is_empty() && self.queues.may_do_at_once()
    }

    fn persist(&mut self, work: LogWork, now: Monotonic) -> Result<(), StoreError> {
        let is_fast = self.worker.last_sync_us.load(Ordering::Relaxed) < INLINE_SYNC_MAX.as_micros() as u64;
        if self.log_waiting == 0 && is_fast && self.may_do_at_once() {
            let persisted = self.worker.append(work, std::iter::empty())?;
            return self.store.handle(persisted, now);
        }
        self.log_waiting = work.0;
        self.queues.log(work);
        Ok(())
    }

    fn apply(&mut self, tasks: Vec<ApplyTask>, now: Monotonic) -> Result<(), StoreError> {
        if self.apply_waiting == 0 && is_small(&tasks) && self.may_do_at_once() {
            let (applied, exports) = self.worker.apply(tasks)?;
            exports.into_iter().for_each(|export| self.queues.snapshot(export));
            return self.store.handle(applied, now);
        }
        self.apply_waiting += 1;
        self.queues.apply(tasks);
        Ok(())
    }

    fn report(&mut self, event: PdEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.pd.try_send(event)
            && matches!(event, PdEvent::Leads { .. })
        {
            // A heartbeat comes again by itself; that this store leads is said once. As many as there are regions.
            self.pd_late.push_back(event);
        }
    }

    fn report_late(&mut self) {
        for _ in 0..self.pd_late.len() {
            if let Some(event) = self.pd_late.pop_front() {
                self.report(event);
            }
        }
    }
}
