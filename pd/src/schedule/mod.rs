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
//! remove what is too much; a region never has fewer voters that live on the way than before. [`balance`] spreads leaders.
//! [`retire`] says whether a store may be given up.
//! Limits: one operator a region, few additions a store and few leader moves at a time ([`crate::PdConfig`]).
//!
//! An operator remembers nothing of the epoch: each step is checked against the region that the heartbeat shows, and the
//! answer carries that region's epoch, with which the leader refuses what came too late.

pub mod balance;
pub mod checker;
pub mod operator;
pub mod retire;

use crate::cluster::{Cluster, RegionInfo};
use crate::config::PdConfig;
use basalt_common::env::Monotonic;
use basalt_common::{PeerId, PeerRole, RegionId, StoreId};
pub use operator::{BY_HAND, Operator, Progress, Step};
use std::collections::BTreeMap;
use std::time::Duration;

/// Every operator under way. Pure: `now` and fresh peer ids come from the caller.
#[derive(Debug, Default)]
pub struct Scheduler {
    operators: BTreeMap<RegionId, Operator>,
    /// Where a learner of a region was given up, and when.
    failures: BTreeMap<(RegionId, StoreId), Monotonic>,
}

/// How long another store is preferred to one where a learner was given up.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(600);

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
        self.failures.retain(|(id, _), _| *id != region);
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
                Progress::Wait(peer) if checker::is_store_lost(cluster, peer.store_id, cfg, now) => {
                    tracing::warn!(%region, %operator, "operator given up, its store is gone");
                }
                Progress::Wait(_) => return None,
                Progress::Finished => tracing::info!(%region, %operator, "operator finished"),
                Progress::TimedOut => tracing::warn!(%region, %operator, "operator timed out"),
                Progress::Impossible => tracing::info!(%region, %operator, "operator given up, the region has changed"),
            }
            self.operators.remove(&region);
        }
        let operator = checker::check(cluster, self, info, cfg, now, fresh_peer_id)
            .or_else(|| balance::check(cluster, self, info, cfg, now))?;
        for step in &operator.steps {
            if let Step::RemovePeer(peer) = step
                && peer.role == PeerRole::Learner
                && info.is_unhealthy(peer)
            {
                tracing::warn!(%region, store = %peer.store_id, "a learner that does not catch up is given up");
                self.failures.retain(|_, at| now.since(*at) < FAILURE_REMEMBERED);
                self.failures.insert((region, peer.store_id), now);
            }
        }
        self.install(region, operator);
        match self.operators.get_mut(&region)?.advance(info, now) {
            Progress::Do(step) => Some(step),
            _ => None,
        }
    }

    /// Additions under way to a store. What is past its time holds no place: its region may not be heard of any more.
    fn adds_to(&self, store: StoreId, now: Monotonic) -> usize {
        self.operators.values().filter(|o| now <= o.deadline && o.adds_to(store)).count()
    }

    /// Whether a learner of the region was given up on the store not long ago.
    fn failed_lately(&self, region: RegionId, store: StoreId, now: Monotonic) -> bool {
        self.failures.get(&(region, store)).is_some_and(|at| now.since(*at) < FAILURE_REMEMBERED)
    }

    /// Leader moves under way.
    fn leader_moves(&self, now: Monotonic) -> impl Iterator<Item = (StoreId, StoreId)> {
        self.operators.values().filter(move |o| now <= o.deadline).filter_map(Operator::leader_move)
    }
}
