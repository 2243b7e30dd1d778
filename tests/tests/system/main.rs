//! System tests: the real binary, real clients, real signals. One module a promise of the README.

mod bad_usage;
mod bank;
mod failover;
mod regions;
mod session;
mod sysbench;
