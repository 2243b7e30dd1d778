//! Keeping a transaction's locks alive while its client lives.
//!
//! A lock is dead when its TTL, counted from `start_ts`, is over by PD's clock; anybody may then roll the transaction back.
//! While a transaction works, a task prolongs the TTL of its primary lock, whose state decides for all the others. It ends
//! with its [`Heartbeat`], when the store says that the lock is gone that was there, or after [`TXN_LIFE_MAX`].
//!
//! A process that stood still cannot tell by itself whether its locks were taken from it meanwhile. So what is read under
//! locks is told to the client only while they are certainly there, or after the primary was asked ([`confirm`]).

use crate::cluster::Cluster;
use crate::config::{HEARTBEATS_PER_TTL, TXN_LIFE_MAX};
use crate::error::{Error, Result};
use crate::retry::{Retry, wrong_answer};
use basalt_common::Timestamp;
use basalt_common::env::Monotonic;
use basalt_proto::errors::KeyError;
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;

/// The task; dropping this stops it.
pub(crate) struct Heartbeat {
    task: AbortHandle,
    seen: Arc<Seen>,
}

/// What is known of a transaction's locks.
pub(crate) struct Seen {
    /// When they were there, the last time that somebody looked.
    at: AtomicU64,
    /// When their time is over.
    until: AtomicU64,
}

impl Seen {
    /// They are not there any more.
    fn note_gone(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    /// They were there at a time, and live until another.
    fn note(&self, at: Monotonic, until: Monotonic) {
        self.at.fetch_max(at.0, Ordering::Relaxed);
        self.until.fetch_max(until.0, Ordering::Relaxed);
    }

    /// When they were there, the last time that somebody looked.
    pub(crate) fn at(&self) -> Monotonic {
        Monotonic(self.at.load(Ordering::Relaxed))
    }

    /// Until then nobody can take them, by their time, for those of a dead client.
    pub(crate) fn until(&self) -> Monotonic {
        Monotonic(self.until.load(Ordering::Relaxed))
    }
}

/// Whose locks to keep alive.
pub(crate) struct Beating {
    pub(crate) primary: Bytes,
    pub(crate) start_ts: Timestamp,
    /// When the transaction got its `start_ts`.
    pub(crate) started: Monotonic,
    /// How long the locks live after a beat.
    pub(crate) ttl: Duration,
}

impl Heartbeat {
    pub(crate) fn start(cluster: &Cluster, beating: Beating) -> Heartbeat {
        let cluster = cluster.clone();
        let (at, until) = (beating.started, beating.started.after(beating.ttl));
        let seen = Arc::new(Seen { at: at.0.into(), until: until.0.into() });
        let told = seen.clone();
        let task = tokio::spawn(async move {
            let interval = beating.ttl / HEARTBEATS_PER_TTL;
            let mut was_there = false;
            loop {
                tokio::time::sleep(interval).await;
                let now = cluster.env.now();
                let age = now.since(beating.started);
                if age > TXN_LIFE_MAX {
                    return;
                }
                let ttl = age + beating.ttl;
                match ask(&cluster, &beating, ttl).await {
                    Ok(None) => {
                        was_there = true;
                        told.note(now, beating.started.after(ttl));
                    }
                    Ok(Some(error)) if was_there => {
                        tracing::debug!(start_ts = %beating.start_ts, ?error, "heartbeat refused");
                        told.note_gone();
                        return;
                    }
                    // A lock that was never seen may still be on its way: its region may have no leader now.
                    Ok(Some(_)) => {}
                    // The region may come back before the lock's time is over.
                    Err(_) => {}
                }
            }
        });
        Heartbeat { task: task.abort_handle(), seen }
    }

    /// What is known of the locks.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks for a primary lock whether it is still there, and with it all that point to it.
///
/// # Errors
/// [`Error::Aborted`] when others have taken it for dead and rolled it back; what the cluster returns.
pub(crate) async fn confirm(cluster: &Cluster, beating: &Beating, seen: Option<&Seen>) -> Result<()> {
    let now = cluster.env.now();
    match ask(cluster, beating, Duration::ZERO).await? {
        None => {
            if let Some(seen) = seen {
                seen.note(now, Monotonic(0));
            }
            Ok(())
        }
        Some(error) => Err(Error::of_key(error, beating.start_ts)),
    }
}

/// One heartbeat, which makes the TTL at least this; the store's refusal.
async fn ask(cluster: &Cluster, beating: &Beating, ttl: Duration) -> Result<Option<KeyError>> {
    let mut retry = Retry::new(&cluster.env, beating.ttl);
    let request = |context| {
        kv_request::Cmd::TxnHeartBeat(kv::TxnHeartBeatRequest {
            context: Some(context),
            primary: beating.primary.clone(),
            start_ts: beating.start_ts.0,
            advise_ttl_ms: ttl.as_millis() as u64,
        })
    };
    match cluster.call_key(&beating.primary, &mut retry, request).await? {
        kv_response::Cmd::TxnHeartBeat(answer) => Ok(answer.error),
        _ => Err(wrong_answer()),
    }
}
