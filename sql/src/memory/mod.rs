//! A connection's part of the memory tree, and who is sent away when the process holds too much.
//!
//! ```text
//! ConnectionEntry ── SessionMemory ─┬─ session     what outlives a statement: writes of the transaction, packets
//!                                   │  └─ kept     variables, prepared statements: within tidb_mem_quota_query, too
//!                                   └─ statement   begun anew with each command, within tidb_mem_quota_query
//!                       ▲
//! Governor ── every 25 ms: resident memory over memory_limit? ── the largest statement is ended (8176)
//! ```
//! | what | counted by | when it is too much |
//! |---|---|---|
//! | text, tree, bound statement, plans | [`heap`](basalt_common::memory::heap) | 8175 from wherever the statement is then |
//! | DataFusion's operators | `expr::memory_pool`, and measured from outside ([`measured`]) | they spill, else 8175 |
//! | long strings that expressions make | [`check_growth`](basalt_common::memory::heap::check_growth), asked once a MiB | few rows at a time (`expr::slices`), else 8175 |
//! | rows of the short path | an account of the result | 8175 |
//! | writes of a transaction, and how to undo them | an account of its buffer | 8004 by `basalt_txn_bytes_max` |
//! | user variables, prepared statements, their long data | accounts of what the session keeps | 8175, and it keeps what it had |
//! | a packet being received, a row being sent | accounts of the connection | `max_allowed_packet` |
//! | plan cache | not counted: bounded by its number of plans and the length of their texts | its oldest go |
//! | batches of the coprocessor | a tracker a store, and a meter a request | partial results are sent early, else 8175 |
//!
//! What nobody counts (RocksDB's caches, the allocator's own) is seen by the governor as resident memory.
//!
//! Invariants, as absences: nothing here waits while a limit is asked; no statement is ended for the process's sake while one
//! that was ended before still holds its memory, unless that takes longer than [`governor::PATIENCE`].

pub mod governor;
pub mod measured;
mod session;

pub use governor::{Governor, MemoryOptions};
pub use session::SessionMemory;

use crate::error::Error;
use basalt_common::memory::Exceeded;
use basalt_expr::memory_pool::Size;

/// The variable that limits a statement.
pub const QUOTA_VARIABLE: &str = "tidb_mem_quota_query";
/// Its default.
pub const QUOTA_BYTES_DEFAULT: usize = 1 << 30;

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Error {
        let Exceeded { label, used, wanted, limit } = exceeded;
        let more = if wanted > 0 { format!(" and asks for {} more", Size(wanted)) } else { String::new() };
        Error::memory_quota(format!("{label} holds {}{more}; {QUOTA_VARIABLE} allows {}", Size(used), Size(limit)))
    }
}

/// Does synchronous work that may take long, so that the other connections of this thread are served meanwhile.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Ends planning and binding that has grown over the statement's limit.
///
/// # Errors
/// 8175.
#[inline]
pub fn check() -> Result<(), Error> {
    Ok(basalt_common::memory::heap::check()?)
}
