//! The cluster's words: what SQL servers, stores and PD must agree on, and nothing that does I/O.
//!
//! | module | holds |
//! |---|---|
//! | [`id`] | the ids of regions, stores, peers, tables and indexes, each its own type |
//! | [`ts`] | [`ts::Timestamp`]: 46 bits of milliseconds, 18 of counter |
//! | [`codec`] | memcomparable encodings: byte order of the encoding = order of the values |
//! | [`key`] | user keys, encoded keys, ranges |
//! | [`table_key`] | where rows, index entries and the catalog lie in the key space |
//! | [`region`] | regions, epochs, peers, and their conversion from and to messages |
//! | [`env`] | the clock and the source of chance, handed to constructors |
//! | [`pairs`] | keys and values in one buffer, as answers carry them |
//! | [`metrics`] | what a process counts, in one list |
//! | [`memory`] | who holds how many bytes: the tree of trackers |
//! | [`stack`] | how deep recursions may go |
//!
//! Invariants, as absences: nothing here is `async`, nothing reads the system clock outside [`env`], nothing knows SQL,
//! Raft or RocksDB.

pub mod codec;
pub mod env;
pub mod id;
pub mod key;
pub mod memory;
pub mod metrics;
pub mod mutant;
pub mod pairs;
pub mod region;
pub mod stack;
pub mod table_key;
pub mod ts;

pub use id::{IndexId, PeerId, RegionId, StoreId, TableId};
pub use key::{EncodedKey, KeyRange, UserKey};
pub use region::{Epoch, Peer, PeerRole, Region};
pub use ts::Timestamp;
