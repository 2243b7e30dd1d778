//! Readers and scanners against a plain model, on random histories.

use super::scan::ScanOptions;
use super::*;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Cf, Engine, EngineError, EngineIterator, EngineRange, IterOptions, Modify, Snapshot};
use crate::error::{Error, KeyError};
use basalt_common::pairs::Pairs;
use basalt_common::{EncodedKey, KeyRange, Timestamp, UserKey};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What happens to a key at a timestamp.
#[derive(Clone, Copy, Debug)]
enum Event {
    Put { is_long: bool },
    Delete,
    Lock,
    Rollback,
}

type History = BTreeMap<(u8, u64), Event>;

fn history() -> impl Strategy<Value = History> {
    let event = prop_oneof![
        4 => any::<bool>().prop_map(|is_long| Event::Put { is_long }),
        2 => Just(Event::Delete),
        2 => Just(Event::Lock),
        2 => Just(Event::Rollback),
    ];
    // Few keys with many versions and some with few, so that both steps and seeks are taken.
    prop::collection::btree_map((prop_oneof![3 => Just(3u8), 2 => 0u8..8], 1u64..60), event, 0..80)
}

fn user_key(key: u8) -> UserKey {
    UserKey::from(vec![b'k', key])
}

fn value(key: u8, ts: u64, is_long: bool) -> Bytes {
    let text = format!("{key}@{ts}");
    Bytes::from(if is_long { text.repeat(100) } else { text })
}

fn load(history: &History, locks: &BTreeMap<u8, Lock>) -> MemoryEngine {
    let engine = MemoryEngine::new();
    let mut batch = Vec::new();
    for (&(k, ts), event) in history {
        let key = user_key(k).encode();
        // Transactions start one before they commit, in units of two, so that timestamps stay apart.
        let (start_ts, commit_ts) = (Timestamp(ts * 2 - 1), Timestamp(ts * 2));
        let (kind, short_value) = match event {
            Event::Put { is_long: false } => (WriteKind::Put, Some(value(k, ts, false))),
            Event::Put { is_long: true } => {
                batch.push(Modify::Put {
                    cf: Cf::Default,
                    key: key.with_ts(start_ts).into(),
                    value: value(k, ts, true),
                });
                (WriteKind::Put, None)
            }
            Event::Delete => (WriteKind::Delete, None),
            Event::Lock => (WriteKind::Lock, None),
            Event::Rollback => (WriteKind::Rollback, None),
        };
        let record = Write::new(kind, start_ts, short_value).encode();
        batch.push(Modify::Put { cf: Cf::Write, key: key.with_ts(commit_ts).into(), value: record });
    }
    for (k, lock) in locks {
        let key = user_key(*k).encode().into_vec().into();
        batch.push(Modify::Put { cf: Cf::Lock, key, value: lock.encode() });
    }
    engine.write(&batch).expect("the memory engine writes");
    engine
}

fn expected(history: &History, k: u8, ts: u64) -> Option<Bytes> {
    let mut versions = history.range((k, 0)..=(k, ts / 2)).rev();
    versions.find_map(|(&(k, ts), event)| match event {
        Event::Put { is_long } => Some(Some(value(k, ts, *is_long))),
        Event::Delete => Some(None),
        Event::Lock | Event::Rollback => None,
    })?
}

fn locks() -> impl Strategy<Value = BTreeMap<u8, Lock>> {
    let lock = (0u8..3, 1u64..120, 0u64..130).prop_map(|(kind, start_ts, min_commit_ts)| {
        let kind = [LockKind::Put, LockKind::Delete, LockKind::Pessimistic][kind as usize];
        let mut lock = Lock::new(kind, UserKey::from(&b"other"[..]), Timestamp(start_ts), 1);
        lock.min_commit_ts = Timestamp(min_commit_ts);
        lock.short_value = (kind == LockKind::Put).then(|| Bytes::from_static(b"locked"));
        lock
    });
    prop::collection::btree_map(0u8..9, lock, 0..4)
}

/// A scan's rows, and the keys whose locks stopped it.
type Rows = Vec<(UserKey, Option<Bytes>)>;

fn collect(mut next: impl FnMut() -> Result<Option<(UserKey, Bytes)>, Error>) -> Rows {
    let mut rows = Vec::new();
    loop {
        match next() {
            Ok(Some((key, value))) => rows.push((key, Some(value))),
            Ok(None) => return rows,
            Err(Error::Key(KeyError::Locked(locked))) => rows.push((locked.key, None)),
            Err(error) => panic!("{error}"),
        }
    }
}

fn owned(row: Row<'_>) -> (UserKey, Bytes) {
    (UserKey::from(row.key), Bytes::copy_from_slice(row.value))
}

/// All rows between two keys, read in pages.
fn in_pages(snapshot: &Arc<dyn Snapshot>, bounds: (u8, u8), read: &ReadAt, reverse: bool, rows_max: usize) -> Rows {
    let mut range = KeyRange { start: user_key(bounds.0), end: user_key(bounds.1) };
    let mut rows = Rows::new();
    loop {
        let request = PageRequest {
            range: range.clone(),
            reverse,
            read: read.clone(),
            key_only: false,
            rows_max,
            bytes_max: usize::MAX,
        };
        let page = read_page(snapshot, &request).expect("a page is read");
        assert!(page.rows.len() <= rows_max);
        let found = Pairs::unpack(page.rows.into()).expect("lengths fit");
        rows.extend(found.map(|(key, value)| (UserKey(key), Some(value))));
        rows.extend(page.locked.map(|locked| (locked.key, None)));
        match rows.last() {
            Some((last, _)) if page.more && reverse => range.end = last.clone(),
            Some((last, _)) if page.more => range.start = last.successor(),
            _ => return rows,
        }
    }
}

/// Notes in which ranges locks are looked for.
struct LockRanges {
    snapshot: Arc<dyn Snapshot>,
    asked: Mutex<Vec<(Bytes, Bytes)>>,
}

impl Snapshot for LockRanges {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.snapshot.get(cf, key)
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Result<Box<dyn EngineIterator>, EngineError> {
        if cf == Cf::Lock {
            self.asked.lock().unwrap().push((options.lower.clone(), options.upper.clone()));
        }
        self.snapshot.iter(cf, options)
    }
}

#[test]
fn a_page_looks_for_locks_no_further_than_its_last_key() {
    let put = |key| ((key, 5), Event::Put { is_long: false });
    let engine = load(&(0..8).map(put).collect(), &BTreeMap::new());
    let bound = |key: UserKey| Bytes::from(key.encode().into_vec());
    for (reverse, expected) in [(false, (user_key(1), user_key(2).successor())), (true, (user_key(5), user_key(7)))] {
        let ranges = Arc::new(LockRanges { snapshot: engine.snapshot(), asked: Mutex::default() });
        let request = PageRequest {
            range: KeyRange { start: user_key(1), end: user_key(7) },
            reverse,
            read: ReadAt::at(Timestamp(20)),
            key_only: false,
            rows_max: 2,
            bytes_max: usize::MAX,
        };
        let snapshot: Arc<dyn Snapshot> = ranges.clone();
        let page = read_page(&snapshot, &request).expect("a page is read");
        assert_eq!((page.rows.len(), page.more), (2, true));
        assert_eq!(*ranges.asked.lock().unwrap(), [(bound(expected.0), bound(expected.1))]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn all_ways_of_reading_agree_with_the_model(
        history in history(), locks in locks(), ts in 0u64..130, bounds in (0u8..9, 0u8..10), known in any::<u8>(),
    ) {
        let engine = load(&history, &locks);
        let snapshot = engine.snapshot();
        let mut read = ReadAt::at(Timestamp(ts));
        for (i, lock) in locks.values().enumerate() {
            match (known >> (2 * i)) & 3 {
                1 => read.resolved_locks.push(lock.start_ts.0),
                2 => read.committed_locks.push(lock.start_ts.0),
                _ => {}
            }
        }
        let mut model = Rows::new();
        for k in 0..9u8 {
            let verdict = locks.get(&k).map_or(Verdict::Pass, |lock| lock.verdict(b"", &read));
            let expected = match verdict {
                Verdict::Pass => expected(&history, k, ts).map(Some),
                Verdict::Blocks => Some(None),
                Verdict::ReadThrough => locks[&k].short_value.clone().map(Some),
            };
            let got = match MvccReader::new(&*snapshot).get(user_key(k).as_slice(), &read) {
                Ok(found) => found.map(|v| Some(v.value)),
                Err(Error::Key(KeyError::Locked(_))) => Some(None),
                Err(error) => panic!("{error}"),
            };
            prop_assert_eq!(&got, &expected);
            if k >= bounds.0 && k < bounds.1 && let Some(row) = expected {
                model.push((user_key(k), row));
            }
        }
        let range = EngineRange {
            start: user_key(bounds.0).encode().into_vec().into(),
            end: user_key(bounds.1).encode().into_vec().into(),
        };
        let options = ScanOptions { range, read: read.clone(), key_only: false, fill_cache: true };
        for rows_max in [1, 2, 100] {
            for reverse in [false, true] {
                let mut expected = model.clone();
                if reverse {
                    expected.reverse();
                }
                prop_assert_eq!(in_pages(&engine.snapshot(), bounds, &read, reverse, rows_max), expected);
            }
        }
        let mut forward = ForwardScanner::new(engine.snapshot(), options.clone()).expect("a scan starts");
        prop_assert_eq!(collect(|| Ok(forward.next()?.map(owned))), model.clone());
        let mut backward = BackwardScanner::new(engine.snapshot(), options).expect("a scan starts");
        model.reverse();
        prop_assert_eq!(collect(|| Ok(backward.next()?.map(owned))), model);
    }
}

#[test]
fn own_records_are_found_among_others() {
    let history = History::from([((3, 5), Event::Put { is_long: false }), ((3, 7), Event::Delete)]);
    let engine = load(&history, &BTreeMap::new());
    let snapshot = engine.snapshot();
    let mut reader = MvccReader::new(&*snapshot);
    let key: EncodedKey = user_key(3).encode();
    let committed = reader.own_record(&key, Timestamp(9)).expect("reads");
    assert!(matches!(committed, OwnRecord::Committed { commit_ts: Timestamp(10), .. }));
    // Timestamp 10 is the commit of another transaction; the next newer version is at 14.
    let overlapped = reader.own_record(&key, Timestamp(10)).expect("reads");
    assert!(matches!(overlapped, OwnRecord::None { overlapped: Some((_, Some(Timestamp(14)))) }));
    assert_eq!(reader.own_record(&key, Timestamp(11)).expect("reads"), OwnRecord::None { overlapped: None });
}
