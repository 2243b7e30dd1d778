//! Talking to a cluster: finding regions, retrying, transactions, and queries that run in the stores.
//!
//! # Where it sits
//!
//! ```text
//!   SQL layer
//!      │ begin · get · scan · lock_keys · commit · coprocess
//!      ▼
//!   Cluster ──┬─ transaction ── buffer, pessimistic, heartbeat, two_phase
//!             ├─ snapshot ───── lock_resolver
//!             ├─ coprocessor
//!             ├─ retry ──────── region_cache, backoff      the one place that reacts to region errors
//!             └─ pd_client
//!                    │ KvRpc, PdRpc: the seams ([`rpc`])
//!                    ▼
//!   stores and PD: in this process, over gRPC ([`grpc`]), or simulated
//! ```
//!
//! # How the SQL layer uses it
//!
//! ```text
//!   let cluster = Cluster::connect(env, kv, pd, TsoMode::Direct).await?;
//!
//!   autocommit point read     cluster.snapshot(Timestamp::MAX).get(key)            no timestamp, one call
//!   query                     cluster.snapshot(cluster.timestamp().await?).scan(…)
//!   autocommit insert         let mut txn = cluster.begin(TxnOptions { autocommit: true, .. }).await?;
//!                             txn.insert(key, value)?; txn.commit().await?;        a timestamp, one prewrite
//!   SERIALIZABLE              TxnOptions::records_reads; every snapshot by txn.snapshot_at(ts)
//!   BEGIN … COMMIT            TxnMode::Pessimistic; for each writing statement:
//!                             let savepoint = txn.savepoint();
//!                             loop { read at refresh_for_update_ts(); lock_keys(…) – again on WriteConflict }
//!                             on failure txn.rollback_to(savepoint), the locks stay
//! ```
//!
//! # Invariants
//!
//! - Nothing is asked of a store before it is needed: `begin`, `put`, `insert`, `delete` make no call to one.
//! - Errors are by reaction ([`Error`]). [`Error::Undetermined`] is the only one after which a transaction may have
//!   happened; nothing else in the stack may turn it into "failed" or repeat the transaction.
//! - Region errors are dealt with in `retry`, locks of others in `lock_resolver`; neither reaches a caller.
//! - Every wait has a budget; every task belongs to the [`Cluster`], a transaction or a stream, and ends with it.
//! - No system clock, no randomness but through [`basalt_common::env::Env`].
//!
//! # Not done
//!
//! Reads from followers, load-based choice of peers.

pub mod admin;
mod background;
pub mod backoff;
mod buffer;
pub mod cluster;
pub mod config;
pub mod coprocessor;
pub mod error;
mod gc;
pub mod grpc;
mod heartbeat;
mod lock_resolver;
mod owners;
pub mod pd_client;
pub mod pessimistic;
pub mod read_set;
pub mod region_cache;
mod retry;
pub mod rpc;
mod silence;
pub mod snapshot;
pub mod transaction;
mod two_phase;

pub use buffer::Savepoint;
pub use cluster::Cluster;
pub use coprocessor::{CoprocessorItem, CoprocessorQuery, CoprocessorStream};
pub use error::{Error, Result};
pub use owners::IsNobodys;
pub use pd_client::{PdClient, TsoMode};
pub use pessimistic::{LockRequest, LockWait, LockedKeys};
pub use read_set::{ReadMark, ReadSet};
pub use snapshot::{ScanOptions, Scanner, Snapshot};
pub use transaction::{Transaction, TxnMode, TxnOptions, UnionScanner};

/// The SQL layer runs these on a runtime of several threads; a closure in the wrong place makes the compiler say so there,
/// in words that lead nowhere.
#[cfg(test)]
mod tests {
    use super::*;

    #[expect(dead_code, reason = "compiled, not run")]
    fn futures_are_send(cluster: &Cluster, txn: &mut Transaction, snapshot: &Snapshot, range: basalt_common::KeyRange) {
        fn send<T: Send>(_: T) {}
        send(snapshot.batch_get(Vec::new()));
        send(snapshot.get(b""));
        send(cluster.delete_range(range));
        send(cluster.split_regions(Vec::new()));
        send(txn.commit());
        send(txn.rollback());
        send(txn.lock_keys(LockRequest::default()));
    }
}
