//! Deadlocks over several stores: tells PD who waits here, while somebody does, and ends the waits that PD finds in circles.

use super::scheduler::Scheduler;
use crate::raftstore::node::pd::PdCaller;
use basalt_common::StoreId;
use basalt_proto::pd::{LockWaitsRequest, pd_request, pd_response};
use std::sync::Arc;
use std::time::Duration;

/// How often PD is told. A wait counts there when it was told twice, so that a circle lives for two or three times as long.
const REPORT: Duration = Duration::from_millis(25);
/// How long PD is left alone after it did not answer.
const PD_AWAY: Duration = Duration::from_millis(500);

/// Runs until aborted.
pub async fn report_waits(scheduler: Arc<Scheduler>, pd: PdCaller, store: StoreId) {
    let mut has_told = false;
    loop {
        if !has_told {
            scheduler.waits.until_any().await;
        }
        // Most waits are over before anybody needs to know.
        tokio::time::sleep(REPORT).await;
        let waits = scheduler.waits.told();
        if waits.is_empty() && !has_told {
            continue;
        }
        has_told = !waits.is_empty();
        match pd.call(pd_request::Cmd::LockWaits(LockWaitsRequest { store_id: store.0, waits })).await {
            Ok(pd_response::Cmd::LockWaits(answer)) => scheduler.waits.end_victims(answer.victims),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "PD does not hear who waits for whom");
                tokio::time::sleep(PD_AWAY).await;
            }
        }
    }
}
