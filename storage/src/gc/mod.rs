//! Garbage collection: old versions go when nobody can ask for them any more.
//!
//! **Problem.** Every change leaves a record, and every deletion too; without an end a table that is updated grows for ever
//! and each scan steps over what was. But a record may go only if no reader needs the version, and if it says nothing about a
//! transaction that still has a lock somewhere: a commit record that goes too early makes a committed transaction a
//! rolled-back one.
//!
//! ```text
//!  PD             safe point = min(now − life, oldest reader)                     collect_to = safe point
//!                       │                                                              ▲     │ in heartbeats
//!  SQL server           └─▶ every region: ScanLock(safe_point) ─▶ resolve the locks ───┘     │
//!                                │                                                           ▼
//!  leader          close: GcStep{safe_point}, let commands under way end      forget: GcStep{collected_to}, the same
//!                                │                                            walk: deletions, page by page
//!  all replicas    refuse readers and new locks below it                      refuse to judge transactions below it
//! ```
//! **Closed** ([`Scheduler::close_below`](crate::txn::Scheduler::close_below)). Both marks are part of the region's replicated
//! state: they go through its log, over splits and with snapshots, and whoever leads next has them with the data. TiKV's stores learn the safe point from PD, each when it asks;
//! here a read is refused exactly where a version that it needs may be gone ([`crate::raftstore::delegate`] has the order).
//! Commands that took their snapshot before the mark may yet write a lock: they hold latches, so passing every latch once
//! waits for them.
//!
//! **Resolved.** The client's part (`basalt_client::gc`): when every region is closed and has no lock below the safe point,
//! nobody will ask a primary about a transaction below it. Only then does PD let stores delete.
//!
//! **Collected** ([`Collector`]). A leader deletes by raft writes, so replicas stay equal byte by byte, which a filter in
//! each store's compactions would not keep. Regions without garbage are not read: their state ([`crate::collected`]) counts the
//! commit records that were written since collection looked at them last, and of those that it saw, how many will be garbage
//! later. What was deleted is compacted away by each store for itself when enough of it is there.

mod collector;

pub use collector::Collector;
