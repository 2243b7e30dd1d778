//! `basalt up`: PD, stores and SQL server in one process, which call each other directly.
//!
//! ```text
//! DATA/pd          PD's records
//! DATA/store-1 …   one folder a store: db, raft, snapshots
//! DATA/spill       what large queries put down; emptied at start
//! ```

use crate::admin::Admin;
use crate::config::{File, defaults};
use crate::local::{LocalKv, LocalPd};
use crate::role::network::resolve;
use crate::role::storage::{self, OpenStore, StoreParams};
use crate::role::{self, Kind, accounts, data_folder, runtime};
use crate::status::{self, Status};
use crate::{cli, logging, shutdown};
use anyhow::{Context, Result, bail};
use basalt_client::rpc::{KvRpc, PdRpc};
use basalt_client::{Cluster, TsoMode};
use basalt_common::env::Env;
use basalt_sql::session::SqlServer;
use basalt_storage::raftstore::transport::LocalTransport;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Stores of one process at most.
const STORES_MAX: u32 = 16;
/// Replicas of a region where there are enough stores.
const REPLICAS: usize = 3;
/// How long `up` waits until the first region has its replicas.
const REPLICAS_WAIT_TRIES: u32 = 300;

/// Runs everything until it is asked to stop.
pub fn run(args: cli::Up) -> Result<()> {
    let file = File::load(args.common.config.as_deref())?;
    logging::init(&args.common, &file)?;
    let accounts = accounts::read(&args.accounts, &file)?;
    let stores = args.stores.or(file.stores).unwrap_or(1);
    if !(1..=STORES_MAX).contains(&stores) {
        bail!("--stores {stores}: between 1 and {STORES_MAX}");
    }
    runtime()?.block_on(async {
        let listen = args.listen.or_else(|| file.listen.clone()).unwrap_or_else(|| defaults::SQL_LISTEN.into());
        let status_address = args.status.or_else(|| file.status.clone()).unwrap_or_else(|| defaults::SQL_STATUS.into());
        let data = args.data.or_else(|| file.data.clone()).unwrap_or_else(|| defaults::UP_DATA.into());
        let address = resolve(&listen, "listen").await?;
        // A port in use is said before any folder is touched.
        drop(
            tokio::net::TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {listen} (MySQL clients)"))?,
        );
        let status_listener = status::bind(&status_address).await?;
        data_folder(&data, Kind::Up)?;
        check_stores(&data, stores)?;

        let env = Env::real();
        let pd = role::pd::open(&data.join("pd"), env.clone(), file.pd_config()?).await?;
        let stop = CancellationToken::new();
        let keeper = tokio::spawn({
            let (pd, stop) = (pd.clone(), stop.clone());
            async move { pd.run(stop.cancelled_owned()).await }
        });
        let pd_rpc: Arc<dyn PdRpc> = Arc::new(LocalPd(pd.clone()));
        let opened = open_stores(&data, stores, &file, pd_rpc.clone(), &env).await?;
        let kv: Arc<dyn KvRpc> = Arc::new(LocalKv::new(opened.iter().map(|s| (s.node.id(), s.service.clone()))));
        let cluster = Cluster::connect(env, kv.clone(), pd_rpc.clone(), TsoMode::Direct).await?;
        wait_for_replicas(&cluster, (stores as usize).min(REPLICAS)).await?;

        let spill = data.join("spill");
        let _ = std::fs::remove_dir_all(&spill);
        let options = role::sql::options(address, &status_address, &file, spill, accounts)?;
        let server = SqlServer::start(cluster.clone(), options).await?;
        let admin = Admin { cluster_id: pd.cluster_id(), kv, pd: pd_rpc };
        let status = status::serve(status_listener, Status { role: "up", listen, admin: Some(admin) });
        tracing::info!(%address, status = %status_address, data = %data.display(), stores, "serving");
        say_hello(&server, &status_address);
        shutdown::requested().await?;
        server.shutdown().await;
        cluster.shutdown().await;
        for store in opened.iter().rev() {
            store.stop().await?;
        }
        stop.cancel();
        keeper.await?;
        status.abort();
        Ok(())
    })
}

/// A folder keeps its number of stores: regions have replicas on all of them.
fn check_stores(data: &std::path::Path, stores: u32) -> Result<()> {
    let there = (1..=STORES_MAX).take_while(|n| data.join(format!("store-{n}")).exists()).count() as u32;
    if there > stores {
        bail!("{} holds {there} stores: start it with --stores {there}", data.display());
    }
    Ok(())
}

async fn open_stores(
    data: &std::path::Path,
    stores: u32,
    file: &File,
    pd: Arc<dyn PdRpc>,
    env: &Env,
) -> Result<Vec<OpenStore>> {
    let raft = storage::raft_config(&file.storage)?;
    let transport = Arc::new(LocalTransport::new(raft.snapshot_chunk_bytes));
    let mut opened = Vec::new();
    for n in 1..=stores {
        let store = storage::open(StoreParams {
            folder: &data.join(format!("store-{n}")),
            settings: &file.storage,
            pd: pd.clone(),
            transport: transport.clone(),
            raft: raft.clone(),
            address: format!("in-process-{n}"),
            status_address: String::new(),
            env: env.clone(),
            guard: None,
        })
        .await?;
        transport.join(store.node.inbound().clone());
        opened.push(store);
    }
    Ok(opened)
}

/// With several stores, nothing is acknowledged before the first region has its replicas.
async fn wait_for_replicas(cluster: &Cluster, replicas: usize) -> Result<()> {
    for _ in 0..REPLICAS_WAIT_TRIES {
        let found = cluster.pd().region_at(bytes::Bytes::new()).await?;
        let voters =
            |r: &basalt_common::Region| r.peers.iter().filter(|p| p.role == basalt_common::PeerRole::Voter).count();
        if found.is_some_and(|r| voters(&r.region) >= replicas && r.leader.is_some()) {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    bail!("the first region did not get {replicas} replicas in time")
}

fn say_hello(server: &SqlServer, status: &str) {
    let address = server.address();
    // Who binds every address is reached on none of that name.
    let ip = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
    let port = address.port();
    let text = format!(
        "ready: mysql -h {ip} -P {port} -u root
try:   create table test.t (id int primary key, name varchar(20)); insert into test.t values (1, 'basalt');
       select * from test.t; show stores; explain analyze select count(*) from test.t;
       http://{status}/ has metrics and status; Ctrl-C stops"
    );
    role::say(&text);
}
