//! The SQL server as a whole: what its sessions share, and its tasks.

use super::session::{SqlSession, to_protocol};
use super::start::{self, StartAccounts};
use super::users::Users;
use super::variables::Globals;
use crate::catalog::{Catalog, ThisServer};
use crate::ddl;
use crate::deadlocks::Deadlocks;
use crate::error::{Error, Result};
use crate::memory::{Governor, MemoryOptions, measured};
use crate::planner::cache::PlanCache;
use crate::query::session::QuerySession;
use crate::server::config::ServerConfig;
use crate::server::error::MySqlError;
use crate::server::kill::KillSwitch;
use crate::server::listener::{RunningServer, Server};
use crate::server::registry::{Connections, SERVER_NUMBERS, server_number};
use crate::server::session_api::{Account, Authenticator, Handler, Peer, Session, SessionContext};
use crate::server::tls::Tls;
use async_trait::async_trait;
use basalt_client::Cluster;
use basalt_common::env::{Env, Monotonic};
use futures::future::BoxFuture;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often a server looks for schema changes that another one left, and for ranges to delete.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// Between two looks whether garbage collection's safe point may move.
const SAFE_POINT_LOOK: Duration = Duration::from_secs(2);
/// How often in a row it may not be moved before that is worth a warning.
const SAFE_POINT_FAILURES_TOLD: u32 = 20;

/// How a SQL server is to run.
pub struct SqlServerOptions {
    /// Address for MySQL clients.
    pub listen: SocketAddr,
    /// Address of the status port, for PD's registry.
    pub status_address: String,
    /// Certificate chain and key, PEM.
    pub tls: Option<(Vec<u8>, Vec<u8>)>,
    /// Connections at once.
    pub max_connections: usize,
    /// Where large queries spill.
    pub spill_dir: PathBuf,
    /// What is done to accounts before clients are let in.
    pub accounts: StartAccounts,
    /// What the process may hold.
    pub memory: MemoryOptions,
}

/// What all sessions of a server share.
pub struct Shared {
    pub(super) env: Env,
    pub(super) cluster: Cluster,
    pub(super) catalog: Catalog,
    pub(super) globals: Arc<Globals>,
    pub(super) plans: PlanCache,
    pub(super) users: Arc<Users>,
    pub(super) questions: AtomicU64,
    /// Prepared statements of all sessions.
    pub(super) prepared: Arc<AtomicU64>,
    pub(super) connections: Arc<Connections>,
    pub(super) deadlocks: Arc<Deadlocks>,
    started: Monotonic,
}

impl Shared {
    pub(super) fn uptime_s(&self) -> u64 {
        self.env.now().since(self.started).as_secs()
    }

    pub(super) fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }
}

/// A running SQL server.
pub struct SqlServer {
    shared: Arc<Shared>,
    running: RunningServer,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl SqlServer {
    /// Opens the catalog and starts to accept clients.
    ///
    /// # Errors
    /// When the cluster does not answer, the certificate does not fit, the port is in use, or root has no password and the
    /// address is not loopback.
    pub fn start(cluster: Cluster, options: SqlServerOptions) -> BoxFuture<'static, Result<SqlServer>> {
        Box::pin(async move {
            let env = cluster.env().clone();
            let (users, globals) = (Arc::new(Users::default()), Arc::new(Globals::default()));
            let catalog = open_catalog(&cluster, &options, &users, &globals).await?;
            ensure_test_database(&catalog).await?;
            QuerySession::configure(options.spill_dir);
            measured::install();
            globals.set_fact("port", &options.listen.port().to_string());
            globals.set_fact("max_connections", &options.max_connections.to_string());
            let limit = Some(options.memory.limit).filter(|&limit| limit != usize::MAX).unwrap_or(0);
            globals.set_fact("basalt_memory_limit", &limit.to_string());
            let governor = options.memory;
            let tls = match &options.tls {
                None => None,
                Some((certificates, key)) => {
                    globals.set_fact("have_ssl", "YES");
                    globals.set_fact("have_openssl", "YES");
                    Some(Tls::from_pem(certificates, key).map_err(|e| Error::Start(format!("TLS: {e}")))?)
                }
            };
            let connections = Arc::new(Connections::new(catalog.server_id()));
            let shared = Arc::new(Shared {
                started: env.now(),
                env: env.clone(),
                cluster,
                catalog,
                globals,
                plans: PlanCache::default(),
                users,
                questions: AtomicU64::new(0),
                prepared: Arc::default(),
                connections: connections.clone(),
                deadlocks: Arc::new(Deadlocks::new(env.clone(), connections.clone())),
            });
            shared.find_owners_of_locks();
            start::prepare(&shared, options.accounts).await?;
            if !options.listen.ip().is_loopback() && shared.users.root_is_open() {
                return Err(Error::Start(format!(
                    "root has no password, so this server does not listen on {}: set BASALT_ROOT_PASSWORD or BASALT_ROOT_PASSWORD_FILE, or run ALTER USER root IDENTIFIED BY '…' over a loopback address first",
                    options.listen
                )));
            }
            let config = ServerConfig { max_connections: options.max_connections, ..ServerConfig::default() };
            let front = Arc::new(Front(shared.clone()));
            let server = Server { config, handler: front.clone(), authenticator: front, tls, env, connections };
            let running = server
                .start(options.listen)
                .await
                .map_err(|e| Error::Start(format!("cannot listen on {} (MySQL clients): {e}", options.listen)))?;
            let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
            let (catalog, token) = (shared.catalog.clone(), stop.clone());
            tasks.spawn(async move { catalog.run(token).await });
            let (keeper, token) = (shared.clone(), stop.clone());
            tasks.spawn(async move { keeper.housekeeping(token).await });
            let (collector, token) = (shared.clone(), stop.clone());
            tasks.spawn(async move { collector.keep_safe_point(token).await });
            let (listener, token) = (shared.clone(), stop.clone());
            tasks.spawn(async move { listener.listen(token).await });
            let (governor, token) = (Governor::new(governor, shared.connections.clone()), stop.clone());
            tasks.spawn_blocking(move || governor.run(&token));
            Ok(SqlServer { shared, running, stop, tasks })
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// Stops accepting, lets statements finish, and ends the tasks; the cluster handle is the caller's to shut down.
    pub fn shutdown(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.running.shutdown().await;
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            drop(self.shared);
        })
    }
}

/// Opens the catalog, whose versions bring accounts and global variables with them.
async fn open_catalog(
    cluster: &Cluster,
    options: &SqlServerOptions,
    users: &Arc<Users>,
    globals: &Arc<Globals>,
) -> Result<Catalog> {
    let (users, globals) = (users.clone(), globals.clone());
    let server = ThisServer {
        id: new_server_id(cluster).await?,
        address: options.listen.to_string(),
        status_address: options.status_address.clone(),
        take_over: Box::new(move |settings| {
            users.take_over(settings.users);
            globals.take_over(settings.variables);
        }),
    };
    Catalog::open(cluster.clone(), server).await
}

/// An id that is unique in the cluster, whose number no other SQL server has. Servers that start together have ids close to each
/// other, so different numbers.
async fn new_server_id(cluster: &Cluster) -> Result<u64> {
    let pd = cluster.pd();
    for _ in 0..SERVER_NUMBERS {
        let id = pd.allocate_ids(1).await?;
        let servers = pd.sql_server_heartbeat(None, false).await?;
        if !servers.iter().any(|server| server_number(server.id) == server_number(id)) {
            return Ok(id);
        }
    }
    Err(Error::Start(format!("{SERVER_NUMBERS} SQL servers run already")))
}

/// `test` is there from the start, as MySQL installs used to have it.
async fn ensure_test_database(catalog: &Catalog) -> Result<()> {
    let schema = catalog.schema()?;
    if schema.version > 0 {
        return Ok(());
    }
    let statement = crate::parser::statement::Ddl::CreateDatabase {
        name: "test".into(),
        if_not_exists: true,
        charset: None,
        collation: None,
    };
    let eval = basalt_expr::EvalContext::default();
    let ctx = ddl::DdlContext {
        catalog,
        database: None,
        eval: &eval,
        engine_substitution: false,
        statement: "CREATE DATABASE IF NOT EXISTS test",
        kill: &KillSwitch::new(),
        lock_wait_timeout: Duration::from_secs(31_536_000),
        lock: None,
        show_state: &|_| {},
    };
    ddl::execute(&ctx, &statement).await
}

impl Shared {
    /// Moves garbage collection's safe point on, while this is the first of the SQL servers that live.
    async fn keep_safe_point(&self, stop: CancellationToken) {
        let mut failures: u32 = 0;
        loop {
            let advance = async {
                tokio::time::sleep(SAFE_POINT_LOOK).await;
                let first = self.catalog.live_servers().and_then(|alive| alive.into_iter().min());
                if first != Some(self.catalog.server_id()) {
                    failures = 0;
                } else if let Err(error) = self.cluster.advance_safe_point().await {
                    failures += 1;
                    match failures.is_multiple_of(SAFE_POINT_FAILURES_TOLD) {
                        true => tracing::warn!(%error, failures, "old versions are not collected"),
                        false => tracing::debug!(%error, "the safe point of garbage collection stays where it is"),
                    }
                } else {
                    failures = 0;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = advance => {}
            }
        }
    }

    async fn housekeeping(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(HOUSEKEEPING) => {}
            }
            for outcome in [
                ddl::adopt_abandoned(&self.catalog).await,
                ddl::remove_abandoned(&self.catalog).await,
                ddl::delete_dropped(&self.catalog).await,
            ] {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "housekeeping");
                }
            }
        }
    }
}

/// The server's side of the protocol's seam.
struct Front(Arc<Shared>);

#[async_trait]
impl Handler for Front {
    async fn open_session(&self, context: SessionContext) -> Result<Box<dyn Session>, MySqlError> {
        match SqlSession::new(self.0.clone(), context) {
            Ok(session) => Ok(Box::new(session)),
            Err(error) => {
                let (code, state, message) = error.to_mysql();
                Err(to_protocol(code, state, message))
            }
        }
    }

    fn statistics(&self) -> String {
        let (uptime, questions) = (self.0.uptime_s(), self.0.questions());
        format!(
            "Uptime: {uptime}  Threads: {}  Questions: {questions}  Slow queries: 0  Opens: 0  Flush tables: 0  Open tables: 0  Queries per second avg: {:.3}",
            self.0.connections.len(),
            questions as f64 / uptime.max(1) as f64
        )
    }
}

#[async_trait]
impl Authenticator for Front {
    async fn find(&self, user: &str, peer: &Peer) -> Result<Option<Account>, MySqlError> {
        // Without a lease the accounts may have changed.
        if let Err(error) = self.0.catalog.schema() {
            let (code, state, message) = error.to_mysql();
            return Err(to_protocol(code, state, message));
        }
        Ok(self.0.users.find(user, &peer.host()))
    }
}
