//! Versions: how one map of bytes holds a history of values, locks included, and how it is read at a timestamp.
//!
//! **Problem.** Readers must see the database as of their timestamp while writers go on, and a transaction over many keys
//! must appear all at once. **Where.** Above the engine's snapshots, below the transaction actions and the coprocessor.
//! Nothing here writes, knows regions or waits.
//!
//! **Data** (Percolator §2.2, three column families):
//! ```text
//! lock     b                    → put, start_ts 7, primary a, ttl, value if short        a transaction in progress
//! write    a ⊕ !9               → put, start_ts 7, value if short                        visible from 9 on
//!          a ⊕ !5               → delete, start_ts 4
//!          a ⊕ !3               → rollback (of the transaction that started at 3)
//! default  a ⊕ !7               → value, when longer than 255 bytes
//! ```
//! Encodings: [`lock`], [`write`]. Keys are encoded user keys ([`basalt_common::key`]); `!` makes newer versions sort first.
//!
//! **Invariants.** A `write` entry at commit_ts c with start_ts s: s < c, or s = c for rollbacks. At most one lock record a key, with
//! one lock, or several that share the key. A put without inlined value has its value in `default` at its start_ts. Records of
//! kind lock and rollback change no value and are skipped by readers.
//!
//! **Reading at ts** ([`reader`] for points, [`scan`] for ranges): a lock that could commit at or below ts stops the
//! reader ([`Lock::verdict`]); otherwise the newest put or delete with commit_ts ≤ ts is the answer. Scanners walk `lock`
//! and `write` side by side in one pass, step over old versions a few times and then seek. A page ([`read_page`]) looks at
//! locks after it has its rows, and only as far as they go.
//!
//! **What goes when nobody reads it any more**: [`garbage`].

pub mod changes;
pub mod garbage;
pub mod lock;
mod page;
pub mod reader;
pub mod scan;
mod scan_reverse;
#[cfg(test)]
mod tests;
pub mod write;

pub use lock::{Lock, LockKind, ReadAt, Verdict};
pub use page::{Page, PageRequest, read_page};
pub use reader::{MvccReader, OwnRecord};
pub use scan::{ForwardScanner, Row, ScanStats};
pub use scan_reverse::BackwardScanner;
pub use write::{Write, WriteKind, WriteRef};

/// Values up to this length stand in the lock and in the commit record instead of the default family.
pub const SHORT_VALUE_MAX: usize = 255;
