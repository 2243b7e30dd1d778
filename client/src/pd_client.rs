//! PD's requests as typed calls, with retries while PD is away; and timestamps, cheaply.
//!
//! In one process with PD a timestamp is a direct call: a lock and a counter. Over the network concurrent callers share
//! requests: one task takes everybody who is waiting, asks for so many timestamps at once, and deals them out. A caller
//! that comes while a request is under way waits for the next one, since its timestamp must be drawn after it asked.

use crate::backoff::{Backoff, Cause};
use crate::config::{PD_BUDGET, REGION_PREFETCH, TSO_BATCH_MAX};
use crate::error::{Error, Result};
use crate::rpc::PdRpc;
use basalt_common::env::Env;
use basalt_common::{KeyRange, Peer, Region, RegionId, Timestamp};
use basalt_proto::pd::{self, get_region_request::By, pd_error, pd_request, pd_response};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc, oneshot};

/// How timestamps are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TsoMode {
    /// Every caller asks by itself: PD is in this process.
    Direct,
    /// Concurrent callers share requests: PD is across the network.
    Batched,
}

/// A region and who leads it, by PD's knowledge.
#[derive(Debug, Clone)]
pub struct RegionAndLeader {
    /// Range, epoch, peers.
    pub region: Region,
    /// Who leads, if known.
    pub leader: Option<Peer>,
    /// As its leader estimates.
    pub approximate_size_bytes: u64,
    /// As its leader estimates.
    pub approximate_keys: u64,
}

/// PD. Cheap to clone.
#[derive(Clone)]
pub struct PdClient {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    rpc: Arc<dyn PdRpc>,
    mode: TsoMode,
    /// 0 until PD told.
    cluster_id: AtomicU64,
    tso: OnceCell<mpsc::Sender<oneshot::Sender<Result<Timestamp>>>>,
}

impl PdClient {
    /// A client of the PD behind `rpc`.
    pub fn new(env: Env, rpc: Arc<dyn PdRpc>, mode: TsoMode) -> PdClient {
        let inner = Inner { env, rpc, mode, cluster_id: AtomicU64::new(0), tso: OnceCell::new() };
        PdClient { inner: Arc::new(inner) }
    }

    /// The cluster's id; 0 before [`PdClient::cluster_info`] has answered once.
    pub fn cluster_id(&self) -> u64 {
        self.inner.cluster_id.load(Ordering::Relaxed)
    }

    /// A fresh timestamp, larger than every one given before this call.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`] when PD does not answer in time.
    pub async fn timestamp(&self) -> Result<Timestamp> {
        match self.inner.mode {
            TsoMode::Direct => self.inner.timestamps(1).await,
            TsoMode::Batched => self.batched_timestamp().await,
        }
    }

    async fn batched_timestamp(&self) -> Result<Timestamp> {
        let queue = self.inner.tso.get_or_init(|| async { spawn_dealer(&self.inner) }).await;
        let (reply, answer) = oneshot::channel();
        queue.send(reply).await.map_err(|_| Error::Shutdown)?;
        answer.await.map_err(|_| Error::Shutdown)?
    }

    /// The cluster's id and whether it has a first region.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn cluster_info(&self) -> BoxFuture<'_, Result<pd::ClusterInfoResponse>> {
        Box::pin(async move {
            match self.call(pd_request::Cmd::ClusterInfo(pd::ClusterInfoRequest {})).await? {
                Some(pd_response::Cmd::ClusterInfo(info)) => {
                    self.inner.cluster_id.store(info.cluster_id, Ordering::Relaxed);
                    Ok(info)
                }
                _ => Err(wrong_answer()),
            }
        })
    }

    /// The region that holds `key`. None when PD does not know one (yet).
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn region_at(&self, key: Bytes) -> BoxFuture<'_, Result<Option<RegionAndLeader>>> {
        Box::pin(async move { self.get_region(By::Key(key)).await })
    }

    /// The region that holds the keys just below `key`; an empty key is infinity.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn region_before(&self, key: Bytes) -> BoxFuture<'_, Result<Option<RegionAndLeader>>> {
        Box::pin(async move { self.get_region(By::BeforeKey(key)).await })
    }

    /// A region by id.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn region(&self, id: RegionId) -> BoxFuture<'_, Result<Option<RegionAndLeader>>> {
        Box::pin(async move { self.get_region(By::RegionId(id.0)).await })
    }

    async fn get_region(&self, by: By) -> Result<Option<RegionAndLeader>> {
        match self.call(pd_request::Cmd::GetRegion(pd::GetRegionRequest { by: Some(by) })).await? {
            Some(pd_response::Cmd::GetRegion(r)) => Ok(r.found.as_ref().and_then(region_and_leader)),
            None => Ok(None),
            Some(_) => Err(wrong_answer()),
        }
    }

    /// The first regions that touch `range`, in key order; holes are possible.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn scan_regions<'a>(&'a self, range: &'a KeyRange) -> BoxFuture<'a, Result<Vec<RegionAndLeader>>> {
        Box::pin(async move {
            let (start_key, end_key) = (range.start.0.clone(), range.end.0.clone());
            let request = pd::ScanRegionsRequest { start_key, end_key, limit: REGION_PREFETCH };
            match self.call(pd_request::Cmd::ScanRegions(request)).await? {
                Some(pd_response::Cmd::ScanRegions(r)) => Ok(r.regions.iter().filter_map(region_and_leader).collect()),
                None => Ok(Vec::new()),
                Some(_) => Err(wrong_answer()),
            }
        })
    }

    /// Every store.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn stores(&self) -> BoxFuture<'_, Result<Vec<pd::StoreAndStats>>> {
        Box::pin(async move {
            match self.call(pd_request::Cmd::GetStores(pd::GetStoresRequest {})).await? {
                Some(pd_response::Cmd::GetStores(r)) => Ok(r.stores),
                _ => Err(wrong_answer()),
            }
        })
    }

    /// Takes `count` ids that nobody else gets and returns the first.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn allocate_ids(&self, count: u32) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            match self.call(pd_request::Cmd::AllocId(pd::AllocIdRequest { count })).await? {
                Some(pd_response::Cmd::AllocId(r)) => Ok(r.first_id),
                _ => Err(wrong_answer()),
            }
        })
    }

    /// Puts a step on a region by hand.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such region.
    pub fn add_operator(&self, request: pd::AddOperatorRequest) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            match self.call(pd_request::Cmd::AddOperator(request)).await? {
                Some(pd_response::Cmd::AddOperator(_)) => Ok(()),
                _ => Err(Error::Invalid("no such region".into())),
            }
        })
    }

    /// Keeps versions at or above `ts` for `ttl`; zero gives it up. Returns the lowest safe point of all services.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`]; [`Error::Invalid`] when they may be gone.
    pub fn service_safe_point<'a>(
        &'a self,
        service: &'a str,
        ts: Timestamp,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Timestamp>> {
        Box::pin(async move {
            let request =
                pd::ServiceSafePointRequest { service: service.into(), safe_point_ts: ts.0, ttl_s: ttl.as_secs() };
            match self.call(pd_request::Cmd::ServiceSafePoint(request)).await? {
                Some(pd_response::Cmd::ServiceSafePoint(r)) => Ok(Timestamp(r.min_safe_point_ts)),
                _ => Err(wrong_answer()),
            }
        })
    }

    /// How far garbage collection is. `advance`: moves its safe point as far as it may go; `resolved_to`: no lock below this
    /// safe point is left in any region.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn gc(&self, advance: bool, resolved_to: Timestamp) -> BoxFuture<'_, Result<pd::GcResponse>> {
        Box::pin(async move {
            let request = pd::GcRequest { advance, resolved_to: resolved_to.0 };
            match self.call(pd_request::Cmd::Gc(request)).await? {
                Some(pd_response::Cmd::Gc(r)) => Ok(r),
                _ => Err(wrong_answer()),
            }
        })
    }

    /// Announces a SQL server (or that it leaves) and returns all that are there. Without a server: only asks.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn sql_server_heartbeat(
        &self,
        server: Option<pd::SqlServer>,
        leaving: bool,
    ) -> BoxFuture<'_, Result<Vec<pd::SqlServer>>> {
        Box::pin(async move {
            let request = pd::SqlServerHeartbeatRequest { server, leaving };
            match self.call(pd_request::Cmd::SqlServerHeartbeat(request)).await? {
                Some(pd_response::Cmd::SqlServerHeartbeat(r)) => Ok(r.servers),
                _ => Err(wrong_answer()),
            }
        })
    }

    /// Who waits for whose locks, as the stores have told within the last second.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn lock_waits(&self) -> BoxFuture<'_, Result<Vec<pd::LockWait>>> {
        Box::pin(async move {
            match self.call(pd_request::Cmd::ListLockWaits(pd::ListLockWaitsRequest {})).await? {
                Some(pd_response::Cmd::ListLockWaits(r)) => Ok(r.waits),
                _ => Err(wrong_answer()),
            }
        })
    }

    /// Calls another SQL server; `None` when it is not there, or does not answer in time.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn call_sql_server(&self, server: u64, body: Bytes) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            match self.call(pd_request::Cmd::CallSqlServer(pd::CallSqlServerRequest { server, body })).await? {
                Some(pd_response::Cmd::CallSqlServer(r)) => Ok(r.answered.then_some(r.body)),
                _ => Err(wrong_answer()),
            }
        })
    }

    /// Brings the answer to another SQL server's call, and waits for a while for the next one.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn listen(
        &self,
        server: u64,
        answer: Option<pd::SqlServerMessage>,
    ) -> BoxFuture<'_, Result<Option<pd::SqlServerMessage>>> {
        Box::pin(async move {
            match self.call(pd_request::Cmd::Listen(pd::ListenRequest { server, answer })).await? {
                Some(pd_response::Cmd::Listen(r)) => Ok(r.call),
                _ => Err(wrong_answer()),
            }
        })
    }

    async fn call(&self, cmd: pd_request::Cmd) -> Result<Option<pd_response::Cmd>> {
        self.inner.call(cmd).await
    }
}

impl Inner {
    async fn timestamps(&self, count: u32) -> Result<Timestamp> {
        match self.call(pd_request::Cmd::Tso(pd::TsoRequest { count })).await? {
            Some(pd_response::Cmd::Tso(r)) if r.last_ts != 0 => Ok(Timestamp(r.last_ts)),
            _ => Err(wrong_answer()),
        }
    }

    /// Calls until PD answers. None: PD knows of no such thing. All requests may be repeated.
    async fn call(&self, cmd: pd_request::Cmd) -> Result<Option<pd_response::Cmd>> {
        let request = pd::PdRequest { cluster_id: self.cluster_id.load(Ordering::Relaxed), cmd: Some(cmd) };
        let mut backoff = None;
        loop {
            let reason = match self.rpc.call(request.clone()).await {
                Ok(pd::PdResponse { error: None, cmd: Some(cmd) }) => return Ok(Some(cmd)),
                Ok(pd::PdResponse { error: Some(e), .. }) => match e.kind() {
                    pd_error::Kind::NotFound => return Ok(None),
                    pd_error::Kind::Unavailable | pd_error::Kind::NotLeader | pd_error::Kind::NotBootstrapped => {
                        e.message
                    }
                    _ => return Err(Error::Invalid(e.message)),
                },
                Ok(_) => return Err(wrong_answer()),
                Err(e) => e.to_string(),
            };
            let backoff = backoff.get_or_insert_with(|| Backoff::new(&self.env, PD_BUDGET));
            if backoff.wait(Cause::Pd).await.is_err() {
                return Err(Error::PdUnavailable(reason));
            }
        }
    }
}

/// Starts the task that asks for everybody. It ends with the client.
fn spawn_dealer(inner: &Arc<Inner>) -> mpsc::Sender<oneshot::Sender<Result<Timestamp>>> {
    let (queue, mut waiting) = mpsc::channel::<oneshot::Sender<Result<Timestamp>>>(TSO_BATCH_MAX);
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, TSO_BATCH_MAX).await > 0 {
            let Some(inner) = inner.upgrade() else { return };
            match inner.timestamps(batch.len() as u32).await {
                Ok(last) => {
                    let first = last.0 + 1 - batch.len() as u64;
                    for (i, reply) in batch.drain(..).enumerate() {
                        let _ = reply.send(Ok(Timestamp(first + i as u64)));
                    }
                }
                Err(e) => batch.drain(..).for_each(|reply| drop(reply.send(Err(e.clone())))),
            }
        }
    });
    queue
}

fn region_and_leader(found: &pd::RegionAndLeader) -> Option<RegionAndLeader> {
    Some(RegionAndLeader {
        region: Region::from(found.region.as_ref()?),
        leader: found.leader.as_ref().map(Peer::from),
        approximate_size_bytes: found.approximate_size_bytes,
        approximate_keys: found.approximate_keys,
    })
}

fn wrong_answer() -> Error {
    Error::Corrupt("PD answered something else than was asked".into())
}
