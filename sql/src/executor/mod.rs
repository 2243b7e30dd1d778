//! Runs short plans and everything that writes: point reads, short ranges, INSERT, UPDATE, DELETE.
//!
//! ```text
//! statement ─┬─ select ── table_reader ─┬─ range_scan          filter, project, sort, aggregate: over Arrow batches
//!            │               └──────────┴─▶ client snapshot ⊕ own writes
//!            ├─ insert ─ conflict ┐
//!            ├─ update ─ assign ──┼─▶ table_writer ─▶ the transaction's buffer: a row and all its index entries
//!            ├─ delete ───────────┘        lock ─▶ pessimistic locks
//!            ├─ lock_query ── the query path, and lock
//!            └─ the query path (crate::query) for the rest
//! ```
//! Reads go to storage by key, through the client; an INSERT does no RPC before its commit. Writing statements are run
//! again by [`statement`] after conflicts, and take back what they wrote when they fail.
//!
//! Invariants: only [`table_writer`] puts rows or index entries into a transaction; a statement never reads what it wrote
//! itself (its view is taken before its first write), except where MySQL says so: rows that one INSERT writes twice; nothing
//! here writes to the client's connection.
//!
//! The conflict rules of pessimistic statements are TiDB's: read at `for_update_ts`, lock, on a newer version start the
//! statement again.
//!
//! Not done: rows of one point read without a `RecordBatch`.

pub mod config;
pub mod outcome;
pub mod statement;

mod select;

mod filter;
mod project;
mod sort;

mod aggregate;

pub mod table_reader;

mod range_scan;

mod insert;

mod conflict;

mod update;

mod assign;

mod delete;

mod column_value;

mod duplicate;
pub mod index_entries;
mod lock;
mod lock_query;
mod own_entries;
mod rows;
mod source;
mod table_writer;

pub use outcome::{DmlResult, Outcome};
pub use source::read_view;
pub use statement::{commit, execute, execute_short};
