//! The front door of a raft store, whichever driver turns its crank.

use super::delegate::Delegates;
use super::message::{AdminDone, Input, PeerStatus, ReadGrant, Reply};
use crate::config::RaftConfig;
use crate::error::RegionError;
use crate::replicated::RegionCtx;
use basalt_common::{PeerId, RegionId, StoreId};
use basalt_proto::raft::{AdminCommand, Envelope};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How often a write that has no answer yet looks whether its leader still leads.
const LEADERSHIP_CHECK: Duration = Duration::from_millis(500);

/// Where inputs wait for the raft store. The channel itself has no bound, so that what the store's own queues report always
/// fits; everything else is refused above a length.
#[derive(Clone)]
pub struct Mailbox {
    inputs: Sender<Input>,
    inputs_max: usize,
    /// Told of each input, where the crank is turned by a task.
    wake: Option<Arc<Notify>>,
}

impl Mailbox {
    /// A mailbox that refuses more than `inputs_max` inputs of others, and where they come out. A task that drains it is
    /// woken by `wake`; a thread waits for the channel itself.
    pub fn channel(inputs_max: usize, wake: Option<Arc<Notify>>) -> (Mailbox, Receiver<Input>) {
        let (inputs, outputs) = crossbeam_channel::unbounded();
        (Mailbox { inputs, inputs_max, wake }, outputs)
    }

    /// Puts an input in; gives it back when there is no room or nobody drains.
    ///
    /// # Errors
    /// The input.
    pub fn offer(&self, input: Input) -> Result<(), Box<Input>> {
        if self.inputs.len() >= self.inputs_max {
            return Err(Box::new(input));
        }
        self.inputs.send(input).map_err(|e| Box::new(e.0))?;
        self.notify();
        Ok(())
    }

    /// Puts in what the store itself had done. Nobody drains a store that stopped; then it is of no use any more.
    pub fn report(&self, input: Input) {
        let _ = self.inputs.send(input);
        self.notify();
    }

    fn notify(&self) {
        if let Some(wake) = &self.wake {
            wake.notify_one();
        }
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct RaftHandle {
    store_id: StoreId,
    mailbox: Mailbox,
    delegates: Arc<Delegates>,
    config: Arc<RaftConfig>,
}

impl RaftHandle {
    /// A handle of the store that drains `mailbox`.
    pub fn new(store_id: StoreId, mailbox: Mailbox, delegates: Arc<Delegates>, config: Arc<RaftConfig>) -> Self {
        RaftHandle { store_id, mailbox, delegates, config }
    }

    /// Where inputs wait.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The store.
    pub fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// What reading threads look at.
    pub fn delegates(&self) -> &Arc<Delegates> {
        &self.delegates
    }

    /// The store's bounds.
    pub fn config(&self) -> &RaftConfig {
        &self.config
    }

    /// Takes a message from another store; dropped when the mailbox is full, which raft survives. False when it was.
    pub fn message(&self, envelope: Envelope) -> bool {
        let taken = self.mailbox.offer(Input::Message(Box::new(envelope))).is_ok();
        if !taken {
            tracing::debug!(store = %self.store_id, "mailbox full, raft message dropped");
        }
        taken
    }

    /// Puts in an input that needs no answer.
    pub fn notify(&self, input: Input) {
        let _ = self.mailbox.offer(input);
    }

    /// Proposes a write and waits until its fate is known, or until this store does not lead in `term` any more: as long
    /// as it does, reads must be kept away from what the write may still change, so there is no earlier end.
    ///
    /// # Errors
    /// [`RegionError::Undetermined`] when its fate is not known; otherwise it was not applied.
    pub async fn propose(&self, ctx: RegionCtx, term: u64, data: Bytes) -> Result<(), RegionError> {
        let (reply, mut rx) = Reply::channel();
        if self.mailbox.offer(Input::Propose { ctx, term, data, reply }).is_err() {
            return Err(stopped());
        }
        let mut has_lost = false;
        loop {
            match tokio::time::timeout(LEADERSHIP_CHECK, &mut rx).await {
                Ok(Ok(result)) => return result,
                Ok(Err(_)) => return Err(RegionError::Undetermined),
                Err(_) if self.delegates.get(ctx.region_id).is_some_and(|delegate| delegate.term() == term) => {}
                // A new leader often applies the write soon after.
                Err(_) if !has_lost => has_lost = true,
                Err(_) => return Err(RegionError::Undetermined),
            }
        }
    }

    /// Proposes an admin command and waits until it is applied.
    ///
    /// # Errors
    /// As [`RaftHandle::propose`].
    pub async fn admin(&self, ctx: RegionCtx, command: AdminCommand, wait: Duration) -> Result<AdminDone, RegionError> {
        let (reply, rx) = Reply::channel();
        self.ask(Input::Admin { ctx, command, reply }, rx, wait, RegionError::Undetermined).await
    }

    /// Waits until a quorum confirms that this store leads.
    ///
    /// # Errors
    /// [`RegionError::ReadNotReady`] when it did not in time, and as the region's state demands.
    pub async fn read(&self, ctx: RegionCtx, wait: Duration) -> Result<ReadGrant, RegionError> {
        let (reply, rx) = Reply::channel();
        self.ask(Input::Read { ctx, reply }, rx, wait, RegionError::ReadNotReady(ctx.region_id)).await
    }

    /// Begins to hand leadership over.
    ///
    /// # Errors
    /// [`RegionError`] when this store does not lead or the other peer cannot.
    pub async fn transfer_leader(&self, region_id: RegionId, to: PeerId, wait: Duration) -> Result<(), RegionError> {
        let (reply, rx) = Reply::channel();
        self.ask(Input::TransferLeader { region_id, to, reply }, rx, wait, RegionError::ReadNotReady(region_id)).await
    }

    /// What the store's peers look like.
    ///
    /// # Errors
    /// [`RegionError::ServerIsBusy`] when the store does not answer.
    pub async fn status(&self, region_id: Option<RegionId>) -> Result<Vec<PeerStatus>, RegionError> {
        let (reply, rx) = Reply::channel();
        self.ask(Input::Status { region_id, reply }, rx, self.config.request_timeout, stopped()).await
    }

    async fn ask<T>(
        &self,
        input: Input,
        rx: oneshot::Receiver<Result<T, RegionError>>,
        wait: Duration,
        late: RegionError,
    ) -> Result<T, RegionError> {
        if self.mailbox.offer(input).is_err() {
            return Err(stopped());
        }
        match tokio::time::timeout(wait.min(self.config.request_timeout), rx).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(late),
        }
    }
}

fn stopped() -> RegionError {
    RegionError::ServerIsBusy {
        reason: "the raft store takes no more requests now",
        backoff: Duration::from_millis(50),
    }
}
