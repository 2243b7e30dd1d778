//! Turns a raft store's crank without threads: everything an input brings about is done before the next is looked at.
//!
//! For simulations: one task a store, on one thread, under a clock that can be paused. What the threads of
//! [`super::runner`] do at the same time happens here one after the other, and the same inputs at the same times give the
//! same effects.

use super::StoreError;
use super::apply::ApplyCore;
use super::handle::{Mailbox, RaftHandle};
use super::message::Input;
use super::snapshot::SnapshotFiles;
use super::store::{PdEvent, Store};
use super::transport::{SnapshotDone, Transport};
use crate::engine::Engine;
use crate::raftlog::RaftLog;
use basalt_common::env::{Env, Monotonic};
use std::sync::Arc;
use tokio::sync::mpsc;

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
}

/// See the module.
pub struct Crank {
    params: DriverParams,
}

impl Crank {
    /// A crank that has not been turned.
    pub fn new(params: DriverParams) -> Self {
        Crank { params }
    }

    /// The state machine.
    pub fn store(&mut self) -> &mut Store {
        &mut self.params.store
    }

    /// Does everything that the inputs so far brought about.
    ///
    /// # Errors
    /// Any error stops the store.
    pub fn turn(&mut self, now: Monotonic) -> Result<(), StoreError> {
        loop {
            let effects = self.params.store.take_effects(now);
            if effects.is_empty() {
                return Ok(());
            }
            self.params.transport.send(effects.send);
            for event in effects.pd {
                let _ = self.params.pd.try_send(event);
            }
            if let Some((number, batch)) = effects.persist {
                self.params.log.append(&batch)?;
                self.params.store.handle(Input::Persisted(number), now)?;
            }
            if !effects.apply.is_empty() {
                let applied = self.params.apply.run(effects.apply)?;
                self.params.store.handle(Input::Applied(applied), now)?;
            }
            for job in self.params.apply.take_exports() {
                let region_id = job.meta.region.as_ref().map_or(0, |r| r.id).into();
                let meta = self.params.files.export(&*self.params.engine, job);
                let meta = meta.inspect_err(|error| tracing::warn!(%error, "a snapshot cannot be exported")).ok();
                self.params.store.handle(Input::SnapshotBuilt { region_id, meta: meta.map(Box::new) }, now)?;
            }
            for envelope in effects.snapshots {
                let done = SnapshotDone::new(self.params.handle.clone(), &envelope);
                self.params.transport.send_snapshot(envelope, self.params.files.clone(), done);
            }
            for region in effects.forget {
                self.params.log.remove(region)?;
            }
        }
    }

    /// Runs until the mailbox is closed or `stop` completes.
    ///
    /// # Errors
    /// Any error of the state machine, the log or the engine.
    pub async fn run(
        mut self,
        mut mailbox: mpsc::Receiver<Input>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), StoreError> {
        let tick = self.params.handle.config().tick;
        let inputs_max = self.params.handle.config().round_inputs_max;
        let mut next_tick = tokio::time::Instant::now() + tick;
        tokio::pin!(stop);
        self.turn(self.params.env.now())?;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                input = mailbox.recv() => {
                    let now = self.params.env.now();
                    let Some(input) = input else { return Ok(()) };
                    self.params.store.handle(input, now)?;
                    for _ in 1..inputs_max {
                        let Ok(input) = mailbox.try_recv() else { break };
                        self.params.store.handle(input, now)?;
                    }
                    self.turn(now)?;
                }
                () = tokio::time::sleep_until(next_tick) => {
                    let now = self.params.env.now();
                    next_tick = tokio::time::Instant::now() + tick;
                    self.params.store.tick(now);
                    self.turn(now)?;
                }
            }
        }
    }
}

/// A mailbox for [`Crank::run`].
pub fn mailbox(inputs_max: usize) -> (Mailbox, mpsc::Receiver<Input>) {
    let (tx, rx) = mpsc::channel(inputs_max);
    (Mailbox::Task(tx), rx)
}
