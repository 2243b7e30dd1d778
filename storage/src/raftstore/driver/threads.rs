//! The queues of a raft store as threads: raft, log, apply, snapshots.
//!
//! Who holds what: the raft thread owns the state machine. The apply core is behind a mutex that only the raft thread and
//! the apply thread take, never both for long: tasks go to the thread whenever it has any, and otherwise the raft thread
//! may run small ones itself. The same for the log.
//!
//! Stopping: the raft thread is told to stop, its channels close, the others finish what they have.

use super::{Crank, DriverParams, LogWork, Queues, SnapshotWork, Worker};
use crate::raftstore::StoreError;
use crate::raftstore::apply::ApplyTask;
use crate::raftstore::handle::Mailbox;
use crate::raftstore::message::Input;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What happens when the store must stop: called once, on the thread that met the error.
pub type OnFatal = Arc<dyn Fn(&StoreError) + Send + Sync>;

/// The threads of a store.
pub struct Threads {
    stop: Arc<AtomicBool>,
    mailbox: Mailbox,
    threads: Vec<JoinHandle<()>>,
}

struct Channels {
    log: Sender<LogWork>,
    apply: Sender<Vec<ApplyTask>>,
    snapshot: Sender<SnapshotWork>,
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
        true
    }
}

impl Threads {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a thread cannot be started.
    pub fn start(params: DriverParams, on_fatal: OnFatal) -> Result<Threads, StoreError> {
        let stop = Arc::new(AtomicBool::new(false));
        let name = |what: &str| format!("{what}-{}", params.store.id());
        let [log_name, apply_name, snapshot_name, raft_name] =
            [name("raft-log"), name("apply"), name("snapshot"), name("raft")];
        let (log, log_work) = crossbeam_channel::unbounded();
        let (apply, apply_work) = crossbeam_channel::unbounded();
        let (snapshot, snapshot_work) = crossbeam_channel::unbounded();
        let channels = Channels { log, apply, snapshot: snapshot.clone() };
        let mailbox = params.handle.mailbox().clone();
        let crank = Crank::new(params, |_| channels);

        let (worker, done) = (crank.worker.clone(), mailbox.clone());
        let log = move || run_log(&worker, &log_work, &done);
        let (worker, done) = (crank.worker.clone(), mailbox.clone());
        let apply = move || run_apply(&worker, &apply_work, &snapshot, &done);
        let (worker, done) = (crank.worker.clone(), mailbox.clone());
        let snapshots = move || {
            snapshot_work.into_iter().filter_map(|work| worker.snapshot(work)).for_each(|input| done.report(input));
            Ok(())
        };
        let stopped = stop.clone();
        let raft = move || run_raft(crank, &stopped);
        let threads = vec![
            spawn(log_name, on_fatal.clone(), log)?,
            spawn(apply_name, on_fatal.clone(), apply)?,
            spawn(snapshot_name, on_fatal.clone(), snapshots)?,
            spawn(raft_name, on_fatal, raft)?,
        ];
        Ok(Threads { stop, mailbox, threads })
    }

    /// Ends the threads, in the order in which work flows, and waits for them.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.mailbox.report(Input::Wake);
        for thread in self.threads.drain(..).rev() {
            if thread.join().is_err() {
                tracing::error!("a raft thread panicked");
            }
        }
    }
}

fn spawn(
    name: String,
    on_fatal: OnFatal,
    run: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let guarded = move || match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => on_fatal(&error),
        Err(_) => on_fatal(&StoreError::Io("a raft thread panicked".into())),
    };
    std::thread::Builder::new().name(name).spawn(guarded).map_err(|e| StoreError::Io(e.to_string()))
}

fn run_raft(mut crank: Crank<Channels>, stop: &AtomicBool) -> Result<(), StoreError> {
    let mut first = None;
    loop {
        crank.round(first)?;
        if stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        first = match crank.inputs().recv_timeout(crank.until_tick()) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
    }
}

fn run_log(worker: &Worker, work: &Receiver<LogWork>, done: &Mailbox) -> Result<(), StoreError> {
    for first in work {
        done.report(worker.append(first, work.try_iter())?);
    }
    Ok(())
}

fn run_apply(
    worker: &Worker,
    work: &Receiver<Vec<ApplyTask>>,
    snapshots: &Sender<SnapshotWork>,
    done: &Mailbox,
) -> Result<(), StoreError> {
    for tasks in work {
        let (applied, exports) = worker.apply(tasks)?;
        for export in exports {
            let _ = snapshots.send(export);
        }
        done.report(applied);
    }
    Ok(())
}
