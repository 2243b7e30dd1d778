//! Bounds of the executors.

/// Rows (or index entries) read from storage at a time.
pub const READ_BATCH_ROWS: usize = 256;
/// Rows that one INSERT writes at a time: checked, locked and buffered together.
pub const INSERT_BATCH_ROWS: usize = 512;
/// Autocommit statements of a session that lock what they write from the start, after one that met another writer.
pub const STATEMENTS_LOCKED: u32 = 16;
/// Times an autocommit statement is run before a conflict, a deadlock or a rollback by others is the client's. The first is
/// optimistic (see [`STATEMENTS_LOCKED`]), the others lock what they write.
pub const AUTOCOMMIT_ATTEMPTS_MAX: usize = 10;
