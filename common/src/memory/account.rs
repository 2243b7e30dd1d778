//! The leaves of the tree: one owner, a plain integer, shared memory only in steps.

use super::STEP_BYTES;
use super::tracker::{Exceeded, Tracker};
use std::sync::Arc;

/// What one owner holds. See [`super`] for why it tells in steps.
#[derive(Debug)]
pub struct Account {
    tracker: Arc<Tracker>,
    held: usize,
    /// What the tracker knows of; within a step of `held`.
    told: usize,
}

impl Account {
    /// An account that holds nothing.
    pub fn new(tracker: Arc<Tracker>) -> Account {
        Account { tracker, held: 0, told: 0 }
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Holds `bytes` more.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        self.set(self.held.saturating_add(bytes));
    }

    /// Holds `bytes` less.
    #[inline]
    pub fn sub(&mut self, bytes: usize) {
        self.set(self.held.saturating_sub(bytes));
    }

    /// Holds `bytes`, whatever it was before.
    #[inline]
    pub fn set(&mut self, bytes: usize) {
        self.held = bytes;
        if bytes.abs_diff(self.told) >= STEP_BYTES {
            self.tell();
        }
    }

    /// Holds `bytes` more, unless the tracker's limit is met.
    ///
    /// # Errors
    /// [`Exceeded`]; nothing was added.
    #[inline]
    pub fn try_add(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let wanted = self.held.saturating_add(bytes);
        if wanted >= self.told + STEP_BYTES {
            self.tracker.check(wanted - self.told)?;
        }
        self.set(wanted);
        Ok(())
    }

    #[cold]
    fn tell(&mut self) {
        if self.held > self.told {
            self.tracker.add(self.held - self.told);
        } else {
            self.tracker.sub(self.told - self.held);
        }
        self.told = self.held;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.told > 0 {
            self.tracker.sub(self.told);
        }
    }
}
