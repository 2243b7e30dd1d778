//! The client's gRPC side against a real PD and a store that only echoes: answers find their callers, a store that went
//! away and came back elsewhere is found again, and "not sent" is kept apart from "no answer".

use basalt_client::grpc::{GrpcKv, GrpcPd};
use basalt_client::rpc::{KvRpc, RpcError};
use basalt_client::{Cluster, PdClient, TsoMode};
use basalt_common::env::Env;
use basalt_common::{StoreId, Timestamp};
use basalt_pd::grpc::PdGrpc;
use basalt_pd::meta_store::memory::MemoryMetaStore;
use basalt_pd::{PdConfig, PdService};
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
use basalt_proto::kv::kv_server::{Kv, KvServer};
use basalt_proto::kv::{BatchRequest, BatchResponse, GetRequest, GetResponse, KvRequest, KvResponse};
use basalt_proto::kv::{batch_response, kv_request, kv_response};
use basalt_proto::pd::pd_request::Cmd;
use basalt_proto::serve::serve;
use basalt_proto::{meta, pd};
use futures::StreamExt;
use futures::future::pending;
use futures::stream::BoxStream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// Answers a get with its key; never answers a get of `silence`.
struct Echo;

fn answer(request: Option<KvRequest>) -> Option<KvResponse> {
    match request.and_then(|r| r.cmd) {
        Some(kv_request::Cmd::Get(get)) if &get.key[..] == b"silence" => None,
        Some(kv_request::Cmd::Get(get)) => {
            let get = GetResponse { value: get.key, ..GetResponse::default() };
            Some(KvResponse { cmd: Some(kv_response::Cmd::Get(get)) })
        }
        _ => Some(KvResponse::default()),
    }
}

#[tonic::async_trait]
impl Kv for Echo {
    type BatchStream = BoxStream<'static, Result<BatchResponse, Status>>;
    type CoprocessStream = BoxStream<'static, Result<CoprocessorResponse, Status>>;

    async fn batch(&self, requests: Request<Streaming<BatchRequest>>) -> Result<Response<Self::BatchStream>, Status> {
        let responses = requests.into_inner().map(|batch| {
            // In another order than they came.
            let tagged = batch?.requests.into_iter().rev();
            let tagged = tagged.filter_map(|t| {
                answer(t.request).map(|response| batch_response::Tagged { id: t.id, response: Some(response) })
            });
            Ok(BatchResponse { responses: tagged.collect() })
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn coprocess(&self, _: Request<CoprocessorRequest>) -> Result<Response<Self::CoprocessStream>, Status> {
        let rows = |rows| Ok(CoprocessorResponse { rows, ..CoprocessorResponse::default() });
        Ok(Response::new(futures::stream::iter([rows(1), rows(2)]).boxed()))
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    (listener, address)
}

/// A store on a runtime of its own, which takes its connections along when it is shut down.
async fn serve_store() -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
    let serve = async {
        let (listener, address) = listen().await;
        tokio::spawn(serve(Routes::new(KvServer::new(Echo)), listener, pending()));
        address
    };
    let address = runtime.spawn(serve).await.expect("no panic");
    (runtime, address)
}

async fn register(service: &PdService, address: SocketAddr) {
    let store = meta::Store { id: 1, address: address.to_string(), ..meta::Store::default() };
    let peer = meta::Peer { id: 1, store_id: 1, role: 0 };
    let region = meta::Region { id: 1, peers: vec![peer], ..meta::Region::default() };
    for cmd in [
        Cmd::Bootstrap(pd::BootstrapRequest { store: Some(store.clone()), region: Some(region) }),
        Cmd::PutStore(pd::PutStoreRequest { store: Some(store) }),
    ] {
        service.handle(pd::PdRequest { cluster_id: 0, cmd: Some(cmd) }).await;
    }
}

async fn get(kv: &GrpcKv, key: &str) -> Result<String, RpcError> {
    let get = GetRequest { key: key.to_string().into(), ..GetRequest::default() };
    let answer = kv.call(StoreId(1), KvRequest { cmd: Some(kv_request::Cmd::Get(get)) }).await?;
    match answer.cmd {
        Some(kv_response::Cmd::Get(got)) => Ok(String::from_utf8_lossy(&got.value).into_owned()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_find_their_answers_over_the_network() {
    let meta_store = Arc::new(MemoryMetaStore::new());
    let service = PdService::open(Env::real(), meta_store, PdConfig::default()).await.expect("PD opens");
    let (listener, pd_address) = listen().await;
    let routes = Routes::new(PdGrpc::server(service.clone(), CancellationToken::new()));
    tokio::spawn(serve(routes, listener, pending()));
    let (store, address) = serve_store().await;
    register(&service, address).await;

    let pd_rpc = Arc::new(GrpcPd::new(vec![pd_address.to_string()]));
    let pd = PdClient::new(Env::real(), pd_rpc, TsoMode::Batched);
    assert!(pd.cluster_info().await.expect("PD answers").bootstrapped);
    let stamps: Vec<_> = (0..200)
        .map(|_| {
            tokio::spawn({
                let pd = pd.clone();
                async move { pd.timestamp().await }
            })
        })
        .collect();
    let mut seen = Vec::new();
    for stamp in stamps {
        seen.push(stamp.await.expect("no panic").expect("PD answers"));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 200, "every caller has a timestamp of its own");

    let kv = Arc::new(GrpcKv::new(pd.clone()));
    let calls: Vec<_> = (0..500)
        .map(|i| {
            tokio::spawn({
                let kv = kv.clone();
                async move { (i, get(&kv, &format!("k{i}")).await) }
            })
        })
        .collect();
    for call in calls {
        let (i, answer) = call.await.expect("no panic");
        assert_eq!(answer.expect("answers"), format!("k{i}"));
    }
    let cluster = Cluster::with_pd(Env::real(), kv.clone(), pd.clone());
    let value = cluster.snapshot(Timestamp::MAX).get(b"key").await.expect("reads");
    assert_eq!(value.as_deref(), Some(&b"key"[..]));
    let rows = kv.coprocess(StoreId(1), CoprocessorRequest::default()).await.expect("starts");
    let rows: Vec<_> = rows.map(|r| r.expect("answers").rows).collect().await;
    assert_eq!(rows, [1, 2]);

    // Without TCP_NODELAY on the accepted socket each takes 40 ms: the other side's delayed acknowledgment.
    let env = Env::real();
    let started = env.now();
    for _ in 0..20 {
        let rows = kv.coprocess(StoreId(1), CoprocessorRequest::default()).await.expect("starts");
        assert_eq!(rows.count().await, 2);
    }
    let took = env.now().since(started);
    assert!(took < Duration::from_millis(20 * 20), "20 calls took {took:?}");

    // Sent, and never answered.
    let silent = tokio::spawn({
        let kv = kv.clone();
        async move { get(&kv, "silence").await }
    });
    // Until the store has it: an answer that came behind it.
    get(&kv, "behind").await.expect("answers");
    store.shutdown_background();
    let lost = silent.await.expect("no panic");
    assert!(matches!(lost, Err(RpcError::NoAnswer { .. })), "{lost:?}");
    let refused = get(&kv, "gone").await;
    assert!(matches!(refused, Err(RpcError::Unreachable { .. })), "{refused:?}");
    let (store, address) = serve_store().await;
    register(&service, address).await;
    assert_eq!(get(&kv, "back").await.expect("answers"), "back");
    store.shutdown_background();
}
