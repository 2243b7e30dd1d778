//! The transport between processes: one raft stream for each store that is written to, one stream for each snapshot.
//!
//! A store's address is asked of PD when a stream is opened, so a store that moved is found again; while PD is away the last
//! one that it named is used, so that stores find each other without it. A peer that vanished without a word is noticed by
//! HTTP/2's pings. An envelope for a store of this process takes the short way.

use super::{Inbound, LocalTransport, SnapshotDone, Transport, target};
use crate::config::RaftConfig;
use crate::raftstore::StoreError;
use crate::raftstore::message::Input;
use crate::raftstore::node::pd::PdCaller;
use crate::raftstore::snapshot::SnapshotFiles;
use basalt_common::StoreId;
use basalt_proto::MESSAGE_BYTES_MAX;
use basalt_proto::raft::raft_transport_client::RaftTransportClient;
use basalt_proto::raft::raft_transport_server::{RaftTransport, RaftTransportServer};
use basalt_proto::raft::{Done, Envelope, EnvelopeBatch, SnapshotChunk};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

/// Pause after the first failed connection; grows to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest pause between connections.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long PD may take to name addresses before the remembered ones are used.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two pings of a stream's other end.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// A ping that has no answer for so long ends the stream.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Batches on their way through one stream.
const STREAM_BATCHES_MAX: usize = 64;
/// Snapshots on their way to one store at a time.
const SNAPSHOTS_TO_A_STORE_MAX: usize = 2;
/// Snapshot chunks on their way through one stream.
const STREAM_CHUNKS_MAX: usize = 4;

struct Shared {
    local: Arc<LocalTransport>,
    pd: PdCaller,
    config: Arc<RaftConfig>,
    runtime: Handle,
    queues: Mutex<BTreeMap<StoreId, mpsc::Sender<Envelope>>>,
    /// As PD named them last.
    addresses: Mutex<BTreeMap<u64, String>>,
    /// Places for snapshots on their way to a store.
    snapshots: Mutex<BTreeMap<StoreId, Arc<Semaphore>>>,
}

impl Shared {
    fn snapshots_to(&self, store: StoreId) -> Arc<Semaphore> {
        let mut all = self.snapshots.lock();
        all.entry(store).or_insert_with(|| Arc::new(Semaphore::new(SNAPSHOTS_TO_A_STORE_MAX))).clone()
    }

    async fn address(&self, store: StoreId) -> Result<String, StoreError> {
        let asked = tokio::time::timeout(ADDRESS_TIMEOUT, self.pd.stores()).await;
        if let Ok(Ok(stores)) = asked {
            *self.addresses.lock() = stores.into_iter().map(|store| (store.id, store.address)).collect();
        }
        let known = self.addresses.lock().get(&store.0).cloned();
        known.ok_or_else(|| StoreError::Io(format!("PD is away or does not know store {store}")))
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct GrpcTransport {
    shared: Arc<Shared>,
}

impl GrpcTransport {
    /// A transport whose tasks run on the current runtime. Stores of this process join `local`.
    pub fn new(local: Arc<LocalTransport>, pd: PdCaller, config: Arc<RaftConfig>) -> Self {
        let (queues, addresses, snapshots) = (Mutex::default(), Mutex::default(), Mutex::default());
        let runtime = Handle::current();
        GrpcTransport { shared: Arc::new(Shared { local, pd, config, runtime, queues, addresses, snapshots }) }
    }

    fn queue(&self, store: StoreId) -> mpsc::Sender<Envelope> {
        let mut queues = self.shared.queues.lock();
        if let Some(queue) = queues.get(&store) {
            return queue.clone();
        }
        let (tx, rx) = mpsc::channel(self.shared.config.transport_queue_max);
        queues.insert(store, tx.clone());
        self.shared.runtime.spawn(run_queue(self.shared.clone(), store, rx));
        tx
    }
}

impl Transport for GrpcTransport {
    fn send(&self, envelopes: Vec<Envelope>) {
        for envelope in envelopes {
            let store = target(&envelope);
            match self.shared.local.inbound(store) {
                Some(inbound) => {
                    inbound.handle.message(envelope);
                }
                None => {
                    if self.queue(store).try_send(envelope).is_err() {
                        tracing::debug!(%store, "queue full, raft message dropped");
                    }
                }
            }
        }
    }

    fn send_snapshot(&self, envelope: Envelope, files: Arc<SnapshotFiles>, done: SnapshotDone) {
        let store = target(&envelope);
        if self.shared.local.inbound(store).is_some() {
            return self.shared.local.send_snapshot(envelope, files, done);
        }
        let (shared, permits) = (self.shared.clone(), self.shared.snapshots_to(store));
        // A store that hangs holds up what is for it, and nothing else.
        self.shared.runtime.spawn(async move {
            let Ok(_permit) = permits.acquire_owned().await else { return };
            match send_snapshot(shared, store, envelope, files).await {
                Ok(()) => done.arrived(),
                Err(error) => tracing::warn!(%store, %error, "a snapshot did not arrive"),
            }
        });
    }
}

async fn connect(shared: &Shared, store: StoreId) -> Result<RaftTransportClient<Channel>, StoreError> {
    let address = shared.address(store).await?;
    let io = |e: tonic::transport::Error| StoreError::Io(format!("{address}: {e}"));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(io)?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let channel = endpoint.connect().await.map_err(io)?;
    Ok(RaftTransportClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Carries one store's envelopes, over one stream after another.
async fn run_queue(shared: Arc<Shared>, store: StoreId, mut queue: mpsc::Receiver<Envelope>) {
    let mut pause = PAUSE_FIRST;
    loop {
        // Nothing to say, no connection to keep.
        let Some(first) = queue.recv().await else { return };
        match connect(&shared, store).await {
            Ok(client) => {
                pause = PAUSE_FIRST;
                run_stream(&shared, client, first, &mut queue).await;
            }
            Err(error) => tracing::debug!(%store, %error, "no connection"),
        }
        unreachable(&shared, store);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        // What waited meanwhile is old news; raft says again what still matters.
        while queue.try_recv().is_ok() {}
    }
}

async fn run_stream(
    shared: &Shared,
    mut client: RaftTransportClient<Channel>,
    first: Envelope,
    queue: &mut mpsc::Receiver<Envelope>,
) {
    let (tx, rx) = mpsc::channel(STREAM_BATCHES_MAX);
    let call = client.raft(Request::new(ReceiverStream::new(rx)));
    tokio::pin!(call);
    let mut waiting = Some(first);
    loop {
        let envelope = match waiting.take() {
            Some(envelope) => Some(envelope),
            None => tokio::select! {
                ended = &mut call => {
                    tracing::debug!(?ended, "a raft stream ended");
                    return;
                }
                envelope = queue.recv() => envelope,
            },
        };
        let Some(envelope) = envelope else { return };
        let mut bytes = envelope.message.len();
        let mut batch = EnvelopeBatch { envelopes: vec![envelope] };
        while bytes < shared.config.transport_batch_bytes {
            let Ok(more) = queue.try_recv() else { break };
            bytes += more.message.len();
            batch.envelopes.push(more);
        }
        tokio::select! {
            _ = &mut call => return,
            sent = tx.send(batch) => if sent.is_err() { return },
        }
    }
}

fn unreachable(shared: &Shared, store: StoreId) {
    for inbound in shared.local.all() {
        inbound.handle.notify(Input::Unreachable(store));
    }
}

async fn send_snapshot(
    shared: Arc<Shared>,
    store: StoreId,
    envelope: Envelope,
    files: Arc<SnapshotFiles>,
) -> Result<(), StoreError> {
    let mut client = connect(&shared, store).await?;
    let chunks = files.chunks(envelope, shared.config.snapshot_chunk_bytes)?;
    let (tx, rx) = mpsc::channel(STREAM_CHUNKS_MAX);
    let reading = shared.runtime.spawn_blocking(move || {
        for chunk in chunks {
            let chunk = chunk?;
            if tx.blocking_send(chunk).is_err() {
                return Err(StoreError::Io("the stream ended".into()));
            }
        }
        Ok(())
    });
    let call = client.snapshot(Request::new(ReceiverStream::new(rx)));
    let answer = tokio::time::timeout(shared.config.snapshot_timeout, call).await;
    let answer = answer.map_err(|_| StoreError::Io("took too long".into()))?;
    answer.map_err(|status| StoreError::Io(status.message().to_owned()))?;
    reading.await.map_err(|e| StoreError::Io(e.to_string()))?
}

/// The receiving side as a gRPC service.
pub struct RaftService {
    inbound: Inbound,
}

impl RaftService {
    /// The service of a store, to be added to a server.
    pub fn server(inbound: Inbound) -> RaftTransportServer<RaftService> {
        RaftTransportServer::new(RaftService { inbound })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl RaftTransport for RaftService {
    async fn raft(&self, request: Request<Streaming<EnvelopeBatch>>) -> Result<Response<Done>, Status> {
        let mut batches = request.into_inner();
        while let Some(batch) = batches.next().await {
            for envelope in batch?.envelopes {
                self.inbound.handle.message(envelope);
            }
        }
        Ok(Response::new(Done {}))
    }

    async fn snapshot(&self, request: Request<Streaming<SnapshotChunk>>) -> Result<Response<Done>, Status> {
        let mut chunks = request.into_inner();
        let (tx, mut rx) = mpsc::channel::<Result<SnapshotChunk, StoreError>>(STREAM_CHUNKS_MAX);
        let inbound = self.inbound.clone();
        let writing =
            tokio::task::spawn_blocking(move || inbound.take_snapshot(std::iter::from_fn(move || rx.blocking_recv())));
        while let Some(chunk) = chunks.next().await {
            // A stream that breaks must not pass for a snapshot that ended.
            let chunk = chunk.map_err(|status| StoreError::Io(status.message().to_owned()));
            if tx.send(chunk).await.is_err() {
                break;
            }
        }
        drop(tx);
        match writing.await {
            Ok(Ok(())) => Ok(Response::new(Done {})),
            Ok(Err(error)) => Err(Status::internal(error.to_string())),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }
}
