//! Clients beside each other on a few hot rows in different regions: they lock one after the other, in any order, some shared
//! first, so that they wait for each other over stores and close circles, while machines and network fail.
//!
//! The judge: a row has been incremented once for each transaction that was told so (a waiter that is woken into a lost lock
//! writes over another's increment), whoever was told so finds it there from then on, and when nothing fails any more nobody waits for longer than the others take in front of
//! him, or for a circle (a waiter that is forgotten, or a circle that nobody ends, stands until its timeout).

use crate::bank::{account, money, open_accounts};
use crate::clock;
use crate::trace::Trace;
use crate::trouble::{USUAL_FAULTS, trouble};
use crate::watch::Watch;
use crate::world::World;
use basalt_client::{Cluster, Error, LockRequest, LockWait, Result, Transaction, TxnMode, TxnOptions};
use basalt_common::Timestamp;
use basalt_common::env::Env;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One row of each region that there is from the start, and a second one of the first.
const ROWS: [u64; 5] = [1, 2, 4, 7, 10];
const WORKERS: u64 = 8;
const TROUBLE: Duration = Duration::from_secs(20);
/// How long nothing fails before waits are judged: locks of the time before end, leaders are found.
const SETTLING: Duration = Duration::from_secs(25);
/// How long they are judged.
const CALM: Duration = Duration::from_secs(15);
/// How long a statement waits for a lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// The longest wait of a calm time: everybody else's transaction, several times over.
const CALM_WAIT_MAX: Duration = Duration::from_secs(4);

/// What became of increments, by row.
#[derive(Default)]
struct Told {
    committed: BTreeMap<u64, i64>,
    unknown: BTreeMap<u64, i64>,
    deadlocks: u64,
    timeouts: u64,
    longest_calm_wait: Duration,
}

struct Worker {
    world: Arc<World>,
    chance: Env,
    cluster: Cluster,
    is_calm: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
}

impl Worker {
    /// Rows to lock, in any order.
    fn draw(&self) -> Vec<u64> {
        let mut rows = ROWS.to_vec();
        let wanted = self.chance.random_range(1, 4) as usize;
        (0..wanted).map(|_| rows.swap_remove(self.chance.random_range(0, rows.len() as u64) as usize)).collect()
    }

    async fn run(self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let rows = self.draw();
            let outcome = self.increment(&rows).await;
            self.world.trace.note(format_args!("increment {rows:?}: {outcome:?}"));
            let mut told = self.told.lock().expect("not poisoned");
            let counts = match outcome {
                Ok(()) => &mut told.committed,
                Err(Error::Undetermined(_)) => &mut told.unknown,
                Err(error) => {
                    told.deadlocks += u64::from(matches!(error, Error::Deadlock { .. }));
                    told.timeouts += u64::from(matches!(error, Error::LockTimeout { .. }));
                    continue;
                }
            };
            rows.into_iter().for_each(|row| *counts.entry(row).or_default() += 1);
        }
    }

    async fn increment(&self, rows: &[u64]) -> Result<()> {
        // One row by itself as a statement without BEGIN has it: no timestamp but the first.
        let autocommit = rows.len() == 1;
        let options = TxnOptions { mode: TxnMode::Pessimistic, autocommit, ..TxnOptions::default() };
        let mut txn = self.cluster.begin(options).await?;
        let mut written = Vec::new();
        for &row in rows {
            match self.lock_and_put(&mut txn, row, autocommit).await {
                Ok(money) => written.push((row, money)),
                Err(error) => {
                    txn.rollback().await;
                    return Err(error);
                }
            }
            if !autocommit {
                tokio::time::sleep(Duration::from_millis(self.chance.random_range(0, 30))).await;
            }
        }
        let commit_ts = txn.commit().await?;
        self.find(&written, commit_ts).await;
        Ok(())
    }

    /// What was written is there for whoever begins now: the rows only grow.
    async fn find(&self, written: &[(u64, i64)], commit_ts: Timestamp) {
        let Ok(now) = self.cluster.timestamp().await else { return };
        let snapshot = self.cluster.snapshot(now);
        for (row, written) in written {
            if let Ok(found) = snapshot.get(&account(*row)).await {
                let found = money(found.as_ref());
                assert!(found >= *written, "{written} was committed to row {row} at {commit_ts}; {now} reads {found}");
            }
        }
    }

    async fn lock_and_put(&self, txn: &mut Transaction, row: u64, autocommit: bool) -> Result<i64> {
        if !autocommit {
            txn.refresh_for_update_ts().await?;
        }
        if self.chance.random_range(0, 4) == 0 {
            self.lock(txn, account(row), true).await?;
        }
        let value = self.lock(txn, account(row), false).await?;
        let money = money(value.as_ref()) + 1;
        txn.put(account(row), money.to_string())?;
        Ok(money)
    }

    async fn lock(&self, txn: &mut Transaction, key: Bytes, is_shared: bool) -> Result<Option<Bytes>> {
        let (was_calm, began) = (self.is_calm.load(Ordering::Relaxed), clock::elapsed());
        let keys = vec![(key.clone(), false)];
        let wait = LockWait::AtMost(LOCK_WAIT);
        let for_update_ts = txn.for_update_ts();
        let request = LockRequest { keys, for_update_ts, wait, return_values: true, is_shared };
        let outcome = txn.lock_keys(request).await;
        if was_calm {
            let took = clock::elapsed() - began;
            assert!(took < CALM_WAIT_MAX, "{} waited {took:?} for {key:?}: {outcome:?}", txn.start_ts());
            let mut told = self.told.lock().expect("not poisoned");
            told.longest_calm_wait = told.longest_calm_wait.max(took);
        }
        Ok(outcome?.values.remove(&key).flatten())
    }
}

/// One simulation; says how much happened.
pub async fn run(seed: u64, trace: Trace) -> String {
    let world = World::new(seed, trace).await;
    tokio::spawn(Watch::run(world.clone()));
    let first = world.client(4).await;
    open_accounts(&first).await;
    world.until_replicated().await;
    world.net.set_faults(USUAL_FAULTS);
    let (stop, is_calm) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let told: Arc<Mutex<Told>> = Arc::default();
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        let cluster = world.client(200 + number).await;
        let (chance, is_calm, told) = (world.env(100 + number), is_calm.clone(), told.clone());
        let worker = Worker { world: world.clone(), chance, cluster, is_calm, told };
        workers.push(tokio::spawn(worker.run(stop.clone())));
    }
    tokio::spawn(trouble(world.clone(), TROUBLE)).await.expect("no panic");
    world.heal().await;
    tokio::time::sleep(SETTLING).await;
    is_calm.store(true, Ordering::Relaxed);
    tokio::time::sleep(CALM).await;
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.expect("no panic");
    }
    let cluster = world.client(5).await;
    let told = std::mem::take(&mut *told.lock().expect("not poisoned"));
    let snapshot = cluster.snapshot(cluster.timestamp().await.expect("PD answers"));
    for row in ROWS {
        let value = snapshot.get(&account(row)).await.expect("the cluster is whole");
        let found = money(value.as_ref()) - money(Some(&crate::bank::opening_balance()));
        let count = |counts: &BTreeMap<u64, i64>| counts.get(&row).copied().unwrap_or_default();
        let (committed, unknown) = (count(&told.committed), count(&told.unknown));
        assert!(
            (committed..=committed + unknown).contains(&found),
            "row {row} was incremented {found} times; {committed} transactions were told so, {unknown} do not know"
        );
    }
    let committed: i64 = told.committed.values().sum();
    let summary = format!(
        "{committed} increments, {} deadlocks, {} timeouts, longest wait of the calm {:?}",
        told.deadlocks, told.timeouts, told.longest_calm_wait
    );
    world.trace.note(&summary);
    assert!(committed > 200 && told.deadlocks > 5, "too little happened: {summary}");
    summary
}
