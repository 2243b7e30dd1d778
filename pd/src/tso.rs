//! The timestamp oracle (Percolator §2): one growing sequence for the whole cluster.
//!
//! A timestamp is the wall clock's milliseconds and a counter. What makes the sequence grow over restarts is a durable
//! upper bound, the *window*: no timestamp with a physical part at or above it leaves before a higher bound is on disk,
//! and a restart continues at the bound.
//!
//! ```text
//!   given out              free to give            never given
//!  ───────────────┤last├──────────────────────┤window├──────────▶ physical ms
//!                                   save ahead when less than half is left
//! ```
//!
//! The wall clock only ever pulls `last` forward. When it jumps back, or stands, the counter goes on and spills into the
//! next millisecond when it is full; when it jumps ahead of the window, a wider window is saved first.
//!
//! Invariants: `last < compose(window, 0)`; every range handed out lies above every range handed out before, by this
//! process or by an earlier one on the same store.

use crate::config::TSO_WINDOW_MS;
use basalt_common::Timestamp;
use basalt_common::mutant::mutant;
use basalt_common::ts::LOGICAL_MAX;

/// The next timestamp lies outside the durable window: save [`Oracle::window_wanted`] and come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowExhausted;

/// The state behind the sequence. Pure: takes the clock's reading, asks its owner to save.
#[derive(Debug)]
pub struct Oracle {
    /// The newest timestamp given.
    last: Timestamp,
    /// The durable bound, ms.
    window_ms: u64,
}

impl Oracle {
    /// Continues behind the durable window (0 for a new cluster). Nothing can be given before a wider one is saved.
    pub fn recover(window_ms: u64) -> Oracle {
        let from = if mutant("M25") { Timestamp::ZERO } else { Timestamp::compose(window_ms, 0).prev() };
        Oracle { last: from, window_ms }
    }

    /// Gives `count` timestamps and returns the last of them; they end at it and are consecutive.
    ///
    /// # Errors
    /// [`WindowExhausted`] when they do not fit below the durable window.
    ///
    /// # Panics
    /// If `count` is 0 or does not fit one millisecond's counter; the service checks it.
    pub fn allocate(&mut self, now_wall_ms: u64, count: u32) -> Result<Timestamp, WindowExhausted> {
        let count = u64::from(count);
        assert!(count > 0 && count < LOGICAL_MAX, "{count} timestamps in one allocation");
        let (physical, first) = match now_wall_ms > self.last.physical_ms() || self.last.is_zero() {
            true => (now_wall_ms, 0),
            false if self.last.logical() + count < LOGICAL_MAX => (self.last.physical_ms(), self.last.logical() + 1),
            false => (self.last.physical_ms() + 1, 0),
        };
        if physical >= self.window_ms && !mutant("M24") {
            return Err(WindowExhausted);
        }
        let last = Timestamp::compose(physical, first + count - 1);
        assert!(last > self.last, "timestamps grow");
        self.last = last;
        Ok(last)
    }

    /// The bound to save next, if less than half of the window is left.
    pub fn window_wanted(&self, now_wall_ms: u64) -> Option<u64> {
        let from = now_wall_ms.max(self.last.next().physical_ms());
        (self.window_ms < from + TSO_WINDOW_MS / 2).then_some(from + TSO_WINDOW_MS)
    }

    /// Takes note that a bound is durable. A lower one than the known is ignored.
    pub fn window_saved(&mut self, window_ms: u64) {
        self.window_ms = self.window_ms.max(window_ms);
    }

    /// The newest timestamp given, by this process or before it.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// The durable bound, ms.
    pub fn window_ms(&self) -> u64 {
        self.window_ms
    }
}
