//! The first phase of commit: locks with values, or, for a transaction that is all here, its commit itself.
//!
//! ```text
//! prepare(snapshot) ──▶ Plan: the locks to write ──▶ finish(decided timestamp) ──▶ changes
//!                              │
//!                              └ two-phase: no timestamp needed
//!                                async commit, one-phase: the concurrency manager puts the keys into its table of locks in
//!                                memory and reads max_ts in the same moment; the timestamp is above both, so that no
//!                                reader that came before can have missed this commit (M7, M15)
//! ```
//! Async commit or not is decided once for all keys of the request, so a request never leaves locks of both sorts. A
//! repeated request answers from the locks and records that the first one left (M9 to M12).

use super::{Changes, check_key};
use crate::error::{ConflictReason, Error, KeyError};
use crate::mvcc::{Lock, LockKind, MvccReader, OwnRecord, SHORT_VALUE_MAX, Write, WriteKind};
use basalt_common::mutant::mutant;
use basalt_common::{EncodedKey, Timestamp, UserKey};
use bytes::Bytes;

/// What is done to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MutationOp {
    /// Sets the value.
    Put,
    /// Removes it.
    Delete,
    /// Keeps it, and conflicts with writers.
    Lock,
    /// Sets the value of a key that must have none.
    Insert,
    /// Only checks that the key has no value.
    CheckNotExists,
}

/// What the client is sure of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assertion {
    /// Nothing.
    None,
    /// The key has a value.
    Exist,
    /// It has none.
    NotExist,
}

/// One key's part.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// What is done.
    pub op: MutationOp,
    /// To which key.
    pub key: UserKey,
    /// The new value.
    pub value: Bytes,
    /// Checked before.
    pub assertion: Assertion,
    /// The key was locked before; the lock must be there.
    pub is_pessimistic_lock: bool,
}

/// How the transaction wants to be committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommitMode {
    /// By a commit of the primary.
    TwoPhase,
    /// By all locks being there. With the primary: all other keys.
    Async {
        /// Keys other than the primary, when the primary is in this request.
        secondaries: Vec<UserKey>,
    },
    /// By this request, which has all its keys; two-phase if that cannot be.
    OnePhase,
}

/// A transaction's keys in one region.
#[derive(Clone, Debug)]
pub struct Prewrite {
    /// In any order, no key twice.
    pub mutations: Vec<Mutation>,
    /// Of the transaction.
    pub primary: UserKey,
    /// The transaction.
    pub start_ts: Timestamp,
    /// See [`Lock::ttl_ms`].
    pub lock_ttl_ms: u64,
    /// See [`Lock::txn_size`].
    pub txn_size: u64,
    /// Zero for optimistic transactions.
    pub for_update_ts: Timestamp,
    /// The commit shall be at or above this.
    pub min_commit_ts: Timestamp,
    /// Async or one-phase commit shall be at or below this; zero: no bound.
    pub max_commit_ts: Timestamp,
    /// How to commit.
    pub mode: CommitMode,
    /// Longest key, bytes.
    pub key_bytes_max: usize,
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prewritten {
    /// Async commit: the least commit_ts that these keys allow. Zero: this is not an async commit.
    pub min_commit_ts: Timestamp,
    /// One-phase: committed at this. Zero: it is not.
    pub one_pc_commit_ts: Timestamp,
}

/// What the snapshot allows.
#[derive(Debug)]
pub enum Prepared {
    /// Nothing is to be written: it was all done before.
    Done(Prewritten),
    /// Other transactions' locks are in the way, of as many keys as were looked at.
    Blocked(Vec<KeyError>),
    /// The locks to write.
    Plan(Box<Plan>),
}

/// Locks about to be written.
#[derive(Debug)]
pub struct Plan {
    /// How the keys are committed.
    pub mode: CommitMode,
    /// Every key's lock and, when it is long, its value.
    pub locks: Vec<PlannedLock>,
    /// No commit_ts may be below this.
    pub floor: Timestamp,
    /// See [`Prewrite::max_commit_ts`].
    pub max_commit_ts: Timestamp,
    /// From locks that an earlier request left.
    existing: Existing,
}

/// A lock about to be written.
#[derive(Debug)]
pub struct PlannedLock {
    /// Where.
    pub key: EncodedKey,
    /// As for two-phase commit.
    pub lock: Lock,
    long_value: Option<Bytes>,
    replaces_pessimistic: bool,
}

/// Own prewrite locks that were there already.
#[derive(Debug, Default, Clone, Copy)]
struct Existing {
    has_sync: bool,
    has_async: bool,
    async_min_commit_ts: Timestamp,
}

enum KeyPlan {
    Write(PlannedLock),
    Exists(Lock),
    Committed(Timestamp),
    Nothing,
}

/// Locks in the way that are reported at once, so that the client resolves them together.
const BLOCKED_REPORTED_MAX: usize = 64;

/// Checks every key and plans its lock.
///
/// # Errors
/// [`KeyError::WriteConflict`], [`KeyError::AlreadyExist`], [`KeyError::AssertionFailed`],
/// [`KeyError::PessimisticLockNotFound`]; never when the transaction is committed already.
pub fn prepare(reader: &mut MvccReader<'_>, prewrite: Prewrite) -> Result<Prepared, Error> {
    let mut locks = Vec::with_capacity(prewrite.mutations.len());
    let mut existing = Existing::default();
    let mut blocked = Vec::new();
    for mutation in &prewrite.mutations {
        match plan_key(reader, &prewrite, mutation) {
            Ok(KeyPlan::Write(lock)) => locks.push(lock),
            Ok(KeyPlan::Nothing) => {}
            Ok(KeyPlan::Exists(lock)) if lock.use_async_commit || mutant("M9") => {
                existing.has_async = true;
                existing.async_min_commit_ts = existing.async_min_commit_ts.max(lock.min_commit_ts);
            }
            Ok(KeyPlan::Exists(_)) => existing.has_sync = true,
            Ok(KeyPlan::Committed(commit_ts)) => return Ok(Prepared::Done(committed(&prewrite.mode, commit_ts))),
            Err(Error::Key(error)) => {
                if blocked.is_empty()
                    && !mutant("M11")
                    && !mutant("M13")
                    && let Some(commit_ts) = find_commit(reader, &prewrite)?
                {
                    return Ok(Prepared::Done(committed(&prewrite.mode, commit_ts)));
                }
                match error {
                    KeyError::Locked(_) => blocked.push(error),
                    error => return Err(error.into()),
                }
                if blocked.len() >= BLOCKED_REPORTED_MAX {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    if !blocked.is_empty() {
        return Ok(Prepared::Blocked(blocked));
    }
    Ok(plan(prewrite, locks, existing))
}

fn plan(prewrite: Prewrite, locks: Vec<PlannedLock>, existing: Existing) -> Prepared {
    let was_prewritten = existing.has_sync || existing.has_async;
    let mode = match prewrite.mode {
        // An earlier request did not commit in one phase: some keys are locked.
        CommitMode::OnePhase if was_prewritten => CommitMode::TwoPhase,
        CommitMode::Async { .. } if existing.has_sync => CommitMode::TwoPhase,
        // Two that share a key may commit at once, and their records there need two timestamps: only PD's are unique.
        _ if locks.iter().any(|planned| planned.lock.is_shared) => CommitMode::TwoPhase,
        mode => mode,
    };
    let given = if mutant("M7") { Timestamp::ZERO } else { prewrite.min_commit_ts };
    let floor = given.max(prewrite.start_ts.next()).max(prewrite.for_update_ts.next());
    let plan = Plan { mode, locks, floor, max_commit_ts: prewrite.max_commit_ts, existing };
    if plan.locks.is_empty() && (was_prewritten || plan.mode == CommitMode::TwoPhase) {
        return Prepared::Done(plan.answer(None));
    }
    Prepared::Plan(Box::new(plan))
}

impl Plan {
    /// Gives up async or one-phase commit for these keys.
    pub fn fall_back(&mut self) {
        self.mode = CommitMode::TwoPhase;
    }

    /// The changes, given the timestamp that the concurrency manager decided for async and one-phase commit.
    pub fn finish(self, decided: Option<Timestamp>, changes: &mut Changes) -> Prewritten {
        let answer = self.answer(decided);
        for planned in self.locks {
            let PlannedLock { key, mut lock, long_value, replaces_pessimistic } = planned;
            if let Some(value) = long_value {
                changes.put_value(&key, lock.start_ts, value);
            }
            match (&self.mode, decided) {
                (CommitMode::OnePhase, Some(commit_ts)) => {
                    let kind = match lock.kind {
                        LockKind::Put => WriteKind::Put,
                        LockKind::Delete => WriteKind::Delete,
                        LockKind::Lock | LockKind::Pessimistic => WriteKind::Lock,
                    };
                    let value = lock.short_value.take();
                    changes.put_write(&key, commit_ts, &Write::new(kind, lock.start_ts, value));
                    if replaces_pessimistic {
                        changes.unlock(&key, &lock);
                    }
                }
                (CommitMode::Async { secondaries }, Some(min_commit_ts)) => {
                    lock.use_async_commit = true;
                    lock.min_commit_ts = lock.min_commit_ts.max(min_commit_ts);
                    if EncodedKey::from_user(lock.primary.as_slice()) == key {
                        lock.secondaries = secondaries.clone();
                    }
                    changes.put_lock(&key, &lock);
                }
                _ => changes.put_lock(&key, &lock),
            }
        }
        answer
    }

    fn answer(&self, decided: Option<Timestamp>) -> Prewritten {
        match (&self.mode, decided) {
            (CommitMode::OnePhase, Some(commit_ts)) => {
                Prewritten { one_pc_commit_ts: commit_ts, ..Prewritten::default() }
            }
            (CommitMode::Async { .. }, decided) if self.existing.has_async || decided.is_some() => {
                let min_commit_ts = self.existing.async_min_commit_ts.max(decided.unwrap_or_default());
                Prewritten { min_commit_ts, ..Prewritten::default() }
            }
            _ => Prewritten::default(),
        }
    }
}

fn committed(mode: &CommitMode, commit_ts: Timestamp) -> Prewritten {
    match mode {
        CommitMode::OnePhase => Prewritten { one_pc_commit_ts: commit_ts, ..Prewritten::default() },
        CommitMode::Async { .. } => Prewritten { min_commit_ts: commit_ts, ..Prewritten::default() },
        CommitMode::TwoPhase => Prewritten::default(),
    }
}

/// Whether the transaction is committed, by its record on any of the request's keys.
///
/// # Errors
/// [`KeyError::WriteConflict`] when it was rolled back on one of them.
fn find_commit(reader: &mut MvccReader<'_>, prewrite: &Prewrite) -> Result<Option<Timestamp>, Error> {
    for mutation in &prewrite.mutations {
        match reader.own_record(&mutation.key.encode(), prewrite.start_ts)? {
            OwnRecord::Committed { commit_ts, .. } => return Ok(Some(commit_ts)),
            OwnRecord::RolledBack => return Err(self_rolled_back(prewrite, mutation)),
            OwnRecord::None { .. } => {}
        }
    }
    Ok(None)
}

fn plan_key(reader: &mut MvccReader<'_>, prewrite: &Prewrite, mutation: &Mutation) -> Result<KeyPlan, Error> {
    check_key(&mutation.key, prewrite.key_bytes_max)?;
    let key = mutation.key.encode();
    let start_ts = prewrite.start_ts;
    let own_lock = match reader.lock(&key, start_ts)? {
        Some(lock) if lock.start_ts == start_ts && lock.kind != LockKind::Pessimistic => {
            return Ok(KeyPlan::Exists(lock));
        }
        Some(lock) if lock.start_ts == start_ts => match lock.others() {
            // Shared, and never made exclusive.
            Some(others) if mutation.op != MutationOp::Lock => return Err(others.blocks(mutation.key.clone())),
            _ => Some(lock),
        },
        Some(_) | None if mutation.is_pessimistic_lock => {
            let key = mutation.key.clone();
            return Err(KeyError::PessimisticLockNotFound { start_ts, key }.into());
        }
        Some(lock) => return Err(lock.blocks(mutation.key.clone())),
        None => None,
    };
    if own_lock.is_none()
        && let Some(commit_ts) = check_conflict(reader, prewrite, mutation, &key)?
    {
        return Ok(KeyPlan::Committed(commit_ts));
    }
    check_existence(reader, prewrite, mutation, &key)?;
    let kind = match mutation.op {
        MutationOp::Put | MutationOp::Insert => LockKind::Put,
        MutationOp::Delete => LockKind::Delete,
        MutationOp::Lock => LockKind::Lock,
        MutationOp::CheckNotExists => return Ok(KeyPlan::Nothing),
    };
    let mut lock = Lock::new(kind, prewrite.primary.clone(), start_ts, prewrite.lock_ttl_ms);
    lock.for_update_ts = prewrite.for_update_ts;
    lock.txn_size = prewrite.txn_size;
    lock.min_commit_ts = start_ts.next().max(prewrite.for_update_ts.next());
    if let Some(own) = &own_lock {
        lock.ttl_ms = lock.ttl_ms.max(own.ttl_ms);
        lock.min_commit_ts = lock.min_commit_ts.max(own.min_commit_ts);
        lock.is_shared = own.is_shared && kind == LockKind::Lock;
        lock.sharers.clone_from(&own.sharers);
    }
    let mut long_value = None;
    if kind == LockKind::Put {
        match mutation.value.len() > SHORT_VALUE_MAX {
            true => long_value = Some(mutation.value.clone()),
            false => lock.short_value = Some(mutation.value.clone()),
        }
    }
    Ok(KeyPlan::Write(PlannedLock { key, lock, long_value, replaces_pessimistic: own_lock.is_some() }))
}

/// Looks for newer versions of a key that the transaction has not locked; answers when it is committed already.
fn check_conflict(
    reader: &mut MvccReader<'_>,
    prewrite: &Prewrite,
    mutation: &Mutation,
    key: &EncodedKey,
) -> Result<Option<Timestamp>, Error> {
    let start_ts = prewrite.start_ts;
    let Some((newest, _)) = reader.seek_write(key, Timestamp::MAX)? else { return Ok(None) };
    if newest < start_ts {
        return Ok(None);
    }
    match reader.own_record(key, start_ts)? {
        _ if mutant("M12") && !prewrite.for_update_ts.is_zero() => {}
        OwnRecord::Committed { .. } if mutant("M13") => {}
        OwnRecord::Committed { commit_ts, .. } => return Ok(Some(commit_ts)),
        OwnRecord::RolledBack => return Err(self_rolled_back(prewrite, mutation)),
        OwnRecord::None { .. } => {}
    }
    // Keys that a pessimistic transaction has not locked are guarded by those it has (an index entry by its row).
    if !prewrite.for_update_ts.is_zero() {
        return Ok(None);
    }
    let mut found = reader.seek_write(key, Timestamp::MAX)?;
    while let Some((commit_ts, write)) = found {
        if commit_ts <= start_ts {
            break;
        }
        if write.kind != WriteKind::Rollback {
            return Err(KeyError::WriteConflict {
                start_ts,
                conflict_start_ts: write.start_ts,
                conflict_commit_ts: commit_ts,
                key: mutation.key.clone(),
                primary: prewrite.primary.clone(),
                reason: ConflictReason::Optimistic,
            }
            .into());
        }
        found = reader.next_write(key)?;
    }
    Ok(None)
}

fn check_existence(
    reader: &mut MvccReader<'_>,
    prewrite: &Prewrite,
    mutation: &Mutation,
    key: &EncodedKey,
) -> Result<(), Error> {
    let must_be_new = matches!(mutation.op, MutationOp::Insert | MutationOp::CheckNotExists);
    if !must_be_new && mutation.assertion == Assertion::None {
        return Ok(());
    }
    let newest = reader.newest_data_write(key, Timestamp::MAX)?;
    let existing =
        newest.filter(|(_, write)| write.kind == WriteKind::Put && write.gc_fence.is_none_or(|fence| fence.is_zero()));
    if must_be_new && existing.is_some() {
        return Err(KeyError::AlreadyExist(mutation.key.clone()).into());
    }
    let must_exist = mutation.assertion == Assertion::Exist;
    if mutation.assertion != Assertion::None && must_exist != existing.is_some() {
        return Err(KeyError::AssertionFailed {
            start_ts: prewrite.start_ts,
            key: mutation.key.clone(),
            must_exist,
            existing_start_ts: existing.as_ref().map_or(Timestamp::ZERO, |(_, write)| write.start_ts),
            existing_commit_ts: existing.as_ref().map_or(Timestamp::ZERO, |(commit_ts, _)| *commit_ts),
        }
        .into());
    }
    Ok(())
}

fn self_rolled_back(prewrite: &Prewrite, mutation: &Mutation) -> Error {
    KeyError::WriteConflict {
        start_ts: prewrite.start_ts,
        conflict_start_ts: prewrite.start_ts,
        conflict_commit_ts: prewrite.start_ts,
        key: mutation.key.clone(),
        primary: prewrite.primary.clone(),
        reason: ConflictReason::SelfRolledBack,
    }
    .into()
}
