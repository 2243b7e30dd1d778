//! What a storage node answers: messages in, messages out, over the transaction layer and the raft store.
//!
//! **Where.** The edge of the store. [`StoreService`] is plain: `basalt up` calls it directly, [`grpc`] puts it on the network,
//! the simulation puts it behind a network of its own. Everything below speaks domain types; [`convert`] is the border.
//!
//! **A read** (get, batch get, scan, a coprocessor's range), in the caller's task:
//! ```text
//! raise max_ts to the read's timestamp ─▶ wait out locks in memory ─▶ snapshot under the lease ─▶ mvcc
//! ```
//! The order is what async commit stands on, see [`crate::txn::concurrency`]. **A write** goes to the
//! [`Scheduler`](crate::txn::Scheduler).
//!
//! **Errors.** A region error says that nothing was done here and the client should look elsewhere or come back; a key
//! error is an answer. They travel in fields of their own, and nothing else is ever an error: no gRPC status carries one.
//!
//! **Not done.** TLS between processes.

pub mod admin;
pub mod convert;
pub mod coprocessor;
pub mod grpc;
pub mod store;
#[cfg(test)]
mod tests;

pub use store::{StoreIdentity, StoreService};
