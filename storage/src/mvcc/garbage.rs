//! Which records nobody reads any more: a page of them, newest first within each key.
//!
//! ```text
//! a ⊕ !12  put       ┐ at or above the safe point (10): all stay
//! a ⊕ !10  lock      ┘
//! a ⊕ !8   rollback    goes: no transaction that old is asked about
//! a ⊕ !7   put         stays: what a reader at 10 sees
//! a ⊕ !5   delete    ┐ go, with their values
//! a ⊕ !3   put       ┘
//! ```
//! If it were a deletion that a reader at the safe point finds at 7, it would go as well, but never before what it hides: a page
//! that ends between the two leaves it to the next, and a walk that is broken off leaves it where it is.
//!
//! It is for the caller to know that no transaction below the safe point has a lock anywhere, and that none of them writes
//! here any more ([`crate::gc`]).

use super::write::{WriteKind, WriteRef};
use crate::engine::{Cf, EngineRange, IterOptions, Modify, Snapshot};
use crate::error::Error;
use basalt_common::Timestamp;
use basalt_common::codec::encode_u64_desc;
use basalt_common::key::split_ts;
use bytes::Bytes;

/// How much is looked at, and taken, at a time. Both at least 2.
#[derive(Clone, Copy, Debug)]
pub struct PageLimits {
    /// Commit records looked at.
    pub records: usize,
    /// Changes made.
    pub changes: usize,
    /// Bytes of the changes' keys, about: they travel in one raft entry.
    pub bytes: usize,
}

/// What a look at some records found.
#[derive(Debug, Default)]
pub struct GarbagePage {
    /// Deletions of records and of their values.
    pub modifies: Vec<Modify>,
    /// Where to go on; `None` at the end of the range.
    pub next: Option<Place>,
    /// Records looked at.
    pub records: u64,
    /// Changes made, once they are.
    pub changes: u64,
    /// Of those that stay, how many go when the safe point has passed them.
    pub left: u64,
}

/// Where a walk goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first record, an engine key.
    pub at: Bytes,
    /// What is known of its key, if it is not the newest of it.
    within: Option<Box<Within>>,
}

/// A key of which newer records were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Within {
    key: Vec<u8>,
    found: bool,
    hides: Option<Modify>,
}

/// The records of one key, so far.
#[derive(Default)]
struct Versions {
    key: Vec<u8>,
    /// What a reader at the safe point finds was come by.
    found: bool,
    /// What it finds is nothing: the record goes behind those that it hides.
    hides: Option<Modify>,
    kept: u64,
    /// Whether the newest record that is data is a value.
    newest_is_value: Option<bool>,
}

impl Versions {
    fn finish(self, page: &mut GarbagePage) {
        page.modifies.extend(self.hides);
        page.left += self.kept - u64::from(self.kept > 0 && self.newest_is_value == Some(true));
    }
}

/// Looks at the commit records of `range`, from its start or from a place in it on.
///
/// # Errors
/// Of the engine, or [`crate::error::KeyError::Corrupt`].
pub fn garbage_page(
    snapshot: &dyn Snapshot,
    range: &EngineRange,
    from: Option<&Place>,
    safe_point: Timestamp,
    limits: PageLimits,
) -> Result<GarbagePage, Error> {
    let lower = from.map_or(&range.start, |place| &place.at).clone();
    let options = IterOptions { lower, upper: range.end.clone(), ..IterOptions::default() };
    let mut iter = snapshot.iter(Cf::Write, options)?;
    let mut page = GarbagePage::default();
    let mut versions = match from.and_then(|place| place.within.as_deref().cloned()) {
        // What is newer than the first record of this page may be anything.
        Some(Within { key, found, hides }) => {
            Versions { key, found, hides, newest_is_value: Some(false), ..Versions::default() }
        }
        None => Versions::default(),
    };
    let mut bytes = 0;
    let mut valid = iter.seek_to_first()?;
    while valid {
        let (key, commit_ts) = split_ts(iter.key())?;
        let is_newest = key != versions.key;
        if is_newest {
            let next = Versions { key: key.to_vec(), ..Versions::default() };
            std::mem::replace(&mut versions, next).finish(&mut page);
        }
        let is_full = page.modifies.len() >= limits.changes || bytes >= limits.bytes;
        if page.records as usize >= limits.records || is_full {
            page.left += versions.kept;
            let Versions { key, found, hides, .. } = versions;
            let within = (!is_newest).then(|| Box::new(Within { key, found, hides }));
            page.next = Some(Place { at: Bytes::copy_from_slice(iter.key()), within });
            return Ok(page);
        }
        page.records += 1;
        let record = WriteRef::decode(iter.value())?;
        let is_data = matches!(record.kind, WriteKind::Put | WriteKind::Delete);
        if is_data {
            versions.newest_is_value.get_or_insert(record.kind == WriteKind::Put);
        }
        let delete = |cf, key| Modify::Delete { cf, key };
        let here = Bytes::copy_from_slice(iter.key());
        if commit_ts >= safe_point {
            versions.kept += 1;
        } else if is_data && !versions.found {
            versions.found = true;
            match record.kind == WriteKind::Put && record.is_current_at(safe_point) {
                true => versions.kept += 1,
                false => {
                    page.modifies.extend(long_value(key, &record));
                    versions.hides = Some(delete(Cf::Write, here));
                }
            }
        } else {
            bytes += 2 * here.len();
            page.modifies.extend(long_value(key, &record));
            page.modifies.push(delete(Cf::Write, here));
        }
        valid = iter.next()?;
    }
    versions.finish(&mut page);
    Ok(page)
}

/// The deletion of a put's value, when that stands in a place of its own.
fn long_value(key: &[u8], record: &WriteRef<'_>) -> Option<Modify> {
    let is_long = record.kind == WriteKind::Put && record.short_value.is_none();
    is_long.then(|| {
        let mut at = key.to_vec();
        encode_u64_desc(&mut at, record.start_ts.0);
        Modify::Delete { cf: Cf::Default, key: at.into() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::memory::MemoryEngine;
    use crate::mvcc::{MvccReader, ReadAt, Write};
    use basalt_common::UserKey;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    const LAST: u64 = 40;
    const ALL: EngineRange = EngineRange { start: Bytes::new(), end: Bytes::new() };

    fn engine_key(name: u8, ts: u64) -> Bytes {
        let mut key = UserKey::from(vec![name]).encode().into_vec();
        encode_u64_desc(&mut key, ts);
        key.into()
    }

    /// A history of a few keys: puts with short and long values, deletions, locks, rollbacks, and records that were written a
    /// second time under newer ones.
    fn history(chance: &mut SmallRng) -> MemoryEngine {
        let engine = MemoryEngine::new();
        let put = |cf, key, value: &Bytes| Modify::Put { cf, key, value: value.clone() };
        for name in b'a'..b'e' {
            let mut newer: Option<u64> = None;
            for commit_ts in (2..LAST).rev().filter(|_| chance.random_bool(0.4)).collect::<Vec<_>>() {
                let kind = chance.random_range(0..10);
                let start_ts = Timestamp(commit_ts - 1);
                let value = Bytes::from(format!("{}@{commit_ts}", char::from(name)));
                let mut record = match kind {
                    0..3 => Write::new(WriteKind::Put, start_ts, Some(value.clone())),
                    3..5 => Write::new(WriteKind::Put, start_ts, None),
                    5..8 => Write::new(WriteKind::Delete, start_ts, None),
                    8 => Write::new(WriteKind::Lock, start_ts, None),
                    _ => Write::rollback(Timestamp(commit_ts), true),
                };
                if kind < 8 && chance.random_bool(0.2) {
                    record.gc_fence = Some(newer.map_or(Timestamp::ZERO, Timestamp));
                    record.has_overlapped_rollback = true;
                }
                if kind < 8 {
                    newer = Some(commit_ts);
                }
                let mut batch = vec![put(Cf::Write, engine_key(name, commit_ts), &record.encode())];
                if (3..5).contains(&kind) {
                    batch.push(put(Cf::Default, engine_key(name, commit_ts - 1), &value));
                }
                engine.write(&batch).expect("memory");
            }
        }
        engine
    }

    fn seen(engine: &MemoryEngine, from: u64) -> Vec<Option<Bytes>> {
        let snapshot = engine.snapshot();
        let mut reader = MvccReader::new(&*snapshot);
        let reads = (b'a'..b'e').flat_map(|name| (from..=LAST + 1).map(move |ts| (name, ts)));
        let mut read = |(name, ts)| reader.get(&[name], &ReadAt::at(Timestamp(ts))).expect("readable");
        reads.map(|at| read(at).map(|found| found.value)).collect()
    }

    fn entries(engine: &MemoryEngine, cf: Cf) -> Vec<(Bytes, Bytes)> {
        let snapshot = engine.snapshot();
        let mut iter = snapshot.iter(cf, IterOptions::default()).expect("memory");
        let mut valid = iter.seek_to_first().expect("memory");
        let mut found = Vec::new();
        while valid {
            found.push((Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value())));
            valid = iter.next().expect("memory");
        }
        found
    }

    #[test]
    fn readers_at_and_above_the_safe_point_see_the_same_and_nothing_else_is_left() {
        for seed in 0..400 {
            let mut chance = SmallRng::seed_from_u64(seed);
            let engine = history(&mut chance);
            let safe_point = chance.random_range(1..=LAST);
            let limits = PageLimits {
                records: chance.random_range(2..20),
                changes: chance.random_range(2..8),
                bytes: chance.random_range(20..400),
            };
            let before = seen(&engine, safe_point);
            let (mut from, mut pages, mut left) = (None, 0, 0);
            loop {
                let page = garbage_page(&*engine.snapshot(), &ALL, from.as_ref(), Timestamp(safe_point), limits)
                    .expect("decodes");
                engine.write(&page.modifies).expect("memory");
                assert_eq!(seen(&engine, safe_point), before, "seed {seed}, page {pages}");
                (pages, left) = (pages + 1, left + page.left);
                assert!(pages < 500, "seed {seed} makes no progress");
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
            let again = garbage_page(&*engine.snapshot(), &ALL, None, Timestamp(safe_point), BIG).expect("decodes");
            assert!(again.modifies.is_empty(), "seed {seed}: {:?}", again.modifies);
            assert!(left >= again.left, "seed {seed}: {left} of {}", again.left);
            // When everything is below the safe point, each key has one value or nothing, and each value a record.
            let all = garbage_page(&*engine.snapshot(), &ALL, None, Timestamp(LAST + 1), BIG).expect("decodes");
            engine.write(&all.modifies).expect("memory");
            assert_eq!(all.left, 0, "seed {seed}");
            let writes = entries(&engine, Cf::Write);
            let long = writes.iter().filter(|(_, value)| {
                let record = WriteRef::decode(value).expect("decodes");
                assert_eq!(record.kind, WriteKind::Put, "seed {seed}");
                record.short_value.is_none()
            });
            assert_eq!(long.count(), entries(&engine, Cf::Default).len(), "seed {seed}");
            assert!(writes.len() <= 4, "seed {seed}");
        }
    }

    const BIG: PageLimits = PageLimits { records: 1_000, changes: 1_000, bytes: 1 << 20 };
}
