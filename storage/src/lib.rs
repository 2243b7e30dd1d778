//! The storage node.

pub mod engine;
pub mod error;
pub mod replicated;
