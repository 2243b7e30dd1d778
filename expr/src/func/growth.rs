//! Long values are counted while they are made, so that a statement ends before it has a column that it may not have.
//!
//! A kernel makes one value, at most `RESULT_BYTES_MAX` of it; a column is as many values as a batch has rows. Whatever
//! fills a column tells [`Growth`] of each value, and every so many bytes the statement's limit is asked
//! ([`basalt_common::memory::heap::check_growth`]). A cell that is NULL, a number or short text costs an addition.
//!
//! The thread's sum ([`made`]) tells how much a piece of evaluation has gone through, its intermediate columns included:
//! [`crate::slices`] chooses by it how many rows to evaluate at a time.

use crate::error::EvalError;
use crate::value::Value;
use basalt_common::memory::{Exceeded, heap};
use std::cell::Cell;

/// Between two questions.
const ASK_BYTES: usize = 1 << 20;
/// Arrow's offsets into a column of strings end here.
const COLUMN_BYTES_MAX: usize = i32::MAX as usize;

thread_local! { static MADE: Cell<u64> = const { Cell::new(0) }; }

/// Bytes of strings that this thread has put into columns. Only differences mean something.
pub(crate) fn made() -> u64 {
    MADE.get()
}

/// A column of strings that grows.
#[derive(Default)]
pub(crate) struct Growth {
    total: usize,
    asked_at: usize,
}

impl Growth {
    /// A value of `bytes` is going to be put into the column.
    ///
    /// # Errors
    /// 8175 when the statement holds too much, or the column cannot be longer.
    #[inline]
    pub fn add(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.total += bytes;
        if self.total - self.asked_at < ASK_BYTES { Ok(()) } else { self.ask(bytes) }
    }

    /// As [`Growth::add`], for a value of any type.
    #[inline]
    pub fn add_value(&mut self, value: &Value) -> Result<(), EvalError> {
        self.add(value.as_bytes().map_or(0, <[u8]>::len))
    }

    #[cold]
    fn ask(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.asked_at = self.total;
        if self.total > COLUMN_BYTES_MAX {
            let label = "a column of one batch".into();
            return Err(Exceeded { label, used: self.total, wanted: 0, limit: COLUMN_BYTES_MAX }.into());
        }
        Ok(heap::check_growth(bytes)?)
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        MADE.set(MADE.get().wrapping_add(self.total as u64));
    }
}

/// Asks the limit after one long value.
///
/// # Errors
/// 8175.
#[inline]
pub(crate) fn check_value(value: &Value) -> Result<(), EvalError> {
    match value.as_bytes() {
        Some(bytes) if bytes.len() >= ASK_BYTES => Ok(heap::check_growth(0)?),
        _ => Ok(()),
    }
}
