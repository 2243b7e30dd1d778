//! Databases, tables, columns, indexes.

pub mod model;
