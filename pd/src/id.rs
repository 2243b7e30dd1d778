//! Ids of regions, peers, stores and whatever else must be unique in the cluster: one counter under a durable window.
//!
//! As with timestamps, a bound is on disk before an id below it leaves; a restart skips what was left of the window.

use crate::config::ID_WINDOW;

/// The ids wanted lie outside the durable window: save so many as `window` and come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowExhausted {
    /// The bound to save.
    pub window: u64,
}

/// The counter. Pure: asks its owner to save.
#[derive(Debug)]
pub struct IdAllocator {
    next: u64,
    window: u64,
}

impl IdAllocator {
    /// Continues at the durable bound; 0 for a new cluster, whose first id is 1.
    pub fn recover(window: u64) -> IdAllocator {
        IdAllocator { next: window.max(1), window }
    }

    /// Takes `count` consecutive ids and returns the first.
    ///
    /// # Errors
    /// [`WindowExhausted`] with the bound to save first.
    pub fn allocate(&mut self, count: u32) -> Result<u64, WindowExhausted> {
        let end = self.next + u64::from(count);
        if end > self.window {
            return Err(WindowExhausted { window: end + ID_WINDOW });
        }
        let first = self.next;
        self.next = end;
        Ok(first)
    }

    /// Takes note that a bound is durable. A lower one than the known is ignored.
    pub fn window_saved(&mut self, window: u64) {
        self.window = self.window.max(window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_never_given_twice() {
        let mut ids = IdAllocator::recover(0);
        let Err(WindowExhausted { window }) = ids.allocate(2) else { panic!("given without a window") };
        ids.window_saved(window);
        assert_eq!((ids.allocate(2), ids.allocate(1)), (Ok(1), Ok(3)));
        let mut restarted = IdAllocator::recover(window);
        assert!(restarted.allocate(1).is_err());
        restarted.window_saved(window + ID_WINDOW);
        assert_eq!(restarted.allocate(1), Ok(window));
    }
}
