//! DataFusion's operators as leaves of the memory tree: a pool over a [`Tracker`].
//!
//! As DataFusion's `FairSpillPool`, every consumer that can spill gets an equal share of what the others leave, and is
//! refused beyond it, which makes it spill (a sort gets a third of that: it takes more to merge); consumers that cannot
//! spill take what is there and fail at the limit. What is different: the limit is the tracker's, so that everything
//! else which the same statement holds (its plan, rows on their way out) makes the shares smaller; and while the
//! process as a whole is near its own limit, large consumers spill earlier.
//!
//! Who may hold what: one mutex around three numbers, never held across anything; the tracker's atomics beside it. Two
//! consumers that grow at once may overshoot the limit by what they ask for, a few batches.

use basalt_common::memory::{Tracker, heap, process};
use datafusion_common::{DataFusionError, Result};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// A consumer below this does not spill for the process's sake.
const SPILL_BYTES_MIN: usize = 16 << 20;

/// What DataFusion's sorts are called.
const SORT: &str = "ExternalSorter[";

/// See the module.
#[derive(Debug)]
pub struct TrackedPool {
    tracker: Arc<Tracker>,
    /// The setting that an error names.
    limit_name: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spillers: usize,
    spillable: usize,
    unspillable: usize,
}

impl State {
    fn change(&mut self, can_spill: bool) -> &mut usize {
        if can_spill { &mut self.spillable } else { &mut self.unspillable }
    }
}

impl TrackedPool {
    /// A pool whose consumers count for `tracker` and live within its limit; `limit_name` is what sets that.
    pub fn new(tracker: Arc<Tracker>, limit_name: &'static str) -> TrackedPool {
        TrackedPool { tracker, limit_name, state: Mutex::default() }
    }

    /// Bytes that a consumer may have in all, if it can spill.
    fn share(&self, state: &State, consumer: &MemoryConsumer) -> usize {
        // What was measured holds the operators' own bytes as well.
        let own = state.spillable + state.unspillable;
        let others = self.tracker.used().saturating_sub(own);
        let left = self.tracker.limit().saturating_sub(state.unspillable.saturating_add(others));
        // A sort that spills merges first what it holds: its keys as rows beside the sorted rows, which for short rows and
        // calculated keys are twice what it had reserved, and which it takes as somebody who cannot spill.
        let parts = if consumer.name().starts_with(SORT) { 3 } else { 1 };
        left / (state.spillers.max(1) * parts)
    }

    fn fits(&self, state: &State, reservation: &MemoryReservation, additional: usize) -> bool {
        if !reservation.consumer().can_spill() {
            return self.tracker.check(additional).is_ok();
        }
        let wanted = reservation.size().saturating_add(additional);
        let pressed = wanted > SPILL_BYTES_MIN && process().check(additional).is_err();
        wanted <= self.share(state, reservation.consumer()) && !pressed
    }

    fn refused(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionError {
        let more = match additional {
            0 => String::new(),
            more => format!(" and {} asks for {} more", reservation.consumer().name(), Size(more)),
        };
        let (holder, held) = (self.tracker.label(), Size(self.tracker.used()));
        let text = format!("{holder} holds {held}{more}; {} allows {}", self.limit_name, Size(self.tracker.limit()));
        DataFusionError::ResourcesExhausted(text)
    }
}

impl Drop for TrackedPool {
    fn drop(&mut self) {
        // Reservations hold the pool, so that none is left.
        let state = self.state.get_mut();
        debug_assert_eq!((state.spillable, state.unspillable), (0, 0), "a reservation outlived its pool");
    }
}

impl MemoryPool for TrackedPool {
    fn name(&self) -> &str {
        "tracked"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.state.lock().spillers += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            let mut state = self.state.lock();
            state.spillers = state.spillers.saturating_sub(1);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.state.lock().change(reservation.consumer().can_spill()) += additional;
        self.tracker.add(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        *self.state.lock().change(reservation.consumer().can_spill()) -= shrink;
        self.tracker.sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let can_spill = reservation.consumer().can_spill();
        let mut state = self.state.lock();
        if !self.fits(&state, reservation, additional) {
            // One poll merges and writes a whole run of a sort: what it has given back since it began, nobody was told.
            heap::tell();
            if !self.fits(&state, reservation, additional) {
                return Err(self.refused(reservation, additional));
            }
        }
        *state.change(can_spill) += additional;
        self.tracker.add(additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        let state = self.state.lock();
        state.spillable + state.unspillable
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.tracker.limit())
    }
}

impl fmt::Display for TrackedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.tracker)
    }
}

/// Bytes as people read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            usize::MAX => f.write_str("any amount"),
            0..1024 => write!(f, "{} bytes", self.0),
            1024..1_048_576 => write!(f, "{:.1} KiB", bytes / 1024.0),
            1_048_576..1_073_741_824 => write!(f, "{:.1} MiB", bytes / 1_048_576.0),
            _ => write!(f, "{:.2} GiB", bytes / 1_073_741_824.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn pool(limit: usize) -> (Arc<Tracker>, Arc<dyn MemoryPool>) {
        let tracker = process().child("statement");
        tracker.restart(limit);
        let pool: Arc<dyn MemoryPool> = Arc::new(TrackedPool::new(tracker.clone(), "tidb_mem_quota_query"));
        (tracker, pool)
    }

    #[test]
    fn spillers_share_what_the_others_leave() {
        let (tracker, pool) = pool(1_000);
        let sort = MemoryConsumer::new("sort").with_can_spill(true).register(&pool);
        let group = MemoryConsumer::new("group").with_can_spill(true).register(&pool);
        let build = MemoryConsumer::new("build").register(&pool);
        build.try_grow(200).expect("within the limit");
        assert!(sort.try_grow(400).is_ok() && sort.try_grow(1).is_err());
        tracker.add(200);
        assert!(group.try_grow(301).is_err() && group.try_grow(200).is_ok());
        assert!(build.try_grow(1).is_err(), "everything is taken");
        drop(sort);
        assert!(build.try_grow(1).is_ok());
        tracker.sub(200);
        drop((group, build));
        assert_eq!(tracker.used(), 0);
    }

    #[test]
    fn a_sort_leaves_room_for_its_merge() {
        let (_tracker, pool) = pool(1_000);
        let sort = MemoryConsumer::new("ExternalSorter[0]").with_can_spill(true).register(&pool);
        assert!(sort.try_grow(334).is_err() && sort.try_grow(333).is_ok());
        let merge = MemoryConsumer::new("ExternalSorterMerge[0]").register(&pool);
        assert!(merge.try_grow(666).is_ok());
    }

    #[test]
    fn what_running_work_has_given_back_can_be_taken_again() {
        thread_local! { static BALANCE: Cell<i64> = const { Cell::new(0) }; }
        heap::install(|| BALANCE.get());
        let (tracker, pool) = pool(1_000);
        let merge = MemoryConsumer::new("ExternalSorterMerge[0]").register(&pool);
        tracker.meter().measure(|| BALANCE.set(BALANCE.get() + 900));
        assert!(merge.try_grow(500).is_err());
        tracker.meter().measure(|| {
            BALANCE.set(BALANCE.get() - 900);
            assert!(merge.try_grow(500).is_ok());
        });
    }

    #[test]
    fn a_refusal_names_the_use_the_consumer_and_the_variable() {
        let (_tracker, pool) = pool(2 << 20);
        let build = MemoryConsumer::new("HashJoinInput").register(&pool);
        build.try_grow(1 << 20).expect("within the limit");
        let text = build.try_grow(3 << 20).unwrap_err().to_string();
        for part in ["statement holds 1.0 MiB", "HashJoinInput asks for 3.0 MiB", "tidb_mem_quota_query allows 2.0 MiB"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
}
