//! The schema that this server works under, and the promise of which version that is.
//!
//! Who may hold what: [`State`] is one small struct under a mutex, held for a few instructions, never across an await; within it
//! [`ThisServer::take_over`] replaces accounts and variables, whose locks are never held while this one is taken. A
//! [`SchemaGuard`] is held while a statement is bound and a transaction takes its snapshot, and over the commit of an
//! explicit transaction. From then on [`TableHolds`] keep the tables that it uses from being changed twice: a statement's
//! to its end, a transaction's to its end.

use super::claims::{Claim, Claims, TableUse, Wanted};
use super::holds::Holds;
use super::liveness::Liveness;
use super::model::{Schema, Table};
use super::sequence::Sequences;
use super::{config, store};
use crate::error::{Error, Result};
use basalt_client::Cluster;
use basalt_common::env::{Env, Monotonic};
use basalt_common::{TableId, Timestamp};
use basalt_proto::pd::{HeldTable, SqlServer};
use basalt_proto::sql::{LookRequest, Request, request};
use parking_lot::Mutex;
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// How soon a step looks whether the others have come along, first and at last.
const STEP_POLL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// The catalog of the cluster, as one SQL server sees it. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

/// The server that opens the catalog.
pub struct ThisServer {
    /// Unique in the cluster.
    pub id: u64,
    /// Where it listens.
    pub address: String,
    /// Its status port.
    pub status_address: String,
    /// Takes over the accounts and variables of a version, before any other server learns that this one has it.
    pub take_over: Box<dyn Fn(store::Settings) + Send + Sync>,
}

struct Inner {
    cluster: Cluster,
    env: Env,
    server: ThisServer,
    state: Mutex<State>,
    sequences: Sequences,
    /// Rung by whoever wants the schema looked at now.
    look: Notify,
    /// Tells the version of each new schema.
    changed: watch::Sender<u64>,
    /// Schema changes that run here.
    jobs: Mutex<BTreeSet<u64>>,
    /// Whose turn it is to take a step of a schema change.
    turns: Arc<Semaphore>,
}

/// A schema change runs on this server, once.
pub(crate) struct JobClaim {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for JobClaim {
    fn drop(&mut self) {
        self.inner.jobs.lock().remove(&self.id);
    }
}

struct State {
    schema: Arc<Schema>,
    /// When the version was last compared with the cluster's.
    looked: Monotonic,
    /// Whether it is being compared at the moment, and how the last try failed.
    looking: bool,
    failure: Option<(u16, String)>,
    /// Statements and commits under way, by the version that they work under; few, and the newest stays when it is unused.
    in_use: Vec<(u64, usize)>,
    /// Tables that transactions use.
    holds: Holds,
    /// Which servers are alive.
    liveness: Liveness,
    /// How often the cluster could not be asked for longer than the lease: what was held then is not held any more, as far
    /// as the other servers know.
    cut_offs: u64,
}

impl State {
    fn enter(&mut self) -> Arc<Schema> {
        let version = self.schema.version;
        match self.in_use.iter_mut().find(|(v, _)| *v == version) {
            Some((_, count)) => *count += 1,
            None => {
                self.in_use.retain(|(_, count)| *count > 0);
                self.in_use.push((version, 1));
            }
        }
        self.schema.clone()
    }

    fn leave(&mut self, version: u64) {
        if let Some((_, count)) = self.in_use.iter_mut().find(|(v, _)| *v == version) {
            *count -= 1;
        }
    }

    /// The oldest version that anything here works under.
    fn oldest(&self) -> u64 {
        let used = self.in_use.iter().filter(|(_, count)| *count > 0).map(|(version, _)| *version);
        used.fold(self.schema.version, u64::min)
    }
}

/// Keeps this server from announcing a version newer than the one that a statement works under.
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
        self.inner.state.lock().leave(self.schema.version);
    }
}

/// The tables that a transaction or a statement uses, each held since its first use: changes of them wait.
pub struct TableHolds {
    inner: Arc<Inner>,
    /// See [`State::cut_offs`].
    cut_offs: u64,
    /// Few.
    tables: Vec<Held>,
}

/// A table that is held. One that was read and is then written to is held twice.
#[derive(Clone, Copy)]
struct Held {
    table: TableId,
    table_use: TableUse,
    /// The version of the schema.
    since: u64,
}

impl TableHolds {
    /// Whether the claim waits for what is held.
    pub fn are_wanted(&self, claim: &Claim) -> bool {
        self.tables.iter().any(|held| claim.wanted.keeps(held.table, held.table_use))
    }

    /// The first claim that one more use of a table has to wait for. That is none which waits for what is held of that table
    /// anyway, itself or behind another claim.
    pub fn first_claim<'a>(&self, claims: &'a Claims, table: TableId, table_use: TableUse) -> Option<&'a Claim> {
        let waits_for_us = |claim: &Claim| {
            self.tables.iter().any(|held| held.table == table && claim.wanted.keeps(table, held.table_use))
        };
        let is_in_the_way = |claim: &&Claim| {
            claim.wanted.keeps(table, table_use) && !claims.queue_of(claim).into_iter().any(waits_for_us)
        };
        claims.iter().find(is_in_the_way)
    }

    /// Holds tables, those that are not held yet for that use, as the guard's schema has them.
    pub fn take(&mut self, guard: &SchemaGuard, tables: &[(TableId, TableUse)]) {
        let mut state = self.inner.state.lock();
        if self.tables.is_empty() {
            self.cut_offs = state.cut_offs;
        }
        for &(table, table_use) in tables {
            let is_same = |held: &&Held| held.table == table;
            if !self.tables.iter().filter(is_same).any(|held| held.table_use >= table_use) {
                // One more use of a table goes before claims that wait for the first one, and they wait for it as well.
                let since = self.tables.iter().filter(is_same).map(|held| held.since).min();
                let since = since.unwrap_or(guard.schema.version);
                state.holds.enter(table, table_use, since);
                self.tables.push(Held { table, table_use, since });
            }
        }
    }

    /// Lets all of them go.
    pub fn clear(&mut self) {
        if self.tables.is_empty() {
            return;
        }
        let mut state = self.inner.state.lock();
        let newest = state.schema.version;
        let mut is_waited_for = false;
        for Held { table, table_use, since } in self.tables.drain(..) {
            is_waited_for |= state.holds.leave(table, table_use, since) && since < newest;
        }
        if is_waited_for {
            self.inner.look.notify_one();
        }
    }
}

impl Drop for TableHolds {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Catalog {
    /// Loads the schema and registers with PD.
    ///
    /// # Errors
    /// What the cluster answers.
    pub async fn open(cluster: Cluster, server: ThisServer) -> Result<Catalog> {
        let snapshot = cluster.snapshot(cluster.timestamp().await?);
        let schema = Arc::new(store::load(&snapshot).await?);
        (server.take_over)(store::load_settings(&snapshot).await?);
        let env = cluster.env().clone();
        let changed = watch::Sender::new(schema.version);
        let state = State {
            schema,
            looked: env.now(),
            looking: false,
            failure: None,
            in_use: Vec::new(),
            holds: Holds::default(),
            liveness: Liveness::new(env.now()),
            cut_offs: 0,
        };
        let sequences = Sequences::new(cluster.clone());
        let inner = Inner {
            cluster,
            env,
            server,
            state: Mutex::new(state),
            sequences,
            look: Notify::new(),
            changed,
            jobs: Mutex::default(),
            turns: Arc::new(Semaphore::new(1)),
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

    /// The schema now, held for a statement.
    ///
    /// # Errors
    /// As [`Catalog::schema`].
    pub fn guard(&self) -> Result<SchemaGuard> {
        let mut state = self.inner.state.lock();
        self.check_lease(&state)?;
        let schema = state.enter();
        Ok(SchemaGuard { inner: self.inner.clone(), schema })
    }

    /// The schema now, held for the commit of a transaction that uses these tables.
    ///
    /// # Errors
    /// As [`Catalog::schema`]; [`Error::SchemaChanged`] when one of them was changed or claimed while this server was cut off
    /// from the cluster for so long that nobody waited for it.
    pub fn guard_commit(&self, held: &TableHolds) -> Result<SchemaGuard> {
        let guard = self.guard()?;
        if held.cut_offs == self.inner.state.lock().cut_offs {
            return Ok(guard);
        }
        let schema = &guard.schema;
        let is_claimed = |held: &Held| {
            schema.claims.iter().any(|c| c.since > held.since && c.wanted.keeps(held.table, held.table_use))
        };
        let unchanged = |held: &Held| schema.table_by_id(held.table).is_some_and(|(_, t)| t.version <= held.since);
        if held.tables.iter().all(|held| unchanged(held) && !is_claimed(held)) {
            Ok(guard)
        } else {
            Err(Error::SchemaChanged)
        }
    }

    /// Holds on no table yet.
    pub fn no_holds(&self) -> TableHolds {
        TableHolds { inner: self.inner.clone(), cut_offs: 0, tables: Vec::new() }
    }

    /// Tells of every new schema that this server loads, by its version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    fn check_lease(&self, state: &State) -> Result<()> {
        let age = self.inner.env.now().since(state.looked);
        if age > config::SCHEMA_LEASE {
            // What keeps the schema from being read says more than that it is old.
            let (code, message) = match &state.failure {
                Some((code, text)) => (*code, format!("{text} (the schema could not be read for {} s)", age.as_secs())),
                None if state.looking => {
                    (9005, format!("Region is unavailable: the schema's has not answered for {} s", age.as_secs()))
                }
                None => (8027, "Information schema is out of date: this server was not running".into()),
            };
            return Err(Error::User { code, sqlstate: "HY000", message });
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
        self.inner.server.id
    }

    /// Compares versions with the cluster and loads the schema when they differ.
    ///
    /// # Errors
    /// What the cluster answers; the schema stays as it was.
    pub async fn refresh(&self) -> Result<()> {
        self.inner.state.lock().looking = true;
        let outcome = self.look().await;
        let mut state = self.inner.state.lock();
        state.looking = false;
        state.failure = outcome.as_ref().err().map(|error| {
            let (code, _, text) = error.to_mysql();
            (code, text)
        });
        outcome
    }

    async fn look(&self) -> Result<()> {
        let started = self.inner.env.now();
        let newest = self.inner.cluster.snapshot(Timestamp::MAX);
        let version = store::version(&newest).await?;
        if version != self.inner.state.lock().schema.version {
            let ts = self.inner.cluster.timestamp().await?;
            let snapshot = self.inner.cluster.snapshot(ts);
            let schema = Arc::new(store::load(&snapshot).await?);
            let settings = store::load_settings(&snapshot).await?;
            self.inner.sequences.retain(|id| schema.table_by_id(id).is_some());
            let mut state = self.inner.state.lock();
            if schema.version > state.schema.version {
                (self.inner.server.take_over)(settings);
                self.inner.changed.send_replace(schema.version);
                state.schema = schema;
            }
        }
        let mut state = self.inner.state.lock();
        if started.since(state.looked) > config::SCHEMA_LEASE {
            state.cut_offs += 1;
        }
        state.looked = state.looked.max(started);
        Ok(())
    }

    /// Tells PD which version this server works under, and which tables its transactions still use under older ones;
    /// returns all servers.
    async fn announce(&self, leaving: bool) -> Result<Vec<SqlServer>> {
        let (schema_version, held) = {
            let state = self.inner.state.lock();
            (state.oldest(), state.holds.older_than(state.schema.version))
        };
        let server = SqlServer {
            id: self.inner.server.id,
            address: self.inner.server.address.clone(),
            status_address: self.inner.server.status_address.clone(),
            schema_version,
            held,
            last_heartbeat_unix_ms: 0,
            oldest_ts: self.inner.cluster.oldest_reader().map_or(0, |ts| ts.0),
        };
        let began = self.inner.env.now();
        let servers = self.inner.cluster.pd().sql_server_heartbeat(Some(server), leaving).await?;
        self.inner.cluster.believed_alive_until(began.after(config::LOCKS_TRUSTED));
        self.inner.state.lock().liveness.told(&servers, self.inner.env.now());
        Ok(servers)
    }

    /// The ids of the SQL servers that may be alive; `None` when this one cannot tell.
    pub fn live_servers(&self) -> Option<Vec<u64>> {
        self.inner.state.lock().liveness.alive(self.inner.env.now())
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

    /// Returns when no server that is alive works under a version before `version`, and none of their transactions uses since
    /// before it what is `wanted`. `goes_on` is asked again and again meanwhile.
    ///
    /// # Errors
    /// Of `goes_on`. An internal one after [`config::STEP_WAIT_MAX`]: a server is alive and has not come along.
    pub async fn wait_for_all(
        &self,
        version: u64,
        wanted: &Wanted,
        goes_on: &(dyn Fn() -> Result<()> + Send + Sync),
    ) -> Result<()> {
        let started = self.inner.env.now();
        let is_wanted = |held: &HeldTable| {
            let table_use = if held.reads_only { TableUse::Reads } else { TableUse::Writes };
            held.schema_version < version && wanted.keeps(TableId(held.table_id), table_use)
        };
        let uses_older = |s: &SqlServer| s.held.iter().any(is_wanted);
        let (mut told, mut pause) = (BTreeSet::new(), STEP_POLL.0);
        loop {
            self.refresh().await?;
            let servers = self.announce(false).await?;
            let now = servers.iter().find(|s| s.id == self.inner.server.id).map_or(0, |s| s.last_heartbeat_unix_ms);
            let silent = |s: &SqlServer| {
                now.saturating_sub(s.last_heartbeat_unix_ms) > config::SERVER_SILENCE_MAX.as_millis() as u64
            };
            let has_all = servers.iter().all(|s| s.schema_version >= version || silent(s));
            if has_all && !servers.iter().any(|s| uses_older(s) && !silent(s)) {
                return Ok(());
            }
            goes_on()?;
            for server in servers.iter().filter(|s| s.schema_version < version && !silent(s)) {
                if told.insert(server.id) {
                    self.tell_to_look(server.id);
                }
            }
            if !has_all && self.inner.env.now().since(started) > config::STEP_WAIT_MAX {
                return Err(Error::Internal("a SQL server has not loaded the new schema in time".into()));
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(STEP_POLL.1);
        }
    }

    /// As [`Catalog::refresh`], and has the other servers do so.
    ///
    /// # Errors
    /// What the cluster answers.
    pub async fn refresh_everywhere(&self) -> Result<()> {
        let others = self.live_servers().unwrap_or_default().into_iter().filter(|id| *id != self.server_id());
        others.for_each(|server| self.tell_to_look(server));
        self.refresh().await
    }

    /// Has this server look for a new version of the schema now.
    pub fn look_now(&self) {
        self.inner.look.notify_one();
    }

    /// Has another server look for a new version now, rather than when it does so by itself ([`config::SCHEMA_POLL`]).
    fn tell_to_look(&self, server: u64) {
        let cluster = self.inner.cluster.clone();
        let request = Request { cmd: Some(request::Cmd::Look(LookRequest {})) };
        tokio::spawn(async move {
            if let Err(error) = cluster.pd().call_sql_server(server, request.encode_to_vec().into()).await {
                tracing::debug!(server, %error, "a SQL server is not told of the new schema");
            }
        });
    }

    /// Waits for this server's turn to take a step of a schema change.
    pub(super) async fn turn(&self) -> OwnedSemaphorePermit {
        self.inner.turns.clone().acquire_owned().await.expect("nobody closes it")
    }

    /// Claims a schema change for a task of this server; `None` when another task has it.
    pub(crate) fn claim_job(&self, id: u64) -> Option<JobClaim> {
        self.inner.jobs.lock().insert(id).then(|| JobClaim { inner: self.inner.clone(), id })
    }

    /// Whether a task of this server runs the schema change.
    pub(crate) fn runs_job(&self, id: u64) -> bool {
        self.inner.jobs.lock().contains(&id)
    }

    /// The table with this id, as it is now.
    pub fn table(&self, id: TableId) -> Option<Arc<Table>> {
        self.inner.state.lock().schema.table_by_id(id).map(|(_, t)| t.clone())
    }
}
