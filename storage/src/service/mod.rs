//! The storage node's service.

pub mod admin;
pub mod coprocessor;
