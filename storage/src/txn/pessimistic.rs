//! Taking pessimistic locks, with waiting.
//!
//! One request waits on the store for at most a slice of its patience ([`TxnConfig::lock_wait_slice_ms`]), then it is
//! answered `Locked`, and the client checks whether the holder is alive before it comes again. When its patience as a whole
//! is over it is answered `LockWaitTimeout`. Waiting ends early when the lock's holder is dead by its TTL: only the client
//! can resolve that.
//!
//! [`TxnConfig::lock_wait_slice_ms`]: crate::config::TxnConfig::lock_wait_slice_ms

use super::action::Changes;
use super::action::pessimistic_lock::{LockedValue, MustNotExist, PessimisticLock, available, pessimistic_lock};
use super::lock_wait::{Baton, Place, WaitFor, encoded};
use super::scheduler::{Scheduler, check_keys};
use crate::error::{Error, KeyError, LockedKey};
use crate::mvcc::MvccReader;
use crate::replicated::RegionCtx;
use basalt_common::UserKey;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a request is ready to wait for locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: answered `Locked` at once.
    NoWait,
    /// As long as the store's default.
    Default,
    /// So long.
    For(Duration),
}

/// How a request waits for locks.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// How long it will.
    pub patience: Patience,
    /// How long it has, in earlier requests.
    pub waited: Duration,
}

/// What one attempt came to.
enum Attempt {
    Locked(Vec<LockedValue>),
    Wait(super::lock_wait::Waiting, Box<LockedKey>),
}

/// Claims of one request, given up when dropped.
struct Claimed<'a> {
    claims: &'a Mutex<BTreeSet<UserKey>>,
    keys: BTreeSet<UserKey>,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut claims = self.claims.lock();
        self.keys.iter().for_each(|key| {
            claims.remove(key);
        });
    }
}

impl Scheduler {
    /// Locks all keys, or none; says of each, in order, what it found.
    ///
    /// # Errors
    /// See [`pessimistic_lock`]; [`KeyError::Deadlock`], [`KeyError::LockWaitTimeout`].
    pub async fn pessimistic_lock(
        &self,
        ctx: &RegionCtx,
        wanted: PessimisticLock,
        waits: Waits,
    ) -> Result<Vec<LockedValue>, Error> {
        // The values are read as of for_update_ts (or of a later commit): nothing may be committed below it afterwards.
        self.concurrency.update_max_ts(wanted.for_update_ts);
        if let Some(most) = wanted.skip_locked {
            return self.lock_available(ctx, wanted, most).await;
        }
        let patience_left = match waits.patience {
            Patience::NoWait => Duration::ZERO,
            Patience::Default => Duration::from_millis(self.config.lock_wait_default_ms),
            Patience::For(duration) => duration,
        };
        let slice = patience_left.min(Duration::from_millis(self.config.lock_wait_slice_ms));
        let deadline = tokio::time::Instant::now() + slice;
        let place = self.waits.place(waits.waited);
        let mut baton = None;
        loop {
            match self.try_lock(ctx, &wanted, waits.patience, &mut baton, place).await? {
                Attempt::Locked(values) => return Ok(values),
                Attempt::Wait(waiting, locked) => {
                    // Whoever holds the same key now will release it; the turn for another key is the next one's.
                    if let Some(turn) = baton.take()
                        && turn.is_for(&locked.key)
                    {
                        turn.keep();
                    }
                    match waiting.wait(deadline).await? {
                        Some(turn) => baton = Some(turn),
                        None if slice == patience_left => return Err(KeyError::LockWaitTimeout(locked).into()),
                        None => return Err(KeyError::Locked(locked).into()),
                    }
                }
            }
        }
    }

    /// SKIP LOCKED. Latches only what looks free, not what it passes over, and passes over what another such request is about
    /// to lock: otherwise everybody who takes from the front of a queue would wait for everybody else's write, and then find
    /// it taken.
    async fn lock_available(
        &self,
        ctx: &RegionCtx,
        mut wanted: PessimisticLock,
        most: usize,
    ) -> Result<Vec<LockedValue>, Error> {
        let all = std::mem::take(&mut wanted.keys);
        let (mut found, mut left) = (Vec::with_capacity(most.min(all.len())), most);
        while left > 0 && found.len() < all.len() {
            let rest = &all[found.len()..];
            let started = self.start(ctx, self.latches.slots_of([])).await?;
            check_keys(&started.snapshot, rest.iter().map(|(key, _)| key))?;
            let (free, claimed) = self.claim(&mut MvccReader::new(&*started.snapshot.data), &wanted, rest, left)?;
            drop(started);
            let is_claimed = |(key, _): &&(UserKey, MustNotExist)| claimed.keys.contains(key);
            wanted.keys = rest[..free.len()].iter().filter(is_claimed).cloned().collect();
            wanted.skip_locked = Some(left);
            let values = match wanted.keys.is_empty() {
                true => Vec::new(),
                false => match self
                    .try_lock(ctx, &wanted, Patience::NoWait, &mut None, self.waits.place(Duration::ZERO))
                    .await?
                {
                    Attempt::Locked(values) => values,
                    Attempt::Wait(_, locked) => return Err(KeyError::Locked(locked).into()),
                },
            };
            if let Some((key, _)) =
                wanted.keys.iter().zip(&values).find(|(_, value)| !value.skipped).map(|(key, _)| key)
                && wanted.primary.as_slice().is_empty()
            {
                wanted.primary = key.clone();
            }
            let mut values = values.into_iter();
            let skipped = LockedValue { skipped: true, ..LockedValue::default() };
            for is_free in free {
                let value = is_free.then(|| values.next()).flatten().unwrap_or_else(|| skipped.clone());
                left -= usize::from(!value.skipped);
                found.push(value);
            }
        }
        Ok(found)
    }

    /// Claims those of some keys that are free; says of each, as far as it looked, whether it is claimed.
    fn claim(
        &self,
        reader: &mut MvccReader<'_>,
        wanted: &PessimisticLock,
        keys: &[(UserKey, MustNotExist)],
        most: usize,
    ) -> Result<(Vec<bool>, Claimed<'_>), Error> {
        let mut claims = self.claims.lock();
        let free = available(reader, wanted, keys, most, |key| claims.contains(key))?;
        let free_keys = keys.iter().zip(&free).filter(|(_, is_free)| **is_free).map(|((key, _), _)| key.clone());
        let claimed = Claimed { claims: &self.claims, keys: free_keys.collect() };
        claims.extend(claimed.keys.iter().cloned());
        Ok((free, claimed))
    }

    /// The lock that a request to share would join while somebody in front of it waits for the key alone.
    fn is_waited_for(
        &self,
        reader: &mut MvccReader<'_>,
        wanted: &PessimisticLock,
        place: Place,
    ) -> Result<Option<Error>, Error> {
        for (user_key, _) in wanted.keys.iter().filter(|_| wanted.is_shared) {
            if self.waits.waits_alone(&encoded(user_key), place)
                && let Some(lock) = reader.lock(&user_key.encode(), wanted.start_ts)?
                && lock.start_ts != wanted.start_ts
            {
                return Ok(Some(lock.blocks(user_key.clone())));
            }
        }
        Ok(None)
    }

    async fn try_lock(
        &self,
        ctx: &RegionCtx,
        wanted: &PessimisticLock,
        patience: Patience,
        baton: &mut Option<Baton>,
        place: Place,
    ) -> Result<Attempt, Error> {
        let slots = self.latches.slots_of(wanted.keys.iter().map(|(key, _)| key.as_slice()));
        let started = self.start(ctx, slots).await?;
        check_keys(&started.snapshot, wanted.keys.iter().map(|(key, _)| key))?;
        started.snapshot.check_safe_point(wanted.start_ts)?;
        let mut changes = Changes::default();
        let mut reader = MvccReader::new(&*started.snapshot.data);
        let result = match self.is_waited_for(&mut reader, wanted, place)? {
            Some(locked) => Err(locked),
            None => pessimistic_lock(&mut reader, wanted, &mut changes),
        };
        let values = match result {
            Ok(values) => values,
            Err(Error::Key(KeyError::Locked(locked))) => {
                // A holder whose TTL is over will not release anything.
                if patience == Patience::NoWait || locked.lock.is_expired(wanted.for_update_ts) {
                    return Err(KeyError::Locked(locked).into());
                }
                let key = encoded(&locked.key);
                let holds = reader
                    .lock(&locked.key.encode(), wanted.start_ts)?
                    .is_some_and(|lock| lock.start_ts == wanted.start_ts);
                let wait = WaitFor {
                    key,
                    waiter: wanted.start_ts,
                    holders: locked.lock.holders().map(|lock| lock.start_ts).collect(),
                    is_shared: wanted.is_shared,
                    keys: wanted.txn_keys,
                    place: if holds { place.of_holder() } else { place },
                };
                return Ok(Attempt::Wait(self.waits.enter(wait)?, locked));
            }
            Err(error) => return Err(error),
        };
        self.write(ctx, started, changes, None).await?;
        for ((key, _), value) in wanted.keys.iter().zip(&values).filter(|(_, value)| !value.skipped) {
            let sharers = wanted.is_shared.then_some(&*value.sharers);
            self.waits.holder_changed(&encoded(key), wanted.start_ts, sharers);
        }
        if let Some(turn) = baton.take() {
            turn.keep();
        }
        Ok(Attempt::Locked(values))
    }
}
