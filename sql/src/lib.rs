//! The SQL server.

pub mod binder;
pub mod catalog;
pub mod ddl;
pub mod error;
pub mod parser;
pub mod plan;
pub mod planner;
pub mod server;
