//! What goes into the store's state machine, and the answers that come back to whoever asked.

use super::apply::Applied;
use crate::error::RegionError;
use crate::replicated::RegionCtx;
use basalt_common::env::Monotonic;
use basalt_common::{Peer, PeerId, Region, RegionId, StoreId};
use basalt_proto::raft::{AdminCommand, Envelope, SnapshotMeta};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where an answer goes. Dropped without an answer, the caller sees that its fate is not known.
#[derive(Debug)]
pub struct Reply<T>(Option<oneshot::Sender<Result<T, RegionError>>>);

impl<T> Reply<T> {
    /// A reply and where it arrives.
    pub fn channel() -> (Reply<T>, oneshot::Receiver<Result<T, RegionError>>) {
        let (tx, rx) = oneshot::channel();
        (Reply(Some(tx)), rx)
    }

    /// An answer that nobody waits for.
    pub fn ignore() -> Reply<T> {
        Reply(None)
    }

    /// Answers. A caller that went away is no error.
    pub fn send(self, result: Result<T, RegionError>) {
        if let Some(tx) = self.0 {
            let _ = tx.send(result);
        }
    }
}

/// The answer to an admin command.
#[derive(Debug, Clone, PartialEq)]
pub enum AdminDone {
    /// The regions that the split region became, left to right.
    Split(Vec<Region>),
    /// The hash of the region's data.
    Hash(RegionHash),
    /// Done.
    Done,
}

/// A hash over a region's data families at one applied index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegionHash {
    /// The entry at which it was computed; equal indexes must have equal hashes.
    pub applied_index: u64,
    /// FNV-1a over families, keys and values.
    pub hash: u64,
    /// Entries of all families.
    pub keys: u64,
}

/// Permission to read: taken after it, an engine snapshot is linearizable for the request that asked.
#[derive(Debug, Clone)]
pub struct ReadGrant {
    /// The region when it was granted.
    pub region: Arc<Region>,
    /// The leader's term.
    pub term: u64,
}

/// Who waits for a proposal to be applied.
#[derive(Debug)]
pub enum ProposalReply {
    /// A write.
    Write(Reply<()>),
    /// An admin command.
    Admin(Reply<AdminDone>),
}

impl ProposalReply {
    /// Answers with an error.
    pub fn fail(self, error: RegionError) {
        match self {
            ProposalReply::Write(reply) => reply.send(Err(error)),
            ProposalReply::Admin(reply) => reply.send(Err(error)),
        }
    }
}

/// What a peer looks like from outside.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// Its region as applied here.
    pub region: Arc<Region>,
    /// The peer's id.
    pub peer_id: PeerId,
    /// Who leads, if known.
    pub leader: Option<Peer>,
    /// Whether this peer leads.
    pub is_leader: bool,
    /// Current term.
    pub term: u64,
    /// Last entry applied.
    pub applied_index: u64,
    /// First entry of the log.
    pub first_index: u64,
    /// Last entry of the log.
    pub last_index: u64,
    /// The last hash computed here.
    pub hash: Option<RegionHash>,
    /// Voters that could lead at once, where this peer leads.
    pub successors: Vec<Peer>,
}

/// One input of the store's state machine.
#[derive(Debug)]
pub enum Input {
    /// From another store. For a snapshot, its files are already here.
    Message(Box<Envelope>),
    /// A write: an encoded `RaftCommand` made for this context and term.
    Propose {
        /// The region and epoch it was made for.
        ctx: RegionCtx,
        /// The term of the snapshot it follows from.
        term: u64,
        /// `RaftCommand`, encoded.
        data: Bytes,
        /// Answered when applied.
        reply: Reply<()>,
    },
    /// A split, compaction, change of peers or hash.
    Admin {
        /// The region; its epoch is checked unless it is the default.
        ctx: RegionCtx,
        /// What to do.
        command: AdminCommand,
        /// Answered when applied.
        reply: Reply<AdminDone>,
    },
    /// A read that found no lease.
    Read {
        /// The region and epoch.
        ctx: RegionCtx,
        /// Answered when a quorum confirmed that this peer leads.
        reply: Reply<ReadGrant>,
    },
    /// Hand leadership to another peer; answered when the hand-over began.
    TransferLeader {
        /// Of which region.
        region_id: RegionId,
        /// To whom.
        to: PeerId,
        /// Answered at once.
        reply: Reply<()>,
    },
    /// Ask for leadership now.
    Campaign(RegionId),
    /// Everything up to this batch is durable.
    Persisted(u64),
    /// What apply did.
    Applied(Vec<Applied>),
    /// A snapshot that was asked for is exported, or failed.
    SnapshotBuilt {
        /// Of which region.
        region_id: RegionId,
        /// What was exported.
        meta: Option<Box<SnapshotMeta>>,
    },
    /// A snapshot arrived at its target, or did not.
    SnapshotSent {
        /// Of which region.
        region_id: RegionId,
        /// To which peer.
        to: PeerId,
        /// Whether it arrived.
        arrived: bool,
    },
    /// Messages to a store were lost.
    Unreachable(StoreId),
    /// What the store's peers look like; all when no region is named.
    Status {
        /// Which.
        region_id: Option<RegionId>,
        /// Where the answer goes.
        reply: Reply<Vec<PeerStatus>>,
    },
    /// PD says that this is the region now: whether the peer here is still one of its peers.
    Confirmed {
        /// The peer that asked.
        peer_id: PeerId,
        /// What PD knows.
        region: Box<Region>,
    },
    /// Report a region to PD now.
    Heartbeat(RegionId),
    /// A snapshot that was received could not be handed in.
    SnapshotRefused(Box<SnapshotMeta>),
    /// Nothing happened: whoever waits for inputs is to look around.
    Wake,
}

/// A proposal that is in the log and not yet applied.
#[derive(Debug)]
pub struct Proposed {
    /// Its place in the log.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// When it was proposed, before it was sent to anyone.
    pub at: Monotonic,
    /// Who waits.
    pub reply: ProposalReply,
}
