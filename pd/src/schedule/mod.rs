//! What PD wants changed, and how it gets there.
//!
//! PD calls nobody. When a region's leader sends its heartbeat, PD answers with at most one step; the leader does it, and
//! its next heartbeat shows that it is done. An *operator* is a short list of such steps on one region with a reason and
//! a time limit, visible to whoever asks.
//!
//! ```text
//!  heartbeat ──▶ operator of the region? ─yes─▶ drop the steps that are done ──▶ next step, or finished, or timed out
//!                        │ no
//!                        ▼
//!               replica checker ──▶ leader balance ──▶ nothing to do
//! ```
//!
//! [`checker`] brings a region to its number of voters: add a learner, promote it once it is caught up, and only then
//! remove what is too much; a region never has fewer voters on the way than before. [`balance`] spreads leaders.
//! Limits: one operator a region, few additions a store and few leader moves at a time ([`crate::PdConfig`]).
//!
//! An operator remembers nothing of the epoch: each step is checked against the region that the heartbeat shows, and the
//! answer carries that region's epoch, with which the leader refuses what came too late.

pub mod balance;
pub mod checker;
pub mod operator;

use crate::cluster::{Cluster, RegionInfo};
use crate::config::PdConfig;
use basalt_common::env::Monotonic;
use basalt_common::{PeerId, RegionId, StoreId};
pub use operator::{Operator, Progress, Step};
use std::collections::BTreeMap;

/// Every operator under way. Pure: `now` and fresh peer ids come from the caller.
#[derive(Debug, Default)]
pub struct Scheduler {
    operators: BTreeMap<RegionId, Operator>,
}

impl Scheduler {
    /// Puts an operator on a region, in place of one that is there.
    pub fn install(&mut self, region: RegionId, operator: Operator) {
        tracing::info!(%region, %operator, "operator starts");
        self.operators.insert(region, operator);
    }

    /// Operators under way, by region.
    pub fn operators(&self) -> impl Iterator<Item = (&RegionId, &Operator)> {
        self.operators.iter()
    }

    /// Forgets operators of regions that are no more.
    pub fn forget(&mut self, region: RegionId) {
        self.operators.remove(&region);
    }

    /// What the leader of a region is to do now. `fresh_peer_id` is used for a new peer, if one is needed.
    pub fn on_heartbeat(
        &mut self,
        cluster: &Cluster,
        info: &RegionInfo,
        cfg: &PdConfig,
        now: Monotonic,
        fresh_peer_id: &mut dyn FnMut() -> Option<PeerId>,
    ) -> Option<Step> {
        let region = info.region.id;
        if let Some(operator) = self.operators.get_mut(&region) {
            match operator.advance(info, now) {
                Progress::Do(step) => return Some(step),
                Progress::Wait => return None,
                Progress::Finished => tracing::info!(%region, %operator, "operator finished"),
                Progress::TimedOut => tracing::warn!(%region, %operator, "operator timed out"),
            }
            self.operators.remove(&region);
        }
        let operator = checker::check(cluster, self, info, cfg, now, fresh_peer_id)
            .or_else(|| balance::check(cluster, self, info, cfg, now))?;
        self.install(region, operator);
        match self.operators.get_mut(&region)?.advance(info, now) {
            Progress::Do(step) => Some(step),
            _ => None,
        }
    }

    /// Additions under way to a store.
    fn adds_to(&self, store: StoreId) -> usize {
        self.operators.values().filter(|o| o.adds_to(store)).count()
    }

    /// Leader moves under way.
    fn leader_moves(&self) -> impl Iterator<Item = (StoreId, StoreId)> {
        self.operators.values().filter_map(Operator::leader_move)
    }
}
