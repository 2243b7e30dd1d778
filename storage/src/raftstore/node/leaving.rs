//! Handing leadership over before a store goes away.
//!
//! A store that just ends leaves its regions without a leader for an election. One that is asked to end names each region's
//! next leader first, while it still serves; clients then lose the time of one refused request.

use super::Node;
use crate::raftstore::message::PeerStatus;
use basalt_common::{Peer, PeerRole};
use futures::future::{BoxFuture, join_all};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks at who leads.
const POLL: Duration = Duration::from_millis(10);
/// A hand-over that came to nothing is begun again after so many looks.
const LOOKS_A_TRY: u32 = 15;

impl Node {
    /// Hands the leadership of all regions to voters elsewhere, as far as there are such, within `patience`, and tells PD not to
    /// bring it back. Returns how many regions this store still leads that have other voters.
    pub fn hand_over(&self, patience: Duration) -> BoxFuture<'_, usize> {
        Box::pin(async move {
            self.set_leads_nothing(true);
            let mut left = 0;
            for look in 0..patience.as_millis() / POLL.as_millis() {
                // Who does not answer leads nothing for long.
                let peers = self.handle.status(None).await.unwrap_or_default();
                let has_others = |peer: &PeerStatus| {
                    let mut others = peer.region.peers.iter().filter(|other| other.id != peer.peer_id);
                    others.any(|other| other.role == PeerRole::Voter)
                };
                let led: Vec<_> = peers.iter().filter(|peer| peer.is_leader && has_others(peer)).collect();
                left = led.len();
                if left == 0 {
                    return 0;
                }
                let look = look as u32;
                if look.is_multiple_of(LOOKS_A_TRY) {
                    // The regions are spread over the other stores.
                    let mut given: BTreeMap<_, usize> = BTreeMap::new();
                    let mut choose = |successors: &[Peer]| {
                        let count = |peer: &&Peer| given.get(&peer.store_id).copied().unwrap_or(0);
                        let next = successors.iter().min_by_key(count).copied()?;
                        *given.entry(next.store_id).or_default() += 1;
                        Some(next)
                    };
                    let next = led.iter().filter_map(|peer| Some((peer.region.id, choose(&peer.successors)?)));
                    let next: Vec<_> = next.collect();
                    join_all(next.into_iter().map(|(region, to)| async move {
                        if let Err(error) = self.handle.transfer_leader(region, to.id, POLL * LOOKS_A_TRY).await {
                            tracing::debug!(%region, to = %to.store_id, %error, "a region was not handed over");
                        }
                    }))
                    .await;
                }
                tokio::time::sleep(POLL).await;
            }
            left
        })
    }
}
