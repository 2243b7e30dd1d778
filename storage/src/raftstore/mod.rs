//! Many regions, each replicated by Raft, on one store.
//!
//! # The problem
//! A store holds replicas of thousands of regions. Each region is a raft group of its own, and yet the store has one disk
//! to sync, one connection to each other store and a few threads. So the groups do not run by themselves: one state
//! machine steps all of them, and what they want done is collected and done together.
//!
//! # Where it sits
//! ```text
//!  replicated::raft_kv ── lease read ──▶ delegate (no thread hop) ──▶ engine snapshot
//!        │ propose, read index, admin
//!        ▼
//!   ┌─ mailbox ─┐      ┌───────────── store.rs (pure) ──────────────┐
//!   │ proposals │ ───▶ │ region 7: peer.rs = RawNode + peer_storage │ ──▶ effects ─┬─ send now ──────▶ transport
//!   │ messages  │      │ region 9: peer.rs …                        │              ├─ persist ───────▶ raftlog, one sync
//!   │ ticks     │      └────────────────────────────────────────────┘              │    └ then send, persisted(n) ─┐
//!   └───────────┘ ◀── persisted(n), applied(results), snapshot built ◀─────────────├─ apply ─────────▶ apply.rs    │
//!         ▲                                                                        ├─ snapshots ─────▶ snapshot.rs │
//!         └────────────────────────────────────────────────────────────────────────┴─ pd ────────────▶ node.rs ◀──┘
//! ```
//! [`store`], [`peer`] and [`peer_storage`] neither read a clock nor do I/O other than reading the log: inputs and `now` go
//! in, [`store::Effects`] come out. [`apply`] is given committed entries and an engine. [`driver`] turns the crank, with
//! threads or as one task under a simulated clock; it stands behind [`handle::RaftHandle`].
//!
//! # Data
//! The raft log ([`crate::raftlog`]) holds entries and hard states. The data engine holds, in its local family, for each
//! region a region state and an apply state ([`keys`]); the latter is written in the very batch that applied the entries.
//! The engine has no log of its own: after a crash it is as of its last flush, and the entries above the flushed apply
//! state are applied again. A split, a change of peers and a compaction are entries like any other.
//!
//! # Invariants
//! - A message that promises something (a vote, an append's acknowledgment) leaves after what it promises was synced;
//!   a leader's appends leave at once (thesis 10.2.1).
//! - Only entries that are committed and synced here are applied, in order, each once per life of the engine's state.
//! - A command carries the epoch it was made for; it must equal the region's at propose and again at apply, where every
//!   replica decides alike.
//! - A leader answers reads alone only within a lease: counted from when the round that a quorum acknowledged was sent,
//!   shorter than the shortest election timeout, dropped before leadership is handed over and while a split or a change of
//!   peers is under way; and only after it applied an entry of its own term.
//! - For one election timeout after the process started no peer votes: it may have promised a lease before it died.
//! - The ranges of the initialized regions of a store never overlap. What would overlap is refused and comes again.
//! - The log is cut only up to what a *flushed* apply state says.
//! - A region that a split made is on the disk before its peer says anything: in the engine, or as the split in the old
//!   region's log, committed by the log's own record, so that a restart applies it before it hears of anybody.
//! - A peer's id is never used again. A peer destroys what it voted with when it applies its removal, when its region
//!   speaks to a successor on this store, or when PD, asked, lists the region's peers without it; never on the word of
//!   another store.
//!
//! # Life of a write
//! propose (term, epoch checked) → entry appended → sent to followers and handed to the log in the same round → synced by a
//! quorum → committed → applied in one engine batch with its apply state → answered.
//!
//! # Papers
//! Raft thesis: 3 (basics), 3.10 (transfer), 4 (membership), 5 (compaction), 6.4 (reads), 9.6 (pre-vote), 10.2.1 (writing in parallel).
//!
//! # Not done
//! Merging of regions. Hibernation of idle regions (each is ticked). Reads on followers. Witnesses. Demotion of a voter.

pub mod apply;
pub mod delegate;
pub mod driver;
pub mod handle;
pub mod keys;
pub mod message;
pub mod node;
pub mod peer;
pub mod peer_storage;
pub mod snapshot;
pub mod split_check;
pub mod store;
pub mod transport;

#[cfg(test)]
mod testing;

use crate::engine::EngineError;
use crate::raftlog::LogError;

/// What stops a store. Everything that a request can be told is a [`crate::error::RegionError`] instead.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The data engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The raft log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What is on disk contradicts itself.
    #[error("corrupt store: {0}")]
    Corrupt(String),
    /// Files or folders of snapshots.
    #[error("snapshot files: {0}")]
    Io(String),
    /// PD refused this store or could not be reached in time.
    #[error("placement driver: {0}")]
    Pd(String),
}

impl StoreError {
    /// Whether a file is not what was written there, by its checksums. A contradiction may be a mistake of the program's.
    pub fn is_damage(&self) -> bool {
        matches!(self, StoreError::Engine(EngineError::Corrupt(_)) | StoreError::Log(LogError::Corrupt(_)))
    }
}
