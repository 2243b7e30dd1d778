//! Which region holds a key, and who leads it, as far as this process has heard.
//!
//! ```text
//!   by start key:   ""──▶ region 2 [ , d)      "d"──▶ region 7 [d, m)      (hole: unknown)
//! ```
//!
//! The cache is only a guess: stores check every request's epoch, and their refusals correct it. Reading it is a read lock
//! and a tree descent; an entry is immutable but for the guess of its leader.
//!
//! Invariants: entries do not overlap; an entry is replaced only by one whose epoch is not older in either component.

use crate::config::REGION_CACHE_MAX;
use basalt_common::{Epoch, Peer, PeerRole, Region, RegionId};
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A region as this process knows it.
#[derive(Debug)]
pub struct CachedRegion {
    /// Range, epoch, peers.
    pub region: Region,
    /// Index of the leader (or of who is tried next) in `region.peers`.
    leader: AtomicUsize,
    /// Held by who asks the voters which of them leads, for all that wait.
    pub(crate) asking: tokio::sync::Mutex<()>,
}

impl CachedRegion {
    fn new(region: Region, leader: Option<Peer>) -> Self {
        let at = leader.and_then(|l| region.peers.iter().position(|p| p.id == l.id));
        let first_voter = || region.peers.iter().position(|p| p.role == PeerRole::Voter).unwrap_or(0);
        let leader = AtomicUsize::new(at.unwrap_or_else(first_voter));
        CachedRegion { region, leader, asking: tokio::sync::Mutex::default() }
    }

    /// Whom to ask. None for a region without peers, which nobody should have told of.
    pub fn leader(&self) -> Option<Peer> {
        self.region.peers.get(self.leader.load(Ordering::Relaxed)).copied()
    }

    /// Asks the next voter from now on, if the one that just failed is still the guess.
    fn try_next(&self, failed: Peer) {
        let peers = &self.region.peers;
        let at = self.leader.load(Ordering::Relaxed);
        if peers.get(at).is_none_or(|p| p.id != failed.id) {
            return;
        }
        let others = (1..=peers.len()).map(|i| (at + i) % peers.len());
        let next = others.into_iter().find(|i| peers[*i].role == PeerRole::Voter).unwrap_or(at);
        let _ = self.leader.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The regions of a cluster, by key.
#[derive(Default)]
pub struct RegionCache {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    by_start: BTreeMap<Bytes, Arc<CachedRegion>>,
    starts: HashMap<RegionId, Bytes>,
}

impl RegionCache {
    /// The known region that holds `key`.
    pub fn get(&self, key: &[u8]) -> Option<Arc<CachedRegion>> {
        let inner = self.inner.read();
        let (_, found) = inner.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        found.region.contains(key).then(|| found.clone())
    }

    /// The known region that holds the keys just below `key`; an empty key is infinity.
    pub fn get_before(&self, key: &[u8]) -> Option<Arc<CachedRegion>> {
        let upper = match key.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(key),
        };
        let inner = self.inner.read();
        let (_, found) = inner.by_start.range::<[u8], _>((Bound::Unbounded, upper)).next_back()?;
        let end = found.region.range.end.as_slice();
        (end.is_empty() || (!key.is_empty() && key <= end)).then(|| found.clone())
    }

    /// Takes over a region that PD or a store told of, and returns what the cache holds for it now; the given one, not
    /// kept, when the cache knows better.
    pub fn insert(&self, region: Region, leader: Option<Peer>) -> Arc<CachedRegion> {
        let entry = Arc::new(CachedRegion::new(region, leader));
        let mut inner = self.inner.write();
        let overlapping = inner.overlapping(&entry.region);
        let newer = |known: &Region| match known.id == entry.region.id {
            true => is_older(entry.region.epoch, known.epoch),
            false => known.epoch.version > entry.region.epoch.version,
        };
        let same_id = inner.starts.get(&entry.region.id).and_then(|s| inner.by_start.get(s)).cloned();
        if overlapping.iter().chain(&same_id).any(|k| newer(&k.region)) {
            return entry;
        }
        if inner.starts.len() >= REGION_CACHE_MAX {
            *inner = Inner::default();
        }
        for known in overlapping.iter().chain(&same_id) {
            inner.remove(known.region.id);
        }
        let start = entry.region.range.start.0.clone();
        inner.starts.insert(entry.region.id, start.clone());
        inner.by_start.insert(start, entry.clone());
        entry
    }

    /// Forgets a region, if it is still known with this epoch.
    pub fn invalidate(&self, id: RegionId, epoch: Epoch) {
        let mut inner = self.inner.write();
        let known = inner.starts.get(&id).and_then(|start| inner.by_start.get(start));
        if known.is_some_and(|k| k.region.epoch == epoch) {
            inner.remove(id);
        }
    }

    /// Takes note of who leads. False, and the region forgotten, when the leader is no peer that the cache knows.
    pub fn set_leader(&self, route: &CachedRegion, leader: Peer) -> bool {
        match route.region.peers.iter().position(|p| p.id == leader.id) {
            Some(at) => {
                route.leader.store(at, Ordering::Relaxed);
                true
            }
            None => {
                self.invalidate(route.region.id, route.region.epoch);
                false
            }
        }
    }

    /// Takes note that a peer did not answer or does not lead: the next voter is asked.
    pub fn set_failed(&self, route: &CachedRegion, failed: Peer) {
        route.try_next(failed);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.inner.write() = Inner::default();
    }
}

impl Inner {
    fn overlapping(&self, region: &Region) -> Vec<Arc<CachedRegion>> {
        let range = &region.range;
        let start = range.start.as_slice();
        let before = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(start))).next_back();
        let before = before.map(|(_, r)| r).filter(|r| r.region.contains(start));
        let from = self.by_start.range::<[u8], _>((Bound::Included(start), Bound::Unbounded));
        let end = range.end.as_slice();
        let inside = from.take_while(|(s, _)| end.is_empty() || s[..] < *end).map(|(_, r)| r);
        before.into_iter().chain(inside).cloned().collect()
    }

    fn remove(&mut self, id: RegionId) {
        if let Some(start) = self.starts.remove(&id) {
            self.by_start.remove(&start);
        }
    }
}

fn is_older(new: Epoch, known: Epoch) -> bool {
    new.version < known.version || new.conf_ver < known.conf_ver
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_common::{KeyRange, PeerId, StoreId};

    fn region(id: u64, start: &str, end: &str, version: u64) -> Region {
        let peer = |store| Peer { id: PeerId(id * 10 + store), store_id: StoreId(store), role: PeerRole::Voter };
        Region {
            id: RegionId(id),
            range: KeyRange::new(start.as_bytes(), end.as_bytes()),
            epoch: Epoch { conf_ver: 1, version },
            peers: vec![peer(1), peer(2), peer(3)],
        }
    }

    fn at(cache: &RegionCache, key: &str) -> Option<(u64, u64)> {
        cache.get(key.as_bytes()).map(|r| (r.region.id.0, r.region.epoch.version))
    }

    #[test]
    fn newer_regions_replace_what_they_overlap() {
        let cache = RegionCache::default();
        cache.insert(region(1, "", "", 1), None);
        assert_eq!(at(&cache, "x"), Some((1, 1)));
        cache.insert(region(1, "", "m", 2), None);
        assert_eq!((at(&cache, "a"), at(&cache, "m")), (Some((1, 2)), None));
        cache.insert(region(5, "m", "", 2), None);
        let stale = cache.insert(region(1, "", "", 1), None);
        assert_eq!((stale.region.epoch.version, at(&cache, "z"), at(&cache, "a")), (1, Some((5, 2)), Some((1, 2))));
        assert_eq!(cache.get_before(b"m").map(|r| r.region.id.0), Some(1));
        assert_eq!(cache.get_before(b"").map(|r| r.region.id.0), Some(5));
        cache.invalidate(RegionId(5), Epoch { conf_ver: 1, version: 1 });
        assert_eq!(at(&cache, "z"), Some((5, 2)), "another epoch is not forgotten");
        cache.invalidate(RegionId(5), Epoch { conf_ver: 1, version: 2 });
        assert_eq!((at(&cache, "z"), cache.get_before(b"").is_none()), (None, true));
    }

    #[test]
    fn leaders_are_guessed_in_turn() {
        let cache = RegionCache::default();
        let known = region(1, "", "", 1);
        let entry = cache.insert(known.clone(), Some(known.peers[1]));
        assert_eq!(entry.leader(), Some(known.peers[1]));
        cache.set_failed(&entry, known.peers[0]);
        assert_eq!(entry.leader(), Some(known.peers[1]), "an old failure changes nothing");
        cache.set_failed(&entry, known.peers[1]);
        assert_eq!(entry.leader(), Some(known.peers[2]));
        assert!(cache.set_leader(&entry, known.peers[0]));
        assert_eq!(entry.leader(), Some(known.peers[0]));
        let stranger = Peer { id: PeerId(99), store_id: StoreId(9), role: PeerRole::Voter };
        assert!(!cache.set_leader(&entry, stranger));
        assert_eq!(at(&cache, "x"), None);
    }
}
