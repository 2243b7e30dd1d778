//! All peers of a store as one state machine: inputs and the time go in, [`Effects`] come out.
//!
//! It routes messages to peers, makes peers that other stores talk to, removes those that their regions removed, and
//! numbers what must be durable before messages may leave:
//!
//! ```text
//!  handle(input)* ─▶ touched peers ─▶ take_effects ─▶ persist #n {entries of regions 7, 9, 12}
//!                                                     └ held back: messages of 7, 9, 12 ── Persisted(n) ──▶ sent
//! ```
//! A message for a region that this store does not have makes a peer without data, unless the range is occupied: then a
//! split is on its way here, and the last vote asked for is kept, so that the new region finds its leader at once.

use super::StoreError;
use super::apply::{Applied, Applier, ApplyTask, Change, put_region, restore_region};
use super::delegate::Delegates;
use super::keys;
use super::message::{Input, PeerStatus};
use super::peer::{Peer, PeerParams};
use super::peer_storage::{PeerStorage, conf_state_of, initial_apply_state};
use super::snapshot::{SnapshotFiles, snapshot_meta, snapshot_range};
use crate::collected::Collected;
use crate::config::RaftConfig;
use crate::engine::Engine;
use crate::error::RegionError;
use crate::raftlog::{LogBatch, RaftLog, RegionAppend};
use basalt_common::env::Monotonic;
use basalt_common::mutant::mutant;
use basalt_common::{Epoch, KeyRange, Peer as RegionPeer, PeerId, Region, RegionId, StoreId};
use basalt_proto::raft::{ApplyState, Envelope, GcState, PeerState, SnapshotMeta};
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Message, MessageType};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What PD is told.
#[derive(Debug)]
pub enum PdEvent {
    /// A peer that was told that it was removed, or that hears of no leader, asks whether it is still one of its region;
    /// [`Input::Confirmed`] answers.
    AsksMembership {
        /// Of which region.
        region_id: RegionId,
        /// Which peer.
        peer_id: PeerId,
    },
    /// This store's peer began to lead: the newest timestamp must be learned for this term.
    Leads {
        /// Which region.
        region_id: RegionId,
        /// In which term.
        term: u64,
    },
    /// A leader's report.
    Heartbeat {
        /// The region.
        region: Arc<Region>,
        /// The peer that leads.
        leader: RegionPeer,
        /// In which term.
        term: u64,
        /// Peers unheard of for long.
        down: Vec<RegionPeer>,
        /// Peers without data.
        pending: Vec<RegionPeer>,
        /// Bytes proposed since the last report.
        written_bytes: u64,
    },
}

/// What one round of inputs brought about.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages that may leave now.
    pub send: Vec<Envelope>,
    /// What must be durable, and its number; `Input::Persisted` answers.
    pub persist: Option<(u64, LogBatch)>,
    /// Work for apply; `Input::Applied` answers.
    pub apply: Vec<ApplyTask>,
    /// Snapshot messages: their files travel with them. `Input::SnapshotSent` answers.
    pub snapshots: Vec<Envelope>,
    /// Reports for PD, and questions.
    pub pd: Vec<PdEvent>,
    /// Reports of the round, not sorted yet into those that may leave and those that wait.
    pub(super) reports: Vec<PdEvent>,
    pub(super) touched: BTreeSet<RegionId>,
    batch: LogBatch,
    held: Held,
}

/// What leaves when a round is durable.
#[derive(Debug, Default)]
struct Held {
    readies: Vec<HeldReady>,
    messages: Vec<Envelope>,
    /// PD builds on what it hears, and has peers removed that a restart of this store may need: it hears only of what a
    /// restart would find.
    reports: Vec<PdEvent>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.readies.is_empty() && self.messages.is_empty() && self.reports.is_empty()
    }

    fn extend(&mut self, later: Held) {
        self.readies.extend(later.readies);
        self.messages.extend(later.messages);
        self.reports.extend(later.reports);
    }
}

/// A ready of a peer that its round's sync acknowledges. It names the peer's life, as another peer, or the same one begun
/// anew, may have its place by then.
#[derive(Debug, Clone, Copy)]
struct HeldReady {
    region: RegionId,
    life: u64,
    number: u64,
}

impl Effects {
    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.send.is_empty()
            && self.persist.is_none()
            && self.apply.is_empty()
            && self.snapshots.is_empty()
            && self.pd.is_empty()
    }

    pub(super) fn persist_region(&mut self, region: RegionId, append: RegionAppend) {
        self.batch.merge(LogBatch { regions: [(region, append)].into() });
    }

    /// Holds messages back until the round's batch is durable (or, if it has none, the batch before it).
    pub(super) fn after_persist(&mut self, of: (RegionId, u64), ready: u64, messages: Vec<Envelope>) {
        self.held.readies.push(HeldReady { region: of.0, life: of.1, number: ready });
        self.held.messages.extend(messages);
    }
}

struct PersistRound {
    number: u64,
    held: Held,
}

/// What is left of a peer: this one and those with smaller ids never come back here.
struct Tombstone {
    peer_id: PeerId,
    /// The region when the peer left: who was a member then, and who was not any more.
    region: Arc<Region>,
    /// The entry that removed the peer, and its term, where the peer applied it: it is committed.
    removal: Option<(u64, u64)>,
}

/// What a store is opened with.
pub struct StoreParams {
    /// The store.
    pub id: StoreId,
    /// The cluster.
    pub cluster_id: u64,
    /// Bounds and intervals.
    pub config: Arc<RaftConfig>,
    /// The raft log.
    pub log: Arc<dyn RaftLog>,
    /// The data engine, read at start only.
    pub engine: Arc<dyn Engine>,
    /// Where received snapshots are.
    pub files: Arc<SnapshotFiles>,
    /// Where peers publish what readers must know.
    pub delegates: Arc<Delegates>,
    /// Chance.
    pub rng: SmallRng,
}

/// See the module.
pub struct Store {
    id: StoreId,
    cluster_id: u64,
    config: Arc<RaftConfig>,
    log: Arc<dyn RaftLog>,
    delegates: Arc<Delegates>,
    rng: SmallRng,
    started_at: Monotonic,
    peers: BTreeMap<RegionId, Peer>,
    tombstones: BTreeMap<RegionId, Tombstone>,
    votes_kept: BTreeMap<RegionId, Envelope>,
    next_persist: u64,
    rounds: VecDeque<PersistRound>,
    /// Peers begun so far.
    lives: u64,
    /// Bytes of entries in each batch of tasks that apply has, oldest first, and in all of them.
    apply_waiting: VecDeque<u64>,
    apply_waiting_bytes: u64,
    out: Effects,
}

impl Drop for Store {
    /// Before the peers, with the proposals that wait for their answers.
    fn drop(&mut self) {
        self.delegates.close();
    }
}

impl Store {
    /// Opens a store with what its engine and its log hold.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read or contradict each other.
    pub fn open(params: StoreParams, now: Monotonic) -> Result<Self, StoreError> {
        let StoreParams { id, cluster_id, config, log, engine, files, delegates, rng } = params;
        let mut store = Store {
            id,
            cluster_id,
            config,
            log,
            delegates,
            rng,
            started_at: now,
            peers: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            votes_kept: BTreeMap::new(),
            next_persist: 1,
            rounds: VecDeque::new(),
            lives: 0,
            apply_waiting: VecDeque::new(),
            apply_waiting_bytes: 0,
            out: Effects::default(),
        };
        let mut leftover = LogBatch::default();
        for (region_id, record) in keys::load_region_states(&*engine)? {
            let region = record.region.as_ref().map(Region::from);
            let region = region.ok_or_else(|| StoreError::Corrupt(format!("region {region_id} has no record")))?;
            let peer_id = PeerId(record.peer_id);
            if record.state() == PeerState::PeerTombstone {
                // A crash may have come between the tombstone and the removal of the log.
                // One without entries is the vote of a later peer that has no data yet.
                if store.log.state(region_id)?.is_some_and(|log| log.state.last_index > 0) {
                    leftover.regions.insert(region_id, RegionAppend::removal());
                }
                let applied = keys::load_apply_state(&*engine, region_id)?;
                let removal = applied.map(|applied| (applied.applied_index, applied.applied_term));
                store.tombstones.insert(region_id, Tombstone { peer_id, region: Arc::new(region), removal });
                continue;
            }
            let state = keys::load_apply_state(&*engine, region_id)?
                .ok_or_else(|| StoreError::Corrupt(format!("region {region_id} has no apply state")))?;
            let applier = if record.state() == PeerState::Applying {
                let meta = files.find_received(region_id, state.applied_index)?;
                restore_region(&*engine, &meta, files.received(&meta)?, peer_id, None)?
            } else {
                let conf_state = ConfState::parse_from_bytes(&record.conf_state)
                    .map_err(|e| StoreError::Corrupt(format!("raft group of region {region_id}: {e}")))?;
                Applier { region: Arc::new(region), peer_id, state, conf_state }
            };
            store.add_peer(applier, None)?;
        }
        files.clear()?;
        if !leftover.is_empty() {
            store.log.append(&leftover)?;
        }
        // Nobody else could be asked: do not make the first clients wait for an election timeout.
        let config = store.config.clone();
        for peer in store.peers.values_mut().filter(|p| p.is_alone()) {
            peer.campaign(&config);
        }
        Ok(store)
    }

    /// The store's number.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Regions here, and how many of them this store leads.
    pub fn counts(&self) -> (usize, usize) {
        (self.peers.len(), self.peers.values().filter(|p| p.is_leader()).count())
    }

    /// What must hold between any two inputs; tests look after each round.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut claims: Vec<(KeyRange, RegionId)> = Vec::new();
        for (&id, peer) in &self.peers {
            claims.extend(peer.claims().map(|range| (range, id)));
            peer.check_invariants(&*self.log).map_err(|broken| format!("region {id}, peer {}: {broken}", peer.id()))?;
        }
        for (i, (range, id)) in claims.iter().enumerate() {
            if let Some((_, other)) = claims[..i].iter().find(|(r, o)| o != id && r.intersect(range).is_some()) {
                return Err(format!("regions {id} and {other} overlap at {range:?}"));
            }
        }
        Ok(())
    }

    fn add_peer(&mut self, applier: Applier, earlier: Option<raft::eraftpb::HardState>) -> Result<(), StoreError> {
        let region_id = applier.region.id;
        let conf_state = applier.conf_state.clone();
        let (mut storage, reset) = PeerStorage::load(self.log.clone(), region_id, &applier.state, conf_state)?;
        if let Some(earlier) = earlier {
            let own = storage.hard_state().clone();
            if (earlier.term, earlier.vote) > (own.term, own.vote) {
                let merged = raft::eraftpb::HardState { term: earlier.term, vote: earlier.vote, ..own };
                storage.set_hard_state(merged);
            }
        }
        if reset {
            let state = Some(storage.local_state());
            self.out.persist_region(region_id, RegionAppend { reset, entries: Vec::new(), state });
        }
        let params = PeerParams {
            store_id: self.id,
            cluster_id: self.cluster_id,
            region: applier.region.clone(),
            peer_id: applier.peer_id,
            storage,
            applied_index: applier.state.applied_index,
            applied_term: applier.state.applied_term,
            collected: Collected::from(&applier.state.gc.unwrap_or_default()),
            rng: SmallRng::seed_from_u64(self.rng.next_u64()),
        };
        self.insert(params)?;
        self.out.apply.push(ApplyTask::Register(Box::new(applier)));
        Ok(())
    }

    fn insert(&mut self, params: PeerParams) -> Result<(), StoreError> {
        let region_id = params.region.id;
        self.lives += 1;
        let peer = Peer::new(params, self.lives, &self.config).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        self.delegates.insert(region_id, peer.delegate().clone());
        self.peers.insert(region_id, peer);
        self.out.touched.insert(region_id);
        Ok(())
    }

    /// Takes one input.
    ///
    /// # Errors
    /// Any error stops the store.
    pub fn handle(&mut self, input: Input, now: Monotonic) -> Result<(), StoreError> {
        let config = self.config.clone();
        match input {
            Input::Message(envelope) => return self.on_message(*envelope, now),
            Input::Propose { reply, .. } if self.is_apply_behind() => reply.send(Err(apply_is_behind())),
            Input::Propose { ctx, term, data, reply } => match self.touch(ctx.region_id) {
                Some(peer) => peer.propose((ctx, term, data), reply, now, &config),
                None => reply.send(Err(RegionError::RegionNotFound(ctx.region_id))),
            },
            Input::Admin { ctx, command, reply } => match self.touch(ctx.region_id) {
                Some(peer) => peer.propose_admin(&ctx, command, reply, now, &config),
                None => reply.send(Err(RegionError::RegionNotFound(ctx.region_id))),
            },
            Input::Read { ctx, reply } => match self.touch(ctx.region_id) {
                Some(peer) => peer.read(&ctx, reply, now, &config),
                None => reply.send(Err(RegionError::RegionNotFound(ctx.region_id))),
            },
            Input::TransferLeader { region_id, to, reply } => match self.touch(region_id) {
                Some(peer) => peer.transfer_leader(to, now, &config, reply),
                None => reply.send(Err(RegionError::RegionNotFound(region_id))),
            },
            Input::Campaign(region_id) => {
                if let Some(peer) = self.touch(region_id) {
                    peer.campaign(&config);
                }
            }
            Input::Persisted(number) => return self.on_persisted(number),
            Input::Applied(applied) => {
                self.apply_waiting_bytes -= self.apply_waiting.pop_front().unwrap_or(0);
                for applied in applied {
                    self.on_applied(applied, now)?;
                }
            }
            Input::SnapshotBuilt { region_id, meta } => {
                if let Some(peer) = self.touch(region_id) {
                    peer.set_snapshot(meta.as_deref());
                }
            }
            Input::SnapshotSent { region_id, to, arrived } => {
                if let Some(peer) = self.touch(region_id) {
                    peer.report_snapshot(to, arrived);
                }
            }
            Input::Unreachable(store) => {
                for peer in self.peers.values_mut().filter(|p| p.is_leader()) {
                    peer.report_unreachable(store);
                }
            }
            Input::Status { region_id, reply } => {
                let wanted = |id: &RegionId| region_id.is_none_or(|wanted| wanted == *id);
                let peers = self.peers.iter().filter(|(id, p)| wanted(id) && p.is_initialized());
                reply.send(Ok(peers.map(|(_, p)| p.status(now, &config)).collect::<Vec<PeerStatus>>()));
            }
            Input::Confirmed { peer_id, region } => self.on_confirmed(peer_id, &region),
            Input::Heartbeat(region_id) => {
                if let Some(peer) = self.peers.get_mut(&region_id) {
                    peer.report(now, &config, &mut self.out);
                }
            }
            Input::SnapshotRefused(meta) => self.refuse(*meta),
            Input::Wake => {}
        }
        Ok(())
    }

    /// One step of every region's clock.
    pub fn tick(&mut self, now: Monotonic) {
        let config = self.config.clone();
        for (&id, peer) in &mut self.peers {
            peer.tick(now, &config, &mut self.out);
            self.out.touched.insert(id);
        }
    }

    /// Takes what the inputs since the last call brought about.
    pub fn take_effects(&mut self, now: Monotonic) -> Effects {
        let config = self.config.clone();
        while let Some(id) = self.out.touched.pop_first() {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.collect(now, &config, &mut self.out);
            }
        }
        let batch = std::mem::take(&mut self.out.batch);
        let mut held = std::mem::take(&mut self.out.held);
        let reports = std::mem::take(&mut self.out.reports);
        if batch.is_empty() && self.rounds.is_empty() {
            self.out.pd.extend(reports);
        } else {
            held.reports = reports;
        }
        if !batch.is_empty() {
            let number = self.next_persist;
            self.next_persist += 1;
            self.rounds.push_back(PersistRound { number, held });
            self.out.persist = Some((number, batch));
        } else if !held.is_empty() {
            match self.rounds.back_mut() {
                Some(round) => round.held.extend(held),
                None => self.release(held),
            }
        }
        if !self.out.apply.is_empty() {
            let bytes = self.out.apply.iter().map(ApplyTask::bytes).sum();
            self.apply_waiting.push_back(bytes);
            self.apply_waiting_bytes += bytes;
        }
        std::mem::take(&mut self.out)
    }

    /// Whether apply has so much to do that no more is taken: of a leader it is refused, of a follower dropped, and raft
    /// sends it again.
    fn is_apply_behind(&self) -> bool {
        self.apply_waiting_bytes > self.config.apply_waiting_bytes_max
    }

    fn touch(&mut self, region: RegionId) -> Option<&mut Peer> {
        self.out.touched.insert(region);
        self.peers.get_mut(&region)
    }

    fn on_persisted(&mut self, number: u64) -> Result<(), StoreError> {
        while self.rounds.front().is_some_and(|round| round.number <= number) {
            let Some(round) = self.rounds.pop_front() else { break };
            let regions: Vec<RegionId> = round.held.readies.iter().map(|ready| ready.region).collect();
            self.release(round.held);
            for region in regions {
                self.reload_when_synced(region)?;
            }
        }
        Ok(())
    }

    fn release(&mut self, held: Held) {
        for ready in held.readies {
            if let Some(peer) = self.touch(ready.region).filter(|peer| peer.life() == ready.life) {
                peer.on_persisted(ready.number);
            }
        }
        self.out.send.extend(held.messages);
        self.out.pd.extend(held.reports);
    }

    // ---- messages ----

    fn on_message(&mut self, envelope: Envelope, now: Monotonic) -> Result<(), StoreError> {
        let region_id = RegionId(envelope.region_id);
        let (Some(to), Some(from)) =
            (envelope.to.as_ref().map(RegionPeer::from), envelope.from.as_ref().map(RegionPeer::from))
        else {
            return Ok(());
        };
        if envelope.cluster_id != self.cluster_id || to.store_id != self.id {
            tracing::warn!(region = %region_id, "a raft message for another cluster or store was dropped");
            return Ok(());
        }
        if envelope.is_tombstone {
            self.on_tombstone(&envelope, to.id, now);
            return Ok(());
        }
        let Ok(message) = Message::parse_from_bytes(&envelope.message) else {
            tracing::warn!(region = %region_id, "a raft message does not decode");
            return Ok(());
        };
        let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
        let snapshot = if is_snapshot { snapshot_meta(message.get_snapshot()) } else { None };
        self.take_message(&envelope, (from, to), message, now)?;
        // The files of a snapshot are here before its message is; whatever becomes of the message, they must not stay.
        if let Some(meta) = snapshot
            && !self.peers.get(&region_id).is_some_and(|peer| peer.is_taking(meta.index))
        {
            self.refuse(meta);
        }
        Ok(())
    }

    /// A received snapshot is not taken. Its files go behind whatever apply does with them now.
    fn refuse(&mut self, meta: SnapshotMeta) {
        self.out.apply.push(ApplyTask::Refuse(Box::new(meta)));
    }

    fn take_message(
        &mut self,
        envelope: &Envelope,
        (from, to): (RegionPeer, RegionPeer),
        message: Message,
        now: Monotonic,
    ) -> Result<(), StoreError> {
        let region_id = RegionId(envelope.region_id);
        let epoch = envelope.epoch.as_ref().map(Epoch::from).unwrap_or_default();
        let kind = message.get_msg_type();
        let asks_vote = matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        let election = self.config.tick * self.config.election_ticks as u32;
        if asks_vote && now.since(self.started_at) < election && !mutant("M20") {
            return Ok(());
        }
        if let Some(tombstone) = self.tombstones.get(&region_id)
            && to.id <= tombstone.peer_id
        {
            tracing::debug!(region = %region_id, peer = %to.id, "a message for a removed peer was dropped");
            let is_behind = epoch.conf_ver < tombstone.region.epoch.conf_ver;
            if asks_vote && is_behind {
                let (known, removal) = (tombstone.region.epoch, tombstone.removal);
                self.send_tombstone(envelope, known, removal);
            }
            return Ok(());
        }
        if !self.prepare_peer(envelope, to, &message)? {
            return Ok(());
        }
        let config = self.config.clone();
        // The region may have been split since its snapshot was made: what counts is what the snapshot holds.
        let occupied = kind == MessageType::MsgSnapshot
            && snapshot_range(message.get_snapshot()).is_some_and(|range| self.is_occupied(region_id, &range));
        let is_apply_behind = self.is_apply_behind();
        let Some(peer) = self.peers.get_mut(&region_id) else { return Ok(()) };
        if asks_vote && is_outdated(from.id, epoch, peer.region()) {
            let known = peer.region().epoch;
            self.send_tombstone(envelope, known, None);
            return Ok(());
        }
        if occupied {
            tracing::debug!(region = %region_id, "a snapshot overlaps another region here; it must come again");
            return Ok(());
        }
        if kind == MessageType::MsgAppend && !message.entries.is_empty() && is_apply_behind {
            tracing::debug!(region = %region_id, "apply is behind, entries were dropped");
            return Ok(());
        }
        peer.learn_sender(from, epoch);
        peer.step(message, now, &config);
        self.out.touched.insert(region_id);
        Ok(())
    }

    /// Sees to it that the addressed peer exists. False when the message must be dropped.
    fn prepare_peer(&mut self, envelope: &Envelope, to: RegionPeer, message: &Message) -> Result<bool, StoreError> {
        let region_id = RegionId(envelope.region_id);
        if let Some(peer) = self.peers.get(&region_id) {
            if peer.id() == to.id {
                return Ok(true);
            }
            if peer.id() < to.id {
                // The region removed the peer that is here and added a new one: the old one goes first.
                self.destroy(region_id);
            }
            return Ok(false);
        }
        let kind = message.get_msg_type();
        let asks_vote = matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        let from_leader = matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot);
        if !asks_vote && !from_leader {
            return Ok(false);
        }
        let range = KeyRange::new(envelope.start_key.clone(), envelope.end_key.clone());
        if self.is_occupied(region_id, &range) {
            if asks_vote
                && (self.votes_kept.len() < self.config.votes_kept_max || self.votes_kept.contains_key(&region_id))
            {
                self.votes_kept.insert(region_id, envelope.clone());
            }
            return Ok(false);
        }
        // A log with entries and no region: the split that made it will be applied again.
        if self.log.state(region_id)?.is_some_and(|s| s.state.last_index > 0) {
            return Ok(false);
        }
        let params = PeerParams {
            store_id: self.id,
            cluster_id: self.cluster_id,
            region: Arc::new(Region::unknown(region_id)),
            peer_id: to.id,
            storage: PeerStorage::empty(self.log.clone(), region_id)?,
            applied_index: 0,
            applied_term: 0,
            collected: Collected::default(),
            rng: SmallRng::seed_from_u64(self.rng.next_u64()),
        };
        self.insert(params)?;
        Ok(true)
    }

    /// Whether another region here has data of the range, or is about to.
    fn is_occupied(&self, region_id: RegionId, range: &KeyRange) -> bool {
        let others = self.peers.iter().filter(|(id, _)| **id != region_id);
        others.flat_map(|(_, peer)| peer.claims()).any(|claim| claim.intersect(range).is_some())
    }

    /// Tells the sender that its region has gone on, perhaps without it, or without the peer that it asks. That peer's
    /// removal may be what the sender cannot commit, as it needs the peer's vote for it: of two voters the one that stays
    /// may forget in a crash what it was told by the one that went.
    fn send_tombstone(&mut self, envelope: &Envelope, known: Epoch, removal: Option<(u64, u64)>) {
        let (index, log_term) = removal.unwrap_or_default();
        let message = Message { index, log_term, ..Message::default() };
        let Ok(message) = message.write_to_bytes() else { return };
        self.out.send.push(Envelope {
            region_id: envelope.region_id,
            from: envelope.to,
            to: envelope.from,
            epoch: Some(known.into()),
            is_tombstone: true,
            message: message.into(),
            cluster_id: self.cluster_id,
            ..Envelope::default()
        });
    }

    /// Another store says that the region removed this peer. What the peer voted with is not destroyed on one store's word:
    /// PD is asked.
    fn on_tombstone(&mut self, envelope: &Envelope, peer_id: PeerId, now: Monotonic) {
        let region_id = RegionId(envelope.region_id);
        let Some(peer) = self.peers.get_mut(&region_id).filter(|peer| peer.id() == peer_id) else { return };
        if let Ok(removal) = Message::parse_from_bytes(&envelope.message) {
            peer.learn_committed(removal.index, removal.log_term);
        }
        peer.ask_membership(now, &mut self.out);
        self.out.touched.insert(region_id);
    }

    /// PD knows the region by a leader's report, so its peers are committed.
    fn on_confirmed(&mut self, peer_id: PeerId, region: &Region) {
        let Some(peer) = self.peers.get(&region.id) else { return };
        if peer.id() == peer_id && peer.is_removed_from(region) {
            tracing::info!(region = %region.id, peer = %peer_id, "the region removed this peer while it was away");
            self.destroy(region.id);
        }
    }

    /// Has the peer here and its data removed, once.
    fn destroy(&mut self, region_id: RegionId) {
        let Some(peer) = self.peers.get_mut(&region_id) else { return };
        if peer.leave() {
            let peer_id = peer.id();
            self.out.apply.push(ApplyTask::Destroy { region_id, peer_id });
        }
    }

    // ---- apply's results ----

    fn on_applied(&mut self, applied: Applied, now: Monotonic) -> Result<(), StoreError> {
        let config = self.config.clone();
        let region_id = applied.region_id;
        let peer = self.peers.get_mut(&region_id).filter(|peer| peer.id() == applied.peer_id);
        let Some(peer) = peer else { return Ok(()) };
        self.out.touched.insert(region_id);
        let last = Some((applied.index, applied.term)).filter(|(index, _)| *index > 0);
        for change in peer.on_applied(applied, now, &config, &mut self.out) {
            match change {
                Change::Split { right, gc, .. } => self.on_split(region_id, &right, gc, now)?,
                Change::Removed => self.remove_peer(region_id, last),
                Change::RestoreRefused(_) => self.reload_when_synced(region_id)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A snapshot that raft has accepted cannot be taken after all: the peer begins anew from its storage, as it would after
    /// a restart, once everything that it handed to the log is durable.
    fn reload_when_synced(&mut self, region_id: RegionId) -> Result<(), StoreError> {
        let Some(peer) = self.peers.get(&region_id).filter(|peer| peer.must_reload()) else { return Ok(()) };
        let seed = self.rng.next_u64();
        let params = peer.reload_params(SmallRng::seed_from_u64(seed));
        if let Some(mut before) = self.peers.remove(&region_id) {
            before.fail_all();
        }
        self.insert(params)
    }

    fn remove_peer(&mut self, region_id: RegionId, removal: Option<(u64, u64)>) {
        let Some(mut peer) = self.peers.remove(&region_id) else { return };
        peer.fail_all();
        // A peer without data says nothing about its region; what an earlier one knew of it stays known.
        let earlier = self.tombstones.remove(&region_id).filter(|_| !peer.is_initialized());
        let own = Tombstone { peer_id: peer.id(), region: peer.region().clone(), removal };
        let tombstone = earlier.map_or(own, |earlier| Tombstone { peer_id: peer.id(), ..earlier });
        self.tombstones.insert(region_id, tombstone);
        self.delegates.remove(region_id);
        // Behind what the log queue may still have of the peer.
        self.out.persist_region(region_id, RegionAppend::removal());
    }

    /// Makes the peers of the regions that a split made. The store that led the old region campaigns for them at once.
    fn on_split(
        &mut self,
        old: RegionId,
        right: &[Arc<Region>],
        gc: GcState,
        now: Monotonic,
    ) -> Result<(), StoreError> {
        let config = self.config.clone();
        let led = self.peers.get(&old).is_some_and(Peer::is_leader);
        if let Some(peer) = self.peers.get(&old) {
            // The engine knows of the new regions when it is flushed next. A crash before that must find the split again,
            // in the old region's log and committed, whatever has become of the old region by then: it is all that there
            // is of theirs here.
            let state = Some(peer.local_state());
            self.out.persist_region(old, RegionAppend { reset: false, entries: Vec::new(), state });
        }
        for region in right {
            let Some(own) = region.peer_on(self.id) else { continue };
            if self.tombstones.get(&region.id).is_some_and(|tombstone| own.id <= tombstone.peer_id) {
                continue;
            }
            let earlier = self.peers.remove(&region.id).map(|p| p.hard_state());
            let conf_state = conf_state_of(region);
            let state = ApplyState { gc: Some(gc), ..initial_apply_state() };
            let applier = Applier { region: region.clone(), peer_id: own.id, state, conf_state };
            self.add_peer(applier, earlier)?;
            // Apply made its own record when it applied the split.
            self.out.apply.pop();
            if led && let Some(peer) = self.touch(region.id) {
                peer.campaign(&config);
            }
            if let Some(vote) = self.votes_kept.remove(&region.id) {
                self.on_message(vote, now)?;
            }
        }
        if let Some(peer) = self.peers.get_mut(&old) {
            peer.report(now, &config, &mut self.out);
        }
        Ok(())
    }
}

fn apply_is_behind() -> RegionError {
    RegionError::ServerIsBusy { reason: "apply is behind", backoff: Duration::from_millis(50) }
}

/// Whether a sender was a member no more when the region was as it is known here, and does not know it.
fn is_outdated(sender: PeerId, epoch: Epoch, known: &Region) -> bool {
    epoch.conf_ver < known.epoch.conf_ver && known.peer(sender).is_none()
}

/// The records that make a store the first peer of a new region.
///
/// # Errors
/// [`StoreError`] when the region has no peer on the store.
pub fn bootstrap_region(region: &Region, store: StoreId) -> Result<Vec<crate::engine::Modify>, StoreError> {
    let peer = region.peer_on(store).ok_or_else(|| StoreError::Corrupt("a first region without a peer here".into()))?;
    let conf_state = conf_state_of(region);
    let applier =
        Applier { region: Arc::new(region.clone()), peer_id: peer.id, state: initial_apply_state(), conf_state };
    Ok(vec![keys::put_apply_state(region.id, &applier.state), put_region(PeerState::Normal, &applier)?])
}

#[cfg(test)]
mod tests;
