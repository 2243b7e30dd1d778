//! PD as its callers see it: one request in, one response out.
//!
//! [`PdService`] is a plain struct; [`crate::grpc`] and the in-process short circuit are thin adapters around
//! [`PdService::handle`].
//!
//! # Who holds what
//!
//! - `tso`: a mutex around the oracle, held for a few instructions. A timestamp costs that and no task switch; the window
//!   is widened ahead by [`PdService::run`], and inline only when that came too late.
//! - `state`: a mutex around everything else in memory, held for one request's computation, never across `.await`.
//! - `writer`: an async mutex held by whoever changes durable records, around "compute, write, publish", so that records
//!   reach the disk in the order in which they were computed. Taken before the other two, never while holding them.
//!
//! Requests that change nothing durable (lookups, most heartbeats, timestamps) never wait for the disk.

mod deadlock;
mod gc;
mod heartbeat;
mod lookup;
mod records;
mod registry;
mod relay;

use crate::cluster::Cluster;
use crate::config::{ID_COUNT_MAX, PdConfig, TSO_COUNT_MAX, TSO_UPDATE_INTERVAL};
use crate::error::Error;
use crate::id::IdAllocator;
use crate::meta_store::{MetaError, MetaStore};
use crate::schedule::Scheduler;
use crate::tso::Oracle;
use basalt_common::env::{Env, Monotonic};
use basalt_common::metrics;
use basalt_common::{Region, Timestamp};
use basalt_proto::pd::{self, pd_request, pd_response};
use deadlock::LockWaits;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use registry::Registry;
use relay::Relay;
use std::sync::Arc;
use tokio::sync::Notify;

/// The placement driver.
pub struct PdService {
    env: Env,
    config: PdConfig,
    cluster_id: u64,
    meta: Arc<dyn MetaStore>,
    writer: tokio::sync::Mutex<()>,
    tso: Mutex<Oracle>,
    /// When this process began to serve.
    opened: Monotonic,
    /// The window is getting short.
    tso_low: Notify,
    state: Mutex<State>,
    lock_waits: Mutex<LockWaits>,
    relay: Relay,
}

struct State {
    bootstrapped: bool,
    ids: IdAllocator,
    cluster: Cluster,
    scheduler: Scheduler,
    registry: Registry,
    gc: gc::Marks,
}

impl PdService {
    /// Reads PD's records (or makes a new cluster's) and saves a first timestamp window.
    ///
    /// # Errors
    /// [`MetaError`] when the records cannot be read or written.
    pub fn open(
        env: Env,
        meta: Arc<dyn MetaStore>,
        config: PdConfig,
    ) -> BoxFuture<'static, Result<Arc<PdService>, MetaError>> {
        Box::pin(async move {
            let loaded = records::load(&*meta, &env, &config).await?;
            let service = PdService {
                opened: env.now(),
                env,
                cluster_id: loaded.cluster_id,
                config: PdConfig { replicas_max: loaded.replicas_max, ..config },
                meta,
                writer: tokio::sync::Mutex::new(()),
                tso: Mutex::new(Oracle::recover(loaded.tso_window_ms)),
                tso_low: Notify::new(),
                state: Mutex::new(State {
                    bootstrapped: loaded.bootstrapped,
                    ids: IdAllocator::recover(loaded.id_window),
                    cluster: loaded.cluster,
                    scheduler: Scheduler::default(),
                    registry: loaded.registry,
                    gc: loaded.gc,
                }),
                lock_waits: Mutex::default(),
                relay: Relay::default(),
            };
            service.widen_tso_window().await?;
            tracing::info!(
                cluster = service.cluster_id,
                bootstrapped = loaded.bootstrapped,
                "placement driver is open"
            );
            Ok(Arc::new(service))
        })
    }

    /// The cluster's id, drawn when it was made.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// Keeps the timestamp window ahead of the clock until `stop` resolves; then nobody waits any more for SQL servers to
    /// call. Whoever opens PD runs this beside it.
    pub fn run<'a>(&'a self, stop: impl Future<Output = ()> + Send + 'a) -> BoxFuture<'a, ()> {
        self.keep_window(Box::pin(stop))
    }

    fn keep_window<'a>(&'a self, mut stop: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                tokio::select! {
                    biased;
                    () = &mut stop => return self.relay.close(),
                    () = self.tso_low.notified() => {}
                    () = tokio::time::sleep(TSO_UPDATE_INTERVAL) => {}
                }
                if let Err(e) = self.widen_tso_window().await {
                    tracing::error!(error = %e, "timestamp window not saved");
                }
            }
        })
    }

    /// Answers one request; a refusal is part of the response.
    pub fn handle(&self, request: pd::PdRequest) -> BoxFuture<'_, pd::PdResponse> {
        Box::pin(async move {
            match self.dispatch(request).await {
                Ok(cmd) => pd::PdResponse { error: None, cmd: Some(cmd) },
                Err(e) => pd::PdResponse { error: Some((&e).into()), cmd: None },
            }
        })
    }

    /// Gives `count` timestamps and returns the last of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a silly count, [`Error::Unavailable`] when no window can be saved.
    pub async fn timestamps(&self, count: u32) -> Result<Timestamp, Error> {
        if count == 0 || count > TSO_COUNT_MAX {
            return Err(Error::Invalid(format!("{count} timestamps at once; at most {TSO_COUNT_MAX}")));
        }
        loop {
            {
                let now = self.env.wall_ms();
                let mut tso = self.tso.lock();
                if let Ok(last) = tso.allocate(now, count) {
                    if tso.window_wanted(now).is_some() {
                        self.tso_low.notify_one();
                    }
                    metrics::PD_TIMESTAMPS.inc_by(u64::from(count));
                    return Ok(last);
                }
            }
            self.widen_tso_window().await?;
        }
    }

    async fn dispatch(&self, request: pd::PdRequest) -> Result<pd_response::Cmd, Error> {
        use pd_request::Cmd as Req;
        use pd_response::Cmd as Resp;
        // Zero is a caller that does not know the cluster yet.
        if request.cluster_id != 0 && request.cluster_id != self.cluster_id {
            return Err(Error::ClusterMismatch { wanted: request.cluster_id, actual: self.cluster_id });
        }
        match request.cmd.ok_or_else(|| Error::Invalid("no command".into()))? {
            Req::Tso(r) => {
                let last = self.timestamps(r.count).await?;
                Ok(Resp::Tso(pd::TsoResponse { last_ts: last.0, count: r.count }))
            }
            Req::GetRegion(r) => self.get_region(&r).map(Resp::GetRegion),
            Req::ScanRegions(r) => self.scan_regions(&r).map(Resp::ScanRegions),
            Req::RegionHeartbeat(r) => self.region_heartbeat(r).await.map(Resp::RegionHeartbeat),
            Req::StoreHeartbeat(r) => self.store_heartbeat(r).map(Resp::StoreHeartbeat),
            Req::GetStores(_) => Ok(Resp::GetStores(self.get_stores())),
            Req::ClusterInfo(_) => Ok(Resp::ClusterInfo(self.cluster_info())),
            Req::AllocId(r) => {
                let first_id = self.allocate_ids(r.count).await?;
                Ok(Resp::AllocId(pd::AllocIdResponse { first_id }))
            }
            Req::AskSplit(r) => self.ask_split(r).await.map(Resp::AskSplit),
            Req::Bootstrap(r) => self.bootstrap(r).await.map(Resp::Bootstrap),
            Req::PutStore(r) => self.put_store(r).await.map(Resp::PutStore),
            Req::RetireStore(r) => self.retire_store(r).await.map(Resp::RetireStore),
            Req::AddOperator(r) => self.add_operator(r).map(Resp::AddOperator),
            Req::ServiceSafePoint(r) => self.service_safe_point(r).await.map(Resp::ServiceSafePoint),
            Req::Gc(r) => self.gc(r).await.map(Resp::Gc),
            Req::LockWaits(r) => Ok(Resp::LockWaits(self.lock_waits(r))),
            Req::ListLockWaits(_) => Ok(Resp::ListLockWaits(self.list_lock_waits())),
            Req::CallSqlServer(r) => Ok(Resp::CallSqlServer(self.call_sql_server(r).await)),
            Req::Listen(r) => self.listen(r).await.map(Resp::Listen),
            Req::SqlServerHeartbeat(r) => self.sql_server_heartbeat(r).map(Resp::SqlServerHeartbeat),
        }
    }

    fn cluster_info(&self) -> pd::ClusterInfoResponse {
        pd::ClusterInfoResponse {
            cluster_id: self.cluster_id,
            bootstrapped: self.state.lock().bootstrapped,
            max_replicas: self.config.replicas_max,
        }
    }

    async fn allocate_ids(&self, count: u32) -> Result<u64, Error> {
        if count == 0 || count > ID_COUNT_MAX {
            return Err(Error::Invalid(format!("{count} ids at once; at most {ID_COUNT_MAX}")));
        }
        if let Ok(first) = self.state.lock().ids.allocate(count) {
            return Ok(first);
        }
        let _writer = self.writer.lock().await;
        loop {
            let window = match self.state.lock().ids.allocate(count) {
                Ok(first) => return Ok(first),
                Err(exhausted) => exhausted.window,
            };
            self.meta.write(vec![records::put_number(records::ID, window)]).await?;
            self.state.lock().ids.window_saved(window);
        }
    }

    async fn widen_tso_window(&self) -> Result<(), MetaError> {
        let _writer = self.writer.lock().await;
        let wanted = self.tso.lock().window_wanted(self.env.wall_ms());
        if let Some(window_ms) = wanted {
            self.meta.write(vec![records::put_number(records::TSO, window_ms)]).await?;
            self.tso.lock().window_saved(window_ms);
        }
        Ok(())
    }

    async fn bootstrap(&self, request: pd::BootstrapRequest) -> Result<pd::BootstrapResponse, Error> {
        let (Some(store), Some(region)) = (request.store, request.region) else {
            return Err(Error::Invalid("bootstrap without a store or a region".into()));
        };
        let first = Region::from(&region);
        let whole = first.range == basalt_common::KeyRange::all() && first.peers.len() == 1;
        if !whole || first.peers[0].store_id.0 != store.id || store.id == 0 {
            return Err(Error::Invalid("the first region is everything, with one peer on the first store".into()));
        }
        let _writer = self.writer.lock().await;
        if self.state.lock().bootstrapped {
            return Err(Error::AlreadyBootstrapped);
        }
        let changes = vec![
            records::put_cluster(self.cluster_id, true, self.config.replicas_max),
            records::put_store(&store),
            records::put_region(&first),
        ];
        self.meta.write(changes).await?;
        let mut state = self.state.lock();
        state.bootstrapped = true;
        state.cluster.put_store(store, self.env.now());
        let info = crate::cluster::RegionInfo::bare(first);
        state.cluster.put_region(info, self.env.now()).map_err(|s| Error::StaleEpoch { region: s.newer.0 })?;
        tracing::info!(cluster = self.cluster_id, "cluster is bootstrapped");
        Ok(pd::BootstrapResponse {})
    }
}
