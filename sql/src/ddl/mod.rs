//! Schema changes.
//!
//! ```text
//! CREATE DATABASE, CREATE TABLE                     one step, one transaction
//! DROP DATABASE, DROP, TRUNCATE and RENAME TABLE    one step, when no transaction uses the table
//! ADD INDEX    absent → delete-only → write-only → write-reorganization (rows are filled in) → public
//! DROP INDEX   public → write-only → delete-only → absent
//! ```
//! The states are F1's (Rae et al., VLDB 2013, §3.2): with servers never more than one step apart, a server that does not yet
//! maintain an index never meets one that reads it, and deletes reach entries that others have written. After every step
//! [`Catalog::wait_for_all`](crate::catalog::Catalog::wait_for_all) returns only when no server works under the version before,
//! nor a transaction that uses the table. Transactions that begin meanwhile go on with the new state. What they could not go on
//! with (the table is dropped) is done while none uses it ([`exclusive`]), under a [`claim`] as LOCK TABLES has it ([`table_lock`]).
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
mod claim;
mod cleanup;
pub mod column;
mod create_table;
mod exclusive;
mod execute;
mod job;
mod names;
mod table_lock;

pub use claim::{is_granted, remove_abandoned};
pub use cleanup::delete_dropped;
pub use create_table::{TableDefaults, build_table};
pub use execute::{DdlContext, execute};
pub use job::{INTERRUPTED, METADATA_LOCK_STATE, adopt_abandoned};
pub use table_lock::TableLock;
