//! Bounds and times of the catalog.

use std::time::Duration;

/// How often a server looks for a new schema version.
pub const SCHEMA_POLL: Duration = Duration::from_millis(500);
/// How long a server may go without having looked, before it refuses statements.
pub const SCHEMA_LEASE: Duration = Duration::from_secs(10);
/// How long the one who takes a step waits for a server that does not announce itself: its lease has run out by then, and
/// so has the time of whatever it had sent.
pub const SERVER_SILENCE_MAX: Duration = Duration::from_secs(15);
/// A server that has not announced itself for so long is dead to others that wait for its locks.
pub const SERVER_DEAD_AFTER: Duration = Duration::from_secs(2);
/// For so long after it has announced itself a server takes its transactions' locks for granted; less than
/// [`SERVER_DEAD_AFTER`].
pub const LOCKS_TRUSTED: Duration = Duration::from_millis(1_500);
/// Who has not heard from PD for so long cannot tell who is dead.
pub const ANNOUNCE_GAP_MAX: Duration = Duration::from_millis(1_500);
/// How long a step waits for servers that are alive and still work under the version before.
pub const STEP_WAIT_MAX: Duration = Duration::from_secs(60);
/// Tables of a cluster.
pub const TABLES_MAX: usize = 100_000;
/// AUTO_INCREMENT values that a server takes at a time.
pub const AUTO_INCREMENT_BATCH: u64 = 4_000;
/// Hidden row ids that a server takes at a time.
pub const ROW_ID_BATCH: u64 = 30_000;
/// Columns of a table.
pub const COLUMNS_MAX: usize = 1017;
/// Indexes of a table, the primary key included.
pub const INDEXES_MAX: usize = 64;
/// Columns of an index.
pub const INDEX_COLUMNS_MAX: usize = 16;
/// Bytes of an index entry's values.
pub const INDEX_BYTES_MAX: u32 = 3072;
