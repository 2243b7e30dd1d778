//! Money moves between accounts in different regions while calls are lost, doubled and delayed, writes end in doubt, and
//! regions split. The judge: the sum never changes in any snapshot, and every transaction left exactly what its client was
//! told.

use crate::world::{Faults, World};
use basalt_client::{Cluster, Error, LockRequest, Result, ScanOptions, TxnMode, TxnOptions};
use basalt_common::KeyRange;
use basalt_common::env::Env;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ACCOUNTS: u64 = 8;
const WORKERS: u64 = 6;
const TRANSFERS: u64 = 12;
const MONEY: i64 = 100;

fn account(i: u64) -> Bytes {
    format!("account/{i}").into()
}

fn money(value: Option<&Bytes>) -> i64 {
    value.and_then(|v| std::str::from_utf8(v).ok()?.parse().ok()).expect("an account holds a number")
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Committed,
    Failed,
    Unknown,
}

async fn transfer(cluster: &Cluster, chance: &Env, marker: &Bytes) -> Result<()> {
    let from = chance.random_range(0, ACCOUNTS);
    let to = (from + chance.random_range(1, ACCOUNTS)) % ACCOUNTS;
    let mode = match chance.random_range(0, 2) {
        0 => TxnMode::Optimistic,
        _ => TxnMode::Pessimistic,
    };
    let options = TxnOptions {
        mode,
        one_pc: chance.random_range(0, 3) > 0,
        async_commit: chance.random_range(0, 3) > 0,
        ..TxnOptions::default()
    };
    let mut txn = cluster.begin(options).await?;
    let accounts = vec![(account(from), false), (account(to), false)];
    let (mut a, mut b) = match mode {
        TxnMode::Optimistic => {
            (money(txn.get(&account(from)).await?.as_ref()), money(txn.get(&account(to)).await?.as_ref()))
        }
        TxnMode::Pessimistic => {
            let for_update_ts = txn.refresh_for_update_ts().await?;
            let request = LockRequest { keys: accounts, for_update_ts, return_values: true, ..LockRequest::default() };
            let locked = match txn.lock_keys(request).await {
                Ok(locked) => locked,
                Err(e) => {
                    txn.rollback().await;
                    return Err(e);
                }
            };
            let value = |i| money(locked.values.get(&account(i)).and_then(Option::as_ref));
            (value(from), value(to))
        }
    };
    a -= 1;
    b += 1;
    txn.put(account(from), a.to_string())?;
    txn.put(account(to), b.to_string())?;
    txn.insert(marker.clone(), "done")?;
    txn.commit().await.map(|_| ())
}

async fn worker(cluster: Cluster, seed: u64) -> Vec<(Bytes, Told)> {
    let chance = Env::simulated(seed, 0);
    let mut told = Vec::new();
    for i in 0..TRANSFERS {
        // Markers lie in all regions.
        let marker: Bytes = format!("{}/{seed}/{i}", ["a", "b", "x"][chance.random_range(0, 3) as usize]).into();
        let outcome = match transfer(&cluster, &chance, &marker).await {
            Ok(()) => Told::Committed,
            Err(Error::Undetermined(_)) => Told::Unknown,
            Err(
                Error::WriteConflict { .. }
                | Error::Deadlock { .. }
                | Error::Aborted { .. }
                | Error::LockTimeout { .. }
                | Error::RegionUnavailable(_),
            ) => Told::Failed,
            Err(e) => panic!("{e}"),
        };
        told.push((marker, outcome));
    }
    told
}

async fn sum(cluster: &Cluster) -> i64 {
    let snapshot = cluster.snapshot(cluster.timestamp().await.expect("PD answers"));
    let mut scan = snapshot.scan(KeyRange::new(&b"account/"[..], &b"account0"[..]), ScanOptions::default());
    let (mut sum, mut count) = (0, 0);
    while let Some((_, value)) = scan.next().await.expect("scans") {
        sum += money(Some(&value));
        count += 1;
    }
    assert_eq!(count, ACCOUNTS);
    sum
}

async fn run(seed: u64, faults: Faults, undetermined: u64) {
    let world = World::new(seed, &["account/3", "account/6", "c"]).await;
    let mut txn = world.cluster.begin(TxnOptions::default()).await.expect("begins");
    for i in 0..ACCOUNTS {
        txn.put(account(i), MONEY.to_string()).expect("fits");
    }
    txn.commit().await.expect("commits");
    let total = MONEY * ACCOUNTS as i64;
    world.net.set_faults(faults);
    world.regions.undetermined.store(undetermined, Ordering::Relaxed);
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (cluster, stop) = (world.other_client().await, stop.clone());
        tokio::spawn(async move {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(sum(&cluster).await, total);
                reads += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            reads
        })
    };
    let splitter = {
        let (regions, stop) = (world.regions.clone(), stop.clone());
        tokio::spawn(async move {
            for i in 0..ACCOUNTS * 4 {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                regions
                    .split_at(format!("account/{}{}", i % ACCOUNTS, "x".repeat((i / ACCOUNTS) as usize)).as_bytes())
                    .await;
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        })
    };
    let mut workers = Vec::new();
    for i in 0..WORKERS {
        // Half of them share what they know of the cluster.
        let cluster = if i % 2 == 0 { world.cluster.clone() } else { world.other_client().await };
        workers.push(tokio::spawn(worker(cluster, seed * 100 + i)));
    }
    let mut told = Vec::new();
    for worker in workers {
        told.extend(worker.await.expect("no panic"));
    }
    stop.store(true, Ordering::Relaxed);
    splitter.await.expect("no panic");
    assert!(reader.await.expect("no panic") > 0);
    world.net.set_faults(Faults::default());
    world.regions.undetermined.store(0, Ordering::Relaxed);
    let cluster = world.other_client().await;
    assert_eq!(sum(&cluster).await, total);
    let snapshot = cluster.snapshot(cluster.timestamp().await.expect("PD answers"));
    for (marker, told) in &told {
        let is_there = snapshot.get(marker).await.expect("reads").is_some();
        match told {
            Told::Committed => assert!(is_there, "{marker:?} is lost"),
            Told::Failed => assert!(!is_there, "{marker:?} was said to have failed"),
            Told::Unknown => {}
        }
    }
    let committed = told.iter().filter(|(_, t)| *t == Told::Committed).count();
    assert!(committed as u64 > WORKERS, "only {committed} of {} committed", told.len());
    world.cluster.shutdown().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_stays_when_regions_split() {
    run(1, Faults::default(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_stays_when_calls_get_lost() {
    for seed in 2..5 {
        run(seed, Faults { unreachable: 4, answer_lost: 4, twice: 4, late: 4 }, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_stays_when_writes_end_in_doubt() {
    for seed in 5..8 {
        run(seed, Faults { unreachable: 1, answer_lost: 3, twice: 3, late: 3 }, 10).await;
    }
}
