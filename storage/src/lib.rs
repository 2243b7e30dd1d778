//! The storage node: regions of the key space, replicated by raft, read and written by transactions.
//!
//! **Problem.** Keep a share of the data so that an acknowledged commit survives the loss of a minority of stores, let many
//! transactions read and write it at once with snapshot isolation, and compute where the data is. **Where.** Below the
//! SQL server's client ([`basalt_client`]), above the disk. PD tells a store what to do with its regions; it never sees data.
//!
//! A request goes down through the modules in this order, and each knows only those below it:
//! ```text
//! service      messages in and out; reads run right here          ─┐ in the caller's task,
//!   txn        latches, actions, locks in memory, waiting          │ no queue in between
//!   mvcc       versions and locks: points, scans                   │
//!   replicated a region's snapshot, a region's write              ─┘
//!     raftstore  proposals, the log, elections, leases, splits      one thread for all regions, one each for log, apply and snapshots
//!     raftlog    the log on disk: the only thing that is fsynced
//!   engine     four column families; durable up to the last flush
//! ```
//! The way of a read: [`service`] → [`replicated`] (lease check, engine snapshot) → [`mvcc`]. The way of a write:
//! [`service`] → [`txn`] (latches → snapshot → action → changes) → [`replicated`] → raft store → log of a quorum → apply →
//! answer. A coprocessor's fragment takes the way of a read and then runs in the crate `coprocessor`, behind
//! [`service::coprocessor::Coprocessor`]. Beside them, [`gc`] removes old versions by writes of its own.
//!
//! **Invariants, as absences.** `mvcc` and the transaction actions are synchronous and never see raft, a clock or a thread.
//! The raft store moves changes without decoding a value. Nothing but apply writes users' data. No request waits for a disk
//! while it holds a mutex. No crate but this one and `pd` knows RocksDB.
//!
//! **Seams** with a real and a simulated side: [`engine::Engine`], [`replicated::Replicated`], the raft store's transport and
//! driver, the log's backends.

pub mod collected;
pub mod config;
pub mod engine;
pub mod error;
pub mod gc;
pub mod mvcc;
pub mod raftlog;
pub mod raftstore;
pub mod replicated;
pub mod service;
pub mod txn;
