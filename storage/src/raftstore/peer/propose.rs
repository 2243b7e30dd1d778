//! Proposals, and handing leadership on.
//!
//! A proposal waits in `proposed` with its index and term until apply says what became of the entry there, or another entry
//! takes its place.

use super::{Peer, busy};
use crate::config::RaftConfig;
use crate::error::RegionError;
use crate::raftstore::apply::ADMIN_CONTEXT;
use crate::raftstore::message::{AdminDone, ProposalReply, Proposed, Reply};
use crate::replicated::RegionCtx;
use basalt_common::env::Monotonic;
use basalt_common::{Epoch, Peer as RegionPeer, PeerId, PeerRole};
use basalt_proto::raft::change_peers_command::Kind;
use basalt_proto::raft::{AdminCommand, ChangePeersCommand, RaftCommand, admin_command};
use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, Message, MessageType};

/// Leadership is handed to nobody who was not heard for so long, or lacks more entries.
const SUCCESSOR_SILENCE_TICKS_MAX: u32 = 6;
const SUCCESSOR_LAG_MAX: u64 = 256;

impl Peer {
    /// Voters that can lead at once, where this peer leads.
    pub(super) fn successors(&self, now: Monotonic, config: &RaftConfig) -> Vec<RegionPeer> {
        let others = self.region.peers.iter().filter(|peer| peer.id != self.peer_id);
        others.filter(|peer| self.is_leader() && self.can_succeed(peer.id, now, config)).copied().collect()
    }

    /// Whether a voter can lead at once, by what its leader knows: it was heard just now and lacks little of the log. While
    /// leadership is being handed on nothing is written, and to who does not answer it is handed for a whole election.
    pub(super) fn can_succeed(&self, to: PeerId, now: Monotonic, config: &RaftConfig) -> bool {
        let is_voter = self.region.peer(to).is_some_and(|peer| peer.role == PeerRole::Voter);
        let is_heard = self.heard.get(&to).is_some_and(|at| now.since(*at) < config.tick * SUCCESSOR_SILENCE_TICKS_MAX);
        let raft = &self.node.raft;
        let behind = |matched: u64| raft.raft_log.last_index().saturating_sub(matched);
        // Who has not answered in this term has matched nothing.
        let is_near = |matched: u64| matched > 0 && behind(matched) <= SUCCESSOR_LAG_MAX;
        is_voter && is_heard && raft.prs().get(to.0).is_some_and(|p| is_near(p.matched))
    }

    /// Checks who is asked and for which epoch.
    pub(super) fn check(&self, ctx: &RegionCtx) -> Result<(), RegionError> {
        if ctx.peer_id != self.peer_id && ctx.peer_id != PeerId(0) {
            return Err(RegionError::EpochNotMatch(vec![(*self.region).clone()]));
        }
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        if ctx.epoch != self.region.epoch {
            return Err(RegionError::EpochNotMatch(vec![(*self.region).clone()]));
        }
        Ok(())
    }

    pub(super) fn check_proposal(&self, config: &RaftConfig, bytes: usize) -> Result<(), RegionError> {
        if bytes > config.entry_bytes_max {
            let limit = config.entry_bytes_max as u64;
            return Err(RegionError::EntryTooLarge { size: bytes as u64, limit });
        }
        if self.proposed.len() >= config.proposals_pending_max {
            return Err(busy("too many proposals in a region"));
        }
        Ok(())
    }

    /// Proposes a write.
    pub fn propose(&mut self, write: (RegionCtx, u64, Bytes), reply: Reply<()>, now: Monotonic, config: &RaftConfig) {
        let (ctx, term, data) = write;
        let checked = self
            .check(&ctx)
            .and_then(|()| self.check_proposal(config, data.len()))
            .and_then(|()| if term != self.node.raft.term { Err(RegionError::StaleCommand) } else { Ok(()) });
        if let Err(error) = checked {
            return reply.send(Err(error));
        }
        self.written_bytes += data.len() as u64;
        self.log_bytes += data.len() as u64;
        let mut message = Message { from: self.node.raft.id, ..Default::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![Entry { data, ..Default::default() }].into());
        match self.node.raft.step(message) {
            Ok(()) => self.remember(now, ProposalReply::Write(reply)),
            Err(_) => reply.send(Err(busy("raft takes no proposals now"))),
        }
    }

    /// Proposes an admin command.
    pub fn propose_admin(
        &mut self,
        ctx: &RegionCtx,
        command: AdminCommand,
        reply: Reply<AdminDone>,
        now: Monotonic,
        config: &RaftConfig,
    ) {
        let unchecked = ctx.epoch == Epoch::default();
        let ctx = if unchecked { RegionCtx { epoch: self.region.epoch, ..*ctx } } else { *ctx };
        let guards =
            matches!(command.kind, Some(admin_command::Kind::Split(_)) | Some(admin_command::Kind::ChangePeers(_)));
        let change = match &command.kind {
            Some(admin_command::Kind::ChangePeers(change)) => Some(self.conf_change(change)),
            _ => None,
        };
        let data = self.encode_admin(command);
        let checked = self.check(&ctx).and_then(|()| self.check_proposal(config, data.len()));
        let proposed = match (checked, change) {
            (Err(error), _) | (Ok(()), Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(change))) => {
                self.node.propose_conf_change(data, change).map_err(|_| busy("raft takes no proposals now"))
            }
            (Ok(()), None) => {
                self.node.propose(ADMIN_CONTEXT.to_vec(), data).map_err(|_| busy("raft takes no proposals now"))
            }
        };
        if let Err(error) = proposed {
            return reply.send(Err(error));
        }
        if guards {
            self.guarded_until = self.node.raft.raft_log.last_index();
            self.delegate.drop_lease();
        }
        self.remember(now, ProposalReply::Admin(reply));
    }

    pub(super) fn encode_admin(&self, command: AdminCommand) -> Vec<u8> {
        RaftCommand {
            region_id: self.region.id.0,
            epoch: Some(self.region.epoch.into()),
            term: self.node.raft.term,
            modifies: Vec::new(),
            admin: Some(command),
            gc: None,
        }
        .encode_to_vec()
    }

    /// The raft crate's form of a change; more than one step goes through joint consensus.
    pub(super) fn conf_change(&self, command: &ChangePeersCommand) -> Result<ConfChangeV2, RegionError> {
        if self.node.raft.has_pending_conf() || self.applied_term != self.node.raft.term {
            return Err(busy("another change of peers is under way"));
        }
        let mut changes = Vec::new();
        for change in &command.changes {
            let peer = change.peer.as_ref().map(RegionPeer::from).ok_or_else(|| busy("a change names no peer"))?;
            let kind = match change.kind() {
                Kind::AddVoter => ConfChangeType::AddNode,
                Kind::AddLearner => ConfChangeType::AddLearnerNode,
                Kind::Remove => ConfChangeType::RemoveNode,
            };
            if kind == ConfChangeType::RemoveNode && peer.id == self.peer_id {
                return Err(busy("a leader does not remove itself; transfer it first"));
            }
            let mut single = ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = peer.id.0;
            changes.push(single);
        }
        let mut change = ConfChangeV2::default();
        change.set_changes(changes.into());
        Ok(change)
    }

    pub(super) fn remember(&mut self, at: Monotonic, reply: ProposalReply) {
        let (index, term) = (self.node.raft.raft_log.last_index(), self.node.raft.term);
        self.proposed.push_back(Proposed { index, term, at, reply });
    }

    /// Begins to hand leadership over. The lease ends before the other peer can be elected.
    pub fn transfer_leader(&mut self, to: PeerId, now: Monotonic, config: &RaftConfig, reply: Reply<()>) {
        if !self.is_leader() {
            return reply.send(Err(self.not_leader()));
        }
        if to == self.peer_id {
            return reply.send(Ok(()));
        }
        if !self.can_succeed(to, now, config) {
            return reply.send(Err(busy(
                "the peer cannot take over leadership: it does not answer, or lacks too much of the log",
            )));
        }
        self.delegate.drop_lease();
        self.transfer_term = self.node.raft.term;
        self.node.transfer_leader(to.0);
        reply.send(Ok(()));
    }
}
