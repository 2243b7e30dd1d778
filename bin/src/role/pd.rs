//! `basalt pd`: one placement driver.

use super::network::bind;
use super::{Kind, data_folder, runtime, say_ready};
use crate::config::{File, defaults};
use crate::status::{self, Status};
use crate::{cli, logging, shutdown};
use anyhow::{Context, Result};
use basalt_common::env::Env;
use basalt_pd::grpc::PdGrpc;
use basalt_pd::meta_store::rocks::RocksMetaStore;
use basalt_pd::{PdConfig, PdService};
use basalt_proto::serve::serve;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Opens PD on a folder.
pub async fn open(folder: &Path, env: Env, config: PdConfig) -> Result<Arc<PdService>> {
    data_folder(folder, Kind::Pd)?;
    let store = RocksMetaStore::open(folder).with_context(|| format!("PD cannot use {}", folder.display()))?;
    PdService::open(env, Arc::new(store), config).await.context("PD cannot start")
}

/// Runs the role until it is asked to stop.
pub fn run(args: cli::Pd) -> Result<()> {
    let file = File::load(args.common.config.as_deref())?;
    logging::init(&args.common, &file)?;
    let config = file.pd_config()?;
    runtime()?.block_on(async {
        let listen = args.listen.or(file.listen).unwrap_or_else(|| defaults::PD_LISTEN.into());
        let status_address = args.status.or(file.status).unwrap_or_else(|| defaults::PD_STATUS.into());
        let data = args.data.or(file.data).unwrap_or_else(|| defaults::PD_DATA.into());
        let listener = bind(&listen, args.trusted_network || file.trusted_network).await?;
        let status_listener = status::bind(&status_address).await?;
        let service = open(&data, Env::real(), config).await?;
        let stop = CancellationToken::new();
        let keeper = tokio::spawn({
            let (service, stop) = (service.clone(), stop.clone());
            async move { service.run(stop.cancelled_owned()).await }
        });
        let status = status::serve(status_listener, Status { role: "pd", listen: listen.clone(), admin: None });
        let routes = PdGrpc::routes(service, stop.clone());
        let server = tokio::spawn(serve(routes, listener, stop.clone().cancelled_owned()));
        tracing::info!(%listen, status = %status_address, data = %data.display(), "serving");
        say_ready(&format!("pd on {listen}"));
        shutdown::requested().await?;
        stop.cancel();
        let _ = tokio::time::timeout(shutdown::GRACE, server).await;
        keeper.await?;
        status.abort();
        Ok(())
    })
}
