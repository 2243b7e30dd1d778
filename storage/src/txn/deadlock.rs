//! Who waits for whom on one store. An edge that would close a circle is refused until a transaction of the circle has
//! given up.
//!
//! Circles over several stores are found by PD (`basalt_pd::service`), which every store tells its waits while they last.

use basalt_common::{Timestamp, UserKey};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// Waits, by the transaction that waits.
#[derive(Default, Debug)]
pub struct WaitForGraph {
    edges: BTreeMap<Timestamp, BTreeMap<u64, Wait>>,
}

/// For whom a transaction waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The transactions that hold the lock: one, or those that share it.
    pub holders: Vec<Timestamp>,
    /// On which key.
    pub key: UserKey,
    /// How many keys the waiting transaction has locked or written: what its end would cost.
    pub keys: u64,
    /// Since when.
    pub since: Instant,
}

/// Transactions that wait in a circle, each for the next, and on which key.
pub type Circle = Vec<(Timestamp, UserKey)>;

impl WaitForGraph {
    /// Adds the wait `id` (unique among waits) of a transaction, or replaces it.
    ///
    /// # Errors
    /// The circle that it would close, from `waiter` on.
    pub fn add(&mut self, waiter: Timestamp, id: u64, wait: Wait) -> Result<(), Circle> {
        for &holder in &wait.holders {
            if let Some(chain) = self.path(holder, waiter) {
                let mut circle = vec![(waiter, wait.key)];
                let next = chain.iter().copied().skip(1).chain([waiter]);
                circle.extend(chain.iter().zip(next).map(|(&txn, next)| (txn, self.key_between(txn, next))));
                return Err(circle);
            }
        }
        self.edges.entry(waiter).or_default().insert(id, wait);
        Ok(())
    }

    /// The wait to end in a circle that [`WaitForGraph::add`] has returned for `wait` of its first: that of the transaction
    /// with the fewest keys. `None`: the one that was to be added.
    pub fn cheapest(&self, circle: &Circle, wait: &Wait) -> Option<(Timestamp, u64, Wait)> {
        let others = circle.iter().skip(1).filter_map(|(txn, _)| Some((txn, self.edges.get(txn)?.iter().next()?)));
        let cheapest = others.min_by_key(|(txn, (_, other))| (other.keys, std::cmp::Reverse(**txn)));
        let (txn, (id, other)) = cheapest.filter(|(_, (_, other))| other.keys < wait.keys)?;
        Some((*txn, *id, other.clone()))
    }

    /// All waits, each with its transaction and id.
    pub fn waits(&self) -> impl Iterator<Item = (Timestamp, u64, &Wait)> {
        self.edges.iter().flat_map(|(txn, waits)| waits.iter().map(|(id, wait)| (*txn, *id, wait)))
    }

    /// Removes a wait.
    pub fn remove(&mut self, waiter: Timestamp, id: u64) {
        if let Some(waits) = self.edges.get_mut(&waiter) {
            waits.remove(&id);
            if waits.is_empty() {
                self.edges.remove(&waiter);
            }
        }
    }

    /// On which key one transaction waits for another.
    fn key_between(&self, waiter: Timestamp, holder: Timestamp) -> UserKey {
        let mut waits = self.edges.get(&waiter).into_iter().flat_map(BTreeMap::values);
        waits.find(|wait| wait.holders.contains(&holder)).map(|wait| wait.key.clone()).unwrap_or_default()
    }

    /// The transactions on a way of waits from one to another, without the last.
    fn path(&self, from: Timestamp, to: Timestamp) -> Option<Vec<Timestamp>> {
        if from == to {
            return Some(Vec::new());
        }
        let mut came_from = BTreeMap::new();
        let mut seen = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(txn) = open.pop() {
            let waits = self.edges.get(&txn).into_iter().flat_map(|waits| waits.values());
            for &holder in waits.flat_map(|wait| &wait.holders) {
                if holder == to {
                    let mut chain = vec![txn];
                    while let Some(&previous) = came_from.get(&chain[chain.len() - 1]) {
                        chain.push(previous);
                    }
                    chain.reverse();
                    return Some(chain);
                }
                if seen.insert(holder) {
                    came_from.insert(holder, txn);
                    open.push(holder);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_that_closes_a_circle_is_refused() {
        let mut graph = WaitForGraph::default();
        let since = Instant::now();
        let key = |holder: u64| UserKey::from(holder.to_string().into_bytes());
        let wait = |holder| Wait { holders: vec![Timestamp(holder)], key: key(holder), keys: holder, since };
        let circle = |of: &[(u64, u64)]| of.iter().map(|&(txn, on)| (Timestamp(txn), key(on))).collect::<Circle>();
        assert_eq!(graph.add(Timestamp(1), 1, wait(2)), Ok(()));
        assert_eq!(graph.add(Timestamp(2), 2, wait(3)), Ok(()));
        let chain = circle(&[(3, 1), (1, 2), (2, 3)]);
        assert_eq!(graph.add(Timestamp(3), 3, wait(1)), Err(chain.clone()));
        assert_eq!(graph.cheapest(&chain, &wait(1)), None, "it has fewer keys itself");
        assert_eq!(graph.cheapest(&chain, &wait(9)), Some((Timestamp(1), 1, wait(2))));
        graph.remove(Timestamp(2), 2);
        assert_eq!(graph.add(Timestamp(3), 3, wait(1)), Ok(()));
        assert_eq!(graph.add(Timestamp(2), 4, wait(2)), Err(circle(&[(2, 2)])), "one that waits for itself");
        let shared = Wait { holders: vec![Timestamp(8), Timestamp(3)], ..wait(8) };
        assert_eq!(graph.add(Timestamp(2), 5, shared), Err(circle(&[(2, 8), (3, 1), (1, 2)])));
    }
}
