//! One change of one region as visible steps.

use crate::cluster::RegionInfo;
use basalt_common::env::Monotonic;
use basalt_common::{Peer, PeerRole, StoreId, UserKey};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// What a leader is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Adds the peer, as a learner, or as a voter if the learner is there.
    AddPeer(Peer),
    /// Removes the peer.
    RemovePeer(Peer),
    /// Hands leadership to the peer.
    TransferLeader(Peer),
    /// Splits at the keys.
    Split(Vec<UserKey>),
}

/// What a heartbeat means for an operator.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The leader is to do this.
    Do(Step),
    /// Something has to happen by itself first: this peer catches up.
    Wait(Peer),
    /// Every step is done.
    Finished,
    /// The time is over.
    TimedOut,
    /// The region has changed so that the next step cannot be done any more.
    Impossible,
}

/// The reason of an operator that somebody ordered.
pub const BY_HAND: &str = "by hand";

/// Steps on one region.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// Why.
    pub reason: &'static str,
    /// What is left to do, in order.
    pub steps: VecDeque<Step>,
    /// When it is given up.
    pub deadline: Monotonic,
    /// The region's version when it was made; a split is done when it is higher.
    version: u64,
    /// The store that led when it was made.
    leader_store: Option<StoreId>,
}

impl Operator {
    /// An operator made now for the region as it is.
    pub fn new(
        reason: &'static str,
        steps: impl IntoIterator<Item = Step>,
        info: &RegionInfo,
        now: Monotonic,
        timeout: Duration,
    ) -> Operator {
        Operator {
            reason,
            steps: steps.into_iter().collect(),
            deadline: now.after(timeout),
            version: info.region.epoch.version,
            leader_store: info.leader.map(|l| l.store_id),
        }
    }

    /// Drops the steps that the region shows as done, and says what comes next.
    pub fn advance(&mut self, info: &RegionInfo, now: Monotonic) -> Progress {
        while self.steps.front().is_some_and(|step| self.is_done(step, info)) {
            self.steps.pop_front();
        }
        match self.steps.front() {
            None => Progress::Finished,
            Some(_) if now > self.deadline => Progress::TimedOut,
            Some(step) if !self.is_possible(step, info) => Progress::Impossible,
            Some(Step::AddPeer(peer)) if peer.role == PeerRole::Voter && info.is_unhealthy(peer) => {
                Progress::Wait(*peer)
            }
            Some(Step::TransferLeader(peer)) if info.is_unhealthy(peer) => Progress::Wait(*peer),
            Some(step) => Progress::Do(step.clone()),
        }
    }

    fn is_possible(&self, step: &Step, info: &RegionInfo) -> bool {
        match step {
            Step::AddPeer(peer) => {
                let elsewhere = info.region.peer_on(peer.store_id).is_some_and(|there| there.id != peer.id);
                // What PD promotes was a learner; somebody removed it.
                let is_there = info.region.peer(peer.id).is_some();
                !elsewhere && (peer.role == PeerRole::Learner || is_there || self.reason == BY_HAND)
            }
            Step::RemovePeer(peer) => info.leader.is_none_or(|leader| leader.id != peer.id),
            Step::TransferLeader(peer) => info.region.peer(peer.id).is_some_and(|p| p.role == PeerRole::Voter),
            Step::Split(_) => true,
        }
    }

    fn is_done(&self, step: &Step, info: &RegionInfo) -> bool {
        match step {
            Step::AddPeer(peer) => info
                .region
                .peer(peer.id)
                .is_some_and(|present| present.role == peer.role || present.role == PeerRole::Voter),
            Step::RemovePeer(peer) => info.region.peer(peer.id).is_none(),
            Step::TransferLeader(peer) => info.leader.is_some_and(|l| l.id == peer.id),
            Step::Split(_) => info.region.epoch.version > self.version,
        }
    }

    /// True if a learner is still to be added on the store.
    pub fn adds_to(&self, store: StoreId) -> bool {
        self.steps.iter().any(|s| matches!(s, Step::AddPeer(p) if p.store_id == store))
    }

    /// From which store to which leadership is still to go.
    pub fn leader_move(&self) -> Option<(StoreId, StoreId)> {
        self.steps.iter().find_map(|s| match s {
            Step::TransferLeader(to) => Some((self.leader_store?, to.store_id)),
            _ => None,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::AddPeer(p) => match p.role {
                PeerRole::Learner => write!(f, "add learner {} on store {}", p.id, p.store_id),
                PeerRole::Voter => write!(f, "promote {} on store {}", p.id, p.store_id),
            },
            Step::RemovePeer(p) => write!(f, "remove {} from store {}", p.id, p.store_id),
            Step::TransferLeader(p) => write!(f, "transfer leader to {} on store {}", p.id, p.store_id),
            Step::Split(keys) => write!(f, "split at {} keys", keys.len()),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.reason)?;
        for (i, step) in self.steps.iter().enumerate() {
            write!(f, "{} {step}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
