//! The coprocessor: computation on the storage node, over the rows of one region.
//!
//! Problem: `SELECT COUNT(*) FROM t WHERE c > 10` over a million rows must not carry a million rows to the SQL server.
//! A request ([`basalt_proto::coprocessor::CoprocessorRequest`]) names ranges within a region, a timestamp, what to decode,
//! and a plan fragment; the answer is the fragment's rows, as Arrow batches.
//!
//! ```text
//!   service ── request, snapshot ──▶ handler          own threads, bounded queue, cancelled with the client
//!                                      │
//!                                   fragment          decoded plan (cached by its bytes): Filter, Projection,
//!                                      │              partial Aggregate, TopK, Limit on DataFusion's operators
//!                                   BatchSource       (columns, ranges, timestamp) → Arrow batches
//!                                      │
//!                                   RegionScan        mvcc's scanner → row decoder; counts keys when no column is asked
//! ```
//! Nothing above [`source::BatchSource`] knows that there are rows: a columnar copy of a region is another implementation.
//!
//! Invariants:
//! - A request reads one snapshot, taken under the leader's lease at the request's epoch; a split or a lost lease after that
//!   does not change what the snapshot holds, so nothing is checked twice.
//! - A scan reads keys of the snapshot's region only.
//! - Batches sent before an early end (a page's end, a lock) are the whole answer for the keys before `resume_from`:
//!   the source stops, and the fragment finishes over what it was given. That holds for partial aggregates too, which are
//!   merged above anyhow.
//! - No thread of raft or of the transaction layer runs any of this.
//!
//! A scan without fragment (a short range, an index entry list) never enters DataFusion: decoding the plan alone costs
//! more than reading a hundred rows.
//!
//! Not done: columnar copies; scans that read index and rows in one request; runtime filters from joins.

pub mod config;
pub mod error;
pub mod source;

mod encode;
mod fragment;
mod handler;
mod scan;
#[cfg(test)]
mod tests;

pub use handler::{CoprocessorHandler, Threads};
