//! Talking to a cluster.

pub mod rpc;
