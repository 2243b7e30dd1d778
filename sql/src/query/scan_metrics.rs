//! What a scan's tasks reported, for `EXPLAIN ANALYZE` and the server's counters.

use basalt_proto::coprocessor::ScanSummary;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Sums over the tasks of one scan. Shared by the node's forms during optimization.
#[derive(Debug, Default)]
pub struct ScanMetrics {
    sums: Mutex<ScanSums>,
}

/// The sums.
#[derive(Debug, Default, Clone)]
pub struct ScanSums {
    /// Requests answered: one a region, more when a region was split or read in pages.
    pub tasks: u64,
    /// Stores that answered.
    pub stores: BTreeSet<u64>,
    /// Rows read by storage.
    pub rows_scanned: u64,
    /// Versions passed by storage.
    pub versions_scanned: u64,
    /// Rows sent back.
    pub rows_returned: u64,
    /// Bytes sent back.
    pub bytes_returned: u64,
    /// Time that storage spent, all tasks together.
    pub storage: Duration,
    /// Longest task.
    pub storage_max: Duration,
    /// Whether a look-up left its index and went on by a scan of the table.
    pub is_index_left: bool,
    /// Rows given to the operator above, the transaction's own included.
    pub rows_output: u64,
    /// From the first request to the last row, here.
    pub elapsed: Duration,
    started: Option<Instant>,
}

impl ScanMetrics {
    /// The scan begins. Time is measured for `EXPLAIN ANALYZE` only; nothing depends on it.
    pub fn start(&self) {
        self.sums.lock().started.get_or_insert_with(Instant::now);
    }

    /// A task is done.
    pub fn task_done(&self, summary: &ScanSummary) {
        let mut sums = self.sums.lock();
        let time = Duration::from_micros(summary.total_us);
        sums.tasks += 1;
        sums.stores.insert(summary.store_id);
        sums.rows_scanned += summary.rows_scanned;
        sums.versions_scanned += summary.versions_scanned;
        sums.rows_returned += summary.rows_returned;
        sums.bytes_returned += summary.bytes_returned;
        sums.storage += time;
        sums.storage_max = sums.storage_max.max(time);
        sums.touch();
    }

    /// A look-up goes on by a scan of the table.
    pub fn leave_index(&self) {
        self.sums.lock().is_index_left = true;
    }

    /// Rows went to the operator above.
    pub fn add_output(&self, rows: usize) {
        let mut sums = self.sums.lock();
        sums.rows_output += rows as u64;
        sums.touch();
    }

    /// The sums so far.
    pub fn sums(&self) -> ScanSums {
        self.sums.lock().clone()
    }
}

impl ScanSums {
    fn touch(&mut self) {
        if let Some(started) = self.started {
            self.elapsed = started.elapsed();
        }
    }
}
