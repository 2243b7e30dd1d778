//! The worker of one store: collects in the regions that it leads, and compacts what was deleted in all that it has.

use crate::engine::{Engine, EngineRange};
use crate::error::Error;
use crate::raftstore::StoreError;
use crate::raftstore::delegate::ReadDelegate;
use crate::raftstore::keys;
use crate::raftstore::node::{Driver, Node};
use crate::replicated::RegionCtx;
use crate::txn::Scheduler;
use basalt_common::env::{Env, Monotonic};
use basalt_common::metrics;
use basalt_common::{Region, RegionId, Timestamp};
use basalt_proto::raft::GcState;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at what there is to do.
const POLL: Duration = Duration::from_secs(1);
/// A region is looked through when so many records of it, in a thousand, were written since the last time.
const UNWALKED_PER_MILLE: u64 = 60;
/// A region of which any were written is looked through after this time.
const WALK_AFTER: Duration = Duration::from_secs(3_600);
/// Deletions after which a region is compacted.
const COMPACT_AFTER: u64 = 8_192;
/// More of them are not waited for, though they go on.
const COMPACT_AT: u64 = 32 * COMPACT_AFTER;
/// After each page the foreground has the store to itself for at least this part of the time that the page took.
const REST_PART: u32 = 1;

/// See [`crate::gc`].
pub struct Collector {
    node: Arc<Node>,
    scheduler: Arc<Scheduler>,
    engine: Arc<dyn Engine>,
    env: Env,
    driver: Driver,
    regions: BTreeMap<RegionId, Known>,
}

/// What this process knows of a region here.
#[derive(Default)]
struct Known {
    /// When it was looked through last, up to where, and how many records it had.
    walked: Option<(Monotonic, Timestamp, u64)>,
    /// How many records had been deleted when it was compacted last, and at the last look.
    compacted: u64,
    deleted: u64,
}

impl Known {
    /// Whether a walk up to `ts` would find enough.
    fn is_due(&self, state: &GcState, ts: Timestamp, now: Monotonic) -> bool {
        match self.walked {
            _ if state.unwalked == 0 => false,
            None => ts.0 > state.collected_to,
            Some((_, to, _)) if to >= ts => false,
            Some((at, _, records)) => {
                state.unwalked.saturating_mul(1_000) >= records.saturating_mul(UNWALKED_PER_MILLE)
                    || now.since(at) >= WALK_AFTER
            }
        }
    }
}

impl Collector {
    /// A worker over a store's parts.
    pub fn new(node: Arc<Node>, scheduler: Arc<Scheduler>, engine: Arc<dyn Engine>, env: Env, driver: Driver) -> Self {
        Collector { node, scheduler, engine, env, driver, regions: BTreeMap::new() }
    }

    /// Runs until aborted.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(POLL).await;
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "garbage collection cannot read the regions' states");
            }
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let collect_to = self.node.collect_to();
        let mut here = Vec::new();
        for delegate in self.node.handle().delegates().all() {
            let region = delegate.region();
            let state =
                keys::load_apply_state(&*self.engine, region.id)?.and_then(|state| state.gc).unwrap_or_default();
            here.push((delegate, region, state));
        }
        // The most garbage first; ties by id, since delegates come in no order.
        here.sort_by_key(|(_, region, state)| (Reverse(state.unwalked), region.id));
        let present: BTreeSet<RegionId> = here.iter().map(|(_, region, _)| region.id).collect();
        self.regions.retain(|id, _| present.contains(id));
        let now = self.env.now();
        for (delegate, region, state) in here {
            let known = self.regions.entry(region.id).or_insert_with(|| Known {
                compacted: state.deleted,
                deleted: state.deleted,
                ..Known::default()
            });
            // A snapshot or another peer may have begun anew.
            known.compacted = known.compacted.min(state.deleted);
            let (since, is_quiet) = (state.deleted - known.compacted, state.deleted == known.deleted);
            known.deleted = state.deleted;
            if since >= COMPACT_AT || (since >= COMPACT_AFTER && is_quiet) {
                known.compacted = state.deleted;
                self.compact(&region).await;
            }
            let known = self.regions.get(&region.id);
            let is_due = known.is_some_and(|known| known.is_due(&state, collect_to, now));
            if delegate.term() != 0 && !region.peers.is_empty() && is_due {
                self.collect(&delegate, &region, collect_to).await;
            }
        }
        Ok(())
    }

    async fn collect(&mut self, delegate: &ReadDelegate, region: &Region, collect_to: Timestamp) {
        let ctx = RegionCtx { region_id: region.id, epoch: region.epoch, peer_id: delegate.peer_id, deadline: None };
        match self.walk(&ctx, collect_to).await {
            Ok(records) => {
                if let Some(known) = self.regions.get_mut(&region.id) {
                    known.walked = Some((self.env.now(), collect_to, records));
                }
            }
            // A leader that is none any more, a split: the next round begins again.
            Err(Error::Region(error)) => tracing::debug!(region = %region.id, %error, "garbage is not collected now"),
            Err(Error::Key(error)) => tracing::warn!(region = %region.id, %error, "garbage cannot be collected"),
        }
    }

    /// Collects in a whole region; says how many records it left, about.
    async fn walk(&self, ctx: &RegionCtx, collect_to: Timestamp) -> Result<u64, Error> {
        self.scheduler.forget_below(ctx, collect_to).await?;
        // Before the first page is read: what comes later counts for the next walk.
        let state = keys::load_apply_state(&*self.engine, ctx.region_id).ok().flatten().and_then(|state| state.gc);
        let walked = state.map_or(0, |state| state.unwalked);
        let (mut from, mut records, mut left, mut deleted) = (None, 0, 0, 0);
        loop {
            let began = self.env.now();
            let page = self.scheduler.collect_page(ctx, from.as_ref(), (walked, left)).await?;
            (records, left, deleted) = (records + page.records, left + page.left, deleted + page.changes);
            metrics::GC_RECORDS.with_label_values(&["seen"]).inc_by(page.records);
            metrics::GC_RECORDS.with_label_values(&["deleted"]).inc_by(page.changes);
            from = page.next;
            if from.is_none() {
                break;
            }
            tokio::time::sleep(self.env.now().since(began) * REST_PART).await;
        }
        if deleted > 0 {
            tracing::debug!(region = %ctx.region_id, records, deleted, "collected garbage");
        }
        Ok(records.saturating_sub(deleted))
    }

    async fn compact(&self, region: &Region) {
        let (engine, range) = (self.engine.clone(), EngineRange::from(&region.range));
        let work = move || engine.compact_range(&range);
        match self.driver {
            Driver::Threads => drop(tokio::task::spawn_blocking(work).await),
            Driver::Task(_) => work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_without_garbage_are_left_alone() {
        let state = |unwalked| GcState { unwalked, ..GcState::default() };
        let at = |secs| Monotonic(Duration::from_secs(secs).as_nanos() as u64);
        let never = Known::default();
        assert!(never.is_due(&state(1), Timestamp(5), at(0)) && !never.is_due(&state(0), Timestamp(5), at(0)));
        assert!(!never.is_due(&state(1), Timestamp::ZERO, at(0)), "nobody has said how far");
        let walked = Known { walked: Some((at(10), Timestamp(5), 1_000)), ..Known::default() };
        assert!(!walked.is_due(&state(9_999), Timestamp(5), at(11)), "nothing more may go");
        assert!(!walked.is_due(&state(59), Timestamp(6), at(11)), "too little for a walk");
        assert!(walked.is_due(&state(60), Timestamp(6), at(11)));
        assert!(
            walked.is_due(&state(1), Timestamp(6), at(3_610)) && !walked.is_due(&state(0), Timestamp(6), at(9_000))
        );
    }
}
