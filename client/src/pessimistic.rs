//! Taking pessimistic locks, and giving them back.
//!
//! One call locks the keys of one statement. Keys are grouped by region; the group of the primary goes first, since the
//! other locks point to it, then the others side by side. All or nothing: when a key cannot be had, what the call locked
//! is given back before the error is returned. A store rolls back only locks up to the given `for_update_ts`, so a
//! request that arrives late takes nothing away from a later statement.
//!
//! The store waits for a lock, in slices; between them the owner is looked up at its primary, so that the lock of a client
//! that died is noticed. `NOWAIT` asks for no wait. `SKIP LOCKED` asks for each key by itself with no wait, and leaves out
//! those that are held.

use crate::backoff::Cause;
use crate::cluster::Cluster;
use crate::config::{
    BATCH_KEYS_MAX, CLEANUP_BUDGET, LOCK_WAIT_DEFAULT, LOCK_WAIT_SLICE, PESSIMISTIC_LOCK_TTL, REGION_CONCURRENCY,
    REQUEST_BUDGET,
};
use crate::error::{Error, Result};
use crate::heartbeat::{Beating, Heartbeat};
use crate::region_cache::CachedRegion;
use crate::retry::{Retry, wrong_answer};
use crate::transaction::{Transaction, TxnMode};
use basalt_common::Timestamp;
use basalt_common::env::Monotonic;
use basalt_proto::errors::{KeyError, LockInfo, key_error};
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for a lock that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LockWait {
    /// [`LOCK_WAIT_DEFAULT`].
    #[default]
    Default,
    /// So long.
    AtMost(Duration),
    /// Not at all: [`Error::LockNotAvailable`].
    NoWait,
    /// Not at all: such keys are left out.
    SkipLocked,
}

/// What a statement wants locked.
#[derive(Debug, Clone, Default)]
pub struct LockRequest {
    /// The keys, and whether each must not exist.
    pub keys: Vec<(Bytes, bool)>,
    /// Commits after it are conflicts; zero = the newest one that this transaction used.
    pub for_update_ts: Timestamp,
    /// How long to wait.
    pub wait: LockWait,
    /// Bring the newest values of the keys.
    pub return_values: bool,
}

/// What was locked.
#[derive(Debug, Clone, Default)]
pub struct LockedKeys {
    /// The newest committed values, if asked for; `None` for a key that does not exist.
    pub values: BTreeMap<Bytes, Option<Bytes>>,
    /// Keys left out by [`LockWait::SkipLocked`].
    pub skipped: Vec<Bytes>,
}

/// A pessimistic lock that this transaction holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldLock {
    /// The store found the key absent when it locked it.
    pub(crate) known_absent: bool,
}

/// One call's unchanging part.
struct Locking<'a> {
    cluster: &'a Cluster,
    primary: Bytes,
    start_ts: Timestamp,
    started: Monotonic,
    for_update_ts: Timestamp,
    return_values: bool,
    is_first: bool,
    /// The primary's lock is there.
    has_primary: bool,
    /// None: no waiting.
    deadline: Option<Monotonic>,
}

type Wanted = (Bytes, bool);
type Values = Vec<(Bytes, Option<Bytes>)>;

impl Transaction {
    /// Locks keys until the end of the transaction. Keys that it holds already are not asked for again.
    ///
    /// # Errors
    /// See the module's head: [`Error::WriteConflict`], [`Error::Deadlock`], [`Error::LockTimeout`],
    /// [`Error::LockNotAvailable`], [`Error::AlreadyExists`]. Nothing of this call stays locked then.
    pub fn lock_keys(&mut self, request: LockRequest) -> BoxFuture<'_, Result<LockedKeys>> {
        Box::pin(async move {
            let size = self.held.len() + self.marked.len() + request.keys.len();
            if size > self.buffer.keys_max() {
                return Err(Error::TxnTooLarge { size, unit: "keys", limit: self.buffer.keys_max() });
            }
            if self.options.mode == TxnMode::Optimistic {
                self.marked.extend(request.keys.into_iter().map(|(key, _)| key));
                return Ok(LockedKeys::default());
            }
            self.for_update_ts = self.for_update_ts.max(request.for_update_ts);
            let mut locked = LockedKeys::default();
            let mut fresh: BTreeMap<Bytes, bool> = BTreeMap::new();
            for (key, must_be_new) in request.keys {
                match self.held.contains_key(&key) {
                    true => self.read_held(key, must_be_new, request.return_values, &mut locked).await?,
                    false => *fresh.entry(key).or_default() |= must_be_new,
                }
            }
            let Some(first) = fresh.keys().next() else { return Ok(locked) };
            let now = self.cluster.env.now();
            let mut locking = Locking {
                cluster: &self.cluster,
                primary: self.primary.clone().unwrap_or_else(|| first.clone()),
                start_ts: self.start_ts,
                started: self.started,
                for_update_ts: self.for_update_ts,
                return_values: request.return_values,
                is_first: self.held.is_empty(),
                has_primary: self.primary.is_some(),
                deadline: match request.wait {
                    LockWait::Default => Some(now.after(LOCK_WAIT_DEFAULT)),
                    LockWait::AtMost(wait) => Some(now.after(wait)),
                    LockWait::NoWait | LockWait::SkipLocked => None,
                },
            };
            let wanted: Vec<Wanted> = fresh.into_iter().collect();
            let values = match request.wait {
                LockWait::SkipLocked => locking.lock_each(wanted.clone(), &mut locked.skipped).await,
                _ => locking.lock_all(wanted.clone()).await,
            };
            let primary = locking.primary;
            match values {
                Ok(values) => {
                    let skipped = &locked.skipped;
                    let had = wanted.into_iter().filter(|(key, _)| !skipped.contains(key));
                    locked.values.extend(values);
                    let absent = |key: &Bytes| locked.values.get(key).is_some_and(Option::is_none);
                    let held = had.map(|(key, new)| (HeldLock { known_absent: new || absent(&key) }, key));
                    self.held.extend(held.map(|(held, key)| (key, held)));
                    self.note_primary(primary);
                    Ok(locked)
                }
                Err(e) => {
                    let keys = wanted.into_iter().map(|(key, _)| key).collect();
                    self.cluster.pessimistic_rollback(self.start_ts, self.for_update_ts, keys).await;
                    Err(e)
                }
            }
        })
    }

    /// Draws a new `for_update_ts`, after a conflict and at the start of a statement that reads what is newest.
    ///
    /// # Errors
    /// [`Error::PdUnavailable`].
    pub fn refresh_for_update_ts(&mut self) -> BoxFuture<'_, Result<Timestamp>> {
        Box::pin(async move {
            self.for_update_ts = self.cluster.timestamp().await?.max(self.for_update_ts);
            Ok(self.for_update_ts)
        })
    }

    /// The largest `for_update_ts` used; `start_ts` at first.
    pub fn for_update_ts(&self) -> Timestamp {
        self.for_update_ts
    }

    /// True if the transaction holds a pessimistic lock on the key.
    pub fn holds_lock(&self, key: &[u8]) -> bool {
        self.held.contains_key(key)
    }

    /// Gives back every pessimistic lock.
    pub(crate) async fn release_locks(&mut self) {
        let keys: Vec<Bytes> = std::mem::take(&mut self.held).into_keys().collect();
        if !keys.is_empty() {
            self.cluster.pessimistic_rollback(self.start_ts, self.for_update_ts, keys).await;
        }
    }

    /// A key locked by an earlier statement: nobody else can have changed it since.
    async fn read_held(&mut self, key: Bytes, must_be_new: bool, wanted: bool, locked: &mut LockedKeys) -> Result<()> {
        let known_absent = self.held.get(&key).is_some_and(|h| h.known_absent);
        if !wanted && (!must_be_new || known_absent) {
            return Ok(());
        }
        let value = self.cluster.snapshot(self.for_update_ts).get(&key).await?;
        if must_be_new && value.is_some() && self.buffer.get(&key).is_none() {
            return Err(Error::AlreadyExists { key });
        }
        self.held.insert(key.clone(), HeldLock { known_absent: value.is_none() });
        if wanted {
            locked.values.insert(key, value);
        }
        Ok(())
    }

    /// With the first lock the primary is chosen, and kept alive.
    fn note_primary(&mut self, primary: Bytes) {
        if self.primary.is_none() && self.held.contains_key(&primary) {
            let beating = Beating {
                primary: primary.clone(),
                start_ts: self.start_ts,
                started: self.started,
                ttl: PESSIMISTIC_LOCK_TTL,
            };
            self.heartbeat = Some(Heartbeat::start(&self.cluster, beating));
            self.primary = Some(primary);
        }
    }
}

impl Locking<'_> {
    /// Locks all keys or fails.
    async fn lock_all(&self, mut wanted: Vec<Wanted>) -> Result<Values> {
        let mut retry = self.retry();
        let mut values = Values::new();
        // The primary's lock must be there before others point to it.
        if let Some(at) = wanted.iter().position(|(key, _)| *key == self.primary) {
            let route = self.cluster.locate(&self.primary, &mut retry).await?;
            wanted.swap(0, at);
            let (mut with_primary, others): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|(key, _)| route.region.contains(key));
            let rest = with_primary.split_off(with_primary.len().min(BATCH_KEYS_MAX));
            wanted = others.into_iter().chain(rest).collect();
            values.extend(self.lock_batch(route, with_primary, &mut retry).await?);
        }
        if wanted.is_empty() {
            return Ok(values);
        }
        let groups = self.cluster.group_by_region(wanted, |(key, _)| key, &mut retry).await?;
        let mut calls = Vec::new();
        for (route, keys) in groups {
            for batch in keys.chunks(BATCH_KEYS_MAX) {
                let (route, keys, mut retry) = (route.clone(), batch.to_vec(), retry.fork());
                calls.push(async move { self.lock_batch(route, keys, &mut retry).await });
            }
        }
        // The first failure ends the call, as a deadlock must be told at once; a lock that another request still gets
        // within its slice of waiting ends with the transaction.
        let all: Vec<Values> = stream::iter(calls).buffer_unordered(REGION_CONCURRENCY).try_collect().await?;
        values.extend(all.into_iter().flatten());
        Ok(values)
    }

    /// Locks what can be had without waiting.
    async fn lock_each(&mut self, wanted: Vec<Wanted>, skipped: &mut Vec<Bytes>) -> Result<Values> {
        let mut values = Values::new();
        for (key, must_be_new) in wanted {
            if !self.has_primary {
                // Which key is the primary is known when the first is locked.
                self.primary = key.clone();
            }
            let mut retry = self.retry();
            let route = self.cluster.locate(&key, &mut retry).await?;
            match self.lock_batch(route, vec![(key.clone(), must_be_new)], &mut retry).await {
                Ok(got) => {
                    self.has_primary = true;
                    values.extend(got);
                }
                Err(Error::LockNotAvailable { .. } | Error::LockTimeout { .. }) => skipped.push(key),
                Err(e) => return Err(e),
            }
        }
        Ok(values)
    }

    fn retry(&self) -> Retry {
        let wait = self.deadline.map_or(Duration::ZERO, |d| d.since(self.cluster.env.now()));
        Retry::new(&self.cluster.env, wait + REQUEST_BUDGET)
    }

    /// Locks keys of one region (or what has become of it).
    async fn lock_batch(&self, route: Arc<CachedRegion>, keys: Vec<Wanted>, retry: &mut Retry) -> Result<Values> {
        let mut work = vec![(route, keys)];
        let mut values = Values::new();
        while let Some((route, keys)) = work.pop() {
            let answer = match self.cluster.attempt(&route, retry, |context| self.request(context, &keys)).await? {
                Some(kv_response::Cmd::PessimisticLock(answer)) => answer,
                Some(_) => return Err(wrong_answer()),
                None => {
                    work.extend(self.cluster.group_by_region(keys, |(key, _)| key, retry).await?);
                    continue;
                }
            };
            match answer.errors.into_iter().next() {
                None if self.return_values && answer.values.len() == keys.len() => {
                    let got = keys.into_iter().zip(answer.values);
                    values.extend(got.map(|((key, _), v)| (key, v.exists.then_some(v.value))));
                }
                None if self.return_values => return Err(wrong_answer()),
                None => {}
                Some(e) => {
                    self.on_key_error(e, retry).await?;
                    work.push((route, keys));
                }
            }
        }
        Ok(values)
    }

    /// Ok: come again.
    async fn on_key_error(&self, error: KeyError, retry: &mut Retry) -> Result<()> {
        let (lock, store_waited) = match error.kind {
            Some(key_error::Kind::Locked(lock)) => (lock, false),
            Some(key_error::Kind::LockWaitTimeout(e)) => match e.lock_info {
                Some(lock) => (lock, true),
                None => return self.check_deadline(&LockInfo::default()),
            },
            kind => return Err(Error::of_key(KeyError { kind }, self.start_ts)),
        };
        // Without waiting a lock is still had if its owner is gone.
        let resolved = self.cluster.resolve_or_report(&lock, retry).await?;
        if resolved {
            return Ok(());
        }
        self.check_deadline(&lock)?;
        if !store_waited && retry.backoff.wait(Cause::Locked).await.is_err() {
            return Err(Error::LockTimeout { key: lock.key });
        }
        Ok(())
    }

    fn check_deadline(&self, lock: &LockInfo) -> Result<()> {
        match self.deadline {
            None => Err(Error::LockNotAvailable { key: lock.key.clone() }),
            Some(deadline) if self.cluster.env.now() >= deadline => Err(Error::LockTimeout { key: lock.key.clone() }),
            Some(_) => Ok(()),
        }
    }

    fn request(&self, context: kv::Context, keys: &[Wanted]) -> kv_request::Cmd {
        let now = self.cluster.env.now();
        let wait_timeout_ms = match self.deadline {
            None => -1,
            Some(deadline) => (deadline.since(now).min(LOCK_WAIT_SLICE).as_millis() as i64).max(1),
        };
        let mutation = |(key, must_be_new): &Wanted| kv::Mutation {
            op: kv::Op::Lock as i32,
            key: key.clone(),
            assertion: if *must_be_new { kv::Assertion::NotExist } else { kv::Assertion::None } as i32,
            ..kv::Mutation::default()
        };
        let age = now.since(self.started);
        kv_request::Cmd::PessimisticLock(kv::PessimisticLockRequest {
            context: Some(context),
            mutations: keys.iter().map(mutation).collect(),
            primary: self.primary.clone(),
            start_ts: self.start_ts.0,
            lock_ttl_ms: (age + PESSIMISTIC_LOCK_TTL).as_millis() as u64,
            for_update_ts: self.for_update_ts.0,
            wait_timeout_ms,
            return_values: self.return_values,
            min_commit_ts: self.for_update_ts.next().0,
            is_first_lock: self.is_first,
        })
    }
}

impl Cluster {
    /// Gives pessimistic locks back, as far as the stores can be reached in a short time; the others end with their TTL.
    pub(crate) async fn pessimistic_rollback(&self, start_ts: Timestamp, for_update_ts: Timestamp, keys: Vec<Bytes>) {
        let mut retry = Retry::new(&self.env, CLEANUP_BUDGET);
        if let Err(e) = self.try_pessimistic_rollback(start_ts, for_update_ts, keys, &mut retry).await {
            tracing::debug!(%start_ts, error = %e, "pessimistic locks not given back");
        }
    }

    async fn try_pessimistic_rollback(
        &self,
        start_ts: Timestamp,
        for_update_ts: Timestamp,
        mut left: Vec<Bytes>,
        retry: &mut Retry,
    ) -> Result<()> {
        while !left.is_empty() {
            let groups = self.group_by_region(std::mem::take(&mut left), |k| k, retry).await?;
            for (route, keys) in groups {
                let request = |context| {
                    kv_request::Cmd::PessimisticRollback(kv::PessimisticRollbackRequest {
                        context: Some(context),
                        start_ts: start_ts.0,
                        for_update_ts: for_update_ts.0,
                        keys: keys.clone(),
                    })
                };
                match self.attempt(&route, retry, request).await? {
                    Some(kv_response::Cmd::PessimisticRollback(answer)) => {
                        if let Some(e) = answer.errors.into_iter().next() {
                            return Err(Error::of_key(e, start_ts));
                        }
                    }
                    Some(_) => return Err(wrong_answer()),
                    None => left.extend(keys),
                }
            }
        }
        Ok(())
    }
}
