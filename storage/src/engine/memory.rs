//! The simulated engine: ordered maps whose entries keep the versions that live snapshots still see.
//!
//! ```text
//! key → [(seq 9, value), (seq 4, deleted), (seq 2, value)]     newest first
//!                          └ a snapshot at seq 5 sees the key deleted
//! undo: key → value before the first write since the last flush
//! ```
//! A write takes the next sequence number and cuts from each chain it touches what no live snapshot can see, so that a
//! map without snapshots holds one version a key. A snapshot is a sequence number, registered until it is dropped.
//!
//! The disk is modeled by what was there at the last flush: `undo` remembers, for every key written since, what it was.
//! [`MemoryEngine::crash`] puts that back; [`Engine::get_flushed`] looks there first. Faults ([`MemoryFaults`]) make
//! writes or flushes fail, or stall until released.
//!
//! Not modeled: torn writes (RocksDB's batches are atomic) and bit rot.

use super::{
    ApproximateSize, Cf, DiskSpace, Engine, EngineError, EngineIterator, EngineRange, ExportedFile, IterOptions,
    Modify, Snapshot,
};
use basalt_common::codec;
use basalt_common::key::TS_LEN;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Chains longer than one that a map may hold before a write sweeps it.
const SWEEP_THRESHOLD: usize = 4096;

/// An engine in memory. Cheap to clone: clones are the same engine.
#[derive(Clone, Default)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

/// What shall go wrong.
#[derive(Clone, Default, Debug)]
pub struct MemoryFaults {
    /// Every write fails so and changes nothing.
    pub fail_writes: Option<EngineError>,
    /// Every flush fails so and makes nothing durable.
    pub fail_flushes: Option<EngineError>,
    /// Writes and flushes block their thread until this is false again. Single-threaded simulations use `delay`.
    pub stalled: bool,
    /// What [`Engine::suggested_delay`] answers.
    pub delay: Duration,
}

#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    faults: Mutex<MemoryFaults>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    families: [BTreeMap<Bytes, Chain>; 4],
    seq: u64,
    /// Sequence numbers of live snapshots, with how many share one.
    live: BTreeMap<u64, usize>,
    /// Values before the first write since the last flush.
    undo: BTreeMap<(Cf, Bytes), Option<Bytes>>,
    long_chains: usize,
}

/// Versions of a key, newest first; a tombstone is `None`.
type Chain = Vec<(u64, Option<Bytes>)>;

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what goes wrong from now on; releases whoever is stalled when the stall ends.
    pub fn set_faults(&self, faults: MemoryFaults) {
        *self.shared.faults.lock() = faults;
        self.shared.released.notify_all();
    }

    /// Loses everything written since the last flush, as a machine without power does. Live snapshots stay as they were.
    pub fn crash(&self) {
        let mut state = self.shared.state.write();
        let undo = std::mem::take(&mut state.undo);
        state.seq += 1;
        for ((cf, key), value) in undo {
            state.set(cf, key, value);
        }
    }

    fn pass_faults(&self, pick: impl Fn(&MemoryFaults) -> Option<EngineError>) -> Result<(), EngineError> {
        let mut faults = self.shared.faults.lock();
        while faults.stalled {
            self.shared.released.wait(&mut faults);
        }
        pick(&faults).map_or(Ok(()), Err)
    }
}

impl State {
    fn set(&mut self, cf: Cf, key: Bytes, value: Option<Bytes>) {
        let seq = self.seq;
        let live = &self.live;
        let chain = self.families[cf as usize].entry(key.clone()).or_default();
        let was_long = chain.len() > 1;
        if chain.first().is_some_and(|(newest, _)| *newest == seq) {
            chain[0].1 = value;
        } else {
            chain.insert(0, (seq, value));
        }
        prune(chain, live);
        let dead = chain.len() == 1 && chain[0].1.is_none();
        let is_long = chain.len() > 1;
        if dead {
            self.families[cf as usize].remove(&key);
        }
        self.long_chains = self.long_chains + usize::from(is_long) - usize::from(was_long && self.long_chains > 0);
    }

    fn set_recorded(&mut self, cf: Cf, key: Bytes, value: Option<Bytes>) {
        if !self.undo.contains_key(&(cf, key.clone())) {
            let before = self.visible(cf, &key, u64::MAX);
            self.undo.insert((cf, key.clone()), before);
        }
        self.set(cf, key, value);
    }

    fn visible(&self, cf: Cf, key: &[u8], seq: u64) -> Option<Bytes> {
        self.families[cf as usize].get(key).and_then(|chain| at(chain, seq))
    }

    fn keys_in(&self, cf: Cf, range: &EngineRange) -> Vec<Bytes> {
        let map = &self.families[cf as usize];
        if !range.end.is_empty() && range.start >= range.end {
            return Vec::new();
        }
        let end = if range.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(range.end.clone()) };
        map.range((Bound::Included(range.start.clone()), end)).map(|(key, _)| key.clone()).collect()
    }

    /// Drops from all chains what no snapshot sees; only when enough has piled up.
    fn sweep(&mut self) {
        if self.long_chains < SWEEP_THRESHOLD {
            return;
        }
        let live = &self.live;
        let mut long = 0;
        for family in &mut self.families {
            family.retain(|_, chain| {
                prune(chain, live);
                long += usize::from(chain.len() > 1);
                chain.len() > 1 || chain[0].1.is_some()
            });
        }
        // What snapshots still hold must not be swept again at once.
        self.long_chains = long / 2;
    }
}

fn at(chain: &Chain, seq: u64) -> Option<Bytes> {
    chain.iter().find(|(version, _)| *version <= seq).and_then(|(_, value)| value.clone())
}

/// Keeps the newest version and those that a live snapshot sees.
fn prune(chain: &mut Chain, live: &BTreeMap<u64, usize>) {
    let mut newer = u64::MAX;
    let mut index = 0;
    chain.retain(|(seq, _)| {
        let keep = index == 0 || live.range(*seq..newer).next().is_some();
        index += 1;
        newer = *seq;
        keep
    });
}

impl Engine for MemoryEngine {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        let mut state = self.shared.state.write();
        let seq = state.seq;
        *state.live.entry(seq).or_default() += 1;
        drop(state);
        Arc::new(MemorySnapshot { pin: Arc::new(Pin { shared: Arc::clone(&self.shared), seq }) })
    }

    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.shared.state.read().visible(cf, key, u64::MAX))
    }

    fn get_flushed(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let state = self.shared.state.read();
        match state.undo.get(&(cf, Bytes::copy_from_slice(key))) {
            Some(before) => Ok(before.clone()),
            None => Ok(state.visible(cf, key, u64::MAX)),
        }
    }

    fn write(&self, batch: &[Modify]) -> Result<(), EngineError> {
        self.pass_faults(|faults| faults.fail_writes.clone())?;
        let mut state = self.shared.state.write();
        state.seq += 1;
        for modify in batch {
            match modify {
                Modify::Put { cf, key, value } => state.set_recorded(*cf, key.clone(), Some(value.clone())),
                Modify::Delete { cf, key } => state.set_recorded(*cf, key.clone(), None),
                Modify::DeleteRange { cf, start, end } => {
                    let range = EngineRange { start: start.clone(), end: end.clone() };
                    for key in state.keys_in(*cf, &range) {
                        state.set_recorded(*cf, key, None);
                    }
                }
            }
        }
        state.sweep();
        Ok(())
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.pass_faults(|faults| faults.fail_flushes.clone())?;
        self.shared.state.write().undo.clear();
        Ok(())
    }

    fn approximate_size(&self, cf: Cf, range: &EngineRange) -> Result<ApproximateSize, EngineError> {
        let state = self.shared.state.read();
        let mut size = ApproximateSize::default();
        for key in state.keys_in(cf, range) {
            if let Some(value) = state.visible(cf, &key, u64::MAX) {
                size.keys += 1;
                size.bytes += (key.len() + value.len()) as u64;
            }
        }
        Ok(size)
    }

    /// The file is a plain list of entries: `varint key length, key, varint value length, value`, repeated.
    fn export(
        &self,
        snapshot: &dyn Snapshot,
        cf: Cf,
        range: &EngineRange,
        path: &Path,
    ) -> Result<ExportedFile, EngineError> {
        let options = IterOptions { lower: range.start.clone(), upper: range.end.clone(), ..Default::default() };
        let mut iter = snapshot.iter(cf, options)?;
        let (mut out, mut entries) = (Vec::new(), 0);
        let mut valid = iter.seek_to_first()?;
        while valid {
            for part in [iter.key(), iter.value()] {
                codec::encode_varint(&mut out, part.len() as u64);
                out.extend_from_slice(part);
            }
            entries += 1;
            valid = iter.next()?;
        }
        if entries == 0 {
            return Ok(ExportedFile { size_bytes: 0, entries: 0, crc32: 0 });
        }
        std::fs::write(path, &out).map_err(|e| EngineError::Io(format!("{}: {e}", path.display())))?;
        Ok(ExportedFile { size_bytes: out.len() as u64, entries, crc32: crc32fast::hash(&out) })
    }

    /// Durable at return, as an ingested file of RocksDB is.
    fn ingest(&self, cf: Cf, path: &Path) -> Result<(), EngineError> {
        self.pass_faults(|faults| faults.fail_writes.clone())?;
        let file = std::fs::read(path).map_err(|e| EngineError::Io(format!("{}: {e}", path.display())))?;
        let corrupt = || EngineError::Corrupt(format!("{} is not an exported file", path.display()));
        let mut rest = &file[..];
        let mut part = || -> Result<Option<Bytes>, EngineError> {
            if rest.is_empty() {
                return Ok(None);
            }
            let len = codec::decode_varint(&mut rest).map_err(|_| corrupt())? as usize;
            let (head, tail) = rest.split_at_checked(len).ok_or_else(corrupt)?;
            rest = tail;
            Ok(Some(Bytes::copy_from_slice(head)))
        };
        let mut entries = Vec::new();
        while let Some(key) = part()? {
            entries.push((key, part()?.ok_or_else(corrupt)?));
        }
        let mut state = self.shared.state.write();
        state.seq += 1;
        for (key, value) in entries {
            state.undo.remove(&(cf, key.clone()));
            state.set(cf, key, Some(value));
        }
        Ok(())
    }

    fn compact_range(&self, _range: &EngineRange) {}

    fn disk_bytes(&self) -> u64 {
        let state = self.shared.state.read();
        let all = state.families.iter().flatten();
        all.map(|(key, chain)| (key.len() + chain[0].1.as_ref().map_or(0, Bytes::len)) as u64).sum()
    }

    fn disk_space(&self) -> Option<DiskSpace> {
        None
    }

    fn suggested_delay(&self) -> Duration {
        self.shared.faults.lock().delay
    }
}

/// Keeps a sequence number alive.
struct Pin {
    shared: Arc<Shared>,
    seq: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.shared.state.write();
        if let Some(count) = state.live.get_mut(&self.seq) {
            *count -= 1;
            if *count == 0 {
                state.live.remove(&self.seq);
            }
        }
    }
}

struct MemorySnapshot {
    pin: Arc<Pin>,
}

impl Snapshot for MemorySnapshot {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.pin.shared.state.read().visible(cf, key, self.pin.seq))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Result<Box<dyn EngineIterator>, EngineError> {
        Ok(Box::new(MemoryIterator { pin: Arc::clone(&self.pin), cf, options, prefix: None, current: None }))
    }
}

/// Looks its neighbor up at each step; holds no lock in between.
struct MemoryIterator {
    pin: Arc<Pin>,
    cf: Cf,
    options: IterOptions,
    prefix: Option<Bytes>,
    current: Option<(Bytes, Bytes)>,
}

impl MemoryIterator {
    fn step(&mut self, from: Bound<&[u8]>, forward: bool) -> bool {
        let lower: Bound<&[u8]> = Bound::Included(&self.options.lower);
        let upper: Bound<&[u8]> =
            if self.options.upper.is_empty() { Bound::Unbounded } else { Bound::Excluded(&self.options.upper) };
        let (low, high) = if forward { (max_start(from, lower), upper) } else { (lower, min_end(from, upper)) };
        self.current = None;
        if is_empty(low, high) {
            return false;
        }
        let state = self.pin.shared.state.read();
        let map = &state.families[self.cf as usize];
        let entry = |(key, chain): (&Bytes, &Chain)| at(chain, self.pin.seq).map(|value| (key.clone(), value));
        let mut range = map.range::<[u8], _>((low, high));
        self.current = if forward { range.find_map(entry) } else { range.rev().find_map(entry) };
        drop(state);
        if let (Some(prefix), Some((key, _))) = (&self.prefix, &self.current)
            && prefix_of(key) != &prefix[..]
        {
            self.current = None;
        }
        self.current.is_some()
    }

    fn set_prefix(&mut self, key: &[u8]) {
        self.prefix = self.options.prefix_same_as_start.then(|| Bytes::copy_from_slice(prefix_of(key)));
    }
}

fn prefix_of(key: &[u8]) -> &[u8] {
    &key[..key.len().saturating_sub(TS_LEN)]
}

fn max_start<'a>(a: Bound<&'a [u8]>, lower: Bound<&'a [u8]>) -> Bound<&'a [u8]> {
    match (a, lower) {
        (Bound::Included(key) | Bound::Excluded(key), Bound::Included(low)) if key >= low => a,
        _ => lower,
    }
}

fn min_end<'a>(a: Bound<&'a [u8]>, upper: Bound<&'a [u8]>) -> Bound<&'a [u8]> {
    match (a, upper) {
        (Bound::Included(key), Bound::Excluded(high)) if key < high => a,
        (Bound::Excluded(key), Bound::Excluded(high)) if key <= high => a,
        (Bound::Included(_) | Bound::Excluded(_), Bound::Unbounded) => a,
        _ => upper,
    }
}

fn is_empty(low: Bound<&[u8]>, high: Bound<&[u8]>) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
        _ => false,
    }
}

impl EngineIterator for MemoryIterator {
    fn seek(&mut self, key: &[u8]) -> Result<bool, EngineError> {
        self.set_prefix(key);
        Ok(self.step(Bound::Included(key), true))
    }
    fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool, EngineError> {
        self.set_prefix(key);
        Ok(self.step(Bound::Included(key), false))
    }
    fn seek_to_first(&mut self) -> Result<bool, EngineError> {
        self.prefix = None;
        Ok(self.step(Bound::Unbounded, true))
    }
    fn seek_to_last(&mut self) -> Result<bool, EngineError> {
        self.prefix = None;
        Ok(self.step(Bound::Unbounded, false))
    }
    fn next(&mut self) -> Result<bool, EngineError> {
        let Some((key, _)) = self.current.take() else { return Ok(false) };
        Ok(self.step(Bound::Excluded(&key), true))
    }
    fn prev(&mut self) -> Result<bool, EngineError> {
        let Some((key, _)) = self.current.take() else { return Ok(false) };
        Ok(self.step(Bound::Excluded(&key), false))
    }
    fn valid(&self) -> bool {
        self.current.is_some()
    }
    fn key(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |(key, _)| key)
    }
    fn value(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |(_, value)| value)
    }
}
