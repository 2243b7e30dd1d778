//! What PD knows of the cluster: stores, and the regions as a tree by start key.
//!
//! ```text
//!   by_start   ""──▶2    "d"──▶7    "m"──▶9          regions   2 → [ , d) epoch 1:2 leader store 1
//!                                                              7 → [d, m) …
//! ```
//!
//! Everything comes from heartbeats of leaders, which may arrive late and in any order. The rule that keeps the tree right:
//! of two configurations of a region the one with the higher epoch is newer, and of two regions that overlap the one with
//! the higher `version` is newer (a split raises it in both halves). Older news is refused ([`Stale`]) and changes nothing;
//! newer news removes whatever overlaps it. With equal epochs the higher raft term knows the leader.
//!
//! Invariants: regions in the tree do not overlap; `by_start` and `regions` hold the same regions; the counts per store are
//! those of the regions. Holes are legal: they are key ranges whose leaders PD has not heard yet.
//!
//! `now` is the caller's monotonic clock. Stores and their statistics are kept as the messages they came in, since PD only
//! stores them and hands them on.

use basalt_common::env::Monotonic;
use basalt_common::{KeyRange, Peer, PeerId, PeerRole, Region, RegionId, StoreId, UserKey};
use basalt_proto::meta::{Store, StoreState};
use basalt_proto::pd::StoreStats;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// PD knows a newer configuration than the one it was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// The region that is newer: the same, or one that overlaps.
    pub newer: RegionId,
}

/// One region as last heard.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionInfo {
    /// Range, epoch, peers.
    pub region: Region,
    /// Who leads; none after a restart of PD, until the leader's first heartbeat.
    pub leader: Option<Peer>,
    /// The leader's raft term.
    pub term: u64,
    /// As the leader estimates.
    pub size_bytes: u64,
    /// As the leader estimates.
    pub keys: u64,
    /// Peers that the leader has not heard of for long.
    pub down_peers: Vec<Peer>,
    /// Peers that are not caught up yet.
    pub pending_peers: Vec<Peer>,
    /// Since when each of these has been so without a break, as far as this PD knows.
    pub unhealthy_since: BTreeMap<PeerId, Monotonic>,
}

impl RegionInfo {
    /// A region of which only the configuration is known.
    pub fn bare(region: Region) -> Self {
        RegionInfo {
            region,
            leader: None,
            term: 0,
            size_bytes: 0,
            keys: 0,
            down_peers: vec![],
            pending_peers: vec![],
            unhealthy_since: BTreeMap::new(),
        }
    }

    /// True if `peer` is known not to be caught up, or not to answer.
    pub fn is_unhealthy(&self, peer: &Peer) -> bool {
        self.pending_peers.iter().chain(&self.down_peers).any(|p| p.id == peer.id)
    }

    /// For how long `peer` has not been caught up, or not answered; nothing when it is well.
    pub fn unhealthy_for(&self, peer: &Peer, now: Monotonic) -> Option<Duration> {
        self.unhealthy_since.get(&peer.id).map(|since| now.since(*since))
    }

    /// The peers that vote.
    pub fn voters(&self) -> impl Iterator<Item = &Peer> {
        self.region.peers.iter().filter(|p| p.role == PeerRole::Voter)
    }
}

/// One store as last heard.
#[derive(Debug, Clone)]
pub struct StoreInfo {
    /// Id, addresses, stored state.
    pub store: Store,
    /// Of the last heartbeat.
    pub stats: StoreStats,
    /// When the last heartbeat (or registration, or PD's start) was.
    pub heard: Monotonic,
    /// The same by the wall clock, for display; 0 = not since PD started.
    pub heard_wall_ms: u64,
}

/// What a heartbeat changed.
#[derive(Debug, Default, PartialEq)]
pub struct Changed {
    /// The region's range, epoch or peers are new: keep them durably.
    pub configuration: bool,
    /// Regions that are no more.
    pub removed: Vec<RegionId>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    regions: usize,
    leaders: usize,
}

/// Stores and regions.
#[derive(Debug, Default)]
pub struct Cluster {
    stores: BTreeMap<StoreId, StoreInfo>,
    regions: BTreeMap<RegionId, RegionInfo>,
    by_start: BTreeMap<UserKey, RegionId>,
    counts: BTreeMap<StoreId, Counts>,
}

impl Cluster {
    /// Registers a store, or changes what is known of it.
    pub fn put_store(&mut self, store: Store, now: Monotonic) {
        let id = StoreId(store.id);
        match self.stores.get_mut(&id) {
            Some(known) => (known.store, known.heard) = (store, now),
            None => {
                let info = StoreInfo { store, stats: StoreStats::default(), heard: now, heard_wall_ms: 0 };
                self.stores.insert(id, info);
            }
        }
    }

    /// Takes note of a store's heartbeat; false if the store is not registered.
    pub fn store_heartbeat(&mut self, stats: StoreStats, now: Monotonic, wall_ms: u64) -> bool {
        match self.stores.get_mut(&StoreId(stats.store_id)) {
            Some(info) => {
                (info.stats, info.heard, info.heard_wall_ms) = (stats, now, wall_ms);
                true
            }
            None => false,
        }
    }

    /// Changes a store's stored state, and nothing of when it was heard.
    pub fn set_store_state(&mut self, id: StoreId, state: StoreState) {
        if let Some(info) = self.stores.get_mut(&id) {
            info.store.set_state(state);
        }
    }

    /// A store by id.
    pub fn store(&self, id: StoreId) -> Option<&StoreInfo> {
        self.stores.get(&id)
    }

    /// Every store, by id.
    pub fn stores(&self) -> impl Iterator<Item = &StoreInfo> {
        self.stores.values()
    }

    /// A store's state as it is to be shown and used: an up store that was not heard for `down_after` is down.
    pub fn store_state(&self, info: &StoreInfo, now: Monotonic, down_after: Duration) -> StoreState {
        match info.store.state() {
            StoreState::Up if now.since(info.heard) > down_after => StoreState::Down,
            state => state,
        }
    }

    /// Regions with a peer on the store.
    pub fn region_count(&self, store: StoreId) -> usize {
        self.counts.get(&store).map_or(0, |c| c.regions)
    }

    /// Regions led by the store.
    pub fn leader_count(&self, store: StoreId) -> usize {
        self.counts.get(&store).map_or(0, |c| c.leaders)
    }

    /// Whether a heartbeat would be refused.
    ///
    /// # Errors
    /// [`Stale`] naming the newer region.
    pub fn check(&self, news: &RegionInfo) -> Result<(), Stale> {
        let region = &news.region;
        if let Some(known) = self.regions.get(&region.id) {
            let (new, old) = (region.epoch, known.region.epoch);
            let older = new.version < old.version || new.conf_ver < old.conf_ver;
            if older || (new == old && news.term < known.term) {
                return Err(Stale { newer: region.id });
            }
        }
        let newer = self.overlapping(&region.range).into_iter().find(|id| {
            *id != region.id && self.regions.get(id).is_some_and(|r| r.region.epoch.version > region.epoch.version)
        });
        newer.map_or(Ok(()), |newer| Err(Stale { newer }))
    }

    /// Takes over what a leader says of its region.
    ///
    /// # Errors
    /// [`Stale`] when PD knows better; nothing is changed.
    pub fn put_region(&mut self, mut news: RegionInfo, now: Monotonic) -> Result<Changed, Stale> {
        self.check(&news)?;
        let id = news.region.id;
        let before = self.regions.get(&id).map(|known| &known.unhealthy_since);
        let since = |peer: &Peer| before.and_then(|before| before.get(&peer.id)).copied().unwrap_or(now);
        let unhealthy = news.down_peers.iter().chain(&news.pending_peers);
        news.unhealthy_since = unhealthy.map(|peer| (peer.id, since(peer))).collect();
        let mut changed = Changed::default();
        for other in self.overlapping(&news.region.range) {
            if other != id {
                self.remove_region(other);
                changed.removed.push(other);
            }
        }
        changed.configuration = self.regions.get(&id).is_none_or(|known| known.region != news.region);
        self.remove_region(id);
        self.count(&news, 1);
        self.by_start.insert(news.region.range.start.clone(), id);
        self.regions.insert(id, news);
        Ok(changed)
    }

    /// A region by id.
    pub fn region(&self, id: RegionId) -> Option<&RegionInfo> {
        self.regions.get(&id)
    }

    /// Every region, by id.
    pub fn regions(&self) -> impl Iterator<Item = &RegionInfo> {
        self.regions.values()
    }

    /// The region that holds `key`.
    pub fn region_at(&self, key: &[u8]) -> Option<&RegionInfo> {
        let key = UserKey::from(key);
        let (_, id) = self.by_start.range(..=key.clone()).next_back()?;
        self.regions.get(id).filter(|r| r.region.contains(key.as_slice()))
    }

    /// The region that holds the keys just below `key`; an empty key is infinity.
    pub fn region_before(&self, key: &[u8]) -> Option<&RegionInfo> {
        let upper = match key.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(UserKey::from(key)),
        };
        let (_, id) = self.by_start.range((Bound::Unbounded, upper)).next_back()?;
        self.regions.get(id).filter(|r| {
            let end = r.region.range.end.as_slice();
            end.is_empty() || (!key.is_empty() && key <= end)
        })
    }

    /// Regions that touch `range`, in key order, at most `limit`.
    pub fn scan(&self, range: &KeyRange, limit: usize) -> Vec<&RegionInfo> {
        let ids = self.overlapping_iter(range).take(limit);
        ids.filter_map(|id| self.regions.get(&id)).collect()
    }

    fn overlapping(&self, range: &KeyRange) -> Vec<RegionId> {
        self.overlapping_iter(range).collect()
    }

    fn overlapping_iter<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = RegionId> + 'a {
        let first = self.region_at(range.start.as_slice()).map(|r| r.region.id);
        let after = self.by_start.range((Bound::Excluded(range.start.clone()), Bound::Unbounded));
        let inside = move |start: &UserKey| range.end.0.is_empty() || *start < range.end;
        first.into_iter().chain(after.take_while(move |(start, _)| inside(start)).map(|(_, id)| *id))
    }

    fn remove_region(&mut self, id: RegionId) {
        if let Some(known) = self.regions.remove(&id) {
            self.by_start.remove(&known.region.range.start);
            self.count(&known, -1);
        }
    }

    fn count(&mut self, info: &RegionInfo, by: isize) {
        for peer in &info.region.peers {
            let counts = self.counts.entry(peer.store_id).or_default();
            counts.regions = counts.regions.saturating_add_signed(by);
        }
        if let Some(leader) = &info.leader {
            let counts = self.counts.entry(leader.store_id).or_default();
            counts.leaders = counts.leaders.saturating_add_signed(by);
        }
    }
}
