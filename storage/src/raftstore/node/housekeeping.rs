//! Gives back the disk space of raft logs.
//!
//! A region's log is cut, as far as its replicas are concerned, by an entry of its own; the disk gives up only what the
//! *flushed* apply state covers, because a restart applies everything above it again. An engine that is written little
//! flushes seldom, so when the log has grown too long, the engine is flushed. What is left of the cut part in files goes as
//! newer ones are merged with them; a store that is written no more has to see to that itself.

use super::{Driver, NodeParams};
use crate::engine::Engine;
use crate::raftlog::RaftLog;
use crate::raftstore::StoreError;
use crate::raftstore::handle::RaftHandle;
use crate::raftstore::keys;
use basalt_common::RegionId;
use std::sync::Arc;
use std::time::Duration;

/// Time between rounds.
const INTERVAL: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Housekeeper {
    handle: RaftHandle,
    engine: Arc<dyn Engine>,
    log: Arc<dyn RaftLog>,
    driver: Driver,
}

impl Housekeeper {
    pub(super) fn new(params: &NodeParams, handle: RaftHandle) -> Self {
        Housekeeper { handle, engine: params.engine.clone(), log: params.log.clone(), driver: params.driver.clone() }
    }

    /// Runs until aborted.
    pub(super) async fn run(self) {
        // How long the log was, and how long it was when its disk space was given back.
        let (mut before, mut reclaimed) = (0, 0);
        loop {
            tokio::time::sleep(INTERVAL).await;
            let peers = self.handle.status(None).await.unwrap_or_default();
            let regions: Vec<RegionId> = peers.iter().map(|p| p.region.id).collect();
            let (engine, log) = (self.engine.clone(), self.log.clone());
            let bytes_max = self.handle.config().log_flush_bytes;
            let bytes = self.log.disk_bytes();
            let reclaims = bytes > bytes_max && bytes == before && bytes != reclaimed;
            let round = move || {
                compact_logs(&*engine, &*log, &regions, bytes_max)?;
                if reclaims {
                    log.reclaim();
                }
                Ok::<_, StoreError>(())
            };
            let done = match self.driver {
                Driver::Threads => tokio::task::spawn_blocking(round).await.unwrap_or(Ok(())),
                Driver::Task(_) => round(),
            };
            if let Err(error) = done {
                tracing::warn!(%error, "raft logs cannot be cut");
            }
            before = bytes;
            if reclaims {
                reclaimed = self.log.disk_bytes();
            }
        }
    }
}

/// Removes from the log what a flushed apply state covers; flushes first when the log is longer than `bytes_max`.
///
/// # Errors
/// [`StoreError`] when the engine or the log fails.
pub fn compact_logs(
    engine: &dyn Engine,
    log: &dyn RaftLog,
    regions: &[RegionId],
    bytes_max: u64,
) -> Result<(), StoreError> {
    if log.disk_bytes() > bytes_max {
        engine.flush()?;
    }
    for &region in regions {
        if let Some(state) = keys::load_flushed_apply_state(engine, region)? {
            log.compact(region, state.truncated_index + 1)?;
        }
    }
    Ok(())
}
