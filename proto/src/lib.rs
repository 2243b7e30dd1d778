//! Wire messages between Basalt's processes and the durable records of its metadata, generated from `proto/basalt/*.proto`.
//!
//! Three uses, one package each way of reading:
//! - what travels between SQL servers, stores and PD: [`kv`], [`coprocessor`], [`pd`], [`raft`], [`sql`];
//! - the words that they share: [`meta`] (regions, peers, stores) and [`errors`] (region errors apart from key errors);
//! - what is written to disk as protobuf: [`raft`] (commands in the log, local states), [`schema`] (the catalog), and PD's
//!   records (parts of [`pd`] and [`meta`]).
//!
//! Nothing here has behavior but [`serve`], the gRPC server of all roles. Domain types live in `basalt_common`; messages appear only where bytes are made or read,
//! and as the plain request and response structs of the services, which the in-process calls pass without encoding.
//!
//! Every message may gain fields; a field number is never used twice. Bytes fields are [`bytes::Bytes`], sliced from the
//! received buffer without a copy.

#![allow(missing_docs, clippy::all, rustdoc::all)]

pub mod serve;

/// Bytes of the largest message that any of the services takes: a transaction's values of one region, a batch of scanned rows, a
/// raft append, the waits of a store whose every session waits.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Regions, peers, stores.
pub mod meta {
    tonic::include_proto!("basalt.meta");
}
/// Region errors and key errors.
pub mod errors {
    tonic::include_proto!("basalt.errors");
}
/// Transactional key-value requests and the batched stream that carries them.
pub mod kv {
    tonic::include_proto!("basalt.kv");
}
/// Raft envelopes between stores, commands in the raft log, durable local states.
pub mod raft {
    tonic::include_proto!("basalt.raft");
}
/// The placement driver's service and its durable records.
pub mod pd {
    tonic::include_proto!("basalt.pd");
}
/// Plan fragments sent to storage nodes and what they return.
pub mod coprocessor {
    tonic::include_proto!("basalt.coprocessor");
}
/// The catalog's durable records.
pub mod schema {
    tonic::include_proto!("basalt.schema");
}
/// What SQL servers ask of each other.
pub mod sql {
    tonic::include_proto!("basalt.sql");
}
