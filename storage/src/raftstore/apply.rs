//! Applies committed entries of all regions of a store to the data engine.
//!
//! ```text
//!  entry ─ decode ─ epoch equal? ─┬─ no: refused, by every replica alike (EpochNotMatch)
//!                                 └─ yes ─ writes ──────────────┐
//!                                          split, peers, … ─────┤ region state
//!                                                               ▼
//!                              one engine batch for many regions, with each region's apply state
//! ```
//! The answers to proposals leave after the engine has the batch; what changed about regions goes back to the raft store.
//! An error of the engine stops the store. An entry that does not decode does, too: a replica that skipped it would differ.
//!
//! A peer that is removed, and a region that is replaced by a snapshot, flush the engine before and after, so that a crash
//! finds either what was or what is to be. These are rare.

mod command;

pub use command::{encode_modify, hash_region};

use super::StoreError;
use super::delegate::Delegates;
use super::keys;
use super::message::{AdminDone, ProposalReply, Proposed, RegionHash};
use super::peer_storage::{conf_state_of, initial_apply_state};
use super::snapshot::SnapshotFiles;
use crate::collected::{self, Collected};
use crate::engine::{Cf, DATA_CFS, Engine, EngineRange, Modify, Snapshot};
use crate::error::RegionError;
use crate::raftlog::entry_bytes;
use basalt_common::mutant::mutant;
use basalt_common::{Epoch, KeyRange, Peer, PeerId, PeerRole, Region, RegionId, StoreId};
use basalt_proto::raft::change_peers_command::Kind;
use basalt_proto::raft::{
    AdminCommand, ApplyState, ChangePeersCommand, GcState, PeerState, RaftCommand, RegionLocalState, SnapshotMeta,
    SplitCommand, admin_command,
};
use bytes::Bytes;
use command::{decode_modify, split_region};
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, ConfState, Entry, EntryType};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Work for apply, in the order in which the raft store handed it out.
#[derive(Debug)]
pub enum ApplyTask {
    /// A peer with data appeared.
    Register(Box<Applier>),
    /// Committed entries, and the proposals whose fate they decide.
    Entries {
        /// Of which region.
        region_id: RegionId,
        /// In order, following what was applied.
        entries: Vec<Entry>,
        /// Proposals up to the last entry, and those that can no longer be committed.
        proposed: Vec<Proposed>,
    },
    /// Replace the region's data by a received snapshot.
    Restore {
        /// Which region.
        region_id: RegionId,
        /// The peer on this store.
        peer_id: PeerId,
        /// `SnapshotMeta`, encoded.
        data: Bytes,
    },
    /// Remove a received snapshot that is not taken. Here, so that it never goes while it is being restored.
    Refuse(Box<SnapshotMeta>),
    /// Take a snapshot for a follower.
    Export {
        /// Of which region.
        region_id: RegionId,
    },
    /// Remove the peer and its data.
    Destroy {
        /// Of which region.
        region_id: RegionId,
        /// The peer that goes.
        peer_id: PeerId,
    },
}

impl ApplyTask {
    /// About how much memory it holds until it is done.
    pub fn bytes(&self) -> u64 {
        match self {
            ApplyTask::Entries { entries, .. } => entries.iter().map(entry_bytes).sum(),
            _ => 0,
        }
    }
}

/// What was applied to one region.
#[derive(Debug)]
pub struct Applied {
    /// Which region.
    pub region_id: RegionId,
    /// By which peer of it: another may have its place on this store by the time this is heard.
    pub peer_id: PeerId,
    /// Last entry applied; 0 when none was.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What changed beside the data, in order.
    pub changes: Vec<Change>,
}

/// What changed about a region.
#[derive(Debug)]
pub enum Change {
    /// It was split.
    Split {
        /// What keeps the id.
        left: Arc<Region>,
        /// The new regions, left to right.
        right: Vec<Arc<Region>>,
        /// How far garbage collection is in all of them.
        gc: GcState,
    },
    /// Its raft group changed.
    Conf {
        /// For the raft node.
        change: ConfChangeV2,
        /// The region afterwards; `None` when only a joint configuration was left.
        region: Option<Arc<Region>>,
    },
    /// Its log may begin behind this entry.
    Truncated {
        /// Last index cut off.
        index: u64,
        /// Its term.
        term: u64,
    },
    /// Its data was hashed.
    Hashed(RegionHash),
    /// A snapshot replaced its data.
    Restored {
        /// The region as of the snapshot.
        region: Arc<Region>,
        /// The snapshot's index.
        index: u64,
        /// The snapshot's term.
        term: u64,
        /// The raft group as of the snapshot.
        conf_state: Box<ConfState>,
    },
    /// A snapshot's files turned out damaged; nothing was touched. How the region stands, if it has data here.
    RestoreRefused(Option<Box<Applier>>),
    /// A snapshot was taken; its export began.
    Exported,
    /// This store's peer was removed.
    Removed,
}

/// A snapshot to be written to files.
pub struct ExportJob {
    /// Region, index, term; without files yet.
    pub meta: SnapshotMeta,
    /// The data.
    pub data: Arc<dyn Snapshot>,
}

/// The context of an entry that carries an admin command; a change of peers has another.
pub const ADMIN_CONTEXT: &[u8] = b"admin";

/// Whether an entry carries an admin command, by what is outside of it. One written before there was a mark for it counts
/// as a write, which costs time and nothing else.
pub fn is_admin(entry: &Entry) -> bool {
    entry.get_entry_type() != EntryType::EntryNormal || !entry.context.is_empty()
}

/// What apply knows of one region.
#[derive(Debug, Clone)]
pub struct Applier {
    /// The region as applied.
    pub region: Arc<Region>,
    /// This store's peer.
    pub peer_id: PeerId,
    /// How far.
    pub state: ApplyState,
    /// The raft group, which may be between two configurations.
    pub conf_state: ConfState,
}

/// Applies for all regions of a store.
pub struct ApplyCore {
    engine: Arc<dyn Engine>,
    store_id: StoreId,
    files: Arc<SnapshotFiles>,
    delegates: Arc<Delegates>,
    batch_bytes_max: usize,
    appliers: BTreeMap<RegionId, Applier>,
    batch: Vec<Modify>,
    batch_bytes: usize,
    answers: Vec<(ProposalReply, Result<AdminDone, RegionError>)>,
    exports: Vec<ExportJob>,
}

impl ApplyCore {
    /// Applies to `engine`, starting with no regions.
    pub fn new(
        engine: Arc<dyn Engine>,
        store_id: StoreId,
        files: Arc<SnapshotFiles>,
        delegates: Arc<Delegates>,
        batch_bytes_max: usize,
    ) -> Self {
        ApplyCore {
            engine,
            store_id,
            files,
            delegates,
            batch_bytes_max,
            appliers: BTreeMap::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            answers: Vec::new(),
            exports: Vec::new(),
        }
    }

    /// Does the tasks, answers the proposals, and says what became of each region.
    ///
    /// # Errors
    /// Any error stops the store.
    pub fn run(&mut self, tasks: Vec<ApplyTask>) -> Result<Vec<Applied>, StoreError> {
        let mut done = Vec::with_capacity(tasks.len());
        for task in tasks {
            match task {
                ApplyTask::Register(applier) => {
                    self.appliers.insert(applier.region.id, *applier);
                }
                ApplyTask::Entries { region_id, entries, proposed } => {
                    done.extend(self.apply_entries(region_id, entries, proposed)?);
                }
                ApplyTask::Restore { region_id, peer_id, data } => done.push(self.restore(region_id, peer_id, data)?),
                ApplyTask::Refuse(meta) => self.files.remove_received(&meta),
                ApplyTask::Export { region_id } => done.extend(self.export(region_id)?),
                ApplyTask::Destroy { region_id, peer_id } => done.push(self.destroy(region_id, peer_id)?),
            }
        }
        self.write()?;
        Ok(done)
    }

    /// Snapshots taken since the last call; writing them to files may happen on any thread.
    pub fn take_exports(&mut self) -> Vec<ExportJob> {
        std::mem::take(&mut self.exports)
    }

    fn push(&mut self, modify: Modify) {
        self.batch_bytes += match &modify {
            Modify::Put { key, value, .. } => key.len() + value.len(),
            Modify::Delete { key, .. } => key.len(),
            Modify::DeleteRange { start, end, .. } => start.len() + end.len(),
        };
        self.batch.push(modify);
    }

    /// Writes the batch and lets the answers out.
    fn write(&mut self) -> Result<(), StoreError> {
        if !self.batch.is_empty() {
            // The store stops now; see `Delegates::close`.
            self.engine.write(&self.batch).inspect_err(|_| self.delegates.close())?;
            self.batch.clear();
            self.batch_bytes = 0;
        }
        for (reply, result) in self.answers.drain(..) {
            match reply {
                ProposalReply::Write(reply) => reply.send(result.map(|_| ())),
                ProposalReply::Admin(reply) => reply.send(result),
            }
        }
        Ok(())
    }

    fn apply_entries(
        &mut self,
        region_id: RegionId,
        entries: Vec<Entry>,
        proposed: Vec<Proposed>,
    ) -> Result<Option<Applied>, StoreError> {
        let Some(mut applier) = self.appliers.remove(&region_id) else {
            // The others of the region may apply them yet.
            for lost in proposed {
                lost.reply.fail(RegionError::Undetermined);
            }
            return Ok(None);
        };
        let mut proposed = proposed.into_iter().peekable();
        let mut changes = Vec::new();
        let mut removed = false;
        for entry in entries {
            if entry.index != applier.state.applied_index + 1 {
                let (at, next) = (entry.index, applier.state.applied_index + 1);
                return Err(StoreError::Corrupt(format!("region {region_id} was to apply {next} and got {at}")));
            }
            while let Some(stale) = proposed.next_if(|p| p.index < entry.index || (p.term, p.index) < (entry.term, 0)) {
                self.answers.push((stale.reply, Err(RegionError::StaleCommand)));
            }
            applier.state.applied_index = entry.index;
            applier.state.applied_term = entry.term;
            let result = if removed {
                // Nothing for this replica any more, and the others apply it.
                Err(RegionError::Undetermined)
            } else {
                self.apply_entry(&mut applier, &entry, &mut changes)?
            };
            if let Some(own) = proposed.next_if(|p| p.index == entry.index) {
                let result = if own.term == entry.term { result } else { Err(RegionError::StaleCommand) };
                self.answers.push((own.reply, result));
            }
            // A voter on its way out is needed for the quorum until the joint configuration is left.
            let leaving = applier.conf_state.voters_outgoing.contains(&applier.peer_id.0);
            removed = !leaving && applier.region.peer(applier.peer_id).is_none();
        }
        for stale in proposed {
            self.answers.push((stale.reply, Err(RegionError::StaleCommand)));
        }
        let (index, term, peer_id) = (applier.state.applied_index, applier.state.applied_term, applier.peer_id);
        if removed {
            // How far it came stays known: the removal may be committed by this peer's word alone.
            let applied = keys::put_apply_state(region_id, &applier.state);
            self.remove_data(&applier.region, applier.peer_id, applied)?;
            changes.push(Change::Removed);
        } else {
            self.push(keys::put_apply_state(region_id, &applier.state));
            self.appliers.insert(region_id, applier);
            if self.batch_bytes > self.batch_bytes_max {
                self.write()?;
            }
        }
        Ok(Some(Applied { region_id, peer_id, index, term, changes }))
    }

    fn apply_entry(
        &mut self,
        applier: &mut Applier,
        entry: &Entry,
        changes: &mut Vec<Change>,
    ) -> Result<Result<AdminDone, RegionError>, StoreError> {
        let bytes = match entry.get_entry_type() {
            EntryType::EntryNormal => entry.data.clone(),
            EntryType::EntryConfChangeV2 | EntryType::EntryConfChange => entry.context.clone(),
        };
        if bytes.is_empty() {
            if entry.get_entry_type() == EntryType::EntryConfChangeV2 {
                self.leave_joint(applier, changes);
            }
            return Ok(Ok(AdminDone::Done));
        }
        let command = RaftCommand::decode(bytes).map_err(|e| {
            StoreError::Corrupt(format!("entry {} of region {} does not decode: {e}", entry.index, applier.region.id))
        })?;
        let epoch = command.epoch.as_ref().map(Epoch::from).unwrap_or_default();
        let is_compaction =
            matches!(&command.admin, Some(a) if matches!(a.kind, Some(admin_command::Kind::CompactLog(_))));
        if epoch != applier.region.epoch && !is_compaction && !mutant("M22") {
            return Ok(Err(RegionError::EpochNotMatch(vec![(*applier.region).clone()])));
        }
        if let Some(step) = &command.gc {
            let gc = applier.state.gc.get_or_insert_default();
            collected::advance(gc, step);
            // Before the deletions are written, and so before any snapshot that lacks what they delete.
            if let Some(delegate) = self.delegates.get(applier.region.id) {
                delegate.raise_collected(Collected::from(&*gc));
            }
        }
        for modify in command.modifies {
            let modify = decode_modify(modify)?;
            collected::count(applier.state.gc.get_or_insert_default(), &modify, command.gc.is_some());
            self.push(modify);
        }
        match command.admin {
            None => Ok(Ok(AdminDone::Done)),
            Some(admin) => self.apply_admin(applier, admin, entry, changes),
        }
    }

    fn apply_admin(
        &mut self,
        applier: &mut Applier,
        admin: AdminCommand,
        entry: &Entry,
        changes: &mut Vec<Change>,
    ) -> Result<Result<AdminDone, RegionError>, StoreError> {
        match admin.kind {
            Some(admin_command::Kind::Split(split)) => self.apply_split(applier, &split, changes),
            Some(admin_command::Kind::CompactLog(compact)) => {
                if compact.index > applier.state.truncated_index && compact.index < entry.index {
                    applier.state.truncated_index = compact.index;
                    applier.state.truncated_term = compact.term;
                    changes.push(Change::Truncated { index: compact.index, term: compact.term });
                }
                Ok(Ok(AdminDone::Done))
            }
            Some(admin_command::Kind::ChangePeers(command)) => {
                self.apply_change_peers(applier, &command, entry, changes)
            }
            Some(admin_command::Kind::ComputeHash(_)) => {
                self.push(keys::put_apply_state(applier.region.id, &applier.state));
                self.write()?;
                let mut hash = hash_region(&*self.engine.snapshot(), &applier.region.range)?;
                hash.applied_index = entry.index;
                changes.push(Change::Hashed(hash));
                Ok(Ok(AdminDone::Hash(hash)))
            }
            None => Ok(Ok(AdminDone::Done)),
        }
    }

    /// The region keeps its id and the leftmost part; each new region gets the range up to the next split key.
    fn apply_split(
        &mut self,
        applier: &mut Applier,
        split: &SplitCommand,
        changes: &mut Vec<Change>,
    ) -> Result<Result<AdminDone, RegionError>, StoreError> {
        let old = applier.region.clone();
        let Some(regions) = split_region(&old, split) else {
            return Ok(Err(RegionError::KeyNotInRegion(Box::new((*old).clone()))));
        };
        let regions: Vec<Arc<Region>> = regions.into_iter().map(Arc::new).collect();
        let gc = GcState { deleted: 0, ..applier.state.gc.unwrap_or_default() };
        for region in &regions[1..] {
            let Some(peer) = region.peer_on(self.store_id) else { continue };
            let record = keys::load_region_state(&*self.engine, region.id)?;
            if record.is_some_and(|r| r.state() == PeerState::PeerTombstone && peer.id.0 <= r.peer_id) {
                // It was removed before this replica heard that it was made.
                clear_range(&region.range).into_iter().for_each(|modify| self.push(modify));
                continue;
            }
            let conf_state = conf_state_of(region);
            let state = ApplyState { gc: Some(gc), ..initial_apply_state() };
            let new = Applier { region: region.clone(), peer_id: peer.id, state, conf_state };
            self.push(keys::put_apply_state(region.id, &new.state));
            self.push(put_region(PeerState::Normal, &new)?);
            self.appliers.insert(region.id, new);
        }
        applier.region = regions[0].clone();
        let record = put_region(PeerState::Normal, applier)?;
        self.push(record);
        if let Some(delegate) = self.delegates.get(old.id) {
            delegate.set_region(regions[0].clone());
        }
        changes.push(Change::Split { left: regions[0].clone(), right: regions[1..].to_vec(), gc });
        Ok(Ok(AdminDone::Split(regions.iter().map(|r| (**r).clone()).collect())))
    }

    fn apply_change_peers(
        &mut self,
        applier: &mut Applier,
        command: &ChangePeersCommand,
        entry: &Entry,
        changes: &mut Vec<Change>,
    ) -> Result<Result<AdminDone, RegionError>, StoreError> {
        let change = ConfChangeV2::parse_from_bytes(&entry.data)
            .map_err(|e| StoreError::Corrupt(format!("a change of peers does not decode: {e}")))?;
        let mut region = (*applier.region).clone();
        for change in &command.changes {
            let Some(peer) = change.peer.as_ref().map(Peer::from) else { continue };
            let role = if change.kind() == Kind::AddVoter { PeerRole::Voter } else { PeerRole::Learner };
            let before = region.peer(peer.id);
            let refused = match change.kind() {
                Kind::Remove => before.is_none() || region.peers.len() == 1,
                Kind::AddVoter | Kind::AddLearner => {
                    let elsewhere = region.peer_on(peer.store_id).is_some_and(|p| p.id != peer.id);
                    elsewhere || before.is_some_and(|p| p.role == PeerRole::Voter || p.role == role)
                }
            };
            if refused {
                return Ok(Err(RegionError::EpochNotMatch(vec![(*applier.region).clone()])));
            }
            region.peers.retain(|p| p.id != peer.id);
            if change.kind() != Kind::Remove {
                region.peers.push(Peer { role, ..peer });
            }
            region.epoch.conf_ver += 1;
        }
        let mut conf_state = conf_state_of(&region);
        if command.changes.len() > 1 {
            conf_state.voters_outgoing = applier.conf_state.voters.clone();
            conf_state.auto_leave = true;
        }
        applier.region = Arc::new(region);
        applier.conf_state = conf_state;
        let record = put_region(PeerState::Normal, applier)?;
        self.push(record);
        changes.push(Change::Conf { change, region: Some(applier.region.clone()) });
        Ok(Ok(AdminDone::Split(vec![(*applier.region).clone()])))
    }

    fn leave_joint(&mut self, applier: &mut Applier, changes: &mut Vec<Change>) {
        if applier.conf_state.voters_outgoing.is_empty() {
            return;
        }
        applier.conf_state.voters_outgoing.clear();
        applier.conf_state.auto_leave = false;
        if let Ok(record) = put_region(PeerState::Normal, applier) {
            self.push(record);
        }
        changes.push(Change::Conf { change: ConfChangeV2::default(), region: None });
    }

    fn export(&mut self, region_id: RegionId) -> Result<Option<Applied>, StoreError> {
        self.write()?;
        let Some(applier) = self.appliers.get(&region_id) else { return Ok(None) };
        let conf_state = applier.conf_state.write_to_bytes().map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let meta = SnapshotMeta {
            region: Some((&*applier.region).into()),
            index: applier.state.applied_index,
            term: applier.state.applied_term,
            files: Vec::new(),
            conf_state: conf_state.into(),
            gc: applier.state.gc,
        };
        let peer_id = applier.peer_id;
        self.exports.push(ExportJob { meta, data: self.engine.snapshot() });
        Ok(Some(Applied { region_id, peer_id, index: 0, term: 0, changes: vec![Change::Exported] }))
    }

    /// Replaces the region's data: check, mark, clear, ingest, unmark. A crash in between starts again from the mark.
    fn restore(&mut self, region_id: RegionId, peer_id: PeerId, data: Bytes) -> Result<Applied, StoreError> {
        self.write()?;
        let standing = self.appliers.get(&region_id).cloned().map(Box::new);
        let refused = |error: StoreError| {
            tracing::warn!(region = %region_id, %error, "a received snapshot cannot be used; it must come again");
            Applied { region_id, peer_id, index: 0, term: 0, changes: vec![Change::RestoreRefused(standing)] }
        };
        let meta = match SnapshotMeta::decode(data) {
            Ok(meta) => meta,
            Err(error) => return Ok(refused(StoreError::Corrupt(format!("snapshot meta: {error}")))),
        };
        let parts = match self.files.received(&meta) {
            Ok(parts) => parts,
            Err(error) => {
                self.files.remove_received(&meta);
                return Ok(refused(error));
            }
        };
        let old = self.appliers.remove(&region_id).map(|a| a.region.range.clone());
        let applier = restore_region(&*self.engine, &meta, parts, peer_id, old)?;
        self.files.remove_received(&meta);
        if let Some(delegate) = self.delegates.get(region_id) {
            delegate.raise_collected(Collected::from(&applier.state.gc.unwrap_or_default()));
        }
        let change = Change::Restored {
            region: applier.region.clone(),
            index: meta.index,
            term: meta.term,
            conf_state: Box::new(applier.conf_state.clone()),
        };
        self.appliers.insert(region_id, applier);
        Ok(Applied { region_id, peer_id, index: meta.index, term: meta.term, changes: vec![change] })
    }

    fn destroy(&mut self, region_id: RegionId, peer_id: PeerId) -> Result<Applied, StoreError> {
        self.write()?;
        match self.appliers.remove(&region_id) {
            // What has its place here by now is another peer's.
            Some(other) if other.peer_id != peer_id => drop(self.appliers.insert(region_id, other)),
            Some(applier) => {
                let forgotten = Modify::Delete { cf: Cf::Local, key: keys::apply_state_key(region_id) };
                self.remove_data(&applier.region, peer_id, forgotten)?;
            }
            None => {
                // A peer without data says nothing about its region; what an earlier one knew of it stays known.
                let earlier = keys::load_region_state(&*self.engine, region_id)?.and_then(|record| record.region);
                let region = earlier.as_ref().map_or_else(|| Region::unknown(region_id), Region::from);
                self.engine.write(&[tombstone(&region, peer_id)])?;
                self.engine.flush()?;
            }
        }
        Ok(Applied { region_id, peer_id, index: 0, term: 0, changes: vec![Change::Removed] })
    }

    fn remove_data(&mut self, region: &Region, peer_id: PeerId, apply_state: Modify) -> Result<(), StoreError> {
        for modify in clear_range(&region.range) {
            self.push(modify);
        }
        self.push(apply_state);
        self.push(tombstone(region, peer_id));
        self.write()?;
        self.engine.flush()?;
        Ok(())
    }
}

/// Puts a received snapshot, whose files were checked, in place of what the store has of its range. Also run at start for a
/// region that a crash left marked.
///
/// # Errors
/// [`StoreError`] when the snapshot contradicts itself or the engine fails.
pub fn restore_region(
    engine: &dyn Engine,
    meta: &SnapshotMeta,
    parts: Vec<(Cf, PathBuf)>,
    peer_id: PeerId,
    old: Option<KeyRange>,
) -> Result<Applier, StoreError> {
    let region = meta.region.as_ref().map(Region::from).ok_or_else(|| corrupt("a snapshot names no region"))?;
    let state = ApplyState {
        applied_index: meta.index,
        applied_term: meta.term,
        truncated_index: meta.index,
        truncated_term: meta.term,
        gc: meta.gc,
    };
    let conf_state = ConfState::parse_from_bytes(&meta.conf_state).map_err(|e| corrupt(&e.to_string()))?;
    let applier = Applier { region: Arc::new(region), peer_id, state, conf_state };
    let id = applier.region.id;
    engine.write(&[keys::put_apply_state(id, &applier.state), put_region(PeerState::Applying, &applier)?])?;
    engine.flush()?;
    let mut clear = clear_range(&applier.region.range);
    clear.extend(old.iter().flat_map(clear_range));
    engine.write(&clear)?;
    for (cf, path) in parts {
        engine.ingest(cf, &path)?;
    }
    engine.write(&[put_region(PeerState::Normal, &applier)?])?;
    engine.flush()?;
    Ok(applier)
}

fn clear_range(range: &KeyRange) -> Vec<Modify> {
    let EngineRange { start, end } = range.into();
    DATA_CFS.map(|cf| Modify::DeleteRange { cf, start: start.clone(), end: end.clone() }).into()
}

/// The record of a region that has data here.
///
/// # Errors
/// [`StoreError::Corrupt`] when the raft group cannot be encoded, which does not happen.
pub fn put_region(state: PeerState, applier: &Applier) -> Result<Modify, StoreError> {
    let record = RegionLocalState {
        state: state as i32,
        region: Some((&*applier.region).into()),
        conf_state: applier.conf_state.write_to_bytes().map_err(|e| corrupt(&e.to_string()))?.into(),
        peer_id: applier.peer_id.0,
    };
    Ok(keys::put_region_state(applier.region.id, &record))
}

fn tombstone(region: &Region, peer_id: PeerId) -> Modify {
    let record = RegionLocalState {
        state: PeerState::PeerTombstone as i32,
        region: Some(region.into()),
        conf_state: Bytes::new(),
        peer_id: peer_id.0,
    };
    keys::put_region_state(region.id, &record)
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}
