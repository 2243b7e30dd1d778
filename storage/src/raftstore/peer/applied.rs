//! What apply has done: answers to proposals, changes of the region, and the log's cut behind it.

use super::Peer;
use crate::config::RaftConfig;
use crate::error::RegionError;
use crate::raftlog::RegionAppend;
use crate::raftstore::apply::Change;
use crate::raftstore::message::Reply;
use crate::raftstore::store::Effects;
use crate::replicated::RegionCtx;
use basalt_common::Region;
use basalt_common::env::Monotonic;
use basalt_proto::raft::{AdminCommand, admin_command};
use raft::Storage;
use raft::eraftpb::ConfChangeV2;
use std::sync::Arc;

impl Peer {
    /// Moves the applied index. Returns the changes that concern the store.
    pub fn on_applied(
        &mut self,
        applied: crate::raftstore::apply::Applied,
        now: Monotonic,
        config: &RaftConfig,
        out: &mut Effects,
    ) -> Vec<Change> {
        let mut for_store = Vec::new();
        for change in applied.changes {
            match change {
                Change::Conf { change, region } => self.on_conf_change(&change, region, out),
                Change::Truncated { index, term } => {
                    self.log_bytes = 0;
                    self.node.mut_store().truncate(index, term);
                }
                Change::Hashed(hash) => self.hash = Some(hash),
                Change::Split { left, right, gc } => {
                    self.set_region(left.clone());
                    for_store.push(Change::Split { left, right, gc });
                }
                Change::Restored { region, index, term, conf_state } => {
                    self.on_restored(region.clone(), (index, term, conf_state), out);
                    for_store.push(Change::Restored { region, index, term, conf_state: Default::default() });
                }
                Change::RestoreRefused(standing) => {
                    self.refused = Some(standing);
                    for_store.push(Change::RestoreRefused(None));
                }
                Change::Exported => for_store.push(Change::Exported),
                Change::Removed => {
                    self.leaving = true;
                    self.fail_all();
                    for_store.push(Change::Removed);
                }
            }
        }
        if self.leaving || self.restoring.is_some() {
            return for_store;
        }
        if applied.index > self.applied_index {
            let first_of_term = self.applied_term != self.node.raft.term;
            self.applied_index = applied.index;
            self.applied_term = applied.term;
            self.node.advance_apply_to(applied.index);
            if self.is_leader() && first_of_term && applied.term == self.node.raft.term {
                self.delegate.lead(applied.term);
            }
            self.node.mut_store().evict(applied.index, config.entry_cache_bytes_max);
        }
        if self.is_leader() && self.is_alone() {
            self.renew_lease(now, now, config);
        }
        self.grant_reads();
        for_store
    }

    pub(super) fn set_region(&mut self, region: Arc<Region>) {
        self.delegate.set_region(region.clone());
        self.region = region;
        self.node.mut_store().forget_snapshot();
        self.last_heartbeat = None;
    }

    pub(super) fn on_conf_change(&mut self, change: &ConfChangeV2, region: Option<Arc<Region>>, out: &mut Effects) {
        // A snapshot that raft has taken brings the peers of a later moment. This change is covered by it, and made after it
        // would undo what followed.
        if self.snapshot_taken().is_none() {
            match self.node.apply_conf_change(change) {
                Ok(conf_state) => self.node.mut_store().set_conf_state(conf_state),
                Err(error) => {
                    tracing::error!(region = %self.region.id, %error, "raft refused a committed change of peers");
                }
            }
        }
        // What PD and others do on hearing of this must be found by a restart.
        let state = Some(self.local_state());
        out.persist_region(self.region.id, RegionAppend { reset: false, entries: Vec::new(), state });
        if let Some(region) = region {
            self.heard.retain(|id, _| region.peer(*id).is_some());
            // In a joint configuration the voters on their way out are still sent to.
            let leaving = self.region.peers.iter().filter(|p| region.peer(p.id).is_none());
            self.strangers.extend(leaving.map(|p| (p.id, *p)));
            self.set_region(region);
        }
        if self.is_leader() {
            self.delegate.drop_lease();
            out.touched.insert(self.region.id);
        }
    }

    /// Answers everybody who waits: the peer goes away.
    pub fn fail_all(&mut self) {
        self.delegate.lead(0);
        for lost in self.proposed.drain(..) {
            lost.reply.fail(RegionError::Undetermined);
        }
        let rounds = self.read_rounds.drain(..).flat_map(|r| r.waiters);
        for waiter in rounds.chain(self.reads_waiting.drain(..)).chain(self.reads_confirmed.drain(..).map(|(_, w)| w)) {
            waiter.reply.send(Err(RegionError::RegionNotFound(self.region.id)));
        }
    }

    /// Cuts the log behind the slowest follower that is not too far behind.
    pub(super) fn propose_compaction(&mut self, now: Monotonic, config: &RaftConfig) {
        let first = self.node.store().truncated_index() + 1;
        let applied = self.applied_index;
        let is_short = applied < first + config.log_entries_max && self.log_bytes < config.log_bytes_max;
        if is_short || self.restoring.is_some() {
            return;
        }
        // A follower that is away may hold back a part of it, and not all that is ever written.
        let is_huge = self.log_bytes >= config.log_lag_bytes_max;
        let lag = if is_huge { config.log_lag_entries_max / 64 } else { config.log_lag_entries_max };
        let followers = self.node.raft.prs().iter().map(|(_, p)| p.matched);
        let to = followers.filter(|m| m + lag >= applied).min().unwrap_or(applied).min(applied);
        let to = to.min(self.needed_by_snapshots(config).unwrap_or(to));
        if to <= first {
            return;
        }
        let Ok(term) = self.node.store().term(to) else { return };
        let command = basalt_proto::raft::CompactLogCommand { index: to, term };
        let command = AdminCommand { kind: Some(admin_command::Kind::CompactLog(command)) };
        let ctx =
            RegionCtx { region_id: self.region.id, epoch: self.region.epoch, peer_id: self.peer_id, deadline: None };
        self.propose_admin(&ctx, command, Reply::ignore(), now, config);
    }
}
