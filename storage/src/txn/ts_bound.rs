//! No timestamp from outside is believed that PD has not given yet.
//!
//! A reader's timestamp raises `max_ts`, and one-phase commits go above it: one request from the far future, by a mistake or in
//! bad faith, would put every commit of this store there, where no reader sees it. The newest timestamp is heard with every
//! heartbeat; what lies further ahead than that may be is asked for at PD, once.

use crate::error::{Error, KeyError, RegionError};
use basalt_common::Timestamp;
use futures::future::BoxFuture;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How far timestamps may be ahead of the newest that was heard of: some heartbeats.
const AHEAD_MAX: Duration = Duration::from_secs(10);
/// How long a client stays away when PD could not be asked.
const PD_AWAY: Duration = Duration::from_millis(200);

/// Asks PD for a timestamp; nothing when it does not answer.
pub type AskTimestamp = Box<dyn Fn() -> BoxFuture<'static, Option<Timestamp>> + Send + Sync>;

/// See the module. Without anybody to ask it lets everything pass: a store of its own, in tests.
#[derive(Default)]
pub struct TsBound {
    newest: OnceLock<Arc<AtomicU64>>,
    ask: OnceLock<AskTimestamp>,
}

impl TsBound {
    /// From now on nothing passes that is far ahead of `newest`, which heartbeats raise, and of what `ask` brings. Once.
    pub fn set(&self, newest: Arc<AtomicU64>, ask: AskTimestamp) {
        let _ = self.newest.set(newest);
        let _ = self.ask.set(ask);
    }

    /// Whether a timestamp is not above the newest that was heard of.
    pub fn has_passed(&self, ts: Timestamp) -> bool {
        self.newest.get().is_none_or(|newest| ts.0 <= newest.load(Relaxed))
    }

    /// Lets timestamps pass that PD may have given. Zero is none. The largest, at which the newest is read, is no promise, but
    /// for a read it is not given either: who may bring it does not ask.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] for one from the future; [`RegionError::ServerIsBusy`] when PD does not say.
    pub async fn admit(&self, timestamps: impl IntoIterator<Item = Timestamp>) -> Result<(), Error> {
        let (Some(newest), Some(ask)) = (self.newest.get(), self.ask.get()) else { return Ok(()) };
        let Some(largest) = timestamps.into_iter().max() else { return Ok(()) };
        let limit_ms = Timestamp(newest.load(Relaxed)).physical_ms() + AHEAD_MAX.as_millis() as u64;
        if largest.physical_ms() <= limit_ms {
            return Ok(());
        }
        let Some(now) = ask().await else {
            let reason = "PD does not say whether it has given this timestamp";
            return Err(RegionError::ServerIsBusy { reason, backoff: PD_AWAY }.into());
        };
        newest.fetch_max(now.0, Relaxed);
        match largest <= now {
            true => Ok(()),
            false => {
                Err(KeyError::Invalid(format!("timestamp {largest} is not given yet: the newest is {now}")).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test]
    async fn the_future_is_refused_and_pd_is_asked_seldom() {
        let bound = TsBound::default();
        let at = |secs: u64| Timestamp::compose(secs * 1_000, 7);
        bound.admit([at(1 << 20)]).await.expect("nobody says what is too new");
        let (newest, asked) = (Arc::new(AtomicU64::new(at(100).0)), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let ask: AskTimestamp = Box::new(move || {
            let n = counted.fetch_add(1, Relaxed);
            Box::pin(async move { (n > 0).then(|| Timestamp::compose(200_000, 0)) })
        });
        bound.set(newest.clone(), ask);
        bound.admit([Timestamp::ZERO, at(110)]).await.expect("may have been given since");
        assert_eq!(asked.load(Relaxed), 0);
        assert!(matches!(bound.admit([at(150)]).await, Err(Error::Region(RegionError::ServerIsBusy { .. }))));
        bound.admit([at(150)]).await.expect("PD has given newer ones");
        bound.admit([at(205)]).await.expect("near what PD gave");
        assert_eq!(asked.load(Relaxed), 2);
        assert!(matches!(bound.admit([at(211)]).await, Err(Error::Key(KeyError::Invalid(_)))));
        assert!(matches!(bound.admit([Timestamp(u64::MAX - 1)]).await, Err(Error::Key(KeyError::Invalid(_)))));
        assert!(matches!(bound.admit([Timestamp::MAX]).await, Err(Error::Key(KeyError::Invalid(_)))));
    }
}
