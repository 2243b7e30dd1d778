//! The service from its edge: messages in, messages out, directly and over a loopback stream.

use super::coprocessor::NoCoprocessor;
use super::*;
use crate::config::TxnConfig;
use crate::engine::memory::MemoryEngine;
use crate::error::RegionError;
use crate::mvcc::{Lock, LockKind};
use crate::replicated::local::LocalReplicated;
use crate::replicated::{RegionCtx, RegionSnapshot, Replicated, ReplicatedWrite};
use crate::txn::concurrency::MemoryLock;
use crate::txn::{ConcurrencyManager, Scheduler};
use basalt_common::env::Env;
use basalt_common::pairs::Pairs;
use basalt_common::{Epoch, PeerId, RegionId, StoreId, Timestamp, UserKey};
use basalt_proto::coprocessor::{CoprocessorContext, CoprocessorRequest, KeyRange};
use basalt_proto::errors::{KeyError, key_error, region_error};
use basalt_proto::kv::kv_client::KvClient;
use basalt_proto::kv::*;
use bytes::Bytes;
use futures::StreamExt;
use std::sync::Arc;

fn service() -> (Arc<StoreService>, Context) {
    service_over(|local| local)
}

/// A service whose transactions see the region through `seen`.
fn service_over<R: Replicated>(seen: impl FnOnce(Arc<LocalReplicated>) -> Arc<R>) -> (Arc<StoreService>, Context) {
    let local = LocalReplicated::new(Arc::new(MemoryEngine::new()));
    let region = Arc::clone(local.region());
    let context = Context {
        region_id: region.id.0,
        epoch: Some(region.epoch.into()),
        peer: Some(region.peers[0].into()),
        cluster_id: 7,
        ..Context::default()
    };
    let env = Env::simulated(1, 0);
    let replicated: Arc<dyn Replicated> = seen(local.clone());
    let scheduler = Scheduler::new(replicated, ConcurrencyManager::new(), TxnConfig::default(), env.clone());
    let identity = StoreIdentity { cluster_id: 7, store_id: StoreId(1) };
    (StoreService::new(identity, scheduler, local, Arc::new(NoCoprocessor), env), context)
}

/// Calls one command and takes its answer out of the envelope.
macro_rules! call {
    ($service:expr, $cmd:ident, $request:expr) => {
        match $service.handle(KvRequest { cmd: Some(kv_request::Cmd::$cmd($request)) }).await.cmd {
            Some(kv_response::Cmd::$cmd(response)) => response,
            other => panic!("not the answer to {}: {other:?}", stringify!($cmd)),
        }
    };
}

fn put(key: &str, value: &str) -> Mutation {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    Mutation { op: Op::Put as i32, key, value, ..Mutation::default() }
}

fn one_phase(context: &Context, start_ts: u64, mutations: Vec<Mutation>) -> PrewriteRequest {
    PrewriteRequest {
        context: Some(context.clone()),
        primary: mutations[0].key.clone(),
        mutations,
        start_ts,
        lock_ttl_ms: 100,
        try_one_pc: true,
        ..PrewriteRequest::default()
    }
}

fn get(context: &Context, key: &'static str, version: u64) -> GetRequest {
    GetRequest { context: Some(context.clone()), key: Bytes::from_static(key.as_bytes()), version }
}

fn scan(context: &Context, limit: u32, reverse: bool) -> ScanRequest {
    ScanRequest { context: Some(context.clone()), limit, version: 20, reverse, ..ScanRequest::default() }
}

fn text(pairs: Option<basalt_proto::kv::Pairs>, errors: impl IntoIterator<Item = KeyError>) -> String {
    let pairs = Pairs::unpack(pairs.unwrap_or_default()).expect("lengths fit");
    let pairs = pairs.map(|(key, value)| format!("{}={}", key.escape_ascii(), value.escape_ascii()));
    let errors = errors.into_iter().map(|error| match error.kind {
        Some(key_error::Kind::Locked(lock)) => format!("{} is locked", lock.key.escape_ascii()),
        kind => format!("{kind:?}"),
    });
    pairs.chain(errors).collect::<Vec<_>>().join(" ")
}

fn batch_text(found: BatchGetResponse) -> String {
    text(found.pairs, found.errors)
}

fn page_text(page: ScanResponse) -> (String, bool) {
    (text(page.pairs, page.error), page.more)
}

#[tokio::test]
async fn what_is_written_is_read_in_every_way() {
    let (service, context) = service();
    let mutations = ["a", "b", "c"].map(|key| put(key, &format!("{key}{key}"))).to_vec();
    let written = call!(service, Prewrite, one_phase(&context, 5, mutations));
    assert_eq!((written.one_pc_commit_ts, written.errors, written.region_error), (6, vec![], None));
    let found = call!(service, Get, get(&context, "b", 6));
    assert_eq!((&found.value[..], found.commit_ts, found.not_found), (&b"bb"[..], 6, false));
    assert!(call!(service, Get, get(&context, "b", 5)).not_found);
    let keys = ["c", "x", "a"].map(|key| Bytes::from_static(key.as_bytes())).to_vec();
    let request = BatchGetRequest { context: Some(context.clone()), keys, version: u64::MAX };
    assert_eq!(batch_text(call!(service, BatchGet, request)), "c=cc a=aa");
    let page = page_text(call!(service, Scan, scan(&context, 2, false)));
    assert_eq!(page, ("a=aa b=bb".to_string(), true));
    let page = page_text(call!(service, Scan, scan(&context, 0, true)));
    assert_eq!(page, ("c=cc b=bb a=aa".to_string(), false));
}

#[tokio::test]
async fn locks_are_reported_where_they_stand() {
    let (service, context) = service();
    call!(service, Prewrite, one_phase(&context, 5, vec![put("a", "1"), put("c", "1")]));
    let request = PrewriteRequest { try_one_pc: false, ..one_phase(&context, 7, vec![put("b", "2")]) };
    call!(service, Prewrite, request);
    assert_eq!(page_text(call!(service, Scan, scan(&context, 0, false))), ("a=1 b is locked".to_string(), true));
    let locked = call!(service, Get, get(&context, "b", 9)).error.and_then(|error| error.kind);
    let Some(key_error::Kind::Locked(lock)) = locked else { panic!("not locked: {locked:?}") };
    assert_eq!((lock.start_ts, &lock.primary[..]), (7, &b"b"[..]));
    let locks = ScanLockRequest { context: Some(context.clone()), max_version: 7, ..ScanLockRequest::default() };
    assert_eq!(call!(service, ScanLock, locks).locks.len(), 1);
    let resolve = ResolveLockRequest { context: Some(context.clone()), start_ts: 7, commit_ts: 8, keys: vec![] };
    assert_eq!(call!(service, ResolveLock, resolve), ResolveLockResponse::default());
    assert_eq!(page_text(call!(service, Scan, scan(&context, 0, false))).0, "a=1 b=2 c=1");
    let range =
        DeleteRangeRequest { context: Some(context.clone()), end_key: Bytes::from_static(b"b"), ..Default::default() };
    assert_eq!(call!(service, DeleteRange, range), DeleteRangeResponse::default());
    assert_eq!(page_text(call!(service, Scan, scan(&context, 0, false))).0, "b=2 c=1");
}

/// A region whose leader was elected just now.
struct NewLeader(Arc<LocalReplicated>);

#[async_trait::async_trait]
impl Replicated for NewLeader {
    async fn snapshot(&self, ctx: &RegionCtx) -> Result<RegionSnapshot, RegionError> {
        Ok(RegionSnapshot { max_ts_synced: false, ..self.0.snapshot(ctx).await? })
    }

    async fn write(&self, ctx: &RegionCtx, write: ReplicatedWrite) -> Result<(), RegionError> {
        self.0.write(ctx, write).await
    }
}

/// Others may have been read at the old leader (M8).
#[tokio::test]
async fn a_new_leader_decides_no_timestamps() {
    let (service, context) = service_over(|local| Arc::new(NewLeader(local)));
    let one_phase = one_phase(&context, 5, vec![put("a", "1")]);
    let two_phase = PrewriteRequest { try_one_pc: false, ..one_phase.clone() };
    let async_commit = PrewriteRequest { use_async_commit: true, ..two_phase.clone() };
    for request in [one_phase, async_commit] {
        let error = call!(service, Prewrite, request).region_error.and_then(|error| error.kind);
        assert!(matches!(error, Some(region_error::Kind::MaxTsNotSynced(_))), "{error:?}");
    }
    assert_eq!(call!(service, Prewrite, two_phase), PrewriteResponse::default());
}

/// What was not found by a scan for locks does not appear behind it (M27).
#[tokio::test]
async fn no_commit_goes_below_a_scan_for_locks() {
    let (service, context) = service();
    let scan = ScanLockRequest { context: Some(context.clone()), max_version: 20, ..ScanLockRequest::default() };
    assert_eq!(call!(service, ScanLock, scan), ScanLockResponse::default());
    let answer = call!(service, Prewrite, one_phase(&context, 5, vec![put("a", "1")]));
    assert!(answer.one_pc_commit_ts > 20, "{answer:?}");
}

/// A write may be on its way for longer than readers wait: a pause, a slow disk.
#[tokio::test]
async fn keys_beside_one_that_is_being_written_are_read() {
    let (service, context) = service();
    call!(service, Prewrite, one_phase(&context, 5, ["a", "b", "c"].map(|key| put(key, "1")).to_vec()));
    let lock = Lock::new(LockKind::Put, UserKey::from(&b"b"[..]), Timestamp(7), 100);
    let key = Bytes::from(UserKey::from(&b"b"[..]).encode().into_vec());
    let memory_lock = MemoryLock { lock, is_one_phase: false };
    let concurrency = service.scheduler().concurrency();
    let held = concurrency.lock_keys(vec![(key, memory_lock)], Timestamp(8), Timestamp::ZERO).expect("no bound");
    let keys = ["c", "b", "a"].map(|key| Bytes::from_static(key.as_bytes())).to_vec();
    let request = BatchGetRequest { context: Some(context.clone()), keys, version: 20 };
    assert_eq!(batch_text(call!(service, BatchGet, request)), "c=1 a=1 b is locked");
    drop(held);
}

#[tokio::test]
async fn requests_for_other_places_are_refused() {
    let (service, context) = service();
    let refused = async |context: Context| {
        let error = call!(service, Get, get(&context, "a", 5)).region_error;
        error.and_then(|error| error.kind)
    };
    let elsewhere = Context { region_id: 99, ..context.clone() };
    assert!(matches!(refused(elsewhere).await, Some(region_error::Kind::RegionNotFound(_))));
    let stale = Context { epoch: None, ..context.clone() };
    assert!(matches!(refused(stale).await, Some(region_error::Kind::EpochNotMatch(_))));
    let foreign = Context { cluster_id: 8, ..context.clone() };
    assert!(matches!(refused(foreign).await, Some(region_error::Kind::ClusterMismatch(_))));
    let mut misled = context.clone();
    misled.peer.as_mut().expect("a peer").store_id = 2;
    assert!(matches!(refused(misled).await, Some(region_error::Kind::StoreNotMatch(_))));
    let nonsense = PrewriteRequest { start_ts: 0, ..one_phase(&context, 5, vec![put("a", "1")]) };
    assert_eq!(call!(service, Prewrite, nonsense).errors.len(), 1);
}

fn closing(context: &Context, safe_point: u64) -> ScanLockRequest {
    ScanLockRequest { context: Some(context.clone()), max_version: safe_point - 1, safe_point, ..Default::default() }
}

#[tokio::test]
async fn a_region_is_closed_then_cleared_then_forgets() {
    let (service, context) = service();
    let below = |error: Option<KeyError>| matches!(error, Some(KeyError { kind: Some(key_error::Kind::BelowSafePoint(e)) }) if e.safe_point == 20);
    let two_phase =
        |start_ts, key| PrewriteRequest { try_one_pc: false, ..one_phase(&context, start_ts, vec![put(key, "1")]) };
    assert_eq!(call!(service, Prewrite, two_phase(10, "a")).errors, []);
    assert_eq!(call!(service, Prewrite, one_phase(&context, 12, vec![put("b", "2")])).errors, []);

    // Closed: the lock comes back, older readers and new locks are refused; what has begun may end.
    let locks = call!(service, ScanLock, closing(&context, 20)).locks;
    assert_eq!(locks.iter().map(|lock| (lock.start_ts, &lock.key[..])).collect::<Vec<_>>(), [(10, &b"a"[..])]);
    assert!(below(call!(service, Get, get(&context, "b", 19)).error));
    let changed = ScanRequest { context: Some(context.clone()), version: 30, changed_after: 15, ..Default::default() };
    assert!(below(call!(service, Scan, changed).error));
    assert_eq!(&call!(service, Get, get(&context, "b", 20)).value[..], b"2");
    assert!(below(call!(service, Prewrite, two_phase(11, "c")).errors.pop()));
    let lock = PessimisticLockRequest {
        context: Some(context.clone()),
        mutations: vec![put("c", "")],
        primary: Bytes::from_static(b"c"),
        start_ts: 11,
        for_update_ts: 25,
        ..Default::default()
    };
    assert!(below(call!(service, PessimisticLock, lock).errors.pop()));
    assert_eq!(call!(service, Prewrite, two_phase(10, "a")).errors, [], "a repetition finds its lock");
    let keys = vec![Bytes::from_static(b"a")];
    let commit = CommitRequest { context: Some(context.clone()), start_ts: 10, keys: keys.clone(), commit_ts: 22 };
    assert_eq!(call!(service, Commit, commit.clone()).error, None);
    assert_eq!(call!(service, ScanLock, closing(&context, 20)).locks, []);

    // Forgotten: of a transaction below nothing is said any more, and nothing is written.
    let epoch = context.epoch.as_ref().map(Epoch::from).expect("an epoch");
    let ctx = RegionCtx { region_id: RegionId(context.region_id), epoch, peer_id: PeerId(1), deadline: None };
    service.scheduler().forget_below(&ctx, Timestamp(20)).await.expect("no lock is left");
    assert_eq!(call!(service, Commit, commit.clone()).error, None, "its record is there still");
    let unknown = CommitRequest { start_ts: 9, ..commit };
    assert!(below(call!(service, Commit, unknown).error));
    let back = |start_ts| BatchRollbackRequest { context: Some(context.clone()), start_ts, keys: keys.clone() };
    let committed = call!(service, BatchRollback, back(10)).error.and_then(|error| error.kind);
    assert!(matches!(committed, Some(key_error::Kind::Committed(_))));
    assert!(below(call!(service, BatchRollback, back(9)).error));
    let resolve =
        ResolveLockRequest { context: Some(context.clone()), start_ts: 11, keys: keys.clone(), ..Default::default() };
    assert_eq!(call!(service, ResolveLock, resolve).error, None);
    let check = CheckTxnStatusRequest {
        context: Some(context.clone()),
        primary_key: Bytes::from_static(b"c"),
        lock_ts: 11,
        current_ts: 30,
        rollback_if_not_exist: true,
        ..Default::default()
    };
    assert!(below(call!(service, CheckTxnStatus, check).error));
    assert_eq!(call!(service, Prewrite, two_phase(21, "c")).errors, [], "no rollback record stands there");
}

#[tokio::test]
async fn closing_waits_for_commands_that_do_not_know_of_it() {
    let (service, context) = service();
    let latches = service.scheduler().latches_of(&[UserKey::from(&b"a"[..])]).await;
    let mut close = Box::pin(service.handle(KvRequest { cmd: Some(kv_request::Cmd::ScanLock(closing(&context, 20))) }));
    assert!(futures::poll!(&mut close).is_pending(), "a command under way may yet lock something");
    assert!(call!(service, Get, get(&context, "b", 19)).error.is_some(), "those that begin now know");
    drop(latches);
    close.await;
}

#[tokio::test]
async fn a_full_disk_refuses_what_adds_and_lets_end_what_began() {
    let (service, context) = service();
    let two_phase = PrewriteRequest { try_one_pc: false, ..one_phase(&context, 10, vec![put("a", "1")]) };
    assert_eq!(call!(service, Prewrite, two_phase).errors, []);
    service.set_disk_full(true);
    let refused = call!(service, Prewrite, one_phase(&context, 20, vec![put("b", "2")]));
    let kind = refused.region_error.and_then(|e| e.kind);
    assert!(matches!(&kind, Some(region_error::Kind::DiskFull(full)) if full.store_id == 1), "{kind:?}");
    let lock = PessimisticLockRequest { context: Some(context.clone()), ..PessimisticLockRequest::default() };
    assert!(call!(service, PessimisticLock, lock).region_error.is_some());
    let keys = vec![Bytes::from_static(b"a")];
    let commit = CommitRequest { context: Some(context.clone()), start_ts: 10, keys, commit_ts: 15 };
    assert_eq!(call!(service, Commit, commit).region_error, None);
    assert_eq!(&call!(service, Get, get(&context, "a", 30)).value[..], b"1");
    service.set_disk_full(false);
    assert_eq!(call!(service, Prewrite, one_phase(&context, 20, vec![put("b", "2")])).region_error, None);
}

#[tokio::test]
async fn a_stream_carries_many_requests_and_fragments() {
    let (service, context) = service();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("just bound");
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(grpc::server(service, grpc::Drain::default()));
    let server = tokio::spawn(server.serve_with_incoming(incoming));
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let mut client = KvClient::new(endpoint.connect().await.expect("the server listens"));

    let tagged =
        |id: u64, cmd: kv_request::Cmd| batch_request::Tagged { id, request: Some(KvRequest { cmd: Some(cmd) }) };
    let writes = (0..100u64).map(|i| {
        let request = one_phase(&context, i + 1, vec![put(&format!("k{i}"), "v")]);
        tagged(i, kv_request::Cmd::Prewrite(request))
    });
    let reads = (100..200u64).map(|i| tagged(i, kv_request::Cmd::Get(get(&context, "none", i))));
    let batches = vec![BatchRequest { requests: writes.collect() }, BatchRequest { requests: reads.collect() }];
    let responses = client.batch(futures::stream::iter(batches)).await.expect("a stream").into_inner();
    let answers: Vec<_> = responses.map(|batch| batch.expect("a batch").responses).collect().await;
    let mut answers: Vec<_> = answers.into_iter().flatten().collect();
    answers.sort_by_key(|answer| answer.id);
    assert_eq!(answers.len(), 200);
    for (i, answer) in answers.into_iter().enumerate() {
        match answer.response.and_then(|response| response.cmd) {
            Some(kv_response::Cmd::Prewrite(response)) if i < 100 => assert_ne!(response.one_pc_commit_ts, 0),
            Some(kv_response::Cmd::Get(response)) if i >= 100 => assert!(response.not_found),
            other => panic!("answer {i}: {other:?}"),
        }
    }

    let mut request = CoprocessorRequest { start_ts: 200, ..CoprocessorRequest::default() };
    request.context =
        Some(CoprocessorContext { region_id: 1, epoch: context.epoch, peer: context.peer, ..Default::default() });
    request.ranges = vec![KeyRange::default()];
    let stream = client.coprocess(request.clone()).await.expect("a stream").into_inner();
    let responses: Vec<_> = stream.map(|response| response.expect("a response")).collect().await;
    assert!(responses.len() == 1 && !responses[0].other_error.is_empty(), "it has reached the coprocessor");
    request.context = None;
    let mut stream = client.coprocess(request).await.expect("a stream").into_inner();
    let refused = stream.message().await.expect("a response").expect("a response");
    assert!(refused.region_error.is_some());
    server.abort();
}
