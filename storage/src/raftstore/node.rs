//! The life of a store: its folders, its identity, its place in the cluster, its reports to PD, its end.
//!
//! ```text
//! start: identity? ─ no ─▶ PD: cluster id, a store id ─▶ written and flushed
//!        cluster bootstrapped? ─ no ─▶ first region, with this store's peer, written, flushed, told to PD
//!        open the regions ─▶ start the driver ─▶ register with PD ─▶ report
//! ```
//! A store that has an identity and regions starts without PD, so that a cluster of which everything died comes back in
//! whatever order its processes do; it registers when PD is there.
//! Two stores may bootstrap at the same time: PD takes one, and the other removes what it wrote. A crash between writing
//! the first region and telling PD is found at the next start, by asking PD whether it knows that region.
//!
//! While it runs: leaders' reports bring back steps from PD (add, promote or remove a peer, hand over, split), which are
//! proposed like anybody's commands. A new leader learns the newest timestamp before async commit is allowed (`Leads`).
//! Regions that grew too large are split. The raft log is cut up to what the engine has flushed, and the engine is flushed
//! when the log grows too long.

pub mod housekeeping;
mod leaving;
pub mod pd;
mod reports;

use super::StoreError;
use super::apply::ApplyCore;
use super::delegate::Delegates;
use super::driver::DriverParams;
use super::driver::task::{self, Lateness};
use super::driver::threads::{OnFatal, Threads};
use super::handle::{Mailbox, RaftHandle};
use super::keys;
use super::snapshot::SnapshotFiles;
use super::store::{Store, StoreParams, bootstrap_region};
use super::transport::{Inbound, Transport};
use crate::config::RaftConfig;
use crate::engine::{Cf, Engine, Modify};
use crate::raftlog::RaftLog;
use crate::replicated::raft_kv::RaftKv;
use basalt_client::rpc::PdRpc;
use basalt_common::env::Env;
use basalt_common::{Epoch, KeyRange, Peer, PeerId, PeerRole, Region, RegionId, StoreId, Timestamp};
use basalt_proto::meta;
use basalt_proto::raft::{PeerState, StoreIdent};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use pd::{Bootstrapped, PdCaller};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// Reports waiting for PD.
const PD_EVENTS_MAX: usize = 8_192;

/// Called with a timestamp that no smaller one will follow: the concurrency manager's `max_ts` must not stay below it.
pub type OnMaxTs = Arc<dyn Fn(Timestamp) + Send + Sync>;

/// How the raft store's crank is turned.
#[derive(Clone)]
pub enum Driver {
    /// By threads.
    Threads,
    /// By one task, for simulations, as late as is said.
    Task(Arc<dyn Lateness>),
}

/// What a node is started with.
pub struct NodeParams {
    /// Bounds and intervals.
    pub config: Arc<RaftConfig>,
    /// The data engine, open.
    pub engine: Arc<dyn Engine>,
    /// The raft log, open.
    pub log: Arc<dyn RaftLog>,
    /// Folder for snapshots on their way.
    pub snapshot_dir: PathBuf,
    /// PD.
    pub pd: Arc<dyn PdRpc>,
    /// To other stores.
    pub transport: Arc<dyn Transport>,
    /// Clock and chance.
    pub env: Env,
    /// Where other processes reach this store; `in-process` when they do not.
    pub address: String,
    /// Where its status page is.
    pub status_address: String,
    /// See [`OnMaxTs`].
    pub on_max_ts: OnMaxTs,
    /// What happens when the store must stop.
    pub on_fatal: OnFatal,
    /// Threads or a task.
    pub driver: Driver,
}

/// What heartbeats tell and are told beside statistics.
#[derive(Clone, Default)]
struct Heard {
    collect_to: Arc<AtomicU64>,
    newest_ts: Arc<AtomicU64>,
    leads_nothing: Arc<AtomicBool>,
    /// There is something to tell before the next heartbeat is due.
    changed: Arc<Notify>,
}

enum Running {
    Threads(Threads),
    Task(watch::Sender<bool>, JoinHandle<()>),
}

/// A running store.
pub struct Node {
    id: StoreId,
    cluster_id: u64,
    handle: RaftHandle,
    kv: Arc<RaftKv>,
    inbound: Inbound,
    engine: Arc<dyn Engine>,
    heard: Heard,
    running: Mutex<Option<Running>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Node {
    /// Starts a store. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError`] when PD does not answer or refuses, or what is on disk cannot be used.
    pub fn start(params: NodeParams) -> BoxFuture<'static, Result<Arc<Node>, StoreError>> {
        Box::pin(async move {
            let mut pd = PdCaller::new(params.pd.clone());
            let known = keys::load_ident(&*params.engine)?;
            let is_settled = is_settled(&*params.engine, &*params.log)?;
            let settled = known.filter(|_| is_settled);
            let (ident, bootstrapped) = match settled {
                Some(ident) => (ident, None),
                None => {
                    let info = pd.cluster_info().await?;
                    pd.set_cluster(info.cluster_id);
                    let ident = load_or_make_ident(&*params.engine, &pd, info.cluster_id).await?;
                    (ident, Some(info.bootstrapped))
                }
            };
            pd.set_cluster(ident.cluster_id);
            let (id, cluster_id) = (StoreId(ident.store_id), ident.cluster_id);
            let about = meta::Store {
                id: id.0,
                address: params.address.clone(),
                status_address: params.status_address.clone(),
                state: meta::StoreState::Up as i32,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_unix_ms: params.env.wall_ms(),
            };
            if let Some(bootstrapped) = bootstrapped {
                settle_first_region((&*params.engine, &*params.log), &pd, &about, bootstrapped).await?;
                // The regions' leaders are reported to a PD that knows the store.
                pd.put_store(about.clone()).await?;
            }

            let files = Arc::new(SnapshotFiles::open(&params.snapshot_dir)?);
            let delegates = Arc::new(Delegates::default());
            let store = Store::open(
                StoreParams {
                    id,
                    cluster_id,
                    config: params.config.clone(),
                    log: params.log.clone(),
                    engine: params.engine.clone(),
                    files: files.clone(),
                    delegates: delegates.clone(),
                    rng: params.env.fork_rng(),
                },
                params.env.now(),
            )?;
            let (pd_tx, pd_rx) = mpsc::channel(PD_EVENTS_MAX);
            let apply_bytes = params.config.apply_batch_bytes_max;
            let apply = ApplyCore::new(params.engine.clone(), id, files.clone(), delegates.clone(), apply_bytes);
            let wake = matches!(params.driver, Driver::Task(_)).then(Arc::<Notify>::default);
            let (mailbox, inputs) = Mailbox::channel(params.config.mailbox_max, wake.clone());
            let handle = RaftHandle::new(id, mailbox, delegates, params.config.clone());
            let inbound = Inbound { handle: handle.clone(), files: files.clone() };
            let driver = DriverParams {
                store,
                apply,
                engine: params.engine.clone(),
                log: params.log.clone(),
                files,
                transport: params.transport.clone(),
                pd: pd_tx,
                env: params.env.clone(),
                handle: handle.clone(),
                inputs,
            };
            let running = Running::start(&params.driver, driver, wake.unwrap_or_default(), params.on_fatal.clone())?;
            let kv = Arc::new(RaftKv::new(handle.clone(), params.engine.clone(), params.env.clone(), pd.clone()));
            let (caller, on_fatal) = (pd.clone(), params.on_fatal.clone());
            let heard = Heard::default();
            let reports = reports::Reports::new(&params, id, handle.clone(), pd, heard.clone());
            let keeper = housekeeping::Housekeeper::new(&params, handle.clone());
            let register = async move {
                if bootstrapped.is_none()
                    && let Err(refused) = caller.put_store(about).await
                {
                    on_fatal(&refused);
                }
            };
            let tasks = vec![
                tokio::spawn(register),
                tokio::spawn(reports.clone().run_events(pd_rx)),
                tokio::spawn(reports.run_store_heartbeats()),
                tokio::spawn(keeper.run()),
            ];
            tracing::info!(store = %id, cluster = cluster_id, "store is open");
            Ok(Arc::new(Node {
                id,
                cluster_id,
                handle,
                kv,
                inbound,
                engine: params.engine,
                heard,
                running: Mutex::new(Some(running)),
                tasks: Mutex::new(tasks),
            }))
        })
    }

    /// The store's number.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// The cluster's number.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// The raft store's front door.
    pub fn handle(&self) -> &RaftHandle {
        &self.handle
    }

    /// Its regions, to read and write; also the regions' administration.
    pub fn kv(&self) -> &Arc<RaftKv> {
        &self.kv
    }

    /// How far garbage collection may delete, as PD last said.
    pub fn collect_to(&self) -> Timestamp {
        Timestamp(self.heard.collect_to.load(Ordering::Relaxed))
    }

    /// The newest timestamp that PD has spoken of; rises with each heartbeat.
    pub fn newest_ts(&self) -> &Arc<AtomicU64> {
        &self.heard.newest_ts
    }

    /// Whether the store is to lead nothing that another can. PD hears of it at once.
    pub fn set_leads_nothing(&self, leads_nothing: bool) {
        self.heard.leads_nothing.store(leads_nothing, Ordering::Relaxed);
        self.heard.changed.notify_one();
    }

    /// Where messages from other stores go.
    pub fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// Stops: no more reports, no more steps; what was applied is flushed. Does nothing the second time.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when the last flush fails; nothing acknowledged is lost, the raft log has it.
    pub fn stop(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let running = self.running.lock().take();
            let tasks = std::mem::take(&mut *self.tasks.lock());
            for task in tasks {
                task.abort();
                let _ = task.await;
            }
            match running {
                None => return Ok(()),
                Some(Running::Threads(threads)) => {
                    let _ = tokio::task::spawn_blocking(move || threads.stop()).await;
                }
                Some(Running::Task(stop, task)) => {
                    let _ = stop.send(true);
                    let _ = task.await;
                }
            }
            self.engine.flush()?;
            Ok(())
        })
    }

    /// Stops as a crash does: at once, without a flush.
    pub fn kill(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let running = self.running.lock().take();
            let tasks = std::mem::take(&mut *self.tasks.lock());
            for task in tasks {
                task.abort();
                let _ = task.await;
            }
            match running {
                None => {}
                Some(Running::Threads(threads)) => {
                    let _ = tokio::task::spawn_blocking(move || threads.stop()).await;
                }
                Some(Running::Task(_, task)) => {
                    task.abort();
                    let _ = task.await;
                }
            }
        })
    }
}

impl Running {
    fn start(how: &Driver, params: DriverParams, wake: Arc<Notify>, on_fatal: OnFatal) -> Result<Running, StoreError> {
        match how {
            Driver::Threads => Ok(Running::Threads(Threads::start(params, on_fatal)?)),
            Driver::Task(lateness) => {
                let (stop, mut stopped) = watch::channel(false);
                let lateness = lateness.clone();
                let task = tokio::spawn(async move {
                    let stopped = async move {
                        let _ = stopped.wait_for(|stop| *stop).await;
                    };
                    if let Err(error) = task::run(params, lateness, wake, stopped).await {
                        on_fatal(&error);
                    }
                });
                Ok(Running::Task(stop, task))
            }
        }
    }
}

async fn load_or_make_ident(engine: &dyn Engine, pd: &PdCaller, cluster_id: u64) -> Result<StoreIdent, StoreError> {
    if let Some(ident) = keys::load_ident(engine)? {
        if ident.cluster_id != cluster_id {
            let (own, other) = (ident.cluster_id, cluster_id);
            return Err(StoreError::Pd(format!("this store belongs to cluster {own}, PD serves cluster {other}")));
        }
        return Ok(ident);
    }
    let ident = StoreIdent { cluster_id, store_id: pd.alloc_ids(1).await? };
    engine.write(&[keys::put_ident(&ident)])?;
    engine.flush()?;
    Ok(ident)
}

/// Whether the store has regions, and no open question about the cluster's first.
fn is_settled(engine: &dyn Engine, log: &dyn RaftLog) -> Result<bool, StoreError> {
    let any = keys::load_region_states(engine)?.iter().any(|(_, record)| record.state() != PeerState::PeerTombstone);
    Ok(any && first_region_in_doubt(engine, log)?.is_none())
}

/// A first region that this store made and never used: perhaps PD took another store's.
fn first_region_in_doubt(engine: &dyn Engine, log: &dyn RaftLog) -> Result<Option<Region>, StoreError> {
    let mut candidate = None;
    for (region_id, record) in keys::load_region_states(engine)? {
        let region = record.region.as_ref().map(Region::from);
        let first = region.filter(|r| r.range == KeyRange::all() && r.epoch == FIRST_EPOCH && r.peers.len() == 1);
        // An engine that was never flushed since looks fresh too; the log tells them apart.
        let fresh = keys::load_apply_state(engine, region_id)?.is_some_and(|a| a.applied_index <= keys::INIT_LOG)
            && log.state(region_id)?.is_none_or(|log| log.state.last_index <= keys::INIT_LOG);
        if let Some(region) = first.filter(|_| fresh) {
            candidate = Some(region);
        }
    }
    Ok(candidate)
}

/// Makes the cluster's first region, or finds out whether an earlier attempt succeeded.
async fn settle_first_region(
    (engine, log): (&dyn Engine, &dyn RaftLog),
    pd: &PdCaller,
    about: &meta::Store,
    bootstrapped: bool,
) -> Result<(), StoreError> {
    let store_id = StoreId(about.id);
    let candidate = first_region_in_doubt(engine, log)?;
    if bootstrapped {
        let Some(region) = candidate else { return Ok(()) };
        let known = pd.region(region.id).await?;
        if known.is_none_or(|k| k.peer_on(store_id).is_none()) {
            remove_region(engine, region.id)?;
        }
        return Ok(());
    }
    let region = match candidate {
        Some(region) => region,
        None => {
            let first = pd.alloc_ids(2).await?;
            let peer = Peer { id: PeerId(first + 1), store_id, role: PeerRole::Voter };
            let region = Region { id: RegionId(first), range: KeyRange::all(), epoch: FIRST_EPOCH, peers: vec![peer] };
            engine.write(&bootstrap_region(&region, store_id)?)?;
            engine.flush()?;
            region
        }
    };
    match pd.bootstrap(about.clone(), &region).await? {
        Bootstrapped::ByUs => tracing::info!(store = %store_id, region = %region.id, "bootstrapped the cluster"),
        Bootstrapped::ByOthers => remove_region(engine, region.id)?,
    }
    Ok(())
}

const FIRST_EPOCH: Epoch = Epoch { conf_ver: 1, version: 1 };

fn remove_region(engine: &dyn Engine, region: RegionId) -> Result<(), StoreError> {
    let delete = |key| Modify::Delete { cf: Cf::Local, key };
    engine.write(&[delete(keys::apply_state_key(region)), delete(keys::region_state_key(region))])?;
    engine.flush()?;
    Ok(())
}
