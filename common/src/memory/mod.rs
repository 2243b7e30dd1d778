//! What grows with data or with a statement is counted here, so that one statement can end before the process does.
//!
//! ```text
//! process ─┬─ session 7 ─┬─ statement            limit: tidb_mem_quota_query (8175)
//!          │             │    ├─ pool            every DataFusion operator (expr::memory_pool)
//!          │             │    ├─ plan            text, tree, plan: what the allocator gave while they were made
//!          │             │    └─ rows            short path, results on their way out
//!          │             ├─ transaction          its writes and how to undo them
//!          │             └─ prepared, packets
//!          └─ coprocessor of store 1             fragments that run, batches that wait for a client
//! limit of the process: memory_limit in the settings (8176 for the largest statement)
//! ```
//! Three kinds of things:
//! - A [`Tracker`] is an inner node: a few atomics. Bytes added to it are added to all above it, so that any of them can be
//!   asked at any time.
//! - An [`Account`] is a leaf that one owner holds. It counts in a plain integer and tells its tracker in steps of
//!   [`STEP_BYTES`]: what is smaller than a step never touches shared memory, which is all a point SELECT does.
//! - [`heap`] asks the allocator what this thread has taken and given back. Parsing, binding and planning make millions of
//!   small boxes that nobody could count one by one, and DataFusion's operators do not count all they hold; a [`Meter`]
//!   measures them from outside. A statement's use is the larger of what was counted and what was measured.
//!
//! Invariants, as absences:
//! - No account outlives its tracker's bytes: dropping it gives back all it has told, on every path, panics included.
//! - No limit is enforced here by unwinding: `try_` functions return [`Exceeded`], the others mark nothing and never fail.
//! - No statement is ended by a tracker: who is over the process's limit is chosen by the SQL server's governor, which asks.
//!
//! In debug builds the end of a session asserts that its tracker is back at zero.

mod account;
pub mod heap;
mod tracker;

pub use account::Account;
pub use heap::Meter;
pub use tracker::{Exceeded, Tracker, process};

/// Bytes that an account holds back before it tells its tracker.
pub const STEP_BYTES: usize = 64 << 10;
