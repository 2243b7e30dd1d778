//! Bounds of the executors.

/// Rows (or index entries) read from storage at a time.
pub const READ_BATCH_ROWS: usize = 256;
/// Rows that one INSERT writes at a time: checked, locked and buffered together.
pub const INSERT_BATCH_ROWS: usize = 512;
/// Times an autocommit statement is run after write conflicts before the conflict is the client's: as often as one of a
/// transaction, once it locks what it writes.
pub const AUTOCOMMIT_ATTEMPTS_MAX: usize = OPTIMISTIC_ATTEMPTS + LOCK_ATTEMPTS_MAX;
/// Of these, how many are optimistic; later ones lock what they write, so that they get their turn.
pub const OPTIMISTIC_ATTEMPTS: usize = 2;
/// Times a statement of a pessimistic transaction is run again because a row changed before it was locked.
pub const LOCK_ATTEMPTS_MAX: usize = 64;
