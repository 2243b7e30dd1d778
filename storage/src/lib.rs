//! The storage node.

pub mod config;
pub mod engine;
pub mod error;
pub mod mvcc;
pub mod raftlog;
pub mod raftstore;
pub mod replicated;
pub mod service;
pub mod txn;
