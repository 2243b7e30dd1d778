//! Whether the owner of a pessimistic lock lives, before the lock's time is over.
//!
//! A lock does not say whose it is. So each process knows its own transactions that ask for locks, from before the first
//! request until their outcome is known, and the layer above knows how to ask the other processes. When all that live say that
//! a transaction is not theirs, whoever had it is dead: its locks may be taken back at once instead of when their TTL has
//! passed. A process that stood still for a while is taken for dead too early, and that costs it its locks, but no one a wrong
//! answer: it knows since when and until when the others certainly take it for alive, and asks for locks that are older.

use crate::cluster::Cluster;
use crate::config::{OWNER_ASKED_AFTER, OWNER_ASKED_EVERY, OWNERS_ALIVE_MAX};
use basalt_common::Timestamp;
use basalt_common::env::Monotonic;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Asks the other processes; true when a transaction is nobody's.
pub type IsNobodys = Box<dyn Fn(Timestamp) -> BoxFuture<'static, bool> + Send + Sync>;

/// What is known of the owners of transactions.
#[derive(Default)]
pub(crate) struct Owners {
    here: Mutex<BTreeSet<Timestamp>>,
    is_nobodys: OnceLock<IsNobodys>,
    /// When others' transactions were not found to be nobody's.
    alive: Mutex<BTreeMap<Timestamp, Monotonic>>,
    believed: Mutex<BelievedAlive>,
}

/// When the others certainly take this process for alive, whatever happens.
#[derive(Default)]
struct BelievedAlive {
    since: Monotonic,
    until: Monotonic,
}

/// A transaction of this process that may hold locks.
pub(crate) struct Owned {
    cluster: Cluster,
    start_ts: Timestamp,
}

impl Owned {
    pub(crate) fn new(cluster: &Cluster, start_ts: Timestamp) -> Owned {
        cluster.owners.here.lock().insert(start_ts);
        Owned { cluster: cluster.clone(), start_ts }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.cluster.owners.here.lock().remove(&self.start_ts);
    }
}

impl Cluster {
    /// Whether a transaction of this process asks for locks or holds some.
    pub fn owns(&self, start_ts: Timestamp) -> bool {
        self.owners.here.lock().contains(&start_ts)
    }

    /// Sets how other processes are asked; once.
    pub fn set_is_nobodys(&self, ask: IsNobodys) {
        let _ = self.owners.is_nobodys.set(ask);
    }

    /// Says, when the other processes have just been told that this one lives, until when they certainly believe it.
    pub fn believed_alive_until(&self, until: Monotonic) {
        let now = self.env.now();
        let mut believed = self.owners.believed.lock();
        if now > believed.until {
            // They may have taken it for dead meanwhile.
            believed.since = now;
        }
        believed.until = believed.until.max(until);
    }

    /// Whether nobody can have taken this process for dead since then: nor where there is no way to ask.
    pub(crate) fn is_believed_alive_since(&self, time: Monotonic) -> bool {
        let believed = self.owners.believed.lock();
        self.owners.is_nobodys.get().is_none() || believed.since <= time && self.env.now() < believed.until
    }

    /// True when it is known that whoever had a transaction is dead. Others are asked about transactions that have lived for a
    /// while, once in [`OWNER_ASKED_EVERY`].
    pub(crate) async fn is_nobodys(&self, start_ts: Timestamp) -> bool {
        let Some(ask) = self.owners.is_nobodys.get().filter(|_| !self.owns(start_ts)) else { return false };
        let age_ms = self.env.wall_ms().saturating_sub(start_ts.physical_ms());
        if u128::from(age_ms) < OWNER_ASKED_AFTER.as_millis() {
            return false;
        }
        {
            let now = self.env.now();
            let mut alive = self.owners.alive.lock();
            if alive.get(&start_ts).is_some_and(|asked| now.since(*asked) < OWNER_ASKED_EVERY) {
                return false;
            }
            if alive.len() >= OWNERS_ALIVE_MAX {
                alive.clear();
            }
            alive.insert(start_ts, now);
        }
        ask(start_ts).await
    }
}
