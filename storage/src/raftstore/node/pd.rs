//! The few calls that a store makes to PD. Those without which it cannot start wait for PD as long as it takes, and say so;
//! the others have a bound.

use crate::raftstore::StoreError;
use crate::txn::ts_bound::AskTimestamp;
use basalt_client::rpc::PdRpc;
use basalt_common::{Region, RegionId, Timestamp};
use basalt_proto::meta;
use basalt_proto::pd::ask_split_response::SplitIds;
use basalt_proto::pd::pd_error::Kind;
use basalt_proto::pd::{self, PdRequest, get_region_request, pd_request, pd_response};
use std::sync::Arc;
use std::time::Duration;

/// How long a call is repeated that somebody waits for while the store runs.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is said that PD is still waited for.
const SAY_SO_INTERVAL: Duration = Duration::from_secs(10);
/// Pause after the first failed attempt; grows to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Whose first region PD took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrapped {
    /// This store's.
    ByUs,
    /// Another store's.
    ByOthers,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct PdCaller {
    rpc: Arc<dyn PdRpc>,
    cluster_id: u64,
}

impl PdCaller {
    /// Calls through `rpc`, for no cluster in particular yet.
    pub fn new(rpc: Arc<dyn PdRpc>) -> Self {
        PdCaller { rpc, cluster_id: 0 }
    }

    /// From now on PD refuses when it serves another cluster.
    pub fn set_cluster(&mut self, cluster_id: u64) {
        self.cluster_id = cluster_id;
    }

    /// One attempt.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD is away or refuses.
    pub async fn call(&self, cmd: pd_request::Cmd) -> Result<pd_response::Cmd, StoreError> {
        match self.attempt(cmd).await {
            Ok(Ok(cmd)) => Ok(cmd),
            Ok(Err(error)) => Err(StoreError::Pd(error.message)),
            Err(error) => Err(error),
        }
    }

    async fn attempt(&self, cmd: pd_request::Cmd) -> Result<Result<pd_response::Cmd, pd::PdError>, StoreError> {
        let request = PdRequest { cluster_id: self.cluster_id, cmd: Some(cmd) };
        let response = self.rpc.call(request).await.map_err(|e| StoreError::Pd(e.to_string()))?;
        match (response.error, response.cmd) {
            (Some(error), _) if error.kind() != Kind::None => Ok(Err(error)),
            (_, Some(cmd)) => Ok(Ok(cmd)),
            (_, None) => Err(StoreError::Pd("an empty response".into())),
        }
    }

    /// As many attempts as it takes, and within `patience` if there is one.
    async fn insist(
        &self,
        cmd: pd_request::Cmd,
        patience: Option<Duration>,
    ) -> Result<Result<pd_response::Cmd, pd::PdError>, StoreError> {
        let began = tokio::time::Instant::now();
        let mut say_so_at = SAY_SO_INTERVAL;
        let mut pause = PAUSE_FIRST;
        loop {
            let reason = match self.attempt(cmd.clone()).await {
                Ok(Ok(cmd)) => return Ok(Ok(cmd)),
                Ok(Err(error)) if !matches!(error.kind(), Kind::NotLeader | Kind::Unavailable) => {
                    return Ok(Err(error));
                }
                Ok(Err(error)) => StoreError::Pd(error.message),
                Err(error) => error,
            };
            let waited = began.elapsed();
            if patience.is_some_and(|patience| waited >= patience) {
                return Err(reason);
            }
            if waited >= say_so_at {
                tracing::warn!(error = %reason, "waiting for the placement driver for {} s", waited.as_secs());
                say_so_at = waited + SAY_SO_INTERVAL;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn insist_ok(
        &self,
        cmd: pd_request::Cmd,
        patience: Option<Duration>,
    ) -> Result<pd_response::Cmd, StoreError> {
        self.insist(cmd, patience).await?.map_err(|e| StoreError::Pd(e.message))
    }

    /// The cluster, and whether it has a first region.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD refuses; it is waited for.
    pub async fn cluster_info(&self) -> Result<pd::ClusterInfoResponse, StoreError> {
        match self.insist_ok(pd_request::Cmd::ClusterInfo(pd::ClusterInfoRequest {}), None).await? {
            pd_response::Cmd::ClusterInfo(info) => Ok(info),
            _ => Err(wrong_answer()),
        }
    }

    /// The first of `count` new ids.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD refuses; it is waited for.
    pub async fn alloc_ids(&self, count: u32) -> Result<u64, StoreError> {
        match self.insist_ok(pd_request::Cmd::AllocId(pd::AllocIdRequest { count }), None).await? {
            pd_response::Cmd::AllocId(ids) => Ok(ids.first_id),
            _ => Err(wrong_answer()),
        }
    }

    /// Offers a first region.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD refuses; it is waited for.
    pub async fn bootstrap(&self, store: meta::Store, region: &Region) -> Result<Bootstrapped, StoreError> {
        let request = pd::BootstrapRequest { store: Some(store), region: Some(region.into()) };
        match self.insist(pd_request::Cmd::Bootstrap(request), None).await? {
            Ok(_) => Ok(Bootstrapped::ByUs),
            Err(error) if error.kind() == Kind::AlreadyBootstrapped => {
                // Perhaps by this store, whose answer was lost.
                let known = self.region(region.id).await?;
                let ours = known.is_some_and(|known| region.peers.iter().all(|own| known.peer(own.id).is_some()));
                Ok(if ours { Bootstrapped::ByUs } else { Bootstrapped::ByOthers })
            }
            Err(error) => Err(StoreError::Pd(error.message)),
        }
    }

    /// Registers the store.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD refuses; it is waited for.
    pub async fn put_store(&self, store: meta::Store) -> Result<(), StoreError> {
        let request = pd::PutStoreRequest { store: Some(store) };
        self.insist_ok(pd_request::Cmd::PutStore(request), None).await.map(|_| ())
    }

    /// Has PD give a store up whose data are gone.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD refuses, because regions need the store; it is waited for.
    pub async fn retire_store(&self, store_id: u64) -> Result<(), StoreError> {
        let request = pd::RetireStoreRequest { store_id };
        self.insist_ok(pd_request::Cmd::RetireStore(request), None).await.map(|_| ())
    }

    /// A region as PD knows it.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD refuses; it is waited for.
    pub async fn region(&self, id: RegionId) -> Result<Option<Region>, StoreError> {
        Self::region_of(self.insist(get_region(id), None).await?)
    }

    /// The same in one attempt.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD does not answer.
    pub async fn region_now(&self, id: RegionId) -> Result<Option<Region>, StoreError> {
        Self::region_of(self.attempt(get_region(id)).await?)
    }

    fn region_of(answer: Result<pd_response::Cmd, pd::PdError>) -> Result<Option<Region>, StoreError> {
        match answer {
            Ok(pd_response::Cmd::GetRegion(found)) => Ok(found.found.and_then(|f| f.region).map(|r| Region::from(&r))),
            Ok(_) => Err(wrong_answer()),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(StoreError::Pd(error.message)),
        }
    }

    /// The stores of the cluster.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD is away.
    pub async fn stores(&self) -> Result<Vec<meta::Store>, StoreError> {
        match self.call(pd_request::Cmd::GetStores(pd::GetStoresRequest {})).await? {
            pd_response::Cmd::GetStores(found) => Ok(found.stores.into_iter().filter_map(|s| s.store).collect()),
            _ => Err(wrong_answer()),
        }
    }

    /// Ids for the regions of a split.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD is away or knows a newer epoch.
    pub async fn ask_split(&self, region: &Region, count: u32) -> Result<Vec<SplitIds>, StoreError> {
        let request = pd::AskSplitRequest { region: Some(region.into()), count };
        match self.call(pd_request::Cmd::AskSplit(request)).await? {
            pd_response::Cmd::AskSplit(ids) => Ok(ids.ids),
            _ => Err(wrong_answer()),
        }
    }

    /// Asks in one attempt, whenever it is called.
    pub fn asks_timestamp(&self) -> AskTimestamp {
        let pd = self.clone();
        Box::new(move || {
            let pd = pd.clone();
            Box::pin(async move { pd.timestamp_now().await })
        })
    }

    /// The same in one attempt; nothing when PD does not answer.
    async fn timestamp_now(&self) -> Option<Timestamp> {
        match self.call(pd_request::Cmd::Tso(pd::TsoRequest { count: 1 })).await {
            Ok(pd_response::Cmd::Tso(tso)) => Some(Timestamp(tso.last_ts)),
            _ => None,
        }
    }

    /// A timestamp above all that were given before.
    ///
    /// # Errors
    /// [`StoreError::Pd`] when PD does not answer in time.
    pub async fn timestamp(&self) -> Result<Timestamp, StoreError> {
        match self.insist_ok(pd_request::Cmd::Tso(pd::TsoRequest { count: 1 }), Some(PATIENCE)).await? {
            pd_response::Cmd::Tso(tso) => Ok(Timestamp(tso.last_ts)),
            _ => Err(wrong_answer()),
        }
    }
}

fn get_region(id: RegionId) -> pd_request::Cmd {
    pd_request::Cmd::GetRegion(pd::GetRegionRequest { by: Some(get_region_request::By::RegionId(id.0)) })
}

fn wrong_answer() -> StoreError {
    StoreError::Pd("PD answered another question".into())
}
