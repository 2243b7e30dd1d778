//! Schema changes.
//!
//! ```text
//! CREATE/DROP DATABASE, CREATE/DROP/TRUNCATE/RENAME TABLE   one step, one transaction
//! ADD INDEX    absent → delete-only → write-only → write-reorganization (rows are filled in) → public
//! DROP INDEX   public → write-only → delete-only → absent
//! ```
//! The states are F1's (Rae et al., VLDB 2013, §3.2): with servers never more than one step apart, a server that does not yet
//! maintain an index never meets one that reads it, and deletes reach entries that others have written. After every step
//! [`Catalog::wait_for_all`](crate::catalog::Catalog::wait_for_all) returns only when no server works under the version before.
//!
//! A change of several steps is a **job** ([`job`]): a row that says how far it is. The server that took the statement runs
//! it, and renews its ownership with every step and every batch; when it dies, another server finds the job abandoned and goes on
//! from there. Every step reads the job in its own transaction and stops when it is no longer the owner, so two servers
//! never both take a step.
//!
//! Filling an index in ([`backfill`]): rows are read in batches, each batch one transaction that writes the entries and
//! marks the rows' keys, so that it conflicts with a write of the same row since its start, and is done again.
//!
//! What is dropped is only forgotten by the step; its range is deleted later ([`cleanup`]), when no reader of the old schema
//! can be left.
//!
//! Not done: ADD, DROP and MODIFY COLUMN, adding and dropping a primary key, partitions, views, foreign keys; all refused.

mod alter;
mod backfill;
mod cleanup;
pub mod column;
mod create_table;
mod execute;
mod job;
mod names;

pub use cleanup::delete_dropped;
pub use create_table::{TableDefaults, build_table};
pub use execute::{DdlContext, execute};
pub use job::{INTERRUPTED, adopt_abandoned};
