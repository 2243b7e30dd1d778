//! The placement driver: it hands out timestamps and ids, knows which region lies where, and tells leaders what to change.
//!
//! # Where it sits
//!
//! ```text
//!   SQL servers ── timestamps, region lookups ──▶ ┌────────────┐ ◀── heartbeats, split ids ── stores
//!                                                 │ PdService  │ ──── one step at a time ───▶
//!                                                 └─────┬──────┘
//!                     pure state machines: Oracle · IdAllocator · Cluster · Operators
//!                                                       │ small durable batches
//!                                                   MetaStore (RocksDB | memory)
//! ```
//!
//! PD never reads user data and never calls a store: everything it wants is the answer to a leader's heartbeat, so that a
//! PD that is slow or away costs lookups and timestamps but moves nothing by surprise.
//!
//! # What is durable
//!
//! | key | value |
//! |---|---|
//! | `cluster` | [`basalt_proto::pd::ClusterRecord`] |
//! | `tso` | 8 bytes (numbers are big-endian): no timestamp with a physical part at or above it was ever given |
//! | `id` | 8 bytes: no id at or above it was ever given |
//! | `store/{id, 20 digits}` | [`basalt_proto::meta::Store`] |
//! | `region/{id, 20 digits}` | [`basalt_proto::meta::Region`], as of the last change of its epoch: a restarted PD answers lookups at once |
//! | `safepoint/{service}` | 8 bytes timestamp, 8 bytes expiry in wall milliseconds |
//!
//! Leaders, sizes, operators and the registry of SQL servers are kept in memory and come back with the heartbeats.
//!
//! # Invariants
//!
//! - Timestamps grow over restarts and clock jumps: a window is durable before a timestamp inside it leaves ([`tso`]).
//! - An id is never given twice ([`id`]).
//! - The region tree holds no two regions that overlap; a heartbeat with an older epoch changes nothing ([`cluster`]).
//! - At most one operator a region; membership changes go one peer at a time through a learner ([`schedule`]).
//! - Nothing in [`tso`], [`id`], [`cluster`] and [`schedule`] is `async`, does I/O or reads a clock.
//!
//! # Not done
//!
//! One PD process only: the raft group of PDs is to replace the [`meta_store`] implementation and to gate [`tso`] by its
//! lease. No labels or placement rules, no merge, no balance by size or load yet.

pub mod cluster;
pub mod config;
pub mod error;
pub mod grpc;
pub mod id;
pub mod meta_store;
pub mod schedule;
pub mod service;
pub mod tso;

pub use config::PdConfig;
pub use error::Error;
pub use service::PdService;
