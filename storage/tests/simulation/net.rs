//! The network: one seed decides what is lost, what comes twice, and when the rest arrives.
//!
//! Every process sits at a [`Place`] and speaks through a [`Link`]. The way from one place to another can be cut, in one
//! direction alone: a store may hear and not speak, or be out of reach for PD only.

use crate::trace::{Trace, hash};
use async_trait::async_trait;
use basalt_client::rpc::{KvRpc, PdRpc, RpcError};
use basalt_common::StoreId;
use basalt_common::env::Env;
use basalt_pd::PdService;
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
use basalt_proto::kv::{KvRequest, KvResponse};
use basalt_proto::pd::{PdRequest, PdResponse};
use basalt_proto::raft::Envelope;
use basalt_storage::raftstore::StoreError;
use basalt_storage::raftstore::snapshot::SnapshotFiles;
use basalt_storage::raftstore::transport::{Inbound, SnapshotDone, Transport, target};
use basalt_storage::service::StoreService;
use futures::stream::BoxStream;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinHandle};

/// Bytes of a snapshot's chunk.
const CHUNK_BYTES: usize = 4 << 10;
/// Handlers remembered per store before the finished ones are forgotten.
const HANDLERS_KEPT: usize = 512;

/// Of a thousand messages, how many go wrong in which way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Never arrive.
    pub lost: u64,
    /// Arrive twice (raft messages).
    pub doubled: u64,
    /// Arrive much later than those that were sent after them.
    pub late: u64,
}

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The placement driver's machine.
    Pd,
    /// A store's machine.
    Machine(usize),
    /// Any client's machine.
    Client,
}

/// Work that ends with the process that does it.
#[derive(Default)]
struct Handlers(Vec<AbortHandle>);

impl Handlers {
    /// Starts to answer, as a process does: the answer is made even if nobody waits for it any more.
    fn spawn<T: Send + 'static>(&mut self, answer: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let handler = tokio::spawn(answer);
        if self.0.len() >= HANDLERS_KEPT {
            self.0.retain(|handler| !handler.is_finished());
        }
        self.0.push(handler.abort_handle());
        handler
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

struct Endpoint {
    machine: usize,
    service: Arc<StoreService>,
    inbound: Inbound,
    handlers: Handlers,
}

struct Inner {
    chance: Env,
    trace: Trace,
    faults: Mutex<Faults>,
    /// Ways on which nothing passes.
    cut: Mutex<BTreeSet<(Place, Place)>>,
    pd: Mutex<Option<(Arc<PdService>, Handlers)>>,
    stores: Mutex<BTreeMap<StoreId, Endpoint>>,
}

/// See the module. Clones are the same network.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

/// The network as a process at a place uses it.
#[derive(Clone)]
pub struct Link {
    net: Net,
    at: Place,
}

impl Net {
    /// A network that carries everything, and delays it a little.
    pub fn new(chance: Env, trace: Trace) -> Net {
        let (faults, cut, pd, stores) = Default::default();
        Net(Arc::new(Inner { chance, trace, faults, cut, pd, stores }))
    }

    /// What a process at a place uses.
    pub fn link(&self, at: Place) -> Link {
        Link { net: self.clone(), at }
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.trace.note(format_args!("{faults:?}"));
        *self.0.faults.lock().expect("not poisoned") = faults;
    }

    /// Cuts ways, each in the direction that is named.
    pub fn cut(&self, ways: &[(Place, Place)]) {
        self.0.trace.note(format_args!("cut: {ways:?}"));
        self.0.cut.lock().expect("not poisoned").extend(ways);
    }

    /// Opens ways again.
    pub fn mend(&self, ways: &[(Place, Place)]) {
        self.0.trace.note(format_args!("mended: {ways:?}"));
        let mut cut = self.0.cut.lock().expect("not poisoned");
        cut.retain(|way| !ways.contains(way));
    }

    /// Opens all ways again.
    pub fn mend_all(&self) {
        self.0.cut.lock().expect("not poisoned").clear();
    }

    /// Whether a way to or from a place is cut.
    pub fn is_cut(&self, place: Place) -> bool {
        self.0.cut.lock().expect("not poisoned").iter().any(|(from, to)| *from == place || *to == place)
    }

    fn passes(&self, from: Place, to: Place) -> bool {
        !self.0.cut.lock().expect("not poisoned").contains(&(from, to))
    }

    /// A number that no other process of this run was given.
    pub fn draw(&self) -> u64 {
        self.0.chance.random_u64()
    }

    /// Lets a store be reached.
    pub fn join(&self, machine: usize, service: Arc<StoreService>, inbound: Inbound) {
        let id = inbound.handle.store_id();
        let endpoint = Endpoint { machine, service, inbound, handlers: Handlers::default() };
        self.0.stores.lock().expect("not poisoned").insert(id, endpoint);
    }

    /// The store is gone, and so are the requests that it was working on.
    pub fn leave(&self, store: StoreId) {
        self.0.stores.lock().expect("not poisoned").remove(&store);
    }

    /// PD can be reached, or is gone with the requests that it was working on.
    pub fn set_pd(&self, pd: Option<Arc<PdService>>) {
        *self.0.pd.lock().expect("not poisoned") = pd.map(|pd| (pd, Handlers::default()));
    }

    fn machine_of(&self, store: StoreId) -> Option<Place> {
        let stores = self.0.stores.lock().expect("not poisoned");
        stores.get(&store).map(|endpoint| Place::Machine(endpoint.machine))
    }

    /// Waits as long as the next message takes; false when it is lost.
    async fn carries(&self, from: Place, to: Place) -> bool {
        let Some(delay) = self.leg().filter(|_| self.passes(from, to)) else { return false };
        tokio::time::sleep(delay).await;
        true
    }

    /// How long the next message takes; `None` when it is lost.
    fn leg(&self) -> Option<Duration> {
        let faults = *self.0.faults.lock().expect("not poisoned");
        let dice = self.0.chance.random_range(0, 1000);
        if dice < faults.lost {
            return None;
        }
        let late = dice < faults.lost + faults.late;
        Some(Duration::from_millis(self.0.chance.random_range(0, if late { 400 } else { 3 })))
    }

    /// The wait of a caller whose question or answer was lost.
    async fn lost(&self, what: &str) -> RpcError {
        tokio::time::sleep(Duration::from_millis(self.0.chance.random_range(20, 600))).await;
        RpcError::NoAnswer { target: what.into(), reason: "lost".into() }
    }

    fn note_raft(&self, what: &str, envelope: &Envelope) {
        let message = Message::parse_from_bytes(&envelope.message).unwrap_or_default();
        let (from, to, kind) = (message.from, message.to, message.get_msg_type());
        let Message { term, log_term, index, commit, reject, .. } = message;
        let (entries, snapshot) = (message.entries.len(), message.get_snapshot().get_metadata().index);
        let sum = hash(&envelope.encode_to_vec());
        self.0.trace.note(format_args!(
            "{what} region {} {from}->{to} {kind:?} term {term} index {index}@{log_term} commit {commit} entries {entries} \
             snapshot {snapshot} reject {reject} {sum:016x}",
            envelope.region_id
        ));
    }

    fn note(&self, what: &str, message: &impl Debug) {
        let text = format!("{message:?}");
        if std::env::var_os("BASALT_SIM_DETAIL").is_some() {
            return self.0.trace.note(format_args!("{what} {text}"));
        }
        let name: String = text.split(['(', '{']).map(str::trim).take(3).collect::<Vec<_>>().join(" ");
        self.0.trace.note(format_args!("{what} {name:.60} {:016x}", hash(text.as_bytes())));
    }

    fn handler(&self, store: StoreId, request: KvRequest) -> Option<JoinHandle<KvResponse>> {
        let mut stores = self.0.stores.lock().expect("not poisoned");
        let endpoint = stores.get_mut(&store)?;
        let service = endpoint.service.clone();
        Some(endpoint.handlers.spawn(async move { service.handle(request).await }))
    }

    fn pd_handler(&self, request: PdRequest) -> Option<JoinHandle<PdResponse>> {
        let mut pd = self.0.pd.lock().expect("not poisoned");
        let (service, handlers) = pd.as_mut()?;
        let service = service.clone();
        Some(handlers.spawn(async move { service.handle(request).await }))
    }

    /// Where an envelope goes, when it gets there.
    fn inbound(&self, from: Place, envelope: &Envelope) -> Option<Inbound> {
        let stores = self.0.stores.lock().expect("not poisoned");
        let endpoint = stores.get(&target(envelope))?;
        self.passes(from, Place::Machine(endpoint.machine)).then(|| endpoint.inbound.clone())
    }

    fn send_one(&self, from: Place, envelope: Envelope) {
        let Some(delay) = self.leg() else { return self.note_raft("lost", &envelope) };
        let net = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            match net.inbound(from, &envelope) {
                Some(inbound) => {
                    net.note_raft("raft", &envelope);
                    inbound.handle.message(envelope);
                }
                None => net.note_raft("dropped", &envelope),
            }
        });
    }
}

impl Transport for Link {
    fn send(&self, envelopes: Vec<Envelope>) {
        let net = &self.net;
        let doubled = net.0.faults.lock().expect("not poisoned").doubled;
        for envelope in envelopes {
            if net.0.chance.random_range(0, 1000) < doubled {
                net.send_one(self.at, envelope.clone());
            }
            net.send_one(self.at, envelope);
        }
    }

    fn send_snapshot(&self, envelope: Envelope, files: Arc<SnapshotFiles>, done: SnapshotDone) {
        let (net, at) = (self.net.clone(), self.at);
        let doubled = net.0.faults.lock().expect("not poisoned").doubled;
        if net.0.chance.random_range(0, 1000) < doubled {
            // A sender that gave the first up too early.
            let (net, envelope, files) = (net.clone(), envelope.clone(), files.clone());
            tokio::spawn(async move { drop(net.stream_snapshot(at, envelope, &files).await) });
        }
        tokio::spawn(async move {
            match net.stream_snapshot(at, envelope, &files).await {
                Ok(()) => done.arrived(),
                Err(error) => net.0.trace.note(format_args!("snapshot did not arrive: {error}")),
            }
        });
    }
}

impl Net {
    /// Chunk by chunk; the stream breaks off when one is lost, and when the receiving process is another than at the start.
    async fn stream_snapshot(&self, at: Place, envelope: Envelope, files: &SnapshotFiles) -> Result<(), StoreError> {
        let broken = || StoreError::Io("the stream broke off".into());
        self.note_raft("snapshot", &envelope);
        let first = self.inbound(at, &envelope).ok_or_else(broken)?;
        let mut arriving = first.begin_snapshot();
        for chunk in files.chunks(envelope.clone(), CHUNK_BYTES)? {
            tokio::time::sleep(self.leg().ok_or_else(broken)? * 3).await;
            let same = |now: Inbound| Arc::ptr_eq(&now.files, &first.files);
            if !self.inbound(at, &envelope).is_some_and(same) {
                return Err(broken());
            }
            arriving.take(chunk?)?;
        }
        let announced = arriving.announce();
        self.note_raft("snapshot announced", &envelope);
        announced
    }
}

#[async_trait]
impl KvRpc for Link {
    async fn call(&self, store: StoreId, request: KvRequest) -> Result<KvResponse, RpcError> {
        let (net, target) = (&self.net, format!("store {store}"));
        let down = || RpcError::Unreachable { target: target.clone(), reason: "down".into() };
        let place = net.machine_of(store).ok_or_else(down)?;
        if !net.carries(self.at, place).await {
            net.note("question lost", &request);
            return Err(net.lost(&target).await);
        }
        net.note(&target, &request);
        let handler = net.handler(store, request).ok_or_else(down)?;
        let Ok(response) = handler.await else {
            return Err(RpcError::NoAnswer { target, reason: "crashed".into() });
        };
        net.note("answer", &response);
        match net.carries(place, self.at).await {
            true => Ok(response),
            false => Err(net.lost(&target).await),
        }
    }

    async fn coprocess(
        &self,
        _: StoreId,
        _: CoprocessorRequest,
    ) -> Result<BoxStream<'static, Result<CoprocessorResponse, RpcError>>, RpcError> {
        Err(RpcError::Unreachable { target: "store".into(), reason: "fragments are not simulated".into() })
    }
}

#[async_trait]
impl PdRpc for Link {
    async fn call(&self, request: PdRequest) -> Result<PdResponse, RpcError> {
        let net = &self.net;
        if !net.carries(self.at, Place::Pd).await {
            return Err(net.lost("PD").await);
        }
        net.note("PD", &request);
        let Some(handler) = net.pd_handler(request) else {
            return Err(RpcError::Unreachable { target: "PD".into(), reason: "down".into() });
        };
        let Ok(response) = handler.await else {
            return Err(RpcError::NoAnswer { target: "PD".into(), reason: "crashed".into() });
        };
        match net.carries(Place::Pd, self.at).await {
            true => Ok(response),
            false => Err(net.lost("PD").await),
        }
    }
}
