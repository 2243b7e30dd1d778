//! Both engines through the same operations: what one answers, the other answers.

use super::memory::MemoryEngine;
use super::rocks::RocksEngine;
use super::*;
use crate::config::EngineConfig;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<Modify>),
    Snapshot,
    DropSnapshots,
    Flush,
    /// Ships a range of the newest state into the engine itself, over what was deleted there meanwhile.
    Ship(Cf, EngineRange),
}

/// Keys with a timestamp's room, few enough to collide.
fn key() -> impl Strategy<Value = Bytes> {
    (0u8..6, 0u8..4).prop_map(|(user, ts)| {
        let mut key = vec![b'k', user];
        key.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, ts]);
        Bytes::from(key)
    })
}

fn family() -> impl Strategy<Value = Cf> {
    prop_oneof![Just(Cf::Default), Just(Cf::Lock), Just(Cf::Write), Just(Cf::Local)]
}

fn range() -> impl Strategy<Value = EngineRange> {
    let bound = || prop_oneof![4 => key(), 1 => Just(Bytes::new())];
    (bound(), bound()).prop_map(|(start, end)| EngineRange { start, end })
}

fn modify() -> impl Strategy<Value = Modify> {
    prop_oneof![
        6 => (family(), key(), any::<u8>()).prop_map(|(cf, key, v)| Modify::Put { cf, key, value: vec![v; 3].into() }),
        3 => (family(), key()).prop_map(|(cf, key)| Modify::Delete { cf, key }),
        1 => (family(), range()).prop_map(|(cf, r)| Modify::DeleteRange { cf, start: r.start, end: r.end }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => prop::collection::vec(modify(), 1..6).prop_map(Op::Write),
        2 => Just(Op::Snapshot),
        1 => Just(Op::DropSnapshots),
        1 => Just(Op::Flush),
        1 => (family(), range()).prop_map(|(cf, r)| Op::Ship(cf, r)),
    ]
}

fn dump(snapshot: &dyn Snapshot, cf: Cf, options: IterOptions, reverse: bool) -> Vec<(Bytes, Bytes)> {
    let mut iter = snapshot.iter(cf, options).expect("iterators open");
    let mut valid = if reverse { iter.seek_to_last() } else { iter.seek_to_first() }.expect("seek");
    let mut out = Vec::new();
    while valid {
        out.push((Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value())));
        valid = if reverse { iter.prev() } else { iter.next() }.expect("step");
    }
    out
}

/// Where seeks land, one way and the other, and what stands next to it.
fn probe(snapshot: &dyn Snapshot, cf: Cf, key: &[u8], prefix: bool) -> Vec<Option<Bytes>> {
    let options = IterOptions { prefix_same_as_start: prefix, ..Default::default() };
    let mut iter = snapshot.iter(cf, options).expect("iterators open");
    let mut out = Vec::new();
    let seen = |iter: &dyn EngineIterator| iter.valid().then(|| Bytes::copy_from_slice(iter.key()));
    iter.seek(key).expect("seek");
    out.push(seen(&*iter));
    iter.next().expect("next");
    out.push(seen(&*iter));
    if !prefix {
        iter.seek_for_prev(key).expect("seek");
        out.push(seen(&*iter));
        iter.prev().expect("prev");
        out.push(seen(&*iter));
    }
    out
}

fn compare(memory: &dyn Snapshot, rocks: &dyn Snapshot) {
    for cf in [Cf::Default, Cf::Lock, Cf::Write, Cf::Local] {
        let all = dump(memory, cf, IterOptions::default(), false);
        assert_eq!(all, dump(rocks, cf, IterOptions::default(), false));
        let bounds = IterOptions {
            lower: Bytes::from_static(b"k\x01"),
            upper: Bytes::from_static(b"k\x04"),
            ..Default::default()
        };
        assert_eq!(dump(memory, cf, bounds.clone(), true), dump(rocks, cf, bounds, true));
        for user in 0..6u8 {
            for ts in [0u8, 2] {
                let key = [&[b'k', user][..], &[0, 0, 0, 0, 0, 0, 0, ts]].concat();
                assert_eq!(memory.get(cf, &key).expect("get"), rocks.get(cf, &key).expect("get"));
                assert_eq!(probe(memory, cf, &key, false), probe(rocks, cf, &key, false));
                if matches!(cf, Cf::Write | Cf::Default) {
                    assert_eq!(probe(memory, cf, &key, true), probe(rocks, cf, &key, true));
                }
            }
        }
    }
}

fn ship(engine: &dyn Engine, cf: Cf, range: &EngineRange, path: &std::path::Path) -> u64 {
    let snapshot = engine.snapshot();
    let exported = engine.export(&*snapshot, cf, range, path).expect("export");
    let wipe = Modify::DeleteRange { cf, start: range.start.clone(), end: range.end.clone() };
    engine.write(&[wipe]).expect("write");
    if exported.entries > 0 {
        engine.ingest(cf, path).expect("ingest");
    }
    exported.entries
}

fn run(ops: Vec<Op>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let memory = MemoryEngine::new();
    let rocks = RocksEngine::open(&folder.path().join("db"), &EngineConfig::default()).expect("open");
    let mut snapshots = Vec::new();
    for (i, op) in ops.into_iter().enumerate() {
        match op {
            Op::Write(batch) => {
                memory.write(&batch).expect("write");
                rocks.write(&batch).expect("write");
            }
            Op::Snapshot => snapshots.push((memory.snapshot(), rocks.snapshot())),
            Op::DropSnapshots => snapshots.clear(),
            Op::Flush => {
                memory.flush().expect("flush");
                rocks.flush().expect("flush");
            }
            Op::Ship(cf, range) => {
                let (a, b) = (folder.path().join(format!("m{i}")), folder.path().join(format!("r{i}")));
                assert_eq!(ship(&memory, cf, &range, &a), ship(&rocks, cf, &range, &b));
            }
        }
        for (memory, rocks) in &snapshots {
            compare(&**memory, &**rocks);
        }
    }
    compare(&*memory.snapshot(), &*rocks.snapshot());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn engines_agree(ops in prop::collection::vec(op(), 1..24)) {
        run(ops);
    }
}

fn put(cf: Cf, key: &'static [u8], value: &'static [u8]) -> Modify {
    Modify::Put { cf, key: Bytes::from_static(key), value: Bytes::from_static(value) }
}

/// Found by [`engines_agree`]: the range to the end must also cover what the same batch has put before.
#[test]
fn a_range_without_end_covers_earlier_writes_of_its_batch() {
    let wipe = Modify::DeleteRange { cf: Cf::Write, start: Bytes::new(), end: Bytes::new() };
    run(vec![
        Op::Write(vec![put(Cf::Write, b"k\x01\0\0\0\0\0\0\0\x02", b"1")]),
        Op::Write(vec![
            put(Cf::Write, b"k\x05\0\0\0\0\0\0\0\0", b"1"),
            wipe.clone(),
            put(Cf::Write, b"k\x00\0\0\0\0\0\0\0\x02", b"1"),
        ]),
        Op::Snapshot,
        Op::Write(vec![wipe]),
    ]);
}

#[test]
fn only_what_was_flushed_is_durable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engines: [Box<dyn Engine>; 2] = [
        Box::new(MemoryEngine::new()),
        Box::new(RocksEngine::open(folder.path(), &EngineConfig::default()).expect("open")),
    ];
    for engine in engines {
        engine.write(&[put(Cf::Local, b"applied", b"1"), put(Cf::Write, b"k", b"1")]).expect("write");
        assert_eq!(engine.get_flushed(Cf::Local, b"applied").expect("get"), None);
        engine.flush().expect("flush");
        engine.write(&[put(Cf::Local, b"applied", b"2")]).expect("write");
        assert_eq!(engine.get_flushed(Cf::Local, b"applied").expect("get").as_deref(), Some(&b"1"[..]));
        assert_eq!(engine.get(Cf::Local, b"applied").expect("get").as_deref(), Some(&b"2"[..]));
        let all = EngineRange { start: Bytes::new(), end: Bytes::new() };
        assert!(engine.approximate_size(Cf::Local, &all).expect("size").bytes > 0);
    }
}

#[test]
fn a_crash_of_the_memory_engine_loses_what_was_not_flushed() {
    let engine = MemoryEngine::new();
    engine.write(&[put(Cf::Write, b"a", b"1")]).expect("write");
    engine.flush().expect("flush");
    engine.write(&[put(Cf::Write, b"a", b"2"), put(Cf::Write, b"b", b"2")]).expect("write");
    let before = engine.snapshot();
    engine.crash();
    assert_eq!(engine.get(Cf::Write, b"a").expect("get").as_deref(), Some(&b"1"[..]));
    assert_eq!(engine.get(Cf::Write, b"b").expect("get"), None);
    assert_eq!(before.get(Cf::Write, b"a").expect("get").as_deref(), Some(&b"2"[..]));
}

#[test]
fn a_folder_serves_one_process_and_survives_a_reopen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = RocksEngine::open(folder.path(), &EngineConfig::default()).expect("open");
    engine.write(&[put(Cf::Write, b"a", b"1")]).expect("write");
    let second = RocksEngine::open(folder.path(), &EngineConfig::default());
    assert!(matches!(second.err(), Some(EngineError::InUse(_))));
    drop(engine);
    let engine = RocksEngine::open(folder.path(), &EngineConfig::default()).expect("open");
    assert_eq!(engine.get(Cf::Write, b"a").expect("get").as_deref(), Some(&b"1"[..]));
}
