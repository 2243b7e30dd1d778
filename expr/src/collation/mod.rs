//! Collations: when two strings are equal, and which comes first.
//!
//! A collation gives every character *weights*, at one to three levels: of which letter it is (primary), of its accents
//! (secondary), of its case (tertiary). Strings compare by their weights of the first level, then of the next. Comparison,
//! keys, grouping, joins and LIKE all use the same weights, so they agree by construction.
//!
//! ```text
//! name ──▶ Collation ──▶ Table (tables.rs: weights of each character) ──▶ Scanner (scan.rs: weights of a text)
//!                                                                             ├─▶ compare
//!                                                                             └─▶ sort key: bytes in the same order
//!                                                                                    └─▶ an example (example.rs)
//! ```
//!
//! | collation | levels | weights | trailing spaces |
//! |---|---|---|---|
//! | `utf8mb4_0900_ai_ci` | 1 | UCA 9.0.0, which letter | count |
//! | `utf8mb4_0900_as_ci` | 2 | UCA 9.0.0, and accents | count |
//! | `utf8mb4_0900_as_cs` | 3 | UCA 9.0.0, and case | count |
//! | `utf8mb4_unicode_ci`, `utf8mb3_unicode_ci` | 1 | UCA 4.0.0 | ignored |
//! | `utf8mb4_general_ci`, `utf8mb3_general_ci` | 1 | a character's capital without accent | ignored |
//! | `latin1_swedish_ci` | 1 | the same in Swedish: Ä is no A | ignored |
//! | `ascii_general_ci` | 1 | A to Z for a to z | ignored |
//! | `utf8mb4_bin`, `utf8mb3_bin`, `latin1_bin`, `ascii_bin` | | the bytes | ignored |
//! | `utf8mb4_0900_bin`, `binary` | | the bytes | count |
//!
//! The UCA's algorithm (Unicode Technical Standard 10, section 7) as MySQL has it: variable elements such as `-` count as
//! any other, elements that are 0 at a level are passed over, there are no contractions, U+FDFA has 8 elements of its 18.
//! A character that the tables do not list has weights computed from its number (tables.rs): Han, Tangut, Hangul as its
//! jamo, and whatever is not assigned.
//!
//! # Invariants
//! - `compare(a, b)` is the order of the sort keys of `a` and `b`, for any bytes.
//! - A sort key never changes, because it is on disks: [`Collation::weights_version`] is raised with any change, and a
//!   test knows a checksum of all keys.
//! - Without contractions, what stands before the first different character is the same at every level. [`compare`]
//!   starts there.
//!
//! Not done: the languages' own collations (`utf8mb4_de_pb_0900_ai_ci` and others).
//!
//! [`compare`]: Collation::compare

mod bytes;
mod coercibility;
mod example;
mod name;
mod scan;
mod sort_key;
mod tables;

pub use coercibility::{Coercibility, Side, agree};
pub use name::Collation;

#[cfg(test)]
mod tests;
