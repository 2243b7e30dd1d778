//! The SQL server.

pub mod catalog;
pub mod plan;
