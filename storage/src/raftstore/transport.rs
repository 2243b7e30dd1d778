//! Raft messages between stores: a channel inside a process, a gRPC stream between processes.
//!
//! Nothing here blocks the raft thread and nothing is retried: a message that finds no room or no connection is dropped,
//! and raft sends what still matters again. Envelopes to one store share a queue, leave many at a time in one
//! [`EnvelopeBatch`], and a stream that broke is opened again after a pause that grows. Snapshots go by a stream of their
//! own, so that they do not delay heartbeats.

pub mod grpc;

use super::StoreError;
use super::handle::RaftHandle;
use super::message::Input;
use super::snapshot::{SnapshotFiles, SnapshotReceiver, snapshot_in};
use basalt_common::{PeerId, RegionId, StoreId};
use basalt_proto::raft::snapshot_chunk::Part;
use basalt_proto::raft::{Envelope, SnapshotChunk, SnapshotMeta};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Carries envelopes to other stores. Never blocks, may lose.
pub trait Transport: Send + Sync + 'static {
    /// Sends messages to the stores they name.
    fn send(&self, envelopes: Vec<Envelope>);

    /// Sends a snapshot message and its files; the outcome goes to `done` when it is known. Called on a thread that may
    /// wait.
    fn send_snapshot(&self, envelope: Envelope, files: Arc<SnapshotFiles>, done: SnapshotDone);
}

/// Reports whether a snapshot arrived; dropped without a word it counts as lost. The files that were sent go with it:
/// another follower that was promised them asks again.
pub struct SnapshotDone {
    handle: RaftHandle,
    files: Arc<SnapshotFiles>,
    meta: Option<SnapshotMeta>,
    region_id: RegionId,
    to: PeerId,
    arrived: bool,
}

impl SnapshotDone {
    /// A report to the store that sends.
    pub fn new(handle: RaftHandle, files: Arc<SnapshotFiles>, envelope: &Envelope) -> Self {
        let to = PeerId(envelope.to.as_ref().map_or(0, |p| p.id));
        let meta = snapshot_in(envelope);
        SnapshotDone { handle, files, meta, region_id: RegionId(envelope.region_id), to, arrived: false }
    }

    /// It arrived.
    pub fn arrived(mut self) {
        self.arrived = true;
    }
}

impl Drop for SnapshotDone {
    fn drop(&mut self) {
        if let Some(meta) = &self.meta {
            self.files.remove_sent(meta);
        }
        let (region_id, to, arrived) = (self.region_id, self.to, self.arrived);
        self.handle.mailbox().report(Input::SnapshotSent { region_id, to, arrived });
    }
}

/// The receiving side of a store.
#[derive(Clone)]
pub struct Inbound {
    /// Where messages go.
    pub handle: RaftHandle,
    /// Where snapshots go.
    pub files: Arc<SnapshotFiles>,
}

impl Inbound {
    /// Takes a whole snapshot, chunk by chunk, and announces it to the store.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it is incomplete, damaged or cannot be written.
    pub fn take_snapshot(
        &self,
        chunks: impl Iterator<Item = Result<SnapshotChunk, StoreError>>,
    ) -> Result<(), StoreError> {
        let mut arriving = self.begin_snapshot();
        for chunk in chunks {
            arriving.take(chunk?)?;
        }
        arriving.announce()
    }

    /// Begins to take a snapshot.
    pub fn begin_snapshot(&self) -> ArrivingSnapshot {
        ArrivingSnapshot { inbound: self.clone(), receiver: None }
    }
}

/// A snapshot of which the chunks come one by one; dropped before the end, nothing of it is left.
pub struct ArrivingSnapshot {
    inbound: Inbound,
    receiver: Option<SnapshotReceiver>,
}

impl ArrivingSnapshot {
    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it is out of order, damaged or cannot be written.
    pub fn take(&mut self, chunk: SnapshotChunk) -> Result<(), StoreError> {
        match (chunk.part, &mut self.receiver) {
            (Some(Part::Head(head)), None) => self.receiver = Some(self.inbound.files.receive(head)?),
            (Some(Part::Data(data)), Some(receiver)) => receiver.write(&data)?,
            _ => return Err(StoreError::Io("a snapshot's chunks are out of order".into())),
        }
        Ok(())
    }

    /// Makes it available, and tells the store.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it is incomplete, and when the store takes no messages now.
    pub fn announce(self) -> Result<(), StoreError> {
        let receiver = self.receiver.ok_or_else(|| StoreError::Io("a snapshot without a head".into()))?;
        let meta = receiver.meta().clone();
        if self.inbound.handle.message(receiver.finish()?) {
            return Ok(());
        }
        self.inbound.handle.mailbox().report(Input::SnapshotRefused(Box::new(meta)));
        Err(StoreError::Io("the store is too busy for a snapshot".into()))
    }
}

/// The stores of one process, which reach each other without a network.
#[derive(Default)]
pub struct LocalTransport {
    stores: RwLock<BTreeMap<StoreId, Inbound>>,
    chunk_bytes: usize,
}

impl LocalTransport {
    /// A transport that no store has joined yet.
    pub fn new(chunk_bytes: usize) -> Self {
        LocalTransport { stores: RwLock::default(), chunk_bytes }
    }

    /// Lets a store be reached.
    pub fn join(&self, inbound: Inbound) {
        self.stores.write().insert(inbound.handle.store_id(), inbound);
    }

    /// Lets a store no longer be reached.
    pub fn leave(&self, store: StoreId) {
        self.stores.write().remove(&store);
    }

    /// The receiving sides of all stores of this process.
    pub fn all(&self) -> Vec<Inbound> {
        self.stores.read().values().cloned().collect()
    }

    /// The receiving side of a store of this process.
    pub fn inbound(&self, store: StoreId) -> Option<Inbound> {
        self.stores.read().get(&store).cloned()
    }
}

impl Transport for LocalTransport {
    fn send(&self, envelopes: Vec<Envelope>) {
        let stores = self.stores.read();
        for envelope in envelopes {
            if let Some(inbound) = stores.get(&target(&envelope)) {
                inbound.handle.message(envelope);
            }
        }
    }

    fn send_snapshot(&self, envelope: Envelope, files: Arc<SnapshotFiles>, done: SnapshotDone) {
        let Some(inbound) = self.inbound(target(&envelope)) else { return };
        match files.chunks(envelope, self.chunk_bytes).and_then(|chunks| inbound.take_snapshot(chunks)) {
            Ok(()) => done.arrived(),
            Err(error) => tracing::warn!(%error, "a snapshot did not arrive"),
        }
    }
}

/// The store that an envelope is for.
pub fn target(envelope: &Envelope) -> StoreId {
    StoreId(envelope.to.as_ref().map_or(0, |p| p.store_id))
}
