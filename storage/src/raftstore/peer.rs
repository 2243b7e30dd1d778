//! One replica of one region: a raft node, the proposals and reads that wait for it, and its lease.
//!
//! Pure: inputs and `now` go in, what is to be done is added to [`Effects`]. The store decides when a peer is stepped and
//! collects one round's effects of all peers.
//!
//! | | |
//! |---|---|
//! | here | messages and ticks come in; elections |
//! | [`propose`] | what waits for its entry; handing leadership on |
//! | [`reads`] | read indexes and the lease |
//! | [`ready`] | what raft wants made durable, sent, applied |
//! | [`applied`] | what apply has done |
//! | [`restore`] | snapshots |
//! | [`report`] | what is told to PD and tools |
//! | [`sound`], [`mend`] | messages that raft could not bear |

mod applied;
mod mend;
mod propose;
mod reads;
mod ready;
mod report;
mod restore;
mod sound;

use super::apply::Applier;
use super::delegate::ReadDelegate;
use super::message::{Proposed, RegionHash};
use super::peer_storage::PeerStorage;
use super::snapshot::snapshot_range;
use super::store::Effects;
use crate::collected::Collected;
use crate::config::RaftConfig;
use crate::error::RegionError;
use crate::raftlog::RaftLog;
use basalt_common::env::Monotonic;
use basalt_common::{Epoch, KeyRange, Peer as RegionPeer, PeerId, PeerRole, Region, StoreId};
use basalt_proto::raft::RaftLocalState;
use raft::eraftpb::{HardState, Message, MessageType};
use raft::{RawNode, Ready, StateRole};
use rand::Rng;
use rand::rngs::SmallRng;
use reads::{ReadRound, ReadWaiter};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Senders outside the region whose stores are remembered.
const STRANGERS_MAX: usize = 16;

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

    /// Learns that messages to a store were lost.
    pub fn report_unreachable(&mut self, store: StoreId) {
        if let Some(peer) = self.region.peer_on(store) {
            self.node.report_unreachable(peer.id.0);
        }
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
