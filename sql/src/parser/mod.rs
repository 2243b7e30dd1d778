//! From the bytes of a command to a statement's tree.
//!
//! MySQL's grammar is read by a lexer and a recursive-descent parser of our own. `sqlparser`, which the design first had
//! in this place, takes `&str` where MySQL's clients send bytes (`_binary '…'` in every dump), loses the text of select
//! items (which names result columns), reads about a third of MySQL's statements not at all, and its hooks do not reach
//! the places inside a query that differ (LOCK IN SHARE MODE, WITH ROLLUP, composite intervals, `UPDATE a, b SET`).
//! Nothing outside of [`crate::binder`] and the session sees these trees, so the choice stays local.
//!
//! ```text
//! bytes ─lexer→ tokens (up to the first `;`) ─core→ keyword of the statement ─┬─ query, expr, function   SELECT
//!                                                                             ├─ dml                     INSERT …
//!                                                                             ├─ ddl, column             CREATE …
//!                                                                             └─ show, set, admin        the rest
//! ```
//! [`parse_one`] reads the first statement of a text and says where the next begins; the session runs them in turn, so a
//! syntax error in the third statement comes after the first two have run, as in MySQL.
//!
//! Version comments: `/*!40101 … */` counts as text when its number is at most [`crate::version::MYSQL_VERSION_ID`]; `/*T! … */`, `/*M! … */`
//! and hints `/*+ … */` are skipped.
//!
//! Invariants, as absences: no input panics; no name is resolved here; nothing recurses deeper than the stack
//! allows, and no tree is higher than [`levels_max`](basalt_common::stack::levels_max) (chains of AND and OR are built
//! balanced, other chains are counted).
//!
//! Not done: stored programs, partitions' definitions (read past, refused), optimizer hints (read past).

mod admin;
pub mod ast;
mod column;
mod core;
mod ddl;
mod dml;
mod expr;
mod function;
mod join;
mod keywords;
mod lexer;
mod query;
mod set;
mod show;
pub mod statement;
mod unsupported;
mod window;

pub use self::core::{ParseOptions, Parsed, parse_expression, parse_one};
pub use keywords::is_reserved;
pub use statement::Statement;

/// Placeholders of a prepared statement.
pub const PARAMETERS_MAX: usize = 65_535;
/// Characters of an identifier.
pub const IDENTIFIER_CHARS_MAX: usize = 64;

#[cfg(test)]
mod nets;
#[cfg(test)]
mod print;
#[cfg(test)]
mod second_opinion;
#[cfg(test)]
mod tests;
