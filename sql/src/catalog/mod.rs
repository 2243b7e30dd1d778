//! Databases, tables, columns, indexes.

pub mod information_schema;
pub mod model;
mod rows;
pub mod show_create;
