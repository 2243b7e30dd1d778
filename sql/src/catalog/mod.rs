//! Databases, tables, columns, indexes: where they are kept, and how every SQL server sees the same.
//!
//! ```text
//! mV                        schema version, u64: written by every step of every schema change
//! mD{database}              Database record          all numbers memcomparable u64, records proto::schema
//! mT{database}{table}       Table record
//! mA{table}                 next AUTO_INCREMENT value that no server has taken
//! mR{table}                 next hidden row id that no server has taken
//! mJ{job}                   schema change under way or done (crate::ddl)
//! mG{ts}{table}{index}      ranges to delete once nobody can read them any more
//! mU{user}00{host}          accounts
//! ```
//! **Versions and leases** (Rae et al., "Online, Asynchronous Schema Change in F1", §3 and §4). Every change is a row of steps;
//! each step is one transaction that raises `mV` by one. Correct as long as no two servers work under versions more than
//! one step apart. Therefore:
//! - a server looks at `mV` every [`config::SCHEMA_POLL`]; one that could not for [`config::SCHEMA_LEASE`] refuses statements (8027) until
//!   it can;
//! - it announces to PD the oldest version that any of its writing statements or commits still works under ([`SchemaGuard`]);
//! - whoever takes a step waits until every server that is alive has announced it, before it takes the next (or answers OK);
//! - an explicit transaction remembers the tables that it wrote, and at commit, under a guard, fails (8028) if one of them
//!   has changed;
//! - a statement holds its schema until its timestamp is taken, so the schema in force at that timestamp is the statement's or
//!   the next one; a transaction remembers the schema that its snapshot was taken under, and its later statements read
//!   nothing that is younger ([`seen`]).
//!
//! Names are unique because all changes meet in `mV`: two of them never commit side by side.
//!
//! Not done: loading only what changed (a change reloads the whole catalog, bounded by [`config::TABLES_MAX`] tables).

pub mod cache;
pub mod config;
pub mod information_schema;
mod key_text;
pub mod keys;
pub mod model;
mod privileges;
pub(crate) mod record;
mod rows;
pub mod seen;
pub mod sequence;
pub mod show_create;
pub mod size;
pub mod store;
mod text;

pub use cache::{Catalog, SchemaGuard};
pub use record::handle_of;
pub use seen::SeenSchema;
pub use sequence::Sequences;
pub use text::value_text;
