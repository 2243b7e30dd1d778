//! Turns a raft store's crank with threads.
//!
//! ```text
//!  callers, transport ──▶ mailbox ──▶ raft thread ──┬─▶ log thread: one synced write for all that waits ──┐
//!                            ▲                      ├─▶ apply thread: engine writes, answers ─────────────┤
//!                            │                      └─▶ snapshot thread: files                            │
//!                            └──────────────── persisted, applied, built ────────────────────────────────┘
//! ```
//! Who holds what: the raft thread owns the state machine. The apply core is behind a mutex that only the raft thread and
//! the apply thread take, never both for long: tasks go to the thread whenever it has any, and otherwise the raft thread
//! may run small ones itself. The same for the log. Doing the work at once costs nobody anything when nothing else waits,
//! and saves a lone client two thread wake-ups; as soon as others wait, the work goes to the threads, whose queues make
//! the batches. A disk that was slow the last time is left to the log thread, so that heartbeats keep going out.
//!
//! Stopping: the handle is told to stop, the raft thread ends, its channels close, the others finish what they have.

use super::StoreError;
use super::apply::{ApplyCore, ApplyTask};
use super::driver_sim::DriverParams;
use super::handle::Mailbox;
use super::message::Input;
use super::store::{Effects, PdEvent, Store};
use super::transport::{SnapshotDone, Transport};
use crate::raftlog::{LogBatch, RaftLog};
use basalt_common::env::{Env, Monotonic};
use basalt_common::metrics;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// A sync that took longer than this the last time is not waited for by the raft thread.
const INLINE_SYNC_MAX: Duration = Duration::from_millis(2);
/// The raft thread applies at most this many bytes of entries itself.
const INLINE_APPLY_BYTES_MAX: usize = 16 << 10;
/// Batches merged into one synced write.
const LOG_BATCHES_MAX: usize = 256;

/// What happens when the store must stop: called once, on the thread that met the error.
pub type OnFatal = Arc<dyn Fn(&StoreError) + Send + Sync>;

/// The threads of a store.
pub struct Runner {
    stop: Arc<AtomicBool>,
    wake: Sender<Input>,
    threads: Vec<JoinHandle<()>>,
}

/// A mailbox for [`Runner::start`].
pub fn mailbox(inputs_max: usize) -> (Mailbox, Sender<Input>, Receiver<Input>) {
    let (tx, rx) = crossbeam_channel::unbounded();
    (Mailbox::Thread(tx.clone(), inputs_max), tx, rx)
}

enum SnapshotWork {
    Export(super::apply::ExportJob),
    Send(basalt_proto::raft::Envelope),
}

impl Runner {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a thread cannot be started.
    pub fn start(
        params: DriverParams,
        inputs: (Sender<Input>, Receiver<Input>),
        on_fatal: OnFatal,
    ) -> Result<Runner, StoreError> {
        let (wake, mailbox) = inputs;
        let stop = Arc::new(AtomicBool::new(false));
        let name = |what: &str| format!("{what}-{}", params.store.id());
        let (log_tx, log_rx) = crossbeam_channel::unbounded::<(u64, LogBatch)>();
        let (apply_tx, apply_rx) = crossbeam_channel::unbounded::<Vec<ApplyTask>>();
        let (snapshot_tx, snapshot_rx) = crossbeam_channel::unbounded::<SnapshotWork>();
        let apply = Arc::new(Mutex::new(params.apply));
        let names = [name("raft-log"), name("apply"), name("snapshot"), name("raft")];
        let [log_name, apply_name, snapshot_name, raft_name] = names;
        let mut threads = Vec::new();

        let (log, tx, fatal) = (params.log.clone(), wake.clone(), on_fatal.clone());
        threads.push(spawn(log_name, on_fatal.clone(), move || run_log(&*log, &log_rx, &tx, &fatal))?);
        let (core, tx, snapshots) = (apply.clone(), wake.clone(), snapshot_tx.clone());
        let fatal = on_fatal.clone();
        let run = move || run_apply(&core, &apply_rx, &tx, &snapshots, &fatal);
        threads.push(spawn(apply_name, on_fatal.clone(), run)?);
        let (engine, files, transport) = (params.engine, params.files, params.transport.clone());
        let (tx, handle) = (wake.clone(), params.handle.clone());
        let run = move || {
            for work in snapshot_rx {
                match work {
                    SnapshotWork::Export(job) => {
                        let region_id = job.meta.region.as_ref().map_or(0, |r| r.id).into();
                        let meta = files.export(&*engine, job);
                        let meta = meta.inspect_err(|error| tracing::warn!(%error, "a snapshot cannot be exported"));
                        let _ = tx.send(Input::SnapshotBuilt { region_id, meta: meta.ok().map(Box::new) });
                    }
                    SnapshotWork::Send(envelope) => {
                        let done = SnapshotDone::new(handle.clone(), &envelope);
                        let meta = super::snapshot::snapshot_meta(&envelope);
                        transport.send_snapshot(envelope, files.clone(), done);
                        // Another follower that was promised the same files asks again.
                        if let Some(meta) = meta {
                            files.remove_sent(&meta);
                        }
                    }
                }
            }
        };
        threads.push(spawn(snapshot_name, on_fatal.clone(), run)?);
        let loop_ = RaftLoop {
            tick: params.handle.config().tick,
            inputs_max: params.handle.config().round_inputs_max,
            store: params.store,
            apply,
            log: params.log,
            transport: params.transport,
            pd: params.pd,
            pd_late: VecDeque::new(),
            env: params.env,
            mailbox,
            log_tx,
            apply_tx,
            snapshot_tx,
            log_waiting: 0,
            apply_waiting: 0,
            last_sync: Duration::ZERO,
            stop: stop.clone(),
        };
        let fatal = on_fatal.clone();
        threads.push(spawn(raft_name, on_fatal, move || {
            if let Err(error) = loop_.run() {
                fatal(&error);
            }
        })?);
        Ok(Runner { stop, wake, threads })
    }

    /// Ends the threads, in the order in which work flows, and waits for them.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Any input wakes the raft thread; this one means nothing to it.
        let _ = self.wake.send(Input::Persisted(0));
        for thread in self.threads.drain(..).rev() {
            if thread.join().is_err() {
                tracing::error!("a raft thread panicked");
            }
        }
    }
}

fn spawn(name: String, on_fatal: OnFatal, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let guarded = move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            on_fatal(&StoreError::Corrupt("a raft thread panicked".into()));
        }
    };
    std::thread::Builder::new().name(name).spawn(guarded).map_err(|e| StoreError::Io(e.to_string()))
}

fn run_log(log: &dyn RaftLog, work: &Receiver<(u64, LogBatch)>, done: &Sender<Input>, on_fatal: &OnFatal) {
    while let Ok((mut number, mut batch)) = work.recv() {
        for (later, more) in work.try_iter().take(LOG_BATCHES_MAX) {
            number = later;
            batch.merge(more);
        }
        let timer = metrics::RAFT_LOG_APPEND_SECONDS.start_timer();
        let appended = log.append(&batch);
        timer.observe_duration();
        if let Err(error) = appended {
            // A failed sync must not be tried again: what the disk holds is not known.
            return on_fatal(&error.into());
        }
        let _ = done.send(Input::Persisted(number));
    }
}

fn run_apply(
    core: &Mutex<ApplyCore>,
    work: &Receiver<Vec<ApplyTask>>,
    done: &Sender<Input>,
    snapshots: &Sender<SnapshotWork>,
    on_fatal: &OnFatal,
) {
    while let Ok(tasks) = work.recv() {
        let mut core = core.lock();
        match core.run(tasks) {
            Ok(applied) => {
                for job in core.take_exports() {
                    let _ = snapshots.send(SnapshotWork::Export(job));
                }
                let _ = done.send(Input::Applied(applied));
            }
            Err(error) => return on_fatal(&error),
        }
    }
}

struct RaftLoop {
    tick: Duration,
    inputs_max: usize,
    store: Store,
    apply: Arc<Mutex<ApplyCore>>,
    log: Arc<dyn RaftLog>,
    transport: Arc<dyn Transport>,
    pd: mpsc::Sender<PdEvent>,
    pd_late: VecDeque<PdEvent>,
    env: Env,
    mailbox: Receiver<Input>,
    log_tx: Sender<(u64, LogBatch)>,
    apply_tx: Sender<Vec<ApplyTask>>,
    snapshot_tx: Sender<SnapshotWork>,
    /// Number of the last batch handed to the log thread and not reported durable; 0 when it has none.
    log_waiting: u64,
    /// Batches of tasks that the apply thread has.
    apply_waiting: usize,
    last_sync: Duration,
    stop: Arc<AtomicBool>,
}

impl RaftLoop {
    fn run(mut self) -> Result<(), StoreError> {
        let mut next_tick = self.env.now().after(self.tick);
        self.turn(self.env.now())?;
        while !self.stop.load(Ordering::SeqCst) {
            let wait = Duration::from_nanos(next_tick.0.saturating_sub(self.env.now().0));
            let first = match self.mailbox.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let now = self.env.now();
            if let Some(input) = first {
                self.take(input, now)?;
                for _ in 1..self.inputs_max {
                    let Ok(input) = self.mailbox.try_recv() else { break };
                    self.take(input, now)?;
                }
            }
            if now >= next_tick {
                // Ticks that were missed are not made up for: a follower must see real time pass before it campaigns.
                next_tick = now.after(self.tick);
                self.store.tick(now);
                self.report_late();
            }
            self.turn(now)?;
        }
        Ok(())
    }

    fn take(&mut self, input: Input, now: Monotonic) -> Result<(), StoreError> {
        match &input {
            Input::Persisted(number) if *number >= self.log_waiting => self.log_waiting = 0,
            Input::Applied(_) => self.apply_waiting = self.apply_waiting.saturating_sub(1),
            _ => {}
        }
        self.store.handle(input, now)
    }

    fn turn(&mut self, now: Monotonic) -> Result<(), StoreError> {
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
            self.transport.send(effects.send);
        }
        for event in effects.pd {
            self.report(event);
        }
        for envelope in effects.snapshots {
            let _ = self.snapshot_tx.send(SnapshotWork::Send(envelope));
        }
        if let Some((number, batch)) = effects.persist {
            self.persist(number, batch, now)?;
        }
        if !effects.apply.is_empty() {
            self.apply(effects.apply, now)?;
        }
        for region in effects.forget {
            self.log.remove(region)?;
        }
        Ok(())
    }

    fn persist(&mut self, number: u64, batch: LogBatch, now: Monotonic) -> Result<(), StoreError> {
        if self.log_waiting == 0 && self.mailbox.is_empty() && self.last_sync < INLINE_SYNC_MAX {
            let before = self.env.now();
            self.log.append(&batch)?;
            self.last_sync = self.env.now().since(before);
            metrics::RAFT_LOG_APPEND_SECONDS.observe(self.last_sync.as_secs_f64());
            return self.store.handle(Input::Persisted(number), now);
        }
        // One sync by the log thread later, the raft thread may try for itself again.
        self.last_sync = Duration::ZERO;
        self.log_waiting = number;
        let _ = self.log_tx.send((number, batch));
        Ok(())
    }

    fn apply(&mut self, tasks: Vec<ApplyTask>, now: Monotonic) -> Result<(), StoreError> {
        let small = |task: &ApplyTask| match task {
            ApplyTask::Entries { entries, .. } => entries.iter().map(|e| e.data.len()).sum::<usize>(),
            ApplyTask::Register(_) => 0,
            ApplyTask::Restore { .. } | ApplyTask::Export { .. } | ApplyTask::Destroy { .. } => usize::MAX / 2,
        };
        let bytes = tasks.iter().map(small).fold(0usize, usize::saturating_add);
        if self.apply_waiting == 0 && bytes <= INLINE_APPLY_BYTES_MAX && self.mailbox.is_empty() {
            let applied = self.apply.lock().run(tasks)?;
            return self.store.handle(Input::Applied(applied), now);
        }
        self.apply_waiting += 1;
        let _ = self.apply_tx.send(tasks);
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
