//! kill -9 of the store that leads most regions while writers insert: writes go on, nothing acknowledged is lost.

use basalt_tests::up::pause;
use basalt_tests::{Cluster, alone, mysql};
use mysql_async::prelude::Queryable;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WRITERS: u64 = 16;

/// What a writer saw.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<u64>,
    /// When each acknowledgement came.
    times: Vec<Instant>,
}

async fn writer(port: u16, number: u64, stop: Arc<AtomicBool>, seen: Arc<Mutex<Seen>>) {
    let mut conn = None;
    let mut id = number;
    while !stop.load(Ordering::Relaxed) {
        if conn.is_none() {
            conn = basalt_tests::connect(port, Some("d")).await.ok();
        }
        let Some(c) = conn.as_mut() else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        match c.query_drop(format!("insert into t values ({id}, {number})")).await {
            Ok(()) => {
                let mut seen = seen.lock().unwrap();
                seen.acknowledged.push(id);
                #[expect(clippy::disallowed_methods, reason = "measures real time over real processes")]
                seen.times.push(Instant::now());
            }
            // Not acknowledged: it may be there or not. The next number is another row.
            Err(_) => conn = None,
        }
        id += WRITERS;
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures real time over real processes")]
fn the_busiest_leader_dies_and_no_acknowledged_row_is_lost() {
    let _alone = alone();
    let cluster = Cluster::start(3, 1, "");
    let port = cluster.port;
    mysql(port, &[], "create database d; create table d.t (id bigint primary key, w int); split table d.t between (0) and (20000) regions 4").expect_ok();
    let runtime = basalt_tests::runtime();
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
    let writers: Vec<_> = (0..WRITERS).map(|n| runtime.spawn(writer(port, n, stop.clone(), seen.clone()))).collect();
    pause(Duration::from_secs(3));

    let stores = mysql(port, &["-N"], "show stores").expect_ok();
    let (busiest, address) = stores
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .map(|row| (row[4].parse::<u64>().expect("leaders"), row[1].to_string()))
        .max()
        .expect("there are stores");
    let victim =
        cluster.status().into_iter().find(|p| p.address == address).expect("the store is a process of the cluster");
    let killed = Instant::now();
    cluster.run(&["kill", &victim.name]).expect_ok();
    pause(Duration::from_secs(8));

    let before = seen.lock().unwrap().times.iter().filter(|t| **t < killed).count();
    // All writers' longest common silence after the kill: how long no write was acknowledged.
    let mut times: Vec<Instant> = seen.lock().unwrap().times.iter().copied().filter(|t| *t >= killed).collect();
    times.sort();
    let mut last = killed;
    let mut gap = Duration::ZERO;
    for t in &times {
        gap = gap.max(*t - last);
        last = *t;
    }
    // Silence at the end counts as well.
    gap = gap.max(Instant::now() - last);
    cluster.run(&["start", &victim.name]).expect_ok();
    pause(Duration::from_secs(3));
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for writer in writers {
            writer.await.expect("a writer does not panic");
        }
    });
    eprintln!(
        "killed {} ({busiest} leaders); {before} rows before, {} after; longest silence {gap:.2?}",
        victim.name,
        times.len()
    );
    assert!(before > 0 && !times.is_empty(), "no writes before or after the kill");
    assert!(gap < Duration::from_secs(5), "writes resumed only after {gap:?}");

    let acknowledged = std::mem::take(&mut seen.lock().unwrap().acknowledged);
    let there: std::collections::BTreeSet<u64> =
        mysql(port, &["-N"], "select id from d.t").expect_ok().lines().map(|l| l.parse().expect("a number")).collect();
    let lost: Vec<u64> = acknowledged.iter().copied().filter(|id| !there.contains(id)).collect();
    assert!(lost.is_empty(), "lost {} of {}: {:?}", lost.len(), acknowledged.len(), &lost[..lost.len().min(10)]);
    replicas_are_equal(&cluster);
}

/// Every region's replicas hold the same data.
fn replicas_are_equal(cluster: &Cluster) {
    let sql = cluster.status().into_iter().find(|p| p.name == "sql-1").expect("there is a SQL server");
    // A replica that was down may still be catching up.
    let mut last = String::new();
    for _ in 0..60 {
        let out = basalt_tests::basalt(&["ctl", "check-replicas", "--json", "--status", &sql.status]);
        if out.ok {
            return;
        }
        last = out.err;
        pause(Duration::from_millis(500));
    }
    panic!("replicas differ: {last}");
}
