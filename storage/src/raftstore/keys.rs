//! The local column family: what a store keeps of itself and its regions, beside the data.
//!
//! ```text
//! 0x01                                      → StoreIdent
//! 0x02 │ region id, 8 bytes big endian │ 0x01 → ApplyState
//! 0x02 │ region id, 8 bytes big endian │ 0x02 → RegionLocalState
//! ```

use super::StoreError;
use crate::engine::{Cf, Engine, EngineError, IterOptions, Modify};
use basalt_common::RegionId;
use basalt_proto::raft::{ApplyState, RegionLocalState, StoreIdent};
use bytes::Bytes;
use prost::Message;

/// The log of a region begins behind this index, with this term, as if everything before had been compacted away: a peer
/// without data can then only be served by a snapshot.
pub const INIT_LOG: u64 = 5;

const IDENT: &[u8] = &[1];
const REGION: u8 = 2;
const APPLY: u8 = 1;
const LOCAL: u8 = 2;

fn region_key(region: RegionId, tag: u8) -> Bytes {
    let mut key = Vec::with_capacity(10);
    key.push(REGION);
    key.extend_from_slice(&region.0.to_be_bytes());
    key.push(tag);
    key.into()
}

/// Where the apply state of a region is.
pub fn apply_state_key(region: RegionId) -> Bytes {
    region_key(region, APPLY)
}

/// Where the state of a region is.
pub fn region_state_key(region: RegionId) -> Bytes {
    region_key(region, LOCAL)
}

/// Where the store's identity is.
pub fn ident_key() -> Bytes {
    Bytes::from_static(IDENT)
}

/// The change that records an apply state.
pub fn put_apply_state(region: RegionId, state: &ApplyState) -> Modify {
    Modify::Put { cf: Cf::Local, key: apply_state_key(region), value: state.encode_to_vec().into() }
}

/// The change that records a region's state.
pub fn put_region_state(region: RegionId, state: &RegionLocalState) -> Modify {
    Modify::Put { cf: Cf::Local, key: region_state_key(region), value: state.encode_to_vec().into() }
}

/// The change that records the store's identity.
pub fn put_ident(ident: &StoreIdent) -> Modify {
    Modify::Put { cf: Cf::Local, key: ident_key(), value: ident.encode_to_vec().into() }
}

/// A region's apply state.
///
/// # Errors
/// [`StoreError::Corrupt`] when it does not decode.
pub fn load_apply_state(engine: &dyn Engine, region: RegionId) -> Result<Option<ApplyState>, StoreError> {
    decode(engine.get(Cf::Local, &apply_state_key(region))?, "apply state")
}

/// A region's apply state as of the engine's last flush.
///
/// # Errors
/// [`StoreError::Corrupt`] when it does not decode.
pub fn load_flushed_apply_state(engine: &dyn Engine, region: RegionId) -> Result<Option<ApplyState>, StoreError> {
    decode(engine.get_flushed(Cf::Local, &apply_state_key(region))?, "apply state")
}

/// The store's identity.
///
/// # Errors
/// [`StoreError::Corrupt`] when it does not decode.
pub fn load_ident(engine: &dyn Engine) -> Result<Option<StoreIdent>, StoreError> {
    decode(engine.get(Cf::Local, IDENT)?, "store identity")
}

/// A region's state.
///
/// # Errors
/// [`StoreError::Corrupt`] when it does not decode.
pub fn load_region_state(engine: &dyn Engine, region: RegionId) -> Result<Option<RegionLocalState>, StoreError> {
    decode(engine.get(Cf::Local, &region_state_key(region))?, "region state")
}

/// The states of all regions, in order.
///
/// # Errors
/// [`StoreError::Corrupt`] when one does not decode.
pub fn load_region_states(engine: &dyn Engine) -> Result<Vec<(RegionId, RegionLocalState)>, StoreError> {
    let options = IterOptions {
        lower: Bytes::from_static(&[REGION]),
        upper: Bytes::from_static(&[REGION + 1]),
        ..IterOptions::default()
    };
    let snapshot = engine.snapshot();
    let mut iter = snapshot.iter(Cf::Local, options)?;
    let mut found = Vec::new();
    let mut valid = iter.seek_to_first()?;
    while valid {
        let key = iter.key();
        if key.len() == 10 && key[9] == LOCAL {
            let id = key[1..9].try_into().map(u64::from_be_bytes).map_err(|_| corrupt("region key"))?;
            let state = RegionLocalState::decode(iter.value()).map_err(|_| corrupt("region state"))?;
            found.push((RegionId(id), state));
        }
        valid = iter.next()?;
    }
    Ok(found)
}

fn decode<M: Message + Default>(value: Option<Bytes>, what: &str) -> Result<Option<M>, StoreError> {
    value.map(|v| M::decode(v).map_err(|_| corrupt(what))).transpose()
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Engine(EngineError::Corrupt(format!("{what} does not decode")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_formats_are_fixed() {
        assert_eq!(&ident_key()[..], b"\x01");
        assert_eq!(&apply_state_key(RegionId(7))[..], b"\x02\0\0\0\0\0\0\0\x07\x01");
        assert_eq!(&region_state_key(RegionId(7))[..], b"\x02\0\0\0\0\0\0\0\x07\x02");
    }
}
