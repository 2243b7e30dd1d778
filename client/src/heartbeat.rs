//! Keeping a transaction's locks alive while its client lives.
//!
//! A lock is dead when its TTL, counted from `start_ts`, is over by PD's clock; anybody may then roll the transaction back.
//! While a transaction works, a task prolongs the TTL of its primary lock, whose state decides for all the others. It ends
//! with its [`Heartbeat`], when the store says that the lock is gone that was there, or after [`TXN_LIFE_MAX`].

use crate::cluster::Cluster;
use crate::config::{HEARTBEATS_PER_TTL, TXN_LIFE_MAX};
use crate::error::{Error, Result};
use crate::retry::{Retry, wrong_answer};
use basalt_common::Timestamp;
use basalt_common::env::Monotonic;
use basalt_proto::errors::KeyError;
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use std::time::Duration;
use tokio::task::AbortHandle;

/// The task; dropping this stops it.
pub(crate) struct Heartbeat {
    task: AbortHandle,
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
        let task = tokio::spawn(async move {
            let interval = beating.ttl / HEARTBEATS_PER_TTL;
            let mut was_there = false;
            loop {
                tokio::time::sleep(interval).await;
                let age = cluster.env.now().since(beating.started);
                if age > TXN_LIFE_MAX {
                    return;
                }
                match ask(&cluster, &beating, age).await {
                    Ok(None) => was_there = true,
                    Ok(Some(error)) if was_there => {
                        tracing::debug!(start_ts = %beating.start_ts, ?error, "heartbeat refused");
                        return;
                    }
                    // A lock that was never seen may still be on its way: its region may have no leader now.
                    Ok(Some(_)) => {}
                    // The region may come back before the lock's time is over.
                    Err(_) => {}
                }
            }
        });
        Heartbeat { task: task.abort_handle() }
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
pub(crate) async fn confirm(cluster: &Cluster, beating: &Beating) -> Result<()> {
    let age = cluster.env.now().since(beating.started);
    match ask(cluster, beating, age).await? {
        None => Ok(()),
        Some(error) => Err(Error::of_key(error, beating.start_ts)),
    }
}

/// One heartbeat; the store's refusal.
async fn ask(cluster: &Cluster, beating: &Beating, age: Duration) -> Result<Option<KeyError>> {
    let mut retry = Retry::new(&cluster.env, beating.ttl);
    let request = |context| {
        kv_request::Cmd::TxnHeartBeat(kv::TxnHeartBeatRequest {
            context: Some(context),
            primary: beating.primary.clone(),
            start_ts: beating.start_ts.0,
            advise_ttl_ms: (age + beating.ttl).as_millis() as u64,
        })
    };
    match cluster.call_key(&beating.primary, &mut retry, request).await? {
        kv_response::Cmd::TxnHeartBeat(answer) => Ok(answer.error),
        _ => Err(wrong_answer()),
    }
}
