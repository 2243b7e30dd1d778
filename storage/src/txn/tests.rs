//! Golden scripts of the transaction commands (`testscripts/txn`) and of reads (`testscripts/mvcc`): what each command writes and answers, through the
//! scheduler over an engine in memory. And what scripts cannot say: commands that wait for each other.
//!
//! Mutations are written `put/KEY/VALUE`, `insert/KEY/VALUE`, `delete/KEY`, `lock/KEY`, `check/KEY`, each with any of
//! `/locked` (by a pessimistic lock), `/exist`, `/absent` (assertions) behind.

use super::action::check_secondary_locks::SecondaryStatus;
use super::action::check_txn_status::{CheckTxnStatus, TxnStatus};
use super::action::pessimistic_lock::{LockedValue, MustNotExist, PessimisticLock};
use super::action::prewrite::{Assertion, CommitMode, Mutation, MutationOp, Prewrite};
use super::lock_wait::encoded;
use super::pessimistic::{Patience, Waits};
use super::scheduler::PrewriteOutcome;
use super::*;
use crate::config::TxnConfig;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Cf, Engine, EngineRange, Modify};
use crate::error::{Error, KeyError, LockedKey, RegionError};
use crate::mvcc::scan::ScanOptions;
use crate::mvcc::{BackwardScanner, ForwardScanner, Lock, MvccReader, ReadAt, Row, WriteRef};
use crate::replicated::local::LocalReplicated;
use crate::replicated::{RegionCtx, RegionSnapshot, Replicated, ReplicatedWrite};
use async_trait::async_trait;
use basalt_common::env::Env;
use basalt_common::key::{decode_user_key, split_ts};
use basalt_common::{Timestamp, UserKey};
use goldenscript::{ArgumentConsumer, Command};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const KEY_BYTES_MAX: usize = 64;

/// Remembers what is written; can hold writes back.
struct Recorder {
    inner: Arc<LocalReplicated>,
    written: Mutex<Vec<Modify>>,
    gate: Semaphore,
}

#[async_trait]
impl Replicated for Recorder {
    async fn snapshot(&self, ctx: &RegionCtx) -> Result<RegionSnapshot, RegionError> {
        self.inner.snapshot(ctx).await
    }

    async fn write(&self, ctx: &RegionCtx, write: ReplicatedWrite) -> Result<(), RegionError> {
        let _pass = self.gate.acquire().await.expect("the gate is never closed");
        self.written.lock().extend(write.modifies.iter().cloned());
        self.inner.write(ctx, write).await
    }
}

struct Store {
    engine: MemoryEngine,
    recorder: Arc<Recorder>,
    scheduler: Arc<Scheduler>,
    ctx: RegionCtx,
}

fn store() -> Store {
    let engine = MemoryEngine::new();
    let inner = LocalReplicated::new(Arc::new(engine.clone()));
    let ctx = inner.ctx();
    let recorder = Arc::new(Recorder { inner, written: Mutex::default(), gate: Semaphore::new(1) });
    let replicated: Arc<dyn Replicated> = recorder.clone();
    let config = TxnConfig { lock_wait_slice_ms: 300, ..TxnConfig::default() };
    let scheduler = Scheduler::new(replicated, ConcurrencyManager::new(), config, Env::simulated(1, 0));
    Store { engine, recorder, scheduler, ctx }
}

struct Runner {
    store: Store,
    runtime: tokio::runtime::Runtime,
}

impl Runner {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let store = runtime.block_on(async { store() });
        Runner { store, runtime }
    }

    fn execute(&self, command: &Command, out: &mut String) -> Result<(), Box<dyn StdError>> {
        let mut args = command.consume_args();
        let scheduler = Arc::clone(&self.store.scheduler);
        let ctx = self.store.ctx;
        let block = |result: Result<String, Error>| result.unwrap_or_else(|error| format!("error: {error}"));
        let answer = match command.name.as_str() {
            "prewrite" => block(self.prewrite(&mut args)?),
            "commit" => {
                let (start_ts, commit_ts) = (number(&mut args, "start")?, number(&mut args, "commit")?);
                let keys = keys(&mut args);
                block(self.runtime.block_on(scheduler.commit(&ctx, &keys, start_ts, commit_ts)).map(done))
            }
            "rollback" => {
                let start_ts = number(&mut args, "start")?;
                let keys = keys(&mut args);
                block(self.runtime.block_on(scheduler.rollback(&ctx, &keys, start_ts)).map(done))
            }
            "resolve" => {
                let start_ts = number(&mut args, "start")?;
                let commit_ts = optional(&mut args, "commit")?;
                let keys = keys(&mut args);
                block(self.runtime.block_on(scheduler.resolve_lock(&ctx, keys, start_ts, commit_ts)).map(done))
            }
            "check_status" => block(self.check_status(&mut args)?),
            "check_secondaries" => {
                let start_ts = number(&mut args, "start")?;
                let keys = keys(&mut args);
                let status = self.runtime.block_on(scheduler.check_secondary_locks(&ctx, &keys, start_ts));
                block(status.map(|status| match status {
                    SecondaryStatus::Locked(locks) => {
                        let lock = |locked: &LockedKey| format!("{}: {}", locked.key, describe_lock(&locked.lock));
                        format!("locked, {}", locks.iter().map(lock).collect::<Vec<_>>().join("; "))
                    }
                    status => format!("{status:?}"),
                }))
            }
            "heartbeat" => {
                let (start_ts, ttl_ms) = (number(&mut args, "start")?, number(&mut args, "ttl")?.0);
                let primary = UserKey::from(args.next_pos().ok_or("no key")?.as_bytes());
                let ttl = self.runtime.block_on(scheduler.heartbeat(&ctx, &primary, start_ts, ttl_ms));
                block(ttl.map(|ttl| format!("ttl {ttl}")))
            }
            "pessimistic_lock" => block(self.pessimistic_lock(&mut args)?),
            "pessimistic_rollback" => {
                let (start_ts, for_update_ts) = (number(&mut args, "start")?, number(&mut args, "for_update")?);
                let keys = keys(&mut args);
                let result = scheduler.pessimistic_rollback(&ctx, &keys, start_ts, for_update_ts);
                block(self.runtime.block_on(result).map(done))
            }
            "get" => block(self.get(&mut args)?),
            "scan" => block(self.scan(&mut args)?),
            "dump" => self.dump(),
            name => return Err(format!("unknown command {name}").into()),
        };
        args.reject_next()?;
        for modify in self.store.recorder.written.lock().drain(..) {
            writeln!(out, "{}", describe(&modify))?;
        }
        if !answer.is_empty() {
            writeln!(out, "→ {answer}")?;
        }
        Ok(())
    }

    fn prewrite(&self, args: &mut ArgumentConsumer<'_>) -> Result<Result<String, Error>, Box<dyn StdError>> {
        let secondaries =
            args.take_key("secondaries").map(|keys| keys.split(' ').map(|k| k.as_bytes().into()).collect());
        let mode = match args.take_key("mode") {
            None => CommitMode::TwoPhase,
            Some("async") => CommitMode::Async { secondaries: secondaries.unwrap_or_default() },
            Some("1pc") => CommitMode::OnePhase,
            Some(mode) => return Err(format!("unknown mode {mode}").into()),
        };
        let mut request = Prewrite {
            mutations: Vec::new(),
            primary: UserKey::from(args.take_key("primary").unwrap_or("a").as_bytes()),
            start_ts: number(args, "start")?,
            lock_ttl_ms: optional(args, "ttl")?.map_or(100, |ttl| ttl.0),
            txn_size: 0,
            for_update_ts: optional(args, "for_update")?.unwrap_or_default(),
            min_commit_ts: optional(args, "min_commit")?.unwrap_or_default(),
            max_commit_ts: optional(args, "max_commit")?.unwrap_or_default(),
            mode,
            key_bytes_max: KEY_BYTES_MAX,
        };
        while let Some(text) = args.next_pos() {
            request.mutations.push(mutation(text)?);
        }
        let outcome = self.runtime.block_on(self.store.scheduler.prewrite(&self.store.ctx, request));
        Ok(outcome.map(|outcome| match outcome {
            PrewriteOutcome::Prewritten(answer) if !answer.one_pc_commit_ts.is_zero() => {
                format!("committed at {}", answer.one_pc_commit_ts)
            }
            PrewriteOutcome::Prewritten(answer) if !answer.min_commit_ts.is_zero() => {
                format!("async, min_commit_ts {}", answer.min_commit_ts)
            }
            PrewriteOutcome::Prewritten(_) => "ok".to_string(),
            PrewriteOutcome::Blocked(errors) => {
                errors.iter().map(|error| format!("error: {error}")).collect::<Vec<_>>().join("; ")
            }
        }))
    }

    fn check_status(&self, args: &mut ArgumentConsumer<'_>) -> Result<Result<String, Error>, Box<dyn StdError>> {
        let check = CheckTxnStatus {
            lock_ts: number(args, "start")?,
            caller_start_ts: optional(args, "caller")?.unwrap_or_default(),
            current_ts: optional(args, "now")?.unwrap_or_default(),
            rollback_if_not_exist: args.take_key("rollback_if_not_exist").is_some(),
            force_sync_commit: args.take_key("force_sync_commit").is_some(),
            resolving_pessimistic_lock: args.take_key("resolving_pessimistic_lock").is_some(),
            owner_is_dead: args.take_key("owner_is_dead").is_some(),
            primary: UserKey::from(args.next_pos().ok_or("no key")?.as_bytes()),
        };
        let status = self.runtime.block_on(self.store.scheduler.check_txn_status(&self.store.ctx, check));
        Ok(status.map(|status| match status {
            TxnStatus::Alive { lock, is_pushed } => {
                format!("alive{}, {}", if is_pushed { ", pushed" } else { "" }, describe_lock(&lock.lock))
            }
            status => format!("{status:?}"),
        }))
    }

    fn pessimistic_lock(&self, args: &mut ArgumentConsumer<'_>) -> Result<Result<String, Error>, Box<dyn StdError>> {
        let must_not_exist = MustNotExist(args.take_key("absent").is_some());
        let wanted = PessimisticLock {
            primary: UserKey::from(args.take_key("primary").unwrap_or("a").as_bytes()),
            start_ts: number(args, "start")?,
            lock_ttl_ms: 100,
            for_update_ts: number(args, "for_update")?,
            min_commit_ts: Timestamp::ZERO,
            is_shared: args.take_key("shared").is_some(),
            shared: args.take_key("had").map(|key| UserKey::from(key.as_bytes())).into_iter().collect(),
            return_values: args.take_key("values").is_some(),
            skip_locked: args.take_key("skip_locked").map(str::parse).transpose()?,
            txn_keys: 0,
            key_bytes_max: KEY_BYTES_MAX,
            keys: keys(args).into_iter().map(|key| (key, must_not_exist)).collect(),
        };
        let (returns_values, for_update_ts) = (wanted.return_values, wanted.for_update_ts);
        let result = self.store.scheduler.pessimistic_lock(&self.store.ctx, wanted, NO_WAIT);
        Ok(self.runtime.block_on(result).map(|values| {
            let told = values.into_iter().map(|found| {
                let value = match found.value {
                    _ if found.skipped => return "skipped".to_string(),
                    Some(value) => value.escape_ascii().to_string(),
                    None if returns_values => "none".to_string(),
                    None => "locked".to_string(),
                };
                match found.newest_commit {
                    commit if commit > for_update_ts => format!("{value}@{commit}"),
                    _ => value,
                }
            });
            told.collect::<Vec<_>>().join(" ")
        }))
    }

    fn read_at(&self, args: &mut ArgumentConsumer<'_>) -> Result<ReadAt, Box<dyn StdError>> {
        let ts = optional(args, "ts")?.unwrap_or(Timestamp::MAX);
        self.store.scheduler.concurrency().update_max_ts(ts);
        Ok(ReadAt::at(ts))
    }

    fn get(&self, args: &mut ArgumentConsumer<'_>) -> Result<Result<String, Error>, Box<dyn StdError>> {
        let read = self.read_at(args)?;
        let key = args.next_pos().ok_or("no key")?;
        let found = MvccReader::new(&*self.store.engine.snapshot()).get(key.as_bytes(), &read);
        Ok(found.map(|found| match found {
            Some(found) => format!("{} since {}", found.value.escape_ascii(), found.commit_ts),
            None => "none".to_string(),
        }))
    }

    /// Rows, then what they cost. A lock in the way is printed in its place.
    fn scan(&self, args: &mut ArgumentConsumer<'_>) -> Result<Result<String, Error>, Box<dyn StdError>> {
        let read = self.read_at(args)?;
        let mut bound =
            |name| args.take_key(name).map_or(Default::default(), |key| encoded(&UserKey::from(key.as_bytes())));
        let range = EngineRange { start: bound("from"), end: bound("to") };
        let options = ScanOptions { range, read, key_only: args.take_key("key_only").is_some(), fill_cache: true };
        let snapshot = self.store.engine.snapshot();
        if args.take_key("reverse").is_some() {
            let mut scanner = BackwardScanner::new(snapshot, options)?;
            return Ok(Ok(rows(|| scanner.next().map(|row| row.map(describe_row)))?));
        }
        let mut scanner = ForwardScanner::new(snapshot, options)?;
        let rows = rows(|| scanner.next().map(|row| row.map(describe_row)))?;
        let stats = scanner.stats();
        Ok(Ok(format!("{rows} ({} rows of {} versions, {} seeks)", stats.rows, stats.versions, stats.seeks)))
    }

    /// All locks and records.
    fn dump(&self) -> String {
        let snapshot = self.store.engine.snapshot();
        let mut lines = Vec::new();
        for cf in crate::engine::DATA_CFS {
            let mut iter = snapshot.iter(cf, Default::default()).expect("the memory engine reads");
            let mut valid = iter.seek_to_first().expect("the memory engine reads");
            while valid {
                let (key, value) = (iter.key().to_vec().into(), iter.value().to_vec().into());
                lines.push(describe(&Modify::Put { cf, key, value }));
                valid = iter.next().expect("the memory engine reads");
            }
        }
        lines.join("\n  ")
    }
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &goldenscript::Context) -> Result<String, Box<dyn StdError>> {
        let mut out = String::new();
        self.execute(command, &mut out)?;
        Ok(out)
    }
}

fn describe_row(row: Row<'_>) -> String {
    let value =
        if row.value.len() > 9 { format!("{} bytes", row.value.len()) } else { row.value.escape_ascii().to_string() };
    format!("{}={value}", row.key.escape_ascii())
}

fn rows(mut next: impl FnMut() -> Result<Option<String>, Error>) -> Result<String, Error> {
    let mut rows = Vec::new();
    loop {
        match next() {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => return Ok(rows.join(" ")),
            Err(Error::Key(error @ KeyError::Locked(_))) => rows.push(format!("({error})")),
            Err(error) => return Err(error),
        }
    }
}

fn done((): ()) -> String {
    "ok".to_string()
}

fn optional(args: &mut ArgumentConsumer<'_>, name: &str) -> Result<Option<Timestamp>, Box<dyn StdError>> {
    Ok(args.take_key(name).map(str::parse::<u64>).transpose()?.map(Timestamp))
}

fn number(args: &mut ArgumentConsumer<'_>, name: &str) -> Result<Timestamp, Box<dyn StdError>> {
    Ok(optional(args, name)?.ok_or(format!("no {name}"))?)
}

fn keys(args: &mut ArgumentConsumer<'_>) -> Vec<UserKey> {
    std::iter::from_fn(|| args.next_pos()).map(|key| UserKey::from(key.as_bytes())).collect()
}

fn mutation(text: &str) -> Result<Mutation, Box<dyn StdError>> {
    let mut parts = text.split('/');
    let op = match parts.next() {
        Some("put") => MutationOp::Put,
        Some("insert") => MutationOp::Insert,
        Some("delete") => MutationOp::Delete,
        Some("lock") => MutationOp::Lock,
        Some("check") => MutationOp::CheckNotExists,
        _ => return Err(format!("unknown mutation {text}").into()),
    };
    let key = UserKey::from(parts.next().ok_or("no key")?.as_bytes());
    let value = match op {
        MutationOp::Put | MutationOp::Insert => parts.next().ok_or("no value")?,
        _ => "",
    };
    let value = if value == "long" { "long".repeat(100) } else { value.to_string() };
    let mut mutation =
        Mutation { op, key, value: value.into(), assertion: Assertion::None, is_pessimistic_lock: false };
    for flag in parts {
        match flag {
            "locked" => mutation.is_pessimistic_lock = true,
            "exist" => mutation.assertion = Assertion::Exist,
            "absent" => mutation.assertion = Assertion::NotExist,
            flag => return Err(format!("unknown flag {flag}").into()),
        }
    }
    Ok(mutation)
}

fn describe_lock(lock: &Lock) -> String {
    let mut out = format!("{:?} start={} primary={} ttl={}", lock.kind, lock.start_ts, lock.primary, lock.ttl_ms);
    let mut field = |name: &str, value: String| {
        if value != "0" && value != "[]" {
            out.push_str(&format!(" {name}={value}"));
        }
    };
    field("for_update", lock.for_update_ts.to_string());
    field("min_commit", lock.min_commit_ts.to_string());
    if let Some(value) = &lock.short_value {
        field("value", value.escape_ascii().to_string());
    }
    if lock.use_async_commit {
        field("async", format!("{:?}", lock.secondaries).replace("[]", "[ ]"));
    }
    field("rollback_ts", format!("{:?}", lock.rollback_ts));
    if lock.is_shared {
        out.push_str(" shared");
    }
    lock.sharers.iter().for_each(|sharer| out.push_str(&format!(" + {}", describe_lock(sharer))));
    out
}

fn describe(modify: &Modify) -> String {
    let versioned = |key: &[u8]| {
        let (key, ts) = split_ts(key).expect("a versioned key");
        format!("{}@{ts}", decode_user_key(key).expect("an encoded key"))
    };
    let plain = |key: &[u8]| decode_user_key(key).expect("an encoded key").to_string();
    match modify {
        Modify::Put { cf: Cf::Lock, key, value } => {
            format!("lock {}: {}", plain(key), describe_lock(&Lock::decode(value).expect("a lock")))
        }
        Modify::Delete { cf: Cf::Lock, key } => format!("unlock {}", plain(key)),
        Modify::Put { cf: Cf::Write, key, value } => {
            let write = WriteRef::decode(value).expect("a commit record");
            let mut out = format!("write {}: {:?} start={}", versioned(key), write.kind, write.start_ts);
            if let Some(value) = write.short_value {
                out.push_str(&format!(" value={}", value.escape_ascii()));
            }
            if write.is_protected {
                out.push_str(" protected");
            }
            if write.has_overlapped_rollback {
                out.push_str(" overlapped_rollback");
            }
            if let Some(fence) = write.gc_fence {
                out.push_str(&format!(" gc_fence={fence}"));
            }
            out
        }
        Modify::Put { cf, key, value } => format!("{} {}: {} bytes", cf.name(), versioned(key), value.len()),
        Modify::Delete { cf, key } => format!("delete {} {}", cf.name(), versioned(key)),
        Modify::DeleteRange { cf, .. } => format!("delete range of {}", cf.name()),
    }
}

#[test]
fn golden_scripts_of_commands() {
    run_scripts("testscripts/txn");
}

#[test]
fn golden_scripts_of_reads() {
    run_scripts("testscripts/mvcc");
}

fn run_scripts(folder: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .expect("the scripts are in the repository")
        .map(|entry| entry.expect("the folder reads").path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        let result = goldenscript::run(&mut Runner::new(), &script);
        result.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    }
}

const NO_WAIT: Waits = Waits { patience: Patience::NoWait, waited: Duration::ZERO };

fn waits(patience: Duration) -> Waits {
    Waits { patience: Patience::For(patience), waited: Duration::ZERO }
}

fn wanted(start_ts: u64, for_update_ts: u64, keys: &[&str]) -> PessimisticLock {
    PessimisticLock {
        keys: keys.iter().map(|key| (UserKey::from(key.as_bytes()), MustNotExist(false))).collect(),
        primary: UserKey::from(keys[0].as_bytes()),
        start_ts: Timestamp(start_ts),
        // In the timestamps' unit, so that nobody is taken for dead.
        lock_ttl_ms: 1 << 40,
        for_update_ts: Timestamp(for_update_ts),
        min_commit_ts: Timestamp::ZERO,
        is_shared: false,
        shared: BTreeSet::new(),
        return_values: false,
        skip_locked: None,
        txn_keys: 0,
        key_bytes_max: KEY_BYTES_MAX,
    }
}

fn put(start_ts: u64, key: &str, mode: CommitMode) -> Prewrite {
    Prewrite {
        mutations: vec![mutation(&format!("put/{key}/v{start_ts}")).expect("a mutation")],
        primary: UserKey::from(key.as_bytes()),
        start_ts: Timestamp(start_ts),
        lock_ttl_ms: 100,
        txn_size: 1,
        for_update_ts: Timestamp::ZERO,
        min_commit_ts: Timestamp::ZERO,
        max_commit_ts: Timestamp::ZERO,
        mode,
        key_bytes_max: KEY_BYTES_MAX,
    }
}

/// Spawns a lock request, with all the patience in the world, and lets it get as far as it gets.
async fn spawn_lock(
    store: &Store,
    wanted: PessimisticLock,
) -> tokio::task::JoinHandle<Result<Vec<LockedValue>, Error>> {
    let (scheduler, ctx) = (Arc::clone(&store.scheduler), store.ctx);
    let task =
        tokio::spawn(async move { scheduler.pessimistic_lock(&ctx, wanted, waits(Duration::from_secs(3600))).await });
    settle().await;
    task
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn waiters_get_a_released_lock_in_turn() {
    let store = store();
    let lock = |start_ts| wanted(start_ts, start_ts, &["k"]);
    store.scheduler.pessimistic_lock(&store.ctx, lock(10), NO_WAIT).await.expect("the key is free");
    let second = spawn_lock(&store, lock(20)).await;
    let third = spawn_lock(&store, lock(15)).await;
    assert!(!second.is_finished() && !third.is_finished());
    let key = [UserKey::from(&b"k"[..])];
    store.scheduler.pessimistic_rollback(&store.ctx, &key, Timestamp(10), Timestamp(10)).await.expect("its own lock");
    settle().await;
    assert!(second.is_finished() && !third.is_finished(), "first come, first served");
    store.scheduler.pessimistic_rollback(&store.ctx, &key, Timestamp(20), Timestamp(20)).await.expect("its own lock");
    assert!(matches!(third.await, Ok(Ok(_))));
    assert!(matches!(second.await, Ok(Ok(_))));
}

#[tokio::test]
async fn one_that_has_locks_goes_before_those_that_have_none_but_not_for_long() {
    let store = store();
    let lock = |start_ts, txn_keys| PessimisticLock { txn_keys, ..wanted(start_ts, start_ts, &["k"]) };
    let give_back = async |start_ts| {
        let (key, ts) = ([UserKey::from(&b"k"[..])], Timestamp(start_ts));
        store.scheduler.pessimistic_rollback(&store.ctx, &key, ts, ts).await.expect("its own lock");
        settle().await;
    };
    store.scheduler.pessimistic_lock(&store.ctx, lock(10, 0), NO_WAIT).await.expect("the key is free");
    let empty = spawn_lock(&store, lock(20, 0)).await;
    let holder = spawn_lock(&store, lock(30, 1)).await;
    give_back(10).await;
    assert!(holder.is_finished() && !empty.is_finished(), "others may wait for what it has");
    empty.abort();
    settle().await;
    // The same, when it has waited for longer.
    let (scheduler, ctx) = (Arc::clone(&store.scheduler), store.ctx);
    let has_waited = Waits { waited: Duration::from_millis(1_100), ..waits(Duration::from_secs(3_600)) };
    let wanted = lock(20, 0);
    let empty = tokio::spawn(async move { scheduler.pessimistic_lock(&ctx, wanted, has_waited).await });
    settle().await;
    let next_holder = spawn_lock(&store, lock(40, 1)).await;
    give_back(30).await;
    assert!(empty.is_finished() && !next_holder.is_finished(), "passed over for long enough");
    give_back(20).await;
    assert!(matches!(next_holder.await, Ok(Ok(_))));
}

#[tokio::test]
async fn whoever_shares_hands_on_to_the_first_that_shares_whatever_others_have() {
    let store = store();
    let lock = |start_ts, txn_keys| PessimisticLock { txn_keys, ..wanted(start_ts, start_ts, &["k"]) };
    let share = |start_ts, txn_keys| PessimisticLock { is_shared: true, ..lock(start_ts, txn_keys) };
    store.scheduler.pessimistic_lock(&store.ctx, lock(10, 0), NO_WAIT).await.expect("the key is free");
    let sharer = spawn_lock(&store, share(20, 1)).await;
    let second = spawn_lock(&store, share(30, 0)).await;
    let alone = spawn_lock(&store, lock(40, 1)).await;
    let key = [UserKey::from(&b"k"[..])];
    store.scheduler.pessimistic_rollback(&store.ctx, &key, Timestamp(10), Timestamp(10)).await.expect("its own lock");
    settle().await;
    assert!(sharer.is_finished() && second.is_finished() && !alone.is_finished());
}

#[tokio::test]
async fn after_a_commit_the_first_waiter_has_the_lock_and_the_newest_value() {
    let store = store();
    let lock = |start_ts| wanted(start_ts, start_ts, &["k"]);
    store.scheduler.pessimistic_lock(&store.ctx, lock(10), NO_WAIT).await.expect("the key is free");
    let second = spawn_lock(&store, PessimisticLock { return_values: true, ..lock(20) }).await;
    let third = spawn_lock(&store, lock(30)).await;
    let mut prewrite = put(10, "k", CommitMode::OnePhase);
    prewrite.for_update_ts = Timestamp(10);
    prewrite.mutations[0].is_pessimistic_lock = true;
    prewrite.min_commit_ts = Timestamp(40);
    store.scheduler.prewrite(&store.ctx, prewrite).await.expect("its own lock");
    settle().await;
    let found = second.await.expect("no panic").expect("its turn");
    let [LockedValue { value: Some(value), newest_commit: commit, skipped: false, .. }] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((&value[..], *commit >= Timestamp(40)), (&b"v10"[..], true));
    assert!(!third.is_finished());
    let key = [UserKey::from(&b"k"[..])];
    store.scheduler.pessimistic_rollback(&store.ctx, &key, Timestamp(20), *commit).await.expect("its own lock");
    let found = third.await.expect("no panic").expect("its turn");
    assert_eq!(found[0].newest_commit, *commit);
}

#[tokio::test]
async fn circles_are_broken_and_patience_ends() {
    let store = store();
    let locks = [(10, "a"), (20, "b")];
    for (ts, key) in locks {
        let wanted = wanted(ts, ts, &[key]);
        store.scheduler.pessimistic_lock(&store.ctx, wanted, NO_WAIT).await.expect("the key is free");
    }
    let waiting = spawn_lock(&store, wanted(10, 11, &["b"])).await;
    let circle = spawn_lock(&store, wanted(20, 21, &["a"])).await;
    assert!(matches!(circle.await, Ok(Err(Error::Key(KeyError::Deadlock { .. })))));
    assert!(!waiting.is_finished());
    // The store's slice of the client's patience: time to look whether the holder lives.
    assert!(matches!(waiting.await, Ok(Err(Error::Key(KeyError::Locked(_))))));
    let patience = waits(Duration::from_millis(10));
    let timed_out = store.scheduler.pessimistic_lock(&store.ctx, wanted(10, 11, &["b"]), patience).await;
    assert!(matches!(timed_out, Err(Error::Key(KeyError::LockWaitTimeout(_)))));
}

#[tokio::test]
async fn a_shared_lock_is_handed_on_to_those_who_share_and_nobody_overtakes_one_who_wants_it_alone() {
    let store = store();
    let key = [UserKey::from(&b"k"[..])];
    let lock = |start_ts| wanted(start_ts, start_ts, &["k"]);
    let share = |start_ts| PessimisticLock { is_shared: true, ..lock(start_ts) };
    let give_back = async |start_ts| {
        let ts = Timestamp(start_ts);
        store.scheduler.pessimistic_rollback(&store.ctx, &key, ts, Timestamp(1_000)).await.expect("its own lock");
        settle().await;
    };
    store.scheduler.pessimistic_lock(&store.ctx, lock(10), NO_WAIT).await.expect("the key is free");
    let sharing = [spawn_lock(&store, share(20)).await, spawn_lock(&store, share(21)).await];
    let alone = spawn_lock(&store, lock(30)).await;
    let late = spawn_lock(&store, share(40)).await;
    give_back(10).await;
    assert!(sharing.iter().all(|task| task.is_finished()), "both share");
    assert!(!alone.is_finished() && !late.is_finished());
    let refused = store.scheduler.pessimistic_lock(&store.ctx, share(41), NO_WAIT).await;
    assert!(matches!(refused, Err(Error::Key(KeyError::Locked(_)))), "it would overtake {refused:?}");
    // Whoever shares the lock and wants it alone is in front of all that hold nothing.
    let upgrade = spawn_lock(&store, lock(21)).await;
    assert!(!upgrade.is_finished());
    give_back(20).await;
    assert!(upgrade.is_finished() && !alone.is_finished());
    give_back(21).await;
    assert!(alone.is_finished() && !late.is_finished());
    give_back(30).await;
    assert!(matches!(late.await, Ok(Ok(_))));
}

#[tokio::test]
async fn circles_through_shared_locks_are_found() {
    let store = store();
    let share = |ts, keys: &[&str]| PessimisticLock { is_shared: true, ..wanted(ts, ts, keys) };
    for ts in [10, 11, 12] {
        store.scheduler.pessimistic_lock(&store.ctx, share(ts, &["a"]), NO_WAIT).await.expect("all share");
    }
    store.scheduler.pessimistic_lock(&store.ctx, wanted(20, 20, &["b"]), NO_WAIT).await.expect("the key is free");
    let alone = spawn_lock(&store, wanted(20, 21, &["a"])).await;
    // It holds one of three locks that are waited for: not the first.
    let circle = spawn_lock(&store, wanted(12, 22, &["b"])).await;
    assert!(matches!(circle.await, Ok(Err(Error::Key(KeyError::Deadlock { .. })))));
    let first = spawn_lock(&store, wanted(10, 23, &["a"])).await;
    let second = spawn_lock(&store, wanted(11, 24, &["a"])).await;
    assert!(matches!(second.await, Ok(Err(Error::Key(KeyError::Deadlock { .. })))), "both want it alone");
    assert!(!first.is_finished() && !alone.is_finished());
}

#[tokio::test]
async fn a_write_whose_caller_is_gone_keeps_its_latches_to_the_end() {
    let store = store();
    let held_back = store.recorder.gate.acquire().await.expect("never closed");
    let (scheduler, ctx) = (Arc::clone(&store.scheduler), store.ctx);
    let prewrite = put(10, "k", CommitMode::OnePhase);
    let caller = tokio::spawn(async move { scheduler.prewrite(&ctx, prewrite).await.map(|_| ()) });
    settle().await;
    assert!(!store.scheduler.concurrency().is_empty(), "readers must see the commit coming");
    caller.abort();
    settle().await;
    assert!(!store.scheduler.concurrency().is_empty(), "the write is still on its way");
    let second = tokio::spawn({
        let (scheduler, ctx) = (Arc::clone(&store.scheduler), store.ctx);
        async move { scheduler.prewrite(&ctx, put(5, "k", CommitMode::OnePhase)).await }
    });
    settle().await;
    assert!(!second.is_finished());
    drop(held_back);
    let refused = second.await.expect("no panic");
    assert!(matches!(refused, Err(Error::Key(KeyError::WriteConflict { .. }))), "it sees the first one's commit");
    assert!(store.scheduler.concurrency().is_empty());
}
