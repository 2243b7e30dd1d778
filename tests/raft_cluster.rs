//! Stores with the real PD in one process: growing to three replicas, fail-over, splits, restarts, gRPC between stores.

use anyhow::{Context, Result, ensure};
use basalt_client::rpc::{PdRpc, RpcError};
use basalt_common::env::Env;
use basalt_common::{Epoch, PeerId, RegionId, Timestamp, UserKey};
use basalt_pd::config::PdConfig;
use basalt_pd::meta_store::memory::MemoryMetaStore;
use basalt_pd::service::PdService;
use basalt_proto::pd::{PdRequest, PdResponse, get_region_request, pd_request, pd_response};
use basalt_proto::{kv, pd};
use basalt_storage::config::{EngineConfig, RaftConfig};
use basalt_storage::engine::memory::MemoryEngine;
use basalt_storage::engine::rocks::RocksEngine;
use basalt_storage::engine::{Cf, Engine, Modify};
use basalt_storage::error::RegionError;
use basalt_storage::raftlog::RaftLog;
use basalt_storage::raftlog::memory::MemoryRaftLog;
use basalt_storage::raftlog::rocks::RocksRaftLog;
use basalt_storage::raftstore::driver::task::Prompt;
use basalt_storage::raftstore::node::pd::PdCaller;
use basalt_storage::raftstore::node::{Driver, Node, NodeParams};
use basalt_storage::raftstore::transport::grpc::{GrpcTransport, RaftService};
use basalt_storage::raftstore::transport::{LocalTransport, Transport};
use basalt_storage::replicated::{RegionCtx, Replicated, ReplicatedWrite};
use basalt_storage::service::admin::RegionAdmin;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

struct LocalPd(Arc<PdService>);

#[async_trait::async_trait]
impl PdRpc for LocalPd {
    async fn call(&self, request: PdRequest) -> Result<PdResponse, RpcError> {
        Ok(self.0.handle(request).await)
    }
}

struct Cluster {
    env: Env,
    pd: Arc<LocalPd>,
    local: Arc<LocalTransport>,
    config: Arc<RaftConfig>,
    driver: Driver,
    nodes: Vec<Option<Arc<Node>>>,
    dir: tempfile::TempDir,
}

impl Cluster {
    async fn new(env: Env, driver: Driver, config: RaftConfig) -> Result<Cluster> {
        let meta = Arc::new(MemoryMetaStore::new());
        let pd = PdService::open(env.clone(), meta, PdConfig::default()).await?;
        let local = Arc::new(LocalTransport::new(1 << 16));
        let (pd, config, dir) = (Arc::new(LocalPd(pd)), Arc::new(config), tempfile::tempdir()?);
        Ok(Cluster { env, pd, local, config, driver, nodes: Vec::new(), dir })
    }

    fn params(&self, engine: Arc<dyn Engine>, log: Arc<dyn RaftLog>, folder: &Path) -> NodeParams {
        NodeParams {
            config: self.config.clone(),
            engine,
            log,
            snapshot_dir: folder.join("snapshots"),
            pd: self.pd.clone(),
            transport: self.local.clone(),
            env: self.env.clone(),
            address: "in-process".into(),
            status_address: String::new(),
            on_max_ts: Arc::new(|_: Timestamp| {}),
            on_fatal: Arc::new(|error| panic!("a store stopped: {error}")),
            driver: self.driver.clone(),
        }
    }

    async fn add(&mut self, engine: Arc<dyn Engine>, log: Arc<dyn RaftLog>) -> Result<()> {
        let folder = self.dir.path().join(format!("store-{}", self.nodes.len()));
        let node = Node::start(self.params(engine, log, &folder)).await?;
        self.local.join(node.inbound().clone());
        self.nodes.push(Some(node));
        Ok(())
    }

    async fn add_memory(&mut self) -> Result<()> {
        self.add(Arc::new(MemoryEngine::new()), Arc::new(MemoryRaftLog::default())).await
    }

    /// The region of a key and its leader, as soon as PD knows both: right after a split, and until the next heartbeat of
    /// the new region's leader, it may not.
    async fn region_of(&self, key: &str) -> Result<(basalt_common::Region, basalt_common::Peer)> {
        for _ in 0..400 {
            let by = get_region_request::By::Key(key.as_bytes().to_vec().into());
            let cmd = pd_request::Cmd::GetRegion(pd::GetRegionRequest { by: Some(by) });
            let response = self.pd.0.handle(PdRequest { cluster_id: 0, cmd: Some(cmd) }).await;
            if let Some(pd_response::Cmd::GetRegion(found)) = response.cmd
                && let Some(found) = found.found
                && let (Some(region), Some(leader)) = (&found.region, &found.leader)
            {
                return Ok((region.into(), leader.into()));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        anyhow::bail!("PD does not know who leads the region of {key}")
    }

    /// Writes through whichever node leads, as a client would: look up, try, look up again.
    async fn put(&self, key: &str, value: &str) -> Result<()> {
        for _ in 0..400 {
            if let Ok(done) = self.try_put(key, value).await? {
                return Ok(done);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        anyhow::bail!("{key} cannot be written")
    }

    async fn try_put(&self, key: &str, value: &str) -> Result<Result<(), RegionError>> {
        for node in self.nodes.iter().flatten() {
            for peer in node.handle().status(None).await? {
                if !peer.is_leader || !peer.region.contains(key.as_bytes()) {
                    continue;
                }
                let ctx = RegionCtx {
                    region_id: peer.region.id,
                    epoch: peer.region.epoch,
                    peer_id: peer.peer_id,
                    deadline: None,
                };
                let snapshot = match node.kv().snapshot(&ctx).await {
                    Ok(snapshot) => snapshot,
                    Err(error) => return Ok(Err(error)),
                };
                let encoded = UserKey::from(key.as_bytes()).encode().with_ts(Timestamp(1));
                let put = Modify::Put { cf: Cf::Write, key: encoded.into(), value: value.as_bytes().to_vec().into() };
                let write = ReplicatedWrite { modifies: vec![put], term: snapshot.term, gc: None };
                return Ok(node.kv().write(&ctx, write).await);
            }
        }
        Ok(Err(RegionError::RegionNotFound(RegionId(0))))
    }

    async fn until_replicated(&self, voters: usize) -> Result<()> {
        for _ in 0..600 {
            let mut all = true;
            for node in self.nodes.iter().flatten() {
                for peer in node.handle().status(None).await?.iter().filter(|p| p.is_leader) {
                    let is_voter = |p: &&basalt_common::Peer| p.role == basalt_common::PeerRole::Voter;
                    all &= peer.region.peers.iter().filter(is_voter).count() == voters;
                }
            }
            if all {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("regions did not get {voters} voters")
    }

    /// Replicas are equal: compares at least so many pairs, again when leaders moved meanwhile.
    async fn check_equal(&self, pairs: usize) -> Result<()> {
        for _ in 0..20 {
            if self.compare_replicas().await? >= pairs {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::bail!("{pairs} pairs of replicas could not be compared")
    }

    /// Compares every region's replicas at one applied index; returns how many pairs could be compared.
    async fn compare_replicas(&self) -> Result<usize> {
        let mut checked = 0;
        for node in self.nodes.iter().flatten() {
            for peer in node.handle().status(None).await?.iter().filter(|p| p.is_leader) {
                let request = kv::RegionHashRequest { region_id: peer.region.id.0 };
                let hash = node.kv().region_hash(request).await;
                if !hash.error.is_empty() {
                    // Leadership moved since the status was taken.
                    continue;
                }
                for other in self.nodes.iter().flatten() {
                    let mut there = other.kv().region_hash(request).await;
                    for _ in 0..100 {
                        if there.applied_index >= hash.applied_index || other.id() == node.id() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        there = other.kv().region_hash(request).await;
                    }
                    if other.id() != node.id() && there.applied_index == hash.applied_index {
                        ensure!(there.hash == hash.hash, "region {} differs", peer.region.id);
                        checked += 1;
                    }
                }
            }
        }
        Ok(checked)
    }

    fn regions(&self) -> usize {
        self.nodes.iter().flatten().count()
    }
}

fn small_regions() -> RaftConfig {
    RaftConfig {
        region_split_size_bytes: 64 << 10,
        region_max_size_bytes: 96 << 10,
        region_heartbeat: Duration::from_millis(200),
        ..RaftConfig::default()
    }
}

async fn grow_split_and_fail_over(mut cluster: Cluster) -> Result<()> {
    for _ in 0..3 {
        cluster.add_memory().await?;
    }
    cluster.put("a", "1").await?;
    cluster.until_replicated(3).await?;
    for i in 0..600 {
        cluster.put(&format!("k{i:05}"), &"v".repeat(1000)).await?;
    }
    let mut regions = 0;
    for _ in 0..100 {
        regions = 0;
        for node in cluster.nodes.iter().flatten() {
            regions += node.handle().status(None).await?.iter().filter(|p| p.is_leader).count();
        }
        if regions >= 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(regions >= 4, "600 KB made {regions} regions");
    cluster.until_replicated(3).await?;
    cluster.check_equal(regions).await?;

    let (_, leader) = cluster.region_of("k00300").await?;
    let gone = cluster.nodes.iter().position(|n| n.as_ref().is_some_and(|n| n.id() == leader.store_id));
    let node = cluster.nodes[gone.context("no such node")?].take().context("gone")?;
    cluster.local.leave(node.id());
    node.kill().await;
    let before = cluster.env.now();
    cluster.put("k00300", "after").await?;
    let took = cluster.env.now().since(before);
    eprintln!("fail-over took {took:?} with {regions} regions");
    ensure!(took < Duration::from_secs(4), "fail-over took {took:?}");
    ensure!(cluster.regions() == 2);
    for node in cluster.nodes.iter().flatten() {
        node.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_stores_on_threads_grow_split_and_fail_over() -> Result<()> {
    grow_split_and_fail_over(Cluster::new(Env::real(), Driver::Threads, small_regions()).await?).await
}

#[tokio::test]
async fn three_stores_in_one_task_grow_split_and_fail_over() -> Result<()> {
    let env = Env::simulated(7, 1_700_000_000_000); // tokio's clock, which a simulation pauses
    grow_split_and_fail_over(Cluster::new(env, Driver::Task(Arc::new(Prompt)), small_regions()).await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_store_on_disk_survives_restarts() -> Result<()> {
    let mut cluster = Cluster::new(Env::real(), Driver::Threads, RaftConfig::default()).await?;
    let folder = cluster.dir.path().join("one");
    let open = || -> Result<(Arc<dyn Engine>, Arc<dyn RaftLog>)> {
        let engine = RocksEngine::open(&folder.join("data"), &EngineConfig::default())?;
        Ok((Arc::new(engine), Arc::new(RocksRaftLog::open(&folder.join("raft"))?)))
    };
    let (engine, log) = open()?;
    cluster.add(engine, log).await?;
    cluster.put("a", "1").await?;
    let before = cluster.env.now();
    for i in 0..500 {
        cluster.put(&format!("k{i}"), "v").await?;
    }
    eprintln!("one writer: {:?} a write", cluster.env.now().since(before) / 500);
    let before = cluster.env.now();
    let cluster = Arc::new(cluster);
    let writers: Vec<_> = (0..32)
        .map(|w| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                for i in 0..100 {
                    cluster.put(&format!("w{w}-{i}"), "v").await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    eprintln!("32 writers: {:?} a write", cluster.env.now().since(before) / 3200);
    let mut cluster = Arc::into_inner(cluster).context("still shared")?;
    for clean in [false, true] {
        let node = cluster.nodes.pop().flatten().context("a node")?;
        cluster.local.leave(node.id());
        let id = node.id();
        if clean {
            node.stop().await?
        } else {
            node.kill().await
        }
        drop(node);
        let (engine, log) = open()?;
        let began = cluster.env.now();
        cluster.add(engine, log).await?;
        cluster.put("again", "2").await?;
        eprintln!("restart took {:?} (clean: {clean})", cluster.env.now().since(began));
        let node = cluster.nodes[0].as_ref().context("a node")?;
        ensure!(node.id() == id, "the store forgot who it is");
        let (region, _) = cluster.region_of("k7").await?;
        let peer_id = region.peers.first().map_or(PeerId(0), |p| p.id);
        let ctx = RegionCtx { region_id: region.id, epoch: region.epoch, peer_id, deadline: None };
        let snapshot = node.kv().snapshot(&ctx).await?;
        for key in ["a", "k7", "k499", "w31-99"] {
            let encoded = UserKey::from(key.as_bytes()).encode().with_ts(Timestamp(1));
            ensure!(snapshot.data.get(Cf::Write, &encoded)?.is_some(), "{key} is lost");
        }
        let stale = RegionCtx { epoch: Epoch { conf_ver: 9, version: 9 }, ..ctx };
        ensure!(matches!(node.kv().snapshot(&stale).await, Err(RegionError::EpochNotMatch(_))));
    }
    let node = cluster.nodes.pop().flatten().context("a node")?;
    node.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_reach_each_other_by_grpc() -> Result<()> {
    let mut cluster = Cluster::new(Env::real(), Driver::Threads, small_regions()).await?;
    let mut servers = Vec::new();
    for i in 0..3 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let local = Arc::new(LocalTransport::new(1 << 16));
        let pd = PdCaller::new(cluster.pd.clone());
        let transport: Arc<dyn Transport> = Arc::new(GrpcTransport::new(local.clone(), pd, cluster.config.clone()));
        let folder = cluster.dir.path().join(format!("grpc-{i}"));
        let engine = RocksEngine::open(&folder.join("data"), &EngineConfig::default())?;
        let log = RocksRaftLog::open(&folder.join("raft"))?;
        let params = cluster.params(Arc::new(engine), Arc::new(log), &folder);
        let node = Node::start(NodeParams { transport, address, ..params }).await?;
        local.join(node.inbound().clone());
        let service = RaftService::server(node.inbound().clone());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        servers
            .push(tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming)));
        cluster.nodes.push(Some(node));
    }
    for i in 0..200 {
        cluster.put(&format!("k{i:05}"), &"v".repeat(1000)).await?;
    }
    cluster.until_replicated(3).await?;
    cluster.put("z", "1").await?;
    cluster.check_equal(2).await?;
    for node in cluster.nodes.iter().flatten() {
        node.stop().await?;
    }
    for server in servers {
        server.abort();
    }
    Ok(())
}
