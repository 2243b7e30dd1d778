//! What entries mean: changes to and from their form in the log, the regions that a split makes, a region's hash.

use crate::engine::{Cf, DATA_CFS, EngineRange, IterOptions, Modify, Snapshot};
use crate::raftstore::StoreError;
use crate::raftstore::message::RegionHash;
use basalt_common::{Epoch, KeyRange, Peer, PeerId, Region, RegionId, UserKey};
use basalt_proto::raft::{ModifyKind, SplitCommand};
use bytes::Bytes;

/// The regions that a split makes, left to right; `None` when the command does not fit the region.
pub(super) fn split_region(old: &Region, split: &SplitCommand) -> Option<Vec<Region>> {
    let mut keys: Vec<UserKey> = vec![old.range.start.clone()];
    for new in &split.regions {
        let key = UserKey(new.split_key.clone());
        let fits = old.contains(key.as_slice()) && keys.last().is_some_and(|last| *last < key);
        if !fits || new.peer_ids.len() != old.peers.len() {
            return None;
        }
        keys.push(key);
    }
    keys.push(old.range.end.clone());
    if split.regions.is_empty() {
        return None;
    }
    let epoch = Epoch { version: old.epoch.version + split.regions.len() as u64, ..old.epoch };
    let range = |i: usize| KeyRange { start: keys[i].clone(), end: keys[i + 1].clone() };
    let mut regions = vec![Region { range: range(0), epoch, ..old.clone() }];
    for (i, new) in split.regions.iter().enumerate() {
        let peers = old.peers.iter().zip(&new.peer_ids).map(|(p, &id)| Peer { id: PeerId(id), ..*p }).collect();
        regions.push(Region { id: RegionId(new.region_id), range: range(i + 1), epoch, peers });
    }
    Some(regions)
}

/// The change that an entry holds.
pub(super) fn decode_modify(modify: basalt_proto::raft::Modify) -> Result<Modify, StoreError> {
    let cf = match modify.cf() {
        basalt_proto::raft::Cf::Default => Cf::Default,
        basalt_proto::raft::Cf::Lock => Cf::Lock,
        basalt_proto::raft::Cf::Write => Cf::Write,
    };
    Ok(match modify.kind() {
        ModifyKind::Put => Modify::Put { cf, key: modify.key, value: modify.value },
        ModifyKind::Delete => Modify::Delete { cf, key: modify.key },
        ModifyKind::DeleteRange => Modify::DeleteRange { cf, start: modify.key, end: modify.value },
    })
}

/// The form of a change in the log.
///
/// # Panics
/// Never for the data families; the local family is not replicated and has no form.
pub fn encode_modify(modify: Modify) -> basalt_proto::raft::Modify {
    let family = |cf: Cf| match cf {
        Cf::Lock => basalt_proto::raft::Cf::Lock as i32,
        Cf::Write => basalt_proto::raft::Cf::Write as i32,
        Cf::Default | Cf::Local => basalt_proto::raft::Cf::Default as i32,
    };
    let (kind, cf, key, value) = match modify {
        Modify::Put { cf, key, value } => (ModifyKind::Put, cf, key, value),
        Modify::Delete { cf, key } => (ModifyKind::Delete, cf, key, Bytes::new()),
        Modify::DeleteRange { cf, start, end } => (ModifyKind::DeleteRange, cf, start, end),
    };
    assert!(cf != Cf::Local, "the local family is not replicated");
    basalt_proto::raft::Modify { kind: kind as i32, cf: family(cf), key, value }
}

/// FNV-1a over (family, key length, key, value length, value) of every entry of a range.
///
/// # Errors
/// [`StoreError::Engine`] when the engine cannot be read.
pub fn hash_region(snapshot: &dyn Snapshot, range: &KeyRange) -> Result<RegionHash, StoreError> {
    let EngineRange { start, end } = range.into();
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut keys = 0;
    let mut feed = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (tag, cf) in DATA_CFS.into_iter().enumerate() {
        let options = IterOptions { lower: start.clone(), upper: end.clone(), ..IterOptions::default() };
        let mut iter = snapshot.iter(cf, options)?;
        let mut valid = iter.seek_to_first()?;
        while valid {
            feed(&[tag as u8]);
            feed(&(iter.key().len() as u32).to_be_bytes());
            feed(iter.key());
            feed(&(iter.value().len() as u32).to_be_bytes());
            feed(iter.value());
            keys += 1;
            valid = iter.next()?;
        }
    }
    Ok(RegionHash { applied_index: 0, hash, keys })
}
