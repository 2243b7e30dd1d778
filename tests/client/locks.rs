//! Pessimistic locks, and the locks of clients that died.

use crate::world::World;
use basalt_client::rpc::KvRpc;
use basalt_client::{Cluster, Error, LockRequest, LockWait, Transaction, TxnMode, TxnOptions};
use basalt_common::StoreId;
use basalt_proto::kv::{self, kv_request, kv_response};
use bytes::Bytes;
use std::time::Duration;

async fn pessimistic(cluster: &Cluster) -> Transaction {
    let options = TxnOptions { mode: TxnMode::Pessimistic, ..TxnOptions::default() };
    cluster.begin(options).await.expect("begins")
}

fn lock(keys: &[&'static str], wait: LockWait) -> LockRequest {
    let keys = keys.iter().map(|k| (Bytes::from_static(k.as_bytes()), false)).collect();
    LockRequest { keys, wait, return_values: true, ..LockRequest::default() }
}

async fn put(cluster: &Cluster, pairs: &[(&'static str, &'static str)]) {
    let mut txn = cluster.begin(TxnOptions::default()).await.expect("begins");
    for (key, value) in pairs {
        txn.put(*key, *value).expect("fits");
    }
    txn.commit().await.expect("commits");
}

#[tokio::test]
async fn locks_are_waited_for_skipped_or_refused() {
    let world = World::new(11, &["c"]).await;
    put(&world.cluster, &[("a", "1"), ("b", "1"), ("d", "1")]).await;
    let mut owner = pessimistic(&world.cluster).await;
    let locked = owner.lock_keys(lock(&["a", "d", "x"], LockWait::Default)).await.expect("locks");
    let values: Vec<_> = locked.values.values().map(|v| v.is_some()).collect();
    assert_eq!(values, [true, true, false]);
    let mut other = pessimistic(&world.other_client().await).await;
    let refused = other.lock_keys(lock(&["b", "d"], LockWait::NoWait)).await;
    assert!(matches!(refused, Err(Error::LockNotAvailable { .. })), "{refused:?}");
    assert!(!other.holds_lock(b"b"));
    let wait = LockWait::AtMost(Duration::from_millis(150));
    let timeout = other.lock_keys(lock(&["d"], wait)).await;
    assert!(matches!(timeout, Err(Error::LockTimeout { .. })), "{timeout:?}");
    let mut keys = ["d", "a", "b", "c"].map(|key| Bytes::from_static(key.as_bytes())).into();
    let available = other.lock_available(&mut keys, 1, false).await.expect("locks");
    let found: Vec<_> = available.iter().map(|found| (&found.key[..], found.value.as_deref())).collect();
    assert_eq!(found, [(&b"b"[..], Some(&b"1"[..]))]);
    assert_eq!(keys, ["c"], "what was passed over is not asked for again");
    assert!(other.holds_lock(b"b") && !other.holds_lock(b"a"));
    let waiting = tokio::spawn(async move {
        let outcome = other.lock_keys(lock(&["d"], LockWait::Default)).await;
        (other, outcome)
    });
    owner.put("d", "2").expect("fits");
    owner.commit().await.expect("commits");
    let (mut other, outcome) = waiting.await.expect("no panic");
    let locked = outcome.expect("locks");
    assert_eq!(locked.values.get(&b"d"[..]).cloned().flatten().as_deref(), Some(&b"2"[..]));
    other.put("d", "3").expect("fits");
    other.commit().await.expect("commits");
}

/// A commit's timestamp may be the next one of PD's and no later, or whoever begins after it would not see it. Where many wait for
/// one row, each finds a commit that is newer than anything it had asked PD for.
#[tokio::test]
async fn who_begins_after_a_commit_sees_it() {
    for other in ["b", "d"] {
        let world = World::with_slow_timestamps(17, &["c"]).await;
        put(&world.cluster, &[("a", "0"), ("x", "0")]).await;
        let mut owner = pessimistic(&world.cluster).await;
        owner.lock_keys(lock(&["a"], LockWait::Default)).await.expect("locks");
        let options = TxnOptions { mode: TxnMode::Pessimistic, autocommit: true, ..TxnOptions::default() };
        let mut waiters = Vec::new();
        for number in 1..=6 {
            let client = world.other_client().await;
            let mut txn = client.begin(options).await.expect("begins");
            let reader = world.cluster.clone();
            waiters.push(tokio::spawn(async move {
                txn.lock_keys(lock(&["a"], LockWait::Default)).await.expect("locks");
                txn.put("a", number.to_string()).expect("fits");
                txn.put(other, number.to_string()).expect("fits");
                let commit_ts = txn.commit().await.expect("commits");
                let now = reader.timestamp().await.expect("PD answers");
                assert!(commit_ts <= now, "{now} does not see {commit_ts}");
                // The store has heard of it, and puts others above it.
                let mut beside = client.begin(options).await.expect("begins");
                beside.put(format!("x{number}"), "1").expect("fits");
                let commit_ts = beside.commit().await.expect("commits");
                let now = reader.timestamp().await.expect("PD answers");
                assert!(commit_ts <= now, "{now} does not see {commit_ts}, which was beside it");
            }));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        owner.put("a", "1").expect("fits");
        let commit_ts = owner.commit().await.expect("commits");
        for waiter in waiters {
            waiter.await.expect("sees its own");
        }
        assert!(commit_ts <= world.cluster.timestamp().await.expect("PD answers"));
    }
}

#[tokio::test]
async fn shared_locks_outlive_a_request_for_more_that_fails() {
    let world = World::new(13, &["c"]).await;
    put(&world.cluster, &[("a", "1"), ("d", "1")]).await;
    let shared = |wait| LockRequest { is_shared: true, ..lock(&["a", "d"], wait) };
    let (mut first, mut second) = (pessimistic(&world.cluster).await, pessimistic(&world.other_client().await).await);
    first.lock_keys(shared(LockWait::NoWait)).await.expect("locks");
    second.lock_keys(shared(LockWait::NoWait)).await.expect("others share it");
    let refused = first.lock_keys(lock(&["a"], LockWait::NoWait)).await;
    assert!(matches!(refused, Err(Error::LockNotAvailable { .. })), "{refused:?}");
    let mut keys = ["a", "d"].map(|key| Bytes::from_static(key.as_bytes())).into();
    assert!(first.lock_available(&mut keys, 2, false).await.expect("none is free").is_empty());
    let mut third = pessimistic(&world.cluster).await;
    second.rollback().await;
    let refused = third.lock_keys(lock(&["a"], LockWait::NoWait)).await;
    assert!(matches!(refused, Err(Error::LockNotAvailable { .. })), "the first one shares it still: {refused:?}");
    first.lock_keys(lock(&["a"], LockWait::NoWait)).await.expect("it is alone now");
    let refused = third.lock_keys(shared(LockWait::NoWait)).await;
    assert!(matches!(refused, Err(Error::LockNotAvailable { .. })), "{refused:?}");
    first.put("a", "2").expect("fits");
    first.commit().await.expect("commits");
    third.lock_keys(lock(&["a", "d"], LockWait::NoWait)).await.expect("all is given back");
    third.rollback().await;
}

#[tokio::test]
async fn a_commit_that_does_not_wait_holds_nothing() {
    let world = World::new(14, &["c"]).await;
    put(&world.cluster, &[("a", "1"), ("d", "1")]).await;
    let mut owner = pessimistic(&world.cluster).await;
    owner.lock_keys(lock(&["d"], LockWait::Default)).await.expect("locks");
    let options = TxnOptions { autocommit: true, waits_at_commit: false, ..TxnOptions::default() };
    let mut statement = world.other_client().await.begin(options).await.expect("begins");
    statement.put("a", "2").expect("fits");
    statement.put("d", "2").expect("fits");
    let refused = tokio::time::timeout(Duration::from_secs(1), statement.commit()).await.expect("at once");
    assert!(matches!(refused, Err(Error::WouldWait { .. })), "{refused:?}");
    // Neither readers nor the one whose lock was in the way meet what was prewritten beside it.
    let now = world.cluster.timestamp().await.expect("PD answers");
    let value = world.cluster.snapshot(now).get(b"a").await.expect("reads");
    assert_eq!(value.as_deref(), Some(&b"1"[..]));
    owner.lock_keys(lock(&["a"], LockWait::AtMost(Duration::from_secs(1)))).await.expect("locks");
    owner.put("a", "3").expect("fits");
    owner.commit().await.expect("commits");
    // The locks of one that is over are none, as soon as its commit has reached them.
    let commits = async {
        loop {
            let mut statement = world.cluster.begin(options).await.expect("begins");
            statement.put("d", "4").expect("fits");
            match statement.commit().await {
                Err(Error::WouldWait { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                outcome => return outcome.expect("commits"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(2), commits).await.expect("soon");
}

#[tokio::test]
async fn deadlocks_are_told() {
    let world = World::new(12, &["m"]).await;
    let mut first = pessimistic(&world.cluster).await;
    let mut second = pessimistic(&world.cluster).await;
    first.lock_keys(lock(&["a"], LockWait::Default)).await.expect("locks");
    second.lock_keys(lock(&["z"], LockWait::Default)).await.expect("locks");
    let waiting = tokio::spawn(async move {
        let outcome = first.lock_keys(lock(&["z"], LockWait::Default)).await;
        first.rollback().await;
        outcome
    });
    let outcomes = [second.lock_keys(lock(&["a"], LockWait::Default)).await, {
        second.rollback().await;
        waiting.await.expect("no panic")
    }];
    let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::Deadlock { .. }))).count();
    assert!(lost == 1 && outcomes.iter().any(Result::is_ok), "one loses and the other goes on: {outcomes:?}");
}

#[tokio::test]
async fn a_dropped_transaction_leaves_no_locks() {
    let world = World::new(13, &[]).await;
    let mut txn = pessimistic(&world.cluster).await;
    txn.lock_keys(lock(&["a"], LockWait::Default)).await.expect("locks");
    drop(txn);
    let mut other = pessimistic(&world.cluster).await;
    other.lock_keys(lock(&["a"], LockWait::AtMost(Duration::from_secs(3)))).await.expect("locks");
    other.rollback().await;
}

#[tokio::test]
async fn locked_and_unwritten_keys_conflict() {
    let world = World::new(14, &["m"]).await;
    put(&world.cluster, &[("a", "1"), ("z", "1")]).await;
    // Write skew: each reads the other's key for update.
    let mut optimistic = world.cluster.begin(TxnOptions::default()).await.expect("begins");
    optimistic.put("z", "2").expect("fits");
    let mut txn = pessimistic(&world.cluster).await;
    txn.lock_keys(lock(&["a", "z"], LockWait::Default)).await.expect("locks");
    txn.put("a", "2").expect("fits");
    txn.commit().await.expect("commits");
    assert!(matches!(optimistic.commit().await, Err(Error::WriteConflict { .. })));
}

/// Prewrites as a client would that dies right after.
async fn abandon(world: &World, keys: &[&'static str], locked: &[&'static str], is_async: bool) {
    let start_ts = world.cluster.timestamp().await.expect("PD answers");
    for key in locked {
        let mutation = kv::Mutation { key: (*key).into(), value: "dead".into(), ..kv::Mutation::default() };
        let (region, peer) = world.cluster.leader_of(key.as_bytes()).await.expect("known");
        let context = kv::Context {
            region_id: region.id.0,
            epoch: Some(region.epoch.into()),
            peer: peer.map(Into::into),
            ..kv::Context::default()
        };
        let secondaries = keys[1..].iter().map(|k| Bytes::from_static(k.as_bytes())).collect();
        let request = kv::PrewriteRequest {
            context: Some(context),
            mutations: vec![mutation],
            primary: keys[0].into(),
            start_ts: start_ts.0,
            lock_ttl_ms: 50,
            txn_size: keys.len() as u64,
            use_async_commit: is_async,
            secondaries: if *key == keys[0] { secondaries } else { Vec::new() },
            ..kv::PrewriteRequest::default()
        };
        let request = kv::KvRequest { cmd: Some(kv_request::Cmd::Prewrite(request)) };
        loop {
            match world.net.call(StoreId(1), request.clone()).await.expect("answers").cmd {
                Some(kv_response::Cmd::Prewrite(answer)) if answer.errors.is_empty() => break,
                // The commit before this is still being finished in the background.
                Some(kv_response::Cmd::Prewrite(_)) => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_dead_are_settled_by_what_they_left() {
    let keys = ["a", "k", "z"];
    for (locked, is_async, survives) in [
        (&keys[..], true, true),
        (&keys[..2], true, false),
        (&keys[1..], true, false),
        (&keys[..], false, false),
        (&keys[1..], false, false),
    ] {
        let world = World::new(15, &["c", "m"]).await;
        put(&world.cluster, &[("a", "1"), ("k", "1"), ("z", "1")]).await;
        abandon(&world, &keys, locked, is_async).await;
        let cluster = world.other_client().await;
        let snapshot = cluster.snapshot(cluster.timestamp().await.expect("PD answers"));
        for key in ["z", "a", "k"] {
            let value = snapshot.get(key.as_bytes()).await.expect("reads").expect("is there");
            let expected: &[u8] = if survives { b"dead" } else { b"1" };
            assert_eq!(&value[..], expected, "{key} of {locked:?}, async {is_async}");
        }
        // A writer gets through as well.
        put(&cluster, &[("a", "2"), ("z", "2")]).await;
        cluster.shutdown().await;
    }
}
