//! Latches: one command at a time for each key.
//!
//! Keys hash to slots; a slot is a fair semaphore of one. A command takes its slots in ascending order, so commands
//! never wait for each other in a circle, and keeps them until its write is applied. Two keys that share a slot only
//! cost waiting. Taking free slots allocates nothing for a command of one key; waiters queue in their own futures, and
//! one that is dropped leaves the queue.

use futures::future::join_all;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The slots of a store.
pub struct Latches {
    slots: Box<[Semaphore]>,
}

/// The slots of one command, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotSet {
    /// Of a command with one key.
    One(usize),
    /// Of a command with more.
    Many(Vec<usize>),
}

impl SlotSet {
    fn as_slice(&self) -> &[usize] {
        match self {
            SlotSet::One(slot) => std::slice::from_ref(slot),
            SlotSet::Many(slots) => slots,
        }
    }
}

impl Latches {
    /// `slots` free slots, at least one.
    pub fn new(slots: usize) -> Arc<Self> {
        Arc::new(Latches { slots: (0..slots.max(1)).map(|_| Semaphore::new(1)).collect() })
    }

    /// The slots of a command's user keys.
    pub fn slots_of<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> SlotSet {
        let slot = |key: &[u8]| crc32fast::hash(key) as usize % self.slots.len();
        let mut keys = keys.into_iter();
        let Some(first) = keys.next() else { return SlotSet::Many(Vec::new()) };
        let Some(second) = keys.next() else { return SlotSet::One(slot(first)) };
        let mut slots: Vec<usize> = [first, second].into_iter().chain(keys).map(slot).collect();
        slots.sort_unstable();
        slots.dedup();
        SlotSet::Many(slots)
    }

    /// Waits until every command that holds a slot now has given it back, and holds up nobody meanwhile.
    pub async fn pass_all(self: &Arc<Self>) {
        // At all of them at once: the longest wait, and not their sum.
        let held = self.slots.iter().filter(|slot| slot.try_acquire().is_err());
        // Each is given back as soon as it is had: who holds one of several while it waits for another stands in a circle.
        join_all(held.map(|slot| async move { drop(slot.acquire().await) })).await;
    }

    /// Waits until all slots are this command's.
    pub async fn acquire(self: &Arc<Self>, slots: SlotSet) -> LatchGuard {
        let mut guard = LatchGuard { latches: Arc::clone(self), slots, held: 0 };
        while let Some(&slot) = guard.slots.as_slice().get(guard.held) {
            let permit = self.slots[slot].acquire().await.expect("the semaphores are never closed");
            permit.forget();
            guard.held += 1;
        }
        guard
    }
}

/// Slots held; given back when dropped.
pub struct LatchGuard {
    latches: Arc<Latches>,
    slots: SlotSet,
    held: usize,
}

impl Drop for LatchGuard {
    fn drop(&mut self) {
        for &slot in &self.slots.as_slice()[..self.held] {
            self.latches.slots[slot].add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn first_come_first_served_and_dropped_waiters_leave() {
        let latches = Latches::new(16);
        let slots = || latches.slots_of([&b"a"[..], b"b"]);
        let first = latches.acquire(slots()).await;
        let mut second = Box::pin(latches.acquire(slots()));
        let mut third = Box::pin(latches.acquire(latches.slots_of([&b"b"[..]])));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(second);
        assert!((&mut third).now_or_never().is_none(), "the first still holds it");
        drop(first);
        let third = third.await;
        assert!(latches.acquire(latches.slots_of([&b"a"[..]])).now_or_never().is_some());
        drop(third);
        assert!(latches.acquire(slots()).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_passes_all_holds_up_nobody() {
        let latches = Latches::new(16);
        let (a, b) = (latches.slots_of([&b"a"[..]]), latches.slots_of([&b"b"[..]]));
        let (low, high) = if a.as_slice() < b.as_slice() { (a, b) } else { (b, a) };
        assert_ne!(low, high, "the keys were chosen so");
        let (first, second) = (latches.acquire(low).await, latches.acquire(high).await);
        // It waits for the lower slot, and then wants the higher one, before which the pass has had its turn.
        let mut both = Box::pin(latches.acquire(latches.slots_of([&b"a"[..], b"b"])));
        assert!((&mut both).now_or_never().is_none());
        let mut pass = Box::pin(latches.pass_all());
        assert!((&mut pass).now_or_never().is_none());
        drop(second);
        assert!((&mut pass).now_or_never().is_none(), "the lower slot is held");
        drop(first);
        let both = both.now_or_never().expect("nobody else holds either");
        drop(both);
        pass.await;
    }
}
