//! What raft wants done: entries and states to be made durable, messages, entries to be applied.
//!
//! Raft's readies are numbered; a message that promises something leaves when the log has said that the ready before it is
//! durable ([`Peer::on_persisted`]), and no earlier.

use super::Peer;
use super::mend::mend_append;
use crate::config::RaftConfig;
use crate::raftlog::RegionAppend;
use crate::raftstore::apply::ApplyTask;
use crate::raftstore::store::{Effects, PdEvent};
use basalt_common::env::Monotonic;
use basalt_common::mutant::mutant;
use basalt_common::{Peer as RegionPeer, PeerId, PeerRole};
use basalt_proto::raft::Envelope;
use protobuf::Message as _;
use raft::eraftpb::{Entry, Message, MessageType};
use raft::{Ready, StateRole};

impl Peer {
    /// Everything up to this ready is durable.
    pub fn on_persisted(&mut self, ready: u64) {
        self.persists_outstanding = self.persists_outstanding.saturating_sub(1);
        self.node.on_persist_ready(ready);
        // Raft takes a snapshot for applied only once it is durable.
        if let Some((_, index)) = self.restored.take_if(|(number, _)| *number <= ready) {
            self.node.advance_apply_to(index);
        }
    }

    /// Takes what raft has ready and turns it into effects, until there is no more.
    pub fn collect(&mut self, now: Monotonic, config: &RaftConfig, out: &mut Effects) {
        self.ask_read_index(now, false);
        while self.restoring.is_none() && !self.leaving && self.node.has_ready() {
            let mut ready = self.node.ready();
            if let Some(role) = ready.ss().map(|ss| ss.raft_state) {
                self.on_role(role, now, config, out);
            }
            for message in ready.take_messages() {
                self.send(message, out);
            }
            for state in ready.take_read_states() {
                self.on_read_state(state.index, &state.request_ctx, now, config);
            }
            self.hand_to_apply(ready.take_committed_entries(), now, config, out);
            if !ready.snapshot().is_empty() {
                let data = ready.snapshot().data.clone();
                out.apply.push(ApplyTask::Restore { region_id: self.region.id, peer_id: self.peer_id, data });
                self.restoring = Some(ready);
                return;
            }
            self.persist(ready, out);
        }
        let applied = self.applied_index;
        if self.node.mut_store().take_snapshot_wanted(applied) {
            out.apply.push(ApplyTask::Export { region_id: self.region.id });
        }
    }

    /// Hands a ready's entries and hard state to the log, or, when it has none that must be synced, sends its messages as
    /// soon as what came before is synced.
    pub(super) fn persist(&mut self, mut ready: Ready, out: &mut Effects) {
        let number = ready.number();
        let messages = ready.take_persisted_messages();
        if let Some(hard_state) = ready.hs() {
            let hard_state = hard_state.clone();
            self.node.mut_store().set_hard_state(hard_state);
        }
        let must_sync = ready.must_sync() && !(mutant("M32") && ready.entries().is_empty());
        if must_sync {
            let entries = ready.take_entries();
            self.node.mut_store().append(&entries);
            let state = Some(self.node.store().local_state());
            out.persist_region(self.region.id, RegionAppend { reset: false, entries, state });
        }
        self.node.advance_append_async(ready);
        let messages = if mutant("M30") { self.send_all(messages, out) } else { messages };
        if must_sync || self.persists_outstanding > 0 {
            self.persists_outstanding += 1;
            let messages = messages.into_iter().filter_map(|m| self.envelope(m)).collect::<Vec<_>>();
            out.after_persist((self.region.id, self.life), number, messages);
        } else {
            self.node.on_persist_ready(number);
            for message in messages {
                self.send(message, out);
            }
        }
    }

    /// Sends messages before what they promise is durable.
    fn send_all(&mut self, messages: Vec<Message>, out: &mut Effects) -> Vec<Message> {
        messages.into_iter().for_each(|message| self.send(message, out));
        Vec::new()
    }

    pub(super) fn on_role(&mut self, role: StateRole, now: Monotonic, config: &RaftConfig, out: &mut Effects) {
        if role == StateRole::Leader {
            let term = self.node.raft.term;
            self.heard = self.region.peers.iter().map(|p| (p.id, now)).collect();
            self.guarded_until = 0;
            tracing::debug!(region = %self.region.id, peer = %self.peer_id, term, "leads");
            out.pd.push(PdEvent::Leads { region_id: self.region.id, term });
            self.report(now, config, out);
            return;
        }
        self.delegate.lead(0);
        let error = self.not_leader();
        let rounds = self.read_rounds.drain(..).flat_map(|r| r.waiters);
        for waiter in rounds.chain(self.reads_waiting.drain(..)).chain(self.reads_confirmed.drain(..).map(|(_, w)| w)) {
            waiter.reply.send(Err(error.clone()));
        }
    }

    pub(super) fn hand_to_apply(
        &mut self,
        entries: Vec<Entry>,
        now: Monotonic,
        config: &RaftConfig,
        out: &mut Effects,
    ) {
        let Some(last) = entries.last() else { return };
        let (index, term) = (last.index, last.term);
        let mut proposed = Vec::new();
        let mut sent = None;
        while self.proposed.front().is_some_and(|p| p.index <= index || p.term < term) {
            let Some(front) = self.proposed.pop_front() else { break };
            if front.term == self.node.raft.term {
                sent = Some(front.at);
            }
            proposed.push(front);
        }
        if let Some(sent) = sent {
            self.renew_lease(sent, now, config);
        }
        out.apply.push(ApplyTask::Entries { region_id: self.region.id, entries, proposed });
    }

    pub(super) fn send(&mut self, message: Message, out: &mut Effects) {
        let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
        if is_snapshot {
            let index = message.get_snapshot().get_metadata().index;
            self.snapshots_sent.insert(PeerId(message.to), (index, self.ticks));
        }
        let Some(envelope) = self.envelope(message) else { return };
        if is_snapshot { out.snapshots.push(envelope) } else { out.send.push(envelope) }
    }

    pub(super) fn envelope(&self, mut message: Message) -> Option<Envelope> {
        if !mend_append(&mut message, |index| self.node.raft.raft_log.term(index).ok()) {
            return None;
        }
        let to = self.region.peer(PeerId(message.to)).or_else(|| self.strangers.get(&PeerId(message.to)).copied())?;
        let from = self.region.peer(self.peer_id).unwrap_or(RegionPeer {
            id: self.peer_id,
            store_id: self.store_id,
            role: PeerRole::Learner,
        });
        let bytes = message.write_to_bytes().ok()?;
        Some(Envelope {
            region_id: self.region.id.0,
            from: Some(from.into()),
            to: Some(to.into()),
            epoch: Some(self.region.epoch.into()),
            message: bytes.into(),
            is_tombstone: false,
            start_key: self.region.range.start.0.clone(),
            end_key: self.region.range.end.0.clone(),
            cluster_id: self.cluster_id,
        })
    }
}
