//! The handle to a cluster that everything else hangs on.

use crate::background::Background;
use crate::error::Result;
use crate::gc::Readers;
use crate::lock_resolver::TxnStatusCache;
use crate::owners::Owners;
use crate::pd_client::{PdClient, TsoMode};
use crate::region_cache::RegionCache;
use crate::rpc::{KvRpc, PdRpc};
use crate::silence::Silence;
use crate::snapshot::Snapshot;
use crate::transaction::{Transaction, TxnOptions};
use basalt_common::Timestamp;
use basalt_common::env::Env;
use futures::future::BoxFuture;
use std::ops::Deref;
use std::sync::Arc;

/// A cluster: its stores, its PD, what is known of its regions, and the tasks that finish commits. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<ClusterInner>,
}

/// What the clones share.
#[doc(hidden)]
pub struct ClusterInner {
    pub(crate) env: Env,
    pub(crate) kv: Arc<dyn KvRpc>,
    pub(crate) pd: PdClient,
    pub(crate) regions: RegionCache,
    pub(crate) silence: Silence,
    pub(crate) statuses: TxnStatusCache,
    pub(crate) owners: Owners,
    pub(crate) readers: Readers,
    pub(crate) background: Background,
}

impl Deref for Cluster {
    type Target = ClusterInner;

    fn deref(&self) -> &ClusterInner {
        &self.inner
    }
}

impl Cluster {
    /// Connects: asks PD for the cluster's id.
    ///
    /// # Errors
    /// [`crate::Error::PdUnavailable`] when PD does not answer in time.
    pub fn connect(
        env: Env,
        kv: Arc<dyn KvRpc>,
        pd: Arc<dyn PdRpc>,
        tso: TsoMode,
    ) -> BoxFuture<'static, Result<Cluster>> {
        Box::pin(async move {
            let pd = PdClient::new(env.clone(), pd, tso);
            pd.cluster_info().await?;
            Ok(Cluster::with_pd(env, kv, pd))
        })
    }

    /// A handle over a PD client that exists already.
    pub fn with_pd(env: Env, kv: Arc<dyn KvRpc>, pd: PdClient) -> Cluster {
        let inner = ClusterInner {
            env,
            kv,
            pd,
            regions: RegionCache::default(),
            silence: Silence::default(),
            statuses: TxnStatusCache::default(),
            owners: Owners::default(),
            readers: Readers::default(),
            background: Background::new(),
        };
        Cluster { inner: Arc::new(inner) }
    }

    /// Clock and chance of this process.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// PD.
    pub fn pd(&self) -> &PdClient {
        &self.pd
    }

    /// A fresh timestamp.
    ///
    /// # Errors
    /// [`crate::Error::PdUnavailable`].
    pub async fn timestamp(&self) -> Result<Timestamp> {
        self.pd.timestamp().await
    }

    /// The data as of `ts`. With [`Timestamp::MAX`], point reads see the newest committed value of each key, without
    /// asking PD; keys read together are not of one moment then.
    pub fn snapshot(&self, ts: Timestamp) -> Snapshot {
        Snapshot::new(self.clone(), ts)
    }

    /// Starts a transaction. Asks PD for a timestamp, unless the options bring one, and no store.
    ///
    /// # Errors
    /// [`crate::Error::PdUnavailable`].
    pub async fn begin(&self, options: TxnOptions) -> Result<Transaction> {
        let start_ts = match options.start_ts {
            Some(ts) => ts,
            None => self.timestamp().await?,
        };
        Ok(Transaction::new(self.clone(), start_ts, options))
    }

    /// Waits for commits that are being finished in the background; called once, before the process ends.
    pub fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.background.shutdown().await;
        })
    }
}
