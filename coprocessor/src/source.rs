//! Where a fragment's rows come from: a region's rows today, its columnar copy another day.

use crate::error::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use basalt_proto::coprocessor::KeyRange;
use basalt_proto::errors::LockInfo;

/// Rows of one region as of one timestamp, some columns of them, in batches.
pub trait BatchSource: Send {
    /// What every batch looks like.
    fn schema(&self) -> SchemaRef;

    /// The next rows, at most `rows_max`; `None` at the end, and at an early end ([`BatchSource::stop`]).
    ///
    /// # Errors
    /// [`crate::error::Error::Corrupt`] when stored data do not decode; region errors of the engine.
    fn next_batch(&mut self, rows_max: usize) -> Result<Option<RecordBatch>>;

    /// Why and where the rows ended before the end of the ranges, once `next_batch` has returned `None`.
    fn stop(&self) -> Option<Stop>;

    /// How much was read so far.
    fn counts(&self) -> ScanCounts;
}

/// An early end.
#[derive(Debug, Clone)]
pub struct Stop {
    /// What is left of the range that was being read.
    pub rest: KeyRange,
    /// Which of the request's ranges that is.
    pub range: usize,
    /// The lock that is in the way; without one, the page was full.
    pub locked: Option<LockInfo>,
}

/// How much a source has read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanCounts {
    /// Rows given out.
    pub rows: u64,
    /// Records of all versions that were passed on the way.
    pub versions: u64,
    /// Bytes of the values that were decoded.
    pub bytes: u64,
}
