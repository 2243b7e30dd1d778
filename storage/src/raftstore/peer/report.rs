//! How the peer looks from outside: to tools, to PD, and in its own doubts whether it still is one of its region.

use super::Peer;
use crate::config::RaftConfig;
use crate::raftstore::message::PeerStatus;
use crate::raftstore::store::{Effects, PdEvent};
use basalt_common::env::Monotonic;
use basalt_common::{Peer as RegionPeer, Region};
use std::time::Duration;

/// Between two questions of one peer whether it is still one of its region.
const MEMBERSHIP_ASK_INTERVAL: Duration = Duration::from_secs(5);

impl Peer {
    /// How the peer looks from outside.
    pub fn status(&self, now: Monotonic, config: &RaftConfig) -> PeerStatus {
        PeerStatus {
            region: self.region.clone(),
            peer_id: self.peer_id,
            leader: self.leader(),
            is_leader: self.is_leader(),
            term: self.node.raft.term,
            applied_index: self.applied_index,
            first_index: self.node.store().truncated_index() + 1,
            last_index: self.node.raft.raft_log.last_index(),
            hash: self.hash,
            successors: self.successors(now, config),
        }
    }

    /// Asks PD whether this peer is still one of its region, now and then.
    pub fn ask_membership(&mut self, now: Monotonic, out: &mut Effects) {
        let lately = self.asked.is_some_and(|asked| now.since(asked) < MEMBERSHIP_ASK_INTERVAL);
        if !lately && !self.leaving {
            self.asked = Some(now);
            out.pd.push(PdEvent::AsksMembership { region_id: self.region.id, peer_id: self.peer_id });
        }
    }

    /// Whether `region`, whose peers are committed, has gone on without this peer. A peer's id is never used again, and
    /// regions of one `conf_ver` have the same peers.
    pub fn is_removed_from(&self, region: &Region) -> bool {
        let known = if self.is_initialized() { self.region.epoch.conf_ver } else { self.conf_ver_heard };
        // On its way out, it is needed for the quorum until the joint configuration is left.
        !self.node.store().conf_state().voters_outgoing.contains(&self.peer_id.0)
            && known > 0
            && region.epoch.conf_ver >= known
            && region.peer(self.peer_id).is_none()
    }

    /// Reports to PD.
    pub fn report(&mut self, now: Monotonic, config: &RaftConfig, out: &mut Effects) {
        if !self.is_leader() {
            return;
        }
        self.last_heartbeat = Some(now);
        let Some(leader) = self.region.peer(self.peer_id) else { return };
        let silent = |p: &&RegionPeer| {
            let heard = self.heard.get(&p.id).map_or(Duration::ZERO, |&at| now.since(at));
            p.id != self.peer_id && heard > config.peer_down_after
        };
        let down = self.region.peers.iter().filter(silent).copied().collect();
        let truncated = self.node.store().truncated_index();
        let behind = |p: &&RegionPeer| self.node.raft.prs().get(p.id.0).is_none_or(|pr| pr.matched <= truncated.max(1));
        let pending = self.region.peers.iter().filter(|p| p.id != self.peer_id).filter(behind).copied().collect();
        out.reports.push(PdEvent::Heartbeat {
            region: self.region.clone(),
            leader,
            term: self.node.raft.term,
            down,
            pending,
            written_bytes: std::mem::take(&mut self.written_bytes),
        });
    }
}
