//! Databases, tables, columns, indexes: where they are kept, and how every SQL server sees the same.
//!
//! ```text
//! mV                        schema version, u64: written by every step of every schema change
//! mD{database}              Database record          all numbers memcomparable u64, records proto::schema
//! mT{database}{table}       Table record
//! mA{table}                 next AUTO_INCREMENT value that no server has taken
//! mR{table}                 next hidden row id that no server has taken
//! mJ{job}                   schema change under way or done (crate::ddl)
//! mX{claim}                 tables that a change or LOCK TABLES keeps from others (crate::ddl::claim)
//! mG{ts}{table}{index}      ranges to delete once nobody can read them any more
//! mU{user}00{host}          accounts
//! mS{name}                  global values of variables
//! ```
//! **Versions and leases** (Rae et al., "Online, Asynchronous Schema Change in F1", §3 and §4). Every change is a row of steps;
//! each step is one transaction that raises `mV` by one. Correct as long as no two servers work under versions more than
//! one step apart. Therefore:
//! - a server looks at `mV` when one that waits for it says so, and every [`config::SCHEMA_POLL`]; one that could not for [`config::SCHEMA_LEASE`] refuses statements (8027) until
//!   it can;
//! - it announces to PD the oldest version that any of its statements is bound or commits under ([`SchemaGuard`]), and the tables that its
//!   transactions use since before the newest version ([`TableHolds`], `holds`): metadata locks;
//! - whoever takes a step waits until every server that is alive has announced it, and none of them has a transaction that uses the table since before
//!   it, before it takes the next (or answers OK);
//! - a server that was cut off for longer than its lease is not waited for: transactions that it had open then fail at their commit (8028) if a table
//!   of theirs has changed;
//! - a transaction takes its snapshot under a guard and remembers the schema; its later statements read nothing that is
//!   younger ([`seen`]).
//!
//! Accounts and global variables change by the same means: a change raises `mV`, whoever loads a version takes over its accounts and
//! variables before it announces it, and a change of accounts waits like a step. So no server that is not cut off lets in whom a
//! DROP USER that was answered has removed, and one that is refuses logins with its lease.
//!
//! Names are unique because all changes meet in `mV`: two of them never commit side by side.
//!
//! Not done: loading only what changed (a change reloads the whole catalog, bounded by [`config::TABLES_MAX`] tables).

pub mod cache;
pub mod claims;
pub mod config;
mod holds;
pub mod information_schema;
mod key_text;
pub mod keys;
mod liveness;
mod lock_rows;
pub mod model;
mod privileges;
pub(crate) mod record;
mod rows;
pub mod seen;
pub mod sequence;
mod settings;
pub mod show_create;
pub mod size;
pub mod store;
mod text;

pub use cache::{Catalog, SchemaGuard, TableHolds, ThisServer};
pub use claims::{Claim, Claims, TableUse, Wanted};
pub use record::handle_of;
pub use seen::SeenSchema;
pub use sequence::Sequences;
pub use text::value_text;
