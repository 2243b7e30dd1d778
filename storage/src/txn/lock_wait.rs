//! Queues of requests that wait for another transaction's lock, one a key. First come first served, but for this: transactions
//! that have locks already come before those that have none. Others may wait for what they have, and whoever took the lock
//! before them would probably soon wait for one of them, in a circle (a part of Tian et al., "Contention-Aware Lock Scheduling
//! for Transactional Databases", VLDB 2018). Nobody is passed over for longer than [`PASSED_OVER_MAX`].
//!
//! When a lock goes, one of its key's queue is woken and holds the *baton* of the key while it tries again. If it
//! takes the lock, the baton ends there: the rest wait for the new holder. If it does not, the baton goes to the next.
//! Whoever takes a shared lock hands it on to the next in the queue, if that wants to share. Nobody joins those that share
//! a lock past one that waits for it alone. A holder that wants its shared lock for itself stands in front of all.
//!
//! Waits are bounded in number and in time. A waiter is dropped with its future and leaves queue and graph.

use super::deadlock::{Circle, Wait, WaitForGraph};
use crate::config::TxnConfig;
use crate::error::{Error, KeyError, RegionError};
use basalt_common::{Timestamp, UserKey};
use basalt_proto::pd::{DeadlockVictim, LockWait};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How long one that waits may be passed over.
const PASSED_OVER_MAX: Duration = Duration::from_secs(1);
/// When a client may come again that was refused because too many wait.
const BUSY_BACKOFF: Duration = Duration::from_millis(20);

/// All waits of a store.
pub struct LockWaits {
    state: Mutex<State>,
    count: AtomicUsize,
    /// Rung when somebody waits.
    entered: Notify,
    waiters_max: usize,
    places: AtomicU64,
}

type Queue = BTreeMap<Place, Waiter>;

#[derive(Default)]
struct State {
    /// By encoded key, then in the order of arrival.
    queues: BTreeMap<Bytes, Queue>,
    graph: WaitForGraph,
}

struct Waiter {
    start_ts: Timestamp,
    keys: u64,
    is_shared: bool,
    wake: oneshot::Sender<Wake>,
}

enum Wake {
    Turn,
    Deadlock(KeyError),
}

/// A place in the queues: those in front came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Not the holder of a shared lock that wants it for itself.
    is_newcomer: bool,
    since: Instant,
    id: u64,
}

/// A request that waits.
#[derive(Clone, Debug)]
pub struct WaitFor {
    /// Encoded key.
    pub key: Bytes,
    /// The transaction that waits.
    pub waiter: Timestamp,
    /// The transactions that hold the lock.
    pub holders: Vec<Timestamp>,
    /// It wants to share the lock.
    pub is_shared: bool,
    /// How many keys the waiting one has locked or written.
    pub keys: u64,
    /// Its place in the queue.
    pub place: Place,
}

impl LockWaits {
    /// No waits.
    pub fn new(config: &TxnConfig) -> Arc<Self> {
        Arc::new(LockWaits {
            state: Mutex::default(),
            count: AtomicUsize::new(0),
            entered: Notify::new(),
            waiters_max: config.lock_waiters_max,
            places: AtomicU64::new(0),
        })
    }

    /// The place of a request that has waited for so long already.
    pub fn place(&self, waited: Duration) -> Place {
        let now = Instant::now();
        let id = self.places.fetch_add(1, SeqCst);
        Place { is_newcomer: true, since: now.checked_sub(waited).unwrap_or(now), id }
    }

    /// Whether somebody in front of `place` waits for a key alone.
    pub fn waits_alone(&self, key: &Bytes, place: Place) -> bool {
        if self.count.load(SeqCst) == 0 {
            return false;
        }
        let state = self.state.lock();
        state.queues.get(key).is_some_and(|queue| queue.range(..place).any(|(_, waiter)| !waiter.is_shared))
    }

    /// Enters a queue. The caller holds the latch of the key and has seen the lock.
    ///
    /// # Errors
    /// [`KeyError::Deadlock`] when the wait would never end, [`RegionError::ServerIsBusy`] when too many wait.
    pub fn enter(self: &Arc<Self>, wait: WaitFor) -> Result<Waiting, Error> {
        let mut state = self.state.lock();
        if self.count.load(SeqCst) >= self.waiters_max {
            return Err(RegionError::ServerIsBusy { reason: "lock waiters", backoff: BUSY_BACKOFF }.into());
        }
        let user_key = basalt_common::key::decode_user_key(&wait.key)?;
        let edge = Wait { holders: wait.holders, key: user_key, keys: wait.keys, since: wait.place.since };
        self.add_edge(&mut state, wait.waiter, wait.place.id, &edge)?;
        let (wake, woken) = oneshot::channel();
        let waiter = Waiter { start_ts: wait.waiter, keys: wait.keys, is_shared: wait.is_shared, wake };
        state.queues.entry(wait.key.clone()).or_default().insert(wait.place, waiter);
        self.count.fetch_add(1, SeqCst);
        self.entered.notify_one();
        Ok(Waiting {
            waits: Arc::clone(self),
            key: wait.key,
            place: wait.place,
            waiter: wait.waiter,
            woken: Some(woken),
        })
    }

    /// Adds a wait to the graph. A circle that it closes is broken at the wait of the cheapest transaction.
    fn add_edge(&self, state: &mut State, waiter: Timestamp, id: u64, edge: &Wait) -> Result<(), KeyError> {
        while let Err(circle) = state.graph.add(waiter, id, edge.clone()) {
            let Some((txn, id, other)) = state.graph.cheapest(&circle, edge) else {
                return Err(deadlock(edge, circle));
            };
            state.graph.remove(txn, id);
            self.end(state, id, &other, circle);
        }
        Ok(())
    }

    /// Returns when somebody waits.
    pub async fn until_any(&self) {
        while self.count.load(SeqCst) == 0 {
            self.entered.notified().await;
        }
    }

    /// All that wait, for PD: it finds circles over several stores, and shows who waits.
    pub fn told(&self) -> Vec<LockWait> {
        if self.count.load(SeqCst) == 0 {
            return Vec::new();
        }
        let state = self.state.lock();
        let told = |(waiter, id, wait): (Timestamp, u64, &'_ Wait)| {
            let told = |(at, holder): (usize, &Timestamp)| LockWait {
                id,
                waiter: waiter.0,
                holder: holder.0,
                keys: wait.keys,
                key: if at == 0 { wait.key.0.clone() } else { Bytes::new() },
                waited_ms: wait.since.elapsed().as_millis() as u64,
            };
            wait.holders.iter().enumerate().map(told).collect::<Vec<_>>()
        };
        state.graph.waits().flat_map(told).collect()
    }

    /// Ends waits that PD has found in circles; those that are over by now are left alone.
    pub fn end_victims(&self, victims: Vec<DeadlockVictim>) {
        let mut state = self.state.lock();
        for victim in victims {
            let found = state.graph.waits().find(|(_, id, _)| *id == victim.id);
            let Some((txn, id, wait)) = found.map(|(txn, id, wait)| (txn, id, wait.clone())) else { continue };
            state.graph.remove(txn, id);
            let circle = victim.chain.into_iter().map(Timestamp).zip(victim.keys.into_iter().map(UserKey));
            self.end(&mut state, id, &wait, circle.collect());
        }
    }

    /// Wakes a waiter, whose wait the graph has no more, with the news that it is a deadlock's victim.
    fn end(&self, state: &mut State, id: u64, wait: &Wait, circle: Circle) {
        let key = encoded(&wait.key);
        let Some(queue) = state.queues.get_mut(&key) else { return };
        let place = queue.keys().find(|place| place.id == id).copied();
        if let Some(waiter) = place.and_then(|place| queue.remove(&place)) {
            self.count.fetch_sub(1, SeqCst);
            // A waiter that is gone needs no news.
            let _ = waiter.wake.send(Wake::Deadlock(deadlock(wait, circle)));
        }
        if queue.is_empty() {
            state.queues.remove(&key);
        }
    }

    /// Ends the waits of a transaction for some keys, as if their time were over.
    pub fn forget(&self, keys: &[UserKey], waiter: Timestamp) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut state = self.state.lock();
        let State { queues, graph, .. } = &mut *state;
        for key in keys.iter().map(encoded) {
            let Some(queue) = queues.get_mut(&key) else { continue };
            queue.retain(|place, waiting| {
                let stays = waiting.start_ts != waiter;
                if !stays {
                    self.count.fetch_sub(1, SeqCst);
                    graph.remove(waiter, place.id);
                }
                stays
            });
            if queue.is_empty() {
                queues.remove(&key);
            }
        }
    }

    /// Wakes a waiter of each key: its lock is gone.
    pub fn released<'a>(&self, keys: impl IntoIterator<Item = &'a Bytes>) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut state = self.state.lock();
        for key in keys {
            self.wake(&mut state, key, next);
        }
    }

    /// Tells the waiters of a key that `holder` holds it now, with those that share it; whoever would wait for ever is woken
    /// with the news, and the first in the queue when it can share, too.
    pub fn holder_changed(&self, key: &Bytes, holder: Timestamp, sharers: Option<&[Timestamp]>) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut state = self.state.lock();
        let Some(queue) = state.queues.get(key) else { return };
        let waiting: Vec<_> = queue.iter().map(|(place, waiter)| (*place, waiter.start_ts, waiter.keys)).collect();
        let holders: Vec<Timestamp> = std::iter::once(holder).chain(sharers.into_iter().flatten().copied()).collect();
        let user_key = basalt_common::key::decode_user_key(key).unwrap_or_default();
        for (place, waiter, _) in &waiting {
            state.graph.remove(*waiter, place.id);
        }
        for (place, waiter, keys) in waiting {
            if !state.queues.get(key).is_some_and(|queue| queue.contains_key(&place)) {
                continue;
            }
            let others = holders.iter().copied().filter(|&holder| holder != waiter);
            let edge = Wait { holders: others.collect(), key: user_key.clone(), keys, since: place.since };
            let news = match waiter == holder {
                // The same request sent twice: its lock is there.
                true => Some(Wake::Turn),
                false => self.add_edge(&mut state, waiter, place.id, &edge).err().map(Wake::Deadlock),
            };
            if let Some(news) = news
                && let Some(waiter) = state.queues.get_mut(key).and_then(|queue| queue.remove(&place))
            {
                self.count.fetch_sub(1, SeqCst);
                // A waiter that is gone needs no news.
                let _ = waiter.wake.send(news);
            }
        }
        let first = state.queues.get(key).map(Queue::first_key_value);
        match first {
            Some(None) => drop(state.queues.remove(key)),
            Some(Some((_, first))) if sharers.is_some() && first.is_shared => self.wake(&mut state, key, first_of),
            _ => {}
        }
    }

    fn wake(&self, state: &mut State, key: &Bytes, whose_turn: fn(&Queue) -> Option<Place>) {
        let State { queues, graph, .. } = state;
        let Some(queue) = queues.get_mut(key) else { return };
        while let Some((place, waiter)) = whose_turn(queue).and_then(|place| queue.remove_entry(&place)) {
            self.count.fetch_sub(1, SeqCst);
            graph.remove(waiter.start_ts, place.id);
            if waiter.wake.send(Wake::Turn).is_ok() {
                break;
            }
        }
        if queue.is_empty() {
            queues.remove(key);
        }
    }
}

/// Who came first.
fn first_of(queue: &Queue) -> Option<Place> {
    queue.keys().next().copied()
}

/// Whose turn it is when a lock is free.
fn next(queue: &Queue) -> Option<Place> {
    let first = first_of(queue)?;
    if !first.is_newcomer || first.since.elapsed() > PASSED_OVER_MAX {
        return Some(first);
    }
    let has_locks = queue.iter().find(|(_, waiter)| waiter.keys > 0);
    Some(has_locks.map_or(first, |(place, _)| *place))
}

fn deadlock(wait: &Wait, circle: Circle) -> KeyError {
    let lock_ts = wait.holders.first().copied().unwrap_or_default();
    KeyError::Deadlock { lock_ts, key: wait.key.clone(), circle }
}

impl Place {
    /// In front of all that hold nothing of the key.
    pub fn of_holder(self) -> Place {
        Place { is_newcomer: false, ..self }
    }
}

/// A place in a queue; left when dropped.
pub struct Waiting {
    waits: Arc<LockWaits>,
    key: Bytes,
    place: Place,
    waiter: Timestamp,
    woken: Option<oneshot::Receiver<Wake>>,
}

impl Waiting {
    /// Waits to be woken, at most until `deadline`: then `None`.
    ///
    /// # Errors
    /// [`KeyError::Deadlock`] when the lock went to a transaction that waits for this one.
    pub async fn wait(mut self, deadline: Instant) -> Result<Option<Baton>, Error> {
        let Some(woken) = self.woken.as_mut() else { return Ok(None) };
        let Ok(Ok(wake)) = tokio::time::timeout_at(deadline, woken).await else { return Ok(None) };
        self.woken = None;
        match wake {
            Wake::Deadlock(deadlock) => Err(deadlock.into()),
            Wake::Turn => Ok(Some(Baton { waits: Arc::clone(&self.waits), key: self.key.clone(), is_held: true })),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(mut woken) = self.woken.take() else { return };
        let mut state = self.waits.state.lock();
        let State { queues, graph, .. } = &mut *state;
        if let Some(queue) = queues.get_mut(&self.key)
            && queue.remove(&self.place).is_some()
        {
            self.waits.count.fetch_sub(1, SeqCst);
            graph.remove(self.waiter, self.place.id);
            if queue.is_empty() {
                queues.remove(&self.key);
            }
        } else if matches!(woken.try_recv(), Ok(Wake::Turn)) {
            // Woken and gone: somebody else must have the baton.
            self.waits.wake(&mut state, &self.key, next);
        }
    }
}

/// The turn to try for a key. Passed on when dropped.
pub struct Baton {
    waits: Arc<LockWaits>,
    key: Bytes,
    is_held: bool,
}

impl Baton {
    /// Whether it is this key's.
    pub fn is_for(&self, key: &UserKey) -> bool {
        encoded(key) == self.key
    }

    /// The lock was taken: those behind wait for its new holder.
    pub fn keep(mut self) {
        self.is_held = false;
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        if self.is_held {
            let mut state = self.waits.state.lock();
            self.waits.wake(&mut state, &self.key, next);
        }
    }
}

/// The user key of an encoded key that this store wrote.
pub(super) fn encoded(key: &UserKey) -> Bytes {
    key.encode().into_vec().into()
}
