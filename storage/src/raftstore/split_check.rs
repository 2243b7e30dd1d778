//! Where to split a region that has grown too large.
//!
//! Both families that grow (write with its inlined values, default) are walked once; every so many bytes the user key met
//! is noted with the bytes since the last note. The notes of both, in key order, tell where the region's bytes divide
//! evenly. A split key is a whole user key, so that no key's versions are torn apart.

use super::StoreError;
use crate::engine::{Cf, EngineRange, IterOptions, Snapshot};
use basalt_common::key::{decode_user_key, split_ts};
use basalt_common::{Region, UserKey};

/// Notes a walk takes, at most about.
const NOTES: u64 = 256;

/// Keys that split a region of more than `max_bytes` into parts of about `split_bytes`; none when it is smaller.
///
/// # Errors
/// [`StoreError`] when the engine cannot be read or a key does not decode.
pub fn find_split_keys(
    snapshot: &dyn Snapshot,
    region: &Region,
    split_bytes: u64,
    max_bytes: u64,
) -> Result<Vec<UserKey>, StoreError> {
    let step = (split_bytes / NOTES).max(1);
    let mut notes: Vec<(UserKey, u64)> = Vec::new();
    for cf in [Cf::Write, Cf::Default] {
        walk(snapshot, cf, region, step, &mut notes)?;
    }
    notes.sort();
    let total: u64 = notes.iter().map(|(_, bytes)| bytes).sum();
    if total <= max_bytes {
        return Ok(Vec::new());
    }
    let parts = ((total + split_bytes / 2) / split_bytes.max(1)).max(2);
    let part = total / parts;
    let mut keys: Vec<UserKey> = Vec::new();
    let mut before = 0;
    for (key, bytes) in notes {
        let wanted = part * (keys.len() as u64 + 1);
        let fits = key > region.range.start && keys.last().is_none_or(|last| *last < key);
        if before >= wanted && fits && (keys.len() as u64) + 1 < parts {
            keys.push(key);
        }
        before += bytes;
    }
    Ok(keys)
}

/// Notes (user key, bytes from it on).
fn walk(
    snapshot: &dyn Snapshot,
    cf: Cf,
    region: &Region,
    step: u64,
    notes: &mut Vec<(UserKey, u64)>,
) -> Result<(), StoreError> {
    let EngineRange { start, end } = EngineRange::from(&region.range);
    let options = IterOptions { lower: start, upper: end, fill_cache: false, ..IterOptions::default() };
    let mut iter = snapshot.iter(cf, options)?;
    let mut valid = iter.seek_to_first()?;
    let mut since = step;
    while valid {
        let bytes = (iter.key().len() + iter.value().len()) as u64;
        if since >= step {
            let corrupt = |e| StoreError::Corrupt(format!("a key of region {}: {e}", region.id));
            let (encoded, _) = split_ts(iter.key()).map_err(corrupt)?;
            notes.push((decode_user_key(encoded).map_err(corrupt)?, 0));
            since = 0;
        }
        if let Some(last) = notes.last_mut() {
            last.1 += bytes;
        }
        since += bytes;
        valid = iter.next()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::MemoryEngine;
    use crate::engine::{Engine, Modify};
    use basalt_common::{Epoch, KeyRange, RegionId, Timestamp};

    #[test]
    fn a_large_region_is_divided_evenly_at_user_keys() {
        let engine = MemoryEngine::new();
        let put = |i: u32, ts: u64| Modify::Put {
            cf: Cf::Write,
            key: UserKey(format!("k{i:04}").into_bytes().into()).encode().with_ts(Timestamp(ts)).into(),
            value: vec![0; 80].into(),
        };
        let batch: Vec<Modify> = (0..1000).flat_map(|i| [put(i, 1), put(i, 2)]).collect();
        engine.write(&batch).expect("memory");
        let region = Region { id: RegionId(1), range: KeyRange::all(), epoch: Epoch::default(), peers: Vec::new() };
        let find = |split, max| find_split_keys(&*engine.snapshot(), &region, split, max).expect("memory");
        assert_eq!(find(1 << 20, 2 << 20), []);
        let keys: Vec<String> = find(50_000, 60_000).iter().map(ToString::to_string).collect();
        assert_eq!(keys.len(), 3);
        assert!(keys[0].as_str() > "k0240" && keys[0].as_str() < "k0260", "{keys:?}");
        assert!(keys[1].as_str() > "k0490" && keys[1].as_str() < "k0510", "{keys:?}");
    }
}
