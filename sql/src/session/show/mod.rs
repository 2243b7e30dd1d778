//! SHOW and DESCRIBE: what the server says of itself and of the catalog.
//!
//! Each thing shown is a function that fills [`Rows`]; LIKE and WHERE are applied afterwards, by [`filter`], over the
//! columns that the rows have (so `SHOW TABLES WHERE …` names them as MySQL does).

mod catalog;
mod cluster;
mod create_table;
mod filter;
mod server;

pub use catalog::{columns, create_database, databases, index, table_status, tables};
pub use cluster::{range_of, regions, stores};
pub use create_table::create_table;
pub use filter::{like, like_matches};
pub use server::{
    charsets, collations, create_user, empty_events, empty_routines, empty_triggers, engines, grants, plugins, process_list, status,
    variables, warnings,
};
