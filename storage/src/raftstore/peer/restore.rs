//! Snapshots: those that the peer sends, and beginning from one that it received.

use super::{Peer, PeerParams};
use crate::config::RaftConfig;
use crate::error::RegionError;
use crate::raftlog::RegionAppend;
use crate::raftstore::store::Effects;
use basalt_common::{PeerId, Region};
use basalt_proto::raft::SnapshotMeta;
use raft::SnapshotStatus;
use raft::eraftpb::Snapshot;
use rand::rngs::SmallRng;
use std::sync::Arc;

impl Peer {
    /// Hands in an exported snapshot.
    pub fn set_snapshot(&mut self, meta: Option<&SnapshotMeta>) {
        // What was exported before a split holds what is another region's now.
        let meta = meta.filter(|meta| {
            let of = meta.region.as_ref().map(|region| Region::from(region).epoch.version);
            of == Some(self.region.epoch.version)
        });
        self.node.mut_store().set_snapshot(meta);
    }

    /// Whether raft has taken a received snapshot with this index, which is not in the engine yet.
    pub fn is_taking(&self, index: u64) -> bool {
        self.snapshot_taken().is_some_and(|snapshot| snapshot.get_metadata().index == index)
    }

    pub(super) fn snapshot_taken(&self) -> Option<&Snapshot> {
        match &self.restoring {
            Some(ready) => Some(ready.snapshot()),
            None => self.node.raft.raft_log.unstable.snapshot.as_ref(),
        }
    }

    /// Whether the peer must begin anew from its storage, and can: everything that it handed to the log is durable.
    pub fn must_reload(&self) -> bool {
        self.refused.is_some() && !self.leaving && self.persists_outstanding == 0
    }

    /// What a peer that begins anew from this one's storage starts from: what apply says, since what it reported while a
    /// snapshot was being taken did not move raft.
    pub fn reload_params(&self, rng: SmallRng) -> PeerParams {
        let mut storage = self.node.store().clone();
        let (mut region, mut applied) = (self.region.clone(), (self.applied_index, self.applied_term));
        if let Some(Some(standing)) = &self.refused {
            region = standing.region.clone();
            applied = (standing.state.applied_index, standing.state.applied_term);
            storage.resume(&standing.state, standing.conf_state.clone());
        }
        PeerParams {
            store_id: self.store_id,
            cluster_id: self.cluster_id,
            region,
            peer_id: self.peer_id,
            storage,
            applied_index: applied.0,
            applied_term: applied.1,
            collected: self.delegate.collected(),
            rng,
        }
    }

    /// Learns whether a snapshot arrived.
    pub fn report_snapshot(&mut self, to: PeerId, arrived: bool) {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        if !arrived {
            self.snapshots_sent.remove(&to);
        }
        self.node.report_snapshot(to.0, status);
        self.node.mut_store().forget_snapshot();
    }

    /// The snapshot's data is in the engine: now the log may begin behind it.
    pub(super) fn on_restored(
        &mut self,
        region: Arc<Region>,
        at: (u64, u64, Box<raft::eraftpb::ConfState>),
        out: &mut Effects,
    ) {
        let (index, term, conf_state) = at;
        let Some(mut ready) = self.restoring.take() else { return };
        self.set_region(region);
        self.applied_index = index;
        self.applied_term = term;
        let mut hard_state = ready.hs().cloned().unwrap_or_else(|| self.node.store().hard_state().clone());
        hard_state.commit = hard_state.commit.max(index);
        let number = ready.number();
        let messages = ready.take_persisted_messages();
        let entries = ready.take_entries();
        let storage = self.node.mut_store();
        storage.restore(index, term, *conf_state);
        storage.set_hard_state(hard_state);
        storage.append(&entries);
        let state = Some(storage.local_state());
        out.persist_region(self.region.id, RegionAppend { reset: true, entries, state });
        self.node.advance_append_async(ready);
        self.restored = Some((number, index));
        self.persists_outstanding += 1;
        let messages = messages.into_iter().filter_map(|m| self.envelope(m)).collect::<Vec<_>>();
        out.after_persist((self.region.id, self.life), number, messages);
        for lost in self.proposed.drain(..) {
            lost.reply.fail(RegionError::Undetermined);
        }
    }

    /// The oldest index at which a follower will begin that is about to get a snapshot, or got one and is not heard of yet.
    /// Without what follows it the snapshot is of no use, and a region that is written all the time would never get a new
    /// replica. One that takes too long, in entries or in time, is given up.
    pub(super) fn needed_by_snapshots(&mut self, config: &RaftConfig) -> Option<u64> {
        let (ticks, oldest) = (self.ticks, self.applied_index.saturating_sub(config.log_held_entries_max));
        let ticks_max = (config.snapshot_timeout.as_millis() / config.tick.as_millis().max(1)) as u64;
        let progress = self.node.raft.prs();
        self.snapshots_sent.retain(|to, (index, at)| {
            let waits = progress.get(to.0).is_some_and(|progress| progress.matched < *index);
            waits && ticks - *at <= ticks_max
        });
        let sent = self.snapshots_sent.values().map(|(index, _)| *index);
        sent.chain(self.node.store().snapshot_index()).filter(|index| *index >= oldest).min()
    }
}
