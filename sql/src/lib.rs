//! The SQL server.

pub mod binder;
pub mod catalog;
pub mod context;
pub mod ddl;
pub mod error;
pub mod executor;
pub mod parser;
pub mod plan;
pub mod planner;
pub mod query;
pub mod server;
pub mod session;
pub mod transaction;
