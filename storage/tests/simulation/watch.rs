//! What must hold at any moment, looked at by an observer who sees all machines at once and knows true time.
//!
//! Beside these, each store looks after every round at its own: claims on ranges are disjoint, and raft takes nothing for
//! durable that the log does not have (`Store::check_invariants`).

use crate::clock;
use crate::net::Place;
use crate::world::{World, contents};
use basalt_common::env::Clock;
use basalt_common::{PeerId, PeerRole, Region, RegionId, StoreId};
use basalt_proto::raft::PeerState;
use basalt_storage::raftstore::keys;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often leases and leaders are looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// Data is compared at every so many looks.
const COMPARE_EVERY: u64 = 50;
/// A voter that its leader could reach for so long must be there.
const ABSENCE_MAX: Duration = Duration::from_secs(40);

/// See the module.
pub struct Watch {
    world: Arc<World>,
    /// Who led a region in a term.
    leaders: BTreeMap<(RegionId, u64), PeerId>,
    /// Voters that are not on their store, and since when.
    absent: BTreeMap<(RegionId, PeerId, StoreId), Duration>,
}

impl Watch {
    /// Watches until the simulation ends.
    ///
    /// # Panics
    /// When something does not hold.
    pub async fn run(world: Arc<World>) {
        let mut watch = Watch { world, leaders: BTreeMap::new(), absent: BTreeMap::new() };
        for look in 0u64.. {
            tokio::time::sleep(INTERVAL).await;
            watch.leases_are_alone();
            watch.terms_have_one_leader().await;
            if look.is_multiple_of(COMPARE_EVERY) {
                watch.voters_are_there().await;
                watch.equal_indexes_hold_equal_data();
            }
        }
    }

    /// No key is under two leases.
    fn leases_are_alone(&self) {
        let mut held: Vec<(StoreId, PeerId, Arc<Region>)> = Vec::new();
        for machine in &self.world.machines {
            let Some(node) = machine.running() else { continue };
            let now = machine.clock.monotonic();
            for delegate in node.handle().delegates().all() {
                if delegate.term() != 0 && now < delegate.lease_until() {
                    held.push((node.id(), delegate.peer_id, delegate.region()));
                }
            }
        }
        for (i, (store, peer, region)) in held.iter().enumerate() {
            let overlaps = |(other, _, theirs): &&(StoreId, PeerId, Arc<Region>)| {
                other != store && theirs.range.intersect(&region.range).is_some()
            };
            if let Some((other, their_peer, theirs)) = held[..i].iter().find(overlaps) {
                panic!("two leases: peer {peer} on {store} of {region:?}, peer {their_peer} on {other} of {theirs:?}");
            }
        }
    }

    async fn terms_have_one_leader(&mut self) {
        for (_, peer) in self.world.peers().await.into_iter().filter(|(_, peer)| peer.is_leader) {
            let known = *self.leaders.entry((peer.region.id, peer.term)).or_insert(peer.peer_id);
            assert_eq!(known, peer.peer_id, "two leaders of region {} in term {}", peer.region.id, peer.term);
        }
    }

    /// A voter whose store runs, and that its leader could reach all the time, exists.
    async fn voters_are_there(&mut self) {
        let peers = self.world.peers().await;
        let mut absent = BTreeMap::new();
        for (id, led) in self.world.regions().await {
            for voter in led.status.region.peers.iter().filter(|p| p.role == PeerRole::Voter) {
                let Some(machine) = self.world.machine_of(voter.store_id) else { continue };
                let is_there = peers.iter().any(|(at, p)| *at == machine && p.region.id == id && p.peer_id == voter.id);
                let cut = [machine, led.machine].into_iter().any(|i| self.world.net.is_cut(Place::Machine(i)));
                if !is_there && !cut {
                    let key = (id, voter.id, voter.store_id);
                    let since = self.absent.get(&key).copied().unwrap_or_else(clock::elapsed);
                    let so_long = clock::elapsed() - since;
                    assert!(
                        so_long < ABSENCE_MAX,
                        "region {id} has a voter {voter:?} that is not there for {so_long:?}"
                    );
                    absent.insert(key, since);
                }
            }
        }
        self.absent = absent;
    }

    /// Replicas that applied the same entries hold the same bytes.
    fn equal_indexes_hold_equal_data(&self) {
        type Seen = (usize, Vec<crate::world::Entry>);
        let mut seen: BTreeMap<(RegionId, u64), Seen> = BTreeMap::new();
        for (i, machine) in self.world.machines.iter().enumerate() {
            let engine = machine.disk().engine;
            for (id, record) in keys::load_region_states(&engine).expect("memory can be read") {
                let Some(region) = record.region.as_ref().map(Region::from) else { continue };
                let state = keys::load_apply_state(&engine, id).expect("memory can be read");
                let Some(state) = state.filter(|_| record.state() == PeerState::Normal) else { continue };
                let data = contents(&engine, &(&region.range).into());
                let key = (id, state.applied_index);
                match seen.get(&key) {
                    None => drop(seen.insert(key, (i, data))),
                    Some((other, theirs)) => {
                        let at = theirs.iter().zip(&data).find(|(a, b)| a != b);
                        assert!(
                            *theirs == data,
                            "region {id} at {} has {} entries on machine {other} and {} on {i}: {at:?}",
                            state.applied_index,
                            theirs.len(),
                            data.len()
                        );
                    }
                }
            }
        }
    }
}
