//! The machines: PD and stores that crash and come back, and what happens to them.

use crate::machine::{Disk, Machine, Pace, SkewedClock, Slowness};
use crate::net::{Faults, Net, Place};
use crate::trace::Trace;
use basalt_client::rpc::{KvRpc, PdRpc};
use basalt_client::{Cluster, TsoMode};
use basalt_common::env::Env;
use basalt_common::{PeerRole, Region, RegionId, StoreId, Timestamp};
use basalt_pd::meta_store::memory::MemoryMetaStore;
use basalt_pd::{PdConfig, PdService};
use basalt_proto::pd::{PdRequest, pd_request, pd_response};
use basalt_storage::config::{RaftConfig, TxnConfig};
use basalt_storage::engine::memory::{MemoryEngine, MemoryFaults};
use basalt_storage::engine::{Cf, DATA_CFS, Engine, EngineError, EngineRange, IterOptions};
use basalt_storage::gc::Collector;
use basalt_storage::mvcc::garbage::{PageLimits, garbage_page};
use basalt_storage::raftlog::LogError;
use basalt_storage::raftstore::keys;
use basalt_storage::raftstore::message::PeerStatus;
use basalt_storage::raftstore::node::pd::PdCaller;
use basalt_storage::raftstore::node::{Driver, Node, NodeParams};
use basalt_storage::service::coprocessor::NoCoprocessor;
use basalt_storage::service::{StoreIdentity, StoreService};
use basalt_storage::txn::circles::report_waits;
use basalt_storage::txn::{ConcurrencyManager, Scheduler};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a seed's cluster is made.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Machines with a store.
    pub machines: usize,
    /// Of each region.
    pub replicas: usize,
    /// When PD takes a store for lost.
    pub replace_after: Duration,
    /// A machine may lose its disk and come back as a new store. Then nobody removes replicas by hand beside it.
    pub wipes: bool,
}

impl Shape {
    /// Of a seed.
    pub fn draw(chance: &Env) -> Shape {
        let machines = chance.random_range(3, 7) as usize;
        let replicas = [1, 3, 3, 3, 5][chance.random_range(0, 5) as usize];
        Shape {
            machines,
            replicas: replicas.min(if machines < 5 { 3 } else { 5 }),
            replace_after: Duration::from_millis(chance.random_range(3_000, 9_000)),
            wipes: chance.random_range(0, 2) == 0,
        }
    }
}

/// PD's machine.
struct PdMachine {
    disk: MemoryMetaStore,
    config: PdConfig,
    clock: Arc<SkewedClock>,
    keeper: Mutex<Option<tokio::task::AbortHandle>>,
}

/// A region as the peer that leads it says.
pub struct Led {
    pub status: PeerStatus,
    pub machine: usize,
}

/// Everything together.
pub struct World {
    seed: u64,
    pub shape: Shape,
    pub net: Net,
    pub trace: Trace,
    pub machines: Vec<Machine>,
    pd: PdMachine,
    config: Arc<RaftConfig>,
    folder: tempfile::TempDir,
}

impl World {
    /// PD and stores over one region, on a network without faults.
    pub async fn new(seed: u64, trace: Trace) -> Arc<World> {
        let shape = Shape::draw(&env(seed, 6));
        trace.note(format_args!("{shape:?}"));
        // Small bounds, so that logs are cut and snapshots needed within the short life of a simulation.
        let config = RaftConfig {
            log_entries_max: 64,
            log_lag_entries_max: 128,
            log_compact_ticks: 10,
            log_flush_bytes: 64 << 10,
            region_heartbeat: Duration::from_millis(500),
            store_heartbeat: Duration::from_millis(1000),
            peer_down_after: Duration::from_secs(3),
            leader_missing_after: Duration::from_secs(5),
            ..RaftConfig::default()
        };
        let chance = env(seed, 7);
        let pd_config = PdConfig {
            replicas_max: shape.replicas as u32,
            store_down_after: Duration::from_millis(2_500),
            store_replace_after: shape.replace_after,
            adds_per_store_max: chance.random_range(1, 9) as usize,
            peer_operator_timeout: Duration::from_secs(chance.random_range(5, 60)),
            sql_server_forget_after: Duration::from_secs(3),
            gc_life: Duration::from_millis(chance.random_range(1_000, 6_000)),
            gc_limit: Duration::from_secs(chance.random_range(8, 30)),
            ..PdConfig::default()
        };
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let machine = |i: usize| Machine {
            disk: Mutex::new(new_disk(&folder, &format!("store-{i}"))),
            running: Mutex::default(),
            beside: Mutex::default(),
            is_doomed: Arc::default(),
            has_stopped: Arc::default(),
            pace: Arc::new(Pace::new(env(seed, 1_000 + i as u64))),
            clock: Arc::new(SkewedClock::new(chance.random_range(0, 4_000) as i64 - 2_000)),
        };
        let world = World {
            seed,
            net: Net::new(env(seed, 2), trace.clone()),
            trace,
            machines: (0..shape.machines).map(machine).collect(),
            pd: PdMachine {
                disk: MemoryMetaStore::new(),
                config: pd_config,
                clock: Arc::new(SkewedClock::new(0)),
                keeper: Mutex::default(),
            },
            config: Arc::new(config),
            folder,
            shape,
        };
        world.start_pd().await;
        for i in 0..world.machines.len() {
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
        let link = Arc::new(self.net.link(Place::Client));
        let (kv, pd): (Arc<dyn KvRpc>, Arc<dyn PdRpc>) = (link.clone(), link);
        let mode = if purpose.is_multiple_of(2) { TsoMode::Direct } else { TsoMode::Batched };
        loop {
            match Cluster::connect(self.env(purpose), kv.clone(), pd.clone(), mode).await {
                Ok(cluster) => return cluster,
                Err(error) => self.trace.note(format_args!("client {purpose}: {error}")),
            }
        }
    }

    // ---- PD ----

    /// Starts PD on what its disk holds.
    pub async fn start_pd(&self) {
        if self.pd.keeper.lock().expect("not poisoned").is_some() {
            return;
        }
        let env = Env::with_clock(self.pd.clock.clone(), seed_of(self.seed, self.net.draw()));
        let disk = Arc::new(self.pd.disk.clone());
        let pd = PdService::open(env, disk, self.pd.config.clone()).await.expect("PD opens");
        let keeper = pd.clone();
        let keeper = tokio::spawn(async move { keeper.run(std::future::pending()).await }).abort_handle();
        *self.pd.keeper.lock().expect("not poisoned") = Some(keeper);
        self.trace.note("PD started");
        self.net.set_pd(Some(pd));
    }

    /// PD's process is gone, and with it what it had not written; the write under way, if one is, may be there or not.
    pub fn crash_pd(&self, keeps_unsynced: bool) {
        let Some(keeper) = self.pd.keeper.lock().expect("not poisoned").take() else { return };
        self.trace.note(format_args!("PD crashes (keeps what is not synced: {keeps_unsynced})"));
        keeper.abort();
        self.net.set_pd(None);
        self.pd.disk.crash(keeps_unsynced);
    }

    /// How long PD's disk takes for a write.
    pub fn set_pd_sync_time(&self, takes: Duration) {
        self.pd.disk.set_sync_time(takes);
    }

    /// PD's wall clock is set.
    pub fn set_pd_wall_ahead(&self, ms: i64) {
        self.trace.note(format_args!("PD's wall clock is {ms} ms ahead"));
        self.pd.clock.set_wall_ahead(ms);
    }

    /// Asks PD as a client does; nothing when it does not answer.
    pub async fn ask_pd(&self, cmd: pd_request::Cmd) -> Option<pd_response::Cmd> {
        let request = PdRequest { cluster_id: 0, cmd: Some(cmd) };
        PdRpc::call(&self.net.link(Place::Client), request).await.ok()?.cmd
    }

    // ---- machines ----

    /// Starts a store's process on what its disk holds.
    pub async fn start(&self, i: usize) {
        let machine = &self.machines[i];
        if machine.running().is_some() {
            return;
        }
        let disk = machine.disk();
        machine.is_doomed.store(false, Ordering::Relaxed);
        machine.has_stopped.store(false, Ordering::Relaxed);
        disk.log.fail_appends(None);
        disk.engine.set_faults(MemoryFaults::default());
        let env = Env::with_clock(machine.clock.clone(), seed_of(self.seed, self.net.draw()));
        let link = self.net.link(Place::Machine(i));
        let concurrency = ConcurrencyManager::new();
        let (max_ts, trace, is_doomed) = (concurrency.clone(), self.trace.clone(), machine.is_doomed.clone());
        let node = loop {
            let (max_ts, trace, is_doomed) = (max_ts.clone(), trace.clone(), is_doomed.clone());
            let has_stopped = machine.has_stopped.clone();
            let params = NodeParams {
                config: self.config.clone(),
                engine: Arc::new(disk.engine.clone()),
                log: disk.log.clone(),
                snapshot_dir: disk.folder.join("snapshots"),
                pd: Arc::new(link.clone()),
                transport: Arc::new(link.clone()),
                env: env.clone(),
                address: "in-process".into(),
                status_address: String::new(),
                on_max_ts: Arc::new(move |ts: Timestamp| max_ts.update_max_ts(ts)),
                on_fatal: Arc::new(move |error| {
                    trace.note(format_args!("machine {i} stopped: {error}"));
                    has_stopped.store(true, Ordering::Relaxed);
                    assert!(is_doomed.load(Ordering::Relaxed), "machine {i} stopped: {error}");
                }),
                driver: Driver::Task(machine.pace.clone()),
            };
            match Node::start(params).await {
                Ok(node) => break node,
                Err(basalt_storage::raftstore::StoreError::Pd(error)) => {
                    self.trace.note(format_args!("machine {i} cannot start: {error}"));
                }
                Err(error) => panic!("machine {i} cannot start: {error}"),
            }
        };
        let scheduler = Scheduler::new(node.kv().clone(), concurrency, TxnConfig::default(), env.clone());
        let mut pd = PdCaller::new(Arc::new(link));
        pd.set_cluster(node.cluster_id());
        scheduler.ts_bound().set(node.newest_ts().clone(), pd.asks_timestamp());
        let reports = tokio::spawn(report_waits(scheduler.clone(), pd, node.id()));
        let driver = Driver::Task(machine.pace.clone());
        let engine = Arc::new(disk.engine.clone());
        let collector = Collector::new(node.clone(), scheduler.clone(), engine, env.clone(), driver);
        let collector = tokio::spawn(collector.run());
        *machine.beside.lock().expect("not poisoned") = vec![reports.abort_handle(), collector.abort_handle()];
        let identity = StoreIdentity { cluster_id: node.cluster_id(), store_id: node.id() };
        let service = StoreService::new(identity, scheduler, node.kv().clone(), Arc::new(NoCoprocessor), env);
        self.trace.note(format_args!("machine {i} started as store {}", node.id()));
        self.net.join(i, service, node.inbound().clone());
        *machine.running.lock().expect("not poisoned") = Some(node);
    }

    /// The disk of a store begins to fail: the process stops at its next write, after it sent what it sends before it.
    pub fn doom(&self, i: usize, log: bool) {
        let machine = &self.machines[i];
        if machine.running().is_none() {
            return;
        }
        self.trace.note(format_args!("machine {i} loses its disk (log: {log})"));
        machine.is_doomed.store(true, Ordering::Relaxed);
        if log {
            machine.disk().log.fail_appends(Some(LogError::Io("power cut".into())));
        } else {
            let fail_writes = Some(EngineError::Io("power cut".into()));
            machine.disk().engine.set_faults(MemoryFaults { fail_writes, ..MemoryFaults::default() });
        }
    }

    /// Power off: the process is gone, and what was not synced or flushed with it.
    pub async fn crash(&self, i: usize) {
        let machine = &self.machines[i];
        let running = machine.running.lock().expect("not poisoned").take();
        let Some(node) = running else { return };
        machine.beside.lock().expect("not poisoned").drain(..).for_each(|task| task.abort());
        self.trace.note(format_args!("machine {i} crashes"));
        self.net.leave(node.id());
        node.kill().await;
        let disk = machine.disk();
        disk.engine.crash();
        disk.log.crash();
        machine.pace.set(Slowness::None);
    }

    /// The machine is gone for good; one with an empty disk stands in its place.
    pub async fn wipe(&self, i: usize) {
        self.crash(i).await;
        self.trace.note(format_args!("machine {i} is wiped"));
        let name = format!("store-{i}-{}", self.net.draw());
        *self.machines[i].disk.lock().expect("not poisoned") = new_disk(&self.folder, &name);
    }

    /// The data engine makes durable what it has.
    pub fn flush(&self, i: usize) {
        self.trace.note(format_args!("machine {i} flushes"));
        let _ = self.machines[i].disk().engine.flush();
    }

    /// The number of the store on a machine, while it runs.
    pub fn store_on(&self, i: usize) -> Option<StoreId> {
        self.machines[i].running().map(|node| node.id())
    }

    /// Which machine a store runs on.
    pub fn machine_of(&self, store: StoreId) -> Option<usize> {
        (0..self.machines.len()).find(|&i| self.store_on(i) == Some(store))
    }

    /// Everything works again.
    pub async fn heal(&self) {
        self.net.set_faults(Faults::default());
        self.net.mend_all();
        self.set_pd_sync_time(Duration::ZERO);
        self.start_pd().await;
        for (i, machine) in self.machines.iter().enumerate() {
            machine.pace.set(Slowness::None);
            if machine.has_stopped.load(Ordering::Relaxed) {
                self.crash(i).await;
            }
            self.start(i).await;
        }
        self.trace.note("healed");
    }

    // ---- what the cluster looks like ----

    /// Every peer of every store that runs, by machine.
    pub async fn peers(&self) -> Vec<(usize, PeerStatus)> {
        let mut found = Vec::new();
        for (i, machine) in self.machines.iter().enumerate() {
            if let Some(node) = machine.running() {
                found.extend(node.handle().status(None).await.unwrap_or_default().into_iter().map(|peer| (i, peer)));
            }
        }
        found
    }

    /// The regions that are led, each by the leader of the highest term.
    pub async fn regions(&self) -> BTreeMap<RegionId, Led> {
        let mut led: BTreeMap<RegionId, Led> = BTreeMap::new();
        for (machine, status) in self.peers().await.into_iter().filter(|(_, peer)| peer.is_leader) {
            if led.get(&status.region.id).is_none_or(|known| known.status.term < status.term) {
                led.insert(status.region.id, Led { status, machine });
            }
        }
        led
    }

    /// Whether a machine's disk can go for good: every region keeps a majority of those that vote, all of which run.
    pub async fn can_lose(&self, i: usize) -> bool {
        let Some(lost) = self.store_on(i) else { return false };
        let all_run = (0..self.machines.len()).all(|i| self.store_on(i).is_some());
        let regions = self.regions().await;
        let is_safe = |region: &Region| {
            let runs = |store| self.machine_of(store).is_some();
            let voters: Vec<_> = region.peers.iter().filter(|p| p.role == PeerRole::Voter).collect();
            let whole = voters.len() == region.peers.len() && voters.iter().all(|p| runs(p.store_id));
            whole && (region.peer_on(lost).is_none() || voters.len() >= 3)
        };
        all_run && covers_all(regions.values()) && regions.values().all(|led| is_safe(&led.status.region))
    }

    /// What keeps the cluster from being whole: regions that nobody leads, too few or too many replicas.
    async fn missing(&self) -> Option<String> {
        let regions = self.regions().await;
        if !covers_all(regions.values()) {
            return Some(format!("the regions that are led do not cover the keys once: {}", show(&regions)));
        }
        let wanted = self.shape.replicas.min(self.machines.len());
        let is_whole = |region: &Region| {
            let good = |p: &&basalt_common::Peer| p.role == PeerRole::Voter && self.machine_of(p.store_id).is_some();
            region.peers.len() == wanted && region.peers.iter().filter(good).count() == wanted
        };
        regions
            .values()
            .all(|led| is_whole(&led.status.region))
            .then_some(())
            .map_or_else(|| Some(format!("regions do not have their {wanted} replicas: {}", show(&regions))), |()| None)
    }

    /// Waits until every key is in one region that is led and has its replicas, all of them on stores that run.
    pub async fn until_replicated(&self) {
        for _ in 0..1200 {
            if self.missing().await.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if let Some(missing) = self.missing().await {
            self.trace.note(&missing);
            panic!("after two minutes {missing}");
        }
    }

    /// Waits until the replicas of each region hold the same bytes, and says how many entries there are. No store holds
    /// anything beside its regions.
    pub async fn until_equal(&self) -> usize {
        let mut differs = String::new();
        for _ in 0..1200 {
            match self.compare().await {
                Ok(entries) => return entries,
                Err(difference) => differs = difference,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.trace.note(&differs);
        panic!("the replicas do not become equal: {differs}");
    }

    /// Waits until hardly anything is left of what was before now; says how many records were collected.
    pub async fn until_collected(&self, cluster: &Cluster) -> u64 {
        let now = cluster.timestamp().await.expect("PD answers");
        let mut last = String::new();
        for _ in 0..600 {
            let marks = cluster.advance_safe_point().await;
            let collect_to = marks.as_ref().map_or(Timestamp::ZERO, |marks| Timestamp(marks.collect_to));
            let (records, garbage, deleted) = self.garbage(collect_to).await;
            // A walk is not worth a few records.
            if collect_to > now && garbage * 8 <= records + 40 {
                return deleted;
            }
            last = format!("{marks:?}, {garbage} of {records} records are garbage, {now} is to be passed");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("garbage is not collected: {last}");
    }

    /// Of the led regions: records, those of them that nobody above `ts` reads, and how many have been deleted.
    async fn garbage(&self, ts: Timestamp) -> (u64, u64, u64) {
        let (mut records, mut garbage, mut deleted) = (0, 0, 0);
        for led in self.regions().await.values() {
            let engine = self.machines[led.machine].disk().engine;
            let range = EngineRange::from(&led.status.region.range);
            let all = PageLimits { records: usize::MAX, changes: usize::MAX, bytes: usize::MAX };
            let page = garbage_page(&*engine.snapshot(), &range, None, ts, all).expect("records decode");
            let state = keys::load_apply_state(&engine, led.status.region.id).expect("memory can be read");
            records += page.records;
            garbage += page.modifies.len() as u64;
            deleted += state.and_then(|state| state.gc).map_or(0, |gc| gc.deleted);
        }
        (records, garbage, deleted)
    }

    async fn compare(&self) -> Result<usize, String> {
        let regions = self.regions().await;
        let mut entries = 0;
        let mut seen = vec![0; self.machines.len()];
        for led in regions.values() {
            let region = &led.status.region;
            let mut first: Option<(usize, Vec<Entry>)> = None;
            for peer in &region.peers {
                let machine = self.machine_of(peer.store_id).ok_or_else(|| format!("{peer:?} is on no machine"))?;
                let own = contents(&self.machines[machine].disk().engine, &(&region.range).into());
                seen[machine] += own.len();
                match &first {
                    None => {
                        entries += own.len();
                        first = Some((machine, own));
                    }
                    Some((other, theirs)) if *theirs != own => {
                        let at = theirs.iter().zip(&own).find(|(a, b)| a != b);
                        let (a, b) = (theirs.len(), own.len());
                        return Err(format!(
                            "region {}: {a} entries on machine {other}, {b} on {machine}, {at:?}",
                            region.id
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        for (i, machine) in self.machines.iter().enumerate() {
            let all = contents(&machine.disk().engine, &(&basalt_common::KeyRange::all()).into()).len();
            if all != seen[i] {
                return Err(format!("machine {i} holds {all} entries, its regions {}", seen[i]));
            }
        }
        Ok(entries)
    }
}

fn covers_all<'a>(regions: impl Iterator<Item = &'a Led>) -> bool {
    let mut ranges: Vec<_> = regions.map(|led| led.status.region.range.clone()).collect();
    ranges.sort_by(|a, b| a.start.cmp(&b.start));
    let whole = |ends: &[basalt_common::KeyRange]| ends.windows(2).all(|pair| pair[0].end.0 == pair[1].start.0);
    ranges.first().is_some_and(|first| first.start.0.is_empty())
        && ranges.last().is_some_and(|last| last.end.0.is_empty())
        && whole(&ranges)
}

fn show(regions: &BTreeMap<RegionId, Led>) -> String {
    let show = |led: &Led| {
        let region = &led.status.region;
        let peers: Vec<String> = region.peers.iter().map(|p| format!("{}@{}{:?}", p.id, p.store_id, p.role)).collect();
        format!(
            "\n  {} {:?} {:?} led on machine {}: {}",
            region.id,
            region.range,
            region.epoch,
            led.machine,
            peers.join(" ")
        )
    };
    regions.values().map(show).collect()
}

fn new_disk(folder: &tempfile::TempDir, name: &str) -> Disk {
    Disk { engine: MemoryEngine::new(), log: Arc::default(), folder: folder.path().join(name) }
}

fn seed_of(seed: u64, purpose: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose
}

/// Chance for one purpose, and true time.
fn env(seed: u64, purpose: u64) -> Env {
    Env::with_clock(Arc::new(SkewedClock::new(0)), seed_of(seed, purpose))
}

/// One entry of a data family.
pub type Entry = (&'static str, Vec<u8>, Bytes);

/// The user data of an engine in a range.
pub fn contents(engine: &MemoryEngine, range: &EngineRange) -> Vec<Entry> {
    let snapshot = engine.snapshot();
    let mut all = Vec::new();
    for cf in DATA_CFS {
        let bounds = IterOptions { lower: range.start.clone(), upper: range.end.clone(), ..IterOptions::default() };
        collect(&*snapshot, cf, bounds, &mut all);
    }
    all
}

fn collect(snapshot: &dyn basalt_storage::engine::Snapshot, cf: Cf, bounds: IterOptions, all: &mut Vec<Entry>) {
    let mut iter = snapshot.iter(cf, bounds).expect("memory can be read");
    let mut valid = iter.seek_to_first().expect("memory can be read");
    while valid {
        all.push((cf.name(), iter.key().to_vec(), Bytes::copy_from_slice(iter.value())));
        valid = iter.next().expect("memory can be read");
    }
}
