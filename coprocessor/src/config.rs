//! Bounds of the coprocessor.

use std::time::Duration;

/// How much a store spends on fragments.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads that run fragments; also the number of requests that run at a time.
    pub threads: usize,
    /// Requests that wait for a thread; one more is answered `ServerIsBusy`.
    pub queue_max: usize,
    /// Memory that all running fragments may hold, bytes.
    pub memory_bytes_max: usize,
    /// Decoded fragments kept for the next request with the same bytes.
    pub plan_cache_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Config { threads, queue_max: 1_024, memory_bytes_max: 256 << 20, plan_cache_max: 256 }
    }
}

/// Rows of a batch when the request does not say.
pub const BATCH_ROWS_DEFAULT: usize = 8_192;
/// Rows of a batch at most, whatever the request says.
pub const BATCH_ROWS_MAX: usize = 65_536;
/// Values of about so many bytes end a batch early, so that a message stays far below the transport's limit.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Messages that wait for a slow client before the scan pauses.
pub const RESPONSES_BUFFERED: usize = 4;
/// How long a request may go without a message; well below the time after which clients give a store up.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
/// How long a client stays away when the queue is full, milliseconds.
pub const BUSY_BACKOFF_MS: u64 = 50;
/// Stack of a thread that runs fragments: expressions are as deep as statements may nest.
pub const STACK_BYTES: usize = 64 << 20;
