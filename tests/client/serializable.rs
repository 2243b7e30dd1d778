//! Transactions whose reads must be as of their commit.

use crate::world::World;
use basalt_client::{Cluster, Error, LockRequest, ScanOptions, Transaction, TxnMode, TxnOptions};
use basalt_common::KeyRange;
use bytes::Bytes;

async fn begin(cluster: &Cluster, mode: TxnMode) -> Transaction {
    let options = TxnOptions { mode, records_reads: true, ..TxnOptions::default() };
    cluster.begin(options).await.expect("begins")
}

async fn put(cluster: &Cluster, keys: &[&'static str]) {
    let mut txn = cluster.begin(TxnOptions::default()).await.expect("begins");
    keys.iter().for_each(|key| txn.put(*key, "1").expect("fits"));
    txn.commit().await.expect("commits");
}

async fn count(txn: &Transaction, start: &str, end: &str, limit: usize) -> usize {
    let range = KeyRange::new(start.as_bytes().to_vec(), end.as_bytes().to_vec());
    let mut scan = txn.scan(range, ScanOptions { limit, ..ScanOptions::default() });
    let mut found = 0;
    while scan.next().await.expect("can be read").is_some() {
        found += 1;
    }
    found
}

fn is_changed(outcome: &Result<basalt_common::Timestamp, Error>) -> bool {
    matches!(outcome, Err(Error::ReadChanged { .. }))
}

#[tokio::test]
async fn of_two_that_write_what_the_other_has_read_one_fails() {
    for (seed, mode) in [(31, TxnMode::Optimistic), (32, TxnMode::Pessimistic)] {
        let world = World::new(seed, &["c"]).await;
        put(&world.cluster, &["a", "d"]).await;
        let (mut first, mut second) =
            (begin(&world.cluster, mode).await, begin(&world.other_client().await, mode).await);
        for txn in [&first, &second] {
            assert!(txn.get(b"a").await.expect("can be read").is_some());
            assert!(txn.get(b"d").await.expect("can be read").is_some());
        }
        first.put("a", "2").expect("fits");
        second.put("d", "2").expect("fits");
        let outcomes = tokio::join!(first.commit(), second.commit());
        let committed = [&outcomes.0, &outcomes.1].into_iter().filter(|outcome| outcome.is_ok()).count();
        assert!(committed <= 1, "{outcomes:?}");
        assert!(is_changed(&outcomes.0) || is_changed(&outcomes.1), "{outcomes:?}");
        // Alone each succeeds, whatever the others have left.
        let mut third = begin(&world.cluster, mode).await;
        third.get(b"a").await.expect("can be read");
        third.get(b"d").await.expect("can be read");
        third.put("a", "3").expect("fits");
        third.commit().await.expect("nobody else writes");
    }
}

#[tokio::test]
async fn a_key_that_came_or_went_in_a_range_is_a_change_and_one_beside_it_is_none() {
    let world = World::new(33, &["c", "m"]).await;
    put(&world.cluster, &["b", "n", "p"]).await;
    let reads: [(&str, &str, usize); 3] = [("a", "d", 0), ("n", "q", 1), ("x", "y", 0)];
    for (key, is_deleted, must_fail) in [
        ("bb", false, true),
        ("b", true, true),
        ("e", false, false),
        ("p", true, false),
        ("n", true, true),
        ("xx", false, true),
    ] {
        put(&world.cluster, &["b", "n", "p"]).await;
        let mut txn = begin(&world.cluster, TxnMode::Optimistic).await;
        for (start, end, limit) in reads {
            count(&txn, start, end, limit).await;
        }
        let mut other = world.cluster.begin(TxnOptions::default()).await.expect("begins");
        match is_deleted {
            true => other.delete(key).expect("fits"),
            false => other.put(key, "2").expect("fits"),
        }
        other.commit().await.expect("commits");
        txn.put("z", "1").expect("fits");
        let outcome = txn.commit().await;
        assert_eq!(is_changed(&outcome), must_fail, "{key}: {outcome:?}");
    }
}

#[tokio::test]
async fn own_writes_are_no_changes_and_reads_of_two_moments_are_checked() {
    let world = World::new(34, &["c"]).await;
    put(&world.cluster, &["a", "d"]).await;
    let mut txn = begin(&world.cluster, TxnMode::Optimistic).await;
    assert_eq!(count(&txn, "", "", 0).await, 2);
    txn.put("a", "2").expect("fits");
    txn.put("b", "2").expect("fits");
    txn.delete("d").expect("fits");
    txn.commit().await.expect("nobody else writes");
    for (changed, must_fail) in [("a", true), ("q", false)] {
        let mut reader = begin(&world.cluster, TxnMode::Pessimistic).await;
        reader.get(b"a").await.expect("can be read");
        put(&world.cluster, &[changed]).await;
        let later = world.cluster.timestamp().await.expect("PD answers");
        reader.snapshot_at(later).get(b"b").await.expect("can be read");
        assert_eq!(is_changed(&reader.commit().await), must_fail, "{changed}");
    }
    let mut reader = begin(&world.cluster, TxnMode::Pessimistic).await;
    reader.get(b"a").await.expect("can be read");
    put(&world.cluster, &["a"]).await;
    reader.commit().await.expect("all that it has read is of one moment");
    let mut reader = begin(&world.cluster, TxnMode::Pessimistic).await;
    reader.get(b"a").await.expect("can be read");
    put(&world.cluster, &["a"]).await;
    let keys = vec![(Bytes::from_static(b"b"), false)];
    reader.lock_keys(LockRequest { keys, return_values: true, ..LockRequest::default() }).await.expect("locks");
    assert!(is_changed(&reader.commit().await), "what was read under the lock is of a later moment");
}

#[tokio::test]
async fn a_key_that_was_found_taken_is_read_and_what_skip_locked_passes_is_not() {
    let world = World::new(35, &["c"]).await;
    put(&world.cluster, &["a", "d"]).await;
    let mut txn = begin(&world.cluster, TxnMode::Pessimistic).await;
    let keys = vec![(Bytes::from_static(b"a"), true)];
    let taken = txn.lock_keys(LockRequest { keys, ..LockRequest::default() }).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    let mut other = world.cluster.begin(TxnOptions::default()).await.expect("begins");
    other.delete("a").expect("fits");
    other.commit().await.expect("nothing keeps it there");
    txn.put("z", "1").expect("fits");
    assert!(is_changed(&txn.commit().await));
    let mut worker = begin(&world.cluster, TxnMode::Pessimistic).await;
    let now = worker.refresh_for_update_ts().await.expect("PD answers");
    let view = worker.snapshot_at(now).passing_deletes();
    assert_eq!(view.get(b"d").await.expect("can be read").as_deref(), Some(&b"1"[..]));
    put(&world.cluster, &["d"]).await;
    worker.put("z", "2").expect("fits");
    worker.commit().await.expect("it has passed it");
}
