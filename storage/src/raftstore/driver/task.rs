//! The queues of a raft store as one task, for simulations: on one thread, under a clock that is simulated, the same inputs
//! at the same times and the same lateness give the same effects.
//!
//! ```text
//!  crank ──▶ queue ── late ──▶ done ──▶ reports ── late ──▶ mailbox
//! ```
//! What threads do at the same time happens here one after the other, in an order that [`Lateness`] decides: a piece of
//! work is done late, and its report arrives late, while the next pieces are done. Both keep their queue's order.

use super::{Crank, DriverParams, LogWork, Queues, SnapshotWork, Worker};
use crate::raftstore::StoreError;
use crate::raftstore::apply::ApplyTask;
use crate::raftstore::handle::Mailbox;
use crate::raftstore::message::Input;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// A queue of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Makes entries durable.
    Log,
    /// Applies them.
    Apply,
    /// Writes and sends snapshots.
    Snapshot,
}

/// How late the work of a simulated store is.
pub trait Lateness: Send + Sync + 'static {
    /// How long the next piece of a queue's work waits before it is done, or its report before it arrives.
    fn late(&self, queue: Queue) -> Duration;

    /// Whether the crank may do the next small piece itself.
    fn may_do_at_once(&self) -> bool;
}

/// Nothing is late.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prompt;

impl Lateness for Prompt {
    fn late(&self, _: Queue) -> Duration {
        Duration::ZERO
    }

    fn may_do_at_once(&self) -> bool {
        true
    }
}

struct Channels {
    log: mpsc::UnboundedSender<LogWork>,
    apply: mpsc::UnboundedSender<Vec<ApplyTask>>,
    snapshot: mpsc::UnboundedSender<SnapshotWork>,
    lateness: Arc<dyn Lateness>,
}

impl Queues for Channels {
    fn log(&mut self, work: LogWork) {
        let _ = self.log.send(work);
    }

    fn apply(&mut self, work: Vec<ApplyTask>) {
        let _ = self.apply.send(work);
    }

    fn snapshot(&mut self, work: SnapshotWork) {
        let _ = self.snapshot.send(work);
    }

    fn may_do_at_once(&mut self) -> bool {
        self.lateness.may_do_at_once()
    }
}

/// Runs a store until an error stops it or `stop` completes. Inputs notify `wake`. After each round the store's
/// [`invariants`](crate::raftstore::store::Store::check_invariants) are looked at.
///
/// # Errors
/// Any error of the state machine, the log or the engine.
///
/// # Panics
/// When an invariant does not hold.
pub async fn run(
    params: DriverParams,
    lateness: Arc<dyn Lateness>,
    wake: Arc<Notify>,
    stop: impl Future<Output = ()>,
) -> Result<(), StoreError> {
    let (log, log_work) = mpsc::unbounded_channel();
    let (apply, apply_work) = mpsc::unbounded_channel();
    let (snapshot, snapshot_work) = mpsc::unbounded_channel();
    let mailbox = params.handle.mailbox().clone();
    let channels = Channels { log, apply, snapshot: snapshot.clone(), lateness: lateness.clone() };
    let crank = Crank::new(params, |_| channels);
    let worker = crank.worker.clone();
    let (persisted, persisted_late) = mpsc::unbounded_channel();
    let (applied, applied_late) = mpsc::unbounded_channel();
    let (built, built_late) = mpsc::unbounded_channel();
    let ended = tokio::select! {
        biased;
        () = stop => return Ok(()),
        ended = turn(crank, &wake) => ended,
        ended = run_log(&worker, log_work, persisted, &*lateness) => ended,
        ended = run_apply(&worker, apply_work, (applied, snapshot), &*lateness) => ended,
        ended = run_snapshots(&worker, snapshot_work, built, &*lateness) => ended,
        ended = report(Queue::Log, persisted_late, &mailbox, &*lateness) => ended,
        ended = report(Queue::Apply, applied_late, &mailbox, &*lateness) => ended,
        ended = report(Queue::Snapshot, built_late, &mailbox, &*lateness) => ended,
    };
    ended.map(|never| match never {})
}

/// A part of the task runs as long as the task does.
type Part = Result<Infallible, StoreError>;

async fn turn(mut crank: Crank<Channels>, wake: &Notify) -> Part {
    loop {
        crank.round(None)?;
        if let Err(broken) = crank.store().check_invariants() {
            panic!("store {}: {broken}", crank.store().id());
        }
        tokio::select! {
            biased;
            () = wake.notified() => {}
            () = tokio::time::sleep(crank.until_tick()) => {}
        }
    }
}

async fn wait(late: Duration) {
    if !late.is_zero() {
        tokio::time::sleep(late).await;
    }
}

async fn run_log(
    worker: &Worker,
    mut work: mpsc::UnboundedReceiver<LogWork>,
    done: mpsc::UnboundedSender<Input>,
    lateness: &dyn Lateness,
) -> Part {
    while let Some(first) = work.recv().await {
        wait(lateness.late(Queue::Log)).await;
        let persisted = worker.append(first, std::iter::from_fn(|| work.try_recv().ok()))?;
        let _ = done.send(persisted);
    }
    std::future::pending().await
}

async fn run_apply(
    worker: &Worker,
    mut work: mpsc::UnboundedReceiver<Vec<ApplyTask>>,
    (done, snapshots): (mpsc::UnboundedSender<Input>, mpsc::UnboundedSender<SnapshotWork>),
    lateness: &dyn Lateness,
) -> Part {
    while let Some(tasks) = work.recv().await {
        wait(lateness.late(Queue::Apply)).await;
        let (applied, exports) = worker.apply(tasks)?;
        for export in exports {
            let _ = snapshots.send(export);
        }
        let _ = done.send(applied);
    }
    std::future::pending().await
}

async fn run_snapshots(
    worker: &Worker,
    mut work: mpsc::UnboundedReceiver<SnapshotWork>,
    done: mpsc::UnboundedSender<Input>,
    lateness: &dyn Lateness,
) -> Part {
    while let Some(work) = work.recv().await {
        wait(lateness.late(Queue::Snapshot)).await;
        if let Some(built) = worker.snapshot(work) {
            let _ = done.send(built);
        }
    }
    std::future::pending().await
}

/// Brings reports to the store, in order and late.
async fn report(
    queue: Queue,
    mut reports: mpsc::UnboundedReceiver<Input>,
    mailbox: &Mailbox,
    lateness: &dyn Lateness,
) -> Part {
    while let Some(input) = reports.recv().await {
        wait(lateness.late(queue)).await;
        mailbox.report(input);
    }
    std::future::pending().await
}
