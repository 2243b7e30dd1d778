//! The storage node.

pub mod config;
pub mod engine;
pub mod error;
pub mod mvcc;
pub mod replicated;
pub mod service;
pub mod txn;
