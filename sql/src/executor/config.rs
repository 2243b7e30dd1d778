//! Bounds of the executors.

/// Rows (or index entries) read from storage at a time.
pub const READ_BATCH_ROWS: usize = 256;
/// Rows read at first for a LIMIT that rows may fail to count for (SKIP LOCKED, a changed row); [`BATCH_GROWTH`] times as many
/// with each further batch, until [`READ_BATCH_ROWS`].
pub const FIRST_BATCH_ROWS: usize = 16;
/// See [`FIRST_BATCH_ROWS`].
pub const BATCH_GROWTH: usize = 4;
/// Rows that one INSERT writes at a time: checked, locked and buffered together.
pub const INSERT_BATCH_ROWS: usize = 512;
/// Autocommit statements of a session that lock what they write from the start, after one that met another writer.
pub const STATEMENTS_LOCKED: u32 = 16;
/// Times an autocommit statement is run before a conflict, a deadlock or a rollback by others is the client's. The first is
/// optimistic (see [`STATEMENTS_LOCKED`]), the others lock what they write.
pub const AUTOCOMMIT_ATTEMPTS_MAX: usize = 10;
