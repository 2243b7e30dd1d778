//! Work that goes on after its caller got an answer: committing secondaries, resolving locks, rolling back.
//!
//! Every task is owned by the [`Background`] of the cluster handle, which joins them at shutdown. There is a bound: when it
//! is reached the caller does the work itself, which slows down who makes too much of it. None of this work is needed for
//! correctness: a lock that stays behind is resolved by whoever meets it.

use crate::config::{BACKGROUND_SHUTDOWN, BACKGROUND_TASKS_MAX};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The owner of background tasks.
pub(crate) struct Background {
    tracker: TaskTracker,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Background {
    pub(crate) fn new() -> Background {
        Background {
            tracker: TaskTracker::new(),
            permits: Arc::new(Semaphore::new(BACKGROUND_TASKS_MAX)),
            stop: CancellationToken::new(),
        }
    }

    /// Runs `work` behind the caller's back, or here when too much is under way or the process is stopping.
    pub(crate) async fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) if !self.tracker.is_closed() => {
                let stop = self.stop.clone();
                self.tracker.spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        biased;
                        () = work => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
            _ => work.await,
        }
    }

    /// Runs `work` behind the caller's back if there is room, and not at all otherwise: for callers that cannot wait.
    pub(crate) fn try_run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let permit = self.permits.clone().try_acquire_owned();
        // Outside a runtime nothing can be spawned: a handle dropped after its runtime.
        if let (Ok(permit), false, Ok(runtime)) =
            (permit, self.tracker.is_closed(), tokio::runtime::Handle::try_current())
        {
            let stop = self.stop.clone();
            let guarded = async move {
                let _permit = permit;
                tokio::select! {
                    biased;
                    () = work => {}
                    () = stop.cancelled() => {}
                }
            };
            self.tracker.spawn_on(guarded, &runtime);
        }
    }

    /// Waits for what is under way, for a limited time, and stops the rest.
    pub(crate) async fn shutdown(&self) {
        self.tracker.close();
        if tokio::time::timeout(BACKGROUND_SHUTDOWN, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "background tasks stopped before they finished");
            self.stop.cancel();
            self.tracker.wait().await;
        }
    }
}
