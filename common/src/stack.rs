//! How deep a recursion may go: as deep as the stack of the threads that run statements holds.
//!
//! Two measures. A recursion that can fail asks its [`Place`] how much it has used. One that cannot (dropping, comparing,
//! rebuilding a tree) is bounded by the height of the trees that are let through: [`levels_max`].
//!
//! A process whose threads have large stacks says so once ([`allow`]); without that, all fits in the 2 MiB of a test's
//! thread.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of stack that one recursion may use.
static ALLOWED: AtomicUsize = AtomicUsize::new(1 << 20);

/// What a level of a tree may take in the recursions that are not measured, with room for what calls them.
const LEVEL_BYTES: usize = 2048;

/// Lets recursions use so many bytes of every thread's stack.
pub fn allow(bytes: usize) {
    ALLOWED.store(bytes, Ordering::Relaxed);
}

/// Height of a tree that every recursion over it survives.
pub fn levels_max() -> usize {
    ALLOWED.load(Ordering::Relaxed) / LEVEL_BYTES
}

/// Where on the stack a recursion began. Only of use on the thread that made it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    address: usize,
}

impl Place {
    /// The caller's.
    #[inline(never)]
    pub fn here() -> Place {
        let local = 0u8;
        Place { address: std::hint::black_box(std::ptr::from_ref(&local)).addr() }
    }

    /// Whether the stack between there and here is all that a recursion may use.
    pub fn is_spent(self) -> bool {
        Place::here().address.abs_diff(self.address) > ALLOWED.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dig(from: Place, levels: usize) -> usize {
        if from.is_spent() { levels } else { std::hint::black_box(dig(from, levels + 1)) }
    }

    #[test]
    fn a_recursion_ends_before_the_stack_does() {
        assert!(dig(Place::here(), 0) > 100);
        assert_eq!(levels_max(), 512);
    }
}
