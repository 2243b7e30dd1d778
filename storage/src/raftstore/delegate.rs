//! Reads without raft: what a reading thread must know of a region to answer alone.
//!
//! The raft thread publishes, for each peer, the term, the lease and the region in a [`ReadDelegate`]; any thread may then
//! check them and take an engine snapshot itself. Who may do what: only the raft thread writes `term` and `lease_until`,
//! only apply writes `region`; readers hold nothing longer than one load.
//!
//! The order of a read is what makes it safe: note how often the lease was dropped, take the snapshot, then compare the
//! region's epoch, and only then look at the lease and at the count again. A lease that holds *after* the snapshot was
//! taken, and was not dropped in between, covers the moment at which it was taken: if it ran out and was renewed, then by
//! a round that a quorum acknowledged in the same term. A drop (hand-over, split, change of peers, end of leadership)
//! sends the reader to the mailbox; without the count, one that was dropped and renewed while the reader slept would pass,
//! although another store had already split the region and served the other half.
//!
//! Garbage collection's marks are raised before what they allow to be deleted is written: who looks at them after the snapshot
//! was taken sees them if the snapshot lacks anything.

use crate::collected::Collected;
use basalt_common::env::Monotonic;
use basalt_common::{PeerId, Region, RegionId, Timestamp};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The lease of a leader that is the only voter.
pub const LEASE_FOREVER: Monotonic = Monotonic(u64::MAX);

/// See the module.
pub struct ReadDelegate {
    /// The peer on this store.
    pub peer_id: PeerId,
    term: AtomicU64,
    lease_until: AtomicU64,
    drops: AtomicU64,
    max_ts_synced_term: AtomicU64,
    was_read: AtomicBool,
    safe_point: AtomicU64,
    collected_to: AtomicU64,
    region: RwLock<Arc<Region>>,
}

impl ReadDelegate {
    /// A delegate of a peer that does not lead.
    pub fn new(peer_id: PeerId, region: Arc<Region>, collected: Collected) -> Self {
        ReadDelegate {
            peer_id,
            term: AtomicU64::new(0),
            lease_until: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            max_ts_synced_term: AtomicU64::new(0),
            was_read: AtomicBool::new(false),
            safe_point: AtomicU64::new(collected.safe_point.0),
            collected_to: AtomicU64::new(collected.collected_to.0),
            region: RwLock::new(region),
        }
    }

    /// The term in which this peer leads; 0 when it does not.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::SeqCst)
    }

    /// The region as applied.
    pub fn region(&self) -> Arc<Region> {
        self.region.read().clone()
    }

    /// How often the lease was dropped; to be noted before a snapshot is taken.
    pub fn drops(&self) -> u64 {
        self.drops.load(Ordering::SeqCst)
    }

    /// Whether the lease holds at `now` and was not dropped since `drops` was noted. Remembers that somebody reads here, so
    /// that the lease is renewed.
    pub fn has_lease(&self, now: Monotonic, drops: u64) -> bool {
        self.was_read.store(true, Ordering::Relaxed);
        now.0 < self.lease_until.load(Ordering::SeqCst) && drops == self.drops()
    }

    /// When the lease ends, by this process's monotonic clock. For whoever watches; a reader asks [`Self::has_lease`].
    pub fn lease_until(&self) -> Monotonic {
        Monotonic(self.lease_until.load(Ordering::SeqCst))
    }

    /// Whether the leader of `term` has learned the newest timestamp.
    pub fn max_ts_synced(&self, term: u64) -> bool {
        term != 0 && self.max_ts_synced_term.load(Ordering::SeqCst) == term
    }

    /// Records that the newest timestamp was learned during `term`; of no effect if that leadership is over.
    pub fn set_max_ts_synced(&self, term: u64) {
        // PD's answer for an earlier term may come later than that for this one.
        self.max_ts_synced_term.fetch_max(term, Ordering::SeqCst);
    }

    pub(super) fn take_was_read(&self) -> bool {
        self.was_read.swap(false, Ordering::Relaxed)
    }

    /// How far garbage collection is; to be asked after a snapshot was taken.
    pub fn collected(&self) -> Collected {
        let of = |mark: &AtomicU64| Timestamp(mark.load(Ordering::SeqCst));
        Collected { safe_point: of(&self.safe_point), collected_to: of(&self.collected_to) }
    }

    pub(super) fn raise_collected(&self, to: Collected) {
        self.safe_point.fetch_max(to.safe_point.0, Ordering::SeqCst);
        self.collected_to.fetch_max(to.collected_to.0, Ordering::SeqCst);
    }

    pub(super) fn set_region(&self, region: Arc<Region>) {
        *self.region.write() = region;
    }

    pub(super) fn lead(&self, term: u64) {
        self.drop_lease();
        self.term.store(term, Ordering::SeqCst);
    }

    pub(super) fn drop_lease(&self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        self.lease_until.store(0, Ordering::SeqCst);
    }

    pub(super) fn extend_lease(&self, until: Monotonic) {
        self.lease_until.fetch_max(until.0, Ordering::SeqCst);
    }
}

/// The delegates of all peers of a store.
#[derive(Default)]
pub struct Delegates {
    by_region: RwLock<HashMap<RegionId, Arc<ReadDelegate>>>,
}

impl Delegates {
    /// The delegate of a region.
    pub fn get(&self, region: RegionId) -> Option<Arc<ReadDelegate>> {
        self.by_region.read().get(&region).cloned()
    }

    /// The delegates of all regions here, in no order.
    pub fn all(&self) -> Vec<Arc<ReadDelegate>> {
        self.by_region.read().values().cloned().collect()
    }

    pub(super) fn insert(&self, region: RegionId, delegate: Arc<ReadDelegate>) {
        self.by_region.write().insert(region, delegate);
    }

    /// Nobody reads here any more: the store stops. To be called before the answers to its last proposals are given up,
    /// because whoever waits for one of these keeps readers away until then, and the entry may well be applied by the next
    /// leader.
    pub(super) fn close(&self) {
        for (_, delegate) in self.by_region.write().drain() {
            delegate.lead(0);
        }
    }

    pub(super) fn remove(&self, region: RegionId) {
        if let Some(delegate) = self.by_region.write().remove(&region) {
            delegate.lead(0);
        }
    }
}
