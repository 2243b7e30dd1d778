//! `basalt storage`: one storage node.

use super::network::bind;
use super::rebuild::{self, Guard};
use super::{Kind, data_folder, disk, runtime, say_ready};
use crate::config::{File, StorageSection, defaults};
use crate::status::{self, Status};
use crate::{cli, logging, shutdown};
use anyhow::{Context, Result};
use basalt_client::grpc::GrpcPd;
use basalt_client::rpc::PdRpc;
use basalt_common::env::Env;
use basalt_coprocessor::config::Config as CoprocessorConfig;
use basalt_coprocessor::{CoprocessorHandler, Threads};
use basalt_proto::serve::serve;
use basalt_storage::config::{EngineConfig, RaftConfig, TxnConfig};
use basalt_storage::engine::Engine;
use basalt_storage::engine::rocks::RocksEngine;
use basalt_storage::gc::Collector;
use basalt_storage::raftlog::rocks::RocksRaftLog;
use basalt_storage::raftstore::node::pd::PdCaller;
use basalt_storage::raftstore::node::{Driver, Node, NodeParams};
use basalt_storage::raftstore::transport::grpc::GrpcTransport;
use basalt_storage::raftstore::transport::{LocalTransport, Transport};
use basalt_storage::service::grpc::{self, Drain};
use basalt_storage::service::{StoreIdentity, StoreService};
use basalt_storage::txn::circles::report_waits;
use basalt_storage::txn::{ConcurrencyManager, Scheduler};
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a store is opened with.
pub struct StoreParams<'a> {
    /// Its folder: `db`, `raft` and `snapshots` lie in it.
    pub folder: &'a Path,
    /// Settings.
    pub settings: &'a StorageSection,
    /// PD.
    pub pd: Arc<dyn PdRpc>,
    /// To the other stores.
    pub transport: Arc<dyn Transport>,
    /// Bounds and intervals of raft.
    pub raft: Arc<RaftConfig>,
    /// Where others reach it.
    pub address: String,
    /// Its status page.
    pub status_address: String,
    /// Clock and chance.
    pub env: Env,
    /// Told of damage; without one it is only logged.
    pub guard: Option<Arc<Guard>>,
}

/// A store that runs.
pub struct OpenStore {
    pub node: Arc<Node>,
    pub service: Arc<StoreService>,
    disk_watch: tokio::task::JoinHandle<()>,
    wait_reports: tokio::task::JoinHandle<()>,
    collector: tokio::task::JoinHandle<()>,
}

impl OpenStore {
    /// Stops it; what it has acknowledged is on disk already.
    pub async fn stop(&self) -> Result<()> {
        self.disk_watch.abort();
        self.wait_reports.abort();
        self.collector.abort();
        self.node.stop().await.context("a store did not stop cleanly")
    }
}

/// Raft's bounds with the settings applied.
pub fn raft_config(settings: &StorageSection) -> Result<Arc<RaftConfig>> {
    let mut config = RaftConfig::default();
    if let Some(size) = settings.region_split_size {
        config.region_split_size_bytes = size.0;
        config.region_max_size_bytes = config.region_max_size_bytes.min(size.0.saturating_mul(3) / 2);
    }
    if let Some(size) = settings.region_max_size {
        config.region_max_size_bytes = size.0;
    }
    anyhow::ensure!(
        config.region_max_size_bytes >= config.region_split_size_bytes && config.region_split_size_bytes >= 4096,
        "[storage] region_split_size must be at least 4KiB, and region_max_size not below it"
    );
    Ok(Arc::new(config))
}

/// Opens the folder and starts the store.
pub async fn open(params: StoreParams<'_>) -> Result<OpenStore> {
    data_folder(params.folder, Kind::Storage)?;
    let mut engine_config = EngineConfig::default();
    if let Some(size) = params.settings.block_cache {
        engine_config.block_cache_bytes = usize::try_from(size.0).unwrap_or(usize::MAX);
    }
    let (began, held) = (params.env.now(), disk::held_bytes(params.folder));
    let place = || format!("the store cannot use {}", params.folder.display());
    let rocks = RocksEngine::open(&params.folder.join("db"), &engine_config).with_context(place)?;
    let guard = params.guard.clone();
    rocks.tell_of_damage(Box::new(move |error| match &guard {
        Some(guard) => guard.damage(&error.to_string()),
        None => tracing::error!(%error, "data are damaged"),
    }));
    let engine: Arc<dyn Engine> = Arc::new(rocks);
    let log = Arc::new(RocksRaftLog::open(&params.folder.join("raft")).with_context(place)?);
    let concurrency = ConcurrencyManager::new();
    let max_ts = concurrency.clone();
    let guard = params.guard.clone();
    let node = Node::start(NodeParams {
        config: params.raft,
        engine: engine.clone(),
        log,
        snapshot_dir: params.folder.join("snapshots"),
        pd: params.pd.clone(),
        transport: params.transport,
        env: params.env.clone(),
        address: params.address,
        status_address: params.status_address,
        on_max_ts: Arc::new(move |ts| max_ts.update_max_ts(ts)),
        // What a store cannot apply or persist it must not serve: the process ends, and its peers go on.
        on_fatal: Arc::new(move |error| {
            tracing::error!(%error, "the store must stop");
            if let (Some(guard), true) = (&guard, error.is_damage()) {
                guard.damage(&error.to_string());
            }
            std::process::abort();
        }),
        driver: Driver::Threads,
    })
    .await
    .context("the store cannot start")?;
    if let Some(guard) = &params.guard {
        guard.watch(&node);
    }
    let took = params.env.now().since(began);
    let recovered = bytesize::ByteSize(held).display().iec().to_string();
    tracing::info!(store = %node.id(), folder = %params.folder.display(), recovered, ?took, "store is recovered");
    let scheduler = Scheduler::new(node.kv().clone(), concurrency, TxnConfig::default(), params.env.clone());
    let coprocessor =
        CoprocessorHandler::new(node.id(), params.env.clone(), &CoprocessorConfig::default(), Threads::Own)?;
    let identity = StoreIdentity { cluster_id: node.cluster_id(), store_id: node.id() };
    let mut pd = PdCaller::new(params.pd);
    pd.set_cluster(node.cluster_id());
    scheduler.ts_bound().set(node.newest_ts().clone(), pd.asks_timestamp());
    let wait_reports = tokio::spawn(report_waits(scheduler.clone(), pd, node.id()));
    let collector = Collector::new(node.clone(), scheduler.clone(), engine, params.env.clone(), Driver::Threads);
    let collector = tokio::spawn(collector.run());
    let service = StoreService::new(identity, scheduler, node.kv().clone(), Arc::new(coprocessor), params.env);
    let reserve = params.settings.disk_reserve.map_or(disk::RESERVE_BYTES, |size| size.0);
    let disk_watch = disk::watch(params.folder.to_path_buf(), reserve, service.clone(), node.clone());
    Ok(OpenStore { node, service, disk_watch, wait_reports, collector })
}

/// Runs the role until it is asked to stop.
pub fn run(args: cli::Storage) -> Result<()> {
    let file = File::load(args.common.config.as_deref())?;
    logging::init(&args.common, &file)?;
    runtime()?.block_on(async {
        let listen = args.listen.or(file.listen).unwrap_or_else(|| defaults::STORAGE_LISTEN.into());
        let status_address = args.status.or(file.status).unwrap_or_else(|| defaults::STORAGE_STATUS.into());
        let data = args.data.or(file.data).unwrap_or_else(|| defaults::STORAGE_DATA.into());
        let pd_address = args.pd.or(file.pd).context("--pd HOST:PORT: where is the placement driver?")?;
        let listener = bind(&listen, args.trusted_network || file.trusted_network).await?;
        let status_listener = status::bind(&status_address).await?;
        let raft = raft_config(&file.storage)?;
        let pd: Arc<dyn PdRpc> = Arc::new(GrpcPd::new(vec![pd_address]));
        let (address, env) = (file.advertise.unwrap_or_else(|| listen.clone()), Env::real());
        if args.rebuild {
            rebuild::set_aside(&data, &address, &PdCaller::new(pd.clone()), &env).await?;
        }
        rebuild::check(&data)?;
        let local = Arc::new(LocalTransport::new(raft.snapshot_chunk_bytes));
        let transport = Arc::new(GrpcTransport::new(local.clone(), PdCaller::new(pd.clone()), raft.clone()));
        let opening = open(StoreParams {
            folder: &data,
            settings: &file.storage,
            pd,
            transport,
            raft,
            address,
            status_address: status_address.clone(),
            env,
            guard: Some(Guard::new(&data)),
        });
        // A store that the cluster does not know yet waits for PD as long as it takes.
        let store = tokio::select! {
            store = opening => store.map_err(|error| rebuild::advise(&data, error))?,
            stopped = shutdown::requested() => return stopped,
        };
        local.join(store.node.inbound().clone());
        let status = status::serve(status_listener, Status { role: "storage", listen: listen.clone(), admin: None });
        let stop = CancellationToken::new();
        let drain = Drain::default();
        let routes = grpc::routes(store.service.clone(), store.node.inbound().clone(), drain.clone());
        let server = tokio::spawn(serve(routes, listener, stop.clone().cancelled_owned()));
        tracing::info!(%listen, status = %status_address, store = %store.node.id(), "serving");
        say_ready(&format!("storage node {} on {listen}", store.node.id()));
        shutdown::requested().await?;
        store.disk_watch.abort();
        let left = store.node.hand_over(shutdown::HAND_OVER).await;
        if left > 0 {
            tracing::warn!(regions = left, "no other store took these over in time: they wait for an election");
        }
        stop.cancel();
        drain.finish(shutdown::GRACE).await;
        // Requests are answered; the streams of the other stores' raft messages go on for ever.
        let _ = tokio::time::timeout(shutdown::FLUSH, server).await;
        store.stop().await?;
        status.abort();
        Ok(())
    })
}
