//! Room on the disk: a server does not start without any, and a store that is running out of it refuses writes in time.
//!
//! A store cannot go on after a write of its raft log failed, so it must not meet the end of the disk. While less than the
//! reserve is free it takes no new writes; reads, commits and rollbacks go on, and compaction has room to make more. It hands
//! its regions to stores that have room, where there are such. When somebody has made room, writes are taken again.

use crate::shutdown::HAND_OVER;
use anyhow::{Result, bail};
use basalt_storage::raftstore::node::Node;
use basalt_storage::service::StoreService;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Room that must be free for a server to start: it writes before it serves.
const START_BYTES_MIN: u64 = 4 << 20;
/// Room below which a store takes no new writes, unless the settings say otherwise.
pub const RESERVE_BYTES: u64 = 256 << 20;
/// How often the room is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Bytes that may still be written under a path.
fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes of the files in a folder, as far as they can be seen: for the log.
pub fn held_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let held = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => held_bytes(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(held).sum()
}

/// Refuses a disk without room.
pub fn check_start(path: &Path) -> Result<()> {
    match free_bytes(path) {
        Ok(free) if free < START_BYTES_MIN => bail!(
            "no space left for {}: {} KiB are free, {} KiB are needed to start",
            path.display(),
            free >> 10,
            START_BYTES_MIN >> 10
        ),
        _ => Ok(()),
    }
}

/// Looks at the disk now, and again and again until the returned task is aborted.
pub fn watch(
    folder: PathBuf,
    reserve: u64,
    service: Arc<StoreService>,
    node: Arc<Node>,
) -> tokio::task::JoinHandle<()> {
    let mut watch = Watch { folder, reserve, service, node, full: false };
    watch.look();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            if watch.look() {
                // Once, and at once; from then on PD sees to it, who knows which other stores have room.
                watch.node.hand_over(HAND_OVER).await;
            }
        }
    })
}

struct Watch {
    folder: PathBuf,
    reserve: u64,
    service: Arc<StoreService>,
    node: Arc<Node>,
    full: bool,
}

impl Watch {
    /// True if the disk is full now and was not before.
    fn look(&mut self) -> bool {
        let free = match free_bytes(&self.folder) {
            Ok(free) => free,
            Err(error) => {
                tracing::debug!(%error, folder = %self.folder.display(), "cannot see how much room is left");
                return false;
            }
        };
        // There must be some more room than that before writes are taken again, so that it does not go to and fro.
        let full = free < self.reserve + if self.full { self.reserve / 4 } else { 0 };
        if full == self.full {
            return false;
        }
        self.full = full;
        self.service.set_disk_full(full);
        self.node.set_leads_nothing(full);
        let (folder, free_mib, reserve_mib) = (self.folder.display(), free >> 20, self.reserve >> 20);
        match full {
            true => {
                tracing::error!(%folder, free_mib, reserve_mib, "the disk is full: writes are refused until there is room")
            }
            false => {
                tracing::warn!(%folder, free_mib, reserve_mib, "there is room on the disk again: writes are taken")
            }
        }
        full
    }
}
