//! Money moves between accounts in different regions while machines and network fail; the judge of it all.

use crate::old;
use crate::trace::Trace;
use crate::trouble::{USUAL_FAULTS, trouble};
use crate::watch::Watch;
use crate::world::World;
use basalt_client::{Cluster, Error, LockRequest, LockWait, Result, ScanOptions, TxnMode, TxnOptions};
use basalt_common::env::Env;
use basalt_common::{KeyRange, Timestamp};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const ACCOUNTS: u64 = 12;
const WORKERS: u64 = 5;
const READERS: u64 = 2;
const MONEY: i64 = 100;
/// Clients that have old versions collected.
const COLLECTORS: u64 = 2;
/// How long machines and network fail.
const TROUBLE: Duration = Duration::from_secs(25);
/// How long a worker works on behind the trouble.
const AFTER: Duration = Duration::from_secs(2);
/// Regions begin here from the start; more are made under way.
const SPLITS: [&str; 4] = ["account/03", "account/06", "account/09", "b"];
/// One of so many transfers ends with the death of its client.
const DEATHS_ONE_OF: u64 = 25;
/// How long a statement waits for a lock.
const LOCK_WAIT: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Committed(Timestamp),
    Failed,
    Unknown,
}

#[derive(Debug, Clone, Copy)]
struct Transfer {
    from: u64,
    to: u64,
    amount: i64,
}

impl Transfer {
    fn draw(chance: &Env) -> Transfer {
        let from = chance.random_range(0, ACCOUNTS);
        let to = (from + chance.random_range(1, ACCOUNTS)) % ACCOUNTS;
        Transfer { from, to, amount: chance.random_range(1, 10) as i64 }
    }

    fn marker(self) -> String {
        format!("{} {} {}", self.from, self.to, self.amount)
    }

    fn of_marker(value: &Bytes) -> Transfer {
        let mut parts =
            std::str::from_utf8(value).expect("text").split(' ').map(|p| p.parse::<u64>().expect("numbers"));
        let mut part = || parts.next().expect("three numbers");
        Transfer { from: part(), to: part(), amount: part() as i64 }
    }
}

/// An account, by its number below twelve.
pub fn account(i: u64) -> Bytes {
    format!("account/{i:02}").into()
}

/// What an account holds.
pub fn money(value: Option<&Bytes>) -> i64 {
    value.and_then(|v| std::str::from_utf8(v).ok()?.parse().ok()).expect("an account holds a number")
}

async fn transfer(cluster: &Cluster, chance: &Env, what: Transfer, marker: &Bytes) -> Result<Timestamp> {
    let (from, to) = (account(what.from), account(what.to));
    let mode = if chance.random_range(0, 2) == 0 { TxnMode::Optimistic } else { TxnMode::Pessimistic };
    let (one_pc, async_commit) = (chance.random_range(0, 3) > 0, chance.random_range(0, 3) > 0);
    let mut txn = cluster.begin(TxnOptions { mode, one_pc, async_commit, ..TxnOptions::default() }).await?;
    let (a, b) = match mode {
        TxnMode::Optimistic => (money(txn.get(&from).await?.as_ref()), money(txn.get(&to).await?.as_ref())),
        TxnMode::Pessimistic => {
            let keys = vec![(from.clone(), false), (to.clone(), false)];
            let for_update_ts = txn.refresh_for_update_ts().await?;
            let wait = LockWait::AtMost(LOCK_WAIT);
            let locked = match txn
                .lock_keys(LockRequest { keys, for_update_ts, wait, return_values: true, is_shared: false })
                .await
            {
                Ok(locked) => locked,
                Err(error) => {
                    txn.rollback().await;
                    return Err(error);
                }
            };
            let value = |key| money(locked.values.get(key).and_then(Option::as_ref));
            (value(&from), value(&to))
        }
    };
    txn.put(from, (a - what.amount).to_string())?;
    txn.put(to, (b + what.amount).to_string())?;
    txn.insert(marker.clone(), what.marker())?;
    txn.commit().await
}

/// What a client was told, by the transfer's marker.
type Outcomes = Vec<(Bytes, Told)>;

async fn worker(world: Arc<World>, number: u64, stop: Arc<AtomicBool>) -> Outcomes {
    let chance = world.env(100 + number);
    let mut cluster = world.client(200 + number).await;
    let mut outcomes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let i = outcomes.len();
        // Markers lie in the first region, among the accounts, and in the last region.
        let prefix = ["a", "account/05x", "x"][chance.random_range(0, 3) as usize];
        let marker: Bytes = format!("{prefix}/marker/{number}/{i:04}").into();
        let what = Transfer::draw(&chance);
        let is_last = chance.random_range(0, DEATHS_ONE_OF) == 0;
        let life = Duration::from_millis(if is_last { chance.random_range(0, 60) } else { 300_000 });
        let told = match tokio::time::timeout(life, transfer(&cluster, &chance, what, &marker)).await {
            Ok(Ok(ts)) => Told::Committed(ts),
            Ok(Err(Error::Undetermined(_))) | Err(_) => Told::Unknown,
            Ok(Err(
                Error::WriteConflict { .. }
                | Error::Deadlock { .. }
                | Error::Aborted { .. }
                | Error::LockTimeout { .. }
                | Error::RegionUnavailable(_)
                | Error::PdUnavailable(_)
                | Error::BelowSafePoint { .. },
            )) => Told::Failed,
            Ok(Err(error)) => panic!("transfer {marker:?}: {error}"),
        };
        world.trace.note(format_args!("transfer {marker:?} {what:?}: {told:?}"));
        outcomes.push((marker, told));
        if is_last {
            // The next client is another process.
            cluster = world.client(200 + number).await;
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(0, 120))).await;
    }
    outcomes
}

pub async fn balances(cluster: &Cluster, ts: Timestamp) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    let snapshot = cluster.snapshot(ts);
    for i in (0..ACCOUNTS).step_by(4) {
        // In pieces, so that crashes come between.
        let mut scan = snapshot.scan(KeyRange::new(account(i), account(i + 4)), ScanOptions::default());
        while let Some((key, value)) = scan.next().await? {
            if key.len() == account(0).len() {
                found.push(money(Some(&value)));
            }
        }
    }
    Ok(found)
}

/// Reads snapshots: each has the whole sum, and reads the same when it is read again.
async fn reader(world: Arc<World>, number: u64, stop: Arc<AtomicBool>) -> u64 {
    let chance = world.env(300 + number);
    let cluster = world.client(400 + number).await;
    let mut seen: Option<(Timestamp, Vec<i64>)> = None;
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(ts) = cluster.timestamp().await else { continue };
        if let Ok(now) = balances(&cluster, ts).await {
            world.trace.note(format_args!("reader {number} at {ts}: {now:?}"));
            assert_eq!(now.len() as u64, ACCOUNTS, "at {ts}");
            assert_eq!(now.iter().sum::<i64>(), MONEY * ACCOUNTS as i64, "at {ts}: {now:?}");
            reads += 1;
            if let Some((earlier, before)) = seen.replace((ts, now))
                && let Ok(again) = balances(&cluster, earlier).await
            {
                assert_eq!(before, again, "the snapshot at {earlier} changed");
            }
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(10, 200))).await;
    }
    reads
}

/// What each account begins with.
pub fn opening_balance() -> Bytes {
    MONEY.to_string().into()
}

/// Makes the accounts, in four regions.
pub async fn open_accounts(cluster: &Cluster) {
    let mut txn = cluster.begin(TxnOptions::default()).await.expect("begins");
    for i in 0..ACCOUNTS {
        txn.put(account(i), opening_balance()).expect("fits");
    }
    txn.commit().await.expect("commits");
    cluster.split_regions(SPLITS.iter().map(|key| (*key).into()).collect()).await.expect("splits");
}

/// One simulation; says how much happened.
pub async fn run(seed: u64, trace: Trace) -> String {
    let world = World::new(seed, trace).await;
    tokio::spawn(Watch::run(world.clone()));
    let first = world.client(4).await;
    open_accounts(&first).await;
    if seed.is_multiple_of(2) {
        // Otherwise the trouble begins while replicas are being made.
        world.until_replicated().await;
    }
    world.net.set_faults(USUAL_FAULTS);
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..WORKERS).map(|i| tokio::spawn(worker(world.clone(), i, stop.clone()))).collect();
    let readers: Vec<_> = (0..READERS).map(|i| tokio::spawn(reader(world.clone(), i, stop.clone()))).collect();
    let collectors: Vec<_> =
        (0..COLLECTORS).map(|i| tokio::spawn(old::collector(world.clone(), i, stop.clone()))).collect();
    let old: Vec<_> = (0..READERS).map(|i| tokio::spawn(old::reader(world.clone(), i, stop.clone()))).collect();
    tokio::spawn(trouble(world.clone(), TROUBLE)).await.expect("no panic");
    world.heal().await;
    tokio::time::sleep(AFTER).await;
    stop.store(true, Ordering::Relaxed);
    let mut outcomes = Outcomes::new();
    for worker in workers {
        outcomes.extend(worker.await.expect("no panic"));
    }
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.expect("no panic");
    }
    let (mut old_reads, mut refused) = (0, 0);
    for reader in old {
        let counts = reader.await.expect("no panic");
        (old_reads, refused) = (old_reads + counts.0, refused + counts.1);
    }
    for collector in collectors {
        collector.await.expect("no panic");
    }
    let cluster = world.client(5).await;
    judge(&cluster, &outcomes).await;
    first.shutdown().await;
    world.until_replicated().await;
    let deleted = world.until_collected(&cluster).await;
    judge(&cluster, &outcomes).await;
    cluster.shutdown().await;
    let entries = world.until_equal().await;
    let regions = cluster.regions_in(&KeyRange::all()).await.expect("PD answers").len();
    let committed = outcomes.iter().filter(|(_, told)| matches!(told, Told::Committed(_))).count();
    let unknown = outcomes.iter().filter(|(_, told)| *told == Told::Unknown).count();
    let total = outcomes.len();
    let summary = format!(
        "{total} transfers ({committed} committed, {unknown} unknown), {reads} reads, {old_reads} old ({refused} refused), {regions} regions, {entries} entries, {deleted} collected"
    );
    world.trace.note(&summary);
    assert!(committed as u64 > WORKERS && reads > 0, "too little happened: {summary}");
    summary
}

/// The end: every transfer is there exactly if its client was told so, and the balances are what the transfers made.
async fn judge(cluster: &Cluster, outcomes: &Outcomes) {
    let ts = cluster.timestamp().await.expect("PD answers");
    let mut markers = BTreeMap::new();
    let mut scan = cluster.snapshot(ts).scan(KeyRange::all(), ScanOptions::default());
    while let Some((key, value)) = scan.next().await.expect("the cluster is whole") {
        if key.windows(8).any(|part| part == b"/marker/") {
            markers.insert(key, Transfer::of_marker(&value));
        }
    }
    for (marker, told) in outcomes {
        let is_there = markers.contains_key(marker);
        match told {
            Told::Committed(at) => assert!(is_there, "{marker:?}, committed at {at}, is lost"),
            Told::Failed => assert!(!is_there, "{marker:?} was said to have failed"),
            Told::Unknown => {}
        }
    }
    let mut wanted = vec![MONEY; ACCOUNTS as usize];
    for transfer in markers.values() {
        wanted[transfer.from as usize] -= transfer.amount;
        wanted[transfer.to as usize] += transfer.amount;
    }
    assert_eq!(balances(cluster, ts).await.expect("the cluster is whole"), wanted, "transfers and balances differ");
}
