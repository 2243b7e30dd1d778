//! Garbage collection's part in the order of commands: a mark is raised, and then every command ends that may not know it.

use super::scheduler::Scheduler;
use crate::collected::Collected;
use crate::engine::EngineRange;
use crate::error::{Error, RegionError};
use crate::mvcc::garbage::{GarbagePage, PageLimits, Place, garbage_page};
use crate::replicated::{RegionCtx, ReplicatedWrite};
use basalt_common::Timestamp;
use basalt_proto::raft::GcStep;

/// Looked at and taken in one command.
const PAGE: PageLimits = PageLimits { records: 8_192, changes: 2_048, bytes: 1 << 20 };

impl Scheduler {
    /// Closes a region to readers and new locks below `safe_point`. At `Ok` no command that began before can still write a
    /// lock below it.
    ///
    /// # Errors
    /// Of the region; [`RegionError::ServerIsBusy`] when commands before it do not end in time.
    pub async fn close_below(&self, ctx: &RegionCtx, safe_point: Timestamp) -> Result<(), Error> {
        let step = GcStep { safe_point: safe_point.0, ..GcStep::default() };
        self.raise(ctx, |known| known.safe_point >= safe_point, step).await
    }

    /// Says no more about transactions below `ts`, which have no locks any more. At `Ok` no command that began before can
    /// still write a record below it.
    ///
    /// # Errors
    /// As [`Scheduler::close_below`].
    pub async fn forget_below(&self, ctx: &RegionCtx, ts: Timestamp) -> Result<(), Error> {
        let step = GcStep { collected_to: ts.0, ..GcStep::default() };
        self.raise(ctx, |known| known.collected_to >= ts, step).await
    }

    async fn raise(&self, ctx: &RegionCtx, is_done: impl Fn(Collected) -> bool, step: GcStep) -> Result<(), Error> {
        let snapshot = self.replicated.snapshot(ctx).await?;
        if !is_done(snapshot.collected) {
            let write = ReplicatedWrite { modifies: Vec::new(), term: snapshot.term, gc: Some(step) };
            self.replicated.write(ctx, write).await?;
        }
        drop(snapshot);
        // Also if another has raised it: this store may have begun to lead since then.
        let passed = tokio::time::timeout(self.wait_max(ctx), self.latches.pass_all()).await;
        passed.map_err(|_| {
            RegionError::ServerIsBusy { reason: "latches", backoff: super::scheduler::BUSY_BACKOFF }.into()
        })
    }

    /// Deletes a page of what nobody at or above `collected_to` reads, from a place or the region's start on;
    /// of the last page the step goes with it, with what this walk has `left`.
    ///
    /// # Errors
    /// Of the region, or of its data.
    pub(crate) async fn collect_page(
        &self,
        ctx: &RegionCtx,
        from: Option<&Place>,
        (walked, left): (u64, u64),
    ) -> Result<GarbagePage, Error> {
        let snapshot = self.replicated.snapshot(ctx).await?;
        let range = EngineRange::from(&snapshot.region.range);
        let mut page = garbage_page(&*snapshot.data, &range, from, snapshot.collected.collected_to, PAGE)?;
        let is_last = page.next.is_none();
        let modifies = std::mem::take(&mut page.modifies);
        page.changes = modifies.len() as u64;
        let step = match is_last {
            true => GcStep { walked, left: left + page.left, ..GcStep::default() },
            false => GcStep::default(),
        };
        if !modifies.is_empty() || step != GcStep::default() {
            let write = ReplicatedWrite { modifies, term: snapshot.term, gc: Some(step) };
            drop(snapshot);
            self.replicated.write(ctx, write).await?;
        }
        Ok(page)
    }
}
