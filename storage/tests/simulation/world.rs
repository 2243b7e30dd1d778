//! The machines: PD, three stores that crash and come back, and what happens to them.

use crate::net::{Faults, Net};
use crate::trace::Trace;
use basalt_client::rpc::{KvRpc, PdRpc};
use basalt_client::{Cluster, TsoMode};
use basalt_common::env::Env;
use basalt_common::{PeerRole, StoreId, Timestamp};
use basalt_pd::meta_store::memory::MemoryMetaStore;
use basalt_pd::{PdConfig, PdService};
use basalt_storage::config::{RaftConfig, TxnConfig};
use basalt_storage::engine::memory::{MemoryEngine, MemoryFaults};
use basalt_storage::engine::{DATA_CFS, Engine, EngineError, IterOptions};
use basalt_storage::raftlog::LogError;
use basalt_storage::raftlog::memory::MemoryRaftLog;
use basalt_storage::raftstore::driver::task::Prompt;
use basalt_storage::raftstore::node::pd::PdCaller;
use basalt_storage::raftstore::node::{Driver, Node, NodeParams};
use basalt_storage::service::coprocessor::NoCoprocessor;
use basalt_storage::service::{StoreIdentity, StoreService};
use basalt_storage::txn::circles::report_waits;
use basalt_storage::txn::{ConcurrencyManager, Scheduler};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Machines with a store.
pub const STORES: usize = 3;

/// A machine: what survives a crash, and the process if one runs.
struct Machine {
    engine: MemoryEngine,
    log: Arc<MemoryRaftLog>,
    folder: std::path::PathBuf,
    running: Mutex<Option<Arc<Node>>>,
    /// Tells PD who waits for locks, while the process runs.
    wait_reports: Mutex<Option<tokio::task::AbortHandle>>,
    /// The disk was made to fail, so the store may stop by itself.
    is_doomed: Arc<AtomicBool>,
}

/// Everything together.
pub struct World {
    seed: u64,
    pub net: Net,
    pub trace: Trace,
    machines: Vec<Machine>,
    config: Arc<RaftConfig>,
    _folder: tempfile::TempDir,
}

impl World {
    /// PD and three stores over one region, on a network without faults.
    pub async fn new(seed: u64, trace: Trace) -> Arc<World> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let machine = |i| Machine {
            engine: MemoryEngine::new(),
            log: Arc::default(),
            folder: folder.path().join(format!("store-{i}")),
            running: Mutex::default(),
            wait_reports: Mutex::default(),
            is_doomed: Arc::default(),
        };
        let pd_env = env(seed, 1);
        let pd = PdService::open(pd_env, Arc::new(MemoryMetaStore::new()), PdConfig::default()).await;
        let pd = pd.expect("PD opens");
        let keeper = pd.clone();
        tokio::spawn(async move { keeper.run(std::future::pending()).await });
        // Small bounds, so that logs are cut and snapshots needed within the short life of a simulation.
        let config = RaftConfig {
            log_entries_max: 64,
            log_lag_entries_max: 128,
            log_compact_ticks: 10,
            log_flush_bytes: 64 << 10,
            region_heartbeat: Duration::from_millis(500),
            store_heartbeat: Duration::from_millis(1000),
            ..RaftConfig::default()
        };
        let world = World {
            seed,
            net: Net::new(env(seed, 2), trace.clone(), pd),
            trace,
            machines: (0..STORES).map(machine).collect(),
            config: Arc::new(config),
            _folder: folder,
        };
        for i in 0..STORES {
            world.start(i).await;
        }
        Arc::new(world)
    }

    /// Chance for one purpose; every purpose has a number.
    pub fn env(&self, purpose: u64) -> Env {
        env(self.seed, purpose)
    }

    /// A client process, which knows nothing of the cluster yet.
    pub async fn client(&self, purpose: u64) -> Cluster {
        let (kv, pd): (Arc<dyn KvRpc>, Arc<dyn PdRpc>) = (Arc::new(self.net.clone()), Arc::new(self.net.clone()));
        let mode = if purpose.is_multiple_of(2) { TsoMode::Direct } else { TsoMode::Batched };
        loop {
            match Cluster::connect(self.env(purpose), kv.clone(), pd.clone(), mode).await {
                Ok(cluster) => return cluster,
                Err(error) => self.trace.note(format_args!("client {purpose}: {error}")),
            }
        }
    }

    /// Starts a store's process on what its disk holds.
    pub async fn start(&self, i: usize) {
        let machine = &self.machines[i];
        if machine.running.lock().expect("not poisoned").is_some() {
            return;
        }
        machine.is_doomed.store(false, Ordering::Relaxed);
        machine.log.fail_appends(None);
        machine.engine.set_faults(MemoryFaults::default());
        let env = env(self.seed, self.net.draw());
        let concurrency = ConcurrencyManager::new();
        let (max_ts, trace, is_doomed) = (concurrency.clone(), self.trace.clone(), machine.is_doomed.clone());
        let node = loop {
            let (max_ts, trace, is_doomed) = (max_ts.clone(), trace.clone(), is_doomed.clone());
            let params = NodeParams {
                config: self.config.clone(),
                engine: Arc::new(machine.engine.clone()),
                log: machine.log.clone(),
                snapshot_dir: machine.folder.join("snapshots"),
                pd: Arc::new(self.net.clone()),
                transport: Arc::new(self.net.clone()),
                env: env.clone(),
                address: "in-process".into(),
                status_address: String::new(),
                on_max_ts: Arc::new(move |ts: Timestamp| max_ts.update_max_ts(ts)),
                on_fatal: Arc::new(move |error| {
                    trace.note(format_args!("machine {i} stopped: {error}"));
                    assert!(is_doomed.load(Ordering::Relaxed), "machine {i} stopped: {error}");
                }),
                driver: Driver::Task(Arc::new(Prompt)),
            };
            match Node::start(params).await {
                Ok(node) => break node,
                Err(error) => self.trace.note(format_args!("machine {i} cannot start: {error}")),
            }
        };
        let scheduler = Scheduler::new(node.kv().clone(), concurrency, TxnConfig::default(), env.clone());
        let mut pd = PdCaller::new(Arc::new(self.net.clone()));
        pd.set_cluster(node.cluster_id());
        let reports = tokio::spawn(report_waits(scheduler.clone(), pd, node.id())).abort_handle();
        *machine.wait_reports.lock().expect("not poisoned") = Some(reports);
        let identity = StoreIdentity { cluster_id: node.cluster_id(), store_id: node.id() };
        let service = StoreService::new(identity, scheduler, node.kv().clone(), Arc::new(NoCoprocessor), env);
        self.trace.note(format_args!("machine {i} started as store {}", node.id()));
        self.net.join(service, node.inbound().clone());
        *machine.running.lock().expect("not poisoned") = Some(node);
    }

    /// The disk of a store begins to fail: the process stops at its next write, after it sent what it sends before it.
    pub fn doom(&self, i: usize, log: bool) {
        let machine = &self.machines[i];
        self.trace.note(format_args!("machine {i} loses its disk (log: {log})"));
        machine.is_doomed.store(true, Ordering::Relaxed);
        if log {
            machine.log.fail_appends(Some(LogError::Io("power cut".into())));
        } else {
            let fail_writes = Some(EngineError::Io("power cut".into()));
            machine.engine.set_faults(MemoryFaults { fail_writes, ..MemoryFaults::default() });
        }
    }

    /// Power off: the process is gone, and what was not synced or flushed with it.
    pub async fn crash(&self, i: usize) {
        let machine = &self.machines[i];
        let running = machine.running.lock().expect("not poisoned").take();
        let Some(node) = running else { return };
        if let Some(reports) = machine.wait_reports.lock().expect("not poisoned").take() {
            reports.abort();
        }
        self.trace.note(format_args!("machine {i} crashes"));
        self.net.leave(node.id());
        node.kill().await;
        machine.engine.crash();
        machine.log.crash();
    }

    /// The data engine makes durable what it has.
    pub fn flush(&self, i: usize) {
        self.trace.note(format_args!("machine {i} flushes"));
        let _ = self.machines[i].engine.flush();
    }

    /// The number of the store on a machine, while it runs.
    pub fn store_on(&self, i: usize) -> Option<StoreId> {
        self.machines[i].running.lock().expect("not poisoned").as_ref().map(|node| node.id())
    }

    /// Everything works again.
    pub async fn heal(&self) {
        self.net.set_faults(Faults::default());
        for i in 0..STORES {
            self.start(i).await;
        }
        for i in 0..STORES {
            if let Some(store) = self.store_on(i) {
                self.net.set_cut(store, false);
            }
        }
    }

    /// Waits until every region that has a leader has a voter on every store.
    pub async fn until_replicated(&self) {
        for _ in 0..1200 {
            let (mut led, mut short) = (0, 0);
            for machine in &self.machines {
                let node = machine.running.lock().expect("not poisoned").clone();
                let Some(node) = node else { continue };
                for peer in node.handle().status(None).await.unwrap_or_default().iter().filter(|p| p.is_leader) {
                    led += 1;
                    let voters = peer.region.peers.iter().filter(|p| p.role == PeerRole::Voter).count();
                    short += usize::from(voters < STORES || peer.region.peers.len() > STORES);
                }
            }
            if led > 0 && short == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the regions do not get their replicas");
    }

    /// Waits until all stores hold the same bytes, and says how many entries these are. Every region is on every store.
    pub async fn until_equal(&self) -> usize {
        for _ in 0..600 {
            let contents: Vec<_> = self.machines.iter().map(|machine| contents(&machine.engine)).collect();
            if contents.windows(2).all(|pair| pair[0] == pair[1]) {
                return contents[0].len();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let contents: Vec<_> = self.machines.iter().map(|machine| contents(&machine.engine)).collect();
        for (i, other) in contents.iter().enumerate().skip(1) {
            let differing = contents[0].iter().zip(other).find(|(a, b)| a != b);
            self.trace.note(format_args!("machines 0 and {i} differ at {differing:?}"));
        }
        let lengths: Vec<_> = contents.iter().map(Vec::len).collect();
        panic!("the replicas do not become equal: {lengths:?} entries");
    }
}

/// A machine's clock and chance: the machines agree about the time.
fn env(seed: u64, purpose: u64) -> Env {
    Env::simulated(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose, crate::clock::wall_ms())
}

type Entry = (&'static str, Vec<u8>, Vec<u8>);

/// All user data of an engine.
fn contents(engine: &MemoryEngine) -> Vec<Entry> {
    let snapshot = engine.snapshot();
    let mut all = Vec::new();
    for cf in DATA_CFS {
        let mut iter = snapshot.iter(cf, IterOptions::default()).expect("memory can be read");
        let mut valid = iter.seek_to_first().expect("memory can be read");
        while valid {
            all.push((cf.name(), iter.key().to_vec(), iter.value().to_vec()));
            valid = iter.next().expect("memory can be read");
        }
    }
    all
}
