//! Queues of requests that wait for another transaction's lock, one a key, first come first served.
//!
//! When a lock goes, the first in its key's queue is woken and holds the *baton* of the key while it tries again. If it
//! takes the lock, the baton ends there: the rest wait for the new holder. If it does not, the baton goes to the next: at
//! once when the first gave up, a little later when it was refused for its timestamp, because its client is coming
//! back with a new one and should find the key free rather than everybody else awake.
//!
//! Waits are bounded in number and in time. A waiter is dropped with its future and leaves queue and graph.

use super::deadlock::{Wait, WaitForGraph};
use crate::config::TxnConfig;
use crate::error::{Error, KeyError, RegionError};
use basalt_common::{Timestamp, UserKey};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::oneshot;

/// All waits of a store.
pub struct LockWaits {
    state: Mutex<State>,
    count: AtomicUsize,
    waiters_max: usize,
    wake_next: Duration,
}

#[derive(Default)]
struct State {
    /// By encoded key, then in the order of arrival.
    queues: BTreeMap<Bytes, BTreeMap<u64, Waiter>>,
    graph: WaitForGraph,
    next_id: u64,
}

struct Waiter {
    start_ts: Timestamp,
    wake: oneshot::Sender<Wake>,
}

enum Wake {
    After(Duration),
    Deadlock(KeyError),
}

/// A request that waits.
#[derive(Clone, Debug)]
pub struct WaitFor {
    /// Encoded key.
    pub key: Bytes,
    /// The transaction that waits.
    pub waiter: Timestamp,
    /// The transaction that holds the lock.
    pub holder: Timestamp,
    /// Its place in the queue, when it has waited before.
    pub id: Option<u64>,
}

impl LockWaits {
    /// No waits.
    pub fn new(config: &TxnConfig) -> Arc<Self> {
        Arc::new(LockWaits {
            state: Mutex::default(),
            count: AtomicUsize::new(0),
            waiters_max: config.lock_waiters_max,
            wake_next: Duration::from_millis(config.lock_wake_next_ms),
        })
    }

    /// Enters a queue. The caller holds the latch of the key and has seen the lock.
    ///
    /// # Errors
    /// [`KeyError::Deadlock`] when the wait would never end, [`RegionError::ServerIsBusy`] when too many wait.
    pub fn enter(self: &Arc<Self>, wait: WaitFor) -> Result<Waiting, Error> {
        let mut state = self.state.lock();
        if self.count.load(SeqCst) >= self.waiters_max {
            return Err(RegionError::ServerIsBusy { reason: "lock waiters", backoff: self.wake_next }.into());
        }
        let id = wait.id.unwrap_or_else(|| {
            state.next_id += 1;
            state.next_id
        });
        let user_key = basalt_common::key::decode_user_key(&wait.key)?;
        let edge = Wait { holder: wait.holder, key: user_key.clone() };
        if let Err(chain) = state.graph.add(wait.waiter, id, edge) {
            return Err(KeyError::Deadlock { lock_ts: wait.holder, key: user_key, chain }.into());
        }
        let (wake, woken) = oneshot::channel();
        let waiter = Waiter { start_ts: wait.waiter, wake };
        state.queues.entry(wait.key.clone()).or_default().insert(id, waiter);
        self.count.fetch_add(1, SeqCst);
        Ok(Waiting { waits: Arc::clone(self), key: wait.key, id, waiter: wait.waiter, woken: Some(woken) })
    }

    /// Wakes the first waiter of each key: its lock is gone.
    pub fn released<'a>(&self, keys: impl IntoIterator<Item = &'a Bytes>) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut state = self.state.lock();
        for key in keys {
            self.wake_first(&mut state, key, Duration::ZERO);
        }
    }

    /// Tells the waiters of a key who holds it now; whoever would wait for ever is woken with the news.
    pub fn holder_changed(&self, key: &Bytes, holder: Timestamp) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut state = self.state.lock();
        let State { queues, graph, .. } = &mut *state;
        let Some(queue) = queues.get_mut(key) else { return };
        let user_key = basalt_common::key::decode_user_key(key).unwrap_or_default();
        let mut victims = Vec::new();
        for (id, waiter) in queue.iter() {
            graph.remove(waiter.start_ts, *id);
            if waiter.start_ts == holder {
                // The same request sent twice: its lock is there.
                victims.push((*id, Wake::After(Duration::ZERO)));
                continue;
            }
            let edge = Wait { holder, key: user_key.clone() };
            if let Err(chain) = graph.add(waiter.start_ts, *id, edge) {
                let deadlock = KeyError::Deadlock { lock_ts: holder, key: user_key.clone(), chain };
                victims.push((*id, Wake::Deadlock(deadlock)));
            }
        }
        for (id, news) in victims {
            if let Some(waiter) = queue.remove(&id) {
                self.count.fetch_sub(1, SeqCst);
                // A waiter that is gone needs no news.
                let _ = waiter.wake.send(news);
            }
        }
        if queue.is_empty() {
            queues.remove(key);
        }
    }

    fn wake_first(&self, state: &mut State, key: &Bytes, delay: Duration) {
        let State { queues, graph, .. } = state;
        let Some(queue) = queues.get_mut(key) else { return };
        while let Some((id, waiter)) = queue.pop_first() {
            self.count.fetch_sub(1, SeqCst);
            graph.remove(waiter.start_ts, id);
            if waiter.wake.send(Wake::After(delay)).is_ok() {
                break;
            }
        }
        if queue.is_empty() {
            queues.remove(key);
        }
    }
}

/// A place in a queue; left when dropped.
pub struct Waiting {
    waits: Arc<LockWaits>,
    key: Bytes,
    /// The place, to be had again.
    pub id: u64,
    waiter: Timestamp,
    woken: Option<oneshot::Receiver<Wake>>,
}

impl Waiting {
    /// Waits to be woken, at most until `deadline`: then `None`.
    ///
    /// # Errors
    /// [`KeyError::Deadlock`] when the lock went to a transaction that waits for this one.
    pub async fn wait(mut self, deadline: tokio::time::Instant) -> Result<Option<Baton>, Error> {
        let Some(woken) = self.woken.as_mut() else { return Ok(None) };
        let Ok(Ok(wake)) = tokio::time::timeout_at(deadline, woken).await else { return Ok(None) };
        self.woken = None;
        match wake {
            Wake::Deadlock(deadlock) => Err(deadlock.into()),
            Wake::After(delay) => {
                let baton = Baton { waits: Arc::clone(&self.waits), key: self.key.clone(), is_held: true };
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                Ok(Some(baton))
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(mut woken) = self.woken.take() else { return };
        let mut state = self.waits.state.lock();
        let State { queues, graph, .. } = &mut *state;
        if let Some(queue) = queues.get_mut(&self.key)
            && queue.remove(&self.id).is_some()
        {
            self.waits.count.fetch_sub(1, SeqCst);
            graph.remove(self.waiter, self.id);
            if queue.is_empty() {
                queues.remove(&self.key);
            }
        } else if matches!(woken.try_recv(), Ok(Wake::After(_))) {
            // Woken and gone: somebody else must have the baton.
            self.waits.wake_first(&mut state, &self.key, Duration::ZERO);
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

    /// The lock was not taken, but the client is coming back: the next one waits a little.
    pub fn pass_later(mut self) {
        self.is_held = false;
        let mut state = self.waits.state.lock();
        self.waits.wake_first(&mut state, &self.key, self.waits.wake_next);
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        if self.is_held {
            let mut state = self.waits.state.lock();
            self.waits.wake_first(&mut state, &self.key, Duration::ZERO);
        }
    }
}

/// The user key of an encoded key that this store wrote.
pub(super) fn encoded(key: &UserKey) -> Bytes {
    key.encode().into_vec().into()
}
