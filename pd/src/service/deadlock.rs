//! Deadlocks over several stores, and who waits now.
//!
//! A store knows who waits on it and finds the circles among those at once. While waits last, it tells PD all of them, again
//! and again; here they meet those of the other stores. What a store told is forgotten when it is silent for a while, so
//! that nothing has to be taken back, and PD has nothing to lose: a PD that starts anew knows everything one report later.
//!
//! The stores look at different moments, and a circle of waits that never were at the same time is none. So one counts only
//! when every wait of it has been told in two reports.
//!
//! The victim is the waiting transaction with the fewest keys, the youngest of several: the others' work is kept.

use super::PdService;
use basalt_proto::pd::{DeadlockVictim, ListLockWaitsResponse, LockWait, LockWaitsRequest, LockWaitsResponse};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// How long what a store told is believed.
const REPORT_LIFE_MS: u64 = 1_000;

/// The waits of all stores.
#[derive(Debug, Default)]
pub(super) struct LockWaits {
    stores: BTreeMap<u64, Report>,
}

#[derive(Debug)]
struct Report {
    told_ms: u64,
    waits: Vec<LockWait>,
    /// Ids of waits that the report before had, too.
    twice: BTreeSet<u64>,
}

impl LockWaits {
    /// Takes in a store's waits; returns those of them that must end.
    fn report(&mut self, store: u64, mut waits: Vec<LockWait>, now_ms: u64) -> Vec<DeadlockVictim> {
        self.stores.retain(|_, report| report.told_ms.saturating_add(REPORT_LIFE_MS) > now_ms);
        let before = self.stores.remove(&store);
        if waits.is_empty() {
            return Vec::new();
        }
        let mut last = (0, Bytes::new());
        for wait in &mut waits {
            match wait.id == last.0 && wait.key.is_empty() {
                true => wait.key = last.1.clone(),
                false => last = (wait.id, wait.key.clone()),
            }
        }
        let told: BTreeSet<u64> = before.into_iter().flat_map(|report| report.waits).map(|wait| wait.id).collect();
        let twice = waits.iter().map(|wait| wait.id).filter(|id| told.contains(id)).collect();
        self.stores.insert(store, Report { told_ms: now_ms, waits, twice });
        self.victims(store)
    }

    /// All waits that are believed now.
    fn list(&self, now_ms: u64) -> Vec<LockWait> {
        let of = |report: &Report| {
            let age_ms = now_ms.saturating_sub(report.told_ms);
            let waits = if age_ms < REPORT_LIFE_MS { &report.waits[..] } else { &[] };
            waits.iter().map(|wait| LockWait { waited_ms: wait.waited_ms + age_ms, ..wait.clone() }).collect::<Vec<_>>()
        };
        self.stores.values().flat_map(of).collect()
    }

    /// The victims of all circles that wait on this store; the other victims are told to their own stores.
    fn victims(&self, store: u64) -> Vec<DeadlockVictim> {
        if self.stores.len() < 2 {
            return Vec::new();
        }
        let mut edges: BTreeMap<u64, Vec<(u64, &LockWait)>> = BTreeMap::new();
        for (&at, report) in &self.stores {
            for wait in report.waits.iter().filter(|wait| report.twice.contains(&wait.id)) {
                edges.entry(wait.waiter).or_default().push((at, wait));
            }
        }
        let mut victims: Vec<DeadlockVictim> = Vec::new();
        let mut broken = BTreeSet::new();
        while let Some(circle) = circle(&edges, &broken) {
            let Some(&(at, victim)) = circle.iter().min_by_key(|(_, wait)| (wait.keys, u64::MAX - wait.waiter)) else {
                break;
            };
            broken.insert(victim.waiter);
            if at == store {
                let (chain, keys) = circle.iter().map(|(_, wait)| (wait.waiter, wait.key.clone())).unzip();
                victims.push(DeadlockVictim { id: victim.id, chain, keys });
            }
        }
        victims
    }
}

/// A circle of waits among transactions that are not `broken`, each waiting for the next.
fn circle<'a>(
    edges: &BTreeMap<u64, Vec<(u64, &'a LockWait)>>,
    broken: &BTreeSet<u64>,
) -> Option<Vec<(u64, &'a LockWait)>> {
    let mut done = BTreeSet::new();
    for &start in edges.keys() {
        let mut path: Vec<(u64, &LockWait)> = Vec::new();
        // Waits still to follow, with the length of the path to them.
        let mut open: Vec<(usize, (u64, &LockWait))> = Vec::new();
        let follow = |txn: u64, depth: usize, open: &mut Vec<(usize, (u64, &'a LockWait))>| {
            let waits = edges.get(&txn).into_iter().flatten().filter(|_| !broken.contains(&txn));
            open.extend(waits.map(|&wait| (depth, wait)));
        };
        if done.insert(start) {
            follow(start, 0, &mut open);
        }
        while let Some((depth, edge)) = open.pop() {
            path.truncate(depth);
            path.push(edge);
            let next = edge.1.holder;
            if let Some(at) = path.iter().position(|(_, wait)| wait.waiter == next) {
                return Some(path.split_off(at));
            }
            if done.insert(next) {
                follow(next, depth + 1, &mut open);
            }
        }
    }
    None
}

impl PdService {
    pub(super) fn lock_waits(&self, request: LockWaitsRequest) -> LockWaitsResponse {
        let now_ms = self.env.wall_ms();
        let victims = self.lock_waits.lock().report(request.store_id, request.waits, now_ms);
        LockWaitsResponse { victims }
    }

    pub(super) fn list_lock_waits(&self) -> ListLockWaitsResponse {
        ListLockWaitsResponse { waits: self.lock_waits.lock().list(self.env.wall_ms()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(id: u64, waiter: u64, holder: u64, keys: u64) -> LockWait {
        LockWait { id, waiter, holder, keys, key: vec![waiter as u8].into(), waited_ms: 7 }
    }

    fn ids(victims: &[DeadlockVictim]) -> Vec<u64> {
        victims.iter().map(|victim| victim.id).collect()
    }

    #[test]
    fn a_circle_over_two_stores_has_one_victim_the_cheapest() {
        let mut waits = LockWaits::default();
        let (on_first, on_second) = (vec![wait(1, 10, 20, 5)], vec![wait(1, 20, 10, 2)]);
        assert!(waits.report(1, on_first.clone(), 0).is_empty());
        assert!(waits.report(2, on_second.clone(), 1).is_empty(), "told once");
        assert!(waits.report(1, on_first.clone(), 30).is_empty(), "the victim is the other store's to end");
        let victims = waits.report(2, on_second, 31);
        assert_eq!(ids(&victims), [1]);
        assert_eq!(victims[0].chain.len(), 2);
        assert!(victims[0].chain.iter().zip(&victims[0].keys).all(|(txn, key)| key[0] == *txn as u8), "{victims:?}");
        let listed = waits.list(531);
        assert_eq!(listed.iter().map(|wait| wait.waited_ms).collect::<Vec<_>>(), [7 + 501, 7 + 500]);
        assert_eq!(waits.list(1_030).len(), 1, "a store that is silent is forgotten");
        assert!(waits.report(2, Vec::new(), 60).is_empty());
        assert!(waits.report(1, on_first, 61).is_empty(), "it is over");
    }

    #[test]
    fn a_wait_for_several_says_its_key_once() {
        let mut waits = LockWaits::default();
        let without_key = |wait: LockWait| LockWait { key: Bytes::new(), ..wait };
        let several = vec![wait(1, 10, 20, 1), without_key(wait(1, 10, 21, 1)), wait(2, 11, 20, 1)];
        waits.report(1, several, 0);
        let keys: Vec<_> = waits.list(1).iter().map(|wait| wait.key[0]).collect();
        assert_eq!(keys, [10, 10, 11]);
    }

    #[test]
    fn waits_that_never_met_are_no_circle() {
        let mut waits = LockWaits::default();
        for at in 0..10 {
            // The second store's wait is another one each time.
            assert!(waits.report(1, vec![wait(1, 10, 20, 1)], at).is_empty());
            assert!(waits.report(2, vec![wait(100 + at, 20, 10, 1)], at).is_empty());
        }
        assert!(waits.report(1, vec![wait(1, 10, 20, 1)], 5_000).is_empty(), "the second store is silent");
    }

    #[test]
    fn circles_behind_other_waits_and_side_by_side_are_found() {
        let mut waits = LockWaits::default();
        let first = vec![wait(1, 1, 2, 9), wait(2, 2, 3, 1), wait(3, 11, 12, 1)];
        let second = vec![wait(1, 3, 4, 2), wait(2, 4, 2, 3), wait(3, 12, 11, 2), wait(4, 5, 1, 1)];
        for at in 0..2 {
            waits.report(1, first.clone(), at);
            waits.report(2, second.clone(), at);
        }
        assert_eq!(ids(&waits.report(1, first, 2)), [2, 3]);
        assert!(waits.report(2, second, 3).is_empty());
    }
}
