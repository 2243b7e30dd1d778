//! `basalt sql`: one SQL server.

use super::network::resolve;
use super::spill::SpillFolder;
use super::{accounts, runtime, say_ready};
use crate::admin::Admin;
use crate::config::{File, defaults};
use crate::status::{self, Status};
use crate::{cli, logging, memory, shutdown};
use anyhow::{Context, Result};
use basalt_client::grpc::{GrpcKv, GrpcPd};
use basalt_client::rpc::{KvRpc, PdRpc};
use basalt_client::{Cluster, PdClient, TsoMode};
use basalt_common::env::Env;
use basalt_proto::pd::ClusterInfoResponse;
use basalt_sql::session::{SqlServer, SqlServerOptions, StartAccounts};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Clients at once, unless the settings say otherwise.
const MAX_CONNECTIONS: u32 = 2000;
/// Between two attempts to reach PD at start, each of which takes a while by itself.
const PD_PAUSE: Duration = Duration::from_millis(200);

/// What a SQL server is started with.
pub fn options(
    listen: SocketAddr,
    status: &str,
    file: &File,
    spill_dir: PathBuf,
    accounts: StartAccounts,
) -> Result<SqlServerOptions> {
    let settings = &file.sql;
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let tls = match (&settings.tls_cert, &settings.tls_key) {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        (None, None) => None,
        _ => anyhow::bail!("[sql] tls_cert and tls_key go together"),
    };
    Ok(SqlServerOptions {
        listen,
        status_address: status.to_string(),
        tls,
        max_connections: settings.max_connections.unwrap_or(MAX_CONNECTIONS) as usize,
        spill_dir,
        accounts,
        memory: memory::options(file.memory_limit),
    })
}

/// What PD says of the cluster. It is waited for as long as it takes: after everything died, processes come back in any order.
async fn known_cluster(client: &PdClient, address: &str) -> Result<ClusterInfoResponse> {
    loop {
        match client.cluster_info().await {
            Err(error @ basalt_client::Error::PdUnavailable(_)) => {
                tracing::warn!(%error, "waiting for the placement driver at {address}");
                tokio::time::sleep(PD_PAUSE).await;
            }
            known => return known.with_context(|| format!("PD at {address}")),
        }
    }
}

/// Runs the role until it is asked to stop.
pub fn run(args: cli::Sql) -> Result<()> {
    let file = File::load(args.common.config.as_deref())?;
    logging::init(&args.common, &file)?;
    let accounts = accounts::read(&args.accounts, &file)?;
    runtime()?.block_on(async {
        let listen = args.listen.or_else(|| file.listen.clone()).unwrap_or_else(|| defaults::SQL_LISTEN.into());
        let status_address = args.status.or_else(|| file.status.clone()).unwrap_or_else(|| defaults::SQL_STATUS.into());
        let pd_address =
            args.pd.or_else(|| file.pd.clone()).context("--pd HOST:PORT: where is the placement driver?")?;
        let address = resolve(&listen, "listen").await?;
        let status_listener = status::bind(&status_address).await?;
        let env = Env::real();
        let pd: Arc<dyn PdRpc> = Arc::new(GrpcPd::new(vec![pd_address.clone()]));
        let client = PdClient::new(env.clone(), pd.clone(), TsoMode::Batched);
        let info = tokio::select! {
            info = known_cluster(&client, &pd_address) => info?,
            stopped = shutdown::requested() => return stopped,
        };
        let kv: Arc<dyn KvRpc> = Arc::new(GrpcKv::new(client.clone()));
        let cluster = Cluster::with_pd(env, kv.clone(), client);
        let spill = SpillFolder::create()?;
        let options = options(address, &status_address, &file, spill.path().to_path_buf(), accounts)?;
        let server = SqlServer::start(cluster.clone(), options).await?;
        let admin = Admin { cluster_id: info.cluster_id, kv, pd };
        let status = status::serve(status_listener, Status { role: "sql", listen: listen.clone(), admin: Some(admin) });
        tracing::info!(%listen, status = %status_address, pd = %pd_address, "serving");
        say_ready(&format!("mysql -h {} -P {} -u root", address.ip(), address.port()));
        shutdown::requested().await?;
        server.shutdown().await;
        cluster.shutdown().await;
        status.abort();
        drop(spill);
        Ok(())
    })
}
