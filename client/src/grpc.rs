//! The seams over gRPC: one long-lived stream to each store and one to PD, carrying tagged requests.
//!
//! ```text
//!   callers ─▶ queue ─▶ link task: drain, tag, one message with many requests ─▶ stream ─▶ store
//!                          │  waiting: tag → caller                                │
//!                          └──────────── answers, in any order ◀───────────────────┘
//! ```
//!
//! A link connects when there is something to send. When the connection cannot be made, everybody in the queue learns
//! *unreachable*: nothing was sent. When the stream breaks, everybody whose request was written to it learns *no answer*:
//! it may have been executed. The difference decides whether a commit's outcome is known, so a request counts as sent as
//! soon as it is handed to the stream.
//!
//! Store addresses come from PD and are asked for again when a connection fails: a store may come back elsewhere.

use crate::config::{CALL_TIMEOUT, PD_BUDGET, STREAM_BATCH_MAX, STREAM_QUEUE};
use crate::pd_client::PdClient;
use crate::rpc::{KvRpc, PdRpc, RpcError};
use async_trait::async_trait;
use basalt_common::StoreId;
use basalt_proto::MESSAGE_BYTES_MAX;
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
use basalt_proto::kv::kv_client::KvClient;
use basalt_proto::kv::{BatchRequest, KvRequest, KvResponse, batch_request};
use basalt_proto::pd::pd_client::PdClient as PdStub;
use basalt_proto::pd::{PdRequest, PdResponse, PdTagged};
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long PD may take to name addresses before the remembered ones are used.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Messages handed to a stream that HTTP/2 has not taken yet.
const OUTBOUND_MESSAGES: usize = 16;
/// Bytes that HTTP/2 lets a peer send before it must wait.
const WINDOW_BYTES: u32 = 8 << 20;

/// A request waiting for its answer.
struct Pending<Q, A> {
    request: Q,
    reply: oneshot::Sender<Result<A, RpcError>>,
}

type Answers<A> = BoxStream<'static, Result<Vec<(u64, A)>, tonic::Status>>;
type Waiting<A> = HashMap<u64, oneshot::Sender<Result<A, RpcError>>>;

/// What differs between the two services.
#[async_trait]
trait Wire: Send + Sync + 'static {
    type Request: Send + 'static;
    type Answer: Send + 'static;
    type Message: Send + 'static;

    /// Who is called, for messages.
    fn target(&self) -> String;

    /// A channel to whoever is to be called now.
    async fn channel(&self) -> Result<Channel, String>;

    /// Opens the stream.
    async fn open(
        channel: Channel,
        outbound: mpsc::Receiver<Self::Message>,
    ) -> Result<Answers<Self::Answer>, tonic::Status>;

    /// Puts tagged requests into messages.
    fn pack(requests: Vec<(u64, Self::Request)>) -> Vec<Self::Message>;
}

/// The callers' end of a link. Its task ends when every end is dropped.
struct Link<W: Wire> {
    queue: mpsc::Sender<Pending<W::Request, W::Answer>>,
    target: String,
}

impl<W: Wire> Link<W> {
    fn start(wire: W) -> Link<W> {
        let (queue, requests) = mpsc::channel(STREAM_QUEUE);
        let target = wire.target();
        tokio::spawn(run_link(wire, requests));
        Link { queue, target }
    }

    async fn call(&self, request: W::Request) -> Result<W::Answer, RpcError> {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Pending { request, reply }).await.is_err() {
            return Err(RpcError::Unreachable { target: self.target.clone(), reason: "link is closed".into() });
        }
        let lost = || RpcError::NoAnswer { target: self.target.clone(), reason: "link ended".into() };
        answer.await.map_err(|_| lost())?
    }
}

/// Connects whenever there is something to send, and serves the stream until it breaks.
async fn run_link<W: Wire>(wire: W, mut requests: mpsc::Receiver<Pending<W::Request, W::Answer>>) {
    let mut next_tag = 0;
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, STREAM_BATCH_MAX).await > 0 {
        let target = wire.target();
        let channel = match wire.channel().await {
            Ok(channel) => channel,
            Err(reason) => {
                tracing::debug!(target, reason, "not connected");
                while let Ok(pending) = requests.try_recv() {
                    batch.push(pending);
                }
                for pending in batch.drain(..) {
                    let (target, reason) = (target.clone(), reason.clone());
                    let _ = pending.reply.send(Err(RpcError::Unreachable { target, reason }));
                }
                continue;
            }
        };
        let mut waiting = Waiting::new();
        let reason = serve_stream::<W>(channel, &mut requests, &mut batch, &mut next_tag, &mut waiting).await;
        if !waiting.is_empty() {
            tracing::debug!(target, reason, lost = waiting.len(), "stream broke");
        }
        for (_, reply) in waiting {
            let _ = reply.send(Err(RpcError::NoAnswer { target: target.clone(), reason: reason.clone() }));
        }
    }
}

/// Serves one stream; returns why it ended. `waiting` holds who got no answer.
async fn serve_stream<W: Wire>(
    channel: Channel,
    requests: &mut mpsc::Receiver<Pending<W::Request, W::Answer>>,
    batch: &mut Vec<Pending<W::Request, W::Answer>>,
    next_tag: &mut u64,
    waiting: &mut Waiting<W::Answer>,
) -> String {
    let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES);
    let mut tag_all = |batch: &mut Vec<Pending<W::Request, W::Answer>>, waiting: &mut Waiting<W::Answer>| {
        let tagged = batch.drain(..).map(|pending| {
            *next_tag += 1;
            waiting.insert(*next_tag, pending.reply);
            (*next_tag, pending.request)
        });
        W::pack(tagged.collect())
    };
    // The server may answer the call only after the first message.
    let mut unsent: std::collections::VecDeque<W::Message> = tag_all(batch, waiting).into();
    let mut opening = W::open(channel, messages);
    let mut answers: Option<Answers<W::Answer>> = None;
    loop {
        tokio::select! {
            biased;
            item = async { match &mut answers { Some(a) => a.next().await, None => std::future::pending().await } } => {
                match item {
                    Some(Ok(answered)) => {
                        for (tag, answer) in answered {
                            if let Some(reply) = waiting.remove(&tag) {
                                let _ = reply.send(Ok(answer));
                            }
                        }
                    }
                    Some(Err(status)) => return status.to_string(),
                    None => return "stream closed".into(),
                }
            }
            opened = &mut opening, if answers.is_none() => match opened {
                Ok(opened) => answers = Some(opened),
                Err(status) => return status.to_string(),
            },
            permit = outbound.reserve(), if !unsent.is_empty() => match (permit, unsent.pop_front()) {
                (Ok(permit), Some(message)) => permit.send(message),
                _ => return "stream closed".into(),
            },
            // A caller that gave up takes its place in `waiting` until its answer comes or the stream ends.
            count = requests.recv_many(batch, STREAM_BATCH_MAX), if unsent.is_empty() => {
                if count == 0 {
                    return "link is closed".into();
                }
                unsent.extend(tag_all(batch, waiting));
            }
        }
    }
}

fn endpoint(address: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| e.to_string())?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES))
}

/// PD over gRPC. The addresses are tried in turn.
pub struct GrpcPd {
    link: Link<PdWire>,
}

struct PdWire {
    addresses: Vec<String>,
}

impl GrpcPd {
    /// A client of the PD processes at these addresses (host:port). Connects when it is used.
    pub fn new(addresses: Vec<String>) -> GrpcPd {
        GrpcPd { link: Link::start(PdWire { addresses }) }
    }
}

#[async_trait]
impl PdRpc for GrpcPd {
    async fn call(&self, request: PdRequest) -> Result<PdResponse, RpcError> {
        timed(&self.link, PD_BUDGET / 2, request).await
    }
}

#[async_trait]
impl Wire for PdWire {
    type Request = PdRequest;
    type Answer = PdResponse;
    type Message = PdTagged;

    fn target(&self) -> String {
        format!("pd {}", self.addresses.join(","))
    }

    async fn channel(&self) -> Result<Channel, String> {
        let mut reason = "no address".to_string();
        for address in &self.addresses {
            match endpoint(address)?.connect().await {
                Ok(channel) => return Ok(channel),
                Err(e) => reason = describe(&e),
            }
        }
        Err(reason)
    }

    async fn open(channel: Channel, outbound: mpsc::Receiver<PdTagged>) -> Result<Answers<PdResponse>, tonic::Status> {
        let mut stub = PdStub::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answers = stub.call(ReceiverStream::new(outbound)).await?.into_inner();
        let unpack = |m: Result<basalt_proto::pd::PdTaggedResponse, tonic::Status>| {
            m.map(|m| vec![(m.id, m.response.unwrap_or_default())])
        };
        Ok(answers.map(unpack).boxed())
    }

    fn pack(requests: Vec<(u64, PdRequest)>) -> Vec<PdTagged> {
        requests.into_iter().map(|(id, request)| PdTagged { id, request: Some(request) }).collect()
    }
}

/// Stores over gRPC.
pub struct GrpcKv {
    stores: Arc<Stores>,
    links: Mutex<BTreeMap<StoreId, Arc<Link<KvWire>>>>,
}

/// Channels to stores, and where they are.
struct Stores {
    pd: PdClient,
    channels: Mutex<BTreeMap<StoreId, Channel>>,
    /// As PD named them last: while it is away, stores are still where they were.
    addresses: Mutex<BTreeMap<u64, String>>,
}

struct KvWire {
    store: StoreId,
    stores: Arc<Stores>,
}

impl GrpcKv {
    /// A client of the stores that PD knows. Connects when it is used.
    pub fn new(pd: PdClient) -> GrpcKv {
        let stores = Stores { pd, channels: Mutex::default(), addresses: Mutex::default() };
        GrpcKv { stores: Arc::new(stores), links: Mutex::default() }
    }

    fn link(&self, store: StoreId) -> Arc<Link<KvWire>> {
        let mut links = self.links.lock();
        let make = || Arc::new(Link::start(KvWire { store, stores: self.stores.clone() }));
        links.entry(store).or_insert_with(make).clone()
    }
}

impl Stores {
    async fn address(&self, store: StoreId) -> Result<String, String> {
        let asked = tokio::time::timeout(ADDRESS_TIMEOUT, self.pd.stores()).await;
        if let Ok(Ok(stores)) = asked {
            let stores = stores.into_iter().filter_map(|s| s.store);
            *self.addresses.lock() = stores.map(|store| (store.id, store.address)).collect();
        }
        let known = self.addresses.lock().get(&store.0).cloned();
        known.ok_or_else(|| format!("PD is away or does not know store {store}"))
    }

    /// The channel to a store, connected; a broken one is replaced, at the address that PD names now.
    async fn connect(&self, store: StoreId) -> Result<Channel, String> {
        let address = self.address(store).await?;
        let channel = endpoint(&address)?.connect().await.map_err(|e| describe(&e))?;
        self.channels.lock().insert(store, channel.clone());
        Ok(channel)
    }

    async fn channel(&self, store: StoreId) -> Result<Channel, String> {
        let known = self.channels.lock().get(&store).cloned();
        match known {
            Some(channel) => Ok(channel),
            None => self.connect(store).await,
        }
    }

    fn forget(&self, store: StoreId) {
        self.channels.lock().remove(&store);
    }
}

#[async_trait]
impl Wire for KvWire {
    type Request = KvRequest;
    type Answer = KvResponse;
    type Message = BatchRequest;

    fn target(&self) -> String {
        format!("store {}", self.store)
    }

    async fn channel(&self) -> Result<Channel, String> {
        // The stream before this one broke, or there was none: what is known may be old.
        self.stores.forget(self.store);
        self.stores.connect(self.store).await
    }

    async fn open(
        channel: Channel,
        outbound: mpsc::Receiver<BatchRequest>,
    ) -> Result<Answers<KvResponse>, tonic::Status> {
        let mut stub = KvClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let answers = stub.batch(ReceiverStream::new(outbound)).await?.into_inner();
        let unpack = |m: Result<basalt_proto::kv::BatchResponse, tonic::Status>| {
            m.map(|m| m.responses.into_iter().map(|t| (t.id, t.response.unwrap_or_default())).collect())
        };
        Ok(answers.map(unpack).boxed())
    }

    fn pack(requests: Vec<(u64, KvRequest)>) -> Vec<BatchRequest> {
        let tagged = |(id, request)| batch_request::Tagged { id, request: Some(request) };
        vec![BatchRequest { requests: requests.into_iter().map(tagged).collect() }]
    }
}

#[async_trait]
impl KvRpc for GrpcKv {
    async fn call(&self, store: StoreId, request: KvRequest) -> Result<KvResponse, RpcError> {
        timed(&self.link(store), CALL_TIMEOUT, request).await
    }

    async fn coprocess(
        &self,
        store: StoreId,
        request: CoprocessorRequest,
    ) -> Result<BoxStream<'static, Result<CoprocessorResponse, RpcError>>, RpcError> {
        let target = format!("store {store}");
        let unreachable = |reason| RpcError::Unreachable { target: target.clone(), reason };
        let channel = self.stores.channel(store).await.map_err(unreachable)?;
        let mut stub = KvClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opened = stub.coprocess(request).await;
        let answers = match opened {
            Ok(answers) => answers.into_inner(),
            Err(status) => {
                self.stores.forget(store);
                return Err(RpcError::NoAnswer { target, reason: status.to_string() });
            }
        };
        let stores = self.stores.clone();
        let lost = move |status: tonic::Status| {
            stores.forget(store);
            RpcError::NoAnswer { target: target.clone(), reason: status.to_string() }
        };
        Ok(answers.map(move |a| a.map_err(&lost)).chain(stream::empty()).boxed())
    }
}

/// A call that ends, whatever the other side does.
async fn timed<W: Wire>(link: &Link<W>, limit: Duration, request: W::Request) -> Result<W::Answer, RpcError> {
    match tokio::time::timeout(limit, link.call(request)).await {
        Ok(answer) => answer,
        Err(_) => Err(RpcError::NoAnswer { target: link.target.clone(), reason: "timeout".into() }),
    }
}

/// The innermost cause says what happened.
fn describe(e: &tonic::transport::Error) -> String {
    let mut cause: &dyn std::error::Error = e;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
