//! A cluster of one store with many regions, PD, and a network that misbehaves on request.

use async_trait::async_trait;
use basalt_client::rpc::{KvRpc, PdRpc, RpcError};
use basalt_client::{Cluster, TsoMode};
use basalt_common::env::{Clock, Env, Monotonic};
use basalt_common::{Epoch, KeyRange, Peer, PeerId, PeerRole, Region, RegionId, StoreId, UserKey};
use basalt_pd::meta_store::memory::MemoryMetaStore;
use basalt_pd::{PdConfig, PdService};
use basalt_proto::coprocessor::{CoprocessorRequest, CoprocessorResponse};
use basalt_proto::kv::{
    KvRequest, KvResponse, RegionHashRequest, RegionHashResponse, RegionInfoRequest, RegionInfoResponse,
};
use basalt_proto::pd::{PdRequest, PdResponse, pd_request};
use basalt_proto::{meta, pd};
use basalt_storage::collected::Collected;
use basalt_storage::config::TxnConfig;
use basalt_storage::engine::Engine;
use basalt_storage::engine::memory::MemoryEngine;
use basalt_storage::error::RegionError;
use basalt_storage::replicated::{RegionCtx, RegionSnapshot, Replicated, ReplicatedWrite};
use basalt_storage::service::admin::{AdminError, RegionAdmin};
use basalt_storage::service::coprocessor::{Coprocessor, NoCoprocessor};
use basalt_storage::service::{StoreIdentity, StoreService};
use basalt_storage::txn::{ConcurrencyManager, Scheduler};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const STORE: StoreId = StoreId(1);

/// Regions of one store over one engine; a write is applied at once, and its answer may get lost.
pub struct Regions {
    engine: Arc<dyn Engine>,
    regions: Mutex<Vec<Arc<Region>>>,
    pd: Arc<PdService>,
    env: Env,
    /// Of a hundred writes, how many end without telling whether they were applied.
    pub undetermined: AtomicU64,
}

impl Regions {
    fn check(regions: &[Arc<Region>], ctx: &RegionCtx) -> Result<Arc<Region>, RegionError> {
        let found = regions.iter().find(|r| r.id == ctx.region_id);
        let region = found.ok_or(RegionError::RegionNotFound(ctx.region_id))?;
        if region.epoch != ctx.epoch {
            return Err(RegionError::EpochNotMatch(vec![(**region).clone()]));
        }
        Ok(region.clone())
    }

    /// Splits the region that holds `key` there.
    pub async fn split_at(&self, key: &[u8]) {
        let PdResponse { cmd: Some(basalt_proto::pd::pd_response::Cmd::AllocId(ids)), .. } =
            self.pd.handle(request(pd_request::Cmd::AllocId(pd::AllocIdRequest { count: 2 }))).await
        else {
            panic!("no ids")
        };
        let parts = {
            let mut regions = self.regions.lock().expect("not poisoned");
            let at = regions.iter().position(|r| r.contains(key)).expect("regions cover everything");
            let old = regions[at].clone();
            if old.range.start.as_slice() == key {
                return;
            }
            let epoch = Epoch { version: old.epoch.version + 1, ..old.epoch };
            let range = |start: &UserKey, end: &UserKey| KeyRange { start: start.clone(), end: end.clone() };
            let left = Region { range: range(&old.range.start, &key.into()), epoch, ..(*old).clone() };
            let peer = Peer { id: PeerId(ids.first_id + 1), store_id: STORE, role: PeerRole::Voter };
            let id = RegionId(ids.first_id);
            let right = Region { id, range: range(&key.into(), &old.range.end), epoch, peers: vec![peer] };
            regions.splice(at..=at, [Arc::new(left.clone()), Arc::new(right.clone())]);
            [left, right]
        };
        for region in parts {
            self.pd.handle(heartbeat(&region)).await;
        }
    }
}

#[async_trait]
impl Replicated for Regions {
    async fn snapshot(&self, ctx: &RegionCtx) -> Result<RegionSnapshot, RegionError> {
        let regions = self.regions.lock().expect("not poisoned");
        let region = Self::check(&regions, ctx)?;
        Ok(RegionSnapshot {
            data: self.engine.snapshot(),
            region,
            term: 1,
            max_ts_synced: true,
            collected: Collected::default(),
        })
    }

    async fn write(&self, ctx: &RegionCtx, write: ReplicatedWrite) -> Result<(), RegionError> {
        let doubtful = self.env.random_range(0, 100) < self.undetermined.load(Ordering::Relaxed);
        if doubtful && self.env.random_range(0, 2) == 0 {
            return Err(RegionError::Undetermined);
        }
        tokio::task::yield_now().await;
        let regions = self.regions.lock().expect("not poisoned");
        Self::check(&regions, ctx)?;
        self.engine.write(&write.modifies)?;
        if doubtful { Err(RegionError::Undetermined) } else { Ok(()) }
    }
}

/// Administration that no test here asks for.
struct NoAdmin;

#[async_trait]
impl RegionAdmin for NoAdmin {
    async fn split(&self, _: &RegionCtx, _: Vec<UserKey>) -> Result<Vec<Region>, AdminError> {
        Err(AdminError::Refused("split through the world".into()))
    }
    async fn transfer_leader(&self, _: &RegionCtx, _: Peer) -> Result<(), AdminError> {
        Err(AdminError::Refused("one peer".into()))
    }
    async fn region_info(&self, _: RegionInfoRequest) -> RegionInfoResponse {
        RegionInfoResponse::default()
    }
    async fn region_hash(&self, _: RegionHashRequest) -> RegionHashResponse {
        RegionHashResponse::default()
    }
}

/// Of a hundred calls, how many go wrong in which way.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// Not delivered, and the caller knows.
    pub unreachable: u64,
    /// Delivered, and the answer lost.
    pub answer_lost: u64,
    /// Delivered twice.
    pub twice: u64,
    /// Delivered later, when the caller has given up waiting.
    pub late: u64,
}

/// Calls to the store.
pub struct Net {
    service: Arc<StoreService>,
    env: Env,
    faults: Mutex<Faults>,
    /// Calls made.
    pub calls: AtomicU64,
}

impl Net {
    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock().expect("not poisoned") = faults;
    }
}

#[async_trait]
impl KvRpc for Net {
    async fn call(&self, store: StoreId, request: KvRequest) -> Result<KvResponse, RpcError> {
        assert_eq!(store, STORE);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let faults = *self.faults.lock().expect("not poisoned");
        let mut dice = self.env.random_range(0, 100);
        let mut hit = |share: u64| {
            let is_hit = dice < share;
            dice = if is_hit { u64::MAX } else { dice - share };
            is_hit
        };
        let no_answer = || RpcError::NoAnswer { target: "store".into(), reason: "lost".into() };
        if hit(faults.unreachable) {
            return Err(RpcError::Unreachable { target: "store".into(), reason: "down".into() });
        }
        if hit(faults.answer_lost) {
            self.service.handle(request).await;
            return Err(no_answer());
        }
        if hit(faults.twice) {
            let (first, second) = tokio::join!(self.service.handle(request.clone()), self.service.handle(request));
            return Ok(if self.env.random_range(0, 2) == 0 { first } else { second });
        }
        if hit(faults.late) {
            let (service, delay) = (self.service.clone(), self.env.random_range(0, 60));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                service.handle(request).await;
            });
            return Err(no_answer());
        }
        Ok(self.service.handle(request).await)
    }

    async fn coprocess(
        &self,
        _: StoreId,
        request: CoprocessorRequest,
    ) -> Result<BoxStream<'static, Result<CoprocessorResponse, RpcError>>, RpcError> {
        Ok(self.service.coprocess(request).await.map(Ok).boxed())
    }
}

/// Calls to PD in this process.
struct LocalPd(Arc<PdService>);

#[async_trait]
impl PdRpc for LocalPd {
    async fn call(&self, request: PdRequest) -> Result<PdResponse, RpcError> {
        Ok(self.0.handle(request).await)
    }
}

struct StoppedClock {
    real: Env,
}

impl Clock for StoppedClock {
    fn monotonic(&self) -> Monotonic {
        self.real.now()
    }

    fn wall_micros(&self) -> u64 {
        1_000_000
    }
}

/// Everything together.
pub struct World {
    pub cluster: Cluster,
    pub net: Arc<Net>,
    pub regions: Arc<Regions>,
}

impl World {
    /// A cluster with regions that start at `splits`.
    pub async fn new(seed: u64, splits: &[&str]) -> World {
        World::with_coprocessor(seed, splits, Arc::new(NoCoprocessor)).await
    }

    /// The same, whose store runs fragments by `coprocessor`.
    pub async fn with_coprocessor(seed: u64, splits: &[&str], coprocessor: Arc<dyn Coprocessor>) -> World {
        World::with_parts(seed, splits, coprocessor, Env::real()).await
    }

    /// With a PD whose wall clock stands still, as when it was set back: each timestamp follows the one before.
    pub async fn with_slow_timestamps(seed: u64, splits: &[&str]) -> World {
        let stopped = StoppedClock { real: Env::real() };
        World::with_parts(seed, splits, Arc::new(NoCoprocessor), Env::with_clock(Arc::new(stopped), seed)).await
    }

    async fn with_parts(seed: u64, splits: &[&str], coprocessor: Arc<dyn Coprocessor>, pd_env: Env) -> World {
        let env = Env::real();
        let chance = Env::simulated(seed, 0);
        let meta_store = Arc::new(MemoryMetaStore::new());
        let pd = PdService::open(pd_env, meta_store, PdConfig::default()).await.expect("PD opens");
        let peer = Peer { id: PeerId(1), store_id: STORE, role: PeerRole::Voter };
        let epoch = Epoch { conf_ver: 1, version: 1 };
        let region = Region { id: RegionId(1), range: KeyRange::all(), epoch, peers: vec![peer] };
        let store = meta::Store { id: STORE.0, address: "in-process".into(), ..meta::Store::default() };
        let bootstrap = pd::BootstrapRequest { store: Some(store), region: Some((&region).into()) };
        let answer = pd.handle(request(pd_request::Cmd::Bootstrap(bootstrap))).await;
        assert!(answer.error.is_none(), "{answer:?}");
        // Ids 1 are taken.
        pd.handle(request(pd_request::Cmd::AllocId(pd::AllocIdRequest { count: 10 }))).await;
        let regions = Arc::new(Regions {
            engine: Arc::new(MemoryEngine::new()),
            regions: Mutex::new(vec![Arc::new(region)]),
            pd: pd.clone(),
            env: chance.clone(),
            undetermined: AtomicU64::new(0),
        });
        for split in splits {
            regions.split_at(split.as_bytes()).await;
        }
        let config = TxnConfig::default();
        let scheduler = Scheduler::new(regions.clone(), ConcurrencyManager::new(), config, env.clone());
        let identity = StoreIdentity { cluster_id: pd.cluster_id(), store_id: STORE };
        let service = StoreService::new(identity, scheduler, Arc::new(NoAdmin), coprocessor, env.clone());
        let calls = AtomicU64::new(0);
        let net = Arc::new(Net { service, env: chance, faults: Mutex::default(), calls });
        let pd: Arc<dyn PdRpc> = Arc::new(LocalPd(pd));
        let cluster = Cluster::connect(env, net.clone(), pd, TsoMode::Direct).await.expect("connects");
        World { cluster, net, regions }
    }

    /// Another client of the same cluster, which knows no regions and no fates.
    pub async fn other_client(&self) -> Cluster {
        let pd: Arc<dyn PdRpc> = Arc::new(LocalPd(self.regions.pd.clone()));
        let cluster = Cluster::connect(Env::real(), self.net.clone(), pd, TsoMode::Batched).await;
        cluster.expect("connects")
    }
}

fn request(cmd: pd_request::Cmd) -> PdRequest {
    PdRequest { cluster_id: 0, cmd: Some(cmd) }
}

fn heartbeat(region: &Region) -> PdRequest {
    request(pd_request::Cmd::RegionHeartbeat(pd::RegionHeartbeatRequest {
        region: Some(region.into()),
        leader: region.peers.first().map(|p| (*p).into()),
        term: 1,
        ..pd::RegionHeartbeatRequest::default()
    }))
}
