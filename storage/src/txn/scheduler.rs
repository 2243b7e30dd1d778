//! Runs commands: latches, snapshot, action, write. See [`crate::txn`] for who holds what.

use super::action::Changes;
use super::action::check_secondary_locks::{SecondaryStatus, check_secondary_locks};
use super::action::check_txn_status::{CheckTxnStatus, TxnStatus, check_txn_status};
use super::action::commit::commit;
use super::action::heartbeat::heartbeat;
use super::action::pessimistic_rollback::pessimistic_rollback;
use super::action::prewrite::{CommitMode, Plan, Prepared, Prewrite, Prewritten, prepare};
use super::action::resolve_lock::resolve_lock;
use super::action::rollback::rollback;
use super::concurrency::{ConcurrencyManager, MemoryLock, MemoryLocks};
use super::latch::{LatchGuard, Latches, SlotSet};
use super::lock_wait::LockWaits;
use super::ts_bound::TsBound;
use crate::config::TxnConfig;
use crate::engine::{DATA_CFS, EngineRange, Modify};
use crate::error::{Error, KeyError, RegionError};
use crate::mvcc::MvccReader;
use crate::mvcc::reader::LockFilter;
use crate::replicated::{RegionCtx, RegionSnapshot, Replicated, ReplicatedWrite};
use basalt_common::env::Env;
use basalt_common::mutant::mutant;
use basalt_common::{KeyRange, Timestamp, UserKey, key};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a client stays away from a store that has too many commands.
pub(super) const BUSY_BACKOFF: Duration = Duration::from_millis(20);

/// The commands of one store.
pub struct Scheduler {
    pub(super) replicated: Arc<dyn Replicated>,
    pub(super) concurrency: Arc<ConcurrencyManager>,
    pub(super) waits: Arc<LockWaits>,
    /// Keys that requests with SKIP LOCKED are about to lock.
    pub(super) claims: Mutex<BTreeSet<UserKey>>,
    pub(super) latches: Arc<Latches>,
    pub(super) config: TxnConfig,
    pub(super) env: Env,
    ts_bound: TsBound,
    commands: Arc<AtomicUsize>,
    pending_bytes: Arc<AtomicUsize>,
}

/// A share of a bounded count; given back when dropped.
pub(super) struct Ticket {
    counter: Arc<AtomicUsize>,
    amount: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.amount, Relaxed);
    }
}

fn take_ticket(counter: &Arc<AtomicUsize>, amount: usize, max: usize, reason: &'static str) -> Result<Ticket, Error> {
    let before = counter.fetch_add(amount, Relaxed);
    let ticket = Ticket { counter: Arc::clone(counter), amount };
    // One is always let in, however large.
    if before > 0 && before + amount > max {
        return Err(RegionError::ServerIsBusy { reason, backoff: BUSY_BACKOFF }.into());
    }
    Ok(ticket)
}

/// A command that has its latches and its snapshot.
pub(super) struct Started {
    pub(super) snapshot: RegionSnapshot,
    pub(super) guard: LatchGuard,
    ticket: Ticket,
}

impl Scheduler {
    /// A scheduler over a store's regions.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        concurrency: Arc<ConcurrencyManager>,
        config: TxnConfig,
        env: Env,
    ) -> Arc<Self> {
        Arc::new(Scheduler {
            replicated,
            concurrency,
            waits: LockWaits::new(&config),
            claims: Mutex::default(),
            latches: Latches::new(config.latch_slots),
            config,
            env,
            ts_bound: TsBound::default(),
            commands: Arc::default(),
            pending_bytes: Arc::default(),
        })
    }

    /// The bounds in force.
    pub fn config(&self) -> &TxnConfig {
        &self.config
    }

    /// Where reads and commits meet.
    pub fn concurrency(&self) -> &Arc<ConcurrencyManager> {
        &self.concurrency
    }

    /// What timestamps are believed.
    pub fn ts_bound(&self) -> &TsBound {
        &self.ts_bound
    }

    /// The regions.
    pub fn replicated(&self) -> &Arc<dyn Replicated> {
        &self.replicated
    }

    /// Waits until no command holds the key's latch, so that a lock in memory on it is gone.
    pub async fn pass_key(&self, key: &[u8]) {
        drop(self.latches.acquire(self.latches.slots_of([key])).await);
    }

    /// Holds the keys' latches, as a command under way does.
    #[cfg(test)]
    pub(crate) async fn latches_of(&self, keys: &[UserKey]) -> LatchGuard {
        self.latches.acquire(self.latches.slots_of(keys.iter().map(UserKey::as_slice))).await
    }

    /// First phase of commit.
    ///
    /// # Errors
    /// See [`prepare`]. `Err(Ok(..))` never happens with locks written.
    pub async fn prewrite(&self, ctx: &RegionCtx, request: Prewrite) -> Result<PrewriteOutcome, Error> {
        let slots = self.latches.slots_of(request.mutations.iter().map(|mutation| mutation.key.as_slice()));
        let started = self.start(ctx, slots).await?;
        check_keys(&started.snapshot, request.mutations.iter().map(|mutation| &mutation.key))?;
        if request.mode != CommitMode::TwoPhase && !started.snapshot.max_ts_synced && !mutant("M8") {
            return Err(RegionError::MaxTsNotSynced(ctx.region_id).into());
        }
        let start_ts = request.start_ts;
        let prepared = prepare(&mut MvccReader::new(&*started.snapshot.data), request);
        if let Ok(Prepared::Done(answer)) = prepared {
            return Ok(PrewriteOutcome::Prewritten(answer));
        }
        // What stands in the way may stand on the transaction's own commit, whose record is gone.
        started.snapshot.check_safe_point(start_ts)?;
        let plan = match prepared? {
            Prepared::Done(answer) => return Ok(PrewriteOutcome::Prewritten(answer)),
            Prepared::Blocked(errors) => return Ok(PrewriteOutcome::Blocked(errors)),
            Prepared::Plan(plan) => plan,
        };
        let mut changes = Changes::default();
        let (answer, memory_locks) = self.finish_prewrite(*plan, &mut changes);
        self.write(ctx, started, changes, memory_locks).await?;
        Ok(PrewriteOutcome::Prewritten(answer))
    }

    fn finish_prewrite(&self, mut plan: Plan, changes: &mut Changes) -> (Prewritten, Option<MemoryLocks>) {
        if plan.mode == CommitMode::TwoPhase {
            return (plan.finish(None, changes), None);
        }
        let is_one_phase = plan.mode == CommitMode::OnePhase;
        let in_memory = plan.locks.iter().map(|planned| {
            let mut lock = planned.lock.clone();
            lock.short_value = None;
            lock.use_async_commit = !is_one_phase;
            (Bytes::copy_from_slice(planned.key.as_slice()), MemoryLock { lock, is_one_phase })
        });
        match self.concurrency.lock_keys(in_memory.collect(), plan.floor, plan.max_commit_ts) {
            Ok((decided, memory_locks)) => {
                (plan.finish(Some(decided), changes), Some(memory_locks).filter(|_| !mutant("M15")))
            }
            Err(_) => {
                plan.fall_back();
                (plan.finish(None, changes), None)
            }
        }
    }

    /// Second phase of commit.
    ///
    /// # Errors
    /// See [`commit`].
    pub async fn commit(
        &self,
        ctx: &RegionCtx,
        keys: &[UserKey],
        start_ts: Timestamp,
        commit_ts: Timestamp,
    ) -> Result<(), Error> {
        self.run(ctx, keys, start_ts, Err, |reader, changes| {
            keys.iter().try_for_each(|key| commit(reader, key, start_ts, commit_ts, changes))
        })
        .await
    }

    /// Rolls a transaction back on some keys.
    ///
    /// # Errors
    /// See [`rollback`].
    pub async fn rollback(&self, ctx: &RegionCtx, keys: &[UserKey], start_ts: Timestamp) -> Result<(), Error> {
        // No commit may get this timestamp any more where the rollback record goes.
        self.concurrency.update_max_ts(start_ts);
        self.run(ctx, keys, start_ts, Err, |reader, changes| {
            keys.iter().try_for_each(|key| rollback(reader, key, start_ts, changes))
        })
        .await
    }

    /// Gives pessimistic locks back.
    ///
    /// # Errors
    /// Of the region.
    pub async fn pessimistic_rollback(
        &self,
        ctx: &RegionCtx,
        keys: &[UserKey],
        start_ts: Timestamp,
        for_update_ts: Timestamp,
    ) -> Result<(), Error> {
        // Whoever gives a lock back does not wait for it any more.
        self.waits.forget(keys, start_ts);
        self.run(ctx, keys, start_ts, nothing_left, |reader, changes| {
            keys.iter().try_for_each(|key| pessimistic_rollback(reader, key, start_ts, for_update_ts, changes))
        })
        .await
    }

    /// Asks a primary for its transaction's fate.
    ///
    /// # Errors
    /// See [`check_txn_status`].
    pub async fn check_txn_status(&self, ctx: &RegionCtx, check: CheckTxnStatus) -> Result<TxnStatus, Error> {
        for ts in [check.lock_ts, check.current_ts, check.caller_start_ts] {
            self.concurrency.update_max_ts(ts);
        }
        let keys = [check.primary.clone()];
        self.run(ctx, &keys, check.lock_ts, Err, |reader, changes| check_txn_status(reader, &check, changes)).await
    }

    /// Asks secondaries for an async-commit transaction's fate.
    ///
    /// # Errors
    /// Of the region.
    pub async fn check_secondary_locks(
        &self,
        ctx: &RegionCtx,
        keys: &[UserKey],
        start_ts: Timestamp,
    ) -> Result<SecondaryStatus, Error> {
        self.concurrency.update_max_ts(start_ts);
        self.run(ctx, keys, start_ts, Err, |reader, changes| check_secondary_locks(reader, keys, start_ts, changes))
            .await
    }

    /// Keeps a transaction alive.
    ///
    /// # Errors
    /// See [`heartbeat`].
    pub async fn heartbeat(
        &self,
        ctx: &RegionCtx,
        primary: &UserKey,
        start_ts: Timestamp,
        advise_ttl_ms: u64,
    ) -> Result<u64, Error> {
        let keys = std::slice::from_ref(primary);
        self.run(ctx, keys, start_ts, Err, |reader, changes| {
            heartbeat(reader, primary, start_ts, advise_ttl_ms, changes)
        })
        .await
    }

    /// Commits (`Some`) or rolls back (`None`) a transaction's locks: on the keys, or, without keys, in the whole region.
    ///
    /// # Errors
    /// See [`resolve_lock`].
    pub async fn resolve_lock(
        &self,
        ctx: &RegionCtx,
        keys: Vec<UserKey>,
        start_ts: Timestamp,
        commit_ts: Option<Timestamp>,
    ) -> Result<(), Error> {
        if commit_ts.is_none() {
            self.concurrency.update_max_ts(start_ts);
        }
        if !keys.is_empty() {
            return self.resolve_keys(ctx, &keys, start_ts, commit_ts).await;
        }
        loop {
            let snapshot = self.replicated.snapshot(ctx).await?;
            let range = EngineRange::from(&snapshot.region.range);
            let limit = self.config.resolve_batch_keys;
            let filter = LockFilter { start_ts: Some(start_ts), max_ts: Timestamp::MAX, limit };
            let locks = MvccReader::new(&*snapshot.data).scan_locks(&range, filter)?;
            drop(snapshot);
            if locks.is_empty() {
                return Ok(());
            }
            let keys = locks.iter().map(|(key, _)| key::decode_user_key(key)).collect::<Result<Vec<_>, _>>()?;
            self.resolve_keys(ctx, &keys, start_ts, commit_ts).await?;
        }
    }

    async fn resolve_keys(
        &self,
        ctx: &RegionCtx,
        keys: &[UserKey],
        start_ts: Timestamp,
        commit_ts: Option<Timestamp>,
    ) -> Result<(), Error> {
        self.run(ctx, keys, start_ts, nothing_left, |reader, changes| {
            keys.iter().try_for_each(|key| resolve_lock(reader, key, start_ts, commit_ts, changes))
        })
        .await
    }

    /// Removes every version in a range that nobody reads any more.
    ///
    /// # Errors
    /// Of the region.
    pub async fn delete_range(&self, ctx: &RegionCtx, range: &KeyRange) -> Result<(), Error> {
        let started = self.start(ctx, SlotSet::Many(Vec::new())).await?;
        if !started.snapshot.region.range.contains_range(range) {
            return Err(RegionError::KeyNotInRegion(Box::new((*started.snapshot.region).clone())).into());
        }
        let EngineRange { start, end } = EngineRange::from(range);
        let modifies = DATA_CFS.map(|cf| Modify::DeleteRange { cf, start: start.clone(), end: end.clone() });
        let changes = Changes { modifies: modifies.into(), released: Vec::new() };
        self.write(ctx, started, changes, None).await
    }

    /// Runs a command that only needs its keys; `forgotten` says what it answers about a transaction of which nothing is
    /// known any more.
    async fn run<R>(
        &self,
        ctx: &RegionCtx,
        keys: &[UserKey],
        start_ts: Timestamp,
        forgotten: impl FnOnce(Error) -> Result<R, Error>,
        action: impl FnOnce(&mut MvccReader<'_>, &mut Changes) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let started = self.start(ctx, self.latches.slots_of(keys.iter().map(UserKey::as_slice))).await?;
        check_keys(&started.snapshot, keys)?;
        let mut changes = Changes::default();
        let result = action(&mut MvccReader::new(&*started.snapshot.data), &mut changes);
        if started.snapshot.has_forgotten(start_ts) {
            let safe_point = started.snapshot.collected.collected_to;
            return match result {
                // Its record is there still.
                Ok(found) if changes.is_empty() => Ok(found),
                Err(Error::Key(committed @ KeyError::Committed { .. })) => Err(committed.into()),
                _ => forgotten(KeyError::BelowSafePoint { ts: start_ts, safe_point }.into()),
            };
        }
        let result = result?;
        self.write(ctx, started, changes, None).await?;
        Ok(result)
    }

    /// Admits a command, waits for its latches and takes its snapshot.
    pub(super) async fn start(&self, ctx: &RegionCtx, slots: SlotSet) -> Result<Started, Error> {
        let ticket = take_ticket(&self.commands, 1, self.config.commands_max, "commands")?;
        let busy = RegionError::ServerIsBusy { reason: "latches", backoff: BUSY_BACKOFF };
        let Ok(guard) = tokio::time::timeout(self.wait_max(ctx), self.latches.acquire(slots)).await else {
            return Err(busy.into());
        };
        let snapshot = self.replicated.snapshot(ctx).await?;
        Ok(Started { snapshot, guard, ticket })
    }

    /// Writes a command's changes and lets go of what it holds, also when the caller goes away meanwhile.
    pub(super) async fn write(
        &self,
        ctx: &RegionCtx,
        started: Started,
        changes: Changes,
        memory_locks: Option<MemoryLocks>,
    ) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let size = changes.size_bytes();
        let pending = take_ticket(&self.pending_bytes, size, self.config.pending_write_bytes_max, "pending writes")?;
        let Started { snapshot, guard, ticket } = started;
        let (replicated, waits, ctx) = (Arc::clone(&self.replicated), Arc::clone(&self.waits), *ctx);
        let Changes { modifies, released } = changes;
        let write = ReplicatedWrite { modifies, term: snapshot.term, gc: None };
        drop(snapshot);
        let whole = async move {
            let result = replicated.write(&ctx, write).await;
            drop((memory_locks, guard, pending, ticket));
            if result.is_ok() {
                waits.released(&released);
            }
            result.map_err(Error::Region)
        };
        let whole = ToTheEnd { future: Some(Box::pin(whole)) };
        match tokio::time::timeout(self.wait_max(&ctx), whole).await {
            Ok(result) => result,
            Err(_) => Err(RegionError::Undetermined.into()),
        }
    }

    /// How long the client is ready to wait.
    pub(super) fn wait_max(&self, ctx: &RegionCtx) -> Duration {
        let limit = Duration::from_millis(self.config.command_wait_max_ms);
        ctx.deadline.map_or(limit, |deadline| deadline.since(self.env.now()).min(limit))
    }
}

/// The answer to whoever takes back what is gone.
fn nothing_left(_: Error) -> Result<(), Error> {
    Ok(())
}

/// What became of a prewrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrewriteOutcome {
    /// Done.
    Prewritten(Prewritten),
    /// Nothing was written: these locks are in the way.
    Blocked(Vec<KeyError>),
}

/// Refuses keys that are not in the region that the snapshot shows.
pub(crate) fn check_keys<'a>(
    snapshot: &RegionSnapshot,
    keys: impl IntoIterator<Item = &'a UserKey>,
) -> Result<(), Error> {
    match keys.into_iter().find(|key| !snapshot.region.contains(key.as_slice())) {
        Some(_) => Err(RegionError::KeyNotInRegion(Box::new((*snapshot.region).clone())).into()),
        None => Ok(()),
    }
}

type BoxedWrite = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A write whose caller may go away: the rest then runs in a task of its own, because what the write holds must not be
/// given back before its fate is known.
struct ToTheEnd {
    future: Option<BoxedWrite>,
}

impl Future for ToTheEnd {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let result = std::task::ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(result)
    }
}

impl Drop for ToTheEnd {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(future);
        }
    }
}
