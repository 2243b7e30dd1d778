//! The network: one seed decides what is lost, what comes twice, and when the rest arrives.

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

struct Endpoint {
    service: Arc<StoreService>,
    inbound: Inbound,
    handlers: Vec<AbortHandle>,
}

struct Inner {
    chance: Env,
    trace: Trace,
    pd: Arc<PdService>,
    faults: Mutex<Faults>,
    /// Stores whose raft messages do not pass; clients and PD reach them.
    cut: Mutex<BTreeSet<StoreId>>,
    stores: Mutex<BTreeMap<StoreId, Endpoint>>,
}

/// See the module. Clones are the same network.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

impl Net {
    /// A network that carries everything, and delays it a little.
    pub fn new(chance: Env, trace: Trace, pd: Arc<PdService>) -> Net {
        let (faults, cut, stores) = (Mutex::default(), Mutex::default(), Mutex::default());
        Net(Arc::new(Inner { chance, trace, pd, faults, cut, stores }))
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.trace.note(format_args!("{faults:?}"));
        *self.0.faults.lock().expect("not poisoned") = faults;
    }

    /// Cuts a store off from the others, or joins it again.
    pub fn set_cut(&self, store: StoreId, is_cut: bool) {
        self.0.trace.note(format_args!("store {store} cut off: {is_cut}"));
        let mut cut = self.0.cut.lock().expect("not poisoned");
        if is_cut {
            cut.insert(store)
        } else {
            cut.remove(&store)
        };
    }

    /// A number that no other process of this run was given.
    pub fn draw(&self) -> u64 {
        self.0.chance.random_u64()
    }

    /// Lets a store be reached.
    pub fn join(&self, service: Arc<StoreService>, inbound: Inbound) {
        let id = inbound.handle.store_id();
        let endpoint = Endpoint { service, inbound, handlers: Vec::new() };
        self.0.stores.lock().expect("not poisoned").insert(id, endpoint);
    }

    /// The store is gone, and so are the requests that it was working on.
    pub fn leave(&self, store: StoreId) {
        let gone = self.0.stores.lock().expect("not poisoned").remove(&store);
        for handler in gone.map(|endpoint| endpoint.handlers).unwrap_or_default() {
            handler.abort();
        }
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

    /// Starts to answer, as the store's process does: the answer is made even if nobody waits for it any more.
    fn handler(&self, store: StoreId, request: KvRequest) -> Option<JoinHandle<KvResponse>> {
        let mut stores = self.0.stores.lock().expect("not poisoned");
        let endpoint = stores.get_mut(&store)?;
        let service = endpoint.service.clone();
        let handler = tokio::spawn(async move { service.handle(request).await });
        if endpoint.handlers.len() >= HANDLERS_KEPT {
            endpoint.handlers.retain(|handler| !handler.is_finished());
        }
        endpoint.handlers.push(handler.abort_handle());
        Some(handler)
    }

    fn inbound(&self, envelope: &Envelope) -> Option<Inbound> {
        let (from, to) = (StoreId(envelope.from.as_ref().map_or(0, |p| p.store_id)), target(envelope));
        let cut = self.0.cut.lock().expect("not poisoned");
        if cut.contains(&from) || cut.contains(&to) {
            return None;
        }
        self.0.stores.lock().expect("not poisoned").get(&to).map(|endpoint| endpoint.inbound.clone())
    }

    fn send_one(&self, envelope: Envelope) {
        let Some(delay) = self.leg() else { return self.note_raft("lost", &envelope) };
        let net = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            match net.inbound(&envelope) {
                Some(inbound) => {
                    net.note_raft("raft", &envelope);
                    inbound.handle.message(envelope);
                }
                None => net.note_raft("dropped", &envelope),
            }
        });
    }
}

impl Transport for Net {
    fn send(&self, envelopes: Vec<Envelope>) {
        let doubled = self.0.faults.lock().expect("not poisoned").doubled;
        for envelope in envelopes {
            if self.0.chance.random_range(0, 1000) < doubled {
                self.send_one(envelope.clone());
            }
            self.send_one(envelope);
        }
    }

    fn send_snapshot(&self, envelope: Envelope, files: Arc<SnapshotFiles>, done: SnapshotDone) {
        let Some(delay) = self.leg() else { return self.note_raft("snapshot lost", &envelope) };
        let net = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay * 10).await;
            let Some(inbound) = net.inbound(&envelope) else { return net.note_raft("snapshot dropped", &envelope) };
            net.note_raft("snapshot", &envelope);
            match files.chunks(envelope, CHUNK_BYTES).and_then(|chunks| inbound.take_snapshot(chunks)) {
                Ok(()) => done.arrived(),
                Err(error) => net.0.trace.note(format_args!("snapshot refused: {error}")),
            }
        });
    }
}

#[async_trait]
impl KvRpc for Net {
    async fn call(&self, store: StoreId, request: KvRequest) -> Result<KvResponse, RpcError> {
        let target = format!("store {store}");
        match self.leg() {
            Some(delay) => tokio::time::sleep(delay).await,
            None => {
                self.note("question lost", &request);
                return Err(self.lost(&target).await);
            }
        }
        self.note(&target, &request);
        let Some(handler) = self.handler(store, request) else {
            return Err(RpcError::Unreachable { target, reason: "down".into() });
        };
        let Ok(response) = handler.await else {
            return Err(RpcError::NoAnswer { target, reason: "crashed".into() });
        };
        self.note("answer", &response);
        match self.leg() {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(self.lost(&target).await),
        }
        Ok(response)
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
impl PdRpc for Net {
    async fn call(&self, request: PdRequest) -> Result<PdResponse, RpcError> {
        match self.leg() {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(self.lost("PD").await),
        }
        self.note("PD", &request);
        let response = self.0.pd.handle(request).await;
        match self.leg() {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(self.lost("PD").await),
        }
        Ok(response)
    }
}
