//! The schema that this server works under, and the promise of which version that is.
//!
//! Who may hold what: [`State`] is one small struct under a mutex, held for a few instructions, never across an await. A
//! [`SchemaGuard`] is held from binding to the end of an autocommitted write, and over the commit of an explicit
//! transaction; never while a client thinks.

use super::model::{Schema, Table};
use super::sequence::Sequences;
use super::{config, store};
use crate::error::{Error, Result};
use basalt_client::Cluster;
use basalt_common::env::{Env, Monotonic};
use basalt_common::{TableId, Timestamp};
use basalt_proto::pd::SqlServer;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often a step looks whether the others have come along.
const STEP_POLL: Duration = Duration::from_millis(20);

/// The catalog of the cluster, as one SQL server sees it. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    env: Env,
    server_id: u64,
    address: String,
    status_address: String,
    state: Mutex<State>,
    sequences: Sequences,
    /// Rung by whoever wants the schema looked at now.
    look: Notify,
}

struct State {
    schema: Arc<Schema>,
    /// When the version was last compared with the cluster's.
    looked: Monotonic,
    /// Statements and commits under way, by the version that they work under.
    in_use: BTreeMap<u64, usize>,
}

/// Keeps this server from announcing a version newer than the one that a write works under.
pub struct SchemaGuard {
    inner: Arc<Inner>,
    schema: Arc<Schema>,
}

impl SchemaGuard {
    /// The schema that is held.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }
}

impl Drop for SchemaGuard {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        if let Some(count) = state.in_use.get_mut(&self.schema.version) {
            *count -= 1;
            if *count == 0 {
                state.in_use.remove(&self.schema.version);
            }
        }
    }
}

impl Catalog {
    /// Loads the schema and registers with PD. `server_id` is unique in the cluster.
    ///
    /// # Errors
    /// What the cluster answers.
    pub async fn open(cluster: Cluster, server_id: u64, address: String, status_address: String) -> Result<Catalog> {
        let snapshot = cluster.snapshot(cluster.timestamp().await?);
        let schema = Arc::new(store::load(&snapshot).await?);
        let env = cluster.env().clone();
        let state = State { schema, looked: env.now(), in_use: BTreeMap::new() };
        let sequences = Sequences::new(cluster.clone());
        let inner = Inner {
            cluster,
            env,
            server_id,
            address,
            status_address,
            state: Mutex::new(state),
            sequences,
            look: Notify::new(),
        };
        let catalog = Catalog { inner: Arc::new(inner) };
        catalog.announce(false).await?;
        Ok(catalog)
    }

    /// The schema now. A version that was current at most [`config::SCHEMA_LEASE`] ago.
    ///
    /// # Errors
    /// 8027 when the cluster could not be asked for longer than that.
    pub fn schema(&self) -> Result<Arc<Schema>> {
        let state = self.inner.state.lock();
        self.check_lease(&state)?;
        Ok(state.schema.clone())
    }

    /// The schema now, held for a write.
    ///
    /// # Errors
    /// As [`Catalog::schema`].
    pub fn guard(&self) -> Result<SchemaGuard> {
        let mut state = self.inner.state.lock();
        self.check_lease(&state)?;
        let schema = state.schema.clone();
        *state.in_use.entry(schema.version).or_default() += 1;
        Ok(SchemaGuard { inner: self.inner.clone(), schema })
    }

    /// The schema now, held for the commit of a transaction that wrote these tables (id and version).
    ///
    /// # Errors
    /// [`Error::SchemaChanged`] when one of them is not what it was.
    pub fn guard_commit(&self, written: &BTreeMap<TableId, u64>) -> Result<SchemaGuard> {
        let guard = self.guard()?;
        let unchanged =
            |(id, version): (&TableId, &u64)| guard.schema.table_by_id(*id).is_some_and(|(_, t)| t.version == *version);
        if written.iter().all(unchanged) { Ok(guard) } else { Err(Error::SchemaChanged) }
    }

    fn check_lease(&self, state: &State) -> Result<()> {
        if self.inner.env.now().since(state.looked) > config::SCHEMA_LEASE {
            return Err(Error::User {
                code: 8027,
                sqlstate: "HY000",
                message: "Information schema is out of date: the cluster cannot be reached".into(),
            });
        }
        Ok(())
    }

    /// Numbers for rows.
    pub fn sequences(&self) -> &Sequences {
        &self.inner.sequences
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// This server's id.
    pub fn server_id(&self) -> u64 {
        self.inner.server_id
    }

    /// Compares versions with the cluster and loads the schema when they differ.
    ///
    /// # Errors
    /// What the cluster answers; the schema stays as it was.
    pub async fn refresh(&self) -> Result<()> {
        let started = self.inner.env.now();
        let newest = self.inner.cluster.snapshot(Timestamp::MAX);
        let version = store::version(&newest).await?;
        if version != self.inner.state.lock().schema.version {
            let ts = self.inner.cluster.timestamp().await?;
            let schema = Arc::new(store::load(&self.inner.cluster.snapshot(ts)).await?);
            self.inner.sequences.retain(|id| schema.table_by_id(id).is_some());
            let mut state = self.inner.state.lock();
            if schema.version > state.schema.version {
                state.schema = schema;
            }
        }
        let mut state = self.inner.state.lock();
        state.looked = state.looked.max(started);
        Ok(())
    }

    /// Tells PD which version this server works under; returns all servers.
    async fn announce(&self, leaving: bool) -> Result<Vec<SqlServer>> {
        let schema_version = {
            let state = self.inner.state.lock();
            state.in_use.keys().next().copied().unwrap_or(u64::MAX).min(state.schema.version)
        };
        let server = SqlServer {
            id: self.inner.server_id,
            address: self.inner.address.clone(),
            status_address: self.inner.status_address.clone(),
            schema_version,
            last_heartbeat_unix_ms: 0,
        };
        Ok(self.inner.cluster.pd().sql_server_heartbeat(Some(server), leaving).await?)
    }

    /// Looks for new versions and announces this server's, until stopped; then signs off.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(config::SCHEMA_POLL) => {}
                () = self.inner.look.notified() => {}
            }
            let outcome = match self.refresh().await {
                Ok(()) => self.announce(false).await.map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "cannot look for schema changes");
            }
        }
        if let Err(error) = self.announce(true).await {
            tracing::info!(%error, "could not sign off at PD");
        }
    }

    /// Returns when no server that is alive works under a version before `version`.
    ///
    /// # Errors
    /// 8027-like after [`config::STEP_WAIT_MAX`]: a server is alive and has not come along.
    pub async fn wait_for_all(&self, version: u64) -> Result<()> {
        let started = self.inner.env.now();
        loop {
            self.refresh().await?;
            let servers = self.announce(false).await?;
            let now = servers.iter().find(|s| s.id == self.inner.server_id).map_or(0, |s| s.last_heartbeat_unix_ms);
            let silent = |s: &SqlServer| {
                now.saturating_sub(s.last_heartbeat_unix_ms) > config::SERVER_SILENCE_MAX.as_millis() as u64
            };
            if servers.iter().all(|s| s.schema_version >= version || silent(s)) {
                return Ok(());
            }
            if self.inner.env.now().since(started) > config::STEP_WAIT_MAX {
                return Err(Error::Internal("a SQL server has not loaded the new schema in time".into()));
            }
            tokio::time::sleep(STEP_POLL).await;
        }
    }

    /// The table with this id, as it is now.
    pub fn table(&self, id: TableId) -> Option<Arc<Table>> {
        self.inner.state.lock().schema.table_by_id(id).map(|(_, t)| t.clone())
    }
}
