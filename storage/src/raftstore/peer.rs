//! One replica of one region: a raft node, the proposals and reads that wait for it, and its lease.
//!
//! Pure: inputs and `now` go in, what is to be done is added to [`Effects`]. The store decides when a peer is stepped and
//! collects one round's effects of all peers.
//! Reads and the lease are in [`reads`].

mod mend;
mod reads;
mod sound;

use super::apply::{ADMIN_CONTEXT, Applier, ApplyTask, Change};
use super::delegate::ReadDelegate;
use super::message::{PeerStatus, ProposalReply, Proposed, RegionHash, Reply};
use super::peer_storage::PeerStorage;
use super::snapshot::snapshot_range;
use super::store::{Effects, PdEvent};
use crate::collected::Collected;
use crate::config::RaftConfig;
use crate::error::RegionError;
use crate::raftlog::{RaftLog, RegionAppend};
use crate::replicated::RegionCtx;
use basalt_common::env::Monotonic;
use basalt_common::{Epoch, KeyRange, Peer as RegionPeer, PeerId, PeerRole, Region, StoreId};
use basalt_proto::raft::change_peers_command::Kind;
use basalt_proto::raft::{
    AdminCommand, ChangePeersCommand, Envelope, RaftCommand, RaftLocalState, SnapshotMeta, admin_command,
};
use bytes::Bytes;
use mend::mend_append;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, HardState, Message, MessageType, Snapshot};
use raft::{RawNode, Ready, SnapshotStatus, StateRole, Storage};
use rand::Rng;
use rand::rngs::SmallRng;
use reads::{ReadRound, ReadWaiter};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Senders outside the region whose stores are remembered.
const STRANGERS_MAX: usize = 16;
/// Leadership is handed to nobody who was not heard for so long, or lacks more entries.
const SUCCESSOR_SILENCE_TICKS_MAX: u32 = 6;
const SUCCESSOR_LAG_MAX: u64 = 256;
/// Between two questions of one peer whether it is still one of its region.
const MEMBERSHIP_ASK_INTERVAL: Duration = Duration::from_secs(5);

/// What a new peer starts from.
pub struct PeerParams {
    /// This store.
    pub store_id: StoreId,
    /// The cluster.
    pub cluster_id: u64,
    /// The region; without peers when the peer waits for a snapshot.
    pub region: Arc<Region>,
    /// The peer's id.
    pub peer_id: PeerId,
    /// Its log.
    pub storage: PeerStorage,
    /// Last entry applied.
    pub applied_index: u64,
    /// That entry's term.
    pub applied_term: u64,
    /// How far garbage collection is.
    pub collected: Collected,
    /// Chance for election timeouts.
    pub rng: SmallRng,
}

/// See the module.
pub struct Peer {
    store_id: StoreId,
    cluster_id: u64,
    peer_id: PeerId,
    life: u64,
    region: Arc<Region>,
    node: RawNode<PeerStorage>,
    delegate: Arc<ReadDelegate>,
    rng: SmallRng,
    election: (u64, StateRole, u64, usize),
    applied_index: u64,
    applied_term: u64,
    persists_outstanding: usize,
    restoring: Option<Ready>,
    /// What it restored from turned out damaged; how the region stands, if it has data here.
    refused: Option<Option<Box<Applier>>>,
    /// A snapshot's ready and index, from when its data is in the engine until the log begins behind it.
    restored: Option<(u64, u64)>,
    proposed: VecDeque<Proposed>,
    guarded_until: u64,
    /// The term in which a hand-over began. A request to campaign that is still on its way would win over a lease, so
    /// there is none for the rest of that term.
    transfer_term: u64,
    reads_waiting: Vec<ReadWaiter>,
    read_rounds: VecDeque<ReadRound>,
    reads_confirmed: Vec<(u64, ReadWaiter)>,
    next_read_id: u64,
    ticks: u64,
    last_heartbeat: Option<Monotonic>,
    written_bytes: u64,
    /// What was proposed here since the log was cut, about.
    log_bytes: u64,
    heard: BTreeMap<PeerId, Monotonic>,
    /// The index of the snapshot that a peer was sent last, and at which tick.
    snapshots_sent: BTreeMap<PeerId, (u64, u64)>,
    strangers: BTreeMap<PeerId, RegionPeer>,
    hash: Option<RegionHash>,
    /// When a leader was last heard of, and when PD was last asked about it.
    leader_heard: Option<Monotonic>,
    asked: Option<Monotonic>,
    /// For a peer without data: the newest change of peers of which those knew who spoke to it as a member.
    conf_ver_heard: u64,
    /// Its removal is ordered, or done.
    leaving: bool,
}

impl Peer {
    /// A peer that continues from its storage. `life` tells it from others that have its id, or its place, later.
    ///
    /// # Errors
    /// What the raft crate says of a storage that contradicts itself.
    pub fn new(params: PeerParams, life: u64, config: &RaftConfig) -> raft::Result<Self> {
        let raft_config = raft::Config {
            id: params.peer_id.0,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            min_election_tick: config.election_ticks,
            max_election_tick: config.election_ticks_max + 1,
            applied: params.applied_index,
            max_size_per_msg: config.append_bytes_max,
            max_inflight_msgs: config.appends_inflight_max,
            max_uncommitted_size: config.uncommitted_bytes_max,
            max_committed_size_per_ready: config.committed_bytes_max,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&raft_config, params.storage, &logger)?;
        let delegate = Arc::new(ReadDelegate::new(params.peer_id, params.region.clone(), params.collected));
        let mut peer = Peer {
            store_id: params.store_id,
            cluster_id: params.cluster_id,
            peer_id: params.peer_id,
            life,
            region: params.region,
            node,
            delegate,
            rng: params.rng,
            election: (u64::MAX, StateRole::Follower, 0, 0),
            applied_index: params.applied_index,
            applied_term: params.applied_term,
            persists_outstanding: 0,
            restoring: None,
            refused: None,
            restored: None,
            proposed: VecDeque::new(),
            guarded_until: 0,
            transfer_term: 0,
            reads_waiting: Vec::new(),
            read_rounds: VecDeque::new(),
            reads_confirmed: Vec::new(),
            next_read_id: 1,
            ticks: 0,
            last_heartbeat: None,
            written_bytes: 0,
            log_bytes: 0,
            heard: BTreeMap::new(),
            snapshots_sent: BTreeMap::new(),
            strangers: BTreeMap::new(),
            hash: None,
            leader_heard: None,
            asked: None,
            conf_ver_heard: 0,
            leaving: false,
        };
        peer.draw_election_timeout(config);
        Ok(peer)
    }

    /// The region as applied here.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// The peer's id.
    pub fn id(&self) -> PeerId {
        self.peer_id
    }

    /// See [`Peer::new`].
    pub fn life(&self) -> u64 {
        self.life
    }

    /// What reading threads look at.
    pub fn delegate(&self) -> &Arc<ReadDelegate> {
        &self.delegate
    }

    /// False while the peer waits for its first snapshot.
    pub fn is_initialized(&self) -> bool {
        !self.region.peers.is_empty()
    }

    /// Where nothing else may be put: the range of the region, and that of the snapshot that was taken and is not in the
    /// engine yet.
    pub fn claims(&self) -> impl Iterator<Item = KeyRange> {
        let own = self.is_initialized().then(|| self.region.range.clone());
        own.into_iter().chain(self.snapshot_taken().and_then(snapshot_range))
    }

    /// True while this peer leads.
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// The hard state in memory, which may not be durable yet.
    pub fn hard_state(&self) -> HardState {
        self.node.raft.hard_state()
    }

    /// The record of the log as it is after everything appended so far; its commit index covers what was applied.
    pub fn local_state(&self) -> RaftLocalState {
        self.node.store().local_state()
    }

    /// The only voter of its region.
    pub fn is_alone(&self) -> bool {
        self.node.raft.prs().is_singleton() && self.node.raft.promotable()
    }

    /// What must hold at any time: raft takes nothing for durable that its log does not have.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn check_invariants(&self, log: &dyn RaftLog) -> Result<(), String> {
        let persisted = self.node.raft.raft_log.persisted;
        let state = log.state(self.region.id).map_err(|e| e.to_string())?;
        let durable = state.map_or(0, |s| s.state.last_index).max(self.node.store().truncated_index());
        match persisted > durable {
            true => Err(format!("raft takes entry {persisted} for durable, and the log ends at {durable}")),
            false => Ok(()),
        }
    }

    fn leader(&self) -> Option<RegionPeer> {
        self.region.peer(PeerId(self.node.raft.leader_id))
    }

    fn not_leader(&self) -> RegionError {
        RegionError::NotLeader { region: self.region.id, leader: self.leader() }
    }

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

    /// Voters that can lead at once, where this peer leads.
    fn successors(&self, now: Monotonic, config: &RaftConfig) -> Vec<RegionPeer> {
        let others = self.region.peers.iter().filter(|peer| peer.id != self.peer_id);
        others.filter(|peer| self.is_leader() && self.can_succeed(peer.id, now, config)).copied().collect()
    }

    /// Whether a voter can lead at once, by what its leader knows: it was heard just now and lacks little of the log. While
    /// leadership is being handed on nothing is written, and to who does not answer it is handed for a whole election.
    fn can_succeed(&self, to: PeerId, now: Monotonic, config: &RaftConfig) -> bool {
        let is_voter = self.region.peer(to).is_some_and(|peer| peer.role == PeerRole::Voter);
        let is_heard = self.heard.get(&to).is_some_and(|at| now.since(*at) < config.tick * SUCCESSOR_SILENCE_TICKS_MAX);
        let raft = &self.node.raft;
        let behind = |matched: u64| raft.raft_log.last_index().saturating_sub(matched);
        // Who has not answered in this term has matched nothing.
        let is_near = |matched: u64| matched > 0 && behind(matched) <= SUCCESSOR_LAG_MAX;
        is_voter && is_heard && raft.prs().get(to.0).is_some_and(|p| is_near(p.matched))
    }

    // ---- inputs ----

    /// Takes a message of another peer.
    pub fn step(&mut self, message: Message, now: Monotonic, config: &RaftConfig) {
        if self.restoring.is_some() || self.leaving {
            return;
        }
        match message.get_msg_type() {
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot => {
                self.leader_heard = Some(now);
            }
            // Proposals, reads and hand-overs come through this store's own front door, where epochs are checked.
            MessageType::MsgPropose | MessageType::MsgReadIndex | MessageType::MsgTransferLeader => return,
            _ => {}
        }
        if let Some(flaw) = sound::flaw(&message, self.node.raft.raft_log.last_index()) {
            tracing::warn!(region = %self.region.id, from = message.from, flaw, "a raft message was dropped");
            return;
        }
        self.heard.insert(PeerId(message.from), now);
        if let Err(error) = self.node.step(message) {
            tracing::debug!(region = %self.region.id, %error, "raft message ignored");
        }
        self.draw_election_timeout(config);
    }

    /// One step of raft's clock; retries reads and renews the lease.
    pub fn tick(&mut self, now: Monotonic, config: &RaftConfig, out: &mut Effects) {
        self.ticks += 1;
        if self.leaving {
            return;
        }
        if self.restoring.is_none() {
            self.node.tick();
            self.draw_election_timeout(config);
        }
        if !self.is_leader() {
            let since = *self.leader_heard.get_or_insert(now);
            if now.since(since) >= config.leader_missing_after {
                self.ask_membership(now, out);
            }
            return;
        }
        self.leader_heard = Some(now);
        self.retry_reads(now, config);
        let renews = self.ticks.is_multiple_of(config.heartbeat_ticks as u64) && self.delegate.take_was_read();
        self.ask_read_index(now, renews);
        if self.ticks.is_multiple_of(config.log_compact_ticks) {
            self.propose_compaction(now, config);
        }
        let grown = self.written_bytes > config.region_split_size_bytes / 8;
        // A change of members goes on with the next report: PD waits for the learner to come along.
        let changing = self.region.peers.iter().any(|peer| peer.role == PeerRole::Learner);
        let interval = if changing { config.tick * 2 } else { config.region_heartbeat };
        if grown || self.last_heartbeat.is_none_or(|last| now.since(last) >= interval) {
            self.report(now, config, out);
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

    /// Learns from a peer that applied it that an entry is committed; of no effect when this peer has another there.
    pub fn learn_committed(&mut self, index: u64, term: u64) {
        if self.restoring.is_none() && !self.leaving && self.node.raft.raft_log.maybe_commit(index, term) {
            tracing::info!(region = %self.region.id, index, "learned that an entry is committed from a peer that is gone");
        }
    }

    /// Takes no part any more; its removal is ordered. False when it was before.
    pub fn leave(&mut self) -> bool {
        self.fail_all();
        !std::mem::replace(&mut self.leaving, true)
    }

    /// Campaigns now.
    pub fn campaign(&mut self, config: &RaftConfig) {
        if self.restoring.is_none() && !self.leaving {
            let _ = self.node.campaign();
            self.draw_election_timeout(config);
        }
    }

    /// Checks who is asked and for which epoch.
    fn check(&self, ctx: &RegionCtx) -> Result<(), RegionError> {
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

    fn check_proposal(&self, config: &RaftConfig, bytes: usize) -> Result<(), RegionError> {
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
        reply: super::message::Reply<super::message::AdminDone>,
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

    fn encode_admin(&self, command: AdminCommand) -> Vec<u8> {
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
    fn conf_change(&self, command: &ChangePeersCommand) -> Result<ConfChangeV2, RegionError> {
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

    fn remember(&mut self, at: Monotonic, reply: ProposalReply) {
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

    fn snapshot_taken(&self) -> Option<&Snapshot> {
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

    /// Learns that messages to a store were lost.
    pub fn report_unreachable(&mut self, store: StoreId) {
        if let Some(peer) = self.region.peer_on(store) {
            self.node.report_unreachable(peer.id.0);
        }
    }

    /// Everything up to this ready is durable.
    pub fn on_persisted(&mut self, ready: u64) {
        self.persists_outstanding = self.persists_outstanding.saturating_sub(1);
        self.node.on_persist_ready(ready);
        // Raft takes a snapshot for applied only once it is durable.
        if let Some((_, index)) = self.restored.take_if(|(number, _)| *number <= ready) {
            self.node.advance_apply_to(index);
        }
    }

    // ---- outputs ----

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
    fn persist(&mut self, mut ready: Ready, out: &mut Effects) {
        let number = ready.number();
        let messages = ready.take_persisted_messages();
        if let Some(hard_state) = ready.hs() {
            let hard_state = hard_state.clone();
            self.node.mut_store().set_hard_state(hard_state);
        }
        let must_sync = ready.must_sync();
        if must_sync {
            let entries = ready.take_entries();
            self.node.mut_store().append(&entries);
            let state = Some(self.node.store().local_state());
            out.persist_region(self.region.id, RegionAppend { reset: false, entries, state });
        }
        self.node.advance_append_async(ready);
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

    fn on_role(&mut self, role: StateRole, now: Monotonic, config: &RaftConfig, out: &mut Effects) {
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

    fn hand_to_apply(&mut self, entries: Vec<Entry>, now: Monotonic, config: &RaftConfig, out: &mut Effects) {
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

    // ---- apply's results ----

    /// Moves the applied index. Returns the changes that concern the store.
    pub fn on_applied(
        &mut self,
        applied: super::apply::Applied,
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

    fn set_region(&mut self, region: Arc<Region>) {
        self.delegate.set_region(region.clone());
        self.region = region;
        self.node.mut_store().forget_snapshot();
        self.last_heartbeat = None;
    }

    fn on_conf_change(&mut self, change: &ConfChangeV2, region: Option<Arc<Region>>, out: &mut Effects) {
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

    /// The snapshot's data is in the engine: now the log may begin behind it.
    fn on_restored(&mut self, region: Arc<Region>, at: (u64, u64, Box<raft::eraftpb::ConfState>), out: &mut Effects) {
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

    // ---- housekeeping ----

    /// Cuts the log behind the slowest follower that is not too far behind.
    fn propose_compaction(&mut self, now: Monotonic, config: &RaftConfig) {
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

    /// The oldest index at which a follower will begin that is about to get a snapshot, or got one and is not heard of yet.
    /// Without what follows it the snapshot is of no use, and a region that is written all the time would never get a new
    /// replica. One that takes too long, in entries or in time, is given up.
    fn needed_by_snapshots(&mut self, config: &RaftConfig) -> Option<u64> {
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

    fn send(&mut self, message: Message, out: &mut Effects) {
        let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
        if is_snapshot {
            let index = message.get_snapshot().get_metadata().index;
            self.snapshots_sent.insert(PeerId(message.to), (index, self.ticks));
        }
        let Some(envelope) = self.envelope(message) else { return };
        if is_snapshot { out.snapshots.push(envelope) } else { out.send.push(envelope) }
    }

    fn envelope(&self, mut message: Message) -> Option<Envelope> {
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

    /// Remembers where a peer lives that the region does not list (yet): a peer without data must answer its leader.
    pub fn learn_sender(&mut self, sender: RegionPeer, epoch: Epoch) {
        if !self.is_initialized() {
            self.conf_ver_heard = self.conf_ver_heard.max(epoch.conf_ver);
        }
        if self.region.peer(sender.id).is_none() {
            if self.strangers.len() >= STRANGERS_MAX {
                self.strangers.clear();
            }
            self.strangers.insert(sender.id, sender);
        }
    }

    fn draw_election_timeout(&mut self, config: &RaftConfig) {
        let raft = &mut self.node.raft;
        let (term, role, leader, timeout) = self.election;
        if (term, role, leader) != (raft.term, raft.state, raft.leader_id) {
            let drawn = self.rng.random_range(config.election_ticks..=config.election_ticks_max);
            self.election = (raft.term, raft.state, raft.leader_id, drawn);
            raft.set_randomized_election_timeout(drawn);
        } else if raft.randomized_election_timeout() != timeout {
            raft.set_randomized_election_timeout(timeout);
        }
    }
}

fn busy(reason: &'static str) -> RegionError {
    RegionError::ServerIsBusy { reason, backoff: Duration::from_millis(20) }
}
