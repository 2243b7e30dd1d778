//! Regions, epochs and peers, and their conversion from and to messages.

use crate::id::{PeerId, RegionId, StoreId};
use crate::key::KeyRange;
use basalt_proto::meta;

/// Which configuration of a region a request was made for. Compared for equality, at propose and at apply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Epoch {
    /// Raised by changes of membership.
    pub conf_ver: u64,
    /// Raised by splits and merges.
    pub version: u64,
}

/// Whether a peer counts for the quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum PeerRole {
    /// Votes and may lead.
    Voter,
    /// Only receives the log.
    Learner,
}

/// A replica of a region on a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Peer {
    /// The replica's own id.
    pub id: PeerId,
    /// Where it lives.
    pub store_id: StoreId,
    /// Whether it votes.
    pub role: PeerRole,
}

/// A key range and its raft group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// Kept over splits by the leftmost part.
    pub id: RegionId,
    /// The keys it holds.
    pub range: KeyRange,
    /// Its configuration.
    pub epoch: Epoch,
    /// Its replicas, at most one a store.
    pub peers: Vec<Peer>,
}

impl Region {
    /// A region of which only the id is known.
    pub fn unknown(id: RegionId) -> Region {
        Region { id, range: KeyRange::all(), epoch: Epoch::default(), peers: Vec::new() }
    }

    /// The region's peer on a store.
    pub fn peer_on(&self, store: StoreId) -> Option<Peer> {
        self.peers.iter().copied().find(|p| p.store_id == store)
    }

    /// A peer by id.
    pub fn peer(&self, id: PeerId) -> Option<Peer> {
        self.peers.iter().copied().find(|p| p.id == id)
    }

    /// True if the region holds `key`.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.range.contains(key)
    }
}

impl From<Epoch> for meta::RegionEpoch {
    fn from(e: Epoch) -> Self {
        meta::RegionEpoch { conf_ver: e.conf_ver, version: e.version }
    }
}
impl From<&meta::RegionEpoch> for Epoch {
    fn from(e: &meta::RegionEpoch) -> Self {
        Epoch { conf_ver: e.conf_ver, version: e.version }
    }
}
impl From<Peer> for meta::Peer {
    fn from(p: Peer) -> Self {
        let role = match p.role {
            PeerRole::Voter => meta::PeerRole::Voter,
            PeerRole::Learner => meta::PeerRole::Learner,
        };
        meta::Peer { id: p.id.0, store_id: p.store_id.0, role: role as i32 }
    }
}
impl From<&meta::Peer> for Peer {
    fn from(p: &meta::Peer) -> Self {
        let role = if p.role == meta::PeerRole::Learner as i32 { PeerRole::Learner } else { PeerRole::Voter };
        Peer { id: PeerId(p.id), store_id: StoreId(p.store_id), role }
    }
}
impl From<&Region> for meta::Region {
    fn from(r: &Region) -> Self {
        meta::Region {
            id: r.id.0,
            start_key: r.range.start.0.clone(),
            end_key: r.range.end.0.clone(),
            epoch: Some(r.epoch.into()),
            peers: r.peers.iter().map(|&p| p.into()).collect(),
        }
    }
}
impl From<&meta::Region> for Region {
    fn from(r: &meta::Region) -> Self {
        Region {
            id: RegionId(r.id),
            range: KeyRange::new(r.start_key.clone(), r.end_key.clone()),
            epoch: r.epoch.as_ref().map(Epoch::from).unwrap_or_default(),
            peers: r.peers.iter().map(Peer::from).collect(),
        }
    }
}
