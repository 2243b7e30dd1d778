//! Transactions on one store: the store's side of Percolator, with pessimistic locks, async and one-phase commit.
//!
//! **Problem.** Commands of many transactions arrive at once, twice, late, in any order; each must find its keys as its
//! snapshot shows them until its changes are applied. **Where.** Between [`crate::service`] and [`crate::replicated`].
//!
//! **A command's way** ([`scheduler`]):
//! ```text
//! request ─▶ latches of its keys ─▶ snapshot ─▶ action ─▶ changes ─▶ Replicated::write ─▶ response
//!            └ held until the write is applied (or its fate is not this store's to know any more) ┘
//! ```
//! It all happens in the caller's task: no queue, no thread hop. A caller that goes away during the write leaves the rest
//! to a task of its own, so that latches are never given back under a write in flight.
//!
//! **Who may hold what, in which order, for how long.**
//! 1. Latches ([`latch`]) of a command's keys, in the order of their slots, until its write is applied.
//! 2. Locks in memory ([`concurrency`]), put there under the latches by async and one-phase commits, removed after
//!    the write is applied and before the latches go. Readers look at them before they take a snapshot.
//! 3. The mutexes of the lock table and of the wait queues guard plain data; no `.await` under them, and never two at once.
//!
//! Waiting for another transaction's lock ([`lock_wait`]) happens with nothing held. A waiter is entered under the
//! latches of its keys, so that the command that removes the lock comes after and cannot be missed.
//!
//! **Reads and async commit.** Readers raise `max_ts` to their timestamp, then look at the locks in memory, then take
//! their snapshot. Async and one-phase commits put their keys into memory and read `max_ts` as one step. So either the
//! reader sees the lock (and waits for it), or the commit sees the reader's timestamp and goes above it.
//!
//! **Deadlocks.** Cycles within one store are found when a wait would close one ([`deadlock`]), cycles over several by PD
//! within a tenth of a second ([`circles`]). The victim is the transaction with the fewest keys.
//!
//! **Not done.** In-memory pessimistic locks (they are replicated as lock records).

pub mod action;
pub mod circles;
mod collect;
pub mod concurrency;
pub mod deadlock;
pub mod latch;
pub mod lock_wait;
pub mod pessimistic;
pub mod scheduler;
#[cfg(test)]
mod tests;
pub mod ts_bound;

pub use concurrency::ConcurrencyManager;
pub use scheduler::Scheduler;
