//! What a statement gives back.

use crate::context::RowStream;

/// What a statement gives back.
pub enum Outcome {
    /// Rows.
    Rows(RowStream),
    /// Nothing but what it did.
    Done(DmlResult),
}

/// What a statement did, as the OK packet says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DmlResult {
    /// Rows changed (1 inserted, 2 replaced or updated by ON DUPLICATE KEY).
    pub affected_rows: u64,
    /// Rows that matched an UPDATE, changed or not: what clients get that set CLIENT_FOUND_ROWS.
    pub found_rows: u64,
    /// The first number that AUTO_INCREMENT generated; 0 = none.
    pub last_insert_id: u64,
    /// The AUTO_INCREMENT column's value in the last row that an INSERT wrote: what the OK packet says when no number was
    /// generated. LAST_INSERT_ID() does not change by it.
    pub last_row_id: u64,
    /// `Rows matched: 1  Changed: 1  Warnings: 0`; empty for single-row INSERTs and DELETE.
    pub info: String,
}

/// The info string of an UPDATE.
pub fn update_info(matched: u64, changed: u64, warnings: u64) -> String {
    format!("Rows matched: {matched}  Changed: {changed}  Warnings: {warnings}")
}

/// The info string of an INSERT or REPLACE of several rows.
pub fn insert_info(records: u64, duplicates: u64, warnings: u64) -> String {
    format!("Records: {records}  Duplicates: {duplicates}  Warnings: {warnings}")
}
