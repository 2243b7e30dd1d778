//! Reads, writes, conflicts and the price of the simple cases, without faults.

use crate::world::World;
use basalt_client::{Error, ScanOptions, TxnOptions};
use basalt_common::{KeyRange, Timestamp};
use std::sync::atomic::Ordering;

fn range(start: &str, end: &str) -> KeyRange {
    KeyRange::new(start.as_bytes(), end.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn ranges_are_read_across_regions_both_ways() {
    let world = World::new(1, &["b", "d", "f"]).await;
    let mut txn = world.cluster.begin(TxnOptions::default()).await.expect("begins");
    for key in ["a", "b", "c", "d", "e", "f", "g"] {
        txn.put(key.to_string(), format!("v{key}")).expect("fits");
    }
    let commit_ts = txn.commit().await.expect("commits");
    assert!(commit_ts > txn.start_ts());
    world.regions.split_at(b"c").await;
    let snapshot = world.cluster.snapshot(world.cluster.timestamp().await.expect("PD answers"));
    for (reverse, limit, expected) in [(false, 0, "bcdef"), (true, 0, "fedcb"), (false, 3, "bcd"), (true, 4, "fedc")] {
        let mut scan = snapshot.scan(range("b", "g"), ScanOptions { reverse, limit, ..ScanOptions::default() });
        let mut keys = String::new();
        while let Some((key, value)) = scan.next().await.expect("scans") {
            assert_eq!(text(&value), format!("v{}", text(&key)));
            keys += &text(&key);
        }
        assert_eq!(keys, expected);
    }
    let before = world.cluster.snapshot(txn.start_ts());
    assert_eq!(before.get(b"a").await.expect("reads"), None);
    let keys = ["a", "x", "g"].map(|k| k.to_string().into()).to_vec();
    let mut found: Vec<String> = snapshot.batch_get(keys).await.expect("reads").iter().map(|(k, _)| text(k)).collect();
    found.sort();
    assert_eq!(found, ["a", "g"]);
}

#[tokio::test]
async fn own_writes_are_merged_in() {
    let world = World::new(2, &["c"]).await;
    let mut txn = world.cluster.begin(TxnOptions::default()).await.expect("begins");
    for key in ["a", "b", "c", "d"] {
        txn.put(key, "old").expect("fits");
    }
    txn.commit().await.expect("commits");
    let mut txn = world.cluster.begin(TxnOptions::default()).await.expect("begins");
    txn.delete("b").expect("fits");
    txn.put("bb", "new").expect("fits");
    txn.put("c", "new").expect("fits");
    let savepoint = txn.savepoint();
    txn.delete("a").expect("fits");
    txn.rollback_to(savepoint);
    for (reverse, limit, expected) in [(false, 0, "a:old bb:new c:new d:old"), (true, 3, "d:old c:new bb:new")] {
        let mut scan = txn.scan(range("", ""), ScanOptions { reverse, limit, ..ScanOptions::default() });
        let mut seen = Vec::new();
        while let Some((key, value)) = scan.next().await.expect("scans") {
            seen.push(format!("{}:{}", text(&key), text(&value)));
        }
        assert_eq!(seen.join(" "), expected);
    }
    assert_eq!(txn.get(b"b").await.expect("reads"), None);
    txn.rollback().await;
    assert!(matches!(txn.commit().await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn the_first_committer_wins() {
    let world = World::new(3, &["m"]).await;
    let begin = || world.cluster.begin(TxnOptions::default());
    let (mut first, mut second) = (begin().await.expect("begins"), begin().await.expect("begins"));
    for txn in [&mut first, &mut second] {
        txn.put("a", "x").expect("fits");
        txn.put("z", "x").expect("fits");
    }
    let commit_ts = first.commit().await.expect("commits");
    match second.commit().await {
        Err(Error::WriteConflict { conflict_commit_ts, .. }) => assert_eq!(conflict_commit_ts, commit_ts),
        other => panic!("{other:?}"),
    }
    let mut insert = begin().await.expect("begins");
    insert.insert("a", "y").expect("not known to be there");
    assert!(matches!(insert.commit().await, Err(Error::AlreadyExists { .. })));
    let mut checked = begin().await.expect("begins");
    checked.insert("b", "y").expect("fits");
    checked.delete("b").expect("fits");
    checked.commit().await.expect("b was free");
    let mut checked = begin().await.expect("begins");
    checked.insert("z", "y").expect("fits");
    checked.delete("z").expect("fits");
    assert!(matches!(checked.commit().await, Err(Error::AlreadyExists { .. })));
}

#[tokio::test]
async fn simple_statements_cost_one_call() {
    let world = World::new(4, &[]).await;
    let warm = world.cluster.snapshot(Timestamp::MAX);
    assert_eq!(warm.get(b"a").await.expect("reads"), None);
    let before = world.net.calls.load(Ordering::Relaxed);
    let options = TxnOptions { autocommit: true, ..TxnOptions::default() };
    let mut txn = world.cluster.begin(options).await.expect("begins");
    txn.insert("a", "1").expect("fits");
    txn.insert("index/a", "1").expect("fits");
    txn.commit().await.expect("commits");
    assert_eq!(world.net.calls.load(Ordering::Relaxed) - before, 1, "one phase");
    assert_eq!(warm.get(b"a").await.expect("reads").as_deref(), Some(&b"1"[..]));
    assert_eq!(world.net.calls.load(Ordering::Relaxed) - before, 2, "no timestamp, one read");
    world.cluster.shutdown().await;
}
